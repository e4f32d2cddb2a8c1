"""Device OPENMP for minigrad: each kernel becomes a C function whose outermost loop OpenMP's threads share. The
system's C compiler compiles it, ctypes calls it. README.md goes through this file from top to bottom."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minigrad.dtype import DType
from minigrad.errors import CompileError
from minigrad.kernel.ir import For, Kernel
from minigrad.render.cstyle import CStyleRenderer
from minigrad.runtime.device import CompiledKernel, Device
from minigrad.runtime.launches import argument
from minigrad.target import Target


class OpenMPRenderer(CStyleRenderer):
    """C11 with an OpenMP pragma. Statements, expressions and index arithmetic come from ``CStyleRenderer``."""

    includes = "#include <math.h>\n#include <stdbool.h>\n#include <stdint.h>\n#include <string.h>"
    reserved = CStyleRenderer.reserved | {"iterations"}

    def head(self, kernel: Kernel) -> str:
        """``void name(const float *in0, float *out, const float s0, const int64_t iterations)``"""
        arrays = [f"{'' if a.written else 'const '}{self.memory(a.dtype)} *{self.name(a.name)}" for a in kernel.arrays]
        scalars = [f"const {self.register(s.dtype)} {self.name(s.name)}" for s in kernel.scalars]
        return f"void {kernel.name}({', '.join([*arrays, *scalars, 'const int64_t iterations'])})"

    def parallel(self, loop: For) -> list[str]:
        """The loop whose iterations may run in any order, and so on any thread."""
        i = self.name(str(loop.var))
        return ["#pragma omp parallel for if(iterations > 1)", f"for (int64_t {i} = 0; {i} < iterations; {i}++) {{"]


# No -ffast-math and no contraction of a*b+c: a kernel says where it rounds. Memory is used again for other types.
FLAGS = ("-O2", "-march=native", "-fopenmp", "-ffp-contract=off", "-fno-strict-aliasing", "-shared", "-fPIC")


class OpenMPDevice(Device):
    """This machine's processor, by way of its C compiler and OpenMP. Tensors lie in this process's memory."""

    name = "OPENMP"
    language = "C with OpenMP"
    target = Target("openmp", vector_bytes=32, vector_registers=16)

    @classmethod
    def unavailable(cls) -> str | None:
        """Why there is no such device on this machine, or None."""
        return None if shutil.which("cc") else "no C compiler: cc is not on the PATH"

    def source(self, kernels: Sequence[Kernel]) -> str:
        """The text of these kernels."""
        return OpenMPRenderer().render(kernels)

    def compile_text(self, text: str, names: Sequence[str]) -> list[CompiledKernel]:
        """Programs for the functions ``names`` of ``text``."""
        with tempfile.TemporaryDirectory() as folder:
            source, library = Path(folder, "kernels.c"), Path(folder, "kernels.so")
            source.write_text(text, encoding="utf-8")
            done = subprocess.run(["cc", *FLAGS, source, "-o", library, "-lm"], capture_output=True, text=True)
            if done.returncode:
                raise CompileError(done.stderr)
            functions = ctypes.CDLL(str(library))
        return [CompiledKernel(name, source=text, owner=getattr(functions, name)) for name in names]

    def launch(self, program: CompiledKernel, addresses: Sequence[int], scalars: Sequence[float],
               iterations: int) -> None:
        """Run a kernel on the arrays at these addresses, with these numbers."""
        arrays = [ctypes.c_void_p(address) for address in addresses]
        numbers = [c_number(s.dtype, n) for s, n in zip(program.kernel.scalars, scalars, strict=True)]
        program.owner(*arrays, *numbers, ctypes.c_int64(iterations))


def c_number(dtype: DType, number: float) -> ctypes._SimpleCData:
    """A number as the C type of ``dtype``."""
    value = argument(dtype, number)
    return np.ctypeslib.as_ctypes_type(value.dtype)(value.item())
