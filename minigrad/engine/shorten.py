"""Stage: realise. In: launches. Out: the same launches; but what is one kernel only to save a launch is several where
its code would be too long: compiling it would take more time than such launches ever do.
Next: ``compilation.py``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from minigrad.graph.lazy import LazyBuffer
from minigrad.kernel.length import instructions
from minigrad.lower import Lowered
from minigrad.schedule.plan import Launch
from minigrad.schedule.spec import KernelSpec, StackedSpec
from minigrad.schedule.structure import Structure, computed_from, structure

LONGEST = 800
"""Instructions of a kernel that could be several: in LLVM's language below 64 KB of text."""

Part = tuple[KernelSpec | StackedSpec, Structure, tuple[int, ...]]
"""Of a part of a kernel the spec, its structure, and the positions of its arrays among those of the kernel."""


def shortened(launches: Sequence[Launch], lowered: Callable[[Launch], Lowered | None]) -> list[Launch]:
    """The launches, in halves where they are too long and can be, and those in halves if need be. ``lowered`` gives a
    launch's loop nest, or None if its code is there already."""
    made: list[Launch] = []
    halves: dict[int, list[Part]] = {}  # by the identity of the structure, which the steps of a loop share
    waiting = list(reversed(launches))
    while waiting:
        launch = waiting.pop()
        key = id(launch.structure)
        if key not in halves:
            nest = lowered(launch)
            long = nest is not None and instructions(nest.kernel) > LONGEST
            halves[key] = [] if not long else _halves(launch.spec)
        if not halves[key]:
            made.append(launch)
        for spec, code, arrays in reversed(halves[key]):
            waiting.append(replace(launch, places=tuple([launch.places[i] for i in arrays]), spec=spec, structure=code,
                                   notes=(*launch.notes, "a part: all in one would be too long")))
    return made


def _halves(spec: KernelSpec | StackedSpec) -> list[Part]:
    """Two kernels to run one after the other, if the spec is one of several: of a stack's parts, or of stages that have
    nothing in common but memory."""
    if isinstance(spec, StackedSpec):
        specs = _halves_of_stack(spec)
    else:
        specs = [] if spec.outer else _halves_of_stages(spec)
    name = spec.name if re.search("_part[12]+$", spec.name) else f"{spec.name}_part"
    return [(replace(half, name=f"{name}{i}"), structure(half), at) for i, (half, at) in enumerate(specs, 1)]


def _halves_of_stack(spec: StackedSpec) -> list[tuple[KernelSpec | StackedSpec, tuple[int, ...]]]:
    half = len(spec.parts) // 2
    made: list[tuple[KernelSpec | StackedSpec, tuple[int, ...]]] = []
    at = 0
    for parts in (spec.parts[:half], spec.parts[half:]):
        arrays = sum([sum([m.scope == "global" for m in part.memory.values()]) + (part.status is not None)
                      for part in parts])
        made.append((parts[0] if len(parts) == 1 else replace(spec, parts=parts), tuple(range(at, at + arrays))))
        at += arrays
    return made


def _halves_of_stages(spec: KernelSpec) -> list[tuple[KernelSpec | StackedSpec, tuple[int, ...]]]:
    """At the place nearest to the middle where all that the second half reads is in a buffer; nothing without one."""
    needed: list[set[LazyBuffer]] = [set(computed_from(stage.stores, spec.memory)) for stage in spec.stages]
    scratch = {node for node, m in spec.memory.items() if m.scope == "scratch"}

    def parted(at: int) -> bool:
        return not scratch & set[LazyBuffer]().union(*needed[:at]) & set[LazyBuffer]().union(*needed[at:])

    middle = len(spec.stages) / 2
    at = min(filter(parted, range(1, len(spec.stages))), key=lambda at: abs(at - middle), default=0)
    made: list[tuple[KernelSpec | StackedSpec, tuple[int, ...]]] = []
    for part in (slice(at), slice(at, None)) if at else ():
        stages, nodes = spec.stages[part], set[LazyBuffer]().union(*needed[part])
        memory = {node: m for node, m in spec.memory.items() if node in nodes}
        checks = {node: number for node, number in spec.checks.items() if node in nodes}
        buffers = [node for node, m in spec.memory.items() if m.scope == "global"]
        arrays = [i for i, node in enumerate(buffers) if node in nodes] + [len(buffers)] * bool(checks)
        made.append((replace(spec, stages=stages, memory=memory, checks=checks,
                             scalars=tuple([node for node in spec.scalars if node in nodes]),
                             status=spec.status if checks else None), tuple(arrays)))
    return made
