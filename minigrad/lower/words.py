"""Stage: lower, strategy ``contraction``. In: the factors of a sum of products. Out: how neighbours along the sum make
words of 32 bits, of which one instruction multiplies all parts and adds the products, where the machine has one.
Next: ``tiling.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from minigrad.dtype import DType, bfloat16, bool_, float32, int8, int16, int32, uint8, uint16, uint32
from minigrad.kernel.ir import DOT2, DOT2I, DOT4, DOTS, Apply, Const, Value
from minigrad.lower.axes import Axis
from minigrad.lower.body import Body, traffic
from minigrad.lower.reductions import Domain
from minigrad.ops import Op
from minigrad.symbolic import coefficient
from minigrad.target import Target

SIGNS = 0x80808080
"""What turns four int8 into uint8 that are 128 larger, and four uint8 into int8 that are 128 smaller."""

BYTES = frozenset((int8, uint8, bool_))


@dataclass(frozen=True, slots=True)
class Word:
    """Words of two factors: ``op`` adds the products of their parts to sums of ``dtype``. A part is shifted left by its
    number in ``shifts``. With ``flips``, both factors are signed, or neither is, but the instruction takes one of each:
    the first factor's bits are flipped by ``SIGNS``, and ``offset`` is what that adds. ``turned``: the second factor is
    the unsigned one."""

    op: str
    dtype: DType
    shifts: tuple[int, ...]
    flips: bool = False
    turned: bool = False

    @property
    def count(self) -> int:
        """Parts of a word."""
        return len(self.shifts)

    def add(self, total: Value, a: Value, b: Value) -> Value:
        """A sum with the products of two words more."""
        return Apply(self.op, (b, a, total) if self.turned else (a, b, total), self.dtype)

    def offset(self, total: Value, b: Value) -> Value:
        """What ``add`` adds to the sum for this word of the second factor beside the products."""
        return self.add(total, Const(SIGNS, uint32), b)

    def part(self, value: Value) -> Value:
        """The bits of a factor as the lowest ones of a word."""
        value, size = narrow(value), 4 // self.count
        if value.dtype.size < size:
            value = Apply(Op.CAST, (value,), int16)
        if value.dtype is bool_:
            return Apply(Op.CAST, (value,), uint32)
        if value.dtype.kind != "u":
            value = Apply(Op.BITCAST, (value,), uint16 if size == 2 else uint8)
        return Apply(Op.CAST, (value,), uint32)

    def joined(self, parts: Sequence[Value], first: bool = False) -> Value:
        """The word of a factor, the first or the second, that has these parts."""
        made = parts[0] << self.shifts[0] if self.shifts[0] else parts[0]
        for part, shift in zip(parts[1:], self.shifts[1:], strict=True):
            made = made | (part << shift if shift else part)
        return made ^ SIGNS if first and self.flips else made


def find_word(a: Value, b: Value, total: DType, target: Target) -> Word | None:
    """The words of two factors whose products are added up in ``total``; None if the machine has no instruction that
    gives the same sums. Of integers these are the same modulo 2³², so modulo any smaller power."""
    left, right = (narrow(v).dtype for v in (a, b))
    if left is right is bfloat16 and bfloat16.name in target.dots and total is float32:
        return Word(DOT2, float32, (16, 0))
    if int8.name not in target.dots or not total.is_int or total.bits > 32 or not {left, right} <= BYTES:
        return pair_of(a, b, total, target)
    unsigned = left is not int8, right is not int8
    flips = unsigned[0] == unsigned[1]
    return Word(DOT4, int32, (0, 8, 16, 24), flips, unsigned[1])


def pair_of(a: Value, b: Value, total: DType, target: Target) -> Word | None:
    """The words of two integers of 16 bits, which bytes become on the way; likewise."""
    if int16.name not in target.dots or not total.is_int or total.bits > 32:
        return None
    return Word(DOT2I, int32, (0, 16)) if {narrow(v).dtype for v in (a, b)} <= {*BYTES, int16} else None


def narrow(value: Value) -> Value:
    """What a factor is converted from, if it is."""
    return value.srcs[0] if isinstance(value, Apply) and value.op == Op.CAST else value


def is_products(v: Value) -> bool:
    """Whether a value is the products of two words alone, added to 0."""
    return isinstance(v, Apply) and v.op in DOTS and isinstance(v.srcs[-1], Const)


def in_words(body: Body, domain: Domain, k: Axis, target: Target) -> tuple[Body, Domain, Axis] | None:
    """A sum of products along words of two neighbours, and the axis that counts these; None if the machine has no
    instruction for it, a factor does not lie along the axis, or it is odd."""
    if len(body.reductions) != 1 or body.gathers:
        return None
    (reduction,) = body.reductions
    value = reduction.value
    if reduction.node.op != Op.SUM or not isinstance(value, Apply) or value.op != Op.MUL or value.dtype is not int32:
        return None
    a, b = value.srcs
    word = pair_of(a, b, value.dtype, target)
    loads = body.read_at(domain.work)
    if word is None or k.size % word.count or not loads or any(coefficient(e, k.var) != 1 for e in loads):
        return None
    axis = body.names.axis("r", k.size // word.count)
    copies = [body.instance({k.var: axis.var * word.count + n}) for n in range(word.count)]
    left, right = (word.joined([word.part(copy.value(v)) for copy in copies]) for v in (a, b))
    made = replace(reduction, value=word.add(Const(0, word.dtype), left, right))
    axes = [axis if x is k else x for x in domain.axes]
    return replace(body, reductions=(made,)), Domain([made], axes, traffic([made.value])), axis
