"""Stage: realise. In: arrays, batches of matrices. Out: factors, solutions and spectra by NumPy's LAPACK, and for each
matrix 0 or where the computation broke off; one bad matrix of a batch does not spoil the others.
Next: ``host.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.linalg import _umath_linalg as _lapack

from minigrad.errors import LinAlgError
from minigrad.tensor.lapack import kernels

Arrays = Sequence[np.ndarray]
Results = tuple[np.ndarray, ...]


def _each(solve: Callable[..., np.ndarray], arrays: Arrays, rest: Callable[..., Results]) -> Results:
    """``solve`` of all matrices at once, and for each 0 or where it broke off. A matrix for which LAPACK gives up has a
    result of NaNs: there ``rest`` says what stands in its place, and where it broke off, if it did."""
    with np.errstate(all="ignore"):
        result = solve(*arrays)
        info = np.zeros(result.shape[:-2], np.int32)
        failed = np.isnan(result[..., :1, :1]).any((-2, -1))
        if failed.any():
            failed &= np.isnan(result).all((-2, -1))
        if failed.any():
            found, info[failed] = rest(*[_of_batch(a, failed.shape)[failed] for a in arrays])
            result[failed] = np.where(info[failed][:, None, None] == 0, np.nan, found)
    return result, info


def _of_batch(a: np.ndarray, batch: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(a, (*batch, *a.shape[-2:]))


# --- inverses and solutions


def inverse(arrays: Arrays) -> Results:
    """The inverses, and the first step of the elimination whose pivot is 0, or 0."""
    return _each(_lapack.inv, arrays, lambda a: _eliminated(a, np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype),
                                                                               a.shape)))


def solve(arrays: Arrays) -> Results:
    """X with A X = B, and the first pivot that is 0, or 0."""
    a, b = arrays
    if b.shape[-1]:
        return _each(_lapack.solve, arrays, _eliminated)
    info = _of_batch(inverse([a])[1][..., None, None], np.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
    return _of_batch(b, info.shape[:-2]), info[..., 0, 0]


def _eliminated(a: np.ndarray, b: np.ndarray) -> Results:
    """The solutions of systems that LAPACK finds singular, where divisions by 0 give infinities, and the first pivot
    that is 0: the last, if it is 0 only with LAPACK's rounding; 0 if there is none because of NaNs and infinities."""
    factors, pivots, info = kernels.lu(a)
    ordered = np.take_along_axis(b, kernels.permutation(pivots, a.shape[-1])[..., None], -2)
    inner = kernels.substituted(factors, ordered, False, True)
    last = np.where(_finite(a), a.shape[-1], 0)
    return kernels.substituted(factors, inner, True, False), np.where(info == 0, last, info)


def lu(arrays: Arrays) -> Results:
    """``kernels.lu``: the factors, the pivots and where one is 0."""
    return kernels.lu(arrays[0])


def permutation(arrays: Arrays, size: int) -> np.ndarray:
    """``kernels.permutation``: the order of the rows, of pivots."""
    return kernels.permutation(arrays[0], size)


def substituted(arrays: Arrays, upper: bool, unit: bool) -> np.ndarray:
    """``kernels.substituted``: the solution of a triangular system."""
    return kernels.substituted(arrays[0], arrays[1], upper, unit)


def ldl(arrays: Arrays, hermitian: bool) -> Results:
    """``kernels.ldl``: the factors, the pivots and where one is 0."""
    return kernels.ldl(arrays[0], hermitian)


def ldl_solve(arrays: Arrays, hermitian: bool) -> np.ndarray:
    """``kernels.ldl_solved``: the solution, from factors, pivots and right sides."""
    return kernels.ldl_solved(arrays[0], arrays[1], arrays[2], hermitian)


def least_squares(arrays: Arrays, driver: str) -> Results:
    """The shortest X that minimises |A X - B|, the rank of A and its singular values; those up to rcond, the third
    array, times the largest count as 0. ``gels`` takes the rank to be full."""
    a, b, rcond = arrays
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a = np.broadcast_to(a, (*batch, *a.shape[-2:]))
    u, s, vh = _spectrum("torch.linalg.lstsq", np.linalg.svd, a, False)
    large = s > np.asarray(rcond)[..., None] * s.max(-1, initial=0, keepdims=True)
    kept = large | (driver == "gels")
    with np.errstate(all="ignore"):
        inside = _adjoint(u) @ b * np.where(kept, 1 / np.where(kept, s, 1), 0)[..., None]
        return _adjoint(vh) @ inside, large.sum(-1).astype(np.int64), s


def _adjoint(x: np.ndarray) -> np.ndarray:
    return np.asarray(x.swapaxes(-1, -2).conj())


# --- Cholesky


