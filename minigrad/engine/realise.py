"""Stage: realise. In: LazyBuffers that somebody wants to see. Out: memory in each. This is the one way from a graph to
values.
Next: ``walk.py``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache, partial
from time import perf_counter
from types import ModuleType
from typing import Any

import numpy as np

from minigrad import config, lazily
from minigrad.dtype import DType
from minigrad.engine.inspect import KernelRun, records
from minigrad.engine.plans import PlanCache
from minigrad.engine.walk import Pending, let_go, walk
from minigrad.errors import CompileError, IndexOutOfRange, LaunchError, OutOfMemoryError
from minigrad.graph.host import run_host
from minigrad.graph.lazy import LazyBuffer, contiguous_strides
from minigrad.graph.lines import call_of, calls_of, name_lines, with_lines
from minigrad.lazily import importing
from minigrad.ops import Op
from minigrad.runtime import pool
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.device import get_device, in_host_memory, memory_error
from minigrad.runtime.locks import computing, others_record

plans = PlanCache()


Run = tuple[Pending, Any]
"""A graph that ran, and its Executable."""


class _Deferred(threading.local):
    """``on``: what this thread wants to see is computed later, with other things. Whoever defers asks for it again.
    ``unknown``: says of which values that is so, as long as not of all: of those that placeholders lead to."""

    on = False
    unknown: Callable[[LazyBuffer], bool] | None = None


deferred = _Deferred()


class _Failed(threading.local):
    """``error``: what a run of this thread has raised for which there was no graph."""

    error: Exception | None = None


_failed = _Failed()


class _NotRun(Exception):
    """What a block of ``failed`` has asked for."""


@contextmanager
def failed(error: Exception | None) -> Iterator[None]:
    """A block that asks once more for what has raised an error as it ran again, and is recorded now. It is not run,
    since a part of it may be done: the error gets the lines of what failed, and the block is left by an exception."""
    _failed.error = error
    try:
        yield
    finally:
        _failed.error = None


def realise(outputs: Sequence[LazyBuffer], watch: list[Run] | None = None) -> None:
    """Compute ``outputs``, and every owned node on the way, and turn them into memory. An error changes nothing.
    ``watch`` is told what ran, if that can be run again without the graph."""
    if deferred.on:
        return
    unknown = deferred.unknown
    if unknown is not None:
        outputs = [o for o in outputs if not unknown(o)]
    with computing:
        if _overwriting:
            _settle()
        try:
            _realise(outputs, watch)
        except IndexOutOfRange as error:
            raise with_lines(error, calls_of(outputs)) from None
        if pool.held:
            pool.raise_held()


_overwriting: list[tuple[Pending, Any, list[Buffer]]] = []
"""The runs under way that write over leaves, and the buffers of their results. More than one, if the handler of a
signal computes something too."""


def _settle() -> None:
    """Keep the results of the runs under way that are done but for that: a signal came in between."""
    pool.settle()
    for pending, executable, made in _overwriting:
        if made and executable.complete:
            _keep(pending, made)


def _keep(pending: Pending, results: Sequence[Buffer]) -> None:
    for node, buffer in zip(pending.results, results, strict=True):
        node.realised(buffer)
    let_go(pending)


def _realise(outputs: Sequence[LazyBuffer], watch: list[Run] | None) -> None:
    wanted = [o for o in outputs if o.buffer is None]
    if not wanted:
        return
    if len(wanted) < len(outputs):
        ready = [o for o in outputs if o.buffer is not None and not o.owners]
        if ready:  # what the caller holds and no Tensor owns: it is not written into
            with kept(ready):
                _realise(wanted, watch)
            return
    devices = {o.device for o in wanted}
    if len(devices) > 1:
        with kept(wanted):
            for device in sorted(devices):
                realise([o for o in wanted if o.device == device])
        return
    pending = walk(wanted)
    if pending.host:
        with kept(wanted):
            _run_host_nodes(pending, watch)
        _realise(wanted, watch)  # some of which are there now
        return
    for record in records:
        if not record.run:
            details = _details().preview(pending, record.device)
            record.kernels += [KernelRun(details, i, record.device or "", None) for i in range(len(details.kernels))]
    if pending.device == "NUMPY":
        _run_reference(pending)
        return
    executable = _run(pending)
    if watch is not None and executable is not None:
        watch.append((pending, executable))


@contextmanager
def kept(wanted: Sequence[LazyBuffer]) -> Iterator[None]:
    """A block of runs in which nodes that are wanted in a later one count as owned: else a run that comes to them on
    the way would let go of what they are computed from."""
    for node in wanted:
        node.owners += 1
    try:
        yield
    finally:
        for node in wanted:
            node.owners -= 1


def _run(pending: Pending) -> Any:
    level = config.get("DEBUG")
    seen = records
    start = perf_counter()
    executable: Any
    try:
        executable, hit = plans.find(pending)
    except (CompileError, LaunchError) as error:
        _faults().place(error, pending)
        raise
    if _failed.error is not None:
        _faults().place(_failed.error, pending, executable)
        raise _NotRun
    if level:
        _debug().before(pending, executable, hit, perf_counter() - start, level)
    details = None
    if executable.tier and any([record.asks(pending, executable) for record in seen]):
        details = _details().Details(pending, executable.recipe.free, executable.device)
    try:
        seconds = _execute(pending, executable, level >= 2 or bool(seen))
    except (OutOfMemoryError, LaunchError) as error:
        _faults().place(error, pending, executable)
        raise
    if level:
        _debug().after(executable, seconds, level)
    for record in seen:
        if record.run and record.device in (None, pending.device):
            record.ran(pending, executable, hit, seconds, details)
    return executable


def _execute(pending: Pending, executable: Any, timed: bool) -> list[float]:
    """Run a graph by a plan and keep its results; the seconds of each kernel, if ``timed``."""
    seconds: list[float]
    if not executable.overwrites:
        with others_record:
            buffers, seconds = executable.run(pending, timed)
        _keep(pending, buffers)
        return seconds
    made: list[Buffer] = []
    _overwriting.append((pending, executable, made))
    try:
        with others_record:
            buffers, seconds = executable.run(pending, timed, made)
        _keep(pending, buffers)
    except BaseException as error:
        if not isinstance(error, IndexOutOfRange):
            _settle()
        raise
    finally:
        _overwriting.pop()
    return seconds


def run_again(executable: Any, leaves: Sequence[Buffer], addresses: list[int], numbers: Sequence[Any],
              device: str) -> list[Buffer]:
    """Run what ran before on other memory: the results' buffers. The graph is not there any more."""
    level, seen = config.get("DEBUG"), records
    if not level and not seen:
        if executable.short:
            return executable.run_at(leaves, addresses, numbers)[0]
        with others_record:
            return executable.run_at(leaves, addresses, numbers)[0]
    if level:
        _debug().before_replay(executable, device)
    buffers, seconds = executable.run_at(leaves, addresses, numbers, True)
    if level:
        _debug().after(executable, seconds, level)
    tell(executable, device, seconds, buffers)
    return buffers


