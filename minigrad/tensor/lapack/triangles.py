"""Stage: front. In: triangular or positive-definite matrices. Out: solutions of systems, Cholesky's factors and what
follows from them.
Next: ``factors.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad.tensor import return_types
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
    per_matrix,
    shrunk,
)

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

# --- systems


def _solved_gradient(inputs: Any, outputs: Any, grads: Any, upper: bool, unit: bool) -> Gradients:
    """X = A⁻¹ B: ∂B = A⁻ᴴ G, ∂A = -∂B Xᴴ in A's triangle."""
    (a, b), (x,), (g,) = inputs, outputs, grads
    if g is None:
        return None, None
    by_b = solved(a.mH, g, not upper, unit)
    by_a = -(by_b @ x.mH)
    by_a = by_a.triu(int(unit)) if upper else by_a.tril(-int(unit))
    return shrunk(by_a, a.shape), shrunk(by_b, b.shape)


_SOLVE = host_function(
    "linalg_solve_triangular", arrays.substituted,
    lambda a, b, upper, unit: [((*batch_of(a, b), *b.shape[-2:]), b.dtype)],
    "LinalgSolveTriangularBackward0", _solved_gradient)


def solved(a: Tensor, b: Tensor, upper: bool, unit: bool = False, left: bool = True) -> Tensor:
    """X with a X = b, or X a = b if not ``left``; the other triangle of a is not read."""
    if not left:
        return _SOLVE((a.mT, b.mT), (not upper, unit)).mT
    return _SOLVE((a, b), (upper, unit))


def check_system(a: Tensor, b: Tensor, name: str, left: bool = True) -> None:
    """``RuntimeError`` unless a X = b (or X a = b) makes sense."""
    check_square(a, name)
    check_matrix(b, name, "B")
    if a.shape[-1] != b.shape[-2 if left else -1]:
        raise RuntimeError(f"{name}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
                           f"({a.shape[-2]}x{a.shape[-1]} and {b.shape[-2]}x{b.shape[-1]})")


def solve_triangular(A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Tensor:
    """X with A X = B, or with X A = B if not ``left``, for a triangular A, (*, n, n), and B, (*, n, k), or (*, k, n) if
    not ``left``, both float32, float64, complex64 or complex128. The diagonal counts as 1 if ``unitriangular``. What
    stands in the other triangle is not read. Batches are broadcast. A 0 on the diagonal gives infinities and NaN.

    ``RuntimeError`` for shapes that do not fit and for different dtypes. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.solve_triangular.html

    >>> import minigrad
    >>> A = minigrad.tensor([[2.0, 0.0], [1.0, 1.0]])
    >>> minigrad.linalg.solve_triangular(A, minigrad.tensor([[2.0], [3.0]]), upper=False)
    tensor([[1.],
            [2.]])
    """
    check_same_dtype(A, B, "linalg.solve_triangular")
    check_system(A, B, "linalg.solve_triangular", left)
    check_kernel(A, "triangular_solve_cpu")
    return solved(A, B, upper, unitriangular, left)


def triangular_solve(b: Tensor, A: Tensor, upper: bool = True, transpose: bool = False,
                     unitriangular: bool = False) -> return_types.ReturnType:
    """The named tuple ``(solution, cloned_coefficient)`` with A solution = b, or Aᵀ solution = b if ``transpose``, for
    a triangular A."""
    for x, name in ((b, "b"), (A, "A")):
        if x.ndim < 2:
            raise RuntimeError(f"torch.triangular_solve: Expected {name} to have at least 2 dimensions, but it has "
                               f"{x.ndim} dimensions instead")
    check_equation(b, A, "triangular_solve")
    check_kernel(A, "triangular_solve_cpu")
    a = A.mT if transpose else A
    return return_types.triangular_solve(solved(a, b, upper != transpose, unitriangular), A.clone())


def check_equation(b: Tensor, a: Tensor, name: str) -> None:
    """The same, in the older words."""
    if a.dtype is not b.dtype:
        raise RuntimeError(f"Expected b and A to have the same dtype, but found b of type {b.dtype} and A of type "
                           f"{a.dtype} instead.")
    if a.shape[-1] != a.shape[-2]:
        raise RuntimeError(f"A must be batches of square matrices, but they are {a.shape[-2]} by {a.shape[-1]} "
                           f"matrices")
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError(f"Incompatible matrix sizes for {name}: each A matrix is {a.shape[-1]} by {a.shape[-1]} but "
                           f"each b matrix is {b.shape[-2]} by {b.shape[-1]}")


# --- Cholesky


def _factor_gradient(inputs: Any, outputs: Any, grads: Any) -> Gradients:
    """A = L Lᴴ: ∂A = L⁻ᴴ Φ(Lᴴ G) L⁻¹ / 2, Φ: the lower triangle, and above the diagonal what makes it Hermitian.
    (I. Murray 2016)"""
    factor, g = outputs[0], grads[0]
    if g is None:
        return (None,)
    inner = (factor.mH @ g).tril()
    inner = (inner + inner.tril(-1).mH) * 0.5
    return (solved(factor, solved(factor.mH, inner, True), False, left=False),)


_CHOLESKY = host_function(
    "linalg_cholesky_ex", arrays.cholesky, lambda a: [(a.shape, a.dtype), per_matrix(a)],
    "LinalgCholeskyExBackward0", _factor_gradient, 1)


def _factored(input: Tensor, upper: bool, name: str, check: bool) -> tuple[Tensor, Tensor]:
    factor, info = _CHOLESKY.all((input.mH if upper else input,))
    if check:
        factor = checked(factor, info, name, "The factorization could not be completed because the input is not "
                         "positive-definite (the leading minor of order {} is not positive-definite).")
    return factor.mH if upper else factor, info


def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """The lower triangular L with A = L Lᴴ, of a symmetric (Hermitian) positive-definite matrix or of each of a batch,
    (*, n, n), float32, float64, complex64 or complex128; with ``upper`` Lᴴ. Only one triangle of A is read: the
    lower, or the upper with ``upper``.

    ``LinAlgError`` if a matrix is not positive-definite, ``RuntimeError`` if one is not square. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.cholesky.html

    >>> import minigrad
    >>> minigrad.linalg.cholesky(minigrad.tensor([[4.0, 2.0], [2.0, 2.0]]))
    tensor([[2., 0.],
            [1., 1.]])
    """
    check_square(A, "linalg.cholesky")
    check_floating(A, "linalg.cholesky", "cholesky_cpu")
    return _factored(A, upper, "linalg.cholesky", True)[0]


def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False) -> return_types.ReturnType:
    """The named tuple ``(L, info)``: ``cholesky``, and for each matrix 0 or the order of the first leading minor that
    is not positive, int32. A is (*, n, n), float32, float64, complex64 or complex128; info has the shape of the
    batch.

    ``LinAlgError`` for a matrix that is not positive-definite only with ``check_errors``. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.cholesky_ex.html

    >>> import minigrad
    >>> minigrad.linalg.cholesky_ex(minigrad.tensor([[-1.0]])).info.item()
    1
    """
    check_square(A, "linalg.cholesky")
    check_floating(A, "linalg.cholesky", "cholesky_cpu")
    return return_types.linalg_cholesky_ex(*_factored(A, upper, "linalg.cholesky_ex", check_errors))


