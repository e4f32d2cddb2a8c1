"""Stage: tests of ``jit/``. In: nested arguments and results. Out: taken apart and put together they are the same;
their structures are equal exactly if the values are. Next: ``jit/function.py``."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest

import minigrad
from minigrad.jit.trees import fill, flatten

Pair = namedtuple("Pair", "left right")


@dataclass
class State:
    h: Any
    n: int = 0


T = minigrad.ones(1)
VALUES: list[Any] = [
    (), [], {}, None, 1, True, 1.0, 0.0, -0.0, "a", (1, 2), [1, 2], Pair(1, T), State(T, 2), State([T], 2), {"a": T},
    {"b": T}, {"a": T, "b": 1}, OrderedDict(a=T), T, [T], (T,), (T, T), (T, (T, [T])), slice(1, 2), minigrad.float32,
    [{"x": (T, 1.5), "y": None}], Ellipsis, b"x", range(3)]


@pytest.mark.parametrize("i", range(len(VALUES)))
def test_every_value(i: int) -> None:
    tensors: list[Any] = []
    structure = flatten(VALUES[i], tensors)
    back = fill(structure, iter(tensors))
    assert type(back) is type(VALUES[i]) and repr(back) == repr(VALUES[i])
    assert all(t is T for t in tensors)
    for j, value in enumerate(VALUES):
        other = flatten(value, [])
        assert (other == structure) is (i == j), f"{value} and {VALUES[i]}"
        assert i != j or hash(other) == hash(structure)


def test_a_dictionary_with_a_default() -> None:
    table: Any = defaultdict(list, a=T)
    back = fill(flatten(table, []), iter([T]))
    assert type(back) is defaultdict and back["a"] is T


def test_unknown_objects_are_themselves() -> None:
    thing, other = object(), object()
    assert flatten([thing], []) == flatten([thing], []) != flatten([other], [])
    assert fill(flatten([thing], []), iter(()))[0] is thing
