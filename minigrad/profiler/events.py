"""Stage: measuring. In: what ran and when. Out: sums by name, a table of them, and a file for Chrome's trace viewer.
Times are in microseconds.
Next: ``profiler.py``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class FunctionEvent:
    """One kernel that ran, or one block that ``record_function`` named: from ``start`` on, for ``duration``
    microseconds. ``device`` is the kernel's; empty for a block. ``flops`` and ``bytes`` are what a kernel computes and
    must at least move."""

    name: str
    start: float
    duration: float
    device: str = ""
    flops: int = 0
    bytes: int = 0
    thread: int = 0

    @property
    def key(self) -> str:
        """The name."""
        return self.name

    @property
    def cpu_time(self) -> float:
        """Its time, if it is a block or ran on a processor."""
        return 0.0 if self.device.startswith("CUDA") else self.duration

    @property
    def device_time(self) -> float:
        """Its time, if it ran on a GPU."""
        return self.duration if self.device.startswith("CUDA") else 0.0

    cpu_time_total = cpu_time
    device_time_total = device_time


@dataclass
class FunctionEventAvg:
    """Events of one name. A block's own time (``self_…``) is what is left of it after the kernels that ran inside."""

    key: str
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    device_time_total: float = 0.0
    flops: int = 0
    bytes: int = 0

    @property
    def cpu_time(self) -> float:
        """The mean."""
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def device_time(self) -> float:
        """The mean on a GPU."""
        return self.device_time_total / self.count if self.count else 0.0

    @property
    def self_device_time_total(self) -> float:
        """On a GPU only kernels run."""
        return self.device_time_total


_ORDER = {"cpu_time": "cpu_time", "cuda_time": "device_time", "device_time": "device_time",
          "cpu_time_total": "cpu_time_total", "cuda_time_total": "device_time_total",
          "device_time_total": "device_time_total", "self_cpu_time_total": "self_cpu_time_total",
          "self_cuda_time_total": "device_time_total", "self_device_time_total": "device_time_total", "count": "count"}


class EventList(list[Any]):
    """Events, or their averages.

    >>> events = EventList([FunctionEvent("add_3", 0.0, 5.0, "CPU"), FunctionEvent("add_3", 9.0, 7.0, "CPU")])
    >>> events.key_averages()[0].cpu_time, events.total_average().count
    (6.0, 2)
    """

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0) -> EventList:
        """Sums for each name. A kernel's name has its shapes."""
        found: dict[str, FunctionEventAvg] = {}
        for event, own in zip(self, _own_times(self), strict=True):
            _add(found.setdefault(event.name, FunctionEventAvg(event.name)), event, own)
        return EventList(found.values())

    def total_average(self) -> FunctionEventAvg:
        """The sum of all."""
        total = FunctionEventAvg("Total")
        for event, own in zip(self, _own_times(self), strict=True):
            if isinstance(event, FunctionEventAvg):
                total.count += event.count
                total.self_cpu_time_total += event.self_cpu_time_total
                total.cpu_time_total += event.cpu_time_total
                total.device_time_total += event.device_time_total
            else:
                _add(total, event, own)
        return total

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all, each microsecond counted once."""
        return sum([e.self_cpu_time_total if isinstance(e, FunctionEventAvg) else own
                    for e, own in zip(self, _own_times(self), strict=True)])

    def table(self, sort_by: str | None = None, row_limit: int = 100, max_src_column_width: int = 75,
              max_name_column_width: int = 55, max_shapes_column_width: int = 80, header: str | None = None,
              top_level_events_only: bool = False) -> str:
        """The averages as a table, the largest first by ``sort_by``, such as ``"cpu_time_total"``."""
        rows = list(self if all([isinstance(e, FunctionEventAvg) for e in self]) else self.key_averages())
        if sort_by is not None:
            if sort_by not in _ORDER:
                raise ValueError(f"sort_by is one of {', '.join(_ORDER)}, got {sort_by!r}")
            rows.sort(key=lambda e: getattr(e, _ORDER[sort_by]), reverse=True)
        total = sum([e.self_cpu_time_total for e in rows])
        on_gpu = sum([e.device_time_total for e in rows])
        heads = ["Name", "Self CPU %", "Self CPU", "CPU total %", "CPU total", "CPU time avg"]
        heads += ["Self CUDA", "CUDA total"] if on_gpu else []
        lines = [[*heads, "# of Calls"]]
        for e in rows[:row_limit if row_limit >= 0 else None]:
            name = e.key if len(e.key) <= max_name_column_width else e.key[:max_name_column_width - 3] + "..."
            line = [name, _share(e.self_cpu_time_total, total), _time(e.self_cpu_time_total),
                    _share(e.cpu_time_total, total), _time(e.cpu_time_total), _time(e.cpu_time)]
            line += [_time(e.device_time_total)] * 2 if on_gpu else []
            lines.append([*line, str(e.count)])
        return _laid_out(lines, header) + (f"Self CPU time total: {_time(total)}\n"
                                           + (f"Self CUDA time total: {_time(on_gpu)}\n" if on_gpu else ""))

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for chrome://tracing or Perfetto."""
        made = [{"ph": "X", "cat": "kernel" if e.device else "user_annotation", "name": e.name, "pid": 0,
                 "tid": e.device or f"thread {e.thread}", "ts": e.start, "dur": e.duration,
                 "args": {"flops": e.flops, "bytes": e.bytes} if e.device else {}} for e in self]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": made}, file)


def _add(average: FunctionEventAvg, event: FunctionEvent, own: float) -> None:
    average.count += 1
    average.cpu_time_total += event.cpu_time
    average.self_cpu_time_total += own
    average.device_time_total += event.device_time
    average.flops += event.flops
    average.bytes += event.bytes


def _own_times(events: Sequence[Any]) -> list[float]:
    """The processor's time of each event without that of the events inside."""
    if any([isinstance(e, FunctionEventAvg) for e in events]):
        return [0.0] * len(events)
    order = sorted(range(len(events)), key=lambda i: (events[i].start, -events[i].duration))
    own = [e.cpu_time for e in events]
    around: list[int] = []
    for i in order:
        event = events[i]
        while around and events[around[-1]].start + events[around[-1]].duration < event.start + event.duration:
            around.pop()
        if around:
            own[around[-1]] -= event.cpu_time
        if not event.device:
            around.append(i)
    return [max(x, 0.0) for x in own]


def _share(part: float, total: float) -> str:
    return f"{100 * part / total:.2f}%" if total else "0.00%"


def _time(microseconds: float) -> str:
    if microseconds >= 1e6:
        return f"{microseconds / 1e6:.3f}s"
    return f"{microseconds / 1e3:.3f}ms" if microseconds >= 1e3 else f"{microseconds:.3f}us"


def _laid_out(lines: list[list[str]], header: str | None) -> str:
    widths = [max([len(line[i]) for line in lines]) + 2 for i in range(len(lines[0]))]
    rule = "  ".join(["-" * w for w in widths]) + "\n"
    rows = ["  ".join([cell.rjust(w) for cell, w in zip(line, widths, strict=True)]) + "\n" for line in lines]
    top = rule + f"{header}\n" if header else ""
    return top + rule + rows[0] + rule + "".join(rows[1:]) + rule
