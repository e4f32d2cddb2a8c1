"""Stage: front. In: values and how each axis is to be read at another number of places. Out: the formulas of
interpolation. Where an axis is read and with what weights is arithmetic on coordinates, so no table is stored; backward
sums over the few places that read an element.
Next: ``grid.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from minigrad.dtype import DType, accumulator, float32, float64, int64, uint8
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.reference import evaluate
from minigrad.ops import Op
from minigrad.tensor.function import Function

Tap = tuple[LazyBuffer, LazyBuffer | None]
"""Where an element is read, and its weight (None: 1)."""

_REAL = (float32, float64)
_SUPPORT = {"linear": 1, "cubic": 2, "lanczos": 3}


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of ``length`` elements read at ``count`` places, ``scale`` elements apart. ``corners``: the first and the
    last place are the first and the last element. ``smooth``: when there are fewer places than elements, each averages
    all elements around it."""

    mode: str
    length: int
    count: int
    scale: float
    corners: bool
    smooth: bool

    @property
    def room(self) -> int:
        """With ``smooth``, how many elements a place may read."""
        return math.ceil(_SUPPORT[self.mode] * max(self.scale, 1.0)) * 2 + 1

    def taps(self, o: LazyBuffer, dtype: DType) -> list[Tap]:
        """What place o reads; not for ``smooth``."""
        at, top = o.cast(dtype), o.like(self.length - 1)
        scale = at.like(self.scale)
        if self.mode == "nearest":
            return [(_floor(at.binary(Op.MUL, scale)).binary(Op.MINIMUM, top), None)]
        half = at.like(0.5)
        if self.corners:
            at = at.binary(Op.MUL, scale)
        else:
            at = at.binary(Op.ADD, half).binary(Op.MUL, scale).binary(Op.SUB, half)
        if self.mode != "cubic":
            at = at.binary(Op.MAXIMUM, at.like(0.0))
        if self.mode == "nearest-exact":
            return [(_floor(at.binary(Op.ADD, half)).binary(Op.MINIMUM, top), None)]
        if self.mode == "linear" and self.length == self.count:
            return [(o, None)]
        low = _floor(at).binary(Op.MINIMUM, top)
        t = at.binary(Op.SUB, low.cast(dtype)).binary(Op.MAXIMUM, at.like(0.0)).binary(Op.MINIMUM, at.like(1.0))
        weights = linear_weights(t) if self.mode == "linear" else cubic_weights(t)
        first = 0 if self.mode == "linear" else -1
        return [(low.binary(Op.ADD, low.like(k)).binary(Op.MAXIMUM, low.like(0)).binary(Op.MINIMUM, top), w)
                for k, w in enumerate(weights, first)]

    def reach(self, o: LazyBuffer, dtype: DType) -> tuple[LazyBuffer, LazyBuffer, LazyBuffer]:
        """With ``smooth``: the first element place o reads, how many, and the middle of them."""
        at = o.cast(dtype)
        half, support = at.like(0.5), at.like(_SUPPORT[self.mode] * max(self.scale, 1.0))
        middle = at.binary(Op.ADD, half).binary(Op.MUL, at.like(self.scale))
        begin = middle.binary(Op.SUB, support).binary(Op.ADD, half).cast(int64).binary(Op.MAXIMUM, o.like(0))
        end = middle.binary(Op.ADD, support).binary(Op.ADD, half).cast(int64).binary(Op.MINIMUM, o.like(self.length))
        return begin, end.binary(Op.SUB, begin), middle

    def share(self, element: LazyBuffer, middle: LazyBuffer) -> LazyBuffer:
        """With ``smooth``: the weight of an element for a place, not yet divided by the sum of its weights."""
        x = element.cast(middle.dtype).binary(Op.SUB, middle).binary(Op.ADD, middle.like(0.5))
        x = x.binary(Op.MUL, x.like(1.0 / self.scale if self.scale >= 1.0 else 1.0)).unary(Op.ABS)
        inside = x.binary(Op.LT, x.like(float(_SUPPORT[self.mode])))
        return inside.where(_FILTERS[self.mode](x), x.like(0.0))


