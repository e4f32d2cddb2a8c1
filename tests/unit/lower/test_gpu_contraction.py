"""Stage: tests of lower. In: sums of products for a GPU. Out: that tiles in shared memory, their edges, what is
computed on the way into them and out of registers give NumPy's products, with no race between threads. Next:
``test_stages.py``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minigrad.conformance.contractions import matmul as batched
from minigrad.conformance.programs import softmax
from minigrad.dtype import bfloat16, float16, float64, int32, int64
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import Barrier, For, Load
from minigrad.kernel.verify import verify
from minigrad.kernel.walk import all_values, statements
from minigrad.lower import lower
from minigrad.ops import Op
from minigrad.target import CUDA, GPU
from tests.unit.lower.specs import buffer, matmul, run, spec_of
from tests.unit.lower.test_contraction import operands
from tests.unit.schedule.planning import plan

NARROW = replace(GPU, workgroup=64, parallel_min=1)
"""Small workgroups that take large tiles: little for the interpreter to do."""

SIZES = [(8, 16, 8), (13, 37, 29), (20, 10, 5), (5, 40, 17)]


def check(nodes, values, wanted, tolerance=1e-5, target=NARROW):
    """The stores are ``wanted``, by the interpreter, which sees races and what is outside an array. Returns the
    strategy's note."""
    spec = spec_of(*nodes)
    got = run(spec, values, target=target)
    for node, want in zip(nodes, wanted, strict=True):
        assert got[node].dtype == want.dtype
        np.testing.assert_allclose(got[node].astype("f8"), want.astype("f8"), tolerance, tolerance)
    (note,) = lower(spec, target).strategies
    assert note.startswith("contraction")
    return note


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("a_turned", [False, True])
@pytest.mark.parametrize("b_turned", [False, True])
def test_layouts(size, a_turned, b_turned, rng):
    a, b, values, x, y = operands(*size, a_turned, b_turned, rng)
    check([matmul(a, b)], values, [(x.astype("f8") @ y).astype("f")])


def test_long_sums_are_added_up_in_blocks(rng):
    a, b, values, x, y = operands(8, 8, 600, False, True, rng)
    check([matmul(a, b)], values, [(x.astype("f8") @ y).astype("f")])
    ones = {n: np.ones(n.shape, "f") for n in values}
    lowered = lower(spec_of(matmul(a, b)), NARROW)
    blocks = [s for s in statements(lowered.kernel) if isinstance(s, For) and str(s.var).startswith("block")]
    assert blocks and int(blocks[0].stop) == 3
    check([matmul(a, b)], ones, [np.full((8, 8), 600, "f")])


@pytest.mark.parametrize("op", [Op.EXP, Op.LOG])
def test_prologues_are_computed_on_the_way_to_shared_memory(op, rng):
    """Also where K ends inside a tile: exp(0) is not 0, log(0) times 0 is NaN."""
    a, b, values, x, y = operands(13, 20, 11, False, True, rng)
    values = {n: np.abs(v) + 0.5 for n, v in values.items()}
    x, y = np.abs(x) + 0.5, np.abs(y) + 0.5
    change = {Op.EXP: np.exp, Op.LOG: np.log}[op]
    check([matmul(a.unary(op), b.unary(op))], values, [change(x) @ change(y)], 1e-4)


@pytest.mark.parametrize("size", [(13, 37, 29), (16, 32, 16)])
def test_epilogues_are_computed_from_registers(size, rng):
    """Bias, activation, residual; two results of one sum."""
    a, b, values, x, y = operands(*size, False, True, rng)
    row, other = buffer((size[1],)), buffer((size[0], size[1]))
    r, o = rng.standard_normal(size[1]).astype("f"), rng.standard_normal(size[:2]).astype("f")
    total = matmul(a, b).binary(Op.ADD, row.reshape((1, size[1])).expand(size[:2]))
    positive = total.binary(Op.MAXIMUM, total.like(0.0)).binary(Op.ADD, other)
    want = (x.astype("f8") @ y + r).astype("f")
    check([positive, total], {**values, row: r, other: o}, [np.maximum(want, 0) + o, want], 1e-4)


def test_one_kernel_for_matmul_bias_relu_reads_each_operand_once_a_tile():
    """Every load of an operand stands in a copy to shared memory, and there is one barrier a step."""
    a, b = buffer((256, 512)), buffer((512, 256))
    total = matmul(a, b.permute((1, 0))).binary(Op.ADD, buffer((256,)).reshape((1, 256)).expand((256, 256)))
    lowered = lower(spec_of(total.binary(Op.MAXIMUM, total.like(0.0))), GPU)
    loads = [v for v in all_values(lowered.kernel) if isinstance(v, Load) and v.array.scope == "global"]
    assert len(loads) == 5  # each operand in the first tile and in the next one, and the bias
    (loop,) = [s for s in statements(lowered.kernel) if isinstance(s, For) and str(s.var).startswith("step")]
    assert sum(isinstance(s, Barrier) for s in statements(loop.body)) == 1
    assert lowered.flops == 2 * 256 * 256 * 512


def test_result_along_the_other_operand(rng):
    """(a @ b).T stored row-major: the operands change places."""
    a, b, values, x, y = operands(20, 24, 10, False, False, rng)
    check([matmul(a, b).permute((1, 0))], values, [np.ascontiguousarray((x @ y).T)])


