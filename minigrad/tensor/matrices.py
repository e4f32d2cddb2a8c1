"""Stage: front. In: square matrices, batches of them. Out: their inverse, their exponential. NumPy computes them on the
host; the gradients are formulas in the same functions, so that there are second ones, too.
Next: ``factorization.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.autograd.function import Function as TapeFunction
from minigrad.graph.host import register_host
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.definition import both
from minigrad.tensor.function import Function
from minigrad.tensor.joining import cat
from minigrad.tensor.promotion import type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _inverted(arrays: Sequence[np.ndarray]) -> np.ndarray:
    try:
        result: np.ndarray = np.linalg.inv(arrays[0])
    except np.linalg.LinAlgError:
        raise RuntimeError("linalg.inv: The inversion could not be completed because the input matrix is "
                           "singular.") from None
    return result


def _exponential(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """exp(A) = exp(A / 2^s)^(2^s) with s such that the sum of 18 powers is exact, in float64."""
    given = arrays[0]
    a = given.astype(np.float64)
    size = np.abs(a).sum(-2).max(initial=0.0)  # the largest 1-norm; all matrices of a batch are halved as often
    halvings = max(0, int(np.ceil(np.log2(size)))) if 0 < size < np.inf else 0
    a = a / 2.0**halvings
    unit = np.eye(a.shape[-1])
    result = unit + np.zeros_like(a)
    for power in range(18, 0, -1):
        result = unit + a @ result / power
    for _ in range(halvings):
        result = result @ result
    return result.astype(given.dtype)


register_host("inverse", _inverted)
register_host("matrix_exp", _exponential)


def _on_host(name: str) -> Function:
    return Function(name, lambda x: LazyBuffer(Op.HOST, (x,), (name, ()), x.shape, x.dtype, x.device),
                    "NotDifferentiable")


_INVERSE, _MATRIX_EXP = _on_host("inverse"), _on_host("matrix_exp")


class LinalgInvEx(TapeFunction):
    """X = A⁻¹; ∂A = -Xᵀ G Xᵀ."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        x = _INVERSE((a.detach(),))
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        x, = ctx.saved_tensors
        return -(x.mT @ grads[0] @ x.mT)


class LinalgMatrixExp(TapeFunction):
    """exp(A); ∂A is the upper right block of exp([[Aᵀ, G], [0, Aᵀ]]). (Najfeld, Havel 1995)"""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        ctx.save_for_backward(a)
        return _MATRIX_EXP((a.detach(),))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        a, n = ctx.saved_tensors[0].mT, grads[0].shape[-1]
        rows = [cat([a, grads[0]], -1), cat([a * 0, a], -1)]
        return cat(rows, -2).matrix_exp()[..., :n, n:]


def check_square(x: Tensor, name: str) -> None:
    """``RuntimeError`` unless x is a square matrix of floats, or a batch of them."""
    if x.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if x.shape[-1] != x.shape[-2]:
        raise RuntimeError(f"{name}: A must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} "
                           "matrices")
    if x.dtype.kind not in "fc":
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {type_name(x.dtype)}")


class Matrices:
    """What is computed of square matrices as a whole."""

    __slots__ = ()

    @both("inverse")
    def inverse(self: Tensor) -> Tensor:
        """The inverse of a square matrix, or of each of a batch. ``RuntimeError`` for a singular one.

        >>> import minigrad
        >>> minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).inverse()
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
        """
        check_square(self, "linalg.inv")
        return LinalgInvEx.apply(self)

    @both("matrix_exp", keywords={"A": "input"})
    def matrix_exp(self: Tensor) -> Tensor:
        """The sum over n of A^n / n!, of a square matrix or of each of a batch.

        >>> import minigrad
        >>> minigrad.zeros(2, 2).matrix_exp()
        tensor([[1., 0.],
                [0., 1.]])
        """
        check_square(self, "linalg.matrix_exp")
        return LinalgMatrixExp.apply(self)
