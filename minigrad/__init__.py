"""minigrad: tensors, automatic differentiation and a compiler that you can read, in PyTorch's words.

Stage: the way in. In: ``import minigrad``. Out: the names PyTorch has, and ``config``, ``devices``, ``inspect``.
Next: ``tensor/``.

>>> import minigrad
>>> x = minigrad.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

# NumPy before our own modules: where those import it, it is deep in Python's stack and takes up to 10 ms longer, for
# Python maps a new piece of the stack at each call across the end of one.
import numpy as _numpy  # noqa: F401

from minigrad import autograd, config
from minigrad import lazily as _lazily
from minigrad import tensor as _tensor
from minigrad.autograd import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from minigrad.dtype import (
    COMPLEX,
    bfloat16,
    bool_,
    complex32,
    complex64,
    complex128,
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
from minigrad.dtype import DType as dtype  # users mean the class, where Python would put the module
from minigrad.engine import inspect, steps
from minigrad.graph import tracebacks as _tracebacks
from minigrad.runtime.device import devices, register_device
from minigrad.tensor import (
    FUNCTIONS,
    Generator,
    Size,
    Tensor,
    composite,
    default_generator,
    device,
    finfo,
    get_default_device,
    get_default_dtype,
    get_printoptions,
    iinfo,
    realize,
    return_types,
    set_default_device,
    set_default_dtype,
    set_printoptions,
)
from minigrad.tensor.layouts import WORDS, layout, memory_format
from minigrad.tensor.promotion import WITH_CLASSES, type_name

__version__ = "0.1.0"

inf, nan, pi, e = math.inf, math.nan, math.pi, math.e

# PyTorch's other names of the types.
float = float32
double = float64
half = float16
chalf = complex32
cfloat = complex64
cdouble = complex128
short = int16
int = int32
long = int64
bool = bool_

globals().update(WORDS)
globals().update({name: made for name, made in FUNCTIONS.items() if name != "tensor"})


class _CallableModule(ModuleType):
    """A module that is called like the function of its name: ``minigrad.tensor([1, 2])``, ``minigrad.config(DEBUG=2)``.
    Python makes every submodule an attribute of its package, so the function itself can't stand there for good."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **options)


config.check_environment()
config.__class__ = _tensor.__class__ = _CallableModule

_SUBPACKAGES = ("amp", "array_api", "backends", "cuda", "distributions", "explain", "fft", "func", "jit", "linalg",
                "masked", "multiprocessing", "nn", "optim", "overrides", "profiler", "serialization", "signal",
                "sparse", "special", "storage", "testing", "utils", "vision")
_LATER = {
    **dict.fromkeys(("celu", "celu_", "hardshrink", "prelu", "relu_", "rrelu", "rrelu_", "selu", "selu_",
                     "threshold_"), "minigrad.nn.functional.activation"),
    "threshold": "minigrad.nn.functional.top_level",
    **dict.fromkeys(("cdist", "cosine_similarity", "pairwise_distance", "pdist"), "minigrad.nn.functional.distance"),
    "bilinear": "minigrad.nn.functional.linear",
    "vmap": "minigrad.func",
    **dict.fromkeys(("load", "save"), "minigrad.serialization"),
    **dict.fromkeys(("hspmm", "smm", "sparse_bsc_tensor", "sparse_bsr_tensor", "sparse_compressed_tensor",
                     "sparse_coo_tensor", "sparse_csc_tensor", "sparse_csr_tensor", "spmm", "sspaddmm"),
                    "minigrad.sparse"),
    "OutOfMemoryError": "minigrad.errors",
    "UntypedStorage": "minigrad.tensor.storages",
    **dict.fromkeys(("TypedStorage", "is_storage",
                     *[f"{type_name(dtype)}Storage" for dtype in (*WITH_CLASSES, *COMPLEX)]),
                    "minigrad.tensor.typed_storages"),
}
"""Names that are looked up in a module which is imported when one of them is first asked for."""

__all__ = [
    "Generator", "Size", "Tensor", "autograd", "bfloat16", "bool", "cdouble", "cfloat", "chalf", "complex128",
    "complex32", "complex64", "composite", "config", "default_generator", "device", "devices", "double", "dtype", "e",
    "enable_grad", "finfo", "float", "float16", "float32", "float64", "get_default_device", "get_default_dtype",
    "get_printoptions", "half", "iinfo", "inf", "inference_mode", "inspect", "int", "int16", "int32", "int64", "int8",
    "is_grad_enabled", "is_inference_mode_enabled", "layout", "long", "memory_format", "nan", "no_grad", "pi",
    "promote_types", "realize", "register_device", "return_types", "set_default_device", "set_default_dtype",
    "set_grad_enabled", "set_printoptions", "short", "steps", "uint16", "uint32", "uint64", "uint8",
    *FUNCTIONS, *WORDS, *_LATER,
]


_tracebacks.install()


def __getattr__(name: str) -> Any:
    """``minigrad.nn`` and its like are imported when they are first asked for."""
    if name in _SUBPACKAGES:
        return _lazily.module(f"minigrad.{name}")
    if name in _LATER:
        return getattr(_lazily.module(_LATER[name]), name)
    raise AttributeError(f"module 'minigrad' has no attribute {name!r}")
