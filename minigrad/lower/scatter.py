"""Stage: lower, strategies ``scatter`` and ``assign``. In: a SCATTER or ASSIGN node whose memory holds its base
already. Out: loops that write the new values over it. A scatter's entries are applied in order by whoever owns the
place, so that the result does not depend on the number of threads. What is owned: the coordinates of the destination
that are coordinates of the entries, too, as in ``scatter_add`` along one of two dimensions; else columns; else rows.
Next: ``lower/gpu/``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

from minigrad.dtype import bool_, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.movement import Coordinate, source_index
from minigrad.kernel.ir import Apply, Array, Const, If, Index, Let, LetIndex, Load, Local, Statement, Store, Value
from minigrad.lower.axes import Axis, Names
from minigrad.lower.body import Body, Output
from minigrad.lower.nest import (
    ZERO,
    Lowering,
    Parallel,
    Pieces,
    Share,
    loop,
    loops,
    parallel,
    share,
    unflatten,
    vectorised,
)
from minigrad.lower.scalar import convert
from minigrad.lower.values import Values
from minigrad.ops import scatter_combine
from minigrad.symbolic import Sym, num
from minigrad.target import Target

OWNERS = 16
"""Parts, at most, that a scatter's destination is divided into by rows. Each owner looks at all indices, about as long
as it takes to add four numbers."""

COLUMNS = 256
"""Columns from which on they are divided."""

LINE = 16
"""Neighbours, at least, that an owner has along an inner axis: a cache line of float32."""


def assign_body(node: LazyBuffer, values: Values, names: Names, status: Array | None) -> Body:
    """ASSIGN as a body over the space of the value: its coordinate, pushed through the chain, is where it is stored."""
    value = node.srcs[1]
    axes = [(names.var("c", n), n) for n in value.shape if n != 1]
    index = coordinate(value.shape, [v for v, _ in axes])
    place = values.places[node]
    output = Output(place.array, place.at(assigned(node, index)), values.value(value, index))
    return Body.of(values, axes, [output], status)


def coordinate(shape: Sequence[int], variables: Sequence[Sym]) -> Coordinate:
    """A coordinate of this shape: 0 along axes of size 1, and the variables along the others."""
    left = iter(variables)
    return tuple([ZERO if n == 1 else next(left) for n in shape])


def assigned(node: LazyBuffer, index: Coordinate) -> Coordinate:
    """The coordinate of an ASSIGN's base that a coordinate of its value is stored at."""
    shapes = [node.srcs[0].shape]
    at = LazyBuffer.const(0, node.dtype, shapes[0], node.device)
    for op, arg in node.arg[:-1]:
        at = at.move(op, arg)
        shapes.append(at.shape)
    for (op, arg), shape in zip(reversed(node.arg), reversed(shapes), strict=True):
        index, _ = source_index(op, arg, shape, index)
    return index


@dataclass
class Entries:
    """The entries of a scatter: ``axes`` to walk them in order, the coordinate of one, ``head``: what looks up its
    indices and notes those out of range; ``inside``: whether none is; ``places``: each index as a variable or an
    expression, and its value."""

    node: LazyBuffer
    axes: list[Axis]
    at: Coordinate
    head: list[Statement]
    inside: Value
    places: list[tuple[Sym, Value]]

    @property
    def own(self) -> list[Axis]:
        """The axes that are a coordinate of the destination: entries that differ there go to different places."""
        fixed = {place for place, found in self.places if isinstance(found, Index)}
        return [a for a in self.axes if a.var in fixed]

    @property
    def looked_up(self) -> Value | None:
        """The first index that comes from memory."""
        return next((found for _, found in self.places if not isinstance(found, Index)), None)

    def loops(self, inside: Value, body: Callable[[Coordinate], list[Statement]],
              ranges: Mapping[Sym, tuple[Sym, Sym]] | None = None) -> list[Statement]:
        """All entries; ``body`` is done at the row of those for which ``inside`` holds. ``ranges``: the part of an axis
        that is walked, if it is not all; without a step where the variable is bound already."""
        if 0 in self.node.shape:
            return loops(self.axes, self.head)
        lets: list[Statement] = [LetIndex(v, found) for v, found in self.places if not isinstance(found, Index)]
        made = [*lets, *body(tuple(v for v, _ in self.places))]
        if not isinstance(inside, Const):
            made = [If(inside, tuple(made))]
        made = [*self.head, *made]
        for axis in reversed(self.axes):
            start, stop = (ranges or {}).get(axis.var, (ZERO, num(axis.size)))
            if start is not stop:
                made = [loop(axis, made, start=start, stop=stop)]
        return made


def entries(node: LazyBuffer, values: Values, names: Names, status: Array | None) -> Entries:
    """The entries of a SCATTER."""
    shape = node.srcs[2].shape
    axes = [names.axis("e", n) for n in shape if n != 1]
    entry = coordinate(shape, [a.var for a in axes])
    head: list[Statement] = []
    inside: Value = Const(True, bool_)
    places: list[tuple[Sym, Value]] = []
    copies = 1 if len(node.arg) > 2 else 0
    for position, source in enumerate(node.srcs[2:], -copies):
        size = node.shape[position + copies]
        value = convert(values.value(source, entry), int64)
        if isinstance(value, Index) and value.index.lo >= 0 and value.index.hi < size:
            places.append((value.index, value))
            continue
        found = Local(names.fresh("at"), int64)
        head.append(Let(found.name, value))
        outside = (found < 0) | (found > size - 1)
        check = values.checks.get(node)
        if check is not None and status is not None:
            head.append(If(outside, (Store(status, num(check), Const(position + 1, status.dtype)),)))
        inside = ~outside if isinstance(inside, Const) else inside & ~outside
        places.append((names.var("g", size), found))
    return Entries(node, axes, entry, head, inside, places)


