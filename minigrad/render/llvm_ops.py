"""Stage: inside the LLVM renderer. In: one scalar op and its operands, scalars or vectors. Out: the instructions that
compute it, with the guards of ``ops.py``'s ``edge`` column. The C forms with the same bits are in ``cstyle_ops.py``.
Next: ``llvm_index.py``."""

from __future__ import annotations

import numpy as np

from minigrad.dtype import DType, bfloat16, bool_, float16, float64
from minigrad.errors import CompileError
from minigrad.kernel.ir import DOT2
from minigrad.ops import REPRESENTABLE, Op
from minigrad.ops import cast as numpy_cast
from minigrad.render.llvm_text import Operand, Writer, literal, memory_type, register_type

HALF_TARGETS = ("avx2", "avx512", "neon")  # machines that convert float16 in hardware
_INTEGER = {Op.ADD: "add", Op.SUB: "sub", Op.MUL: "mul", Op.AND: "and", Op.OR: "or", Op.XOR: "xor"}
_FLOAT = {Op.ADD: "fadd", Op.SUB: "fsub", Op.MUL: "fmul", Op.DIV: "fdiv"}
_INTRINSIC = {Op.FLOOR: "floor", Op.CEIL: "ceil", Op.TRUNC: "trunc", Op.ROUND: "rint", Op.SQRT: "sqrt", Op.FMA: "fma"}


def constant(value: int | float | bool, dtype: DType) -> Operand:
    """A constant of ``dtype``, rounded to it."""
    if dtype.is_float and dtype is not float64:
        value = float(numpy_cast(np.array([value], np.float64), dtype)[0])
    return literal(register_type(dtype), value)


def apply(w: Writer, op: str, dtype: DType, operands: list[Operand], sources: list[DType]) -> Operand:
    """The result of ``op`` in registers; ``sources`` are the operands' dtypes, ``dtype`` the result's."""
    if op == Op.CAST:
        return cast(w, operands[0], sources[0], dtype)
    if op == Op.BITCAST:
        return bitcast(w, operands[0], sources[0], dtype)
    if op == Op.WHERE:
        return w.select(*operands)
    if op == DOT2:
        return _dot2(w, *operands)
    source = sources[0]
    result = _float_op(w, op, operands, source) if source.is_float else _integer_op(w, op, operands, source)
    if result is None:
        raise CompileError(f"the LLVM renderer has no form of {op} on {source.name}; a pass lowers it before rendering")
    return round_to(w, result, dtype) if dtype.is_float and op not in REPRESENTABLE else result


def fold(w: Writer, op: str, dtype: DType, a: Operand, b: Operand) -> Operand:
    """One step of a reduction: ``op`` on two operands of the dtype of the result."""
    return apply(w, op, dtype, [a, b], [dtype, dtype])


# --- floats ------------------------------------------------------------------------------------------------------


def _float_op(w: Writer, op: str, operands: list[Operand], source: DType) -> Operand | None:
    a, b = operands[0], operands[-1]
    if op in _FLOAT:
        return w.binary(_FLOAT[op], a, b)
    if op in _INTRINSIC:
        return w.intrinsic(_INTRINSIC[op], *operands)
    if op == Op.NEG:
        return w.unary("fneg", a)
    if op == Op.ABS:
        return w.intrinsic("fabs", a)
    if op == Op.LT:
        return w.compare("fcmp olt", a, b)
    if op == Op.EQ:
        return w.compare("fcmp oeq", a, b)
    if op in (Op.MAXIMUM, Op.MINIMUM):
        best = w.select(w.compare("fcmp ogt" if op == Op.MAXIMUM else "fcmp olt", b, a), b, a)
        if b.is_literal and "0x7FF" not in b.text and "0xFFF" not in b.text:
            return best  # no NaN: one vmaxps
        return w.select(w.compare("fcmp uno", b, b), b, best)
    if op == Op.MOD:
        return _float_mod(w, a, b)
    if op == Op.FLOORDIV:
        return _float_floordiv(w, a, b)
    return None


