"""Stage: render. In: loop nests. Out: text in a language like C. This class holds what C, OpenCL C and CUDA C share;
a language is a subclass with its words and its way to begin a kernel.
Next: ``c.py``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from typing import ClassVar

from minigrad.dtype import bool_
from minigrad.errors import CompileError
from minigrad.kernel.ir import (
    Alloc,
    Apply,
    Array,
    Commit,
    Const,
    Copy,
    Fold,
    For,
    Function,
    If,
    Index,
    Kernel,
    Let,
    LetIndex,
    Load,
    Local,
    Multiply,
    Prefetch,
    Scalar,
    Statement,
    Store,
    Value,
    Wait,
)
from minigrad.kernel.walk import (
    functions,
    indices_of,
    names_bound,
    names_read,
    operands,
    statements,
    values,
    values_of,
)
from minigrad.lower.passes.legalise import legalise
from minigrad.ops import Op
from minigrad.render.cstyle_ops import COMPARE, LOOSE, PLUS, TIMES, UNARY, WORD, Language, Text, call
from minigrad.symbolic import Sym, coefficient, inside, num, substitute, variables

LONGEST = 96  # characters of an expression before parts of it get names
SHORT = 8  # elements of a register array whose first values and whose sum are written out
_TAKEN = re.compile(r"(?:\w+_(?:[iu]\d+|b?f\d+|t|bool|int)|b?f16_\w+|t\d+_)\Z")
_WORDS = frozenset(re.findall(r"\w+", """
arrays scalars begin end auto break case char const continue default do double else enum extern float for goto if inline
int long register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
bool true false floor ceil trunc rint sqrt fma fabs fmod copysign memcpy main kernel global local private half
floorf ceilf truncf rintf sqrtf fmaf fabsf fmodf copysignf NAN INFINITY least greatest floor_div floor_mod"""))
_INDEX_HELPERS = {
    "least": "{t} least({t} a, {t} b) {{ return a < b ? a : b; }}",
    "greatest": "{t} greatest({t} a, {t} b) {{ return a > b ? a : b; }}",
    "floor_div": "{t} floor_div({t} a, {t} b) {{ return a / b - (a % b != 0 && (a % b < 0) != (b < 0)); }}",
    "floor_mod": "{t} floor_mod({t} a, {t} b) {{ return a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0); }}",
}


class CStyleRenderer(Language):
    """Writes kernels as C-like text. A language overrides the words below, ``head``, ``unpack`` and ``parallel``."""

    includes = ""
    index_type = "int64_t"
    narrow_index: str | None = None  # the type of indices in a kernel where all fit 32 bits, if another
    prefetch: str | None = None  # the line that fetches the cache line of an address
    scopes: ClassVar[dict[str, str | None]] = {"register": "", "scratch": "", "shared": None}  # None: there is none
    workgroup_number: str | None = None  # where a workgroup finds its number, and a thread its own in the workgroup
    thread_number: str | None = None
    barrier: str | None = None
    unroll: str | None = None  # the line before a loop that is to be written out
    wide: tuple[int, ...] = ()  # lanes for which the prelude has ``load4(to, from)`` and ``store4(to, from)``
    wide_text = ""
    reserved: ClassVar[frozenset[str]] = _WORDS  # names that kernels, arrays and variables may not have
    language = "the C form"

    def render(self, kernels: Sequence[Kernel]) -> str:
        """One translation unit: includes, the helpers that are used, the kernels."""
        self.helpers = {}
        bodies = [self.kernel(legalise(kernel)) for kernel in kernels]
        for kernel in kernels:
            if self.is_taken(kernel.name) or kernel.name in self.helpers:
                raise CompileError(f"a kernel cannot be named {kernel.name}: {self.language} has that name already")
        parts = [self.includes, "\n".join(self.helpers.values()), *bodies]
        return "\n\n".join(part for part in parts if part) + "\n"

    def wide_helpers(self, text: str) -> list[str]:
        """``load4`` and the like, as far as a text calls them."""
        return [self.wide_text.format(n=n) for n in self.wide if f"load{n}(" in text or f"store{n}(" in text]

    def is_taken(self, name: str) -> bool:
        """Whether the language has a name already."""
        return name in self.reserved

    # --- what a language overrides -------------------------------------------------------------------------------

    def head(self, kernel: Kernel) -> str:
        """The kernel's signature."""
        raise NotImplementedError(f"{type(self).__name__} has no head: the line with a kernel's name and parameters")

    def unpack(self, kernel: Kernel) -> list[str]:
        """The lines that give parameters their names."""
        return []

    def parallel(self, loop: For) -> list[str]:
        """The lines that open the parallel loop; ``{`` at the end of one opens a block."""
        raise CompileError(f"kernel {self.current.name}: {type(self).__name__} has no form for CPUs")

    def number(self, loop: For, word: str | None) -> list[str]:
        """The line that names the number of a workgroup, or of a thread in it."""
        word = self.need(word, "form for GPUs")
        return [f"const {self.index_word} {self.name(str(loop.var))} = {word};"]

    # --- kernels and statements ----------------------------------------------------------------------------------

    def kernel(self, kernel: Kernel) -> str:
        self.current = kernel
        for f in functions(kernel).values():
            self.define(f)
        self.short = _short_names(kernel)
        self.index_word = self.narrow_index if self.narrow_index and _fits_32_bits(kernel) else self.index_type
        self.wide_accesses: dict[tuple[str, Sym, bool], str] = {}
        self.lines: list[str] = []
        self.indent = 0
        self.parts = 0
        self.read = names_read(kernel)
        self.used = self.read | {s.array.name if isinstance(s, Store) else s.to.name for s in statements(kernel)
                                 if isinstance(s, (Store, Copy))}
        self.open(self.head(kernel) + " {")
        for line in self.unpack(kernel):
            self.line(line)
        opened = self.indent
        parallel = kernel.loop.kind == "parallel"
        for line in self.parallel(kernel.loop) if parallel else self.number(kernel.loop, self.workgroup_number):
            self.line(line)
            self.indent += line.endswith("{")
        self.block(kernel.loop.body)
        while self.indent > opened:
            self.close()
        self.close()
        return "\n".join(self.lines)

    def define(self, f: Function) -> None:
        """Write a function, if it is new; not in the middle of a kernel."""
        if f not in self.helpers:
            self.helpers[f] = self.definition(f)

    def definition(self, f: Function) -> str:
        """A function's text."""
        self.lines, self.indent, self.parts, self.short = [], 1, 0, {}
        self.line(f"return {self.value(f.values[-1])};")
        parameters = ", ".join([f"{self.register(p.dtype)} {p.name}" for p in f.parameters])
        body = f" {self.lines[0].strip()} " if len(self.lines) == 1 else "\n".join(["", *self.lines, ""])
        return f"{self.function}{self.register(f.values[-1].dtype)} {f}({parameters}) {{{body}}}"

    def line(self, text: str) -> None:
        self.lines.append("  " * self.indent + text)

    def open(self, text: str) -> None:
        self.line(text)
        self.indent += 1

    def close(self, text: str = "}") -> None:
        self.indent -= 1
        self.line(text)

    def name(self, name: str) -> str:
        """The name as it is written: short, and changed where the language or a helper has it already."""
        if self.is_taken(name):
            return name + "_"
        name = self.short.get(name, name)
        return name + "_" if name in self.reserved or _TAKEN.match(name) else name

    def block(self, block: Sequence[Statement]) -> None:
        for s in block:
            self.statement(s)

    def statement(self, s: Statement) -> None:
        if isinstance(s, For):
            self.loop(s)
        elif isinstance(s, Let):
            if s.name in self.used:
                self.line(f"const {self.register(s.value.dtype)} {self.name(s.name)} = {self.value(s.value)};")
        elif isinstance(s, LetIndex):
            if str(s.var) in self.used:
                self.line(f"const {self.index_word} {self.name(str(s.var))} = {self.index_value(s.value)};")
        elif isinstance(s, Store):
            self.store(s)
        elif isinstance(s, If):
            self.branches(s)
        elif isinstance(s, Alloc):
            self.alloc(s)
        elif isinstance(s, Fold):
            self.fold(s)
        elif isinstance(s, Prefetch):
            place = f"{self.name(s.array.name)} + {self.index_text(s.index).inside(PLUS)}"
            self.line(self.need(self.prefetch, "prefetches").format(place))
        elif isinstance(s, Multiply):
            self.multiply(s)
        elif isinstance(s, (Copy, Commit, Wait)):
            self.copying(s)
        else:
            self.line(self.need(self.barrier, "barrier"))

    def need(self, word: str | None, what: str) -> str:
        if word is None:
            raise CompileError(f"kernel {self.current.name}: {type(self).__name__} has no {what}")
        return word

    def loop(self, s: For) -> None:
        if s.kind == "block":
            for line in self.number(s, self.thread_number):
                self.line(line)
            self.block(s.body)
            return
        lanes = int(s.stop) if s.kind == "vector" else 0
        accesses = _wide_accesses(s) if lanes in self.wide and self.current.workgroup else []
        for load, array, index in accesses:
            name = self.part(array.name)
            self.wide_accesses[array.name, index, load] = f"{name}[{self.name(str(s.var))}]"
            self.line(f"{self.memory(array.dtype)} {name}[{lanes}];")
            if load:
                self.line(f"load{lanes}({name}, {self.name(array.name)} + {self.index_text(index).inside(PLUS)});")
        hint = self.hint(s)
        if hint:
            self.line(hint)
        v = self.name(str(s.var))
        step = f"{v}++" if s.step == 1 else f"{v} += {s.step}"
        self.open(f"for ({self.index_word} {v} = {self.index(s.start)}; {v} < {self.index(s.stop)}; {step}) {{")
        self.block(s.body)
        self.close()
        for load, array, index in accesses:
            name = self.wide_accesses.pop((array.name, index, load)).partition("[")[0]
            if not load:
                self.line(f"store{lanes}({self.name(array.name)} + {self.index_text(index).inside(PLUS)}, {name});")

    def hint(self, s: For) -> str | None:
        """The line before a loop that says how to compile it."""
        return self.unroll if s.kind in ("unroll", "vector") else None

    def part(self, stem: str) -> str:
        """A new name for part of something."""
        self.parts += 1
        return f"{stem}_part{self.parts}"

    def access(self, array: Array, index: Sym, load: bool) -> str:
        """An element of an array, or of what was loaded or will be stored with its neighbours."""
        for (name, first, loads), text in self.wide_accesses.items():
            if name == array.name and loads == load and _lane_of(index, first):
                return text
        return self.name(array.name) if _is_variable(array) else f"{self.name(array.name)}[{self.index(index)}]"

    def store(self, s: Store) -> None:
        value = self.value(s.value)
        text = f"{self.access(s.array, s.index, False)} = {value};"
        self.line(text if s.guard is None else f"if ({self.index(s.guard)}) {text}")

    def branches(self, s: If) -> None:
        self.open(f"if ({self.value(s.condition)}) {{")
        self.block(s.then)
        if s.otherwise:
            self.close("} else {")
            self.indent += 1
            self.block(s.otherwise)
        self.close()

    def element(self, array: Array) -> str:
        return self.register(array.dtype) if array.scope == "register" else self.memory(array.dtype)

    def alloc(self, s: Alloc) -> None:
        array = s.array
        if array.name not in self.used:
            return
        name = self.name(array.name)
        word = self.need(self.scopes.get(array.scope), f"{array.scope} memory")
        declaration = f"{word}{self.element(array)} {name}" + ("" if _is_variable(array) else f"[{array.size}]")
        if s.init is None:
            self.line(f"{declaration};")
        elif _is_variable(array):
            self.line(f"{declaration} = {self.constant(s.init.value, array.dtype)};")
        elif s.init.value == 0 and str(s.init.value)[0] != "-" and array.scope == "register":
            self.line(f"{declaration} = {{0}};")
        elif array.scope == "register" and array.size <= SHORT:
            self.line(f"{declaration} = {{{', '.join([self.constant(s.init.value, array.dtype)] * array.size)}}};")
        else:
            start = self.constant(s.init.value, array.dtype)
            self.line(f"{declaration};")
            self.line(f"for ({self.index_word} n = 0; n < {array.size}; n++) {name}[n] = {start};")
        if array.name not in self.read:
            self.line(f"(void){name};")

    def fold(self, s: Fold) -> None:
        """A tree: element n joins element n + width until one is left; a short one is written out, others take a copy
        of the array."""
        if s.name not in self.used:
            return
        array, t, index = s.array, self.register(s.array.dtype), self.index_word
        name, tree = self.name(s.name), f"{self.name(s.name)}_tree"

        def joined(a: Text, b: Text) -> Text:
            return self.apply(s.op, array.dtype, [a, b], [array.dtype] * 2)

        if array.size <= SHORT:
            source = self.name(array.name)
            parts = [Text(source if _is_variable(array) else f"{source}[{n}]") for n in range(array.size)]
            while len(parts) > 1:
                half = len(parts) // 2
                parts = [joined(a, b) for a, b in zip(parts[:half], parts[half:], strict=True)]
            self.line(f"const {t} {name} = {parts[0].text};")
            return
        self.line(f"{t} {tree}[{array.size}];")
        self.line(f"for ({index} n = 0; n < {array.size}; n++) {tree}[n] = {self.name(array.name)}[n];")
        self.line(f"for ({index} width = {array.size // 2}; width > 0; width /= 2)")
        both = joined(Text(f"{tree}[n]"), Text(f"{tree}[n + width]"))
        self.line(f"  for ({index} n = 0; n < width; n++) {tree}[n] = {both.text};")
        self.line(f"const {t} {name} = {tree}[0];")

    def multiply(self, s: Multiply) -> None:
        """The line in which a subgroup multiplies two tiles."""
        self.need(None, "matrix instructions")

    def copying(self, s: Copy | Commit | Wait) -> None:
        """The line that begins a copy to shared memory, makes a group of those begun, or waits for groups."""
        self.need(None, "copies that go on while a thread does")

    # --- values --------------------------------------------------------------------------------------------------

    def value(self, root: Value) -> str:
        """The expression of a value."""
        return self.value_of(root).text

    def value_of(self, root: Value) -> Text:
        """The expression; parts that are used twice or are too long get names on lines before it."""
        order = values([root])
        uses = Counter(id(s) for v in order for s in operands(v))
        texts: dict[int, Text] = {}
        for v in order:
            text = self.value_text(v, texts)
            shared = uses[id(v)] > 1 and not isinstance(v, (Const, Local, Scalar))
            if v is not root and (shared or len(text.text) > LONGEST):
                text = self.named(text, self.register(v.dtype))
            texts[id(v)] = text
        return texts[id(root)]

    def named(self, text: Text, type: str) -> Text:
        """A name for an expression, given on a line of its own."""
        self.parts += 1
        name = f"t{self.parts}_"
        self.line(f"const {type} {name} = {text.text};")
        return text._replace(text=name, tight=WORD)

    def value_text(self, v: Value, texts: dict[int, Text]) -> Text:
        if isinstance(v, Const):
            constant = self.constant(v.value, v.dtype)
            return Text(constant, UNARY if constant[0] == "-" else WORD)
        if isinstance(v, (Scalar, Local)):
            return Text(self.name(v.name))
        if isinstance(v, Index):
            text = self.index_text(v.index)
            narrow = self.index_word != self.index_type and v.dtype is not bool_ and v.index.kind != "num"
            return self.convert(text, v.dtype) if narrow else text
        if isinstance(v, Load):
            return self.load(v)
        inner = v.srcs[0]
        if v.op == Op.NOT and isinstance(inner, Apply) and inner.op == Op.EQ and texts[id(inner)].tight == COMPARE:
            return self.infix("!=", COMPARE, *[texts[id(s)] for s in inner.srcs])
        return self.apply(v.op, v.dtype, [texts[id(s)] for s in v.srcs], [s.dtype for s in v.srcs])

    def load(self, v: Load) -> Text:
        access = Text(self.access(v.array, v.index, True))
        if v.guard is None:
            return access
        return Text(f"{self.index_text(v.guard).inside(COMPARE)} ? {access.text} : 0", LOOSE)

    # --- indices -------------------------------------------------------------------------------------------------

    def index(self, e: Sym) -> str:
        return self.index_text(e).text

    def index_value(self, value: Value) -> str:
        """A value that becomes an index."""
        if isinstance(value, Index):
            return self.index(value.index)
        text = self.value(value)
        return text if self.index_word == self.index_type else f"({self.index_word}){Text(text, LOOSE).inside(UNARY)}"

    def index_helper(self, kind: str) -> str:
        name = kind if self.index_word == self.index_type else f"{kind}_{self.index_word}"
        text = _INDEX_HELPERS[kind].replace(kind + "(", name + "(", 1).format(t=self.index_word)
        self.helpers.setdefault(name, self.function + text)
        return name

    def index_text(self, e: Sym) -> Text:
        """An index expression."""
        kind, args = e.kind, e.args
        if kind == "num":
            suffix = self.long_suffix if abs(args[0]) >= 1 << 31 else ""
            return Text(f"{args[0]}{suffix}", UNARY if args[0] < 0 else WORD)
        if kind == "var":
            return Text(self.name(args[0]))
        if kind == "sum":
            return self.index_sum(e)
        parts = [self.index_text(a) for a in args]
        if kind in ("min", "max"):
            name = self.index_helper("least" if kind == "min" else "greatest")
            return reduce(lambda a, b: call(name, a, b), parts)
        if kind in ("floordiv", "mod"):
            if args[0].lo >= 0 and args[1].lo > 0:
                return self.infix("/" if kind == "floordiv" else "%", TIMES, *parts)
            return call(self.index_helper("floor_div" if kind == "floordiv" else "floor_mod"), *parts)
        if kind == "product":
            return reduce(lambda a, b: self.infix("*", TIMES, a, b), parts)
        if kind == "and":
            return Text(" && ".join(p.inside(COMPARE) for p in parts), LOOSE)
        return self.infix("<" if kind == "less" else "==", COMPARE, *parts)

    def index_sum(self, e: Sym) -> Text:
        terms, constant = e.args
        signed = []
        for term, c in sorted(terms, key=lambda item: (item[1] < 0, -abs(item[1]))):
            text, size = self.index_text(term), abs(c)
            suffix = self.long_suffix if size >= 1 << 31 else ""
            whole = text.inside(TIMES) if size == 1 else f"{size}{suffix} * {text.inside(UNARY)}"
            signed.append((c < 0, whole))
        if constant:
            at = 0 if constant > 0 and signed[0][0] else len(signed)
            suffix = self.long_suffix if abs(constant) >= 1 << 31 else ""
            signed.insert(at, (constant < 0, f"{abs(constant)}{suffix}"))
        first = ("-" if signed[0][0] else "") + signed[0][1]
        return Text(first + "".join((" - " if negative else " + ") + whole for negative, whole in signed[1:]), PLUS)


