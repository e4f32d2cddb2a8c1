"""Stage: the command line. In: nothing. Out: what minigrad runs on, what is missing and what mends it, how fast this
machine is, and whether minigrad computes right on it. It takes about ten seconds.
Next: ``minigrad/tune.py``."""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Iterator
from importlib import metadata

import minigrad
from minigrad import config, nn, optim
from minigrad.commands import cache as cache_command
from minigrad.commands import devices as devices_command
from minigrad.commands.terminal import mark, paint
from minigrad.conformance import Result, cases, check
from minigrad.runtime.device import get_device
from minigrad.runtime.folder import NotPrivate
from minigrad.runtime.limits import best_seconds, copy_bandwidth, numpy_matmul_rate
from minigrad.runtime.pool import thread_count

NEEDED = ("numpy", "llvmlite", "ml_dtypes", "platformdirs")
EXTRAS = {"opencl": "pyopencl", "cuda": "cuda.bindings", "safetensors": "safetensors", "draw": "fast_sugiyama",
          "progress": "tqdm", "vision": "PIL", "examples": "matplotlib"}
"""For each extra a module that it brings."""

SELF_TEST_SECONDS = 5.0


def main(arguments: list[str]) -> int:
    """Print it; the exit status: 1 if something is wrong."""
    parser = argparse.ArgumentParser("python -m minigrad doctor", description="Versions, devices with what mends them, "
                                     "the cache folder, what this machine can do, and a self-test of some seconds.")
    parser.parse_args(arguments)
    fine = True
    for title, lines in (("Versions", versions()), ("Extras", extras()), ("Settings", settings()),
                         ("Devices", _devices()), ("Compiled kernels", folder()), ("This machine", speed()),
                         ("Self-test", self_test(SELF_TEST_SECONDS))):
        print(paint(title, "head"), flush=True)
        for ok, line in lines:
            print(f"  {line}" if ok is None else f"  {mark(ok)} {line}", flush=True)
            fine = fine and ok is not False
    print(paint("All is well.", "good") if fine else paint("Something is wrong: see above.", "bad"))
    return 0 if fine else 1


Lines = Iterator[tuple[bool | None, str]]
"""Whether a line tells of something that is right, wrong, or neither; and the line."""


def versions() -> Lines:
    """minigrad, Python, the system, and the packages that minigrad needs."""
    yield None, f"minigrad {minigrad.__version__} in {os.path.dirname(minigrad.__file__)}"
    yield None, f"Python {platform.python_version()}, {platform.platform()}"
    for name in NEEDED:
        try:
            yield True, f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            yield False, f"{name} is missing: pip install {name}"


def extras() -> Lines:
    """What else is installed, and what would bring the rest."""
    for extra, module in EXTRAS.items():
        yield (True, extra) if _is_installed(module) else (None, f"  {extra}: pip install 'minigrad[{extra}]'")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:  # the package around it is missing
        return False


def settings() -> Lines:
    """The settings that the environment changes."""
    changed = [(name, variable) for name, setting in config.SETTINGS.items() for variable in setting.variables
               if os.environ.get(variable)]
    for name, variable in changed:
        yield None, f"{variable}={os.environ[variable]}: {config.SETTINGS[name].doc}"
    if not changed:
        yield None, "none is changed by the environment"


def _devices() -> Lines:
    for line in devices_command.lines():
        yield None, line
    if not devices_command.chosen_works():
        yield False, "new tensors cannot be made on the device that setting DEVICE names"


def folder() -> Lines:
    """Where compiled kernels are kept."""
    try:
        for line in cache_command.lines():
            yield None, line
    except (NotPrivate, OSError) as error:
        yield False, f"nothing is kept on disk: {error}"


def speed() -> Lines:
    """What the processor is, and what it does at most."""
    count = thread_count()
    target = get_device("CPU").target
    yield None, f"{_processor()}: vectors of {target.vector_bytes} bytes, {count} thread{'s' * (count > 1)} are used"
    yield None, f"copies             {copy_bandwidth(count):7.1f} GB/s, reads and writes counted"
    yield None, f"NumPy's products   {numpy_matmul_rate(0.2):7.0f} GFLOP/s in float32"
    yield None, f"minigrad's         {_own_rate():7.0f} GFLOP/s, the better of 1024 and 2048, too"


def _own_rate() -> float:
    rates = []
    for size in (1024, 2048):
        a = minigrad.rand(size, size).realize()
        rates.append(2 * size**3 / best_seconds(lambda a=a: (a @ a).realize(), 0.2) / 1e9)  # type: ignore[misc]
    return max(rates)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def self_test(seconds: float) -> Lines:
    """As many of the conformance cases as fit in the time, one of each op first, and a small training run."""
    device = config.get("DEVICE")
    began, ran = time.perf_counter(), 0
    failed: list[Result] = []
    for result in check(cases(1, seed=time.time_ns() % 1000), device, 8):
        ran += result.status == "passed"
        failed += [result] * (result.status == "failed")
        if time.perf_counter() - began > seconds:
            break
    for result in failed[:5]:
        yield False, f"{result.case}: {str(result.reason).splitlines()[0]}"
    yield not failed, (f"{ran} cases of conformance passed on {device} in {time.perf_counter() - began:.0f} s, "
                       f"{len(failed)} failed; python -m minigrad conformance {device} runs all")
    loss = _train()
    yield loss < 0.02, f"a network learned XOR: loss {loss:.4f}"


def _train() -> float:
    """The loss of a small network after 200 steps; below 0.02 it has learned."""
    minigrad.manual_seed(0)
    x = minigrad.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    y = minigrad.tensor([[0.0], [1], [1], [0]])
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
    return float(loss.item())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
