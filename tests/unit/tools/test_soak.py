"""Stage: tests of memory. In: the training programs of ``examples/``, a few hundred steps, plain and jitted. Out:
nothing grows; a profiler or debugger that holds all local variables does not change a bit; the tool sees a leak.
``python tools/soak.py`` takes 10,000 steps.
Next: ``tools/soak.py``."""

from __future__ import annotations

import doctest
import random
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import pytest

import minigrad
from tools import soak

STEPS = {("xor", "plain"): 300, ("xor", "jit"): 300, ("mlp_digits", "plain"): 180, ("mlp_digits", "jit"): 180,
         ("micrograd", "jit"): 180}
"""A step of micrograd in a plain loop takes 20 ms: those the tool takes."""
SHORT = ("xor", "plain"), ("mlp_digits", "jit")
"""Those that the default run takes."""


@pytest.mark.parametrize("name, mode", [pytest.param(*step, marks=() if step in SHORT else pytest.mark.slow)
                                        for step in STEPS])
def test_training_leaves_nothing_behind(name: str, mode: str) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    samples, _ = soak.soak(soak.PROGRAMS[name](soak.WRAPS[mode]), STEPS[name, mode], rows=6)
    assert soak.growth(samples) == []


@pytest.mark.parametrize("name, mode, count", [("xor", "plain", 12), ("xor", "jit", 6), ("mlp_digits", "plain", 4)])
def test_who_holds_references_changes_nothing_but_memory(name: str, mode: str, count: int) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    assert soak.differences(name, mode, count) == []


def leaking(kept: list[Any], what: Callable[[], Any]) -> Iterator[Any]:
    while True:
        kept.append(what())
        yield 0.0


@pytest.mark.parametrize("what, columns", [
    (lambda: minigrad.ones(3).realize(), {"objects", "blocks", "Tensor", "LazyBuffer", "Buffer"}),
    pytest.param(random.random, {"blocks"}, marks=pytest.mark.slow)])
def test_a_leak_is_seen(what: Callable[[], Any], columns: set[str]) -> None:
    samples, _ = soak.soak(leaking([], what), 600, rows=3)
    assert {text.split()[0] for text in soak.growth(samples)} >= columns


def test_other_losses_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter([0.0, 0.0, 1.0])
    monkeypatch.setitem(soak.PROGRAMS, "drifting", lambda wrap: repeat(next(made)))
    assert soak.differences("drifting", "plain", 1) == ["other losses under the debugger"]


def test_doctests() -> None:
    assert doctest.testmod(soak).failed == 0
