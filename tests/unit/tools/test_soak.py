"""Stage: tests of memory. In: the training loops of ``tools/loops.py``, a few hundred steps, plain and jitted. Out:
nothing grows; neither a profiler or debugger that holds all local variables nor a stop with a checkpoint changes a bit;
the tool sees a leak. ``python tools/soak.py`` takes 10,000 steps.
Next: ``tools/soak.py``."""

from __future__ import annotations

import contextlib
import doctest
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import pytest

import minigrad
from minigrad import config
from tools import loops, soak

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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pictures", "sentences"])
@pytest.mark.parametrize("mode", ["plain", "jit"])
def test_batches_of_many_sizes_leave_nothing_behind(name: str, mode: str) -> None:
    """In a process of its own, whose caches no other test has filled. Without TIERS=0 a size is compiled when it came
    often enough, after many hundreds of steps."""
    ended = subprocess.run([sys.executable, soak.__file__, name, "--mode", mode, "--steps", "600", "--tiers", "0",
                            "--hooked", "0"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name, mode, count, stop", [
    ("xor", "plain", 130, 104), ("mlp_digits", "jit", 27, 22),
    pytest.param("micrograd", "jit", 30, 12, marks=pytest.mark.slow),
    pytest.param("pictures", "plain", 40, 27, marks=pytest.mark.slow),
    pytest.param("pictures", "jit", 40, 20, marks=pytest.mark.slow),
    pytest.param("sentences", "plain", 60, 50, marks=pytest.mark.slow),
    pytest.param("sentences", "jit", 60, 9, marks=pytest.mark.slow)])
def test_a_stop_with_a_checkpoint_changes_no_bit(name: str, mode: str, count: int, stop: int, tmp_path: Path) -> None:
    """In the middle of an epoch and at its end: weights, optimizer, scheduler, random numbers and the data's order."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    with config.config(TIERS=0):  # docs/tiers.md says what else is rounded otherwise
        straight = take(loops.PROGRAMS[name](loops.WRAPS[mode]), count).digest()
        loops.save(take(loops.PROGRAMS[name](loops.WRAPS[mode]), stop), tmp_path / "stop.pt")
        minigrad.manual_seed(99)
        random.seed(99)
        assert soak.go_on(name, mode, str(tmp_path / "stop.pt"), count - stop) == straight


def take(loop: loops.Loop, count: int) -> loops.Loop:
    for _ in islice(loop, count):
        pass
    return loop


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


def test_a_file_and_a_thread_that_stay_are_seen() -> None:
    if "linux" not in sys.platform:
        pytest.skip("counted in /proc")
    event, held, samples = threading.Event(), contextlib.ExitStack(), []
    with held:
        held.callback(event.set)
        for _ in range(3):
            threading.Thread(target=event.wait, daemon=True).start()
            held.callback(os.close, os.open(__file__, os.O_RDONLY))
            samples.append(soak.system())
    grown = soak.growth({name: [sample[name] for sample in samples] for name in ("threads", "files")})
    assert grown == ["threads +2", "files +2"]


def test_other_losses_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter([0.0, 0.0, 1.0])
    monkeypatch.setitem(soak.PROGRAMS, "drifting", lambda wrap: repeat(next(made)))
    assert soak.differences("drifting", "plain", 1) == ["other losses under the debugger"]


def test_doctests() -> None:
    assert doctest.testmod(soak).failed == 0
