"""Stage: lower, below the pass ``transcendental``. In: the operands of a POW. Out: its value in other ops.
The special cases are those of IEEE 754's pow.
Next: ``bind.py``."""

from __future__ import annotations

from minigrad.dtype import DType, float32, float64
from minigrad.kernel.ir import Apply, Const, Value
from minigrad.lower.passes import polynomials as table
from minigrad.lower.passes.expressions import (
    FORMATS,
    INFINITY,
    LN2,
    NAN,
    absolute,
    bitcast,
    cast,
    equal,
    floor,
    fma,
    halves_of_power,
    horner,
    maximum,
    minimum,
    reduced,
    split,
    where,
)
from minigrad.ops import Op

# log(2) as the sum of a number of 42 bits, whose product with an exponent is exact, and a rest
LN2_SHORT = (0.6931471805598903, 5.497923018708371e-14)
THIRD = (1 / 3, 1.850371707708594e-17)


SHORT = (1.0, -1.0, 2.0, 3.0, 4.0, 0.5, -0.5)
"""Exponents, beside 0, with a form of their own, whether they are known before the program runs or not: the result must
not depend on that."""


def power(x: Value, y: Value) -> Value:
    """x to the power y."""
    short = _known(x, y)
    if short is not None:
        return short
    if not x.dtype.is_float:
        return _integer_power(x, y)
    return _float_power(x, y) if isinstance(y, Const) else _with_short(x, y, _float_power(x, y))


def short_power(x: Value, y: Value) -> Value | None:
    """x to the power y with POW itself only where it is a transcendental function: not of integers, nor for the
    exponents ``SHORT``. None if it is nothing else."""
    short = _known(x, y)
    if short is not None or not x.dtype.is_float:
        return _integer_power(x, y) if short is None else short
    return None if isinstance(y, Const) else _with_short(x, y, Apply(Op.POW, (x, y), x.dtype))


def _known(x: Value, y: Value) -> Value | None:
    """x to the power of a constant that has a form of its own."""
    if not isinstance(y, Const):
        return None
    return _constant_float(x, float(y.value)) if x.dtype.is_float else _constant_integer(x, int(y.value))


def _with_short(x: Value, y: Value, general: Value) -> Value:
    """The forms of ``SHORT`` where y is one of them, else ``general``."""
    for exponent in SHORT:
        special = _constant_float(x, exponent)
        assert special is not None
        general = where(equal(y, exponent), special, general)
    return general


# --- floats ------------------------------------------------------------------------------------------------------


def _constant_float(x: Value, y: float) -> Value | None:
    """Forms that are as exact and shorter."""
    if y == 0.0:
        return Const(1.0, x.dtype)
    if y == 1.0:
        return x
    if y == -1.0:
        return 1.0 / x
    if y in (2.0, 3.0, 4.0):
        square = x * x
        return square if y == 2.0 else square * (x if y == 3.0 else square)
    if y in (0.5, -0.5):  # of -0 it is that of 0, and -inf is not a negative number here
        root = Apply(Op.SQRT, (x + 0.0,), x.dtype)
        return where(equal(x, -INFINITY), INFINITY if y > 0 else 0.0, root if y > 0 else 1.0 / root)
    return None


def _float_power(x: Value, y: Value) -> Value:
    """|x|^y with the sign, and NaN, that a negative x brings."""
    form = FORMATS[x.dtype]
    size = absolute(x)
    magnitude = _single(size, y) if x.dtype is float32 else _double(size, y)
    half = y * 0.5
    whole = equal(floor(y), y)
    odd = whole & ~equal(floor(half), half)
    sign = bitcast(x, form.bits) & where(odd, form.sign, Const(0, form.bits))
    result = bitcast(bitcast(magnitude, form.bits) | sign, form.dtype)
    undefined = (x < 0.0) & (x > -INFINITY) & ~whole
    result = where(undefined, NAN, result)
    return where(equal(y, 0.0) | equal(x, 1.0), 1.0, result)


def _logarithm_where_finite(x: Value, value: Value) -> Value:
    """``value``, but -inf for 0 and x itself for inf and NaN."""
    return where((x > 0.0) & (x < INFINITY), value, where(equal(x, 0.0), -INFINITY, x))


