"""Stage: gradients. In: an op, its operands and how fast they change. Out: how fast the result changes: forward mode.
One row for each differentiable primitive, beside its row in ``rules.py``; for a traced body derived once.
Next: ``engine/``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from minigrad.grad.loop import of_result, with_values
from minigrad.grad.products import running_product_tangent
from minigrad.grad.rules import FLAT, Applied
from minigrad.grad.rules import RULES as GRADIENTS
from minigrad.grad.vjp import NO_GRADIENT, vjp
from minigrad.graph.function import Subgraph, apply, inline, output, param
from minigrad.graph.host import HOST_GRADIENTS, host_gradient, host_output
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.loop import Loop, loop_outputs
from minigrad.ops import ELEMENTWISE, Op

Tangent = LazyBuffer | None
"""The rate of change of a value; None for one that does not change."""


@dataclass(frozen=True, slots=True)
class ForwardRule:
    """``formula`` is for people; ``apply(node, tangents)`` gives the tangent of the result, or None, from those of the
    sources, of which at least one is there."""

    op: str
    formula: str
    apply: Callable[[LazyBuffer, Sequence[Tangent]], Tangent]


def _filled(node: LazyBuffer, tangents: Sequence[Tangent], i: int) -> LazyBuffer:
    t = tangents[i]
    return node.srcs[i].like(0.0) if t is None else t


def _added(parts: Sequence[Tangent]) -> Tangent:
    there = [p for p in parts if p is not None]
    return reduce(lambda a, b: a.binary(Op.ADD, b), there) if there else None


def _diagonal(node: LazyBuffer, tangents: Sequence[Tangent]) -> Tangent:
    """Each element of the result depends on one of each operand: the gradient row, with the tangent in place of the
    gradient, gives each operand's share; that of complex numbers has the conjugated slope."""
    rule, applied = GRADIENTS[node.op], Applied(node, node.op, node.srcs, node.arg, vjp)
    parts = [None if t is None else rule.apply(applied, t.conj())[i] for i, t in enumerate(tangents)]
    return _added([None if p is None else p.conj() for p in parts])


def _linear(node: LazyBuffer, tangents: Sequence[Tangent]) -> Tangent:
    """The op itself, on the tangents."""
    operands = tuple([_filled(node, tangents, i) for i in range(len(node.srcs))])
    return LazyBuffer(node.op, operands, node.arg, node.shape, node.dtype, node.device)


def _none(node: LazyBuffer, tangents: Sequence[Tangent]) -> Tangent:
    return None


def _chosen(node: LazyBuffer, tangents: Sequence[Tangent]) -> Tangent:
    if tangents[1] is None and tangents[2] is None:
        return None
    return node.srcs[0].where(_filled(node, tangents, 1), _filled(node, tangents, 2))


def _cast(node: LazyBuffer, tangents: Sequence[Tangent]) -> Tangent:
    t = tangents[0]
    return t.cast(node.dtype) if t is not None and node.dtype.is_inexact else None


def _bitcast(node: LazyBuffer, tangents: Sequence[Tangent]) -> Tangent:
    t, source = tangents[0], node.srcs[0].dtype
    same = source.part is node.dtype.part and source.is_inexact and node.dtype.is_inexact
    if t is None or not same:
        return None
    return LazyBuffer(Op.BITCAST, (t,), node.arg, node.shape, node.dtype, node.device)


def _summed(node: LazyBuffer, tangents: Sequence[Tangent]) -> Tangent:
    """A result that is one number of a row: the sum of the shares that the gradient row gives each element."""
    t = tangents[0]
    assert t is not None
    applied = Applied(node, node.op, node.srcs, node.arg, vjp)
    share, = GRADIENTS[node.op].apply(applied, node.like(1.0))
    assert share is not None
    part = share.conj().binary(Op.MUL, t)
    if node.op in (Op.MAX, Op.MIN):  # the tangents of the others may be infinite
        part = share.binary(Op.EQ, share.like(0)).where(part.like(0), part)
    return part.reduce(Op.SUM, node.arg)


def _gather(node: LazyBuffer, tangents: Sequence[Tangent]) -> Tangent:
    t = tangents[0]
    return None if t is None else t.gather(node.srcs[1:])


