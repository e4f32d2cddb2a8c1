"""Stage: tests. In: the function by which a subgroup multiplies two tiles. Out: that its PTX gets the right elements:
``ldmatrix`` and ``mma.sync`` are replaced by what NVIDIA's manual says of them, lane by lane, and the emulation runs
the rest. Next: ``tests/unit/lower/test_gpu_matrix.py``, where kernels use it."""

from __future__ import annotations

import re

import numpy as np
import pytest

from minigrad.dtype import bfloat16, float16, float32
from minigrad.kernel.compute import round_to_tf32
from minigrad.render.cuda_matrix import multiply_helpers
from minigrad.render.cuda_prelude import WORDS
from tests.cuda_emulation.device import CudaEmulationDevice

pytestmark = pytest.mark.skipif(CudaEmulationDevice.unavailable() is not None, reason="no C++ compiler")

# https://docs.nvidia.com/cuda/parallel-thread-execution/#warp-level-matrix-instructions-ldmatrix: four 8 x 8 matrices
# of 16 bits; lane l gets, of each, row l/4, elements 2*(l%4) and the next; with .trans, of the matrix turned.
# .../#warp-level-matrix-fragment-mma-16816-float and -1688: which lane has which element of A, B and C.
MODEL = """
static void model_ldmatrix(unsigned int *to, const unsigned short *row, bool turned) {
  const void *const *lanes = emulation::show(row, __LINE__);
  const int lane = threadIdx.x % 32;
  for (int matrix = 0; matrix < 4; matrix++) {
    to[matrix] = 0;
    for (int half = 0; half < 2; half++) {
      const int r = turned ? lane % 4 * 2 + half : lane / 4, c = turned ? lane / 4 : lane % 4 * 2 + half;
      const unsigned short *from = static_cast<const unsigned short *>(lanes[matrix * 8 + r]);
      const bool wrong = (unsigned long long)from % 16;  // the instruction would fail
      to[matrix] |= (wrong ? 0x7fffu : from[c]) << half * 16;
    }
  }
  __syncwarp();
}
struct Fragments { const unsigned int *left, *right; };
static float model_float(unsigned int bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}
static float model_element(unsigned int word, int half) {
#if KIND == 16
  const int bits = word >> half * 16 & 0xffff, size = bits & 0x7fff;
  const float value = size ? ldexpf(1024 + size % 1024, size / 1024 - 25) : 0.0f;  // of normal numbers
  return bits >> 15 ? -value : value;
#else
  return model_float((word >> half * 16 & 0xffff) << 16);
#endif
}
static float model_a(const void *const *lanes, int row, int k) {
#if KIND == 32
  return model_float(static_cast<const Fragments *>(lanes[row % 8 * 4 + k % 4])->left[row / 8 + k / 4 * 2]);
#else
  return model_element(static_cast<const Fragments *>(lanes[row % 8 * 4 + k % 8 / 2])->left[row / 8 + k / 8 * 2],
                       k % 2);
#endif
}
static float model_b(const void *const *lanes, int k, int column) {
#if KIND == 32
  return model_float(static_cast<const Fragments *>(lanes[column * 4 + k % 4])->right[k / 4]);
#else
  return model_element(static_cast<const Fragments *>(lanes[column * 4 + k % 8 / 2])->right[k / 8], k % 2);
#endif
}
static void model_mma(float *c, const unsigned int *left, const unsigned int *right) {
  const Fragments mine = {left, right};
  const void *const *lanes = emulation::show(&mine, __LINE__);
  const int lane = threadIdx.x % 32;
  for (int e = 0; e < 4; e++)
    for (int k = 0; k < (KIND == 32 ? 8 : 16); k++)
      c[e] += model_a(lanes, lane / 4 + e / 2 * 8, k) * model_b(lanes, k, lane % 4 * 2 + e % 2);
  __syncwarp();
}
static unsigned int model_round(float a) {
  unsigned int bits;
  memcpy(&bits, &a, sizeof bits);
  return (bits + 0x1000) & 0xffffe000;
}
"""

