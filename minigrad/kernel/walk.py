"""Stage: lower's passes, the checker and the renderers use it. In: loop nests. Out: their statements and values in
order, one at a time, and nests rebuilt with some of them replaced. Long expressions are walked with a stack of
their own, never by recursion.
Next: ``length.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from minigrad.kernel.ir import (
    Apply,
    Copy,
    Fold,
    For,
    Function,
    If,
    Index,
    Kernel,
    Let,
    LetIndex,
    Load,
    Local,
    Multiply,
    Prefetch,
    Scalar,
    Statement,
    Store,
    Value,
)
from minigrad.symbolic import Sym, substitute, variables

Nest = TypeVar("Nest", Kernel, tuple)
IndexFunction = Callable[[Sym], Sym]
ValueFunction = Callable[[Value], Value]
StatementFunction = Callable[[Statement], "Statement | Sequence[Statement]"]


def operands(value: Value) -> tuple[Value, ...]:
    """The values that ``value`` is computed from."""
    return value.srcs if isinstance(value, Apply) else ()


def values_of(statement: Statement) -> tuple[Value, ...]:
    """The values that stand in ``statement`` itself (not in the statements inside it, not operands)."""
    if isinstance(statement, (Let, LetIndex, Store)):
        return (statement.value,)
    return (statement.condition,) if isinstance(statement, If) else ()


def indices_of(node: Statement | Value) -> tuple[Sym, ...]:
    """The index expressions that stand in one statement or value itself."""
    if isinstance(node, (Load, Store)):
        return (node.index,) if node.guard is None else (node.index, node.guard)
    if isinstance(node, (Index, Prefetch)):
        return (node.index,)
    if isinstance(node, Multiply):
        return (node.a.index, node.b.index)
    if isinstance(node, Copy):
        return (node.at, node.first) if node.inside is None else (node.at, node.first, node.inside)
    return (node.start, node.stop) if isinstance(node, For) else ()


def bodies_of(statement: Statement) -> tuple[tuple[Statement, ...], ...]:
    """The blocks inside ``statement``: a loop's body, or both branches of an ``If``."""
    if isinstance(statement, For):
        return (statement.body,)
    return (statement.then, statement.otherwise) if isinstance(statement, If) else ()


def statements(nest: Kernel | Iterable[Statement]) -> Iterator[Statement]:
    """All statements of a kernel or block, those inside a statement right after it."""
    waiting = [iter((nest.loop,) if isinstance(nest, Kernel) else nest)]
    while waiting:
        for statement in waiting[-1]:
            yield statement
            blocks = bodies_of(statement)
            if blocks:
                waiting.append(iter([s for block in blocks for s in block]))
                break
        else:
            waiting.pop()


def values(roots: Iterable[Value]) -> list[Value]:
    """All values below ``roots`` once each, operands before what uses them.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Const
    >>> x = Const(2.0, float32)
    >>> [type(v).__name__ for v in values([Apply("MUL", (x, x), float32)])]
    ['Const', 'Apply']
    """
    order: list[Value] = []
    done: set[int] = set()
    for root in roots:
        if id(root) in done:
            continue
        if root.__class__ is not Apply:  # most statements hold one value
            done.add(id(root))
            order.append(root)
            continue
        above: list[tuple[Apply, Iterator[Value]]] = []
        value: Apply = root
        rest = iter(root.srcs)
        while True:
            for x in rest:
                if id(x) not in done:
                    if x.__class__ is Apply:
                        above.append((value, rest))
                        value, rest = x, iter(x.srcs)
                        break
                    done.add(id(x))
                    order.append(x)
            else:
                done.add(id(value))
                order.append(value)
                if not above:
                    break
                value, rest = above.pop()
    return order if following is None else following(order)


following: Callable[[list[Value]], list[Value]] | None = None
"""While somebody explains (``minigrad.explain``): makes of values in order a list that says which one is looked at."""


