"""Stage: PyTorch programs. In: nothing. Out: ``torch.xpu``, ``torch.mps`` and ``torch.mtia``: that there is no device
of these kinds.
Next: ``cpu.py``."""

from __future__ import annotations


def is_available() -> bool:
    """False: minigrad has no such device.

    >>> is_available()
    False
    """
    return False


def device_count() -> int:
    """0: minigrad has no such device.

    >>> device_count()
    0
    """
    return 0
