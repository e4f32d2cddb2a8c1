"""Stage: measuring. In: a block of a program. Out: which kernels ran in it, how often and how long, from which of
its lines, and with how much memory, as a table and as a trace for Chrome's viewer.
Next: ``events.py``."""

from minigrad.profiler.events import DeviceType, EventList, FunctionEvent, FunctionEventAvg
from minigrad.profiler.profiler import (
    ProfilerAction,
    ProfilerActivity,
    kineto_available,
    profile,
    record_function,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)

__all__ = [
    "DeviceType", "EventList", "FunctionEvent", "FunctionEventAvg", "ProfilerAction", "ProfilerActivity",
    "kineto_available", "profile", "record_function", "schedule", "supported_activities", "tensorboard_trace_handler",
]
