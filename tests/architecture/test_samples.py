"""Stage: tests of the house. In: tests with many cases, marked with ``sample(count)``. Out: so many of them are run, by
the seed, the others are counted and printed, and ``--every-case`` runs all.
Next: ``tests/docs/test_docs.py``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Item:
    """What pytest has of a test, as far as sampling asks."""

    def __init__(self, name: str, count: int | None) -> None:
        self.nodeid = name
        self.mark = None if count is None else SimpleNamespace(args=(count,))

    def get_closest_marker(self, name: str) -> Any:
        return self.mark if name == "sample" else None


def chosen(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, items: list[Item], seed: int = 0,
           every: bool = False, worker: str = "gw0") -> tuple[list[str], list[str], list[str]]:
    """The tests that are run, those that are left out, and the lines printed."""
    house = next(p for p in request.config.pluginmanager.get_plugins()
                 if getattr(p, "__file__", None) == str(ROOT / "conftest.py"))
    lines: list[str] = []
    left: list[Item] = []
    monkeypatch.setattr(house, "_SAMPLED", lines)
    monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
    config = SimpleNamespace(getoption={"--seed": seed, "--every-case": every}.__getitem__,
                             hook=SimpleNamespace(pytest_deselected=lambda items: left.extend(items)))
    kept = list(items)
    house.pytest_collection_modifyitems(config, kept)
    return [i.nodeid for i in kept], [i.nodeid for i in left], lines


ITEMS = [*[Item(f"a.py::many[{i}]", 3) for i in range(20)], Item("a.py::few[0]", 3), *[
    Item(f"a.py::all[{i}]", None) for i in range(9)]]


def test_a_sample_is_taken_by_the_seed_and_printed(monkeypatch: pytest.MonkeyPatch,
                                                   request: pytest.FixtureRequest) -> None:
    kept, left, lines = chosen(monkeypatch, request, ITEMS)
    assert [len([n for n in kept if name in n]) for name in ("many", "few", "all")] == [3, 1, 9]
    assert sorted(kept + left) == sorted(i.nodeid for i in ITEMS) and kept == [
        i.nodeid for i in ITEMS if i.nodeid in kept]
    assert lines == ["a.py::many: 3 of 20 cases, seed 0"]
    assert chosen(monkeypatch, request, ITEMS)[0] == kept != chosen(monkeypatch, request, ITEMS, seed=1)[0]
    fewer = chosen(monkeypatch, request, [i for i in ITEMS if i.nodeid != left[0]])[0]
    assert fewer == kept


def test_workers_print_once(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    assert chosen(monkeypatch, request, ITEMS, worker="gw1") == (*chosen(monkeypatch, request, ITEMS)[:2], [])


def test_all_are_run_on_demand(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    assert chosen(monkeypatch, request, ITEMS, every=True) == ([i.nodeid for i in ITEMS], [], [])
