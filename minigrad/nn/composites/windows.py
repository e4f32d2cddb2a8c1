"""Stage: front. In: values and the geometry of a pooling. Out: its windows side by side on new axes; and for each
element the windows that read it. Nothing is stored: a window is a way to read.
Next: ``uneven.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minigrad.dtype import DType, bool_, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.nn.composites.padding import constant_pad
from minigrad.ops import Op

At = Callable[[LazyBuffer], LazyBuffer]
Term = Callable[[At, Sequence[LazyBuffer]], LazyBuffer]
"""``term(at, offsets)``: ``at(value)`` reads a value of the windows' shape at the windows of an element, 0 where there
is none; ``offsets`` say for each axis how far from that window's begin the element stands."""


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows along one axis: window o reads ``size`` elements from ``o * stride - padding`` on, ``dilation``
    apart; there are ``count``. What lies beyond the axis is filled."""

    size: int
    stride: int
    padding: int
    dilation: int
    count: int

    @property
    def span(self) -> int:
        """Elements from the first of a window to its last."""
        return (self.size - 1) * self.dilation + 1

    @property
    def apart(self) -> bool:
        """Whether no element is in two windows: then the axis is only cut into pieces."""
        return self.span <= self.stride

    @property
    def depth(self) -> int:
        """In how many windows' spans an element may lie."""
        return (self.span - 1) // self.stride + 1

    def overhangs(self, length: int) -> bool:
        """Whether a window reads beyond an axis of this length."""
        return self.padding > 0 or (self.count - 1) * self.stride + self.span - self.padding > length


@dataclass(frozen=True, slots=True)
class Even:
    """Windows of one size at equal distances along the last axes. ``Uneven`` has the same methods."""

    axes: tuple[Windows, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """How many windows each axis has."""
        return tuple([w.count for w in self.axes])

    @property
    def pitches(self) -> tuple[int, ...]:
        """For each axis more than any offset that ``summed`` gives."""
        return tuple([w.depth * w.stride for w in self.axes])

    def read(self, x: LazyBuffer, fill: float = 0) -> LazyBuffer:
        """The windows of the last axes: (…, count₁, count₂, …, size₁, size₂, …), ``fill`` where they read beyond."""
        dims, rest = len(self.axes), len(x.shape) - len(self.axes)
        lengths = [w.count * w.stride if w.apart else (w.count - 1) * w.stride + w.span for w in self.axes]
        sides = tuple([(w.padding, length - size - w.padding)
                       for w, length, size in zip(self.axes, lengths, x.shape[rest:], strict=True)])
        if any([side != (0, 0) for side in sides]):
            x = constant_pad(x, ((0, 0),) * rest + sides, fill)
        overlapping = [(rest + i, w.size, w.stride, w.dilation) for i, w in enumerate(self.axes) if not w.apart]
        if overlapping:
            x = x.window(tuple(overlapping))
        # axes whose windows are apart still have their length: (count, stride) each, of which the span is read
        shape, counts, sizes = list(x.shape[:rest]), [], []
        for w in self.axes:
            counts.append(len(shape))
            sizes.append(len(shape) + 1)
            shape += [w.count, w.stride] if w.apart else [w.count]
        for i, w in enumerate(self.axes):
            if not w.apart:
                sizes[i] = len(shape)
                shape.append(w.size)
        x = x.reshape(tuple(shape)).permute((*range(rest), *counts, *sizes))
        box, steps = [(0, size) for size in x.shape], [1] * len(x.shape)
        for i, w in enumerate(self.axes, rest + dims):
            if w.apart:
                box[i], steps[i] = (0, w.span), w.dilation
        return x.shrink(tuple(box)).stride(tuple(steps))

    def inside(self, x: LazyBuffer) -> LazyBuffer | None:
        """Where the windows read x and nothing beyond it; None if they never read beyond."""
        lengths = x.shape[len(x.shape) - len(self.axes):]
        if not any([w.overhangs(length) for w, length in zip(self.axes, lengths, strict=True)]):
            return None
        return self.read(LazyBuffer.const(True, bool_, x.shape, x.device))

    def starts(self, shape: tuple[int, ...], device: str) -> list[LazyBuffer]:
        """For each axis where the windows, on the last axes of ``shape``, begin."""
        return [scaled(index, w.stride).binary(Op.SUB, index.like(w.padding))
                for index, w in zip(last_indexes(shape, len(self.axes), device, int64), self.axes, strict=True)]

    def offsets(self, shape: tuple[int, ...], device: str, dtype: DType) -> list[LazyBuffer]:
        """For each axis how far from its window's begin an element stands, in windows of this shape."""
        return [scaled(index, w.dilation)
                for index, w in zip(last_indexes(shape, len(self.axes), device, dtype), self.axes, strict=True)]

    def summed(self, shape: tuple[int, ...], device: str, dtype: DType, term: Term) -> LazyBuffer:
        """For each element of a value of this shape the sum of a term over the windows in whose span it lies.

        The element at q * stride + r, counted from the padding's begin, lies in the windows q, q - 1, …, at the
        offsets r, r + stride, …: these windows are read by a window of ``depth``."""
        dims, rest = len(self.axes), len(shape) - len(self.axes)
        pieces = [-(-(w.padding + length) // w.stride) for w, length in zip(self.axes, shape[rest:], strict=True)]
        depth = tuple([w.depth for w in self.axes])
        apart = (*shape[:rest], *[n for q in pieces for n in (q, 1)], *depth)
        full = (*shape[:rest], *[n for q, w in zip(pieces, self.axes, strict=True) for n in (q, w.stride)], *depth)

        def at(value: LazyBuffer) -> LazyBuffer:
            sides = tuple([(w.depth - 1, q - w.count) for q, w in zip(pieces, self.axes, strict=True)])
            value = constant_pad(value, ((0, 0),) * rest + sides, 0)
            if max(depth) > 1:
                value = value.window(tuple([(rest + i, d, 1, 1) for i, d in enumerate(depth)]))
                value = value.flip(tuple(range(rest + dims, rest + 2 * dims)))
            return value.reshape(apart).expand(full)

        first = rest + 2 * dims
        offsets = []
        for i, w in enumerate(self.axes):
            r, back = [LazyBuffer.index(full, axis, device).cast(dtype) for axis in (rest + 2 * i + 1, first + i)]
            offsets.append(r.binary(Op.ADD, scaled(back, w.stride)))
        result = term(at, offsets).reduce(Op.SUM, tuple(range(first, first + dims)))
        result = result.reshape((*shape[:rest], *[q * w.stride for q, w in zip(pieces, self.axes, strict=True)]))
        return result.shrink((*[(0, n) for n in shape[:rest]],
                              *[(w.padding, w.padding + n) for w, n in zip(self.axes, shape[rest:], strict=True)]))


def last_indexes(shape: tuple[int, ...], dims: int, device: str, dtype: DType) -> list[LazyBuffer]:
    """The coordinates along each of the last axes."""
    return [LazyBuffer.index(shape, axis, device).cast(dtype) for axis in range(len(shape) - dims, len(shape))]


def scaled(index: LazyBuffer, factor: int) -> LazyBuffer:
    """``index`` times a constant."""
    return index if factor == 1 else index.binary(Op.MUL, index.like(factor))


def row_major(coordinates: Sequence[LazyBuffer], sizes: Sequence[int]) -> LazyBuffer:
    """The position of coordinates in a box of these sizes."""
    result = coordinates[0]
    for coordinate, size in zip(coordinates[1:], sizes[1:], strict=True):
        result = scaled(result, size).binary(Op.ADD, coordinate)
    return result
