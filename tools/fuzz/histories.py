"""Stage: tests. In: a program that fails, and what differs. Out: whether it is a gradient that leads nowhere: one of
the two libraries has it, the other does not, and no number depends on that.
Next: ``known.py``."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tools.fuzz.failure import CHANGED, Failure
from tools.fuzz.program import copied, difference, numbers, run


def leads_nowhere(failure: Failure) -> bool:
    """One of the two says that a value requires a gradient, and all else agrees: the reference, of a view that is on no
    tape, or of an integer or bool; or either, and all gradients that lead on from there are 0."""
    if not failure.mismatch.how.startswith("requires_grad"):
        return False
    name, _, gradient = failure.mismatch.place.partition(".")
    program, library, reference = failure.program, failure.library, failure.reference
    made = [i for i, line in enumerate(program.lines * program.rounds) if (
        changed := CHANGED.match(line)) and changed[1] == name and not gradient and not program.jit]
    steps = made[-1] + 1 if made else None  # later statements may change what backward reads
    runs = run(program, library, steps=steps)[0], run(program, reference, changes=failure.changes, steps=steps)[0]
    found = [variables.get(name) for variables in runs]
    ours: Any
    theirs: Any
    ours, theirs = [getattr(value, "grad", None) for value in found] if gradient else found
    with suppress(RuntimeError):  # some must not be asked
        differs, _ = difference(copied(ours, reference), copied(theirs, reference))
        if not isinstance(theirs, reference.Tensor) or differs:
            return False
        exact = not theirs.is_floating_point() and not theirs.is_complex()
        if not ours.requires_grad and (exact or _is_untracked(theirs)):
            return True
        return _ends_in_zeros(ours, library) if ours.requires_grad else _ends_in_zeros(theirs, reference)
    return False


def is_asked_for_nothing(failure: Failure) -> bool:
    """We refuse a backward, since what it begins with requires no gradient here; in the reference it does, and all
    gradients that lead on from there are 0, or it has no elements."""
    ours, theirs = failure.mismatch.raised or ("", "")
    if theirs or "does not require grad" not in ours:
        return False
    with suppress(RuntimeError):  # some must not be asked
        begun = [t for t in failure.tensors() if t.grad_fn is not None or (t.requires_grad and not t.numel())]
        return bool(begun) and all([_ends_in_zeros(t, failure.reference) for t in begun])
    return False


def _ends_in_zeros(t: Any, library: Any) -> bool:
    """Whether all gradients of a Tensor, by the leaves that it was computed from, are 0 or refused, or it has no
    elements."""
    leaves, stack, seen = [], [t.grad_fn], set()
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            leaves += [node.variable] if hasattr(node, "variable") else []
            stack += [below for below, _ in node.next_functions]
    try:
        found = library.autograd.grad(t, leaves, library.ones_like(t), allow_unused=True) if leaves else ()
    except RuntimeError as error:
        return "is not implemented" in str(error)
    return not t.numel() or (t.grad_fn is not None and not any([g is not None and numbers(g).any() for g in found]))


def _is_untracked(view: Any) -> bool:
    """Whether a view is on no tape: it was made under no_grad, which is what its history says, too, once its base was
    written."""
    try:
        return bool(view._is_view()) and view.grad_fn is None
    except RuntimeError as error:
        return "created in no_grad mode" in str(error)
