"""Stage: explaining. In: a graph that ran. Out: its kernels with their times, what each consists of, and the lines of
the program that it comes from.
Next: ``graphs.py``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from minigrad.engine.build import parts_of
from minigrad.explain.log import HostCall, Ran
from minigrad.explain.model import Kernel, Part, Stage
from minigrad.explain.sites import NOWHERE, Site
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.origins import Origins
from minigrad.ops import MOVEMENT, REDUCE, SOURCES
from minigrad.schedule.plan import Launch
from minigrad.schedule.show import names_of, slice_of


def kernels_of(ran: Ran, plan: int) -> list[Kernel]:
    """The kernels of a graph in the order they run, with the sums of all runs; ``plan`` is the number of its plan."""
    executable = ran.executable
    calls = executable.kernels if executable.tier == 0 else executable.recipe.calls
    made = [Kernel(plan, call.name, ran.device, call.flops, call.bytes) for call in calls]
    for kernel, seconds, launches in zip(made, ran.times, ran.launches, strict=False):
        kernel.seconds, kernel.launches = seconds, launches
    return made


def shapes_of(launch: Launch) -> list[list[int]]:
    """The shapes of what a kernel reads, in order."""
    return [list(memory.shape) for spec in parts_of(launch) for memory in spec.memory.values() if not memory.written]


def describe(kernel: Kernel, ran: Ran, position: int, origins: Origins, place: Callable[[Site], tuple[int, int]],
             ) -> None:
    """Fill in what the kernel at a position of a graph consists of, and where that comes from, if it is known.
    ``place``: the numbers of a site's file and line."""
    if isinstance(ran.executable, HostCall):
        site = ran.sites[0]
        kernel.parts = [Part(*place(site), site.phase, 1.0, [site.call], list(site.modules))]
    elif ran.details is not None:
        _describe_launch(kernel, ran.details.kernels[position].launch, origins, place)


def _describe_launch(kernel: Kernel, launch: Launch, origins: Origins, place: Callable[[Site], tuple[int, int]],
                     ) -> None:
    kernel.notes = list(dict.fromkeys(launch.notes))
    work: Counter[Site] = Counter()
    calls: dict[Site, dict[str, None]] = {}
    nodes: list[Site] = []
    stages: list[tuple[Stage, Counter[Site]]] = []
    for spec in parts_of(launch):
        kernel.arrays += [f"{m.name}: {m.dtype.name} {list(m.shape)}, {m.scope}{' written' * m.written}"
                          for m in spec.memory.values()]
        names = names_of(spec)
        for stage in spec.stages:
            computed = slice_of(stage.stores, names)
            own: Counter[Site] = Counter()
            for node in computed:
                site: Site = origins.of(node) or NOWHERE
                line = site._replace(call="")
                nodes.append(line)
                own[line] += _operations(node)
                calls.setdefault(line, {})[site.call] = None
            if not own.total():
                own = Counter(nodes[-len(computed):])  # it only moves values
            stages.append((Stage([names[s] for s in stage.stores], list(stage.space), []), own))
            work.update(own)
    order = [site for site, _ in work.most_common()]
    for site in order:
        file, number = place(site)
        kernel.parts.append(Part(file, number, site.phase, work[site] / (work.total() or 1), list(calls[site]),
                                 list(site.modules)))
    kernel.nodes = [order.index(site) for site in nodes]
    for made, own in stages:
        made.parts = [order.index(site) for site, count in own.most_common() if count]
        kernel.stages.append(made)


def _operations(node: LazyBuffer) -> int:
    """Operations on single elements that a node stands for; 0 for one that only says what is read."""
    if node.op in REDUCE:
        return node.srcs[0].size
    return 0 if node.op in MOVEMENT or node.op in SOURCES else node.size
