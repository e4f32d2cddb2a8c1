"""Stage: beside the house. In: ten small programs, the start of a process, and the calls that may fail on a machine:
memory, the compiler, the linker, a launch, files. Out: for each program and kind of call what happened when the first,
the second … such call failed. After each failure the same process runs the program again and must get the same bits, no
file may be damaged, and no memory may be lost. ``python tools/faults.py`` takes some minutes; the exit code is 1 if
anything was wrong. Next: ``tests/unit/tools/test_faults.py``."""

from __future__ import annotations

import argparse
import builtins
import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

import minigrad  # noqa: E402
from minigrad import nn, optim  # noqa: E402
from minigrad.config import config  # noqa: E402
from minigrad.engine import plans  # noqa: E402
from minigrad.engine.kernels import kernels  # noqa: E402
from minigrad.errors import CompileError, LaunchError, MinigradError, OutOfMemoryError  # noqa: E402
from minigrad.runtime import folder, llvm  # noqa: E402
from minigrad.runtime.allocator import Allocator, memory_stats  # noqa: E402
from minigrad.runtime.buffer import Buffer  # noqa: E402
from minigrad.runtime.calls import CallTable  # noqa: E402
from minigrad.runtime.native import NativeProgram  # noqa: E402
from minigrad.tensor.replay import thread  # noqa: E402
from minigrad.utils.data import DataLoader, TensorDataset  # noqa: E402

Result = list[Any]
Program = Callable[[str], Result]
NO_SPACE = OSError(28, "No space left on device")

POINTS: dict[str, tuple[Exception, tuple[tuple[Any, str], ...]]] = {
    "memory": (OutOfMemoryError("no memory (injected)"), ((Buffer, "__init__"), (Allocator, "fresh"))),
    "compile": (CompileError("compiler failed (injected)"), ((llvm, "_emit"),)),
    "link": (MemoryError("linker failed (injected)"), ((llvm.Session, "link"),)),
    "launch": (LaunchError("launch failed (injected)"), ((NativeProgram, "run"), (CallTable, "run"))),
    "cache": (NO_SPACE, ((folder.Folder, "read"), (folder.Folder, "write"), (folder.Folder, "touch"))),
    "files": (NO_SPACE, ((builtins, "open"), (os, "open"), (os, "replace"), (os, "fsync"), (os, "write"))),
}
"""Of each kind of fault the exception, and where it is raised: an attribute of a module or class."""


