"""Stage: tests of ``jit/``. In: functions and what they can reach. Out: every change of it is seen, and nothing else
counts as one. Next: ``test_trees.py``."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import nn, optim
from minigrad.jit.surroundings import Surroundings


class Slots:
    __slots__ = ("rate",)

    def __init__(self) -> None:
        self.rate = 1.0


class Base:
    shared = 1

    def __call__(self) -> Any:
        return self.helper(self.rate)  # type: ignore[attr-defined]

    def helper(self, x: Any) -> Any:
        return x * self.shared


class Derived(Base):
    unrelated = 0

    def __init__(self) -> None:
        self.rate = 2.0


class Named:
    def __init__(self, **items: Any) -> None:
        vars(self).update(items)


def reads(thing: Any) -> Callable[[], Any]:
    def f() -> Any:
        return [thing.rate, thing.shared] if isinstance(thing, Named) else thing

    return f


def changes() -> dict[str, tuple[Any, Callable[[Any], Any], bool]]:
    """Name: what a function reads, how it changes, and whether that counts."""

    def write(name: str, value: Any) -> Callable[[Any], None]:
        return lambda thing: setattr(thing, name, value)

    def class_attribute(thing: Any) -> None:
        Base.shared += 1

    def equal_number(thing: Any) -> None:
        thing[0] = float("1000.5")

    unread = Derived()
    vars(unread)["nobody_" + "reads_this"] = 1
    return {
        "slot": (Slots(), write("rate", 2.0), True),
        "list item": ([1, 2], lambda x: x.__setitem__(0, 5), True),
        "list grows": ([1, 2], lambda x: x.append(5), True),
        "equal number": ([float("1000.5")], equal_number, False),
        "other type": ([1], lambda x: x.__setitem__(0, True), True),
        "negative zero": ([0.0], lambda x: x.__setitem__(0, -0.0), True),
        "nan stays": ([float("nan")], lambda x: x.__setitem__(0, float("nan")), False),
        "dict value": ({"a": 1}, lambda x: x.update(a=2), True),
        "dict key": ({"a": 1}, lambda x: x.update(b=2), True),
        "nested": ({"a": [{"b": (1, [2])}]}, lambda x: x["a"][0]["b"][1].append(3), True),
        "set": ({1, 2}, lambda x: x.add(3), True),
        "set item": ({1, 2}, lambda x: (x.remove(1), x.add(3)), True),
        "set stays": ({1, 2}, lambda x: (x.remove(1), x.add(1)), False),
        "counter loses": (collections.defaultdict(int, a=1), lambda x: x.pop("a"), True),
        "deque": (collections.deque([1]), lambda x: x.append(2), True),
        "array": (np.zeros(3), lambda x: x.__setitem__(0, 1), True),
        "array stays": (np.zeros(3), lambda x: x.__setitem__(0, 0), False),
        "called class attribute": (Derived(), class_attribute, True),
        "attribute that code names": (Derived(), write("rate", 5.0), True),
        "attribute that no code names": (unread, write("nobody_reads_this", 5.0), False),
        "class attribute that no code names": (Derived(), lambda x: setattr(Derived, "unrelated", 5), False),
        "named": (Named(rate=1, shared=2), write("rate", 3), True),
        "named, not read": (Named(rate=1, shared=2, other=3), write("other", 5), False),
        "partial": (functools.partial(max, [1]), lambda x: x.args[0].append(2), True),
        "method": (Derived().helper, lambda x: setattr(x.__self__, "shared", 7), True),
        "module": (nn.Linear(2, 2), lambda x: x.eval(), True),
        "module's parameter": (nn.Linear(2, 2), lambda x: setattr(x, "bias", nn.Parameter(minigrad.ones(2))), True),
        "module's contents": (nn.Linear(2, 2), lambda x: x.weight.detach().zero_(), False),
        "hook": (nn.Linear(2, 2), lambda x: x.register_forward_hook(lambda *a: None), True),
        "requires_grad": (nn.Linear(2, 2), lambda x: x.weight.requires_grad_(False), True),
        "learning rate": (optim.SGD([minigrad.ones(1)], lr=1.0),
                          lambda x: x.param_groups[0].update(lr=0.1), False),
        "momentum": (optim.SGD([minigrad.ones(1)], lr=1.0), lambda x: x.param_groups[0].update(momentum=0.1), False),
        "nesterov": (optim.SGD([minigrad.ones(1)], lr=1.0), lambda x: x.param_groups[0].update(nesterov=True), True),
    }


@pytest.mark.parametrize("name", changes())
def test_changes(name: str) -> None:
    thing, change, counts = changes()[name]
    around = Surroundings([("f", reads(thing))])
    assert around.same() and around.difference() is None and around.problem is None
    shared = Base.shared
    change(thing)
    try:
        assert around.same() is not counts
        assert (around.difference() is not None) is counts
    finally:
        Base.shared, Derived.unrelated = shared, 0
    if not counts:
        assert around.same(), "again, and fast"


def test_names_lead_to_the_variable() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    settings = Named(rate={"a": [1.0]})

    def f() -> Any:
        return model, settings.rate

    around = Surroundings([("f", f)])
    layer = "model._modules['0']._parameters"
    assert around.tensor_names == [f"{layer}['weight']", f"{layer}['bias']"]
    settings.rate["a"][0] = 2.0
    assert around.difference() == "settings.rate['a'][0]"


def test_what_cannot_be_watched() -> None:
    long = list(range(20_000))
    assert "long, which has 20000 items" in str(Surroundings([("f", reads_global(long))]).problem)
    large = np.zeros(1 << 18)
    assert "long, a NumPy array of 2097152 bytes" in str(Surroundings([("f", reads_global(large))]).problem)


def reads_global(long: Any) -> Callable[[], Any]:
    return lambda: long


def test_loops_and_shared_things() -> None:
    """A thing that holds itself is looked at once."""
    ring: list[Any] = [1]
    ring.append(ring)
    twice = Named(rate=ring, shared=ring)
    around = Surroundings([("f", reads(twice))])
    assert around.same()
    ring[0] = 2
    assert not around.same()


counter = [0]


def test_attributes_are_no_globals() -> None:
    """``thing.counter`` says nothing of a global of that name; ``counter`` alone does."""
    thing = Named(counter=1)

    def attribute() -> Any:
        return thing.counter

    def variable() -> Any:
        return [counter for _ in range(2)]

    attributes, variables = Surroundings([("f", attribute)]), Surroundings([("f", variable)])
    counter.append(1)
    assert attributes.same() and variables.difference() == "counter"


def test_jitted_functions_and_composites_stand_for_their_functions() -> None:
    """What they keep of their calls is no surroundings; what their functions reach is."""
    scale = [2.0]

    @minigrad.jit
    def inner(x: Any) -> Any:
        return x * scale[0]

    @minigrad.composite
    def twice(x: Any) -> Any:
        return x * 2

    def outer(x: Any) -> Any:
        return inner(twice(x))

    around = Surroundings([("f", outer)])
    for _ in range(4):
        inner(minigrad.ones(3))
        twice(minigrad.ones(4)).realize()
    assert around.same()
    scale[0] = 3.0
    assert around.difference() == "scale[0]"


def test_looking_changes_nothing() -> None:
    """A dictionary with a default gets no entry, and an object is not asked for attributes that nobody names."""

    class Asked:
        def __init__(self) -> None:
            self.asked: list[str] = []

        def __getattr__(self, name: str) -> Any:
            vars(self)["asked"].append(name)
            raise KeyError(name)

    table, thing = collections.defaultdict(int, a=1), Asked()
    around = Surroundings([("f", lambda: (table["a"], thing))])
    table.clear()
    assert not around.same() and around.difference() == "table['a']"
    assert not table and not thing.asked
