"""Windows: numbers that rise from about 0 to 1 in the middle and fall again, to multiply a stretch of a signal with.

Stage: PyTorch-shaped top. In: a length ``M``. Out: a Tensor of ``M`` numbers.
Next: nothing: this is the end of ``minigrad/signal``.

All functions take ``sym`` (a symmetric window if True; if False the first ``M`` numbers of the symmetric one of length
``M + 1``, which is what a transform wants), ``dtype`` (float32 or float64), ``layout``, ``device``, ``requires_grad``.
ValueError for a negative ``M``, another dtype or layout. Below, n = 0 … M - 1 and N = M - 1, or M if ``sym`` is False.
Source of all: https://docs.pytorch.org/docs/2.13/signal.html
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import minigrad
from minigrad import Tensor
from minigrad.dtype import DType

__all__ = ["bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming",
           "hann", "kaiser", "nuttall"]

_Formula = Callable[[Tensor, float], Tensor]


def _window(name: str, M: int, formula: _Formula, *, sym: bool = True, dtype: DType | None = None, layout: Any = None,
            device: Any = None, requires_grad: bool = False) -> Tensor:
    """The formula at n = 0 … M - 1, computed in float64; it gets n and N."""
    dtype = minigrad.get_default_dtype() if dtype is None else dtype
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not None and str(layout) != "torch.strided":
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if dtype not in (minigrad.float32, minigrad.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    with minigrad.no_grad():
        if M <= 1:
            made = minigrad.ones(M, dtype=dtype, device=device)
        else:
            n = minigrad.arange(M, dtype=minigrad.float64, device=device)
            made = formula(n, M - 1 if sym else M).to(dtype)
    return made.requires_grad_(requires_grad)


def bartlett(M: int, **options: Any) -> Tensor:
    """A triangle: 1 - |2n / N - 1|.

    >>> minigrad.signal.windows.bartlett(5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return _window("bartlett", M, lambda n, N: 1 - (2 * n / N - 1).abs(), **options)


def general_cosine(M: int, *, a: Iterable[float], **options: Any) -> Tensor:
    """∑ (-1)^i a_i cos(2π i n / N). TypeError if ``a`` is no list, ValueError if it is empty.

    >>> minigrad.signal.windows.general_cosine(5, a=[0.5, 0.5])
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return _cosines("general_cosine", M, a, options)


def _cosines(name: str, M: int, a: Iterable[float], options: dict[str, Any]) -> Tensor:
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    weights = list(a)
    if not weights:
        raise ValueError("Coefficients cannot be empty")

    def formula(n: Tensor, N: float) -> Tensor:
        found = n.new_full(n.shape, weights[0])
        for i, weight in enumerate(weights[1:], 1):
            found = found + (-1)**i * weight * (n * (2 * math.pi * i / N)).cos()
        return found

    return _window(name, M, formula, **options)


def blackman(M: int, **options: Any) -> Tensor:
    """0.42 - 0.5 cos(2πn / N) + 0.08 cos(4πn / N).

    >>> minigrad.signal.windows.blackman(5).round(decimals=2).abs()
    tensor([0.0000, 0.3400, 1.0000, 0.3400, 0.0000])
    """
    return _cosines("blackman", M, (0.42, 0.5, 0.08), options)


def nuttall(M: int, **options: Any) -> Tensor:
    """The minimum 4-term Blackman-Harris window of A. Nuttall (1981).

    >>> minigrad.signal.windows.nuttall(5, sym=False)
    tensor([3.6280e-04, 1.1052e-01, 7.9826e-01, 7.9826e-01, 1.1052e-01])
    """
    return _cosines("nuttall", M, (0.3635819, 0.4891775, 0.1365995, 0.0106411), options)


def general_hamming(M: int, *, alpha: float = 0.54, **options: Any) -> Tensor:
    """alpha - (1 - alpha) cos(2πn / N).

    >>> minigrad.signal.windows.general_hamming(5, alpha=0.5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return _cosines("general_hamming", M, (alpha, 1 - alpha), options)


def hamming(M: int, **options: Any) -> Tensor:
    """0.54 - 0.46 cos(2πn / N).

    >>> minigrad.signal.windows.hamming(5)
    tensor([0.0800, 0.5400, 1.0000, 0.5400, 0.0800])
    """
    return _cosines("hamming", M, (0.54, 0.46), options)


def hann(M: int, **options: Any) -> Tensor:
    """sin²(πn / N).

    >>> minigrad.signal.windows.hann(5, sym=False)
    tensor([0.0000, 0.3455, 0.9045, 0.9045, 0.3455])
    """
    return _cosines("hann", M, (0.5, 0.5), options)


def cosine(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """sin(π (n + 1/2) / M); M + 1 instead of M if ``sym`` is False.

    >>> minigrad.signal.windows.cosine(4)
    tensor([0.3827, 0.9239, 0.9239, 0.3827])
    """
    return _window("cosine", M, lambda n, N: ((n + 0.5) * (math.pi / (N + 1))).sin(), sym=sym, **options)


def exponential(M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, **options: Any) -> Tensor:
    """exp(-|n - center| / tau); the center is N / 2. ValueError if tau is not positive, or for the center of a
    symmetric window.

    >>> minigrad.signal.windows.exponential(3)
    tensor([0.3679, 1.0000, 0.3679])
    """
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    return _window("exponential", M, lambda n, N: (-((n - (N / 2 if center is None else center)) / tau).abs()).exp(),
                   sym=sym, **options)


def gaussian(M: int, *, std: float = 1.0, **options: Any) -> Tensor:
    """exp(-(n - N / 2)² / (2 std²)). ValueError if ``std`` is not positive.

    >>> minigrad.signal.windows.gaussian(3)
    tensor([0.6065, 1.0000, 0.6065])
    """
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    return _window("gaussian", M, lambda n, N: (-((n - N / 2) / (std * math.sqrt(2))).square()).exp(), **options)


def kaiser(M: int, *, beta: float = 12.0, **options: Any) -> Tensor:
    """I₀(beta √(1 - (2n / N - 1)²)) / I₀(beta). ValueError if ``beta`` is negative.

    >>> minigrad.signal.windows.kaiser(3, beta=1.0)
    tensor([0.7898, 1.0000, 0.7898])
    """
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")

    def formula(n: Tensor, N: float) -> Tensor:
        root = (1 - (2 * n / N - 1).square()).clamp(min=0).sqrt()
        return (root * beta).i0() / n.new_full((), beta).i0()

    return _window("kaiser", M, formula, **options)
