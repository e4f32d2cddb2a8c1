"""Stage: lower, GPU form, whole kernels. In: a KernelSpec or StackedSpec and a Target with workgroups. Out: the grid: a
workgroup for each part of a space that a strategy divided, or for each point (or block of points) of an outer space,
whose stages then run one after another with barriers between and hand on in shared memory.
Next: ``threads.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from minigrad.errors import ScheduleError
from minigrad.graph.lazy import LazyBuffer
from minigrad.kernel.ir import Alloc, Array, Barrier, For, Scalar, Statement
from minigrad.lower.axes import Axis, Names
from minigrad.lower.gpu.contraction import PRODUCTS, find_tiling, in_groups
from minigrad.lower.gpu.map import map_stage
from minigrad.lower.gpu.matrix import MatrixTiling, find_matrix_tiling
from minigrad.lower.gpu.matrix_tile import matrix_stage
from minigrad.lower.gpu.rows import SECTOR, rows_stage
from minigrad.lower.gpu.scan import scan_stage
from minigrad.lower.gpu.scatter import scatter_stage
from minigrad.lower.gpu.threads import THREADS, ZERO, SharedMemory, Threads, power_of_two
from minigrad.lower.gpu.tile import contraction_stage
from minigrad.lower.nest import Divided, Lowering, bind_axes, when
from minigrad.lower.outer import Block, choose_block
from minigrad.lower.stages import Lowered, Row, Stages, Work, begin_stack, choose_part, stacked
from minigrad.ops import Op
from minigrad.schedule.group import TILE_BYTES, TILE_ROWS
from minigrad.schedule.spec import KernelSpec, StackedSpec, Stage
from minigrad.symbolic import Sym, eq, num
from minigrad.target import Target

PER_THREAD = 4
"""Elements that a thread is worth, at least."""

SHARES = 16
"""Bytes a thread that reductions need to join their shares."""


def lower_grid(spec: KernelSpec | StackedSpec, target: Target) -> Lowered:
    """The grid of a kernel, before the passes. Of a StackedSpec: one grid through the workgroups of the first part,
    then of the second, and so on, all of one size."""
    if isinstance(spec, KernelSpec):
        kernel = _Kernel(spec, target)
        part = kernel.lower()
        body = [*kernel.memory.allocs(), _block(kernel.t, kernel.count, part.statements)]
        return kernel.finished(part.groups.loop(body, "grid"), part.made, part.points)
    names, scalars = begin_stack(spec)
    count = max(_Kernel(p, target).count for p in spec.parts)
    memory = SharedMemory(target.shared, at_launch=target.shared_at_launch)
    threads = Threads(names.var("t", count), count, count, target, names, True, memory)
    kernels = [_Kernel(p, target, threads, scalars) for p in spec.parts]
    made: dict[_Kernel, _Part] = {}
    for kernel in sorted(kernels, key=lambda k: -k.scratch):  # the largest arrays first: smaller ones fit in theirs
        threads.memory.release()
        made[kernel] = kernel.lower()
    parts = [made[k] for k in kernels]
    extent = sum(p.groups.extent for p in parts)
    groups = Divided(names.var("p", extent), extent)
    chosen = choose_part([(p.groups.var, p.groups.extent, (*p.groups.head, *p.statements)) for p in parts
                          if p.groups.extent], groups.var)
    loop = groups.loop([*threads.memory.allocs(), _block(threads.t, count, chosen)], "grid")
    finished = [k.finished(loop, p.made, p.points) for k, p in zip(kernels, parts, strict=True)]
    return stacked(spec, scalars, finished, loop)


def _block(t: Sym, count: int, body: Sequence[Statement]) -> For:
    return For(t, ZERO, num(count), 1, "block", tuple(body))


def _ends_at_barrier(statements: Sequence[Statement]) -> bool:
    """Whether the last thing that all threads do is to meet."""
    last = statements[-1] if statements else None
    return isinstance(last, Barrier) or (isinstance(last, For) and isinstance(last.body[-1], Barrier))


@dataclass(eq=False)
class _Part:
    """A kernel's workgroups and what one thread of each does: its stages at ``points`` of the outer space."""

    groups: Divided
    statements: Sequence[Statement]
    made: Sequence[Lowering]
    points: int


def _product(work: Work[Threads]) -> Lowering | None:
    tiling = find_tiling(work.body, *work.axes, work.where, work.space, work.given)
    if tiling is None:
        return None
    tiling = find_matrix_tiling(tiling, work.where, work.space, work.given) or tiling
    tiling = in_groups(tiling, work.where, work.space, work.given)
    if isinstance(tiling, MatrixTiling):
        return matrix_stage(tiling, work.where, work.space)
    return contraction_stage(tiling, work.where, work.space)


STRATEGIES: tuple[Row[Threads], ...] = (
    Row("scatter", lambda work: work.op == Op.SCATTER,
        lambda work: scatter_stage(work.node, work.values(), work.status, work.where)),
    Row("scan", lambda work: work.op == Op.SCAN, lambda work: scan_stage(*work.scan(), work.where, work.given)),
    Row("map", lambda work: not work.body.reductions, lambda work: map_stage(work.body, work.where, work.given)),
    Row("contraction", lambda work: True, _product, marks=PRODUCTS),
    Row("rows", lambda work: True,
        lambda work: rows_stage(work.body, *work.axes, work.where, work.space, work.given)),
)
"""The first that makes loops for a stage makes them."""


