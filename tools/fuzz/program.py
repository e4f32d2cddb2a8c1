"""Stage: tests. In: a seed, a reference, a library under test. Out: a program, and on what the two disagree.
Next: ``__main__.py``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from tools.fuzz.statements import FEATURES, Writer

TOLERANCE = {"float64": (1e-6, 1e-9), "float32": (2e-3, 1e-4), "float16": (3e-2, 2e-2), "bfloat16": (0.2, 0.1)}
"""Relative to the value, and to the largest of the Tensor. Long programs magnify roundings; what is wrong is off by
more."""


def run(lines: list[str], library: Any, *, realise: bool = True) -> tuple[dict[str, Any], list[str]]:
    """The variables after the program, and for each line the type of what it raised, or nothing."""
    variables: dict[str, Any] = {}
    raised = []
    scope = {"L": library, "look": (lambda t: t.tolist()) if realise else lambda t: None}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for line in lines:
            raised.append(step(line, scope, variables))
    return variables, raised


def step(line: str, scope: dict[str, Any], variables: dict[str, Any]) -> str:
    """Run one statement; the name of the exception's type if it raises."""
    try:
        exec(line, scope, variables)  # the program is our own text
    except Exception as error:
        return type(error).__name__
    variables.pop("row", None)
    return ""


def write(seed: int, length: int, library: Any) -> list[str]:
    """A program of ``length`` statements. It is run on the library as it grows: the next one is about what is there."""
    rng = Random(seed)
    features = {f for f in FEATURES if rng.random() < 0.6} - set(getattr(library, "without", ()))
    variables: dict[str, Any] = {}
    writer = Writer(rng, features, variables, library.Tensor)
    scope = {"L": library, "look": lambda t: None}
    lines: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while len(lines) < length:
            line = writer.statement() if writer.tensors() else "v0 = L.ones(2, 3, dtype=L.float64)"
            error = step(line, scope, variables)
            if not error or rng.random() < 0.1:  # a few of the calls that are refused
                lines.append(line)
    return lines


def disagreement(lines: list[str], reference: Any, library: Any) -> str:
    """The first thing that differs between the two after the program; empty if nothing does."""
    expected, theirs = run(lines, reference)
    found, ours = run(lines, library)
    for line, a, b in zip(lines, ours, theirs, strict=True):
        if bool(a) != bool(b):
            return f"{line}: {a or 'no error'}, not {b or 'no error'}"
    for name, value in expected.items():
        problem = difference(found.get(name), value)
        if problem:
            return f"{name}: {problem}"
        if isinstance(value, reference.Tensor) and value.is_leaf and value.requires_grad:
            problem = difference(found[name].grad, value.grad)
            if problem:
                return f"{name}.grad: {problem}"
    return ""


def difference(ours: Any, theirs: Any) -> str:
    """In one sentence how two results differ."""
    if theirs is None or ours is None:
        return "" if theirs is ours else f"{'None' if ours is None else 'a Tensor'}, unlike the reference"
    kind, other = (str(t.dtype).rpartition(".")[2] for t in (ours, theirs))
    if kind != other:
        return f"dtype {kind}, not {other}"
    if tuple(ours.shape) != tuple(theirs.shape):
        return f"shape {tuple(ours.shape)}, not {tuple(theirs.shape)}"
    if ours.requires_grad != theirs.requires_grad:
        return f"requires_grad {ours.requires_grad}"
    a, b = (_numbers(t) for t in (ours, theirs))
    if kind not in TOLERANCE:
        wrong = a != b
    else:
        rtol, atol = TOLERANCE[kind]
        finite = np.isfinite(b)
        scale = np.abs(b[finite]).max(initial=0.0)
        with np.errstate(all="ignore"):
            near = np.abs(a - b) <= rtol * np.abs(b) + atol * max(scale, 1)
        wrong = ~np.where(finite, near & np.isfinite(a), (a == b) | (np.isnan(a) & np.isnan(b)))
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{a[at]} at {at}, not {b[at]}"


def _numbers(t: Any) -> np.ndarray[Any, Any]:
    """As float64, or as they are if they are integers."""
    t = t.detach()
    kind = str(t.dtype).rpartition(".")[2]
    return np.array((t.double() if kind in TOLERANCE else t).numpy())


def shrink(lines: list[str], still: Callable[[list[str]], bool]) -> list[str]:
    """The program without all statements that are not needed for ``still`` to hold."""
    size = max(len(lines) // 2, 1)
    while True:
        at, smaller = 0, False
        while at < len(lines):
            shorter = lines[:at] + lines[at + size:]
            if shorter and still(shorter):
                lines, smaller = shorter, True
            else:
                at += size
        if size == 1 and not smaller:
            return lines
        size = max(size // 2, 1)
