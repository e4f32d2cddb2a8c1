"""Stage: array API. In: arrays. Out: the extension ``fft``: Fourier transforms.
Source: https://data-apis.org/array-api/latest/extensions/fourier_transform_functions.html
Next: ``minigrad/vision/``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minigrad.fft
from minigrad.dtype import DType
from minigrad.tensor import Tensor

_fft: Any = minigrad.fft


def _along(name: str) -> Callable[..., Tensor]:
    def function(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
        return getattr(_fft, name)(x, n, axis, norm)

    return _named(function, name)


def _over(name: str) -> Callable[..., Tensor]:
    def function(x: Tensor, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Tensor:
        return getattr(_fft, name)(x, s, axes, norm)

    return _named(function, name)


def _named(function: Any, name: str) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``minigrad.fft.{name}``, by the standard's arguments."
    return function


fft, ifft, rfft, irfft, hfft, ihfft = [_along(n) for n in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")]
fftn, ifftn, rfftn, irfftn = [_over(n) for n in ("fftn", "ifftn", "rfftn", "irfftn")]


def fftfreq(n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Any = None) -> Tensor:
    """The frequencies of ``fft``'s results, for samples ``d`` apart."""
    return _fft.fftfreq(n, d, dtype=dtype, device=device)


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: DType | None = None, device: Any = None) -> Tensor:
    """The frequencies of ``rfft``'s results, for samples ``d`` apart."""
    return _fft.rfftfreq(n, d, dtype=dtype, device=device)


def fftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """The zero frequency in the middle."""
    return _fft.fftshift(x, axes)


def ifftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """What undoes ``fftshift``."""
    return _fft.ifftshift(x, axes)
