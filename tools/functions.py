"""Stage: tools. In: the functions of one argument. Out: their greatest error in units in the last place (ulp):
``python -m tools.functions`` tries all 2^32 float32 numbers, all 65,536 of each half type, and samples of float64, and
with ``--write`` puts the table into ``tools/functions.json``, from which ``tools/docs.py`` makes a part of
``docs/ops.md``.

The reference of float32 is the same function computed by minigrad in float64, whose own error (measured here against
mpmath, in 40 digits) is some 2^-29 of a float32 ulp; so what is said of float32 holds to three digits. Where
the function of float32 is computed in float64 and rounded once, that comparison shows nothing: for these the table
rests on the comparison of float64 with mpmath. The slowest of them are compared with SciPy's float64 as well, and with
mpmath where that says that the rounding is wrong (``beside``). It needs mpmath and SciPy. Next: ``docs/ops.md``."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np

import minigrad
from minigrad import Tensor, composite

mp.mp.dps = 40
RESULT = Path(__file__).with_suffix(".json")
EVERYWHERE = (-math.inf, math.inf)


@dataclass(frozen=True)
class Function:
    """``of`` a Tensor; ``exact`` of an mpmath number, or None where it is not real; from ``low`` to ``high`` it is
    sampled in float64."""

    name: str
    of: Callable[[Tensor], Tensor]
    exact: Callable[[Any], Any]
    low: float = -math.inf
    high: float = math.inf


def method(name: str, exact: Any, low: float = -math.inf, high: float = math.inf, **options: Any) -> Function:
    """The method of Tensor or the function of ``special`` or ``nn.functional`` of this name."""
    def of(x: Tensor) -> Tensor:
        found = getattr(Tensor, name, None) or getattr(minigrad.special, name, None)
        result: Tensor = (found or getattr(minigrad.nn.functional, name))(x, **options)
        return result

    return Function(name + "".join(f", {value}" for value in options.values()), of, exact, low, high)


def _softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x)) if x < 20 else x


def _ndtr(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def _erfinv(y: Any) -> Any:
    """By Newton's method in log(1 - erf), which is well behaved near 1."""
    if y == 0:
        return mp.mpf(0)
    size = abs(y)
    if size < 0.7 and size > 1e-30:
        return mp.erfinv(y)
    if size < 1e-30:
        return y * mp.sqrt(mp.pi) / 2
    x = mp.findroot(lambda x: mp.log(mp.erfc(x)) - mp.log(1 - size), mp.sqrt(-mp.log(1 - size)))
    return x if y > 0 else -x


def _ndtri(p: Any) -> Any:
    if p >= 0.5:
        return mp.sqrt(2) * _erfinv(2 * p - 1)
    guess = mp.sqrt(-2 * mp.log(p))
    guess -= mp.log(guess + 1) / (guess + 1)
    x = mp.findroot(lambda x: mp.log(mp.erfc(x / mp.sqrt(2)) / 2) - mp.log(p), max(guess, mp.mpf("0.001")))
    return -x


def _scaled(order: int, sign: int, kind: Any) -> Callable[[Any], Any]:
    """exp(±|x|) times a Bessel function."""
    return lambda x: mp.exp(sign * abs(x)) * kind(order, x)


def _gelu_tanh(x: Any) -> Any:
    inner = mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3)
    return x / (1 + mp.exp(-2 * inner))


