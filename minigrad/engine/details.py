"""Stage: realise. In: a pending graph. Out: its kernels in every form, made again when somebody looks: a plan that is
kept holds only what a run needs.
Next: ``inspect.py``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from minigrad.engine.build import Model, lowered_for, target_of, traffic
from minigrad.engine.real import real
from minigrad.engine.shorten import shortened
from minigrad.engine.walk import Pending
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.origins import follow
from minigrad.lower import Lowered
from minigrad.runtime.device import Device, device_class, get_device
from minigrad.schedule.plan import Launch, Plan, schedule
from minigrad.target import Target


@dataclass(eq=False)
class DetailedKernel:
    """A launch, and its loop nest and source. ``bytes`` counts one run."""

    launch: Launch
    device: Device
    target: Target

    @property
    def name(self) -> str:
        """As in ``Plan``: it says what the kernel computes."""
        return self.launch.spec.name

    @property
    def bytes(self) -> int:
        """What it must at least read and write."""
        return traffic(self.launch)

    @cached_property
    def lowered(self) -> Lowered:
        """Its loop nest, written anew."""
        return lowered_for(self.launch, self.device, self.target)

    @cached_property
    def source(self) -> str:
        """The kernel in its device's language, the form DEBUG=4 prints."""
        return self.device.readable(self.lowered.kernel)


class Details:
    """The plan and the kernels of a graph for a device. The graph is copied: it may be realised before they are asked
    for."""

    def __init__(self, pending: Pending, free: Iterable[int], device: Device) -> None:
        self.device, self.target = device, target_of(device)  # as the settings have it now
        pending = real(pending)
        model = Model.of(pending, free)
        at = dict(model.stand_ins)
        # the copy has the stand-ins themselves; the nodes of the graph hold memory
        self.model = replace(model, stand_ins={node: node for node in model.stand_ins.values()})
        for node in pending.order:
            if node not in at:
                follow(node)
                srcs = tuple([at[s] for s in node.srcs])
                at[node] = LazyBuffer(node.op, srcs, node.arg, node.shape, node.dtype, node.device)
        self.results = [at[node] for node in pending.results]

    @cached_property
    def plan(self) -> Plan:
        """The graph, scheduled anew."""
        plan = schedule(self.results, self.model.leaves, self.model.dead, self.target, self.model.stand_ins)
        plan.launches = shortened(plan.launches, lambda launch: lowered_for(launch, self.device, self.target))
        return plan

    @cached_property
    def kernels(self) -> list[DetailedKernel]:
        """One for each launch of the plan, in order."""
        return [DetailedKernel(launch, self.device, self.target) for launch in self.plan.launches]


def preview(pending: Pending, name: str) -> Details:
    """What another device, which need not exist here, would run for a graph."""
    kind = device_class(name)
    if not kind.unavailable():
        return Details(pending, (), get_device(name))
    details = Details(pending, (), kind.offline())
    details.target = replace(details.target, beam=0)  # nothing can be timed
    return details
