"""Stage: tests of the array API. In: libraries that take arrays of several kinds: array-api-compat, einops, opt_einsum,
scikit-learn, SciPy, Matplotlib; each is skipped where it is not installed. Out: they take Tensors.
Next: ``tests/unit/autograd/test_backward.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import minigrad


def test_array_api_compat() -> None:
    compat = pytest.importorskip("array_api_compat")
    x = minigrad.arange(6.0).reshape(2, 3)
    xp = compat.array_namespace(x)
    assert xp.__name__ == "minigrad.array_api" and compat.is_array_api_obj(x)
    assert xp.mean(x, axis=0).tolist() == [1.5, 2.5, 3.5] and compat.size(x) == 6
    assert compat.to_device(x, "cpu").tolist() == x.tolist() and str(compat.device(x)) == "cpu"


def test_einops() -> None:
    einops = pytest.importorskip("einops")
    program = """
import torch, einops
x = torch.arange(24.0).reshape(2, 3, 4).requires_grad_()
y = einops.rearrange(x, 'a b c -> c (a b)')
print(tuple(y.shape), einops.reduce(x, 'a b c -> b', 'mean').tolist(), einops.repeat(x[0, 0], 'c -> n c', n=2).tolist())
einops.einsum(x, x, 'a b c, a b c -> a').sum().backward()
print(bool((x.grad == 2 * x).all()))
from einops.layers.torch import Rearrange
print(tuple(Rearrange('a b c -> a (b c)')(x).shape))
"""
    run = subprocess.run([sys.executable, "-m", "minigrad.torch", "-c", program], capture_output=True, text=True)
    assert run.stdout == ("(4, 6) [7.5, 11.5, 15.5] [[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]]\nTrue\n(2, 12)\n"), (
        run.stderr, einops.__version__)


def test_opt_einsum() -> None:
    pytest.importorskip("opt_einsum")
    program = """
import torch, opt_einsum
a, b, c = torch.ones(2, 3), torch.ones(3, 4).requires_grad_(), torch.ones(4, 5)
found = opt_einsum.contract("ij,jk,kl->il", a, b, c)
found.sum().backward()
print(type(found).__name__, found.tolist(), b.grad[0, 0].item())
"""
    run = subprocess.run([sys.executable, "-m", "minigrad.torch", "-c", program], capture_output=True, text=True)
    assert run.stdout == f"Tensor {[[12.0] * 5] * 2} 10.0\n", run.stderr


def test_scikit_learn_takes_tensors() -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("scipy")
    program = """
import numpy as np, sklearn, minigrad
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.metrics import mean_squared_error, accuracy_score, r2_score
x = minigrad.tensor([[1.0, 2.0], [3.0, 6.0], [5.0, 10.0]])
with sklearn.config_context(array_api_dispatch=True):
    y = MinMaxScaler().fit_transform(x)
    print(type(y).__name__, y.tolist())
    print(mean_squared_error(x[:, 0], x[:, 1]), accuracy_score(minigrad.tensor([1, 0]), minigrad.tensor([1, 1])))
"""
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True,
                         env={**os.environ, "SCIPY_ARRAY_API": "1"})
    assert run.stdout.split("\n")[0] == "Tensor [[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]]", run.stderr[-2000:]
    assert run.stdout.split("\n")[1].startswith("11.66666") and run.stdout.split("\n")[1].endswith("0.5")


def test_scipy_minimises_a_function_of_tensors() -> None:
    optimize = pytest.importorskip("scipy.optimize")

    def value_and_slope(x: Any) -> tuple[Any, Any]:
        t = minigrad.tensor(x, requires_grad=True)
        value = ((t - minigrad.tensor([1.0, -2.0], dtype=minigrad.float64)) ** 2).sum()
        value.backward()
        return value.item(), t.grad  # SciPy 1.18 asks a dtype for its .type, which PyTorch's have not either

    found = optimize.minimize(value_and_slope, minigrad.zeros(2, dtype=minigrad.float64), jac=True, method="BFGS")
    np.testing.assert_allclose(found.x, [1.0, -2.0], atol=1e-6)


def test_matplotlib_draws_tensors() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, axes = pyplot.subplots()
    x = minigrad.linspace(0, 1, 5)
    (line,) = axes.plot(x, x * x)
    np.testing.assert_allclose(line.get_ydata(), (x * x).numpy())
    axes.scatter(x, x)
    axes.hist(x)
    axes.imshow(minigrad.ones(2, 2))
    axes.fill_between(x, x, x + 1)
    figure.canvas.draw()
    pyplot.close(figure)
