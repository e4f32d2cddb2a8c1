"""Stage: tests of the documentation. In: README, ``docs/``, ``.ci/run``, ``pyproject.toml``. Out: generated pages
are up to date, the two commands of README exist and CI runs the second, local links lead somewhere.
Next: ``tools/docs.py``, which writes the generated pages."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE_COMMAND = "pip install -e '.[examples]' && python examples/mlp_digits.py"
TEST_COMMAND = "pip install -e '.[test]' && pytest"
LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*$", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def load_tool():
    spec = importlib.util.spec_from_file_location("docs_tool", ROOT / "tools" / "docs.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(tool)
    sys.path[:] = path
    return tool


def anchors(page: Path) -> set[str]:
    """The anchors GitHub gives a page's headings."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(text))
    return {title.replace(" ", "-") for title in titles}


def broken_links(page: Path) -> list[str]:
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    return broken


def test_generated_pages_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "tools" / "docs.py"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_check_finds_an_outdated_page(tmp_path: Path) -> None:
    tool = load_tool()
    for name, page in tool.PAGES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(page(), encoding="utf-8")
    assert tool.differences(tmp_path) == ""
    page = tmp_path / "docs" / "environment.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("`MINIGRAD_DEBUG` | `0` |", "`MINIGRAD_DEBUG` | `7` |"), encoding="utf-8")
    assert "`MINIGRAD_DEBUG` | `7` |" in tool.differences(tmp_path)


def test_every_setting_and_op_is_on_its_page() -> None:
    from minigrad.config import SETTINGS
    from minigrad.ops import Op

    environment = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    operations = (ROOT / "docs" / "ops.md").read_text(encoding="utf-8")
    assert [name for name in SETTINGS if f"`MINIGRAD_{name}` |" not in environment] == []
    assert [name for name in vars(Op) if name.isupper() and f"`{name}`" not in operations] == []


def test_the_page_of_pytorchs_names_follows_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    tool = load_tool()
    compared = tool.compared
    assert compared.unused(compared.documented(compared.NAMES.read_text(encoding="utf-8")).values()) == []
    assert compared.state("torch.nn.Linear") == ("works", "")
    assert compared.state("torch.nn.SyncBatchNorm")[0] == "differs"
    assert compared.state("torch.quantize_per_tensor") == ("missing", compared.MISSING["torch.quantize_per_tensor"])
    assert [name for name in compared.DIFFERS if not compared.is_there(name)] == []
    row = "| `hypot` | works |  |"
    assert row in tool.pytorch()
    find = compared.names.find
    monkeypatch.setattr(compared.names, "find", lambda name: compared.names.MISSING if name == "hypot" else find(name))
    assert row not in tool.pytorch()


@pytest.mark.parametrize("command", [EXAMPLE_COMMAND, TEST_COMMAND])
def test_readme_has_the_commands(command: str) -> None:
    assert command in (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_readmes_test_command() -> None:
    script = ROOT / ".ci" / "run"
    text = script.read_text(encoding="utf-8")
    assert script.stat().st_mode & 0o111, ".ci/run is not executable"
    for command in (TEST_COMMAND, "ruff check", "mypy minigrad", "tools/docs.py --check",
                    "mkdocs build --quiet --strict", "tools/pythons.py --install", "pytest tests/torch",
                    "set -euo pipefail"):
        assert command in text, command
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True).returncode == 0


def test_what_the_commands_name_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    assert {"opencl", "cuda", "examples", "test", "all"} <= set(extras)
    for command in (EXAMPLE_COMMAND, TEST_COMMAND):
        for extra in re.findall(r"\.\[(\w+)\]", command):
            assert extra in extras
        for script in re.findall(r"python (\S+\.py)", command):
            assert (ROOT / script).exists(), script


def test_pytest_runs_the_doctests() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert "--doctest-modules" in options["addopts"]
    assert {"tests", "minigrad"} <= set(options["testpaths"])


@pytest.mark.slow
@pytest.mark.parametrize("doctests", ["minigrad/config.py", "minigrad/nn/modules/flatten.py"])
def test_doctests_import_no_module_twice(doctests: str, tmp_path: Path) -> None:
    (tmp_path / "test_later.py").write_text(
        "import minigrad\n"
        "from minigrad.nn.modules import flatten\n\n"
        "def test_later():\n"
        "    with minigrad.config(DEBUG=0):\n"
        "        assert minigrad.tensor(1.0).item() == 1.0\n"
        "    assert minigrad.nn.Flatten is flatten.Flatten\n")
    command = [sys.executable, "-m", "pytest", "-n", "0", "-c", "pyproject.toml", doctests, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
def test_what_an_extra_is_missing_for_is_skipped(tmp_path: Path) -> None:
    raising = """raise ImportError(f"needs {package}: pip install 'minigrad[{package}]'")"""
    (tmp_path / "test_missing.py").write_text(
        f"def test_missing():\n    package = 'x'\n    {raising}\n\n\n"
        f"def example():\n    r'''\n    >>> package = 'y'\n    >>> {raising}\n    '''\n\n\n"
        "def test_other():\n    raise ImportError('z')\n")
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "conftest", "-rs", "-c", "pyproject.toml",
               str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert "needs x:" in result.stdout and "needs y:" in result.stdout, result.stdout + result.stderr
    assert result.stdout.rstrip().splitlines()[-1].startswith("1 failed, 2 skipped in")


def test_the_package_says_its_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    initial = (ROOT / "minigrad" / "__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{project["version"]}"' in initial


@pytest.mark.parametrize("page", [p.relative_to(ROOT).as_posix() for p in (
    *sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")))])
def test_local_links_lead_somewhere(page: str) -> None:
    assert broken_links(ROOT / page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title, here\n[a](#a-title-here) [b](page.md#a-title-here) [c](https://x.org/y)\n"
                    "[d](gone.md) [e](#gone) ![f](gone.png)\n```\n[g](code.md)\n```\n", encoding="utf-8")
    assert broken_links(page) == ["gone.md", "#gone", "gone.png"]