class _Kernel(Stages[Threads]):
    """One KernelSpec, as a grid by itself or, with ``threads`` given, as a part of one."""

    table = STRATEGIES

    def __init__(self, spec: KernelSpec, target: Target, threads: Threads | None = None,
                 scalars: dict[LazyBuffer, Scalar] | None = None) -> None:
        super().__init__(spec, target, threads.names if threads else None, scalars)
        self.points = prod(spec.outer)
        self.elements = max((prod(m.shape) for m in spec.memory.values()), default=1) // max(1, self.points)
        if threads is None:
            count = self._count()
            threads = Threads(self.names.var("t", count), count, count, target, self.names, True,
                              SharedMemory(target.shared, at_launch=target.shared_at_launch))
        self.threads, self.memory = threads, threads.memory
        self.t, self.count = threads.t, threads.count
        self.kept: list[Array] = []

    def _several_points(self) -> int:
        """Points of the outer space that together are worth a workgroup's threads: a power of two; one, if it is worth
        a few subgroups by itself."""
        if self.elements >= 2 * self.target.subgroup * PER_THREAD:
            return 1
        most = min(self.target.workgroup * PER_THREAD // max(1, self.elements), self.points // 64)
        return power_of_two(most + 1) // 2 if most > 1 else 1

    def _count(self) -> int:
        """Threads of a workgroup: those that steps say, or a power of two, fewer where there is little to do."""
        said = {count for steps in self.given.values() if (count := steps.number("block"))}
        if said:
            if len(said) > 1 or not power_of_two(max(said)) == max(said) <= self.target.workgroup:
                raise ScheduleError(f"block({max(said)}): all stages of a kernel run on the same threads, a power of "
                                    f"two up to {self.target.workgroup}")
            return max(said)
        wanted = power_of_two(self.elements * self._several_points() // PER_THREAD)
        return max(min(wanted, self.target.workgroup), min(self.target.subgroup, self.target.workgroup))

    def lower(self) -> _Part:
        """The stages, by whatever divides them."""
        live = [s for s in self.spec.stages if s.stores[0].size]
        if not live:
            return _Part(Divided(self.names.var("p", 1), 0), (), [], 1)
        if len(live) > 1 or self.scratch:
            return self._several(live)
        made = self.stage(live[0], (), self._stage_threads(True))
        return _Part(made.head or Divided(self.names.var("p", 1), 1), made.statements, [made], 1)

    def _stage_threads(self, divide: bool) -> Threads:
        return replace(self.threads, names=self.names, divide=divide)

    # --- several stages

    def _several(self, stages: Sequence[Stage]) -> _Part:
        """All stages at each point of the outer space, or at each block of neighbouring points."""
        outer, index = self.outer_space()
        block = self._block(stages, outer, index)
        only: Sym | None = None
        if not self._take_scratch(block.size if block else 1):
            # no room: in the last resort one thread does it all, in memory of its own
            only, block = eq(self.threads.t, 0), None
            self.threads = replace(self.threads, t=ZERO, count=1)
        body, made = self.at_points(stages, outer, index, block)
        if only is not None:
            allocs = [Alloc(a) for a in self.arrays.values() if a.scope == "scratch"]
            body = when(only, [*allocs, *body])
        looped = [a for a in outer if a.size > 1]
        count = prod(a.size for a in looped)
        if len(looped) == 1:
            groups = Divided(looped[0].var, count)
        else:
            groups = Divided(self.names.var("p", count), count)
            groups.head += bind_axes(groups.var, looped)
        return _Part(groups, body, made, count)

    def _block(self, stages: Sequence[Stage], outer: Sequence[Axis], index: Sequence[Sym]) -> Block | None:
        """The points that a workgroup takes at once: neighbours that lie side by side in memory, rows for the tiles of
        a contraction, or as many as give all threads something to do."""
        if self.points == 1 or any(s.stores[0].op == Op.SCAN for s in stages):
            return None
        names, self.names = self.names, Names()
        bodies = [self.body(s, index) for s in stages]
        self.names = names
        room, fitting = (max(1, (self.memory.room - held) // max(1, self.scratch))
                         for held in (SHARES * self.threads.count, TILE_BYTES))
        several = self._several_points()
        return choose_block(bodies, outer, min(room, max(self._columns(), several)), 8, min(TILE_ROWS, fitting),
                            min(several, room))

    def _columns(self) -> int:
        """Columns that a workgroup takes side by side: one for each thread of a subgroup, fewer where that would make
        too few workgroups, but no fewer than memory gives at a time."""
        widest = max((m.dtype.size for m in self.spec.memory.values()), default=4)
        count = self.target.subgroup
        while count * widest > SECTOR and self.points // count * self.count < THREADS:
            count //= 2
        return count

    def _take_scratch(self, points: int) -> bool:
        """Shared arrays for what the stages hand on; False if there is no room for them."""
        taken: dict[str, Array] = {}
        for name, array in self.arrays.items():
            if array.scope == "scratch":
                found = self.memory.take(array.name, array.dtype, array.size * points)
                if found is None:
                    return False
                taken[name] = found
        self.arrays.update(taken)
        self.kept = list(taken.values())
        return True

    def run(self, stages: Sequence[Stage], outer: Sequence[Sym],
            block: Block | None) -> tuple[list[Statement], list[Lowering]]:
        """The stages one after another, with barriers between."""
        threads = self._stage_threads(False)
        statements: list[Statement] = []
        made: list[Lowering] = []
        for number, stage in enumerate(stages):
            if number and not _ends_at_barrier(statements):
                statements += threads.barrier()
            self.memory.release(self.kept)
            made.append(self.stage(stage, outer, threads, block))
            statements += made[-1].statements
        return statements, made
