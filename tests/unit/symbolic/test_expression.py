"""What is not rewriting in ``minigrad.symbolic``: identity, text, errors, queries, the grammar's renderer."""

from __future__ import annotations

import copy
import functools
import gc
import itertools
import math
import pickle
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

from minigrad.symbolic import (
    KINDS,
    Sym,
    as_sym,
    both,
    children,
    coefficient,
    eq,
    evaluate,
    is_condition,
    linear,
    maximum,
    minimum,
    negate,
    num,
    split,
    substitute,
    text,
    var,
    variables,
)
from minigrad.symbolic.expression import _TABLE

i, j, c, size = var("i", 0, 7), var("j", 0, 3), var("c", -4, 3), var("size", 2, 9)
ONE_OF_EACH = {
    "num": num(3), "var": i, "sum": 4 * i + j + 1, "product": i * j, "floordiv": i // 3, "mod": i % 3, "less": i < j,
    "equal": eq(i, j), "and": both(i < j, j > 1), "min": minimum(i, j), "max": maximum(i, j),
}  # fmt: skip


def test_one_example_of_each_kind() -> None:
    assert tuple(ONE_OF_EACH) == KINDS
    assert all(e.kind == kind for kind, e in ONE_OF_EACH.items())


def test_equal_expressions_are_one_object() -> None:
    assert 4 * i + j is j + i * 2 + 2 * i
    assert both(i < 3, j < 2) is both(j < 2, i < 3)
    assert minimum(i, minimum(j, 2)) is minimum(minimum(2, i), j)
    assert i * j * size is size * j * i
    assert var("i", 0, 7) is i and var("i", 0, 8) is not i
    assert (i == j) is False and {4 * i + j: 1}[j + 4 * i] == 1


@pytest.mark.parametrize("e", ONE_OF_EACH.values(), ids=ONE_OF_EACH)
def test_copies_are_the_same_object(e: Sym) -> None:
    assert copy.copy(e) is e and copy.deepcopy(e) is e and pickle.loads(pickle.dumps(e)) is e


def test_unused_expressions_leave_the_table() -> None:
    key = ("var", ("unused", 0, 5))
    v = var("unused", 0, 5)
    assert key in _TABLE
    del v
    gc.collect()
    assert key not in _TABLE


