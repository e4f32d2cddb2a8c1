"""Stage: front. In: a Tensor, index tensors along one dimension, and what comes there. Out: a copy with it written
there, or joined with what was there. All of it is SCATTER.
Next: ``segments.py``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from minigrad.dtype import DType, bool_, int32, int64, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import REDUCE_OPS, SCATTER_MODES, Op
from minigrad.tensor.arguments import no_overload
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.base import AnyTensor, make
from minigrad.tensor.definition import both, in_place
from minigrad.tensor.elements import check_range, known
from minigrad.tensor.function import Function, tensor_function, watched
from minigrad.tensor.gathering import (
    any_if_empty,
    check_flat_index,
    check_index_dtype,
    check_index_range,
    uses_index,
)
from minigrad.tensor.indexing import put, wrapped
from minigrad.tensor.operands import broadcast_shapes, dim_index, not_for, one_device, require_tensor
from minigrad.tensor.places import Make, by_element, by_row
from minigrad.tensor.promotion import number, stored, type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

MODES = {"sum": "add", "mean": "add", "prod": "mul", "amax": "max", "amin": "min"}
"""PyTorch's names of reductions, and the mode of the SCATTER."""

_REFUSED = {"mean": ("b", "div_floor_cpu"), "amax": ("c", "maximum_cpu"), "amin": ("c", "minimum_cpu"),
            "prod": ("", ""), "sum": ("", "")}
"""Kinds of dtypes that a reduction is not defined for, and the name of PyTorch's kernel that refuses them."""


# --- what is done there


def _writer(places: Make) -> Callable[..., LazyBuffer]:
    def written(x: LazyBuffer, source: LazyBuffer, index: LazyBuffer, axis: int, mode: str) -> LazyBuffer:
        at = places(x, source, index, axis)
        return at.back(at.front.scatter(at.value, at.indexes, mode))

    return written


def _reducer(places: Make) -> Callable[..., LazyBuffer]:
    def reduced(x: LazyBuffer, source: LazyBuffer, index: LazyBuffer, axis: int, reduce: str,
                included: bool) -> LazyBuffer:
        at, mode = places(x, source, index, axis), MODES[reduce]
        reduction = SCATTER_MODES[mode]
        assert reduction is not None
        base = at.front
        if not included:
            base = base.scatter(at.value.like(REDUCE_OPS[reduction].identity(x.dtype)), at.indexes, "set")
        result = base.scatter(at.value, at.indexes, mode)
        if reduce == "mean":
            front, value = [v.real() if x.dtype.kind == "c" else v for v in (at.front, at.value)]
            count = front.like(1)
            if not included:
                count = count.scatter(value.like(0), at.indexes, "set")
            count = count.scatter(value.like(1), at.indexes, "add")
            count = count.binary(Op.MAXIMUM, count.like(1)).cast(x.dtype)
            result = result.binary(Op.DIV if x.dtype.kind in "fc" else Op.FLOORDIV, count)
        return at.back(result)

    return reduced


def _filled(x: LazyBuffer, value: LazyBuffer, index: LazyBuffer, axis: int) -> LazyBuffer:
    """The value where a mask along the axis holds: a place that the index names twice counts once in its gradient."""
    shape = x.shape or (1,)
    mask = LazyBuffer.const(False, bool_, (shape[axis],), x.device)
    at = index.cast(int64).reshape((index.size,))
    mask = mask.scatter(LazyBuffer.const(True, bool_, at.shape, x.device), [at], "set")
    mask = mask.reshape(tuple([n if i == axis else 1 for i, n in enumerate(shape)])).expand(shape)
    return mask.where(value.expand(shape), x.reshape(shape)).reshape(x.shape)


def _extreme_gradient(places: Make) -> Callable[..., tuple[LazyBuffer | None, ...]]:
    """All elements that equal the result on a place share its gradient equally. As in PyTorch, the element of x counts
    among them even where it is not ``included``, and gets none; in forward mode it does not count."""

    def gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer | None],
                 axis: int, reduce: str, included: bool) -> tuple[LazyBuffer | None, ...]:
        if grads[0] is None:
            return None, None, None
        x, source, index = inputs
        at = places(x, source, index, axis)
        out, g = at.forth(outputs[0]), at.forth(grads[0])
        kept = at.front.binary(Op.EQ, out).cast(out.dtype)
        won = at.value.binary(Op.EQ, out.gather(at.indexes)).cast(out.dtype)
        share = g.binary(Op.DIV, kept.scatter(won, at.indexes, "add"))
        to_x = kept.binary(Op.MUL, share)
        if not included:
            to_x = to_x.scatter(at.value.like(0), at.indexes, "set")
        return at.back(to_x), at.back_value(won.binary(Op.MUL, share.gather(at.indexes))), None

    return gradient


