"""Stage: beside the house. In: the command line. Out: the measured tables on stdout, files, and an exit code.
Next: ``workloads.py``, the table of what is measured; ``measure.py``, how."""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from tools.bench import campaign, report
from tools.bench.libraries import LIBRARIES, ON_REQUEST
from tools.bench.limits import better
from tools.bench.measure import Failed, Session, Settings, measure, open_session
from tools.bench.picture import draw
from tools.bench.suites import BY_NAME, SUITES
from tools.bench.workloads import Workload

LEAST = 5.0
"""Seconds before the end in which no workload is begun."""


def parser() -> argparse.ArgumentParser:
    """The options of ``python -m tools.bench``."""
    options = argparse.ArgumentParser(
        prog="python -m tools.bench",
        description="Measure minigrad beside the libraries that are installed, and the machine's own limits.")
    options.add_argument("suite", nargs="?", default="kernels", choices=SUITES,
                         help="kernels (the default): what a machine's limits bound; overhead: all the rest; "
                              "random: programs drawn from a seed")
    options.add_argument("--quick", action="store_true", help="fewer workloads, fewer and shorter samples")
    options.add_argument("--only", metavar="REGEX", default="", help="workloads whose name matches, e.g. 'matmul|xor'")
    options.add_argument("--rows", metavar="A,B", default="", help="workloads by their names")
    options.add_argument("--peers", metavar="A,B", help="default: " + "; ".join(
        f"{name}: {','.join(suite.peers)}" for name, suite in SUITES.items()) + f"; also: {','.join(ON_REQUEST)}")
    options.add_argument("--rounds", type=int, metavar="N", help="samples a library and workload (7; quick: 3)")
    options.add_argument("--threads", type=int, default=2, metavar="N", help="threads of every library (2)")
    options.add_argument("--seed", type=int, metavar="N",
                         help="shuffles the order in a round (0); random: draws the programs (default: drawn, printed)")
    options.add_argument("--programs", type=int, default=40, metavar="N", help="random: how many (40)")
    options.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS", help="a sample's limit (60)")
    options.add_argument("--json", type=Path, metavar="PATH", help="write every sample")
    options.add_argument("--png", type=Path, metavar="PATH", help="draw the ratios (needs matplotlib)")
    options.add_argument("--markdown", type=Path, metavar="PATH", help="write a Markdown table; - for stdout")
    options.add_argument("--check", action="store_true", help="print the floors; exit code 1 if one fails")
    options.add_argument("--list", action="store_true", help="print the workloads and stop")
    return options


def chosen_workloads(table: Sequence[Workload], only: str, quick: bool, rows: str = "") -> list[Workload]:
    """The rows of a table to run: those that match ``only`` and, if ``rows`` names some, are among them;
    without both, all, or the quick ones if the table has any. Raises ``ValueError`` for a row that is not there.

    >>> [workload.name for workload in chosen_workloads(SUITES["kernels"].workloads, "matmul_(64|256)$", quick=True)]
    ['matmul_64', 'matmul_256']
    >>> chosen_workloads(SUITES["overhead"].workloads, "", quick=False, rows="rnn_first")[0].name
    'rnn_first'
    """
    named = {name for name in rows.split(",") if name}
    unknown = named - {w.name for w in table}
    if unknown:
        raise ValueError(f"no row {', '.join(sorted(unknown))}; the rows are "
                         f"{', '.join(w.name for w in table)}")
    quick = quick and not only and not named and any(w.quick for w in table)
    return [w for w in table if re.search(only, w.name) and (w.name in named or not named) and (w.quick or not quick)]


def chosen_libraries(peers: str, base: str = "minigrad") -> tuple[str, ...]:
    """The library that is compared and the named peers, in the table's order. Raises ``ValueError`` for a name that is
    none.

    >>> chosen_libraries("torch,numpy")
    ('minigrad', 'numpy', 'torch')
    """
    wanted = {name for name in peers.split(",") if name}
    known = [name for name in LIBRARIES if name != base]
    unknown = wanted - {*known}
    if unknown:
        raise ValueError(f"unknown peer {', '.join(sorted(unknown))}; the peers are {', '.join(known)}")
    return (base, *[name for name in known if name in wanted])


