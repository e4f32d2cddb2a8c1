"""Stage: front. In: a Tensor and index tensors along one dimension. Out: elements gathered or written there; masks and
coordinates of nonzero elements. Next: ``ordering.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.autograd.node import kind
from minigrad.dtype import bool_, int64
from minigrad.engine import leaf_from_numpy, to_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import Tensor, both, function, make, method, read_all, record
from minigrad.tensor.indexing import check_range, concrete, mask_coordinates, put, wrapped
from minigrad.tensor.operands import broadcast_shapes, dim_index, one_device
from minigrad.tensor.promotion import number


def check_index_range(index: Tensor, n: int, ignore: int | None = None,
                      message: str = "index {value} is out of bounds for dimension {dim} with size {size}",
                      error: type[Exception] = IndexError) -> bool:
    """``error`` at the call for a realised index tensor with values outside 0 … n-1 (``ignore`` apart).

    False for a pending one: nothing is known of it yet, and whoever uses it must see to it when it runs.
    """
    lazy = index._read()
    if lazy.buffer is None:
        return False
    array = to_numpy(lazy)
    if not array.size or (array.min() >= 0 and array.max() < n):
        return True
    wrong = (array < 0) | (array >= n)
    if ignore is not None:
        wrong &= array != ignore
    if wrong.any():
        raise error(message.format(value=int(array[wrong].flat[0]), dim=0, size=n))
    return True


def _check_index_dtype(index: Tensor, name: str) -> None:
    if not index.dtype.is_int:
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")


_INDEX_SELECT, _GATHER, _TAKE = kind("IndexSelectBackward0", "something"), kind("GatherBackward0", "something"), kind(
    "TakeBackward0", "something")
_MASKED_SELECT = kind("MaskedSelectBackward0", "something")


@both("index_select")
def index_select(self: Tensor, dim: int, index: Tensor) -> Tensor:
    """The parts of ``dim`` at the positions ``index``, a vector.

    >>> import minigrad
    >>> minigrad.tensor([10, 20, 30]).index_select(0, minigrad.tensor([2, 0]))
    tensor([30, 10])
    """
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    _check_index_dtype(index, "index_select")
    axis = dim_index(dim, self.ndim)
    la, li = self._read(), index._read().reshape((index.numel(),))
    one_device((la, li))
    x = la if la.shape else la.reshape((1,))
    check_range(li, x.shape[axis], axis, message="index out of range in self")
    order = (axis, *[i for i in range(len(x.shape)) if i != axis])
    out = x.permute(order).gather((wrapped(li, x.shape[axis]),))
    back = (*range(1, axis + 1), 0, *range(axis + 1, len(x.shape)))
    return record(_INDEX_SELECT, (out.permute(back),), (self,), (la,))[0]


def _coordinates(index: LazyBuffer, axis: int) -> list[LazyBuffer]:
    """For each axis of ``index`` its coordinate, except ``axis`` itself, which the index gives."""
    return [index if i == axis else LazyBuffer.index(index.shape, i, index.device) for i in range(len(index.shape))]


def _check_gather(self: Tensor, axis: int, index: Tensor, name: str) -> None:
    _check_index_dtype(index, name)
    if index.ndim != self.ndim and index.numel():
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for d, (m, n) in enumerate(zip(index._shape(), self._shape(), strict=False)):
        if d != axis and m > n:
            raise RuntimeError(f"Size does not match at dimension {d} expected index {list(index._shape())} to be no "
                               f"larger than self {list(self._shape())} apart from dimension {axis}")


@both("gather")
def gather(self: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """out[i, j] = self[index[i, j], j] for dim 0, self[i, index[i, j]] for dim 1, and so on."""
    axis = dim_index(dim, self.ndim)
    _check_gather(self, axis, index, "gather")
    la, li = self._read(), index._read()
    one_device((la, li))
    if not la.shape:
        return record(_GATHER, (la,), (self,), (la,))[0].reshape(index._shape())
    check_range(li, la.shape[axis], axis, RuntimeError)
    out = la.gather(_coordinates(wrapped(li, la.shape[axis]), axis))
    return record(_GATHER, (out,), (self,), (la,))[0]


@both("take_along_dim")
def take_along_dim(self: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """As ``gather``, with self and indices broadcast in the other dimensions; without ``dim`` on the flat tensor."""
    if dim is None:
        return self.reshape(-1).gather(0, indices.reshape(-1))
    axis = dim_index(dim, self.ndim)
    mine, theirs = list(self._shape()), list(indices._shape())
    mine[axis] = theirs[axis] = 1
    common = broadcast_shapes(mine, theirs)
    x = self.expand(*[self._shape()[axis] if i == axis else s for i, s in enumerate(common)])
    return x.gather(axis, indices.expand(*[indices._shape()[axis] if i == axis else s for i, s in enumerate(common)]))


@both("take")
def take(self: Tensor, index: Tensor) -> Tensor:
    """Elements of the flat tensor at ``index``, in its shape."""
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
        return tuple([make(c) for c in mask_coordinates(mask)])
    array = np.argwhere(concrete(self, "nonzero")).astype(np.int64)
    return make(leaf_from_numpy(array.reshape(-1, self.ndim), int64, self._storage.lazy.device))


@both("argwhere")
def argwhere(self: Tensor) -> Tensor:
    """``nonzero()``."""
    return self.nonzero()


# --- writing along a dimension


_SCATTER, _SCATTER_ADD = kind("ScatterBackward0", "something"), kind("ScatterAddBackward0", "something")
_INDEX_ADD, _INDEX_COPY = kind("IndexAddBackward0", "something"), kind("IndexCopyBackward0", "something")


def _scattered(self: Tensor, dim: int, index: Tensor, src: Any, mode: str, node: Any, name: str) -> Tensor:
    axis = dim_index(dim, self.ndim)
    _check_index_dtype(index, name)
    if isinstance(src, Tensor):
        if src.dtype is not self.dtype:
            raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
        tensors: tuple[Tensor, ...] = (self, src)
    else:
        tensors = (self,)
    lazies = read_all(tensors)
    la, li = lazies[0], index._read()
    one_device((*lazies, li))
    if not la.shape:
        la_shaped, li = la.reshape((1,)), li.reshape((1,))
    else:
        la_shaped = la
    if len(li.shape) != len(la_shaped.shape):
        if not index.numel():
            return record(node, (la,), tensors, lazies)[0]
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    check_range(li, la_shaped.shape[axis], axis, RuntimeError)
    if isinstance(src, Tensor):
        ls = lazies[1].reshape(lazies[1].shape or (1,))
        box = tuple([(0, n) for n in li.shape])
        if any(n > m for n, m in zip(li.shape, ls.shape, strict=True)):
            raise RuntimeError(f"Expected index {list(li.shape)} to be no larger than self {list(la_shaped.shape)} "
                               f"apart from dimension {axis} and to be no larger size than src {list(ls.shape)}")
        value = ls if ls.shape == li.shape else LazyBuffer(Op.SHRINK, (ls,), box, li.shape, ls.dtype, ls.device)
    else:
        value = LazyBuffer.const(number(src, la.dtype), la.dtype, li.shape, la.device)
    out = la_shaped.scatter(value, _coordinates(wrapped(li, la_shaped.shape[axis]), axis), mode)
    return record(node, (out.reshape(la.shape),), tensors, lazies)[0]


@both("scatter")
def scatter(self: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None,
            reduce: str | None = None) -> Tensor:
    """A copy with out[index[i, j], j] = src[i, j] for dim 0, and so on; ``reduce="add"`` adds, ``"multiply"`` is not
    there. The last of several writes to one place wins."""
    src = value if src is None else src
    if reduce not in (None, "add"):
        raise RuntimeError(f"scatter(reduce={reduce!r}) is not implemented; use reduce='add' or scatter_reduce")
    return _scattered(self, dim, index, src, "set" if reduce is None else "add", _SCATTER, "scatter")


@both("scatter_add")
def scatter_add(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy with src[i, j] added to out[index[i, j], j] for dim 0, and so on.

    >>> import minigrad
    >>> minigrad.zeros(3).scatter_add(0, minigrad.tensor([0, 0, 2]), minigrad.ones(3))
    tensor([2., 0., 1.])
    """
    return _scattered(self, dim, index, src, "add", _SCATTER_ADD, "scatter_add")


