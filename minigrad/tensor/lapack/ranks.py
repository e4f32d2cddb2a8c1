"""Stage: front. In: matrices, batches of them, which may be singular or not square. Out: their ranks, pseudo-inverses,
condition numbers, and the solutions of systems in the sense of least squares.
Next: ``products.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad.dtype import int64
from minigrad.tensor import return_types
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.lapack import arrays
from minigrad.tensor.lapack.host import (
    Gradients,
    at_once,
    batch_of,
    check_floating,
    check_matrix,
    check_square,
    host_function,
    shrunk,
)
from minigrad.tensor.lapack.inverses import INV_EX
from minigrad.tensor.lapack.norms import matrix_norm
from minigrad.tensor.lapack.spectra import eigvalsh, svdvals
from minigrad.tensor.promotion import finfo, type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

# --- thresholds


def _tolerances(A: Tensor, atol: Any, rtol: Any, name: str) -> tuple[Any, Any]:
    """PyTorch's defaults: rtol is eps times the larger size, or 0 if atol is given and positive."""
    for what, given in (("atol", atol), ("rtol", rtol)):
        if isinstance(given, AnyTensor) and given.dtype.kind == "c":
            raise RuntimeError(f"{name}: {what} tensor of complex type is not supported. Got {type_name(given.dtype)}")
    usual = finfo(A.dtype.part).eps * max(A.shape[-2:])
    if rtol is None:
        if isinstance(atol, AnyTensor):
            rtol = (atol <= 0).to(A.dtype.part) * usual
        else:
            rtol = 0.0 if atol is not None and atol > 0 else usual
    return 0.0 if atol is None else atol, rtol


def _threshold(largest: Tensor, atol: Any, rtol: Any) -> Tensor:
    """max(atol, rtol * largest)."""
    relative = largest * rtol
    if isinstance(atol, AnyTensor):
        return atol.to(relative.dtype).maximum(relative)
    return relative.clamp(min=atol)


def _sizes(A: Tensor, hermitian: bool) -> Tensor:
    return eigvalsh(A).abs() if hermitian else svdvals(A)


def _largest(sizes: Tensor) -> Tensor:
    if sizes.shape[-1] == 0:
        return sizes.new_zeros(sizes.shape[:-1])
    return sizes.amax(-1)


