"""Stage: conformance. In: the table of reductions. Out: cases for SUM, PROD, MAX, MIN and SCAN: each dtype, over first,
last, middle, several and all axes, short, long and empty.
Next: ``movements.py``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import prod, sqrt

import numpy as np

from minigrad.conformance.case import Case, Program
from minigrad.conformance.sources import VIEWS, Shape, Source, leaf, rng_of
from minigrad.dtype import ALL, DType, bool_, float16, float32, float64, int32, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import REDUCE_OPS, Op

SPACES: tuple[tuple[Shape, tuple[int, ...]], ...] = (
    ((1,), (0,)), ((0,), (0,)), ((3, 0, 2), (1,)), ((3, 0, 2), (0, 2)), ((17,), (0,)), ((33, 5), (0,)), ((33, 5), (1,)),
    ((33, 5), (0, 1)), ((2, 3, 5, 4), (0, 2)), ((2, 3, 5, 4), (1, 3)), ((3, 37, 129), (0,)), ((3, 37, 129), (1,)),
    ((3, 37, 129), (2,)), ((3, 37, 129), (0, 2)), ((1, 31, 1, 16), (1, 2)), ((1025,), (0,)))
LONG: tuple[tuple[Shape, tuple[int, ...]], ...] = (((70_001,), (0,)), ((300, 259), (0, 1)), ((2, 40_000), (1,)),
                                                   ((40_000, 3), (0,)), ((7, 9, 1_300), (0, 2)))


def reductions() -> Iterator[Case]:
    """SUM, PROD, MAX and MIN."""
    names = list(VIEWS)
    turn = 0
    for op in REDUCE_OPS:
        for dtype in ALL:
            spaces = SPACES + (LONG if dtype in (float32, float64, float16, int32, bool_) else ())
            for shape, axes in spaces:
                turn += 1
                view = names[turn % len(names)]
                yield Case("reduce", f"{op}-{_text(shape)}-over-{_text(axes)}-{view}", dtype,
                           partial(_reduce, op, dtype, shape, axes, view))
            if dtype.is_float:
                for shape, axes in (((5, 40), (1,)), ((40, 5), (0,)), ((6, 7, 3), (0, 1, 2))):
                    yield Case("reduce", f"{op}-{_text(shape)}-over-{_text(axes)}-infinite", dtype,
                               partial(_infinite, op, dtype, shape, axes))


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"


def reduced(op: str, x: LazyBuffer, axes: tuple[int, ...]) -> Program:
    """The reduction, with the error that its number of terms allows: the sum of n rounded terms is off by about
    √n ulp of the sum of their absolute values, the product by n ulp of itself."""
    output = x.reduce(op, axes)
    n = prod(x.shape[a] for a in axes)
    if not x.dtype.is_float or op in (Op.MAX, Op.MIN):
        return Program([output], signed_zero=False)
    if op == Op.PROD:
        return Program([output], [_prod(x, axes)], None, 1 + 2 * n)
    return Program([output], None, [magnitude(x).reduce(Op.SUM, axes)], 1.0, 2 + 2 * sqrt(n))


def magnitude(x: LazyBuffer) -> LazyBuffer:
    """Absolute values, in float64."""
    return x.cast(float64).unary(Op.ABS)


def _prod(x: LazyBuffer, axes: tuple[int, ...]) -> LazyBuffer:
    return x.cast(float64).reduce(Op.PROD, axes).cast(x.dtype)


def _reduce(op: str, dtype: DType, shape: Shape, axes: tuple[int, ...], view: str, device: str) -> Program:
    kind = "edge" if op in (Op.MAX, Op.MIN) or not dtype.is_float else "positive" if op == Op.PROD else "plain"
    if kind == "positive" and view == "coordinate":
        view = "plain"  # a product of coordinates is 0, or infinite on the way there
    x = Source(device, dtype, kind, op, shape, axes).view(view, shape)
    if op == Op.PROD and dtype.is_float:
        # keep long products in range: most factors are 1
        near = LazyBuffer.index(shape, axes[0], device).binary(Op.LT, LazyBuffer.const(12, int64, shape, device))
        x = near.where(x, x.like(1.0)) if shape else x
    return reduced(op, x, axes)


def _infinite(op: str, dtype: DType, shape: Shape, axes: tuple[int, ...], device: str) -> Program:
    """Infinities and NaN here and there among ones."""
    rng = rng_of(op, dtype.name, shape)
    values = np.ones(shape)
    spots = rng.random(shape)
    values[spots < 0.02], values[spots > 0.98] = np.inf, -np.inf
    values[(spots > 0.5) & (spots < 0.505)] = np.nan
    return reduced(op, leaf(values.astype(dtype.numpy), dtype, device), axes)


def scans() -> Iterator[Case]:
    """Running sums, products, maxima and minima."""
    shapes: tuple[tuple[Shape, int], ...] = (((1,), 0), ((0,), 0), ((17,), 0), ((1025,), 0), ((5, 33), 1), ((33, 5), 0),
                                             ((2, 17, 3), 1),
                                             ((0, 4), 1), ((3, 5_000), 1))
    names = list(VIEWS)
    turn = 0
    for op in REDUCE_OPS:
        for dtype in ALL:
            for shape, axis in shapes:
                turn += 1
                view = names[turn % len(names)]
                yield Case("scan", f"{op}-{_text(shape)}-along-{axis}-{view}", dtype,
                           partial(_scan, op, dtype, shape, axis, view))


def _scan(op: str, dtype: DType, shape: Shape, axis: int, view: str, device: str) -> Program:
    exact = op in (Op.MAX, Op.MIN) or not dtype.is_float
    kind = "edge" if exact else "positive" if op == Op.PROD else "plain"
    x = Source(device, dtype, kind, op, shape, axis).view(view, shape)
    if op == Op.PROD and dtype.is_float:
        near = LazyBuffer.index(shape, axis, device).binary(Op.LT, LazyBuffer.const(12, int64, shape, device))
        x = near.where(x, x.like(1.0))
    output = x.scan(op, axis)
    if exact:
        return Program([output], signed_zero=False)
    n = max(1, shape[axis])
    wide = x.cast(float64).scan(op, axis).cast(dtype)
    if op == Op.PROD:
        return Program([output], [wide], None, 1 + 2 * n)
    alike = view in ("scalar", "constant")  # then all steps of the reference may round in one direction
    return Program([output], [wide], [magnitude(x).scan(Op.SUM, axis)], 1.0, 2 + (n / 2 if alike else 2 * sqrt(n)))
