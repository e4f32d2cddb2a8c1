"""Stage: beside the house. In: a machine with a card. Out: in under eight minutes, what a card tells: a conformance
sample, two examples, and times beside PyTorch's on the same card; failures with all that they say; the table of
``docs/gpu.md``. ``python -m tools.gpu``; ``--device CUDA_EMULATION --quick`` tries it where there is no card.
Next: ``tools/bench/gpu.py``, the rows."""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

import minigrad
from minigrad.runtime import nvrtc
from minigrad.runtime.cuda_driver import Properties
from tools.bench import report
from tools.bench.cli import LEAST, measure_all
from tools.bench.figures import median_ratio
from tools.bench.gpu import GPU, TINY
from tools.bench.libraries import LIBRARIES
from tools.bench.measure import Settings
from tools.bench.workloads import Workload

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "gpu.md"
BEGIN, END = "<!-- measured by tools/gpu.py -->", "<!-- end of what was measured -->"
SECONDS = 460
"""The time for all of it, unless ``--seconds`` says another: eight minutes, less a machine's slow start."""

DEVICES = {"CUDA": ("minigrad-cuda", "torch-cuda"), "CUDA_EMULATION": ("minigrad-emulation",),
           "CPU": ("minigrad", "torch")}
"""The libraries that are timed, by device; the first is compared with the others."""

REGISTER = "import sys; sys.path.insert(0, ''); import tests.cuda_emulation.device; "


@dataclass(frozen=True)
class Part:
    """One part: the command of a process, and the most seconds that it may take. ``needs``: modules."""

    name: str
    command: tuple[str, ...]
    most: float
    needs: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What came of it all. ``parts``: a line for each part that ran, by name; ``failures``: names, with all that they
    said; ``left_out``: what there was no time for, or that something was missing for."""

    parts: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    run: report.Run | None = None

    def fail(self, name: str, text: str) -> None:
        """Note a failure, and print it."""
        self.failures[name] = text.strip()
        print(f"FAILED {name}:\n{self.failures[name]}", flush=True)

    def leave_out(self, name: str, reason: str) -> None:
        """Note what does not run, and print why."""
        self.left_out[name] = reason
        print(f"left out: {name}: {reason}", flush=True)


def parser() -> argparse.ArgumentParser:
    """The options of ``python -m tools.gpu``."""
    options = argparse.ArgumentParser(prog="python -m tools.gpu", description=__doc__)
    options.add_argument("--device", default="CUDA", choices=[*DEVICES], help="CUDA; the others are to try this")
    options.add_argument("--quick", action="store_true", help="a case of each kind and tiny rows")
    options.add_argument("--seconds", type=float, default=SECONDS, help=f"the time for all of it ({SECONDS})")
    options.add_argument("--only", default="", metavar="REGEX", help="parts and rows whose name matches")
    options.add_argument("--threads", type=int, default=0, metavar="N", help="of the processor, for references")
    options.add_argument("--page", type=Path, metavar="PATH", help="the page to write; docs/gpu.md for device CUDA")
    return options


def missing(device: str) -> str | None:
    """What a device lacks on this machine, or None."""
    if device == "CUDA_EMULATION":
        import tests.cuda_emulation.device  # noqa: F401 (registers it)
    try:
        minigrad.ones(1, device=device)
    except Exception as error:  # whatever a broken installation raises
        return str(error)
    return None


def card(device: str) -> str:
    """The card in words, or what takes its place.

    >>> card("CPU")
    'no card: device CPU'
    """
    if device != "CUDA":
        return f"no card: device {device}"
    from minigrad.runtime.cuda import driver  # loads NVIDIA's library
    return described(driver().properties(0))


def described(found: Properties) -> str:
    """A card's properties in words.

    >>> described(Properties("NVIDIA H200", 9, 0, 141 << 30, 132, 48 << 10, 1024, 32, 50 << 20))
    'NVIDIA H200 (sm_90, 132 multiprocessors, 141 GiB)'
    """
    return (f"{found.name} (sm_{found.major}{found.minor}, {found.multi_processor_count} multiprocessors, "
            f"{found.total_memory / 2**30:.0f} GiB)")


def parts(device: str, quick: bool) -> tuple[Part, ...]:
    """What runs before the times, each in a process of its own."""
    python, few = sys.executable, ("--sample", "1", "--seed", "0")
    conformance = (python, "-m", "minigrad.conformance", device, *few)
    if device == "CUDA_EMULATION":
        conformance = (python, "-m", "tests.cuda_emulation", *few)
    if quick:
        conformance += ("--only", r"^(reduce|contraction)/.*float(16|32)")

    def example(name: str, *needs: str) -> Part:
        code = f"import runpy; runpy.run_path('examples/{name}.py', run_name='__main__')"
        return Part(name, (python, "-c", (REGISTER if device == "CUDA_EMULATION" else "") + code), 60, needs)
    return (Part("conformance", conformance, 150), example("xor"),
            *([] if quick else [example("mlp_digits", "sklearn", "matplotlib")]))


def run_part(part: Part, device: str, seconds: float, outcome: Outcome) -> None:
    """Run one part for so many seconds at most, show what it prints, and note how it ended."""
    lacking = [name for name in part.needs if find_spec(name) is None]
    if lacking:
        outcome.leave_out(part.name, f"{', '.join(lacking)} not installed")
        return
    print(f"== {part.name}", flush=True)
    start = time.monotonic()
    process = subprocess.Popen(part.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               errors="replace", start_new_session=True,
                               env={**os.environ, "MINIGRAD_DEVICE": device, "MPLBACKEND": "Agg"})
    try:
        text, late = process.communicate(timeout=seconds)[0], False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, late = process.communicate()[0], True
    took = time.monotonic() - start
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if late and "failed:" not in text:
        outcome.parts[part.name] = f"stopped after {took:.0f} s, nothing had failed"
    elif late or process.returncode:
        outcome.fail(part.name, f"{text}\n" + (f"stopped after {took:.0f} s" if late else
                                               f"exit code {process.returncode}"))
        outcome.parts[part.name] = "failed"
        return
    else:
        outcome.parts[part.name] = f"{' '.join((lines or ['no output'])[-1].split())} ({took:.0f} s)"
    print("\n".join(lines[-12:]), f"\n{part.name}: {outcome.parts[part.name]}", flush=True)


def run_rows(rows: Sequence[Workload], names: tuple[str, ...], settings: Settings, outcome: Outcome) -> None:
    """Time the rows until the settings' end, and note what failed and what there was no time for."""
    def done(run: report.Run, name: str) -> None:
        print("\n".join(report.row_lines(name, run)), flush=True)
        for library, column in run.rows[name].items():
            if column.reason and library == names[0]:
                outcome.fail(f"{name}, {library}", column.text or column.reason)
            elif column.reason:
                print(f"{name}, {library}: {column.text or column.reason}", flush=True)

    outcome.run = measure_all(rows, names, settings, limits=False, done=done)
    for row in rows:
        if row.name not in outcome.run.rows:
            outcome.leave_out(row.name, "no time was left")