def _single(x: Value, y: Value) -> Value:
    """exp(y·log x) of float32 numbers in float64, with polynomials good for 2^-37: y·log x is below 110 where the
    result is neither 0 nor inf."""
    form = FORMATS[float64]
    wide = cast(x, float64)
    e, f = split(form, wide, subnormal=False)
    s = f / (f + 2.0)
    z = s * s
    logarithm = fma(e, LN2["float64"][0], fma(s * z, horner(table.LOG_36, z), s + s))
    exponent = maximum(minimum(cast(y, float64), 2.0**200), -(2.0**200))
    product = _logarithm_where_finite(wide, logarithm) * exponent
    shifted, r = reduced(form, maximum(minimum(product, 90.0), -110.0), form.shifter)
    p = fma(r, fma(r, horner(table.EXP_36, r), 1.0), 1.0)
    return cast(p * bitcast(bitcast(shifted, form.bits) << form.fraction, float64), float32)


def _double(x: Value, y: Value) -> Value:
    """exp(y·log x) with log x as the sum of two numbers, good for 2^-64 of it."""
    form = FORMATS[float64]
    high, low = _long_logarithm(x)
    high = _logarithm_where_finite(x, high)
    y = maximum(minimum(y, 2.0**65), -(2.0**65))  # more makes no difference, and the product stays finite
    product = y * high
    rest = fma(y, low, fma(y, high, -product))
    rest = minimum(maximum(rest, -0.25), 0.25)  # it is larger only where the product is out of range
    rest = where(equal(rest, rest), rest, Const(0.0, float64))
    product = maximum(minimum(product, 711.0), -746.0)
    shifted, r = reduced(form, product, form.shifter + form.bias)
    r = r + rest
    p = fma(r, fma(r, horner(table.EXP_64, r), 1.0), 1.0)
    first, second = halves_of_power(form, shifted)
    return p * first * second


def _long_logarithm(x: Value) -> tuple[Value, Value]:
    """log x = e·log 2 + 2·atanh(s), s = f/(2+f), as the sum of two numbers. atanh(s) = s·(1 + z·(1/3 + z·LOG_66(z)))
    with z = s², in which all but the last term are sums of two."""
    e, f = split(FORMATS[float64], x)
    below = f + 2.0
    below_rest = f - (below - 2.0)
    inverse = 1.0 / below
    s = f * inverse
    s_rest = fma(-s, below_rest, fma(-s, below, f)) * inverse
    z, z_rest = _exact_product(s, s)
    z_rest = fma(s + s, s_rest, z_rest)
    t = z * horner(table.LOG_66, z)
    c = t + THIRD[0]
    c_rest = ((THIRD[0] - c) + t) + THIRD[1]
    w, w_rest = _exact_product(z, c)
    w_rest = fma(z, c_rest, fma(z_rest, c, w_rest))
    v, v_rest = _exact_product(s, w)
    v_rest = fma(s, w_rest, fma(s_rest, w, v_rest))
    a = s + v
    a_rest = ((s - a) + v) + (s_rest + v_rest)
    a, a_rest = a + a, a_rest + a_rest
    whole = e * LN2_SHORT[0]
    high = whole + a
    low = ((whole - high) + a) + fma(e, LN2_SHORT[1], a_rest)
    return high, low


def _exact_product(a: Value, b: Value) -> tuple[Value, Value]:
    """a·b as the sum of two numbers."""
    product = a * b
    return product, fma(a, b, -product)


# --- integers ----------------------------------------------------------------------------------------------------


def _constant_integer(x: Value, y: int) -> Value | None:
    """Squarings and products for the bits of y."""
    if y < 0:
        return None
    result: Value | None = None
    square = x
    while y:
        if y & 1:
            result = square if result is None else result * square
        y >>= 1
        if y:
            square = square * square
    return Const(1, x.dtype) if result is None else result


def _integer_power(x: Value, y: Value) -> Value:
    """The same for every bit that the exponent may have, chosen at run time."""
    dtype: DType = x.dtype
    one, zero = Const(1, dtype), Const(0, dtype)
    square, result = x, where(equal(y & 1, 0), one, x)
    for bit in range(1, dtype.bits - (dtype.kind == "i")):
        square = square * square
        result = result * where(equal(y & (1 << bit), 0), one, square)
    if dtype.kind == "u":
        return result
    minus = Const(-1, dtype)
    of_minus = where(equal(y & 1, 0), one, minus)
    inverse = where(equal(x, 1), one, where(equal(x, -1), of_minus, zero))
    return where(y < 0, inverse, result)
