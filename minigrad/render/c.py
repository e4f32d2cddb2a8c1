"""Stage: render for the CC device, and what DEBUG=4 prints. In: loop nests. Out: one C11 translation unit with the same
bits as the LLVM form; compile it with ``-ffp-contract=off`` and link with ``-lm``.
Next: ``llvm_text.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from minigrad.dtype import DType, float64, int64
from minigrad.kernel.ir import For, Kernel
from minigrad.ops import Op
from minigrad.render.cstyle import CStyleRenderer
from minigrad.render.cstyle_ops import Text, call

INCLUDES = """#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>"""


def render_c(kernels: Sequence[Kernel]) -> str:
    """The kernels as C: ``void name(void **arrays, const int64_t *scalars, int64_t begin, int64_t end)`` each.

    Two arrays may be the same memory, so no pointer is ``restrict``; compile with ``-fno-strict-aliasing`` where
    they may differ in type. ``CompileError`` for barriers, shared memory, and ops that a pass should have lowered.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Apply, Array, Const, Load, Store
    >>> from minigrad.symbolic import num, var
    >>> i, a = var("i", 0, 7), Array("a", float32, 8, written=True)
    >>> body = (Store(a, i, Apply("MUL", (Load(a, i), Const(2.0, float32)), float32)),)
    >>> loop = For(i, num(0), num(8), 1, "parallel", body)
    >>> print(render_c([Kernel("twice", (a,), (), loop)]).split(chr(10) * 2)[1].strip())
    void twice(void **arrays, const int64_t *scalars, int64_t begin, int64_t end) {
      float *a = arrays[0];
      for (int64_t i = begin; i < end; i++) {
        a[i] = a[i] * 2.0f;
      }
    }
    """
    return CRenderer().render(kernels)


class CRenderer(CStyleRenderer):
    """C11."""

    includes = INCLUDES
    prefetch = "__builtin_prefetch({});"
    scopes: ClassVar = {"register": "", "scratch": "_Alignas(64) ", "shared": None}

    def head(self, kernel: Kernel) -> str:
        return f"void {kernel.name}(void **arrays, const int64_t *scalars, int64_t begin, int64_t end)"

    def unpack(self, kernel: Kernel) -> list[str]:
        lines = []
        for position, array in enumerate(kernel.arrays):
            if array.name in self.used:
                const = "" if array.written else "const "
                lines.append(f"{const}{self.memory(array.dtype)} *{self.name(array.name)} = arrays[{position}];")
        return lines

    def argument(self, position: int, dtype: DType) -> str:
        """Run-time number ``position``, which is an int64 or holds the bits of a float64."""
        place, wide = Text(f"scalars[{position}]"), float64 if dtype.is_float else int64
        if dtype.is_float:
            place = call(self.bits(float64, int64), place)
        return place.text if dtype is wide else self.apply(Op.CAST, dtype, [place], [wide]).text

    def parallel(self, loop: For) -> list[str]:
        """Run-time numbers are read in the loop. Of those that are read before it gcc 12 writes out what the loop
        computes from them, and takes minutes and gigabytes where a product is squared again and again."""
        v = self.name(str(loop.var))
        numbers = [f"const {self.register(s.dtype)} {self.name(s.name)} = {self.argument(s.position, s.dtype)};"
                   for s in self.current.scalars if s.name in self.used]
        return [f"for (int64_t {v} = begin; {v} < end; {v}++) {{", *numbers]
