"""Stage: measuring. In: events. Out: files that other programs draw: a trace for https://ui.perfetto.dev and
chrome://tracing, and stacks for flame graphs.
Next: ``collecting.py``.

https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import gzip
import json
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minigrad.profiler.events import FunctionEvent

CATEGORIES = {"kernel": "kernel", "run": "cpu_op", "plan": "cpu_op", "block": "user_annotation"}
"""The categories of PyTorch's traces, by the kind of event."""

SPACES = str.maketrans(" ;\t\n", "____")
"""What would end a frame of a stack."""


def write_trace(events: Sequence[FunctionEvent], path: str, metadata: Mapping[str, Any]) -> None:
    """Write a trace. ``metadata`` stands beside the events."""
    process = os.getpid()
    made: list[dict[str, Any]] = [_meta("process_name", 0, {"name": "python"}),
                                  _meta("process_labels", 0, {"labels": "CPU"})]
    threads = list(dict.fromkeys([e.thread for e in events]))
    made += [_meta("thread_name", thread, {"name": f"thread {thread} (python)"}) for thread in threads]
    total = 0
    for event in sorted(events, key=lambda e: e.start):
        total += event.allocated
        if event.kind != "memory":
            made.append({"ph": "X", "cat": CATEGORIES[event.kind], "name": event.name, "pid": process,
                         "tid": event.device if event.device.startswith("CUDA") else event.thread,
                         "ts": round(event.start, 3), "dur": round(event.duration, 3), "args": _details(event)})
        if event.allocated:
            made.append({"ph": "i", "s": "t", "cat": "cpu_instant_event", "name": "[memory]", "pid": process,
                         "tid": event.thread, "ts": round(event.start + event.duration, 3),
                         "args": {"Bytes": event.allocated, "Total Allocated": total, "Device Id": -1}})
    data = {"schemaVersion": 1, "deviceProperties": [], "host_name": platform.node(), **metadata,
            "displayTimeUnit": "ms", "traceEvents": made, "traceName": path}
    with gzip.open(path, "wt", encoding="utf-8") if path.endswith(".gz") else open(path, "w", encoding="utf-8") as file:
        json.dump(data, file)


def _meta(name: str, thread: int, args: dict[str, str]) -> dict[str, Any]:
    return {"ph": "M", "name": name, "pid": os.getpid(), "tid": thread, "ts": 0, "args": args}


def _details(event: FunctionEvent) -> dict[str, Any]:
    found: dict[str, Any] = {"External id": event.id}
    if event.kind == "kernel":
        found |= {"device": event.device, "flops": event.flops, "bytes": event.bytes}
    found |= {"Input Dims": event.input_shapes} if event.input_shapes else {}
    found |= {"Call stack": ";".join(event.stack)} if event.stack else {}
    return found | ({"Module Hierarchy": ".".join(event.modules)} if event.modules else {})


def write_stacks(events: Sequence[FunctionEvent], path: str, metric: str) -> None:
    """Write a line for each place of the program and what ran for it, with whole microseconds."""
    found: Counter[str] = Counter()
    for event in events:
        for line, share in zip(event.stack, event.shares, strict=True):
            found[f"{line.translate(SPACES)};{event.key.translate(SPACES)}"] += getattr(event, metric) * share
    with open(path, "w", encoding="utf-8") as file:
        file.writelines([f"{stack} {int(time)}\n" for stack, time in found.items() if int(time)])
