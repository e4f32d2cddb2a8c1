"""Stage: recording. In: outputs of a graph. Out: text that a person can read, one line a node. DEBUG=5 prints it.
Next: ``verify.py``."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.ops import Op


def show(outputs: Sequence[LazyBuffer]) -> str:
    """The graph below ``outputs``: ``%3 = ADD(%1, %2)  float32 (4, 6)``, outputs marked.

    >>> from minigrad.dtype import float32
    >>> a = LazyBuffer.const(2.0, float32, (3,), "CPU")
    >>> print(show([a.unary("EXP")]))
    %0 = CONST[2.0]()        float32 (3,)
    %1 = EXP(%0)             float32 (3,)  <- output
    """
    number: dict[LazyBuffer, int] = {}
    lines = []
    wanted = set(outputs)
    for node in toposort(outputs):
        number[node] = len(number)
        sources = ", ".join(f"%{number[s]}" for s in node.srcs)
        text = f"%{number[node]} = {node.op}{argument(node)}({sources})"
        mark = "  <- output" if node in wanted else ""
        lines.append(f"{text:<24} {node.dtype.name} {node.shape}{mark}")
    return "\n".join(lines)


def argument(node: LazyBuffer) -> str:
    """``[arg]``, of a FUNCTION its name; empty where the shape, printed beside it, says it all."""
    if node.op in (Op.RESHAPE, Op.EXPAND) or node.arg is None:
        return ""
    if node.op == Op.FUNCTION:
        return f"[{node.arg.name}]"
    return f"[{node.arg}]"
