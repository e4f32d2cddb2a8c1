"""Stage: front. In: complex values. Out: functions of them, exp, log, sqrt, sin, asin, pow …, as formulas over their
real and imaginary parts, and their derivatives. A Function is looked up here by its name when it is first traced for a
complex operand, so that programs without complex numbers load nothing of this.
Next: ``reduce.py``.

Branch cuts and signs of zero are those of C99 and NumPy. Numbers whose parts are float32 are computed in float64, where
squares do not overflow, and rounded at the end. The gradient of z = a + bi is ∂L/∂a + i·∂L/∂b, as in PyTorch: for a
function with the complex derivative f' it is g·conj(f'(z)).
(https://docs.pytorch.org/docs/stable/notes/autograd.html#autograd-for-complex-numbers; W. Kahan, "Branch cuts for
complex elementary functions", 1987)"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.dtype import complex128
from minigrad.graph.function import apply
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.circular import _ASINH, _COSH, _SINH
from minigrad.tensor.formula import Value, called, choose
from minigrad.tensor.function import Function
from minigrad.tensor.functions import slope
from minigrad.tensor.pairs import copysign_value
from minigrad.tensor.special_pairs import angle_value

Complex = tuple[Value, Value]
"""The real and the imaginary part."""
Formula = Callable[..., Complex]


def parts_of(z: LazyBuffer) -> Complex:
    """The parts of a complex value."""
    return Value(z.real()), Value(z.imag())


def joined(z: Complex) -> LazyBuffer:
    """The complex value with these parts."""
    return z[0].lazy.with_imag(z[1].lazy)


def _copysign(size: Any, sign: Value) -> Value:
    """``size``, a Value or number, with the sign of another value."""
    given = size if isinstance(size, Value) else Value(sign.lazy.like(size))
    return Value(copysign_value(given.lazy, sign.lazy))


def _is_infinite(x: Value) -> Value:
    return x.abs().equals(math.inf)


def _is_finite(x: Value) -> Value:
    return x.abs() < math.inf


def _times(z: Complex, w: Complex) -> Complex:
    (a, b), (c, d) = z, w
    return a * c - b * d, a * d + b * c


def _scaled(z: Complex, by: float) -> Complex:
    return z[0] * by, z[1] * by


def _turned(z: Complex) -> Complex:
    """i·z."""
    return -z[1], z[0]


def _turned_back(z: Complex) -> Complex:
    """-i·z."""
    return z[1], -z[0]


# --- magnitude


def magnitude(z: LazyBuffer) -> LazyBuffer:
    """|z|, which overflows only where the result does."""
    a, b = parts_of(z.cast(complex128))
    return _length(a, b, narrow=z.dtype is not complex128).lazy.cast(z.dtype.part)


def _length(a: Value, b: Value, narrow: bool = False) -> Value:
    """The larger part times sqrt(1 + ratio²); of ``narrow`` numbers no square can overflow."""
    if narrow:
        length = (a * a + b * b).sqrt()
    else:
        steep = b.abs() > a.abs()
        large, small = choose(steep, b.abs(), a.abs()), choose(steep, a.abs(), b.abs())
        ratio = small / choose(large.equals(0.0) | _is_infinite(large), 1.0, large)
        length = choose(large.equals(0.0), large, large * (ratio * ratio + 1.0).sqrt())
    known = choose(a.equals(a) & b.equals(b), length, math.nan)
    return choose(_is_infinite(a) | _is_infinite(b), math.inf, known)


# --- exponentials and logarithms


_LARGE = 700.0
"""Beyond, exp may overflow although its product with a cosine does not; it is computed in two factors."""


def _exp(z: Complex) -> Complex:
    a, b = z
    large = a > _LARGE
    size = choose(large, a - _LARGE, a).exp()
    nowhere = ~_is_finite(b)
    vanished, unbounded = a.equals(-math.inf) & nowhere, a.equals(math.inf) & nowhere
    rest = choose(large, math.exp(_LARGE), 1.0)
    real = choose(vanished, 0.0, choose(unbounded, math.inf, size * b.cos() * rest))
    return real, choose(vanished, 0.0, choose(b.equals(0.0), b, size * b.sin() * rest))


def _log(z: Complex) -> Complex:
    """Near |z| = 1 by log1p, which keeps the digits."""
    a, b = z
    steep = b.abs() > a.abs()
    large, small = choose(steep, b.abs(), a.abs()), choose(steep, a.abs(), b.abs())
    near = (large > 0.5) & (large < 2.0)
    x, y = choose(near, large, 1.0), choose(near, small, 0.0)
    close = ((x - 1.0) * (x + 1.0) + y * y).log1p() * 0.5
    return choose(near, close, _length(a, b).log()), angle_value(b, a)


def _log1p(z: Complex) -> Complex:
    a, b = z
    small = (a.abs() < 0.5) & (b.abs() < 0.5)
    x, y = choose(small, a, 0.0), choose(small, b, 0.0)
    whole = _log((a + 1.0, b))
    near = choose(x.equals(0.0) & y.equals(0.0), x, (x * (x + 2.0) + y * y).log1p() * 0.5)
    return choose(small, near, whole[0]), whole[1]


def _expm1(z: Complex) -> Complex:
    a, b = z
    half = (b * 0.5).sin()
    real, imag = _exp(z)
    return choose(_is_finite(a) & _is_finite(b), a.expm1() * b.cos() - half * half * 2.0, real - 1.0), imag


def _sqrt(z: Complex) -> Complex:
    a, b = z
    root = (_length(a * 0.5, b * 0.5) + a.abs() * 0.5).sqrt()
    other = b.abs() / choose(root.equals(0.0), 1.0, root * 2.0)
    right = ~(a < 0.0)
    real, imag = choose(right, root, other), choose(right, _copysign(other, b), _copysign(root, b))
    level, steep = _is_infinite(a), _is_infinite(b)
    real = choose(steep, math.inf, choose(level & ~b.equals(b), choose(right, math.inf, b), choose(
        level, choose(right, math.inf, 0.0), real)))
    imag = choose(steep, b, choose(level & b.equals(b), choose(right, _copysign(0.0, b), _copysign(math.inf, b)), imag))
    return real, imag


def _pow(z: Complex, w: Complex) -> Complex:
    """e^(w·log z)."""
    return _exp(_times(w, _log(z)))


def _logaddexp(z: Complex, w: Complex) -> Complex:
    """log(e^z + e^w), from the one with the larger real part. Two that are 0, with real parts of -inf, give the second;
    two infinities what they add up to. Both parts are NaN if any is."""
    first = ~(z[0] < w[0])
    (a, b), (c, d) = [[choose(first, p, q) for p, q in zip(x, y, strict=True)] for x, y in ((z, w), (w, z))]
    real, imag = _log1p(_exp((c - a, d - b)))
    level = a.equals(c) & _is_infinite(a)
    (p, q), (r, s) = _exp(z), _exp(w)
    ends = _log((p + r, q + s))
    real, imag = choose(level, choose(a < 0.0, a, ends[0]), a + real), choose(
        level, choose(a < 0.0, choose(first, w[1], z[1]), ends[1]), b + imag)
    numbers = a.equals(a) & b.equals(b) & c.equals(c) & d.equals(d)
    return choose(numbers, real, math.nan), choose(numbers, imag, math.nan)


# --- circular and hyperbolic functions


def _zero_kept(x: Value, made: Value) -> Value:
    """``made`` from x, or x itself where that is a zero, whose sign stays."""
    return choose(x.equals(0.0), x, made)


def _hyperbolic(a: Value) -> tuple[Value, Value, Value]:
    """sinh(a) and cosh(a), both without a factor, which comes third: see ``_LARGE``."""
    large = a.abs() > _LARGE
    far = (a.abs() - _LARGE).exp()
    return (choose(large, _copysign(far, a), called(_SINH, a)), choose(large, far, called(_COSH, a)),
            choose(large, math.exp(_LARGE) / 2, 1.0))


def _sinh(z: Complex) -> Complex:
    a, b = z
    (sinh, cosh, rest), sine = _hyperbolic(a), _zero_kept(b, b.sin())
    lost = (a.equals(0.0) | _is_infinite(a)) & ~_is_finite(b)
    return choose(lost, a, sinh * b.cos() * rest), choose(b.equals(0.0), b, cosh * sine * rest)


def _cosh(z: Complex) -> Complex:
    a, b = z
    (sinh, cosh, rest), sine = _hyperbolic(a), _zero_kept(b, b.sin())
    real = choose(_is_infinite(a) & ~_is_finite(b), a.abs(), cosh * b.cos() * rest)
    level = (b.equals(0.0) & ~_is_finite(sinh)) | (a.equals(0.0) & ~_is_finite(b))
    return real, choose(level, _copysign(0.0, a) * _copysign(1.0, b), sinh * sine * rest)


def _sin(z: Complex) -> Complex:
    return _turned_back(_sinh(_turned(z)))


def _cos(z: Complex) -> Complex:
    return _cosh(_turned(z))


def _tanh(z: Complex) -> Complex:
    """With t = tan b and s = sinh a: (s·sqrt(1 + s²)·(1 + t²) + it) / (1 + (1 + t²)s²); far out ±1."""
    a, b = z
    far = a.abs() > 20.0
    near, sine, cosine = choose(far, 0.0, a), b.sin(), b.cos()
    t, s = sine / cosine, called(_SINH, near)
    beta = t * t + 1.0
    below = beta * s * s + 1.0
    real = choose(a.equals(0.0), a, choose(far, _copysign(1.0, a), beta * (s * s + 1.0).sqrt() * s / below))
    fading = (a.abs() * -2.0).exp()
    outside = choose(fading.equals(0.0), _copysign(0.0, sine * cosine), sine * cosine * 4.0 * fading)
    lost = far & _is_finite(a) & ~_is_finite(b)
    imag = choose(b.equals(0.0), b, choose(far, outside, t / below))
    return choose(lost, math.nan, real), choose(lost, math.nan, imag)


def _tan(z: Complex) -> Complex:
    return _turned_back(_tanh(_turned(z)))


# --- their inverses


def _roots(z: Complex) -> tuple[Complex, Complex]:
    """sqrt(1 - z) and sqrt(1 + z)."""
    a, b = z
    return _sqrt((1.0 - a, -b)), _sqrt((a + 1.0, b))


def _asin(z: Complex) -> Complex:
    (p, q), (r, s) = _roots(z)
    a, b = z
    far, lost = _is_infinite(a) | _is_infinite(b), ~b.equals(b)
    real = angle_value(a, choose(far, b.abs(), p * r - q * s))
    imag = _copysign(called(_ASINH, (p * s - q * r).abs()), b)
    return choose(lost & a.equals(0.0), a, real), choose(lost & _is_infinite(a), math.inf, imag)


def _acos(z: Complex) -> Complex:
    (p, q), (r, s) = _roots(z)
    a, b = z
    far, lost = _is_infinite(a) | _is_infinite(b), ~b.equals(b)
    real = choose(far, angle_value(b.abs(), a), angle_value(p, r) * 2.0)
    imag = _copysign(called(_ASINH, (r * q - s * p).abs()), -b)
    return choose(lost & a.equals(0.0), math.pi / 2, real), choose(lost & _is_infinite(a), -math.inf, imag)


def _acosh(z: Complex) -> Complex:
    (p, q), (r, s) = _sqrt((z[0] - 1.0, z[1])), _sqrt((z[0] + 1.0, z[1]))
    a, b = z
    far = _is_infinite(a) | _is_infinite(b)
    imag = choose(far, angle_value(b, a), angle_value(q, r) * 2.0)
    return (choose(far, math.inf, called(_ASINH, p * r + q * s)),
            choose(~b.equals(b) & a.equals(0.0), math.pi / 2, imag))


def _asinh(z: Complex) -> Complex:
    return _turned_back(_asin(_turned(z)))


def _atanh(z: Complex) -> Complex:
    a, b = z
    far = _is_infinite(a) | _is_infinite(b)
    size, inner = choose(far, 0.0, a.abs()), choose(far, 1.0, b)
    below = (1.0 - size) * (1.0 - size) + inner * inner
    real = (size * 4.0 / choose(below.equals(0.0), 1.0, below)).log1p() * 0.25
    close = (math.log(2.0) - choose(inner.equals(0.0), 1.0, inner.abs()).log()) * 0.5  # where the squares underflow
    real = choose(below.equals(0.0), choose(inner.equals(0.0), math.inf, close), real)
    length = _length(size, inner)
    real = choose(length > 1e150, size / length / length, real)  # where they overflow
    angle = angle_value(inner * 2.0, (1.0 - size) * (size + 1.0) - inner * inner) * 0.5
    real = _copysign(choose(far | a.equals(0.0), 0.0, real), a)
    return real, choose(b.equals(b), choose(far, _copysign(math.pi / 2, b), angle), math.nan)


def _atan(z: Complex) -> Complex:
    return _turned_back(_atanh(_turned(z)))


# --- the table


def _one_over(z: LazyBuffer) -> LazyBuffer:
    return z.like(1.0).binary(Op.DIV, z)


def _computed(formula: Formula) -> Callable[..., LazyBuffer]:
    """The formula as one over complex values, rounded once."""

    def compute(*operands: LazyBuffer) -> LazyBuffer:
        return joined(formula(*[parts_of(z.cast(complex128)) for z in operands])).cast(operands[0].dtype)

    return compute


def _plus(z: LazyBuffer, number: float) -> LazyBuffer:
    return z.binary(Op.ADD, z.like(number))


def _by(z: LazyBuffer, number: float) -> LazyBuffer:
    return z.binary(Op.MUL, z.like(number))


def _less_square(z: LazyBuffer, sign: float = -1.0) -> LazyBuffer:
    """1 - z², or 1 + z²."""
    return _plus(_by(z.binary(Op.MUL, z), sign), 1.0)


def _rsqrt(z: LazyBuffer) -> LazyBuffer:
    return _one_over(_computed(_sqrt)(z))


def _one_and_exp(z: LazyBuffer) -> LazyBuffer:
    """1 + e^-z."""
    return _plus(_computed(_exp)(z.unary(Op.NEG)), 1.0)


def _sigmoid(z: LazyBuffer) -> LazyBuffer:
    return _one_over(_one_and_exp(z))


def _silu_slope(z: LazyBuffer, out: LazyBuffer) -> LazyBuffer:
    """s·(1 + z·(1 - s)) with s = sigmoid(z)."""
    s = _sigmoid(z)
    return s.binary(Op.MUL, _plus(z.binary(Op.MUL, _plus(s.unary(Op.NEG), 1.0)), 1.0))


def _sinc(z: LazyBuffer) -> tuple[LazyBuffer, LazyBuffer]:
    """sin(πz)/(πz), 1 at 0, and its derivative."""
    zero, turns = z.binary(Op.EQ, z.like(0.0)), _by(z, math.pi)
    value = zero.where(z.like(1.0), _computed(_sin)(turns).binary(Op.DIV, zero.where(z.like(1.0), turns)))
    slope = _computed(_cos)(turns).binary(Op.SUB, value).binary(Op.DIV, zero.where(z.like(1.0), z))
    return value, zero.where(z.like(0.0), slope)


Row = tuple[Callable[..., LazyBuffer], Callable[[LazyBuffer, LazyBuffer], LazyBuffer]]
FUNCTIONS: dict[str, Row] = {
    "exp": (_computed(_exp), lambda z, out: out),
    "exp2": (_computed(lambda z: _exp(_scaled(z, math.log(2.0)))), lambda z, out: _by(out, math.log(2.0))),
    "expm1": (_computed(_expm1), lambda z, out: _plus(out, 1.0)),
    "log": (_computed(_log), lambda z, out: _one_over(z)),
    "log2": (_computed(lambda z: _scaled(_log(z), 1 / math.log(2.0))), lambda z, out: _one_over(_by(z, math.log(2.0)))),
    "log10": (_computed(lambda z: _scaled(_log(z), 1 / math.log(10.0))),
              lambda z, out: _one_over(_by(z, math.log(10.0)))),
    "log1p": (_computed(_log1p), lambda z, out: _one_over(_plus(z, 1.0))),
    "sqrt": (_computed(_sqrt), lambda z, out: _one_over(_by(out, 2.0))),
    "rsqrt": (_rsqrt, lambda z, out: _by(out.binary(Op.MUL, out).binary(Op.MUL, out), -0.5)),
    "sigmoid": (_sigmoid, lambda z, out: out.binary(Op.MUL, _plus(out.unary(Op.NEG), 1.0))),
    "silu": (lambda z: z.binary(Op.DIV, _one_and_exp(z)), _silu_slope),
    "sinc": (lambda z: _sinc(z)[0], lambda z, out: _sinc(z)[1]),
    "sin": (_computed(_sin), lambda z, out: _computed(_cos)(z)),
    "cos": (_computed(_cos), lambda z, out: _computed(_sin)(z).unary(Op.NEG)),
    "tan": (_computed(_tan), lambda z, out: _less_square(out, 1.0)),
    "sinh": (_computed(_sinh), lambda z, out: _computed(_cosh)(z)),
    "cosh": (_computed(_cosh), lambda z, out: _computed(_sinh)(z)),
    "tanh": (_computed(_tanh), lambda z, out: _less_square(out)),
    "asin": (_computed(_asin), lambda z, out: _rsqrt(_less_square(z))),
    "acos": (_computed(_acos), lambda z, out: _rsqrt(_less_square(z)).unary(Op.NEG)),
    "atan": (_computed(_atan), lambda z, out: _one_over(_less_square(z, 1.0))),
    "asinh": (_computed(_asinh), lambda z, out: _rsqrt(_less_square(z, 1.0))),
    "acosh": (_computed(_acosh), lambda z, out: _one_over(_computed(_sqrt)(_plus(z, -1.0)).binary(
        Op.MUL, _computed(_sqrt)(_plus(z, 1.0))))),
    "atanh": (_computed(_atanh), lambda z, out: _one_over(_less_square(z))),
}
"""By the name of a Function: its value, and its derivative from the operand and the value."""


# --- for other files


def _pow_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                  grads: Sequence[LazyBuffer]) -> tuple[LazyBuffer, LazyBuffer]:
    """g·conj(w·z^(w - 1)), 0 where w is 0; g·conj(z^w·log z), g·0 where z is 0 and w real and not negative."""
    z, w = inputs
    zero = z.like(0.0)
    slope = w.binary(Op.MUL, _computed(_pow)(z, _plus(w, -1.0)))
    negative = w.real().binary(Op.LT, zero.real())
    level = z.binary(Op.EQ, zero).binary(Op.AND, w.imag().binary(Op.EQ, zero.real())).binary(
        Op.AND, negative.unary(Op.NOT))
    log = FUNCTIONS["log"][0](level.where(z.like(1.0), z))
    return (w.binary(Op.EQ, zero).where(zero, grads[0].binary(Op.MUL, slope.conj())),
            grads[0].binary(Op.MUL, level.where(zero, outputs[0].binary(Op.MUL, log).conj())))


_POW = Function("pow", _computed(_pow), "PowBackward1", _pow_gradient)
_SQRT = Function("sqrt", FUNCTIONS["sqrt"][0], "SqrtBackward0",
                 slope(lambda g, z, out: g.binary(Op.DIV, _by(out, 2.0))))


def pow(z: LazyBuffer, w: LazyBuffer) -> LazyBuffer:
    """z^w, of one shape and type; a node with a gradient of its own."""
    return apply(_POW.body.at([z, w]), [z, w])[0]


def _logaddexp_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                        grads: Sequence[LazyBuffer]) -> list[LazyBuffer]:
    """g·conj(e^(z - out)), and likewise of w."""
    return [grads[0].binary(Op.MUL, _computed(_exp)(x.binary(Op.SUB, outputs[0])).conj()) for x in inputs]


_LOGADDEXP = Function("logaddexp", _computed(_logaddexp), "LogaddexpBackward0", _logaddexp_gradient)


def logaddexp(z: LazyBuffer, w: LazyBuffer) -> LazyBuffer:
    """log(e^z + e^w), of one shape and type; a node with a gradient of its own."""
    return apply(_LOGADDEXP.body.at([z, w]), [z, w])[0]


def sqrt(z: LazyBuffer) -> LazyBuffer:
    """The square root with a real part that is not negative; a node with a gradient of its own."""
    return apply(_SQRT.body.at([z]), [z])[0]


def direction(z: LazyBuffer) -> LazyBuffer:
    """z/|z|, and 0 at 0."""
    return times_direction(None, z, magnitude(z))


def times_direction(g: LazyBuffer | None, z: LazyBuffer, size: LazyBuffer) -> LazyBuffer:
    """g·z/|z| for a real g, and 0 at 0."""
    zero = size.binary(Op.EQ, size.like(0.0))
    below = zero.where(size.like(1.0), size)
    parts = [p.binary(Op.DIV, below) for p in (z.real(), z.imag())]
    if g is not None:
        parts = [g.binary(Op.MUL, p) for p in parts]
    real, imag = [zero.where(p.like(0.0), p) for p in parts]
    return real.with_imag(imag)


def angle(z: LazyBuffer) -> LazyBuffer:
    """The angle with the positive real axis."""
    a, b = parts_of(z.cast(complex128))
    return angle_value(b, a).lazy.cast(z.dtype.part)


def turned_by(g: LazyBuffer, z: LazyBuffer) -> LazyBuffer:
    """The gradient g of the angle as one of z: g·i·z/|z|², and 0 at 0."""
    size = magnitude(z)
    found = times_direction(g, z, size)
    below = size.binary(Op.EQ, size.like(0.0)).where(size.like(1.0), size)
    return found.imag().unary(Op.NEG).binary(Op.DIV, below).with_imag(found.real().binary(Op.DIV, below))


def across(g: LazyBuffer, z: LazyBuffer, unit: LazyBuffer) -> LazyBuffer:
    """The gradient g of u = z/|z| as one of z: (g - u·Re(conj(u)·g)) / |z|, and 0 at 0."""
    size = magnitude(z)
    zero = size.binary(Op.EQ, size.like(0.0))
    below = zero.where(size.like(1.0), size)
    (c, d), (x, y) = (g.real(), g.imag()), (unit.real(), unit.imag())
    along = x.binary(Op.MUL, c).binary(Op.ADD, y.binary(Op.MUL, d))
    parts = [zero.where(size.like(0.0), p.binary(Op.SUB, q.binary(Op.MUL, along)).binary(Op.DIV, below))
             for p, q in ((c, x), (d, y))]
    return parts[0].with_imag(parts[1])
