"""Stage: tests beside PyTorch. In: the PyTorch programs in ``examples/``, but ``resume.py``, which compares with
itself. Out: with one seed they print the same, run by PyTorch and by the runner, in every digit.
Next: ``test_vision_against_torch.py``."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import minigrad
from minigrad import vision

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = {
    "mnist_cnn.py": ["--epochs", "2", "--limit", "100"],
    "char_gpt.py": ["--steps", "4", "--width", "32", "--layers", "2", "--dropout", "0.1", "--sample", "30"],
    "transfer_learning.py": ["--weights", "resnet18.pth", "--epochs", "2", "--count", "8", "--size", "32"],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_lines(name: str, tmp_path: Path) -> None:
    if name == "transfer_learning.py":
        if importlib.util.find_spec("torchvision") is None:
            pytest.skip("no torchvision")
        minigrad.manual_seed(3)
        state = vision.models.resnet18().state_dict()
        torch.save({key: torch.from_numpy(value.numpy()) for key, value in state.items()}, tmp_path / "resnet18.pth")
    printed = []
    for runner in ((), ("-m", "minigrad.torch")):
        done = subprocess.run([sys.executable, "-W", "ignore", *runner, ROOT / "examples" / name, *PROGRAMS[name]],
                              cwd=tmp_path, capture_output=True, text=True, timeout=300, env={
                                  **os.environ, "MINIGRAD_TORCH_RNG": "1",
                                  "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])})
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout.splitlines())
    assert printed[0] == printed[1]
    assert any("loss" in line for line in printed[0])
