"""Stage: beside the house. In: nothing. Out: how far convolutions of 3 × 3 neighbours are from those in float64, plain
and with setting WINOGRAD, for several kinds of numbers: ``python tools/winograd.py`` prints the table of
``docs/numerics.md`` in some seconds. Next: ``docs/numerics.md``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import minigrad  # noqa: E402

BATCH, SIZES = 8, ((64, 56), (256, 14), (512, 7))
U = 2.0**-24

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(0, 1, shape)


KINDS: dict[str, tuple[Draw, Draw]] = {
    "normal, normal": (_normal, _normal),
    "relu of normal, normal": (lambda rng, shape: np.maximum(_normal(rng, shape), 0), _normal),
    "uniform in 0 … 1, both": (_uniform, _uniform),
    "1000 + normal, normal": (lambda rng, shape: 1000 + _normal(rng, shape), _normal),
    "±10^(-3 … 3), normal": (lambda rng, shape: rng.choice([-1, 1], shape) * 10 ** rng.uniform(-3, 3, shape), _normal),
}
"""How the image is drawn, and how the filters are."""


def errors(x: minigrad.Tensor, w: minigrad.Tensor, winograd: int) -> tuple[float, float, float]:
    """The largest error by the largest result; the root of the mean square error by that of the mean square result; and
    the largest error of a result by u · Σ|x·w|."""
    with minigrad.config(WINOGRAD=winograd, TIERS=0):
        found = minigrad.conv2d(x, w, padding=1).realize().double()
    exact = minigrad.conv2d(x.double(), w.double(), padding=1)
    own = minigrad.conv2d(x.double().abs(), w.double().abs(), padding=1)
    error = (found - exact).abs()
    return ((error.max() / exact.abs().max()).item(), (error.square().mean() / exact.square().mean()).sqrt().item(),
            (error / (U * own)).max().item())


def main() -> None:
    """A row of the table for each number of channels and each kind of numbers."""
    for channels, size in SIZES:
        for name, (image, filters) in KINDS.items():
            rng = np.random.default_rng(0)
            x, w = (minigrad.tensor(draw(rng, shape).astype(np.float32)) for draw, shape in (
                (image, (BATCH, channels, size, size)), (filters, (channels, channels, 3, 3))))
            cells = [text for winograd in (0, 1) for worst, typical, own in (errors(x, w, winograd),)
                     for text in (f"{worst:.1e}", f"{typical:.1e}", f"{own:.1f}")]
            print(f"| {name} | {channels} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
