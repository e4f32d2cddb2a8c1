"""Stage: measuring. In: what the explorer's ``Recorder`` has collected. Out: it as events: each run of a graph by the
name of what asked for it, in it the making of its plan and its kernels, and beside them the named parts of the program.
Next: ``memory.py``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minigrad.explain.kernels import describe, kernels_of, shapes_of
from minigrad.explain.log import Moment, Ran
from minigrad.explain.recording import Recorder
from minigrad.explain.sites import Site
from minigrad.profiler.events import FunctionEvent

PLANNING = 1e-4
"""Seconds from which on the making of a plan is an event of its own; to find one again takes a few microseconds."""


@dataclass
class _Known:
    """What is the same in all runs of a kernel."""

    name: str
    device: str
    flops: int
    bytes: int
    allocated: int
    shapes: list[list[int]] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)


def events_of(recorder: Recorder, shapes: bool, stacks: bool, modules: bool, memory: bool, devices: Collection[str],
              ) -> list[FunctionEvent]:
    """All events. ``devices``: the beginnings of names of those whose kernels are wanted."""
    known = [_kernels(ran, recorder, shapes, stacks, modules) for ran in recorder.graphs]
    found = [FunctionEvent(n.name, n.at * 1e6, n.seconds * 1e6, thread=n.thread) for n in recorder.named]
    for moment in recorder.moments:
        if moment.freed and memory:
            found.append(FunctionEvent("[memory]", _start(moment) * 1e6, 0.0, thread=moment.thread, kind="memory",
                                       allocated=-moment.freed))
        found += _run(moment, known[moment.graph], stacks, memory, devices)
    return found


def _start(moment: Moment) -> float:
    """When a run began, in seconds: with the making of its plan."""
    return max(0.0, moment.at - moment.planning)


def _run(moment: Moment, kernels: list[_Known], stacks: bool, memory: bool, devices: Collection[str],
         ) -> list[FunctionEvent]:
    """What a run consists of."""
    start, at, thread = _start(moment) * 1e6, moment.at * 1e6, moment.thread
    place = [_line(moment.site)] if stacks and moment.site.file else []
    found = []
    if any([device in ("", "CPU") for device in devices]):
        whole = at - start + sum(moment.seconds) * 1e6
        found.append(FunctionEvent(f"minigrad::{moment.site.call.strip('_') or 'realize'}", start, whole, thread=thread,
                                   kind="run", stack=place, shares=[1.0] * len(place)))
        if moment.how == "planned" and moment.planning >= PLANNING:
            found.append(FunctionEvent("minigrad::plan", start, at - start, thread=thread, kind="plan", stack=place,
                                       shares=[1.0] * len(place)))
    for kernel, seconds in zip(kernels, moment.seconds, strict=False):
        if any([kernel.device.startswith(device) for device in devices]):
            found.append(FunctionEvent(kernel.name, at, seconds * 1e6, kernel.device, kernel.flops, kernel.bytes,
                                       thread, "kernel", kernel.allocated * memory, kernel.shapes, kernel.stack,
                                       kernel.shares, kernel.modules))
        at += seconds * 1e6
    return found


def _kernels(ran: Ran, recorder: Recorder, shapes: bool, stacks: bool, modules: bool) -> list[_Known]:
    """The kernels of a graph, and as much of each as is wanted."""
    made = kernels_of(ran, 0)
    found = [_Known(k.name, k.device, k.flops, k.bytes, allocated)
             for k, allocated in zip(made, _allocated(ran, len(made)), strict=True)]
    with recorder.origins.noted(), recorder.origins.apart():
        for i, (one, kernel) in enumerate(zip(found, made, strict=True)):
            sites: list[Site] = []

            def place(site: Site, sites: list[Site] = sites) -> tuple[int, int]:
                sites.append(site)
                return (0, site.number) if site.file else (-1, 0)

            describe(kernel, ran, i, recorder.origins, place)
            if shapes and ran.details is not None:
                one.shapes = shapes_of(ran.details.kernels[i].launch)
            for part, site in zip(kernel.parts, sites, strict=True):
                if site.file and part.share and stacks:
                    one.stack.append(_line(site, part.calls))
                    one.shares.append(part.share)
            if modules:
                one.modules = list(dict.fromkeys([name for site in sites for name in site.modules]))
    return found


def _allocated(ran: Ran, count: int) -> list[int]:
    """Bytes of the results that each kernel is the first to write."""
    found = [0] * count
    recipe: Any = getattr(ran.executable, "recipe", None)
    if recipe is None or ran.executable.tier == 0:
        return found
    left = dict(enumerate(recipe.output_bytes, recipe.leaves))
    for i, call in enumerate(recipe.calls):
        for slot in call.arrays:
            found[i] += left.pop(slot if isinstance(slot, int) else slot[0], 0)
    return found


def _line(site: Site, calls: Collection[str] = ()) -> str:
    """A line of the program, and what is called there, as PyTorch writes it.

    >>> _line(Site("/home/me/net.py", 7, "exp", ())), _line(Site("net.py", 7, "__call__", ("Net", "Conv2d")).backward)
    ('net.py(7): exp', 'net.py(7): Net.Conv2d (backward)')
    """
    called = [c for c in calls or (site.call,) if c and not (c == "__call__" and site.modules)]
    words = ", ".join([".".join(site.modules), *called]).strip(", ")
    return f"{Path(site.file).name}({site.number}): {words or '<module>'}{' (backward)' * (site.phase == 'backward')}"
