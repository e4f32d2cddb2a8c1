"""Stage: tests of the front. In: loops under DEBUG. Out: what is printed in which round.
Next: ``tests/unit/engine/test_realise.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

import minigrad
from minigrad.engine import debug


def test_debug_shows_code_once_in_a_loop_and_replays_it(capsys: pytest.CaptureFixture[str]) -> None:
    w, shown = minigrad.tensor([1.0, 2.0], requires_grad=True), []

    def rounds(n: int) -> str:
        for _ in range(n):
            (w * 3).sin().sum().backward()
            w.grad = None
        return capsys.readouterr().out

    rounds(6)
    for _ in range(2):  # also where the code ran before DEBUG was set
        with minigrad.config(DEBUG=4):
            shown.append(rounds(6))
    for text in shown:
        assert text.count("--- schedule") == 1 and text.count("as C\n") == 1
        assert text.index("as C\n") < text.index("replayed: the same calls") and text.count("replayed: ") >= 4
    with minigrad.config(DEBUG=4):
        text = rounds(6)
        with minigrad.config(DEBUG=6):
            more = rounds(6)
    assert "--- as compiled" not in text and more.count("--- as compiled: LLVM IR\n") == 1


@pytest.mark.parametrize("level", [1, 4])
def test_a_reader_that_goes_away_ends_the_program_quietly(level: int) -> None:
    program = """
import minigrad
x = minigrad.ones(3)
for i in range(2000):
    x = (x * 1.5 + i).realize()
raise AssertionError("it went on")
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**os.environ, "DEBUG": str(level)}, text=True) as child:
        assert child.stdout is not None and child.stderr is not None
        assert child.stdout.readline().startswith("***")
        child.stdout.close()
        assert (child.stderr.read(), child.wait(timeout=100)) == ("", 141)


@pytest.mark.parametrize(("seconds", "said"), [(1e-6, "2.0 times NumPy's bandwidth"), (4e-6, "50.0% of NumPy's bandw")])
def test_more_than_memory_gives_is_a_multiple(monkeypatch, seconds, said):
    monkeypatch.setattr(debug, "machine_limits", lambda: {"gbytes": 1.0, "gflops": 1.0})
    kernel = SimpleNamespace(name="exp_4", flops=8, bytes=2000)
    assert said in debug.kernel_line(kernel, seconds)
