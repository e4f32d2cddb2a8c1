"""Stage: explaining. In: a kernel's nodes, with numbers. Out: its texts, and for each of their lines the numbers of the
nodes that it computes, from the loop nest down to machine code.

While ``Tracer.on``, values of loop nests are noted as they are made: a value is a node's if it is made for that node,
or takes the place of one that is. Renderers write values one after another, so each line or instruction has the number
of the value it is written for. LLVM carries the numbers on to machine code as if they were numbers of lines.
Next: ``texts.py``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from minigrad.graph.lazy import LazyBuffer
from minigrad.kernel import walk
from minigrad.kernel.ir import Apply, Fold, Kernel, Let, LetIndex, Load, Statement, Store, Value
from minigrad.kernel.show import Printer, show
from minigrad.lower.values import Values
from minigrad.render.cstyle import CStyleRenderer
from minigrad.render.llvm_text import Writer
from minigrad.runtime.device import Device

Lines = list[list[int]]
"""For each line of a text the numbers of nodes."""

FIRST = 10
"""Of LLVM's metadata, the number that stands for node 0. 0 is the renderer's own, and those between describe the
module."""

DESCRIPTION = """
!llvm.dbg.cu = !{{!1}}
!llvm.module.flags = !{{!3}}
!1 = distinct !DICompileUnit(language: DW_LANG_C99, file: !2, emissionKind: LineTablesOnly)
!2 = !DIFile(filename: "nodes", directory: "")
!3 = !{{i32 2, !"Debug Info Version", i32 3}}
!4 = distinct !DISubprogram(name: "{name}", file: !2, line: 1, type: !5, spFlags: DISPFlagDefinition, unit: !1)
!5 = !DISubroutineType(types: !6)
!6 = !{{null}}
"""


class Tracer:
    """Follows the nodes of one kernel. ``numbers``: of each node; ``stored``: of what is stored in each array.

    >>> Tracer({}, {}).current is None
    True
    """

    def __init__(self, numbers: Mapping[LazyBuffer, int], stored: Mapping[str, int]) -> None:
        self.numbers, self.stored = numbers, stored
        self.current: int | None = None
        self._made: dict[int, tuple[Value, int]] = {}  # by id, with the value, so that the id stays its own
        self._statements: list[Statement] = []
        self._lines: Lines = []

    @contextmanager
    def on(self) -> Iterator[None]:
        """A block in which values and lines are noted."""
        replaced: list[tuple[Any, str, Callable[[Any], Any]]] = [
            (Apply, "__init__", self._applying), (Load, "__init__", self._loading), (Values, "_build", self._building),
            (Printer, "statement", self._stating), (Printer, "line", self._printing),
            (CStyleRenderer, "statement", self._stating), (CStyleRenderer, "line", self._printing),
            (Writer, "line", self._writing), (Writer, "pure", self._computing),
            (walk, "following", lambda plain: lambda order: _Followed(order, self))]
        with ExitStack() as stack:
            for owner, name, make in replaced:
                plain = getattr(owner, name)
                setattr(owner, name, make(plain))
                stack.callback(setattr, owner, name, plain)
            yield

    def number(self, value: Value) -> int | None:
        """The node that a value computes."""
        found = self._made.get(id(value))
        return None if found is None else found[1]

    # --- texts

    def nest(self, kernel: Kernel) -> tuple[str, Lines]:
        """The loop nest."""
        self._lines = []
        text = show(kernel)
        return text, _at_the_end(text, self._lines)

    def readable(self, device: Device, kernel: Kernel) -> tuple[str, Lines]:
        """The kernel in its device's language."""
        self._lines = []
        text = device.readable(kernel).rstrip("\n")
        return text, _at_the_end(text, self._lines)

    def compiled(self, device: Device, kernel: Kernel) -> tuple[tuple[str, Lines], tuple[str, Lines]]:
        """What the device compiles, and machine code; empty if the device shows none."""
        self._lines = []
        text = device.source([kernel]).rstrip("\n")
        if ", !dbg !" not in text:
            return (text, _at_the_end(text, self._lines)), (instructions(device.assembly(text)), [])
        lines: Lines = []
        plain = []
        for line in text.split("\n"):
            words, _, number = line.partition(", !dbg !")
            plain.append(words)
            lines.append([int(number) - FIRST] if number else [])
        return ("\n".join(plain), lines), _with_nodes(device.assembly(_described(text, kernel.name)))

    # --- what is replaced

    def _applying(self, plain: Any) -> Any:
        def init(value: Apply, op: str, srcs: Sequence[Value], dtype: Any) -> None:
            plain(value, op, srcs, dtype)
            number = self.current
            if number is None:
                number = next((n for n in map(self.number, srcs) if n is not None), None)
            if number is not None:
                self._made[id(value)] = value, number

        return init

    def _loading(self, plain: Any) -> Any:
        def init(value: Load, *parts: Any, **named: Any) -> None:
            plain(value, *parts, **named)
            if self.current is not None:
                self._made[id(value)] = value, self.current

        return init

    def _building(self, plain: Any) -> Any:
        """A node's value; what is loaded for it belongs to it, too."""
        def build(values: Values, key: Any, srcs: Sequence[Value]) -> Value:
            before, self.current = self.current, self.numbers.get(key[0])
            try:
                made: Value = plain(values, key, srcs)
            finally:
                number, self.current = self.current, before
            if number is not None:
                for value in srcs:
                    if isinstance(value, Load):
                        self._made.setdefault(id(value), (value, number))
            return made

        return build

    def _stating(self, plain: Any) -> Any:
        def statement(printer: Any, s: Statement, *rest: Any) -> None:
            self._statements.append(s)
            try:
                plain(printer, s, *rest)
            finally:
                self._statements.pop()

        return statement

    def _printing(self, plain: Any) -> Any:
        def line(printer: Any, *parts: Any) -> None:
            if not printer.lines:
                self._lines = []
            plain(printer, *parts)
            found = self._of(self._statements[-1]) if self._statements else []
            while len(self._lines) < len(printer.lines):
                self._lines.append(found if len(self._lines) == len(printer.lines) - 1 else [])

        return line

    def _writing(self, plain: Any) -> Any:
        return lambda writer, text: plain(writer, text + self._mark())

    def _computing(self, plain: Any) -> Any:
        def pure(writer: Writer, instruction: str, type: str, lanes: int, depth: int, name: str | None = None) -> Any:
            region = writer.regions[depth]
            new = instruction not in region.known
            made = plain(writer, instruction, type, lanes, depth, name)
            if new:
                region.point[-1] += self._mark()  # type: ignore[operator]
            return made

        return pure

    def _mark(self) -> str:
        return "" if self.current is None else f", !dbg !{FIRST + self.current}"

    def _of(self, s: Statement) -> list[int]:
        """The nodes that a statement computes itself."""
        if isinstance(s, (Let, LetIndex, Store)):
            found = [n for v in reversed(list(walk.values((s.value,)))) if (n := self.number(v)) is not None]
            if not found and isinstance(s, Store) and s.array.name in self.stored:
                found = [self.stored[s.array.name]]
            return list(dict.fromkeys(found))
        return [self.stored[s.array.name]] if isinstance(s, Fold) and s.array.name in self.stored else []


