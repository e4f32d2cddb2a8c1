"""Stage: lower. In: a KernelSpec. Out: what the CPU form and the GPU form of a kernel have in common: its arrays, where
each value lies, what each stage computes at a point, and the finished kernel.
Next: ``outer.py``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, ClassVar, Generic, TypeVar

from minigrad.dtype import accumulator, bool_, int64
from minigrad.graph.lazy import LazyBuffer, contiguous_strides
from minigrad.graph.movement import Coordinate
from minigrad.kernel.ir import Array, For, If, Index, Kernel, LetIndex, Scalar, Statement, Store
from minigrad.kernel.walk import statements
from minigrad.lower.axes import Axis, Names
from minigrad.lower.body import Body, Output
from minigrad.lower.nest import Lowering
from minigrad.lower.outer import Block, walk_length
from minigrad.lower.reductions import Domain, simplify_axes
from minigrad.lower.scan import Running
from minigrad.lower.scatter import assign_body
from minigrad.lower.steps import Space, Steps, given
from minigrad.lower.values import Place, Values
from minigrad.ops import Op
from minigrad.schedule.spec import KernelSpec, Memory, StackedSpec, Stage
from minigrad.symbolic import Sym, num
from minigrad.target import Target


@dataclass(frozen=True)
class Lowered:
    """A kernel and what is known of it: a line on each stage's strategy, estimated scalar operations of all iterations
    (``flops``: those of the arithmetic alone), and the iterations of its parallel loop, or its workgroups."""

    kernel: Kernel
    strategies: tuple[str, ...]
    flops: int
    work: int
    iterations: int


Where = TypeVar("Where")
"""What runs a stage: whether it is divided among parallel iterations, or the threads of a workgroup."""


class Work(Generic[Where]):
    """What strategies see: who runs it, the steps that a person gives for it; the stage, or, where something else is
    computed, a body alone; and, when they are asked for, the axes: those it keeps, and those it reduces."""

    def __init__(self, stages: Stages[Where], where: Where, given: Steps | None, stage: Stage | None,
                 outer: Sequence[Sym] = (), block: Block | None = None, body: Body | None = None) -> None:
        self.stages, self.where, self.given = stages, where, given
        self.target, self.names, self.status = stages.target, stages.names, stages.status
        self._stage, self._outer, self._block, self._body = stage, outer, block, body

    @property
    def stage(self) -> Stage:
        assert self._stage is not None, "this body is no stage's"
        return self._stage

    @property
    def node(self) -> LazyBuffer:
        """What the stage stores first."""
        return self.stage.stores[0]

    @property
    def op(self) -> str | None:
        """What makes it; None of a body alone."""
        return None if self._stage is None else self.node.op

    def values(self) -> Values:
        """The values that the stage computes."""
        return self.stages.values(self.stage)

    def scan(self) -> tuple[Body, Running]:
        """The body of a stage that stores a SCAN, and what runs along which axis."""
        return self.stages.scan_body(self.stage, self._outer)

    @cached_property
    def body(self) -> Body:
        """What is computed at a point."""
        if self._body is not None:
            return self._body
        if self.op == Op.ASSIGN:
            return assign_body(self.node, self.values(), self.names, self.status)
        return self.stages.body(self.stage, self._outer, self._block)

    @cached_property
    def axes(self) -> tuple[list[Axis], list[Domain]]:
        return simplify_axes(self.body)

    @cached_property
    def space(self) -> Space:
        kept, domains = self.axes
        return Space(kept, [a for d in domains for a in d.axes])


@dataclass(frozen=True)
class Row(Generic[Where]):
    """A row of a table of strategies. ``write`` makes the loops of stages for which ``when`` holds; None leaves a stage
    to the rows below. Steps that a person gives are for a row with ``marks`` only if they have one of these."""

    name: str
    when: Callable[[Work[Where]], bool]
    write: Callable[[Work[Where]], Lowering | None]
    marks: tuple[str, ...] = ()

    def fits(self, work: Work[Where]) -> bool:
        """Whether the row is asked for the stage's loops."""
        unmarked = work.given is not None and self.marks and not any(work.given.named(m) for m in self.marks)
        return not unmarked and self.when(work)


