"""Stage: tests of the front. In: calls of all kinds. Out: compiled code follows those that it understands, leaves the
others to Python with nothing changed, and keeps every count of references. Next: ``test_protocol.py``."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any
from weakref import ref

import numpy as np
import pytest

import minigrad as mg
from minigrad.autograd.mode import mode
from minigrad.graph.lazy import LazyBuffer
from minigrad.tensor import quick
from minigrad.tensor.elementwise import _ADD, _MUL
from minigrad.tensor.replay import Trace, thread

follow = quick.quick_function()
pytestmark = pytest.mark.skipif(follow is None, reason="this Python lays out its objects in another way")


@pytest.fixture(autouse=True)
def known() -> Iterator[tuple[Any, Any]]:
    """Two leaves, and a tree in which their product and what was added to it are known."""
    thread.forget()
    a, b = mg.tensor([1.0, 2.0]), mg.tensor([3.0, 4.0])
    ((a * b) + 1.5).realize()
    thread.begin()
    yield a, b
    thread.forget()


def called(function: Any, static: Any, tensors: Any, numbers: Any = ()) -> Any:
    trace = thread.trace
    return follow(trace, function, static, mode.enabled, tensors, numbers)


def test_a_known_call_gives_a_shell(known: Any) -> None:
    a, b = known
    product, = called(_MUL.tensors, (), (a, b))
    trace = thread.trace
    assert (product._tag, product._slot, product._owner) == (trace.tag, 2, trace) and type(product) is mg.Tensor
    assert (a._slot, b._slot, trace.leaves, len(trace.path)) == (0, 1, [0, 1], 1)
    assert trace.holders[:2] == [a, b] and trace.holders[2]() is product and trace.values[2] is None
    total, = called(_ADD.number, (), (product,), ((2.5, mg.float32),))
    assert trace.numbers == [2.5] and trace.alive() == (2, 3)
    assert total.tolist() == [5.5, 10.5]


@pytest.mark.parametrize("call", [
    lambda a, b: (_ADD.tensors, (), (a, b)),  # another function
    lambda a, b: (_MUL.tensors, (1,), (a, b)),  # other static arguments
    lambda a, b: (_MUL.tensors, (), [a, b]),  # not a tuple
    lambda a, b: (_MUL.tensors, (), (a,)),
    lambda a, b: (_MUL.tensors, (), (a, a)),
    lambda a, b: (_MUL.tensors, (), (a, np.ones(2))),  # no Tensor
    lambda a, b: (_MUL.tensors, (), (a, mg.ones(3).realize())),
    lambda a, b: (_MUL.tensors, (), (a, b + 1)),  # not in memory
    lambda a, b: (_MUL.tensors, (), (a, mg.from_numpy(np.ones(3, np.float32)))),
    lambda a, b: (_MUL.tensors, (), (a, b), ((1.0, mg.float32),)),
])
def test_another_call_is_left_to_python_and_changes_nothing(known: Any, call: Any) -> None:
    a, b = known
    arguments = call(a, b)
    thread.begin()
    before = int(a._storage.lazy.readers)
    trace = thread.trace
    assert called(*arguments) is None
    assert trace.tag not in (a._tag, b._tag) and a._storage.lazy.readers == before
    assert not (trace.path or trace.values or trace.holders or trace.specs or trace.leaves or trace.numbers)
    assert called(_MUL.tensors, (), (a, b)) is not None


@pytest.mark.parametrize("kind", ["new", "view", "numpy", "numpy twice", "shell"])
def test_leaves_that_have_to_be_looked_at(known: Any, kind: str) -> None:
    """New Tensors, views, memory that NumPy sees: what ``look_at`` says of them is what Python would find."""
    a, b = known
    array = np.array([5.0, 6.0], np.float32)
    shared = mg.from_numpy(array)
    made = {"new": lambda: mg.tensor([5.0, 6.0]), "view": lambda: mg.tensor([0.0, 5.0, 6.0])[1:],
            "numpy": lambda: shared, "numpy twice": lambda: shared, "shell": lambda: (b + 2).realize()}[kind]
    if kind == "shell":
        made().tolist()  # known from now on: the next one is a shell
    operand = made()
    thread.begin()
    trace = thread.trace
    first = operand if kind == "numpy twice" else a
    product, = called(_MUL.tensors, (), (first, operand))
    array[:] = 0  # too late
    assert trace.leaves == [0, 1] and trace.holders[:2] == [first, operand] and product._slot == 2
    assert operand._tag == (0 if "numpy" in kind else trace.tag)
    assert trace.values[0] is not trace.values[1] and all([v.readers for v in trace.values[:2]])
    assert product.tolist() == ([25.0, 36.0] if first is operand else [5.0, 12.0])
    shared[0] = 1.0
    assert array.tolist() == [1.0, 0.0]


def test_an_error_of_a_look_is_the_callers(known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    a, _ = known

    class Broken(mg.Tensor):
        @property
        def _storage(self) -> Any:
            raise RuntimeError("no")

    broken = Broken.__new__(Broken)
    broken._tag, broken._spec, broken._look = 0, None, None
    thread.begin()
    with pytest.raises(RuntimeError, match="no"):
        called(_MUL.tensors, (), (a, broken))
    assert a._tag == 0 and not thread.trace.values


def test_the_grad_mode_counts(known: Any) -> None:
    with mg.no_grad():
        assert called(_MUL.tensors, (), known) is None


def test_an_error_while_static_arguments_are_compared_is_raised(known: Any) -> None:
    class Odd:
        __hash__ = object.__hash__

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        called(_MUL.tensors, Odd(), known)


def test_references_are_counted(known: Any) -> None:
    a, b = known
    tracked = mg.tensor([1.0, 2.0], requires_grad=True)
    thread.begin("backward")
    (tracked * a).realize()

    def rounds() -> None:
        for x, y in ((a, b), (tracked, a)):
            for _ in range(50):
                thread.begin("value" if x is a else "backward")
                product, = called(_MUL.tensors, (), (x, y))
                if x is a:
                    called(_ADD.number, (), (product,), ((1.5, mg.float32),))
                thread.trace.let_go()
                assert called(_ADD.tensors, (), (x, y)) is None

    rounds()
    kinds = (mg.Tensor, Trace, LazyBuffer, ref)
    watched = (None, True, 0, Trace.tensor_class, _MUL.tensors, thread.root, thread.root.next, a, b, tracked,
               a._storage.lazy, mg.float32)
    gc.collect()
    before = [sys.getrefcount(x) for x in watched]
    made = len([x for x in gc.get_objects() if issubclass(type(x), kinds)])
    rounds()
    gc.collect()
    after = [sys.getrefcount(x) for x in watched]
    assert all([abs(x - y) < 20 for x, y in zip(before, after, strict=True)]), (before, after)
    assert len([x for x in gc.get_objects() if issubclass(type(x), kinds)]) <= made + 20


def test_without_the_layout_there_is_no_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "_at", lambda thing, offset: 0)
    assert quick.quick_function() is None
