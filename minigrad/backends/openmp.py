"""Stage: front. In: nothing. Out: that threads do not come from OpenMP.
Next: ``minigrad/cuda/``."""

from __future__ import annotations


def is_available() -> bool:
    """False: the CPU device has threads of its own.

    >>> is_available()
    False
    """
    return False
