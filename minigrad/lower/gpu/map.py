"""Stage: lower, GPU form, strategy ``map``. In: a body without reductions. Out: a flat walk over its space:
neighbouring threads at neighbouring elements, four of which a thread takes at once where memory allows.
Next: ``transpose.py``."""

from __future__ import annotations

from math import prod

from minigrad.kernel.ir import Statement
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, traffic
from minigrad.lower.gpu.threads import Lowering, Threads, unflatten, walk, wide_lanes
from minigrad.lower.gpu.transpose import TILE, transpose_stage
from minigrad.lower.map import simplify_axes
from minigrad.lower.nest import loop


def map_stage(body: Body, threads: Threads) -> Lowering:
    """Lower a body without reductions."""
    work = traffic([o.value for o in body.outputs])
    axes = simplify_axes(body, work)
    total = (work.cost + len(body.outputs)) * prod(a.size for a in axes)
    lanes = wide_lanes(body, work.loads, body.outputs, axes[-1], threads.target) if axes else 1
    note = f"map: axes {[a.size for a in axes]}"
    turned = transpose_stage(body, work, axes, threads)
    if turned is not None:
        return Lowering(turned[0], f"{note}, turned in tiles of {TILE} × {TILE}", total, turned[1])
    if lanes == 1:
        steps, groups = walk(threads, "i", prod(a.size for a in axes))
        copy = body.instance(unflatten(steps.at, axes))
        stores = copy.stores()
        return Lowering(steps.around([*copy.statements, *stores]), note + _shared_by(threads), total, groups)
    inner = axes[-1]
    step = Axis(body.names.var("v", inner.size // lanes), inner.size // lanes)
    lane = Axis(body.names.var("l", lanes), lanes)
    steps, groups = walk(threads, "i", prod(a.size for a in axes[:-1]) * step.size)
    mapping = unflatten(steps.at, [*axes[:-1], step])
    mapping[inner.var] = mapping.pop(step.var) * lanes + lane.var
    copy = body.instance(mapping)
    stores = copy.stores()
    made: list[Statement] = [*copy.statements, loop(lane, stores, "vector")]
    return Lowering(steps.around(made), f"{note}, {lanes} neighbours a thread{_shared_by(threads)}", total, groups)


def _shared_by(threads: Threads) -> str:
    return f"; workgroups of {threads.count}" if threads.divide else ""
