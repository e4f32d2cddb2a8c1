"""Stage: recording. In: calls that read or write where index tensors say. Out: the lines of the user's program that
made them, which the error of a run names in which an index is out of range.
Next: ``origins.py``."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import Self
from weakref import WeakKeyDictionary

from minigrad.errors import IndexOutOfRange
from minigrad.graph.function import Subgraph
from minigrad.graph.lazy import LazyBuffer, toposort

Line = tuple[str, int]
"""A file and the number of a line in it."""

Call = tuple[Line, Subgraph]
"""A line, and what was called there."""

_made: WeakKeyDictionary[LazyBuffer, Call] = WeakKeyDictionary()


def user_line() -> Line | None:
    """The line that is being run outside minigrad."""
    return Place.here(2).line


class Place:
    """A line outside minigrad, and where it is on the stack of whoever has asked: so many frames above it, at an
    instruction of a code. What is there again, as deep, is the same place: that is known without a walk.

    >>> def ask(known: Place) -> Place:
    ...     return known if known.is_here() else Place.here()
    >>> first = ask(Place())
    >>> ask(first) is first
    True
    """

    __slots__ = ("code", "depth", "instruction", "line")

    def __init__(self, depth: int = 1, frame: FrameType | None = None) -> None:
        self.depth = depth  # never 0: a frame whose variable it is itself would live on
        self.code = None if frame is None else frame.f_code
        self.instruction = 0 if frame is None else frame.f_lasti
        self.line: Line | None = None if frame is None else (frame.f_code.co_filename, frame.f_lineno)

    @classmethod
    def here(cls, above: int = 1) -> Self:
        """Where the caller is now, or who stands so many frames above."""
        frame: FrameType | None = sys._getframe(above)
        depth = 1
        while frame is not None and _is_ours(frame):
            depth, frame = depth + 1, frame.f_back
        return cls(depth, frame)

    def is_here(self) -> bool:
        """Whether the caller is there, who has asked for the place."""
        try:
            frame = sys._getframe(self.depth)
        except ValueError:  # the stack is not so deep
            return False
        return frame.f_code is self.code and frame.f_lasti == self.instruction


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line that is being run outside minigrad, each time."""
    file, number = user_line() or (__file__, 0)
    warnings.warn_explicit(message, category, file, number)


def user_stack() -> list[str]:
    """The calls that are being run outside minigrad, the outermost first, as a traceback prints them."""
    import traceback  # a millisecond, which only a program that looks for an error needs

    frames = [entry for entry in traceback.walk_stack(sys._getframe(1))
              if not _is_ours(entry[0]) and entry[0].f_globals.get("__name__") != "runpy"]
    return traceback.StackSummary.extract(reversed(frames)).format()


def _is_ours(frame: FrameType) -> bool:
    """Whether minigrad's code runs in it; a module that ``python -m`` runs is called ``__main__``, but for its spec.
    What minigrad has written and compiled has no name."""
    spec = frame.f_globals.get("__spec__")
    name = frame.f_globals.get("__name__", "minigrad") if spec is None else spec.name
    return name.partition(".")[0] == "minigrad"


def remember(outputs: Sequence[LazyBuffer], line: Line | None, body: Subgraph) -> None:
    """Remember the line of a call with these outputs, as long as somebody holds them."""
    if line is not None:
        for node in outputs:
            _made[node] = line, body


def calls_of(wanted: Sequence[LazyBuffer]) -> list[Call]:
    """The calls that index, of those from which these values come, and what each computes."""
    return [_made[node] for node in toposort(wanted) if node in _made]


def with_lines(error: IndexOutOfRange, calls: Sequence[Call]) -> IndexOutOfRange:
    """The error, with the lines of the calls that may have raised it: those that index a tensor of the shape that the
    error tells of, if there are such."""
    if error.placed:
        return error
    right = [line for line, body in calls if error.shape in body.indexed]
    lines = dict.fromkeys(right or [line for line, _ in calls])
    if not lines:
        return error
    text = " or ".join([f'File "{file}", line {number}' for file, number in lines])
    return IndexOutOfRange(f"{error}, recorded at {text}", error.shape, True)
