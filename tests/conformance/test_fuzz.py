"""Stage: tests. In: random programs. Out: they give what the NUMPY device gives; ``python -m tools.fuzz`` runs more of
them, and compares with PyTorch.
Next: ``test_threads.py``."""

import pytest

import minigrad
from tools.fuzz.__main__ import OnNumpy
from tools.fuzz.program import difference, disagreement, shrink, write


@pytest.mark.parametrize("part", range(4))
def test_random_programs_agree_with_the_reference(part: int, seed: int) -> None:
    reference = OnNumpy()
    for number in range(10):
        lines = write(seed * 1000 + part * 10 + number, 12, reference)
        problem = disagreement(lines, reference, minigrad)
        if problem:
            shorter = shrink(lines, lambda candidate: bool(disagreement(candidate, reference, minigrad)))
            pytest.fail("\n".join([problem, *shorter]))


def test_a_difference_is_found_and_shortened() -> None:
    class Wrong:
        Tensor = minigrad.Tensor

        def __getattr__(self, name: str) -> object:
            if name == "maximum":
                return minigrad.minimum
            return getattr(minigrad, name)

    lines = ["a = L.tensor([1.0, 2.0])", "b = a * 2", "c = b + 1", "d = L.maximum(a, b)", "e = c - d"]
    assert disagreement(lines, minigrad, minigrad) == ""
    assert disagreement(lines, minigrad, Wrong()) == "d: 1.0 at (0,), not 2.0"
    found = shrink(lines, lambda candidate: bool(disagreement(candidate, minigrad, Wrong())))
    assert found == ["a = L.tensor([1.0, 2.0])", "b = a * 2", "d = L.maximum(a, b)"]


def test_what_counts_as_a_difference() -> None:
    one = minigrad.ones(2)
    assert difference(one, one) == ""
    assert difference(one.double(), one) == "dtype float64, not float32"
    assert difference(one[:1], one) == "shape (1,), not (2,)"
    assert difference(one * float("nan"), one * float("nan")) == ""
    assert difference(one * float("nan"), one) == "nan at (0,), not 1.0"
    assert difference(one * float("inf"), one * float("-inf")).startswith("inf at (0,)")
