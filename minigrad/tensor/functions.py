"""Stage: front. In: a Tensor. Out: a function of each of its elements, recorded: exp, log, sin, floor, relu, gelu …
Formulas are written so that neither they nor their derivatives overflow or lose digits.
Next: ``comparison.py``."""

from __future__ import annotations

import math
from typing import Any

from minigrad.autograd.mode import mode
from minigrad.autograd.node import Node, kind, stand_in
from minigrad.dtype import DType, accumulator, bool_, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.base import Tensor, both, make, record, record_unary, twin
from minigrad.tensor.operands import fit_all
from minigrad.tensor.promotion import floating, type_name


def _primitive(name: str, op: str, node: type[Node], doc: str, *more: str) -> None:
    """A function that is one op. On integers it computes in the default floating type."""

    def function(self: Tensor) -> Tensor:
        la = self._read()
        xa = la if la.dtype.kind == "f" else la.cast(floating(la.dtype))
        return record_unary(node, LazyBuffer(op, (xa,), None, xa.shape, xa.dtype, xa.device), self, la)

    function.__doc__ = doc
    both(name, *more)(function)


for _name, _op, _saves, _doc in (
    ("exp", Op.EXP, "output", "e to the power of each element."),
    ("log", Op.LOG, "inputs", "The natural logarithm; -inf at 0, NaN below."),
    ("sqrt", Op.SQRT, "output", "The square root; NaN below 0."),
    ("sin", Op.SIN, "inputs", "The sine of an angle in radians."),
    ("cos", Op.COS, "inputs", "The cosine of an angle in radians."),
    ("tanh", Op.TANH, "output", "The hyperbolic tangent."),
    ("erf", Op.ERF, "inputs", "The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x."),
):
    _primitive(_name, _op, kind(f"{_name.capitalize()}Backward0", _saves), _doc)


def _rounding(name: str, op: str, doc: str, *more: str) -> None:
    """A function that leaves integers as they are."""
    node = kind(f"{name.capitalize()}Backward0")

    def function(self: Tensor) -> Tensor:
        la = self._read()
        if la.dtype is bool_:
            raise NotImplementedError(f"\"{name}\" not implemented for 'Bool'")
        return record_unary(node, la.unary(op) if la.dtype.kind == "f" else la.contiguous(), self, la)

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
    la = self._read()
    if la.dtype.kind != "f":
        return record_unary(_ROUND, la.contiguous(), self, la)
    if decimals:
        return (self * 10.0**decimals).round() / 10.0**decimals if decimals > 0 else (
            self / 10.0**-decimals).round() * 10.0**-decimals
    return record_unary(_ROUND, la.unary(Op.ROUND), self, la)


_ROUND = kind("RoundBackward0")


@both("frac")
def frac(self: Tensor) -> Tensor:
    """self - trunc(self)."""
    return self - self.trunc()


# --- from the primitives


def _floats(self: Tensor) -> tuple[LazyBuffer, LazyBuffer]:
    la = self._read()
    return la, la if la.dtype.kind == "f" else la.cast(floating(la.dtype))


def _wide(self: Tensor) -> tuple[LazyBuffer, LazyBuffer, DType]:
    """Its value; that as floats, a half type in float32, so that a function of several steps rounds once, at the end;
    and the dtype of the result."""
    la, x = _floats(self)
    return la, x.cast(accumulator(x.dtype)), x.dtype


def _unary(name: str, saves: str = "inputs") -> type[Node]:
    return kind(f"{name}Backward0", saves)


@both("reciprocal")
def reciprocal(self: Tensor) -> Tensor:
    """1 / self."""
    la, x = _floats(self)
    return record_unary(_unary("Reciprocal", "output"), x.like(1.0).binary(Op.DIV, x), self, la)


@both("rsqrt")
def rsqrt(self: Tensor) -> Tensor:
    """1 / sqrt(self)."""
    la, x = _floats(self)
    return record_unary(_unary("Rsqrt", "output"), x.like(1.0).binary(Op.DIV, x.unary(Op.SQRT)), self, la)


@both("square")
def square(self: Tensor) -> Tensor:
    """self * self."""
    la = self._read()
    x = la if la.dtype is not bool_ else la.cast(int64)
    return record_unary(_unary("Pow"), x.binary(Op.MUL, x), self, la)


