"""Stage: tests of ``tools.fuzz.known``: for each kind of difference one that is of it, and some that only look so.
Here minigrad is its own reference; ``tests/torch/test_known_against_torch.py`` has the kinds that need another.
Next: ``test_fuzz_campaign.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad
from tools.fuzz.failure import Failure, _lies_among
from tools.fuzz.known import KNOWN, kind_of
from tools.fuzz.program import Mismatch, Program, compare


class Other:
    """minigrad, with other functions in place of some."""

    Tensor = minigrad.Tensor

    def __init__(self, **functions: Any) -> None:
        self.functions = functions

    def __getattr__(self, name: str) -> Any:
        return self.functions.get(name) or getattr(minigrad, name)


def refused(ours: str, theirs: str, *lines: str) -> str:
    """The kind, if the last of these statements raises this, and that in the reference."""
    mismatch = Mismatch(lines[-1], "", (ours, theirs), at=len(lines) - 1)
    failure = Failure(Program(list(lines)), mismatch, minigrad, minigrad)
    return next((kind.name for kind in KNOWN if kind.holds(failure)), "")


HALF = "NotImplementedError: complex32 is a name only: there are no tensors of it; use complex64"
REPEATED = "RuntimeError: unsupported operation: more than one element of the written-to tensor refers to a single"
SHARED = ("RuntimeError: unsupported operation: some elements of the input tensor and the written-to tensor refer to a "
          "single memory location. Please clone() the tensor before performing the operation.")
PRODUCT = "NotImplementedError: scatter_reduce: complex numbers that come to one place are not multiplied"
REFUSED = "NotImplementedError: \"softmax_lastdim_kernel_impl\" not implemented for 'Long'"
ASSERTED = "RuntimeError: Expected a to be true, but got false. (If so, please report an enhancement request.)"
SHORT = "RuntimeError: Number of elements of source < number of ones in mask"


@pytest.mark.parametrize("kind, ours, theirs, lines", [
    ("complex numbers that are not there", HALF, "", ("v1 = L.ones(2, dtype=L.float16)", "v2 = v1 * 1j")),
    ("", HALF, "", ("v1 = L.ones(2, dtype=L.bfloat16)", "v2 = v1 * 1j")),
    ("", "RuntimeError: ComplexHalf", "", ("v1 = L.ones(2, dtype=L.float16)", "v2 = v1 * 1j")),
    ("memory that overlaps", REPEATED, "", ("v1 = L.ones(5).unfold(0, 2, 1)", "v1.add_(1)")),
    ("", REPEATED, "", ("v1 = L.ones(4).unfold(0, 2, 2)", "v1.add_(1)")),
    ("memory that overlaps", SHARED, "", ("v1 = L.ones(2, 0)", "v1[L.tensor([0, 1])] = v1")),
    ("", SHARED, "", ("v1 = L.ones(2, 1)", "v1[L.tensor([0, 1])] = v1")),
    ("", "", REPEATED, ("v1 = L.ones(5).unfold(0, 2, 1)", "v1.add_(1)")),
    ("refusals that nobody means", REFUSED, "", ("v1 = L.zeros(2, 0, dtype=L.int64)", "v2 = v1.softmax(1)")),
    ("", REFUSED, "", ("v1 = L.zeros(2, 0, dtype=L.int64)", "v2 = v1.sum(1)")),
    ("", REFUSED.replace("Long", "Double"), "", ("v1 = L.zeros(2, 0, dtype=L.int64)", "v2 = v1.softmax(1)")),
    ("refusals that nobody means", "", ASSERTED, ("v1 = L.ones(2)", "v2 = v1 + 1")),
    ("refusals that nobody means", "", "RuntimeError: MKL FFT error: Intel oneMKL DFTI ERROR: Inconsistent",
     ("v1 = L.zeros(0, 2)", "v2 = L.fft.fft(v1)")),
    ("errors that depend on values", "", "RuntimeError: ZeroDivisionError",
     ("v1 = L.tensor([1, 2])", "v2 = v1 - v1.detach()", "v3 = v1 // v2")),
    ("errors that depend on values", "", SHORT, ("v1 = L.ones(3)", "v2 = v1.masked_scatter(v1 + 1 > 0, v1[:1] * 2)")),
    ("", "", "RuntimeError: ZeroDivisionError", ("v1 = L.tensor([1, 2])", "v2 = v1 - v1.detach()", "v3 = v2 // v1")),
    ("", "", SHORT, ("v1 = L.ones(3)", "v2 = v1.masked_scatter(v1 + 1 > 5, v1[:1] * 2)")),
    ("complex numbers that are not there", PRODUCT, "",
     ("v1 = L.ones(2, dtype=L.complex64)", "v2 = v1.scatter_reduce(0, L.tensor([0]), v1, 'prod')")),
    ("", PRODUCT, "", ("v1 = L.ones(2)", "v2 = v1.scatter_reduce(0, L.tensor([0]), v1, 'prod')")),
])
def test_refusals(kind: str, ours: str, theirs: str, lines: tuple[str, ...]) -> None:
    assert refused(ours, theirs, *lines) == kind


def test_a_complex32_that_shows_when_it_is_read() -> None:
    how = f"{HALF.replace(': ', ' when it is read: ', 1)}"
    kinds = []
    for line in ("v1 = L.ones(2, dtype=L.float16)", "v1 = L.ones(2)"):
        failure = Failure(Program([line, "v2 = v1 * 1j"]), Mismatch("v2", how), minigrad, minigrad)
        kinds.append(next((kind.name for kind in KNOWN if kind.holds(failure)), ""))
    assert kinds == ["complex numbers that are not there", ""]


def test_a_step_after_a_rounding_is_told_from_a_wrong_value() -> None:
    lines = ["v1 = L.tensor([0.5, 0.75])", "v2 = v1 * 2", "v3 = L.floor(v2)"]
    assert kind_of(Program(lines), Other(floor=lambda x: minigrad.floor(x - 1e-7)),
                   minigrad) == "a step after a rounding"
    assert kind_of(Program(lines), Other(floor=lambda x: minigrad.floor(x - 0.75)), minigrad) == ""  # at 0.75 also
    assert kind_of(Program([*lines, "v4 = L.ceil(v1)"]), Other(ceil=minigrad.floor), minigrad) == ""


def test_a_step_after_a_rounding_gives_no_number_far_from_all_others() -> None:
    lines = ["v1 = L.tensor([0.5, 0.75])", "v2 = L.floor(v1 * 2)"]

    def kind(at_a_step: float) -> str | None:
        def floor(x: minigrad.Tensor) -> minigrad.Tensor:
            return minigrad.where(x == 1, minigrad.tensor(at_a_step), minigrad.floor(x))

        return kind_of(Program(lines), minigrad, Other(floor=floor))

    lines[1:] = ["v3 = v1 * 2", "v2 = L.floor(v3)"]
    assert kind(1.0) is None and kind(0.0) == "a step after a rounding"
    assert kind(-40.0) == kind(40.0) == kind(float("inf")) == kind(float("nan")) == ""


def test_what_cancels_but_for_roundings_is_told_from_a_wrong_number() -> None:
    lines = ["v1 = L.tensor([0.5, -0.5])", "v2 = v1 * 3", "v3 = v2.sum()", "v4 = L.sgn(v3)"]
    for value, kind in ((1.0, "a step after a rounding"), (-1.0, "a step after a rounding"), (30.0, "")):
        other = Other(sgn=lambda x, value=value: minigrad.full_like(x, value))
        assert kind_of(Program(lines), minigrad, other) == kind


def test_a_part_that_is_written_is_moved_too() -> None:
    lines = ["v1 = L.tensor([float('inf'), 1.0])", "v1[...] -= v1", "v2 = L.signbit(v1)"]
    other = Other(signbit=lambda x: x.isnan() ^ minigrad.signbit(x))
    assert kind_of(Program(lines), minigrad, other) == "what PyTorch's kernels disagree about"
    lines[1] = "v1[...] -= 1"
    assert kind_of(Program(lines), minigrad, Other(signbit=lambda x: ~minigrad.signbit(x))) == ""


def test_numbers_that_runs_could_have_given() -> None:
    inf, nan = float("inf"), float("nan")
    runs = [[0.0, 1.0, nan], [2.0, inf, 3.0]]
    for ours, among in (([18.0, 5e20, 7.0], True), ([19.0, 1.0, 1.0], False), ([-17.0, 1.0, 1.0], False),
                        ([1.0, 0.0, 1.0], False), ([1.0, -5.0, 1.0], False), ([nan, 1.0, 1.0], False),
                        ([1.0, nan, inf], True), ([1.0, 5.0, nan], True)):
        assert _lies_among(np.array(ours), np.array(runs)) == among, ours
    assert not _lies_among(np.array([-9.0]), np.array([[0.0], [inf], [1.0]]))


def test_a_gradient_that_is_rounded_is_told_from_a_wrong_one() -> None:
    lines = ["v1 = L.tensor([0.5]).requires_grad_()", "v2 = v1.grad", "(v1 * 2).sum().backward()",
             "v3 = L.floor(v1.grad)"]
    less = Other(floor=lambda x: minigrad.floor(x - 1e-7))
    assert kind_of(Program(lines), less, minigrad) == "a step after a rounding"
    lines[2] = "(v1 * 2.5).sum().backward()"
    assert kind_of(Program(lines), Other(floor=lambda x: minigrad.floor(x - 1)), minigrad) == ""


def test_the_sign_of_what_is_0_but_for_a_rounding_is_told_from_a_wrong_one() -> None:
    lines = ["v1 = L.tensor([0.5])", "v2 = L.sinc(v1 * 2)", "v3 = L.signbit(v2)"]
    turned = Other(signbit=lambda x: ~minigrad.signbit(x))
    assert kind_of(Program(lines), turned, minigrad) == "a step after a rounding"
    lines[1] = "v2 = L.sinc(v1)"
    assert kind_of(Program(lines), turned, minigrad) == ""


def test_a_spread_that_is_rounded_is_told_from_a_wrong_quotient() -> None:
    lines = ["v1 = L.tensor([0.5, 0.5])", "v2 = v1.var()", "v3 = L.fmod(v2, v2)"]
    rounded = Other(fmod=lambda a, b: minigrad.fmod(a + 1e-30, b + 1e-30))
    assert kind_of(Program(lines), minigrad, rounded) == "a step after a rounding"
    lines[1] = "v2 = v1.sum() * 0"
    assert kind_of(Program(lines), minigrad, rounded) == ""


def test_an_infinite_complex_number_is_told_from_a_wrong_value() -> None:
    lines = ["v1 = L.tensor([1j, 2.0]) / L.tensor([0j, 1.0])", "v2 = v1.real"]
    program = Program(lines)
    assert compare(program, minigrad, minigrad) is None
    swapped = Other(tensor=lambda data: minigrad.tensor([1.0, 2.0] if data == [1j, 2.0] else data))
    assert kind_of(program, swapped, minigrad) == "what PyTorch's kernels disagree about"
    assert kind_of(Program([lines[0], "v2 = v1.real", "v3 = L.abs(L.ones(2))"]), Other(abs=lambda x: x + 1),
                   minigrad) == ""
    turned = ["v1 = L.tensor([-4.0 + 0j])", "v2 = L.sqrt(v1 * 1)", "v3 = L.sqrt(v1 * 1 + 1j)"]
    assert kind_of(Program(turned[:2]), Other(sqrt=lambda z: minigrad.sqrt(z.conj())),
                   minigrad) == "what PyTorch's kernels disagree about"
    assert kind_of(Program(turned), Other(sqrt=lambda z: minigrad.sqrt(z.conj())), minigrad) == ""
    wrong = Other(tensor=lambda data: minigrad.tensor([1j, 3.0] if data == [1j, 2.0] else data))
    assert kind_of(program, wrong, minigrad) == ""


def test_each_round_may_have_its_own_sign() -> None:
    """Sums of which 0 is left, or something a bit larger, smaller, and larger again: one sign for all explains none."""
    def sin(x: Any) -> Any:
        rounded = 2e-16 if x.max().item() // 2 % 2 else -2e-16
        return minigrad.sin(x) + minigrad.tensor([rounded, 0.0], dtype=minigrad.float64)

    lines = ["if first: v1 = L.tensor([2.0, -2.0], dtype=L.float64).requires_grad_()",
             "v2 = L.sin(v1 * number(1.0))", "v2.sum().abs().backward()"]
    assert kind_of(Program(lines, rounds=3), minigrad, Other(sin=sin)) == "a step after a rounding"
    wrong = Other(sin=lambda x: minigrad.sin(x) + minigrad.tensor([0.5, 0.0], dtype=minigrad.float64))
    assert kind_of(Program(lines, rounds=3), minigrad, wrong) == ""
