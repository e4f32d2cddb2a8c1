"""Stage: serialization. In: tensors by name, or a file of the safetensors format. Out: the other. The package
``safetensors`` writes files and checks what it reads; nothing in such a file can run code.
Next: ``minigrad/storage.py``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

try:
    from safetensors import TensorSpec, deserialize, serialize, serialize_file
    from safetensors import safe_open as _checked_open
except ImportError as _error:
    raise ImportError("Attempting to use safetensors files but safetensors is not installed. Please install "
                      "safetensors with: pip install 'minigrad[safetensors]'") from _error

from minigrad.dtype import (
    DType,
    bfloat16,
    bool_,
    complex64,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from minigrad.engine import leaf_from_numpy
from minigrad.nn.modules.module import Module
from minigrad.serialization.archive import fill
from minigrad.serialization.legacy import empty_storage, put_bytes
from minigrad.serialization.pages import Pages
from minigrad.serialization.replace import beside
from minigrad.tensor import Tensor, device
from minigrad.tensor.base import make
from minigrad.tensor.storages import UntypedStorage

_DTYPES: dict[str, DType] = {
    "F64": float64, "F32": float32, "F16": float16, "BF16": bfloat16, "I64": int64,
    "I32": int32, "I16": int16, "I8": int8, "U8": uint8, "BOOL": bool_,
    "C64": complex64, "U64": uint64, "U32": uint32, "U16": uint16,
}


def _dtype(name: str) -> DType:
    if name not in _DTYPES:
        raise NotImplementedError(f"the safetensors file has elements of type {name}, which minigrad has not")
    return _DTYPES[name]


# --- writing


def _end(tensor: Tensor) -> int:
    return tensor.data_ptr() + tensor.numel() * tensor.element_size()


def _sharing(tensors: dict[str, Tensor]) -> list[set[str]]:
    """Names whose tensors have memory in common, a set for each piece of it."""
    by_memory: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        if tensor.untyped_storage().nbytes():
            by_memory.setdefault(id(tensor._storage), []).append(name)
    found: list[set[str]] = []
    for names in by_memory.values():
        if len(names) < 2:
            found.append(set(names))
            continue
        areas = sorted([(tensors[name].data_ptr(), _end(tensors[name]), name) for name in names])
        last = -1
        for start, stop, name in areas:
            if start >= last:
                found.append({name})
            else:
                found[-1].add(name)
            last = stop
    return found


def _specs(tensors: Any) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What the package takes, and the memory it points to."""
    if not isinstance(tensors, dict):
        raise ValueError(f"Expected a dict of [str, torch.Tensor] but received {type(tensors)}")
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"Key `{name}` is invalid, expected torch.Tensor but received {type(tensor)}")
    failing = [names for names in _sharing(tensors) if len(names) > 1]
    if failing:
        raise RuntimeError(f"""
            Some tensors share memory, this will lead to duplicate memory on disk and potential differences when loading them again: {failing}.
            A potential way to correctly save your model is to use `save_model`.
            More information at https://huggingface.co/docs/safetensors/torch_shared_tensors
            """)  # noqa: E501
    specs, kept = {}, []
    for name, tensor in tensors.items():
        if not tensor.is_contiguous():
            raise ValueError(
                f"You are trying to save a non contiguous tensor: `{name}` which is not allowed. It either means you "
                "are trying to save tensors which are reference of each other in which case it's recommended to save "
                "only the full tensors, and reslice at load time, or simply call `.contiguous()` on your tensor to "
                "pack it before saving.")
        array = tensor._array()
        kept.append(array)
        specs[name] = TensorSpec(dtype=tensor.dtype.name, shape=list(tensor._shape()), data_len=array.nbytes,
                                 data_ptr=array.__array_interface__["data"][0])
    return specs, kept


