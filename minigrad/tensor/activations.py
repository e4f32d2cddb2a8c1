"""Stage: front. In: a Tensor. Out: the activations of neural networks, recorded: sigmoid, relu, gelu, softplus …
Next: ``series.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from minigrad.dtype import accumulator, bool_
from minigrad.graph.function import apply
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.definition import both, in_place
from minigrad.tensor.function import Function
from minigrad.tensor.functions import in_double, log1p_value, rounded_once, row, slope
from minigrad.tensor.promotion import type_name

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Values = Sequence[LazyBuffer]
E_20 = (2.06115369216775e-09, -6.972919196780572e-17)
"""exp(-20) as the sum of a float32 number and a rest."""


def _fma(a: LazyBuffer, b: LazyBuffer, c: LazyBuffer) -> LazyBuffer:
    """a * b + c, rounded once."""
    return LazyBuffer(Op.FMA, (a, b, c), None, a.shape, a.dtype, a.device)


def _remainder(n: LazyBuffer, z: LazyBuffer) -> tuple[LazyBuffer, LazyBuffer]:
    """q = n / (1 + z), and n - q (1 + z), which says what the rounding of the sum and of the quotient took away."""
    one = z.like(1.0)
    d = one.binary(Op.ADD, z)
    lost = z.binary(Op.SUB, d.binary(Op.SUB, one))
    q = n.binary(Op.DIV, d)
    minus = q.unary(Op.NEG)
    return q, _fma(minus, lost, _fma(minus, d, n))


def sigmoid_value(x: LazyBuffer) -> LazyBuffer:
    """1 / (1 + exp(-x)) without overflow: z / (1 + z) with z = exp(x) below 0, 1 / (1 + z) with z = exp(-x) above.
    Three roundings would be more than 2 ulp below 0, so the quotient is corrected: there 1 / (1 + z) is 1 - q."""
    below = x.binary(Op.LT, x.like(0.0))
    z = below.where(x, x.unary(Op.NEG)).unary(Op.EXP)
    one = x.like(1.0)
    q, rest = _remainder(below.where(z, one), z)
    return _fma(rest, one.binary(Op.SUB, q), q)


# g * out * (1 - out)
_SIGMOID = row("sigmoid", rounded_once(sigmoid_value), gradient=slope(
    lambda g, x, out: g.binary(Op.MUL, out.binary(Op.MUL, out.like(1.0).binary(Op.SUB, out)))))
# 0 where the result is 0, else g, at NaN too: it reads the result only, so relu may be done in place
_RELU = row("relu", lambda x: x.binary(Op.MAXIMUM, x.like(0)), gradient=slope(
    lambda g, x, out: out.binary(Op.EQ, out.like(0.0)).where(g.like(0.0), g)))


def _sigmoid(x: LazyBuffer) -> LazyBuffer:
    """The sigmoid as a node of its own, for formulas that have derivatives."""
    return apply(_SIGMOID.body.at([x]), [x])[0]



def _float_only(x: LazyBuffer, kernel: str) -> LazyBuffer:
    """x, widened if it is of a half type; for integers and bools PyTorch's error, which names its ``kernel``."""
    if x.dtype.kind != "f":
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{type_name(x.dtype)}'")
    return x.cast(accumulator(x.dtype))


def _leaky_relu(x: LazyBuffer, slope: LazyBuffer) -> LazyBuffer:
    _float_only(x, "leaky_relu_cpu")
    return x.like(0).binary(Op.LT, x).where(x, x.binary(Op.MUL, slope.expand(x.shape)))


_LEAKY_RELU = Function("leaky_relu", _leaky_relu, "LeakyReluBackward0")


def _silu(x: LazyBuffer) -> LazyBuffer:
    """x / (1 + exp(-x)), below 0 as x exp(x) / (1 + exp(x)). Where exp(x) would be subnormal, and lack digits that the
    product has, e²⁰ of it is taken out."""
    wide = _float_only(x, "silu_cpu")
    zero, one = wide.like(0.0), wide.like(1.0)
    below = wide.binary(Op.LT, zero)
    size = below.where(wide, wide.unary(Op.NEG))
    far = size.binary(Op.LT, size.like(-64.0))  # from there on the sum is exact, and 1 + z is 1
    z = far.where(size.binary(Op.ADD, size.like(20.0)), size).unary(Op.EXP)
    factor = far.where(size.like(E_20[0]), one)
    scaled = wide.binary(Op.MUL, factor)
    share = scaled.binary(Op.MUL, z)
    q, rest = _remainder(below.where(share, wide), z)
    unscaled = _fma(wide, far.where(size.like(E_20[1]), zero), _fma(wide, factor, scaled.unary(Op.NEG)))
    lost = _fma(unscaled, z, _fma(scaled, z, share.unary(Op.NEG)))  # by the roundings of scaled and of share
    rest = rest.binary(Op.ADD, below.where(lost, zero))
    inverse = _fma(z, _fma(z, z.like(0.45), z.like(-0.94)), one)  # 1 / (1 + z), good enough for the correction
    return q.unary(Op.ABS).binary(Op.LT, q.like(1e30)).where(_fma(rest, inverse, q), q).cast(x.dtype)


