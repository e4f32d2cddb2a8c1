"""Stage: runtime. In: compiled kernels and where their arguments come from. Out: a program of many kernel calls that
Python starts with one foreign call. What can be prepared is prepared once; a run packs addresses and numbers and goes.
Next: ``calls.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.config import FREE_THREADED
from minigrad.records import Record
from minigrad.runtime import pool
from minigrad.runtime.device import CompiledKernel
from minigrad.runtime.locks import run_lock


class Step(Record):
    """One kernel call of a native program.

    ``arrays``: for each of the kernel's arrays a slot, or ``(slot, offset in bytes)``; ``scalars``: for each of its
    run-time numbers the position among the program's; ``iterations``: of the parallel loop; ``grain``: the fewest
    iterations worth a thread, 0 for a kernel that runs on the calling thread alone; ``work``: its scalar operations;
    ``bytes``: what it moves.
    """

    program: CompiledKernel
    arrays: tuple[int | tuple[int, int], ...]
    scalars: tuple[int, ...] = ()
    iterations: int = 1
    grain: int = 0
    work: int = 1 << 62
    bytes: int = 0


SHORT = 1 << 18
"""Scalar operations of a run during which Python's other threads may wait: of a matrix product two microseconds, of
sums where each waits for the one before some hundred. Python itself lets a thread go on for five thousand; handing over
the interpreter lock, and what goes with it, takes one or two."""

LONG = 1 << 28
LONG_BYTES = 1 << 26
"""A run of more scalar operations, or with a step that moves more bytes, is guarded: a signal may come in the middle of
it. That is 1.5 ms at the least (a matrix product of 512, a pass over memory), to which waking the leader adds 70 µs at
most on two busy cores; and a fifth of a second where every operation waits for another or for memory."""


class NativeProgram:
    """Steps that run one after another in one native call. Unless they are ``short``, it releases the interpreter lock.

    ``slots`` is the number of addresses that a run is given; ``scalars`` has a letter for each number it is given:
    ``"q"`` int64, ``"Q"`` uint64, ``"d"`` float64. One program runs at a time in a process. ``function`` takes the
    addresses and the numbers; ``run`` has what it needs beside that, unless the program is ``short``.

    When a signal comes and its handler raises, the run is aborted and what it wrote is to be forgotten: unless it has
    come to the ``firm`` step, the first that writes into what somebody may need if the run is not finished.
    """

    def __init__(self, steps: Sequence[Step], slots: int, scalars: str = "") -> None:
        self.steps = tuple(steps)  # keeps the code alive
        moves: list[tuple[int, int]] = []
        starts: list[tuple[int, int]] = []
        for step in self.steps:
            arrays = [a if isinstance(a, tuple) else (a, 0) for a in step.arrays]
            numbers = [(slots + position, 0) for position in step.scalars]
            starts.append((len(moves), len(moves) + len(arrays)))
            moves += arrays + numbers
        if any(not 0 <= source < slots + len(scalars) for source, _ in moves):
            raise ValueError(f"a step names a slot or scalar that is not among {slots} slots, {len(scalars)} scalars")
        self._slots: Any = np.zeros(max(1, slots + len(scalars)), np.uint64)
        self._moves = np.array(moves, np.int64).reshape(-1, 2)
        self._cells = np.zeros(max(1, len(moves)), np.uint64)
        cells = address_of(self._cells)
        self._steps = np.array(
            [(step.program.address, cells + 8 * first, cells + 8 * second, step.iterations, step.grain)
             for step, (first, second) in zip(self.steps, starts, strict=True)], np.int64).reshape(-1, 5)
        # Whether a step has enough iterations for two threads; if none has, runs need not look at the settings.
        self._parallel = any(0 < 2 * step.grain <= step.iterations for step in self.steps)
        # Nothing else happens during a short run, so it needs no lock; a Python without the interpreter lock has none.
        work = sum([step.work for step in self.steps])
        self.short = not self._parallel and work <= SHORT and not FREE_THREADED
        self._guarded = work > LONG or any([step.bytes > LONG_BYTES for step in self.steps])
        self._run = new_run(address_of(self._steps), len(self.steps), self._slots, self._moves, self._cells)
        self.function: Callable[..., BaseException | None] = pool.native().entry(
            address_of(self._run), address_of(self._slots), "Q" * slots + scalars, self.short)
        self._times: np.ndarray | None = None  # the seconds of each step of a timed run
        self._times_at = 0
        self._pool: pool.Pool | None = None
        self._threads = 0

    def set_iterations(self, step: int, iterations: int) -> None:
        """Give a step another number of iterations, for kernels whose size is known only when they run."""
        self._steps[step, 3] = iterations
        grain = self.steps[step].grain
        self._parallel = self._parallel or 0 < 2 * grain <= iterations

    def run(self, addresses: Sequence[int], scalars: Sequence[float] = ()) -> None:
        """Run all steps on these addresses, one a slot, and these numbers."""
        if self.short:
            self.function(*addresses, *scalars)
            return
        with run_lock:
            if self._parallel or self._guarded:
                self._prepare()
            raised = self.function(*addresses, *scalars)
            if raised is not None:
                pool.held.append(raised)

    @property
    def firm(self) -> int:
        """The step from which on a run is not aborted any more. At first there is none."""
        return int(self._run[9])

    @firm.setter
    def firm(self, step: int) -> None:
        self._run[9] = step

    def stop_before(self, step: int, slot: int, words: int) -> None:
        """Have every run end before a step if one of the int64 words in a slot is not 0 by then."""
        self._run[12:] = step, address_of(self._slots) + 8 * slot, words

    @property
    def complete(self) -> bool:
        """Whether all steps of the last run are done. Somebody else sets it to False before."""
        return bool(self._run[10])

    @complete.setter
    def complete(self, value: bool) -> None:
        self._run[10] = value

    def run_timed(self, addresses: Sequence[int], scalars: Sequence[float] = ()) -> list[float]:
        """As ``run``, and the seconds that each step took."""
        with run_lock:
            if self._times is None:
                self._times = np.zeros(len(self.steps))
                self._times_at = address_of(self._times)
            times, run = self._times, self._run
            run[11] = self._times_at
            try:
                if self.short:
                    self.function(*addresses, *scalars)
                else:
                    self.run(addresses, scalars)
            finally:
                run[11] = 0
            return times.tolist()

    def _prepare(self) -> None:
        """Bring pool and number of threads up to date with the settings."""
        threads = pool.thread_count()
        if threads != self._threads or self._pool is not pool._pool:
            self._threads = threads
            self._pool = pool.current(threads) if threads > 1 or self._guarded else pool._pool
            phase = self._pool.phase if self._pool and self._guarded and self._pool.lead() else 0
            self._run[2:4] = self._pool.address if self._pool else 0, threads
            self._run[8] = phase


def new_run(steps: int, count: int, slots: np.ndarray, moves: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """A run as ``pool.ll`` has it, of so many steps from an address on: by the calling thread, not guarded, not
    timed, with no words to look at."""
    return np.array([steps, count, 0, 1, address_of(slots), address_of(moves), address_of(cells), len(moves), 0, count,
                     0, 0, -1, 0, 0], np.int64)


def address_of(array: np.ndarray) -> int:
    """Where an array's elements begin."""
    return array.__array_interface__["data"][0]
