"""Random expressions against a naive evaluator, over every assignment of their small-range variables."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import strategies as st

from minigrad.symbolic import (
    Sym,
    both,
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
    var,
    variables,
)
from tests.examples import examples

RANGES = {"a": (0, 3), "b": (0, 5), "c": (-4, 3), "d": (2, 4), "e": (7, 7)}
ASSIGNMENTS = [
    dict(zip(RANGES, values, strict=True))
    for values in itertools.product(*[range(lo, hi + 1) for lo, hi in RANGES.values()])
]
Tree = Any  # an int, a variable's name, or (operator, tree, ...)

LEAVES = st.one_of(st.sampled_from(sorted(RANGES)), st.integers(-9, 9))
CONSTANTS = st.sampled_from([1, 2, 3, 4, 6, 8, 12, 24, -1, -2, -3, 5])


def _grow(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    pair = st.sampled_from(["+", "-", "+", "-", "<", "<=", ">", ">=", "eq", "min", "max"])
    return st.one_of(
        st.tuples(pair, inner, inner),
        st.tuples(st.sampled_from(["*", "*", "//", "%", "//", "%"]), inner, CONSTANTS),
        st.tuples(st.sampled_from(["*"]), inner, inner),
        st.tuples(st.sampled_from(["//", "%"]), inner, st.just(("+", "d", "a"))),
        st.tuples(st.sampled_from(["//", "%"]), inner, st.sampled_from(["d", ("*", 2, "d"), ("-", "c", 9)])),
        st.tuples(st.just("and"), st.tuples(st.just("<"), inner, inner), st.tuples(st.just("eq"), inner, inner)),
        st.tuples(st.just("not"), st.tuples(st.just("<"), inner, inner)),
    )


TREES = st.recursive(LEAVES, _grow, max_leaves=8)


def symbolic(t: Tree) -> Sym:
    if isinstance(t, int):
        return num(t)
    if isinstance(t, str):
        return var(t, *RANGES[t])
    x = [symbolic(u) for u in t[1:]]
    table = {
        "+": lambda: x[0] + x[1], "-": lambda: x[0] - x[1], "*": lambda: x[0] * x[1], "//": lambda: x[0] // x[1],
        "%": lambda: x[0] % x[1], "<": lambda: x[0] < x[1], "<=": lambda: x[0] <= x[1], ">": lambda: x[0] > x[1],
        ">=": lambda: x[0] >= x[1], "eq": lambda: eq(*x), "and": lambda: both(*x), "min": lambda: minimum(*x),
        "max": lambda: maximum(*x), "not": lambda: negate(x[0]),
    }  # fmt: skip
    return table[t[0]]()


def source(t: Tree) -> str:
    """The tree as Python text: the naive evaluator is Python itself."""
    if not isinstance(t, tuple):
        return str(t) if isinstance(t, str) else f"({t})"
    x = [source(u) for u in t[1:]]
    if t[0] in ("min", "max"):
        return f"{t[0]}({x[0]}, {x[1]})"
    if t[0] == "not":
        return f"(1 - {x[0]})"
    infix = {"eq": "==", "and": "&"}.get(t[0], t[0])
    text = f"({x[0]} {infix} {x[1]})"
    return f"int{text}" if infix in ("<", "<=", ">", ">=", "==") else text


def naive(t: Tree) -> list[int]:
    code = compile(source(t), "tree", "eval")
    return [eval(code, {"min": min, "max": max, "int": int}, assignment) for assignment in ASSIGNMENTS]


def nodes(e: Sym) -> list[Sym]:
    inside = [x for x, _ in e.args[0]] if e.kind == "sum" else [] if e.kind in ("num", "var") else e.args
    return [e, *[n for x in inside for n in nodes(x)]]


@examples(200, 2000, TREES)
def test_value_and_bounds(tree: Tree) -> None:
    """The simplified expression has the naive value everywhere, and it and its parts stay in their bounds."""
    e, want = symbolic(tree), naive(tree)
    assert [evaluate(e, a) for a in ASSIGNMENTS] == want
    for n in nodes(e):
        values = [evaluate(n, a) for a in ASSIGNMENTS]
        assert n.lo <= min(values) and max(values) <= n.hi, n


@examples(100, 1000, TREES)
def test_normal_form(tree: Tree) -> None:
    """What the grammar promises to renderers."""
    for n in nodes(symbolic(tree)):
        if n.kind == "sum":
            assert n.args[0] and all(c != 0 and t.kind not in ("sum", "num") for t, c in n.args[0])
            assert len(n.args[0]) > 1 or n.args[1] != 0 or n.args[0][0][1] != 1
        elif n.kind in ("floordiv", "mod") and n.args[1].kind == "num":
            assert n.args[1].lo > 1 and n.args[0].lo >= 0
        elif n.kind in ("product", "and", "min", "max"):
            assert len(n.args) >= 2
            assert n.kind != "and" or all(is_condition(p) and p.kind != "and" for p in n.args)
        if n.kind not in ("num", "var"):
            assert n.lo < n.hi or n.kind in ("floordiv", "mod", "min", "max")
            assert substitute(n, dict(zip(variables(n), variables(n), strict=True))) is n


@examples(100, 1000, TREES, st.sampled_from(["a", "b", "c"]), st.data())
def test_substitute(tree: Tree, name: str, data: st.DataObject) -> None:
    """A value in the variable's range may replace it: a number, or an expression of other variables."""
    e, v = symbolic(tree), var(name, *RANGES[name])
    lo, hi = RANGES[name]
    n = data.draw(st.integers(lo, hi))
    fixed = substitute(e, {v: n})
    assert v not in variables(fixed)
    inside = var("x", 0, 1) * (hi - lo - 1) + var("y", 0, 1) + lo
    wide = substitute(e, {v: inside})
    for a in ASSIGNMENTS[::7]:
        assert evaluate(fixed, a) == evaluate(e, {**a, name: n})
        for x, y in itertools.product(range(2), range(2)):
            assert evaluate(wide, {**a, "x": x, "y": y}) == evaluate(e, {**a, name: x * (hi - lo - 1) + y + lo})


