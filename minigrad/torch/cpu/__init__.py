"""Stage: PyTorch programs. In: nothing. Out: ``torch.cpu``: the device that is always there.
Next: ``amp.py``."""

from __future__ import annotations

from typing import Any

from minigrad import lazily


def is_available() -> bool:
    """True.

    >>> is_available()
    True
    """
    return True


def device_count() -> int:
    """1, as in PyTorch: all processors together."""
    return 1


def current_device() -> str:
    """``"cpu"``."""
    return "cpu"


def synchronize(device: Any = None) -> None:
    """Nothing: what was asked for on the CPU has been done."""


def __getattr__(name: str) -> Any:
    """``torch.cpu.amp`` is imported when it is first asked for."""
    if name == "amp":
        return lazily.module("minigrad.torch.cpu.amp")
    raise AttributeError(f"module 'torch.cpu' has no attribute {name!r}")