def joined(node: LazyBuffer, values: Values, row: Coordinate, entry: Coordinate, tail: Coordinate) -> Store:
    """An element of the destination joined with one of the value."""
    value = values.value(node.srcs[1], (*entry, *tail))
    place = values.places[node]
    at, array = place.at((*row, *tail)), place.array
    if node.arg[1] != "set":
        value = Apply(scatter_combine(node.arg[1], node.dtype), (convert(Load(array, at), value.dtype), value),
                      value.dtype)
    return Store(array, at, convert(value, array.dtype))


def scatter_stage(node: LazyBuffer, values: Values, names: Names, target: Target, status: Array | None) -> Lowering:
    """Lower a SCATTER. Entry after entry, in the order of the indices; out of range, the entry is left out and
    noted."""
    return _Scatter(node, values, names, target, status).lower()


class _Scatter:
    def __init__(self, node: LazyBuffer, values: Values, names: Names, target: Target, status: Array | None) -> None:
        self.node, self.values, self.names, self.target = node, values, names, target
        self.count, self.mode = node.arg[:2]
        self.tail_shape = node.shape[self.count:]
        self.found = entries(node, values, names, status)
        self.entries = prod(node.srcs[2].shape)
        self.columns = [names.axis("x", n) for n in self.tail_shape if n != 1]
        self.tail = prod(self.tail_shape)

    def lower(self) -> Lowering:
        self.note = f"scatter {self.mode}: {self.entries} entries of {self.tail}"
        made = (self._by_coordinates() or self._by_columns() or self._by_rows()) if 0 not in self.node.shape else None
        body, head = made or (self._entries(), parallel(self.names, share([], 1)))
        return Lowering(body, self.note, self.entries * (self.tail + 4), head)

    def _by_coordinates(self) -> tuple[list[Statement], Parallel] | None:
        """The axes of the entries that are coordinates of the destination are divided: the outermost ones together,
        else the longest."""
        own = self.found.own
        outer = [a for a, b in zip(self.found.axes, own, strict=False) if a is b]
        if prod(a.size for a in outer) >= OWNERS // 4:
            axes, least = outer, 1
        elif own and (longest := max(own, key=lambda a: a.size)).size >= 4 * LINE:
            axes, least = [longest], LINE
        else:
            return None
        inside = self.entries // prod(a.size for a in axes) * (self.tail + 4)
        s = share(axes, inside, multiple=least)
        if least > 1 and s.block < least:
            s = _owners(axes[0], least)
        head = parallel(self.names, s)
        ranges = {**dict.fromkeys([a.var for a in axes[:s.cut]], (ZERO, ZERO)),
                  axes[s.cut].var: (head.start, head.stop)}
        self.note += f"; their own coordinates in {s.extent} parts"
        return self._entries(ranges=ranges), head

    def _by_columns(self) -> tuple[list[Statement], Parallel] | None:
        if self.tail < COLUMNS:
            return None
        axis = self.names.axis("x", self.tail)
        s = _owners(axis, -(-self.tail // OWNERS // 64) * 64)
        head = parallel(self.names, s)
        self.note += f"; columns in {s.extent} parts"
        return self._entries((head.start, head.stop)), head

    def _by_rows(self) -> tuple[list[Statement], Parallel] | None:
        """Each owner looks at all indices and takes those of its rows: worth it if there is something to do for each,
        or if the destination is too large for a cache, so that most entries wait for memory."""
        first, rows = self.found.looked_up, self.node.shape[0]
        far = self.node.size * self.node.dtype.size > 2 * self.target.l2
        if first is None or self.entries < 256 or rows < OWNERS or self.found.places[0][1] is not first or (
                self.tail < 8 and not far):
            return None
        axis = self.names.axis("x", rows)
        s = _owners(axis, -(-rows // min(OWNERS, max(4, self.tail // 4))))
        head = parallel(self.names, s)
        self.note += f"; rows in {s.extent} parts"
        inside = self.found.inside & ~(first < Index(head.start, int64)) & (first < Index(head.stop, int64))
        return self.found.loops(inside, lambda row: self._tail(row, self.found.at, None)), head

    def _entries(self, columns: tuple[Sym, Sym] | None = None,
                 ranges: Mapping[Sym, tuple[Sym, Sym]] | None = None) -> list[Statement]:
        """All entries, in order."""
        found = self.found
        return found.loops(found.inside, lambda row: self._tail(row, found.at, columns), ranges)

    def _tail(self, row: Coordinate, entry: Coordinate, columns: tuple[Sym, Sym] | None) -> list[Statement]:
        """One entry: a row of the destination joined with a row of the value."""
        value = self.values.value(self.node.srcs[1], (*entry, *[ZERO] * len(self.tail_shape)))
        lanes = self.target.lanes(max(self.node.dtype.size, value.dtype.size))
        lanes = 1 if columns is not None and self.tail % lanes else lanes

        def one(at: Sym, lane: Axis | None) -> list[Statement]:
            own = unflatten(at, self.columns)
            tail = coordinate(self.tail_shape, [own[a.var] for a in self.columns])
            return vectorised(lane, [joined(self.node, self.values, row, entry, tail)])

        start, stop = columns or (ZERO, None)
        return Pieces(self.names, self.tail, lanes).row(one, start // lanes, None if stop is None else stop // lanes)


def _owners(axis: Axis, block: int) -> Share:
    """An axis in blocks, one for each parallel iteration."""
    return Share((axis,), 0, block, -(-axis.size // block))