def _functions(name: str, node: str, places: Make) -> dict[tuple[str, bool], Function]:
    """By reduction, and whether the tensor's own elements are included. Of a product's gradient the formula reads what
    the product is of, of the others' the index alone, for the tensor only where its own elements are to get nothing."""
    compute, found = _reducer(places), {}
    for included in (True, False):
        again = ("" if included else "c!", "g! c!")
        plain = Function(name, compute, node, again=again)
        product = Function(name, compute, node, again=("b! c!", "own"))
        extreme = Function(name, compute, node, _extreme_gradient(places), ahead=True, again=again)
        for reduce in MODES:
            found[reduce, included] = {"amax": extreme, "amin": extreme, "prod": product}.get(reduce, plain)
    return found


_SCATTER, _SCATTER_ADD = [Function("scatter", _writer(by_element), f"{name}Backward0")
                          for name in ("Scatter", "ScatterAdd")]
_SCATTER_REDUCE = _functions("scatter_reduce", "ScatterReduceBackward0", by_element)
_INDEX_ADD = Function("index_add", _writer(by_row), "IndexAddBackward0")
_INDEX_COPY = Function("index_copy", _writer(by_row), "IndexCopyBackward0")
_INDEX_FILL = Function("index_fill", _filled, "IndexFillBackward0")
_PUT = tensor_function("put", "PutBackward0", lambda x, index, source, accumulate: x.reshape(-1).index_put(
    (index.reshape(-1),), source.reshape(-1), accumulate).reshape(x.shape))
_INDEX_REDUCE = _functions("index_reduce", "IndexReduceBackward0", by_row)


# --- what may be written where


def _number_tensor(value: Any, like: Tensor) -> Tensor:
    """A number as a 0-d operand beside a Tensor."""
    return make(LazyBuffer.const(stored(value, like.dtype), like.dtype, (), like._pending().device))


def _check_scatter(self: Tensor, axis: int, index: Tensor, given: Tensor | None) -> None:
    shape, rows = self._shape() or (1,), index._shape() or (1,)
    if given is not None:
        if given.dtype is not self.dtype:
            raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
        one_device([t._pending() for t in (self, given, index)])
    if not index.numel():
        return
    if len(rows) != len(shape):
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    apart = any(n > m for d, (n, m) in enumerate(zip(rows, shape, strict=True)) if d != axis)
    if given is None:
        if apart:
            raise RuntimeError(f"Expected index {list(rows)} to be no larger than self {list(shape)} apart from "
                               f"dimension {axis}")
    else:
        source = given._shape() or (1,)
        if len(source) < len(rows):
            raise IndexError("Dimension out of range (expected to be in range of "
                             f"[{-len(source)}, {len(source) - 1}], but got {len(source)})")
        if len(source) > len(rows):
            raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
        if apart or any(n > m for n, m in zip(rows, source, strict=True)):
            raise RuntimeError(f"Expected index {list(rows)} to be no larger than self {list(shape)} "
                               f"apart from dimension {axis} and to be no larger size than src {list(source)}")
    check_index_range(index, shape[axis], error=RuntimeError, dim=axis)


def _scatter(self: Tensor, dim: int, index: Tensor, src: Any, function: Function, *static: Any) -> Tensor:
    axis = dim_index(dim, self.ndim)
    index = any_if_empty(index)
    check_index_dtype(index, "scatter")
    given = src if isinstance(src, AnyTensor) else None
    _check_scatter(self, axis, index, given)
    if not index.numel() and index.ndim != self.ndim:
        return self.clone()
    if given is None:
        one_device((self._pending(), index._pending()))
        given = _number_tensor(src if index.numel() else 0, self)  # one that is written nowhere may be any
    return function((self, given, index), (axis, *static))


