"""Stage: tests. In: many small things to compute at once, which would be one kernel. Out: several launches, none too
long, and the same numbers and errors. Next: ``test_sizes.py``."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad
from minigrad.engine.details import preview
from minigrad.engine.walk import walk

LONGEST = 64 << 10


@pytest.fixture(autouse=True)
def compiled_at_once():
    with minigrad.config(TIERS=0):
        yield


def lengths_of(outputs):
    """How long the texts of the kernels are that these need; no two have one name."""
    kernels = preview(walk([output._pending() for output in outputs]), "CPU").kernels
    assert len({kernel.name for kernel in kernels}) == len(kernels)
    return [len(kernel.device.source([kernel.lowered.kernel])) for kernel in kernels]


def test_a_stack_that_is_too_long_is_several_launches():
    xs = [minigrad.linspace(0.5, 2.0, n) for n in range(9, 25)]
    minigrad.realize(*xs)
    outputs = [x.tanh() + x.sum() for x in xs]
    lengths = lengths_of(outputs)
    assert 2 <= len(lengths) <= 6 and max(lengths) <= LONGEST
    with minigrad.inspect() as seen:
        minigrad.realize(*outputs)
    assert seen.launches == len(lengths)
    for x, output in zip(xs, outputs, strict=True):
        np.testing.assert_allclose(output.numpy(), np.tanh(x.numpy()) + x.numpy().sum(), rtol=1e-5)


@pytest.mark.parametrize("wrong", [None, 0, 7])
def test_each_part_reports_its_own_indices(wrong):
    x = minigrad.arange(30.0).realize()
    index = [minigrad.tensor([k, 30 if k == wrong else 3]) * 1 for k in range(8)]
    outputs = [x[i].tanh() + (x + k).exp().sum() for k, i in enumerate(index)]
    lengths = lengths_of(outputs)
    assert len(lengths) > 1 and max(lengths) <= LONGEST
    if wrong is None:
        return minigrad.realize(*outputs)
    with pytest.raises(IndexError, match="index out of range"):
        minigrad.realize(*outputs)


def test_one_value_stays_one_kernel():
    x = minigrad.linspace(0.5, 2.0, 9, dtype=minigrad.float64).realize()
    values = [f(x * k) for k in (1, 2, 3) for f in (minigrad.sin, minigrad.cos, minigrad.tan, minigrad.tanh)]
    assert [length > LONGEST for length in lengths_of([sum(values)])] == [True]


@pytest.mark.parametrize("program", [
    lambda: minigrad.ones(3, 37, 129, 3, dtype=minigrad.int8).contiguous().realize().amax(-1),
    lambda: minigrad.nn.functional.gelu(minigrad.nn.functional.linear(*[
        minigrad.rand(*shape).realize() for shape in ((8, 32), (32, 32), (32,))]))])
def test_what_is_written_out_side_by_side_is_bounded(program):
    """Columns whose elements lie apart, and what is made of the sums in a tile of a product."""
    with minigrad.no_grad():
        assert max(lengths_of([program()])) < LONGEST // 2


def test_long_functions_in_a_row_do_not_store_each_step():
    x = minigrad.ones(200_000).contiguous().realize()
    plan = preview(walk([x.lgamma().erfinv().digamma().sum()._pending()]), "CPU").plan
    assert plan.arena_bytes < 2.2 * 8 * x.numel()