def _short_names(kernel: Kernel) -> dict[str, str]:
    """Names without their number, where no other name of the kernel has the stem: the only ``acc0`` is ``acc``."""
    taken = {kernel.name, "n", "width", *(a.name for a in kernel.arrays), *(s.name for s in kernel.scalars)}
    stems: dict[str, set[str]] = {}
    for name in names_bound(kernel):
        stems.setdefault(name.rstrip("0123456789_"), set()).add(name)
    return {names.pop(): stem for stem, names in stems.items() if len(names) == 1 and stem and stem not in taken}


def _fits_32_bits(kernel: Kernel) -> bool:
    """Whether no index expression of the kernel, nor a part of one, leaves 32 bits."""
    most = 1 << 30  # a loop variable passes its bound by a step
    if any(a.size >= most for a in kernel.arrays):
        return False
    roots: list[Sym] = []
    for s in statements(kernel):
        roots += [e for node in (s, *values(values_of(s))) for e in indices_of(node)]
        roots += [s.var] if isinstance(s, (For, LetIndex)) else []
    for e in inside(roots):
        if not (-most < e.lo and e.hi < most):
            return False
        if e.kind == "sum" and sum(max(abs(t.lo * c), abs(t.hi * c)) for t, c in e.args[0]) >= most:
            return False
    return True