def _check_rows(self: Tensor, axis: int, index: Tensor, source: Tensor, name: str) -> None:
    """What ``index_add`` and ``index_reduce`` ask of their arguments."""
    if index.dtype is not int64 and index.dtype is not int32:
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index but got: {type_name(index.dtype)}")
    if index.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector, but got dim: {index.ndim} with type: "
                         f"{type_name(index.dtype)} and size: {list(index._shape())}")
    if source.dtype is not self.dtype:
        raise RuntimeError(f"{name}(): self ({type_name(self.dtype)}) and source ({type_name(source.dtype)}) must have "
                           "the same scalar type")
    if source.ndim and axis >= source.ndim:
        raise RuntimeError(f"{name}(): Indexing dim {axis} is out of bounds of the source tensor with dim "
                           f"{source.ndim}")
    length = source._shape()[axis] if source.ndim else 1
    if index.numel() != length:
        raise RuntimeError(f"{name}(): Number of indices ({index.numel()}) should be equal to source.size(dim): "
                           f"({length}), for dim: {axis}")
    mine, theirs = list(self._shape()), list(source._shape())
    if mine[:axis] + mine[axis + 1:] != theirs[:axis] + theirs[axis + 1:] or len(mine) != len(theirs):
        raise RuntimeError("source tensor shape must match self tensor shape, excluding the specified dimension. Got "
                           f"self.shape = {mine} source.shape = {theirs}")
    one_device([t._pending() for t in (self, source, index)])


def _check_copied(self: Tensor, axis: int, index: Tensor, source: Tensor) -> None:
    name = "index_copy_()"
    if index.ndim > 1:
        raise IndexError(f"{name}: Index should have dimension 1 or 0 (got {index.ndim})")
    count = index.numel()
    if not source.ndim and count != 1:
        raise IndexError(f"{name}: When source is scalar, index should have one element (got {count})")
    if source.ndim != self.ndim and source.ndim and self.ndim:
        raise IndexError(f"{name}: When source and destination are not scalars, their dimensionality must match. "
                         f"Source dimensionality ({source.ndim}), destination dimensionality ({self.ndim})")
    if index.dtype is not int64:
        raise RuntimeError(f"{name}: Expected a long tensor for index, but got {type_name(index.dtype)}")
    if source.dtype is not self.dtype:
        raise RuntimeError(f"{name}: self and source expected to have the same dtype, but got (self) "
                           f"{type_name(self.dtype)} and (source) {type_name(source.dtype)}")
    mine, theirs = list(self._shape()), list(source._shape())
    mine, theirs = mine[:axis] + mine[axis + 1:], theirs[:axis] + theirs[axis + 1:]
    if mine != theirs:
        there, here = [" ".join(map(str, s)) for s in (mine, theirs)]
        raise RuntimeError(f"{name}: Source/destination tensor must have same slice shapes. Destination slice shape: "
                           f"{there} at dimension {axis} and source slice shape: {here} at dimension "
                           f"{axis if source.ndim else 0}.")
    if source.ndim and count != source._shape()[axis]:
        raise IndexError(f"{name}: Number of indices ({count}) should be equal to source.size(dim) "
                         f"({source._shape()[axis]})")
    one_device([t._pending() for t in (self, source, index)])
    if uses_index(self, axis):
        check_index_range(index, (self._shape() or (1,))[axis], dim=axis,
                          message="index_copy_(): index {value} is out of bounds for dimension {dim} with size {size}")


def _times(source: Tensor, alpha: Any, dtype: DType) -> Tensor:
    alpha = stored(alpha, dtype)
    return source if alpha == 1 else source & alpha if dtype is bool_ else source * alpha


