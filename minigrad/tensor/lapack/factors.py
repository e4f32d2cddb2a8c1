"""Stage: front. In: matrices, batches of them. Out: their LU, LDL and QR factors, products of reflections, and systems
solved with factors.
Next: ``inverses.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad.dtype import int32, int64
from minigrad.tensor import return_types
from minigrad.tensor.composite import composite
from minigrad.tensor.function import watched
from minigrad.tensor.joining import cat
from minigrad.tensor.lapack import arrays
from minigrad.tensor.lapack.host import (
    Gradients,
    batch_of,
    check_floating,
    check_kernel,
    check_matrix,
    check_same_dtype,
    check_square,
    checked,
    host_function,
    is_complex,
    per_matrix,
    refused,
    total,
)
from minigrad.tensor.lapack.triangles import check_system, solved, unit_like

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

# --- LU


def _lu_gradient(inputs: Any, outputs: Any, grads: Any) -> Gradients:
    """A = P L U: P ∂A = L⁻ᴴ (tril(Lᴴ ∂L, -1) + triu(∂U Uᴴ)) U⁻ᴴ. The right part of a wide matrix is L U₂, the lower
    part of a tall one L₂ U; what comes to U₂ and L₂ goes on to them, and to L and U. (M. Seeger et al. 2017)"""
    packed, pivots, g = outputs[0], outputs[1], grads[0]
    if g is None:
        return (None,)
    *_, m, n = packed.shape
    k = min(m, n)
    lower, upper = packed[..., :k], packed[..., :k, :]
    square = packed[..., :k, :k]
    g_lower, g_upper = g[..., :k, :k].tril(-1), g[..., :k, :k].triu()
    rest = None
    if n > k:
        rest = solved(square.mH, g[..., :k, k:], True, True)
        g_lower = (g_lower - rest @ upper[..., k:].mH).tril(-1)
    if m > k:
        rest = solved(square.mH, g[..., k:, :k], False, left=False)
        g_upper = (g_upper - lower[..., k:, :].mH @ rest).triu()
    unit_lower = square.tril(-1) + unit_like(square)
    inner = (unit_lower.mH @ g_lower).tril(-1) + (g_upper @ square.triu().mH).triu()
    found = solved(square.mH, solved(square.mH, inner, False, left=False), True, True)
    if rest is not None:
        found = cat([found, rest], -1 if n > k else -2)
    return (permutation(pivots, m, found) @ found,)


_LU = host_function(
    "linalg_lu_factor_ex", arrays.lu,
    lambda a: [(a.shape, a.dtype), ((*a.shape[:-2], min(a.shape[-2:])), int32), per_matrix(a)],
    "LinalgLuFactorExBackward0", _lu_gradient, 1)
_ORDER = host_function("lu_permutation", arrays.permutation, lambda p, size: [((*p.shape[:-1], size), int64)])


def permutation(pivots: Tensor, size: int, like: Tensor) -> Tensor:
    """The matrix P of A = P L U."""
    order = _ORDER((pivots.detach(),), (size,))
    rows = _rows(size, pivots)
    return (order.unsqueeze(-2) == rows.unsqueeze(-1)).to(like.dtype)


def _rows(size: int, like: Tensor) -> Tensor:
    return like.new_ones(size, dtype=int64).cumsum(0) - 1


def _lu(A: Tensor, name: str, pivot: bool) -> list[Tensor]:
    if A.ndim < 2:
        raise RuntimeError(f"{name}: Expected tensor with 2 or more dimensions. Got size: {list(A.shape)} instead")
    check_kernel(A, "lu_cpu")
    if not pivot:
        raise RuntimeError(f"{name.replace('torch.lu', 'linalg.lu')}: LU without pivoting is not implemented on the "
                           f"CPU")
    return _LU.all((A,))


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> return_types.ReturnType:
    """The named tuple ``(LU, pivots, info)``: ``lu_factor``, and for each matrix 0 or the first diagonal element of U
    that is 0, int32. A is (*, m, n), float32, float64, complex64 or complex128; info has the shape of the batch.

    ``RuntimeError`` for such an element only with ``check_errors``, and for ``pivot=False``. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu_factor_ex.html

    >>> import minigrad
    >>> minigrad.linalg.lu_factor_ex(minigrad.tensor([[1.0, 2.0], [2.0, 4.0]])).info
    tensor(2, dtype=minigrad.int32)
    """
    factors, pivots, info = _lu(A, "torch.lu_factor", pivot)
    if check_errors:
        factors = _checked_lu(factors, info, "torch.linalg.lu_factor_ex")
    return return_types.linalg_lu_factor_ex(factors, pivots, info)


def _checked_lu(factors: Tensor, info: Tensor, name: str) -> Tensor:
    return checked(factors, info, name, "U[{0},{0}] is zero and using it on lu_solve would result in a division by "
                   "zero. If you still want to perform the factorization, consider calling linalg.lu(A, pivot) or "
                   "linalg.lu_factor_ex(A, pivot)", RuntimeError)


def lu_factor(A: Tensor, *, pivot: bool = True) -> return_types.ReturnType:
    """The named tuple ``(LU, pivots)`` with A = P L U: L, with a unit diagonal, and U in one matrix, and the row,
    counted from 1, that each step exchanged, (*, k), int32; A is (*, m, n), float32, float64, complex64 or
    complex128, k the smaller of m and n.

    ``RuntimeError`` if U has a 0 on its diagonal, and for ``pivot=False``. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu_factor.html

    >>> import minigrad
    >>> minigrad.linalg.lu_factor(minigrad.tensor([[1.0, 3.0], [2.0, 4.0]])).LU
    tensor([[2.0000, 4.0000],
            [0.5000, 1.0000]])
    """
    factors, pivots, info = _lu(A, "torch.lu_factor", pivot)
    return return_types.linalg_lu_factor(_checked_lu(factors, info, "torch.linalg.lu_factor"), pivots)


def _unpacked(packed: Tensor) -> tuple[Tensor, Tensor]:
    k = min(packed.shape[-2:])
    lower = packed[..., :k].tril(-1)
    diagonal = _rows(packed.shape[-2], packed).unsqueeze(-1) == _rows(k, packed)
    return lower.masked_fill(diagonal, 1), packed[..., :k, :].triu()


_UNPACKED = composite(node="LuUnpackBackward0")(_unpacked)


def lu(A: Tensor, *, pivot: bool = True) -> return_types.ReturnType:
    """The named tuple ``(P, L, U)`` with A = P L U, for A (*, m, n), float32, float64, complex64 or complex128: P
    exchanges rows, (*, m, m), L is lower triangular with a unit diagonal, (*, m, k), and U upper triangular, (*, k,
    n), k the smaller of m and n.

    ``RuntimeError`` for fewer than two dimensions and for ``pivot=False``. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu.html

    >>> import minigrad
    >>> P, L, U = minigrad.linalg.lu(minigrad.tensor([[1.0, 3.0], [2.0, 4.0]]))
    >>> P @ L @ U
    tensor([[1., 3.],
            [2., 4.]])
    """
    packed, pivots, _ = _lu(A, "linalg.lu", pivot)
    return return_types.linalg_lu(permutation(pivots, A.shape[-2], A), *_unpacked(packed))


def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True,
              unpack_pivots: bool = True) -> return_types.ReturnType:
    """The named tuple ``(P, L, U)`` of what ``lu_factor`` gives. Without ``unpack_data`` L and U are empty, without
    ``unpack_pivots`` P."""
    if unpack_pivots and LU_pivots.dtype is not int32:
        raise RuntimeError("torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 "
                           "dtype.\nNote: "
                           "this function is intended to be used with the output produced by torch.linalg.lu_factor")
    empty = LU_data.new_empty(0)
    lower, upper = _UNPACKED(LU_data) if unpack_data else (empty, empty)
    p = permutation(LU_pivots, LU_data.shape[-2], LU_data) if unpack_pivots else empty
    return return_types.lu_unpack(p, lower, upper)


def old_lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> tuple[Tensor, ...]:
    """``(LU, pivots)``, and with ``get_infos`` the third of ``lu_factor_ex``."""
    found = _lu(A, "torch.lu_factor", pivot)
    return return_types._lu_with_info(*found) if get_infos else tuple(found[:2])


def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with A X = B (or X A = B if not ``left``; Aᴴ in A's place if ``adjoint``), given ``LU, pivots = lu_factor(A)``.
    LU is (*, n, n), pivots (*, n), int32, B (*, n, k), or (*, k, n) if not ``left``, of LU's dtype: float32,
    float64, complex64 or complex128.

    ``RuntimeError`` for shapes that do not fit and other dtypes. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu_solve.html

    >>> import minigrad
    >>> LU, pivots = minigrad.linalg.lu_factor(minigrad.tensor([[0.0, 2.0], [4.0, 0.0]]))
    >>> minigrad.linalg.lu_solve(LU, pivots, minigrad.tensor([[2.0], [8.0]]))
    tensor([[2.],
            [1.]])
    """
    check_floating(LU, "linalg.lu_solve")
    if pivots.dtype is not int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32")
    check_same_dtype(LU, B, "linalg.lu_solve")
    check_system(LU, B, "linalg.lu_solve", left)
    if LU.shape[:-1] != pivots.shape:
        raise RuntimeError("linalg.lu_solve: Number of pivots per batch should be same as the dimension of the matrix")
    if not left:
        found = lu_solve(LU, pivots, B.mH, adjoint=not adjoint).mH
    elif adjoint:
        found = permutation(pivots, LU.shape[-2], LU) @ solved(LU.mH, solved(LU.mH, B, False), True, True)
    else:
        found = solved(LU, solved(LU, permutation(pivots, LU.shape[-2], LU).mT @ B, False, True), True)
    return watched(found, LU, pivots, *(found,) * LU.requires_grad)


