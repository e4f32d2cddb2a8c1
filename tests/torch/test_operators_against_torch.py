"""Stage: tests. In: a sample of the operators of PyTorch's database. Out: they give what PyTorch
gives, but for what ``docs/operators.md`` says.
Next: ``test_optim_against_torch.py``."""

import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # the database's own tests need it

from tools.operators.__main__ import operators, title  # noqa: E402
from tools.operators.checks import CHECKS, check  # noqa: E402
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
