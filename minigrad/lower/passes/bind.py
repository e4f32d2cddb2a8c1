"""Stage: lower, a pass. In: a kernel whose values share sub-values. Out: each value that is used twice in a block has
a name, and no serial loop has a single iteration. Requires: nothing. Guarantees: every Apply and Load is used once, so
that text made of the values computes nothing twice.
Next: ``hoist.py``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from minigrad.kernel.ir import (
    Apply,
    Barrier,
    Copy,
    For,
    If,
    Kernel,
    Let,
    LetIndex,
    Load,
    Local,
    Multiply,
    Statement,
    Store,
    Value,
    Wait,
)
from minigrad.kernel.walk import substitute_index, values, values_of
from minigrad.symbolic import num

ONE = num(1)


def bind(kernel: Kernel) -> Kernel:
    """Name shared values with a ``Let`` before the statement that uses them first.

    A value used in two statements of one block is named once, unless memory that it loads may have changed between:
    a load is shared only between statements with no store to its array and no barrier in between.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Array, For
    >>> from minigrad.symbolic import num, var
    >>> a, i = Array("a", float32, 4, written=True), var("i", 0, 3)
    >>> x = Load(a, i)
    >>> body = (Store(a, i, Apply("MUL", (x, x), float32)),)
    >>> [type(s).__name__ for s in bind(Kernel("k", (a,), (), For(i, num(0), num(4), 1, "parallel", body))).loop.body]
    ['Let', 'Store']
    """
    worker = _Binder()
    body = worker.block(kernel.loop.body)
    return kernel if body is kernel.loop.body else replace(kernel, loop=replace(kernel.loop, body=body))


class _Binder:
    def __init__(self) -> None:
        self.count = 0

    def block(self, block: tuple[Statement, ...]) -> tuple[Statement, ...]:
        """Statements of one block; named values live to its end."""
        out: list[Statement] = []
        for run in _runs(_without_single_loops(block)):
            self._run(run, out)
        same = len(out) == len(block) and all(a is b for a, b in zip(out, block, strict=True))
        return block if same else tuple(out)

    def _run(self, run: list[Statement], out: list[Statement]) -> None:
        """Statements between which no array is stored that a later one loads."""
        order = values([v for s in run for v in values_of(s)])
        if not order:
            out += [self._inner(s) for s in run]
            return
        uses: dict[int, int] = {}
        for v in order:
            if v.__class__ is Apply:
                for x in v.srcs:
                    uses[id(x)] = uses.get(id(x), 0) + 1
        for s in run:
            for v in values_of(s):
                uses[id(v)] = uses.get(id(v), 0) + 1
        shared = {id(v) for v in order if uses[id(v)] > 1 and (v.__class__ is Apply or v.__class__ is Load)}
        if not shared:
            out += [self._inner(s) for s in run]
            return
        new: dict[int, Value] = {}
        waiting = iter(order)  # what a statement needs that none before it does stands together, its value last
        for s in run:
            for root in values_of(s):
                if id(root) not in new:
                    self._name(root, waiting, shared, new, out)
            out.append(self._inner(_with_values(s, new)))

    def _name(self, root: Value, waiting: Iterator[Value], shared: set[int], new: dict[int, Value],
              out: list[Statement]) -> None:
        for v in waiting:
            made: Value = v
            if v.__class__ is Apply:
                srcs = tuple([new[id(x)] for x in v.srcs])
                if any([a is not b for a, b in zip(srcs, v.srcs)]):
                    made = Apply(v.op, srcs, v.dtype)
            if id(v) in shared:
                name = f"x{self.count}_"
                self.count += 1
                out.append(Let(name, made))
                made = Local(name, v.dtype)
            new[id(v)] = made
            if v is root:
                return

    def _inner(self, s: Statement) -> Statement:
        if isinstance(s, For):
            body = self.block(s.body)
            return s if body is s.body else replace(s, body=body)
        if isinstance(s, If):
            then, otherwise = self.block(s.then), self.block(s.otherwise)
            return s if then is s.then and otherwise is s.otherwise else replace(s, then=then, otherwise=otherwise)
        return s


def _with_values(s: Statement, new: dict[int, Value]) -> Statement:
    if isinstance(s, (Let, LetIndex, Store)):
        value = new[id(s.value)]
        return s if value is s.value else replace(s, value=value)
    if isinstance(s, If):
        condition = new[id(s.condition)]
        return s if condition is s.condition else replace(s, condition=condition)
    return s


def _without_single_loops(block: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """The block with the body of each serial loop that has one iteration in the loop's place."""
    if not any([_is_single(s) for s in block]):
        return block
    out: list[Statement] = []
    for s in block:
        if isinstance(s, For) and _is_single(s):
            out += _without_single_loops(substitute_index(s.body, {s.var: s.start}))
        else:
            out.append(s)
    return tuple(out)


def _is_single(s: Statement) -> bool:
    return isinstance(s, For) and s.kind == "serial" and s.step == 1 and s.stop - s.start is ONE


def _runs(block: tuple[Statement, ...]) -> list[list[Statement]]:
    """Cut a block before each statement that loads, or may load, what one before it in its run, or another thread,
    stored."""
    if len(block) == 1:
        return [list(block)]
    result: list[list[Statement]] = [[]]
    stored: set[int] = set()
    for s in block:
        if isinstance(s, (For, If, Barrier, Copy, Wait, Multiply)):
            result += [s], []
            stored = set()
            continue
        if stored and any([v.__class__ is Load and id(v.array) in stored for v in values(values_of(s))]):
            result.append([])
            stored = set()
        result[-1].append(s)
        if isinstance(s, Store):
            stored.add(id(s.array))
    return [r for r in result if r]
