"""Stage: front. In: ``torch.backends.cudnn.benchmark = True`` and its like. Out: nothing: there is no cuDNN here, and
results are the same bits at every run, whatever these say. Programs set them.
Next: ``mps.py``."""

from __future__ import annotations

enabled = True
benchmark = False
deterministic = False
allow_tf32 = True
benchmark_limit = 10


def is_available() -> bool:
    """Whether kernels of cuDNN could run: never, minigrad's are its own.

    >>> is_available()
    False
    """
    return False


def version() -> int | None:
    """The version of cuDNN: None.

    >>> version()
    """
    return None
