"""Stage: front. In: a Python function over Tensors. Out: the same function, run as one program from its third call on.
Next: ``function.py``."""

from minigrad.jit.function import Jit, jit

__all__ = ["Jit", "jit"]
