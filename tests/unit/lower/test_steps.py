"""Stage: tests of lower. In: steps. Out: that those which a strategy chose, printed, parsed and given back, make the
same loops, that others make loops with the same results, and what says why some cannot be. Next: ``test_map.py``."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import minigrad
from minigrad.errors import ScheduleError
from minigrad.graph.lazy import LazyBuffer
from minigrad.kernel.show import show
from minigrad.lower import lower
from minigrad.lower.neighbours import Chosen, neighbours
from minigrad.lower.steps import CHOSEN, Steps, parse, said
from minigrad.ops import Op
from minigrad.target import AVX2, AVX512, SCALAR, Target
from tests.unit.lower.specs import buffer, check, matmul, run, spec_of


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
    yield "long product", product(buffer((300, 1100)), buffer((1100, 130)))
    yield "turned product", matmul(a, buffer((33, 70)))
    rows, columns = buffer((3, 20, 1, 70)), buffer((3, 1, 33, 70))
    yield "batched", rows.expand((3, 20, 33, 70)).binary(Op.MUL, columns.expand((3, 20, 33, 70))).reduce(Op.SUM, (3,))
    yield "convolution", convolution()


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


@pytest.mark.parametrize("target", [SCALAR, AVX2, AVX512], ids=lambda t: t.name)
@pytest.mark.parametrize("name", NODES)
def test_chosen_steps_given_back_make_the_same_loops(name: str, target: Target) -> None:
    spec = spec_of(NODES[name])
    first = lower(spec, target)
    texts = chosen(first.strategies)
    assert CHOSEN not in texts
    again = lower(spec, replace(target, steps=(("*", tuple(texts)),)))
    assert show(again.kernel) == show(first.kernel) and again.strategies == first.strategies
    assert [str(parse(text)) for text in texts] == texts


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
    "", "lanes(x1, 8), unroll(x1, 2)", "lanes(r0, 4)", "multiply(x0, 3, x1, 8), lanes(x1, 8)",
    "multiply(x0, 1, x1, 16), lanes(x1, 4), split(r0, 25)", "multiply(x1, 4, x0, 8), lanes(x0, 8), keep(b, scratch)",
    "multiply(x0, 2, x1, 16), lanes(x1, 8), keep(a, scratch), keep(b, scratch), parallel(x0, 3), parallel(x1, 1)"])
def test_other_steps_of_a_product(steps: str, rng: np.random.Generator) -> None:
    a, b = buffer((11, 60)), buffer((60, 21))
    x, y = rng.standard_normal((11, 60)).astype("f"), rng.standard_normal((60, 21)).astype("f")
    check([product(a, b)], {a: x, b: y}, [x @ y], 1e-4,
          targets=given(steps))


def given(steps: str) -> list[Target]:
    return [replace(target, steps=(("*", (steps,)),)) for target in (AVX2, AVX512)]


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
    ("keep(a, scratch)", "keep(a, scratch): rows can keep (sums, scratch)"),
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
    assert said("") == ()
    assert said("a: | chosen;\n b*: lanes(x0, 8)\n") == (("a", ("", None)), ("b*", ("lanes(x0, 8)",)))
    with pytest.raises(ScheduleError, match="steps are given as 'pattern: steps | steps', not 'lanes'"):
        said("lanes")
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


def test_steps_that_cannot_be_lose_nothing(rng: np.random.Generator) -> None:
    x = minigrad.tensor(rng.standard_normal((30, 50)).astype("f"))
    y = x.sin().sum(1)
    with minigrad.steps("*", "lanes(x5, 8)"), pytest.raises(ScheduleError, match="there is no axis x5"):
        y.realize()
    np.testing.assert_allclose(y.numpy(), np.sin(x.numpy()).sum(1), rtol=1e-5)


@pytest.mark.parametrize("name", NODES)
def test_neighbours_differ_in_one_thing_and_compute_the_same(name: str, rng: np.random.Generator) -> None:
    spec = spec_of(NODES[name])
    first = lower(spec, AVX2)
    values = {n: rng.integers(-3, 4, n.size).astype("f") for n in spec.memory if n.op == Op.BUFFER}
    sizes = {m.name: a.size for n, m in spec.memory.items() for a in first.kernel.arrays if a.name == m.name}
    values = {n: rng.integers(-3, 4, sizes[spec.memory[n].name]).astype("f") for n in values}
    (chosen,) = [Chosen.read(line) for line in first.strategies]
    assert chosen is not None
    wanted, tried = run(spec, values, target=AVX2, native=True), 0
    others = neighbours(chosen, AVX2)
    assert len(set(others)) == len(others) and chosen.steps not in others
    for steps in others[::3]:
        target = replace(AVX2, steps=(("*", (str(steps),)),))
        try:
            lower(spec, target)
        except ScheduleError:
            continue
        tried += 1
        for node, found in run(spec, values, target=target, native=True).items():
            np.testing.assert_array_equal(found, wanted[node], str(steps))  # sums of small integers are exact
    assert tried > 1 or chosen.strategy == "map"
