"""Stage: DEBUG=3 and the golden tests print this. In: a kernel. Out: its loop nest as indented text, one statement a
line. ``//`` and ``%`` on values are floor division; in index expressions ``/`` is.
Next: ``interpret.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from minigrad.dtype import DType
from minigrad.kernel.ir import (
    Alloc,
    Apply,
    Array,
    Barrier,
    Commit,
    Const,
    Copy,
    Fold,
    For,
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
    Tile,
    Value,
    Wait,
)
from minigrad.kernel.walk import operands, values
from minigrad.ops import SCALAR_OPS, Op

LONGEST = 96  # characters of an expression before parts of it get lines of their own
_TIGHT = {Op.MUL: 3, Op.DIV: 3, Op.FLOORDIV: 3, Op.MOD: 3, Op.ADD: 2, Op.SUB: 2}
_INFIX = (Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.FLOORDIV, Op.MOD, Op.LT, Op.EQ, Op.AND, Op.OR, Op.XOR, Op.SHL, Op.SHR)


def show(kernel: Kernel) -> str:
    """The loop nest as text.

    >>> from minigrad.dtype import float32
    >>> from minigrad.symbolic import num, var
    >>> i, a = var("i", 0, 7), Array("a", float32, 8, written=True)
    >>> body = (Store(a, i, Apply("MUL", (Load(a, i), Const(2.0, float32)), float32)),)
    >>> print(show(Kernel("double", (a,), (), For(i, num(0), num(8), 1, "parallel", body))))
    kernel double(a: float32[8] written)
      parallel i in 0..8:
        a[i] = a[i] * 2.0
    """
    parameters = [_array(a) for a in kernel.arrays] + [f"{s.name}: {s.dtype.name}" for s in kernel.scalars]
    lines = [f"kernel {kernel.name}({', '.join(parameters)})"]
    Printer(lines).block((kernel.loop,), 1)
    return "\n".join(lines)


def show_statement(statement: Statement) -> str:
    """One statement and what is inside it, as text."""
    lines: list[str] = []
    Printer(lines).block((statement,), 0)
    return "\n".join(lines)


def show_value(value: Value) -> str:
    """A value as one line of text; a part that is used twice, or is very long, is printed as ``…``."""
    lines: list[str] = []
    text = Printer(lines).value(value, 0)
    return text if not lines else f"{text} where {'; '.join(line.strip() for line in lines)}"


def _array(array: Array) -> str:
    lanes = f" by {array.lanes} lanes" if array.lanes > 1 else ""
    return (f"{array.name}: {array.dtype.name}[{array.size}]{lanes}{' written' if array.written else ''}"
            f"{' nontemporal' if array.nontemporal else ''}{' swizzled' if array.swizzled else ''}")


def _tile(tile: Tile, rows: int, depth: int) -> str:
    blocks = f", blocks of 64 by {tile.block}" if tile.block else ""
    return f"{tile.array.name}[{tile.index}] ({rows} × {depth}, by {tile.row} and {tile.step}{blocks})"


def constant_text(value: int | float | bool, dtype: DType) -> str:
    """A constant as Python would print it."""
    return repr(float(value)) if dtype.is_float else repr(bool(value) if dtype.kind == "b" else int(value))


class Printer:
    """Appends the text of statements to ``lines``."""

    def __init__(self, lines: list[str]):
        self.lines = lines
        self.parts = 0

    def line(self, depth: int, text: str) -> None:
        self.lines.append("  " * depth + text)

    def block(self, block: Iterable[Statement], depth: int) -> None:
        for s in block:
            self.statement(s, depth)

    def statement(self, s: Statement, depth: int) -> None:
        if isinstance(s, For):
            step = f" by {s.step}" if s.step != 1 else ""
            self.line(depth, f"{s.kind} {s.var} in {s.start}..{s.stop}{step}:")
            self.block(s.body, depth + 1)
        elif isinstance(s, If):
            self.line(depth, f"if {self.value(s.condition, depth)}:")
            self.block(s.then, depth + 1)
            if s.otherwise:
                self.line(depth, "else:")
                self.block(s.otherwise, depth + 1)
        elif isinstance(s, (Let, LetIndex)):
            name = s.name if isinstance(s, Let) else f"index {s.var} ({s.var.lo}..{s.var.hi})"
            self.line(depth, f"{name} = {self.value(s.value, depth)}")
        elif isinstance(s, Store):
            guard = "" if s.guard is None else f" if {s.guard}"
            self.line(depth, f"{s.array.name}[{s.index}] = {self.value(s.value, depth)}{guard}")
        elif isinstance(s, Alloc):
            init = "" if s.init is None else f" = {constant_text(s.init.value, s.init.dtype)}"
            self.line(depth, f"{s.array.scope} {_array(s.array)}{init}")
        elif isinstance(s, Fold):
            self.line(depth, f"{s.name} = fold {s.op} of {s.array.name}")
        elif isinstance(s, Prefetch):
            self.line(depth, f"prefetch {s.array.name}[{s.index}]")
        elif isinstance(s, Copy):
            inside = "" if s.inside is None else f" if {s.inside}, else 0"
            self.line(depth, f"begin {s.to.name}[{s.at}] = {s.source.name}[{s.first}], {s.size} elements{inside}")
        elif isinstance(s, (Commit, Wait)):
            words = "commit copies" if isinstance(s, Commit) else (
                f"wait for all but {s.groups} groups of {'products' if s.products else 'copies'}")
            self.line(depth, words)
        elif isinstance(s, Multiply):
            a, b = _tile(s.a, s.rows, s.depth), _tile(s.b, s.columns, s.depth)
            who = f", {s.together} subgroups together" if s.together > 1 else ""
            self.line(depth, f"{s.sums.name} += {s.dtype.name} product of {a} and {b}{who}")
        else:
            assert isinstance(s, Barrier)
            self.line(depth, "barrier")

    def value(self, root: Value, depth: int) -> str:
        """The text of ``root``; parts that are used twice or are too long go to lines before it."""
        order = values([root])
        uses = Counter(id(s) for v in order for s in operands(v))
        texts: dict[int, tuple[str, int]] = {}
        for v in order:
            text, tight = _value_text(v, texts)
            shared = uses[id(v)] > 1 and not isinstance(v, (Const, Local, Scalar, Index, Load))
            if v is not root and (shared or len(text) > LONGEST):
                self.parts += 1
                self.line(depth, f"#{self.parts} = {text}")
                text, tight = f"#{self.parts}", 4
            texts[id(v)] = text, tight
        return texts[id(root)][0]


def _value_text(v: Value, texts: dict[int, tuple[str, int]]) -> tuple[str, int]:
    """The text of a value and how tightly it holds together (as in ``symbolic.text``)."""
    if isinstance(v, Const):
        text = constant_text(v.value, v.dtype)
        return text, 1 if text.startswith("-") else 4
    if isinstance(v, (Scalar, Local)):
        return v.name, 4
    if isinstance(v, Index):
        return f"[{v.index}]", 4
    if isinstance(v, Load):
        access = f"{v.array.name}[{v.index}]"
        return (access, 4) if v.guard is None else (f"({access} if {v.guard} else 0)", 4)
    return _apply_text(v, [texts[id(s)] for s in v.srcs])


def _apply_text(v: Apply, srcs: list[tuple[str, int]]) -> tuple[str, int]:
    symbol = SCALAR_OPS[v.op].symbol if v.op in SCALAR_OPS else v.op.lower()
    if v.op in _INFIX and len(srcs) == 2:
        tight = _TIGHT.get(v.op, 1)
        left, right = (text if held >= need else f"({text})" for (text, held), need in zip(srcs, (tight, tight + 1)))
        if tight == 1:
            left, right = (text if held > 1 else f"({text})" for text, held in srcs)
        return f"{left} {symbol} {right}", tight
    if v.op in (Op.NEG, Op.NOT) and len(srcs) == 1:
        text, held = srcs[0]
        return f"{symbol}{text if held == 4 else f'({text})'}", 3
    name = {Op.CAST: v.dtype.name, Op.BITCAST: f"bitcast_{v.dtype.name}"}.get(v.op, symbol)
    return f"{name}({', '.join(text for text, _ in srcs)})", 4
