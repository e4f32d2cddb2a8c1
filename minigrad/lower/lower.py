"""Stage: lower, the whole of it. In: a KernelSpec and a Target. Out: ``Lowered``: the kernel as a loop nest. Each
stage picks a strategy from what it computes; then the passes of ``PASSES`` run in order.
Next: ``stages.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import prod
from types import ModuleType
from typing import NamedTuple

from minigrad import config
from minigrad.dtype import accumulator
from minigrad.kernel.ir import Alloc, For, Kernel, Scalar, Statement
from minigrad.kernel.verify import verify
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body
from minigrad.lower.contraction import find_tiling
from minigrad.lower.map import Lowering, map_stage
from minigrad.lower.nest import Parallel, loop, loops, parallel, share
from minigrad.lower.outer import Block, choose_block, choose_rows
from minigrad.lower.passes.bind import bind
from minigrad.lower.passes.hoist import hoist
from minigrad.lower.passes.transcendental import expand_powers, expand_transcendental
from minigrad.lower.reductions import simplify_axes
from minigrad.lower.rows import rows_stage
from minigrad.lower.scan import scan_stage
from minigrad.lower.scatter import assign_body, scatter_stage
from minigrad.lower.stages import Lowered, choose_part
from minigrad.lower.steps import Space, Steps
from minigrad.lower.tile import contraction_stage
from minigrad.lower.values import Names
from minigrad.lower.walk import Walking, walk_stages
from minigrad.ops import Op
from minigrad.schedule.spec import KernelSpec, StackedSpec, Stage
from minigrad.symbolic import Sym, num
from minigrad.target import Target


class Pass(NamedTuple):
    """``run`` on the kernels of targets for which ``when`` holds."""

    run: Callable[[Kernel], Kernel]
    when: Callable[[Target], bool]
    requires: str
    guarantees: str


PASSES: tuple[Pass, ...] = (
    Pass(expand_transcendental, lambda target: not target.native_math, requires="nothing",
         guarantees="exp, log, sin … are polynomials, which every machine computes to the same bits"),
    Pass(expand_powers, lambda target: target.native_math, requires="nothing",
         guarantees="no pow of integers is left, nor one that is a product, quotient or root"),
    Pass(bind, lambda target: True, requires="nothing", guarantees="each value is computed once, and has a name if it "
                                                                   "is used twice"),
    Pass(hoist, lambda target: True, requires="bind", guarantees="what a loop does not change stands before it"),
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
    from minigrad.lower.gpu import kernel

    return kernel


def stack(spec: StackedSpec, target: Target) -> Lowered:
    """Independent kernels as one: the parallel loop runs through the iterations of the first part, then of the second,
    and so on. Its arrays are those of the parts, one part after the other; its scalars those of the parts, each
    once."""
    nodes = dict.fromkeys(s for part in spec.parts for s in part.scalars)
    scalars = {node: Scalar(f"s{i}", accumulator(node.dtype), i) for i, node in enumerate(nodes)}
    names = Names([spec.name, *(s.name for s in scalars.values())])
    made = [_Kernel(part, target, names, scalars).lower() for part in spec.parts]
    extent = sum(m.iterations for m in made)
    p = names.var("p", extent)
    parts = [(m.kernel.loop.var, m.iterations, m.kernel.loop.body) for m in made if m.iterations]
    body = choose_part(parts, p)
    kernel = Kernel(spec.name, tuple([a for m in made for a in m.kernel.arrays]), tuple(scalars.values()),
                    For(p, num(0), num(extent), 1, "parallel", body))
    notes = tuple([n for m in made for n in m.strategies])
    return Lowered(kernel, notes, sum(m.flops for m in made), sum(m.work for m in made), extent)


def finish(made: Lowered, target: Target) -> Lowered:
    """Run the passes; with VERIFY=1 check the kernel after each that changed it."""
    check = bool(config.get("VERIFY"))
    kernel = verify(made.kernel) if check else made.kernel
    for step in PASSES:
        if step.when(target):
            changed = step.run(kernel)
            if check and changed is not kernel:
                verify(changed)
            kernel = changed
    return Lowered(kernel, made.strategies, made.flops, made.work, made.iterations)


class _Kernel(Walking):
    """The CPU form: a parallel loop."""

    def lower(self) -> Lowered:
        """Lower the stages one after another."""
        spec = self.spec
        live = [s for s in spec.stages if s.stores[0].size]
        if not live:
            return self._made(For(self.names.var("p", 1), num(0), num(0), 1, "parallel", ()), [], 0)
        if spec.walk is None and len(live) == 1 and not any(m.scope == "scratch" for m in spec.memory.values()):
            made = self.stage(live[0], (), divide=True)
            head = made.head or Parallel(self.names.var("p", 1), 1, [], num(0), num(1), None)
            return self._made(head.loop(made.statements), [made], made.work)
        return self._several(live)

    def _several(self, stages: Sequence[Stage]) -> Lowered:
        """All stages at each point of the outer space, or at each block of neighbouring points."""
        outer = [Axis(self.names.var("o", n), n) for n in self.spec.outer]
        index = [num(0) if a.size == 1 else a.var for a in outer]
        block = self._block(stages, outer, index)
        if block is None:
            self.place_scratch(None, num(0))
            body, made = self.run(stages, index, None)
            points = prod(a.size for a in outer)
        else:
            body, made, outer[block.axis] = self.blocked(stages, outer, index, block)
            points = prod(self.spec.outer) // block.size
        looped = [a for a in outer if a.size != 1]
        work = sum(m.work for m in made)
        s = share(looped, work)
        head = parallel(self.names, s)
        if looped:
            body = [loop(s.axes[s.cut], loops(s.axes[s.cut + 1:], body), start=head.start, stop=head.stop)]
        scratch: list[Statement] = [Alloc(a) for a in self.arrays.values() if a.scope == "scratch"]
        return self._made(head.loop([*scratch, *body]), made, work, points)

    def _block(self, stages: Sequence[Stage], outer: Sequence[Axis], index: Sequence[Sym]) -> Block | None:
        if not any(a.size > 1 for a in outer) or any(s.stores[0].op == Op.SCAN for s in stages):
            return None
        bodies = [self.body(s, index) for s in stages]
        if self.spec.walk is not None:
            return choose_rows(bodies, [a.var for a in outer], [a.size for a in outer], self.target)
        scratch = sum(a.size * a.dtype.size for a in self.arrays.values() if a.scope == "scratch")
        return choose_block(bodies, [a.var for a in outer], [a.size for a in outer], scratch, self.target)

    def run(self, stages: Sequence[Stage], outer: Sequence[Sym],
            block: Block | None) -> tuple[list[Statement], list[Lowering]]:
        """The stages one after another."""
        if self.spec.walk is not None and block is not None:
            return walk_stages(self, stages, outer, block)
        made = [self.stage(s, outer, False, block) for s in stages]
        return [x for m in made for x in m.statements], made

    def stage(self, stage: Stage, outer: Sequence[Sym], divide: bool, block: Block | None = None) -> Lowering:
        """One stage by the strategy that fits it."""
        node, given = stage.stores[0], self.given.get(id(stage))
        if node.op in (Op.SCATTER, Op.ASSIGN):
            values = self.values(stage)
            if node.op == Op.SCATTER:
                return scatter_stage(node, values, self.names, self.target, self.status)
            body = assign_body(node, values, self.names, self.status)
            return map_stage(body, self.target, divide, given)
        if node.op == Op.SCAN:
            body, running = self.scan_body(stage, outer)
            return scan_stage(body, running, self.target, divide, given)
        return self.plain(self.body(stage, outer, block), divide, given)

    def plain(self, body: Body, divide: bool, given: Steps | None) -> Lowering:
        """One body by the strategy that fits what it reduces."""
        if body.reductions:
            kept, domains = simplify_axes(body)
            space = Space(kept, [a for d in domains for a in d.axes])
            if given is None or given.named("multiply"):
                tiling = find_tiling(body, kept, domains, space, self.target, given)
                if tiling is not None:
                    return contraction_stage(tiling, space, divide)
            return rows_stage(body, kept, domains, self.target, divide, given)
        return map_stage(body, self.target, divide, given)

    def _made(self, loop: For, made: Sequence[Lowering], work: int, points: int = 1) -> Lowered:
        flops = sum(m.work if m.flops is None else m.flops for m in made)
        return self.finished(loop, [m.note for m in made], flops * points, work * points)
