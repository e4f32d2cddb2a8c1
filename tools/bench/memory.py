"""Stage: beside the house. In: nothing. Out: ``MEMORY``, the table of ``python -m tools.bench memory``: work that the
speed of memory bounds, beside the rows of ``workloads.py``. Shares are of the bytes that must be read and written.
Next: ``suites.py``, which names the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tools.bench.workloads import SQUARE, SQUARE_BYTES, Workload, normal, uniform

PEERS = ("numpy", "torch", "jax")
LONG = 1 << 24


def _same(function: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    return dict.fromkeys(("numpy", "pytorch", "jax"), function)


def _table() -> list[np.ndarray]:
    """A table of words, and which of them a text has."""
    return [*normal((50_000, 256))(), np.random.default_rng(1).integers(0, 50_000, 16_384)]


def _row(name: str, what: str, inputs: Callable[[], list[np.ndarray]], functions: dict[str, Callable[..., Any]],
         nbytes: int, tolerance: float = 1e-4) -> Workload:
    return Workload(name, what, inputs=inputs, functions=functions, work=nbytes, unit="bytes", peers=PEERS,
                    tolerance=tolerance)


MEMORY: tuple[Workload, ...] = (
    _row("scale", "x * 2, 4096x4096", normal(SQUARE), _same(lambda lib, x: x * 2), 2 * SQUARE_BYTES),
    _row("scale_small", "x * 2, 512x512", normal((512, 512)), _same(lambda lib, x: x * 2), 8 * 512 * 512),
    _row("transpose", "y + x.T, 4096x4096", normal(SQUARE, SQUARE), _same(lambda lib, x, y: y + x.T), 3 * SQUARE_BYTES),
    _row("permute", "y + x.permute(2, 0, 1), 256x256x256", normal(*[(256, 256, 256)] * 2), {
        "numpy": lambda np, x, y: y + x.transpose(2, 0, 1),
        "pytorch": lambda lib, x, y: y + x.permute(2, 0, 1),
        "jax": lambda jax, x, y: y + x.transpose(2, 0, 1)}, 12 * 256**3),
    _row("cat", "cat of two 4096x2048 along columns", normal((4096, 2048), (4096, 2048)), {
        "numpy": lambda np, a, b: np.concatenate([a, b], 1),
        "pytorch": lambda lib, a, b: lib.cat([a, b], 1),
        "jax": lambda jax, a, b: jax.numpy.concatenate([a, b], 1)}, 2 * SQUARE_BYTES),
    _row("stack", "stack of two vectors of 2^23 as columns", normal((LONG // 2,), (LONG // 2,)), {
        "numpy": lambda np, a, b: np.stack([a, b], 1),
        "pytorch": lambda lib, a, b: lib.stack([a, b], 1),
        "jax": lambda jax, a, b: jax.numpy.stack([a, b], 1)}, 8 * LONG),
    _row("pad", "3 zeros before and 2 behind each row, 4096x4091", normal((4096, 4091)), {
        "numpy": lambda np, x: np.pad(x, ((0, 0), (3, 2))),
        "pytorch": lambda lib, x: lib.nn.functional.pad(x, (3, 2)),
        "jax": lambda jax, x: jax.numpy.pad(x, ((0, 0), (3, 2)))}, 2 * SQUARE_BYTES),
    _row("outer", "a[:, None] * b, 4096 and 4096", normal((4096,), (4096,)),
         _same(lambda lib, a, b: a[:, None] * b), SQUARE_BYTES),
    _row("embedding", "rows of a table: table[words], 50000x256 and 16384 words", _table,
         _same(lambda lib, table, words: table[words]), 2 * 4 * 256 * 16_384),
    _row("sum_tall", "x.sum(0), 2^21x8", uniform((LONG // 8, 8)), _same(lambda lib, x: x.sum(0)), 4 * LONG, 1e-3),
    _row("sum_columns", "x.sum(0), 2^18x64", uniform((LONG // 64, 64)), _same(lambda lib, x: x.sum(0)), 4 * LONG, 1e-3),
    _row("sum_middle", "x.sum(1), 64x1024x256", uniform((64, 1024, 256)), _same(lambda lib, x: x.sum(1)), 4 * LONG),
    _row("cumsum_long", "x.cumsum(0), 2^24", uniform((LONG,)), _same(lambda lib, x: x.cumsum(0)), 8 * LONG, 1e-3),
    _row("cumsum_middle", "x.cumsum(1), 64x1024x256", uniform((64, 1024, 256)),
         _same(lambda lib, x: x.cumsum(1)), 8 * LONG, 1e-3),
    _row("times_vector", "A @ x, 4096x4096", normal(SQUARE, (4096,)), _same(lambda lib, a, x: a @ x),
         SQUARE_BYTES, 1e-3),
)
