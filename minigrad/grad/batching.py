"""Stage: gradients. In: a computation on one row. Out: the same on all rows at once: every node with an axis of rows in
front. One row of the table for each primitive.
Next: ``loop.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.ops import ELEMENTWISE, REDUCE, Op

Values = list[LazyBuffer]


class Batch:
    """Computes nodes for all ``rows`` at once. ``at`` holds what is known: nodes whose value has an axis of rows in
    front; ``same``: nodes that have one value for all rows.

    >>> from minigrad.dtype import float32
    >>> from minigrad.graph.function import param
    >>> x, w = param(0, (3,), float32, "CPU"), param(1, (3,), float32, "CPU")
    >>> batch = Batch(5, {x: param(0, (5, 3), float32, "CPU")}, {w: w})
    >>> batch.of(x.binary(Op.MUL, w)).shape
    (5, 3)
    >>> batch.total(x.binary(Op.MUL, w)).shape
    (3,)
    """

    def __init__(self, rows: int, at: Mapping[LazyBuffer, LazyBuffer], same: Mapping[LazyBuffer, LazyBuffer]) -> None:
        self.rows = rows
        self.at = dict(at)
        self.same = dict(same)

    def of(self, node: LazyBuffer) -> LazyBuffer:
        """The node's values in all rows."""
        self._compute(node)
        return self.at[node] if node in self.at else self._repeated(node)

    def total(self, node: LazyBuffer) -> LazyBuffer:
        """The sum of the node's values over all rows. Where it is itself a sum, or moves one, one reduction does both:
        the values of all rows are never stored."""
        path: list[LazyBuffer] = []
        source = node
        while source not in self.at and source.op in _LINEAR:
            path.append(source)
            source = source.srcs[0]
        if source not in self.at and source.op == Op.SUM:
            rows = self.of(source.srcs[0])
            result = rows.reduce(Op.SUM, (0, *[a + 1 for a in source.arg])).reshape(source.shape)
        else:
            result = self.of(source).reduce(Op.SUM, (0,)).reshape(source.shape)
        for step in reversed(path):
            result = LazyBuffer(step.op, (result,), step.arg, step.shape, step.dtype, step.device)
        return result

    def _compute(self, wanted: LazyBuffer) -> None:
        for node in toposort([wanted]):
            if node in self.at or node in self.same:
                continue
            if all(s in self.same for s in node.srcs):
                self.same[node] = node if not node.srcs else LazyBuffer(
                    node.op, tuple([self.same[s] for s in node.srcs]), node.arg, node.shape, node.dtype, node.device)
                continue
            rule = RULES.get(node.op)
            if rule is None:
                raise NotImplementedError(f"{node.op} can't be computed for the steps of a loop at once")
            self.at[node] = rule(node, [self.at[s] if s in self.at else self._repeated(s) for s in node.srcs])

    def _repeated(self, node: LazyBuffer) -> LazyBuffer:
        value = self.same[node]
        return value.reshape((1, *value.shape)).expand((self.rows, *value.shape))


_LINEAR = frozenset((Op.RESHAPE, Op.PERMUTE, Op.NEG, Op.PAD, Op.SHRINK, Op.FLIP, Op.STRIDE, Op.EXPAND))
"""What may be done after the rows have been added up as well as before."""


def _elementwise(node: LazyBuffer, v: Values) -> LazyBuffer:
    return LazyBuffer(node.op, tuple(v), node.arg, v[0].shape, node.dtype, node.device)


def _later(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([a + 1 for a in axes])


def _expand(node: LazyBuffer, v: Values) -> LazyBuffer:
    a, added = v[0], len(node.shape) - len(node.srcs[0].shape)
    rows = a.shape[0]
    return a.reshape((rows, *[1] * added, *a.shape[1:])).expand((rows, *node.shape))


def _window(node: LazyBuffer, v: Values) -> LazyBuffer:
    return v[0].window(tuple([(axis + 1, size, stride, dilation) for axis, size, stride, dilation in node.arg]))


def _row_number(like: LazyBuffer) -> LazyBuffer:
    return LazyBuffer.index(like.shape, 0, like.device)


def _gather(node: LazyBuffer, v: Values) -> LazyBuffer:
    return v[0].gather([_row_number(v[1]), *v[1:]])


def _scatter(node: LazyBuffer, v: Values) -> LazyBuffer:
    return v[0].scatter(v[1], [_row_number(v[2]), *v[2:]], node.arg[1])


def _chain(node: LazyBuffer, chain: tuple[tuple[str, Any], ...], rows: int) -> tuple[tuple[str, Any], ...]:
    """Movement ops on each row, as ones on all rows."""
    result = []
    row = LazyBuffer(Op.PARAM, (), 0, node.shape, node.dtype, node.device)
    every = LazyBuffer(Op.PARAM, (), 0, (rows, *node.shape), node.dtype, node.device)
    for op, arg in chain:
        row = row.move(op, arg)
        every = RULES[op](row, [every])
        result.append((op, every.arg))
    return tuple(result)


def _assign(node: LazyBuffer, v: Values) -> LazyBuffer:
    return v[0].assign(v[1], _chain(node, node.arg, v[0].shape[0]))


RULES: dict[str, Callable[[LazyBuffer, Values], LazyBuffer]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(REDUCE, lambda n, v: v[0].reduce(n.op, _later(n.arg))),
    Op.RESHAPE: lambda n, v: v[0].reshape((v[0].shape[0], *n.shape)),
    Op.PERMUTE: lambda n, v: v[0].permute((0, *_later(n.arg))),
    Op.EXPAND: _expand,
    Op.PAD: lambda n, v: v[0].pad(((0, 0, 0), *n.arg)),
    Op.SHRINK: lambda n, v: v[0].shrink(((0, v[0].shape[0]), *n.arg)),
    Op.FLIP: lambda n, v: v[0].flip(_later(n.arg)),
    Op.STRIDE: lambda n, v: v[0].stride((1, *n.arg)),
    Op.WINDOW: _window,
    Op.CONTIGUOUS: lambda n, v: v[0].contiguous(),
    Op.GATHER: _gather,
    Op.SCATTER: _scatter,
    Op.ASSIGN: _assign,
    Op.SCAN: lambda n, v: v[0].scan(n.arg[0], n.arg[1] + 1),
}
