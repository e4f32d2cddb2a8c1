"""Stage: runtime. In: a number of threads. Out: what this machine can do at most, measured now: bytes copied a
second, float32 operations a second by NumPy's matmul.
Next: ``progress.py``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

COPY_BYTES = 64 * 2**20


def best_seconds(function: Callable[[], object], seconds: float) -> float:
    """The shortest of the calls of ``function`` that fit in about ``seconds``, after one that is not counted.

    >>> 0 < best_seconds(lambda: None, 0.001) < 0.001
    True
    """
    function()
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        function()
        stop = time.perf_counter()
        best = min(best, stop - start)
        if stop > end:
            return best


def copy_bandwidth(threads: int, seconds: float = 0.3) -> float:
    """GB/s of a 64 MiB copy into a reused buffer by NumPy, reads and writes counted, by one thread or several,
    whichever is faster."""
    source, target = np.ones(COPY_BYTES // 4, np.float32), np.ones(COPY_BYTES // 4, np.float32)
    best = best_seconds(lambda: np.copyto(target, source), seconds)
    if threads > 1:
        parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
        with ThreadPoolExecutor(threads) as pool:
            best = min(best, best_seconds(lambda: list(pool.map(lambda part: np.copyto(*part), parts)), seconds))
    return 2 * COPY_BYTES / best / 1e9


def numpy_matmul_rate(seconds: float = 0.3, sizes: Sequence[int] = (1024, 2048)) -> float:
    """GFLOP/s of NumPy's float32 matmul, the best of some sizes."""
    rates = []
    for size in sizes:
        a = np.random.default_rng(0).random((size, size), np.float32)
        out = np.empty_like(a)
        rates.append(2 * size**3 / best_seconds(lambda a=a, out=out: np.matmul(a, a, out=out), seconds) / 1e9)  # type: ignore[misc]
    return max(rates)
