"""Stage: front. In: matrices, batches of them. Out: their determinants, QR and singular value decompositions, their
pseudo-inverse. NumPy computes them on the host; the gradients are formulas in the same functions.
Next: ``minigrad/jit/``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.autograd.function import Function as TapeFunction
from minigrad.graph.host import register_host
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor import return_types
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.creation import eye
from minigrad.tensor.definition import FUNCTIONS, both
from minigrad.tensor.function import Function
from minigrad.tensor.joining import cat
from minigrad.tensor.promotion import type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Shapes = tuple[tuple[int, ...], ...]


def _side_by_side(results: Sequence[np.ndarray], batch: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Several results as one: the elements of each in the last dimension."""
    return np.concatenate([np.asarray(r).reshape(*batch, -1) for r in results], -1).astype(dtype)


def _sign_and_logarithm(arrays: Sequence[np.ndarray]) -> np.ndarray:
    a = arrays[0]
    return _side_by_side(np.linalg.slogdet(a), a.shape[:-2], a.dtype)


def _determinant(arrays: Sequence[np.ndarray]) -> np.ndarray:
    result: np.ndarray = np.asarray(np.linalg.det(arrays[0])).astype(arrays[0].dtype)
    return result


def _qr(arrays: Sequence[np.ndarray], complete: bool) -> np.ndarray:
    a = arrays[0]
    return _side_by_side(np.linalg.qr(a, "complete" if complete else "reduced"), a.shape[:-2], a.dtype)


def _svd(arrays: Sequence[np.ndarray], full: bool) -> np.ndarray:
    a = arrays[0]
    return _side_by_side(np.linalg.svd(a, full), a.shape[:-2], a.dtype)


def _pseudo_inverse(arrays: Sequence[np.ndarray], rcond: float) -> np.ndarray:
    result: np.ndarray = np.linalg.pinv(arrays[0], rcond).astype(arrays[0].dtype)
    return result


for _name, _computed in (("slogdet", _sign_and_logarithm), ("det", _determinant), ("qr", _qr), ("svd", _svd),
                         ("pinverse", _pseudo_inverse)):
    register_host(_name, _computed)


def _split(x: LazyBuffer, name: str, given: tuple[Any, ...], shapes: Shapes) -> tuple[LazyBuffer, ...]:
    """The results that stand side by side, each in its shape."""
    batch, sizes = x.shape[:-2], [prod(s) for s in shapes]
    whole = LazyBuffer(Op.HOST, (x,), (name, given), (*batch, sum(sizes)), x.dtype, x.device)
    box, found, begin = tuple([(0, n) for n in batch]), [], 0
    for size, shape in zip(sizes, shapes, strict=True):
        found.append(whole.shrink((*box, (begin, begin + size))).reshape((*batch, *shape)))
        begin += size
    return tuple(found)


_SPLIT = Function("decomposition", _split, "NotDifferentiable")
_DET = Function("det", lambda x: LazyBuffer(Op.HOST, (x,), ("det", ()), x.shape[:-2], x.dtype, x.device),
                "NotDifferentiable")
