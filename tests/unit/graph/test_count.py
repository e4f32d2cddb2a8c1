"""Stage: tests of recording. In: several threads that count the owners of one value. Out: none is forgotten.
Next: ``test_strides.py``."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from minigrad.dtype import float32
from minigrad.engine import leaf_from_numpy
from minigrad.graph.count import Count, Counted


class Plain:
    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0


class Safe(Plain):
    n = Counted(Plain.n)  # type: ignore[attr-defined]


def test_it_behaves_as_a_number() -> None:
    a, b = Safe(), Plain()
    for x in (a, b):
        assert not x.n and x.n == 0
        x.n += 1
        x.n += 1
        assert x.n == 2 and x.n > 1 and not x.n > 2 and x.n and int(x.n) == 2 and repr(x.n) == "2"
        x.n -= 1
        assert x.n == 1 and x.n == True and x.n != 2  # noqa: E712
        x.n = 0
        assert not x.n
    assert type(a.n) is Count


@pytest.mark.parametrize("kind", ["class", "node"])
def test_threads_count_at_once(kind: str) -> None:
    value, name = (Safe(), "n") if kind == "class" else (leaf_from_numpy(np.zeros(1, np.float32), float32, "CPU"),
                                                         "owners")
    text = f"for _ in range(200_000):\n    value.{name} += 1\n    value.{name} -= 1\nvalue.{name} += 1"
    program = compile(text, "count", "exec")
    threads = [threading.Thread(target=exec, args=(program, {"value": value})) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert getattr(value, name) == 4
