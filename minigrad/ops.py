"""Stage: everywhere. In: nothing. Out: the names of all ops, and one table row for each scalar op: how many
operands, the dtype of its result, its identity, its meaning in NumPy and what it gives where C and LLVM
leave it undefined.
Next: ``dtype.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.dtype import DType, bool_, float32, float64
from minigrad.records import Record


class Op:
    """The names of the ops, by family. A name is a plain string: it prints, hashes and compares fast."""

    # sources
    CONST, BUFFER, INDEX, SCALAR, RANDOM_BITS = "CONST", "BUFFER", "INDEX", "SCALAR", "RANDOM_BITS"
    # elementwise: arithmetic
    ADD, SUB, MUL, DIV, FLOORDIV, MOD, POW = "ADD", "SUB", "MUL", "DIV", "FLOORDIV", "MOD", "POW"
    MAXIMUM, MINIMUM, NEG, ABS, FMA = "MAXIMUM", "MINIMUM", "NEG", "ABS", "FMA"
    # elementwise: comparison and bits
    LT, EQ, AND, OR, XOR, NOT, SHL, SHR = "LT", "EQ", "AND", "OR", "XOR", "NOT", "SHL", "SHR"
    # elementwise: rounding and transcendental
    FLOOR, CEIL, TRUNC, ROUND, SQRT = "FLOOR", "CEIL", "TRUNC", "ROUND", "SQRT"
    EXP, LOG, SIN, COS, TANH, ERF = "EXP", "LOG", "SIN", "COS", "TANH", "ERF"
    # elementwise: choice and conversion
    WHERE, CAST, BITCAST = "WHERE", "CAST", "BITCAST"
    # elementwise: complex numbers and their parts
    REAL, IMAG, COMPLEX = "REAL", "IMAG", "COMPLEX"
    # reduce
    SUM, PROD, MAX, MIN = "SUM", "PROD", "MAX", "MIN"
    # movement
    RESHAPE, PERMUTE, EXPAND, PAD, SHRINK = "RESHAPE", "PERMUTE", "EXPAND", "PAD", "SHRINK"
    FLIP, STRIDE, WINDOW = "FLIP", "STRIDE", "WINDOW"
    # memory
    CONTIGUOUS, COPY, GATHER, SCATTER, ASSIGN = "CONTIGUOUS", "COPY", "GATHER", "SCATTER", "ASSIGN"
    SCAN, HOST = "SCAN", "HOST"
    # composites
    FUNCTION, LOOP, OUTPUT, PARAM = "FUNCTION", "LOOP", "OUTPUT", "PARAM"


REDUCE = frozenset((Op.SUM, Op.PROD, Op.MAX, Op.MIN))
MOVEMENT = frozenset((Op.RESHAPE, Op.PERMUTE, Op.EXPAND, Op.PAD, Op.SHRINK, Op.FLIP, Op.STRIDE, Op.WINDOW))
MEMORY = frozenset((Op.CONTIGUOUS, Op.COPY, Op.GATHER, Op.SCATTER, Op.ASSIGN, Op.SCAN, Op.HOST))
SOURCES = frozenset((Op.CONST, Op.BUFFER, Op.INDEX, Op.SCALAR, Op.RANDOM_BITS, Op.PARAM))


class ScalarOp(Record):
    """One row: ``numpy`` computes it on arrays that have one dtype already (an oracle, not a fast path).

    ``result`` is ``"same"`` (as the operands), ``"bool"``, or ``"part"`` and ``"complex"`` for a complex number's part
    and the reverse; ``kinds`` are the operand kinds it takes (``b`` bool, ``i`` signed, ``u`` unsigned, ``f`` float,
    ``c`` complex); ``cost`` is in scalar operations, for the scheduler; ``edge`` says what it gives where C or LLVM
    give nothing certain.
    """

    name: str
    arity: int
    kinds: str
    result: str
    numpy: Callable[..., Any]
    cost: int
    symbol: str = ""
    edge: str = ""


def _as_unsigned(a: np.ndarray) -> np.ndarray:
    return a.view(f"u{a.dtype.itemsize}") if a.dtype.kind == "i" else a


def _wrap(function: Callable[..., Any]) -> Callable[..., Any]:
    """Integer arithmetic modulo 2^bits without NumPy's overflow warnings; floats unchanged."""

    def wrapped(*operands: np.ndarray) -> Any:
        with np.errstate(all="ignore"):
            if operands[0].dtype.kind != "i":
                return function(*operands)
            return function(*(_as_unsigned(np.asarray(o)) for o in operands)).view(operands[0].dtype)

    return wrapped


