"""Stage: front. In: a Tensor. Out: a function of each of its elements, recorded: exp, log, sin, floor, relu, gelu …
Formulas are written so that neither they nor their derivatives overflow or lose digits.
Next: ``comparison.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.dtype import bool_, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import Tensor, both
from minigrad.tensor.function import Function
from minigrad.tensor.operands import MixedFunction, all_fitted
from minigrad.tensor.promotion import floating

Formula = Callable[[LazyBuffer], LazyBuffer]


def of_floats(formula: Formula) -> Formula:
    """The formula, for integers too: they are taken in the default floating type."""
    return lambda x: formula(x.cast(floating(x.dtype)))


def _elementwise(name: str, formula: Formula, doc: str, *more: str, node: str = "", gradient: Any = None) -> Function:
    """A function of each element, under ``name`` and ``more`` names."""
    apply = Function(name, formula, f"{node or name.capitalize()}Backward0", gradient)

    def function(self: Tensor) -> Tensor:
        return apply((self,))

    function.__doc__ = doc
    both(name, *more)(function)
    return apply


for _name, _op, _doc in (
    ("exp", Op.EXP, "e to the power of each element."),
    ("log", Op.LOG, "The natural logarithm; -inf at 0, NaN below."),
    ("sqrt", Op.SQRT, "The square root; NaN below 0."),
    ("sin", Op.SIN, "The sine of an angle in radians."),
    ("cos", Op.COS, "The cosine of an angle in radians."),
    ("tanh", Op.TANH, "The hyperbolic tangent."),
    ("erf", Op.ERF, "The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."),
):
    _elementwise(_name, of_floats(lambda x, op=_op: x.unary(op)), _doc)  # type: ignore[misc]


def _rounding(name: str, op: str, doc: str, *more: str) -> None:
    """A function that leaves integers as they are."""
    apply = Function(name, lambda x: x.unary(op) if x.dtype.kind == "f" else x.contiguous(),
                     f"{name.capitalize()}Backward0")

    def function(self: Tensor) -> Tensor:
        if self.dtype is bool_:
            raise NotImplementedError(f"\"{name}\" not implemented for 'Bool'")
        return apply((self,))

    function.__doc__ = doc
    both(name, *more)(function)


_rounding("floor", Op.FLOOR, "The largest integer not above each element.")
_rounding("ceil", Op.CEIL, "The smallest integer not below each element.")
_rounding("trunc", Op.TRUNC, "Each element without its fraction.", "fix")


@both("round")
def round_(self: Tensor, *, decimals: int = 0) -> Tensor:
    """The nearest number with that many decimals, ties to even.

    >>> import minigrad
    >>> minigrad.tensor([0.5, 1.5, 2.5]).round()
    tensor([0., 2., 2.])
    """
    if decimals and self.dtype.kind == "f":
        return (self * 10.0**decimals).round() / 10.0**decimals if decimals > 0 else (
            self / 10.0**-decimals).round() * 10.0**-decimals
    return _ROUND((self,))


_ROUND = Function("round", lambda x: x.unary(Op.ROUND) if x.dtype.kind == "f" else x.contiguous(), "RoundBackward0")


@both("frac")
def frac(self: Tensor) -> Tensor:
    """self - trunc(self)."""
    return self - self.trunc()


# --- from the primitives


def _over(x: LazyBuffer, divisor: LazyBuffer) -> LazyBuffer:
    return x.like(1.0).binary(Op.DIV, divisor)


def _sign(x: LazyBuffer) -> LazyBuffer:
    if x.dtype is bool_:
        return x.contiguous()
    zero, one = x.like(0), x.like(1)
    minus = one.unary(Op.NEG) if x.dtype.kind != "u" else zero
    return zero.binary(Op.LT, x).where(one, x.binary(Op.LT, zero).where(minus, zero))


def _squared(x: LazyBuffer) -> LazyBuffer:
    x = x if x.dtype is not bool_ else x.cast(int64)
    return x.binary(Op.MUL, x)


_elementwise("reciprocal", of_floats(lambda x: _over(x, x)), "1 / self.")
_elementwise("rsqrt", of_floats(lambda x: _over(x, x.unary(Op.SQRT))), "1 / sqrt(self).")
_elementwise("square", _squared, "self * self.", node="Pow")
_elementwise("sign", _sign, "-1, 0 or 1 by the sign of each element; its slope is 0.", "sgn")
_elementwise("tan", of_floats(lambda x: x.unary(Op.SIN).binary(Op.DIV, x.unary(Op.COS))), "sin(self) / cos(self).")


@both("sinh")
def sinh(self: Tensor) -> Tensor:
    """(exp(self) - exp(-self)) / 2."""
    return (self.expm1() - (-self).expm1()) * 0.5


@both("cosh")
def cosh(self: Tensor) -> Tensor:
    """(exp(self) + exp(-self)) / 2."""
    return (self.exp() + (-self).exp()) * 0.5


_elementwise("log2", of_floats(lambda x: x.unary(Op.LOG).binary(Op.DIV, x.like(math.log(2.0)))),
             "The logarithm to base 2.")
_elementwise("log10", of_floats(lambda x: x.unary(Op.LOG).binary(Op.DIV, x.like(math.log(10.0)))),
             "The logarithm to base 10.")
_elementwise("exp2", of_floats(lambda x: x.like(2.0).binary(Op.POW, x)), "2 to the power of each element.")


def _log1p(x: LazyBuffer) -> LazyBuffer:
    """With u = 1 + x rounded, log(u) * x / (u - 1) repairs what the rounding lost (W. Kahan)."""
    one = x.like(1.0)
    u = one.binary(Op.ADD, x)
    log = u.unary(Op.LOG)
    repaired = log.binary(Op.MUL, x.binary(Op.DIV, u.binary(Op.SUB, one)))
    plain = u.binary(Op.EQ, x.like(math.inf)).where(u, log)
    return u.binary(Op.EQ, one).where(x, u.binary(Op.LT, x.like(1e6)).where(repaired, plain))


def _log1p_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                    grads: Sequence[LazyBuffer]) -> tuple[LazyBuffer]:
    """g / (1 + x)"""
    g, x = grads[0], inputs[0]
    return (g.binary(Op.DIV, g.like(1.0).binary(Op.ADD, x.cast(g.dtype))).cast(x.dtype),)


def _expm1(x: LazyBuffer) -> LazyBuffer:
    """With u = exp(x) rounded, (u - 1) * x / log(u) repairs what the rounding lost (W. Kahan)."""
    one = x.like(1.0)
    u = x.unary(Op.EXP)
    less = u.binary(Op.SUB, one)
    repaired = less.binary(Op.MUL, x.binary(Op.DIV, u.unary(Op.LOG)))
    near = x.unary(Op.ABS).binary(Op.LT, one)
    return u.binary(Op.EQ, one).where(x, near.where(repaired, less))


def _expm1_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                    grads: Sequence[LazyBuffer]) -> tuple[LazyBuffer]:
    """g * (out + 1)"""
    g, out = grads[0], outputs[0]
    return (g.binary(Op.MUL, out.binary(Op.ADD, out.like(1.0))).cast(inputs[0].dtype),)


_elementwise("log1p", of_floats(_log1p), "log(1 + self), exact to the last digits also near 0.", node="Log1P",
             gradient=_log1p_gradient)
_elementwise("expm1", of_floats(_expm1), "exp(self) - 1, exact to the last digits also near 0.", "special_expm1",
             gradient=_expm1_gradient)


# --- activations


def sigmoid_value(x: LazyBuffer) -> LazyBuffer:
    """1 / (1 + exp(-x)) without overflow: z / (1 + z) with z = exp(x) below 0, 1 / (1 + z) with z = exp(-x) above."""
    below = x.binary(Op.LT, x.like(0.0))
    z = below.where(x, x.unary(Op.NEG)).unary(Op.EXP)
    one = x.like(1.0)
    return below.where(z, one).binary(Op.DIV, one.binary(Op.ADD, z))


def _relu_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                   grads: Sequence[LazyBuffer]) -> tuple[LazyBuffer]:
    """g where the result is above 0: it reads the result only, so relu may be done in place."""
    g, out = grads[0], outputs[0]
    return (out.like(0).binary(Op.LT, out).where(g, g.like(0)),)


def _sigmoid_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                      grads: Sequence[LazyBuffer]) -> tuple[LazyBuffer]:
    """g * out * (1 - out)"""
    g, out = grads[0], outputs[0]
    return (g.binary(Op.MUL, out.binary(Op.MUL, out.like(1.0).binary(Op.SUB, out))).cast(inputs[0].dtype),)


_elementwise("sigmoid", of_floats(sigmoid_value), """1 / (1 + exp(-self)).

    >>> import minigrad
    >>> minigrad.tensor([0.0, -100.0, 100.0]).sigmoid()
    tensor([5.0000e-01, 3.7835e-44, 1.0000e+00])
    """, gradient=_sigmoid_gradient)
_RELU = Function("relu", lambda x: x.binary(Op.MAXIMUM, x.like(0)), "ReluBackward0", _relu_gradient)


@both("relu")
def relu(self: Tensor) -> Tensor:
    """max(self, 0); its slope at 0 is 0."""
    if self.dtype is bool_:
        raise RuntimeError("Boolean inputs not supported for relu")
    return _RELU((self,))


def _leaky_relu(x: LazyBuffer, slope: LazyBuffer) -> LazyBuffer:
    return x.like(0).binary(Op.LT, x).where(x, x.binary(Op.MUL, slope.expand(x.shape)))


_LEAKY_RELU = Function("leaky_relu", _leaky_relu, "LeakyReluBackward0")


@both("leaky_relu")
def leaky_relu(self: Tensor, negative_slope: float = 0.01) -> Tensor:
    """self where it is above 0, else negative_slope * self."""
    return _LEAKY_RELU((self,), (), ((float(negative_slope), self.dtype),))


_elementwise("silu", of_floats(lambda x: x.binary(Op.MUL, sigmoid_value(x))), "self * sigmoid(self).")


def _gelu(x: LazyBuffer, approximate: str) -> LazyBuffer:
    x = x.cast(floating(x.dtype))
    if approximate == "tanh":
        cube = x.binary(Op.MUL, x).binary(Op.MUL, x)
        inner = x.binary(Op.ADD, cube.binary(Op.MUL, x.like(0.044715))).binary(Op.MUL, x.like(math.sqrt(2 / math.pi)))
        gate = inner.unary(Op.TANH)
    else:
        gate = x.binary(Op.MUL, x.like(math.sqrt(0.5))).unary(Op.ERF)
    return x.binary(Op.MUL, x.like(0.5)).binary(Op.MUL, x.like(1.0).binary(Op.ADD, gate))


_GELU = Function("gelu", _gelu, "GeluBackward0")


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


@both("logsigmoid")
def logsigmoid(self: Tensor) -> Tensor:
    """log(sigmoid(self))."""
    return -(-self).softplus()


@both("logit")
def logit(self: Tensor, eps: float | None = None) -> Tensor:
    """log(self / (1 - self)), self clamped to [eps, 1 - eps] first if ``eps`` is given."""
    x = self if eps is None else self.clamp(eps, 1 - eps)
    return (x / (1 - x)).log()


@both("erfc")
def erfc(self: Tensor) -> Tensor:
    """1 - erf(self)."""
    return 1 - self.erf()


# --- bounds


def _clamp(x: LazyBuffer, low: LazyBuffer | None, high: LazyBuffer | None) -> LazyBuffer:
    out = x
    if low is not None:
        out = out.binary(Op.LT, low).where(low, out)
    return out if high is None else high.binary(Op.LT, out).where(high, out)


_CLAMP, _CLAMP_TENSOR = [MixedFunction("clamp", all_fitted(_clamp), f"ClampBackward{i}") for i in (1, 0)]


@both("clamp", "clip")
def clamp(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Elements below ``min`` become min, those above ``max`` max; bounds are numbers, Tensors or None.

    >>> import minigrad
    >>> minigrad.tensor([-2.0, 0.5, 2.0]).clamp(-1, 1)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min is None and max is None:
        raise RuntimeError("clamp(): At least one of 'min' or 'max' must not be None")
    by_tensor = isinstance(min, Tensor) or isinstance(max, Tensor)
    return (_CLAMP_TENSOR if by_tensor else _CLAMP).mixed((self, min, max))


@both("clamp_min")
def clamp_min(self: Tensor, min: Any) -> Tensor:
    """Elements below ``min`` become min."""
    return self.clamp(min=min)


@both("clamp_max")
def clamp_max(self: Tensor, max: Any) -> Tensor:
    """Elements above ``max`` become max."""
    return self.clamp(max=max)


@both("nan_to_num")
def nan_to_num(self: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """NaN and the infinities replaced; by default by 0 and the largest and lowest numbers of the dtype."""
    if self.dtype.kind != "f":
        return self.clone()
    high = self.dtype.max if posinf is None else posinf
    low = self.dtype.min if neginf is None else neginf
    result = self.masked_fill(self != self, nan)
    result = result.masked_fill(self == math.inf, high)
    return result.masked_fill(self == -math.inf, low)
