"""Stage: front. In: sparse tensors, dense ones and numbers. Out: their sums, products and quotients, element by
element.
Next: ``products.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.sparse.base import SparseTensor, handles
from minigrad.sparse.compressed import CompressedTensor
from minigrad.sparse.coordinates import CoordinateTensor, make_coo, positions
from minigrad.tensor import FUNCTIONS, Tensor, cat
from minigrad.tensor.operands import broadcast_shapes, checked, is_number, result_dtype


def _scaled(values: Tensor, alpha: Any) -> Tensor:
    return values if alpha == 1 else values * alpha


@handles("add", "__add__", "__radd__")
def add(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    """a + alpha·b: of two sparse tensors a sparse one, of a dense and a sparse one, in this order, a dense one."""
    if isinstance(a, SparseTensor) and not isinstance(b, SparseTensor):
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    if not isinstance(a, SparseTensor):
        if not isinstance(a, Tensor):
            raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
        return _dense_plus(a, b, alpha)
    if a._size != b._size:
        raise RuntimeError(f"add: expected sizes of 'self' and 'other' to match, but {list(a._size)} != "
                           f"{list(b._size)}")
    if isinstance(a, CompressedTensor) or isinstance(b, CompressedTensor):
        return add(a.to_sparse_coo(), b.to_sparse_coo(), alpha=alpha).to_sparse(
            layout=(a if isinstance(a, CompressedTensor) else b).layout)
    assert isinstance(a, CoordinateTensor) and isinstance(b, CoordinateTensor)
    if a.sparse_dim() != b.sparse_dim():
        raise RuntimeError("cannot add two sparse tensors with different numbers of sparse dimensions")
    dtype = result_dtype((a._stored, b._stored))
    values = cat([a._stored.to(dtype), _scaled(b._stored.to(dtype), alpha)])
    both = make_coo(cat([a._coordinates, b._coordinates], 1), values, a._size)
    if a._coordinates is b._coordinates or (
            not (a._sorted and b._sorted) and np.array_equal(a._coordinates._array(), b._coordinates._array())):
        return a._with_values(a._stored.to(dtype) + _scaled(b._stored.to(dtype), alpha))
    return both.coalesce() if a._sorted and b._sorted else both


def _dense_plus(a: Tensor, b: Any, alpha: Any) -> Tensor:
    rows = b if isinstance(b, CoordinateTensor) else b.to_sparse_coo()
    if a._shape() != rows._size:
        raise RuntimeError(f"add: expected 'self' and 'other' to have same size, but self has size {list(a._shape())} "
                           f"while other has size {list(rows._size)} (FYI: dense-sparse addition does not currently "
                           "support broadcasting)")
    dtype = result_dtype((a, rows._stored))
    values = _scaled(rows._stored.to(dtype), alpha)
    count = rows.sparse_dim()
    flat = a.to(dtype).reshape((-1, *a._shape()[count:]))
    return flat.index_add(0, positions(rows._coordinates, rows._sizes()), values).reshape(a._shape())


@handles("sub", "__sub__")
def sub(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    """a - alpha·b; see ``add``."""
    return add(a, b, alpha=-alpha)


@handles("__rsub__", "rsub")
def _reflected_sub(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    return add(b, a, alpha=-alpha)


@handles("add_", "__iadd__")
def _add_in_place(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    made: Any = checked(add(a, b, alpha=alpha), "add_", b)
    return a._write(made.to(a.dtype)) if isinstance(a, SparseTensor) else a.copy_(made)


@handles("sub_", "__isub__")
def _sub_in_place(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    return _add_in_place(a, b, alpha=-alpha)


@handles("mul", "__mul__", "__rmul__")
def mul(a: Any, b: Any) -> Any:
    """a·b where both are stored: a sparse tensor."""
    if not isinstance(a, SparseTensor):
        a, b = b, a
    if is_number(b) or (isinstance(b, Tensor) and not isinstance(b, SparseTensor) and not b.ndim):
        return a._with_values(a._stored * b)
    if not isinstance(b, Tensor):
        return NotImplemented
    if isinstance(a, CompressedTensor) or isinstance(b, CompressedTensor):
        x, y = [v.to_sparse_coo() if isinstance(v, CompressedTensor) else v for v in (a, b)]
        return mul(x, y).to_sparse(layout=(a if isinstance(a, CompressedTensor) else b).layout)
    if isinstance(b, CoordinateTensor):
        return _common(a, b)
    shape = broadcast_shapes(a._size, b._shape())
    if shape != a._size:
        raise NotImplementedError(f"mul: a sparse tensor of shape {list(a._size)} does not stretch to {list(shape)}")
    return a._with_values(a._stored * b.expand(shape)[tuple(a._coordinates.unbind(0))])


def _common(a: CoordinateTensor, b: CoordinateTensor) -> CoordinateTensor:
    """The product of two sparse tensors, at the places that both have."""
    if a._size != b._size:
        raise RuntimeError(f"mul operands have incompatible sizes: {list(a._size)} != {list(b._size)}")
    if a._sorted and not b._sorted:
        a, b = b, a
    b = b.coalesce()
    if not a._nnz() or not b._nnz():
        none = a if not a._nnz() else b
        return none._with_values(none._stored.to(result_dtype((a._stored, b._stored))))
    mine, theirs = a._flat(), b._flat()
    found = FUNCTIONS["searchsorted"](theirs, mine)
    found = found.clamp(max=theirs.shape[0] - 1)
    kept, = (theirs[found] == mine).nonzero(as_tuple=True)
    values = a._stored[kept] * b._stored[found[kept]]
    return make_coo(a._coordinates[:, kept], values, a._size, a._sorted)


@handles("mul_", "__imul__")
def _mul_in_place(a: Any, b: Any) -> Any:
    made: Any = checked(mul(a, b), "mul_", b)
    return a._write(made.to(a.dtype)) if isinstance(a, SparseTensor) else a.copy_(made.to_dense())


@handles("div", "__truediv__", "true_divide")
def div(a: Any, b: Any, *, rounding_mode: str | None = None) -> Any:
    """A sparse tensor by a number, or a Tensor without dimensions."""
    if not isinstance(a, SparseTensor):
        raise RuntimeError("div: a dense tensor can't be divided by a sparse one")
    if isinstance(b, Tensor) and (b.ndim or isinstance(b, SparseTensor)):
        raise RuntimeError("Sparse division requires a scalar or zero-dim dense tensor divisor (got shape "
                           f"{list(b._shape())} for divisor)")
    x = a if rounding_mode is None or isinstance(a, CompressedTensor) else a.coalesce()
    return x._with_values(x._stored.div(b, rounding_mode=rounding_mode))


@handles("div_", "__itruediv__")
def _div_in_place(a: Any, b: Any) -> Any:
    return a._write(div(a, b))


@handles("floor_divide", "__floordiv__")
def _floor_divide(a: Any, b: Any) -> Any:
    return div(a, b, rounding_mode="floor")


@handles("pow", "__pow__")
def power(a: Any, exponent: Any) -> Any:
    """Each element to a power that is not 0."""
    if not isinstance(a, CoordinateTensor) or isinstance(exponent, Tensor):
        return NotImplemented
    if exponent == 0:
        raise RuntimeError("pow: Cannot raise to zeroth power on sparse tensor; it would make the result tensor dense")
    x = a.coalesce()
    return x._with_values(x._stored ** exponent)
