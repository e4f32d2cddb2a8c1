"""Stage: inside the CUDA renderer. In: nothing. Out: the functions by which threads copy to shared memory while they go
on: PTX's ``cp.async``, and for ``MINIGRAD_EMULATION`` what ``emulation.h`` has in its place, where a copy shows when it
is waited for.
Next: ``cuda_matrix.py``."""

from __future__ import annotations


def emulated(head: str, plain: str, ptx: str) -> str:
    """A function that is ``ptx`` on a GPU, and calls ``emulation.h`` elsewhere."""
    return f"""{head} {{
#ifdef MINIGRAD_EMULATION
  {plain};
#else
  {ptx}
#endif
}}"""


# Where PTX wants an address in shared memory, it is a number of 32 bits.
SHARED_ADDRESS = emulated(
    "__device__ inline unsigned int shared_address(const void *at)", "return emulation::shared_address(at)",
    """unsigned int number;
  asm("{ .reg .u64 whole; cvta.to.shared.u64 whole, %1; cvt.u32.u64 %0, whole; }" : "=r"(number) : "l"(at));
  return number;""")

# Memory that does not begin at a multiple of what is copied at once, and zeros, are copied as other stores are.
COPY_ASYNC = """template <int BYTES> __device__ inline void copy_async(void *to, const void *from, bool inside) {
  if (inside && (unsigned long long)from % BYTES == 0) {
#ifdef MINIGRAD_EMULATION
    emulation::copy_async(to, from, BYTES);
#else
    if (BYTES == 16)
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" : : "r"(shared_address(to)), "l"(from) : "memory");
    else
      asm volatile("cp.async.ca.shared.global [%0], [%1], %2;"
                   : : "r"(shared_address(to)), "l"(from), "n"(BYTES) : "memory");
#endif
  } else {
#pragma unroll
    for (int n = 0; n < BYTES / 2; n++)
      ((unsigned short *)to)[n] = inside ? ((const unsigned short *)from)[n] : 0;
  }
}"""

COMMIT_COPIES = emulated("__device__ inline void commit_copies()", "emulation::commit_copies()",
                         'asm volatile("cp.async.commit_group;" : : : "memory");')

WAIT_COPIES = emulated("template <int GROUPS> __device__ inline void wait_copies()", "emulation::wait_copies(GROUPS)",
                       'asm volatile("cp.async.wait_group %0;" : : "n"(GROUPS) : "memory");')

COPY_HELPERS = {"shared_address": SHARED_ADDRESS, "copy_async": COPY_ASYNC, "commit_copies": COMMIT_COPIES,
                "wait_copies": WAIT_COPIES}
