"""Stage: serialization. In: an object with Tensors in it. Out: a checkpoint that PyTorch opens.
Next: ``safe_globals.py``."""

from __future__ import annotations

import io
import os
import pickle
import re
import sys
from collections.abc import Callable
from types import FunctionType
from typing import IO, Any

from minigrad.dtype import DType, uint8
from minigrad.nn.parameter import Parameter
from minigrad.serialization.archive import ArchiveWriter, put
from minigrad.serialization.locations import location_tag
from minigrad.serialization.names import torch_name
from minigrad.serialization.options import config, of_thread
from minigrad.serialization.rebuild import reduced
from minigrad.serialization.replace import replacing
from minigrad.tensor import Tensor
from minigrad.tensor.storage import Storage
from minigrad.tensor.storages import LEGACY, TypedStorage, UntypedStorage

DEFAULT_PROTOCOL = 2
MAGIC_NUMBER, PROTOCOL_VERSION = 0x1950A86A20F9469CFC6C, 1001
_OWN_REDUCE = (Tensor.__reduce_ex__, Parameter.__reduce_ex__)  # of other classes we ask their own


class _Storages:
    """The storages of a checkpoint, each once, with the key under which its bytes are kept."""

    def __init__(self, key_of: Callable[[int, UntypedStorage], str]) -> None:
        self.held: dict[str, tuple[UntypedStorage, DType]] = {}
        self._keys: dict[int, str] = {}
        self._dtypes: dict[int, DType] = {}
        self._key_of = key_of

    def identity(self, obj: TypedStorage | UntypedStorage) -> tuple[Any, ...]:
        """What stands for a storage in the pickle. ``RuntimeError`` if it was seen as another dtype before."""
        if isinstance(obj, TypedStorage):
            storage, dtype = obj._untyped_storage, obj.dtype
            kind: type = LEGACY[dtype]
            count = obj.size()
        else:
            storage, dtype, kind, count = obj, uint8, UntypedStorage, obj.nbytes()
        cell = id(storage._cell)
        if storage.nbytes() and self._dtypes.setdefault(cell, dtype) is not dtype:
            raise RuntimeError("Cannot save multiple tensors or storages that view the same data as different types")
        key = self._keys.get(cell)
        if key is None:
            key = self._keys[cell] = self._key_of(len(self._keys), storage)
            self.held[key] = storage, dtype
        return "storage", kind, key, location_tag(storage), count

    def compute(self) -> None:
        """Run what is pending in them, all at once."""
        pending = [s._cell.lazy for s, _ in self.held.values() if s._cell.lazy.buffer is None]
        if pending:
            Storage.compute(pending)


def _pickler(module: Any, file: IO[bytes], protocol: int, storages: _Storages, legacy: bool) -> Any:
    """A pickler of ``module`` that puts storages aside and writes PyTorch's names."""
    base: Any = pickle._Pickler if module is pickle else module.Pickler
    plain_global = getattr(base, "save_global", None)

    def save_global(self: Any, obj: Any, name: str | None = None) -> None:
        called = str(name or getattr(obj, "__qualname__", None) or getattr(obj, "__name__", ""))
        found = torch_name(obj, getattr(obj, "__module__", None) or "", called)
        if found is None:
            try:
                plain_global(self, obj, name)  # type: ignore[misc]
            except pickle.PicklingError as error:  # in the words of the pickler that is written in C
                where = re.search(r"it's not found as (.+)\.", str(error).replace("." + called, "."))
                raise error if where is None else pickle.PicklingError(
                    f"Can't pickle {obj!r}: attribute lookup {called} on {where[1]} failed") from None
            return
        if protocol >= 4:
            self.save(found[0])
            self.save(found[1])
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{found[0]}\n{found[1]}\n".encode())
        self.memoize(obj)

    class Pickler(base):
        if plain_global is not None:
            dispatch = {**base.dispatch, FunctionType: save_global}

        def persistent_id(self, obj: Any) -> Any:
            if isinstance(obj, TypedStorage | UntypedStorage):
                identity = storages.identity(obj)
                return (*identity, None) if legacy else identity
            return None

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, Tensor) and type(obj).__reduce_ex__ in _OWN_REDUCE:
                return reduced(obj)
            return NotImplemented

    if plain_global is not None:
        Pickler.save_global = save_global
    return Pickler(file, protocol=protocol)


