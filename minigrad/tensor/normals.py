"""Stage: tensor, on the host. In: uniform numbers. Out: the normal numbers that PyTorch makes of them, by its steps and
with its roundings.
Next: ``in_rows.py``."""

from __future__ import annotations

from typing import Any

import numpy as np


def box_muller(units: np.ndarray, out: np.ndarray, mean: float, std: float) -> None:
    """``out`` from ``units``, both of a whole number of blocks: 8 radii and 8 angles give 8 cosines and 8 sines."""
    real = units.dtype.type
    blocks, results = units.reshape(-1, 2, 8), out.reshape(-1, 2, 8)
    radius = np.sqrt(real(-2) * np.log(real(1) - blocks[:, 0]))
    angle = real(2 * np.pi) * blocks[:, 1]
    np.multiply(radius, np.cos(angle), out=results[:, 0])
    np.multiply(radius, np.sin(angle), out=results[:, 1])
    if std != 1:
        results *= real(std)
    if mean != 0:
        results += real(mean)


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    """The rounded sum, and what was lost by rounding it."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _split(a: Any) -> tuple[Any, Any]:
    """Two doubles of half the digits each, whose sum is ``a``."""
    scaled = a * 134217729.0  # 2^27 + 1
    high = scaled - (scaled - a)
    return high, a - high


def fused(a: np.ndarray, factor: float, summand: float) -> np.ndarray:
    """``a * factor + summand`` in float64 with one rounding, as the processor's fused multiply-add.

    The product is split into two doubles whose sum is exact; the small parts are added with rounding to
    odd, so that the last addition rounds once (Boldo and Melquiond, "Emulation of FMA and correctly rounded
    sums", 2008). Numbers here are far from overflow and underflow.

    >>> float(fused(np.array([1 + 2.0**-30]), 1 + 2.0**-30, -1.0)[0] == 2.0**-29 + 2.0**-60)
    1.0
    """
    if summand == 0:
        return a * factor
    product = a * factor
    (a_high, a_low), (f_high, f_low) = _split(a), _split(factor)
    error = a_low * f_low - (((product - a_high * f_high) - a_low * f_high) - a_high * f_low)
    partial, partial_low = _two_sum(np.float64(summand), error)
    total, total_low = _two_sum(product, partial)
    rest, rest_low = _two_sum(partial_low, total_low)
    even = (rest.view(np.int64) & 1) == 0
    outward = (rest_low > 0) == (rest > 0)
    odd = np.where((rest_low != 0) & even, np.nextafter(rest, np.where(outward, np.copysign(np.inf, rest), 0.0)), rest)
    return total + odd
