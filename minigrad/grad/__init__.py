"""Stage: gradients. In: a piece of lazy graph and the gradient of its outputs. Out: the gradients of its inputs, as
lazy graph. ``rules.py`` is the table, one row for each primitive; ``vjp.py`` walks. ``jvp.py`` has forward mode and
``batching.py`` the same on many rows at once, each with a table of its own.
Next: ``products.py``."""

from minigrad.grad.batching import Batch
from minigrad.grad.rules import FLAT, RULES, SAVES
from minigrad.grad.vjp import Backward, backward_of, vjp

__all__ = ["FLAT", "RULES", "SAVES", "Backward", "Batch", "backward_of", "vjp"]
