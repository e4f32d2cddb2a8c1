"""Stage: runtime. In: nothing. Out: the locks, which a fork takes first and gives back after. A thread that holds one
of them does not exist in a forked child; nobody would ever release it there.

``engine_lock`` is held by the thread that computes values, from the walk over the graph to the last gradient;
``record_lock`` while nodes are made or written to Storages, so that nobody decides meanwhile that a value is not needed
any more. Native code runs without ``record_lock``: one thread's long kernel does not keep others from recording.
Next: ``cpu.py``."""

from __future__ import annotations

import gc
import os
from threading import RLock
from typing import Any

# Always taken in this order. Re-entrant, because a finaliser may allocate or run a graph at any moment.
engine_lock = RLock()
record_lock = RLock()
run_lock = RLock()
compile_lock = RLock()
memory_lock = RLock()
count_lock = RLock()  # for one addition: finalisers take it, too

_recording: Any = record_lock
holds_lock = _recording._is_owned
"""``holds_lock()``: whether this thread has ``record_lock``. What records in two steps takes it first if it has not."""

_ALL = (engine_lock, record_lock, run_lock, compile_lock, memory_lock, count_lock)


class _Computing:
    """``with computing:`` this thread alone computes values. Whoever is recording lets others record until its turn
    comes: they may be what the engine is waiting for.

    Python's garbage collector waits meanwhile: to take a graph apart makes many objects, none of them garbage, and the
    collector would walk over all of them time and again."""

    def __init__(self) -> None:
        self._depth = 0
        self._collects = False  # whether the collector was on

    def __enter__(self) -> None:
        if not engine_lock.acquire(blocking=False):
            lock: Any = record_lock
            if lock._is_owned():
                state = lock._release_save()
                engine_lock.acquire()
                lock._acquire_restore(state)
            else:
                engine_lock.acquire()
        record_lock.acquire()
        self._depth += 1
        if self._depth == 1:
            self._collects = gc.isenabled()
            gc.disable()

    def __exit__(self, *exception: object) -> None:
        self._depth -= 1
        if not self._depth and self._collects:
            gc.enable()
        record_lock.release()
        engine_lock.release()


class _UsersCode:
    """``with users_code:`` a hook of the user's is called in the middle of computing. There the garbage collector is as
    the user has left it, and may be left otherwise."""

    def __enter__(self) -> None:
        if computing._depth and computing._collects:
            gc.enable()

    def __exit__(self, *exception: object) -> None:
        if computing._depth:
            computing._collects = gc.isenabled()
            gc.disable()


class _Unrecorded:
    """``with others_record:`` other threads may record in this block."""

    def __init__(self) -> None:
        self._states: list[Any] = []  # of the thread that has the engine lock

    def __enter__(self) -> None:
        lock: Any = record_lock
        self._states.append(lock._release_save() if lock._is_owned() else None)

    def __exit__(self, *exception: object) -> None:
        state = self._states.pop()
        if state is not None:
            lock: Any = record_lock
            lock._acquire_restore(state)


computing = _Computing()
others_record = _Unrecorded()
users_code = _UsersCode()


def _before() -> None:
    for lock in _ALL:
        lock.acquire()


def _after() -> None:
    for lock in reversed(_ALL):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
