"""Stage: array API. In: arrays. Out: sums, means, extremes, questions over axes, running sums, differences.
Source: https://data-apis.org/array-api/latest/API_specification/statistical_functions.html
Next: ``searching.py``."""

from __future__ import annotations

from typing import Any

from minigrad.array_api.manipulation import concat
from minigrad.array_api.promotion import to_sum
from minigrad.dtype import DType, bool_
from minigrad.tensor import FUNCTIONS, Tensor

_of = FUNCTIONS


def _axes(x: Tensor, axis: Any) -> tuple[int, ...]:
    """The axes, from 0 on; None: all."""
    if axis is None:
        return tuple(range(x.ndim))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    for a in axes:
        if not -x.ndim <= a < x.ndim:
            raise IndexError(f"axis {a} is out of range for {x.ndim} dimensions")
    return tuple([a % x.ndim for a in axes])


def _over(name: str, x: Tensor, axis: Any, keepdims: bool, **options: Any) -> Tensor:
    axes = _axes(x, axis)
    if not axes and x.ndim:  # no axis at all: each element by itself
        return _of[name](x.reshape((*x.shape, 1)), -1, False, **options)
    return _of[name](x, axes, keepdims, **options) if axes else _of[name](x.reshape(1), 0, False, **options)


def sum(x: Tensor, /, *, axis: Any = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    """The sum; integers add up at least in 64 bits."""
    dtype = to_sum(x, dtype)
    return _over("sum", x.to(dtype), axis, keepdims, dtype=dtype)


def prod(x: Tensor, /, *, axis: Any = None, dtype: DType | None = None, keepdims: bool = False) -> Tensor:
    """The product; integers at least in 64 bits."""
    dtype = to_sum(x, dtype)
    x = x.to(dtype)
    axes = _axes(x, axis)
    if len(axes) == x.ndim:
        found = _of["prod"](x, dtype=dtype)
        return found.reshape((1,) * x.ndim) if keepdims else found
    for a in sorted(axes, reverse=True):
        x = _of["prod"](x, a, keepdims, dtype=dtype)
    return x if axes else x.clone()


def mean(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The mean."""
    return _over("mean", x, axis, keepdims)


def max(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The largest element; NaN if there is one."""
    return _over("amax", x, axis, keepdims)


def min(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The smallest element; NaN if there is one."""
    return _over("amin", x, axis, keepdims)


def var(x: Tensor, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The variance, divided by n - correction."""
    return _spread("var", x, axis, correction, keepdims)


def std(x: Tensor, /, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Tensor:
    """The square root of ``var``."""
    return _spread("std", x, axis, correction, keepdims)


def _spread(name: str, x: Tensor, axis: Any, correction: float, keepdims: bool) -> Tensor:
    axes = _axes(x, axis)
    if not axes:
        x, axes, keepdims = x.reshape((*x.shape, 1)), (x.ndim,), False
    return _of[name](x, axes, correction=correction, keepdim=keepdims)


def any(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether an element is not 0."""
    return _over("any", x.to(bool_), axis, keepdims)


def all(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """Whether no element is 0."""
    return _over("all", x.to(bool_), axis, keepdims)


def count_nonzero(x: Tensor, /, *, axis: Any = None, keepdims: bool = False) -> Tensor:
    """How many elements are not 0."""
    return sum(x != 0, axis=axis, keepdims=keepdims)


def cumulative_sum(x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None,
                   include_initial: bool = False) -> Tensor:
    """The sums of all elements up to each; with ``include_initial`` a 0 comes first."""
    return _running("cumsum", 0, x, axis, dtype, include_initial)


def cumulative_prod(x: Tensor, /, *, axis: int | None = None, dtype: DType | None = None,
                    include_initial: bool = False) -> Tensor:
    """The products of all elements up to each; with ``include_initial`` a 1 comes first."""
    return _running("cumprod", 1, x, axis, dtype, include_initial)


def _running(name: str, first: int, x: Tensor, axis: int | None, dtype: DType | None,
             include_initial: bool) -> Tensor:
    if axis is None:
        if x.ndim != 1:
            raise ValueError("axis must be given for an array that is no vector")
        axis = 0
    axis = _axes(x, axis)[0]
    dtype = to_sum(x, dtype)
    found = _of[name](x.to(dtype), axis, dtype=dtype)
    if not include_initial:
        return found
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1:])
    return concat([_of["full"](shape, first, dtype=dtype, device=x.device), found], axis=axis)


def diff(x: Tensor, /, *, axis: int = -1, n: int = 1, prepend: Tensor | None = None,
         append: Tensor | None = None) -> Tensor:
    """The differences of neighbours along an axis, n times over."""
    return _of["diff"](x, n, axis, prepend, append)
