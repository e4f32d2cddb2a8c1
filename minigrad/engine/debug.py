"""Stage: realise. In: a plan and its times. Out: what DEBUG asks to be printed, level by level.
Next: ``engine/tier0/``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from minigrad.config import say
from minigrad.engine.details import Details
from minigrad.engine.execute import Executable
from minigrad.engine.inspect import showing, shown
from minigrad.engine.recipe import KernelCall
from minigrad.engine.tier0.program import DirectKernel, DirectProgram
from minigrad.engine.walk import Pending
from minigrad.graph.show import show as show_graph
from minigrad.kernel.show import show as show_kernel
from minigrad.runtime.limits import copy_bandwidth, numpy_matmul_rate
from minigrad.runtime.pool import thread_count
from minigrad.schedule.show import show as show_plan
from minigrad.schedule.simplify import simplify

SHOWN = ", shown above"


def before(pending: Pending, executable: Executable | DirectProgram, hit: bool, seconds: float, level: int) -> None:
    """What is known before the kernels run: the plan, how it came about, and its forms if they are not shown yet."""
    again = level >= 3 and shown.get(executable) == showing()
    shown[executable] = showing()
    head = (f"*** {pending.device}: {len(pending.results)} output{'s' * (len(pending.results) != 1)} from "
            f"{len(pending.order)} nodes, ")
    if isinstance(executable, DirectProgram):
        count = len(executable.kernels)
        how = "cached calls" if hit else f"made in {seconds * 1e3:.1f} ms"
        say(f"{head}tier 0: {len(executable)} calls of {count} generic kernel{'s' * (count != 1)} ({how}"
               f"{SHOWN * again})")
        if not again:
            _show_direct(pending, executable, level)
        return
    count = len(executable.recipe.calls)
    how = "cached plan" if hit else f"{executable.origin} in {seconds * 1e3:.1f} ms"
    say(f"{head}{count} kernel{'s' * (count != 1)} ({how}{SHOWN * again})")
    if again:
        return
    if level >= 5:
        say("--- lazy graph as recorded", show_graph(pending.results))
        say("--- lazy graph simplified", show_graph(simplify(pending.results)[0]))
    if level >= 3:
        _forms(Details(pending, executable.recipe.free, executable.device), level)


def before_replay(executable: Executable | DirectProgram, device: str) -> None:
    """As ``before``, where the calls were those seen last time, so that no graph was made."""
    count = executable.launches
    say(f"*** {device}: {count} kernel{'s' * (count != 1)} (replayed: the same calls as before)")


def _forms(details: Details, level: int) -> None:
    """The plan and each kernel, as far as the level asks for them; code that several launches run is shown once."""
    device = details.device
    say("--- schedule", show_plan(details.plan))
    kernels = {kernel.launch.structure: kernel for kernel in reversed(details.kernels)}
    for kernel in reversed(kernels.values()):
        for line in kernel.lowered.strategies:
            say(f"--- {kernel.name}: {line}")
        say(show_kernel(kernel.lowered.kernel))
        if level >= 4:
            say(f"--- {kernel.name}: as {device.language}", kernel.source)
    if level >= 6 and kernels:
        source = device.source([kernel.lowered.kernel for kernel in reversed(kernels.values())])
        say(f"--- as compiled: {device.compiles or device.language}", source)
        if level >= 7:
            shown = device.assembly(source)
            say("--- assembly", shown or f"(device {device.name} does not show any)")


def _show_direct(pending: Pending, program: DirectProgram, level: int) -> None:
    """The generic kernels of a program of tier 0, each once. There is no plan: the graph runs as it was recorded."""
    if level >= 5:
        say("--- lazy graph as recorded", show_graph(pending.results))
    for kernel in program.kernels:
        if level >= 3:
            say(show_kernel(kernel.lowered.kernel))
        if level >= 4:
            say(f"--- {kernel.name}, called {kernel.calls} times: as {program.device.language}", kernel.source)
        if level >= 6:
            text = program.device.source([kernel.lowered.kernel])
            say(f"--- as compiled: {program.device.compiles or program.device.language}", text)
            if level >= 7:
                say("--- assembly", program.device.assembly(text))


def after(executable: Executable | DirectProgram, seconds: list[float], level: int) -> None:
    """A line for each kernel: time, speed and the share of what the machine can do."""
    if level < 2:
        return
    kernels: Sequence[KernelCall | DirectKernel] = (
        executable.kernels if isinstance(executable, DirectProgram) else executable.recipe.calls)
    for kernel, time in zip(kernels, seconds, strict=True):
        say(kernel_line(kernel, time))


def kernel_line(kernel: KernelCall | DirectKernel, seconds: float) -> str:
    """``name  12.3 µs  4.5 GFLOP/s  6.7 GB/s  80% of NumPy's bandwidth``: of a copy; or of the arithmetic of its matrix
    product. What lies in a cache is read faster than that: then it is ``1.3 times NumPy's bandwidth``."""
    seconds = max(seconds, 1e-9)
    limits = machine_limits()
    gflops, gbytes = kernel.flops / seconds / 1e9, kernel.bytes / seconds / 1e9
    share = max((gflops / limits["gflops"], "arithmetic"), (gbytes / limits["gbytes"], "bandwidth"))
    return (f"    {kernel.name:<44} {seconds * 1e6:10.1f} µs {gflops:8.2f} GFLOP/s {gbytes:8.2f} GB/s "
            f"{f'{share[0]:6.1%} of' if share[0] < 1 else f'{share[0]:4.1f} times'} NumPy's {share[1]}")


@cache
def machine_limits() -> dict[str, float]:
    """What NumPy reaches here on a copy and on a matrix product, measured once: the yardstick of DEBUG=2."""
    return {"gbytes": copy_bandwidth(thread_count(), 0.02), "gflops": numpy_matmul_rate(0.02, (512, 1024))}
