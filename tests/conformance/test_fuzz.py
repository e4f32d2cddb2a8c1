"""Stage: tests. In: random programs. Out: they give what the NUMPY device gives; ``python -m tools.fuzz`` runs more of
them, and compares with PyTorch.
Next: ``test_threads.py``."""

import threading
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import minigrad
from minigrad.tensor import again
from minigrad.tensor.point import Point
from tools.fuzz.__main__ import OnNumpy, device_names, search
from tools.fuzz.known import KNOWN, kind_of
from tools.fuzz.program import Program, difference, disagreement, run, write
from tools.fuzz.shortening import shrink


@pytest.mark.parametrize("start, count", [(start, 10) for start in range(0, 40, 10)] + [
    pytest.param(start, 200, marks=pytest.mark.slow) for start in range(40, 840, 200)])  # these take a minute
def test_random_programs_agree_with_the_reference(start: int, count: int, seed: int) -> None:
    reference = OnNumpy()
    for number in range(start, start + count):
        program = write(seed * 1000 + number, 12, reference)
        if kind_of(program, reference, minigrad) == "":
            shorter = shrink(program, lambda candidate: kind_of(candidate, reference, minigrad) == "")
            pytest.fail(f"{disagreement(shorter, reference, minigrad)}\n{shorter}")


