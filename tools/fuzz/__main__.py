"""``python -m tools.fuzz --minutes 60``: random programs until time is up; each that fails is printed, shortened.
``--programs 1000000 --state FILE`` runs so many, over several sittings.

Stage: tests. In: the command line. Out: programs that fail, and how many ran.
Next: ``calls.py``."""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import minigrad
from minigrad.errors import DeviceUnavailable
from minigrad.runtime.device import get_device
from tools.fuzz import coverage
from tools.fuzz.campaign import campaign, finished, name_of, stretches
from tools.fuzz.counts import Counts
from tools.fuzz.known import kind_of
from tools.fuzz.program import OutOfTime, Program, disagreement, run, within, write
from tools.fuzz.shortening import shrink
from tools.fuzz.statements import FEATURES


class OnNumpy:
    """minigrad, whose Tensors are made on the NUMPY device: the reference where PyTorch is not installed."""

    Tensor = minigrad.Tensor
    without = ("alias",)
    """Features that programs do not use: memory of this device is not shared with arrays."""

    jit = None
    """Rounds are functions under ``jit`` in one of the two libraries only."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(minigrad, name)
        if name in ("tensor", "zeros", "ones"):
            return lambda *args, **options: value(*args, **options, device="NUMPY")
        return value


def reference(name: str | None) -> Any:
    """PyTorch if it is installed, or the NUMPY device."""
    if name == "numpy" or (name is None and importlib.util.find_spec("torch") is None):
        return OnNumpy()
    import torch

    torch.set_num_threads(1)
    gc.freeze()  # PyTorch's objects stay: the collector would look at them again and again, for 1/25 of the time
    return torch


def device_names(text: str) -> list[str]:
    """The registered names of the devices in a list with commas; the emulation of CUDA becomes one of them."""
    names = text.upper().split(",")
    if "CUDA_EMULATION" in names:
        importlib.import_module("tests.cuda_emulation.device")
    try:
        return [get_device(name).name for name in names]
    except (DeviceUnavailable, RuntimeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


PATIENCE = 60.0
"""Seconds for telling the kind of a failure, and as many for shortening its program. Most take one or two. A slow
program, which runs a thousand times for that, took twenty minutes."""


def _fails(program: Program, other: Any, library: Any) -> bool:
    """Whether the two can be compared, and disagree in a way that is not known."""
    with suppress(Exception):
        return kind_of(program, other, library) == ""
    return False


def _told(program: Program, other: Any, library: Any) -> str | None:
    """``kind_of``, in limited time."""
    try:
        with within(PATIENCE):
            return kind_of(program, other, library)
    except OutOfTime:
        return "" if disagreement(program, other, library) else None


def search(seeds: Iterable[int], length: int, other: Any, library: Any, without: Sequence[str] = (),
           devices: Sequence[str] = ()) -> Iterator[tuple[Program, str, str]]:
    """For each seed its program; if it fails, the kind if it is a known one, or what differs and the program,
    shortened, as text. What takes too long to tell or to shorten is of no kind, and stays as it is."""
    for seed in seeds:
        program = write(seed, length, other, without, devices)
        try:
            kind = _told(program, other, library)
        except Exception as error:  # what is to be compared cannot even be read
            yield program, "", f"{name_of(seed, devices)}: {type(error).__name__}: {error}\n{program}\n"
            continue
        if kind == "":
            with within(PATIENCE):  # when that is over, no shorter one fails
                shorter = shrink(program, lambda candidate: _fails(candidate, other, library))
            yield program, "", f"{name_of(seed, devices)}: {disagreement(shorter, other, library)}\n{shorter}\n"
        else:
            yield program, kind or "", ""


def stretch(seeds: range, options: argparse.Namespace) -> int:
    """Run the programs of these seeds here, until time is up. The output says which one began, in case this process
    dies, and ends with their counts. ``options.alone``: run them on the reference only."""
    other = reference(options.reference)
    if options.alone:
        for seed in seeds:
            run(write(seed, options.length, other, options.without, options.device), other)
        return 0
    counts = Counts()
    counts.reached = coverage.counting()
    if options.functions:
        counts.reached["functions"] = coverage.calls()

    began = time.monotonic()

    def begun() -> Iterator[int]:
        for seed in seeds:
            if time.monotonic() - began > options.minutes * 60:
                return
            print(seed, flush=True)
            yield seed

    with tempfile.TemporaryDirectory(prefix="minigrad-fuzz-") as folder, minigrad.config.config(CACHE_DIR=folder):
        for found in search(begun(), options.length, other, minigrad, options.without, options.device):
            counts.add(*found)
    counts.seconds = time.monotonic() - began
    print(json.dumps(counts.record()), flush=True)
    return 0


def main() -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, help="until it ends; 1 without --programs")
    parser.add_argument("--programs", type=int, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the first program")
    parser.add_argument("--length", type=int, default=12, help="statements of a program")
    parser.add_argument("--without", nargs="+", default=[], choices=[*FEATURES, "large"],
                        help="features that none may use")
    parser.add_argument("--device", type=device_names, default=[], metavar="NAMES",
                        help="CC, OPENCL, CUDA_EMULATION, NUMPY, ...; of several, with commas, each program draws one")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--state", type=Path, help="a file that says which programs ran; they do not run again")
    parser.add_argument("--reference", choices=("torch", "numpy"))
    parser.add_argument("--coverage", action="store_true", help="which rows of minigrad's tables no program used")
    parser.add_argument("--functions", action="store_true", help="with --coverage, which functions, too: it is slower")
    parser.add_argument("--quiet", action="store_true", help="no table of what was drawn")
    parser.add_argument("--stretch", help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stretch:
        first, count = map(int, options.stretch.split(":"))
        return stretch(range(first, first + count), options)
    done = finished(options.state, options.device)
    counts = Counts()
    for record in done:
        counts.merge(record)
    parts = stretches(options.seed, sys.maxsize if options.programs is None else options.programs, done)
    minutes = options.minutes if options.minutes is not None else 1 if options.programs is None else 1e6
    passed_on = [f"--length={options.length}", *([f"--reference={options.reference}"] if options.reference else []),
                 *([f"--device={','.join(options.device)}"] if options.device else []),
                 *(["--functions"] if options.functions else []),
                 *(["--without", *options.without] if options.without else [])]
    for record in campaign(parts, passed_on, options.processes, minutes * 60, options.device):
        counts.merge(record)
        if options.state is not None:
            with options.state.open("a") as file:
                file.write(json.dumps(record | {"devices": options.device}) + "\n")
        for failure in record["failures"]:
            print(failure, flush=True)
    print(counts.last() if options.quiet else counts.text())
    if options.coverage:
        print(coverage.missing(counts.reached))
    return 1 if counts.failures else 0


if __name__ == "__main__":
    sys.exit(main())
