"""Stage: front. In: a Tensor. Out: the circular and hyperbolic functions of its elements, their inverses, and
logarithms to other bases, recorded.
Next: ``special.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from minigrad.dtype import float64, int32, int64
from minigrad.ops import Op
from minigrad.tensor import series
from minigrad.tensor.definition import both, in_place
from minigrad.tensor.formula import Value, called, chebyshev, choose, correction, elementwise
from minigrad.tensor.function import Function

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

# log10(2) as the sum of a number with 12 zeros at its end, so that its product with an exponent is exact, and a rest
LOG10_2 = (0.30102999566361177, 3.694239077158931e-13)
RIGHT_ANGLE = {"float32": (1.5707963705062866, -4.371139000186241e-08),
               "float64": (math.pi / 2, 6.123233995736766e-17)}
"""π/2 as the sum of a number of the dtype and a rest."""
_FAR = 709.0
"""Beyond, exp(x) may overflow although exp(x) / 2 does not."""


def _tan(x: Value) -> Value:
    return x.sin() / x.cos()


def _sinh(x: Value) -> Value:
    """(e + e / (e + 1)) / 2 with e = exp(|x|) - 1, which keeps the digits near 0."""
    size, beyond = _reachable(x.abs())
    e = size.expm1()
    value = beyond((e + e / (e + 1.0)) * 0.5)
    return choose(x < 0.0, -value, choose(x.equals(0.0), x, value))


def _cosh(x: Value) -> Value:
    size, beyond = _reachable(x.abs())
    e = size.exp()
    return beyond((e + 1.0 / e) * 0.5)


def _reachable(size: Value) -> tuple[Value, Callable[[Value], Value]]:
    """A size whose exp does not overflow, and what makes of the value there that of the real size: from ``_FAR`` on
    exp(size) / 2. Results of float32 overflow long before."""
    if size.has_digits_to_spare():
        return choose(size > _FAR, _FAR, size), lambda value: value
    far = size > _FAR
    half = (size - _FAR).exp() * (math.exp(_FAR) / 2)
    return choose(far, 0.0, size), lambda value: choose(far, half, value)


def _split(x: Value) -> tuple[Value, Value]:
    """e and m with x = 2^e m and sqrt(1/2) <= m < sqrt(2), for x > 0."""
    wide = x.lazy.dtype is float64
    whole, fraction, least = (int64, 52, 0x3FE6A09E667F3BCD) if wide else (int32, 23, 0x3F3504F3)
    normal = 2.0**-1022 if wide else 2.0**-126
    tiny = x < normal
    bits = choose(tiny, x * 2.0 ** (fraction + 2), x).lazy.bitcast(whole)
    moved = bits.binary(Op.SUB, bits.like(least))
    exponent = Value(moved.binary(Op.SHR, moved.like(fraction)).cast(x.lazy.dtype), None, x.digits)
    part = moved.binary(Op.AND, moved.like((1 << fraction) - 1)).binary(Op.ADD, moved.like(least))
    return exponent - choose(tiny, fraction + 2.0, 0.0), Value(part.bitcast(x.lazy.dtype), None, x.digits)


def _log2(x: Value) -> Value:
    """e + log2(m), so that it is exact for powers of 2."""
    e, m = _split(x)
    return choose((x > 0.0) & (x < math.inf), m.log() * (1.0 / math.log(2.0)) + e, x.log())


def _log10(x: Value) -> Value:
    e, m = _split(x)
    value = (e * LOG10_2[1] + m.log() * math.log10(math.e)) + e * LOG10_2[0]
    return choose((x > 0.0) & (x < math.inf), value, x.log())


_TAN = elementwise("tan", _tan, lambda x, out: out * out + 1.0)
_SINH: Function = elementwise("sinh", _sinh, lambda x, out: called(_COSH, x))
_COSH: Function = elementwise("cosh", _cosh, lambda x, out: called(_SINH, x))
_LOG2 = elementwise("log2", _log2, lambda x, out: 1.0 / (x * math.log(2.0)))
_LOG10 = elementwise("log10", _log10, lambda x, out: 1.0 / (x * math.log(10.0)))


# --- inverse circular and hyperbolic functions


def _atan(x: Value) -> Value:
    """Above 1 the rest to a right angle, whose rounding goes to the smaller term."""
    large = x.abs() > 1.0
    inner = choose(large, 1.0 / x, x)
    square = inner * inner
    angle = (inner * square).fma(correction(series.ATAN, square, 0.0, 1.0), inner)
    right, rest = RIGHT_ANGLE[x.kind.dtype.name]
    sign = choose(x < 0.0, -1.0, 1.0)
    return choose(large, sign * right - sign.fma(-rest, angle), choose(x.equals(0.0), x, angle))


def _half_angle(size: Value) -> Value:
    """acos(size), size in [0.5, 1], as 2 asin(sqrt((1 - size) / 2))."""
    square = (1.0 - size) * 0.5
    return chebyshev(series.ASIN, choose(square < 0.25, square, 0.25), 0.0, 0.25) * square.sqrt() * 2.0


def _asin(x: Value) -> Value:
    size = x.abs()
    inner = choose(size < 0.5, x, 0.5)
    outer = math.pi / 2 - _half_angle(choose(size < 0.5, 0.5, size))
    return choose(size < 0.5, chebyshev(series.ASIN, inner * inner, 0.0, 0.25) * inner,
                  choose(x < 0.0, -outer, outer))


def _acos(x: Value) -> Value:
    size = x.abs()
    inner = choose(size < 0.5, x, 0.5)
    outer = _half_angle(choose(size < 0.5, 0.5, size))
    return choose(size < 0.5, math.pi / 2 - chebyshev(series.ASIN, inner * inner, 0.0, 0.25) * inner,
                  choose(x < 0.0, math.pi - outer, outer))


def _asinh(x: Value) -> Value:
    size = x.abs()
    large = size > 1e9
    inner = choose(large, 1.0, size)
    value = (inner + inner * inner / (1.0 + (1.0 + inner * inner).sqrt())).log1p()
    value = choose(large, size.log() + math.log(2.0), value)
    return choose(x < 0.0, -value, choose(x.equals(0.0), x, value))


def _acosh(x: Value) -> Value:
    large = x > 1e9
    t = choose(large, 1.0, x - 1.0)
    value = choose(large, x.log() + math.log(2.0), (t + (2.0 * t + t * t).sqrt()).log1p())
    return choose(x < 1.0, math.nan, value)


def _atanh(x: Value) -> Value:
    size = x.abs()
    value = (2.0 * size / (1.0 - size)).log1p() * 0.5
    return choose(x < 0.0, -value, choose(x.equals(0.0), x, value))


_ATAN = elementwise("atan", _atan, lambda x, out: 1.0 / (1.0 + x * x), wide=False)
_ASIN = elementwise("asin", _asin, lambda x, out: 1.0 / (1.0 - x * x).sqrt())
_ACOS = elementwise("acos", _acos, lambda x, out: -1.0 / (1.0 - x * x).sqrt())
_ASINH = elementwise("asinh", _asinh, lambda x, out: 1.0 / (1.0 + x * x).sqrt())
_ACOSH = elementwise("acosh", _acosh, lambda x, out: 1.0 / (x * x - 1.0).sqrt())
_ATANH = elementwise("atanh", _atanh, lambda x, out: 1.0 / (1.0 - x * x))


class Circular:
    """The circular and hyperbolic functions, their inverses, and logarithms to other bases."""

    __slots__ = ()

    @both("tan")
    def tan(self: Tensor) -> Tensor:
        """sin(self) / cos(self)."""
        return _TAN((self,))

    tan_ = in_place(tan)

    @both("sinh")
    def sinh(self: Tensor) -> Tensor:
        """(exp(self) - exp(-self)) / 2."""
        return _SINH((self,))

    sinh_ = in_place(sinh)

    @both("cosh")
    def cosh(self: Tensor) -> Tensor:
        """(exp(self) + exp(-self)) / 2."""
        return _COSH((self,))

    cosh_ = in_place(cosh)

    @both("log2")
    def log2(self: Tensor) -> Tensor:
        """The logarithm to base 2."""
        return _LOG2((self,))

    log2_ = in_place(log2)

    @both("log10")
    def log10(self: Tensor) -> Tensor:
        """The logarithm to base 10."""
        return _LOG10((self,))

    log10_ = in_place(log10)

    # --- inverse circular and hyperbolic functions

    @both("atan", "arctan")
    def atan(self: Tensor) -> Tensor:
        """The angle in (-π/2, π/2) whose tangent is self."""
        return _ATAN((self,))

    arctan = atan
    atan_ = in_place(atan)
    arctan_ = atan_

    @both("asin", "arcsin")
    def asin(self: Tensor) -> Tensor:
        """The angle in [-π/2, π/2] whose sine is self; NaN outside [-1, 1]."""
        return _ASIN((self,))

    arcsin = asin
    asin_ = in_place(asin)
    arcsin_ = asin_

    @both("acos", "arccos")
    def acos(self: Tensor) -> Tensor:
        """The angle in [0, π] whose cosine is self; NaN outside [-1, 1]."""
        return _ACOS((self,))

    arccos = acos
    acos_ = in_place(acos)
    arccos_ = acos_

    @both("asinh", "arcsinh")
    def asinh(self: Tensor) -> Tensor:
        """The inverse of sinh."""
        return _ASINH((self,))

    arcsinh = asinh
    asinh_ = in_place(asinh)
    arcsinh_ = asinh_

    @both("acosh", "arccosh")
    def acosh(self: Tensor) -> Tensor:
        """The inverse of cosh on [1, inf)."""
        return _ACOSH((self,))

    arccosh = acosh
    acosh_ = in_place(acosh)
    arccosh_ = acosh_

    @both("atanh", "arctanh")
    def atanh(self: Tensor) -> Tensor:
        """The inverse of tanh on (-1, 1)."""
        return _ATANH((self,))

    arctanh = atanh
    atanh_ = in_place(atanh)
    arctanh_ = atanh_
