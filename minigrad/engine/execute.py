"""Stage: realise. In: a recipe and the code of its kernels. Out: a run of them on given buffers.
Next: ``details.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from minigrad.engine.kernels import Code
from minigrad.engine.recipe import Recipe
from minigrad.engine.walk import Pending
from minigrad.errors import IndexOutOfRange
from minigrad.runtime.allocator import SMALL
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.device import Device, memory_error
from minigrad.runtime.native import NativeProgram, Step
from minigrad.schedule.limits import WORK_FIRM, WORK_PER_COPIED_BYTE

WORK_PER_THREAD = 16 << 10
"""Scalar operations below which a thread is not worth waking."""


def grain_of(iterations: int, work: int) -> int:
    """Fewest iterations worth a thread, of a kernel that does so much work in all; 0 keeps it on the calling thread."""
    if iterations < 2 or work < 2 * WORK_PER_THREAD:
        return 0
    return max(1, -(-WORK_PER_THREAD * iterations // max(1, work)))


class _Words:
    """The words in which kernels on the host say which index was out of range: all 0 between runs, and kept for the
    next, since allocating and clearing them takes longer than a small gather."""

    def __init__(self, count: int) -> None:
        self.words = np.zeros(count, np.int64)
        self.address: int = self.words.__array_interface__["data"][0]

    def take(self) -> np.ndarray | None:
        """What they say, if anything; they are 0 again then."""
        if not any(self.words.tolist()):
            return None
        found = self.words.copy()
        self.words.fill(0)
        return found


class Executable:
    """A recipe that can run: ``run`` takes the leaves' buffers and gives the results'. ``compiled``: how many kernels
    were compiled for it; ``origin``: how it came about, in words; ``short``: nobody needs to be let in
    meanwhile."""

    __slots__ = ("__weakref__", "_firm", "_firm_work", "call", "codes", "compiled", "device", "kept_leaves", "origin",
                 "recipe", "short", "spare")

    tier = 1

    def __init__(self, recipe: Recipe, codes: Sequence[Code], device: Device, compiled: int,
                 origin: str = "planned and compiled") -> None:
        self.recipe, self.codes, self.device = recipe, tuple(codes), device
        self.compiled, self.origin = compiled, origin
        steps = [Step(code.program, call.arrays, call.scalars, call.iterations, call.grain, call.work,
                      call.bytes)
                 for call, code in zip(recipe.calls, codes, strict=True)]
        self.spare: list[_Words] = []  # a run takes one and puts it back: several threads may run this at once
        self.call = device.native(steps, recipe.slots, recipe.scalars)
        # A launch may be refused: until all have succeeded once, a run keeps copies of the leaves it overwrites.
        # Native programs only call functions of this process, which is never refused.
        native = self.call if isinstance(self.call, NativeProgram) else None
        self.kept_leaves = () if native else recipe.overwritten
        self.short = native is not None and native.short
        self._firm = self._first_overwriting() if recipe.overwritten else len(steps)
        self._firm_work = sum([call.work for call in recipe.calls[self._firm:]])
        if native:
            native.firm = self._firm
            if recipe.checks and recipe.overwritten:
                native.stop_before(self._firm, recipe.slots - 1, len(recipe.checks))

    def _first_overwriting(self) -> int:
        """The first kernel that writes into a leaf."""
        for i, (call, code) in enumerate(zip(self.recipe.calls, self.codes, strict=True)):
            slots = [array if isinstance(array, int) else array[0] for array in call.arrays]
            if any(slots[at] < self.recipe.leaves for at in code.written):
                return i
        return len(self.codes)

    @property
    def launches(self) -> int:
        """Kernels that a run launches."""
        return len(self.recipe.calls)

    @property
    def overwrites(self) -> bool:
        """Whether a run writes over leaves."""
        return bool(self.recipe.overwritten)

    @property
    def results(self) -> int:
        """Values that a run gives."""
        return len(self.recipe.outputs)

    def results_in(self, output: int) -> list[int]:
        """Which values lie in an output."""
        return [i for i, place in enumerate(self.recipe.outputs) if place == (True, output)]

    @property
    def direct(self) -> Callable[..., Any] | None:
        """The native function that takes addresses (of leaves, outputs, arena, status) and numbers, where a short run
        is one call of it on a little of the host's memory, and nothing can be wrong with its indices."""
        recipe = self.recipe
        sizes = *recipe.output_bytes, recipe.arena_bytes
        if (not self.short or recipe.checks or max(sizes) > SMALL
                or type(self.device).allocate is not Device.allocate):
            return None
        return self.call.function if isinstance(self.call, NativeProgram) else None

    @property
    def native_calls(self) -> int:
        """Calls into native code that a run makes."""
        return 1 if self.recipe.calls else 0

    def run(self, pending: Pending, timed: bool, made: list[Buffer] | None = None) -> tuple[list[Buffer], list[float]]:
        """The result buffers, in the order of ``pending.results``, and, if ``timed``, the seconds of each kernel.
        ``made`` gets the buffers before a kernel runs. Raises ``IndexError`` if an index tensor is out of range; then
        nothing has been overwritten."""
        leaves = pending.leaves
        numbers: list[Any] = [s.value for s in pending.scalars]
        if self.recipe.free:
            numbers += [pending.constants[i].arg for i in self.recipe.free]
        return self.run_at([x.buffer for x in leaves], [x.buffer.address + x.offset for x in leaves], numbers, timed,
                           made)

    def run_at(self, leaves: Sequence[Buffer], addresses: list[int], numbers: Sequence[Any],
               timed: bool = False, made: list[Buffer] | None = None) -> tuple[list[Buffer], list[float]]:
        """As ``run``, without the graph: the leaves' buffers, where in them the leaves begin, and the numbers."""
        recipe, allocate = self.recipe, self.device.allocate
        if not self.device.host_memory:
            self.device.settle()
        outputs: list[Buffer] = []
        arena = status = words = None
        try:
            for nbytes in recipe.output_bytes:
                output = allocate(nbytes)
                outputs.append(output)
                addresses.append(output.address)
            if recipe.arena_bytes:
                arena = allocate(recipe.arena_bytes)
            if recipe.checks and isinstance(self.call, NativeProgram):
                words = self._words()
            elif recipe.checks:
                status = allocate(8 * len(recipe.checks))
        except Exception as error:
            nbytes = sum(recipe.output_bytes) + recipe.arena_bytes
            raise memory_error(self.device.name, nbytes, error, len(outputs)) from None
        if status is not None:
            status.copyin(np.zeros(len(recipe.checks), np.int64))
        addresses.append(arena.address if arena is not None else 0)
        addresses.append(words.address if words is not None else status.address if status is not None else 0)
        results = [outputs[at] if fresh else leaves[at] for fresh, at in recipe.outputs]
        if made is not None and isinstance(self.call, NativeProgram):
            self.call.complete = False
            made += results
        seconds: list[float] = []
        if self.kept_leaves or self._firm_work > WORK_FIRM or (timed and not isinstance(self.call, NativeProgram)):
            seconds = self._carefully(leaves, addresses, numbers, timed)
        elif timed:
            seconds = self.call.run_timed(addresses, numbers)
        else:
            self.call.run(addresses, numbers)
        found: np.ndarray | None = None
        if words is not None:
            found = words.take()
            self.spare.append(words)
        elif status is not None and (
                timed or not self.device.tell_later(status, partial(late_error, recipe.checks))):
            found = np.empty(len(recipe.checks), np.int64)
            status.copyout(found)
        if found is not None and found.any():
            raise index_error(recipe.checks, found)
        return results, seconds

    def _words(self) -> _Words:
        try:
            return self.spare.pop()
        except IndexError:
            return _Words(len(self.recipe.checks))

    @property
    def complete(self) -> bool:
        """Whether all kernels of the last run that was given ``made`` ran, though it may have raised: the handler of a
        signal may raise at any time."""
        return isinstance(self.call, NativeProgram) and self.call.complete

    def _carefully(self, leaves: Sequence[Buffer], addresses: Sequence[int], numbers: Sequence[Any],
                   timed: bool) -> list[float]:
        """The calls, with the leaves as they were should one fail; and the seconds of each kernel, if ``timed``."""
        native = self.call if isinstance(self.call, NativeProgram) else None
        overwritten = self.recipe.overwritten if timed else self.kept_leaves
        if native:
            long = sum([leaves[i].nbytes for i in self.recipe.overwritten]) * WORK_PER_COPIED_BYTE <= self._firm_work
            overwritten = self.recipe.overwritten if long else ()
        kept = self._copies([leaves[i] for i in overwritten])
        if native:
            native.firm = len(self.codes) if len(kept) == len(self.recipe.overwritten) else self._firm
        try:
            if timed:
                return self.call.run_timed(addresses, numbers)
            self.call.run(addresses, numbers)
        except BaseException:
            if native is None or not native.firm < len(self.codes):
                with suppress(Exception):  # a device that is lost altogether
                    for buffer, copy in kept:
                        buffer.copy_from(copy, buffer.nbytes)
                    if native:
                        native.complete = False
            raise
        self.kept_leaves = ()
        return []

    def _copies(self, buffers: Sequence[Buffer]) -> list[tuple[Buffer, Buffer]]:
        """Each buffer with a copy of it; those for which there is room."""
        made = []
        with suppress(MemoryError):
            for buffer in buffers:
                made.append((buffer, buffer.copy(buffer.nbytes)))
        return made


def late_error(shapes: Sequence[tuple[int, ...]], status: np.ndarray) -> None:
    """Raise ``index_error`` if a check failed, in a run of a while ago."""
    if status.any():
        error = index_error(shapes, status)
        raise IndexOutOfRange(f"{error} (in a run before this one: the device is not waited for. DEBUG=2 waits, and "
                              "says which)", error.shape, placed=True)


def index_error(shapes: Sequence[tuple[int, ...]], status: np.ndarray) -> IndexOutOfRange:
    """What to raise for the first check that failed. ``shapes``: of each check, the shape that was indexed; ``status``:
    0, or 1 + the dimension that an index is out of range for."""
    at = int(np.flatnonzero(status)[0])
    shape, position = shapes[at], int(status[at]) - 1
    size = shape[position] if position < len(shape) else 0
    return IndexOutOfRange(f"index out of range: a value of the index tensor for dimension {position} is not in "
                           f"0 … {size - 1}, the tensor has shape {list(shape)}", shape)
