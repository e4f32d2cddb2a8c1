"""Stage: realise. In: the nodes that were asked for. Out: the pending graph below them, numbered, and its key: two
graphs with one key have one plan. This runs at every realise, about a microsecond a node: it is written for speed.
Next: ``real.py``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from minigrad import config
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op


class Pending:
    """A numbered graph. ``order``: nodes, each after its sources; ``results``: those to store (asked for, or owned
    and more than a constant);
    ``host``: what the engine runs by itself, HOST and COPY nodes and the OUTPUTs of HOST nodes;
    ``leaves``, ``scalars``, ``constants``: the BUFFER, SCALAR and CONST nodes in order; ``dead``: for each leaf whether
    nobody can read it later; ``key``: everything the plan depends on but the values of ``numbers``, the constants'."""

    __slots__ = ("constants", "dead", "device", "host", "key", "leaves", "numbers", "order", "results", "scalars")

    key: Any
    numbers: tuple[Any, ...]
    order: list[LazyBuffer]
    results: list[LazyBuffer]
    leaves: list[LazyBuffer]
    scalars: list[LazyBuffer]
    constants: list[LazyBuffer]
    dead: tuple[bool, ...]
    host: list[LazyBuffer]
    device: str

    @property
    def graph(self) -> Any:
        """The key without ``dead``: what is computed, whoever else holds the leaves."""
        return self.key[:-1]


def walk(outputs: Sequence[LazyBuffer]) -> Pending:
    """Number the graph below ``outputs`` in depth-first order and describe it."""
    buffer, const, scalar, bits = Op.BUFFER, Op.CONST, Op.SCALAR, Op.RANDOM_BITS
    hosted, output = Op.HOST, Op.OUTPUT
    number: dict[LazyBuffer, int] = {}
    parts: list[Any] = []
    order: list[LazyBuffer] = []
    wanted = set(outputs)
    results: list[LazyBuffer] = []
    leaves: list[LazyBuffer] = []
    scalars: list[LazyBuffer] = []
    constants: list[LazyBuffer] = []
    host: list[LazyBuffer] = []
    stack = list(outputs)
    stack.reverse()
    while stack:
        node = stack[-1]
        if node in number:
            stack.pop()
            continue
        srcs = node.srcs
        op = node.op
        if srcs:
            missing = [s for s in srcs if s not in number]
            if missing:
                missing.reverse()
                stack += missing
                continue
            parts.append((op, node.arg, *[number[s] for s in srcs]))
            if op == hosted or op == Op.COPY or (op == output and srcs[0].op in (hosted, buffer)):
                host.append(node)
            elif op == bits:  # the one op with sources whose shape does not follow from them and its arg
                parts.append(node.shape)
        elif op == buffer:
            parts.append((op, node.arg, node.shape, node.dtype))
            leaves.append(node)
        elif op == const:
            parts.append((op, node.shape, node.dtype))
            constants.append(node)
        else:
            parts.append((op, node.arg, node.shape, node.dtype))
            if op == scalar:
                scalars.append(node)
        stack.pop()
        if node in wanted or (srcs and node.owners):
            results.append(node)
            parts.append(-1)
        number[node] = len(order)
        order.append(node)
    pending = Pending()
    pending.order, pending.results, pending.leaves = order, results, leaves
    pending.scalars, pending.constants, pending.host = scalars, constants, host
    pending.numbers = tuple([_number(c.arg) for c in constants])
    pending.device = outputs[0].device
    pending.dead = _dead(pending)
    parts.append(pending.device)
    parts += _settings(pending.device)
    parts.append(pending.dead)
    pending.key = tuple(parts)
    return pending


def _settings(device: str) -> list[Any]:
    """What settings add to the key of a plan."""
    steps, beam = config.get("STEPS"), config.get("BEAM")
    return [*([(steps, beam)] if steps or beam else []), config.get("WINOGRAD"),
            config.get("CODEGEN" if device == "CPU" else "ALLOW_TF32")]


def _number(value: Any) -> Any:
    """The constant as a key: 0.0 and -0.0 differ, NaN equals itself."""
    if value == 0:
        return "0" if math.copysign(1.0, value) > 0 else "-0"
    return value if value == value else "nan"


def _dead(pending: Pending) -> tuple[bool, ...]:
    """For each leaf: nobody owns it, only this graph reads it, nothing else sees its memory, and nobody else reads a
    node below which it lies, unless that node is stored in this run. If we cannot tell, the leaf is kept; a leaf in the
    middle of a buffer too, since a result begins where its buffer does."""
    candidates = [not leaf.owners and not leaf.offset for leaf in pending.leaves]
    if True not in candidates:
        return ()
    inside = Counter([s for node in pending.order for s in node.srcs])
    stored = set(pending.results)
    read_elsewhere: set[LazyBuffer] = set()
    for node in reversed(pending.order):
        if node not in stored and (node in read_elsewhere or node.readers > inside[node]):
            read_elsewhere.add(node)
            read_elsewhere.update([s for s in node.srcs if s not in stored])
    dead = tuple([candidate and leaf not in read_elsewhere and not leaf.buffer.exports and not leaf.buffer.is_shared
                  for candidate, leaf in zip(candidates, pending.leaves, strict=True)])
    return dead if True in dead else ()


def let_go(pending: Pending) -> None:
    """After a run: nodes that only led to results, which nobody can ask for any more, stop reading their sources."""
    for node in reversed(pending.order):
        if node.srcs and not node.readers and not node.owners:
            node.let_go()
