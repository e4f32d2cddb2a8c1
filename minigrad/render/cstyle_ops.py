"""Stage: inside the C-like renderers. In: one scalar op with the texts of its operands. Out: a C expression.
Next: ``cstyle.py``."""

from __future__ import annotations

import re
from typing import ClassVar, NamedTuple

import numpy as np

from minigrad.dtype import HALVES, DType, bool_, float64
from minigrad.errors import CompileError
from minigrad.kernel.ir import QUOTIENT, REMAINDER, Function
from minigrad.lower.passes.legalise import short
from minigrad.ops import Op

WORD, UNARY, TIMES, PLUS, COMPARE, LOOSE = 6, 5, 4, 3, 2, 0  # how tightly a text holds together


class Text(NamedTuple):
    """A C expression and how tightly it holds together."""

    text: str
    tight: int = WORD

    def inside(self, tight: int) -> str:
        """The text, in parentheses unless it holds together at least this tightly."""
        return self.text if self.tight >= tight else f"({self.text})"


_INFIX = {
    Op.ADD: ("+", PLUS), Op.SUB: ("-", PLUS), Op.MUL: ("*", TIMES), Op.DIV: ("/", TIMES), QUOTIENT: ("/", TIMES),
    REMAINDER: ("%", TIMES), Op.LT: ("<", COMPARE), Op.EQ: ("==", COMPARE), Op.AND: ("&", LOOSE), Op.OR: ("|", LOOSE),
    Op.XOR: ("^", LOOSE), Op.SHL: ("<<", LOOSE), Op.SHR: (">>", LOOSE)}
_MATH = {Op.FLOOR: "floor", Op.CEIL: "ceil", Op.TRUNC: "trunc", Op.ROUND: "rint", Op.SQRT: "sqrt", Op.FMA: "fma",
         Op.ABS: "fabs", REMAINDER: "fmod"}
NATIVE = {Op.EXP: "exp", Op.LOG: "log", Op.SIN: "sin", Op.COS: "cos", Op.TANH: "tanh", Op.ERF: "erf", Op.POW: "pow"}


def call(name: str, *operands: Text) -> Text:
    """``name(a, b)``, which binds as tightly as a name does."""
    return Text(f"{name}({', '.join(o.text for o in operands)})")


class Language:
    """What C, OpenCL C and CUDA C share about scalars, and as class attributes what they spell differently."""

    types: ClassVar[dict[str, str]] = {
        "bool": "bool", "uint8": "uint8_t", "int8": "int8_t", "int16": "int16_t", "int32": "int32_t",
        "int64": "int64_t", "uint16": "uint16_t", "uint32": "uint32_t", "uint64": "uint64_t",
        "float32": "float", "float64": "double"}
    function = "static inline "
    infinity, nan = "INFINITY", "NAN"
    math_float32 = "{}f"  # how float32's math functions are called: floorf
    math_float64 = "{}"
    long_suffix = "LL"
    native: ClassVar[dict[str, str]] = {}  # transcendental ops that are functions of the language
    reinterpret = "{to} {name}({of} a) {{ {to} b; memcpy(&b, &a, sizeof b); return b; }}"

    def __init__(self) -> None:
        self.helpers: dict[str, str] = {}  # the texts of the helpers used, in an order that compiles

    def register(self, dtype: DType) -> str:
        """The type of a value; of a half type, its bits."""
        return self.types["uint16" if dtype in HALVES else dtype.name]

    def memory(self, dtype: DType) -> str:
        """The type of an array's elements."""
        return self.register(dtype)

    def math(self, function: str, dtype: DType) -> str:
        return (self.math_float64 if dtype is float64 else self.math_float32).format(function)

    # --- values --------------------------------------------------------------------------------------------------

    def constant(self, value: int | float | bool, dtype: DType) -> str:
        """A constant of ``dtype``."""
        if dtype is bool_:
            return "1" if value else "0"
        if dtype.is_int:
            number = int(value)
            if number == -(1 << 63):
                return f"(-{(1 << 63) - 1}{self.long_suffix} - 1)"
            if dtype.kind == "u" and dtype.bits >= 32:
                return f"{number if number < 1 << 12 else hex(number)}U{self.long_suffix if dtype.bits == 64 else ''}"
            if number == -(1 << 31):
                return f"(-{(1 << 31) - 1} - 1)"
            return str(number) + (self.long_suffix if abs(number) >= 1 << 31 else "")
        if dtype is not float64:
            value = float(np.float32(value))
        if value != value:
            return self.nan
        if abs(value) == np.inf:
            return self.infinity if value > 0 else f"-{self.infinity}"
        text = repr(value) if dtype is float64 else str(np.float32(value))
        text = text if re.search("[.e]", text) else text + ".0"
        return text + ("" if dtype is float64 else "f")

    def apply(self, op: str, dtype: DType, operands: list[Text], sources: list[DType]) -> Text:
        """The expression of ``op``; ``sources`` are the operands' dtypes, ``dtype`` the result's."""
        if isinstance(op, Function):
            return call(op, *operands)
        source = sources[0]
        function = (_MATH.get(op) or self.native.get(op)) if source.is_float else None
        if function is not None:
            return call(self.math(function, source), *operands)
        if op in _INFIX:
            return self.infix(*_INFIX[op], *operands)
        first = operands[0]
        if op == Op.WHERE:
            c, a, b = (o.inside(COMPARE) for o in operands)
            return Text(f"{c} ? {a} : {b}", LOOSE)
        if op == Op.CAST:
            return Text(f"{first.inside(PLUS)} != 0", COMPARE) if dtype is bool_ else self.convert(first, dtype)
        if op == Op.BITCAST:
            return first if self.register(dtype) == self.register(source) else call(self.bits(dtype, source), first)
        if op == Op.NEG:
            return Text(f"-{first.inside(WORD)}", UNARY)
        if op == Op.NOT:
            if source is bool_:
                return Text(f"!{first.inside(WORD)}", COMPARE)
            return Text(f"({self.register(source)})~{first.inside(WORD)}", UNARY)
        raise CompileError(f"the C renderer has no form of {op} on {source.name}; a pass lowers it before rendering")

    def infix(self, sign: str, tight: int, a: Text, b: Text) -> Text:
        if tight in (LOOSE, COMPARE):
            inside = UNARY if tight == LOOSE else PLUS
            return Text(f"{a.inside(inside)} {sign} {b.inside(inside)}", tight)
        return Text(f"{a.inside(tight)} {sign} {b.inside(tight + 1)}", tight)

    def convert(self, a: Text, dtype: DType) -> Text:
        return Text(f"({self.register(dtype)}){a.inside(UNARY)}", UNARY)

    def bits(self, dtype: DType, source: DType) -> str:
        """The name of the helper that reads the bits of one type as another of its size."""
        name = f"{short(dtype)}_bits_of_{short(source)}"
        if name not in self.helpers:
            to, of = self.register(dtype), self.register(source)
            self.helpers[name] = self.function + self.reinterpret.format(to=to, of=of, name=name)
        return name
