"""Stage: tests of devices. In: a seeded sample of the conformance suite. Out: the CPU device computes it by generic
kernels as the reference does, and elementwise ops to the bit as compiled kernels do. Next: ``test_sanitizers.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

import minigrad
from minigrad.conformance import Case, cases, check
from minigrad.conformance.report import Report
from minigrad.dtype import bfloat16, float16
from minigrad.engine import inspect, plans, realise, to_numpy
from tools.sanitize.record import same_bits


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    plans.clear()
    yield
    plans.clear()


@pytest.mark.parametrize("count", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_tier_0_agrees_with_the_reference(count: int, seed: int, sampled: Callable[[str], None]) -> None:
    chosen, report = [c for c in cases(count, seed) if c.name != "loops"], Report()  # a LOOP is always compiled
    with minigrad.config(TIERS=2, REPLAY=0), inspect() as seen:  # replayed is what other tests compiled
        report.add(check(chosen, "CPU"))
    sampled(f"conformance CPU, tier 0: {len(chosen)} of {len(cases())} cases, {count} of each op, seed {seed}")
    assert report.ok, report.failures()
    assert seen.tier0 == seen.plan_hits + seen.plan_misses + seen.replayed > 20, "some graphs were compiled after all"


EXACT = ("elementwise", "movement", "gather", "assign", "scan", "random", "source")


@pytest.mark.parametrize("count", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", EXACT)
def test_both_tiers_give_the_same_bits(family: str, count: int, seed: int) -> None:
    chosen = [c for c in cases(count, seed) if c.family == family and c.raises is None]
    assert chosen
    wrong = [str(c) for c in chosen if not _same(_values(c, 2), _values(c, 0))]
    assert not wrong


def _values(case: Case, tiers: int) -> list[tuple[np.ndarray, object]]:
    with minigrad.config(TIERS=tiers):
        outputs = list(case.build("CPU").outputs)
        dtypes = [o.dtype for o in outputs]
        realise(outputs)
        return [(to_numpy(o).copy(), d) for o, d in zip(outputs, dtypes, strict=True)]


def _same(a: list[tuple[np.ndarray, object]], b: list[tuple[np.ndarray, object]]) -> bool:
    """Halves are rounded after every op in tier 0, in a compiled kernel where they are stored; single ops are alike."""
    return all(same_bits(x, y, d) for (x, d), (y, _) in zip(a, b, strict=True))  # type: ignore[arg-type]


def test_halves_are_rounded_after_every_op() -> None:
    for dtype in (float16, bfloat16):
        x = minigrad.tensor([1.0, 3.0, 7.0], dtype=dtype)
        with minigrad.config(TIERS=2):
            got = ((x / 3 + 1) * 3).tolist()
        third = [(x / 3).realize(), 1, 3]
        assert got == ((third[0] + third[1]).realize() * third[2]).tolist()
