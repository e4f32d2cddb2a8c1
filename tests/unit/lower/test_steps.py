"""Stage: tests of lower. In: steps. Out: that those which a strategy chose, printed, parsed and given back, make the
same loops, that others make loops with the same results, and what says why some cannot be. Next: ``test_map.py``."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import minigrad
from minigrad.dtype import float16, int64
from minigrad.errors import ScheduleError
from minigrad.graph.lazy import LazyBuffer
from minigrad.kernel.ir import Multiply
from minigrad.kernel.show import show
from minigrad.kernel.walk import statements
from minigrad.lower import lower
from minigrad.lower.neighbours import Chosen, neighbours
from minigrad.lower.steps import CHOSEN, Steps, parse, said
from minigrad.ops import Op
from minigrad.target import AVX2, AVX512, CUDA, GPU, SCALAR, Target
from tests.unit.lower.specs import buffer, check, matmul, run, spec_of
from tests.unit.lower.test_gpu import TINY, columns_of_softmax, rows_of_softmax


def chosen(notes: tuple[str, ...]) -> list[str]:
    """The steps that notes name; ``chosen`` for a stage that has none."""
    return [CHOSEN if (found := Chosen.read(note)) is None else str(found.steps) for note in notes]


def nodes():
    a, b, c = buffer((40, 70)), buffer((70, 33)), buffer((5, 13, 21))
    yield "map", a.unary(Op.NEG)
    yield "turned", a.permute((1, 0)).unary(Op.NEG)
    yield "broadcast", buffer((70,)).reshape((1, 70)).expand((40, 70)).binary(Op.ADD, a)
    yield "one", buffer(()).unary(Op.NEG)
    yield "rows", a.reduce(Op.SUM, (1,))
    yield "columns", a.reduce(Op.SUM, (0,))
    yield "streams", buffer((600, 1030)).reduce(Op.SUM, (0,))
    yield "middle", c.reduce(Op.MAX, (1,))
    yield "all", c.reduce(Op.SUM, (0, 1, 2))
    yield "product", product(a, b)
    yield "small product", product(buffer((6, 12)), buffer((12, 10)))
    yield "long product", product(buffer((300, 1100)), buffer((1100, 130)))
    yield "turned product", matmul(a, buffer((33, 70)))
    yield "narrow product", product(buffer((130, 400)), buffer((400, 6)))
    yield "narrow product, turned", matmul(buffer((400, 6)).permute((1, 0)), buffer((130, 400)))
    rows, columns = buffer((3, 20, 1, 70)), buffer((3, 1, 33, 70))
    yield "batched", rows.expand((3, 20, 33, 70)).binary(Op.MUL, columns.expand((3, 20, 33, 70))).reduce(Op.SUM, (3,))
    yield "convolution", convolution()
    yield "scan of rows", a.scan(Op.SUM, 1)
    yield "scan of columns", c.scan(Op.MAX, 1)
    yield "scan of a long row", buffer((9000,)).scan(Op.SUM, 0)
    yield "scan across memory", buffer((2, 30, 1100)).scan(Op.SUM, 1)


def product(a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
    return matmul(a, b.permute((1, 0)))


def convolution() -> LazyBuffer:
    """3 × 3, without padding."""
    weights, strided = buffer((8, 3, 3, 3)), buffer((4, 3, 7, 7, 3, 3), strides=(243, 81, 9, 1, 9, 1))
    space = (4, 8, 7, 7, 3, 3, 3)
    left = strided.permute((0, 2, 3, 1, 4, 5)).reshape((4, 1, 7, 7, 3, 3, 3)).expand(space)
    right = weights.reshape((1, 8, 1, 1, 3, 3, 3)).expand(space)
    return left.binary(Op.MUL, right).reduce(Op.SUM, (4, 5, 6))


NODES = dict(nodes())


@pytest.mark.parametrize("target", [SCALAR, AVX2, AVX512, GPU, CUDA, TINY], ids=lambda t: f"{t.name}{t.workgroup}")
@pytest.mark.parametrize("name", NODES)
def test_chosen_steps_given_back_make_the_same_loops(name: str, target: Target) -> None:
    spec = spec_of(NODES[name])
    first = lower(spec, target)
    texts = chosen(first.strategies)
    assert CHOSEN not in texts
    again = lower(spec, replace(target, steps=(("*", tuple(texts)),)))
    assert show(again.kernel) == show(first.kernel) and again.strategies == first.strategies
    assert [str(parse(text)) for text in texts] == texts


@pytest.mark.parametrize("target", [AVX2, GPU, TINY], ids=lambda t: f"{t.name}{t.workgroup}")
@pytest.mark.parametrize("shape", [(300, 5), (64, 131)])
def test_steps_are_for_whole_blocks(target: Target, shape: tuple[int, int]) -> None:
    """Of a kernel that takes several columns at once, and at last fewer, which have other axes."""
    spec = columns_of_softmax(shape)[0]
    first = lower(spec, target)
    assert "(all: " in first.strategies[0]
    again = lower(spec, replace(target, steps=(("*", tuple(chosen(first.strategies))),)))
    assert show(again.kernel) == show(first.kernel)


@pytest.mark.parametrize("steps", [
    "", "parallel(x0, 3)", "lanes(x1, 8)", "lanes(x1, 8), parallel(x1, 2)", "lanes(x0, 4), split(x1, 4)",
    "lanes(x1, 16), split(x0, 16), unroll(x0, 16), parallel(x0, 1)"])
def test_other_steps_of_map(steps: str, rng: np.random.Generator) -> None:
    a, b = buffer((37, 21)), buffer((21, 37))
    x, y = rng.standard_normal((37, 21)).astype("f"), rng.standard_normal((21, 37)).astype("f")
    node = a.binary(Op.ADD, b.permute((1, 0)))
    check([node], {a: x, b: y}, [x + y.T], targets=given(steps))


@pytest.mark.parametrize("steps", [
    "", "parallel(x0, 3)", "lanes(r0, 8)", "lanes(r0, 8), accumulate(r0, 4)", "lanes(x0, 8)",
    "lanes(x0, 4), unroll(x0, 2), unroll(r0, 8)", "lanes(x0, 8), unroll(x0, 4), keep(sums, scratch), parallel(x0, 1)"])
def test_other_steps_of_rows(steps: str, rng: np.random.Generator) -> None:
    a = buffer((37, 300))
    x = rng.standard_normal((37, 300)).astype("f")
    check([a.reduce(Op.SUM, (1,))], {a: x}, [x.sum(1, keepdims=True)], 1e-4, targets=given(steps))


@pytest.mark.parametrize("steps", [
    "", "lanes(x1, 8), unroll(x1, 2)", "lanes(r0, 4)", "lanes(r0, 8), unroll(x0, 4), unroll(x1, 5), accumulate(r0, 2)",
    "lanes(r0, 16), unroll(x0, 11), parallel(x1, 2)", "unroll(x0, 2), unroll(x1, 4), parallel(x1, 1)",
    "lanes(r0, 8), unroll(x1, 2), parallel(x0, 3)", "lanes(r0, 8), unroll(x0, 4), unroll(x1, 5), keep(b, scratch)",
    "lanes(r0, 16), unroll(x0, 2), keep(b, scratch), parallel(x1, 1)", "keep(b, scratch)",
    "multiply(x0, 3, x1, 8), lanes(x1, 8)",
    "multiply(x0, 1, x1, 16), lanes(x1, 4), split(r0, 25)", "multiply(x1, 4, x0, 8), lanes(x0, 8), keep(b, scratch)",
    "multiply(x0, 2, x1, 16), lanes(x1, 8), keep(a, scratch), keep(b, scratch), parallel(x0, 3), parallel(x1, 1)"])
def test_other_steps_of_a_product(steps: str, rng: np.random.Generator) -> None:
    a, b = buffer((11, 60)), buffer((60, 21))
    x, y = rng.standard_normal((11, 60)).astype("f"), rng.standard_normal((60, 21)).astype("f")
    check([product(a, b)], {a: x, b: y}, [x @ y], 1e-4,
          targets=given(steps))


def given(steps: str, *targets: Target) -> list[Target]:
    return [replace(target, steps=(("*", (steps,)),)) for target in targets or (AVX2, AVX512)]


# --- on GPUs: by the interpreter, which sees races between threads


@pytest.mark.parametrize("steps", [
    "", "block(64), grid(2)", "lanes(x1, 1)", "lanes(x0, 4)", "block(8), split(x0, 8)", "block(64), split(x0, 16)"])
def test_other_steps_of_map_on_a_gpu(steps: str, rng: np.random.Generator) -> None:
    a, b = buffer((36, 21)), buffer((21, 36))
    x, y = rng.standard_normal((36, 21)).astype("f"), rng.standard_normal((21, 36)).astype("f")
    check([a.binary(Op.ADD, b.permute((1, 0)))], {a: x, b: y}, [x + y.T], targets=given(steps, GPU, CUDA))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("steps", [
    "", "grid(3)", "block(16), accumulate(r0, 16)", "block(8), accumulate(r0, 2), coalesce(r0)", "coalesce(r0)",
    "block(16), accumulate(r0, 4), coalesce(r0)", "accumulate(r0, 4)"])
def test_other_steps_of_rows_on_a_gpu(steps: str, axis: int, rng: np.random.Generator) -> None:
    a = buffer((37, 300))
    x = rng.standard_normal((37, 300)).astype("f")
    check([a.reduce(Op.SUM, (axis,))], {a: x}, [x.sum(axis, keepdims=True)], 1e-4, targets=given(steps, GPU, TINY))


@pytest.mark.parametrize("steps", ["lanes(r0, 4)", "accumulate(r0, 8), lanes(r0, 2)",
                                   "accumulate(r0, 2), coalesce(r0), lanes(r0, 4)"])
def test_neighbours_that_a_thread_adds_up(steps: str, rng: np.random.Generator) -> None:
    a = buffer((37, 300))
    x = rng.standard_normal((37, 300)).astype("f")
    check([a.reduce(Op.SUM, (1,))], {a: x}, [x.sum(1, keepdims=True)], 1e-4, targets=given(steps, GPU, TINY))


@pytest.mark.parametrize("steps", ["", "grid(1)", "block(8)", "block(16), accumulate(r0, 16)"])
def test_other_steps_of_scan_on_a_gpu(steps: str, rng: np.random.Generator) -> None:
    a = buffer((5, 130), int64)
    x = rng.integers(-9, 9, (5, 130))
    check([a.scan(Op.SUM, 1)], {a: x}, [np.cumsum(x, 1)], targets=given(steps, GPU, TINY))


@pytest.mark.parametrize("steps", [
    "", "block(16), multiply(x0, 1, x1, 1)", "block(16), multiply(x0, 2, x1, 3), split(x1, 12), split(r0, 7)",
    "block(8), multiply(x0, 4, x1, 4), split(x0, 16), lanes(x1, 4), split(r0, 8), keep(b, shared)",
    "block(4), multiply(x1, 4, x0, 2), split(x1, 8), split(r0, 16), keep(a, shared), keep(b, shared)"])
def test_other_steps_of_a_product_on_a_gpu(steps: str, rng: np.random.Generator) -> None:
    """Also where K ends inside a tile, and exp(0) is not 0."""
    a, b = buffer((11, 60)), buffer((60, 20))
    x, y = rng.standard_normal((11, 60)).astype("f"), rng.standard_normal((60, 20)).astype("f")
    targets = given(steps, GPU, replace(TINY, shared=GPU.shared))
    check([product(a.unary(Op.EXP), b.unary(Op.EXP))], {a: x, b: y}, [np.exp(x) @ np.exp(y)], 1e-4, targets=targets)


@pytest.mark.parametrize("steps", [
    "block(32), matrix(x0, 16, x1, 16), keep(a, shared), keep(b, shared)",
    "block(64), matrix(x0, 16, x1, 32), split(x0, 32), lanes(x1, 2), split(r0, 32), keep(a, shared), keep(b, shared)"])
def test_other_steps_of_a_product_of_halves(steps: str, rng: np.random.Generator) -> None:
    a, b = buffer((20, 48), float16), buffer((48, 36), float16)
    x, y = rng.standard_normal((20, 48)).astype("f2"), rng.standard_normal((48, 36)).astype("f2")
    (target,) = given(steps, CUDA)
    assert any(isinstance(s, Multiply) for s in statements(lower(spec_of(product(a, b)), target).kernel))
    check([product(a, b)], {a: x, b: y}, [(x.astype("f") @ y.astype("f")).astype("f2")], 1e-2, targets=[target])


@pytest.mark.parametrize(("node", "steps", "why"), [
    ("map", "block(48)", "block(48): all stages of a kernel run on the same threads, a power of two"),
    ("map", "block(512)", "all stages of a kernel run on the same threads, a power of two up to 256"),
    ("map", "parallel(x0, 4)", "map has no such step; it has block, grid, lanes, split"),
    ("map", "lanes(x0, 64)", "2800 elements are no whole vectors of 64"),
    ("map", "split(x0, 32)", "split(x0, 32): nothing lies side by side in memory along this axis"),
    ("turned", "split(x0, 32), lanes(x1, 4)", "tiles are turned element by element, without lanes"),
    ("turned", "block(32), split(x0, 64)", "a tile's rows are a power of two, up to the 32 threads"),
    ("rows", "accumulate(x0, 4)", "accumulate(x0, 4): nothing is summed along x0"),
    ("rows", "block(32), accumulate(r0, 64)", "all sums are shared among as many of the 32 threads"),
    ("rows", "accumulate(r0, 64), grid(8)", "where threads share results, there are as many workgroups as these need"),
    ("rows", "lanes(r0, 4)", "70 elements are no whole vectors of 4"),
    ("rows", "multiply(x0, 4, x0, 4)", "this stage is no sum of products of two factors with axes of their own"),
    ("product", "multiply(x0, 4, x1, 4), keep(a, scratch)", "contraction can keep (a, shared), (b, shared)"),
    ("product", "block(32), multiply(x0, 4, x1, 4), split(x1, 24)", "as many times 4 and 4, in all, as it has threads"),
    ("product", "multiply(x0, 4, x1, 4), lanes(x1, 4)", "4 results a thread, of 33 in a row"),
    ("product", "multiply(x0, 4, x1, 4), split(r0, 999), keep(a, shared)", "the workgroup's memory does not hold"),
    ("product", "matrix(x0, 16, x1, 16)", "of one dtype of float16, bfloat16"),
    ("batched", "multiply(x1, 4, x2, 4), split(x0, 2)", "what can be cut are rows, columns and the last axis of the"),
    ("halves", "matrix(x0, 16, x1, 20)", "rows and columns are multiples of 16"),
    ("halves", "matrix(x0, 16, x1, 16), split(r0, 24)", "the sum is cut into multiples of 16"),
    ("halves", "matrix(x0, 16, x1, 16), split(x1, 64)", "as many times 16 and 16, in all, as it has subgroups, 8"),
    ("halves", "matrix(x0, 16, x1, 16), split(x1, 128)", "both operands are kept in shared memory"),
])
def test_what_cannot_be_on_a_gpu_says_why(node: str, steps: str, why: str) -> None:
    made = product(buffer((40, 70), float16), buffer((70, 34), float16)) if node == "halves" else NODES[node]
    with pytest.raises(ScheduleError, match=re.escape(why)):
        lower(spec_of(made), given(steps, CUDA)[0])


@pytest.mark.parametrize("device", ["CUDA", "OPENCL"])
def test_kernels_for_a_gpu_are_made_by_the_steps(device: str) -> None:
    """Without having one: as text."""
    if device == "OPENCL" and not next(d.reason for d in minigrad.devices() if d.name == device):
        pytest.skip("the device that is there may be a processor, which takes other steps")
    x = minigrad.ones(64, 96)
    with minigrad.steps(f"{device}/*", "block(16), lanes(x0, 4)"), minigrad.inspect(device=device, run=False) as seen:
        (x * 2).realize()
    (kernel,) = seen.kernels
    assert kernel.stages == ("map over x0 = 6144: block(16), lanes(x0, 4), grid(96); 96 workgroups",)
    assert "launch_bounds__(16)" in kernel.source or "reqd_work_group_size(16, 1, 1)" in kernel.source


def test_all_stages_run_on_the_same_threads() -> None:
    spec = rows_of_softmax((64, 96))[0]
    for blocks, why in (("block(32)", None, None), ""), (("block(32)", "block(64)", None), "on the same threads"):
        target = replace(GPU, steps=(("*", blocks),))
        if why:
            with pytest.raises(ScheduleError, match=why):
                lower(spec, target)
        else:
            assert lower(spec, target).kernel.workgroup == 32


@pytest.mark.parametrize(("steps", "why"), [
    ("vectorise(x0)", "there is no step vectorise; the steps are lanes(axis, count), "),
    ("lanes(x0)", "lanes(x0): the step is lanes(axis, count), where a count is 1 or more"),
    ("lanes(x0, 0)", "where a count is 1 or more"),
    ("lanes(x0, 4", "steps are written name(argument, ...), one after the other, not 'lanes(x0, 4'"),
    ("lanes(x0, 6)", "lanes(x0, 6): a power of two is wanted"),
    ("lanes(x7, 8)", "lanes(x7, 8): there is no axis x7; the axes are x0 = 40, x1 = 33, r0 = 70"),
    ("lanes(x0, 8) lanes(x1, 8)", "lanes(x1, 8): x0 has the lanes already"),
    ("lanes(x0, 8) lanes(r0, 8)", "the lanes run along a kept axis or along reduced ones"),
    ("unroll(r0, 71)", "unroll(r0, 71): r0 has 70 steps"),
    ("split(x0, 4)", "split(x0, 4): rows has no such step; it has lanes, parallel, unroll, accumulate, keep"),
    ("parallel(r0, 4)", "parallel(r0, 4): r0 has no loop to divide; x0, x1 have"),
    ("multiply(x0, 4, r0, 8)", "rows are an axis that one factor has alone, columns one of the other's"),
    ("multiply(x0, 4, x1, 12) lanes(x1, 8)", "12 columns in vectors of 8"),
    ("multiply(x0, 41, x1, 8)", "41 of 40 rows"),
    ("keep(a, scratch)", "keep(a, scratch): rows can keep (sums, scratch), (b, scratch)"),
    ("lanes(x1, 8), keep(b, scratch)", "keep(b, scratch) wants a sum of products"),
    ("multiply(x0, 4, x1, 8) keep(c, scratch)", "contraction can keep (a, scratch), (b, scratch)"),
    ("multiply(x0, 4, x1, 8) join(x0, x1)", "columns are axes of one factor"),
])
def test_what_cannot_be_says_why(steps: str, why: str) -> None:
    with pytest.raises(ScheduleError, match=re.escape(why)):
        lower(spec_of(product(buffer((40, 70)), buffer((70, 33)))), given(steps)[0])


def test_what_reduces_nothing_has_neighbours() -> None:
    chosen = Chosen.read("rows over x0 = 64: lanes(x0, 8), parallel(x0, 8); 1 iterations")
    assert chosen is not None and len(neighbours(chosen, AVX2)) > 3


def test_a_product_needs_one() -> None:
    with pytest.raises(ScheduleError, match="this stage is no sum of products"):
        lower(spec_of(buffer((40, 70)).reduce(Op.MAX, (1,))), given("multiply(x0, 4, x0, 8)")[0])


def test_the_setting_names_patterns_and_stages() -> None:
    assert said("", "CPU") == ()
    assert said("a: | chosen;\n b*: lanes(x0, 8)\n", "CPU") == (("a", ("", None)), ("b*", ("lanes(x0, 8)",)))
    with pytest.raises(ScheduleError, match="steps are given as 'pattern: steps | steps', not 'lanes'"):
        said("lanes", "CPU")
    assert str(Steps()) == "plain loops" and parse("plain loops") == Steps()


def test_kernels_of_a_block_are_made_by_the_steps(rng: np.random.Generator) -> None:
    """Also in a loop whose calls are replayed, and under jit; afterwards all is as before."""
    x = minigrad.tensor(rng.standard_normal((30, 50)).astype("f"))
    compiled = minigrad.jit(lambda x: (x * 3).sum(1))

    def stages(call) -> set[str]:
        with minigrad.inspect() as seen:
            for _ in range(4):
                call().realize()
        return {s for k in seen.kernels for s in k.stages} if seen.plan_misses + seen.plan_hits == 4 else set()

    for call in (lambda: (x * 3).sum(1), lambda: compiled(x)):
        for _ in range(6):
            call().realize()
        with minigrad.steps("*sum*", "parallel(x0, 7)"):
            assert stages(call) == {"rows over x0 = 30, r0 = 50: parallel(x0, 7); 5 iterations"}
            with minigrad.steps("*sum*", "lanes(r0, 4)"):
                assert stages(call) == {"rows over x0 = 30, r0 = 50: lanes(r0, 4); 1 iterations"}
            with minigrad.steps("no such kernel", ""):
                assert stages(call) == {"rows over x0 = 30, r0 = 50: parallel(x0, 7); 5 iterations"}
        assert stages(call) == set()  # it is replayed again
    with pytest.raises(ScheduleError, match="there is no step turn"), minigrad.steps("*", "turn(x0)"):
        pass


@pytest.mark.parametrize("calls", [1, 6, 40])
def test_steps_are_obeyed_after_any_number_of_calls(calls: int) -> None:
    """After some runs a place is written down as a function; nobody looks at graphs here."""
    x = minigrad.ones(30, 50).realize()

    def call(x: minigrad.Tensor) -> minigrad.Tensor:
        return (x * 3).sum(1).realize()

    for made in (call, minigrad.jit(call)):
        for _ in range(calls):
            made(x)
        with minigrad.steps("*sum*", "lanes(x5, 8)"), pytest.raises(ScheduleError, match="there is no axis x5"):
            made(x)


def test_steps_that_cannot_be_lose_nothing(rng: np.random.Generator) -> None:
    x = minigrad.tensor(rng.standard_normal((30, 50)).astype("f"))
    y = x.sin().sum(1)
    with minigrad.steps("*", "lanes(x5, 8)"), pytest.raises(ScheduleError, match="there is no axis x5"):
        y.realize()
    np.testing.assert_allclose(y.numpy(), np.sin(x.numpy()).sum(1), rtol=1e-5)


SMALL = ("map", "turned", "rows", "columns", "middle", "small product")
"""Those that the interpreter has time for."""


@pytest.mark.parametrize(("name", "target"), [*((n, AVX2) for n in NODES), *((n, TINY) for n in SMALL)],
                         ids=lambda x: getattr(x, "name", x))
def test_neighbours_differ_in_one_thing_and_compute_the_same(name: str, target: Target,
                                                             rng: np.random.Generator) -> None:
    spec = spec_of(NODES[name])
    first, native = lower(spec, target), target is AVX2
    values = {n: rng.integers(-3, 4, n.size).astype("f") for n in spec.memory if n.op == Op.BUFFER}
    sizes = {m.name: a.size for n, m in spec.memory.items() for a in first.kernel.arrays if a.name == m.name}
    values = {n: rng.integers(-3, 4, sizes[spec.memory[n].name]).astype("f") for n in values}
    (chosen,) = [Chosen.read(line) for line in first.strategies]
    assert chosen is not None
    wanted, tried = run(spec, values, target=target, native=native), 0
    others = neighbours(chosen, target)
    assert len(set(others)) == len(others) and chosen.steps not in others
    for steps in others[::3 if native else 1]:
        changed = replace(target, steps=(("*", (str(steps),)),))
        try:
            lower(spec, changed)
        except ScheduleError:
            continue
        tried += 1
        for node, found in run(spec, values, target=changed, native=native).items():
            np.testing.assert_array_equal(found, wanted[node], str(steps))  # sums of small integers are exact
    assert tried > 1 or chosen.strategy == "map"
