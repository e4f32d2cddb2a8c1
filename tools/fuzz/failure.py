"""Stage: tests. In: a program that fails, and what differs. Out: whether the reference's own result depends, wherever
ours differs, on what is open (numbers that are moved a little, the way in which derivatives are computed), or is ours
if it is made from what stood here.
Next: ``changes.py``."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tools.fuzz.loops import MADE, NAME, names_of_round
from tools.fuzz.program import (
    Change,
    Mismatch,
    Program,
    compare_all,
    copied,
    difference,
    mismatches,
    numbers,
    run,
    scope_of,
    step,
)


@dataclass(frozen=True)
class Failure:
    """A program, what differs, and the two libraries. ``changes``: how the reference's run was changed already.
    ``runs``: what its runs gave, by their changes; all mismatches of a program have them in common."""

    program: Program
    mismatch: Mismatch
    reference: Any
    library: Any
    changes: tuple[Change, ...] = ()
    runs: dict[tuple[Change, ...], tuple[dict[str, Any], list[str]]] = field(default_factory=dict)

    def theirs(self, *more: Change) -> tuple[dict[str, Any], list[str]]:
        """What the reference's run gives that is changed in these ways, too."""
        changes = (*self.changes, *more)
        if changes not in self.runs:
            self.runs[changes] = run(self.program, self.reference, changes=changes)
        return self.runs[changes]

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


def depends(failure: Failure, changes: tuple[Change, ...], others: tuple[Change, ...] = ()) -> bool:
    """Whether the reference's own result differs wherever ours does, if one of its runs is changed, and ours lies
    among what its runs give. ``others`` are tried if by the first ``changes`` it does not differ everywhere."""
    wrong, ours = failure.mismatch.wrong, failure.mismatch.ours
    covered: Any = np.zeros(() if wrong is None else wrong.shape, dtype=bool)
    found = []
    for number, change in enumerate((*changes, *others)):
        if number == len(changes) and wrong is not None and covered[wrong].all():
            break
        moved = _moved(failure, change)
        if moved is None:
            continue
        if wrong is None or ours is None or moved.wrong is None or moved.ours is None:
            return True
        covered |= moved.wrong
        found.append(moved.ours)
    if wrong is None or ours is None:
        return False
    if not covered[wrong].all():
        return _began_small(failure, changes, others)
    usual = failure.theirs()[0]
    name, _, gradient = failure.mismatch.place.partition(".")
    found.append(numbers(usual[name].grad if gradient else usual[name]))
    parts = (np.real, np.imag) if ours.dtype.kind == "c" else (np.asarray,)
    return all([_lies_among(part(ours)[wrong], np.stack([part(f)[wrong] for f in found])) for part in parts]) or (
        _began_small(failure, changes, others))


def began(failure: Failure) -> list[Failure]:
    """All that differs after the first round in which something does; nothing if that is the last one."""
    for rounds in range(1, failure.program.rounds):
        shorter = replace(failure.program, rounds=rounds)
        differing = compare_all(shorter, failure.reference, failure.library, failure.changes)
        if differing:
            runs: dict[tuple[Change, ...], tuple[dict[str, Any], list[str]]] = {}
            return [replace(failure, program=shorter, mismatch=m, runs=runs) for m in differing]
    return []


def _began_small(failure: Failure, changes: tuple[Change, ...], others: tuple[Change, ...]) -> bool:
    """Whether all that began to differ depends on the same: where each round magnifies what the round before has left,
    the runs have no digit in common in the end."""
    first = began(failure)
    return bool(first) and all([f.mismatch.wrong is not None and depends(f, changes, others) for f in first])


WIDTHS = 8.0
"""So many times as far as the reference's runs are apart, ours may be from them: they are moved by 4 units in the last
place, and our roundings in a long program by some more."""


def _lies_among(ours: np.ndarray[Any, Any], found: np.ndarray[Any, Any]) -> bool:
    """Whether each number is one that runs could have given, of which ``found`` has a row each: it is not far from
    theirs, or on the side where one of them is infinite; it may be any where one of them is NaN, as 0 times infinity
    is."""
    ours, found = ours.astype(np.float64), found.astype(np.float64)
    nan, infinite = np.isnan(found).any(0), np.isinf(found)
    with np.errstate(all="ignore"):
        low = np.where(np.isfinite(found), found, np.inf).min(0)
        high = np.where(np.isfinite(found), found, -np.inf).max(0)
        room = WIDTHS * (high - low) + 1e-3 * np.maximum(np.abs(low), np.abs(high))
        above = (infinite & (found > 0)).any(0) | (ours <= high + room)
        below = (infinite & (found < 0)).any(0) | (ours >= low - room)
    return bool(np.where(np.isfinite(ours), nan | (above & below), nan | infinite.any(0)).all())


def _moved(failure: Failure, change: Change) -> Mismatch | None:
    """How the reference's own result differs if its run is changed."""
    differing = mismatches(failure.program, failure.theirs(change), failure.theirs(), failure.reference)
    return next((m for m in differing if m.place == failure.mismatch.place), None)


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
        moved = _moved(failure, change)
        open_to |= moved is not None and (True if moved.wrong is None else moved.wrong)
    if not covered[wrong].all():
        covered |= open_to & _agreement(failure, DIFFERENCES)
    return bool(covered[wrong].all())


