"""Stage: front. In: a Tensor. Out: the same numbers in another shape.
Next: ``utils.py``."""

from __future__ import annotations

from minigrad.nn.modules.module import Module
from minigrad.tensor import Tensor


class Flatten(Module):
    """Joins the dimensions ``start_dim`` to ``end_dim`` into one.

    >>> import minigrad
    >>> tuple(Flatten()(minigrad.ones(2, 3, 4)).shape)
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
