"""Stage: tests. In: recurrent networks. Out: they do step by step what their cells do, whatever the form of their
input, and every step runs the same few kernels.
Next: ``tests/unit/optim/``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import Tensor, nn
from minigrad.nn.utils.rnn import pack_sequence, unpack_sequence


def _by_cells(network: Any, cell: Any, x: Tensor) -> Tensor:
    """The outputs of a network of one layer, by its cell."""
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        setattr(cell, name, getattr(network, f"{name}_l0"))
    state, outputs = None, []
    for row in x:
        state = cell(row) if state is None else cell(row, state)
        outputs.append(state[0] if isinstance(state, tuple) else state)
    return minigrad.stack(outputs)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_network_is_its_cell_step_by_step(name: str) -> None:
    network, cell = getattr(nn, name)(3, 4), getattr(nn, f"{name}Cell")(3, 4)
    x = minigrad.randn(5, 2, 3)
    np.testing.assert_allclose(network(x)[0].detach().numpy(), _by_cells(network, cell, x).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_packed_sequences_are_those_one_by_one(name: str) -> None:
    network = getattr(nn, name)(3, 4, num_layers=2, bidirectional=True)
    sequences = [minigrad.randn(n, 3) for n in (2, 5, 3)]
    packed, final = network(pack_sequence(sequences, enforce_sorted=False))
    final = final if isinstance(final, tuple) else (final,)
    for i, (x, output) in enumerate(zip(sequences, unpack_sequence(packed), strict=True)):
        alone, last = network(x)
        last = last if isinstance(last, tuple) else (last,)
        np.testing.assert_allclose(output.detach().numpy(), alone.detach().numpy(), atol=1e-6)
        for a, b in zip(final, last, strict=True):
            np.testing.assert_allclose(a[:, i].detach().numpy(), b.detach().numpy(), atol=1e-6)


def test_the_gates_of_a_step_are_one_kernel() -> None:
    network = nn.LSTM(64, 128)
    x = minigrad.randn(10, 32, 64).realize()
    with minigrad.inspect() as seen:
        network(x)[0].realize()
    steps = [kernel.name for kernel in seen.kernels if seen.kernels.count(kernel) and "lstm" in kernel.name]
    assert len(seen.kernels) <= 2 * 10 + 4, [kernel.name for kernel in seen.kernels]
    assert seen.compiled <= 6 and steps


def test_half_types_are_computed_in_float32() -> None:
    network = nn.GRU(3, 4)
    x = minigrad.randn(5, 2, 3)
    exact = network(x)[0].detach().numpy()
    half = network.to(minigrad.bfloat16)(x.to(minigrad.bfloat16))[0]
    assert half.dtype is minigrad.bfloat16
    np.testing.assert_allclose(half.float().detach().numpy(), exact, atol=0.02)


X = [[[1.0, -1.0]], [[0.5, 2.0]]]
PYTORCHS: list[tuple[str, dict[str, str], Any, list[list[float]]]] = [
    ("RNN", {}, X, [[-0.421899, -0.244919], [-0.639772, -0.188856]]),
    ("RNN", {"nonlinearity": "relu"}, [[[-3.0, -1.0]], [[-2.0, 2.0]]], [[0.75, 0.15], [0.0, 0.02]]),
    ("LSTM", {}, X, [[0.088448, 0.155543], [0.330225, 0.543658]]),
    ("GRU", {}, X, [[0.099844, 0.156924], [0.407467, 0.333849]])]


@pytest.mark.parametrize("name, options, x, expected", PYTORCHS, ids=["tanh", "relu", "lstm", "gru"])
def test_numbers_that_pytorch_gave(name: str, options: dict[str, str], x: Any, expected: list[list[float]]) -> None:
    network = getattr(nn, name)(2, 2, **options)
    with minigrad.no_grad():
        for k, p in enumerate(network.parameters()):
            p.copy_(minigrad.arange(float(p.numel())).reshape(p.shape) * 0.1 - 0.3 + 0.05 * k)
    np.testing.assert_allclose(network(minigrad.tensor(x))[0][:, 0].detach().numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_second_derivatives_in_float32_are_those_in_float64(name: str, rng: np.random.Generator) -> None:
    """The gates' functions have gradients written by hand in float32, also where a loop's gradient computes them."""
    weights = [rng.standard_normal(shape) for shape in [tuple(p.shape) for p in getattr(nn, name)(3, 2).parameters()]]
    x, found = rng.standard_normal((3, 1, 3)), []
    for dtype in (minigrad.float32, minigrad.float64):
        network = getattr(nn, name)(3, 2, dtype=dtype)
        with minigrad.no_grad():
            for p, w in zip(network.parameters(), weights, strict=True):
                p.copy_(minigrad.tensor(w))
        leaf = minigrad.tensor(x, dtype=dtype, requires_grad=True)
        slope, = minigrad.autograd.grad(network(leaf)[0].pow(2).sum(), leaf, create_graph=True)
        found.append(minigrad.autograd.grad(slope.pow(2).sum(), leaf)[0].numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-5)
