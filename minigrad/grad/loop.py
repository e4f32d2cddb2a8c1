"""Stage: gradients. In: a LOOP and the gradients of its outputs. Out: those of its sources: a LOOP that runs the other
way, in which each step's gradient of the states leads to that of the step before; and what no step waits for, the
gradients of sequences and constants, computed for all steps at once after it.
Next: ``vjp.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from minigrad.grad.batching import Batch
from minigrad.graph.function import Subgraph, inline, param, without_functions
from minigrad.graph.lazy import LazyBuffer, toposort
from minigrad.graph.loop import Loop, loop_output, loop_outputs
from minigrad.ops import MOVEMENT, Op

Vjp = Callable[[Sequence[LazyBuffer], Sequence[LazyBuffer | None], Sequence[LazyBuffer], Sequence[bool]],
               list[LazyBuffer | None]]


def loop_gradient(node: LazyBuffer, given: Mapping[int, LazyBuffer], needs: tuple[bool, ...],
                  vjp: Vjp) -> list[LazyBuffer | None]:
    """The gradients of a LOOP's sources, from those of the outputs that are ``given``."""
    loop, srcs = node.arg, node.srcs
    key = "loop", loop, needs, tuple(sorted(given))
    back = loop.body.derived.get(key)
    if back is None:
        back = loop.body.derived[key] = _derive(loop, needs, tuple(sorted(given)), vjp)
    first = loop.states + loop.sequences
    rows: dict[LazyBuffer, LazyBuffer] = {}
    for i, p in enumerate(back.inputs[:first]):
        rows[p] = _before(loop, srcs[i], loop_output(node, i)) if i < loop.states else srcs[i]
    rows |= {p: loop_output(node, i) for i, p in enumerate(back.kept)}
    rows |= {back.grads[i]: g for i, g in given.items()}
    same = dict(zip(back.inputs[first:], srcs[first:], strict=True))
    result: list[LazyBuffer | None] = [None] * len(srcs)
    if back.states:
        adjoints = [p.like(0.0) for p in back.adjoints]
        outputs = loop_outputs(Loop(back.body, len(adjoints), len(back.sequences), loop.steps, not loop.backwards),
                               [*adjoints, *[rows[p] for p in back.sequences], *[same[p] for p in back.constants]])
        last = loop.order[0]
        for position, output in zip(back.states, outputs[:len(adjoints)], strict=True):
            shape = output.shape[1:]
            if needs[position]:
                box = ((last, last + 1), *[(0, s) for s in shape])
                result[position] = output.shrink(box).reshape(shape)
        rows |= dict(zip(back.carried, outputs[len(adjoints):], strict=True))
    batch = Batch(loop.steps, rows, same)
    for i, value in back.after.items():
        result[i] = batch.of(value) if i < first else batch.total(value)
    return result


def _before(loop: Loop, initial: LazyBuffer, states: LazyBuffer) -> LazyBuffer:
    """A state as each step finds it: that of the step before, at the first the initial one."""
    steps = loop.steps
    whole = [(0, s) for s in initial.shape]
    none = [(0, 0, 0)] * len(initial.shape)
    box, padding, first = (((1, steps), (0, 1, 0), steps - 1) if loop.backwards else ((0, steps - 1), (1, 0, 0), 0))
    moved = states.shrink((box, *whole)).pad((padding, *none))
    row = LazyBuffer.index(moved.shape, 0, moved.device)
    start = initial.reshape((1, *initial.shape)).expand(moved.shape)
    return row.binary(Op.EQ, row.like(first)).where(start, moved)


class LoopBackward(NamedTuple):
    """What the gradient of a loop consists of, over placeholders for one step: ``inputs`` of the body, its outputs
    (``kept``), their gradients (``grads``).

    ``body``: from the adjoints of ``states`` (those a step's gradient depends on), rows of ``sequences`` and
    ``constants`` to the adjoints of the step before and ``carried``, values that ``after`` reads: the gradients of
    sequences and constants, by their position among the sources."""

    inputs: list[LazyBuffer]
    kept: list[LazyBuffer]
    grads: dict[int, LazyBuffer]
    adjoints: list[LazyBuffer]
    body: Subgraph
    states: list[int]
    sequences: list[LazyBuffer]
    constants: list[LazyBuffer]
    carried: list[LazyBuffer]
    after: dict[int, LazyBuffer]


