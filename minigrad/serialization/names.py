"""Stage: serialization. In: where a class or function of ours is defined, or where a checkpoint says that one of
PyTorch's is. Out: its name for the other side.
Next: ``options.py``."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from minigrad.dtype import BY_NAME, DType
from minigrad.tensor import FUNCTIONS, Size, Tensor, device
from minigrad.tensor.typed_storages import LEGACY

Name = tuple[str, str]
"""A module and what is defined in it."""

_REBUILD = ("_rebuild_parameter", "_rebuild_parameter_with_state", "_rebuild_tensor", "_rebuild_tensor_v2",
            "_rebuild_tensor_v3", "_rebuild_sparse_tensor", "_rebuild_meta_tensor_no_storage", "_rebuild_nested_tensor",
            "_rebuild_qtensor", "_rebuild_wrapper_subclass", "_rebuild_device_tensor_from_numpy",
            "_rebuild_device_tensor_from_cpu_tensor")

# Ours → PyTorch's, where it is not "the same below ``torch``".
_SPECIAL: dict[Name, Name] = {
    ("minigrad.nn.modules.attention", "MultiheadAttention"): ("torch.nn.modules.activation", "MultiheadAttention"),
    ("minigrad.tensor.generator", "Generator"): ("torch._C", "Generator"),
    ("minigrad.tensor.storages", "UntypedStorage"): ("torch.storage", "UntypedStorage"),
    ("minigrad.tensor.typed_storages", "TypedStorage"): ("torch.storage", "TypedStorage"),
    ("minigrad.serialization.rebuild", "_rebuild_from_type_v2"): ("torch._tensor", "_rebuild_from_type_v2"),
    ("minigrad.serialization.rebuild", "_get_layout"): ("torch.serialization", "_get_layout"),
    ("minigrad.serialization.load", "_load_from_bytes"): ("torch.storage", "_load_from_bytes"),
    **{("minigrad.serialization.rebuild", name): ("torch._utils", name) for name in _REBUILD},
    **{("minigrad.tensor.typed_storages", kind.__name__): ("torch", kind.__name__) for kind in LEGACY.values()},
}
_SPECIAL["minigrad.sparse.coordinates", "_rebuild_sparse_tensor"] = ("torch._utils", "_rebuild_sparse_tensor")
_BACK = {theirs: ours for ours, theirs in _SPECIAL.items()} | {
    ("torch.tensor", "_rebuild_from_type_v2"): ("minigrad.serialization.rebuild", "_rebuild_from_type_v2"),
    ("torch._tensor", "Tensor"): ("minigrad.tensor.tensor_class", "Tensor"),
    ("torch", "Tensor"): ("minigrad.tensor.tensor_class", "Tensor"),
    ("torch", "Size"): ("minigrad.tensor.size", "Size"),
    ("torch", "device"): ("minigrad.tensor.size", "device"),
    ("torch", "Generator"): ("minigrad.tensor.generator", "Generator"),
}
# Folders of ours that PyTorch has as one module, or elsewhere.
_FOLDERS = (("minigrad.nn.functional", "torch.nn.functional"), ("minigrad.tensor.return_types", "torch.return_types"))
_PACKAGES = {"torchvision": "minigrad.vision", "torch": "minigrad"}
_MODULES = {"torch.return_types": "minigrad.tensor.return_types", "torch._C._nn": "minigrad.nn.functional"}


def torch_name(obj: Any, module: str, name: str) -> Name | None:
    """What PyTorch calls an object that is defined in ``module`` under ``name``; None if it is not one of ours.

    >>> torch_name(None, "minigrad.nn.modules.linear", "Linear")
    ('torch.nn.modules.linear', 'Linear')
    """
    if isinstance(obj, DType):
        return "torch", obj.name
    if obj is Tensor or obj is Size or obj is device:  # whatever module they are shown to be of
        return "torch", obj.__name__
    if not (module == "minigrad" or module.startswith("minigrad.")):
        return None
    found = _SPECIAL.get((module, name))
    if found is not None:
        return found
    if FUNCTIONS.get(name) is obj and obj is not None:
        return "torch", name
    for ours, theirs in _FOLDERS:
        if module == ours or module.startswith(ours + "."):
            return theirs, name
    theirs, ours = next(pair for pair in _PACKAGES.items() if f"{module}.".startswith(f"{pair[1]}."))
    return theirs + module[len(ours):], name


def is_torch(module: str) -> bool:
    """Whether a checkpoint means PyTorch by this module."""
    return module.partition(".")[0] in _PACKAGES


def ours(module: str, name: str) -> Any:
    """What is called ``name`` in PyTorch's ``module``. ``AttributeError`` if there is no such thing here.

    >>> ours("torch.nn.modules.linear", "Linear")
    <class 'minigrad.nn.modules.linear.Linear'>
    """
    if module == "torch" and name in BY_NAME:
        return BY_NAME[name]
    place = _BACK.get((module, name))
    if place is not None:
        return _found(import_module(place[0]), place[1])
    package, dot, rest = module.partition(".")
    target = _MODULES.get(module, _PACKAGES[package] + dot + rest)
    while target:  # what is defined in another file here is at least shown by the folder
        try:
            return _found(import_module(target), name)
        except (ModuleNotFoundError, AttributeError):
            target = target.rpartition(".")[0]
    raise AttributeError(f"the checkpoint needs {module}.{name}, which minigrad has not")


def _found(module: ModuleType, name: str) -> Any:
    value: Any = module
    for part in name.split("."):
        value = getattr(value, part)
    return value
