"""Stage: gradients. In: a computation on one row. Out: the same on all rows at once: every node that differs from row
to row with an axis of rows in front. One row of the table for each primitive.
Next: ``loop.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minigrad.graph.function import Gradient, Subgraph, apply, param
from minigrad.graph.host import ALONG_AXIS, IN_ROWS, host_outputs
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.loop import Loop, loop_outputs
from minigrad.ops import ELEMENTWISE, REDUCE, Op

Values = list[LazyBuffer]


class Batch:
    """Computes nodes for all ``rows`` at once. ``at`` holds what is known: nodes whose value has an axis of rows in
    front; ``same``: nodes that have one value for all rows. Of a node with several outputs they hold a list, in which
    None is an output that the other one has. ``one_key``: a key for random bits that has rows is one key, repeated;
    otherwise such keys raise ``NotImplementedError``.

    >>> from minigrad.dtype import float32
    >>> x, w = param(0, (3,), float32, "CPU"), param(1, (3,), float32, "CPU")
    >>> batch = Batch(5, {x: param(0, (5, 3), float32, "CPU")}, {w: w})
    >>> batch.of(x.binary(Op.MUL, w)).shape
    (5, 3)
    >>> batch.total(x.binary(Op.MUL, w)).shape
    (3,)
    """

    def __init__(self, rows: int, at: Mapping[LazyBuffer, LazyBuffer], same: Mapping[LazyBuffer, LazyBuffer],
                 one_key: bool = False) -> None:
        self.rows = rows
        self.one_key = one_key
        self.at: dict[LazyBuffer, Any] = dict(at)
        self.same: dict[LazyBuffer, Any] = dict(same)
        self.parts: dict[LazyBuffer, Values] = {}  # all results of HOST nodes; the node itself is the first

    def of(self, node: LazyBuffer) -> LazyBuffer:
        """The node's values in all rows."""
        self._compute(node)
        return self._rows_of(node)

    def differs(self, node: LazyBuffer) -> bool:
        """Whether the node's value may differ from row to row."""
        self._compute(node)
        return node in self.at

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
        """Find the values of a node and of what it is computed from; what is known is not entered."""
        at, same = self.at, self.same
        stack = [wanted]
        while stack:
            node = stack[-1]
            if node in at or node in same:
                stack.pop()
                continue
            missing = [s for s in node.srcs if s not in at and s not in same]
            if missing:
                stack += missing
                continue
            stack.pop()
            self._step(node)

    def _step(self, node: LazyBuffer) -> None:
        at, same, srcs = self.at, self.same, node.srcs
        if node.op == Op.OUTPUT and srcs[0] in self.parts:
            at[node] = self.parts[srcs[0]][node.arg]
        elif node.op == Op.OUTPUT:
            held = at if srcs[0] in at and at[srcs[0]][node.arg] is not None else same
            found = held[srcs[0]]
            held[node] = found[node.arg] if isinstance(found, list) else node if found is srcs[0] else LazyBuffer(
                Op.OUTPUT, (found,), node.arg, node.shape, node.dtype, node.device)
        elif not any([s in at for s in srcs]):
            new = tuple([same[s] for s in srcs])
            same[node] = node if new == srcs else LazyBuffer(node.op, new, node.arg, node.shape, node.dtype,
                                                             node.device)
        elif node.op == Op.FUNCTION:
            self._function(node)
        elif node.op == Op.LOOP:
            at[node] = _loop(node, [at.get(s) for s in srcs], [self._rows_of(s) if i < node.arg.states else None
                                                               for i, s in enumerate(srcs)],
                             [same.get(s) for s in srcs], self.rows)
        elif node.op == Op.GATHER and srcs[0] in same:
            at[node] = same[srcs[0]].gather([self._rows_of(s) for s in srcs[1:]])
        elif node.op == Op.HOST:
            self.parts[node] = self._host(node)
            at[node] = self.parts[node][0]
        else:
            rule = RULES.get(node.op)
            if rule is None or (node.op == Op.RANDOM_BITS and not self.one_key):
                raise NotImplementedError(f"{node.op} can't be computed for several rows at once")
            at[node] = rule(node, [self._rows_of(s) for s in srcs])

    def _host(self, node: LazyBuffer) -> Values:
        """NumPy's function for all rows where it takes another axis in front, else for each row, one after another."""
        name, parameters, *others = node.arg
        types = [(node.shape, node.dtype), *others]
        srcs, rows = node.srcs, self.rows
        along = name in ALONG_AXIS
        if along:
            parameters = (parameters[0] + 1, *parameters[1:])
        if along or (name in IN_ROWS and len({len(s.shape) for s in srcs}) == 1):
            given = [self._rows_of(s) for s in srcs]
        else:
            differs = tuple([s in self.at for s in srcs])
            given = [self.at[s] if d else self.same[s] for s, d in zip(srcs, differs, strict=True)]
            made = tuple([(shape, dtype.numpy.str) for shape, dtype in types])
            name, parameters = "rows", (name, parameters, rows, differs, made)
        return host_outputs(name, parameters, given, [((rows, *shape), dtype) for shape, dtype in types])

    def _function(self, node: LazyBuffer) -> None:
        """A composite on all rows: a composite, too, derived once."""
        srcs = node.srcs
        differs = tuple([s in self.at for s in srcs])
        batched, flags = batched_of(node.arg, self.rows, differs)
        outputs = apply(batched, [self.at[s] if d else self.same[s] for s, d in zip(srcs, differs, strict=True)])
        if len(outputs) == 1:
            (self.at if flags[0] else self.same)[node] = outputs[0]
            return
        self.at[node] = [o if d else None for o, d in zip(outputs, flags, strict=True)]
        self.same[node] = [None if d else o for o, d in zip(outputs, flags, strict=True)]

    def _rows_of(self, node: LazyBuffer) -> LazyBuffer:
        if node in self.at:
            found: LazyBuffer = self.at[node]
            return found
        value = self.same[node]
        repeated: LazyBuffer = value.reshape((1, *value.shape)).expand((self.rows, *value.shape))
        return repeated


