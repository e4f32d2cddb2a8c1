"""Stage: recording. In: a traced subgraph. Out: one FUNCTION node for each call of a composite, and its inlining.
Next: ``reference.py``, then ``grad/``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.dtype import DType
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.ops import Op


class Subgraph:
    """A function over LazyBuffers: ``outputs`` in terms of ``params`` (PARAM nodes, in order). Compared by identity;
    ``derived`` caches what others derive from it (its vector-Jacobian products)."""

    __slots__ = ("derived", "name", "order", "outputs", "params")

    def __init__(self, name: str, params: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer]) -> None:
        self.name = name
        self.params = tuple(params)
        self.outputs = tuple(outputs)
        self.order = tuple(toposort(self.outputs))
        self.derived: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"<Subgraph {self.name}: {len(self.params)} in, {len(self.outputs)} out, {len(self.order)} nodes>"


def param(position: int, shape: tuple[int, ...], dtype: DType, device: str) -> LazyBuffer:
    """The stand-in for input ``position`` while a body is traced."""
    return LazyBuffer(Op.PARAM, (), position, shape, dtype, device)


def call(subgraph: Subgraph, inputs: Sequence[LazyBuffer]) -> list[LazyBuffer]:
    """The outputs of the subgraph at these inputs: one FUNCTION node, and an OUTPUT for each output if there are
    several."""
    outputs = subgraph.outputs
    first = outputs[0]
    node = LazyBuffer(Op.FUNCTION, tuple(inputs), subgraph, first.shape, first.dtype, first.device)
    if len(outputs) == 1:
        return [node]
    return [LazyBuffer(Op.OUTPUT, (node,), i, o.shape, o.dtype, o.device) for i, o in enumerate(outputs)]


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
    return [at[o] for o in subgraph.outputs]