class Stages(ABC, Generic[Where]):
    """The stages of a kernel, before it is decided what runs them."""

    table: ClassVar[tuple[Row[Any], ...]]

    @abstractmethod
    def run(self, stages: Sequence[Stage], outer: Sequence[Sym],
            block: Block | None) -> tuple[list[Statement], list[Lowering]]:
        """What is done at one point of the outer space, or at a block of them."""

    def stage(self, stage: Stage, outer: Sequence[Sym], where: Where, block: Block | None = None) -> Lowering:
        """One stage by the strategy that fits it."""
        return self.by_table(Work(self, where, self.given.get(id(stage)), stage, outer, block))

    def plain(self, body: Body, where: Where, given: Steps | None) -> Lowering:
        """One body by the strategy that fits it."""
        return self.by_table(Work(self, where, given, None, body=body))

    def by_table(self, work: Work[Where]) -> Lowering:
        """The loops of the first row of the table that makes any."""
        made = (row.write(work) for row in self.table if row.fits(work))
        return next(found for found in made if found is not None)

    def __init__(self, spec: KernelSpec, target: Target, names: Names | None = None,
                 scalars: dict[LazyBuffer, Scalar] | None = None) -> None:
        self.spec, self.target = spec, target
        self.given = {id(stage): steps for stage, steps in zip(spec.stages, given(spec.name, target), strict=False)
                      if steps is not None}
        self.scalars = {node: Scalar(f"s{i}", accumulator(node.dtype), i) for i, node in enumerate(spec.scalars)}
        if scalars is not None:
            self.scalars = scalars
        self.stacked = names is not None
        self.names = names or Names([spec.name, *(m.name for m in spec.memory.values()),
                                     *(s.name for s in self.scalars.values())])
        stored = {spec.memory[n].name for stage in spec.stages for n in stage.stores if n.size}
        self.lengths = {} if spec.walk is None else {  # what is there of an axis that is walked
            stage.stores[0]: (axis, walk_length(spec.walk.size)) for stage, kind, axis in zip(
                spec.stages, spec.walk.kinds, spec.walk.axes, strict=True) if kind == "along"}
        self.arrays: dict[str, Array] = {}
        for node, memory in spec.memory.items():
            if memory.name not in self.arrays:
                self.arrays[memory.name] = self.array(node, memory, memory.name in stored)
        self.status: Array | None = None
        if spec.status is not None:
            if spec.status.name not in self.arrays:
                self.arrays[spec.status.name] = self.array(None, spec.status, bool(spec.checks))
            self.status = self.arrays[spec.status.name]
        self.places = {node: placed(m, self.arrays[m.name]) for node, m in spec.memory.items()}

    def held(self, node: LazyBuffer | None, memory: Memory) -> int:
        """Elements of a value that there are at once at one point."""
        axis, length = self.lengths.get(node, (-1, 0)) if node is not None else (-1, 0)
        return prod(length if a == axis else memory.shape[a] for a in memory.axes)

    def array(self, node: LazyBuffer | None, memory: Memory, written: bool) -> Array:
        """The array of a value's memory."""
        name = self.names.fresh(memory.name + "_") if self.stacked else memory.name
        if memory.scope == "scratch":
            return Array(name, memory.dtype, self.held(node, memory), "scratch", 1, True)
        strides = contiguous_strides(memory.shape) if memory.strides is None else memory.strides
        size = 0 if 0 in memory.shape else 1 + sum((n - 1) * by for n, by in zip(memory.shape, strides, strict=True))
        return Array(name, memory.dtype, size, "global", 1, written, memory.nontemporal)

    def values(self, stage: Stage, walked: tuple[int, Sym, int] | None = None) -> Values:
        """The values that the stage computes."""
        return Values(self.names, self.places, self.scalars, self.spec.checks, frozenset(stage.stores), walked)

    def place_scratch(self, block: Block | None, base: Sym) -> None:
        """Find room for scratch values: of one point, or of a block of points that begins at ``base``."""
        for stage in self.spec.stages:
            for node in stage.stores:
                memory = self.spec.memory[node]
                if memory.scope != "scratch":
                    continue
                found, array = placed(memory, self.arrays[memory.name]), self.arrays[memory.name]
                if block is not None:
                    axis, own = stage.outer[block.axis], self.held(node, memory)
                    if array.size == own:
                        array = self.arrays[memory.name] = replace(array, size=own * block.size)
                    strides = [n * (block.size if block.innermost else 1) for n in found.strides]
                    strides[axis] = 1 if block.innermost else own
                    found = Place(array, tuple(strides), base * strides[axis])
                self.places[node] = found

    @property
    def scratch(self) -> int:
        """Bytes of what the stages hand on at a point."""
        return sum(a.size * a.dtype.size for a in self.arrays.values() if a.scope == "scratch")

    def outer_space(self) -> tuple[list[Axis], list[Sym]]:
        """The axes of the outer space, and its point."""
        axes = [self.names.axis("o", n) for n in self.spec.outer]
        return axes, [num(0) if a.size == 1 else a.var for a in axes]

    def at_points(self, stages: Sequence[Stage], outer: list[Axis], index: list[Sym],
                  block: Block | None) -> tuple[list[Statement], list[Lowering]]:
        """The stages at a point; or at a block of points, whose axis then counts blocks: twice where the last block is
        smaller. Steps that are given are for whole blocks: the last one may have other axes."""
        if block is None:
            self.place_scratch(None, num(0))
            return self.run(stages, index, None)
        full, rest = divmod(outer[block.axis].size, block.size)
        axis = self.names.axis("o", full + (rest > 0))
        count = axis.var if axis.size > 1 else num(0)
        head: list[Statement] = []
        if rest:
            whole = self.names.var("o", full)
            head, count = [LetIndex(whole, Index(count, int64))], whole
        versions, given = [], self.given
        for base, size in ((count * block.size, block.size), (num(full * block.size), rest)):
            if size:
                self.place_scratch(block, base)
                index[block.axis] = base
                versions.append(self.run(stages, index, Block(block.axis, size, block.innermost)))
                self.given = {}
        self.given = given
        body, made = versions[0]
        if rest:
            body = [If(Index(axis.var < full, bool_), (*head, *body), tuple(versions[1][0]))]
        made[0].note += f" (all: {block.size} points of outer axis {block.axis} at once)"
        outer[block.axis] = axis
        return body, made

    def body(self, stage: Stage, outer: Sequence[Sym], block: Block | None = None) -> Body:
        """What the stage computes at one point, over variables for the axes of its space that are not held."""
        values = self.values(stage)
        at, axes = self.space(stage, outer, block)
        outputs = [Output(self.places[n].array, self.places[n].at(at), values.value(n, at)) for n in stage.stores]
        return Body.of(values, axes, outputs, self.status)

    def scan_body(self, stage: Stage, outer: Sequence[Sym]) -> tuple[Body, Running]:
        """The body of a stage that stores a SCAN: its value is that of the SCAN's source."""
        node = stage.stores[0]
        op, axis = node.arg
        values = self.values(stage)
        at, axes = self.space(stage, outer)
        along = Axis(at[axis], node.shape[axis]) if node.shape[axis] != 1 else None
        place = self.places[node]
        output = Output(place.array, place.at(at), values.value(node.srcs[0], at))
        return Body.of(values, axes, [output], self.status), Running(op, along)

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

    def finished(self, loop: For, made: Sequence[Lowering], points: int = 1) -> Lowered:
        """The kernel around its outermost loop; its stages are made at so many points of the outer space."""
        arrays = tuple([a for a in self.arrays.values() if a.scope == "global"])
        stored = (x.array for x in statements([loop]) if isinstance(x, Store))
        if self.status is not None and not any(a is self.status for a in stored):
            # what is gathered is not needed after all, or every index is known to be in range
            arrays = tuple([replace(a, written=False) if a is self.status else a for a in arrays])
        kernel = Kernel(self.spec.name, arrays, tuple(self.scalars.values()), loop)
        flops = sum(m.work if m.flops is None else m.flops for m in made)
        return Lowered(kernel, tuple([m.note for m in made]), flops * points, sum(m.work for m in made) * points,
                       int(loop.stop))


