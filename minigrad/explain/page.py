"""Stage: explaining. In: a ``Report``. Out: one HTML file that needs nothing else: the data as compressed JSON, the
long texts apart, which few readers need, with the style sheet and the programs that show them (``page.css``,
``page.js``, ``page.graph.js``) and the libraries by which they lay out and draw (``page.libraries.js``).
Next: ``perfetto.py``."""

from __future__ import annotations

import base64
import gzip
import html
import json
from pathlib import Path
from typing import Any

from minigrad.explain.model import Report

HERE = Path(__file__).parent


def page(report: Report) -> str:
    """The text of the file."""
    data = report.plain()
    texts: list[Any] = []
    for every in [*[code["texts"] for code in data["codes"]], *[plan["graphs"] for plan in data["plans"]]]:
        for text in every:
            texts.append([text["text"], text.pop("nodes"), text.pop("sources")])
            text["text"] = len(texts) - 1
    for plan in data["plans"]:
        texts.append([list(rewrite.values()) for rewrite in plan["rewrites"]])
        plan["rewrites"] = len(texts) - 1
    fill = {"title": html.escape(report.title), "style": _part("page.css"),
            "program": _part("page.graph.js") + _part("page.js"), "libraries": _packed(_part("page.libraries.js")),
            "data": _packed(_rounded(data)), "texts": _packed(texts)}
    parts = _part("page.html").split("{{")
    return parts[0] + "".join([fill[name] + rest for name, _, rest in [p.partition("}}") for p in parts[1:]]])


def _part(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _packed(data: Any) -> str:
    """JSON as browsers can inflate it from the text of an element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _rounded(data: Any) -> Any:
    """With numbers of 7 digits."""
    if isinstance(data, float):
        return float(f"{data:.6e}")
    if isinstance(data, dict):
        return {key: _rounded(value) for key, value in data.items()}
    return [_rounded(value) for value in data] if isinstance(data, (list, tuple)) else data
