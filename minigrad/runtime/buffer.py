"""Stage: runtime. In: a number of bytes, or a user's NumPy array. Out: ``Buffer``, memory with an owner.
It goes back to the allocator when the last tensor, plan or NumPy array that uses it is gone. ``DeviceBuffer`` is
memory that only its device can reach.
Next: ``allocator.py``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar
from weakref import WeakKeyDictionary, ref

import numpy as np

from minigrad.dtype import DType, uint8
from minigrad.graph.lazy import contiguous_strides
from minigrad.runtime.allocator import LINE, SMALL, Allocator, FreeList, memory

_SMALL_LISTS = memory.small


@lru_cache(maxsize=4096)
def _extent(shape: tuple[int, ...], strides: tuple[int, ...], item: int) -> int:
    """Bytes from the first element of an array to the end of its last; -1 if strides are no multiples of ``item``."""
    if min(strides, default=0) < 0:
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not "
            "currently supported. (You can probably work around this by making a copy of your array with "
            "array.copy().)")
    if any([stride % item for stride in strides]):
        return -1
    return 0 if 0 in shape else item + sum([(n - 1) * stride for n, stride in zip(shape, strides, strict=True)])


class Buffer:
    """``nbytes`` bytes at ``address``, 64-byte aligned unless wrapped; ``device`` is the name of its device.

    Contents start undefined. ``writable`` is False only for a wrapped read-only array. ``exports`` has an entry for
    each array outside minigrad that sees the memory, ``views`` weak references to the values that are a part of it.

    >>> from minigrad.dtype import float32
    >>> b = Buffer("CPU", 12)
    >>> b.as_numpy(float32, (3,))[:] = 7
    >>> b.as_numpy(float32, (3,)).sum(), b.exported
    (np.float32(21.0), False)
    >>> shown = b.as_numpy(float32, (3,), shown=True)
    >>> b.exported
    True
    """

    __slots__ = ("__weakref__", "_free", "_wrapped", "address", "device", "exports", "nbytes", "views", "writable")

    on_host = True
    """Whether NumPy can see the memory."""

    noted: ClassVar[WeakKeyDictionary[Buffer, Any]] = WeakKeyDictionary()
    """What is known of contents, for as long as nobody outside minigrad sees the memory, and no jitted function writes
    over it."""

    move: ClassVar[Any] = staticmethod(ctypes.memmove)
    """Copies bytes: to an address, from one, so many. ``pool.py`` puts one here that
    begins sooner."""

    def __init__(self, device: str, nbytes: int) -> None:
        self._free: FreeList | None = None  # should taking a block fail, there is nothing to give back
        self.device = device
        self.nbytes = nbytes
        self.writable = True
        self._wrapped: np.ndarray | None = None
        self.exports: list[None] = []  # whose append and pop no thread interrupts
        self.views: list[ref[Any]] = []
        free = _SMALL_LISTS[(nbytes + (LINE - 1)) // LINE] if nbytes <= SMALL else memory.free_list(nbytes)
        try:
            self.address = free.pop()
        except IndexError:
            self.address, free = memory.fresh(free, nbytes)
        self._free = free

    def __del__(self) -> None:
        if self._free is not None:
            self._free.append(self.address)

    def __repr__(self) -> str:
        return f"<Buffer {self.device} {self.nbytes} bytes at {self.address:#x}{' exported' if self.exported else ''}>"

    @staticmethod
    def wrap(array: np.ndarray, device: str = "CPU") -> Buffer:
        """A buffer on the memory of ``array``, which it keeps alive; address 0 of the buffer is the first element.

        Raises ``ValueError`` for memory that kernels can't use: negative strides, strides that are no multiple of
        the item size, unaligned or byte-swapped items.
        """
        nbytes, flags = _extent(array.shape, array.strides, array.itemsize), array.flags
        if nbytes < 0 or not flags.aligned or not array.dtype.isnative:
            raise ValueError(
                "given numpy array has byte order, alignment or strides that kernels can't use; pass array.copy()")
        buffer = Buffer.__new__(Buffer)
        buffer._free = None
        buffer.device = device
        buffer.nbytes = nbytes
        buffer.address = array.__array_interface__["data"][0]
        buffer.writable = flags.writeable
        buffer._wrapped = array
        buffer.exports, buffer.views = [None], []
        return buffer

    @property
    def exported(self) -> bool:
        """Whether code outside minigrad may see this memory: an array that ``as_numpy`` has shown, or a view of one, is
        alive, or the buffer wraps an array."""
        return bool(self.exports)

    def add_view(self, value: Any) -> None:
        """Note that the value is a part of this memory. Those that are gone are forgotten each time there are twice as
        many."""
        views = self.views
        if len(views) >= 32 and not len(views) & (len(views) - 1):
            self.views = views = [view for view in views if view() is not None]
        views.append(ref(value))

    @property
    def is_shared(self) -> bool:
        """Whether a value that is a part of this memory is alive."""
        if not self.views:
            return False
        self.views = [view for view in self.views if view() is not None]
        return bool(self.views)

    def as_numpy(self, dtype: DType, shape: Sequence[int], strides: Sequence[int] | None = None, offset: int = 0,
                 writable: bool = True, shown: bool = False) -> np.ndarray:
        """A NumPy array on this memory, without a copy; it keeps the buffer alive.

        ``strides`` count elements (None: row-major), ``offset`` counts bytes. ``shown`` is for an array that goes to
        code outside minigrad: while it or a view of it is alive the buffer is ``exported``. What minigrad itself looks
        at for a moment does not count, or a write by another thread would meanwhile change what shares the memory.
        """
        numpy_dtype = dtype.numpy
        special = numpy_dtype.kind == "V"  # bfloat16 has no array-interface code
        interface = {
            "version": 3,
            "data": (self.address + offset, not (writable and self.writable)),
            "shape": tuple(shape),
            "typestr": "<u2" if special else numpy_dtype.str,
        }
        if strides is not None:
            interface["strides"] = tuple([stride * dtype.size for stride in strides])
        array = np.asarray((_Export if shown else _Look)(self, interface))
        return array.view(numpy_dtype) if special else array

    def copyin(self, array: np.ndarray, offset: int = 0) -> None:
        """Copy the elements of ``array``, in row-major order, to ``offset`` bytes from the start."""
        array = np.ascontiguousarray(array)
        self._check(offset, array.nbytes)
        self.move(self.address + offset, array.__array_interface__["data"][0], array.nbytes)

    def copyout(self, array: np.ndarray, offset: int = 0) -> None:
        """Fill the contiguous ``array`` from ``offset`` bytes after the start."""
        if not array.flags.c_contiguous:
            raise ValueError("copyout() expects a contiguous array")
        self._check(offset, array.nbytes)
        self.move(array.__array_interface__["data"][0], self.address + offset, array.nbytes)

    def copy(self, nbytes: int, offset: int = 0) -> Buffer:
        """A new buffer of the same device with ``nbytes`` bytes of this one."""
        copy = Buffer(self.device, nbytes)
        self.move(copy.address, self.address + offset, nbytes)
        return copy

    def copy_from(self, other: Buffer, nbytes: int, offset: int = 0, other_offset: int = 0) -> None:
        """Copy ``nbytes`` bytes from ``other``, wherever it lies."""
        self._check(offset, nbytes)
        other._check(other_offset, nbytes)
        if not other.on_host:
            other.copyout(self.as_numpy(uint8, (nbytes,), None, offset), other_offset)
            return
        self.move(self.address + offset, other.address + other_offset, nbytes)

    def _check(self, offset: int, nbytes: int) -> None:
        if offset < 0 or offset + nbytes > self.nbytes:
            raise ValueError(f"bytes {offset} to {offset + nbytes} are outside a buffer of {self.nbytes} bytes")


class DeviceMemory(Allocator):
    """The memory of a device that the host can't reach: ``obtain`` it, and copy to and from it."""

    def copy_in(self, address: int, source: int, nbytes: int) -> None:
        """Copy ``nbytes`` from host address ``source``; the source may change as soon as this returns."""
        raise NotImplementedError

    def copy_out(self, target: int, address: int, nbytes: int) -> None:
        """Copy ``nbytes`` to host address ``target``, after all work that writes them."""
        raise NotImplementedError

    def copy_within(self, target: int, source: int, nbytes: int) -> None:
        """Copy between two addresses of the device."""
        raise NotImplementedError


