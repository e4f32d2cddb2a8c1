"""Stage: tests of runtime. In: long work on a terminal, in a pipe, and without tqdm. Out: a bar, or nothing.
Next: ``test_trees.py``."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

import minigrad
from minigrad.runtime import progress
from minigrad.runtime.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def work(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    with Progress(4, "sewing", "seams") as bar:
        for i in range(4):
            bar.step(note=f", {i} threads")
    return stream.getvalue()


def test_a_terminal_sees_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    shown = work(monkeypatch, Terminal())
    assert "sewing: " in shown and "of 4 seams" in shown and " left" in shown


def test_a_pipe_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert work(monkeypatch, io.StringIO()) == ""


def test_without_tqdm_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert work(monkeypatch, Terminal()) == ""


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    with Progress(4, "sewing") as bar:
        bar.step()
    assert "sewing" not in stream.getvalue()


def test_many_kernels_are_written_under_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    monkeypatch.setattr(progress, "DELAY", 0.0)
    x = minigrad.ones(3, 1213)
    with minigrad.config(TIERS=0, CACHE=0):
        ((x * 1.37).cumsum(1) * 2).sum(0).tolist()
    assert "writing kernels: " in stream.getvalue()


def test_bars_cost_no_import() -> None:
    program = "import minigrad, sys; minigrad.ones(3).tolist(); print('tqdm' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"
