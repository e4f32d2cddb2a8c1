"""Stage: tools. In: nothing. Out: the coefficient tables of ``minigrad/lower/passes/polynomials.py``, printed:
``python -m tools.fit_polynomials``. It needs mpmath. Method: Remez exchange on a grid in 50-digit arithmetic; then each
coefficient is rounded to its dtype. The largest coefficients, 1 and 1/2, are exact and not among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath as mp
import numpy as np

mp.mp.dps = 50
Function = Callable[[mp.mpf], mp.mpf]


@dataclass(frozen=True)
class Fit:
    """``name``: a polynomial in t of ``degree`` that is near ``target(t)`` for low <= t <= high: the largest
    ``weight(t) * |difference|`` is as small as can be. ``single``: coefficients are float32 numbers."""

    name: str
    degree: int
    target: Function
    weight: Function
    low: float
    high: float
    single: bool = True


def minimax(fit: Fit, points: int = 500) -> list[mp.mpf]:
    """The best coefficients, the lowest first."""
    low, high, size = mp.mpf(fit.low), mp.mpf(fit.high), fit.degree + 1
    grid = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (k + mp.mpf("0.5")) / points) for k in range(points)]
    weights = [fit.weight(t) for t in grid]
    wanted = [fit.target(t) for t in grid]
    powers = [[t**k for k in range(size)] for t in grid]
    chosen = [(points - 1) * k // size for k in range(size + 1)]
    for _ in range(30):
        rows = mp.matrix([[weights[i] * p for p in powers[i]] + [(-1)**n] for n, i in enumerate(chosen)])
        solved = mp.lu_solve(rows, mp.matrix([weights[i] * wanted[i] for i in chosen]))
        found = [solved[k] for k in range(size)]
        errors = [w * (y - mp.fdot(found, p)) for w, y, p in zip(weights, wanted, powers)]
        worst = max(abs(e) for e in errors)
        peaks = alternating(errors)
        while len(peaks) > size + 1:
            peaks = peaks[1:] if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else peaks[:-1]
        if worst < abs(solved[size]) * mp.mpf("1.001"):
            break
        if len(peaks) < size + 1:
            raise ArithmeticError(f"{fit.name}: the error has {len(peaks)} peaks, fewer than {size + 1}")
        chosen = peaks
    return found


def alternating(errors: Sequence[mp.mpf]) -> list[int]:
    """Where the error is largest between two changes of its sign."""
    peaks = [0]
    for n, e in enumerate(errors):
        if (e > 0) != (errors[peaks[-1]] > 0):
            peaks.append(n)
        elif abs(e) > abs(errors[peaks[-1]]):
            peaks[-1] = n
    return peaks


def table(fit: Fit) -> tuple[list[float], float]:
    """The coefficients, the lowest first, as numbers of the dtype; and the largest weighted difference then."""
    found = [float(c) for c in minimax(fit)]
    rounded = [float(np.float32(c)) if fit.single else c for c in found]
    grid = [mp.mpf(fit.low) + (mp.mpf(fit.high) - fit.low) * (k + mp.mpf("0.5")) / 999 for k in range(999)]
    worst = max(abs(fit.weight(t) * (fit.target(t) - mp.polyval(rounded[::-1], t))) for t in grid)
    return rounded, float(worst)


def exp_tail(r: mp.mpf) -> mp.mpf:
    return mp.mpf(1) / 2 if r == 0 else (mp.expm1(r) - r) / r**2


def log_tail(f: mp.mpf) -> mp.mpf:
    """(log(1+f) - f + f²/2) / f³"""
    return mp.mpf(1) / 3 if f == 0 else (mp.log1p(f) - f + f * f / 2) / f**3


def tanh_tail(u: mp.mpf) -> mp.mpf:
    """(tanh(x) - x) / x³ with u = x²"""
    x = mp.sqrt(u)
    return (mp.tanh(x) - x) / x**3


def sin_tail(u: mp.mpf) -> mp.mpf:
    """(sin(r) - r) / r³ with u = r²"""
    r = mp.sqrt(u)
    return (mp.sin(r) - r) / r**3


def cos_tail(u: mp.mpf) -> mp.mpf:
    """(cos(r) - 1 + r²/2) / r⁴ with u = r²"""
    return (mp.cos(mp.sqrt(u)) - 1 + u / 2) / u**2


def erf_tail(u: mp.mpf) -> mp.mpf:
    """erf(x)/x - 1 with u = x²"""
    return mp.erf(mp.sqrt(u)) / mp.sqrt(u) - 1


def atanh_tail(z: mp.mpf) -> mp.mpf:
    """(2·atanh(s) - 2s) / s³ with z = s²"""
    s = mp.sqrt(z)
    return 2 * (mp.atanh(s) - s) / s**3


def atanh_rest(z: mp.mpf) -> mp.mpf:
    """(atanh(s)/s - 1 - s²/3) / s⁴ with z = s²"""
    s = mp.sqrt(z)
    return (mp.atanh(s) / s - 1 - z / 3) / z**2


def relative(factor: Function, whole: Function) -> Function:
    """The weight of a part that is multiplied by ``factor`` and added to what makes it ``whole``."""
    return lambda t: abs(factor(t) / whole(t))


HALF_LN2 = float(mp.log(2) / 2) * 1.0001
ROOT = float(mp.sqrt(2))
WIDE = 1.0  # |r| of sin and cos of float32: their reduction may be off by one in the last place of n
QUARTER = float(mp.pi / 4) * 1.01
SLOPE = (ROOT - 1) / (ROOT + 1)
EXP = (exp_tail, relative(lambda r: r**2, mp.exp), -HALF_LN2, HALF_LN2)
TANH = (tanh_tail, relative(lambda u: u**1.5, lambda u: mp.tanh(mp.sqrt(u))), 0.0, 0.56**2)
ERF = (erf_tail, relative(mp.sqrt, lambda u: mp.erf(mp.sqrt(u))), 0.0, 1.25**2)
SIN = (sin_tail, relative(lambda u: u**1.5, lambda u: mp.sin(mp.sqrt(u))), 0.0)
COS = (cos_tail, relative(lambda u: u**2, lambda u: mp.cos(mp.sqrt(u))), 0.0)
LOG = (atanh_tail, relative(lambda z: z**1.5, lambda z: 2 * mp.atanh(mp.sqrt(z))), 0.0, SLOPE**2 * 1.0001)
FITS = [
    Fit("EXP_32", 4, *EXP),
    Fit("EXP_36", 6, *EXP, single=False),
    Fit("EXP_64", 9, *EXP, single=False),
    Fit("LOG_32", 7, log_tail, relative(lambda f: f**3, mp.log1p), ROOT / 2 - 1, ROOT - 1),
    Fit("LOG_36", 3, *LOG, single=False),
    Fit("LOG_64", 6, *LOG, single=False),
    Fit("LOG_66", 7, atanh_rest, lambda z: z**2, 0.0, SLOPE**2 * 1.0001, single=False),
    Fit("TANH_32", 4, *TANH),
    Fit("TANH_64", 10, *TANH, single=False),
    Fit("SIN_32", 3, *SIN, WIDE**2),
    Fit("SIN_64", 5, *SIN, QUARTER**2, single=False),
    Fit("COS_32", 2, *COS, WIDE**2),
    Fit("COS_64", 5, *COS, QUARTER**2, single=False),
    Fit("ERF_32", 8, *ERF),
    Fit("ERF_64", 15, *ERF, single=False),
    Fit("ERFC_32", 13, lambda t: mp.erfc(2.625 + t), lambda t: mp.mpf(1), -1.375, 1.375),
    Fit("ERFC_64", 34, lambda t: mp.erfc(3.625 + t), lambda t: mp.mpf(1), -2.375, 2.375, single=False),
]


def main() -> None:
    """Print every table."""
    for fit in FITS:
        coefficients, worst = table(fit)
        print(f"# degree {fit.degree} on [{fit.low:.4g}, {fit.high:.4g}], error 2^{float(mp.log(worst, 2)):.1f}")
        line = f"{fit.name} = ("
        for c in coefficients:
            if len(line) + len(repr(c)) > 118:
                print(line.rstrip())
                line = "    "
            line += f"{c!r}, "
        print(line[:-2] + ")", flush=True)


if __name__ == "__main__":
    main()
