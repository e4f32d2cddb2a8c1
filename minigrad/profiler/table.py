"""Stage: measuring. In: sums by name. Out: a table of them in PyTorch's columns and words.
Next: ``trace.py``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from minigrad.profiler.events import EventList

WIDTH, GAP = 12, "  "
"""Characters of a column of numbers, and what stands between two columns."""

UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0}
"""Microseconds of each unit of time."""

PREFIXES = ("", "K", "M", "G", "T", "P")
"""Of operations, in steps of a thousand."""


class Columns(NamedTuple):
    """What a table has beside times, how wide texts may be, and the unit of all times, if they have one."""

    memory: bool
    flops: bool
    most_of_source: int
    most_of_name: int
    most_of_shapes: int
    unit: str | None


class Column(NamedTuple):
    """A column: its title, how wide it is, and what it says of a row, in lines if there are several."""

    title: str
    width: int
    text: Callable[[Any], Sequence[str]]


def time(microseconds: float, unit: str | None = None) -> str:
    """A time in words.

    >>> time(12.5), time(2500.0), time(3e6), time(3e6, "ms")
    ('12.500us', '2.500ms', '3.000s', '3000.000ms')
    """
    if unit is None:
        unit = next((u for u, size in UNITS.items() if abs(microseconds) >= size), "us")
    return f"{microseconds / UNITS[unit]:.3f}{unit}"


def memory(nbytes: float) -> str:
    """Bytes in words.

    >>> memory(40), memory(-2048), memory(3 << 20)
    ('40 B', '-2.00 KB', '3.00 MB')
    """
    for size, word in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")):
        if abs(nbytes) >= size:
            return f"{nbytes / size:.2f} {word}"
    return f"{nbytes:.0f} B"


def share(part: float, total: float) -> str:
    """A part in percent.

    >>> share(1, 8), share(0, 0)
    ('12.50%', 'NaN')
    """
    return f"{100 * part / total:.2f}%" if total else "NaN"


def table(events: EventList, columns: Columns, sort_by: str | None, row_limit: int, header: str | None,
          top_level: bool) -> str:
    """The text; see ``EventList.table``."""
    if columns.unit not in (None, *UNITS):
        raise ValueError(f"time_unit is one of {', '.join(UNITS)}, got {columns.unit!r}")
    rows = list(events)
    if not rows:
        return ""
    if sort_by is not None:
        key = sort_by.replace("cuda", "device")
        if not hasattr(rows[0], key):
            raise AttributeError(f"{type(rows[0]).__name__!r} object has no attribute {sort_by!r}: sort_by is such as "
                                 "'self_cpu_time_total', 'cpu_time_total', 'cpu_memory_usage', 'flops' or 'count'")
        rows.sort(key=lambda row: getattr(row, key), reverse=True)
    total, on_gpu = events.self_cpu_time_total, sum([row.self_device_time_total for row in rows])
    found = _columns(rows, columns, total, on_gpu)
    if top_level:
        rows = [row for row in rows if getattr(row, "cpu_parent", None) is None]
    rule = "".join([f"{'-' * column.width}{GAP}" for column in found])
    double = "=" * len(rule)
    lines = [double, header, double] if header is not None else []
    lines += ["This report only display top-level ops statistics"] if top_level else []
    lines += [rule, _line(found, [column.title for column in found]), rule]
    for row in rows[:row_limit if row_limit >= 0 else None]:
        cells = [column.text(row) or [""] for column in found]
        for i in range(max(map(len, cells))):
            lines.append(_line(found, [cell[i] if i < len(cell) else "" for cell in cells]))
    lines += [rule, f"Self CPU time total: {time(total, columns.unit)}"]
    lines += [f"Self CUDA time total: {time(on_gpu, columns.unit)}"] if on_gpu else []
    return "\n".join(lines) + "\n"


def _line(columns: Sequence[Column], cells: Iterable[str]) -> str:
    return "".join([f"{cell:<{c.width}}{GAP}" if c.title == "Source Location" else f"{cell:>{c.width}}{GAP}"
                    for c, cell in zip(columns, cells, strict=True)])


def _columns(rows: Sequence[Any], wanted: Columns, total: float, on_gpu: float) -> list[Column]:
    """The columns that have something to say of these rows."""
    def times(name: str, of: str) -> Column:
        return Column(name, WIDTH, lambda row: [time(getattr(row, of), wanted.unit)])

    def shares(name: str, of: str, whole: float) -> Column:
        return Column(name, WIDTH, lambda row: [share(getattr(row, of), whole)])

    def sizes(name: str, of: str) -> Column:
        return Column(name, WIDTH, lambda row: [memory(getattr(row, of))])

    found = [_texts("Name", [row.key for row in rows], wanted.most_of_name, lambda row: row.key),
             shares("Self CPU %", "self_cpu_time_total", total), times("Self CPU", "self_cpu_time_total"),
             shares("CPU total %", "cpu_time_total", total), times("CPU total", "cpu_time_total"),
             times("CPU time avg", "cpu_time")]
    if on_gpu:
        found += [times("Self CUDA", "self_device_time_total"), shares("Self CUDA %", "self_device_time_total", on_gpu),
                  times("CUDA total", "device_time_total"), times("CUDA time avg", "device_time")]
    if wanted.memory:
        found += [sizes("CPU Mem", "cpu_memory_usage"), sizes("Self CPU Mem", "self_cpu_memory_usage")]
        if any([row.device_memory_usage for row in rows]):
            found += [sizes("CUDA Mem", "device_memory_usage"), sizes("Self CUDA Mem", "self_device_memory_usage")]
    found.append(Column("# of Calls", WIDTH, lambda row: [str(row.count)]))
    if any([row.input_shapes for row in rows]):
        found.append(_texts("Input Shapes", [str(row.input_shapes) for row in rows], wanted.most_of_shapes,
                            lambda row: str(row.input_shapes)))
    stacks = [line for row in rows for line in row.stack]
    if stacks:
        width = min(max(map(len, stacks)) + 4, wanted.most_of_source)
        found.append(Column("Source Location", width, lambda row: [_cut(x, width) for x in row.stack] + [""]))
    least = min([row.flops for row in rows if row.flops > 0], default=0)
    if wanted.flops and least:
        power = min(int(math.log10(least) / 3), len(PREFIXES) - 1)
        found.append(Column(f"Total {PREFIXES[power]}FLOPs", WIDTH, lambda row: [
            f"{row.flops / 1000 ** power:.3f}" if row.flops > 0 else "--"]))
    return found


def _texts(title: str, texts: Sequence[str], most: int, text: Callable[[Any], str]) -> Column:
    """A column of texts, as wide as the longest, or as it may be."""
    width = min(max(map(len, (title, *texts))) + 4, max(most, len(title)))
    return Column(title, width, lambda row: [_cut(text(row), width)])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[:width - 3]}..."
