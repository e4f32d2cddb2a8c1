"""Stage: documentation. In: ``pytorch_names.txt``, the names that PyTorch 2.13 documents; minigrad; the tables of
``pytorch_differences.py``. Out: ``docs/pytorch.md``, which says of each name whether it works here.
Next: ``tools/docs.py``, which writes the page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minigrad.torch import hook, names
from tools.pytorch_differences import DIFFERS, MISSING

NAMES = Path(__file__).with_name("pytorch_names.txt")


def documented(text: str) -> dict[str, list[str]]:
    """The full names of each module, from lines ``[module]`` and the names below them.

    >>> documented("[torch.nn]\\nLinear\\ninit.ones_\\n")
    {'torch.nn': ['torch.nn.Linear', 'torch.nn.init.ones_']}
    """
    found: dict[str, list[str]] = {}
    module = ""
    for line in text.splitlines():
        if line.startswith("["):
            module = line[1:-1]
            found[module] = []
        elif line and not line.startswith("#"):
            found[module].append(f"{module}.{line}")
    return found


def _start(path: list[str]) -> tuple[Any, list[str]] | None:
    """What the longest part of ``torch.a.b.c`` before the last name leads to that is a module, and what is left; else
    what is called ``torch.a``."""
    for cut in range(len(path) - 1, 1, -1):
        module = hook._module("torch", ".".join(path[1:cut]))
        if module is not None:
            return module, path[cut:]
    value = names.find(path[1])
    if value is names.MISSING:
        value = hook._module("torch", path[1])
    return None if value is None else (value, path[2:])


def is_there(name: str) -> bool:
    """Whether a program that runs under ``minigrad.torch`` finds ``torch.a.b``.

    >>> is_there("torch.nn.Linear"), is_there("torch.nn.Nonsense")
    (True, False)
    """
    found = _start(name.split("."))
    if found is None:
        return False
    value, rest = found
    for part in rest:
        try:
            value = getattr(value, part)
        except AttributeError:
            return False
    return True


def state(name: str) -> tuple[str, str]:
    """``works``, ``differs`` or ``missing``, and how or why."""
    if not is_there(name):
        return "missing", MISSING.get(name, "")
    return ("differs", DIFFERS[name]) if name in DIFFERS else ("works", "")


def unused(modules: Iterable[Iterable[str]]) -> list[str]:
    """What the tables say of names that are not documented, or of those that are here and said to be missing."""
    every = {name for names_ in modules for name in names_}
    return sorted([name for name in {*DIFFERS, *MISSING} if name not in every])


def sections() -> dict[str, list[tuple[str, str, str]]]:
    """For each module its names, as they are called in it, each with its state and how or why."""
    return {module: [(name.removeprefix(f"{module}."), *state(name)) for name in names_]
            for module, names_ in documented(NAMES.read_text(encoding="utf-8")).items()}