def table(outcome: Outcome, where: str) -> str:
    """What was found, in Markdown: date and card, a line a part, the times, what failed and what was left out."""
    lines = [f"{datetime.now().astimezone():%d %B %Y}, {where}.", ""]
    lines += [f"- {name}: {text}" for name, text in outcome.parts.items()]
    run = outcome.run
    if run is not None and run.rows:
        names = run.settings["libraries"]
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        lines += ["", f"Versions: {versions}. A ratio over 1: minigrad is faster.", "",
                  f"| row | {' | '.join(names)} | ratio | minigrad's rate |", "|---" * (len(names) + 3) + "|"]
        for name, columns in run.rows.items():
            own = columns[run.base]
            ratios = [f"{ratio:.2f}" for library, column in columns.items() if library != run.base
                      and (ratio := median_ratio(column, own)) is not None]
            rate = report.share_of_limit(report.BY_NAME[name], own.median, {}) if own.median else ""
            cells = [columns[library].shown if library in columns else "" for library in names]
            lines.append(f"| `{name}` | {' | '.join(cells)} | {', '.join(ratios) or '-'} | {rate} |")
    for title, found in (("Failed", {n: t.splitlines()[-1][:160] for n, t in outcome.failures.items()}),
                         ("Left out", outcome.left_out)):
        if found:
            lines += ["", f"{title}:", "", *[f"- {name}: {text}" for name, text in found.items()]]
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    """Put the text between the marks of a page; at its end if it has none, and into a new page if there is none.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.md"
    ...     write(path, "one")
    ...     write(path, "two")
    ...     "one" in path.read_text(), "two" in path.read_text()
    (False, True)
    """
    old = page.read_text() if page.exists() else "# GPUs\n"
    if BEGIN not in old:
        old = f"{old.rstrip()}\n\n{BEGIN}\n{END}\n"
    page.write_text(re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: f"{BEGIN}\n\n{text}\n\n{END}", old,
                           flags=re.DOTALL))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it. Returns 0; 1 if something failed; 2 if the device cannot be used here, and then says what is missing."""
    options = parser().parse_args(arguments)
    end = time.monotonic() + options.seconds
    wanted: Callable[[str], object] = re.compile(options.only).search
    lacking = missing(options.device)
    if lacking:
        print(f"nothing can be run on device {options.device} here.\n{lacking}", file=sys.stderr)
        return 2
    where = card(options.device)
    print(f"{where}; compilers: {', '.join(nvrtc.compilers()) or 'none'}; {options.seconds:.0f} s", flush=True)
    outcome = Outcome()
    for part in _chosen(parts(options.device, options.quick), wanted):
        left = end - time.monotonic() - 2 * LEAST
        if left < LEAST:
            outcome.leave_out(part.name, "no time was left")
        else:
            run_part(part, options.device, min(part.most, left), outcome)
    names = tuple(name for name in DEVICES[options.device] if find_spec(LIBRARIES[name].module_name))
    for name in {*DEVICES[options.device]} - {*names}:
        outcome.leave_out(name, f"{LIBRARIES[name].module_name} is not installed")
    rows = [row for row in (TINY if options.quick else GPU) if wanted(row.name)]
    threads = options.threads or len(os.sched_getaffinity(0))
    settings = Settings(3, 0.02 if options.quick else 0.1, 30.0, 2.0, threads, end=end - 2.0)
    run_rows(rows, names, settings, outcome)
    page = options.page or (PAGE if options.device == "CUDA" else None)
    text = table(outcome, where)
    print(f"\n{text}")
    if page is not None:
        write(page, text)
    return int(bool(outcome.failures))


def _chosen(all_parts: Sequence[Part], wanted: Callable[[str], object]) -> Iterator[Part]:
    return (part for part in all_parts if wanted(part.name))


if __name__ == "__main__":
    sys.exit(main())
