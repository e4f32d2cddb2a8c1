"""Stage: the bottom of the LLVM renderer. In: instructions as text. Out: the text of a function in which every pure
instruction stands once, in the outermost loop that it does not depend on.
Next: ``llvm_ops.py``."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from minigrad.dtype import DType
from minigrad.symbolic import Sym
from minigrad.target import Target

_TYPES = {"bool": "i1", "float32": "float", "float64": "double"}


def register_type(dtype: DType) -> str:
    """The LLVM type of a value in a register; of a half type, its bits."""
    return _TYPES.get(dtype.name) or f"i{dtype.bits}"


def memory_type(dtype: DType) -> str:
    """The LLVM type of an element in memory: ``i8`` for a bool."""
    return "i8" if dtype.kind == "b" else register_type(dtype)


class Operand(NamedTuple):
    """A value: its text (a name or a constant), element type, lanes (1 = the same for all lanes), and the depth of
    the innermost region it depends on."""

    text: str
    type: str
    lanes: int = 1
    depth: int = 0

    @property
    def full(self) -> str:
        return self.type if self.lanes == 1 else f"<{self.lanes} x {self.type}>"

    @property
    def typed(self) -> str:
        return f"{self.type} {self.text}" if self.lanes == 1 else f"<{self.lanes} x {self.type}> {self.text}"

    @property
    def is_literal(self) -> bool:
        return self.text[0] != "%"


def literal(type: str, value: int | float | bool) -> Operand:
    """A constant.

    >>> literal("float", 1.0).text, literal("i1", True).text
    ('0x3FF0000000000000', 'true')
    """
    if type in ("float", "double"):
        text = f"0x{struct.unpack('>Q', struct.pack('>d', value))[0]:016X}"
    elif type == "i1":
        text = "true" if value else "false"
    else:
        text = str(int(value))
    return Operand(text, type)


_ZEROS = frozenset(("0", "false", "0x0000000000000000"))
_BITS = {"float": ("i32", ">f"), "double": ("i64", ">d")}


class Region:
    """The lines of a loop's or branch's body. ``point`` is where a pure instruction of this depth goes: the end,
    or, while an inner region is open, right before it."""

    def __init__(self) -> None:
        self.lines: list[str | list] = []
        self.point = self.lines
        self.known: dict[str, Operand] = {}
        self.loads: dict[str, tuple[int, Operand]] = {}
        self.numbers: dict[tuple[Sym, str], Operand] = {}  # index expressions whose operands are of this depth


class Writer:
    """Writes one function. ``pure`` instructions are remembered; ``here`` writes at the current place."""

    def __init__(self, target: Target, declarations: dict[str, str]):
        self.target = target
        self.declarations = declarations
        self.regions = [Region()]
        self.count = 0
        self.floor = 0  # no operation is moved out of the innermost If
        self.epoch = 0  # counts stores: a load is remembered until the next one
        self.label = "entry"
        self.chosen: dict[str, Operand] = {}  # of floats that are chosen from some that are known, the bits

    @property
    def depth(self) -> int:
        return len(self.regions) - 1

    def fresh(self) -> str:
        self.count += 1
        return f"%v{self.count}"

    def line(self, text: str) -> None:
        self.regions[-1].point.append("  " + text)

    def start_block(self, label: str) -> None:
        self.regions[-1].lines.append(f"{label}:")
        self.label = label

    def open_region(self, hoist: list | None = None) -> list:
        """Starts a region inside the current one. Returns the place before it, which the second branch of an
        If passes back so that both share it."""
        parent = self.regions[-1]
        if hoist is None:
            hoist = []
            parent.lines.append(hoist)
        parent.point = hoist
        self.regions.append(Region())
        return hoist

    def close_region(self) -> None:
        region = self.regions.pop()
        parent = self.regions[-1]
        parent.lines.append(region.lines)
        parent.point = parent.lines

    def text(self) -> str:
        """All lines of the function's body."""
        out: list[str] = []

        def add(lines: list[str | list]) -> None:
            for item in lines:
                if isinstance(item, list):
                    add(item)
                else:
                    out.append(item)

        add(self.regions[0].lines)
        return "\n".join(out)

    # --- instructions ----------------------------------------------------------------------------------------

    def pure(self, instruction: str, type: str, lanes: int, depth: int, name: str | None = None) -> Operand:
        region = self.regions[depth]
        known = region.known.get(instruction)
        if known is None:
            known = Operand(name or self.fresh(), type, lanes, depth)
            region.known[instruction] = known
            region.point.append(f"  {known.text} = {instruction}")
        return known

    def load(self, instruction: str, type: str, lanes: int) -> Operand:
        """A load at the current place, or the same one made earlier in this region with no store since."""
        region = self.regions[-1]
        epoch, known = region.loads.get(instruction, (-1, None))
        if known is None or epoch != self.epoch:
            known = Operand(self.fresh(), type, lanes, self.depth)
            region.loads[instruction] = self.epoch, known
            self.line(f"{known.text} = {instruction}")
        return known

    def widen(self, a: Operand, lanes: int) -> Operand:
        """The same value in each of ``lanes`` lanes."""
        if a.lanes == lanes:
            return a
        assert a.lanes == 1, f"{a} cannot become {lanes} lanes"
        if a.is_literal:
            text = "zeroinitializer" if a.text in _ZEROS else f"splat ({a.typed})"
            return Operand(text, a.type, lanes, 0)
        full = f"<{lanes} x {a.type}>"
        first = self.pure(f"insertelement {full} poison, {a.typed}, i64 0", a.type, lanes, a.depth)
        return self.pure(f"shufflevector {first.typed}, {full} poison, <{lanes} x i32> zeroinitializer",
                         a.type, lanes, a.depth)

    def together(self, *operands: Operand) -> Sequence[Operand]:
        """The operands with the same number of lanes."""
        counts = [a.lanes for a in operands]
        lanes = max(counts)
        return operands if min(counts) == lanes else [self.widen(a, lanes) for a in operands]

    def place(self, *operands: Operand) -> int:
        return max([self.floor, *[a.depth for a in operands]])

    def binary(self, opcode: str, a: Operand, b: Operand) -> Operand:
        if a.lanes != b.lanes:
            a, b = self.together(a, b)
        return self.pure(f"{opcode} {a.typed}, {b.text}", a.type, a.lanes, max(self.floor, a.depth, b.depth))

    def compare(self, opcode: str, a: Operand, b: Operand) -> Operand:
        if a.text == b.text and a.is_literal and opcode == "fcmp oeq" and a.text[:5] not in ("0x7FF", "0xFFF"):
            return literal("i1", True)  # no NaN
        if a.lanes != b.lanes:
            a, b = self.together(a, b)
        return self.pure(f"{opcode} {a.typed}, {b.text}", "i1", a.lanes, max(self.floor, a.depth, b.depth))

    def select(self, condition: Operand, a: Operand, b: Operand) -> Operand:
        if condition.text == "true":
            return a
        if condition.lanes > 1:
            condition, a, b = self.together(condition, a, b)
        elif a.lanes != b.lanes:
            a, b = self.together(a, b)
        place = max(self.floor, condition.depth, a.depth, b.depth)
        if a.lanes == 1 and a.type in _BITS:
            first, other = self.chosen_bits(a), self.chosen_bits(b)
            if first is not None and other is not None:
                bits = self.pure(f"select {condition.typed}, {first.typed}, {other.typed}", first.type, 1, place)
                found = self.convert("bitcast", bits, a.type)
                self.chosen[found.text] = bits
                return found
        return self.pure(f"select {condition.typed}, {a.typed}, {b.typed}", a.type, a.lanes, place)

    def chosen_bits(self, a: Operand) -> Operand | None:
        """The bits of a float that is known, or is one of several that are. They are chosen among as integers: LLVM 22
        would read the float from a table, and ends the process where it finds out late which one that is, if a vector
        is made of it."""
        if not a.is_literal:
            return self.chosen.get(a.text)
        value = struct.unpack(">d", bytes.fromhex(a.text[2:]))[0]
        type, layout = _BITS[a.type]
        return Operand(str(int.from_bytes(struct.pack(layout, value))), type)

    def convert(self, opcode: str, a: Operand, type: str) -> Operand:
        full = type if a.lanes == 1 else f"<{a.lanes} x {type}>"
        return self.pure(f"{opcode} {a.typed} to {full}", type, a.lanes, max(self.floor, a.depth))

    def unary(self, opcode: str, a: Operand) -> Operand:
        return self.pure(f"{opcode} {a.typed}", a.type, a.lanes, max(self.floor, a.depth))

    def intrinsic(self, name: str, *operands: Operand) -> Operand:
        """``llvm.name`` overloaded on the type of its operands, all alike."""
        alike = self.together(*operands)
        a = alike[0]
        full = f"llvm.{name}.{mangled(a.type, a.lanes)}"
        if full not in self.declarations:
            self.declare(full, f"declare {a.full} @{full}({', '.join([a.full] * len(alike))})")
        values = ", ".join([o.typed for o in alike])
        return self.pure(f"call {a.full} @{full}({values})", a.type, a.lanes, self.place(*alike))

    def declare(self, name: str, text: str) -> None:
        self.declarations[name] = text

    def lane(self, a: Operand, number: int) -> Operand:
        """One lane of ``a``."""
        if a.lanes == 1:
            return a
        return self.pure(f"extractelement {a.typed}, i64 {number}", a.type, 1, self.place(a))

    def gathered(self, parts: list[Operand]) -> Operand:
        """The scalars as the lanes of one value."""
        full = f"<{len(parts)} x {parts[0].type}>"
        text, depth = "poison", self.place(*parts)
        for number, part in enumerate(parts):
            text = self.pure(f"insertelement {full} {text}, {part.typed}, i64 {number}", part.type, len(parts),
                             depth).text
        return Operand(text, parts[0].type, len(parts), depth)

    def joined(self, parts: list[Operand]) -> Operand:
        """The lanes of all parts, one after another, and undefined ones behind them up to a power of two of parts."""
        while len(parts) > 1:
            if len(parts) % 2:
                parts = [*parts, parts[-1]._replace(text="poison")]
            parts = [self.picked(a, b, range(2 * a.lanes)) for a, b in zip(parts[::2], parts[1::2])]
        return parts[0]

    def shuffle(self, a: Operand, lanes: list[int]) -> Operand:
        """The named lanes of ``a``."""
        if len(lanes) == 1:
            return self.lane(a, lanes[0])
        return self.picked(a, a._replace(text="poison"), lanes)

    def picked(self, a: Operand, b: Operand, lanes: Sequence[int]) -> Operand:
        """The named lanes of two vectors, ``b`` behind ``a``."""
        picks = ", ".join(f"i32 {n}" for n in lanes)
        text = f"shufflevector {a.typed}, {b.typed}, <{len(lanes)} x i32> <{picks}>"
        return self.pure(text, a.type, len(lanes), self.place(a, b))


def mangled(type: str, lanes: int) -> str:
    """The type's name inside an intrinsic's name: ``v16f32``."""
    short = {"float": "f32", "double": "f64", "ptr": "p0"}.get(type, type)
    return short if lanes == 1 else f"v{lanes}{short}"
