"""Stage: tests of the documentation. In: the code fences of README and of the pages below ``docs/``. Out: every
``python`` and ``sh`` block runs, a page's in order, in a process and a folder of its own; the Python blocks share one
namespace, and those with ``>>>`` print what they show. Comments before a block change that: see ``MARK``.
Next: ``docs/tour.md``."""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [p.relative_to(ROOT).as_posix() for p in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))]

# <!-- not run: why -->                         the block is only shown
# <!-- include … -->                            the same: tools/docs.py fills it
# <!-- edit minigrad/ops.py after "TEXT" -->    the page runs with a copy of the package in which the block stands after
#                                               the first line of that file that contains TEXT
# <!-- edit minigrad/ops.py inside "TEXT" -->   the same, but right behind TEXT in its line
# <!-- file xor.py -->                          the block is written to a file of that name, for later blocks
# <!-- needs: cc -->                            the block runs where there is such a program
# <!-- fails: TEXT -->                          the command ends with an error that says TEXT
MARK = re.compile(r"""<!--\ (?:(?P<skip>not\ run:\ .+|include\ .+) |
                              file\ (?P<written>\S+) | needs:\ (?P<needs>\S+) | fails:\ (?P<fails>.+) |
                              edit\ (?P<file>\S+)\ (?P<how>after|inside)\ "(?P<text>[^\n]+)")\ -->""", re.VERBOSE)
BLOCK = re.compile(r"^(?P<before>(?:<!--[^\n]*-->\n)*)(?P<fence>```+)(?P<language>python|sh|bash)\n"
                   r"(?P<body>.*?)^(?P=fence)$", re.MULTILINE | re.DOTALL)


@dataclass
class Block:
    """One ``python`` or ``sh`` fence. ``line`` is that of its first line of code, ``marks`` what the comments before it
    say."""

    body: str
    line: int
    language: str
    marks: dict[str, str]


def blocks(page: str) -> list[Block]:
    """The fences of a page's text that run, in order."""
    found = []
    for m in BLOCK.finditer(page):
        marks = [MARK.fullmatch(line.strip()) for line in m["before"].splitlines()]
        said = {key: value for mark in marks if mark for key, value in mark.groupdict().items() if value}
        found.append(Block(m["body"], page.count("\n", 0, m.start("body")) + 1, m["language"], said))
    return found


def edited(package: Path, found: list[Block], folder: Path) -> Path:
    """A copy of the package in ``folder`` with the edits of a page."""
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for block in found:
        if "file" in block.marks:
            path = folder / block.marks["file"]
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            text = block.marks["text"]
            at = next((i for i, line in enumerate(lines) if text in line), None)
            assert at is not None, f"line {block.line}: no line of {block.marks['file']} has {text!r}"
            if block.marks["how"] == "after":
                lines.insert(at + 1, block.body)
            else:
                lines[at] = lines[at].replace(text, f"{text}{block.body.strip()} ", 1)
            path.write_text("".join(lines), encoding="utf-8")
    return folder


def run(name: str, text: str) -> int:
    """Run the blocks of a page here; the number of blocks that failed. Says on stdout what went wrong."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    failed = 0
    for block in blocks(text):
        marks = block.marks
        if {"skip", "file"} & set(marks) or ("needs" in marks and not shutil.which(marks["needs"])):
            continue
        if "written" in marks:
            Path(marks["written"]).write_text(block.body, encoding="utf-8")
        elif block.language != "python":
            failed += not commands(f"{name}, line {block.line}", block)
        elif re.search(r"^>>> ", block.body, re.MULTILINE):
            test = doctest.DocTestParser().get_doctest(block.body, namespace, name, name, block.line - 1)
            test.globs = namespace
            failed += bool(doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, clear_globs=False).failed)
        else:
            code = compile("\n" * (block.line - 1) + block.body, name, "exec")
            exec(code, namespace)
    return failed


def commands(where: str, block: Block) -> bool:
    """Run a block of commands; whether it did what the page says. Where not, stdout has what was printed."""
    done = subprocess.run(["bash", "-ec", block.body], capture_output=True, text=True)
    wanted = block.marks.get("fails")
    right = done.returncode == 0 if wanted is None else done.returncode != 0 and wanted in done.stderr
    if not right:
        print(f"{where}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return right


def start(page: Path, import_from: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a page in a process of its own, in ``folder``. The example backend is there as if it were installed."""
    paths = os.pathsep.join([str(import_from), str(ROOT / "examples" / "backend_from_scratch")])
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1", "MINIGRAD_VERIFY": "0",
                   "PATH": programs, "REPOSITORY": str(ROOT)}
    return subprocess.run([sys.executable, __file__, str(page)], capture_output=True, text=True, cwd=folder,
                          env=environment)


