"""Stage: tests of schedule. In: pairs of graphs. Out: whether their kernels have one structure: only then may they
share code. Next: ``test_plan.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from minigrad.conformance.contractions import matmul
from minigrad.conformance.programs import layer_norm, softmax
from minigrad.dtype import DType, float32, float64, int64
from minigrad.graph.lazy import LazyBuffer
from minigrad.kernel.show import show
from minigrad.lower import lower
from minigrad.ops import Op
from minigrad.schedule.plan import Assembly
from minigrad.schedule.spec import KernelSpec, StackedSpec
from minigrad.target import AVX512
from tests.unit.schedule.planning import buffer, plan


def _structures(*outputs: LazyBuffer) -> list[Any]:
    return [launch.structure for launch in plan(*outputs).launches]


def _x(shape: tuple[int, ...] = (300, 400), dtype: DType = float32, strides: Any = None) -> LazyBuffer:
    return buffer(shape, dtype, strides)


def _scaled(number: Any, x: LazyBuffer | None = None) -> LazyBuffer:
    x = x or _x()
    return x.binary(Op.MUL, x.like(number))


@pytest.mark.parametrize("build", [
    lambda: softmax(_x(), (1,)), lambda: layer_norm(_x(), (1,)), lambda: matmul(_x(), _x((400, 300))),
    lambda: _scaled(float("nan")), lambda: _x().gather([buffer((7,), int64)]),
    lambda: _x().scatter(_x((7, 400)), [buffer((7,), int64)], "add"),
    lambda: _x().binary(Op.ADD, LazyBuffer.scalar(2.0, float32, "CPU").expand((300, 400)))])
def test_the_same_made_again(build: Callable[[], LazyBuffer]) -> None:
    assert _structures(build()) == _structures(build())


@pytest.mark.parametrize("made", [
    lambda x: x.binary(Op.MUL, x.like(2.0)), lambda x: x.reduce(Op.SUM, (1,)), lambda x: softmax(x, (1,)),
    lambda x: matmul(x, _x((400, 300))), lambda x: x.gather([buffer((7,), int64)])])
def test_axes_of_one_element_that_are_not_looked_at(made: Callable[[LazyBuffer], LazyBuffer]) -> None:
    """The code is the same, too."""
    plans = [plan(made(x.reshape((300, 400)))) for x in (_x(), _x((300, 1, 400, 1)), _x((1, 300, 400)))]
    kernels = [[replace(launch.spec, name="k") for launch in p.launches] for p in plans]
    texts = [[show(lower(spec, AVX512).kernel) for spec in specs] for specs in kernels]
    structures = [[launch.structure for launch in p.launches] for p in plans]
    assert structures[0] == structures[1] == structures[2] and texts[0] == texts[1] == texts[2]


@pytest.mark.parametrize("one, other", [
    (lambda: _x((300, 1)).expand((300, 300)), lambda: _x((1, 300)).expand((300, 300))),
    (lambda: _x((300, 1)).expand((300, 300)), lambda: _x((300,)).reshape((1, 300)).expand((300, 300))),
    (lambda: _scaled(0.0), lambda: _scaled(-0.0)),
    (lambda: _scaled(2.0), lambda: _scaled(3.0)),
    (lambda: _scaled(2.0), lambda: _scaled(2.0, _x((400, 300)))),
    (lambda: _scaled(2.0), lambda: _scaled(2.0, _x(dtype=float64))),
    (lambda: _scaled(2.0), lambda: _scaled(2.0, _x(strides=(1, 300)))),
    (lambda: _x().binary(Op.SUB, _x()), lambda: (lambda x: x.binary(Op.SUB, x.unary(Op.NEG).unary(Op.ABS)))(_x())),
    (lambda: _x().reduce(Op.SUM, (0,)), lambda: _x().reduce(Op.SUM, (1,))),
    (lambda: _x().gather([buffer((7,), int64)]), lambda: _x((300,)).gather([buffer((7,), int64)])),
    (lambda: (lambda a, b: a.binary(Op.SUB, b))(_x(), _x()), lambda: (lambda a: a.binary(Op.SUB, a))(_x()))])
def test_what_differs_in_code(one: Callable[[], LazyBuffer], other: Callable[[], LazyBuffer]) -> None:
    assert _structures(one()) != _structures(other())


def test_layers_have_one_structure_and_one_name() -> None:
    x = _x((256, 256))
    for _ in range(6):
        x = matmul(x, _x((256, 256))).binary(Op.MAXIMUM, x.like(0.0))
    launches = plan(x).launches
    assert len(launches) == 6 and len({launch.structure for launch in launches}) == 1
    assert len({launch.spec.name for launch in launches}) == 1


def test_other_code_has_another_name() -> None:
    x = _x()
    launches = plan(_scaled(2.0, x).unary(Op.EXP).contiguous().reduce(Op.SUM, (1,)), _scaled(3.0, x).reduce(
        Op.SUM, (1,))).launches
    specs = [p for launch in launches for p in (launch.spec,)]
    assert all(isinstance(s, KernelSpec | StackedSpec) for s in specs)
    assert len({s.name for s in specs}) == len({launch.structure for launch in launches})


def test_a_numbered_name_is_no_other_kernels() -> None:
    made = object.__new__(Assembly)
    made.names_used, made.names_taken = {}, set()
    one, two, three = (_structures(_scaled(number))[0] for number in (1.5, 2.5, 3.5))
    assert [made._unique(*pair) for pair in (("a", one), ("a", two), ("a_1", three), ("a", one))] == [
        "a", "a_1", "a_1_1", "a"]


def test_each_look_up_reports_to_words_of_its_own() -> None:
    """Kernels count their status words from 0, so that their code does not depend on how many others there are."""
    x = _x((300, 400))
    for _ in range(4):
        x = x.gather([buffer((300,), int64)]).unary(Op.EXP).reduce(Op.SUM, (1,)).expand((300, 400)).contiguous()
    made = plan(x)
    words = [place.at for launch in made.launches for place in launch.places if place.kind == "status"]
    assert len(made.checks) == 4 and words == sorted(set(words)) == [8 * i for i in range(4)]
    assert len({launch.structure for launch in made.launches}) < len(made.launches)
