"""Stage: measuring. In: ``with profile() as p:`` around a part of a program. Out: the kernels that ran there, from the
engine's own records. Kernels run when values are needed: what is still pending at the end of the block is not in it.
Next: ``minigrad/linalg/``.

https://docs.pytorch.org/docs/stable/profiler.html
"""

from __future__ import annotations

import functools
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from enum import Enum
from typing import Any

from minigrad.cuda import is_available
from minigrad.engine.inspect import inspect
from minigrad.profiler.events import EventList, FunctionEvent


class ProfilerActivity(Enum):
    """What is recorded: all devices' kernels always are."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3
    HPU = 4
    PrivateUse1 = 5


class ProfilerAction(Enum):
    """What a profiler does in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """What can be recorded here."""
    return {ProfilerActivity.CPU, ProfilerActivity.CUDA} if is_available() else {ProfilerActivity.CPU}


def schedule(*, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0,
             skip_first_wait: int = 0) -> Callable[[int], ProfilerAction]:
    """What to do in each step: after ``skip_first`` steps, rounds of ``wait`` steps of nothing, ``warmup`` steps that
    are not kept, and ``active`` steps that are; ``repeat`` rounds, 0: for ever.

    >>> plan = schedule(wait=1, warmup=1, active=2, repeat=1)
    >>> [plan(i).name for i in range(5)]
    ['NONE', 'WARMUP', 'RECORD', 'RECORD_AND_SAVE', 'NONE']
    """
    if wait < 0 or warmup < 0 or active <= 0 or repeat < 0 or skip_first < 0:
        raise AssertionError("Invalid profiler schedule arguments")

    def action(step: int) -> ProfilerAction:
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait:
            step += wait
        length = wait + warmup + active
        if repeat and step // length >= repeat:
            return ProfilerAction.NONE
        at = step % length
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if at < length - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


def _now() -> float:
    return time.perf_counter_ns() / 1e3


class _Stamped(list[Any]):
    """A list that notes when something is added."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def append(self, item: Any) -> None:
        super().append(item)
        self.times.append(_now())

    def extend(self, items: Iterable[Any]) -> None:
        for item in items:
            self.append(item)

    def __iadd__(self, items: Iterable[Any]) -> _Stamped:  # type: ignore[misc]
        self.extend(items)
        return self

    def events(self) -> list[FunctionEvent]:
        """The kernels. Those that one call of native code ran are told of together: they are laid end to end before
        that moment."""
        found: list[FunctionEvent] = []
        end = float("inf")
        for run, told in zip(reversed(self), reversed(self.times), strict=True):
            duration = (run.seconds or 0.0) * 1e6
            end = min(told, end)
            found.append(FunctionEvent(run.name, end - duration, duration, run.device, run.flops, run.bytes))
            end -= duration
        return found[::-1]


_recording: list[list[FunctionEvent]] = []
"""The blocks that are being collected, of each profiler that records now."""


class record_function:
    """Gives a block a name in the profile; also a decorator.

    >>> with profile() as p, record_function("my part"):
    ...     pass
    >>> [e.key for e in p.key_averages()]
    ['my part']
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args
        self._start = 0.0

    def __enter__(self) -> record_function:
        self._start = _now()
        return self

    def __exit__(self, *exception: object) -> None:
        for blocks in _recording:
            blocks.append(FunctionEvent(self.name, self._start, _now() - self._start,
                                        thread=threading.get_native_id()))

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def named(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name):
                return function(*args, **kwargs)

        return named


