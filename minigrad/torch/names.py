"""The names of the module ``torch`` that are not simply minigrad's: versions, settings, and what PyTorch keeps there of
other modules.

Stage: PyTorch programs. In: a name. Out: what a program finds as ``torch.name``.
Next: ``settings.py``."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import minigrad
from minigrad.errors import LaunchError
from minigrad.nn import functional
from minigrad.tensor import FUNCTIONS, Tensor
from minigrad.torch import declarations, native, settings, streams, symbols
from minigrad.torch.compiler import compile
from minigrad.torch.version import __version__

MISSING: Any = object()

_HIDDEN = frozenset(("config", "devices", "inspect", "register_device", "composite", "realize", "tensor"))
"""Names of minigrad that PyTorch does not have."""

_DEFINED: dict[str, Any] = {
    "__version__": __version__, "compile": compile, "newaxis": None,
    "AcceleratorError": LaunchError,
    **{name: getattr(settings, name) for name in settings.__all__},
    **{name: getattr(symbols, name) for name in symbols.__all__},
    **{name: getattr(streams, name) for name in streams.__all__},
    **{name: getattr(native, name) for name in native.__all__ if name not in native.OF_ATEN},
    **declarations.FUNCTIONS,
}

_ELSEWHERE = {
    "autocast": "minigrad.amp", "GradScaler": "minigrad.amp",
    **dict.fromkeys(("autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache",
                     "get_autocast_cpu_dtype", "get_autocast_dtype", "get_autocast_gpu_dtype",
                     "is_autocast_cache_enabled", "is_autocast_cpu_enabled", "is_autocast_enabled",
                     "set_autocast_cache_enabled", "set_autocast_cpu_dtype", "set_autocast_cpu_enabled",
                     "set_autocast_dtype", "set_autocast_enabled", "set_autocast_gpu_dtype"),
                    "minigrad.amp.autocast_mode"),
    **dict.fromkeys(("is_anomaly_check_nan_enabled", "is_anomaly_enabled"), "minigrad.autograd"),
}
"""Names that are imported when a program asks for them, and where from."""

_OF_FUNCTIONAL = frozenset((
    "adaptive_avg_pool1d", "avg_pool1d", "bilinear", "cdist", "channel_shuffle", "conv1d", "conv2d", "conv3d",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "cosine_similarity", "hardshrink",
    "native_channel_shuffle", "pairwise_distance", "pdist", "pixel_shuffle", "pixel_unshuffle", "prelu", "rms_norm"))
"""Functions of ``torch.nn.functional`` that ``torch`` has too, with the same arguments."""


def find(name: str) -> Any:
    """``torch.name``, or ``MISSING``."""
    if name in _DEFINED:
        return _DEFINED[name]
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    if name in minigrad.__all__ and name not in _HIDDEN:
        return getattr(minigrad, name)
    if name in _ELSEWHERE:
        return getattr(_module(_ELSEWHERE[name]), name, MISSING)
    if name in _OF_FUNCTIONAL:
        return getattr(functional, name, MISSING)
    if name in _ATTRIBUTES or (name.endswith("_") and not name.startswith("_") and hasattr(Tensor, name)):
        return _function_of(name)
    return MISSING


def _module(name: str) -> Any:
    """A module of minigrad; ``MISSING`` if there is none yet."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return MISSING


_ATTRIBUTES = frozenset(("is_complex", "is_signed", "select", "get_device", "dequantize", "unfold", "expand"))
"""Methods that are functions in ``torch``, too, and not in minigrad. In-place methods are, all of them."""


def _function_of(name: str) -> Any:
    def function(input: Tensor, *args: Any, **named: Any) -> Any:
        return getattr(input, name)(*args, **named)

    function.__name__ = function.__qualname__ = name
    return function if hasattr(Tensor, name) else MISSING


def every() -> Iterable[str]:
    """All names that ``find`` knows."""
    return {*_DEFINED, *FUNCTIONS, *minigrad.__all__, *_ELSEWHERE, *_OF_FUNCTIONAL} - _HIDDEN
