"""Stage: lower, GPU form, strategy ``contraction``. In: its tiling. Out: what one thread does: it copies its part
of the operands' tiles to shared memory, adds up products in registers, and stores what the body makes of the sums.
Next: ``matrix.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from minigrad.dtype import bool_, int64
from minigrad.kernel.ir import (
    Alloc,
    Apply,
    Array,
    Const,
    If,
    Index,
    Let,
    LetIndex,
    Load,
    Local,
    Statement,
    Store,
    Value,
)
from minigrad.lower.accumulate import add_product
from minigrad.lower.axes import Axis
from minigrad.lower.gpu.contraction import Side, Tiling
from minigrad.lower.gpu.threads import Threads
from minigrad.lower.nest import ZERO, Lowering, dealt, loop, repeated, unflatten, update, vectorised
from minigrad.lower.steps import Space, Steps
from minigrad.ops import Op
from minigrad.symbolic import Sym, both, minimum, num
from minigrad.target import BLOCK_K

Around = Callable[[list[Statement]], list[Statement]]

WRITTEN_OUT = 1024
"""Products of a tile, at most, that are written out for each thread."""


def contraction_stage(tiling: Tiling, threads: Threads, space: Space) -> Lowering:
    """Lower a contraction by its tiling: a tile of the result for each workgroup, or all of them one after another."""
    return Writer(tiling, threads).lower(space)


class Writer:
    """Writes one contraction."""

    def __init__(self, tiling: Tiling, threads: Threads) -> None:
        self.tiling, self.threads = tiling, threads
        self.body, self.names = tiling.body, threads.names
        self.dtype = tiling.reduction.value.dtype
        self.zero = Const(0.0 if self.dtype.is_float else 0, self.dtype)
        self.rows, self.columns = tiling.rows, tiling.columns
        self.copied = [s for s in (self.rows, self.columns) if s.copied]
        self.tiles: dict[Side, Array] = {}
        self.first: dict[Side, Sym] = {}

    def _axis(self, stem: str, size: int) -> Axis:
        return Axis(self.names.var(stem, size) if size > 1 else ZERO, size)

    def _stem(self, side: Side) -> str:
        return "a" if side is self.rows else "b"

    # --- which tile of the result

    def lower(self, named: Space) -> Lowering:
        """All of it. ``named``: the axes as steps name them."""
        tiling = self.tiling
        for side, size in zip(self.copied, tiling.shared_sizes(), strict=True):
            tile = self.threads.take(f"{self._stem(side)}_tile", tiling.tile_dtype, size, swizzled=tiling.is_swizzled)
            assert tile is not None, "the tiling was made for this much memory"
            self.tiles[side] = tile
        space = [x for x in tiling.outer if x.size > 1]
        down, across = self._axis("m", self.rows.blocks // tiling.group), self._axis("n", self.columns.blocks)
        inside = self._axis("m", tiling.group)
        self.first = {self.rows: (down.var * tiling.group + inside.var) * self.rows.block,
                      self.columns: across.var * self.columns.block}
        space += [block for block in (down, across, inside) if block.size > 1]
        work = tiling.length * self.rows.size * self.columns.size * prod(x.size for x in tiling.outer)
        steps = Steps(tuple(tiling.steps_of_tile(named)))
        head, tile_of_result = self._workers(), self._tile(again=bool(space) and not self.threads.divide)
        made, groups = dealt(self.names, space, tile_of_result, self.threads.divide)
        note = self.threads.note("contraction", named, steps, groups)
        return Lowering([*head, *made], note, work, groups, 2 * work)

    def _workers(self) -> list[Statement]:
        """Where in a tile this thread's results are."""
        across = self.columns.threads
        down, along = self._axis("down", self.rows.threads), self._axis("across", across)
        self.down, self.across = down.var, along.var
        t = self.threads.t
        return [LetIndex(x.var, Index(e, int64)) for x, e in ((down, t // across), (along, t % across)) if x.size > 1]

    def _row(self, u: Sym) -> Sym:
        """Row ``u`` of this thread's, in the tile."""
        return self.down * self.rows.own + u

    def _vector(self, v: Sym) -> Sym:
        """Vector ``v`` of this thread's, counted in vectors of the tile."""
        return self.across + v * self.columns.threads

    def _lanes(self) -> tuple[Axis, Axis]:
        """The vectors of a thread, and the lanes of each."""
        lanes = self.columns.lanes
        return self._axis("v", self.columns.own // lanes), self._axis("l", lanes)

    # --- one tile of the result

    def _tile(self, again: bool) -> list[Statement]:
        """Copy, multiply and store; ``again``: what was copied is written over afterwards, for another tile."""
        tiling = self.tiling
        sums = self._registers("sums", self.rows.own * self.columns.own, self.columns.lanes)
        head = [Alloc(sums, self.zero), *self._first()]
        if tiling.steps == 1:
            meet = self.threads.barrier() if self.copied and again else []
            return [*head, *self._multiply(sums, ZERO), *meet, *self._store(sums)]
        step = self._axis("step", tiling.steps)
        if not tiling.is_long:
            return [*head, loop(step, self._step(step.var, sums)), *self._store(sums)]
        per_block = max(1, BLOCK_K // tiling.depth)
        block, i = self._axis("block", -(-tiling.steps // per_block)), self._axis("i", sums.size // sums.lanes)
        part, lane = self._registers("part", sums.size, sums.lanes), self._axis("l", sums.lanes)
        at = i.var * lane.size + lane.var
        start = block.var * per_block
        stop = minimum(start + per_block, num(tiling.steps))
        return [*head,
                loop(block, [Alloc(part, self.zero), loop(step, self._step(step.var, part), start=start, stop=stop),
                             *repeated(i, vectorised(lane, [update(sums, at, Op.ADD, Load(part, at))]))]),
                *self._store(sums)]

    def _step(self, step: Sym, sums: Array) -> list[Statement]:
        """Multiply one pair of tiles while the next is on its way."""
        waiting = {side: self._waiting(side) for side in self.copied}
        allocs = [Alloc(array) for array in waiting.values()]
        fetched = [x for side, array in waiting.items() for x in self._fetch(side, step + 1, array)]
        put = [x for side, array in waiting.items() for x in self._put(side, step + 1, array)]
        meet = self.threads.barrier() if self.copied else []
        return [*allocs, *fetched, *self._multiply(sums, step), *put, *meet]

    def _waiting(self, side: Side) -> Array:
        """Registers for a thread's share of a tile."""
        return Array(self.names.fresh(f"{self._stem(side)}_next"), self.tiling.tile_dtype,
                     self._share(side) * side.together, "register", side.together, True)

    def _registers(self, stem: str, size: int, lanes: int = 1) -> Array:
        return Array(self.names.fresh(stem), self.dtype, size, "register", lanes, True)

    # --- copying

    def _share(self, side: Side) -> int:
        """Vectors of a tile that one thread copies, at most."""
        return -(-side.block * self.tiling.depth // (side.together * self.tiling.threads))

    def _each(self, side: Side, body: Callable[[Sym, Sym, Sym], Sequence[Statement]]) -> list[Statement]:
        """``body`` of number, row (or column) and step of K, in a tile, of each vector in this thread's share, row and
        step counted in vectors where a vector runs along them. Neighbouring threads take neighbours in memory."""
        depth, threads = self.tiling.depth, self.tiling.threads
        vectors, i = side.block * depth // side.together, self._axis("i", self._share(side))
        e = self.threads.t + i.var * threads
        bound = e if vectors % threads == 0 else self.names.var("e", vectors)
        across = (depth if side.turned else side.block) // side.together
        row, k = (bound // across, bound % across) if side.turned else (bound % across, bound // across)
        inside = list(body(i.var, row, k))
        if bound is not e:
            inside = [If(Index(e < vectors, bool_), (LetIndex(bound, Index(e, int64)), *inside))]
        return repeated(i, inside)

    def _read(self, side: Side, row: Sym, k: Sym, guarded: bool = True) -> tuple[list[Statement], Value]:
        """The operand at a row (or column) and a step of K; ``guarded``: there may be none."""
        tiling = self.tiling
        inside = both(row < side.size, k < tiling.length) if guarded else None
        copy = self.body.instance({**unflatten(row, side.axes), **unflatten(k, tiling.k)}, guard=inside)
        value = copy.value(side.operand.value)
        if not side.plain and tiling.length % tiling.depth:
            value = Apply(Op.WHERE, (Index(k < tiling.length, bool_), value, self.zero), self.dtype)
        return copy.statements, value

    def _buffer(self, side: Side, step: Sym) -> Sym:
        """Where the tile of a step begins."""
        return step % self.tiling.buffers * self.tiling.tile_size(side)

    def _first(self) -> list[Statement]:
        """What is copied before the first step."""
        meet = self.threads.barrier() if self.copied else []
        return [*[x for side in self.copied for x in self._copy(side)], *meet]

    def _copy(self, side: Side) -> list[Statement]:
        """The first tile."""
        along, down = self.tiling.steps_of(side)
        return self._each(side, lambda i, row, k: self._element(side, ZERO, row, k, self.tiles[side],
                                                                self._buffer(side, ZERO) + row * along + k * down))

    def _element(self, side: Side, step: Sym, row: Sym, k: Sym, into: Array, at: Sym) -> list[Statement]:
        """An element of a step's tile, stored: 0 behind the end of K, anything outside the matrix otherwise."""
        statements, value = self._read(side, self.first[side] + row, step * self.tiling.depth + k)
        return [*statements, Store(into, at, value)]

    def _fetch(self, side: Side, step: Sym, into: Array) -> list[Statement]:
        """A tile to registers. Behind the last one there is nothing to load."""
        return self._each(side, lambda i, row, k: self._element(side, step, row, k, into, i))

    def _extent(self, side: Side) -> tuple[int, int]:
        """Rows and steps of K of a vector."""
        return (1, side.together) if side.turned else (side.together, 1)

    def _put(self, side: Side, step: Sym, held: Array) -> list[Statement]:
        """What was fetched to shared memory."""
        n, lane = side.together, self._axis("l", side.together)
        (by_row, by_step), (high, deep) = self.tiling.steps_of(side), self._extent(side)

        def put(i: Sym, row: Sym, k: Sym) -> list[Statement]:
            at = row * (high * by_row) + k * (deep * by_step) + lane.var
            store = Store(self.tiles[side], self._buffer(side, step) + at, Load(held, i * n + lane.var))
            return vectorised(lane, [store])
        return self._each(side, put)

    # --- multiplying

    def _multiply(self, sums: Array, step: Sym) -> list[Statement]:
        """Add the products of a pair of tiles."""
        k, u, (v, lane) = self._axis("k", self.tiling.depth), self._axis("u", self.rows.own), self._lanes()
        held = self._registers("b", self.columns.own, lane.size)
        before, column = self._operand(self.columns, step, k.var, self._vector(v.var) * lane.size + lane.var)
        heading, row = self._operand(self.rows, step, k.var, self._row(u.var))
        name = self.names.fresh("a")
        at = v.var * lane.size + lane.var
        a, b, total = Local(name, self.dtype), Load(held, at), Load(sums, u.var * held.size + at)
        value = add_product(total, a, b, self.threads.target)
        body = [Alloc(held), *repeated(v, [*before, *vectorised(lane, [Store(held, at, column)])]),
                *repeated(u, [*heading, Let(name, row),
                               *repeated(v, vectorised(lane, [Store(sums, total.index, value)]))])]
        written_out = self.tiling.depth * sums.size <= WRITTEN_OUT
        return repeated(k, body) if written_out else [loop(k, body)]

    def _operand(self, side: Side, step: Sym, k: Sym, row: Sym) -> tuple[Sequence[Statement], Value]:
        """One element, from the tile, or from where it lies in shared memory."""
        if side.copied:
            return (), Load(self.tiles[side], self._buffer(side, step) + k * self.tiling.pitch(side) + row)
        return self._read(side, self.first[side] + row, step * self.tiling.depth + k)

    # --- storing

    def _store(self, sums: Array) -> list[Statement]:
        """What the body makes of this thread's sums."""
        rows, columns = self.rows, self.columns
        u, (v, lane) = self._axis("u", rows.own), self._lanes()
        row, in_rows = self._inside("row", self.first[rows] + self._row(u.var), rows, 1)
        first = self.first[columns] // lane.size
        vector, in_columns = self._inside("column", first + self._vector(v.var), columns, lane.size)
        column = vector * lane.size + lane.var
        total = Load(sums, u.var * columns.own + v.var * lane.size + lane.var)
        stored = self.body.stored({**unflatten(row, rows.axes), **unflatten(column, columns.axes)},
                                  {self.tiling.reduction.local.name: total}, lane)
        return repeated(u, in_rows(repeated(v, in_columns(stored))))

    def _inside(self, stem: str, at: Sym, side: Side, lanes: int) -> tuple[Sym, Around]:
        """A row or vector of columns of the result, and what puts the condition that there is one around statements:
        where there may be none, it goes by a name of its own, whose range is known."""
        if side.size % side.block == 0:
            return at, list
        inside = self.names.var(stem, side.size // lanes)

        def where(body: list[Statement]) -> list[Statement]:
            return [If(Index(at < side.size // lanes, bool_), (LetIndex(inside, Index(at, int64)), *body))]
        return inside, where