def begin_stack(spec: StackedSpec) -> tuple[Names, dict[LazyBuffer, Scalar]]:
    """Names and run-time numbers that the parts of a stack share."""
    nodes = dict.fromkeys(s for part in spec.parts for s in part.scalars)
    scalars = {node: Scalar(f"s{i}", accumulator(node.dtype), i) for i, node in enumerate(nodes)}
    return Names([spec.name, *(s.name for s in scalars.values())]), scalars


def stacked(spec: StackedSpec, scalars: dict[LazyBuffer, Scalar], made: Sequence[Lowered], loop: For) -> Lowered:
    """Independent kernels as one: ``loop`` runs through the iterations of the first part, then of the second, and so
    on. Its arrays are those of the parts, one part after the other; its scalars those of the parts, each once."""
    kernel = Kernel(spec.name, tuple([a for m in made for a in m.kernel.arrays]), tuple(scalars.values()), loop)
    return Lowered(kernel, tuple([n for m in made for n in m.strategies]), sum(m.flops for m in made),
                   sum(m.work for m in made), int(loop.stop))


def placed(memory: Memory, array: Array) -> Place:
    """Where a value of a kernel lies in its array."""
    if memory.scope == "scratch":
        strides = [0] * len(memory.shape)
        held = contiguous_strides([memory.shape[a] for a in memory.axes]) if memory.strides is None else memory.strides
        for a, stride in zip(memory.axes, held, strict=True):
            strides[a] = stride
        return Place(array, tuple(strides))
    return Place(array, contiguous_strides(memory.shape) if memory.strides is None else memory.strides)


def choose_part(parts: Sequence[tuple[Sym, int, tuple[Statement, ...]]], at: Sym,
                begin: int = 0) -> tuple[Statement, ...]:
    """Of several bodies, one after the other for so many iterations of its own variable each, the one that iteration
    ``at`` of all belongs to, the first beginning at ``begin``: halves of halves."""
    if not parts:
        return ()
    if len(parts) == 1:
        return (LetIndex(parts[0][0], Index(at - begin, int64)), *parts[0][2])
    half = len(parts) // 2
    middle = begin + sum(count for _, count, _ in parts[:half])
    return (If(Index(at < middle, bool_), choose_part(parts[:half], at, begin),
               choose_part(parts[half:], at, middle)),)
