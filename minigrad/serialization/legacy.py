"""Stage: serialization. In: a file from before PyTorch 1.6: a row of pickles with the bytes of storages behind them, or
a tar of such. Out: the object in it.
Next: ``pages.py``."""

from __future__ import annotations

import io
import os
import pickle
import sys
import tarfile
from collections.abc import Callable
from struct import Struct
from typing import IO, Any

import numpy as np

from minigrad.dtype import DType, uint8
from minigrad.runtime.device import get_device
from minigrad.serialization.archive import fill
from minigrad.serialization.locations import Restore
from minigrad.serialization.options import of_thread
from minigrad.serialization.safe_globals import StorageType
from minigrad.serialization.save import MAGIC_NUMBER, PROTOCOL_VERSION
from minigrad.tensor import Tensor
from minigrad.tensor.storages import UntypedStorage
from minigrad.tensor.typed_storages import TypedStorage

MOST_DIMENSIONS = 64
Unpickle = Callable[[IO[bytes], Callable[[Any], Any] | None], Any]
"""Reads one pickle from a file, with what looks up storages."""


def text_of(name: Any) -> Any:
    """A name that Python 2 wrote, as text."""
    return name.decode("ascii") if isinstance(name, bytes) else name


def dtype_of(storage_type: Any) -> DType:
    """The dtype that a type of storages in a pickle stands for."""
    if storage_type is UntypedStorage:
        return uint8
    if not isinstance(storage_type, StorageType):
        raise pickle.UnpicklingError(f"not a type of storages: {storage_type!r}")
    return storage_type.dtype


def typed(storage: Any, dtype: DType) -> TypedStorage:
    """What ``map_location`` gave, as elements of ``dtype``."""
    if not isinstance(storage, UntypedStorage | TypedStorage):
        raise RuntimeError(f"map_location should give a storage or None, got {type(storage).__name__}")
    return TypedStorage(wrap_storage=storage.untyped(), dtype=dtype, _internal=True)


def empty_storage(nbytes: int) -> UntypedStorage:
    """So many bytes of the host, which hold anything."""
    return UntypedStorage.loaded(get_device("CPU").allocate(nbytes), nbytes, "CPU")


def put_bytes(storage: UntypedStorage, read: Callable[[memoryview], None]) -> None:
    """Have ``read`` fill a storage, wherever it is. No Tensor may have been computed from it."""
    nbytes, lazy = storage.nbytes(), storage._cell.lazy
    if not nbytes:
        return
    if lazy.buffer.on_host:
        read(memoryview(storage.memory()))  # type: ignore[arg-type]
        return
    between = np.empty(nbytes, np.uint8)
    read(memoryview(between))  # type: ignore[arg-type]
    lazy.buffer.copyin(between, lazy.offset)


def load_legacy(file: IO[bytes], restore: Restore, unpickle: Unpickle, weights_only_refusal: str | None) -> Any:
    """The object in a file of the old formats. ``RuntimeError`` if the file is neither.
    ``weights_only_refusal``: what to say of a tar, if those are not to be read."""
    begin = file.tell()
    if begin == 0 and _is_tar(file):
        if weights_only_refusal is not None:
            raise RuntimeError(weights_only_refusal)
        return _load_tar(file, restore, unpickle)
    file.seek(begin)
    if unpickle(file, None) != MAGIC_NUMBER:
        raise RuntimeError("Invalid magic number; corrupt file?")
    version = unpickle(file, None)
    if version != PROTOCOL_VERSION:
        raise RuntimeError(f"Invalid protocol version: {version}")
    system = unpickle(file, None)
    little = system.get("little_endian", True) if isinstance(system, dict) else True
    here = file.tell()
    room = file.seek(0, io.SEEK_END)
    file.seek(here)
    storages = _Legacy(restore, room)
    result = unpickle(file, storages.find)
    keys = unpickle(file, None)
    if not of_thread.skip_data:
        storages.read(file, keys, little)
    return result


