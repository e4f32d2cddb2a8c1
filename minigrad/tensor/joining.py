"""Stage: front. In: several Tensors, or one and how to divide it. Out: them joined (``cat``, ``stack``), or its parts
(views).
Next: ``indexing.py``."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import DType, int32, int64
from minigrad.engine import leaf_from_numpy
from minigrad.graph.host import register_host
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import AnyTensor, make
from minigrad.tensor.definition import also, become, both, function
from minigrad.tensor.elements import concrete
from minigrad.tensor.function import Function
from minigrad.tensor.movement import part, shape_argument
from minigrad.tensor.operands import dim_index, one_device, result_dtype
from minigrad.tensor.promotion import type_name
from minigrad.tensor.slicing import select_part

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

# Up to this many tensors are joined inside a kernel, and as many of their results in another one. NumPy joins more:
# each kernel is compiled, for parts of different sizes anew.
IN_KERNEL = 8


def _concatenate(arrays: Sequence[np.ndarray], axis: int) -> np.ndarray:
    return np.concatenate(arrays, axis)


register_host("concatenate", _concatenate)


def cat_values(parts: Sequence[LazyBuffer], axis: int) -> LazyBuffer:
    """Values of one dtype joined along an axis. Each is padded to its place, and the coordinate chooses."""
    if len(parts) == 1:
        return parts[0]
    total = sum([p.shape[axis] for p in parts])
    first = parts[0]
    shape = (*first.shape[:axis], total, *first.shape[axis + 1:])
    if IN_KERNEL < len(parts) <= IN_KERNEL ** 2:
        kernels = -(-len(parts) // IN_KERNEL)
        size = -(-len(parts) // kernels)
        return cat_values([cat_values(parts[i:i + size], axis).contiguous() for i in range(0, len(parts), size)], axis)
    if len(parts) > IN_KERNEL:
        return LazyBuffer(Op.HOST, tuple(parts), ("concatenate", (axis,)), shape, first.dtype, first.device)
    coordinate = LazyBuffer.index(shape, axis, first.device)
    end = total
    result = None
    for value in reversed(parts):
        begin = end - value.shape[axis]
        padded = _padded(value, axis, begin, total - end)
        result = padded if result is None else coordinate.binary(Op.LT, coordinate.like(end)).where(padded, result)
        end = begin
    assert result is not None
    return result


def _padded(value: LazyBuffer, axis: int, low: int, high: int) -> LazyBuffer:
    return value.pad(tuple([(low, high, 0) if i == axis else (0, 0, 0) for i in range(len(value.shape))]))


def _join(*args: Any) -> LazyBuffer:
    """The values, each in its reshaped form, joined."""
    *values, dtype, shapes, axis = args
    return cat_values([v.cast(dtype).reshape(s) for v, s in zip(values, shapes, strict=True)], axis)


def _join_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer],
                   dtype: DType, shapes: Sequence[tuple[int, ...]], axis: int) -> list[LazyBuffer]:
    """Each input's part is cut out; no value of the forward pass is read."""
    g, begin, found = grads[0], 0, []
    for value, shape in zip(inputs, shapes, strict=True):
        found.append(_cut(g, axis, begin, begin + shape[axis]).reshape(value.shape).cast(value.dtype))
        begin += shape[axis]
    return found


_CAT = Function("cat", _join, "CatBackward0", _join_gradient)
_STACK = Function("stack", _join, "StackBackward0", _join_gradient)


def _joined(function: Function, tensors: Sequence[Tensor], shapes: Sequence[tuple[int, ...]], axis: int) -> Tensor:
    one_device([t._pending() for t in tensors])
    return function(tensors, (result_dtype(tensors), tuple(shapes), axis))


