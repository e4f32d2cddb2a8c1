"""Stage: lower, below the pass ``legalise``. In: the operands of an op. Out: what ``ops.py`` says that the op gives, in
ops that every language has, and of operands for which all languages agree what they give.
Next: ``kernel/``."""

from __future__ import annotations

from minigrad.dtype import BY_NAME, DType, float32, float64, int32, uint16, uint32, uint64
from minigrad.kernel.ir import QUOTIENT, REMAINDER, Apply, Const, Value
from minigrad.lower.passes.expressions import bitcast, cast, equal, floor, fma, where
from minigrad.ops import Op

# --- integers ----------------------------------------------------------------------------------------------------


def wrapped(op: str, *srcs: Value) -> Value:
    """ADD, SUB, MUL, NEG and SHL modulo 2^bits, in a type whose arithmetic wraps in C, too: it computes in int what is
    narrower than that."""
    dtype = srcs[0].dtype
    wide = [cast(x, uint64 if dtype.bits == 64 else uint32) for x in srcs]
    return cast(0 - wide[0] if op == Op.NEG else Apply(op, tuple(wide), wide[0].dtype), dtype)


def magnitude(op: str, a: Value) -> Value:
    """ABS of a signed integer."""
    return where(a < 0, -a, a)


def by_constant(op: str, a: Value, b: Const) -> Value:
    """FLOORDIV and MOD by a number that is known, and above 0."""
    known = int(b.value)
    if known & (known - 1) == 0:
        return a >> (known.bit_length() - 1) if op == Op.FLOORDIV else a & (known - 1)
    quotient, remainder = [Apply(o, (a, b), a.dtype) for o in (QUOTIENT, REMAINDER)]
    if a.dtype.kind == "u":
        return quotient if op == Op.FLOORDIV else remainder
    below = remainder < 0
    return where(below, quotient - 1, quotient) if op == Op.FLOORDIV else where(below, remainder + b, remainder)


def divided(op: str, a: Value, b: Value) -> Value:
    """FLOORDIV and MOD of integers: 0 where b is 0; of the lowest integer and -1 it wraps."""
    empty, signed = equal(b, 0), a.dtype.kind == "i"
    minus = equal(b, -1) if signed else empty
    safe = where(empty | minus if signed else empty, 1, b)
    quotient, remainder = [Apply(o, (a, safe), a.dtype) for o in (QUOTIENT, REMAINDER)]
    if not signed:
        return where(empty, 0, quotient if op == Op.FLOORDIV else remainder)
    moved = ~equal(remainder, 0) & ((remainder ^ safe) < 0)
    if op == Op.MOD:  # by 1 it is 0, which is right for 0 and -1 too
        return where(moved, remainder + safe, remainder)
    return where(empty, 0, where(minus, -a, where(moved, quotient - 1, quotient)))


def shifted(op: str, a: Value, b: Value) -> Value:
    """SHL and SHR by any number; a negative one is large where it is read as unsigned."""
    dtype = a.dtype
    narrow = cast(b, BY_NAME[f"uint{dtype.bits}"]) < dtype.bits
    if op == Op.SHR and dtype.kind == "i":
        return Apply(op, (a, where(narrow, b, dtype.bits - 1)), dtype)
    return where(narrow, Apply(op, (a, where(narrow, b, 0)), dtype), 0)


# --- bools, and what is the same for all -------------------------------------------------------------------------


def of_bools(op: str, a: Value, b: Value) -> Value:
    """MAXIMUM, MINIMUM and LT of bools."""
    return a | b if op == Op.MAXIMUM else a & b if op == Op.MINIMUM else b & ~a


def extremum(op: str, a: Value, b: Value) -> Value:
    """MAXIMUM and MINIMUM: the first of two that are equal; NaN if one is."""
    best = where(a < b if op == Op.MAXIMUM else b < a, b, a)
    return where(equal(b, b), best, b) if a.dtype.is_float else best


# --- floats ------------------------------------------------------------------------------------------------------


def _moved(remainder: Value, b: Value) -> Value:
    """Whether a remainder, whose sign is that of the dividend, has the wrong one."""
    return (remainder < 0.0) ^ (b < 0.0)


def modulo(op: str, a: Value, b: Value) -> Value:
    """MOD of floats: a zero has the sign of the divisor."""
    remainder = Apply(REMAINDER, (a, b), a.dtype)
    zero = where(b < 0.0, Const(-0.0, a.dtype), Const(0.0, a.dtype))
    return where(equal(remainder, 0.0), zero, where(_moved(remainder, b), remainder + b, remainder))