def old_lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """``linalg.lu_solve`` with B first."""
    return lu_solve(LU_data, LU_pivots, b)


# --- LDL

_LDL = host_function("linalg_ldl_factor_ex", arrays.ldl, lambda a, hermitian: [
    (a.shape, a.dtype), (a.shape[:-1], int32), per_matrix(a)], "NotImplemented",
    refused("derivative for aten::linalg_ldl_factor_ex is not implemented"), 1)
_LDL_SOLVE = host_function("linalg_ldl_solve", arrays.ldl_solve, lambda ld, pivots, b, hermitian: [
    ((*batch_of(ld, b), *b.shape[-2:]), b.dtype)], "NotImplemented",
    refused("derivative for aten::linalg_ldl_solve is not implemented"))


def _ldl(A: Tensor, hermitian: bool) -> list[Tensor]:
    check_square(A, "torch.linalg.ldl_factor_ex")
    check_floating(A, "torch.linalg.ldl_factor_ex", "ldl_factor_kernel_cpu")
    return _LDL.all((A,), (hermitian,))


def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False) -> return_types.ReturnType:
    """The named tuple ``(LD, pivots, info)``: ``ldl_factor``, and for each matrix 0 or the first diagonal element of D
    that is 0, int32. A is (*, n, n), float32, float64, complex64 or complex128; info has the shape of the batch.

    ``RuntimeError`` for such an element only with ``check_errors``. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.ldl_factor_ex.html

    >>> import minigrad
    >>> minigrad.linalg.ldl_factor_ex(minigrad.tensor([[4.0, 0.0], [2.0, 3.0]])).LD
    tensor([[4.0000, 0.0000],
            [0.5000, 2.0000]])
    """
    factors, pivots, info = _ldl(A, hermitian)
    if check_errors:
        factors = _checked_ldl(factors, info, "torch.linalg.ldl_factor_ex")
    return return_types.linalg_ldl_factor_ex(factors, pivots, info)


