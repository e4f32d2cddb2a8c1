"""Stage: front. In: what minigrad itself does again and again, like an optimizer's step. Out: ``Update``, which does it
as a program.
Next: ``autograd/``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minigrad import config
from minigrad.engine import graphs_are_shown, realise
from minigrad.jit.recording import Given, Recording
from minigrad.jit.surroundings import Surroundings
from minigrad.jit.trees import flatten
from minigrad.jit.variant import Variant
from minigrad.jit.writer import OTHERWISE
from minigrad.runtime.locks import computing
from minigrad.tensor.replay import Trace, several, thread
from minigrad.tensor.storage import Writes, tracing

MOST_VARIANTS = 4
"""Programs known at a time; they differ in which gradients are there."""

MOST_FAILURES = 16
"""Calls for which no known program was right. Each pays for itself when it has run as often again."""


class Update:
    """Something done to Tensors, without arguments or results. Unlike a function of the user's it is known to depend on
    nothing but what the roots reach: so one recording is enough, nobody need hear of it, and where a program is of no
    use (the gradients are pending, or are others at each call) it is done in the ordinary way.

    ``free``: the names of what it asks for anew at each call."""

    def __init__(self, name: str, free: frozenset[str]) -> None:
        self.name, self.free = name, free
        self._roots: Sequence[Any] = ()
        self._variants: list[Variant] = []
        self._done = self._failed = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy starts with no programs."""
        return Update, (self.name, self.free)

    def run(self, *roots: Any) -> bool:
        """Do it by a program that is known; False, and nothing is done, if there is none for today's Tensors."""
        trace = thread.trace
        if not self._variants or not _is_free(trace):
            return False
        if several:
            with computing:
                return self._run(roots, trace)
        return self._run(roots, trace)

    def _run(self, roots: Sequence[Any], trace: Trace) -> bool:
        for new, old in zip(roots, self._roots, strict=True):
            if new is not old:
                self._variants.clear()
                return False
        if trace.loose or Writes.any():
            realise(Writes.take() + trace.held())
        for variant in self._variants:
            if variant.fits():
                if variant.run() is OTHERWISE:
                    self._variants.remove(variant)
                    return False
                self._done += 1
                self._end(trace)
                return True
        return False

    def record(self, act: Callable[[], None], **roots: Any) -> bool:
        """Do it by calling ``act``, which reads and changes only what the roots reach, and record it. False, and
        nothing is done, if it is not worth that."""
        trace = thread.trace
        if self._failed > MOST_FAILURES + self._done or not _is_free(trace):
            return False
        with computing:
            realise(Writes.take() + trace.held())
            self._failed += 1
            self._roots = tuple(roots.values())
            around = Surroundings(list(roots.items()), self.free)
            if around.problem:
                return False
            new = Variant(around)
            given: tuple[tuple[Any, ...], dict[str, Any]] = (), {}
            new.program = Recording(self.name, act, Given(given, flatten(given, []), ()), around, ()).program
            if new.program is not None:
                self._variants = [new, *self._variants[:MOST_VARIANTS - 1]]
            self._end(trace)
        return True

    @staticmethod
    def _end(trace: Trace) -> None:
        """Go on in the tree of what comes after an update."""
        trace.let_go()  # of the operands of a call that has failed
        thread.begin("update")


def _is_free(trace: Trace) -> bool:
    """Whether nothing of the calls before is pending, nobody records, and nobody wants to see the graph."""
    return not (trace.path or trace.capture is not None or tracing.names or graphs_are_shown()) and config.replays()
