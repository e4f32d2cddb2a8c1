"""Stage: tests of realise. In: pending graphs. Out: graphs of one structure have one key, others have not, and memory
counts as dead only when nobody can read it again. Next: ``test_plans.py``."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import minigrad
from minigrad.dtype import float32, float64, int64
from minigrad.engine import leaf_from_numpy, to_numpy
from minigrad.engine.walk import Pending, walk
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op


def leaf(*shape: int, dtype=float32, device: str = "CPU") -> LazyBuffer:
    return leaf_from_numpy(np.ones(shape, dtype.numpy), dtype, device)


def _key(build: Callable[[LazyBuffer], LazyBuffer], **options) -> object:
    x = leaf(4, 6, **options)
    return walk([build(x)]).key


def test_the_same_program_has_the_same_key() -> None:
    def program(x: LazyBuffer) -> LazyBuffer:
        return x.binary(Op.MUL, x.like(3.0)).reduce(Op.SUM, (1,)).unary(Op.EXP)

    assert _key(program) == _key(program)
    assert hash(_key(program)) == hash(_key(program))
    assert _key(program) == _key(lambda x: x.binary(Op.MUL, x.like(4.0)).reduce(Op.SUM,
                                                                                (1,
                                                                                 )).unary(Op.EXP)), "numbers are apart"


DIFFERENT: dict[str, tuple[Callable[[LazyBuffer], LazyBuffer], Callable[[LazyBuffer], LazyBuffer]]] = {
    "op": (lambda x: x.unary(Op.EXP), lambda x: x.unary(Op.LOG)),
    "argument": (lambda x: x.reduce(Op.SUM, (0,)), lambda x: x.reduce(Op.SUM, (1,))),
    "operands": (lambda x: x.unary(Op.EXP).binary(Op.SUB, x), lambda x: x.binary(Op.SUB, x.unary(Op.EXP))),
    "sharing": (lambda x: x.unary(Op.EXP).binary(Op.ADD, x.unary(Op.EXP)),
                lambda x: (lambda e: e.binary(Op.ADD, e))(x.unary(Op.EXP))),
    "leaves": (lambda x: x.binary(Op.ADD, leaf(4, 6)), lambda x: x.binary(Op.ADD, x)),
    "constant or not": (lambda x: x.binary(Op.ADD, x.like(1.0)), lambda x: x.binary(Op.ADD, leaf(4, 6))),
    "run-time number or not": (lambda x: x.binary(Op.ADD, x.like(1.0)),
                               lambda x: x.binary(Op.ADD, LazyBuffer.scalar(1.0, float32, "CPU").expand((4, 6)))),
    "movement": (lambda x: x.reshape((6, 4)).unary(Op.NEG), lambda x: x.reshape((3, 8)).unary(Op.NEG)),
    "strides": (lambda x: x.shrink(((0, 4), (0, 3))).unary(Op.NEG), lambda x: leaf(4, 3).unary(Op.NEG)),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_other_programs_have_other_keys(name: str) -> None:
    one, other = DIFFERENT[name]
    assert _key(one) != _key(other)


def test_keys_hold_shapes_dtypes_devices_and_outputs() -> None:
    x = leaf(4, 6)
    y = x.unary(Op.EXP)
    z = y.unary(Op.NEG)
    keys = [walk([z]).key, walk([y, z]).key, walk([leaf(4, 7).unary(Op.EXP).unary(Op.NEG)]).key,
            walk([leaf(4, 6, dtype=float64).unary(Op.EXP).unary(Op.NEG)]).key,
            walk([leaf(4, 6, device="CC").unary(Op.EXP).unary(Op.NEG)]).key]
    y.owners += 1
    keys.append(walk([z]).key)
    assert keys[1] == keys[5], "a value that somebody owns is stored on the way"
    assert len(set(keys[:5])) == 5


def test_keys_hold_what_changes_results_elsewhere() -> None:
    def keys() -> list[object]:
        return [walk([leaf(4, 6, device=d).unary(Op.EXP)]).key for d in ("CPU", "CC")]

    before = keys()
    with minigrad.config(ALLOW_TF32=1):
        cpu, other = keys()
    assert cpu == before[0] and other != before[1] and keys() == before
    with minigrad.config(CODEGEN=0):
        cpu, other = keys()
    assert cpu != before[0] and other == before[1]


@pytest.mark.parametrize("device, settings", [("CPU", {}), ("CC", {}), ("CPU", {"BEAM": 2})])
def test_who_holds_the_leaves_is_in_the_key_and_not_in_the_graph(device: str, settings: dict[str, int]) -> None:
    x = leaf(4, 6, device=device)
    with minigrad.config(**settings):
        alone = walk([x.unary(Op.EXP)])
        x.owners += 1
        held = walk([x.unary(Op.EXP)])
    assert alone.dead != held.dead
    assert alone.key != held.key and alone.graph == held.graph


def test_run_time_numbers_and_offsets_are_not_in_the_key() -> None:
    x = leaf(100)

    def pending(value: float, begin: int) -> Pending:
        rate = LazyBuffer.scalar(value, float32, "CPU").expand((10,))
        return walk([x.shrink(((begin, begin + 10),)).binary(Op.MUL, rate)])

    assert pending(0.1, 0).key == pending(0.2, 30).key
    assert [s.value for s in pending(0.2, 0).scalars] == [0.2]


@pytest.mark.parametrize("a, b, equal", [(0.0, -0.0, False), (0, 0.0, True), (math.nan, -math.nan, True),
                                         (1.0, 2.0, False),
                                         (math.inf, -math.inf, False)])
def test_numbers(a: float, b: float, equal: bool) -> None:
    x = leaf(3)
    one, other = (walk([x.binary(Op.ADD, x.like(v))]).numbers for v in (a, b))
    assert (one == other) is equal


def _is_dead(pending: Pending) -> bool:
    return any(pending.dead)


def test_a_leaf_that_only_the_graph_holds_is_dead() -> None:
    assert _is_dead(walk([leaf(4).unary(Op.NEG)]))
    x = leaf(4)
    x.owners += 1
    assert not _is_dead(walk([x.unary(Op.NEG)])), "a Tensor owns it"


def test_a_leaf_is_alive_while_anything_can_read_it() -> None:
    y = leaf(4).unary(Op.NEG)
    y.srcs[0].owners += 1
    assert not _is_dead(walk([y])), "a Tensor owns it"

    y = leaf(4).unary(Op.NEG)
    other = y.srcs[0].unary(Op.EXP)
    assert not _is_dead(walk([y])), "another graph reads it"
    other.let_go()
    assert _is_dead(walk([y]))

    y = leaf(8).unary(Op.NEG)
    part = y.srcs[0].shrink(((0, 4),))
    assert not _is_dead(walk([y])), "a view has its memory"
    del part
    assert _is_dead(walk([y]))

    y = leaf(4).unary(Op.NEG)
    array = to_numpy(y.srcs[0], True)
    assert not _is_dead(walk([y])), "a NumPy array shows its memory"
    del array
    assert _is_dead(walk([y]))

    middle = leaf(4).unary(Op.NEG)
    view = middle.reshape((2, 2))
    assert not _is_dead(walk([middle.unary(Op.EXP)])), "a node above it is read elsewhere and will not be stored"
    view.let_go()
    middle.owners += 1
    assert _is_dead(walk([middle.unary(Op.EXP)])), "it will be stored in the same run"


def test_a_leaf_in_the_middle_of_a_buffer_is_not_given_away() -> None:
    assert not _is_dead(walk([leaf(6, 8).shrink(((2, 4), (0, 8))).unary(Op.NEG)]))


def test_order_and_hosts() -> None:
    x = leaf(4)
    sorted_ = LazyBuffer(Op.HOST, (x.unary(Op.NEG),), ("argsort", (0, False)), (4,), int64, "CPU")
    pending = walk([sorted_.binary(Op.ADD, sorted_.like(1))])
    assert pending.host == [sorted_]
    position = {n: i for i, n in enumerate(pending.order)}
    assert all(position[s] < position[n] for n in pending.order for s in n.srcs)


def test_ten_thousand_nodes_are_walked_without_recursion() -> None:
    x = y = leaf(4)
    for _ in range(10_000):
        y = y.binary(Op.ADD, x)
    assert len(walk([y]).order) == 10_001