def _scatter(node: LazyBuffer, tangents: Sequence[Tangent]) -> Tangent:
    """Set and add are the op itself, on the tangents. Else each operand's share is what the gradient row gives it."""
    if tangents[0] is None and tangents[1] is None:
        return None
    _, _, *indexes = node.srcs
    tb, tv = _filled(node, tangents, 0), _filled(node, tangents, 1)
    if node.arg[1] in ("set", "add"):
        return tb.scatter(tv, indexes, node.arg[1])
    applied = Applied(node, node.op, node.srcs, node.arg, vjp)
    base, value, *_ = GRADIENTS[node.op].apply(applied, node.like(1.0))
    assert base is not None and value is not None
    return base.binary(Op.MUL, tb).scatter(value.binary(Op.MUL, tv), indexes, "add")


def _assign(node: LazyBuffer, tangents: Sequence[Tangent]) -> Tangent:
    if tangents[0] is None and tangents[1] is None:
        return None
    return _filled(node, tangents, 0).assign(_filled(node, tangents, 1), node.arg)


def _scan(node: LazyBuffer, tangents: Sequence[Tangent]) -> Tangent:
    t = tangents[0]
    assert t is not None
    op, axis = node.arg
    if op == Op.SUM:
        return t.scan(op, axis)
    if op == Op.PROD:
        return running_product_tangent(vjp, node.srcs[0], node, t, axis)
    raise NotImplementedError(f"the derivative of a running {op} is not implemented")


_LINEAR = (Op.SUM, Op.RESHAPE, Op.PERMUTE, Op.EXPAND, Op.PAD, Op.SHRINK, Op.FLIP, Op.STRIDE, Op.WINDOW, Op.CONTIGUOUS,
           Op.COPY, Op.REAL, Op.IMAG, Op.COMPLEX)
_OTHERS = (Op.WHERE, Op.CAST, Op.BITCAST)
_DIAGONAL = tuple([op for op in GRADIENTS if op in ELEMENTWISE and op not in (*_LINEAR, *FLAT, *_OTHERS)])

_ROWS = (
    *[ForwardRule(op, "Σ of each operand's gradient row, with ȧ for g", _diagonal) for op in _DIAGONAL],
    *[ForwardRule(op, "the op of ȧ", _linear) for op in _LINEAR],
    *[ForwardRule(op, "0", _none) for op in FLAT],
    ForwardRule(Op.WHERE, "ȧ where chosen, else ḃ", _chosen),
    ForwardRule(Op.CAST, "ȧ in the type of the result", _cast),
    ForwardRule(Op.BITCAST, "ȧ read as the type of the result, between floats and complex numbers", _bitcast),
    ForwardRule(Op.PROD, "Σ ȧ·product of the others", _summed),
    ForwardRule(Op.MAX, "the mean ȧ of the largest", _summed),
    ForwardRule(Op.MIN, "the mean ȧ of the smallest", _summed),
    ForwardRule(Op.GATHER, "ȧ gathered", _gather),
    ForwardRule(Op.SCATTER, "set, add: ȧ scattered into that of the base; else shares as of its gradient", _scatter),
    ForwardRule(Op.ASSIGN, "ȧ put into that of the base", _assign),
    ForwardRule(Op.SCAN, "sum: ȧ summed so far; product: Σ ȧ·product of the others so far", _scan),
)
RULES: dict[str, ForwardRule] = {row.op: row for row in _ROWS}


def jvp(outputs: Sequence[LazyBuffer], inputs: Sequence[LazyBuffer], tangents: Sequence[Tangent]) -> list[Tangent]:
    """The tangents of ``outputs``, from those of ``inputs``: the Jacobian times a vector, by one walk along the graph.

    Raises ``NotImplementedError`` where the way from a tangent to an output leads over an op without a derivative.

    >>> from minigrad.dtype import float32
    >>> x, t = (param(i, (3,), float32, "CPU") for i in range(2))
    >>> jvp([x.unary(Op.SIN)], [x], [t])[0].op
    'MUL'
    """
    known: dict[LazyBuffer, Any] = dict(zip(inputs, tangents, strict=True))
    for node in toposort(outputs):
        if node not in known:
            known[node] = _tangent(node, [known[s] for s in node.srcs])
    found = [k[0] if isinstance(k, list) else k for k in map(known.__getitem__, outputs)]
    for error in found:
        if isinstance(error, NotImplementedError):
            raise error
    return found


