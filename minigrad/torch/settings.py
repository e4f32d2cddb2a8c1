"""Stage: PyTorch programs. In: what programs set at their beginning: threads, precision, determinism. Out: minigrad's
settings where it has such, else nothing, where the result does not depend on it.
Next: ``symbols.py``."""

from __future__ import annotations

import os
from typing import Any

import minigrad
from minigrad import config
from minigrad.dtype import FLOATS
from minigrad.tensor import set_default_device, set_default_dtype
from minigrad.tensor.promotion import type_name

__all__ = [
    "are_deterministic_algorithms_enabled", "compiled_with_cxx11_abi",
    "get_deterministic_debug_mode", "get_device_module", "get_float32_matmul_precision",
    "get_num_interop_threads", "get_num_threads", "is_deterministic_algorithms_warn_only_enabled",
    "is_warn_always_enabled", "set_default_tensor_type",
    "set_deterministic_debug_mode", "set_float32_matmul_precision", "set_flush_denormal", "set_num_interop_threads",
    "set_num_threads", "set_warn_always", "use_deterministic_algorithms",
]


# ---- threads


def get_num_threads() -> int:
    """Threads of the CPU device.

    >>> get_num_threads() > 0
    True
    """
    threads = config.get("THREADS")
    return int(threads) or len(os.sched_getaffinity(0))


def set_num_threads(threads: int) -> None:
    """Let the CPU device use so many threads: setting THREADS. Results are the same bits for any number."""
    if not isinstance(threads, int) or isinstance(threads, bool):
        raise TypeError(f"set_num_threads expects an int, but got {type(threads).__name__}")
    if threads <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    config.assign(THREADS=threads)


def get_num_interop_threads() -> int:
    """1: kernels run one after another."""
    return 1


def set_num_interop_threads(threads: int) -> None:
    """Does nothing: kernels run one after another."""
    if threads <= 0:
        raise RuntimeError("set_num_interop_threads expects a positive integer")


# ---- precision


_precision = "highest"


def get_float32_matmul_precision() -> str:
    """What ``set_float32_matmul_precision`` has set; ``"highest"`` at first."""
    return _precision


def set_float32_matmul_precision(precision: str) -> None:
    """``"highest"``: products of float32 in float32; ``"high"`` and ``"medium"`` allow TF32 on GPUs, as
    ``torch.backends.cuda.matmul.allow_tf32`` does."""
    global _precision
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"Invalid precision: {precision}, expected one of ['highest', 'high', 'medium']")
    _precision = precision
    minigrad.backends.cuda.matmul.allow_tf32 = precision != "highest"


def set_flush_denormal(mode: bool) -> bool:
    """False: numbers below the normal ones are kept."""
    return False


# ---- determinism: results are the same bits at every run, whatever these say

_deterministic = _warn_only = False


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Remembers ``mode``: everything is deterministic anyhow."""
    global _deterministic, _warn_only
    _deterministic, _warn_only = mode, warn_only


def are_deterministic_algorithms_enabled() -> bool:
    """What ``use_deterministic_algorithms`` has set."""
    return _deterministic


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether ``use_deterministic_algorithms`` was last called with ``warn_only``."""
    return _warn_only


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """``"default"`` or 0, ``"warn"`` or 1, ``"error"`` or 2."""
    use_deterministic_algorithms(debug_mode not in (0, "default"))


def get_deterministic_debug_mode() -> int:
    """0, or 2 after ``use_deterministic_algorithms(True)``."""
    return 2 if _deterministic else 0


# ---- defaults


_warn_always = False


def set_warn_always(mode: bool) -> None:
    """Remembers ``mode``."""
    global _warn_always
    _warn_always = mode


def is_warn_always_enabled() -> bool:
    """What ``set_warn_always`` has set."""
    return _warn_always


def set_default_tensor_type(t: Any) -> None:
    """``"torch.DoubleTensor"``, ``torch.cuda.FloatTensor`` and so on: the dtype of new tensors, and their device."""
    name = t if isinstance(t, str) else getattr(t, "__name__", "")
    kind = name.rpartition(".")[2]
    found = {f"{type_name(dtype)}Tensor": dtype for dtype in FLOATS}.get(kind)
    if found is None:
        raise TypeError("only floating-point types are supported as the default type")
    set_default_dtype(found)
    if "cuda" in name:
        set_default_device("cuda")


def compiled_with_cxx11_abi() -> bool:
    """True: there is no other ABI."""
    return True


def get_device_module(device: Any = None) -> Any:
    """The module of a kind of device: ``torch.cuda`` or ``torch.cpu``."""
    kind = minigrad.device(device).type if device is not None else ("cuda" if minigrad.cuda.is_available() else "cpu")
    return minigrad.cuda if kind == "cuda" else __import__("torch").cpu
