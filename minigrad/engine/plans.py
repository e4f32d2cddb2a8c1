"""Stage: realise. In: a pending graph with its key. Out: what runs it: an executable from memory, from disk, or
scheduled, lowered and compiled; or a program of tier 0 (``tiers.py``). Constants are part of a plan at first sight; a
graph that comes again with other constants gets a plan that takes those as arguments, so that nothing is compiled a
third time.
Next: ``stored.py``."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from minigrad import config
from minigrad.engine import tiers
from minigrad.engine.kernels import kernels
from minigrad.engine.walk import Pending
from minigrad.lazily import importing
from minigrad.runtime.device import get_device
from minigrad.runtime.locks import compile_lock

if TYPE_CHECKING:
    from minigrad.engine.execute import Executable
    from minigrad.engine.tier0 import DirectProgram

CAPACITY = 2048
"""Graphs remembered; the one not used for longest goes first."""

MOST_NODES = 1 << 19
"""Nodes of all graphs remembered: a key takes about 150 bytes a node."""

MOST_CALLS = 1 << 18
"""Calls of all programs of tier 0 that are kept, about 100 bytes each."""

MOST_PROGRAMS = 512
"""Programs of tier 0 that are kept, about 20 KB each beside their calls: those of sizes that do not come back go. To
make one again takes about a millisecond."""


class Key(tuple[Any, ...]):
    """A graph's key that hashes itself once: one of 100,000 nodes takes 20 ms."""

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            self._hash: int = tuple.__hash__(self)
            return self._hash


class Family:
    """The plans of one key, a graph of ``nodes`` nodes. ``free``: the positions of constants that have been seen to
    vary: they are arguments. ``direct``: the program of tier 0, as long as there is no plan; a run of it costs
    ``rent``, and when nothing is ``left``, the graph is compiled."""

    __slots__ = ("direct", "free", "left", "nodes", "plans", "rent")

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes
        self.free: frozenset[int] = frozenset()
        self.plans: dict[Any, Executable] = {}
        self.direct: DirectProgram | None = None
        self.rent = self.left = 0.0

    def pay(self) -> bool:
        """Pay for a run of tier 0; whether anything is left."""
        self.left -= self.rent
        return self.left > 0

    def fixed(self, numbers: tuple[Any, ...]) -> Any:
        """The constants a plan depends on, given which are free."""
        free = self.free
        if not free:
            return numbers
        return free, tuple([None if i in free else n for i, n in enumerate(numbers)])


class PlanCache:
    """Least recently used families of plans, by graph key."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.families: OrderedDict[Key, Family] = OrderedDict()
        self.capacity = capacity
        self.hits = 0
        self.misses = 0
        self.nodes = 0  # of all families
        self.programs: OrderedDict[Key, Family] = OrderedDict()  # the families that have one of tier 0
        self.calls = 0  # of all those programs
        self.sightings = tiers.Sightings()

    def find(self, pending: Pending) -> tuple[Executable | DirectProgram, bool]:
        """What runs this graph, and whether it was there already."""
        key = Key(pending.key)
        family = self.families.get(key)
        if family is None or not family.plans:
            direct = self._direct(pending, key, family)
            if direct is not None:
                return direct
            family = self.families.get(key)
        if family is not None:
            self.families.move_to_end(key)
            found = family.plans.get(family.fixed(pending.numbers))
            if found is not None and found.device is get_device(pending.device):  # not one registered anew since
                self.hits += 1
                return found, True
            varying = _differences(next(iter(family.plans)), pending.numbers) if family.plans else frozenset()
            free = family.free | frozenset(i for i in varying if pending.constants[i].dtype.kind != "b")
        else:
            family = Family(len(pending.order))
            free = family.free
        self.misses += 1
        on_disk = _stored().key_of(pending, free)
        executable = _stored().load(on_disk, get_device(pending.device))
        if executable is None:
            executable = compiler().build(pending, free)  # should this fail, nothing has been changed here
            _stored().keep(on_disk, executable)
        family.free = free
        family.plans[family.fixed(pending.numbers)] = executable
        with compile_lock:
            self._drop(key)
            self._remember(key, family)
        return executable, False

    def _direct(self, pending: Pending, key: Key, family: Family | None) -> tuple[DirectProgram, bool] | None:
        """The program of tier 0 for a graph that is not compiled, and whether it was there already; None if it is to be
        compiled now."""
        if family is None:
            cost = tiers.cost_of(pending.order)
            if tiers.choose(pending, cost, self.sightings):
                return None
            family = Family(len(pending.order))
            family.rent, family.left = cost.rent, float("inf") if config.get("TIERS") == 2 else cost.compile
        elif family.left <= 0 or not config.get("TIERS"):
            return None
        program = family.direct
        hit = (program is not None and program.fits(pending.numbers)
               and program.device is get_device(pending.device))
        if hit:
            with compile_lock:  # another thread may have forgotten it just now
                if key in self.programs:
                    self.programs.move_to_end(key)
                    self.families.move_to_end(key)
        if program is None or not hit:
            try:
                program = _tier0().build(pending)
            except _tier0().Declined:
                return None
            with compile_lock:
                self._drop(key)
                family.direct = program
                program.account = family.pay
                self._remember(key, family)
                self.programs[key] = family
                self.calls += len(program)
                while len(self.programs) > MOST_PROGRAMS or (self.calls > MOST_CALLS and len(self.programs) > 1):
                    self._drop(next(iter(self.programs)))
        family.pay()
        self.hits += hit
        self.misses += not hit
        return program, hit

    def _remember(self, key: Key, family: Family) -> None:
        """Keep a family, and forget those used longest ago that there is no room for."""
        if key not in self.families:
            self.nodes += family.nodes
        self.families[key] = family
        self.families.move_to_end(key)
        while len(self.families) > self.capacity or (self.nodes > MOST_NODES and len(self.families) > 1):
            oldest, gone = self.families.popitem(last=False)
            self.nodes -= gone.nodes
            self._drop(oldest)

    def _drop(self, key: Key) -> None:
        """Forget a program of tier 0."""
        family = self.programs.pop(key, None)
        if family is not None and family.direct is not None:
            self.calls -= len(family.direct)
            family.direct = None

    def clear(self) -> None:
        """Forget everything, and the kernels that plans have in common."""
        self.families.clear()
        kernels.clear()
        self.programs.clear()
        self.nodes = self.calls = 0
        self.sightings.clear()


def _differences(fixed: Any, numbers: tuple[Any, ...]) -> frozenset[int]:
    if len(fixed) == 2 and isinstance(fixed[0], frozenset):
        fixed = fixed[1]
    return frozenset(i for i, (a, b) in enumerate(zip(fixed, numbers, strict=True)) if a is not None and a != b)


@cache
def _stored() -> ModuleType:
    """Plans on disk, and what runs plans, loaded when the first graph is."""
    with importing():
        from minigrad.engine import stored

    return stored


@cache
def _tier0() -> ModuleType:
    """Tier 0, loaded when the first graph is run by it."""
    with importing():
        from minigrad.engine import tier0

    return tier0


@cache
def compiler() -> ModuleType:
    """The compiler. Its rooms, from schedule to render, are loaded when the first graph needs them: they are half of
    what there is to import, and a program that only looks at its arguments never needs them."""
    with importing():
        from minigrad.engine import build

    return build
