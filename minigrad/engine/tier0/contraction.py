"""Stage: realise, tier 0. In: the shape of a product of two views and the axes that it is summed over. Out: the
sum as a batch of matrix products, with one stride for each role that an axis can have.
Next: ``builder.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from minigrad.engine.tier0.views import Strides, merged, simplest
from minigrad.graph.lazy import contiguous_strides

NARROW = 8
"""Columns up to which a matrix product runs its vectors along the rows, if there are more of those."""

DEEP, REREAD = 256, 64
"""Terms of a sum, and columns, from which an operand whose terms lie apart is copied first: a tile would take more
cache lines than the nearest cache has, and every tile of columns reads them again. For rows of the second operand that
collide, twice as many terms, and rows of the result."""

ROWS, COLUMNS = 96, 256
"""Rows and columns that an iteration takes, about: what of the operands it reads again lies in the cache."""

ITERATION, ITERATIONS = 1 << 19, 24
"""Products that an iteration is worth, and iterations that are wanted where there is so much work."""


APART, PAD = 512, 16
"""Rows of the second operand that are a multiple of so many elements apart take each other's place in the cache. A copy
has so many more between them."""


class Copy(NamedTuple):
    """Elements of ``sizes`` and ``strides`` are copied to where they have the strides ``to``."""

    sizes: tuple[int, ...]
    strides: Strides
    to: Strides


class Operand(NamedTuple):
    """``steps``: a stride for each group of axes. ``copy``: what has those, if the view itself has none that do."""

    steps: tuple[int, ...]
    copy: Copy | None


class Contraction(NamedTuple):
    """``sum over k of a[batch, row, k] * b[batch, k, column]``; ``swapped``: a is the second operand of the product.
    ``strides``: those of the result in the shape of the sum, as ``simplest`` gives them."""

    batches: int
    rows: int
    columns: int
    depth: int
    swapped: bool
    a: Operand
    b: Operand
    strides: tuple[Strides | None, bool]

    def blocks(self, height: int, width: int) -> tuple[int, int, int, int]:
        """How many tiles of ``height`` rows one iteration takes, and how many iterations that makes; the same for
        ``width`` columns."""
        rows, columns = max(1, self.rows // height), max(1, self.columns // width)
        row_tiles, column_tiles = min(rows, ROWS // height), min(columns, max(1, COLUMNS // width))
        row_blocks, column_blocks = -(-rows // row_tiles), -(-columns // column_tiles)
        wanted = min(ITERATIONS, self.batches * self.rows * self.columns * self.depth // ITERATION)
        while self.batches * row_blocks * column_blocks < wanted and row_tiles * column_tiles > 1:
            if row_tiles == 1 or (column_tiles > 1 and column_tiles * width > row_tiles * height):
                column_tiles = -(-column_tiles // 2)
                column_blocks = -(-columns // column_tiles)
            else:
                row_tiles = -(-row_tiles // 2)
                row_blocks = -(-rows // row_tiles)
        return row_tiles, row_blocks, column_tiles, column_blocks


@lru_cache(1 << 12)
def contraction(shape: tuple[int, ...], axes: tuple[int, ...], x: Strides, y: Strides) -> Contraction | None:
    """How to sum a product of views with strides x and y over axes. None: no axis belongs to one operand alone, so
    the products take no more memory than the operands do.

    >>> found = contraction((4, 8, 3), (2,), (3, 0, 1), (0, 1, 8))  # (4, 3) @ (3, 8)
    >>> found.rows, found.columns, found.depth, found.a.steps, found.b.steps
    (4, 8, 3, (1, 3, 1), (1, 8, 1))
    """
    batch: list[int] = []
    rows: list[int] = []
    columns: list[int] = []
    depth: list[int] = []
    for a, extent in enumerate(shape):
        if extent == 1:
            continue
        if a in axes:
            depth.append(a)
        elif x[a] and y[a]:
            batch.append(a)
        else:
            (columns if y[a] else rows).append(a)
    many, wide = (math.prod([shape[a] for a in group]) for group in (rows, columns))
    if many == 1 and wide == 1:
        return None
    swapped = wide < NARROW and many > wide
    if swapped:
        x, y, rows, columns, many, wide = y, x, columns, rows, wide, many
    strides = [0] * len(shape)
    order = [*batch, *rows, *columns]
    for a, step in zip(order, contiguous_strides([shape[a] for a in order]), strict=True):
        strides[a] = step
    kept = tuple([1 if a in axes else n for a, n in enumerate(shape)])
    batches, deep = (math.prod([shape[a] for a in group]) for group in (batch, depth))
    first = _operand(shape, x, [batch, rows, depth], deep >= DEEP and wide >= REREAD)
    second = _operand(shape, y, [batch, depth, columns], True, deep >= 2 * DEEP and many >= REREAD)
    return Contraction(batches, many, wide, deep, swapped, first, second, simplest(tuple(strides), kept))


def _operand(shape: tuple[int, ...], strides: Strides, groups: Sequence[list[int]], dense: bool,
             apart: bool = False) -> Operand:
    """``dense``: the last group must have stride 1; ``apart``: its rows must not be a multiple of ``APART`` apart."""
    steps: list[int] = []
    for group in groups:
        if len(group) < 2:
            steps.append(strides[group[0]] if group else 1)
            continue
        _, (joined,) = merged([shape[a] for a in group], [tuple([strides[a] for a in group])])
        if len(joined) > 1:
            break
        steps.append(joined[0])
    if (len(steps) == len(groups) and (not dense or steps[-1] == 1)
            and not (apart and steps[1] and steps[1] % APART == 0)):
        return Operand(tuple(steps), None)
    whole = [math.prod([shape[a] for a in group]) for group in groups]
    if apart and whole[-1] % APART == 0:
        whole[-1] += PAD
    axes = [a for group in groups for a in group]
    to: list[int] = []
    for group, step in zip(groups, contiguous_strides(whole), strict=True):
        to += [step * inside for inside in contiguous_strides([shape[a] for a in group])]
    return Operand(contiguous_strides(whole), Copy(tuple([shape[a] for a in axes]), tuple([strides[a] for a in axes]),
                                                   tuple(to)))