def floor_quotient(op: str, a: Value, b: Value) -> Value:
    """FLOORDIV of floats, as NumPy has it: from the exact remainder, then the floor, corrected where it is off by the
    last bit."""
    remainder, plain = Apply(REMAINDER, (a, b), a.dtype), a / b
    quotient = (a - remainder) / b
    moved = ~equal(remainder, 0.0) & _moved(remainder, b)
    quotient = where(moved, quotient - 1.0, quotient)
    down = floor(quotient)
    down = where(quotient - down > 0.5, down + 1.0, down)
    zero = plain * 0.0  # with the quotient's sign
    return where(equal(b, 0.0), plain, where(equal(quotient, 0.0), zero, down))


def saturated(dtype: DType, a: Value) -> Value:
    """CAST of a float to an integer: truncated; of NaN 0, and what is out of range the nearest bound."""
    wide = int32 if dtype.bits < 32 else dtype
    above = dtype.max + 1  # 2^k, which every float type has
    inside = ((float(dtype.min) if dtype.kind == "i" else -1.0) < a) & (a < float(above))
    number = cast(where(inside, a, Const(0.0, a.dtype)), wide)
    below = where(a < 0.0, dtype.min, Const(0, wide)) if dtype.min else Const(0, wide)
    outside = where(a > 0.0, dtype.max, below)
    return cast(where(inside, number, outside), dtype)


# --- the half types: numbers in float32, bits in uint16 --------------------------------------------------------


def bfloat16_bits(a: Value) -> Value:
    """A float32 rounded to nearest even; a NaN stays one, made quiet."""
    bits = bitcast(a, uint32)
    near = bits + 0x7FFF + ((bits >> 16) & 1)
    return cast(where(equal(a, a), near, bits | 0x400000) >> 16, uint16)


def bfloat16_value(a: Value) -> Value:
    """The number with these bits."""
    return bitcast(cast(a, uint32) << 16, float32)


def float16_bits(a: Value) -> Value:
    """A float32 rounded to nearest even, by operations on integers."""
    bits = bitcast(a, uint32)
    size = bits & 0x7FFFFFFF
    # the exponent's bias goes from 127 to 15, and half of the last kept bit is added, less one for a tie on even
    normal = (size - ((112 << 23) - 0xFFF) + ((size >> 13) & 1)) >> 13
    # 0.5's last bit is the least float16: adding it rounds a subnormal there
    subnormal = bitcast(bitcast(size, float32) + 0.5, uint32) - 0x3F000000
    nan = ((size >> 13) & 0x3FF) | 0x7E00
    result = where(size < (113 << 23), subnormal, where(size < (143 << 23), normal, 0x7C00))
    result = where(size > 0x7F800000, nan, result)
    return cast(result | ((bits >> 16) & 0x8000), uint16)


def float16_value(a: Value) -> Value:
    """The number with these bits, by operations on integers and an exact product that makes subnormals right, too."""
    bits = cast(a, uint32)
    size = bits & 0x7FFF
    scaled = bitcast(bitcast(size << 13, float32) * 2.0**112, uint32)
    infinite = scaled | where(size > 0x7C00, 0x7FC00000, Const(0x7F800000, uint32))
    return bitcast(where(size < 0x7C00, scaled, infinite) | ((bits & 0x8000) << 16), float32)


def to_odd(a: Value) -> Value:
    """A float64 as a float32 that float16 rounds as it would round ``a``: what is cut off stays visible in the last
    bit that stays."""
    bits, low = bitcast(a, uint64), (1 << 29) - 1
    sticky = where(equal(bits & low, 0), Const(0, uint64), Const(low + 1, uint64))
    return cast(bitcast((bits & ((1 << 64) - 1 - low)) | sticky, float64), float32)


def two_products(op: str, a: Value, b: Value, total: Value) -> Value:
    """DOT2: the products of the upper halves of two words, then of the lower ones, added with a rounding each."""
    for half in (lambda x: x & 0xFFFF0000, lambda x: x << 16):
        total = fma(bitcast(half(a), float32), bitcast(half(b), float32), total)
    return total


def four_products(op: str, a: Value, b: Value, total: Value) -> Value:
    """DOT4: the products of four unsigned bytes and four signed ones, added one after the other."""
    found = cast(total, uint32)
    for bit in (0, 8, 16, 24):
        found = found + ((a >> bit) & 255) * cast(bitcast(b << (24 - bit), int32) >> 24, uint32)
    return cast(found, int32)


def two_whole_products(op: str, a: Value, b: Value, total: Value) -> Value:
    """DOT2I: the products of the int16 in two words, the lower ones first."""
    found = cast(total, uint32)
    for bit in (16, 0):
        x, y = (cast(bitcast(word << bit, int32) >> 16, uint32) for word in (a, b))
        found = found + x * y
    return cast(found, int32)
