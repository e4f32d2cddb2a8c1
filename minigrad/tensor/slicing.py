"""Stage: front. In: a Tensor, and an index's integers, slices, None and ``...`` one by one. Out: the view that they
make.
Next: ``gathering.py``."""

from __future__ import annotations

from functools import lru_cache
from operator import index as position
from typing import TYPE_CHECKING, Any

from minigrad.graph.strides import Steps, contiguous_strides
from minigrad.ops import Op
from minigrad.tensor.aliases import make_view
from minigrad.tensor.layout import offset_of, strides_of

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def select_part(self: Tensor, axis: int, at: int, node: str = "SelectBackward0") -> Tensor:
    """The part at one position of an axis, without the axis; a view."""
    known = self._view if (spec := self._spec) is None else spec
    if known is None:
        shape, strides, offset = self._storage.lazy.shape, None, 0
    else:
        shape, strides, offset = known.shape, known.strides, known.offset
    if strides is None:
        strides = contiguous_strides(shape)
    size = shape[axis]
    if not -size <= at < size:
        raise IndexError(f"index {at} is out of bounds for dimension {axis} with size {size}")
    if at < 0:
        at += size
    before, after, reshape, new, kept = _without(shape, strides, axis)
    steps = ((Op.SHRINK, (*before, (at, at + 1), *after)), reshape)
    return make_view(self, steps, new, kept, offset + at * strides[axis], node)


@lru_cache(maxsize=4096)
def _without(shape: tuple[int, ...], strides: tuple[int, ...], axis: int) -> tuple[Any, ...]:
    """What the view at any position of an axis has in common: the box of the axes before and after it, the step that
    drops it, the shape and strides without it."""
    box = [(0, n) for n in shape]
    new = (*shape[:axis], *shape[axis + 1:])
    return box[:axis], box[axis + 1:], (Op.RESHAPE, new), new, (*strides[:axis], *strides[axis + 1:])


def is_all(index: Any) -> bool:
    """Whether an index of ``...`` and slices leaves nothing out at the beginning or in between."""
    return all([item is Ellipsis or (type(item) is slice and item.start in (None, 0) and item.step in (None, 1))
                for item in (index if type(index) is tuple else (index,))])


class Basic:
    """The view that integers, slices, None and ``...`` make, axis by axis."""

    __slots__ = ("_tensor", "box", "kept", "node", "offset", "shape", "steps", "strides")

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self.box: list[tuple[int, int]] = []
        self.steps: list[int] = []
        self.shape: list[int] = []
        self.strides: list[int] = []
        self.kept: list[int] = []  # the size of each axis after slicing
        self.offset = offset_of(tensor)
        self.node = "AliasBackward0"

    def integer(self, at: int, size: int, stride: int, dim: int) -> None:
        if not -size <= at < size:
            raise IndexError(f"index {at} is out of bounds for dimension {dim} with size {size}")
        at += size if at < 0 else 0
        self.box.append((at, at + 1))
        self.steps.append(1)
        self.kept.append(1)
        self.offset += at * stride
        self.node = "SelectBackward0"

    def slice(self, index: slice, size: int, stride: int) -> None:
        step = 1 if index.step is None else _number(index.step)
        if step == 0:
            raise ValueError("slice step cannot be zero")
        if step < 0:
            raise ValueError("step must be greater than zero")
        begin = 0 if index.start is None else _bound(index.start, size)
        end = max(begin, size if index.stop is None else _bound(index.stop, size))
        self.box.append((begin, end))
        self.steps.append(step)
        length = -(-(end - begin) // step)
        self.kept.append(length)
        self.shape.append(length)
        self.strides.append(stride * step)
        self.offset += begin * stride
        if length != size:
            self.node = "SliceBackward0"

    def whole(self, size: int, stride: int) -> None:
        self.box.append((0, size))
        self.steps.append(1)
        self.kept.append(size)
        self.shape.append(size)
        self.strides.append(stride)

    def new_axis(self, dim: int) -> None:
        """One before dimension ``dim`` of the tensor."""
        shape, strides = self._tensor._shape(), strides_of(self._tensor)
        self.shape.append(1)
        self.strides.append(shape[dim] * strides[dim] if dim < len(shape) else 1)
        self.node = "UnsqueezeBackward0"

    def view(self) -> Tensor:
        return make_view(self._tensor, *self.arguments())

    def arguments(self) -> tuple[Steps, tuple[int, ...], tuple[int, ...], int, str]:
        """Those of ``make_view``."""
        old = self._tensor._shape()
        moves: list[tuple[str, Any]] = []
        if any([b != (0, s) for b, s in zip(self.box, old, strict=True)]):
            moves.append((Op.SHRINK, tuple(self.box)))
        if any([s != 1 for s in self.steps]):
            moves.append((Op.STRIDE, tuple(self.steps)))
        shape = tuple(self.shape)
        if tuple(self.kept) != shape:
            moves.append((Op.RESHAPE, shape))
        return tuple(moves), shape, tuple(self.strides), self.offset, self.node


def _number(at: Any) -> int:
    if not hasattr(at, "__index__"):
        raise TypeError("slice indices must be integers or None or have an __index__ method")
    return position(at)


def _bound(at: Any, size: int) -> int:
    at = _number(at)
    if at < 0:
        at += size
    return 0 if at < 0 else min(at, size)
