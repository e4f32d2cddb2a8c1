"""``python -m tools.sanitize``: the C of all kernels of the conformance suite and of 2,000 random programs under the
address, undefined-behaviour, float-cast and thread sanitizers, and the thread pool under the thread sanitizer.

Stage: tests. In: the command line. Out: what was found, each kind with an example; the exit code is 1 if anything was.
Next: ``tests/conformance/test_sanitizers.py``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter

import minigrad
from minigrad.conformance import Case, cases
from minigrad.conformance.check import BATCH
from minigrad.engine import realise
from tools.fuzz.__main__ import reference
from tools.fuzz.program import run as run_program
from tools.fuzz.program import write
from tools.sanitize.pool import sanitize_pool
from tools.sanitize.record import NAME, Recording, recording
from tools.sanitize.replay import SANITIZERS, Finding, missing, replay

SIZE = 8 << 20
"""Characters of kernels and bytes of arrays that are kept until they are replayed."""


def alone(made: Recording, chosen: Sequence[Case]) -> Iterator[None]:
    """Realise cases, each alone."""
    for case in chosen:
        made.source = str(case)
        try:
            realise(list(case.build(NAME).outputs))
        except Exception:
            if case.raises is None:
                raise
        yield


def together(made: Recording, chosen: Sequence[Case]) -> Iterator[None]:
    """Realise cases, many in one plan, where they meet each other in kernels."""
    fit = [case for case in chosen if case.raises is None and not case.alone]
    for first in range(0, len(fit), BATCH):
        some = fit[first:first + BATCH]
        made.source = f"{some[0]} to {some[-1]} in one plan"
        realise([output for case in some for output in case.build(NAME).outputs])
        yield


def fuzzed(made: Recording, seeds: Iterable[int], length: int = 12) -> Iterator[None]:
    """Run random programs, one after another."""
    other = reference(None)
    for seed in seeds:
        program = write(seed, length, other)
        made.source = f"program {seed}"
        with minigrad.config.config(DEVICE=NAME):
            variables, _ = run_program(program, minigrad)
            for value in variables.values():
                if isinstance(value, minigrad.Tensor):
                    _look(value)
        yield


def _look(value: minigrad.Tensor) -> None:
    """Compute a Tensor and its gradient."""
    with suppress(RuntimeError):  # its base was changed in place, or an index is out of range
        value.tolist()
        if value.requires_grad and value.is_leaf and value.grad is not None:
            value.grad.tolist()


def sanitize(made: Recording, steps: Iterator[None], modes: Sequence[str], folder: Path) -> Iterator[Finding]:
    """Take the steps, and replay what was recorded now and then."""
    for _ in steps:
        if made.size >= SIZE:
            yield from _replayed(made, modes, folder)
    yield from _replayed(made, modes, folder)


def _replayed(made: Recording, modes: Sequence[str], folder: Path) -> Iterator[Finding]:
    launches = made.take()
    for mode in modes:
        yield from replay(launches, folder, mode)


def report(name: str, found: Iterable[Finding]) -> int:
    """Print what was found by kind; how much it was."""
    start, kinds = perf_counter(), Counter[str]()
    for finding in found:
        kinds[finding.kind] += 1
        if kinds[finding.kind] == 1:
            print(f"{name}: {finding}\n", flush=True)
    print(f"{name}: {kinds.total()} findings in {perf_counter() - start:.0f} s", flush=True)
    for kind, count in kinds.most_common():
        print(f"  {count:6} {kind}")
    return kinds.total()


def main() -> int:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m tools.sanitize", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="WHAT", help="some of: cases (each alone), plans (of many cases), "
                        "programs, pool; all without it")
    parser.add_argument("--sample", type=int, help="this many cases of each op; all without it")
    parser.add_argument("--programs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=20_000, help="runs on the pool")
    parser.add_argument("--seed", type=int, default=0, help="of the sample and the pool, and the first program's")
    parser.add_argument("--mode", choices=SANITIZERS, action="append", help="both without it")
    options = parser.parse_args()
    modes, total = options.mode or SANITIZERS, 0
    parts: dict[str, Callable[[Recording], Iterator[None]]] = {
        "cases": lambda made: alone(made, cases(options.sample, options.seed)),
        "plans": lambda made: together(made, cases(options.sample, options.seed)),
        "programs": lambda made: fuzzed(made, range(options.seed, options.seed + options.programs))}
    chosen = options.what or [*parts, "pool"]
    if unknown := set(chosen) - {*parts, "pool"}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for reason in filter(None, (missing(folder, mode) for mode in modes)):
            print(reason, file=sys.stderr)
            return 2
        for part in chosen:
            if part == "pool":
                total += report(part, sanitize_pool(folder, options.rounds, options.seed))
                continue
            with recording() as made:
                total += report(part, sanitize(made, parts[part](made), modes, folder))
            print(f"  {made.launched} launches of {made.kernels} kernels, {made.distinct} of them replayed", flush=True)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
