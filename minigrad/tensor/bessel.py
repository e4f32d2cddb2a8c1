"""Stage: front. In: a Tensor. Out: Bessel functions, Airy's function, Hurwitz' zeta function and orthogonal polynomials
of its elements, recorded. As in PyTorch, nothing flows back through them, but for the second operand of zeta.
Next: ``comparison.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minigrad.dtype import float32, float64
from minigrad.graph.function import apply
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor import series
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.composite import composite
from minigrad.tensor.formula import Value, chebyshev, choose, in_double
from minigrad.tensor.function import Function, refusing
from minigrad.tensor.functions import double
from minigrad.tensor.loop import loop
from minigrad.tensor.operands import MixedFunction, all_fitted, fitted_gradient, result_dtype
from minigrad.tensor.promotion import floating, type_name
from minigrad.tensor.ranges import arange
from minigrad.tensor.special import hurwitz, i0_value, i1_value

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _plain(name: str, formula: Callable[[Value], Value]) -> Callable[[Tensor], Tensor]:
    """A function of float32 and float64, computed in float64, without a derivative."""

    def computed(x: LazyBuffer) -> LazyBuffer:
        dtype = floating(x.dtype)
        if dtype not in (float32, float64):
            raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{type_name(dtype)}'")
        return in_double(formula, exactly=True)(x)

    function = Function(f"special_{name}", computed, "NotDifferentiable", differentiable=0)
    return lambda x: function((x,))


# --- Bessel functions of the first and second kind


def _waves(order: int, x: Value) -> tuple[Value, Value, Value, Value]:
    """For x >= 8: P and Q divided by sqrt(πx), and cos x + sin x and sin x - cos x."""
    p_series, q_series = ((series.P0, series.Q0), (series.P1, series.Q1))[order]
    share = 8.0 / x
    square = share * share
    scale = 1.0 / (x * math.pi).sqrt()
    cos, sin = x.cos(), x.sin()
    p = chebyshev(p_series, square, 0.0, 1.0) * scale
    return p, chebyshev(q_series, square, 0.0, 1.0) * share * scale, cos + sin, sin - cos


def _near(size: Value) -> tuple[Value, Value, Value]:
    """Whether size is below 8; size there, else 1; size elsewhere, else 8."""
    near = size < 8.0
    return near, choose(near, size, 1.0), choose(near, 8.0, size)


def _j0(x: Value) -> Value:
    near, inner, outer = _near(x.abs())
    p, q, plus, minus = _waves(0, outer)
    return choose(near, chebyshev(series.J0_SMALL, inner * inner, 0.0, 64.0), p * plus - q * minus)


def _j1(x: Value) -> Value:
    near, inner, outer = _near(x.abs())
    p, q, plus, minus = _waves(1, outer)
    value = choose(near, chebyshev(series.J1_SMALL, inner * inner, 0.0, 64.0) * inner, p * minus + q * plus)
    return choose(x.equals(0.0), x, choose(x < 0.0, -value, value))


def _y0(x: Value) -> Value:
    near, inner, outer = _near(x)
    p, q, plus, minus = _waves(0, outer)
    square = inner * inner
    small = chebyshev(series.Y0_SMALL, square, 0.0, 64.0) + inner.log() * (2 / math.pi) * chebyshev(
        series.J0_SMALL, square, 0.0, 64.0)
    return _of_positive(x, choose(near, small, p * minus + q * plus), -math.inf)


def _y1(x: Value) -> Value:
    near, inner, outer = _near(x)
    p, q, plus, minus = _waves(1, outer)
    square = inner * inner
    regular = chebyshev(series.Y1_SMALL, square, 0.0, 64.0) * inner
    logarithmic = inner.log() * chebyshev(series.J1_SMALL, square, 0.0, 64.0) * inner - 1.0 / inner
    return _of_positive(x, choose(near, regular + logarithmic * (2 / math.pi), q * minus - p * plus), -math.inf)


def _of_positive(x: Value, value: Value, at_zero: float) -> Value:
    return choose(x > 0.0, value, choose(x.equals(0.0), at_zero, math.nan))


# --- modified ones


def _scaled_k(order: int, x: Value, scaled: bool) -> Value:
    """K, or exp(x) K, above 0."""
    near = x < 2.0
    inner, outer = choose(near, x, 1.0), choose(near, 2.0, x)
    square = inner * inner
    if order == 0:
        small = chebyshev(series.K0_SMALL, square, 0.0, 4.0) - inner.log() * i0_value(inner)
    else:
        small = chebyshev(series.K1_SMALL, square, 0.0, 4.0) * inner + inner.log() * i1_value(inner) + 1.0 / inner
    large = chebyshev((series.K0_LARGE, series.K1_LARGE)[order], 1.0 / outer, 0.0, 0.5) / outer.sqrt()
    if scaled:
        small = small * inner.exp()
    else:
        large = large * (-outer).exp()
    return _of_positive(x, choose(near, small, large), math.inf)


# --- Airy, spherical


def _airy(x: Value) -> Value:
    """A series from -5 to 2, waves below, a falling exponential above."""
    below, above = x < -5.0, x > 2.0
    middle = chebyshev(series.AIRY_MIDDLE, choose(below | above, 0.0, x), -5.0, 2.0)
    z = choose(below, -x, choose(above, x, 5.0))
    zeta = z * z.sqrt() * (2 / 3)
    inverse = 1.0 / zeta
    root = z.sqrt().sqrt()
    tail = chebyshev(series.AIRY_TAIL, choose(above, inverse, 0.1), 0.0, 0.5304)
    tail = tail * (-zeta).exp() / (root * (2 * math.sqrt(math.pi)))
    square = choose(above, 0.01, inverse * inverse)
    p = chebyshev(series.AIRY_P, square, 0.0, 0.018)
    q = chebyshev(series.AIRY_Q, square, 0.0, 0.018) * inverse
    cos, sin = zeta.cos(), zeta.sin()
    wave = ((cos + sin) * p + (sin - cos) * q) * math.sqrt(0.5) / (root * math.sqrt(math.pi))
    value = choose(below, wave, choose(above, tail, middle))
    return choose(x.abs() < math.inf, value, math.nan)


def _spherical_j0(x: Value) -> Value:
    there = choose(x.equals(0.0), 1.0, x)
    return choose(x.abs().equals(math.inf), 0.0, choose(x.equals(0.0), 1.0, there.sin() / there))


BESSEL = {
    "airy_ai": _plain("airy_ai", _airy),
    "bessel_j0": _plain("bessel_j0", _j0), "bessel_j1": _plain("bessel_j1", _j1),
    "bessel_y0": _plain("bessel_y0", _y0), "bessel_y1": _plain("bessel_y1", _y1),
    "modified_bessel_i0": _plain("modified_bessel_i0", i0_value),
    "modified_bessel_i1": _plain("modified_bessel_i1", i1_value),
    "modified_bessel_k0": _plain("modified_bessel_k0", lambda x: _scaled_k(0, x, False)),
    "modified_bessel_k1": _plain("modified_bessel_k1", lambda x: _scaled_k(1, x, False)),
    "scaled_modified_bessel_k0": _plain("scaled_modified_bessel_k0", lambda x: _scaled_k(0, x, True)),
    "scaled_modified_bessel_k1": _plain("scaled_modified_bessel_k1", lambda x: _scaled_k(1, x, True)),
    "spherical_bessel_j0": _plain("spherical_bessel_j0", _spherical_j0),
}
"""By name, functions of ``torch.special``."""


# --- Hurwitz' zeta function


def _zeta(s: LazyBuffer, q: LazyBuffer) -> LazyBuffer:
    wide = double(q)
    return hurwitz(Value(s.cast(wide)), Value(q.cast(wide))).lazy.cast(q.dtype)


def _zeta_slopes(g: LazyBuffer, s: LazyBuffer, q: LazyBuffer) -> tuple[None, LazyBuffer]:
    """That by q is -s ζ(s + 1, q)."""
    above = (s.binary(Op.ADD, s.like(1.0)), q)
    value = apply(_ZETA.body.at(above, (q.dtype, (0, 1))), above)[0]
    return None, g.binary(Op.MUL, s.unary(Op.NEG)).binary(Op.MUL, value)


_ZETA, _ZETA_OF_NUMBER = [MixedFunction("special_zeta", all_fitted(_zeta), f"SpecialZetaBackward{i}", fitted_gradient(
    _zeta_slopes)) for i in (0, 1)]
_NOT_BY_ORDER = refusing(_ZETA, ((0, "the derivative for 'zeta' is not implemented."),), NotImplementedError)


def zeta(s: Any, q: Any) -> Tensor:
    """The sum over k >= 0 of (q + k)^-s for s > 1; inf at s = 1 and where q is 0, -1 …; below 0 for whole s only."""
    function = _NOT_BY_ORDER if isinstance(s, AnyTensor) else _ZETA_OF_NUMBER
    return function.mixed((s, q), floating(result_dtype((s, q))))


# --- orthogonal polynomials

RECURRENCES: dict[str, tuple[Callable[[Any], Any], Callable[[Any, int, Any, Any], Any]]] = {
    "chebyshev_polynomial_t": (lambda x: x, lambda x, k, p, q: 2 * x * q - p),
    "chebyshev_polynomial_u": (lambda x: 2 * x, lambda x, k, p, q: 2 * x * q - p),
    "chebyshev_polynomial_v": (lambda x: 2 * x - 1, lambda x, k, p, q: 2 * x * q - p),
    "chebyshev_polynomial_w": (lambda x: 2 * x + 1, lambda x, k, p, q: 2 * x * q - p),
    "hermite_polynomial_h": (lambda x: 2 * x, lambda x, k, p, q: 2 * x * q - 2 * k * p),
    "hermite_polynomial_he": (lambda x: x, lambda x, k, p, q: x * q - k * p),
    "laguerre_polynomial_l": (lambda x: 1 - x, lambda x, k, p, q: ((2 * k + 1 - x) * q - k * p) / (k + 1)),
    "legendre_polynomial_p": (lambda x: x, lambda x, k, p, q: ((2 * k + 1) * x * q - k * p) / (k + 1)),
}
"""The polynomial of degree 1, and that of degree k + 1 of those of degrees k - 1 and k; the one of degree 0 is 1."""
RECURRENCES |= {f"shifted_{name}": (lambda x, first=first: first(2 * x - 1),
                                    lambda x, k, p, q: 2 * (2 * x - 1) * q - p)
                for name, (first, _) in list(RECURRENCES.items()) if name.startswith("chebyshev")}


MOST_DEGREE = 20000
"""Each row of a LOOP is a launch, and so many take seconds."""
_RECORDED, _ROWS = 64, 16
"""So many degrees are recorded one by one: the first ones, and those of a row of a LOOP. A LOOP of more rows would need
more memory, which holds the states after each."""


@composite
def _next_degrees(x: Tensor, degree: Tensor, before: Tensor, now: Tensor, found: Tensor, starts: Tensor, *,
                  name: str) -> tuple[Tensor, ...]:
    """The polynomials of degrees k - 1 and k and those found so far, _RECORDED degrees on from each k of ``starts``."""
    following = RECURRENCES[name][1]

    def step(states: list[Tensor], rows: list[Tensor], constants: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        before, now, found = states
        x, degree = constants
        k: Any = rows[0]
        for _ in range(_RECORDED):
            before, now = now, following(x, k, before, now)
            k = k + 1
            found = now.where(degree == k, found)
        return [before, now, found], []

    states, _ = loop(step, [before, now, found], [starts], [x, degree])
    return tuple([rows[-1] for rows in states])


def orthogonal(name: str, x: Any, n: Any) -> Tensor:
    """The polynomial of degree n, a number or a Tensor (which is read), by its recurrence in float64; 0 for n < 0."""
    first, following = RECURRENCES[name]
    tensors = [v for v in (x, n) if isinstance(v, AnyTensor)]
    dtype = floating(result_dtype((x, n)))
    if dtype not in (float32, float64):
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{type_name(dtype)}'")
    x, n = [v.detach() if isinstance(v, AnyTensor) else tensors[0].new_tensor(v, dtype=dtype) for v in (x, n)]
    wide = x.to(float64)
    degree = n.trunc().long() if n.dtype.is_floating_point else n.long()
    before, now = wide * 0 + 1, first(wide)
    found = before.where(degree == 0, now).where(degree >= 0, 0.0)
    highest = int(degree.amax().item()) if degree.numel() else 0
    if highest > MOST_DEGREE:
        raise NotImplementedError(f"{name}: a degree of {highest}; at most {MOST_DEGREE} steps of the recurrence are "
                                  "computed")
    for k in range(1, min(highest, _RECORDED)):
        before, now = now, following(wide, k, before, now)
        found = now.where(degree == k + 1, found)
    k = _RECORDED
    while k < highest:
        rows = min(_ROWS, 1 << ((highest - k - 1) // _RECORDED).bit_length())
        starts = (arange(rows, dtype=float64, device=wide.device) * _RECORDED + k).realize()
        before, now, found = _next_degrees(wide, degree, before, now, found, starts, name=name)
        found.realize()
        k += rows * _RECORDED
    return found.to(dtype)
