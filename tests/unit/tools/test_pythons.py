"""Stage: tests of the supported Pythons. In: the interpreters of this machine that have NumPy and llvmlite. Out: the
quick form of the aliasing tests passes on each of them; pyproject.toml names the versions that are tried.
Next: ``tools/pythons.py``, which installs the others and runs all of those tests."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from tools import pythons

CACHE = user_cache_path("minigrad-pythons")
ALL = [*pythons.VERSIONS, *pythons.FREE_THREADED]
OTHERS = [version for version in ALL if version != pythons.this_version()]


@pytest.mark.slow
@pytest.mark.parametrize("version", OTHERS)
def test_aliasing_on_another_python(version: str, sampled: Callable[[str], None]) -> None:
    python = pythons.usable_python(version, CACHE)
    if python is None:
        why = f"Python {version}: not here with NumPy and llvmlite; python tools/pythons.py --install gets it"
        sampled(why)
        pytest.skip(why)
    line = pythons.Line(version, python)
    pythons.test(line, pythons.QUICK, workers=0)
    assert not line.failed and line.counts["passed"] > 100, line
    sampled(f"Python {version}: {line.counts['passed']} tests of aliasing passed")


def test_pyproject_names_the_versions_that_are_tried() -> None:
    project = tomllib.loads((pythons.ROOT / "pyproject.toml").read_text())["project"]
    named = [text.rpartition(" ")[2] for text in project["classifiers"] if "Python :: 3." in text]
    assert tuple(named) == pythons.VERSIONS
    assert project["requires-python"] == f">={pythons.VERSIONS[0]}"


def test_the_tests_it_runs_exist() -> None:
    assert [name for name in pythons.ALIASING if not (pythons.ROOT / name).exists()] == []
    assert {pythons.name_of(text) for text in pythons.requirements()} == {*pythons.NEEDED, "numpy", "llvmlite",
                                                                          "ml_dtypes", "platformdirs"}
    whole = {pythons.name_of(text) for text in pythons.requirements(whole=True)}
    assert whole > {*map(pythons.name_of, pythons.requirements()), "matplotlib", "pyopencl"} and "minigrad" not in whole


def test_an_interpreter_that_is_not_here_is_skipped_and_one_without_pip_fails(tmp_path: Path) -> None:
    assert pythons.find("3.99", tmp_path) is None and pythons.find("3.99t", tmp_path) is None
    assert not pythons.Line("3.99", why="skipped: not found").failed
    broken = pythons.Line("3.99", tmp_path / "python3.99")
    pythons.prepare(broken, tmp_path)
    assert broken.why.startswith("no virtual environment: ") and broken.failed


@pytest.mark.parametrize(("arguments", "versions"), [([], ALL), (["--others"], OTHERS)])
def test_the_others_are_all_but_this_one(arguments: list[str], versions: list[str],
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    def try_version(version: str, options: object) -> pythons.Line:
        tried.append(version)
        return pythons.Line(version, why="skipped: not found")

    monkeypatch.setattr(pythons, "try_version", try_version)
    monkeypatch.setattr(sys, "argv", ["pythons.py", *arguments])
    with pytest.raises(SystemExit):
        pythons.main()
    assert tried == versions
