"""Stage: tests. In: a sample of the operators of PyTorch's database. Out: they give what PyTorch
gives, but for what ``docs/operators.md`` says.
Next: ``test_optim_against_torch.py``."""

import itertools
import random
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # the database's own tests need it

import minigrad  # noqa: E402
from minigrad.dtype import show_as  # noqa: E402
from tools.operators import writing  # noqa: E402
from tools.operators.__main__ import operators, title  # noqa: E402
from tools.operators.checks import CHECKS, Outcome, check  # noqa: E402
from tools.operators.compare import difference  # noqa: E402
from tools.operators.derivatives import batched, forward  # noqa: E402
from tools.operators.finite import Skipped, finite  # noqa: E402
from tools.operators.narrow import narrow  # noqa: E402
from tools.operators.report import failing, not_run, skipped, untried  # noqa: E402
from tools.operators.tape import tape  # noqa: E402

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operators.md"
DTYPES = (torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64, torch.bfloat16)


@pytest.fixture(autouse=True)
def _shown_as_in_pytorch():
    """Layouts are compared by their names."""
    show_as("torch")
    yield
    show_as("minigrad")


def test_operators_give_what_pytorchs_give(request, sampled):
    known, left = failing(PAGE.read_text()), not_run(PAGE.read_text())
    every = [op for op in operators([]) if title(op) not in left]
    seed, count = request.config.getoption("--seed"), 40 if request.config.getoption("--every-case") else 12
    sampled(f"operators of PyTorch's database: {count} of {len(every)}, seed {seed}")
    chosen = random.Random(seed).sample(every, count)
    for op in chosen:
        outcomes = check(op, DTYPES, 2, CHECKS)
        new = {name: outcome.first for name, outcome in outcomes.items() if outcome.failed} if (
            (title(op), "values") not in known) else {}
        assert not [first for name, first in new.items() if name != "words" and (title(op), name) not in known], (
            title(op), new)


@pytest.mark.parametrize("name", ["atan2", "amax", "cumprod", "gather", "logsumexp", "nn.functional.layer_norm"])
def test_forward_mode_and_rows(name):
    """``python -m tools.operators --checks forward,batched,gradcheck,gradgradcheck`` runs all."""
    (op,) = operators([name])
    with minigrad.config(TIERS=2):
        outcomes = check(op, (torch.float64,), 2, ("forward", "batched", "gradcheck", "gradgradcheck"))
    assert not any(outcome.failed for outcome in outcomes.values()), {n: o.first for n, o in outcomes.items()}
    assert all(outcome.passed for outcome in outcomes.values())


@pytest.mark.parametrize("name", ["take", "lerp", "amax", "sgn", "nn.functional.nll_loss"])
def test_tapes_allow_the_same(name):
    """``python -m tools.operators --checks values,tape --dtypes float32`` runs all."""
    (op,) = operators([name])
    outcome = check(op, (torch.float32,), 2, ("tape",))["tape"]
    assert outcome.passed and not outcome.failed, outcome.first


@pytest.mark.parametrize("name", ["sigmoid", "nn.functional.gelu", "nn.functional.softplus", "logsumexp"])
def test_derivatives_of_narrow_types_are_those_of_wide_ones(name):
    """``python -m tools.operators --checks values,narrow --dtypes float32,bfloat16`` runs all."""
    for op in operators([name]):
        outcome = check(op, (torch.float32, torch.bfloat16), 2, ("narrow",))["narrow"]
        assert outcome.passed and not outcome.failed, outcome.first


@pytest.mark.parametrize(("power", "problem"), [(2.0, ""), (3.0, "order 2, gradient 0: off by 0.5 ")])
def test_a_second_derivative_that_is_lost_in_float32_is_found(power, problem):
    """The slope of x³ is there, and half of the way from it to x is not, in one of our types."""
    def derivatives(library, wide):
        x = library.tensor([1.0, 2.0], dtype=library.float64 if wide else library.float32, requires_grad=True)
        first = x * 2 if power == 2.0 else 3 * x * (x if wide or library is torch else x.detach())
        return [[first], list(library.autograd.grad(first.sum(), [x]))]

    assert (narrow(derivatives, torch.float32) or "").startswith(problem)
    assert problem or narrow(derivatives, torch.float32) == ""


def test_tapes_that_differ_are_found():
    def call(of_ours, library):
        x = library.tensor([1.0, 2.0], requires_grad=True)
        result = of_ours(x) if library is minigrad else x.exp()
        return [x], result, result

    assert tape(partial(call, lambda x: x.exp())) == ""
    assert tape(partial(call, lambda x: x + 1)).startswith("a second backward: allowed, not a second time; gradients")
    found = tape(partial(call, lambda x: x.sin()))
    assert "a change of operand 0: modified by an inplace operation, not allowed" in found
    assert tape(partial(call, lambda x: x.detach())) != ""


def _of_exp(here):
    """The two calls of a check of ``exp``, here by another function."""
    x = torch.tensor([1.0, 2.0])
    return (torch.exp, [x], {}), (here, [minigrad.tensor([1.0, 2.0])], {})


def _resized_only_if_empty(x, *, out):
    return out if out.numel() and out.shape != x.shape else minigrad.exp(x, out=out)


def _of_any_dtype(x, *, out):
    return out.resize_(2).copy_(x.exp()) if out.dtype is minigrad.int64 else minigrad.exp(x, out=out)


