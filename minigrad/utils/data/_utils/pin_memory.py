"""Stage: front. In: a batch. Out: the batch in pinned memory, by the ``pin_memory`` methods of its parts.
Next: ``worker.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minigrad.utils.data._utils.collate import rebuilt


def pin_memory(data: Any, device: Any = None) -> Any:
    """``data`` with everything in it that has a method ``pin_memory`` replaced by what that returns.

    >>> class Batch:
    ...     def pin_memory(self):
    ...         return "pinned"
    >>> pin_memory([Batch(), 1])
    ['pinned', 1]
    """
    if hasattr(data, "pin_memory"):
        return data.pin_memory()
    if isinstance(data, tuple) and not hasattr(data, "_fields"):
        return type(data)([pin_memory(part, device) for part in data])
    if isinstance(data, Mapping | Sequence) and not isinstance(data, str | bytes):
        return rebuilt(data, lambda at: pin_memory(data[at], device))
    return data
