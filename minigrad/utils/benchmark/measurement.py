"""Stage: measuring. In: seconds of several blocks of runs, and what ran. Out: ``Measurement``: the median, how far it
can be trusted, and that in words.
Next: ``fuzzer.py``.

https://docs.pytorch.org/docs/stable/benchmark_utils.html
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

UNITS = (("ns", "nanosecond", 1e-9), ("us", "microsecond", 1e-6), ("ms", "millisecond", 1e-3), ("s", "second", 1.0))
"""Units of time, and how many seconds each is."""

MOST_DIGITS = 4
"""Digits beyond this say nothing about a time."""

SHORTEST = 25e-9
"""Seconds that no clock can tell apart."""

NOISY, DOUBTFUL = 0.1, 0.25
"""The distance between quartiles as a part of the median, from which on a measurement is called noisy, or doubtful."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, init=True)
class TaskSpec:
    """What is measured. Measurements of equal ones can be merged.

    >>> TaskSpec("x + 1", "pass", label="add", sub_label="small").title
    'add: small'
    """

    stmt: str
    setup: str
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """What is measured, in a line or two: the label, or the statement."""
        if self.label is not None:
            return self.label + (f": {self.sub_label}" if self.sub_label else "")
        if "\n" not in self.stmt:
            return self.stmt + (f": {self.sub_label}" if self.sub_label else "")
        return f"stmt:{f' ({self.sub_label})' if self.sub_label else ''}\n{textwrap.indent(self.stmt, '  ')}"

    def setup_str(self) -> str:
        """What runs before, for people; empty if nothing does."""
        if self.setup in ("", "pass"):
            return ""
        return f"setup:\n{textwrap.indent(self.setup, '  ')}" if "\n" in self.setup else f"setup: {self.setup}"

    def summarize(self) -> str:
        """Title, description and setup.

        >>> print(TaskSpec("x + 1", "x = 3", description="Python's").summarize())
        x + 1
        Python's
        setup: x = 3
        """
        parts = [self.title, self.description or "", self.setup_str()]
        return "\n".join([f"{part}\n" if "\n" in part else part for part in parts if part])


