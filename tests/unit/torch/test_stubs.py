"""Stage: tests. In: a user's program. Out: mypy and pyright know minigrad's functions, methods and classes in it, and
find wrong arguments; ``help`` shows the signatures.
Next: ``tests/unit/torch/test_runner.py``."""

from __future__ import annotations

import inspect
import json
import pydoc
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minigrad

ROOT = Path(__file__).resolve().parents[3]

PROGRAM = """
from typing import Any
import minigrad
from minigrad import Tensor, nn


def loss(x: Tensor, dtype: minigrad.dtype = minigrad.float32) -> Tensor:
    y = minigrad.add(x, 1, alpha=2).view(2, 3).permute(1, 0).sum(dim=0, keepdim=True)
    reveal_type(minigrad.zeros(2, 3, dtype=dtype))
    reveal_type(y.shape)
    reveal_type(minigrad.cat([x, y], 1))
    reveal_type(minigrad.tensor([1.0]))
    reveal_type((x + 1).relu()[0])
    reveal_type(minigrad.linalg.inv(x))
    reveal_type(halved(x))
    layer = nn.Linear(2, 3)
    return y + layer.weight.mean()


@minigrad.no_grad()
def halved(x: Tensor) -> Tensor:
    return x / 2


class Square(minigrad.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * grad


minigrad.add(minigrad.ones(1), 1, beta=2)
minigrad.ones(1).sum(dims=0)
minigrad.ones(1).no_such_method()
"""


CHECKED = ("dtype", "tensor", "autograd", "nn", "linalg")
"""Of the package; mypy reads nothing else, which would take ten seconds more."""


def test_mypy_checks_a_program(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(PROGRAM)
    others = sorted({f.relative_to(ROOT).with_suffix("").parts[1] for f in (ROOT / "minigrad").glob("*/*.py")}.union(
        f.stem for f in (ROOT / "minigrad").glob("*.py")) - {"__init__", *CHECKED})
    skipped = ",".join(f"minigrad.{name}{rest}" for name in others for rest in ("", ".*"))
    (tmp_path / "mypy.ini").write_text(f"[mypy]\nfollow_imports = silent\n[mypy-{skipped}]\nfollow_imports = skip\n")
    run = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), "--config-file=mypy.ini",
                          "program.py"], cwd=tmp_path, capture_output=True, text=True,
                         env={"MYPYPATH": str(ROOT), "PATH": ""})
    lines = [line.partition(": ")[2] for line in run.stdout.splitlines()]
    revealed = [line.partition('"')[2].rstrip('"').rpartition(".")[2] for line in lines if "Revealed" in line]
    assert revealed == ["Tensor", "Size", *["Tensor"] * 5], run.stdout
    errors = [line for line in lines if line.startswith("error")]
    assert len(errors) == 3 and 'argument "beta" for "add"' in errors[0], run.stdout
    assert 'argument "dims" for "sum"' in errors[1] and "no_such_method" in errors[2]


def test_pyright_checks_a_program(tmp_path: Path) -> None:
    pyright = shutil.which("pyright")
    if pyright is None:
        pytest.skip("pyright is not installed")
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    run = subprocess.run([pyright, "--outputjson", "--pythonpath", sys.executable], cwd=tmp_path, capture_output=True,
                         text=True)
    found = json.loads(run.stdout)["generalDiagnostics"]
    revealed = [d["message"].rpartition(" is ")[2].strip('"') for d in found if d["severity"] == "information"]
    assert revealed == ["Tensor", "Size", *["Tensor"] * 5], run.stdout
    errors = [d["message"] for d in found if d["severity"] == "error"]
    assert len(errors) == 3 and "beta" in errors[0] and "dims" in errors[1] and "no_such_method" in errors[2]


def test_help_reads_as_in_pytorch() -> None:
    assert str(inspect.signature(minigrad.sub)).startswith("(input: 'Tensor', other: 'Any', *, alpha: 'Any' = 1, out")
    text = pydoc.render_doc(minigrad.cumsum, renderer=pydoc.plaintext)
    for there in (" ", "\n", "'"):  # of which Python 3.13 and 3.14 have more, or fewer
        text = text.replace(there, "")
    assert "cumsum(input:Tensor,dim:int,*,dtype:DType|None=None,out:Any=None)" in text.replace(",)", ")")
    assert "self" not in str(inspect.signature(minigrad.max))


def test_the_marker_of_typed_packages_is_there() -> None:
    package = Path(minigrad.__file__).parent
    assert (package / "py.typed").exists() and (package / "__init__.pyi").exists()
