"""Stage: front. In: values and how far each axis grows. Out: the formulas of padding.
An axis grows by pieces of itself that stand beside it, each read under a guard, so nothing is stored.
Next: ``windows.py``."""

from __future__ import annotations

from collections.abc import Callable

from minigrad.dtype import bool_
from minigrad.graph.lazy import LazyBuffer
from minigrad.tensor.function import Function
from minigrad.tensor.joining import cat_values

Sides = tuple[tuple[int, int], ...]
"""For each axis by how much it grows at its begin and at its end; a negative number cuts off."""


def cut(x: LazyBuffer, axis: int, begin: int, end: int) -> LazyBuffer:
    """The coordinates ``begin`` to ``end - 1`` of an axis."""
    return x.shrink(tuple([(begin, end) if i == axis else (0, size) for i, size in enumerate(x.shape)]))


def constant_pad(x: LazyBuffer, sides: Sides, value: float) -> LazyBuffer:
    """x with ``value`` around it; first it loses what the negative sides cut off."""
    box = tuple([(max(0, -low), size - max(0, -high)) for size, (low, high) in zip(x.shape, sides, strict=True)])
    grown = tuple([(max(0, low), max(0, high), 0) for low, high in sides])
    inner = x.shrink(box)
    padded = inner.pad(grown)
    if value == 0 or padded is inner:
        return padded.contiguous() if padded is x else padded
    inside = LazyBuffer.const(True, bool_, inner.shape, x.device).pad(grown)
    return inside.where(padded, padded.like(value))


def _repeated(x: LazyBuffer, axis: int, times: int) -> LazyBuffer:
    return x.expand(tuple([times if i == axis else size for i, size in enumerate(x.shape)]))


def _reflected(x: LazyBuffer, axis: int, low: int, high: int) -> LazyBuffer:
    last = x.shape[axis] - 1
    return _joined(axis, cut(x, axis, 1, low + 1).flip((axis,)), x, cut(x, axis, last - high, last).flip((axis,)))


def _replicated(x: LazyBuffer, axis: int, low: int, high: int) -> LazyBuffer:
    size = x.shape[axis]
    return _joined(axis, _repeated(cut(x, axis, 0, 1), axis, low), x,
                   _repeated(cut(x, axis, size - 1, size), axis, high))


def _wrapped(x: LazyBuffer, axis: int, low: int, high: int) -> LazyBuffer:
    size = x.shape[axis]
    return _joined(axis, cut(x, axis, size - low, size), x, cut(x, axis, 0, high))


def _joined(axis: int, *parts: LazyBuffer) -> LazyBuffer:
    return cat_values([part for part in parts if part.shape[axis]] or parts[:1], axis)


def _grown(x: LazyBuffer, sides: Sides, along: Callable[[LazyBuffer, int, int, int], LazyBuffer],
           cut_first: bool) -> LazyBuffer:
    """Every axis grown in turn. What is cut off goes before that or after it."""
    result = x
    for axis, (low, high) in enumerate(sides):
        left, right, size = max(0, -low), max(0, -high), result.shape[axis]
        if cut_first:
            result = cut(result, axis, left, size - right)
        if low > 0 or high > 0:
            result = along(result, axis, max(0, low), max(0, high))
        if not cut_first:
            result = cut(result, axis, left, result.shape[axis] - right)
    return result.contiguous() if result is x else result


def _reflection_pad(x: LazyBuffer, sides: Sides) -> LazyBuffer:
    return _grown(x, sides, _reflected, cut_first=False)


def _replication_pad(x: LazyBuffer, sides: Sides) -> LazyBuffer:
    return _grown(x, sides, _replicated, cut_first=False)


def _circular_pad(x: LazyBuffer, sides: Sides) -> LazyBuffer:
    return _grown(x, sides, _wrapped, cut_first=True)


CONSTANT_PAD = Function("constant_pad", constant_pad, "ConstantPadNdBackward0")
CIRCULAR_PAD = Function("circular_pad", _circular_pad, "CircularPadBackward0")
REFLECTION_PAD, REPLICATION_PAD = [
    {dims: Function(f"{name}_pad{dims}d", formula, f"{name.capitalize()}Pad{dims}DBackward0") for dims in (1, 2, 3)}
    for name, formula in (("reflection", _reflection_pad), ("replication", _replication_pad))]
"""By how many axes grow."""
