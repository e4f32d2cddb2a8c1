"""Stage: realise. In: a pending graph with its key. Out: the executable for it: from memory, from disk, or scheduled,
lowered and compiled. Constants are part of a plan at first sight; a graph that comes again with other constants gets a
plan that takes those as arguments, so that nothing is compiled a third time. Next: ``recipe.py``."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from minigrad.engine import stored
from minigrad.engine.kernels import kernels
from minigrad.engine.walk import Pending
from minigrad.runtime.device import get_device

if TYPE_CHECKING:
    from minigrad.engine.execute import Executable

CAPACITY = 2048
"""Graphs remembered; the one not used for longest goes first."""


class Family:
    """The plans of one key. ``free``: the positions of constants that have been seen to vary: they are arguments."""

    __slots__ = ("free", "plans")

    def __init__(self) -> None:
        self.free: frozenset[int] = frozenset()
        self.plans: dict[Any, Executable] = {}

    def fixed(self, numbers: tuple[Any, ...]) -> Any:
        """The constants a plan depends on, given which are free."""
        free = self.free
        if not free:
            return numbers
        return free, tuple([None if i in free else n for i, n in enumerate(numbers)])


class PlanCache:
    """Least recently used families of plans, by graph key."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.families: OrderedDict[Any, Family] = OrderedDict()
        self.capacity = capacity
        self.hits = 0
        self.misses = 0

    def find(self, pending: Pending) -> tuple[Executable, bool]:
        """The executable for this graph, and whether it was there already."""
        family = self.families.get(pending.key)
        if family is not None:
            self.families.move_to_end(pending.key)
            found = family.plans.get(family.fixed(pending.numbers))
            if found is not None and found.device is get_device(pending.device):  # not one registered anew since
                self.hits += 1
                return found, True
            varying = _differences(next(iter(family.plans)), pending.numbers) if family.plans else frozenset()
            free = family.free | frozenset(i for i in varying if pending.constants[i].dtype.kind != "b")
        else:
            family = Family()
            free = family.free
        self.misses += 1
        key = stored.key_of(pending, free)
        executable = stored.load(key, get_device(pending.device))
        if executable is None:
            executable = compiler().build(pending, free)  # should this fail, nothing has been changed here
            stored.keep(key, executable)
        family.free = free
        family.plans[family.fixed(pending.numbers)] = executable
        self.families[pending.key] = family
        if len(self.families) > self.capacity:
            self.families.popitem(last=False)
        return executable, False

    def clear(self) -> None:
        """Forget everything, and the kernels that plans have in common."""
        self.families.clear()
        kernels.clear()


def _differences(fixed: Any, numbers: tuple[Any, ...]) -> frozenset[int]:
    if len(fixed) == 2 and isinstance(fixed[0], frozenset):
        fixed = fixed[1]
    return frozenset(i for i, (a, b) in enumerate(zip(fixed, numbers, strict=True)) if a is not None and a != b)


@cache
def compiler() -> ModuleType:
    """The compiler. Its rooms, from schedule to render, are loaded when the first graph needs them: they are half of
    what there is to import, and a program that only looks at its arguments never needs them."""
    from minigrad.engine import build

    return build
