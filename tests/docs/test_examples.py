"""Stage: tests of the documentation. In: ``examples/micrograd.py``. Out: it runs a few steps, prints what it says and
writes its pictures.
Next: ``test_tour.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_micrograd(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    pytest.importorskip("fast_sugiyama")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "micrograd.py", "--samples", "8", "--batch", "1", "--steps", "2",
         "--picture", "moons.png", "--draw", "neuron.svg"], cwd=tmp_path, capture_output=True, text=True, timeout=240,
        env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    first, *steps, graph, picture = done.stdout.splitlines()
    assert first == "a network 2-16-16-1 of 337 numbers, 8 points"
    assert [step.split(":")[0] for step in steps] == ["step 0", "step 1"]
    assert all("loss " in step and "accuracy " in step for step in steps)
    assert (graph, picture) == ("graph of one neuron: neuron.svg", "decision boundary: moons.png")
    assert (tmp_path / "moons.png").read_bytes()[:4] == b"\x89PNG"
    texts = [text.text for text in ElementTree.parse(tmp_path / "neuron.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"w0", "w1", "bias", "x", "y", "output", "×", "+", "relu"} <= set(texts)
