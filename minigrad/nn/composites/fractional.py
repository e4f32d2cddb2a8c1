"""Stage: front. In: values and random numbers. Out: the formulas of fractional max pooling: windows of one size whose
distances vary at random. (Graham 2014, https://arxiv.org/abs/1412.6071)
Next: ``resampling.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from minigrad.dtype import int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.nn.composites.pooling import largest
from minigrad.nn.composites.windows import Even, Windows, row_major
from minigrad.ops import Op
from minigrad.tensor.function import Function


def _starts(sample: LazyBuffer, shape: tuple[int, ...], axis: int, length: int, size: int) -> LazyBuffer:
    """Where the windows begin: int((o + u) a) - int(u a) with the random number u and
    a = (length - size) / (count - 1); the last one ends with the axis."""
    o, count = LazyBuffer.index(shape, axis, sample.device), shape[axis]
    last = o.like(length - size)
    if count <= 1:
        return last
    step = sample.like((length - size) / (count - 1))
    moved = o.cast(sample.dtype).binary(Op.ADD, sample).binary(Op.MUL, step).cast(int64)
    begin = moved.binary(Op.SUB, sample.binary(Op.MUL, step).cast(int64))
    return o.binary(Op.LT, o.like(count - 1)).where(begin, last)


def _fractional_max_pool(x: LazyBuffer, samples: LazyBuffer, sizes: tuple[int, ...],
                         counts: tuple[int, ...]) -> tuple[LazyBuffer, LazyBuffer]:
    """Maxima and where they stand in the last axes of x (N, C, …), row-major; samples (N, C, axes)."""
    dims, lengths = len(sizes), x.shape[2:]
    space = (*x.shape[:2], *counts, *sizes)
    starts, places = [], [LazyBuffer.index(space, axis, x.device) for axis in (0, 1)]
    for i in range(dims):
        which = dims - 1 - i if dims == 2 else i  # in two dimensions PyTorch's first number is that of the width
        sample = samples.shrink(((0, x.shape[0]), (0, x.shape[1]), (which, which + 1)))
        sample = sample.reshape((*x.shape[:2], *(1,) * dims)).expand((*x.shape[:2], *counts))
        starts.append(_starts(sample, sample.shape, 2 + i, lengths[i], sizes[i]))
        start = starts[-1].reshape((*sample.shape, *(1,) * dims)).expand(space)
        places.append(start.binary(Op.ADD, LazyBuffer.index(space, 2 + dims + i, x.device)))
    layout = Even(tuple([Windows(k, k, 0, 1, o) for k, o in zip(sizes, counts, strict=True)]))
    best, code = largest(x.gather(places), None, layout, dims)
    rest, coordinates = code.cast(int64), []
    for start, size in zip(reversed(starts), reversed(sizes), strict=True):
        coordinates.append(start.binary(Op.ADD, rest.binary(Op.MOD, rest.like(size))))
        rest = rest.binary(Op.FLOORDIV, rest.like(size))
    return best, row_major(coordinates[::-1], lengths)


def _fractional_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                         grads: Sequence[LazyBuffer | None], sizes: tuple[int, ...],
                         counts: tuple[int, ...]) -> tuple[LazyBuffer | None, None]:
    x, place, g = inputs[0], outputs[1], grads[0]
    if g is None:
        return None, None
    rows, width = math.prod(x.shape[:2]), math.prod(counts)
    row = LazyBuffer.index((rows, width), 0, x.device)
    empty = LazyBuffer.const(0.0, g.dtype, (rows, math.prod(x.shape[2:])), x.device)
    return empty.scatter(g.reshape((rows, width)), (row, place.reshape((rows, width))), "add").reshape(x.shape), None


FRACTIONAL_MAX_POOL = {
    dims: Function(f"fractional_max_pool{dims}d", _fractional_max_pool, f"FractionalMaxPool{dims}DBackward0",
                   _fractional_gradient) for dims in (2, 3)}
"""By the number of axes."""
