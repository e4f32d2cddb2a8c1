"""Stage: inside the LLVM renderer. In: one scalar op that is legal and its operands, scalars or vectors. Out: the
instructions that compute it.
Next: ``llvm_index.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from minigrad.dtype import DType, bool_, float16, float32, float64, int32, uint32
from minigrad.errors import CompileError
from minigrad.kernel.ir import DOT2, DOT2I, DOT4, QUOTIENT, REMAINDER, Apply, Const, Function, Local, Value
from minigrad.kernel.walk import values
from minigrad.lower.passes.definitions import by_constant, divided, four_products, two_products, two_whole_products
from minigrad.lower.passes.legalise import WRAPPING
from minigrad.ops import Op
from minigrad.render.llvm_text import Operand, Writer, literal, register_type
from minigrad.target import Target

_BINARY = {
    "f": {Op.ADD: "fadd", Op.SUB: "fsub", Op.MUL: "fmul", Op.DIV: "fdiv"},
    "i": {Op.ADD: "add", Op.SUB: "sub", Op.MUL: "mul", Op.AND: "and", Op.OR: "or", Op.XOR: "xor", Op.SHL: "shl",
          Op.SHR: "ashr", QUOTIENT: "sdiv", REMAINDER: "srem"}}
_BINARY["u"] = {**_BINARY["i"], Op.SHR: "lshr", QUOTIENT: "udiv", REMAINDER: "urem"}
_BINARY["b"] = _BINARY["u"]
_COMPARE = {
    "f": {Op.LT: "fcmp olt", Op.EQ: "fcmp oeq"}, "i": {Op.LT: "icmp slt", Op.EQ: "icmp eq"},
    "u": {Op.LT: "icmp ult", Op.EQ: "icmp eq"}, "b": {Op.EQ: "icmp eq"}}
_INTRINSIC = {Op.FLOOR: "floor", Op.CEIL: "ceil", Op.TRUNC: "trunc", Op.ROUND: "rint", Op.SQRT: "sqrt", Op.FMA: "fma",
              Op.ABS: "fabs"}


def native(target: Target) -> tuple[str, ...]:
    """What LLVM has for a machine."""
    return (WRAPPING, *target.native, *[dot for name, dot in _DOTS.items() if name in target.dots])


def constant(value: int | float | bool, dtype: DType) -> Operand:
    """A constant of ``dtype``, rounded to it."""
    if dtype.is_float and dtype is not float64:
        value = float(np.float32(value))
    return literal(register_type(dtype), value)


def apply(w: Writer, op: str, dtype: DType, operands: list[Operand], sources: list[DType]) -> Operand:
    """The result of ``op`` in registers; ``sources`` are the operands' dtypes, ``dtype`` the result's."""
    if isinstance(op, Function):
        return call(w, op, operands)
    source, a = sources[0], operands[0]
    kind = source.kind
    if op in _BINARY[kind]:
        return w.binary(_BINARY[kind][op], a, operands[1])
    if op in _COMPARE[kind]:
        return w.compare(_COMPARE[kind][op], a, operands[1])
    if op == Op.WHERE:
        return w.select(*operands)
    if op == Op.CAST:
        return cast(w, a, source, dtype)
    if op == Op.BITCAST:
        type = register_type(dtype)
        return a if a.type == type else w.convert("bitcast", a, type)
    if op == Op.NOT:
        return w.binary("xor", a, literal(a.type, True if source is bool_ else -1))
    if op == Op.NEG:
        return w.unary("fneg", a) if kind == "f" else w.binary("sub", literal(a.type, 0), a)
    if kind == "f" and op in _INTRINSIC:
        return w.intrinsic(_INTRINSIC[op], *operands)
    if op == REMAINDER:
        return _fmod(w, *operands)
    if op in _DOT:
        return _dot(w, op, *operands)
    raise CompileError(f"the LLVM renderer has no form of {op} on {source.name}; a pass lowers it before rendering")


def call(w: Writer, f: Function, operands: Sequence[Operand]) -> Operand:
    """A function's value for these operands, written out."""
    done = {id(p): a for p, a in zip(f.parameters, operands, strict=True)}
    for v in f.values:
        if isinstance(v, Apply):
            done[id(v)] = apply(w, v.op, v.dtype, [done[id(s)] for s in v.srcs], [s.dtype for s in v.srcs])
        elif isinstance(v, Const):
            done[id(v)] = constant(v.value, v.dtype)
    return done[id(f.values[-1])]


def divide(w: Writer, op: str, a: Operand, b: Operand, dtype: DType) -> Operand:
    """FLOORDIV or MOD of integers."""
    return call(w, _division(op, dtype, int(b.text) if b.is_literal and int(b.text) > 0 else None), (a, b))


