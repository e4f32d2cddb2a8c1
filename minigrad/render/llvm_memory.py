"""Stage: inside the LLVM renderer. In: loads and stores with their index and guard. Out: vector accesses where the
lanes are neighbours, one scalar where they are all the same place, and lane by lane otherwise. A false guard
never reads: it reads element 0 instead, or nothing.
Next: ``llvm_transpose.py``."""

from __future__ import annotations

from minigrad.kernel.ir import Array, Load
from minigrad.render.llvm_index import I64, IndexWriter, narrow
from minigrad.render.llvm_ops import from_memory, to_memory
from minigrad.render.llvm_text import Operand, Writer, literal, mangled, memory_type, register_type
from minigrad.symbolic import Sym, both, conjuncts, linear, num, split
from minigrad.target import SPACED


class MemoryWriter:
    """Accesses of one function; ``pointers`` gives each array's address."""

    def __init__(self, writer: Writer, index: IndexWriter):
        self.w = writer
        self.index = index
        self.pointers: dict[int, Operand] = {}
        self.known: list[Sym] = []  # conditions of the branches that we are in
        self.nontemporal = False  # whether a store went around the caches

    # --- addresses -----------------------------------------------------------------------------------------------

    def address(self, array: Array, e: Sym) -> Operand:
        """The address of element ``e``, the same for all lanes. Its constant part comes last: it is free."""
        base, constant = e, 0
        if e.kind == "sum":
            constant = e.args[1]
            base = e - constant
        elif e.kind == "num":
            base, constant = num(0), e.args[0]
        pointer = self.pointers[id(array)]
        if base is not num(0):
            pointer = self.offset(array, pointer, self.index.number(base))
        return pointer if constant == 0 else self.offset(array, pointer, literal(I64, constant))

    def offset(self, array: Array, pointer: Operand, index: Operand) -> Operand:
        text = f"getelementptr {memory_type(array.dtype)}, {pointer.typed}, {index.typed}"
        return self.w.pure(text, "ptr", 1, max(pointer.depth, index.depth))

    def load_at(self, array: Array, pointer: Operand, lanes: int = 1) -> Operand:
        return from_memory(self.w, self.raw(array, pointer, lanes), array.dtype)

    def raw(self, array: Array, pointer: Operand, lanes: int = 1) -> Operand:
        """What lies there, as it stands in memory."""
        type = memory_type(array.dtype)
        full = type if lanes == 1 else f"<{lanes} x {type}>"
        return self.w.load(f"load {full}, {pointer.typed}, align {array.dtype.size}", type, lanes)

    # --- loads ---------------------------------------------------------------------------------------------------

    def load(self, v: Load) -> Operand:
        array, e, guard = v.array, self.index.fix(v.index), self.guard(v)
        zero = literal(register_type(array.dtype), 0)
        if guard is not None and guard.kind == "num":
            if not guard.args[0]:
                return zero
            guard = None
        if guard is not None and array.size == 0:
            return zero
        if not self.index.by_lane(e):
            return self.load_same(array, e, guard, zero)
        parts = split(e, self.index.lane)
        if parts is not None and parts[0] in (1, -1):
            return self.load_neighbours(array, e, guard, zero, parts[0])
        if parts is not None and parts[0] in SPACED and self.index.lanes >= 4:
            if guard is None or self.safe(array, e):
                return self.load_spaced(array, e, guard, zero, *parts)
            if self.w.target.name == "avx512":
                return self.load_spaced_masked(array, guard, *parts)
        return self.load_lanes(array, e, guard, zero)

    def guard(self, v: Load) -> Sym | None:
        """What no branch around a load has made sure of."""
        if v.guard is None or not self.known:
            return v.guard if v.guard is None else self.index.fix(v.guard)
        return self.index.fix(both(*[p for p in conjuncts(v.guard) if p not in self.known]))

    def safe(self, array: Array, e: Sym) -> bool:
        """Whether ``e`` stays inside the array even where a guard is false."""
        return e.lo >= 0 and e.hi < array.size

    def load_same(self, array: Array, e: Sym, guard: Sym | None, zero: Operand) -> Operand:
        if guard is None:
            return self.load_at(array, self.address(array, e))
        condition = self.index.condition(guard)
        if self.safe(array, e):
            return self.w.select(condition, self.load_at(array, self.address(array, e)), zero)
        some = condition
        if condition.lanes > 1:
            name = f"llvm.vector.reduce.or.{mangled('i1', condition.lanes)}"
            self.w.declare(name, f"declare i1 @{name}({condition.full})")
            some = self.w.pure(f"call i1 @{name}({condition.typed})", "i1", 1, condition.depth)
        pointer = self.w.select(some, self.address(array, e), self.pointers[id(array)])
        return self.w.select(condition, self.load_at(array, pointer), zero)

    def load_neighbours(self, array: Array, e: Sym, guard: Sym | None, zero: Operand, step: int) -> Operand:
        lanes = self.index.lanes
        first = self.first(e, step)
        pointer = self.address(array, first)
        if guard is None:
            return self.in_order(self.load_at(array, pointer, lanes), step)
        condition = self.index.condition(guard)
        if self.safe(array, e):
            return self.w.select(condition, self.in_order(self.load_at(array, pointer, lanes), step), zero)
        if condition.lanes == 1 and array.size >= lanes:
            pointer = self.w.select(condition, pointer, self.pointers[id(array)])
            return self.w.select(condition, self.in_order(self.load_at(array, pointer, lanes), step), zero)
        mask = self.in_order(self.w.widen(condition, lanes), step)
        return self.in_order(self.masked(array, pointer, mask), step)

    def load_spaced(self, array: Array, e: Sym, guard: Sym | None, zero: Operand, step: int, first: Sym) -> Operand:
        """Lanes a few elements apart: all that lies from the first to the last, and of that the lanes. The last vector
        ends with the last lane: nothing beyond is read."""
        lanes = self.index.lanes
        last = (lanes - 1) * step + 1 - lanes
        starts = [*range(0, (step - 1) * lanes, lanes), last]
        pointer = self.address(array, first)
        loaded = [self.raw(array, self.offset(array, pointer, literal(I64, at)), lanes) for at in starts]
        places = [n * step for n in range(lanes)]
        chosen = [m if m < (step - 1) * lanes else m - last + (step - 1) * lanes for m in places]
        value = from_memory(self.w, self.w.shuffle(self.w.joined(loaded), chosen), array.dtype)
        return value if guard is None else self.w.select(self.index.condition(guard), value, zero)

    def load_spaced_masked(self, array: Array, guard: Sym, step: int, first: Sym) -> Operand:
        """The same under a guard that the memory needs: only what belongs to a lane where it holds is touched."""
        lanes = self.index.lanes
        pointer = self.address(array, first)
        mask = self.w.widen(self.index.condition(guard), lanes)
        both = self.w.joined([mask, self.w.widen(literal("i1", 0), lanes)])
        loaded = []
        for start in range(0, step * lanes, lanes):
            spread = self.w.shuffle(both, [m // step if m % step == 0 else lanes for m in range(start, start + lanes)])
            loaded.append(self.masked_register(array, self.offset(array, pointer, literal(I64, start)), spread))
        chosen = self.w.shuffle(self.w.joined(loaded), [n * step for n in range(lanes)])
        return from_memory(self.w, chosen, array.dtype)

    def has_word(self, v: Load, count: int) -> bool:
        """Whether ``word`` can load what begins with ``v``: a guard is the same for all lanes; what is widened is all
        that lies between the first lane and the last, or one word for all."""
        guard, e, array = self.guard(v), self.index.fix(v.index), v.array
        apart = split(e, self.index.lane) if self.index.by_lane(e) else (count,)
        if apart is None or apart[0] != count:
            return guard is None and count * array.dtype.size == 4
        return guard is None or (not self.index.by_lane(guard) and array.size >= count * self.index.lanes)

    def word(self, v: Load, count: int) -> Operand:
        """32 bits: ``count`` elements from one on, each widened to its part of them."""
        array, e, guard, lanes = v.array, self.index.fix(v.index), self.guard(v), 1
        pointers: list[Operand] = []
        if not self.index.by_lane(e):
            pointers = [self.address(array, e)]
        else:
            parts = split(e, self.index.lane)
            whole = parts is not None and parts[0] == count
            lanes = self.index.lanes if whole else 1
            pointers = [self.address(array, parts[1])] if whole and parts else self.lane_addresses(array, e)
        condition = None if guard is None else self.index.condition(guard)
        if condition is not None:
            pointers = [self.w.select(condition, p, self.pointers[id(array)]) for p in pointers]
        loaded = [self._word_at(array, p, count, lanes) for p in pointers]
        made = loaded[0] if len(loaded) == 1 else self.w.gathered(loaded)
        return made if condition is None else self.w.select(condition, made, literal("i32", 0))

    def _word_at(self, array: Array, pointer: Operand, count: int, lanes: int) -> Operand:
        full = "i32" if lanes == 1 else f"<{lanes} x i32>"
        if count * array.dtype.size == 4:
            return self.w.load(f"load {full}, {pointer.typed}, align {array.dtype.size}", "i32", lanes)
        narrow = self.raw(array, pointer, lanes * count)
        wide = self.w.convert("sext" if array.dtype.kind == "i" else "zext", narrow, f"i{32 // count}")
        return self.w.pure(f"bitcast {wide.typed} to {full}", "i32", lanes, self.w.place(wide))

    def first(self, e: Sym, step: int) -> Sym:
        """The lowest of the places that lanes ``step`` apart touch."""
        return e - self.index.lane if step == 1 else e + self.index.lane - (self.index.lanes - 1)

    def in_order(self, a: Operand, step: int) -> Operand:
        return a if step == 1 else self.w.shuffle(a, list(reversed(range(a.lanes))))

    def masked(self, array: Array, pointer: Operand, mask: Operand) -> Operand:
        """The lanes of a vector load where ``mask`` is true; 0 in the others, whose memory is not touched."""
        size, lanes, target = array.dtype.size, mask.lanes, self.w.target
        if target.name == "avx512":
            most = lanes
        elif target.name == "avx2" and size >= 4 and lanes * size >= 16:
            most = min(lanes, 32 // size)
        else:
            return self.one_by_one(array, pointer, mask)
        parts = []
        for start in range(0, lanes, most):
            part = mask if most == lanes else self.w.shuffle(mask, list(range(start, start + most)))
            place = self.offset(array, pointer, literal(I64, start)) if start else pointer
            parts.append(self.masked_register(array, place, part))
        return from_memory(self.w, self.w.joined(parts), array.dtype)

    def masked_register(self, array: Array, pointer: Operand, mask: Operand) -> Operand:
        type, lanes = memory_type(array.dtype), mask.lanes
        if self.w.target.name == "avx2":
            return self.masked_avx2(type, lanes, pointer, mask)
        full, name = f"<{lanes} x {type}>", f"llvm.masked.load.{mangled(type, lanes)}.p0"
        self.w.declare(name, f"declare {full} @{name}(ptr, i32, <{lanes} x i1>, {full})")
        call = f"call {full} @{name}({pointer.typed}, i32 {array.dtype.size}, {mask.typed}, {full} zeroinitializer)"
        return self.w.load(call, type, lanes)

    def masked_avx2(self, type: str, lanes: int, pointer: Operand, mask: Operand) -> Operand:
        """The instruction itself: where LLVM 22 sees that all lanes of ``llvm.masked.load`` are off, it may emit an
        unmasked load for a machine without AVX-512."""
        bits = 32 if type in ("float", "i32") else 64
        name = f"llvm.x86.avx2.maskload.{'d' if bits == 32 else 'q'}{'.256' if lanes * bits == 256 else ''}"
        full = f"<{lanes} x i{bits}>"
        self.w.declare(name, f"declare {full} @{name}(ptr, {full})")
        signs = self.w.convert("sext", mask, f"i{bits}")
        got = self.w.load(f"call {full} @{name}({pointer.typed}, {signs.typed})", f"i{bits}", lanes)
        return got if got.type == type else self.w.convert("bitcast", got, type)

    def one_by_one(self, array: Array, pointer: Operand, mask: Operand) -> Operand:
        """``masked`` on machines that cannot: each lane reads its element, or element 0."""
        base, lanes = self.pointers[id(array)], range(mask.lanes)
        places = [self.offset(array, pointer, literal(I64, n)) if n else pointer for n in lanes]
        chosen = [self.w.select(self.w.lane(mask, n), place, base) for n, place in zip(lanes, places)]
        got = self.w.gathered([self.raw(array, place) for place in chosen])
        return from_memory(self.w, self.w.select(mask, got, literal(got.type, 0)), array.dtype)

    def load_lanes(self, array: Array, e: Sym, guard: Sym | None, zero: Operand) -> Operand:
        condition = None if guard is None else self.index.condition(guard)
        mask = None if condition is None or self.safe(array, e) else condition
        got = self.w.gathered([self.raw(array, p) for p in self.lane_addresses(array, e, mask)])
        value = from_memory(self.w, got, array.dtype)
        return value if condition is None else self.w.select(condition, value, zero)

    def lane_addresses(self, array: Array, e: Sym, mask: Operand | None = None) -> list[Operand]:
        """The address of each lane's element; element 0's where ``mask`` is false."""
        lanes, base = self.index.lanes, self.pointers[id(array)]
        parts = split(e, self.index.lane)
        if parts is not None:  # one address and constant distances
            pointers = [self.address(array, parts[1] + parts[0] * n) for n in range(lanes)]
            if mask is None:
                return pointers
            return [self.w.select(self.w.lane(mask, n), p, base) for n, p in enumerate(pointers)]
        at = self.index.number(e, "i32" if narrow(e) else I64)
        if mask is not None:
            at = self.w.select(mask, at, literal(at.type, 0))
        numbers = [self.w.lane(at, n) for n in range(lanes)]
        wide = [n if n.type == I64 else self.w.convert("sext", n, I64) for n in numbers]
        return [self.offset(array, base, n) for n in wide]

    # --- prefetches ----------------------------------------------------------------------------------------------

    def prefetch(self, array: Array, e: Sym) -> None:
        """Fetch the cache line of an element, to be read, into all caches."""
        name = "llvm.prefetch.p0"
        self.w.declare(name, f"declare void @{name}(ptr, i32, i32, i32)")
        self.w.line(f"call void @{name}({self.address(array, self.index.fix(e)).typed}, i32 0, i32 3, i32 1)")

    # --- stores --------------------------------------------------------------------------------------------------

    def store(self, array: Array, e: Sym, value: Operand) -> None:
        """Stores without a guard; in a vector loop all lanes at once."""
        e = self.index.fix(e)
        value = to_memory(self.w, value, array.dtype)
        if not self.index.by_lane(e):
            value = self.w.lane(value, value.lanes - 1)  # the last lane's store is the one that stays
            self.store_at(array, self.address(array, e), value)
            return
        lanes = self.index.lanes
        value = self.w.widen(value, lanes)
        parts = split(e, self.index.lane)
        if parts is not None and parts[0] in (1, -1):
            self.store_from(array, self.first(e, parts[0]), self.in_order(value, parts[0]))
            return
        for n, pointer in enumerate(self.lane_addresses(array, e)):
            self.store_at(array, pointer, self.w.lane(value, n))

    def store_from(self, array: Array, first: Sym, value: Operand) -> None:
        """Store a vector from element ``first`` on; around the caches, if that is wanted and the vector begins where
        one may."""
        nbytes = value.lanes * array.dtype.size
        terms, constant = linear(first)
        if not array.nontemporal or nbytes not in (16, 32, 64) or any(
                [n % value.lanes for n in (*terms.values(), constant)]):
            self.store_at(array, self.address(array, first), value)
            return
        self.nontemporal = True
        self.w.line(f"store {value.typed}, {self.address(array, first).typed}, align {nbytes}, !nontemporal !0")
        self.w.epoch += 1

    def store_at(self, array: Array, pointer: Operand, value: Operand) -> None:
        self.w.line(f"store {value.typed}, {pointer.typed}, align {array.dtype.size}")
        self.w.epoch += 1