def measure_all(workloads: Sequence[Workload], names: tuple[str, ...], settings: Settings,
                limits: bool = True, done: Callable[[report.Run, str], None] | None = None) -> report.Run:
    """Measure every workload, and, if asked, the machine's limits before, halfway and after (the best counts).
    ``done`` is called after each with the run so far and the workload's name.

    Ctrl-C ends it early, with what there is; so does the settings' end.
    """
    start = time.monotonic()
    run = report.Run(datetime.now().astimezone().isoformat(timespec="seconds"),
                     report.describe_machine(settings.threads), {**asdict(settings), "libraries": list(names)})
    with open_session(names, settings) as session:
        try:
            if limits:
                run.limits = session_limits(session)
            for number, workload in enumerate(workloads, 1):
                if limits and number == len(workloads) // 2 + 1 and number > 1:
                    run.limits = better(run.limits, session_limits(session))
                if settings.left < LEAST:
                    break
                print(f"[{number}/{len(workloads)}] {workload.name}", end="", file=sys.stderr, flush=True)
                columns = run.rows[workload.name] = measure(workload, session)
                print("".join(f"  {name} {column.shown}" for name, column in columns.items()),
                      file=sys.stderr, flush=True)
                if done is not None:
                    done(run, workload.name)
            if limits:
                run.limits = better(run.limits, session_limits(session))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
        run.versions = {name: session.versions[name] for name in names if name in session.versions}
    run.seconds = time.monotonic() - start
    return run


def session_limits(session: Session) -> dict[str, float | None]:
    """The machine's limits; empty, with the reason on stderr, if they cannot be measured."""
    try:
        return session.limits()
    except Failed as failure:
        print(f"the machine's limits: {failure}", file=sys.stderr)
        return {}


def print_program(run: report.Run, name: str) -> None:
    """Print a random program's row."""
    median = run.rows[name]["minigrad"].median
    share = report.share_of_limit(BY_NAME[name], median, run.limits) if median else ""
    print(campaign.line(BY_NAME[name], run.rows[name], share), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark. Returns 0; 1 if ``--check`` finds a floor broken; 2 for a wrong argument."""
    options = parser().parse_args(arguments)
    try:
        suite = SUITES[options.suite]
        seed = options.seed if options.seed is not None else (
            secrets.randbelow(10**6) if options.suite == campaign.PREFIX else 0)
        rows = campaign.programs(seed, options.programs) if options.suite == campaign.PREFIX else suite.workloads
        workloads = chosen_workloads(rows, options.only, options.quick, options.rows)
        names = chosen_libraries(",".join(suite.peers) if options.peers is None else options.peers, suite.base)
    except (ValueError, re.error) as error:
        print(error, file=sys.stderr)
        return 2
    if not workloads:
        print(f"no workload matches {options.only!r}; the workloads are {', '.join(w.name for w in rows)}",
              file=sys.stderr)
        return 2
    if options.list:
        width = max(14, *(len(w.name) for w in workloads))
        print("\n".join(f"{w.name:<{width}} {w.what}" for w in workloads))
        return 0
    drawn = options.suite == campaign.PREFIX
    quick = {"target": 0.05, "budget": 2.0} if drawn else {"target": 0.1, "budget": 3.0} if options.quick else {}
    rounds = options.rounds or (5 if drawn else 3 if options.quick else 7)
    settings = Settings(rounds=rounds, timeout=options.timeout, threads=options.threads, seed=seed, **quick)
    if drawn:
        print(f"seed {seed}", flush=True)
    run = measure_all(workloads, names, settings, suite.limits, print_program if drawn else None)
    if not drawn:
        print(report.text(run))
    if options.json:
        options.json.write_text(json.dumps(report.as_json(run), indent=1) + "\n")
    if options.png and (reason := draw(run, options.png)):
        print(reason)
    if options.markdown:
        table = report.markdown(run) + "\n"
        print(table) if str(options.markdown) == "-" else options.markdown.write_text(table)
    if drawn:
        verdict = campaign.judge(run.rows)
        print(f"{verdict} (seed {seed}, {run.seconds:.0f} s)")
        return int(options.check and not verdict.passed)
    if options.check:
        print("Floors:")
        print(report.floors_text(run))
        return int(any(verdict.passed is False for _, verdict in report.verdicts(run)))
    return 0
