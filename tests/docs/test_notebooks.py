"""Stage: tests of the documentation. In: ``docs/notebooks/``, which ``tools/docs.py`` makes of pages. Out: they have no
outputs, and every cell runs in Jupyter's kernel. Next: ``tools/notebooks.py``."""

from __future__ import annotations

import doctest
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import notebooks

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import sys, nbformat
from nbclient import NotebookClient
NotebookClient(nbformat.read(sys.argv[1], as_version=4), timeout=120).execute()
"""


def test_doctests() -> None:
    result = doctest.testmod(notebooks)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("path", notebooks.NOTEBOOKS)
def test_a_notebook_has_cells_and_no_outputs(path: str) -> None:
    cells = json.loads((ROOT / path).read_text(encoding="utf-8"))["cells"]
    programs = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(programs) > 10 and all(cell["outputs"] == [] for cell in programs)
    assert [cell for cell in cells if "<!--" in "".join(cell["source"])] == []


def test_what_fails_is_allowed_to() -> None:
    page = "<!-- fails: ZeroDivisionError -->\n```sh\npython -c 1/0\n```\n\n<!-- not run: no -->\n```sh\nrm\n```\n"
    assert notebooks.cells(page) == [("code", "%%bash --no-raise-error\npython -c 1/0"), ("markdown", "```sh\nrm\n```")]


@pytest.mark.slow
@pytest.mark.parametrize("path", notebooks.NOTEBOOKS)
def test_a_notebook_runs(path: str, tmp_path: Path) -> None:
    if any(importlib.util.find_spec(name) is None for name in ("nbclient", "ipykernel")):
        pytest.skip("nbclient or ipykernel is not installed")
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": programs, "REPOSITORY": str(ROOT),
                   "MINIGRAD_VERIFY": "0"}
    done = subprocess.run([sys.executable, "-c", RUN, ROOT / path], cwd=tmp_path, env=environment, capture_output=True,
                          text=True, timeout=600)
    assert done.returncode == 0, done.stderr
