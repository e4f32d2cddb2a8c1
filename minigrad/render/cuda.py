"""Stage: render for the CUDA device. In: loop nests. Out: CUDA C++, a translation unit that NVRTC and nvcc compile with
no header. A workgroup is a block, its shared arrays are ``__shared__``; compile with ``--fmad=false``, so that
only what says ``fmaf`` rounds once.
Next: ``runtime/``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from minigrad.dtype import float32
from minigrad.kernel.ir import Alloc, Array, Commit, Copy, For, Function, Kernel, Multiply, Wait
from minigrad.kernel.shared import SharedLayout
from minigrad.kernel.walk import statements
from minigrad.lower.passes.legalise import legaliser, short
from minigrad.render.cstyle import CStyleRenderer
from minigrad.render.cstyle_ops import NATIVE, PLUS, Text, call
from minigrad.render.cuda_copies import COPY_HELPERS
from minigrad.render.cuda_matrix import multiply_helpers
from minigrad.render.cuda_prelude import HALF_PTX, LIMITS, PLAIN, WIDE, WORDS
from minigrad.render.cuda_warpgroup import SWIZZLED, warpgroup_helpers
from minigrad.render.cuda_words import LOAD_WORDS, copies
from minigrad.symbolic import Sym

ALIGNMENT = 16
"""Bytes of the widest access; shared arrays start at a multiple of it."""

_WORDS = frozenset(WORDS.split())


def render_cuda(kernels: Sequence[Kernel]) -> str:
    """The kernels as CUDA C++: ``extern "C" __global__ void name(arrays…, scalars…)`` each, to be launched with
    ``kernel.workgroup`` threads a block and ``kernel.loop.stop`` blocks. Numbers are passed by value, in the type that
    the kernel computes with: float for the half types.

    Two arrays may be the same memory, so no pointer is ``__restrict__``.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Apply, Array, Const, Load, Store
    >>> from minigrad.symbolic import num, var
    >>> p, t, a = var("p", 0, 1), var("t", 0, 3), Array("a", float32, 8, written=True)
    >>> body = (Store(a, p * 4 + t, Apply("MUL", (Load(a, p * 4 + t), Const(2.0, float32)), float32)),)
    >>> loop = For(p, num(0), num(2), 1, "grid", (For(t, num(0), num(4), 1, "block", body),))
    >>> print(render_cuda([Kernel("twice", (a,), (), loop)]).strip())
    extern "C" __global__ void __launch_bounds__(4) twice(float *a) {
      const int p = blockIdx.x;
      const int t = threadIdx.x;
      a[4 * p + t] = a[4 * p + t] * 2.0f;
    }
    """
    return CudaRenderer().render(kernels)


class CudaRenderer(CStyleRenderer):
    """CUDA C++. Half types are stored as their bits and held as float, as everywhere."""

    types: ClassVar = {
        "bool": "bool", "uint8": "unsigned char", "int8": "signed char", "int16": "short", "int32": "int",
        "int64": "long long", "uint16": "unsigned short", "uint32": "unsigned int", "uint64": "unsigned long long",
        "float32": "float", "float64": "double"}
    language = "CUDA"
    function = "__device__ inline "
    native = NATIVE
    index_type, narrow_index = "long long", "int"
    scopes: ClassVar = {"register": "", "scratch": "", "shared": "__shared__ "}
    workgroup_number, thread_number = "blockIdx.x", "threadIdx.x"
    barrier = "__syncthreads();"
    unroll = "#pragma unroll"
    wide, wide_text = (2, 4), WIDE

    def render(self, kernels: Sequence[Kernel]) -> str:
        text = super().render(kernels)
        prelude = [definition for word, definition in LIMITS.items() if word in text]
        return "\n\n".join([*prelude, *self.wide_helpers(text), *[LOAD_WORDS] * ("Words<" in text), text])

    def is_taken(self, name: str) -> bool:
        return name in _WORDS or super().is_taken(name)

    def kernel(self, kernel: Kernel) -> str:
        self.copies = copies(kernel)
        self.layout, self.begun = SharedLayout(kernel), False
        together = [s for s in statements(kernel) if isinstance(s, Multiply) and s.together > 1]
        self.products = {s.sums.name: s.sums.size for s in together}  # of what is multiplied while threads go on
        self.words = {id(c.held) for c in self.copies.values()}
        for s in statements(kernel):
            if isinstance(s, Multiply) and s.dtype is not float32:
                self.define(legaliser(frozenset()).number(s.dtype))
        return super().kernel(kernel)

    def head(self, kernel: Kernel) -> str:
        arrays = [f"{'' if a.written else 'const '}{self.memory(a.dtype)} *{self.name(a.name)}" for a in kernel.arrays]
        scalars = [f"{self.register(s.dtype)} {self.name(s.name)}" for s in kernel.scalars]
        lines = [f'extern "C" __global__ void __launch_bounds__({kernel.workgroup or 1}) {kernel.name}(']
        for parameter in arrays + scalars:
            if len(lines[-1]) + len(parameter) > 116:
                lines.append("    ")
            lines[-1] += parameter + ", "
        return "\n".join(line.rstrip() for line in lines).removesuffix(",") + ")"

    def parallel(self, loop: For) -> list[str]:
        return self.number(loop, self.workgroup_number)

    def number(self, loop: For, word: str | None) -> list[str]:
        """The same, where something needs it."""
        return super().number(loop, word) if str(loop.var) in self.used else []

    def loop(self, s: For) -> None:
        copy = self.copies.get(id(s))
        if copy is None:
            super().loop(s)
            return
        words = f"Words<{copy.held.lanes // 2}>"
        held = f"{self.name(copy.held.name)}[{self.index(copy.at)}]"
        if copy.memory is None:
            self.line(f"{held} = {words}();")
            return
        memory = f"{self.name(copy.memory.name)} + {self.index_text(copy.first).inside(PLUS)}"
        self.line(f"*({words} *)({memory}) = {held};" if copy.out else
                  f"{held} = load_{words.lower()}({memory});")

    def alloc(self, s: Alloc) -> None:
        """Shared arrays begin where wide accesses may."""
        array = s.array
        if id(array) in self.words:
            self.line(f"Words<{array.lanes // 2}> {self.name(array.name)}[{array.size // array.lanes}];")
        elif array.scope == "shared" and array.name in self.used and self.layout.at_launch:
            self.shared_part(array)
        elif array.scope == "shared" and array.name in self.used and array.size * array.dtype.size >= ALIGNMENT:
            self.line(f"__shared__ alignas({ALIGNMENT}) {self.memory(array.dtype)} {self.name(array.name)}"
                      f"[{array.size}];")
        else:
            super().alloc(s)

    def shared_part(self, array: Array) -> None:
        """An array in the memory that a launch gives, where there is more of it than a text may declare."""
        if not self.begun:
            self.begun = True
            self.line(f"extern __shared__ __align__({self.layout.alignment}) unsigned char shared_memory[];")
        kind, at = self.memory(array.dtype), self.layout.offsets[array.name]
        self.line(f"{kind} *const {self.name(array.name)} = ({kind} *)(shared_memory + {at});")

    def copying(self, s: Copy | Commit | Wait) -> None:
        for name, text in COPY_HELPERS.items():
            self.helpers.setdefault(name, text)
        if isinstance(s, Commit):
            self.line("commit_copies();")
            return
        if isinstance(s, Wait):
            self.wait(s)
            return
        to, source = (f"{self.name(array.name)} + {self.place(array, at).inside(PLUS)}"
                      for array, at in ((s.to, s.at), (s.source, s.first)))
        inside = "true" if s.inside is None else self.index(s.inside)
        self.line(f"copy_async<{s.size * s.to.dtype.size}>({to}, {source}, {inside});")

    def wait(self, s: Wait) -> None:
        """What copies write is then shown to the matrix instructions that read it without threads."""
        self.line(f"wait_{'products' if s.products else 'copies'}<{s.groups}>();")
        if self.products and not s.products:
            self.line("show_copies();")
        for name, size in self.products.items():
            if s.products and not s.groups:
                self.line(f"products_are_in<{size}>({self.name(name)});")

    def place(self, array: Array, at: Sym) -> Text:
        """An index, as the array's elements lie in memory."""
        text = self.index_text(at)
        if not array.swizzled:
            return text
        self.helpers.setdefault("swizzled", SWIZZLED)
        return call("swizzled", text)

    def multiply(self, s: Multiply) -> None:
        """The call that multiplies two tiles. Those of several subgroups begin where swizzling moves nothing."""
        kind, tiles = "tf32" if s.dtype is float32 else short(s.dtype), (s.a, s.b)
        if s.together > 1:
            helpers, name = warpgroup_helpers(kind, s.columns), f"{kind}_multiply_{s.columns}"
            sizes = [s.rows, s.depth, *(n for x in tiles for n in (x.step, x.block or x.row * 64))]
        else:
            helpers, name = multiply_helpers(kind), f"{kind}_multiply"
            sizes = [s.rows, s.columns, s.depth, *(n for x in tiles for n in (x.row, x.step))]
        for helper, text in helpers.items():
            self.helpers.setdefault(helper, text)
        a, b = (f"{self.name(x.array.name)} + {self.index_text(x.index).inside(PLUS)}" for x in tiles)
        self.line(f"{name}<{', '.join(map(str, sizes))}>({self.name(s.sums.name)}, {a}, {b});")

    def definition(self, f: Function) -> str:
        plain = super().definition(f)
        return f"{PLAIN[f]}\n{plain}\n#else\n{HALF_PTX[f]}\n#endif" if f in HALF_PTX else plain