def _quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    def quiet(*operands: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*operands)

    return quiet


def _in_double(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> Any:
    """a * b + c; of float32 the product is exact."""
    return np.asarray(np.asarray(a, np.float64) * b + c).astype(np.asarray(a).dtype)


def _extremum(beats: Callable[..., Any]) -> Callable[..., Any]:
    """The larger or smaller of two, the first of equal ones: which of 0 and -0 it is must not depend on the machine."""

    def extremum(a: np.ndarray, b: np.ndarray) -> Any:
        with np.errstate(all="ignore"):
            return np.where(beats(b, a) | (b != b), b, a)

    return extremum


def _floordiv(a: np.ndarray, b: np.ndarray) -> Any:
    with np.errstate(all="ignore"):
        if a.dtype.kind == "f":
            return np.floor_divide(a, b)
        safe = np.where(b == 0, np.ones_like(b), b)
        quotient = np.floor_divide(a, safe)
        return np.where(b == 0, np.zeros_like(a), np.where(safe == -1, _wrap(np.negative)(a), quotient)
                        if a.dtype.kind == "i" else quotient).astype(a.dtype)


def _mod(a: np.ndarray, b: np.ndarray) -> Any:
    with np.errstate(all="ignore"):
        if a.dtype.kind == "f":
            return np.mod(a, b)
        safe = np.where(b == 0, np.ones_like(b), b)
        remainder = np.where(safe == -1, np.zeros_like(a), np.mod(a, safe)) if a.dtype.kind == "i" else np.mod(a, safe)
        return np.where(b == 0, np.zeros_like(a), remainder).astype(a.dtype)


def _mul(a: np.ndarray, b: np.ndarray) -> Any:
    if a.dtype.kind != "c":
        return _wrap(np.multiply)(a, b)
    with np.errstate(all="ignore"):
        return pair(a.real * b.real - a.imag * b.imag, a.real * b.imag + a.imag * b.real)


def _div(a: np.ndarray, b: np.ndarray) -> Any:
    """Of complex numbers by the method of R. Smith (1962), which divides by the larger part of the divisor first."""
    with np.errstate(all="ignore"):
        if a.dtype.kind != "c":
            return np.divide(a, b)
        wide = ~(np.abs(b.real) < np.abs(b.imag))
        large, small = np.where(wide, b.real, b.imag), np.where(wide, b.imag, b.real)
        ratio = np.where(large == 0, small, small / large)
        scale = np.ones_like(large) / np.where(large == 0, np.abs(large), large + small * ratio)
        real = np.where(wide, a.real + a.imag * ratio, a.real * ratio + a.imag)
        return pair(real * scale, np.where(wide, a.imag - a.real * ratio, a.imag * ratio - a.real) * scale)


def pair(real: np.ndarray, imag: np.ndarray) -> np.ndarray:
    """The complex numbers with these parts; ``real + 1j * imag`` would make NaN of an infinite part.

    >>> pair(np.array([1.0]), np.array([np.inf])).tolist()
    [(1+infj)]
    """
    made = np.empty(np.broadcast_shapes(np.shape(real), np.shape(imag)), np.result_type(np.asarray(real), np.complex64))
    made.real, made.imag = real, imag
    return made


def _pow(a: np.ndarray, b: np.ndarray) -> Any:
    with np.errstate(all="ignore"):
        if a.dtype.kind == "f":
            return np.power(a, b)
        exponent = np.broadcast_to(b, np.broadcast_shapes(a.shape, b.shape)).copy()
        base = _as_unsigned(np.broadcast_to(a, exponent.shape).copy())
        negative = exponent < 0
        result = np.ones_like(base)
        exponent[negative] = 0
        square = base.copy()
        while exponent.any():
            result = np.where(exponent & 1 == 1, result * square, result)
            square, exponent = square * square, exponent >> 1
        result = result.view(a.dtype)
        one, minus = a == 1, a == -1 if a.dtype.kind == "i" else np.zeros(a.shape, bool)
        odd = (b & 1) == 1
        inverse = np.where(one, 1, np.where(minus, np.where(odd, -1, 1), 0)).astype(a.dtype)
        return np.where(negative, inverse, result)


def _shift(a: np.ndarray, b: np.ndarray, left: bool) -> Any:
    bits = a.dtype.itemsize * 8
    wide = (b < 0) | (b >= bits)
    by = np.where(wide, 0, b).astype(a.dtype)
    if left:
        return np.where(wide, 0, np.left_shift(a, by)).astype(a.dtype)
    fill = np.where(a < 0, -1, 0) if a.dtype.kind == "i" else 0
    return np.where(wide, fill, np.right_shift(a, by)).astype(a.dtype)


def _erf(a: np.ndarray) -> Any:
    from math import erf

    return np.vectorize(erf, otypes=[np.float64])(a.astype(np.float64)).astype(a.dtype) if a.size else a


def cast(array: np.ndarray, dtype: DType) -> np.ndarray:
    """The CAST op: float → int truncates; NaN gives 0, values out of range the nearest bound (and bool is ``!= 0``).
    int → int wraps. Rounding to a narrower float is to nearest even.

    >>> from minigrad.dtype import int8, uint8
    >>> cast(np.array([1e9, np.nan, -3.7], dtype="float32"), int8).tolist()
    [127, 0, -3]
    """
    source = np.asarray(array)
    target = dtype.numpy
    if dtype is bool_:
        return source != 0
    if source.dtype.kind == "c" and dtype.kind != "c":
        source = source.real
    with np.errstate(all="ignore"):
        if source.dtype.kind in "iub" or dtype.is_inexact:
            return source.astype(target)
        wide = np.trunc(np.nan_to_num(source.astype(np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf))
        low, high = float(dtype.min), float(dtype.max)
        inside = (wide >= low) & (wide <= high) & (wide < 2.0 ** (dtype.bits - (dtype.kind == "i")))
        result = np.where(inside, wide, 0.0).astype(target)
        result[wide < low] = dtype.min
        result[(wide >= low) & ~inside] = dtype.max
        return result


_ROWS = (
    ScalarOp(Op.ADD, 2, "iufc", "same", _wrap(np.add), 1, "+", "integers wrap"),
    ScalarOp(Op.SUB, 2, "iufc", "same", _wrap(np.subtract), 1, "-", "integers wrap"),
    ScalarOp(Op.MUL, 2, "iufc", "same", _mul, 1, "*", "integers wrap"),
    ScalarOp(Op.DIV, 2, "fc", "same", _div, 4, "/", "x/0 is ±inf, 0/0 NaN; complex x/0 is each part over 0"),
    ScalarOp(Op.FLOORDIV, 2, "iuf", "same", _floordiv, 8, "//", "integer x//0 is 0; the lowest integer // -1 wraps"),
    ScalarOp(Op.MOD, 2, "iuf", "same", _mod, 8, "%", "takes the sign of the divisor; integer x%0 is 0"),
    ScalarOp(Op.POW, 2, "iuf", "same", _pow, 40, "**",
             "integers wrap; a negative integer exponent gives 0, but ±1 for base ±1"),
    ScalarOp(Op.MAXIMUM, 2, "biuf", "same", _extremum(np.greater), 2, "max",
             "NaN if either is NaN; the first of two that are equal, as 0 and -0 are"),
    ScalarOp(Op.MINIMUM, 2, "biuf", "same", _extremum(np.less), 2, "min",
             "NaN if either is NaN; the first of two that are equal"),
    ScalarOp(Op.NEG, 1, "iufc", "same", _wrap(np.negative), 1, "-", "the lowest integer is its own negative"),
    ScalarOp(Op.ABS, 1, "iuf", "same", _quiet(np.abs), 1, "abs", "the lowest integer is its own absolute value"),
    ScalarOp(Op.FMA, 3, "f", "same", _quiet(_in_double), 1, "fma",
             "one rounding in a kernel; the reference computes in float64, and rounds to that first"),
    ScalarOp(Op.LT, 2, "biuf", "bool", _quiet(np.less), 1, "<", "False if either is NaN"),
    ScalarOp(Op.EQ, 2, "biufc", "bool", _quiet(np.equal), 1, "==", "False if either is NaN"),
    ScalarOp(Op.AND, 2, "biu", "same", np.bitwise_and, 1, "&"),
    ScalarOp(Op.OR, 2, "biu", "same", np.bitwise_or, 1, "|"),
    ScalarOp(Op.XOR, 2, "biu", "same", np.bitwise_xor, 1, "^"),
    ScalarOp(Op.NOT, 1, "biu", "same", np.invert, 1, "~", "on bool it is logical not"),
    ScalarOp(Op.SHL, 2, "iu", "same", lambda a, b: _shift(a, b, True), 1, "<<", "a shift by ≥ bits or < 0 gives 0"),
    ScalarOp(Op.SHR, 2, "iu", "same", lambda a, b: _shift(a, b, False), 1, ">>",
             "arithmetic on signed; a shift by ≥ bits or < 0 gives 0, or -1 for a negative value"),
    ScalarOp(Op.FLOOR, 1, "f", "same", np.floor, 1, "floor"),
    ScalarOp(Op.CEIL, 1, "f", "same", np.ceil, 1, "ceil"),
    ScalarOp(Op.TRUNC, 1, "f", "same", np.trunc, 1, "trunc"),
    ScalarOp(Op.ROUND, 1, "f", "same", np.rint, 1, "round", "ties go to the even number"),
    ScalarOp(Op.SQRT, 1, "f", "same", _quiet(np.sqrt), 6, "sqrt", "NaN below 0"),
    ScalarOp(Op.EXP, 1, "f", "same", _quiet(np.exp), 14, "exp"),
    ScalarOp(Op.LOG, 1, "f", "same", _quiet(np.log), 16, "log", "log 0 is -inf, NaN below 0"),
    ScalarOp(Op.SIN, 1, "f", "same", _quiet(np.sin), 20, "sin", "NaN at ±inf"),
    ScalarOp(Op.COS, 1, "f", "same", _quiet(np.cos), 20, "cos", "NaN at ±inf"),
    ScalarOp(Op.TANH, 1, "f", "same", _quiet(np.tanh), 20, "tanh"),
    ScalarOp(Op.ERF, 1, "f", "same", _erf, 24, "erf"),
    ScalarOp(Op.WHERE, 3, "biufc", "same", np.where, 1, "where", "the condition is bool; both branches are evaluated"),
    ScalarOp(Op.CAST, 1, "biufc", "arg", cast, 1, "cast",
             "float → int truncates and saturates, NaN gives 0; int → int wraps; → bool is != 0; complex → real drops "
             "the imaginary part"),
    ScalarOp(Op.BITCAST, 1, "iufc", "arg", lambda a, d: np.ascontiguousarray(a).view(d.numpy), 0,
             "bitcast", "between types of one size, of which a complex type counts as two"),
    ScalarOp(Op.REAL, 1, "c", "part", np.real, 0, "real"),
    ScalarOp(Op.IMAG, 1, "c", "part", np.imag, 0, "imag"),
    ScalarOp(Op.COMPLEX, 2, "f", "complex", pair, 0, "complex", "of float32 and float64"),
)
SCALAR_OPS: dict[str, ScalarOp] = {row.name: row for row in _ROWS}
ELEMENTWISE = frozenset(SCALAR_OPS)
COMPLEX_OPS = frozenset((Op.REAL, Op.IMAG, Op.COMPLEX))
"""They make complex numbers or take them apart. ``schedule/complex_parts.py`` removes them before there are kernels."""

KERNEL_OPS: dict[str, ScalarOp] = {
    name: row.replaced(kinds=row.kinds.replace("c", "")) for name, row in SCALAR_OPS.items() if name not in COMPLEX_OPS}
"""The table as kernels have it: no kernel, renderer or interpreter of kernels meets a complex value."""

RESULT_TYPES: dict[str, Callable[[DType], DType]] = {
    row.name: {"bool": lambda dtype: bool_, "part": lambda dtype: dtype.part, "complex": lambda dtype: dtype.complex}[
        row.result] for row in _ROWS if row.result not in ("same", "arg")}
"""The type of the result by that of the last operand, where it is another; but CAST and BITCAST have it as argument."""

APPROXIMATE = frozenset((Op.EXP, Op.LOG, Op.SIN, Op.COS, Op.TANH, Op.ERF, Op.POW))
"""Of floats, these differ by the last bits from device to device; all others are rounded correctly on each."""

REPRESENTABLE = frozenset((Op.NEG, Op.ABS, Op.FLOOR, Op.CEIL, Op.TRUNC, Op.ROUND, Op.WHERE, Op.MAXIMUM, Op.MINIMUM))
"""What these give for numbers of a half type, computed in float32, is a number of the half type."""


class ReduceOp(Record):
    """A reduction: ``combine`` is the scalar op that joins two partial results, ``identity`` its neutral element. It is
    for the dtypes that ``combine`` is for: the sum of bools is recorded as MAX, their product as MIN."""

    name: str
    combine: str
    identity: Callable[[DType], int | float | bool]
    numpy: Callable[..., Any]


def _lowest(dtype: DType) -> int | float | bool:
    return -np.inf if dtype.is_float else False if dtype is bool_ else dtype.min


def _highest(dtype: DType) -> int | float | bool:
    return np.inf if dtype.is_float else True if dtype is bool_ else dtype.max


def running_dtype(op: str, dtype: DType) -> DType:
    """The dtype in which a SCAN adds up or multiplies numbers of ``dtype``: float64 for float32, so that the result is
    right where each float32 step would round, as in the sum of 1e8 ones.

    >>> from minigrad.dtype import int64
    >>> running_dtype(Op.SUM, float32), running_dtype(Op.MAX, float32), running_dtype(Op.SUM, int64)
    (minigrad.float64, minigrad.float32, minigrad.int64)
    """
    return float64 if dtype is float32 and op in (Op.SUM, Op.PROD) else dtype


SCATTER_MODES: dict[str, str | None] = {"set": None, "add": "SUM", "mul": "PROD", "max": "MAX", "min": "MIN"}
"""What a SCATTER does with values that fall on one place, as the reduction that it is (None: the last one stays)."""


REDUCE_OPS: dict[str, ReduceOp] = {
    row.name: row
    for row in (
        ReduceOp(Op.SUM, Op.ADD, lambda d: 0, np.add.reduce),
        ReduceOp(Op.PROD, Op.MUL, lambda d: 1, np.multiply.reduce),
        ReduceOp(Op.MAX, Op.MAXIMUM, _lowest, np.maximum.reduce),
        ReduceOp(Op.MIN, Op.MINIMUM, _highest, np.minimum.reduce),
    )
}


def scatter_combine(mode: str, dtype: DType) -> str:
    """The scalar op by which a SCATTER joins an element of its base and one of its value. Of bools, a sum is whether
    any is true, a product whether all are.

    >>> from minigrad.dtype import float32
    >>> scatter_combine("add", float32), scatter_combine("add", bool_)
    ('ADD', 'OR')
    """
    reduction = SCATTER_MODES[mode]
    assert reduction is not None, mode
    combine = REDUCE_OPS[reduction].combine
    return {Op.ADD: Op.OR, Op.MUL: Op.AND}.get(combine, combine) if dtype is bool_ else combine
