"""Stage: tests of realise. In: BEAM=n, and times that the test makes up. Out: the fastest steps are found and kept on
disk, none that computes something else is taken, and the first stay where nothing is clearly faster.
Next: ``test_plans.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import minigrad
from minigrad.engine import beam, plans
from minigrad.engine.kernels import kernels
from minigrad.lower import Lowered
from minigrad.lower.steps import parse


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path):
    with minigrad.config(CACHE_DIR=str(tmp_path), VERIFY=0, REPLAY=0, BEAM=2, BEAM_SECONDS=60):
        yield


def made_up(monkeypatch: pytest.MonkeyPatch, slowness) -> list[str]:
    """Times by ``slowness`` of the last stage's line; all lines that were timed."""
    seen: list[str] = []

    def time(self, lowered: Lowered, program, runs=1) -> float:
        seen.append(lowered.strategies[-1])
        return slowness(seen[-1])

    monkeypatch.setattr(beam._Search, "time", time)
    return seen


def stages(call) -> tuple[str, ...]:
    with minigrad.inspect() as seen:
        call()
    return seen.kernels[-1].stages


def test_the_fastest_steps_are_found_and_kept(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    x = minigrad.tensor(rng.standard_normal((64, 300)).astype("f"))
    seen = made_up(monkeypatch, lambda line: 1.0 - 0.2 * ("accumulate" not in line) - 0.2 * ("; 1 iter" in line))

    def call() -> minigrad.Tensor:
        return (x * 2).sum(1).realize()

    (line,) = stages(call)
    assert "accumulate" not in line and "; 1 iterations" in line and len(seen) > 10
    np.testing.assert_allclose(call().numpy(), 2 * x.numpy().sum(1), rtol=1e-4, atol=1e-4)
    seen.clear()
    plans.families.clear()
    kernels.clear()
    beam._found.clear()
    assert stages(call) == (line,) and seen == []  # from the disk
    with minigrad.config(BEAM=0):
        assert "accumulate" in stages(call)[0] and "; 2 iterations" in stages(call)[0]


def test_the_first_stay_where_nothing_is_clearly_faster(monkeypatch: pytest.MonkeyPatch,
                                                        rng: np.random.Generator) -> None:
    x = minigrad.tensor(rng.standard_normal((80, 90)).astype("f"))
    with minigrad.config(BEAM=0):
        first = stages(lambda: (x * 3).realize())
    seen = made_up(monkeypatch, lambda line: 1.0 if line == first[0] else 0.98)
    assert stages(lambda: (x * 3).realize()) == first and len(seen) > 2


def test_what_computes_something_else_is_not_taken(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    x = minigrad.tensor(rng.standard_normal((70, 90)).astype("f"))
    made_up(monkeypatch, lambda line: 1.0 if "; 1 iterations" in line else 0.1)
    results = beam._Search.results

    def wrong(self, lowered: Lowered, program) -> list[np.ndarray]:
        found = results(self, lowered, program)
        return found if "; 1 iterations" in lowered.strategies[0] else [x + 1 for x in found]

    monkeypatch.setattr(beam._Search, "results", wrong)
    assert "; 1 iterations" in stages(lambda: (x * 5).realize())[0]


def test_kernels_of_all_kinds(rng: np.random.Generator) -> None:
    """By the clock, shortly: whatever is found computes the same."""
    a, b = (minigrad.tensor(rng.standard_normal((40, 40)).astype("f")) for _ in range(2))
    at = minigrad.tensor(rng.integers(0, 40, 30))
    calls = [lambda: a @ b, lambda: a.softmax(-1), lambda: a.cumsum(0), lambda: a.T.contiguous() + b, lambda: a[at] * 2,
             lambda: a.index_add(0, at, b[:30]), lambda: (a > b).sum(0), lambda: a.argmax(1), lambda: a.sort(1).values]
    with minigrad.config(BEAM_SECONDS=1):
        found = [call().numpy() for call in calls]
    with minigrad.config(BEAM=0):
        for one, call in zip(found, calls, strict=True):
            np.testing.assert_allclose(one, call().numpy(), rtol=1e-4, atol=1e-5)


def test_stages_on_a_gpu_keep_as_many_threads_as_each_other() -> None:
    texts = ("block(64), accumulate(r0, 32)", "block(64)", "chosen")
    assert beam._together(texts, 1, parse("block(32), lanes(x0, 2)")) == (
        "block(32), accumulate(r0, 32)", "block(32), lanes(x0, 2)", "chosen")
    assert beam._together(("lanes(x0, 8)", "lanes(r0, 8)"), 0, parse("")) == ("plain loops", "lanes(r0, 8)")


def test_tune_says_what_was_gained(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import sys, minigrad\nprint((minigrad.ones(300, 200) * 2).sum(1).sum().item(), sys.argv[1:])\n")
    environment = {**os.environ, "MINIGRAD_CACHE_DIR": str(tmp_path / "cache"), "MINIGRAD_VERIFY": "0"}
    command = [sys.executable, "-m", "minigrad.tune", "--beam", "1", "--seconds", "2", program, "--size", "3"]
    first, again = (subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)
                    for _ in range(2))
    for done in (first, again):
        assert done.returncode == 0 and done.stdout == "120000.0 ['--size', '3']\n", done.stderr
    *lines, last = first.stderr.splitlines()
    assert len(lines) == int(last.split()[0]) > 0 and " searched" in last
    assert all(" µs, now " in line and " tried: " in line for line in lines)
    assert again.stderr.startswith("0 kernels searched")