KERNEL = """
extern "C" __global__ void __launch_bounds__(32) @NAME@(float *c, const @TYPE@ *x, const @TYPE@ *y) {
  __shared__ alignas(16) @TYPE@ a[@A@];
  __shared__ alignas(16) @TYPE@ b[@B@];
  const int lane = threadIdx.x;
  for (int i = lane; i < @A@; i += 32) a[i] = x[i];
  for (int i = lane; i < @B@; i += 32) b[i] = y[i];
  __syncthreads();
  float sums[@ROWS@ * @COLUMNS@ / 32] = {0};
  @KIND@_multiply<@SIZES@>(sums, a, b);
  for (int n = 0; n < @ROWS@ * @COLUMNS@ / 32; n++)
    c[(n / 4 / (@COLUMNS@ / 8) * 16 + n % 4 / 2 * 8 + lane / 4) * @COLUMNS@ + n / 4 % (@COLUMNS@ / 8) * 8 +
      lane % 4 * 2 + n % 2] = sums[n];
}
"""


def modelled(kind: str) -> str:
    """The function with PTX's instructions replaced."""
    text = "\n".join(multiply_helpers(kind).values())
    text = text.replace("#ifdef MINIGRAD_EMULATION", "#if 0").replace("#ifndef MINIGRAD_EMULATION", "#if 1")
    text, shared = re.subn(r'asm\("\{ \.reg.*?;\n', "number = 0;\n", text)
    load = r'asm volatile\("ldmatrix[^;]*;"[^;]*;'
    text, turned = re.subn(load.replace("[^;]*", r"[^;]*\.trans\.[^;]*", 1), "model_ldmatrix(to, row, true);", text)
    text, straight = re.subn(load, "model_ldmatrix(to, row, false);", text)
    text, multiplied = re.subn(r'asm\("mma[^;]*;"[^;]*;', "model_mma(c, left[i], right[j]);", text)
    text, rounded = re.subn(r'asm\("cvt.rna[^;]*;"[^;]*;', "bits = model_round(a);", text)
    halves = kind != "tf32"
    assert (shared, turned, straight, multiplied, rounded) == (halves, halves, halves, 1, not halves)
    assert "asm" not in text
    size = {"f16": 16, "bf16": 17, "tf32": 32}[kind]
    return f"#define KIND {size}\n{MODEL}\n{text}"


@pytest.mark.sample(4)
@pytest.mark.parametrize(("dtype", "kind", "depth"), [(float16, "f16", 32), (bfloat16, "bf16", 16),
                                                      (float32, "tf32", 16)])
@pytest.mark.parametrize("a_turned", [False, True])
@pytest.mark.parametrize("b_turned", [False, True])
def test_each_lane_has_its_elements(dtype, kind, depth, a_turned, b_turned, rng):
    rows, columns = 32, 48
    x = rng.integers(-9, 9, (rows, depth + 8)).astype(dtype.numpy)
    y = rng.integers(-9, 9, (columns, depth + 8)).astype(dtype.numpy)
    want = round_to_tf32(x[:, :depth]).astype("f8") @ y[:, :depth].astype("f8").T
    if a_turned:  # rows side by side
        x = np.concatenate([x[:, :depth].T, np.full((depth, 8), 7, x.dtype)], 1)
    if b_turned:
        y = np.concatenate([y[:, :depth].T, np.full((depth, 8), 7, y.dtype)], 1)
    steps = [(1, n.shape[1]) if turned else (n.shape[1], 1) for n, turned in ((x, a_turned), (y, b_turned))]
    fields = {"NAME": f"{kind}_{a_turned}_{b_turned}", "TYPE": "float" if kind == "tf32" else "unsigned short",
              "A": x.size, "B": y.size, "ROWS": rows, "COLUMNS": columns, "KIND": kind,
              "SIZES": ", ".join(map(str, (rows, columns, depth, *steps[0], *steps[1])))}
    kernel = re.sub(r"@(\w+)@", lambda m: str(fields[m[1]]), KERNEL)
    device = CudaEmulationDevice()
    (program,) = device.compile_text(modelled(kind) + kernel, [fields["NAME"]])
    c = np.zeros((rows, columns), np.float32)
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    device.launch(program, [c.ctypes.data, x.ctypes.data, y.ctypes.data], [], 1)
    assert np.array_equal(c, want)


def test_no_name_of_a_kernel_is_taken():
    for kind in ("f16", "bf16", "tf32"):
        for name in re.findall(r"(\w+)\(", "".join(t.split("{")[0] for t in multiply_helpers(kind).values())):
            assert name in WORDS.split() or name.startswith(("f16_", "bf16_")) or name in ("defined",), name
