"""Stage: documentation. In: pages of ``docs/``. Out: the same as Jupyter notebooks, without outputs: programs and
commands become cells, what is only shown stays text. ``tools/docs.py`` writes them, a slow test runs them.
Next: ``docs/notebooks/``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = ("index", "graph", "rules", "fusion", "loops", "text", "running", "gradients", "replay")
FENCE = re.compile(r"^(?P<before>(?:<!--[^\n]*-->\n)*)(?P<fence>```+)(?P<language>\w*)\n(?P<body>.*?)^(?P=fence)\n",
                   re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"^<!--[^\n]*-->\n", re.MULTILINE)


def cells(page: str) -> list[tuple[str, str]]:
    """The cells of a page: ``markdown`` or ``code``, and their text. What the comments before a block mean stands in
    ``tests/docs/test_snippets.py``.

    >>> cells("# A\\n\\n<!-- file a.py -->\\n```python\\nx = 1\\n```\\n\\n```sh\\npython a.py\\n```\\n")
    [('markdown', '# A'), ('code', '%%writefile a.py\\nx = 1'), ('code', '%%bash\\npython a.py')]
    """
    found: list[tuple[str, str]] = []

    def text(part: str) -> None:
        plain = COMMENT.sub("", part).strip()
        if plain and found and found[-1][0] == "markdown":
            found[-1] = ("markdown", f"{found[-1][1]}\n\n{plain}")
        elif plain:
            found.append(("markdown", plain))

    at = 0
    for block in FENCE.finditer(page):
        text(page[at:block.start()])
        at = block.end()
        marks, body = block["before"], block["body"].rstrip("\n")
        file = re.search(r"<!-- file (\S+) -->", marks)
        if block["language"] not in ("python", "sh") or "<!-- not run" in marks:
            text(block[0])
        elif file:
            found.append(("code", f"%%writefile {file[1]}\n{body}"))
        elif block["language"] == "sh":
            found.append(("code", f"%%bash{' --no-raise-error' if '<!-- fails' in marks else ''}\n{body}"))
        else:
            found.append(("code", body))
    text(page[at:])
    return found


def notebook(pages: Sequence[str], move: Callable[[str, str, str], str], path: str) -> str:
    """A notebook of some pages, one after the other, as the text of its file; ``move`` mends their links."""
    made: list[dict[str, Any]] = []
    for page in pages:
        for kind, text in cells(move((ROOT / page).read_text(encoding="utf-8"), page, path)):
            cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{len(made)}", "metadata": {},
                                    "source": text.splitlines(keepends=True)}
            made.append(cell if kind == "markdown" else {**cell, "execution_count": None, "outputs": []})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    whole = {"cells": made, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}}, "nbformat": 4,
             "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


NOTEBOOKS = {
    "docs/notebooks/first_hour.ipynb": ("docs/first_hour.md",),
    "docs/notebooks/compiler.ipynb": tuple(f"docs/compiler/{name}.md" for name in CHAPTERS),
}
