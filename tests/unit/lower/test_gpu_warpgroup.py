"""Stage: tests of lower. In: products of halves for a GPU whose subgroups multiply together from swizzled tiles, while
threads go on. Out: NumPy's products by the interpreter, the same bits in the emulation, which reads descriptors,
swizzle and fragments as PTX says, and kernels that compile without spills. Next: ``test_stages.py``."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from minigrad.dtype import bfloat16, float16, float32
from minigrad.errors import LaunchError, RaceError, ScheduleError, VerifyError
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import Barrier, For, Kernel, Multiply, Wait
from minigrad.kernel.shared import SharedLayout
from minigrad.kernel.show import show
from minigrad.kernel.verify import verify
from minigrad.kernel.walk import rebuild, statements
from minigrad.lower import lower
from minigrad.lower.gpu import matrix_tile
from minigrad.lower.neighbours import Chosen, neighbours
from minigrad.ops import Op
from minigrad.render import cuda_warpgroup
from minigrad.render.cuda import render_cuda
from minigrad.runtime import nvrtc
from minigrad.target import CUDA, SM_90A
from tests.cuda_emulation.device import CudaEmulationDevice
from tests.unit.lower.specs import buffer, matmul, memory_of, run, spec_of
from tests.unit.lower.test_gpu_matrix import LAYOUTS, check, operands, stepped, wide

STEPS = ("block({threads}), warpgroup(x0, {high}, x1, {wide}), split(x0, {rows}), split(x1, {columns}), split(r0, 64), "
         "{lanes}keep(a, shared), keep(b, shared), pipeline(r0, {stages})")
FITS = {"threads": 128, "high": 64, "wide": 64, "rows": 64, "columns": 64, "lanes": "", "stages": 3}


def target(**changes: object):
    return stepped(STEPS.format(**{**FITS, **changes}), SM_90A)


WAYS = ({}, {"stages": 4, "lanes": "lanes(x1, 2), "}, {"high": 128, "rows": 128},
        {"threads": 256, "rows": 128}, {"threads": 256, "columns": 128, "lanes": "lanes(x1, 2), "},
        {"wide": 128, "columns": 128}, {"wide": 256, "columns": 256, "stages": 5})


@pytest.mark.sample(8)
@pytest.mark.parametrize("dtype", [float16, bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("way", range(len(WAYS)))
def test_products(way, layout, dtype, rng):
    a, b, values, x, y = operands(136, 72, 200, *layout, rng, dtype)  # no tile ends where the matrix does
    note = check([matmul(a, b)], values, [wide(x) @ wide(y)], target=target(**WAYS[way]), step="warpgroup(")
    assert "pipeline(r0" in note


def test_what_follows_the_sums(rng):
    a, b, values, x, y = operands(72, 64, 128, False, True, rng)
    row = buffer((64,), float16)
    r = rng.standard_normal(64).astype("f2")
    node = matmul(a, b).binary(Op.ADD, row.reshape((1, 64)).expand((72, 64)))
    positive = node.binary(Op.MAXIMUM, node.like(0.0))
    spec = spec_of(positive)
    got = run(spec, {**values, row: r}, target=target(lanes="lanes(x1, 2), "))
    np.testing.assert_allclose(got[positive].astype("f8"), np.maximum(wide(x) @ wide(y) + r, 0), 2e-3, 2e-2)


def product(rng, size=(128, 64, 320), layout=(False, True), dtype=bfloat16, **changes):
    a, b, values, _, _ = operands(*size, *layout, rng, dtype)
    spec = spec_of(matmul(a, b))
    lowered = lower(spec, target(**changes))
    return replace(lowered.kernel, name="product"), memory_of(lowered, spec, values)


def test_large_products_are_chosen_to_be_multiplied_together():
    def steps(size, dtype=bfloat16, on=SM_90A) -> str:
        return lower(spec_of(matmul(buffer((size, size), dtype), buffer((size, size), dtype))), on).strategies[0]

    assert "warpgroup(x0, 64, x1, 256), split(x0, 128), split(x1, 256), split(r0, 64)" in steps(4096)
    assert "pipeline(r0, 4); 512 workgroups" in steps(4096)
    assert "warpgroup(" in steps(1024, float16)
    assert "matrix(" in steps(4096, on=CUDA) and "matrix(" in steps(64)
    assert "multiply(" in steps(4096, float32)


def test_the_tiles_lie_as_ptx_wants_them(rng):
    kernel, _ = product(rng, layout=(True, False), columns=64)
    multiply = next(s for s in statements(kernel) if isinstance(s, Multiply))
    assert multiply.together == 4 and multiply.a.array.swizzled
    assert (multiply.a.row, multiply.a.step, multiply.a.block) == (1, 64, 4096)
    tile = "b_tile0[4096*(step0 % 3)] (64 × 64, by 1 and 64, blocks of 64 by 4096)"
    assert f"{tile}, 4 subgroups together" in show(kernel)
    layout = SharedLayout(kernel)
    assert layout.alignment == 1024 and all(at % 1024 == 0 for at in layout.offsets.values())
    assert layout.launched == layout.bytes == 2 * 3 * 64 * 64 * 2


def test_steps_that_cannot_be(rng):
    def fails(message, size=(128, 64, 320), dtype=bfloat16, layout=(False, True), on=SM_90A, **changes):
        a, b, *_ = operands(*size, *layout, rng, dtype)
        with pytest.raises(ScheduleError, match=message):
            lower(spec_of(matmul(a, b)), replace(on, steps=target(**changes).steps))

    fails("subgroups don't multiply bfloat16 together", on=replace(SM_90A, together=()))
    fails("no copies that go on by themselves", on=replace(SM_90A, pipeline=0))
    fails("it takes a pipeline of 3 tiles at least", stages=2)
    fails("rows are multiples of 64, columns of 16", high=32, rows=32)
    fails("rows are multiples of 64, columns of 16, for 16384 results at most", wide=512, columns=512)
    fails("as many times 64 and 64, in all, as it has subgroups by 4, 2", threads=256)
    fails("operands are copied 16 bytes at a time", size=(128, 64, 300))
    fails("the sum has 1 tiles; two at least", size=(128, 64, 64))
    fails("does not hold the tiles", stages=20, size=(128, 64, 4096))
    text = target().steps[0][1][0]
    for missing, message in ((", pipeline(r0, 3)", "it takes a pipeline of 3"),
                             ("split(r0, 64), ", "tiles are 64 steps")):
        a, b, *_ = operands(128, 64, 320, False, True, rng, bfloat16)
        with pytest.raises(ScheduleError, match=message):
            lower(spec_of(matmul(a, b)), stepped(text.replace(missing, ""), SM_90A))


def test_a_search_tries_other_tiles():
    lowered = lower(spec_of(matmul(*[buffer((1024, 1024), bfloat16)] * 2)), SM_90A)
    chosen = Chosen.read(lowered.strategies[0])
    assert chosen is not None and chosen.steps.named("warpgroup")
    texts, made = [str(steps) for steps in neighbours(chosen, SM_90A)], 0
    assert any("pipeline(r0, 3)" in text for text in texts) and any("pipeline(r0, 5)" in text for text in texts)
    for text in texts:
        try:
            lower(spec_of(matmul(*[buffer((1024, 1024), bfloat16)] * 2)), stepped(text, SM_90A))
            made += 1
        except ScheduleError:
            continue
    assert made >= 4


# --- faults that the checkers find


def without(kernel: Kernel, which) -> Kernel:
    return rebuild(kernel, statement=lambda s: () if which(s) else s)


def products(s) -> bool:
    return isinstance(s, Wait) and s.products


def test_sums_that_are_read_before_their_wait_are_no_kernel(rng):
    kernel, _ = product(rng)
    with pytest.raises(VerifyError, match="sums0 is touched with no Wait for the products that are added to it"):
        verify(without(kernel, lambda s: products(s) and s.groups == 0))


def test_copies_over_tiles_that_are_still_multiplied_are_found(rng):
    """With no wait in the loop, the products of a tile end after others are copied to its place."""
    kernel, memory = product(rng)
    late = verify(without(kernel, lambda s: products(s) and s.groups == 1))
    with pytest.raises(RaceError, match=r"writes a_tile0\[\d+\], which products that are under way read"):
        interpret(late, memory)


def test_copies_over_tiles_whose_products_others_still_wait_for_are_races(rng, monkeypatch):
    """A thread has waited for the products of the step before, others perhaps not yet."""
    monkeypatch.setattr(matrix_tile._Writer, "_ahead", lambda self: self.tiling.buffers - 1)
    kernel, memory = product(rng)
    with pytest.raises(RaceError, match=r"writes a_tile0\[\d+\], thread \d+ reads it, and no barrier is between"):
        interpret(verify(kernel), memory)


def test_without_a_barrier_it_is_no_kernel(rng):
    kernel, _ = product(rng)
    with pytest.raises(VerifyError, match="is read with no Wait and then a Barrier"):
        verify(without(kernel, lambda s: isinstance(s, Barrier)))


@pytest.mark.parametrize(("changes", "message"), [
    ({"together": 2}, "1 or 4 subgroups multiply together"), ({"rows": 32}, "Multiply takes multiples of 64"),
    ({"dtype": float32}, "1 or 4 subgroups")])
def test_what_a_product_together_may_be(changes, message, rng):
    kernel, _ = product(rng)
    with pytest.raises(VerifyError, match=message):
        verify(rebuild(kernel, statement=lambda s: replace(s, **changes) if isinstance(s, Multiply) else s))


@pytest.mark.parametrize(("changes", "message"), [
    ({"index": 64}, "is no tile in swizzled memory, at a multiple of 512"), ({"row": 32}, "64 side by side")])
def test_where_its_tiles_may_be(changes, message, rng):
    kernel, _ = product(rng)
    moved = {**changes, **({"index": kernel.loop.var * 0 + 64} if "index" in changes else {})}
    with pytest.raises(VerifyError, match=message):
        verify(rebuild(kernel, statement=lambda s: replace(s, a=replace(s.a, **moved))
                       if isinstance(s, Multiply) else s))


# --- CUDA

needs_compiler = pytest.mark.skipif(CudaEmulationDevice.unavailable() is not None, reason="no C++ compiler")


def emulated(kernels) -> list[list[np.ndarray]]:
    """What the emulation leaves in memory, which lies at multiples of 64 bytes, or ``start`` elements behind one."""
    device, found = CudaEmulationDevice(), []
    for program, (kernel, memory, start) in zip(device.compile([k for k, _, _ in kernels]), kernels, strict=True):
        given = []
        for array in memory.values():
            room = np.zeros(array.size + 64, array.dtype)
            first = -room.ctypes.data % 64 // array.itemsize + start
            given.append(room[first:first + array.size])
            given[-1][:] = array
        device.launch(program, [g.ctypes.data for g in given], [], int(kernel.loop.stop))
        found.append(given)
    return found


@needs_compiler
def test_the_emulation_computes_what_the_interpreter_does(rng):
    made = []
    for number, (layout, way, start) in enumerate(
            (((False, True), 0, 0), ((True, False), 4, 0), ((False, False), 6, 0), ((True, True), 2, 1))):
        kernel, memory = product(rng, (136, 72, 200), layout, (bfloat16, float16)[number % 2], **WAYS[way])
        made.append((replace(kernel, name=f"product{number}"), memory, start))
    for got, (kernel, memory, _) in zip(emulated(made), made, strict=True):
        interpret(kernel, memory)
        for one, want in zip(got, memory.values(), strict=True):
            assert np.array_equal(one, want), kernel.name


@needs_compiler
@pytest.mark.parametrize(("old", "new", "message"), [
    ("64ull << 32", "32ull << 32", None), ("at ^ (at >> 3 & 56)", "at", None), ("1ull << 62", "2ull << 62", "swizzled"),
    ("begin_products();\n#pragma", "#pragma", "wgmma with no wgmma.fence"),
    ("  show_copies();", "", "no fence.proxy.async"), ("wait_products<0>();", "", "ends before products"),
    ("wait_products<1>();", "", None), ("wait_copies<0>();", "wait_copies<1>();", "before a copy"),
    ("+ k * A_STEP", "+ k * 64", None), ("block * 2", "block", None)])
def test_the_emulation_finds_what_is_not_as_ptx_says(old, new, message, rng, monkeypatch):
    """Wrong text gives wrong numbers, or an error."""
    kernel, memory = product(rng, (64, 128, 448), (False, False), wide=128, columns=128)
    device = CudaEmulationDevice()
    source = device.source([kernel])
    assert old in source
    monkeypatch.setattr(CudaEmulationDevice, "source", lambda self, kernels: source.replace(old, new))
    if message is not None:
        with pytest.raises(LaunchError, match=message):
            emulated([(kernel, memory, 0)])
        return
    (got,) = emulated([(kernel, memory, 0)])
    interpret(kernel, memory)
    assert not np.array_equal(got[-1], list(memory.values())[-1])


@pytest.mark.skipif("nvrtc" not in nvrtc.compilers(), reason="NVRTC is not installed")
def test_nvrtc_compiles_it(rng):
    kernels = [replace(product(rng, (256, 512, 256), layout, dtype, **way)[0], name=f"product{n}")
               for n, (layout, dtype, way) in enumerate(zip(LAYOUTS, (float16, bfloat16) * 2, WAYS[3:], strict=True))]
    assert nvrtc.compile_check(render_cuda(kernels), "sm_90a") == ""
    ptx = nvrtc.compile_text(render_cuda(kernels), "compute_90a")[0].decode()
    assert "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16" in ptx and "fence.proxy.async" in ptx
    assert ".local" not in ptx


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_the_largest_tiles_fit_registers(tmp_path):
    made = [replace(lower(spec_of(matmul(buffer((4096, 4096), bfloat16), b)), SM_90A).kernel, name=f"product{n}")
            for n, b in enumerate((buffer((4096, 4096), bfloat16), buffer((4096, 4096), bfloat16).permute((1, 0))))]
    assert any(isinstance(s, For) for s in statements(made[0]))
    (tmp_path / "a.cu").write_text(render_cuda(made))
    done = subprocess.run(["nvcc", "-cubin", "-arch=sm_90a", *nvrtc.FLAGS, "-Xptxas", "-v", "a.cu", "-o", "a.cubin"],
                          cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "serialized" not in done.stderr
    assert re.findall(r"(\d+) bytes spill", done.stderr) == ["0"] * 4
    assert all(int(n) <= 232 for n in re.findall(r"Used (\d+) registers", done.stderr))


def test_the_text_names_each_sum_once():
    text = cuda_warpgroup.warpgroup_helpers("f16", 64)["f16_multiply_64"]
    assert text.count('"+f"') == 32 and "%31}, " in text and "%32, %33, add, 1, 1, %34, %35;" in text
