"""Stage: runtime. In: a table of kernel calls, as arrays. Out: their run, with one foreign call for each part of it.
Where ``native.py`` is given steps, this is given columns: a program of 100,000 calls is made by NumPy, not by a loop.
Next: ``pool.ll``, which is what runs, and ``engine/``, which builds these."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigrad.runtime import pool
from minigrad.runtime.locks import run_lock


class CallTable:
    """Calls ``i``: the function at ``functions[i]`` on the addresses ``cells[first[i]:]``, the run-time numbers
    ``numbers[number[i]:]``, for so many ``iterations``; ``grain`` as in ``native.Step``. ``parts``: where each foreign
    call ends. All arrays are int64."""

    def __init__(self, functions: np.ndarray, first: np.ndarray, cells: int, numbers: np.ndarray, number: np.ndarray,
                 iterations: np.ndarray, grain: np.ndarray, parts: Sequence[int]) -> None:
        self._cells = np.zeros(max(1, cells), np.int64)
        self._numbers = np.ascontiguousarray(numbers, np.int64)
        steps = np.empty((len(functions), 5), np.int64)
        steps[:, 0] = functions
        steps[:, 1] = _address(self._cells) + 8 * first
        steps[:, 2] = _address(self._numbers) + 8 * number
        steps[:, 3] = iterations
        steps[:, 4] = grain
        self._steps = steps
        self._parts = tuple(parts)
        self._parallel = bool(((grain > 0) & (iterations >= 2 * grain)).any())
        self._call = pool.native().run

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def native_calls(self) -> int:
        """Foreign calls of a run."""
        return len(self._parts)

    def run(self, cells: np.ndarray) -> None:
        """All calls in order, on these addresses."""
        start = 0
        for end in self._parts:  # between parts Ctrl-C gets through
            with run_lock:
                self._cells[:] = cells  # another thread may have run in between
                threads = pool.thread_count() if self._parallel else 1
                workers = pool.current(threads).address if threads > 1 else 0
                run = np.array([_address(self._steps) + start * self._steps.strides[0], end - start, workers, threads,
                                0, 0, 0, 0], np.int64)
                self._call(_address(run))
            start = end


def _address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]
