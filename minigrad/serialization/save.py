"""Stage: serialization. In: an object with Tensors in it. Out: a checkpoint that PyTorch opens.
Next: ``safe_globals.py``."""

from __future__ import annotations

import os
import pickle
import sys
from typing import IO, Any

from minigrad.serialization.archive import ArchiveWriter, put
from minigrad.serialization.options import config, of_thread
from minigrad.serialization.pickler import pickled
from minigrad.serialization.replace import replacing

DEFAULT_PROTOCOL = 2
MAGIC_NUMBER, PROTOCOL_VERSION = 0x1950A86A20F9469CFC6C, 1001


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
    data, storages = pickled(obj, module, protocol, lambda number, storage: str(number))
    storages.compute()
    archive.write("data.pkl", data)
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
    system = {"protocol_version": PROTOCOL_VERSION, "little_endian": sys.byteorder == "little",
              "type_sizes": {"short": 2, "int": 4, "long": 4}}
    data, storages = pickled(obj, module, protocol, lambda number, storage: str(id(storage._cell)), True)
    storages.compute()
    keys = sorted(storages.held)
    head = [module.dumps(part, protocol=protocol) for part in (MAGIC_NUMBER, PROTOCOL_VERSION, system)]
    put(file, b"".join([*head, data, module.dumps(keys, protocol=protocol)]))
    for key in keys:
        storage, dtype = storages.held[key]
        put(file, (storage.nbytes() // dtype.size).to_bytes(8, "little"))
        put(file, storage.memory())