@pytest.mark.parametrize(("wrong", "problem"), [
    (minigrad.exp, ""),
    (_resized_only_if_empty, "out of another shape: shape (2, 2), not (2,)"),
    (_of_any_dtype, "out of another dtype: no error, not RuntimeError: result type Float can't be cast"),
    (lambda x, *, out: minigrad.exp(x), "out zeros: it does not return out"),
    (lambda x, *, out: out.copy_(x), "out zeros: 2 of 2 values, first (0,): 1.0, not 2.718"),
])
def test_wrong_forms_with_out_are_found(wrong, problem):
    found = writing.out(*_of_exp(wrong), torch.tensor([1.0, 2.0]).exp(), difference, True)
    assert found.startswith(problem) and bool(found) == bool(problem)


def test_what_pytorch_does_not_write_is_skipped_where_minigrad_writes_its_result():
    """PyTorch leaves ``out`` alone in ``ihfftn`` along one dimension."""
    def find(here):
        x = torch.arange(6.0, dtype=torch.float64).reshape(2, 3)
        there, call = (lambda x, *, out: out, [x], {}), (here, [minigrad.tensor(x.numpy())], {})
        return writing.out(there, call, x.exp(), difference, False)

    assert isinstance(find(minigrad.exp), Skipped)
    assert find(minigrad.sin).startswith("out zeros: 5 of 6 values")
    for op in operators(["fft.ihfftn"]):
        outcome = check(op, (torch.float32, torch.float64), 3, ("out",))["out"]
        assert outcome.skipped and outcome.passed and not outcome.failed, outcome


@pytest.mark.parametrize("name", ["linalg.eigh", "linalg.svd", "special.bessel_j0", "sparse.sampled_addmm"])
def test_outputs_are_compared_in_what_is_determined(name):
    """Signs of factors are free, PyTorch's Bessel functions are off by 1e-6, a sparse tensor has its own memory."""
    (op,) = operators([name])
    outcome = check(op, (torch.float64,), 8, ("out",))["out"]
    assert outcome.passed and not outcome.failed and not outcome.skipped, outcome


def _rebound(x):
    x.data = x.exp()
    return x


@pytest.mark.parametrize(("wrong", "problem"), [
    (minigrad.Tensor.exp_, ""),
    (minigrad.exp, "it does not return its first argument"),
    (_rebound, "another Tensor of the same memory: 2 of 2 values"),
    (lambda x: x, "2 of 2 values"),
])
def test_wrong_forms_in_place_are_found(wrong, problem):
    (_, given, options), here = _of_exp(wrong)
    found = writing.in_place((torch.Tensor.exp_, given, options), here, difference)
    assert found.startswith(problem) and bool(found) == bool(problem)


def test_an_error_that_is_not_raised_is_found():
    there = torch.Tensor.exp_, [torch.tensor([1])], {}
    assert writing.in_place(there, (lambda x: x, [minigrad.tensor([1])], {}), difference).startswith("no error, not Ru")


def test_what_is_skipped_is_counted():
    (op,) = operators(["index_fill"])
    outcomes = check(op, (torch.float32,), 4, CHECKS)
    assert skipped({"sort": {"values": Outcome(1, 0, [], {"why": 2})}, "add": {"values": Outcome(1)}}) == [
        ("values", "why", 2, 1)]
    assert untried({"index_fill": outcomes, "add": {"values": Outcome()}}) == ["add"]


def test_finite_differences_say_nothing_at_a_kink():
    """There PyTorch's own check fails too; what fails here alone is a failure."""
    (op,) = operators(["abs"])

    def build(numbers, of_ours):
        def made(library):
            function = of_ours if library is minigrad else torch.relu
            return function, [library.tensor(numbers, dtype=library.float64, requires_grad=True)]
        return made

    assert finite(op, build([1.0, -2.0], minigrad.relu), "gradcheck") == ""
    assert isinstance(finite(op, build([0.0, -2.0], minigrad.relu), "gradcheck"), Skipped)
    wrong = finite(op, build([1.0, -2.0], lambda x: x.detach() * x), "gradcheck")
    assert wrong.startswith("GradcheckError: Jacobian mismatch")
    assert finite(op, build([1.0, -2.0], lambda x: x.detach()), "gradcheck") is None


def test_wrong_derivatives_and_rows_are_found():
    x, calls = minigrad.tensor([1.0, 2.0], dtype=minigrad.float64), itertools.count(1)
    assert forward(lambda x: [x.exp()], [x]) == ""
    assert forward(lambda x: [x.exp() * next(calls)], [x]).startswith("1 of 1 values")
    assert forward(lambda x: [x.detach()], [x]) is None
    assert batched(lambda x: [x.flip(0)], [x]) == ""
    assert batched(lambda x: [x * next(calls)], [x]).startswith("in_dims 0, output 0: ")


def test_how_far_ours_may_be_where_pytorch_strays():
    """As far as PyTorch is from what operands of a wider type give, if roundings can lead there."""
    right = torch.tensor([1.0, 2.0, 1000.0], dtype=torch.float64)

    def found(stray: float, ours: float) -> str:
        expected = right.float() + torch.tensor([stray, 0.0, 0.0])
        given = minigrad.tensor(right.tolist()) + minigrad.tensor([0.0, ours, 0.0])
        return difference(given, expected, exact=lambda: right)

    assert found(1.5e-3, 1.2e-3) == "" and found(1.5e-3, 0.0) == ""
    assert found(1.5e-3, 1.8e-3) != ""
    assert found(5.0, 0.0) == "" and found(5.0, 4.0) != "" and found(5.0, 0.01) != ""
