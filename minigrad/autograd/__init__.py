"""Stage: the tape. In: ops as users call them. Out: gradients, as LazyBuffers that run with everything else.
Next: ``mode.py``."""

from minigrad.autograd.backward import backward, grad
from minigrad.autograd.function import Function
from minigrad.autograd.mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from minigrad.autograd.node import AccumulateGrad, Node

__all__ = [
    "AccumulateGrad", "Function", "Node", "backward", "enable_grad", "grad", "inference_mode", "is_grad_enabled",
    "is_inference_mode_enabled", "no_grad", "set_grad_enabled",
]
