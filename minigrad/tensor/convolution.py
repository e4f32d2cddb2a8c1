"""Stage: front. In: images and filters. Out: their convolution, plain or transposed. Both are sums of products over
windows, which the scheduler recognises as contractions, and so are their gradients: nothing is laid out as columns.
Next: ``convolutions.py``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from minigrad import lazily
from minigrad.dtype import accumulator
from minigrad.graph.function import apply
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.records import Record
from minigrad.tensor.function import Function


class Geometry(Record):
    """How windows lie. ``padding`` before and after, ``stride`` and ``dilation`` for each spatial axis; ``groups`` of
    channels that know nothing of each other; ``out``: positions of the windows."""

    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int
    out: tuple[int, ...]


def _windows(x: LazyBuffer, kernel: Sequence[int], at: Geometry) -> LazyBuffer:
    """(N, C, *size) to (N, groups, C/groups, *out, *kernel)."""
    n, channels, *_ = x.shape
    x = x.pad(((0, 0, 0), (0, 0, 0), *[(low, high, 0) for low, high in at.padding]))
    x = x.window(tuple([(2 + i, k, s, d) for i, (k, s, d) in enumerate(zip(kernel, at.stride, at.dilation,
                                                                           strict=True))]))
    x = x.shrink((*[(0, s) for s in x.shape[:2]], *[(0, s) for s in (*at.out, *kernel)]))
    return x.reshape((n, at.groups, channels // at.groups, *at.out, *kernel))


def _with_bias(y: LazyBuffer, bias: Sequence[LazyBuffer]) -> LazyBuffer:
    """(N, O, *size) plus a number for each channel."""
    if not bias:
        return y
    b = bias[0].reshape((1, y.shape[1], *[1] * (len(y.shape) - 2))).expand(y.shape)
    return y.binary(Op.ADD, b.cast(y.dtype))  # converted where it is read: no copy in float32 comes first


def _convolution(x: LazyBuffer, w: LazyBuffer, *rest: Any) -> LazyBuffer:
    """y[n, o, p] = bias[o] + sum over c and k of x[n, c, p*stride + k*dilation - padding] * w[o, c, k]."""
    at: Geometry
    *bias, at = rest
    wide = accumulator(x.dtype)
    n, filters, channels, kernel = x.shape[0], w.shape[0], w.shape[1], w.shape[2:]
    dims = len(kernel)
    space = (n, at.groups, filters // at.groups, channels, *at.out, *kernel)
    a = _windows(x.cast(wide), kernel, at).reshape((n, at.groups, 1, channels, *at.out, *kernel)).expand(space)
    b = w.cast(wide).reshape((1, at.groups, filters // at.groups, channels, *[1] * dims, *kernel)).expand(space)
    y = a.binary(Op.MUL, b).reduce(Op.SUM, (3, *range(4 + dims, 4 + 2 * dims))).reshape((n, filters, *at.out))
    return _with_bias(y, bias).cast(x.dtype)


def _transposed(x: LazyBuffer, w: LazyBuffer, *rest: Any) -> LazyBuffer:
    """y[n, o, p*stride + k*dilation - padding] = bias[o] + sum over c and all such p, k of x[n, c, p] * w[c, o, k].
    ``out`` is the size of y."""
    windows = lazily.module("minigrad.graph.windows")
    at: Geometry
    *bias, at = rest
    wide = accumulator(x.dtype)
    n, channels, *size = x.shape
    filters, kernel = w.shape[1], w.shape[2:]
    dims = len(kernel)
    space = (n, at.groups, channels // at.groups, filters, *size, *kernel)
    a = x.cast(wide).reshape((n, at.groups, channels // at.groups, 1, *size, *[1] * dims)).expand(space)
    b = w.cast(wide).reshape((1, at.groups, channels // at.groups, filters, *[1] * dims, *kernel)).expand(space)
    product, places = windows.overlapped(a.binary(Op.MUL, b), [
        windows.Overlap(4 + i, 4 + dims + i, at.stride[i], at.dilation[i], at.padding[i][0], at.out[i])
        for i in range(dims)])
    y = product.reduce(Op.SUM, (2, *places))
    y = y.reshape((n, at.groups * filters, *y.shape[4:4 + dims]))
    y = y.shrink(((0, n), (0, at.groups * filters), *[(0, s) for s in at.out]))
    return _with_bias(y, bias).cast(x.dtype)


def _filters(x: LazyBuffer, g: LazyBuffer, at: Geometry, kernel: tuple[int, ...]) -> LazyBuffer:
    """The gradient of a convolution's filters (complex x are conjugated before): w[o, c, k] = sum over n and p of
    g[n, o, p] * x[n, c, p*stride + k*dilation - padding]."""
    wide = accumulator(x.dtype)
    n, channels, filters = x.shape[0], x.shape[1], g.shape[1]
    dims = len(kernel)
    space = (n, at.groups, filters // at.groups, channels // at.groups, *at.out, *kernel)
    a = _windows(x.cast(wide), kernel, at).reshape((n, at.groups, 1, channels // at.groups, *at.out, *kernel))
    b = g.cast(wide).reshape((n, at.groups, filters // at.groups, 1, *at.out, *[1] * dims)).expand(space)
    w = b.binary(Op.MUL, a.expand(space)).reduce(Op.SUM, (0, *range(4, 4 + dims)))
    return w.reshape((filters, channels // at.groups, *kernel)).cast(x.dtype)


def _bias_gradient(g: LazyBuffer) -> LazyBuffer:
    wide = g.cast(accumulator(g.dtype))
    return wide.reduce(Op.SUM, (0, *range(2, len(g.shape)))).reshape((g.shape[1],)).cast(g.dtype)


def _unfold(x: LazyBuffer, kernel: tuple[int, ...], at: Geometry) -> LazyBuffer:
    """(N, C, *size) to (N, C * places, positions): what each window sees, as a column."""
    dims, channels = len(kernel), x.shape[1]
    windows = _windows(x, kernel, at)
    axes = (0, 1, 2, *range(3 + dims, 3 + 2 * dims), *range(3, 3 + dims))
    return windows.permute(axes).reshape((x.shape[0], channels * prod(kernel), prod(at.out)))


def _fold(x: LazyBuffer, kernel: tuple[int, ...], positions: tuple[int, ...], at: Geometry) -> LazyBuffer:
    """The adjoint of ``_unfold``: each element is the sum of its copies. ``positions`` counts windows, ``at.out`` is
    the size of the result."""
    windows = lazily.module("minigrad.graph.windows")
    n, dims = x.shape[0], len(kernel)
    channels = x.shape[1] // prod(kernel)
    wide = x.cast(accumulator(x.dtype)).reshape((n, channels, *kernel, *positions))
    shares, places = windows.overlapped(wide, [
        windows.Overlap(2 + dims + i, 2 + i, at.stride[i], at.dilation[i], at.padding[i][0], at.out[i])
        for i in range(dims)])
    y = shares.reduce(Op.SUM, places)
    y = y.reshape((n, channels, *y.shape[2 + dims:]))
    return y.shrink(((0, n), (0, channels), *[(0, s) for s in at.out])).cast(x.dtype)


# Each gradient is a call of one of these functions, so that theirs follow in turn.


def _convolution_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer],
                          at: Geometry) -> list[LazyBuffer]:
    (x, w, *bias), g = inputs, grads[0]
    back = at.replaced(out=x.shape[2:])
    return [_call(TRANSPOSED, (g, w.conj()), back), _call(FILTERS, (x.conj(), g), at, w.shape[2:]),
            *[_bias_gradient(g) for _ in bias]]


def _transposed_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer],
                         at: Geometry) -> list[LazyBuffer]:
    (x, w, *bias), g = inputs, grads[0]
    forth = _reaching(at, w.shape[2:], g.shape[2:], x.shape[2:])
    return [_call(CONVOLUTION, (g, w.conj()), forth), _call(FILTERS, (g, x.conj()), forth, w.shape[2:]),
            *[_bias_gradient(g) for _ in bias]]


def _filters_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer],
                      at: Geometry, kernel: tuple[int, ...]) -> list[LazyBuffer]:
    (x, g), w = inputs, grads[0]
    return [_call(TRANSPOSED, (g.conj(), w), at.replaced(out=x.shape[2:])), _call(CONVOLUTION, (x.conj(), w), at)]


def _reaching(at: Geometry, kernel: Sequence[int], size: Sequence[int], out: Sequence[int]) -> Geometry:
    """The geometry with as much padding at the end as ``out`` windows over ``size`` elements need."""
    high = [(n - 1) * s + d * (k - 1) + 1 - low - given for n, s, d, k, (low, _), given in zip(
        out, at.stride, at.dilation, kernel, at.padding, size, strict=True)]
    return at.replaced(padding=tuple([(low, max(0, h)) for (low, _), h in zip(at.padding, high, strict=True)]),
                       out=tuple(out))


def _call(function: Function, values: Sequence[LazyBuffer], *static: object) -> LazyBuffer:
    return apply(function.body.at(values, static), values)[0]


def _unfold_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer],
                     kernel: tuple[int, ...], at: Geometry) -> list[LazyBuffer]:
    return [_call(FOLD, (grads[0],), kernel, at.out, at.replaced(out=inputs[0].shape[2:]))]


def _fold_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer], grads: Sequence[LazyBuffer],
                   kernel: tuple[int, ...], positions: tuple[int, ...], at: Geometry) -> list[LazyBuffer]:
    return [_call(UNFOLD, (grads[0],), kernel, at.replaced(out=positions))]


CONVOLUTION = Function("convolution", _convolution, "ConvolutionBackward0", _convolution_gradient)
TRANSPOSED = Function("transposed_convolution", _transposed, "ConvolutionBackward0", _transposed_gradient)
FILTERS = Function("convolution_filters", _filters, "ConvolutionBackward0", _filters_gradient)
UNFOLD = Function("unfold", _unfold, "Im2ColBackward0", _unfold_gradient)
FOLD = Function("fold", _fold, "Col2ImBackward0", _fold_gradient)
