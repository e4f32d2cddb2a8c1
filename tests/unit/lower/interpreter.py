"""Stage: tests of lower. In: kernels in the GPU form. Out: the device INTERPRETER, which checks and runs them one
statement at a time, so that whole programs can be tried that no GPU is at hand for. Next: ``test_gpu.py``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from minigrad.kernel.interpret import interpret
from minigrad.kernel.ir import Kernel
from minigrad.kernel.verify import verify
from minigrad.runtime.device import CompiledKernel, Device
from minigrad.target import GPU


class Interpreter(Device):
    """Runs kernels by ``interpret``, which finds races and accesses outside arrays."""

    name = "INTERPRETER"
    target = GPU

    def compile(self, kernels: Sequence[Kernel]) -> list[CompiledKernel]:
        """Nothing but a check."""
        return [CompiledKernel(k.name, kernel=verify(k)) for k in kernels]

    def source(self, kernels: Sequence[Kernel]) -> str:
        """None: the loop nest is what runs."""
        return ""

    def launch(self, program: CompiledKernel, addresses: Sequence[int], scalars: Sequence[float],
               iterations: int) -> None:
        """The workgroups one after another."""
        assert program.kernel is not None
        arrays = []
        for array, address in zip(program.kernel.arrays, addresses, strict=True):
            memory = (ctypes.c_char * max(1, array.size * array.dtype.size)).from_address(address)
            arrays.append(np.frombuffer(memory, array.dtype.numpy, array.size))
        numbers = [n - (1 << 64) if isinstance(n, int) and n >> 63 == 1 else n for n in scalars]
        interpret(program.kernel, arrays, numbers, 0, iterations)
