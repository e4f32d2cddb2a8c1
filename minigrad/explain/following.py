"""Stage: explaining. In: calls of a thread, as they are made, followed and recorded. Out: ``Following``: the line of
each, also of a call that is followed. Calls from other lines are other calls in a block that is explained, though they
compute the same: what tells calls apart has the line in it.
Next: ``log.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

from minigrad.autograd.mode import mode
from minigrad.explain.sites import Place, Site
from minigrad.graph.origins import Origins
from minigrad.jit.update import Update
from minigrad.tensor import function, unfold
from minigrad.tensor.entry import Entry
from minigrad.tensor.replay import Trace

Mode = tuple[bool | None, Site]
"""In a key of a call, in the place of whether the tape is on: that, and the line."""


class Following:
    """Which lines the calls come from that are known to a thread, those that its optimizers' updates come from, and
    what runs the graphs of each."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self._modes: dict[Mode, Mode] = {}
        self._expected: dict[Entry, tuple[Place, Mode]] = {}
        self._lines: dict[Entry, Site] = {}
        self._updates: dict[tuple[Update, Site], Update] = {}
        self._last: dict[Update, tuple[Place, Update]] = {}
        self._executables: dict[tuple[Any, tuple[int, ...]], tuple[Any, Sequence[Any]]] = {}
        self._given: set[Any] = set()

    def replaced(self) -> list[tuple[Any, str, Callable[[Any], Any]]]:
        """Whose attribute it is, its name, and what makes the function in its place from the original."""
        return [(Trace, "quick", self._quick), (Trace, "follow", self._follow), (Trace, "note", self._noting),
                (unfold, "_call", self._unfolding), (Update, "run", self._updating), (Update, "record", self._updating),
                (function, "from_here", self._from_here)]

    def executable(self, executable: Any, sites: Sequence[Any]) -> Any:
        """What runs a graph with nodes from these sites. Each has its own, so that it is known whose run it is when it
        runs again."""
        key = executable, tuple(map(id, sites))
        found = self._executables.get(key)
        if found is None:
            own = executable if executable not in self._given else copy(executable)
            self._given.add(executable)
            found = self._executables[key] = own, sites  # which keep their ids
        return found[0]

    def line(self, entry: Entry) -> Site | None:
        """Where a call comes from that is known to a thread."""
        return self._lines.get(entry)

    # --- calls

    def _mode(self, enabled: bool | None, place: Place) -> Mode:
        made = enabled, place.site
        return self._modes.setdefault(made, made)

    def _quick(self, plain: Callable[..., Any]) -> Any:
        """Following a call that is known to come next: mostly from the line that it came from last time."""
        expected = self._expected
        nothing: tuple[Place, Any] = Place(), (None, None)

        def quick(trace: Trace, called: Any, static: Any, enabled: Any, tensors: Any, numbers: Any) -> Any:
            place, line = expected.get(trace.entry, nothing)
            if line[0] is not enabled or not place.is_here():
                place = Place.here()
                expected[trace.entry] = place, line = place, self._mode(enabled, place)
            return plain(trace, called, static, line, tensors, numbers)

        return staticmethod(quick)

    def _follow(self, plain: Callable[..., Any]) -> Any:
        """The same, in general."""
        def follow(trace: Trace, called: Any, static: Any, tensors: Any, numbers: Any = (), how: Any = None) -> Any:
            return plain(trace, called, static, tensors, numbers, self._mode(mode.enabled, Place.here()))

        return follow

    def _from_here(self, plain: Any) -> Any:
        """Calls that index have their lines, as all calls have."""
        return lambda trace: mode.enabled

    def _noting(self, plain: Callable[..., Entry | None]) -> Any:
        """A call that may be followed next time: its line."""
        def note(trace: Trace, key: Any, *parts: Any) -> Entry | None:
            known: Entry | None = plain(trace, key, *parts)
            if trace.path:
                self._lines.setdefault(trace.entry, key[2][1])
            return known

        return note

    def _unfolding(self, plain: Callable[..., Any]) -> Any:
        """A call that was followed, and is recorded now: it comes from where it was made."""
        def call(trace: Trace, entry: Entry, *parts: Any) -> Any:
            with self._origins.apart():
                self._origins.now.current = self.line(entry)
                return plain(trace, entry, *parts)

        return call

    # --- optimizers

    def _updating(self, plain: Callable[..., bool]) -> Any:
        """A step of an optimizer: each line has programs of its own, which are made in the block."""
        def run(update: Update, *given: Any, **named: Any) -> bool:
            last = self._last.get(update)
            if last is None or not last[0].is_here():
                place = Place.here()
                last = self._last[update] = place, self._updates.setdefault((update, place.site), copy(update))
            return plain(last[1], *given, **named)

        return run
