"""Stage: recording. In: calls that read or write where index tensors say. Out: the lines of the user's program that
made them, which the error of a run names in which an index is out of range.
Next: ``loop.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from minigrad.errors import IndexOutOfRange
from minigrad.graph.function import Subgraph
from minigrad.graph.lazy import LazyBuffer, toposort

Line = tuple[str, int]
"""A file and the number of a line in it."""

_made: WeakKeyDictionary[LazyBuffer, tuple[Line, Subgraph]] = WeakKeyDictionary()


def user_line() -> Line | None:
    """The line that is being run outside minigrad."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "minigrad":
        frame = frame.f_back  # type: ignore[assignment]
    return None if frame is None else (frame.f_code.co_filename, frame.f_lineno)


def remember(outputs: Sequence[LazyBuffer], line: Line | None, body: Subgraph) -> None:
    """Remember the line of a call with these outputs, as long as somebody holds them."""
    if line is not None:
        for node in outputs:
            _made[node] = line, body


def with_lines(error: IndexOutOfRange, wanted: Sequence[LazyBuffer]) -> IndexOutOfRange:
    """The error, with the lines of the calls that these values come from: those that index a tensor of the shape that
    the error tells of, if there are such."""
    every = [_made[node] for node in toposort(wanted) if node in _made]
    right = [line for line, body in every if error.shape in body.indexed]
    lines = dict.fromkeys(right or [line for line, _ in every])
    if not lines:
        return error
    text = " or ".join([f'File "{file}", line {number}' for file, number in lines])
    return IndexOutOfRange(f"{error}, recorded at {text}", error.shape, True)