@both("sign", "sgn")
def sign(self: Tensor) -> Tensor:
    """-1, 0 or 1 by the sign of each element; its slope is 0."""
    la = self._read()
    if la.dtype is bool_:
        return record_unary(_unary("Sign", ""), la.contiguous(), self, la)
    zero, one = la.like(0), la.like(1)
    minus = one.unary(Op.NEG) if la.dtype.kind != "u" else zero
    out = zero.binary(Op.LT, la).where(one, la.binary(Op.LT, zero).where(minus, zero))
    return record_unary(_unary("Sign", ""), out, self, la)


@both("tan")
def tan(self: Tensor) -> Tensor:
    """sin(self) / cos(self)."""
    la, x = _floats(self)
    return record_unary(_unary("Tan", "output"), x.unary(Op.SIN).binary(Op.DIV, x.unary(Op.COS)), self, la)


@both("sinh")
def sinh(self: Tensor) -> Tensor:
    """(exp(self) - exp(-self)) / 2."""
    return (self.expm1() - (-self).expm1()) * 0.5


@both("cosh")
def cosh(self: Tensor) -> Tensor:
    """(exp(self) + exp(-self)) / 2."""
    return (self.exp() + (-self).exp()) * 0.5


@both("log2")
def log2(self: Tensor) -> Tensor:
    """The logarithm to base 2."""
    la, x, dtype = _wide(self)
    return record_unary(_unary("Log2"), x.unary(Op.LOG).binary(Op.DIV, x.like(math.log(2.0))).cast(dtype), self, la)


@both("log10")
def log10(self: Tensor) -> Tensor:
    """The logarithm to base 10."""
    la, x, dtype = _wide(self)
    return record_unary(_unary("Log10"), x.unary(Op.LOG).binary(Op.DIV, x.like(math.log(10.0))).cast(dtype), self, la)


@both("exp2")
def exp2(self: Tensor) -> Tensor:
    """2 to the power of each element."""
    la, x = _floats(self)
    return record_unary(_unary("Exp2", "output"), x.like(2.0).binary(Op.POW, x), self, la)


@both("log1p")
def log1p(self: Tensor) -> Tensor:
    """log(1 + self), exact to the last digits also near 0.

    With u = 1 + x rounded, log(u) * x / (u - 1) repairs what the rounding lost (W. Kahan). Differentiated as log(u).
    """
    la, x = _floats(self)
    one = x.like(1.0)
    u = one.binary(Op.ADD, x)
    log = u.unary(Op.LOG)
    repaired = log.binary(Op.MUL, x.binary(Op.DIV, u.binary(Op.SUB, one)))
    plain = u.binary(Op.EQ, x.like(math.inf)).where(u, log)
    small = u.binary(Op.EQ, one)
    out = small.where(x, u.binary(Op.LT, x.like(1e6)).where(repaired, plain))
    return record(_unary("Log1P"), (out,), (self,), (la,), structure={out: (Op.LOG, (u,), None)})[0]


@both("expm1", "special_expm1")
def expm1(self: Tensor) -> Tensor:
    """exp(self) - 1, exact to the last digits also near 0.

    With u = exp(x) rounded, (u - 1) * x / log(u) repairs what the rounding lost (W. Kahan).
    """
    la, x = _floats(self)
    one = x.like(1.0)
    u = x.unary(Op.EXP)
    less = u.binary(Op.SUB, one)
    repaired = less.binary(Op.MUL, x.binary(Op.DIV, u.unary(Op.LOG)))
    near = x.unary(Op.ABS).binary(Op.LT, one)
    out = u.binary(Op.EQ, one).where(x, near.where(repaired, less))
    return record(_unary("Expm1", "output"), (out,), (self,), (la,), structure={out: (Op.SUB, (u, one), None)})[0]


# --- activations


def sigmoid_value(x: LazyBuffer) -> LazyBuffer:
    """1 / (1 + exp(-x)) without overflow: z / (1 + z) with z = exp(x) below 0, 1 / (1 + z) with z = exp(-x) above."""
    below = x.binary(Op.LT, x.like(0.0))
    z = below.where(x, x.unary(Op.NEG)).unary(Op.EXP)
    one = x.like(1.0)
    return below.where(z, one).binary(Op.DIV, one.binary(Op.ADD, z))


