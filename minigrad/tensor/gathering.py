"""Stage: front. In: a Tensor and index tensors along one dimension. Out: elements gathered there; masks and coordinates
of nonzero elements.
Next: ``places.py``."""

from __future__ import annotations

from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import bool_, int32, int64
from minigrad.engine import leaf_from_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.aliases import strided_alias
from minigrad.tensor.base import make
from minigrad.tensor.capture import capturing
from minigrad.tensor.definition import both, function
from minigrad.tensor.elements import check_range, concrete
from minigrad.tensor.function import Function
from minigrad.tensor.indexing import inverse
from minigrad.tensor.operands import broadcast_shapes, dim_index, fit, one_device
from minigrad.tensor.promotion import type_name
from minigrad.tensor.storage import tracing

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def check_index_range(index: Tensor, n: int, ignore: int | None = None,
                      message: str = "index {value} is out of bounds for dimension {dim} with size {size}",
                      error: type[Exception] = IndexError, dim: int = 0) -> bool:
    """``error`` at the call for a realised index tensor with values outside 0 … n-1 (``ignore`` apart).

    False for a pending one: nothing is known of it yet, and whoever uses it must see to it when it runs.
    """
    return check_range(index, n, dim, error, message, False, ignore)


def check_index_dtype(index: Tensor, name: str, words: str = "int32/int64 for index") -> None:
    """``RuntimeError`` for an index tensor that is neither int32 nor int64."""
    if index.dtype is not int64 and index.dtype is not int32:
        raise RuntimeError(f"{name}(): Expected dtype {words}")


def any_if_empty(index: Tensor) -> Tensor:
    """An index tensor without elements may be of any dtype: int64 then."""
    return index if index.dtype is int64 or index.numel() else index.detach().to(int64)


def check_flat_index(x: Tensor, index: Tensor, name: str) -> None:
    """Raises for positions that the flat tensor does not have; negative ones count from its end."""
    if index.dtype is not int64:
        raise RuntimeError(f"{name}(): Expected a long tensor for index, but got {type_name(index.dtype)}")
    size = x.numel()
    if not size and index.numel():
        raise IndexError(f"{name}(): tried to take from an empty tensor")
    check_range(index, size, 0, message="out of range: tried to access index {value} on a tensor of {size} elements.")


def _selected(x: LazyBuffer, index: LazyBuffer, axis: int) -> LazyBuffer:
    shape, x = x.shape, x.reshape(x.shape or (1,))
    order = in_front(axis, len(x.shape))
    found = x.permute(order).gather((index.cast(int64).reshape((index.size,)),)).permute(inverse(order))
    return found if shape else found.reshape(())


def in_front(axis: int, dims: int) -> tuple[int, ...]:
    """The order of dimensions with one of them first."""
    return (axis, *[i for i in range(dims) if i != axis])


def _gather(x: LazyBuffer, index: LazyBuffer, axis: int) -> LazyBuffer:
    found = x.reshape(x.shape or (1,)).gather(coordinates(index.cast(int64).reshape(index.shape or (1,)), axis))
    return found.reshape(index.shape)


_INDEX_SELECT = Function("index_select", _selected, "IndexSelectBackward0")
_GATHER = Function("gather", _gather, "GatherBackward0")


@cache
def _picking(node: str) -> Function:
    return Function("gather", _picked, node)


def _picked(x: LazyBuffer, index: LazyBuffer, axis: int, keepdim: bool) -> LazyBuffer:
    if keepdim:
        return _gather(x, index, axis)
    shape = index.shape
    return _gather(x, index.reshape((*shape[:axis], 1, *shape[axis:])), axis).reshape(shape)


def picked(x: Tensor, axis: int, index: Tensor, node: str, keepdim: bool = True) -> tuple[Tensor, Tensor]:
    """``gather`` at places that an op has found, whose entry on the tape is ``node``, and the places; without
    ``keepdim`` both lose the dimension, of size 1. Neither is a view."""
    index = index if keepdim else index.squeeze(axis).clone()
    return _picking(node)((x, index), (axis, keepdim)), index


def uses_index(self: Tensor, axis: int) -> bool:
    """Whether an index along the axis is used: not if another dimension has no elements."""
    return 0 not in [n for d, n in enumerate(self._shape()) if d != axis]


def coordinates(index: LazyBuffer, axis: int) -> list[LazyBuffer]:
    """For each axis of ``index`` its coordinate, except ``axis`` itself, which the index gives."""
    return [index if i == axis else LazyBuffer.index(index.shape, i, index.device) for i in range(len(index.shape))]


