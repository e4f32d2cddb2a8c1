"""Stage: front. In: a Tensor (N, C, …). Out: its channels in another order, as a Module.
Next: ``activation.py``."""

from __future__ import annotations

from minigrad.nn import functional as F
from minigrad.nn.modules.module import Module
from minigrad.tensor import Tensor


class ChannelShuffle(Module):
    """The channels in ``groups`` groups, taken from each group in turn; see ``F.channel_shuffle``.

    >>> import minigrad
    >>> ChannelShuffle(2)(minigrad.arange(4).reshape(1, 4, 1)).flatten()
    tensor([0, 2, 1, 3])
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