def _dot2(w: Writer, a: Operand, b: Operand, total: Operand) -> Operand:
    """The products of the upper, then of the lower bfloat16 of two words, added to ``total``."""
    lanes = max(x.lanes for x in (a, b, total))
    if lanes in (4, 8, 16) and "bfloat16" in w.target.pairs:
        full = f"llvm.x86.avx512bf16.dpbf16ps.{32 * lanes}"
        halves = f"<{2 * lanes} x bfloat>"
        w.declare(full, f"declare <{lanes} x float> @{full}(<{lanes} x float>, {halves}, {halves})")
        a, b, total = (w.widen(x, lanes) for x in (a, b, total))
        words = [w.pure(f"bitcast {x.typed} to {halves}", "bfloat", 2 * lanes, w.place(x)) for x in (a, b)]
        operands = ", ".join(x.typed for x in (total, *words))
        return w.pure(f"call <{lanes} x float> @{full}({operands})", "float", lanes, w.place(*words, total))
    for mask in (literal("i32", -65536), None):
        x, y = (w.binary("and", v, mask) if mask else w.binary("shl", v, literal("i32", 16)) for v in (a, b))
        total = w.intrinsic("fma", w.convert("bitcast", x, "float"), w.convert("bitcast", y, "float"), total)
    return total


def _fmod(w: Writer, a: Operand, b: Operand) -> Operand:
    """C's fmod, which is exact, lane by lane. On float32 values its float64 form gives the float32 result."""
    w.declare("fmod", "declare double @fmod(double, double) nounwind willreturn memory(none)")
    parts = []
    a, b = w.together(a, b)
    for number in range(a.lanes):
        x, y = w.lane(a, number), w.lane(b, number)
        if a.type == "float":
            x, y = w.convert("fpext", x, "double"), w.convert("fpext", y, "double")
        r = w.pure(f"call double @fmod({x.typed}, {y.typed})", "double", 1, w.place(x, y))
        parts.append(w.convert("fptrunc", r, "float") if a.type == "float" else r)
    return parts[0] if len(parts) == 1 else w.gathered(parts)


def _signs_differ(w: Writer, b: Operand, remainder: Operand) -> Operand:
    zero = literal(b.type, 0.0)
    return w.binary("xor", w.compare("fcmp olt", b, zero), w.compare("fcmp olt", remainder, zero))


def _float_mod(w: Writer, a: Operand, b: Operand) -> Operand:
    r = _fmod(w, a, b)
    moved = w.select(_signs_differ(w, b, r), w.binary("fadd", r, b), r)
    zero = literal(a.type, 0.0)
    return w.select(w.compare("fcmp une", r, zero), moved, w.intrinsic("copysign", zero, b))


def _float_floordiv(w: Writer, a: Operand, b: Operand) -> Operand:
    """NumPy's: from the exact remainder, then the floor, corrected where it is off by the last bit."""
    zero, one, half = (literal(a.type, x) for x in (0.0, 1.0, 0.5))
    r, plain = _fmod(w, a, b), w.binary("fdiv", a, b)
    q = w.binary("fdiv", w.binary("fsub", a, r), b)
    moved = w.binary("and", w.compare("fcmp une", r, zero), _signs_differ(w, b, r))
    q = w.select(moved, w.binary("fsub", q, one), q)
    down = w.intrinsic("floor", q)
    down = w.select(w.compare("fcmp ogt", w.binary("fsub", q, down), half), w.binary("fadd", down, one), down)
    result = w.select(w.compare("fcmp une", q, zero), down, w.intrinsic("copysign", zero, plain))
    return w.select(w.compare("fcmp oeq", b, zero), plain, result)


# --- integers and bools ------------------------------------------------------------------------------------------


