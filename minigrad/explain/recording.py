"""Stage: explaining. In: a block of a program. Out: ``Recorder``: what ran in it and what asked for that, and for each
graph that ran its kernels and the lines they come from.

While a block is recorded, a few functions of the rooms below are replaced by ones that note something and call the
original. So a program that nobody explains pays nothing.
Next: ``following.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
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
from minigrad.explain.following import Following
from minigrad.explain.log import HostCall, Log, Moment, Ran
from minigrad.explain.roles import GRADIENT, VALUE, Roles
from minigrad.explain.sites import NOWHERE, Place, Site, here
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.origins import UNKNOWN, Origins
from minigrad.nn import Parameter
from minigrad.optim import Optimizer
from minigrad.runtime.buffer import Buffer
from minigrad.tensor.replay import Trace, thread

SUMMING = "backward", "grad"
"""Calls that add up gradients from several places, which no forward call stands for."""


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
    """What was looked for last, and what came of it."""

    pending: Pending
    sites: Sequence[Any]
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
        self._graphs: list[Ran] = []
        self.seconds = 0.0
        self._log = Log()
        self._known: dict[Any, Ran] = {}
        self._outlines: dict[int, Outline] = {}
        self._found: _Found | None = None
        self._tape: WeakKeyDictionary[Node, Site] = WeakKeyDictionary()
        self._following = Following(self.origins)
        self._roles: Roles | None = None

    @contextmanager
    def recording(self) -> Iterator[Recorder]:
        """The block. What its calls did before is not followed: their lines are not known."""
        with ExitStack() as stack:
            if self.lines:
                self._roles = Roles()
                if not Trace.quickened:
                    Trace.quicken()
                stack.enter_context(config.config(TIERS=0))
                stack.enter_context(self.origins.noted())
            for owner, name, make in self._replaced():
                plain = getattr(owner, name)
                before = vars(owner).get(name, plain)  # which may be a static method
                setattr(owner, name, make(plain))
                stack.callback(setattr, owner, name, before)
            for those in (records, collecting):
                those.append(self)
                stack.callback(those.remove, self)
            if self.lines:
                _forget()
                stack.callback(_forget)
            self._log.begin()
            try:
                yield self
            finally:
                self.seconds = perf_counter() - self._log.began

    @property
    def graphs(self) -> list[Ran]:
        """The graphs that ran, with the sums of their runs."""
        self._log.work_out()
        return self._graphs

    @property
    def moments(self) -> list[Moment]:
        """The runs that are listed."""
        return self._log.moments

    @property
    def before(self) -> dict[Site, int]:
        """Bytes that were held when the recording began, by whom they belong to."""
        return self._log.before

    @property
    def began(self) -> float:
        """When the recording began, by ``perf_counter``."""
        return self._log.began

    @property
    def left_out(self) -> int:
        """Runs that are counted only."""
        return self._log.left_out

    def again(self) -> None:
        """Begin anew: what ran so far is not kept. What is known of graphs and lines stays."""
        self._log.begin()
        self.named = []
        for ran in self._graphs:
            ran.runs, ran.times = 0, []

    def name(self, name: str, start: float, end: float) -> None:
        """Note a named part of the program. Times are those of ``perf_counter``."""
        if start >= self._log.began:
            self.named.append(Named(name, start - self._log.began, end - start, get_ident()))

    # --- what is told by the engine

    def asks(self, pending: Pending, executable: Any) -> bool:
        """Whether this graph has not run yet, with these lines."""
        return self.lines and executable not in self._known

    def ran(self, pending: Pending, executable: Any, hit: bool, seconds: Sequence[float], details: Details | None,
            ) -> None:
        """A graph ran."""
        found = self._found
        if found is None or found.pending is not pending:
            return  # another thread looks for something at the same time
        self._found = None  # it holds the graph's memory
        made = self._known.get(executable)
        if made is None:
            how = "known before" if hit else executable.origin if executable.tier else "tier 0"
            made = Ran(len(self._graphs), executable, pending.device, details, len(pending.order), how,
                       0.0 if hit else found.seconds, sites=found.sites, results=self._owners(found.results, pending))
            if found.outline is not None:
                made.difference = difference(found.outline, self._outlines)
                self._outlines[made.number] = found.outline
            self._known[executable] = made
            self._graphs.append(made)
        self._log.write(made, "cached" if hit else "planned", here(2), seconds,
                        [node.buffer for node in pending.results], found.seconds)

    def _owners(self, sites: Sequence[Site], pending: Pending) -> list[Site]:
        """Whom the results belong to: lines, and what they are to the program. That is so for later runs, too."""
        if self._roles is None:
            return list(sites)
        leaves = [node.buffer for node in pending.leaves]
        given, roles = (self._roles.of(buffers) for buffers in (leaves, [node.buffer for node in pending.results]))
        for buffer, role in zip(leaves, given, strict=True):
            if role is not VALUE:
                self._log.find(buffer, NOWHERE.owner(role))
        return [site.owner(GRADIENT if role is VALUE and (site.phase == "backward" or site.call in SUMMING) else role)
                for site, role in zip(sites, roles, strict=True)]

    def ran_again(self, executable: Any, device: str, seconds: Sequence[float], results: Sequence[Buffer]) -> None:
        """What ran before ran again."""
        ran = self._known.get(executable)
        if ran is None:
            ran = Ran(len(self._graphs), executable, device, None, 0, "recorded before this block", 0.0)
            self._known[executable] = ran
            self._graphs.append(ran)
        if not ran.asked.is_here():
            ran.asked = Place.here()
        self._log.write(ran, "replayed", ran.asked.site, seconds, results)

    def ran_by_host(self, node: LazyBuffer, name: str, seconds: float, nbytes: int, results: Sequence[Buffer],
                    call: Any) -> None:
        """NumPy or LAPACK computed something. On the NUMPY device the same op gives memory in some runs only: those are
        counted as others."""
        site = (self.origins.of(node) if call is None else self._following.line(call)) or NOWHERE
        device = node.device if node.device == "NUMPY" else "CPU"
        key = HostCall(name, nbytes), device, site, tuple([buffer.nbytes for buffer in results])
        ran = self._known.get(key)
        if ran is None:
            ran = self._known[key] = Ran(len(self._graphs), key[0], device, None, 1, "a function of the host", 0.0,
                                         sites=[site], results=[site.owner(VALUE)] * len(results))
            self._graphs.append(ran)
        self._log.write(ran, "by the host", here(2), [seconds], results)

    # --- what is replaced while a block is recorded

    def _replaced(self) -> list[tuple[Any, str, Callable[[Any], Any]]]:
        """Whose attribute it is, its name, and what makes the function in its place from the original."""
        always = [(Buffer, "__del__", self._log.letting_go)]
        if not self.lines:
            return [*always, (plans, "find", self._timing)]
        assert self._roles is not None
        return [*always, (plans, "find", self._finding), (Details, "__init__", self._copying),
                (Node, "__init__", self._taping), (Walk, "_visit", self._visiting), *self._following.replaced(),
                (Parameter, "__new__", self._roles.making), (Optimizer, "__init__", self._roles.preparing)]

    def _timing(self, plain: Any) -> Any:
        """Looking for a plan: how long it takes."""
        def find(pending: Pending) -> Any:
            start = perf_counter()
            executable, hit = plain(pending)
            self._found = _Found(pending, (), None, perf_counter() - start, ())
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
            self._found = _Found(pending, sites, None if hit else Outline.of(pending, sites),
                                 seconds, results)
            return self._following.executable(executable, sites), hit

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


def _forget() -> None:
    """Compute what is pending in this thread, and follow no calls that were made before."""
    if thread.trace.path:
        thread.trace.stop("a block is explained")
    thread.forget()
