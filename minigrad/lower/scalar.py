"""Stage: lower, below ``values.py``. In: an op and the values of its operands. Out: one value, with index arithmetic
and constants folded where that is exact. Here also stands what RANDOM_BITS means.
Next: ``body.py``."""

from __future__ import annotations

import struct
from typing import Any

from minigrad.dtype import HALVES, DType, accumulator, bool_, float16, float32, int64, uint32, uint64
from minigrad.kernel.ir import Apply, Const, Index, Value
from minigrad.ops import REPRESENTABLE, Op
from minigrad.symbolic import Sym, both, eq, negate, num


def constant(value: Any, dtype: DType) -> Const:
    """A constant as the node's dtype holds it (rounded, for the half types), in the dtype it is computed in.

    >>> constant(0.1, float16)
    Const(value=0.0999755859375, dtype=minigrad.float32)
    """
    if dtype is bool_:
        return Const(bool(value), bool_)
    if not dtype.is_float:
        bits = int(value) & ((1 << dtype.bits) - 1)
        return Const(bits - (1 << dtype.bits) if dtype.kind == "i" and bits >> (dtype.bits - 1) else bits, dtype)
    value = float(value)
    if dtype is not float32 and dtype not in HALVES:
        return Const(value, dtype)
    if value == value and abs(value) != float("inf"):
        value = _rounded(value, dtype)
    return Const(value, accumulator(dtype))


def _rounded(value: float, dtype: DType) -> float:
    """A number as the dtype holds it; to a half type by way of float32, as a run-time number."""
    try:
        single: float = struct.unpack("f", struct.pack("f", value))[0]
        if dtype is float32:
            return single
        if dtype is float16:
            return float(struct.unpack("e", struct.pack("e", single))[0])
        bits = struct.unpack("I", struct.pack("f", single))[0]
        bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
        return float(struct.unpack("f", struct.pack("I", bits))[0])
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def convert(value: Value, dtype: DType) -> Value:
    """CAST to ``dtype`` if it is another; of a widened half back to that half, the half itself."""
    if value.dtype is dtype:
        return value
    if isinstance(value, Apply) and value.op == Op.CAST and value.srcs[0].dtype is dtype and dtype in HALVES:
        return value.srcs[0]
    return Apply(Op.CAST, (value,), dtype)


def unconverted(value: Value) -> Value:
    """What a value is converted from, if it is."""
    while isinstance(value, Apply) and value.op == Op.CAST:
        value = value.srcs[0]
    return value


def fold(op: str, srcs: tuple[Value, ...], dtype: DType) -> Value:
    """The scalar op on values in their computing dtypes; ``dtype`` is the node's own, which its value is rounded to."""
    if op == Op.CAST:
        return _cast(srcs[0], dtype)
    first = srcs[0]
    if isinstance(first, Index):
        if op == Op.WHERE:
            if first.index.lo == first.index.hi:
                return srcs[1] if first.index.lo else srcs[2]
        else:
            index = _fold_index(op, srcs)
            if index is not None:
                return Index(index, dtype)
    elif op in (Op.ADD, Op.MUL) and isinstance(first, Const) and isinstance(srcs[1], Index):
        return fold(op, (srcs[1], first), dtype)
    elif op == Op.LT and isinstance(first, Const) and isinstance(srcs[1], Index) and first.dtype is int64:
        return Index(num(int(first.value)) < srcs[1].index, bool_)
    value = Apply(op, srcs, accumulator(dtype))
    return value if op in REPRESENTABLE else rounded(value, dtype)


def rounded(value: Value, dtype: DType) -> Value:
    """A value in its computing dtype as a node of ``dtype`` holds it: that of a half type is rounded to it, stored or
    not."""
    return convert(convert(value, dtype), value.dtype) if dtype in HALVES else value


def _cast(value: Value, dtype: DType) -> Value:
    if isinstance(value, Const) and value.dtype in (bool_, int64) and dtype.is_float:
        return constant(value.value, dtype)
    if dtype in HALVES:
        return Apply(Op.CAST, (convert(value, dtype),), accumulator(dtype))
    return convert(value, dtype)


def bitcast(value: Value, source: DType, dtype: DType) -> Value:
    """BITCAST of a node of dtype ``source``: the bits are those of the stored form, so a half is narrowed first."""
    value = convert(value, source)
    value = value if value.dtype is dtype else Apply(Op.BITCAST, (value,), dtype)
    return convert(value, accumulator(dtype))


def _index_of(value: Value) -> Sym | int | None:
    if isinstance(value, Index):
        return value.index
    return value.value if isinstance(value, Const) and value.dtype is not bool_ else None  # type: ignore[return-value]


def _fold_index(op: str, srcs: tuple[Value, ...]) -> Sym | None:
    """Integer arithmetic on coordinates as an index expression, where no value can leave its dtype."""
    a = srcs[0].index  # type: ignore[union-attr]
    if op == Op.NOT and srcs[0].dtype is bool_:
        return negate(a)
    if len(srcs) != 2:
        return None
    if op == Op.AND and srcs[0].dtype is bool_ and isinstance(srcs[1], Index):
        return both(a, srcs[1].index)
    b = _index_of(srcs[1])
    if b is None or srcs[0].dtype is not int64:
        return None
    result: Sym | None = None
    if op == Op.ADD:
        result = a + b
    elif op == Op.SUB:
        result = a - b
    elif op == Op.MUL and isinstance(b, int):
        result = a * b
    elif op in (Op.FLOORDIV, Op.MOD) and isinstance(b, int) and b > 0:
        result = a // b if op == Op.FLOORDIV else a % b
    elif op == Op.LT:
        return a < b
    elif op == Op.EQ:
        return eq(a, b)
    return result if result is not None and int64.min <= result.lo and result.hi <= int64.max else None


def random_bits(key: Value, position: Sym, size: int) -> Value:
    """Element ``p`` of RANDOM_BITS: the first word of Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw,
    "Parallel random numbers: as easy as 1, 2, 3", 2011). The counter is (p mod 2³², p div 2³²), ``p`` the row-major
    position; the key is (low, high) 32 bits of ``key``. In uint32 arithmetic, with k₂ = k₀ ^ k₁ ^ 0x1BD11BDA::

        x₀, x₁ = c₀ + k₀, c₁ + k₁
        for i in 0 … 4:
            for r in (13, 15, 26, 6) if i is even else (17, 29, 16, 24):
                x₀ += x₁;  x₁ = rotate_left(x₁, r) ^ x₀
            x₀ += k[(i + 1) mod 3];  x₁ += k[(i + 2) mod 3] + i + 1
    """
    k0, k1 = convert(key, uint32), convert(key >> 32, uint32)
    keys = (k0, k1, k0 ^ k1 ^ 0x1BD11BDA)
    at: Value = Index(position, int64)
    if size <= 1 << 32:
        x0, x1 = convert(at, uint32) + k0, k1
    else:
        at = convert(at, uint64)
        x0, x1 = convert(at, uint32) + k0, convert(at >> 32, uint32) + k1
    for i in range(5):
        for r in ((13, 15, 26, 6), (17, 29, 16, 24))[i % 2]:
            x0 = x0 + x1
            x1 = ((x1 << r) | (x1 >> (32 - r))) ^ x0
        x0 = x0 + keys[(i + 1) % 3]
        x1 = x1 + (keys[(i + 2) % 3] + (i + 1))
    return x0
