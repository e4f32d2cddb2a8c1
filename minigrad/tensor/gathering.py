"""Stage: front. In: a Tensor and index tensors along one dimension. Out: elements gathered or written there; masks and
coordinates of nonzero elements.
Next: ``parts.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import bool_, int64
from minigrad.engine import leaf_from_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import AnyTensor, make
from minigrad.tensor.capture import capturing
from minigrad.tensor.definition import both, function, in_place
from minigrad.tensor.function import Function
from minigrad.tensor.indexing import check_range, concrete, inverse, known, mask_coordinates, put, wrapped
from minigrad.tensor.operands import broadcast_shapes, dim_index, one_device
from minigrad.tensor.promotion import stored, type_name
from minigrad.tensor.storage import tracing

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def check_index_range(index: Tensor, n: int, ignore: int | None = None,
                      message: str = "index {value} is out of bounds for dimension {dim} with size {size}",
                      error: type[Exception] = IndexError) -> bool:
    """``error`` at the call for a realised index tensor with values outside 0 … n-1 (``ignore`` apart).

    False for a pending one: nothing is known of it yet, and whoever uses it must see to it when it runs.
    """
    array = known(index)
    if array is None:
        return False
    if not array.size or (array.min() >= 0 and array.max() < n):
        return True
    wrong = (array < 0) | (array >= n)
    if ignore is not None:
        wrong &= array != ignore
    if wrong.any():
        raise error(message.format(value=int(array[wrong].flat[0]), dim=0, size=n))
    return True


BEYOND = "out of range: tried to access index {value} on a tensor of {size} elements."


def _check_index_dtype(index: Tensor, name: str) -> None:
    if not index.dtype.is_int:
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")


def _selected(x: LazyBuffer, index: LazyBuffer, axis: int) -> LazyBuffer:
    whole = x if x.shape else x.reshape((1,))
    order = _in_front(axis, len(whole.shape))
    found = whole.permute(order).gather((index.reshape((index.size,)),)).permute(inverse(order))
    return found if x.shape else found.reshape(())


def _in_front(axis: int, dims: int) -> tuple[int, ...]:
    """The order of dimensions with one of them first."""
    return (axis, *[i for i in range(dims) if i != axis])


def _gather(x: LazyBuffer, index: LazyBuffer, axis: int) -> LazyBuffer:
    if not x.shape:
        return x.reshape(index.shape)
    return x.gather(_coordinates(index.reshape(index.shape or (1,)), axis)).reshape(index.shape)


_INDEX_SELECT = Function("index_select", _selected, "IndexSelectBackward0")
_GATHER = Function("gather", _gather, "GatherBackward0")


@cache
def _picking(node: str) -> Function:
    return Function("gather", _gather, node)


def picked(x: Tensor, axis: int, index: Tensor, node: str) -> Tensor:
    """``gather`` at places that an op has found, whose entry on the tape is ``node``."""
    return _picking(node)((x, index), (axis,))


def _coordinates(index: LazyBuffer, axis: int) -> list[LazyBuffer]:
    """For each axis of ``index`` its coordinate, except ``axis`` itself, which the index gives."""
    return [index if i == axis else LazyBuffer.index(index.shape, i, index.device) for i in range(len(index.shape))]


def _check_gather(self: Tensor, axis: int, index: Tensor, name: str) -> None:
    _check_index_dtype(index, name)
    if max(index.ndim, 1) != max(self.ndim, 1) and index.numel():
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for d, (m, n) in enumerate(zip(index._shape(), self._shape(), strict=False)):
        if d != axis and m > n:
            raise RuntimeError(f"Size does not match at dimension {d} expected index {list(index._shape())} to be no "
                               f"larger than self {list(self._shape())} apart from dimension {axis}")


# --- writing along a dimension


def _scattered(x: LazyBuffer, source: LazyBuffer, index: LazyBuffer, axis: int, mode: str) -> LazyBuffer:
    """A source without dimensions is written everywhere; of others the part of the index's size is."""
    whole, index = x.reshape(x.shape or (1,)), index.reshape(index.shape or (1,))
    if source.shape or not x.shape:
        source = source.reshape(source.shape or (1,))
    value = source.shrink(tuple([(0, n) for n in index.shape])) if source.shape else source.expand(index.shape)
    return whole.scatter(value, _coordinates(index, axis), mode).reshape(x.shape)