def _integer_op(w: Writer, op: str, operands: list[Operand], source: DType) -> Operand | None:
    a, b = operands[0], operands[-1]
    sign = "s" if source.kind == "i" else "u"
    if op in _INTEGER:
        return w.binary(_INTEGER[op], a, b)
    if op == Op.LT:
        return w.compare(f"icmp {sign}lt", a, b)
    if op == Op.EQ:
        return w.compare("icmp eq", a, b)
    if op in (Op.MAXIMUM, Op.MINIMUM):
        return w.select(w.compare(f"icmp {sign}{'gt' if op == Op.MAXIMUM else 'lt'}", b, a), b, a)
    if op == Op.NOT:
        return w.binary("xor", a, literal(a.type, True if source is bool_ else -1))
    if source is bool_:
        return None
    if op == Op.NEG:
        return w.binary("sub", literal(a.type, 0), a)
    if op == Op.ABS:
        return w.intrinsic("abs", a, extra="false") if source.kind == "i" else a
    if op in (Op.SHL, Op.SHR):
        return _shift(w, op, a, b, source)
    if op in (Op.FLOORDIV, Op.MOD):
        return divide(w, op == Op.MOD, a, b, sign == "s")
    return None


def _shift(w: Writer, op: str, a: Operand, b: Operand, source: DType) -> Operand:
    bits = literal(a.type, source.bits)
    opcode = "shl" if op == Op.SHL else "ashr" if source.kind == "i" else "lshr"
    if b.is_literal and b.lanes == 1 and 0 <= int(b.text) < source.bits:
        return w.binary(opcode, a, b)
    wide = w.compare("icmp uge", b, bits)  # unsigned, so a negative shift is wide too
    if opcode == "ashr":
        return w.binary("ashr", a, w.select(wide, literal(a.type, source.bits - 1), b))
    zero = literal(a.type, 0)
    return w.select(wide, zero, w.binary(opcode, a, w.select(wide, zero, b)))


def divide(w: Writer, remainder: bool, a: Operand, b: Operand, signed: bool) -> Operand:
    """Floor division, or its remainder; 0 where b is 0."""
    zero, one = literal(a.type, 0), literal(a.type, 1)
    known = int(b.text) if b.is_literal and b.lanes == 1 else 0
    if known > 0:
        if known & (known - 1) == 0:
            if remainder:
                return w.binary("and", a, literal(a.type, known - 1))
            return w.binary("ashr" if signed else "lshr", a, literal(a.type, known.bit_length() - 1))
        if not signed:
            return w.binary("urem" if remainder else "udiv", a, b)
        r = w.binary("srem", a, b)
        below = w.compare("icmp slt", r, zero)
        if remainder:
            return w.select(below, w.binary("add", r, b), r)
        q = w.binary("sdiv", a, b)
        return w.select(below, w.binary("sub", q, one), q)
    empty = w.compare("icmp eq", b, zero)
    if not signed:
        q = w.binary("urem" if remainder else "udiv", a, w.select(empty, one, b))
        return w.select(empty, zero, q)
    minus = w.compare("icmp eq", b, literal(a.type, -1))
    safe = w.select(w.binary("or", empty, minus), one, b)
    r = w.binary("srem", a, safe)
    moved = w.binary("and", w.compare("icmp ne", r, zero), w.compare("icmp slt", w.binary("xor", r, safe), zero))
    if remainder:  # by 1 it is 0, which is right for 0 and -1 too
        return w.select(moved, w.binary("add", r, safe), r)
    q = w.binary("sdiv", a, safe)
    q = w.select(minus, w.binary("sub", zero, a), w.select(moved, w.binary("sub", q, one), q))
    return w.select(empty, zero, q)


# --- conversions -------------------------------------------------------------------------------------------------