def tree(root: Value) -> list[Value]:
    """All values below ``root``, operands before what uses them, if each operation in it is used once, as ``bind`` sees
    to; one that is used twice comes twice.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Const
    >>> one, two = Const(1.0, float32), Const(2.0, float32)
    >>> tree(Apply("ADD", (one, two), float32))[0] is one
    True
    """
    order: list[Value] = []
    waiting = [root]
    while waiting:
        value = waiting.pop()
        order.append(value)
        if value.__class__ is Apply:
            waiting += value.srcs
    order.reverse()
    return order


def all_values(nest: Kernel | Iterable[Statement]) -> list[Value]:
    """All values of all statements, once each, operands first."""
    return values([v for s in statements(nest) for v in values_of(s)])


def functions(nest: Kernel | Iterable[Statement]) -> dict[str, Function]:
    """The functions that the ops of a kernel or block are, by name, each after those that its own ops are."""
    found: dict[str, Function] = {}

    def add(op: str) -> None:
        if isinstance(op, Function) and op not in found:
            for v in op.values:
                if isinstance(v, Apply):
                    add(v.op)
            found[op] = op

    for s in statements(nest):
        if isinstance(s, Fold):
            add(s.op)
        for v in values(values_of(s)):
            if v.__class__ is Apply:
                add(v.op)
    return found


def rebuild(nest: Nest, value: ValueFunction | None = None, statement: StatementFunction | None = None,
            index: IndexFunction | None = None) -> Nest:
    """The kernel or block with every index expression, value and statement replaced by what the functions return.

    ``index`` sees index expressions, then ``value`` each value whose operands are already rebuilt, then
    ``statement`` each statement whose contents are; it may return several statements, or none.
    A function returns its argument to keep it: where all do, the result is the same object.

    >>> from minigrad.dtype import int64
    >>> from minigrad.kernel.ir import Const
    >>> block = (Let("x", Const(1, int64)),)
    >>> rebuild(block, value=lambda v: v) is block
    True
    >>> rebuild(block, value=lambda v: Const(2, int64))[0].value.value
    2
    """
    worker = _Rebuilder(value, statement, index)
    if not isinstance(nest, Kernel):
        return worker.block(nest)
    changed = worker.block((nest.loop,))
    if len(changed) != 1 or not isinstance(changed[0], For):
        raise ValueError(f"kernel {nest.name}: its outermost loop can only be replaced by one loop, got {len(changed)} "
                         "statements")
    return nest if changed[0] is nest.loop else replace(nest, loop=changed[0])


def rebuild_values(roots: Iterable[Value], value: ValueFunction) -> list[Value]:
    """Values with all below them replaced by what the function returns, operands first; what they share stays shared.

    >>> from minigrad.dtype import int64
    >>> from minigrad.kernel.ir import Const
    >>> one = Const(1, int64)
    >>> rebuild_values([one + 2], lambda v: Const(5, int64) if v is one else v)[0].srcs[0]
    Const(value=5, dtype=minigrad.int64)
    """
    worker = _Rebuilder(value, None, None)
    return [worker.value(root) for root in roots]


def substitute_index(nest: Nest, values: dict[Sym, Sym | int]) -> Nest:
    """The kernel or block with index variables replaced by expressions (``unroll`` does this)."""
    return rebuild(nest, index=lambda e: substitute(e, values))


