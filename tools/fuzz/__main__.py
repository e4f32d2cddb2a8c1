"""``python -m tools.fuzz --minutes 60``: random programs until time is up; each that fails is printed, shortened.

Stage: tests. In: the command line. Out: programs that fail, and how many ran.
Next: nothing: this is the end of ``tools/fuzz``."""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Iterator
from typing import Any

import minigrad
from tools.fuzz.program import disagreement, shrink, write


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
           ) -> Iterator[tuple[int, str, list[str]]]:
    """For each program its seed, and if it fails what differs and the program, shortened."""
    end = time.monotonic() + seconds
    for seed in seeds:
        if time.monotonic() > end:
            return
        lines = write(seed, length, other)
        problem = disagreement(lines, other, library)
        if problem:
            shorter = shrink(lines, lambda candidate: bool(disagreement(candidate, other, library)))
            yield seed, disagreement(shorter, other, library), shorter
        else:
            yield seed, "", []


def main() -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--length", type=int, default=12, help="statements of a program")
    parser.add_argument("--reference", choices=("torch", "numpy"))
    options = parser.parse_args()
    other = reference(options.reference)
    count = failed = 0
    seeds = iter(range(options.seed, sys.maxsize))
    for seed, problem, lines in search(seeds, options.length, other, minigrad, options.minutes * 60):
        count += 1
        if problem:
            failed += 1
            print(f"# seed {seed}: {problem}", *lines, "", sep="\n", flush=True)
    print(f"{count} programs, {failed} of them fail")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
