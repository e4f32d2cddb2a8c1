"""Stage: front. In: tensors of any floating-point type. Out: the type in which an update computes, and back.
Next: ``utils/``."""

from __future__ import annotations

from minigrad.dtype import bfloat16, float16, float32
from minigrad.tensor import Tensor


def widen(tensor: Tensor) -> Tensor:
    """``tensor``, in float32 if it is stored in half width."""
    return tensor.to(float32) if tensor.dtype in (float16, bfloat16) else tensor


def narrow(value: Tensor, like: Tensor) -> Tensor:
    """``value`` in the type in which ``like`` is stored."""
    return value.to(like.dtype)
