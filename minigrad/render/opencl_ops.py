"""Stage: inside the OpenCL renderer. In: one scalar op with the texts of its operands, some of them vectors. Out: an
OpenCL C expression on vectors, with the same bits in every lane as the scalar form.
Next: ``opencl_vectors.py``."""

from __future__ import annotations

from minigrad.dtype import DType, bool_, float16, float32, float64
from minigrad.ops import REPRESENTABLE, Op
from minigrad.render.cstyle_ops import COMPARE, LOOSE, PLUS, TIMES, UNARY, WORD, Language, Text, call, is_half, short

MASKS = {8: "char", 16: "short", 32: "int", 64: "long"}
"""The type of a vector's bool by its bits: 0 or -1, as comparisons give it. It is as wide as what was compared."""

# {t} the vector type, {u} its unsigned twin, {m} that of its bools, {bits} of an element. A driver's own functions on
# vectors would be calls where it compiled them for another machine than the kernel, so that nothing here needs them.
VECTOR_HELPERS: dict[str, str] = {
    "add": "{t} {name}({t} a, {t} b) {{ return as_{t}(as_{u}(a) + as_{u}(b)); }}",
    "sub": "{t} {name}({t} a, {t} b) {{ return as_{t}(as_{u}(a) - as_{u}(b)); }}",
    "mul": "{t} {name}({t} a, {t} b) {{ return as_{t}(as_{u}(a) * as_{u}(b)); }}",
    "neg": "{t} {name}({t} a) {{ return as_{t}(-as_{u}(a)); }}",
    "abs": "{t} {name}({t} a) {{ return a < ({t})(0) ? as_{t}(-as_{u}(a)) : a; }}",
    "floordiv": """{t} {name}({t} a, {t} b) {{
  const {t} none = b == ({t})(0), minus = b == ({t})(-1), by = none | minus ? ({t})(1) : b;
  const {t} r = a % by, down = (r != ({t})(0)) & ((r < ({t})(0)) != (by < ({t})(0)));
  return none ? ({t})(0) : minus ? as_{t}(-as_{u}(a)) : a / by + down;
}}""",
    "mod": """{t} {name}({t} a, {t} b) {{
  const {t} by = (b == ({t})(0)) | (b == ({t})(-1)) ? ({t})(1) : b, r = a % by;
  return (r != ({t})(0)) & ((r < ({t})(0)) != (by < ({t})(0))) ? r + by : r;
}}""",
    "floordiv unsigned": """{t} {name}({t} a, {t} b) {{
  return b == ({t})(0) ? b : a / (b == ({t})(0) ? ({t})(1) : b);
}}""",
    "mod unsigned": """{t} {name}({t} a, {t} b) {{
  return b == ({t})(0) ? b : a % (b == ({t})(0) ? ({t})(1) : b);
}}""",
    "shl": "{t} {name}({t} a, {t} b) {{ return as_{u}(b) < ({u})({bits}) ? a << b : ({t})(0); }}",
    "shl unsigned": "{t} {name}({t} a, {t} b) {{ return b < ({t})({bits}) ? a << b : ({t})(0); }}",
    "shr": "{t} {name}({t} a, {t} b) {{ return a >> (as_{u}(b) < ({u})({bits}) ? b : ({t})({bits} - 1)); }}",
    "shr unsigned": "{t} {name}({t} a, {t} b) {{ return b < ({t})({bits}) ? a >> b : ({t})(0); }}",
    "maximum": "{t} {name}({t} a, {t} b) {{ return b > a ? b : a; }}",
    "minimum": "{t} {name}({t} a, {t} b) {{ return b < a ? b : a; }}",
    "maximum float": "{t} {name}({t} a, {t} b) {{ return (b > a) | (b != b) ? b : a; }}",
    "minimum float": "{t} {name}({t} a, {t} b) {{ return (b < a) | (b != b) ? b : a; }}",
}

