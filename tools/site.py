"""Stage: documentation. In: the pages of ``docs/`` while MkDocs builds the site (``mkdocs.yml`` names this file). Out:
pages that are not in ``docs/``: the API reference, and every file of the repository that a page refers to, so that no
link leads out of the site. Next: ``mkdocs.yml``, which has the navigation."""

from __future__ import annotations

import posixpath
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import reference  # noqa: E402

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^()#\s]+)(?=[)#])")
FENCE = re.compile(r"(^(?P<fence>```+|~~~+).*?^(?P=fence)$)", re.MULTILINE | re.DOTALL)
LANGUAGES = {".py": "python", ".pyi": "python", ".toml": "toml", ".ll": "llvm", ".c": "c", ".json": "json", "": "bash"}
COPIED = (".md", ".png", ".svg", ".ipynb", ".html")
"""What MkDocs takes from ``docs/`` as it is. A file of another kind gets a page that shows it."""


def address(path: str) -> str:
    """Where a path of the repository is on the site, as a file of Markdown where it is a page.

    >>> address("docs/tour.md"), address("minigrad/ops.py"), address("tests/torch")
    ('tour.md', 'source/minigrad/ops.py.md', 'source/tests/torch/index.md')
    """
    if path.startswith("docs/") and path.endswith(COPIED):
        return path[len("docs/"):]
    if (ROOT / path).is_dir():
        return f"source/{path}/index.md"
    return f"source/{path}" if path.endswith(".md") else f"source/{path}.md"


def linked(text: str, path: str, found: Callable[[str], None]) -> str:
    """The text of the page ``path`` with its links as they are on the site; ``found`` gets each path they lead to.

    >>> linked("[a](../minigrad/ops.py#x) [b](tour.md) [c](https://x.org)", "docs/ops.md", [].append)
    '[a](source/minigrad/ops.py.md#x) [b](tour.md) [c](https://x.org)'
    """
    def change(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), match[1]))
        if not (ROOT / target).exists():
            return match[1]  # MkDocs says that it leads nowhere
        found(target)
        return posixpath.relpath(address(target), posixpath.dirname(address(path)) or ".")

    parts, at = [], 0
    for fence in FENCE.finditer(text):
        parts += [LINK.sub(change, text[at:fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*parts, LINK.sub(change, text[at:])])


def source(path: str, found: Callable[[str], None]) -> str:
    """The page that shows a file or a folder of the repository."""
    file = ROOT / path
    hidden = "---\nsearch:\n  exclude: true\n---\n\n"
    if file.is_dir():
        inside = sorted(p.relative_to(ROOT).as_posix() for p in file.rglob("*.py"))
        return f"{hidden}# {path}/\n\n" + "\n".join(f"- `{name}`" for name in inside) + "\n"
    text = file.read_text(encoding="utf-8")
    if path.endswith(".md"):
        return hidden + linked(text, path, found)
    fence = "`" * (3 + max([len(ticks) for ticks in re.findall(r"`+", text)], default=0))
    return f"{hidden}# {path}\n\n{fence}{LANGUAGES.get(file.suffix, 'text')}\n{text}\n{fence}\n"


def sources(pages: list[str]) -> dict[str, str]:
    """The pages of all files outside ``docs/`` that the given pages lead to, directly or by way of others."""
    made: dict[str, str] = {}
    waiting: list[str] = []
    for page in pages:
        linked((ROOT / page).read_text(encoding="utf-8"), page, waiting.append)
    while waiting:
        path = waiting.pop()
        if address(path).startswith("source/") and address(path) not in made:
            made[address(path)] = ""
            made[address(path)] = source(path, waiting.append)
    return made


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """MkDocs asks for this when it has listed ``docs/``."""
    from mkdocs.structure.files import File

    pages = [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    for path, text in {**reference.pages(), **sources(pages)}.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """MkDocs asks for this before it converts a page."""
    if page.file.generated_by:
        return markdown
    return linked(markdown, f"docs/{page.file.src_uri}", lambda path: None)