def _check_gather(self: Tensor, axis: int, index: Tensor, name: str) -> None:
    check_index_dtype(index, name)
    if max(index.ndim, 1) != max(self.ndim, 1) and index.numel():
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for d, (m, n) in enumerate(zip(index._shape(), self._shape(), strict=False)):
        if d != axis and m > n:
            raise RuntimeError(f"Size does not match at dimension {d} expected index {list(index._shape())} to be no "
                               f"larger than self {list(self._shape())} apart from dimension {axis}")


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


def alone(x: Tensor, node: str) -> tuple[Tensor, Tensor]:
    """A 0-d Tensor of any dtype as the element that was chosen, by an op whose entry is ``node``, and its index."""
    return picked(x, 0, make(LazyBuffer.const(0, int64, (), x._pending().device)), node)


def _taken(x: LazyBuffer, index: LazyBuffer) -> LazyBuffer:
    at = index.reshape((index.size,))
    at = at.binary(Op.LT, at.like(0)).where(at.binary(Op.ADD, at.like(x.size)), at)
    return x.reshape((x.size,)).gather((at,)).reshape(index.shape)


def _chosen(x: LazyBuffer, mask: LazyBuffer, places: LazyBuffer, shape: tuple[int, ...]) -> LazyBuffer:
    """The elements at the places, where the mask holds; itself it is not read any more."""
    return fit(x, x.dtype, shape).reshape((prod(shape),)).gather((places,))


_TAKE = Function("take", _taken, "TakeBackward0")
_MASKED_SELECT = Function("masked_select", _chosen, "MaskedSelectBackward0")


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
        axis = dim_index(dim, self.ndim)
        check_index_dtype(index, "index_select", "int32 or int64 for index")
        if not self.ndim and index.numel() != 1:
            raise RuntimeError("index_select(): Index to scalar can have only 1 value, got "
                               f"{index.numel()} value(s)")
        one_device((self._pending(), index._pending()))
        size = self._shape()[axis] if self._shape() else 1
        check_index_range(index, size, message="index out of range in self")
        return _INDEX_SELECT((self, index), (axis,))

    @both("gather")
    def gather(self: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
        """out[i, j] = self[index[i, j], j] for dim 0, self[i, index[i, j]] for dim 1, and so on."""
        axis = dim_index(dim, self.ndim)
        index = any_if_empty(index)
        _check_gather(self, axis, index, "gather")
        one_device((self._pending(), index._pending()))
        check_index_range(index, (self._shape() or (1,))[axis], error=RuntimeError, dim=axis)
        return _GATHER((self, index), (axis,))

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
        if self._shape() and self._shape()[axis]:
            indices = indices.remainder(self._shape()[axis])
        mine, theirs = list(self._shape()), list(indices._shape())
        mine[axis] = theirs[axis] = 1
        common = broadcast_shapes(mine, theirs)
        x, y = [t.expand(*[t._shape()[axis] if i == axis else s for i, s in enumerate(common)])
                for t in (self, indices)]
        if x._shape() and not x._shape()[axis] and y.numel():
            raise RuntimeError("ZeroDivisionError")
        return x.gather(axis, y)

    @both("take")
    def take(self: Tensor, index: Tensor) -> Tensor:
        """Elements of the flat tensor at ``index``, in its shape."""
        check_flat_index(self, index, "take")
        return _TAKE((self, index))

    @both("masked_select")
    def masked_select(self: Tensor, mask: Tensor) -> Tensor:
        """The elements where the mask holds, in one dimension; self and mask are broadcast."""
        if mask.dtype is not bool_:
            raise RuntimeError("masked_select: expected BoolTensor for mask")
        shape = broadcast_shapes(self._shape(), mask._shape())
        places = mask.expand(shape).reshape(-1).nonzero().reshape(-1)
        return _MASKED_SELECT((self, mask, places), (shape,))

    @both("nonzero")
    def nonzero(self: Tensor, *, as_tuple: bool = False) -> Any:
        """The coordinates of the elements that are not 0: a row each, or a vector for each dimension. In memory a
        dimension's coordinates stand together.

        >>> import minigrad
        >>> minigrad.tensor([[0, 1], [2, 0]]).nonzero()
        tensor([[0, 1],
                [1, 0]])
        """
        if as_tuple:
            return (self if self.ndim else self.reshape(1)).nonzero().unbind(1)
        array = np.stack(np.nonzero(np.atleast_1d(concrete(self, "nonzero")))).astype(np.int64)
        columns, n = make(leaf_from_numpy(array[:self.ndim], int64, self._pending().device)), array.shape[1]
        return strided_alias(columns._storage, int64, (n, self.ndim), (1, n), 0)

    @both("argwhere")
    def argwhere(self: Tensor) -> Tensor:
        """``nonzero()``."""
        return self.nonzero()
