"""Stage: beside the house. In: a seed and a number of programs. Out: random programs, by their names, and what their
measured rows come to: a line each, and the verdict.
Next: ``cli.py``, which prints both."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tools.bench.drawing import EXPRESSIONS, expression
from tools.bench.drawn_models import trained
from tools.bench.figures import Measured, median_ratio
from tools.bench.workloads import COMPILERS, Workload

# program number n is of kind KINDS[n % len(KINDS)]
KINDS = ("product", "elementwise", "mlp", "convolution", "reduction", "product", "rearrangement", "rnn", "product",
         "convolution", "elementwise", "transformer", "reduction", "product", "rearrangement", "cnn", "convolution",
         "elementwise", "product", "reduction")
PREFIX = "random"
LEAST_MEAN, SLOW, MOST_SLOW = 1.3, 0.9, 0.1  # --check: the geometric mean, what counts as slow, and how many may be


def name_of(seed: int, number: int) -> str:
    """The name of a program: everything about it follows from it.

    >>> name_of(7, 0)
    'random-7-0'
    """
    return f"{PREFIX}-{seed}-{number}"


def draw(name: str) -> Workload:
    """The program of that name. Raises ``KeyError`` for a name that is none.

    >>> draw("random-7-1").what.split(":")[0], draw("random-7-2").what.split(":")[0]
    ('elementwise', 'mlp step')
    """
    prefix, *numbers = name.split("-")
    if prefix != PREFIX or len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        raise KeyError(name)
    kind = KINDS[int(numbers[1]) % len(KINDS)]
    return (expression if kind in EXPRESSIONS else trained)(name, kind)


@dataclass(frozen=True)
class Best:
    """The peer that comes nearest, or is ahead: its time over minigrad's."""

    ratio: float
    peer: str


def best_peer(columns: Mapping[str, Measured]) -> Best | None:
    """The smallest ratio of a peer's time to minigrad's: compilers beside minigrad's jit where it ran, all others
    beside the plain program. None where minigrad or all peers are missing.

    >>> best_peer({"minigrad": Measured({0: 2.0}), "minigrad-jit": Measured({0: 1.0}), "torch": Measured({0: 3.0}),
    ...            "jax": Measured({0: 1.2})})
    Best(ratio=1.2, peer='jax')
    """
    plain = columns.get("minigrad", Measured())
    compiled = columns.get("minigrad-jit", plain)
    found = [Best(ratio, name) for name, column in columns.items() if not name.startswith("minigrad")
             if (ratio := median_ratio(column, compiled if name in COMPILERS else plain)) is not None]
    return min(found, key=lambda best: best.ratio, default=None)


def line(workload: Workload, columns: Mapping[str, Measured], share: str) -> str:
    """A program's row: what it is, its times, and the best peer's ratio."""
    best = best_peer(columns)
    times = "  ".join(f"{name} {column.shown}" for name, column in columns.items() if column.samples)
    reasons = [f"    {name}: {column.reason}" for name, column in columns.items() if column.reason]
    found = f"{best.ratio:.2f} ({best.peer})" if best else "-"
    remark = "  SLOW" if best and best.ratio < SLOW else ""
    return "\n".join([f"{workload.name}  {workload.what}",
                      f"    {times}  [{share}]  best other / minigrad {found}{remark}", *reasons])


@dataclass(frozen=True)
class Verdict:
    """What a run of random programs came to."""

    ratios: dict[str, float]
    failures: list[str]
    wrong: list[str]

    @property
    def mean(self) -> float:
        """The geometric mean of the ratios; 0 if there are none."""
        return statistics.geometric_mean(self.ratios.values()) if self.ratios else 0.0

    @property
    def slow(self) -> list[str]:
        """The programs whose best peer takes less than 0.9 of minigrad's time."""
        return [name for name, ratio in self.ratios.items() if ratio < SLOW]

    @property
    def passed(self) -> bool:
        """Whether a run is as fast as is asked, with no failure and no wrong number."""
        return (self.mean >= LEAST_MEAN and len(self.slow) <= MOST_SLOW * len(self.ratios) and not self.failures
                and not self.wrong)

    def __str__(self) -> str:
        slow, failures, wrong = (f"{len(found)} {tuple(found)}" if found else "0"
                                 for found in (self.slow, self.failures, self.wrong))
        return (f"{len(self.ratios)} programs: geometric mean {self.mean:.2f}, under {SLOW}: {slow}, "
                f"failures: {failures}, wrong numbers: {wrong}")


def judge(rows: Mapping[str, Mapping[str, Measured]]) -> Verdict:
    """The verdict on the rows of random programs: minigrad's failures and wrong numbers count, a peer's do not."""
    ratios = {name: best.ratio for name, columns in rows.items() if (best := best_peer(columns)) is not None}
    own = [(name, column) for name, columns in rows.items() for library, column in columns.items()
           if library.startswith("minigrad") and column.reason]
    return Verdict(ratios, sorted({name for name, column in own if not column.wrong}),
                   sorted({name for name, column in own if column.wrong}))


def programs(seed: int, count: int) -> Sequence[Workload]:
    """The first programs of a seed."""
    return [draw(name_of(seed, number)) for number in range(count)]
