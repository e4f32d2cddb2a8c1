"""Stage: tests. In: a seed, a reference, a library under test. Out: a program, and on what the two disagree.
Next: ``shortening.py``."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from random import Random
from threading import Barrier
from types import CodeType
from typing import Any

import numpy as np

import minigrad
from minigrad.runtime.device import get_device
from minigrad.tensor import points
from minigrad.tensor.replay import thread
from tools.fuzz.loops import MADE, SELDOM, in_each_round, inputs, jitted, looped, names_of_round
from tools.fuzz.plainly import Differences, Plainly
from tools.fuzz.slopes import Slopes
from tools.fuzz.statements import FEATURES, Writer
from tools.fuzz.swarm import Swarm
from tools.fuzz.ties import InOrder
from tools.fuzz.values import many

TOLERANCE = {"float64": (1e-6, 1e-9), "float32": (2e-3, 1e-4), "float16": (3e-2, 2e-2), "bfloat16": (0.2, 0.1),
             "complex128": (1e-6, 1e-9), "complex64": (2e-3, 1e-4)}
"""Relative to the value, and to the largest of the Tensor. Long programs magnify roundings; what is wrong is off by
more."""


OTHERS = 1 << 40
"""The seeds of programs that run beside others begin here."""


@dataclass(frozen=True)
class Program:
    """Statements; of each the kind; the settings they run with, and how often they run: after the first time, calls
    are replayed. ``times``: from the start, and what they make is compared each time. ``rounds``: as a loop does, with
    the variables of the round before (see ``loops.py``); what is there in the end is compared. ``together``: the values
    that are compared are computed in one run, not one after the other. ``jit``: a round is a function under ``jit``.
    ``beside``: another program, which runs at the same time in another thread."""

    lines: list[str]
    kinds: list[str] = field(default_factory=list)
    settings: dict[str, int | str] = field(default_factory=dict)
    times: int = 1
    rounds: int = 1
    together: bool = False
    jit: bool = False
    beside: Program | None = None

    def drawn(self) -> list[str]:
        """How it runs, in words."""
        return [*[f"{name}={value}" for name, value in self.settings.items()], f"run {self.times} times",
                *(["in a loop"] if self.rounds > 1 else []),
                *(["under jit"] if self.jit else []), *(["beside another"] if self.beside is not None else []),
                *(["computed together"] if self.together else [])]

    def __str__(self) -> str:
        settings = " ".join(f"{name}={value}" for name, value in self.settings.items())
        rounds = (f", {self.rounds} rounds" if self.rounds > 1 else "") + (" under jit" if self.jit else "")
        beside = [] if self.beside is None else ["# beside", str(self.beside)]
        return "\n".join([f"# {settings}, run {self.times} times{rounds}", *self.lines, *beside])


@dataclass(frozen=True)
class Mismatch:
    """What differs: at a ``place``, a statement or the name of a variable (with ``.grad`` for its gradient), and how.
    ``raised``: if it is a statement, what our run and the reference's raised there, or nothing, and ``at``: how many
    statements ran before. ``wrong``: if values differ, where; ``ours``: what we have."""

    place: str
    how: str
    raised: tuple[str, str] | None = None
    wrong: np.ndarray[Any, Any] | None = None
    at: int = 0
    ours: np.ndarray[Any, Any] | None = None

    def __str__(self) -> str:
        return f"{self.place}: {self.how}"


@dataclass(frozen=True)
class Change:
    """How a run differs from the usual one. ``line`` gives another statement for each; it may call ``detached``,
    ``one_by_one``, ``standardised``, ``shaken``, ``settled``, ``running_logs``, ``in_order``, ``slopes``, ``plainly``,
    ``by_rows`` and ``differences``.
    ``made`` gets what a statement ``v3 = …`` has made, and the other variables, and gives what it is to be. ``after``
    gets a statement that has run, and all variables; ``before`` gets them before, and what else statements
    use, and gives what is called afterwards, with what the statement raised, or nothing."""

    line: Callable[[str], str] | None = None
    made: Callable[[Any, dict[str, Any]], Any] | None = None
    after: Callable[[str, dict[str, Any]], None] | None = None
    before: Callable[[str, dict[str, Any], dict[str, Any]], Callable[[str], None]] | None = None


class OutOfTime(Exception):
    """What runs inside ``within`` raise when its time is up."""


_until = [math.inf]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """A block whose runs raise ``OutOfTime`` after so many seconds."""
    _until.append(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.pop()


def run(program: Program, library: Any, *, changes: tuple[Change, ...] = (), steps: int | None = None,
        ) -> tuple[dict[str, Any], list[str]]:
    """The variables after the program, or its first ``steps``, and for each statement that was to run what it raised,
    or nothing. ``OutOfTime``: see ``within``."""
    variables: dict[str, Any] = {}
    raised = []
    scope = scope_of(library)
    makers = [change.made for change in changes if change.made is not None]
    for i, make in enumerate(makers):
        scope[f"made{i}"] = make
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        lines = jitted(program.lines) if program.jit and callable(getattr(library, "jit", None)) else program.lines
        for i, line in enumerate((lines * program.rounds)[:steps]):
            if time.monotonic() > _until[-1]:
                raise OutOfTime
            scope.update(names_of_round(library, i // len(lines), program.rounds))
            made = MADE.match(line)
            text = line
            for change in changes:
                text = change.line(text) if change.line is not None else text
            if made is not None:  # in the same line, so that it is in the same mode
                text += "".join(f"; {made[1]} = made{n}({made[1]}, {{**locals()}})" for n in range(len(makers)))
            finish = [change.before(line, variables, scope) for change in changes if change.before is not None]
            raised.append(step(text, scope, variables))
            for call in finish:
                call(raised[-1])
            if "backward" in line or ".grad(" in line:
                _write_out(variables)
            for change in changes:
                if change.after is not None and not raised[-1]:
                    change.after(line, variables)
    return variables, raised


def scope_of(library: Any) -> dict[str, Any]:
    """What statements use but for variables and what changes from round to round."""
    return {"L": library, "many": many, "look": lambda t: t.tolist(),
            "detached": lambda x: x.detach() if hasattr(x, "detach") else x,
            "one_by_one": lambda function, x: _one_by_one(library, function, x),
            "standardised": lambda x: _standardised(library, x), "shaken": lambda x, k: _shaken(library, x, k),
            "settled": lambda x, sign: _settled(library, x, sign),
            "running_logs": lambda x, dim: _running_logs(library, x, dim),
            "slopes": Slopes(library), "in_order": InOrder(library), "plainly": Plainly(library, False),
            "by_rows": Plainly(library, True), "differences": Differences(library)}


def _write_out(variables: dict[str, Any]) -> None:
    """PyTorch has a short form of gradients that are 0 which it cannot add to, nor show: they become numbers."""
    for name, value in variables.items():
        if hasattr(value, "_is_zerotensor") and value._is_zerotensor():
            variables[name] = value.clone()
        if hasattr(value, "_is_zerotensor") and has_gradient(value):
            grad = value.grad
            if grad is not None and grad._is_zerotensor():
                value.grad = grad.clone()


def _one_by_one(library: Any, function: Callable[[Any], Any], x: Any) -> Any:
    """What a function gives if it is called with each element alone."""
    whole = function(x)
    if getattr(whole, "shape", None) != x.shape or x.numel() < 2:
        return whole
    return library.stack([function(element) for element in x.reshape(-1)]).reshape(x.shape)


def _shaken(library: Any, x: Any, k: int) -> Any:
    """Of every three elements one a bit smaller, one a bit larger; ``k`` says which, in six ways, and from 6 on by how
    much. Three of the ways turn complex ones a bit."""
    if not (x.is_floating_point() or x.is_complex()):
        return x
    places = ((library.arange(x.numel()) * (1 + k // 3 % 2) + k) % 3 - 1).reshape(x.shape).to(x.dtype)
    return x * (1 + library.finfo(x.dtype).eps * places * (1 + k // 6) * (1j if k // 3 % 2 and x.is_complex() else 1))


def _settled(library: Any, x: Any, sign: int) -> Any:
    """The sum of all elements; of real ones that cancel, with this sign, unless that is None."""
    total = x.sum()
    if sign is None or not total.is_floating_point():
        return total
    unit = library.finfo(library.float64 if total.dtype == library.float64 else library.float32).eps
    cancels = total.detach().abs() <= 16 * unit * x.detach().abs().sum()
    return library.where(cancels, total - total.detach() + sign, total)


def _standardised(library: Any, x: Any) -> Any:
    """``layer_norm`` over the last dimension by its definition."""
    whole = library.nn.functional.layer_norm(x, x.shape[-1:])
    wide = x if x.dtype in (library.float32, library.float64) else x.float()
    centred = wide - wide.mean(-1, keepdim=True)
    return (centred / ((centred * centred).mean(-1, keepdim=True) + 1e-5).sqrt()).to(whole.dtype)


def _running_logs(library: Any, x: Any, dim: int) -> Any:
    """``logcumsumexp``; where complex ones are NaN, those whose exponentials are next to nothing are left out."""
    found = x.logcumsumexp(dim)
    if not x.is_complex():
        return found
    least = math.log(library.finfo(x.dtype).tiny)
    others = library.where(x.real < least, library.full_like(x, -math.inf), x).logcumsumexp(dim)
    return library.where(found.isnan(), others, found)


@lru_cache(4096)
def _code(line: str) -> CodeType:
    """A statement, parsed once: rounds and both libraries run the same ones."""
    return compile(line, "<string>", "exec")


def step(line: str, scope: dict[str, Any], variables: dict[str, Any]) -> str:
    """Run one statement; the exception's type and words if it raises."""
    try:
        exec(_code(line), scope, variables)  # the program is our own text
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition("\n")[0][:200]
    finally:
        variables.pop("row", None)  # of a loop over rows, also of one that was refused
    return ""


