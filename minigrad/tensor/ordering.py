"""Stage: front. In: a Tensor. Out: it sorted, its largest elements, its distinct elements, counts of them. NumPy
sorts; values are then gathered, so that gradients flow.
Next: ``calculus.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import bool_, float16, float32, from_numpy, int64
from minigrad.engine import leaf_from_numpy
from minigrad.graph.host import comparable, moved, register_host, stable_order, taken
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor import return_types
from minigrad.tensor.arguments import by_name_beside, only_beside
from minigrad.tensor.base import AnyTensor, make
from minigrad.tensor.body import refusal
from minigrad.tensor.creation import full
from minigrad.tensor.definition import also, both, by_rows, function
from minigrad.tensor.elements import concrete
from minigrad.tensor.extrema import shared
from minigrad.tensor.function import Function
from minigrad.tensor.gathering import alone, check_index_range, picked
from minigrad.tensor.operands import dim_index, not_for, not_for_complex, one_device, result_dtype
from minigrad.tensor.outputs import into
from minigrad.tensor.promotion import number, number_dtype, type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _order(self: Tensor, dim: int, descending: bool) -> Tensor:
    """The stable order along ``dim``; NaN counts as the largest."""
    return _ARGSORT((self,), (dim_index(dim, self.ndim), bool(descending)))


def _places(name: str, x: LazyBuffer, count: int, parameters: tuple[Any, ...], asked: str) -> LazyBuffer:
    """The places that a HOST function finds: ``count`` of them along the axis, the first of its parameters. NumPy is
    slow with float16: a kernel makes it float32."""
    if x.dtype.kind == "c":
        raise refusal(asked, x.dtype)
    if x.dtype is float16:
        x = x.cast(float32)
    axis = parameters[0]
    shape = (*x.shape[:axis], count, *x.shape[axis + 1:])
    return LazyBuffer(Op.HOST, (x,), (name, parameters), shape, int64, x.device)


def _argsort(x: LazyBuffer, axis: int, descending: bool) -> LazyBuffer:
    if not x.shape and x.dtype.kind != "c":
        return LazyBuffer.const(0, int64, (), x.device)
    return _places("argsort", x, x.shape[axis] if x.shape else 1, (axis, descending), "sort")


_ARGSORT = Function("argsort", _argsort, "NotDifferentiable")


def _topk(arrays: Sequence[np.ndarray], axis: int, k: int, largest: bool) -> np.ndarray:
    rows = moved(comparable(arrays[0]), axis, -1)
    if rows.shape[-1] < _LONG or not rows.size:
        return moved(_first(rows, k, largest), -1, axis)
    return _of_long_rows(lambda row: _first(row, k, largest), rows, axis, k, largest)


def _first(rows: np.ndarray, k: int, largest: bool) -> np.ndarray:
    """The first k places of ``stable_order`` of each row: those beyond the k-th element, and of its equals the first
    ones."""
    n = rows.shape[-1]
    if 2 * k >= n:
        return stable_order(rows, -1, largest)[..., :k]
    at = n - k if largest else k - 1
    limit = np.partition(rows, at, axis=-1)[..., at:at + 1]
    places = (~(rows < limit) if largest else rows <= limit).nonzero()[-1]
    if places.size * n != rows.size * k:
        places = _without_ties(rows, limit, k, largest).nonzero()[-1]
    places = places.reshape(*rows.shape[:-1], k)
    return taken(places, stable_order(taken(rows, places), -1, largest))


_LONG, _LONG_FOR_KTH = 8192, 2048
"""Elements from which on each row is looked at by itself, for several places and for one. On a Xeon with AVX-512, of 64
rows of 4096, 8192 and 65536 float32 the largest 100 then took 1.6, 0.9 and 0.25 of the time, and of 64 rows of 1024,
2048 and 4096 the median 1.1, 0.4 and 0.2 (``python -m timeit``; ``_topk``, ``_kthvalue``)."""
_DEPTH = 32
"""Rows of the table in ``_candidates``, at most. With as many columns as candidates there is least to do; 32 rows leave
few enough of both."""


def _of_long_rows(find: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, axis: int, k: int, largest: bool
                  ) -> np.ndarray:
    """The places, along ``axis``, that ``find`` finds in each row among the first k of ``stable_order``."""
    n = rows.shape[-1]
    found = []
    for row in rows.reshape(-1, n):
        left = _candidates(row, k, largest)
        found.append(find(row) if left is None else left[find(row[left])])
    return moved(np.array(found, np.int64).reshape(*rows.shape[:-1], -1), -1, axis)


def _candidates(row: np.ndarray, k: int, largest: bool) -> np.ndarray | None:
    """Some places, in order, that the k largest or smallest elements are at; None if these are a large part of the row.

    We lay the row out as a table and take the maxima of its columns. The k-th largest of these has k elements that are
    not less, so a column whose maximum is less has none of the k largest elements."""
    depth = min(math.isqrt(len(row) // k), _DEPTH)
    if depth < _DEPTH // 8:
        return None
    width = len(row) // depth
    table = row[:depth * width].reshape(depth, width)
    at = width - k if largest else k - 1
    best = table.max(0) if largest else np.fmin.reduce(table, 0)  # NaN is the largest
    limit = np.partition(best, at)[at]
    columns = np.flatnonzero(~(best < limit if largest else best > limit))
    left = (np.arange(depth)[:, np.newaxis] * width + columns).reshape(-1)
    return np.concatenate((left, np.arange(depth * width, len(row))))


def _without_ties(rows: np.ndarray, limit: np.ndarray, k: int, largest: bool) -> np.ndarray:
    """Where the elements beyond the limit are, and the first ones of those that equal it: k of each row. NaN is the
    largest."""
    chosen, ties = ~(rows <= limit) if largest else rows < limit, rows == limit
    nan, last = rows != rows, limit != limit
    chosen, ties = np.where(last, np.zeros_like(nan) if largest else ~nan, chosen), np.where(last, nan, ties)
    ties &= ties.cumsum(-1) <= k - chosen.sum(-1, keepdims=True)
    chosen |= ties
    return chosen


def _kthvalue(arrays: Sequence[np.ndarray], axis: int, k: int, nan: bool) -> np.ndarray:
    """The k-th place of ``stable_order``, or with ``nan`` that of the first NaN, if there is one."""
    rows = moved(comparable(arrays[0]), axis, -1)
    if rows.shape[-1] < _LONG_FOR_KTH or not rows.size:
        found = moved(stable_order(rows, -1, False)[..., k - 1:k], -1, axis)
    else:
        found = _of_long_rows(lambda row: _kth(row, k), rows, axis, k, False)
    missing = np.isnan(moved(rows, -1, axis)) if nan and rows.dtype.kind == "f" else np.zeros(0, bool)
    if missing.any():
        found = np.where(missing.any(axis, keepdims=True), missing.argmax(axis, keepdims=True), found)
    return found


def _kth(row: np.ndarray, k: int) -> np.ndarray:
    """The k-th place of ``stable_order``: of the elements that equal the k-th smallest, the first ones come first."""
    limit = np.partition(row, k - 1)[k - 1]
    if limit == limit:
        return np.flatnonzero(row == limit)[k - 1 - np.count_nonzero(row < limit)]
    missing = np.flatnonzero(row != row)
    return missing[k - 1 - (len(row) - len(missing))]


register_host("topk", _topk)
register_host("kthvalue", _kthvalue)

_TOPK = Function("topk", lambda x, axis, k, largest: _places("topk", x, k, (axis, k, largest), "topk"),
                 "NotDifferentiable")
_KTHVALUE = Function("kthvalue", lambda x, axis, k, nan: _places("kthvalue", x, 1, (axis, k, nan), "kthvalue"),
                     "NotDifferentiable")


# --- distinct elements and counts: their sizes depend on values, so these run


def _without_gradient(name: str, node: str) -> Function:
    """What puts elements that were found in a tensor on the tape: as in PyTorch, they require a gradient, and backward
    raises ``NotImplementedError``."""

    def refuse(*given: Any) -> Any:
        raise NotImplementedError(f"the derivative for '{name}' is not implemented.")

    made = Function(name, lambda x, found: found, node)
    made.node = type(node, (made.node,), {"__slots__": (), "__module__": "minigrad.autograd", "vjp": refuse,
                                          "vjp_recorded": refuse})
    return made


_UNIQUE = _without_gradient("_unique2", "Unique2Backward0")
_UNIQUE_DIM = _without_gradient("unique_dim", "UniqueDimBackward0")
_UNIQUE_CONSECUTIVE = _without_gradient("unique_consecutive", "UniqueConsecutiveBackward0")


def _distinct(x: Tensor, function: Function, elements: np.ndarray, *numbers: np.ndarray) -> Any:
    """The elements found in a tensor, alone or with what else was asked for."""
    found = _leaf(elements, x)
    results = [function((x, found)) if x.requires_grad else found]
    results += [_leaf(n.astype(np.int64), x) for n in numbers]
    return results[0] if len(results) == 1 else tuple(results)


def _leaf(array: np.ndarray, like: Tensor) -> Tensor:
    return make(leaf_from_numpy(array, from_numpy(array.dtype), like._pending().device))


def _unique(array: np.ndarray, inverse: bool, counts: bool) -> list[np.ndarray]:
    """As ``np.unique``, with ``stable_order``; each NaN is distinct."""
    if not inverse and not counts:
        return [np.unique(array, equal_nan=False)]
    flat = array.reshape(-1)
    order = stable_order(flat, 0, False)
    ordered = flat[order]
    first = np.ones(len(flat), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    starts = np.flatnonzero(first)
    found = [ordered[starts]]
    if inverse:
        number = np.empty(len(flat), np.int64)
        number[order] = first.cumsum() - 1
        found.append(number.reshape(array.shape))
    if counts:
        found.append(np.diff(starts, append=len(flat)))
    return found


def _searched(edges: np.ndarray, values: np.ndarray, side: Any) -> np.ndarray:
    """As ``np.searchsorted``. Many values are searched in their order: neighbours then read the same memory."""
    if edges.size < _EDGES or values.size < _VALUES:
        return np.searchsorted(edges, values, side)
    flat = values.reshape(-1)
    order = stable_order(flat, 0, False)
    found = np.empty(flat.shape, np.int64)
    found[order] = np.searchsorted(edges, flat[order], side)
    return found.reshape(values.shape)


_EDGES, _VALUES = 1_000, 10_000
"""From here on it pays to sort the values first. On a Xeon with AVX-512 a search of 100,000 among 100,000 took 6 ms in
place of 12, of 1,000 among 1,000 longer than before (``python -m timeit``; ``_searched``, ``np.searchsorted``)."""


def _found(edges: np.ndarray, values: np.ndarray, side: Any) -> np.ndarray:
    """Where the values belong. PyTorch's search goes on to the right where it meets a NaN on either side, so that such
    values come last."""
    if edges.dtype.kind != "f" or not (np.isnan(edges).any() or np.isnan(values).any()):
        return _searched(edges, values, side)
    begin, end = np.zeros(values.shape, np.int64), np.full(values.shape, len(edges), np.int64)
    while (begin < end).any():
        middle = (begin + end) // 2
        edge = edges[np.minimum(middle, len(edges) - 1)]
        beyond = (edge > values) if side == "right" else (edge >= values)
        begin, end = (np.where((begin < end) & ~beyond, middle + 1, begin),
                      np.where((begin < end) & beyond, middle, end))
    return begin


def _check_sorter(edges: Tensor, sorter: Tensor) -> None:
    """``RuntimeError`` for a sorter that does not have a position for each edge."""
    if sorter._shape() != edges._shape():
        raise RuntimeError("torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
                           f"{list(edges._shape())}and got sorter tensor {list(sorter._shape())}")
    if sorter.dtype is not int64:
        raise RuntimeError("torch.searchsorted(): sorter must be a tensor of long dtype but got dtype "
                           f"{type_name(sorter.dtype)}")
    if edges.ndim:
        check_index_range(sorter, edges._shape()[-1], error=RuntimeError,
                          message="torch.searchsorted(): sorter index out of range")


def _check_rows(edges: tuple[int, ...], values: tuple[int, ...]) -> None:
    """``RuntimeError`` unless there is a row of edges for each row of values."""
    if not edges and values:
        raise RuntimeError("torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 "
                           "dimension")
    if not values:
        raise RuntimeError("torch.searchsorted(): input value can be a scalar only when boundaries tensor dimension is "
                           f"1, but we got boundaries tensor dim({len(edges)}) and input value's dim({len(values)}) "
                           f"numel({math.prod(values)})")
    if edges[:-1] != values[:-1]:
        raise RuntimeError("torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions "
                           "of boundaries tensor and input value tensor must match, but we got boundaries tensor "
                           f"{list(edges)} and input value tensor {list(values)}")


@function("searchsorted")
def searchsorted(sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False,
                 side: str | None = None, sorter: Tensor | None = None) -> Tensor:
    """Where elements would be inserted into the sorted last dimension; before equal ones, or after with ``right``. With
    ``sorter``, indices that sort it, the dimension itself need not be sorted."""
    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError("torch.searchsorted(): side and right can't be set to opposites, got side of left while "
                           "right was True")
    if sorter is not None:
        _check_sorter(sorted_sequence, sorter)
        sorted_sequence = sorted_sequence.gather(-1, sorter)
    if isinstance(input, AnyTensor) and input.device != sorted_sequence.device:
        raise RuntimeError("searchsorted(): boundaries and input value tensors should have same device type, but got "
                           f"boundaries tensor device type {sorted_sequence.device} and input value tensor device type "
                           f"{input.device}")
    if not isinstance(input, AnyTensor) or input.numel():
        not_for("bc", sorted_sequence.dtype, "searchsorted_out_cpu")
    side = "right" if right or side == "right" else "left"
    rows = by_rows(searchsorted, sorted_sequence, input, out_int32=out_int32, right=side == "right")
    if rows is not None:
        return rows
    edges = comparable(concrete(sorted_sequence, "searchsorted"))
    values = comparable(concrete(input, "searchsorted")) if isinstance(input, AnyTensor) else np.asarray(input)
    if edges.ndim == 1:
        found = _found(edges, values, side)
    else:
        _check_rows(edges.shape, values.shape)
        rows = math.prod(values.shape[:-1])
        parts = [_found(e, v, side) for e, v in zip(edges.reshape(rows, edges.shape[-1]),
                                                    values.reshape(rows, values.shape[-1]), strict=True)]
        found = np.stack(parts).reshape(values.shape) if parts else np.zeros(values.shape)
    return _leaf(np.asarray(found).astype(np.int32 if out_int32 else np.int64), sorted_sequence)


@function("isin")
@also(element="elements", test_element="test_elements")
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False,
         out: Tensor | None = None) -> Tensor:
    """Whether each of ``elements`` is among ``test_elements`` (with ``invert``: is not); one of both may be a number.

    >>> import minigrad
    >>> minigrad.isin(minigrad.tensor([1, 2, 3]), minigrad.tensor([3, 1]))
    tensor([ True, False,  True])
    """
    given = [t for t in (elements, test_elements) if isinstance(t, AnyTensor)]
    if not given:
        raise TypeError("isin(): argument 'elements' (position 1) must be Tensor, not "
                        f"{type(elements).__name__}")
    for t in given:
        not_for_complex(t, "isin")
    one_device([t._read() for t in given])
    dtype = result_dtype((elements, test_elements))
    if bool_ in [t.dtype if isinstance(t, AnyTensor) else number_dtype(t) for t in (elements, test_elements)]:
        raise RuntimeError("Unsupported input type encountered for isin(): Bool")
    rows = by_rows(isin, elements, test_elements, assume_unique=assume_unique, invert=invert)
    if rows is not None:
        return into(out, rows, "isin")
    arrays = [comparable(concrete(t.detach().to(dtype), "isin")) if isinstance(t, AnyTensor) else
              np.asarray(number(t, dtype), dtype.numpy) for t in (elements, test_elements)]
    found = np.asarray(np.isin(arrays[0], arrays[1], assume_unique=assume_unique, invert=invert))
    result = make(leaf_from_numpy(found, bool_, given[0]._pending().device))
    return into(out, result, "isin")


@function("bucketize")
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False,
              out: Tensor | None = None) -> Tensor:
    """For each element, or for a number, the number of the bucket between ``boundaries`` that it falls into.

    >>> import minigrad
    >>> minigrad.bucketize(minigrad.tensor([1, 3, 9]), minigrad.tensor([2, 4]))
    tensor([0, 1, 2])
    """
    if boundaries.ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    return into(out, searchsorted(boundaries, input, out_int32=out_int32, right=right), "bucketize")


class Ordering:
    """Sorting, the largest elements, distinct elements and counts of them."""

    __slots__ = ()

    @both("argsort")
    @by_name_beside("stable")
    def argsort(self: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
        """The indices that sort along ``dim``; equal elements keep their order.

        >>> import minigrad
        >>> minigrad.tensor([3, 1, 2]).argsort()
        tensor([1, 2, 0])
        """
        return _order(self, dim, descending)

    @both("sort")
    @by_name_beside("stable")
    def sort(self: Tensor, dim: int = -1, descending: bool = False, *,
             stable: bool = False) -> return_types.ReturnType:
        """The named tuple ``(values, indices)`` along ``dim``; NaN counts as the largest."""
        order = _order(self, dim, descending)
        axis = dim_index(dim, self.ndim)
        return return_types.sort(picked(self, axis, order, "SortBackward0")[0], order)

    @both("msort")
    def msort(self: Tensor) -> Tensor:
        """Sorted along the first dimension."""
        return self.sort(0)[0]

    @both("topk")
    def topk(self: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> return_types.ReturnType:
        """The named tuple ``(values, indices)`` of the k largest (or smallest) along ``dim``, in order.

        >>> import minigrad
        >>> minigrad.tensor([1, 9, 5]).topk(2).values
        tensor([9, 5])
        """
        shape = self._shape()
        axis = dim_index(dim, len(shape))
        k = index(k)
        if not 0 <= k <= (shape[axis] if shape else 1):
            raise RuntimeError("selected index k out of range")
        if self.dtype is bool_:
            raise RuntimeError("topk does not support bool dtypes on CPU")
        not_for_complex(self, "topk")
        if not shape:
            return return_types.topk(*alone(self, "TopkBackward0"))
        if not k:
            empty = self.narrow(axis, 0, 0).clone()
            return return_types.topk(empty, empty.to(int64).detach())
        indices = _TOPK((self,), (axis, k, bool(largest)))
        return return_types.topk(*picked(self, axis, indices, "TopkBackward0"))

    @both("kthvalue")
    def kthvalue(self: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> return_types.ReturnType:
        """``(values, indices)`` of the k-th smallest along ``dim``; k counts from 1."""
        if not self.ndim:
            if k != 1:
                raise RuntimeError("kthvalue(): selected number k out of range for dimension 0")
            return return_types.kthvalue(*alone(self, "KthvalueBackward0"))
        axis = dim_index(dim, self.ndim)
        if not self._shape()[axis]:
            raise IndexError(f"kthvalue(): Expected reduction dim {axis} to have non-zero size.")
        if not 1 <= k <= self._shape()[axis]:
            raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {axis}")
        not_for("bc", self.dtype, "kthvalue_cpu")
        place = _KTHVALUE((self,), (axis, index(k), False))
        return return_types.kthvalue(*picked(self, axis, place, "KthvalueBackward0", keepdim))

    @both("median")
    @only_beside(("dim",), "keepdim")
    def median(self: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
        """The lower of the middle elements: of all, or ``(values, indices)`` along ``dim``. NaN if there is one:
        the first."""
        if dim is not None or self.numel():
            not_for("bc", self.dtype, "median_cpu" if dim is None else "median_out")
        if dim is None:
            flat = self.reshape(-1)
            middle = flat.detach().median(0)[0] if flat.numel() else full((), math.nan, device=self.device)
            return shared("median", self, middle.to(self.dtype))
        if not self.ndim:
            return return_types.median(*alone(self, "MedianBackward1"))
        axis = dim_index(dim, self.ndim)
        n = self._shape()[axis]
        if not n:
            raise IndexError(f"median(): Expected reduction dim {axis} to have non-zero size.")
        middle = _KTHVALUE((self,), (axis, (n + 1) // 2, True))
        return return_types.median(*picked(self, axis, middle, "MedianBackward1", keepdim))

    # --- distinct elements and counts: their sizes depend on values, so these run

    @both("unique")
    def unique(self: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
               dim: int | None = None) -> Any:
        """The distinct elements in order; on demand where each element went, and how often each occurs.

        >>> import minigrad
        >>> minigrad.tensor([3, 1, 3]).unique()
        tensor([1, 3])
        """
        not_for_complex(self, "unique" if dim is None else "unique_dim")
        array = comparable(concrete(self, "unique"))
        if dim is not None and not array.size and array.shape[dim_index(dim, self.ndim)]:
            raise RuntimeError("There are 0 sized dimensions, and they aren't selected, so unique cannot be applied")
        if dim is None:
            found = _unique(array, return_inverse, return_counts)
        else:
            values, inverse, counts = np.unique(array, return_inverse=True, return_counts=True, axis=dim,
                                                equal_nan=False)
            found = [values, *[inverse.reshape(-1)] * return_inverse, *[counts] * return_counts]
        found[0] = found[0].astype(self.dtype.numpy, copy=False)
        return _distinct(self, _UNIQUE if dim is None else _UNIQUE_DIM, *found)

    @both("unique_consecutive")
    def unique_consecutive(self: Tensor, return_inverse: bool = False, return_counts: bool = False,
                           dim: int | None = None) -> Any:
        """The flat elements, or with ``dim`` the parts along it, without repeats of the one before; on demand where
        each went, and how often each occurs in a row.

        >>> import minigrad
        >>> minigrad.tensor([1, 1, 2, 1]).unique_consecutive()
        tensor([1, 2, 1])
        """
        not_for_complex(self, "unique")
        array, axis = concrete(self, "unique_consecutive"), 0 if dim is None else dim_index(dim, self.ndim)
        array = array.reshape(-1) if dim is None or not self.ndim else array
        rows = np.moveaxis(array, axis, 0)
        changes = (rows[1:] != rows[:-1]).any(axis=tuple(range(1, rows.ndim)))
        starts = np.flatnonzero(np.concatenate(([True], changes)) if len(rows) else [])
        counts = np.diff(np.append(starts, len(rows)))
        inverse = np.repeat(np.arange(len(starts)), counts).reshape(self._shape() if dim is None else -1)
        return _distinct(self, _UNIQUE_CONSECUTIVE, np.take(array, starts, axis), *[inverse] * return_inverse,
                         *[counts] * return_counts)

