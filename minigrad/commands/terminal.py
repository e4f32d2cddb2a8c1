"""Stage: the command line. In: words. Out: the same words, in colour where a terminal shows them.
Next: ``devices.py``."""

from __future__ import annotations

import os
import sys

_CODES = {"good": "32", "bad": "31", "weak": "33", "head": "1", "faint": "2"}


def coloured() -> bool:
    """Whether standard output is a terminal that is to show colours (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, role: str) -> str:
    """The text as ``good``, ``bad``, ``weak``, ``head`` or ``faint``; as it is where there are no colours.

    >>> paint("ok", "good")
    'ok'
    """
    return f"\033[{_CODES[role]}m{text}\033[0m" if coloured() else text


def mark(ok: bool | None) -> str:
    """A sign at the beginning of a line: yes, no, or, for None, that it does not matter."""
    if ok is None:
        return paint("-", "faint")
    return paint("✓", "good") if ok else paint("✗", "bad")
