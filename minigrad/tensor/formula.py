"""Stage: front. In: LazyBuffers. Out: ``Value``, with the operators of Python, in which long formulas of one dtype and
shape are written; sums of series and polynomials; the Functions that are made of such formulas.
Next: ``circular.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from minigrad.dtype import accumulator, float32, float64, int32
from minigrad.graph.function import apply
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.function import Function
from minigrad.tensor.functions import EXPM1, LOG1P, by_type, double, expm1_of_single, rounded_once, slope
from minigrad.tensor.promotion import floating
from minigrad.tensor.series import EXP

Formula = Callable[..., "Value"]
_LOG_2 = (0.693147182464599609375, -1.904654299957767e-09)
"""log 2 as the sum of a float32 number and a rest."""
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
"""The distance from 1 to the next number of the dtype."""


class Value:
    """A LazyBuffer with operators. Numbers take the dtype and shape of ``kind``: of a condition, what was compared.
    ``digits``: how far the result may be from the truth, as a share of it; by default as far as the dtype is fine.

    >>> from minigrad.dtype import float32
    >>> x = Value(LazyBuffer.const(2.0, float32, (), "CPU"))
    >>> (1 - x * x).lazy.op
    'SUB'
    """

    __slots__ = ("digits", "kind", "lazy")

    def __init__(self, lazy: LazyBuffer, kind: LazyBuffer | None = None, digits: float | None = None) -> None:
        self.lazy = lazy
        self.kind = lazy if kind is None else kind
        self.digits = EPSILON.get(self.kind.dtype.name, 1.0) if digits is None else digits

    def _of(self, other: Any) -> LazyBuffer:
        return other.lazy if isinstance(other, Value) else self.kind.like(float(other))

    def _with(self, op: str, other: Any) -> Value:
        return Value(self.lazy.binary(op, self._of(other)), self.kind, self.digits)

    def _after(self, op: str, other: Any) -> Value:
        return Value(self._of(other).binary(op, self.lazy), self.kind, self.digits)

    def _alone(self, op: str) -> Value:
        return Value(self.lazy.unary(op), self.kind, self.digits)

    def __add__(self, other: Any) -> Value:
        """self + other."""
        return self._with(Op.ADD, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Value:
        """self - other."""
        return self._with(Op.SUB, other)

    def __rsub__(self, other: Any) -> Value:
        """other - self."""
        return self._after(Op.SUB, other)

    def __mul__(self, other: Any) -> Value:
        """self * other."""
        return self._with(Op.MUL, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Value:
        """self / other."""
        return self._with(Op.DIV, other)

    def __rtruediv__(self, other: Any) -> Value:
        """other / self."""
        return self._after(Op.DIV, other)

    def fma(self, factor: Any, term: Any) -> Value:
        """self * factor + term, rounded once."""
        operands = (self.lazy, self._of(factor), self._of(term))
        made = LazyBuffer(Op.FMA, operands, None, self.lazy.shape, self.lazy.dtype, self.lazy.device)
        return Value(made, self.kind, self.digits)

    def __pow__(self, other: Any) -> Value:
        """self to the power of other."""
        return self._with(Op.POW, other)

    def __neg__(self) -> Value:
        """-self."""
        return self._alone(Op.NEG)

    def __lt__(self, other: Any) -> Value:
        """Where self < other; false if one is NaN."""
        return self._with(Op.LT, other)

    def __gt__(self, other: Any) -> Value:
        """Where self > other; false if one is NaN."""
        return self._after(Op.LT, other)

    def equals(self, other: Any) -> Value:
        """Where self == other; false if one is NaN. (``==`` itself stays Python's.)"""
        return self._with(Op.EQ, other)

    def __and__(self, other: Value) -> Value:
        """Where both conditions hold."""
        return self._with(Op.AND, other)

    def __or__(self, other: Value) -> Value:
        """Where one of the conditions holds."""
        return self._with(Op.OR, other)

    def __invert__(self) -> Value:
        """Where the condition does not hold."""
        return self._alone(Op.NOT)

    def exp(self) -> Value:
        """e to the power of self."""
        return self._alone(Op.EXP)

    def log(self) -> Value:
        """The natural logarithm; -inf at 0, NaN below."""
        return self._alone(Op.LOG)

    def sqrt(self) -> Value:
        """The square root; NaN below 0."""
        return self._alone(Op.SQRT)

    def abs(self) -> Value:
        """|self|."""
        return self._alone(Op.ABS)

    def floor(self) -> Value:
        """The largest whole number not above self."""
        return self._alone(Op.FLOOR)

    def round(self) -> Value:
        """The nearest whole number, ties to even."""
        return self._alone(Op.ROUND)

    def sin(self) -> Value:
        """The sine."""
        return self._alone(Op.SIN)

    def cos(self) -> Value:
        """The cosine."""
        return self._alone(Op.COS)

    def erf(self) -> Value:
        """The error function."""
        return self._alone(Op.ERF)

    def log1p(self) -> Value:
        """log(1 + self), with all digits that the result needs also near 0."""
        if not self.has_digits_to_spare():
            return called(LOG1P, self)
        return choose(self.abs() < 2.0**-20, self - self * self * 0.5, (self + 1.0).log())

    def expm1(self) -> Value:
        """exp(self) - 1, with all digits that the result needs also near 0."""
        if not self.has_digits_to_spare():
            return called(EXPM1, self)
        return Value(expm1_of_single(self.lazy), self.kind, self.digits)

    def has_digits_to_spare(self) -> bool:
        """Whether a result of float32 or less is computed in float64, so that shorter formulas do."""
        return self.digits >= EPSILON["float32"] and self.kind.dtype is float64


def choose(condition: Value, yes: Any, no: Any) -> Value:
    """``yes`` where the condition holds, else ``no``."""
    return Value(condition.lazy.where(condition._of(yes), condition._of(no)), None, condition.digits)


def chebyshev(series: Sequence[float], x: Value, low: float, high: float) -> Value:
    """The sum of series[k] * T_k(t), where t goes from -1 to 1 as x goes from low to high. Terms that the dtype cannot
    hold are left out. (C. Clenshaw, 1955) Where x has far more digits than the result needs, the sum is written in
    powers of x, which takes one operation a term and not two."""
    powers = _powers(tuple(series), low, high, x.digits, EPSILON.get(x.kind.dtype.name, 1.0))
    if powers is not None:
        return polynomial(powers, x)
    t = x * (2.0 / (high - low)) - (high + low) / (high - low)
    last = _last_term(series, x.digits)
    twice = t * 2.0
    ahead = behind = None
    for c in reversed(series[1:last + 1]):
        now: Any = c if ahead is None else twice * ahead + c if behind is None else twice.fma(ahead, c - behind)
        ahead, behind = now, ahead
    assert ahead is not None and behind is not None
    return t.fma(ahead, series[0] - behind)


def _last_term(series: Sequence[float], digits: float) -> int:
    """The number of the last term of a Chebyshev series that counts in a result with so many digits."""
    least = max(abs(c) for c in series) * digits / 64
    return max(2, *[k for k, c in enumerate(series) if abs(c) > least])


@lru_cache(maxsize=256)
def _in_powers(series: tuple[float, ...], low: float, high: float, digits: float) -> tuple[float, ...]:
    """The coefficients of the powers of x in a Chebyshev series."""
    kept = np.polynomial.Chebyshev(series[:_last_term(series, digits) + 1], [low, high])
    return tuple(kept.convert(kind=np.polynomial.Polynomial).coef.tolist())


@lru_cache(maxsize=256)
def _powers(series: tuple[float, ...], low: float, high: float, digits: float,
            epsilon: float) -> tuple[float, ...] | None:
    """The same; None if their sum, each term of which is rounded to ``epsilon``, would not have the digits of the
    result."""
    powers = _in_powers(series, low, high, digits)
    size = max(abs(low), abs(high))
    terms = sum(abs(c) * size**k for k, c in enumerate(powers))
    least = np.abs(np.polynomial.Polynomial(powers)(np.linspace(low, high, 65))).min()
    return powers if len(powers) * terms * epsilon < least * digits / 64 else None


def correction(series: Sequence[float], x: Value, low: float, high: float, share: float = 0.5) -> Value:
    """The sum of a Chebyshev series for a term that makes at most this share of a result: in float32 it is written in
    powers of x, whose roundings count little there."""
    if x.kind.dtype is not float32:
        return chebyshev(series, x, low, high)
    return polynomial(_in_powers(tuple(series), low, high, 4 * x.digits / share), x)


def polynomial(coefficients: Sequence[float], x: Value) -> Value:
    """The sum of coefficients[k] * x^k."""
    result: Any = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        result = x.fma(result, c)
    return result


def power_of_two_in(high: Value, low: Value | None = None) -> tuple[Value, Value]:
    """r and s with high + low = r + log(s 2^-64), for float32 numbers from -130 to 44 and rests of them: r is from
    -0.35 to 0.35, s is a power of 2 and never subnormal."""
    shift = 1.5 * 2.0**23 + 127 + 64  # added, it leaves a whole number and the bias of exponents in the last bits
    shifted = high.fma(1 / math.log(2.0), shift)
    n = shifted - shift
    left = n.fma(-_LOG_2[0], high)
    r = n.fma(-_LOG_2[1], left if low is None else left + low)
    bits = shifted.lazy.bitcast(int32)
    return r, Value(bits.binary(Op.SHL, bits.like(23)).bitcast(float32), None, high.digits)


def exp_less_one(r: Value, share: float = 0.07) -> Value:
    """exp(r) - 1 for r from -0.35 to 0.35, in float32; what is neither 1 nor r is at most 0.07 of exp(r), and with a
    smaller ``share`` its series is shorter."""
    return (r * r).fma(correction(EXP, r, -0.35, 0.35, share), r)


def exp_in_parts(high: Value, low: Value) -> tuple[Value, Value]:
    """e and s with exp(high + low) = (1 + e) s 2^-64, for numbers as in ``power_of_two_in``: e is from -0.3 to 0.42, so
    that 1 + e has more digits than float32: to 2^-27."""
    r, s = power_of_two_in(high, low)
    return exp_less_one(r, 0.05), s


def sine_of_pi(x: Value) -> tuple[Value, Value]:
    """|sin(πx)|, exactly 0 at whole numbers, and cos(πx) / sin(πx)."""
    rest = (x - x.round()) * math.pi
    sine = rest.sin()
    return sine.abs(), rest.cos() / sine


def in_own_type(formula: Formula) -> Callable[..., LazyBuffer]:
    """The formula of one Value and static arguments, computed in its dtype, of half types in float32."""
    return rounded_once(wrapped(formula))


def wrapped(formula: Formula) -> Callable[..., LazyBuffer]:
    """The formula over Values, as one over LazyBuffers; static arguments follow them."""

    def computed(*arguments: Any) -> LazyBuffer:
        return formula(*[Value(a) if isinstance(a, LazyBuffer) else a for a in arguments]).lazy

    return computed


def elementwise(name: str, formula: Formula, derivative: Formula | None = None, node: str = "",
                exactly: bool = False, wide: bool = True) -> Function:
    """A function of each element. ``derivative(x, out)``; without one, it follows from the formula. Integers become
    floats. The formula is computed in float64 and its value is rounded once; series are as long as the result needs,
    or as float64 needs if ``exactly``, for formulas in which much may cancel. Not ``wide``: it is written so that its
    own dtype will do."""
    by_hand = None
    if derivative is not None:
        known = wrapped(derivative)
        by_hand = slope(lambda g, x, out: g.binary(Op.MUL, known(x, out)))
    title = "".join(part.capitalize() for part in name.split("_"))
    compute, by_hand = by_type(name, in_double(formula, exactly) if wide else in_own_type(formula), by_hand)
    return Function(name, compute, f"{node or title}Backward0", by_hand)


def in_double(formula: Formula, exactly: bool = False) -> Callable[..., LazyBuffer]:
    """The formula of one Value and static arguments, computed as ``elementwise`` says; of complex numbers as it is."""

    def computed(x: LazyBuffer, *static: Any) -> LazyBuffer:
        dtype = floating(x.dtype)
        digits = None if exactly else EPSILON.get(dtype.name)
        return formula(Value(x.cast(dtype).cast(double(x)), None, digits), *static).lazy.cast(dtype)

    return computed


def called(function: Function, x: Value, *static: Any) -> Value:
    """Another Function's value in a formula: a node of its own, with its own derivative."""
    return Value(apply(function.body.at([x.lazy], static), [x.lazy])[0], None, x.digits)


def widened(*values: LazyBuffer) -> list[Value]:
    """The values in the dtype in which formulas are computed."""
    return [Value(v.cast(accumulator(v.dtype))) for v in values]
