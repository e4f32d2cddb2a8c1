"""The names of the module ``torch`` that are not simply minigrad's: versions, settings and what PyTorch has for
compilers and devices that are not here.

Stage: PyTorch programs. In: a name. Out: what a program finds as ``torch.name``.
Next: ``version.py``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import minigrad
from minigrad.dtype import DType
from minigrad.tensor import FUNCTIONS
from minigrad.torch.version import __version__ as __version__

MISSING: Any = object()

dtype = DType
"""The class of ``torch.float32`` and its like."""

_HIDDEN = frozenset(("config", "devices", "inspect", "register_device", "composite", "realize", "tensor"))
"""Names of minigrad that PyTorch does not have."""


def find(name: str) -> Any:
    """``torch.name``, or ``MISSING``."""
    if name in _DEFINED:
        return _DEFINED[name]
    if name in FUNCTIONS:
        return FUNCTIONS[name]
    if name in minigrad.__all__ and name not in _HIDDEN:
        return getattr(minigrad, name)
    return MISSING


def every() -> Iterable[str]:
    """All names that ``find`` knows."""
    return {*_DEFINED, *FUNCTIONS, *minigrad.__all__} - _HIDDEN


_DEFINED: dict[str, Any] = {name: value for name, value in list(globals().items())
                            if getattr(value, "__module__", "").startswith("minigrad.torch") or name in (
                                "__version__", "dtype")}
for _private in ("find", "every"):
    del _DEFINED[_private]