_PINVERSE = Function("pinverse", lambda x, rcond: LazyBuffer(
    Op.HOST, (x,), ("pinverse", (rcond,)), (*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype, x.device),
    "NotDifferentiable")


def _unit(like: Tensor, n: int) -> Tensor:
    return eye(n, dtype=like.dtype, device=like.device)


class LinalgDet(TapeFunction):
    """det(A); ∂A = g det(A) A⁻ᵀ."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        result = _DET((a.detach(),))
        ctx.save_for_backward(a, result)
        return result

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        a, det = ctx.saved_tensors
        return (grads[0] * det)[..., None, None] * a.inverse().mT


class LinalgSlogdet(TapeFunction):
    """The sign of det(A) and log |det(A)|; ∂A = g A⁻ᵀ."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(a)
        sign, logarithm = _SPLIT.all((a.detach(),), ("slogdet", (), ((), ())))
        ctx.mark_non_differentiable(sign)
        return sign, logarithm

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        a, = ctx.saved_tensors
        return grads[1][..., None, None] * a.inverse().mT


def _qr_gradient(q: Tensor, r: Tensor, gq: Tensor, gr: Tensor) -> Tensor:
    m = r @ gr.mT - gq.mT @ q
    return (gq + q @ (m.tril() + m.tril(-1).mT)) @ r.inverse().mT


class LinalgQr(TapeFunction):
    """A = QR; with M = R Gᵣᵀ - G_qᵀ Q, ∂A = (G_q + Q (tril(M) + tril(M, -1)ᵀ)) R⁻ᵀ. (Seeger et al. 2017) Of a wide
    A = [X, Y] and R = [S, T], X = QS is decomposed so, and T = Qᵀ Y."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, complete: bool) -> tuple[Tensor, Tensor]:
        m, n = a.shape[-2:]
        k = m if complete else min(m, n)
        q, r = _SPLIT.all((a.detach(),), ("qr", (complete,), ((m, k), (k, n))))
        ctx.save_for_backward(a, q, r)
        return q, r

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        a, q, r = ctx.saved_tensors
        gq, gr = grads
        m, n = r.shape[-2:]
        if m > n:
            raise RuntimeError("The QR decomposition is not differentiable when mode='complete' and nrows > ncols.")
        if m == n:
            return _qr_gradient(q, r, gq, gr), None
        right = gr[..., m:]
        left = _qr_gradient(q, r[..., :m], gq + a[..., m:] @ right.mT, gr[..., :m])
        return cat([left, q @ right], -1), None


class LinalgSvd(TapeFunction):
    """A = U diag(s) Vᵀ. With F[i, j] = 1 / (s[j]² - s[i]²) off the diagonal, the gradients of U and V add
    U (F∘(Uᵀ G - Gᵀ U)) diag(s) + (1 - U Uᵀ) G diag(1/s), times Vᵀ, and the like for V. (Giles 2008; Townsend 2016)"""

    @staticmethod
    def forward(ctx: Any, a: Tensor, full: bool) -> tuple[Tensor, Tensor, Tensor]:
        m, n = a.shape[-2:]
        k = min(m, n)
        shapes = ((m, m if full else k), (k,), (n if full else k, n))
        u, s, vh = _SPLIT.all((a.detach(),), ("svd", (full,), shapes))
        ctx.save_for_backward(u, s, vh)
        return u, s, vh

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        u, s, vh = ctx.saved_tensors
        gu, gs, gv = grads[0], grads[1], grads[2].mT
        k, v = s.shape[-1], vh.mT
        u, v, gu, gv = u[..., :k], v[..., :k], gu[..., :k], gv[..., :k]
        square = s * s
        apart = square[..., None, :] - square[..., :, None] + _unit(s, k)
        f = (1 - _unit(s, k)) / apart
        rows, columns = s[..., None, :], s[..., :, None]
        left, right = u.mT @ gu, v.mT @ gv
        inner = f * (left - left.mT) * rows + columns * (f * (right - right.mT)) + _unit(s, k) * gs[..., None, :]
        result = u @ inner @ v.mT
        result = result + ((gu - u @ left) / rows) @ v.mT + u @ ((gv - v @ right) / rows).mT
        return result, None


class Pinverse(TapeFunction):
    """X = A⁺; ∂A = -Xᵀ G Xᵀ + (1 - A X) Gᵀ X Xᵀ + Xᵀ X Gᵀ (1 - X A). (Golub, Pereyra 1973)"""

    @staticmethod
    def forward(ctx: Any, a: Tensor, rcond: float) -> Tensor:
        x = _PINVERSE((a.detach(),), (rcond,))
        ctx.save_for_backward(a, x)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        a, x = ctx.saved_tensors
        g, xt = grads[0], x.mT
        h = g.mT @ x @ xt
        k = xt @ x @ g.mT
        return -(xt @ g @ xt) + (h - a @ (x @ h)) + (k - (k @ x) @ a), None


def _check(x: Tensor, name: str, square: bool) -> None:
    if x.ndim < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions.")
    if square and x.shape[-1] != x.shape[-2]:
        raise RuntimeError(f"{name}: A must be batches of square matrices, but they are {x.shape[-2]} by {x.shape[-1]} "
                           "matrices")
    if x.dtype.kind != "f" or x.dtype.size < 4:
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {type_name(x.dtype)}")


class Decompositions:
    """Determinants, decompositions and what follows from them."""

    __slots__ = ()

    @both("det", keywords={"A": "input"})
    def det(self: Tensor) -> Tensor:
        """The determinant of a square matrix, or of each of a batch. Its gradient needs the inverse.

        >>> import minigrad
        >>> minigrad.tensor([[2.0, 0.0], [0.0, 4.0]]).det()
        tensor(8.)
        """
        _check(self, "linalg.det", True)
        return LinalgDet.apply(self)

    @both("slogdet", keywords={"A": "input"})
    def slogdet(self: Tensor) -> return_types.ReturnType:
        """The named tuple ``(sign, logabsdet)``: the sign of the determinant and the logarithm of its absolute
        value."""
        _check(self, "linalg.slogdet", True)
        return return_types.slogdet(*LinalgSlogdet.apply(self))

    @both("logdet")
    def logdet(self: Tensor) -> Tensor:
        """The logarithm of the determinant: -inf if that is 0, NaN if it is negative."""
        _check(self, "logdet", True)
        sign, logarithm = LinalgSlogdet.apply(self)
        return logarithm.masked_fill(sign < 0, float("nan"))

    @both("qr")
    def qr(self: Tensor, some: bool = True) -> return_types.ReturnType:
        """The named tuple ``(Q, R)`` with self = Q R, the columns of Q orthonormal and R upper triangular; not
        ``some``: Q is square, and there is no gradient for more rows than columns.

        >>> import minigrad
        >>> q, r = minigrad.tensor([[3.0, 1.0], [4.0, 2.0]]).qr()
        >>> bool(((q @ r - minigrad.tensor([[3.0, 1.0], [4.0, 2.0]])).abs() < 1e-5).all())
        True
        """
        self, = operands_of("qr", self)
        _check(self, "linalg.qr", False)
        return return_types.qr(*LinalgQr.apply(self, not some))

    @both("svd")
    def svd(self: Tensor, some: bool = True, compute_uv: bool = True) -> return_types.ReturnType:
        """The named tuple ``(U, S, V)`` with self = U diag(S) Vᵀ, S falling; not ``some``: U and V are square; without
        ``compute_uv`` they are 0. The gradient through U and V needs singular values that differ."""
        self, = operands_of("svd", self)
        _check(self, "linalg.svd", False)
        m, n = self.shape[-2:]
        u, s, vh = LinalgSvd.apply(self, not some and compute_uv)
        if not compute_uv:
            batch = self.shape[:-2]
            return return_types.svd(self.new_zeros((*batch, m, m)), s, self.new_zeros((*batch, n, n)))
        return return_types.svd(u, s, vh.mT)

    @both("pinverse")
    def pinverse(self: Tensor, rcond: float = 1e-15) -> Tensor:
        """The pseudo-inverse (Moore, Penrose): singular values up to ``rcond`` times the largest count as 0."""
        _check(self, "linalg.pinv", False)
        return Pinverse.apply(self, float(rcond))


def svd_lowrank(A: Tensor, q: int = 6, niter: int = 2, M: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """``(U, S, V)`` of about rank q: A is projected on the range of A (AᵀA)^niter times random vectors; with ``M`` that
    of A - M. (Halko, Martinsson, Tropp 2011, algorithms 4.4 and 5.1)"""
    x = A if M is None else A - M
    tall = x.shape[-2] >= x.shape[-1]
    x = x if tall else x.mT
    found = FUNCTIONS["randn"](x.shape[-1], q, dtype=x.dtype, device=x.device)
    basis = (x @ found).qr().Q
    for _ in range(niter):
        basis = (x @ (x.mT @ basis).qr().Q).qr().Q
    u, s, v = (basis.mT @ x).svd()
    u = basis @ u
    return (u, s, v) if tall else (v, s, u)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True,
                niter: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """``svd_lowrank`` of A, by default with the mean of each column taken off: its principal components."""
    m, n = A.shape[-2:]
    rank = min(6, m, n) if q is None else q
    if not 0 <= rank <= min(m, n):
        raise ValueError(f"q(={rank}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, rank, niter)


FUNCTIONS.update(svd_lowrank=svd_lowrank, pca_lowrank=pca_lowrank)
