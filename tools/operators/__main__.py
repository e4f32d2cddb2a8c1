"""``python -m tools.operators``: what of PyTorch's operator database works here.

Stage: tests. In: names of operators. Out: a line for each that fails, and counts; with ``--write``,
``docs/operators.md``.
Next: nothing: this is the end of ``tools/operators``."""

from __future__ import annotations

import argparse
import fnmatch
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from minigrad.dtype import show_as
from tools.operators.checks import CHECKS, DTYPES, MORE, Outcome, Outcomes, check
from tools.operators.report import is_right, page, skipped, untried


def operators(patterns: list[str]) -> list[Any]:
    """The database's operators whose names match one of the patterns, all without patterns; but those that PyTorch has
    for GPUs only, of which there is nothing to compare on a CPU."""
    from torch.testing._internal.common_methods_invocations import op_db  # takes ten seconds

    return [op for op in op_db if op.dtypes and "jiterator" not in op.name and (
        not patterns or any(fnmatch.fnmatch(op.name, p) for p in patterns))]


def title(op: Any) -> str:
    """The operator's name, with its variant's."""
    return f"{op.name} ({op.variant_test_name})" if op.variant_test_name else str(op.name)


def run(ops: list[Any], dtypes: tuple[torch.dtype, ...], limit: int, wanted: tuple[str, ...], seconds: int,
        ) -> Iterator[tuple[str, Outcomes]]:
    """Each operator in a process of its own, so that a crash or an endless loop is a failure like others."""
    for op in ops:
        receive, send = multiprocessing.Pipe(duplex=False)
        child = os.fork()
        if child == 0:
            signal.alarm(seconds)
            try:
                send.send(check(op, dtypes, limit, wanted))
            finally:
                os._exit(0)
        send.close()
        try:
            yield title(op), receive.recv()
        except EOFError:
            status = os.waitpid(child, 0)[1]
            child = 0
            signal_ = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            reason = f"over {seconds} s" if signal_ == signal.SIGALRM else f"the process ended with signal {signal_}"
            yield title(op), {**{name: Outcome() for name in wanted}, "values": Outcome(0, 1, [reason])}
        finally:
            if child:
                os.waitpid(child, 0)
            receive.close()


def main() -> int:
    """Parse the command line, run and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.operators", description=__doc__)
    parser.add_argument("names", nargs="*", help="operators, with * and ?; all without")
    parser.add_argument("--dtypes", default=",".join(str(d)[6:] for d in DTYPES))
    parser.add_argument("--checks", default=",".join(CHECKS),
                        help=f"also {', '.join(MORE)}: forward mode against backward mode and vmap against a loop, "
                             "in float64; first and second derivatives against finite differences, for --dtypes "
                             "float64,complex128; values and derivatives at 0, ±1, ties, infinities, NaN, empty; "
                             "what the tape refuses, for --dtypes float32; first and second derivatives beside those "
                             "in the next wider type, for --dtypes float32,float16,bfloat16")
    parser.add_argument("--samples", type=int, default=1000, help="at most so many of each dtype")
    parser.add_argument("--seconds", type=int, default=300, help="time of one operator")
    parser.add_argument("--part", default="1/1", help="2/4: the second of four parts")
    parser.add_argument("--json", type=Path, help="write all outcomes to this file")
    parser.add_argument("--read", type=Path, nargs="*", help="outcomes of files written by --json, in place of running")
    parser.add_argument("--write", type=Path, help="write the page docs/operators.md")
    parser.add_argument("--quiet", action="store_true", help="no line for each failure")
    options = parser.parse_args()
    torch.set_num_threads(1)
    show_as("torch")
    outcomes: dict[str, Outcomes] = {}
    if options.read:
        for path in options.read:
            outcomes |= {op: {kind: Outcome(**values) for kind, values in found.items()}
                         for op, found in json.loads(path.read_text()).items()}
    else:
        _run_all(options, outcomes)
    if options.write:
        left = [name for name in map(title, operators(options.names)) if name not in outcomes]
        options.write.write_text(page(outcomes, options.dtypes, options.samples, left))
    right = sum(map(is_right, outcomes.values()))
    print(f"{right} of {len(outcomes)} operators pass all their samples (words apart)")
    for kind in options.checks.split(","):
        passed, failed = (sum(getattr(f[kind], what) for f in outcomes.values() if kind in f)
                          for what in ("passed", "failed"))
        bad = sum(f[kind].failed > 0 for f in outcomes.values() if kind in f)
        print(f"{kind:9} {passed:6} passed {failed:6} failed, in {bad} operators")
    for kind, why, samples, of in skipped(outcomes):
        print(f"{kind:9} {samples:6} skipped, in {of} operators: {why}")
    if none := untried(outcomes):
        print(f"no sample compared: {', '.join(none)}")
    return 0 if right == len(outcomes) else 1


def _run_all(options: argparse.Namespace, outcomes: dict[str, Outcomes]) -> None:
    part, parts = map(int, options.part.split("/"))
    ops = operators(options.names)[part - 1::parts]
    dtypes = tuple(getattr(torch, name) for name in options.dtypes.split(","))
    for name, found in run(ops, dtypes, options.samples, tuple(options.checks.split(",")), options.seconds):
        outcomes[name] = found
        if not options.quiet:
            for kind, outcome in found.items():
                for problem in outcome.first:
                    print(f"{name} · {kind} {outcome.failed}/{outcome.failed + outcome.passed} · {problem}", flush=True)
        if options.json:
            options.json.write_text(json.dumps({n: {k: vars(o) for k, o in f.items()} for n, f in outcomes.items()}))

if __name__ == "__main__":
    sys.exit(main())
