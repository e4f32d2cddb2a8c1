"""Stage: schedule, step 4. In: launches in order and the values that live only between them. Out: a place for each in
one arena; values that are never alive together share bytes. Next: ``plan.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

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
    for key in sorted(lifetimes, key=lambda k: -sizes[k]):
        size = -(-max(1, sizes[key]) // ALIGNMENT) * ALIGNMENT
        first, last = lifetimes[key]
        taken = sorted((offsets[k], offsets[k] + -(-max(1, sizes[k]) // ALIGNMENT) * ALIGNMENT) for k in offsets
                       if lifetimes[k][0] <= last and first <= lifetimes[k][1])
        offsets[key] = _lowest_gap(taken, size)
        total = max(total, offsets[key] + size)
    return offsets, total


def _lowest_gap(taken: Sequence[tuple[int, int]], size: int) -> int:
    at = 0
    for begin, end in taken:
        if begin - at >= size:
            return at
        at = max(at, end)
    return at