_SCATTER, _SCATTER_ADD = [Function("scatter", _scattered, f"{name}Backward0") for name in ("Scatter", "ScatterAdd")]


def _largest_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer | None],
                      axis: int, included: bool) -> tuple[LazyBuffer | None, ...]:
    """All elements that equal the largest on a place share its gradient equally. As in PyTorch, the element of x counts
    among them even where it is not ``included``, and gets none."""
    g = grads[0]
    if g is None:
        return None, None, None
    x, source, index, out, g = [v.reshape(v.shape or (1,)) for v in (*inputs, outputs[0], g)]
    places = _coordinates(index, axis)
    written = source.shrink(tuple([(0, n) for n in index.shape]))
    kept, won = [a.binary(Op.EQ, b).cast(x.dtype) for a, b in ((x, out), (written, out.gather(places)))]
    share = g.binary(Op.DIV, kept.scatter(won, places, "add"))
    to_source = won.binary(Op.MUL, share.gather(places))
    to_source = to_source.pad(tuple([(0, n - m, 0) for n, m in zip(source.shape, index.shape, strict=True)]))
    to_x = kept.binary(Op.MUL, share)
    if not included:
        to_x = to_x.scatter(to_x.like(0).shrink(tuple([(0, n) for n in index.shape])), places, "set")
    return to_x.reshape(inputs[0].shape), to_source.reshape(inputs[1].shape), None


def _largest(x: LazyBuffer, source: LazyBuffer, index: LazyBuffer, axis: int, included: bool) -> LazyBuffer:
    if not included:
        lowest = LazyBuffer.const(-math.inf if x.dtype.kind == "f" else x.dtype.min, x.dtype, index.shape, x.device)
        x = _scattered(x, lowest, index, axis, "set")
    return _scattered(x, source, index, axis, "max")


_SCATTER_LARGEST = Function("scatter_reduce", _largest, "ScatterReduceBackward0", _largest_gradient)


def _mirrored(x: Tensor) -> Tensor:
    """Its order turned round, exactly: -x of floats; ~x of others, for the smallest integer has no negative."""
    return -x if x.dtype.kind == "f" else ~x


def _scatter(self: Tensor, dim: int, index: Tensor, src: Any, mode: str | bool, function: Function,
             name: str) -> Tensor:
    axis = dim_index(dim, self.ndim)
    _check_index_dtype(index, name)
    given = src if isinstance(src, AnyTensor) else None
    if given is not None and given.dtype is not self.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
    one_device([t._pending() for t in (self, given, index) if t is not None])
    shape, rows = self._shape() or (1,), index._shape() or (1,)
    if len(rows) != len(shape):
        if not index.numel():
            return self.clone()
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    check_range(index, shape[axis], axis, RuntimeError, negative=False)
    if given is not None:
        source = given._shape() or (1,)
        if any(n > m for n, m in zip(rows, source, strict=True)):
            raise RuntimeError(f"Expected index {list(rows)} to be no larger than self {list(shape)} "
                               f"apart from dimension {axis} and to be no larger size than src {list(source)}")
    else:
        given = _number_tensor(src, self)
    return function((self, given, index.to(int64)), (axis, mode))


def _number_tensor(value: Any, like: Tensor) -> Tensor:
    """A number as a 0-d operand beside a Tensor."""
    return make(LazyBuffer.const(stored(value, like.dtype), like.dtype, (), like._pending().device))


def _put_along(x: LazyBuffer, source: LazyBuffer, index: LazyBuffer, axis: int, mode: str) -> LazyBuffer:
    """A source without dimensions is written everywhere."""
    shape = x.shape
    x = x if shape else x.reshape((1,))
    order = _in_front(axis, len(x.shape))
    front = x.permute(order)
    index = index.reshape((index.size,))
    value = source.cast(x.dtype)
    if not shape:
        value = value.reshape((1,))
    value = value.permute(order) if value.shape else value.expand((*index.shape, *front.shape[1:]))
    return front.scatter(value, (index,), mode).permute(inverse(order)).reshape(shape)


_INDEX_ADD = Function("index_add", _put_along, "IndexAddBackward0")
_INDEX_COPY = Function("index_copy", _put_along, "IndexCopyBackward0")


