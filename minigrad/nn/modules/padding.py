"""Stage: front. In: a Tensor. Out: it with values around its last dimensions, as a Module.
Next: ``pooling.py``."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.nn import functional as F
from minigrad.nn.modules.module import Module
from minigrad.nn.modules.utils import _ntuple
from minigrad.tensor import Tensor

Padding = int | Sequence[int]
"""One number for all sides, or (begin, end) of the last dimension, then of the one before it, and so on."""


class _PadNd(Module):
    """The last ``dims`` dimensions grow."""

    dims: int
    mode: str
    padding: tuple[int, ...]

    def __init__(self, padding: Padding) -> None:
        super().__init__()
        self.padding = _ntuple(2 * self.dims)(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _CircularPadNd(_PadNd):
    mode = "circular"

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (self.dims + 1, self.dims + 2):
            raise ValueError(f"expected {self.dims + 1}D or {self.dims + 2}D input (got {input.dim()}D input)")

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        return super().forward(input)


class _ConstantPadNd(_PadNd):
    mode = "constant"

    def __init__(self, padding: Padding, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ReflectionPadNd(_PadNd):
    mode = "reflect"


class _ReplicationPadNd(_PadNd):
    mode = "replicate"



class CircularPad1d(_CircularPadNd):
    """The last dimension padded with what stands at the other end.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.CircularPad1d.html)

    >>> import minigrad
    >>> CircularPad1d(1)(minigrad.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 1., 2., 3., 1.]])
    """

    dims = 1


class CircularPad2d(_CircularPadNd):
    """The last two dimensions padded with what stands at the other end.

    >>> import minigrad
    >>> tuple(CircularPad2d(1)(minigrad.zeros(1, 3, 3)).shape)
    (1, 5, 5)
    """

    dims = 2


class CircularPad3d(_CircularPadNd):
    """The last three dimensions padded with what stands at the other end.

    >>> import minigrad
    >>> tuple(CircularPad3d(1)(minigrad.zeros(1, 3, 3, 3)).shape)
    (1, 5, 5, 5)
    """

    dims = 3


class ConstantPad1d(_ConstantPadNd):
    """The last dimension padded with ``value``.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.ConstantPad1d.html)

    >>> import minigrad
    >>> ConstantPad1d(1, 9.0)(minigrad.tensor([[1.0, 2.0]]))
    tensor([[9., 1., 2., 9.]])
    """

    dims = 1


class ConstantPad2d(_ConstantPadNd):
    """The last two dimensions padded with ``value``.

    >>> import minigrad
    >>> tuple(ConstantPad2d(1, 0.5)(minigrad.zeros(1, 3, 3)).shape)
    (1, 5, 5)
    """

    dims = 2


class ConstantPad3d(_ConstantPadNd):
    """The last three dimensions padded with ``value``.

    >>> import minigrad
    >>> tuple(ConstantPad3d(1, 0.5)(minigrad.zeros(1, 3, 3, 3)).shape)
    (1, 5, 5, 5)
    """

    dims = 3


class ReflectionPad1d(_ReflectionPadNd):
    """The last dimension padded with what a mirror at the edge shows.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.ReflectionPad1d.html)

    >>> import minigrad
    >>> ReflectionPad1d(2)(minigrad.tensor([[1.0, 2.0, 3.0]]))
    tensor([[3., 2., 1., 2., 3., 2., 1.]])
    """

    dims = 1


class ReflectionPad2d(_ReflectionPadNd):
    """The last two dimensions padded with what a mirror at the edge shows.

    >>> import minigrad
    >>> tuple(ReflectionPad2d(1)(minigrad.zeros(1, 3, 3)).shape)
    (1, 5, 5)
    """

    dims = 2


class ReflectionPad3d(_ReflectionPadNd):
    """The last three dimensions padded with what a mirror at the edge shows.

    >>> import minigrad
    >>> tuple(ReflectionPad3d(1)(minigrad.zeros(1, 3, 3, 3)).shape)
    (1, 5, 5, 5)
    """

    dims = 3


class ReplicationPad1d(_ReplicationPadNd):
    """The last dimension padded with the element at the edge.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.ReplicationPad1d.html)

    >>> import minigrad
    >>> ReplicationPad1d((2, 1))(minigrad.tensor([[1.0, 2.0]]))
    tensor([[1., 1., 1., 2., 2.]])
    """

    dims = 1


class ReplicationPad2d(_ReplicationPadNd):
    """The last two dimensions padded with the element at the edge.

    >>> import minigrad
    >>> tuple(ReplicationPad2d(1)(minigrad.zeros(1, 3, 3)).shape)
    (1, 5, 5)
    """

    dims = 2


class ReplicationPad3d(_ReplicationPadNd):
    """The last three dimensions padded with the element at the edge.

    >>> import minigrad
    >>> tuple(ReplicationPad3d(1)(minigrad.zeros(1, 3, 3, 3)).shape)
    (1, 5, 5, 5)
    """

    dims = 3


class ZeroPad1d(ConstantPad1d):
    """The last dimension padded with zeros.

    >>> import minigrad
    >>> layer = ZeroPad1d(1)
    >>> layer, tuple(layer(minigrad.ones(1, 3)).shape)
    (ZeroPad1d((1, 1)), (1, 5))
    """

    def __init__(self, padding: Padding) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """The last two dimensions padded with zeros.

    >>> import minigrad
    >>> layer = ZeroPad2d(1)
    >>> layer, tuple(layer(minigrad.ones(1, 3, 3)).shape)
    (ZeroPad2d((1, 1, 1, 1)), (1, 5, 5))
    """

    def __init__(self, padding: Padding) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """The last three dimensions padded with zeros.

    >>> import minigrad
    >>> layer = ZeroPad3d(1)
    >>> layer, tuple(layer(minigrad.ones(1, 3, 3, 3)).shape)
    (ZeroPad3d((1, 1, 1, 1, 1, 1)), (1, 5, 5, 5))
    """

    def __init__(self, padding: Padding) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"
