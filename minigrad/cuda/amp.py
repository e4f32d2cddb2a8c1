"""Stage: front. In: ``torch.cuda.amp``, the older way to autocast on GPUs. Out: what ``amp/`` has, with a warning.
Next: ``minigrad/torch/``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from minigrad import amp
from minigrad.dtype import DType, float16

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]


def _old(name: str, new: str) -> None:
    warnings.warn(f"`torch.cuda.amp.{name}(args...)` is deprecated. Please use `torch.amp.{new}` instead.",
                  FutureWarning, stacklevel=3)


class autocast(amp.autocast):
    """``minigrad.amp.autocast("cuda")``."""

    def __init__(self, enabled: bool = True, dtype: DType = float16, cache_enabled: bool = True) -> None:
        _old("autocast", "autocast('cuda', args...)")
        super().__init__("cuda", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)


class GradScaler(amp.GradScaler):
    """``minigrad.amp.GradScaler("cuda")``."""

    def __init__(self, init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
                 growth_interval: int = 2000, enabled: bool = True) -> None:
        _old("GradScaler", "GradScaler('cuda', args...)")
        super().__init__("cuda", init_scale, growth_factor, backoff_factor, growth_interval, enabled)


def custom_fwd(fwd: Callable[..., Any] | None = None, *, cast_inputs: DType | None = None) -> Any:
    """``minigrad.amp.custom_fwd(device_type="cuda")``."""
    _old("custom_fwd", "custom_fwd(args..., device_type='cuda')")
    return partial(amp.custom_fwd, device_type="cuda")(fwd=fwd, cast_inputs=cast_inputs)


def custom_bwd(bwd: Callable[..., Any]) -> Any:
    """``minigrad.amp.custom_bwd(device_type="cuda")``."""
    _old("custom_bwd", "custom_bwd(args..., device_type='cuda')")
    return partial(amp.custom_bwd, device_type="cuda")(bwd)
