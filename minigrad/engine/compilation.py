"""Stage: realise. In: a device and loop nests. Out: their programs, or an error that names kernel and device and holds
the source, whatever the device's renderer or compiler raised.
Next: ``kernels.py``."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.dtype import float64
from minigrad.errors import CompileError, MinigradError, UnsupportedDType, with_source
from minigrad.kernel.ir import Apply, Kernel, Load, Store
from minigrad.kernel.show import show
from minigrad.kernel.walk import statements, values, values_of
from minigrad.runtime.device import CompiledKernel, Device, compile_error


def compile_kernels(device: Device, kernels: Sequence[Kernel]) -> list[CompiledKernel]:
    """A program for each kernel.

    Raises ``UnsupportedDType`` for kernels with dtypes that the device's target lacks, and ``CompileError``. Where
    the error of several kernels does not say which one is guilty, each is compiled alone.
    """
    if not device.target.float64:
        for kernel in kernels:
            _refuse_float64(device, kernel)
    try:
        programs = list(device.compile(kernels))
        if len(programs) != len(kernels):
            raise CompileError(f"its compile() gives {len(programs)} programs for {len(kernels)} kernels")
        return programs
    except Exception as error:
        if isinstance(error, MinigradError) and not _is_bare(device, error):
            raise
        if len(kernels) > 1:
            for kernel in kernels:
                compile_kernels(device, [kernel])
        raise _explained(device, kernels, error) from error


def _is_bare(device: Device, error: MinigradError) -> bool:
    """Whether it is a compiler's log only, or a renderer's refusal, without the device, kernel and source."""
    return isinstance(error, CompileError) and not str(error).startswith(f"device {device.name} ")


def _explained(device: Device, kernels: Sequence[Kernel], error: Exception) -> CompileError:
    names = ", ".join(kernel.name for kernel in kernels)
    problem = str(error) if isinstance(error, CompileError) else f"{type(error).__name__}: {error}"
    try:
        source = device.source(kernels)
    except Exception:  # it was the renderer that failed: what it was given is all the source there is
        loops = "\n\n".join(map(show, kernels))
        return CompileError(with_source(f"device {device.name} cannot render kernel {names}: {problem.strip()}", loops))
    return compile_error(device.name, names, problem, source)


def _refuse_float64(device: Device, kernel: Kernel) -> None:
    """Raise if the kernel computes, reads or writes float64."""
    every = list(statements(kernel))
    found = [v for v in values(x for s in every for x in values_of(s)) if v.dtype is float64]
    computed = next((f"it computes {v.op}" for v in found if isinstance(v, Apply)), "")
    touched = next((f"it touches {s.array.name}" for s in [*found, *every]
                    if isinstance(s, (Load, Store)) and s.array.dtype is float64), "")
    what = computed or touched
    if what:
        raise UnsupportedDType(f"device {device.name} has no float64, and kernel {kernel.name} needs it: {what} in "
                               f"float64. Use float32 (tensor.float()), or another device\n\n{show(kernel)}")