def _tangent(node: LazyBuffer, given: list[Any]) -> Any:
    """The tangent of one node; of a node with several outputs a list; where there is none an error, which is only
    raised if an output needs it."""
    if node.op == Op.OUTPUT:
        return given[0][node.arg] if isinstance(given[0], list) else given[0]
    given = [g[0] if isinstance(g, list) else g for g in given]
    several = node.op in _SEVERAL
    if not any([g is not None for g in given]) or not (several or node.dtype.is_inexact):
        return None
    for g in given:
        if isinstance(g, NotImplementedError):
            return g
    try:
        if several:
            return _SEVERAL[node.op](node, given)
        if node.op in RULES:
            return RULES[node.op].apply(node, given)
    except NotImplementedError as error:
        return error
    if node.op in NO_GRADIENT:
        return None
    return NotImplementedError(f"the derivative of {node.op} is not implemented")


def _function(node: LazyBuffer, given: Sequence[Tangent]) -> list[Tangent]:
    """The tangents of a FUNCTION's outputs, by its own derived body."""
    body = node.arg
    forward = forward_of(body, tuple([g is not None for g in given]))
    count = len(node.srcs)
    values = [node.srcs[r] if r < count else output(node, r - count) for r in forward.residuals]
    return forward.apply(values, given, len(body.outputs))


# --- a body's forward mode, derived once


@dataclass(frozen=True, eq=False, slots=True)
class Forward:
    """The Jacobian-vector product of a body. ``residuals``: the values that it reads, as positions among the body's
    inputs and then its outputs; ``which``: the outputs whose tangents it gives. ``body`` takes the residuals and the
    tangents that there are; None if no output changes."""

    body: Subgraph | None
    residuals: tuple[int, ...]
    which: tuple[int, ...]

    def apply(self, residuals: Sequence[LazyBuffer], tangents: Sequence[Tangent], count: int) -> list[Tangent]:
        """The tangents of all ``count`` outputs."""
        result: list[Tangent] = [None] * count
        if self.body is not None:
            found = apply(self.body, [*residuals, *[t for t in tangents if t is not None]])
            for i, value in zip(self.which, found, strict=True):
                result[i] = value
        return result


def forward_of(body: Subgraph, given: tuple[bool, ...]) -> Forward:
    """Forward mode of a body whose inputs marked in ``given`` have tangents. Derived at the first call.

    It follows from the body's own ops, or where there is a gradient by hand from that, unless the body says otherwise:
    it is linear in the outputs' gradients, so it can be transposed, if that is needed; ``NotImplementedError`` if one
    of its ops has no derivative.

    >>> from minigrad.dtype import float32
    >>> x = param(0, (3,), float32, "CPU")
    >>> forward_of(Subgraph("exp", [x], [x.unary(Op.EXP)]), (True,)).residuals
    (1,)
    """
    key = "forward", given
    found = body.derived.get(key)
    if found is None:
        found = body.derived[key] = _derive(body, given)
    return found


