"""Stage: lower, GPU form, strategy ``contraction`` by matrix instructions. In: its tiling. Out: what one thread
does: as in ``tile.py``, but tiles keep the operands' dtype, and a subgroup multiplies its part of them together.
Next: ``scan.py``."""

from __future__ import annotations

from minigrad.dtype import bool_, float32, int64, uint16
from minigrad.kernel.ir import (
    MATRIX_LANES,
    SWIZZLED,
    Alloc,
    Apply,
    Array,
    Commit,
    Const,
    Copy,
    If,
    Index,
    LetIndex,
    Load,
    Multiply,
    Statement,
    Store,
    Tile,
    Value,
    Wait,
)
from minigrad.lower.gpu.contraction import Side
from minigrad.lower.gpu.matrix import MatrixTiling
from minigrad.lower.gpu.threads import Threads
from minigrad.lower.gpu.tile import Writer
from minigrad.lower.nest import ZERO, Lowering, repeated, unflatten, vectorised
from minigrad.lower.steps import Space
from minigrad.ops import Op
from minigrad.symbolic import Sym, both, num


def matrix_stage(tiling: MatrixTiling, threads: Threads, space: Space) -> Lowering:
    """Lower a contraction by its tiling: a tile of the result for each workgroup, or all of them one after another."""
    if tiling.pipeline:
        threads.memory.room = threads.memory.at_launch
    return _Writer(tiling, threads).lower(space)


