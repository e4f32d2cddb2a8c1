"""Stage: realise. In: an error of a run, and its graph. Out: the error, whose message names the lines of the program
that recorded what failed: values are needed long after, by ``print`` or ``backward``. Loaded at the first such error.
Next: ``steps.py``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from math import prod
from typing import Any

from minigrad.engine.build import parts_of
from minigrad.engine.details import Details
from minigrad.engine.walk import Pending
from minigrad.errors import OutOfMemoryError
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.lines import Line, call_of, name_lines, recorders
from minigrad.graph.origins import Origins
from minigrad.runtime.device import get_device
from minigrad.schedule.plan import Launch
from minigrad.schedule.show import names_of, slice_of

MOST_LINES = 3
"""Lines that a message names, of those of a kernel: the ones with the most work."""


def place(error: Exception, pending: Pending, executable: Any = None) -> None:
    """Add to an error's message the lines of what failed: of the result that there was no room for, of the kernel whose
    name is in the message, or, if it was for values on the way, of the largest of them. ``executable``: what ran the
    graph, if that was a plan."""
    lines: Sequence[Line] = ()
    with suppress(Exception):  # the compiler may fail again; then the error is as it was
        for note in recorders:
            note()
        lines = _lines(error, pending, executable)
    name_lines(error, lines)


def _lines(error: Exception, pending: Pending, executable: Any) -> Sequence[Line]:
    """The lines of what failed."""
    with _noted(pending) as origins:
        if isinstance(error, OutOfMemoryError):
            results = [] if executable is None or error.output is None else executable.results_in(error.output)
            nodes = [pending.results[i] for i in results]
            if executable is None:
                nodes = sorted(pending.order, key=lambda node: node.size * node.dtype.size)[-1:]
            if nodes:
                return list(dict.fromkeys([line for node in nodes if (line := origins.of(node))]))
        free = executable.recipe.free if executable is not None and executable.tier else ()
        launches = Details(pending, free, get_device(pending.device)).plan.launches
        if isinstance(error, OutOfMemoryError):
            launches = sorted(launches, key=_largest)[-1:]
        else:
            first = str(error).partition("\n")[0]
            launches = [x for x in launches if re.search(rf"\b{re.escape(x.spec.name)}\b", first)]
        work: Counter[Line] = Counter()
        for launch in launches:
            for node in _computed(launch):
                line = origins.of(node)
                if line:
                    work[line] += node.size
    return [line for line, _ in work.most_common(MOST_LINES)]


def _largest(launch: Launch) -> int:
    """The bytes of the largest value that a launch writes for later ones, or for itself."""
    sizes = [m.dtype.size * prod(m.shape) for part in parts_of(launch) for m in part.memory.values() if m.written]
    return max(sizes, default=0)


def _computed(launch: Launch) -> Iterator[LazyBuffer]:
    """The nodes that a launch computes."""
    for part in parts_of(launch):
        names = names_of(part)
        for stage in part.stages:
            yield from slice_of(stage.stores, names)


@contextmanager
def _noted(pending: Pending) -> Iterator[Origins]:
    """A block in which the nodes of a graph come from the lines of the calls that made them, and so do those that the
    compiler makes in their places. What is between two calls belongs to the later one, as what its body consists of
    does; what no call follows comes from the call before."""
    origins = Origins(lambda: None)
    before = [getattr(node, "origin", None) for node in pending.order]
    at: dict[LazyBuffer, Line] = {}
    for node in reversed(pending.order):
        call = call_of(node)
        if call is not None:
            at[node] = call[0]
        for source in node.srcs if node in at else ():
            at.setdefault(source, at[node])
    for node in pending.order:
        known = next((at[source] for source in node.srcs if source in at), None)
        if node not in at and known is not None:
            at[node] = known
    try:
        for node in pending.order:
            node.origin = at.get(node)
        with origins.noted():
            yield origins
    finally:
        for node, origin in zip(pending.order, before, strict=True):
            node.origin = origin