class _Rebuilder:
    def __init__(self, value: ValueFunction | None, statement: StatementFunction | None, index: IndexFunction | None):
        self.value_function, self.statement_function, self.index_function = value, statement, index
        self.memo: dict[int, tuple[Value, Value]] = {}  # id -> (the value, kept alive; its replacement)

    def block(self, block: tuple[Statement, ...]) -> tuple[Statement, ...]:
        out: list[Statement] = []
        for s in block:
            changed = self.statement(s)
            if isinstance(changed, (list, tuple)):
                out.extend(changed)
            else:
                out.append(changed)
        return block if len(out) == len(block) and all(a is b for a, b in zip(out, block)) else tuple(out)

    def statement(self, s: Statement) -> Any:
        if isinstance(s, For):
            s = _with(s, start=self.index(s.start), stop=self.index(s.stop), body=self.block(s.body))
        elif isinstance(s, If):
            s = _with(s, condition=self.value(s.condition), then=self.block(s.then), otherwise=self.block(s.otherwise))
        elif isinstance(s, Store):
            s = _with(s, index=self.index(s.index), value=self.value(s.value), guard=self.guard(s.guard))
        elif isinstance(s, (Let, LetIndex)):
            s = _with(s, value=self.value(s.value))
        elif isinstance(s, Prefetch):
            s = _with(s, index=self.index(s.index))
        elif isinstance(s, Copy):
            s = _with(s, at=self.index(s.at), first=self.index(s.first), inside=self.guard(s.inside))
        elif isinstance(s, Multiply):
            s = _with(s, **{side: _with(tile, index=self.index(tile.index)) for side, tile in (("a", s.a), ("b", s.b))})
        return s if self.statement_function is None else self.statement_function(s)

    def index(self, e: Sym) -> Sym:
        return e if self.index_function is None else self.index_function(e)

    def guard(self, e: Sym | None) -> Sym | None:
        return None if e is None else self.index(e)

    def value(self, root: Value) -> Value:
        if self.value_function is None and self.index_function is None:
            return root
        memo = self.memo
        for v in values((root,)):
            if id(v) in memo:
                continue
            new: Value = v
            if v.__class__ is Apply:
                srcs = tuple([memo[id(s)][1] for s in v.srcs])
                if any([a is not b for a, b in zip(srcs, v.srcs)]):
                    new = Apply(v.op, srcs, v.dtype)
            elif self.index_function is not None and isinstance(v, Load):
                new = _with(v, index=self.index(v.index), guard=self.guard(v.guard))
            elif self.index_function is not None and isinstance(v, Index):
                new = _with(v, index=self.index(v.index))
            memo[id(v)] = (v, new if self.value_function is None else self.value_function(new))
        return self.memo[id(root)][1]


def _with(node: Any, **fields: Any) -> Any:
    """``dataclasses.replace``, but the node itself if every field stays as it is."""
    for name, new in fields.items():
        old = getattr(node, name)
        if new is not old and not (isinstance(new, tuple) and len(new) == len(old)
                                   and all(a is b for a, b in zip(new, old))):
            return replace(node, **fields)
    return node


def names_bound(nest: Kernel | Iterable[Statement]) -> list[str]:
    """The names that statements bring to life, in order: loop variables, Lets, Folds, arrays."""
    names: list[str] = []
    for s in statements(nest):
        if isinstance(s, (Let, Fold)):
            names.append(s.name)
        elif isinstance(s, (For, LetIndex)):
            names.append(str(s.var))
        elif hasattr(s, "array") and not isinstance(s, (Store, Prefetch)):
            names.append(s.array.name)
    return names


def names_read(kernel: Kernel) -> set[str]:
    """The names that some value, index or fold reads; a Let that nothing reads is not written."""
    read: set[str] = set()
    for s in statements(kernel):
        nodes = [s, *values(values_of(s))]
        read.update(str(x) for node in nodes for e in indices_of(node) for x in variables(e))
        if isinstance(s, Fold):
            read.update((s.name, s.array.name))
        elif isinstance(s, Multiply):
            read.update((s.sums.name, s.a.array.name, s.b.array.name))
        elif isinstance(s, Copy):
            read.add(s.source.name)
        elif isinstance(s, Prefetch):
            read.add(s.array.name)
        for v in nodes:
            if isinstance(v, (Local, Scalar)):
                read.add(v.name)
            elif isinstance(v, Load):
                read.add(v.array.name)
    return read
