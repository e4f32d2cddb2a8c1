"""Stage: explaining. In: a ``Report``. Out: its timeline as a trace that https://ui.perfetto.dev and chrome://tracing
open: what asked for runs, their kernels with the lines that they come from, and the memory in use.
Next: ``dot.py``.

https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

from typing import Any

from minigrad.explain.model import Part, Report


def trace(report: Report) -> dict[str, Any]:
    """The trace as JSON has it; times in microseconds."""
    events: list[dict[str, Any]] = []
    for run in report.runs:
        at = run.at * 1e6
        asked = f"{run.call} at {report.files[run.file].path}:{run.number}" if run.file >= 0 else run.call
        events.append(_event("asked for", asked, at, sum(run.seconds), {"plan": run.plan, "how": run.how}))
        for kernel, seconds in zip(report.kernels[report.plans[run.plan].kernels[0]:], run.seconds, strict=False):
            lines = {_line(report, part): f"{part.share:.1%}" for part in kernel.parts}
            details = {"flops": kernel.flops, "bytes": kernel.bytes, **lines}
            events.append(_event(f"kernels on {kernel.device}", kernel.name, at, seconds, details))
            at += seconds * 1e6
        events.append({"ph": "C", "name": "memory in use", "pid": 0, "ts": at, "args": {"bytes": run.held}})
    return {"displayTimeUnit": "ms", "traceEvents": events}


def _event(track: str, name: str, at: float, seconds: float, details: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "X", "cat": track, "name": name, "pid": 0, "tid": track, "ts": round(at, 3),
            "dur": round(seconds * 1e6, 3), "args": details}


def _line(report: Report, part: Part) -> str:
    place = f"{report.files[part.file].path}:{part.number}" if part.file >= 0 else "elsewhere"
    return place if part.phase == "forward" else f"{place} ({part.phase})"
