"""Stage: recording. In: a traced step. Out: a LOOP node, which stands for as many steps one after another, and its
outputs. However long the sequence is, the graph has one node, and the step is planned and compiled once.
Next: ``show.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.graph.function import Subgraph
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op


class Loop:
    """How often and on what a LOOP runs its body.

    The body's params are ``states`` values that each step takes from the one before, then ``sequences`` values, row t
    of the LOOP's source at step t, then constants, the same at every step. Its outputs are the new states, then what
    else the step gives. Output i of the LOOP has those of all steps as its rows. With ``backwards`` the last row comes
    first.
    """

    def __init__(self, body: Subgraph, states: int, sequences: int, steps: int, backwards: bool = False) -> None:
        self.body, self.states, self.sequences, self.steps, self.backwards = body, states, sequences, steps, backwards

    def _key(self) -> tuple[Any, ...]:
        return self.body, self.states, self.sequences, self.steps, self.backwards

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loop) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"{self.body.name}, {self.steps} steps{' backwards' if self.backwards else ''}"

    @property
    def order(self) -> range:
        """The rows, in the order in which they are computed."""
        return range(self.steps - 1, -1, -1) if self.backwards else range(self.steps)


def loop_outputs(loop: Loop, srcs: Sequence[LazyBuffer]) -> list[LazyBuffer]:
    """Run ``loop`` on its sources: first values of the states, sequences, constants.

    >>> from minigrad.dtype import float32
    >>> from minigrad.graph.function import param
    >>> total, x = param(0, (2,), float32, "CPU"), param(1, (2,), float32, "CPU")
    >>> running = Subgraph("running", [total, x], [total.binary(Op.ADD, x)])
    >>> rows = LazyBuffer.const(1.0, float32, (5, 2), "CPU")
    >>> loop_outputs(Loop(running, 1, 1, 5), [x.like(0.0), rows])[0].shape
    (5, 2)
    """
    first = loop.body.outputs[0]
    node = LazyBuffer(Op.LOOP, tuple(srcs), loop, (loop.steps, *first.shape), first.dtype, first.device)
    return [loop_output(node, i) for i in range(len(loop.body.outputs))]


def loop_output(node: LazyBuffer, i: int) -> LazyBuffer:
    """Output i of a LOOP node."""
    made = node.arg.body.outputs[i]
    return LazyBuffer(Op.OUTPUT, (node,), i, (node.arg.steps, *made.shape), made.dtype, made.device)