def cast(w: Writer, a: Operand, source: DType, dtype: DType) -> Operand:
    """CAST between any two dtypes."""
    if source is dtype:
        return a
    if dtype is bool_:
        zero = literal(a.type, 0)
        return w.compare("fcmp une" if source.is_float else "icmp ne", a, zero)
    if source.is_float:
        return _float_to_float(w, a, dtype) if dtype.is_float else _float_to_integer(w, a, dtype)
    if dtype.is_float:
        number = w.convert("sitofp" if source.kind == "i" else "uitofp", a, register_type(dtype))
        return round_to(w, number, dtype)
    if dtype.bits < source.bits:
        return w.convert("trunc", a, register_type(dtype))
    if dtype.bits == source.bits and source is not bool_:
        return a
    return w.convert("sext" if source.kind == "i" else "zext", a, register_type(dtype))


def _float_to_float(w: Writer, a: Operand, dtype: DType) -> Operand:
    if dtype is float64:
        return a if a.type == "double" else w.convert("fpext", a, "double")
    if a.type == "float":
        return round_to(w, a, dtype)
    if dtype is float16:  # to odd first, so that the second rounding cannot see a tie that was none
        bits = w.convert("bitcast", a, "i64")
        low = literal("i64", (1 << 29) - 1)
        sticky = w.compare("icmp ne", w.binary("and", bits, low), literal("i64", 0))
        bits = w.binary("and", bits, literal("i64", ~((1 << 29) - 1)))
        odd = w.binary("or", bits, w.select(sticky, literal("i64", 1 << 29), literal("i64", 0)))
        a = w.convert("bitcast", odd, "double")
    return round_to(w, w.convert("fptrunc", a, "float"), dtype)


def _float_to_integer(w: Writer, a: Operand, dtype: DType) -> Operand:
    """Truncates; NaN gives 0, what is out of range the nearest bound."""
    low, high = literal(a.type, float(dtype.min)), literal(a.type, _at_least(a.type, int(dtype.max)))
    above = w.compare("fcmp oge", a, high)
    below = w.compare("fcmp ole", a, low)
    inside = w.binary("and", w.compare("fcmp ogt", a, low), w.compare("fcmp olt", a, high))
    type = register_type(dtype)
    wide = type if dtype.bits >= 32 else "i32"
    number = w.convert("fptosi" if dtype.kind == "i" or dtype.bits < 32 else "fptoui",
                       w.select(inside, a, literal(a.type, 0.0)), wide)
    number = w.select(above, literal(wide, dtype.max), w.select(below, literal(wide, dtype.min), number))
    return number if wide == type else w.convert("trunc", number, type)


def _at_least(type: str, number: int) -> float:
    """The least value of a float type that is >= number, which is 2^k - 1."""
    exact = 24 if type == "float" else 53
    return float(number if number.bit_length() <= exact else number + 1)


def bitcast(w: Writer, a: Operand, source: DType, dtype: DType) -> Operand:
    """The bits that ``a`` has in memory as ``source``, read as ``dtype``, in a register."""
    bits = to_memory(w, a, source)
    kind = memory_type(dtype)
    return from_memory(w, bits if bits.type == kind else w.convert("bitcast", bits, kind), dtype)


def round_to(w: Writer, a: Operand, dtype: DType) -> Operand:
    """A value that is representable in ``dtype``; only the half types differ from their register type."""
    if dtype is bfloat16:
        bits = w.binary("and", _rounded_bfloat16(w, a), literal("i32", -0x10000))
        return w.convert("bitcast", bits, "float")
    if dtype is float16:
        return from_memory(w, to_memory(w, a, float16), float16)
    return a


def to_memory(w: Writer, a: Operand, dtype: DType) -> Operand:
    """A register value as it stands in memory: bools take a byte, the half types 16 bits."""
    if dtype is bool_:
        return w.convert("zext", a, "i8")
    if dtype is bfloat16:
        return w.convert("trunc", w.binary("lshr", _rounded_bfloat16(w, a), literal("i32", 16)), "i16")
    if dtype is float16:
        if w.target.name in HALF_TARGETS:
            return w.convert("bitcast", w.convert("fptrunc", a, "half"), "i16")
        return _half_bits(w, a)
    return a


