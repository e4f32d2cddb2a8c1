"""Stage: lower, between what a strategy chooses and the loops that it writes. In: a stage's axes; text, or choices.
Out: steps: a value that says how the loops of a stage are made, which prints, parses, and is checked against the axes.
Next: ``neighbours.py``."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from minigrad.errors import ScheduleError
from minigrad.lower.axes import Axis
from minigrad.symbolic import Sym
from minigrad.target import Target

FORMS: dict[str, tuple[str, ...]] = {
    "lanes": ("axis", "count"), "parallel": ("axis", "count"), "split": ("axis", "count"), "unroll": ("axis", "count"),
    "accumulate": ("axis", "count"), "keep": ("what", "where"), "multiply": ("axis", "count", "axis", "count"),
    "join": ("axis", "..."), "word": ("axis",), "winograd": ("axis", "axis"), "block": ("count",), "grid": ("count",),
    "coalesce": ("axis",), "matrix": ("axis", "count", "axis", "count"),
    "warpgroup": ("axis", "count", "axis", "count"), "pipeline": ("axis", "count"), "group": ("axis", "count"),
}
"""The steps, and what each takes; ``minigrad.steps`` says what they do."""

PLAIN, CHOSEN = "plain loops", "chosen"
_STEP = re.compile(r"\s*([a-z]+)\(([^()]*)\)\s*,?")


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    >>> str(Step("lanes", ("x1", 8)))
    'lanes(x1, 8)'
    """

    name: str
    args: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.args))})"


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a stage, in any order.

    >>> steps = parse("lanes(x1, 8), parallel(x0, 4)")
    >>> steps.count("parallel", "x0"), steps.count("unroll", "x1")
    (4, 1)
    """

    all: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return ", ".join(map(str, self.all)) or PLAIN

    def __iter__(self) -> Iterator[Step]:
        return iter(self.all)

    def __add__(self, more: Iterable[Step]) -> Steps:
        return Steps((*self.all, *more))

    def named(self, name: str) -> list[Step]:
        """All steps of a name."""
        return [step for step in self.all if step.name == name]

    def count(self, name: str, axis: str) -> int:
        """The count that a step of this name gives the axis; 1 if there is none."""
        return next((int(step.args[1]) for step in self.all if step.name == name and step.args[0] == axis), 1)

    def number(self, name: str) -> int | None:
        """The count of a step that takes nothing else; None if there is none."""
        return next((int(step.args[0]) for step in self.all if step.name == name), None)

    def keeps(self, what: str) -> bool:
        """Whether something is kept in scratch memory, or in shared memory."""
        return any(step.name == "keep" and step.args[0] == what for step in self.all)


def parse(text: str) -> Steps:
    """The steps that a text spells, as they print.

    >>> parse("lanes(x0, 16) parallel(x0, 64)").all
    (Step(name='lanes', args=('x0', 16)), Step(name='parallel', args=('x0', 64)))
    >>> parse("vectorise(x0)")
    Traceback (most recent call last):
        ...
    minigrad.errors.ScheduleError: there is no step vectorise; the steps are lanes(axis, count), \
