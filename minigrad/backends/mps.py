"""Stage: front. In: nothing. Out: that tensors can't live on an Apple GPU.
Next: ``mkldnn.py``."""

from __future__ import annotations


def is_available() -> bool:
    """False: minigrad has no device for Apple GPUs.

    >>> is_available()
    False
    """
    return False


def is_built() -> bool:
    """False: minigrad has no device for Apple GPUs.

    >>> is_built()
    False
    """
    return False
