"""Stage: inside the CUDA renderer. In: what tiles are made of. Out: the function by which a subgroup multiplies two of
them: PTX's ``mma.sync``, and its plain form for ``MINIGRAD_EMULATION``, in which each thread computes what it holds.
Next: ``cuda_warpgroup.py``.

https://docs.nvidia.com/cuda/parallel-thread-execution/#warp-level-matrix-fragment-mma-16816-float says which thread
holds which elements."""

from __future__ import annotations

from minigrad.render.cuda_copies import SHARED_ADDRESS

# Lane l of a subgroup holds sums (l/4 + 8*(e/2), 2*(l%4) + e%2), e = 0..3, of each 16 x 8 block.
_HEAD = """template <int ROWS, int COLUMNS, int DEPTH, int A_ROW, int A_STEP, int B_ROW, int B_STEP>
__device__ inline void {kind}_multiply(float *sums, const {type} *a, const {type} *b) {{
#ifdef MINIGRAD_EMULATION
  const int lane = threadIdx.x % 32;
  for (int n = 0; n < ROWS * COLUMNS / 32; n++) {{
    const int i = n / 4 / (COLUMNS / 8) * 16 + n % 4 / 2 * 8 + lane / 4;
    const int j = n / 4 % (COLUMNS / 8) * 8 + lane % 4 * 2 + n % 2;
    for (int k = 0; k < DEPTH; k++)
      sums[n] = fmaf({value}(a[i * A_ROW + k * A_STEP]), {value}(b[j * B_ROW + k * B_STEP]), sums[n]);
  }}
#else
  const int lane = threadIdx.x % 32;
  unsigned int left[ROWS / 16][4], right[COLUMNS / 8][2];
#pragma unroll
  for (int k = 0; k < DEPTH; k += {step}) {{
{loads}
#pragma unroll
    for (int i = 0; i < ROWS / 16; i++)
#pragma unroll
      for (int j = 0; j < COLUMNS / 8; j++) {{
        float *c = sums + (i * (COLUMNS / 8) + j) * 4;
        asm("mma.sync.aligned.{shape}.row.col.f32.{name}.{name}.f32 {{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, "
            "{{%8, %9}}, {{%0, %1, %2, %3}};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(left[i][0]), "r"(left[i][1]), "r"(left[i][2]), "r"(left[i][3]), "r"(right[j][0]), "r"(right[j][1]));
      }}
  }}
#endif
}}"""

# Four 8 x 8 matrices of 16-bit elements: lane l says where row l%8 of matrix l/8 is. Where rows of the tile lie side by
# side, not steps of K, each is turned on the way.
_HALF_LOADS = """\
#pragma unroll
    for (int i = 0; i < ROWS / 16; i++)
      load_matrices<A_ROW == 1>(left[i], A_STEP == 1
          ? a + (i * 16 + lane % 16) * A_ROW + k + lane / 16 * 8
          : a + (k + lane / 16 * 8 + lane % 8) * A_STEP + i * 16 + lane / 8 % 2 * 8);
#pragma unroll
    for (int j = 0; j < COLUMNS / 8; j += 2)
      load_matrices<B_ROW == 1>(right[j], B_STEP == 1
          ? b + (j * 8 + lane / 16 * 8 + lane % 8) * B_ROW + k + lane / 8 % 2 * 8
          : b + (k + lane % 16) * B_STEP + j * 8 + lane / 16 * 8);"""

_HALF_MATRICES = """#ifndef MINIGRAD_EMULATION
template <bool TURNED> __device__ inline void load_matrices(unsigned int *to, const unsigned short *row) {
  const unsigned int from = shared_address(row);
  if (TURNED)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(from) : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3]) : "r"(from) : "memory");
}
#endif"""

_TF32_LOADS = """\
#pragma unroll
    for (int i = 0; i < ROWS / 16; i++)
#pragma unroll
      for (int e = 0; e < 4; e++)
        left[i][e] = tf32_bits(a[(i * 16 + e % 2 * 8 + lane / 4) * A_ROW + (k + e / 2 * 4 + lane % 4) * A_STEP]);
#pragma unroll
    for (int j = 0; j < COLUMNS / 8; j++)
#pragma unroll
      for (int e = 0; e < 2; e++)
        right[j][e] = tf32_bits(b[(j * 8 + lane / 4) * B_ROW + (k + e * 4 + lane % 4) * B_STEP]);"""

_TF32_ROUNDING = """#ifdef MINIGRAD_EMULATION
inline float tf32_value(float a) {
  union { float value; unsigned int bits; } whole = {a};
  if ((whole.bits >> 23 & 255) != 255) whole.bits = (whole.bits + (1u << 12)) & 0xffffe000u;
  return whole.value;
}
#else
__device__ inline unsigned int tf32_bits(float a) {
  unsigned int bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(a));
  return bits;
}
#endif"""


def multiply_helpers(kind: str) -> dict[str, str]:
    """The function ``f16_multiply``, ``bf16_multiply`` or ``tf32_multiply``, and what it calls, by name in order."""
    if kind == "tf32":
        fields = {"type": "float", "value": "tf32_value", "step": 8, "shape": "m16n8k8", "loads": _TF32_LOADS}
        before = {"tf32_bits": _TF32_ROUNDING}
    else:
        fields = {"type": "unsigned short", "value": f"{kind}_value", "step": 16, "shape": "m16n8k16",
                  "loads": _HALF_LOADS}
        before = {"shared_address": SHARED_ADDRESS, "load_matrices": _HALF_MATRICES}
    return {**before, f"{kind}_multiply": _HEAD.format(kind=kind, name=kind, **fields)}
