"""Stage: schedule, step 0. In: a graph with complex values. Out: an equal graph of real ones, so that no later stage
knows of complex numbers. A graph without complex values is not touched.
Next: ``simplify.py``.

A complex value is in one of two forms, or both. As *parts* it is two values of its shape, the real and the imaginary
one: ops compute with these. As a *whole* it is one value with a last axis of 2, as it lies in memory: leaves, results,
and what goes there or comes from there only by being moved. Each form is made of the other when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

from minigrad.dtype import bool_
from minigrad.graph.function import Subgraph, output, param
from minigrad.graph.lazy import LazyBuffer, contiguous_strides, toposort
from minigrad.graph.loop import Loop, loop_outputs
from minigrad.graph.origins import follow
from minigrad.ops import MOVEMENT, REDUCE, Op


class Pair:
    """A complex value in its two forms. ``once``: of an EXPAND, what it repeats.

    >>> from minigrad.dtype import float32
    >>> x = LazyBuffer.const(1.0, float32, (3,), "CPU")
    >>> Pair(x, x).whole.shape
    (3, 2)
    """

    __slots__ = ("_parts", "_whole", "once")

    def __init__(self, real: LazyBuffer | None = None, imag: LazyBuffer | None = None,
                 whole: LazyBuffer | None = None) -> None:
        self.once: Pair | None = None
        self._parts = None if real is None or imag is None else (real, imag)
        self._whole = whole

    @property
    def is_whole(self) -> bool:
        """Whether the form as it lies in memory is known, and the other not yet."""
        return self._parts is None

    @property
    def parts(self) -> tuple[LazyBuffer, LazyBuffer]:
        """The real and the imaginary part."""
        if self._parts is None:
            self._parts = self._part(0), self._part(1)
        return self._parts

    def _part(self, i: int) -> LazyBuffer:
        whole = self._whole
        assert whole is not None
        box = (*[(0, n) for n in whole.shape[:-1]], (i, i + 1))
        return _node(Op.SHRINK, (whole,), box, (*whole.shape[:-1], 1)).reshape(whole.shape[:-1])

    @property
    def whole(self) -> LazyBuffer:
        """Both parts side by side on a last axis."""
        if self._whole is None:
            real, imag = [p.reshape((*p.shape, 1)).expand((*p.shape, 2)) for p in self.parts]
            at = LazyBuffer.index(real.shape, len(real.shape) - 1, real.device)
            self._whole = at.binary(Op.EQ, at.like(0)).where(real, imag)
        return self._whole


Value = LazyBuffer | Pair


def _node(op: str, srcs: tuple[LazyBuffer, ...], arg: Any, shape: tuple[int, ...]) -> LazyBuffer:
    return LazyBuffer(op, srcs, arg, shape, srcs[0].dtype, srcs[0].device)


def split(outputs: Sequence[LazyBuffer], at: dict[LazyBuffer, Value]) -> list[Value]:
    """The outputs without complex nodes. ``at`` has what takes the place of sources; it is filled with all others."""
    for node in toposort(outputs):
        if node in at:
            continue
        follow(node)
        srcs = [_first(at[s]) for s in node.srcs]
        if node.op in (Op.FUNCTION, Op.LOOP):
            at[node] = _called(node, srcs)  # type: ignore[assignment]
        elif node.op == Op.OUTPUT:
            at[node] = at[node.srcs[0]][node.arg]  # type: ignore[index]
        elif node.dtype.kind == "c" or any([s.dtype.kind == "c" for s in node.srcs]):
            at[node] = _RULES[node.op](node, srcs)
        elif tuple(srcs) == node.srcs:
            at[node] = node
        else:
            at[node] = LazyBuffer(node.op, tuple(srcs), node.arg, node.shape, node.dtype, node.device)
    return [_first(at[o]) for o in outputs]


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def leaf_of(leaf: LazyBuffer) -> LazyBuffer:
    """The memory of complex numbers as memory of their parts: a last axis of 2."""
    part = leaf.dtype.part
    strides = None if leaf.arg is None else (*[2 * step for step in leaf.arg], 1)
    shape = (*leaf.shape, 2)
    if strides == contiguous_strides(shape):
        strides = None
    return LazyBuffer(Op.BUFFER, (), strides, shape, part, leaf.device)


# --- functions and loops


def _called(node: LazyBuffer, srcs: list[Value]) -> list[Value]:
    """The outputs of a FUNCTION or LOOP whose body is split too. A complex value that is in memory, or goes there only
    by being moved, stays whole; any other becomes two."""
    if node.op == Op.LOOP:
        return _looped(node, srcs)
    body: Subgraph = node.arg
    forms = tuple([isinstance(s, Pair) and s.is_whole for s in srcs])
    found = body.derived.get(("in parts", forms)) or _split_body(body, forms)
    body.derived["in parts", forms] = found
    new, whole = found
    inputs = [v for s in srcs for v in ((s,) if not isinstance(s, Pair) else (s.whole,) if s.is_whole else s.parts)]
    first = new.outputs[0]
    called = LazyBuffer(Op.FUNCTION, tuple(inputs), new, first.shape, first.dtype, node.device)
    values = iter([output(called, i) for i in range(len(new.outputs))])
    return [_taken(o, values, is_whole) for o, is_whole in zip(body.outputs, whole, strict=True)]


def _taken(value: LazyBuffer, made: Iterator[LazyBuffer], whole: bool) -> Value:
    """What stands for a value, of the next one or two of those that were made."""
    if value.dtype.kind != "c":
        return next(made)
    return Pair(whole=next(made)) if whole else Pair(next(made), next(made))


def _looped(node: LazyBuffer, srcs: list[Value]) -> list[Value]:
    """All complex values that go through a LOOP become two."""
    loop: Loop = node.arg
    body = loop.body
    new, _ = body.derived.get("in parts of a loop") or _split_body(body, (False,) * len(srcs), ())
    body.derived["in parts of a loop"] = new, _
    states, sequences = [sum([1 + (p.dtype.kind == "c") for p in params]) for params in (
        body.params[:loop.states], body.params[loop.states:loop.states + loop.sequences])]
    inputs = [v for s in srcs for v in (s.parts if isinstance(s, Pair) else (s,))]
    values = iter(loop_outputs(Loop(new, states, sequences, loop.steps, loop.backwards), inputs))
    return [_taken(o, values, False) for o in body.outputs]


def _split_body(body: Subgraph, whole: Sequence[bool],
                outputs_whole: Sequence[bool] | None = None) -> tuple[Subgraph, tuple[bool, ...]]:
    """The body over real params, and which of its complex outputs are whole; two params for each complex one that is
    not ``whole``."""
    at: dict[LazyBuffer, Value] = {}
    params: list[LazyBuffer] = []
    for p, is_whole in zip(body.params, whole, strict=True):
        if p.dtype.kind != "c":
            at[p] = param(len(params), p.shape, p.dtype, p.device)
            params.append(at[p])  # type: ignore[arg-type]
            continue
        shapes = [(*p.shape, 2)] if is_whole else [p.shape] * 2
        made = [param(len(params) + i, shape, p.dtype.part, p.device) for i, shape in enumerate(shapes)]
        params += made
        at[p] = Pair(whole=made[0]) if is_whole else Pair(*made)
    outputs: list[LazyBuffer] = []
    forms: list[bool] = []
    for o in split(body.outputs, at):
        forms.append(isinstance(o, Pair) and o.is_whole and outputs_whole is None)
        outputs += [o] if not isinstance(o, Pair) else [o.whole] if forms[-1] else o.parts
    return Subgraph(body.name, params, outputs), tuple(forms)


# --- the rules: each takes a node and what its sources have become


def _both(node: LazyBuffer, srcs: list[Any]) -> Value:
    """An op that is the same for both parts."""
    (a, b), (c, d) = srcs[0].parts, srcs[1].parts
    return Pair(a.binary(node.op, c), b.binary(node.op, d))


def _multiplied(x: Pair, y: Pair) -> Pair:
    (a, b), (c, d) = x.parts, y.parts
    return Pair(_times(a, c).binary(Op.SUB, _times(b, d)), _times(a, d).binary(Op.ADD, _times(b, c)))


def _times(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    return x.binary(Op.MUL, y)


def _divided(node: LazyBuffer, srcs: list[Any]) -> Value:
    """The method of R. Smith (1962): the smaller part of the divisor is divided by the larger first, so that no square
    overflows. By 0, each part is divided by 0."""
    (a, b), (c, d) = srcs[0].parts, srcs[1].parts
    narrow = c.unary(Op.ABS).binary(Op.LT, d.unary(Op.ABS))
    large, small = narrow.where(d, c), narrow.where(c, d)
    zero = large.binary(Op.EQ, large.like(0.0))
    ratio = zero.where(small, small.binary(Op.DIV, large))
    below = zero.where(large.unary(Op.ABS), large.binary(Op.ADD, _times(small, ratio)))
    scale = below.like(1.0).binary(Op.DIV, below)
    real = narrow.where(_times(a, ratio).binary(Op.ADD, b), a.binary(Op.ADD, _times(b, ratio)))
    imag = narrow.where(_times(b, ratio).binary(Op.SUB, a), b.binary(Op.SUB, _times(a, ratio)))
    return Pair(_times(real, scale), _times(imag, scale))


def _equal(node: LazyBuffer, srcs: list[Any]) -> Value:
    (a, b), (c, d) = srcs[0].parts, srcs[1].parts
    return a.binary(Op.EQ, c).binary(Op.AND, b.binary(Op.EQ, d))


def _where(node: LazyBuffer, srcs: list[Any]) -> Value:
    condition, x, y = srcs
    return Pair(*[condition.where(a, b) for a, b in zip(x.parts, y.parts, strict=True)])


def _cast(node: LazyBuffer, srcs: list[Any]) -> Value:
    value, to = srcs[0], node.dtype
    if not isinstance(value, Pair):
        real = value.cast(to.part)
        return Pair(real, real.like(0.0))
    real, imag = value.parts
    if to is bool_:
        return real.cast(bool_).binary(Op.OR, imag.cast(bool_))
    return Pair(real.cast(to.part), imag.cast(to.part)) if to.kind == "c" else real.cast(to)


def _bitcast(node: LazyBuffer, srcs: list[Any]) -> Value:
    value = srcs[0]
    if isinstance(value, Pair):
        return value.whole.reshape(node.shape)
    return Pair(whole=value.reshape((*node.shape, 2)))


def _moved(node: LazyBuffer, srcs: list[Any]) -> Value:
    value: Pair = srcs[0]
    if value.is_whole and node.op == Op.WINDOW:
        dims, windows = len(node.srcs[0].shape), len(node.arg)
        order = (*range(dims), *range(dims + 1, dims + 1 + windows), dims)
        return Pair(whole=value.whole.window(node.arg).permute(order))
    if value.is_whole:
        arg, shape = with_parts(node.op, node.arg, len(node.srcs[0].shape)), (*node.shape, 2)
        whole = value.whole
        made = Pair(whole=_node(node.op, (whole,), arg, shape))
    else:
        made = Pair(*[_node(node.op, (p,), node.arg, node.shape) for p in value.parts])
    made.once = value if node.op == Op.EXPAND else None
    return made


def with_parts(op: str, arg: Any, dims: int) -> Any:
    """The argument of a movement op for a value with one more axis, of 2, at the end, which stays where it is.

    >>> with_parts("SHRINK", ((1, 3),), 1)
    ((1, 3), (0, 2))
    """
    added = {Op.RESHAPE: 2, Op.EXPAND: 2, Op.PERMUTE: dims, Op.PAD: (0, 0, 0), Op.SHRINK: (0, 2), Op.STRIDE: 1}
    return arg if op == Op.FLIP else (*arg, added[op])


def _contiguous(node: LazyBuffer, srcs: list[Any]) -> Value:
    return Pair(whole=srcs[0].whole.contiguous())


def _gather(node: LazyBuffer, srcs: list[Any]) -> Value:
    value, *indexes = srcs
    return Pair(whole=value.whole.gather(indexes))


def _scatter(node: LazyBuffer, srcs: list[Any]) -> Value:
    base, value, *indexes = srcs
    return Pair(whole=base.whole.scatter(value.whole, indexes, node.arg[1]))


def _assign(node: LazyBuffer, srcs: list[Any]) -> Value:
    base, value = srcs
    if any([op == Op.WINDOW for op, _ in node.arg]):
        return Pair(*[b.assign(v, node.arg) for b, v in zip(base.parts, value.parts, strict=True)])
    chain, shape = [], node.shape
    for op, arg in node.arg:
        chain.append((op, with_parts(op, arg, len(shape))))
        shape = LazyBuffer(Op.PARAM, (), 0, shape, value.whole.dtype, node.device).move(op, arg).shape
    return Pair(whole=base.whole.assign(value.whole, tuple(chain)))


# --- reductions


def _summed(node: LazyBuffer, srcs: list[Any]) -> Value:
    """Part by part; but a contraction stays one."""
    source, axes = node.srcs[0], node.arg
    if source.op == Op.MUL and source.srcs[0].op == Op.EXPAND == source.srcs[1].op:
        return _contracted(srcs[0], source, axes)
    return Pair(*[p.reduce(Op.SUM, axes) for p in srcs[0].parts])


class Product(Pair):
    """A product that remembers its factors."""

    __slots__ = ("x", "y")

    def __init__(self, x: Pair, y: Pair) -> None:
        super().__init__(*_multiplied(x, y).parts)
        self.x, self.y = x, y


def _product(node: LazyBuffer, srcs: list[Any]) -> Value:
    return Product(*srcs)


def _contracted(product: Product, source: LazyBuffer, axes: tuple[int, ...]) -> Value:
    """A sum of products of repeated values, such as a product of matrices, is one real sum of products of the same
    kind, as long as both parts together. With x[…, p] the parts of x, and w[…, p, q] the real 2 by 2 matrix
    ((c, d), (-d, c)) for each y = c + di, the result's part q is the sum of x[…, p] · w[…, p, q] over the axes and p.
    """
    once = product.y.once
    assert once is not None
    shape, before = source.shape, source.srcs[1].srcs[0].shape
    square = (*(1,) * (len(shape) - len(before)), *before, 2, 2)
    c, d = [p.reshape((*square[:-2], 1, 1)).expand(square) for p in once.parts]
    p, q = [LazyBuffer.index(square, len(square) - i, c.device) for i in (2, 1)]
    w = p.binary(Op.EQ, q).where(c, p.binary(Op.LT, q).where(d, d.unary(Op.NEG))).contiguous().expand((*shape, 2, 2))
    x = product.x.whole.reshape((*shape, 2, 1)).expand((*shape, 2, 2))
    total = _times(x, w).reduce(Op.SUM, (*axes, len(shape)))
    return Pair(whole=total.reshape((*total.shape[:-2], 2)))


def _reduced(node: LazyBuffer, srcs: list[Any]) -> Value:
    """PROD: halves multiplied with each other until one element is left."""
    value: Pair = srcs[0]
    if node.op != Op.PROD:
        return _unsupported(node, srcs)
    dims = len(node.shape)
    order = (*[i for i in range(dims) if i not in node.arg], *node.arg)
    kept = tuple([node.srcs[0].shape[i] for i in order[:dims - len(node.arg)]])
    count = prod([node.srcs[0].shape[i] for i in node.arg])
    parts = [p.permute(order).reshape((*kept, count)) for p in value.parts]
    if not count:
        return Pair(*[LazyBuffer.const(c, parts[0].dtype, node.shape, node.device) for c in (1.0, 0.0)])
    while count > 1:
        half = count // 2
        first, second, rest = [Pair(*[_range(p, a, b) for p in parts])
                               for a, b in ((0, half), (half, 2 * half), (2 * half, count))]
        made = _multiplied(first, second).parts
        if count % 2:  # the odd one goes into the first product
            one = Pair(*[_range(p, 0, 1) for p in made])
            joined = _multiplied(one, rest).parts
            at = LazyBuffer.index(made[0].shape, len(kept), node.device)
            begins = at.binary(Op.EQ, at.like(0))
            made = (begins.where(joined[0].expand(made[0].shape), made[0]),
                    begins.where(joined[1].expand(made[1].shape), made[1]))
        parts, count = list(made), half
    return Pair(*[p.reshape(node.shape) for p in parts])


def _range(x: LazyBuffer, begin: int, end: int) -> LazyBuffer:
    """The elements from begin to end on the last axis."""
    return x.shrink((*[(0, n) for n in x.shape[:-1]], (begin, end)))


def _scanned(node: LazyBuffer, srcs: list[Any]) -> Value:
    """A running sum part by part; a running product by doubling the reach of each element: log2(n) steps."""
    op, axis = node.arg
    value: Pair = srcs[0]
    if op == Op.SUM:
        return Pair(*[p.scan(op, axis) for p in value.parts])
    if op != Op.PROD:
        return _unsupported(node, srcs)
    size, reach = node.shape[axis], 1
    at = LazyBuffer.index(node.shape, axis, node.device)
    while reach < size:
        earlier = Pair(*[_shifted(p, axis, reach) for p in value.parts])
        begins = at.binary(Op.LT, at.like(reach))
        made = _multiplied(earlier, value)
        value = Pair(*[begins.where(p, q) for p, q in zip(value.parts, made.parts, strict=True)])
        reach *= 2
    return value


def _shifted(x: LazyBuffer, axis: int, by: int) -> LazyBuffer:
    """Each element is the one ``by`` places before."""
    n = x.shape[axis]
    cut = x.shrink(tuple([(0, n - by) if i == axis else (0, s) for i, s in enumerate(x.shape)]))
    return cut.pad(tuple([(by, 0, 0) if i == axis else (0, 0, 0) for i in range(len(x.shape))]))


def _unsupported(node: LazyBuffer, srcs: list[Any]) -> Value:
    raise NotImplementedError(f"{node.op} of complex numbers")


_RULES: dict[str, Callable[[LazyBuffer, list[Any]], Value]] = {
    **dict.fromkeys(MOVEMENT, _moved), **dict.fromkeys(REDUCE, _reduced), Op.SUM: _summed, Op.SCAN: _scanned,
    Op.ADD: _both, Op.SUB: _both, Op.MUL: _product, Op.DIV: _divided, Op.EQ: _equal, Op.WHERE: _where,
    Op.NEG: lambda node, srcs: Pair(*[p.unary(Op.NEG) for p in srcs[0].parts]),
    Op.CAST: _cast, Op.BITCAST: _bitcast, Op.CONTIGUOUS: _contiguous, Op.GATHER: _gather, Op.SCATTER: _scatter,
    Op.ASSIGN: _assign,
    Op.REAL: lambda node, srcs: srcs[0].parts[0],
    Op.IMAG: lambda node, srcs: srcs[0].parts[1],
    Op.COMPLEX: lambda node, srcs: Pair(*srcs),
}
