"""Stage: inside the LLVM renderer. In: values that put neighbours in memory together in one word. Out: one load of the
word, where the machine stores numbers with their lowest byte first.
Next: ``llvm.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from minigrad.dtype import uint32
from minigrad.kernel.ir import Apply, Const, Load, Value
from minigrad.kernel.walk import values
from minigrad.ops import Op
from minigrad.symbolic import num


class WordLoad(NamedTuple):
    """A word of 32 bits that begins with what ``first`` loads, and is rotated left by ``turned`` bits then."""

    first: Load
    turned: int


def word_loads(order: Sequence[Value], fits: Callable[[Load], bool]) -> tuple[dict[int, WordLoad], set[int]]:
    """By their ids, those of the values that are words of neighbours in memory; and the values that nothing else needs
    then. ``order``: all values of a statement, operands first, each used once. ``fits``: whether the word that begins
    with a load can be loaded."""
    found: dict[int, WordLoad] = {}
    within: set[int] = set()
    for v in reversed(order):
        if v.__class__ is Apply and v.op == Op.OR and v.dtype is uint32 and id(v) not in within:
            word = _word_load(v)
            if word is not None and fits(word.first):
                found[id(v)] = word
                within.update([id(x) for x in values(v.srcs)])
    return found, within


def _word_load(v: Value) -> WordLoad | None:
    """What an OR of shifted parts loads, if all are neighbours."""
    parts: dict[int, Load] = {}
    pending = [v]
    while pending:
        part, shift = pending.pop(), 0
        if isinstance(part, Apply) and part.op == Op.OR:
            pending += part.srcs
            continue
        if isinstance(part, Apply) and part.op == Op.SHL:
            part, by = part.srcs
            shift = int(by.value) if isinstance(by, Const) else 32
        load = _unsigned_load(part)
        if load is None or shift in parts:
            return None
        parts[shift] = load
    first = parts.get(0)
    if first is None or sorted(parts) != list(range(0, 32, first.dtype.bits)) or any(
            p.dtype.size != first.dtype.size or p.array is not first.array or p.guard is not first.guard
            for p in parts.values()):
        return None
    if all((p.index - first.index) is num(shift // first.dtype.bits) for shift, p in parts.items()):
        return WordLoad(first, 0)
    return WordLoad(parts[16], 16) if len(parts) == 2 and (first.index - parts[16].index) is num(1) else None


def _unsigned_load(v: Value) -> Load | None:
    """The load whose bits an unsigned word of 32 bits has lowest, and 0 above them."""
    if not isinstance(v, Apply) or v.op != Op.CAST:
        return None
    v = v.srcs[0]
    unsigned = v.dtype.kind == "u"
    if isinstance(v, Apply) and v.op == Op.BITCAST:
        v = v.srcs[0]
    return v if unsigned and isinstance(v, Load) and v.array.scope != "register" else None
