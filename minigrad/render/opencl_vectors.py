"""Stage: inside the OpenCL renderer. In: ``vector`` loops of the CPU form. Out: straight OpenCL C on its vector types:
the loop is gone, and what depends on the lane is a ``float8`` or the like.
Next: ``opencl.py``."""

from __future__ import annotations

from typing import ClassVar

from minigrad.dtype import DType, bool_, int64
from minigrad.kernel.ir import Alloc, Apply, Array, Fold, For, Index, Let, Load, Local, Store, Value
from minigrad.ops import Op
from minigrad.render.cstyle import CStyleRenderer
from minigrad.render.cstyle_ops import COMPARE, LOOSE, PLUS, UNARY, WORD, Text, call
from minigrad.render.llvm_transpose import turned_loads
from minigrad.render.opencl_ops import VectorOps, element
from minigrad.symbolic import Sym, coefficient, num, split, substitute, variables

LANES = (2, 4, 8, 16)
"""The lengths of OpenCL's vectors that we use."""

STEPS = ("0", "n", *(f"{i} * n" for i in range(2, 16)))
_CONDITIONS = ("and", "less", "equal")

# Accesses to n neighbours anywhere. ``vload8`` would do, but may be a call.
ACCESS_TYPE = "typedef {t} {t}{n}_any __attribute__((ext_vector_type({n}), aligned({size})));"
READ = """__attribute__((overloadable)) {t}{n} read{n}(const {space}{t} *from) {{
  return *(const {space}{t}{n}_any *)from;
}}"""
WRITE = """__attribute__((overloadable)) void write{n}({space}{t} *to, {t}{n} value) {{
  *({space}{t}{n}_any *)to = value;
}}"""

# A square of elements with rows and columns exchanged: blocks across the diagonal change places, halves first.
TURN = """__attribute__((overloadable)) void turn{n}({t}{n} *to, const {space}{t} *from, const {index} step) {{
  #pragma unroll
  for (int n = 0; n < {n}; n++) to[n] = read{n}(from + n * step);
{steps}
}}"""
TURN_STEP = """  #pragma unroll
  for (int n = 0; n < {n}; n++) if (!(n & {d})) {{
    const {t}{n} a = to[n], b = to[n + {d}];
    to[n] = ({t}{n})({low});
    to[n + {d}] = ({t}{n})({high});
  }}"""

_INDEX_HELPERS = {
    "min": "{t} {name}({t} a, {t} b) {{ return a < b ? a : b; }}",
    "max": "{t} {name}({t} a, {t} b) {{ return a > b ? a : b; }}",
    "floordiv": "{t} {name}({t} a, {t} b) {{ return a / b + ((a % b != 0) & ((a % b < 0) != (b < 0))); }}",
    "mod": "{t} {name}({t} a, {t} b) {{ return a % b + ((a % b != 0) & ((a % b < 0) != (b < 0)) ? b : ({t})(0)); }}",
}
_INDEX_NAMES = {"min": "least", "max": "greatest", "floordiv": "floor_div", "mod": "floor_mod"}


