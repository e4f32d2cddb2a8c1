"""Stage: realise. In: a plan. Out: its kernels lowered and compiled, and a run of them on given buffers.
Next: ``realise.py``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any

import numpy as np

from minigrad.engine.walk import Pending
from minigrad.graph.lazy import LazyBuffer
from minigrad.lower import Lowered, lower
from minigrad.ops import Op
from minigrad.render.c import render_c
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.device import Device, Program, get_device
from minigrad.runtime.native import Step
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

    @property
    def name(self) -> str:
        return self.lowered.kernel.name

    @cached_property
    def source(self) -> str:
        """The kernel as C, the form DEBUG=4 prints."""
        return render_c([self.lowered.kernel])


class Executable:
    """A plan that can run: ``run`` takes the leaves' buffers and gives the results'."""

    def __init__(self, plan: Plan, device: Device, scalars: Sequence[LazyBuffer], free: Sequence[int]) -> None:
        self.plan, self.device, self.free = plan, device, tuple(free)
        start = perf_counter()
        lowered = [lower(launch.spec, device.target) for launch in plan.launches]
        self.lower_seconds = perf_counter() - start
        programs = device.compile([x.kernel for x in lowered]) if lowered else []
        self.compile_seconds = perf_counter() - start - self.lower_seconds
        self.kernels = [CompiledKernel(launch, low, program, _bytes(launch)) for launch, low, program
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
        plan, name = self.plan, self.device.name
        leaves = pending.leaves
        outputs = [Buffer(name, n) for n in plan.output_bytes]
        addresses = [x.buffer.address + x.offset for x in leaves]
        addresses += [b.address for b in outputs]
        arena = Buffer(name, plan.arena_bytes) if plan.arena_bytes else None
        addresses.append(arena.address if arena else 0)
        status = None
        if plan.checks:
            status = np.zeros(len(plan.checks), np.int64)
            addresses.append(status.__array_interface__["data"][0])
        else:
            addresses.append(0)
        numbers: list[Any] = [s.value for s in pending.scalars]
        if self.free:
            numbers += [pending.constants[i].arg for i in self.free]
        seconds: list[float] = []
        for call in self.calls:
            if timed:
                seconds += call.run_timed(addresses, numbers)
            else:
                call.run(addresses, numbers)
        if status is not None and status.any():
            self._raise_index_error(status)
        return [outputs[at] if fresh else leaves[at].buffer for fresh, at in self.output_slots], seconds

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


def build(pending: Pending, free: frozenset[int]) -> Executable:
    """Schedule, lower and compile a graph. The plan refers to stand-ins for the leaves, so it keeps no memory alive."""
    stand_ins: dict[LazyBuffer, LazyBuffer] = {}
    leaves = []
    for leaf in pending.leaves:
        stand_ins[leaf] = LazyBuffer(Op.BUFFER, (), leaf.arg, leaf.shape, leaf.dtype, leaf.device)
        leaves.append(stand_ins[leaf])
    scalars = []
    for node in pending.scalars:
        stand_ins[node] = LazyBuffer(Op.SCALAR, (), None, (), node.dtype, node.device)
        scalars.append(stand_ins[node])
    for i in sorted(free):
        node = pending.constants[i]
        scalar = LazyBuffer(Op.SCALAR, (), None, (), node.dtype, node.device)
        stand_ins[node] = scalar.expand(node.shape)
        scalars.append(scalar)
    dead = {leaf for leaf, is_dead in zip(leaves, pending.dead, strict=False) if is_dead}
    device = get_device(pending.device)
    plan = schedule(pending.results, leaves, dead, device.target, stand_ins)
    return Executable(plan, device, scalars, sorted(free))
