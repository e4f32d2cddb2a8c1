"""Stage: schedule and lower build these. In: integers, names with ranges. Out: ``Sym``, the one node class, and the
table in which equal expressions are one object. Nothing is simplified here: the operators call the smart
constructors that ``arithmetic.py`` and ``condition.py`` enter into ``OPERATORS``.
Next: ``arithmetic.py``."""

from __future__ import annotations

import operator as python_operator
from collections.abc import Callable
from functools import lru_cache
from threading import RLock
from typing import Any, SupportsIndex
from weakref import ref
from zlib import crc32

from minigrad.symbolic.kinds import KINDS, NUM, SUM, VAR
from minigrad.symbolic.text import text

OPERATORS: dict[str, Callable[[Sym, Sym], Sym]] = {}


class Sym:
    """An integer expression: ``kind`` and ``args`` as in the grammar, ``lo <= value <= hi`` always.

    Immutable, and interned: two expressions with the same normal form are the same object, so ``==`` is
    ``is``, and a Sym is a cheap dict key. Use ``eq(a, b)`` for the *condition* that two expressions are equal.
    Comparisons give a Sym that is 0 or 1.

    >>> from minigrad.symbolic import var
    >>> i, j = var("i", 0, 7), var("j", 0, 3)
    >>> e = 4*i + j
    >>> e, e.lo, e.hi, e.kind
    (4*i + j, 0, 31, 'sum')
    >>> e//4 is i, e % 4 is j, e < 32
    (True, True, 1)
    """

    __slots__ = ("__weakref__", "_digest", "_variables", "args", "hi", "kind", "lo", "rank")
    kind: str
    args: tuple[Any, ...]
    lo: int
    hi: int
    rank: str  # orders terms the same way in every process: variables by name, then the rest by digest
    _digest: int | None
    _variables: tuple[Sym, ...] | None

    def __add__(self, other: Sym | int) -> Sym:
        return OPERATORS["+"](self, num(other) if other.__class__ is int else as_sym(other))

    def __sub__(self, other: Sym | int) -> Sym:
        return OPERATORS["-"](self, num(other) if other.__class__ is int else as_sym(other))

    def __mul__(self, other: Sym | int) -> Sym:
        return OPERATORS["*"](self, num(other) if other.__class__ is int else as_sym(other))

    def __floordiv__(self, other: Sym | int) -> Sym:
        return OPERATORS["//"](self, num(other) if other.__class__ is int else as_sym(other))

    def __mod__(self, other: Sym | int) -> Sym:
        return OPERATORS["%"](self, num(other) if other.__class__ is int else as_sym(other))

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: int) -> Sym:
        return OPERATORS["-"](as_sym(other), self)

    def __rfloordiv__(self, other: int) -> Sym:
        return OPERATORS["//"](as_sym(other), self)

    def __rmod__(self, other: int) -> Sym:
        return OPERATORS["%"](as_sym(other), self)

    def __neg__(self) -> Sym:
        return OPERATORS["*"](self, num(-1))

    def __lt__(self, other: Sym | int) -> Sym:
        return OPERATORS["<"](self, as_sym(other))

    def __gt__(self, other: Sym | int) -> Sym:
        return OPERATORS["<"](as_sym(other), self)

    def __le__(self, other: Sym | int) -> Sym:
        return OPERATORS["<"](self, as_sym(other) + 1)

    def __ge__(self, other: Sym | int) -> Sym:
        return OPERATORS["<"](as_sym(other), self + 1)

    def __bool__(self) -> bool:
        if self.lo > 0 or self.hi < 0:
            return True
        if self.lo == self.hi:
            return False
        raise TypeError(
            f"the truth of the index expression `{text(self)}` depends on the values of its variables; "
            "test its bounds `.lo` and `.hi`, or use `is` to compare expressions"
        )

    def __index__(self) -> int:
        if self.kind != NUM:
            raise TypeError(f"the index expression `{text(self)}` is not a constant; use evaluate(e, values)")
        return int(self.args[0])

    def __repr__(self) -> str:
        return text(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return intern, (self.kind, self.args, self.lo, self.hi)


class _Entry(ref[Sym]):
    """A weak reference that knows its place in the table, so that a dead expression leaves it."""

    __slots__ = ("key",)
    key: tuple[Any, ...]


_TABLE: dict[tuple[Any, ...], _Entry] = {}
_LOCK = RLock()  # reentrant: the collector may call _forget in a thread that holds it
_KIND_NUMBER = {kind: number for number, kind in enumerate(KINDS)}


def _forget(entry: ref[Sym], lock: Any = _LOCK, table: dict[tuple[Any, ...], _Entry] = _TABLE) -> None:
    # lock and table are bound here: at the interpreter's end the module's names go before the last nodes do
    with lock:
        if table.get(entry.key) is entry:  # type: ignore[attr-defined]
            del table[entry.key]


def find(key: tuple[Any, ...]) -> Sym | None:
    """The node of ``key = (kind, args)`` if it exists: saves a smart constructor the work of bounding it again."""
    entry = _TABLE.get(key)
    return None if entry is None else entry()


def intern(kind: str, args: tuple[Any, ...], lo: int, hi: int) -> Sym:
    """The one node of this kind and these args; ``lo`` and ``hi`` bound it. It simplifies nothing."""
    key = (kind, args)
    entry = _TABLE.get(key)
    if entry is not None:
        found = entry()
        if found is not None:
            return found
    node = Sym.__new__(Sym)
    node.kind, node.args, node.lo, node.hi, node._variables, node._digest = kind, args, lo, hi, None, None
    if kind == VAR:
        node.rank = args[0]
    elif kind != SUM:  # a sum is never a term: it needs no rank
        node.rank = f"~{digest(node) & 0xFFFFFFFFFFFFFFFF:016x}"
    entry = _Entry(node, _forget)
    entry.key = key
    with _LOCK:
        found = _TABLE.setdefault(key, entry)()
        if found is not None:
            return found
        _TABLE[key] = entry
    return node


def digest(e: Sym) -> int:
    """A hash of the structure: Python's hash of nested tuples of ints is the same in every process, that of a
    string is not. An int n enters as 2n+1 because Python gives -1 and -2 one hash."""
    if e._digest is None:
        kind, args = e.kind, e.args
        if kind == VAR:
            e._digest = hash((crc32(args[0].encode()), 2 * args[1] + 1, 2 * args[2] + 1))
        elif kind == NUM:
            e._digest = hash((_KIND_NUMBER[kind], 2 * args[0] + 1))
        elif kind == SUM:
            e._digest = hash((_KIND_NUMBER[kind], 2 * args[1] + 1, *[(digest(t), 2 * c + 1) for t, c in args[0]]))
        else:
            e._digest = hash((_KIND_NUMBER[kind], *[digest(a) for a in args]))
    return e._digest


@lru_cache(maxsize=1 << 12)
def num(n: int) -> Sym:
    """The constant ``n``.

    >>> from minigrad.symbolic import num
    >>> num(3) + 4
    7
    """
    return intern(NUM, (int(n),), int(n), int(n))


def var(name: str, lo: int, hi: int) -> Sym:
    """A variable with its inclusive range. Equal name and range give the same object.

    >>> from minigrad.symbolic import var
    >>> var("i", 0, 7) is var("i", 0, 7)
    True
    """
    lo, hi = python_operator.index(lo), python_operator.index(hi)
    if lo > hi:
        raise ValueError(f"var({name!r}, {lo}, {hi}): the range is empty; lo must not exceed hi")
    return intern(VAR, (name, lo, hi), lo, hi)


def as_sym(x: Sym | SupportsIndex) -> Sym:
    """``x`` as a Sym: an integer (Python's or NumPy's) becomes a constant, a Sym stays as it is.

    >>> from minigrad.symbolic import as_sym
    >>> as_sym(5).kind, as_sym(as_sym(5)) is as_sym(5)
    ('num', True)
    """
    if isinstance(x, Sym):
        return x
    try:
        return num(python_operator.index(x))
    except TypeError:
        message = f"an index expression is made of integers; got {x!r} of type {type(x).__name__}"
        raise TypeError(message) from None


def define(sign: str) -> Callable[[Callable[[Sym, Sym], Sym]], Callable[[Sym, Sym], Sym]]:
    """Decorator: this function is what the operator ``sign`` of Sym does."""

    def enter(function: Callable[[Sym, Sym], Sym]) -> Callable[[Sym, Sym], Sym]:
        OPERATORS[sign] = function
        return function

    return enter