class _Legacy:
    """The storages of a row of pickles, made when the pickle names them and filled afterwards."""

    def __init__(self, restore: Restore, room: int) -> None:
        self._restore, self._room = restore, room
        self._roots: dict[Any, TypedStorage] = {}
        self._views: dict[Any, TypedStorage] = {}

    def find(self, identity: Any) -> Any:
        """What a persistent id stands for: a storage, a part of one, or a class with its source."""
        if not isinstance(identity, tuple) or not identity:
            raise pickle.UnpicklingError(f"saved_id must be a tuple, got {type(identity).__name__}")
        kind, *data = identity
        if text_of(kind) == "module" and data:
            return data[0]
        if text_of(kind) != "storage" or len(data) != 5:
            raise RuntimeError(f"Unknown saved id type: {kind}")
        storage_type, key, location, count, part = data
        dtype, location = dtype_of(storage_type), text_of(location)
        if type(key) not in (str, bytes) or type(location) is not str or not (
                part is None or (type(part) is tuple and [type(p) for p in part[1:]] == [int, int])):
            raise pickle.UnpicklingError(f"no storage: {data!r}")
        if key not in self._roots:
            self._roots[key] = self._made(dtype, count, location)
        root = self._roots[key]
        if part is None:
            return root
        name, offset, length = part
        if name not in self._views:
            size, whole = dtype.size, root._untyped_storage
            if offset < 0 or length < 0 or (offset + length) * size > whole.nbytes():
                raise RuntimeError(f"a view of {length} elements at {offset} is outside its storage")
            # tensors count from the beginning of the part
            self._views[name] = typed(whole[offset * size:(offset + length) * size], dtype)
        return self._views[name]

    def _made(self, dtype: DType, count: Any, location: str) -> TypedStorage:
        if type(count) is not int or count < 0:
            raise RuntimeError(f"a storage of {count!r} elements")
        nbytes = count * dtype.size
        self._room -= nbytes
        if self._room < 0 and not of_thread.skip_data:
            raise RuntimeError(f"unexpected EOF, expected {-self._room} more bytes. The file might be corrupted.")
        storage = UntypedStorage(nbytes) if of_thread.skip_data else empty_storage(nbytes)
        return typed(self._restore(storage, location), dtype)

    def read(self, file: IO[bytes], keys: Any, little: bool) -> None:
        """Fill the storages in the order of their keys."""
        if not isinstance(keys, list):
            raise RuntimeError("Invalid list of storages; corrupt file?")
        for key in keys:
            if key not in self._roots:
                raise AssertionError(f"storage key {key!r} not found in deserialized_objects")
            root = self._roots[key]
            count = _number(file)
            if count != root.size():
                raise RuntimeError(f"storage has wrong byte size: expected {root.nbytes()} got "
                                   f"{count * root.dtype.size}")
            _fill(file, root._untyped_storage)
            if little != (sys.byteorder == "little"):
                root._untyped_storage.byteswap(root.dtype)


def _number(file: IO[bytes]) -> int:
    data = file.read(8)
    if len(data) != 8:
        raise RuntimeError(f"unexpected EOF, expected {8 - len(data)} more bytes. The file might be corrupted.")
    return int.from_bytes(data, "little", signed=True)


def _fill(file: IO[bytes], storage: UntypedStorage) -> None:
    def read(target: memoryview) -> None:
        missing = len(target) - fill(file, target)
        if missing:
            raise RuntimeError(f"unexpected EOF, expected {missing} more bytes. The file might be corrupted.")

    put_bytes(storage, read)


# --- the format before that: a tar


def _is_tar(file: IO[bytes]) -> bool:
    try:
        with tarfile.open(fileobj=file, mode="r:"):
            return True
    except (tarfile.TarError, EOFError, OSError):
        return False
    finally:
        file.seek(0)


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    """A file in a tar; nothing is unpacked."""
    found = tar.extractfile(name)
    if found is None:
        raise RuntimeError(f"{name} in the tar is no file")
    return found


def _load_tar(file: IO[bytes], restore: Restore, unpickle: Unpickle) -> Any:
    made: dict[Any, Any] = {}
    size = os.fstat(file.fileno()).st_size if hasattr(file, "fileno") else sys.maxsize
    with tarfile.open(fileobj=file, mode="r:") as tar:
        part = _member(tar, "storages")
        for _ in range(unpickle(part, None)):
            key, location, storage_type = unpickle(part, None)
            count, dtype = _number(part), dtype_of(storage_type)
            if count < 0 or count * dtype.size > size:
                raise RuntimeError(f"a storage of {count} elements in a file of {size} bytes")
            storage = empty_storage(count * dtype.size)
            _fill(part, storage)
            made[key] = typed(restore(storage, location), dtype)
        for target, root, offset, count in unpickle(part, None):
            whole = made[root]
            item = whole.dtype.size
            made[target] = typed(whole._untyped_storage[offset * item:(offset + count) * item], whole.dtype)
        part = _member(tar, "tensors")
        for _ in range(unpickle(part, None)):
            key, storage_key, _kind = unpickle(part, None)
            made[key] = _tar_tensor(part, made[storage_key])

        def find(identity: Any) -> Any:
            # a class comes with its source, which is not looked at
            return identity[0] if isinstance(identity, tuple) else made[int(identity)]

        return unpickle(_member(tar, "pickle"), find)


def _tar_tensor(part: IO[bytes], storage: TypedStorage) -> Tensor:
    dims = int.from_bytes(part.read(4), "little", signed=True)
    part.read(4)
    if not 0 <= dims <= MOST_DIMENSIONS:
        raise RuntimeError(f"a tensor of {dims} dimensions; corrupt file?")
    numbers = Struct(f"<{2 * dims + 1}q")
    values = numbers.unpack(part.read(numbers.size))
    return storage._untyped_storage.tensor(storage.dtype, values[:dims], values[dims:2 * dims], values[-1])