def _derive(body: Subgraph, given: tuple[bool, ...]) -> Forward:
    inputs = [param(i, p.shape, p.dtype, p.device) for i, p in enumerate(body.params)]
    kept = [param(len(inputs) + i, o.shape, o.dtype, o.device) for i, o in enumerate(body.outputs)]
    count = len(inputs) + len(kept)
    tangents = [param(count + i, p.shape, p.dtype, p.device) if g and p.dtype.is_inexact else None
                for i, (p, g) in enumerate(zip(inputs, given, strict=True))]
    if body.gradient is not None and not body.ahead:
        along = _along(body, inputs, kept, tangents)
        found = _transposed(body, inputs, kept, tangents) if along is None else along
    else:
        outputs = [o if flows else None for o, flows in zip(inline(body, inputs), body.flows, strict=True)]
        changes = iter(jvp([o for o in outputs if o is not None], inputs, tangents))
        found = [None if o is None else next(changes) for o in outputs]
        if len(outputs) == 1 and outputs[0] is not None:
            found = with_values(found, of_result(outputs[0], kept[0]))
    which = tuple([i for i, f in enumerate(found) if f is not None and body.flows[i]])
    results = [f for i, f in enumerate(found) if i in which and f is not None]
    if not results:
        return Forward(None, (), ())
    read = set(toposort(results))
    residuals = tuple([i for i, value in enumerate((*inputs, *kept)) if value in read])
    params = [(*inputs, *kept)[i] for i in residuals] + [
        t if t is not None else param(0, p.shape, p.dtype, p.device)
        for t, p, g in zip(tangents, inputs, given, strict=True) if g]
    return Forward(Subgraph(f"{body.name}_forward", params, results), residuals, which)


def _host(node: LazyBuffer, given: Sequence[Tangent]) -> list[Tangent]:
    """The tangents of what NumPy computes, by its gradient by hand, transposed."""
    name, _, *others = node.arg
    outputs = [host_output(node, i) for i in range(1 + len(others))]
    if name not in HOST_GRADIENTS:
        if not any([o.dtype.is_inexact for o in outputs]):
            return [None] * len(outputs)
        raise NotImplementedError(f"the derivative of {name} is not implemented")
    starts = {i: param(i, o.shape, o.dtype, o.device) for i, o in enumerate(outputs) if o.dtype.is_inexact}
    back = host_gradient(node, starts)
    pairs = [(b, t) for b, t in zip(back, given, strict=True) if b is not None and t is not None]
    found = vjp([b for b, _ in pairs], [t for _, t in pairs], list(starts.values()), [True] * len(starts))
    each = dict(zip(starts, _at_one(found, list(starts.values())), strict=True))
    return [each.get(i) for i in range(len(outputs))]


def _at_one(found: Sequence[Tangent], starts: Sequence[LazyBuffer]) -> list[Tangent]:
    """The derivative of a linear function, which is the same everywhere, at 1, where it reads the place: a function
    written with logarithms has none at 0."""
    return with_values(found, {s: s.like(1.0) for s in starts})


def _along(body: Subgraph, inputs: Sequence[LazyBuffer], kept: Sequence[LazyBuffer],
           tangents: Sequence[Tangent]) -> list[Tangent] | None:
    """Forward mode of a function of each element, whose Jacobian is its own transpose: the gradient by hand, with a
    tangent in the place of the output's gradient, gives each input's share. It is told that narrower inputs have the
    type of the output, so that it does not round their shares. None if it is no such function, if a share has another
    type all the same, and of complex numbers, whose slopes may be no numbers."""
    assert body.gradient is not None
    changing = {p for p, t in zip(body.params, tangents, strict=True) if t is not None}
    if len(body.outputs) > 1 or body.has_complex or not _is_of_each(body.outputs, changing):
        return None
    parts, dtype = [], kept[0].dtype
    inputs = [x.cast(dtype) if x.dtype.is_inexact and x.dtype.size < dtype.size else x for x in inputs]
    for i, t in enumerate(tangents):
        share = None if t is None else body.gradient(inputs, kept, [t.cast(dtype)])[i]
        if t is not None and share is not None and not (
                share.dtype is dtype and _is_of_each([share], {t})):
            return None
        parts.append(share)
    return [_added(parts)]


def _is_of_each(outputs: Sequence[LazyBuffer], starts: set[LazyBuffer]) -> bool:
    """Whether each element of the outputs depends on one, in the same place, of each start that leads to it."""
    reached, shape = set(starts), outputs[0].shape
    for node in toposort(outputs):
        places = [i for i, s in enumerate(node.srcs) if s in reached]
        if places:
            one = node.op == Op.FUNCTION and len(node.arg.outputs) == 1 and _is_of_each(
                node.arg.outputs, {node.arg.params[i] for i in places})
            if not (one or node.op in ELEMENTWISE):
                return False
            reached.add(node)
    return all([node.shape == shape for node in reached])


