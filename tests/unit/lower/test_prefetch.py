"""Stage: tests of lower. In: kernels that go over rows once or several times. Out: that the rows which come next are
fetched, whole, inside their arrays, and only where that can gain something. Next: ``test_transcendental.py``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from minigrad.kernel.ir import For, Index, Kernel, LetIndex, Prefetch, Statement
from minigrad.kernel.verify import verify
from minigrad.kernel.walk import statements
from minigrad.ops import Op
from minigrad.symbolic import evaluate
from minigrad.target import AVX2, AVX512, Target
from tests.unit.lower.specs import KernelSpec, Memory, Stage, buffer, lower, matmul, run, spec_of

TARGET = replace(AVX512, l2=0)
"""On which arrays of any size are in no cache."""


def softmax(rows: int, size: int) -> KernelSpec:
    """Rows as a kernel of three stages: the largest element, the sum of powers, and their shares."""
    x = buffer((rows, size))
    top = x.reduce(Op.MAX, (1,))
    power = x.binary(Op.SUB, top.expand(x.shape)).unary(Op.EXP)
    total = power.reduce(Op.SUM, (1,))
    share = power.binary(Op.DIV, total.expand(x.shape))
    memory = {x: Memory("x", x.dtype, x.shape), share: Memory("out", x.dtype, x.shape, written=True)}
    for name, node in (("top", top), ("total", total)):
        memory[node] = Memory(name, x.dtype, node.shape, "scratch", axes=(1,), written=True)
    stages = tuple([Stage((n,), (0,)) for n in (top, total, share)])
    return KernelSpec("kernel", (rows,), stages, memory)


def fetched(kernel: Kernel, at: int) -> list[int]:
    """The elements that iteration ``at`` of the parallel loop fetches, in order."""
    found: list[int] = []

    def do(block: tuple[Statement, ...], values: dict[str, int]) -> None:
        for s in block:
            if isinstance(s, Prefetch):
                found.append(evaluate(s.index, values))
            elif isinstance(s, LetIndex):
                assert isinstance(s.value, Index)
                values[str(s.var)] = evaluate(s.value.index, values)
            elif isinstance(s, For) and any(isinstance(x, Prefetch) for x in statements((s,))):
                for n in range(evaluate(s.start, values), evaluate(s.stop, values), s.step):
                    do(s.body, {**values, str(s.var): n})

    do(kernel.loop.body, {str(kernel.loop.var): at})
    return found


@pytest.mark.parametrize("target", [TARGET, replace(AVX2, l2=0)])
@pytest.mark.parametrize("size", [1024, 3000, 4096, 4099, 16384])
def test_each_line_of_a_row_that_comes_is_fetched(size, target):
    rows = 70
    kernel = verify(lower(softmax(rows, size), target).kernel)
    got = [n for p in range(int(kernel.loop.stop)) for n in fetched(kernel, p)]
    ahead = -(-target.fetched // (4 * size))
    missed = set(range(ahead * size // 16 + 1, (rows - 2) * size // 16)) - {n // 16 for n in got}
    assert len(missed) <= rows, "but for the last line of a row that begins in the middle of one"
    assert min(got) >= ahead * size and max(got) < rows * size
    assert len(got) < 3 * rows * size // 16, "few lines are fetched more than twice"


def test_every_walk_fetches_the_more_the_more_it_computes():
    kernel = lower(softmax(70, 4096), TARGET).kernel
    loops = [s for s in statements(kernel) if isinstance(s, For) and any(isinstance(x, Prefetch) for x in s.body)]
    counts = [sum(isinstance(x, Prefetch) for x in s.body) for s in loops]
    assert len(loops) == 3 and counts[0] < counts[1]


@pytest.mark.parametrize(("rows", "size", "why"), [
    (70, 512, "short rows are overlapped by the machine"),
    (8, 40_000, "long rows gain nothing"),
    (2, 1024, "there is no row to come"),
])
def test_what_is_not_fetched(rows, size, why):
    assert not prefetches(softmax(rows, size), TARGET), why


def test_neither_what_is_in_the_cache_nor_for_a_machine_that_says_nothing():
    assert prefetches(softmax(20, 4096), TARGET)
    assert not prefetches(softmax(20, 4096), AVX512)
    assert not prefetches(softmax(20, 4096), replace(TARGET, fetched=0))


def test_a_row_that_is_read_once_is_left_to_the_machine():
    x = buffer((70, 4096))
    total = x.reduce(Op.SUM, (1,))
    memory = {x: Memory("x", x.dtype, x.shape), total: Memory("out", x.dtype, total.shape, written=True)}
    assert not prefetches(KernelSpec("kernel", (), (Stage((total,), ()),), memory), TARGET)


def prefetches(spec: KernelSpec, target: Target) -> int:
    return sum(isinstance(s, Prefetch) for s in statements(verify(lower(spec, target).kernel)))


def test_the_results_are_those_without():
    spec = softmax(6, 1030)
    x = next(n for n in spec.memory if n.op == Op.BUFFER)
    values = {x: np.random.default_rng(0).standard_normal(x.shape).astype("f")}
    target = replace(TARGET, fetched=2048)
    assert prefetches(spec, target)
    got, want = (list(run(spec, values, target=t).values())[-1] for t in (target, replace(target, fetched=0)))
    assert got.tobytes() == want.tobytes()


def test_what_is_read_beside_a_product_is_fetched_while_it_is_summed(rng):
    """Each line of a tile once, what is written, too; of a product alone nothing."""
    m, n, k = 15, 64, 9
    a, b, c, bias = buffer((m, k)), buffer((k, n)), buffer((m, n)), buffer((n,))
    product = matmul(a, b.permute((1, 0)))
    total = product.binary(Op.ADD, bias.reshape((1, n)).expand((m, n))).binary(Op.MUL, c)
    spec = spec_of(total)
    kernel = verify(lower(spec, TARGET).kernel)
    arrays = {s.array.name for s in statements(kernel) if isinstance(s, Prefetch)}
    assert len(arrays) == 2, "what is added to each row is in the cache"
    lines = [e // 16 for p in range(int(kernel.loop.stop)) for e in fetched(kernel, p)]
    assert sorted(lines) == sorted(2 * list(range(m * n // 16)))
    data = {x: rng.standard_normal(x.shape).astype("f") for x in (a, b, c, bias)}
    plain, with_fetches = (run(spec, data, target=t)[total] for t in (replace(TARGET, fetched=0), TARGET))
    np.testing.assert_array_equal(plain, with_fetches)
    assert not any(isinstance(s, Prefetch) for s in statements(lower(spec_of(product), TARGET).kernel))


def test_a_loop_that_fetches_what_it_reads_is_left_as_it_is():
    """Of a product with an update of rows of 4 KB each line is fetched once, not for the next tile, too."""
    m, n, k = 30, 1024, 9
    a, b, c, d = buffer((m, k)), buffer((k, n)), buffer((m, n)), buffer((m, n))
    total = matmul(a, b.permute((1, 0))).binary(Op.MUL, c).binary(Op.ADD, d)
    kernel = lower(spec_of(total), TARGET).kernel
    lines = [e // 16 for p in range(int(kernel.loop.stop)) for e in fetched(kernel, p)]
    assert sorted(lines) == sorted(3 * list(range(m * n // 16)))
