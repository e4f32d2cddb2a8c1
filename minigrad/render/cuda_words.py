"""Stage: inside the CUDA renderer. In: a kernel. Out: its register arrays whose 16-bit elements are only ever copied,
a vector at a time, from global memory, or from zeros, and to shared memory: they are kept as words, which no
instruction takes apart, so that nothing waits for a load before the store.
Next: ``cuda_copies.py``."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from minigrad.dtype import uint16
from minigrad.kernel.ir import Apply, Array, Const, For, Kernel, Load, Store
from minigrad.kernel.walk import statements, values, values_of
from minigrad.ops import Op
from minigrad.symbolic import Sym, coefficient, num, substitute

LOAD_WORDS = """template <int N> struct alignas(4 * N) Words { unsigned int at[N]; };

template <int N> __device__ inline Words<N> load_words(const unsigned short *from) {
  if ((unsigned long long)from % sizeof(Words<N>) == 0) return *(const Words<N> *)from;
  Words<N> words;
  for (int n = 0; n < N; n++) words.at[n] = from[2 * n] | (unsigned int)from[2 * n + 1] << 16;
  return words;
}"""


class Copy(NamedTuple):
    """A vector loop that fills register ``at`` of ``held`` from ``memory`` (None: with zeros), or, ``out``, stores it
    there; ``first`` is where in memory its lanes begin."""

    held: Array
    at: Sym
    memory: Array | None
    first: Sym
    out: bool


def copies(kernel: Kernel) -> dict[int, Copy]:
    """The loops that copy arrays which nothing else touches, by id."""
    found = {id(s): c for s in statements(kernel) if isinstance(s, For) and (c := _copy(s)) is not None}
    touched: Counter[int] = Counter()
    for s in statements(kernel):
        touched.update([id(v.array) for v in values(values_of(s)) if isinstance(v, Load)])
        if isinstance(s, Store):
            touched[id(s.array)] += 1
    copied = Counter(id(c.held) for c in found.values())
    return {loop: c for loop, c in found.items() if touched[id(c.held)] == copied[id(c.held)]}


def _copy(s: For) -> Copy | None:
    if s.kind != "vector" or len(s.body) != 1 or not isinstance(s.body[0], Store):
        return None
    store, lanes = s.body[0], int(s.stop)
    array, value = store.array, store.value

    def first(e: Sym) -> Sym:
        return substitute(e, {s.var: num(0)})

    if array.dtype is not uint16:
        return None
    if array.scope == "register":
        at = first(store.index) // lanes
        if isinstance(value, Const) and value.value == 0:
            return Copy(array, at, None, num(0), False)
        bits = value.srcs[0] if isinstance(value, Apply) and value.op == Op.BITCAST else value
        if isinstance(bits, Load) and bits.array.scope == "global" and bits.guard is None and (
                coefficient(bits.index, s.var) == 1):
            return Copy(array, at, bits.array, first(bits.index), False)
        return None
    if array.scope == "shared" and isinstance(value, Load) and value.array.scope == "register" and (
            coefficient(store.index, s.var) == 1 and first(store.index) % lanes is num(0)):
        return Copy(value.array, first(value.index) // lanes, array, first(store.index), True)
    return None
