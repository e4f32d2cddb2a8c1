"""Stage: realise. In: launches. Out: the same launches; but independent kernels that were to be one launch are several
where the code would be too long: compiling it would take more time than the launches ever do.
Next: ``beam.py``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from minigrad.kernel.length import instructions
from minigrad.lower import Lowered
from minigrad.schedule.plan import Launch
from minigrad.schedule.spec import KernelSpec, StackedSpec
from minigrad.schedule.structure import Structure, structure

LONGEST = 640
"""Instructions of a kernel that could be several: in LLVM's language below 64 KB of text."""

Part = tuple[KernelSpec | StackedSpec, Structure, range]
"""Of a part of a stack the spec, its structure, and which of the kernel's arrays are its own."""


def shortened(launches: Sequence[Launch], lowered: Callable[[Launch], Lowered | None],
              done: Callable[[], object] = lambda: None) -> list[Launch]:
    """The launches, in halves where they are too long and can be, and those in halves if need be. ``lowered``, called
    once for each structure, gives a launch's loop nest, or None if its code is there already. ``done`` is called after
    each launch."""
    made: list[Launch] = []
    halves: dict[int, list[Part]] = {}  # by the identity of the structure, which the steps of a loop share
    waiting = list(reversed(launches))
    while waiting:
        launch = waiting.pop()
        key = id(launch.structure)
        if key not in halves:
            nest, spec = lowered(launch), launch.spec
            long = nest and isinstance(spec, StackedSpec) and instructions(nest.kernel) > LONGEST
            halves[key] = _halves(spec) if long and isinstance(spec, StackedSpec) else []
        if not halves[key]:
            made.append(launch)
            done()
        for spec, code, arrays in reversed(halves[key]):
            waiting.append(replace(launch, places=tuple([launch.places[i] for i in arrays]), spec=spec, structure=code,
                                   notes=(*launch.notes, "a part: all in one would be too long")))
    return made


def _halves(stack: StackedSpec) -> list[Part]:
    half = len(stack.parts) // 2
    name = stack.name if re.search("_part[12]+$", stack.name) else f"{stack.name}_part"
    made: list[Part] = []
    at = 0
    for number, parts in enumerate((stack.parts[:half], stack.parts[half:]), 1):
        spec = parts[0] if len(parts) == 1 else StackedSpec("", parts)
        arrays = sum([sum([m.scope == "global" for m in part.memory.values()]) + (part.status is not None)
                      for part in parts])
        made.append((replace(spec, name=f"{name}{number}"), structure(spec), range(at, at + arrays)))
        at += arrays
    return made