class _Writer(Writer):
    tiling: MatrixTiling

    def _workers(self) -> list[Statement]:
        """Which part of a tile is this subgroup's, and where in it this thread's results are."""
        tiling, t = self.tiling, self.threads.t
        across = self.columns.block // tiling.wide
        lanes = MATRIX_LANES * tiling.together
        subgroup = self._axis("subgroup" if tiling.together == 1 else "warpgroup", tiling.threads // lanes)
        part = self._axis("part", tiling.together)
        down, along = self._axis("down", self.rows.block // tiling.high), self._axis("across", across)
        group, member = self._axis("group", 8), self._axis("member", 4)
        self.down, self.across, self.group, self.member = down.var, along.var, group.var, member.var
        self.part = part.var
        found = ((subgroup, t // lanes), (down, subgroup.var // across), (along, subgroup.var % across),
                 (part, t % lanes // MATRIX_LANES), (group, t % MATRIX_LANES // 4), (member, t % 4))
        return [LetIndex(x.var, Index(e, int64)) for x, e in found if x.size > 1]

    # --- copying

    def _first(self) -> list[Statement]:
        """The copies that are under way before the first step: of all tiles but one."""
        if not self.tiling.pipeline:
            return super()._first()
        return [x for n in range(self._ahead()) for x in self._begin(num(n))]

    def _ahead(self) -> int:
        """Tiles that are on their way while one is multiplied. Where products go on by themselves, those of the tile
        before are still to end."""
        return self.tiling.buffers - (1 if self.tiling.together == 1 else 2)

    def _step(self, step: Sym, sums: Array) -> list[Statement]:
        """Wait until this step's tiles are there, begin to copy those that take the place of the last step's, multiply.
        Where nothing is left to copy there is an empty group, so that all waits count alike. Where products go on by
        themselves, they begin first; the copies take the place of the tiles of two steps before, whose products have
        ended for all threads."""
        if not self.tiling.pipeline:
            return super()._step(step, sums)
        ahead = self._ahead()
        meet, begin, multiply = self.threads.barrier(), self._begin(step + ahead), self._multiply(sums, step)
        if self.tiling.together == 1:
            return [Wait(ahead - 1), *meet, *begin, *multiply]
        return [Wait(ahead - 1), *meet, *multiply, Wait(1, products=True), *begin]

    def _begin(self, step: Sym) -> list[Statement]:
        """Begin to copy the tiles of a step, if there is one."""
        copies = [x for side in self.copied for x in self._copies(side, step)]
        if step.hi >= self.tiling.steps:
            inside = self.names.var("next", self.tiling.steps)
            copies = [x for side in self.copied for x in self._copies(side, inside)]
            copies = [If(Index(step < self.tiling.steps, bool_), (LetIndex(inside, Index(step, int64)), *copies))]
        return [*copies, Commit()]

    def _copies(self, side: Side, step: Sym) -> list[Statement]:
        """This thread's copies of a tile."""
        tiling, n, (high, deep) = self.tiling, side.together, self._extent(side)
        tile = tiling.tile(side, self.tiles[side], self._buffer(side, step))

        def begin(i: Sym, row: Sym, k: Sym) -> list[Statement]:
            to = tile.index + tile.at(row * high, k * deep)
            row, k = (self.first[side] // high + row) * high, (step * (tiling.depth // deep) + k) * deep
            inside = both(row < side.size, k < tiling.length)
            copy = self.body.instance({**unflatten(row, side.axes), **unflatten(k, tiling.k)}, guard=inside)
            value: Value = copy.value(side.operand.value)
            load = value.srcs[0] if isinstance(value, Apply) else value
            assert isinstance(load, Load), "matrices are loaded and nothing else"
            return [*copy.statements, Copy(self.tiles[side], to, load.array, load.index, n, load.guard)]
        return self._each(side, begin)

    def _copy(self, side: Side) -> list[Statement]:
        held = self._waiting(side)
        return [Alloc(held), *self._fetch(side, ZERO, held), *self._put(side, ZERO, held)]

    def _fetch(self, side: Side, step: Sym, into: Array) -> list[Statement]:
        """A tile to registers; 0 outside the matrix."""
        tiling, n, lane = self.tiling, side.together, self._axis("l", side.together)
        if n == 1:
            return super()._fetch(side, step, into)
        high, deep = self._extent(side)

        def fetch(i: Sym, row: Sym, k: Sym) -> list[Statement]:
            row, k = self.first[side] // high + row, step * (tiling.depth // deep) + k
            sizes = (("row", row, side.size // high), ("k", k, tiling.length // deep))
            row, k = (at if at.hi < size else self.names.var(stem, size) for stem, at, size in sizes)
            bound = [(at, var) for (_, at, _), var in zip(sizes, (row, k), strict=True) if at is not var]
            along = lane.var if side.turned else ZERO
            heads, value = self._read(side, row * high + lane.var - along, k * deep + along, guarded=False)
            vector = vectorised(lane, [Store(into, i * n + lane.var, value)])
            body = [*(LetIndex(var, Index(at, int64)) for at, var in bound), *heads, *vector]
            if not bound:
                return body
            inside = both(*[at < var.hi + 1 for at, var in bound])
            nothing = Store(into, i * n + lane.var, Const(0.0 if into.dtype is float32 else 0, into.dtype))
            return [If(Index(inside, bool_), tuple(body), tuple(vectorised(lane, [nothing])))]
        return self._each(side, fetch)

    def _read(self, side: Side, row: Sym, k: Sym, guarded: bool = True) -> tuple[list[Statement], Value]:
        """An element as memory has it."""
        statements, value = super()._read(side, row, k, guarded)
        return statements, Apply(Op.BITCAST, value.srcs, uint16) if isinstance(value, Apply) else value

    # --- multiplying

    def _multiply(self, sums: Array, step: Sym) -> list[Statement]:
        tiling = self.tiling
        tiles: list[Tile] = []
        for side, part, size in ((self.rows, self.down, tiling.high), (self.columns, self.across, tiling.wide)):
            apart = size * tiling.steps_of(side)[0] if not tiling.apart(side) else size // SWIZZLED * tiling.apart(side)
            tiles.append(tiling.tile(side, self.tiles[side], self._buffer(side, step) + part * apart))
        a, b = tiles
        return [Multiply(sums, tiling.high, tiling.wide, tiling.depth, a, b, tiling.dtype, tiling.together)]

    # --- storing

    def _store(self, sums: Array) -> list[Statement]:
        """What the body makes of this thread's sums, which lie as ``Multiply`` says."""
        tiling, rows, columns = self.tiling, self.rows, self.columns
        high = 16 * tiling.together
        u, h, v = self._axis("u", tiling.high // high), self._axis("h", 2), self._axis("v", tiling.wide // 8)
        lane, n = self._axis("l", 2), columns.lanes
        row, in_rows = self._inside("row", self.first[rows] + self.down * tiling.high + u.var * high + self.part * 16
                                    + h.var * 8 + self.group, rows, 1)
        at = self.first[columns] // n + self.across * (tiling.wide // n) + v.var * (8 // n) + self.member * (2 // n)
        column, in_columns = self._inside("column", at if n == 2 else at + lane.var, columns, n)
        if n == 2:
            column = column * 2 + lane.var
        total = Load(sums, (u.var * v.size + v.var) * 4 + h.var * 2 + lane.var)
        made = in_columns(self.body.stored({**unflatten(row, rows.axes), **unflatten(column, columns.axes)},
                                           {tiling.reduction.local.name: total}, lane if n == 2 else None))
        stored = repeated(u, repeated(h, in_rows(repeated(v, made if n == 2 else repeated(lane, made)))))
        return [*([Wait(0, products=True)] if tiling.together > 1 else []), *stored]