def device_of(seed: int, devices: Sequence[str]) -> dict[str, int | str]:
    """The setting of the device that a program runs on, one of these. Without any it is the default."""
    return {"DEVICE": Random(f"device {seed}").choice(devices)} if devices else {}


def write(seed: int, length: int, library: Any, without: Sequence[str] = (), devices: Sequence[str] = ()) -> Program:
    """A program of ``length`` statements, none of a feature ``without`` which it is to be, for one of the devices. It
    is run on the library as it grows: the next one is about what is there."""
    place = device_of(seed, devices)
    if place and not shares_memory(str(place["DEVICE"])):
        without = [*without, "alias"]
    program = _write(seed, length, library, without)
    if Random(f"beside {seed}").random() < 0.05:
        program = replace(program, beside=_write(seed + OTHERS, length, library, without))
    return replace(program, settings=program.settings | place)


def shares_memory(device: str) -> bool:
    """Whether tensors of a device may share memory with NumPy arrays."""
    return device != "NUMPY" and get_device(device).host_memory


def _write(seed: int, length: int, library: Any, without: Sequence[str]) -> Program:
    rng = Swarm(seed)
    together = rng.random() < 0.8
    features = {f for f in FEATURES if rng.random() < 0.6} - set(without) - set(getattr(library, "without", ()))
    settings: dict[str, int | str] = {"THREADS": rng.choice((1, 2, 3)), "TIERS": rng.choice((0, 1, 1, 1, 2, 2)),
                "CACHE": int(rng.random() < 0.1)}  # files take half of the time
    settings["CODEGEN"] = 2 if Random(f"codegen {seed}").random() < 0.2 else 0  # by 2, LLVM takes 40% of the time
    if "large" not in without and Random(f"large {seed}").random() < 0.15:
        features = features - {"func"} | {"large"}  # a Jacobian of them would not fit
    variables: dict[str, Any] = {}
    loop = rng.random() < 0.3
    if loop:
        features -= {feature for feature in SELDOM if rng.random() < 0.8}
    writer = Writer(rng, features, variables, library.Tensor)
    scope = {"L": library, "many": many, "look": lambda t: None}
    begin = inputs(writer) if loop else ["v0 = L.ones(2, 3, dtype=L.float64)"]
    lines: list[str] = []
    kinds: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while len(lines) < length:
            line = begin.pop(0) if begin else writer.statement()
            error = step(line, scope, variables)
            if not error or (rng.random() < 0.1 and "can't allocate memory" not in error):  # a few that are refused
                lines.append(line)
                kinds.append(writer.kind + (" (refused)" if error else ""))
    if loop:
        jit = rng.random() < 0.25
        if jit:  # where a statement raises, its round ends
            lines, kinds = map(list, zip(*[pair for pair in zip(lines, kinds, strict=True) if "(" not in pair[1]]))
        lines, kinds = looped(writer, lines, kinds)
        if jit:
            lines = list(map(in_each_round, lines))
        return Program(lines, kinds, settings, 1, rng.choice((6, 9, 13, 24) if jit else (3, 6, 6, 9, 13, 24)), together,
                       jit)
    return Program(lines, kinds, settings, rng.choice((1, 1, 2, 3)), together=together)


