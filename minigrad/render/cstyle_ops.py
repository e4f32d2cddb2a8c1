"""Stage: inside the C-like renderers. In: one scalar op with the texts of its operands. Out: a C expression, and the
text of the helper functions it calls, with the guards of ``ops.py``'s ``edge`` column.
Next: ``cstyle.py``."""

from __future__ import annotations

import re
from typing import ClassVar, NamedTuple

import numpy as np

from minigrad.dtype import BY_NAME, DType, bfloat16, bool_, float16, float32, float64
from minigrad.errors import CompileError
from minigrad.kernel.ir import DOT2
from minigrad.ops import REPRESENTABLE, Op, cast

WORD, UNARY, TIMES, PLUS, COMPARE, LOOSE = 6, 5, 4, 3, 2, 0  # how tightly a text holds together


class Text(NamedTuple):
    """A C expression and how tightly it holds together."""

    text: str
    tight: int = WORD

    def inside(self, tight: int) -> str:
        """The text, in parentheses unless it holds together at least this tightly."""
        return self.text if self.tight >= tight else f"({self.text})"


# Helper functions. {t} the C type, {u} its unsigned twin or uint32 where that is wider, {n} the dtype's name,
# {low} and {high} its bounds, {bits} its bits; ``other()`` calls other helpers: {add}, {neg} of the same dtype.
HELPERS: dict[str, str] = {
    "add": "{t} {name}({t} a, {t} b) {{ return ({t})(({u})a + ({u})b); }}",
    "sub": "{t} {name}({t} a, {t} b) {{ return ({t})(({u})a - ({u})b); }}",
    "mul": "{t} {name}({t} a, {t} b) {{ return ({t})(({u})a * ({u})b); }}",
    "neg": "{t} {name}({t} a) {{ return ({t})(0 - ({u})a); }}",
    "abs": "{t} {name}({t} a) {{ return a < 0 ? ({t})(0 - ({u})a) : a; }}",
    "floordiv": """{t} {name}({t} a, {t} b) {{
  if (b == 0) return 0;
  if (b == -1) return ({t})(0 - ({u})a);
  return ({t})(a / b - (a % b != 0 && (a < 0) != (b < 0)));
}}""",
    "mod": """{t} {name}({t} a, {t} b) {{
  if (b == 0 || b == -1) return 0;
  const {t} r = ({t})(a % b);
  return ({t})(r != 0 && (r < 0) != (b < 0) ? r + b : r);
}}""",
    "floordiv unsigned": "{t} {name}({t} a, {t} b) {{ return b == 0 ? 0 : ({t})(a / b); }}",
    "mod unsigned": "{t} {name}({t} a, {t} b) {{ return b == 0 ? 0 : ({t})(a % b); }}",
    "shl": "{t} {name}({t} a, {t} b) {{ return ({v})b < {bits} ? ({t})(({u})a << b) : 0; }}",
    "shr": "{t} {name}({t} a, {t} b) {{ return ({t})(({v})b < {bits} ? a >> b : a < 0 ? -1 : 0); }}",
    "shr unsigned": "{t} {name}({t} a, {t} b) {{ return b < {bits} ? ({t})(a >> b) : 0; }}",
    "maximum": "{t} {name}({t} a, {t} b) {{ return b > a ? b : a; }}",
    "minimum": "{t} {name}({t} a, {t} b) {{ return b < a ? b : a; }}",
    "maximum float": "{t} {name}({t} a, {t} b) {{ return b > a || b != b ? b : a; }}",
    "minimum float": "{t} {name}({t} a, {t} b) {{ return b < a || b != b ? b : a; }}",
    "mod float": """{t} {name}({t} a, {t} b) {{
  const {t} r = {fmod}(a, b);
  return r == 0 ? {copysign}(({t})0, b) : (r < 0) != (b < 0) ? r + b : r;
}}""",
    "floordiv float": """{t} {name}({t} a, {t} b) {{
  const {t} r = {fmod}(a, b);
  if (b == 0) return a / b;
  {t} q = (a - r) / b;
  if (r != 0 && (r < 0) != (b < 0)) q -= 1;
  if (q == 0) return {copysign}(({t})0, a / b);
  const {t} down = {floor}(q);
  return q - down > ({t})0.5 ? down + 1 : down;
}}""",
}

