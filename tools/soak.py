"""Stage: beside the house. In: the five training loops of ``loops.py``, plain and under ``minigrad.jit``. Out: a table
of what is alive and how full the caches are as thousands of steps go by, and whether anything grew; whether another
process that goes on from a checkpoint comes to the same bits; and whether the losses stay the same while a profiler or
a debugger holds all local variables. ``python tools/soak.py`` takes an hour; the exit code is 1 if anything grew or
differed. Next: ``tests/unit/tools/test_soak.py``."""

from __future__ import annotations

import argparse
import functools
import gc
import os
import subprocess
import sys
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import minigrad  # noqa: E402
from minigrad import config  # noqa: E402
from minigrad.autograd.node import Node  # noqa: E402
from minigrad.engine import plans  # noqa: E402
from minigrad.engine.kernels import kernels  # noqa: E402
from minigrad.graph.lazy import LazyBuffer  # noqa: E402
from minigrad.runtime.allocator import memory_stats  # noqa: E402
from minigrad.runtime.buffer import Buffer  # noqa: E402
from minigrad.tensor.entry import Entry  # noqa: E402
from minigrad.tensor.replay import thread  # noqa: E402
from tools.loops import PROGRAMS, WRAPS, resumed, save  # noqa: E402

Table = dict[str, Sequence[int]]  # by column, a number for each sample

COUNTED = (minigrad.Tensor, LazyBuffer, Node, Buffer, Entry)
"""What a step makes. An ``Entry`` is a call that replay remembers."""

SLACK = {"RSS KB": 256, "blocks": 100, "objects": 50, "used KB": 4}
"""Growth that is none. Python keeps some freed objects, the system counts memory by the page, and the last batch may be
a larger one. Over 10,000 steps these are 80 bytes or a fiftieth of an object a step. All other columns must not grow at
all."""

WARM = 300
"""Steps at least before the first sample."""

COUNTERS = 5
"""Blocks more for each call that replay remembers: its counters become objects of their own when they pass 256, which
a batch of a seldom size makes late."""

HELD = 50_000
"""Calls whose local variables a hook holds at a time: those of several steps."""


def system() -> dict[str, int]:
    """What the system counts of this process, where it says so."""
    if sys.platform != "linux":
        return {}
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    threads, files = (len(os.listdir(f"/proc/self/{name}")) for name in ("task", "fd"))
    return {"RSS KB": pages * 4, "threads": threads, "files": files}


def sample() -> dict[str, int]:
    """What is alive now, and how full the caches are."""
    gc.collect()
    objects = gc.get_objects()
    kinds = Counter(map(type, objects))
    counted = {kind.__name__: sum(n for k, n in kinds.items() if issubclass(k, kind)) for kind in COUNTED}
    caches = [f for f in objects if type(f) is functools._lru_cache_wrapper and f.__module__.startswith("minigrad")]
    return {**system(), "blocks": sys.getallocatedblocks(), "objects": len(objects), **counted,
            "plans": sum(len(family.plans) for family in plans.families.values()) + len(plans.programs),
            "kernels": len(kernels.codes), "cached": sum(f.cache_info().currsize for f in caches),
            "used KB": memory_stats().in_use >> 10, "mapped KB": memory_stats().mapped >> 10}


def growth(samples: Table) -> list[str]:
    """The columns whose last third lies above the first third, with by how much: what goes up and down does not grow.

    >>> growth({"plans": [3, 4, 4, 3, 4, 4], "kernels": [3, 4, 4, 5, 5, 6]})
    ['kernels +1']
    """
    grown = []
    for column, numbers in samples.items():
        third = len(numbers) // 3
        slack = SLACK.get(column, 0) + (COUNTERS * max(samples["Entry"]) if column == "blocks" else 0)
        if (more := min(numbers[-third:]) - max(numbers[:third])) > slack:
            grown.append(f"{column} +{more}")
    return grown


