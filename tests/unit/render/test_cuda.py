"""Stage: tests. In: kernels of the GPU form, written by hand. Out: that their CUDA C++ reads as it should, compiles,
and computes what the interpreter does. Next: ``tests/cuda``, where whole programs are compiled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from minigrad.dtype import ALL, DType, accumulator, bfloat16, bool_, float16, float32, float64, int64
from minigrad.errors import CompileError
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import (
    Alloc,
    Apply,
    Array,
    Barrier,
    Const,
    Fold,
    For,
    Index,
    Kernel,
    Let,
    LetIndex,
    Load,
    Local,
    Scalar,
    Statement,
    Store,
)
from minigrad.kernel.verify import verify
from minigrad.lower.scalar import convert
from minigrad.ops import Op
from minigrad.render.cuda import render_cuda
from minigrad.runtime import nvrtc
from minigrad.symbolic import Sym, maximum, num, var
from tests.cuda_emulation.device import CudaEmulationDevice
from tests.unit.render.harness import assert_same
from tests.unit.render.samples import F, f, loop, map_with_tail, op, out, random_arrays

COMPILERS = nvrtc.compilers()
ZERO = num(0)


def gpu_kernel(name: str, arrays: tuple[Array, ...], p: Sym, groups: int, t: Sym, threads: int, *body: Statement,
               shared: tuple[Array, ...] = (), scalars: tuple[Scalar, ...] = ()) -> Kernel:
    made = Kernel(name, arrays, scalars, loop("grid", p, groups, *map(Alloc, shared), loop("block", t, threads, *body)))
    verify(made)
    return made


def softmax(rows: int = 3, n: int = 100, threads: int = 32) -> Kernel:
    """One workgroup a row: exponentials in shared memory, their sum from a share of each thread."""
    x, y = Array("x", F, rows * n), out("y", rows * n)
    row, t, i, k = var("row", 0, rows - 1), var("t", 0, threads - 1), var("i", 0, n - 1), var("k", 0, n - 1)
    powers, shares = Array("powers", F, n, "shared"), Array("shares", F, threads, "shared")
    share, total, w = Array("share", F, 1, "register"), Array("total", F, 1, "register"), var("w", 0, threads - 1)
    return gpu_kernel(
        "softmax", (x, y), row, rows, t, threads, Alloc(share, f(0.0)),
        loop("serial", i, n, Let("power", op("EXP", Load(x, n * row + i))), Store(powers, i, Local("power", F)),
             Store(share, ZERO, op("ADD", Load(share, ZERO), Local("power", F))), start=t, step=threads),
        Store(shares, t, Load(share, ZERO)), Barrier(), Alloc(total, f(0.0)),
        loop("serial", w, threads, Store(total, ZERO, op("ADD", Load(total, ZERO), Load(shares, w)))),
        loop("serial", k, n, Store(y, n * row + k, op("DIV", Load(powers, k), Load(total, ZERO))), start=t,
             step=threads),
        shared=(powers, shares))


def wide(dtype: DType = F, lanes: int = 4, offset: int = 0) -> Kernel:
    """``y[k] = x[k + offset] * s + step``, some neighbours a thread."""
    threads, groups = 8, 3
    n = threads * groups * lanes
    x, y = Array("x", dtype, n + offset), out("y", n, dtype)
    p, t, l = var("p", 0, groups - 1), var("t", 0, threads - 1), var("l", 0, lanes - 1)
    computed = accumulator(dtype)
    s, step = Scalar("s", computed, 0), Scalar("step", int64, 1)
    at = p * (threads * lanes) + t * lanes + l
    value = op("ADD", op("MUL", convert(Load(x, at + offset), computed), s), convert(step, computed))
    return gpu_kernel(f"wide_{dtype.name}_{lanes}_{offset}", (x, y), p, groups, t, threads,
                      loop("vector", l, lanes, Store(y, at, convert(value, dtype))), scalars=(s, step))


def folds(size: int = 8, operation: str = "ADD") -> Kernel:
    x, y, acc = Array("x", F, 4 * size), out("y", 4), Array("acc", F, size, "register", size)
    t, l = var("t", 0, 3), var("l", 0, size - 1)
    start = f(0.0 if operation == "ADD" else float("-inf"))
    return gpu_kernel(f"folds_{operation.lower()}_{size}", (x, y), var("p", 0, 0), 1, t, 4, Alloc(acc, start),
                      loop("vector", l, size, Store(acc, l, op(operation, Load(acc, l), Load(x, size * t + l)))),
                      Fold("all", acc, operation), Store(y, t, Local("all", F)))


def transcendentals(dtype: DType) -> Kernel:
    """Every op that CUDA has a function for."""
    names = ("EXP", "LOG", "SIN", "COS", "TANH", "ERF", "SQRT", "FLOOR", "CEIL", "ROUND", "TRUNC", "ABS")
    n, t = 16, var("t", 0, 15)
    x, y = Array("x", dtype, n), out("y", n * (len(names) + 1), dtype)
    stores = [Store(y, num(n * i) + t, op(name, Load(x, t))) for i, name in enumerate(names)]
    power = op(Op.POW, op("ABS", Load(x, t)), Const(1.7, dtype))
    return gpu_kernel(f"functions_{dtype.name}", (x, y), var("p", 0, 0), 1, t, n, *stores,
                      Store(y, num(n * len(names)) + t, power))


def unrolled() -> Kernel:
    """Neighbours whose place depends on a loop inside the loop over them."""
    x, y = Array("x", F, 64), out("y", 64)
    p, t, l, u = var("p", 0, 1), var("t", 0, 3), var("l", 0, 3), var("u", 0, 1)
    at = 32 * p + 8 * t + 4 * u + l
    return gpu_kernel("unrolled", (x, y), p, 2, t, 4, loop("vector", l, 4, loop("unroll", u, 2, Store(
        y, at, op("NEG", Load(x, at))))))


def gathered() -> Kernel:
    """Run-time indices, quotients of negative numbers, a guard, an index as a value."""
    x, index, y = Array("x", F, 40), Array("index", int64, 16), out("y", 16)
    t, at = var("t", 0, 15), var("at", 0, 7)
    clamped = op("MINIMUM", op("MAXIMUM", Load(index, t), Const(0, int64)), Const(7, int64))
    edge = Load(x, 2 * at + t - 3, t > 2)
    number = op("CAST", Index((t - 9) // maximum(at, 1) + 7 * t, int64), dtype=F)
    return gpu_kernel("gathered", (x, index, y), var("p", 0, 0), 1, t, 16, LetIndex(at, clamped),
                      Store(y, t, op("ADD", edge, number), t < 15))


def body(text: str) -> str:
    """The kernels of a translation unit, without prelude."""
    return text[text.index('extern "C"'):].strip()


def test_a_kernel_reads_as_one_would_write_it():
    assert body(render_cuda([softmax()])) == """\
