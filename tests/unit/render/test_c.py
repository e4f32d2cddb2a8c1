"""Stage: tests. In: kernels as C. Out: that the text reads as it should, compiles without a warning and runs clean
under gcc's sanitizers. Next: ``test_llvm.py``."""

from __future__ import annotations

import resource
import subprocess
from itertools import pairwise
from typing import ClassVar

import numpy as np
import pytest

from minigrad.dtype import bool_, float32, int32, int64
from minigrad.errors import CompileError
from minigrad.kernel.ir import Alloc, Array, Barrier, Const, If, Index, Let, Load, Local, Scalar, Store
from minigrad.render import render_c
from minigrad.render.cstyle import CStyleRenderer
from minigrad.symbolic import eq, num, var
from tests.unit.render import test_scalar_ops
from tests.unit.render.harness import FLAGS, GCC, SANITIZE
from tests.unit.render.samples import (
    SAMPLES,
    F,
    f,
    fetched_rows,
    in_place,
    kernel,
    loop,
    map_with_tail,
    op,
    out,
    random_arrays,
    row_sum,
)


def body(text: str) -> str:
    """The kernels of a translation unit, without includes and helpers."""
    return text[text.index("void "):].strip()


def test_a_kernel_reads_like_c():
    assert body(render_c([map_with_tail()])) == """\
void map_with_tail(void **arrays, const int64_t *scalars, int64_t begin, int64_t end) {
  const float *x = arrays[0];
  float *y = arrays[1];
  for (int64_t i = begin; i < end; i++) {
    for (int64_t l = 0; l < 16; l++) {
      const float a = fmaf(x[16 * i + l], 2.0f, 1.0f);
      y[16 * i + l] = maximum_f32(a, 0.0f);
    }
    if (i == 5) {
      for (int64_t j = 96; j < 100; j++) {
        const float b = fmaf(x[j], 2.0f, 1.0f);
        y[j] = maximum_f32(b, 0.0f);
      }
    }
  }
}"""


def test_registers_and_folds_read_like_c():
    assert """\
    float acc[32] = {0};
    float rest = 0.0f;
    for (int64_t k = 0; k < 128; k += 32) {
      for (int64_t l = 0; l < 8; l++) {
        for (int64_t u = 0; u < 4; u++) {
          acc[8 * u + l] = acc[8 * u + l] + x[133 * i + 8 * u + k + l];
        }
      }
    }""" in render_c([row_sum()])


def test_a_prefetch_reads_like_c():
    assert """\
    const int64_t later = least(i + 1, 4);
    float top[16];
    for (int64_t n = 0; n < 16; n++) top[n] = -9.0f;
    for (int64_t k = 0; k < 4; k++) {
      __builtin_prefetch(x + 64 * later + 16 * k);
""" in render_c([fetched_rows()])
    with pytest.raises(CompileError, match="OpenClLike has no prefetches"):
        OpenClLike().render([fetched_rows()])


def test_only_the_helpers_in_use_are_written():
    text = render_c([map_with_tail()])
    assert text.count("static inline") == 1
    assert "static inline float maximum_f32(float a, float b) { return b == b ? (a < b ? b : a) : b; }" in text
    assert "static" not in render_c([in_place()])


def test_shared_values_get_a_name():
    """A value used twice is computed once; a chain of 10,000 operations is split, not nested."""
    x = out("x", 4)
    i = var("i", 0, 3)
    shared = op("ADD", Load(x, i), f(1.0))
    text = body(render_c([kernel("shared", (x,), i, 4, Store(x, i, op("MUL", shared, shared)))]))
    assert "const float t1_ = x[i] + 1.0f;\n    x[i] = t1_ * t1_;" in text
    for _ in range(10_000):
        shared = op("ADD", shared, f(0.5))
    lines = render_c([kernel("chain", (x,), i, 4, Store(x, i, shared))]).splitlines()
    assert max(map(len, lines)) < 200


def test_names_that_c_has_already_are_changed():
    x, i = out("double", 4), var("begin", 0, 3)
    text = body(render_c([kernel("words", (x,), i, 4, Let("sqrt", f(2.0)), Store(x, i, op(
        "SQRT", op("ADD", Local("sqrt", F), Local("sqrt", F)))))]))
    assert "float *double_ = arrays[0]" in text and "double_[begin_] = sqrtf(sqrt_ + sqrt_);" in text


def test_scalars_and_arrays_that_nothing_reads_are_not_unpacked():
    x, unused, i = out("x", 4), Array("unused", float32, 4), var("i", 0, 3)
    made = kernel("few", (x, unused), i, 4, Let("dead", f(1.0)), Alloc(Array("gone", float32, 4, "register"), f(0.0)),
                  Store(x, i, Scalar("a", float32, 0)), scalars=())
    text = body(render_c([made]))
    assert "unused" not in text and "dead" not in text and "gone" not in text


def test_what_c_has_no_form_of_is_refused():
    x, i = out("x", 4), var("i", 0, 3)
    with pytest.raises(CompileError, match="kernel b: CRenderer has no barrier"):
        render_c([kernel("b", (x,), i, 4, Barrier(), Store(x, i, f(1.0)))])
    shared = Array("s", float32, 4, "shared")
    with pytest.raises(CompileError, match="kernel s: CRenderer has no shared memory"):
        render_c([kernel("s", (x,), i, 4, Alloc(shared), Store(x, i, Load(shared, i)))])
    with pytest.raises(CompileError, match="a kernel cannot be named floor"):
        render_c([kernel("floor", (x,), i, 4, Store(x, i, f(1.0)))])


