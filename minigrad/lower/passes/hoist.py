"""Stage: lower, a pass. In: a kernel. Out: what a loop does not change stands before the loop.
Requires: ``bind``. Guarantees: no loop computes a value or reads an element that is the same in each of its iterations,
but for what it does under an ``If``.
Next: ``prefetch.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from minigrad.kernel.ir import (
    Alloc,
    Apply,
    Barrier,
    Copy,
    Fold,
    For,
    If,
    Index,
    Kernel,
    Let,
    LetIndex,
    Load,
    Local,
    Multiply,
    Scalar,
    Statement,
    Store,
    Value,
)
from minigrad.kernel.walk import rebuild, statements, tree, values_of
from minigrad.symbolic import Sym, variables


def hoist(kernel: Kernel) -> Kernel:
    """Move values out of the loops, innermost first, that do not change them. Nothing leaves the outermost loop, and no
    load of shared or written memory leaves a loop with a barrier.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Array
    >>> from minigrad.symbolic import num, var
    >>> a, b = Array("a", float32, 4, written=True), Array("b", float32, 1)
    >>> i, p = var("i", 0, 3), var("p", 0, 0)
    >>> inner = For(i, num(0), num(4), 1, "serial", (Store(a, i, Apply("SQRT", (Load(b, num(0)),), float32)),))
    >>> kernel = Kernel("k", (a, b), (), For(p, num(0), num(1), 1, "parallel", (inner,)))
    >>> [type(s).__name__ for s in hoist(kernel).loop.body]
    ['Let', 'For']
    """
    body = rebuild(kernel.loop.body, statement=_Hoister().statement)
    return kernel if body is kernel.loop.body else replace(kernel, loop=replace(kernel.loop, body=body))


class _Hoister:
    def __init__(self) -> None:
        self.count = 0

    def statement(self, s: Statement) -> Statement | Sequence[Statement]:
        """A statement; a loop after what can stand before it."""
        if not isinstance(s, For):
            return s
        lets, body = self.out_of(s, s.body)
        return [*lets, s if body is s.body else replace(s, body=body)]

    def out_of(self, s: For, body: tuple[Statement, ...]) -> tuple[list[Statement], tuple[Statement, ...]]:
        """What can stand before a loop, and what is left of its body."""
        if not any([isinstance(x, (Let, LetIndex, Store)) for x in body]):
            return [], body
        changing = _Changing(s.var, body)
        lets: list[Statement] = []
        kept: list[Statement] = []
        for x in body:
            if isinstance(x, Let) and changing.is_fixed(x.value):
                changing.names.discard(x.name)
                lets.append(x)
            else:
                kept.append(x)
        found = [v for x in kept if isinstance(x, (Let, LetIndex, Store)) for v in changing.largest(x.value)]
        if not found:
            return (lets, tuple(kept)) if lets else ([], body)
        names: dict[int, Local] = {}
        for v in found:
            if id(v) not in names:
                name = f"h{self.count}_"
                self.count += 1
                lets.append(Let(name, v))
                names[id(v)] = Local(name, v.dtype)
        return lets, tuple([x if isinstance(x, (For, If)) else _renamed(x, names) for x in kept])


def _renamed(s: Statement, names: dict[int, Local]) -> Statement:
    """The statement with values replaced by names."""
    below = [v for root in values_of(s) for v in tree(root)]
    if not any([id(v) in names for v in below]):
        return s
    memo: dict[int, Value] = dict(names)
    for v in below:
        if id(v) in memo:
            continue
        memo[id(v)] = v
        if isinstance(v, Apply) and any(memo[id(x)] is not x for x in v.srcs):
            memo[id(v)] = Apply(v.op, tuple([memo[id(x)] for x in v.srcs]), v.dtype)
    assert isinstance(s, (Let, LetIndex, Store))
    return replace(s, value=memo[id(s.value)])


class _Changing:
    """What the iterations of a loop change."""

    def __init__(self, var: Sym, body: tuple[Statement, ...]) -> None:
        self.variables = {var}
        self.names: set[str] = set()
        self.stored: set[int] = set()
        self.meets = False  # whether threads meet in it: then other threads change what they share
        for s in statements(body):
            if isinstance(s, (For, LetIndex)):
                self.variables.add(s.var)
            elif isinstance(s, (Let, Fold)):
                self.names.add(s.name)
            elif isinstance(s, (Store, Alloc)):
                self.stored.add(id(s.array))
            elif isinstance(s, Multiply):
                self.stored.add(id(s.sums))
            elif isinstance(s, Copy):
                self.stored.add(id(s.to))
            elif isinstance(s, Barrier):
                self.meets = True
        self.known: dict[int, bool] = {}
        self.below: dict[int, list[Value]] = {}  # of what ``is_fixed`` was asked about

    def is_fixed(self, root: Value) -> bool:
        """Whether the value is the same in every iteration."""
        if id(root) in self.known:
            return self.known[id(root)]
        self.below[id(root)] = order = tree(root)
        for v in order:
            if id(v) not in self.known:
                self.known[id(v)] = (all([self.known[id(x)] for x in v.srcs]) if v.__class__ is Apply
                                     else self._leaf(v))
        return self.known[id(root)]

    def _leaf(self, v: Value) -> bool:
        if isinstance(v, Load):
            if self.meets and (v.array.scope == "shared" or (v.array.scope == "global" and v.array.written)):
                return False
            return (id(v.array) not in self.stored and self.variables.isdisjoint(variables(v.index))
                    and (v.guard is None or self.variables.isdisjoint(variables(v.guard))))
        if isinstance(v, Local):
            return v.name not in self.names
        return not isinstance(v, Index) or self.variables.isdisjoint(variables(v.index))

    def largest(self, root: Value) -> list[Value]:
        """The largest operations and loads below ``root`` that are fixed; constants and names stay where they are."""
        if self.is_fixed(root):
            return [root] if _is_worth_a_name(root) else []
        below = self.below.get(id(root)) or tree(root)
        return [x for v in below if v.__class__ is Apply and not self.known[id(v)]
                for x in v.srcs if self.known[id(x)] and _is_worth_a_name(x)]


def _is_worth_a_name(v: Value) -> bool:
    if isinstance(v, Apply):
        return any([isinstance(x, (Load, Local, Scalar)) for x in tree(v)])
    return isinstance(v, Load)
