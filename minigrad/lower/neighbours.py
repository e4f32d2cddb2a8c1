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

_LINE = re.compile(r"(\w+) over ([^:]*): (.*?)(?:; \d+ (?:iterations|workgroups))?(?: \(.*\))?")


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
    every = _on_gpu(chosen) if target.workgroup else _all(chosen, target)
    return list(dict.fromkeys(steps for steps in every if steps != chosen.steps))


def _all(chosen: Chosen, target: Target) -> Iterator[Steps]:
    steps, lanes = chosen.steps, target.lanes(4)
    for i, step in enumerate(steps.all):
        for changed in _changed(step, chosen, lanes):
            yield Steps((*steps.all[:i], *changed, *steps.all[i + 1:]))
    if chosen.strategy == "winograd":
        return  # the plain sum is another computation
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
    if chosen.strategy == "rows" and ("keep", "b") not in have and any(axis.startswith("r") for axis in lane_axes):
        yield steps + [Step("keep", ("b", "scratch"))]
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
    elif len(step.args) == 2 and isinstance(count := step.args[1], int):
        axis = step.args[0]
        for other in (count * 2, count // 2):
            if other >= (1 if step.name == "parallel" else 2) and (step.name != "lanes" or other <= 2 * lanes):
                yield (Step(step.name, (axis, other)),)
        if step.name in ("unroll", "accumulate", "split"):
            yield ()


# --- on GPUs

_TILES = ((2, 1, 2, 1, 1), (1, 2, 1, 2, 1), (1, 1, 2, .5, 1), (1, 1, 2, 1, 2), (1, 1, 1, 2, 2))
"""What the rows and columns of a thread, those of a workgroup, and its threads are multiplied by; or divided."""


def _on_gpu(chosen: Chosen) -> Iterator[Steps]:
    steps = chosen.steps
    for step in steps.named("multiply") + steps.named("matrix") + steps.named("warpgroup"):
        yield from _tiles(steps, step)
        if not steps.named("group"):
            yield steps + [Step("group", (step.args[0], 8))]
    if steps.named("matrix") or steps.named("warpgroup"):
        yield from _pipelines(chosen)
    for i, step in enumerate(steps.all):
        before, after = steps.all[:i], steps.all[i + 1:]
        if step.name in ("keep", "coalesce", "lanes", "split", "accumulate") and chosen.strategy != "contraction":
            yield Steps((*before, *after))
        if step.name in ("block", "grid", "lanes", "split", "accumulate", "group"):
            for factor in (2, .5):
                yield Steps((*before, _times(step, factor), *after))
    if chosen.strategy == "map" and chosen.sizes and not steps.named("lanes"):
        others = [step for step in steps if step.name != "split"]
        yield Steps((*others, Step("lanes", (list(chosen.sizes)[-1], 2))))
    reduced = [name for name in chosen.sizes if name.startswith("r")]
    if chosen.strategy == "rows" and reduced:
        if not steps.named("accumulate"):
            yield steps + [Step("accumulate", (reduced[-1], 2))]
        if not steps.named("coalesce"):
            yield steps + [Step("coalesce", (reduced[-1],))]
        if not steps.named("lanes"):
            yield steps + [Step("lanes", (reduced[-1], 2))]


def _pipelines(chosen: Chosen) -> Iterator[Steps]:
    """A tile more on its way, or less; none."""
    others = Steps(tuple([step for step in chosen.steps if step.name != "pipeline"]))
    last = [name for name in chosen.sizes if name.startswith("r")][-1]
    stages = chosen.steps.count("pipeline", last)
    yield others
    yield from (others + [Step("pipeline", (last, n))] for n in (stages - 1, stages + 1, 3) if n > 1)


def _tiles(steps: Steps, multiply: Step) -> Iterator[Steps]:
    """Other tiles of a product, by so many threads."""
    m, _, n, _ = multiply.args
    for factors in (*_TILES, *(tuple([1 / f for f in each]) for each in _TILES)):
        high, wide, rows, columns, threads = factors
        if min(int(multiply.args[1]) * high, int(multiply.args[3]) * wide) < 1:
            continue
        changed = []
        for step in steps:
            if step is multiply:
                step = Step(step.name, (m, int(int(step.args[1]) * high), n, int(int(step.args[3]) * wide)))
            elif step.name == "split" and step.args[0] in (m, n):
                step = _times(step, rows if step.args[0] == m else columns)
            elif step.name == "block":
                step = _times(step, threads)
            changed.append(step)
        yield Steps(tuple(changed))


def _times(step: Step, factor: float) -> Step:
    """The step with another count, at least 1."""
    count = step.args[-1]
    assert isinstance(count, int)
    return Step(step.name, (*step.args[:-1], max(1, int(count * factor))))
