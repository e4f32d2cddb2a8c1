"""Stage: lower, for whoever searches. In: a stage's line of DEBUG=3. Out: the steps that differ from its own in one
thing: a count twice or half as large, another axis in the lanes, an operand copied or not, another strategy. Not all
can be lowered: ``ScheduleError`` says which cannot.
Next: ``nest.py``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from minigrad.lower.steps import Step, Steps, parse
from minigrad.target import Target

_LINE = re.compile(r"(map|rows|contraction|scan) over ([^:]*): (.*?)(?:; \d+ (?:iterations|workgroups))?(?: \(.*\))?")


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a stage's line says: the strategy, the sizes of the axes by name, and the steps."""

    strategy: str
    sizes: dict[str, int]
    steps: Steps

    @classmethod
    def read(cls, line: str) -> Chosen | None:
        """The line taken apart; None for that of a strategy without steps.

        >>> Chosen.read("rows over x0 = 64, r0 = 300: lanes(r0, 8), parallel(x0, 4); 16 iterations").sizes
        {'x0': 64, 'r0': 300}
        """
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        sizes = dict(part.split(" = ") for part in match[2].split(", ") if " = " in part)
        return cls(match[1], {name: int(size) for name, size in sizes.items()}, parse(match[3]))


def neighbours(chosen: Chosen, target: Target) -> list[Steps]:
    """Steps that differ in one thing, each once."""
    found = dict.fromkeys(steps for steps in _all(chosen, target) if steps != chosen.steps)
    return list(found)


def _all(chosen: Chosen, target: Target) -> Iterator[Steps]:
    steps, lanes = chosen.steps, target.lanes(4)
    for i, step in enumerate(steps.all):
        for changed in _changed(step, chosen, lanes):
            yield Steps((*steps.all[:i], *changed, *steps.all[i + 1:]))
    have = {(step.name, step.args[0]) for step in steps}
    lane_axes = [str(step.args[0]) for step in steps.named("lanes")]
    if chosen.strategy == "contraction":
        for name in ("a", "b"):
            if ("keep", name) not in have:
                yield steps + [Step("keep", (name, "scratch"))]
        last = [name for name in chosen.sizes if name.startswith("r")][-1]
        if ("split", last) not in have and chosen.sizes[last] >= 256:
            yield steps + [Step("split", (last, 256))]
        return
    for axis in chosen.sizes:  # other lanes, without what goes with those that are there
        if axis not in lane_axes and (chosen.strategy == "rows" or axis.startswith("x")):
            yield Steps((Step("lanes", (axis, lanes)), *steps.named("parallel")))
    for axis in lane_axes:
        if axis.startswith("r") and ("accumulate", axis) not in have:
            yield steps + [Step("accumulate", (axis, 2))]
        if axis.startswith("x") and ("unroll", axis) not in have and chosen.strategy == "rows":
            yield steps + [Step("unroll", (axis, 2))]
    if chosen.strategy == "rows" and any(axis.startswith("x") for axis in lane_axes):
        if ("keep", "sums") not in have:
            yield steps + [Step("keep", ("sums", "scratch"))]
        for last in [name for name in chosen.sizes if name.startswith("r")][-1:]:
            if ("unroll", last) not in have:
                yield steps + [Step("unroll", (last, 4))]
    if chosen.strategy == "rows":  # the same as tiles of a product
        kept = [name for name in chosen.sizes if name.startswith("x")]
        for rows in kept:
            for columns in kept:
                if rows != columns:
                    yield Steps((Step("multiply", (rows, min(4, chosen.sizes[rows]), columns, 2 * lanes)),
                                 Step("lanes", (columns, lanes)), *steps.named("parallel")[:1]))


def _changed(step: Step, chosen: Chosen, lanes: int) -> Iterator[tuple[Step, ...]]:
    """Other steps in the place of one."""
    if step.name in ("keep", "join"):
        yield ()
        if step.name == "keep" and step.args[0] == "b":
            yield (Step("keep", ("b", "window" if step.args[1] == "scratch" else "scratch")),)
    elif step.name == "multiply":
        rows, height, columns, width = step.args
        assert isinstance(height, int) and isinstance(width, int)
        for more in (-2, -1, 1, 2):
            if 0 < height + more <= chosen.sizes[str(rows)]:
                yield (Step("multiply", (rows, height + more, columns, width)),)
        own = chosen.steps.count("lanes", str(columns))
        for more in (-own, own):
            if width + more > 0:
                yield (Step("multiply", (rows, height, columns, width + more)),)
    else:
        axis, count = step.args
        assert isinstance(count, int)
        for other in (count * 2, count // 2):
            if other >= (1 if step.name == "parallel" else 2) and (step.name != "lanes" or other <= 2 * lanes):
                yield (Step(step.name, (axis, other)),)
        if step.name in ("unroll", "accumulate", "split"):
            yield ()
