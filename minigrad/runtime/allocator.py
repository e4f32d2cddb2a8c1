"""Stage: runtime. In: a number of bytes. Out: the address of a 64-byte aligned block, reused whenever one is free.
Fresh pages cost more than most kernels (the system zeroes them at the first touch), so blocks go back to a free list
of their size and stay mapped.
Next: ``shared.py``."""

from __future__ import annotations

import ctypes
import mmap
import os
from contextlib import suppress
from operator import mul
from typing import Any

from minigrad.errors import OutOfMemoryError
from minigrad.records import Record
from minigrad.runtime.locks import count_lock, memory_lock

LINE = 64  # bytes of a cache line; every block starts on one
SMALL = 64 << 10  # up to here a table gives the free list
LARGE = 1 << 20  # from here a block has a mapping of its own
SLAB = 4 << 20  # smaller blocks are carved from mappings of this size
HUGE_PAGE = 2 << 20


def size_class(nbytes: int) -> int:
    """The bytes of the block that holds ``nbytes``: multiples of 64 up to 256, then four steps to each power of two,
    so that at most a fifth of a block is unused.

    >>> [size_class(n) for n in (0, 1, 65, 256, 257, 1000, 1025, 5000)]
    [64, 64, 128, 256, 320, 1024, 1280, 5120]
    """
    if nbytes <= 256:
        return max(LINE, (nbytes + LINE - 1) & -LINE)
    step = 1 << ((nbytes - 1).bit_length() - 3)
    return (nbytes + step - 1) & -step


class MemoryStats(Record):
    """Bytes: ``mapped`` from the system = ``in_use`` by buffers + ``cached`` in free lists + ``uncarved`` of slabs."""

    mapped: int
    in_use: int
    cached: int
    uncarved: int
    peak: int


class FreeList(list[int]):
    """The free blocks of one size. ``append`` and ``pop`` of a list are atomic: no lock on the common path."""

    __slots__ = ("allocator", "size")

    def __init__(self, allocator: Allocator, size: int) -> None:
        super().__init__()
        self.allocator = allocator  # whoever holds a block holds the allocator, and so the mapping
        self.size = size


class LargeFreeList(FreeList):
    """Free blocks that have mappings of their own, and so can be given back to the system."""

    __slots__ = ()

    def append(self, address: int) -> None:
        allocator = self.allocator
        allocator.cached_large[address] = self
        super().append(address)
        with count_lock:
            allocator.cached_bytes += self.size
        if allocator.cached_bytes > allocator.cache_limit:
            allocator.release(allocator.cache_limit)

    def pop(self) -> int:  # type: ignore[override]
        allocator = self.allocator
        address = super().pop()
        allocator.cached_large.pop(address, None)
        with count_lock:
            allocator.cached_bytes -= self.size
        return address


