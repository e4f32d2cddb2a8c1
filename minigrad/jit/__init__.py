"""Stage: front. In: a Python function over Tensors. Out: the same function, run as one program from its third call on:
``minigrad.jit(step)``. The package is called like the function; it is imported when it is first asked for.
Next: ``function.py``."""

import sys
from types import ModuleType
from typing import Any

from minigrad.jit.function import Jit, jit

__all__ = ["Jit", "jit"]


class _Package(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        return jit(*args, **options)


sys.modules[__name__].__class__ = _Package
