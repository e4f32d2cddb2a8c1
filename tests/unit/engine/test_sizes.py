"""Stage: tests of realise. In: programs whose sizes are new at every step, and generic kernels at the sizes where their
loops end in another way. Out: nothing is compiled, and the numbers are right. Next: ``test_chains.py``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad
from minigrad.conformance.sources import leaf
from minigrad.dtype import DType, float16, float32, float64, int32
from minigrad.engine import inspect, plans, realise, tiers, to_numpy
from minigrad.engine.plans import PlanCache
from minigrad.engine.tier0 import kernels
from minigrad.engine.tier0.contraction import Contraction, Operand
from minigrad.engine.tier0.names import tile_of
from minigrad.engine.walk import walk
from minigrad.graph.lazy import LazyBuffer
from minigrad.kernel.interpret import interpret
from minigrad.ops import Op
from minigrad.target import AVX2, AVX512, NEON, SCALAR, Target, k_block


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    plans.clear()
    yield
    plans.clear()


# --- whole programs -------------------------------------------------------------------------------------------------


def _block(t: minigrad.Tensor, weights: Sequence[minigrad.Tensor]) -> minigrad.Tensor:
    """A transformer's block."""
    q, k, v, o, up, down = weights
    scores = (t @ q) @ (t @ k).transpose(-2, -1) * 0.25
    t = t + scores.softmax(-1) @ (t @ v) @ o
    return t + (t @ up).relu() @ down


