"""Stage: front. In: a number or several, as Modules take sizes. Out: one for each dimension.
Next: ``padding.py``."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.nn.functional.arguments import list_with_default as _list_with_default
from minigrad.nn.functional.arguments import one_per_dimension as _ntuple

__all__ = ["_list_with_default", "_ntuple", "_pair", "_quadruple", "_reverse_repeat_tuple", "_single", "_triple"]

_single = _ntuple(1, "_single")
_pair = _ntuple(2, "_pair")
_triple = _ntuple(3, "_triple")
_quadruple = _ntuple(4, "_quadruple")


def _reverse_repeat_tuple(t: Sequence[int], n: int) -> tuple[int, ...]:
    """The items from the last to the first, each n times, as ``F.pad`` wants a convolution's padding.

    >>> _reverse_repeat_tuple((1, 2), 2)
    (2, 2, 1, 1)
    """
    return tuple(x for x in reversed(t) for _ in range(n))
