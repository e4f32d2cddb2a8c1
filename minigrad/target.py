"""Stage: schedule and lower read it. In: the machine, or a name. Out: a plain value of what it can do.
Never the number of threads: results must not depend on it.
Next: ``ops.py``."""

from __future__ import annotations

from dataclasses import dataclass, replace

# What compiled kernels may call: C library functions that every process has. An unknown symbol is a crash at the
# call, so the runtime holds a module's undefined symbols against this list before it runs anything.
C_FUNCTIONS = frozenset(("fmod", "fma", "fmaf", "floor", "floorf", "ceil", "ceilf", "trunc", "truncf", "rint",
                             "rintf", "sqrt", "sqrtf", "memcpy", "memset", "memmove"))

SPACED = (2, 3, 4)
"""How far apart the elements of a vector may be for which all that lies between them is read, in whole vectors: as many
loads as elements between, where there are as many as lanes otherwise."""

BLOCK_K = 256
"""Products of a matrix product that are added up in a register before the sum goes to memory: bounds the cache that a
tile's operands take, and the error of the sum."""


def k_block(size: int, inside: int = 1) -> int:
    """How many steps of ``size``, each of ``inside`` products, are added up in registers: about ``BLOCK_K`` products,
    and blocks of one size where it can be. The order of a matrix product's sums follows from this, in both tiers.

    >>> k_block(512), k_block(1024), k_block(1025)
    (512, 256, 205)
    """
    total = size * inside
    if total <= 2 * BLOCK_K:
        return size
    block = max(1, -(-size // max(1, round(total / BLOCK_K))))
    for smaller in range(block, max(1, block // 2), -1):
        if size % smaller == 0 and smaller * inside >= BLOCK_K // 2:
            return smaller
    return block


@dataclass(frozen=True)
class Target:
    """What scheduling and lowering may know about a machine. Sizes are in bytes.

    ``vector_bytes``: width of a vector register; ``vector_registers``: how many; ``l1``, ``l2``: data
    caches of one core; ``l3``: the cache that cores share; results as large are written around it (0: none
    are); ``parallel_min``: outer iterations wanted before work is called wide enough;
    ``small_work``: scalar operations below which one thread beats a fork and join; ``float64``: whether it has that.

    ``line``: a cache line. ``fetched``: how much of the rows that come next is fetched ahead where a row is gone over
    several times (0: nothing; of 8, 16 and 32 KB 16 was the fastest, AVX-512. Not measured elsewhere).

    ``abreast``: vectors of a long chain of operations that stand side by side, so that none waits for the chain of
    another: for sin, gelu and longer chains 4 take 0.5 to 0.9 of the time that they take one after the other (AVX-512;
    of 16 registers they would need more). ``steps("*", "lanes(x0, 16)")`` measures the other.

    ``ahead``: instructions that it looks ahead: vectors side by side beyond these gain nothing and make long code.

    ``native``: what it does that others are told step by step: ops such as EXP, which otherwise arrive as polynomials,
    and ``"float16"`` if it converts that to float32 and back.

    ``dots``: names of the dtypes of which it multiplies as many as a word of 32 bits has, two bfloat16 or int16, or
    four int8, and adds all products in one instruction.

    A GPU: ``workgroup``: threads of a workgroup, at most (0: a CPU, whose kernels are parallel loops); ``shared``:
    memory that the threads of a workgroup share; ``subgroup``: threads that run in lockstep; ``matrix``: names of
    the dtypes whose tiles it multiplies in one instruction; ``pipeline``: how many tiles of an operand are in shared
    memory at once, one to multiply and the others on their way there, where copies go on by themselves (0: they
    don't); ``shared_at_launch``: shared memory that a kernel may have for that; ``together``: names of the dtypes that
    four subgroups multiply together from shared memory. ``vector_bytes`` is then the widest load of a thread.

    ``stops``: whether a run can stop before the first kernel that overwrites something, because an index was out of
    range.

    ``steps``: patterns of kernels' names, and the steps of their stages, where they are not to be chosen.
    ``beam``: how many lists of steps a search goes on from; 0 takes those that are chosen.
    ``winograd``: whether convolutions may be computed by fewer products, of sums.
    """

    name: str
    vector_bytes: int
    vector_registers: int
    l1: int = 32 << 10
    l2: int = 1 << 20
    l3: int = 0
    line: int = 64
    fetched: int = 0
    parallel_min: int = 16
    small_work: int = 32 << 10
    has_fma: bool = True
    float64: bool = True
    abreast: int = 1
    ahead: int = 256
    native: tuple[str, ...] = ()
    dots: tuple[str, ...] = ()
    workgroup: int = 0
    shared: int = 0
    subgroup: int = 1
    matrix: tuple[str, ...] = ()
    pipeline: int = 0
    shared_at_launch: int = 0
    together: tuple[str, ...] = ()
    stops: bool = False
    steps: tuple[tuple[str, tuple[str | None, ...]], ...] = ()
    beam: int = 0
    winograd: bool = False

    @property
    def row_bytes(self) -> int:
        """Memory for what the stages of a kernel hand on to each other at one point of its outer space: half the cache,
        or what is left of shared memory when the threads have 16 bytes each to join their shares of reductions in."""
        return self.shared - 16 * self.workgroup if self.workgroup else self.l2 // 2

    def lanes(self, size: int) -> int:
        """Elements of ``size`` bytes in one vector register."""
        return max(1, self.vector_bytes // size)


MATH = ("EXP", "LOG", "SIN", "COS", "TANH", "ERF", "POW")
"""Functions that the languages of GPUs have."""

SCALAR = Target("scalar", 8, 16, has_fma=True)
AVX2 = Target("avx2", 32, 16, fetched=16 << 10, abreast=2, native=("float16",))
AVX512 = Target("avx512", 64, 32, fetched=16 << 10, abreast=4, native=("float16",))
NEON = Target("neon", 16, 32, abreast=4, native=("float16",))
GPU = Target("gpu", 16, 64, parallel_min=32, workgroup=256, shared=32 << 10, subgroup=32, native=MATH)
CUDA = Target("cuda", 16, 128, parallel_min=64, workgroup=256, shared=48 << 10, subgroup=32,
              matrix=("float16", "bfloat16"), pipeline=3, shared_at_launch=163 << 10, native=MATH)
SM_90A = replace(CUDA, name="sm_90a", pipeline=4, shared_at_launch=227 << 10, together=("float16", "bfloat16"))
BY_NAME = {t.name: t for t in (SCALAR, AVX2, AVX512, NEON, GPU, CUDA, SM_90A)}