def _floor(at: LazyBuffer) -> LazyBuffer:
    return at.unary(Op.FLOOR).cast(int64)


def _horner(x: LazyBuffer, *factors: float) -> LazyBuffer:
    """A polynomial, the highest power first."""
    result = x.like(factors[0])
    for factor in factors[1:]:
        result = result.binary(Op.MUL, x).binary(Op.ADD, x.like(factor))
    return result


def _near(x: LazyBuffer, a: float) -> LazyBuffer:
    """Keys' cubic kernel for 0 ≤ x ≤ 1."""
    return _horner(x, a + 2, -(a + 3), 0.0, 1.0)


def _far(x: LazyBuffer, a: float) -> LazyBuffer:
    """Keys' cubic kernel for 1 ≤ x ≤ 2."""
    return _horner(x, a, -5 * a, 8 * a, -4 * a)


def linear_weights(t: LazyBuffer) -> list[LazyBuffer]:
    """Of two neighbours, for a place at a fraction t between them."""
    return [t.like(1.0).binary(Op.SUB, t), t]


def cubic_weights(t: LazyBuffer) -> list[LazyBuffer]:
    """Of four neighbours, for a place at a fraction t between the inner two. (Keys 1981, with a = -0.75)"""
    one = t.like(1.0)
    rest, a = one.binary(Op.SUB, t), -0.75
    return [_far(t.binary(Op.ADD, one), a), _near(t, a), _near(rest, a), _far(rest.binary(Op.ADD, one), a)]


def _linear_filter(x: LazyBuffer) -> LazyBuffer:
    return x.like(1.0).binary(Op.SUB, x)


def _cubic_filter(x: LazyBuffer) -> LazyBuffer:
    return x.binary(Op.LT, x.like(1.0)).where(_near(x, -0.5), _far(x, -0.5))


def _lanczos_filter(x: LazyBuffer) -> LazyBuffer:
    """sinc(x) sinc(x / 3)."""
    angle = x.binary(Op.MUL, x.like(math.pi))
    third = angle.binary(Op.DIV, x.like(3.0))
    zero = x.binary(Op.EQ, x.like(0.0))
    safe, safe_third = zero.where(x.like(1.0), angle), zero.where(x.like(1.0), third)
    wave, slow = [angle.unary(Op.SIN).binary(Op.DIV, angle) for angle in (safe, safe_third)]
    return zero.where(x.like(1.0), wave.binary(Op.MUL, slow))


_FILTERS = {"linear": _linear_filter, "cubic": _cubic_filter, "lanczos": _lanczos_filter}


# --- along one axis


def _read(x: LazyBuffer, axis: int, place: LazyBuffer) -> LazyBuffer:
    """x with ``axis`` replaced by what stands at the places, whose axes stand where it stood."""
    rest, more = len(x.shape), len(place.shape)
    read = x.permute((axis, *[i for i in range(rest) if i != axis])).gather((place,))
    front = list(range(more, more + axis))
    return read.permute((*front, *range(more), *range(more + axis, more + rest - 1)))


def _along(value: LazyBuffer, axis: int, shape: tuple[int, ...]) -> LazyBuffer:
    """A value of some axes that stand at ``axis`` of this shape."""
    before = len(shape) - axis - len(value.shape)
    return value.reshape((*(1,) * axis, *value.shape, *(1,) * before)).expand(shape)


def _forward(x: LazyBuffer, axis: int, how: Axis) -> LazyBuffer:
    if not how.smooth:
        result = None
        for place, weight in how.taps(LazyBuffer.index((how.count,), 0, x.device), x.dtype):
            read = _read(x, axis, place)
            term = read if weight is None else read.binary(Op.MUL, _along(weight, axis, read.shape))
            result = term if result is None else result.binary(Op.ADD, term)
        assert result is not None
        return result
    space = (how.count, how.room)
    o, k = [LazyBuffer.index(space, i, x.device) for i in (0, 1)]
    begin, number, middle = how.reach(o, x.dtype)
    element = begin.binary(Op.ADD, k)
    weight = k.binary(Op.LT, number).where(how.share(element, middle), middle.like(0.0))
    weight = weight.binary(Op.DIV, weight.reduce(Op.SUM, (1,)).expand(space))
    read = _read(x, axis, element.binary(Op.MINIMUM, k.like(how.length - 1)))
    product = read.binary(Op.MUL, _along(weight, axis, read.shape)).reduce(Op.SUM, (axis + 1,))
    return product.reshape((*x.shape[:axis], how.count, *x.shape[axis + 1:]))


