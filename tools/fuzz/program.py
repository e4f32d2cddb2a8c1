"""Stage: tests. In: a seed, a reference, a library under test. Out: a program, and on what the two disagree.
Next: ``known.py``."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

import minigrad
from tools.fuzz.statements import FEATURES, ROUNDED, Writer

TOLERANCE = {"float64": (1e-6, 1e-9), "float32": (2e-3, 1e-4), "float16": (3e-2, 2e-2), "bfloat16": (0.2, 0.1),
             "complex128": (1e-6, 1e-9), "complex64": (2e-3, 1e-4)}
"""Relative to the value, and to the largest of the Tensor. Long programs magnify roundings; what is wrong is off by
more."""


EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7, "complex128": 2.0**-52,
           "complex64": 2.0**-23}
RESULT = re.compile(r"(?:with .*: )?(v\d+)(?: = |\.\w+_\()")


@dataclass(frozen=True)
class Program:
    """Statements; of each the kind; the settings they run with, and how often they run: after the first time, calls
    are replayed."""

    lines: list[str]
    kinds: list[str] = field(default_factory=list)
    settings: dict[str, int] = field(default_factory=dict)
    times: int = 1

    def __str__(self) -> str:
        settings = " ".join(f"{name}={value}" for name, value in self.settings.items())
        return "\n".join([f"# {settings}, run {self.times} times", *self.lines])


def run(lines: list[str], library: Any, *, realise: bool = True, after: Callable[[Any], None] | None = None,
        ) -> tuple[dict[str, Any], list[str]]:
    """The variables after the program, and for each line what it raised, or nothing. ``after`` is called with
    each result that two libraries may round in two ways."""
    variables: dict[str, Any] = {}
    raised = []
    scope = {"L": library, "look": (lambda t: t.tolist()) if realise else lambda t: None}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for line in lines:
            raised.append(step(line, scope, variables))
            changed = RESULT.match(line)
            if after is not None and changed and not raised[-1] and ROUNDED.search(line):
                after(variables[changed[1]])
    return variables, raised


def is_rounded(program: Program, reference: Any, problem: str) -> bool:
    """Whether the reference's own result changes so that the two cannot be compared if what its functions return is
    moved by a few units in the last place, or if what is nearly 0 becomes 0: a step, like ``floor``, came after."""
    right = run(program.lines, reference)
    changes: tuple[Callable[[Any, float], Any], ...] = (
        lambda t, unit: t.mul_(1 + 4 * unit), lambda t, unit: t.mul_(1 - 4 * unit),
        lambda t, unit: t.mul_(t.abs() > 4096 * unit))
    for change in changes:
        def move(value: Any, change: Callable[[Any, float], Any] = change) -> None:
            unit = EPSILON.get(str(getattr(value, "dtype", None)).rpartition(".")[2])
            if unit is not None:
                try:
                    change(value.data, unit)  # behind the tape's back
                except RuntimeError:  # its elements share memory
                    return

        other = _compared(program.lines, run(program.lines, reference, after=move), right, reference)
        if other and other.partition(":")[0] == problem.partition(":")[0]:
            return True
    return False


def step(line: str, scope: dict[str, Any], variables: dict[str, Any]) -> str:
    """Run one statement; the exception's type and words if it raises."""
    try:
        exec(line, scope, variables)  # the program is our own text
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0][:200]
    variables.pop("row", None)
    return ""


def write(seed: int, length: int, library: Any) -> Program:
    """A program of ``length`` statements. It is run on the library as it grows: the next one is about what is there."""
    rng = Random(seed)
    features = {f for f in FEATURES if rng.random() < 0.6} - set(getattr(library, "without", ()))
    settings = {"THREADS": rng.choice((1, 2, 3)), "TIERS": rng.choice((0, 1, 1, 1, 2, 2))}
    variables: dict[str, Any] = {}
    writer = Writer(rng, features, variables, library.Tensor)
    scope = {"L": library, "look": lambda t: None}
    lines: list[str] = []
    kinds: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while len(lines) < length:
            line = writer.statement() if writer.tensors() else "v0 = L.ones(2, 3, dtype=L.float64)"
            error = step(line, scope, variables)
            if not error or rng.random() < 0.1:  # a few of the calls that are refused
                lines.append(line)
                kinds.append(writer.kind + (" (refused)" if error else ""))
    return Program(lines, kinds, settings, rng.choice((1, 1, 2, 3)))


