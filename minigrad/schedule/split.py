"""Stage: schedule, between steps 1 and 2. In: a simplified graph. Out: the same graph with each long reduction to few
results split in two levels, so that its first level is wide enough to feed a machine; likewise each scatter of many
entries to few places. The split depends on shapes and constants only, so results are the same bits for any number of
threads.
Next: ``streaming.py``."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.dtype import bool_
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.origins import follow
from minigrad.ops import REDUCE, REDUCE_OPS, SCATTER_MODES, Op, scatter_combine
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

COPIES = 16
"""Parts of a scatter's entries that have a destination of their own, at most; on a GPU ``COPIES_GPU``."""

COPIES_GPU = 1024

FEW_COLUMNS = 64
"""A scatter of longer rows is divided by columns or rows."""


def split_reductions(outputs: Sequence[LazyBuffer], target: Target) -> list[LazyBuffer]:
    """Replace ``SUM(x)`` to fewer than ``target.parallel_min`` results (on a GPU, some times as many) by
    ``SUM(SUM(parts of x))`` where x is long.

    A 4096 × 4096 sum keeps its first axis in the first level; a vector of a million is cut into 244 parts of 4096 and
    a rest, which is reduced beside them.
    """
    few = target.parallel_min * (SIDE_BY_SIDE if target.workgroup else 1)
    at: dict[LazyBuffer, LazyBuffer] = {}
    for node in toposort(outputs):
        follow(node)
        srcs = tuple([at[s] for s in node.srcs])
        new = node if srcs == node.srcs else LazyBuffer(node.op, srcs, node.arg, node.shape, node.dtype, node.device)
        if node.op in REDUCE and 0 < node.size < few and srcs[0].size >= node.size * 4 * CHUNK:
            new = _split(new)
        elif node.op == Op.SCATTER:
            new = _split_scatter(new, target)
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


def _split_scatter(node: LazyBuffer, target: Target) -> LazyBuffer:
    """A scatter of many entries to few places: equal parts of the entries, and a rest, are each scattered to a
    destination of their own, side by side; then these are joined."""
    base, value, *indexes = node.srcs
    count, mode = node.arg[:2]
    reduction, entries = SCATTER_MODES[mode], indexes[0].size
    columns = value.size // max(1, entries)
    most = COPIES_GPU if target.workgroup else COPIES
    copies = min(most, entries // CHUNK, entries * columns // max(1, 4 * node.size))
    if reduction is None or copies < 2 or columns >= FEW_COLUMNS or any([i.op == Op.INDEX for i in indexes]):
        return node
    part = entries // copies
    combine = scatter_combine(mode, node.dtype)

    def entry_rows(source: LazyBuffer, begin: int, end: int, shape: tuple[int, ...]) -> LazyBuffer:
        rest = source.shape[len(indexes[0].shape):]
        flat = source.reshape((entries, *rest)).shrink(((begin, end), *[(0, n) for n in rest]))
        return flat.reshape((*shape, *rest))

    identity = REDUCE_OPS[reduction].identity(node.dtype)
    empty = LazyBuffer.const(identity, node.dtype, (copies, *node.shape), node.device)
    srcs = [entry_rows(s, 0, copies * part, (copies, part)) for s in (value, *indexes)]
    copy = LazyBuffer.index((copies, part), 0, node.device)
    apart = LazyBuffer(Op.SCATTER, (empty, srcs[0], copy, *srcs[1:]), (count + 1, mode, 1), empty.shape, node.dtype,
                       node.device)
    if node.dtype is bool_:
        reduction = Op.MAX if combine == Op.OR else Op.MIN if combine == Op.AND else reduction
    joined = base.binary(combine, apart.reduce(reduction, (0,)).reshape(node.shape))
    if copies * part == entries:
        return joined
    rest = [entry_rows(s, copies * part, entries, (entries - copies * part,)) for s in (value, *indexes)]
    return joined.scatter(rest[0], rest[1:], mode)
