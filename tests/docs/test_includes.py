"""Stage: tests of the documentation. In: ``tools/docs.py``'s include lines. Out: they are filled from files, and what
can't be filled is an error. Next: ``tools/docs.py``."""

from __future__ import annotations

import doctest
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = "before\n<!-- include notes/a.txt -->\n```text\nold\n```\nafter\n"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("docs_tool_for_includes", ROOT / "tools" / "docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("one\ntwo\nthree\nfour\n", encoding="utf-8")
    return tmp_path


def test_a_fence_is_filled(tool, folder: Path) -> None:
    new = tool.filled(PAGE, folder)
    assert new == PAGE.replace("old", "one\ntwo\nthree\nfour")
    assert tool.filled(new, folder) == new


def test_an_excerpt_is_filled(tool, folder: Path) -> None:
    page = PAGE.replace("a.txt", 'a.txt from "tw" to "ee"')
    assert tool.filled(page, folder) == page.replace("old", "two\nthree")


@pytest.mark.parametrize(("page", "problem"), [
    (PAGE.replace("a.txt", "gone.txt"), "no such file"),
    (PAGE.replace("a.txt", 'a.txt from "seven" to "ee"'), "no line contains 'seven'"),
    (PAGE.replace("a.txt", 'a.txt from "three" to "two"'), "no line after 'three' contains 'two'"),
    (PAGE.replace("```text\n", "\n```text\n"), "not of the form"),
    (PAGE.replace("include notes/a.txt", "include notes/a.txt from here"), "not of the form"),
])
def test_what_cannot_be_filled_is_an_error(tool, folder: Path, page: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        tool.filled(page, folder)


def test_check_finds_an_outdated_include(tool, folder: Path) -> None:
    page = folder / "docs" / "page.md"
    page.write_text(tool.filled(PAGE, folder), encoding="utf-8")
    for name, make in tool.PAGES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(make(), encoding="utf-8")
    assert tool.differences(folder) == ""
    (folder / "notes" / "a.txt").write_text("one\n2\n", encoding="utf-8")
    assert "+2" in tool.differences(folder).splitlines()


def test_the_doctests_of_the_tool(tool) -> None:
    result = doctest.testmod(tool)
    assert result.attempted and not result.failed
