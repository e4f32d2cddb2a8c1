"""Stage: beside the house. In: seconds a call, one sample a round. Out: medians, paired ratios, shares of a limit.
A ratio is taken within a round, where both libraries met the same machine, and the median over rounds is reported.
Next: ``report.py``, which prints them."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Measured:
    """One library on one workload: ``samples[round]`` is seconds a call, ``others[round]`` the share of the machine
    that other processes took meanwhile; ``figures[unit][round]`` is what else was measured. ``reason`` says why there
    are none, ``text`` is all that the library said of it; ``over``: after how many seconds it was stopped; ``wrong``:
    whether its result was."""

    samples: dict[int, float] = field(default_factory=dict)
    others: dict[int, float] = field(default_factory=dict)
    figures: dict[str, dict[int, float]] = field(default_factory=dict)
    reason: str = ""
    over: float | None = None
    wrong: bool = False
    text: str = ""
    note: str = ""
    first_call: float | None = None
    error: float | None = None

    @property
    def median(self) -> float | None:
        """The median of the samples in seconds, or None.

        >>> Measured({0: 1.0, 1: 5.0, 2: 2.0}).median
        2.0
        """
        return statistics.median(self.samples.values()) if self.samples else None

    @property
    def shown(self) -> str:
        """The median for a person, or after how long the library was stopped.

        >>> Measured({0: 0.25}).shown, Measured(over=60.0).shown
        ('250 ms', '> 60 s')
        """
        return f"> {self.over:.0f} s" if self.over and not self.samples else duration(self.median)

    @property
    def spread(self) -> float | None:
        """(largest - smallest) / median: how far the rounds lie apart.

        >>> Measured({0: 1.0, 1: 5.0, 2: 2.0}).spread
        2.0
        """
        if not self.samples:
            return None
        return (max(self.samples.values()) - min(self.samples.values())) / statistics.median(self.samples.values())

    def figure(self, unit: str) -> float | None:
        """The median of another figure, or None.

        >>> Measured(figures={"MB": {0: 1.0, 1: 5.0, 2: 2.0}}).figure("MB")
        2.0
        """
        return statistics.median(self.figures[unit].values()) if self.figures.get(unit) else None

    def disturbed(self, threshold: float) -> int:
        """In how many rounds others took more than ``threshold`` of the machine.

        >>> Measured({0: 1.0, 1: 5.0}, {0: 0.0, 1: 0.5}).disturbed(0.15)
        1
        """
        return sum(share > threshold for share in self.others.values())


def _paired(a: Measured, b: Measured, combine: Callable[[float, float], float]) -> float | None:
    rounds = a.samples.keys() & b.samples.keys()
    return statistics.median(combine(a.samples[r], b.samples[r]) for r in rounds) if rounds else None


def median_ratio(a: Measured, b: Measured) -> float | None:
    """The median over the rounds both ran in of a's time over b's; None if there is none.

    >>> median_ratio(Measured({0: 4.0, 1: 9.0, 2: 1.0}), Measured({0: 2.0, 1: 3.0}))
    2.5
    """
    return _paired(a, b, lambda x, y: x / y)


def median_difference(a: Measured, b: Measured) -> float | None:
    """The median over the rounds both ran in of a's time minus b's, in seconds; None if there is none.

    >>> median_difference(Measured({0: 4.0, 1: 9.0}), Measured({0: 2.0, 1: 3.0}))
    4.0
    """
    return _paired(a, b, lambda x, y: x - y)


def repetitions(estimate: float, target: float) -> int:
    """How many calls of about ``estimate`` seconds fill a sample of ``target`` seconds: at least one.

    >>> repetitions(0.001, 0.3), repetitions(3.5, 0.3)
    (300, 1)
    """
    return max(1, round(target / max(estimate, 1e-7)))


def rate(work: float, seconds: float) -> float:
    """Work a second in units of 1e9: GFLOP/s or GB/s.

    >>> rate(2e9, 0.5)
    4.0
    """
    return work / seconds / 1e9


def relative_error(got: object, expected: object) -> float:
    """The largest absolute difference over the largest expected magnitude; infinite for wrong shapes or NaN.

    >>> relative_error([1.0, 2.0], [1.0, 2.5])
    0.2
    >>> relative_error([1.0], [[1.0]])
    inf
    """
    a, b = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    if a.shape != b.shape:
        return float("inf")
    if a.size == 0:
        return 0.0
    worst = float(np.abs(a - b).max()) / max(float(np.abs(b).max()), 1e-30)
    return worst if worst == worst else float("inf")


def wrong_result(error: float, tolerance: float) -> str:
    """What is said of a result that is off by more than is allowed.

    >>> wrong_result(0.5, 1e-4)
    'wrong result: off by 5.0e-01 of the largest value (allowed 1e-04)'
    """
    return f"wrong result: off by {error:.1e} of the largest value (allowed {tolerance:.0e})"


def duration(seconds: float | None) -> str:
    """Seconds for a person: three digits and a unit.

    >>> duration(3.4e-6), duration(0.0123), duration(2.5), duration(None)
    ('3.40 us', '12.3 ms', '2.50 s', '-')
    """
    if seconds is None:
        return "-"
    for unit, scale in (("us", 1e-6), ("ms", 1e-3)):
        value = seconds / scale
        if value < 999.5:
            return f"{value:.2f} {unit}" if value < 9.995 else f"{value:.1f} {unit}" if value < 99.95 else \
                f"{value:.0f} {unit}"
    return f"{seconds:.2f} s"


def plain(seconds: float) -> str:
    """Seconds that a person chose, as few digits as there are.

    >>> plain(0.7e-6), plain(0.05), plain(1.5)
    ('0.7 us', '50 ms', '1.5 s')
    """
    unit, scale = ("s", 1.0) if seconds >= 1 else ("ms", 1e-3) if seconds >= 1e-3 else ("us", 1e-6)
    return f"{seconds / scale:g} {unit}"
