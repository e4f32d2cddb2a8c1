"""Stage: serialization. In: a checkpoint, PyTorch's or ours. Out: the object in it.
Next: ``safe.py``."""

from __future__ import annotations

import io
import os
import pickle
import re
import sys
import warnings
from collections.abc import Callable
from typing import IO, Any

from minigrad import config
from minigrad.dtype import uint8
from minigrad.lazily import importing
from minigrad.serialization import restricted
from minigrad.serialization.archive import ArchiveReader
from minigrad.serialization.legacy import Unpickle, dtype_of, empty_storage, load_legacy, put_bytes, text_of, typed
from minigrad.serialization.locations import restorer
from minigrad.serialization.names import is_torch, ours
from minigrad.serialization.options import LoadEndianness, of_thread
from minigrad.serialization.options import config as defaults
from minigrad.serialization.pages import Pages
from minigrad.serialization.safe_globals import StorageType, added_by_name, always_allowed
from minigrad.tensor import device
from minigrad.tensor.promotion import type_name
from minigrad.tensor.storages import UntypedStorage
from minigrad.tensor.typed_storages import TypedStorage

_UNSAFE = ("In PyTorch 2.6, we changed the default value of the `weights_only` argument in `torch.load` from `False` "
           "to `True`. Re-running `torch.load` with `weights_only` set to `False` will likely succeed, but it can "
           "result in arbitrary code execution. Do it only if you got the file from a trusted source.")
_DOCS = ("\n\nCheck the documentation of torch.load to learn more about types accepted by default with weights_only "
         "https://pytorch.org/docs/stable/generated/torch.load.html.")


def load(f: Any, map_location: Any = None, pickle_module: Any = None, *, weights_only: bool | None = None,
         mmap: bool | None = None, **pickle_load_args: Any) -> Any:
    """The object that ``save``, or PyTorch's, put into a file.

    ``f``: a path, or an object with ``read``, ``readline``, ``tell`` and ``seek``. ``map_location`` says where tensors
    go: a device, a dictionary from places in the file to places here, or a function of a storage and its place.
    ``weights_only`` (the default) reads tensors, containers, numbers and text, and what ``add_safe_globals`` named; it
    executes nothing. ``weights_only=False`` runs whatever the file says: for files you trust, such as whole modules.
    ``mmap=True`` maps the file instead of reading it: a tensor's bytes come from the disk when they are needed, and
    changes of it stay in memory.

    Raises ``UnpicklingError`` for what is not allowed, ``RuntimeError`` for a damaged file, ``EOFError`` for one that
    ends too early, ``FileNotFoundError``. The environment variables TORCH_FORCE_WEIGHTS_ONLY_LOAD and
    TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD decide as in PyTorch.
    (https://docs.pytorch.org/docs/stable/generated/torch.load.html)

    >>> import io, minigrad
    >>> file = io.BytesIO()
    >>> x = minigrad.arange(4.0)
    >>> minigrad.save([x, x[1:3]], file)
    >>> _ = file.seek(0)
    >>> whole, part = load(file)
    >>> whole[1] = 7
    >>> part
    tensor([7., 2.])
    """
    mmap = defaults.load.mmap if mmap is None else mmap
    weights_only, pickle_module = _how(weights_only, pickle_module, pickle_load_args)
    pickle_load_args.setdefault("encoding", "utf-8")
    if isinstance(f, str | os.PathLike):
        path = os.fspath(f)
        if str(path).endswith(".safetensors"):
            return _load_safetensors(path, map_location)
        with open(path, "rb") as file:
            return _load(file, path, map_location, pickle_module, weights_only, bool(mmap), pickle_load_args)
    _check_seekable(f)
    return _load(f, None, map_location, pickle_module, weights_only, bool(mmap), pickle_load_args)


def _is_set(variable: str) -> bool:
    return config.get(variable).lower() in ("1", "y", "yes", "true")


