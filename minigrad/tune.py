"""Stage: the command line. In: a Python program. Out: it runs, and for each kernel that is new the fastest loops are
searched for, and kept on disk; a table of what was gained.
Next: ``explain/``.

    python -m minigrad.tune script.py [arguments …]
    python -m minigrad.tune -m package [arguments …]

Afterwards ``BEAM=8 python script.py`` finds these kernels without a search.
"""

from __future__ import annotations

import argparse
import runpy
import sys

from minigrad import config
from minigrad.engine import beam


def main(arguments: list[str]) -> int:
    """Run what the command line names; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m minigrad.tune", description=(
        "Run a program, and search for the fastest loops of each kernel that it needs. They are kept on disk: "
        "afterwards BEAM=8 python script.py finds them."))
    parser.add_argument("--beam", type=int, default=8, help="lists of steps to go on from, at a time (8)")
    parser.add_argument("--seconds", type=int, default=10, help="for each kernel, at most (10)")
    parser.add_argument("-m", dest="module", action="store_true", help="the program is a module")
    parser.add_argument("program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    if options.beam < 1:
        parser.error("--beam is 1 or more")
    told: list[beam.Report] = []

    def tell(report: beam.Report) -> None:
        told.append(report)
        print(report, file=sys.stderr, flush=True)

    beam.tell.append(tell)
    sys.argv = [options.program, *options.arguments]
    try:
        with config.config(BEAM=options.beam, BEAM_SECONDS=options.seconds):
            if options.module:
                runpy.run_module(options.program, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(options.program, run_name="__main__")
    finally:
        beam.tell.remove(tell)
        before, after, gained = sum(r.before for r in told), sum(r.after for r in told), sum(r.gained for r in told)
        print(f"{len(told)} kernel{'s' * (len(told) != 1)} searched, {gained} of them faster: one run of each takes "
              f"{after * 1e6:.1f} µs, {before * 1e6:.1f} before. They are found by BEAM={options.beam}.",
              file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
