"""Stage: lower, GPU form, below ``map.py``. In: a body that reads memory along another axis than it writes. Out: tiles:
neighbouring threads read neighbours, the workgroup turns them in shared memory, neighbouring threads write neighbours.
Next: ``rows.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from minigrad.dtype import bool_, int64
from minigrad.kernel.ir import Array, For, If, Index, Let, LetIndex, Load, Local, Statement, Store, Value
from minigrad.kernel.walk import rebuild
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, Output, Traffic
from minigrad.lower.gpu.threads import Threads, Workgroups, unflatten
from minigrad.symbolic import Sym, both, coefficient, num

TILE = 32
"""Rows and columns of a tile."""

Around = Callable[[Sequence[Statement]], list[Statement]]
"""Puts loops and conditions around statements."""


def transpose_stage(body: Body, work: Traffic, axes: Sequence[Axis],
                    threads: Threads) -> tuple[list[Statement], Workgroups] | None:
    """The statements and workgroups; None if nothing is read across, or too little to be worth it."""
    if not threads.divide or threads.count < TILE or body.gathers or len(axes) < 2:
        return None
    across = axes[-1]
    if any(coefficient(body.index(o.index), across.var) != 1 for o in body.outputs):
        return None
    along = max(axes[:-1], key=lambda a: len(_turned(body, work, across, a)))
    loads = _turned(body, work, across, along)
    if not loads or min(across.size, along.size) < TILE // 2:
        return None
    tiles = [threads.take("tile", x.dtype, TILE * (TILE + 1)) for x in loads]
    if any(tile is None for tile in tiles):
        return None
    return _Tiles(body, across, along, [a for a in axes if a is not across and a is not along], threads).turn(
        {x: tile for x, tile in zip(loads, tiles, strict=True) if tile is not None})


def _turned(body: Body, work: Traffic, across: Axis, along: Axis) -> list[Load]:
    """The loads that are contiguous along one axis and strided along the other."""
    return [x for x in work.loads if x.array.scope == "global"
            and coefficient(body.index(x.index), along.var) == 1
            and coefficient(body.index(x.index), across.var) not in (0, 1, None)]


class _Tiles:
    def __init__(self, body: Body, across: Axis, along: Axis, outer: list[Axis], threads: Threads) -> None:
        self.body, self.across, self.along, self.threads = body, across, along, threads
        self.names = body.names
        high = Axis(self.names.var("y", -(-along.size // TILE)), -(-along.size // TILE))
        wide = Axis(self.names.var("x", -(-across.size // TILE)), -(-across.size // TILE))
        count = prod(a.size for a in (*outer, high, wide))
        self.groups = Workgroups(self.names.var("p", count), count)
        at = unflatten(self.groups.var, [*outer, high, wide])
        self.first = {along.var: at.pop(high.var) * TILE, across.var: at.pop(wide.var) * TILE}
        self.outer = at
        self.lane = threads.t % TILE

    def turn(self, tiles: dict[Load, Array]) -> tuple[list[Statement], Workgroups]:
        """Copy what is read across to the tiles; then do everything, reading it from there."""
        names = {x: Local(self.names.fresh("turned"), x.dtype) for x in tiles}
        row, mapping, around = self._walk(self.across, self.along)
        copy = self.body.instance(mapping)
        slot = row * (TILE + 1) + self.lane
        statements = around([Store(tile, slot, copy.value(x)) for x, tile in tiles.items()])
        statements += self.threads.barrier()
        row, mapping, around = self._walk(self.along, self.across)
        slot = self.lane * (TILE + 1) + row
        lets = tuple([Let(f"y{i}", o.value) for i, o in enumerate(self.body.outputs)])
        read: dict[int, Value] = {id(x): name for x, name in names.items()}
        values = [s.value for s in rebuild(lets, value=lambda v: read.get(id(v), v)) if isinstance(s, Let)]
        outputs = tuple([Output(o.array, o.index, v) for o, v in zip(self.body.outputs, values, strict=True)])
        body = Body(self.names, self.body.axes, outputs, (), (), self.body.status, self.body.mapping)
        copy = body.instance(mapping, {names[x].name: Load(tile, slot) for x, tile in tiles.items()})
        return [*statements, *around(copy.stores())], self.groups

    def _walk(self, rows: Axis, columns: Axis) -> tuple[Sym, dict[Sym, Sym], Around]:
        """A row of threads at neighbouring columns, and the rows below it: the row in the tile, what the axes are
        mapped to, and the loop."""
        row = self.names.var("u", TILE)
        ats: dict[Sym, Sym] = dict(self.outer)
        conditions: list[Sym] = []
        lets: list[Statement] = []
        for stem, axis, offset in (("row", rows, row), ("column", columns, self.lane)):
            at = self.first[axis.var] + offset
            ats[axis.var] = at
            if axis.size % TILE:
                ats[axis.var] = inside = self.names.var(stem, axis.size)
                conditions.append(at < axis.size)
                lets.append(LetIndex(inside, Index(at, int64)))

        def around(body: Sequence[Statement]) -> list[Statement]:
            inside: list[Statement] = list(body)
            if conditions:
                inside = [If(Index(both(*conditions), bool_), (*lets, *inside))]
            step = self.threads.count // TILE
            return [For(row, self.threads.t // TILE, num(TILE), step, "serial", tuple(inside))]
        return row, ats, around
