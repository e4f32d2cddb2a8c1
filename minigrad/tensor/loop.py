"""Stage: front. In: a Python function that takes one step. Out: the steps along a sequence, recorded as one LOOP node.
Next: ``composite.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from minigrad.graph.function import Subgraph, param
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.loop import Loop, loop_outputs
from minigrad.ops import SOURCES, Op
from minigrad.tensor.base import made
from minigrad.tensor.storage import tracing

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

Step = Callable[..., tuple[Sequence["Tensor"], Sequence["Tensor"]]]

_OUTSIDE = SOURCES - {Op.CONST, Op.INDEX}


def loop(step: Step, states: Sequence[Tensor], sequences: Sequence[Tensor], constants: Sequence[Tensor] = (), *,
         backwards: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    """Go along the first axis of ``sequences``: ``states, given = step(states, rows, constants)`` for each row.

    ``step`` gets three lists of Tensors and returns two: the states for the next row, of the same shapes and dtypes,
    and what else it has to give. The result is two lists of Tensors that hold, row by row, the states after each step
    and what was given. With ``backwards`` the last row comes first. It is for bodies of composites: ``step`` runs once,
    on placeholders, and reads nothing but its arguments. However many rows there are, the step is compiled once.
    ``RuntimeError`` outside a composite.

    >>> import minigrad
    >>> @minigrad.composite
    ... def running_product(x):
    ...     (products,), _ = loop(lambda s, rows, _: ([s[0] * rows[0]], []), [minigrad.ones_like(x[0])], [x])
    ...     return products
    >>> running_product(minigrad.tensor([1.0, 2.0, 3.0]))
    tensor([1., 2., 6.])
    """
    if not tracing.names:
        raise RuntimeError("loop() is for the bodies of composites: decorate the function that calls it with "
                           "@composite")
    rows = {t._shape()[:1] for t in sequences}
    if len(rows) != 1 or () in rows or (0,) in rows:
        raise ValueError("loop() needs sequences that all have the same number of rows, at least one, got shapes "
                         f"{[list(t._shape()) for t in sequences]}")
    values = [t._read() for t in (*states, *sequences, *constants)]
    first, last = len(states), len(states) + len(sequences)
    params = [param(i, v.shape[1:] if first <= i < last else v.shape, v.dtype, v.device) for i, v in enumerate(values)]
    inside = [made(p) for p in params]
    new, given = step(inside[:first], inside[first:last], inside[last:])
    outputs = [t._read() for t in (*new, *given)]
    _check(outputs[:first], params[:first])
    body = Subgraph(f"{tracing.names[-1]}_step", params, outputs)
    if any(node.op in _OUTSIDE and node not in params for node in body.order):
        raise RuntimeError("loop(): its step reads a tensor that is not one of its arguments; pass it among the "
                           "constants")
    made_rows = [made(o) for o in loop_outputs(Loop(body, first, len(sequences), rows.pop()[0], backwards), values)]
    return made_rows[:first], made_rows[first:]


def _check(new: Sequence[LazyBuffer], states: Sequence[LazyBuffer]) -> None:
    if [(s.shape, s.dtype) for s in new] != [(s.shape, s.dtype) for s in states]:
        raise ValueError(f"loop(): a step must return states like those it got, {[_like(s) for s in states]}, got "
                         f"{[_like(s) for s in new]}")


def _like(value: LazyBuffer) -> str:
    return f"{value.dtype.name} {list(value.shape)}"
