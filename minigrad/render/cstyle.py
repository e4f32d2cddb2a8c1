"""Stage: render. In: loop nests. Out: text in a language like C. This class holds what C, OpenCL C and CUDA C share;
a language is a subclass with its words and its way to begin a kernel. Read ``cstyle_ops.py`` first. Next: ``c.py``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from typing import ClassVar

from minigrad.errors import CompileError
from minigrad.kernel.ir import (
    Alloc,
    Array,
    Const,
    Fold,
    For,
    If,
    Index,
    Kernel,
    Let,
    LetIndex,
    Load,
    Local,
    Scalar,
    Statement,
    Store,
    Value,
)
from minigrad.kernel.walk import indices_of, operands, statements, values, values_of
from minigrad.render.cstyle_ops import COMPARE, LOOSE, PLUS, TIMES, UNARY, WORD, Language, Text, call
from minigrad.symbolic import Sym, variables

LONGEST = 96  # characters of an expression before parts of it get names
_TAKEN = re.compile(r"(?:\w+_(?:[iu]\d+|b?f\d+|t)|b?f16_\w+|t\d+_)\Z")
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
    """Writes kernels as C-like text. A language overrides the words below and ``head``, ``unpack``, ``parallel``."""

    includes = ""
    index_type = "int64_t"
    scopes: ClassVar[dict[str, str | None]] = {"register": "", "scratch": "", "shared": None}  # None: there is none
    barrier: str | None = None

    def render(self, kernels: Sequence[Kernel]) -> str:
        """One translation unit: includes, the helpers that are used, the kernels."""
        self.helpers = {}
        bodies = [self.kernel(kernel) for kernel in kernels]
        for kernel in kernels:
            if kernel.name in _WORDS or kernel.name in self.helpers:
                raise CompileError(f"a kernel cannot be named {kernel.name}: the C form has that name already")
        parts = [self.includes, "\n".join(self.helpers.values()), *bodies]
        return "\n\n".join(part for part in parts if part) + "\n"

    # --- what a language overrides -------------------------------------------------------------------------------

    def head(self, kernel: Kernel) -> str:
        """The kernel's signature."""
        raise NotImplementedError

    def unpack(self, kernel: Kernel) -> list[str]:
        """The lines that give parameters their names."""
        return []

    def parallel(self, loop: For) -> list[str]:
        """The lines that open the parallel loop; ``{`` at the end of one opens a block."""
        raise NotImplementedError

    # --- kernels and statements ----------------------------------------------------------------------------------

    def kernel(self, kernel: Kernel) -> str:
        self.current = kernel
        self.lines: list[str] = []
        self.indent = 0
        self.parts = 0
        self.read = _names_read(kernel)
        self.used = self.read | {s.array.name for s in statements(kernel) if isinstance(s, Store)}
        self.open(self.head(kernel) + " {")
        for line in self.unpack(kernel):
            self.line(line)
        opened = self.indent
        for line in self.parallel(kernel.loop):
            self.line(line)
            self.indent += line.endswith("{")
        self.block(kernel.loop.body)
        while self.indent > opened:
            self.close()
        self.close()
        return "\n".join(self.lines)

    def line(self, text: str) -> None:
        self.lines.append("  " * self.indent + text)

    def open(self, text: str) -> None:
        self.line(text)
        self.indent += 1

    def close(self, text: str = "}") -> None:
        self.indent -= 1
        self.line(text)

    def name(self, name: str) -> str:
        """The name, changed where the language or a helper has it already."""
        return name + "_" if name in _WORDS or _TAKEN.match(name) else name

    def block(self, block: Sequence[Statement]) -> None:
        for s in block:
            self.statement(s)

    def statement(self, s: Statement) -> None:
        if isinstance(s, For):
            self.open(self.loop(s))
            self.block(s.body)
            self.close()
        elif isinstance(s, Let):
            if s.name in self.used:
                value = self.value(s.value)
                self.line(f"const {self.register(s.value.dtype)} {self.name(s.name)} = {value};")
        elif isinstance(s, LetIndex):
            if str(s.var) in self.used:
                self.line(f"const {self.index_type} {self.name(str(s.var))} = {self.value(s.value)};")
        elif isinstance(s, Store):
            self.store(s)
        elif isinstance(s, If):
            self.branches(s)
        elif isinstance(s, Alloc):
            self.alloc(s)
        elif isinstance(s, Fold):
            self.fold(s)
        else:
            self.line(self.need(self.barrier, "barrier"))

    def need(self, word: str | None, what: str) -> str:
        if word is None:
            raise CompileError(f"kernel {self.current.name}: {type(self).__name__} has no {what}")
        return word

    def loop(self, s: For) -> str:
        v = self.name(str(s.var))
        step = f"{v}++" if s.step == 1 else f"{v} += {s.step}"
        return f"for ({self.index_type} {v} = {self.index(s.start)}; {v} < {self.index(s.stop)}; {step}) {{"

    def store(self, s: Store) -> None:
        value = Text(self.value(s.value), LOOSE)
        if s.array.scope != "register":
            value = self.to_memory(value, s.array.dtype)
        text = f"{self.name(s.array.name)}[{self.index(s.index)}] = {value.text};"
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
        declaration = f"{word}{self.element(array)} {name}[{array.size}]"
        if s.init is None:
            self.line(f"{declaration};")
        elif s.init.value == 0 and str(s.init.value)[0] != "-" and array.scope == "register":
            self.line(f"{declaration} = {{0}};")
        else:
            start = Text(self.constant(s.init.value, array.dtype), LOOSE)
            start = start if array.scope == "register" else self.to_memory(start, array.dtype)
            self.line(f"{declaration};")
            self.line(f"for ({self.index_type} n = 0; n < {array.size}; n++) {name}[n] = {start.text};")
        if array.name not in self.read:
            self.line(f"(void){name};")

    def fold(self, s: Fold) -> None:
        """A tree over a copy of the array: element n joins element n + half until one is left."""
        if s.name not in self.used:
            return
        array, t = s.array, self.register(s.array.dtype)
        name, tree = self.name(s.name), f"{self.name(s.name)}_tree"
        joined = self.apply(s.op, array.dtype, [Text(f"{tree}[n]"), Text(f"{tree}[n + half]")], [array.dtype] * 2)
        index = self.index_type
        self.line(f"{t} {tree}[{array.size}];")
        self.line(f"for ({index} n = 0; n < {array.size}; n++) {tree}[n] = {self.name(array.name)}[n];")
        self.line(f"for ({index} half = {array.size // 2}; half > 0; half /= 2)")
        self.line(f"  for ({index} n = 0; n < half; n++) {tree}[n] = {joined.text};")
        self.line(f"const {t} {name} = {tree}[0];")

    # --- values --------------------------------------------------------------------------------------------------

    def value(self, root: Value) -> str:
        """The expression; parts that are used twice or are too long get names on lines before it."""
        order = values([root])
        uses = Counter(id(s) for v in order for s in operands(v))
        texts: dict[int, Text] = {}
        for v in order:
            text = self.value_text(v, texts)
            shared = uses[id(v)] > 1 and not isinstance(v, (Const, Local, Scalar))
            if v is not root and (shared or len(text.text) > LONGEST):
                self.parts += 1
                self.line(f"const {self.register(v.dtype)} t{self.parts}_ = {text.text};")
                text = Text(f"t{self.parts}_")
            texts[id(v)] = text
        return texts[id(root)].text

    def value_text(self, v: Value, texts: dict[int, Text]) -> Text:
        if isinstance(v, Const):
            text = self.constant(v.value, v.dtype)
            return Text(text, UNARY if text[0] == "-" else WORD)
        if isinstance(v, (Scalar, Local)):
            return Text(self.name(v.name))
        if isinstance(v, Index):
            return self.index_text(v.index)
        if isinstance(v, Load):
            return self.load(v)
        return self.apply(v.op, v.dtype, [texts[id(s)] for s in v.srcs], [s.dtype for s in v.srcs])

    def load(self, v: Load) -> Text:
        access = Text(f"{self.name(v.array.name)}[{self.index(v.index)}]")
        if v.array.scope != "register":
            access = self.from_memory(access, v.array.dtype)
        if v.guard is None:
            return access
        return Text(f"{self.index_text(v.guard).inside(COMPARE)} ? {access.text} : 0", LOOSE)

    # --- indices -------------------------------------------------------------------------------------------------

    def index(self, e: Sym) -> str:
        return self.index_text(e).text

    def index_helper(self, name: str) -> str:
        self.helpers.setdefault(name, self.function + _INDEX_HELPERS[name].format(t=self.index_type))
        return name

    def index_text(self, e: Sym) -> Text:
        """An index expression in 64-bit integers."""
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


def _names_read(kernel: Kernel) -> set[str]:
    """The names that some value, index or fold reads; a Let that nothing reads is not written."""
    read: set[str] = set()
    for s in statements(kernel):
        nodes = [s, *values(values_of(s))]
        read.update(str(x) for node in nodes for e in indices_of(node) for x in variables(e))
        if isinstance(s, Fold):
            read.update((s.name, s.array.name))
        for v in nodes:
            if isinstance(v, (Local, Scalar)):
                read.add(v.name)
            elif isinstance(v, Load):
                read.add(v.array.name)
    return read
