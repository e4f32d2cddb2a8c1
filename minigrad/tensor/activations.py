"""Stage: front. In: a Tensor. Out: the activations of neural networks, recorded: sigmoid, relu, gelu, softplus …
Next: ``comparison.py``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from minigrad.dtype import bool_
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.definition import both, in_place
from minigrad.tensor.function import Function
from minigrad.tensor.functions import rounded_once, row, slope

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def sigmoid_value(x: LazyBuffer) -> LazyBuffer:
    """1 / (1 + exp(-x)) without overflow: z / (1 + z) with z = exp(x) below 0, 1 / (1 + z) with z = exp(-x) above."""
    below = x.binary(Op.LT, x.like(0.0))
    z = below.where(x, x.unary(Op.NEG)).unary(Op.EXP)
    one = x.like(1.0)
    return below.where(z, one).binary(Op.DIV, one.binary(Op.ADD, z))


# g * out * (1 - out)
_SIGMOID = row("sigmoid", rounded_once(sigmoid_value), gradient=slope(
    lambda g, x, out: g.binary(Op.MUL, out.binary(Op.MUL, out.like(1.0).binary(Op.SUB, out)))))
# g where the result is above 0: it reads the result only, so relu may be done in place
_RELU = row("relu", lambda x: x.binary(Op.MAXIMUM, x.like(0)), gradient=slope(
    lambda g, x, out: out.like(0.0).binary(Op.LT, out).where(g, g.like(0.0))))


def _leaky_relu(x: LazyBuffer, slope: LazyBuffer) -> LazyBuffer:
    return x.like(0).binary(Op.LT, x).where(x, x.binary(Op.MUL, slope.expand(x.shape)))


_LEAKY_RELU = Function("leaky_relu", _leaky_relu, "LeakyReluBackward0")
_SILU = row("silu", rounded_once(lambda x: x.binary(Op.MUL, sigmoid_value(x))))


def _gelu(x: LazyBuffer, approximate: str) -> LazyBuffer:
    if approximate == "tanh":
        cube = x.binary(Op.MUL, x).binary(Op.MUL, x)
        inner = x.binary(Op.ADD, cube.binary(Op.MUL, x.like(0.044715))).binary(Op.MUL, x.like(math.sqrt(2 / math.pi)))
        gate = inner.unary(Op.TANH)
    else:
        gate = x.binary(Op.MUL, x.like(math.sqrt(0.5))).unary(Op.ERF)
    return x.binary(Op.MUL, x.like(0.5)).binary(Op.MUL, x.like(1.0).binary(Op.ADD, gate))


_GELU = Function("gelu", lambda x, approximate: rounded_once(lambda w: _gelu(w, approximate))(x), "GeluBackward0")


class Activations:
    """The activations of neural networks."""

    __slots__ = ()

    @both("sigmoid")
    def sigmoid(self: Tensor) -> Tensor:
        """1 / (1 + exp(-self)).

        >>> import minigrad
        >>> minigrad.tensor([0.0, -100.0, 100.0]).sigmoid()
        tensor([5.0000e-01, 3.7835e-44, 1.0000e+00])
        """
        return _SIGMOID((self,))

    sigmoid_ = in_place(sigmoid)

    @both("relu")
    def relu(self: Tensor) -> Tensor:
        """max(self, 0); its slope at 0 is 0."""
        if self.dtype is bool_:
            raise RuntimeError("Boolean inputs not supported for relu")
        return _RELU((self,))

    relu_ = in_place(relu)

    @both("leaky_relu")
    def leaky_relu(self: Tensor, negative_slope: float = 0.01) -> Tensor:
        """self where it is above 0, else negative_slope * self."""
        return _LEAKY_RELU((self,), (), ((float(negative_slope), self.dtype),))

    leaky_relu_ = in_place(leaky_relu)

    @both("silu")
    def silu(self: Tensor) -> Tensor:
        """self * sigmoid(self)."""
        return _SILU((self,))

    silu_ = in_place(silu)

    @both("gelu")
    def gelu(self: Tensor, approximate: str = "none") -> Tensor:
        """self * P(N <= self) for a standard normal N; ``approximate="tanh"`` takes the formula with tanh.
        (Hendrycks, Gimpel 2016)"""
        if approximate not in ("none", "tanh"):
            raise RuntimeError("approximate argument must be either none or tanh.")
        return _GELU((self,), (approximate,))

    @both("softplus")
    def softplus(self: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
        """log(1 + exp(beta * self)) / beta; self itself where beta * self is above ``threshold``."""
        scaled = self * beta
        smooth = (scaled.clamp(min=0.0) + (-scaled.abs()).exp().log1p()) / beta
        return self.where(scaled > threshold, smooth)

    softplus_ = in_place(softplus)

    @both("logsigmoid")
    def logsigmoid(self: Tensor) -> Tensor:
        """log(sigmoid(self))."""
        return -(-self).softplus()

    @both("logit")
    def logit(self: Tensor, eps: float | None = None) -> Tensor:
        """log(self / (1 - self)), self clamped to [eps, 1 - eps] first if ``eps`` is given."""
        x = self if eps is None else self.clamp(eps, 1 - eps)
        return (x / (1 - x)).log()

    logit_ = in_place(logit)
