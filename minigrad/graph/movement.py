"""Stage: schedule and lower read it. In: a movement node and a coordinate of its result. Out: the coordinate of the
source that is read there, and the condition under which it is inside. This is how movement ops disappear.
Next: ``windows.py``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from minigrad.ops import Op
from minigrad.symbolic import Sym, both, num

Coordinate = tuple[Sym, ...]


def source_index(op: str, arg: Any, source_shape: tuple[int, ...], index: Coordinate) -> tuple[Coordinate, Sym | None]:
    """Where the result of a movement op at ``index`` is read in its source, and the guard (None: always inside).

    >>> from minigrad.symbolic import var
    >>> i, j = var("i", 0, 7), var("j", 0, 3)
    >>> source_index(Op.PERMUTE, (1, 0), (4, 8), (i, j))
    ((j, i), None)
    >>> source_index(Op.RESHAPE, (8, 4), (32,), (i, j))
    ((4*i + j,), None)
    """
    if op == Op.RESHAPE:
        return _reshaped(index, arg, source_shape), None
    if op == Op.PERMUTE:
        result = [index[0]] * len(arg)
        for position, axis in enumerate(arg):
            result[axis] = index[position]
        return tuple(result), None
    if op == Op.EXPAND:
        added = len(index) - len(source_shape)
        return tuple(num(0) if size == 1 else i for i, size in zip(index[added:], source_shape, strict=True)), None
    if op == Op.SHRINK:
        return tuple(i + begin for i, (begin, _) in zip(index, arg, strict=True)), None
    if op == Op.FLIP:
        return tuple(size - 1 - i if axis in arg else i
                     for axis, (i, size) in enumerate(zip(index, source_shape, strict=True))), None
    if op == Op.STRIDE:
        return tuple(i * step for i, step in zip(index, arg, strict=True)), None
    if op == Op.WINDOW:
        result = list(index[:len(source_shape)])
        for position, (axis, _, stride, dilation) in enumerate(arg):
            result[axis] = result[axis] * stride + index[len(source_shape) + position] * dilation
        return tuple(result), None
    if op == Op.PAD:
        return _pad_index(arg, source_shape, index)
    raise AssertionError(f"{op} is not a movement op")


def _pad_index(arg: Any, source_shape: tuple[int, ...], index: Coordinate) -> tuple[Coordinate, Sym | None]:
    result, conditions = [], []
    for i, size, (low, _, interior) in zip(index, source_shape, arg, strict=True):
        at = i - low
        if interior:
            conditions.append((at % (interior + 1)) < 1)
            at_source = at // (interior + 1)
        else:
            at_source = at
        if at_source.lo < 0:
            conditions.append(num(-1) < at_source)
        if at_source.hi >= size:
            conditions.append(at_source < size)
        result.append(at_source)
    conditions = [c for c in conditions if not (c.lo == 1 and c.hi == 1)]
    return tuple(result), both(*conditions) if conditions else None


def _reshaped(index: Coordinate, shape: Sequence[int], source_shape: Sequence[int]) -> Coordinate:
    """A coordinate in another shape. Axes that both shapes have stay what they are, however far out of range a guard
    lets them go: only what lies between them is flattened."""
    if 0 in shape:
        return unflatten(flatten(index, shape), source_shape)
    result = [num(0)] * len(source_shape)
    left = [(i, s) for i, s in zip(index, shape, strict=True) if s != 1]
    right = [(axis, s) for axis, s in enumerate(source_shape) if s != 1]
    while right:
        here, there = [left.pop(0)], [right.pop(0)]
        while (size := prod([s for _, s in here])) != (wanted := prod([s for _, s in there])):
            if size < wanted:
                here.append(left.pop(0))
            else:
                there.append(right.pop(0))
        sizes = [s for _, s in there]
        parts = [here[0][0]] if len(here) == len(there) == 1 else unflatten(
            flatten([i for i, _ in here], [s for _, s in here]), sizes)
        for (axis, _), part in zip(there, parts, strict=True):
            result[axis] = part
    return tuple(result)


def flatten(index: Sequence[Sym], shape: Sequence[int]) -> Sym:
    """The row-major position of a coordinate.

    >>> from minigrad.symbolic import var
    >>> flatten((var("i", 0, 7), var("j", 0, 3)), (8, 4))
    4*i + j
    """
    position, step = num(0), 1
    for i, size in zip(reversed(index), reversed(shape), strict=True):
        position = position + i * step
        step *= size
    return position


def unflatten(position: Sym, shape: Sequence[int]) -> Coordinate:
    """The coordinate of a row-major position.

    >>> from minigrad.symbolic import var
    >>> unflatten(var("p", 0, 31), (8, 4))
    (p/4, p % 4)
    """
    result: list[Sym] = []
    for size in reversed(shape):
        if size <= 1:
            result.append(num(0))
            continue
        result.append(position % size)
        position = position // size
    result.reverse()
    # the first axis longer than 1 needs no remainder: nothing lies beyond it, and ranges have removed it already
    return tuple(result)
