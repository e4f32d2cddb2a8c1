"""Stage: runtime. In: a table of kernel calls, as arrays. Out: their run, with one foreign call.
Where ``native.py`` is given steps, this is given columns: a program of 100,000 calls is made by NumPy, not by a loop.
Next: ``launches.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad.runtime import pool
from minigrad.runtime.locks import run_lock
from minigrad.runtime.native import address_of, new_run


@dataclass(eq=False)
class Columns:
    """Call ``i``: the function at ``functions[i]``, for so many ``iterations``; ``grain`` as in ``native.Step``. Its
    arrays are the cells from ``first[i]`` on: cell j lies ``offsets[j]`` bytes after the address in slot
    ``sources[j]``; its run-time numbers are ``numbers[number[i]:]``. All are int64."""

    functions: np.ndarray
    iterations: np.ndarray
    grain: np.ndarray
    first: np.ndarray
    sources: np.ndarray
    offsets: np.ndarray
    number: np.ndarray
    numbers: np.ndarray


LONG = 1 << 26
"""Scalar operations of a guarded run, as in ``native.py``; here one takes longer."""


class CallTable:
    """Calls that run in order on the addresses of ``slots`` slots. ``work``: their scalar operations. A run whose
    signal raises is aborted, whatever it has written."""

    def __init__(self, columns: Columns, slots: int, work: int) -> None:
        c = columns
        self._cells = np.zeros(max(1, len(c.sources)), np.int64)
        self._moves = _table(c.sources, c.offsets)
        self._numbers = np.ascontiguousarray(c.numbers, np.int64)
        self._slots: Any = np.zeros(max(1, slots), np.uint64)
        self._steps = _table(c.functions, address_of(self._cells) + 8 * c.first,
                             address_of(self._numbers) + 8 * c.number, c.iterations, c.grain)
        self._run = new_run(address_of(self._steps), len(self._steps), self._slots, self._moves, self._cells)
        self._guarded = work > LONG
        self._parallel = bool(((c.grain > 0) & (c.iterations >= 2 * c.grain)).any())
        self._call = pool.native().entry(address_of(self._run), address_of(self._slots), "Q" * slots, False)

    def __len__(self) -> int:
        return len(self._steps)

    def run(self, addresses: Sequence[int], before: Callable[[], None], after: Callable[[], None]) -> None:
        """All calls in order, on these addresses, one a slot. ``before`` and ``after`` are called while no other run is
        under way."""
        with run_lock:
            before()
            if self._parallel or self._guarded:
                threads = pool.thread_count()
                workers = pool.current(threads) if threads > 1 or self._guarded else None
                self._run[2:4] = workers.address if workers else 0, threads
                self._run[8] = workers.phase if workers and self._guarded and workers.lead() else 0
            self._call(*addresses)
            after()


def _table(*columns: np.ndarray) -> np.ndarray:
    table = np.empty((len(columns[0]), len(columns)), np.int64)
    for i, column in enumerate(columns):
        table[:, i] = column
    return table
