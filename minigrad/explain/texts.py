"""Stage: explaining. In: the kernels of plans. Out: their texts, from the loop nest to machine code; kernels of one
structure have them once.
Next: ``page.py``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from minigrad.engine.details import DetailedKernel
from minigrad.explain.model import Code, Text
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.show import show as show_graph
from minigrad.kernel.show import show as show_kernel
from minigrad.schedule.show import show_launch
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

    @staticmethod
    def graph(results: Sequence[LazyBuffer]) -> str:
        """A graph as it was recorded."""
        return _cut(show_graph(results))

    def codes(self, seconds: Sequence[float], codes: Sequence[int]) -> list[Code]:
        """The texts of all. ``seconds``: how long kernels took; ``codes``: the position of the texts of each."""
        spent = [0.0] * len(self.kernels)
        for time, at in zip(seconds, codes, strict=True):
            if at >= 0:
                spent[at] += time
        longest = sorted(range(len(spent)), key=lambda i: -spent[i])[:MOST_COMPILED]
        return [_code(kernel, i in longest) for i, kernel in enumerate(self.kernels)]


def _code(kernel: DetailedKernel, compiled: bool) -> Code:
    device, nest = kernel.device, kernel.lowered.kernel
    schedule = show_launch(kernel.launch)
    texts = [Text("schedule", schedule, _lines_of_nodes(schedule)), Text("loop nest", show_kernel(nest)),
             Text(device.language, kernel.source)]
    if compiled:
        source = device.source([nest])
        if source != kernel.source:
            texts.append(Text("as compiled", source))
        texts.append(Text("machine code", _instructions(device.assembly(source))))
    for text in texts:
        text.text = _cut(text.text)
    return Code([text for text in texts if text.text])


def _lines_of_nodes(schedule: str) -> list[list[int]]:
    """For each line of a schedule the node that stands there: those of stages, six columns in, in order."""
    number = count()
    return [[next(number)] if line.startswith(" " * 6) else [] for line in schedule.split("\n")]


def _instructions(assembly: str) -> str:
    """Machine code without what is for the assembler and linker: directives, and labels that nothing jumps to.

    >>> print(_instructions("\\t.text\\nk:\\n\\tjne\\t.LBB0_1\\n.LBB0_1:\\n\\tretq\\n.Lfunc_end0:\\n\\t.size k, 3\\n"))
    k:
        jne    .LBB0_1
    .LBB0_1:
        retq
    """
    lines = [line for line in assembly.split("\n")
             if line.startswith(".LBB") or (line.strip() and not line.strip().startswith((".", "#")))]
    return "\n".join([line.replace("\t", "    ") for line in lines])


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n… {len(text) - LONGEST} more characters"
