"""Stage: lower, strategy ``scan``. In: a body that stores the running reduction of its value along one axis. Out: a
loop along that axis with the running values of the other axes' points in registers or scratch memory; or, of a single
long row, blocks of it whose parts are scanned side by side.
Next: ``scatter.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from minigrad.dtype import int64
from minigrad.errors import ScheduleError
from minigrad.kernel.ir import Alloc, Array, Const, Index, Let, LetIndex, Load, Local, Statement, Store, Value
from minigrad.lower.axes import Axes, Axis
from minigrad.lower.body import Body, Traffic, traffic
from minigrad.lower.cost import abreast, access_cost
from minigrad.lower.nest import CHUNK, ZERO, Lowering, Nest, Pieces, loop, parts, update, vectorised, when
from minigrad.lower.scalar import convert
from minigrad.lower.steps import Space, Step, Steps, Strategy
from minigrad.ops import REDUCE_OPS, running_dtype
from minigrad.symbolic import Sym, coefficient, num
from minigrad.target import Target


@dataclass
class Running:
    """The reduce op and the variable of the axis that it runs along (None: an axis of size 1)."""

    op: str
    axis: Axis | None


STEPS = Strategy("scan", ("lanes", "parallel", "unroll", "split", "keep"), (("sums", "scratch"),))

PIECE = 8
"""The longest rows all of whose steps are written out: the renderer turns what vectors across them read and store; of
longer ones it turns squares. Rows of 3, 16, 33 and 100 numbers take 0.5 to 0.6 of the time, of 5 and 7 0.7 and 0.9
(AVX-512)."""

STREAMS = 16
"""Steps along an axis across memory from which all columns of an iteration take a step together, with their running
values in scratch memory: one after the other, they would read as many streams of memory, each in small pieces."""

BROAD = 64, 512
"""Vectors of columns that an iteration takes then, at least and at most: memory is fast where it is read in one piece.
Of 65025 columns of 96 numbers 16, 64, 512 and all take 3.3, 2.7, 2.4 and 1.8 ms; of 128 columns of 20000 8 and all 16
take 0.58 and 0.22 ms (AVX-512, ``steps("scan*", "lanes(x0, 8), keep(sums, scratch), parallel(x0, 64)")``)."""

LONG = 256
"""Elements of a row that are worth its parts side by side."""

RUNS = 8
"""Parts of such a row, at most: 16, as there are lanes for int32, would make a hundred kilobytes of text."""

BLOCK_BYTES = 15872
"""Of the values of a block of such a row. It stays in the first cache with what is read and stored, and its eight parts
do not begin at the same place of it, as those of a power of two would."""


def scan_stage(body: Body, running: Running, target: Target, divide: bool, given: Steps | None = None) -> Lowering:
    """Lower a stage that stores a SCAN, by the given steps or those that are chosen. The results of a column are
    combined in an order that only shapes decide."""
    work = traffic([body.outputs[0].value])
    axes, along = scan_axes(body, running, work), running.axis
    space = Space(axes, [along] if along else [])
    if given is None:
        widest = max(work.widest, body.outputs[0].array.dtype.size, Column(body, running, target).dtype.size)
        steps = choose(body, work, space, axes, along, target.lanes(widest), target)
    else:
        steps = space.check(given, STEPS)
    nest = _Scan(body, running, target, space, steps)
    total = (work.cost + 2) * prod(a.size for a in space.axes.values())
    each, chunk = (work.cost + 2) * (along.size if along else 1) * (nest.pieces.main.lanes if nest.pieces else 1), CHUNK
    if nest.in_memory and nest.vectors:  # nest.share takes an eighth of a chunk, at least
        chunk = 8 * each * min(BROAD[1], max(BROAD[0], nest.vectors.size // target.parallel_min))
    return nest.lowered("scan", space, steps, total, divide, each if given is None else None, chunk)


def scan_axes(body: Body, running: Running, work: Traffic) -> list[Axis]:
    """The axes of the columns, merged where memory allows."""
    gathered = traffic([g.value for g in body.gathers])
    others = [(v, n) for v, n in body.axes if running.axis is None or v is not running.axis.var]
    axes = Axes(body.names, others, [body.outputs[0].index, *work.indices(), *gathered.indices()])
    axes.merge()
    body.mapping = axes.mapping
    return axes.list


def choose(body: Body, work: Traffic, space: Space, axes: list[Axis], along: Axis | None, lanes: int,
           target: Target) -> Steps:
    """The axis where lanes cost least, if any is better than one element at a time, which waits for the one before. Of
    fewer columns than lanes, the parts of a long row."""
    stores, loads = body.stored_at, body.read_at(work)
    blocked = body.gathering()
    best, least = None, 3.0 * (len(loads) + 3)
    for axis in reversed(axes):
        if axis.var not in blocked and axis.size >= 4 and lanes > 1:
            vector, element = access_cost(loads, stores, axis)
            cost = (vector + work.cost) / min(lanes, axis.size) + element
            if cost < least:
                best, least = axis, cost
    in_line = along is not None and coefficient(stores[0], along.var) == 1
    if along and in_line and along.size >= LONG and along.var not in blocked and 4 <= lanes <= 16 and (
            best is None or best.size < lanes):
        block = min(BLOCK_BYTES // body.outputs[0].value.dtype.size, along.size)
        name, runs = space.name(along), min(lanes, RUNS)
        return Steps((Step("lanes", (name, runs)), Step("split", (name, block - block % (runs * runs))),
                      Step("unroll", (name, runs))))
    if best is None:
        return Steps()
    steps = [Step("lanes", (space.name(best), parts(best.size, lanes)[0].lanes))]
    if along and not in_line and along.size >= STREAMS and lanes < best.size and coefficient(stores[0], best.var) == 1:
        return Steps((*steps, Step("keep", ("sums", "scratch"))))
    return Steps((*steps, *written_out(body, along, work, space, steps[0], target)))


def written_out(body: Body, along: Axis | None, work: Traffic, space: Space, found: Step,
                target: Target) -> list[Step]:
    """Steps of the axis that are written out: where rows lie along it, as many as make whole vectors of what the lanes,
    which run across them, touch: all of a short row, or as many as there are lanes."""
    if along is None or body.gathers:
        return []
    axis, lanes, index = space.axes[str(found.args[0])], int(found.args[1]), body.index(body.outputs[0].index)
    apart = coefficient(index, axis.var)
    if coefficient(index, along.var) != 1 or apart is None or apart < 2:
        return []
    count = along.size if along.size == apart <= PIECE else lanes
    fits = 1 < count <= along.size and count * (work.cost + 2) <= target.ahead
    return [Step("unroll", (space.name(along), count))] * fits


class Column:
    """The running reduction at one place of the other axes."""

    def __init__(self, body: Body, running: Running, target: Target) -> None:
        self.body, self.names, self.along = body, body.names, running.axis
        self.op, self.narrow = REDUCE_OPS[running.op].combine, body.outputs[0].value.dtype
        self.dtype = running_dtype(running.op, self.narrow) if target.float64 else self.narrow
        neutral = REDUCE_OPS[running.op].identity(self.dtype)
        self.neutral = Const(float(neutral) if self.dtype.is_float else neutral, self.dtype)

    def register(self, stem: str, lanes: int = 1, count: int = 1) -> Array:
        """A register for running values, or so many."""
        return Array(self.names.fresh(stem), self.dtype, lanes * count, "register", lanes, True)

    def step(self, mapping: dict[Sym, Sym], running: Array, slot: Sym = ZERO, lane: Axis | None = None,
             store: bool = True, value: Value | None = None) -> list[Statement]:
        """One element more, and its result stored; or, with a lane, of as many columns. ``value``: the element, if it
        is known."""
        output = self.body.outputs[0]
        copy = self.body.instance(mapping)
        element = convert(copy.value(output.value) if value is None else value, self.dtype)
        stores: list[Statement] = [update(running, slot, self.op, element)]
        if store:
            result = convert(convert(Load(running, slot), self.narrow), output.array.dtype)
            stores.append(Store(output.array, copy.index(output.index), result))
        if value is None:
            copy.check(self.body.unread())
        return [*copy.statements, *vectorised(lane, stores)]


class _Scan(Column, Nest):
    """The loops. ``in_memory``: whether the running values lie in scratch memory."""

    def __init__(self, body: Body, running: Running, target: Target, space: Space, steps: Steps) -> None:
        super().__init__(body, running, target)
        axes, along = list(space.axes.values()), self.along
        axis = space.lanes(steps, axes, body.gathering())
        self.target, self.in_memory = target, steps.keeps("sums")
        self.runs = self.block = self.unroll = 1
        if along is not None:
            name = space.name(along)
            self.unroll = steps.count("unroll", name)
            if axis is along:
                self.runs = steps.count("lanes", name)
                square = self.runs * max(self.runs, self.unroll)
                self.block = steps.count("split", name) // square * square
                if not 0 < self.block * self.narrow.size <= target.l2:
                    raise ScheduleError(f"{steps}: a row whose parts are scanned side by side is split into blocks, of "
                                        f"a multiple of {square} elements and at most {target.l2} bytes")
        self.axis = None if axis is along else axis
        if self.in_memory and (self.axis is None or along is None):
            raise ScheduleError(f"{steps}: keep(sums, scratch) wants lanes along a kept axis")
        self.loops = [(space.name(a), a) for a in axes if a is not self.axis and a is not along]
        self.pieces = None if self.axis is None else self.cut(space, steps, self.axis)

    def row(self, start: Sym = ZERO, stop: Sym | None = None, last: Sym | None = None,
            most: int = 0) -> list[Statement]:
        if self.axis is None or self.pieces is None:
            return self._in_parts() if self.runs > 1 else self._column(ZERO, None)
        if not self.in_memory or self.along is None:
            return self.pieces.row(self._column, start, stop, last)
        axis, main, most = self.axis, self.pieces.main, most or self.pieces.main.count
        before = (main.count - most) * main.lanes  # columns of other iterations, seen from the last
        sums = Array(self.names.fresh("sums"), self.dtype, axis.size - before, "scratch", 1, True)
        own = self.names.var("w", most)

        def inside(at: Sym, lane: Axis | None, slot: Sym | None = None) -> list[Statement]:
            return self.step({axis.var: at}, sums, at - before if slot is None else slot, lane)

        def among(at: Sym, lane: Axis | None) -> list[Statement]:
            assert self.vectors is not None
            made = inside(at, lane, own * main.lanes + (lane.var if lane else 0))
            return [LetIndex(own, Index(self.vectors.var - start, int64)), *made]

        made = self.pieces.part(main, inside if most == main.count else among, self.vectors, start, stop)
        made += when(last, [s for part in self.pieces.rest for s in self.pieces.part(part, inside)])
        return [Alloc(sums, self.neutral), loop(self.along, made)]

    def _column(self, place: Sym, lane: Axis | None) -> list[Statement]:
        """One place along the axis that has the lanes, or a vector of them."""
        running = self.register("acc", lane.size if lane else 1)
        mapping = {} if self.axis is None else {self.axis.var: place}

        def inside(at: Sym) -> list[Statement]:
            where = mapping if self.along is None else {**mapping, self.along.var: at}
            return self.step(where, running, lane.var if lane else ZERO, lane)

        made = inside(ZERO) if self.along is None else self._steps(self.along.size, inside)
        return [Alloc(running, self.neutral), *made]

    def _steps(self, size: int, inside: Callable[[Sym], list[Statement]]) -> list[Statement]:
        """So many steps of the axis: blocks of those that are written out, then the others."""
        made: list[Statement] = []
        blocks, left = divmod(size, self.unroll) if self.unroll > 1 else (0, size)
        if blocks:
            block, inner = (self.names.axis(stem, n) for stem, n in (("b", blocks), ("r", self.unroll)))
            first = block.var * self.unroll if blocks > 1 else ZERO
            unrolled = [loop(inner, inside(first + inner.var), "unroll")]
            made += [loop(block, unrolled)] if blocks > 1 else unrolled
        if left:
            rest = self.names.axis("r", left)
            made.append(loop(rest, inside(rest.var + (size - left))))
        return made

    # --- the parts of a row side by side

    def _in_parts(self) -> list[Statement]:
        """One row, block by block; the last block is shorter, and what is left of it is scanned element by element."""
        assert self.along is not None
        lanes = self.runs
        values = Array(self.names.fresh("values"), self.narrow, self.block, "scratch", 1, True)
        ends = Array(self.names.fresh("ends"), self.dtype, lanes * lanes, "scratch", 1, True)
        before = self.register("before")
        made: list[Statement] = [Alloc(values), Alloc(ends), Alloc(before, self.neutral)]
        blocks, left = divmod(self.along.size, self.block)
        if blocks:
            block = self.names.axis("b", blocks)
            first = block.var * self.block if blocks > 1 else ZERO
            whole = self._block(first, self.block // lanes, values, ends, before)
            made += [loop(block, whole)] if blocks > 1 else whole
        short = left // (lanes * lanes) * lanes
        if short:
            made += self._block(num(blocks * self.block), short, values, ends, before)
        tail = left - short * lanes
        if tail:
            at, r = num(self.along.size - tail), self.names.axis("r", tail)
            scanned = self.step({self.along.var: at + r.var}, before, value=Load(values, r.var))
            made += [*self._values(values, at, tail), loop(r, scanned)]
        return made

    def _values(self, values: Array, first: Sym, count: int) -> list[Statement]:
        """The values from ``first`` on, in scratch memory."""
        assert self.along is not None
        output, along = self.body.outputs[0], self.along

        def inside(at: Sym, lane: Axis | None) -> list[Statement]:
            copy = self.body.instance({along.var: first + at})
            store = Store(values, at, copy.value(output.value))
            copy.check(self.body.unread())
            return [*copy.statements, *vectorised(lane, [store])]

        work = traffic([output.value])
        lanes = self.target.lanes(work.widest)
        return Pieces(self.names, count, lanes * abreast(self.target, work.cost, count // lanes)).row(inside)

    def _block(self, first: Sym, run: int, values: Array, ends: Array, before: Array) -> list[Statement]:
        """A block from ``first`` on: a run of it in each lane. What the runs come to is found first, a vector of sums
        of each run; then the results, from where the runs before end."""
        assert self.along is not None
        lanes, along = self.runs, self.along
        v, u, lane = (self.names.axis(stem, n) for stem, n in (("v", run // lanes), ("u", lanes), ("l", lanes)))
        parts, end, running = (self.register(stem, lanes, n) for stem, n in (("part", lanes), ("end", 1), ("acc", 1)))
        slot, own = u.var * lanes + lane.var, self.names.fresh("own")

        def abreast(stores: Store) -> Statement:
            return loop(u, [loop(lane, [stores], "vector")], "unroll")

        def inside(at: Sym) -> list[Statement]:
            place = lane.var * run + at
            return self.step({along.var: first + place}, running, lane.var, lane, value=Load(values, place))

        value = convert(Load(values, u.var * run + v.var * lanes + lane.var), self.dtype)
        return [
            *self._values(values, first, run * lanes),
            Alloc(parts, self.neutral), loop(v, [abreast(update(parts, slot, self.op, value))]),
            abreast(Store(ends, slot, Load(parts, slot))), Alloc(end, self.neutral),
            abreast(update(end, lane.var, self.op, Load(ends, lane.var * lanes + u.var))),
            loop(lane, [Store(ends, lane.var, Load(end, lane.var))], "vector"),
            loop(u, [Let(own, Load(ends, u.var)), Store(ends, u.var, Load(before, ZERO)),
                     update(before, ZERO, self.op, Local(own, self.dtype))]),
            Alloc(running, self.neutral), loop(lane, [Store(running, lane.var, Load(ends, lane.var))], "vector"),
            *self._steps(run, inside)]