# Conversions of the half types, which are held as float values. {f} float, {d} double, {u16} and so on the types.
HALF_HELPERS: dict[str, str] = {
    "bf16_bits": """{u16} {name}({f} a) {{
  const {u32} bits = {bits32}(a);
  return ({u16})((a != a ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}}""",
    "bf16_value": "{f} {name}({u16} a) {{ return {value32}(({u32})a << 16); }}",
    "f16_bits": """{u16} {name}({f} a) {{
  const {u32} bits = {bits32}(a), size = bits & 0x7fffffff, sign = bits >> 16 & 0x8000;
  if (size > 0x7f800000) return ({u16})(sign | 0x7e00 | (size >> 13 & 0x3ff));
  if (size >= 0x47800000) return ({u16})(sign | 0x7c00);
  if (size < 0x38800000) return ({u16})(sign | ({bits32}({value32}(size) + 0.5f) - 0x3f000000));
  return ({u16})(sign | ((size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13));
}}""",
    "f16_value": """{f} {name}({u16} a) {{
  const {u32} size = a & 0x7fff, sign = ({u32})(a & 0x8000) << 16;
  {u32} bits = {bits32}({value32}(size << 13) * 0x1p112f);
  if (size >= 0x7c00) bits |= size > 0x7c00 ? 0x7fc00000 : 0x7f800000;
  return {value32}(sign | bits);
}}""",
    "f16_round": "{f} {name}({f} a) {{ return {f16_value}({f16_bits}(a)); }}",
    "bf16_round": "{f} {name}({f} a) {{ return {bf16_value}({bf16_bits}(a)); }}",
    "bf16_dot2": """{f} {name}({u32} a, {u32} b, {f} c) {{
  const {f} total = {fma}({value32}(a & 0xFFFF0000U), {value32}(b & 0xFFFF0000U), c);
  return {fma}({value32}(a << 16), {value32}(b << 16), total);
}}""",
    "f16_of_f64": """{f} {name}({d} a) {{
  const {u64} bits = {bits64}(a), low = ((({u64})1) << 29) - 1;
  return {f16_round}(({f}){value64}((bits & ~low) | (bits & low ? low + 1 : 0)));
}}""",
}

_FLOAT_SIGN = {Op.ADD: ("+", PLUS), Op.SUB: ("-", PLUS), Op.MUL: ("*", TIMES), Op.DIV: ("/", TIMES)}
_MATH = {Op.FLOOR: "floor", Op.CEIL: "ceil", Op.TRUNC: "trunc", Op.ROUND: "rint", Op.SQRT: "sqrt", Op.FMA: "fma",
         Op.ABS: "fabs"}
NATIVE = {Op.EXP: "exp", Op.LOG: "log", Op.SIN: "sin", Op.COS: "cos", Op.TANH: "tanh", Op.ERF: "erf", Op.POW: "pow"}
_BITS = {Op.AND: "&", Op.OR: "|", Op.XOR: "^"}
_NAMED = {Op.ADD: "add", Op.SUB: "sub", Op.MUL: "mul", Op.NEG: "neg", Op.ABS: "abs", Op.FLOORDIV: "floordiv",
          Op.MOD: "mod", Op.SHL: "shl", Op.SHR: "shr", Op.MAXIMUM: "maximum", Op.MINIMUM: "minimum"}


def is_half(dtype: DType) -> bool:
    """Whether it is one of the 16-bit floats, whose arithmetic is done in float32."""
    return dtype is float16 or dtype is bfloat16


