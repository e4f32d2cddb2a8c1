"""Stage: measuring. In: what ran and when. Out: events that know what they contain, their sums by name, and what writes
these: a table, a trace for Chrome's viewer, stacks. Times are in microseconds, memory in bytes.
Next: ``table.py``.

https://docs.pytorch.org/docs/stable/profiler.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from minigrad.profiler.table import Columns, table
from minigrad.profiler.table import time as in_words
from minigrad.profiler.trace import write_stacks, write_trace

METRICS = ("self_cpu_time_total", "self_cuda_time_total", "self_device_time_total")
"""What ``export_stacks`` can write."""


class DeviceType(Enum):
    """Where an event ran."""

    CPU = 0
    CUDA = 1


class Interval(NamedTuple):
    """From ``start`` to ``end``, in microseconds since the recording began."""

    start: float
    end: float

    def elapsed_us(self) -> float:
        """How long it is.

        >>> Interval(2.0, 5.0).elapsed_us()
        3.0
        """
        return self.end - self.start


class _Sums:
    """Words and other names for the sums that an event and an average have."""

    count: int
    cpu_time_total: float
    self_cpu_time_total: float
    device_time_total: float
    self_device_time_total: float

    @property
    def cpu_time(self) -> float:
        """The mean of ``cpu_time_total``, in microseconds."""
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def device_time(self) -> float:
        """The mean of ``device_time_total``, in microseconds."""
        return self.device_time_total / self.count if self.count else 0.0

    @property
    def cuda_time(self) -> float:
        """``device_time``, as older programs call it."""
        return self.device_time

    @property
    def cuda_time_total(self) -> float:
        """``device_time_total``, as older programs call it."""
        return self.device_time_total

    @property
    def self_cuda_time_total(self) -> float:
        """``self_device_time_total``, as older programs call it."""
        return self.self_device_time_total

    @property
    def cpu_time_str(self) -> str:
        """``cpu_time`` in words."""
        return in_words(self.cpu_time)

    @property
    def cpu_time_total_str(self) -> str:
        """``cpu_time_total`` in words."""
        return in_words(self.cpu_time_total)

    @property
    def self_cpu_time_total_str(self) -> str:
        """``self_cpu_time_total`` in words."""
        return in_words(self.self_cpu_time_total)

    @property
    def device_time_total_str(self) -> str:
        """``device_time_total`` in words."""
        return in_words(self.device_time_total)


@dataclass(eq=False)
class FunctionEvent(_Sums):
    """One kernel that ran, what asked for a run, the making of its plan, or a block that ``record_function`` named:
    from ``start`` on, for ``duration`` microseconds. ``kind`` is ``"kernel"``, ``"run"``, ``"plan"``, ``"block"`` or
    ``"memory"``; ``device`` is a kernel's, empty for others. ``flops`` and ``bytes`` are what a kernel computes and
    must at least move; ``allocated``: bytes that it allocates for results, less than 0 for what was freed.
    ``input_shapes``: of what a kernel reads; ``stack``: the lines of the program that it comes from, the largest part
    first, and ``shares`` how large each is; ``modules``: the classes of Modules around them.

    >>> event = FunctionEvent("add_3", 10.0, 5.0, "CPU")
    >>> event.time_range.end, event.key, event.self_cpu_time_total
    (15.0, 'add_3', 5.0)
    """

    name: str
    start: float
    duration: float
    device: str = ""
    flops: int = 0
    bytes: int = 0
    thread: int = 0
    kind: str = "block"
    allocated: int = 0
    input_shapes: list[list[int]] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    id: int = 0
    cpu_parent: FunctionEvent | None = field(default=None, repr=False)
    cpu_children: list[FunctionEvent] = field(default_factory=list, repr=False)

    count = 1
    is_async = False
    is_remote = False

    @property
    def key(self) -> str:
        """The name; steps of a schedule have one together."""
        return "ProfilerStep*" if self.name.startswith("ProfilerStep#") else self.name

    @property
    def time_range(self) -> Interval:
        """When it ran."""
        return Interval(self.start, self.start + self.duration)

    @property
    def device_type(self) -> DeviceType:
        """Where it ran."""
        return DeviceType.CUDA if self.device.startswith("CUDA") else DeviceType.CPU

    @property
    def cpu_time_total(self) -> float:  # type: ignore[override]
        """Its time, if it did not run on a GPU."""
        return 0.0 if self.device_type is DeviceType.CUDA else self.duration

    @property
    def self_cpu_time_total(self) -> float:  # type: ignore[override]
        """Its time without that of the events inside."""
        return max(0.0, self.cpu_time_total - sum([e.cpu_time_total for e in self.cpu_children]))

    @property
    def self_device_time_total(self) -> float:  # type: ignore[override]
        """Its time, if it ran on a GPU."""
        return self.duration if self.device_type is DeviceType.CUDA else 0.0

    @property
    def device_time_total(self) -> float:  # type: ignore[override]
        """The time on a GPU of it and the events inside."""
        return self.self_device_time_total + sum([e.device_time_total for e in self.cpu_children])

    @property
    def self_cpu_memory_usage(self) -> int:
        """Bytes that it allocates, less those it frees, of the host's memory."""
        return 0 if self.device_type is DeviceType.CUDA else self.allocated

    @property
    def cpu_memory_usage(self) -> int:
        """The same with the events inside."""
        return self.self_cpu_memory_usage + sum([e.cpu_memory_usage for e in self.cpu_children])

    @property
    def self_device_memory_usage(self) -> int:
        """Bytes that it allocates of a GPU's memory."""
        return self.allocated if self.device_type is DeviceType.CUDA else 0

    @property
    def device_memory_usage(self) -> int:
        """The same with the events inside."""
        return self.self_device_memory_usage + sum([e.device_memory_usage for e in self.cpu_children])

    def __repr__(self) -> str:
        return (f"<FunctionEvent id={self.id} name={self.name} device_type={self.device_type} "
                f"cpu_time={in_words(self.cpu_time_total)} start_us={self.start:.3f} "
                f"end_us={self.start + self.duration:.3f} cpu_children={[e.id for e in self.cpu_children]} "
                f"thread={self.thread} input_shapes={self.input_shapes} cpu_memory_usage={self.cpu_memory_usage}>")


