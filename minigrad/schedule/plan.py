"""Stage: schedule. In: a pending graph whose leaves are numbered. Out: a Plan: launches in order, where every value
lies, what to do with the results. The steps are run here, one function each.
Next: ``complex_parts.py``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from minigrad import config
from minigrad.dtype import int64
from minigrad.graph.function import inline
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.loop import Loop
from minigrad.graph.origins import follow
from minigrad.graph.verify import verify
from minigrad.ops import Op
from minigrad.schedule.checks import find_checks
from minigrad.schedule.draft import Group
from minigrad.schedule.group import Grouping
from minigrad.schedule.materialise import Materialised, materialise
from minigrad.schedule.memory import ALIGNMENT, place
from minigrad.schedule.order import donations, launches, overwriting_last
from minigrad.schedule.simplify import simplify
from minigrad.schedule.spec import KernelSpec, Memory, StackedSpec, Stage
from minigrad.schedule.split import split_reductions
from minigrad.schedule.streaming import Walk, find_walks
from minigrad.schedule.structure import Structure, structure
from minigrad.target import Target


@dataclass(frozen=True)
class Place:
    """Where a value lies when a plan runs: ``kind`` is ``"leaf"``, ``"output"`` (``at`` is a number, and it begins
    ``offset`` bytes into that) or ``"arena"``, ``"status"`` (``at`` is a byte offset)."""

    kind: str
    at: int
    offset: int = 0

    def after(self, nbytes: int) -> Place:
        """The place so many bytes further on."""
        if self.kind == "arena":
            return Place("arena", self.at + nbytes)
        return Place(self.kind, self.at, self.offset + nbytes) if nbytes else self


@dataclass(eq=False)
class Launch:
    """One kernel. ``places`` are its buffers, in the order of the spec's global memory, the status last; launches of
    one ``structure`` run the same code; ``notes`` say why it became what it is."""

    device: str
    places: tuple[Place, ...]
    spec: KernelSpec | StackedSpec
    structure: Structure
    notes: tuple[str, ...] = ()


@dataclass(eq=False)
class Plan:
    """Everything that realising a graph needs but the buffers. ``outputs``: for each output where it ends up: an
    ``"output"`` to allocate, or a ``"leaf"`` it is or overwrites. ``scalars``: the SCALAR leaves, in argument order of
    each launch. ``checks``: for each status word the GATHER or SCATTER node that reports to it. ``between_bytes``:
    those of all values in the arena, as if each had its own; ``donated``: how many outputs overwrite a leaf, and
    ``donated_bytes`` their bytes."""

    launches: list[Launch]
    outputs: list[Place]
    output_bytes: list[int]
    arena_bytes: int
    leaves: list[LazyBuffer]
    checks: list[LazyBuffer] = field(default_factory=list)
    donated: int = 0
    between_bytes: int = 0
    donated_bytes: int = 0


def schedule(outputs: Sequence[LazyBuffer], leaves: Sequence[LazyBuffer], dead: set[LazyBuffer], target: Target,
             stand_ins: dict[LazyBuffer, LazyBuffer] | None = None, name: str = "") -> Plan:
    """Plan the computation of ``outputs`` from ``leaves`` (BUFFER nodes). The memory of ``dead`` leaves may be
    overwritten. ``stand_ins`` maps nodes of the graph to those that take their place in the plan, so that it keeps no
    memory alive. ``name`` is that of the composite whose body it is."""
    simple, names = simplify(outputs, stand_ins, name)
    split = split_reductions(simple, target)
    if config.get("VERIFY"):
        verify(outputs)
        verify(simple)
        verify(split)
    streamed, walks = find_walks(split, target, names)
    if config.get("VERIFY"):
        verify(streamed)
    graph, grouping, groups = grouped(streamed, walks, target)
    return Assembly(grouping, graph, launches(groups, target), list(leaves), dead, names).plan()


def grouped(outputs: Sequence[LazyBuffer], walks: Sequence[Walk],
             target: Target) -> tuple[Materialised, Grouping, list[Group]]:
    """What is stored, and in which groups. What was to be held for a row, and is not in one kernel after all, is
    computed again instead."""
    apart: set[int] = set()
    while True:
        graph = materialise(outputs, walks, target, apart)
        grouping = Grouping(graph, target)
        groups = grouping.run()
        lost = [number for node, number in graph.held.items()
                if node in grouping.of and not grouping.is_scratch(node, grouping.of[node])]
        if not lost:
            return graph, grouping, groups
        apart.update(lost)


@dataclass(eq=False)
class OneStep:
    """A step of a LOOP: its ``plan``, the numbers of the body's ``outputs`` that it computes, which of them are
    ``kept`` and as what, and where in the loop's own arena, after that of the plan, the other states take ``turns``."""

    loop: Loop
    plan: Plan
    outputs: list[int]
    kept: dict[int, LazyBuffer]
    turns: dict[int, int]
    arena_bytes: int

    @staticmethod
    def of(group: Group, target: Target) -> OneStep:
        """Plan a step of the LOOP that a group runs."""
        follow(group.stores[0])
        loop = group.stores[0].srcs[0].arg
        kept = {node.arg: node for node in group.stores}
        wanted = sorted({*range(loop.states), *kept})
        body = loop.body
        leaves = [LazyBuffer(Op.BUFFER, (), None, p.shape, p.dtype, group.device) for p in body.params]
        results = inline(body, leaves)
        here = replace(target, l3=0)  # rows of the loop's results need not begin at a cache line
        plan = schedule([results[i] for i in wanted], leaves, set(), here, name=body.name)
        turns: dict[int, int] = {}
        at = plan.arena_bytes
        for i in wanted:
            if i not in kept:
                at = -(-at // ALIGNMENT) * ALIGNMENT
                turns[i] = at
                at += 2 * OneStep.bytes_of(body.outputs[i])
        return OneStep(loop, plan, wanted, kept, turns, at)

    @staticmethod
    def bytes_of(node: LazyBuffer) -> int:
        """Bytes of a value of one step."""
        return node.size * node.dtype.size


class Assembly:
    """Turns groups into a Plan: finds a place for every value and writes the specs."""

    def __init__(self, grouping: Grouping, graph: Materialised, order: list[list[Group]], leaves: list[LazyBuffer],
                 dead: set[LazyBuffer], names: dict[LazyBuffer, str]) -> None:
        self.grouping, self.graph, self.order, self.leaves, self.names = grouping, graph, order, leaves, names
        self.checks: list[LazyBuffer] = []
        # a base lies where the SCATTER or ASSIGN that writes on it does, or where that one's own writer does
        self.owner: dict[LazyBuffer, LazyBuffer] = {}
        for node, base in reversed(graph.initial.items()):
            self.owner[base] = self.owner.get(node, node)
        self.loops = {parts[0]: OneStep.of(parts[0], grouping.target) for parts in order
                      if parts[0].stores[0].op == Op.OUTPUT}
        self.checked = find_checks(order)
        self.order, self.donated = overwriting_last(order, self._donated(dead), graph.first_writer)
        copies = {graph.first_writer(o): leaf for o, leaf in self.donated.items() if o in graph.initial}
        self.skipped = {copy for copy, leaf in copies.items() if copy.op == Op.CONTIGUOUS and copy.srcs[0] is leaf}
        self.scratch = {n for parts in order for g in parts for n in g.stores if grouping.is_scratch(n, g)}
        self.places = self._places()
        self.names_used: dict[str, dict[Structure, str]] = {}
        self.names_taken: set[str] = set()

    def plan(self) -> Plan:
        steps: list[Launch] = []
        for parts in self.order:
            if parts[0] in self.loops:
                steps += self._loop(parts[0], self.loops[parts[0]])
            elif not self._is_skipped(parts):
                steps.append(self._launch(parts))
        outputs = [self.places[o] for o in self.graph.outputs]
        sizes = {p.at: o.size * o.dtype.size for o, p in zip(self.graph.outputs, outputs, strict=True)
                 if p.kind == "output"}
        return Plan(steps, outputs, [sizes[i] for i in range(len(sizes))], self.arena_bytes, self.leaves, self.checks,
                    len(self.donated), self.between_bytes, sum([o.size * o.dtype.size for o in self.donated]))

    def _donated(self, dead: set[LazyBuffer]) -> dict[LazyBuffer, LazyBuffer]:
        """For outputs: the leaf whose memory each takes over. A plan that may end in an IndexError overwrites nothing
        before all indexes are checked, and a device that cannot stop then overwrites nothing at all."""
        checking = [position for position, parts in enumerate(self.order) for group in parts
                    if self.checked[group] or (group in self.loops and self.loops[group].plan.checks)]
        if checking and not self.grouping.target.stops:
            return {}
        return donations(self.order, self.graph.outputs, dead, self.graph.first_writer, max(checking, default=-1))

    def _is_skipped(self, parts: list[Group]) -> bool:
        return len(parts) == 1 and all(n in self.skipped for n in parts[0].stores)

    def _places(self) -> dict[LazyBuffer, Place]:
        places = {leaf: Place("leaf", i) for i, leaf in enumerate(self.leaves)}
        number = 0
        for output in self.graph.outputs:
            if output in places:
                continue
            if output in self.donated:
                places[output] = places[self.donated[output]]
            else:
                places[output] = Place("output", number)
                number += 1
        lifetimes: dict[LazyBuffer | OneStep, tuple[int, int]] = {}
        sizes: dict[LazyBuffer | OneStep, int] = {}
        for position, parts in enumerate(self.order):
            for group in parts:
                if group in self.loops and self.loops[group].arena_bytes:
                    lifetimes[self.loops[group]] = position, position
                    sizes[self.loops[group]] = self.loops[group].arena_bytes
                for node in [*group.stores, *group.inputs]:
                    node = self.owner.get(node, node)
                    if node not in places and node not in self.scratch:
                        lifetimes[node] = lifetimes.get(node, (position, position))[0], position
        sizes |= {n: n.size * n.dtype.size for n in lifetimes if isinstance(n, LazyBuffer)}
        offsets, self.arena_bytes = place(lifetimes, sizes)
        self.between_bytes = sum(sizes.values())
        places.update({n: Place("arena", at) for n, at in offsets.items() if isinstance(n, LazyBuffer)})
        self.arena_of = {n: Place("arena", at) for n, at in offsets.items() if isinstance(n, OneStep)}
        for base, node in self.owner.items():
            places[base] = places[node]
        return places

    # --- loops

    def _loop(self, group: Group, step: OneStep) -> list[Launch]:
        """The launches of all steps of a LOOP: those of its body, each time with the memory of the step's rows."""
        loop, srcs = step.loop, group.stores[0].srcs[0].srcs
        arena = self.arena_of.get(step, Place("arena", 0))
        status = 8 * len(self.checks)
        self.checks += step.plan.checks
        own = [replace(launch, spec=replace(launch.spec, name=self._unique(launch.spec.name, launch.structure)))
               for launch in step.plan.launches]  # the step was named by itself: it may have taken a name of others
        launches: list[Launch] = []
        before = None
        for t in loop.order:
            inputs = [self.places[s] for s in srcs]
            for i in range(loop.states):
                if before is not None:
                    inputs[i] = self._row(step, arena, i, before)
            for i in range(loop.states, loop.states + loop.sequences):
                inputs[i] = inputs[i].after(t * step.bytes_of(loop.body.params[i]))
            outputs = [self._row(step, arena, i, t) for i in step.outputs]
            tables = {"leaf": inputs, "output": outputs}
            for launch in own:
                places = [tables[p.kind][p.at].after(p.offset) if p.kind in tables else
                          Place("status", status + p.at) if p.kind == "status" else arena.after(p.at)
                          for p in launch.places]
                launches.append(replace(launch, places=tuple(places)))
            before = t
        return launches

    def _row(self, step: OneStep, arena: Place, i: int, t: int) -> Place:
        """Where output i of step t lies. Of a state that nobody else reads, two steps are kept in turn."""
        nbytes = step.bytes_of(step.loop.body.outputs[i])
        if i in step.kept:
            return self.places[step.kept[i]].after(t * nbytes)
        return arena.after(step.turns[i] + t % 2 * nbytes)

    # --- specs

    def _launch(self, parts: list[Group]) -> Launch:
        notes = tuple(n for g in parts for n in g.notes)
        specs: list[KernelSpec] = []
        places: list[Place] = []
        for group in parts:
            spec, where = self._spec(group)
            specs.append(spec)
            places += where
        whole = specs[0] if len(specs) == 1 else StackedSpec(f"stacked_{specs[0].name}", tuple(specs))
        code = structure(whole)
        return Launch(parts[0].device, tuple(places), replace(whole, name=self._unique(whole.name, code)), code, notes)

    def _spec(self, group: Group) -> tuple[KernelSpec, list[Place]]:
        memory: dict[LazyBuffer, Memory] = {}
        places: list[Place] = []
        stores = group.stores
        inputs = [n for d in group.drafts for a in d.accesses for n in a.reads
                  if n not in stores and n not in d.inlined]
        for i, node in enumerate(dict.fromkeys(inputs)):
            if any(self.graph.initial.get(s) is node for s in stores):
                continue  # the base already lies where the result is written
            strides = node.arg if node.op == Op.BUFFER else None
            memory[node] = Memory(f"in{i}", node.dtype, node.shape, strides=strides)
            places.append(self.places[node])
        many = sum(s not in self.scratch for s in stores) > 1
        taken = self.grouping.taken_over(group)
        for stage, draft in enumerate(group.drafts):
            fixed = {c[stage] for c in group.columns}
            for node in draft.stores:
                if node in self.scratch:
                    axes = tuple(a for a in range(len(node.shape)) if a not in fixed)
                    name = memory[taken[node]].name if node in taken else f"row{len(memory)}"
                    memory[node] = Memory(name, node.dtype, node.shape, "scratch", None, axes, True)
                else:
                    memory[node] = Memory(f"out{len(places)}" if many else "out", node.dtype, node.shape, written=True,
                                          nontemporal=self._goes_around(node, group))
                    places.append(self.places[node])
        stages = tuple(Stage(tuple(d.stores), tuple(c[i] for c in group.columns)) for i, d in enumerate(group.drafts))
        scalars = tuple(dict.fromkeys(s for d in group.drafts for a in d.accesses for s in a.scalars))
        checks = {n: i for i, n in enumerate(self.checked[group])}  # a kernel counts its own status words from 0
        status = Memory("status", int64, (len(checks),), written=True) if checks else None
        if status is not None:
            places.append(Place("status", 8 * len(self.checks)))
            self.checks += checks
        return KernelSpec(self._name(group), group.outer, stages, memory, scalars, status, checks, group.walk), places

    def _goes_around(self, node: LazyBuffer, group: Group) -> bool:
        """Whether what a kernel stores is written around the caches: it is as large as they are, memory of our own,
        which begins at a cache line, and nothing in the kernel reads it."""
        l3 = self.grouping.target.l3
        if not l3 or node.size * node.dtype.size < l3 or self.places[node].kind == "leaf":
            return False
        return not any([node in a.reads for d in group.drafts for a in d.accesses])

    def _name(self, group: Group) -> str:
        """The composite it comes from, else what it does; then its shape."""
        last = group.stores[-1]
        shape = "x".join(map(str, last.shape)) or "scalar"
        composites = [self.names[n] for d in group.drafts for a in d.accesses for n in (*a.reduces, a.node)
                      if n in self.names]
        if composites:
            return f"{_identifier('_'.join(dict.fromkeys(composites))[:60])}_{shape}"
        reductions = [r for d in group.drafts for a in d.accesses for r in a.reduces]
        if any(d.is_contraction for d in group.drafts):
            k = reductions[0].srcs[0].size // max(1, reductions[0].size)
            return f"matmul_{shape}_k{k}"
        if reductions:
            ops = "_".join(dict.fromkeys(r.op.lower() for r in reductions[:4]))
            return f"{ops}_{'x'.join(map(str, reductions[-1].srcs[0].shape))}"
        return f"{last.op.lower()}_{shape}"

    def _unique(self, name: str, code: Structure) -> str:
        """The name, with a number if other code has it already."""
        known = self.names_used.setdefault(name, {})
        if code not in known:
            numbered = (f"{name}_{number}" if number else name for number in count(len(known)))
            known[code] = next(n for n in numbered if n not in self.names_taken)
            self.names_taken.add(known[code])
        return known[code]


def _identifier(name: str) -> str:
    """The name in letters, digits and underscores, as C wants it; a person may have named a composite anything.

    >>> _identifier("<lambda>"), _identifier("1st x")
    ('lambda', 'kernel_1st_x')
    """
    safe = re.sub("[^A-Za-z0-9_]+", "_", name).strip("_")
    return safe if safe[:1].isalpha() else f"kernel_{safe}".rstrip("_")
