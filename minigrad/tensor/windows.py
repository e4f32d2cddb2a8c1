"""Stage: front. In: a length. Out: the window functions of signal processing, as Tensors.
Next: ``triangular.py``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from minigrad.dtype import DType, float32
from minigrad.tensor.creation import full
from minigrad.tensor.definition import function
from minigrad.tensor.promotion import get_default_dtype, type_name
from minigrad.tensor.ranges import arange

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _phase(name: str, length: int, periodic: bool, dtype: DType | None, device: Any) -> tuple[Tensor | None, DType]:
    """0 … 1 over the window: n / N for a periodic one, n / (N - 1) for a symmetric one; None for a length of 0 or 1."""
    kind = dtype or get_default_dtype()
    if kind.kind != "f":
        raise RuntimeError(f"{name}_window expects floating point dtypes, got: {type_name(kind)}")
    if length < 0:
        raise RuntimeError(f"{name}_window requires non-negative window_length, got window_length={length}")
    if length < 2:
        return None, kind
    wide = kind if kind.size > 2 else float32
    return arange(length, dtype=wide, device=device) / (length if periodic else length - 1), kind


def _finished(window: Tensor | None, length: int, kind: DType, device: Any, requires_grad: bool) -> Tensor:
    result = full((length,), 1.0, dtype=kind, device=device) if window is None else window.to(kind)
    return result.requires_grad_() if requires_grad else result


def _raised_cosine(name: str, length: int, periodic: bool, alpha: float, beta: float, dtype: DType | None, device: Any,
                   requires_grad: bool) -> Tensor:
    t, kind = _phase(name, length, periodic, dtype, device)
    window = None if t is None else alpha - beta * (2 * math.pi * t).cos()
    return _finished(window, length, kind, device, requires_grad)


@function("hann_window")
def hann_window(window_length: int, periodic: bool = True, *, dtype: DType | None = None, layout: Any = None,
                device: Any = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """0.5 - 0.5 cos(2 pi n / N); symmetric, with N - 1, if not ``periodic``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.hann_window.html

    >>> import minigrad
    >>> minigrad.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _raised_cosine("hann", window_length, periodic, 0.5, 0.5, dtype, device, requires_grad)


@function("hamming_window")
def hamming_window(window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *,
                   dtype: DType | None = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
                   requires_grad: bool = False) -> Tensor:
    """alpha - beta cos(2 pi n / N); symmetric, with N - 1, if not ``periodic``."""
    return _raised_cosine("hamming", window_length, periodic, alpha, beta, dtype, device, requires_grad)


@function("blackman_window")
def blackman_window(window_length: int, periodic: bool = True, *, dtype: DType | None = None, layout: Any = None,
                    device: Any = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N); symmetric, with N - 1, if not ``periodic``."""
    t, kind = _phase("blackman", window_length, periodic, dtype, device)
    window = None if t is None else 0.42 - 0.5 * (2 * math.pi * t).cos() + 0.08 * (4 * math.pi * t).cos()
    return _finished(window, window_length, kind, device, requires_grad)


@function("bartlett_window")
def bartlett_window(window_length: int, periodic: bool = True, *, dtype: DType | None = None, layout: Any = None,
                    device: Any = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """1 - |2n / N - 1|: a triangle; symmetric, with N - 1, if not ``periodic``."""
    t, kind = _phase("bartlett", window_length, periodic, dtype, device)
    window = None if t is None else 1 - (2 * t - 1).abs()
    return _finished(window, window_length, kind, device, requires_grad)


@function("kaiser_window")
def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: DType | None = None,
                  layout: Any = None, device: Any = None, pin_memory: bool = False,
                  requires_grad: bool = False) -> Tensor:
    """I0(beta sqrt(1 - (2n / N - 1)²)) / I0(beta); symmetric, with N - 1, if not ``periodic``."""
    t, kind = _phase("kaiser", window_length, periodic, dtype, device)
    if t is None:
        return _finished(None, window_length, kind, device, requires_grad)
    inside = beta * (1 - (2 * t - 1).square()).clamp(min=0).sqrt()
    scale = (inside.new_ones(()) * beta).i0()
    return _finished(inside.i0() / scale, window_length, kind, device, requires_grad)