def _along(self: Tensor, dim: int, index: Tensor, source: Any, mode: str, function: Function, name: str) -> Tensor:
    """Whole parts of ``dim`` written at the positions ``index``. Only a number may go to positions below 0, which count
    from the end."""
    axis = dim_index(dim, self.ndim)
    _check_index_dtype(index, name)
    if index.ndim > 1 and name == "index_fill":
        raise RuntimeError("Index has to be a vector/scalar")
    if index.ndim > 1:
        raise IndexError(f"{name}_(): Index is supposed to be a vector, but got dim: {index.ndim} with type: "
                         f"{type_name(index.dtype)} and size: {list(index._shape())}")
    is_tensor = isinstance(source, AnyTensor)
    given = source if is_tensor else _number_tensor(source, self)
    one_device([t._pending() for t in (self, given, index)])
    size = self._shape()[axis] if self.ndim else 1
    if is_tensor:
        _check_source(self, axis, index, source, name)
    prefix = "index_copy_(): " if is_tensor else ""
    check_range(index, size, axis, negative=not is_tensor, message="index out of range in self"
                if name == "index_add" else
                prefix + "index {value} is out of bounds for dimension {dim} with size {size}")
    return function((self, given, index.to(int64) if is_tensor else wrapped(index, size)), (axis, mode))


def _check_source(self: Tensor, axis: int, index: Tensor, source: Tensor, name: str) -> None:
    """``RuntimeError`` or ``IndexError`` unless ``source`` has a part of self's shape for each index."""
    shape, found, count = self._shape(), source._shape(), index.numel()
    if source.dtype is not self.dtype:
        mine, theirs = type_name(self.dtype), type_name(source.dtype)
        raise RuntimeError(f"index_add_(): self ({mine}) and source ({theirs}) must have the same scalar type"
                           if name == "index_add" else f"{name}_(): self and source expected to have the same dtype, "
                           f"but got (self) {mine} and (source) {theirs}")
    if not found and name == "index_copy":
        if count != 1:
            raise IndexError(f"{name}_(): When source is scalar, index should have one element (got {count})")
        if len(shape) <= 1:
            return
    if len(found) != len(shape):
        if name == "index_add" or not found:
            raise RuntimeError("source tensor shape must match self tensor shape, excluding the specified dimension. "
                               f"Got self.shape = {list(shape)} source.shape = {list(found)}")
        raise IndexError(f"{name}_(): When source and destination are not scalars, their dimensionality must match. "
                         f"Source dimensionality ({len(found)}), destination dimensionality ({len(shape)})")
    if found[:axis] + found[axis + 1:] != shape[:axis] + shape[axis + 1:]:
        if name == "index_copy":
            mine, theirs = [" ".join(map(str, s[:axis] + s[axis + 1:])) for s in (shape, found)]
            raise RuntimeError("index_copy_(): Source/destination tensor must have same slice shapes. Destination "
                               f"slice shape: {mine} at dimension {axis} and source slice shape: {theirs} at "
                               f"dimension 0.")
        raise RuntimeError("source tensor shape must match self tensor shape, excluding the specified dimension. "
                           f"Got self.shape = {list(shape)} source.shape = {list(found)}")
    if found and found[axis] != count:
        raise RuntimeError(f"{name}_(): Number of indices ({count}) should be equal to source.size({axis}): "
                           f"({found[axis]}), for dim: {axis}")


@function("one_hot")
def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """int64, in a new last dimension 1 at the class and 0 elsewhere; -1 takes the largest class plus one.

    ``RuntimeError`` for classes below 0 or not below ``num_classes``: the input is computed, unless it is part of what
    ``minigrad.jit`` or a composite records, where the number of classes must be given. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.one_hot.html

    >>> import minigrad
    >>> minigrad.nn.functional.one_hot(minigrad.tensor([2, 0]))
    tensor([[0, 0, 1],
            [1, 0, 0]])
    """
    if input.dtype is not int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if num_classes == -1 or not (capturing() or tracing.names):
        classes = concrete(input, "one_hot")
        if not classes.size:
            if num_classes <= 0:
                raise RuntimeError("Can not infer total number of classes from empty tensor.")
        elif classes.min() < 0:
            raise RuntimeError("Class values must be non-negative.")
        elif num_classes == -1:
            num_classes = int(classes.max()) + 1
        elif classes.max() >= num_classes:
            raise RuntimeError("Class values must be smaller than num_classes.")
    return _ONE_HOT((input,), (num_classes,))