@contextmanager
def failing(kind: str, at: int) -> Iterator[list[int]]:
    """A block in which call number ``at`` of these fails, the first is 0. The list counts them."""
    error, places = POINTS[kind]
    count = [0]
    before = [(owner, name, vars(owner)[name]) for owner, name in places]

    def wrapped(owner: Any, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            count[0] += 1
            if count[0] == at + 1:
                if owner is Buffer:
                    args[0]._free = None  # it is under way, and has no block yet
                raise type(error)(*error.args)
            return plain(*args, **options)

        return call

    try:
        for owner, name, plain in before:
            setattr(owner, name, wrapped(owner, plain))
        yield count
    finally:
        for owner, name, plain in before:
            setattr(owner, name, plain)


# --- programs: each gives numbers that do not depend on anything but itself


def first_plan(place: str) -> Result:
    """A graph that has not been seen before."""
    x = minigrad.arange(60.0).reshape(6, 10)
    return [((x.sin() * 3 - x).softmax(1) @ x.T).sum(0).tolist()]


def _model() -> tuple[Any, Any, Any]:
    minigrad.manual_seed(5)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    return model, minigrad.rand(16, 4), minigrad.rand(16, 2)


def _losses(make: Callable[[Any], optim.Optimizer], wrap: Callable[[Any], Any], count: int) -> Result:
    model, x, y = _model()
    optimizer = make(model.parameters())

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    wrapped = wrap(step)
    return [[wrapped(x, y).item() for _ in range(count)]]


def plain_step(place: str) -> Result:
    """A loop in plain PyTorch style, long enough to be replayed."""
    return _losses(partial(optim.SGD, lr=0.1, momentum=0.9), lambda step: step, 20)


def jitted_step(place: str) -> Result:
    """The same under ``minigrad.jit``, with Adam."""
    return _losses(partial(optim.Adam, lr=0.01), minigrad.jit, 5)


def views(place: str) -> Result:
    """Writes through views, into memory that NumPy sees too."""
    array = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    x = minigrad.from_numpy(array)
    x[1:, ::2] += 5
    x.t()[0].mul_(x[:, 1])
    y = x.clone()
    y[y > 6] = -1
    return [x.tolist(), y.tolist(), array.tolist()]


def higher(place: str) -> Result:
    """Second derivatives."""
    x = minigrad.tensor([0.5, -1.0, 2.0], requires_grad=True)
    first, = minigrad.autograd.grad((x ** 3 * x.sin()).sum(), x, create_graph=True)
    first.square().sum().backward()
    return [first.tolist(), x.grad.tolist()]


def host(place: str) -> Result:
    """What LAPACK and sorting do."""
    minigrad.manual_seed(3)
    a = minigrad.rand(5, 5)
    return [a.sort(1)[0].tolist(), minigrad.linalg.inv(a).tolist(), a.topk(2, 0)[1].tolist()]


def save(place: str) -> Result:
    """A checkpoint, written over an older one; what is read back is one of the two."""
    path = os.path.join(place, "model.pt")
    state = {"weight": minigrad.arange(1000.0), "step": 7}
    minigrad.save(state, path)
    read = minigrad.load(path)
    return [read["weight"].sum().item(), read["step"]]


def load(place: str) -> Result:
    """A checkpoint that is read into a model."""
    path = os.path.join(place, "weights.pt")
    model, x, _ = _model()
    if not os.path.exists(path):
        minigrad.save(model.state_dict(), path)
    model.load_state_dict(minigrad.load(path))
    return [model(x).sum().item()]


def loader(place: str) -> Result:
    """Batches, shuffled by a seed."""
    data = TensorDataset(minigrad.arange(10.0), minigrad.arange(10))
    batches = DataLoader(data, batch_size=3, shuffle=True, generator=minigrad.Generator().manual_seed(1))
    return [[x.sum().item(), y.tolist()] for x, y in batches]


def convolution(place: str) -> Result:
    """A convolution forward and backward, with batch norm's running statistics."""
    minigrad.manual_seed(2)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU())
    x = minigrad.rand(2, 2, 6, 6)
    net(x).sum().backward()
    return [net[0].weight.grad.tolist(), net[1].running_mean.tolist()]


PROGRAMS: tuple[Program, ...] = (
    first_plan, plain_step, jitted_step, views, higher, host, save, load, loader, convolution)


# --- what must hold


def forget() -> None:
    """Begin anew: nothing to replay, no plans, no kernels, so that everything is compiled and launched again."""
    thread.forget()
    plans.clear()
    kernels.clear()
    gc.collect()


@contextmanager
def only_new_garbage() -> Iterator[None]:
    """A block in which ``gc.collect`` looks at what was made in it: a process with much in it is not searched each
    time."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def prepare(program: Program, place: str, known: bool) -> None:
    """Begin anew, also without compiled code of earlier runs; then run the program some times, if it is to be known."""
    forget()
    shutil.rmtree(os.path.join(place, "cache"), ignore_errors=True)
    for _ in range(3 * known):
        program(place)


def check(program: Program, kind: str, at: int, right: Result, place: str, known: bool = False) -> tuple[str, str]:
    """Run the program while call number ``at`` of a kind fails, and again without. What came of the first run: the
    exception, "the same result", or "" if there were no so many calls; and what is wrong. ``known``: it has run
    before, so that its calls are replayed."""
    prepare(program, place, known)
    outcome, problem = "the same result", ""
    with failing(kind, at) as count:
        try:
            if program(place) != right:
                problem = "a wrong result while a call failed"
        except (MinigradError, MemoryError, OSError) as error:
            outcome = type(error).__name__
        except Exception as error:
            outcome, problem = type(error).__name__, f"{type(error).__name__} instead: {error}"
    if count[0] <= at:
        return "", ""
    if not problem:
        try:
            if program(place) != right:
                problem = "a wrong result afterwards"
        except Exception as error:
            problem = f"afterwards {type(error).__name__}: {error}".partition("\n")[0]
    left = [name for name in os.listdir(place) if name.endswith(".tmp")]
    return outcome, problem or (f"left behind {left}" if left else "")


def table(programs: Sequence[Program], kinds: Sequence[str], most: int, say: Callable[[str], None]) -> int:
    """A line for each program and kind: how many calls there are, and what came of their failures. The number of
    faults."""
    faults = 0
    for program in programs:
        with (tempfile.TemporaryDirectory() as place, config(CACHE_DIR=os.path.join(place, "cache")),
              only_new_garbage()):
            forget()
            right = program(place)
            for kind in kinds:
                for known in (False, True):
                    faults += _line(program, kind, known, most, right, place, say)
                grown = growth(program, kind, place)
                faults += bool(grown)
                if grown:
                    say(f"  {program.__name__}, {kind}: {grown} bytes more in use after ten failures")
    return faults


def _line(program: Program, kind: str, known: bool, most: int, right: Result, place: str,
          say: Callable[[str], None]) -> int:
    prepare(program, place, known)
    with failing(kind, -1) as count:
        program(place)
    outcomes: Counter[str] = Counter()
    faults = 0
    for at in spread(count[0], most):
        outcome, problem = check(program, kind, at, right, place, known)
        outcomes[outcome or "no such call"] += 1
        if problem:
            faults += 1
            say(f"  {program.__name__}, {kind} {at} of {count[0]}, known={known}: {outcome}, {problem}")
    found = ", ".join(f"{name} {n}" for name, n in outcomes.most_common())
    say(f"{program.__name__:12} {'known' if known else 'new':5} {kind:8} {count[0]:5} calls: {found or 'none'}")
    return faults


def spread(count: int, most: int) -> list[int]:
    """The numbers below ``count``, or ``most`` of them, evenly."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def growth(program: Program, kind: str, place: str) -> int:
    """How many bytes more are in use after ten failures than after two, if it is more than a page."""
    used = []
    for _ in range(11):
        with failing(kind, 0), suppress(Exception):
            forget()
            program(place)
        forget()
        used.append(memory_stats().in_use)
    return max(0, used[-1] - used[2]) if used[-1] - used[2] > 4096 else 0