def batched_of(body: Subgraph, rows: int, differs: tuple[bool, ...]) -> tuple[Subgraph, tuple[bool, ...]]:
    """The body for all rows, where the inputs marked in ``differs`` have an axis of rows in front; and which of the
    outputs have one. Derived at the first call.

    >>> from minigrad.dtype import float32
    >>> x, y = (param(i, (3,), float32, "CPU") for i in range(2))
    >>> body = Subgraph("f", [x, y], [x.binary(Op.ADD, y), y.unary(Op.EXP)])
    >>> batched, flags = batched_of(body, 5, (True, False))
    >>> [o.shape for o in batched.outputs], flags
    ([(5, 3), (3,)], (True, False))
    """
    key = "rows", rows, differs
    found = body.derived.get(key)
    if found is None:
        inputs = [param(i, (rows, *p.shape) if d else p.shape, p.dtype, p.device)
                  for i, (p, d) in enumerate(zip(body.params, differs, strict=True))]
        pairs = list(zip(body.params, inputs, differs, strict=True))
        batch = Batch(rows, {p: i for p, i, d in pairs if d}, {p: i for p, i, d in pairs if not d}, True)
        flags = tuple([batch.differs(o) for o in body.outputs])
        outputs = [batch.at[o] if d else batch.same[o] for o, d in zip(body.outputs, flags, strict=True)]
        gradient = None if body.gradient is None else _by_hand(body, body.gradient, rows, differs, flags)
        found = body.derived[key] = Subgraph(body.name, inputs, outputs, gradient, body.count, body.ahead), flags
    return found


def _by_hand(body: Subgraph, gradient: Gradient, rows: int, differs: tuple[bool, ...],
             flags: tuple[bool, ...]) -> Gradient:
    """The gradient that was written by hand, for all rows: summed over them for inputs that have one value for all."""

    def placeholders(values: Sequence[LazyBuffer | None]) -> list[LazyBuffer | None]:
        return [None if v is None else param(0, v.shape, v.dtype, v.device) for v in values]

    def for_all(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                grads: Sequence[LazyBuffer | None]) -> list[LazyBuffer | None]:
        total: list[LazyBuffer | None] = [None] * len(inputs)
        for together in (True, False):
            given = [g if flag is together else None for g, flag in zip(grads, flags, strict=True)]
            if not any(given):
                continue
            one = [placeholders(body.params), placeholders(body.outputs), placeholders(
                [None if g is None else o for g, o in zip(given, body.outputs, strict=True)])]
            known = [*zip(one[0], inputs, differs, strict=True), *zip(one[1], outputs, flags, strict=True),
                     *zip(one[2], given, flags, strict=True)]
            batch = Batch(rows, {p: v for p, v, d in known if d and p and v},
                          {p: v for p, v, d in known if not d and p and v}, True)
            for i, found in enumerate(gradient(*one)):  # type: ignore[arg-type]
                if found is None or (differs[i] and not together):
                    continue
                value = batch.of(found) if differs[i] else batch.total(found) if together else _one_of(batch, found)
                before = total[i]
                total[i] = value if before is None else before.binary(Op.ADD, value)
        return total

    return for_all


