"""Stage: lower, kernels that walk. In: stages, and what each does on the walk. Out: a loop over blocks of the axis that
is walked, in which stages compute a block of values, and sums, relative to a growing maximum perhaps, go on; after it
what is made of the sums. (FlashAttention: Dao et al., 2022.)
Next: ``live.py``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from minigrad.dtype import bool_
from minigrad.kernel.ir import Alloc, Apply, Array, Const, Load, Statement, Value
from minigrad.lower.accumulate import identity
from minigrad.lower.body import Body, Output
from minigrad.lower.live import live
from minigrad.lower.nest import Lowering, loop, when
from minigrad.lower.outer import Block, walk_length
from minigrad.lower.stages import Stages
from minigrad.lower.values import Place, Reduction
from minigrad.ops import REDUCE_OPS, Op
from minigrad.schedule.spec import Stage, Walked
from minigrad.symbolic import Sym, num


def walk_stages(kernel: Stages[bool], stages: Sequence[Stage], outer: Sequence[Sym],
                block: Block) -> tuple[list[Statement], list[Lowering]]:
    """The stages at a block of outer points."""
    return _Writer(kernel, stages, outer, block).write()


class _Writer:
    """``at``: where a block of the axis begins; ``length``: how long it is; ``whole``: no block can be left out."""

    def __init__(self, kernel: Stages[bool], stages: Sequence[Stage], outer: Sequence[Sym], block: Block) -> None:
        assert kernel.spec.walk is not None
        self.kernel, self.stages, self.outer, self.block = kernel, stages, outer, block
        self.walk: Walked = kernel.spec.walk
        self.names = kernel.names
        self.at, self.length = num(0), walk_length(self.walk.size)
        self.sums: dict[int, list[Place]] = {}  # of stages: what they have added up
        self.whole = True
        self.scale: Place | None = None

    def write(self) -> tuple[list[Statement], list[Lowering]]:
        """Before the loop, the loop, what is left of the axis, and after it."""
        full, rest = divmod(self.walk.size, self.length)
        head: list[Statement] = []
        for i, kind in enumerate(self.walk.kinds):
            if kind in ("top", "sum", "relative"):
                head += self._accumulators(i)
        axis = self.names.axis("w", full)
        self.at = axis.var * self.length if full > 1 else num(0)
        inside, made = self._step()
        body = [loop(axis, inside)] if full > 1 else inside
        if rest:
            self.at, self.length = num(full * self.length), rest
            body += self._step()[0]
        if not self.whole:
            head += self._before()
        after, last = self._after()
        many = full + (rest > 0)
        made = {i: replace(m, work=m.work * many, flops=None if m.flops is None else m.flops * many)
                for i, m in made.items()}
        made[0].note += f" (streams {self.walk.size} in {many} blocks)"
        return [*head, *body, *after], [{**made, **last}[i] for i in range(len(self.stages))]

    # --- memory

    def _strides(self, stage: Stage, axes: Sequence[int], sizes: Sequence[int]) -> tuple[list[int], int]:
        """Steps along the axes that a point holds, the block's points side by side; and how many elements there are."""
        strides, step = [0] * len(sizes), self.block.size
        for a in reversed(axes):
            strides[a] = step
            step *= sizes[a]
        strides[stage.outer[self.block.axis]] = 1
        return strides, step

    def _place(self, stage: Stage, axis: int) -> Place:
        """Where a block of a value along the axis lies: at the beginning of its memory."""
        memory = self.kernel.spec.memory[stage.stores[0]]
        sizes = [self.length if a == axis else n for a, n in enumerate(memory.shape)]
        strides, _ = self._strides(stage, memory.axes, sizes)
        return Place(self.kernel.arrays[memory.name], tuple(strides),
                     self.outer[self.block.axis] + self.at * strides[axis])

    def _accumulators(self, i: int) -> list[Statement]:
        """Bring to life what a stage adds up: an array for each of its reductions, points side by side."""
        stage = self.stages[i]
        statements: list[Statement] = []
        found: list[Place] = []
        for r in self._body(i).reductions:
            array, place = self._array("sum", stage, r)
            statements.append(Alloc(array, identity(r)))
            found.append(place)
            if self.walk.kinds[i] == "top":
                scale, self.scale = self._array("scale", stage, r)
                statements.append(Alloc(scale))
        self.sums[i] = found
        return statements

    def _array(self, stem: str, stage: Stage, r: Reduction) -> tuple[Array, Place]:
        own = [a for a in range(len(stage.space)) if a not in stage.outer]
        strides, step = self._strides(stage, own, stage.space)
        array = Array(self.names.fresh(stem), r.local.dtype, step, "scratch", 1, True)
        return array, Place(array, tuple(strides), self.outer[self.block.axis])

    # --- what stages do

    def _before(self) -> list[Statement]:
        """What is made of a maximum, for points that every block leaves out."""
        statements: list[Statement] = []
        for i, kind in enumerate(self.walk.kinds):
            if kind in ("top", "each"):
                body = self._body(i)
                statements += self._finished(body, {r.local.name: identity(r) for r in body.reductions})
        return statements

    def _finished(self, body: Body, found: Mapping[str, Value]) -> list[Statement]:
        """What is made of the reductions, whose values are known."""
        body = replace(body, outputs=tuple(self._outputs(body, found)), reductions=())
        return self._lowered(body, None).statements

    def _outputs(self, body: Body, found: Mapping[str, Value]) -> list[Output]:
        copy = body.instance({}, found)
        return [Output(o.array, o.index, copy.value(o.value)) for o in body.outputs]

    def _step(self) -> tuple[list[Statement], dict[int, Lowering]]:
        """A block of the axis."""
        made: dict[int, Lowering] = {}
        seen: list[tuple[str, Body]] = []
        for i, kind in enumerate(self.walk.kinds):
            if kind == "along":
                stage = self.stages[i]
                self.kernel.places[stage.stores[0]] = self._place(stage, self.walk.axes[i])
            if kind != "after":
                body = self._body(i)
                seen.append((kind, body))
                made[i] = self._lowered(body, i)
        condition = live(seen)
        self.whole = self.whole and condition.lo == 1
        return when(condition, [s for m in made.values() for s in m.statements]), made

    def _after(self) -> tuple[list[Statement], dict[int, Lowering]]:
        """What is made of the sums."""
        statements: list[Statement] = []
        made: dict[int, Lowering] = {}
        for i, kind in enumerate(self.walk.kinds):
            if kind in ("sum", "relative"):
                body = self._body(i)
                found = {r.local.name: Load(p.array, p.at(self.index)) for r, p in zip(
                    body.reductions, self.sums[i], strict=True)}
                statements += self._finished(body, found)
            elif kind == "after":
                made[i] = self._lowered(self._body(i), i)
                statements += made[i].statements
        return statements, made

    def _lowered(self, body: Body, i: int | None) -> Lowering:
        given = None if i is None else self.kernel.given.get(id(self.stages[i]))
        if i is not None and self.walk.kinds[i] in ("top", "sum", "relative"):
            body = replace(body, outputs=self._going_on(body, i))
        return self.kernel.plain(body, False, given)

    def _body(self, i: int) -> Body:
        """What a stage computes for a block of the axis."""
        kernel, stage, kind, axis = self.kernel, self.stages[i], self.walk.kinds[i], self.walk.axes[i]
        at, axes = kernel.space(stage, self.outer, self.block)
        index = list(at)
        if kind == "along":
            own = self.names.var("c", self.length)
            axes = tuple([(own, self.length) if v is index[axis] else (v, size) for v, size in axes])
            index[axis] = self.at + own
            if self.length == 1:
                axes = tuple([x for x in axes if x[0] is not own])
                index[axis] = self.at
        values = kernel.values(stage, (axis, self.at, self.length) if kind in ("top", "sum", "relative") else None)
        self.index = tuple(index)
        outputs = [Output(kernel.places[n].array, kernel.places[n].at(self.index), values.value(n, self.index))
                   for n in stage.stores]
        return Body.of(values, axes, outputs, kernel.status)

    def _going_on(self, body: Body, i: int) -> tuple[Output, ...]:
        """A block's reductions joined with what there is already; of a maximum also what is made of it, and how much
        smaller that makes what is relative to it."""
        outputs: list[Output] = []
        found: dict[str, Value] = {}
        for r, place in zip(body.reductions, self.sums[i], strict=True):
            at, dtype = place.at(self.index), r.local.dtype
            old: Value = Load(place.array, at)
            if self.walk.kinds[i] == "relative":
                assert self.scale is not None
                new: Value = Apply(Op.FMA, (old, Load(self.scale.array, self._row(i)), r.local), dtype)
            else:
                new = Apply(REDUCE_OPS[r.node.op].combine, (old, r.local), dtype)
            if self.walk.kinds[i] == "top":
                assert self.scale is not None
                found[r.local.name] = new
                level = Apply(Op.WHERE, (Apply(Op.EQ, (new, Const(-math.inf, dtype)), bool_), Const(0.0, dtype), new),
                              dtype)
                less = Apply(Op.EXP, (old - level,), dtype)
                outputs.append(Output(self.scale.array, self._row(i), less))
            outputs.append(Output(place.array, at, new))
        return (*outputs, *(self._outputs(body, found) if found else ()))

    def _row(self, i: int) -> Sym:
        """The number of the point in its block."""
        return self.index[self.stages[i].outer[self.block.axis]] - self.outer[self.block.axis]
