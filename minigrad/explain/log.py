"""Stage: explaining. In: runs, and memory that is let go of, one after another. Out: ``Log``, which writes down the
least while the program runs, and works out the rest when somebody reads it: ``Moment``s, and the sums of each graph.
Next: ``holding.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import add, attrgetter
from threading import get_ident
from time import perf_counter
from typing import Any

from minigrad.engine.details import Details
from minigrad.explain.holding import Holdings
from minigrad.explain.sites import NOWHERE, Place, Site
from minigrad.runtime.allocator import memory
from minigrad.runtime.buffer import Buffer

MOST_RUNS = 20_000
"""Runs that are listed; later ones are counted only."""

MOST_WRITTEN = 100_000
"""What is written down before it is worked out, as a program may make values for ever."""

BETWEEN_LOOKS = 1e-3
"""Seconds between two times when the memory in use is counted, which takes 3 to 5 microseconds: longer than a small
run. In between it changes by what runs make and what of that is let go of."""

_size_of = attrgetter("nbytes")


@dataclass(frozen=True)
class HostCall:
    """What runs a HOST node or an op of the NUMPY device: a function by its name. ``bytes`` are those that it reads."""

    name: str
    bytes: int
    flops: int = 0
    tier: int = 0

    @property
    def kernels(self) -> list[HostCall]:
        """Itself, as the only one."""
        return [self]


@dataclass(eq=False)
class Ran:
    """A graph that ran: what ran it, its kernels in every form (None for those of tier 0, for what was recorded before
    the block, and for a HOST node), how it came about and how long that took, how it differs from others, and where its
    nodes and its results come from (of a HOST node the only site). ``number``: its position in ``Recorder.graphs``;
    ``asked``: where the last run was asked for; ``launched``: kernels of a run; ``sizes``: bytes of the memory of each
    result, of the first run."""

    number: int
    executable: Any
    device: str
    details: Details | None
    nodes: int
    how: str
    seconds: float
    difference: str = ""
    sites: Sequence[Any] = ()
    results: Sequence[Site] = ()
    runs: int = 0
    times: list[float] = field(default_factory=list)
    asked: Place = field(default_factory=Place)
    launched: int = 0
    sizes: Sequence[int] | None = None

    def count(self, seconds: Sequence[float]) -> None:
        """Add a run to the sums of each kernel."""
        self.times = [*map(add, self.times, seconds)] if self.runs else [*seconds]
        self.runs += 1

    @property
    def launches(self) -> list[int]:
        """How often each kernel ran."""
        return [self.runs] * len(self.times)


@dataclass(slots=True)
class Moment:
    """A run: when its kernels began, in seconds since the recording did, its graph's position in ``Recorder.graphs``,
    how it ran, where it was asked for, how long each kernel took, the bytes in use when it was over, and how many of
    them belong to whom, of those for whom that has changed. ``thread``: its number; ``planning``: seconds before ``at``
    that went into finding or making its plan; ``freed``: bytes of results that were let go of since the moment
    before."""

    at: float
    graph: int
    how: str
    site: Site
    seconds: Sequence[float]
    held: int
    owners: Sequence[tuple[Site, int]]
    thread: int
    planning: float
    freed: int


class Log:
    """What ran, when, and what it held.

    ``_written`` has, one after another, what came: for a run its graph, how it ran, where it was asked for, when it was
    over, the memory in use if that was counted, the thread's number, the seconds for its plan, those of each kernel,
    and the ids of the results; for a result that was let go of, which is known to be ``_alive`` until then, its id.
    It has no lists in it: each would be one more that Python's garbage collector looks at. ``before``: the bytes by
    owner that were held at the beginning."""

    def __init__(self) -> None:
        self._holdings = Holdings()
        self._alive: set[int] = set()
        self._written: list[Any] = []
        self._worked_out: list[Moment] = []
        self._other = 0  # bytes in use that are nobody's here
        self.begin()

    def begin(self) -> None:
        """Forget the runs so far, and count time from now on. What is held stays known."""
        self.work_out()
        self.before = self._holdings.by_owner()
        self.began = perf_counter()
        self._worked_out = []
        self._look = 0.0
        self._runs = self.left_out = 0

    @property
    def moments(self) -> list[Moment]:
        """The runs."""
        self.work_out()
        return self._worked_out

    def write(self, ran: Ran, how: str, site: Site, seconds: Sequence[float], results: Sequence[Buffer],
              planning: float = 0.0) -> None:
        """A run is over."""
        if self._runs >= MOST_RUNS:
            self.left_out += 1
            ran.count(seconds)
            return
        self._runs += 1
        now = perf_counter()
        in_use = None
        if now > self._look:
            in_use, self._look = memory.in_use, now + BETWEEN_LOOKS
        if ran.sizes is None:
            ran.launched, ran.sizes = len(seconds), [*map(_size_of, results)]
        ids = [*map(id, results)]
        self._alive.update(ids)
        written = self._written
        written += (ran, how, site, now, in_use, get_ident(), planning, *seconds, *ids)
        if len(written) >= MOST_WRITTEN:
            self.work_out()

    def find(self, buffer: Buffer, owner: Site) -> None:
        """Note memory that no run has made, unless it has an owner."""
        self.work_out()
        self._alive.add(id(buffer))
        self._holdings.find(id(buffer), buffer.nbytes, owner)

    def letting_go(self, plain: Callable[[Buffer], None]) -> Callable[[Buffer], None]:
        """In place of ``Buffer.__del__``."""
        alive, write = self._alive, self._written.append

        def let_go(buffer: Buffer) -> None:
            plain(buffer)
            key = id(buffer)
            if key in alive:
                alive.discard(key)
                write(key)

        return let_go

    def work_out(self) -> None:
        """Make of what is written down the moments, and the sums of graphs."""
        written, holdings, moments = self._written, self._holdings, self._worked_out
        count, i = len(written), 0  # finalisers add to it at any time
        while i < count:
            ran = written[i]
            if isinstance(ran, int):
                holdings.let_go_of(ran)
                i += 1
                continue
            how, site, end, in_use, thread, planning = written[i + 1:i + 7]
            first, i = i + 7 + ran.launched, i + 7 + ran.launched + len(ran.sizes)
            seconds, ids = written[first - ran.launched:first], written[first:i]
            ran.count(seconds)
            holdings.add(ids, ran.sizes, ran.results or [NOWHERE] * len(ids))
            if in_use is not None:
                self._other = in_use - holdings.total
            at = max(end - sum(seconds) - self.began, 0.0)
            moments.append(Moment(at, ran.number, how, site, seconds, self._other + holdings.total, holdings.changes(),
                                  thread, planning, holdings.freed()))
        del written[:count]
