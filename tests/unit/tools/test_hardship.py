"""Stage: tests of what a machine does to processes. In: the hardships of ``tools/hardship.py``, a few of each. Out:
afterwards a new process computes right, files are whole, nothing is left behind; and the tool sees when that is not so.
Next: ``tools/hardship.py``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import minigrad
from minigrad import config
from minigrad.runtime import cache
from tools import hardship


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills and limits of a POSIX system")
@pytest.mark.parametrize("what", hardship.HARDSHIPS, ids=lambda what: what.__name__)
def test_afterwards_everything_is_right(what: hardship.Hardship, seed: int) -> None:
    lines: list[str] = []
    assert hardship.suffer([what], seed, 3, lines.append) == [], "\n".join(lines)
    assert lines


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hardship.Place:
    """One whose processes all print the same."""
    done = hardship.subprocess.CompletedProcess([], 0, "[1.0]\n", "")
    monkeypatch.setattr(hardship.Place, "run", lambda self, name, **settings: done)
    made = hardship.Place(str(tmp_path))
    with config.config(CACHE_DIR=made.at("cache"), CACHE=1):
        cache.store("a" * 64, b"code")
    minigrad.save({"step": 1, "weights": minigrad.ones(3)}, made.at("files", "model.pt"))
    assert made.unsound() == []
    return made


def _entry(place: hardship.Place) -> None:
    path = Path(place.at("cache", "objects", "a" * 64))
    path.write_bytes(path.read_bytes()[:-1])


def _checkpoint(place: hardship.Place) -> None:
    minigrad.save({"step": 1, "weights": minigrad.tensor([1.0, 2.0])}, place.at("files", "model.pt"))


@pytest.mark.parametrize("harm, said", [
    (_entry, "damaged entry"), (_checkpoint, "checkpoint: ValueError: a checkpoint of two steps"),
    (lambda place: os.mkdir(place.at("tmp", "minigrad-cc-1")), "left behind"),
    (lambda place: place.right.update(compute="[2.0]\n"), "a new process {} printed [1.0]")])
def test_the_tool_sees(place: hardship.Place, harm: Callable[[hardship.Place], Any], said: str) -> None:
    harm(place)
    assert place.unsound()[0].startswith(said)
