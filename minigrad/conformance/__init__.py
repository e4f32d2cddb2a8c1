"""Stage: conformance, beside the top of the house. In: a device's name. Out: what of minigrad works on it: every op,
dtype, shape and view against the reference. ``python -m minigrad.conformance CPU`` prints it.
Next: ``case.py``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, groupby
from zlib import crc32

from minigrad.conformance.case import Case, Program
from minigrad.conformance.check import Result, check
from minigrad.conformance.complex_numbers import complex_numbers
from minigrad.conformance.compositions import compositions
from minigrad.conformance.contractions import contractions
from minigrad.conformance.elementwise import elementwise
from minigrad.conformance.gradients import gradients
from minigrad.conformance.memory import memory, sources
from minigrad.conformance.movements import movements
from minigrad.conformance.programs import programs
from minigrad.conformance.random_graphs import random_graphs
from minigrad.conformance.reductions import reductions, scans
from minigrad.conformance.training import training

__all__ = ["VERSION", "Case", "Program", "Result", "cases", "check"]

VERSION = 2
"""Of the suite. Cases that are added later say since which version they are there (``Case.since``), so that a backend
can be held to the suite that it was written for, whatever minigrad it runs with."""


def cases(sample: int | None = None, seed: int = 0, suite: int = VERSION) -> list[Case]:
    """Every case of a version of the suite, or ``sample`` of each op (all dtypes of an op taken together), chosen by
    ``seed``.

    >>> len(cases()) > 5000
    True
    >>> [str(c) for c in cases(1)] == [str(c) for c in cases(1)]
    True
    """
    every = [case for case in _all(seed) if case.since <= suite]
    if sample is None:
        return every
    chosen: list[Case] = []
    for _, group in groupby(sorted(every, key=_group), key=_group):
        # by a hash of name and seed: one case more or less in the suite does not change which others are taken
        chosen += sorted(group, key=lambda c: crc32(f"{seed}/{c}".encode()))[:sample]
    return chosen


def _all(seed: int) -> Iterator[Case]:
    return chain(sources(), elementwise(), complex_numbers(), reductions(), scans(), movements(), memory(),
                 contractions(), programs(), compositions(), random_graphs(seed), gradients(), training())


def _group(case: Case) -> str:
    """What is sampled together: the family and the op, which opens the name."""
    return f"{case.family}/{case.name.split('-')[0]}"
