"""Stage: tests of recording. In: ops at their edges. Out: the reference gives what the table of ops promises;
everything else is held to the reference, so here values are written out. Next: ``tests/rules/test_simplify.py``."""

from __future__ import annotations

import math

import numpy as np
import pytest

from minigrad.conformance.sources import leaf
from minigrad.dtype import BY_NAME, DType, bfloat16, bool_, float16, float32, int8, int32, int64, uint8
from minigrad.engine import to_numpy
from minigrad.graph.host import register_host, run_host
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.reference import evaluate, random_bits
from minigrad.ops import SCALAR_OPS, Op

NAN, INF = math.nan, math.inf


def _value(node: LazyBuffer) -> np.ndarray:
    return evaluate([node], to_numpy)[0]


def _leaf(values: object, dtype: DType = float32) -> LazyBuffer:
    return leaf(np.array(values, dtype.numpy), dtype, "NUMPY")


SCALAR = [
    ("ADD", "int8", (127, 1), -128), ("SUB", "uint8", (0, 1), 255), ("MUL", "int32", (2**31 - 1, 2), -2),
    ("NEG", "int8", (-128,), -128), ("ABS", "int8", (-128,), -128), ("ADD", "uint64", (2**64 - 1, 2), 1),
    ("DIV", "float32", (1, 0), INF), ("DIV", "float32", (-1, 0), -INF), ("DIV", "float32", (0, 0), NAN),
    ("FLOORDIV", "int32", (7, 0), 0), ("FLOORDIV", "int32", (-7, 2), -4), ("FLOORDIV", "int8", (-128, -1), -128),
    ("FLOORDIV", "float32", (-7, 2), -4), ("MOD", "int32", (-7, 3), 2), ("MOD", "int32", (7, -3), -2),
    ("MOD", "int32", (7, 0), 0), ("MOD", "int8", (-128, -1), 0), ("MOD", "float32", (-7, 3), 2),
    ("POW", "int32", (3, 5), 243), ("POW", "int32", (2, -1), 0), ("POW", "int32", (-1, -3), -1),
          ("POW", "int32", (0, 0), 1),
    ("POW", "int8", (2, 7), -128), ("POW", "uint8", (2, 8), 0), ("POW", "float32", (-8, 1 / 3), NAN),
    ("POW", "uint64", (3, 40), 3**40), ("POW", "uint64", (2**63 + 1, 1), 2**63 + 1),
    ("MAXIMUM", "float32", (NAN, 1), NAN), ("MINIMUM", "float32", (1, NAN), NAN),
          ("MAXIMUM", "bool", (False, True), True),
    ("LT", "float32", (NAN, 1), False), ("EQ", "float32", (NAN, NAN), False), ("EQ", "float32", (0.0, -0.0), True),
    ("NOT", "bool", (True,), False), ("NOT", "uint8", (1,), 254), ("XOR", "bool", (True, True), False),
    ("SHL", "int8", (1, 8), 0), ("SHL", "int8", (1, -1), 0), ("SHL", "int8", (1, 7), -128),
    ("SHR", "int8", (-128, 9), -1), ("SHR", "int8", (-128, -1), -1), ("SHR", "uint8", (255, 8), 0),
          ("SHR", "int8", (-5, 1), -3),
    ("ROUND", "float32", (2.5,), 2), ("ROUND", "float32", (-0.5,), -0.0), ("TRUNC", "float32", (-1.7,), -1),
    ("SQRT", "float32", (-1,), NAN), ("LOG", "float32", (0,), -INF), ("LOG", "float32", (-1,), NAN),
          ("SIN", "float32", (INF,), NAN),
    ("ERF", "float32", (INF,), 1), ("TANH", "float32", (-INF,), -1), ("EXP", "float32", (-INF,), 0),
    ("FMA", "float64", (2, 3, 4), 10),
]


@pytest.mark.parametrize("op, dtype, operands, expected", SCALAR, ids=[f"{o}-{d}-{a}" for o, d, a, _ in SCALAR])
def test_scalar_op(op: str, dtype: str, operands: tuple[float, ...], expected: float) -> None:
    nodes = tuple(_leaf([v], BY_NAME[dtype]) for v in operands)
    result = bool_ if SCALAR_OPS[op].result == "bool" else BY_NAME[dtype]
    got = _value(LazyBuffer(op, nodes, None, (1,), result, "NUMPY"))[0]
    assert got == expected or (got != got and expected != expected)
    if expected == 0 and result.is_float:
        assert np.signbit(got) == np.signbit(expected)


CASTS = [
    (float32, int8, [1e9, -1e9, NAN, -3.7, INF, -INF, 127.9, 128.0], [127, -128, 0, -3, 127, -128, 127, 127]),
    (float32, uint8, [-1.0, 255.5, 256.0, -0.5], [0, 255, 255, 0]),
    (float32, int64, [2.0**63, -(2.0**63), 2.0**62], [2**63 - 1, -(2**63), 2**62]),
    (int32, int8, [300, -129], [44, 127]), (int8, uint8, [-1], [255]),
    (float32, bool_, [0.0, -0.0, NAN, 0.5], [False, False, True, True]), (int32, bool_, [256], [True]),
    (float32, float16, [65519.0, 65520.0, 1e-8], [65504.0, INF, 0.0]), (bool_, float32, [True], [1.0]),
    (float32, bfloat16, [1.00390625, 1.01171875], [1.0, 1.015625]),
]


