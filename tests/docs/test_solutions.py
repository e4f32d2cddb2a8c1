"""Stage: tests of the documentation. In: the chapters of ``docs/compiler/``, and ``docs/solutions/``. Out: every
chapter names its solution, and every solution does what it says; the renderer passes conformance for some ops.
Next: ``docs/compiler/index.md``."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

import minigrad
from minigrad.conformance.__main__ import main as conformance
from minigrad.runtime import device

ROOT = Path(__file__).resolve().parents[2]
SOLUTIONS = sorted((ROOT / "docs" / "solutions").glob("*.py"))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"solution_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _no_device_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device that a solution registers is gone with the test."""
    for registry in ("_registry", "_devices", "_names"):
        monkeypatch.setattr(device, registry, dict(getattr(device, registry)))


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_a_solution_does_what_it_says(path: Path) -> None:
    if path.stem == "running" and not shutil.which("cc"):
        pytest.skip("no C compiler")
    load(path).main()


def test_every_chapter_has_a_solution() -> None:
    chapters = [p for p in sorted((ROOT / "docs" / "compiler").glob("*.md")) if p.stem != "index"]
    named = [name for p in chapters for name in re.findall(r"\.\./solutions/(\w+)\.py", p.read_text(encoding="utf-8"))]
    assert len(chapters) == 8 and sorted(named) == [p.stem for p in SOLUTIONS]


def test_the_renderer_passes_conformance_for_some_ops(capsys: pytest.CaptureFixture[str]) -> None:
    renderer = load(ROOT / "docs" / "solutions" / "renderer.py")
    minigrad.register_device("PYTHON", renderer.PythonDevice, "Python functions")
    cases = "(ADD|MAXIMUM|MOD|WHERE|EXP)-5x3-.*/(float32|float16|int8)|PAD-wide/float32|scatter/add.*/float32"
    assert conformance(["PYTHON", "--only", cases]) == 0
    assert int(re.findall(r"^total +(\d+)", capsys.readouterr().out, re.MULTILINE)[0]) >= 20
