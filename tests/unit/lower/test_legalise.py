"""Stage: tests. In: every scalar op on every dtype, at edge values. Out: that the pass ``legalise`` writes it in ops
that languages have, which mean the same, whatever is native. Next: ``../render/test_scalar_ops.py``."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad.dtype import HALVES, DType, bool_, float16, float32, float64, int8, int32, uint32
from minigrad.kernel.compute import apply, constant
from minigrad.kernel.ir import (
    DOTS,
    QUOTIENT,
    REMAINDER,
    Alloc,
    Apply,
    Array,
    Const,
    Fold,
    Function,
    Load,
    Local,
    Store,
    Value,
)
from minigrad.kernel.show import show_value
from minigrad.kernel.walk import functions, statements, values
from minigrad.lower.passes.legalise import WRAPPING, legalise
from minigrad.ops import Op
from minigrad.symbolic import num, var
from tests.unit.render.harness import assert_same
from tests.unit.render.samples import F, f, kernel, op, out
from tests.unit.render.test_scalar_ops import all_cases, op_kernel

NATIVE = ((), (WRAPPING, "float16", *DOTS))
FLOATS = frozenset((Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.FMA, Op.NEG, Op.ABS, Op.FLOOR, Op.CEIL, Op.TRUNC, Op.ROUND,
                    Op.SQRT, Op.LT, Op.EQ, REMAINDER))
BITS = frozenset((Op.AND, Op.OR, Op.XOR, Op.NOT, Op.EQ))
WHOLE = BITS | {Op.LT, Op.SHR, QUOTIENT, REMAINDER}
WRAP = frozenset((Op.ADD, Op.SUB, Op.MUL, Op.NEG, Op.SHL))


def is_legal(v: Apply, native: tuple[str, ...]) -> bool:
    """Whether a language must have the op."""
    source = v.srcs[0].dtype
    if isinstance(v.op, Function) or v.op in (Op.WHERE, Op.BITCAST):
        return True
    if v.op == Op.CAST:
        halves = {d for d in (source, v.dtype) if d in HALVES}
        return not halves or ("float16" in native and {source, v.dtype} == {float16, float32})
    if source.is_float:
        return v.op in FLOATS and source not in HALVES
    wraps = WRAPPING in native or (source.kind == "u" and source.bits >= 32)
    return v.op in (BITS if source is bool_ else WHOLE | WRAP if wraps else WHOLE)


def value_of(v: Value, done: dict[int, np.ndarray]) -> np.ndarray:
    for x in values([v]):
        if isinstance(x, Apply):
            done[id(x)] = apply(x.op, [done[id(s)] for s in x.srcs], x.dtype)
        elif isinstance(x, Const):
            done[id(x)] = constant(x)
    return done[id(v)]


@pytest.mark.parametrize("native", NATIVE, ids=("of C", "of LLVM"))
def test_every_op_becomes_legal_ones_that_mean_the_same(native: tuple[str, ...]) -> None:
    for (case, arrays), want in all_cases():
        legal = legalise(case, native)
        below = [legal.loop.body[0].then[0].body[0].value, *[g.values[-1] for g in functions(legal).values()]]
        assert [show_value(v) for v in values(below) if isinstance(v, Apply) and not is_legal(v, native)] == []
        given = dict(zip([a.name for a in case.arrays], arrays))
        done = {id(v): given[v.array.name] for v in values(below) if isinstance(v, Load)}
        with np.errstate(all="ignore"):
            assert_same([value_of(below[0], done)], [want], case.name)


def test_what_is_legal_stays_the_same_object() -> None:
    x, i = out("x", 4), var("i", 0, 3)
    plain = kernel("plain", (x,), i, 4, Store(x, i, op("FMA", Load(x, i), f(2.0), f(1.0))))
    assert legalise(plain) is plain


@pytest.mark.parametrize(("name", "dtype", "number", "want"), [
    (Op.FLOORDIV, int32, 8, "x[i] >> 3"), (Op.MOD, int32, 8, "x[i] & 7"), (Op.FLOORDIV, uint32, 7, "quotient(x[i], 7)"),
    (Op.SHR, int8, 3, "x[i] >> 3"), (Op.SHL, uint32, 3, "x[i] << 3"), (Op.SHL, uint32, 32, "shl_u32(x[i], 32)"),
    (Op.SHL, int8, 3, "int8(uint32(x[i]) << uint32(3))"), (Op.FLOORDIV, int32, -8, "floordiv_i32(x[i], -8)"),
    (Op.MAXIMUM, float32, 0.0, "maximum_f32(x[i], 0.0)")])
def test_known_operands_make_short_forms(name: str, dtype: DType, number: float, want: str) -> None:
    x, i = out("x", 4, dtype), var("i", 0, 3)
    legal = legalise(kernel("k", (x,), i, 4, Store(x, i, op(name, Load(x, i), Const(number, dtype), dtype=dtype))))
    (store,) = legal.loop.body
    assert show_value(store.value) == want  # type: ignore[union-attr]


def of_one(name: str, numbers: np.ndarray, source: DType, made: DType, native: tuple[str, ...],
           *known: Value) -> np.ndarray:
    """What the legal form of an op gives, of numbers and operands that are known."""
    x, y, i = Array("x", source, len(numbers)), out("y", len(numbers), made), var("i", 0, len(numbers) - 1)
    value = Apply(name, (Load(x, i), *known), made)
    (store,) = legalise(kernel("k", (x, y), i, len(numbers), Store(y, i, value)), native).loop.body
    below = values([store.value])  # type: ignore[union-attr]
    return value_of(below[-1], {id(v): numbers for v in below if isinstance(v, Load)})


@pytest.mark.parametrize("native", NATIVE, ids=("of C", "of LLVM"))
@pytest.mark.parametrize("dtype", [int8, int32, uint32])
@pytest.mark.parametrize("number", [1, 2, 7, 8, 100])
@pytest.mark.parametrize("name", [Op.FLOORDIV, Op.MOD])
def test_divisors_that_are_known(name: str, number: int, dtype: DType, native: tuple[str, ...]) -> None:
    numbers = np.array([dtype.min, dtype.min + 1, 0, 1, 6, 7, 8, dtype.max - 1, dtype.max]
                       + [-1, -6, -7, -8] * (dtype.kind == "i"), dtype.numpy)
    want = {Op.FLOORDIV: np.floor_divide, Op.MOD: np.mod}[name](numbers, dtype.numpy.type(number))
    assert_same([of_one(name, numbers, dtype, dtype, native, Const(number, dtype))], [want], f"{name} {number}")


@pytest.mark.parametrize("native", NATIVE, ids=("of C", "of LLVM"))
def test_a_float64_is_rounded_once_to_float16(native: tuple[str, ...]) -> None:
    """Just above and below half of the last bit: by way of float32 rounded as usual, both would be ties."""
    half = 2.0**-11
    numbers = np.array([1 + half + 2.0**-40, 1 + half, 1 + 3 * half - 2.0**-40, -1 - half - 2.0**-45], np.float64)
    bits = of_one(Op.CAST, numbers, float64, float16, native)
    assert_same([bits.view(np.float16) if bits.dtype != np.float16 else bits], [numbers.astype(np.float16)], "rounded")


def test_functions_come_after_those_they_use_and_once() -> None:
    legal = legalise(op_kernel("k", Op.FLOORDIV, [int32, int32], int32, 16))
    assert list(functions(legal)) == ["neg_i32", "sub_i32", "floordiv_i32"]
    assert legal.loop.body[0].then[0].body[0].value.op is legal.loop.body[0].otherwise[0].body[0].value.op


def test_a_fold_has_the_op_that_is_legal() -> None:
    acc, y = Array("acc", F, 4, "register", 4), out("y", 1)
    legal = legalise(kernel("k", (y,), var("p", 0, 0), 1, Alloc(acc, f(0.0)), Fold("best", acc, "MAXIMUM"),
                            Store(y, num(0), Local("best", F))))
    (fold,) = [s for s in statements(legal) if isinstance(s, Fold)]
    assert fold.op == "maximum_f32" and list(functions(legal)) == ["maximum_f32"]