FUNCTIONS = (
    method("exp", mp.exp, -760, 720),
    method("exp2", lambda x: mp.mpf(2)**x, -1080, 1030),
    method("expm1", mp.expm1, -760, 720),
    method("log", mp.log, 0),
    method("log2", lambda x: mp.log(x) / mp.log(2), 0),
    method("log10", mp.log10, 0),
    method("log1p", mp.log1p, -1),
    method("sqrt", mp.sqrt, 0),
    method("rsqrt", lambda x: 1 / mp.sqrt(x), 0),
    method("reciprocal", lambda x: 1 / x),
    method("sin", mp.sin),
    method("cos", mp.cos),
    method("tan", mp.tan),
    method("asin", mp.asin, -1, 1),
    method("acos", mp.acos, -1, 1),
    method("atan", mp.atan),
    method("sinh", mp.sinh, -720, 720),
    method("cosh", mp.cosh, -720, 720),
    method("tanh", mp.tanh),
    method("asinh", mp.asinh),
    method("acosh", mp.acosh, 1),
    method("atanh", mp.atanh, -1, 1),
    method("sigmoid", lambda x: 1 / (1 + mp.exp(-x)), -760, 760),
    method("logsigmoid", lambda x: -mp.log1p(mp.exp(-x)), -1e30, 760),
    method("softplus", _softplus, -760, 1e30),
    method("silu", lambda x: x / (1 + mp.exp(-x)), -760, 760),
    method("mish", lambda x: x * mp.tanh(mp.log1p(mp.exp(x))), -760, 760),
    method("gelu", lambda x: x * _ndtr(x), -40, 40),
    method("gelu", _gelu_tanh, -40, 40, approximate="tanh"),
    method("selu", lambda x: mp.mpf("1.0507009873554804934193349852946") * (
        x if x > 0 else mp.mpf("1.6732632423543772848170429916717") * mp.expm1(x))),
    method("elu", lambda x: x if x > 0 else mp.expm1(x)),
    method("softsign", lambda x: x / (1 + abs(x))),
    method("erf", mp.erf, -40, 40),
    method("erfc", mp.erfc, -40, 28),
    method("erfcx", lambda x: mp.exp(x * x) * mp.erfc(x), -27, 1e3),
    method("erfinv", _erfinv, -1, 1),
    method("ndtr", _ndtr, -40, 40),
    method("log_ndtr", lambda x: mp.log1p(-_ndtr(-x)) if x > 0 else mp.log(_ndtr(x)), -1e4, 37),
    method("ndtri", _ndtri, 0, 1),
    method("lgamma", lambda x: mp.re(mp.loggamma(x)) if x > 0 else mp.log(abs(mp.gamma(x))), -1e4, 1e300),
    method("digamma", mp.digamma, -1e4, 1e300),
    method("entr", lambda x: -x * mp.log(x), 0),
    method("sinc", lambda x: mp.sinpi(x) / (mp.pi * x) if x else mp.mpf(1)),
    method("logit", lambda x: mp.log(x / (1 - x)), 0, 1),
    method("i0", lambda x: mp.besseli(0, x), -720, 720),
    method("i0e", _scaled(0, -1, mp.besseli), -1e6, 1e6),
    method("i1", lambda x: mp.besseli(1, x), -720, 720),
    method("i1e", _scaled(1, -1, mp.besseli), -1e6, 1e6),
)


SCIPY = {"lgamma": "gammaln", "digamma": "psi", "ndtri": "ndtri", "log_ndtr": "log_ndtr"}
"""Functions of float32 that are compared with SciPy's of this name."""
UNLIKE_SCIPY = {"lgamma": {-math.inf: math.inf}}
"""Where SciPy's has another value than C and PyTorch: gammaln(-inf) is -inf."""
DOUBTFUL = 0.55
"""Errors in ulp of float32 from which on mpmath decides: these functions are rounded once, and SciPy is mostly true to
2^-20 ulp, but not near zeros."""


# --- errors


def ulps(found: Tensor, right: Tensor, fraction: int, least: int) -> Tensor:
    """The distance of two float64 Tensors in units in the last place of a format with so many bits of fraction, whose
    normal numbers begin at 2^least and end below 2^(2 - least). inf where one is NaN and the other not, or where zeros
    and infinities that are exact are not the same, down to the sign of 0."""
    limit = 2.0 ** (2 - least)
    bits = right.view(minigrad.int64)
    exponent = (right.abs().clamp(max=limit / 2).view(minigrad.int64) >> 52).clamp(min=1023 + least)
    units_in_one = ((2046 + fraction - exponent) << 52).view(minigrad.float64)
    error = (found.clamp(-limit, limit) - right.clamp(-limit, limit)).abs() * units_in_one
    exact = (right == 0) | ~(right.abs() < math.inf)
    wrong = minigrad.where(exact, found.view(minigrad.int64) != bits, found.isnan())
    error = minigrad.where(wrong, math.inf, minigrad.where(exact, 0.0, error))
    return minigrad.where(right.isnan(), minigrad.where(found.isnan(), 0.0, math.inf), error)


