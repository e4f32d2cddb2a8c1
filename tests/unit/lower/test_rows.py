"""Stage: tests of lower. In: reductions over all kinds of axes. Out: that the strategy ``rows`` gives NumPy's results,
empty reductions the identity, and long float sums stay accurate. Next: ``test_stages.py``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minigrad.dtype import bfloat16, float16, float32, float64, int8, int16, int32, int64, uint8
from minigrad.errors import ScheduleError
from minigrad.lower import lower
from minigrad.ops import Op
from minigrad.target import AVX2, AVX512
from tests.unit.lower.specs import RUNNABLE, buffer, check, matmul, run, spec_of
from tests.unit.render.harness import HOST

NUMPY = {Op.SUM: np.sum, Op.PROD: np.prod, Op.MAX: np.max, Op.MIN: np.min}


@pytest.mark.parametrize("op", NUMPY)
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)])
def test_reductions(op, axes, rng):
    a = buffer((4, 5, 21))
    x = rng.uniform(0.8, 1.2, (4, 5, 21)).astype("f")
    check([a.reduce(op, axes)], {a: x}, [NUMPY[op](x, axis=axes, keepdims=True)], 1e-4)


@pytest.mark.parametrize("dtype", [int32, int64, uint8, float64])
@pytest.mark.parametrize("axis", [0, 1])
def test_dtypes(dtype, axis, rng):
    a = buffer((7, 19), dtype)
    x = rng.integers(0, 100, (7, 19)).astype(dtype.numpy)
    with np.errstate(over="ignore"):
        check([a.reduce(Op.SUM, (axis,))], {a: x}, [x.sum(axis, keepdims=True, dtype=dtype.numpy)])
        check([a.reduce(Op.MAX, (axis,))], {a: x}, [x.max(axis, keepdims=True)])


@pytest.mark.parametrize("dtype", [float16, bfloat16])
def test_halves_add_in_float32(dtype, rng):
    a = buffer((3, 50), dtype)
    x = rng.standard_normal((3, 50)).astype(dtype.numpy)
    check([a.reduce(Op.SUM, (1,))], {a: x}, [x.astype("f").sum(1, keepdims=True).astype(dtype.numpy)], 1e-2)


@pytest.mark.parametrize("op", [Op.MAX, Op.MIN])
@pytest.mark.parametrize("axis", [0, 1])
def test_nan_is_kept(op, axis, rng):
    a = buffer((6, 40))
    x = rng.standard_normal((6, 40)).astype("f")
    x[2, 33] = np.nan
    check([a.reduce(op, (axis,))], {a: x}, [NUMPY[op](x, axis=axis, keepdims=True)], 0)


@pytest.mark.parametrize("op", [Op.SUM, Op.PROD, Op.MAX])
def test_nothing_to_reduce_gives_the_identity(op):
    a = buffer((3, 0))
    want = {Op.SUM: 0.0, Op.PROD: 1.0, Op.MAX: -np.inf}[op]
    check([a.reduce(op, (1,))], {a: np.zeros((3, 0), "f")}, [np.full((3, 1), want, "f")])


def test_a_masked_rest_adds_nothing(rng):
    """exp of the zeros outside a masked vector is 1: it must not be counted."""
    a = buffer((2, 21))
    x = rng.standard_normal((2, 21)).astype("f")
    check([a.unary(Op.EXP).reduce(Op.SUM, (1,))], {a: x}, [np.exp(x).sum(1, keepdims=True)], 1e-5)


def test_reductions_over_one_domain_share_the_loop(rng):
    a = buffer((6, 70))
    x = rng.standard_normal((6, 70)).astype("f")
    total, squares = a.reduce(Op.SUM, (1,)), a.binary(Op.MUL, a).reduce(Op.SUM, (1,))
    check([total, squares], {a: x}, [x.sum(1, keepdims=True), (x * x).sum(1, keepdims=True)], 1e-4)
    check([squares.binary(Op.SUB, total)], {a: x}, [(x * x).sum(1, keepdims=True) - x.sum(1, keepdims=True)], 1e-4)


@pytest.mark.sample(5)
@pytest.mark.parametrize("made", ["count", "count-of-columns", "constant", "product"])
@pytest.mark.parametrize("size", [1, 5, 40, 200])
def test_a_reduction_may_be_an_index_of_its_own_stage(made, size, rng):
    """The results lie in lanes, and an index is looked up outside of vectors: each element has its own."""
    shape = {"count-of-columns": (20, size), "product": (size, 20, 3)}.get(made, (size, 20))
    a, table = buffer(shape, int64), buffer((50,))
    x, t = rng.integers(0, 3, shape), rng.standard_normal(50).astype("f")
    axis = shape.index(20)
    node = a.binary(Op.MUL, a) if made == "product" else a.like(2) if made == "constant" else a
    want = x * x if made == "product" else np.full_like(x, 2) if made == "constant" else x
    at = node.reduce(Op.SUM, (axis,)).reshape(tuple(n for n in shape if n != 20))
    at = at.binary(Op.MOD, at.like(50))
    looked_up = table.gather([at])
    for out in (looked_up, looked_up.binary(Op.MUL, at.cast(float32))):
        result = t[want.sum(axis) % 50]
        spec = spec_of(out, checks=[looked_up])
        got = result if out is looked_up else result * (want.sum(axis) % 50).astype("f")
        check(spec, {table: t} if made == "constant" else {a: x, table: t}, [got])


def test_epilogue_before_the_store(rng):
    a, b = buffer((5, 33)), buffer((5,))
    x, y = rng.standard_normal((5, 33)).astype("f"), rng.standard_normal(5).astype("f")
    node = a.reduce(Op.SUM, (1,)).reshape((5,)).binary(Op.ADD, b).cast(float64)
    check([node], {a: x, b: y}, [(x.sum(1) + y).astype("f8")], 1e-5)


@pytest.mark.parametrize("op", [Op.SUM, Op.MAX])
@pytest.mark.parametrize("shape", [(64, 128), (70, 300), (1000, 513)])
def test_columns_that_stream(shape, op, rng):
    """Wide rows are added up in memory, several at once."""
    a = buffer(shape)
    x = rng.standard_normal(shape).astype("f")
    check([a.reduce(op, (0,))], {a: x}, [NUMPY[op](x, axis=0, keepdims=True)], 1e-4, native=True)
    product = a.binary(Op.MUL, a).reduce(Op.SUM, (0,))
    check([product.binary(Op.ADD, product)], {a: x}, [2 * (x * x).sum(0, keepdims=True)], 1e-4, native=True)


@pytest.mark.parametrize("shape", [(1, 100_001), (100_001, 3)])
def test_long_sums_stay_accurate(shape):
    axis = int(np.argmax(shape))
    a = buffer(shape)
    x = np.full(shape, 0.1, "f")
    check([a.reduce(Op.SUM, (axis,))], {a: x}, [x.astype("f8").sum(axis, keepdims=True).astype("f")], 1e-6, native=True)


def test_windows(rng):
    a = buffer((3, 9, 11))
    x = rng.standard_normal((3, 9, 11)).astype("f")
    node = a.window(((1, 3, 2, 1), (2, 3, 1, 2))).reduce(Op.MAX, (3, 4))
    view = np.lib.stride_tricks.sliding_window_view(x, (3, 5), axis=(1, 2))[:, ::2, :, :, ::2]
    check([node], {a: x}, [view.max((3, 4), keepdims=True)])


@pytest.mark.parametrize(("m", "n", "k"), [(1, 37, 90), (2, 3, 1000), (7, 23, 100), (2, 2, 40), (5, 1, 70)])
@pytest.mark.parametrize("how", ["product", "farthest", "weighed"])
def test_several_results_at_once_read_what_they_share_once(m, n, k, how, rng):
    a, b, c = buffer((m, k)), buffer((n, k)), buffer((k,))
    x, y, z = (rng.standard_normal(shape).astype("f") for shape in ((m, k), (n, k), (k,)))
    left, right = a.reshape((m, 1, k)).expand((m, n, k)), b.reshape((1, n, k)).expand((m, n, k))
    if how == "product":
        node, want = left.binary(Op.MUL, right).reduce(Op.SUM, (2,)), x @ y.T
    elif how == "farthest":
        node = left.binary(Op.SUB, right).unary(Op.ABS).reduce(Op.MAX, (2,))
        want = np.abs(x[:, None] - y).max(2)
    else:
        weights = c.reshape((1, 1, k)).expand((m, n, k))
        node, want = left.binary(Op.SUB, right).binary(Op.MUL, weights).reduce(Op.SUM, (2,)), (x[:, None] - y) @ z
    check([node.reshape((m, n))], {a: x, b: y} if how != "weighed" else {a: x, b: y, c: z}, [want], 1e-4)
    check([node.reshape((m, n))], {a: x, b: y} if how != "weighed" else {a: x, b: y, c: z}, [want], 1e-4, native=True)


def test_the_tile_is_of_the_axes_that_share():
    a, b = buffer((6, 5000)), buffer((16, 5000))
    left, right = a.reshape((6, 1, 5000)).expand((6, 16, 5000)), b.reshape((1, 16, 5000)).expand((6, 16, 5000))
    (note,) = lower(spec_of(left.binary(Op.MUL, right).reduce(Op.SUM, (2,))), AVX512).strategies
    assert "lanes(r0, 16), unroll(x1, 4), unroll(x0, 6), parallel(x1, 1); 4 iterations" in note
    (note,) = lower(spec_of(buffer((40, 5000)).reduce(Op.SUM, (1,))), AVX512).strategies
    assert "unroll(x" not in note


@pytest.mark.parametrize(("batch", "m", "n", "k"), [(1, 150, 7, 203), (1, 131, 5, 999), (3, 96, 6, 340)])
@pytest.mark.parametrize("how", ["plain", "computed"])
def test_a_factor_across_the_sum_is_copied(batch, m, n, k, how, rng):
    a, b, c = buffer((batch, m, k)), buffer((batch, k, n)), buffer((n,))
    x, y, z = (rng.standard_normal(node.shape).astype("f") for node in (a, b, c))
    right = b if how == "plain" else b.unary(Op.NEG).unary(Op.EXP)
    left = a if how == "plain" else a.unary(Op.ABS)
    left = left.reshape((batch, m, 1, k)).expand((batch, m, n, k))
    right = right.permute((0, 2, 1)).reshape((batch, 1, n, k)).expand((batch, m, n, k))
    node = left.binary(Op.MUL, right).reduce(Op.SUM, (3,)).reshape((batch, m, n)).binary(
        Op.ADD, c.reshape((1, 1, n)).expand((batch, m, n)))
    want = (x.astype("d") @ y if how == "plain" else np.abs(x).astype("d") @ np.exp(-y.astype("d"))) + z
    check([node], {a: x, b: y, c: z}, [want.astype("f")], 1e-4, native=True)  # the tests of steps interpret


@pytest.mark.parametrize(("m", "n", "k", "strategy", "copied"), [
    (1000, 5, 1000, "rows", True), (1000, 8, 1000, "rows", True), (1000, 3, 1000, "rows", False),
    (1000, 16, 1000, "contraction", False), (1000, 6, 16, "contraction", False), (8, 6, 500, "contraction", False),
    (200, 7, 20000, "contraction", False)])  # a copy that the cache does not hold
def test_few_columns_run_along_the_sum(m, n, k, strategy, copied):
    node = matmul(buffer((m, k)), buffer((k, n)).permute((1, 0)))
    (note,) = lower(spec_of(node), AVX512).strategies
    assert note.startswith(strategy) and ("keep(b, scratch)" in note) == copied


def test_the_strategy_says_what_it_does():
    a = buffer((4096, 4096), float32)
    (note,) = lower(spec_of(a.reduce(Op.SUM, (1,))), AVX512).strategies
    assert note.startswith("rows over x0 = 4096, r0 = 4096: lanes(r0, 16), accumulate(r0, 4), parallel(x0, ")
    (note,) = lower(spec_of(a.reduce(Op.SUM, (0,))), AVX512).strategies
    assert "lanes(x0, 16), unroll(x0, " in note and "keep(sums, scratch)" in note


@pytest.mark.parametrize(("left", "right"), [(int8, int8), (uint8, int8), (int16, int16), (uint8, int16)])
@pytest.mark.parametrize(("rows", "size"), [(21, 64), (3, 330), (40, 34)])
def test_a_matrix_times_a_vector_adds_two_products_at_once(left, right, rows, size, rng):
    x, y = (rng.choice([d.min, d.max, 0, 1, d.max - 1], s).astype(d.numpy)
            for d, s in ((left, (rows, size)), (right, (size,))))
    a, b = buffer((rows, size), left), buffer((size,), right)
    node = a.cast(int32).binary(Op.MUL, b.cast(int32).reshape((1, size)).expand((rows, size))).reduce(Op.SUM, (1,))
    want = (x.astype("i8") @ y.astype("i8")).astype("i4").reshape(rows, 1)
    spec = spec_of(node)
    for plain, feature in ((AVX512, "avx512vnni"), (AVX2, "avxvnni")):
        words = replace(plain, dots=("int8", "int16"))
        assert "word(r0)" in lower(spec, words).strategies[0] and "word" not in lower(spec, plain).strategies[0]
        assert np.array_equal(run(spec, {a: x, b: y}, target=words)[node], want)
        if plain in RUNNABLE and HOST.get(feature):
            assert np.array_equal(run(spec, {a: x, b: y}, target=words, native=True)[node], want)


def test_words_along_a_sum_that_has_none_are_refused(rng):
    """Of an odd length, of factors that lie across the sum, of wider numbers, of lanes along results."""
    def steps(spec, text):
        return lower(spec, replace(AVX512, dots=("int8", "int16"), steps=(("*", (text,)),)))

    def product(shape, dtype=int8, turned=False):
        a = buffer(shape[::-1] if turned else shape, dtype)
        a = a.permute((1, 0)) if turned else a
        b = buffer(shape[1:], dtype).reshape((1, shape[1])).expand(shape)
        return spec_of(a.cast(int32).binary(Op.MUL, b.cast(int32)).reduce(Op.SUM, (1,)))

    assert "word(r0)" in steps(product((5, 64)), "lanes(r0, 16), word(r0)").strategies[0]
    for spec, text in ((product((5, 63)), "lanes(r0, 16), word(r0)"), (product((5, 64)), "lanes(x0, 4), word(r0)"),
                       (product((5, 64), turned=True), "lanes(r0, 16), word(r0)"),
                       (product((5, 64), int32), "lanes(r0, 16), word(r0)")):
        with pytest.raises(ScheduleError, match=r"word\(\) wants the lanes along the sum of products"):
            steps(spec, text)


@pytest.mark.parametrize(("columns", "lanes"), [(14, "lanes(x1, 8)"), (10, "lanes(x1, 8)"), (7, "lanes(x0, 16)")])
def test_windows_of_a_row_fill_vectors_where_rows_lie_apart(columns, lanes, rng):
    """Each row is lines of the cache away from the next: gathering across rows is for short ones."""
    x = buffer((64, 2, columns, 2))
    values = rng.standard_normal(x.shape).astype("f")
    top = x.reduce(Op.MAX, (1, 3))
    check([top], {x: values}, [values.max((1, 3), keepdims=True)], native=True)
    (note,) = lower(spec_of(top), AVX512).strategies
    assert lanes in note
