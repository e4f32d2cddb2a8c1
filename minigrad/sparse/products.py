"""Stage: front. In: matrices, at least one of them sparse. Out: their products. Those with a dense matrix are one
composite: rows of the dense matrix, times the values, added up by SCATTER.
Next: ``reductions.py``."""

from __future__ import annotations

from typing import Any

from minigrad.sparse.base import SparseTensor, handles, put_into, unsupported
from minigrad.sparse.compressed import CompressedTensor
from minigrad.sparse.coordinates import CoordinateTensor, coordinates, make_coo
from minigrad.tensor import Tensor, arange, cat, composite, type_name, zeros


@composite
def _times_dense(indices: Tensor, values: Tensor, dense: Tensor, *, rows: int) -> Tensor:
    """out[i] = Σ values[e] · dense[k] over the elements e at (i, k)."""
    found = dense.index_select(0, indices[1]) * values.unsqueeze(-1)
    return zeros((rows, dense.shape[1]), dtype=dense.dtype, device=dense.device).index_add(0, indices[0], found)


def _rows(x: Any) -> CoordinateTensor:
    made: CoordinateTensor = x if isinstance(x, CoordinateTensor) else x.to_sparse_coo()
    return made


def _check(a: Any, b: Any) -> None:
    m, n = a._shape(), b._shape()
    if len(m) != 2 or len(n) != 2:
        raise RuntimeError(f"mm: expected two matrices, but got tensors of {len(m)} and {len(n)} dimensions")
    if m[1] != n[0]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({m[0]}x{m[1]} and {n[0]}x{n[1]})")
    if a.dtype is not b.dtype:
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {type_name(a.dtype)} != "
                           f"{type_name(b.dtype)}")


@handles("mm", "spmm")
def mm(a: Any, mat2: Any, reduce: str | None = None) -> Any:
    """The product of two matrices: sparse of two sparse ones, else dense. ``reduce``: "mean", "amax" or "amin" of the
    products in place of their sum.

    >>> import minigrad
    >>> x = minigrad.sparse_coo_tensor([[0, 1], [1, 0]], [2.0, 3.0], (2, 2))
    >>> mm(x, minigrad.tensor([[1.0], [10.0]]))
    tensor([[20.],
            [ 3.]])
    """
    _check(a, mat2)
    if not isinstance(mat2, SparseTensor):
        x = _rows(a)
        if x.dense_dim():
            raise RuntimeError(f"mm: Argument #1: matrices expected, got {x.sparse_dim()}D, {x.dense_dim()}D tensors")
        if reduce in (None, "sum"):
            return _times_dense(x._coordinates, x._stored, mat2, rows=x._size[0])
        if reduce not in ("mean", "amax", "amin"):
            raise RuntimeError(f"sparse_mm_reduce: reduce type of {reduce} has not been enabled.")
        rows, columns = x._coordinates
        base = zeros((x._size[0], mat2.shape[1]), dtype=mat2.dtype, device=mat2.device)
        return base.index_reduce(0, rows, mat2[columns] * x._stored.unsqueeze(-1), reduce, include_self=False)
    if not isinstance(a, SparseTensor):
        return mm(mat2.t(), a.t()).t()
    made = _times_sparse(_rows(a), _rows(mat2))
    return made.to_sparse(layout=a.layout) if isinstance(a, CompressedTensor) else made


def _times_sparse(a: CoordinateTensor, b: CoordinateTensor) -> CoordinateTensor:
    """Each element (i, k) of a meets all elements (k, j) of b."""
    a, b = a.coalesce(), b.coalesce()
    (rows, inner), (begins, columns) = a._coordinates, b._coordinates
    size = (a._size[0], b._size[1])
    count = zeros(b._size[0], dtype=rows.dtype, device=rows.device).index_add(0, begins, begins.new_ones(begins.shape))
    first = count.cumsum(0) - count
    meets = count[inner]
    element = arange(inner.shape[0], device=rows.device).repeat_interleave(meets)
    start = (meets.cumsum(0) - meets)[element]
    other = first[inner[element]] + arange(element.shape[0], device=rows.device) - start
    values = a._stored[element] * b._stored[other]
    places = cat([rows[element].reshape(1, -1), columns[other].reshape(1, -1)])
    return make_coo(places, values, size, False).coalesce()


@handles("mv")
def mv(a: Any, vec: Any) -> Any:
    """A matrix times a vector."""
    return mm(a, vec.unsqueeze(-1)).squeeze(-1)


@handles("matmul", "__matmul__")
def matmul(a: Any, b: Any) -> Any:
    """The product of matrices, or of a matrix and a vector."""
    if a.ndim == 2 and b.ndim == 2:
        return mm(a, b)
    if a.ndim == 2 and b.ndim == 1 and not isinstance(b, SparseTensor):
        return mv(a, b)
    if a.ndim == 1 and b.ndim == 2 and not isinstance(a, SparseTensor):
        return mv(b.t(), a)
    if a.ndim == 3 and b.ndim == 3:
        return bmm(a, b)
    raise NotImplementedError(f"matmul of sparse tensors of {a.ndim} and {b.ndim} dimensions is not there")


@handles("__rmatmul__")
def _reflected(b: Any, a: Any) -> Any:
    return matmul(a, b)


