"""Stage: lower, strategy ``scan``. In: a body that stores the running reduction of its value along one axis. Out: a
serial loop along that axis with the running value in a register, for each point, or vector of points, of the other
axes.
Next: ``scatter.py``."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from minigrad.kernel.ir import Alloc, Apply, Array, Const, Load, Statement, Store
from minigrad.lower.axes import Axes, Axis
from minigrad.lower.body import Body, Traffic, traffic
from minigrad.lower.cost import access_cost, lanes_for
from minigrad.lower.nest import ZERO, Lowering, Part, loop, loops, parallel, parts, share, vectorised, when
from minigrad.lower.scalar import convert
from minigrad.lower.steps import Space, Step, Steps, Strategy, parallel_step, shared
from minigrad.ops import REDUCE_OPS, running_dtype
from minigrad.symbolic import Sym, coefficient, num
from minigrad.target import Target


@dataclass
class Running:
    """The reduce op and the variable of the axis that it runs along (None: an axis of size 1)."""

    op: str
    axis: Axis | None


STEPS = Strategy("scan", ("lanes", "parallel", "unroll"))

PIECE = 8
"""The longest rows all of whose steps are written out: the renderer turns what vectors across them read and store; of
longer ones it turns squares. Rows of 3, 16, 33 and 100 numbers take 0.5 to 0.6 of the time, of 5 and 7 0.7 and 0.9
(AVX-512)."""


def scan_stage(body: Body, running: Running, target: Target, divide: bool, given: Steps | None = None) -> Lowering:
    """Lower a stage that stores a SCAN, by the given steps or those that are chosen. Every result is combined in the
    order of the axis."""
    output = body.outputs[0]
    work = traffic([output.value])
    axes, along = scan_axes(body, running, work), running.axis
    space = Space(axes, [along] if along else [])
    nest = _Scan(body, running, target)
    lanes = lanes_for(target, max(work.widest, output.array.dtype.size, nest.dtype.size))
    steps = choose(body, work, space, axes, lanes) if given is None else space.check(given, STEPS)
    if given is None:
        steps += written_out(body, along, work, space, steps, target)
    nest.unroll = steps.count("unroll", space.name(along)) if along else 1
    axis = space.lanes(steps, axes, [a for a in axes if a.var in body.gathering()])
    total = (work.cost + 2) * prod(a.size for a in space.axes.values())
    pieces = parts(axis.size, steps.count("lanes", space.name(axis))) if axis else []
    outer = [a for a in axes if a is not axis]
    rest: list[Statement] = []
    vectors = None
    if axis is None:
        inside = nest.column({}, 1)
    else:
        vectors, inside = nest.part(axis, pieces[0])
        for part in pieces[1:]:
            more, statements = nest.part(axis, part)
            rest += [loop(more, statements)] if more else statements
    if not divide:
        whole = ([loop(vectors, inside)] if vectors else inside) + rest
        return Lowering(loops(outer, whole), space.note("scan", steps), total)
    dims = [(space.name(a), a) for a in outer]
    if axis is not None and vectors is not None:
        dims.append((space.name(axis), vectors))
    if given is None:
        per = (work.cost + 2) * (along.size if along else 1) * (pieces[0].lanes if pieces else 1)
        steps += parallel_step(dims, share([a for _, a in dims], per))
    s = shared(steps, dims)
    head = parallel(body.names, s)
    if not dims:
        made = inside + rest
    elif s.axes[s.cut] is vectors:
        made = [loop(vectors, inside, start=head.start, stop=head.stop), *when(head.last, rest)]
    else:
        whole = ([loop(vectors, inside)] if vectors else inside) + rest
        made = [loop(s.axes[s.cut], loops(outer[s.cut + 1:], whole), start=head.start, stop=head.stop)]
    return Lowering(made, f"{space.note('scan', steps)}; {s.extent} iterations", total, head)


def scan_axes(body: Body, running: Running, work: Traffic) -> list[Axis]:
    """The axes of the columns, merged where memory allows."""
    gathered = traffic([g.value for g in body.gathers])
    others = [(v, n) for v, n in body.axes if running.axis is None or v is not running.axis.var]
    axes = Axes(body.names, others, [body.outputs[0].index, *work.indices(), *gathered.indices()])
    axes.merge()
    body.mapping = axes.mapping
    return axes.list


def choose(body: Body, work: Traffic, space: Space, axes: list[Axis], lanes: int) -> Steps:
    """The axis where lanes cost least, if any is better than one element at a time, which waits for the one before."""
    stores, loads = [body.index(body.outputs[0].index)], [body.index(x.index) for x in work.loads]
    blocked = body.gathering()
    best, least = None, 3.0 * (len(loads) + 3)
    for axis in reversed(axes):
        if axis.var not in blocked and axis.size >= 4 and lanes > 1:
            vector, element = access_cost(loads, stores, axis)
            cost = (vector + work.cost) / min(lanes, axis.size) + element
            if cost < least:
                best, least = axis, cost
    return Steps() if best is None else Steps((Step("lanes", (space.name(best), parts(best.size, lanes)[0].lanes)),))


def written_out(body: Body, along: Axis | None, work: Traffic, space: Space, steps: Steps,
                target: Target) -> list[Step]:
    """Steps of the axis that are written out: where rows lie along it, as many as make whole vectors of what the lanes,
    which run across them, touch: all of a short row, or as many as there are lanes."""
    found = steps.named("lanes")
    if along is None or not found or body.gathers:
        return []
    axis, lanes, index = space.axes[str(found[0].args[0])], int(found[0].args[1]), body.index(body.outputs[0].index)
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

    def register(self, stem: str, lanes: int = 1) -> Array:
        """A register for running values."""
        return Array(self.names.fresh(stem), self.dtype, lanes, "register", lanes, True)

    def step(self, mapping: dict[Sym, Sym], running: Array, slot: Sym = ZERO,
             store: bool = True) -> tuple[list[Statement], list[Statement]]:
        """One element more, and its result stored: what looks up indices, then the stores."""
        output = self.body.outputs[0]
        copy = self.body.instance(mapping)
        operands = (Load(running, slot), convert(copy.value(output.value), self.dtype))
        stores: list[Statement] = [Store(running, slot, Apply(self.op, operands, self.dtype))]
        if store:
            result = convert(convert(Load(running, slot), self.narrow), output.array.dtype)
            stores.append(Store(output.array, copy.index(output.index), result))
        copy.check(self.body.unread())
        return copy.statements, stores


class _Scan(Column):
    unroll = 1

    def part(self, axis: Axis, part: Part) -> tuple[Axis | None, list[Statement]]:
        """The steps along a lane axis, if more than one, and what each does."""
        if part.count == 1:
            return None, self.column({axis.var: num(part.start)}, part.lanes, axis)
        steps = Axis(self.names.var("v", part.count), part.count)
        return steps, self.column({axis.var: steps.var * part.lanes + part.start}, part.lanes, axis)

    def column(self, mapping: dict[Sym, Sym], lanes: int, lane_axis: Axis | None = None) -> list[Statement]:
        """One place, or ``lanes`` of them."""
        lane = Axis(self.names.var("l", lanes), lanes) if lanes > 1 else None
        if lane and lane_axis:
            mapping = {**mapping, lane_axis.var: mapping[lane_axis.var] + lane.var}
        running = self.register("acc", lanes)
        return [Alloc(running, self.neutral), *self._along(mapping, lane, running)]

    def _along(self, mapping: dict[Sym, Sym], lane: Axis | None, running: Array) -> list[Statement]:
        """All steps of the axis: blocks of those that are written out, then the others."""
        def step(at: dict[Sym, Sym]) -> list[Statement]:
            head, stores = self.step({**mapping, **at}, running, lane.var if lane else ZERO)
            return [*head, *vectorised(lane, stores)]

        along = self.along
        made: list[Statement] = []
        if along is None:
            return step({})
        blocks, left = divmod(along.size, self.unroll)
        if self.unroll == 1:
            return [loop(along, step({}))]
        if blocks:
            block, inner = (Axis(self.names.var(stem, n), n) for stem, n in (("b", blocks), ("r", self.unroll)))
            first = block.var * self.unroll if blocks > 1 else ZERO
            inside = [loop(inner, step({along.var: first + inner.var}), "unroll")]
            made += [loop(block, inside)] if blocks > 1 else inside
        if left:
            rest = Axis(self.names.var("r", left), left)
            made.append(loop(rest, step({along.var: rest.var + (along.size - left)})))
        return made
