"""Stage: front. In: a Tensor. Out: the activations of neural networks, recorded: sigmoid, relu, gelu, softplus …
Next: ``series.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minigrad import lazily
from minigrad.dtype import accumulator, bool_, float32
from minigrad.graph.function import apply
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor import series
from minigrad.tensor.definition import both, in_place
from minigrad.tensor.formula import (
    Value,
    called,
    choose,
    correction,
    exp_in_parts,
    exp_less_one,
    in_double,
    in_own_type,
    power_of_two_in,
)
from minigrad.tensor.function import Function
from minigrad.tensor.functions import rounded_once, row, slope
from minigrad.tensor.promotion import type_name
from minigrad.tensor.special import ndtr_value

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Values = Sequence[LazyBuffer]
_FAR, _SHIFT, _DIVISOR = -512.0, 107.4892578125, 2.0797372387727788e-47
"""Below which float64 number x, before exp(-x) becomes inf, it is divided by exp(shift), and exp(-shift), which is true
to 2^-66. x + shift is exact there."""


def _over_one_plus_exp(x: Value, n: Any) -> Value:
    """n / (1 + exp(-x)). In float32 exp(-x) is exp(-r) / s with a power s of 2, and the result n s / (s + exp(-r)):
    exp(-r) - 1 is small, so that the digits that rounding takes from it do not count in the sum."""
    if x.kind.dtype is not float32:
        far = x < _FAR
        return n * choose(far, _DIVISOR, 1.0) / ((choose(far, -_SHIFT, 0.0) - x).exp() + 1.0)
    low, high = x < -120.0, x > 30.0
    r, s = power_of_two_in(choose(low, -120.0, choose(high, 30.0, x)))
    q = n * choose(low, 0.0, s) / (1.0 + (exp_less_one(-r) + s * 2.0**-64)) * 2.0**-64
    return choose(high, n, q)


def sigmoid_value(x: LazyBuffer) -> LazyBuffer:
    """The sigmoid of real numbers of one type."""
    return _over_one_plus_exp(Value(x), 1.0).lazy


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


def _silu(given: LazyBuffer) -> LazyBuffer:
    x = Value(_float_only(given, "silu_cpu"))
    return _over_one_plus_exp(x, x).lazy.cast(given.dtype)


def _silu_slope(g: LazyBuffer, x: LazyBuffer, out: LazyBuffer) -> LazyBuffer:
    """g * s * (1 + x * (1 - s)) with s = sigmoid(x)."""
    s, one = _sigmoid(x), x.like(1.0)
    inner = x.binary(Op.MUL, one.binary(Op.SUB, s)).binary(Op.ADD, one)
    return g.binary(Op.MUL, s.binary(Op.MUL, inner))


def _gelu(given: LazyBuffer, approximate: str) -> LazyBuffer:
    _float_only(given, "GeluKernelImpl")
    if approximate == "tanh":
        return in_own_type(_gelu_by_tanh)(given)
    return in_own_type(_gelu_value)(given, given.dtype is float32)


def _gelu_value(x: Value, corrected: bool) -> Value:
    """x P(N <= x). In float32 it is max(x, 0) - y P(N <= -y) with y = |x|; ``corrected`` by what the roundings took
    away, which else make 5 ulp: enough for half types."""
    if x.kind.dtype is not float32:
        return x * ndtr_value(x)
    y, inverse, w, e, scale = _normal_tail(x, corrected)
    v, z = y * inverse, e.fma(w, w + e)
    if corrected:
        lost = y.fma(inverse, -v)
        tail = v + v.fma(z, lost.fma(z, lost))
    else:
        tail = v.fma(z, v)
    return (tail * scale).fma(-2.0**-65, choose(x < 0.0, x * 0.0, x))  # -inf * 0.0 is NaN


def _normal_tail(x: Value, corrected: bool = False) -> tuple[Value, ...]:
    """P(N <= -y) with y = |x| in float32, as (1 + w) exp(-y²/2) / 2d with d = y + 3/2 and a series w of 1/d: y, 1/d, w,
    and the exponential as ``exp_in_parts``. ``corrected``: by what the roundings of d and 1/d took away, a share of
    1/d, which is 1.25 times that of the whole, to within 0.2, because the series changes with 1/d, too."""
    y = x.abs()
    y = choose(y < 14.5, y, 14.5)  # beyond it is below every float32 number
    half = y * -0.5
    power = y * half
    low = y.fma(half, -power)
    d = y + 1.5
    inverse = 1.0 / d
    if corrected:
        low = (-inverse).fma(y - (d - 1.5), (-inverse).fma(d, 1.0)).fma(1.25, low)
    w = correction(series.NORMAL_TAIL, inverse.fma(-3.0, 1.0), -1.0, 0.8125, 0.3)
    return y, inverse, w, *exp_in_parts(power, low)


def _gelu_slope_value(x: Value) -> Value:
    """P + x p with the distribution P and the density p of N, in float32 of what ``_gelu_value`` has, too."""
    if x.kind.dtype is not float32:
        return ((x * math.sqrt(0.5)).erf() + 1.0) * 0.5 + x * _density(x)
    _, inverse, w, e, scale = _normal_tail(x)
    power = (e + 1.0) * scale * 2.0**-64
    tail = inverse.fma(w, inverse) * power * 0.5
    return choose(x < 0.0, tail, 1.0 - tail) + x * power * (1 / math.sqrt(2 * math.pi))


def _density(x: Value) -> Value:
    """exp(-x²/2) / sqrt(2 π)"""
    return (x * x * -0.5).exp() * (1 / math.sqrt(2 * math.pi))


_GELU_SLOPE = row("gelu_slope", in_own_type(_gelu_slope_value), gradient=slope(
    lambda g, x, out: (Value(g) * _density(Value(x)) * (2.0 - Value(x) * Value(x))).lazy))


# sqrt(2 / π) and 0.044715 sqrt(2 / π) as float32 numbers, and what is left of them
_LINEAR, _LINEAR_REST = 0.7978845834732056, -2.267034016e-08
_CUBIC, _CUBIC_REST = 0.035677406936883926, 1.1994161983e-09


def _gelu_by_tanh(x: Value) -> Value:
    """x (1 + tanh(t)) / 2 as x / (1 + exp(-2t)), which keeps the digits below 0; there x exp(2t) / (1 + exp(2t)), which
    does not overflow. In float32, 2t has the rest of its roundings beside it."""
    if x.kind.dtype is not float32:
        z = (_inner(x).abs() * -2.0).exp()
        return choose(x < 0.0, x * z, x) / (z + 1.0)
    y = x.abs()
    y = choose(y < 11.0, y, 11.0)  # below -11 the result is below every float32 number
    square = y * y
    product = square * _CUBIC
    by = product + _LINEAR
    added = by - product
    rest = (product - (by - added)) + (_LINEAR - added) + square.fma(_CUBIC, -product)
    rest = rest + y.fma(y, -square).fma(_CUBIC, square.fma(_CUBIC_REST, _LINEAR_REST))
    twice = y * -2.0
    high = twice * by
    e, scale = exp_in_parts(high, twice.fma(rest, twice.fma(by, -high)))
    z = e.fma(scale, scale) * 2.0**-64
    d = z + 1.0
    whole = choose(x < 0.0, -y, x)
    share = whole / d
    lost = (-share).fma(z - (d - 1.0), (-share).fma(d, whole))  # by the roundings of d and of the share, times d
    below = ((share.fma(e, lost.fma(e, lost)) + share) * scale).fma(2.0**-64, x * 0.0)  # -inf * 0.0 is NaN
    return choose(x < 0.0, below, share)


def _inner(x: Value) -> Value:
    """sqrt(2 / π) (x + 0.044715 x³)"""
    return (x * x).fma(0.044715 * math.sqrt(2 / math.pi), math.sqrt(2 / math.pi)) * x


def _gelu_gradient(inputs: Values, outputs: Values, grads: Values, approximate: str) -> Any:
    """g (P + x p), as ``_gelu_slope_value`` says; or g (s + x s (1 - s) 2 t') with s = sigmoid(2t)."""

    def known(g: LazyBuffer, given: LazyBuffer, out: LazyBuffer) -> LazyBuffer:
        x = Value(given)
        if approximate == "tanh":
            s = Value(_sigmoid((_inner(x) * 2.0).lazy))
            by = s + x * s * (1.0 - s) * (x * x * (3 * 0.044715) + 1.0) * (2.0 * math.sqrt(2 / math.pi))
        else:
            by = called(_GELU_SLOPE, x)
        return (Value(g) * by).lazy

    return slope(known)(inputs, outputs, grads)


def _softplus(given: LazyBuffer, beta: float, threshold: float) -> LazyBuffer:
    _float_only(given, "softplus_cpu")
    return (in_own_type if beta == 1.0 else in_double)(_softplus_value)(given, beta, threshold)


def _softplus_value(x: Value, beta: float, threshold: float) -> Value:
    """(max(s, 0) + log(1 + exp(-|s|))) / beta with s = beta x."""
    scaled = x if beta == 1.0 else x * beta
    smooth = choose(scaled > 0.0, scaled, 0.0) + _log_rest(scaled)
    return choose(scaled > threshold, x, smooth if beta == 1.0 else smooth / beta)


def _log_rest(x: Value) -> Value:
    """log(1 + exp(-|x|))"""
    z = (-x.abs()).exp()
    return (z * z).fma(correction(series.LOG1P, z, 0.0, 1.0), z)


def _softplus_gradient(inputs: Values, outputs: Values, grads: Values, beta: float,
                       threshold: float) -> tuple[LazyBuffer]:
    """g * sigmoid(beta * x), and g itself above the threshold."""
    wide = accumulator(inputs[0].dtype)
    x, g = inputs[0].cast(wide), grads[0].cast(wide)
    scaled, limit = x.binary(Op.MUL, x.like(beta)), x.like(threshold)
    bent = scaled.binary(Op.EQ, limit).where(limit, scaled)  # at the threshold itself the slope does not change
    curved = g.binary(Op.MUL, _sigmoid(bent))
    return (limit.binary(Op.LT, scaled).where(g, curved).cast(inputs[0].dtype),)


def _logsigmoid(given: LazyBuffer) -> LazyBuffer:
    _float_only(given, "log_sigmoid_cpu")
    return in_own_type(_logsigmoid_value)(given)


def _logsigmoid_value(x: Value) -> Value:
    """min(x, 0) - log(1 + exp(-|x|))"""
    return choose(x < 0.0, x, 0.0) - _log_rest(x)


_SILU = row("silu", _silu, gradient=slope(_silu_slope))
_GELU = Function("gelu", _gelu, "GeluBackward0", _gelu_gradient)
_SOFTPLUS = Function("softplus", _softplus, "SoftplusBackward0", _softplus_gradient)
_LOGSIGMOID = row("logsigmoid", _logsigmoid, "LogSigmoid", slope(
    lambda g, x, out: g.binary(Op.MUL, _sigmoid(x.unary(Op.NEG)))))


def _functional() -> Any:
    return lazily.module("minigrad.nn.functional")


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

    @both("silu", real=True)
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

    # --- whose formulas stand with those of the layers

    def hardshrink(self: Tensor, lambd: float = 0.5) -> Tensor:
        """0 from -lambd to lambd, elsewhere self, of the same dtype. ``NotImplementedError`` for integers and bools.
        (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hardshrink.html)

        >>> import minigrad
        >>> minigrad.tensor([-1.0, 0.3]).hardshrink()
        tensor([-1.,  0.])
        """
        return _functional().hardshrink(self, lambd)

    def prelu(self: Tensor, weight: Tensor) -> Tensor:
        """self above 0, else weight * self; the weight is one number, or one for each channel (dimension 1 of self).
        ``RuntimeError`` if their number is another, or the dtypes differ. (He, Zhang, Ren, Sun 2015)

        >>> import minigrad
        >>> minigrad.tensor([-1.0, 2.0]).prelu(minigrad.tensor([0.5]))
        tensor([-0.5000,  2.0000])
        """
        return _functional().prelu(self, weight)
