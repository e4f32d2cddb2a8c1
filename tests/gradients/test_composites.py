"""The composites that users call, first and second order, against central differences in float64 on the CPU device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.nn import functional as F

STEP = 1e-5
TARGET = mg.tensor(np.linspace(-1.0, 1.0, 12).reshape(3, 4))
COMPOSITES: dict[str, Callable[[Any], Any]] = {
    "softmax": lambda x: x.softmax(1),
    "log_softmax": lambda x: x.log_softmax(0),
    "logsumexp": lambda x: x.logsumexp(1),
    "sigmoid": lambda x: x.sigmoid(),
    "erf": lambda x: x.erf() * x,
    "mean": lambda x: x.mean(0) ** 2,
    "var": lambda x: x.var(1),
    "std": lambda x: x.std(0),
    "layer_norm": lambda x: F.layer_norm(x, (4,)),
    "linear": lambda x: F.linear(x, x * 2 + 1, x[:, 0]),
    "matmul": lambda x: x @ x.T @ x,
    "cross_entropy": lambda x: F.cross_entropy(x, mg.tensor([1, 0, 3])),
    "soft cross_entropy": lambda x: F.cross_entropy(x, TARGET.softmax(1), label_smoothing=0.1),
    "mse_loss": lambda x: F.mse_loss(x.exp(), TARGET),
    "bce": lambda x: F.binary_cross_entropy(x.sigmoid(), (x.detach() > 0).double()),
    "bce_with_logits": lambda x: F.binary_cross_entropy_with_logits(x, (x.detach() > 0).double()),
    "max": lambda x: x.max(1).values ** 2,
    "indexing": lambda x: x[mg.tensor([0, 2, 0])] * x[1:, ::2].sum(),
    "in place": lambda x: _in_place(x),
    "cumsum": lambda x: x.cumsum(1) ** 2,
}


def _in_place(x: Any) -> Any:
    y = x * 2
    y[0] *= x[1]
    y[1:, 0] = x[:2, 3] ** 2
    return y


def _value(function: Callable[[Any], Any], a: np.ndarray, weight: Any) -> float:
    return float((function(mg.tensor(a)) * weight).sum())


@pytest.mark.sample(8)
@pytest.mark.parametrize("name", COMPOSITES)
def test_composite_matches_central_differences(name: str, rng: np.random.Generator) -> None:
    function = COMPOSITES[name]
    a = rng.uniform(-1.5, 1.5, (3, 4))
    weight = mg.tensor(rng.uniform(0.5, 1.5, tuple(function(mg.tensor(a)).shape)))
    x = mg.tensor(a, requires_grad=True)
    (first,) = mg.autograd.grad((function(x) * weight).sum(), x, create_graph=True)
    direction = rng.uniform(-1, 1, a.shape)
    (second,) = mg.autograd.grad((first * mg.tensor(direction)).sum(), x, allow_unused=True)

    def slope(b: np.ndarray) -> np.ndarray:
        y = mg.tensor(b, requires_grad=True)
        return mg.autograd.grad((function(y) * weight).sum(), y)[0].numpy()

    numeric = np.zeros_like(a)
    for i in np.ndindex(a.shape):
        step = np.zeros_like(a)
        step[i] = STEP
        numeric[i] = (_value(function, a + step, weight) - _value(function, a - step, weight)) / (2 * STEP)
    np.testing.assert_allclose(first.detach().numpy(), numeric, rtol=1e-5, atol=1e-7)
    along = (slope(a + STEP * direction) - slope(a - STEP * direction)) / (2 * STEP)
    got = np.zeros_like(a) if second is None else second.numpy()
    np.testing.assert_allclose(got, along, rtol=1e-4, atol=1e-6)
