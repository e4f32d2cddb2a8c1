"""Stage: front. In: numbers, and the segment or bin that each belongs to. Out: what the segments add up to, and how
many numbers fall into the bins. All of it is SCATTER.
Next: ``parts.py``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from minigrad.dtype import accumulator, float32, float64, int32, int64
from minigrad.tensor.creation import full
from minigrad.tensor.definition import both, by_rows, function
from minigrad.tensor.elements import concrete, known
from minigrad.tensor.operands import dim_index, require_tensor
from minigrad.tensor.promotion import type_name
from minigrad.tensor.ranges import linspace

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

_REDUCTIONS = {"sum": "sum", "mean": "mean", "prod": "prod", "max": "amax", "min": "amin", "amax": "amax",
               "amin": "amin"}
_EMPTY = {"sum": 0.0, "mean": math.nan, "prod": 1.0, "amax": -math.inf, "amin": math.inf}
"""What a segment without elements gives."""


@function("segment_reduce", "_segment_reduce")
def segment_reduce(data: Tensor, reduce: str, *, lengths: Tensor | None = None, indices: Tensor | None = None,
                   offsets: Tensor | None = None, axis: int = 0, unsafe: bool = False,
                   initial: Any = None) -> Tensor:
    """The "sum", "mean", "prod", "max" or "min" of each segment of ``data`` along ``axis``. The last dimension of
    ``lengths`` has the length of each, or that of ``offsets`` where each begins, and where the last ends; the
    dimensions before are those of ``data``. ``initial`` is joined with every segment.

    ``RuntimeError`` for lengths that are negative or, unless ``unsafe``, do not add up to the size of the axis.
    (https://docs.pytorch.org/docs/stable/generated/torch.segment_reduce.html)

    >>> import minigrad
    >>> data, lengths = minigrad.tensor([1.0, 2.0, 3.0]), minigrad.tensor([2, 0, 1])
    >>> minigrad.segment_reduce(data, "sum", lengths=lengths)
    tensor([3., 0., 3.])
    """
    if reduce not in _REDUCTIONS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    along = dim_index(axis, data.ndim)
    if data.numel() < 0 or not data.ndim:
        raise RuntimeError("segment_reduce(): Expected data.dim() > 0")
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported yet.")
    if lengths is None and offsets is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if not data.dtype.is_float:
        raise NotImplementedError(f'"_segment_reduce_cpu" not implemented for \'{type_name(data.dtype)}\'')
    bounds = lengths if lengths is not None else offsets
    assert bounds is not None
    if bounds.dtype is not int64 and bounds.dtype is not int32:
        raise NotImplementedError(f'"_segment_reduce_lengths_cpu_kernel1" not implemented for '
                                  f"'{type_name(bounds.dtype)}'")
    if bounds.ndim - 1 != along:
        what = "lengths" if lengths is not None else "offsets"
        raise RuntimeError(f"segment_reduce(): Expected axis to be the last dimension of {what} but got {along}.")
    if lengths is not None:
        _check_lengths(lengths, data.shape[along], unsafe)
        last = lengths.to(int64).cumsum(-1)
        first = last - lengths
    else:
        first, last = bounds[..., :-1].to(int64), bounds[..., 1:].to(int64)
    return _segments(data, _REDUCTIONS[reduce], first, last, along, initial)


def _check_lengths(lengths: Tensor, size: int, unsafe: bool) -> None:
    array = None if unsafe else known(lengths)
    if array is None:
        return
    if array.size and array.min() < 0:
        raise RuntimeError("lengths contains negative value!")
    if (array.sum(-1) != size).any():
        raise RuntimeError("segment_reduce(): Expected all rows of lengths along axis to sum to "
                           "data.size(lengths.dim()-1) when !unsafe.")


def _segments(data: Tensor, reduce: str, first: Tensor, last: Tensor, axis: int, initial: Any) -> Tensor:
    """Each element goes to the segment that begins at it or before and ends after it; one more takes those of none."""
    leading, size = data.shape[:axis], data.shape[axis]
    count = last.shape[-1]
    starts = full((*leading, size + 1), 0, dtype=int64, device=data.device)
    starts = starts.scatter_add(axis, first.clamp(0, size), first.new_ones(first.shape))
    ends = full((*leading, size + 1), 0, dtype=int64, device=data.device)
    ends = ends.scatter_add(axis, last.clamp(0, size), last.new_ones(last.shape))
    begun, ended = [t.cumsum(axis).narrow(axis, 0, size) for t in (starts, ends)]
    segment = (begun - 1).where(begun > ended, begun.new_full((), count))
    tail = data.ndim - axis - 1
    segment = segment.reshape((*segment.shape, *[1] * tail)).expand(data.shape)
    start = _EMPTY["sum" if reduce == "mean" else reduce] if initial is None else initial
    base = data.new_full((*leading, count + 1, *data.shape[axis + 1:]), float(start))
    found = base.scatter_reduce(axis, segment, data, "sum" if reduce == "mean" else reduce)
    found = found.narrow(axis, 0, count)
    if reduce == "mean":
        lengths = (last - first).reshape((*last.shape, *[1] * tail)).to(data.dtype)
        if initial is None:
            return found / lengths
        return (found / lengths.clamp(min=1)).where(lengths > 0, found)
    return found


class Segments:
    """How many elements, or what they weigh, fall into bins."""

    __slots__ = ()

    @both("bincount")
    def bincount(self: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
        """How often each of 0, 1, 2 … occurs in a vector of non-negative integers, or the sum of its weights.

        >>> import minigrad
        >>> minigrad.tensor([3, 1, 3]).bincount()
        tensor([0, 1, 0, 2])
        """
        if not self.dtype.is_int:
            raise NotImplementedError(f"\"bincount_cpu\" not implemented for '{type_name(self.dtype)}'")
        if minlength < 0:
            raise RuntimeError("minlength should be >= 0")
        if self.ndim == 1 and not self.numel():
            return full((minlength,), 0, dtype=int64, device=self.device)
        rows = by_rows(type(self).bincount, self, weights, minlength)
        if rows is not None:
            return rows
        array = concrete(self, "bincount")
        if self.ndim != 1 or array.min() < 0:
            raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
        if weights is None:
            weights = self.new_ones(self.shape, dtype=int64)
        elif weights.shape != self.shape:
            raise RuntimeError("weights should be 1-d and have the same length as input")
        elif weights.dtype is not float32:
            weights = weights.to(float64)
        base = full((max(minlength, int(array.max()) + 1),), 0, dtype=weights.dtype, device=self.device)
        return base.index_add(0, self.to(int64), weights)

    @both("histc")
    def histc(self: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
        """How many elements fall into each of ``bins`` equal parts of [min, max] (by default of their range); those
        outside, and NaN, count nowhere.

        >>> import minigrad
        >>> minigrad.tensor([1.0, 2.0, 1.0]).histc(4, 0, 3)
        tensor([0., 2., 1., 0.])
        """
        require_tensor(self, "histc", "input", 1)
        if not self.dtype.is_float:
            raise NotImplementedError(f"\"histogram_cpu\" not implemented for '{type_name(self.dtype)}'")
        if bins <= 0:
            raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
        rows = by_rows(type(self).histc, self, bins, min, max)
        if rows is not None:
            return rows
        low, high = float(min), float(max)
        if low == high and self.numel():
            array = concrete(self, "histc")
            low, high = float(array.min()), float(array.max())
        if low == high:
            low, high = low - 1, high + 1
        if not (math.isfinite(low) and math.isfinite(high)):
            raise RuntimeError(f"torch.histc: range of [{low:g}, {high:g}] is not finite")
        if low > high:
            raise RuntimeError("torch.histc: max must be larger than min")
        flat = self.detach().reshape(-1).to(accumulator(self.dtype))  # bins may be narrower than steps of a half type
        inside = (flat >= low) & (flat <= high)
        edges = linspace(low, high, bins + 1, dtype=flat.dtype, device=self.device)
        guess = ((flat - edges[0]) / (edges[-1] - edges[0]) * bins).where(inside, flat.new_zeros(())).to(int64)
        first, end = (guess - 1).clamp(min=0), (guess + 2).clamp(max=bins + 1)
        place = first - 1
        for k in range(3):  # the guess may be one off: the edges decide
            place = place + ((first + k < end) & (edges[(first + k).clamp(max=bins)] <= flat)).to(int64)
        place = place.clamp(0, bins - 1)
        return full((bins,), 0, dtype=self.dtype, device=self.device).index_add(0, place, inside.to(self.dtype))


