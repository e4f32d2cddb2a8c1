"""Fusion: how many kernels some formulas take."""

from __future__ import annotations

from collections.abc import Callable

import minigrad
from minigrad import Tensor


def kernels(formula: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """How many kernels a formula of x is."""
    with minigrad.config(REPLAY=0, TIERS=0), minigrad.inspect() as seen:
        formula(x).realize()
    return seen.launches


def main() -> None:
    x = minigrad.rand(512, 300).realize()
    guesses: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
        "elementwise": (lambda x: (x.exp() + 1).log() * x.sin(), 1),  # nothing is stored between
        "rows": (lambda x: (x - x.mean(1, keepdim=True)).sum(1), 1),  # a row needs its own mean only
        "rows and columns": (lambda x: (x - x.mean(0)).sum(1), 2),  # a row needs the mean of every column
        "by rows": (lambda x: x / x.sum(1, keepdim=True), 1),
        "by all": (lambda x: x / x.sum(), 3),  # the sum is made in two levels, for several threads
    }
    for name, (formula, guess) in guesses.items():
        found = kernels(formula, x)
        print(f"{name}: {found}")
        assert found == guess, name


if __name__ == "__main__":
    main()