@both("scatter_reduce")
def scatter_reduce(self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *,
                   include_self: bool = True) -> Tensor:
    """As ``scatter`` with "sum", "mean", "amax" or "amin" of what falls on one place."""
    base = self
    if not include_self:
        start = {"sum": 0, "mean": 0, "amax": self.dtype.min, "amin": self.dtype.max}.get(reduce, 0)
        base = self.scatter(dim, index, value=start)
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
        return _scattered(base, dim, index, src, "max", _SCATTER, "scatter_reduce")
    if reduce == "amin":
        return -_scattered(-base, dim, index, -src, "max", _SCATTER, "scatter_reduce")
    raise RuntimeError(f"reduce argument must be either sum, mean, amax or amin, got {reduce}")


def _along(self: Tensor, dim: int, index: Tensor, source: Any, mode: str, node: Any, name: str) -> Tensor:
    """Whole parts of ``dim`` written at the positions ``index``."""
    axis = dim_index(dim, self.ndim)
    _check_index_dtype(index, name)
    tensors = (self, source) if isinstance(source, Tensor) else (self,)
    lazies = read_all(tensors)
    la, li = lazies[0], index._read().reshape((index.numel(),))
    one_device((*lazies, li))
    check_range(li, la.shape[axis], axis)
    order = (axis, *[i for i in range(len(la.shape)) if i != axis])
    front = la.permute(order)
    shape = (*li.shape, *front.shape[1:])
    if isinstance(source, Tensor):
        value = lazies[1].cast(la.dtype).permute(order)
        if value.shape != shape:
            raise RuntimeError(f"{name}(): source shape {list(lazies[1].shape)} does not match the index and self")
    else:
        value = LazyBuffer.const(number(source, la.dtype), la.dtype, shape, la.device)
    out = front.scatter(value, (wrapped(li, la.shape[axis]),), mode)
    back = (*range(1, axis + 1), 0, *range(axis + 1, len(la.shape)))
    return record(node, (out.permute(back),), tensors, lazies)[0]


