"""Stage: lower, strategy ``contraction``. In: its tiling. Out: its loops: parallel over blocks of tiles, blocks
of K, copies of operand tiles to scratch where the tiling wants them, register tiles, and what is done with the sums
before they are stored.
Next: ``winograd.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from minigrad.dtype import bool_, int64
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
    Prefetch,
    Statement,
    Store,
    Value,
)
from minigrad.lower.accumulate import add_product
from minigrad.lower.axes import Axis
from minigrad.lower.body import traffic
from minigrad.lower.cost import per_vector
from minigrad.lower.nest import ZERO, Lowering, Pieces, dealt, loop, loops, update, when
from minigrad.lower.packed import Packed, Packing, dot
from minigrad.lower.steps import Space
from minigrad.lower.tiling import Tiling
from minigrad.ops import Op
from minigrad.symbolic import Sym, both, coefficient, eq, minimum, num, substitute, variables


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
    condition: Sym | None

    def around(self, body: list[Statement]) -> list[Statement]:
        """The loop over these tiles."""
        inside = [*self.head, *body]
        if self.axis is not None:
            inside = [loop(self.axis, inside, start=self.start, stop=self.stop)]
        return when(self.condition, inside)


def contraction_stage(tiling: Tiling, space: Space, divide: bool) -> Lowering:
    """Lower a contraction by its tiling."""
    return _Writer(tiling, space, divide).lower()


class _Writer(Packing):
    def __init__(self, tiling: Tiling, space: Space, divide: bool) -> None:
        super().__init__(tiling)
        self.space, self.divide = space, divide
        self.row_count = tiling.m.size // tiling.rows
        self.column_count = tiling.extent // tiling.width
        if not divide:
            tiling.row_tiles, tiling.column_tiles = max(1, self.row_count), max(1, self.column_count)
        made = traffic([o.value for o in self.body.outputs])
        self.per_vector = per_vector(self.body, made, tiling.n, tiling.lanes)  # of results, after their sums
    # --- the parallel loop, and what an iteration of it takes

    def lower(self) -> Lowering:
        tiling = self.tiling
        blocks_m = -(-self.row_count // tiling.row_tiles)
        blocks_n = -(-self.column_count // tiling.column_tiles) if self.column_count else 1
        space = [*tiling.outer, *([self.panels] if self.panels else [])]
        block_m, block_n = self.axis("m", blocks_m), self.axis("n", blocks_n)
        space += [x for x in (block_n, block_m) if x.size > 1]
        made, head = dealt(self.names, space, self._task(block_m, block_n), self.divide)
        total = prod([tiling.m.size, *(x.size for x in tiling.columns), *(x.size for x in tiling.outer),
                      *(x.size for x in tiling.k)])
        steps = tiling.steps(self.space)
        if head is None:
            return Lowering(made, self.space.note("contraction", steps), total, None, 2 * total)
        note = self.space.note("contraction", steps + tiling.parallel(self.space))
        return Lowering(made, f"{note}; {head.extent} iterations", total, head, 2 * total)

    def _tiles(self, stem: str, count: int, block: Axis, per_block: int, size: int, extent: int,
               round_to: int) -> list[Tiles]:
        """Whole tiles of a block, then the rest of the extent, which belongs to the last block."""
        result: list[Tiles] = []
        last = eq(block.var, num(block.size - 1)) if block.size > 1 else None
        if count:
            t = self.axis(stem, count)
            if block.size == 1:
                axis = t if count > 1 else None
                at = (t.var if axis else ZERO) * size
                result.append(Tiles(axis, ZERO, num(count), at, at, (), size, size, None))
            else:
                start = block.var * per_block
                inside = self.axis(stem, per_block)
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
        self.last_columns = eq(block_n.var, num(block_n.size - 1)) if block_n.size > 1 else None
        blocks = [*tiling.k[:tiling.cut], *([self.axis("k", tiling.depths)] if tiling.depths > 1 else [])]
        self.k_block = blocks[-1].var if tiling.depths > 1 else ZERO
        sums: Array | None = None
        statements: list[Statement] = []
        if blocks or tiling.panel or tiling.partial:
            sums = Array(self.names.fresh("sums"), self.dtype, height * width, "scratch", 1, True)
            statements.append(Alloc(sums, Const(0, self.dtype) if blocks or tiling.partial else None))
        inside: list[Statement] = []
        packed_a = self.pack(tiling.a, inside) if tiling.a.packed else None
        packed_b = self.pack(tiling.b, inside) if tiling.b.packed else None
        micro = _Micro(self, packed_a, packed_b, sums, bool(blocks))
        tiles = self._column_tiles(block_n)
        count = sum(1 if wide.axis is None else self.column_count for wide in tiles)
        for wide in tiles:
            share = num(count - 1) if wide.axis is None else wide.axis.var
            inside += wide.around([*self.ahead(share, count), *micro.offsets_of(wide), *[
                s for high in self._row_tiles(block_m) for s in high.around(micro.tile(high, wide))]])
        statements += loops(blocks, inside)
        if sums is not None:
            if tiling.partial:
                statements += self._repair(block_m, block_n, sums)
            statements += self._epilogue(block_m, block_n, sums)
        return statements

    # --- after the sums

    def _repair(self, block_m: Axis, block_n: Axis, sums: Array) -> list[Statement]:
        """Sum again where the sum is NaN: a product that does not count may have been 0 times what is not finite. All
        other sums are right."""
        lane, step = self.axis("l", self.tiling.lanes), self.axis("v", sums.size // self.tiling.lanes)
        odd = Array(self.names.fresh("odd"), self.dtype, lane.size, "register", lane.size, True)
        value = Load(sums, step.var * lane.size + lane.var)
        found = Local(self.names.fresh("odd_"), self.dtype)  # 0, or NaN if any sum is not finite
        differences = loop(lane, [update(odd, lane.var, Op.ADD, value - value)], "vector")
        return [Alloc(odd, Const(0.0, self.dtype)), loop(step, [differences]),
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
        row = self.axis("u", high.size)
        mapping = {tiling.m.var: high.at + row.var}
        width = stride or self.block_width
        at = (row.var if stride else high.local + row.var) * width
        if wide is not None:
            first = ZERO if stride else wide.local
            made = columns(tiling.n.var, wide.at, at + first, wide.valid, mapping, sums)
        else:
            outer = [self.axis("n", tiling.panel), *[self.axis("n", x.size) for x in tiling.columns[1:-1]]]
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
        return Pieces(self.names, count, self.tiling.lanes).row(lambda position, lane: self.body.stored(
            {**mapping, n: first + position}, self.tiling.summed(Load(sums, at + position)), lane))

    def _columns_again(self, n: Sym, first: Sym, at: Sym, count: int, mapping: dict[Sym, Sym],
                       sums: Array) -> list[Statement]:
        """``count`` neighbouring sums: those that are NaN once more, product by product."""
        step = self.axis("v", count)
        place = at + (step.var if count > 1 else ZERO)
        copy = self.body.instance({**mapping, n: first + (step.var if count > 1 else ZERO)})
        total = Array(self.names.fresh("total"), self.dtype, 1, "scratch", 1, True)
        add = update(total, ZERO, Op.ADD, copy.value(self.tiling.reduction.value))
        made = If(_is_nan(Load(sums, place)), (
            Alloc(total, Const(0.0, self.dtype)), *loops(self.tiling.k, [*copy.statements, add]),
            Store(sums, place, Load(total, ZERO))))
        return [loop(step, [made])] if count > 1 else [made]


def _is_nan(value: Value) -> Value:
    return ~Apply(Op.EQ, (value, value), bool_)


class _Micro:
    """The register tile."""

    def __init__(self, writer: _Writer, a: Packed | None, b: Packed | None, sums: Array | None, add: bool) -> None:
        self.writer, self.tiling, self.body, self.names = writer, writer.tiling, writer.body, writer.names
        self.a, self.b, self.sums, self.add = a, b, sums, add
        self.offsets: Array | None = None

    def offsets_of(self, wide: Tiles) -> list[Statement]:
        """What the sums of these columns begin with, so that what words add beside their products is taken off."""
        tiling, w = self.tiling, self.writer
        if not tiling.word or not tiling.word.flips:
            return []
        one = Tiles(None, ZERO, num(1), ZERO, ZERO, (), 1, 1, None)
        acc = Array(self.names.fresh("acc"), w.dtype, wide.size, "register", tiling.lanes, True)
        self.offsets = w.scratch("offsets", wide.size)
        row, vector, lane, column = self._points(one, wide)
        left = Const(0, w.dtype) - Load(acc, column)
        return [Alloc(acc, Const(0, w.dtype)), *self._products(one, wide, acc, tiling.word.offset), Alloc(self.offsets),
                _unrolled(row, vector, lane, [Store(self.offsets, column, left)])]

    def tile(self, high: Tiles, wide: Tiles) -> list[Statement]:
        """Sum one tile over the block of K, and store it or keep it in scratch."""
        tiling, w = self.tiling, self.writer
        vectors = wide.size // tiling.lanes
        acc = Array(self.names.fresh("acc"), w.dtype, high.size * wide.size, "register", tiling.lanes, True)
        statements: list[Statement] = [Alloc(acc, Const(0.0 if w.dtype.is_float else 0, w.dtype))]
        if self.offsets is not None:
            row, vector, lane, column = self._points(high, wide)
            begin = Store(acc, row.var * wide.size + column, Load(self.offsets, column))
            statements.append(_unrolled(row, vector, lane, [begin]))
        statements += self._products(high, wide, acc)
        if self.sums is None and wide.valid == wide.size and high.size * vectors * w.per_vector <= tiling.target.ahead:
            return statements + self._store(high, wide, acc)
        sums, stride = self.sums, None
        if sums is None:  # the last vector is not whole, or too much is made of all: store it by way of scratch
            sums = w.scratch("rest", high.size * wide.size)
            statements.append(Alloc(sums))
            stride = wide.size
        row, vector, lane, column = self._points(high, wide)
        if stride:
            at = row.var * stride + column
        else:
            at = (high.local + row.var) * w.block_width + wide.local + column
        value: Value = Load(acc, row.var * wide.size + column)
        if self.add:
            value = Load(sums, at) + value
        statements.append(_unrolled(row, vector, lane, [Store(sums, at, value)]))
        if stride:
            statements += w.finish_tile(high, wide, sums, stride)
        return statements

    def _fetches(self, row: Sym, high: Tiles, wide: Tiles) -> list[Statement]:
        """Fetch what is read beside the sums of a row of the tile, and where the results go: short pieces of rows,
        which no machine sees coming. Adam's update after a product of 128x512x512 takes a sixth of what it took, and
        a product alone gains nothing (one core of an AMD EPYC)."""
        body, m, n, target = self.body, self.tiling.m.var, self.tiling.n.var, self.tiling.target
        loads = traffic([o.value for o in body.outputs]).loads
        beside = dict.fromkeys([(v.array, body.index(v.index)) for v in loads])
        beside |= dict.fromkeys([(o.array, body.index(o.index)) for o in body.outputs])
        rows = [(array, e) for array, e in beside if array.scope == "global" and coefficient(e, n) == 1
                and coefficient(e, m) and not any(g.var in variables(e) for g in body.gathers)]
        read = {v.array for v in loads}.intersection([array for array, _ in rows])
        size = sum(array.size * array.dtype.size for array, _ in rows)
        if self.sums is not None or not target.fetched or not read or size <= target.l2:
            return []
        return [Prefetch(array, substitute(e, {m: high.at + row, n: wide.at + at})) for array, e in rows
                for at in range(0, wide.valid, target.line // array.dtype.size)]

    def _points(self, high: Tiles, wide: Tiles) -> tuple[Axis, Axis, Axis, Sym]:
        """Axes for the rows, the vectors and the lanes of a tile, and the column."""
        lanes, w = self.tiling.lanes, self.writer
        row, vector, lane = w.axis("u", high.size), w.axis("v", wide.size // lanes), w.axis("l", lanes)
        return row, vector, lane, vector.var * lanes + lane.var

    def _products(self, high: Tiles, wide: Tiles, acc: Array,
                  add: Callable[[Value, Value], Value] | None = None) -> list[Statement]:
        """The loop over a block of K that adds products to the sums of a tile; or what ``add`` makes of a sum and an
        element of the second factor."""
        tiling, w = self.tiling, self.writer
        row, vector, lane, column = self._points(high, wide)
        axes, head, k, start, stop = self._k_loops()
        before: list[Statement] = []
        local_row = self._place(self.a, w.first_row, w.height, high, before) if add is None else ZERO
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
        value = add(total, b) if add else tiling.word.add(total, a, b) if tiling.word else (
            add_product(total, a, b, tiling.target))
        inside: list[Statement] = [*head, *plain.statements, _unrolled(row, vector, lane, [Store(acc, at, value)])]
        if tiling.skips:
            inside = when(plain.index(both(*tiling.skips)), inside)
        share = w.axis("f", high.size)
        fetches, size = self._fetches(share.var, high, wide), axes[0].size
        if not fetches or size < share.size:
            return [*before, loop(axes[0], loops(axes[1:], inside), start=start, stop=stop)]
        part = loop(axes[0], loops(axes[1:], inside), start=share.var * size // share.size,
                    stop=(share.var + 1) * size // share.size)
        return [*before, loop(share, [*fetches, part])]

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
        if tiling.word:
            axes = [*axes[:-1], w.axis("r", tiling.k_sizes[-1])]
            if len(axes) == 1:
                return axes, head, [axes[0].var], ZERO, num(axes[0].size)
        k = [x.var for x in axes]
        if (self.a is not None or self.b is not None) and w.k_block is not ZERO:
            inside = w.axis("k", tiling.depth)
            head = [LetIndex(inside.var, Index(cut.var - start, int64))]
            k[0] = inside.var
        return axes, head, k, start, stop

    def _store(self, high: Tiles, wide: Tiles, acc: Array) -> list[Statement]:
        """What the body makes of the sums in registers."""
        tiling = self.tiling
        row, vector, lane, column = self._points(high, wide)
        copy = self.body.instance({tiling.m.var: high.at + row.var, tiling.n.var: wide.at + column},
                                  tiling.summed(Load(acc, row.var * wide.size + column)))
        stores = copy.stores()
        return [_unrolled(row, vector, lane, stores, copy.statements)]


def _unrolled(row: Axis, vector: Axis, lane: Axis, body: list[Statement], head: Sequence[Statement] = ()) -> Statement:
    return loop(row, [loop(vector, [*head, loop(lane, body, "vector")], "unroll")], "unroll")