class Scattering:
    """Elements and parts written, or joined with what is there, at positions that index tensors name."""

    __slots__ = ()

    @both("scatter")
    def scatter(self: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None,
                reduce: str | None = None) -> Tensor:
        """A copy with out[index[i, j], j] = src[i, j] for dim 0, and so on; ``reduce``: "add" or "multiply" with what
        is there. The last of several writes to one place wins."""
        if value is not None and src is not None:
            raise no_overload("scatter", dim, index, value=value, src=src)
        src = value if src is None else src
        if reduce is None:
            return _scatter(self, dim, index, src, _SCATTER, "set")
        if reduce not in ("add", "multiply"):
            raise RuntimeError("reduce argument must be either add or multiply.")
        if isinstance(src, AnyTensor):
            warnings.warn("The reduce argument of torch.scatter with Tensor src is deprecated and will be removed in a "
                          "future PyTorch release. Use torch.scatter_reduce instead for more reduction options.",
                          stacklevel=3)
        return _scatter(self, dim, index, src, _SCATTER, "add" if reduce == "add" else "mul")

    scatter_ = in_place(scatter)

    @both("scatter_add")
    def scatter_add(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
        """A copy with src[i, j] added to out[index[i, j], j] for dim 0, and so on.

        >>> import minigrad
        >>> minigrad.zeros(3).scatter_add(0, minigrad.tensor([0, 0, 2]), minigrad.ones(3))
        tensor([2., 0., 1.])
        """
        require_tensor(src, "scatter_add", "src", 4)
        return _scatter(self, dim, index, src, _SCATTER_ADD, "add")

    scatter_add_ = in_place(scatter_add)

    @both("scatter_reduce", real=True)
    def scatter_reduce(self: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *,
                       include_self: bool = True) -> Tensor:
        """As ``scatter`` with the "sum", "prod", "mean", "amax" or "amin" of what falls on one place, and of what was
        there unless not ``include_self``.

        >>> import minigrad
        >>> x, index = minigrad.tensor([2, 3]), minigrad.tensor([0, 0])
        >>> x.scatter_reduce(0, index, minigrad.tensor([5, 7]), "prod")
        tensor([70,  3])
        """
        if reduce not in MODES:
            raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
        require_tensor(src, "scatter_reduce", "src", 4)
        if index.numel():
            not_for(_REFUSED[reduce][0], self.dtype, f"scatter_gather_tensor_cpu_reduce_{reduce}")
        return _scatter(self, dim, index, src, _SCATTER_REDUCE[reduce, bool(include_self)], reduce,
                        bool(include_self))

    scatter_reduce_ = in_place(scatter_reduce)

    # --- whole parts

    @both("index_add")
    def index_add(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
        """A copy with the parts of ``source`` along ``dim``, times alpha, added at the positions ``index``."""
        require_tensor(source, "index_add", "source", 4)
        axis = dim_index(dim, self.ndim)
        _check_rows(self, axis, index, source, "index_add_")
        size = (self._shape() or (1,))[axis]
        if self.ndim > 1 and self.numel():  # without elements no index is used
            check_index_range(index, size, error=RuntimeError, dim=axis)
        elif self.ndim < 2:
            check_index_range(index, size, message="index out of range in self")
        found = _INDEX_ADD((self, _times(source, alpha, self.dtype), index), (axis, "add"))
        return watched(found, source) if source.requires_grad else found

    index_add_ = in_place(index_add)

    @both("index_copy")
    def index_copy(self: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
        """A copy with the parts of ``source`` along ``dim`` at the positions ``index``."""
        require_tensor(source, "index_copy", "source", 4)
        axis = dim_index(dim, self.ndim)
        self, source = operands_of("index_copy", self, source)
        _check_copied(self, axis, index, source)
        return _INDEX_COPY((self, source.reshape(1) if self.ndim and not source.ndim else source, index),
                           (axis, "set"))

    index_copy_ = in_place(index_copy)

    @both("index_fill")
    def index_fill(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
        """A copy with ``value``, a number or a 0-d Tensor, at the positions ``index`` of ``dim``; negative ones count
        from the end."""
        axis = dim_index(dim, self.ndim)
        if isinstance(value, AnyTensor) and value.ndim:
            raise RuntimeError("index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                               f"{value.ndim} dimension(s).")
        if self.dtype.kind != "c" and (isinstance(value, complex) or (
                isinstance(value, AnyTensor) and value.dtype.kind == "c")):
            raise RuntimeError("index_fill_(): Converting complex Scalar to non-complex type is not supported")
        if not isinstance(value, AnyTensor):
            value = _number_tensor(value, self)
        if index.dtype is not int64:
            raise IndexError("index_fill_(): Expected dtype int64 for index.")
        if index.ndim > 1:
            raise RuntimeError("Index has to be a vector/scalar")
        one_device([t._pending() for t in (self, index)])
        size = (self._shape() or (1,))[axis]
        if uses_index(self, axis):
            check_range(index, size, axis)
        return watched(_INDEX_FILL((self, value.to(self.device, self.dtype), wrapped(index, size)), (axis,)), index)

    index_fill_ = in_place(index_fill)

    @both("index_reduce", real=True)
    def index_reduce(self: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *,
                     include_self: bool = True) -> Tensor:
        """A copy with the parts of ``source`` along ``dim`` joined with those at the positions ``index``: their "prod",
        "mean", "amax" or "amin", with what was there unless not ``include_self``.

        >>> import minigrad
        >>> x, source = minigrad.ones(2), minigrad.tensor([3.0, 5.0])
        >>> x.index_reduce(0, minigrad.tensor([1, 1]), source, "mean", include_self=False)
        tensor([1., 4.])
        """
        if reduce not in ("prod", "mean", "amax", "amin"):
            raise RuntimeError("index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got "
                               f"{reduce}.")
        require_tensor(source, "index_reduce", "source", 4)
        if not include_self:
            not_for("bc", self.dtype, "index_reduce_func_exclude_input_init")
        if self.ndim < 2:
            not_for("bc", self.dtype, "index_func_")
        kinds, kernel = _REFUSED[reduce]
        not_for(kinds, self.dtype, kernel)
        axis = dim_index(dim, self.ndim)
        _check_rows(self, axis, index, source, "index_reduce_")
        check_index_range(index, (self._shape() or (1,))[axis], message="index out of range in self")
        return _INDEX_REDUCE[reduce, bool(include_self)]((self, source, index), (axis, reduce, bool(include_self)))

    index_reduce_ = in_place(index_reduce)

    # --- anywhere

    @both("index_put")
    def index_put(self: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
        """A copy with ``values`` at ``self[indices]``."""
        return self.clone().index_put_(indices, values, accumulate)

    def index_put_(self: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
        """``self[indices] = values``, or ``+=`` (also for repeated indices) with ``accumulate``."""
        require_tensor(values, "index_put_", "values", 2)
        given = [*indices, *[None] * (self.ndim - len(indices))]
        return put(self, given, values, "add" if accumulate else "set")

    @both("put")
    def put(self: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
        """A copy with the elements of ``source`` at the positions ``index`` of the flat tensor, or added to them."""
        require_tensor(index, "put", "index", 2)
        require_tensor(source, "put", "source", 3)
        if index.dtype is not int64:
            raise RuntimeError(f"put_(): Expected a long tensor for index, but got {type_name(index.dtype)}")
        if source.dtype is not self.dtype:
            raise RuntimeError("put_(): self and source expected to have the same dtype, but got self.dtype = "
                               f"{type_name(self.dtype)} and source.dtype = {type_name(source.dtype)}")
        if index.numel() != source.numel():
            raise IndexError("put_(): Expected source and index to have the same number of elements, but got "
                             f"source.numel() = {source.numel()}, index.numel() = {index.numel()}")
        check_flat_index(self, index, "put_")
        return _PUT((self, index, source), (accumulate,))

    put_ = in_place(put)

    @both("masked_scatter")
    def masked_scatter(self: Tensor, mask: Tensor, source: Tensor) -> Tensor:
        """A copy in which the places where the mask holds have the elements of ``source``, in order.

        >>> import minigrad
        >>> mask = minigrad.tensor([True, False, True])
        >>> minigrad.zeros(3).masked_scatter(mask, minigrad.tensor([1.0, 2.0]))
        tensor([1., 0., 2.])
        """
        shape = broadcast_shapes(mask._shape(), self._shape())
        if source.dtype is not self.dtype:
            raise RuntimeError("masked_scatter: expected self and source to have same dtypes but got"
                               f"{type_name(self.dtype)} and {type_name(source.dtype)}")
        if mask.dtype is uint8:
            warnings.warn("masked_scatter_ received a mask with dtype torch.uint8, this behavior is now deprecated,"
                          "please use a mask with dtype torch.bool instead.", stacklevel=3)
        if mask.dtype is not bool_:
            raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype "
                               f"{type_name(mask.dtype)}")
        where, mine = mask.expand(shape), self.expand(shape)
        array = known(where)
        if array is not None and int(array.sum()) > source.numel():
            raise RuntimeError("Number of elements of source < number of ones in mask")
        place = (where.reshape(-1).cumsum(0) - 1).clamp(min=0)
        if not source.numel():  # an index that is found out of range if there is a place for an element
            nothing = make(LazyBuffer.const(number(0, self.dtype), self.dtype, (1,), mine._pending().device))
            source, place = nothing + source.sum(), where.reshape(-1).to(int64)  # the sum: a result of the source
        return source.reshape(-1)[place].reshape(shape).where(where, mine)

    masked_scatter_ = in_place(masked_scatter)
