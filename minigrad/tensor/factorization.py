"""Stage: front. In: symmetric or triangular matrices, batches of them. Out: Cholesky's factor, the solution of a
triangular system, eigenvalues. NumPy computes them on the host; the gradients are formulas in the same functions.
Next: ``decompositions.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.autograd.function import Function as TapeFunction
from minigrad.dtype import int32
from minigrad.graph.host import register_host
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.definition import function
from minigrad.tensor.function import Function
from minigrad.tensor.matrices import check_square
from minigrad.tensor.operands import broadcast_shapes

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _first_bad(a: np.ndarray) -> int:
    """0, or the order of the first leading minor that is not positive."""
    for order in range(1, len(a) + 1):
        try:
            np.linalg.cholesky(a[:order, :order])
        except np.linalg.LinAlgError:
            return order
    return 0


def _info(arrays: Sequence[np.ndarray]) -> np.ndarray:
    a = arrays[0]
    found = [_first_bad(matrix) for matrix in a.reshape(-1, *a.shape[-2:])]
    return np.array(found, np.int32).reshape(a.shape[:-2])


def _factor(arrays: Sequence[np.ndarray], check: bool) -> np.ndarray:
    a = arrays[0]
    try:
        result: np.ndarray = np.linalg.cholesky(a)
        return result
    except np.linalg.LinAlgError:
        bad = _info(arrays)
    if not check:
        good = np.where((bad == 0)[..., None, None], a, np.eye(a.shape[-1], dtype=a.dtype))
        return np.where((bad == 0)[..., None, None], np.linalg.cholesky(good), np.nan).astype(a.dtype)
    first = int(np.flatnonzero(bad.ravel())[0])
    where = f"(Batch element {first}): " if bad.ndim else ""
    raise RuntimeError(f"linalg.cholesky: {where}The factorization could not be completed because the input is not "
                       f"positive-definite (the leading minor of order {bad.ravel()[first]} is not positive-definite).")


def _substituted(arrays: Sequence[np.ndarray], upper: bool, unit: bool) -> np.ndarray:
    """X with A X = B, row by row, for all matrices of the batch at once."""
    a, b = arrays
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    x = np.broadcast_to(b, batch + b.shape[-2:]).copy()
    n = a.shape[-1]
    for i in reversed(range(n)) if upper else range(n):
        known = slice(i + 1, n) if upper else slice(0, i)
        row = x[..., i, :] - (a[..., i:i + 1, known] @ x[..., known, :])[..., 0, :]
        with np.errstate(all="ignore"):
            x[..., i, :] = row if unit else row / a[..., i, i, None]
    return x


register_host("cholesky", _factor)
register_host("cholesky_info", _info)
register_host("solve_triangular", _substituted)
register_host("eigvalsh", lambda arrays: np.linalg.eigvalsh(arrays[0]))


def _solve_value(a: LazyBuffer, b: LazyBuffer, upper: bool, unit: bool) -> LazyBuffer:
    shape = (*broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:])
    return LazyBuffer(Op.HOST, (a, b), ("solve_triangular", (upper, unit)), shape, b.dtype, b.device)


_CHOLESKY = Function("cholesky", lambda x, check: LazyBuffer(
    Op.HOST, (x,), ("cholesky", (check,)), x.shape, x.dtype, x.device), "NotDifferentiable")
_INFO = Function("cholesky_info", lambda x: LazyBuffer(
    Op.HOST, (x,), ("cholesky_info", ()), x.shape[:-2], int32, x.device), "NotDifferentiable")
_SOLVE = Function("solve_triangular", _solve_value, "NotDifferentiable")
_EIGENVALUES = Function("eigvalsh", lambda x: LazyBuffer(
    Op.HOST, (x,), ("eigvalsh", ()), x.shape[:-1], x.dtype, x.device), "NotDifferentiable")


class LinalgCholeskyEx(TapeFunction):
    """A = L Lᵀ; ∂A = (S + Sᵀ) / 2 with S = L⁻ᵀ Φ(Lᵀ G) L⁻¹, Φ: the lower triangle with half the diagonal.
    (I. Murray 2016)"""

    @staticmethod
    def forward(ctx: Any, a: Tensor, check: bool) -> Tensor:
        factor = _CHOLESKY((a.detach(),), (check,))
        ctx.save_for_backward(factor)
        return factor

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        factor = ctx.saved_tensors[0]
        inner = (factor.mT @ grads[0]).tril()
        inner = inner - (inner * 0.5).tril().triu()
        left = solve_triangular(factor.mT, inner, upper=True)
        s = solve_triangular(factor, left, upper=False, left=False)
        return (s + s.mT) * 0.5, None


class LinalgSolveTriangular(TapeFunction):
    """X = A⁻¹ B; ∂B = A⁻ᵀ G, ∂A = -∂B Xᵀ in A's triangle."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, upper: bool, unit: bool) -> Tensor:
        x = _SOLVE((a.detach(), b.detach()), (upper, unit))
        ctx.save_for_backward(a, x)
        ctx.upper, ctx.unit, ctx.shape = upper, unit, b.shape
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        a, x = ctx.saved_tensors
        by_b = solve_triangular(a.mT, grads[0], upper=not ctx.upper, unitriangular=ctx.unit)
        by_a = -(by_b @ x.mT)
        by_a = by_a.triu(int(ctx.unit)) if ctx.upper else by_a.tril(-int(ctx.unit))
        return _shrunk(by_a, a.shape), _shrunk(by_b, ctx.shape), None, None