def from_memory(w: Writer, a: Operand, dtype: DType) -> Operand:
    """What ``to_memory`` made, in registers again."""
    if dtype is bool_:
        return w.compare("icmp ne", a, literal("i8", 0))
    if dtype is bfloat16:
        return w.convert("bitcast", w.binary("shl", w.convert("zext", a, "i32"), literal("i32", 16)), "float")
    if dtype is float16:
        if w.target.name in HALF_TARGETS:
            return w.convert("fpext", w.convert("bitcast", a, "half"), "float")
        return _half_value(w, a)
    return a


def _bits(number: int) -> Operand:
    return literal("i32", number)


def _rounded_bfloat16(w: Writer, a: Operand) -> Operand:
    """The bits of the float32 ``a`` with its upper 16 rounded to nearest even; a NaN stays one, made quiet."""
    bits = w.convert("bitcast", a, "i32")
    odd = w.binary("and", w.binary("lshr", bits, _bits(16)), _bits(1))
    near = w.binary("add", w.binary("add", bits, _bits(0x7FFF)), odd)
    return w.select(w.compare("fcmp uno", a, a), w.binary("or", bits, _bits(0x400000)), near)


def _half_bits(w: Writer, a: Operand) -> Operand:
    """float32 to float16 by integer operations, to nearest even."""
    bits = w.convert("bitcast", a, "i32")
    size = w.binary("and", bits, _bits(0x7FFFFFFF))
    odd = w.binary("and", w.binary("lshr", size, _bits(13)), _bits(1))
    # the exponent's bias goes from 127 to 15, and half of the last kept bit is added, less one for a tie on even
    normal = w.binary("lshr", w.binary("add", w.binary("add", size, _bits(0xFFF - (112 << 23))), odd), _bits(13))
    # 0.5's last bit is the least float16: adding it rounds a subnormal there
    small = w.binary("fadd", w.convert("bitcast", size, "float"), literal("float", 0.5))
    subnormal = w.binary("sub", w.convert("bitcast", small, "i32"), _bits(0x3F000000))
    payload = w.binary("and", w.binary("lshr", size, _bits(13)), _bits(0x3FF))
    nan = w.binary("or", payload, _bits(0x7E00))
    result = w.select(w.compare("icmp ult", size, _bits(113 << 23)), subnormal, normal)
    result = w.select(w.compare("icmp uge", size, _bits(143 << 23)), _bits(0x7C00), result)
    result = w.select(w.compare("icmp ugt", size, _bits(0x7F800000)), nan, result)
    sign = w.binary("and", w.binary("lshr", bits, _bits(16)), _bits(0x8000))
    return w.convert("trunc", w.binary("or", result, sign), "i16")


def _half_value(w: Writer, a: Operand) -> Operand:
    """float16 to float32 by integer operations and one exact multiplication, which also makes subnormals right."""
    bits = w.convert("zext", a, "i32")
    size = w.binary("and", bits, _bits(0x7FFF))
    small = w.convert("bitcast", w.binary("shl", size, _bits(13)), "float")
    scaled = w.convert("bitcast", w.binary("fmul", small, literal("float", 2.0**112)), "i32")
    infinite = w.compare("icmp uge", size, _bits(0x7C00))
    nan = w.compare("icmp ugt", size, _bits(0x7C00))
    scaled = w.select(infinite, w.binary("or", scaled, _bits(0x7F800000)), scaled)
    scaled = w.select(nan, w.binary("or", scaled, _bits(0x400000)), scaled)
    sign = w.binary("shl", w.binary("and", bits, _bits(0x8000)), _bits(16))
    return w.convert("bitcast", w.binary("or", scaled, sign), "float")