class _Followed(list[Value]):
    """Values in order; while one is looked at, what is made takes its place."""

    def __init__(self, order: list[Value], tracer: Tracer) -> None:
        super().__init__(order)
        self.tracer = tracer

    def __iter__(self) -> Iterator[Value]:
        tracer = self.tracer
        before = tracer.current
        try:
            for value in super().__iter__():
                number = tracer.number(value)
                tracer.current = before if number is None else number
                yield value
        finally:
            tracer.current = before


def _at_the_end(text: str, lines: Lines) -> Lines:
    """The lines of a whole text, of which the last are known."""
    return [[] for _ in range(text.count("\n") + 1 - len(lines))] + lines


def _described(text: str, name: str) -> str:
    """An LLVM module whose instructions have numbers, with what LLVM must know of them."""
    used = sorted({int(n) for n in re.findall(r", !dbg !(\d+)$", text, re.MULTILINE)})
    text = re.sub(r"^(define void @.*?) \{$", r"\1 !dbg !4 {", text, count=1, flags=re.MULTILINE)
    places = [f"!{n} = !DILocation(line: {n}, column: 1, scope: !4)" for n in used]
    return text + "\n" + DESCRIPTION.format(name=name) + "\n".join(places) + "\n"


def _with_nodes(assembly: str) -> tuple[str, Lines]:
    """Machine code for people, and the nodes of its lines: those of the ``.loc`` before each."""
    kept, lines = [], []
    number = 0
    for line in assembly.split("\n"):
        found = re.match(r"\s*\.loc\s+\d+\s+(\d+)", line)
        if found:
            number = int(found[1])
        elif _is_code(line):
            kept.append(line)
            lines.append([number - FIRST] if number >= FIRST and not line.endswith(":") else [])
    return "\n".join([line.replace("\t", "    ").partition(" ##")[0].rstrip() for line in kept]), lines


def instructions(assembly: str) -> str:
    """Machine code without what is for the assembler and linker: directives, and labels that nothing jumps to.

    >>> print(instructions("\\t.text\\nk:\\n\\tjne\\t.LBB0_1\\n.LBB0_1:\\n\\tretq\\n.Lfunc_end0:\\n\\t.size k, 3\\n"))
    k:
        jne    .LBB0_1
    .LBB0_1:
        retq
    """
    return _with_nodes(assembly)[0]


def _is_code(line: str) -> bool:
    return line.startswith(".LBB") or bool(line.strip() and not line.strip().startswith((".", "#")))