def test_threads_agree() -> None:
    made: list[list[Sym]] = [[] for _ in range(4)]
    start = threading.Barrier(4)

    def work(out: list[Sym]) -> None:
        start.wait()
        v, w = var("thread_v", 0, 63), var("thread_w", 0, 9)
        for n in range(2, 300):
            out.append((v * n + w) // 10 % n + minimum(v, n))

    threads = [threading.Thread(target=work, args=(out,)) for out in made]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(len(same) == 4 and len(set(same)) == 1 for same in zip(*made, strict=True))
    assert len(made[0]) == 298


def test_the_order_of_terms_does_not_depend_on_the_process() -> None:
    program = (
        "from minigrad.symbolic import *\n"
        "i, j = var('i', 0, 99), var('j', 0, 9)\n"
        "print(i//3 + i//7 + (i*j + 1)%5 + minimum(i, j, 7) + both(i < j, j < 4, eq(i//5, j)))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1 and printed != {""}


@pytest.mark.parametrize(
    ("e", "want"),
    [
        (j + 4 * i + 3, "4*i + j + 3"),
        (7 - i, "7 - i"),
        (-i - 2 * j, "-2*j - i"),
        (-i - 3, "-i - 3"),
        ((i + 3) // 4, "(i + 3)/4"),
        ((i * size + 1) % 5, "(i*size + 1) % 5"),
        ((2 * i) % 3, "(2*i) % 3"),
        ((i // 3) % 2, "(i/3) % 2"),
        (2 * (i // 3), "2*(i/3)"),
        (3 * i * size, "3*i*size"),
        (minimum(i + 1, j), "min(i + 1, j)"),
        (maximum(c, -1), "max(c, -1)"),
        (3 * (i < j), "3*(i < j)"),
        (both(i < j, eq(i, 2)), "i < j && i == 2"),
        (eq(i < j, j < 2), "(i < j) == (j < 2)"),
        (i // (size + 1), "i/(size + 1)"),
    ],
)
def test_text(e: Sym, want: str) -> None:
    if e.kind in ("and", "equal", "min", "max"):  # two orders are right
        assert sorted(text(e)) == sorted(want)
    else:
        assert text(e) == repr(e) == want


def test_reflected_operators_and_numpy_integers() -> None:
    assert 3 + i is i + np.int64(3) and 3 - i is -i + 3 and np.int32(2) * i is i * 2
    assert [evaluate(e, {"size": 4}) for e in (9 // size, 9 % size, size > 9, size <= 4)] == [2, 1, 0, 1]
    assert i // -3 is (-i) // 3 and as_sym(True) is num(1)


def test_errors_teach() -> None:
    with pytest.raises(ValueError, match=r"var\('i', 3, 2\): the range is empty; lo must not exceed hi"):
        var("i", 3, 2)
    with pytest.raises(TypeError, match=r"made of integers; got 1.5 of type float"):
        i + 1.5  # type: ignore[operator]
    with pytest.raises(TypeError, match=r"the truth of the index expression `i < j` depends"):
        bool(i < j)
    with pytest.raises(TypeError, match=r"`i` is not a constant"):
        range(i)  # type: ignore[call-overload]
    with pytest.raises(ZeroDivisionError, match="index expression `i` divided by zero"):
        i // 0
    with pytest.raises(ZeroDivisionError, match="index expression `i` modulo zero"):
        i % 0
    with pytest.raises(ValueError, match=r"both\(\) takes conditions, which are 0 or 1; got `i` with values 0 to 7"):
        both(i, i < 3)
    with pytest.raises(KeyError, match="no value for the variable 'j'; got values for .'i'."):
        evaluate(i + j, {"i": 1})


def test_truth_and_index_of_what_is_certain() -> None:
    assert bool(i + 1) and bool(c - 4) and not bool(i < 0) and bool(i < 8)
    assert list(range(num(2))) == [0, 1] and [5, 6, 7][i - i + 1] == 6


def test_queries() -> None:
    e = 4 * i + (j + 2) // 3 + 5
    assert linear(e) == ({i: 4, (j + 2) // 3: 1}, 5) and linear(num(7)) == ({}, 7) and linear(i) == ({i: 1}, 0)
    assert children(e) == (i, (j + 2) // 3) and variables(e) == (i, j) and variables(num(1)) == ()
    assert coefficient(e, i) == 4 and coefficient(e, j) is None and coefficient(e, c) == 0
    assert split(e, i) == (4, (j + 2) // 3 + 5) and split(e, j) is None and split(e, c) == (0, e)
    assert coefficient(i * size, i) is None
    assert all(map(is_condition, (i < j, eq(i, j), both(i < j, j > 1)))) and not is_condition(i)
    assert negate(i < j) is (j <= i) and negate(negate(eq(i, j))) is eq(i, j)
    assert evaluate(negate(both(i < j, j > 1)), {"i": 0, "j": 1}) == 1


def test_substitute_is_simultaneous() -> None:
    k = var("k", 0, 7)
    assert substitute(i + 2 * k, {i: k, k: i}) is k + 2 * i
    assert substitute(i // 4, {j: 0}) is i // 4


def test_wide_ranges_do_not_move_out_of_an_int64() -> None:
    wide = var("wide", -(1 << 63), (1 << 63) - 1)
    for e in (wide // 4, wide % 4, (wide + 3) // 5):
        assert [linear(t.args[0])[1] in range(-5, 6) for t in linear(e)[0]] == [True]
    assert [evaluate(wide // 4, {"wide": n}) for n in (-9, 9)] == [-3, 2]
    assert [evaluate(wide % 4, {"wide": n}) for n in (-9, 9)] == [3, 1]


def test_long_sums_and_long_chains() -> None:
    many = [var(f"x{n}", 0, 3) for n in range(300)]
    assert len(linear(sum(many, num(0)))[0]) == 300
    flat = i
    for n in range(2, 200):  # a deep index expression: 200 divisions of divisions
        flat = (flat * 3 + var(f"y{n}", 0, 3)) // 2
    assert evaluate(flat, {v.args[0]: 0 for v in variables(flat)}) == 0


def render_c(e: Sym) -> str:
    """The renderer in the package docstring."""
    a: Any = e.args
    if e.kind in ("num", "var"):
        return str(a[0])
    if e.kind == "sum":
        return "(" + " + ".join([f"{k}*{render_c(t)}" for t, k in a[0]] + [str(a[1])]) + ")"
    if e.kind in ("min", "max"):
        return functools.reduce(lambda x, y: f"{e.kind}({x}, {y})", map(render_c, a))
    sign = {"product": "*", "floordiv": "/", "mod": "%", "less": "<", "equal": "==", "and": "&&"}[e.kind]
    return "(" + sign.join(map(render_c, a)) + ")"


def test_the_documented_renderer() -> None:
    """C's / is not the floor, so evaluate the text with truncating division."""

    class C(int):
        def __truediv__(self, n: int) -> C:  # type: ignore[override]
            return C(math.trunc(int(self) / n))

        def __mod__(self, n: int) -> C:
            return C(math.fmod(self, n))

        def __add__(self, n: int) -> C:
            return C(int(self) + n)

        def __mul__(self, n: int) -> C:
            return C(int(self) * n)

        __radd__, __rmul__ = __add__, __mul__

    for e in [*ONE_OF_EACH.values(), (c - 3) // 2, (c - 3) % 5, (3 * c - i) // 4 * 2 + c % 3]:
        code = render_c(e).replace("&&", " and ")
        for a, b, d in itertools.product(range(8), range(4), range(-4, 4)):
            values = {"i": a, "j": b, "c": d}
            as_c = {name: C(value) for name, value in values.items()}
            assert int(eval(code, {"min": min, "max": max, **as_c})) == evaluate(e, values), (e, values)
