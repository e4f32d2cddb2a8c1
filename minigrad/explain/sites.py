"""Stage: explaining. In: the frames that are running. Out: where in the user's program that is, and what was called
there.
Next: ``recording.py``."""

from __future__ import annotations

import sys
from types import FrameType
from typing import NamedTuple


class Site(NamedTuple):
    """A line outside minigrad, the function that it calls, and the classes of the Modules in which that comes to an op,
    the outermost first. ``phase``: ``"backward"`` for what is computed for its gradient."""

    file: str
    number: int
    call: str
    modules: tuple[str, ...]
    phase: str = "forward"

    @property
    def backward(self) -> Site:
        """The same line in its gradient."""
        return self._replace(phase="backward")


NOWHERE = Site("", 0, "", ())
"""Where nothing outside minigrad is running."""


def here() -> Site:
    """Where the program is.

    >>> import minigrad  # of a test, all frames here are minigrad's or Python's
    >>> here().phase
    'forward'
    """
    frame: FrameType | None = sys._getframe(1)
    inner: list[FrameType] = []
    while frame is not None:
        module = frame.f_globals.get("__name__", "minigrad")  # functions that minigrad has written are in no module
        if module[:8] != "minigrad" or module[8:9] not in ("", "."):
            break
        inner.append(frame)
        frame = frame.f_back
    if frame is None:
        return NOWHERE
    inner.reverse()
    call = next((f.f_code.co_name for f in inner if "<locals>" not in f.f_code.co_qualname), "")
    modules = [type(f.f_locals["self"]).__name__ for f in inner
               if f.f_code.co_name == "forward" and f.f_code.co_varnames[:1] == ("self",)]
    return Site(frame.f_code.co_filename, frame.f_lineno, call, tuple(modules))