def soak(steps: Iterator[Any], count: int, rows: int = 15,
         middle: Callable[[], object] = lambda: None) -> tuple[Table, float]:
    """Take steps to warm up, then ``count`` more and samples at equal distances. ``middle`` is called before the last
    half of them, and before the first: what it needs for the first time is not growth. Returns the samples, and
    seconds a step."""
    table = {column: array("q", [0] * rows) for column in sample()}  # which takes no more memory from here on
    for _ in islice(steps, max(WARM, count // 5)):
        pass
    seconds, between = 0.0, count // rows
    for i in range(rows):
        if i in (0, rows - rows // 2):
            middle()
        start = perf_counter()
        for _ in islice(steps, between):
            pass
        seconds += perf_counter() - start
        for column, number in sample().items():
            table[column][i] = number
    return table, seconds / (between * rows)


def go_on(name: str, mode: str, path: str, count: int) -> str:
    """The digest of a loop that goes on from a checkpoint for ``count`` steps."""
    loop = resumed(name, mode, path)
    for _ in islice(loop, count):
        pass
    return loop.digest()


def apart(name: str, mode: str, path: str, count: int) -> str:
    """The same in a process of its own."""
    command = [sys.executable, __file__, name, "--mode", mode, "--steps", str(count), "--resume", path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MINIGRAD_TIERS": str(config.get("TIERS"))}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "no digest"


@contextmanager
def profiler() -> Iterator[deque[Any]]:
    """At each return, the local variables of the function are taken and kept, as a profiler of memory may do."""
    held: deque[Any] = deque(maxlen=HELD)

    def hook(frame: FrameType, event: str, arg: Any) -> None:
        if event == "return":
            held.append((dict(frame.f_locals), arg))

    sys.setprofile(hook)
    try:
        yield held
    finally:
        sys.setprofile(None)


@contextmanager
def debugger() -> Iterator[deque[Any]]:
    """At each line the local variables are looked at, and the frames are kept."""
    held: deque[Any] = deque(maxlen=HELD)

    def hook(frame: FrameType, event: str, arg: Any) -> Any:
        held.append((frame, *frame.f_locals.values(), arg))
        return hook

    before = sys.gettrace()
    sys.settrace(hook)
    try:
        yield held
    finally:
        sys.settrace(before)


HOOKS = {"profiler": profiler, "debugger": debugger}


def losses(steps: Iterator[Any], count: int) -> list[str]:
    """The bits of each loss."""
    return [float(loss if isinstance(loss, float) else loss.item()).hex() for loss in islice(steps, count)]


def anew(name: str, mode: str) -> Iterator[Any]:
    """A program in a process that has forgotten the earlier ones: how often a graph came decides how it is run."""
    thread.forget()
    plans.clear()
    return PROGRAMS[name](WRAPS[mode])


def differences(name: str, mode: str, count: int) -> list[str]:
    """The hooks under which the losses are other ones."""
    expected, found = losses(anew(name, mode), count), []
    for hook, hooked in HOOKS.items():
        steps = anew(name, mode)
        with hooked() as held:
            got = losses(steps, count)
        if len(held) < count:
            found.append(f"the {hook} saw nothing")
        if got != expected:
            found.append(f"other losses under the {hook}")
    return found


def run(name: str, mode: str, count: int, hooked: int, rows: int = 15) -> bool:
    """Soak a program and print its table; whether all is well. Where tiers are chosen by how often a graph came, a
    process that goes on from a checkpoint rounds sums otherwise: then the bits are not compared (``docs/tiers.md``)."""
    loop, straight, wrong = PROGRAMS[name](WRAPS[mode]), "", []
    with TemporaryDirectory() as folder:
        path = os.path.join(folder, "middle.pt")
        samples, seconds = soak(loop, count, rows, lambda: save(loop, path))
        tiers = config.get("TIERS")
        print(f"{name}, {mode}, TIERS={tiers}: {count} steps, {seconds * 1e6:.0f} µs each")
        print(" ".join(f"{column:>11}" for column in samples))
        for line in zip(*samples.values()):
            print(" ".join(f"{number:11}" for number in line), flush=True)
        if tiers != 1:
            straight = loop.digest()
            if apart(name, mode, path, count // rows * (rows // 2)) != straight:
                wrong.append("other bits from the checkpoint of the middle on")
    wrong += growth(samples) + differences(name, mode, hooked)
    said = ["no growth"] + ["the same bits from the checkpoint of the middle on, in another process"] * bool(straight)
    said += ["same losses under a profiler and a debugger"] * bool(hooked)
    print(f"{name}, {mode}:", ", ".join(wrong) or "; ".join(said), flush=True)
    return not wrong


def main() -> None:
    """Each program in a process of its own."""
    parser = argparse.ArgumentParser("python tools/soak.py", description=__doc__)
    parser.add_argument("programs", nargs="*", metavar="program", help=f"which ({', '.join(PROGRAMS)})")
    parser.add_argument("--mode", nargs="*", choices=WRAPS, default=list(WRAPS), help="plain loop, jit (both)")
    parser.add_argument("--steps", type=int, default=10_000, help="(10000)")
    parser.add_argument("--hooked", type=int, default=100, help="steps under a profiler and a debugger (100)")
    parser.add_argument("--tiers", type=int, nargs="*", default=[0, 1], help="values of the setting TIERS (0 1)")
    parser.add_argument("--resume", metavar="CHECKPOINT", help="go on from it for so many steps, and print the digest")
    options = parser.parse_args()
    runs = [(name, mode, tiers) for name in options.programs or PROGRAMS for mode in options.mode
            for tiers in options.tiers]
    if options.resume:
        print(go_on(*runs[0][:2], options.resume, options.steps))
        sys.exit(0)
    if len(runs) == 1:
        name, mode, tiers = runs[0]
        with config.config(TIERS=tiers):
            sys.exit(not run(name, mode, options.steps, options.hooked))
    failed = 0
    for name, mode, tiers in runs:
        command = [sys.executable, __file__, name, "--mode", mode, "--steps", str(options.steps), "--hooked",
                   str(options.hooked), "--tiers", str(tiers)]
        failed += subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode != 0
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