def _how(weights_only: bool | None, pickle_module: Any, arguments: dict[str, Any]) -> tuple[bool, Any]:
    """Whether to restrict the pickle, and the module that reads it otherwise."""
    given = weights_only is not None
    weights_only = pickle_module is None if weights_only is None else weights_only
    force, force_not = _is_set("TORCH_FORCE_WEIGHTS_ONLY_LOAD"), _is_set("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    if force and force_not:
        raise RuntimeError("Only one of `TORCH_FORCE_WEIGHTS_ONLY_LOAD` or `TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD` should "
                           "be set, but both were set.")
    if force:
        weights_only = True
    elif force_not and not given:
        warnings.warn("Environment variable TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD detected, since the`weights_only` "
                      "argument was not explicitly passed to `torch.load`, forcing weights_only=False.", UserWarning,
                      stacklevel=3)
        weights_only = False
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if weights_only and arguments:
        warnings.warn("pickle_load_args only works if `weights_only=False`.", stacklevel=3)
    return weights_only, pickle if pickle_module is None else pickle_module


def _check_seekable(file: Any) -> None:
    try:
        file.seek(file.tell())
    except (io.UnsupportedOperation, AttributeError) as error:
        if any(word in str(error) for word in ("seek", "tell")):
            raise type(error)(f"{error}. You can only torch.load from a file that is seekable. Please pre-load the "
                              "data into a buffer like io.BytesIO and try to load from it instead.") from None
        raise


def _load_safetensors(path: str, map_location: Any) -> Any:
    with importing():
        from minigrad.serialization.safe import load_file  # optional package

    if isinstance(map_location, dict) or callable(map_location):
        kind = "dict" if isinstance(map_location, dict) else "callable"
        raise RuntimeError(f"Loading safetensors file with {kind} map_location is not supported. Use a device string "
                           "or torch.device instead.")
    return load_file(path, device="cpu" if map_location is None else str(map_location))


def _load(file: IO[bytes], path: Any, map_location: Any, module: Any, weights_only: bool, mapped: bool,
          arguments: dict[str, Any]) -> Any:
    begin = file.tell()
    is_archive = file.read(4) == b"PK\3\4"
    file.seek(begin)
    unpickle = _restricted(arguments) if weights_only else _unrestricted(module, arguments)
    try:
        if is_archive:
            return _load_archive(file, path, map_location, unpickle, weights_only, mapped)
        if mapped:
            shown = f"{path}, " if isinstance(path, str) else ""
            raise RuntimeError(f"mmap can only be used with files saved with `torch.save({shown}"
                               "_use_new_zipfile_serialization=True), please torch.save your checkpoint with this "
                               "option in order to use mmap.")
        refusal = "Cannot use ``weights_only=True`` with files saved in the legacy .tar format. " + _UNSAFE
        return load_legacy(file, restorer(map_location), unpickle, refusal if weights_only else None)
    except pickle.UnpicklingError as error:
        if not weights_only:
            raise
        raise pickle.UnpicklingError(_explained(str(error))) from None


def _explained(message: str) -> str:
    """PyTorch's words around an error of the restricted unpickler."""
    if re.search(r"GLOBAL (\S+) was not an allowed global by default.", message):
        text = ("Weights only load failed. This file can still be loaded, to do so you have two options, \033[1mdo "
                f"those steps only if you trust the source of the checkpoint\033[0m. \n\t(1) {_UNSAFE}\n\t(2) "
                "Alternatively, to load with `weights_only=True` please check the recommended steps in the following "
                f"error message.\n\tWeightsUnpickler error: {message}")
    else:
        text = f"Weights only load failed. {_UNSAFE}\n"
        if not re.search(r"whose module (\S+) is blocked", message):
            text += ("Please file an issue with the following so that we can make `weights_only=True` compatible with "
                     "your use case: WeightsUnpickler error: ")
        text += f"\n\n{message}"
    return text + _DOCS


# --- pickles


def _restricted(arguments: dict[str, Any]) -> Unpickle:
    def unpickle(file: IO[bytes], find: Callable[[Any], Any] | None) -> Any:
        machine = restricted.Unpickler(file, encoding=arguments["encoding"])
        machine.persistent_load = _no_storage if find is None else find
        return machine.load()

    return unpickle


def _no_storage(identity: Any) -> Any:
    raise pickle.UnpicklingError("unsupported persistent id encountered")


def _unrestricted(module: Any, arguments: dict[str, Any]) -> Unpickle:
    class Unpickler(module.Unpickler):
        """Finds what PyTorch's names mean here."""

        find_storage: Callable[[Any], Any] = staticmethod(_no_storage)

        def find_class(self, module: str, name: str) -> Any:
            if name.endswith("Storage") and name not in ("UntypedStorage", "TypedStorage"):
                try:
                    return StorageType(name)
                except KeyError:
                    pass
            return ours(module, name) if is_torch(module) else super().find_class(module, name)

        def persistent_load(self, identity: Any) -> Any:
            return self.find_storage(identity)

    def unpickle(file: IO[bytes], find: Callable[[Any], Any] | None) -> Any:
        machine = Unpickler(file, **arguments)
        if find is not None:
            machine.find_storage = find
        return machine.load()

    return unpickle


# --- archives


def _load_archive(file: IO[bytes], path: Any, map_location: Any, unpickle: Unpickle, weights_only: bool,
                  mapped: bool) -> Any:
    archive = ArchiveReader(file)
    if "constants.pkl" in archive:
        if weights_only:
            raise RuntimeError("Cannot use ``weights_only=True`` with TorchScript archives passed to ``torch.load``. "
                               + _UNSAFE)
        raise NotImplementedError("this is a TorchScript archive, whose code minigrad can't run; save the model's "
                                  "state_dict() with torch.save instead")
    pages = None
    if mapped:
        if path is None:
            raise ValueError("f must be a file path in order to use the mmap argument")
        pages = Pages(path)
    records = _Records(archive, pages, map_location)
    return unpickle(io.BytesIO(archive.read("data.pkl")), records.find)


class _Records:
    """The storages of an archive, read when the pickle names them."""

    def __init__(self, archive: ArchiveReader, pages: Pages | None, map_location: Any) -> None:
        self._archive, self._pages = archive, pages
        self._restore = restorer(map_location)
        if map_location == "meta" or (isinstance(map_location, device) and map_location.type == "meta"):
            raise NotImplementedError("map_location='meta': tensors without data")
        self._byte_order = self._find_byte_order()
        self._loaded: dict[Any, TypedStorage] = {}

    def _find_byte_order(self) -> str:
        if "byteorder" in self._archive:
            order = self._archive.read("byteorder")
            if order not in (b"little", b"big"):
                raise ValueError("Unknown endianness type: " + order[:40].decode("ascii", "replace"))
            return order.decode()
        given = defaults.load.endianness
        return {None: "little", LoadEndianness.LITTLE: "little", LoadEndianness.BIG: "big",
                LoadEndianness.NATIVE: sys.byteorder}[given]

    def find(self, identity: Any) -> TypedStorage:
        """The storage that a persistent id stands for."""
        if not isinstance(identity, tuple):
            raise pickle.UnpicklingError(f"saved_id must be a tuple, got {type(identity).__name__}")
        kind = text_of(identity[0]) if identity else None
        if kind != "storage" or len(identity) != 5:
            raise pickle.UnpicklingError(
                f"Unknown typename for persistent_load, expected 'storage' but got '{kind}'")
        _, storage_type, key, location, count = identity
        dtype = dtype_of(storage_type)
        key, location = text_of(key), text_of(location)
        if type(key) is not str or type(location) is not str or type(count) is not int or count < 0:
            raise pickle.UnpicklingError(f"no storage: {identity[2:]!r}")
        found = self._loaded.get(key)
        if found is None:
            storage = self._read(f"data/{key}", count * dtype.size, dtype.size)
            if self._byte_order != sys.byteorder:
                storage.byteswap(dtype)
            found = self._loaded[key] = typed(self._restore(storage, location), dtype)
        return found

    def _read(self, name: str, nbytes: int, alignment: int) -> UntypedStorage:
        self._archive.check(name, nbytes, type_name(uint8))
        if of_thread.skip_data:
            return UntypedStorage(nbytes)
        if self._pages is not None and nbytes:
            offset = self._archive.offset(name)
            found = None if offset is None else self._pages.storage(offset, nbytes, alignment)
            if found is not None:
                return found
        storage = empty_storage(nbytes)
        put_bytes(storage, lambda target: self._archive.read_into(name, target))
        return storage


def get_unsafe_globals_in_checkpoint(f: Any) -> list[str]:
    """The names of all classes and functions in a checkpoint that ``load`` with ``weights_only=True`` would refuse. The
    pickle is not run. ``ValueError`` for a file of another kind.
    (https://docs.pytorch.org/docs/stable/notes/serialization.html)
    """
    if isinstance(f, str | os.PathLike):
        with open(f, "rb") as file:
            return get_unsafe_globals_in_checkpoint(file)
    _check_seekable(f)
    begin = f.tell()
    if f.read(4) != b"PK\3\4":
        raise ValueError("Expected input to be a checkpoint returned by torch.save")
    f.seek(begin)
    archive = ArchiveReader(f)
    if "constants.pkl" in archive:
        raise ValueError("Expected input to be a checkpoint returned by torch.save but got a torchscript checkpoint")
    found = restricted.globals_in(io.BytesIO(archive.read("data.pkl")))
    return sorted(found - set(always_allowed()) - set(added_by_name()))


def _load_from_bytes(b: bytes) -> Any:
    """How PyTorch pickles a storage outside a checkpoint."""
    return load(io.BytesIO(b), weights_only=False)


