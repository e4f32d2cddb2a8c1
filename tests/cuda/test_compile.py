"""Stage: tests of the CUDA device. In: a seeded sample of the conformance suite. Out: that its CUDA C++ compiles, with
no GPU. ``python -m tests.cuda`` takes all of the suite. Next: ``tests/cuda_emulation``, where it runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from minigrad.conformance import cases
from minigrad.dtype import float32
from minigrad.kernel.ir import Array, For, Kernel, Load, Store
from minigrad.runtime import nvrtc
from minigrad.symbolic import num, var
from tests.cuda.compiling import UNIT, kernels_of, refusals

FAMILIES = ("contraction", "elementwise", "gather", "memory", "movement", "program", "reduce", "scan", "scatter")
MOST = 30  # kernels, at most


@pytest.fixture(scope="module")
def kernels(request):
    seed = request.config.getoption("--seed")
    chosen = [case for case in cases(1, seed) if case.family in FAMILIES]
    found = kernels_of(chosen)
    return len(chosen), found[::-(-len(found) // MOST)]


@pytest.mark.parametrize(("compiler", "architecture"), [("nvrtc", "sm_80"), ("nvcc", "sm_90")])
def test_conformance_compiles(compiler: str, architecture: str, kernels, seed: int,
                              sampled: Callable[[str], None]) -> None:
    if compiler not in nvrtc.compilers():
        sampled(f"CUDA compiled by {compiler}: skipped, it is not installed")
        pytest.skip(f"{compiler} is not installed")
    count, found = kernels
    sampled(f"CUDA compiled by {compiler} for {architecture}: {len(found)} kernels of {count} cases, seed {seed}")
    assert len(found) >= 20
    assert not (refused := list(refusals(found, compiler, architecture))), "\n\n".join(map(str, refused))


@pytest.mark.parametrize("compiler", nvrtc.compilers())
def test_a_kernel_that_does_not_compile_is_found(compiler: str) -> None:
    def kernel(name: str, source: Array) -> Kernel:
        y, t = Array("y", float32, 4, written=True), var("t", 0, 3)
        block = For(t, num(0), num(4), 1, "block", (Store(y, t, Load(source, t)),))
        return Kernel(name, (Array("x", float32, 4), y), (), For(var("p", 0, 0), num(0), num(1), 1, "grid", (block,)))

    good, bad = kernel("good", Array("x", float32, 4)), kernel("bad", Array("absent", float32, 4))
    found = list(refusals([good] * UNIT + [bad, good], compiler, "sm_80"))
    assert [r.kernel.name for r in found] == ["bad"]
    assert 'identifier "absent" is undefined' in str(found[0]) and "void __launch_bounds__(4) bad(" in str(found[0])