@pytest.mark.parametrize("source, target, values, expected", CASTS)
def test_cast(source: DType, target: DType, values: list[float], expected: list[float]) -> None:
    assert _value(_leaf(values, source).cast(target)).tolist() == expected


def test_bitcast_keeps_the_bits() -> None:
    assert _value(_leaf([1.0, -0.0]).bitcast(int32)).tolist() == [0x3F800000, -(2**31)]


@pytest.mark.parametrize("op, expected", [(Op.SUM, 0), (Op.PROD, 1), (Op.MAX, -INF), (Op.MIN, INF)])
def test_reductions_of_nothing(op: str, expected: float) -> None:
    assert _value(_leaf(np.zeros((0, 2))).reduce(op, (0,))).tolist() == [[expected] * 2]


@pytest.mark.parametrize("op, expected", [(Op.SUM, 0), (Op.PROD, 1), (Op.MAX, -128), (Op.MIN, 127)])
def test_integer_reductions_of_nothing(op: str, expected: int) -> None:
    assert _value(_leaf(np.zeros((0,)), int8).reduce(op, (0,))).tolist() == [expected]


def test_sums_wrap_and_halves_are_summed_wide() -> None:
    assert _value(_leaf([100, 100], int8).reduce(Op.SUM, (0,)))[0] == -56
    assert _value(_leaf(np.full(5000, 1.0), float16).reduce(Op.SUM, (0,)))[0] == 5000
    assert np.isnan(_value(_leaf([1.0, NAN, 2.0]).reduce(Op.MAX, (0,)))[0])


def test_windows_and_padding() -> None:
    x = _leaf(np.arange(7.0))
    assert _value(x.window(((0, 3, 2, 2),))).tolist() == [[0, 2, 4], [2, 4, 6]]
    assert _value(_leaf([1.0, 2.0]).pad(((1, 2, 1),))).tolist() == [0, 1, 0, 2, 0, 0]


def test_gather_scatter_assign() -> None:
    x, at = _leaf(np.arange(12.0).reshape(4, 3)), _leaf([3, 0, 3], int64)
    value = _leaf(np.full((3, 3), 10.0))
    assert _value(x.gather([at])).tolist() == [[9, 10, 11], [0, 1, 2], [9, 10, 11]]
    assert _value(x.scatter(value, [at], "add"))[[0, 1, 3]].tolist() == [[10, 11, 12], [3, 4, 5], [29, 30, 31]]
    rows = _leaf(np.arange(9.0).reshape(3, 3))
    assert _value(x.scatter(rows, [at], "set"))[3].tolist() == [6, 7, 8]  # the last one wins
    assert _value(x.scatter(value, [at], "max"))[3].tolist() == [10, 10, 11]
    chain = ((Op.FLIP, (0,)), (Op.SHRINK, ((0, 2), (1, 2))))
    assert _value(x.assign(_leaf([[50.0], [60.0]]), chain)).tolist() == [[0, 1, 2], [3, 4, 5], [6, 60, 8], [9, 50, 11]]


def test_assign_to_a_transposed_base() -> None:
    x = _leaf([[1.0, 2.0], [3.0, 4.0]]).permute((1, 0))
    assert _value(x.assign(_leaf([[9.0], [8.0]]), ((Op.SHRINK, ((0, 2), (1, 2))),))).tolist() == [[1, 9], [2, 8]]


@pytest.mark.parametrize("bad", [-1, 4])
def test_indexes_out_of_range(bad: int) -> None:
    x, at = _leaf(np.zeros((4, 3))), _leaf([0, bad], int64)
    with pytest.raises(IndexError, match=r"dimension 0 is not in 0 … 3, the tensor has shape \[4, 3\]"):
        _value(x.gather([at]))
    with pytest.raises(IndexError, match="out of range"):
        _value(x.scatter(_leaf(np.zeros((2, 3))), [at], "set"))


def test_scans() -> None:
    assert _value(_leaf([1.0, 2.0, 3.0]).scan(Op.SUM, 0)).tolist() == [1, 3, 6]
    assert _value(_leaf([100, 100], int8).scan(Op.SUM, 0)).tolist() == [100, -56]
    assert _value(_leaf([[1.0, 5.0], [3.0, 2.0]]).scan(Op.MAX, 0)).tolist() == [[1, 5], [3, 5]]


def test_random_bits() -> None:
    # Threefry-2x32, 20 rounds, of zeros: published with the algorithm
    assert random_bits(0, 1).tolist() == [0x6B200159]
    bits = random_bits(2**63 + 5, 1000)
    assert bits.dtype == np.uint32 and len(set(bits.tolist())) == 1000
    assert bits[:10].tolist() == random_bits(2**63 + 5, 10).tolist() != random_bits(2**63 + 6, 10).tolist()


def test_host_functions_are_registered_by_name() -> None:
    register_host("test_twice", lambda arrays, factor: arrays[0] * factor)
    x = _leaf([1.0, 2.0])
    assert _value(LazyBuffer(Op.HOST, (x,), ("test_twice", (2,)), (2,), float32, "NUMPY")).tolist() == [2, 4]
    assert run_host(("argsort", (0, False)), [np.array([NAN, 1.0, 3.0, 1.0])])[0].tolist() == [1, 3, 2, 0]
    assert run_host(("argsort", (0, True)), [np.array([1.0, NAN, 3.0, 1.0])])[0].tolist() == [1, 2, 0, 3]


def test_a_chain_of_ten_thousand() -> None:
    x = y = _leaf([1.0])
    for _ in range(10_000):
        y = y.binary(Op.ADD, x)
    assert _value(y)[0] == 10_001
