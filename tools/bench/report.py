"""Stage: beside the house. In: everything one run measured. Out: a text table, a Markdown table, JSON.
Next: ``picture.py``, the same as a drawing."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tools.bench.disturbance import DISTURBED
from tools.bench.figures import Measured, duration, median_ratio, rate
from tools.bench.floors import Verdict
from tools.bench.suites import BY_NAME
from tools.bench.workloads import Workload


@dataclass
class Run:
    """One run of the benchmark: ``rows[workload][library]`` is what was measured."""

    date: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    versions: dict[str, str] = field(default_factory=dict)
    limits: dict[str, float | None] = field(default_factory=dict)
    rows: dict[str, dict[str, Measured]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def base(self) -> str:
        """The library that the others are compared with: the first."""
        return str(self.settings["libraries"][0])


def describe_machine(threads: int) -> dict[str, Any]:
    """Processor, cores, memory in GiB, system, Python: what a figure means nothing without."""
    processor, memory = platform.processor(), None
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [line.split(":", 1)[1].strip() for line in information.read_text().splitlines()
                 if line.startswith("model name")]
        processor = names[0] if names else processor
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return {"processor": processor, "cores": os.cpu_count(), "threads": threads, "memory_GiB": memory,
            "system": platform.platform(), "python": platform.python_version()}


def share_of_limit(workload: Workload, seconds: float, limits: Mapping[str, float | None]) -> str:
    """The rate and how much of the machine's limit that is; empty for rows that count no work.

    >>> share_of_limit(BY_NAME["matmul_1024"], 0.0107, {"fma_GFLOPs": 225.0})
    '201 GFLOP/s, 89%'
    """
    if not workload.unit:
        return ""
    achieved = rate(workload.work, seconds)
    if workload.unit == "bytes":
        unit, limit = "GB/s", limits.get("copy_GBps")
    else:
        unit, limit = "GFLOP/s", limits.get("fma_GFLOPs") or limits.get("numpy_matmul_GFLOPs")
    return f"{achieved:.3g} {unit}" + (f", {achieved / limit:.0%}" if limit else "")


def verdicts(run: Run) -> list[tuple[str, Verdict]]:
    """Every floor of the rows that were measured, decided."""
    return [(name, floor.verdict(columns)) for name, columns in run.rows.items() for floor in BY_NAME[name].floors]


def row_lines(name: str, run: Run) -> list[str]:
    """One row as text: what it does, then a line per library: time, ratio to minigrad, share of the limit."""
    workload, columns = BY_NAME[name], run.rows[name]
    minigrad = columns.get(run.base, Measured())
    lines = [f"{name}: {workload.what}" + ("; the time of one" if workload.parts > 1 else "")]
    for library, column in columns.items():
        median, spread = column.median, column.spread
        if median is None or spread is None:
            shown = f"{column.shown:>9}" if column.over else "not measured"
            lines.append(f"  {library:<14} {shown}: {column.reason}")
            continue
        disturbed = column.disturbed(DISTURBED)
        ratio = None if library == run.base else median_ratio(column, minigrad)
        remarks = [f"x{ratio:.2f}" if ratio is not None else "",
                   share_of_limit(workload, median, run.limits),
                   *[f"{column.figure(unit):.3g} {unit}" for unit in column.figures],
                   f"({column.note})" if column.note else "",
                   f"(disturbed in {disturbed} of {len(column.samples)})" if disturbed else "",
                   f"then failed: {column.reason}" if column.reason else ""]
        text = f"  {library:<14} {duration(median):>9}  +-{spread / 2:>4.0%}  {remarks[0]:>7}  {remarks[1]:<20}"
        lines.append("  ".join([text, *filter(None, remarks[2:])]).rstrip())
    return lines


def _versions(run: Run) -> str:
    return ", ".join(f"{name} {version}" for name, version in run.versions.items() if name != "torch.compile")


def limit_lines(run: Run) -> list[str]:
    """The machine's limits as text."""
    words = {"copy_GBps": "copy of 64 MiB, GB/s read and written", "numpy_matmul_GFLOPs": "NumPy matmul, GFLOP/s",
             "fma_GFLOPs": "multiply-adds in C, GFLOP/s"}
    return [f"  {words[name]:<40} {'not measured' if value is None else f'{value:.1f}'}"
            for name, value in run.limits.items()]


def text(run: Run) -> str:
    """The whole run for a terminal."""
    machine = run.machine
    lines = [f"{run.date}  {machine['processor']}, {machine['cores']} cores, {machine['threads']} threads used, "
             f"Python {machine['python']}",
             _versions(run),
             "Medians over rounds, +- half the spread. xN: N times minigrad's time; over 1, minigrad is faster.",
             "Disturbed: other processes took much of the machine, even when the sample was taken again.",
             *(["Machine's limits, measured in the same run:", *limit_lines(run)] if run.limits else []), ""]
    for name in run.rows:
        lines += row_lines(name, run)
    return "\n".join(lines)


def floors_text(run: Run) -> str:
    """Every floor with PASS, FAIL, or ---- where it could not be decided."""
    return "\n".join(f"{verdict.word}  {name}: {verdict.text}" for name, verdict in verdicts(run)) or "no floors"


def markdown(run: Run) -> str:
    """The medians as a Markdown table: a row a workload, a column a library, minigrad's ratio to the best peer."""
    libraries = [name for name in run.settings["libraries"]
                 if any(name in columns for columns in run.rows.values())]
    lines = [f"| workload | {' | '.join(libraries)} | best peer / minigrad |", "|---" * (len(libraries) + 2) + "|"]
    for name, columns in run.rows.items():
        cells = [columns[library].shown if library in columns else "" for library in libraries]
        ratios = [ratio for library, column in columns.items() if library != run.base
                  and (ratio := median_ratio(column, columns.get(run.base, Measured()))) is not None]
        best = f"{min(ratios):.2f}" if ratios else "-"
        what = BY_NAME[name].what.replace("|", "\\|")
        lines.append(f"| `{name}`: {what} | {' | '.join(cells)} | {best} |")
    machine = run.machine
    limits = ", ".join(f"{name.replace('_', ' ').replace('GBps', 'GB/s').replace('GFLOPs', 'GFLOP/s')} {value:.0f}"
                       for name, value in run.limits.items() if value is not None)
    lines += ["", f"{run.date[:10]}, {machine['processor']}, {machine['threads']} threads; {_versions(run)}."
                  + (f" The machine's limits in the same run: {limits}." if limits else "")]
    return "\n".join(lines)


def as_json(run: Run) -> dict[str, Any]:
    """The run as plain values, every sample included, with the medians and ratios worked out."""
    rows = {}
    for name, columns in run.rows.items():
        workload = BY_NAME[name]
        minigrad = columns.get(run.base, Measured())
        rows[name] = {
            "what": workload.what, "kind": workload.kind, "work": workload.work, "unit": workload.unit,
            "libraries": {library: {**asdict(column), "median": column.median,
                                    "ratio": median_ratio(column, minigrad)} for library, column in columns.items()},
            "floors": [asdict(floor.verdict(columns)) for floor in workload.floors]}
    return {**asdict(run), "rows": rows}
