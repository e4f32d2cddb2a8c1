"""Stage: beside the house. In: a number of threads. Out: what this machine can do at most, measured now: bytes copied
a second, float32 operations a second by NumPy's matmul and by a bare loop of multiply-adds in C.
Next: ``report.py``, which gives every row's share of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path


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
    from minigrad.runtime.limits import copy_bandwidth, numpy_matmul_rate  # a peer's process needs no minigrad

    return {"copy_GBps": copy_bandwidth(threads), "numpy_matmul_GFLOPs": numpy_matmul_rate(),
            "fma_GFLOPs": multiply_add_rate(threads)}


def better(a: dict[str, float | None], b: dict[str, float | None]) -> dict[str, float | None]:
    """The higher of two measurements, limit by limit.

    >>> better({"copy_GBps": 30.0, "fma_GFLOPs": None}, {"copy_GBps": 35.0, "fma_GFLOPs": None})
    {'copy_GBps': 35.0, 'fma_GFLOPs': None}
    """
    return {name: max(filter(None, (a.get(name), b.get(name))), default=None) for name in {**a, **b}}
