"""Stage: realise, tier 0. In: movement ops on strided memory. Out: other strides: most movement moves nothing, and what
must be copied is copied over as few axes as possible. Strides and offsets count elements.
Next: ``contraction.py``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from minigrad.graph.lazy import contiguous_strides
from minigrad.ops import Op

Strides = tuple[int, ...]


def moved(op: str, arg: Any, shape: tuple[int, ...], strides: Strides) -> tuple[int, Strides] | None:
    """Offset and strides of the result of a movement op on a view; None if only a copy has that shape. PAD is no view.

    >>> moved("FLIP", (0,), (3, 4), (4, 1)), moved("PERMUTE", (1, 0), (3, 4), (4, 1))
    ((8, (-4, 1)), (0, (1, 4)))
    >>> moved("RESHAPE", (12,), (3, 4), (1, 3)) is None
    True
    """
    if op == Op.RESHAPE:
        found = reshaped(shape, strides, arg)
        return None if found is None else (0, found)
    if op == Op.PERMUTE:
        return 0, tuple([strides[a] for a in arg])
    if op == Op.EXPAND:
        kept = [0 if size == 1 else step for size, step in zip(shape, strides, strict=True)]
        return 0, (0,) * (len(arg) - len(shape)) + tuple(kept)
    if op == Op.SHRINK:
        return sum([begin * step for (begin, _), step in zip(arg, strides, strict=True)]), strides
    if op == Op.FLIP:
        offset = sum([(shape[a] - 1) * strides[a] for a in arg])
        return offset, tuple([-step if a in arg else step for a, step in enumerate(strides)])
    if op == Op.STRIDE:
        return 0, tuple([a * b for a, b in zip(strides, arg, strict=True)])
    assert op == Op.WINDOW, op
    steps = list(strides)
    for axis, _, stride, _ in arg:
        steps[axis] *= stride
    return 0, tuple(steps) + tuple([strides[axis] * dilation for axis, _, _, dilation in arg])


@lru_cache(1 << 14)
def placed(op: str, arg: Any, shape: tuple[int, ...], strides: Strides | None,
           to: tuple[int, ...]) -> tuple[int, Strides | None, bool] | None:
    """As ``moved``, of a view (None: in row-major order) of a shape to the shape ``to``, in its simplest form: the
    offset, the strides, and whether the result is in row-major order; strides None: one element for all."""
    found = moved(op, arg, shape, contiguous_strides(shape) if strides is None else strides)
    if found is None:
        return None
    return found[0], *simplest(found[1], to)


def simplest(strides: Strides, shape: tuple[int, ...]) -> tuple[Strides | None, bool]:
    """The strides of a view, None if it is one element for all; and whether it is in row-major order without gaps."""
    if is_contiguous(shape, strides):
        return strides, True
    for size, step in zip(shape, strides, strict=True):
        if step and size > 1:
            return strides, False
    return None, False


def reshaped(shape: tuple[int, ...], strides: Strides, to: tuple[int, ...]) -> Strides | None:
    """The strides of a view in another shape of as many elements, not 0; None if there are none.

    >>> reshaped((2, 3, 4), (100, 4, 1), (2, 12)), reshaped((2, 3), (1, 2), (6,))
    ((100, 1), None)
    """
    sizes, steps = merged(shape, [strides])
    runs = list(zip(sizes, steps[0], strict=True))
    result: list[int] = []
    left, step = 1, 0
    for size in reversed(to):
        if size == 1:
            result.append(0)
            continue
        if left == 1:
            left, step = runs.pop()
        if left % size:
            return None
        result.append(step)
        left, step = left // size, step * size
    result.reverse()
    return tuple(result)


def merged(shape: Sequence[int], strides: Sequence[Strides]) -> tuple[list[int], list[list[int]]]:
    """The axes longer than 1, with neighbours joined where all of the strides walk through both as through one.

    >>> merged((2, 1, 3, 4), [(12, 0, 4, 1), (0, 0, 0, 1)])
    ([6, 4], [[4, 1], [0, 1]])
    """
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis, size in enumerate(shape):
        if size == 1:
            continue
        if sizes and all([s[-1] == new[axis] * size for s, new in zip(steps, strides, strict=True)]):
            sizes[-1] *= size
            for s, new in zip(steps, strides, strict=True):
                s[-1] = new[axis]
        else:
            sizes.append(size)
            for s, new in zip(steps, strides, strict=True):
                s.append(new[axis])
    return sizes, steps


def is_contiguous(shape: tuple[int, ...], strides: Strides) -> bool:
    """Whether a view's elements lie in row-major order without gaps.

    >>> is_contiguous((2, 1, 3), (3, 99, 1)), is_contiguous((2, 3), (1, 2))
    (True, False)
    """
    plain = 1
    for size, step in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1:
            if step != plain:
                return False
            plain *= size
    return True
