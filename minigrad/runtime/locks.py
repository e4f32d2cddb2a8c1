"""Stage: runtime. In: nothing. Out: the three locks of this room, which a fork takes first and gives back after.
A thread that holds one of them does not exist in a forked child; nobody would ever release it there.
Next: ``allocator.py``."""

from __future__ import annotations

import os
from threading import RLock

# Always taken in this order. Re-entrant, because a finaliser may allocate or run a graph at any moment.
run_lock = RLock()
compile_lock = RLock()
memory_lock = RLock()

_ALL = (run_lock, compile_lock, memory_lock)


def _before() -> None:
    for lock in _ALL:
        lock.acquire()


def _after() -> None:
    for lock in reversed(_ALL):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
