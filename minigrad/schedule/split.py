"""Stage: schedule, between steps 1 and 2. In: a simplified graph. Out: the same graph with each long reduction to few
results split in two levels, so that its first level is wide enough to feed a machine; likewise each scatter of many
entries to few places. The split depends on shapes and constants only, so results are the same bits for any number of
threads.
Next: ``streaming.py``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from minigrad.dtype import bool_
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.origins import follow
from minigrad.ops import ELEMENTWISE, MOVEMENT, REDUCE, REDUCE_OPS, SCATTER_MODES, Op, scatter_combine
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

COLUMNS = 1024
"""Neighbouring results that one iteration of a parallel loop adds up across memory, about."""

NARROW = 64
"""Such results where they are read beside all rows again. With 256 columns the variance of 2^24 numbers took 6.0 ms
instead of 9.6 ms, with 1000 5.6 instead of 9.2, and a softmax as long; with 4096 11.1 instead of 8.6 (one core)."""

PARTS = 64
"""Parts of the rows that are added up by themselves where there are few columns, at most."""

ROWS = 128
"""Rows of such a part, at least: its sums are written and read once more."""

MUCH = 1 << 20
"""Elements from which that is worth a second kernel: a float32 matrix of 4 MiB, no more in the caches of one core.
``python -m tools.bench --only sum_axis0`` times a larger one."""

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
    order = toposort(outputs)
    across = frozenset() if target.workgroup else _sums_across(order, target)
    for node in order:
        follow(node)
        srcs = tuple([at[s] for s in node.srcs])
        new = node if srcs == node.srcs else LazyBuffer(node.op, srcs, node.arg, node.shape, node.dtype, node.device)
        if node.op in REDUCE and 0 < node.size < few and srcs[0].size >= node.size * 4 * CHUNK:
            new = _split(new)
        elif node in across:
            new = _split_rows(new)
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
    return _split_axis(source, op, list(node.arg), kept=kept)


def _is_long(node: LazyBuffer) -> bool:
    return node.srcs[0].size >= node.size * 4 * CHUNK


def _sums_across(order: Sequence[LazyBuffer], target: Target) -> frozenset[LazyBuffer]:
    """The reductions across memory to few results whose rows are to be added up in parts. Where a result is read beside
    all rows again, blocks of columns do both, while they are in a cache; unless these are too few to be divided."""
    found: set[LazyBuffer] = set()
    beside: dict[LazyBuffer, int] = {}  # the largest shape that a node's elements are repeated to
    for node in reversed(order):
        repeated = beside.get(node, 0)
        if node.op in REDUCE:
            columns = target.parallel_min * (COLUMNS if repeated < node.srcs[0].size else NARROW)
            if _is_across(node, columns):
                found.add(node)
        elif node.op in ELEMENTWISE or node.op in MOVEMENT:
            repeated = max(repeated, node.size if node.op == Op.EXPAND else 0)
            beside.update((s, repeated) for s in node.srcs if beside.get(s, 0) < repeated)
    return frozenset(found)


def _is_across(node: LazyBuffer, columns: int) -> bool:
    """Whether neighbours in memory belong to different results, fewer than ``columns``, and it is no product of
    matrices."""
    source = node.srcs[0]
    last = max((a for a, n in enumerate(source.shape) if n > 1), default=0)
    return (source.size >= MUCH and 1 < node.size < columns and source.size >= 2 * ROWS * node.size
            and not (source.op == Op.MUL and all([_is_repeated(s) for s in source.srcs]))
            and last not in node.arg and _innermost(source) not in node.arg)


def _innermost(node: LazyBuffer) -> int:
    """The axis along which neighbours lie in the memory that a value is made of, or that it would have."""
    axes = list(range(len(node.shape)))  # of the value, for each axis of the node that we have come to
    while True:
        if node.op == Op.PERMUTE:
            axes = [axes[node.arg.index(a)] for a in range(len(axes))]
        elif node.op == Op.RESHAPE and _sizes(node) == _sizes(node.srcs[0]):
            long = iter([a for a, n in zip(axes, node.shape, strict=True) if n > 1])
            axes = [next(long) if n > 1 else -1 for n in node.srcs[0].shape]
        elif node.op not in ELEMENTWISE and node.op not in (Op.EXPAND, Op.SHRINK):
            strides = node.arg if node.op == Op.BUFFER and node.arg is not None else range(len(axes), 0, -1)
            return min(((s, a) for s, a, n in zip(strides, axes, node.shape, strict=True) if n > 1), default=(0, -1))[1]
        node = next((s for s in node.srcs if not _is_repeated(s)), node.srcs[0])
        axes = axes[len(axes) - len(node.shape):]


def _sizes(node: LazyBuffer) -> list[int]:
    return [n for n in node.shape if n > 1]


def _is_repeated(node: LazyBuffer) -> bool:
    """Whether it is an operand that a product reads again for other results."""
    while node.op in (Op.CAST, Op.RESHAPE, Op.PERMUTE):
        node = node.srcs[0]
    return node.op == Op.EXPAND


def _split_rows(node: LazyBuffer) -> LazyBuffer:
    """Add up parts of the rows first: each is read in one piece, with sums for whole rows in the cache next to a core.
    The outermost axis makes the parts, if it is long enough."""
    source, rows = node.srcs[0], node.srcs[0].size // node.size
    parts = min(PARTS, rows // ROWS)
    outermost = source.shape[node.arg[0]]
    if len(node.arg) > 1 and parts <= 2 * outermost and rows >= ROWS * outermost:
        return source.reduce(node.op, node.arg[1:]).reduce(node.op, node.arg[:1])
    size = source.shape[_longest(source, node.arg)]
    parts = next((n for n in range(min(parts, size), parts // 2, -1) if size % n == 0), parts)
    return _split_axis(source, node.op, list(node.arg), max(1, size // parts))


def _longest(source: LazyBuffer, axes: Sequence[int]) -> int:
    return max(axes, key=lambda a: (source.shape[a], -a))


def _split_axis(source: LazyBuffer, op: str, axes: list[int], part: int | None = None,
                kept: Sequence[int] = ()) -> LazyBuffer:
    """Cut the longest reduced axis into equal parts, of ``part`` elements, and a rest. The axes ``kept``, which are
    further out, stay in the first level: what is added up to a partial result lies together in memory."""
    axis = _longest(source, [a for a in axes if a not in kept])
    size, outer = source.shape[axis], prod([source.shape[a] for a in kept])
    if part is None:
        per_element = source.size // (size * outer)
        part = max(1, min(-(-CHUNK // per_element), size // 2)) if per_element < CHUNK else 1
        part = max(part, size * outer // (4 * WIDE))
        if kept:
            part = next((n for n in range(part, min(2 * part, size)) if size % n == 0), part)
    parts = size // part
    main_shape = source.shape[:axis] + (parts, part) + source.shape[axis + 1:]
    box = [(0, s) for s in source.shape]
    box[axis] = (0, parts * part)
    main = source.shrink(tuple(box)).reshape(main_shape)
    inner = [a if a < axis else a + 1 for a in axes if a != axis and a not in kept] + [axis + 1]
    result_shape = tuple(1 if a in axes else s for a, s in enumerate(source.shape))
    result = main.reduce(op, inner).reduce(op, [*kept, axis]).reshape(result_shape)
    if parts * part < size:
        box[axis] = (parts * part, size)
        rest = source.shrink(tuple(box)).reduce(op, [a for a in axes if a not in kept])
        result = result.binary(REDUCE_OPS[op].combine, rest.reduce(op, kept) if kept else rest)
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