def cholesky(arrays: Arrays) -> Results:
    """The lower factors, and the order of the first leading minor that is not positive, or 0."""
    factor, info = _each(_lapack.cholesky_lo, arrays, _broken_off)
    unknown = np.isnan(np.diagonal(factor, axis1=-2, axis2=-1))
    if unknown.any():  # which LAPACK passes over
        first = np.where(unknown.any(-1), unknown.argmax(-1) + 1, 0)
        info = np.where(info == 0, first, info).astype(np.int32)
    return factor, info


def _broken_off(a: np.ndarray) -> Results:
    """The factors' first rows, as far as they exist, below them what is left of A, and the first bad minors' orders."""
    found = [_first_rows(x) for x in a]
    return np.stack([rows for rows, _ in found]), np.array([bad for _, bad in found], np.int32)


def _first_rows(a: np.ndarray) -> tuple[np.ndarray, int]:
    known, bad = 0, len(a)  # by bisection: a minor that contains a bad one is bad
    while bad - known > 1:
        middle = (known + bad) // 2
        if np.isnan(_lapack.cholesky_lo(a[:middle, :middle])).all():
            bad = middle
        else:
            known = middle
    result = np.tril(a)
    result[:, :known] = 0
    if known:
        result[:known, :known] = _lapack.cholesky_lo(a[:known, :known])
        result[known:, :known] = _adjoint(kernels.substituted(
            result[:known, :known], _adjoint(a[known:, :known]), False, False))
        result[known:, known:] -= np.tril(result[known:, :known] @ _adjoint(result[known:, :known]))
    return result, bad


def cholesky_solve(arrays: Arrays, upper: bool) -> np.ndarray:
    """X with A X = B, given A's factor."""
    b, factor = arrays
    lower = _adjoint(factor) if upper else factor
    inner = kernels.substituted(lower, b, False, False)
    return kernels.substituted(_adjoint(lower), inner, True, False)


def cholesky_inverse(arrays: Arrays, upper: bool) -> np.ndarray:
    """A⁻¹, given A's factor."""
    factor = arrays[0]
    unit = np.broadcast_to(np.eye(factor.shape[-1], dtype=factor.dtype), factor.shape)
    inverse = kernels.substituted(_adjoint(factor) if upper else factor, unit, False, False)
    return np.asarray(_adjoint(inverse) @ inverse)


# --- spectra


def _spectrum(name: str, compute: Callable[..., Any], *arguments: Any) -> Any:
    with np.errstate(all="ignore"):
        try:
            return compute(*arguments)
        except np.linalg.LinAlgError:
            raise LinAlgError(f"{name}: The algorithm failed to converge because the input matrix contained non-finite "
                              "values.") from None


def _finite(a: np.ndarray) -> np.ndarray:
    return np.isfinite(a).all((-2, -1))


def eigh(arrays: Arrays, lower: bool) -> Results:
    """Eigenvalues in ascending order and eigenvectors, from one triangle; NaN where a matrix is not finite."""
    a = arrays[0]
    good = _finite(np.tril(a) if lower else np.triu(a))[..., None]
    values, vectors = _spectrum("linalg.eigh", np.linalg.eigh, np.where(good[..., None], a, 0), "L" if lower else "U")
    return np.where(good, values, np.nan).astype(values.dtype), np.where(
        good[..., None], vectors, np.nan).astype(vectors.dtype)


def eigvalsh(arrays: Arrays, lower: bool) -> np.ndarray:
    """Eigenvalues in ascending order, from one triangle; NaN where a matrix is not finite."""
    a = arrays[0]
    good = _finite(np.tril(a) if lower else np.triu(a))[..., None]
    values = _spectrum("linalg.eigh", np.linalg.eigvalsh, np.where(good[..., None], a, 0), "L" if lower else "U")
    return np.where(good, values, np.nan).astype(values.dtype)


def _wide(a: np.ndarray) -> np.dtype:
    return np.result_type(a.dtype, np.complex64)


def _check_finite(a: np.ndarray) -> None:
    if not np.isfinite(a).all():
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")


def eig(arrays: Arrays) -> Results:
    """Eigenvalues and eigenvectors of general matrices, complex."""
    a = arrays[0]
    _check_finite(a)
    values, vectors = _spectrum("linalg.eig", np.linalg.eig, a)
    return values.astype(_wide(a)), vectors.astype(_wide(a))


def eigvals(arrays: Arrays) -> np.ndarray:
    """Eigenvalues of general matrices, complex; NaN where a matrix is not finite."""
    a = arrays[0]
    good = _finite(a)[..., None]
    values = _spectrum("linalg.eig", np.linalg.eigvals, np.where(good[..., None], a, 0))
    return np.where(good, values, complex(np.nan, np.nan)).astype(_wide(a))


