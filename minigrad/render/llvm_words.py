"""Stage: inside the LLVM renderer. In: values that put neighbours in memory together in one word. Out: one load of the
word, where the machine stores numbers with their lowest byte first.
Next: ``llvm.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from minigrad.dtype import bool_, uint32
from minigrad.kernel.ir import Apply, Const, Load, Value
from minigrad.kernel.walk import values
from minigrad.ops import Op
from minigrad.symbolic import num


class WordLoad(NamedTuple):
    """A word of 32 bits that has ``many`` elements of memory, from what ``first`` loads on, each widened to its part of
    the word; rotated left by ``turned`` bits then."""

    first: Load
    many: int
    turned: int


def word_loads(order: Sequence[Value], fits: Callable[[Load, int], bool]) -> tuple[dict[int, WordLoad], set[int]]:
    """By their ids, those of the values that are words of neighbours in memory; and the values that nothing else needs
    then. ``order``: all values of a statement, operands first, each used once. ``fits``: whether the word that begins
    with a load can be loaded."""
    found: dict[int, WordLoad] = {}
    within: set[int] = set()
    for v in reversed(order):
        if v.__class__ is Apply and v.op == Op.OR and v.dtype is uint32 and id(v) not in within:
            word = _word_load(v)
            if word is not None and fits(word.first, word.many):
                found[id(v)] = word
                within.update([id(x) for x in values(v.srcs)])
    return found, within


def _word_load(v: Value) -> WordLoad | None:
    """What an OR of shifted parts loads, if all are neighbours."""
    parts: dict[int, tuple[Load, int]] = {}
    pending = [v]
    while pending:
        part, shift = pending.pop(), 0
        if isinstance(part, Apply) and part.op == Op.OR:
            pending += part.srcs
            continue
        if isinstance(part, Apply) and part.op == Op.SHL:
            part, by = part.srcs
            shift = int(by.value) if isinstance(by, Const) else 32
        found = _unsigned_load(part)
        if found is None or shift in parts:
            return None
        parts[shift] = found
    first, width = parts.get(0, (None, 32))
    if first is None or sorted(parts) != list(range(0, 32, width)) or any(
            bits != width or p.dtype is not first.dtype or p.array is not first.array or p.guard is not first.guard
            for p, bits in parts.values()):
        return None
    if all((p.index - first.index) is num(shift // width) for shift, (p, _) in parts.items()):
        return WordLoad(first, len(parts), 0)
    last = parts[32 - width][0]
    turned = len(parts) == 2 and width == first.dtype.bits and (first.index - last.index) is num(1)
    return WordLoad(last, 2, 16) if turned else None


def _unsigned_load(v: Value) -> tuple[Load, int] | None:
    """The load whose bits, or those of the integer that it is widened to, an unsigned word of 32 bits has lowest, and 0
    above them; and how many these are."""
    if not isinstance(v, Apply) or v.op != Op.CAST:
        return None
    v = v.srcs[0]
    width = v.dtype.bits if v.dtype.kind == "u" else 32
    if isinstance(v, Apply) and v.op == Op.BITCAST:
        v = v.srcs[0]
    if isinstance(v, Apply) and v.op == Op.CAST and v.dtype.is_int and v.dtype.bits == width and (
            v.srcs[0].dtype.is_int and v.srcs[0].dtype.bits < width):
        v = v.srcs[0]
    return (v, width) if isinstance(v, Load) and v.array.scope != "register" and v.dtype is not bool_ else None