def old_cholesky(A: Tensor, upper: bool = False) -> Tensor:
    """``linalg.cholesky``, with ``upper`` in second place."""
    check_square(A, "cholesky")
    check_kernel(A, "cholesky_cpu")
    return _factored(A, upper, "cholesky", True)[0]


def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = B, where A = L Lᴴ, or Lᴴ L if ``upper``; B is (*, n, k)."""
    for x, name in ((B, "b"), (L, "u")):
        if x.ndim < 2:
            raise RuntimeError(f"{name} should have at least 2 dimensions, but has {x.ndim} dimensions instead")
    check_equation(B, L, "cholesky_solve")
    check_kernel(L, "cholesky_solve_cpu")
    return _CHOLESKY_SOLVE((B, L), (upper,))


def _by_factor(inner: Tensor, factor: Tensor, upper: bool) -> Tensor:
    """What comes to L from -∂A = inner: -(inner + innerᴴ) L, in both triangles, as in PyTorch."""
    both = inner + inner.mH
    return -(factor @ both) if upper else -(both @ factor)


def _solved_with_factor_gradient(inputs: Any, outputs: Any, grads: Any, upper: bool) -> Gradients:
    """∂B = A⁻¹ G, ∂A = -∂B Xᴴ."""
    (b, factor), (x,), (g,) = inputs, outputs, grads
    by_b = _CHOLESKY_SOLVE((g, factor), (upper,))
    return shrunk(by_b, b.shape), shrunk(_by_factor(by_b @ x.mH, factor, upper), factor.shape)


def _inverse_of_factor_gradient(inputs: Any, outputs: Any, grads: Any, upper: bool) -> Gradients:
    """∂A = -X G X."""
    (factor,), (x,), (g,) = inputs, outputs, grads
    return (_by_factor(x @ g @ x, factor, upper),)


_CHOLESKY_SOLVE = host_function(
    "cholesky_solve", arrays.cholesky_solve, lambda b, a, upper: [((*batch_of(a, b), *b.shape[-2:]), b.dtype)],
    "CholeskySolveBackward0", _solved_with_factor_gradient)
_CHOLESKY_INVERSE = host_function(
    "cholesky_inverse", arrays.cholesky_inverse, lambda a, upper: [(a.shape, a.dtype)],
    "CholeskyInverseBackward0", _inverse_of_factor_gradient)


def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of A, where A = L Lᴴ, or Lᴴ L if ``upper``. ``LinAlgError`` for a 0 on L's diagonal."""
    check_square(L, "cholesky_inverse")
    check_kernel(L, "cholesky_inverse_out_cpu")
    zero = L.detach().diagonal(0, -2, -1) == 0
    info = (zero.int().argmax(-1) + 1) * zero.any(-1) if L.numel() else zero.any(-1)
    return checked(_CHOLESKY_INVERSE((L,), (upper,)), info, "cholesky_inverse", "The diagonal element {} is zero, the "
                   "inversion could not be completed because the input matrix is singular.")


def unit_like(x: Tensor) -> Tensor:
    """The unit matrix with as many columns as x has, in x's dtype."""
    return x.new_ones(x.shape[-1]).diag()
