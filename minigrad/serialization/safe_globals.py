"""Stage: serialization. In: what users call safe. Out: the classes and functions that a checkpoint may name when it is
loaded with ``weights_only=True``.
Next: ``restricted.py``."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from functools import cache
from typing import Any

from minigrad.dtype import BY_NAME
from minigrad.nn.parameter import Parameter
from minigrad.serialization import rebuild
from minigrad.serialization.names import torch_name
from minigrad.tensor import Size, Tensor, device
from minigrad.tensor.storages import UntypedStorage
from minigrad.tensor.typed_storages import LEGACY, TypedStorage

SafeGlobal = Callable[..., Any] | tuple[Callable[..., Any], str]

BLOCKED_MODULES = ("sys", "os", "posix", "nt")
"""Nothing of these is loaded, whatever a user calls safe."""

_added: list[SafeGlobal] = []


def add_safe_globals(safe_globals: list[SafeGlobal]) -> None:
    """Let checkpoints that are loaded with ``weights_only=True`` name these classes and functions: they make instances
    of the classes, set their state, and call the functions. A pair (object, name) goes by that name in the file; an
    object alone by its module and name, one of ours by PyTorch's name for it too.

    >>> class Config:
    ...     pass
    >>> add_safe_globals([(Config, "project.Config")])
    >>> get_safe_globals()
    [(<class 'minigrad.serialization.safe_globals.Config'>, 'project.Config')]
    >>> clear_safe_globals()
    """
    _added.extend([entry for entry in safe_globals if entry not in _added])


def get_safe_globals() -> list[SafeGlobal]:
    """What was added."""
    return list(_added)


def clear_safe_globals() -> None:
    """Take back all that was added."""
    _added.clear()


class safe_globals:
    """``add_safe_globals`` for a ``with`` block.

    >>> with safe_globals([complex]):
    ...     get_safe_globals()
    [<class 'complex'>]
    """

    def __init__(self, safe_globals: list[SafeGlobal]) -> None:
        self.safe_globals = safe_globals

    def __enter__(self) -> None:
        add_safe_globals(self.safe_globals)

    def __exit__(self, *exception: object) -> None:
        _added[:] = [entry for entry in _added if entry not in self.safe_globals]


def added_by_name() -> dict[str, Any]:
    """What was added, by the names that it has in files."""
    named: dict[str, Any] = {}
    for entry in _added:
        if isinstance(entry, tuple):
            if len(entry) != 2:
                raise ValueError("Expected tuple of length 2 (global, str of callable full path), but got tuple of "
                                 f"length: {len(entry)}")
            if type(entry[1]) is not str:
                raise TypeError("Expected second item in tuple to be str of callable full path, but got: "
                                f"{type(entry[1])}")
            named[entry[1]] = entry[0]
            continue
        module, name = entry.__module__, entry.__qualname__
        named[f"{module}.{name}"] = entry
        theirs = torch_name(entry, module, name)
        if theirs is not None:
            named[".".join(theirs)] = entry
    return named


# --- what is safe anyway

MOST_KEY_PARTS = 10_000
"""So many parts may a key have, counted as often as they are met: tuples of tuples of one tuple take exponential time
to hash."""


def checked_key(key: Any) -> Any:
    """A key of a dictionary or an element of a set. ``ValueError`` for a tuple with very many parts."""
    if type(key) is tuple:
        left, stack = MOST_KEY_PARTS, [key]
        while stack:
            part = stack.pop()
            left -= len(part)
            if left < 0:
                raise ValueError("a key is too large")
            stack.extend([inner for inner in part if type(inner) is tuple])
    return key


def _set(items: Any = ()) -> set[Any]:
    return {checked_key(item) for item in _listed(items)}


def _ordered(items: Any = ()) -> OrderedDict[Any, Any]:
    return OrderedDict([_pair(item) for item in _listed(items)])


def _counter(items: Any = ()) -> Counter[Any]:
    return Counter({checked_key(k): v for k, v in items.items()} if type(items) is dict else
                   [checked_key(item) for item in _listed(items)])


def _listed(items: Any) -> Any:
    if type(items) not in (list, tuple):
        raise TypeError(f"expected a list or tuple, got {type(items).__name__}")
    return items


def _pair(item: Any) -> tuple[Any, Any]:
    key, value = _listed(item)
    return checked_key(key), value


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """How pickles spell bytes. Other encodings could run code that is looked up by their names."""
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise ValueError("only text in latin1 is turned into bytes")
    return text.encode("latin1")


def _bytearray(data: Any = b"", encoding: Any = "latin-1") -> bytearray:
    """Of bytes, not of a number: that would take memory as large as the number says."""
    if type(data) is str:
        return bytearray(_encode(data, encoding))
    if type(data) not in (bytes, list, tuple):
        raise TypeError(f"a bytearray is made of bytes, got {type(data).__name__}")
    return bytearray(data)


def _complex(real: Any = 0.0, imag: Any = 0.0) -> complex:
    if type(real) not in (int, float) or type(imag) not in (int, float):
        raise TypeError("a complex number is made of two numbers")
    return complex(real, imag)


def _size(sizes: Any = ()) -> Size:
    return Size(_listed(sizes))


class StorageType:
    """What stands for a dtype in a checkpoint, ``torch.FloatStorage``: it is not to be called."""

    def __init__(self, name: str) -> None:
        self.dtype = {kind.__name__: dtype for dtype, kind in LEGACY.items()}[name]

    def __repr__(self) -> str:
        return f"StorageType(dtype={self.dtype})"


@cache
def always_allowed() -> dict[str, Any]:
    """What a checkpoint may name in any case: it makes Tensors and containers, and can't do harm. Where a class would
    do more than that if it is called, a function stands for it."""
    allowed: dict[str, Any] = {
        "collections.OrderedDict": _ordered, "collections.Counter": _counter, "builtins.set": _set,
        "builtins.bytearray": _bytearray, "builtins.complex": _complex, "_codecs.encode": _encode,
        "torch.Size": _size, "torch.device": device, "torch.Tensor": Tensor, "torch._tensor.Tensor": Tensor,
        "torch.nn.parameter.Parameter": Parameter, "torch.storage.UntypedStorage": UntypedStorage,
        "torch.storage.TypedStorage": TypedStorage, "torch.serialization._get_layout": rebuild._get_layout,
        "torch._tensor._rebuild_from_type_v2": rebuild._rebuild_from_type_v2,
    }
    allowed.update({f"torch.{dtype.name}": dtype for dtype in BY_NAME.values()})
    for kind in LEGACY.values():
        allowed[f"torch.{kind.__name__}"] = StorageType(kind.__name__)
    for name in dir(rebuild):
        if name.startswith("_rebuild_"):
            allowed.setdefault(f"torch._utils.{name}", getattr(rebuild, name))
    return allowed

