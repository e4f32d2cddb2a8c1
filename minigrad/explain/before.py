"""Stage: explaining. In: the data of an earlier run, as ``--json`` has written it. Out: what a page says of it beside a
new run: another commit, another device, other settings.
Next: ``page.py``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minigrad.explain.model import VERSION, Before


def before(path: str | Path) -> Before:
    """The run that a file tells of. ``ValueError`` if the file is no such data."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            raise ValueError(f"{path} was written by another version of minigrad: {data['version']}, not {VERSION}")
        return summary(data)
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError(f"{path} is not what python -m minigrad.explain --json writes") from None


def summary(data: Mapping[str, Any]) -> Before:
    """The times of lines and kernels. Lines have their text, as their numbers change from commit to commit."""
    files = data["files"]
    lines = []
    for line in data["lines"]:
        file = files[line["file"]]
        at = line["number"] - file["first"]
        text = file["lines"][at].strip() if 0 <= at < len(file["lines"]) else ""
        lines.append((Path(file["path"]).name, text, line["forward"] + line["backward"]))
    kernels: dict[str, tuple[int, float]] = {}
    for kernel in data["kernels"]:
        launches, seconds = kernels.get(kernel["name"], (0, 0.0))
        kernels[kernel["name"]] = launches + kernel["launches"], seconds + kernel["seconds"]
    return Before(data["title"], data["seconds"], data["kernel_seconds"], dict(data["settings"]), lines,
                  [(name, *times) for name, times in kernels.items()])