@examples(100, 1000, TREES, st.sampled_from(["a", "b", "c"]))
def test_split_and_linear(tree: Tree, name: str) -> None:
    e, v = symbolic(tree), var(name, *RANGES[name])
    terms, constant = linear(e)
    assert sum([t * c for t, c in terms.items()], num(constant)) is e
    parts = split(e, v)
    if parts is None:
        assert coefficient(e, v) is None and v in variables(e)
    else:
        assert coefficient(e, v) == parts[0] and v not in variables(parts[1])
        assert parts[0] * v + parts[1] is e


@examples(150, 1500, st.lists(st.sampled_from([2, 3, 4, 5, 6, 8]), min_size=1, max_size=5), st.data())
def test_reshape_round_trip(shape: list[int], data: st.DataObject) -> None:
    """Coordinates -> flat index -> coordinates of another shape -> flat -> ... -> the first coordinates."""
    first = [var(f"c{axis}", 0, n - 1) for axis, n in enumerate(shape)]
    flat = flatten(first, shape)
    size = flat.hi + 1
    for _ in range(data.draw(st.integers(1, 3))):
        other = data.draw(factorisation(size))
        flat = flatten(coordinates(flat, other), other)
    assert flat is flatten(first, shape)
    for got, want in zip(coordinates(flat, shape), first, strict=True):
        assert got is want


def flatten(index: list[Sym], shape: list[int]) -> Sym:
    flat = num(0)
    for i, n in zip(index, shape, strict=True):
        flat = flat * n + i
    return flat


def coordinates(flat: Sym, shape: list[int]) -> list[Sym]:
    out, stride = [], 1
    for n in reversed(shape):
        out.append(flat // stride % n)
        stride *= n
    return out[::-1]


@st.composite
def factorisation(draw: st.DrawFn, size: int) -> list[int]:
    shape = []
    while size > 1:
        n = draw(st.sampled_from([d for d in range(2, size + 1) if size % d == 0]))
        shape.append(n)
        size //= n
    return shape or [1]


@pytest.mark.parametrize("name", sorted(RANGES))
def test_every_variable_is_drawn(name: str) -> None:
    assert len({a[name] for a in ASSIGNMENTS}) == RANGES[name][1] - RANGES[name][0] + 1