@both("sigmoid")
def sigmoid(self: Tensor) -> Tensor:
    """1 / (1 + exp(-self)).

    >>> import minigrad
    >>> minigrad.tensor([0.0, -100.0, 100.0]).sigmoid()
    tensor([5.0000e-01, 3.7835e-44, 1.0000e+00])
    """
    la, x, dtype = _wide(self)
    return record_unary(_unary("Sigmoid"), sigmoid_value(x).cast(dtype), self, la)


@both("relu")
def relu(self: Tensor) -> Tensor:
    """max(self, 0); its slope at 0 is 0. Backward reads the result only, so it may be done in place."""
    la = self._read()
    if la.dtype is bool_:
        raise RuntimeError("Boolean inputs not supported for relu")
    out = la.binary(Op.MAXIMUM, la.like(0))
    if not (self._requires_grad and mode.enabled):
        return make(out)
    result, zero = twin(out), la.like(0)
    ghost = stand_in(la.shape, la.dtype, la.device)
    gate = (Op.WHERE, (zero.binary(Op.LT, result), ghost, zero), None)
    return record(_RELU, (out,), (self,), (ghost,), stops=(result,), structure={out: gate})[0]


_RELU = kind("ReluBackward0", "output")


@both("leaky_relu")
def leaky_relu(self: Tensor, negative_slope: float = 0.01) -> Tensor:
    """self where it is above 0, else negative_slope * self."""
    la = self._read()
    out = la.like(0).binary(Op.LT, la).where(la, la.binary(Op.MUL, la.like(float(negative_slope))))
    return record_unary(_unary("LeakyRelu"), out, self, la)


@both("silu")
def silu(self: Tensor) -> Tensor:
    """self * sigmoid(self)."""
    la, x, dtype = _wide(self)
    return record_unary(_unary("Silu"), x.binary(Op.MUL, sigmoid_value(x)).cast(dtype), self, la)


@both("gelu")
def gelu(self: Tensor, approximate: str = "none") -> Tensor:
    """self * P(N <= self) for a standard normal N; ``approximate="tanh"`` takes the formula with tanh.
    (Hendrycks, Gimpel 2016)"""
    la, x, dtype = _wide(self)
    half, one = x.like(0.5), x.like(1.0)
    if approximate == "tanh":
        cube = x.binary(Op.MUL, x).binary(Op.MUL, x)
        inner = x.binary(Op.ADD, cube.binary(Op.MUL, x.like(0.044715))).binary(Op.MUL, x.like(math.sqrt(2 / math.pi)))
        gate = inner.unary(Op.TANH)
    elif approximate == "none":
        gate = x.binary(Op.MUL, x.like(math.sqrt(0.5))).unary(Op.ERF)
    else:
        raise RuntimeError("approximate argument must be either none or tanh.")
    out = x.binary(Op.MUL, half).binary(Op.MUL, one.binary(Op.ADD, gate))
    return record_unary(_unary("Gelu"), out.cast(dtype), self, la)


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


_CLAMP, _CLAMP_TENSOR = kind("ClampBackward1", "inputs"), kind("ClampBackward0", "inputs")


@both("clamp", "clip")
def clamp(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Elements below ``min`` become min, those above ``max`` max; bounds are numbers, Tensors or None.

    >>> import minigrad
    >>> minigrad.tensor([-2.0, 0.5, 2.0]).clamp(-1, 1)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min is None and max is None:
        raise RuntimeError("clamp(): At least one of 'min' or 'max' must not be None")
    bounds = [b for b in (min, max) if b is not None]
    tensors, lazies, (x, *fitted) = fit_all((self, *bounds))
    out = x
    if min is not None:
        out = out.binary(Op.LT, fitted[0]).where(fitted[0], out)
    if max is not None:
        out = fitted[-1].binary(Op.LT, out).where(fitted[-1], out)
    return record(_CLAMP if len(tensors) == 1 else _CLAMP_TENSOR, (out,), tensors, lazies)[0]


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


def check_floating(self: Tensor, name: str) -> None:
    """``RuntimeError`` for a dtype that the function ``name`` has no meaning for."""
    if self.dtype.kind != "f":
        raise NotImplementedError(f"\"{name}\" not implemented for '{type_name(self.dtype)}'")