def _checked_ldl(factors: Tensor, info: Tensor, name: str) -> Tensor:
    return checked(factors, info, name, "The diagonal element {} of D is zero: the matrix is singular.", RuntimeError)


def ldl_factor(A: Tensor, *, hermitian: bool = False) -> return_types.ReturnType:
    """The named tuple ``(LD, pivots)`` of a symmetric (or ``hermitian``) matrix, (*, n, n), float32, float64, complex64
    or complex128: A = P L D Lᵀ Pᵀ (Lᴴ and Pᴴ if ``hermitian``) with blocks of order 1 and 2 in D, packed as LAPACK's
    ``sytrf`` does it; pivots is (*, n), int32. Only the lower triangle of A is read. There is no gradient, as in
    PyTorch.

    ``RuntimeError`` if D has a 0 on its diagonal or A is not square. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.ldl_factor.html

    >>> import minigrad
    >>> LD, pivots = minigrad.linalg.ldl_factor(minigrad.tensor([[4.0, 2.0], [2.0, 3.0]]))
    >>> LD
    tensor([[4.0000, 0.0000],
            [0.5000, 2.0000]])
    """
    factors, pivots, info = _ldl(A, hermitian)
    return return_types.linalg_ldl_factor(_checked_ldl(factors, info, "torch.linalg.ldl_factor"), pivots)


