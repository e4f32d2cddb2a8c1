"""Stage: PyTorch programs. In: nothing, or which GPU. Out: ``torch.accelerator``: the GPU, if there is one that
minigrad can use, whatever its kind.
Next: ``random.py``."""

from __future__ import annotations

from typing import Any

from minigrad import cuda
from minigrad.tensor import device


def is_available() -> bool:
    """Whether there is a GPU.

    >>> is_available() == (device_count() > 0)
    True
    """
    return cuda.is_available()


def device_count() -> int:
    """How many GPUs there are."""
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> device | None:
    """The kind of GPU there is; None without one."""
    return device("cuda") if cuda.is_available() else None


def current_device_index() -> int:
    """The index of the current GPU."""
    return cuda.current_device()


current_device_idx = current_device_index


def set_device_index(device: Any) -> None:
    """Chooses a GPU: only the first is current here, so another is ``NotImplementedError``."""
    if int(getattr(device, "index", device) or 0):
        raise NotImplementedError("minigrad's current GPU is always the first one; name others where tensors are made: "
                                  "device='cuda:1'")


set_device_idx = set_device_index


def synchronize(device: Any = None) -> None:
    """Wait until the GPU has done all it was asked to."""
    if cuda.is_available():
        cuda.synchronize(device)


def memory_allocated(device: Any = None) -> int:
    """Bytes that live tensors hold on the GPU."""
    return cuda.memory_allocated(device)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors held on the GPU at a time."""
    return cuda.max_memory_allocated(device)


def empty_cache() -> None:
    """Give memory that no tensor holds back to the driver."""
    cuda.empty_cache()
