"""Stage: tests. In: a program that fails, and what differs. Out: whether the reference's own result depends, wherever
ours differs, on what is open: on numbers that are moved a little, on the way in which derivatives are computed.
Next: ``known.py``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.fuzz.loops import NAME, names_of_round
from tools.fuzz.program import Change, Mismatch, Program, compare_all, mismatches, run, scope_of


@dataclass(frozen=True)
class Failure:
    """A program, what differs, and the two libraries. ``changes``: how the reference's run was changed already."""

    program: Program
    mismatch: Mismatch
    reference: Any
    library: Any
    changes: tuple[Change, ...] = ()

    def before(self) -> dict[str, Any]:
        """The reference's variables before the statement that differs; of that only what it names."""
        variables, _ = run(self.program, self.reference, changes=self.changes, steps=self.mismatch.at)
        return {name: variables[name] for name in dict.fromkeys(NAME.findall(self.mismatch.place)) if name in variables}

    def scope(self) -> dict[str, Any]:
        """What else it may use."""
        program = self.program
        return scope_of(self.reference) | names_of_round(self.reference, self.mismatch.at // len(program.lines),
                                                         program.rounds)

    def tensors(self) -> list[Any]:
        """Those Tensors."""
        return [value for value in self.before().values() if isinstance(value, self.reference.Tensor)]


def depends(failure: Failure, changes: tuple[Change, ...]) -> bool:
    """Whether the reference's own result differs wherever ours does, if one of its runs is changed."""
    wrong = failure.mismatch.wrong
    covered: Any = np.zeros(() if wrong is None else wrong.shape, dtype=bool)
    for change in changes:
        moved = _moved(failure, change)
        if moved is True:
            return True
        covered |= moved
    return wrong is not None and bool(covered[wrong].all())


def _moved(failure: Failure, change: Change) -> Any:
    """Where the reference's own result differs if its run is changed; True if it is another in more than numbers."""
    program, place, wrong = failure.program, failure.mismatch.place, failure.mismatch.wrong
    right, moved = [run(program, failure.reference, changes=c) for c in (
        failure.changes, (*failure.changes, change))]
    for other in mismatches(program, moved, right, failure.reference):
        if other.place == place:
            return True if wrong is None or other.wrong is None else other.wrong
    return False


FUNC = re.compile(r"\bL\.func\.")
WAYS = (Change(lambda line: FUNC.sub("plainly.", line)), Change(lambda line: FUNC.sub("by_rows.", line)))
DIFFERENCES = Change(lambda line: FUNC.sub("differences.", line))


def is_of_another_way(failure: Failure) -> bool:
    """Wherever ours differs, it is what the reference gives if it computes the derivatives in another way, or if its
    ways differ there, what a quotient of differences gives."""
    if not FUNC.search(str(failure.program)):
        return False
    wrong = failure.mismatch.wrong
    agrees = [_agreement(failure, change) for change in WAYS]
    if wrong is None:
        return True in agrees
    covered, open_to = np.zeros(wrong.shape, dtype=bool), np.zeros(wrong.shape, dtype=bool)
    for agreement, change in zip(agrees, WAYS, strict=True):
        covered |= agreement
        open_to |= _moved(failure, change)
    if not covered[wrong].all():
        covered |= open_to & _agreement(failure, DIFFERENCES)
    return bool(covered[wrong].all())


def _agreement(failure: Failure, change: Change) -> Any:
    """In which elements ours is what a changed run of the reference gives, or whether it is. A run that raises where
    the usual one does not says nothing, unless ours raises there, too."""
    program, mismatch, changes = failure.program, failure.mismatch, (*failure.changes, change)
    at = mismatch.at if mismatch.raised is not None else -1
    usual, words = [run(program, failure.reference, changes=c)[1] for c in (failure.changes, changes)]
    if any(b and not a for i, (a, b) in enumerate(zip(usual, words, strict=True)) if i != at):
        return False
    if mismatch.raised is not None and mismatch.raised[0].partition(":")[0] != words[at].partition(":")[0]:
        return False
    found = compare_all(program, failure.reference, failure.library, changes)
    other = next((m for m in found if m.place == mismatch.place), None)
    if other is None or mismatch.wrong is None:
        return other is None
    return ~other.wrong if other.wrong is not None and other.wrong.shape == mismatch.wrong.shape else False
