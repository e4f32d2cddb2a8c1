"""Stage: tests. In: deep networks, whole and in parts that are computed again. Out: the same gradients, in less memory.
Next: ``tests/unit/utils/test_benchmark.py``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import minigrad
from minigrad import nn
from minigrad.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential


def gradients(run: Callable[[Any, Any], Any], dropout: float = 0.0) -> list[Any]:
    minigrad.manual_seed(0)
    net = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Dropout(dropout)) for _ in range(3)])
    run(net, minigrad.randn(3, 4)).square().sum().backward()
    return [p.grad for p in net.parameters()]


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_gradients_are_those_of_the_whole(dropout: float) -> None:
    whole = gradients(lambda net, x: net(x), dropout)
    parts = gradients(lambda net, x: checkpoint_sequential(net, 3, x, use_reentrant=False), dropout)
    for a, b in zip(whole, parts, strict=True):
        minigrad.testing.assert_close(a, b)


def test_a_gradient_that_passes_through_is_not_overwritten() -> None:
    def run(call: Callable[..., Any]) -> list[Any]:
        x, w = [minigrad.tensor(v, requires_grad=True) for v in ([0.5, 1.5], [2.0, 3.0])]
        y = call(lambda a, b: (a * w).tanh() + b, x * 2, x)
        y = call(lambda a, b: (a * w).tanh() + b, y, x)
        (y * y).sum().backward()
        return [x.grad, w.grad]

    expected = run(lambda f, *args: f(*args))
    for a, b in zip(expected, run(lambda f, *args: checkpoint(f, *args, use_reentrant=False)), strict=True):
        minigrad.testing.assert_close(a, b)


def test_a_function_that_gives_something_else() -> None:
    shapes = iter([2, 3])
    x = minigrad.ones(1, requires_grad=True)
    y = checkpoint(lambda x: x.expand(next(shapes)) * 2, x, use_reentrant=False)
    with pytest.raises(CheckpointError, match="different metadata"):
        y.sum().backward()


def test_an_argument_that_was_changed() -> None:
    x, w = minigrad.ones(2), minigrad.ones(2, requires_grad=True)
    y = checkpoint(lambda x: x * w, x, use_reentrant=False)
    x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


PROGRAM = """
import sys
from minigrad import manual_seed, nn, randn
from minigrad.runtime.allocator import memory_stats
from minigrad.utils.checkpoint import checkpoint_sequential
manual_seed(0)
net = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.Tanh()) for _ in range(32)])
x = randn(4096, 64)
y = net(x) if sys.argv[1] == "whole" else checkpoint_sequential(net, 8, x, use_reentrant=False)
y.square().sum().backward()
print(memory_stats().peak)
"""


def test_memory() -> None:
    """32 activations of 1 MiB: in 8 parts, 8 of them and those of one part."""
    peak = {how: int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True,
                                    check=True).stdout) for how in ("whole", "parts")}
    assert peak["parts"] < 0.7 * peak["whole"], peak