# Conversions of the half types, as in ``HALF_HELPERS``; {n} lanes.
VECTOR_HALF_HELPERS: dict[str, str] = {
    "bf16_bits": """ushort{n} {name}(float{n} a) {{
  const uint{n} bits = as_uint{n}(a);
  return {to_ushort}((a != a ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}}""",
    "bf16_value": "float{n} {name}(ushort{n} a) {{ return as_float{n}({to_uint}(a) << 16); }}",
    "f16_bits": """ushort{n} {name}(float{n} a) {{
  const uint{n} bits = as_uint{n}(a), size = bits & 0x7fffffff, sign = bits >> 16 & 0x8000;
  const uint{n} small = as_uint{n}(as_float{n}(size) + 0.5f) - 0x3f000000;
  const uint{n} normal = (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13;
  const uint{n} beyond = size > 0x7f800000 ? 0x7e00 | (size >> 13 & 0x3ff) : (uint{n})(0x7c00);
  return {to_ushort}(sign | (size >= 0x47800000 ? beyond : size < 0x38800000 ? small : normal));
}}""",
    "f16_value": """float{n} {name}(ushort{n} a) {{
  const uint{n} wide = {to_uint}(a), size = wide & 0x7fff, sign = (wide & 0x8000) << 16;
  const uint{n} bits = as_uint{n}(as_float{n}(size << 13) * 0x1p112f);
  const uint{n} beyond = size > 0x7c00 ? (uint{n})(0x7fc00000) : (uint{n})(0x7f800000);
  return as_float{n}(sign | bits | (size >= 0x7c00 ? beyond : (uint{n})(0)));
}}""",
    "f16_round": "float{n} {name}(float{n} a) {{ return {f16_value}({f16_bits}(a)); }}",
    "bf16_round": "float{n} {name}(float{n} a) {{ return {bf16_value}({bf16_bits}(a)); }}",
    "f16_of_f64": """float{n} {name}(double{n} a) {{
  const ulong{n} bits = as_ulong{n}(a), low = bits & 0x1fffffffUL;
  return {f16_round}({to_float}(as_double{n}((bits ^ low) | (low != 0UL ? (ulong{n})(0x20000000UL) : low))));
}}""",
}

# The same bits by one instruction, where a processor has it.
F16C = {
    "f16_bits": "as_ushort8(__builtin_ia32_vcvtps2ph256(a, 0))",
    "f16_value": "__builtin_ia32_vcvtph2ps256(as_short8(a))",
}

# One instruction where the machine has it; ``a * b + c`` is contracted in this function alone.
FMA = """{t} {name}({t} a, {t} b, {t} c) {{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#pragma OPENCL FP_CONTRACT ON
  return a * b + c;
#else
  return {halves};
#endif
}}"""

_SIGN = {Op.ADD: ("+", PLUS), Op.SUB: ("-", PLUS), Op.MUL: ("*", TIMES), Op.DIV: ("/", TIMES)}
_BITS = {Op.AND: "&", Op.OR: "|", Op.XOR: "^", Op.MAXIMUM: "|", Op.MINIMUM: "&"}
_NAMED = {Op.ADD: "add", Op.SUB: "sub", Op.MUL: "mul", Op.NEG: "neg", Op.ABS: "abs", Op.FLOORDIV: "floordiv",
          Op.MOD: "mod", Op.SHL: "shl", Op.SHR: "shr", Op.MAXIMUM: "maximum", Op.MINIMUM: "minimum"}
_ELEMENTWISE = {Op.FLOOR: "floor", Op.CEIL: "ceil", Op.TRUNC: "trunc", Op.ABS: "abs"}
_LANEWISE = {Op.SQRT: "__builtin_sqrt{f}", Op.ROUND: "__builtin_rint{f}"}


def element(n: int) -> str:
    """How a vector's element is called: ``.s0`` … ``.sf``."""
    return f".s{n:x}"


