"""Stage: tests of lower. In: sums of products of halves (and of float32 as tf32) for a GPU with matrix instructions.
Out: that tiles, their edges and what follows the sums give NumPy's products, with no race between threads, by the
interpreter, and the same bits in the emulation of CUDA. Next: ``test_stages.py``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minigrad import einsum, tensor
from minigrad.conformance.contractions import matmul as batched
from minigrad.conformance.programs import softmax
from minigrad.dtype import DType, bfloat16, float16, float32, int64
from minigrad.errors import ScheduleError
from minigrad.kernel.compute import round_to_tf32
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import Alloc, Copy, For, Load, Multiply
from minigrad.kernel.shared import SharedLayout
from minigrad.kernel.show import show
from minigrad.kernel.verify import verify
from minigrad.kernel.walk import all_values, statements
from minigrad.lower import lower
from minigrad.lower.neighbours import Chosen, neighbours
from minigrad.lower.steps import Step, Steps
from minigrad.nn import functional
from minigrad.ops import Op
from minigrad.render.cuda import render_cuda
from minigrad.runtime import nvrtc
from minigrad.target import CUDA
from tests.cuda_emulation.device import CudaEmulationDevice
from tests.unit.lower.specs import buffer, matmul, memory_of, run, spec_of
from tests.unit.schedule.planning import plan

NARROW = replace(CUDA, workgroup=64, parallel_min=1, matrix=("float16", "bfloat16", "float32"))
"""Small workgroups that take large tiles: little for the interpreter to do."""

SIZES = [(16, 32, 16), (13, 37, 29), (40, 24, 72), (5, 50, 20)]
LAYOUTS = [(False, False), (False, True), (True, False), (True, True)]


def operands(m: int, n: int, k: int, a_turned: bool, b_turned: bool, rng, dtype: DType = float16):
    """Nodes of shapes (m, k) and (n, k), their memory, and the memory as matrices (m, k) and (k, n)."""
    x, y = (rng.standard_normal(shape).astype(dtype.numpy) for shape in ((m, k), (k, n)))
    a, b = buffer((k, m) if a_turned else (m, k), dtype), buffer((n, k) if b_turned else (k, n), dtype)
    values = {a: x.T if a_turned else x, b: y.T if b_turned else y}
    return a.permute((1, 0)) if a_turned else a, b if b_turned else b.permute((1, 0)), values, x, y


def wide(x: np.ndarray) -> np.ndarray:
    """What is multiplied, in float64."""
    return (round_to_tf32(x) if x.dtype == np.float32 else x).astype("f8")


def check(nodes, values, wanted, tolerance=1e-5, target=NARROW, step="matrix(") -> str:
    """The stores are ``wanted`` but for the rounding of their dtype, and the kernel has matrix instructions, by a step.
    Returns the strategy's note."""
    spec = spec_of(*nodes)
    got = run(spec, values, target=target)
    for node, want in zip(nodes, wanted, strict=True):
        error = {float16: 2**-11, bfloat16: 2**-8}.get(node.dtype, 0) + tolerance
        np.testing.assert_allclose(got[node].astype("f8"), want, error, tolerance)
    (note,) = lower(spec, target).strategies
    assert step in note
    return note


def multiplies(node, target=NARROW) -> list[Multiply]:
    return [s for s in statements(lower(spec_of(node), target).kernel) if isinstance(s, Multiply)]


@pytest.mark.sample(16)
@pytest.mark.parametrize("dtype", [float16, bfloat16, float32])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(dtype, size, layout, rng):
    a, b, values, x, y = operands(*size, *layout, rng, dtype)
    check([matmul(a, b)], values, [wide(x) @ wide(y)])
    assert {m.dtype for m in multiplies(matmul(a, b))} == {dtype}


def test_tiles_lie_as_their_operands_do(rng):
    """Steps of K side by side, or rows; nothing is turned on the way to shared memory."""
    for a_turned, b_turned in LAYOUTS:
        (multiply, ) = multiplies(matmul(*operands(64, 64, 64, a_turned, b_turned, rng)[:2]))
        assert (multiply.a.row == 1, multiply.b.row == 1) == (a_turned, not b_turned)
        assert (multiply.a.step == 1, multiply.b.step == 1) == (not a_turned, b_turned)


