"""Stage: serialization. In: an object with Tensors in it. Out: a pickle of it that names things as PyTorch does, and
the storages, which are kept apart.
Next: ``save.py``."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from types import FunctionType
from typing import Any

from minigrad.dtype import DType, uint8
from minigrad.nn.parameter import Parameter
from minigrad.serialization.locations import location_tag
from minigrad.serialization.names import Name, torch_name
from minigrad.serialization.rebuild import reduced
from minigrad.tensor import Tensor
from minigrad.tensor.storage import Storage
from minigrad.tensor.storages import UntypedStorage
from minigrad.tensor.typed_storages import LEGACY, TypedStorage

KeyOf = Callable[[int, UntypedStorage], str]


def _is_ours(kind: type) -> bool:
    """Whether a class of Tensors is pickled as ours are; others say it themselves."""
    return kind.__reduce_ex__ in (Tensor.__reduce_ex__, Parameter.__reduce_ex__)


class Storages:
    """The storages of a checkpoint, each once, with the key under which its bytes are kept."""

    def __init__(self, key_of: KeyOf) -> None:
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


def pickled(obj: Any, module: Any, protocol: int, key_of: KeyOf, legacy: bool = False) -> tuple[bytes, Storages]:
    """The pickle of ``obj`` by the Pickler of ``module``, and its storages."""
    problem: Exception | None = None
    if protocol <= 3:
        storages = Storages(key_of)
        try:
            data = _renamed(obj, module, protocol, storages, legacy)
            if data is not None:
                return data, storages
        except (pickle.PicklingError, AttributeError) as error:  # one of ours may not be where it says
            problem = error
    storages = Storages(key_of)
    file = io.BytesIO()
    base = pickle._Pickler if module is pickle else module.Pickler
    try:
        _naming(_apart(base, storages, legacy), protocol)(file, protocol=protocol).dump(obj)
    except (pickle.PicklingError, AttributeError) as error:
        raise (error if problem is None else problem) from None
    return file.getvalue(), storages


def _place(obj: Any, name: str | None = None) -> Name:
    """Where an object says that it is defined."""
    called = name or getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None) or getattr(obj, "name", "")
    return getattr(obj, "__module__", None) or "", str(called)


def _apart(base: Any, storages: Storages, legacy: bool, seen: dict[Name, Name] | None = None) -> Any:
    """A class of picklers that takes Tensors apart and puts storages aside. ``seen`` is told which things of ours
    it names, and PyTorch's names of them."""

    class Pickler(base):
        def persistent_id(self, obj: Any) -> Any:
            if isinstance(obj, TypedStorage | UntypedStorage):
                identity = storages.identity(obj)
                return (*identity, None) if legacy else identity
            return None

        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, Tensor):
                if _is_ours(type(obj)):
                    return reduced(obj)
            elif seen is not None and isinstance(obj, type | FunctionType | DType):
                place = _place(obj)
                theirs = torch_name(obj, *place)
                if theirs is not None:
                    seen[place] = theirs
            return NotImplemented

    return Pickler


def _renamed(obj: Any, module: Any, protocol: int, storages: Storages, legacy: bool) -> bytes | None:
    """The pickle as ``module`` writes it, where each name stands as text, with the names replaced. None if some text
    of the object looks like a name, so that we can't tell them apart."""
    seen: dict[Name, Name] = {}
    file = io.BytesIO()
    _apart(module.Pickler, storages, legacy, seen)(file, protocol=protocol).dump(obj)
    data = file.getvalue()
    for ours, theirs in seen.items():
        old, new = (pickle.GLOBAL + f"{where}\n{name}\n".encode() for where, name in (ours, theirs))
        if old == new:
            continue
        if data.count(old) != 1:
            return None
        data = data.replace(old, new)
    return data


def _naming(base: Any, protocol: int) -> Any:
    """A class of picklers that writes PyTorch's names at once, if ``base`` is written in Python."""
    plain_global = getattr(base, "save_global", None)
    if plain_global is None:
        return base

    def save_global(self: Any, obj: Any, name: str | None = None) -> None:
        found = torch_name(obj, *_place(obj, name))
        if found is None:
            plain_global(self, obj, name)
            return
        if protocol >= 4:
            self.save(found[0])
            self.save(found[1])
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{found[0]}\n{found[1]}\n".encode())
        self.memoize(obj)

    dispatch = {**base.dispatch, FunctionType: save_global}
    return type("Pickler", (base,), {"dispatch": dispatch, "save_global": save_global})