@handles("bmm")
def bmm(a: Any, mat2: Any) -> Any:
    """The products of a batch of sparse matrices and one of dense matrices."""
    if not isinstance(a, CoordinateTensor) or isinstance(mat2, SparseTensor):
        raise NotImplementedError("bmm: a batch of sparse matrices (sparse_coo) times dense ones, nothing else")
    batches, rows, inner = a._size
    if mat2.shape[0] != batches or mat2.shape[1] != inner:
        raise RuntimeError(f"bmm: Expected size for first two dimensions of batch2 tensor to be: [{batches}, {inner}] "
                           f"but got: [{mat2.shape[0]}, {mat2.shape[1]}].")
    batch, row, column = a._coordinates
    at = cat([(batch * rows + row).reshape(1, -1), (batch * inner + column).reshape(1, -1)])
    made = _times_dense(at, a._stored, mat2.reshape(batches * inner, -1), rows=batches * rows)
    return made.reshape(batches, rows, -1)


@handles("addmm")
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """beta·input + alpha·(mat1 @ mat2).

    >>> import minigrad
    >>> x = minigrad.sparse_coo_tensor([[0], [1]], [2.0], (2, 2))
    >>> addmm(minigrad.ones(2, 1), x, minigrad.tensor([[1.0], [10.0]]), alpha=0.5)
    tensor([[11.],
            [ 1.]])
    """
    product = mm(mat1, mat2)
    product = product if alpha == 1 else product * alpha
    if beta == 0:
        return product
    scaled = input if beta == 1 else input * beta
    if isinstance(product, SparseTensor) or not isinstance(scaled, SparseTensor):
        return scaled + product
    return product + scaled


@handles("addmm_")
def _addmm_in_place(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    made = addmm(input, mat1, mat2, beta=beta, alpha=alpha)
    return input._write(made) if isinstance(input, SparseTensor) else input.copy_(made)


@handles("hspmm")
def hspmm(mat1: Any, mat2: Any) -> CoordinateTensor:
    """mat1 @ mat2 as the rows that are not empty: one sparse dimension and one dense."""
    x = _rows(mat1)
    rows = x._coordinates[0].unique()
    return make_coo(rows.reshape(1, -1), mm(x, mat2)[rows], (x._size[0], mat2.shape[1]), True)


@handles("smm")
def smm(input: Any, mat2: Any) -> CoordinateTensor:
    """input @ mat2 as a sparse matrix, which stores all of each row that is not empty."""
    found = hspmm(input, mat2)
    rows, size = found._coordinates[0], found._size
    at = (rows.reshape(-1, 1) * size[1] + arange(size[1], device=rows.device)).reshape(-1)
    return make_coo(coordinates(at, size), found._stored.reshape(-1), size, True)


@handles("sspaddmm")
def sspaddmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> CoordinateTensor:
    """beta·input + alpha·(mat1 @ mat2) as a sparse matrix."""
    product = smm(mat1, mat2)
    values = cat([input._values() * beta, product._stored * alpha])
    return make_coo(cat([input._indices(), product._coordinates], 1), values, input._size, False)


def sampled_addmm(input: Any, mat1: Tensor, mat2: Tensor, *, beta: Any = 1.0, alpha: Any = 1.0, out: Any = None) -> Any:
    """beta·input + alpha·(mat1 @ mat2) at the places that ``input`` (m, n), of the layout ``sparse_csr``, stores; only
    these elements of the product are computed.

    ``RuntimeError`` for sizes that do not fit together, ``NotImplementedError`` for another layout.
    (https://docs.pytorch.org/docs/stable/generated/torch.sparse.sampled_addmm.html)

    >>> import minigrad
    >>> x = minigrad.tensor([[1.0, 0.0], [0.0, 1.0]]).to_sparse_csr()
    >>> sampled_addmm(x, minigrad.ones(2, 3), minigrad.ones(3, 2), alpha=2).values()
    tensor([7., 7.])
    """
    if not isinstance(input, SparseTensor) or not input.is_sparse_csr:
        if isinstance(input, SparseTensor):
            raise unsupported("sparse_sampled_addmm", input)
        raise NotImplementedError("Could not run 'aten::sparse_sampled_addmm' with arguments from the 'CPU' backend.")
    shape, (m, k), (inner, n) = input._shape(), mat1._shape(), mat2._shape()
    if k != inner:
        raise RuntimeError(f"sampled_addmm: mat1 and mat2 shapes cannot be multiplied ({m}x{k} and {inner}x{n})")
    if shape[-2] != m:
        raise RuntimeError("sampled_addmm: self.shape[-2] must match mat1.shape[-2]")
    if shape[-1] != n:
        raise RuntimeError("sampled_addmm: self.shape[-1] must match mat2.shape[-1]")
    rows, columns = _rows(input)._coordinates
    product = (mat1[rows] * mat2.t()[columns]).sum(-1)
    return put_into(out, input._with_values(input._stored * beta + product * alpha))


def spdiags(diagonals: Tensor, offsets: Tensor, shape: Any, layout: Any = None) -> Any:
    """A sparse matrix with these rows on the diagonals ``offsets`` (below for negative ones): element j of a row stands
    in column j. (https://docs.pytorch.org/docs/stable/generated/torch.sparse.spdiags.html)
    """
    diagonals = diagonals.reshape(1, -1) if diagonals.ndim == 1 else diagonals
    offsets = offsets.reshape(-1)
    if diagonals.shape[0] != offsets.shape[0]:
        raise RuntimeError(f"Number of diagonals ({diagonals.shape[0]}) does not match the number of offsets "
                           f"({offsets.shape[0]})")
    if offsets.unique().numel() != offsets.numel():
        raise RuntimeError("Offset tensor contains duplicate values")
    columns = arange(diagonals.shape[1], device=diagonals.device).expand(diagonals.shape)
    rows = columns - offsets.reshape(-1, 1)
    kept = (rows >= 0) & (rows < shape[0]) & (columns < shape[1])
    at = cat([rows[kept].reshape(1, -1), columns[kept].reshape(1, -1)])
    made = make_coo(at, diagonals[kept], tuple(shape), False)
    return made if layout is None else made.to_sparse(layout=layout)
