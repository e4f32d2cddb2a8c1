"""Stage: front. In: images, or columns of what windows see. Out: one made of the other.
Next: ``flatten.py``."""

from __future__ import annotations

from minigrad.nn import functional as F
from minigrad.nn.functional.fold import Pair
from minigrad.nn.modules.module import Module
from minigrad.tensor import Tensor


class Unfold(Module):
    """What each window sees, as a column. See ``functional.unfold``.

    >>> import minigrad
    >>> Unfold(2)(minigrad.ones(1, 3, 4, 4)).shape
    minigrad.Size([1, 12, 9])
    """

    def __init__(self, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> None:
        super().__init__()
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
                f"stride={self.stride}")


class Fold(Module):
    """The adjoint of Unfold: each element is the sum of its copies. See ``functional.fold``.

    >>> import minigrad
    >>> Fold((4, 4), 2)(minigrad.ones(1, 12, 9)).shape
    minigrad.Size([1, 3, 4, 4])
    """

    def __init__(self, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0,
                 stride: Pair = 1) -> None:
        super().__init__()
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (f"output_size={self.output_size}, kernel_size={self.kernel_size}, dilation={self.dilation}, "
                f"padding={self.padding}, stride={self.stride}")
