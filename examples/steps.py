"""A matrix product, from three loops to the speed of a BLAS library, step by step.

``python examples/steps.py`` prints for each list of steps what it costs. ``docs/schedules.md`` goes through them."""

from __future__ import annotations

import argparse

import numpy as np

import minigrad

STEPS = (
    "",
    "lanes(x1, {lanes})",
    "lanes(x1, {lanes}), unroll(x1, 4)",
    "multiply(x0, 4, x1, {tile}), lanes(x1, {lanes})",
    "multiply(x0, 4, x1, {tile}), lanes(x1, {lanes}), split(r0, 256), keep(b, scratch)",
    "multiply(x0, 4, x1, {tile}), lanes(x1, {lanes}), split(r0, 256), keep(b, scratch), "
    "parallel(x0, 32), parallel(x1, 2)",
)
"""Lists of steps, each with one more thought than the one before."""


def speed(a: minigrad.Tensor, b: minigrad.Tensor, rounds: int) -> tuple[float, str, str]:
    """The best of some runs of ``a @ b`` in GFLOP/s; the kernel's name and its steps."""
    best, kernel = float("inf"), None
    with minigrad.inspect() as seen:
        for _ in range(rounds):
            (a @ b).realize()
    for kernel in seen.kernels:
        best = min(best, kernel.seconds or best)
    assert kernel is not None
    return 2 * a.shape[0] * a.shape[1] * b.shape[1] / best / 1e9, kernel.name, kernel.stages[0]


def main() -> None:
    """Each list of steps, then what minigrad chooses, then NumPy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="of the square matrices (1024)")
    parser.add_argument("--rounds", type=int, default=3, help="runs, of which the best counts (3)")
    options = parser.parse_args()
    minigrad.manual_seed(0)
    a, b = (minigrad.randn(options.size, options.size).realize() for _ in range(2))
    wanted = a.numpy().astype(np.float64) @ b.numpy()
    with minigrad.config(REPLAY=0):
        chosen, name, stage = speed(a, b, options.rounds)
    lanes = int(stage.partition("lanes(x1, ")[2].partition(")")[0] or 1)
    for text in STEPS:
        with minigrad.steps(name, text.format(lanes=lanes, tile=4 * lanes)):
            gflops, _, stage = speed(a, b, options.rounds if text else 1)
            error = np.abs((a @ b).numpy() - wanted).max()
        print(f"{gflops:8.1f} GFLOP/s  {stage.partition(': ')[2].partition(';')[0]}  (off by {error:.0e})", flush=True)
    print(f"{chosen:8.1f} GFLOP/s  what minigrad chooses")


if __name__ == "__main__":
    main()
