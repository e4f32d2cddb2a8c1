"""Stage: schedule, between steps 1 and 2. In: a simplified graph. Out: the same graph with each long reduction to few
results split in two levels, so that its first level is wide enough to feed a machine. The split depends on shapes and
constants only, so results are the same bits for any number of threads.
Next: ``access.py``."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.ops import REDUCE, REDUCE_OPS
from minigrad.target import Target

WIDE = 256
"""Partial results that the first level makes, at least when there is that much to reduce."""

CHUNK = 4096
"""Elements that one partial result of a cut axis stands for."""

ROW = 64
"""Elements, at least, that a partial result stands for when whole axes are kept."""

SIDE_BY_SIDE = 8
"""Results that a workgroup of a GPU reduces together where they are neighbours in memory: it takes so many times more
of them to keep all workgroups busy."""


def split_reductions(outputs: Sequence[LazyBuffer], target: Target) -> list[LazyBuffer]:
    """Replace ``SUM(x)`` to fewer than ``target.parallel_min`` results (on a GPU, some times as many) by
    ``SUM(SUM(parts of x))`` where x is long.

    A 4096 × 4096 sum keeps its first axis in the first level; a vector of a million is cut into 244 parts of 4096 and
    a rest, which is reduced beside them.
    """
    few = target.parallel_min * (SIDE_BY_SIDE if target.workgroup else 1)
    at: dict[LazyBuffer, LazyBuffer] = {}
    for node in toposort(outputs):
        srcs = tuple([at[s] for s in node.srcs])
        new = node if srcs == node.srcs else LazyBuffer(node.op, srcs, node.arg, node.shape, node.dtype, node.device)
        if node.op in REDUCE and 0 < node.size < few and srcs[0].size >= node.size * 4 * CHUNK:
            new = _split(new)
        at[node] = new
    return [at[o] for o in outputs]


def _split(node: LazyBuffer) -> LazyBuffer:
    """Keep reduced axes in the first level, outermost first, while each partial result is still worth a row; if that
    makes enough of them, the second level reduces them (in two levels again, should they be many)."""
    source, op = node.srcs[0], node.op
    kept: list[int] = []
    width = node.size
    for axis in node.arg:
        if width >= WIDE or source.size // (width * source.shape[axis]) < ROW:
            break
        kept.append(axis)
        width *= source.shape[axis]
    if kept and width >= WIDE // 4:
        second = source.reduce(op, [a for a in node.arg if a not in kept]).reduce(op, kept)
        return _split(second) if _is_long(second) else second
    return _split_axis(source, op, list(node.arg))


def _is_long(node: LazyBuffer) -> bool:
    return node.srcs[0].size >= node.size * 4 * CHUNK


def _split_axis(source: LazyBuffer, op: str, axes: list[int]) -> LazyBuffer:
    """Cut the longest reduced axis into equal parts and a rest."""
    axis = max(axes, key=lambda a: (source.shape[a], -a))
    size = source.shape[axis]
    per_element = source.size // size
    part = max(1, min(-(-CHUNK // per_element), size // 2)) if per_element < CHUNK else 1
    part = max(part, size // (4 * WIDE))
    parts = size // part
    main_shape = source.shape[:axis] + (parts, part) + source.shape[axis + 1:]
    box = [(0, s) for s in source.shape]
    box[axis] = (0, parts * part)
    main = source.shrink(tuple(box)).reshape(main_shape)
    inner = [a if a < axis else a + 1 for a in axes if a != axis] + [axis + 1]
    result_shape = tuple(1 if a in axes else s for a, s in enumerate(source.shape))
    result = main.reduce(op, inner).reduce(op, [axis]).reshape(result_shape)
    if parts * part < size:
        box[axis] = (parts * part, size)
        rest = source.shrink(tuple(box)).reduce(op, axes)
        result = result.binary(REDUCE_OPS[op].combine, rest)
    return result