class profile:
    """Records which kernels run in a block, how long each took, and the blocks that ``record_function`` names.

    ``schedule`` (see there) says what to do in each step; the program calls ``step()``; ``on_trace_ready(self)`` is
    called when a round is over. ``activities``, ``record_shapes`` (names of kernels have the shapes), ``with_flops``
    (always there) and ``acc_events`` are accepted. ``NotImplementedError`` for ``profile_memory``, ``with_stack`` and
    ``with_modules``.

    >>> import minigrad
    >>> with profile() as p:
    ...     _ = (minigrad.ones(10) + 1).sum().item()
    >>> len(p.key_averages()) > 0
    True
    """

    def __init__(self, activities: Any = None, schedule: Callable[[int], ProfilerAction] | None = None,
                 on_trace_ready: Callable[[Any], Any] | None = None, record_shapes: bool = False,
                 profile_memory: bool = False, with_stack: bool = False, with_flops: bool = False,
                 with_modules: bool = False, enabled: bool = True, **options: Any) -> None:
        for name, asked in (("profile_memory", profile_memory), ("with_stack", with_stack),
                            ("with_modules", with_modules)):
            if asked:
                raise NotImplementedError(f"torch.profiler.profile({name}=True) is not there: minigrad records kernels "
                                          "and their times; minigrad.inspect() and DEBUG tell more")
        self.schedule, self.on_trace_ready, self.enabled = schedule, on_trace_ready, enabled
        self.step_num = 0
        self.profiler = self
        self._events: EventList = EventList()
        self._stack: ExitStack | None = None
        self._kernels, self._blocks = _Stamped(), list[FunctionEvent]()
        self._metadata: dict[str, Any] = {}

    @property
    def current_action(self) -> ProfilerAction:
        """What is done in this step."""
        return ProfilerAction.RECORD if self.schedule is None else self.schedule(self.step_num)

    def start(self) -> None:
        """Begin, as ``with`` does."""
        if self.enabled:
            self._move(ProfilerAction.NONE, self.current_action)

    def stop(self) -> None:
        """End, as ``with`` does."""
        if self._stack is not None:
            kept = self.current_action is not ProfilerAction.WARMUP
            self._end(kept)
            if kept and self.on_trace_ready is not None:
                self.on_trace_ready(self)

    def step(self) -> None:
        """The next step begins."""
        before = self.current_action
        self.step_num += 1
        self._move(before, self.current_action)

    def _move(self, before: ProfilerAction, now: ProfilerAction) -> None:
        if self._stack is not None and (before is ProfilerAction.RECORD_AND_SAVE or now is ProfilerAction.NONE or
                                        before is ProfilerAction.WARMUP is not now):
            kept = before is not ProfilerAction.WARMUP
            self._end(kept)
            if kept and self.on_trace_ready is not None:
                self.on_trace_ready(self)
        if self._stack is None and now is not ProfilerAction.NONE:
            self._begin()

    def _begin(self) -> None:
        self._kernels, self._blocks = _Stamped(), []
        self._stack = ExitStack()
        self._stack.enter_context(inspect()).kernels = self._kernels
        _recording.append(self._blocks)

    def _end(self, kept: bool) -> None:
        assert self._stack is not None
        self._stack.close()
        self._stack = None
        _recording[:] = [b for b in _recording if b is not self._blocks]
        if kept:
            self._events = EventList(sorted([*self._blocks, *self._kernels.events()], key=lambda e: e.start))

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # --- what was seen

    def events(self) -> EventList:
        """All kernels and named blocks of the last round that is over."""
        return self._events

    function_events = property(events)

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0,
                     group_by_overload_name: bool = False) -> EventList:
        """Sums by name."""
        return self._events.key_averages()

    def total_average(self) -> Any:
        """The sum of all."""
        return self._events.total_average()

    def table(self, *args: Any, **options: Any) -> str:
        """``key_averages().table()``."""
        return self.key_averages().table(*args, **options)

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds, each counted once."""
        return self._events.self_cpu_time_total

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for chrome://tracing or Perfetto."""
        self._events.export_chrome_trace(path)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """``NotImplementedError``: stacks are not recorded."""
        raise NotImplementedError("torch.profiler.profile.export_stacks is not there: stacks are not recorded")

    def add_metadata(self, key: str, value: str) -> None:
        """Keep a note with the profile."""
        self._metadata[key] = value

    add_metadata_json = add_metadata


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None, use_gzip: bool = False,
                              ) -> Callable[[Any], None]:
    """For ``on_trace_ready``: writes the trace of each round into a folder, with a name that TensorBoard's plug-in
    finds. ``NotImplementedError`` for ``use_gzip``."""
    if use_gzip:
        raise NotImplementedError("tensorboard_trace_handler(use_gzip=True) is not there")

    def handler(prof: Any) -> None:
        os.makedirs(dir_name, exist_ok=True)
        name = worker_name or f"{platform.node()}_{os.getpid()}"
        prof.export_chrome_trace(os.path.join(dir_name, f"{name}.{time.time_ns()}.pt.trace.json"))

    return handler
