"""Stage: tests. In: a shape, a dtype and bounds. Out: a tensor of random numbers between them.
Next: ``minigrad/profiler/``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from minigrad.dtype import DType, bool_, int64
from minigrad.tensor import Tensor, empty, finfo, iinfo, randint, view_as_complex


def make_tensor(*shape: Any, dtype: DType, device: Any, low: float | None = None, high: float | None = None,
                requires_grad: bool = False, noncontiguous: bool = False, exclude_zero: bool = False,
                memory_format: Any = None) -> Tensor:
    """Random numbers from [low, high), by default [-9, 10) for integers (uint8: [0, 10)), [-9, 9) for floats and both
    truth values for bools. ``exclude_zero`` puts the smallest positive number in the place of zeros; ``noncontiguous``
    gives every second element of a larger tensor. ``ValueError`` for bounds that are no interval or not in the dtype.
    Source: https://docs.pytorch.org/docs/stable/testing.html

    >>> import minigrad
    >>> t = make_tensor(2, 3, dtype=minigrad.int64, device="cpu", low=1, high=4)
    >>> t.shape, bool(((t >= 1) & (t < 4)).all())
    (minigrad.Size([2, 3]), True)
    """
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else tuple(shape)
    if noncontiguous and memory_format is not None:
        raise ValueError("The parameters `noncontiguous` and `memory_format` are mutually exclusive, "
                         f"but got {noncontiguous=} and {memory_format=}")
    if dtype.is_complex:
        return _complex(sizes, dtype, device, low, high, requires_grad, noncontiguous, exclude_zero)
    integral = dtype.kind != "f"
    if requires_grad and integral:
        raise ValueError(f"`requires_grad=True` is not supported for boolean and integral dtypes, but got {dtype=}")
    noncontiguous = noncontiguous and math.prod(sizes) > 1
    if noncontiguous:
        sizes = (*sizes[:-1], 2 * sizes[-1])
    bounds = _bounds(dtype, low, high)
    if integral:
        result = randint(math.ceil(bounds[0]), math.ceil(bounds[1]), sizes, device=device, dtype=dtype)
    else:
        result = _uniform(empty(sizes, device=device, dtype=dtype), *bounds)
    if noncontiguous:
        result = result[..., 1::2]
    if exclude_zero:
        result[result == 0] = 1 if integral else finfo(dtype).tiny
    return result.requires_grad_(requires_grad) if not integral else result


def _complex(sizes: Any, dtype: DType, device: Any, low: float | None, high: float | None, requires_grad: bool,
             noncontiguous: bool, exclude_zero: bool) -> Tensor:
    """Both parts between the bounds."""
    noncontiguous = noncontiguous and math.prod(sizes) > 1
    if noncontiguous:
        sizes = (*sizes[:-1], 2 * sizes[-1])
    result = view_as_complex(_uniform(empty((*sizes, 2), device=device, dtype=dtype.part),
                                      *_bounds(dtype.part, low, high)))
    if noncontiguous:
        result = result[..., 1::2]
    if exclude_zero:
        result[result == 0] = finfo(dtype).tiny
    return result.detach().requires_grad_(requires_grad)


def _uniform(made: Tensor, low: float, high: float) -> Tensor:
    if high - low >= finfo(made.dtype).max:  # their difference may be no number of this type
        return made.uniform_(low / 2, high / 2).mul_(2)
    return made.uniform_(low, high)


def _bounds(dtype: DType, low: float | None, high: float | None) -> tuple[float, float]:
    """The bounds, or those of PyTorch, within the dtype."""
    if dtype is bool_:
        least, most, defaults = 0.0, 2.0, (0, 2)
    elif dtype.kind == "f":
        least, most, defaults = finfo(dtype).min, finfo(dtype).max, (-9, 9)
    else:
        info = iinfo(dtype)
        least, most, defaults = info.min, info.max + (1 if dtype is not int64 else 0), (-9, 10)
    low = defaults[0] if low is None else low
    high = defaults[1] if high is None else high
    if math.isnan(low) or math.isnan(high):
        raise ValueError(f"`low` and `high` cannot be NaN, but got {low=} and {high=}")
    if low == high and dtype.kind == "f":
        warnings.warn("Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is deprecated "
                      "since 2.1 and will be removed in 2.3. Use `torch.full(...)` instead.", FutureWarning,
                      stacklevel=3)
    elif low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    elif high < least or low >= most:
        raise ValueError(f"The value interval specified by `low` and `high` is [{low}, {high}), "
                         f"but {dtype} only supports [{least}, {most})")
    return min(max(low, least), most), min(max(high, least), most)
