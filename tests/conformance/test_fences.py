"""Stage: tests of devices. In: a sample of the conformance suite. Out: the C that DEBUG=4 prints compiles without a warning, touches
nothing outside its arrays, has no undefined behaviour, and gives the CPU device's results to the bit.
Next: ``test_conformance.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from minigrad.conformance import cases
from minigrad.dtype import float32
from minigrad.engine import realise, to_numpy
from minigrad.kernel.ir import Apply, Array, Const, For, Kernel, Load, Store
from minigrad.render.c import render_c
from minigrad.runtime.cc import compiler
from minigrad.runtime.device import get_device
from minigrad.symbolic import num, var
from tests.conformance import fences

NO_COMPILER = compiler() is None
pytestmark = pytest.mark.skipif(NO_COMPILER, reason="no C compiler: cc, gcc and clang are not on the PATH")


@pytest.fixture(scope="module")
def planned(request: pytest.FixtureRequest) -> list[fences.Planned]:
    target, found, count = get_device("CPU").target, [], 0
    for case in cases(1, request.config.getoption("--seed")):
        made = fences.plan_case(case, target, count) if case.raises is None else None
        if made is not None:
            found.append(made)
            count += len(made.kernels)
    return found


def _has_sanitizers(folder: Path) -> bool:
    (folder / "empty.c").write_text("int main(void) { return 0; }\n")
    return fences.gcc([*fences.SANITIZE, str(folder / "empty.c"), "-o", str(folder / "empty")]).returncode == 0


def test_sources_compile_without_a_warning(planned: list[fences.Planned], tmp_path: Path) -> None:
    source = tmp_path / "kernels.c"
    source.write_text(render_c([k for p in planned for k in p.kernels]))
    done = fences.gcc([*fences.WARN, "-c", str(source), "-o", str(tmp_path / "kernels.o")])
    assert done.returncode == 0, done.stderr[:4000]


def test_nothing_outside_an_array_is_touched(planned: list[fences.Planned], tmp_path: Path,
                                             sampled: Callable[[str], None]) -> None:
    if not _has_sanitizers(tmp_path):
        pytest.skip("the C compiler has no address and undefined-behaviour sanitizers")
    done = fences.compile_program(planned, tmp_path, fences.SANITIZE)
    assert done.returncode == 0, done.stderr[:4000]
    done = fences.run_program(planned, tmp_path)
    assert done.returncode == 0, done.stderr[:6000]
    sampled(f"sanitizers: {sum(len(p.kernels) for p in planned)} kernels of {len(planned)} cases, each array fenced")
    _same_as_cpu(planned, tmp_path)


def _same_as_cpu(planned: list[fences.Planned], folder: Path) -> None:
    wrong = []
    for case, arrays in fences.results(planned, folder).items():
        outputs = list(case.build("CPU").outputs)
        realise(outputs)
        for i, (output, array) in enumerate(zip(outputs, arrays, strict=True)):
            if not fences.same_bits(to_numpy(output), array, output.dtype):
                wrong.append(f"{case} output {i}")
    assert not wrong, wrong


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