def disagreement(program: Program, reference: Any, library: Any) -> str:
    """The first thing that differs between the two after the program; empty if nothing does."""
    found = compare(program, reference, library)
    return "" if found is None else str(found)


def compare(program: Program, reference: Any, library: Any, changes: tuple[Change, ...] = ()) -> Mismatch | None:
    """The first thing that differs between the two after the program; the reference's run is changed."""
    return next(iter(compare_all(program, reference, library, changes)), None)


def compare_all(program: Program, reference: Any, library: Any, changes: tuple[Change, ...] = ()) -> list[Mismatch]:
    """All that differs after the first run in which something does."""
    expected = run(program, reference, changes=changes)
    enough = points.ENOUGH_RUNS
    if program.rounds > 1:
        thread.forget()  # after programs whose calls never come again, it does not try to follow calls
        points.ENOUGH_RUNS = max(min(program.rounds // 4, enough), 1)
    try:
        return _compared(program, expected, reference, library)
    finally:
        points.ENOUGH_RUNS = enough


def _compared(program: Program, expected: tuple[dict[str, Any], list[str]], reference: Any, library: Any,
              ) -> list[Mismatch]:
    with minigrad.config.config(**program.settings) if program.settings else nullcontext():
        for _ in range(program.times):
            if program.beside is None:
                found = list(mismatches(program, run(program, library), expected, reference))
            else:
                found = beside_another(program, program.beside, expected, reference, library)
            if found:
                return found
    return []


def beside_another(program: Program, other: Program, expected: tuple[dict[str, Any], list[str]], reference: Any,
                   library: Any) -> list[Mismatch]:
    """All that differs after the program, and after the other, which agrees alone, while both run."""
    right = run(other, reference)
    start = Barrier(2)

    def both(which: Program, right: tuple[dict[str, Any], list[str]]) -> list[Mismatch]:
        start.wait()
        return list(mismatches(which, run(which, library), right, reference))

    with ThreadPoolExecutor(1) as threads:
        aside = threads.submit(both, other, right)
        found = both(program, expected)
        others = aside.result()
    if others and not list(mismatches(other, run(other, library), right, reference)):
        found += [replace(each, place=f"beside: {each.place}", raised=None) for each in others]
    return found


def mismatches(program: Program, result: tuple[dict[str, Any], list[str]], right: tuple[dict[str, Any], list[str]],
               reference: Any) -> Iterator[Mismatch]:
    """All that differs between two runs of a program."""
    (found, ours), (expected, theirs) = result, right
    if program.jit:  # where one statement raises, the others of that round do not run: nothing to compare
        if not any(theirs) and any(ours) and not any(words.startswith("ValueNeeded") for words in ours):
            yield Mismatch("one_round()", next(filter(None, ours)))
        if any(theirs) or any(ours):
            return
        expected = {name: _as_returned(found.get(name), value) for name, value in expected.items()}
    for i, (a, b) in enumerate(zip(ours, theirs, strict=not program.jit)):
        if bool(a) != bool(b):
            line = program.lines[i % len(program.lines)]
            yield Mismatch(line, f"{a or 'no error'}, not {b or 'no error'}", (a, b), at=i)
    if program.together:
        yield from _realised(list(found.values()))
    for name, value in expected.items():
        mine = found.get(name)
        how, wrong = difference(mine, value)
        if how:
            yield Mismatch(name, how, None, wrong, ours=None if wrong is None else numbers(mine))
        if mine is not None and isinstance(value, reference.Tensor) and has_gradient(value):
            how, wrong = difference(mine.grad, value.grad)
            if how:
                yield Mismatch(f"{name}.grad", how, None, wrong, ours=None if wrong is None else numbers(mine.grad))


def _as_returned(mine: Any, value: Any) -> Any:
    """What a jitted round returns is on no tape."""
    with suppress(RuntimeError):  # as in ``has_gradient``
        kept = getattr(mine, "is_leaf", True) and getattr(mine, "requires_grad", True)
        return value.detach() if hasattr(value, "detach") and not kept else value
    return value


def _realised(values: list[Any]) -> Iterator[Mismatch]:
    """Compute all of our Tensors and gradients in one run. That it raises what none of them raises alone differs."""
    tensors = [value for value in values if isinstance(value, minigrad.Tensor)]
    tensors += [value.grad for value in tensors if has_gradient(value) and value.grad is not None]
    try:
        minigrad.realize(tensors)
    except Exception as error:
        alone = {step("t.realize()", {}, {"t": t}).partition(":")[0] for t in tensors}
        if type(error).__name__ not in alone:
            yield Mismatch("realize()", f"{type(error).__name__}: {error}".partition("\n")[0])


def has_gradient(value: Any) -> bool:
    """Whether a Tensor may have a gradient; not one that must not be asked, since its base was changed in place."""
    try:
        return bool((value.requires_grad and value.is_leaf) or value.retains_grad)
    except RuntimeError:
        return False


def difference(ours: Any, theirs: Any) -> tuple[str, np.ndarray[Any, Any] | None]:
    """In one sentence how two results differ, and in which elements."""
    if theirs is None or ours is None:
        same = theirs is ours
        return "" if same else f"{'None' if ours is None else 'a Tensor'}, unlike the reference", None
    kind, other = (str(t.dtype).rpartition(".")[2] for t in (ours, theirs))
    if kind != other:
        return f"dtype {kind}, not {other}", None
    if tuple(ours.shape) != tuple(theirs.shape):
        return f"shape {tuple(ours.shape)}, not {tuple(theirs.shape)}", None
    try:
        if ours.requires_grad != theirs.requires_grad:
            return f"requires_grad {ours.requires_grad} of {kind}", None
    except RuntimeError:  # as in ``has_gradient``
        return "", None
    values, errors = [], []
    for t in (ours, theirs):
        try:
            values.append(numbers(t))
        except Exception as error:
            errors.append(f"{type(error).__name__} when it is read: {error}")
    if errors:  # if it is both, their words may differ
        return errors[0] if values else "", None
    a, b = values
    wrong = ~_near(a, b, *TOLERANCE[kind]) if kind in TOLERANCE else np.asarray(a != b)
    if not wrong.any():
        return "", None
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return f"{a[at]} at {at}, not {b[at]}", wrong


def _near(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], rtol: float, atol: float) -> np.ndarray[Any, Any]:
    """Of complex numbers that are infinite or NaN, which part is so depends on how a product is written."""
    finite = np.isfinite(b)
    scale = np.abs(b[finite]).max(initial=0.0)
    with np.errstate(all="ignore"):
        near = np.abs(a - b) <= rtol * np.abs(b) + atol * max(scale, 1)
        other = ~np.isfinite(a) if a.dtype.kind == "c" else (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(finite, near & np.isfinite(a), other)


def numbers(t: Any) -> np.ndarray[Any, Any]:
    """As float64 or complex128, or as they are if they are integers."""
    t = t.detach().resolve_conj().resolve_neg()
    kind = str(t.dtype).rpartition(".")[2]
    if kind.startswith("complex"):
        return np.array(t.numpy(force=True)).astype(np.complex128)
    if kind == "bfloat16":  # NumPy has none
        t = t.float()
    numbers = np.array(t.numpy(force=True))
    return numbers.astype(np.float64) if kind in TOLERANCE else numbers


def copied(value: Any, reference: Any) -> Any:
    """The same numbers in a Tensor of the reference; what is no Tensor stays."""
    if not hasattr(value, "detach"):
        return value
    return reference.from_numpy(numbers(value)).to(getattr(reference, str(value.dtype).rpartition(".")[2]))
