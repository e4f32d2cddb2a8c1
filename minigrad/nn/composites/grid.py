"""Stage: front. In: values and a grid of places to read, or the matrices that make such a grid. Out: the formulas of
sampling at any place (Jaderberg et al. 2015, https://arxiv.org/abs/1506.02025).
Next: ``shuffling.py``."""

from __future__ import annotations

import itertools

from minigrad.dtype import accumulator, bool_, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.nn.composites.resampling import cubic_weights, linear_weights
from minigrad.ops import Op
from minigrad.tensor import Tensor, arange, composite, stack
from minigrad.tensor.function import Function

Reading = tuple[LazyBuffer, LazyBuffer, LazyBuffer | None]
"""Along one axis: where an element is read, whether that is inside, and the element's weight (None: 1)."""


def _not_less(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    return a.binary(Op.LT, b).unary(Op.NOT)


def _clipped(at: LazyBuffer, top: float) -> LazyBuffer:
    """Between 0 and ``top``; beyond, and at these ends themselves, the slope is 0."""
    zero, end = at.like(0.0), at.like(top)
    return _not_less(zero, at).where(zero, _not_less(at, end).where(end, at))


def _reflected(at: LazyBuffer, low: float, high: float) -> LazyBuffer:
    """Mirrored at both ends as often as it takes."""
    if low == high:
        return at.like(0.0)
    x = at.binary(Op.SUB, at.like(low))
    x = x.binary(Op.LT, x.like(0.0)).where(x.unary(Op.NEG), x)
    span = x.like(high - low)
    flips, rest = x.binary(Op.DIV, span).unary(Op.FLOOR), x.binary(Op.MOD, span)
    even = flips.binary(Op.MOD, flips.like(2.0)).binary(Op.EQ, flips.like(0.0))
    return even.where(rest, span.binary(Op.SUB, rest)).binary(Op.ADD, x.like(low))


def _padded(at: LazyBuffer, size: int, padding_mode: str, corners: bool) -> LazyBuffer:
    """The place that is read in the stead of one beyond the axis."""
    if padding_mode == "reflection":
        at = _reflected(at, 0.0, size - 1.0) if corners else _reflected(at, -0.5, size - 0.5)
    return at if padding_mode == "zeros" else _clipped(at, size - 1.0)


def _readings(at: LazyBuffer, size: int, mode: str, padding_mode: str, corners: bool) -> list[Reading]:
    half = at.like(0.5)
    at = at.binary(Op.ADD, at.like(1.0)).binary(Op.MUL, half)
    if corners:
        at = at.binary(Op.MUL, at.like(size - 1.0))
    else:
        at = at.binary(Op.MUL, at.like(float(size))).binary(Op.SUB, half)
    if mode != "bicubic":
        at = _padded(at, size, padding_mode, corners)
    if mode == "nearest":
        return [_reading(at.unary(Op.ROUND), size, None)]
    low = at.unary(Op.FLOOR)
    t = at.binary(Op.SUB, low)
    if mode == "bilinear":
        return [_reading(low.binary(Op.ADD, low.like(float(k))), size, w) for k, w in enumerate(linear_weights(t))]
    return [_reading(_padded(low.binary(Op.ADD, low.like(float(k))), size, padding_mode, corners), size, w)
            for k, w in enumerate(cubic_weights(t), -1)]


def _reading(at: LazyBuffer, size: int, weight: LazyBuffer | None) -> Reading:
    end = at.like(size - 1.0)
    inside = _not_less(at, at.like(0.0)).binary(Op.AND, _not_less(end, at))
    safe = inside.where(at, at.like(0.0)).cast(int64)
    return safe.binary(Op.MAXIMUM, safe.like(0)).binary(Op.MINIMUM, safe.like(size - 1)), inside, weight


def _grid_sample(x: LazyBuffer, grid: LazyBuffer, mode: str, padding_mode: str, corners: bool) -> LazyBuffer:
    """x (N, C, …) read at the places of the grid (N, …, axes), whose last coordinate is that of the first axis. Halves
    are rounded at the end."""
    dims, dtype = len(x.shape) - 2, x.dtype
    wide, grid = x.cast(accumulator(dtype)), grid.cast(accumulator(dtype))
    space, sizes = grid.shape[:-1], x.shape[2:]
    along = []
    for axis in range(dims):
        at = grid.shrink((*[(0, n) for n in space], (dims - 1 - axis, dims - axis))).reshape(space)
        along.append(_readings(at, sizes[axis], mode, padding_mode, corners))
    last = wide.permute((0, *range(2, 2 + dims), 1))
    batch, total = LazyBuffer.index(space, 0, x.device), None
    for readings in itertools.product(*along):
        read = last.gather((batch, *[place for place, _, _ in readings]))
        inside, weight = LazyBuffer.const(True, bool_, space, x.device), None
        for _, here, share in readings:
            inside = inside.binary(Op.AND, here)
            weight = share if weight is None or share is None else weight.binary(Op.MUL, share)
        term = read if weight is None else read.binary(Op.MUL, weight.reshape((*space, 1)).expand(read.shape))
        term = inside.reshape((*space, 1)).expand(read.shape).where(term, term.like(0.0))
        total = term if total is None else total.binary(Op.ADD, term)
    assert total is not None
    return total.permute((0, dims + 1, *range(1, dims + 1))).cast(dtype)


GRID_SAMPLE = {dims: Function(f"grid_sampler_{dims}d", _grid_sample, f"GridSampler{dims}DBackward0")
               for dims in (1, 2, 3)}
"""By the number of axes."""


def _steps(like: Tensor, count: int, corners: bool) -> Tensor:
    """``count`` places from -1 to 1: their middles, or with ``corners`` both ends."""
    if count <= 1:
        return arange(count, dtype=like.dtype, device=like.device) * 0
    places = arange(count, dtype=like.dtype, device=like.device) * (2.0 / (count - 1)) - 1.0
    return places if corners else places * ((count - 1) / count)


@composite
def affine_grid_generator(theta: Tensor, *, size: tuple[int, ...], corners: bool) -> Tensor:
    """theta (N, d, d + 1) times the coordinates (x, y, …, 1) of every place: (N, …, d)."""
    lengths = size[2:]
    dims = len(lengths)
    rows = []
    for axis in reversed(range(dims)):
        steps = _steps(theta, lengths[axis], corners)
        rows.append(steps.reshape(tuple(-1 if i == axis else 1 for i in range(dims))).expand(lengths))
    rows.append(rows[0] * 0 + 1)
    base = stack(rows, dim=-1).reshape(1, -1, dims + 1).expand(size[0], -1, -1)
    return (base @ theta.transpose(1, 2)).reshape(size[0], *lengths, dims)
