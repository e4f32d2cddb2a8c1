"""Stage: lower, kernels of several stages. In: what the stages read and write at one point of the outer space. Out:
whether to take several neighbouring points at once, so that columns fill vectors, or rows fill the register tiles of a
contraction.
Next: ``walk.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from minigrad.kernel.ir import Apply
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, traffic
from minigrad.ops import Op
from minigrad.symbolic import Sym, coefficient, variables
from minigrad.target import Target

ROWS = 64
"""Points that a contraction takes at once."""

LENGTH = 128
"""Steps of an axis that is walked that make a block. Two blocks of so many rows of 64 points fit the cache next to a
core; longer ones are as fast (64 to 512 were tried), but more of them lies beyond the edge of a causal mask."""

COLUMNS = 512
"""Points that are taken at once where they lie side by side: rows are read in runs that long."""


@dataclass(frozen=True, slots=True)
class Block:
    """``size`` neighbouring points of outer axis ``axis``; ``innermost``: they lie side by side in scratch memory,
    else each has its own run of it."""

    axis: int
    size: int
    innermost: bool


def choose_block(bodies: Sequence[Body], outer: Sequence[Axis], columns: int, least: int, rows: int,
                 others: int = 1) -> Block | None:
    """The axis and number of points, or None to take one point at a time: up to so many ``columns``, and ``least`` at
    least, where points lie side by side in memory; so many ``rows`` of a product; so many of what is neither."""
    inner, along = contiguous_runs(bodies, [a.var for a in outer])
    best = max(range(len(outer)), key=lambda j: along[j])
    if along[best] > inner:
        size = block_size(outer[best].size, columns, least)
        return Block(best, size, True) if size > 1 else None
    for j in reversed(range(len(outer))):
        if outer[j].size >= 4 and any(is_row(b, outer[j].var) for b in bodies):
            size = block_size(outer[j].size, rows, 4)
            return Block(j, size, False) if size >= 4 else None
    j = max(j for j, a in enumerate(outer) if a.size > 1)
    size = block_size(outer[j].size, others, 2)
    return Block(j, size, False) if size > 1 else None


def columns_and_rows(target: Target, points: int, scratch: int) -> tuple[int, int, int]:
    """What a processor takes at once, for ``choose_block``: of so many points, each of which needs so many bytes."""
    room, lanes = max(1, target.row_bytes // max(1, scratch)), target.lanes(4)
    wide = min(COLUMNS, max(4 * lanes, points // target.parallel_min))
    return max(lanes, min(wide, room)), lanes, min(ROWS, room)


def choose_rows(bodies: Sequence[Body], outer: Sequence[Axis], target: Target) -> Block:
    """The points that a walk takes at once: rows of its products, side by side in the lanes of vectors."""
    found = [j for j in range(len(outer)) if any(is_row(b, outer[j].var) for b in bodies)]
    axis = max(found or range(len(outer)), key=lambda j: (outer[j].size > 1, j))
    extent, lanes = outer[axis].size, target.lanes(4)
    whole = [size for size in range(ROWS - ROWS % lanes, ROWS // 2 - 1, -lanes) if extent % size == 0]
    return Block(axis, min(extent, whole[0] if whole else ROWS), True)


def walk_length(size: int) -> int:
    """Steps of an axis that is walked that make a block."""
    return block_size(size, LENGTH, LENGTH)


def block_size(extent: int, most: int, least: int) -> int:
    """A block size up to ``most``: one that divides the extent, if it is not too small."""
    if extent <= most:
        return extent
    for size in range(most, max(1, least // 2), -1):
        if extent % size == 0:
            return size
    return most


def contiguous_runs(bodies: Sequence[Body], outer: Sequence[Sym]) -> tuple[int, list[int]]:
    """How many elements are accessed in runs along axes inside the point, and along each outer axis."""
    inner, along = 0, [0] * len(outer)
    for body in bodies:
        sizes = dict(body.axes)
        for r in body.reductions:
            sizes.update(zip(r.vars, r.sizes, strict=True))
        loads = traffic([*(o.value for o in body.outputs), *(r.value for r in body.reductions)]).loads
        for array, index in [*((x.array, x.index) for x in loads), *((o.array, o.index) for o in body.outputs)]:
            if array.scope != "global":
                continue
            weight = 1
            for v in variables(index):
                weight *= sizes.get(v, 1)
            for j, v in enumerate(outer):
                if coefficient(index, v) == 1:
                    along[j] += weight
            if any(coefficient(index, v) == 1 for v in variables(index) if v in sizes):
                inner += weight
    return inner, along


def is_row(body: Body, v: Sym) -> bool:
    """Whether the body sums products of two operands, only one of which depends on ``v``."""
    for r in body.reductions:
        if r.node.op == Op.SUM and isinstance(r.value, Apply) and r.value.op == Op.MUL:
            a, b = ({x for e in traffic((s,)).indices() for x in variables(e)} for s in r.value.srcs)
            if (v in a) != (v in b) and (a ^ b) - {v} - set(r.vars):
                return True
    return False