def _backward(g: LazyBuffer, axis: int, how: Axis) -> LazyBuffer:
    """Each element gets the gradients of the places that read it, times its weight for them."""
    times = _repeats(how)
    if times:
        apart = (*g.shape[:axis], how.length, times, *g.shape[axis + 1:])
        return g.reshape(apart).reduce(Op.SUM, (axis + 1,)).reshape((*g.shape[:axis], how.length, *g.shape[axis + 1:]))
    first, depth = _readers(how)
    space = (how.length, depth)
    i, j = [LazyBuffer.index(space, axis_, g.device) for axis_ in (0, 1)]
    o = i.binary(Op.MUL, i.like(how.count)).binary(Op.FLOORDIV, i.like(how.length)).binary(Op.SUB, i.like(first))
    o = o.binary(Op.ADD, j)
    there = o.binary(Op.LT, o.like(0)).unary(Op.NOT).binary(Op.AND, o.binary(Op.LT, o.like(how.count)))
    o = o.binary(Op.MAXIMUM, o.like(0)).binary(Op.MINIMUM, o.like(how.count - 1))
    read = _read(g, axis, o)
    weight = _weight(how, i, o, g.dtype)
    weight = there.where(weight, weight.like(0.0))
    if how.smooth:
        weight = weight.contiguous()  # each is divided by a sum over its place: a small table, made once
    none = weight.binary(Op.EQ, weight.like(0.0))
    product = read.binary(Op.MUL, _along(weight, axis, read.shape))
    product = _along(none, axis, read.shape).where(read.like(0.0), product)
    return product.reduce(Op.SUM, (axis + 1,)).reshape((*g.shape[:axis], how.length, *g.shape[axis + 1:]))


def _weight(how: Axis, i: LazyBuffer, o: LazyBuffer, dtype: DType) -> LazyBuffer:
    """The weight of element i for place o, 0 if it is not read there."""
    if not how.smooth:
        total = None
        for place, weight in how.taps(o, dtype):
            one = LazyBuffer.const(1.0, dtype, i.shape, i.device) if weight is None else weight
            term = place.binary(Op.EQ, i).where(one, one.like(0.0))
            total = term if total is None else total.binary(Op.ADD, term)
        assert total is not None
        return total
    begin, number, middle = how.reach(o, dtype)
    inside = i.binary(Op.LT, begin).unary(Op.NOT).binary(Op.AND, i.binary(Op.LT, begin.binary(Op.ADD, number)))
    space = (*i.shape, how.room)
    k = LazyBuffer.index(space, 2, i.device)
    begin, number, wide = [v.reshape((*i.shape, 1)).expand(space) for v in (begin, number, middle)]
    every = k.binary(Op.LT, number).where(how.share(begin.binary(Op.ADD, k), wide), wide.like(0.0))
    share = how.share(i, middle).binary(Op.DIV, every.reduce(Op.SUM, (2,)).reshape(i.shape))
    return inside.where(share, share.like(0.0))