def _shrunk(x: Tensor, shape: Sequence[int]) -> Tensor:
    """x summed over the dimensions in which the shape was broadcast."""
    if tuple(x.shape) == tuple(shape):
        return x
    more = x.ndim - len(shape)
    dims = [*range(more), *[i + more for i, n in enumerate(shape) if n == 1 and x.shape[i + more] != 1]]
    return x.sum(dims).reshape(tuple(shape)) if dims else x.reshape(tuple(shape))


@function("linalg_cholesky", "cholesky")
def cholesky(input: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with input = L Lᵀ, of a symmetric positive-definite matrix or of each of a batch; with
    ``upper`` Lᵀ. Only the lower triangle of the input is read. ``RuntimeError`` if a matrix is not positive-definite.

    >>> import minigrad
    >>> cholesky(minigrad.tensor([[4.0, 2.0], [2.0, 2.0]]))
    tensor([[2., 0.],
            [1., 1.]])
    """
    check_square(input, "linalg.cholesky")
    factor = LinalgCholeskyEx.apply(input, True)
    return factor.mT if upper else factor


def cholesky_ex(input: Tensor, *, upper: bool = False, check_errors: bool = False) -> tuple[Tensor, Tensor]:
    """``cholesky``, and for each matrix 0 or the order of the first leading minor that is not positive, int32."""
    check_square(input, "linalg.cholesky_ex")
    factor = LinalgCholeskyEx.apply(input, check_errors)
    return (factor.mT if upper else factor), _INFO((input.detach(),))


@function("linalg_solve_triangular")
def solve_triangular(input: Tensor, B: Tensor, *, upper: bool, left: bool = True,
                     unitriangular: bool = False) -> Tensor:
    """X with input X = B, or with X input = B if not ``left``; input is triangular, and its diagonal counts as 1 if
    ``unitriangular``. What stands in the other triangle is not read. Batches are broadcast.

    >>> import minigrad
    >>> solve_triangular(minigrad.tensor([[2.0, 0.0], [1.0, 1.0]]), minigrad.tensor([[2.0], [3.0]]), upper=False)
    tensor([[1.],
            [2.]])
    """
    check_square(input, "linalg.solve_triangular")
    if not left:
        return solve_triangular(input.mT, B.mT, upper=not upper, unitriangular=unitriangular).mT
    if input.shape[-1] != B.shape[-2]:
        raise RuntimeError(f"linalg.solve_triangular: Incompatible shapes of A and B for the equation AX = B "
                           f"({input.shape[-2]}x{input.shape[-1]} and {B.shape[-2]}x{B.shape[-1]})")
    return LinalgSolveTriangular.apply(input, B, upper, unitriangular)


@function("cholesky_solve")
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B, where A = L Lᵀ, or Lᵀ L if ``upper``."""
    lower = L.mT if upper else L
    return solve_triangular(lower.mT, solve_triangular(lower, B, upper=False), upper=True)


@function("cholesky_inverse")
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A, where A = L Lᵀ, or Lᵀ L if ``upper``."""
    lower = L.mT if upper else L
    inverse = solve_triangular(lower, _unit(lower), upper=False)
    return inverse.mT @ inverse


def _unit(x: Tensor) -> Tensor:
    """The unit matrix in x's shape."""
    n = x.shape[-1]
    return x.new_ones(n).diag().expand(x.shape)


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of a symmetric matrix, or of each of a batch, in ascending order. There is no gradient yet."""
    check_square(A, "linalg.eigvalsh")
    if A.requires_grad:
        raise NotImplementedError("linalg.eigvalsh: the derivative is not implemented; pass A.detach()")
    return _EIGENVALUES((A.mT if UPLO == "U" else A,))
