"""Stage: gradients. In: the nodes between inputs and outputs, and the outputs' gradients. Out: the inputs' gradients:
the vector-Jacobian product, by one walk back through the table. Next room: ``schedule/``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minigrad.grad.rules import RULES, Applied
from minigrad.graph.function import Subgraph, call, inline, param
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op

Structure = tuple[str, tuple[LazyBuffer, ...], Any]


def vjp(outputs: Sequence[LazyBuffer], output_grads: Sequence[LazyBuffer | None], inputs: Sequence[LazyBuffer],
        needs: Sequence[bool], snapshots: Mapping[LazyBuffer, Structure] | None = None) -> list[LazyBuffer | None]:
    """The gradients of ``inputs`` (None where not needed, or where nothing flows).

    ``snapshots`` gives (op, srcs, arg) of nodes that may have been realised since they were recorded.
    Raises ``NotImplementedError`` for an op without a gradient that a gradient reaches.

    >>> from minigrad.dtype import float32
    >>> x = param(0, (3,), float32, "CPU")
    >>> y = x.binary(Op.MUL, x)
    >>> vjp([y], [y.like(1.0)], [x], [True])[0].op
    'ADD'
    """
    wanted = {i for i, need in zip(inputs, needs, strict=True) if need}
    structures = snapshots or {}
    order = _between(outputs, set(inputs), wanted, structures)
    grads: dict[LazyBuffer, Any] = {}
    for output, g in zip(outputs, output_grads, strict=True):
        if g is not None:
            _accumulate(grads, output, g)
    leads = set(order) | wanted
    for node in reversed(order):
        g = grads.pop(node, None)
        if g is None:
            continue
        op, srcs, arg = structures.get(node) or (node.op, node.srcs, node.arg)
        if op == Op.OUTPUT:
            _accumulate_output(grads, srcs[0], arg, g)
            continue
        if op == Op.FUNCTION:
            results: Sequence[LazyBuffer | None] = _function(arg, srcs, g, [s in leads for s in srcs])
        else:
            rule = RULES.get(op)
            if rule is None:
                if op in _NO_GRADIENT:
                    continue
                raise NotImplementedError(f"the derivative of {op} is not implemented")
            results = rule.apply(Applied(node, op, srcs, arg), g)
        for source, result in zip(srcs, results, strict=True):
            if result is not None and source in leads:
                _accumulate(grads, source, result)
    return [grads.get(i) if need else None for i, need in zip(inputs, needs, strict=True)]


def structures_between(outputs: Sequence[LazyBuffer], inputs: Sequence[LazyBuffer]) -> dict[LazyBuffer, Structure]:
    """(op, srcs, arg) of the nodes from ``inputs`` to ``outputs``: what those forget that are realised meanwhile.

    >>> from minigrad.dtype import float32
    >>> x = param(0, (), float32, "CPU")
    >>> [op for op, _, _ in structures_between([x.copy_to("CC").expand((3,))], [x]).values()]
    ['COPY', 'EXPAND']
    """
    ends = set(inputs)
    return {node: (node.op, node.srcs, node.arg) for node in _between(outputs, ends, ends, {})}


_NO_GRADIENT = frozenset((Op.LT, Op.EQ, Op.AND, Op.OR, Op.XOR, Op.NOT, Op.SHL, Op.SHR, Op.BITCAST, Op.HOST, Op.INDEX,
                          Op.CONST, Op.SCALAR, Op.RANDOM_BITS, Op.BUFFER, Op.PARAM))


def _between(outputs: Sequence[LazyBuffer], inputs: set[LazyBuffer], wanted: set[LazyBuffer],
             structures: Mapping[LazyBuffer, Structure]) -> list[LazyBuffer]:
    """The nodes on a way from a wanted input to an output, each after its sources. An input's own sources are not
    entered, even if the input is an output too."""
    if len(outputs) == 1 and outputs[0] not in inputs:  # most ops are one node above their inputs
        structure = structures.get(outputs[0])
        srcs = structure[1] if structure else outputs[0].srcs
        if inputs.issuperset(srcs):
            return list(outputs) if not wanted.isdisjoint(srcs) else []
    leads: dict[LazyBuffer, bool] = {i: i in wanted for i in inputs}
    order: list[LazyBuffer] = []
    stack = [o for o in outputs if o not in inputs]
    while stack:
        node = stack[-1]
        if node in leads:
            stack.pop()
            continue
        structure = structures.get(node)
        srcs = structure[1] if structure else node.srcs
        missing = [s for s in srcs if s not in leads]
        if missing:
            stack += missing
            continue
        stack.pop()
        leads[node] = any(leads[s] for s in srcs)
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


def _function(body: Subgraph, srcs: tuple[LazyBuffer, ...], g: Any, needs: list[bool]) -> list[LazyBuffer | None]:
    """One call of the composite's own vector-Jacobian product, which is derived once for each pattern of needs."""
    given = g if isinstance(g, dict) else {0: g}
    key = (tuple(needs), tuple(sorted(given)))
    derived = body.derived.get(key)
    if derived is None:
        derived = body.derived[key] = _derive(body, needs, sorted(given))
    backward, which = derived
    result: list[LazyBuffer | None] = [None] * len(srcs)
    if backward is not None:
        values = call(backward, [*srcs, *[given[i] for i in sorted(given)]])
        for position, value in zip(which, values, strict=True):
            result[position] = value
    return result


def _derive(body: Subgraph, needs: list[bool], given: list[int]) -> tuple[Subgraph | None, list[int]]:
    inputs = [param(i, p.shape, p.dtype, p.device) for i, p in enumerate(body.params)]
    grads = [param(len(inputs) + j, body.outputs[i].shape, body.outputs[i].dtype, body.outputs[i].device)
             for j, i in enumerate(given)]
    outputs = inline(body, inputs)
    found = vjp([outputs[i] for i in given], grads, inputs, needs)
    which = [i for i, f in enumerate(found) if f is not None]
    if not which:
        return None, []
    return Subgraph(f"{body.name}_backward", [*inputs, *grads], [f for f in found if f is not None]), which
