"""Stage: realise. In: a recipe and the code of its kernels. Out: a run of them on given buffers.
Next: ``details.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from minigrad.engine.kernels import Code
from minigrad.engine.recipe import Recipe
from minigrad.engine.walk import Pending
from minigrad.errors import IndexOutOfRange
from minigrad.runtime.allocator import SMALL
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.device import CompiledKernel, Device, memory_error
from minigrad.runtime.native import NativeProgram, Step

WORK_PER_THREAD = 16 << 10
"""Scalar operations below which a thread is not worth waking."""

WORK_PER_CALL = 1 << 30
"""Scalar operations, about a tenth of a second, after which native code returns to Python, so that Ctrl-C gets
through."""


class Executable:
    """A recipe that can run: ``run`` takes the leaves' buffers and gives the results'. ``compiled``: how many kernels
    were compiled for it; ``origin``: how it came about, in words; ``short``: nobody needs to be let in
    meanwhile."""

    __slots__ = ("__weakref__", "calls", "codes", "compiled", "device", "kept_leaves", "origin", "recipe", "short")

    tier = 1

    def __init__(self, recipe: Recipe, codes: Sequence[Code], device: Device, compiled: int,
                 origin: str = "planned and compiled") -> None:
        self.recipe, self.codes, self.device = recipe, tuple(codes), device
        self.compiled, self.origin = compiled, origin
        programs = [code.program for code in codes]
        self.calls = [device.native(part, recipe.slots, recipe.scalars) for part in _parts(recipe, programs)]
        # A launch may be refused: until all have succeeded once, a run keeps copies of the leaves it overwrites.
        # Native programs only call functions of this process, which is never refused.
        sure = all(isinstance(call, NativeProgram) for call in self.calls)
        self.kept_leaves = () if sure else recipe.overwritten
        self.short = sure and all(isinstance(call, NativeProgram) and call.short for call in self.calls)

    @property
    def launches(self) -> int:
        """Kernels that a run launches."""
        return len(self.recipe.calls)

    @property
    def results(self) -> int:
        """Values that a run gives."""
        return len(self.recipe.outputs)

    @property
    def direct(self) -> Callable[..., None] | None:
        """The native function that takes addresses (of leaves, outputs, arena, status) and numbers, where a short run
        is one call of it on a little of the host's memory, and nothing can be wrong with its indices."""
        recipe = self.recipe
        sizes = *recipe.output_bytes, recipe.arena_bytes
        if (not self.short or len(self.calls) != 1 or recipe.checks or max(sizes) > SMALL
                or type(self.device).allocate is not Device.allocate):
            return None
        call = self.calls[0]
        return call.function if isinstance(call, NativeProgram) else None

    @property
    def native_calls(self) -> int:
        """Calls into native code that a run makes."""
        return len(self.calls)

    def run(self, pending: Pending, timed: bool) -> tuple[list[Buffer], list[float]]:
        """The result buffers, in the order of ``pending.results``, and, if ``timed``, the seconds of each kernel.
        Raises ``IndexError`` if an index tensor is out of range; then nothing has been overwritten."""
        leaves = pending.leaves
        numbers: list[Any] = [s.value for s in pending.scalars]
        if self.recipe.free:
            numbers += [pending.constants[i].arg for i in self.recipe.free]
        return self.run_at([x.buffer for x in leaves], [x.buffer.address + x.offset for x in leaves], numbers, timed)

    def run_at(self, leaves: Sequence[Buffer], addresses: list[int], numbers: Sequence[Any],
               timed: bool = False) -> tuple[list[Buffer], list[float]]:
        """As ``run``, without the graph: the leaves' buffers, where in them the leaves begin, and the numbers."""
        recipe, allocate = self.recipe, self.device.allocate
        outputs: list[Buffer] = []
        arena = status = None
        try:
            for nbytes in recipe.output_bytes:
                output = allocate(nbytes)
                outputs.append(output)
                addresses.append(output.address)
            if recipe.arena_bytes:
                arena = allocate(recipe.arena_bytes)
            if recipe.checks:
                status = allocate(8 * len(recipe.checks))
        except Exception as error:
            raise memory_error(self.device.name, sum(recipe.output_bytes) + recipe.arena_bytes, error) from None
        if status is not None:
            status.copyin(np.zeros(len(recipe.checks), np.int64))
        addresses.append(arena.address if arena is not None else 0)
        addresses.append(status.address if status is not None else 0)
        seconds: list[float] = []
        if timed or self.kept_leaves:
            seconds = self._carefully(leaves, addresses, numbers, timed)
        else:
            for call in self.calls:
                call.run(addresses, numbers)
        if status is not None:
            found = np.empty(len(recipe.checks), np.int64)
            status.copyout(found)
            if found.any():
                raise index_error(recipe.checks, found)
        results = []
        for fresh, at in recipe.outputs:
            results.append(outputs[at] if fresh else leaves[at])
        return results, seconds

    def _carefully(self, leaves: Sequence[Buffer], addresses: Sequence[int], numbers: Sequence[Any],
                   timed: bool) -> list[float]:
        """The calls, with the leaves as they were should one fail; and the seconds of each kernel, if ``timed``."""
        seconds: list[float] = []
        kept = self._copies([leaves[i] for i in self.kept_leaves])
        try:
            for call in self.calls:
                if timed:
                    seconds += call.run_timed(addresses, numbers)
                else:
                    call.run(addresses, numbers)
        except BaseException:
            with suppress(Exception):  # a device that is lost altogether
                for buffer, copy in kept:
                    buffer.copy_from(copy, buffer.nbytes)
            raise
        self.kept_leaves = ()
        return seconds

    def _copies(self, buffers: Sequence[Buffer]) -> list[tuple[Buffer, Buffer]]:
        """Each buffer with a copy of it; those for which there is room."""
        made = []
        with suppress(MemoryError):
            for buffer in buffers:
                made.append((buffer, buffer.copy(buffer.nbytes)))
        return made


def index_error(shapes: Sequence[tuple[int, ...]], status: np.ndarray) -> IndexOutOfRange:
    """What to raise for the first check that failed. ``shapes``: of each check, the shape that was indexed; ``status``:
    0, or 1 + the dimension that an index is out of range for."""
    at = int(np.flatnonzero(status)[0])
    shape, position = shapes[at], int(status[at]) - 1
    size = shape[position] if position < len(shape) else 0
    return IndexOutOfRange(f"index out of range: a value of the index tensor for dimension {position} is not in "
                           f"0 … {size - 1}, the tensor has shape {list(shape)}", shape)


def _parts(recipe: Recipe, programs: Sequence[CompiledKernel]) -> Iterator[list[Step]]:
    """The steps of each native call."""
    part: list[Step] = []
    work = 0
    for call, program in zip(recipe.calls, programs, strict=True):
        part.append(Step(program, call.arrays, call.scalars, call.iterations, call.grain, call.work))
        work += call.work
        if work > WORK_PER_CALL:
            yield part
            part, work = [], 0
    if part:
        yield part
