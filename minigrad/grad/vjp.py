"""Stage: gradients. In: the nodes between inputs and outputs, and the outputs' gradients. Out: the inputs' gradients:
the vector-Jacobian product, by one walk back through the table; for a traced body derived once.
Next: ``jvp.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from minigrad.grad.loop import loop_gradient, of_result, with_values
from minigrad.grad.rules import RULES, Applied
from minigrad.graph.function import Subgraph, apply, inline, output, param
from minigrad.graph.host import host_gradient
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.ops import Op


def vjp(outputs: Sequence[LazyBuffer], output_grads: Sequence[LazyBuffer | None], inputs: Sequence[LazyBuffer],
        needs: Sequence[bool]) -> list[LazyBuffer | None]:
    """The gradients of ``inputs`` (None where not needed, or where nothing flows).

    Raises ``NotImplementedError`` for an op without a gradient that a gradient reaches.

    >>> from minigrad.dtype import float32
    >>> x = param(0, (3,), float32, "CPU")
    >>> y = x.binary(Op.MUL, x)
    >>> vjp([y], [y.like(1.0)], [x], [True])[0].op
    'ADD'
    """
    wanted = {i for i, need in zip(inputs, needs, strict=True) if need}
    order = _between(outputs, set(inputs), wanted)
    grads: dict[LazyBuffer, Any] = {}
    for out, g in zip(outputs, output_grads, strict=True):
        if g is not None:
            _accumulate(grads, out, g)
    leads = set(order) | wanted
    for node in reversed(order):
        g = grads.pop(node, None)
        if g is None:
            continue
        if node.op == Op.OUTPUT:
            _accumulate_output(grads, node.srcs[0], node.arg, g)
            continue
        for source, result in zip(node.srcs, _of_sources(node, g, leads), strict=True):
            if result is not None and source in leads:
                _accumulate(grads, source, result)
    return [grads.get(i) if need else None for i, need in zip(inputs, needs, strict=True)]


def _of_sources(node: LazyBuffer, g: Any, leads: set[LazyBuffer]) -> Sequence[LazyBuffer | None]:
    """The gradient of each source of a node."""
    if node.op == Op.LOOP:
        return loop_gradient(node, g, tuple([s in leads for s in node.srcs]), vjp)
    if node.op == Op.HOST:
        return host_gradient(node, g if isinstance(g, dict) else {0: g})
    if node.op == Op.FUNCTION:
        return _function(node, g if isinstance(g, dict) else {0: g}, tuple([s in leads for s in node.srcs]))
    rule = RULES.get(node.op)
    if rule is not None:
        return rule.apply(Applied(node, node.op, node.srcs, node.arg, vjp), g)
    if node.op in NO_GRADIENT:
        return (None,) * len(node.srcs)
    raise NotImplementedError(f"the derivative of {node.op} is not implemented")


NO_GRADIENT = frozenset((Op.LT, Op.EQ, Op.AND, Op.OR, Op.XOR, Op.NOT, Op.SHL, Op.SHR, Op.INDEX,
                          Op.CONST, Op.SCALAR, Op.RANDOM_BITS, Op.BUFFER, Op.PARAM))


def _between(outputs: Sequence[LazyBuffer], inputs: set[LazyBuffer], wanted: set[LazyBuffer]) -> list[LazyBuffer]:
    """The nodes on a way from a wanted input to an output, each after its sources. An input's own sources are not
    entered, even if the input is an output too."""
    leads: dict[LazyBuffer, bool] = {i: i in wanted for i in inputs}
    order: list[LazyBuffer] = []
    stack = [o for o in outputs if o not in inputs]
    while stack:
        node = stack[-1]
        if node in leads:
            stack.pop()
            continue
        missing = [s for s in node.srcs if s not in leads]
        if missing:
            stack += missing
            continue
        stack.pop()
        leads[node] = any([leads[s] for s in node.srcs])
        if leads[node]:
            order.append(node)
    return order


def _accumulate(grads: dict[LazyBuffer, Any], node: LazyBuffer, g: LazyBuffer) -> None:
    before = grads.get(node)
    if isinstance(before, dict):
        before[0] = g if 0 not in before else before[0].binary(Op.ADD, g)
    else:
        grads[node] = g if before is None else before.binary(Op.ADD, g)


def _accumulate_output(grads: dict[LazyBuffer, Any], function: LazyBuffer, i: int, g: LazyBuffer) -> None:
    before = grads.get(function)
    if not isinstance(before, dict):
        before = {} if before is None else {0: before}
        grads[function] = before
    before[i] = g if i not in before else before[i].binary(Op.ADD, g)


def _function(node: LazyBuffer, given: Mapping[int, LazyBuffer],
              needs: tuple[bool, ...]) -> list[LazyBuffer | None]:
    """The gradients of a FUNCTION's inputs, by its own derived body."""
    numbers = tuple(sorted([i for i in given if node.arg.flows[i]]))
    back = backward_of(node.arg, needs, numbers)
    count = len(node.srcs)
    values = [node.srcs[r] if r < count else output(node, r - count) for r in back.residuals]
    result: list[LazyBuffer | None] = [None] * count
    for position, value in zip(back.which, back.apply(values, [given[i] for i in numbers]), strict=True):
        result[position] = value
    return result


