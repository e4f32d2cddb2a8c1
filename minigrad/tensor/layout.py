"""Stage: front. In: a Tensor. Out: how its elements lie in memory (strides, offset), and the views that are defined by
that: ``as_strided``, ``diagonal``, ``unfold``, the same bytes as another dtype.
Next: ``movement.py``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from operator import index
from typing import TYPE_CHECKING, Any

from minigrad.dtype import DType
from minigrad.graph.strides import Steps, Window, contiguous_strides, reach
from minigrad.ops import Op
from minigrad.tensor.aliases import alias, base_of, make_view
from minigrad.tensor.definition import both, view_in_place
from minigrad.tensor.operands import dim_index, whole_number
from minigrad.tensor.promotion import type_name
from minigrad.tensor.view import window_steps

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def strides_of(self: Tensor) -> tuple[int, ...]:
    """PyTorch's strides, in elements."""
    known = self._view if (spec := self._spec) is None else spec
    strides = None if known is None else known.strides
    return contiguous_strides(self._shape()) if strides is None else strides


def offset_of(self: Tensor) -> int:
    """The position in the Storage of the first element."""
    if self._spec is not None:
        return self._spec.offset
    return 0 if self._view is None else self._view.offset


def view_as_type(self: Tensor, dtype: DType) -> Tensor:
    """``self.view(dtype)``: a view of the same bytes, outside autograd."""
    shape, strides, offset = self._shape(), strides_of(self), offset_of(self)
    old, new = self.dtype.size, dtype.size
    if old != new:
        what = f"to view {type_name(self.dtype)} as {type_name(dtype)} (different element sizes)"
        if not shape:
            raise RuntimeError(f"self.dim() cannot be 0 {what}")
        if strides[-1] != 1:
            raise RuntimeError(f"self.stride(-1) must be 1 {what}, but got {strides[-1]}")
        _check_multiples(shape, strides, offset, new // old, what)
        shape = (*shape[:-1], shape[-1] * old // new)
        strides = (*[s * old // new for s in strides[:-1]], 1)
        offset = offset * old // new
    return make_view(alias(self), ((Op.BITCAST, dtype),), shape, strides, offset, "ViewBackward1", dtype)


def _check_multiples(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, times: int, what: str) -> None:
    """``RuntimeError`` if elements ``times`` as large don't fit into the view (0: they are smaller, and always fit)."""
    if not times:
        return
    numbers = {"size(-1)": shape[-1], "storage_offset()": offset} | {
        f"stride({i})": s for i, s in enumerate(strides[:-1])}
    for name, number in numbers.items():
        if number % times:
            raise RuntimeError(f"self.{name} must be divisible by {times} {what}, but got {number}")


def _check_window(self: Tensor, base: Tensor, window: Window) -> None:
    shape, strides, offset = window
    if len(shape) != len(strides):
        raise RuntimeError("mismatch in length of strides and shape")
    if min(shape, default=0) < 0:
        raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)} and strides={list(strides)}")
    if min(strides, default=0) < 0:
        raise RuntimeError("as_strided: Negative strides are not supported at the moment, got strides: "
                           f"{list(strides)}")
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    item, have = self.dtype.size, prod(base._shape()) * base.dtype.size
    needed = reach(shape, strides)
    if needed and (offset + needed) * item > have:
        raise RuntimeError(f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset}, and "
                           f"itemsize {item} requiring a storage size of {(offset + needed) * item} are out of bounds "
                           f"for storage of size {have}")


def _is_within(self: Tensor, window: Window) -> bool:
    """Whether self is in row-major order and a window of its memory shows nothing else."""
    shape, strides, offset = window
    begin = offset_of(self)
    return self.is_contiguous() and begin <= offset and offset + reach(shape, strides) <= begin + self.numel()


@lru_cache(1 << 10)
def _diagonal(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, a: int, b: int) -> tuple[Steps, Window]:
    """The steps to a diagonal, and its window of memory that is seen with these strides."""
    order = (*[i for i in range(len(shape)) if i not in (a, b)], a, b)
    shape, strides = [tuple([what[i] for i in order]) for what in (shape, strides)]
    row, column = max(0, -offset), max(0, offset)
    length = max(0, min(shape[-2] - row, shape[-1] - column))
    windows: list[Window] = []
    for steps in (contiguous_strides(shape), strides):  # in the value, and in memory
        first = row * steps[-2] + column * steps[-1] if length else 0
        windows.append(((*shape[:-2], length), (*steps[:-2], steps[-2] + steps[-1]), first))
    strided = ("STRIDED", windows[0])
    return (strided,) if order == tuple(range(len(order))) else ((Op.PERMUTE, order), strided), windows[1]


class Layout:
    """How the elements lie in memory, and the views that are defined by it."""

    __slots__ = ()

    # --- in memory

    def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
        """self if its elements lie in row-major order, else a copy."""
        return self if self.is_contiguous() else self.clone()

    def is_contiguous(self: Tensor, memory_format: Any = None) -> bool:
        """Whether the elements lie in row-major order without gaps."""
        known = self._view if (spec := self._spec) is None else spec
        if known is None or known.strides is None or 0 in self._shape():
            return True
        step = 1
        for size, stride in zip(reversed(self._shape()), reversed(known.strides), strict=True):
            if size != 1 and stride != step:
                return False
            step *= size
        return True

    def stride(self: Tensor, dim: int | None = None) -> Any:
        """How far apart neighbours along each dimension (or ``dim``) are, in elements."""
        strides = strides_of(self)
        return strides if dim is None else strides[dim_index(dim, len(strides))]

    def storage_offset(self: Tensor) -> int:
        """The position of the first element in the memory that this view is of."""
        return offset_of(self)

    # --- views

    def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
        """Windows of ``size`` every ``step`` along a dimension, in a new last dimension; a view."""
        shape, strides = self._shape(), strides_of(self)
        axis = dim_index(dimension, len(shape))
        length = shape[axis] if shape else 1
        if size > length:
            raise RuntimeError(f"maximum size for tensor at dimension {axis} is {length} but size is {size}")
        if step <= 0:
            raise RuntimeError(f"step is {step} but must be > 0")
        if not shape:
            return self.reshape(1)[:size]
        new = (*shape[:axis], (length - size) // step + 1, *shape[axis + 1:], size)
        return make_view(self, ((Op.WINDOW, ((axis, size, step, 1),)),), new,
                         (*strides[:axis], strides[axis] * step, *strides[axis + 1:], strides[axis]), offset_of(self),
                         "UnfoldBackward0")

    @both("diagonal")
    def diagonal(self: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
        """Elements [i, i + offset] of dimensions dim1 and dim2, in a new last dimension; a view.

        >>> import minigrad
        >>> x = minigrad.zeros(2, 2)
        >>> _ = x.diagonal().fill_(3)
        >>> x
        tensor([[3., 0.],
                [0., 3.]])
        """
        dims = self.ndim
        a, b = dim_index(dim1, dims), dim_index(dim2, dims)
        if a == b:
            raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
        offset = whole_number("diagonal", "offset", offset)
        steps, (new, strides, first) = _diagonal(self._shape(), strides_of(self), offset, a, b)
        return make_view(self, steps, new, strides, offset_of(self) + first, "DiagonalBackward0")

    @both("as_strided")
    def as_strided(self: Tensor, size: Sequence[int], stride: Sequence[int],
                   storage_offset: int | None = None) -> Tensor:
        """The memory behind self, also where self is a part of it, seen anew: element i is element
        storage_offset + Σ i·stride of the memory; a view. Without an offset: self's.

        ``RuntimeError`` for a window that leaves the memory, and for negative strides.
        (https://docs.pytorch.org/docs/stable/generated/torch.as_strided.html)

        >>> import minigrad
        >>> minigrad.arange(5).as_strided((3, 3), (1, 1))
        tensor([[0, 1, 2],
                [1, 2, 3],
                [2, 3, 4]])
        """
        base, dtype = base_of(self), self.dtype
        offset = offset_of(self) if storage_offset is None else index(storage_offset)
        window = tuple([index(n) for n in size]), tuple([index(s) for s in stride]), offset
        _check_window(self, base, window)
        inner = window
        if self.requires_grad:  # the gradient goes through self, if self has all that is seen
            order = sorted(range(self.ndim), key=strides_of(self).__getitem__, reverse=True)
            dense = self if self.is_contiguous() else self.permute(order)
            if _is_within(dense, window):
                base, inner = dense, (*window[:2], offset - offset_of(self))
        whole = base._pending()
        return make_view(base, window_steps(whole, dtype, inner), *window, "AsStridedBackward0",
                         None if dtype is whole.dtype else dtype)

    as_strided_ = view_in_place(as_strided)
