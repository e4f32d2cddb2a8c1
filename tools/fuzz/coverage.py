"""Stage: tests. In: minigrad's tables of rules, passes and gradients. Out: how often each row was applied while
programs ran, and the names of those that never were.
Next: ``campaign.py``.

A row counts where it did something: a rewrite rule that gave another node, a pass that changed the kernel. A strategy
is counted by its note, without the numbers. ``functions`` is finer and slower: it says which functions of the rooms
between a graph and its kernels were never called."""

from __future__ import annotations

import inspect
import pkgutil
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from types import CodeType, FrameType, ModuleType
from typing import Any

lower, batching, jvp, rules, complex_parts, simplify = (import_module(f"minigrad.{name}") for name in (
    "lower.lower", "grad.batching", "grad.jvp", "grad.rules", "schedule.complex_parts", "schedule.simplify"))
"""By name: rooms show functions of the same names."""

ROOMS = ("graph", "grad", "schedule", "kernel", "lower", "render", "engine", "symbolic", "autograd")
NUMBERS = re.compile(r"\[+[\d, \[\]]*\]|\b\d+\b")
Reached = dict[str, Counter[str]]


def _counted(apply: Callable[..., Any], counter: Counter[str], name: str) -> Callable[..., Any]:
    def counting(*args: Any, **options: Any) -> Any:
        result = apply(*args, **options)
        if result is not None and (not args or result is not args[0]):
            counter[name] += 1
        return result

    return counting


def _kind_of_loops(note: str) -> str:
    """A strategy and its steps, without numbers and names of axes."""
    return NUMBERS.sub("n", re.sub(r"\b[xr]\d+\b", "axis", re.sub(r" over [^:]*:", ":", note)))


def counting() -> Reached:
    """From now on each use of a row is counted: tables by their names, in each the rows that were used. Rows that were
    not stand there with 0."""
    reached: Reached = {name: Counter() for name in ("simplify", "gradients", "forward mode", "vmap", "complex numbers",
                                                     "passes", "strategies")}
    for rule in simplify.RULES:
        reached["simplify"][rule.name] = 0
        object.__setattr__(rule, "apply", _counted(rule.apply, reached["simplify"], rule.name))
    rows: Any
    for table, rows in (("gradients", rules.RULES), ("forward mode", jvp.RULES)):
        for op, row in list(rows.items()):
            reached[table][op] = 0
            counted = {"apply": _counted(row.apply, reached[table], op)}
            rows[op] = row._replace(**counted) if hasattr(row, "_replace") else replace(row, **counted)
    for table, entries in (("vmap", batching.RULES), ("complex numbers", complex_parts._RULES)):
        for name, apply in list(entries.items()):
            reached[table][name] = 0
            entries[name] = _counted(apply, reached[table], name)
    passes = []
    house: Any = lower
    for each in house.PASSES:
        reached["passes"][each.run.__name__] = 0
        passes.append(each._replace(run=_counted(each.run, reached["passes"], each.run.__name__)))
    house.PASSES = tuple(passes)
    finish = house.finish

    def finished(made: Any, target: Any) -> Any:
        reached["strategies"].update(_kind_of_loops(note) for note in made.strategies)
        return finish(made, target)

    house.finish = finished
    return reached


def _modules(name: str) -> Iterator[ModuleType]:
    module = import_module(name)
    yield module
    for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
        yield from _modules(f"{name}.{found.name}")


def _codes(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from _codes(inner)


def functions() -> tuple[Counter[str], dict[CodeType, str]]:
    """A counter of the functions of ``ROOMS``, all at 0, and the name that stands there for a function's code."""
    names = {}
    for room in ROOMS:
        for module in _modules(f"minigrad.{room}"):
            source = inspect.getsource(module)
            for code in _codes(compile(source, str(module.__file__), "exec")):
                if not code.co_name.startswith("<"):
                    names[code] = f"{module.__name__.removeprefix('minigrad.')}:{code.co_qualname}"
    return Counter(dict.fromkeys(names.values(), 0)), names


def calls() -> Counter[str]:
    """From now on calls of these functions are counted."""
    counter, names = functions()
    seen: dict[CodeType, str | None] = {}

    def called(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            code = frame.f_code
            name = seen.get(code, "")
            if name == "":
                name = seen[code] = names.get(code)
            if name is not None:
                counter[name] += 1

    sys.setprofile(called)
    return counter


def missing(reached: Reached) -> str:
    """A line for each table: how many of its rows were used, and the names of the others."""
    lines = []
    for table, rows in reached.items():
        never = [name for name, count in rows.items() if not count]
        if never or table != "strategies":
            lines.append(f"{table:16}{len(rows) - len(never)} of {len(rows)}" + (
                f"; never {', '.join(never)}" if never else ""))
    return "\n".join(lines)