def matrix_rank(A: Tensor, tol: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """The number of singular values (of absolute eigenvalues, if ``hermitian``) above max(atol, rtol * the largest), of
    A (*, m, n), float32, float64, complex64 or complex128: (*), int64. ``tol`` is atol with rtol 0; by default atol
    is 0, and rtol, unless atol is positive, the larger of m and n times the dtype's eps.

    ``RuntimeError`` for fewer than two dimensions and complex tolerances. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.matrix_rank.html

    >>> import minigrad
    >>> minigrad.linalg.matrix_rank(minigrad.tensor([[1.0, 2.0], [2.0, 4.0]]))
    tensor(1)
    """
    name = "torch.linalg.matrix_rank"
    check_matrix(A, name, "input")
    if tol is not None:
        atol, rtol = tol, 0.0
    _check_types(A)
    if hermitian:
        check_square(A, "linalg.eigh")
    a = A.detach()
    atol, rtol = _tolerances(a, atol, rtol, name)
    sizes = _sizes(a, hermitian)
    return (sizes > _threshold(_largest(sizes), atol, rtol).unsqueeze(-1)).sum(-1)


def _check_types(A: Tensor) -> None:
    if A.dtype.kind not in "fc" or (A.dtype.kind == "f" and A.dtype.size < 4):
        raise RuntimeError("This function doesn't handle types other than float and double")


# --- pseudo-inverses


def _pinv_gradient(inputs: Any, outputs: Any, grads: Any, hermitian: bool) -> Gradients:
    """X = A⁺; ∂A = -Xᴴ G Xᴴ + (1 - A X) Gᴴ X Xᴴ + Xᴴ X Gᴴ (1 - X A). (G. Golub, V. Pereyra 1973)"""
    a, x, g = inputs[0], outputs[0], grads[0]
    if g is None:
        return None, None, None
    xh, gh = x.mH, g.mH
    left, right = gh @ x @ xh, xh @ x @ gh
    return -(xh @ g @ xh) + (left - a @ (x @ left)) + (right - (right @ x) @ a), None, None


_PINV = host_function("linalg_pinv", arrays.pinv, lambda a, atol, rtol, hermitian: [
    ((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)], "LinalgPinvBackward0", _pinv_gradient)


def pinv(A: Tensor, rcond: Any = None, hermitian: bool = False, *, atol: Any = None, rtol: Any = None) -> Tensor:
    """The pseudo-inverse (E. Moore, R. Penrose) of A, (*, m, n), float32, float64, complex64 or complex128: V diag(1/S)
    Uᴴ, (*, n, m). Singular values (absolute eigenvalues, if ``hermitian``) up to max(atol, rtol * the largest) count
    as 0, the defaults being those of ``matrix_rank``; ``rcond`` is another name of rtol.

    ``RuntimeError`` for fewer than two dimensions and complex tolerances. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.pinv.html

    >>> import minigrad
    >>> minigrad.linalg.pinv(minigrad.tensor([[2.0, 0.0], [0.0, 0.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.0000]])
    """
    if A.ndim < 2 or A.dtype.kind not in "fc" or (A.dtype.kind == "f" and A.dtype.size < 4):
        raise RuntimeError(f"linalg.pinv({type_name(A.dtype)}{{{list(A.shape)}}}): expected a tensor with 2 or more "
                           "dimensions of float, double, cfloat or cdouble types")
    if hermitian:
        check_square(A, "linalg.pinv")
    atol, rtol = _tolerances(A, atol, rtol if rcond is None else rcond, "torch.linalg.pinv")
    real = A.dtype.part
    both = [t.detach().to(real) if isinstance(t, AnyTensor) else A.new_full((), t, dtype=real) for t in (atol, rtol)]
    return at_once(_PINV.all((A, *both), (hermitian,)))[0]


# --- least squares


def _lstsq_gradient(inputs: Any, outputs: Any, grads: Any, driver: str) -> Gradients:
    """X = A⁺ B: the gradient of the pseudo-inverse for G Bᴴ; ∂B = A⁺ᴴ G."""
    (a, b, rcond), g = inputs, grads[0]
    if g is None:
        return None, None, None
    x = _PINV((a, rcond * 0, rcond), (False,))
    by_a = _pinv_gradient((a,), (x,), (g @ b.mH,), False)[0]
    assert by_a is not None
    return shrunk(by_a, a.shape), shrunk(x.mH @ g, b.shape), None


_LSTSQ = host_function("linalg_lstsq", arrays.least_squares, lambda a, b, rcond, driver: [
    ((*batch_of(a, b), a.shape[-1], b.shape[-1]), a.dtype), (batch_of(a, b), int64),
    ((*batch_of(a, b), min(a.shape[-2:])), a.dtype.part)], "LinalgLstsqBackward0", _lstsq_gradient, 1)
DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def lstsq(A: Tensor, B: Tensor, rcond: Any = None, *, driver: str | None = None) -> return_types.ReturnType:
    """The named tuple ``(solution, residuals, rank, singular_values)``: the X of least |A X - B|, and of those the
    shortest, for A (*, m, n) and B (*, m, k), or (*, m) for vectors, both float32, float64, complex64 or complex128;
    X is (*, n, k) or (*, n). ``residuals`` are the squares of |A X - B| in each column if m > n, the rank is full
    and the driver is not ``gelsy``, else empty. ``driver``: LAPACK's ``gels`` takes the rank to be full; ``gelsy``,
    the default, ``gelsd`` and ``gelss`` count singular values up to ``rcond`` times the largest as 0; the last two
    give the singular values.

    ``RuntimeError`` for another driver, shapes that do not fit and different dtypes. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.lstsq.html

    >>> import minigrad
    >>> found = minigrad.linalg.lstsq(minigrad.tensor([[1.0], [1.0]]), minigrad.tensor([[1.0], [3.0]]))
    >>> found.solution.round(decimals=3)
    tensor([[2.]])
    """
    name = "torch.linalg.lstsq"
    if A.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if B.ndim < 1:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    if A.dtype is not B.dtype:
        raise RuntimeError(f"{name}: Expected input and other to have the same dtype, but got input's dtype "
                           f"{type_name(A.dtype)} and other's dtype {type_name(B.dtype)}")
    if A.ndim < B.ndim:
        raise RuntimeError(f"{name}: input.dim() must be greater or equal to other.dim() and (input.dim() - "
                           "other.dim()) <= 1")
    if A.ndim - B.ndim > 1:
        raise RuntimeError(f"{name}: input.dim() must be greater or equal to other.dim() and (input.dim() - "
                           "other.dim()) <= 1")
    vector = A.ndim - B.ndim == 1
    if A.shape[-2] != B.shape[-1 if vector else -2]:
        raise RuntimeError(f"{name}: input.size(-2) should match other.size(-{1 if vector else 2})")
    if driver is not None and driver not in DRIVERS:
        raise RuntimeError(f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    _check_types(A)
    return _least_squares(A, B.unsqueeze(-1) if vector else B, rcond, driver or "gelsy", vector)


def _least_squares(A: Tensor, columns: Tensor, rcond: Any, driver: str, vector: bool) -> return_types.ReturnType:
    m, n = A.shape[-2:]
    real = A.dtype.part
    if rcond is None:
        rcond = finfo(real).eps * max(m, n)
    bound = rcond.detach().to(real) if isinstance(rcond, AnyTensor) else A.new_full((), rcond, dtype=real)
    x, rank, sizes = at_once(_LSTSQ.all((A, columns, bound), (driver,)))
    residuals = A.new_empty(0, dtype=real)
    if m > n and driver != "gelsy" and (driver == "gels" or bool((rank == n).all())):
        left = (A @ x - columns).abs()
        residuals = (left * left).sum(-2)
    empty = A.new_empty(0, dtype=int64)
    return return_types.linalg_lstsq(
        x.squeeze(-1) if vector else x, residuals, empty if driver == "gels" else rank,
        sizes if driver in ("gelsd", "gelss") else A.new_empty(0, dtype=real))


# --- condition


def cond(A: Tensor, p: Any = None) -> Tensor:
    """‖A‖ ‖A⁻¹‖ of each matrix, (*, n, n), float32, float64, complex64 or complex128: real, (*). With p None or 2 the
    largest singular value over the smallest, with -2 the other way round, also of A (*, m, n); else ``matrix_norm``
    of order p ("fro", "nuc", ±1, ±inf). inf for a singular matrix.

    ``RuntimeError`` for another p, and for a matrix that is not square where the inverse is needed. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.cond.html

    >>> import minigrad
    >>> minigrad.linalg.cond(minigrad.tensor([[4.0, 0.0], [0.0, 2.0]]))
    tensor(2.)
    """
    if A.ndim < 2 and not isinstance(p, str):
        raise RuntimeError("linalg.cond: The input tensor must have at least 2 dimensions.")
    if p is None or p in (2, -2):
        sizes = svdvals(A)
        if sizes.shape[-1] == 0:
            return sizes.new_zeros(sizes.shape[:-1])
        first, last = sizes[..., 0], sizes[..., -1]
        return last / first if p == -2 else first / last
    name = p if isinstance(p, str) else f"{p:g}"
    if (isinstance(p, str) and p not in ("fro", "nuc")) or (not isinstance(p, str) and abs(p) not in (1, float("inf"))):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {name}")
    check_matrix(A, f"linalg.cond(ord={name})")
    if p != "nuc" and A.dtype.kind in "fc" and not A.numel():
        return A.new_zeros(A.shape[:-2], dtype=A.dtype.part)
    check_square(A, f"linalg.cond(ord={name})")
    check_floating(A, "linalg.svd" if p == "nuc" else "linalg.inv", "linalg_svd_cpu" if p == "nuc" else "")
    if p == "nuc":
        sizes = svdvals(A)  # of an empty matrix the sums are 0
        return sizes.sum(-1) * (1 / sizes).sum(-1)
    inverse, info = INV_EX.all((A,))
    result = matrix_norm(A, p) * matrix_norm(inverse, p)
    return result.masked_fill(info > 0, float("inf"))
