"""Stage: front. In: values and windows along their last axes. Out: the formulas of pooling.
A maximum is one pass over its window and a second that finds where it stands; backward reads that place, for each
element from the windows it is in, so it writes no element twice.
Next: ``fractional.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from minigrad.dtype import accumulator, int16, int32, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.nn.composites.uneven import Uneven
from minigrad.nn.composites.windows import At, Even, row_major
from minigrad.ops import Op
from minigrad.tensor import Tensor, composite
from minigrad.tensor.function import Function

Layout = Even | Uneven


def _max_pool(x: LazyBuffer, layout: Layout) -> tuple[LazyBuffer, LazyBuffer, LazyBuffer]:
    """The maxima; where in its window each stands, as one number; and where in the last axes, row-major."""
    dims = len(layout.counts)
    lowest = -math.inf if x.dtype.is_float else x.dtype.min
    read = layout.read(x, lowest)
    best, place = largest(read, layout.inside(x), layout, dims)
    return best, place, _flat_place(x, place, layout)


def largest(read: LazyBuffer, inside: LazyBuffer | None, layout: Layout,
            dims: int) -> tuple[LazyBuffer, LazyBuffer]:
    """The maximum over the last axes of windows, and its offsets from the window's begin as one number, row-major in a
    box of ``layout.pitches``: the first of several, or the last NaN."""
    axes = tuple(range(len(read.shape) - dims, len(read.shape)))
    best = read.reduce(Op.MAX, axes)
    codes = math.prod(layout.pitches)
    wide = int16 if codes < int16.max else int32
    code = row_major(layout.offsets(read.shape, read.device, wide), layout.pitches)
    found = read.binary(Op.EQ, best.expand(read.shape))
    if inside is not None:
        found = found.binary(Op.AND, inside)
    key = found.where(code, code.like(codes))
    if not read.dtype.is_float:
        first = key.reduce(Op.MIN, axes)
    else:  # a NaN has a negative key, the less the later it comes
        is_nan = read.binary(Op.EQ, read).unary(Op.NOT)
        least = is_nan.where(code.like(-1).binary(Op.SUB, code), key).reduce(Op.MIN, axes)
        first = least.binary(Op.LT, least.like(0)).where(least.like(-1).binary(Op.SUB, least), least)
    shape = read.shape[:-dims]
    return best.reshape(shape), first.reshape(shape).cast(uint8 if codes <= 256 else int32)


def _flat_place(x: LazyBuffer, place: LazyBuffer, layout: Layout) -> LazyBuffer:
    """The row-major position in the last axes of x, int64."""
    starts = layout.starts(place.shape, place.device)
    rest, coordinates = place.cast(starts[0].dtype), []
    for start, pitch in zip(reversed(starts), reversed(layout.pitches), strict=True):
        coordinates.append(start.binary(Op.ADD, rest.binary(Op.MOD, rest.like(pitch))))
        rest = rest.binary(Op.FLOORDIV, rest.like(pitch))
    return row_major(coordinates[::-1], x.shape[len(x.shape) - len(starts):])


def _max_pool_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                       grads: Sequence[LazyBuffer | None], layout: Layout) -> tuple[LazyBuffer | None]:
    """Each element gets the gradients of the windows whose maximum it is."""
    x, place, g = inputs[0], outputs[1], grads[0]
    if g is None:
        return (None,)
    given = g

    def term(at: At, offsets: Sequence[LazyBuffer]) -> LazyBuffer:
        read = at(given)
        chosen = at(place).binary(Op.EQ, row_major(offsets, layout.pitches).cast(place.dtype))
        return chosen.where(read, read.like(0.0))

    return (layout.summed(x.shape, x.device, int32, term),)


# --- averages


def _divisor(like: LazyBuffer, lengths: Sequence[int], layout: Layout, include_pad: bool,
             override: int | None) -> LazyBuffer:
    """By what the sum over each window is divided."""
    if override is not None:
        return like.like(override)
    if isinstance(layout, Uneven):
        sizes = layout.sizes(like.shape, like.device)
    elif not any([w.overhangs(n) for w, n in zip(layout.axes, lengths, strict=True)]):
        return like.like(math.prod([w.size for w in layout.axes]))
    else:
        sizes = []
        for start, w, n in zip(layout.starts(like.shape, like.device), layout.axes, lengths, strict=True):
            end = start.binary(Op.ADD, start.like(w.size)).binary(
                Op.MINIMUM, start.like(n + w.padding if include_pad else n))
            begin = start if include_pad else start.binary(Op.MAXIMUM, start.like(0))
            sizes.append(end.binary(Op.SUB, begin))
    product = sizes[0]
    for size in sizes[1:]:
        product = product.binary(Op.MUL, size)
    return product.cast(like.dtype)


def _avg_pool(x: LazyBuffer, layout: Layout, include_pad: bool, override: int | None) -> LazyBuffer:
    """The means over the windows; halves are summed in float32, integers are divided towards zero."""
    dims, wide = len(layout.counts), x.cast(accumulator(x.dtype))
    read = layout.read(wide)
    axes = tuple(range(len(read.shape) - dims, len(read.shape)))
    total = read.reduce(Op.SUM, axes).reshape(read.shape[:-dims])
    divisor = _divisor(total, x.shape[len(x.shape) - dims:], layout, include_pad, override)
    if total.dtype.is_float:
        return total.binary(Op.DIV, divisor).cast(x.dtype)
    zero = total.like(0)
    size = total.unary(Op.ABS).binary(Op.FLOORDIV, divisor.unary(Op.ABS))
    negative = total.binary(Op.LT, zero).binary(Op.XOR, divisor.binary(Op.LT, zero))
    return negative.where(size.unary(Op.NEG), size)


def _avg_pool_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer],
                       layout: Layout, include_pad: bool, override: int | None) -> tuple[LazyBuffer]:
    """Each element gets its share of the gradients of the windows it is in."""
    x, dims = inputs[0], len(layout.counts)
    g = grads[0].cast(accumulator(x.dtype))
    share = g.binary(Op.DIV, _divisor(g, x.shape[len(x.shape) - dims:], layout, include_pad, override))

    def term(at: At, offsets: Sequence[LazyBuffer]) -> LazyBuffer:
        read = at(share)
        if isinstance(layout, Even):
            for offset, w in zip(offsets, layout.axes, strict=True):
                if w.depth * w.stride > w.size:
                    read = offset.binary(Op.LT, offset.like(w.size)).where(read, read.like(0.0))
        return read

    return (layout.summed(x.shape, x.device, int32, term).cast(x.dtype),)


# --- unpooling


def _max_unpool(x: LazyBuffer, place: LazyBuffer, size: tuple[int, ...]) -> LazyBuffer:
    """Zeros of this size with x at the places, row-major in the last axes; the last of several stays."""
    rest = x.shape[:len(x.shape) - len(size)]
    rows, width = math.prod(rest), math.prod(x.shape[len(rest):])
    flat = (rows, width)
    empty = LazyBuffer.const(0, x.dtype, (rows, math.prod(size)), x.device)
    row = LazyBuffer.index(flat, 0, x.device)
    return empty.scatter(x.reshape(flat), (row, place.reshape(flat)), "set").reshape((*rest, *size))


def _max_unpool_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer],
                         size: tuple[int, ...]) -> tuple[LazyBuffer, None]:
    x, place = inputs
    rest = x.shape[:len(x.shape) - len(size)]
    rows, flat = math.prod(rest), (math.prod(rest), math.prod(x.shape[len(rest):]))
    row = LazyBuffer.index(flat, 0, x.device)
    read = grads[0].reshape((rows, math.prod(size))).gather((row, place.reshape(flat)))
    return read.reshape(x.shape), None


def _rows(name: str, formula: object, gradient: object, node: str) -> dict[int, Function]:
    return {dims: Function(f"{name}{dims}d", formula, node.format(dims), gradient)  # type: ignore[arg-type]
            for dims in (1, 2, 3)}


MAX_POOL = _rows("max_pool", _max_pool, _max_pool_gradient, "MaxPool{}DWithIndicesBackward0")
ADAPTIVE_MAX_POOL = _rows("adaptive_max_pool", _max_pool, _max_pool_gradient, "AdaptiveMaxPool{}DBackward0")
AVG_POOL = _rows("avg_pool", _avg_pool, _avg_pool_gradient, "AvgPool{}DBackward0")
ADAPTIVE_AVG_POOL = _rows("adaptive_avg_pool", _avg_pool, _avg_pool_gradient, "AdaptiveAvgPool{}DBackward0")
OVERALL_AVG_POOL = _rows("adaptive_avg_pool", _avg_pool, _avg_pool_gradient, "MeanBackward1")
MAX_UNPOOL = _rows("max_unpool", _max_unpool, _max_unpool_gradient, "MaxUnpool{}DBackward0")
"""By the number of axes."""


@composite
def lp_pool(input: Tensor, *, layout: Even, norm_type: float, elements: int) -> Tensor:
    """(sum of x^p over each window)^(1/p), from the mean, as PyTorch does it."""
    mean = AVG_POOL[len(layout.axes)]((input.pow(norm_type),), (layout, True, None))
    return (mean.sign() * mean.abs().relu()).mul(elements).pow(1.0 / norm_type)