@composite
def _errors(first: Tensor, *, count: int, step: int, of: Callable[[Tensor], Tensor]) -> Tensor:
    """Of the float32 numbers whose bits are first, first + step …"""
    x = (minigrad.arange(count, dtype=minigrad.int32) * step + first).view(minigrad.float32)
    return ulps(of(x).double(), of(x.double()), 23, -126)


@composite
def _worst(first: Tensor, *, count: int, step: int, of: Callable[[Tensor], Tensor]) -> Tensor:
    return _errors(first, count=count, step=step, of=of).max()


def single(function: Function, step: int = 1, count: int = 1 << 22) -> tuple[float, float]:
    """The greatest error over every ``step``-th float32 number, and where it is."""
    worst, at = -1.0, 0
    for first in range(-(1 << 31), 1 << 31, count * step):
        found = _worst(minigrad.tensor(first, dtype=minigrad.int32), count=count, step=step, of=function.of).item()
        if found > worst:
            worst, at = found, first
    errors = _errors(minigrad.tensor(at, dtype=minigrad.int32), count=count, step=step, of=function.of)
    bits = np.uint32((at + step * int(errors.argmax().item())) & 0xFFFFFFFF)
    return worst, float(bits.view(np.float32))


@composite
def _apart(found: Tensor, right: Tensor) -> Tensor:
    return ulps(found.double(), right, 23, -126)


def beside(function: Function, step: int = 1, count: int = 1 << 20) -> tuple[float, float]:
    """As ``single``, against SciPy, and against mpmath for what differs from SciPy by more than a rounding."""
    from scipy import special

    other = getattr(special, SCIPY[function.name])
    worst, at = -1.0, 0.0
    for first in range(-(1 << 31), 1 << 31, count * step):
        x = (np.arange(count, dtype=np.int64) * step + first).astype(np.int32).view(np.float32)
        found = function.of(minigrad.tensor(x)).numpy()
        with np.errstate(all="ignore"):
            right = other(x.astype(np.float64))
        for number, value in UNLIKE_SCIPY.get(function.name, {}).items():
            right[x == number] = value
        errors = _apart(minigrad.tensor(found), minigrad.tensor(right)).numpy()
        for i in np.flatnonzero(errors > DOUBTFUL).tolist():
            errors[i] = _apart_from_exact(function, float(x[i]), float(found[i]), errors[i])
        i = int(errors.argmax())
        if errors[i] > worst:
            worst, at = float(errors[i]), float(x[i])
    return worst, at


def _apart_from_exact(function: Function, x: float, found: float, otherwise: float) -> float:
    """The error by mpmath, in ulp of float32; ``otherwise`` where there is no number to compare."""
    try:
        right = mp.mpf(function.exact(mp.mpf(x)))
    except (ValueError, ZeroDivisionError, OverflowError, TypeError, mp.libmp.NoConvergence):
        return otherwise
    if not (right and mp.isfinite(right) and math.isfinite(found)):
        return otherwise
    return float(abs(mp.mpf(found) - right) / mp.ldexp(1, max(mp.frexp(right)[1] - 1, -126) - 23))


def half(function: Function, dtype: Any) -> tuple[float, float]:
    """The greatest error over all numbers of a half type, and where it is. The half types are computed in float32 and
    rounded; the reference is float64."""
    fraction, least = (10, -14) if dtype is minigrad.float16 else (7, -126)
    x = minigrad.arange(1 << 16, dtype=minigrad.int32).to(minigrad.uint16).view(dtype)
    errors = ulps(function.of(x).double(), function.of(x.double()), fraction, least)
    at = int(errors.argmax().item())
    return errors[at].item(), x[at].item()


# --- float64 against mpmath


