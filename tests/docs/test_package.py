"""Stage: tests of what is shipped. In: the project's files. Out: a wheel and an sdist that hold the package, all of it
and nothing else, and work in an empty environment.
Next: ``test_tour.py``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import minigrad

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEPENDENCIES = {re.split(r"[<>=]", text)[0] for text in PROJECT["dependencies"]}


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints, outside the project and without its settings."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "MINIGRAD_"))}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def in_package(names: list[str]) -> set[str]:
    return {name for name in names if name.startswith("minigrad/") and not name.endswith("/")}


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist, made from a copy of the files that belong to the project."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("minigrad", "pyproject.toml", "README.md", "LICENSE"):
        run("cp", "-r", ROOT / name, source, cwd=source)
    run(sys.executable, "-m", "venv", made / "venv", cwd=made)
    python = made / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "build", cwd=made)
    run(python, "-m", "build", "--outdir", made, source, cwd=made)  # the wheel is made from the sdist
    return made


def test_every_file_says_the_same_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {PROJECT['version']}\n" in citation and minigrad.__version__ == PROJECT["version"]


def test_hooks_before_a_commit_check_what_ci_checks() -> None:
    hooks = re.findall(r"entry: (.*)", (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    steps = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert len(hooks) == 3 and not set(hooks) - set(steps)


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(shipped: Path) -> None:
    (wheel,) = shipped.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    files = [path for kind in ("*.py", "*.pyi", "*.ll", "py.typed", "page.*")
             for path in (ROOT / "minigrad").rglob(kind) if path.parent.name != "__pycache__"]
    assert in_package(names) == {str(path.relative_to(ROOT)) for path in files}
    assert {name.partition("/")[0] for name in names} == {"minigrad", f"minigrad-{PROJECT['version']}.dist-info"}
    assert wheel.name == f"minigrad-{PROJECT['version']}-py3-none-any.whl" and wheel.stat().st_size < 4 << 20


@pytest.mark.slow
def test_the_sdist_holds_what_the_wheel_is_made_of(shipped: Path) -> None:
    (sdist,) = shipped.glob("*.tar.gz")
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "minigrad/py.typed", "minigrad/runtime/pool.ll"} <= names


@pytest.mark.slow
def test_the_wheel_works_with_its_own_dependencies_only(shipped: Path, tmp_path: Path) -> None:
    (wheel,) = shipped.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", wheel, cwd=tmp_path)
    frozen = run(python, "-m", "pip", "freeze", cwd=tmp_path).splitlines()
    installed = {re.split("==| @ ", line)[0].replace("-", "_") for line in frozen}
    assert installed == DEPENDENCIES | {"minigrad"}
    program = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert program is not None
    answers = run(python, "-c", program[1], cwd=tmp_path)
    assert "void linear_relu" in answers and answers.count("[") >= 4
    assert run(python, "-m", "minigrad", "doctor", cwd=tmp_path).endswith("All is well.\n")