@dataclass(init=True, repr=False)
class Measurement:
    """``raw_times``: seconds of each block of ``number_per_run`` runs; ``times``: seconds of a run. What a ``TaskSpec``
    says (``label``, ``stmt`` …) is an attribute, too.

    ``TypeError`` for another ``task_spec``.

    >>> found = Measurement(10, [1.0, 2.0, 6.0], TaskSpec("x + 1", "pass"))
    >>> found.times, found.median, found.stmt
    ([0.1, 0.2, 0.6], 0.2, 'x + 1')
    """

    number_per_run: int
    raw_times: list[float]
    task_spec: TaskSpec
    metadata: dict[Any, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.task_spec, TaskSpec):
            raise TypeError(f"task_spec should be a TaskSpec, which says what was measured; got "
                            f"{type(self.task_spec).__name__}")

    def __getattr__(self, name: str) -> Any:
        if name != "task_spec" and name in TaskSpec.__dataclass_fields__:
            return getattr(self.task_spec, name)
        raise AttributeError(f"'Measurement' object has no attribute {name!r}")

    @property
    def times(self) -> list[float]:
        """Seconds of a run, block by block."""
        return [t / self.number_per_run for t in self.raw_times]

    def _at(self, share: float) -> float:
        return float(np.quantile(self.times, share))

    @property
    def median(self) -> float:
        """The median of ``times``, in seconds."""
        return self._at(0.5)

    @property
    def mean(self) -> float:
        """The mean of ``times``, in seconds."""
        return float(np.mean(self.times))

    @property
    def iqr(self) -> float:
        """The distance from the first to the third quartile of ``times``, in seconds."""
        return self._at(0.75) - self._at(0.25)

    @property
    def significant_figures(self) -> int:
        """How many digits of the median can be trusted, 1 … 4: ``log10(median / c)``, where ``c`` is what the mean of
        the middle half of the times is within with a probability of 90 %: 1.645 σ / √n.

        >>> Measurement(1, [1.0, 1.01, 1.02, 1.03], TaskSpec("x", "pass")).significant_figures
        2
        """
        count = len(self.times)
        middle = sorted(self.times)[count // 4:math.ceil(3 * count / 4)]
        within = max(1.645 * float(np.std(middle)) / math.sqrt(len(middle)), SHORTEST)
        return min(max(math.floor(math.log10(max(self.median, SHORTEST) / within)), 1), MOST_DIGITS)

    def meets_confidence(self, threshold: float = NOISY) -> bool:
        """Whether the quartiles are nearer to each other than this part of the median."""
        return self.iqr < threshold * self.median

    @property
    def has_warnings(self) -> bool:
        """Whether the times differ so much that they say little."""
        return self.iqr / self.median > NOISY

    @property
    def title(self) -> str:
        """What was measured; see ``TaskSpec``."""
        return self.task_spec.title

    @property
    def as_row_name(self) -> str:
        """What stands before its row of a table."""
        return self.sub_label or self.stmt or "[Unknown]"

    def __repr__(self) -> str:
        """The measurement in words, with a warning if it is noisy."""
        unit, size = select_unit(self.median)
        blocks, threads = len(self.raw_times), self.num_threads
        lines = [f"<{type(self).__module__}.Measurement object at {id(self):#x}>", self.task_spec.summarize()]
        if blocks == 1:
            lines.append(f"  {self.median / size:.2f} {unit}")
        else:
            lines.append(f"  Median: {self.median / size:.2f} {unit}")
        if blocks > 3:
            lines.append(f"  IQR:    {self.iqr / size:.2f} {unit} ({self._at(0.25) / size:.2f} to "
                         f"{self._at(0.75) / size:.2f})")
        lines.append(f"  {blocks} measurement{'s' if blocks > 1 else ''}, {self.number_per_run} runs "
                     f"{'per measurement' if blocks > 1 else ''}, {threads} thread{'s' if threads > 1 else ''}")
        if self.has_warnings:
            why = ("This could indicate system fluctuation." if self.meets_confidence(DOUBTFUL) else
                   "This suggests significant environmental influence.")
            lines += [f"  WARNING: Interquartile range is {self.iqr / self.median * 100:.1f}% of the median "
                      f"measurement.\n           {why}"]
        return "\n".join(lines)

    @staticmethod
    def merge(measurements: Iterable[Measurement]) -> list[Measurement]:
        """One measurement for each thing that was measured, with the times of all of it.

        >>> spec = TaskSpec("x", "pass")
        >>> Measurement.merge([Measurement(2, [4.0], spec), Measurement(1, [3.0], spec)])[0].times
        [2.0, 3.0]
        """
        found: dict[TaskSpec, list[float]] = {}
        for m in measurements:
            found.setdefault(m.task_spec, []).extend(m.times)
        return [Measurement(1, times, spec) for spec, times in found.items()]


def select_unit(seconds: float) -> tuple[str, float]:
    """The unit that suits a time, and how many seconds it is.

    >>> select_unit(3e-5)
    ('us', 1e-06)
    """
    return next(((unit, size) for unit, _, size in reversed(UNITS) if seconds >= size), (UNITS[0][0], UNITS[0][2]))


def unit_to_english(unit: str) -> str:
    """The word for a unit. ``KeyError`` for one that there is not.

    >>> unit_to_english("us")
    'microsecond'
    """
    return {short: word for short, word, _ in UNITS}[unit]


def trim_sigfig(x: float, n: int) -> float:
    """A number of ``n`` digits. ``ValueError`` for an ``n`` that is no int.

    >>> trim_sigfig(123456, 3), trim_sigfig(0.0012345, 2)
    (123000.0, 0.0012)
    """
    if n != int(n):
        raise ValueError(f"n should be an int, got {n!r}")
    return float(f"{x:.{int(n) - 1}e}") if x else 0.0


def ordered_unique(elements: Iterable[Key]) -> list[Key]:
    """Each element once, in the order they first come.

    >>> ordered_unique([3, 1, 3])
    [3, 1]
    """
    return list(dict.fromkeys(elements))


def digits_of(values: Sequence[float], significant: Sequence[int]) -> int:
    """How many decimals these numbers should have if so many digits of each can be trusted; not less than 0.

    >>> digits_of([10.05, 150.1], [4, 2]), digits_of([9300.0], [2])
    (2, 0)
    """
    return max([0, *[n - 1 - math.floor(math.log10(v)) for v, n in zip(values, significant, strict=True) if v > 0]])
