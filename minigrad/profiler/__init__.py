"""Stage: measuring. In: a block of a program. Out: which kernels ran in it, how often and how long, as a table and as a
trace for Chrome's viewer.
Next: ``events.py``."""

from minigrad.profiler.events import EventList, FunctionEvent, FunctionEventAvg
from minigrad.profiler.profiler import (
    ProfilerAction,
    ProfilerActivity,
    profile,
    record_function,
    schedule,
    supported_activities,
    tensorboard_trace_handler,
)

__all__ = [
    "EventList", "FunctionEvent", "FunctionEventAvg", "ProfilerAction", "ProfilerActivity", "profile",
    "record_function", "schedule", "supported_activities", "tensorboard_trace_handler",
]
