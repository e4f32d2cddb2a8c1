"""Stage: realise. In: a plan. Out: its kernels lowered and compiled, and a run of them on given buffers.
Next: ``realise.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np

from minigrad.engine.compilation import compile_kernels
from minigrad.engine.walk import Pending
from minigrad.graph.lazy import LazyBuffer
from minigrad.lower import Lowered, lower
from minigrad.ops import Op
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.device import Device, Program, device_class, get_device, memory_error
from minigrad.runtime.native import NativeProgram, Step
from minigrad.schedule.plan import Launch, Place, Plan, schedule
from minigrad.schedule.spec import StackedSpec

WORK_PER_THREAD = 16 << 10
"""Scalar operations below which a thread is not worth waking."""

WORK_PER_CALL = 1 << 30
"""Scalar operations, about a tenth of a second, after which native code returns to Python, so that Ctrl-C gets
through."""


@dataclass(eq=False)
class CompiledKernel:
    """A launch with its code. ``flops`` and ``bytes`` count one run."""

    launch: Launch
    lowered: Lowered
    program: Program
    bytes: int
    device: Device

    @property
    def name(self) -> str:
        return self.lowered.kernel.name

    @cached_property
    def source(self) -> str:
        """The kernel in its device's language, the form DEBUG=4 prints."""
        return self.device.readable(self.lowered.kernel)


class Executable:
    """A plan that can run: ``run`` takes the leaves' buffers and gives the results'."""

    tier = 1

    def __init__(self, plan: Plan, device: Device, scalars: Sequence[LazyBuffer], free: Sequence[int]) -> None:
        self.plan, self.device, self.free = plan, device, tuple(free)
        start = perf_counter()
        lowered = [lower(launch.spec, device.target) for launch in plan.launches]
        self.lower_seconds = perf_counter() - start
        programs = compile_kernels(device, [x.kernel for x in lowered]) if lowered else []
        self.compile_seconds = perf_counter() - start - self.lower_seconds
        self.kernels = [CompiledKernel(launch, low, program, _bytes(launch), device) for launch, low, program
                        in zip(plan.launches, lowered, programs, strict=True)]
        leaves, outputs = len(plan.leaves), len(plan.output_bytes)
        self.arena_slot = leaves + outputs
        letters = "".join("d" if s.dtype.is_float else "Q" if s.dtype.kind == "u" else "q" for s in scalars)
        position = {s: i for i, s in enumerate(scalars)}
        steps = [Step(k.program, tuple(self._slot(p, leaves) for p in k.launch.places),
                      tuple(position[s] for s in _scalars(k.launch)), k.lowered.iterations, _grain(k.lowered))
                 for k in self.kernels]
        self.calls = [device.native(part, leaves + outputs + 2, letters) for part in self._parts(steps)]
        self.output_slots = [(p.kind == "output", p.at) for p in plan.outputs]
        overwritten = [place.at for k in self.kernels for place, array
                       in zip(k.launch.places, k.lowered.kernel.arrays, strict=True)
                       if place.kind == "leaf" and array.written]
        # A launch may be refused: until all have succeeded once, a run keeps copies of the leaves it overwrites.
        # Native programs only call functions of this process, which is never refused.
        sure = all(isinstance(call, NativeProgram) for call in self.calls)
        self.kept_leaves = () if sure else tuple(dict.fromkeys(overwritten))

    @property
    def launches(self) -> int:
        """Kernels that a run launches."""
        return len(self.kernels)

    @property
    def compiled(self) -> int:
        """Kernels that were compiled for it."""
        return len(self.kernels)

    @property
    def native_calls(self) -> int:
        """Calls into native code that a run makes."""
        return len(self.calls)

    def _parts(self, steps: Sequence[Step]) -> Iterator[list[Step]]:
        """The steps of each native call."""
        part: list[Step] = []
        work = 0
        for step, kernel in zip(steps, self.kernels, strict=True):
            part.append(step)
            work += kernel.lowered.work
            if work > WORK_PER_CALL:
                yield part
                part, work = [], 0
        if part:
            yield part

    def _slot(self, place: Place, leaves: int) -> int | tuple[int, int]:
        if place.kind == "leaf":
            return place.at
        if place.kind == "output":
            return leaves + place.at
        return (self.arena_slot, place.at) if place.kind == "arena" else (self.arena_slot + 1, place.at)

    def run(self, pending: Pending, timed: bool) -> tuple[list[Buffer], list[float]]:
        """The result buffers, in the order of ``pending.results``, and, if ``timed``, the seconds of each kernel.
        Raises ``IndexError`` if an index tensor is out of range; then nothing has been overwritten."""
        plan, allocate = self.plan, self.device.allocate
        leaves = pending.leaves
        try:
            outputs = [allocate(n) for n in plan.output_bytes]
            arena = allocate(plan.arena_bytes) if plan.arena_bytes else None
            status = allocate(8 * len(plan.checks)) if plan.checks else None
        except Exception as error:
            raise memory_error(self.device.name, sum(plan.output_bytes) + plan.arena_bytes, error) from None
        addresses = [x.buffer.address + x.offset for x in leaves]
        addresses += [b.address for b in outputs]
        addresses.append(arena.address if arena else 0)
        if status is not None:
            status.copyin(np.zeros(len(plan.checks), np.int64))
            addresses.append(status.address)
        else:
            addresses.append(0)
        numbers: list[Any] = [s.value for s in pending.scalars]
        if self.free:
            numbers += [pending.constants[i].arg for i in self.free]
        seconds: list[float] = []
        kept = self._copies([leaves[i].buffer for i in self.kept_leaves]) if self.kept_leaves else []
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
        if status is not None:
            found = np.empty(len(plan.checks), np.int64)
            status.copyout(found)
            if found.any():
                self._raise_index_error(found)
        return [outputs[at] if fresh else leaves[at].buffer for fresh, at in self.output_slots], seconds

    def _copies(self, buffers: Sequence[Buffer]) -> list[tuple[Buffer, Buffer]]:
        """Each buffer with a copy of it; those for which there is room."""
        made = []
        with suppress(MemoryError):
            for buffer in buffers:
                copy = self.device.allocate(buffer.nbytes)
                copy.copy_from(buffer, buffer.nbytes)
                made.append((buffer, copy))
        return made

    def _raise_index_error(self, status: np.ndarray) -> None:
        at = int(np.flatnonzero(status)[0])
        node, position = self.plan.checks[at], int(status[at]) - 1
        size = node.srcs[0].shape[position] if position < len(node.srcs[0].shape) else 0
        raise IndexError(f"index out of range: a value of the index tensor for dimension {position} is not in "
                         f"0 … {size - 1}, the tensor has shape {list(node.srcs[0].shape)}")