def tell(executable: Any, device: str, seconds: Sequence[float], results: Sequence[Buffer]) -> None:
    """Tell those that record that what ran before ran again."""
    for record in records:
        if record.run and record.device in (None, device):
            record.ran_again(executable, device, seconds, results)


@cache
def _debug() -> ModuleType:
    """The printing is loaded when DEBUG first asks for it."""
    with importing():
        from minigrad.engine import debug

    return debug


@cache
def _faults() -> ModuleType:
    """What finds the lines for an error is loaded at the first."""
    with importing():
        from minigrad.engine import faults

    return faults


@cache
def _details() -> ModuleType:
    """What ``inspect`` shows is loaded when somebody inspects."""
    with importing():
        from minigrad.engine import details

    return details


def _run_host_nodes(pending: Pending, watch: list[Run] | None) -> None:
    """Run the HOST and COPY nodes of a graph, each after what it reads."""
    for node in pending.host:
        if node.buffer is None:
            realise(node.srcs, watch)
            try:
                _run_host_node(node)
            except OutOfMemoryError as error:
                call = call_of(node)
                name_lines(error, [] if call is None else [call[0]])
                raise


def _run_host_node(node: LazyBuffer) -> None:
    """Run one, whose sources have values."""
    if node.op == Op.OUTPUT:
        kept = node.srcs[0].value[node.arg - 1]
        kept.buffer.add_view(node)
        node.realised(kept.buffer)
        return
    if node.op == Op.COPY:
        buffer = _on_device(node.srcs[0], node.device)
        if buffer is node.srcs[0].buffer:
            buffer.add_view(node)
        node.realised(buffer)
        return
    first, *node.value = by_host(node, [to_numpy(s) for s in node.srcs])
    node.realised(first.buffer)


