"""Stage: front. In: what goes into and out of Tensors. Out: data sets, and memory shared with other libraries.
Next: ``dlpack.py``."""

from minigrad.utils import dlpack

__all__ = ["dlpack"]
