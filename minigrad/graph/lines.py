"""Stage: recording. In: calls, when they are recorded for the first time. Out: the lines of the user's program that
made them, which the error of a run names: the run may come long after.
Next: ``tracebacks.py``."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import Self

from minigrad.errors import IndexOutOfRange
from minigrad.graph.function import LARGE, Subgraph
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.ops import Op

Line = tuple[str, int]
"""A file and the number of a line in it."""

Call = tuple[Line, Subgraph]
"""A line, and what was called there."""

_ROOT = __file__.removesuffix(os.path.join("graph", "lines.py"))
_our_files: set[str] = set()
"""Files in which only minigrad's code is, of those that have been asked about: a look into a set is the faster way."""


def user_line() -> Line | None:
    """The line that is being run outside minigrad."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (frame.f_code.co_filename in _our_files or is_ours(frame)):
        frame = frame.f_back
    return None if frame is None else (frame.f_code.co_filename, frame.f_lineno)


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
        while frame is not None and is_ours(frame):
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
              if not is_ours(entry[0]) and entry[0].f_globals.get("__name__") != "runpy"]
    return traceback.StackSummary.extract(reversed(frames)).format()


def is_ours(frame: FrameType) -> bool:
    """Whether minigrad's code runs in it; a module that ``python -m`` runs is called ``__main__``, but for its spec.
    What minigrad has written and compiled has no name."""
    spec = frame.f_globals.get("__spec__")
    name = frame.f_globals.get("__name__", "minigrad") if spec is None else spec.name
    ours: bool = name.partition(".")[0] == "minigrad"
    file = frame.f_code.co_filename
    if ours and file.startswith(_ROOT):
        _our_files.add(file)
    return ours


def remember(node: LazyBuffer, call: Call) -> None:
    """Note of a value in which call it was made; not of one that the call merely hands on.

    >>> from minigrad.dtype import float32
    >>> x = LazyBuffer.const(1.0, float32, (3,), "CPU").unary("EXP")
    >>> remember(x, (("net.py", 7), Subgraph("exp", [], [x])))
    >>> call_of(x)[0]
    ('net.py', 7)
    """
    if (node.srcs or node.op == Op.FUNCTION) and getattr(node, "call", None) is None:
        node.call = call


_CONSTANT = Subgraph("constant", [], [])


def remember_constant(node: LazyBuffer) -> None:
    """Note of a constant where it was made, if it is large, or for another device than the CPU: then it takes longer to
    fill memory with it."""
    if node.size >= LARGE or node.device != "CPU":
        line = user_line()
        if line is not None:
            node.call = line, _CONSTANT


recorders: list[Callable[[], None]] = []
"""Those that know calls which they have not noted, to save time; an error asks them to do that."""


def call_of(node: LazyBuffer) -> Call | None:
    """The call in which a value was made, if that is known."""
    return getattr(node, "call", None)


def calls_of(wanted: Sequence[LazyBuffer]) -> list[Call]:
    """The calls that index, of those from which these values come, and what each computes."""
    return [call for node in toposort(wanted) if (call := call_of(node)) is not None and call[1].indexed]


def with_lines(error: IndexOutOfRange, calls: Sequence[Call]) -> IndexOutOfRange:
    """The error, with the lines of the calls that may have raised it: those that index a tensor of the shape that the
    error tells of, if there are such."""
    if error.placed:
        return error
    right = [line for line, body in calls if error.shape in body.indexed]
    lines = dict.fromkeys(right or [line for line, _ in calls])
    if not lines:
        return error
    return IndexOutOfRange(f"{error}, recorded at {said(lines)}", error.shape, True)


def name_lines(error: Exception, lines: Sequence[Line]) -> None:
    """Add lines to an error's message, unless it has some. They are those of the run that failed, but for equal calls
    that another line has made since: whoever follows calls does not ask for their lines.

    >>> error = MemoryError("no room")
    >>> name_lines(error, [("net.py", 7)])
    >>> error
    MemoryError('no room, first recorded at File "net.py", line 7')
    """
    if lines and "recorded at File" not in str(error):
        error.args = f"{error.args[0]}, first recorded at {said(lines)}", *error.args[1:]


def said(lines: Iterable[Line]) -> str:
    """Lines as Python's tracebacks name them.

    >>> said([("net.py", 7), ("net.py", 9)])
    'File "net.py", line 7 or File "net.py", line 9'
    """
    return " or ".join([f'File "{file}", line {number}' for file, number in lines])