def disagreement(program: Program, reference: Any, library: Any) -> str:
    """The first thing that differs between the two after the program; empty if nothing does."""
    expected, theirs = run(program.lines, reference)
    with minigrad.config.config(**program.settings) if program.settings else nullcontext():
        for _ in range(program.times):
            found, ours = run(program.lines, library)
            problem = _compared(program.lines, (found, ours), (expected, theirs), reference)
            if problem:
                return problem
    return ""


def _compared(lines: list[str], result: tuple[dict[str, Any], list[str]], right: tuple[dict[str, Any], list[str]],
              reference: Any) -> str:
    (found, ours), (expected, theirs) = result, right
    for line, a, b in zip(lines, ours, theirs, strict=True):
        if bool(a) != bool(b):
            return f"{line}: {a or 'no error'}, not {b or 'no error'}"
    for name, value in expected.items():
        problem = difference(found.get(name), value)
        if problem:
            return f"{name}: {problem}"
        if isinstance(value, reference.Tensor) and has_gradient(value):
            problem = difference(found[name].grad, value.grad)
            if problem:
                return f"{name}.grad: {problem}"
    return ""


def has_gradient(value: Any) -> bool:
    """Whether a Tensor may have a gradient; not one that must not be asked, since its base was changed in place."""
    try:
        return bool((value.requires_grad and value.is_leaf) or value.retains_grad)
    except RuntimeError:
        return False


def difference(ours: Any, theirs: Any) -> str:
    """In one sentence how two results differ."""
    if theirs is None or ours is None:
        return "" if theirs is ours else f"{'None' if ours is None else 'a Tensor'}, unlike the reference"
    kind, other = (str(t.dtype).rpartition(".")[2] for t in (ours, theirs))
    if kind != other:
        return f"dtype {kind}, not {other}"
    if tuple(ours.shape) != tuple(theirs.shape):
        return f"shape {tuple(ours.shape)}, not {tuple(theirs.shape)}"
    try:
        if ours.requires_grad != theirs.requires_grad:
            return f"requires_grad {ours.requires_grad} of {kind}"
    except RuntimeError:  # as in ``has_gradient``
        return ""
    try:
        a, b = (_numbers(t) for t in (ours, theirs))
    except Exception as error:
        return f"{type(error).__name__} when it is read: {error}"
    if kind not in TOLERANCE:
        wrong = a != b
    else:
        wrong = ~_near(a, b, *TOLERANCE[kind])
    if not wrong.any():
        return ""
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{a[at]} at {at}, not {b[at]}"


def _near(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], rtol: float, atol: float) -> np.ndarray[Any, Any]:
    """Of complex numbers that are infinite or NaN, which part is so depends on how a product is written."""
    finite = np.isfinite(b)
    scale = np.abs(b[finite]).max(initial=0.0)
    with np.errstate(all="ignore"):
        near = np.abs(a - b) <= rtol * np.abs(b) + atol * max(scale, 1)
        other = ~np.isfinite(a) if a.dtype.kind == "c" else (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(finite, near & np.isfinite(a), other)


def _numbers(t: Any) -> np.ndarray[Any, Any]:
    """As float64 or complex128, or as they are if they are integers."""
    t = t.detach().resolve_conj()
    kind = str(t.dtype).rpartition(".")[2]
    if kind.startswith("complex"):
        return np.array(t.numpy()).astype(np.complex128)
    return np.array((t.double() if kind in TOLERANCE else t).numpy())


def shrink(program: Program, still: Callable[[Program], bool]) -> Program:
    """The program without all statements that are not needed for ``still`` to hold, run once and with plain settings
    if that is enough."""
    for settings, times in (({}, 1), (program.settings, 1), ({}, program.times)):
        simpler = Program(program.lines, [], settings, times)
        if still(simpler):
            program = simpler
            break
    lines = program.lines
    size = max(len(lines) // 2, 1)
    while True:
        at, smaller = 0, False
        while at < len(lines):
            shorter = lines[:at] + lines[at + size:]
            if shorter and still(Program(shorter, [], program.settings, program.times)):
                lines, smaller = shorter, True
            else:
                at += size
        if size == 1 and not smaller:
            return Program(lines, [], program.settings, program.times)
        size = max(size // 2, 1)
