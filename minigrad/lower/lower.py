"""Stage: lower, the whole of it. In: a KernelSpec and a Target. Out: ``Lowered``: the kernel as a loop nest. Each
stage picks a strategy from what it computes; then the passes of ``PASSES`` run in order.
Next: ``stages.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from math import prod
from types import ModuleType
from typing import Any, NamedTuple

from minigrad import config
from minigrad.graph.lazy import LazyBuffer
from minigrad.kernel.ir import Alloc, Kernel, Scalar, Statement
from minigrad.kernel.verify import verify
from minigrad.lazily import importing
from minigrad.lower.axes import Axis, Names
from minigrad.lower.contraction import find_tiling, less_along_sum
from minigrad.lower.map import map_stage
from minigrad.lower.nest import Divided, Lowering, loop, loops, parallel, share
from minigrad.lower.outer import Block, choose_block, choose_rows, columns_and_rows
from minigrad.lower.passes.bind import bind
from minigrad.lower.passes.hoist import hoist
from minigrad.lower.passes.prefetch import prefetch
from minigrad.lower.passes.transcendental import expand_transcendental
from minigrad.lower.rows import rows_stage, runs_along_sum
from minigrad.lower.scan import scan_stage
from minigrad.lower.scatter import scatter_stage
from minigrad.lower.stages import Lowered, Row, Stages, Work, begin_stack, choose_part, stacked
from minigrad.lower.tile import contraction_stage
from minigrad.lower.walk import walk_stages
from minigrad.lower.winograd import winograd_stage
from minigrad.ops import Op
from minigrad.schedule.spec import KernelSpec, StackedSpec, Stage
from minigrad.symbolic import Sym
from minigrad.target import Target


class Pass(NamedTuple):
    """``run`` on a kernel, and on what it is ``told`` of the machine."""

    run: Callable[..., Kernel]
    requires: str
    guarantees: str
    told: Callable[[Target], Any] | None = None


PASSES: tuple[Pass, ...] = (
    Pass(expand_transcendental, requires="nothing", told=lambda target: target.native,
         guarantees="exp, log, sin … are native, or polynomials, which every machine computes to the same bits"),
    Pass(bind, requires="nothing", guarantees="each value is computed once, and has a name if it is used twice"),
    Pass(hoist, requires="bind", guarantees="what a loop does not change stands before it"),
    Pass(prefetch, requires="hoist", told=lambda target: target,
         guarantees="while a loop goes over a row again, it fetches the rows that come next"),
)
"""In order."""


def lower(spec: KernelSpec | StackedSpec, target: Target) -> Lowered:
    """The loop nest of a kernel for a target."""
    if target.workgroup:
        return finish(_gpu().lower_grid(spec, target), target)
    return finish(_Kernel(spec, target).lower() if isinstance(spec, KernelSpec) else stack(spec, target), target)


@cache
def _gpu() -> ModuleType:
    """The GPU form is loaded for the first kernel of a GPU."""
    with importing():
        from minigrad.lower.gpu import kernel

    return kernel


def stack(spec: StackedSpec, target: Target) -> Lowered:
    """Independent kernels as one parallel loop."""
    names, scalars = begin_stack(spec)
    made = [_Kernel(part, target, names, scalars).lower() for part in spec.parts]
    p = names.var("p", sum(m.iterations for m in made))
    parts = [(m.kernel.loop.var, m.iterations, m.kernel.loop.body) for m in made if m.iterations]
    loop = Divided(p, sum(m.iterations for m in made)).loop(choose_part(parts, p))
    return stacked(spec, scalars, made, loop)


def finish(made: Lowered, target: Target) -> Lowered:
    """Run the passes; with VERIFY=1 check the kernel after each that changed it."""
    check = bool(config.get("VERIFY"))
    kernel = verify(made.kernel) if check else made.kernel
    for step in PASSES:
        changed = step.run(kernel, step.told(target)) if step.told else step.run(kernel)
        if check and changed is not kernel:
            verify(changed)
        kernel = changed
    return Lowered(kernel, made.strategies, made.flops, made.work, made.iterations)


def _contraction(work: Work[bool]) -> Lowering | None:
    tiling = find_tiling(work.body, *work.axes, work.space, work.target, work.given)
    if tiling is None or (work.given is None and less_along_sum(tiling)
                          and runs_along_sum(work.body, *work.axes, work.space, work.target)):
        return None
    return contraction_stage(tiling, work.space, work.where)


STRATEGIES: tuple[Row[bool], ...] = (
    Row("scatter", lambda work: work.op == Op.SCATTER,
        lambda work: scatter_stage(work.node, work.values(), work.names, work.target, work.status)),
    Row("scan", lambda work: work.op == Op.SCAN,
        lambda work: scan_stage(*work.scan(), work.target, work.where, work.given)),
    Row("map", lambda work: not work.body.reductions,
        lambda work: map_stage(work.body, work.target, work.where, work.given)),
    Row("winograd", lambda work: work.target.winograd or work.given is not None,
        lambda work: winograd_stage(work.body, *work.axes, work.space, work.target, work.where, work.given),
        marks=("winograd",)),
    Row("contraction", lambda work: True, _contraction, marks=("multiply",)),
    Row("rows", lambda work: True,
        lambda work: rows_stage(work.body, *work.axes, work.space, work.target, work.where, work.given)),
)
"""The first that makes loops for a stage makes them; ``docs/adding_a_strategy.md`` adds one."""


class _Kernel(Stages[bool]):
    """The CPU form: a parallel loop."""

    table = STRATEGIES

    def __init__(self, spec: KernelSpec, target: Target, names: Names | None = None,
                 scalars: dict[LazyBuffer, Scalar] | None = None) -> None:
        if spec.walk is not None:  # many stages, written for whole blocks and for what is left of both axes
            target = replace(target, ahead=target.ahead // 8)
        super().__init__(spec, target, names, scalars)

    def lower(self) -> Lowered:
        """Lower the stages one after another."""
        spec = self.spec
        live = [s for s in spec.stages if s.stores[0].size]
        if not live:
            return self.finished(Divided(self.names.var("p", 1), 0).loop(()), [])
        if spec.walk is None and len(live) == 1 and not any(m.scope == "scratch" for m in spec.memory.values()):
            made = self.stage(live[0], (), True)
            head = made.head or Divided(self.names.var("p", 1), 1)
            return self.finished(head.loop(made.statements), [made])
        return self._several(live)

    def _several(self, stages: Sequence[Stage]) -> Lowered:
        """All stages at each point of the outer space, or at each block of neighbouring points."""
        outer, index = self.outer_space()
        block = self._block(stages, outer, index)
        body, made = self.at_points(stages, outer, index, block)
        points = prod(self.spec.outer) // (block.size if block else 1)
        looped = [a for a in outer if a.size != 1]
        s = share(looped, sum(m.work for m in made))
        head = parallel(self.names, s)
        if looped:
            body = [loop(s.axes[s.cut], loops(s.axes[s.cut + 1:], body), start=head.start, stop=head.stop)]
        scratch: list[Statement] = [Alloc(a) for a in self.arrays.values() if a.scope == "scratch"]
        return self.finished(head.loop([*scratch, *body]), made, points)

    def _block(self, stages: Sequence[Stage], outer: Sequence[Axis], index: Sequence[Sym]) -> Block | None:
        if not any(a.size > 1 for a in outer) or any(s.stores[0].op == Op.SCAN for s in stages):
            return None
        bodies = [self.body(s, index) for s in stages]
        if self.spec.walk is not None:
            return choose_rows(bodies, outer, self.target)
        return choose_block(bodies, outer, *columns_and_rows(self.target, prod(self.spec.outer), self.scratch))

    def run(self, stages: Sequence[Stage], outer: Sequence[Sym],
            block: Block | None) -> tuple[list[Statement], list[Lowering]]:
        """The stages one after another."""
        if self.spec.walk is not None and block is not None:
            return walk_stages(self, stages, outer, block)
        made = [self.stage(s, outer, False, block) for s in stages]
        return [x for m in made for x in m.statements], made
