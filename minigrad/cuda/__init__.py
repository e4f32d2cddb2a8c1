"""Stage: front. In: nothing, or which GPU. Out: what PyTorch's ``torch.cuda`` tells about NVIDIA GPUs and their memory.
All of it may be asked for on a machine without one.
Next: ``amp.py``.

https://docs.pytorch.org/docs/stable/cuda.html
"""

from __future__ import annotations

from typing import Any

from minigrad import lazily
from minigrad.dtype import bfloat16
from minigrad.errors import OutOfMemoryError
from minigrad.runtime.cuda import CudaDevice
from minigrad.runtime.cuda_driver import Properties
from minigrad.runtime.device import get_device

__all__ = [
    "OutOfMemoryError", "current_device", "device_count", "empty_cache", "get_device_capability", "get_device_name",
    "get_device_properties", "is_available", "is_bf16_supported", "manual_seed", "manual_seed_all",
    "max_memory_allocated", "max_memory_reserved", "mem_get_info", "memory_allocated", "memory_reserved",
    "reset_peak_memory_stats", "synchronize",
]


def is_available() -> bool:
    """Whether tensors can live on a GPU here: there are a driver, a GPU, and NVIDIA's Python packages.
    ``minigrad.devices()`` says which of them is missing.

    >>> import minigrad
    >>> minigrad.cuda.is_available() == (minigrad.cuda.device_count() > 0)
    True
    """
    return CudaDevice.unavailable() is None


def device_count() -> int:
    """The number of GPUs that can be used; 0 where ``is_available()`` is False.

    >>> device_count() >= 0
    True
    """
    return CudaDevice.count() if is_available() else 0


def current_device() -> int:
    """The index of the GPU that ``"cuda"`` stands for: always 0. Raises ``DeviceUnavailable`` where there is none."""
    return _device(None).index


def get_device_name(device: Any = None) -> str:
    """The GPU's name, as ``"NVIDIA A100-SXM4-40GB"``. ``device``: an index, a name, a ``minigrad.device``, or None for
    the current one. Raises ``DeviceUnavailable`` where there is none."""
    return _device(device).properties.name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability, as ``(8, 0)``. Raises ``DeviceUnavailable`` where there is no GPU."""
    properties = _device(device).properties
    return properties.major, properties.minor


def get_device_properties(device: Any = None) -> Properties:
    """Name, capability, memory in bytes and so on. Raises ``DeviceUnavailable`` where there is no GPU."""
    return _device(device).properties


def is_bf16_supported() -> bool:
    """Whether the GPU has instructions for bfloat16; without them it is computed all the same. False without a GPU."""
    return is_available() and bfloat16.name in _device(None).target.matrix


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has done all it was asked to. Raises ``RuntimeError`` if a kernel failed on the way."""
    _device(device).synchronize()


# --- memory: bytes, of this process; 0 where nothing was ever allocated or there is no GPU


def memory_allocated(device: Any = None) -> int:
    """Bytes that live tensors hold.

    >>> import minigrad
    >>> minigrad.cuda.memory_allocated() if not minigrad.cuda.is_available() else 0
    0
    """
    return _memory(device, "allocated")


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors held at a time, since ``reset_peak_memory_stats()`` or the start."""
    return _memory(device, "peak_allocated")


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from the driver: those of tensors, and those kept for the next ones."""
    return _memory(device, "reserved")


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes taken from the driver at a time, since ``reset_peak_memory_stats()`` or the start."""
    return _memory(device, "peak_reserved")


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let ``max_memory_allocated`` and ``max_memory_reserved`` begin at what is used now."""
    if is_available():
        _device(device).memory.reset_peaks()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of the GPU, whoever uses them. Raises ``DeviceUnavailable`` where there is none."""
    return _device(device).queue.use().memory()


def empty_cache() -> None:
    """Give memory that no tensor holds back to the driver, for other programs. Nothing happens without a GPU.

    >>> empty_cache()
    """
    for index in range(device_count()):
        device = _device(index)
        if "memory" in vars(device):  # nothing was ever allocated elsewhere
            device.memory.release()


# --- random numbers


def manual_seed(seed: int) -> None:
    """Does nothing: the random numbers of all devices come from one generator, on the host, that
    ``minigrad.manual_seed`` seeds, so the same seed gives the same tensors everywhere.

    >>> manual_seed(42)
    """
    int(seed)


manual_seed_all = manual_seed


def _device(device: Any) -> CudaDevice:
    """The GPU that a user named."""
    if device is None:
        name = "CUDA"
    elif isinstance(device, int):
        name = f"CUDA:{device}"
    else:
        name = device if isinstance(device, str) else device.name
    found = get_device(name)
    if not isinstance(found, CudaDevice):
        raise ValueError(f"Expected a cuda device, but got: {device}")
    return found


def _memory(device: Any, what: str) -> int:
    if not is_available():
        return 0
    found = _device(device)
    if "memory" not in vars(found):
        return 0
    return getattr(found.memory, what)


def __getattr__(name: str) -> Any:
    """``minigrad.cuda.amp`` is imported when it is first asked for."""
    if name == "amp":
        return lazily.module("minigrad.cuda.amp")
    raise AttributeError(f"module 'minigrad.cuda' has no attribute {name!r}")
