"""Stage: front. In: square matrices, batches of them. Out: their inverses, solutions of systems, determinants, powers
and exponentials.
Next: ``spectra.py``."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from minigrad.tensor import return_types
from minigrad.tensor.joining import cat
from minigrad.tensor.lapack import arrays
from minigrad.tensor.lapack.host import (
    Gradients,
    batch_of,
    check_floating,
    check_same_dtype,
    check_square,
    checked,
    host_function,
    is_complex,
    per_matrix,
    shrunk,
)
from minigrad.tensor.lapack.triangles import check_system, unit_like

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


# --- inverses


def _inverse_gradient(inputs: Any, outputs: Any, grads: Any) -> Gradients:
    """X = A⁻¹; ∂A = -Xᴴ G Xᴴ."""
    x, g = outputs[0], grads[0]
    return (None if g is None else -(x.mH @ g @ x.mH),)


INV_EX = host_function("linalg_inv_ex", arrays.inverse, lambda a: [(a.shape, a.dtype), per_matrix(a)],
                         "LinalgInvExBackward0", _inverse_gradient, 1)


def _inverse(A: Tensor, check: bool, name: str = "linalg.inv") -> list[Tensor]:
    check_square(A, "linalg.inv")
    check_floating(A, "linalg.inv")
    inverse, info = INV_EX.all((A,))
    if check:
        inverse = checked(inverse, info, name, "The diagonal element {} is zero, the inversion could not be completed "
                          "because the input matrix is singular.")
    return [inverse, info]


def inv(A: Tensor) -> Tensor:
    """The inverse A⁻¹ of a square matrix, or of each of a batch, (*, n, n), float32, float64, complex64 or complex128.

    ``LinAlgError`` for a singular matrix, ``RuntimeError`` for one that is not square. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.inv.html

    >>> import minigrad
    >>> minigrad.linalg.inv(minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    return _inverse(A, True)[0]


def inv_ex(A: Tensor, *, check_errors: bool = False) -> return_types.ReturnType:
    """The named tuple ``(inverse, info)``: for each matrix 0, or the first step of the elimination whose pivot is 0,
    int32. A is (*, n, n), float32, float64, complex64 or complex128; info has the shape of the batch.

    ``LinAlgError`` for a singular matrix only with ``check_errors``. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.inv_ex.html

    >>> import minigrad
    >>> minigrad.linalg.inv_ex(minigrad.tensor([[1.0, 2.0], [2.0, 4.0]])).info
    tensor(2, dtype=minigrad.int32)
    """
    return return_types.linalg_inv_ex(*_inverse(A, check_errors, "linalg.inv_ex"))


# --- systems


def _solve_gradient(inputs: Any, outputs: Any, grads: Any) -> Gradients:
    """A X = B: ∂B = A⁻ᴴ G, ∂A = -∂B Xᴴ."""
    (a, b), x, g = inputs, outputs[0], grads[0]
    if g is None:
        return None, None
    by_b = SOLVE_EX.all((a.mH, g))[0]
    return shrunk(-(by_b @ x.mH), a.shape), shrunk(by_b, b.shape)


SOLVE_EX = host_function(
    "linalg_solve_ex", arrays.solve,
    lambda a, b: [((*batch_of(a, b), *b.shape[-2:]), b.dtype), (batch_of(a, b), per_matrix(a)[1])],
    "LinalgSolveExBackward0", _solve_gradient, 1)


def _is_vector(A: Tensor, B: Tensor) -> bool:
    """PyTorch takes B as vectors if it is one, or has the shape of A but for the last dimension."""
    return B.ndim == 1 or (A.ndim - 1 == B.ndim and B.shape == A.shape[:-1])


def _solved(A: Tensor, B: Tensor, left: bool, check: bool, name: str) -> tuple[Tensor, Tensor]:
    check_square(A, "linalg.solve")
    check_floating(A, "linalg.solve", "lu_cpu")
    check_same_dtype(A, B, "linalg.solve")
    vector = _is_vector(A, B)
    columns = B.unsqueeze(-1) if vector else B
    if vector and not left:
        raise RuntimeError("linalg.solve: Vector broadcasting of the left hand side is not supported for left=False. "
                           "In this case linalg.solve is equivalent to B / A.squeeze(-1)")
    check_system(A, columns, "linalg.solve", left)
    x, info = SOLVE_EX.all((A, columns) if left else (A.mT, columns.mT))
    if info.ndim > A.ndim - 2 and A.ndim == 2 and not columns.ndim > 2:
        info = info.reshape(A.shape[:-2])
    if check:
        x = checked(x, info, name, "The solver failed because the input matrix is singular.")
    x = x if left else x.mT
    return (x.squeeze(-1) if vector else x), info


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B, or X A = B if not ``left``; A is (*, n, n), B (*, n, k), or (*, n) for vectors, both float32,
    float64, complex64 or complex128. Batches are broadcast.

    ``LinAlgError`` if A is singular, ``RuntimeError`` for shapes that do not fit and for different dtypes. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.solve.html

    >>> import minigrad
    >>> minigrad.linalg.solve(minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]), minigrad.tensor([2.0, 2.0]))
    tensor([1.0000, 0.5000])
    """
    return _solved(A, B, left, True, "torch.linalg.solve")[0]


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> return_types.ReturnType:
    """The named tuple ``(result, info)``: ``solve``, and for each matrix 0 or the first pivot that is 0, int32. A is
    (*, n, n), B (*, n, k) or (*, n), both float32, float64, complex64 or complex128; info has the shape of the
    batch.

    ``LinAlgError`` for a singular matrix only with ``check_errors``. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.solve_ex.html

    >>> import minigrad
    >>> minigrad.linalg.solve_ex(minigrad.tensor([[2.0]]), minigrad.tensor([[6.0]])).result
    tensor([[3.]])
    """
    return return_types.linalg_solve_ex(*_solved(A, B, left, check_errors, "torch.linalg.solve_ex"))


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a map from its last dimensions to its first ``ind``: ``tensordot(result, A, ind)`` is the
    unit map. With A of shape first + last, where first has ``ind`` sizes and the same product as last, the result is
    last + first; float32, float64, complex64 or complex128.

    ``LinAlgError`` if the map is singular, ``RuntimeError`` if the products differ or ``ind`` is not positive. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.tensorinv.html

    >>> import minigrad
    >>> minigrad.linalg.tensorinv((minigrad.eye(4) * 2).reshape(2, 2, 4)).shape
    minigrad.Size([4, 2, 2])
    """
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    first, last = tuple(A.shape[:ind]), tuple(A.shape[ind:])
    if prod(first) != prod(last):
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), "
                           f"but got {prod(last)} != {prod(first)}")
    return _inverse(A.reshape(prod(first), prod(last)), True, "inv")[0].reshape(last + first)


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with ``tensordot(A, X, X.ndim) == B``, after A's dimensions ``dims`` were moved to its end. A, float32,
    float64, complex64 or complex128, then has B's shape followed by X's, which has as many elements.

    ``LinAlgError`` if the map is singular, ``RuntimeError`` if the numbers of elements differ. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.tensorsolve.html

    >>> import minigrad
    >>> minigrad.linalg.tensorsolve((minigrad.eye(4) * 2).reshape(2, 2, 4), minigrad.ones(2, 2))
    tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    a = A
    if dims is not None:
        moved = [d % A.ndim for d in dims]
        a = A.permute([d for d in range(A.ndim) if d not in moved] + moved)
    shape = tuple(a.shape[B.ndim:])
    if prod(shape) != prod(B.shape):
        raise RuntimeError("Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
                           f"prod(self.shape[:other.ndim]), but got {prod(shape)} != {prod(B.shape)}")
    n = prod(shape)
    return solve(a.reshape(n, n), B.reshape(n)).reshape(shape)