def test_batches(rng):
    a, b = buffer((3, 9, 20)), buffer((3, 20, 33))
    x, y = rng.standard_normal((3, 9, 20)).astype("f"), rng.standard_normal((3, 20, 33)).astype("f")
    product = a.reshape((3, 9, 1, 20)).expand((3, 9, 33, 20)).binary(
        Op.MUL, b.permute((0, 2, 1)).reshape((3, 1, 33, 20)).expand((3, 9, 33, 20)))
    check([product.reduce(Op.SUM, (3,)).reshape((3, 9, 33))], {a: x, b: y}, [x @ y])


def test_several_axes_of_each_kind(rng):
    """einsum abcd,cdef->eafb: two axes of rows, of columns and of K, in an order of their own."""
    a, b = buffer((2, 5, 3, 4)), buffer((3, 4, 6, 2))
    x, y = rng.standard_normal(a.shape).astype("f"), rng.standard_normal(b.shape).astype("f")
    whole = (6, 2, 2, 5, 3, 4)  # e a f b c d
    left = a.permute((0, 1, 2, 3)).reshape((1, 2, 1, 5, 3, 4)).expand(whole)
    right = b.permute((2, 3, 0, 1)).reshape((6, 1, 2, 1, 3, 4)).expand(whole)
    node = left.binary(Op.MUL, right).reduce(Op.SUM, (4, 5)).reshape(whole[:4])
    check([node], {a: x, b: y}, [np.einsum("abcd,cdef->eafb", x, y)])


@pytest.mark.parametrize(("width", "channels", "stride"), [(6, 4, 1), (9, 3, 2)])
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
    check([node], {a: x, w: y}, [np.einsum("nchvij,ocij->nohv", view, y)], 1e-4)


@pytest.mark.parametrize("dtype", [float64, int32, int64])
def test_dtypes(dtype, rng):
    x, y = (rng.integers(-9, 9, (m, 20)).astype(dtype.numpy) for m in (13, 21))
    a, b = buffer((13, 20), dtype), buffer((21, 20), dtype)
    check([matmul(a, b)], {a: x, b: y}, [x @ y.T])


@pytest.mark.parametrize("dtype", [float16, bfloat16])
def test_halves_are_added_up_in_float32(dtype, rng):
    x, y = (rng.standard_normal((m, 20)).astype(dtype.numpy) for m in (13, 21))
    a, b = buffer((13, 20), dtype), buffer((21, 20), dtype)
    check([matmul(a, b)], {a: x, b: y}, [(x.astype("f") @ y.astype("f").T).astype(dtype.numpy)], 1e-2)


def test_gathered_rows(rng):
    table, at, w = buffer((50, 16)), buffer((20,), int64), buffer((24, 16))
    x, y = rng.standard_normal((50, 16)).astype("f"), rng.standard_normal((24, 16)).astype("f")
    places = rng.integers(0, 50, 20)
    check([matmul(table.gather([at]), w)], {table: x, at: places, w: y}, [x[places] @ y.T])


@pytest.mark.parametrize(("queries", "keys", "width"), [(37, 41, 20), (32, 64, 16)])
def test_attention_in_one_kernel(queries, keys, width, rng):
    """Both products by tiles, for blocks of queries; the first reads no scores, the second those in shared memory."""
    q, k, v = (buffer((2, n, width)) for n in (queries, keys, keys))
    values = {n: rng.standard_normal(n.shape).astype("f") for n in (q, k, v)}
    scores = batched(q, k.permute((0, 2, 1)))
    node = batched(softmax(scores.binary(Op.MUL, scores.like(width**-0.5)), (2,)), v)
    (launch,) = plan(node, target=GPU).launches
    lowered = lower(launch.spec, GPU)
    verify(lowered.kernel)
    assert [n.split()[0] for n in lowered.strategies] == ["contraction", "rows", "rows", "map", "contraction"]
    assert sum(a.size for a in lowered.kernel.arrays) == sum(n.size for n in (q, k, v, node)), "no scores outside"
    of = {m.name: n for n, m in launch.spec.memory.items() if m.scope == "global"}
    memory = {a.name: values.get(of[a.name], np.zeros(node.shape, "f")).reshape(-1).copy()
              for a in lowered.kernel.arrays}
    interpret(lowered.kernel, memory)
    s = np.exp(np.einsum("bqd,bkd->bqk", values[q], values[k]) * width**-0.5)
    want = np.einsum("bqk,bkd->bqd", s / s.sum(-1, keepdims=True), values[v])
    np.testing.assert_allclose(memory["out"].reshape(node.shape), want, 1e-5, 1e-5)


@pytest.mark.parametrize("target", [GPU, CUDA])
@pytest.mark.parametrize("size", [(1024, 1024, 1024), (4096, 4096, 4096), (128, 784, 256), (64, 3136, 576),
                                  (1000, 10, 50), (7, 3000, 3000)])
def test_tiles_fit_registers_and_shared_memory(target, size):
    m, n, k = size
    lowered = lower(spec_of(matmul(buffer((m, k)), buffer((n, k)))), target)
    arrays = {s.array for s in statements(lowered.kernel) if hasattr(s, "array")}
    shared = sum(a.size * a.dtype.size for a in arrays if a.scope == "shared")
    assert 0 < shared <= target.shared
    assert max(a.size for a in arrays if a.scope == "register") <= target.vector_registers
    assert lowered.kernel.workgroup <= target.workgroup
    if m * n >= 1 << 20:
        assert lowered.iterations >= target.parallel_min


def test_vectors_times_matrices_are_rows():
    (note,) = lower(spec_of(matmul(buffer((1, 64)), buffer((64, 64)))), GPU).strategies
    assert note.startswith("rows")
