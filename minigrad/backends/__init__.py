"""Stage: front. In: switches of single backends. Out: what the devices read when they compile. Named as PyTorch names
them.
Next: ``cuda.py``."""

from minigrad.backends import cuda

__all__ = ["cuda"]
