"""Stage: explaining. In: a block of a program. Out: ``Recorder``: what ran in it and what asked for that, and for each
graph that ran its kernels and the lines they come from.

While a block is recorded, a few functions of the rooms below are replaced by ones that note something and call the
original. So a program that nobody explains pays nothing.
Next: ``holding.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from operator import add
from threading import get_ident
from time import perf_counter
from typing import Any
from weakref import WeakKeyDictionary

from minigrad import config
from minigrad.autograd.node import Node
from minigrad.autograd.walk import Walk
from minigrad.engine import plans, records
from minigrad.engine.details import Details
from minigrad.engine.inspect import Seen
from minigrad.engine.walk import Pending
from minigrad.explain.comparing import Outline, difference
from minigrad.explain.holding import Holdings
from minigrad.explain.roles import GRADIENT, VALUE, Roles
from minigrad.explain.sites import NOWHERE, Site, here
from minigrad.graph.origins import UNKNOWN, Origins
from minigrad.nn import Parameter
from minigrad.optim import Optimizer
from minigrad.runtime.allocator import memory
from minigrad.runtime.buffer import Buffer
from minigrad.tensor import unfold
from minigrad.tensor.replay import Entry, Trace, thread

MOST_RUNS = 20_000
"""Runs that are listed; later ones are counted only."""


SUMMING = "backward", "grad"
"""Calls that add up gradients from several places, which no forward call stands for."""


@dataclass(eq=False)
class Ran:
    """A graph that ran: what ran it, its kernels in every form (None for those of tier 0, and for what was recorded
    before the block), how it came about and how long that took, how it differs from others, and where its nodes and its
    results come from."""

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


@dataclass(frozen=True)
class Named:
    """A part of the program that has a name: from when on, in seconds since the recording began, how many seconds, and
    in which thread."""

    name: str
    at: float
    seconds: float
    thread: int


collecting: list[Recorder] = []
"""Those that record now. A named part of a program (``minigrad.profiler.record_function``) is noted in each."""


@dataclass
class _Found:
    """What was looked for last, and what came of it. ``key`` has the ids of ``sites``, which are compared sooner: a
    place is one object, and a graph that has run holds its sites."""

    pending: Pending
    sites: Sequence[Any]
    key: tuple[int, ...]
    outline: Outline | None
    seconds: float
    results: Sequence[Site]


class Recorder(Seen):
    """Collects what runs in a block: ``with Recorder().recording():``. Without ``lines`` it collects times and memory
    only, and the program runs as it does when nobody looks."""

    def __init__(self, lines: bool = True) -> None:
        super().__init__()
        self.lines = lines
        self.named: list[Named] = []
        self.origins = Origins(here)
        self.graphs: list[Ran] = []
        self.moments: list[Moment] = []
        self.left_out = 0
        self.seconds = 0.0
        self._began = perf_counter()
        self._holdings = Holdings()
        self._known: dict[Any, int] = {}
        self._outlines: dict[int, Outline] = {}
        self._found: _Found | None = None
        self._tape: WeakKeyDictionary[Node, Site] = WeakKeyDictionary()
        self._entries: dict[int, tuple[Entry, Site]] = {}
        self._roles: Roles | None = None

    @contextmanager
    def recording(self) -> Iterator[Recorder]:
        """The block. What its calls did before is not followed: their lines are not known."""
        with ExitStack() as stack:
            if self.lines:
                self._roles = Roles()
                stack.enter_context(config.config(TIERS=0))
                stack.enter_context(self.origins.noted())
            for owner, name, make in self._replaced():
                plain = getattr(owner, name)
                setattr(owner, name, make(plain))
                stack.callback(setattr, owner, name, plain)
            for those in (records, collecting):
                those.append(self)
                stack.callback(those.remove, self)
            if self.lines:
                _forget()
                stack.callback(_forget)
            self._began = perf_counter()
            try:
                yield self
            finally:
                self.seconds = perf_counter() - self._began

    def again(self) -> None:
        """Begin anew: what ran so far is not kept. What is known of graphs and lines stays."""
        self._began = perf_counter()
        self.moments, self.named, self.left_out = [], [], 0
        for ran in self.graphs:
            ran.runs, ran.times = 0, []

    def name(self, name: str, start: float, end: float) -> None:
        """Note a named part of the program. Times are those of ``perf_counter``."""
        if start >= self._began:
            self.named.append(Named(name, start - self._began, end - start, get_ident()))

    # --- what is told by the engine

    def asks(self, pending: Pending, executable: Any) -> bool:
        """Whether this graph has not run yet, with these lines."""
        return self.lines and self._found is not None and (executable, self._found.key) not in self._known

    def ran(self, pending: Pending, executable: Any, hit: bool, seconds: Sequence[float], details: Details | None,
            ) -> None:
        """A graph ran."""
        found = self._found
        if found is None or found.pending is not pending:
            return  # another thread looks for something at the same time
        self._found = None  # it holds the graph's memory
        key = executable, found.key
        at = self._known.get(key)
        if at is None:
            at = self._known[key] = len(self.graphs)
            how = "known before" if hit else executable.origin if executable.tier else "tier 0"
            made = Ran(executable, pending.device, details, len(pending.order), how, 0.0 if hit else found.seconds,
                       sites=found.sites, results=self._owners(found.results, pending))
            if found.outline is not None:
                made.difference = difference(found.outline, self._outlines)
                self._outlines[at] = found.outline
            self.graphs.append(made)
        self._known[executable] = at
        self._add_run(at, "cached" if hit else "planned", seconds, [node.buffer for node in pending.results],
                      found.seconds)

    def _owners(self, sites: Sequence[Site], pending: Pending) -> list[Site]:
        """Whom the results belong to: lines, and what they are to the program. That is so for later runs, too."""
        if self._roles is None:
            return list(sites)
        leaves = [node.buffer for node in pending.leaves]
        given, roles = (self._roles.of(buffers) for buffers in (leaves, [node.buffer for node in pending.results]))
        for buffer, role in zip(leaves, given, strict=True):
            if role is not VALUE:
                self._holdings.find(buffer, NOWHERE.owner(role))
        return [site.owner(GRADIENT if role is VALUE and (site.phase == "backward" or site.call in SUMMING) else role)
                for site, role in zip(sites, roles, strict=True)]

    def ran_again(self, executable: Any, device: str, seconds: Sequence[float], results: Sequence[Buffer]) -> None:
        """What ran before ran again."""
        at = self._known.get(executable)
        if at is None:
            at = self._known[executable] = len(self.graphs)
            self.graphs.append(Ran(executable, device, None, 0, "recorded before this block", 0.0))
        self._add_run(at, "replayed", seconds, results)

    def _add_run(self, graph: int, how: str, seconds: Sequence[float], results: Sequence[Buffer],
                 planning: float = 0.0) -> None:
        ran, holdings = self.graphs[graph], self._holdings
        ran.count(seconds)
        holdings.add(results, ran.results or [NOWHERE] * len(results))
        if len(self.moments) == MOST_RUNS:
            self.left_out += 1
            return
        at = perf_counter() - self._began - sum(seconds)
        self.moments.append(Moment(max(at, 0.0), graph, how, here(4), seconds, memory.in_use,
                                   holdings.changes(), get_ident(), planning, holdings.let_go()))

    # --- what is replaced while a block is recorded

    def _replaced(self) -> list[tuple[Any, str, Callable[[Any], Any]]]:
        """Whose attribute it is, its name, and what makes the function in its place from the original."""
        if not self.lines:
            return [(plans, "find", self._timing)]
        assert self._roles is not None
        return [(plans, "find", self._finding), (Details, "__init__", self._copying), (Node, "__init__", self._taping),
                (Walk, "_visit", self._visiting), (Trace, "note", self._noting), (unfold, "_call", self._unfolding),
                (Parameter, "__new__", self._roles.making), (Optimizer, "__init__", self._roles.preparing)]

    def _timing(self, plain: Any) -> Any:
        """Looking for a plan: how long it takes."""
        def find(pending: Pending) -> Any:
            start = perf_counter()
            executable, hit = plain(pending)
            self._found = _Found(pending, (), (), None, perf_counter() - start, ())
            return executable, hit

        return find

    def _finding(self, plain: Any) -> Any:
        """Looking for a plan: how long it takes, and what the graph was before the run."""
        def find(pending: Pending) -> Any:
            sites = [getattr(node, "origin", None) if node.srcs else None for node in pending.order]
            with self.origins.apart():
                self.origins.now.current = UNKNOWN
                start = perf_counter()
                executable, hit = plain(pending)
            seconds = perf_counter() - start
            results = [self.origins.of(node) or NOWHERE for node in pending.results]
            self._found = _Found(pending, sites, tuple(map(id, sites)), None if hit else Outline.of(pending, sites),
                                 seconds, results)
            return executable, hit

        return find

    def _copying(self, plain: Any) -> Any:
        """A copy of a graph: its nodes come from where the graph's do."""
        def init(details: Details, *parts: Any) -> None:
            with self.origins.apart():
                plain(details, *parts)

        return init

    def _taping(self, plain: Any) -> Any:
        """An entry of the tape: the line of the call."""
        def init(node: Node, body: Any, edges: Any, values: Sequence[Any]) -> None:
            plain(node, body, edges, values)
            self._tape[node] = (self.origins.of(values[-1]) if values else None) or here()

        return init

    def _visiting(self, plain: Any) -> Any:
        """A step of a backward pass: what it makes comes from the line of the forward call, unless the user has written
        its backward: then it comes from the lines of that."""
        def visit(walk: Walk, node: Node, gradients: Any) -> Any:
            site = None if node.runs else self._tape.get(node)
            with self.origins.apart():
                self.origins.now.current = None if site is None else site.backward
                return plain(walk, node, gradients)

        return visit

    def _noting(self, plain: Any) -> Any:
        """A call that may be followed next time: its line."""
        def note(trace: Trace, *parts: Any) -> None:
            plain(trace, *parts)
            if trace.path and id(trace.entry) not in self._entries:
                self._entries[id(trace.entry)] = trace.entry, here()

        return note

    def _unfolding(self, plain: Any) -> Any:
        """A call that was followed, and is recorded now: it comes from where it was made."""
        def call(trace: Trace, entry: Entry, *parts: Any) -> Any:
            known = self._entries.get(id(entry))
            with self.origins.apart():
                self.origins.now.current = None if known is None else known[1]
                return plain(trace, entry, *parts)

        return call


def _forget() -> None:
    """Compute what is pending in this thread, and follow no calls that were made before."""
    if thread.trace.path:
        thread.trace.stop("a block is explained")
    thread.forget()
