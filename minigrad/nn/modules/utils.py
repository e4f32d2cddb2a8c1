"""Stage: front. In: a number or several, as Modules take sizes. Out: one for each dimension.
Next: ``padding.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.nn.functional.arguments import list_with_default as _list_with_default
from minigrad.nn.functional.arguments import one_per_dimension as _ntuple

__all__ = ["_list_with_default", "_ntuple", "_pair", "_quadruple", "_reverse_repeat_tuple", "_single", "_triple",
           "factory_kwargs"]

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


def factory_kwargs(kwargs: dict[str, Any] | None) -> dict[str, Any]:
    """The ``device``, ``dtype`` and ``memory_format`` of a layer's keywords, with those of a keyword
    ``factory_kwargs``; ``TypeError`` for others, and for one given twice.

    >>> factory_kwargs({"dtype": 1, "factory_kwargs": {"device": "cpu"}})
    {'device': 'cpu', 'dtype': 1}
    """
    plain = dict(kwargs or {})
    found = dict(plain.pop("factory_kwargs", {}))
    unknown = plain.keys() - {"device", "dtype", "memory_format"}
    if unknown:
        raise TypeError(f"unexpected kwargs {unknown}")
    for name, value in plain.items():
        if name in found:
            raise TypeError(f"{name} specified twice, in **kwargs and in factory_kwargs")
        found[name] = value
    return found