FIRST = """
import builtins, os, sys
calls, at = 0, int(sys.argv[1])

def failing(plain):
    def call(*args, **options):
        global calls
        calls += 1
        if calls == at + 1:
            raise OSError(28, "No space left on device")
        return plain(*args, **options)
    return call

def first():
    import minigrad
    with minigrad.config(TIERS=0):
        return (minigrad.arange(6.0).reshape(2, 3).exp().sum(0) * 2).tolist()

import numpy
for owner, name in ((builtins, "open"), (os, "open"), (os, "replace"), (os, "fsync"), (os, "write")):
    setattr(owner, name, failing(getattr(owner, name)))
try:
    outcome = "the same result" if first() else ""
except OSError as error:
    outcome = type(error).__name__
print(calls, outcome, first(), sep=";")
"""
"""A new process: minigrad is imported, and computes something, while a call fails; and again."""


def imported(most: int, say: Callable[[str], None]) -> int:
    """A line for a process that begins: what came of failures of its file operations. The number of faults."""

    def run(at: int) -> tuple[int, str, str]:
        with tempfile.TemporaryDirectory() as place:
            ran = subprocess.run([sys.executable, "-c", FIRST, str(at)], capture_output=True, text=True, check=False,
                                 cwd=ROOT, env={**os.environ, "MINIGRAD_CACHE_DIR": os.path.join(place, "cache")})
        if ran.returncode:
            return 0, "", ran.stderr.strip().rpartition("\n")[2]
        calls, outcome, result = ran.stdout.strip().split(";")
        return int(calls), outcome, result

    count, _, right = run(-1)
    outcomes: Counter[str] = Counter()
    faults = 0
    for at in spread(count, most):
        _, outcome, result = run(at)
        outcomes[outcome] += 1
        if result != right:
            faults += 1
            say(f"  imported, files {at} of {count}: {outcome}, {result} afterwards")
    found = ", ".join(f"{name} {n}" for name, n in outcomes.most_common())
    say(f"{'imported':12} new   files    {count:5} calls: {found}")
    return faults


def main() -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python tools/faults.py", description=__doc__)
    parser.add_argument("--kinds", nargs="*", choices=list(POINTS), default=list(POINTS))
    parser.add_argument("--tiers", type=int, nargs="*", default=[0, 2], help="values of the setting TIERS")
    parser.add_argument("--programs", nargs="*", choices=[p.__name__ for p in PROGRAMS])
    parser.add_argument("--most", type=int, default=40, help="failures of each kind in a program, evenly spread")
    options = parser.parse_args()
    programs = [p for p in PROGRAMS if not options.programs or p.__name__ in options.programs]
    faults = imported(options.most, print) if not options.programs and "files" in options.kinds else 0
    for tiers in options.tiers:
        print(f"TIERS={tiers}")
        with config(TIERS=tiers):
            faults += table(programs, options.kinds, options.most, lambda line: print(line, flush=True))
    print(f"{faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
