"""Stage: PyTorch programs. In: ``import torch`` and ``import torch.nn.functional`` and so on. Out: the modules of
minigrad that have those names.
Next: ``names.py``."""

from __future__ import annotations

import importlib
import multiprocessing.spawn
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from minigrad.dtype import DType, show_as
from minigrad.tensor import FUNCTIONS, Generator, Size, Tensor, device, finfo, iinfo
from minigrad.tensor.layouts import layout, memory_format
from minigrad.torch import absent, names

ROOTS = {"torch": "minigrad", "torchvision": "minigrad.vision"}
"""Packages that are found here, and where their modules are."""

OTHERS = {"safetensors.torch": "minigrad.serialization.safe"}
"""Modules of other packages that are written for PyTorch, and ours with the same functions."""

OTHERWISE = ("jit", "tensor", "config", "conformance")
"""Names that mean something else in PyTorch than in minigrad, or nothing: only ``minigrad/torch/`` has those."""

ABSENT = ("mps", "mtia", "xpu")
"""Kinds of devices that are not here: one module says so for all."""

_CLASSES: tuple[Any, ...] = (Tensor, Size, device, DType, layout, memory_format, finfo, iinfo,
                             *[kind for kind in FUNCTIONS.values() if isinstance(kind, type)])
SHOWN = {shown: (shown.__module__, "torch") for shown in _CLASSES} | {Generator: (Generator.__module__, "torch._C")}
"""Classes whose names programs print, the modules they are in, and those that PyTorch has them in."""


class Finder(MetaPathFinder):
    """Finds the modules of ``ROOTS``."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None,
                  ) -> ModuleSpec | None:
        """The specification that leads to our module; None for other packages, and for what is not there."""
        if fullname in OTHERS:
            return ModuleSpec(fullname, Same(importlib.import_module(OTHERS[fullname])))
        root, _, rest = fullname.partition(".")
        if root not in ROOTS:
            return None
        found = _namespace() if fullname == "torch" else _module(root, rest)
        if found is None:
            return None
        return ModuleSpec(fullname, Same(found), is_package=hasattr(found, "__path__"))


class Same(Loader):
    """Loads a module that is there already, and leaves it as it is."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.spec = module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module."""
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """Take back what importing under another name has changed."""
        if self.spec is not None:
            module.__spec__, module.__loader__ = self.spec, self.spec.loader


class Namespace(ModuleType):
    """The module ``torch``: the names of ``names.py``, then those of minigrad that PyTorch has too."""

    __path__: list[str] = []  # noqa: RUF012  # it is a package: its modules are found by ``Finder``

    def __getattr__(self, name: str) -> Any:
        value = names.find(name)
        if value is names.MISSING:
            if (name.startswith("_") and name != "_C") or _module("torch", name) is None:
                close = get_close_matches(name, names.every(), 1)
                hint = f". Did you mean: {close[0]!r}?" if close else ""
                raise AttributeError(f"module 'torch' has no attribute {name!r}: minigrad does not have it{hint}")
            value = importlib.import_module(f"torch.{name}")
        self.__dict__[name] = value
        return value

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *names.every()})


def _namespace() -> ModuleType:
    made = Namespace("torch", names.__doc__)
    made.__spec__ = None
    return made


def _module(root: str, rest: str) -> ModuleType | None:
    """Our module for ``root.rest``; None if there is none."""
    if root == "torch" and rest in ABSENT:
        return absent
    places = [f"minigrad.torch.{rest}"] if root == "torch" else []
    if root != "torch" or rest.split(".")[0] not in OTHERWISE:
        places.append(f"{ROOTS[root]}.{rest}" if rest else ROOTS[root])
    for place in places:
        if root == "torch" and place.startswith("minigrad.torch.") and rest.split(".")[0] in _OWN:
            continue
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not (place == error.name or place.startswith(f"{error.name}.")):
                raise  # a module that it imports is missing
    return None


_OWN = ("absent", "hook", "names", "settings", "__main__")
"""The files of this folder that are not PyTorch's."""


_finder = Finder()
_command_line = multiprocessing.spawn.get_command_line


def install() -> None:
    """From now on ``import torch`` finds minigrad, here and in processes that ``multiprocessing`` starts.

    Calling it again does nothing. ``RuntimeError`` if PyTorch has been imported before.
    """
    if _finder in sys.meta_path:
        return
    there = [name for name in ROOTS if name in sys.modules]
    if there:
        raise RuntimeError(f"{' and '.join(there)} has been imported already, so minigrad can't take its place: call "
                           "minigrad.torch.install() first, or run the program by python -m minigrad.torch")
    sys.meta_path.insert(0, _finder)
    for shown, (_, theirs) in SHOWN.items():
        shown.__module__ = theirs
    show_as("torch")
    multiprocessing.spawn.get_command_line = _child_command_line


def uninstall() -> None:
    """``import torch`` finds PyTorch again, if it is installed. What was imported stays as it is."""
    if _finder not in sys.meta_path:
        return
    sys.meta_path.remove(_finder)
    for name in [n for n in sys.modules if n.partition(".")[0] in ROOTS or n in OTHERS]:
        del sys.modules[name]
    for shown, (ours, _) in SHOWN.items():
        shown.__module__ = ours
    show_as("minigrad")
    multiprocessing.spawn.get_command_line = _command_line


def _child_command_line(**options: Any) -> list[str]:
    """How a process is started that is to have the hook too."""
    command = _command_line(**options)
    at = command.index("-c") + 1 if "-c" in command else None
    if at is not None:
        command[at] = f"from minigrad.torch import install; install(); {command[at]}"
    return command
