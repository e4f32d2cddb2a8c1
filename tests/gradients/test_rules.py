"""Every row of the gradient table against central differences in float64, first and second order, by the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from minigrad.dtype import float64, int64
from minigrad.grad import RULES, SAVES, vjp
from minigrad.grad.jvp import RULES as FORWARD
from minigrad.grad.jvp import jvp
from minigrad.graph.function import Subgraph, call, param
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.reference import evaluate
from minigrad.graph.verify import verify
from minigrad.ops import Op

Build = Callable[[list[LazyBuffer]], LazyBuffer]
STEP = 1e-6


def _index(values: list[int]) -> LazyBuffer:
    """A constant index vector, as arithmetic on INDEX."""
    at = LazyBuffer.index((len(values),), 0, "NUMPY")
    out = at.like(0)
    for i, v in enumerate(values):
        out = at.binary(Op.EQ, at.like(i)).where(at.like(v), out)
    return out


def _complex_product(x: Sequence[LazyBuffer]) -> LazyBuffer:
    z = x[0].with_imag(x[1])
    return z.binary(Op.MUL, z)


CASES: dict[str, tuple[tuple[tuple[int, ...], ...], Build]] = {
    Op.ADD: (((3, 4), (3, 4)), lambda x: x[0].binary(Op.ADD, x[1])),
    Op.SUB: (((3, 4), (3, 4)), lambda x: x[0].binary(Op.SUB, x[1])),
    Op.MUL: (((3, 4), (3, 4)), lambda x: x[0].binary(Op.MUL, x[1])),
    Op.DIV: (((3, 4), (3, 4)), lambda x: x[0].binary(Op.DIV, x[1])),
    Op.FMA: (((3, 4), (3, 4), (3, 4)), lambda x: LazyBuffer(Op.FMA, tuple(x), None, (3, 4), x[0].dtype, x[0].device)),
    Op.POW: (((3, 4), (3, 4)), lambda x: x[0].binary(Op.MUL, x[0]).binary(Op.POW, x[1])),
    Op.FLOORDIV: (((3, 4), (3, 4)), lambda x: x[0].binary(Op.FLOORDIV, x[1])),
    Op.MOD: (((3, 4), (3, 4)), lambda x: x[0].binary(Op.MOD, x[1])),
    Op.MAXIMUM: (((3, 4), (3, 4)), lambda x: x[0].binary(Op.MAXIMUM, x[1])),
    Op.MINIMUM: (((3, 4), (3, 4)), lambda x: x[0].binary(Op.MINIMUM, x[1])),
    Op.NEG: (((3, 4),), lambda x: x[0].unary(Op.NEG)),
    Op.ABS: (((3, 4),), lambda x: x[0].unary(Op.ABS)),
    Op.FLOOR: (((3, 4),), lambda x: x[0].unary(Op.FLOOR)),
    Op.CEIL: (((3, 4),), lambda x: x[0].unary(Op.CEIL)),
    Op.TRUNC: (((3, 4),), lambda x: x[0].unary(Op.TRUNC)),
    Op.ROUND: (((3, 4),), lambda x: x[0].unary(Op.ROUND)),
    Op.SQRT: (((3, 4),), lambda x: x[0].binary(Op.MUL, x[0]).unary(Op.SQRT)),
    Op.EXP: (((3, 4),), lambda x: x[0].unary(Op.EXP)),
    Op.LOG: (((3, 4),), lambda x: x[0].binary(Op.MUL, x[0]).unary(Op.LOG)),
    Op.SIN: (((3, 4),), lambda x: x[0].unary(Op.SIN)),
    Op.COS: (((3, 4),), lambda x: x[0].unary(Op.COS)),
    Op.TANH: (((3, 4),), lambda x: x[0].unary(Op.TANH)),
    Op.ERF: (((3, 4),), lambda x: x[0].unary(Op.ERF)),
    Op.WHERE: (((3, 4), (3, 4)), lambda x: x[0].binary(Op.LT, x[1]).where(x[0].unary(Op.EXP), x[1])),
    Op.CAST: (((3, 4),), lambda x: x[0].cast(float64)),
    Op.REAL: (((3, 4), (3, 4)), lambda x: _complex_product(x).real()),
    Op.IMAG: (((3, 4), (3, 4)), lambda x: _complex_product(x).imag()),
    Op.COMPLEX: (((3, 4), (3, 4)), lambda x: _complex_product(x).binary(Op.DIV, x[1].with_imag(x[0])).real()),
    Op.BITCAST: (((3, 4), (3, 4)), lambda x: _complex_product(x).as_real().flip((0,)).as_complex().as_real()),
    Op.SUM: (((3, 4, 2),), lambda x: x[0].reduce(Op.SUM, (0, 2))),
    Op.PROD: (((3, 4),), lambda x: x[0].reduce(Op.PROD, (1,))),
    Op.MAX: (((3, 4),), lambda x: x[0].reduce(Op.MAX, (1,))),
    Op.MIN: (((3, 4),), lambda x: x[0].reduce(Op.MIN, (0,))),
    Op.RESHAPE: (((3, 4),), lambda x: x[0].reshape((2, 6))),
    Op.PERMUTE: (((3, 4, 2),), lambda x: x[0].permute((2, 0, 1))),
    Op.EXPAND: (((3, 1),), lambda x: x[0].expand((2, 3, 4))),
    Op.PAD: (((3, 4),), lambda x: x[0].pad(((1, 2, 0), (0, 3, 2)))),
    Op.SHRINK: (((5, 4),), lambda x: x[0].shrink(((1, 4), (0, 2)))),
    Op.FLIP: (((3, 4),), lambda x: x[0].flip((1,))),
    Op.STRIDE: (((5, 8),), lambda x: x[0].stride((2, 3))),
    Op.WINDOW: (((2, 9, 7),), lambda x: x[0].window(((1, 3, 2, 1), (2, 2, 1, 3)))),
    Op.CONTIGUOUS: (((3, 4),), lambda x: x[0].permute((1, 0)).contiguous()),
    Op.COPY: (((3, 4),), lambda x: x[0].copy_to("CPU").copy_to("NUMPY")),
    Op.GATHER: (((4, 3),), lambda x: x[0].gather([_index([2, 0, 2, 3, 2])])),
    Op.SCATTER: (((4, 3), (3, 3)), lambda x: x[0].scatter(x[1], [_index([2, 0, 3])], "set")),
    Op.ASSIGN: (((5, 4), (2, 4)), lambda x: x[0].assign(x[1], ((Op.SHRINK, ((1, 4), (0, 4))), (Op.STRIDE, (2, 1)),
                                                             (Op.FLIP, (1,))))),
    Op.SCAN: (((3, 5),), lambda x: x[0].scan(Op.SUM, 1)),
}


def _numeric(shapes: tuple[tuple[int, ...], ...], build: Build, arrays: list[np.ndarray], weight: np.ndarray,
             ) -> list[np.ndarray]:
    """d(sum of weight·f)/dx by central differences."""
    params = [param(i, s, float64, "NUMPY") for i, s in enumerate(shapes)]
    output = build(params)

    def value(at: list[np.ndarray]) -> float:
        return float((evaluate([output], lambda leaf: at[leaf.arg])[0] * weight).sum())

    result = []
    for which, array in enumerate(arrays):
        slope = np.zeros_like(array)
        for i in np.ndindex(array.shape):
            moved = [a.copy() for a in arrays]
            moved[which][i] += STEP
            above = value(moved)
            moved[which][i] -= 2 * STEP
            slope[i] = (above - value(moved)) / (2 * STEP)
        result.append(slope)
    return result


def _check(shapes: tuple[tuple[int, ...], ...], build: Build, rng: np.random.Generator, rounds: int) -> None:
    """Analytic against numeric; then the gradient itself (of the first input) is the function to check."""
    arrays = [rng.uniform(0.6, 1.9, s) * rng.choice([-1, 1], s) for s in shapes]
    params = [param(i, s, float64, "NUMPY") for i, s in enumerate(shapes)]
    output = build(params)
    weight = rng.uniform(0.5, 1.5, output.shape)
    seed = param(len(params), output.shape, float64, "NUMPY")
    found = vjp([output], [seed], params, [True] * len(params))
    verify([f for f in found if f is not None])
    given = [*arrays, weight]
    for got, expected, shape in zip(found, _numeric(shapes, build, arrays, weight), shapes, strict=True):
        value = np.zeros(shape) if got is None else evaluate([got], lambda leaf: given[leaf.arg])[0]
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    if rounds > 1 and found[0] is not None:
        def gradient(x: list[LazyBuffer]) -> LazyBuffer:
            result = vjp([build(x)], [build(x).like(1.0)], x, [True] * len(x))[0]
            assert result is not None
            return result

        _check(shapes, gradient, rng, rounds - 1)


@pytest.mark.parametrize("op", sorted(RULES))
def test_rule_matches_central_differences(op: str) -> None:
    shapes, build = CASES[op]
    _check(shapes, build, np.random.default_rng(7), rounds=2)


def _check_forward(shapes: tuple[tuple[int, ...], ...], build: Build, rng: np.random.Generator, rounds: int) -> None:
    """Forward mode along a random direction against a central difference; then forward mode of that."""
    arrays = [rng.uniform(0.6, 1.9, s) * rng.choice([-1, 1], s) for s in shapes]
    directions = [rng.uniform(-1, 1, s) for s in shapes]
    params = [param(i, s, float64, "NUMPY") for i, s in enumerate(shapes)]
    tangents = [param(len(params) + i, s, float64, "NUMPY") for i, s in enumerate(shapes)]
    output = build(params)
    for given in ([True] * len(shapes), *([i == j for i in range(len(shapes))] for j in range(len(shapes)))):
        found, = jvp([output], params, [t if there else None for t, there in zip(tangents, given, strict=True)])
        moved = [[a + sign * STEP * d * there for a, d, there in zip(arrays, directions, given, strict=True)]
                 for sign in (1, -1)]
        above, below = (evaluate([output], lambda leaf, at=at: at[leaf.arg])[0] for at in moved)
        at = [*arrays, *directions]
        value = np.zeros(output.shape) if found is None else evaluate([found], lambda leaf, at=at: at[leaf.arg])[0]
        np.testing.assert_allclose(value, (above - below) / (2 * STEP), rtol=1e-5, atol=1e-6)
    if rounds > 1 and found is not None:
        verify([found])

        def change(x: list[LazyBuffer]) -> LazyBuffer:
            result, = jvp([build(x)], x, [a.like(1.0) for a in x])
            assert result is not None
            return result

        _check_forward(shapes, change, rng, rounds - 1)


@pytest.mark.parametrize("op", sorted(FORWARD))
def test_forward_rule_matches_central_differences(op: str) -> None:
    shapes, build = CASES[op]
    _check_forward(shapes, build, np.random.default_rng(7), rounds=2)


def test_all_that_has_a_gradient_has_forward_mode() -> None:
    assert set(FORWARD) == set(RULES)


@pytest.mark.parametrize("mode", ["set", "add", "max", "min", "mul"])
def test_forward_of_scatter(mode: str) -> None:
    at = _index([2, 0, 1] if mode == "set" else [2, 0, 2])
    _check_forward(((4, 3), (3, 3)), lambda x: x[0].scatter(x[1], [at], mode), np.random.default_rng(3), rounds=1)


def test_forward_of_running_product() -> None:
    _check_forward(((3, 5),), lambda x: x[0].scan(Op.PROD, 1), np.random.default_rng(3), rounds=2)


@pytest.mark.parametrize("op", [Op.PROD, Op.SCAN])
def test_forward_of_products_with_zeros(op: str) -> None:
    """By the rule of products: for each k that of the others, times the tangent at k; and the same once more."""
    a = np.array([[1.0, 2, 3, 4], [2, 0, 3, 4], [2, 0, 3, 0], [0, 0, 3, 0]])
    t = np.random.default_rng(3).uniform(-1, 1, a.shape)

    def product(x: LazyBuffer) -> LazyBuffer:
        return x.scan(Op.PROD, 1) if op == Op.SCAN else x.reduce(Op.PROD, (1,))

    def tangent(x: LazyBuffer) -> LazyBuffer:
        found, = jvp([product(x)], [x], [param(1, a.shape, float64, "NUMPY")])
        assert found is not None
        return found

    x = param(0, a.shape, float64, "NUMPY")
    again, = jvp([tangent(x)], [x], [param(1, a.shape, float64, "NUMPY")])
    assert again is not None
    first, second = [evaluate([v], lambda leaf: (a, t)[leaf.arg])[0] for v in (tangent(x), again)]
    run = (lambda v: v.cumprod(1)) if op == Op.SCAN else (lambda v: v.prod(1, keepdims=True))

    def without(*places: int) -> np.ndarray:
        changed = a.copy()
        for k in places:
            changed[:, k] = 1.0
        value = run(changed)
        if op == Op.SCAN:
            value[:, :max(places)] = 0.0
        return value * np.prod([t[:, [k]] for k in places], axis=0)

    n = a.shape[1]
    np.testing.assert_allclose(first, sum([without(k) for k in range(n)]), atol=1e-12)
    np.testing.assert_allclose(second, sum([without(k, i) for k in range(n) for i in range(n) if i != k]), atol=1e-12)


def test_product_with_zeros() -> None:
    x = param(0, (3, 4), float64, "NUMPY")
    out = x.reduce(Op.PROD, (1,))
    g = vjp([out], [out.like(1.0)], [x], [True])[0]
    assert g is not None
    a = np.array([[1.0, 2, 3, 4], [0, 2, 3, 4], [0, 0, 3, 4]])
    got = evaluate([g], lambda leaf: a)[0]
    np.testing.assert_allclose(got, [[24, 12, 8, 6], [24, 0, 0, 0], [0, 0, 0, 0]])


def test_running_product() -> None:
    shapes, build = ((3, 5),), lambda x: x[0].scan(Op.PROD, 1)
    _check(shapes, build, np.random.default_rng(3), rounds=1)


def test_scatter_add() -> None:
    at = _index([2, 0, 2])
    _check(((4, 3), (3, 3)), lambda x: x[0].scatter(x[1], [at], "add"), np.random.default_rng(3), rounds=2)


@pytest.mark.parametrize("mode", ["max", "min", "mul"])
def test_scatter_that_joins(mode: str) -> None:
    at = _index([2, 0, 2])
    _check(((4, 3), (3, 3)), lambda x: x[0].scatter(x[1], [at], mode), np.random.default_rng(3), rounds=2)


def test_scattered_product_with_zeros() -> None:
    x, v = (param(i, (n,), float64, "NUMPY") for i, n in enumerate((3, 4)))
    out = x.scatter(v, [_index([0, 0, 1, 1])], "mul")
    found = vjp([out], [out.like(1.0)], [x, v], [True, True])
    given = {x: np.array([0.0, 2.0, 3.0]), v: np.array([5.0, 7.0, 0.0, 4.0])}
    got = [evaluate([g], given.__getitem__)[0].tolist() for g in found if g is not None]
    assert got == [[35, 0, 1], [0, 0, 8, 0]]


def test_composite_is_differentiated_once() -> None:
    x, y = (param(i, (3, 4), float64, "NUMPY") for i in range(2))
    body = Subgraph("f", [x, y], [x.binary(Op.MUL, y).unary(Op.TANH), y.unary(Op.EXP)])

    def both(v: list[LazyBuffer]) -> LazyBuffer:
        first, second = call(body, v)
        return first.binary(Op.ADD, second)

    _check(((3, 4), (3, 4)), both, np.random.default_rng(1), rounds=2)
    derived = len(body.derived)
    both_again = both([x, y])
    vjp([both_again], [both_again.like(1.0)], [x, y], [True, True])
    assert len(body.derived) == derived


def test_what_saves_is_said() -> None:
    assert {Op.MUL, Op.EXP, Op.FUNCTION} <= SAVES
    assert not {Op.ADD, Op.SUM, Op.RESHAPE} & SAVES


def test_op_without_gradient_raises() -> None:
    x = param(0, (3,), float64, "NUMPY")
    out = x.scan(Op.MAX, 0)
    with pytest.raises(NotImplementedError, match="running MAX"):
        vjp([out], [out], [x], [True])


def test_unreached_input_has_no_gradient() -> None:
    x, y = (param(i, (3,), float64, "NUMPY") for i in range(2))
    assert vjp([x], [x.like(1.0)], [x, y], [True, True])[1] is None
    assert vjp([x.cast(int64).cast(float64)], [x.like(1.0)], [x], [True])[0] is None
