"""Stage: measuring. In: ``torch.autograd.profiler``, the older way to the profiler. Out: what ``profiler/`` has.
Next: ``minigrad/testing/``."""

from __future__ import annotations

from typing import Any, NoReturn

from minigrad import profiler
from minigrad.profiler import EventList, FunctionEvent, FunctionEventAvg, record_function

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "emit_itt", "emit_nvtx", "profile", "record_function"]


class profile(profiler.profile):
    """``minigrad.profiler.profile`` of a whole block; printed, it is its table. With ``enabled=False`` nothing is
    recorded. Times are in microseconds.

    >>> with profile(enabled=False) as p:
    ...     pass
    >>> p.key_averages()
    []
    """

    def __init__(self, enabled: bool = True, **options: Any) -> None:
        super().__init__(enabled=enabled, **options)

    def __str__(self) -> str:
        return self.table()


def emit_nvtx(enabled: bool = True, record_shapes: bool = False) -> NoReturn:
    """``NotImplementedError``: NVIDIA's tools are not told of ops."""
    raise NotImplementedError("torch.autograd.profiler.emit_nvtx is not there")


def emit_itt(enabled: bool = True, record_shapes: bool = False) -> Any:
    """``NotImplementedError``: Intel's tools are not told of ops."""
    raise NotImplementedError("torch.autograd.profiler.emit_itt is not there")
