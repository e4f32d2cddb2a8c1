"""Stage: conformance. In: the command line. Out: the report, and exit code 1 if anything failed. This is the last file.
Next: ``minigrad/array_api/``."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from time import perf_counter

from minigrad import config
from minigrad.conformance import VERSION, Case, Result, cases, check
from minigrad.conformance.coverage import coverage, text
from minigrad.conformance.report import Report
from minigrad.errors import DeviceUnavailable
from minigrad.runtime.device import device_name, get_device
from minigrad.runtime.progress import Progress


def main(arguments: list[str] | None = None) -> int:
    """Run ``python -m minigrad.conformance [DEVICE] [--sample N] [--seed S] [--suite N] [--only REGEX] [--each]``.
    The exit code: 0 if nothing failed and something passed, 1 if not, 2 if there is no such case, or no such device, or
    it can't be used here."""
    parser = argparse.ArgumentParser("python -m minigrad.conformance",
                                     description="Check a device against the reference.")
    parser.add_argument("device", nargs="?", default=config.get("DEVICE"), help="setting DEVICE without it")
    parser.add_argument("--sample", type=int, help="this many cases of each op; all without it")
    parser.add_argument("--seed", type=int, default=0, help="of the sample and of the random graphs")
    parser.add_argument("--suite", type=int, default=VERSION, choices=range(1, VERSION + 1), metavar="VERSION",
                        help=f"the cases of this version of the suite ({VERSION}): those that a backend is pinned to")
    parser.add_argument("--only", type=_pattern, default=re.compile(""), metavar="REGEX",
                        help="cases whose name this regular expression finds")
    parser.add_argument("--batch", type=int, default=24, help="cases in one plan")
    parser.add_argument("--each", action="store_true",
                        help="one case at a time, its name printed before: for a device that kills the process")
    parser.add_argument("--table", action="store_true",
                        help="how many cases each op has with each dtype, and - where it has none for a reason")
    options = parser.parse_args(arguments)
    try:
        device = device_name(options.device)
        get_device(device)
    except (DeviceUnavailable, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.table:
        print(text(coverage(cases(suite=options.suite), device)))
        return 0
    start = perf_counter()
    chosen = [c for c in cases(options.sample, options.seed, options.suite) if options.only.search(str(c))]
    if not chosen:
        print(f"no case has a name in which {options.only.pattern!r} is found; names are like {next(iter(cases(1)))}",
              file=sys.stderr)
        return 2
    report = Report()
    results = _one_by_one(chosen, device) if options.each else check(chosen, device, options.batch)
    with Progress(len(chosen), f"conformance of {device}", "cases") as bar:
        for result in results:
            bar.step()
            report.add([result])
            if result.status == "failed":
                print(f"failed: {result.case}: {result.reason}", file=sys.stderr)
    print(f"{device}: {len(chosen)} cases of suite {options.suite} in {perf_counter() - start:.0f} s")
    print(report.text())
    if report.failed:
        print(report.failures())
    return 0 if report.ok else 1


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"not a regular expression: {error}") from None


def _one_by_one(chosen: Sequence[Case], device: str) -> Iterator[Result]:
    for case in chosen:
        print(case, flush=True)
        yield from check([case], device)


if __name__ == "__main__":
    sys.exit(main())
