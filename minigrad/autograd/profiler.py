"""Stage: measuring. In: ``torch.autograd.profiler``, the older way to the profiler. Out: what ``profiler/`` has.
Next: ``minigrad/testing/``."""

from __future__ import annotations

from typing import Any, NoReturn

from minigrad.profiler import EventList, FunctionEvent, FunctionEventAvg, profile, record_function

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "emit_itt", "emit_nvtx", "profile", "record_function"]


def emit_nvtx(enabled: bool = True, record_shapes: bool = False) -> NoReturn:
    """``NotImplementedError``: NVIDIA's tools are not told of ops."""
    raise NotImplementedError("torch.autograd.profiler.emit_nvtx is not there")


def emit_itt(enabled: bool = True, record_shapes: bool = False) -> Any:
    """``NotImplementedError``: Intel's tools are not told of ops."""
    raise NotImplementedError("torch.autograd.profiler.emit_itt is not there")
