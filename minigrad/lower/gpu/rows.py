"""Stage: lower, GPU form, strategy ``rows``. In: a body with reductions. Out: several results at once in a workgroup,
each reduced by several threads: every one adds up its share in registers, then the shares are joined in shared memory.
Neighbouring threads read neighbouring elements: they are reducers of one result where it is read along memory, else
each has a result of its own. All combine in an order that shapes and the size of the workgroup decide.
Next: ``contraction.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from minigrad.dtype import DType, int64
from minigrad.errors import ScheduleError
from minigrad.kernel.ir import (
    Alloc,
    Array,
    For,
    Index,
    LetIndex,
    Load,
    Statement,
    Store,
    Value,
)
from minigrad.lower.accumulate import LONGEST, Group, identity
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body
from minigrad.lower.gpu.threads import THREADS, ZERO, Threads, power_of_two, walk, wide_lanes
from minigrad.lower.nest import Divided, Lowering, loop, loops, unflatten, update, when
from minigrad.lower.reductions import Domain, work_of_result
from minigrad.lower.steps import Space, Step, Steps, Strategy
from minigrad.lower.values import Reduction
from minigrad.ops import REDUCE_OPS
from minigrad.symbolic import Sym, both, coefficient, eq, minimum, num

SECTOR = 32
"""Bytes that memory gives at a time: neighbouring results are reduced side by side, at least so many."""

Inside = Callable[[dict[Sym, Sym], Sequence[Array]], list[Statement]]
"""Adds what one step of a loop contributes to the given accumulators; the step is what a variable is mapped to."""


STEPS = Strategy("rows", ("block", "grid", "lanes", "accumulate", "coalesce"))


def rows_stage(body: Body, kept: list[Axis], domains: list[Domain], threads: Threads, space: Space,
               given: Steps | None = None) -> Lowering:
    """Lower a body with reductions, by the given steps or those that are chosen."""
    steps = _Choice(body, kept, domains, threads, space).steps() if given is None else space.check(given, STEPS)
    rows = _Rows(body, kept, domains, threads, space, steps)
    if rows.reducers > 1 and not rows.arrays:
        if given is not None:
            raise ScheduleError(f"{steps.named('accumulate')[0]}: the workgroup's memory does not hold the shares")
        rows = _Rows(body, kept, domains, threads, space, _Choice(body, kept, domains, threads, space).steps(1))
    statements, groups = rows.together() if rows.arrays else rows.alone()
    note = threads.note("rows", space, rows.steps, groups, walked=not rows.arrays)
    return Lowering(statements, note, work_of_result(body, domains) * rows.results, groups)


class _Choice:
    """Whether neighbouring threads read along reduced axes or along kept ones, and how many share a result."""

    def __init__(self, body: Body, kept: list[Axis], domains: list[Domain], threads: Threads, space: Space) -> None:
        self.body, self.kept, self.domains, self.threads, self.space = body, kept, domains, threads, space
        self.results = prod(a.size for a in kept)

    def steps(self, reducers: int | None = None) -> Steps:
        """The steps; with so many threads that share a result, if that is said."""
        along_reduced = self._reads_along_reduced()
        reducers = reducers or self._reducers(along_reduced)
        found: list[Step] = []
        domains = [d for d in self.domains if d.size and d.axes]
        if reducers > 1:
            for d in domains:
                shared = d.axes[-1] if along_reduced else max(d.axes, key=lambda a: a.size)
                found.append(Step("accumulate", (self.space.name(shared), reducers)))
            if along_reduced:
                found.append(Step("coalesce", (self.space.name(domains[0].axes[-1]),)))
        for d in domains:
            inner = d.axes[-1]
            if along_reduced and any(coefficient(self.body.index(x.index), inner.var) == 1 for x in d.work.loads):
                lanes = wide_lanes(self.body, d.work.loads, (), inner, self.threads.target)
                if lanes > 1 and d.size // lanes >= reducers:
                    found.append(Step("lanes", (self.space.name(inner), lanes)))
        return Steps(tuple(found))

    def _reads_along_reduced(self) -> bool:
        """Whether more is read in runs along reduced axes than along kept ones."""
        score = 0
        for d in self.domains:
            for x in d.work.loads:
                e = self.body.index(x.index)
                weight = 4 if x.array.scope == "global" else 1
                score += weight * any(coefficient(e, a.var) == 1 for a in d.axes)
                score -= weight * any(coefficient(e, a.var) == 1 for a in self.kept)
        return score >= 0

    def _reducers(self, along_reduced: bool) -> int:
        """Threads that share a result: a power of two."""
        count, target = self.threads.count, self.threads.target
        longest = max((d.size for d in self.domains), default=1)
        wanted = power_of_two(-(-(THREADS if self.threads.divide else count) // max(1, self.results)))
        if along_reduced and any(x.array.scope == "global" for d in self.domains for x in d.work.loads):
            wanted = max(wanted, min(target.subgroup, power_of_two(longest + 1) // 16))
        most = count
        if not along_reduced:
            side_by_side = target.subgroup
            if self.results * count < THREADS * side_by_side:
                side_by_side = SECTOR // max((x.dtype.size for d in self.domains for x in d.work.loads), default=4)
            most = max(1, count // min(side_by_side, power_of_two(self.results), count))
        return max(1, min(wanted, most, power_of_two(longest + 1) // 4))


class _Rows:
    """The loops. ``arrays``: shared memory in which ``reducers`` threads join their shares of each result."""

    def __init__(self, body: Body, kept: list[Axis], domains: list[Domain], threads: Threads, space: Space,
                 steps: Steps) -> None:
        self.body, self.kept, self.domains, self.threads = body, kept, domains, threads
        self.space, self.steps = space, steps
        self.names = body.names
        self.results = prod(a.size for a in kept)
        self.along_reduced = bool(steps.named("coalesce"))
        shares = {int(step.args[1]) for step in steps.named("accumulate")}
        self.reducers = max(shares, default=1)
        if len(shares) > 1 or self.reducers > threads.count:
            raise ScheduleError(f"{steps}: all sums are shared among as many of the {threads.count} threads")
        self.arrays = self._take() if self.reducers > 1 else []
        if not self.arrays:
            self.reducer, self.column, self.columns = ZERO, threads.t, threads.count
            return
        if steps.number("grid"):
            raise ScheduleError(f"{steps}: where threads share results, there are as many workgroups as these need")
        t, self.columns = threads.t, threads.count // self.reducers
        self.reducer = t % self.reducers if self.along_reduced else t // self.columns
        self.column = t // self.reducers if self.along_reduced else t % self.columns

    def _take(self) -> list[list[tuple[Reduction, Array]]]:
        """Shared arrays to join the reductions in, as many at a time as there is memory for; none if there is none."""
        batches: list[list[tuple[Reduction, Array]]] = [[]]
        pool: list[Array] = []
        free: list[Array] | None = None  # once there is no room for more: those that this batch has left
        for r in (r for d in self.domains if d.size for r in d.reductions):
            dtype, found = r.value.dtype, None
            if free is None and (found := self.threads.take("shares", dtype, self.threads.count, apart=True)):
                pool.append(found)
            if found is None and not (found := _of_dtype(free, dtype)):  # the next batch begins: all are free again
                free, found = list(pool), _of_dtype(pool, dtype)
                if found is None:
                    return []
                batches.append([])
            if free is not None:
                free.remove(found)
            batches[-1].append((r, found))
        return [b for b in batches if b]

    # --- a thread for each result

    def alone(self) -> tuple[list[Statement], Divided | None]:
        """The loops over results."""
        steps, groups = walk(self.threads, "result", self.results, self.steps.number("grid"))
        mapping = unflatten(steps.at, self.kept)
        found: dict[str, Value] = {}
        statements = self._accumulate(mapping, found)
        return steps.around([*statements, *self.body.stored(mapping, found)]), groups

    def _accumulate(self, mapping: dict[Sym, Sym], found: dict[str, Value]) -> list[Statement]:
        """This thread's share of every reduction at one result."""
        statements: list[Statement] = []
        for d in self.domains:
            if d.size == 0:
                found.update({r.local.name: identity(r) for r in d.reductions})
            else:
                statements += _Share(self, d, mapping).statements(found)
        return statements

    # --- several threads for each result

    def together(self) -> tuple[list[Statement], Divided | None]:
        """The loops over blocks of results, and the barriers between the shares."""
        batches = self.arrays
        threads, results, columns = self.threads, self.results, self.columns
        count = -(-results // columns)
        groups: Divided | None = None
        turn = ZERO
        if threads.divide:
            groups = Divided(self.names.var("p", count), count)
            turn = groups.var
        elif count > 1:
            turn = self.names.var("turn", count)
        at = turn * columns + self.column
        inside = at < results
        statements: list[Statement] = []
        mapping: dict[Sym, Sym] = {}
        if self.kept and at.kind == "var":
            mapping = unflatten(at, self.kept)
        elif self.kept:
            row = self.names.var("result", results)
            at = at if inside.lo == 1 else minimum(at, num(results - 1))
            statements.append(LetIndex(row, Index(at, int64)))
            mapping = unflatten(row, self.kept)
        found: dict[str, Value] = {}
        statements += self._accumulate(mapping, found)
        first = self._first(turn)
        for number, batch in enumerate(batches):
            if number:
                statements += threads.barrier()
            left = self._join(batch, found, statements)
            totals, sums = self._totals(batch, left, found)
            if len(batches) == 1:
                statements += when(first, [*totals, *sums, *self.body.stored(mapping, found)])
            else:
                statements += [*totals, *when(first, sums)]
        if len(batches) > 1:
            statements += when(first, self.body.stored(mapping, found))
        if groups is None and count > 1:
            statements = [loop(Axis(turn, count), [*statements, *threads.barrier()])]
        return statements, groups

    def _first(self, turn: Sym) -> Sym:
        """Whether this thread is the first of those that share a result, and there is such a result."""
        t = self.threads.t
        if self.along_reduced:
            return eq(t, 0) if self.results == 1 else both(
                eq(self.reducer, 0), turn * self.columns + self.column < self.results)
        if turn is ZERO:  # the first reducers are the first threads
            return t < min(self.columns, self.results)
        return both(t < self.columns, turn * self.columns + t < self.results)

    def _join(self, batch: list[tuple[Reduction, Array]], found: dict[str, Value],
              statements: list[Statement]) -> int:
        """Put the shares in shared memory, join them to about the root of their number; how many are left."""
        t = self.threads.t
        statements += [Store(array, t, found[r.local.name]) for r, array in batch]
        statements += self.threads.barrier()
        left = self.reducers
        if left <= 16:
            return left
        left = 1 << (self.reducers.bit_length() - 1) // 2
        if self.along_reduced:
            among, size = self.reducer < left, self.threads.count - self.reducers + left
        else:
            among, size = t < left * self.columns, left * self.columns
        mine = self.names.var("u", size)
        inside: list[Statement] = [LetIndex(mine, Index(t, int64))]
        for r, array in batch:
            acc = Array(self.names.fresh("acc"), array.dtype, 1, "register", 1, True)
            inside.append(Alloc(acc, identity(r)))
            inside.append(self._sum(r, acc, array, mine, left, self.reducers // left))
            inside.append(Store(array, mine, Load(acc, ZERO)))
        statements += when(among, inside)
        statements += self.threads.barrier()
        return left

    def _sum(self, r: Reduction, acc: Array, array: Array, slot: Sym, step: int, count: int) -> Statement:
        """Join ``count`` shares: that in ``slot`` and those of every ``step``-th reducer after it."""
        i = self.names.axis("i", count)
        at = slot + i.var * (step if self.along_reduced else step * self.columns)
        return loop(i, [update(acc, ZERO, REDUCE_OPS[r.node.op].combine, Load(array, at))])

    def _totals(self, batch: list[tuple[Reduction, Array]], left: int,
                found: dict[str, Value]) -> tuple[list[Statement], list[Statement]]:
        """Join what is left of each result: registers for the totals, and the loops."""
        slot = self.column
        if self.along_reduced:
            slot = ZERO if self.results == 1 else self.column * self.reducers
        allocs: list[Statement] = []
        sums: list[Statement] = []
        for r, array in batch:
            total = Array(self.names.fresh("total"), array.dtype, 1, "register", 1, True)
            allocs.append(Alloc(total, identity(r)))
            sums.append(self._sum(r, total, array, slot, 1, left))
            found[r.local.name] = Load(total, ZERO)
        return allocs, sums


def _of_dtype(arrays: Sequence[Array] | None, dtype: DType) -> Array | None:
    return next((a for a in arrays or () if a.dtype is dtype), None)


class _Share(Group):
    """One thread's part of the reductions of a domain, at one result."""

    def __init__(self, rows: _Rows, domain: Domain, mapping: dict[Sym, Sym]) -> None:
        super().__init__(rows.body, domain, [mapping])
        self.rows = rows
        self.lane_axis = rows.space.lanes(rows.steps, domain.axes, self.body.gathering())
        if self.lane_axis is not None:
            self.lanes = rows.steps.count("lanes", rows.space.name(self.lane_axis))
            if self.lane_axis.size % self.lanes:
                raise ScheduleError(f"{rows.steps}: {self.lane_axis.size} elements are no whole vectors of "
                                    f"{self.lanes}")

    def statements(self, found: dict[str, Value]) -> list[Statement]:
        """Registers that hold the share; ``found`` gets the values."""
        accumulators = self.accumulators(1, self.lanes)
        return [*self.allocs(accumulators), *self._walk(accumulators), *self.fold(accumulators, [found], "share")]

    # --- the loops

    def _walk(self, into: Sequence[Array]) -> list[Statement]:
        """Steps of ``lanes`` elements over the reduced axes; one axis, or all of them as one, is shared out."""
        axes = list(self.domain.axes)
        reducers, reducer = self.rows.reducers, self.rows.reducer
        if not axes:
            return self.add({}, into, ZERO)
        named = [self.rows.space.axes[str(step.args[0])] for step in self.rows.steps.named("accumulate")]
        shared = next((a for a in axes if a in named), axes[-1])

        inner, vectors = self.lane_axis, None
        if inner is not None and self.lanes > 1:
            vectors = self.names.axis("v", inner.size // self.lanes)
            axes[axes.index(inner)] = vectors
            shared = vectors if shared is inner else shared

        def add(mapping: dict[Sym, Sym], into: Sequence[Array]) -> list[Statement]:
            if inner is None or vectors is None:
                return self.add(mapping, into, ZERO)
            mapping = dict(mapping)
            mapping[inner.var] = mapping.pop(vectors.var) * self.lanes
            return self.add(mapping, into, ZERO, self.lanes, inner)

        if reducers > 1 and (shared.size < 2 * reducers and len(axes) > 1):
            return self._strided(prod(a.size for a in axes), axes, reducer, reducers, add, into)
        outer = [a for a in axes if a is not shared]
        steps = -(-shared.size // reducers)
        rows = prod(a.size for a in outer)
        if not outer or not self.rounds or rows * steps <= LONGEST:
            def nested(mapping: dict[Sym, Sym], into: Sequence[Array]) -> list[Statement]:
                return loops(outer, add(mapping, into)) if reducers > 1 else add(mapping, into)

            if reducers > 1:
                return self._strided(shared.size, [shared], reducer, reducers, nested, into, rows)
            if not outer:
                return self._strided(shared.size, [shared], ZERO, 1, add, into)
            return loops(axes, add({a.var: a.var for a in axes}, into))

        def row(mapping: dict[Sym, Sym], into: Sequence[Array]) -> list[Statement]:
            return self.apart(into, lambda part: self._strided(
                shared.size, [shared], reducer, reducers, lambda m, x: add({**mapping, **m}, x), part))

        return self._strided(rows, outer, ZERO, 1, row, into)

    def _strided(self, extent: int, axes: Sequence[Axis], first: Sym, step: int, inside: Inside,
                 into: Sequence[Array], chain: int = 1) -> list[Statement]:
        """A loop over positions ``first``, ``first + step``, … of the flat space of ``axes``. Long chains of float
        additions are cut: each block of it is summed by itself, blocks of blocks likewise."""
        return self._blocks(extent, axes, ZERO, first, step, inside, into, max(2, LONGEST // chain))

    def _blocks(self, extent: int, axes: Sequence[Axis], begin: Sym, first: Sym, step: int, inside: Inside,
                into: Sequence[Array], longest: int, span: int = 0) -> list[Statement]:
        """The positions from ``begin`` on, ``span`` of them (0: all)."""
        whole = prod(a.size for a in axes)
        steps = -(-(span or extent) // step)
        if extent == step and not span:
            return inside(unflatten(first, axes), into)
        if not self.rounds or steps <= longest:
            stem = str(axes[-1].var)[0] if len(axes) == 1 else "j"
            at = self.names.var(stem, whole)
            stop = num(extent) if not span else minimum(begin + span, num(extent))
            return [For(at, begin + first, stop, step, "serial", tuple(inside(unflatten(at, axes), into)))]
        block = longest
        while block * longest < steps:
            block *= longest
        size = block * step
        count = -(-(span or extent) // size)
        b = self.names.axis("b", count)
        return [loop(b, self.apart(into, lambda part: self._blocks(
            extent, axes, begin + b.var * size, first, step, inside, part, longest, size)))]
