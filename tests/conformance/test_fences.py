"""Stage: tests of devices. In: a sample of the conformance suite. Out: the C that DEBUG=4 prints compiles without a
warning, touches nothing outside its arrays, has no undefined behaviour, and gives the CPU device's results to the bit.
Next: ``test_conformance.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from minigrad.conformance import Case, cases
from minigrad.dtype import float32
from minigrad.engine import realise, to_numpy
from minigrad.kernel.ir import Apply, Array, Const, For, Kernel, Load, Store
from minigrad.runtime.cc import compiler
from minigrad.runtime.device import get_device
from minigrad.symbolic import num, var
from tests.conformance import fences

NO_COMPILER = compiler() is None
pytestmark = pytest.mark.skipif(NO_COMPILER, reason="no C compiler: cc, gcc and clang are not on the PATH")


@pytest.fixture(scope="module", params=[2, pytest.param(1, marks=pytest.mark.slow)])
def planned(request: pytest.FixtureRequest) -> list[fences.Planned]:
    """Every how many-th case: a C compiler takes its time."""
    target, found, count = get_device("CPU").target, [], 0
    seed, every = request.config.getoption("--seed"), request.param
    for case in cases(1, seed)[seed % every::every]:
        made = fences.plan_case(case, target, count) if case.raises is None else None
        if made is not None:
            found.append(made)
            count += len(made.kernels)
    return found


def _has_sanitizers(folder: Path) -> bool:
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    return fences.gcc([*fences.SANITIZE, str(folder / "empty.c"), "-o", str(folder / "empty")]).returncode == 0


@pytest.fixture(scope="module")
def on_cpu(planned: list[fences.Planned]) -> dict[Case, list[np.ndarray]]:
    """The same cases on the CPU device."""
    found = {}
    for p in planned:
        outputs = list(p.case.build("CPU").outputs)
        realise(outputs)
        found[p.case] = [to_numpy(o) for o in outputs]
    return found


def _assert_same_bits(planned: list[fences.Planned], folder: Path, on_cpu: dict[Case, list[np.ndarray]]) -> None:
    found = fences.results(planned, folder)
    wrong = [f"{p.case} output {i}" for p in planned for i, (a,
                                                             b) in enumerate(zip(found[p.case], on_cpu[p.case],
                                                                                 strict=True))
             if not fences.same_bits(a, b, p.outputs[i][1])]
    assert not wrong, wrong


def test_c_compiles_without_a_warning_and_gives_the_cpus_bits(
        planned: list[fences.Planned], on_cpu: dict[Case, list[np.ndarray]], tmp_path: Path) -> None:
    done = fences.compile_program(planned, tmp_path, fences.WARN)
    assert done.returncode == 0, done.stderr[:4000]
    assert fences.run_program(planned, tmp_path).returncode == 0
    _assert_same_bits(planned, tmp_path, on_cpu)


def test_nothing_outside_an_array_is_touched(planned: list[fences.Planned], on_cpu: dict[Case, list[np.ndarray]],
                                             tmp_path: Path, sampled: Callable[[str], None]) -> None:
    if not _has_sanitizers(tmp_path):
        pytest.skip("the C compiler has no address and undefined-behaviour sanitizers")
    done = fences.compile_program(planned, tmp_path, fences.SANITIZE)
    assert done.returncode == 0, done.stderr[:4000]
    done = fences.run_program(planned, tmp_path)
    assert done.returncode == 0, done.stderr[:6000]
    sampled(f"sanitizers: {sum(len(p.kernels) for p in planned)} kernels of {len(planned)} cases, each array fenced")
    _assert_same_bits(planned, tmp_path, on_cpu)


def test_a_difference_of_one_bit_is_seen(planned: list[fences.Planned], on_cpu: dict[Case, list[np.ndarray]]) -> None:
    one = np.float32([1.0])
    assert fences.same_bits(one, one.copy(), float32)
    assert not fences.same_bits(one, np.nextafter(one, np.float32(2)), float32)
    assert not fences.same_bits(np.float32([0.0]), np.float32([-0.0]), float32)
    assert fences.same_bits(np.float32([np.nan]), -np.float32([np.nan]), float32)
    assert len(on_cpu) == len(planned) > 80


def _off_by_one(past: int) -> Kernel:
    """``y = x + 1`` over 100 elements and ``past`` more."""
    x, y, i = Array("x", float32, 100), Array("y", float32, 100, written=True), var("i", 0, 99 + past)
    value = Apply("ADD", (Load(x, i), Const(1.0, float32)), float32)
    return Kernel("planted", (x, y), (), For(i, num(0), num(100 + past), 1, "parallel", (Store(y, i, value),)))


@pytest.mark.parametrize("past", [0, 1])
def test_a_planted_off_by_one_is_caught(past: int, planned: list[fences.Planned], tmp_path: Path) -> None:
    """The harness itself: an access right behind an array ends the program."""
    if not _has_sanitizers(tmp_path):
        pytest.skip("the C compiler has no address and undefined-behaviour sanitizers")
    script = [fences._numbers(2), fences._numbers(400, 1), bytes(400), fences._numbers(400, 0), fences._numbers(1),
              fences._numbers(0, 100 + past, 2, 0), fences._numbers(0, 0, 400, 0), fences._numbers(1, 0, 400, 1),
              fences._numbers(1, 1, 400)]
    one = replace(planned[0], kernels=[_off_by_one(past)], script=script, outputs=[((100,), float32)])
    assert fences.compile_program([one], tmp_path, fences.SANITIZE).returncode == 0
    done = fences.run_program([one], tmp_path)
    if past:
        assert done.returncode != 0 and "heap-buffer-overflow" in done.stderr
    else:
        assert done.returncode == 0 and fences.results([one], tmp_path)[one.case][0].tolist() == [1.0] * 100
