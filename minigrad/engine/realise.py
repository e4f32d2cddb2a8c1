"""Stage: realise. In: LazyBuffers that somebody wants to see. Out: memory in each. This is the one way from a graph to
values. Next: ``debug.py``, then the room ``autograd/``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from time import perf_counter
from types import ModuleType

import numpy as np

from minigrad import config
from minigrad.dtype import DType
from minigrad.engine.inspect import KernelRun, active
from minigrad.engine.plans import PlanCache
from minigrad.engine.walk import Pending, walk
from minigrad.graph.host import run_host
from minigrad.graph.lazy import LazyBuffer, contiguous_strides
from minigrad.graph.reference import evaluate
from minigrad.ops import Op
from minigrad.runtime.buffer import Buffer

plans = PlanCache()


def realise(outputs: Sequence[LazyBuffer]) -> None:
    """Compute ``outputs``, and every owned node on the way, and turn them into memory. An error changes nothing."""
    wanted = [o for o in outputs if o.buffer is None]
    if not wanted:
        return
    devices = {o.device for o in wanted}
    if len(devices) > 1:
        for device in sorted(devices):
            realise([o for o in wanted if o.device == device])
        return
    pending = walk(wanted)
    if pending.host:
        _run_host_nodes(pending)
        wanted = [o for o in wanted if o.buffer is None]
        if not wanted:
            return
        pending = walk(wanted)
    if pending.device == "NUMPY":
        _run_reference(pending)
        return
    _run(pending)


def _run(pending: Pending) -> None:
    level = config.get("DEBUG")
    start = perf_counter()
    executable, hit = plans.find(pending)
    if level:
        _debug().before(pending, executable, hit, perf_counter() - start, level)
    seen = active()
    buffers, seconds = executable.run(pending, level >= 2 or bool(seen))
    for node, buffer in zip(pending.results, buffers, strict=True):
        node.realised(buffer)
    if level:
        _debug().after(executable, seconds, level)
    for record in seen:
        record.launches += len(executable.kernels)
        record.native_calls += len(executable.calls)
        record.compiled += 0 if hit else len(executable.kernels)
        record.plan_hits += hit
        record.plan_misses += not hit
        record.kernels += [KernelRun(k, pending.device, s) for k, s in zip(executable.kernels, seconds, strict=True)]


@cache
def _debug() -> ModuleType:
    """The printing is loaded when DEBUG first asks for it."""
    from minigrad.engine import debug

    return debug


def _run_host_nodes(pending: Pending) -> None:
    """Run the HOST and COPY nodes of a graph, each after what it reads."""
    for node in pending.host:
        realise(node.srcs)
        arrays = [to_numpy(s) for s in node.srcs]
        result = arrays[0] if node.op == Op.COPY else run_host(node.arg, arrays)
        leaf = leaf_from_numpy(np.asarray(result), node.dtype, node.device)
        node.realised(leaf.buffer)


def _run_reference(pending: Pending) -> None:
    """The NUMPY device: op by op."""
    arrays = evaluate(pending.results, to_numpy)
    for node, array in zip(pending.results, arrays, strict=True):
        node.realised(leaf_from_numpy(array, node.dtype, node.device).buffer)


def leaf_from_numpy(array: np.ndarray, dtype: DType, device: str) -> LazyBuffer:
    """A realised LazyBuffer with a copy of the array, which must have the NumPy type of ``dtype``."""
    shape = array.shape  # ascontiguousarray makes one axis of none
    array = np.ascontiguousarray(array, dtype.numpy)
    buffer = Buffer(device, array.nbytes)
    if array.nbytes:
        buffer.copyin(array)
    return LazyBuffer.from_buffer(buffer, shape, dtype, device)


def wrap_numpy(array: np.ndarray, dtype: DType, device: str) -> LazyBuffer:
    """A realised LazyBuffer on the user's own memory, without a copy."""
    strides = tuple([s // array.itemsize for s in array.strides])
    plain = strides == contiguous_strides(array.shape)
    return LazyBuffer.from_buffer(Buffer.wrap(array, device), array.shape, dtype, device, 0, None if plain else strides)


def to_numpy(lazy: LazyBuffer) -> np.ndarray:
    """A realised LazyBuffer's memory as an array that shares it and keeps it alive."""
    return lazy.buffer.as_numpy(lazy.dtype, lazy.shape, lazy.arg, lazy.offset)
