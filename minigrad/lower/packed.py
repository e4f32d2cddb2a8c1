"""Stage: lower, strategy ``contraction``. In: a block of an operand. Out: loops that copy it to scratch, and where its
elements are then.
Next: ``ahead.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from minigrad.dtype import bool_, int64, uint32
from minigrad.graph.lazy import contiguous_strides
from minigrad.kernel.ir import Alloc, Apply, Array, Const, Index, LetIndex, Load, Statement, Value
from minigrad.lower.ahead import fetches
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, Output, used_gathers
from minigrad.lower.map import map_stage
from minigrad.lower.nest import ZERO, unflatten, when
from minigrad.lower.tiling import Operand, Tiling
from minigrad.lower.words import Word
from minigrad.ops import Op
from minigrad.symbolic import Sym, as_sym, both, minimum, num, substitute


def dot(at: Sequence[Sym], strides: Sequence[int]) -> Sym:
    """The place of a point."""
    return sum([v * n for v, n in zip(at, strides, strict=True)], ZERO)


@dataclass(frozen=True, slots=True)
class Packed:
    """A block of an operand in scratch: elements between neighbouring rows or columns, and between steps of each axis
    of K from the cut on; the row or column of the operand that it begins with; where the first element is."""

    array: Array
    across: int
    along: Sequence[int]
    origin: Sym
    offset: int = 0

    def at(self, position: Sym, k: Sequence[Sym]) -> Load:
        """The element of a row or column at a step of K."""
        return Load(self.array, position * self.across + dot(k, self.along) + self.offset)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Columns of a block: axes to copy them with, the position in the block, the operand's axes in terms of these, what
    must hold of an element to be there, and when they are copied at all."""

    axes: list[Axis]
    index: Sym
    mapping: dict[Sym, Sym]
    inside: list[Sym]
    condition: Sym | None = None


