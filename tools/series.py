"""Writes ``minigrad/tensor/series.py``: the Chebyshev series from which the special functions are computed.

    python tools/series.py > minigrad/tensor/series.py

Each is the interpolation of a smooth function at the Chebyshev nodes, in 50 digits, cut where the terms fall below
4e-18 of the largest. It needs mpmath.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp

mp.mp.dps = 50


def coefficients(function: Callable[[Any], Any], low: float, high: float, terms: int = 72) -> list[float]:
    """c with function(x) = sum over k of c[k] * T_k(t), where t runs over [-1, 1] as x does over [low, high]."""
    low, high = mp.mpf(low), mp.mpf(high)
    angles = [mp.pi * (j + mp.mpf(1) / 2) / terms for j in range(terms)]
    values = [function((high + low) / 2 + (high - low) / 2 * mp.cos(a)) for a in angles]
    found = [2 * mp.fsum(v * mp.cos(k * a) for v, a in zip(values, angles, strict=True)) / terms for k in range(terms)]
    found[0] /= 2
    top = max(abs(c) for c in found)
    last = max(k for k, c in enumerate(found) if abs(c) > top * mp.mpf("4e-18"))
    assert last < terms - 8, "not smooth enough"
    return [float(c) for c in found[:last + 1]]


def inverse_erf(y: Any) -> Any:
    """erfinv in 50 digits, also near 1."""
    guess = mp.sqrt(-mp.log(1 - y))
    return mp.findroot(lambda x: mp.log(mp.erfc(x)) - mp.log(1 - y), guess) if y > mp.mpf("0.7") else mp.erfinv(y)


def of_log(w: Any) -> Any:
    """erfinv(y) / y where w = -log(1 - y²)."""
    y = mp.sqrt(-mp.expm1(-w))
    return mp.sqrt(mp.pi) / 2 if w == 0 else inverse_erf(y) / y


def scaled(x: Any) -> Any:
    return mp.exp(x * x) * mp.erfc(x) if x < 25 else (
        mp.fsum((-1) ** k * mp.fac2(2 * k - 1) / (2 * x * x) ** k for k in range(12)) / (x * mp.sqrt(mp.pi)))


def bessel(order: int, x: Any) -> Any:
    return mp.besseli(order, x) * mp.exp(-x)


SERIES: tuple[tuple[str, str, Callable[[Any], Any], float, float], ...] = (
    ("LGAMMA", "log Γ(2 + e) / e, e in [-0.5, 0.5]",
     lambda e: mp.loggamma(2 + e) / e if e else mp.digamma(2), -0.5, 0.5),
    ("LGAMMA_ONE", "log Γ(1 + e) / e, e in [-0.5, 0.5]",
     lambda e: mp.loggamma(1 + e) / e if e else mp.digamma(1), -0.5, 0.5),
    ("ERFINV_MIDDLE", "erfinv(y) / y of w = -log(1 - y²) in [0, 6.25]", of_log, 0, 6.25),
    ("ERFINV_OUTER", "the same of sqrt(w) in [2.5, 4]", lambda r: of_log(r * r), 2.5, 4),
    ("ERFINV_TAIL", "the same of sqrt(w) in [4, 6.25]", lambda r: of_log(r * r), 4, 6.25),
    ("NDTRI_NEAR", "-ndtri(p) / r of 1 / r, r = sqrt(-2 log p) in [2, 6]",
     lambda s: tail(1 / s) * s, 1 / mp.mpf(6), mp.mpf(1) / 2),
    ("NDTRI_FAR", "the same, r in [6, 39]", lambda s: tail(1 / s) * s, 1 / mp.mpf(39), 1 / mp.mpf(6)),
    ("ERFCX", "(1 + 2x) exp(x²) erfc(x) of (x - 3.75) / (x + 3.75), x >= 0",
     lambda t: (1 + 2 * (3.75 * (1 + t) / (1 - t))) * scaled(3.75 * (1 + t) / (1 - t)), -1, 1),
    ("ATAN", "atan(x) / x of x² in [0, 1]", lambda q: mp.atan(mp.sqrt(q)) / mp.sqrt(q), 0, 1),
    ("ASIN", "asin(x) / x of x² in [0, 0.25]", lambda q: mp.asin(mp.sqrt(q)) / mp.sqrt(q), 0, 0.25),
    ("I0E_SMALL", "exp(-x) I₀(x), x in [0, 8]", lambda x: bessel(0, x), 0, 8),
    ("I0E_LARGE", "sqrt(x) exp(-x) I₀(x) of 1 / x in [0, 1/8]",
     lambda s: bessel(0, 1 / s) / mp.sqrt(s), 0, mp.mpf(1) / 8),
    ("I1E_SMALL", "exp(-x) I₁(x) / x, x in [0, 8]", lambda x: bessel(1, x) / x, 0, 8),
    ("I1E_LARGE", "sqrt(x) exp(-x) I₁(x) of 1 / x in [0, 1/8]",
     lambda s: bessel(1, 1 / s) / mp.sqrt(s), 0, mp.mpf(1) / 8),
)


def tail(r: Any) -> Any:
    """-ndtri(p) where r = sqrt(-2 log p)."""
    half = mp.log(2) - r * r / 2
    return mp.findroot(lambda x: mp.log(mp.erfc(x / mp.sqrt(2))) - half, r - mp.log(r) / r - 0.4)


def main() -> None:
    print('"""Stage: front. In: nothing. Out: Chebyshev series of the special functions; ``python tools/series.py`` '
          "computes them.\nNext: ``formula.py``.\"\"\"\n\nfrom __future__ import annotations")
    for name, meaning, function, low, high in SERIES:
        print(f"\n# {meaning}")
        rows, line = [], f"{name} = ("
        for c in coefficients(function, low, high):
            word = f"{c!r}, "
            if len(line + word) > 118:
                rows.append(line.rstrip())
                line = "    "
            line += word
        print("\n".join([*rows, line.rstrip(", ") + ")"]))


if __name__ == "__main__":
    main()
