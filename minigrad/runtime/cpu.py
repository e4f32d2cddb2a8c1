"""Stage: runtime. In: loop nests. Out: their machine code, made by LLVM in this process.
Next: ``llvm.py``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from types import ModuleType
from typing import TYPE_CHECKING

from minigrad import config
from minigrad.lazily import importing
from minigrad.runtime import llvm
from minigrad.runtime.device import CompiledKernel, Device
from minigrad.runtime.native import NativeProgram, Step
from minigrad.target import Target

if TYPE_CHECKING:
    from minigrad.kernel.ir import Kernel


class CpuDevice(Device):
    """The default device."""

    name = "CPU"
    compiles = "LLVM IR"

    @classmethod
    def unavailable(cls) -> str | None:
        return llvm.missing()

    @cached_property
    def target(self) -> Target:
        """This machine's."""
        return llvm.host_target()

    def source(self, kernels: Sequence[Kernel]) -> str:
        return _render().render_llvm(kernels, self.target)

    def readable(self, kernel: Kernel) -> str:
        """The same loop nest as C: what the CC device compiles, with the same results to the bit."""
        return _render().render_c([kernel])

    def compile_text(self, text: str, names: Sequence[str]) -> list[CompiledKernel]:
        """Programs for the functions ``names`` that LLVM IR ``text`` defines."""
        module = llvm.compile_text(text, names, self.name, level=config.get("CODEGEN"))
        return [CompiledKernel(name, module.addresses[name], text, None, module) for name in names]

    def identity(self) -> str:
        host = llvm.host()
        return f"{host.triple} {host.cpu} {host.features} {host.version}"

    def restore(self, key: str, names: Sequence[str]) -> list[CompiledKernel] | None:
        module = llvm.restore(key, names)
        if module is None:
            return None
        return [CompiledKernel(name, module.addresses[name], "", None, module) for name in names]

    def assembly(self, text: str) -> str:
        """The machine code of LLVM IR ``text``, to read."""
        return llvm.assembly(text)

    def native(self, steps: Sequence[Step], slots: int, scalars: str = "") -> NativeProgram:
        return NativeProgram(steps, slots, scalars)


@cache
def _render() -> ModuleType:
    """The renderers are loaded when something is compiled: a process that finds its plans on disk needs none."""
    with importing():
        import minigrad.render as render

    return render
