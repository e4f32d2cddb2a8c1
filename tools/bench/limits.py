"""Stage: beside the house. In: a number of threads. Out: what this machine can do at most, measured now: bytes copied
a second, float32 operations a second by NumPy's matmul and by a bare loop of multiply-adds in C.
Next: ``report.py``, which gives every row's share of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

COPY_BYTES = 64 * 2**20


def best_seconds(function: Callable[[], object], seconds: float) -> float:
    """The shortest of the calls of ``function`` that fit in about ``seconds``, after one that is not counted."""
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


def numpy_matmul_rate(seconds: float = 0.3) -> float:
    """GFLOP/s of NumPy's float32 matmul, the better of 1024 and 2048."""
    rates = []
    for size in (1024, 2048):
        a = np.random.default_rng(0).random((size, size), np.float32)
        out = np.empty_like(a)
        rates.append(2 * size**3 / best_seconds(lambda a=a, out=out: np.matmul(a, a, out=out), seconds) / 1e9)  # type: ignore[misc]
    return max(rates)


def multiply_add_rate(threads: int, seconds: float = 0.2) -> float | None:
    """GFLOP/s of ``fma.c`` on ``threads`` threads, the best of three; None without a C compiler."""
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "gcc", "clang"))), None)
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        program = str(Path(folder) / "fma")
        command = [compiler, "-O3", "-march=native", "-ffp-contract=fast", "-pthread", "-o", program,
                   str(Path(__file__).parent / "fma.c")]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            runs = [subprocess.run([program, str(threads), str(seconds)], check=True, capture_output=True, text=True,
                                   timeout=60).stdout for _ in range(3)]
        except (subprocess.SubprocessError, OSError):
            return None
        return max(map(float, runs))


def measure_limits(threads: int) -> dict[str, float | None]:
    """All of them, by name: ``copy_GBps``, ``numpy_matmul_GFLOPs``, ``fma_GFLOPs``."""
    return {"copy_GBps": copy_bandwidth(threads), "numpy_matmul_GFLOPs": numpy_matmul_rate(),
            "fma_GFLOPs": multiply_add_rate(threads)}


def better(a: dict[str, float | None], b: dict[str, float | None]) -> dict[str, float | None]:
    """The higher of two measurements, limit by limit.

    >>> better({"copy_GBps": 30.0, "fma_GFLOPs": None}, {"copy_GBps": 35.0, "fma_GFLOPs": None})
    {'copy_GBps': 35.0, 'fma_GFLOPs': None}
    """
    return {name: max(filter(None, (a.get(name), b.get(name))), default=None) for name in {**a, **b}}
