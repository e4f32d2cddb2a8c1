"""Stage: the tape. In: ops as users call them. Out: gradients, as LazyBuffers that run with everything else.
Next: ``mode.py``."""

from typing import TYPE_CHECKING, Any

from minigrad import lazily
from minigrad.autograd.backward import backward, grad
from minigrad.autograd.handles import AccumulateGrad
from minigrad.autograd.mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from minigrad.autograd.node import Node

if TYPE_CHECKING:
    from minigrad.autograd.anomaly_mode import (
        detect_anomaly,
        is_anomaly_check_nan_enabled,
        is_anomaly_enabled,
        set_detect_anomaly,
    )
    from minigrad.autograd.function import Function

__all__ = [
    "AccumulateGrad", "Function", "Node", "backward", "detect_anomaly", "enable_grad", "grad", "inference_mode",
    "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "is_grad_enabled", "is_inference_mode_enabled", "no_grad",
    "set_detect_anomaly", "set_grad_enabled",
]

# These are imported when they are first asked for: few programs need them, and some stand on top of Tensors.
_SUBMODULES = ("forward_ad", "functional", "grad_mode", "graph", "profiler", "variable")
_LATER = {"Function": "function",
          **dict.fromkeys(("detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled",
                           "set_detect_anomaly"), "anomaly_mode"),
          "gradcheck": "gradcheck", "gradgradcheck": "gradcheck", "Variable": "variable",
          "set_multithreading_enabled": "grad_mode", "is_multithreading_enabled": "grad_mode"}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return lazily.module(f"minigrad.autograd.{name}")
    if name in _LATER:
        found = getattr(lazily.module(f"minigrad.autograd.{_LATER[name]}"), name)
        globals()[name] = found  # importing gradcheck.py has put the module in the function's place
        return found
    raise AttributeError(f"module 'minigrad.autograd' has no attribute {name!r}")