def _transposed(body: Subgraph, inputs: Sequence[LazyBuffer], kept: Sequence[LazyBuffer],
                tangents: Sequence[Tangent]) -> list[Tangent]:
    """Forward mode from a gradient by hand. That is a linear function of the outputs' gradients u, the transposed
    Jacobian; its gradient by u, started from the tangents, is the Jacobian times them. ``NotImplementedError`` if it
    can't be transposed: what the body's ops would give may be something else, of bits nothing at all."""
    assert body.gradient is not None
    starts = [param(i, o.shape, o.dtype, o.device) if flows else None
              for i, (o, flows) in enumerate(zip(kept, body.flows, strict=True))]
    back = body.gradient(inputs, kept, starts)
    pairs = [(b, t) for b, t in zip(back, tangents, strict=True) if b is not None and t is not None]
    chosen = [s for s in starts if s is not None]
    found = vjp([b for b, _ in pairs], [t for _, t in pairs], chosen, [True] * len(chosen))
    each = iter(_at_one(found, chosen))
    return [None if s is None else next(each) for s in starts]


# --- loops


def _loop(node: LazyBuffer, given: Sequence[Tangent]) -> list[Tangent]:
    """The tangents of a LOOP's outputs: a LOOP beside it whose states are those of the first and their tangents."""
    loop, srcs = node.arg, node.srcs
    first = loop.states + loop.sequences
    changes = tuple([(i < loop.states and s.dtype.is_inexact) or g is not None
                     for i, (s, g) in enumerate(zip(srcs, given, strict=True))])
    key = "loop forward", loop, changes
    derived = loop.body.derived.get(key)
    if derived is None:
        derived = loop.body.derived[key] = _loop_body(loop, changes)
    body, which = derived
    filled = [s.like(0.0) if g is None else g for s, g in zip(srcs, given, strict=True)]
    parts = [[i for i in range(begin, end) if changes[i]]
             for begin, end in ((0, loop.states), (loop.states, first), (first, len(srcs)))]
    sources = [*srcs[:loop.states], *[filled[i] for i in parts[0]], *srcs[loop.states:first],
               *[filled[i] for i in parts[1]], *srcs[first:], *[filled[i] for i in parts[2]]]
    outputs = loop_outputs(Loop(body, loop.states + len(parts[0]), loop.sequences + len(parts[1]), loop.steps,
                                loop.backwards), sources)
    result: list[Tangent] = [None] * len(loop.body.outputs)
    for i, position in which:
        result[i] = outputs[position]
    return result


def _loop_body(loop: Loop, changes: tuple[bool, ...]) -> tuple[Subgraph, list[tuple[int, int]]]:
    """The step of that LOOP; and for each output of the first that changes, which of its outputs is the tangent."""
    body, first = loop.body, loop.states + loop.sequences
    inputs = [param(i, p.shape, p.dtype, p.device) for i, p in enumerate(body.params)]
    tangents = [param(i, p.shape, p.dtype, p.device) if c else None for i, (p, c) in enumerate(
        zip(inputs, changes, strict=True))]
    outputs = inline(body, inputs)
    found = jvp(outputs, inputs, tangents)
    states = [i for i in range(loop.states) if changes[i]]
    new = [inputs[i].like(0.0) if found[i] is None else found[i] for i in states]
    rest = [i for i in range(loop.states, len(outputs)) if found[i] is not None]
    params = [p for begin, end in ((0, loop.states), (loop.states, first), (first, len(inputs)))
              for p in (*inputs[begin:end], *[t for t in tangents[begin:end] if t is not None])]
    results = [*outputs[:loop.states], *new, *[found[i] for i in rest]]
    which = [(i, loop.states + n) for n, i in enumerate(states)]
    which += [(i, loop.states + len(states) + n) for n, i in enumerate(rest)]
    return Subgraph(f"{body.name}_forward", params, results), which  # type: ignore[arg-type]


_SEVERAL: dict[str, Callable[[LazyBuffer, Sequence[Tangent]], list[Tangent]]] = {
    Op.FUNCTION: _function, Op.LOOP: _loop, Op.HOST: _host}
"""Nodes that may have several outputs: the tangents of all."""
