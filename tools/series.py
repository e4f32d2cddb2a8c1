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


def wave(order: int, part: int, t: Any) -> Any:
    """With x = 8 / sqrt(t) the P or Q x / 8 in J = sqrt(2 / πx) (P cos χ - Q sin χ) and Y = sqrt(2 / πx) (P sin χ +
    Q cos χ), χ = x - (2 order + 1) π/4."""
    x = 8 / mp.sqrt(t)
    angle = x - (2 * order + 1) * mp.pi / 4
    j, y = mp.besselj(order, x), mp.bessely(order, x)
    c, s = mp.cos(angle), mp.sin(angle)
    return mp.sqrt(mp.pi * x / 2) * (j * c + y * s if part == 0 else (y * c - j * s) * x / 8)


def airy_wave(part: int, t: Any) -> Any:
    """With ζ = 2/3 z^(3/2) = sqrt(1/t) the P or Q ζ in Ai(-z) = (cos θ P + sin θ Q) / (sqrt(π) z^(1/4)), in which θ is
    ζ - π/4."""
    zeta = 1 / mp.sqrt(t)
    z = (3 * zeta / 2) ** (mp.mpf(2) / 3)
    angle = zeta - mp.pi / 4
    a, b, c, s = mp.airyai(-z), mp.airybi(-z), mp.cos(angle), mp.sin(angle)
    return mp.sqrt(mp.pi) * z ** mp.mpf("0.25") * (c * a - s * b if part == 0 else (s * a + c * b) * zeta)


def airy_tail(t: Any) -> Any:
    zeta = 1 / t
    z = (3 * zeta / 2) ** (mp.mpf(2) / 3)
    return 2 * mp.sqrt(mp.pi) * z ** mp.mpf("0.25") * mp.exp(zeta) * mp.airyai(z)


def root(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function of x as one of x²."""
    return lambda q: function(mp.sqrt(q))


def log_part(x: Any, order: int, second: Any, first: Any, factor: Any) -> Any:
    """What is left of a Bessel function of the second kind without its logarithm, and for order 1 without 1 / x."""
    rest = second(order, x) - factor * mp.log(x) * first(order, x)
    return rest if order == 0 else (rest - (-factor if second is mp.bessely else 1) / x) / x


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
    ("NORMAL_TAIL", "2 (x + 3/2) exp(x²/2) Φ(-x) - 1 of t = (x - 3/2) / (x + 3/2) in [-1, 0.8125], Φ the normal "
     "distribution", lambda t: 3 / (1 - t) * scaled(1.5 * (1 + t) / (1 - t) / mp.sqrt(2)) - 1, -1, 0.8125),
    ("EXP", "(exp(r) - 1 - r) / r², r in [-0.35, 0.35]",
     lambda r: mp.expm1(r) / r**2 - 1 / r if r else mp.mpf(1) / 2, mp.mpf("-0.35"), mp.mpf("0.35")),
    ("LOG1P", "(log(1 + z) - z) / z², z in [0, 1]", lambda z: (mp.log1p(z) - z) / z**2, 0, 1),
    ("LOG1P_WIDE", "the same, z in [-0.4, 0.6]",
     lambda z: (mp.log1p(z) - z) / z**2, mp.mpf("-0.4"), mp.mpf("0.6")),
    ("ATAN", "(atan(x) - x) / x³ of x² in [0, 1]", lambda q: (mp.atan(mp.sqrt(q)) / mp.sqrt(q) - 1) / q, 0, 1),
    ("ASIN", "asin(x) / x of x² in [0, 0.25]", lambda q: mp.asin(mp.sqrt(q)) / mp.sqrt(q), 0, 0.25),
    ("I0E_SMALL", "exp(-x) I₀(x), x in [0, 8]", lambda x: bessel(0, x), 0, 8),
    ("I0E_LARGE", "sqrt(x) exp(-x) I₀(x) of 1 / x in [0, 1/8]",
     lambda s: bessel(0, 1 / s) / mp.sqrt(s), 0, mp.mpf(1) / 8),
    ("I1E_SMALL", "exp(-x) I₁(x) / x, x in [0, 8]", lambda x: bessel(1, x) / x, 0, 8),
    ("I1E_LARGE", "sqrt(x) exp(-x) I₁(x) of 1 / x in [0, 1/8]",
     lambda s: bessel(1, 1 / s) / mp.sqrt(s), 0, mp.mpf(1) / 8),
    ("J0_SMALL", "J₀(x) of x² in [0, 64]", root(lambda x: mp.besselj(0, x)), 0, 64),
    ("J1_SMALL", "J₁(x) / x of x² in [0, 64]", root(lambda x: mp.besselj(1, x) / x), 0, 64),
    ("Y0_SMALL", "Y₀(x) - 2/π log(x) J₀(x) of x² in [0, 64]",
     root(lambda x: log_part(x, 0, mp.bessely, mp.besselj, 2 / mp.pi)), 0, 64),
    ("Y1_SMALL", "(Y₁(x) - 2/π (log(x) J₁(x) - 1/x)) / x of x² in [0, 64]",
     root(lambda x: log_part(x, 1, mp.bessely, mp.besselj, 2 / mp.pi)), 0, 64),
    *[(f"{'PQ'[part]}{order}", f"of order {order}: {'P' if part == 0 else 'Q x / 8'} of (8 / x)² in [0, 1]",
       lambda t, order=order, part=part: wave(order, part, t), 0, 1) for order in (0, 1) for part in (0, 1)],
    ("K0_SMALL", "K₀(x) + log(x) I₀(x) of x² in [0, 4]",
     root(lambda x: log_part(x, 0, mp.besselk, mp.besseli, -1)), 0, 4),
    ("K1_SMALL", "(K₁(x) - log(x) I₁(x) - 1 / x) / x of x² in [0, 4]",
     root(lambda x: log_part(x, 1, mp.besselk, mp.besseli, 1)), 0, 4),
    ("K0_LARGE", "sqrt(x) exp(x) K₀(x) of 1 / x in [0, 1/2]",
     lambda s: mp.besselk(0, 1 / s) * mp.exp(1 / s) / mp.sqrt(s), 0, 0.5),
    ("K1_LARGE", "sqrt(x) exp(x) K₁(x) of 1 / x in [0, 1/2]",
     lambda s: mp.besselk(1, 1 / s) * mp.exp(1 / s) / mp.sqrt(s), 0, 0.5),
    ("AIRY_MIDDLE", "Ai(x), x in [-5, 2]", mp.airyai, -5, 2),
    ("AIRY_TAIL", "2 sqrt(π) x^(1/4) exp(ζ) Ai(x) of 1 / ζ in [0, 0.5304], ζ = 2/3 x^(3/2)", airy_tail, 0, 0.5304),
    ("AIRY_P", "P in Ai(-z) of 1 / ζ² in [0, 0.018]", lambda t: airy_wave(0, t), 0, 0.018),
    ("AIRY_Q", "Q ζ in Ai(-z) of 1 / ζ² in [0, 0.018]", lambda t: airy_wave(1, t), 0, 0.018),
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
