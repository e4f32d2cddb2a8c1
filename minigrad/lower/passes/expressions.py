"""Stage: lower, below the pass ``transcendental``. In: values and Python numbers. Out: values. Short names for the
ops that approximations are written in, what one must know of a float format, and the steps that several share.
Next: ``transcendental.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minigrad.dtype import DType, bool_, float32, float64, int32, int64, uint32, uint64
from minigrad.kernel.ir import Apply, Const, Value, applied
from minigrad.ops import Op

INFINITY, NAN = float("inf"), float("nan")


@dataclass(frozen=True)
class Format:
    """A float dtype and the unsigned integers that hold its bits: sign, exponent + ``bias``, ``fraction`` bits.

    ``shifter``: added to a float n of moderate size it gives a number whose lowest bits are round(n) + bias: shifted
    left by ``fraction`` these are the float 2^round(n).
    """

    dtype: DType
    bits: DType
    fraction: int
    bias: int

    @property
    def shifter(self) -> float:
        return 1.5 * 2.0**self.fraction + self.bias

    @property
    def sign(self) -> int:
        return 1 << (self.bits.bits - 1)

    @property
    def least_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    @property
    def infinity(self) -> int:
        """The bits of inf."""
        return (2 * self.bias + 1) << self.fraction


FORMATS = {float32: Format(float32, uint32, 23, 127), float64: Format(float64, uint64, 52, 1023)}

LOG2_E = 1.4426950408889634
# log(2) as the sum of a number of the dtype and a rest
LN2 = {"float32": (0.693147182464599609375, -1.904654299957767e-09),
       "float64": (0.69314718055994530942, 2.3190468138462996e-17)}

SIGNED = {"float32": int32, "float64": int64}
ROOT_HALF = {"float32": 0x3F3504F3, "float64": 0x3FE6A09E667F3BCD}  # the bits of sqrt(1/2)


def maximum(a: Value, b: Value | float) -> Value:
    """The larger of ``a`` and ``b``; NaN if one is."""
    return applied(Op.MAXIMUM, a, b)


def minimum(a: Value, b: Value | float) -> Value:
    """The smaller of ``a`` and ``b``; NaN if one is."""
    return applied(Op.MINIMUM, a, b)


def equal(a: Value, b: Value | float) -> Value:
    """``a == b``, as a bool; false if one is NaN."""
    return Apply(Op.EQ, (a, Const(b, a.dtype) if isinstance(b, (int, float)) else b), bool_)


def absolute(a: Value) -> Value:
    """``|a|``; of a float only the sign bit changes."""
    return Apply(Op.ABS, (a,), a.dtype)


def where(condition: Value, a: Value | float, b: Value | float) -> Value:
    """``a`` where the condition holds, else ``b``; one of them may be a Python number."""
    chosen = applied(Op.WHERE, a, b)
    return Apply(Op.WHERE, (condition, *chosen.srcs), chosen.dtype)


def fma(a: Value, b: Value | float, c: Value | float) -> Value:
    """``a*b + c``, rounded once."""
    srcs = tuple([Const(x, a.dtype) if isinstance(x, (int, float)) else x for x in (a, b, c)])
    return Apply(Op.FMA, srcs, a.dtype)


def floor(a: Value) -> Value:
    """The largest whole number that is not above ``a``, in its dtype."""
    return Apply(Op.FLOOR, (a,), a.dtype)


def cast(a: Value, dtype: DType) -> Value:
    """The number ``a`` in a dtype, converted by the rules of CAST if it has another."""
    return a if a.dtype is dtype else Apply(Op.CAST, (a,), dtype)


def bitcast(a: Value, dtype: DType) -> Value:
    """The bits of ``a``, read as another dtype of the same size."""
    return Apply(Op.BITCAST, (a,), dtype)


def horner(coefficients: Sequence[float], t: Value) -> Value:
    """The polynomial with these coefficients, the lowest first.

    >>> from minigrad.kernel.ir import Local
    >>> horner((1.0, 2.0, 3.0), Local("t", float32)).srcs[2]
    Const(value=1.0, dtype=minigrad.float32)
    """
    *rest, last = coefficients
    total: Value | float = last
    for c in reversed(rest):
        total = fma(t, total, c)
    if isinstance(total, float):
        raise ValueError("a polynomial of degree 0 is a number")
    return total


def with_sign(magnitude: Value, sign_of: Value) -> Value:
    """``magnitude``, whose sign bit is 0, with the sign bit of ``sign_of``."""
    form = FORMATS[magnitude.dtype]
    sign = bitcast(sign_of, form.bits) & form.sign
    return bitcast(bitcast(magnitude, form.bits) | sign, form.dtype)


def halves_of_power(form: Format, shifted: Value) -> tuple[Value, Value]:
    """Two powers of 2 whose product is 2^n, given n + ``form.shifter + form.bias``; 2^n itself may be out of range."""
    whole = bitcast(shifted, form.bits)
    half = whole >> 1
    return bitcast(half << form.fraction, form.dtype), bitcast((whole - half) << form.fraction, form.dtype)


def reduced(form: Format, x: Value, shifter: float) -> tuple[Value, Value]:
    """``n + shifter`` and r with x = n·log(2) + r, n an integer and |r| <= log(2)/2."""
    high, low = LN2[form.dtype.name]
    shifted = fma(x, LOG2_E, shifter)
    n = shifted - shifter
    return shifted, fma(n, -low, fma(n, -high, x))


def split(form: Format, x: Value, subnormal: bool = True) -> tuple[Value, Value]:
    """A float e and f with x = 2^e·(1+f), sqrt(1/2) <= 1+f < sqrt(2), for positive finite x, which may be subnormal."""
    scale = 2.0 ** (form.fraction + 1)
    tiny = x < form.least_normal
    u = bitcast(where(tiny, x * scale, x) if subnormal else x, form.bits)
    least = ROOT_HALF[form.dtype.name]
    moved = u - least
    exponent = cast(bitcast(moved, SIGNED[form.dtype.name]) >> form.fraction, form.dtype)
    m = bitcast((moved & ((1 << form.fraction) - 1)) + least, form.dtype)
    if subnormal:
        exponent = exponent - where(tiny, form.fraction + 1.0, Const(0.0, form.dtype))
    return exponent, m - 1.0