def _is_variable(array: Array) -> bool:
    """Whether the array is one register: a plain variable."""
    return array.scope == "register" and array.size == 1


def _wide_accesses(s: For) -> list[tuple[bool, Array, Sym]]:
    """The loads (True) and stores (False) of a vector loop that take neighbours in global memory, each with the index
    of the first lane. A load of what the loop stores stays as it is."""
    stores = [x for x in statements(s.body) if isinstance(x, Store) and x.array.scope == "global"]
    stored = {x.array.name for x in stores}
    found: dict[tuple[bool, str, Sym], tuple[bool, Array, Sym]] = {}
    loads = [v for x in statements(s.body) for v in values(values_of(x)) if isinstance(v, Load)
             and v.array.scope == "global" and v.array.name not in stored and v.guard is None]
    counts = Counter(x.array.name for x in stores)
    inner = {x.var for x in statements(s.body) if isinstance(x, For)}  # not known outside the loop
    accesses: list[Load | Store] = [*loads, *(x for x in stores if counts[x.array.name] == 1)]
    for x in accesses:
        if coefficient(x.index, s.var) == 1 and inner.isdisjoint(variables(x.index)):
            load, first = isinstance(x, Load), substitute(x.index, {s.var: num(0)})
            found[load, x.array.name, first] = load, x.array, first
    return list(found.values())


def _lane_of(index: Sym, first: Sym) -> bool:
    """Whether an index that holds the lane is ``first`` in lane 0."""
    rest = index - first
    return rest.kind == "var"
