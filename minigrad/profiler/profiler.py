"""Stage: measuring. In: ``with profile() as p:`` around a part of a program. Out: what ran there, collected as
``minigrad.explain`` collects it. Kernels run when values are needed: in the block that is so, too, for what Modules
give and nobody reads (``needed.py``); what else is pending at the end is not in it.
Next: ``minigrad/linalg/``.

https://docs.pytorch.org/docs/stable/profiler.html
"""

from __future__ import annotations

import functools
import json
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from enum import Enum
from time import perf_counter
from typing import Any

from minigrad.cuda import is_available
from minigrad.explain.recording import Recorder, collecting
from minigrad.profiler.collecting import events_of
from minigrad.profiler.events import EventList
from minigrad.profiler.memory import changes, write_timeline
from minigrad.profiler.needed import Needed
from minigrad.profiler.trace import write_trace


class ProfilerActivity(Enum):
    """Whose kernels are recorded."""

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
    """What can be recorded here.

    >>> ProfilerActivity.CPU in supported_activities()
    True
    """
    return {ProfilerActivity.CPU, ProfilerActivity.CUDA} if is_available() else {ProfilerActivity.CPU}


def schedule(*, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0,
             skip_first_wait: int = 0) -> Callable[[int], ProfilerAction]:
    """What to do in each step: after ``skip_first`` steps, rounds of ``wait`` steps of nothing, ``warmup`` steps that
    are not kept, and ``active`` steps that are; ``repeat`` rounds, 0: for ever. With ``skip_first_wait=1`` the first
    round does not wait.

    ``AssertionError`` for less than 0 steps, or less than 1 active one. ``UserWarning`` without warm-up: then the
    times are those of the first runs, too.

    >>> plan = schedule(wait=1, warmup=1, active=2, repeat=1)
    >>> [plan(i).name for i in range(5)]
    ['NONE', 'WARMUP', 'RECORD', 'RECORD_AND_SAVE', 'NONE']
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise AssertionError(f"Invalid profiler schedule arguments. Got wait={wait}, warmup={warmup}, repeat={repeat}, "
                             f"skip_first={skip_first}, which should be 0 or more, and active={active}, 1 or more.")
    if not warmup:
        warnings.warn("Profiler won't be using warmup, this can skew profiler results", stacklevel=2)

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


class record_function:
    """Gives a block a name in the profile; also a decorator. ``args`` is accepted. While nobody records, it costs less
    than a microsecond.

    >>> with profile() as p, record_function("my part"):
    ...     pass
    >>> [e.key for e in p.key_averages()]
    ['my part']
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args
        self._start = 0.0

    def __enter__(self) -> record_function:
        self._start = perf_counter()
        return self

    def __exit__(self, *exception: object) -> None:
        for recorder in collecting:
            recorder.name(self.name, self._start, perf_counter())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def named(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return function(*args, **kwargs)

        return named


DEVICES = {ProfilerActivity.CPU: ("CPU", "CC", "OPENCL", "NUMPY"), ProfilerActivity.CUDA: ("CUDA",)}
"""The beginnings of the names of each activity's devices."""


class profile:
    """Records what runs in a block: kernels and how long each took, what asked for them, how long their plans took to
    make, and the blocks that ``record_function`` names.

    ``activities``: whose kernels are recorded (all there are). ``schedule`` (see there) says what to do in each step;
    the program calls ``step()``; ``on_trace_ready(self)`` is called when a round is over. ``record_shapes``: the shapes
    of what each kernel reads. ``profile_memory``: bytes that each kernel allocates for results, and that are freed
    (``[memory]``). ``with_stack``: the lines of the program that each kernel comes from; a kernel has several, as it
    computes several calls. ``with_flops``: the floating-point operations of each. ``with_modules``: the Modules around
    them, in the trace. ``acc_events``: the events of all rounds together, not of the last. Other arguments of PyTorch's
    are accepted.

    With shapes, stacks or modules all calls are recorded anew in the block, and every graph is compiled, as
    ``minigrad.explain`` does it: then some warm-up steps should come first.

    A row is a kernel, so several of PyTorch's rows (``aten::conv2d``, ``aten::relu``) can be one. The rows
    ``minigrad::backward``, ``minigrad::item`` are what asked for kernels, and contain them; ``minigrad::plan`` is the
    making of a plan, which each graph needs once. Times are in microseconds, memory in bytes.

    ``ValueError`` for activities that are none.
    (https://docs.pytorch.org/docs/stable/profiler.html#torch.profiler.profile)

    >>> import minigrad
    >>> with profile(profile_memory=True, with_flops=True) as p:
    ...     y = (minigrad.ones(1000, 10) + 1).tanh().sum(1).realize()
    >>> [(e.key, e.count, e.flops > 0) for e in p.key_averages() if e.flops]
    [('sum_1000', 1, True)]
    >>> p.key_averages().total_average().cpu_memory_usage
    4000
    """

    def __init__(self, *, activities: Iterable[Any] | None = None,
                 schedule: Callable[[int], ProfilerAction] | None = None,
                 on_trace_ready: Callable[[Any], Any] | None = None, record_shapes: bool = False,
                 profile_memory: bool = False, with_stack: bool = False, with_flops: bool = False,
                 with_modules: bool = False, acc_events: bool = False, enabled: bool = True, **options: Any) -> None:
        wanted = list(activities) if activities is not None else list(DEVICES)
        wanted = [one for many in wanted for one in (many if isinstance(many, dict) else [many])]
        if not wanted or not all([isinstance(one, ProfilerActivity) for one in wanted]):
            raise ValueError("activities are values of ProfilerActivity, such as ProfilerActivity.CPU, at least one; "
                             f"got {wanted}")
        self.activities = set(wanted)
        self.schedule, self.on_trace_ready, self.enabled = schedule, on_trace_ready, enabled
        self.record_shapes, self.profile_memory, self.with_stack = record_shapes, profile_memory, with_stack
        self.with_flops, self.with_modules, self.acc_events = with_flops, with_modules, acc_events
        self.step_num = 0
        self.profiler = self
        self._events = self._list([])
        self._stack: ExitStack | None = None
        self._recorder = Recorder(lines=False)
        self._needed = Needed()
        self._step_began = 0.0
        self._metadata: dict[str, Any] = {}

    def _list(self, events: Iterable[Any]) -> EventList:
        return EventList(events, self.profile_memory, self.with_flops)

    @property
    def current_action(self) -> ProfilerAction:
        """What is done in this step."""
        return ProfilerAction.RECORD_AND_SAVE if self.schedule is None else self.schedule(self.step_num)

    def start(self) -> None:
        """Begin, as ``with`` does."""
        if self.enabled:
            self._move(ProfilerAction.NONE, self.current_action)
            self._step_began = perf_counter()

    def stop(self) -> None:
        """End, as ``with`` does."""
        if self._stack is not None:
            self._name_step()
            self._move(self.current_action, ProfilerAction.NONE)

    def step(self) -> None:
        """The next step begins."""
        before = self.current_action
        if self._stack is not None:
            self._needed.compute()
            self._name_step()
        self.step_num += 1
        self._move(before, self.current_action)
        self._step_began = perf_counter()

    def _name_step(self) -> None:
        if self.schedule is not None:
            self._recorder.name(f"ProfilerStep#{self.step_num}", self._step_began, perf_counter())

    def _move(self, before: ProfilerAction, now: ProfilerAction) -> None:
        """From what was done in the step before to what is done now."""
        keeps = before in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        if self._stack is not None and (before is ProfilerAction.RECORD_AND_SAVE or now is ProfilerAction.NONE):
            self._end(keeps)
            if keeps and self.on_trace_ready is not None:
                self.on_trace_ready(self)
        if self._stack is None:
            if now is not ProfilerAction.NONE:
                self._begin()
        elif before is ProfilerAction.WARMUP is not now:
            self._recorder.again()

    def _begin(self) -> None:
        self._recorder = Recorder(lines=self.record_shapes or self.with_stack or self.with_modules)
        self._stack = ExitStack()
        self._stack.enter_context(self._recorder.recording())
        self._stack.enter_context(self._needed.watched())

    def _end(self, kept: bool) -> None:
        assert self._stack is not None
        self._stack.close()
        self._stack = None
        if kept:
            devices = [name for activity in self.activities for name in DEVICES.get(activity, ())]
            found = events_of(self._recorder, self.record_shapes, self.with_stack, self.with_modules,
                              self.profile_memory, devices)
            self._events = self._list([*(self._events if self.acc_events else ()), *self._list(found)])

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # --- what was seen

    def events(self) -> EventList:
        """All events of the last round that is over, in the order they began."""
        return self._events

    @property
    def function_events(self) -> EventList:
        """``events()``."""
        return self._events

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0,
                     group_by_overload_name: bool = False) -> EventList:
        """Sums by name; by name and shapes of inputs; by name and the first ``group_by_stack_n`` lines of the
        program."""
        return self._events.key_averages(group_by_input_shape, group_by_stack_n)

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
        """Write the events, and what ``add_metadata`` has noted, for https://ui.perfetto.dev or chrome://tracing;
        compressed if the name ends in ``.gz``."""
        write_trace(self._events, path, self._metadata)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Write the stacks of a profile ``with_stack``; see ``EventList.export_stacks``."""
        self._events.export_stacks(path, metric)

    def export_memory_timeline(self, path: str, device: str | None = None) -> None:
        """Write how many bytes of memory were in use when, in the last round, by what they are to the program. What the
        file holds depends on the end of its name. ``.html``: a picture, which matplotlib draws. ``.raw.json.gz``: a
        list of what happened, each ``[time, action, bytes, category]``, the time in nanoseconds since 1970, or -1 for
        what was there before (action 1); 2 is new memory, and 4 memory let go of, whose bytes are negative.
        ``.json.gz``, or any other: ``[times, sizes]``, the times in microseconds, and of each a 0 and the bytes by
        category. The categories, in order: parameters, optimizer state, inputs, values on the way inside a run,
        activations, gradients, other values of a backward pass, and what the profiler knows nothing of. Inputs are
        among the last, and each value of a forward pass counts as an activation.

        ``device``: ``"cpu"`` or one like ``"cuda:0"``; the GPU if there is one.

        Raises ``ValueError`` without ``record_shapes``, ``profile_memory`` and ``with_stack``, and ``ImportError`` for
        a picture if matplotlib is not installed. (``minigrad.explain`` shows the lines that memory belongs to.)

        Source: https://docs.pytorch.org/docs/stable/profiler.html#torch.profiler._KinetoProfile.export_memory_timeline

        >>> import json, minigrad, tempfile
        >>> x = minigrad.ones(250).realize()
        >>> with profile(record_shapes=True, profile_memory=True, with_stack=True) as p:
        ...     y = (x * 2).realize()
        >>> with tempfile.NamedTemporaryFile(suffix=".json") as file:
        ...     p.export_memory_timeline(file.name, device="cpu")
        ...     times, sizes = json.load(file)
        >>> len(times) == len(sizes), sizes[-1][1 + 4]
        (True, 1000)
        """
        if not (self.record_shapes and self.profile_memory and self.with_stack):
            raise ValueError("record_shapes=True, profile_memory=True, with_stack=True required for memory profiling.")
        where = device or ("cuda:0" if is_available() else "cpu")
        names = DEVICES.get(ProfilerActivity.__members__.get(where.partition(":")[0].upper(), ProfilerActivity.XPU), ())
        epoch = time.time() - perf_counter() + self._recorder.began
        found = changes(self._recorder, lambda device: device.startswith(names), epoch)
        write_timeline(found, str(path), where)

    def add_metadata(self, key: str, value: str) -> None:
        """Keep a note with the trace."""
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """Keep a note that is JSON with the trace. ``ValueError`` if it is not."""
        self._metadata[key] = json.loads(value)

    preset_metadata_json = add_metadata_json


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None, use_gzip: bool = False,
                              ) -> Callable[[Any], None]:
    """For ``on_trace_ready``: writes the trace of each round into a folder, with a name that TensorBoard's plug-in
    finds: ``worker.nanoseconds.pt.trace.json``, and ``.gz`` if ``use_gzip``. ``worker_name``: the machine's name and
    the process's number, unless it is given.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with profile(on_trace_ready=tensorboard_trace_handler(folder, "me")):
    ...         pass
    ...     [name.split(".")[2:] for name in os.listdir(folder)]
    [['pt', 'trace', 'json']]
    """
    def handler(prof: Any) -> None:
        os.makedirs(dir_name, exist_ok=True)
        name = f"{worker_name or f'{platform.node()}_{os.getpid()}'}.{time.time_ns()}.pt.trace.json"
        prof.export_chrome_trace(os.path.join(dir_name, name + (".gz" if use_gzip else "")))

    return handler


def kineto_available() -> bool:
    """Whether the profiler works here: it always does.

    >>> kineto_available()
    True
    """
    return True
