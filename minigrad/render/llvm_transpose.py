"""Stage: inside the LLVM renderer. In: an unrolled loop around a vector loop, in which loads step by one from copy to
copy and by more from lane to lane. Out: those loads as whole vectors, turned by shuffles: a square of elements costs a
load and a few shuffles for each row, not a load for each element.
Next: ``llvm.py``."""

from __future__ import annotations

from minigrad.kernel.ir import For, Load, Store
from minigrad.kernel.walk import statements, values, values_of
from minigrad.render.llvm_index import NO_LANE
from minigrad.render.llvm_memory import MemoryWriter
from minigrad.render.llvm_text import Operand, Writer
from minigrad.symbolic import coefficient, num, substitute


def turned_loads(s: For) -> list[Load]:
    """The loads in an unrolled loop of vectors that read a square of elements across the lanes: none if the loop stores
    into what it loads.

    >>> from minigrad.dtype import float32
    >>> from minigrad.kernel.ir import Array
    >>> from minigrad.symbolic import var
    >>> a, b, u, l = Array("a", float32, 64), Array("b", float32, 64), var("u", 0, 7), var("l", 0, 7)
    >>> inner = For(l, num(0), num(8), 1, "vector", (Store(b, 8*u + l, Load(a, 8*l + u)),))
    >>> [x.index for x in turned_loads(For(u, num(0), num(8), 1, "unroll", (inner,)))]
    [8*l + u]
    """
    if len(s.body) != 1 or not isinstance(s.body[0], For) or s.body[0].kind != "vector":
        return []
    inner = s.body[0]
    lanes, copies = int(inner.stop), len(range(int(s.start), int(s.stop), s.step))
    if lanes < 4 or copies != lanes or s.step != 1:
        return []
    stored = {id(x.array) for x in statements(inner.body) if isinstance(x, Store)}
    found = []
    for v in values([v for x in statements(inner.body) for v in values_of(x)]):
        if isinstance(v, Load) and v.array.scope != "register" and id(v.array) not in stored:
            step = coefficient(v.index, inner.var)
            if step is not None and step not in (-1, 0, 1) and coefficient(v.index, s.var) == 1:
                found.append(v)
    return found


def load_turned(w: Writer, memory: MemoryWriter, v: Load, s: For) -> list[Operand]:
    """What the load gives in each copy of the loop: rows along the copies, turned into columns along the lanes."""
    inner = s.body[0]
    assert isinstance(inner, For)
    index, rows = memory.index, []
    index.lane, index.lanes = s.var, int(inner.stop)
    for n in range(index.lanes):
        at = {inner.var: num(n)}
        guard = None if v.guard is None else substitute(v.guard, at)
        rows.append(w.widen(memory.load(Load(v.array, substitute(v.index, at), guard)), index.lanes))
    index.lane, index.lanes = NO_LANE, 1
    return transpose(w, rows)


def transpose(w: Writer, rows: list[Operand]) -> list[Operand]:
    """A square of vectors with rows and columns exchanged: in each step, blocks across the diagonal change places."""
    n = len(rows)
    distance = n // 2
    while distance:
        for i in range(n):
            if not i & distance:
                a, b = rows[i], rows[i + distance]
                low = [k if not k & distance else n + k - distance for k in range(n)]
                high = [k + distance if not k & distance else n + k for k in range(n)]
                rows[i], rows[i + distance] = _pick(w, a, b, low), _pick(w, a, b, high)
        distance //= 2
    return rows


def _pick(w: Writer, a: Operand, b: Operand, lanes: list[int]) -> Operand:
    picks = ", ".join(f"i32 {n}" for n in lanes)
    text = f"shufflevector {a.typed}, {b.typed}, <{len(lanes)} x i32> <{picks}>"
    return w.pure(text, a.type, len(lanes), w.place(a, b))
