"""Stage: lower, strategy ``contraction``. In: its tiling. Out: its loops: parallel over blocks of tiles, blocks
of K, copies of operand tiles to scratch where the tiling wants them, register tiles, and what is done with the sums
before they are stored.
Next: ``scan.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from minigrad.dtype import bool_, int64
from minigrad.graph.lazy import contiguous_strides
from minigrad.kernel.ir import (
    Alloc,
    Apply,
    Array,
    Const,
    Fold,
    If,
    Index,
    LetIndex,
    Load,
    Local,
    Statement,
    Store,
    Value,
)
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, Output, traffic, used_gathers
from minigrad.lower.cost import AHEAD, per_vector
from minigrad.lower.map import Lowering, map_stage
from minigrad.lower.nest import ZERO, Parallel, loop, loops, parts, when
from minigrad.lower.packed import Packed, dot
from minigrad.lower.steps import Space
from minigrad.lower.tiling import Operand, Tiling
from minigrad.ops import Op
from minigrad.symbolic import Sym, as_sym, both, eq, minimum, num


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles of one height or width. ``axis`` counts them (None: there is one); tile ``t`` starts at ``at``, which is
    ``local`` inside the block; ``size`` rows, or columns of which ``valid`` exist; present where ``condition``
    holds."""

    axis: Axis | None
    start: Sym
    stop: Sym
    at: Sym
    local: Sym
    head: tuple[Statement, ...]
    size: int
    valid: int
    condition: Index | None

    def around(self, body: list[Statement]) -> list[Statement]:
        """The loop over these tiles."""
        inside = [*self.head, *body]
        if self.axis is not None:
            inside = [loop(self.axis, inside, start=self.start, stop=self.stop)]
        return when(self.condition, inside)


def contraction_stage(tiling: Tiling, space: Space, divide: bool) -> Lowering:
    """Lower a contraction by its tiling."""
    return _Writer(tiling, space, divide).lower()


