"""Stage: runtime. In: loop nests. Out: their machine code, made by LLVM in this process.
Next: ``llvm.py`` for the compiler, ``native.py`` for how programs run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from minigrad.render.c import render_c
from minigrad.render.llvm import render_llvm
from minigrad.runtime import llvm
from minigrad.runtime.device import Device, Program
from minigrad.runtime.native import NativeProgram, Step
from minigrad.target import Target

if TYPE_CHECKING:
    from minigrad.kernel.ir import Kernel


class CpuDevice(Device):
    """The default device."""

    name = "CPU"

    @classmethod
    def unavailable(cls) -> str | None:
        return llvm.missing()

    @cached_property
    def target(self) -> Target:  # type: ignore[override]
        """This machine's."""
        return llvm.host_target()

    def source(self, kernels: Sequence[Kernel]) -> str:
        return render_llvm(kernels, self.target)

    def readable(self, kernel: Kernel) -> str:
        """The same loop nest as C: what the CC device compiles, with the same results to the bit."""
        return render_c([kernel])

    def compile_text(self, text: str, names: Sequence[str]) -> list[Program]:
        """Programs for the functions ``names`` that LLVM IR ``text`` defines."""
        module = llvm.compile_text(text, names, self.name)
        return [Program(name, module.addresses[name], text, None, module) for name in names]

    def assembly(self, text: str) -> str:
        """The machine code of LLVM IR ``text``, to read."""
        return llvm.assembly(text)

    def native(self, steps: Sequence[Step], slots: int, scalars: str = "") -> NativeProgram:
        return NativeProgram(steps, slots, scalars)
