"""Stage: lower, GPU form, below ``map.py``. In: a body that reads memory along another axis than it writes. Out: tiles:
neighbouring threads read neighbours, the workgroup turns them in shared memory, neighbouring threads write neighbours.
Next: ``rows.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from minigrad.dtype import bool_, int64
from minigrad.kernel.ir import Array, For, If, Index, LetIndex, Load, Local, Statement, Store, Value
from minigrad.kernel.walk import rebuild_values
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, Output, Traffic
from minigrad.lower.gpu.threads import Threads
from minigrad.lower.nest import Divided, unflatten
from minigrad.symbolic import Sym, both, coefficient, num

TILE = 32
"""Rows and columns of a tile."""

Around = Callable[[Sequence[Statement]], list[Statement]]
"""Puts loops and conditions around statements."""


def find_turned(body: Body, work: Traffic, axes: Sequence[Axis], threads: Threads) -> Axis | None:
    """The axis along which most is read that is written along another; None if nothing is, or too little to be worth
    it."""
    if len(axes) < 2 or any(coefficient(body.index(o.index), axes[-1].var) != 1 for o in body.outputs):
        return None
    along = max(axes[:-1], key=lambda a: len(_turned(body, work, axes[-1], a)))
    worth_it = min(axes[-1].size, along.size) >= TILE // 2
    return along if worth_it and not cannot_turn(body, work, axes, along, threads, TILE) else None


def cannot_turn(body: Body, work: Traffic, axes: Sequence[Axis], along: Axis, threads: Threads, size: int) -> str:
    """Why tiles of so many elements of an axis cannot be turned; nothing if they can."""
    loads = _turned(body, work, axes[-1], along) if along is not axes[-1] else []
    if not threads.divide or body.gathers:
        return "tiles are turned where a stage is a kernel of its own and looks up no index"
    if size & size - 1 or threads.count < size:
        return f"a tile's rows are a power of two, up to the {threads.count} threads of the workgroup"
    if not loads:
        return "nothing lies side by side in memory along this axis that is written along the last one"
    fit = threads.memory.fits([(x.dtype, size * (size + 1)) for x in loads])
    return "" if fit else "the workgroup's memory does not hold the tiles"


def transpose_stage(body: Body, work: Traffic, axes: Sequence[Axis], along: Axis, threads: Threads,
                    size: int) -> tuple[list[Statement], Divided]:
    """The statements and workgroups."""
    across = axes[-1]
    tiles: dict[Load, Array] = {}
    for x in _turned(body, work, across, along):
        tile = threads.take("tile", x.dtype, size * (size + 1))
        assert tile is not None, "cannot_turn() has said that there is room"
        tiles[x] = tile
    outer = [a for a in axes if a is not across and a is not along]
    return _Tiles(body, across, along, outer, threads, size).turn(tiles)


def _turned(body: Body, work: Traffic, across: Axis, along: Axis) -> list[Load]:
    """The loads that are contiguous along one axis and strided along the other."""
    return [x for x in work.loads if x.array.scope == "global"
            and coefficient(body.index(x.index), along.var) == 1
            and coefficient(body.index(x.index), across.var) not in (0, 1, None)]


class _Tiles:
    def __init__(self, body: Body, across: Axis, along: Axis, outer: list[Axis], threads: Threads,
                 size: int) -> None:
        self.body, self.across, self.along, self.threads, self.size = body, across, along, threads, size
        self.names = body.names
        high = self.names.axis("y", -(-along.size // size))
        wide = self.names.axis("x", -(-across.size // size))
        count = prod(a.size for a in (*outer, high, wide))
        self.groups = Divided(self.names.var("p", count), count)
        at = unflatten(self.groups.var, [*outer, high, wide])
        self.first = {along.var: at.pop(high.var) * size, across.var: at.pop(wide.var) * size}
        self.outer = at
        self.lane = threads.t % size

    def turn(self, tiles: dict[Load, Array]) -> tuple[list[Statement], Divided]:
        """Copy what is read across to the tiles; then do everything, reading it from there."""
        names = {x: Local(self.names.fresh("turned"), x.dtype) for x in tiles}
        row, mapping, around = self._walk(self.across, self.along)
        copy = self.body.instance(mapping)
        slot = row * (self.size + 1) + self.lane
        statements = around([Store(tile, slot, copy.value(x)) for x, tile in tiles.items()])
        statements += self.threads.barrier()
        row, mapping, around = self._walk(self.along, self.across)
        slot = self.lane * (self.size + 1) + row
        read: dict[int, Value] = {id(x): name for x, name in names.items()}
        values = rebuild_values([o.value for o in self.body.outputs], lambda v: read.get(id(v), v))
        outputs = tuple([Output(o.array, o.index, v) for o, v in zip(self.body.outputs, values, strict=True)])
        body = Body(self.names, self.body.axes, outputs, (), (), self.body.status, self.body.mapping)
        copy = body.instance(mapping, {names[x].name: Load(tile, slot) for x, tile in tiles.items()})
        return [*statements, *around(copy.stores())], self.groups

    def _walk(self, rows: Axis, columns: Axis) -> tuple[Sym, dict[Sym, Sym], Around]:
        """A row of threads at neighbouring columns, and the rows below it: the row in the tile, what the axes are
        mapped to, and the loop."""
        row = self.names.var("u", self.size)
        ats: dict[Sym, Sym] = dict(self.outer)
        conditions: list[Sym] = []
        lets: list[Statement] = []
        for stem, axis, offset in (("row", rows, row), ("column", columns, self.lane)):
            at = self.first[axis.var] + offset
            ats[axis.var] = at
            if axis.size % self.size:
                ats[axis.var] = inside = self.names.var(stem, axis.size)
                conditions.append(at < axis.size)
                lets.append(LetIndex(inside, Index(at, int64)))

        def around(body: Sequence[Statement]) -> list[Statement]:
            inside: list[Statement] = list(body)
            if conditions:
                inside = [If(Index(both(*conditions), bool_), (*lets, *inside))]
            step = self.threads.count // self.size
            return [For(row, self.threads.t // self.size, num(self.size), step, "serial", tuple(inside))]
        return row, ats, around
