"""Stage: lower, strategy ``map``. In: a body without reductions. Out: loops that pass over memory once: neighbouring
axes merged, one axis in vector lanes, tiles where reads and writes run across each other.
Next: ``reductions.py``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from minigrad.dtype import bool_, int64
from minigrad.errors import ScheduleError
from minigrad.kernel.ir import If, Index, LetIndex, Statement
from minigrad.lower.axes import Axes, Axis
from minigrad.lower.body import Body, Traffic, traffic
from minigrad.lower.cost import abreast, axis_cost
from minigrad.lower.nest import ZERO, Lowering, Nest, loop, parts
from minigrad.lower.steps import Space, Step, Steps, Strategy
from minigrad.symbolic import Sym, coefficient, minimum, num
from minigrad.target import Target

SQUARE_COST, SQUARE_SIDE = 64, 16
"""Scalar operations of a body up to which a square tile is written out, row by row, and the most rows that it has: the
code grows with both."""

PIECE = 8
"""The longest rows that are written out, element by element, around vectors across them: the renderer turns what all of
them store into whole vectors."""


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


STEPS = Strategy("map", ("lanes", "parallel", "split", "unroll"))


def map_stage(body: Body, target: Target, divide: bool, given: Steps | None = None) -> Lowering:
    """Lower a body without reductions, by the given steps or those that are chosen; ``divide`` its space among
    parallel iterations, or write it whole."""
    work = traffic([o.value for o in body.outputs])
    axes = simplify_axes(body, work)
    space = Space(axes)
    cost = work.cost + len(body.outputs)
    steps = choose(body, work, space, cost, target) if given is None else space.check(given, STEPS)
    nest = _Map(body, space, steps)
    each = nest.cost_of_step(cost) if given is None else None
    return nest.lowered("map", space, steps, cost * prod(axis.size for axis in axes), divide, each)


def choose(body: Body, work: Traffic, space: Space, cost: int, target: Target) -> Steps:
    """The lanes along the axis where they cost least, and tiles where reads and writes run across each other."""
    axes = list(space.axes.values())
    lanes = target.lanes(max(work.widest, *(o.array.dtype.size for o in body.outputs)))
    lane_axis = _vector_axis(body, work, axes, lanes)
    if lane_axis is None:
        return Steps()
    tile = _tile_axis(body, work, axes, lane_axis)
    square = tile is not None and cost <= SQUARE_COST and any(
        all(coefficient(e, axis.var) == 1 for e in body.stored_at)
        for axis in (lane_axis, *([tile] if lane_axis.size >= lanes else [])))  # short vectors across are not worth it
    if tile is None and _in_line(body, work, lane_axis):
        lanes *= abreast(target, cost, lane_axis.size // lanes)
    lanes = parts(lane_axis.size, min(lanes, SQUARE_SIDE) if square else lanes)[0].lanes
    steps = [Step("lanes", (space.name(lane_axis), lanes))]
    if tile is not None and tile.size <= PIECE and cost * tile.size <= target.ahead and _in_one_piece(
            body, lane_axis, tile) and tile.var not in body.gathering():
        return Steps((*steps, *(Step(name, (space.name(tile), tile.size)) for name in ("split", "unroll"))))
    if tile is not None:
        square = square and tile.size >= lanes > 1  # the renderer turns it as a whole
        size = lanes if square else 64 // max(o.array.dtype.size for o in body.outputs)
        steps.append(Step("split", (space.name(tile), size)))
        steps += [Step("unroll", (space.name(tile), size))] * square
    return Steps(tuple(steps))


def _in_one_piece(body: Body, lane_axis: Axis, tile: Axis) -> bool:
    """Whether all that is stored for a vector lies in one piece: rows as long as the tile, one after the other."""
    return all(coefficient(e, lane_axis.var) == tile.size and coefficient(e, tile.var) == 1 for e in body.stored_at)


def _in_line(body: Body, work: Traffic, lane_axis: Axis) -> bool:
    """Whether all accesses are whole vectors or one element for all lanes, and no lane differs by its index."""
    indices = [*body.stored_at, *body.read_at(work)]
    return all(coefficient(e, lane_axis.var) in (0, 1) for e in indices) and all(
        coefficient(body.index(e), lane_axis.var) == 0 for e in work.others)


def _vector_axis(body: Body, work: Traffic, axes: Sequence[Axis], lanes: int) -> Axis | None:
    """The axis whose lanes cost least, if any is better than single elements."""
    blocked = body.gathering()
    stores = body.stored_at
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
    indices = [*body.stored_at, *body.read_at(work)]
    for axis in reversed(axes):
        if axis is not lane_axis and any(coefficient(e, axis.var) == 1 and coefficient(e, lane_axis.var) not in (0, 1)
                                         for e in indices):
            return axis
    return None


class _Map(Nest):
    def __init__(self, body: Body, space: Space, steps: Steps) -> None:
        axes = list(space.axes.values())
        self.body, self.names = body, body.names
        self.lane_axis = space.lanes(steps, axes, body.gathering())
        self.tile = self._tile(space, steps)
        self.loops = [(space.name(a), a) for a in axes if a is not self.lane_axis and a is not self.tile]
        if self.tile is not None:
            self.tile_size = steps.count("split", space.name(self.tile))
            self.square = steps.count("unroll", space.name(self.tile)) == self.tile_size
            self.tiles = self.names.axis("t", -(-self.tile.size // self.tile_size))
            self.loops.append((space.name(self.tile), self.tiles))
        if self.lane_axis is not None:
            self.pieces = self.cut(space, steps, self.lane_axis)

    def _tile(self, space: Space, steps: Steps) -> Axis | None:
        found = steps.named("split")
        if not found:
            return None
        axis = space.axes[str(found[0].args[0])]
        if self.lane_axis is None or axis is self.lane_axis or len(found) > 1:
            raise ScheduleError(f"{found[-1]}: one axis can be cut into tiles, around the vectors of another")
        return axis

    def cost_of_step(self, cost: int) -> int:
        """Scalar operations of a step of the innermost loop, of which an element costs so many."""
        if self.lane_axis is None:
            return cost
        lanes = self.pieces.main.lanes
        often = 1 if self.vectors else -(-self.lane_axis.size // lanes)
        return cost * (self.tile_size if self.tile else 1) * lanes * often

    def row(self, start: Sym = ZERO, stop: Sym | None = None, last: Sym | None = None,
            most: int = 0) -> list[Statement]:
        if self.lane_axis is None:
            return self.body.stored({})
        return self.pieces.row(self._at, start, stop, last)

    def _at(self, at: Sym, lane: Axis | None) -> list[Statement]:
        """One vector of the body (or one element), for each element of the tile."""
        assert self.lane_axis is not None
        mapping = {self.lane_axis.var: at}
        if self.tile is None:
            return self.body.stored(mapping, lane=lane)
        start, size = self.tiles.var * self.tile_size, self.tile_size
        inner = self.names.axis("u", self.tile.size)
        row = self.body.stored({**mapping, self.tile.var: inner.var}, lane=lane)
        if self.square and size == self.tile.size and lane is not None:
            return [loop(inner, row, "unroll")]
        rest: list[Statement] = [loop(inner, row, start=start, stop=minimum(start + size, num(self.tile.size)))]
        full = self.tile.size // size
        if not self.square or lane is None or lane.size != size or not full:
            return rest
        inner, tile = self.names.axis("u", size), self.names.axis("t", full)
        row = self.body.stored({**mapping, self.tile.var: tile.var * size + inner.var}, lane=lane)
        square: list[Statement] = [LetIndex(tile.var, Index(self.tiles.var, int64)), loop(inner, row, "unroll")]
        if self.tiles.size == full:
            return square
        return [If(Index(self.tiles.var < full, bool_), tuple(square), tuple(rest))]
