"""Stage: the interpreter's arithmetic. In: a scalar op and arrays of operands. Out: what a kernel gets, bit by bit
(NaNs are all alike), whatever renderer writes it.
Next: ``machine.py``."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import inf, isfinite, isinf

import numpy as np

from minigrad.dtype import DType, float64
from minigrad.kernel.ir import DOT2, DOT2I, DOT4, QUOTIENT, REMAINDER, Apply, Const, Function, Scalar
from minigrad.ops import KERNEL_OPS, Op, cast


def scalar_value(scalar: Scalar, number: int | float) -> np.ndarray:
    """What a kernel sees of a run-time number: 8 bytes, an int64 or a float64, cast to the scalar's dtype."""
    wide = np.array([number], np.float64 if scalar.dtype.is_float else np.int64)
    return cast(wide, scalar.dtype)


def apply(op: str, operands: Sequence[np.ndarray], dtype: DType) -> np.ndarray:
    """One scalar op on arrays of equal dtype, as a kernel computes it: FMA rounds once, MAXIMUM and MINIMUM of equal
    numbers give the first.

    >>> from minigrad.dtype import float32
    >>> float(apply("FMA", [np.float32([1 + 2**-12])] * 2 + [np.float32([-1])], float32)[0]) == 2**-11 + 2**-24
    True
    """
    if isinstance(op, Function):
        done: dict[int, np.ndarray] = {id(p): x.view(p.dtype.numpy)  # bits are given as a half type, and the reverse
                                       for p, x in zip(op.parameters, operands, strict=True)}
        for v in op.values:
            if isinstance(v, Apply):
                done[id(v)] = apply(v.op, [done[id(s)] for s in v.srcs], v.dtype)
            elif isinstance(v, Const):
                done[id(v)] = constant(v)
        return done[id(op.values[-1])].view(dtype.numpy)
    if op == Op.CAST:
        return cast(operands[0], dtype)
    if op == Op.BITCAST:
        return np.ascontiguousarray(operands[0]).view(dtype.numpy)
    if op == Op.WHERE:
        return np.where(*operands)
    if op == Op.FMA:
        return _fma(*operands)
    if op == DOT2:
        return _dot2(*operands)
    if op == DOT4:
        return _products(("u1", "i1"), *operands)
    if op == DOT2I:
        return _products(("<i2", "<i2"), *operands)
    if op in (QUOTIENT, REMAINDER):
        with np.errstate(all="ignore"):
            remainder = np.fmod(*operands)
            return remainder if op == REMAINDER else np.floor_divide(operands[0] - remainder, operands[1])
    if op in (Op.MAXIMUM, Op.MINIMUM) and dtype.is_float:
        a, b = operands
        with np.errstate(invalid="ignore"):
            second = (b > a if op == Op.MAXIMUM else b < a) | (b != b)
        return np.where(second, b, a)
    return np.asarray(KERNEL_OPS[op].numpy(*operands)).astype(dtype.numpy, copy=False)


def _fma(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """``a*b + c``, rounded once."""
    with np.errstate(all="ignore"):
        if a.dtype == np.float32:
            return _fma_by_doubles(*(x.astype(np.float64) for x in (a, b, c)))
        x, y, z = np.broadcast_arrays(a, b, c)
        return np.array([_fma_exactly(*numbers) for numbers in zip(x.tolist(), y.tolist(), z.tolist())], a.dtype)


def _dot2(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The products of the upper halves of two words, then of the lower ones, added to ``c`` with a rounding each."""
    def half(word: np.ndarray, upper: bool) -> np.ndarray:
        return np.ascontiguousarray(word & np.uint32(0xFFFF0000) if upper else word << np.uint32(16)).view(np.float32)

    return _fma(half(a, False), half(b, False), _fma(half(a, True), half(b, True), c))


def _products(kinds: tuple[str, str], a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """The products of the integers that words of two kinds have, added to ``c`` modulo 2³²."""
    parts = [np.ascontiguousarray(word, "<u4").view(kind).reshape(*np.shape(word), -1).astype(np.int32)
             for word, kind in zip((a, b), kinds, strict=True)]
    return (parts[0] * parts[1]).sum(-1, dtype=np.int32) + c


def _fma_by_doubles(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """In float64 the product of two float32 is exact; the sum is rounded to odd (if it is not exact, to the neighbour
    whose last bit is 1), so that rounding it to float32 does what rounding the exact sum does (Boldo and Melquiond,
    Emulation of FMA and Correctly Rounded Sums: Proved Algorithms Using Rounding to Odd, 2008)."""
    product = a * b
    total = product + c
    part = total - product
    error = (product - (total - part)) + (c - part)
    even = (total.view(np.int64) & 1) == 0
    move = even & (error != 0) & np.isfinite(total)
    return np.where(move, np.nextafter(total, np.copysign(np.inf, error)), total).astype(np.float32)


def _fma_exactly(a: float, b: float, c: float) -> float:
    if isinf(c) and isfinite(a) and isfinite(b):
        return c  # a*b may overflow on the way, but does not count
    if not (isfinite(a) and isfinite(b) and isfinite(c) and a and b):
        return a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    try:
        return float(exact)
    except OverflowError:
        return inf if exact > 0 else -inf


def round_to_tf32(a: np.ndarray) -> np.ndarray:
    """float32 rounded to 11 bits, half away from zero.

    >>> round_to_tf32(np.float32([1 + 2**-11, -1 - 2**-11, 1 + 2**-12])).tolist()
    [1.0009765625, -1.0009765625, 1.0]
    """
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(1 << 12)) & np.uint32(0xffffe000)
    return np.where(np.isfinite(a), rounded.view(np.float32), a)


def constant(v: Const) -> np.ndarray:
    """A constant as an array of one element."""
    if v.dtype.is_float and v.dtype is not float64:
        return cast(np.array([v.value], np.float64), v.dtype)
    return np.array([v.value], v.dtype.numpy)