def checked_list(tensors: Any, name: str) -> list[Tensor]:
    """The Tensors as a list; ``TypeError`` in PyTorch's words for anything else, an error if there are none."""
    if isinstance(tensors, AnyTensor) or not isinstance(tensors, tuple | list):
        raise TypeError(f"{name}(): argument 'tensors' (position 1) must be tuple of Tensors, not "
                        f"{type(tensors).__name__}")
    if not tensors and name == "cat":
        raise ValueError("minigrad.cat(): expected a non-empty list of Tensors")
    if not tensors:
        raise RuntimeError(f"{name} expects a non-empty TensorList")
    for i, t in enumerate(tensors):
        if not isinstance(t, AnyTensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
    return list(tensors)


@function("cat", "concat", "concatenate")
def cat(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """The tensors one after another along ``dim``; all other sizes must agree.

    >>> import minigrad
    >>> minigrad.cat([minigrad.zeros(1, 2), minigrad.ones(1, 2)])
    tensor([[0., 0.],
            [1., 1.]])
    """
    given = checked_list(tensors, "cat")
    dim = dim if axis is None else axis
    for i, t in enumerate(given):
        if t.ndim == 0:
            raise RuntimeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    kept = [t for t in given if t._shape() != (0,)]
    first = kept[0]._shape() if kept else (0,)
    where = dim_index(dim, len(first)) if kept else 0
    for i, t in enumerate(kept):
        shape = t._shape()
        if len(shape) != len(first):
            raise RuntimeError(f"Tensors must have same number of dimensions: got {len(first)} and {len(shape)}")
        for d, (m, n) in enumerate(zip(first, shape, strict=True)):
            if d != where and m != n:
                raise RuntimeError(f"Sizes of tensors must match except in dimension {where}. Expected size {m} but "
                                   f"got size {n} for tensor number {i} in the list.")
    nothing = (*first[:where], 0, *first[where + 1:])  # a vector without elements goes with everything
    return _joined(_CAT, given, [nothing if t._shape() == (0,) else t._shape() for t in given], where)


@function("stack")
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The tensors, all of one shape, along a new dimension.

    >>> import minigrad
    >>> minigrad.stack([minigrad.tensor(1), minigrad.tensor(2)])
    tensor([1, 2])
    """
    given = checked_list(tensors, "stack")
    shape = given[0]._shape()
    axis = dim_index(dim, len(shape) + 1)
    for i, t in enumerate(given):
        if t._shape() != shape:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                               f"{list(t._shape())} at entry {i}")
    return _joined(_STACK, given, [(*shape[:axis], 1, *shape[axis:])] * len(given), axis)


def _at_least(dims: int, t: Tensor) -> Tensor:
    """With leading (for 3 also a trailing) dimensions of size 1."""
    if t.ndim >= dims:
        return t
    if dims == 3 and t.ndim == 2:
        return t.unsqueeze(-1)
    if dims == 3 and t.ndim == 1:
        return t.reshape(1, -1, 1)
    return t.reshape((1,) * (dims - t.ndim) + t._shape())


def _at_least_function(dims: int) -> None:
    def at_least(*tensors: Any) -> Any:
        if len(tensors) == 1 and isinstance(tensors[0], AnyTensor):
            return _at_least(dims, tensors[0])
        given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], tuple | list) else tensors
        return tuple([_at_least(dims, t) for t in (checked_list(given, name) if given else ())])

    name = f"atleast_{dims}d"
    at_least.__doc__ = f"Tensors with at least {dims} dimensions."
    function(name)(at_least)


for _dims in (1, 2, 3):
    _at_least_function(_dims)


@function("hstack")
def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along dimension 1, vectors along 0."""
    given = [_at_least(1, t) for t in checked_list(tensors, "hstack")]
    return cat(given, 0 if given[0].ndim == 1 else 1)


@function("vstack", "row_stack")
def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along dimension 0; vectors are rows."""
    return cat([_at_least(2, t) for t in checked_list(tensors, "vstack")])


@function("dstack")
def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along dimension 2."""
    return cat([_at_least(3, t) for t in checked_list(tensors, "dstack")], 2)


@function("column_stack")
def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Joined along dimension 1; vectors are columns."""
    return cat([t.reshape(-1, 1) if t.ndim < 2 else t for t in checked_list(tensors, "column_stack")], 1)


# --- shifted and repeated


def _cut(x: LazyBuffer, axis: int, begin: int, end: int) -> LazyBuffer:
    return x.shrink(tuple([(begin, end) if i == axis else (0, s) for i, s in enumerate(x.shape)]))


def _rolled(x: LazyBuffer, shifts: tuple[int, ...], axes: tuple[int, ...]) -> LazyBuffer:
    for shift, axis in zip(shifts, axes, strict=True):
        size = x.shape[axis]
        shift = shift % size if size else 0
        if shift:
            x = cat_values((_cut(x, axis, size - shift, size), _cut(x, axis, 0, size - shift)), axis)
    return x


_ROLL = Function("roll", _rolled, "RollBackward0")


def _repeat_each(x: LazyBuffer, repeats: int, axis: int) -> LazyBuffer:
    before, size, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1:]
    wide = x.reshape((*before, size, 1, *after)).expand((*before, size, repeats, *after))
    return wide.reshape((*before, size * repeats, *after))


_REPEAT_INTERLEAVE = Function("repeat_interleave", _repeat_each, "RepeatInterleaveBackward0")


def _positions(array: np.ndarray, like: Tensor) -> Tensor:
    return make(leaf_from_numpy(array.astype(np.int64), int64, like._pending().device))


def _spread_out(repeats: Tensor, output_size: int | None) -> np.ndarray:
    """0, 1, 2 …, each as often as it says."""
    if repeats.dtype not in (int32, int64):
        raise RuntimeError("repeats has to be Long or Int tensor")
    counts = concrete(repeats.detach(), "repeat_interleave")
    if counts.size and counts.min() < 0:
        raise RuntimeError("repeats can not be negative")
    if output_size is not None and output_size != counts.sum():
        raise RuntimeError("allocated size does not match required size")
    return np.repeat(np.arange(counts.size), counts)


def _split_points(given: Tensor) -> Any:
    """What ``tensor_split`` is given as a Tensor: a number of parts or indices."""
    if given.dtype is not int64:
        raise RuntimeError("tensor_split expected tensor_indices_or_sections to have dtype of long, but got "
                           f"{type_name(given.dtype)}")
    if given.ndim > 1:
        raise RuntimeError("tensor_split expected tensor_indices_or_sections to be a zero-dimensional or "
                           f"one-dimensional tensor, but got a tensor with {given.ndim} dims")
    return given.tolist()


class Joining:
    """A tensor divided into parts, shifted, or with its parts repeated."""

    __slots__ = ()

    # --- dividing

    @both("split", keywords={"tensor": "input", "split_size_or_sections": "split_size"})
    def split(self: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
        """Parts of ``split_size`` (the last may be smaller), or of the sizes in a list; views."""
        shape = self._shape()
        axis = dim_index(dim, len(shape))
        if not shape:
            raise RuntimeError("split expects at least a 1-dimensional tensor")
        size = shape[axis]
        if isinstance(split_size, tuple | list):
            sizes = [index(s) for s in split_size]
            if min(sizes, default=0) < 0:
                raise RuntimeError("split_with_sizes expects split_sizes have only non-negative entries, but got "
                                   f"split_sizes={sizes}")
            if sum(sizes) != size:
                raise RuntimeError(f"split_with_sizes expects split_sizes to sum exactly to {size} (input tensor's "
                                   f"size at dimension {axis}), but got split_sizes={sizes}")
            node = "SplitWithSizesBackward0"
        else:
            step = index(split_size)
            if step == 0 and size:
                raise RuntimeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {size}")
            if step < 0:
                raise RuntimeError(f"split expects split_size be non-negative, but got split_size={step}")
            sizes = [min(step, size - at) for at in range(0, size, step)] if size else [0]
            node = "SplitBackward0"
        result, begin = [], 0
        for s in sizes:
            result.append(part(self, axis, begin, begin + s, node))
            begin += s
        return tuple(result)

    @both("split_with_sizes")
    def split_with_sizes(self: Tensor, split_sizes: Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
        """``split`` with a list of sizes."""
        return self.split(list(split_sizes), dim)

    @both("chunk")
    def chunk(self: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """At most ``chunks`` parts of equal size, the last maybe smaller; views."""
        if not self.ndim:
            raise RuntimeError("chunk expects at least a 1-dimensional tensor")
        if chunks <= 0:
            raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
        size = self._shape()[dim_index(dim, self.ndim)]
        if size == 0:
            return self.split([0] * chunks, dim)
        return self.split(-(-size // chunks), dim)

    @both("tensor_split")
    @also(sections="indices_or_sections", indices="indices_or_sections",
          tensor_indices_or_sections="indices_or_sections")
    def tensor_split(self: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
        """As many parts as asked for, the first ones one longer; or parts that end at the given indices; views."""
        if not self.ndim:
            raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims")
        if isinstance(indices_or_sections, AnyTensor):
            indices_or_sections = _split_points(indices_or_sections)
        axis = dim_index(dim, self.ndim)
        size = self._shape()[axis]
        if isinstance(indices_or_sections, int):
            if indices_or_sections <= 0:
                raise RuntimeError(f"number of sections must be larger than 0, got {indices_or_sections}")
            base, more = divmod(size, indices_or_sections)
            ends = [(i + 1) * base + min(i + 1, more) for i in range(indices_or_sections - 1)]
        else:
            ends = [min(max(index(i) + (size if i < 0 else 0), 0), size) for i in indices_or_sections]
        begins = [0, *ends]
        return tuple([part(self, axis, b, max(b, e), "SliceBackward0")
                      for b, e in zip(begins, [*ends, size], strict=True)])

    @both("unbind")
    def unbind(self: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
        """The parts along ``dim``, without it; views."""
        axis = dim_index(dim, self.ndim)
        if not self.ndim:
            raise IndexError("Dimension specified as 0 but tensor has no dimensions")
        return tuple([select_part(self, axis, i, "UnbindBackward0") for i in range(self._shape()[axis])])

    # --- shifted and repeated

    @both("roll")
    def roll(self: Tensor, shifts: Any, dims: Any = None) -> Tensor:
        """Shifted along ``dims``; what leaves at the end comes in at the front. Without ``dims``, as if flat."""
        if isinstance(shifts, tuple | list) and not shifts:
            raise RuntimeError("`shifts` required")
        if dims is None or dims == ():
            if isinstance(shifts, tuple | list):
                if len(shifts) != 1:
                    raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:0")
                shifts, = shifts
            rolled = self.reshape(-1).roll(shifts, 0)
            return become(rolled, rolled.reshape(self._shape()))
        shift_list = shape_argument((shifts,)) if not isinstance(shifts, tuple | list) else tuple(shifts)
        dim_list = (dims,) if isinstance(dims, int) else tuple(dims)
        if len(shift_list) != len(dim_list):
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shift_list)}, dims:{len(dim_list)}")
        if not self.ndim:
            raise IndexError(f"Dimension specified as {dim_list[0]} but tensor has no dimensions")
        return _ROLL((self,), (shift_list, tuple([dim_index(dim, len(self._shape())) for dim in dim_list])))

    @both("repeat_interleave")
    def repeat_interleave(self: Tensor, repeats: Any = None, dim: int | None = None, *,
                          output_size: int | None = None) -> Tensor:
        """Each element ``repeats`` times in a row along ``dim`` (None: flat); repeats is a number or one for each.
        Without ``repeats``, self is them, and the elements are 0, 1, 2 …

        >>> import minigrad
        >>> minigrad.repeat_interleave(minigrad.tensor([1, 0, 2]))
        tensor([0, 2, 2])
        """
        if repeats is None:
            if self.ndim != 1:
                raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
            return _positions(_spread_out(self, output_size), self)
        x = self.reshape(-1) if dim is None else self
        axis = dim_index(0 if dim is None else dim, x.ndim)
        if isinstance(repeats, AnyTensor) and repeats.numel() == 1:
            repeats = int(repeats.item())
        if isinstance(repeats, AnyTensor):
            if repeats.numel() != x._shape()[axis]:
                raise RuntimeError(f"repeats must have the same size as input along dim, but got repeats.size(0) = "
                                   f"{repeats.numel()} and input.size({axis}) = {x._shape()[axis]}")
            return x.index_select(axis, _positions(_spread_out(repeats, output_size), self))
        if index(repeats) < 0:
            raise RuntimeError("repeats can not be negative")
        return _REPEAT_INTERLEAVE((x,), (index(repeats), axis))
