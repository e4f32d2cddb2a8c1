"""Stage: the command line. In: a Python program. Out: it runs, and a page about it is written.
Next: ``conformance/``.

    python -m minigrad.explain script.py [arguments …]
    python -m minigrad.explain -m package [arguments …]
"""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

from minigrad.explain.block import explain


def main(arguments: list[str]) -> int:
    """Run what the command line names; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m minigrad.explain", description=(
        "Run a program, and write a page about it: which of its lines became which kernels, how long those took, and "
        "what they consist of."))
    parser.add_argument("-o", "--output", help="the page (the program's name, with .html)")
    parser.add_argument("--json", action="store_true", help="write the data as JSON, for programs")
    parser.add_argument("--perfetto", action="store_true", help="write the timeline, for https://ui.perfetto.dev")
    parser.add_argument("--dot", action="store_true", help="write the graphs, for Graphviz")
    parser.add_argument("--against", metavar="FILE", help="compare with another run, of which --json has written this")
    parser.add_argument("-m", dest="module", action="store_true", help="the program is a module")
    parser.add_argument("program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    endings = {"--perfetto": ".trace.json", "--json": ".json", "--dot": ".dot"}
    option = next((name for name in endings if getattr(options, name[2:])), "")
    ending = endings.get(option, ".html")
    if not options.module and not Path(options.program).exists():
        parser.error(f"there is no file {options.program}")
    scripts = [x for x in (options.program, *options.arguments) if x.endswith(".py")]  # -m may name who runs a script
    path = Path(options.output or f"{Path((scripts or [options.program])[0]).stem}{ending}")
    if option and not path.name.endswith(ending):
        parser.error(f"with {option}, the name of the output ends in {ending}")
    sys.argv = [options.program, *options.arguments]
    if not options.module:
        sys.path.insert(0, str(Path(options.program).resolve().parent))
    explained = None
    try:
        with explain(path, " ".join([options.program, *options.arguments]), options.against) as explained:
            if options.module:
                runpy.run_module(options.program, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(options.program, run_name="__main__")
    finally:
        if explained is not None and hasattr(explained, "report") and not explained.report.kernels:
            print("no kernel has run: a program that imports torch is explained by -m minigrad.torch program.py",
                  file=sys.stderr)
        if path.exists():
            print(f"{path}: {path.stat().st_size / 1024:.0f} KB", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
