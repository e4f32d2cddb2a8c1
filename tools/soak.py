"""Stage: beside the house. In: the training programs of ``examples/``, in a plain loop and under ``minigrad.jit``. Out:
a table of what is alive and how full the caches are as thousands of steps go by, and whether anything grew; and whether
the losses stay the same to the bit while a profiler or a debugger holds all local variables.
``python tools/soak.py`` takes ten minutes; the exit code is 1 if anything grew or differed.
Next: ``tests/unit/tools/test_soak.py``."""

from __future__ import annotations

import argparse
import functools
import gc
import importlib.util
import os
import random
import subprocess
import sys
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import perf_counter
from types import FrameType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import minigrad  # noqa: E402
from minigrad.autograd.node import Node  # noqa: E402
from minigrad.engine import plans  # noqa: E402
from minigrad.engine.kernels import kernels  # noqa: E402
from minigrad.graph.lazy import LazyBuffer  # noqa: E402
from minigrad.runtime.allocator import memory_stats  # noqa: E402
from minigrad.runtime.buffer import Buffer  # noqa: E402
from minigrad.tensor.replay import Entry  # noqa: E402

Step = Callable[..., Any]
Table = dict[str, Sequence[int]]  # by column, a number for each sample

COUNTED = (minigrad.Tensor, LazyBuffer, Node, Buffer, Entry)
"""What a step makes. An ``Entry`` is a call that replay remembers."""

SLACK = {"RSS KB": 256, "blocks": 100, "objects": 50}
"""Growth that is none. Python keeps some freed objects, and the system counts memory by the page. Over 10,000 steps
these are 80 bytes or a fiftieth of an object a step. All other columns must not grow at all."""

WARM = 300
"""Steps at least before the first sample. Counters past 256 are objects of their own, one for each call that replay
remembers and for the version of each parameter."""

HELD = 50_000
"""Calls whose local variables a hook holds at a time: those of several steps."""


def example(name: str) -> ModuleType:
    """A program of ``examples/``, loaded anew: with its own model, seeded as when it is run."""
    spec = importlib.util.spec_from_file_location(f"examples_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def xor(wrap: Callable[[Step], Step]) -> Iterator[Any]:
    """Nobody looks at the loss."""
    step = wrap(example("xor").step)
    while True:
        yield step()


def mlp_digits(wrap: Callable[[Step], Step]) -> Iterator[Any]:
    """Batches of two sizes; the loss is read at each step."""
    program = example("mlp_digits")
    step = wrap(program.step)
    while True:
        for batch in program.batches():
            yield step(batch).item()


def micrograd(wrap: Callable[[Step], Step], batch: int = 4) -> Iterator[Any]:
    """A network of single numbers; random batches. Under jit the labels are tensors, or each combination of them would
    be a program of its own."""
    program = example("micrograd")
    random.seed(1337)
    points, labels = program.make_moons(n_samples=100, noise=0.1, random_state=1)
    number = minigrad.tensor if wrap is minigrad.jit else float
    data = [(x, y, number(2.0 * label - 1)) for (x, y), label in zip(points.tolist(), labels)]
    model, rate, step = program.MLP(2, 16, 16, 1), number(0.1), wrap(program.step)
    while True:
        chosen = random.sample(data, batch)
        points = [(minigrad.tensor(x), minigrad.tensor(y)) for x, y, _ in chosen]
        loss, scores = step(model, points, [label for _, _, label in chosen], rate)
        _ = [score.item() for score in scores]
        yield loss.item()


PROGRAMS: dict[str, Callable[[Callable[[Step], Step]], Iterator[Any]]] = {
    "xor": xor, "mlp_digits": mlp_digits, "micrograd": micrograd}
WRAPS: dict[str, Callable[[Step], Step]] = {"plain": lambda step: step, "jit": minigrad.jit}


def sample() -> dict[str, int]:
    """What is alive now, and how full the caches are."""
    gc.collect()
    objects = gc.get_objects()
    kinds = Counter(map(type, objects))
    counted = {kind.__name__: sum(n for k, n in kinds.items() if issubclass(k, kind)) for kind in COUNTED}
    caches = [f for f in objects if type(f) is functools._lru_cache_wrapper and f.__module__.startswith("minigrad")]
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if sys.platform == "linux" else 0
    return {"RSS KB": pages * 4, "blocks": sys.getallocatedblocks(), "objects": len(objects), **counted,
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
        if (more := min(numbers[-third:]) - max(numbers[:third])) > SLACK.get(column, 0):
            grown.append(f"{column} +{more}")
    return grown


def soak(steps: Iterator[Any], count: int, rows: int = 15) -> tuple[Table, float]:
    """Take steps to warm up, then ``count`` more and samples at equal distances. Returns them, and seconds a step."""
    table = {column: array("q", [0] * rows) for column in sample()}  # which takes no more memory from here on
    for _ in islice(steps, max(WARM, count // 5)):
        pass
    seconds, between = 0.0, count // rows
    for i in range(rows):
        start = perf_counter()
        for _ in islice(steps, between):
            pass
        seconds += perf_counter() - start
        for column, number in sample().items():
            table[column][i] = number
    return table, seconds / (between * rows)


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


def differences(name: str, mode: str, count: int) -> list[str]:
    """The hooks under which the losses are other ones."""
    expected, found = losses(PROGRAMS[name](WRAPS[mode]), count), []
    for hook, hooked in HOOKS.items():
        steps = PROGRAMS[name](WRAPS[mode])
        with hooked() as held:
            got = losses(steps, count)
        if len(held) < count:
            found.append(f"the {hook} saw nothing")
        if got != expected:
            found.append(f"other losses under the {hook}")
    return found


def run(name: str, mode: str, count: int, hooked: int) -> bool:
    """Soak a program and print its table; whether all is well."""
    samples, seconds = soak(PROGRAMS[name](WRAPS[mode]), count)
    print(f"{name}, {mode}: {count} steps, {seconds * 1e6:.0f} µs each")
    print(" ".join(f"{column:>11}" for column in samples))
    for line in zip(*samples.values()):
        print(" ".join(f"{number:11}" for number in line), flush=True)
    wrong = growth(samples) + differences(name, mode, hooked)
    print(f"{name}, {mode}:", ", ".join(wrong) or "no growth; same losses under a profiler and a debugger", flush=True)
    return not wrong


def main() -> None:
    """Each program in a process of its own."""
    parser = argparse.ArgumentParser("python tools/soak.py", description=__doc__)
    parser.add_argument("programs", nargs="*", metavar="program", help=f"which ({', '.join(PROGRAMS)})")
    parser.add_argument("--mode", choices=WRAPS, help="only in a plain loop, or only under jit")
    parser.add_argument("--steps", type=int, default=10_000, help="(10000)")
    parser.add_argument("--hooked", type=int, default=100, help="steps under a profiler and a debugger (100)")
    options = parser.parse_args()
    names = options.programs or list(PROGRAMS)
    modes = [options.mode] if options.mode else list(WRAPS)
    if len(names) == len(modes) == 1:
        sys.exit(not run(names[0], modes[0], options.steps, options.hooked))
    failed = 0
    for name in names:
        for mode in modes:
            command = [sys.executable, __file__, name, "--mode", mode, "--steps", str(options.steps), "--hooked",
                       str(options.hooked)]
            failed += subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode != 0
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
