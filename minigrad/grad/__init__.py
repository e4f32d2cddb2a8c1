"""Stage: gradients. In: a piece of lazy graph and the gradient of its outputs. Out: the gradients of its inputs, as
lazy graph. ``rules.py`` is the table, one row for each primitive; ``vjp.py`` walks.
Next: ``rules.py``."""

from minigrad.grad.rules import RULES, SAVES
from minigrad.grad.vjp import Backward, backward_of, vjp

__all__ = ["RULES", "SAVES", "Backward", "backward_of", "vjp"]
