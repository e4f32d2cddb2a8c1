"""Stage: explaining. In: the kernels of plans. Out: their texts, from the schedule to machine code; kernels of one
structure have them once.
Next: ``before.py``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from minigrad.engine.build import parts_of
from minigrad.engine.details import DetailedKernel
from minigrad.explain.model import Code, Text
from minigrad.explain.tracing import Lines, Tracer
from minigrad.graph.lazy import LazyBuffer
from minigrad.schedule.plan import Launch
from minigrad.schedule.show import names_of, show_launch, slice_of
from minigrad.schedule.structure import digest

MOST_COMPILED = 48
"""Kernels that are shown as machine code, too: those that take longest. To compile one takes some 20 milliseconds."""

LONGEST = 400_000
"""Characters of a text; a longer one is cut."""


class Texts:
    """Collects kernels; ``codes`` writes them."""

    def __init__(self) -> None:
        self.kernels: list[DetailedKernel] = []
        self._at: dict[object, int] = {}

    def add(self, kernel: DetailedKernel) -> int:
        """The position of the kernel's texts among ``codes``."""
        key = kernel.device, digest(kernel.launch.structure)
        if key not in self._at:
            self._at[key] = len(self.kernels)
            self.kernels.append(kernel)
        return self._at[key]

    def codes(self, seconds: Sequence[float], codes: Sequence[int]) -> list[Code]:
        """The texts of all. ``seconds``: how long kernels took; ``codes``: the position of the texts of each."""
        spent = [0.0] * len(self.kernels)
        for time, at in zip(seconds, codes, strict=True):
            if at >= 0:
                spent[at] += time
        longest = sorted(range(len(spent)), key=lambda i: -spent[i])[:MOST_COMPILED]
        return [_code(kernel, i in longest) for i, kernel in enumerate(self.kernels)]


def _code(kernel: DetailedKernel, compiled: bool) -> Code:
    device, tracer = kernel.device, _tracer(kernel.launch)
    schedule = show_launch(kernel.launch)
    found: dict[str, tuple[str, Lines]] = {"schedule": (schedule, _lines_of_nodes(schedule))}
    with tracer.on():
        lowered = kernel.lowered
        found["loop nest"] = tracer.nest(lowered.kernel)
        found[device.language] = tracer.readable(device, lowered.kernel)
        if compiled:
            source, machine = tracer.compiled(device, lowered.kernel)
            found |= {"as compiled": source} if source[0] != found[device.language][0] else {}
            found["machine code"] = machine
    return Code([Text(title, _cut(text), lines) for title, (text, lines) in found.items() if text],
                list(lowered.strategies))


def _tracer(launch: Launch) -> Tracer:
    """With the numbers of a launch's nodes in the order of its stages."""
    numbers: dict[LazyBuffer, int] = {}
    stored: dict[str, int] = {}
    number = count()
    for spec in parts_of(launch):
        names = names_of(spec)
        for stage in spec.stages:
            for node in slice_of(stage.stores, names):
                at = numbers.setdefault(node, next(number))
                if node in stage.stores:
                    stored[names[node]] = at
    return Tracer(numbers, stored)


def _lines_of_nodes(schedule: str) -> Lines:
    """For each line of a schedule the node that stands there: those of stages, six columns in, in order."""
    number = count()
    return [[next(number)] if line.startswith(" " * 6) else [] for line in schedule.split("\n")]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… {len(text) - LONGEST} more characters"
