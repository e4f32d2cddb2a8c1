"""Stage: front. In: what goes into and out of Tensors. Out: data sets, memory shared with other libraries, pictures.
Next: ``dlpack.py``."""

from minigrad.utils import dlpack
from minigrad.utils.drawing import Drawing, draw

__all__ = ["Drawing", "dlpack", "draw"]