def test_epilogues_are_computed_from_registers(rng):
    """Bias, activation, residual; two results of one sum; odd sizes."""
    for size in ((13, 37, 29), (32, 64, 16)):
        a, b, values, x, y = operands(*size, False, True, rng)
        row, other = buffer((size[1],), float16), buffer(size[:2])
        r, o = rng.standard_normal(size[1]).astype("f2"), rng.standard_normal(size[:2]).astype("f")
        total = matmul(a, b).binary(Op.ADD, row.reshape((1, size[1])).expand(size[:2]))
        positive = total.binary(Op.MAXIMUM, total.like(0.0)).cast(float32).binary(Op.ADD, other)
        want = wide(x) @ wide(y) + r
        spec = spec_of(positive, total)
        got = run(spec, {**values, row: r, other: o}, target=NARROW)
        np.testing.assert_allclose(got[total].astype("f8"), want, 1e-3, 1e-3)
        np.testing.assert_allclose(got[positive], np.maximum(want, 0) + o, 1e-2, 1e-2)
        assert "matrix(" in lower(spec, NARROW).strategies[0]


def test_batches_and_results_turned(rng):
    x, y = rng.standard_normal((3, 9, 20)).astype("f2"), rng.standard_normal((3, 20, 34)).astype("f2")
    a, b = buffer(x.shape, float16), buffer(y.shape, float16)
    check([batched(a, b)], {a: x, b: y}, [wide(x) @ wide(y)])
    a, b, values, x, y = operands(20, 24, 16, False, False, rng)
    check([matmul(a, b).permute((1, 0))], values, [(wide(x) @ wide(y)).T])


