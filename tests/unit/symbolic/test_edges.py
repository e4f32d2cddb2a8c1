"""Conditions and bounds at every small constant: the off-by-one places that random expressions seldom hit."""

from __future__ import annotations

import itertools

import pytest

from minigrad.symbolic import Sym, both, eq, evaluate, var
from minigrad.symbolic.expression import digest

i, j, c = var("i", 0, 7), var("j", 0, 4), var("c", -4, 5)
SMALL = range(-6, 14)


@pytest.mark.parametrize("e", [i, i + j, c, 2 * i - c], ids=str)
def test_two_bounds(e: Sym) -> None:
    for low, high in itertools.product(SMALL, SMALL):
        inside = both(e > low, e < high)
        for a, b, d in itertools.product(range(0, 8, 3), range(0, 5, 2), range(-4, 6, 3)):
            values = {"i": a, "j": b, "c": d}
            assert evaluate(inside, values) == (low < evaluate(e, values) < high), (low, high)


@pytest.mark.parametrize("divisor", [2, 3, 4])
def test_comparisons_of_quotients_and_flat_indices(divisor: int) -> None:
    for limit in SMALL:
        quotient, flat = (c - 1) // divisor, divisor * i + j
        conditions = [quotient < limit, quotient > limit, eq(quotient, limit)]
        conditions += [flat < limit, flat > limit, eq(flat, limit), eq(flat, divisor * c + limit)]
        for a, b, d in itertools.product(range(8), range(5), range(-4, 6)):
            q, f = (d - 1) // divisor, divisor * a + b
            want = [q < limit, q > limit, q == limit, f < limit, f > limit, f == limit, f == divisor * d + limit]
            got = [evaluate(p, {"i": a, "j": b, "c": d}) for p in conditions]
            assert got == want, (conditions, a, b, d)


@pytest.mark.parametrize("low", range(-3, 3))
@pytest.mark.parametrize("high", range(-1, 5))
def test_bounds_of_division_by_an_expression(low: int, high: int) -> None:
    if low >= high:
        return
    w = var("w", low, high)
    for a in (i, c, 3 * c - 7):
        for e in (a // w, a % w):
            for b, d, n in itertools.product(range(8), range(-4, 6), [n for n in range(low, high + 1) if n]):
                values = {"i": b, "c": d, "w": n}
                assert e.lo <= evaluate(e, values) <= e.hi
                numerator = evaluate(a, values)
                assert evaluate(e, values) == (numerator // n if e is a // w else numerator % n)


def test_digests_tell_minus_one_from_minus_two() -> None:
    assert digest(i - 1) != digest(i - 2) and digest(j - i) != digest(j - 2 * i)
    assert digest(var("v", -1, 5)) != digest(var("v", -2, 5))