def short(dtype: DType) -> str:
    """The dtype's name in helpers: ``i32``, ``bf16``."""
    kind = "bf" if dtype is bfloat16 else dtype.kind
    return "bool" if dtype is bool_ else f"{kind}{dtype.bits}"


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
        """The type of a value: the half types are held as float."""
        return self.types["float32" if is_half(dtype) else dtype.name]

    def memory(self, dtype: DType) -> str:
        """The type of an array's elements."""
        return self.types["uint16" if is_half(dtype) else dtype.name]

    # --- helpers -------------------------------------------------------------------------------------------------

    def helper(self, kind: str, dtype: DType) -> str:
        """The name of helper ``kind`` for ``dtype``; its text goes to the prelude."""
        name = f"{kind.split()[0]}_{short(dtype)}"
        if name not in self.helpers:
            signed = dtype.kind == "i"
            wide = "uint64" if dtype.bits == 64 else "uint32"
            fields = {"t": self.register(dtype), "u": self.types[wide], "bits": dtype.bits,
                      "v": self.types["u" * signed + dtype.name] if dtype.is_int else ""}
            for function in ("fmod", "copysign", "floor"):
                fields[function] = self.math(function, float64 if dtype is float64 else float32)
            self.helpers[name] = self.function + HELPERS[kind].format(name=name, **fields)
        return name

    def bits(self, to: str, of: str) -> str:
        """The name of the helper that reads the bits of one type as another of its size."""
        name = f"{short(BY_NAME[to])}_bits_of_{short(BY_NAME[of])}"
        if name not in self.helpers:
            text = self.reinterpret.format(to=self.types[to], of=self.types[of], name=name)
            self.helpers[name] = self.function + text
        return name

    def half(self, name: str) -> str:
        """The name of a conversion of a half type."""
        if name not in self.helpers:
            text = HALF_HELPERS[name]
            fields = {"f": self.types["float32"], "d": self.types["float64"], "fma": self.math("fma", float32),
                      **{f"u{n}": self.types[f"uint{n}"] for n in (16, 32, 64)}}
            for n in ("32", "64"):
                if f"{{bits{n}}}" in text:
                    fields[f"bits{n}"] = self.bits(f"uint{n}", f"float{n}")
                if f"{{value{n}}}" in text:
                    fields[f"value{n}"] = self.bits(f"float{n}", f"uint{n}")
            for other in HALF_HELPERS:
                if f"{{{other}}}" in text:
                    fields[other] = self.half(other)
            self.helpers[name] = self.function + text.format(name=name, **fields)
        return name

    def saturating(self, dtype: DType, source: DType) -> str:
        """The name of the conversion of a float to an integer: NaN gives 0, out of range the nearest bound."""
        wide = float64 if source is float64 else float32
        name = f"{short(dtype)}_of_{short(wide)}"
        if name not in self.helpers:
            t, f = self.register(dtype), self.types[wide.name]
            exact = 53 if wide is float64 else 24
            top_value = int(dtype.max)
            high = float(top_value if top_value.bit_length() <= exact else top_value + 1)
            low, top = self.constant(dtype.min, dtype), self.constant(dtype.max, dtype)
            self.helpers[name] = (
                f"{self.function}{t} {name}({f} a) {{\n"
                f"  return a >= {self.constant(high, wide)} ? {top} : a <= {self.constant(float(dtype.min), wide)} ? "
                f"{low} : a == a ? ({t})a : 0;\n}}")
        return name

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
                return f"{number}U{self.long_suffix if dtype.bits == 64 else ''}"
            if number == -(1 << 31):
                return f"(-{(1 << 31) - 1} - 1)"
            return str(number) + (self.long_suffix if abs(number) >= 1 << 31 else "")
        if dtype is not float64:
            value = float(cast(np.array([value], np.float64), dtype)[0])
        if value != value:
            return self.nan
        if abs(value) == np.inf:
            return self.infinity if value > 0 else f"-{self.infinity}"
        text = repr(value) if dtype is float64 else str(np.float32(value))
        text = text if re.search("[.e]", text) else text + ".0"
        return text + ("" if dtype is float64 else "f")

    def apply(self, op: str, dtype: DType, operands: list[Text], sources: list[DType]) -> Text:
        """The expression of ``op``; ``sources`` are the operands' dtypes, ``dtype`` the result's."""
        if op == Op.WHERE:
            c, a, b = (o.inside(COMPARE) for o in operands)
            return Text(f"{c} ? {a} : {b}", LOOSE)
        if op == Op.CAST:
            return self.cast(operands[0], sources[0], dtype)
        if op == Op.BITCAST:
            return self.bitcast(operands[0], sources[0], dtype)
        if op == DOT2:
            return call(self.half("bf16_dot2"), *operands)
        source = sources[0]
        form = self.float_op if source.is_float else self.bool_op if source is bool_ else self.integer_op
        result = form(op, operands, source)
        if result is None:
            raise CompileError(f"the C renderer has no form of {op} on {source.name}; "
                               "a pass lowers it before rendering")
        if is_half(dtype) and op not in REPRESENTABLE:
            return call(self.half(f"{short(dtype)}_round"), result)
        return result

    def infix(self, sign: str, tight: int, a: Text, b: Text) -> Text:
        if tight == LOOSE:
            return Text(f"{a.inside(UNARY)} {sign} {b.inside(UNARY)}", LOOSE)
        if tight == COMPARE:
            return Text(f"{a.inside(PLUS)} {sign} {b.inside(PLUS)}", COMPARE)
        return Text(f"{a.inside(tight)} {sign} {b.inside(tight + 1)}", tight)

    def float_op(self, op: str, operands: list[Text], source: DType) -> Text | None:
        wide = float64 if source is float64 else float32
        if op in _FLOAT_SIGN:
            return self.infix(*_FLOAT_SIGN[op], operands[0], operands[1])
        function = _MATH.get(op) or self.native.get(op)
        if function is not None:
            return call(self.math(function, wide), *operands)
        if op in (Op.LT, Op.EQ):
            return self.infix("<" if op == Op.LT else "==", COMPARE, *operands)
        if op == Op.NEG:
            return Text(f"-{operands[0].inside(WORD)}", UNARY)
        if op in (Op.MAXIMUM, Op.MINIMUM, Op.MOD, Op.FLOORDIV):
            return call(self.helper(f"{_NAMED[op]} float", wide), *operands)
        return None

    def bool_op(self, op: str, operands: list[Text], source: DType) -> Text | None:
        if op in _BITS:
            return self.infix(_BITS[op], LOOSE, *operands)
        if op in (Op.MAXIMUM, Op.MINIMUM):
            return self.infix("|" if op == Op.MAXIMUM else "&", LOOSE, *operands)
        if op == Op.NOT:
            return Text(f"!{operands[0].inside(WORD)}", UNARY)
        if op == Op.LT:
            return Text(f"{operands[1].inside(UNARY)} && !{operands[0].inside(WORD)}", LOOSE)
        return self.infix("==", LOOSE, *operands) if op == Op.EQ else None

    def integer_op(self, op: str, operands: list[Text], source: DType) -> Text | None:
        unsigned, wraps = source.kind == "u", source.kind == "u" and source.bits >= 32
        if op in (Op.LT, Op.EQ):
            return self.infix("<" if op == Op.LT else "==", COMPARE, *operands)
        if op in _BITS:
            return self.infix(_BITS[op], LOOSE, *operands)
        if op == Op.NOT:
            return Text(f"({self.register(source)})~{operands[0].inside(WORD)}", UNARY)
        if op == Op.ABS and unsigned:
            return operands[0]
        if wraps and op in (Op.ADD, Op.SUB, Op.MUL):
            return self.infix(*_FLOAT_SIGN[op], *operands)
        if op in _NAMED:
            own = unsigned and op in (Op.FLOORDIV, Op.MOD, Op.SHR)
            return call(self.helper(_NAMED[op] + (" unsigned" if own else ""), source), *operands)
        return None

    # --- conversions ---------------------------------------------------------------------------------------------

    def cast(self, a: Text, source: DType, dtype: DType) -> Text:
        if source is dtype:
            return a
        if dtype is bool_:
            return Text(f"{a.inside(PLUS)} != 0", COMPARE)
        if source.is_float and dtype.is_int:
            return call(self.saturating(dtype, source), a)
        if is_half(dtype):
            if source is float64 and dtype is float16:
                return call(self.half("f16_of_f64"), a)
            single = a if self.register(source) == self.types["float32"] else self.convert(a, float32)
            return call(self.half(f"{short(dtype)}_round"), single)
        if is_half(source) and dtype is float32:
            return a
        return self.convert(a, dtype)

    def convert(self, a: Text, dtype: DType) -> Text:
        return Text(f"({self.register(dtype)}){a.inside(UNARY)}", UNARY)

    def bitcast(self, a: Text, source: DType, dtype: DType) -> Text:
        if source is dtype:
            return a
        of, to = ("uint16" if is_half(d) else d.name for d in (source, dtype))
        bits = self.to_memory(a, source)
        return self.from_memory(bits if of == to else call(self.bits(to, of), bits), dtype)

    def to_memory(self, a: Text, dtype: DType) -> Text:
        return call(self.half(f"{short(dtype)}_bits"), a) if is_half(dtype) else a

    def from_memory(self, a: Text, dtype: DType) -> Text:
        return call(self.half(f"{short(dtype)}_value"), a) if is_half(dtype) else a
