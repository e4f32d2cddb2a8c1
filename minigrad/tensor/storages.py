"""Stage: front. In: the cell behind one or several Tensors. Out: ``UntypedStorage``, its bytes as an object that users
hold.
Next: ``typed_storages.py``."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from minigrad.dtype import DType, uint8
from minigrad.engine import leaf_from_numpy, wrap_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.strides import contiguous_strides, reach
from minigrad.runtime.device import get_device
from minigrad.tensor.aliases import strided_alias
from minigrad.tensor.outside import mapped_file
from minigrad.tensor.size import device, resolve, shown_device
from minigrad.tensor.storage import Storage

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

# What Tensors have seen of a storage that was loaded: nothing; it is flat, of one dtype; it has a shape.
_UNTOUCHED, _TYPED, _FIXED = 2, 1, 0

_known: WeakValueDictionary[int, UntypedStorage] = WeakValueDictionary()


class UntypedStorage:
    """The bytes behind Tensors: those that share memory have the same ``UntypedStorage``. ``UntypedStorage(n)`` is n
    zero bytes, ``UntypedStorage([1, 2])`` those bytes.
    (https://docs.pytorch.org/docs/stable/storage.html)

    >>> import minigrad
    >>> t = minigrad.tensor([1, 2], dtype=minigrad.int16)
    >>> bytes = t.untyped_storage()
    >>> bytes.nbytes(), bytes.tolist(), t[1:].untyped_storage() is bytes
    (4, [1, 0, 2, 0], True)
    >>> bytes[0] = 7
    >>> t
    tensor([7, 2], dtype=minigrad.int16)
    """

    __slots__ = ("__weakref__", "_cell", "_fresh")
    is_sparse = False

    def __init__(self, size: int | Sequence[int] = 0, *, device: Any = None) -> None:
        data = np.zeros(size, np.uint8) if isinstance(size, int) else np.array(list(size), np.uint8)
        self._hold(Storage(leaf_from_numpy(data, uint8, resolve(device))))

    def _hold(self, cell: Storage, fresh: int = _FIXED) -> None:
        self._cell = cell
        self._fresh = fresh
        _known[id(cell)] = self

    @staticmethod
    def of(cell: Storage) -> UntypedStorage:
        """The one object for this cell."""
        found = _known.get(id(cell))
        if found is None:
            found = UntypedStorage.__new__(UntypedStorage)
            found._hold(cell)
        return found

    @staticmethod
    def loaded(buffer: Any, nbytes: int, where: str) -> UntypedStorage:
        """The first ``nbytes`` of memory that no Tensor has seen yet. Their dtype and shape are those of the first
        Tensor that takes them all."""
        made = UntypedStorage.__new__(UntypedStorage)
        made._hold(Storage(LazyBuffer.from_buffer(buffer, (nbytes,), uint8, where)), _UNTOUCHED)
        return made

    @classmethod
    def from_buffer(cls, buffer: Any, byte_order: str | None = None, count: int = -1, offset: int = 0, *,
                    dtype: DType = uint8) -> UntypedStorage:
        """A copy of the bytes of an object with the buffer protocol."""
        data = np.frombuffer(buffer, np.uint8)[offset:]
        data = data if count < 0 else data[:count * dtype.size]
        if byte_order not in (None, "native", sys.byteorder) and dtype.size > 1:
            data = data.view(f"u{dtype.size}").byteswap().view(np.uint8)
        return cls.of(Storage(leaf_from_numpy(data, uint8, resolve("cpu"))))

    @classmethod
    def from_file(cls, filename: str, shared: bool = False, nbytes: int = 0) -> UntypedStorage:
        """The first ``nbytes`` of a file, as ``mapped_file`` gives them."""
        return cls.of(Storage(wrap_numpy(mapped_file(filename, shared, nbytes), uint8, resolve("cpu"))))

    # --- what it is

    def nbytes(self) -> int:
        """The number of bytes."""
        lazy = self._cell.lazy
        return lazy.size * lazy.dtype.size

    size = __len__ = nbytes

    def element_size(self) -> int:
        """1: it has bytes."""
        return 1

    @property
    def device(self) -> device:
        """Where the bytes are."""
        return shown_device(self._cell.lazy.device)

    @property
    def is_cuda(self) -> bool:
        """Whether the bytes are in the memory of an NVIDIA GPU."""
        return self.device.type == "cuda"

    @property
    def _cdata(self) -> int:
        return id(self._cell)

    def get_device(self) -> int:
        """The index of the device; -1 on the host."""
        return -1 if self.device.index is None else self.device.index

    def data_ptr(self) -> int:
        """The address of the first byte; 0 if there is none."""
        return self.bytes().data_ptr() if self.nbytes() else 0

    def is_shared(self) -> bool:
        """Whether other processes see the memory: False."""
        return False

    def is_pinned(self, device: Any = None) -> bool:
        """False: there is no pinned memory."""
        return False

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """``"torch.storage.UntypedStorage"``."""
        return "torch.storage.UntypedStorage"

    def untyped(self) -> UntypedStorage:
        """Itself."""
        return self

    # --- its bytes

    def bytes(self) -> Tensor:
        """A uint8 Tensor on the same memory."""
        return self.elements(uint8)

    def elements(self, dtype: DType) -> Tensor:
        """A Tensor on the same memory, as many elements of ``dtype`` as there are."""
        self._fresh = _FIXED
        return strided_alias(self._cell, dtype, (self.nbytes() // dtype.size,), (1,), 0)

    def tensor(self, dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> Tensor:
        """A Tensor of ``dtype`` on the same memory, a window that counts in elements. ``RuntimeError`` if it reaches
        outside."""
        nbytes, lazy = self.nbytes(), self._cell.lazy
        _check_window(shape, strides, offset, dtype, nbytes)
        covers = offset == 0 and strides == contiguous_strides(shape) and prod(shape) * dtype.size == nbytes
        same = lazy.dtype is dtype and covers
        if (self._fresh == _UNTOUCHED and nbytes % dtype.size == 0) or (self._fresh == _TYPED and same):
            seen = shape if covers else (nbytes // dtype.size,)
            self._cell.put(LazyBuffer.from_buffer(lazy.buffer, seen, dtype, lazy.device, lazy.offset))
            self._fresh = _FIXED if covers else _TYPED
        return strided_alias(self._cell, dtype, shape, strides, offset)

    def memory(self) -> np.ndarray:
        """The bytes as a NumPy array, computed if they were pending; a copy of a device's own memory. Not for
        keeping."""
        array = self._cell.array()
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def tolist(self) -> list[int]:
        """The bytes as numbers."""
        return self.bytes().tolist()

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            start, stop, step = at.indices(self.nbytes())
            if step != 1:
                raise RuntimeError(f"Trying to slice with a step of {step}, but only a step of 1 is supported")
            whole = self.bytes().numpy()  # memory that both see
            return UntypedStorage.of(Storage(wrap_numpy(whole[start:max(start, stop)], uint8, self._cell.lazy.device)))
        return int(self.bytes()[place_in(at, self.nbytes())].item())

    def __setitem__(self, at: Any, value: int) -> None:
        self.bytes()[at if isinstance(at, slice) else place_in(at, self.nbytes())] = value

    def fill_(self, value: int) -> UntypedStorage:
        """Every byte becomes ``value``."""
        self.bytes().fill_(value)
        return self

    def copy_(self, source: Any, non_blocking: bool | None = None) -> UntypedStorage:
        """The bytes of another storage of this size."""
        other = source.untyped()
        if other.nbytes() != self.nbytes():
            raise RuntimeError(f"size mismatch, got {self.nbytes()} bytes in dst and {other.nbytes()} in src")
        self.bytes().copy_(other.bytes())
        return self

    def resize_(self, size: int) -> UntypedStorage:
        """Another number of bytes; those that stay keep their values, new ones are 0. Tensors on it that reach further
        can't be read any more."""
        kept = np.zeros(size, np.uint8)
        old = self.memory()[:size]
        kept[:len(old)] = old
        held = self._cell.lazy
        if size % held.dtype.size:
            raise RuntimeError(f"a storage of {held.dtype} can't have {size} bytes")
        self._cell.put(leaf_from_numpy(kept.view(held.dtype.numpy), held.dtype, held.device))
        self._cell.version += 1
        return self

    def byteswap(self, dtype: DType) -> None:
        """Reverse the bytes of every element of ``dtype``."""
        if dtype.size > 1:
            lazy = self._cell.lazy
            swapped = self.memory().view(f"u{dtype.size}").byteswap().view(lazy.dtype.numpy)
            self._cell.write(leaf_from_numpy(swapped.reshape(lazy.shape), lazy.dtype, lazy.device))

    # --- copies

    def clone(self) -> UntypedStorage:
        """A copy."""
        return self._moved(self._cell.lazy.device)

    def to(self, *, device: Any, non_blocking: bool = False) -> UntypedStorage:
        """On another device; itself if it is there."""
        where = resolve(device)
        return self if where == self._cell.lazy.device else self._moved(where)

    def cpu(self) -> UntypedStorage:
        """On the device CPU; itself if it is there."""
        return self.to(device="cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> UntypedStorage:
        """On the device CUDA; itself if it is there."""
        return self.to(device="cuda" if device is None else device)

    def _moved(self, where: str) -> UntypedStorage:
        nbytes = self.nbytes()
        buffer = get_device(where).allocate(nbytes)
        if nbytes:
            buffer.copyin(self.memory())
        return UntypedStorage.loaded(buffer, nbytes, where)

    def share_memory_(self) -> UntypedStorage:
        """``NotImplementedError``: the memory can't be moved to where other processes see it."""
        raise NotImplementedError("UntypedStorage.share_memory_: memory shared between processes")

    def pin_memory(self, device: Any = None) -> UntypedStorage:
        """Itself: there is no pinned memory."""
        return self

    def __copy__(self) -> UntypedStorage:
        return self.clone()

    def __deepcopy__(self, memo: dict[int, Any]) -> UntypedStorage:
        return UntypedStorage.of(copy.deepcopy(self._cell, memo))

    def __reduce__(self) -> tuple[Any, ...]:
        return UntypedStorage.of, (self._cell,)

    def __repr__(self) -> str:
        return listed(self.tolist(), f"[torch.storage.UntypedStorage(device={self.device}) of size {self.nbytes()}]")


def _check_window(shape: tuple[int, ...], strides: tuple[int, ...], offset: int, dtype: DType, nbytes: int) -> None:
    for number in (*shape, *strides, offset):
        if type(number) is not int:
            raise TypeError(f"set_(): a size, stride or offset must be int, not {type(number).__name__}")
    if len(shape) != len(strides):
        raise RuntimeError(f"unequal size length ({len(shape)}) and stride length ({len(strides)})")
    if offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {offset}")
    if any(n < 0 for n in shape):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(shape)}: {list(shape)}")
    if any(s < 0 for s in strides):
        raise RuntimeError(f"Storage size calculation overflowed with sizes={list(shape)} and strides={list(strides)}")
    needed = 0 if 0 in shape else (offset + reach(shape, strides)) * dtype.size
    if needed > nbytes:
        raise RuntimeError(f"setStorage: sizes {list(shape)}, strides {list(strides)}, storage offset {offset}, and "
                           f"itemsize {dtype.size} requiring a storage size of {needed} are out of bounds for storage "
                           f"of size {nbytes}")
    if prod(shape) >= 2**63:
        raise RuntimeError("numel: integer multiplication overflow")


def place_in(at: Any, size: int) -> int:
    """The place of element ``at``, which counts from the end if it is negative; ``IndexError`` if there is none."""
    number = at.__index__()
    if not -size <= number < size:
        raise IndexError(f"index {number} out of range for storage of size {size}")
    return number % size


def listed(elements: Sequence[Any], last: str) -> str:
    """How a storage is printed: a line for each element, then what it is."""
    return "\n".join([f" {element}" for element in elements] + [last])
