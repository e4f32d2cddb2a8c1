"""Stage: tests. In: functions of PyTorch's operator database, and its samples. Out: the same functions and samples of
minigrad.
Next: ``compare.py``."""

from __future__ import annotations

import builtins
import contextlib
import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import minigrad
from minigrad.torch import hook, names


class Facade:
    """What is called ``torch`` or ``torch.a.b``, of minigrad, while the real one is imported too."""

    def __init__(self, path: str = "") -> None:
        self._path = path

    def __getattr__(self, name: str) -> Any:
        value = names.MISSING if self._path else names.find(name)
        if value is names.MISSING and self._path:
            value = getattr(hook._module("torch", self._path), name, names.MISSING)
        if value is not names.MISSING and not isinstance(value, types.ModuleType):
            return value
        path = f"{self._path}.{name}".lstrip(".")
        if path in HELPERS:
            return functools.partial(_helped, HELPERS[path])
        if hook._module("torch", path) is None:
            raise AttributeError(f"torch.{path} is missing")
        return Facade(path)


HELPERS: dict[str, Callable[..., Any]] = {
    "masked._output_mask": torch.masked._output_mask, "masked._input_mask": torch.masked._input_mask,
}
"""Private functions of PyTorch that its wrappers for gradients call: they run there."""


def _helped(helper: Callable[..., Any], op: Callable[..., Any], *args: Any, **options: Any) -> Any:
    first = [getattr(torch.masked, op.__name__)] if callable(op) else [theirs(op)]
    return ours(helper(*first, *theirs(list(args)), **theirs(options)))


TORCH = Facade()


def named(name: str) -> Callable[..., Any]:
    """minigrad's ``torch.name``, whose name may have dots.

    >>> named("nn.functional.relu").__name__
    'relu'
    """
    found: Any = getattr(minigrad.Tensor, name) if name.startswith("__") else TORCH
    for part in name.split(".") if found is TORCH else ():
        found = getattr(found, part)
    return found


INSTEAD = {"freeze_rng_state": contextlib.nullcontext}
"""Helpers of the database that reach into PyTorch's insides, and what does here: each check sets its own seed."""


def rebound(function: Any) -> Any:
    """A function of the database's own files, with minigrad for ``torch``; what is PyTorch's own becomes minigrad's of
    the same name."""
    if getattr(function, "__name__", "") in INSTEAD:
        return INSTEAD[function.__name__]
    if isinstance(function, functools.partial):
        return functools.partial(rebound(function.func), *(_value(a) for a in function.args),
                                 **{k: _value(v) for k, v in function.keywords.items()})
    if isinstance(function, types.FunctionType) and function.__module__.startswith("torch.testing"):
        return _rebound(function)
    name = getattr(function, "__name__", "")
    if hasattr(torch.Tensor, name) and getattr(torch.Tensor, name) is function:
        return getattr(minigrad.Tensor, name)
    for place in ("", "nn.functional", "linalg", "fft", "special"):
        owner = functools.reduce(getattr, place.split("."), torch) if place else torch
        if getattr(owner, name, None) is function:
            return named(f"{place}.{name}".lstrip("."))
    return function


@functools.cache
def _rebound(function: types.FunctionType) -> types.FunctionType:
    shown: dict[str, Any] = {"__builtins__": builtins, "__name__": function.__module__}
    made = types.FunctionType(function.__code__, shown, function.__name__, function.__defaults__, _cells(function))
    made.__kwdefaults__ = function.__kwdefaults__
    for name in _names(function.__code__):
        if name in function.__globals__:
            shown[name] = _value(function.__globals__[name])
    return made


def _names(code: types.CodeType) -> set[str]:
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*(_names(c) for c in inner))


def _cells(function: types.FunctionType) -> tuple[types.CellType, ...] | None:
    if function.__closure__ is None:
        return None
    return tuple(types.CellType(_value(cell.cell_contents)) for cell in function.__closure__)


