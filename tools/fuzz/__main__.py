"""``python -m tools.fuzz --minutes 60``: random programs until time is up; each that fails is printed, shortened.

Stage: tests. In: the command line. Out: programs that fail, and how many ran.
Next: ``calls.py``."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import minigrad
from tools.fuzz.known import kind_of
from tools.fuzz.program import Program, disagreement, shrink, write


class OnNumpy:
    """minigrad, whose Tensors are made on the NUMPY device: the reference where PyTorch is not installed."""

    Tensor = minigrad.Tensor
    without = ("alias",)
    """Features that programs do not use: memory of this device is not shared with arrays."""

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
    return torch


def search(seeds: Iterator[int], length: int, other: Any, library: Any, seconds: float,
           ) -> Iterator[tuple[int, Program, str, str]]:
    """For each program its seed and itself; if it fails, the kind if it is a known one, or what differs and the
    program, shortened, as text."""
    end = time.monotonic() + seconds
    for seed in seeds:
        if time.monotonic() > end:
            return
        program = write(seed, length, other)
        kind = kind_of(program, other, library)
        if kind == "":
            shorter = shrink(program, lambda candidate: kind_of(candidate, other, library) == "")
            yield seed, program, "", f"# seed {seed}: {disagreement(shorter, other, library)}\n{shorter}\n"
        else:
            yield seed, program, kind or "", ""


class Counts:
    """What was drawn: statements of each kind, dtypes of the Tensors made, settings; and failures of known kinds."""

    def __init__(self) -> None:
        self.programs = self.failed = 0
        self.drawn: dict[str, Counter[str]] = {name: Counter() for name in ("statements", "refused", "calls", "dtypes",
                                                                            "settings", "known")}

    def add(self, program: Program) -> None:
        """Count a program."""
        self.programs += 1
        for kind in program.kinds:
            self.drawn["refused" if kind.endswith(" (refused)") else "statements"][kind.removesuffix(" (refused)")] += 1
        for line in program.lines:
            self.drawn["calls"].update(re.findall(r"\.(\w+)\(", line))
            self.drawn["dtypes"].update(re.findall(r"dtype=L\.(\w+)", line))
        self.drawn["settings"].update(f"{name}={value}" for name, value in program.settings.items())
        self.drawn["settings"][f"run {program.times} times"] += 1

    def text(self) -> str:
        """A table: a line for each sort, the most frequent first."""
        rows = [f"{name:11}" + ", ".join(f"{what} {n}" for what, n in found.most_common())
                for name, found in self.drawn.items() if found]
        return "\n".join([*rows, f"{self.programs} programs, {self.failed} of them fail, and "
                                 f"{self.drawn['known'].total()} in a way that is known"])


def main() -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--length", type=int, default=12, help="statements of a program")
    parser.add_argument("--reference", choices=("torch", "numpy"))
    parser.add_argument("--quiet", action="store_true", help="no table of what was drawn")
    options = parser.parse_args()
    other = reference(options.reference)
    counts = Counts()
    seeds = iter(range(options.seed, sys.maxsize))
    for _, program, kind, failure in search(seeds, options.length, other, minigrad, options.minutes * 60):
        counts.add(program)
        if kind:
            counts.drawn["known"][kind] += 1
        if failure:
            counts.failed += 1
            print(failure, flush=True)
    print(counts.text() if not options.quiet else counts.text().splitlines()[-1])
    return 1 if counts.failed else 0


if __name__ == "__main__":
    sys.exit(main())