parallel(axis, count), split(axis, count), unroll(axis, count), accumulate(axis, count), keep(what, where), \
multiply(axis, count, axis, count), join(axis, ...), word(axis), winograd(axis, axis), block(count), \
grid(count), coalesce(axis), matrix(axis, count, axis, count), warpgroup(axis, count, axis, count), \
pipeline(axis, count), group(axis, count)
    """
    found: list[Step] = []
    at = 0
    if text.strip() in ("", PLAIN):
        return Steps()
    while text[at:].strip():
        match = _STEP.match(text, at)
        if match is None:
            raise ScheduleError("steps are written name(argument, ...), one after the other, not "
                                f"{text[at:].strip()!r}")
        args = [word.strip() for word in match[2].split(",") if word.strip()]
        found.append(_step(match[1], [int(word) if word.isdecimal() else word for word in args]))
        at = match.end()
    return Steps(tuple(found))


def _step(name: str, args: list[str | int]) -> Step:
    if name not in FORMS:
        known = ", ".join(f"{name}({', '.join(form)})" for name, form in FORMS.items())
        raise ScheduleError(f"there is no step {name}; the steps are {known}")
    form = FORMS[name]
    wanted = form if form[-1] != "..." else (form[0],) * max(2, len(args))
    if len(args) != len(wanted) or any((kind == "count") != (isinstance(arg, int) and arg > 0)
                                       for kind, arg in zip(wanted, args, strict=True)):
        raise ScheduleError(f"{name}({', '.join(map(str, args))}): the step is {name}({', '.join(form)}), where a "
                            "count is 1 or more")
    return Step(name, tuple(args))


def said(text: str, device: str) -> tuple[tuple[str, tuple[str | None, ...]], ...]:
    """What setting ``STEPS`` says for a device: for patterns of kernels' names the steps of each stage, or ``chosen``.
    A pattern may begin with a device's name and a slash.

    >>> said("dense*: lanes(x0, 8) | chosen; CPU/softmax*: plain loops; CUDA/*: block(64)", "CPU")
    (('dense*', ('lanes(x0, 8)', None)), ('softmax*', ('plain loops',)))
    """
    found = []
    for line in re.split(r"[;\n]", text):
        pattern, colon, stages = line.partition(":")
        if not colon and line.strip():
            raise ScheduleError(f"steps are given as 'pattern: steps | steps', not {line.strip()!r}")
        if line.strip():
            texts = [stage.strip() for stage in stages.split("|")]
            name, slash, rest = pattern.strip().rpartition("/")
            if not slash or name.upper() == device:
                found.append((rest, tuple([None if stage == CHOSEN else stage for stage in texts])))
    return tuple(found)


def given(kernel: str, target: Target) -> Sequence[Steps | None]:
    """The steps that a target has for the stages of a kernel, in order; the last pattern that fits counts."""
    for pattern, texts in reversed(target.steps):
        if fnmatchcase(kernel, pattern):
            return [None if text is None else parse(text) for text in texts]
    return ()


def line(pattern: str, stages: Sequence[str | None]) -> str:
    """What ``said`` reads, for a pattern and the steps of stages, None where they are to be chosen. ``ScheduleError``
    for what is no step."""
    for text in stages:
        if text is not None:
            parse(text)
    return f"{pattern}: {' | '.join(CHOSEN if text is None else text.strip() or PLAIN for text in stages)}"


@dataclass(frozen=True, slots=True)
class Strategy:
    """A row of what can be given to a strategy: the names of the steps that it takes, and what it can keep where."""

    name: str
    steps: tuple[str, ...]
    keeps: tuple[tuple[str, str], ...] = ()


class Space:
    """The axes of a stage, with names: those it keeps x0, x1 …, those it reduces r0, r1 …, outermost first."""

    def __init__(self, kept: Sequence[Axis], reduced: Sequence[Axis] = ()) -> None:
        self.axes = {**{f"x{i}": a for i, a in enumerate(kept)}, **{f"r{i}": a for i, a in enumerate(reduced)}}
        self._names = {id(a): name for name, a in self.axes.items()}

    def name(self, axis: Axis) -> str:
        """What an axis is called."""
        return self._names[id(axis)]

    def note(self, strategy: str, steps: Steps) -> str:
        """One line for DEBUG=3."""
        sizes = ", ".join(f"{name} = {axis.size}" for name, axis in self.axes.items()) or "one element"
        return f"{strategy} over {sizes}: {steps}"

    def lanes(self, steps: Steps, among: Sequence[Axis], blocked: Collection[Sym] = ()) -> Axis | None:
        """The one of these axes whose neighbours are the lanes of vectors; its variable may not be blocked."""
        bound = [step for step in steps.named("lanes") if self.axes[str(step.args[0])] in among]
        if len(bound) > 1:
            raise ScheduleError(f"{bound[1]}: {bound[0].args[0]} has the lanes already")
        if not bound:
            return None
        found = self.axes[str(bound[0].args[0])]
        if found.var in blocked:
            raise ScheduleError(f"{bound[0]}: an index is looked up for each element of {bound[0].args[0]}")
        return found

    def check(self, steps: Steps, strategy: Strategy) -> Steps:
        """The steps themselves; ``ScheduleError`` for one that this strategy does not have, for an axis that is not
        there, and for counts that cannot be."""
        for step in steps:
            if step.name not in strategy.steps:
                raise ScheduleError(f"{step}: {strategy.name} has no such step; it has {', '.join(strategy.steps)}")
            kinds = FORMS[step.name]
            for kind, arg in zip((*kinds, *["..."] * len(step.args)), step.args, strict=False):
                if kind in ("axis", "...") and arg not in self.axes:
                    raise ScheduleError(f"{step}: there is no axis {arg}; the axes are "
                                        + ", ".join(f"{name} = {axis.size}" for name, axis in self.axes.items()))
            if step.name in ("accumulate", "coalesce") and str(step.args[0])[0] != "r":
                raise ScheduleError(f"{step}: nothing is summed along {step.args[0]}")
            if step.name in ("lanes", "accumulate", "block") and int(step.args[-1]) & int(step.args[-1]) - 1:
                raise ScheduleError(f"{step}: a power of two is wanted")
            if step.name == "keep" and step.args not in strategy.keeps:
                raise ScheduleError(f"{step}: {strategy.name} can keep "
                                    + ", ".join(f"({what}, {where})" for what, where in strategy.keeps))
            if step.name == "unroll" and int(step.args[1]) > self.axes[str(step.args[0])].size:
                raise ScheduleError(f"{step}: {step.args[0]} has {self.axes[str(step.args[0])].size} steps")
        return steps
