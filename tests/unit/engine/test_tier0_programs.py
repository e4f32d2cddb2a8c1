"""Stage: tests of realise. In: random programs of tensors that are written in place, viewed and looked up. Out: tier 0
gives what the reference gives. Next: ``test_sizes.py``."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad.engine import plans

STEPS: list[Callable[[random.Random, Any, Any], Any]] = [
    lambda r, a, b: a + b,
    lambda r, a, b: a * b - 1,
    lambda r, a, b: minigrad.maximum(a, b).clamp(-50, 50),
    lambda r, a, b: a.flip(0),
    lambda r, a, b: (a.sum(0, keepdim=True) + b).clamp(-99, 99),
    lambda r, a, b: a.max(1, keepdim=True)[0] - b,
    lambda r, a, b: minigrad.where(a > b, a, b * 0),
    lambda r, a, b: a.cumsum(1).clamp(-999, 999),
    lambda r, a, b: ((a.unsqueeze(1) * b.unsqueeze(0)).sum(2)[:, :1] + a).clamp(-999, 999),
    lambda r, a, b: a[_rows(r, a, a.shape[0])],
    lambda r, a, b: a.index_add_(0, _rows(r, a, b.shape[0]), b) if a is not b else None,
    lambda r, a, b: a.__setitem__(r.randrange(a.shape[0]), r.choice([3, b[r.randrange(b.shape[0])]])),
    lambda r, a, b: a[:, r.randrange(a.shape[1])].add_(b[:, r.randrange(b.shape[1])]),
    lambda r, a, b: a.add_(b),
    lambda r, a, b: a[r.randrange(a.shape[0]):].mul_(2),
    lambda r, a, b: a.numpy() is None if r.random() < 0.2 else None,
]


def _rows(r: random.Random, like: Any, count: int) -> Any:
    rows = [r.randrange(like.shape[0]) for _ in range(count)]
    return minigrad.tensor(np.array(rows), device=like.device)


def _run(seed: int, device: str) -> list[np.ndarray]:
    r = random.Random(seed)
    shape, dtype = (r.randint(1, 5), r.randint(1, 5)), r.choice([np.int64, np.float32])
    tensors = [minigrad.tensor(np.array([[r.randint(-4, 4) for _ in range(shape[1])] for _ in range(shape[0])], dtype),
                               device=device) for _ in range(3)]
    views = [t[0] for t in tensors]
    for _ in range(r.randint(5, 30)):
        made = r.choice(STEPS)(r, r.choice(tensors), r.choice(tensors))
        if isinstance(made, minigrad.Tensor) and made.shape == shape:
            tensors.append(made)
            if r.random() < 0.3:
                views.append(made[:, -1])
        if len(tensors) > 6:
            tensors.pop(r.randrange(len(tensors)))
    return [t.numpy().copy() for t in (*tensors, *views)]


def test_random_programs(seed: int) -> None:
    plans.clear()
    with minigrad.config(TIERS=2), minigrad.inspect() as seen:
        for number in range(60):
            got, want = (_run(1000 * seed + number, device) for device in ("cpu", "numpy"))
            for a, b in zip(got, want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=f"program {number}")
    assert seen.tier0 > 100
    plans.clear()


def test_programs_are_the_same_each_time(seed: int) -> None:
    """Be they run at once or compiled, in the default setting."""
    for number in range(5):
        runs = []
        for _ in range(2):
            plans.clear()
            runs.append([a.tobytes() for _ in range(4) for a in _run(1000 * seed + number, "cpu")])
        assert runs[0] == runs[1]


def test_a_training_loop_crosses_the_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs at once at first and is compiled later: the loss falls as it does with compiled steps."""
    monkeypatch.setattr("minigrad.engine.tiers.MANY", 20)
    monkeypatch.setattr("minigrad.engine.tiers.COMPILE", 0)
    monkeypatch.setattr("minigrad.engine.tiers.COMPILE_NODE", 3_000)
    monkeypatch.setattr("minigrad.engine.tiers.COMPILE_KERNEL", 3_000)

    def losses(tiers: int, replay: int) -> tuple[list[float], int, int]:
        plans.clear()
        rng = np.random.default_rng(0)
        x = minigrad.tensor(rng.standard_normal((20, 5)).astype(np.float32))
        w = minigrad.tensor(rng.standard_normal((5, 3)).astype(np.float32), requires_grad=True)
        found = []
        with minigrad.config(TIERS=tiers, REPLAY=replay), minigrad.inspect() as seen:
            for _ in range(20):
                w.grad = None
                loss = ((x @ w).tanh() ** 2 + (x @ w).sigmoid()).mean()
                loss.backward()
                with minigrad.no_grad():
                    w -= 0.5 * w.grad
                found.append(loss.item())
        return found, seen.tier0, seen.compiled

    at_once, tier0, compiled = losses(1, 0)
    assert 2 < tier0 < 20 and compiled
    compiled_only = losses(0, 0)[0]
    np.testing.assert_allclose(at_once, compiled_only, rtol=1e-5)
    np.testing.assert_allclose(losses(1, 1)[0], compiled_only, rtol=1e-5)
    plans.clear()
