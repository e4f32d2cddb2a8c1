"""Stage: lower, below the pass ``transcendental``. In: the operand of a SIN or COS. Out: its value in other ops.
x = n·π/2 + r is found exactly enough however large x is; then sin or cos of r is a polynomial.
Next: ``power.py``."""

from __future__ import annotations

from itertools import pairwise

from minigrad.dtype import float32, float64, int64, uint32, uint64
from minigrad.kernel.ir import Const, Value
from minigrad.lower.passes import polynomials as table
from minigrad.lower.passes.expressions import FORMATS, absolute, bitcast, cast, equal, fma, horner, where

HALF_PI = (1.5707963267948966, 6.123233995736766e-17)
# 2/π modulo 4·2^-k, as the sum of two numbers, for x below the first number of the row: there x is a multiple of 2^k,
# so that the product with x lacks only whole turns. It stays below 2^50.
TURNS = (
    (2.0**50, 0.6366197723675814, -3.935735335036497e-17),
    (2.0**77, -4.119769120791653e-09, 2.8376220177865265e-25),  # k = 27
    (2.0**102, 7.166494911215068e-17, -2.1442872565786008e-33),  # k = 54
    (2.0**128, -5.434184107743751e-25, 3.8858987075186823e-41),  # k = 79
)
# The bits of 2/π, 64 zeros before them.
TWO_OVER_PI = (
    0x0, 0xA2F9836E4E441529, 0xFC2757D1F534DDC0, 0xDB6295993C439041, 0xFE5163ABDEBBC561, 0xB7246E3A424DD2E0,
    0x06492EEA09D1921C, 0xFE1DEB1CB129A73E, 0xE88235F52EBB4484, 0xE99C7026B45F7E41, 0x3991D639835339F4,
    0x9C845F8BBDF9283B, 0x1FF897FFDE05980F, 0xEF2F118B5A0A6D1F, 0x6D367ECF27CB09B7, 0x4F463F669E5FEA2D,
    0x7527BAC7EBE5F17B, 0x3D0739F78A5292EA, 0x6BFB5FB11F8D5D08, 0x56033046FC7B6BAB)


def sine(x: Value) -> Value:
    """sin(x), the sign of x kept: it is an odd function."""
    form = FORMATS[x.dtype]
    n, r, rest = _reduce(absolute(x))
    flipped = bitcast(x, form.bits) ^ (n << (form.bits.bits - 2))
    return _turn(n, flipped, *_both(r, rest))


def cosine(x: Value) -> Value:
    """cos(x) = sin(x + π/2)."""
    form = FORMATS[x.dtype]
    n, r, rest = _reduce(absolute(x))
    n = n + 1
    return _turn(n, n << (form.bits.bits - 2), *_both(r, rest))


def _turn(n: Value, sign: Value, sin: Value, cos: Value) -> Value:
    """The value in the quadrant n, with the upper bit of ``sign`` flipping it."""
    form = FORMATS[sin.dtype]
    value = where(equal(n & 1, 0), sin, cos)
    return bitcast(bitcast(value, form.bits) ^ (sign & form.sign), form.dtype)


def _both(r: Value, rest: Value | None) -> tuple[Value, Value]:
    """sin(r + rest) and cos(r + rest)."""
    u = r * r
    if rest is None:
        return (fma(r * u, horner(table.SIN_32, u), r), fma(u * u, horner(table.COS_32, u), fma(u, -0.5, 1.0)))
    half = u * 0.5
    near = 1.0 - half
    error = (1.0 - near) - half
    tail = u * u * horner(table.COS_64, u) - r * rest
    return r + fma(r * u, horner(table.SIN_64, u), rest), near + (error + tail)


def _reduce(x: Value) -> tuple[Value, Value, Value | None]:
    """n, r and, in float64, what r leaves out, for x >= 0: x = n·π/2 + r with |r| at most 1; NaN for inf. The lowest
    two bits of n are right."""
    return _reduce_single(x) if x.dtype is float32 else _reduce_double(x)


