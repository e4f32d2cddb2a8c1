"""Stage: tests of the documentation. In: ``mkdocs.yml``, ``tools/site.py`` and ``tools/reference.py``. Out: every page
is in the navigation, every link that leads out of ``docs/`` has a page on the site, and the reference has the public
names. ``.ci/run`` builds the site itself. Next: ``tools/site.py``."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

import minigrad
from minigrad import nn
from tools import reference, site

ROOT = Path(__file__).resolve().parents[2]
PAGES = [p.relative_to(ROOT).as_posix() for p in sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("tool", [site, reference], ids=["site", "reference"])
def test_doctests(tool) -> None:
    result = doctest.testmod(tool)
    assert result.attempted and not result.failed


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = re.findall(r"^ *- (?:[^:\n]+: )?(\S+\.md)$", navigation, re.MULTILINE)
    made = [f"reference/{name}.md" for name in ("tensor", *reference.MODULES)]
    assert sorted(named) == sorted([page.removeprefix("docs/") for page in PAGES] + made)


def test_what_pages_lead_to_is_on_the_site() -> None:
    made = site.sources(PAGES)
    assert "minigrad/kernel/ir.py" in made["source/minigrad/kernel/ir.py.md"]
    for path, text in made.items():
        assert "search:\n  exclude: true" in text, path
    leads: list[str] = []
    for page in PAGES:
        site.linked((ROOT / page).read_text(encoding="utf-8"), page, leads.append)
    missing = [path for path in leads if not path.startswith("docs/") and site.address(path) not in made]
    assert leads and missing == []


def test_a_link_in_code_stays_as_it_is() -> None:
    text = "```c\n[a](../minigrad/ops.py)\n```\n[a](../minigrad/ops.py)\n"
    assert site.linked(text, "docs/x.md", lambda path: None) == (
        "```c\n[a](../minigrad/ops.py)\n```\n[a](source/minigrad/ops.py.md)\n")


def test_the_reference_has_the_public_names() -> None:
    pages = reference.pages()
    named = {path: re.findall(r"^### `([\w.]+)`$", page, re.MULTILINE) for path, page in pages.items()}
    classes = [n for n in nn.__all__ if isinstance(getattr(nn, n), type)]
    assert [n for n in classes if n not in named["reference/minigrad.nn.md"]] == []
    assert {"Tensor.exp", "Tensor.shape"} <= {*named["reference/tensor.md"]}
    for module, name in (("minigrad", "zeros"), ("minigrad.optim", "Adam"), ("minigrad.fft", "fft")):
        assert name in named[f"reference/{module}.md"]
    whole = pages["reference/minigrad.md"]
    assert [n for n in minigrad.__all__ if not n.startswith("_") and n not in whole] == ["return_types"]  # a module
    assert "exp(…)" not in pages["reference/tensor.md"] and "```pycon\n>>> import minigrad" in whole
