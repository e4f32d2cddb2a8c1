"""Stage: render for the OPENCL device. In: loop nests. Out: OpenCL C, one program. A kernel of the CPU form becomes one
work-item an iteration, in workgroups of one; one of the GPU form, workgroups of the size it says.
Next: ``cuda_words.py``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from minigrad.dtype import DType, bool_
from minigrad.kernel.ir import For, Kernel
from minigrad.lower.passes.legalise import short
from minigrad.ops import Op
from minigrad.render.cstyle import CStyleRenderer
from minigrad.render.cstyle_ops import NATIVE, Text, call

# Arrays are given as a memory object and the element in it where they begin: names end in ``_at``.
WIDE = """#define load{n}(to, from) vstore{n}(vload{n}(0, from), 0, to)
#define store{n}(to, from) vstore{n}(vload{n}(0, from), 0, to)"""

VECTOR = "#pragma clang loop vectorize(assume_safety)"
"""Before a vector loop of the CPU form: its iterations are independent."""

# A driver's own function would be a call where it compiled that for another processor. ``a * b + c`` is contracted in
# this function alone.
FMA = """{t} {name}({t} a, {t} b, {t} c) {{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#pragma OPENCL FP_CONTRACT ON
  return a * b + c;
#else
  return fma(a, b, c);
#endif
}}"""

# What OpenCL C calls its own, beyond the words of C, and the names of our prelude.
_WORDS = re.compile(r"""(?:(?:bool|u?char|u?short|u?int|u?long|float|double|half)(?:2|3|4|8|16)?
|(?:as|convert)_u?(?:char|short|int|long|float|double)\w*|get_(?:global|local|group|num|work)_\w+
|v(?:load|store)(?:_half|a_half)?\d*
|barrier|sampler_t|event_t|size_t|complex|imaginary|exp|exp2|exp10|expm1|log|log2|log10|log1p|logb|pow|pown|powr|rootn
|a?(?:sin|cos|tan)(?:h|pi)?|sincos|atan2|erfc?|r?sqrt|cbrt|hypot|[lt]gamma|fma|mad|mad24|mad_hi|mul24|mul_hi|fmod
|remainder|remquo|modf|frexp|ldexp|ilogb|fabs|fdim|fmin|fmax|floor|ceil|trunc|rint|round|nan|nextafter|min|max|maxmag
|minmag|abs|abs_diff|clamp|mix|step|smoothstep|sign|signbit|select|bitselect|any|all|dot|cross|length|distance
|normalize|degrees|radians|hadd|rhadd|rotate|clz|popcount|upsample|shuffle2?|prefetch|printf
|is(?:nan|inf|finite|normal|equal|less\w*|greater\w*|\w*ordered))\Z""", re.VERBOSE)


def render_opencl(kernels: Sequence[Kernel]) -> str:
    """The kernels as OpenCL C 1.2: ``__kernel void name(arrays…, scalars…, first elements…)`` each.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Apply, Array, Const, Load, Store
    >>> from minigrad.symbolic import num, var
    >>> p, t, a = var("p", 0, 1), var("t", 0, 3), Array("a", float32, 8, written=True)
    >>> body = (Store(a, p * 4 + t, Apply("MUL", (Load(a, p * 4 + t), Const(2.0, float32)), float32)),)
    >>> loop = For(p, num(0), num(2), 1, "grid", (For(t, num(0), num(4), 1, "block", body),))
    >>> print(render_opencl([Kernel("twice", (a,), (), loop)]).split(chr(10) * 2)[1].strip())
    __kernel __attribute__((reqd_work_group_size(4, 1, 1)))
    void twice(__global float *a, const long a_at) {
      a += a_at;
      const int p = get_group_id(0);
      const int t = get_local_id(0);
      a[4 * p + t] = a[4 * p + t] * 2.0f;
    }
    """
    return OpenCLRenderer().render(kernels)


class OpenCLRenderer(CStyleRenderer):
    """OpenCL C 1.2. Half types are held as float and stored as their bits: no device needs to know them."""

    types: ClassVar = {
        "bool": "bool", "uint8": "uchar", "int8": "char", "int16": "short", "int32": "int", "int64": "long",
        "uint16": "ushort", "uint32": "uint", "uint64": "ulong", "float32": "float", "float64": "double"}
    language = "OpenCL C"
    function = ""
    math_float32 = "{}"
    long_suffix = "L"
    native = NATIVE
    reinterpret = "{to} {name}({of} a) {{ return as_{to}(a); }}"
    index_type, narrow_index = "long", "int"
    scopes: ClassVar = {"register": "", "scratch": "", "shared": "__local "}
    workgroup_number, thread_number = "get_group_id(0)", "get_local_id(0)"
    barrier = "barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);"
    unroll = "#pragma unroll"
    prefetch = "prefetch({}, 1);"
    wide, wide_text = (2, 4), WIDE

    def render(self, kernels: Sequence[Kernel]) -> str:
        text = super().render(kernels)
        includes = ["#pragma OPENCL FP_CONTRACT OFF"]
        if "double" in text:
            includes.append("#pragma OPENCL EXTENSION cl_khr_fp64 : enable")
        return "\n".join([*includes, *self.wide_helpers(text)]) + "\n\n" + text

    def is_taken(self, name: str) -> bool:
        return _WORDS.match(name) is not None or super().is_taken(name)

    def memory(self, dtype: DType) -> str:
        return "uchar" if dtype is bool_ else super().memory(dtype)

    def apply(self, op: str, dtype: DType, operands: list[Text], sources: list[DType]) -> Text:
        if op != Op.FMA or self.current.workgroup:
            return super().apply(op, dtype, operands, sources)
        name = f"fma_{short(dtype)}"
        self.helpers.setdefault(name, FMA.format(t=self.types[dtype.name], name=name))
        return call(name, *operands)

    def hint(self, s: For) -> str | None:
        """Lanes are a processor's vectors, or a thread's neighbours."""
        return VECTOR if s.kind == "vector" and not self.current.workgroup else super().hint(s)

    def head(self, kernel: Kernel) -> str:
        arrays = [f"__global {'' if a.written else 'const '}{self.memory(a.dtype)} *{self.name(a.name)}"
                  for a in kernel.arrays]
        scalars = [f"const {'uchar' if s.dtype is bool_ else self.register(s.dtype)} {self.name(s.name)}"
                   for s in kernel.scalars]
        starts = [f"const long {self.name(a.name)}_at" for a in kernel.arrays]
        size = kernel.workgroup or 1
        self.line(f"__kernel __attribute__((reqd_work_group_size({size}, 1, 1)))")
        return f"void {kernel.name}({', '.join([*arrays, *scalars, *starts])})"

    def unpack(self, kernel: Kernel) -> list[str]:
        names = [self.name(a.name) for a in kernel.arrays if a.name in self.used]
        return [f"{name} += {name}_at;" for name in names]

    def parallel(self, loop: For) -> list[str]:
        return self.number(loop, "get_global_id(0)")