def _silu_slope(g: LazyBuffer, x: LazyBuffer, out: LazyBuffer) -> LazyBuffer:
    """g * s * (1 + x * (1 - s)) with s = sigmoid(x)."""
    s, one = _sigmoid(x), x.like(1.0)
    inner = x.binary(Op.MUL, one.binary(Op.SUB, s)).binary(Op.ADD, one)
    return g.binary(Op.MUL, s.binary(Op.MUL, inner))


def _gelu(given: LazyBuffer, approximate: str) -> LazyBuffer:
    x = _float_only(given, "GeluKernelImpl")
    if approximate == "tanh":
        cube = x.binary(Op.MUL, x).binary(Op.MUL, x)
        inner = x.binary(Op.ADD, cube.binary(Op.MUL, x.like(0.044715))).binary(Op.MUL, x.like(math.sqrt(2 / math.pi)))
        gate = inner.unary(Op.TANH)
    else:
        gate = x.binary(Op.MUL, x.like(math.sqrt(0.5))).unary(Op.ERF)
    return x.binary(Op.MUL, x.like(0.5)).binary(Op.MUL, x.like(1.0).binary(Op.ADD, gate)).cast(given.dtype)


def _below_zero(x: LazyBuffer) -> LazyBuffer:
    """exp(-|x|), which never overflows."""
    zero = x.like(0.0)
    return x.binary(Op.LT, zero).where(x, x.unary(Op.NEG)).unary(Op.EXP)


def _softplus(given: LazyBuffer, beta: float, threshold: float) -> LazyBuffer:
    _float_only(given, "softplus_cpu")
    return in_double(partial(_softplus_value, beta=beta, threshold=threshold))(given)


def _softplus_value(x: LazyBuffer, beta: float, threshold: float) -> LazyBuffer:
    scaled = x.binary(Op.MUL, x.like(beta))
    zero = x.like(0.0)
    smooth = zero.binary(Op.LT, scaled).where(scaled, zero).binary(Op.ADD, log1p_value(_below_zero(scaled)))
    smooth = smooth.binary(Op.DIV, x.like(beta))
    return x.like(threshold).binary(Op.LT, scaled).where(x, smooth)


def _softplus_gradient(inputs: Values, outputs: Values, grads: Values, beta: float,
                       threshold: float) -> tuple[LazyBuffer]:
    """g * sigmoid(beta * x), and g itself above the threshold."""
    wide = accumulator(inputs[0].dtype)
    x, g = inputs[0].cast(wide), grads[0].cast(wide)
    scaled = x.binary(Op.MUL, x.like(beta))
    curved = g.binary(Op.MUL, _sigmoid(scaled))
    return (x.like(threshold).binary(Op.LT, scaled).where(g, curved).cast(inputs[0].dtype),)


def _logsigmoid(given: LazyBuffer) -> LazyBuffer:
    _float_only(given, "log_sigmoid_cpu")
    return in_double(_logsigmoid_value)(given)


def _logsigmoid_value(x: LazyBuffer) -> LazyBuffer:
    """min(x, 0) - log(1 + exp(-|x|))"""
    zero = x.like(0.0)
    return x.binary(Op.LT, zero).where(x, zero).binary(Op.SUB, log1p_value(_below_zero(x)))


_SILU = row("silu", _silu, gradient=slope(_silu_slope))
_GELU = Function("gelu", _gelu, "GeluBackward0")
_SOFTPLUS = Function("softplus", _softplus, "SoftplusBackward0", _softplus_gradient)
_LOGSIGMOID = row("logsigmoid", _logsigmoid, "LogSigmoid", slope(
    lambda g, x, out: g.binary(Op.MUL, _sigmoid(x.unary(Op.NEG)))))


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
        if not isinstance(approximate, str):
            raise TypeError(f"gelu(): argument 'approximate' must be str, not {type(approximate).__name__}")
        if approximate not in ("none", "tanh"):
            raise RuntimeError("approximate argument must be either none or tanh.")
        return _GELU((self,), (approximate,))

    @both("softplus")
    def softplus(self: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
        """log(1 + exp(beta * self)) / beta; self itself where beta * self is above ``threshold``."""
        return _SOFTPLUS((self,), (float(beta), float(threshold)))

    softplus_ = in_place(softplus)

    @both("logsigmoid")
    def logsigmoid(self: Tensor) -> Tensor:
        """log(sigmoid(self))."""
        return _LOGSIGMOID((self,))
