"""Stage: tests of the front. In: few and many tensors, of different sizes, empty ones too. Out: joined they are what
NumPy joins, and each gets its part of the gradient; up to 64 are joined by kernels, so that jit takes them.
Next: ``test_views.py``."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad.tensor.joining import IN_KERNEL


@pytest.mark.parametrize("count", [1, 2, IN_KERNEL, IN_KERNEL + 1, 2 * IN_KERNEL + 1, IN_KERNEL ** 2,
                                   IN_KERNEL ** 2 + 1])
def test_any_number_of_tensors(count: int, rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal((2, i % 4, 3)).astype("f") for i in range(count)]
    tensors = [mg.tensor(a, requires_grad=True) for a in arrays]
    weights = rng.standard_normal((2, sum(a.shape[1] for a in arrays), 3)).astype("f")
    with mg.config(TIERS=2):
        joined = mg.cat(tensors, 1)
        (joined * mg.tensor(weights)).sum().backward()
        np.testing.assert_array_equal(joined.detach().numpy(), np.concatenate(arrays, 1))
        begin = 0
        for t, a in zip(tensors, arrays):
            np.testing.assert_array_equal(t.grad.numpy(), weights[:, begin:begin + a.shape[1]])
            begin += a.shape[1]


def test_jit_takes_many_tensors() -> None:
    """A warning would say that it does not."""
    jitted = mg.jit(lambda xs: mg.stack([x * 2 for x in xs]).sum())
    xs = [mg.full((2,), i) for i in range(IN_KERNEL + 3)]
    assert [jitted(xs).item() for _ in range(4)] == [220] * 4
