"""Stage: tests. In: kernels as OpenCL C. Out: that a driver compiles them, that vectors of the CPU form give the bits
of the interpreter, and what the text may and may not hold. Next: ``test_cuda.py``."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pytest

from minigrad.dtype import bool_, float32
from minigrad.errors import CompileError
from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import Apply, Array, If, Index, Kernel, Load, Store
from minigrad.kernel.verify import verify
from minigrad.render import render_opencl
from minigrad.runtime import opencl
from minigrad.runtime.device import get_device
from minigrad.runtime.launches import argument
from minigrad.symbolic import eq, var
from tests.unit.render.harness import assert_same
from tests.unit.render.samples import SAMPLES, kernel, loop, random_arrays
from tests.unit.render.test_scalar_ops import all_cases, root


@pytest.fixture(scope="module")
def run():
    """What compiles kernels by the first driver and runs them all: ``run(kernels, arrays and scalars of each)``."""
    cl = pytest.importorskip("pyopencl", reason="needs pyopencl")
    reason = opencl.OpenCLDevice.unavailable()
    if reason is not None:
        pytest.skip(f"needs an OpenCL driver: {reason}")
    device = get_device("OPENCL").device
    context = cl.Context([device])
    queue = cl.CommandQueue(context)

    def run_all(kernels: Sequence[Kernel], arguments) -> None:
        program = cl.Program(context, render_opencl(kernels)).build(["-w"])
        for made, (arrays, scalars) in zip(kernels, arguments):
            flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
            buffers = [cl.Buffer(context, flags, hostbuf=a if a.size else np.zeros(1, a.dtype)) for a in arrays]
            numbers = [argument(s.dtype, x) for s, x in zip(made.scalars, scalars)]
            starts = [np.int64(0)] * len(arrays)
            function, size = cl.Kernel(program, made.name), made.workgroup or 1
            function(queue, (int(made.loop.stop) * size,), (size,), *buffers, *numbers, *starts)
            for array, buffer in zip(arrays, buffers):
                if array.size:
                    cl.enqueue_copy(queue, array, buffer)

    return run_all


def test_samples_have_the_bits_of_the_interpreter(run, rng):
    kernels = [verify(build()) for build in SAMPLES]
    before = [random_arrays(made, rng) for made in kernels]
    want = [[a.copy() for a in arrays] for arrays in before]
    for made, arrays, build in zip(kernels, want, SAMPLES):
        interpret(made, arrays, SAMPLES[build])
    run(kernels, list(zip(before, SAMPLES.values())))
    for made, got, expected in zip(kernels, before, want):
        assert_same(got, expected, made.name)


def merged(name: str, cases: Sequence[tuple[Kernel, list[np.ndarray]]], lanes: int) -> Kernel:
    """One kernel whose iteration n computes case n: vectors, then the same in scalars. Compiling many is slow."""
    arrays, branches = [], []
    p = var("p", 0, len(cases) - 1)
    for n, (case, given) in enumerate(cases):
        value, size = root((case, given)), len(given[0])
        sources = tuple(Array(f"x{n}_{k}", v.dtype, size) for k, v in enumerate(value.srcs))
        vectors, scalars = (Array(f"{kind}{n}", value.dtype, size, written=True) for kind in "yz")
        i, l, s = var(f"i{n}", 0, size // lanes - 1), var(f"l{n}", 0, lanes - 1), var(f"s{n}", 0, size - 1)
        here = loop("serial", i, size // lanes, loop("vector", l, lanes, Store(vectors, lanes * i + l, Apply(
            value.op, tuple(Load(x, lanes * i + l) for x in sources), value.dtype))))
        there = loop("serial", s, size, Store(scalars, s, Apply(
            value.op, tuple(Load(x, s) for x in sources), value.dtype)))
        arrays += [*sources, vectors, scalars]
        branches.append(If(Index(eq(p, n), bool_), (here, there)))
    return verify(kernel(name, tuple(arrays), p, len(cases), *branches))


@pytest.mark.parametrize("lanes", [4, *[pytest.param(lanes, marks=pytest.mark.slow) for lanes in (8, 16)]])
def test_scalar_ops_have_the_bits_of_the_interpreter(run, lanes):
    """All of them on 16 lanes; on fewer those of the half types and bools, whose forms differ."""
    chosen = [(case, want) for case, want in all_cases() if lanes == 16 or "float16" in case[0].name
              or "bool" in case[0].name]
    for start in range(0, len(chosen), 120):
        groups = [chosen[n:n + 12] for n in range(start, min(start + 120, len(chosen)), 12)]
        kernels = [merged(f"group{n}", [case for case, _ in group], lanes) for n, group in enumerate(groups)]
        results = [[np.zeros((2, len(want)), want.dtype) for _, want in group] for group in groups]
        run(kernels, [([a for (case, _), got in zip(group, made) for a in (*case[1], got[0], got[1])], ())
                      for group, made in zip(groups, results)])
        for group, made in zip(groups, results):
            for (case, want), got in zip(group, made):
                for number, kind in enumerate(("vectors", "scalars")):
                    assert_same([got[number]], [want], f"{case[0].name} in {kind}; operands {case[1]}")


def doubled(lanes: int = 8) -> Kernel:
    """y = x + x by a vector loop."""
    x, y = Array("x", float32, 64), Array("y", float32, 64, written=True)
    p, l = var("p", 0, 3), var("l", 0, lanes - 1)
    load = Load(x, lanes * p + l)
    body = Store(y, lanes * p + l, Apply("ADD", (load, load), float32))
    return verify(kernel("sums", (x, y), p, 4, loop("vector", l, lanes, body)))


def test_lanes_are_a_loop_that_the_driver_makes_vectors_of():
    text = render_opencl([doubled()])
    assert "  #pragma clang loop vectorize(assume_safety)\n  for (int l = 0; l < 8; l++) {\n" in text


def test_a_kernel_may_not_take_a_name_of_the_language():
    bad = dataclasses.replace(doubled(), name="max")
    with pytest.raises(CompileError, match="a kernel cannot be named max: OpenCL C has that name already"):
        render_opencl([bad])


def test_no_arithmetic_on_halves_is_emitted():
    """PoCL's wheel aborts the process on it. The half types are integers in memory and float in registers."""
    kernels = [case[0] for case, _ in all_cases() if "float16" in case[0].name]
    text = render_opencl(kernels)
    assert len(kernels) > 40 and not re.search(r"\bhalf\d*\b|cl_khr_fp16|_Float16|__fp16", text)


def test_contraction_is_off_but_in_fma():
    text = render_opencl([doubled()])
    assert text.startswith("#pragma OPENCL FP_CONTRACT OFF") and "FP_CONTRACT ON" not in text
    (fma,) = [case[0] for case, _ in all_cases() if case[0].name == "fma_float32"]
    parts = render_opencl([fma]).split("FP_CONTRACT ON")
    assert all(part.lstrip().startswith("return a * b + c;") for part in parts[1:]) and len(parts) > 1
