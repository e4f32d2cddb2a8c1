"""Stage: tests. In: kernels. Out: that walks see everything once and in order, and that a rebuilt nest shares what did
not change. Next: ``test_interpret.py``."""

from __future__ import annotations

import pytest

from minigrad.dtype import bool_
from minigrad.kernel.ir import Apply, Const, For, If, Index, Let, Load, Store
from minigrad.kernel.verify import verify
from minigrad.kernel.walk import (
    all_values,
    bodies_of,
    names_bound,
    rebuild,
    statements,
    substitute_index,
    values,
)
from minigrad.symbolic import eq, num, var
from tests.unit.render.samples import SAMPLES, F, branches, f, kernel, loop, op, out, row_sum, softmax_like

I = var("i", 0, 3)


def test_statements_come_in_order_with_what_is_inside():
    names = [type(s).__name__ for s in statements(row_sum())]
    assert names == ["For", "Alloc", "Alloc", "For", "For", "For", "Store", "For", "Store", "Fold", "Store"]
    first = next(s for s in statements(branches()) if isinstance(s, If))
    assert [type(s).__name__ for s in statements((first,))] == ["If", "Store", "For", "Store", "Store"]
    assert len(bodies_of(first)) == 2


def test_values_come_once_operands_first():
    a, b = f(1.0), f(2.0)
    total = op("ADD", op("MUL", a, b), op("MUL", a, b))
    order = values([total, a])
    assert len(order) == 5 and order[0] is a and order[1] is b and order[-1] is total
    for _ in range(10_000):
        total = op("ADD", total, total)
    assert len(values([total])) == 10_005


def test_a_rebuild_that_changes_nothing_gives_the_same_object():
    for build in SAMPLES:
        sample = build()
        assert rebuild(sample) is sample
        assert rebuild(sample, value=lambda v: v, statement=lambda s: s, index=lambda e: e) is sample


def test_a_rebuild_shares_what_did_not_change():
    x = out("x", 4)
    kept, gone = Store(x, I, f(1.0)), Store(x, I, op("ADD", f(2.0), f(3.0)))
    block = (kept, gone)
    new = rebuild(block, value=lambda v: f(9.0) if isinstance(v, Const) and v.value == 2.0 else v)
    assert new is not block and new[0] is kept and new[1].value.srcs[0].value == 9.0
    assert new[1].value.srcs[1] is gone.value.srcs[1]


def test_a_shared_value_is_rebuilt_once():
    x, seen = out("x", 4), []
    shared = op("ADD", Load(x, I), f(1.0))
    block = (Store(x, I, op("MUL", shared, shared)), Store(x, I, shared))

    def see(v):
        seen.append(v)
        return Apply("SUB", v.srcs, v.dtype) if isinstance(v, Apply) and v.op == "ADD" else v

    new = rebuild(block, value=see)
    assert len(seen) == 4 and new[0].value.srcs[0] is new[1].value


def test_statements_may_become_several_or_none():
    x = out("x", 4)
    made = kernel("k", (x,), I, 4, Let("a", f(1.0)), Store(x, I, f(2.0)))
    new = rebuild(made, statement=lambda s: () if isinstance(s, Let) else [s, s] if isinstance(s, Store) else s)
    assert [type(s) for s in new.loop.body] == [Store, Store]
    with pytest.raises(ValueError, match="kernel k: its outermost loop can only be replaced by one loop, got 0"):
        rebuild(made, statement=lambda s: () if isinstance(s, For) else s)


def test_index_variables_are_replaced_everywhere():
    x, k = out("x", 40), var("k", 0, 7)
    made = kernel("k", (x,), I, 4, loop("serial", k, I + 1, If(Index(eq(k, I), bool_), (
        Store(x, k + 4 * I, Load(x, k, k < I), I < 2),))))
    body = substitute_index(made.loop.body, {I: num(1)})
    (inner,) = body
    store = inner.body[0].then[0]
    assert inner.stop is num(2) and inner.body[0].condition.index is eq(k, 1)
    assert store.index is k + 4 and store.guard is num(1) and store.value.guard is (k < 1)


def test_names_that_are_bound():
    assert names_bound(softmax_like()) == [
        "i", "top", "total", "scratch", "k", "l", "most", "k2", "l", "e", "sum", "k3", "l"]
    assert sum(isinstance(v, Load) for v in all_values(softmax_like())) == 5
    verify(softmax_like())
    assert F is all_values(row_sum())[0].dtype
