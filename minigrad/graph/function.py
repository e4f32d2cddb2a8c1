"""Stage: recording. In: a traced subgraph. Out: the nodes that one call of it makes: a FUNCTION node, or the body
itself where that is no longer.
Next: ``lines.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from minigrad.dtype import DType
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.ops import Op

Gradient = Callable[[Sequence[LazyBuffer], Sequence[LazyBuffer], Sequence[LazyBuffer | None]],
                    Sequence[LazyBuffer | None]]
"""A gradient written by hand: from inputs, outputs and the outputs' gradients to the inputs' gradients."""

LARGE = 1 << 16
"""Elements of a result that take tens of microseconds to compute."""

_RUN_BEFORE = frozenset((Op.HOST, Op.COPY))


class Subgraph:
    """A function over LazyBuffers: ``outputs`` in terms of ``params`` (PARAM nodes, in order). Compared by identity.

    ``gradient`` takes the place of the gradient that follows from the body. ``derived`` caches what others derive from
    the body (its vector-Jacobian products), ``whole`` the one that a tape entry uses, by pattern of tracked inputs.
    ``flows``: for each output whether gradients come from it: from numbers, of the first ``differentiable`` outputs.
    ``ahead``: whether forward mode follows from the body's nodes though the gradient is by hand.
    ``own``: whether the gradient is another than that of the body's nodes: it is written by hand, or stops at outputs.
    ``indexed``: the shapes that GATHERs and SCATTERs index. ``large``: whether an output has ``LARGE`` elements.
    ``inlined``: whether a call writes the body's nodes instead of one FUNCTION node; ``single`` is the body's only
    node, if there is one; ``guarded``: whether a FUNCTION follows those nodes, which has the gradient.
    """

    __slots__ = ("ahead", "derived", "flows", "gradient", "guarded", "indexed", "inlined", "large", "name", "order",
                 "outputs", "own", "params", "single", "whole")

    def __init__(self, name: str, params: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                 gradient: Gradient | None = None, differentiable: int | None = None, ahead: bool = False) -> None:
        self.name = name
        self.ahead = ahead
        self.params = tuple(params)
        self.outputs = tuple(outputs)
        self.order = tuple(toposort(self.outputs))
        self.gradient = gradient
        first = len(self.outputs) if differentiable is None else differentiable
        self.flows = tuple([o.dtype.kind in "fc" and i < first for i, o in enumerate(self.outputs)])
        self.derived: dict[Any, Any] = {}
        self.whole: dict[tuple[bool, ...], Any] = {}
        computed = [node for node in self.order if node.srcs]
        self.indexed = tuple(_indexed(computed))
        self.large = any([o.size >= LARGE for o in self.outputs])
        stops = self.flows != tuple([o.dtype.kind in "fc" for o in self.outputs])
        self.own = gradient is not None or stops
        # What HOST and COPY nodes give must be there before kernels read it, so the engine has to see them.
        before = any(node.op in _RUN_BEFORE for node in computed)
        self.inlined = before or (not self.own and len(computed) <= len(self.outputs))
        # a HOST node has a gradient by hand itself
        self.guarded = before and (stops or (gradient is not None and any(
            node.op not in (Op.HOST, Op.OUTPUT) for node in computed)))
        # the commonest case: one node, of all inputs in order
        alone = self.inlined and not self.guarded and len(computed) == 1 and self.outputs == (computed[0],)
        self.single = computed[0] if alone and computed[0].srcs == self.params else None

    @property
    def count(self) -> int:
        """The number of outputs, but for those at the end that no gradient comes from."""
        return len(self.flows) - self.flows[::-1].index(True) if True in self.flows else 0

    @property
    def has_complex(self) -> bool:
        """Whether there are complex values in the body."""
        known = self.derived.get("has complex values")
        if known is None:
            known = self.derived["has complex values"] = has_complex(self.order)
        return known

    def __repr__(self) -> str:
        return f"<Subgraph {self.name}: {len(self.params)} in, {len(self.outputs)} out, {len(self.order)} nodes>"


def _indexed(computed: Sequence[LazyBuffer]) -> Iterator[tuple[int, ...]]:
    for node in computed:
        if node.op in (Op.GATHER, Op.SCATTER):
            yield node.srcs[0].shape
        elif node.op == Op.FUNCTION:
            yield from node.arg.indexed
        elif node.op == Op.LOOP:
            yield from node.arg.body.indexed


def has_complex(order: Sequence[LazyBuffer]) -> bool:
    """Whether there are complex values among these nodes, in order, or in the bodies of their FUNCTIONs and LOOPs."""
    for node in order:
        op = node.op
        if node.dtype.kind == "c" or (op == Op.FUNCTION and node.arg.has_complex) or (
                op == Op.LOOP and node.arg.body.has_complex):
            return True
    return False


def param(position: int, shape: tuple[int, ...], dtype: DType, device: str) -> LazyBuffer:
    """The placeholder for input ``position`` while a body is traced."""
    return LazyBuffer(Op.PARAM, (), position, shape, dtype, device)


def apply(subgraph: Subgraph, inputs: Sequence[LazyBuffer]) -> list[LazyBuffer]:
    """The outputs of the subgraph at these inputs, with as few nodes as possible."""
    node = subgraph.single
    if node is not None:
        return [LazyBuffer(node.op, tuple(inputs), node.arg, node.shape, node.dtype, node.device)]
    if not subgraph.inlined:
        return call(subgraph, inputs)
    outputs = inline(subgraph, inputs)
    return call(_guard(subgraph), [*inputs, *outputs]) if subgraph.guarded else outputs


def _guard(subgraph: Subgraph) -> Subgraph:
    """A function of the inputs and the outputs of a subgraph that hands the outputs on, and has its gradient."""
    found: Subgraph | None = subgraph.derived.get("guard")
    if found is None:
        values = (*subgraph.params, *subgraph.outputs)
        params = [param(i, v.shape, v.dtype, v.device) for i, v in enumerate(values)]
        count, by_hand = len(subgraph.params), subgraph.gradient

        def gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                     grads: Sequence[LazyBuffer | None]) -> list[LazyBuffer | None]:
            if by_hand is not None:
                return [*by_hand(inputs[:count], outputs, grads), *[None] * len(outputs)]
            return [*[None] * count, *grads]

        found = subgraph.derived["guard"] = Subgraph(subgraph.name, params, params[count:], gradient, subgraph.count)
    return found


def call(subgraph: Subgraph, inputs: Sequence[LazyBuffer]) -> list[LazyBuffer]:
    """The outputs of the subgraph at these inputs: one FUNCTION node, and an OUTPUT for each output if there are
    several."""
    outputs = subgraph.outputs
    first = outputs[0]
    node = LazyBuffer(Op.FUNCTION, tuple(inputs), subgraph, first.shape, first.dtype, first.device)
    if len(outputs) == 1:
        return [node]
    return [output(node, i) for i in range(len(outputs))]


def output(function: LazyBuffer, i: int) -> LazyBuffer:
    """Output ``i`` of a FUNCTION node."""
    outputs = function.arg.outputs
    if len(outputs) == 1:
        return function
    chosen = outputs[i]
    return LazyBuffer(Op.OUTPUT, (function,), i, chosen.shape, chosen.dtype, chosen.device)


def inline(subgraph: Subgraph, inputs: Sequence[LazyBuffer]) -> list[LazyBuffer]:
    """The outputs of the subgraph at these inputs, as plain nodes (FUNCTION nodes inside stay as they are)."""
    at: dict[LazyBuffer, LazyBuffer] = dict(zip(subgraph.params, inputs, strict=True))
    for node in subgraph.order:
        if node in at:
            continue
        if not node.srcs:
            at[node] = node
            continue
        srcs = tuple([at[s] for s in node.srcs])
        at[node] = LazyBuffer(node.op, srcs, node.arg, node.shape, node.dtype, node.device)
    return [at[o] if o.srcs or o.op == Op.PARAM else _copy(o) for o in subgraph.outputs]


def without_functions(outputs: Sequence[LazyBuffer]) -> list[LazyBuffer]:
    """The same values, with the bodies of FUNCTIONs in their places; but for those that have a gradient of their own:
    what such a body consists of may have another gradient, or none."""
    at: dict[LazyBuffer, Any] = {}
    for node in toposort(outputs):
        srcs = tuple([_first(at[s]) for s in node.srcs])
        if node.op == Op.FUNCTION and not node.arg.own:
            at[node] = without_functions(inline(node.arg, srcs))
        elif node.op == Op.OUTPUT and isinstance(at[node.srcs[0]], list):
            at[node] = at[node.srcs[0]][node.arg]
        else:
            at[node] = node if srcs == node.srcs else LazyBuffer(node.op, srcs, node.arg, node.shape, node.dtype,
                                                                 node.device)
    return [_first(at[o]) for o in outputs]


def _first(value: Any) -> LazyBuffer:
    return value[0] if isinstance(value, list) else value


def _copy(source: LazyBuffer) -> LazyBuffer:
    """A constant or coordinate of its own: realising a result must not realise the body's node."""
    return LazyBuffer(source.op, (), source.arg, source.shape, source.dtype, source.device)