class VectorLoops(VectorOps, CStyleRenderer):
    """Statements of the CPU form. Outside vector loops they are those of C."""

    index_dtypes: ClassVar[dict[str, DType]] = {}
    lane: Sym | None = None  # the variable of the vector loop being written
    lanes = 1

    def __init__(self) -> None:
        super().__init__()
        self.turned: dict[int, str] = {}  # the texts of loads that were made for a whole unrolled loop

    def vectors(self, array: Array) -> bool:
        """Whether a register array is kept as an array of vectors."""
        return array.scope == "register" and array.lanes in LANES and not self.current.workgroup

    def loop(self, s: For) -> None:
        lanes = int(s.stop) if s.kind == "vector" else 1
        if lanes not in LANES or self.current.workgroup:
            turned = turned_loads(s) if s.kind == "unroll" and not self.current.workgroup else []
            for v in turned:
                if v.guard is None:
                    self.turned[id(v)] = f"{self.turn(v, s)}[{self.name(str(s.var))}]"
            super().loop(s)
            for v in turned:
                self.turned.pop(id(v), None)
            return
        self.vector_names: dict[str, Text] = {}
        self.lane, self.lanes = s.var, lanes
        self.block(s.body)
        self.lane, self.lanes = None, 1

    def turn(self, v: Load, s: For) -> str:
        """What a load gives in each copy of an unrolled loop: rows along the copies, turned into columns along the
        lanes. The name of the array that holds them."""
        inner, array = s.body[0], v.array
        assert isinstance(inner, For)
        self.lanes = n = int(inner.stop)
        t, step = self.memory(array.dtype), coefficient(v.index, inner.var)
        self.access_helper(array, "read")
        steps, d = [], n // 2
        while d:
            low, high = (", ".join(f"{x}.s" + "".join(f"{k:x}" for k in range(first, first + d))
                                   for start in range(0, n, 2 * d) for first in (start + part,) for x in "ab")
                         for part in (0, d))
            steps.append(TURN_STEP.format(n=n, t=t, d=d, low=low, high=high))
            d //= 2
        space = "__global " if array.scope == "global" else self.scopes[array.scope] or ""
        self.helpers.setdefault(f"turn{n} {space}{t} {self.index_word}", TURN.format(
            n=n, t=t, space=space, index=self.index_word, steps="\n".join(steps)))
        self.parts += 1
        name = f"t{self.parts}_"
        first = substitute(v.index, {inner.var: num(0), s.var: num(0)})
        self.line(f"{t}{n} {name}[{n}];")
        self.line(f"turn{n}({name}, {self.place(array, first)}, {step});")
        self.lanes = 1
        return name

    def by_lane(self, e: Sym | None) -> bool:
        """Whether an index differs from lane to lane."""
        return self.lane is not None and e is not None and self.lane in variables(e)

    # --- statements ----------------------------------------------------------------------------------------------

    def let(self, s: Let) -> None:
        text = self.value_of(s.value)
        name = self.name(s.name)
        self.line(f"const {self.type_of(text, s.value.dtype)} {name} = {text.text};")
        if text.lanes > 1:
            self.vector_names[s.name] = text._replace(text=name, tight=WORD)

    def type_of(self, text: Text, dtype: DType) -> str:
        return self.register(dtype) if text.lanes == 1 else self.vector(dtype, text.lanes, text.bits)

    def store(self, s: Store) -> None:
        array = s.array
        if self.lane is None:
            super().store(s)
            return
        value = self.value_of(s.value)
        if self.vectors(array):
            value = self.spread(value, array.dtype, array.lanes, 8)
            self.line(f"{self.register_text(array, s.index)} = {value.text};")
            return
        value = self.to_memory(value, array.dtype)
        if not self.by_lane(s.index):
            if value.lanes > 1:  # the last lane's store is the one that stays
                value = Text(value.inside(WORD) + element(self.lanes - 1))
            self.line(f"{self.name(array.name)}[{self.index(s.index)}] = {value.text};")
            return
        self.write(array, s.index, value)

    def write(self, array: Array, e: Sym, value: Text) -> None:
        """A store of each lane."""
        assert self.lane is not None
        n, type = self.lanes, f"{self.memory(array.dtype)}{self.lanes}"
        if value.lanes == 1:
            value = Text(f"({type})({value.text})", UNARY, n)
        parts = split(e, self.lane)
        if parts is not None and parts[0] in (1, -1):
            if parts[0] == -1:
                value = Text(value.inside(WORD) + self.reversed(), WORD, n)
            place = self.place(array, self.first(e, parts[0]))
            self.line(f"{self.access_helper(array, 'write')}({place}, {value.text});")
            return
        if value.tight < WORD or not value.text.isidentifier():
            value = self.named(value, type)
        if parts is not None:
            self.macro(f"#define spread{n}(a, n, v) " + ", ".join(
                f"(a)[{STEPS[i]}] = (v){element(i)}" for i in range(n)))
            self.line(f"spread{n}({self.place(array, parts[1])}, {parts[0]}, {value.text});")
            return
        self.macro(f"#define scatter{n}(a, i, v) " + ", ".join(
            f"(a)[(i){element(i)}] = (v){element(i)}" for i in range(n)))
        self.line(f"scatter{n}({self.name(array.name)}, {self.lane_indices(e).text}, {value.text});")

    def alloc(self, s: Alloc) -> None:
        array = s.array
        if not self.vectors(array) or array.name not in self.used:
            super().alloc(s)
            return
        name, count = self.name(array.name), array.size // array.lanes
        size = "" if count == 1 else f"[{count}]"
        declaration = f"{self.vector(array.dtype, array.lanes, 8)} {name}{size}"
        start = "" if s.init is None else self.spread(Text(self.constant(s.init.value, array.dtype)), array.dtype,
                                                      array.lanes, 8).text
        self.line(f"{declaration} = {start};" if start and not size else f"{declaration};")
        if start and size:
            if self.unroll:
                self.line(self.unroll)
            self.line(f"for ({self.index_word} n = 0; n < {count}; n++) {name}[n] = {start};")
        if array.name not in self.read:
            self.line(f"(void){name};")

    def fold(self, s: Fold) -> None:
        """The registers joined two by two in one expression a level, then halves of the vector that is left."""
        array = s.array
        if not self.vectors(array) or s.name not in self.used:
            super().fold(s)
            return
        name, count, lanes = self.name(s.name), array.size // array.lanes, array.lanes
        bits = 8 if array.dtype is bool_ else 0
        level = [Text(self.name(array.name) + (f"[{n}]" if count > 1 else ""), WORD, lanes, bits) for n in range(count)]
        while len(level) > 1:
            half = len(level) // 2
            level = [self.joined(s, a, b) for a, b in zip(level[:half], level[half:])]
        total = level[0]
        while total.lanes > 1:
            whole = total
            if not total.text.isidentifier():
                self.line(f"const {self.vector(array.dtype, total.lanes, bits)} {name}_{total.lanes} = {total.text};")
                whole = total._replace(text=f"{name}_{total.lanes}", tight=WORD)
            low, high = (Text(f"{whole.text}.{part}", WORD, whole.lanes // 2, bits) for part in ("lo", "hi"))
            if whole.lanes == 2 and bits:  # the last bools are C's
                low, high = (Text(f"{half.text} != 0", COMPARE) for half in (low, high))
            total = self.joined(s, low, high)
        self.line(f"const {self.register(array.dtype)} {name} = {total.text};")

    def joined(self, s: Fold, a: Text, b: Text) -> Text:
        dtype = s.array.dtype
        return self.apply(s.op, dtype, [a, b], [dtype, dtype])

    # --- values --------------------------------------------------------------------------------------------------

    def value_text(self, v: Value, texts: dict[int, Text]) -> Text:
        if self.lane is not None:
            if isinstance(v, Local) and v.name in self.vector_names:
                return self.vector_names[v.name]
            if isinstance(v, Index) and self.by_lane(v.index):
                return self.lane_value(v)
            if isinstance(v, Apply) and v.op == Op.CAST and v.dtype is not bool_:
                number = v.srcs[0]  # of an index, by as few bits as indices have here
                if isinstance(number, Index) and number.dtype is int64 and self.by_lane(number.index):
                    return self.vector_cast(self.index_text(number.index), self.index_dtype, v.dtype)
        return super().value_text(v, texts)

    def lane_value(self, v: Index) -> Text:
        """An index that differs from lane to lane as a value."""
        if v.dtype is bool_:
            return self.condition(v.index)
        text = self.index_text(v.index)
        return text if self.index_word == self.index_type else self.vector_convert(text, v.dtype)

    def load(self, v: Load) -> Text:
        array, e = v.array, v.index
        if id(v) in self.turned:
            return self.from_memory(Text(self.turned[id(v)], WORD, self.lanes), array.dtype)
        if self.vectors(array):
            return Text(self.register_text(array, e), WORD, array.lanes, 8 if array.dtype is bool_ else 0)
        if not self.by_lane(e) and not self.by_lane(v.guard):
            return super().load(v)
        where = None if v.guard is None else self.condition(v.guard)
        inside = e.lo >= 0 and e.hi < array.size
        at = None if where is None or where.lanes == 1 or inside else where
        value = self.from_memory(self.elements(array, e, at), array.dtype)
        if where is None:
            return value
        return self.choice(where, value, Text(self.constant(0, array.dtype)), array.dtype)

    def elements(self, array: Array, e: Sym, where: Text | None) -> Text:
        """What the array holds for each lane; element 0 instead where ``where`` is false."""
        assert self.lane is not None
        n, type = self.lanes, f"{self.memory(array.dtype)}{self.lanes}"
        if where is not None:
            at = self.spread_index(self.index_text(e))
            at = self.named(Text(f"{at.inside(UNARY)} & {where.inside(UNARY)}", LOOSE, n), self.lane_type)
            return self.gathered(array, at, type)
        if not self.by_lane(e):
            return Text(f"({type})({self.name(array.name)}[{self.index(e)}])", UNARY, n)
        parts = split(e, self.lane)
        if parts is None:
            return self.gathered(array, self.lane_indices(e), type)
        if parts[0] in (1, -1):
            text = f"{self.access_helper(array, 'read')}({self.place(array, self.first(e, parts[0]))})"
            return Text(text + (self.reversed() if parts[0] == -1 else ""), WORD, n)
        self.macro(f"#define strided{n}(a, n) " + ", ".join(f"(a)[{STEPS[i]}]" for i in range(n)))
        return Text(f"({type})(strided{n}({self.place(array, parts[1])}, {parts[0]}))", UNARY, n)

    def gathered(self, array: Array, at: Text, type: str) -> Text:
        n = self.lanes
        self.macro(f"#define gather{n}(a, i) " + ", ".join(f"(a)[(i){element(i)}]" for i in range(n)))
        return Text(f"({type})(gather{n}({self.name(array.name)}, {at.text}))", UNARY, n)

    # --- places --------------------------------------------------------------------------------------------------

    def register_text(self, array: Array, e: Sym) -> str:
        """The vector of a register array that a vector loop's access touches."""
        name = self.name(array.name)
        if array.size == array.lanes:
            return name
        assert self.lane is not None
        return f"{name}[{self.index(substitute(e, {self.lane: num(0)}) // array.lanes)}]"

    def first(self, e: Sym, step: int) -> Sym:
        """The lowest of the places that lanes ``step`` apart touch."""
        assert self.lane is not None
        return e - self.lane if step == 1 else e + self.lane - (self.lanes - 1)

    def place(self, array: Array, e: Sym) -> str:
        """A pointer to an element."""
        name = self.name(array.name)
        return name if e is num(0) else f"{name} + {self.index_text(e).inside(PLUS)}"

    def reversed(self) -> str:
        return ".s" + "".join(f"{n:x}" for n in reversed(range(self.lanes)))

    def macro(self, text: str) -> None:
        self.helpers.setdefault(text.split("(")[0].split()[1], text)

    def access_helper(self, array: Array, kind: str) -> str:
        """``read8`` or ``write8``, declared for the array's type and memory."""
        t, n = self.memory(array.dtype), self.lanes
        space = "__global " if array.scope == "global" else self.scopes[array.scope] or ""
        size = 2 if t == "ushort" else array.dtype.size
        self.helpers.setdefault(f"{t}{n}_any", ACCESS_TYPE.format(t=t, n=n, size=size))
        form = READ if kind == "read" else WRITE
        self.helpers.setdefault(f"{kind}{n} {space}{t}", form.format(t=t, n=n, space=space))
        return f"{kind}{n}"

    # --- indices -------------------------------------------------------------------------------------------------

    @property
    def lane_type(self) -> str:
        """The type of an index for each lane."""
        return f"{self.index_word}{self.lanes}"

    @property
    def index_dtype(self) -> DType:
        return self.index_dtypes[self.index_word]

    def lane_indices(self, e: Sym) -> Text:
        """The index of each lane, by a name."""
        return self.named(self.index_text(e), self.lane_type)

    def spread_index(self, a: Text) -> Text:
        return a if a.lanes > 1 else Text(f"({self.lane_type})({a.text})", UNARY, self.lanes)

    def condition(self, e: Sym) -> Text:
        """A 0/1 expression, one for all lanes or a bool for each."""
        if not self.by_lane(e):
            return super().index_text(e)
        bits = 8 * self.index_dtype.size
        if e.kind == "and":
            parts = [self.condition(a) for a in e.args]
            return Text(" && ".join(p.inside(COMPARE) for p in parts), LOOSE, self.lanes, bits)
        if e.kind in _CONDITIONS:
            a, b = (self.index_text(a) for a in e.args)
            return self.infix("<" if e.kind == "less" else "==", COMPARE, a, b)._replace(lanes=self.lanes, bits=bits)
        return Text(f"{self.index_text(e).inside(PLUS)} != 0", COMPARE, self.lanes, bits)

    def index_text(self, e: Sym) -> Text:
        if not self.by_lane(e):
            narrow = self.lane is not None and e.kind == "var" and self.index_word != self.index_type
            if narrow and any(s.name == e.args[0] for s in self.current.scalars):  # C would widen the lanes
                return Text(f"({self.index_word}){self.name(e.args[0])}", UNARY)
            return super().index_text(e)
        if e is self.lane:
            name = f"lanes{self.lanes}" + ("" if self.index_word == "int" else f"_{self.index_word}")
            self.macro(f"#define {name}() ({self.lane_type})({', '.join(map(str, range(self.lanes)))})")
            return Text(f"{name}()", WORD, self.lanes)
        if e.kind in _CONDITIONS:
            return Text(f"-{self.condition(e).inside(WORD)}", UNARY, self.lanes)
        if e.kind in _INDEX_HELPERS:
            return self.lane_helper(e)
        return super().index_text(e)._replace(lanes=self.lanes)

    def lane_helper(self, e: Sym) -> Text:
        """Least, greatest, quotient or remainder."""
        parts = [self.index_text(a) for a in e.args]
        if e.kind in ("floordiv", "mod") and e.args[0].lo >= 0 and e.args[1].lo > 0:
            from_zero = self.infix("/" if e.kind == "floordiv" else "%", 4, *parts)
            return from_zero._replace(lanes=self.lanes)
        name = f"{_INDEX_NAMES[e.kind]}_{self.lane_type}"
        self.helpers.setdefault(name, _INDEX_HELPERS[e.kind].format(t=self.lane_type, name=name))
        total, *rest = [self.spread_index(p) for p in parts]
        for part in rest:
            total = call(name, total, part)._replace(lanes=self.lanes)
        return total
