"""Stage: explaining. In: ``examples/``. Out: each has a page, which is small, and shows kernels for lines of it.
Next: ``test_page.py``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import minigrad
from minigrad import vision

ROOT = Path(__file__).resolve().parents[2]
MOST = 3_000_000
"""Bytes of a page."""

ARGUMENTS: dict[str, list[str]] = {
    "char_gpt": ["--text", "text.txt", "--steps", "4", "--width", "32", "--layers", "2", "--context", "16", "--batch",
                 "8", "--sample", "4"],
    "micrograd": ["--samples", "4", "--batch", "1", "--steps", "2", "--picture", "moons.png"],
    "mlp_digits": [],
    "mnist_cnn": ["--epochs", "1", "--limit", "200", "--batch", "20", "--out", "digits.png"],
    "read_kernels": [],
    "resume": ["--steps", "40", "--batch", "64"],
    "steps": ["--size", "128", "--rounds", "1"],
    "transfer_learning": ["--weights", "resnet18.pth", "--epochs", "1", "--count", "4", "--size", "32", "--batch", "9",
                          "--out", "guesses.png"],
    "xor": [],
}
NEEDS = {"micrograd": ("sklearn", "matplotlib"), "mlp_digits": ("sklearn", "matplotlib"),
         "mnist_cnn": ("sklearn", "matplotlib"), "transfer_learning": ("PIL", "matplotlib")}


def test_all_are_here() -> None:
    assert set(ARGUMENTS) == {path.stem for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_example_has_a_small_page(name: str, tmp_path: Path) -> None:
    for package in NEEDS.get(name, ()):
        pytest.importorskip(package)
    if name == "char_gpt":
        (tmp_path / "text.txt").write_text("to be or not to be, that is the question. " * 40)
    if name == "transfer_learning":
        minigrad.save(vision.models.resnet18().state_dict(), tmp_path / "resnet18.pth")
    program = ROOT / "examples" / f"{name}.py"
    runner = ["-m", "minigrad.torch"] if re.search(r"^(import|from) torch", program.read_text(), re.MULTILINE) else []
    sizes = {}
    for ending, option in ((".html", []), (".json", ["--json"])):
        command = [sys.executable, "-m", "minigrad.explain", "-o", f"page{ending}", *option, *runner, program,
                   *ARGUMENTS[name]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600,
                              env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr
        sizes[ending] = (tmp_path / f"page{ending}").stat().st_size
    data = json.loads((tmp_path / "page.json").read_text())
    shown = {data["files"][line["file"]]["path"] for line in data["lines"]}
    assert 10_000 < sizes[".html"] < MOST and data["kernels"] and any(path.endswith(f"{name}.py") for path in shown)