def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """X with A X = B, given ``LD, pivots = ldl_factor(A)`` with the same ``hermitian``; LD is (*, n, n), pivots (*, n),
    B (*, n, k), of LD's dtype: float32, float64, complex64 or complex128. There is no gradient, as in PyTorch.

    ``RuntimeError`` for shapes that do not fit and other dtypes. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.ldl_solve.html

    >>> import minigrad
    >>> LD, pivots = minigrad.linalg.ldl_factor(minigrad.tensor([[4.0, 2.0], [2.0, 3.0]]))
    >>> minigrad.linalg.ldl_solve(LD, pivots, minigrad.tensor([[8.0], [8.0]]))
    tensor([[1.],
            [2.]])
    """
    name = "torch.linalg.ldl_solve"
    check_square(LD, name, "LD")
    check_floating(LD, name)
    check_matrix(B, name, "B")
    if pivots.shape != LD.shape[:-1]:
        raise RuntimeError(f"{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape "
                           f"{list(pivots.shape)} instead")
    if pivots.dtype.kind not in "iu":
        raise RuntimeError(f"{name}: Expected pivots to be integers. Got {pivots.dtype}")
    if LD.dtype is not B.dtype:
        raise RuntimeError(f"{name}: LD dtype {LD.dtype} does not match b dtype {B.dtype}")
    check_system(LD, B, name)
    return _LDL_SOLVE((LD, pivots, B), (hermitian,))


# --- QR


def _qr_gradient(inputs: Any, outputs: Any, grads: Any, mode: str) -> Gradients:
    """A = QR: ∂A = (∂Q + Q σ(triu(∂R Rᴴ - Qᴴ ∂Q))) R⁻ᴴ with σ(X) = X + Xᴴ less the real part of X's diagonal. Of a wide
    A = [X, Y] and R = [S, T], X = Q S is decomposed so, and T = Qᴴ Y. (M. Seeger et al. 2017; J. Roberts and M.
    Roberts 2020)
    """
    (a,), (q, r), (gq, gr) = inputs, outputs, grads
    if gq is None and gr is None:
        return (None,)
    m, n = a.shape[-2:]
    if m >= n:
        return (_qr_square(q, r, gq, gr),)
    by_y = None
    if gr is not None:
        by_y = q @ gr[..., m:]
        gq = total(gq, a[..., m:] @ gr[..., m:].mH)
        gr = gr[..., :m]
    by_x = _qr_square(q, r[..., :m], gq, gr)
    return (cat([by_x, a[..., m:] * 0 if by_y is None else by_y], -1),)


