"""Stage: front. In: matrices, batches of them. Out: eigenvalues, singular values and their vectors.
Next: ``norms.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad.autograd.mode import mode
from minigrad.tensor import return_types
from minigrad.tensor.lapack import arrays
from minigrad.tensor.lapack.host import (
    Gradients,
    at_once,
    check_floating,
    check_kernel,
    check_matrix,
    check_square,
    host_function,
    is_complex,
    total,
)
from minigrad.tensor.lapack.inverses import SOLVE_EX
from minigrad.tensor.lapack.triangles import unit_like
from minigrad.tensor.promotion import type_name
from minigrad.tensor.storage import tracing

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _apart(values: Tensor) -> Tensor:
    """E[i, j] = values[j] - values[i], and 1 on the diagonal."""
    return values.unsqueeze(-2) - values.unsqueeze(-1) + unit_like(values)


def _skew(x: Tensor) -> Tensor:
    return x - x.mH


# --- Hermitian matrices


def _eigh_gradient(inputs: Any, outputs: Any, grads: Any, lower: bool) -> Gradients:
    """A V = V Λ: ∂A = V (diag(∂Λ) + (VᴴG - GᴴV) / 2E) Vᴴ. (M. Giles 2008) It depends on the directions within a space
    of equal eigenvalues, and is infinite there."""
    (values, v), (g, gv) = outputs, grads
    inner = None if gv is None else _skew(v.mH @ gv) * 0.5 / _apart(values)
    if g is not None:
        if inner is None:
            return ((v * g.unsqueeze(-2)) @ v.mH,)
        inner = inner + g.to(inner.dtype).diag_embed()
    return (None if inner is None else v @ inner @ v.mH,)


_EIGH = host_function("linalg_eigh", arrays.eigh, lambda a, lower: [
    (a.shape[:-1], a.dtype.part), (a.shape, a.dtype)], "LinalgEighBackward0", _eigh_gradient)
_EIGVALSH = host_function("linalg_eigvalsh", arrays.eigvalsh, lambda a, lower: [(a.shape[:-1], a.dtype.part)])


def _lower(A: Tensor, UPLO: str) -> bool:
    check_square(A, "linalg.eigh")
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    check_kernel(A, "linalg_eigh_cpu")
    return UPLO.upper() == "L"


def eigh(A: Tensor, UPLO: str = "L") -> return_types.ReturnType:
    """The named tuple ``(eigenvalues, eigenvectors)`` of a symmetric or Hermitian matrix, (*, n, n), float32, float64,
    complex64 or complex128: A = V diag(Λ) Vᴴ with real eigenvalues in ascending order, (*, n). ``UPLO``, "L" or "U",
    says which triangle of A is read. The gradient through V needs eigenvalues that differ.

    ``RuntimeError`` for another ``UPLO`` and a matrix that is not square, ``LinAlgError`` if LAPACK does not converge.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.eigh.html

    >>> import minigrad
    >>> minigrad.linalg.eigh(minigrad.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    return return_types.linalg_eigh(*at_once(_EIGH.all((A,), (_lower(A, UPLO),))))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues λ, A v = λ v, of a symmetric or Hermitian matrix, (*, n, n), float32, float64, complex64 or
    complex128: real, in ascending order, (*, n). ``UPLO``, "L" or "U", says which triangle of A is read. If a
    gradient is wanted the vectors are computed, too.

    ``RuntimeError`` for another ``UPLO`` and a matrix that is not square. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.eigvalsh.html

    >>> import minigrad
    >>> minigrad.linalg.eigvalsh(minigrad.tensor([[0.0, 1.0], [1.0, 0.0]]))
    tensor([-1.,  1.])
    """
    lower = _lower(A, UPLO)
    return at_once((_EIGH if _tracked(A) else _EIGVALSH).all((A,), (lower,)))[0]


def _tracked(A: Tensor) -> bool:
    """Whether a gradient of A may be asked for: while a composite is traced that is not known."""
    return (mode.enabled and A.requires_grad) or bool(tracing.names or mode.duals)


# --- general matrices


def _eig_gradient(inputs: Any, outputs: Any, grads: Any) -> Gradients:
    """A V = V Λ with columns of length 1: ∂A = V⁻ᴴ (diag(∂Λ) + (VᴴG - VᴴV diag(Re(VᴴG))) / conj(E)) Vᴴ.
    (C. Boeddeker et al. 2017)"""
    (a,), (values, v), (g, gv) = inputs, outputs, grads
    if gv is None:
        inner = v.mH * g.unsqueeze(-1)
    else:
        turned = v.mH @ gv
        lengths = turned.diagonal(0, -2, -1).real
        inner = (turned - (v.mH @ v) * lengths.unsqueeze(-2)) / _apart(values).conj()
        inner = inner - inner.diagonal(0, -2, -1).diag_embed()
        inner = (inner if g is None else inner + g.diag_embed()) @ v.mH
    found = SOLVE_EX.all((v.mH, inner))[0]
    return (found if is_complex(a) else found.real,)


_EIG = host_function("linalg_eig", arrays.eig, lambda a: [
    (a.shape[:-1], a.dtype.complex), (a.shape, a.dtype.complex)], "LinalgEigBackward0", _eig_gradient)
_EIGVALS = host_function("linalg_eigvals", arrays.eigvals, lambda a: [(a.shape[:-1], a.dtype.complex)])


def eig(A: Tensor) -> return_types.ReturnType:
    """The named tuple ``(eigenvalues, eigenvectors)`` of a square matrix, (*, n, n), float32, float64, complex64 or
    complex128, both complex, (*, n) and (*, n, n): A V = V diag(Λ); the columns of V have length 1. The gradient
    through V needs eigenvalues that differ.

    ``RuntimeError`` for a matrix that is not square, or has infinities or NaN. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.eig.html

    >>> import minigrad
    >>> minigrad.linalg.eig(minigrad.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([2.+0.j, 1.+0.j])
    """
    check_square(A, "linalg.eig")
    _check_complex(A)
    return return_types.linalg_eig(*at_once(_EIG.all((A,))))


def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues λ, A v = λ v, of a square matrix, (*, n, n), float32, float64, complex64 or complex128: complex,
    in no order, (*, n). If a gradient is wanted the vectors are computed, too.

    ``RuntimeError`` for a matrix that is not square, or has infinities or NaN. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.eigvals.html

    >>> import minigrad
    >>> minigrad.linalg.eigvals(minigrad.tensor([[0.0, 1.0], [0.0, 3.0]])).real
    tensor([0., 3.])
    """
    check_square(A, "linalg.eigvals")
    _check_complex(A)
    return at_once((_EIG if _tracked(A) else _EIGVALS).all((A,)))[0]


def _check_complex(A: Tensor) -> None:
    if A.dtype.kind not in "fc":
        raise RuntimeError(f"Unknown Complex ScalarType for {type_name(A.dtype)}")
    check_kernel(A, "linalg_eig_out_cpu")


# --- singular values


def _svd_gradient(inputs: Any, outputs: Any, grads: Any, full: bool) -> Gradients:
    """A = U S Vᴴ: ∂A = U (skew(Uᴴ∂U) / E S + S skew(Vᴴ∂V) / E + diag(∂S)) Vᴴ + (1 - UUᴴ) ∂U S⁻¹ Vᴴ + U S⁻¹ ∂Vᴴ (1 -
    VVᴴ) with E[i, j] = S[j]² - S[i]²; of complex matrices also i Im(Uᴴ∂U) / S on the diagonal. (J. Townsend 2016; Z.
    Wan, S. Zhang 2019)"""
    (a,), (u, s, vh), (gu, gs, gvh) = inputs, outputs, grads
    *_, m, n = a.shape
    k = min(m, n)
    u, vh = u[..., :k], vh[..., :k, :]
    if gu is None and gvh is None:
        return (None if gs is None else (u * gs.unsqueeze(-2)) @ vh,)
    rows, columns = s.unsqueeze(-2), s.unsqueeze(-1)
    apart = (rows - columns) * (rows + columns) + unit_like(s)
    inner = None if gs is None else gs.to(a.dtype).diag_embed()
    if gu is not None:
        gu = gu[..., :k]
        turned = _skew(u.mH @ gu)
        inner = total(inner, turned / apart * rows)
        if is_complex(a):  # the diagonal of turned is 2i Im(Uᴴ∂U), and apart is 1 there
            diagonal = turned.diagonal(0, -2, -1)
            inner = inner + (diagonal * (0.5 / s - s)).diag_embed()
    if gvh is not None:
        gv = gvh[..., :k, :].mH
        turned = _skew(vh @ gv)
        if is_complex(a):
            turned = turned - turned.diagonal(0, -2, -1).diag_embed()
        inner = total(inner, columns * (turned / apart))
    result = u @ inner @ vh
    if gu is not None and m > k:
        outside = gu / rows
        result = result + (outside - u @ (u.mH @ outside)) @ vh
    if gvh is not None and n > k:
        outside = gvh[..., :k, :] / columns
        result = result + u @ (outside - (outside @ vh.mH) @ vh)
    return (result,)


_SVD = host_function("linalg_svd", arrays.svd, lambda a, full: [
    ((*a.shape[:-1], a.shape[-2] if full else min(a.shape[-2:])), a.dtype),
    ((*a.shape[:-2], min(a.shape[-2:])), a.dtype.part),
    ((*a.shape[:-2], a.shape[-1] if full else min(a.shape[-2:]), a.shape[-1]), a.dtype)],
    "LinalgSvdBackward0", _svd_gradient)
_SVDVALS = host_function("linalg_svdvals", arrays.svdvals, lambda a: [
    ((*a.shape[:-2], min(a.shape[-2:])), a.dtype.part)])


def _check_svd(A: Tensor, driver: str | None) -> None:
    check_matrix(A, "linalg.svd")
    check_floating(A, "linalg.svd", "linalg_svd_cpu")
    if driver is not None:
        raise RuntimeError("torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with "
                           "cuSOLVER backend.")


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> return_types.ReturnType:
    """The named tuple ``(U, S, Vh)`` with A = U diag(S) Vh, for A (*, m, n), float32, float64, complex64 or complex128:
    S is real and descending, (*, k), k the smaller of m and n; U and Vh are square, or with ``full_matrices=False``
    (*, m, k) and (*, k, n). The gradient through U and Vh needs singular values that differ.

    ``RuntimeError`` for fewer than two dimensions and a ``driver``, which is for GPUs; ``LinAlgError`` if LAPACK does
    not converge. Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.svd.html

    >>> import minigrad
    >>> minigrad.linalg.svd(minigrad.tensor([[0.0, 2.0], [1.0, 0.0]])).S
    tensor([2., 1.])
    """
    _check_svd(A, driver)
    return return_types.linalg_svd(*at_once(_SVD.all((A,), (full_matrices,))))


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values of A, (*, m, n), float32, float64, complex64 or complex128: the S of ``svd``, real,
    descending, (*, k), k the smaller of m and n. If a gradient is wanted the vectors are computed, too.

    ``RuntimeError`` for fewer than two dimensions and a ``driver``, which is for GPUs. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.svdvals.html

    >>> import minigrad
    >>> minigrad.linalg.svdvals(minigrad.tensor([[0.0, 2.0], [1.0, 0.0]]))
    tensor([2., 1.])
    """
    _check_svd(A, driver)
    return at_once(_SVD.all((A,), (False,)))[1] if _tracked(A) else at_once(_SVDVALS.all((A,)))[0]


def old_svd(A: Tensor, some: bool = True, compute_uv: bool = True) -> return_types.ReturnType:
    """The named tuple ``(U, S, V)`` with A = U diag(S) Vᴴ; not ``some``: U and V are square; without ``compute_uv``
    they are 0."""
    check_matrix(A, "linalg.svd")
    check_floating(A, "linalg.svd", "linalg_svd_cpu")
    if not compute_uv:
        *batch, m, n = A.shape
        return return_types.svd(A.new_zeros((*batch, m, m)), svdvals(A), A.new_zeros((*batch, n, n)))
    u, s, vh = at_once(_SVD.all((A,), (not some,)))
    return return_types.svd(u, s, vh.mH)
