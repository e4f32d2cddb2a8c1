"""Stage: runtime. In: long work, step by step. Out: a bar on the terminal that says how far it is and how long it will
take; nothing where there is no terminal, or tqdm is not installed (``pip install 'minigrad[progress]'``).
Next: ``symbolic/``."""

from __future__ import annotations

import sys
from typing import Any, Self

DELAY = 1.5
"""Seconds that work goes on before a bar is shown: most of it is over by then."""


class Progress:
    """``with Progress(total, "what") as bar: ... bar.step()``. Work that is limited by time counts in seconds.

    >>> with Progress(3, "compiling", "kernels") as bar:
    ...     for _ in range(3):
    ...         bar.step()
    """

    def __init__(self, total: float, what: str, unit: str = "") -> None:
        self._bar = _tqdm(total, what, unit) if sys.stderr is not None and sys.stderr.isatty() else None

    def step(self, amount: float = 1, note: str = "") -> None:
        """So much more is done; ``note`` is shown behind the bar."""
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(amount)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()


def _tqdm(total: float, what: str, unit: str) -> Any:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    layout = "{desc}: {percentage:3.0f}%|{bar:30}| {n:.0f} of {total:.0f} {unit}, {remaining} left{postfix}"
    return tqdm(total=total, desc=what, unit=unit, delay=DELAY, leave=False, bar_format=layout, file=sys.stderr)
