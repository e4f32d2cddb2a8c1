"""Stage: front. In: what goes into and out of Tensors. Out: data sets, memory shared with other libraries, pictures.
Next: ``dlpack.py``."""

from __future__ import annotations

from typing import Any

from minigrad import lazily
from minigrad.utils import dlpack
from minigrad.utils.drawing import Drawing, draw

_SUBPACKAGES = ("benchmark", "checkpoint", "data", "model_zoo", "serialization", "tensorboard")

__all__ = ["Drawing", "dlpack", "draw"]


def __getattr__(name: str) -> Any:
    """``minigrad.utils.data`` and its like are imported when they are first asked for."""
    if name in _SUBPACKAGES:
        return lazily.module(f"minigrad.utils.{name}")
    raise AttributeError(f"module 'minigrad.utils' has no attribute {name!r}")
