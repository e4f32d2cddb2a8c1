"""Stage: lower, GPU form, strategy ``map``. In: a body without reductions. Out: a flat walk over its space:
neighbouring threads at neighbouring elements, four of which a thread takes at once where memory allows.
Next: ``transpose.py``."""

from __future__ import annotations

from math import prod

from minigrad.errors import ScheduleError
from minigrad.lower.body import Body, Traffic, traffic
from minigrad.lower.gpu.threads import Threads, walk, wide_lanes
from minigrad.lower.gpu.transpose import TILE, cannot_turn, find_turned, transpose_stage
from minigrad.lower.map import simplify_axes
from minigrad.lower.nest import Lowering, unflatten
from minigrad.lower.steps import Space, Step, Steps, Strategy

STEPS = Strategy("map", ("block", "grid", "lanes", "split"))


def map_stage(body: Body, threads: Threads, given: Steps | None = None) -> Lowering:
    """Lower a body without reductions, by the given steps or those that are chosen."""
    work = traffic([o.value for o in body.outputs])
    axes = simplify_axes(body, work)
    space = Space(axes)
    total = (work.cost + len(body.outputs)) * prod(a.size for a in axes)
    steps = choose(body, work, space, threads) if given is None else space.check(given, STEPS)
    for step in steps.named("split"):
        along, size = space.axes[str(step.args[0])], int(step.args[1])
        reason = cannot_turn(body, work, axes, along, threads, size)
        if reason or steps.named("lanes"):
            raise ScheduleError(f"{step}: {reason or 'tiles are turned element by element, without lanes'}")
        statements, tiles = transpose_stage(body, work, axes, along, threads, size)
        return Lowering(statements, threads.note("map", space, steps, tiles), total, tiles)
    lane_axis = space.lanes(steps, axes, body.gathering())
    lane, lanes = None, steps.count("lanes", space.name(lane_axis)) if lane_axis else 1
    if lane_axis is not None and lane_axis.size % lanes:
        raise ScheduleError(f"{steps}: {lane_axis.size} elements are no whole vectors of {lanes}")
    vectors = [body.names.axis("v", a.size // lanes) if a is lane_axis else a for a in axes]
    walked, groups = walk(threads, "i", prod(a.size for a in vectors), steps.number("grid"))
    found = unflatten(walked.at, vectors)
    mapping = {a.var: found[v.var] for a, v in zip(axes, vectors, strict=True)}
    if lane_axis is not None and lanes > 1:
        lane = body.names.axis("l", lanes)
        mapping[lane_axis.var] = mapping[lane_axis.var] * lanes + lane.var
    note = threads.note("map", space, steps, groups, walked=True)
    return Lowering(walked.around(body.stored(mapping, lane=lane)), note, total, groups)


def choose(body: Body, work: Traffic, space: Space, threads: Threads) -> Steps:
    """Tiles where memory is read across; else as many neighbours a thread as one access takes."""
    axes = list(space.axes.values())
    turned = find_turned(body, work, axes, threads)
    if turned is not None:
        return Steps((Step("split", (space.name(turned), TILE)),))
    lanes = wide_lanes(body, work.loads, body.outputs, axes[-1], threads.target) if axes else 1
    return Steps((Step("lanes", (space.name(axes[-1]), lanes)),)) if lanes > 1 else Steps()