def _reduce_single(x: Value) -> tuple[Value, Value, None]:
    """In float64, by the product of x with 106 bits of 2/π. From 1 on, no float32 is nearer to a multiple of π/2 than
    2^-30, so that an error of 2^-56 is small enough."""
    wide = cast(x, float64)
    *rows, (_, high, low) = TURNS
    c, d = Const(high, float64), Const(low, float64)
    top: Value = c
    end: Value = d
    for limit, high, low in reversed(rows):
        inside = x < limit
        top, end = where(inside, high, top), where(inside, low, end)
    product = wide * top
    error = fma(wide, top, -product)
    shifter = 1.5 * 2.0**52
    shifted = product + shifter
    f = (product - (shifted - shifter)) + fma(wide, end, error)
    return cast(bitcast(shifted, uint64), uint32), cast(f * HALF_PI[0], float32), None


def _reduce_double(x: Value) -> tuple[Value, Value, Value]:
    """Payne and Hanek, "Radian reduction for trigonometric functions", 1983: of the product of x's significand with the
    bits of 2/π, those that count whole turns are never computed. x below π/4 is r itself."""
    bits = bitcast(x, uint64)
    position = (bits >> 52) - 1013
    window = _window(position)
    significand = (bits & ((1 << 52) - 1)) | (1 << 52)
    top, low = _product(significand, window)
    n = (top + (1 << 61)) >> 62
    signed = bitcast(top - (n << 62), int64)  # the rest in units of 2^-62
    coarse = cast(signed & ~0xFFFFFFFF, float64)
    fine = cast(bitcast(((bitcast(signed, uint64) & 0xFFFFFFFF) << 20) | (low >> 44), int64), float64)
    finest = cast(bitcast(low & ((1 << 44) - 1), int64), float64)
    a, b, c = coarse * 2.0**-62, fine * 2.0**-82, finest * 2.0**-126
    f = a + b  # exact where a is not much larger than b, so c counts where they cancel
    g = ((a - f) + b) + c
    r = f * HALF_PI[0]
    rest = fma(f, HALF_PI[0], -r)
    rest = fma(g, HALF_PI[0], fma(f, HALF_PI[1], rest))
    small = x < 0.785
    nan = x - x  # of inf
    return (where(small, Const(0, uint64), n), where(small, x, r + nan), where(small, Const(0.0, float64), rest))


def _window(position: Value) -> list[Value]:
    """Three words of the bits of 2/π that begin at bit ``position`` of ``TWO_OVER_PI``: four words, chosen by the bits
    of the index of the first, are shifted together."""
    words: list[Value] = [Const(w, uint64) for w in TWO_OVER_PI]
    for step in (16, 8, 4, 2, 1):
        lacks = equal(position & (64 * step), 0)
        # after this step an index below ``step`` is to be added; index 16 is the last of all
        wanted = step - 1 + 4
        words = [where(lacks, w, words[k + step]) if k + step < len(words) else w for k, w in enumerate(words)][:wanted]
    by = position & 63
    back = 64 - by
    return [(a << by) | (b >> back) for a, b in pairwise(words)]


def _product(m: Value, words: list[Value]) -> tuple[Value, Value]:
    """Bits 128 to 191 and 64 to 127 of m·(words[0]·2^128 + words[1]·2^64 + words[2]), m below 2^53."""
    low = m * words[1]
    carried = low + _high_product(m, words[2])
    carry = where(carried < low, 1, Const(0, uint64))
    return m * words[0] + _high_product(m, words[1]) + carry, carried


def _high_product(m: Value, w: Value) -> Value:
    """(m·w) >> 64 for m below 2^53."""
    mask = 0xFFFFFFFF
    m_high, m_low, w_high, w_low = m >> 32, m & mask, w >> 32, w & mask
    middle = m_low * w_high + ((m_low * w_low) >> 32)
    other = m_high * w_low + (middle & mask)
    return m_high * w_high + (middle >> 32) + (other >> 32)