def samples(low: float, high: float, count: int) -> np.ndarray:
    """Numbers of all magnitudes in the range, and others equally spread where it is bounded, near its bounds, near
    whole numbers and halves."""
    rng = np.random.default_rng(0)
    every = np.exp2(rng.uniform(-1074, 1023, count // 4)) * rng.choice([-1.0, 1.0], count // 4)
    near = np.exp2(rng.uniform(-30, 12, count // 4)) * rng.choice([-1.0, 1.0], count // 4)
    a, b = max(low, -50.0), min(high, 50.0)
    spread = rng.uniform(a, b, count // 4)
    whole = np.round(rng.uniform(a, b, count // 8) * 2) / 2 * (1 + rng.choice([0.0, 1e-15, -1e-8, 1e-3], count // 8))
    edges = [e + s * 2.0**-k * max(1.0, abs(e)) for e in (low, high, 1.0, -1.0) if math.isfinite(e)
             for k in range(1, 53) for s in (1, -1)]
    x = np.concatenate([every, near, spread, whole, edges])
    return x[(x > low) & (x < high) & np.isfinite(x)]


def double(function: Function, count: int = 2000) -> tuple[float, float]:
    """The greatest error over samples in float64, against mpmath, and where it is."""
    x = samples(function.low, function.high, count)
    found = function.of(minigrad.tensor(x)).numpy()
    worst, at = -1.0, 0.0
    for value, y in zip(x.tolist(), found.tolist(), strict=True):
        try:
            right = function.exact(mp.mpf(value))
            right = mp.mpf(right)
        except (ValueError, ZeroDivisionError, OverflowError, TypeError, mp.libmp.NoConvergence):
            continue
        if abs(right) >= mp.mpf(2) ** 1024:
            error = 0.0 if abs(y) == math.inf else math.inf
        elif not math.isfinite(y):
            error = math.inf if math.isnan(y) or abs(right) < mp.mpf(2) ** 1023 * 1.99999 else 0.0
        else:
            unit = mp.ldexp(1, max(int(mp.floor(mp.log(abs(right), 2))) if right else -1022, -1022) - 52)
            error = float(abs(mp.mpf(y) - right) / unit)
        if error > worst:
            worst, at = error, value
    return worst, at


# --- the table

SPECIAL = (-math.inf, -1.0, -0.0, 0.0, 1.0, math.inf, math.nan)


def at_special(function: Function) -> list[str]:
    """What float32 gives at ``SPECIAL``, in nine digits."""
    return [f"{y:.9g}" for y in function.of(minigrad.tensor(SPECIAL)).tolist()]


def measured(function: Function, step: int, kinds: Sequence[str]) -> dict[str, list[Any]]:
    """For each kind the greatest error and where it is; of float32 also how many numbers one was taken of; for
    ``special`` the values there."""
    row: dict[str, list[Any]] = {}
    for kind in kinds:
        if kind == "special":
            row[kind] = at_special(function)
            continue
        began = time.perf_counter()
        found: tuple[float, ...]
        if kind == "float32":
            found = *(beside if function.name in SCIPY else single)(function, step), step
        elif kind == "float64":
            found = double(function)
        else:
            found = half(function, getattr(minigrad, kind))
        row[kind] = list(found)
        print(f"{function.name:16} {kind:9} {found[0]:10.3f} ulp at {found[1]!r:26} "
              f"{time.perf_counter() - began:6.1f} s", flush=True)
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """``--only exp,log``, ``--step 64`` for every 64th float32 number, ``--kinds float32,special``, ``--write``."""
    parser = argparse.ArgumentParser(description="The greatest error of each function of one argument.")
    parser.add_argument("--only", default="", help="names, separated by commas")
    parser.add_argument("--step", type=int, default=1, help="take every so many float32 numbers")
    parser.add_argument("--kinds", default="float32,float64,float16,bfloat16,special")
    parser.add_argument("--write", action="store_true", help=f"put what was found into {RESULT.name}")
    given = parser.parse_args(arguments)
    names = [n for n in given.only.split(",") if n]
    chosen: Iterable[Function] = [f for f in FUNCTIONS if not names or f.name.split(",")[0] in names]
    table = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    with minigrad.config(TIERS=1):
        for function in chosen:
            table.setdefault(function.name, {}).update(measured(function, given.step, given.kinds.split(",")))
            if given.write:
                RESULT.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
