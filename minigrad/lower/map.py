"""Stage: lower, strategy ``map``. In: a body without reductions. Out: loops that pass over memory once: neighbouring
axes merged, one axis in vector lanes, tiles where reads and writes run across each other.
Next: ``rows.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minigrad.dtype import bool_, int64
from minigrad.kernel.ir import If, Index, LetIndex, Statement
from minigrad.lower.axes import Axes, Axis
from minigrad.lower.body import Body, Traffic, traffic
from minigrad.lower.cost import axis_cost, lanes_for
from minigrad.lower.nest import Parallel, Part, Share, loop, loops, parallel, parts, share, when
from minigrad.symbolic import Sym, coefficient, minimum, num
from minigrad.target import Target

SQUARE_COST, SQUARE_SIDE = 64, 16
"""Scalar operations of a body up to which a square tile is written out, row by row, and the most rows that it has: the
code grows with both."""


@dataclass
class Lowering:
    """What a strategy made of a stage: ``statements`` for inside a parallel loop, or the loop's own ``head`` with them
    when it divided the space itself; one line for DEBUG=3; ``work`` in scalar operations (``flops`` if they differ)."""

    statements: list[Statement]
    note: str
    work: int
    head: Parallel | None = None
    flops: int | None = None


def simplify_axes(body: Body, work: Traffic) -> list[Axis]:
    """Split, order and merge the axes of a body without reductions."""
    gathered = traffic([g.value for g in body.gathers])
    stores = list(dict.fromkeys(o.index for o in body.outputs))
    axes = Axes(body.names, body.axes, [*stores, *work.indices(), *gathered.indices()])
    axes.split()
    axes.order([e for e in axes.indices[:len(stores)]])
    axes.merge()
    body.mapping = axes.mapping
    return axes.list


def map_stage(body: Body, target: Target, divide: bool) -> Lowering:
    """Lower a body without reductions; ``divide`` its space among parallel iterations, or write it whole."""
    work = traffic([o.value for o in body.outputs])
    axes = simplify_axes(body, work)
    cost = work.cost + len(body.outputs)
    total = cost
    for axis in axes:
        total *= axis.size
    lanes = lanes_for(target, max(work.widest, *(o.array.dtype.size for o in body.outputs)))
    lane_axis = _vector_axis(body, work, axes, lanes)
    if lane_axis is None:
        lanes = 1
    tile = _tile_axis(body, work, axes, lane_axis) if lane_axis else None
    outer = [a for a in axes if a is not lane_axis and a is not tile]
    square = tile is not None and cost <= SQUARE_COST and all(
        coefficient(body.index(o.index), lane_axis.var) == 1 for o in body.outputs)  # type: ignore[union-attr]
    pieces = parts(lane_axis.size, min(lanes, SQUARE_SIDE) if square else lanes) if lane_axis else []
    nest = _Map(body, outer, lane_axis, tile, pieces, square)
    note = f"map: axes {[a.size for a in axes]}"
    if lane_axis:
        note += f", {nest.parts[0].lanes} lanes along axis {axes.index(lane_axis)}"
    if tile:
        note += f", tiles of {nest.tile_size} along axis {axes.index(tile)}"
    if not divide:
        return Lowering(nest.whole(), note, total)
    head, statements, s = nest.divided(cost)
    return Lowering(statements, note + f"; {s.extent} iterations", total, head)


def _vector_axis(body: Body, work: Traffic, axes: Sequence[Axis], lanes: int) -> Axis | None:
    """The axis whose lanes cost least, if any is better than single elements."""
    blocked = body.gathering()
    stores = [body.index(o.index) for o in body.outputs]
    best, least = None, float(work.cost + len(work.loads) * 0.5 + len(stores)) * 1.5
    for axis in reversed(axes):
        if axis.var in blocked or axis.size < 2 or lanes == 1:
            continue
        cost = axis_cost(body, work, stores, axis, lanes)
        if cost < least:
            best, least = axis, cost
    return best


def _tile_axis(body: Body, work: Traffic, axes: Sequence[Axis], lane_axis: Axis) -> Axis | None:
    """The axis along which some access is contiguous that is strided along the lanes: both are walked in small blocks,
    so that a cache line is used whole while it is near."""
    indices = [body.index(e) for e in [*[o.index for o in body.outputs], *[x.index for x in work.loads]]]
    for axis in reversed(axes):
        if axis is not lane_axis and any(coefficient(e, axis.var) == 1 and coefficient(e, lane_axis.var) not in (0, 1)
                                         for e in indices):
            return axis
    return None


class _Map:
    def __init__(self, body: Body, outer: list[Axis], lane_axis: Axis | None, tile: Axis | None,
                 pieces: list[Part], square: bool) -> None:
        self.body, self.outer, self.lane_axis, self.tile, self.parts = body, outer, lane_axis, tile, pieces
        self.tile_size = 64 // max(o.array.dtype.size for o in body.outputs)
        self.square = square
        self.tiles: Axis | None = None
        self.main = pieces[0] if pieces else None
        if tile is not None:
            if square and self.main is not None and tile.size >= self.main.lanes > 1:
                self.tile_size = self.main.lanes  # a square, which the renderer turns as a whole
            self.tiles = self._axis("t", -(-tile.size // self.tile_size))
            outer.append(self.tiles)
        self.steps: Axis | None = None
        if self.main is not None and self.main.count > 1:
            self.steps = self._axis("v", self.main.count)

    def _axis(self, stem: str, size: int) -> Axis:
        return Axis(self.body.names.var(stem, size), size)

    def whole(self) -> list[Statement]:
        """All of the space."""
        inside = self._main(None)
        for part in self.parts[1:]:
            inside += self._rest(part)
        return loops(self.outer, inside)

    def divided(self, cost: int) -> tuple[Parallel, list[Statement], Share]:
        """One parallel iteration's part of the space."""
        axes = list(self.outer) + ([self.steps] if self.steps else [])
        per_step = cost * (self.tile_size if self.tile else 1) * (self.main.lanes if self.main else 1)
        if not self.steps and self.lane_axis:
            per_step *= -(-self.lane_axis.size // self.main.lanes)  # type: ignore[union-attr]
        s = share(axes, per_step)
        head = parallel(self.body.names, s)
        if not axes:
            return head, self.whole(), s
        cut = axes[s.cut]
        rest = [x for part in self.parts[1:] for x in self._rest(part)]
        if cut is self.steps:
            return head, self._main((head.start, head.stop)) + when(head.last, rest), s
        inside = loops(axes[s.cut + 1:len(self.outer)], self._main(None) + rest)
        return head, [loop(cut, inside, start=head.start, stop=head.stop)], s

    def _main(self, bounds: tuple[Sym, Sym] | None) -> list[Statement]:
        if self.main is None:
            return self._point({})
        if self.steps is None:
            return self._lanes(self.main, num(self.main.start))
        inside = self._lanes(self.main, self.steps.var * self.main.lanes)
        start, stop = bounds or (num(0), num(self.steps.size))
        return [loop(self.steps, inside, start=start, stop=stop)]

    def _rest(self, part: Part) -> list[Statement]:
        if part.count == 1:
            return self._lanes(part, num(part.start))
        axis = self._axis("v", part.count)
        return [loop(axis, self._lanes(part, axis.var * part.lanes + part.start))]

    def _lanes(self, part: Part, at: Sym) -> list[Statement]:
        """One vector of the body (or one element), for each element of the tile."""
        assert self.lane_axis is not None
        mapping = {}
        lane = None
        if part.lanes > 1:
            lane = self._axis("l", part.lanes)
            at = at + lane.var
        mapping[self.lane_axis.var] = at
        if self.tile is None:
            return self._point(mapping, lane)
        assert self.tiles is not None
        start = self.tiles.var * self.tile_size
        inner = self._axis("u", self.tile.size)
        mapping[self.tile.var] = inner.var
        stop = minimum(start + self.tile_size, num(self.tile.size))
        rest: list[Statement] = [loop(inner, self._point(mapping, lane), start=start, stop=stop)]
        full = self.tile.size // self.tile_size
        if not self.square or part.lanes != self.tile_size or not full:
            return rest
        row, tile = self._axis("u", self.tile_size), self._axis("t", full)
        mapping[self.tile.var] = tile.var * self.tile_size + row.var
        square: list[Statement] = [LetIndex(tile.var, Index(self.tiles.var, int64)),
                  loop(row, self._point(mapping, lane), "unroll")]
        if self.tiles.size == full:
            return square
        return [If(Index(self.tiles.var < full, bool_), tuple(square), tuple(rest))]

    def _point(self, mapping: dict[Sym, Sym], lane: Axis | None = None) -> list[Statement]:
        copy = self.body.instance(mapping)
        stores = copy.stores()
        return [*copy.statements, *([loop(lane, stores, "vector")] if lane else stores)]