@pytest.mark.parametrize("count", [3, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("device", ["CC", "OPENCL", "CUDA_EMULATION"])
def test_random_programs_agree_on_other_devices(device: str, count: int, seed: int) -> None:
    try:
        devices = device_names(device)
    except ArgumentTypeError as refused:
        pytest.skip(str(refused))
    seeds = range(seed * 1000 + 900, seed * 1000 + 900 + count)
    failures = [text for _, _, text in search(seeds, 12, OnNumpy(), minigrad, (), devices) if text]
    assert not failures, failures[0]


class Wrongly:
    """minigrad, but for one function."""

    Tensor = minigrad.Tensor

    def __init__(self, **functions: Callable[..., object]) -> None:
        self.functions = functions

    def __getattr__(self, name: str) -> object:
        return self.functions.get(name) or getattr(minigrad, name)


def test_a_difference_is_found_and_shortened() -> None:
    wrong = Wrongly(maximum=minigrad.minimum)
    program = Program(["a = L.tensor([1.0, 2.0])", "b = a * 2", "c = b + 1", "d = L.maximum(a, b)", "e = c - d"], [],
                      {"TIERS": 2}, 2)
    assert disagreement(program, minigrad, minigrad) == ""
    assert disagreement(program, minigrad, wrong) == "d: 1.0 at (0,), not 2.0"
    found = shrink(program, lambda candidate: bool(disagreement(candidate, minigrad, wrong)))
    assert (found.settings, found.times) == ({}, 1)
    wrong.functions["maximum"] = lambda a, b: minigrad.maximum(a, b) + (a.device.type == "numpy")
    program.settings["DEVICE"] = "NUMPY"
    there = shrink(program, lambda candidate: bool(disagreement(candidate, minigrad, wrong)))
    assert there.settings == {"DEVICE": "NUMPY"} and there.lines == found.lines
    assert found.lines == ["a = L.tensor([1.0, 2.0])", "b = a * 2", "d = L.maximum(a, b)"]


def test_some_programs_have_large_tensors() -> None:
    reference = OnNumpy()
    large = [seed for seed in range(40) if "many(" in str(write(seed, 12, reference))]
    assert 0 < len(large) < 10
    assert not any("many(" in str(write(seed, 12, reference, ["large"])) for seed in large)


LOOP = ["if first: v1 = L.tensor([1.0, 2.0], requires_grad=True)", "v2 = fresh([0.5, 1.0, 2.0])", "v3 = v2[:2] * v1",
        "if odd: v3 = v3 * number(2)", "v3.sum().backward()", "with L.no_grad(): v1.sub_(v1.grad, alpha=0.25)",
        "v1.grad = None", "if last: v4 = v1 + 1", "look(v3)"]


def test_rounds_of_a_loop_go_on_with_other_numbers() -> None:
    v1 = np.array([1.0, 2.0])
    for i in range(4):
        data = np.roll([0.5, 1.0, 2.0], -i) + i * 7 % 5 / 4
        v1 -= 0.25 * (data * (2 + i if i % 3 == 1 else 1))[:2]
    variables, raised = run(Program(LOOP, rounds=4), minigrad)
    assert variables["v1"].tolist() == v1.tolist() and variables["v4"].tolist() == (v1 + 1).tolist()
    assert raised == [""] * 4 * len(LOOP)
    variables, raised = run(Program(LOOP, rounds=4), minigrad, steps=len(LOOP) + 2)
    assert len(raised) == len(LOOP) + 2 and "v4" not in variables
    assert run(Program(["v1 = v0", "if first: v0 = fresh(1)"], rounds=2), minigrad)[1][0].startswith("NameError")


def test_a_mistake_of_what_is_replayed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(LOOP, rounds=8)
    assert disagreement(program, minigrad, minigrad) == ""
    monkeypatch.setattr(again, "written_again", lambda *place: None)
    monkeypatch.setattr(Point, "run", lambda self, trace: [])  # it computes nothing
    assert disagreement(program, minigrad, minigrad) != ""


JITTED = ["if first: v1 = L.tensor([1.0, 2.0], requires_grad=True)", "v2 = fresh([0.5, 1.0, 2.0])", "v3 = v2[:2] * v1",
          "v4 = v3.detach() + number(2)", "v3.sum().backward()", "with L.no_grad(): v1.sub_(v1.grad, alpha=0.25)",
          "v1.grad = None", "look(v4)"]


def test_a_round_is_a_function_under_jit() -> None:
    program = Program(JITTED, rounds=9, jit=True)
    assert run(program, minigrad)[0]["one_round"].variants
    assert disagreement(program, OnNumpy(), minigrad) == ""
    wrong = Wrongly(jit=lambda function: lambda *args: [result + 1 for result in function(*args)])
    assert disagreement(program, OnNumpy(), wrong) == "v2: 3.25 at (0,), not 2.25"
    refused = Wrongly(jit=lambda function: None)
    assert disagreement(program, OnNumpy(), refused).startswith("one_round(): TypeError")


def test_a_program_beside_another_is_compared_too() -> None:
    def maximum(a: minigrad.Tensor, b: minigrad.Tensor) -> minigrad.Tensor:
        aside = threading.current_thread() is not threading.main_thread()
        return minigrad.minimum(a, b) if aside else minigrad.maximum(a, b)

    other = Program(["a = L.tensor([1.0, 2.0])", "d = L.maximum(a, a * 2)"])
    program = Program(["a = L.tensor([1.0, 2.0])"], beside=other)
    assert disagreement(program, minigrad, minigrad) == ""
    assert disagreement(program, minigrad, Wrongly(maximum=maximum)) == "beside: d: 1.0 at (0,), not 2.0"
    never = Wrongly(maximum=minigrad.minimum)  # the other program fails alone: that is another failure
    assert disagreement(program, minigrad, never) == ""


def test_what_counts_as_a_difference() -> None:
    one = minigrad.ones(2)
    assert difference(one, one) == ("", None)
    assert difference(one.double(), one)[0] == "dtype float64, not float32"
    assert difference(one[:1], one)[0] == "shape (1,), not (2,)"
    assert difference(one * float("nan"), one * float("nan")) == ("", None)
    assert difference(one * float("nan"), one)[0] == "nan at (0,), not 1.0"
    how, wrong = difference(minigrad.tensor([1.0, float("inf")]), one * float("-inf"))
    assert how.startswith("1.0 at (0,)") and wrong is not None and wrong.tolist() == [True, True]
    how, wrong = difference(minigrad.tensor([1.0, 2.0]), one)
    assert wrong is not None and wrong.tolist() == [False, True]


def test_the_page_has_the_known_kinds() -> None:
    """At most ten, with the same reasons."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "fuzzing.md").read_text()
    table = text.split("## Differences that are meant")[1].split("|---|---|\n")[1].split("\n\n")[0]
    rows = [line.split(" | ")[0].strip("| ") for line in table.splitlines()]
    assert rows == [kind.name for kind in KNOWN] and len(rows) <= 10