def _qr_square(q: Tensor, r: Tensor, gq: Tensor | None, gr: Tensor | None) -> Tensor:
    inner = total(None if gr is None else gr @ r.mH, None if gq is None else -(q.mH @ gq)).triu()
    diagonal = inner.diagonal(0, -2, -1)
    inner = inner + inner.mH - (diagonal.real.to(inner.dtype) if is_complex(inner) else diagonal).diag_embed()
    return solved(r.mH, total(gq, q @ inner), False, left=False)


_QR = host_function("linalg_qr", arrays.qr, lambda a, mode: [
    ((*a.shape[:-1], a.shape[-2] if mode == "complete" else min(a.shape[-2:])), a.dtype),
    ((*a.shape[:-2], a.shape[-2] if mode == "complete" else min(a.shape[-2:]), a.shape[-1]), a.dtype)],
    "LinalgQrBackward0", _qr_gradient)
_R = host_function("linalg_qr_r", arrays.r, lambda a: [((*a.shape[:-2], min(a.shape[-2:]), a.shape[-1]), a.dtype)],
    "LinalgQrBackward0", refused("The derivative of linalg.qr depends on Q, which is not computed when mode='r'. "
                                 "Please use linalg.qr(A, mode='reduced') if you are going to require gradients"))


def qr(A: Tensor, mode: str = "reduced") -> return_types.ReturnType:
    """The named tuple ``(Q, R)`` with A = Q R, for A (*, m, n), float32, float64, complex64 or complex128: the columns
    of Q are orthonormal and R is upper triangular. ``mode``: ``"reduced"``, Q is (*, m, k), R (*, k, n), k the
    smaller of m and n; ``"complete"``, Q is (*, m, m), R (*, m, n), and there is no gradient if m > n; ``"r"``, Q is
    empty, and there is no gradient.

    ``RuntimeError`` for another mode and fewer than two dimensions. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.qr.html

    >>> import minigrad
    >>> Q, R = minigrad.linalg.qr(minigrad.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> bool(((Q @ R - minigrad.tensor([[3.0, 1.0], [4.0, 2.0]])).abs() < 1e-5).all())
    True
    """
    check_matrix(A, "linalg.qr")
    check_floating(A, "linalg.qr", "geqrf_cpu")
    if mode not in ("reduced", "r", "complete"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or "
                           "'complete'")
    if mode == "r":
        return return_types.linalg_qr(A.new_empty(0), _R((A,)))
    return return_types.linalg_qr(*_QR.all((A,), (mode,)))


_GEQRF = host_function("geqrf", arrays.geqrf, lambda a: [
    (a.shape, a.dtype), ((*a.shape[:-2], min(a.shape[-2:])), a.dtype)], "GeqrfBackward0",
    refused("the derivative for 'geqrf' is not implemented."))


def geqrf(A: Tensor) -> return_types.ReturnType:
    """The named tuple ``(a, tau)``: R in the upper triangle of a, below it the vectors v of the reflections
    1 - tau v vᴴ whose product is Q, as LAPACK has them. There is no gradient."""
    if A.ndim < 2:
        raise RuntimeError("torch.geqrf: input must have at least 2 dimensions.")
    check_kernel(A, "geqrf_cpu")
    return return_types.geqrf(*_GEQRF.all((A,)))


# --- products of reflections


def _reflected(v: Tensor, tau: Tensor, other: Tensor, adjoint: bool) -> Tensor:
    """H₁ … Hₖ other, or its adjoint times other, with Hᵢ = 1 - tauᵢ vᵢ vᵢᴴ: the product is 1 - V T Vᴴ with
    T = D (1 + S D)⁻¹, D = diag(tau), S what VᴴV has above its diagonal. (R. Schreiber, C. Van Loan 1989)"""
    k = tau.shape[-1]
    v = v[..., :k].tril(-1) + v.new_ones(v.shape[-2:])[:, :k].tril().triu()
    scale = tau.unsqueeze(-2)
    # T = D (1 + S D)⁻¹; only the part above the diagonal of the second factor is read
    crossed = (v.mH @ v) * scale
    below = v.mH @ other
    if adjoint:
        inner = solved(crossed.mH, scale.mH * below, False, True)
    else:
        inner = scale.mT * solved(crossed, below, True, True)
    return other - v @ inner