SUMMED = ("count", "cpu_time_total", "self_cpu_time_total", "device_time_total", "self_device_time_total",
          "cpu_memory_usage", "self_cpu_memory_usage", "device_memory_usage", "self_device_memory_usage", "flops",
          "bytes")
"""What an average adds up."""


@dataclass(eq=False)
class FunctionEventAvg(_Sums):
    """Sums over the events of one name: ``count`` of them. What begins with ``self_`` leaves out what ran inside.

    >>> average = FunctionEventAvg("add_3")
    >>> average.add(FunctionEvent("add_3", 0.0, 5.0, "CPU", flops=3)).add(FunctionEvent("add_3", 9.0, 7.0, "CPU"))
    <FunctionEventAvg key=add_3 self_cpu_time=12.000us cpu_time=6.000us  self_cuda_time=0.000us cuda_time=0.000us \
input_shapes= cpu_memory_usage=0 cuda_memory_usage=0>
    """

    key: str
    input_shapes: list[list[int]] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)
    device_type: DeviceType = DeviceType.CPU
    count: int = 0
    cpu_time_total: float = 0.0
    self_cpu_time_total: float = 0.0
    device_time_total: float = 0.0
    self_device_time_total: float = 0.0
    cpu_memory_usage: int = 0
    self_cpu_memory_usage: int = 0
    device_memory_usage: int = 0
    self_device_memory_usage: int = 0
    flops: int = 0
    bytes: int = 0

    is_async = False
    is_remote = False

    def add(self, other: FunctionEvent | FunctionEventAvg) -> FunctionEventAvg:
        """Add an event, or the events of another average; returns self."""
        for name in SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    __iadd__ = add

    def __repr__(self) -> str:
        shapes = str(self.input_shapes) if self.input_shapes else ""
        return (f"<FunctionEventAvg key={self.key} self_cpu_time={in_words(self.self_cpu_time_total)} "
                f"cpu_time={in_words(self.cpu_time)}  self_cuda_time={in_words(self.self_device_time_total)} "
                f"cuda_time={in_words(self.device_time)} input_shapes={shapes} "
                f"cpu_memory_usage={self.cpu_memory_usage} cuda_memory_usage={self.device_memory_usage}>")


