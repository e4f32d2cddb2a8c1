"""Stage: tests. In: a seed. Out: random choices of which a program makes some only, so that those it makes meet often.
Next: ``values.py``.

A program that may use all functions seldom uses two of a kind, and what one of them does hides what others do. Where
each program draws which it may use, more is found: A. Groce, C. Zhang, E. Eide, Y. Chen, J. Regehr, "Swarm testing",
ISSTA 2012."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")
SHARES = (0.2, 0.5, 0.5, 1.0)
"""Of the options at a place, how many a program may use."""


class Swarm(Random):
    """Random numbers. ``choice`` out of a tuple keeps to a part of the options at that place of the code (a function's
    name, and how many options there are): which ones depends on the seed. Lists are what a program has made, not
    options.

    >>> rng = Swarm(3, 0.2)
    >>> rng.choice("abcdefgh") in "abcdefgh", len({rng.choice(tuple("abcdefgh")) for _ in range(99)}) < 8
    (True, True)
    """

    def __init__(self, seed: int, share: float | None = None) -> None:
        super().__init__(seed)
        self.share = Random.choice(self, SHARES) if share is None else share
        self._seed = seed
        self._allowed: dict[tuple[str, int], list[int]] = {}

    def choice(self, options: Sequence[T]) -> T:  # type: ignore[override]
        """One of the options."""
        if self.share == 1 or not isinstance(options, tuple) or len(options) < 3:
            return super().choice(options)
        place = (sys._getframe(1).f_code.co_qualname, len(options))
        allowed = self._allowed.get(place)
        if allowed is None:
            draw = Random(f"{self._seed} {place}")
            allowed = [i for i in range(len(options)) if draw.random() < self.share] or [draw.randrange(len(options))]
            self._allowed[place] = allowed
        return options[super().choice(allowed)]
