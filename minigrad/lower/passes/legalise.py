"""Stage: lower, the pass that renderers begin with. In: a kernel, and what a language and a machine have by themselves.
Out: the kernel in ops that mean the same in every language. Requires: nothing. Guarantees: no op gets an operand for
which languages leave open what it gives, and the half types are only carried, as their bits are.
Next: ``definitions.py``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache, partial
from typing import NamedTuple

from minigrad.dtype import DType, bfloat16, bool_, float16, float32, float64, uint16
from minigrad.kernel.ir import DOT2, DOT2I, DOT4, Apply, Const, Fold, Function, Kernel, Local, Statement, Value
from minigrad.kernel.walk import rebuild, rebuild_values, values
from minigrad.lower.passes import definitions as defined
from minigrad.lower.passes.expressions import cast
from minigrad.ops import Op

WRAPPING = "wrapping"
"""This is native where arithmetic on integers wraps. ``DOTS`` may be, and ``"float16"``: its conversions to float32
and back."""


class Row(NamedTuple):
    """An op on operands of these kinds is ``write(op, *operands)``: where it stands, or as a function."""

    ops: tuple[str, ...]
    kinds: str
    write: Callable[..., Value]
    inline: bool = False


EDGES: dict[tuple[str, str], Row] = {(op, kind): row for row in (
    Row((Op.MAXIMUM, Op.MINIMUM), "iuf", defined.extremum),
    Row((Op.MAXIMUM, Op.MINIMUM, Op.LT), "b", defined.of_bools, inline=True),
    Row((Op.ABS,), "i", defined.magnitude),
    Row((Op.ABS,), "u", lambda op, a: a, inline=True),
    Row((Op.FLOORDIV, Op.MOD), "iu", defined.divided),
    Row((Op.FLOORDIV,), "f", defined.floor_quotient),
    Row((Op.MOD,), "f", defined.modulo),
    Row((Op.SHL, Op.SHR), "iu", defined.shifted),
    Row((DOT2,), "u", defined.two_products),
    Row((DOT4,), "u", defined.four_products),
    Row((DOT2I,), "u", defined.two_whole_products),
) for op in row.ops for kind in row.kinds}
"""What languages leave open, or lack."""

WRAP = frozenset((Op.ADD, Op.SUB, Op.MUL, Op.NEG, Op.SHL))
"""Ops on integers that C has on unsigned ones of 32 and 64 bits only."""

ROUND = {float16: defined.float16_bits, bfloat16: defined.bfloat16_bits}
VALUE = {float16: defined.float16_value, bfloat16: defined.bfloat16_value}


def legalise(kernel: Kernel, native: Collection[str] = ()) -> Kernel:
    """Write the kernel in ops that every language has, and in functions of them, but for what is ``native``.

    >>> from minigrad.kernel.ir import Array, For, Load, Store
    >>> from minigrad.kernel.show import show
    >>> from minigrad.symbolic import num, var
    >>> a, b, i = Array("a", float32, 4), Array("b", bfloat16, 4, written=True), var("i", 0, 3)
    >>> body = (Store(b, i, Apply(Op.CAST, (Load(a, i),), bfloat16)),)
    >>> print(show(legalise(Kernel("rounded", (a, b), (), For(i, num(0), num(4), 1, "parallel", body)))))
    kernel rounded(a: float32[4], b: bfloat16[4] written)
      parallel i in 0..4:
        b[i] = bf16_bits(a[i])
    """
    legal = legaliser(frozenset(native))
    return rebuild(kernel, value=legal.value, statement=legal.statement)


def short(dtype: DType) -> str:
    """The dtype's name in those of functions: ``i32``, ``bf16``."""
    return "bool" if dtype is bool_ else f"{'bf' if dtype is bfloat16 else dtype.kind}{dtype.bits}"


@cache
def legaliser(native: frozenset[str]) -> Legaliser:
    """One for all languages and machines that have the same by themselves."""
    return Legaliser(native)