@pytest.mark.parametrize("page", [p for p in PAGES if blocks((ROOT / p).read_text(encoding="utf-8"))])
def test_the_blocks_of_a_page_run(page: str, tmp_path: Path) -> None:
    found = blocks((ROOT / page).read_text(encoding="utf-8"))
    import_from = ROOT
    if any("file" in block.marks for block in found):
        import_from = edited(ROOT / "minigrad", found, tmp_path)
    result = start(ROOT / page, import_from, tmp_path)
    missing = re.search(r"^(?:ImportError|ModuleNotFoundError): (.*)$", result.stderr, re.MULTILINE)
    if missing:
        raise ImportError(missing[1])
    assert result.returncode == 0, result.stdout + result.stderr
    if page == "README.md":  # the lines in the loops depend on the machine
        shown = re.search(r"^```c\n(.*)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert shown and shown[1] in result.stdout


@pytest.mark.parametrize(("text", "wrong", "right", "problem"), [
    ("```python\n1 / 0\n```\n", "/ 0", "/ 1", "ZeroDivisionError"),
    ("```python\nx = 1\n```\n\n```python\n>>> x + 1\n3\n```\n", "3", "2", "Got:\n    2"),
    ("<!-- file a.py -->\n```python\n1 / 0\n```\n\n```sh\npython a.py\n```\n", "/ 0", "/ 1", "ZeroDivisionError"),
    ("<!-- needs: bash -->\n<!-- fails: gone -->\n```sh\necho gone >&2\ntrue\n```\n", "true", "false", "line 4"),
])
def test_a_wrong_block_is_found(text: str, wrong: str, right: str, problem: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    result = start(page, ROOT, tmp_path)
    assert result.returncode != 0
    assert problem in result.stdout + result.stderr
    page.write_text(text.replace(wrong, right), encoding="utf-8")
    result = start(page, ROOT, tmp_path)
    assert result.returncode == 0, result.stdout


def test_an_edit_is_made_and_a_missing_place_is_found(tmp_path: Path) -> None:
    package = tmp_path / "thing"
    package.mkdir()
    (package / "rows.py").write_text("rows = [\n    1,\n]\n", encoding="utf-8")
    text = '<!-- edit thing/rows.py after "1," -->\n```python\n    2,\n```\n'
    folder = edited(package, blocks(text), tmp_path / "copy")
    assert (folder / "thing" / "rows.py").read_text(encoding="utf-8") == "rows = [\n    1,\n    2,\n]\n"
    folder = edited(package, blocks(text.replace("after", "inside")), tmp_path / "inside")
    assert (folder / "thing" / "rows.py").read_text(encoding="utf-8") == "rows = [\n    1,2, \n]\n"
    with pytest.raises(AssertionError, match="no line of thing/rows.py has '7,'"):
        edited(package, blocks(text.replace("1,", "7,")), tmp_path / "other")


def test_marks_are_known() -> None:
    """A comment that looks like a mark and is not one would be passed over in silence."""
    for page in PAGES:
        for line in (ROOT / page).read_text(encoding="utf-8").splitlines():
            if re.match(r"<!-- *(not run|edit|file|needs|fails)\b", line):
                assert MARK.fullmatch(line.strip()), f"{page}: {line}"


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], Path(sys.argv[1]).read_text(encoding="utf-8")))