# --- a body's backward, derived once


class Backward(NamedTuple):
    """The vector-Jacobian product of a body. ``residuals``: the values of the forward pass that it reads, as positions
    among its inputs and then its outputs; ``which``: the inputs whose gradients it gives. ``body`` takes the residuals
    and the outputs' gradients; None if no gradient flows."""

    body: Subgraph | None
    residuals: tuple[int, ...]
    which: tuple[int, ...]

    def apply(self, residuals: Sequence[LazyBuffer], grads: Sequence[LazyBuffer]) -> list[LazyBuffer]:
        """The gradients of the inputs ``which``."""
        return [] if self.body is None else apply(self.body, [*residuals, *grads])


def backward_of(body: Subgraph, needs: tuple[bool, ...], given: tuple[int, ...]) -> Backward:
    """The backward of a body for these inputs, given the gradients of these outputs. Derived at the first call.

    It reads the only output of a body rather than compute it again: of exp it needs the result only. A gradient by
    hand may read every output.

    >>> from minigrad.dtype import float32
    >>> x = param(0, (3,), float32, "CPU")
    >>> backward_of(Subgraph("exp", [x], [x.unary(Op.EXP)]), (True,), (0,)).residuals
    (1,)
    """
    key = needs, given
    found = body.derived.get(key)
    if found is None:
        found = body.derived[key] = _derive(body, needs, given)
    return found


def _derive(body: Subgraph, needs: tuple[bool, ...], given: tuple[int, ...]) -> Backward:
    if not given:
        return Backward(None, (), ())
    inputs = [param(i, p.shape, p.dtype, p.device) for i, p in enumerate(body.params)]
    kept = [param(len(inputs) + i, o.shape, o.dtype, o.device) for i, o in enumerate(body.outputs)]
    grads: list[LazyBuffer | None] = [None] * len(kept)
    for i in given:
        grads[i] = param(len(inputs) + len(kept) + i, kept[i].shape, kept[i].dtype, kept[i].device)
    if body.gradient is not None:
        found = [f if need else None for f, need in zip(body.gradient(inputs, kept, grads), needs, strict=True)]
    else:
        outputs = inline(body, inputs)
        found = vjp(outputs, grads, inputs, needs)
        if len(outputs) == 1:
            found = with_values(found, of_result(outputs[0], kept[0]))
    which = tuple([i for i, f in enumerate(found) if f is not None])
    results = [f for f in found if f is not None]
    if not results:
        return Backward(None, (), ())
    read = set(toposort(results))
    residuals = tuple([i for i, value in enumerate((*inputs, *kept)) if value in read])
    params = [(*inputs, *kept)[i] for i in residuals] + [g for g in grads if g is not None]
    return Backward(Subgraph(f"{body.name}_backward", params, results), residuals, which)
