"""Stage: lower, GPU form, strategy ``scan``. In: a body that stores the running reduction of its value along one axis.
Out: a thread for each column where there are many; else all threads of a workgroup at one column after another: each
combines a run of it, the runs' totals are combined in shared memory, then each thread goes through its run again from
where the runs before it end.
Next: ``scatter.py``."""

from __future__ import annotations

from math import prod

from minigrad.dtype import int64
from minigrad.errors import ScheduleError
from minigrad.kernel.ir import Alloc, Array, Index, LetIndex, Load, Statement, Store
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, Traffic, traffic
from minigrad.lower.gpu.threads import ZERO, Threads, walk
from minigrad.lower.nest import Divided, Lowering, loop, unflatten, update, when
from minigrad.lower.scan import Column, Running, scan_axes
from minigrad.lower.steps import Space, Step, Steps, Strategy
from minigrad.symbolic import Sym, coefficient, minimum, num

LONG = 64
"""Elements of a column that are worth more than one thread."""

FEW = 4096
"""Columns that are too few for a thread each; half as many where neighbouring threads would read neighbours."""

GROUP = 16
"""Runs whose totals one thread combines."""


STEPS = Strategy("scan", ("block", "grid", "accumulate"))


def scan_stage(body: Body, running: Running, threads: Threads, given: Steps | None = None) -> Lowering:
    """Lower a stage that stores a SCAN, by the given steps or those that are chosen."""
    work = traffic([body.outputs[0].value])
    columns, along = scan_axes(body, running, work), running.axis
    space = Space(columns, [along] if along else [])
    scan = _Scan(body, running, columns, threads)
    steps = choose(body, work, space, threads, along) if given is None else space.check(given, STEPS)
    total = (work.cost + 2) * prod(a.size for a in space.axes.values())
    totals = None
    for step in steps.named("accumulate"):
        if step.args != (space.name(along) if along else "", threads.count) or threads.count == 1:
            raise ScheduleError(f"{step}: a column is scanned by one thread, or by all {threads.count}")
        totals = threads.take("ends", scan.dtype, threads.count, apart=True)
        if totals is None and given is not None:
            raise ScheduleError(f"{step}: the workgroup's memory does not hold the ends of its threads' runs")
    if totals is None:
        statements, groups = scan.alone(steps.number("grid"))
        steps = Steps(tuple(step for step in steps if step.name != "accumulate"))
    else:
        statements, groups = scan.together(totals)
    return Lowering(statements, threads.note("scan", space, steps, groups, walked=totals is None), total, groups)


def choose(body: Body, work: Traffic, space: Space, threads: Threads, along: Axis | None) -> Steps:
    """All threads at each column where these are long and few."""
    if along is None or along.size < LONG or threads.count == 1:
        return Steps()
    columns = prod(a.size for a in space.axes.values()) // along.size
    runs = all(coefficient(body.index(x.index), along.var) == 1 for x in work.loads)
    few = (FEW if runs else FEW // 2) if threads.divide else threads.count // 8
    return Steps((Step("accumulate", (space.name(along), threads.count)),)) if columns < few else Steps()


class _Scan(Column):
    def __init__(self, body: Body, running: Running, columns: list[Axis], threads: Threads) -> None:
        super().__init__(body, running, threads.target)
        self.columns, self.threads = columns, threads

    def alone(self, most: int | None) -> tuple[list[Statement], Divided | None]:
        """A thread for each column."""
        steps, groups = walk(self.threads, "column", prod(a.size for a in self.columns), most)
        running = self.register("acc")
        inside = self.step(unflatten(steps.at, self.columns), running)
        return steps.around([Alloc(running, self.neutral), *([loop(self.along, inside)] if self.along else inside)]), (
            groups)

    def together(self, totals: Array) -> tuple[list[Statement], Divided | None]:
        """All threads at each column."""
        threads, count = self.threads, prod(a.size for a in self.columns)
        column = self.names.axis("p" if threads.divide else "column", count)
        mapping = unflatten(column.var, self.columns)
        statements = self._column(mapping, totals)
        if threads.divide:
            return statements, Divided(column.var, count)
        if count > 1:
            statements = [loop(column, [*statements, *threads.barrier()])]
        return statements, None

    def _column(self, mapping: dict[Sym, Sym], totals: Array) -> list[Statement]:
        assert self.along is not None
        threads, t, n = self.threads, self.threads.t, self.along.size
        run = -(-n // threads.count)
        first, stop = t * run, minimum(t * run + run, num(n))
        end, before = self.register("end"), self.register("acc")
        own = self.names.axis("r", n)
        inside = self.step({**mapping, self.along.var: own.var}, end, store=False)
        statements: list[Statement] = [Alloc(end, self.neutral), loop(own, inside, start=first, stop=stop),
                                       Store(totals, t, Load(end, ZERO)), *threads.barrier()]
        # a thread of each group makes the totals of its group running ones
        group = min(GROUP, threads.count)
        groups = threads.count // group
        mine, i, sums = self.names.var("u", groups), self.names.axis("i", group), self.register("acc")
        at = mine * group + i.var
        statements += when(t < groups, [
            LetIndex(mine, Index(t, int64)), Alloc(sums, self.neutral),
            loop(i, [update(sums, ZERO, self.op, Load(totals, at)), Store(totals, at, Load(sums, ZERO))])])
        statements += threads.barrier()
        # what comes before this thread's run: whole groups, then the runs before it in its own group
        g = self.names.axis("g", groups)
        last = Load(totals, g.var * group + (group - 1))
        statements.append(Alloc(before, self.neutral))
        statements.append(loop(g, [update(before, ZERO, self.op, last)], stop=t // group))
        previous = self.names.var("u", threads.count)
        statements += when(num(0) < t % group, [LetIndex(previous, Index(t - 1, int64)),
                                                update(before, ZERO, self.op, Load(totals, previous))])
        own = self.names.axis("r", n)
        inside = self.step({**mapping, self.along.var: own.var}, before)
        return [*statements, loop(own, inside, start=first, stop=stop)]
