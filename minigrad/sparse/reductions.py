"""Stage: front. In: sparse tensors. Out: sums over dimensions, softmax over the stored elements, several joined to one.
Next: ``minigrad/distributions/``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.sparse.base import SparseTensor, handles
from minigrad.sparse.coordinates import CoordinateTensor, make_coo, positions
from minigrad.tensor import Tensor, cat, zeros
from minigrad.tensor.operands import dim_index, result_dtype


@handles("sum")
def sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The sum of all elements, or over some dimensions: dense where no sparse dimension is left.
    (https://docs.pytorch.org/docs/stable/generated/torch.sparse.sum.html)

    >>> import minigrad
    >>> x = minigrad.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3))
    >>> minigrad.sparse.sum(x), minigrad.sparse.sum(x, 0)
    (tensor(12.), tensor(indices=tensor([[0, 2]]),
           values=tensor([4., 8.]),
           size=(3,), nnz=2, layout=minigrad.sparse_coo))
    """
    if not isinstance(input, SparseTensor):
        return input.sum(dim, keepdim, dtype=dtype) if dim is not None else input.sum(dtype=dtype)
    values = input._values() if dtype is None else input._values().to(dtype)
    if dim is None or dim == () or dim == []:
        return values.sum()
    x = input if isinstance(input, CoordinateTensor) else input.to_sparse_coo()
    values = x._values() if dtype is None else x._values().to(dtype)
    dims = sorted({dim_index(d, x.ndim) for d in (dim if isinstance(dim, tuple | list) else (dim,))})
    count = x.sparse_dim()
    dense = [d - count + 1 for d in dims if d >= count]
    values = values.sum(dense) if dense else values
    kept = [d for d in range(count) if d not in dims]
    size = [n for d, n in enumerate(x._size) if d not in dims]
    if not kept:
        made: Any = values.sum(0)
    else:
        rows = cat([x._coordinates[d].reshape(1, -1) for d in kept])
        made = make_coo(rows, values, size, x._sorted and len(kept) == count)
        if len(kept) < count:
            made = made.coalesce()
    if keepdim:
        for d in dims:
            made = made.unsqueeze(d)
    return made


@handles("any")
def _any(input: Any) -> Tensor:
    found: Tensor = (input._values() != 0).any()
    return found


@handles("norm")
def _norm(input: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Tensor:
    if dim is not None or keepdim:
        raise RuntimeError("norm_sparse currently does not support keepdim=True, nor a dim")
    x = input.coalesce() if isinstance(input, CoordinateTensor) else input
    found: Tensor = x._values().reshape(-1).norm(2 if p in ("fro", None) else p)
    return found


# --- softmax


def _groups(x: CoordinateTensor, axis: int) -> tuple[Tensor, int]:
    """For each element the number of its line along the axis, and how many lines have any."""
    rows = [r for d, r in enumerate(x._coordinates) if d != axis]
    sizes = [n for d, n in enumerate(x._sizes()) if d != axis]
    if not rows:
        return x._coordinates.new_zeros(x._nnz()), 1
    lines, number = positions(cat([r.reshape(1, -1) for r in rows]), sizes).unique(return_inverse=True)
    return number, lines.shape[0]


def _normalised(input: Any, dim: int, dtype: Any, log: bool) -> Any:
    if not isinstance(input, CoordinateTensor):
        raise NotImplementedError("sparse softmax: only of the layout sparse_coo")
    x = input.coalesce()
    values = x._stored if dtype is None else x._stored.to(dtype)
    axis, count = dim_index(dim, x.ndim), x.sparse_dim()
    if axis >= count:
        at = axis - count + 1
        return x._with_values(values.log_softmax(at) if log else values.softmax(at))
    line, lines = _groups(x, axis)
    shape = (lines, *values.shape[1:])
    largest = values.detach().new_full(shape, -float("inf")).index_reduce(0, line, values.detach(), "amax")
    shifted = values - largest[line]
    total = zeros(shape, dtype=values.dtype, device=values.device).index_add(0, line, shifted.exp())[line]
    return x._with_values(shifted - total.log() if log else shifted.exp() / total)


def softmax(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """exp(x) over its sum along ``dim``, of the stored elements: the others count as -inf.
    (https://docs.pytorch.org/docs/stable/generated/torch.sparse.softmax.html)

    >>> import minigrad
    >>> x = minigrad.sparse_coo_tensor([[0, 0, 1], [0, 2, 1]], [1.0, 1.0, 7.0], (2, 3))
    >>> softmax(x, 1).values()
    tensor([0.5000, 0.5000, 1.0000])
    """
    return _normalised(input, dim, dtype, False)


def log_softmax(input: Any, dim: int, *, dtype: Any = None) -> Any:
    """The logarithm of ``softmax``."""
    return _normalised(input, dim, dtype, True)


# --- several


@handles("cat", "concat", "concatenate")
def concatenate(tensors: Sequence[Any], dim: int = 0) -> CoordinateTensor:
    """Sparse tensors one behind the other along ``dim``."""
    if not all(isinstance(t, CoordinateTensor) for t in tensors):
        raise RuntimeError("Concatenating sparse tensors, but a dense tensor was found")
    axis, count = dim_index(dim, tensors[0].ndim), tensors[0].sparse_dim()
    size = list(tensors[0]._size)
    for t in tensors:
        mine, theirs = [s[:axis] + s[axis + 1:] for s in (tuple(size), t._size)]
        if mine != theirs or t.sparse_dim() != count:
            raise RuntimeError(f"All tensors must have the same shape: {size} (except in the concatenating dimension), "
                               f"but found shape: {list(t._size)}")
    dtype = result_dtype([t._stored for t in tensors])
    rows, values, begin = [], [], 0
    for t in tensors:
        shift = [[begin if d == axis else 0] for d in range(count)]
        rows.append(t._coordinates + t._coordinates.new_tensor(shift))
        v = t._stored.to(dtype)
        if axis >= count:
            at = axis - count + 1
            parts = [v.new_zeros((*v.shape[:at], n, *v.shape[at + 1:])) for n in
                     (begin, _total(tensors, axis) - begin - v.shape[at])]
            v = cat([parts[0], v, parts[1]], at)
        values.append(v)
        begin += t._size[axis]
    size[axis] = begin
    made = make_coo(cat(rows, 1), cat(values), size, False)
    return made._coalesced_(axis == 0 and all(t._sorted for t in tensors))


def _total(tensors: Sequence[Any], axis: int) -> int:
    n = 0
    for t in tensors:
        n += t._size[axis]
    return n


@handles("stack")
def stack(tensors: Sequence[Any], dim: int = 0) -> CoordinateTensor:
    """Sparse tensors of one shape along a new dimension."""
    return concatenate([t.unsqueeze(dim) for t in tensors], dim)


@handles("hstack")
def _hstack(tensors: Sequence[Any]) -> CoordinateTensor:
    return concatenate(tensors, 0 if tensors[0].ndim == 1 else 1)


@handles("vstack")
def _vstack(tensors: Sequence[Any]) -> CoordinateTensor:
    return concatenate([t if t.ndim > 1 else t.unsqueeze(0) for t in tensors], 0)


