"""Stage: front. In: ``torch.backends.mkldnn.enabled`` and its like. Out: nothing: there is no oneDNN here, and nothing
depends on these. Programs ask for them.
Next: ``mkl.py``."""

from __future__ import annotations

enabled = True


def is_available() -> bool:
    """False: kernels are minigrad's own.

    >>> is_available()
    False
    """
    return False
