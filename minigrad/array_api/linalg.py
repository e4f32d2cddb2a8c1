"""Stage: array API. In: matrices, vectors, batches of them. Out: products, and the extension ``linalg``.
Source: https://data-apis.org/array-api/latest/extensions/linear_algebra_functions.html
Next: ``fft.py``."""

from __future__ import annotations

from typing import Any, NamedTuple

import minigrad.linalg
from minigrad.array_api.data_types import finfo
from minigrad.array_api.promotion import same_dtype, to_sum
from minigrad.dtype import DType
from minigrad.tensor import FUNCTIONS, Tensor

_of = FUNCTIONS
_linalg: Any = minigrad.linalg


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The matrix product."""
    return _of["matmul"](*same_dtype(x1, x2))


def matrix_transpose(x: Tensor, /) -> Tensor:
    """The last two axes swapped; ``ValueError`` if there are fewer."""
    if x.ndim < 2:
        raise ValueError("x must be at least 2-dimensional for matrix_transpose")
    return x.mT


def tensordot(x1: Tensor, x2: Tensor, /, *, axes: Any = 2) -> Tensor:
    """Products summed over axes."""
    return _of["tensordot"](*same_dtype(x1, x2), dims=axes)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The products of vectors along an axis; the first is conjugated."""
    dims = max(x1.ndim, x2.ndim)
    if not -min(x1.ndim, x2.ndim) <= axis < 0:
        raise ValueError(f"axis {axis} is out of range: it counts from the end")
    x1, x2 = same_dtype(x1, x2)
    if x1.shape[axis] != x2.shape[axis]:
        raise ValueError(f"x1 and x2 must have the same size along axis {axis}")
    x1, x2 = _of["broadcast_tensors"](x1, x2)
    first = _of["conj"](x1) if x1.dtype.is_complex else x1
    first, second = _of["moveaxis"](first, axis + dims, -1), _of["moveaxis"](x2, axis + dims, -1)
    return (first.reshape((*first.shape[:-1], 1, first.shape[-1])) @ second.reshape((*second.shape, 1)))[..., 0, 0]


# --- the extension


class EighResult(NamedTuple):
    """What ``eigh`` gives."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class EigResult(NamedTuple):
    """What ``eig`` gives."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """What ``qr`` gives."""

    Q: Tensor
    R: Tensor


class SlogdetResult(NamedTuple):
    """What ``slogdet`` gives."""

    sign: Tensor
    logabsdet: Tensor


class SVDResult(NamedTuple):
    """What ``svd`` gives."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """The triangle L of which x is L @ L.mT, or its transpose."""
    return _linalg.cholesky(x, upper=upper)


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The cross product of vectors of 3 along an axis."""
    if not -min(x1.ndim, x2.ndim) <= axis < max(x1.ndim, x2.ndim):
        raise ValueError(f"axis {axis} is out of range")
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ValueError("cross() needs vectors of 3 elements")
    x1, x2 = _of["broadcast_tensors"](*same_dtype(x1, x2))
    return _linalg.cross(x1, x2, dim=axis)


def det(x: Tensor, /) -> Tensor:
    """The determinant."""
    return _linalg.det(x)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """The diagonals of the last two axes."""
    return _of["diagonal"](x, offset, -2, -1)


def eigh(x: Tensor, /) -> EighResult:
    """Eigenvalues and eigenvectors of a symmetric matrix."""
    return EighResult(*_linalg.eigh(x))


def eigvalsh(x: Tensor, /) -> Tensor:
    """Eigenvalues of a symmetric matrix."""
    return _linalg.eigvalsh(x)


def eig(x: Tensor, /) -> EigResult:
    """Eigenvalues and eigenvectors, which are complex."""
    return EigResult(*_linalg.eig(x))


def eigvals(x: Tensor, /) -> Tensor:
    """Eigenvalues, which are complex."""
    return _linalg.eigvals(x)


def inv(x: Tensor, /) -> Tensor:
    """The inverse."""
    return _linalg.inv(x)


def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """A norm of matrices."""
    return _linalg.matrix_norm(x, ord, (-2, -1), keepdims)


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """x multiplied by itself, or its inverse for n below 0."""
    return _linalg.matrix_power(x, n)


def matrix_rank(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """The number of singular values above the tolerance."""
    if rtol is None:
        return _linalg.matrix_rank(x)
    return _linalg.matrix_rank(x, atol=0, rtol=rtol)


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """All products of elements of two vectors."""
    return _of["outer"](*same_dtype(x1, x2))


def pinv(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """The pseudo-inverse."""
    if rtol is None:
        return _linalg.pinv(x, rtol=max(x.shape[-2:]) * _of_finfo(x))
    return _linalg.pinv(x, rtol=rtol)


def _of_finfo(x: Tensor) -> float:
    return float(finfo(x).eps)


def qr(x: Tensor, /, *, mode: str = "reduced") -> QRResult:
    """An orthogonal matrix and a triangle whose product is x."""
    return QRResult(*_linalg.qr(x, mode))


def slogdet(x: Tensor, /) -> SlogdetResult:
    """The sign of the determinant and the logarithm of its absolute value."""
    return SlogdetResult(*_linalg.slogdet(x))


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """What multiplied by x1 gives x2; x2 is a vector only if it has one axis."""
    x1, x2 = same_dtype(x1, x2)
    if x2.ndim == 1:
        return _linalg.solve(x1, x2.reshape((-1, 1)))[..., 0]
    batch = _of["broadcast_shapes"](x1.shape[:-2], x2.shape[:-2])
    return _linalg.solve(x1.expand((*batch, *x1.shape[-2:])), x2.expand((*batch, *x2.shape[-2:])))


def svd(x: Tensor, /, *, full_matrices: bool = True) -> SVDResult:
    """Singular values and vectors."""
    return SVDResult(*_linalg.svd(x, full_matrices))


def svdvals(x: Tensor, /) -> Tensor:
    """Singular values."""
    return _linalg.svdvals(x)


def trace(x: Tensor, /, *, offset: int = 0, dtype: DType | None = None) -> Tensor:
    """The sum of the diagonals of the last two axes."""
    dtype = to_sum(x, dtype)
    return diagonal(x, offset=offset).to(dtype).sum(-1, dtype=dtype)


def vector_norm(x: Tensor, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Tensor:
    """A norm of the elements along axes."""
    if axis == ():
        found = _linalg.vector_norm(x.reshape((*x.shape, 1)), ord, -1)
        return found
    return _linalg.vector_norm(x, ord, axis, keepdims)
