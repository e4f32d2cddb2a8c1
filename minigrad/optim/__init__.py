"""Stage: front. In: Parameters with gradients. Out: the optimizers that change them, with PyTorch's names.
Next: ``optimizer.py``."""

from minigrad.optim.adam import Adam, AdamW
from minigrad.optim.optimizer import Optimizer
from minigrad.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
