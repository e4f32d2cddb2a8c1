"""Stage: tests. In: attention. Out: what it keeps for the backward pass, and that masks and causality mean the same.
Next: ``tests/unit/nn/test_containers.py``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad.nn.functional import scaled_dot_product_attention


def test_it_is_softmax_of_the_scores_times_the_values() -> None:
    q, k, v = (minigrad.randn(2, 5, 4) for _ in range(3))
    plain = (q @ k.transpose(-2, -1) / 2).softmax(-1) @ v
    np.testing.assert_allclose(scaled_dot_product_attention(q, k, v).numpy(), plain.numpy(), atol=1e-6)


def test_causal_is_a_mask_and_a_float_mask_is_added() -> None:
    q, k, v = (minigrad.randn(1, 2, 5, 4) for _ in range(3))
    mask = minigrad.ones(5, 5, dtype=minigrad.bool).tril()
    expected = scaled_dot_product_attention(q, k, v, attn_mask=mask)
    added = minigrad.zeros(5, 5).masked_fill(~mask, -math.inf)
    for other in (scaled_dot_product_attention(q, k, v, is_causal=True),
                  scaled_dot_product_attention(q, k, v, attn_mask=added)):
        np.testing.assert_allclose(expected.numpy(), other.numpy(), atol=1e-6)


def test_a_query_that_may_look_nowhere_gives_zero_and_no_gradient() -> None:
    q, k, v = (minigrad.randn(1, 3, 4, requires_grad=True) for _ in range(3))
    mask = minigrad.tensor([[False] * 3, [True] * 3, [True] * 3])
    result = scaled_dot_product_attention(q, k, v, attn_mask=mask)
    result.sum().backward()
    assert result[0, 0].tolist() == [0.0] * 4 and q.grad[0, 0].tolist() == [0.0] * 4
    assert not any(t.grad.isnan().any() for t in (q, k, v))


def test_a_plan_with_both_passes_computes_the_weights_once(capsys: pytest.CaptureFixture[str]) -> None:
    q, k, v = (minigrad.randn(2, 40, 8).realize().requires_grad_() for _ in range(3))
    with minigrad.config(TIERS=0, DEBUG=3):
        scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()
    assert capsys.readouterr().out.count("EXP(") == 1


def test_of_the_weights_only_two_numbers_a_row_are_kept() -> None:
    q, k, v = (minigrad.randn(1, 64, 8, requires_grad=True) for _ in range(3))
    result = scaled_dot_product_attention(q, k, v)
    assert result.grad_fn is not None
    saved = [tuple(value.shape) for value in result.grad_fn.body.outputs]
    assert saved == [(1, 64, 8), (1, 64, 1), (1, 64, 1)]
    result.sum().backward()
    assert q.grad is not None


def test_second_derivatives_are_those_of_the_formula() -> None:
    first = [minigrad.randn(1, 3, 2, dtype=minigrad.float64) for _ in range(3)]
    found = []
    for attend in (scaled_dot_product_attention,
                   lambda q, k, v: (q @ k.transpose(-2, -1) / math.sqrt(2)).softmax(-1) @ v):
        inputs = [x.clone().requires_grad_() for x in first]
        grads = minigrad.autograd.grad((attend(*inputs) ** 2).sum(), inputs, create_graph=True)
        sum((g * g).sum() for g in grads).backward()
        found.append([x.grad.numpy() for x in inputs])
    for ours, plain in zip(*found, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-9)


@pytest.mark.parametrize("half", [minigrad.bfloat16, minigrad.float16])
def test_gradients_of_half_types_are_as_exact_as_their_digits(half: Any) -> None:
    """Two terms of the scores' gradient nearly cancel: with a rounded output they would be off by a tenth."""
    numbers = np.random.default_rng(1)
    given = [minigrad.tensor(numbers.uniform(1, 9, (2, n, 8)).astype("float32")).to(half) for n in (3, 6, 6)]

    def gradients(dtype: Any) -> list[Any]:
        inputs = [x.to(dtype).requires_grad_() for x in given]
        y = scaled_dot_product_attention(*inputs, scale=0.01)
        return [g.double().numpy() for g in minigrad.autograd.grad(y.sum(), inputs)]

    for found, right in zip(gradients(half), gradients(minigrad.float32), strict=True):
        assert np.abs(found - right).max() <= 0.005 * np.abs(right).max()
