"""Stage: array API. In: arrays. Out: where their extremes are, sorted arrays, distinct elements, places.
Source: https://data-apis.org/array-api/latest/API_specification/searching_functions.html
Next: ``linalg.py``."""

from __future__ import annotations

from typing import Any, NamedTuple

from minigrad.array_api.promotion import same_dtype
from minigrad.dtype import int64
from minigrad.tensor import FUNCTIONS, Tensor

_of = FUNCTIONS


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first largest element; without an axis, in the row of all elements."""
    return _of["argmax"](x, axis, keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first smallest element."""
    return _of["argmin"](x, axis, keepdims)


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """The indices of what is not 0, an array for each axis; ``ValueError`` for a 0-d array."""
    if x.ndim == 0:
        raise ValueError("nonzero() does not support zero-dimensional arrays")
    return tuple(_of["nonzero"](x, as_tuple=True))


def searchsorted(x1: Tensor, x2: Any, /, *, side: str = "left", sorter: Tensor | None = None) -> Tensor:
    """Where the elements of x2 would be put into the sorted vector x1."""
    if sorter is not None:
        x1 = _of["index_select"](x1, 0, sorter.to(int64))
    x1, x2 = same_dtype(x1, x2)
    return _of["searchsorted"](x1.contiguous(), x2.contiguous(), side=side)


def sort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Sorted along an axis."""
    return _of["sort"](x, dim=axis, descending=descending, stable=stable)[0]


def argsort(x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort x along an axis."""
    return _of["sort"](x, dim=axis, descending=descending, stable=stable)[1]


# --- sets


class UniqueAll(NamedTuple):
    """What ``unique_all`` gives."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What ``unique_counts`` gives."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What ``unique_inverse`` gives."""

    values: Tensor
    inverse_indices: Tensor


def _sorted(x: Tensor) -> tuple[Tensor, Tensor]:
    """The elements of a vector in order, and their indices; of complex numbers by their real parts first."""
    if not x.dtype.is_complex:
        ordered, order = _of["sort"](x, stable=True)
        return ordered, order
    order = _of["argsort"](x.imag, stable=True)
    order = order[_of["argsort"](x.real[order], stable=True)]
    return x[order], order


def unique_all(x: Tensor, /) -> UniqueAll:
    """The distinct elements in order, where each is first, which each element is, how often each is there. Each NaN
    counts as another."""
    flat = x.reshape(-1)
    ordered, order = _sorted(flat)
    n = flat.numel()
    if n == 0:
        none = _of["zeros"](0, dtype=int64, device=x.device)
        return UniqueAll(flat.clone(), none, none.reshape(x.shape), none.clone())
    new = _of["cat"]([_of["ones"](1, dtype=_of["eq"](flat, flat).dtype, device=x.device), ordered[1:] != ordered[:-1]])
    starts = _of["nonzero"](new).reshape(-1)
    ends = _of["cat"]([starts[1:], _of["full"]((1,), n, device=x.device)])
    inverse = _of["zeros"](n, dtype=int64, device=x.device).scatter_(0, order, _of["cumsum"](new, 0) - 1)
    return UniqueAll(ordered[starts], order[starts], inverse.reshape(x.shape), ends - starts)


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """The distinct elements and how often each is there."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """The distinct elements and which of them each element is."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Tensor, /) -> Tensor:
    """The distinct elements in order."""
    return unique_all(x).values


def isin(x1: Any, x2: Any, /, *, invert: bool = False) -> Tensor:
    """Whether each element of x1 is among those of x2."""
    x1, x2 = same_dtype(x1, x2)
    found = (x1.reshape((*x1.shape, 1)) == x2.reshape(-1)).any(-1)
    return _of["logical_not"](found) if invert else found