def _agreement(failure: Failure, change: Change) -> Any:
    """In which elements ours is what a changed run of the reference gives, or whether it is. A run that raises where
    the usual one does not says nothing, unless ours raises there, too."""
    program, mismatch, changes = failure.program, failure.mismatch, (*failure.changes, change)
    at = mismatch.at if mismatch.raised is not None else -1
    usual, words = failure.theirs()[1], failure.theirs(change)[1]
    mine = run(program, failure.library)[1] if mismatch.raised is not None else usual
    if any([b and not a and not c for a, b, c in zip(usual, words, mine, strict=False)]):
        return False
    if mismatch.raised is not None and mismatch.raised[0].partition(":")[0] != words[at].partition(":")[0]:
        return False
    found = compare_all(program, failure.reference, failure.library, changes)
    other = next((m for m in found if m.place == mismatch.place), None)
    if other is None or mismatch.wrong is None:
        return other is None
    return ~other.wrong if other.wrong is not None and other.wrong.shape == mismatch.wrong.shape else False


def _written_through(lines: list[str], variables: dict[str, Any], place: str) -> str:
    """The last variable on the same memory that one of the statements writes in place; else the place itself."""
    found = [changed[1] for line in lines if (changed := CHANGED.match(line)) and not MADE.match(line)]
    return next((name for name in reversed(found) if shared(variables.get(name), variables.get(place))), place)


def shared(a: Any, b: Any) -> bool:
    """Whether two Tensors are on the same memory."""
    return all([hasattr(t, "untyped_storage") for t in (a, b)]) and bool(
        a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr())


CHANGED = re.compile(r"(?:(?:with|if) .*?: )?(v\d+)(?: = |\.\w+_\(|(?:\.detach\(\)\.numpy\(\))?\[.*\] [-+*]?= )")
GUARD = re.compile(r"if (.*?): ")


def is_of_our_operands(failure: Failure, asked: str = "") -> bool:
    """The statement that made the value gives what it gives here, if the reference runs it on what we had before: that
    is what the reference had, but for roundings, or differs itself, and so must be of a kind. A statement in place
    has the value before it among its operands: what made that is looked at in the same way. ``asked``: the variable on
    the same memory that is judged by this one, and so says nothing for it."""
    place, reference = failure.mismatch.place, failure.reference
    program = replace(failure.program, jit=False, beside=None)
    lines = program.lines * program.rounds if failure.mismatch.raised is None else []
    made = [i for i, line in enumerate(lines) if (found := CHANGED.match(line)) and found[1] == place]
    written = _written_through(lines[made[-1] + 1:], run(program, reference)[0], place) if made else place
    if written != place:
        return is_of_our_operands(replace(failure, mismatch=replace(failure.mismatch, place=written)), place)
    differing = {other.place for other in compare_all(failure.program, reference, failure.library, failure.changes)}
    end: dict[str, Any] = {}
    until: int | None = None
    while made:
        at, line = made[-1], lines[made.pop()]
        names = names_of_round(reference, at // len(program.lines), program.rounds)
        if (guard := GUARD.match(line)) is not None and not eval(guard[1], names):  # the program is our own text
            continue
        read = NAME.findall(line[assigned.end():] if (assigned := MADE.match(line)) else line)
        given = _given(failure, program, place, read, (at, until))
        if given is None:
            return False
        (ours, later), (theirs, _) = given
        end = later if until is None else end
        changed = [found[1] for line in lines[at:] if (found := CHANGED.match(line))]
        judged = [name for name in read if name in differing and name not in (asked, *changed)
                  and not difference(ours.get(name), end.get(name))[0]]
        left = {name for name in read if name not in judged and difference(ours.get(name), theirs.get(name))[0]}
        if left != {place} or assigned is not None:
            return not left
        until = at
    return False


def _given(failure: Failure, program: Program, place: str, read: list[str], steps: tuple[int, int | None],
           ) -> list[tuple[dict[str, Any], dict[str, Any]]] | None:
    """Of both libraries the variables before a statement and those before a later one, or in the end; None if the
    reference does not give what was there on what was there before, for ours in one of its ways to compute derivatives,
    or gives the same for both."""
    reference, (at, until) = failure.reference, steps
    line = (program.lines * program.rounds)[at]
    names = names_of_round(reference, at // len(program.lines), program.rounds)
    given, made_of = [], []
    for library, changes in ((failure.library, ()), (reference, failure.changes)):
        before, *later = [run(program, library, changes=changes, steps=n)[0] for n in (at, at + 1, until)]
        ways = [change.line(line) for change in WAYS if change.line is not None] if library is not reference else []
        for text in dict.fromkeys([line, *ways]):
            with suppress(RuntimeError):  # some may not be read
                operands = {name: copied(before[name], reference) for name in read if name in before}
                failed = step(text, scope_of(reference) | names, operands)
                value, *seen = [copied(variables.get(place), reference) for variables in (operands, *later)]
                if not failed and not any(difference(other, value)[0] for other in seen):
                    given.append((before, later[-1]))  # else it depends on more than numbers, or was changed later
                    made_of.append(value)
                    break
    return given if len(given) == 2 and difference(*made_of)[0] else None
