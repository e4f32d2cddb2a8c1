"""Stage: tests. In: kernels and arrays. Out: that the interpreter computes what NumPy says, and stops at what no kernel
may do. Next: ``tests/unit/render``, which holds the renderers to it."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from minigrad.dtype import float32, float64, int64
from minigrad.kernel.compute import apply, scalar_value
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import Alloc, Array, Barrier, Fold, LetIndex, Load, Local, Scalar, Store
from minigrad.symbolic import num, var
from tests.unit.render.samples import (
    F,
    f,
    gather,
    guarded,
    kernel,
    map_with_tail,
    matmul,
    op,
    out,
    random_arrays,
    row_sum,
    softmax_like,
)

I = var("i", 0, 3)


def run(made, rng, scalars=()):
    arrays = random_arrays(made, rng)
    interpret(made, arrays, scalars)
    return arrays


def test_kernels_compute_what_numpy_says(rng):
    x, y = run(map_with_tail(), rng)
    assert np.allclose(y, np.maximum(2 * x + 1, 0))
    x, y = run(guarded(), rng)
    padded = np.zeros((7, 32), np.float32)
    padded[1:6, 3:19] = x.reshape(5, 16)
    assert np.array_equal(y.reshape(7, 32), padded + 1)
    x, index, y = run(gather(), rng)
    assert np.array_equal(y.reshape(7, 8), x.reshape(5, 8)[np.clip(index, 0, 4)])
    x, y = run(row_sum(), rng)
    assert np.allclose(y, x.reshape(10, 133).sum(1), atol=1e-4)
    a, b, c = run(matmul(), rng)
    assert np.allclose(c.reshape(8, 64), a.reshape(8, 24) @ b.reshape(24, 64), atol=1e-4)
    x, y = run(softmax_like(), rng, (0.3, 2))
    rows = x.reshape(6, 40)
    e = 1 / ((0.3 * (rows - rows.max(1, keepdims=True))) ** 2 + 2)
    assert np.allclose(y.reshape(6, 40), e / e.sum(1, keepdims=True), atol=1e-6)


def test_arrays_go_by_name_too():
    x = out("x", 4)
    memory = np.arange(4, dtype=np.float32)
    interpret(kernel("k", (x,), I, 4, Store(x, I, op("NEG", Load(x, I)))), {"x": memory}, begin=2)
    assert memory.tolist() == [0, 1, -2, -3]


def test_what_no_kernel_may_do_is_caught():
    x = out("x", 4)
    four = np.zeros(4, np.float32)

    def check(error, message, *body, arrays=(x,), given=(four,), scalars=()):
        with pytest.raises(error, match=message):
            interpret(kernel("k", arrays, I, 4, *body), list(given), scalars)

    check(IndexError, r"x\[4\] is outside the array's 0..3", Store(x, I + 1, f(1.0)))
    check(IndexError, r"x\[-1\] is outside", Store(x, I, Load(x, I - 1)))
    scratch, register = Array("s", F, 4, "scratch"), Array("r", F, 2, "register")
    check(ValueError, r"s\[0\] is read but was never set", Alloc(scratch), Store(x, I, Load(scratch, I)))
    check(ValueError, "Fold reads elements of r that were never set", Alloc(register), Store(register, num(0), f(1.0)),
          Fold("t", register, "ADD"), Store(x, I, Local("t", F)))
    check(ValueError, "kernel k has a barrier", Barrier())
    check(ValueError, "takes 1 arrays and 0 scalars, got 2 and 0", given=(four, four))
    check(ValueError, "array x should be 4 contiguous float32, got float64", given=(four.astype(np.float64),))
    check(ValueError, "array x should be 4 contiguous float32", given=(np.zeros(8, np.float32)[::2],))


def test_a_promised_range_is_held():
    x, n, at = out("x", 4), Scalar("n", int64, 0), var("at", 0, 1)
    made = kernel("k", (x,), I, 4, LetIndex(at, n), Store(x, at, f(1.0)), scalars=(n,))
    with pytest.raises(IndexError, match=r"index at is 5, outside its promised range 0..1"):
        interpret(made, [np.zeros(4, np.float32)], [5])


def test_fma_rounds_once(rng):
    for dtype, kind in ((float32, np.float32), (float64, np.float64)):
        a, b, c = (rng.standard_normal(300).astype(kind) for _ in range(3))
        c[:100] = -(a * b)[:100]  # what is left is what the product's rounding took away
        got = apply("FMA", [a, b, c], dtype)
        for x, y, z, r in zip(a.tolist(), b.tolist(), c.tolist(), got.tolist()):
            exact = Fraction(x) * Fraction(y) + Fraction(z)
            down, up = np.nextafter(kind(r), kind(-np.inf)), np.nextafter(kind(r), kind(np.inf))
            assert abs(exact - Fraction(r)) <= min(abs(exact - Fraction(float(down))), abs(exact - Fraction(float(up))))


def test_fma_does_not_round_to_float64_on_the_way():
    """The product and 2^-90 make a number just above the middle of two float32; float64 cannot hold it."""
    one = np.float32([1.0])
    a, b, c = one + np.float32(2**-12), one + np.float32(2**-12), np.float32([2**-90])
    exact = Fraction(float(a[0])) ** 2 + Fraction(float(c[0]))
    assert exact - (1 + Fraction(1, 2**11)) > Fraction(1, 2**24)
    assert apply("FMA", [a, b, c], float32)[0] == np.float32(1 + 2**-11 + 2**-23)
    assert apply("FMA", [np.float32([3e38])] * 2 + [np.float32([-np.inf])], float32)[0] == -np.inf
    assert np.isnan(apply("FMA", [np.float32([np.inf]), np.float32([0]), one], float32)[0])


def test_maximum_of_equal_numbers_is_the_first_and_nan_wins():
    zero, minus, nan = np.float32([0.0]), np.float32([-0.0]), np.float32([np.nan])
    assert not np.signbit(apply("MAXIMUM", [zero, minus], float32))[0]
    assert np.signbit(apply("MINIMUM", [minus, zero], float32))[0]
    for name in ("MAXIMUM", "MINIMUM"):
        assert np.isnan(apply(name, [zero, nan], float32))[0] and np.isnan(apply(name, [nan, zero], float32))[0]


def test_scalars_are_cast_to_their_dtype():
    assert scalar_value(Scalar("a", float32, 0), 0.1)[0] == np.float32(0.1)
    assert scalar_value(Scalar("a", int64, 0), -3)[0] == -3