# --- determinants


def _cofactors_gradient(inputs: Any, outputs: Any, grads: Any) -> Gradients:
    """C = det(A) A⁻ᵀ: ∂A = conj((<G, C> - C Gᵀ) A⁻ᵀ) where <G, C> is the sum of conj(G) C."""
    (a,), (c,), g = inputs, outputs, grads[0].conj()
    inverse = INV_EX.all((a,))[0].mT
    both = (g * c).sum((-2, -1), True)
    return (((both * unit_like(a) - c @ g.mT) @ inverse).conj(),)


_COFACTORS = host_function("cofactors", arrays.cofactors, lambda a: [(a.shape, a.dtype)], "CofactorsBackward0",
                           _cofactors_gradient)


def _det_gradient(inputs: Any, outputs: Any, grads: Any) -> Gradients:
    """∂A = G conj(C) with the cofactors C = det(A) A⁻ᵀ, which singular matrices have too."""
    return (grads[0][..., None, None] * _COFACTORS((inputs[0],)).conj(),)


def _slogdet_gradient(inputs: Any, outputs: Any, grads: Any) -> Gradients:
    """∂A = G A⁻ᴴ; of complex matrices the sign has a derivative, too: (G - i Im(conj(G_s) s)) A⁻ᴴ."""
    (a,), (sign, _), (gs, g) = inputs, outputs, grads
    if is_complex(a) and gs is not None:
        turned = (gs.conj() * sign).imag * -1j
        g = turned if g is None else g.to(a.dtype) + turned
    if g is None:
        return (None,)
    return (g.to(a.dtype)[..., None, None] * INV_EX.all((a,))[0].mH,)