extern "C" __global__ void __launch_bounds__(32) softmax(const float *x, float *y) {
  const int row = blockIdx.x;
  __shared__ alignas(16) float powers[100];
  __shared__ alignas(16) float shares[32];
  const int t = threadIdx.x;
  float share = 0.0f;
  for (int i = t; i < 100; i += 32) {
    const float power = expf(x[100 * row + i]);
    powers[i] = power;
    share = share + power;
  }
  shares[t] = share;
  __syncthreads();
  float total = 0.0f;
  for (int w = 0; w < 32; w++) {
    total = total + shares[w];
  }
  for (int k = t; k < 100; k += 32) {
    y[100 * row + k] = powers[k] / total;
  }
}"""
    assert render_cuda([softmax()]).startswith('extern "C"')  # no prelude where none is needed


def test_neighbours_are_read_and_written_at_once():
    text = render_cuda([wide()])
    assert body(text) == """\
extern "C" __global__ void __launch_bounds__(8) wide_float32_4_0(const float *x, float *y, float s, long long step) {
  const int p = blockIdx.x;
  const int t = threadIdx.x;
  float x_part1[4];
  load4(x_part1, x + 32 * p + 4 * t);
  float y_part2[4];
  #pragma unroll
  for (int l = 0; l < 4; l++) {
    y_part2[l] = x_part1[l] * s + (float)step;
  }
  store4(y + 32 * p + 4 * t, y_part2);
}"""
    assert "Pack4" in text and "Pack2" not in text
    assert "load2(x_part1, x + " in render_cuda([wide(lanes=2)])


def test_short_registers_are_written_out():
    assert "float acc[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};" in render_cuda([folds(4, "MAXIMUM")])
    assert "const float all = acc[0] + acc[2] + (acc[1] + acc[3]);" in render_cuda([folds(4)])
    assert "all_tree[16]" in render_cuda([folds(16)])


def test_the_prelude_holds_what_is_used():
    half = render_cuda([wide(float16)])
    assert 'asm("cvt.rn.f16.f32' in half and "bf16" not in half and "INFINITY" not in half
    assert "#define INFINITY" in render_cuda([folds(4, "MAXIMUM")]) and "asm" not in render_cuda([folds()])
    assert "unsigned short *y, float s,\n    long long step) {" in half  # half types: bits in memory, float as a number


def test_long_signatures_are_broken_between_parameters():
    x, t = out("x", 4), var("t", 0, 3)
    arrays = tuple(Array(f"an_array_with_a_long_name_{n}", int64, 4) for n in range(5))
    head = render_cuda([gpu_kernel("many", (x, *arrays), var("p", 0, 0), 1, t, 4, Store(x, t, f(1.0)))])
    assert all(len(line) <= 120 for line in head.splitlines())
    assert "const long long *an_array_with_a_long_name_2,\n    const long long *an_array_with_a_long_name_3" in head


def test_indices_are_wide_where_they_must_be():
    x, t, p = out("x", 3 << 30), var("t", 0, 255), var("p", 0, (3 << 22) - 1)
    text = body(render_cuda([gpu_kernel("large", (x,), p, 3 << 22, t, 256, Store(x, 256 * p + t, f(1.0)))]))
    assert "const long long p = blockIdx.x;" in text and "x[256 * p + t] = 1.0f;" in text


def test_names_that_cuda_has_already_are_changed():
    x, t = out("threadIdx", 4), var("new", 0, 3)
    text = body(render_cuda([gpu_kernel("words", (x,), var("p", 0, 0), 1, t, 4, Store(x, t, f(1.0)))]))
    assert "const int new_ = threadIdx.x;\n  threadIdx_[new_] = 1.0f;" in text
    with pytest.raises(CompileError, match="a kernel cannot be named expf: CUDA has that name already"):
        render_cuda([gpu_kernel("expf", (x,), var("p", 0, 0), 1, t, 4, Store(x, t, f(1.0)))])


def test_the_cpu_form_is_a_block_of_one_thread():
    text = body(render_cuda([map_with_tail()]))
    assert "__launch_bounds__(1) map_with_tail(" in text and "const int i = blockIdx.x;" in text


KERNELS: dict[str, Callable[[], Kernel]] = {
    "softmax": softmax, "gathered": gathered, "unrolled": unrolled,
    **{f"folds {n}": lambda n=n: folds(n) for n in (2, 8, 16)},
    "folds max": lambda: folds(4, "MAXIMUM"),
    **{f"wide {d.name}": lambda d=d: wide(d) for d in ALL if d is not bool_},
    **{f"wide {n} from {k}": lambda n=n, k=k: wide(F, n, k) for n in (2, 4) for k in (1, 2)}}
NUMBERS = {"s": 3, "step": 2}


@pytest.mark.skipif(not COMPILERS, reason="neither NVRTC nor nvcc is installed")
@pytest.mark.parametrize("compiler", ("nvrtc", "nvcc"))
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_it_compiles(compiler, architecture):
    if compiler not in COMPILERS:
        pytest.skip(f"{compiler} is not installed")
    kernels = [make() for make in KERNELS.values()]
    kernels += [transcendentals(d) for d in (float32, float64)]
    assert nvrtc.compile_check(render_cuda(kernels), architecture, compiler) == ""


@pytest.mark.skipif("nvrtc" not in COMPILERS, reason="NVRTC is not installed")
def test_wide_accesses_are_single_instructions():
    ptx = nvrtc.compile_text(render_cuda([wide(), wide(float16)]), "compute_80")[0].decode()
    for access in ("ld.global.v4.f32", "st.global.v4.f32", "ld.global.v4.u16", "st.global.v4.u16"):
        assert access in ptx
    assert "fma.rn.f32" not in ptx and ".local" not in ptx  # nothing contracts, registers are registers


@pytest.mark.skipif(not COMPILERS, reason="neither NVRTC nor nvcc is installed")
def test_what_does_not_compile_is_refused_with_the_log():
    for compiler in COMPILERS:
        with pytest.raises(CompileError, match='identifier "nonsense" is undefined'):
            nvrtc.compile_check('extern "C" __global__ void k(float *a) { a[0] = nonsense; }', compiler=compiler)


@pytest.fixture(scope="module")
def emulation():
    reason = CudaEmulationDevice.unavailable()
    if reason:
        pytest.skip(reason)
    return CudaEmulationDevice()


@pytest.fixture(scope="module")
def programs(emulation):
    kernels = [make() for make in KERNELS.values()]
    return dict(zip(KERNELS, emulation.compile(kernels), strict=True))


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("shift", [0, 1])
def test_it_computes_what_the_interpreter_does(name, shift, emulation, programs, rng):
    """``shift``: by how many elements the arrays miss the alignment of wide accesses."""
    program = programs[name]
    kernel = program.kernel
    scalars = [NUMBERS[s.name] for s in kernel.scalars]
    arrays = random_arrays(kernel, rng)
    want = [a.copy() for a in arrays]
    interpret(kernel, want, scalars)
    given = []
    for array in arrays:
        memory = np.zeros(array.size + 8, array.dtype)
        first = (-memory.ctypes.data % 64 // array.itemsize + shift) % 8
        given.append(memory[first:first + array.size])
        given[-1][:] = array
    groups = int(kernel.loop.stop)
    emulation.launch(program, [a.ctypes.data for a in given], scalars, groups)
    if name == "softmax":  # exp is the compiler's here, NumPy's there
        np.testing.assert_allclose(given[1], want[1], rtol=1e-6)
    else:
        assert_same(given, want, name)


def test_native_functions_are_near_the_truth(emulation, rng):
    for dtype in (float32, float64):
        program, = emulation.compile([transcendentals(dtype)])
        x = rng.standard_normal(16).astype(dtype.numpy)
        y, want = np.zeros(13 * 16, dtype.numpy), np.zeros(13 * 16, dtype.numpy)
        emulation.launch(program, [x.ctypes.data, y.ctypes.data], [], 1)
        interpret(program.kernel, [x, want])
        tolerance = 4 * float(np.finfo(dtype.numpy).eps)
        np.testing.assert_allclose(y.astype(np.float64), want.astype(np.float64), rtol=tolerance, atol=tolerance,
                                   err_msg=dtype.name)



def test_the_bits_of_a_half_become_another_half() -> None:
    """A half in memory is its bits only where uint16 is asked for."""
    i, a, b = var("i", 0, 31), Array("a", float16, 32), Array("b", bfloat16, 32, written=True)
    body = (Store(b, i, Apply("BITCAST", (Load(a, i),), bfloat16)),)
    loop = For(var("p", 0, 0), num(0), num(1), 1, "grid", (For(i, num(0), num(32), 1, "block", body),))
    text = render_cuda([Kernel("turned", (a, b), (), loop)])
    assert "b[i] = a[i];" in text or "bf16_bits(bf16_value(" in text