@lru_cache(512)
def _readers(how: Axis) -> tuple[int, int]:
    """(a, b): no place before floor(i * count / length) - a reads element i, and none from b places later on."""
    from_place = np.arange(how.count)
    first, last = np.full(how.length, how.count), np.full(how.length, -1)
    for place in _places(how):
        np.minimum.at(first, np.minimum(place, how.length - 1), from_place)
        np.maximum.at(last, np.minimum(place, how.length - 1), from_place)
    read = last >= 0
    guess = (np.arange(how.length) * how.count // how.length)[read]
    before = int((guess - first[read]).max())
    return before, int((last[read] - guess).max()) + before + 1


@lru_cache(512)
def _repeats(how: Axis) -> int:
    """How often the nearest element is repeated, if every one is as often and none is left out; else 0."""
    if not how.mode.startswith("nearest") or how.count % how.length:
        return 0
    times = how.count // how.length
    repeated = np.arange(how.count) // times
    return times if all((place == repeated).all() for place in _places(how)) else 0


def _places(how: Axis) -> list[np.ndarray]:
    """Which elements the places read, computed here: an array for each tap, in each type that computes it."""
    o, found = LazyBuffer.index((how.count,), 0, "NUMPY"), []
    for dtype in _REAL:
        if how.smooth:
            begin, number, _ = how.reach(o, dtype)
            starts, numbers = evaluate([begin, number], _nothing)
            found += [np.minimum(starts + k, starts + np.maximum(numbers - 1, 0)) for k in range(how.room)]
        else:
            found += evaluate([place for place, _ in how.taps(o, dtype)], _nothing)
    return found


def _nothing(node: LazyBuffer) -> np.ndarray:
    raise AssertionError(f"{node.op} in the arithmetic of places")


# --- along all of them


def _interpolate(x: LazyBuffer, axes: tuple[Axis, ...]) -> LazyBuffer:
    """The last axes one after the other, the last one first. Halves are rounded at the end; uint8 after each axis, as
    PyTorch does it."""
    if axes[0].mode.startswith("nearest"):
        for i, how in enumerate(axes, len(x.shape) - len(axes)):
            x = _forward_exact(x, i, how)
        return x
    result = x.cast(accumulator(x.dtype) if x.dtype.is_float else _REAL[0])
    for i, how in reversed(list(enumerate(axes, len(x.shape) - len(axes)))):
        result = _forward(result, i, how)
        if x.dtype is uint8:
            whole = result.binary(Op.ADD, result.like(0.5)).unary(Op.FLOOR)
            result = whole.binary(Op.MAXIMUM, whole.like(0.0)).binary(Op.MINIMUM, whole.like(255.0))
    return result.cast(x.dtype)


def _forward_exact(x: LazyBuffer, axis: int, how: Axis) -> LazyBuffer:
    """The nearest element, of any dtype; where it stands is computed in floats, unless each is only repeated."""
    times = _repeats(how)
    if times:
        apart = (*x.shape[:axis + 1], 1, *x.shape[axis + 1:])
        wide = (*x.shape[:axis + 1], times, *x.shape[axis + 1:])
        return x.reshape(apart).expand(wide).reshape((*x.shape[:axis], how.count, *x.shape[axis + 1:]))
    real = accumulator(x.dtype) if x.dtype.is_float else _REAL[0]
    return _read(x, axis, how.taps(LazyBuffer.index((how.count,), 0, x.device), real)[0][0])


def _interpolate_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer],
                          axes: tuple[Axis, ...]) -> tuple[LazyBuffer]:
    x = inputs[0]
    g = grads[0].cast(accumulator(x.dtype))
    for axis, how in enumerate(axes, len(x.shape) - len(axes)):
        g = _backward(g, axis, how)
    return (g.cast(x.dtype),)


def _name(mode: str, dims: int, smooth: bool) -> str:
    word = {"nearest": "Nearest", "nearest-exact": "NearestExact", "cubic": "Bicubic", "lanczos": "Lanczos",
            "linear": {1: "Linear", 2: "Bilinear", 3: "Trilinear"}[dims]}[mode]
    return f"Upsample{word}{dims}D{'Aa' if smooth else ''}Backward0"


INTERPOLATE = {(mode, dims, smooth): Function("interpolate", _interpolate, _name(mode, dims, smooth),
                                              _interpolate_gradient)
               for mode in ("nearest", "nearest-exact", "linear", "cubic", "lanczos") for dims in (1, 2, 3)
               for smooth in (False, True)}
"""By mode, number of axes, and whether it averages."""