class Allocator:
    """Blocks of memory by size class. Thread-safe; freeing never blocks, so finalisers may free.

    At most ``cache_limit`` bytes of large blocks stay cached (default: a quarter of the physical memory); the
    longest unused go back to the system first. All go back before an allocation is refused.

    A device with memory of its own subclasses it: ``obtain`` gets memory, ``out_of_memory`` words the refusal. Its
    addresses are whatever numbers it likes, as long as address + n is n bytes further on.
    """

    def __init__(self, cache_limit: int | None = None, physical: int | None = None) -> None:
        self.physical = physical_memory() if physical is None else physical
        self.cache_limit = self.physical // 4 if cache_limit is None else cache_limit
        self.cached_large: dict[int, LargeFreeList] = {}  # in the order they were freed
        self.cached_bytes = 0
        self._lists: dict[int, FreeList] = {}
        self._sizes: list[int] = []  # of the lists, in the same order
        self._mappings: dict[int, tuple[Any, int]] = {}
        self._mapped = self._peak = 0
        self._slab = self._slab_end = 0
        self.small: list[FreeList] = []  # by number of lines
        while len(self.small) <= SMALL // LINE:
            free = self._list_of(size_class(len(self.small) * LINE))
            self.small += [free] * (free.size // LINE + 1 - len(self.small))

    def free_list(self, nbytes: int) -> FreeList:
        """The free list that serves ``nbytes``. Take with ``pop``; where that raises ``IndexError``, with ``fresh``."""
        if nbytes <= SMALL:
            return self.small[(nbytes + LINE - 1) // LINE]
        return self._list_of(size_class(nbytes))

    def fresh(self, free: FreeList, nbytes: int) -> tuple[int, FreeList]:
        """An address for ``nbytes`` when ``free`` is empty, and the list where it goes back.

        Raises ``OutOfMemoryError`` when the system has no memory left.
        """
        with memory_lock:
            if free.size < LARGE:
                return self._carve(free.size), free
            for step in (1, 2):  # a somewhat larger cached block beats fresh pages
                larger = self._lists.get(size_class(free.size * (4 + step) // 4))
                if larger:
                    try:
                        return larger.pop(), larger
                    except IndexError:
                        pass
            if self._mapped + free.size > self.physical * 0.9:
                self.release(0)
            return self._map(free.size, nbytes), free

    def release(self, keep: int = 0) -> None:
        """Give cached large blocks back to the system, the longest unused first, until ``keep`` bytes are left."""
        if not memory_lock.acquire(blocking=False):
            return  # another thread is at it; a finaliser must not wait
        try:
            for address, free in list(self.cached_large.items()):
                if self.cached_bytes <= keep:
                    break
                try:
                    free.remove(address)
                except ValueError:
                    continue  # taken meanwhile
                self.cached_large.pop(address, None)
                with count_lock:
                    self.cached_bytes -= free.size
                mapping = self._mappings.pop(address)  # given back when this name goes
                self._mapped -= mapping[1]
        finally:
            memory_lock.release()

    def stats(self) -> MemoryStats:
        """What is mapped, used and cached now, in bytes."""
        with memory_lock:
            cached = self._cached()
            uncarved = self._slab_end - self._slab
            in_use = self._mapped - cached - uncarved
            return MemoryStats(self._mapped, in_use, cached, uncarved, self._peak)

    @property
    def in_use(self) -> int:
        """Bytes that buffers use; somewhat sooner than by ``stats``."""
        with memory_lock:
            return self._mapped - self._cached() - (self._slab_end - self._slab)

    def _cached(self) -> int:
        """Bytes in free lists."""
        return sum(map(mul, map(len, self._lists.values()), self._sizes))

    def _list_of(self, size: int) -> FreeList:
        free = self._lists.get(size)
        if free is None:
            with memory_lock:
                kind = FreeList if size < LARGE else LargeFreeList
                if size not in self._lists:
                    self._lists[size] = kind(self, size)
                    self._sizes.append(size)
                free = self._lists[size]
        return free

    def _carve(self, size: int) -> int:
        if self._slab + size > self._slab_end:
            self._recycle_rest()
            start = self._map(SLAB, size)
            self._slab, self._slab_end = start, start + SLAB
        address = self._slab
        self._slab = address + size
        return address

    def _recycle_rest(self) -> None:
        """Put what is left of the slab into free lists."""
        while (rest := self._slab_end - self._slab) >= LINE:
            size = 1 << (rest.bit_length() - 1)
            self._list_of(size).append(self._slab)
            self._slab += size

    def _map(self, size: int, nbytes: int) -> int:
        """A new mapping of at least ``size`` bytes."""
        try:
            address, owner = self.obtain(size)
        except (OSError, OverflowError, ValueError, MemoryError):
            self.release(0)
            try:
                address, owner = self.obtain(size)
            except (OSError, OverflowError, ValueError, MemoryError):
                raise OutOfMemoryError(self.out_of_memory(nbytes)) from None
        self._mappings[address] = owner, size
        self._mapped += size
        self._peak = max(self._peak, self._mapped)
        return address

    def obtain(self, size: int) -> tuple[int, Any]:
        """The address of ``size`` new bytes, on a cache line, and an object that gives them back when it goes. Raises
        ``MemoryError`` when there are no more."""
        align = HUGE_PAGE if size >= HUGE_PAGE else LINE
        mapping = _anonymous(size + align)
        if align == HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):  # a kernel built without huge pages
                mapping.madvise(mmap.MADV_HUGEPAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
        return (start + align - 1) & -align, mapping

    def out_of_memory(self, nbytes: int) -> str:
        """What to say when there is no room for ``nbytes``."""
        return (f"[enforce fail at allocator.py] DefaultCPUAllocator: can't allocate memory: you tried to "
                f"allocate {nbytes} bytes. Error code 12 (Cannot allocate memory)")

    def block(self, address: int) -> tuple[int, int, Any]:
        """Start, size and owner of the mapping that an address lies in. ``ValueError`` if it is in none."""
        with memory_lock:
            for start, (owner, size) in self._mappings.items():
                if start <= address < start + size:
                    return start, size, owner
        raise ValueError(f"address {address:#x} is not this allocator's")


def _anonymous(size: int) -> mmap.mmap:
    if hasattr(mmap, "MAP_PRIVATE"):  # Python's default is shared: a forked child would write into our tensors
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)


def physical_memory() -> int:
    """Bytes of memory this process may use: the machine's, or the container's if that is less."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        total = 8 << 30
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            total = min(total, int(file.read()))
    except (OSError, ValueError):
        pass
    return total


memory = Allocator()


def memory_stats() -> MemoryStats:
    """Bytes that minigrad's CPU buffers use, and that are cached for the next ones.

    >>> stats = memory_stats()
    >>> stats.mapped == stats.in_use + stats.cached + stats.uncarved
    True
    """
    return memory.stats()
