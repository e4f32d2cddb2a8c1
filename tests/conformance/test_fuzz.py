"""Stage: tests. In: random programs. Out: they give what the NUMPY device gives; ``python -m tools.fuzz`` runs more of
them, and compares with PyTorch.
Next: ``test_threads.py``."""

from pathlib import Path

import pytest

import minigrad
from tools.fuzz.__main__ import OnNumpy
from tools.fuzz.known import KNOWN, ROUNDED_AWAY, known
from tools.fuzz.program import Program, difference, disagreement, is_rounded, shrink, write


@pytest.mark.parametrize("start, count", [(start, 10) for start in range(0, 40, 10)] + [
    pytest.param(start, 200, marks=pytest.mark.slow) for start in range(40, 840, 200)])  # these take a minute
def test_random_programs_agree_with_the_reference(start: int, count: int, seed: int) -> None:
    reference = OnNumpy()
    for number in range(start, start + count):
        program = write(seed * 1000 + number, 12, reference)
        problem = disagreement(program, reference, minigrad)
        if problem and not is_rounded(program, reference, problem):
            shorter = shrink(program, lambda candidate: bool(disagreement(candidate, reference, minigrad)))
            if not known(shorter.lines, problem):
                pytest.fail(f"{problem}\n{shorter}")


def test_a_difference_is_found_and_shortened() -> None:
    class Wrong:
        Tensor = minigrad.Tensor

        def __getattr__(self, name: str) -> object:
            if name == "maximum":
                return minigrad.minimum
            return getattr(minigrad, name)

    program = Program(["a = L.tensor([1.0, 2.0])", "b = a * 2", "c = b + 1", "d = L.maximum(a, b)", "e = c - d"], [],
                      {"TIERS": 2}, 2)
    assert disagreement(program, minigrad, minigrad) == ""
    assert disagreement(program, minigrad, Wrong()) == "d: 1.0 at (0,), not 2.0"
    found = shrink(program, lambda candidate: bool(disagreement(candidate, minigrad, Wrong())))
    assert (found.settings, found.times) == ({}, 1)
    assert found.lines == ["a = L.tensor([1.0, 2.0])", "b = a * 2", "d = L.maximum(a, b)"]


def test_what_counts_as_a_difference() -> None:
    one = minigrad.ones(2)
    assert difference(one, one) == ""
    assert difference(one.double(), one) == "dtype float64, not float32"
    assert difference(one[:1], one) == "shape (1,), not (2,)"
    assert difference(one * float("nan"), one * float("nan")) == ""
    assert difference(one * float("nan"), one) == "nan at (0,), not 1.0"
    assert difference(one * float("inf"), one * float("-inf")).startswith("inf at (0,)")


def test_a_step_after_a_rounding_is_told_from_a_wrong_value() -> None:
    rounded = Program(["v1 = L.tensor([0.5])", "v2 = L.tan(L.atan(v1 * 2))", "v3 = L.floor(v2)",
                       "v4 = L.floor(v1 + 0.25)"])
    assert is_rounded(rounded, minigrad, "v3: 0.0 at (0,), not 1.0")
    assert not is_rounded(rounded, minigrad, "v4: 1.0 at (0,), not 0.0")


def test_a_known_kind_is_found_by_its_statement_and_its_problem() -> None:
    assert known(["v1 = v2.conj()"], "v1: 1.0 at (0,), not 2.0") == "conjugates are copies"
    assert not known(["v1 = v2.conj()"], "v1 = v2.conj(): TypeError: words, not no error")
    assert not known(["v1 = v2.abs()"], "v1: 1.0 at (0,), not 2.0")


def test_the_page_has_the_known_kinds() -> None:
    """At most ten, and one for roundings."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "fuzzing.md").read_text()
    rows = [line.split(" | ")[0].strip("| ") for line in text.split("|---|---|\n")[1].splitlines()]
    assert rows == [*[kind.name for kind in KNOWN], ROUNDED_AWAY] and len(rows) <= 10