class OpenClLike(CStyleRenderer):
    """How short a language is: OpenCL C's words."""

    types: ClassVar = {**CStyleRenderer.types, "int64": "long", "float32": "float", "bool": "uchar"}
    function, index_type, long_suffix, math_float32 = "", "long", "L", "{}"
    scopes: ClassVar = {"register": "", "scratch": "", "shared": "__local "}
    barrier = "barrier(CLK_LOCAL_MEM_FENCE);"

    def head(self, kernel):
        words = [f"__global {self.memory(a.dtype)} *{self.name(a.name)}" for a in kernel.arrays]
        return f"__kernel void {kernel.name}({', '.join(words)})"

    def parallel(self, loop):
        return [f"const long {loop.var} = get_global_id(0);"]


def test_another_language_is_a_few_words():
    x, i = out("x", 4), var("i", 0, 3)
    shared = Array("s", float32, 4, "shared")
    made = kernel("cl", (x,), i, 4, Alloc(shared), Store(shared, i, op("FLOOR", Load(x, i))), Barrier(),
                  If(Index(eq(i, 1), bool_), (Store(x, i, Load(shared, 3 - i)),)))
    assert OpenClLike().render([made]) == """\
__kernel void cl(__global float *x) {
  const long i = get_global_id(0);
  __local float s[4];
  s[i] = floor(x[i]);
  barrier(CLK_LOCAL_MEM_FENCE);
  if (i == 1) {
    x[i] = s[3 - i];
  }
}
"""


@pytest.mark.skipif(GCC is None, reason="needs gcc")
def test_a_number_that_is_squared_often_compiles_soon(tmp_path):
    """gcc 12 takes minutes if the number is read before the loop."""
    y, p, v = out("y", 400, int32), var("p", 0, 9), var("v", 0, 39)
    powers = [Scalar("s", int32, 0), *[Local(f"x{i}", int32) for i in range(29)]]
    squares = [Let(now.name, op("MUL", before, before)) for before, now in pairwise(powers)]
    made = kernel("squares", (y,), p, 10, *squares, loop("serial", v, 40, Store(y, p * 40 + v, powers[-1])),
                  scalars=powers[:1])
    source = tmp_path / "squares.c"
    source.write_text(render_c([made]))
    seconds = (30, 30)
    built = subprocess.run([GCC, *FLAGS, str(source), "-o", str(tmp_path / "squares.so")],
                           preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, seconds))
    assert built.returncode == 0


def program(cases) -> tuple[str, bytes]:
    """A main() that runs each kernel on arrays of exactly its size, read from a file; and that file."""
    calls, data = [], []
    for made, arrays, scalars in cases:
        lines = [f"void *a[{len(arrays) + 1}] = {{0}};"]
        for number, array in enumerate(arrays):
            lines.append(f"a[{number}] = malloc({array.nbytes}); if (fread(a[{number}], 1, {array.nbytes}, file) "
                         f"!= {array.nbytes}) return 2;")
            data.append(array.tobytes())
        numbers = [int(np.float64(x).view(np.int64)) if s.dtype.is_float else int(x)
                   for s, x in zip(made.scalars, scalars)]
        lines.append(f"const int64_t n[{len(numbers) + 1}] = {{{', '.join(f'{x}LL' for x in [*numbers, 0])}}};")
        lines.append(f"{made.name}(a, n, 0, {made.loop.stop});")
        lines += [f"free(a[{number}]);" for number in range(len(arrays))]
        calls.append("  { " + "\n    ".join(lines) + " }")
    main = "int main(int count, char **words) {\n  (void)count;\n  FILE *file = fopen(words[1], \"rb\");\n"
    return "#include <stdio.h>\n#include <stdlib.h>\n" + main + "\n".join(calls) + "\n  return 0;\n}\n", b"".join(data)


@pytest.mark.skipif(GCC is None, reason="needs gcc")
def test_the_sanitizers_find_nothing(tmp_path, rng):
    cases = [(build(), scalars) for build, scalars in SAMPLES.items()]
    runs = [(made, random_arrays(made, rng), scalars) for made, scalars in cases]
    risky = {f"{name}_{dtype}" for name in ("add", "sub", "mul", "neg", "abs", "floordiv", "mod", "shl", "shr")
             for dtype in ("int8", "uint16", "int32", "int64")}
    risky |= {f"cast_{of}_{to}" for of in ("float16", "float32", "float64") for to in (
        "bool", "int8", "uint8", "int16", "int32", "int64", "uint32", "uint64", "float16", "float32", "bfloat16")}
    for (made, arrays), want in test_scalar_ops.all_cases():
        if made.name in risky:
            runs.append((made, [*arrays, np.zeros_like(want)], ()))
    assert len(runs) > 80
    main, data = program(runs)
    source, binary, values = tmp_path / "all.c", tmp_path / "all", tmp_path / "values"
    source.write_text(render_c([made for made, _, _ in runs]) + main)
    values.write_bytes(data)
    flags = [flag.replace("-O2", "-O0") for flag in FLAGS if flag not in ("-fPIC", "-shared")]
    command = [GCC, *flags, *SANITIZE, str(source), "-o", str(binary), "-lm"]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr[:4000]
    done = subprocess.run([str(binary), str(values)], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr[:4000]


def test_constants_keep_their_value():
    language = CStyleRenderer()
    assert [language.constant(v, float32) for v in (0.1, -0.0, 1e10, float("inf"), float("nan"), 3.0)] == [
        "0.1f", "-0.0f", "1e+10f", "INFINITY", "NAN", "3.0f"]
    assert [language.constant(v, int64) for v in (5, -(1 << 63), 1 << 40)] == [
        "5", "(-9223372036854775807LL - 1)", "1099511627776LL"]
    assert language.constant(True, bool_) == "1" and Const(1, int64).dtype is int64 and num(1).kind == "num"
