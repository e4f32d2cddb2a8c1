"""Stage: tests of realise. In: graphs that an earlier process has run. Out: they run again from the disk, and nothing
is scheduled or compiled; whatever is wrong there, they are compiled. Next: ``test_realise.py``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.conformance.sources import leaf
from minigrad.dtype import float32, int64
from minigrad.engine import build, inspect, plans, realise, stored, to_numpy
from minigrad.graph.function import Subgraph, call, param
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.runtime import llvm


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    """Plans are kept here; VERIFY=1 would make each anew."""
    with mg.config(CACHE=1, CACHE_DIR=str(tmp_path), VERIFY=0):
        _forget()
        yield tmp_path / "objects"
        plans.clear()


def _forget() -> None:
    """As a new process."""
    plans.clear()
    llvm._loaded.clear()


def _x(*shape: int) -> LazyBuffer:
    return leaf(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), float32, "CPU")


def _rows(factor: float = 2.0) -> LazyBuffer:
    x = _x(30, 40)
    return x.binary(Op.MUL, x.like(factor)).reduce(Op.SUM, (1,))


def _compiled(y: LazyBuffer) -> int:
    with inspect() as seen:
        realise([y])
    assert seen.plan_misses == 1
    return seen.compiled


def _only_from_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("it is scheduled again")

    monkeypatch.setattr(build, "build", refuse)


@pytest.mark.parametrize("make", [
    _rows, lambda: _x(30, 40).gather([leaf(np.array([3, 1, 2]), int64, "CPU")]), lambda: LazyBuffer.scalar(
        2.5, float32, "CPU").expand((3, 4)).binary(Op.ADD, _x(3, 4)),
    lambda: _x(300, 300).unary(Op.EXP).reduce(Op.MAX, (0,)).scan(Op.SUM, 1)])
def test_it_is_read_from_disk(make: Callable[[], LazyBuffer], monkeypatch: pytest.MonkeyPatch) -> None:
    first = make()
    assert _compiled(first) >= 1
    _forget()
    _only_from_disk(monkeypatch)
    again = make()
    with inspect() as seen:
        realise([again])
    assert (seen.compiled, seen.plan_misses) == (0, 1) and seen.launches >= 1
    np.testing.assert_array_equal(to_numpy(again), to_numpy(first))
    assert all(run.name in run.source and run.stages and run.bytes for run in seen.kernels), "inspect shows it all"


def test_an_index_out_of_range_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    realise([_x(5, 4).gather([leaf(np.array([0, 1]), int64, "CPU")])])
    _forget()
    _only_from_disk(monkeypatch)
    with pytest.raises(IndexError, match=r"dimension 0 is not in 0 … 4, the tensor has shape \[5, 4\]"):
        realise([_x(5, 4).gather([leaf(np.array([0, 5]), int64, "CPU")])])


def test_constants_that_became_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    for factor in (2.0, 3.0):
        realise([_rows(factor)])
    _forget()
    _only_from_disk(monkeypatch)
    for factor in (2.0, 7.0):
        y, want = _rows(factor), _rows(1.0)
        realise([y])
        with mg.config(CACHE=0):
            monkeypatch.undo()
            realise([want])
            _only_from_disk(monkeypatch)
        np.testing.assert_allclose(to_numpy(y), to_numpy(want) * factor, rtol=1e-6)


@pytest.mark.parametrize("other", [
    lambda: _rows(3.0), lambda: _x(40, 30).reduce(Op.SUM, (1,)), lambda: _x(30, 40).reduce(Op.MAX, (1,)),
    lambda: _x(30, 40).binary(Op.MUL, _x(30, 40).like(-2.0)).reduce(Op.SUM, (1,))])
def test_another_graph_is_another_plan(other: Callable[[], LazyBuffer]) -> None:
    realise([_rows()])
    _forget()
    assert _compiled(other()) >= 1


@pytest.mark.parametrize("change", ["identity", "CACHE", "VERIFY"])
def test_another_machine_or_setting_is_not_served(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    realise([_rows()])
    _forget()
    if change == "identity":
        monkeypatch.setattr("minigrad.runtime.cpu.CpuDevice.identity", lambda self: "another processor")
        assert _compiled(_rows()) >= 1
    else:
        with mg.config(**{change: 0 if change == "CACHE" else 1}):
            assert _compiled(_rows()) >= 1


@pytest.mark.parametrize("damage", [
    lambda made: {}, lambda made: {**made, "run": made["run"][:3]}, lambda made: {**made, "libraries": []},
    lambda made: {**made, "codes": made["codes"][:-1]}, lambda made: [made],
    lambda made: {**made, "libraries": [["0" * 64, names] for _, names in made["libraries"]]}])
def test_what_cannot_be_read_is_made_again(damage: Callable[[Any], Any], folder: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_encode", lambda recipe, codes, encode=stored._encode: json.dumps(
        damage(json.loads(encode(recipe, codes)))).encode())
    realise([_rows()])
    _forget()
    assert _compiled(_rows()) >= 1


def test_object_code_that_was_removed_is_made_again(folder: Path) -> None:
    realise([_rows()])
    for path in folder.iterdir():
        if b"libraries" not in path.read_bytes():
            path.unlink()
    _forget()
    assert _compiled(_rows()) >= 1


def _function(factor: float) -> Subgraph:
    a = param(0, (3,), float32, "CPU")
    inner = Subgraph("inner", [a], [a.binary(Op.MUL, a.like(factor))])
    b = param(0, (3,), float32, "CPU")
    return Subgraph("outer", [b], [call(inner, [b])[0].unary(Op.NEG)])


def test_subgraphs_are_told_apart_by_what_they_compute() -> None:
    assert stored.digest(_function(2.0)) == stored.digest(_function(2.0)) != stored.digest(_function(-2.0))
    assert stored.digest(_function(0.0)) != stored.digest(_function(-0.0))


PROGRAM = """
import sys
import minigrad as mg
from minigrad import nn, optim
from minigrad.nn import functional as F
mg.manual_seed(0)
model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10))
step = optim.AdamW(model.parameters(), lr=1e-3)
x, y = mg.rand(16, 20), mg.arange(16) % 10
for _ in range(3):
    step.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    step.step()
print(loss.item(), *[room for room in ("schedule.plan", "lower", "render", "engine.build")
                     if f"minigrad.{room}" in sys.modules])
"""


def test_the_next_process_loads_no_compiler(tmp_path: Path) -> None:
    environment = {**os.environ, "MINIGRAD_CACHE": "1", "MINIGRAD_CACHE_DIR": str(tmp_path), "MINIGRAD_VERIFY": "0"}
    said = [subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=True,
                           timeout=120).stdout.split() for _ in range(2)]
    assert len(said[0]) == 5 and said[1] == said[0][:1], "the same loss, by none of the compiler's rooms"
