"""Stage: front. In: matrices. Out: ``torch.linalg``'s names, as far as they are here.
Next: ``minigrad/special.py``.

>>> import minigrad
>>> minigrad.linalg.cholesky(minigrad.tensor([[9.0]]))
tensor([[3.]])
"""

from __future__ import annotations

from typing import Any, NamedTuple

from minigrad.tensor import Tensor
from minigrad.tensor import factorization as _factorization
from minigrad.tensor.factorization import cholesky, eigvalsh, solve_triangular

__all__ = ["cholesky", "cholesky_ex", "eigvalsh", "inv", "matrix_exp", "norm", "solve_triangular", "vector_norm"]


class CholeskyEx(NamedTuple):
    """What ``cholesky_ex`` returns."""

    L: Tensor
    info: Tensor


def cholesky_ex(input: Tensor, *, upper: bool = False, check_errors: bool = False) -> CholeskyEx:
    """Cholesky's factor, and for each matrix 0 or the order of the first leading minor that is not positive; no error
    for those unless ``check_errors``.

    >>> import minigrad
    >>> cholesky_ex(minigrad.tensor([[-1.0]])).info
    tensor(1, dtype=minigrad.int32)
    """
    return CholeskyEx(*_factorization.cholesky_ex(input, upper=upper, check_errors=check_errors))


def inv(A: Tensor) -> Tensor:
    """The inverse of a square matrix, or of each of a batch."""
    return A.inverse()


def matrix_exp(A: Tensor) -> Tensor:
    """The sum over n of A^n / n!."""
    return A.matrix_exp()


def vector_norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """(sum |x|^ord)^(1/ord) over ``dim``."""
    return x.norm(ord, dim, keepdim, dtype)


def norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The norm of vectors along one ``dim``, or of all elements. Matrix norms other than Frobenius' are not there yet.
    ``NotImplementedError`` for those."""
    two = A.ndim == 2 if dim is None else not isinstance(dim, int) and len(dim) == 2
    if ord is not None and ord != "fro" and two:
        raise NotImplementedError(f"linalg.norm: the matrix norm of order {ord!r} is not implemented")
    return A.norm(2 if ord is None else ord, dim, keepdim, dtype)
