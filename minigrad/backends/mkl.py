"""Stage: front. In: nothing. Out: that products of matrices do not come from MKL.
Next: ``openmp.py``."""

from __future__ import annotations


def is_available() -> bool:
    """False: kernels are minigrad's own.

    >>> is_available()
    False
    """
    return False