class Legaliser:
    """Writes ops where not all is ``native``. A function is written once."""

    def __init__(self, native: frozenset[str]) -> None:
        self.native = native
        self.functions: dict[str, Function] = {}

    def function(self, name: str, sources: tuple[DType, ...], write: Callable[..., Value]) -> Function:
        """The function of this name, written now if it is new."""
        if name not in self.functions:
            parameters = tuple([Local(letter, dtype) for letter, dtype in zip("abc", sources)])
            body = rebuild_values([write(*parameters)], self.wrapped)
            self.functions[name] = Function(name, parameters, tuple(values(body)))
        return self.functions[name]

    def call(self, name: str, write: Callable[..., Value], *srcs: Value) -> Value:
        """That function of these operands."""
        f = self.function(name, tuple([x.dtype for x in srcs]), write)
        return Apply(f, srcs, f.values[-1].dtype)

    # --- what ``rebuild`` calls: operands are legal ------------------------------------------------------------------

    def value(self, v: Value) -> Value:
        """A value; an op that languages leave open in other ops, or as a function."""
        if v.__class__ is not Apply:
            return v
        op, source = v.op, v.srcs[0].dtype
        if op == Op.CAST:
            return self.converted(v)
        row = EDGES.get((op, source.kind))
        if row is None or op in self.native:
            return self.wrapped(v)
        if row.inline:
            return row.write(op, *v.srcs)
        known = v.srcs[-1]
        if isinstance(known, Const):
            if row.write is defined.shifted and 0 <= known.value < source.bits:
                return self.wrapped(v)
            if row.write is defined.divided and known.value > 0:
                return defined.by_constant(op, v.srcs[0], known)
        return self.call(f"{op.lower()}_{short(source)}", partial(row.write, op), *v.srcs)

    def statement(self, s: Statement) -> Statement:
        """A statement; a ``Fold`` has an op, too."""
        if not isinstance(s, Fold):
            return s
        a, b = Local("a", s.array.dtype), Local("b", s.array.dtype)
        joined = self.value(Apply(s.op, (a, b), s.array.dtype))
        assert isinstance(joined, Apply) and joined.srcs == (a, b)
        return s if joined.op is s.op else Fold(s.name, s.array, joined.op)

    def wrapped(self, v: Value) -> Value:
        """An op that is right but for wrapping, with that."""
        if v.__class__ is not Apply or v.op not in WRAP or not v.dtype.is_int or WRAPPING in self.native or (
                v.dtype.kind == "u" and v.dtype.bits >= 32):
            return v
        if v.op == Op.SHL:
            return defined.wrapped(v.op, *v.srcs)
        return self.call(f"{v.op.lower()}_{short(v.dtype)}", partial(defined.wrapped, v.op), *v.srcs)

    def converted(self, v: Apply) -> Value:
        """CAST: of the half types by way of float32."""
        (a,), dtype = v.srcs, v.dtype
        if a.dtype in VALUE:
            if a.dtype is dtype:
                return a
            a = cast(a, float32) if a.dtype.name in self.native else Apply(self.number(a.dtype), (a,), float32)
        if dtype in ROUND:
            if dtype is float16 and a.dtype is float64:
                a = self.call("odd_f64", defined.to_odd, a)
            a = cast(a, float32)
            return cast(a, dtype) if dtype.name in self.native else Apply(
                self.function(f"{short(dtype)}_bits", (float32,), ROUND[dtype]), (a,), dtype)
        if a.dtype.is_float and dtype.is_int:
            return self.call(f"{short(dtype)}_of_{short(a.dtype)}", partial(defined.saturated, dtype), a)
        return cast(a, dtype) if a is not v.srcs[0] or a.dtype is dtype else v

    def number(self, dtype: DType) -> Function:
        """What gives the number that is stored as some bits of a half type."""
        return self.function(f"{short(dtype)}_value", (uint16,), VALUE[dtype])