@cache
def _division(op: str, dtype: DType, known: int | None) -> Function:
    a, b = Local("a", dtype), Local("b", dtype)
    made = by_constant(op, a, Const(known, dtype)) if known else divided(op, a, b)
    return Function(op, (a, b), tuple(values([made])))


class _Dot(NamedTuple):
    """An instruction that adds products to lanes of ``type``: the name of LLVM's function, less the bits of all lanes;
    how many parts of which type a word has; and the same written out."""

    name: str
    type: str
    parts: tuple[int, str]
    plain: Function


def _written(op: str, write: Callable[..., Value], dtype: DType) -> Function:
    words = Local("a", uint32), Local("b", uint32), Local("c", dtype)
    return Function(op, words, tuple(values([write(op, *words)])))


_DOTS = {"bfloat16": DOT2, "int8": DOT4, "int16": DOT2I}
_DOT = {DOT2: _Dot("llvm.x86.avx512bf16.dpbf16ps", "float", (2, "bfloat"), _written(DOT2, two_products, float32)),
        DOT4: _Dot("llvm.x86.avx512.vpdpbusd", "i32", (4, "i8"), _written(DOT4, four_products, int32)),
        DOT2I: _Dot("llvm.x86.avx512.vpdpwssd", "i32", (2, "i16"), _written(DOT2I, two_whole_products, int32))}


def _dot(w: Writer, op: str, a: Operand, b: Operand, total: Operand) -> Operand:
    """One instruction, if there is one for as many lanes."""
    lanes, dot = max(x.lanes for x in (a, b, total)), _DOT[op]
    if lanes not in (4, 8, 16):
        return call(w, dot.plain, (a, b, total))
    count, part = dot.parts
    full, parts, result = f"{dot.name}.{32 * lanes}", f"<{count * lanes} x {part}>", f"<{lanes} x {dot.type}>"
    w.declare(full, f"declare {result} @{full}({result}, {parts}, {parts})")
    a, b, total = (w.widen(x, lanes) for x in (a, b, total))
    words = [w.pure(f"bitcast {x.typed} to {parts}", part, count * lanes, w.place(x)) for x in (a, b)]
    operands = ", ".join(x.typed for x in (total, *words))
    return w.pure(f"call {result} @{full}({operands})", dot.type, lanes, w.place(*words, total))


def _fmod(w: Writer, a: Operand, b: Operand) -> Operand:
    """C's fmod, which is exact, lane by lane. On float32 values its float64 form gives the float32 result. LLVM must
    not know it: it takes its result for a number where a is finite and b is not 0, even if b is NaN."""
    w.declare("fmod", "declare double @fmod(double, double) nobuiltin nounwind willreturn memory(none)")
    parts = []
    a, b = w.together(a, b)
    for number in range(a.lanes):
        x, y = w.lane(a, number), w.lane(b, number)
        if a.type == "float":
            x, y = w.convert("fpext", x, "double"), w.convert("fpext", y, "double")
        r = w.pure(f"call double @fmod({x.typed}, {y.typed})", "double", 1, w.place(x, y))
        parts.append(w.convert("fptrunc", r, "float") if a.type == "float" else r)
    return parts[0] if len(parts) == 1 else w.gathered(parts)


# --- conversions -------------------------------------------------------------------------------------------------


def cast(w: Writer, a: Operand, source: DType, dtype: DType) -> Operand:
    """CAST between any two dtypes."""
    type, signed = register_type(dtype), source.kind == "i"
    if source is float16:
        return w.convert("fpext", w.convert("bitcast", a, "half"), "float")
    if dtype is float16:
        return w.convert("bitcast", w.convert("fptrunc", a, "half"), "i16")
    if a.type == type:
        return a
    if dtype is bool_:
        return w.compare("fcmp une" if source.is_float else "icmp ne", a, literal(a.type, 0))
    if dtype.is_int and source.is_float:
        return w.convert("fptosi" if dtype.kind == "i" else "fptoui", a, type)
    if dtype.is_int:
        return w.convert("trunc" if dtype.bits < source.bits else "sext" if signed else "zext", a, type)
    if source.is_float:
        return w.convert("fpext" if dtype.size > source.size else "fptrunc", a, type)
    return w.convert("sitofp" if signed else "uitofp", a, type)


# --- bools, which take a byte in memory ----------------------------------------------------------------------------


def to_memory(w: Writer, a: Operand, dtype: DType) -> Operand:
    """A register value as it stands in memory."""
    return w.convert("zext", a, "i8") if dtype is bool_ else a


def from_memory(w: Writer, a: Operand, dtype: DType) -> Operand:
    """What ``to_memory`` made, in registers again."""
    return w.compare("icmp ne", a, literal("i8", 0)) if dtype is bool_ else a
