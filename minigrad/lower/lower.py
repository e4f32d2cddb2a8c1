"""Stage: lower, the whole of it. In: a KernelSpec and a Target. Out: ``Lowered``: the kernel as a loop nest. Each
stage picks a strategy from what it computes; then the passes of ``PASSES`` run in order. Next: ``access.py``, then
``map.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod

from minigrad import config
from minigrad.dtype import accumulator, bool_, int64
from minigrad.graph.lazy import LazyBuffer, contiguous_strides
from minigrad.graph.movement import Coordinate
from minigrad.kernel.ir import Alloc, Array, For, If, Index, Kernel, LetIndex, Scalar, Statement, Store
from minigrad.kernel.verify import verify
from minigrad.kernel.walk import statements
from minigrad.lower.access import Access, Names, Place
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, Output
from minigrad.lower.contraction import plan_contraction
from minigrad.lower.map import Lowering, map_stage
from minigrad.lower.nest import Parallel, loop, loops, parallel, share
from minigrad.lower.outer import Block, choose_block
from minigrad.lower.passes.bind import bind
from minigrad.lower.passes.hoist import hoist
from minigrad.lower.passes.transcendental import expand_transcendental
from minigrad.lower.rows import rows_stage, simplify_axes
from minigrad.lower.scan import Running, scan_stage
from minigrad.lower.scatter import assign_body, scatter_stage
from minigrad.lower.tile import contraction_stage
from minigrad.ops import Op
from minigrad.schedule.spec import KernelSpec, Memory, StackedSpec, Stage
from minigrad.symbolic import Sym, num
from minigrad.target import Target

PASSES: tuple[Callable[[Kernel], Kernel], ...] = (expand_transcendental, bind, hoist)
"""In order. ``expand_transcendental``: transcendental ops become polynomials. ``bind``: shared values get names.
``hoist``: what a loop does not change moves out of it."""


@dataclass(frozen=True)
class Lowered:
    """A kernel and what is known of it: a line on each stage's strategy, estimated scalar operations of all iterations
    (``flops``: those of the arithmetic alone), and the iterations of its parallel loop."""

    kernel: Kernel
    strategies: tuple[str, ...]
    flops: int
    work: int
    iterations: int


def lower(spec: KernelSpec | StackedSpec, target: Target) -> Lowered:
    """The loop nest of a kernel for a target."""
    return finish(_Kernel(spec, target).lower() if isinstance(spec, KernelSpec) else stack(spec, target))


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
    body = _choose([m for m in made if m.iterations], p, 0)
    kernel = Kernel(spec.name, tuple([a for m in made for a in m.kernel.arrays]), tuple(scalars.values()),
                    For(p, num(0), num(extent), 1, "parallel", body))
    notes = tuple([n for m in made for n in m.strategies])
    return Lowered(kernel, notes, sum(m.flops for m in made), sum(m.work for m in made), extent)


def finish(made: Lowered) -> Lowered:
    """Run the passes; with VERIFY=1 check the kernel after each."""
    check = bool(config.get("VERIFY"))
    kernel = verify(made.kernel) if check else made.kernel
    for run in PASSES:
        kernel = run(kernel)
        if check:
            verify(kernel)
    return Lowered(kernel, made.strategies, made.flops, made.work, made.iterations)


def _choose(made: Sequence[Lowered], p: Sym, begin: int) -> tuple[Statement, ...]:
    """The part whose iteration ``p`` is, the first part beginning at ``begin``: halves of halves."""
    if not made:
        return ()
    if len(made) == 1:
        loop = made[0].kernel.loop
        return (LetIndex(loop.var, Index(p - begin, int64)), *loop.body)
    half = len(made) // 2
    middle = begin + sum(m.iterations for m in made[:half])
    return (If(Index(p < middle, bool_), _choose(made[:half], p, begin), _choose(made[half:], p, middle)),)


class _Kernel:
    def __init__(self, spec: KernelSpec, target: Target, names: Names | None = None,
                 scalars: dict[LazyBuffer, Scalar] | None = None) -> None:
        self.spec, self.target = spec, target
        self.scalars = {node: Scalar(f"s{i}", accumulator(node.dtype), i) for i, node in enumerate(spec.scalars)}
        if scalars is not None:
            self.scalars = scalars
        self.stacked = names is not None
        self.names = names or Names([spec.name, *(m.name for m in spec.memory.values()),
                                     *(s.name for s in self.scalars.values())])
        stored = {spec.memory[n].name for stage in spec.stages for n in stage.stores if n.size}
        self.arrays: dict[str, Array] = {}
        for memory in spec.memory.values():
            if memory.name not in self.arrays:
                self.arrays[memory.name] = self._array(memory, memory.name in stored)
        self.status: Array | None = None
        if spec.status is not None:
            if spec.status.name not in self.arrays:
                self.arrays[spec.status.name] = self._array(spec.status, bool(spec.checks))
            self.status = self.arrays[spec.status.name]
        self.places = {node: _place(m, self.arrays[m.name]) for node, m in spec.memory.items()}

    def _array(self, memory: Memory, written: bool) -> Array:
        name = self.names.fresh(memory.name + "_") if self.stacked else memory.name
        size = 1
        if memory.scope == "scratch":
            for a in memory.axes:
                size *= memory.shape[a]
            return Array(name, memory.dtype, size, "scratch", 1, True)
        strides = contiguous_strides(memory.shape) if memory.strides is None else memory.strides
        if 0 in memory.shape:
            size = 0
        else:
            for n, stride in zip(memory.shape, strides, strict=True):
                size += (n - 1) * stride
        return Array(name, memory.dtype, size, "global", 1, written)

    def lower(self) -> Lowered:
        """Lower the stages one after another."""
        spec = self.spec
        live = [s for s in spec.stages if s.stores[0].size]
        if not live:
            return self._kernel(For(self.names.var("p", 1), num(0), num(0), 1, "parallel", ()), [], 0)
        if len(live) == 1 and not any(m.scope == "scratch" for m in spec.memory.values()):
            made = self.stage(live[0], (), divide=True)
            head = made.head or Parallel(self.names.var("p", 1), 1, [], num(0), num(1), None)
            return self._kernel(head.loop(made.statements), [made], made.work)
        return self._several(live)

    def _several(self, stages: Sequence[Stage]) -> Lowered:
        """All stages at each point of the outer space, or at each block of neighbouring points."""
        outer = [Axis(self.names.var("o", n), n) for n in self.spec.outer]
        index = [num(0) if a.size == 1 else a.var for a in outer]
        block = self._block(stages, outer, index)
        if block is None:
            self._scratch(None, num(0))
            made = [self.stage(s, index, divide=False) for s in stages]
            body: list[Statement] = [x for m in made for x in m.statements]
            points = prod(a.size for a in outer)
        else:
            body, made, outer[block.axis] = self._blocked(stages, outer, index, block)
            points = prod(self.spec.outer) // block.size
        looped = [a for a in outer if a.size != 1]
        work = sum(m.work for m in made)
        s = share(looped, work)
        head = parallel(self.names, s)
        if looped:
            body = [loop(s.axes[s.cut], loops(s.axes[s.cut + 1:], body), start=head.start, stop=head.stop)]
        scratch: list[Statement] = [Alloc(a) for a in self.arrays.values() if a.scope == "scratch"]
        return self._kernel(head.loop([*scratch, *body]), made, work, points)

    def _block(self, stages: Sequence[Stage], outer: Sequence[Axis], index: Sequence[Sym]) -> Block | None:
        if not any(a.size > 1 for a in outer) or any(s.stores[0].op == Op.SCAN for s in stages):
            return None
        bodies = [self.body(s, index) for s in stages]
        scratch = sum(a.size * a.dtype.size for a in self.arrays.values() if a.scope == "scratch")
        return choose_block(bodies, [a.var for a in outer], [a.size for a in outer], scratch, self.target)

    def _blocked(self, stages: Sequence[Stage], outer: Sequence[Axis], index: list[Sym],
                 block: Block) -> tuple[list[Statement], list[Lowering], Axis]:
        """The stages at a block of points, twice where the last block is smaller; and the axis that counts blocks."""
        full, rest = divmod(outer[block.axis].size, block.size)
        axis = Axis(self.names.var("o", full + (rest > 0)), full + (rest > 0))
        count = axis.var if axis.size > 1 else num(0)
        head: list[Statement] = []
        if rest:
            whole = self.names.var("o", full)
            head, count = [LetIndex(whole, Index(count, int64))], whole
        versions = []
        for base, size in ((count * block.size, block.size), (num(full * block.size), rest)):
            if size:
                self._scratch(block, base)
                index[block.axis] = base
                made = [self.stage(s, index, False, Block(block.axis, size, block.innermost)) for s in stages]
                versions.append((made, [x for m in made for x in m.statements]))
        made, body = versions[0]
        if rest:
            body = [If(Index(axis.var < full, bool_), (*head, *body), tuple(versions[1][1]))]
        made[0].note += f" (all: {block.size} points of outer axis {block.axis} at once)"
        return body, made, axis

    def _scratch(self, block: Block | None, base: Sym) -> None:
        """Find room for scratch values: of one point, or of a block of points that begins at ``base``."""
        for stage in self.spec.stages:
            for node in stage.stores:
                memory = self.spec.memory[node]
                if memory.scope != "scratch":
                    continue
                place, array = _place(memory, self.arrays[memory.name]), self.arrays[memory.name]
                if block is not None:
                    axis, own = stage.outer[block.axis], prod(memory.shape[a] for a in memory.axes)
                    if array.size == own:
                        array = self.arrays[memory.name] = replace(array, size=own * block.size)
                    strides = [n * (block.size if block.innermost else 1) for n in place.strides]
                    strides[axis] = 1 if block.innermost else own
                    place = Place(array, tuple(strides), base * strides[axis])
                self.places[node] = place

    def stage(self, stage: Stage, outer: Sequence[Sym], divide: bool, block: Block | None = None) -> Lowering:
        """One stage by the strategy that fits it."""
        node = stage.stores[0]
        if node.op in (Op.SCATTER, Op.ASSIGN):
            access = Access(self.names, self.places, self.scalars, self.spec.checks, frozenset(stage.stores))
            if node.op == Op.SCATTER:
                return scatter_stage(node, access, self.names, self.target, self.status)
            body = assign_body(node, access, self.names)
            return map_stage(body, self.target, divide)
        if node.op == Op.SCAN:
            body, running = self.scan_body(stage, outer)
            return scan_stage(body, running, self.target, divide)
        body = self.body(stage, outer, block)
        if body.reductions:
            kept, domains = simplify_axes(body)
            plan = plan_contraction(body, kept, domains, self.target)
            if plan is not None:
                return contraction_stage(plan, divide)
            return rows_stage(body, kept, domains, self.target, divide)
        return map_stage(body, self.target, divide)

    def body(self, stage: Stage, outer: Sequence[Sym], block: Block | None = None) -> Body:
        """What the stage computes at one point, over variables for the axes of its space that are not held."""
        access = Access(self.names, self.places, self.scalars, self.spec.checks, frozenset(stage.stores))
        at, axes = self.space(stage, outer, block)
        outputs = tuple([Output(self.places[n].array, self.places[n].at(at), access.value(n, at))
                         for n in stage.stores])
        gathers = tuple([g for found in access.gathers.values() for g in found])
        return Body(self.names, axes, outputs, tuple(access.reductions.values()), gathers, self.status)

    def scan_body(self, stage: Stage, outer: Sequence[Sym]) -> tuple[Body, Running]:
        """The body of a stage that stores a SCAN: its value is that of the SCAN's source."""
        node = stage.stores[0]
        op, axis = node.arg
        access = Access(self.names, self.places, self.scalars, self.spec.checks, frozenset(stage.stores))
        at, axes = self.space(stage, outer)
        along = Axis(at[axis], node.shape[axis]) if node.shape[axis] != 1 else None
        place = self.places[node]
        outputs = (Output(place.array, place.at(at), access.value(node.srcs[0], at)),)
        gathers = tuple([g for found in access.gathers.values() for g in found])
        body = Body(self.names, axes, outputs, tuple(access.reductions.values()), gathers, self.status)
        return body, Running(op, along)

    def space(self, stage: Stage, outer: Sequence[Sym],
              block: Block | None = None) -> tuple[Coordinate, tuple[tuple[Sym, int], ...]]:
        """A coordinate of the stage's space, held where the outer space holds it, and its free variables with sizes. A
        block of outer points is an axis like any other."""
        held = dict(zip(stage.outer, outer, strict=True)) if outer else {}
        index: list[Sym] = []
        axes: list[tuple[Sym, int]] = []
        for axis, size in enumerate(stage.space):
            if axis in held:
                index.append(held[axis])
                if block is not None and stage.outer[block.axis] == axis and block.size > 1:
                    axes.append((self.names.var("c", block.size), block.size))
                    index[-1] = held[axis] + axes[-1][0]
            elif size == 1:
                index.append(num(0))
            else:
                index.append(self.names.var("c", size))
                axes.append((index[-1], size))
        return tuple(index), tuple(axes)

    def _kernel(self, loop: For, made: Sequence[Lowering], work: int, points: int = 1) -> Lowered:
        arrays = tuple([a for a in self.arrays.values() if a.scope == "global"])
        stored = (x.array for x in statements([loop]) if isinstance(x, Store))
        if self.status is not None and not any(a is self.status for a in stored):
            # what is gathered is not needed after all, or every index is known to be in range
            arrays = tuple([replace(a, written=False) if a is self.status else a for a in arrays])
        kernel = Kernel(self.spec.name, arrays, tuple(self.scalars.values()), loop)
        flops = sum(m.work if m.flops is None else m.flops for m in made)
        return Lowered(kernel, tuple([m.note for m in made]), flops * points, work * points, int(loop.stop))


def _place(memory: Memory, array: Array) -> Place:
    if memory.scope == "scratch":
        strides = [0] * len(memory.shape)
        held = contiguous_strides([memory.shape[a] for a in memory.axes]) if memory.strides is None else memory.strides
        for a, stride in zip(memory.axes, held, strict=True):
            strides[a] = stride
        return Place(array, tuple(strides))
    return Place(array, contiguous_strides(memory.shape) if memory.strides is None else memory.strides)

