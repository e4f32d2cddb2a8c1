"""Stage: tests of the CUDA device. In: conformance cases. Out: the kernels they become, compiled by NVRTC and nvcc for
GPUs that need not be here. Next: ``test_compile.py``, and ``__main__.py``, which takes the whole suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import minigrad
from minigrad.conformance import Case, check
from minigrad.errors import CompileError
from minigrad.kernel.ir import Kernel
from minigrad.render.cuda import render_cuda
from minigrad.runtime import nvrtc

UNIT = 16
"""Kernels of one translation unit."""


@dataclass(frozen=True)
class Refusal:
    """A kernel that a compiler does not take, with its words; ``log`` of a kernel that it takes holds warnings."""

    kernel: Kernel
    compiler: str
    log: str

    def __str__(self) -> str:
        return f"{self.compiler}: {self.kernel.name}: {self.log}\n{render_cuda([self.kernel])}"


def kernels_of(cases: Sequence[Case]) -> list[Kernel]:
    """The different kernels that a CUDA device would run for these cases; the cases themselves run on the CPU."""
    with minigrad.inspect(device="CUDA", run=False) as seen:
        for _ in check(cases, "CPU"):
            pass
    return list({run.source: run.kernel.lowered.kernel for run in seen.kernels}.values())


def refusals(kernels: Sequence[Kernel], compiler: str, architecture: str) -> Iterator[Refusal]:
    """Compile the kernels, many to a translation unit, and find those that are refused or warned of."""
    units = [kernels[i:i + UNIT] for i in range(0, len(kernels), UNIT)]
    with ThreadPoolExecutor(2) as pool:
        for unit, log in zip(units, pool.map(lambda unit: _log(unit, compiler, architecture), units)):
            if log:  # which of them it is
                yield from (Refusal(k, compiler, text) for k in unit if (text := _log([k], compiler, architecture)))


def _log(kernels: Sequence[Kernel], compiler: str, architecture: str) -> str:
    """What the compiler says; nothing if all is well."""
    text = render_cuda([replace(k, name=f"{k.name}_k{n}") for n, k in enumerate(kernels)])
    try:
        return nvrtc.compile_check(text, architecture, compiler)
    except CompileError as error:
        return str(error)
