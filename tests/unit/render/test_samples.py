"""Stage: tests. In: the sample kernels. Out: that interpreter, LLVM IR for each target and C agree to the bit.
Next: ``test_scalar_ops.py``."""

from __future__ import annotations

import os

import numpy as np
import pytest

from minigrad.kernel.interpret import interpret
from minigrad.kernel.verify import verify
from tests.unit.render.harness import GCC, TARGETS, assert_same, compile_c, compile_llvm, fenced, survives
from tests.unit.render.samples import SAMPLES, random_arrays

KERNELS = {build: verify(build()) for build in SAMPLES}


def expected(build, rng):
    kernel = KERNELS[build]
    before = random_arrays(kernel, rng)
    want = [a.copy() for a in before]
    interpret(kernel, want, SAMPLES[build])
    return before, want


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_llvm_gives_the_bits_of_the_interpreter(target, rng):
    runs = compile_llvm(list(KERNELS.values()), target)
    for build, run in zip(KERNELS, runs):
        before, want = expected(build, rng)
        run(before, SAMPLES[build], 0, int(KERNELS[build].loop.stop))
        assert_same(before, want, f"{build.__name__} for {target.name}")


@pytest.mark.skipif(GCC is None, reason="needs gcc")
def test_c_gives_the_bits_of_the_interpreter(rng, tmp_path):
    runs = compile_c(list(KERNELS.values()), tmp_path)
    for build, run in zip(KERNELS, runs):
        before, want = expected(build, rng)
        run(before, SAMPLES[build], 0, int(KERNELS[build].loop.stop))
        assert_same(before, want, build.__name__)


@pytest.mark.sample(1)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_no_guard_lets_a_read_outside(target, rng):
    """Arrays end (then begin) where a page begins that nobody may read."""
    runs = compile_llvm(list(KERNELS.values()), target)
    for build, run in zip(KERNELS, runs):
        before, _ = expected(build, rng)
        for at_end in (True, False):
            arrays = [fenced(a, at_end) if a.size else a for a in before]
            count = int(KERNELS[build].loop.stop)
            assert survives(lambda: run(arrays, SAMPLES[build], 0, count)), f"{build.__name__} reads outside"  # noqa: B023


def test_only_the_iterations_asked_for_run(rng):
    build = next(b for b in SAMPLES if b.__name__ == "row_sum")
    (run,) = compile_llvm([KERNELS[build]], TARGETS[-1])
    before, _ = expected(build, rng)
    want = [a.copy() for a in before]
    interpret(KERNELS[build], want, begin=3, end=7)
    run(before, (), 3, 7)
    run(before, (), 5, 5)
    assert_same(before, want, "rows 3 to 6")
    assert not np.array_equal(before[1], np.zeros(10))