class _Writer:
    def __init__(self, tiling: Tiling, space: Space, divide: bool) -> None:
        self.tiling, self.space, self.divide = tiling, space, divide
        self.body, self.names = tiling.body, tiling.body.names
        self.dtype = tiling.reduction.value.dtype
        self.row_count = tiling.m.size // tiling.rows
        self.column_count = tiling.extent // tiling.width
        if not divide:
            tiling.row_tiles, tiling.column_tiles = max(1, self.row_count), max(1, self.column_count)
        made = traffic([o.value for o in self.body.outputs])
        self.per_vector = per_vector(self.body, made, tiling.n, tiling.lanes)  # of results, after their sums
        self.panels: Axis | None = None
        if tiling.panel and tiling.panel < tiling.columns[0].size:
            self.panels = self._axis("n", -(-tiling.columns[0].size // tiling.panel))

    def _axis(self, stem: str, size: int) -> Axis:
        return Axis(self.names.var(stem, size), size)

    # --- the parallel loop, and what an iteration of it takes

    def lower(self) -> Lowering:
        tiling = self.tiling
        blocks_m = -(-self.row_count // tiling.row_tiles)
        blocks_n = -(-self.column_count // tiling.column_tiles) if self.column_count else 1
        space = [*tiling.outer, *([self.panels] if self.panels else [])]
        block_m, block_n = self._axis("m", blocks_m), self._axis("n", blocks_n)
        space += [x for x in (block_n, block_m) if x.size > 1]
        extent = prod(x.size for x in space)
        p = self.names.var("p", extent)
        head: list[Statement] = []
        rest: Sym = p
        for x in reversed(space):
            head.insert(0, LetIndex(x.var, Index(rest % x.size, int64)))
            rest = rest // x.size
        work = self._task(block_m, block_n)
        total = prod([tiling.m.size, *(x.size for x in tiling.columns), *(x.size for x in tiling.outer),
                      *(x.size for x in tiling.k)])
        steps = tiling.steps(self.space)
        if not self.divide:
            return Lowering(loops(space, work), self.space.note("contraction", steps), total, None, 2 * total)
        note = self.space.note("contraction", steps + tiling.parallel(self.space))
        made = Parallel(p, extent, head, ZERO, num(1), None)
        return Lowering(work, note + f"; {extent} iterations", total, made, 2 * total)

    def _tiles(self, stem: str, count: int, block: Axis, per_block: int, size: int, extent: int,
               round_to: int) -> list[Tiles]:
        """Whole tiles of a block, then the rest of the extent, which belongs to the last block."""
        result: list[Tiles] = []
        last = Index(eq(block.var, num(block.size - 1)), bool_) if block.size > 1 else None
        if count:
            t = self._axis(stem, count)
            if block.size == 1:
                axis = t if count > 1 else None
                at = (t.var if axis else ZERO) * size
                result.append(Tiles(axis, ZERO, num(count), at, at, (), size, size, None))
            else:
                start = block.var * per_block
                inside = self._axis(stem, per_block)
                head: tuple[Statement, ...] = (LetIndex(inside.var, Index(t.var - start, int64)),)
                local = inside.var * size
                if per_block == 1:
                    head, local = (), ZERO
                result.append(Tiles(t, start, minimum(start + per_block, num(count)), t.var * size, local, head,
                                    size, size, None))
        left = extent - count * size
        if left:
            before = count - (block.size - 1) * per_block if count else 0
            padded = -(-left // round_to) * round_to
            result.append(Tiles(None, ZERO, num(1), num(count * size), num(before * size), (), padded, left, last))
        return result

    def _row_tiles(self, block: Axis) -> list[Tiles]:
        tiling = self.tiling
        return self._tiles("i", self.row_count, block, tiling.row_tiles, tiling.rows, tiling.m.size, 1)

    def _column_tiles(self, block: Axis) -> list[Tiles]:
        tiling = self.tiling
        return self._tiles("j", self.column_count, block, tiling.column_tiles, tiling.width, tiling.extent,
                           tiling.lanes)

    def _task(self, block_m: Axis, block_n: Axis) -> list[Statement]:
        """All tiles of one block."""
        tiling = self.tiling
        height = tiling.row_tiles * tiling.rows + tiling.m.size % tiling.rows
        width = tiling.column_tiles * tiling.width + -(-(tiling.extent % tiling.width) // tiling.lanes) * tiling.lanes
        if not self.column_count:
            width = -(-tiling.extent // tiling.lanes) * tiling.lanes
        self.height, self.block_width = min(height, tiling.m.size), width
        self.first_row = block_m.var * (tiling.row_tiles * tiling.rows) if block_m.size > 1 else ZERO
        self.first_column = block_n.var * (tiling.column_tiles * tiling.width) if block_n.size > 1 else ZERO
        blocks = [*tiling.k[:tiling.cut], *([self._axis("k", tiling.depths)] if tiling.depths > 1 else [])]
        self.k_block = blocks[-1].var if tiling.depths > 1 else ZERO
        sums: Array | None = None
        statements: list[Statement] = []
        if blocks or tiling.panel or tiling.partial:
            sums = Array(self.names.fresh("sums"), self.dtype, height * width, "scratch", 1, True)
            statements.append(Alloc(sums, Const(0, self.dtype) if blocks or tiling.partial else None))
        inside: list[Statement] = []
        packed_a = self._pack(tiling.a, inside) if tiling.a.packed else None
        packed_b = self._pack(tiling.b, inside) if tiling.b.packed else None
        micro = _Micro(self, packed_a, packed_b, sums, bool(blocks))
        for wide in self._column_tiles(block_n):
            inside += wide.around([s for high in self._row_tiles(block_m) for s in high.around(micro.tile(high, wide))])
        statements += loops(blocks, inside)
        if sums is not None:
            if tiling.partial:
                statements += self._repair(block_m, block_n, sums)
            statements += self._epilogue(block_m, block_n, sums)
        return statements

    # --- packing

    def _pack(self, operand: Operand, statements: list[Statement]) -> Packed:
        """Copy the block's part of an operand to scratch, computed once."""
        tiling = self.tiling
        rows = operand is tiling.a
        k_axes = [self._axis("k", tiling.depth), *[self._axis("k", x.size) for x in tiling.k[tiling.cut + 1:]]]
        cut = tiling.k[tiling.cut]
        base = self.k_block * tiling.depth
        mapping: dict[Sym, Sym] = {cut.var: base + k_axes[0].var}
        guards = [] if cut.size % tiling.depth == 0 else [(base + k_axes[0].var) < cut.size]
        for axis, own in zip(tiling.k[tiling.cut:], k_axes, strict=True):
            mapping.setdefault(axis.var, own.var)
        if not rows and tiling.windows:
            return self._pack_windows(operand, k_axes, mapping, guards, statements)
        strides = contiguous_strides([x.size for x in k_axes])
        flat = dot([x.var for x in k_axes], strides)
        deep = tiling.depth * tiling.inner
        if rows:
            local = [self._axis("m", self.height)]
            origin = self._origin(self.first_row, self.height, tiling.m.size, statements)
            mapping[tiling.m.var] = origin + local[0].var
            index = local[0].var * deep + flat
            packed = Packed(self._scratch("a", self.height * deep), deep, strides, origin)
        else:
            local, index, extra, origin = self._panel_axes(mapping, statements)
            guards += extra
            index = index + flat * self.block_width
            packed = Packed(self._scratch("b", deep * self.block_width), 1, [n * self.block_width for n in strides],
                             origin)
        partial = not rows and tiling.panel and tiling.extent % tiling.lanes
        self._copy(operand, packed.array, index, [*k_axes, *local], mapping, guards, bool(partial), statements)
        return packed

    def _pack_windows(self, operand: Operand, k_axes: list[Axis], mapping: dict[Sym, Sym], guards: list[Sym],
                      statements: list[Statement]) -> Packed:
        """Copy what the windows of a panel cover, each element once."""
        tiling = self.tiling
        taps = {k: (w, factor) for w in tiling.windows for k, factor in w.taps}
        sizes = [(x.size if i else tiling.panel) + tiling.extra(x) for i, x in enumerate(tiling.columns)]
        places, pitches = [self._axis("n", size) for size in sizes], tiling.pitches
        plane = sizes[0] * pitches[0]
        coordinates = [x.var for x in places]
        if self.panels is not None:
            coordinates[0] = self.panels.var * tiling.panel + places[0].var
            inside = coordinates[0] < tiling.columns[0].size + tiling.extra(tiling.columns[0])
            guards += [] if inside.lo == 1 else [inside]
        offset, windows = 0, {w.axis: w for w in tiling.windows}
        for axis, at, pitch in zip(tiling.columns, coordinates, pitches, strict=True):
            if axis in windows:
                mapping.update({v: as_sym(e) for v, e in windows[axis].plain(at).items()})
                offset -= windows[axis].low * pitch
            else:
                mapping[axis.var] = at
        planes = [(axis, own) for axis, own in zip(tiling.k[tiling.cut:], k_axes, strict=True) if axis not in taps]
        held = contiguous_strides([own.size for _, own in planes])
        stride_of = {axis: n * plane for (axis, _), n in zip(planes, held, strict=True)}
        for k, (w, factor) in taps.items():
            stride_of[k] = factor * pitches[tiling.columns.index(w.axis)]
        past = -tiling.extent % tiling.lanes
        array = self._scratch("b", plane * prod(own.size for _, own in planes) + past)
        index = dot([own.var for _, own in planes], [n * plane for n in held]) + dot([x.var for x in places], pitches)
        self._copy(operand, array, index, [*(own for _, own in planes), *places], mapping, guards, past > 0, statements)
        return Packed(array, 1, [stride_of[x] for x in tiling.k[tiling.cut:]], ZERO, offset)

    def _copy(self, operand: Operand, array: Array, index: Sym, axes: Sequence[Axis], mapping: Mapping[Sym, Sym],
              guards: Sequence[Sym], clear: bool, statements: list[Statement]) -> None:
        """Loops that store an operand's value over ``axes``, 0 where a guard fails; ``clear``: not all of the array is
        stored."""
        body = self.body
        guard = both(*guards) if guards else None
        copy = body.instance({**mapping, **{g.var: g.var for g in body.gathers}}, guard=guard)
        value = copy.value(operand.value)
        gathers = tuple([replace(g, value=copy.value(g.value), guard=guard if g.guard is None else both(
            copy.index(g.guard), *guards)) for g in used_gathers(body.gathers, operand.value)])
        inner = Body(self.names, tuple([(x.var, x.size) for x in axes if x.size != 1]), (Output(array, index, value),),
                     (), gathers, body.status)
        statements += [Alloc(array, Const(0, self.dtype) if clear else None),
                       *map_stage(inner, self.tiling.target, divide=False).statements]

    def _scratch(self, stem: str, size: int) -> Array:
        return Array(self.names.fresh(stem), self.dtype, size, "scratch", 1, True)

    def _origin(self, first: Sym, count: int, extent: int, statements: list[Statement]) -> Sym:
        """Where a copy of ``count`` rows or columns begins that holds those from ``first``: not so late that it would
        pass the end."""
        if first.hi + count <= extent:
            return first
        origin = self.names.var("at", extent - count + 1)
        statements.append(LetIndex(origin, Index(minimum(first, num(extent - count)), int64)))
        return origin

    def _panel_axes(self, mapping: dict[Sym, Sym],
                    statements: list[Statement]) -> tuple[list[Axis], Sym, list[Sym], Sym]:
        """The columns of a block: axes to copy them with, the position in the block, what must hold, and where the
        copy begins."""
        tiling = self.tiling
        if not tiling.panel:
            own = self._axis("n", self.block_width)
            origin = self.first_column
            if tiling.n.size % tiling.lanes == 0:
                origin = self._origin(self.first_column, self.block_width, tiling.n.size, statements)
            mapping[tiling.n.var] = origin + own.var
            inside = mapping[tiling.n.var] < tiling.n.size
            return [own], own.var, [] if inside.lo == 1 else [inside], origin
        axes = [self._axis("n", tiling.panel), *[self._axis("n", x.size) for x in tiling.columns[1:]]]
        flat = dot([own.var for own in axes], tiling.pitches)
        for axis, own in zip(tiling.columns, axes, strict=True):
            mapping[axis.var] = own.var
        first = (self.panels.var * tiling.panel if self.panels else ZERO) + axes[0].var
        mapping[tiling.columns[0].var] = first
        inside = first < tiling.columns[0].size
        return axes, flat, [] if inside.lo == 1 else [inside], ZERO

    # --- after the sums

    def _repair(self, block_m: Axis, block_n: Axis, sums: Array) -> list[Statement]:
        """Sum again where the sum is NaN: a product that does not count may have been 0 times what is not finite. All
        other sums are right."""
        lane, step = self._axis("l", self.tiling.lanes), self._axis("v", sums.size // self.tiling.lanes)
        odd = Array(self.names.fresh("odd"), self.dtype, lane.size, "register", lane.size, True)
        value = Load(sums, step.var * lane.size + lane.var)
        changed = Apply(Op.ADD, (Load(odd, lane.var), Apply(Op.SUB, (value, value), self.dtype)), self.dtype)
        found = Local(self.names.fresh("odd_"), self.dtype)  # 0, or NaN if any sum is not finite
        return [Alloc(odd, Const(0.0, self.dtype)), loop(step, [loop(lane, [Store(odd, lane.var, changed)], "vector")]),
                Fold(found.name, odd, Op.ADD), If(_is_nan(found), tuple(self._epilogue(block_m, block_n, sums, True)))]

    def _epilogue(self, block_m: Axis, block_n: Axis, sums: Array, again: bool = False) -> list[Statement]:
        """Store what the body makes of the sums in scratch; or sum ``again`` in scratch where they are NaN."""
        statements: list[Statement] = []
        for high in self._row_tiles(block_m):
            if self.tiling.panel:
                statements += high.around(self.finish_tile(high, None, sums, None, again))
                continue
            inside: list[Statement] = []
            for wide in self._column_tiles(block_n):
                inside += wide.around(self.finish_tile(high, wide, sums, None, again))
            statements += high.around(inside)
        return statements

    def finish_tile(self, high: Tiles, wide: Tiles | None, sums: Array, stride: int | None = None,
                    again: bool = False) -> list[Statement]:
        """The rows of one tile (of the whole panel, if ``wide`` is None), stored from scratch, or summed ``again``."""
        tiling = self.tiling
        columns = self._columns_again if again else self._columns
        row = self._axis("u", high.size)
        mapping = {tiling.m.var: high.at + row.var}
        width = stride or self.block_width
        at = (row.var if stride else high.local + row.var) * width
        if wide is not None:
            first = ZERO if stride else wide.local
            made = columns(tiling.n.var, wide.at, at + first, wide.valid, mapping, sums)
        else:
            outer = [self._axis("n", tiling.panel), *[self._axis("n", x.size) for x in tiling.columns[1:-1]]]
            for axis, own in zip(tiling.columns[:-1], outer, strict=True):
                mapping[axis.var] = own.var
            at = at + dot([own.var for own in outer], tiling.pitches[:-1])
            stop = num(tiling.panel)
            if self.panels is not None:
                whole = tiling.columns[0]
                start = self.panels.var * tiling.panel
                # counted in the whole axis, so that its range is known
                mapping[whole.var] = whole.var
                local = outer[0]
                head: list[Statement] = [LetIndex(local.var, Index(whole.var - start, int64))]
                made = columns(tiling.n.var, ZERO, at, tiling.n.size, mapping, sums)
                made = [*head, *loops(outer[1:], made)]
                made = [loop(whole, made, start=start, stop=minimum(start + tiling.panel, num(whole.size)))]
            else:
                made = columns(tiling.n.var, ZERO, at, tiling.n.size, mapping, sums)
                made = [loop(outer[0], loops(outer[1:], made), stop=stop)]
        return [loop(row, made)]

    def _columns(self, n: Sym, first: Sym, at: Sym, count: int, mapping: dict[Sym, Sym],
                 sums: Array) -> list[Statement]:
        """``count`` neighbouring results."""
        statements: list[Statement] = []
        for part in parts(count, self.tiling.lanes):
            step = self._axis("v", part.count)
            position = (step.var if part.count > 1 else ZERO) * part.lanes + part.start
            lane = self._axis("l", part.lanes) if part.lanes > 1 else None
            if lane is not None:
                position = position + lane.var
            copy = self.body.instance({**mapping, n: first + position},
                                      {self.tiling.reduction.local.name: Load(sums, at + position)})
            stores = copy.stores()
            made = [*copy.statements, *([loop(lane, stores, "vector")] if lane else stores)]
            statements += [loop(step, made)] if part.count > 1 else made
        return statements

    def _columns_again(self, n: Sym, first: Sym, at: Sym, count: int, mapping: dict[Sym, Sym],
                       sums: Array) -> list[Statement]:
        """``count`` neighbouring sums: those that are NaN once more, product by product."""
        step = self._axis("v", count)
        place = at + (step.var if count > 1 else ZERO)
        copy = self.body.instance({**mapping, n: first + (step.var if count > 1 else ZERO)})
        value = copy.value(self.tiling.reduction.value)
        total = Array(self.names.fresh("total"), self.dtype, 1, "scratch", 1, True)
        add = Store(total, ZERO, Apply(Op.ADD, (Load(total, ZERO), value), self.dtype))
        made = If(_is_nan(Load(sums, place)), (
            Alloc(total, Const(0.0, self.dtype)), *loops(self.tiling.k, [*copy.statements, add]),
            Store(sums, place, Load(total, ZERO))))
        return [loop(step, [made])] if count > 1 else [made]


def _is_nan(value: Value) -> Value:
    return Apply(Op.NOT, (Apply(Op.EQ, (value, value), bool_),), bool_)


class _Micro:
    """The register tile."""

    def __init__(self, writer: _Writer, a: Packed | None, b: Packed | None, sums: Array | None, add: bool) -> None:
        self.writer, self.tiling, self.body, self.names = writer, writer.tiling, writer.body, writer.names
        self.a, self.b, self.sums, self.add = a, b, sums, add

    def tile(self, high: Tiles, wide: Tiles) -> list[Statement]:
        """Sum one tile over the block of K, and store it or keep it in scratch."""
        tiling, w = self.tiling, self.writer
        vectors = wide.size // tiling.lanes
        acc = Array(self.names.fresh("acc"), w.dtype, high.size * wide.size, "register", tiling.lanes, True)
        statements: list[Statement] = [Alloc(acc, Const(0.0 if w.dtype.is_float else 0, w.dtype))]
        statements += self._products(high, wide, acc, vectors)
        if self.sums is None and wide.valid == wide.size and high.size * vectors * w.per_vector <= AHEAD:
            return statements + self._store(high, wide, acc, vectors)
        sums, stride = self.sums, None
        if sums is None:  # the last vector is not whole, or too much is made of all: store it by way of scratch
            sums = w._scratch("rest", high.size * wide.size)
            statements.append(Alloc(sums))
            stride = wide.size
        row, vector, lane = w._axis("u", high.size), w._axis("v", vectors), w._axis("l", tiling.lanes)
        column = vector.var * tiling.lanes + lane.var
        if stride:
            at = row.var * stride + column
        else:
            at = (high.local + row.var) * w.block_width + wide.local + column
        value: Value = Load(acc, row.var * wide.size + column)
        if self.add:
            value = Apply(Op.ADD, (Load(sums, at), value), w.dtype)
        statements.append(_unrolled(row, vector, lane, [Store(sums, at, value)]))
        if stride:
            statements += w.finish_tile(high, wide, sums, stride)
        return statements

    def _products(self, high: Tiles, wide: Tiles, acc: Array, vectors: int) -> list[Statement]:
        tiling, w = self.tiling, self.writer
        row, vector, lane = w._axis("u", high.size), w._axis("v", vectors), w._axis("l", tiling.lanes)
        column = vector.var * tiling.lanes + lane.var
        axes, head, k, start, stop = self._k_loops()
        before: list[Statement] = []
        local_row = self._place(self.a, w.first_row, w.height, high, before)
        local_column = self._place(self.b, w.first_column, w.block_width, wide, before)
        mapping = {tiling.m.var: high.at + row.var}
        if not tiling.panel:
            mapping[tiling.n.var] = wide.at + column
        guard = None
        if wide.valid != wide.size and self.b is None:
            guard = (wide.at + column) < tiling.n.size
        plain = self.body.instance(mapping)
        masked = self.body.instance(mapping, guard=guard) if guard is not None else plain
        a: Value = plain.value(tiling.a.value) if self.a is None else self.a.at(local_row + row.var, k)
        b: Value = masked.value(tiling.b.value) if self.b is None else self.b.at(local_column + column, k)
        at = row.var * wide.size + column
        total = Load(acc, at)
        value: Value
        if w.dtype.is_float and tiling.target.has_fma:
            value = Apply(Op.FMA, (a, b, total), w.dtype)
        else:
            value = Apply(Op.ADD, (total, Apply(Op.MUL, (a, b), w.dtype)), w.dtype)
        inside: list[Statement] = [*head, *plain.statements, _unrolled(row, vector, lane, [Store(acc, at, value)])]
        if tiling.skips:
            inside = when(Index(plain.index(both(*tiling.skips)), bool_), inside)
        return [*before, loop(axes[0], loops(axes[1:], inside), start=start, stop=stop)]

    def _place(self, packed: Packed | None, first: Sym, count: int, tiles: Tiles, before: list[Statement]) -> Sym:
        """Where the tile begins in a packed operand."""
        if packed is None or packed.origin is first or packed.origin is ZERO:
            return tiles.local
        at = self.names.var("at", count - tiles.size + 1)
        before.append(LetIndex(at, Index(first + tiles.local - packed.origin, int64)))
        return at

    def _k_loops(self) -> tuple[list[Axis], list[Statement], list[Sym], Sym, Sym]:
        """The loops over a block of K: axes, statements inside them, where each axis stands in packed operands, and the
        bounds of the first axis."""
        tiling, w = self.tiling, self.writer
        cut = tiling.k[tiling.cut]
        start = w.k_block * tiling.depth
        stop = minimum(start + tiling.depth, num(cut.size))
        axes = tiling.k[tiling.cut:]
        head: list[Statement] = []
        k = [x.var for x in axes]
        if (self.a is not None or self.b is not None) and w.k_block is not ZERO:
            inside = w._axis("k", tiling.depth)
            head = [LetIndex(inside.var, Index(cut.var - start, int64))]
            k[0] = inside.var
        return axes, head, k, start, stop

    def _store(self, high: Tiles, wide: Tiles, acc: Array, vectors: int) -> list[Statement]:
        """What the body makes of the sums in registers."""
        tiling, w = self.tiling, self.writer
        row, vector, lane = w._axis("u", high.size), w._axis("v", vectors), w._axis("l", tiling.lanes)
        column = vector.var * tiling.lanes + lane.var
        copy = self.body.instance({tiling.m.var: high.at + row.var, tiling.n.var: wide.at + column},
                                  {tiling.reduction.local.name: Load(acc, row.var * wide.size + column)})
        stores = copy.stores()
        return [_unrolled(row, vector, lane, stores, copy.statements)]


def _unrolled(row: Axis, vector: Axis, lane: Axis, body: list[Statement], head: Sequence[Statement] = ()) -> Statement:
    return loop(row, [loop(vector, [*head, loop(lane, body, "vector")], "unroll")], "unroll")