class VectorOps(Language):
    """Scalar ops on vectors: as in ``Language``, with ``lanes`` of the operands."""

    def vector(self, dtype: DType, lanes: int, bits: int = 0) -> str:
        """The type of ``lanes`` values of ``dtype``; of bools, with so many bits each."""
        return (MASKS[bits] if dtype is bool_ else self.register(dtype)) + str(lanes)

    def width(self, dtype: DType) -> int:
        """Bits of a value of ``dtype``, and of the bool that a comparison of two gives."""
        return 32 if is_half(dtype) else dtype.bits

    def spread(self, a: Text, dtype: DType, lanes: int, bits: int = 0) -> Text:
        """``a`` in all lanes, if it is one for all; a bool with so many bits."""
        if dtype is bool_:
            return self.mask(a, lanes, bits)
        return a if a.lanes > 1 else Text(f"({self.vector(dtype, lanes)})({a.text})", UNARY, lanes)

    def mask(self, a: Text, lanes: int, bits: int) -> Text:
        """A bool in all lanes, with so many bits."""
        to = f"{MASKS[bits]}{lanes}"
        if a.lanes == 1:
            return Text(f"({to})(-{a.inside(WORD)})", UNARY, lanes, bits)
        return a if a.bits == bits else Text(f"{self.converter(to)}({a.text})", WORD, lanes, bits)

    def converter(self, to: str) -> str:
        """The name of the conversion of vectors to type ``to``, lane by lane, without a call."""
        self.helpers.setdefault(f"to_{to}", f"#define to_{to}(a) __builtin_convertvector(a, {to})")
        return f"to_{to}"

    # --- helpers -------------------------------------------------------------------------------------------------

    def vector_helper(self, kind: str, dtype: DType, lanes: int) -> str:
        """The name of helper ``kind`` on so many values of ``dtype``."""
        name = f"{kind.split()[0]}_{short(dtype)}x{lanes}"
        if name not in self.helpers:
            t = self.vector(dtype, lanes)
            if kind in VECTOR_HELPERS:
                text = VECTOR_HELPERS[kind].format(name=name, t=t, u=t if t[0] == "u" else f"u{t}", bits=dtype.bits)
            else:
                text = f"{t} {name}({t} a, {t} b) {{ return {self.lanewise(self.helper(kind, dtype), t, lanes, 2)}; }}"
            self.helpers[name] = text
        return name

    def lanewise(self, function: str, type: str, lanes: int, arguments: int) -> str:
        """A call of a scalar function for each lane of ``a``, ``b`` …"""
        calls = [f"{function}({', '.join(x + element(n) for x in 'abc'[:arguments])})" for n in range(lanes)]
        return f"({type})({', '.join(calls)})"

    def vector_half(self, kind: str, lanes: int) -> str:
        name = f"{kind}x{lanes}"
        if name not in self.helpers:
            text = VECTOR_HALF_HELPERS[kind]
            fields = {f"to_{t}": self.converter(f"{t}{lanes}") for t in ("ushort", "uint", "float")
                      if f"{{to_{t}}}" in text}
            fields |= {other: self.vector_half(other, lanes) for other in VECTOR_HALF_HELPERS if f"{{{other}}}" in text}
            text = text.format(name=name, n=lanes, **fields)
            if lanes == 8 and kind in F16C:
                head, body = text.removesuffix("\n}").split("\n", 1)
                text = f"{head}\n#ifdef __F16C__\n  return {F16C[kind]};\n#else\n{body}\n#endif\n}}"
            elif lanes == 16 and kind in F16C:
                half = self.vector_half(kind, 8)
                text = f"{text.partition('{')[0]}{{ return ({text.split()[0]})({half}(a.lo), {half}(a.hi)); }}"
            self.helpers[name] = text
        return name

    def vector_saturating(self, dtype: DType, source: DType, lanes: int) -> str:
        """As ``saturating``. The comparisons are made in floats as wide as the integer."""
        single = source is not float64
        name = f"{short(dtype)}_of_{'f32' if single else 'f64'}x{lanes}"
        if name not in self.helpers:
            double = not single or dtype.bits == 64
            f, wide = float64 if double else float32, MASKS[64 if double else 32]
            wide = f"u{wide}" if dtype.kind == "u" and dtype.bits >= 32 else wide
            number, t, exact = f"{wide}{lanes}", self.vector(dtype, lanes), 53 if double else 24
            high = float(dtype.max if int(dtype.max).bit_length() <= exact else int(dtype.max) + 1)
            start = f"{self.converter(f'double{lanes}')}(from)" if double and single else "from"
            value = (f"a >= {self.constant(high, f)} ? ({number})({self.constant(dtype.max, dtype)}) : "
                     f"a <= {self.constant(float(dtype.min), f)} ? ({number})({self.constant(dtype.min, dtype)}) : "
                     f"a == a ? {self.converter(number)}(a) : ({number})(0)")
            self.helpers[name] = (
                f"{t} {name}({'float' if single else 'double'}{lanes} from) {{\n"
                f"  const {self.types[f.name]}{lanes} a = {start};\n"
                f"  const {number} value = {value};\n"
                f"  return {'value' if number == t else f'{self.converter(t)}(value)'};\n}}")
        return name

    def function_of(self, op: str, dtype: DType, lanes: int) -> str:
        """The name of the function that computes ``op`` on floats: one of the compiler's, not of the driver's."""
        wide = float64 if dtype is float64 else float32
        f, t = "" if wide is float64 else "f", self.types[wide.name] + (str(lanes) if lanes > 1 else "")
        name = f"{str(op).lower()}_{short(wide)}" + (f"x{lanes}" if lanes > 1 else "")
        if op == Op.FMA:
            halves = "fma(a, b, c)"
            if lanes * wide.size > 16:
                half = self.function_of(op, dtype, lanes // 2)
                halves = f"({t})({half}(a.lo, b.lo, c.lo), {half}(a.hi, b.hi, c.hi))"
            self.helpers.setdefault(name, FMA.format(t=t, name=name, halves=halves))
        elif op in _ELEMENTWISE:
            self.helpers.setdefault(name, f"#define {name}(a) __builtin_elementwise_{_ELEMENTWISE[op]}(a)")
        else:
            function = _LANEWISE[op].format(f=f) if op in _LANEWISE else self.native[op]
            text = f"{t} {name}({t} a{f', {t} b' if op == Op.POW else ''}) {{ return "
            text += f"{self.lanewise(function, t, lanes, 1 + (op == Op.POW))}; }}"
            self.helpers.setdefault(name, text)
        return name

    # --- values --------------------------------------------------------------------------------------------------

    def apply(self, op: str, dtype: DType, operands: list[Text], sources: list[DType]) -> Text:
        lanes = max(o.lanes for o in operands)
        if lanes == 1:
            return super().apply(op, dtype, operands, sources)
        if op == Op.WHERE:
            return self.choice(operands[0], operands[1], operands[2], dtype)
        if op in (Op.CAST, Op.BITCAST):
            return (self.vector_cast if op == Op.CAST else self.vector_bitcast)(operands[0], sources[0], dtype)
        form = (self.vector_float if sources[0].is_float else self.vector_bool if sources[0] is bool_
                else self.vector_integer)
        result = form(op, operands, sources[0], lanes)
        if is_half(dtype) and op not in REPRESENTABLE:
            result = Text(f"{self.vector_half(f'{short(dtype)}_round', lanes)}({result.text})", WORD, lanes)
        return result

    def choice(self, c: Text, a: Text, b: Text, dtype: DType) -> Text:
        """``c ? a : b``, where at least one is a vector."""
        lanes = max(c.lanes, a.lanes, b.lanes)
        bits = max(a.bits, b.bits, c.bits, 8) if dtype is bool_ else 0
        a, b = self.spread(a, dtype, lanes, bits), self.spread(b, dtype, lanes, bits)
        if c.lanes > 1:
            c = self.mask(c, lanes, bits or self.width(dtype))
        return Text(f"{c.inside(COMPARE)} ? {a.inside(COMPARE)} : {b.inside(COMPARE)}", LOOSE, lanes, bits)

    def vector_infix(self, sign: str, tight: int, operands: list[Text], dtype: DType) -> Text:
        """Of one vector at least. What is one for all lanes needs no more than its own text, where C does not make it
        wider than the lanes are."""
        lanes = max(o.lanes for o in operands)
        if dtype.size < 4 and not is_half(dtype):
            operands = [self.spread(o, dtype, lanes) for o in operands]
        text = self.infix(sign, tight, *operands)
        return text._replace(lanes=lanes, bits=self.width(dtype) if tight == COMPARE else 0)

    def called(self, name: str, operands: list[Text], dtype: DType, lanes: int) -> Text:
        return call(name, *[self.spread(o, dtype, lanes) for o in operands])._replace(lanes=lanes)

    def vector_float(self, op: str, operands: list[Text], source: DType, lanes: int) -> Text:
        if op in _SIGN:
            return self.vector_infix(*_SIGN[op], operands, source)
        if op in (Op.LT, Op.EQ):
            return self.vector_infix("<" if op == Op.LT else "==", COMPARE, operands, source)
        if op == Op.NEG:
            return Text(f"-{operands[0].inside(WORD)}", UNARY, lanes)
        if op in _NAMED and op != Op.ABS:
            wide = float64 if source is float64 else float32
            return self.called(self.vector_helper(f"{_NAMED[op]} float", wide, lanes), operands, source, lanes)
        return self.called(self.function_of(op, source, lanes), operands, source, lanes)

    def vector_bool(self, op: str, operands: list[Text], source: DType, lanes: int) -> Text:
        bits = max(o.bits for o in operands)
        masks = [self.mask(o, lanes, bits) for o in operands]
        if op == Op.NOT:
            return Text(f"~{masks[0].inside(WORD)}", UNARY, lanes, bits)
        if op == Op.LT:
            return Text(f"~{masks[0].inside(WORD)} & {masks[1].inside(UNARY)}", LOOSE, lanes, bits)
        tight = COMPARE if op == Op.EQ else LOOSE
        return self.infix(_BITS.get(op, "=="), tight, *masks)._replace(lanes=lanes, bits=bits)

    def vector_integer(self, op: str, operands: list[Text], source: DType, lanes: int) -> Text:
        unsigned = source.kind == "u"
        if op in (Op.LT, Op.EQ):
            return self.vector_infix("<" if op == Op.LT else "==", COMPARE, operands, source)
        if op in (Op.AND, Op.OR, Op.XOR):
            return self.vector_infix(_BITS[op], LOOSE, operands, source)
        if op == Op.NOT or (op == Op.NEG and unsigned):
            return Text(f"{'~' if op == Op.NOT else '-'}{operands[0].inside(WORD)}", UNARY, lanes)
        if op == Op.ABS and unsigned:
            return operands[0]
        if unsigned and op in _SIGN:
            return self.vector_infix(*_SIGN[op], operands, source)
        own = unsigned and op in (Op.FLOORDIV, Op.MOD, Op.SHL, Op.SHR)
        name = self.vector_helper(_NAMED[op] + (" unsigned" if own else ""), source, lanes)
        return self.called(name, operands, source, lanes)

    # --- conversions ---------------------------------------------------------------------------------------------

    def vector_cast(self, a: Text, source: DType, dtype: DType) -> Text:
        lanes = a.lanes
        if source is dtype or (is_half(source) and dtype is float32):
            return a
        if dtype is bool_:
            zero = self.spread(Text(self.constant(0, source)), source, lanes)
            return Text(f"{a.inside(PLUS)} != {zero.text}", COMPARE, lanes, self.width(source))
        if source is bool_:
            one = Text("1") if a.bits >= 32 else Text(f"({MASKS[a.bits]}{lanes})(1)")
            a = Text(f"{a.inside(UNARY)} & {one.text}", LOOSE, lanes)
        elif source.is_float and dtype.is_int:
            return Text(f"{self.vector_saturating(dtype, source, lanes)}({a.text})", WORD, lanes)
        if is_half(dtype):
            if source is float64 and dtype is float16:
                return Text(f"{self.vector_half('f16_of_f64', lanes)}({a.text})", WORD, lanes)
            single = a if self.register(source) == "float" and source is not bool_ else self.vector_convert(a, float32)
            return Text(f"{self.vector_half(f'{short(dtype)}_round', lanes)}({single.text})", WORD, lanes)
        return self.vector_convert(a, dtype)

    def vector_convert(self, a: Text, dtype: DType) -> Text:
        """To another type of numbers, lane by lane."""
        return Text(f"{self.converter(self.vector(dtype, a.lanes))}({a.text})", WORD, a.lanes)

    def vector_bitcast(self, a: Text, source: DType, dtype: DType) -> Text:
        if source is dtype:
            return a
        bits = self.to_memory(a, source)
        return self.from_memory(Text(f"as_{self.memory(dtype)}{a.lanes}({bits.text})", WORD, a.lanes), dtype)

    def to_memory(self, a: Text, dtype: DType) -> Text:
        """A value as its array holds it: bools as bytes, the half types as their bits."""
        if a.lanes == 1:
            return super().to_memory(a, dtype)
        if dtype is bool_:
            return Text(f"as_uchar{a.lanes}(-{self.mask(a, a.lanes, 8).inside(WORD)})", WORD, a.lanes)
        if is_half(dtype):
            return Text(f"{self.vector_half(f'{short(dtype)}_bits', a.lanes)}({a.text})", WORD, a.lanes)
        return a

    def from_memory(self, a: Text, dtype: DType) -> Text:
        if a.lanes == 1:
            return super().from_memory(a, dtype)
        if dtype is bool_:
            return Text(f"{a.inside(PLUS)} != (uchar{a.lanes})(0)", COMPARE, a.lanes, 8)
        if is_half(dtype):
            return Text(f"{self.vector_half(f'{short(dtype)}_value', a.lanes)}({a.text})", WORD, a.lanes)
        return a
