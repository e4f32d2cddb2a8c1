"""Stage: PyTorch programs. In: nothing. Out: ``torch.cpu``: the device that is always there.
Next: ``distributed.py``."""

from __future__ import annotations

from typing import Any


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