def _derive(loop: Loop, needs: tuple[bool, ...], given: tuple[int, ...], vjp: Vjp) -> LoopBackward:
    body = loop.body
    first = loop.states + loop.sequences
    inputs = [param(i, p.shape, p.dtype, p.device) for i, p in enumerate(body.params)]
    outputs = inline(body, inputs)
    kept = [param(i, o.shape, o.dtype, o.device) for i, o in enumerate(outputs)]
    grads = {i: param(i, kept[i].shape, kept[i].dtype, kept[i].device) for i in given}
    states = [i for i in range(loop.states) if inputs[i].dtype.is_float]
    adjoints = [param(i, inputs[i].shape, inputs[i].dtype, inputs[i].device) for i in states]
    total: list[LazyBuffer | None] = [grads.get(i) for i in range(len(outputs))]
    for i, adjoint in zip(states, adjoints, strict=True):
        g = total[i]
        total[i] = adjoint if g is None else g.binary(Op.ADD, adjoint)
    wanted = [i in states if i < loop.states else need for i, need in enumerate(needs)]
    found = vjp(outputs, total, inputs, wanted)
    found = with_values(found, {o: k for o, k in zip(outputs, kept, strict=True) if o.srcs})
    found = _plain(found)
    new = [g if (g := found[i]) is not None else inputs[i].like(0.0) for i in states]
    after = {i: g for i, g in enumerate(found) if g is not None and i >= loop.states}
    looped = set(toposort(new))
    waits = _reached(adjoints, [*new, *after.values()])
    carried = _frontier(list(after.values()), looped, waits)
    params = [p for p in (*inputs[:first], *kept, *grads.values()) if p in looped]
    constants = [p for p in inputs[first:] if p in looped]
    step = Subgraph(f"{body.name}_backward", [*adjoints, *params, *constants], [*new, *carried])
    return LoopBackward(inputs, kept, grads, adjoints, step, states, params, constants, carried, after)


def _plain(found: Sequence[LazyBuffer | None]) -> list[LazyBuffer | None]:
    values = iter(without_functions([f for f in found if f is not None]))
    return [None if f is None else next(values) for f in found]


def with_values(found: Sequence[LazyBuffer | None], kept: Mapping[LazyBuffer, LazyBuffer]) -> list[LazyBuffer | None]:
    """Expressions with other values in the place of some: of the forward pass, say, which would be computed again."""
    at = dict(kept)
    for node in toposort([f for f in found if f is not None]):
        if node not in at:
            srcs = tuple([at[s] for s in node.srcs])
            at[node] = node if srcs == node.srcs else LazyBuffer(node.op, srcs, node.arg, node.shape, node.dtype,
                                                                 node.device)
    return [None if f is None else at[f] for f in found]


def of_result(out: LazyBuffer, kept: LazyBuffer) -> dict[LazyBuffer, LazyBuffer]:
    """What to read in the place of a body's output, and of the values before it that are only rounded and reshaped to
    it: the result that the forward pass ``kept``. So a gradient in a half type reads what the user saw, as PyTorch's
    does, and no wider value that is still finite where the result is infinite."""
    at: dict[LazyBuffer, LazyBuffer] = {}
    while out.srcs:
        at[out] = kept
        source = out.srcs[0]
        if out.op == Op.CAST and out.dtype.kind == source.dtype.kind and out.dtype.is_inexact:
            kept = kept.cast(source.dtype)
        elif out.op == Op.RESHAPE:
            kept = kept.reshape(source.shape)
        else:
            break
        out = source
    return at


def _reached(sources: Sequence[LazyBuffer], results: Sequence[LazyBuffer]) -> set[LazyBuffer]:
    """The nodes that depend on one of the sources."""
    reached = set(sources)
    for node in toposort(results):
        if not reached.isdisjoint(node.srcs):
            reached.add(node)
    return reached


def _frontier(results: Sequence[LazyBuffer], looped: set[LazyBuffer], waits: set[LazyBuffer]) -> list[LazyBuffer]:
    """What the loop has to hand on so that ``results`` can be computed after it: of the nodes that wait for the step
    before, the first that the loop computes anyhow on each way down. Movement is done after the loop."""
    found: dict[LazyBuffer, None] = {}
    seen: set[LazyBuffer] = set()
    stack = list(results)
    while stack:
        node = stack.pop()
        if node in seen or node not in waits:
            continue
        seen.add(node)
        several = node.op == Op.FUNCTION and len(node.arg.outputs) > 1  # its OUTPUTs have values, it has none
        if node.op not in MOVEMENT and not several and (node in looped or not node.srcs):
            found[node] = None
        else:
            stack += node.srcs
    return list(found)
