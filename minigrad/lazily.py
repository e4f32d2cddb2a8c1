"""Stage: everywhere. In: a module of minigrad's that most programs do not need. Out: it, imported when somebody asks,
by one thread at a time. Python has a lock for each module: where two threads import parts of one package, and come from
two sides, one of them gets a part that is not ready, or an error.
Next: ``errors.py``."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from types import FrameType
from typing import Any

_lock = RLock()


@contextmanager
def importing() -> Iterator[None]:
    """A block that imports modules of minigrad's. Other threads that come to such a block wait, unless they are in the
    middle of an import already: for what they have begun, this one may have to wait.

    >>> with importing():
    ...     from minigrad.engine import details
    """
    if _imports():
        yield
    else:
        with _lock:
            yield


def module(name: str) -> Any:
    """The module of that name. ``ImportError`` where that cannot be imported.

    >>> module("minigrad.fft").__name__
    'minigrad.fft'
    """
    found = sys.modules.get(name)
    if found is not None and not getattr(found.__spec__, "_initializing", False):
        return found
    with importing():
        return importlib.import_module(name)


def _imports() -> bool:
    """Whether this thread is in the middle of an import."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _after_fork() -> None:
    """In the child only the forking thread exists: nobody would give the lock back."""
    global _lock
    _lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