class Packing:
    """Copies of operands, for the block of rows, of columns and of K that a writer stands at: ``height`` rows from
    ``first_row``, ``block_width`` columns from ``first_column``, or panel ``panels``; block ``k_block`` of K.
    ``last_columns``: whether it is the last of several blocks of columns."""

    def __init__(self, tiling: Tiling) -> None:
        self.tiling, self.body, self.names = tiling, tiling.body, tiling.body.names
        self.dtype = tiling.word.dtype if tiling.word else tiling.reduction.value.dtype
        self.height, self.block_width = 1, 1
        self.first_row, self.first_column, self.k_block = ZERO, ZERO, ZERO
        self.last_columns: Sym | None = None
        self.panels: Axis | None = None
        if tiling.panel and tiling.panel < tiling.columns[0].size:
            self.panels = self.axis("n", -(-tiling.columns[0].size // tiling.panel))

    def axis(self, stem: str, size: int) -> Axis:
        """A loop of so many steps."""
        return self.names.axis(stem, size)

    def pack(self, operand: Operand, statements: list[Statement]) -> Packed:
        """Copy the block's part of an operand to scratch, computed once."""
        tiling = self.tiling
        rows = operand is tiling.a
        k_axes = [self.axis("k", size) for size in tiling.k_sizes]
        cut = tiling.k[tiling.cut]
        mapping = {axis.var: own.var for axis, own in zip(tiling.k[tiling.cut:], k_axes, strict=True)}
        if tiling.word:
            self.k_words = k_axes[-1]
            mapping[tiling.k[-1].var] = self.k_words.var * tiling.word.count
        mapping[cut.var] = self.k_block * tiling.depth + mapping[cut.var]
        guards = [] if cut.size % tiling.depth == 0 else [mapping[cut.var] < cut.size]
        if not rows and tiling.windows:
            return self._pack_windows(operand, k_axes, mapping, guards, statements)
        strides = contiguous_strides([x.size for x in k_axes])
        flat = dot([x.var for x in k_axes], strides)
        deep = prod(x.size for x in k_axes)
        if rows:
            local = self.axis("m", self.height)
            origin = self._origin(self.first_row, self.height, tiling.m.size, statements)
            mapping[tiling.m.var] = origin + local.var
            packed = Packed(self._packed_array("a", self.height * deep), deep, strides, origin)
            statements += self._copy(operand, packed.array, local.var * deep + flat, [*k_axes, local], mapping, guards)
            return packed
        origin, parts = self._panel() if tiling.panel else self._column_parts(statements)
        packed = Packed(self._packed_array("b", deep * self.block_width), 1, [n * self.block_width for n in strides],
                        origin)
        copied = [(part, self._copy(operand, packed.array, part.index + flat * self.block_width,
                                    [*k_axes, *part.axes], {**mapping, **part.mapping}, [*guards, *part.inside],
                                    bool(tiling.panel and tiling.extent % tiling.lanes))) for part in parts]
        (_, (alloc, *_)), *_ = copied
        statements += [alloc, *[s for part, (_, *made) in copied for s in when(part.condition, made)]]
        return packed

    def _pack_windows(self, operand: Operand, k_axes: list[Axis], mapping: dict[Sym, Sym], guards: list[Sym],
                      statements: list[Statement]) -> Packed:
        """Copy what the windows of a panel cover, each element once."""
        tiling = self.tiling
        taps = {k: (w, factor) for w in tiling.windows for k, factor in w.taps}
        sizes, pitches, panel = self._covered(), tiling.pitches, self.panels.var if self.panels else ZERO
        places = [self.axis("n", size) for size in sizes]
        plane = sizes[0] * pitches[0]
        inside = panel * tiling.panel + places[0].var < tiling.columns[0].size + tiling.extra(tiling.columns[0])
        guards += [] if inside.lo == 1 else [inside]
        mapping.update(self._places([x.var for x in places], panel))
        offset = -sum(w.low * pitch for w in tiling.windows
                      for axis, pitch in zip(tiling.columns, pitches, strict=True) if w.axis is axis)
        planes = [(axis, own) for axis, own in zip(tiling.k[tiling.cut:], k_axes, strict=True) if axis not in taps]
        held = contiguous_strides([own.size for _, own in planes])
        stride_of = {axis: n * plane for (axis, _), n in zip(planes, held, strict=True)}
        for k, (w, factor) in taps.items():
            stride_of[k] = factor * pitches[tiling.columns.index(w.axis)]
        past = -tiling.extent % tiling.lanes
        array = self.scratch("b", plane * prod(own.size for _, own in planes) + past)
        index = dot([own.var for _, own in planes], [n * plane for n in held]) + dot([x.var for x in places], pitches)
        axes = [*(own for _, own in planes), *places]
        statements += self._copy(operand, array, index, axes, mapping, guards, past > 0)
        return Packed(array, 1, [stride_of[x] for x in tiling.k[tiling.cut:]], ZERO, offset)

    def ahead(self, share: Sym, shares: int) -> list[Statement]:
        """Fetch one of so many shares of what the windows of the next copy cover: that of the next block of K, of the
        next panel, or of the next step of the loop around these. The first axis of K is shared out."""
        tiling, taps = self.tiling, [k for w in self.tiling.windows for k, _ in w.taps]
        planes = [x for x in zip(tiling.k[tiling.cut:], tiling.k_sizes, strict=True) if x[0] not in taps]
        around = [*tiling.outer[-1:], *([self.panels] if self.panels else []), Axis(self.k_block, tiling.depths)]
        blocks = [x for x in around if x.size > 1]
        if not tiling.windows or not planes or not blocks:
            return []
        sizes = [x.size for x in blocks]
        step = dot([x.var for x in blocks], contiguous_strides(sizes))
        at = unflatten(minimum(step + 1, num(prod(sizes) - 1)), blocks)
        (first, size), *_ = planes
        each = -(-size // shares)
        k_axes = [self.axis("k", each), *[self.axis("k", n) for _, n in planes[1:]]]
        at.update({x.var: own.var for (x, _), own in zip(planes, k_axes, strict=True)})
        begin = share * each
        at[first.var] = k_axes[0].var + begin + (
            at.get(self.k_block, ZERO) * tiling.depth if first is tiling.k[tiling.cut] else 0)
        places = [self.axis("n", n) for n in self._covered()]
        at.update(self._places([x.var for x in places], at[self.panels.var] if self.panels else ZERO))
        value = self.body.instance(at).value(tiling.b.value)
        return when(begin < size, fetches([value], [*k_axes, *places], self.names, tiling.target))

    def _covered(self) -> list[int]:
        """How many places the windows of a panel cover along each axis of the columns."""
        tiling = self.tiling
        return [(x.size if i else tiling.panel) + tiling.extra(x) for i, x in enumerate(tiling.columns)]

    def _places(self, places: Sequence[Sym], panel: Sym) -> dict[Sym, Sym]:
        """The axes of the columns, and those of the sum that windows are moved by, at places that the windows of a
        panel cover."""
        tiling, windows, at = self.tiling, {w.axis: w for w in self.tiling.windows}, dict[Sym, Sym]()
        for i, (axis, place) in enumerate(zip(tiling.columns, places, strict=True)):
            coordinate = place if i else panel * tiling.panel + place
            at.update({v: as_sym(e) for v, e in windows[axis].plain(coordinate).items()} if axis in windows else {
                axis.var: coordinate})
        return at

    def _copy(self, operand: Operand, array: Array, index: Sym, axes: Sequence[Axis], mapping: Mapping[Sym, Sym],
              guards: Sequence[Sym], clear: bool = False) -> list[Statement]:
        """The array, then loops that store an operand's value over ``axes``, 0 where a guard fails; ``clear``: not all
        of the array is stored."""
        word = self.tiling.word
        made = [s for at, whole in self._pieces(word, axes) for s in self._copied(
            operand, array, substitute(index, at), [x for x in (*axes, *whole) if x.var not in at],
            {v: substitute(as_sym(e), at) for v, e in mapping.items()}, [substitute(g, at) for g in guards], word)]
        return [Alloc(array, Const(0, array.dtype) if clear else None), *made]

    def _pieces(self, word: Word | None, axes: Sequence[Axis]) -> list[tuple[dict[Sym, Sym], list[Axis]]]:
        """The whole words along K, and the one that is not: what the axis that counts them is, and another one."""
        length = self._block_of_k()[1]
        if word is None or length < word.count or length % word.count == 0:
            return [({}, [])]
        whole, last = self.axis("k", length // word.count), self.k_words
        return [({last.var: whole.var}, [whole]), ({last.var: num(whole.size)}, [])]

    def _block_of_k(self) -> tuple[Sym, int]:
        """Where a block of the last axis of K begins, and how long it is."""
        tiling, last = self.tiling, self.tiling.k[-1]
        return (ZERO, last.size) if tiling.cut < len(tiling.k) - 1 else (self.k_block * tiling.depth, tiling.depth)

    def _copied(self, operand: Operand, array: Array, index: Sym, axes: Sequence[Axis], mapping: Mapping[Sym, Sym],
                guards: Sequence[Sym], word: Word | None) -> list[Statement]:
        """Loops that store an operand's value over ``axes``."""
        body = self.body
        guard = both(*guards) if guards else None
        copy = body.instance({**mapping, **{g.var: g.var for g in body.gathers}}, guard=guard)
        value = self._joined(word, operand, mapping, guards) if word else copy.value(operand.value)
        gathers = tuple([replace(g, value=copy.value(g.value), guard=guard if g.guard is None else both(
            copy.index(g.guard), *guards)) for g in used_gathers(body.gathers, operand.value)])
        inner = Body(self.names, tuple([(x.var, x.size) for x in axes if x.size != 1]), (Output(array, index, value),),
                     (), gathers, body.status)
        return map_stage(inner, self.tiling.target, divide=False).statements

    def _joined(self, word: Word, operand: Operand, mapping: Mapping[Sym, Sym], guards: Sequence[Sym]) -> Value:
        """Neighbours of an operand along K as a word: 0 where there are none."""
        tiling, last = self.tiling, self.tiling.k[-1]
        start, length = self._block_of_k()
        parts: list[Value] = []
        for which in range(word.count):
            at = mapping[last.var] + which
            inside = both(at < last.size, at - start < length)
            guard = both(*guards, inside)
            copy = self.body.instance({**mapping, last.var: at}, guard=None if guard.lo == 1 else guard)
            part = word.part(copy.value(operand.value))
            parts.append(part if inside.lo == 1 else
                         Apply(Op.WHERE, (Index(inside, bool_), part, Const(0, uint32)), uint32))
        return word.joined(parts, operand is tiling.a)

    def _packed_array(self, stem: str, size: int) -> Array:
        made = self.scratch(stem, size)
        return replace(made, dtype=uint32) if self.tiling.word else made

    def scratch(self, stem: str, size: int) -> Array:
        return Array(self.names.fresh(stem), self.dtype, size, "scratch", 1, True)

    def _origin(self, first: Sym, count: int, extent: int, statements: list[Statement]) -> Sym:
        """Where a copy of ``count`` rows or columns begins that holds those from ``first``: not so late that it would
        pass the end."""
        if first.hi + count <= extent:
            return first
        origin = self.names.var("at", extent - count + 1)
        statements.append(LetIndex(origin, Index(minimum(first, num(extent - count)), int64)))
        return origin

    def _column_parts(self, statements: list[Statement]) -> tuple[Sym, list[_Columns]]:
        """Where the copy of a block's columns begins, and the columns: those that every block has, and those that the
        last one has beside them."""
        tiling, width, n = self.tiling, self.tiling.column_tiles * self.tiling.width, self.tiling.n
        origin = self.first_column
        if n.size % tiling.lanes == 0:
            origin = self._origin(self.first_column, self.block_width, n.size, statements)
        cuts: list[tuple[int, int, Sym | None]] = [(0, self.block_width, None)]
        if self.last_columns is not None and self.block_width > width:
            cuts = [(0, width, None), (width, self.block_width - width, self.last_columns)]
        parts = []
        for begin, count, condition in cuts:
            own = self.axis("n", count)
            at = origin + own.var + begin
            inside = at < n.size
            parts.append(_Columns([own], own.var + begin, {n.var: at}, [] if inside.lo == 1 else [inside], condition))
        return origin, parts

    def _panel(self) -> tuple[Sym, list[_Columns]]:
        """The same for a panel of several axes of columns."""
        tiling, mapping = self.tiling, {}
        axes = [self.axis("n", tiling.panel), *[self.axis("n", x.size) for x in tiling.columns[1:]]]
        flat = dot([own.var for own in axes], tiling.pitches)
        for axis, own in zip(tiling.columns, axes, strict=True):
            mapping[axis.var] = own.var
        first = (self.panels.var * tiling.panel if self.panels else ZERO) + axes[0].var
        mapping[tiling.columns[0].var] = first
        inside = first < tiling.columns[0].size
        return ZERO, [_Columns(axes, flat, mapping, [] if inside.lo == 1 else [inside])]
