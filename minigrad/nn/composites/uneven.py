"""Stage: front. In: values and how many windows each axis is to have. Out: as ``windows.py``, for windows that share an
axis out as evenly as whole numbers allow: adaptive pooling.
Window o of m along n elements reads floor(o n / m) to ceil((o + 1) n / m) - 1.
Next: ``pooling.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from minigrad.dtype import DType, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.nn.composites.windows import Even, Term, Windows, last_indexes
from minigrad.ops import Op


@dataclass(frozen=True, slots=True)
class Uneven:
    """``counts`` windows along the last axes, which have these ``lengths``. The methods are those of ``Even``."""

    lengths: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def pitches(self) -> tuple[int, ...]:
        """The largest size of a window along each axis."""
        return tuple([_largest(n, m) for n, m in zip(self.lengths, self.counts, strict=True)])

    def read(self, x: LazyBuffer, fill: float = 0) -> LazyBuffer:
        """The windows of the last axes: (…, count₁, …, size₁, …), ``fill`` where one is smaller than the largest."""
        space = (*self.counts, *self.pitches)
        places = [start.binary(Op.ADD, k).binary(Op.MINIMUM, k.like(n - 1))
                  for start, k, n in zip(self._starts(space, x.device), self.offsets(space, x.device, int64),
                                         self.lengths, strict=True)]
        read, inside = gathered(x, places), self.inside(x)
        return inside.where(read, read.like(fill))

    def inside(self, x: LazyBuffer) -> LazyBuffer:
        """Where an element of ``read`` belongs to its window."""
        space, rest = (*self.counts, *self.pitches), x.shape[:len(x.shape) - len(self.lengths)]
        mask = None
        for start, end, k in zip(self._starts(space, x.device), self._ends(space, x.device),
                                 self.offsets(space, x.device, int64), strict=True):
            here = start.binary(Op.ADD, k).binary(Op.LT, end)
            mask = here if mask is None else mask.binary(Op.AND, here)
        assert mask is not None
        return mask.reshape((*(1,) * len(rest), *space)).expand((*rest, *space))

    def starts(self, shape: tuple[int, ...], device: str) -> list[LazyBuffer]:
        """For each axis where the windows, on the last axes of ``shape``, begin."""
        return [_shared(o, n, m) for o, n, m in zip(last_indexes(shape, len(self.lengths), device, int64),
                                                    self.lengths, self.counts, strict=True)]

    def sizes(self, shape: tuple[int, ...], device: str) -> list[LazyBuffer]:
        """For each axis how many elements the windows, on the last axes of ``shape``, have."""
        return [_shared(o, n, m, 1).binary(Op.SUB, _shared(o, n, m))
                for o, n, m in zip(last_indexes(shape, len(self.lengths), device, int64), self.lengths, self.counts,
                                   strict=True)]

    def offsets(self, shape: tuple[int, ...], device: str, dtype: DType) -> list[LazyBuffer]:
        """For each axis how far from its window's begin an element stands, in windows of this shape."""
        return last_indexes(shape, len(self.lengths), device, dtype)

    def summed(self, shape: tuple[int, ...], device: str, dtype: DType, term: Term) -> LazyBuffer:
        """For each element of a value of this shape the sum of a term over the windows it is in: the windows that
        element i of n is in are those from floor(i m / n) to ceil((i + 1) m / n) - 1."""
        dims, rest = len(self.lengths), shape[:len(shape) - len(self.lengths)]
        depth = tuple([_largest(m, n) for n, m in zip(self.lengths, self.counts, strict=True)])
        space = (*self.lengths, *depth)
        elements, backs = [[LazyBuffer.index(space, first + i, device) for i in range(dims)] for first in (0, dims)]
        places, offsets, mask = [], [], None
        for i, j, n, m in zip(elements, backs, self.lengths, self.counts, strict=True):
            o = _shared(i, m, n).binary(Op.ADD, j)
            here = o.binary(Op.LT, _shared(i, m, n, 1))
            mask = here if mask is None else mask.binary(Op.AND, here)
            o = o.binary(Op.MINIMUM, o.like(m - 1))
            places.append(o)
            offsets.append(i.binary(Op.SUB, _shared(o, n, m)))
        assert mask is not None

        def whole(value: LazyBuffer) -> LazyBuffer:
            return value.reshape((*(1,) * len(rest), *space)).expand((*rest, *space))

        def at(value: LazyBuffer) -> LazyBuffer:
            read = gathered(value, places)
            return whole(mask).where(read, read.like(0))

        found = term(at, [whole(offset.cast(dtype)) for offset in offsets])
        return found.reduce(Op.SUM, tuple(range(len(rest) + dims, len(rest) + 2 * dims))).reshape(shape)

    def _starts(self, space: tuple[int, ...], device: str) -> list[LazyBuffer]:
        return [_shared(LazyBuffer.index(space, i, device), n, m)
                for i, (n, m) in enumerate(zip(self.lengths, self.counts, strict=True))]

    def _ends(self, space: tuple[int, ...], device: str) -> list[LazyBuffer]:
        return [_shared(LazyBuffer.index(space, i, device), n, m, 1)
                for i, (n, m) in enumerate(zip(self.lengths, self.counts, strict=True))]


def shared_out(lengths: tuple[int, ...], counts: tuple[int, ...]) -> Even | Uneven:
    """``counts`` windows along axes of these lengths, as adaptive pooling has them."""
    if 0 in counts or any([n % m for n, m in zip(lengths, counts, strict=True)]):
        return Uneven(lengths, counts)
    return Even(tuple([Windows(n // m, n // m, 0, 1, m) for n, m in zip(lengths, counts, strict=True)]))


def gathered(x: LazyBuffer, places: Sequence[LazyBuffer]) -> LazyBuffer:
    """x[…, places₁, places₂, …] of the last axes."""
    dims, rest = len(places), len(x.shape) - len(places)
    front = x.permute((*range(rest, rest + dims), *range(rest)))
    read = front.gather(places)
    last = len(read.shape) - rest
    return read.permute((*range(last, last + rest), *range(last)))


def _shared(o: LazyBuffer, n: int, m: int, end: int = 0) -> LazyBuffer:
    """floor(o n / m), or ceil((o + 1) n / m) for the end."""
    top = o.binary(Op.MUL, o.like(n))
    if end:
        top = top.binary(Op.ADD, top.like(n + m - 1))
    return top.binary(Op.FLOORDIV, top.like(max(m, 1)))


def _largest(n: int, m: int) -> int:
    """The longest of m windows that share n elements: that which begins last within an element. Of the windows' starts
    o n / m every multiple of gcd(n, m) / m occurs as the part after the point.

    >>> _largest(8, 4), _largest(8, 3), _largest(3, 7)
    (2, 4, 2)
    """
    if not m:
        return 0
    shared = gcd(n, m)
    n, m = n // shared, m // shared
    return -(-(m - 1 + n) // m)