def _block_numpy(t: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
    q, k, v, o, up, down = weights
    scores = (t @ q) @ (t @ k).swapaxes(-2, -1) * 0.25
    e = np.exp(scores - scores.max(-1, keepdims=True))
    t = t + e / e.sum(-1, keepdims=True) @ (t @ v) @ o
    return t + np.maximum(t @ up, 0) @ down


def _weights(rng: np.random.Generator) -> list[np.ndarray]:
    shapes = [(16, 16)] * 4 + [(16, 40), (40, 16)]
    return [(rng.standard_normal(s) / 4).astype(np.float32) for s in shapes]


GROWING = [*range(1, 40), 63, 64, 65, 127, 128, 300]


@pytest.mark.parametrize("order", ["growing", "random"])
def test_steps_of_new_sizes_compile_nothing(order: str, rng: np.random.Generator) -> None:
    arrays = _weights(rng)
    weights = [minigrad.tensor(a) for a in arrays]
    x = rng.standard_normal((3, 300, 16)).astype(np.float32)
    tokens = minigrad.tensor(x)
    sizes = GROWING if order == "growing" else rng.permutation(GROWING).tolist()
    compiled = []
    for n in sizes:
        with inspect() as seen:
            got = _block(tokens[:, :n], weights).numpy()
        compiled.append(seen.compiled)
        np.testing.assert_allclose(got, _block_numpy(x[:, :n].astype(np.float64), arrays), rtol=2e-4, atol=2e-5)
        if len(compiled) > 3:  # the size 1 makes graphs of a structure of their own
            assert seen.tier0 == 1 or seen.replayed or n == 1
    assert sum(compiled[10:]) <= 2 and sum(compiled[-5:]) == 0, compiled  # generic kernels that were not needed before


def test_so_do_steps_with_a_gradient(rng: np.random.Generator) -> None:
    arrays = _weights(rng)
    x = rng.standard_normal((2, 80, 16)).astype(np.float32)
    compiled = []
    for n in (5, 1, 2, 3, 17, 40, 8, 33, 80, 64, 7, 48, 31):
        weights = [minigrad.tensor(a, requires_grad=True) for a in arrays]
        with inspect() as seen:
            _block(minigrad.tensor(x[:, :n].copy()), weights).square().mean().backward()
            got = [w.grad.numpy() for w in weights if w.grad is not None]
        compiled.append(seen.compiled)
        assert seen.tier0 or seen.replayed or len(compiled) <= 3
        if len(compiled) % 4:
            continue
        with minigrad.config(TIERS=0):
            again = [minigrad.tensor(a.astype(np.float64), requires_grad=True) for a in arrays]
            _block(minigrad.tensor(x[:, :n].astype(np.float64)), again).square().mean().backward()
            want = [w.grad.numpy() for w in again if w.grad is not None]
        assert len(got) == len(want) == 6
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert sum(compiled[8:]) <= 2, compiled


def test_programs_of_sizes_that_do_not_come_back_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What they have paid is not."""
    module = sys.modules[PlanCache.__module__]
    monkeypatch.setattr(module, "MOST_PROGRAMS", 8)
    cache = PlanCache()
    for n in range(1, 40):
        cache.find(walk([leaf(np.ones(n, np.float32), float32, "CPU").unary(Op.NEG)]))
        assert len(cache.programs) <= 8
        assert cache.calls == sum(len(f.direct) for f in cache.programs.values() if f.direct)
    families = [f for f in cache.families.values() if not f.plans]
    assert len(families) == 38 and sum(f.direct is not None for f in families) == 8
    before = families[0].left
    found, hit = cache.find(walk([leaf(np.ones(2, np.float32), float32, "CPU").unary(Op.NEG)]))
    assert (found.tier, hit) == (0, False) and families[0].left < before


def test_large_products_of_sizes_that_vary_are_not_compiled() -> None:
    """A product costs tier 0 little more than the compiler, so its size does not matter; an elementwise op does."""
    def tier(n: int, make: Callable[[LazyBuffer], LazyBuffer]) -> int:
        found, _ = plans.find(walk([make(leaf(np.ones((n, 512), np.float32), float32, "CPU"))]))
        return found.tier

    def product(x: LazyBuffer) -> LazyBuffer:
        n = x.shape[0]
        a = x.reshape((n, 512, 1)).expand((n, 512, 4096))
        b = leaf(np.ones((512, 4096), np.float32), float32, "CPU").reshape((1, 512, 4096)).expand((n, 512, 4096))
        return a.binary(Op.MUL, b).reduce(Op.SUM, (1,))

    def steps(x: LazyBuffer) -> LazyBuffer:
        for _ in range(120):
            x = x.unary(Op.NEG)
        return x

    assert [tier(n, product) for n in (2000, 2001, 2002)] == [1, 0, 0]
    assert [tier(n, steps) for n in (20_000, 20_001)] == [1, 1]


def test_composites_of_other_names_are_other_structures() -> None:
    x = minigrad.zeros(3) + 1
    graphs = [walk([y._read()]) for y in (x.softmax(0), x.log_softmax(0))]
    assert {g.order[-1].op for g in graphs} == {Op.FUNCTION}
    assert len({tiers._structure(g)[0] for g in graphs}) == 2


# --- matrix products ------------------------------------------------------------------------------------------------


def _product(batch: int, m: int, k: int, n: int, dtype: DType, swap: tuple[bool, bool]) -> None:
    """Of small integers, so that no order of the sums changes a bit."""
    rng = np.random.default_rng(m * 1000 + k * 10 + n)
    a = rng.integers(-2, 3, (batch, k, m) if swap[0] else (batch, m, k)).astype(dtype.numpy)
    b = rng.integers(-2, 3, (batch, n, k) if swap[1] else (batch, k, n)).astype(dtype.numpy)
    x, y = minigrad.tensor(a, dtype=dtype), minigrad.tensor(b, dtype=dtype)
    with minigrad.config(TIERS=2), inspect() as seen:
        got = ((x.transpose(1, 2) if swap[0] else x) @ (y.transpose(1, 2) if swap[1] else y)).numpy()
    a, b = (v.swapaxes(1, 2) if s else v for v, s in zip((a, b), swap, strict=True))
    assert seen.tier0 == 1
    np.testing.assert_array_equal(got, (a.astype(np.float64) @ b.astype(np.float64)).astype(dtype.numpy))


@given(batch=st.sampled_from([1, 3]), m=st.integers(1, 80), k=st.integers(1, 40), n=st.integers(1, 150),
       dtype=st.sampled_from([float32, float64, float16, int32]), swap=st.tuples(st.booleans(), st.booleans()))
def test_products_of_any_size(batch: int, m: int, k: int, n: int, dtype: DType, swap: tuple[bool, bool]) -> None:
    _product(batch, m, k, n, dtype, swap)


@pytest.mark.parametrize(("batch", "m", "k", "n"), [
    (1, 1, 1, 1), (1, 1, 700, 1), (1, 300, 1025, 1), (1, 1, 1025, 300), (2, 5, 513, 15), (2, 7, 1030, 17),
    (1, 200, 600, 1024), (3, 65, 520, 512), (1, 97, 600, 257), (4, 60, 64, 60), (1, 1000, 8, 1000), (1, 3, 5000, 3)])
@pytest.mark.parametrize("swap", [(False, False), (True, True)])
def test_products_of_several_blocks(batch: int, m: int, k: int, n: int, swap: tuple[bool, bool]) -> None:
    _product(batch, m, k, n, float32, swap)


@pytest.mark.parametrize(("m", "k", "n"), [(40, 600, 64), (64, 512, 128), (33, 1025, 70), (128, 784, 256)])
def test_a_product_has_the_bits_of_a_compiled_one(m: int, k: int, n: int, rng: np.random.Generator) -> None:
    a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
    results = []
    for setting in (0, 2):
        with minigrad.config(TIERS=setting):
            results.append((minigrad.tensor(a) @ minigrad.tensor(b)).numpy())
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("target", [SCALAR, AVX2, NEON, AVX512], ids=lambda t: t.name)
def test_the_loops_of_a_product_on_every_target(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shape ends its loops in another way. What lies past the operands is NaN, and past the result stays."""
    monkeypatch.setattr(kernels, "_SPACE", 4096)
    with minigrad.config(VERIFY=0):  # which would see that strides could lead past 4096
        kernel = kernels.nest(("dot", "float32"), target).kernel
    height, vectors = tile_of(target)
    lanes = target.lanes(4)
    width = vectors * lanes
    rng = np.random.default_rng(0)
    for batch, m, k, n in ((1, 2 * height + 1, 3, width + lanes + 1), (2, height, 2, lanes), (1, height + 2, 2, 5),
                           (1, height - 1, 1, width + 1), (1, 2, 3, 3), (1, 4 * height, 1, 2 * width)):
        a, b = (rng.integers(-3, 4, s).astype(np.float32) for s in ((batch, m, k), (batch, k, n)))
        assert max(a.size, b.size, batch * m * n) <= 4096
        memory = [np.full(4096, np.nan, np.float32) for _ in range(3)]
        memory[1][:a.size], memory[2][:b.size] = a.ravel(), b.ravel()
        c = Contraction(batch, m, n, k, False, Operand((m * k, k, 1), None), Operand((k * n, n, 1), None), (None, True))
        row_tiles, row_blocks, column_tiles, column_blocks = c.blocks(height, width)
        numbers = (m, n, k, 2, m * k, k, 1, k * n, n, row_tiles, row_blocks, column_tiles, column_blocks)
        interpret(kernel, memory, numbers, 0, batch * row_blocks * column_blocks)
        np.testing.assert_array_equal(memory[0][:batch * m * n].reshape(batch, m, n), a @ b)
        assert np.isnan(memory[0][batch * m * n:]).all()


@given(batch=st.integers(1, 50), m=st.integers(1, 3000), n=st.integers(1, 3000), k=st.integers(1, 3000))
def test_iterations_take_every_tile_once(batch: int, m: int, n: int, k: int) -> None:
    c = Contraction(batch, m, n, k, False, Operand((0, 1, 1), None), Operand((0, 1, 1), None), (None, True))
    row_tiles, row_blocks, column_tiles, column_blocks = c.blocks(6, 64)
    assert (row_blocks - 1) * row_tiles < max(1, m // 6) <= row_blocks * row_tiles
    assert (column_blocks - 1) * column_tiles < max(1, n // 64) <= column_blocks * column_tiles


def test_blocks_of_k_are_even_where_they_can_be() -> None:
    for size in range(1, 3000):
        block = k_block(size)
        assert block == size if size <= 512 else 128 <= block <= 384
    assert k_block(2048) == 256 and k_block(768) == 256


# --- elementwise ops on views, and copies ---------------------------------------------------------------------------


def _agree(make: Callable[[], LazyBuffer], kernel: str = "") -> None:
    """The same bits from both tiers; ``kernel`` is among the generic ones."""
    values = []
    for setting in (0, 2):
        output = make()
        plans.clear()
        with minigrad.config(TIERS=setting), inspect() as seen:
            realise([output])
        values.append(to_numpy(output))
        assert seen.tier0 == setting // 2
    assert not kernel or any(k.name.startswith(kernel) for k in seen.kernels), seen.kernels
    assert values[0].tobytes() == values[1].tobytes()


def _numbers(*shape: int) -> LazyBuffer:
    x = leaf(np.random.default_rng(1).standard_normal(shape).astype(np.float32), float32, "CPU")
    x.owners += 1  # as if a Tensor held it
    return x


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 7), (7, 1), (3, 17), (200, 100), (5, 4097)])
def test_rows_and_columns_are_repeated_without_a_copy(rows: int, columns: int) -> None:
    x, row, column = _numbers(rows, columns), _numbers(1, columns), _numbers(rows, 1)
    both, name = (rows, columns), "rows_" if rows > 1 and columns > 1 else ""
    _agree(lambda: x.binary(Op.SUB, column.expand(both)), name)
    _agree(lambda: x.binary(Op.MUL, row.expand(both)), name)
    _agree(lambda: row.expand(both).binary(Op.ADD, column.expand(both)), name)
    _agree(lambda: x.binary(Op.LT, row.expand(both)).where(column.expand(both), x), name)


