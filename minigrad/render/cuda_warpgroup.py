"""Stage: inside the CUDA renderer. In: how many columns subgroups multiply together. Out: the functions by which four
of them do: PTX's ``wgmma``, and for ``MINIGRAD_EMULATION`` what ``emulation.h`` has in its place, which reads the same
descriptors and shared memory.
Next: ``cuda_prelude.py``.

https://docs.nvidia.com/cuda/parallel-thread-execution/#asynchronous-warpgroup-level-matrix-instructions says which
thread holds which sums, how the operands lie, and what a descriptor is."""

from __future__ import annotations

from minigrad.render.cuda_copies import SHARED_ADDRESS, emulated

# A row of 128 bytes is 8 groups of 16, and 8 rows a block, in which group g of row r is at g ^ r.
SWIZZLED = "__device__ inline int swizzled(int at) { return at ^ (at >> 3 & 56); }"

# Where a tile begins, how far apart its blocks of 64 rows are (where rows lie side by side), and its blocks of 8 rows
# of 128 bytes, in 16 bytes each; and that it is swizzled by 128 bytes.
DESCRIPTOR = """__device__ inline unsigned long long matrix_descriptor(const unsigned short *tile, int block) {
  const unsigned long long at = shared_address(tile);
  return (at >> 4 & 0x3fff) | (unsigned long long)(block * 2 >> 4 & 0x3fff) << 16 | 64ull << 32 | 1ull << 62;
}"""

_ARE_IN = """\
// No sum is read before this: the compiler does not know that a wait changes them. Adding -0 leaves them as they are;
// without it ptxas takes a conversion of a sum for one before the wait, and lets products wait for each other (C7514).
template <int COUNT> __device__ inline void products_are_in(float *sums) {
#ifndef MINIGRAD_EMULATION
#pragma unroll
  for (int n = 0; n < COUNT; n++) asm volatile("add.f32 %0, %0, 0f80000000;" : "+f"(sums[n]) : : "memory");
#endif
}"""

ORDER = "\n\n".join([
    emulated("__device__ inline void begin_products()", "emulation::begin_products()",
             'asm volatile("wgmma.fence.sync.aligned;" : : : "memory");'),
    emulated("__device__ inline void commit_products()", "emulation::commit_products()",
             'asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory");'),
    emulated("template <int GROUPS> __device__ inline void wait_products()", "emulation::wait_products(GROUPS)",
             'asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(GROUPS) : "memory");'),
    _ARE_IN,
    "// What copies wrote, matrix instructions see.\n" + emulated(
        "__device__ inline void show_copies()", "emulation::show_copies()",
        'asm volatile("fence.proxy.async.shared::cta;" : : : "memory");')])

_INSTRUCTION = """template <int A_TURNED, int B_TURNED> __device__ inline void {kind}_products_{columns}(
    float *d, unsigned long long a, unsigned long long b) {{
#ifdef MINIGRAD_EMULATION
  emulation::multiply(d, a, b, {columns}, A_TURNED, B_TURNED, {kind}_value);
#else
  asm volatile("{{\\n.reg .pred add;\\nsetp.ne.b32 add, 1, 0;\\n"
      "wgmma.mma_async.sync.aligned.m64n{columns}k16.f32.{kind}.{kind} {{{places}}}, "
      "%{a}, %{b}, add, 1, 1, %{a_turned}, %{b_turned};\\n}}"
      : {sums}
      : "l"(a), "l"(b), "n"(A_TURNED), "n"(B_TURNED));
#endif
}}

template <int ROWS, int DEPTH, int A_STEP, int A_BLOCK, int B_STEP, int B_BLOCK>
__device__ inline void {kind}_multiply_{columns}(float *sums, const unsigned short *a, const unsigned short *b) {{
  begin_products();
#pragma unroll
  for (int k = 0; k < DEPTH; k += 16)
#pragma unroll
    for (int i = 0; i < ROWS / 64; i++)
      {kind}_products_{columns}<A_STEP != 1, B_STEP != 1>(
          sums + i * ({columns} / 2), matrix_descriptor(a + i * A_BLOCK + k * A_STEP, A_BLOCK),
          matrix_descriptor(b + k * B_STEP, B_BLOCK));
  commit_products();
}}"""


def warpgroup_helpers(kind: str, columns: int) -> dict[str, str]:
    """The function ``bf16_multiply_256`` or the like, and what it calls, by name in order."""
    count = columns // 2
    sums = [f'"+f"(d[{n}])' for n in range(count)]
    fields = {"kind": kind, "columns": columns, "places": ", ".join(f"%{n}" for n in range(count)),
              "a": count, "b": count + 1, "a_turned": count + 2, "b_turned": count + 3,
              "sums": ",\n        ".join(", ".join(sums[n:n + 8]) for n in range(0, count, 8))}
    return {"shared_address": SHARED_ADDRESS, "matrix_descriptor": DESCRIPTOR, "begin_products": ORDER,
            f"{kind}_multiply_{columns}": _INSTRUCTION.format(**fields)}
