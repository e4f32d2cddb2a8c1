"""Stage: front. In: two LazyBuffers of one dtype and shape. Out: their quotient rounded down or towards zero, the
remainders of both, exact for all integers and for zeros with a sign.
Next: ``operators.py``."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.dtype import bool_, int16, int32, int64
from minigrad.graph.function import apply
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor.function import Function

INTEGER_OF_SIZE = {2: int16, 4: int32, 8: int64}
"""The signed type whose bits are those of a floating type of so many bytes."""


def sign_bit(x: LazyBuffer) -> LazyBuffer:
    """Whether the sign of each element is minus, of -0.0 and NaN too."""
    if x.dtype.kind in "bu":
        return x.cast(bool_).like(False)
    bits = x.bitcast(INTEGER_OF_SIZE[x.dtype.size]) if x.dtype.kind == "f" else x
    return bits.binary(Op.LT, bits.like(0))


def _correction(x: LazyBuffer, y: LazyBuffer) -> tuple[LazyBuffer, LazyBuffer]:
    """The remainder with the sign of the divisor, and where that with the sign of the dividend is another."""
    rest = x.binary(Op.MOD, y)
    differs = sign_bit(x).binary(Op.XOR, sign_bit(y))
    return rest, differs.binary(Op.AND, rest.binary(Op.EQ, rest.like(0)).unary(Op.NOT))


_TRUNCATED = Function("truncated", lambda x, y: x.binary(Op.DIV, y).unary(Op.TRUNC), "DivBackward1",
                      lambda inputs, outputs, grads: (None, None))
"""Its slope is 0 by a divisor of 0 too, where that of the quotient is infinite."""


def truncated(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    """x / y without its fraction. Of integers: the quotient that was rounded down, plus 1 where it was not exact and
    negative. No magnitude is taken: that of the smallest integer does not exist."""
    if x.dtype.kind == "f":
        return apply(_TRUNCATED.body.at([x, y]), [x, y])[0]
    down = x.binary(Op.FLOORDIV, y)
    if x.dtype.kind == "u":
        return down
    return down.binary(Op.ADD, _correction(x, y)[1].cast(x.dtype))


def _floored_halves(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    """x / y rounded down, each step rounded to halves, as PyTorch's kernel does it, which follows CPython: the
    remainder is taken off first, so that the quotient is nearly whole."""
    zero, one = x.like(0.0), x.like(1.0)
    plain, rest = x.binary(Op.DIV, y), fmod(x, y)
    quotient = x.binary(Op.SUB, rest).binary(Op.DIV, y)
    opposite = y.binary(Op.LT, zero).binary(Op.XOR, rest.binary(Op.LT, zero))
    exact = rest.binary(Op.EQ, zero)
    quotient = opposite.binary(Op.AND, exact.unary(Op.NOT)).where(quotient.binary(Op.SUB, one), quotient)
    down = quotient.unary(Op.FLOOR)
    missed = x.like(0.5).binary(Op.LT, quotient.binary(Op.SUB, down))
    down = missed.where(down.binary(Op.ADD, one), down)
    down = quotient.binary(Op.EQ, zero).where(plain.binary(Op.MUL, zero), down)
    return y.binary(Op.EQ, zero).where(plain, down)


_FLOORED_HALVES = Function("floored", _floored_halves, "DivBackward1", lambda inputs, outputs, grads: (None, None))


def floored(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    """x / y rounded down."""
    if x.dtype.kind != "f" or x.dtype.size != 2:
        return x.binary(Op.FLOORDIV, y)
    return apply(_FLOORED_HALVES.body.at([x, y]), [x, y])[0]


def _fmod(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    """x - y * truncated(x, y), with the sign of x. Floats are taken by their magnitudes, for which MOD is exact."""
    if x.dtype.kind == "u":
        return x.binary(Op.MOD, y)
    if x.dtype.kind == "i":
        rest, corrected = _correction(x, y)
        return corrected.where(rest.binary(Op.SUB, y), rest)
    rest = x.unary(Op.ABS).binary(Op.MOD, y.unary(Op.ABS))
    return sign_bit(x).where(rest.unary(Op.NEG), rest)


def _fmod_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                   grads: Sequence[LazyBuffer | None]) -> tuple[LazyBuffer | None, ...]:
    """∂x = g, ∂y = -g * truncated(x, y)."""
    g, (x, y) = grads[0], inputs
    return (None, None) if g is None else (g, g.unary(Op.NEG).binary(Op.MUL, truncated(x, y)))


def _remainder(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    """x - y * floored(x, y), with the sign of y; but where it is 0, with that of x."""
    rest = x.binary(Op.MOD, y)
    zero = rest.like(0.0)
    return rest.binary(Op.EQ, zero).where(x.binary(Op.MUL, zero), rest)


def _remainder_gradient(inputs: Sequence[LazyBuffer], outputs: Sequence[LazyBuffer],
                        grads: Sequence[LazyBuffer | None]) -> tuple[LazyBuffer | None, ...]:
    """∂x = g, ∂y = -g * floored(x, y)."""
    g, (x, y) = grads[0], inputs
    return (None, None) if g is None else (g, g.unary(Op.NEG).binary(Op.MUL, floored(x, y)))


_REMAINDER = Function("remainder", _remainder, "RemainderBackward1", _remainder_gradient)
_FMOD = Function("fmod", _fmod, "FmodBackward1", _fmod_gradient)


def fmod(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    """C's remainder: it has the sign of x, also where it is 0."""
    return apply(_FMOD.body.at([x, y]), [x, y])[0]


def remainder(x: LazyBuffer, y: LazyBuffer) -> LazyBuffer:
    """Python's remainder: it has the sign of y."""
    return x.binary(Op.MOD, y) if x.dtype.kind != "f" else apply(_REMAINDER.body.at([x, y]), [x, y])[0]