def save(obj: Any, f: Any, pickle_module: Any = pickle, pickle_protocol: int = DEFAULT_PROTOCOL,
         _use_new_zipfile_serialization: bool = True, _disable_byteorder_record: bool = False) -> None:
    """Save an object to a file that ``load``, and PyTorch's, open: Tensors, Parameters, modules, dictionaries, lists,
    numbers … in any nesting. Tensors that share memory share it in the file; their gradients, histories and hooks are
    left out.

    ``f``: a path, or an object with ``write``. At a path, the file that was there stays whole until the new one is on
    the disk: an error, a full disk or a kill loses nothing. ``_use_new_zipfile_serialization=False`` writes the format
    of PyTorch before 1.6. Raises ``RuntimeError`` for Tensors that see the same memory as different dtypes, and
    what ``pickle`` raises for objects it can't take.
    (https://docs.pytorch.org/docs/stable/generated/torch.save.html)

    >>> import io, minigrad
    >>> file = io.BytesIO()
    >>> save({"weight": minigrad.ones(2), "step": 3}, file)
    >>> _ = file.seek(0)
    >>> minigrad.load(file)
    {'weight': tensor([1., 1.]), 'step': 3}
    """
    is_path = isinstance(f, str | os.PathLike)
    if not is_path and not hasattr(f, "write"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
    if not is_path and not callable(f.write):
        raise TypeError(f"Buffer of {str(type(f)).strip('<>')} has no callable attribute 'write'")
    if not _use_new_zipfile_serialization and of_thread.skip_data:
        raise RuntimeError("Cannot use skip_data=True with _use_new_zipfile_serialization=False")
    if _use_new_zipfile_serialization:
        def write(file: IO[bytes]) -> None:
            archive = ArchiveWriter(file, _folder_name(f) if is_path else "archive", config.save.compute_crc32,
                                    config.save.storage_alignment)
            _write_archive(obj, archive, pickle_module, pickle_protocol, not _disable_byteorder_record)
    else:
        def write(file: IO[bytes]) -> None:
            _write_legacy(obj, file, pickle_module, pickle_protocol)
    if is_path:
        with replacing(f) as file:
            write(file)
    else:
        write(f)
        if hasattr(f, "flush"):
            f.flush()


def _folder_name(path: str | os.PathLike[str]) -> str:
    """The folder in the archive: the file's name without its last ending."""
    name = os.path.basename(os.fspath(path)).replace("\\", "/").rpartition("/")[2]
    stem, dot, _ = name.rpartition(".")
    name = stem if dot else name
    return name if name and name.isascii() else "archive"


def _write_archive(obj: Any, archive: ArchiveWriter, module: Any, protocol: int, byte_order: bool) -> None:
    storages = _Storages(lambda number, storage: str(number))
    pickled = io.BytesIO()
    _pickler(module, pickled, protocol, storages, False).dump(obj)
    storages.compute()
    archive.write("data.pkl", pickled.getbuffer())
    archive.write(".format_version", b"1")
    archive.write(".storage_alignment", str(archive.alignment).encode())
    if byte_order:
        archive.write("byteorder", sys.byteorder.encode())
    for key, (storage, _) in storages.held.items():
        if of_thread.skip_data:
            archive.leave_room(f"data/{key}", storage.nbytes())
        else:
            archive.write(f"data/{key}", storage.memory())
    archive.close()


def _write_legacy(obj: Any, file: IO[bytes], module: Any, protocol: int) -> None:
    storages = _Storages(lambda number, storage: str(id(storage._cell)))
    system = {"protocol_version": PROTOCOL_VERSION, "little_endian": sys.byteorder == "little",
              "type_sizes": {"short": 2, "int": 4, "long": 4}}
    pickled = io.BytesIO()
    for part in (MAGIC_NUMBER, PROTOCOL_VERSION, system):
        module.dump(part, pickled, protocol=protocol)
    _pickler(module, pickled, protocol, storages, True).dump(obj)
    storages.compute()
    keys = sorted(storages.held)
    module.dump(keys, pickled, protocol=protocol)
    put(file, pickled.getbuffer())
    for key in keys:
        storage, dtype = storages.held[key]
        put(file, (storage.nbytes() // dtype.size).to_bytes(8, "little"))
        put(file, storage.memory())
