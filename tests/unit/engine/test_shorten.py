"""Stage: tests. In: many small things to compute at once, which would be one kernel. Out: several launches, none too
long, and the same numbers and errors. Next: ``test_sizes.py``."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad
from minigrad.engine.shorten import LONGEST
from minigrad.kernel.length import instructions


@pytest.fixture(autouse=True)
def compiled_at_once():
    with minigrad.config(TIERS=0):
        yield


def run(outputs):
    with minigrad.inspect() as seen:
        minigrad.realize(*outputs)
    kernels = [kernel.kernel for kernel in seen.kernels]
    assert len(kernels) == seen.launches and len({kernel.name for kernel in kernels}) == len(kernels)
    return [instructions(kernel.lowered.kernel) for kernel in kernels]


def test_a_stack_that_is_too_long_is_several_launches():
    xs = [minigrad.linspace(0.5, 2.0, n, dtype=minigrad.float64) for n in range(9, 29)]
    outputs = [x.sin() + x.cos().sum() * k for k, x in enumerate(xs)]
    lengths = run(outputs)
    assert len(lengths) > 4 and max(lengths) <= LONGEST
    for k, (x, output) in enumerate(zip(xs, outputs, strict=True)):
        want = np.sin(x.numpy()) + np.cos(x.numpy()).sum() * k
        np.testing.assert_allclose(output.numpy(), want, rtol=1e-13)


def test_stages_of_one_kernel_are_parted_where_no_scratch_value_crosses():
    x = minigrad.linspace(0.5, 2.0, 5 * 17, dtype=minigrad.float64).reshape(5, 17)
    outputs = []
    for k in range(12):
        y = (x + k).softmax(1).sin()
        outputs += [y, y.sum(0)]
    lengths = run(outputs)
    assert len(lengths) > 2 and max(lengths) <= LONGEST
    for k in range(12):
        e = np.exp(x.numpy() + k - (x.numpy() + k).max(1, keepdims=True))
        want = np.sin(e / e.sum(1, keepdims=True))
        np.testing.assert_allclose(outputs[2 * k].numpy(), want, rtol=1e-12)
        np.testing.assert_allclose(outputs[2 * k + 1].numpy(), want.sum(0), rtol=1e-12)


@pytest.mark.parametrize("wrong", [0, 5, 11])
def test_each_part_reports_its_own_indices(wrong):
    x = minigrad.arange(30, dtype=minigrad.float64)
    outputs = []
    for k in range(12):
        index = minigrad.tensor([k, 30 if k == wrong else 3])
        outputs.append(x[index].sin() + (x + k).cos().sum())
    with pytest.raises(IndexError, match="index 30 is out of bounds"):
        run(outputs)


def test_what_can_not_be_parted_stays():
    x = minigrad.linspace(0.5, 2.0, 9, dtype=minigrad.float64)
    for _ in range(12):
        x = x.sin() + x.cos()
    assert run([x])[0] > LONGEST