def _scalars(launch: Launch) -> list[LazyBuffer]:
    if isinstance(launch.spec, StackedSpec):
        return list(dict.fromkeys(s for part in launch.spec.parts for s in part.scalars))
    return list(launch.spec.scalars)


def _grain(lowered: Lowered) -> int:
    """Fewest iterations worth a thread; 0 keeps the kernel on the calling thread."""
    if lowered.iterations < 2 or lowered.work < 2 * WORK_PER_THREAD:
        return 0
    return max(1, -(-WORK_PER_THREAD * lowered.iterations // max(1, lowered.work)))


def _bytes(launch: Launch) -> int:
    """Bytes that a launch must read and write at least."""
    parts = launch.spec.parts if isinstance(launch.spec, StackedSpec) else (launch.spec,)
    total = 0
    for part in parts:
        for memory in part.memory.values():
            if memory.scope == "global":
                size = memory.dtype.size
                for s in memory.shape:
                    size *= s
                total += size
    return total


@dataclass(frozen=True)
class Model:
    """A pending graph as a plan refers to it: stand-ins for leaves, scalars and constants that became arguments, so
    that the plan keeps no memory alive."""

    leaves: list[LazyBuffer]
    scalars: list[LazyBuffer]
    dead: set[LazyBuffer]
    stand_ins: dict[LazyBuffer, LazyBuffer]

    @staticmethod
    def of(pending: Pending, free: Iterable[int]) -> Model:
        stand_ins: dict[LazyBuffer, LazyBuffer] = {}
        leaves = []
        for leaf in pending.leaves:
            stand_ins[leaf] = LazyBuffer(Op.BUFFER, (), leaf.arg, leaf.shape, leaf.dtype, leaf.device)
            leaves.append(stand_ins[leaf])
        scalars = []
        for node in pending.scalars:
            stand_ins[node] = LazyBuffer(Op.SCALAR, (), None, (), node.dtype, node.device)
            scalars.append(stand_ins[node])
        for i in free:
            node = pending.constants[i]
            scalar = LazyBuffer(Op.SCALAR, (), None, (), node.dtype, node.device)
            stand_ins[node] = scalar.expand(node.shape)
            scalars.append(scalar)
        dead = {leaf for leaf, is_dead in zip(leaves, pending.dead, strict=False) if is_dead}
        return Model(leaves, scalars, dead, stand_ins)


def build(pending: Pending, free: frozenset[int]) -> Executable:
    """Schedule, lower and compile a graph."""
    model = Model.of(pending, sorted(free))
    device = get_device(pending.device)
    plan = schedule(pending.results, model.leaves, model.dead, device.target, model.stand_ins)
    return Executable(plan, device, model.scalars, sorted(free))


def preview(pending: Pending, name: str) -> list[CompiledKernel]:
    """The kernels that another device, which need not exist here, would run for a graph: rendered, not compiled."""
    kind = device_class(name)
    device = kind.offline() if kind.unavailable() else get_device(name)
    model = Model.of(pending, ())
    plan = schedule(pending.results, model.leaves, model.dead, device.target, model.stand_ins)
    kernels = []
    for launch in plan.launches:
        lowered = lower(launch.spec, device.target)
        program = Program(lowered.kernel.name, 0, device.source([lowered.kernel]), lowered.kernel)
        kernels.append(CompiledKernel(launch, lowered, program, _bytes(launch), device))
    return kernels