def _one_hot(index: LazyBuffer, classes: int) -> LazyBuffer:
    shape = (*index.shape, classes)
    chosen = index.reshape((*index.shape, 1)).expand(shape)
    return chosen.binary(Op.EQ, LazyBuffer.index(shape, len(shape) - 1, index.device)).cast(int64)


_ONE_HOT = Function("one_hot", _one_hot, "NotDifferentiable")


class Gathering:
    """Elements gathered from, or written to, the positions that index tensors and masks name."""

    __slots__ = ()

    @both("index_select")
    def index_select(self: Tensor, dim: int, index: Tensor) -> Tensor:
        """The parts of ``dim`` at the positions ``index``, a vector.

        >>> import minigrad
        >>> minigrad.tensor([10, 20, 30]).index_select(0, minigrad.tensor([2, 0]))
        tensor([30, 10])
        """
        if index.ndim > 1:
            raise IndexError("index_select(): Index is supposed to be a vector")
        if not index.dtype.is_int:
            raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")
        axis = dim_index(dim, self.ndim)
        one_device((self._pending(), index._pending()))
        if not self._shape() and index.numel() != 1:
            raise RuntimeError(f"index_select(): Index to scalar can have only 1 value, got {index.numel()} value(s)")
        size = self._shape()[axis] if self._shape() else 1
        check_range(index, size, axis, message="index out of range in self", negative=False)
        return _INDEX_SELECT((self, index.to(int64)), (axis,))

    @both("gather")
    def gather(self: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
        """out[i, j] = self[index[i, j], j] for dim 0, self[i, index[i, j]] for dim 1, and so on."""
        axis = dim_index(dim, self.ndim)
        _check_gather(self, axis, index, "gather")
        one_device((self._pending(), index._pending()))
        if not self._shape():
            return _GATHER((self, index), (axis,))
        check_range(index, self._shape()[axis], axis, RuntimeError, negative=False)
        return _GATHER((self, index.to(int64)), (axis,))

    @both("take_along_dim")
    def take_along_dim(self: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
        """As ``gather``, with self and indices broadcast in the other dimensions; without ``dim`` on the flat
        tensor. With ``dim``, indices are taken modulo its size, so that those below 0 count from the end."""
        if indices.dtype is not int64:
            raise RuntimeError(f"torch.take_along_dim(): dtype of indices should be Long but got "
                               f"{type_name(indices.dtype)}")
        if dim is None:
            return self.reshape(-1).gather(0, indices.reshape(-1))
        if self.ndim != indices.ndim:
            raise RuntimeError(f"torch.take_along_dim(): input and indices should have the same number of dimensions, "
                               f"but got {self.ndim} dimensions for input, and {indices.ndim} dimensions for indices")
        axis = dim_index(dim, self.ndim)
        indices = indices.remainder(self._shape()[axis]) if self._shape()[axis:] else indices
        mine, theirs = list(self._shape()), list(indices._shape())
        mine[axis] = theirs[axis] = 1
        common = broadcast_shapes(mine, theirs)
        x, y = [t.expand(*[t._shape()[axis] if i == axis else s for i, s in enumerate(common)])
                for t in (self, indices)]
        return x.gather(axis, y)

    @both("take")
    def take(self: Tensor, index: Tensor) -> Tensor:
        """Elements of the flat tensor at ``index``, in its shape."""
        if index.numel() and not self.numel():
            raise IndexError("take(): tried to take from an empty tensor")
        check_range(index, self.numel(), 0, message=BEYOND)
        return self.reshape(-1)[index]

    @both("masked_select")
    def masked_select(self: Tensor, mask: Tensor) -> Tensor:
        """The elements where the mask holds, in one dimension; self and mask are broadcast."""
        if mask.dtype is not bool_:
            raise RuntimeError("masked_select: expected BoolTensor for mask")
        shape = broadcast_shapes(self._shape(), mask._shape())
        return self.expand(shape)[mask.expand(shape)]

    @both("nonzero")
    def nonzero(self: Tensor, *, as_tuple: bool = False) -> Any:
        """The coordinates of the elements that are not 0: a row each, or a vector for each dimension.

        >>> import minigrad
        >>> minigrad.tensor([[0, 1], [2, 0]]).nonzero()
        tensor([[0, 1],
                [1, 0]])
        """
        if as_tuple:
            mask = self if self.ndim else self.reshape(1)
            return tuple(mask_coordinates(mask))
        array = np.argwhere(concrete(self, "nonzero")).astype(np.int64)
        array = array.reshape(len(array), self.ndim)  # NumPy gives a number one dimension
        return make(leaf_from_numpy(array, int64, self._pending().device))

    @both("argwhere")
    def argwhere(self: Tensor) -> Tensor:
        """``nonzero()``."""
        return self.nonzero()

    # --- writing along a dimension

    @both("scatter")
    def scatter(self: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None,
                reduce: str | None = None) -> Tensor:
        """A copy with out[index[i, j], j] = src[i, j] for dim 0, and so on; ``reduce="add"`` adds, ``"multiply"`` is
        not there. The last of several writes to one place wins."""
        src = value if src is None else src
        if reduce not in (None, "add"):
            raise RuntimeError(f"scatter(reduce={reduce!r}) is not implemented; use reduce='add' or scatter_reduce")
        return _scatter(self, dim, index, src, "set" if reduce is None else "add", _SCATTER, "scatter")

    scatter_ = in_place(scatter)

    @both("scatter_add")
    def scatter_add(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
        """A copy with src[i, j] added to out[index[i, j], j] for dim 0, and so on.

        >>> import minigrad
        >>> minigrad.zeros(3).scatter_add(0, minigrad.tensor([0, 0, 2]), minigrad.ones(3))
        tensor([2., 0., 1.])
        """
        return _scatter(self, dim, index, src, "add", _SCATTER_ADD, "scatter_add")

    scatter_add_ = in_place(scatter_add)

    @both("scatter_reduce")
    def scatter_reduce(self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *,
                       include_self: bool = True) -> Tensor:
        """As ``scatter`` with "sum", "mean", "amax" or "amin" of what falls on one place."""
        base = self
        if not include_self and reduce in ("sum", "mean"):
            base = self.scatter(dim, index, value=0)
        if reduce == "sum":
            return base.scatter_add(dim, index, src)
        if reduce == "mean":
            ones = src.new_ones(src._shape())
            start_count = self.new_ones(self._shape())
            counts = start_count if include_self else start_count.scatter(dim, index, value=0)
            counts = counts.scatter_add(dim, index, ones)
            total = base.scatter_add(dim, index, src)
            return total / counts.clamp(min=1) if total.dtype.kind == "f" else total // counts.clamp(min=1)
        if reduce == "amax":
            return _scatter(self, dim, index, src, include_self, _SCATTER_LARGEST, "scatter_reduce")
        if reduce == "amin":
            mine, given = [_mirrored(t) for t in (self, src)]
            return _mirrored(_scatter(mine, dim, index, given, include_self, _SCATTER_LARGEST, "scatter_reduce"))
        raise RuntimeError(f"reduce argument must be either sum, mean, amax or amin, got {reduce}")

    scatter_reduce_ = in_place(scatter_reduce)

    @both("index_add")
    def index_add(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
        """A copy with the parts of ``source`` along ``dim``, times alpha, added at the positions ``index``."""
        return _along(self, dim, index, source if alpha == 1 else source * alpha, "add", _INDEX_ADD, "index_add")

    index_add_ = in_place(index_add)

    @both("index_copy")
    def index_copy(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
        """A copy with the parts of ``source`` along ``dim`` at the positions ``index``."""
        return _along(self, dim, index, source, "set", _INDEX_COPY, "index_copy")

    index_copy_ = in_place(index_copy)

    @both("index_fill")
    def index_fill(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
        """A copy with ``value`` at the positions ``index`` of ``dim``."""
        if isinstance(value, AnyTensor):
            if value.ndim:
                raise RuntimeError("index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                                   f"{value.ndim} dimension(s).")
            value = value.item()
        return _along(self, dim, index, value, "set", _INDEX_COPY, "index_fill")

    index_fill_ = in_place(index_fill)

    @both("index_put")
    def index_put(self: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
        """A copy with ``values`` at ``self[indices]``."""
        return self.clone().index_put_(indices, values, accumulate)

    def index_put_(self: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
        """``self[indices] = values``, or ``+=`` (also for repeated indices) with ``accumulate``."""
        given = [*indices, *[None] * (self.ndim - len(indices))]
        return put(self, given, values, "add" if accumulate else "set")
