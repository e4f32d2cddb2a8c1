"""Stage: tests. In: a sample of the operators of PyTorch's database. Out: they give what PyTorch
gives, but for what ``docs/operators.md`` says.
Next: ``test_optim_against_torch.py``."""

import itertools
import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # the database's own tests need it

import minigrad  # noqa: E402
from tools.operators.__main__ import operators, title  # noqa: E402
from tools.operators.checks import CHECKS, MORE, check  # noqa: E402
from tools.operators.derivatives import batched, forward  # noqa: E402
from tools.operators.report import failing, not_run  # noqa: E402

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operators.md"
DTYPES = (torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64, torch.bfloat16)


def test_operators_give_what_pytorchs_give(request):
    known, left = failing(PAGE.read_text()), not_run(PAGE.read_text())
    every = [op for op in operators([]) if title(op) not in left]
    chosen = random.Random(request.config.getoption("--seed")).sample(every, 40)
    for op in chosen:
        outcomes = check(op, DTYPES, 2, CHECKS)
        new = {name: outcome.first for name, outcome in outcomes.items() if outcome.failed} if (
            (title(op), "values") not in known) else {}
        assert not [first for name, first in new.items() if name != "words" and (title(op), name) not in known], (
            title(op), new)


@pytest.mark.parametrize("name", ["atan2", "amax", "cumprod", "gather", "logsumexp", "nn.functional.layer_norm"])
def test_forward_mode_and_rows(name):
    """``python -m tools.operators --checks values,forward,batched`` runs all."""
    (op,) = operators([name])
    outcomes = check(op, (torch.float64,), 2, MORE)
    assert not any(outcome.failed for outcome in outcomes.values()), {n: o.first for n, o in outcomes.items()}
    assert all(outcome.passed for outcome in outcomes.values())


def test_wrong_derivatives_and_rows_are_found():
    x, calls = minigrad.tensor([1.0, 2.0], dtype=minigrad.float64), itertools.count(1)
    assert forward(lambda x: [x.exp()], [x]) == ""
    assert forward(lambda x: [x.exp() * next(calls)], [x]).startswith("1 of 1 values")
    assert forward(lambda x: [x.detach()], [x]) is None
    assert batched(lambda x: [x.flip(0)], [x]) == ""
    assert batched(lambda x: [x * next(calls)], [x]).startswith("in_dims 0, output 0: ")