def by_host(node: LazyBuffer, arrays: Sequence[np.ndarray], call: Any = None) -> list[LazyBuffer]:
    """What a HOST node makes of these arrays, as leaves. ``call``: the call that was followed, if it is not recorded
    now."""
    start = perf_counter()
    types = node.dtype, *[dtype for _, dtype in node.arg[2:]]
    found = [leaf_from_numpy(np.asarray(array), dtype, node.device)
             for array, dtype in zip(run_host(node.arg, arrays), types, strict=True)]
    for record in records:
        if record.run and record.device in (None, node.device):
            nbytes = sum([array.nbytes for array in arrays])
            record.ran_by_host(node, node.arg[0], perf_counter() - start, nbytes, [leaf.buffer for leaf in found], call)
    return found


def _on_device(source: LazyBuffer, name: str) -> Buffer:
    """The memory of a realised value for another device.

    Two devices that work on the host's memory share it, though to users it is a copy: a run writes into memory only
    when a single value refers to it (``walk._dead``), and memory that is shown to others is made private before
    (``Storage.make_private``). What others see already is copied, and so is a part of a larger buffer, which it would
    keep alive.
    """
    if source.arg is not None:
        source = source.contiguous()
        realise([source])
    device, buffer = get_device(name), source.buffer
    nbytes = source.size * source.dtype.size
    if buffer.on_host and device.host_memory and buffer.nbytes == nbytes and not buffer.exported:
        return buffer
    copy = device.allocate(nbytes)
    if nbytes:
        copy.copy_from(buffer, nbytes, 0, source.offset)
    return copy


def _run_reference(pending: Pending) -> None:
    """The NUMPY device: op by op."""
    made: dict[LazyBuffer, Buffer] = {}
    results: dict[LazyBuffer, list[LazyBuffer]] = {}
    for node in pending.results if records else ():
        results.setdefault(node.srcs[0] if node.op == Op.OUTPUT else node, []).append(node)
    tell = partial(_told, results, made) if records else None
    try:
        with in_host_memory():
            arrays = lazily.module("minigrad.graph.reference").evaluate(pending.results, to_numpy, tell)
    except OutOfMemoryError as error:
        _faults().place(error, pending)
        raise
    for node, array in zip(pending.results, arrays, strict=True):
        node.realised(made[node] if node in made else leaf_from_numpy(array, node.dtype, node.device).buffer)
    let_go(pending)


def _told(results: dict[LazyBuffer, list[LazyBuffer]], made: dict[LazyBuffer, Buffer], node: LazyBuffer,
          values: Sequence[np.ndarray], seconds: float, nbytes: int) -> None:
    """Tell those that record what NumPy has computed. The memory of the ``results`` that are this node, or an OUTPUT of
    it, is ``made`` now, so that they see it."""
    own = results.get(node, [])
    for result in own:
        value = values[result.arg if result.op == Op.OUTPUT else 0]
        made[result] = leaf_from_numpy(value, result.dtype, result.device).buffer
    name = node.arg.name if node.op == Op.FUNCTION else node.op.lower()
    for record in records:
        if record.run and record.device in (None, node.device):
            record.ran_by_host(node, name, seconds, nbytes, [made[result] for result in own], None)


def leaf_from_numpy(array: np.ndarray, dtype: DType, device: str) -> LazyBuffer:
    """A realised LazyBuffer with a copy of the array, which must have the NumPy type of ``dtype``."""
    shape = array.shape  # ascontiguousarray makes one axis of none
    array = np.ascontiguousarray(array, dtype.numpy)
    allocate = get_device(device).allocate
    try:
        buffer = allocate(array.nbytes)
    except Exception as error:
        raise memory_error(device, array.nbytes, error) from None
    if array.nbytes:
        buffer.copyin(array)
    return LazyBuffer.from_buffer(buffer, shape, dtype, device)


def wrap_numpy(array: np.ndarray, dtype: DType, device: str) -> LazyBuffer:
    """A realised LazyBuffer on the user's own memory, without a copy."""
    shape = array.shape
    strides = _gaps(shape, array.strides, array.itemsize)
    return LazyBuffer.from_buffer(Buffer.wrap(array, device), shape, dtype, device, 0, strides)


@lru_cache(maxsize=4096)
def _gaps(shape: tuple[int, ...], strides: tuple[int, ...], item: int) -> tuple[int, ...] | None:
    """The strides of an array in elements, from those in bytes; None for row-major order without gaps."""
    steps = tuple([stride // item for stride in strides])
    return None if steps == contiguous_strides(shape) else steps


def to_numpy(lazy: LazyBuffer, shown: bool = False) -> np.ndarray:
    """A realised LazyBuffer's memory as an array that shares it and keeps it alive; a read-only copy where the memory
    is not the host's. ``shown``: it goes to code outside minigrad (``Buffer.as_numpy``)."""
    return lazy.buffer.as_numpy(lazy.dtype, lazy.shape, lazy.arg, lazy.offset, shown=shown)
