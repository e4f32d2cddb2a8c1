"""Stage: runtime. In: a GPU's driver and stream. Out: its memory, by size class and reused as the host's is, and copies
between it and the host through pinned memory. Everything is queued on one stream, so a block may be used again as
soon as Python lets go of it: what reads it was queued before.
Next: ``cuda_checks.py``."""

from __future__ import annotations

import ctypes
import os
from threading import RLock
from typing import TYPE_CHECKING, Any

from minigrad.errors import DeviceUnavailable
from minigrad.runtime.allocator import FreeList
from minigrad.runtime.buffer import DeviceBuffer, DeviceMemory
from minigrad.runtime.cuda_checks import LateWords
from minigrad.runtime.locks import count_lock

if TYPE_CHECKING:
    from minigrad.runtime.cuda_driver import Driver

CHUNK = 4 << 20
"""Bytes of one of the two pinned blocks that copies go through."""


class Queue:
    """A GPU's context and its one stream, opened at the first use."""

    def __init__(self, driver: Driver, index: int) -> None:
        self.driver, self.index = driver, index
        self.process = os.getpid()
        self.context = driver.open(index)
        driver.use(self.context)
        self.stream = driver.stream()

    def use(self) -> Driver:
        """The driver, with this GPU as the thread's."""
        if os.getpid() != self.process:  # the driver does not survive a fork
            raise DeviceUnavailable("Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, "
                                    "you must use the 'spawn' start method")
        self.driver.use(self.context)
        return self.driver


class Owned:
    """Something of the driver's that goes with its last user: a block of memory, a module, a graph."""

    __slots__ = ("drop", "handle", "queue")

    def __init__(self, queue: Queue, drop: str, handle: Any) -> None:
        self.queue, self.drop, self.handle = queue, drop, handle

    def __del__(self) -> None:
        try:
            driver = self.queue.use()
            driver.synchronize(self.queue.stream)
            getattr(driver, self.drop)(self.handle)
        except Exception:
            pass  # interpreter's end, when suppress() may be gone already


class CudaMemory(DeviceMemory):
    """The memory of one GPU. All of it may be cached; what is cached goes back before an allocation is refused."""

    def __init__(self, queue: Queue, total: int) -> None:
        super().__init__(cache_limit=total, physical=total)
        self.queue = queue
        self.allocated = self.peak_allocated = 0  # bytes of blocks in use
        self.peak_reserved = 0
        self.staging = Staging(queue)
        self.late = LateWords(queue, Owned)

    def obtain(self, size: int) -> tuple[int, Any]:
        address = self.queue.use().allocate(size)
        return address, Owned(self.queue, "free", address)

    def fresh(self, free: FreeList, nbytes: int) -> tuple[int, FreeList]:
        found = super().fresh(free, nbytes)
        self.peak_reserved = max(self.peak_reserved, self._mapped)
        return found

    def out_of_memory(self, nbytes: int) -> str:
        left, total = self.queue.use().memory()
        stats = self.stats()
        unused = stats.mapped - stats.in_use
        return (f"CUDA out of memory. Tried to allocate {_size(nbytes)}. GPU {self.queue.index} has a total capacity "
                f"of {_size(total)} of which {_size(left)} is free. Of the allocated memory {_size(stats.in_use)} is "
                f"in use by minigrad's tensors, and {_size(unused)} is reserved by minigrad but unused.")

    def copy_in(self, address: int, source: int, nbytes: int) -> None:
        self.staging.copy_in(address, source, nbytes)

    def copy_out(self, target: int, address: int, nbytes: int) -> None:
        self.staging.copy_out(target, address, nbytes)
        self.late.settle(wait=True)  # what was read may be wrong

    def copy_within(self, target: int, source: int, nbytes: int) -> None:
        if nbytes:
            self.queue.use().copy_within(target, source, nbytes, self.queue.stream)

    @property
    def reserved(self) -> int:
        """Bytes taken from the driver."""
        return self._mapped

    def reset_peaks(self) -> None:
        """Let the peaks begin at what is used now."""
        self.peak_allocated, self.peak_reserved = self.allocated, self._mapped