def _value(value: Any) -> Any:
    if value is torch:
        return TORCH
    if isinstance(value, types.ModuleType) and value.__name__.startswith("torch.") and (
            not value.__name__.startswith("torch.testing")):
        return Facade(value.__name__.removeprefix("torch."))
    if isinstance(value, (types.FunctionType, types.BuiltinFunctionType, types.MethodDescriptorType,
                          functools.partial)):
        return rebound(value)
    return ours(value)


def ours(value: Any) -> Any:
    """A sample's argument as minigrad has it: tensors with their strides, dtypes, devices, layouts; others stay."""
    if isinstance(value, torch.Tensor):
        return tensor(value)
    if isinstance(value, torch.dtype):
        return getattr(TORCH, str(value).removeprefix("torch."))
    if isinstance(value, torch.device):
        return TORCH.device(str(value))
    if isinstance(value, (torch.layout, torch.memory_format)):
        return getattr(TORCH, str(value).removeprefix("torch."))
    if isinstance(value, torch.Size):
        return TORCH.Size(value)
    if type(value) in (list, tuple):
        return type(value)(ours(v) for v in value)
    if type(value) is dict:
        return {k: ours(v) for k, v in value.items()}
    if isinstance(value, torch.nn.Module):
        return _module(value)
    return value


def _module(value: torch.nn.Module) -> Any:
    """The module of the same class, without parameters, and with the same settings."""
    made = getattr(minigrad.nn, type(value).__name__)()
    for name, setting in vars(value).items():
        if not name.startswith("_"):
            setattr(made, name, setting)
    return made


def tensor(value: torch.Tensor) -> minigrad.Tensor:
    """A tensor of the same numbers, dtype, shape and strides; it wants a gradient if that one does."""
    plain = value.detach()
    if plain.layout is torch.sparse_coo:
        coalesced = plain.is_coalesced()
        made = TORCH.sparse_coo_tensor(tensor(plain._indices()), tensor(plain._values()), tuple(plain.shape),
                                       is_coalesced=coalesced)
        return made.requires_grad_(value.requires_grad)
    if plain.layout is not torch.strided:
        made = TORCH.sparse_compressed_tensor(
            *(tensor(t) for t in ((plain.crow_indices(), plain.col_indices()) if plain.layout in (
                torch.sparse_csr, torch.sparse_bsr) else (plain.ccol_indices(), plain.row_indices()))),
            tensor(plain.values()), tuple(plain.shape), layout=ours(plain.layout))
        return made.requires_grad_(value.requires_grad)
    made = _strided(plain.resolve_conj().resolve_neg())
    return made.requires_grad_() if value.requires_grad else made


def _strided(plain: torch.Tensor) -> minigrad.Tensor:
    if plain.is_contiguous():
        return flat(plain.reshape(-1)).reshape(tuple(plain.shape))
    whole = torch.empty(0, dtype=plain.dtype).set_(plain.untyped_storage())
    return flat(whole).as_strided(tuple(plain.shape), plain.stride(), int(plain.storage_offset()))


def flat(plain: torch.Tensor) -> minigrad.Tensor:
    """A one-dimensional tensor's numbers."""
    if plain.dtype is torch.bfloat16:
        return TORCH.tensor(plain.view(torch.int16).numpy().copy()).view(minigrad.bfloat16)
    return minigrad.from_numpy(plain.numpy().copy())


def theirs(value: Any) -> Any:
    """What minigrad returned as PyTorch has it, to be compared: tensors without their graphs."""
    if isinstance(value, minigrad.Tensor):
        return _theirs(value)
    if isinstance(value, minigrad.dtype):
        return getattr(torch, str(value).rpartition(".")[2])
    if isinstance(value, dict):
        return {k: theirs(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [theirs(v) for v in value]
    return value


def _theirs(value: Any) -> torch.Tensor:
    value = value.detach()
    if getattr(value, "layout", TORCH.strided) is not TORCH.strided:
        value = value.to_dense()
    if value.dtype is minigrad.bfloat16:
        return torch.tensor(np.array(value.view(minigrad.int16).numpy())).view(torch.bfloat16)
    return torch.tensor(np.array(value.numpy()))