def svd(arrays: Arrays, full: bool) -> Results:
    """U, the singular values and Vᴴ; U and V square if ``full``."""
    u, s, vh = _spectrum("linalg.svd", np.linalg.svd, arrays[0], full)
    return u, s, vh


def svdvals(arrays: Arrays) -> np.ndarray:
    """The singular values, descending."""
    s: np.ndarray = _spectrum("linalg.svd", lambda a: np.linalg.svd(a, compute_uv=False), arrays[0])
    return s


# --- QR


def qr(arrays: Arrays, mode: str) -> Results:
    """Q and R, in NumPy's ``mode``."""
    a = arrays[0]
    q, r = np.linalg.qr(a, mode)  # type: ignore[call-overload]
    return q.astype(a.dtype), r.astype(a.dtype)


def r(arrays: Arrays) -> np.ndarray:
    """R alone."""
    a = arrays[0]
    return np.asarray(np.linalg.qr(a, "r")).astype(a.dtype)


def geqrf(arrays: Arrays) -> Results:
    """R and below it the vectors of the reflections, and their factors."""
    a = arrays[0]
    if not a.size:
        return a.copy(), np.zeros((*a.shape[:-2], min(a.shape[-2:])), a.dtype)
    found, tau = np.linalg.qr(a, "raw")
    return np.ascontiguousarray(found.swapaxes(-1, -2)).astype(a.dtype), tau.astype(a.dtype)


# --- determinants


def det(arrays: Arrays) -> np.ndarray:
    """The determinants."""
    with np.errstate(all="ignore"):
        return np.asarray(np.linalg.det(arrays[0])).astype(arrays[0].dtype)


def slogdet(arrays: Arrays) -> Results:
    """The signs of the determinants, 0 (complex: NaN) where one is NaN, and the logarithms of their absolute values."""
    a = arrays[0]
    with np.errstate(all="ignore"):
        sign, logarithm = np.linalg.slogdet(a)
    unknown = complex(np.nan, np.nan) if a.dtype.kind == "c" else 0
    return np.where(np.isnan(logarithm), unknown, sign).astype(a.dtype), np.asarray(logarithm)


def cofactors(arrays: Arrays) -> np.ndarray:
    """det(A) A⁻ᵀ, also of singular matrices: with A = U S Vᴴ it is det(U) det(Vᴴ) conj(U P Vᴴ), where P has the
    products of all singular values but one. (G. Stewart, On the adjugate matrix, 1998)"""
    a = arrays[0]
    n = a.shape[-1]
    if not a.size:
        return np.zeros_like(a)
    if not np.isfinite(a).all():
        return np.full_like(a, np.nan)
    u, s, vh = np.linalg.svd(a)
    others = np.where(np.eye(n, dtype=bool), 1, s[..., None, :]).prod(-1)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return np.asarray((sign[..., None, None] * ((u * others[..., None, :]) @ vh).conj()).astype(a.dtype))


# --- exponential


def matrix_exp(arrays: Arrays) -> np.ndarray:
    """exp(A) = exp(A / 2^s)^(2^s), for each matrix with its own s such that the sum of 18 powers is exact, in
    float64; NaN where a matrix is not finite."""
    given = arrays[0]
    n = given.shape[-1]
    a = given.astype(np.result_type(given.dtype, np.float64) if given.dtype.kind in "fc" else np.float64)
    with np.errstate(all="ignore"):
        size = np.abs(a).sum(-2).max(-1, initial=0.0)
        halvings = np.ceil(np.log2(np.where((size > 1) & (size < np.inf), size, 1)))[..., None, None]
        a = a / 2.0**halvings
        unit = np.eye(n, dtype=a.dtype)
        result = unit + np.zeros_like(a)
        for power in range(18, 0, -1):
            result = unit + a @ result / power
        for step in range(int(halvings.max(initial=0))):
            result = np.where(halvings > step, result @ result, result)
        result = np.where(np.isfinite(size)[..., None, None], result, np.nan)
        return np.asarray(result.astype(given.dtype))


# --- pseudo-inverse


def pinv(arrays: Arrays, hermitian: bool) -> np.ndarray:
    """A⁺, with the second and third array as thresholds: absolute, and relative to the largest singular value."""
    a, absolute, relative = arrays
    if not a.size:
        return np.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
    if hermitian:
        s, u = _spectrum("linalg.eigh", np.linalg.eigh, a)
        vh, size = _adjoint(u), np.abs(s)
    else:
        u, s, vh = _spectrum("linalg.svd", lambda x: np.linalg.svd(x, full_matrices=False), a)
        size = s
    bound = np.maximum(absolute, relative * size.max(-1, initial=0))[..., None]
    with np.errstate(all="ignore"):
        inverse = np.where(size > bound, 1 / s, 0).astype(s.dtype)
    return np.asarray(_adjoint(vh) @ (inverse[..., None] * _adjoint(u)))
