"""Stage: tests of what ``docs/numerics.md`` promises. In: programs made by hypothesis. Out: that a value does not
depend on who looks: the program realised as a whole and with cuts between its lines gives the same bits, and where it
reduces, results within the bound that is stated. Next: ``tests/conformance/``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from minigrad.conformance.case import smallest_normal, unit
from minigrad.conformance.sources import Source
from minigrad.dtype import ALL, DType, accumulator, bfloat16, bool_, float16, float32, float64, int32, int64
from minigrad.engine import leaf_from_numpy, realise, to_numpy
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import APPROXIMATE, KERNEL_OPS, SCALAR_OPS, Op
from tests.examples import examples

DTYPES = (float32, float16, bfloat16, float64, int32, int64)
SHAPES = ((), (7,), (33,), (5, 17), (1025,), (3, 4, 5), (2, 5000))
NUMBERS = (0.0, -0.0, 1.0, -1.0, 2.0, 3.0, 4.0, 0.5, -0.5, 0.1, 1.7, 1000.0, 1 + 2.0**-11 + 2.0**-40)
ROWS = tuple(row for row in KERNEL_OPS.values() if row.name not in (Op.CAST, Op.BITCAST))


@dataclass(frozen=True)
class Line:
    """One line of a program: what it does with values ``operands`` lines back."""

    what: str
    arg: Any
    operands: tuple[int, ...]
    is_cut: bool


@st.composite
def lines(draw: Callable[..., Any], kinds: Sequence[str]) -> tuple[DType, tuple[int, ...], list[Line]]:
    dtype, shape = draw(st.sampled_from(DTYPES)), draw(st.sampled_from(SHAPES))
    program = []
    back = st.integers(1, 4)
    for _ in range(draw(st.integers(2, 12))):
        what = draw(st.sampled_from(kinds))
        arg: Any = None
        if what == "op":
            arg = draw(st.sampled_from([r.name for r in ROWS if dtype.kind in r.kinds]))
        elif what in ("constant", "number", "power"):
            arg = draw(st.sampled_from(NUMBERS))
        elif what == "of_constant":
            arg = draw(st.sampled_from([r.name for r in ROWS if r.arity == 1 and dtype.kind in r.kinds]))
            arg = (arg, draw(st.floats(-9, 9)))
        elif what == "cast":
            arg = draw(st.sampled_from([d for d in ALL if d is not bool_]))
        program.append(Line(what, arg, tuple(draw(back) for _ in range(3)), draw(st.booleans())))
    return dtype, shape, program


class Runner:
    """Runs a program line by line, on values of one shape and dtype; with ``cuts``, realises where the lines say so;
    with ``numbers``, constants are run-time numbers, as a plan makes them that meets them twice."""

    def __init__(self, dtype: DType, shape: tuple[int, ...], cuts: bool = False, numbers: bool = False) -> None:
        source = Source("CPU", dtype, "plain", "same bits", shape)
        self.dtype, self.shape, self.cuts, self.numbers = dtype, shape, cuts, numbers
        self.values = [source.leaf(shape) for _ in range(2)]
        for value in self.values:
            value.readers += 1

    def run(self, program: Sequence[Line]) -> LazyBuffer:
        for line in program:
            value = getattr(self, f"do_{line.what}")(line.arg, [self.values[-min(n, len(self.values))]
                                                               for n in line.operands])
            if self.cuts and line.is_cut:
                value = computed(value)
            value.readers += 1  # later lines may read it, and the engine must know
            self.values.append(value)
        return self.values[-1]

    def do_op(self, name: str, operands: list[LazyBuffer]) -> LazyBuffer:
        row = SCALAR_OPS[name]
        if name == Op.WHERE:
            return operands[0].binary(Op.LT, operands[1]).where(operands[2], operands[1])
        if row.arity == 3:
            return LazyBuffer(name, tuple(operands), None, self.shape, self.dtype, operands[0].device)
        value = operands[0].unary(name) if row.arity == 1 else operands[0].binary(name, operands[1])
        return value.cast(self.dtype)

    def do_constant(self, number: float, operands: list[LazyBuffer]) -> LazyBuffer:
        if self.numbers:
            return self.do_number(number, operands)
        return operands[0].like(number if self.dtype.is_float else int(number))

    def do_power(self, number: float, operands: list[LazyBuffer]) -> LazyBuffer:
        """Some exponents have a form of their own."""
        return operands[0].binary(Op.POW, self.looked_at(self.do_constant(number, operands)))

    def do_of_constant(self, arg: tuple[str, float], operands: list[LazyBuffer]) -> LazyBuffer:
        """What may be known before the program runs."""
        return self.looked_at(self.do_constant(arg[1], operands)).unary(arg[0])

    def looked_at(self, value: LazyBuffer) -> LazyBuffer:
        return computed(value) if self.cuts else value

    def do_number(self, number: float, operands: list[LazyBuffer]) -> LazyBuffer:
        scalar = LazyBuffer.scalar(number if self.dtype.is_float else int(number), self.dtype, operands[0].device)
        return scalar.reshape((1,) * len(self.shape)).expand(self.shape)

    def do_cast(self, dtype: DType, operands: list[LazyBuffer]) -> LazyBuffer:
        return operands[0].cast(dtype).cast(self.dtype)

    def do_move(self, arg: None, operands: list[LazyBuffer]) -> LazyBuffer:
        return operands[0].flip(tuple(range(len(self.shape))))


def plain_copy(x: LazyBuffer) -> LazyBuffer:
    """The value itself where realising it makes memory of it; a copy of what is memory, a constant or a number."""
    return x if x.srcs else LazyBuffer(Op.CONTIGUOUS, (x,), None, x.shape, x.dtype, x.device)


def bits(x: LazyBuffer) -> np.ndarray:
    """The bits of a value, all NaNs alike."""
    array = to_numpy(x)
    if x.dtype.is_float:
        array = np.where(array != array, array.dtype.type(math.nan), array)
    return np.ascontiguousarray(array).view(f"u{x.dtype.size}")


def computed(x: LazyBuffer) -> LazyBuffer:
    x = plain_copy(x)
    x.owners += 1  # as if a Tensor held it
    realise([x])
    return x


@examples(75, 450, lines(("op", "op", "op", "op", "constant", "number", "power", "of_constant", "cast", "move")))
def test_elementwise_programs_give_the_same_bits_however_they_are_cut(made: Any) -> None:
    dtype, shape, program = made
    whole = bits(computed(Runner(dtype, shape).run(program)))
    np.testing.assert_array_equal(bits(computed(Runner(dtype, shape, cuts=True).run(program))), whole)
    np.testing.assert_array_equal(bits(computed(Runner(dtype, shape, numbers=True).run(program))), whole)


@pytest.mark.parametrize("dtype", [float32, float64, float16, bfloat16], ids=lambda d: d.name)
def test_a_constant_operand_gives_the_same_bits_as_one_in_memory(dtype: DType) -> None:
    values = np.random.default_rng(1).normal(0, 3, 60).astype(accumulator(dtype).numpy).astype(dtype.numpy)
    names = sorted(APPROXIMATE - {Op.POW}) + [Op.SQRT]
    constants = [LazyBuffer.const(float(v), dtype, (1,), "CPU") for v in values]
    known = [c.unary(name) for name in names for c in constants] + [c.binary(Op.POW, c) for c in constants]
    x = leaf_from_numpy(values, dtype, "CPU")
    in_memory = [x.unary(name) for name in names] + [x.binary(Op.POW, x)]
    realise(known + in_memory)
    got, want = (np.concatenate([bits(v) for v in values]) for values in (known, in_memory))
    np.testing.assert_array_equal(got, want)


def sum_bound(terms: np.ndarray, count: int, dtype: DType) -> np.ndarray:
    """What ``docs/numerics.md`` says of a sum of ``count`` terms: how far from the exact one it may be."""
    wide = accumulator(dtype)
    levels = max(1, math.ceil(math.log(max(2, count), 64)))
    return min(count, 64 * levels + 16) * unit(wide) / 2 * terms + unit(dtype) * terms * (wide is not dtype)


@examples(50, 300, lines(("op", "op", "constant", "move")), st.booleans(), st.integers(0, 2))
def test_sums_are_within_their_bound_however_they_are_cut(made: Any, is_product: bool, axis: int) -> None:
    dtype, shape, program = made
    axis = min(axis, len(shape) - 1)
    if not dtype.is_float or not shape:
        return
    results = []
    for cuts in (False, True):
        runner = Runner(dtype, shape, cuts)
        x = runner.run(program)
        # of moderate size, so that nothing overflows
        x = x.binary(Op.EQ, x).where(x.binary(Op.MINIMUM, x.like(50.0)).binary(Op.MAXIMUM, x.like(-50.0)), x.like(1.0))
        term = x.binary(Op.MUL, runner.values[0]) if is_product else x
        term = computed(term) if cuts else term
        results.append((computed(term.reduce(Op.SUM, (axis,))), term))
    (whole, _), (cut, term) = results
    terms = to_numpy(term).astype(np.float64)
    size = np.abs(terms).sum(axis, keepdims=True)
    bound = sum_bound(size, shape[axis], dtype) + is_product * unit(dtype) * size
    for result in (whole, cut):
        error = np.abs(to_numpy(result).astype(np.float64) - terms.sum(axis, keepdims=True))
        assert (error <= bound + smallest_normal(dtype)).all(), (error.max(), bound.min())