class DeviceBuffer(Buffer):
    """A buffer in a device's own memory. It is copied from and to the host; NumPy sees copies of it only."""

    __slots__ = ("memory",)

    on_host = False

    def __init__(self, device: str, nbytes: int, memory: DeviceMemory) -> None:
        self._free = None
        self.device, self.nbytes, self.memory = device, nbytes, memory
        self.writable, self._wrapped, self.exports, self.views = True, None, [], []
        free = memory.free_list(nbytes)
        try:
            self.address = free.pop()
        except IndexError:
            self.address, free = memory.fresh(free, nbytes)
        self._free = free

    def as_numpy(self, dtype: DType, shape: Sequence[int], strides: Sequence[int] | None = None, offset: int = 0,
                 writable: bool = True, shown: bool = False) -> np.ndarray:
        """A read-only copy, made when the device has finished what writes it."""
        if 0 in shape:
            return np.zeros(shape, dtype.numpy)
        steps = contiguous_strides(shape) if strides is None else strides
        span = 1 + sum((n - 1) * step for n, step in zip(shape, steps, strict=True))
        whole = np.empty(span, dtype.numpy)
        self.copyout(whole, offset)
        array = np.lib.stride_tricks.as_strided(whole, shape, [step * dtype.size for step in steps])
        array.flags.writeable = False
        return array

    def copyin(self, array: np.ndarray, offset: int = 0) -> None:
        array = np.ascontiguousarray(array)
        self._check(offset, array.nbytes)
        self.memory.copy_in(self.address + offset, array.__array_interface__["data"][0], array.nbytes)

    def copyout(self, array: np.ndarray, offset: int = 0) -> None:
        if not array.flags.c_contiguous:
            raise ValueError("copyout() expects a contiguous array")
        self._check(offset, array.nbytes)
        self.memory.copy_out(array.__array_interface__["data"][0], self.address + offset, array.nbytes)

    def copy(self, nbytes: int, offset: int = 0) -> Buffer:
        copy = DeviceBuffer(self.device, nbytes, self.memory)
        if nbytes:
            copy.copy_from(self, nbytes, 0, offset)
        return copy

    def copy_from(self, other: Buffer, nbytes: int, offset: int = 0, other_offset: int = 0) -> None:
        self._check(offset, nbytes)
        other._check(other_offset, nbytes)
        if isinstance(other, DeviceBuffer) and other.memory is self.memory:
            self.memory.copy_within(self.address + offset, other.address + other_offset, nbytes)
        elif other.on_host:
            self.memory.copy_in(self.address + offset, other.address + other_offset, nbytes)
        else:
            between = np.empty(nbytes, np.uint8)
            other.copyout(between, other_offset)
            self.copyin(between, offset)


class _Look:
    """What an array on a buffer has as its base: NumPy keeps it, and so the buffer, as long as the array or a view of
    it is alive."""

    __slots__ = ("__array_interface__", "buffer")

    def __init__(self, buffer: Buffer, interface: dict[str, Any]) -> None:
        self.buffer = buffer
        self.__array_interface__ = interface


class _Export(_Look):
    """The same for an array that others see."""

    __slots__ = ()

    def __init__(self, buffer: Buffer, interface: dict[str, Any]) -> None:
        super().__init__(buffer, interface)
        buffer.exports.append(None)
        Buffer.noted.pop(buffer, None)

    def __del__(self) -> None:
        self.buffer.exports.pop()

