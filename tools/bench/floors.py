"""Stage: beside the house. In: one row's measured times. Out: whether the row keeps its floors, with a sentence.
A floor is what a row must keep whatever the machine's mood, so each is a ratio or a difference of times from one run.
Next: ``figures.py``, the statistics they are decided by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tools.bench.disturbance import DISTURBED
from tools.bench.figures import Measured, duration, median_difference, median_ratio, plain


@dataclass(frozen=True)
class Verdict:
    """``passed`` is None where the floor could not be decided because a peer is not there."""

    passed: bool | None
    text: str

    @property
    def word(self) -> str:
        """PASS, FAIL or ``----``."""
        return "----" if self.passed is None else "PASS" if self.passed else "FAIL"


class Floor:
    """The base of the floors: a missing minigrad fails, a missing peer leaves the floor undecided."""

    peer: str

    def promise(self) -> str:
        """What the floor asks for, in words."""
        raise NotImplementedError

    def verdict(self, columns: Mapping[str, Measured]) -> Verdict:
        """Decide this floor from a row's columns."""
        minigrad = columns.get("minigrad")
        if minigrad is None or not minigrad.samples:
            return Verdict(False, f"{self.promise()}: minigrad: {minigrad.reason if minigrad else 'not measured'}")
        peer = columns.get(self.peer)
        if self.peer and (peer is None or not peer.samples):
            return Verdict(None, f"{self.promise()}: {self.peer}: {peer.reason if peer else 'not measured'}")
        verdict = self._decide(columns)
        if any(2 * column.disturbed(DISTURBED) > len(column.samples) for column in (minigrad, peer) if column):
            return Verdict(verdict.passed, verdict.text + " (disturbed: measure again on a quiet machine)")
        return verdict

    def _decide(self, columns: Mapping[str, Measured]) -> Verdict:
        raise NotImplementedError


@dataclass(frozen=True)
class Ratio(Floor):
    """The peer's time over minigrad's is at least ``at_least`` (1.0: minigrad is no slower)."""

    peer: str
    at_least: float

    def promise(self) -> str:
        return f"{self.peer}/minigrad at least {self.at_least:.2f}"

    def _decide(self, columns: Mapping[str, Measured]) -> Verdict:
        ratio = median_ratio(columns[self.peer], columns["minigrad"])
        if ratio is None:
            return Verdict(None, f"{self.promise()}: no round in which both ran")
        return Verdict(ratio >= self.at_least, f"{self.promise()}: {ratio:.2f}")


@dataclass(frozen=True)
class AtMost(Floor):
    """minigrad takes at most this many seconds."""

    seconds: float
    peer: str = ""

    def promise(self) -> str:
        return f"at most {plain(self.seconds)}"

    def _decide(self, columns: Mapping[str, Measured]) -> Verdict:
        median = columns["minigrad"].median
        assert median is not None
        return Verdict(median <= self.seconds, f"{self.promise()}: {duration(median)}")


@dataclass(frozen=True)
class FigureAtMost(Floor):
    """Another figure of minigrad's row, such as its memory, is at most this."""

    figure: str
    limit: float
    peer: str = ""

    def promise(self) -> str:
        return f"at most {self.limit:g} {self.figure}"

    def _decide(self, columns: Mapping[str, Measured]) -> Verdict:
        value = columns["minigrad"].figure(self.figure)
        if value is None:
            return Verdict(None, f"{self.promise()}: not measured here")
        return Verdict(value <= self.limit, f"{self.promise()}: {value:.3g}")


@dataclass(frozen=True)
class Over(Floor):
    """minigrad takes at most this many seconds more than the peer."""

    peer: str
    seconds: float

    def promise(self) -> str:
        return f"at most {self.seconds * 1e3:.0f} ms over {self.peer}"

    def _decide(self, columns: Mapping[str, Measured]) -> Verdict:
        over = median_difference(columns["minigrad"], columns[self.peer])
        if over is None:
            return Verdict(None, f"{self.promise()}: no round in which both ran")
        return Verdict(over <= self.seconds, f"{self.promise()}: {over * 1e3:.0f} ms")