def test_rows_with_gaps_and_other_views() -> None:
    x, y = _numbers(6, 20, 8), _numbers(6, 5, 8)
    cut = x.shrink(((0, 6), (3, 8), (0, 8)))
    _agree(lambda: cut.binary(Op.ADD, y), "rows_")
    _agree(lambda: cut.unary(Op.EXP), "rows_")
    _agree(lambda: x.shrink(((0, 6), (0, 20), (2, 7))).unary(Op.NEG), "rows_")
    _agree(lambda: x.permute((2, 0, 1)).unary(Op.NEG), "copy_")
    _agree(lambda: x.flip((2,)).binary(Op.ADD, x), "copy_")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 40, 20), (3, 33, 64), (2, 31, 17), (1, 500, 300)])
def test_copies_that_swap_axes(shape: tuple[int, ...], dtype: type) -> None:
    array = (np.arange(np.prod(shape)) % 1999).reshape(shape).astype(dtype)
    with minigrad.config(TIERS=2):
        got = minigrad.tensor(array).transpose(1, 2).contiguous().reshape(-1).numpy()
    np.testing.assert_array_equal(got, array.swapaxes(1, 2).ravel())


# --- memory that is used again --------------------------------------------------------------------------------------


def test_what_is_read_last_may_be_written_over() -> None:
    """Graphs too large for memory of their own for each value: a result takes the place of an operand that it needs
    element by element, and of no other."""
    n = 1 << 20
    x, y = _numbers(n), _numbers(n)

    def chain(step: Callable[[LazyBuffer], LazyBuffer]) -> Callable[[], LazyBuffer]:
        def make() -> LazyBuffer:
            z = x.binary(Op.ADD, y)
            for _ in range(8):
                z = step(z)
            return z.binary(Op.ADD, y)

        return make

    _agree(chain(lambda z: z.unary(Op.NEG).binary(Op.MUL, z)))
    _agree(chain(lambda z: z.binary(Op.SUB, z.shrink(((0, 1),)).expand((n,)))))
    _agree(chain(lambda z: z.flip((0,)).binary(Op.ADD, z)))
    _agree(chain(lambda z: z.shrink(((1, n),)).pad(((0, 1, 0),)).binary(Op.MAXIMUM, z)))
    _agree(chain(lambda z: z.cast(float64).cast(float32)))
    _agree(chain(lambda z: z.reshape((1024, 1024)).permute((1, 0)).reshape((n,)).binary(Op.ADD, z)))


def test_a_long_chain_of_large_values_needs_memory_for_two() -> None:
    z = _numbers(1 << 20)
    for _ in range(30):
        z = z.unary(Op.NEG).unary(Op.EXP).unary(Op.LOG)
    with minigrad.config(TIERS=2):
        program, _ = plans.find(walk([z]))
    assert program.tier == 0 and program.arena_bytes <= 2 << 22  # type: ignore[union-attr]
