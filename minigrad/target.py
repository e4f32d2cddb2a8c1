"""Stage: schedule and lower read it. In: the machine, or a name. Out: a plain value of what it can do.
Never the number of threads: results must not depend on it. Next: ``symbolic/``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """What scheduling and lowering may know about a machine. Sizes are in bytes.

    ``vector_bytes``: width of a vector register; ``vector_registers``: how many; ``l1``, ``l2``: data
    caches of one core; ``parallel_min``: outer iterations wanted before work is called wide enough;
    ``small_work``: scalar operations below which one thread beats a fork and join.
    """

    name: str
    vector_bytes: int
    vector_registers: int
    l1: int = 32 << 10
    l2: int = 1 << 20
    parallel_min: int = 16
    small_work: int = 32 << 10
    has_fma: bool = True

    def lanes(self, size: int) -> int:
        """Elements of ``size`` bytes in one vector register."""
        return max(1, self.vector_bytes // size)


SCALAR = Target("scalar", 8, 16, has_fma=True)
AVX2 = Target("avx2", 32, 16)
AVX512 = Target("avx512", 64, 32)
NEON = Target("neon", 16, 32)
BY_NAME = {t.name: t for t in (SCALAR, AVX2, AVX512, NEON)}
