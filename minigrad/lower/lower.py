"""Stage: lower, the whole of it. In: a KernelSpec and a Target. Out: ``Lowered``: the kernel as a loop nest. Each stage picks
a strategy from what it computes; then the passes of ``PASSES`` run in order. Next: ``access.py``, then ``map.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minigrad import config
from minigrad.dtype import accumulator, bool_, int64
from minigrad.graph.lazy import LazyBuffer, contiguous_strides
from minigrad.graph.movement import Coordinate
from minigrad.kernel.ir import Alloc, Array, For, If, Index, Kernel, LetIndex, Scalar, Statement
from minigrad.kernel.verify import verify
from minigrad.lower.access import Access, Names, Place
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, Output
from minigrad.lower.map import Lowering, map_stage
from minigrad.lower.nest import Parallel, loop, loops, parallel, share
from minigrad.lower.passes.bind import bind
from minigrad.lower.rows import rows_stage
from minigrad.lower.scan import Running, scan_stage
from minigrad.lower.scatter import assign_body, scatter_stage
from minigrad.ops import Op
from minigrad.schedule.spec import KernelSpec, Memory, Stage, StackedSpec
from minigrad.symbolic import Sym, num
from minigrad.target import Target

try:
    from minigrad.lower.passes.transcendental import expand
except ImportError:
    def expand(kernel: Kernel) -> Kernel:
        """Nothing to expand with."""
        return kernel

PASSES: tuple[Callable[[Kernel], Kernel], ...] = (expand, bind)
"""In order. ``expand``: transcendental ops become polynomials. ``bind``: shared values get names. ``hoist``: what a loop does
not change moves out of it."""


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
    """Independent kernels as one: the parallel loop runs through the iterations of the first part, then of the second, and
    so on. Its arrays are those of the parts, one part after the other; its scalars those of the parts, each once."""
    scalars = tuple(dict.fromkeys(s for part in spec.parts for s in part.scalars))
    names = Names([spec.name, *(f"s{i}" for i in range(len(scalars)))])
    kernels = [_Kernel(part, target, names, scalars) for part in spec.parts]
    made = [k.lower() for k in kernels]
    extent = sum(m.iterations for m in made)
    p = names.var("p", extent)
    body: tuple[Statement, ...] = ()
    begin = extent
    for m in reversed(made):
        begin -= m.iterations
        if not m.iterations:
            continue
        own = m.kernel.loop.var
        inside = (LetIndex(own, Index(p - begin, int64)), *m.kernel.loop.body)
        body = (If(Index(p < begin + m.iterations, bool_), inside, body),) if body else inside
    kernel = Kernel(spec.name, tuple([a for m in made for a in m.kernel.arrays]), tuple(kernels[0].scalars.values()),
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


class _Kernel:
    def __init__(self, spec: KernelSpec, target: Target, names: Names | None = None,
                 scalars: Sequence[LazyBuffer] = ()) -> None:
        self.spec, self.target = spec, target
        scalars = scalars if names else spec.scalars
        taken = [spec.name, *(m.name for m in spec.memory.values()), *(f"s{i}" for i in range(len(scalars)))]
        self.stacked = names is not None
        self.names = names or Names(taken)
        self.scalars = {node: Scalar(f"s{i}", accumulator(node.dtype), i) for i, node in enumerate(scalars)}
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
            return self._kernel(head.loop(made.statements), [made.note], made.work)
        return self._several(live)

    def _several(self, stages: Sequence[Stage]) -> Lowered:
        """All stages at each point of the outer space."""
        outer = [Axis(self.names.var("o", n), n) for n in self.spec.outer]
        index = tuple(num(0) if a.size == 1 else a.var for a in outer)
        made = [self.stage(s, index, divide=False) for s in stages]
        looped = [a for a in outer if a.size != 1]
        work = sum(m.work for m in made)
        s = share(looped, work)
        head = parallel(self.names, s)
        body: list[Statement] = [x for m in made for x in m.statements]
        if looped:
            body = [loop(s.axes[s.cut], loops(s.axes[s.cut + 1:], body), start=head.start, stop=head.stop)]
        scratch: list[Statement] = [Alloc(a) for a in self.arrays.values() if a.scope == "scratch"]
        for a in looped:
            work *= a.size
        return self._kernel(head.loop([*scratch, *body]), [m.note for m in made], work)

    def stage(self, stage: Stage, outer: tuple[Sym, ...], divide: bool) -> Lowering:
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
        body = self.body(stage, outer)
        if body.reductions:
            return rows_stage(body, self.target, divide)
        return map_stage(body, self.target, divide)

    def body(self, stage: Stage, outer: tuple[Sym, ...]) -> Body:
        """What the stage computes at one point, over variables for the axes of its space that are not held."""
        access = Access(self.names, self.places, self.scalars, self.spec.checks, frozenset(stage.stores))
        at, axes = self.space(stage, outer)
        outputs = tuple([Output(self.places[n].array, self.places[n].at(at), access.value(n, at))
                         for n in stage.stores])
        gathers = tuple([g for found in access.gathers.values() for g in found])
        return Body(self.names, axes, outputs, tuple(access.reductions.values()), gathers, self.status)

    def scan_body(self, stage: Stage, outer: tuple[Sym, ...]) -> tuple[Body, Running]:
        """The body of a stage that stores a SCAN: its value is that of the SCAN's source."""
        node = stage.stores[0]
        op, axis = node.arg
        access = Access(self.names, self.places, self.scalars, self.spec.checks, frozenset(stage.stores))
        at, axes = self.space(stage, outer)
        along = Axis(at[axis], node.shape[axis]) if node.shape[axis] != 1 else None
        place = self.places[node]
        outputs = (Output(place.array, place.at(at), access.value(node.srcs[0], at)),)
        gathers = tuple([g for found in access.gathers.values() for g in found])
        return Body(self.names, axes, outputs, tuple(access.reductions.values()), gathers, self.status), Running(op, along)

    def space(self, stage: Stage, outer: tuple[Sym, ...]) -> tuple[Coordinate, tuple[tuple[Sym, int], ...]]:
        """A coordinate of the stage's space, held where the outer space holds it, and its free variables with sizes."""
        held = dict(zip(stage.outer, outer, strict=True)) if outer else {}
        index: list[Sym] = []
        axes: list[tuple[Sym, int]] = []
        for axis, size in enumerate(stage.space):
            if axis in held:
                index.append(held[axis])
            elif size == 1:
                index.append(num(0))
            else:
                index.append(self.names.var("c", size))
                axes.append((index[-1], size))
        return tuple(index), tuple(axes)

    def _kernel(self, loop: For, notes: Sequence[str], work: int) -> Lowered:
        arrays = tuple([a for a in self.arrays.values() if a.scope == "global"])
        kernel = Kernel(self.spec.name, arrays, tuple(self.scalars.values()), loop)
        return Lowered(kernel, tuple(notes), work, work, int(loop.stop))


def _place(memory: Memory, array: Array) -> Place:
    if memory.scope == "scratch":
        strides = [0] * len(memory.shape)
        held = contiguous_strides([memory.shape[a] for a in memory.axes]) if memory.strides is None else memory.strides
        for a, stride in zip(memory.axes, held, strict=True):
            strides[a] = stride
        return Place(array, tuple(strides))
    return Place(array, contiguous_strides(memory.shape) if memory.strides is None else memory.strides)

