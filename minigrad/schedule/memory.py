"""Stage: schedule, step 4. In: launches in order and the values that live only between them. Out: a place for each in
one arena; values that are never alive together share bytes.
Next: ``structure.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np

ALIGNMENT = 64
Key = TypeVar("Key")


def place(lifetimes: Mapping[Key, tuple[int, int]], sizes: Mapping[Key, int]) -> tuple[dict[Key, int], int]:
    """Byte offsets, and the size of the arena. ``lifetimes`` gives the first and the last launch that uses each value.
    Largest first, each at the lowest place that is free during its life.

    >>> place({"a": (0, 1), "b": (1, 2), "c": (2, 3)}, {"a": 100, "b": 64, "c": 100})
    ({'a': 0, 'c': 0, 'b': 128}, 192)
    """
    offsets: dict[Key, int] = {}
    total = 0
    # of each value that has its place, the lowest first: first and last byte, first and last launch
    placed = np.zeros((4, len(lifetimes)), np.int64)
    for count, key in enumerate(sorted(lifetimes, key=lambda k: -sizes[k])):
        size = -(-max(1, sizes[key]) // ALIGNMENT) * ALIGNMENT
        first, last = lifetimes[key]
        begin, end, born, dead = placed[:, :count]
        taken = (born <= last) & (first <= dead)
        offsets[key] = at = _lowest_gap(begin[taken], end[taken], size)
        total = max(total, at + size)
        position = int(begin.searchsorted(at))
        placed[:, position + 1:count + 1] = placed[:, position:count]
        placed[:, position] = at, at + size, first, last
    return offsets, total


def _lowest_gap(begins: np.ndarray, ends: np.ndarray, size: int) -> int:
    """The lowest place for ``size`` bytes between ranges, given by their ``begins``, in order, and ``ends``."""
    if not len(begins) or begins[0] >= size:
        return 0
    free_from = np.maximum.accumulate(ends)
    fits = (begins[1:] - free_from[:-1] >= size).nonzero()[0]
    return int(free_from[fits[0] if len(fits) else -1])
