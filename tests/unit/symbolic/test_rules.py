"""Every row of ``RULES``: its example gives the stated text and keeps the value, and the code names it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from minigrad import symbolic
from minigrad.symbolic import both, eq, evaluate, maximum, minimum, text, var, variables
from minigrad.symbolic.rules import EXAMPLE_RANGES, RULES, Rule

SYMBOLS = {name: var(name, *bounds) for name, bounds in EXAMPLE_RANGES.items()}
ON_SYMS = {**SYMBOLS, "both": both, "eq": eq, "minimum": minimum, "maximum": maximum}
ON_INTS = {"both": lambda *p: all(p), "eq": lambda a, b: a == b, "minimum": min, "maximum": max}


@pytest.mark.parametrize("rule", RULES, ids=[r.name for r in RULES])
def test_example(rule: Rule) -> None:
    code = compile(rule.before, rule.name, "eval")
    e = eval(code, dict(ON_SYMS))
    assert text(e) == rule.after
    names = [name for name in EXAMPLE_RANGES if name in code.co_names]
    assert {v.args[0] for v in variables(e)} <= set(names)
    for values in itertools.product(*[range(EXAMPLE_RANGES[n][0], EXAMPLE_RANGES[n][1] + 1) for n in names]):
        assignment = dict(zip(names, values, strict=True))
        assert evaluate(e, assignment) == eval(code, ON_INTS | assignment), assignment


def test_the_code_names_each_rule() -> None:
    folder = Path(symbolic.__file__).parent
    code = (folder / "arithmetic.py").read_text() + (folder / "condition.py").read_text()
    assert {r.name for r in RULES} <= set(re.findall(r"\[([a-z-]+)\]", code))
    assert set(re.findall(r"\[([a-z]+-[a-z-]+)\]", code)) <= {r.name for r in RULES}
    assert len({r.name for r in RULES}) == len(RULES)