class CudaBuffer(DeviceBuffer):
    """A buffer that is counted."""

    __slots__ = ()
    memory: CudaMemory

    def __init__(self, device: str, nbytes: int, memory: CudaMemory) -> None:
        super().__init__(device, nbytes, memory)
        with count_lock:
            memory.allocated += self._free.size if self._free is not None else 0
            memory.peak_allocated = max(memory.peak_allocated, memory.allocated)

    def __del__(self) -> None:
        if self._free is not None:
            with count_lock:
                self.memory.allocated -= self._free.size
            self._free.append(self.address)


class Staging:
    """Two blocks of pinned memory, in turn: while the GPU copies from one, the host fills the other.

    A finaliser may copy in the middle of a copy of its thread; it then does without the blocks.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.lock = RLock()
        self.busy = False
        self.blocks: list[tuple[int, Any]] = []  # address, and the event after the last copy from or to it
        self.keep: list[Owned] = []
        self.current = 0
        self.used = 0  # bytes of the current block

    def copy_in(self, address: int, source: int, nbytes: int) -> None:
        """The source may change as soon as this returns."""
        driver, stream = self.queue.use(), self.queue.stream
        with self.lock:
            if self.busy:
                driver.copy_in(address, source, nbytes, stream)
                driver.synchronize(stream)
                return
            self.busy = True
            try:
                for offset in range(0, nbytes, CHUNK):
                    n = min(CHUNK, nbytes - offset)
                    block = self.take(n)
                    ctypes.memmove(block, source + offset, n)
                    driver.copy_in(address + offset, block, n, stream)
            finally:
                self.busy = False

    def copy_out(self, target: int, address: int, nbytes: int) -> None:
        """Returns when the bytes are there."""
        driver, stream = self.queue.use(), self.queue.stream
        with self.lock:
            if self.busy:
                driver.copy_out(target, address, nbytes, stream)
                driver.synchronize(stream)
                return
            self.busy = True
            try:
                waiting: tuple[int, int, Any, int] | None = None
                for offset in range(0, nbytes, CHUNK):
                    n = min(CHUNK, nbytes - offset)
                    block = self.turn()
                    driver.copy_out(block, address + offset, n, stream)
                    event = self.blocks[self.current][1]
                    driver.record(event, stream)
                    self.used = CHUNK
                    if waiting is not None:
                        self.deliver(*waiting)
                    waiting = target + offset, block, event, n
                if waiting is not None:
                    self.deliver(*waiting)
            finally:
                self.busy = False

    def take(self, nbytes: int) -> int:
        """The address of pinned bytes that no copy still needs."""
        if not self.blocks or self.used + nbytes > CHUNK:
            self.turn()
        address = self.blocks[self.current][0] + self.used
        self.used += -(-nbytes // 64) * 64
        return address

    def turn(self) -> int:
        """Go over to the other block, when the copies that use it are done; its address."""
        driver = self.queue.use()
        if not self.blocks:
            for _ in range(2):
                self.blocks.append((driver.allocate_pinned(CHUNK), driver.event()))
                self.keep += [Owned(self.queue, "free_pinned", self.blocks[-1][0]),
                              Owned(self.queue, "drop_event", self.blocks[-1][1])]
        elif self.used:
            driver.record(self.blocks[self.current][1], self.queue.stream)
        self.current ^= 1
        self.used = 0
        address, event = self.blocks[self.current]
        driver.wait(event)  # at once if it was never recorded
        return address

    def deliver(self, target: int, block: int, event: Any, nbytes: int) -> None:
        """Wait for a copy to a block and pass the bytes on."""
        self.queue.driver.wait(event)
        ctypes.memmove(target, block, nbytes)


def _size(nbytes: int) -> str:
    """As PyTorch words it: ``2.00 GiB``."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if nbytes >= size:
            return f"{nbytes / size:.2f} {unit}"
    return f"{nbytes / 1024:.2f} KiB"
