"""Stage: inside the CUDA renderer. In: nothing. Out: what kernels may call beside C++ and its mathematics: the closed
list of what needs PTX, or a word that only CUDA has. Whatever a CPU can't run has a plain form for
``MINIGRAD_EMULATION``, so that tests check results where there is no GPU.
Next: ``cuda.py``."""

from __future__ import annotations

# NVRTC has no <math.h>; nvcc and the emulation have.
LIMITS = {
    "INFINITY": "#ifndef INFINITY\n#define INFINITY __int_as_float(0x7f800000)\n#endif",
    "NAN": "#ifndef NAN\n#define NAN __int_as_float(0x7fffffff)\n#endif",
}

# Where a conversion has to do without an instruction.
PLAIN = {name: "#ifdef MINIGRAD_EMULATION" for name in ("f16_bits", "f16_value")}
PLAIN["bf16_bits"] = "#if defined(MINIGRAD_EMULATION) || __CUDA_ARCH__ < 800"

# Conversions of the half types by one instruction each: rounding to nearest even, as ``definitions.py`` does in
# integers.
HALF_PTX = {
    "f16_bits": """__device__ inline unsigned short f16_bits(float a) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(a));
  return bits;
}""",
    "f16_value": """__device__ inline float f16_value(unsigned short a) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(a));
  return value;
}""",
    "bf16_bits": """__device__ inline unsigned short bf16_bits(float a) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(a));
  return bits;
}""",
}

# One wide access where the address allows it, which is the same for all threads of most kernels.
WIDE = """template <class T> struct alignas({n} * sizeof(T)) Pack{n} {{ T at[{n}]; }};

template <class T> __device__ inline void load{n}(T *to, const T *from) {{
  if ((unsigned long long)from % sizeof(Pack{n}<T>) == 0) {{
    const Pack{n}<T> whole = *(const Pack{n}<T> *)from;
    for (int n = 0; n < {n}; n++) to[n] = whole.at[n];
  }} else {{
    for (int n = 0; n < {n}; n++) to[n] = from[n];
  }}
}}

template <class T> __device__ inline void store{n}(T *to, const T *from) {{
  if ((unsigned long long)to % sizeof(Pack{n}<T>) == 0) {{
    Pack{n}<T> whole;
    for (int n = 0; n < {n}; n++) whole.at[n] = from[n];
    *(Pack{n}<T> *)to = whole;
  }} else {{
    for (int n = 0; n < {n}; n++) to[n] = from[n];
  }}
}}"""

# What C++ and CUDA call their own, beyond the words of C.
WORDS = """
alignas alignof and and_eq asm bitand bitor catch class compl concept consteval constexpr constinit const_cast
co_await co_return co_yield decltype delete dynamic_cast explicit export friend mutable namespace new noexcept not
not_eq nullptr operator or or_eq private protected public reinterpret_cast requires static_assert static_cast template
this thread_local throw try typeid typename using virtual wchar_t xor xor_eq char8_t char16_t char32_t
threadIdx blockIdx blockDim gridDim warpSize dim3 uint3 Pack2 Pack4 Words load2 load4
store2 store4 load_words tf32_multiply tf32_bits tf32_value load_matrices
shared_address copy_async commit_copies wait_copies shared_memory swizzled matrix_descriptor
begin_products commit_products wait_products products_are_in show_copies
exp log sin cos tanh erf pow expf logf sinf cosf tanhf erff powf min max abs"""