def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of H₁ … Hₖ with Hᵢ = 1 - tauᵢ vᵢ vᵢᴴ, (*, m, n): vᵢ is 0, then 1, then what column i of A,
    (*, m, n), has below its diagonal; tau is (*, k), as ``geqrf`` gives them; both float32, float64, complex64 or
    complex128.

    ``RuntimeError`` unless m ≥ n ≥ k, and for different dtypes. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.householder_product.html

    >>> import minigrad
    >>> minigrad.linalg.householder_product(minigrad.tensor([[1.0], [1.0]]), minigrad.tensor([1.0]))
    tensor([[ 0.],
            [-1.]])
    """
    name = "torch.linalg.householder_product"
    if A.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if A.shape[-2] < A.shape[-1]:
        raise RuntimeError(f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]")
    if A.shape[-1] < tau.shape[-1]:
        raise RuntimeError(f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]")
    _check_reflections(A, tau, name)
    check_kernel(A, "orgqr_cpu")
    m, n = A.shape[-2:]
    unit = A.new_ones(m, n).tril().triu().expand(A.shape)
    return _reflected(A, tau, unit, False)


def _check_reflections(A: Tensor, tau: Tensor, name: str) -> None:
    if A.ndim - tau.ndim != 1:
        raise RuntimeError(f"{name}: Expected tau to have one dimension less than input, but got tau.ndim equal to "
                           f"{tau.ndim} and input.ndim is equal to {A.ndim}")
    if tau.shape[:-1] != A.shape[:-2]:
        raise RuntimeError(f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got "
                           f"{list(tau.shape[:-1])}")
    if A.dtype is not tau.dtype:
        raise RuntimeError(f"{name}: tau dtype {tau.dtype} does not match input dtype {A.dtype}")


def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """Q other, or other Q if not ``left``; with ``transpose`` Qᴴ in Q's place: Q is the square product of the
    reflections of ``geqrf``, which is not formed."""
    name = "torch.ormqr"
    if input.ndim < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if other.ndim < 2:
        raise RuntimeError(f"{name}: other must have at least 2 dimensions.")
    side, where = (-2, "-2") if left else (-1, "-1")
    if other.shape[side] < tau.shape[-1]:
        raise RuntimeError(f"{name}: other.shape[{where}] must be greater than or equal to tau.shape[-1]")
    if other.shape[side] != input.shape[-2]:
        raise RuntimeError(f"{name}: other.shape[{where}] must be equal to input.shape[-2]")
    if tau.shape[-1] != min(other.shape[side], input.shape[-1]):
        raise RuntimeError(f"{name}: tau.shape[-1] must be equal to min(other.shape[{where}], input.shape[-1])")
    if input.ndim - tau.ndim != 1:
        raise RuntimeError(f"{name}: Expected tau to have one dimension less than input, but got tau.ndim equal to "
                           f"{tau.ndim} and input.ndim is equal to {input.ndim}")
    if input.ndim != other.ndim:
        raise RuntimeError(f"{name}: Expected other to have the same number of dimensions as input, but got other.ndim "
                           f"equal to {other.ndim} and input.ndim is equal to {input.ndim}")
    for x, what in ((tau, "tau"), (other, "other")):
        if x.shape[:-1 if x is tau else -2] != input.shape[:-2]:
            raise RuntimeError(f"{name}: Expected batch dimensions of {what} to be equal to input.shape[:-2], but got "
                               f"{list(x.shape[:-1 if x is tau else -2])}")
        if x.dtype is not input.dtype:
            raise RuntimeError(f"{name}: Expected input and {what} to have the same dtype, but input has dtype "
                               f"{input.dtype} and {what} has dtype {x.dtype}")
    check_kernel(input, "ormqr_cpu")
    found = _reflected(input, tau, other, transpose) if left else _reflected(input, tau, other.mH, not transpose).mH
    return watched(found, input, tau, other, found)