def _one_of(batch: Batch, node: LazyBuffer) -> LazyBuffer:
    """The value of a node that is the same in all rows."""
    values = batch.of(node)
    return values.shrink(((0, 1), *[(0, n) for n in node.shape])).reshape(node.shape)


_LINEAR = frozenset((Op.RESHAPE, Op.PERMUTE, Op.NEG, Op.PAD, Op.SHRINK, Op.FLIP, Op.STRIDE, Op.EXPAND))
"""What may be done after the rows have been added up as well as before."""


def _elementwise(node: LazyBuffer, v: Values) -> LazyBuffer:
    return LazyBuffer(node.op, tuple(v), node.arg, (v[0].shape[0], *node.shape), node.dtype, node.device)


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


def _random_bits(node: LazyBuffer, v: Values) -> LazyBuffer:
    """Each row has bits of its own. The rows of v[0] are one key, repeated: the position tells them apart."""
    rows = v[0].shape[0]
    key = v[0].shrink(((0, 1),)).reshape(()) if rows else v[0].reduce(Op.SUM, (0,)).reshape(())
    return LazyBuffer(Op.RANDOM_BITS, (key,), None, (rows, *node.shape), node.dtype, node.device)


def _chain(node: LazyBuffer, chain: tuple[tuple[str, Any], ...], rows: int) -> tuple[tuple[str, Any], ...]:
    """Movement ops on each row, as ones on all rows."""
    result = []
    row = LazyBuffer(Op.PARAM, (), 0, node.shape, node.dtype, node.device)
    every = LazyBuffer(Op.PARAM, (), 0, (rows, *node.shape), node.dtype, node.device)
    for op, arg in chain:
        before, row = row, row.move(op, arg)
        if row is before:  # the movement changes nothing
            continue
        every = RULES[op](row, [every])
        result.append((op, every.arg))
    return tuple(result)


def _assign(node: LazyBuffer, v: Values) -> LazyBuffer:
    return v[0].assign(v[1], _chain(node, node.arg, v[0].shape[0]))


def _loop(node: LazyBuffer, at: Sequence[Any], states: Sequence[Any], same: Sequence[Any], rows: int) -> Values:
    """A LOOP whose steps compute all rows. Its states have rows; what it reads along the way may or may not."""
    loop = node.arg
    first = loop.states + loop.sequences
    differs = tuple([i < loop.states or a is not None for i, a in enumerate(at)])
    body, flags = batched_of(loop.body, rows, differs)
    if not all(flags):
        repeated = [o if d else o.reshape((1, *o.shape)).expand((rows, *o.shape))
                    for o, d in zip(body.outputs, flags, strict=True)]
        body = loop.body.derived.setdefault(("rows of all", rows, differs), Subgraph(body.name, body.params, repeated))
    srcs = []
    for i, a in enumerate(at):
        if i < loop.states:
            srcs.append(states[i])
        elif a is None:
            srcs.append(same[i])
        else:
            srcs.append(_swapped(a) if i < first else a)
    return [_swapped(o) for o in loop_outputs(Loop(body, loop.states, loop.sequences, loop.steps, loop.backwards),
                                              srcs)]


def _swapped(a: LazyBuffer) -> LazyBuffer:
    return a.permute((1, 0, *range(2, len(a.shape))))


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
    Op.COPY: lambda n, v: v[0].copy_to(n.arg),
    Op.GATHER: _gather,
    Op.SCATTER: _scatter,
    Op.ASSIGN: _assign,
    Op.SCAN: lambda n, v: v[0].scan(n.arg[0], n.arg[1] + 1),
    Op.RANDOM_BITS: _random_bits,
}
"""From a node and the values of its sources, which all have an axis of rows in front. FUNCTION, LOOP and HOST have
rules of their own in ``Batch``."""
