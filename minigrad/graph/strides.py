"""Stage: recording. In: the shape, strides and offset with which memory is seen. Out: what they say: whether two
elements share a place, which strides another shape has, and the movement ops that see the same.
Next: ``movement.py``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import gcd, prod
from typing import Any

import numpy as np

from minigrad.ops import Op

Shape = tuple[int, ...]
Strides = tuple[int, ...]
Step = tuple[str, Any]
"""A method of LazyBuffer that sees its memory differently, and its argument."""
Steps = tuple[Step, ...]
Window = tuple[Shape, Strides, int]
"""Shape, strides and offset, in elements: element i of the window is element offset + Σ i·stride of flat memory."""


def contiguous_strides(shape: Sequence[int]) -> Strides:
    """Row-major strides in elements. An axis of size 0 or 1 counts as one of size 1 for those before it.

    >>> contiguous_strides((2, 3, 4))
    (12, 4, 1)
    """
    return _row_major(tuple(shape))


@lru_cache(maxsize=4096)
def _row_major(shape: Shape) -> Strides:
    strides, step = [0] * len(shape), 1
    for i in range(len(shape) - 1, -1, -1):
        strides[i] = step
        step *= shape[i] or 1
    return tuple(strides)


def view_strides(shape: Shape, strides: Strides, new: Shape) -> Strides | None:
    """The strides with which ``new`` sees the same memory, or None if no strides can: PyTorch's rule for ``view``.

    >>> view_strides((4, 6), (6, 1), (2, 2, 6)), view_strides((4, 6), (1, 4), (24,))
    ((12, 6, 1), None)
    """
    if prod(shape) == 0:
        return contiguous_strides(new) if shape != new else strides
    if not shape:
        return (1,) * len(new)
    result = [0] * len(new)
    at = len(new) - 1
    unit = strides[-1]
    old_size = new_size = 1
    for axis in range(len(shape) - 1, -1, -1):
        old_size *= shape[axis]
        if axis == 0 or (shape[axis - 1] != 1 and strides[axis - 1] != old_size * unit):
            while at >= 0 and (new_size < old_size or new[at] == 1):
                result[at] = new_size * unit
                new_size *= new[at]
                at -= 1
            if new_size != old_size:
                return None
            if axis > 0:
                unit = strides[axis - 1]
                old_size = new_size = 1
    return tuple(result) if at == -1 else None


def composed(window: Window, shape: Shape, strides: Strides) -> Window | None:
    """The window of memory that ``window`` of a value is, if the value of this ``shape`` lies there with these
    ``strides``; None if it is none.

    Each axis of ``window`` is a step of so many elements along some axes of the value. It must not carry over from one
    to the next, unless they lie in memory as one.

    >>> composed(((2, 2), (3, 1), 1), (2, 3), (10, 2))
    ((2, 2), (10, 2), 2)
    >>> composed(((6,), (1,), 0), (2, 3), (10, 2)) is None, composed(((6,), (1,), 0), (2, 3), (6, 2))
    (True, ((6,), (2,), 0))
    """
    if 0 in window[0]:
        return window
    axes: list[tuple[int, int]] = []
    for size, stride in zip(shape, strides, strict=True):
        if axes and axes[-1][1] == size * stride:
            axes[-1] = axes[-1][0] * size, stride
        elif size > 1:
            axes.append((size, stride))
    units = contiguous_strides([size for size, _ in axes])

    def digits(count: int) -> list[int]:
        found = []
        for unit in units:
            found.append(count // unit)
            count %= unit
        return found

    first = digits(window[2])
    steps = [digits(stride) for stride in window[1]]
    for j, (size, _) in enumerate(axes):
        if first[j] + sum(step[j] * (n - 1) for step, n in zip(steps, window[0], strict=True)) >= size:
            return None
    moved = [sum(k * stride for k, (_, stride) in zip(step, axes, strict=True)) for step in [first, *steps]]
    return window[0], tuple(moved[1:]), moved[0]


def reach(shape: Shape, strides: Strides) -> int:
    """How many elements of memory lie between the first and the last of a window, both included; 0 if it is empty.

    >>> reach((2, 3), (10, 2))
    15
    """
    return 0 if 0 in shape else 1 + sum([(n - 1) * step for n, step in zip(shape, strides, strict=True)])


@lru_cache(1 << 12)
def overlaps(shape: Shape, strides: Strides) -> bool:
    """Whether two elements of a window are one element of memory.

    >>> overlaps((3, 4), (0, 1)), overlaps((1, 4), (0, 1)), overlaps((3, 2), (1, 1)), overlaps((3, 2), (2, 3))
    (True, False, True, False)
    """
    axes = sorted([(step, n) for n, step in zip(shape, strides, strict=True) if n != 1])
    if 0 in shape:
        return False
    covered, apart = 0, True
    for step, n in axes:
        apart = apart and step > covered
        covered += (n - 1) * step
    if apart or axes[0][0] == 0:
        return not apart
    for i, (a, n) in enumerate(axes):
        for b, m in axes[:i]:
            common = gcd(a, b)
            if b // common < n and a // common < m:
                return True
    if len(axes) < 3:
        return False
    places = sum([np.arange(n).reshape((-1,) + (1,) * i) * step for i, (step, n) in enumerate(axes)])
    return bool(np.bincount(np.ravel(places)).max() > 1)


def without_overlap(shape: Shape, strides: Strides) -> tuple[Shape, Strides] | None:
    """A window of the same elements of memory, each of them once; None if that is none that is found by joining axes.

    >>> without_overlap((3, 4), (0, 1)), without_overlap((3, 2), (1, 1)), without_overlap((4, 3), (2, 3))
    (((4,), (1,)), ((4,), (1,)), None)
    """
    axes = sorted([(step, n) for n, step in zip(shape, strides, strict=True) if n != 1 and step])
    i = 0
    while i + 1 < len(axes):
        (small, n), (step, m) = axes[i], axes[i + 1]
        if step % small or step // small > n:
            i += 1
        else:
            axes[i:i + 2] = [(small, (m - 1) * (step // small) + n)]
    window = tuple([n for _, n in axes]), tuple([step for step, _ in axes])
    return None if overlaps(*window) else window


@lru_cache(1 << 14)
def strided_steps(size: int, shape: Shape, strides: Strides, offset: int) -> Steps:
    """The movement ops that make a window of a value of ``size`` elements. The axes are split off the flat value one by
    one, the longest stride first: as blocks, where what is inside does not reach into the next, else as a WINDOW.
    A window in which no two elements are one can be written through its steps: there is no EXPAND among them.

    >>> strided_steps(24, (3, 2), (1, 12), 2)[1:]
    (('RESHAPE', (2, 12)), ('SHRINK', ((0, 2), (2, 5))), ('PERMUTE', (1, 0)))
    >>> strided_steps(24, (4,), (7,), 1)
    (('RESHAPE', (24,)), ('SHRINK', ((1, 23),)), ('STRIDE', (7,)))
    >>> strided_steps(6, (4, 3), (1, 1), 0)
    (('RESHAPE', (6,)), ('WINDOW', ((0, 3, 1, 1),)))
    """
    steps: list[Step] = [(Op.RESHAPE, (size,))]
    if shape.count(1) == len(shape):  # one element: what is below comes to the same, for more work
        part: Steps = ((Op.SHRINK, ((offset, offset + 1),)),) if size > 1 else ()
        return (*steps, *part, (Op.RESHAPE, shape)) if shape != (1,) else (*steps, *part)
    if 0 in shape:
        return (*steps, (Op.SHRINK, ((0, 0),)), (Op.RESHAPE, shape))
    order = sorted([a for a, n in enumerate(shape) if n > 1 and strides[a]], key=lambda a: -strides[a])
    done: list[int] = []  # the sizes of the axes split off
    begin, length = offset, size  # where the window begins on what is left, the last axis, and how long that is

    def shrink(begin: int, end: int) -> None:
        if (begin, end) != (0, length):
            steps.append((Op.SHRINK, (*[(0, n) for n in done], (begin, end))))

    for i, axis in enumerate(order):
        n, step = shape[axis], strides[axis]
        inner = reach(tuple([shape[a] for a in order[i + 1:]]), tuple([strides[a] for a in order[i + 1:]]))
        row, column = divmod(begin, step)
        if inner == 1:
            shrink(begin, begin + (n - 1) * step + 1)
            if step > 1:
                steps.append((Op.STRIDE, (*[1] * len(done), step)))
        elif length % step == 0 and column + inner <= step:
            steps.append((Op.RESHAPE, (*done, length // step, step)))
            if n < length // step:
                steps.append((Op.SHRINK, (*[(0, n) for n in done], (row, row + n), (0, step))))
            begin, length = column, step
        elif inner <= step and n * step <= length:
            start = min(begin, length - n * step)
            shrink(start, start + n * step)
            steps.append((Op.RESHAPE, (*done, n, step)))
            begin, length = begin - start, step
        else:
            shrink(begin, begin + (n - 1) * step + inner)
            steps.append((Op.WINDOW, ((len(done), inner, step, 1),)))
            begin, length = 0, inner
        done.append(n)
    if not order:
        shrink(begin, begin + 1)
        done.append(1)
    kept = sorted(order)
    if kept != order:
        steps.append((Op.PERMUTE, tuple([order.index(a) for a in kept])))
    single = tuple([n if a in kept else 1 for a, n in enumerate(shape)])
    if single != tuple([shape[a] for a in kept or ()] or done):
        steps.append((Op.RESHAPE, single))
    return (*steps, (Op.EXPAND, shape)) if single != shape else tuple(steps)
