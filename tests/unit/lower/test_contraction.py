"""Stage: tests of lower. In: sums of products in all layouts and of all sizes. Out: that register tiles, their edges,
packing and blocks of K give NumPy's products. Next: ``test_stages.py``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minigrad.dtype import bfloat16, float16, float64, int8, int16, int32, int64, uint8
from minigrad.errors import ScheduleError
from minigrad.kernel.ir import If, Store
from minigrad.kernel.walk import statements
from minigrad.lower import lower
from minigrad.lower.steps import parse
from minigrad.ops import Op
from minigrad.runtime.llvm import host_target
from minigrad.target import AVX2, AVX512, SCALAR
from tests.unit.lower.specs import RUNNABLE, buffer, check, matmul, run, spec_of
from tests.unit.render.harness import HOST

SIZES = [(8, 16, 8), (13, 37, 29), (20, 10, 5), (5, 40, 70), (2, 8, 4)]
LARGE = [(64, 64, 64), (33, 130, 600), (300, 20, 17), (100, 100, 1000)]


def operands(m, n, k, a_turned, b_turned, rng, dtype="f"):
    """Nodes of shapes (m, k) and (n, k), their memory, and the memory as matrices (m, k) and (k, n)."""
    x, y = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    a, b = buffer((k, m) if a_turned else (m, k)), buffer((n, k) if b_turned else (k, n))
    values = {a: x.T if a_turned else x, b: y.T if b_turned else y}
    return a.permute((1, 0)) if a_turned else a, b if b_turned else b.permute((1, 0)), values, x, y


@pytest.mark.sample(12)
@pytest.mark.parametrize("size", SIZES + LARGE)
@pytest.mark.parametrize("a_turned", [False, True])
@pytest.mark.parametrize("b_turned", [False, True])
def test_layouts(size, a_turned, b_turned, rng):
    a, b, values, x, y = operands(*size, a_turned, b_turned, rng)
    want = (x.astype("f8") @ y).astype("f")
    check([matmul(a, b)], values, [want], 1e-4, native=size != SIZES[0])


@pytest.mark.parametrize("size", [(13, 37, 29), (100, 70, 600)])
def test_prologues_are_packed_and_epilogues_fused(size, rng):
    a, b, values, x, y = operands(*size, False, True, rng)
    row = buffer((size[1],))
    r = rng.standard_normal(size[1]).astype("f")
    relu_a, relu_b = (n.binary(Op.MAXIMUM, n.like(0.0)) for n in (a, b))
    total = matmul(relu_a, relu_b)
    node = total.binary(Op.ADD, row.reshape((1, size[1])).expand(total.shape)).unary(Op.NEG)
    want = -((np.maximum(x, 0).astype("f8") @ np.maximum(y, 0)) + r)
    check([node], {**values, row: r}, [want.astype("f")], 1e-4, native=True)
    (note,) = lower(spec_of(node), AVX512).strategies
    assert "keep(a, scratch), keep(b, scratch)" in note


def test_vector_axis_is_where_the_result_is_contiguous(rng):
    """(a @ b).T stored row-major: the operands change places."""
    a, b, values, x, y = operands(20, 48, 30, False, False, rng)
    node = matmul(a, b).permute((1, 0))
    check([node], values, [(x.astype("f8") @ y).T.astype("f")], 1e-4, native=True)


def test_of_few_rows_across_the_sum_and_many_columns_along_it_the_rows_are_copied(rng):
    """Vectors run along the sum, whichever factor lies across it."""
    a, b, values, x, y = operands(5, 301, 200, True, True, rng)
    node = matmul(a, b)
    check([node], values, [(x.astype("f8") @ y).astype("f")], 1e-4, native=True)
    (note,) = lower(spec_of(node), AVX512).strategies
    assert note.startswith("rows over x0 = 5, x1 = 301, r0 = 200: lanes(r0, 16)") and "keep(b, scratch)" in note


@pytest.mark.parametrize("size", [(40, 300, 130), (33, 1001, 300)])
def test_blocks_of_columns_copy_their_own(size, rng):
    """Those that are no whole tile belong to the last block: the others do not copy as many more."""
    a, b, values, x, y = operands(*size, False, True, rng)
    spec = spec_of(matmul(a, b))
    check(spec, values, [(x.astype("f8") @ y).astype("f")], 1e-4, native=True)
    kernel = lower(spec, AVX512).kernel
    copies = [{s.array for s in statements(inside) if isinstance(s, Store) and s.array.name.startswith("b")}
              for inside in ([kernel.loop], *(x.then for x in statements([kernel.loop]) if isinstance(x, If)))]
    assert copies[0] and any(copies[1:])


def test_batches(rng):
    a, b = buffer((3, 9, 20)), buffer((3, 20, 33))
    x, y = rng.standard_normal((3, 9, 20)).astype("f"), rng.standard_normal((3, 20, 33)).astype("f")
    product = a.reshape((3, 9, 1, 20)).expand((3, 9, 33, 20)).binary(
        Op.MUL, b.permute((0, 2, 1)).reshape((3, 1, 33, 20)).expand((3, 9, 33, 20)))
    check([product.reduce(Op.SUM, (3,)).reshape((3, 9, 33))], {a: x, b: y}, [x @ y], 1e-4, native=True)


@pytest.mark.parametrize(("width", "channels", "stride"), [(6, 4, 1), (14, 9, 1), (9, 4, 2)])
def test_convolution_with_padding(width, channels, stride, rng):
    a, w = buffer((2, channels, width, width)), buffer((12, channels, 3, 3))
    x, y = rng.standard_normal(a.shape).astype("f"), rng.standard_normal(w.shape).astype("f")
    window = a.pad(((0, 0, 0), (0, 0, 0), (1, 1, 0), (1, 1, 0))).window(((2, 3, stride, 1), (3, 3, stride, 1)))
    n, c, h, v, kh, kv = window.shape
    left = window.permute((0, 2, 3, 1, 4, 5)).reshape((n, 1, h, v, c, kh, kv)).expand((n, 12, h, v, c, kh, kv))
    right = w.reshape((1, 12, 1, 1, c, kh, kv)).expand((n, 12, h, v, c, kh, kv))
    node = left.binary(Op.MUL, right).reduce(Op.SUM, (4, 5, 6)).reshape((n, 12, h, v))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]
    check([node], {a: x, w: y}, [np.einsum("nchvij,ocij->nohv", view, y)], 1e-4, native=True)


@pytest.mark.parametrize("dtype", [float64, int32, int64])
def test_dtypes(dtype, rng):
    x, y = (rng.integers(-9, 9, (m, 40)).astype(dtype.numpy) for m in (13, 21))
    a, b = buffer((13, 40), dtype), buffer((21, 40), dtype)
    check([matmul(a, b)], {a: x, b: y}, [x @ y.T], native=True)


@pytest.mark.parametrize("dtype", [float16, bfloat16])
def test_halves(dtype, rng):
    x, y = (rng.standard_normal((m, 40)).astype(dtype.numpy) for m in (13, 21))
    a, b = buffer((13, 40), dtype), buffer((21, 40), dtype)
    check([matmul(a, b)], {a: x, b: y}, [(x.astype("f") @ y.astype("f").T).astype(dtype.numpy)], 2e-2, native=True)


@pytest.mark.parametrize(("size", "steps"), [
    ((13, 37, 40), None), ((20, 33, 9), None), ((9, 16, 700), None),
    ((13, 37, 41), "multiply(x0, 3, x1, 16), lanes(x1, 8), word(r0), keep(a, scratch), keep(b, scratch)"),
    ((13, 37, 50), "multiply(x0, 4, x1, 16), lanes(x1, 16), split(r0, 7), word(r0), keep(a, scratch), "
                   "keep(b, scratch)")])
@pytest.mark.parametrize("turned", [False, True])
def test_two_products_at_once(size, steps, turned, rng):
    """The same bits as one after the other, odd lengths and odd blocks of the sum too."""
    m, n, k = size
    x, y = rng.standard_normal((m, k)).astype(bfloat16.numpy), rng.standard_normal((n, k)).astype(bfloat16.numpy)
    a, b = buffer((k, m) if turned else (m, k), bfloat16), buffer((n, k) if turned else (k, n), bfloat16)
    values = {a: x.T if turned else x, b: y if turned else y.T}
    a, b = (a.permute((1, 0)), b) if turned else (a, b.permute((1, 0)))
    node = matmul(a, b)
    plain = AVX512 if steps is None else replace(AVX512, steps=(("*", (steps.replace("word(r0), ", ""),)),))
    pairs = replace(plain, dots=("bfloat16",), steps=plain.steps if steps is None else (("*", (steps,)),))
    spec = spec_of(node)
    assert "word(r0)" in lower(spec, pairs).strategies[0] and "word" not in lower(spec, plain).strategies[0]
    one, two = (run(spec, values, target=target)[node] for target in (plain, pairs))
    assert one.tobytes() == two.tobytes()
    np.testing.assert_allclose(one.astype("f"), x.astype("f") @ y.astype("f").T, 2e-2, 2e-2)
    if "bfloat16" in host_target().dots:
        assert run(spec, values, target=pairs, native=True)[node].tobytes() == one.tobytes()


WORDS = [(int8, int8, int32), (uint8, int8, int32), (int8, uint8, int32), (uint8, uint8, int32), (int8, int8, int8),
         (uint8, uint8, uint8), (uint8, int8, int16), (int16, int8, int32), (int16, int16, int16),
         (uint8, int16, int32)]


@pytest.mark.sample(8)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("size", [(13, 37, 40), (20, 33, 9), (9, 16, 2100), (8, 20, 31)])
@pytest.mark.parametrize(("left", "right", "total"), WORDS)
def test_products_of_integers_at_once(left, right, total, size, turned, rng):
    """The sums of integers modulo 2^bits, of numbers that would saturate 16 bits, too."""
    m, n, k = size
    x, y = (rng.choice([d.min, d.max, 0, 1, d.max - 1], s).astype(d.numpy)
            for d, s in ((left, (m, k)), (right, (k, n))))
    x[0], y[:, 0] = left.min or left.max, right.min or right.max
    a, b = buffer((k, m) if turned else (m, k), left), buffer((n, k) if turned else (k, n), right)
    values = {a: x.T if turned else x, b: y.T if turned else y}
    rows, columns = (a.permute((1, 0)), b) if turned else (a, b.permute((1, 0)))
    node = matmul(rows.cast(total), columns.cast(total))
    want = (x.astype("i8") @ y.astype("i8")).astype(total.numpy)
    spec = spec_of(node)
    for plain, feature in ((AVX512, "avx512vnni"), (AVX2, "avxvnni")):
        words = replace(plain, dots=("int8", "int16"))
        assert "word(r0)" in lower(spec, words).strategies[0] and "word" not in lower(spec, plain).strategies[0]
        assert np.array_equal(run(spec, values, target=words)[node], want)
        if plain in RUNNABLE and HOST.get(feature):
            assert np.array_equal(run(spec, values, target=words, native=True)[node], want)


def test_words_are_of_what_the_instruction_multiplies(rng):
    """No words for a sum that would not wrap where 32 bits do, or of wider numbers; of few rows, along the sum."""
    words = replace(AVX512, dots=("int8", "int16"))
    for left, total, rows in ((int8, int64, 16), (int32, int32, 16), (int8, int32, 3)):
        a, b = buffer((rows, 64), left), buffer((32, 64), int8)
        (note,) = lower(spec_of(matmul(a.cast(total), b.cast(total))), words).strategies
        assert ("word(r0)" in note) == note.startswith("rows") == (rows == 3)


def test_words_of_other_numbers_are_refused():
    """Of a type without the instruction, and of a factor that is not copied."""
    steps = "multiply(x0, 3, x1, 16), lanes(x1, 8), word(r0), keep(a, scratch)"
    for dtype, text in ((int32, f"{steps}, keep(b, scratch)"), (int8, steps)):
        target = replace(AVX512, dots=("int8",), steps=(("*", (text,)),))
        node = matmul(buffer((13, 40), dtype).cast(int32), buffer((37, 40), dtype).cast(int32))
        with pytest.raises(ScheduleError, match=r"word\(\) is of the last axis of the sum, where both factors are"):
            lower(spec_of(node), target)


@pytest.mark.parametrize("steps", [
    "multiply(x0, 3, x1, 16), lanes(x1, 8), split(r0, 7), word(r0), keep(a, scratch), keep(b, scratch)",
    "multiply(x0, 4, x1, 8), lanes(x1, 8), split(r0, 12), word(r0), keep(a, scratch), keep(b, scratch), "
    "parallel(x0, 1), parallel(x1, 2)"])
def test_words_in_blocks_of_a_sum(steps, rng):
    x, y = rng.integers(-128, 128, (13, 41)).astype("i1"), rng.integers(0, 256, (41, 37)).astype("u1")
    a, b = buffer((13, 41), int8), buffer((41, 37), uint8)
    node = matmul(a.cast(int32), b.permute((1, 0)).cast(int32))
    target = replace(AVX512, dots=("int8",), steps=(("*", (steps,)),))
    assert np.array_equal(run(spec_of(node), {a: x, b: y}, target=target)[node], x.astype("i4") @ y.astype("i4"))


def test_gathered_rows_are_packed(rng):
    table, at, w = buffer((50, 32)), buffer((20,), int64), buffer((24, 32))
    x, y = rng.standard_normal((50, 32)).astype("f"), rng.standard_normal((24, 32)).astype("f")
    places = rng.integers(0, 50, 20)
    node = matmul(table.gather([at]), w)
    check([node], {table: x, at: places, w: y}, [x[places] @ y.T], 1e-4, native=True)


@pytest.mark.parametrize("target", [SCALAR, AVX2, AVX512])
def test_tiles_fit_the_registers(target):
    lowered = lower(spec_of(matmul(buffer((1024, 1024)), buffer((1024, 1024)).permute((1, 0)))), target)
    (note,) = lowered.strategies
    assert note.startswith("contraction over x0 = 1024, x1 = 1024, r0 = 1024: multiply(x0, ")
    steps = parse(note.split(": ")[1].split(";")[0])
    _, rows, columns, width = steps.named("multiply")[0].args
    vectors = width // steps.count("lanes", columns)
    assert rows * vectors + vectors + 1 <= target.vector_registers
    assert lowered.iterations >= 16
    assert lowered.flops == 2 * 1024**3


def test_small_products_take_no_packing():
    (note,) = lower(spec_of(matmul(buffer((4, 2)), buffer((8, 2)))), AVX512).strategies
    assert note.startswith("rows")