_DET = host_function("linalg_det", arrays.det, lambda a: [(a.shape[:-2], a.dtype)], "LinalgDetBackward0", _det_gradient)
_SLOGDET = host_function("linalg_slogdet", arrays.slogdet, lambda a: [
    (a.shape[:-2], a.dtype), (a.shape[:-2], a.dtype.part)], "LinalgSlogdetBackward0", _slogdet_gradient)


def det(A: Tensor) -> Tensor:
    """The determinant of a square matrix, or of each of a batch, (*, n, n), float32, float64, complex64 or complex128:
    of shape (*). Singular matrices have a gradient, too: the cofactors.

    ``RuntimeError`` for a matrix that is not square. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.det.html

    >>> import minigrad
    >>> minigrad.linalg.det(minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor(8.)
    """
    check_square(A, "linalg.det")
    check_floating(A, "linalg.det", "lu_cpu")
    return _DET((A,))


def slogdet(A: Tensor) -> return_types.ReturnType:
    """The named tuple ``(sign, logabsdet)``: the determinant is sign * exp(logabsdet). Of a singular matrix they are 0
    and -inf. A is (*, n, n), float32, float64, complex64 or complex128; both results have shape (*), logabsdet is
    real.

    ``RuntimeError`` for a matrix that is not square. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.slogdet.html

    >>> import minigrad
    >>> minigrad.linalg.slogdet(minigrad.tensor([[0.0, 1.0], [1.0, 0.0]]))
    minigrad.return_types.linalg_slogdet(
    sign=tensor(-1.),
    logabsdet=tensor(0.))
    """
    check_square(A, "linalg.slogdet")
    check_floating(A, "linalg.slogdet")
    return return_types.linalg_slogdet(*_SLOGDET.all((A,)))


def logdet(A: Tensor) -> Tensor:
    """The logarithm of the determinant: -inf if that is 0, NaN if it is negative."""
    check_square(A, "logdet")
    check_floating(A, "logdet")
    sign, logarithm = _SLOGDET.all((A,))
    if is_complex(A):
        return sign.log() + logarithm
    return logarithm.masked_fill(sign < 0, float("nan"))


# --- powers and exponentials


def matrix_power(A: Tensor, n: int) -> Tensor:
    """Aⁿ: the product of n copies of a square matrix, or of each of a batch, (*, m, m); of its inverse if n is
    negative. n = 0 gives the unit matrix. Any dtype that can be multiplied; float32, float64, complex64 or
    complex128 for negative n.

    ``LinAlgError`` for the negative power of a singular matrix, ``RuntimeError`` for one that is not square. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.matrix_power.html

    >>> import minigrad
    >>> minigrad.linalg.matrix_power(minigrad.tensor([[1.0, 1.0], [0.0, 1.0]]), 3)
    tensor([[1., 3.],
            [0., 1.]])
    """
    check_square(A, "linalg.matrix_power")
    if n == 0:
        return unit_like(A).expand(A.shape).clone()
    if n < 0:
        return matrix_power(inv(A), -n)
    result: Tensor | None = None
    square = A
    while True:
        if n & 1:
            result = square if result is None else result @ square
        n >>= 1
        if not n:
            break
        square = square @ square
    assert result is not None
    return result.clone() if result is A else result


def _exponential_gradient(inputs: Any, outputs: Any, grads: Any) -> Gradients:
    """∂A is the upper right block of exp([[Aᴴ, G], [0, Aᴴ]]). (I. Najfeld, T. Havel 1995)"""
    a, g = inputs[0].mH, grads[0]
    n = g.shape[-1]
    rows = [cat([a, g], -1), cat([a * 0, a], -1)]
    return (_EXPONENTIAL((cat(rows, -2),))[..., :n, n:],)


_EXPONENTIAL = host_function("linalg_matrix_exp", arrays.matrix_exp, lambda a: [(a.shape, a.dtype)],
                             "LinalgMatrixExpBackward0", _exponential_gradient)


def matrix_exp(A: Tensor) -> Tensor:
    """The sum over n of Aⁿ / n!, of a square matrix or of each of a batch, (*, n, n), of any floating or complex dtype.
    It is computed in float64 or complex128 and rounded once.

    ``RuntimeError`` for integers and for a matrix that is not square. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.matrix_exp.html

    >>> import minigrad
    >>> minigrad.linalg.matrix_exp(minigrad.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    check_square(A, "linalg.matrix_exp")
    check_floating(A, "linalg.matrix_exp", "", True)
    return _EXPONENTIAL((A,))