class EventList(list[Any]):
    """Events, or their averages. ``profile_memory`` and ``with_flops`` say what its table shows.

    >>> events = EventList([FunctionEvent("add_3", 0.0, 5.0, "CPU"), FunctionEvent("add_3", 9.0, 7.0, "CPU"),
    ...                     FunctionEvent("my part", 0.0, 20.0)])
    >>> [(e.key, e.count, e.cpu_time, e.self_cpu_time_total) for e in events.key_averages()]
    [('my part', 1, 20.0, 8.0), ('add_3', 2, 6.0, 12.0)]
    """

    def __init__(self, events: Iterable[Any] = (), profile_memory: bool = False, with_flops: bool = False) -> None:
        super().__init__(events)
        self.profile_memory, self.with_flops = profile_memory, with_flops
        if self and isinstance(self[0], FunctionEvent) and not self[0].id:
            _nest(self)

    def key_averages(self, group_by_input_shapes: bool = False, group_by_stack_n: int = 0,
                     group_by_overload_name: bool = False) -> EventList:
        """Sums for each name; for each name and shapes of inputs; for each name and the first ``group_by_stack_n``
        lines that it comes from. There are no overloads."""
        found: dict[Any, FunctionEventAvg] = {}
        for event in self:
            shapes = event.input_shapes if group_by_input_shapes else []
            stack = event.stack[:group_by_stack_n] if group_by_stack_n else []
            key = event.key, event.device_type, str(shapes), *stack
            if key not in found:
                found[key] = FunctionEventAvg(event.key, shapes, stack, event.device_type)
            found[key].add(event)
        return EventList(found.values(), self.profile_memory, self.with_flops)

    def total_average(self) -> FunctionEventAvg:
        """The sum of all, of times and memory only what is each event's own.

        >>> events = EventList([FunctionEvent("a", 0.0, 9.0), FunctionEvent("b", 1.0, 2.0, "CPU")])
        >>> events.total_average().cpu_time_total
        9.0
        """
        total = FunctionEventAvg("Total")
        for event in self:
            total.add(event)
        total.cpu_time_total, total.device_time_total = total.self_cpu_time_total, total.self_device_time_total
        total.cpu_memory_usage, total.device_memory_usage = total.self_cpu_memory_usage, total.self_device_memory_usage
        return total

    @property
    def self_cpu_time_total(self) -> float:
        """The time of all, each microsecond counted once."""
        return sum([e.self_cpu_time_total for e in self])

    def table(self, sort_by: str | None = None, row_limit: int = 100, max_src_column_width: int = 75,
              max_name_column_width: int = 55, max_shapes_column_width: int = 80, header: str | None = None,
              top_level_events_only: bool = False, time_unit: str | None = None) -> str:
        """The rows as a table with PyTorch's columns, the largest first by ``sort_by``, such as
        ``"self_cpu_time_total"``, ``"cpu_memory_usage"`` or ``"flops"``; of not more than ``row_limit`` rows, -1: of
        all. Texts longer than their column are cut. ``top_level_events_only`` leaves out events inside others.
        ``time_unit``: ``"s"``, ``"ms"`` or ``"us"`` for all times; without it each has what suits it.

        ``AttributeError`` for a ``sort_by`` that rows do not have, ``ValueError`` for another ``time_unit``.

        >>> print(EventList([FunctionEvent("add_3", 0.0, 5.0, "CPU")]).table())  # doctest: +NORMALIZE_WHITESPACE
        ---------  ------------  ------------  ------------  ------------  ------------  ------------
         Name    Self CPU %      Self CPU   CPU total %     CPU total  CPU time avg    # of Calls
        ---------  ------------  ------------  ------------  ------------  ------------  ------------
        add_3       100.00%       5.000us       100.00%       5.000us       5.000us             1
        ---------  ------------  ------------  ------------  ------------  ------------  ------------
        Self CPU time total: 5.000us
        <BLANKLINE>
        """
        columns = Columns(self.profile_memory, self.with_flops, max_src_column_width, max_name_column_width,
                          max_shapes_column_width, time_unit)
        return table(self, columns, sort_by, row_limit, header, top_level_events_only)

    def __str__(self) -> str:
        return self.table()

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for https://ui.perfetto.dev or chrome://tracing as JSON; compressed if the name ends in
        ``.gz``. Times there are in microseconds.

        >>> import json, tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "trace.json"
        ...     EventList([FunctionEvent("add_3", 0.0, 5.0, "CPU")]).export_chrome_trace(str(path))
        ...     [e["name"] for e in json.loads(path.read_text())["traceEvents"] if e["ph"] == "X"]
        ['add_3']
        """
        write_trace(self, path, {})

    def supported_export_stacks_metrics(self) -> list[str]:
        """What ``export_stacks`` can write."""
        return list(METRICS)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Write a line for each stack with its ``metric`` in microseconds, as flame graphs are drawn from
        (https://github.com/brendangregg/FlameGraph): the line of the program, then the kernel, which has the part of
        its time that comes from that line. Events without a stack are left out: ``with_stack=True`` records them.

        ``ValueError`` for a metric that there is not.
        """
        if metric not in METRICS:
            raise ValueError(f"metric should be one of: {list(METRICS)}")
        write_stacks(self, path, metric)


def _nest(events: Sequence[FunctionEvent]) -> None:
    """Number the events, and say of each in which other it ran: the shortest around it in its thread."""
    order = sorted(events, key=lambda e: (e.start, -e.duration))
    around: dict[int, list[FunctionEvent]] = {}
    for i, event in enumerate(order):
        event.id = i + 1
        open_ones = around.setdefault(event.thread, [])
        while open_ones and open_ones[-1].start + open_ones[-1].duration < event.start + event.duration - 1e-3:
            open_ones.pop()
        if open_ones:
            event.cpu_parent = open_ones[-1]
            open_ones[-1].cpu_children.append(event)
        if not event.device:
            open_ones.append(event)
    if isinstance(events, list):
        events[:] = order