def save(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file with these tensors, which must be contiguous and share no memory.

    >>> import minigrad
    >>> load(save({"a": minigrad.ones(2)}))
    {'a': tensor([1., 1.])}
    """
    specs, kept = _specs(tensors)
    result = bytes(serialize(specs, metadata=metadata))
    del kept
    return result


def save_file(tensors: dict[str, Tensor], filename: str | os.PathLike[str],
              metadata: dict[str, str] | None = None) -> None:
    """``save`` into a file. The file that was there stays whole until the new one is on the disk. Raises
    ``RuntimeError`` for tensors that share memory and ``ValueError`` for others that can't be saved."""
    specs, kept = _specs(tensors)
    with beside(filename) as place:
        serialize_file(specs, place, metadata=metadata)
    del kept


def _covers(tensor: Tensor) -> bool:
    return tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()


def _repeated(state: dict[str, Tensor], discard: set[str]) -> dict[str, list[str]]:
    """For each name that is kept those that show the same memory. ``RuntimeError`` if none shows all of it."""
    result: dict[str, list[str]] = {}
    for names in _sharing(state):
        whole = sorted([name for name in names if _covers(state[name])])
        if not whole:
            raise RuntimeError("Error while trying to find names to remove to save state dict, but found no suitable "
                               f"name to keep for saving amongst: {names}. None is covering the entire "
                               "storage.Refusing to save/load the model since you could be storing much more memory "
                               "than needed. Please refer to "
                               "https://huggingface.co/docs/safetensors/torch_shared_tensors for more information. Or "
                               "open an issue.")
        kept = next((name for name in whole if name not in discard), whole[0])
        for name in sorted(names - {kept}):
            result.setdefault(kept, []).append(name)
    return result


def save_model(model: Module, filename: str | os.PathLike[str], metadata: dict[str, str] | None = None,
               force_contiguous: bool = True) -> None:
    """The state of a module. Of names that share memory one is kept, the others are named in the metadata."""
    state = dict(model.state_dict())
    notes = dict(metadata or {})
    for kept, others in _repeated(state, set()).items():
        for name in others:
            notes.setdefault(name, kept)
            del state[name]
    if force_contiguous:
        state = {name: tensor.contiguous() for name, tensor in state.items()}
    try:
        save_file(state, filename, metadata=notes or None)
    except ValueError as error:
        raise ValueError(f"{error} Or use save_model(..., force_contiguous=True), read the docs for potential "
                         "caveats.") from error


def load_model(model: Module, filename: str | os.PathLike[str], strict: bool = True,
               device: Any = "cpu") -> tuple[set[str], list[str]]:
    """Load what ``save_model`` saved into a module; the names that are missing and those that are too many.
    ``RuntimeError`` if there are some and ``strict``."""
    loaded = load_file(filename, device=device)
    given = set(loaded)
    missing_, unexpected = model.load_state_dict(loaded, strict=False)
    missing = set(missing_)
    for others in _repeated(dict(model.state_dict()), set(missing)).values():
        for name in others:
            if name in missing:
                missing.remove(name)
            elif name not in given:
                unexpected.append(name)
    if strict and (missing or unexpected):
        lines = [f"Error(s) in loading state_dict for {type(model).__name__}:"]
        for words, names in (("Missing", sorted(missing)), ("Unexpected", sorted(unexpected))):
            if names:
                quoted = ", ".join([f'"{name}"' for name in names])
                lines.append(f"    {words} key(s) in state_dict: {quoted}")
        raise RuntimeError("\n".join(lines))
    return missing, unexpected


# --- reading


class _Slice:
    """A tensor in a file, of which parts are read."""

    def __init__(self, file: safe_open, name: str) -> None:
        self._file, self._name = file, name

    def get_shape(self) -> list[int]:
        """Its sizes."""
        return list(self._file._entries[self._name]["shape"])

    def get_dtype(self) -> str:
        """The format's name of its dtype, ``"F32"``."""
        return self._file._entries[self._name]["dtype"]

    def __getitem__(self, at: Any) -> Tensor:
        return self._file._mapped(self._name)[at].clone().realize().to(device=self._file.device)


class safe_open:
    """A safetensors file whose tensors are read one by one, as a ``with`` block or not. ``SafetensorError`` for a file
    of another kind.

    >>> import minigrad, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file({"a": minigrad.arange(4)}, f"{folder}/x.safetensors", {"by": "hand"})
    ...     with safe_open(f"{folder}/x.safetensors", framework="pt") as f:
    ...         f.keys(), f.metadata(), f.get_slice("a")[1:3]
    (['a'], {'by': 'hand'}, tensor([1, 2]))
    """

    def __init__(self, filename: str | os.PathLike[str], framework: str = "pt", device: Any = "cpu", *,
                 backend: str = "mmap") -> None:
        if framework not in ("pt", "torch", "pytorch", "minigrad"):
            raise NotImplementedError(f"safe_open(framework={framework!r}): it makes tensors for framework='pt'")
        with _checked_open(filename, framework="np") as checked:  # the package reads and checks the header
            self._metadata = checked.metadata()
            self._names = list(checked.offset_keys())
        self.device = _place(device)
        self._path = os.fspath(filename)
        self._file: Any = open(self._path, "rb")  # noqa: SIM115  # closed in __exit__
        length = int.from_bytes(self._file.read(8), "little")
        self._entries: dict[str, dict[str, Any]] = json.loads(self._file.read(length))
        self._start = 8 + length
        self._pages: Pages | None = None

    def __enter__(self) -> safe_open:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def keys(self) -> list[str]:
        """The names."""
        return sorted(self._names)

    def offset_keys(self) -> list[str]:
        """The names in the order of the bytes."""
        return list(self._names)

    def metadata(self) -> dict[str, str] | None:
        """The text that was saved with the tensors."""
        return self._metadata

    def _place_of(self, name: str) -> tuple[DType, tuple[int, ...], int, int]:
        if name not in self._names:
            raise KeyError(f"File does not contain tensor {name}")
        entry = self._entries[name]
        begin, end = entry["data_offsets"]
        return _dtype(entry["dtype"]), tuple(entry["shape"]), self._start + begin, end - begin

    def get_tensor(self, name: str) -> Tensor:
        """The tensor of this name, read now."""
        dtype, shape, offset, nbytes = self._place_of(name)
        storage = empty_storage(nbytes)

        def read(target: memoryview) -> None:
            self._file.seek(offset)
            if fill(self._file, target) != nbytes:
                raise RuntimeError(f"unexpected end of {self._path}")

        put_bytes(storage, read)
        return _on(storage.to(device=self.device), dtype, shape)

    def _mapped(self, name: str) -> Tensor:
        dtype, shape, offset, nbytes = self._place_of(name)
        if self._pages is None:
            self._pages = Pages(self._path)
        found = self._pages.storage(offset, nbytes, dtype.size) if nbytes else None
        return self.get_tensor(name) if found is None else _on(found, dtype, shape)

    def get_tensors(self) -> dict[str, Tensor]:
        """All of them, by name."""
        return {name: self.get_tensor(name) for name in self._names}

    def get_slice(self, name: str) -> _Slice:
        """Something to index: only that part is read."""
        self._place_of(name)
        return _Slice(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())


def _place(where: Any) -> device:
    return device(f"cuda:{where}") if isinstance(where, int) else device(where)


def _on(storage: UntypedStorage, dtype: DType, shape: tuple[int, ...]) -> Tensor:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= size or 1
    return storage.tensor(dtype, shape, tuple(reversed(strides)), 0)


def load_file(filename: str | os.PathLike[str], device: Any = "cpu", *, backend: str = "mmap") -> dict[str, Tensor]:
    """All tensors of a safetensors file, by name. ``FileNotFoundError``, or ``SafetensorError`` for a file of another
    kind."""
    with safe_open(filename, "pt", device) as file:
        return file.get_tensors()


def load(data: bytes) -> dict[str, Tensor]:
    """All tensors of a safetensors file that was read already."""
    made = {}
    for name, view in deserialize(data):
        dtype = _dtype(view["dtype"])
        array = np.frombuffer(view["data"], np.uint8).view(dtype.numpy).reshape(view["shape"])
        made[name] = make(leaf_from_numpy(array, dtype, "CPU"))
    return made
