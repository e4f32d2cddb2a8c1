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
from minigrad.tensor.replay import FOLLOW, several, thread
from minigrad.tensor.storage import Writes, tracing

MOST_VARIANTS = 4
"""Programs known at a time; they differ in which gradients are there."""

MOST_FAILURES = 16
"""Calls for which no known program was right. Each pays for itself when it has run as often again."""


class Update:
    """Something done to Tensors, without arguments or results. Unlike a function of the user's it is known to depend on
    nothing but what the roots reach: so one recording is enough, nobody need hear of it, and where a program is of no
    use (the gradients are pending, or are others at each call) it is done in the ordinary way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._roots: Sequence[tuple[str, Any]] = ()
        self._variants: list[Variant] = []
        self._done = self._failed = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy starts with no programs."""
        return Update, (self.name,)

    def __call__(self, act: Callable[[], None], roots: Sequence[tuple[str, Any]], free: frozenset[str]) -> bool:
        """Do what ``act`` does, which reads and changes only what the roots (name and value) reach, and computes what
        it reads of the names in ``free`` anew at each call. False if nothing was done, and it is to be called in the
        ordinary way."""
        trace = thread.trace
        if (self._failed > MOST_FAILURES + self._done or trace.path or trace.capture is not None or tracing.names
                or not config.get("REPLAY") or graphs_are_shown()):
            return False
        if several:
            with computing:
                return self._again(act, roots, free)
        return self._again(act, roots, free)

    def _again(self, act: Callable[[], None], roots: Sequence[tuple[str, Any]], free: frozenset[str]) -> bool:
        trace = thread.trace
        if Writes.any() or trace.loose:
            realise(Writes.take() + trace.held())
        if not self._same(roots):
            self._roots, self._variants = roots, []
        for variant in self._variants:
            if not variant.fits():
                continue
            if variant.run() is not OTHERWISE:
                self._done += 1
                break
            self._failed += 1
            self._variants.remove(variant)
            return False
        else:
            self._failed += 1
            if not self._record(act, free):
                return False
        if trace.values or trace.state != FOLLOW or trace is not thread.trace:
            thread.begin("update")
        else:
            trace.entry = thread.roots["update"]  # nothing has begun in it yet
        return True

    def _same(self, roots: Sequence[tuple[str, Any]]) -> bool:
        return len(roots) == len(self._roots) and all(
            [new is old for (_, new), (_, old) in zip(roots, self._roots, strict=True)])

    def _record(self, act: Callable[[], None], free: frozenset[str]) -> bool:
        around = Surroundings(self._roots, free)
        if around.problem:
            return False
        new = Variant(around)
        given: tuple[tuple[Any, ...], dict[str, Any]] = (), {}
        new.program = Recording(self.name, act, Given(given, flatten(given, []), ()), around, ()).program
        if new.program is not None:
            self._variants = [new, *self._variants[:MOST_VARIANTS - 1]]
        return True