@both("index_add")
def index_add(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """A copy with the parts of ``source`` along ``dim``, times alpha, added at the positions ``index``."""
    return _along(self, dim, index, source if alpha == 1 else source * alpha, "add", _INDEX_ADD, "index_add")


@both("index_copy")
def index_copy(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy with the parts of ``source`` along ``dim`` at the positions ``index``."""
    return _along(self, dim, index, source, "set", _INDEX_COPY, "index_copy")


@both("index_fill")
def index_fill(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy with ``value`` at the positions ``index`` of ``dim``."""
    value = value.item() if isinstance(value, Tensor) else value
    return _along(self, dim, index, value, "set", _INDEX_COPY, "index_fill")


@both("index_put")
def index_put(self: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy with ``values`` at ``self[indices]``."""
    return self.clone().index_put_(indices, values, accumulate)


@method("index_put_")
def index_put_(self: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    """``self[indices] = values``, or ``+=`` (also for repeated indices) with ``accumulate``."""
    given = [*indices, *[None] * (self.ndim - len(indices))]
    return put(self, given, values, "add" if accumulate else "set")


@function("one_hot")
def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """int64 rows that are 1 at the class and 0 elsewhere; -1 counts classes, which runs the input.

    >>> import minigrad
    >>> minigrad.one_hot(minigrad.tensor([2, 0]))
    tensor([[0, 0, 1],
            [1, 0, 0]])
    """
    if input.dtype is not int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if num_classes == -1:
        if not input.numel():
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        num_classes = int(concrete(input, "one_hot").max()) + 1
    check_index_range(input, num_classes, message="Class values must be smaller than num_classes.", error=RuntimeError)
    li = input._read()
    shape = (*li.shape, num_classes)
    chosen = li.reshape((*li.shape, 1)).expand(shape).binary(
        Op.EQ, LazyBuffer.index(shape, len(shape) - 1, li.device))
    return make(chosen.cast(int64))