def test_convolution_with_padding(rng):
    a, w = buffer((2, 8, 6, 6), float16), buffer((12, 8, 3, 3), float16)
    x, y = (rng.standard_normal(n.shape).astype("f2") for n in (a, w))
    window = a.cast(float32).pad(((0, 0, 0), (0, 0, 0), (1, 1, 0), (1, 1, 0))).window(((2, 3, 1, 1), (3, 3, 1, 1)))
    n, c, h, v, kh, kv = window.shape
    left = window.permute((0, 2, 3, 1, 4, 5)).reshape((n, 1, h, v, c, kh, kv)).expand((n, 12, h, v, c, kh, kv))
    right = w.cast(float32).reshape((1, 12, 1, 1, c, kh, kv)).expand((n, 12, h, v, c, kh, kv))
    node = left.binary(Op.MUL, right).reduce(Op.SUM, (4, 5, 6)).reshape((n, 12, h, v)).cast(float16)
    view = np.lib.stride_tricks.sliding_window_view(np.pad(wide(x), ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
    check([node], {a: x, w: y}, [np.einsum("nchvij,ocij->nohv", view, wide(y))], 1e-4)


def test_gathered_rows(rng):
    table, at, w = buffer((50, 16), float16), buffer((20,), int64), buffer((24, 16), float16)
    x, y = rng.standard_normal((50, 16)).astype("f2"), rng.standard_normal((24, 16)).astype("f2")
    places = rng.integers(0, 50, 20)
    check([matmul(table.gather([at]), w)], {table: x, at: places, w: y}, [wide(x)[places] @ wide(y).T])


def test_long_sums_are_added_up_in_blocks_where_it_shows(rng):
    """In float32, of halves: their products are exact. Not of tf32, nor where the result is a half."""
    for dtype, blocks in ((float16, True), (float32, False)):
        a, b, values, x, y = operands(16, 16, 600, False, True, rng, dtype)
        if dtype is not float32:
            a, b = a.cast(float32), b.cast(float32)
        check([matmul(a, b)], values, [wide(x) @ wide(y)])
        loops = [s for s in statements(lower(spec_of(matmul(a, b)), NARROW).kernel) if isinstance(s, For)]
        assert any(str(s.var).startswith("block") for s in loops) == blocks


def test_what_has_no_instruction_takes_other_tiles(rng):
    half, bfloat, single = (buffer((64, 64), d) for d in (float16, bfloat16, float32))
    assert multiplies(matmul(half, half))
    assert multiplies(matmul(single, single))
    assert not multiplies(matmul(single, single), CUDA), "tf32 is a matter of choice"
    assert not multiplies(matmul(half, half), replace(NARROW, matrix=())), "a GPU without"
    assert not multiplies(matmul(half, half), replace(NARROW, subgroup=64))
    assert not multiplies(matmul(half.cast(float32), bfloat.cast(float32))), "two dtypes"
    assert not multiplies(matmul(half.unary(Op.EXP), half)), "computed on the way"


@pytest.mark.parametrize("dtype", [float16, bfloat16])
@pytest.mark.parametrize("record", [
    lambda a, b, c: a @ b, lambda a, b, c: functional.linear(a, b, c), lambda a, b, c: c.addmm(a, b, alpha=2.0),
    lambda a, b, c: einsum("ij,kj->ki", a, b), lambda a, b, c: a.reshape(8, 8, 64) @ b,
    lambda a, b, c: functional.conv2d(a.reshape(4, 16, 8, 8), b.reshape(-1)[:2304].reshape(16, 16, 3, 3), c[:16])],
    ids=["matmul", "linear", "addmm", "einsum", "folded", "convolution"])
def test_what_the_front_records_reads_halves(record, dtype, rng):
    """One launch, by matrix instructions; no copy of an operand or of a bias in float32."""
    a, b, c = (tensor(rng.standard_normal(s).astype("f4")).to(dtype).realize() for s in ((64, 64), (64, 64), (64,)))
    (launch,) = plan(record(a, b, c)._pending(), target=NARROW).launches
    lowered = lower(launch.spec, NARROW)
    assert "matrix(" in lowered.strategies[0]
    assert all(x.dtype.size == 2 for x in lowered.kernel.arrays), lowered.kernel.arrays


def test_a_rounded_product_is_no_operand_of_the_instructions():
    """``(a * b).sum()`` of halves rounds each product."""
    a, b = (buffer((64, 64), float16).reshape(s).expand((64, 64, 64)) for s in ((64, 1, 64), (1, 64, 64)))
    assert not multiplies(a.binary(Op.MUL, b).reduce(Op.SUM, (2,)))


@pytest.mark.parametrize(("queries", "keys", "width"), [(37, 41, 20), (32, 64, 16)])
def test_attention(queries, keys, width, rng):
    """The products of a kernel with several stages."""
    q, k, v = (buffer((2, n, width), float16) for n in (queries, keys, keys))
    values = {n: rng.standard_normal(n.shape).astype("f2") for n in (q, k, v)}
    scores = batched(q, k.permute((0, 2, 1))).cast(float32)
    node = batched(softmax(scores.binary(Op.MUL, scores.like(width**-0.5)), (2,)).cast(float16), v)
    launches = plan(node, target=NARROW).launches
    spec = launches[-1].spec
    lowered = lower(spec, NARROW)
    verify(lowered.kernel)
    assert len(launches) == 1 and any("matrix" in n for n in lowered.strategies)
    of = {m.name: n for n, m in spec.memory.items() if m.scope == "global"}
    memory = {a.name: values.get(of[a.name], np.zeros(node.shape, "f2")).reshape(-1).copy()
              for a in lowered.kernel.arrays}
    interpret(lowered.kernel, memory)
    s = np.exp(np.einsum("bqd,bkd->bqk", *(values[n].astype("f8") for n in (q, k))) * width**-0.5)
    want = np.einsum("bqk,bkd->bqd", s / s.sum(-1, keepdims=True), values[v].astype("f8"))
    np.testing.assert_allclose(memory["out"].reshape(node.shape).astype("f8"), want, 1e-2, 1e-2)


@pytest.mark.parametrize("size", [(1024, 1024, 1024), (4096, 4096, 4096), (128, 784, 256), (7, 3000, 3000)])
@pytest.mark.parametrize("dtype", [float16, float32])
@pytest.mark.parametrize("pipeline", [0, CUDA.pipeline])
def test_tiles_fit_registers_and_shared_memory(size, dtype, pipeline):
    m, n, k = size
    target = replace(CUDA, matrix=NARROW.matrix, pipeline=pipeline)
    lowered = lower(spec_of(matmul(buffer((m, k), dtype), buffer((n, k), dtype))), target)
    arrays = {s.array for s in statements(lowered.kernel) if hasattr(s, "array")}
    ahead = "pipeline(" in lowered.strategies[0]
    assert ahead or not pipeline or m < 64, "a large product is a pipeline"
    assert 0 < SharedLayout(lowered.kernel).bytes <= (target.shared_at_launch if ahead else target.shared)
    assert max(a.size for a in arrays if a.scope == "register") <= 64
    loads = [v for v in all_values(lowered.kernel) if isinstance(v, Load) and v.array.scope == "global"]
    copies = [s for s in statements(lowered.kernel) if isinstance(s, Copy)]
    assert len(loads) == (0 if ahead else 4), "each operand in the first tile and in the next one"
    assert len(copies) == 2 * pipeline * ahead, "each operand in all tiles but one before the loop, and in the loop"
    if m >= 1024:
        assert "matrix(" in lowered.strategies[0] and lowered.iterations >= target.parallel_min


# --- the order of tiles


def in_groups(text: str, group: int, target=NARROW):
    return stepped(f"{text}, group(x0, {group})" if group else text, target)


@pytest.mark.parametrize("steps", [
    "block(32), matrix(x0, 16, x1, 16), split(r0, 16), keep(a, shared), keep(b, shared)",
    "block(64), multiply(x0, 2, x1, 2), split(x0, 16), split(x1, 16), split(r0, 8), keep(a, shared), keep(b, shared)"])
def test_workgroups_take_tiles_in_groups(steps, rng):
    a, b, values, x, y = operands(90, 40, 32, False, True, rng)  # 6 tiles by 3
    want, orders = None, []
    for group in (0, 2, 3, 6):
        node, target = matmul(a, b), in_groups(steps, group)
        got = run(spec_of(node), values, target=target)[node]
        assert want is None or np.array_equal(got, want)
        want, lowered = got, lower(spec_of(node), target)
        (note,) = lowered.strategies
        assert (f"group(x0, {group})" in note) == bool(group) and "18 workgroups" in note
        orders.append(show(lowered.kernel).split("block t0")[0])
    np.testing.assert_allclose(want.astype("f8"), wide(x) @ wide(y), 1e-3, 1e-3)
    assert len(set(orders)) == 4
    for bad in (4, 5):
        with pytest.raises(ScheduleError, match="there are 6 tiles along the rows, x0, and groups divide"):
            lower(spec_of(matmul(a, b)), in_groups(steps, bad))
    with pytest.raises(ScheduleError, match="there are 6 tiles along the rows, x0"):
        lower(spec_of(matmul(a, b)), stepped(f"{steps}, group(x1, 3)"))


def test_many_tiles_are_taken_in_groups():
    def steps(size: int) -> str:
        return lower(spec_of(matmul(*[buffer((size, size), float16)] * 2)), CUDA).strategies[0]

    assert "group(x0, 8)" in steps(4096) and "group(" not in steps(1024)
    chosen = Chosen.read(steps(4096))
    assert chosen is not None
    assert {s.count("group", "x0") for s in neighbours(chosen, CUDA)} == {4, 8, 16}


# --- pipelines

DEEP = "block(64), matrix(x0, 32, x1, 16), split(x0, 64), split(x1, 16), split(r0, {depth}), keep(a, shared), " \
       "keep(b, shared), pipeline(r0, {stages})"


def stepped(steps: str, target=NARROW):
    """The target with these steps for every kernel."""
    return replace(target, steps=(("*", (steps,)),))


@pytest.mark.sample(8)
@pytest.mark.parametrize("dtype", [float16, bfloat16, float32])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("stages", "k"), [(2, 64), (3, 96), (4, 36), (5, 32)])
def test_pipelines(stages, k, dtype, layout, rng):
    """More stages than tiles, a last tile that is not whole, rows that no tile ends with."""
    a, b, values, x, y = operands(72, 24, k, *layout, rng, dtype)
    target = stepped(DEEP.format(depth=16, stages=stages))
    note = check([matmul(a, b)], values, [wide(x) @ wide(y)], target=target)
    assert f"pipeline(r0, {stages})" in note
    kernel = lower(spec_of(matmul(a, b)), target).kernel
    shared = sum(s.array.size for s in statements(kernel) if isinstance(s, Alloc) and s.array.scope == "shared")
    assert shared >= min(stages, -(-k // 16)) * (64 + 16) * 16, "a tile each"


def test_pipelines_that_cannot_be(rng):
    def fails(message, text, dtype=float16, size=(64, 32, 64), target=NARROW):
        a, b, *_ = operands(*size, False, True, rng, dtype)
        with pytest.raises(ScheduleError, match=message):
            lower(spec_of(matmul(a, b)), stepped(text, target))

    three = DEEP.format(depth=16, stages=3)
    fails("no copies that go on by themselves", three, target=replace(NARROW, pipeline=0))
    fails("the sum has 1 tiles", three, size=(64, 32, 16))
    fails("the sum has 4 tiles; two at least", DEEP.format(depth=16, stages=1))
    fails("copied by itself, which is too few bytes", three, size=(64, 32, 63))
    fails("memory does not hold the tiles", DEEP.format(depth=64, stages=9), size=(64, 32, 1024),
          target=replace(NARROW, shared_at_launch=64 << 10))
    fails("pipeline.r0, 3.: only tiles of .*matrix",
          "block(64), multiply(x0, 4, x1, 4), keep(a, shared), pipeline(r0, 3)")


def test_a_search_tries_pipelines_of_other_lengths():
    lowered = lower(spec_of(matmul(*[buffer((512, 512), float16)] * 2)), NARROW)
    chosen = Chosen.read(lowered.strategies[0])
    assert chosen is not None and chosen.steps.count("pipeline", "r0") == 3
    tried = {steps.count("pipeline", "r0") for steps in neighbours(chosen, NARROW)}
    assert tried == {1, 2, 3, 4}
    plain = Chosen(chosen.strategy, chosen.sizes, Steps(tuple(s for s in chosen.steps if s.name != "pipeline")))
    assert plain.steps + [Step("pipeline", ("r0", 3))] in neighbours(plain, NARROW)


def test_wide_pipelines_ask_for_memory_at_the_launch(rng):
    a, b, *_ = operands(256, 64, 512, False, True, rng)
    lowered = lower(spec_of(matmul(a, b)), stepped(
        "block(128), matrix(x0, 64, x1, 16), split(x0, 128), split(x1, 32), split(r0, 64), keep(a, shared), "
        "keep(b, shared), pipeline(r0, 4)", replace(NARROW, workgroup=256)))
    layout, text = SharedLayout(lowered.kernel), render_cuda([replace(lowered.kernel, name="product")])
    assert layout.launched == layout.bytes == 4 * (128 + 32) * 72 * 2 > 48 << 10
    assert text.count("extern __shared__ __align__(16) unsigned char shared_memory[];") == 1
    assert f"b_tile = (unsigned short *)(shared_memory + {4 * 128 * 72 * 2});" in text


# --- CUDA


def kernels(rng):
    """Kernels with their memory, filled, and by how many elements it misses the alignment of wide accesses; with and
    without a pipeline, and with one that asks for its memory at the launch."""
    yield from kernels_for(NARROW, rng, "ahead")
    yield from kernels_for(replace(NARROW, pipeline=0), rng, "waiting")
    wide = stepped("block(64), matrix(x0, 64, x1, 32), split(x0, 64), split(x1, 64), split(r0, 64), keep(a, shared), "
                   "keep(b, shared), pipeline(r0, 3)")
    for kernel, memory, start in kernels_for(wide, rng, "large", ((float16, (72, 66, 200), (False, True), 0),
                                                                  (bfloat16, (64, 64, 136), (True, False), 1))):
        assert SharedLayout(kernel).launched
        yield kernel, memory, start


PRODUCTS = ((float16, (13, 37, 29), (False, False), 0), (float16, (40, 24, 72), (False, True), 0),
            (float16, (40, 24, 72), (True, False), 1), (bfloat16, (36, 20, 44), (False, False), 0),
            (bfloat16, (64, 32, 96), (True, True), 1), (float32, (40, 24, 72), (False, False), 0),
            (float32, (13, 37, 29), (True, True), 0), (float16, (16, 34, 10), (True, False), 1))


def kernels_for(target, rng, name, products=PRODUCTS):
    for number, (dtype, size, layout, start) in enumerate(products):
        a, b, values, _, _ = operands(*size, *layout, rng, dtype)
        spec = spec_of(matmul(a, b))
        lowered = lower(spec, target)
        yield replace(lowered.kernel, name=f"{name}{number}"), memory_of(lowered, spec, values), start


@pytest.mark.skipif(CudaEmulationDevice.unavailable() is not None, reason="no C++ compiler")
def test_the_emulation_computes_what_the_interpreter_does(rng):
    device, made = CudaEmulationDevice(), list(kernels(rng))
    for program, (kernel, memory, start) in zip(device.compile([k for k, _, _ in made]), made, strict=True):
        given = []
        for array in memory.values():
            room = np.zeros(array.size + 64, array.dtype)
            first = -room.ctypes.data % 64 // array.itemsize + start
            given.append(room[first:first + array.size])
            given[-1][:] = array
        interpret(kernel, memory)
        device.launch(program, [g.ctypes.data for g in given], [], int(kernel.loop.stop))
        for got, want in zip(given, memory.values(), strict=True):
            assert np.array_equal(got, want), kernel.name


@pytest.mark.parametrize(("dtype", "shape"), [(float16, "m16n8k16.row.col.f32.f16.f16.f32"),
                                              (bfloat16, "m16n8k16.row.col.f32.bf16.bf16.f32"),
                                              (float32, "m16n8k8.row.col.f32.tf32.tf32.f32")])
def test_the_text_holds_the_instruction(dtype, shape):
    node = matmul(buffer((64, 64), dtype), buffer((64, 64), dtype))
    text = render_cuda([replace(lower(spec_of(node), NARROW).kernel, name="product")])
    assert f"mma.sync.aligned.{shape} " in text
    assert ("ldmatrix" in text) == (dtype is not float32)
    plain = render_cuda([replace(lower(spec_of(node), replace(CUDA, matrix=())).kernel, name="product")])
    assert "mma" not in plain and "_multiply" not in plain


@pytest.mark.skipif(not nvrtc.compilers(), reason="neither NVRTC nor nvcc is installed")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_it_compiles(architecture, rng):
    text = render_cuda([kernel for kernel, _, _ in kernels(rng)])
    for compiler in nvrtc.compilers():
        assert nvrtc.compile_check(text, architecture, compiler) == ""


@pytest.mark.skipif("nvrtc" not in nvrtc.compilers(), reason="NVRTC is not installed")
def test_copies_are_wide_and_registers_are_registers():
    target = replace(CUDA, matrix=NARROW.matrix)
    specs = [spec_of(matmul(buffer((512, 512), d), buffer((512, 512), d))) for d in (float16, float32)]
    made = [replace(lower(spec, target).kernel, name=f"product{n}") for n, spec in enumerate(specs)]
    ptx = nvrtc.compile_text(render_cuda(made), "compute_80")[0].decode()
    for access in ("cp.async.cg.shared.global", "cp.async.wait_group", "ldmatrix.sync", "mma.sync"):
        assert access in ptx, access
    assert ".local" not in ptx
    target = replace(target, pipeline=0)
    made = [replace(lower(spec, target).kernel, name=f"product{n}") for n, spec in enumerate(specs)]
    ptx = nvrtc.compile_text(render_cuda(made), "compute_80")[0].decode()
    for access in ("ld.global.v4.u32", "st.shared.v4.u32", "ld.global.v4.f32", "ldmatrix.sync", "mma.sync"):
        assert access in ptx, access
    assert ".local" not in ptx and "cp.async" not in ptx
