"""Stage: tests of other people's backends. In: ``examples/backend_from_scratch``. Out: installed as its tutorial says,
it is listed, trains and passes conformance; the tutorial's figures are right. Next: ``test_broken.py``."""

from __future__ import annotations

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import ModuleType

import pytest

from minigrad.conformance.__main__ import main
from minigrad.runtime import device
from minigrad.runtime.device import Device
from minigrad.target import Target

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "backend_from_scratch"
MODULE = EXAMPLE / "minigrad_openmp.py"
TUTORIAL = (EXAMPLE / "README.md").read_text(encoding="utf-8")
TREE = ast.parse(MODULE.read_text(encoding="utf-8"))
SAMPLE = ("^(training/xor-SGD|elementwise/(ADD|FLOORDIV|MAXIMUM|CAST|EXP)|reduce/(SUM|MAX)|scan/SUM|gather/|scatter/|"
          "movement/(WINDOW|PAD)|contraction/(matmul|conv)|program/(softmax|attention|opt)|gradient/(softmax|linear))")

IMPORTS = re.findall(r"^\| `(minigrad[\w.]+)` \| (.*) \|$", TUTORIAL, re.MULTILINE)

XOR = """
import minigrad
found = next(d for d in minigrad.devices() if d.name == "OPENMP")
print(found, minigrad.get_default_device())
minigrad.manual_seed(0)
inputs = minigrad.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
targets = minigrad.tensor([[0.0], [1.0], [1.0], [0.0]])
model = minigrad.nn.Sequential(minigrad.nn.Linear(2, 8), minigrad.nn.Tanh(), minigrad.nn.Linear(8, 1))
optimizer = minigrad.optim.Adam(model.parameters(), lr=0.05)
for _ in range(150):
    optimizer.zero_grad()
    loss = minigrad.nn.MSELoss()(model(inputs), targets)
    loss.backward()
    optimizer.step()
print(loss.device, [round(x) for x in model(inputs).reshape(4).tolist()])
"""


@pytest.fixture(scope="module")
def installed(openmp: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the package is installed, as users do but offline."""
    folder = tmp_path_factory.mktemp("installed")
    copy = shutil.copytree(EXAMPLE, folder / "source")  # building leaves things beside the source
    done = subprocess.run([sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--no-build-isolation",
                           "--target", str(folder / "site"), str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def python(site: Path, *arguments: str, **environment: str) -> str:
    """What Python prints that has minigrad and what is installed in ``site``."""
    paths = os.pathsep.join([str(ROOT), str(site)])
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=site, check=False,
                          env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", **environment})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_found_by_its_entry_point_and_trains(installed: Path) -> None:
    listed, said = python(installed, "-c", XOR, DEVICE="OPENMP").splitlines()
    assert listed == "OPENMP  from minigrad_openmp (available) openmp"
    assert said == "openmp [0, 1, 1, 0]"


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_it_passes_conformance(installed: Path, count: int, seed: int, sampled: Callable[[str], None]) -> None:
    printed = python(installed, "-m", "minigrad.conformance", "OPENMP", "--sample", str(count), "--seed", str(seed),
                     "--only", SAMPLE)
    total = re.search(r"^total +(\d+) +0 +0$", printed, re.MULTILINE)
    assert total and int(total[1]) >= {1: 25, 2: 40}[count], printed
    sampled(f"conformance OPENMP (examples/backend_from_scratch): {total[1]} cases, {count} of each op, seed {seed}")


def lines_of(node: ast.stmt) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


def test_the_line_counts_are_as_stated() -> None:
    renderer, runtime = (node for node in TREE.body if isinstance(node, ast.ClassDef))
    stated = {name: int(count) for name, count in re.findall(r"^\| `(\w+)` \| (\d+) \|", TUTORIAL, re.MULTILINE)}
    whole = len(MODULE.read_text(encoding="utf-8").splitlines())
    assert stated == {renderer.name: lines_of(renderer), runtime.name: whole - (renderer.end_lineno or 0) - 2}
    assert stated[renderer.name] <= 80 and stated[runtime.name] <= 120


def test_only_documented_names_are_used() -> None:
    documented = {module: re.findall(r"`(\w+)`", names) for module, names in IMPORTS}
    imported = [(n.module, a.name) for n in ast.walk(TREE) if isinstance(n, ast.ImportFrom) for a in n.names]
    ours = [(module, name) for module, name in imported if module.startswith("minigrad")]
    assert ours and [f"{module}.{name}" for module, name in ours if name not in documented.get(module, ())] == []
    private = [n.attr for n in ast.walk(TREE) if isinstance(n, ast.Attribute) and re.match("_(?!_)", n.attr)]
    assert set(private) <= {"_SimpleCData"}  # ctypes gives its numbers' type no other name


def test_everything_in_the_documented_modules_exists() -> None:
    assert len(IMPORTS) > 5
    for module, names in IMPORTS:
        made = importlib.import_module(module)
        fields_of_dtypes = ("name", "size", "numpy", "is_float")
        assert [n for n in re.findall(r"`(\w+)`", names) if not hasattr(made, n) and n not in fields_of_dtypes] == []


def test_the_tables_are_complete() -> None:
    """Every public method of a device, every word of a renderer, every field of a target has its row."""
    from minigrad.render.cstyle import CStyleRenderer
    from minigrad.render.cstyle_ops import Language

    methods = [name for name, value in vars(Device).items() if name[0] != "_" and (callable(value)
                                                                                   or isinstance(value, classmethod))]
    assert [name for name in methods if f"| `{name}(" not in TUTORIAL] == []
    words = [name for kind in (Language, CStyleRenderer) for name, value in vars(kind).items()
             if name[0] != "_" and not callable(value)]
    assert len(words) > 15 and [name for name in words if f"`{name}`" not in TUTORIAL] == []
    assert [field.name for field in fields(Target) if f"`{field.name}`" not in TUTORIAL] == []
    assert [name for name in re.findall(r"`(\w+)\(", TUTORIAL[TUTORIAL.index("What each"):TUTORIAL.index("Besides")])
            if not hasattr(Device, name)] == []


def test_the_failure_that_the_tutorial_shows_is_what_is_printed(openmp: ModuleType, capsys: pytest.CaptureFixture[str],
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    shown = TUTORIAL[TUTORIAL.index("FAILED elementwise/"):]
    lines = [line.strip() for line in shown[:shown.index("\n```")].splitlines() if line.strip() not in ("", "...")]
    assert len(lines) > 8 and '`types = {**CStyleRenderer.types, "uint8": "int8_t"}`' in TUTORIAL
    monkeypatch.setattr(openmp.OpenMPRenderer, "types", {**openmp.OpenMPRenderer.types, "uint8": "int8_t"})
    monkeypatch.setattr(device, "_registry", dict(device._registry))
    device.register_device("OPENMP", openmp.OpenMPDevice)
    name = lines[0].split()[1].rstrip(":")
    assert main(["OPENMP", "--only", f"^{name}$"]) == 1
    printed = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if line not in printed] == []
