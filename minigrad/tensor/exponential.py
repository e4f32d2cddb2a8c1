"""Stage: front. In: a Tensor and a dimension. Out: softmax and its logarithm, norms, running sums and products,
recorded. The half types are computed in float32.
Next: ``movement.py``."""

from __future__ import annotations

import math
from typing import Any

from minigrad.autograd.node import Node, kind
from minigrad.dtype import DType, accumulator, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import Tensor, both, record, record_unary
from minigrad.tensor.operands import dim_index, dim_indices
from minigrad.tensor.promotion import floating, type_name
from minigrad.tensor.reduce import without

_SOFTMAX, _LOG_SOFTMAX = kind("SoftmaxBackward0", "inputs"), kind("LogSoftmaxBackward0", "inputs")
_LOGSUMEXP = kind("LogsumexpBackward0", "inputs")


def _shifted(self: Tensor, dim: Any, dtype: DType | None, name: str) -> tuple[LazyBuffer, LazyBuffer, LazyBuffer, Any]:
    """What was read, the values minus their maximum along ``dim``, that maximum, and the axes."""
    la = self._read()
    if dtype is None and la.dtype.kind != "f":
        raise NotImplementedError(f"\"{name}_lastdim_kernel_impl\" not implemented for '{type_name(la.dtype)}'")
    if dim is None:
        dim = 0 if len(la.shape) in (0, 1, 3) else 1
    axes = dim_indices(dim_index(dim, len(la.shape)), len(la.shape))
    x = la.cast(la.dtype if dtype is None else dtype)
    wide = x.cast(accumulator(x.dtype))
    top = wide.reduce(Op.MAX, axes)
    return la, wide.binary(Op.SUB, top.expand(wide.shape)), top, (axes, x.dtype)


@both("softmax")
def softmax(self: Tensor, dim: int | None = None, dtype: DType | None = None, _stacklevel: int = 3) -> Tensor:
    """exp(self) / sum(exp(self)) along ``dim``.

    >>> import minigrad
    >>> minigrad.tensor([0.0, 0.0]).softmax(0)
    tensor([0.5000, 0.5000])
    """
    la, shifted, top, (axes, out_dtype) = _shifted(self, dim, dtype, "softmax")
    exp = shifted.unary(Op.EXP)
    out = exp.binary(Op.DIV, exp.reduce(Op.SUM, axes).expand(exp.shape)).cast(out_dtype)
    return record(_SOFTMAX, (out,), (self,), (la,), stops=(top,))[0]


@both("log_softmax")
def log_softmax(self: Tensor, dim: int | None = None, dtype: DType | None = None, _stacklevel: int = 3) -> Tensor:
    """log(softmax(self)) along ``dim``, without overflow."""
    la, shifted, top, (axes, out_dtype) = _shifted(self, dim, dtype, "log_softmax")
    total = shifted.unary(Op.EXP).reduce(Op.SUM, axes).unary(Op.LOG)
    out = shifted.binary(Op.SUB, total.expand(shifted.shape)).cast(out_dtype)
    return record(_LOG_SOFTMAX, (out,), (self,), (la,), stops=(top,))[0]


@both("logsumexp")
def logsumexp(self: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """log(sum(exp(self))) over ``dim``, without overflow; -inf where all are -inf."""
    la = self._read()
    x = la.cast(floating(la.dtype))
    axes = dim_indices(dim, len(x.shape))
    wide = x.cast(accumulator(x.dtype))
    top = wide.reduce(Op.MAX, axes)
    finite = top.unary(Op.ABS).binary(Op.LT, top.like(math.inf)).where(top, top.like(0.0))
    total = wide.binary(Op.SUB, finite.expand(wide.shape)).unary(Op.EXP).reduce(Op.SUM, axes)
    out = total.unary(Op.LOG).binary(Op.ADD, finite).reshape(without(x.shape, axes, keepdim)).cast(x.dtype)
    return record(_LOGSUMEXP, (out,), (self,), (la,), stops=(finite,))[0]


@both("softmin")
def softmin(self: Tensor, dim: int | None = None, dtype: DType | None = None) -> Tensor:
    """softmax(-self)."""
    return (-self).softmax(dim, dtype)


# --- norms


@both("norm")
def norm(self: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: DType | None = None) -> Tensor:
    """(sum |x|^p)^(1/p) over ``dim``; ``"fro"`` is p = 2, infinities give the extrema of |x|, 0 counts nonzeros."""
    x = self if dtype is None else self.to(dtype)
    if x.dtype.kind != "f":
        raise RuntimeError("linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
                           f"{type_name(x.dtype)}")
    over = () if dim is None else dim
    if p is None or p == "fro" or p == 2:
        return _euclidean(x, over, keepdim)
    if p == math.inf:
        return x.abs().amax(over, keepdim)
    if p == -math.inf:
        return x.abs().amin(over, keepdim)
    if p == 0:
        return (x != 0).to(x.dtype).sum(over, keepdim)
    if p == 1:
        return x.abs().sum(over, keepdim)
    return x.abs().pow(p).sum(over, keepdim).pow(1.0 / p)


@both("dist")
def dist(self: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of self - other."""
    return norm(self - other, p)


_NORM = kind("LinalgVectorNormBackward0", "both")


def _euclidean(self: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """Differentiated with slope 0 at 0, where the square root alone would give NaN."""
    la = self._read()
    axes = dim_indices(dim, len(la.shape))
    wide = la.cast(accumulator(la.dtype))
    total = wide.binary(Op.MUL, wide).reduce(Op.SUM, axes)
    zero = total.like(0.0)
    nothing = total.binary(Op.EQ, zero)
    out = nothing.where(zero, nothing.where(total.like(1.0), total).unary(Op.SQRT))
    return record_unary(_NORM, out.reshape(without(la.shape, axes, keepdim)).cast(la.dtype), self, la)


# --- running


_CUMSUM, _CUMPROD = kind("CumsumBackward0"), kind("CumprodBackward0", "both")


def _running(self: Tensor, dim: int, dtype: DType | None, op: str, node: type[Node]) -> Tensor:
    la = self._read()
    axis = dim_index(dim, len(la.shape))
    x = la.cast(dtype if dtype is not None else la.dtype if la.dtype.kind == "f" else int64)
    if not x.shape:
        return record_unary(node, x.contiguous(), self, la)
    return record_unary(node, x.cast(accumulator(x.dtype)).scan(op, axis).cast(x.dtype), self, la)


@both("cumsum")
def cumsum(self: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """The running sum along ``dim``.

    >>> import minigrad
    >>> minigrad.tensor([1, 2, 3]).cumsum(0)
    tensor([1, 3, 6])
    """
    return _running(self, dim, dtype, Op.SUM, _CUMSUM)


@both("cumprod")
def cumprod(self: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """The running product along ``dim``."""
    return _running(self, dim, dtype, Op.PROD, _CUMPROD)


@both("logcumsumexp")
def logcumsumexp(self: Tensor, dim: int) -> Tensor:
    """log of the running sum of exp(self) along ``dim``."""
    top = self.detach().amax(dim, keepdim=True)
    return (self - top).exp().cumsum(dim).log() + top
