"""Stage: tests of devices. In: a seeded sample of the conformance suite. Out: the CUDA it renders to, run by this
machine's processor, computes what the reference does and touches nothing outside its arrays. ``python -m
tests.cuda_emulation`` takes all of the suite. Next: ``test_threads.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minigrad import target
from minigrad.conformance import cases, check
from minigrad.conformance.report import Report
from minigrad.dtype import float32
from minigrad.kernel.ir import Apply, Array, Const, For, Kernel, Load, Store
from minigrad.symbolic import num, var
from tests.cuda_emulation import fences
from tests.cuda_emulation.device import NAME, CudaEmulationDevice
from tests.cuda_emulation.fences import Planned, plan_case, run_program

SAMPLE = 1
EVERY = [3, pytest.param(1, marks=pytest.mark.slow)]
"""Every how many-th case is taken."""
WHY_NOT = CudaEmulationDevice.unavailable()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


@pytest.mark.parametrize("every", EVERY)
def test_cuda_computes_what_the_reference_does(every: int, seed: int, sampled: Callable[[str], None]) -> None:
    chosen = cases(SAMPLE, seed)[seed % every::every]
    report = Report()
    report.add(check(chosen, NAME))
    sampled(f"conformance {NAME}: {len(chosen)} of {len(cases())} cases, {SAMPLE} of one op in {every}, seed {seed}")
    assert report.ok, report.failures()


def _compile(kernels: list[Kernel], folder: Path) -> None:
    done = fences.compile_program(kernels, folder)
    if "cannot find" in done.stderr and "asan" in done.stderr:
        pytest.skip("the C++ compiler has no address sanitizer")
    assert done.returncode == 0, done.stderr[:4000]


@pytest.mark.parametrize("every", EVERY)
def test_cuda_touches_nothing_outside_an_array(every: int, seed: int, tmp_path: Path,
                                               sampled: Callable[[str], None]) -> None:
    """Shared memory too. Elementwise ops and gradients are left out: their kernels are of the same kinds."""
    planned: list[Planned] = []
    kernels: list[Kernel] = []
    for case in cases(SAMPLE, seed + 1)[seed % every::every]:
        if case.raises is None and case.family not in ("elementwise", "gradient"):
            made = plan_case(case, target.CUDA, len(kernels))
            if made is not None:
                planned.append(made)
                kernels += made.kernels
    _compile(kernels, tmp_path)
    done = run_program(planned, tmp_path)
    assert done.returncode == 0, done.stderr[:6000]
    sampled(f"sanitizers: {len(kernels)} CUDA kernels of {len(planned)} cases, each array fenced")


def _off_by_one(past: int) -> Kernel:
    """``y = x + 1`` by 32 threads over 64 elements and ``past`` more."""
    x, y = Array("x", float32, 64), Array("y", float32, 64, written=True)
    p, t, i = var("p", 0, 0), var("t", 0, 31), var("i", 0, 63 + past)
    store = Store(y, i, Apply("ADD", (Load(x, i), Const(1.0, float32)), float32))
    block = For(t, num(0), num(32), 1, "block", (For(i, t, num(64 + past), 32, "serial", (store,)),))
    return Kernel("planted", (x, y), (), For(p, num(0), num(1), 1, "grid", (block,)))


@pytest.mark.parametrize("past", [0, 1])
def test_a_planted_off_by_one_is_caught(past: int, tmp_path: Path) -> None:
    """The harness itself: an access right behind an array ends the program."""
    kernel = _off_by_one(past)
    _compile([kernel], tmp_path)
    planned = replace(_PLANNED, kernels=[kernel], script=[
        np.array(numbers, np.int64).tobytes() for numbers in
        # two homes of 256 bytes, the first filled; one launch of kernel 0: one block, two arrays, no numbers
        ([2, 256, 1, *[0] * 32, 256, 0], [1, 0, 1, 2, 0], [0, 0, 256, 0, 1, 0, 256, 1], [1, 1, 256])])
    done = run_program([planned], tmp_path)
    if past:
        assert done.returncode != 0 and "heap-buffer-overflow" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert np.frombuffer((tmp_path / "results").read_bytes(), np.float32).tolist() == [1.0] * 64


_PLANNED = Planned(cases(1)[0], [((64,), float32)], [])
