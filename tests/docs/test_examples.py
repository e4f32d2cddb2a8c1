"""Stage: tests of the documentation. In: ``examples/``. Out: they run a few steps, print what they say and write their
pictures; the PyTorch programs among them by the runner.
Next: ``test_package.py``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import minigrad
from minigrad import vision

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "MINIGRAD_VERIFY": "0"}
"""As a user runs them."""


def test_micrograd(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    pytest.importorskip("fast_sugiyama")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "micrograd.py", "--samples", "8", "--batch", "1", "--steps", "2",
         "--picture", "moons.png", "--draw", "neuron.svg"], cwd=tmp_path, capture_output=True, text=True, timeout=240,
        env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    first, *steps, graph, picture = done.stdout.splitlines()
    assert first == "a network 2-16-16-1 of 337 numbers, 8 points"
    assert [step.split(":")[0] for step in steps] == ["step 0", "step 1"]
    assert all("loss " in step and "accuracy " in step for step in steps)
    assert (graph, picture) == ("graph of one neuron: neuron.svg", "decision boundary: moons.png")
    assert (tmp_path / "moons.png").read_bytes()[:4] == b"\x89PNG"
    texts = [text.text for text in ElementTree.parse(tmp_path / "neuron.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"w0", "w1", "bias", "x", "y", "output", "×", "+", "relu"} <= set(texts)


def run(folder: Path, name: str, *arguments: str) -> list[str]:
    """The lines that a PyTorch program of ``examples/`` prints when the runner runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "minigrad.torch", ROOT / "examples" / name, *arguments], cwd=folder, capture_output=True,
        text=True, timeout=240, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_mnist_cnn(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    lines = run(tmp_path, "mnist_cnn.py", "--epochs", "2", "--limit", "200", "--batch", "20", "--out", "digits.png")
    assert lines[0] == "Network(" and lines[-4] == "13,754 parameters, 160 digits to learn, 40 to test"
    losses = [float(line.split()[3]) for line in lines[-3:-1]]
    assert lines[-1] == "predictions: digits.png" and losses[1] < losses[0] < 3
    assert (tmp_path / "digits.png").read_bytes()[:4] == b"\x89PNG"


def test_char_gpt(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("to be or not to be, that is the question. " * 40)
    lines = run(tmp_path, "char_gpt.py", "--text", "text.txt", "--steps", "51", "--width", "32", "--layers", "1",
                "--context", "16", "--batch", "8", "--lr", "0.01", "--sample", "20")
    assert lines[0] == "1,680 characters, 15 different ones, 13,760 parameters"
    assert [line.split()[:2] for line in lines[1:3]] == [["step", "0"], ["step", "50"]]
    first, last = (float(line.split()[3]) for line in lines[1:3])
    assert last < 0.75 * first and lines[3] == "-" * 40 and len(lines[4]) > 15


@pytest.mark.slow
def test_transfer_learning(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    pytest.importorskip("matplotlib")
    minigrad.manual_seed(1)
    minigrad.save(vision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    lines = run(tmp_path, "transfer_learning.py", "--weights", "resnet18.pth", "--epochs", "1", "--count", "4",
                "--size", "32", "--batch", "9", "--out", "guesses.png")
    assert lines[:2] == ["weights: resnet18.pth, <All keys matched successfully>",
                         "2,563 of 11,179,075 parameters are trained, for 3 classes: bars, checks, stripes"]
    assert lines[2].startswith("epoch 1  loss ") and lines[3:] == [
        "guesses: guesses.png", "120 frozen tensors are what they were"]
    assert (tmp_path / "guesses.png").read_bytes()[:4] == b"\x89PNG"


def test_resume(tmp_path: Path) -> None:
    lines = run(tmp_path, "resume.py", "--steps", "40", "--batch", "64")
    assert [line for line in lines if not line.startswith("step")] == [
        "straight:", "stopped in the middle:", "ends itself after step 23", "and again:", "goes on after step 20",
        "the same bits: 4,740 numbers"]
    steps = [line for line in lines if line.startswith("step")]
    assert steps[:2] == steps[2:] and steps[0].startswith("step  20  loss ")


def test_steps() -> None:
    done = subprocess.run([sys.executable, ROOT / "examples" / "steps.py", "--size", "128", "--rounds", "1"],
                          capture_output=True, text=True, timeout=240, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    *lines, chosen = done.stdout.splitlines()
    assert all("GFLOP/s" in line for line in lines) and chosen.endswith("what minigrad chooses")
    assert lines[0].split()[2:4] == ["plain", "loops"] and "parallel(x0, 32)" in lines[-1]
    assert all(float(line.partition("off by ")[2].rstrip(")")) < 1e-3 for line in lines)


def test_every_example_has_a_page_with_a_picture() -> None:
    pages = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "examples").glob("*.md")}
    examples = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert set(pages) == {*examples, "index"}
    for name in examples:
        assert f"(../../examples/{name}.py)" in pages[name] and re.search(r"!\[[^\]]+\]\(\S+\.(png|svg)\)", pages[name])
    pictures = [*(ROOT / "docs" / "examples").glob("*.png"), *(ROOT / "docs" / "examples").glob("*.svg")]
    assert [p.name for p in pictures if p.stat().st_size > 60_000] == []
