"""Stage: render for the CPU device. In: loop nests. Out: one module of LLVM IR text, in which vector loops have become
vectors and register arrays SSA values: it needs no passes, only instruction selection.
Next: ``opencl.py``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from minigrad.dtype import float64, int32, int64
from minigrad.errors import CompileError
from minigrad.kernel.ir import (
    Alloc,
    Apply,
    Array,
    Const,
    Fold,
    For,
    If,
    Index,
    Kernel,
    Let,
    LetIndex,
    Load,
    Local,
    Prefetch,
    Scalar,
    Statement,
    Store,
    Value,
)
from minigrad.kernel.walk import bodies_of, statements, values
from minigrad.lower.passes.legalise import legalise
from minigrad.ops import Op
from minigrad.render.llvm_index import I64, NO_LANE, IndexWriter, narrow
from minigrad.render.llvm_memory import MemoryWriter
from minigrad.render.llvm_ops import apply, cast, constant, native, to_memory
from minigrad.render.llvm_text import Operand, Writer, literal, register_type
from minigrad.render.llvm_transpose import load_turned, store_turned, turned_loads, turned_stores
from minigrad.render.llvm_words import WordLoad, word_loads
from minigrad.symbolic import Sym, conjuncts, num
from minigrad.target import C_FUNCTIONS, Target

_SIGNATURE = "ptr %arrays, ptr %scalars, i64 %begin, i64 %end"


def render_llvm(kernels: Sequence[Kernel], target: Target) -> str:
    """The kernels as one LLVM IR module for ``target``. The module sets no triple and no data layout.

    ``CompileError`` for what has no CPU form: barriers, shared memory, ops that a pass should have lowered.
    """
    declarations: dict[str, str] = {}
    functions = [KernelWriter(legalise(kernel, native(target)), target, declarations).text() for kernel in kernels]
    declared = "\n".join([declarations[name] for name in sorted(declarations)])
    unknown = undefined_symbols(declared) - C_FUNCTIONS
    if unknown:
        raise CompileError(f"kernels {', '.join(k.name for k in kernels)} would call unknown functions: {unknown}")
    metadata = ["!0 = !{i32 1}"] if any("!nontemporal" in text for text in functions) else []
    return "\n\n".join([*functions, declared, *metadata]) + "\n"


def undefined_symbols(module: str) -> set[str]:
    """The functions that an IR module declares and does not define, intrinsics aside.

    >>> undefined_symbols("declare double @fmod(double, double)")
    {'fmod'}
    """
    declared = set(re.findall(r"^declare .*?@([\w.$-]+)\(", module, re.MULTILINE))
    return {name for name in declared if not name.startswith("llvm.")}


class KernelWriter:
    """Writes one kernel as one function."""

    def __init__(self, kernel: Kernel, target: Target, declarations: dict[str, str]):
        self.kernel = kernel
        self.w = Writer(target, declarations)
        self.index = IndexWriter(self.w, self.scalar_index)
        self.memory = MemoryWriter(self.w, self.index)
        self.locals: dict[str, Operand] = {}
        self.turned: dict[int, Operand] = {}  # what loads give that were made for a whole unrolled loop
        self.held: dict[int, list[Operand]] = {}  # what such a loop's copies store, once all are written
        self.registers: dict[int, list[Operand]] = {}
        self.blocks = 0
        self.effects: dict[int, tuple[frozenset[int], bool]] = {}  # of blocks, by their ids

    def text(self) -> str:
        self.w.start_block("entry")
        for position, array in enumerate(self.kernel.arrays):
            self.memory.pointers[id(array)] = self.argument("arrays", position, "ptr", f"%p.{array.name}")
        for s in statements(self.kernel):
            if isinstance(s, Alloc) and s.array.scope == "scratch":
                self.scratch(s.array)
        self.loop(self.kernel.loop, Operand("%begin", I64), Operand("%end", I64))
        if self.memory.nontemporal:
            self.w.line("fence seq_cst")  # whoever reads after this kernel sees what went around the caches
        self.w.line("ret void")
        return f"define void @{self.kernel.name}({_SIGNATURE}) nounwind {{\n{self.w.text()}\n}}"

    def argument(self, table: str, position: int, type: str, name: str | None = None) -> Operand:
        """Entry ``position`` of the kernel's array or scalar table."""
        place = f"getelementptr i64, ptr %{table}, i64 {position}" if type != "ptr" else \
            f"getelementptr ptr, ptr %{table}, i64 {position}"
        pointer = self.w.pure(place, "ptr", 1, 0) if position else Operand(f"%{table}", "ptr")
        return self.w.pure(f"load {type}, {pointer.typed}, align 8", type, 1, 0, name)

    def scratch(self, array: Array) -> None:
        size = array.size * array.dtype.size
        self.memory.pointers[id(array)] = self.w.pure(
            f"alloca [{size} x i8], align 64 ; {array.name}", "ptr", 1, 0, f"%p.{array.name}")

    def scalar_index(self, v: Sym) -> Operand:
        for s in self.kernel.scalars:
            if s.name == str(v):
                return self.argument("scalars", s.position, I64)
        raise CompileError(f"kernel {self.kernel.name}: index variable {v} is neither a loop's nor a scalar's")

    def block_name(self, kind: str) -> str:
        self.blocks += 1
        return f"{kind}.{self.blocks}"

    def effect(self, block: tuple[Statement, ...]) -> tuple[frozenset[int], bool]:
        """The ids of the register arrays that a block stores into, and whether it stores into other memory."""
        known = self.effects.get(id(block))
        if known is None:
            stored = [s.array for s in block if isinstance(s, Store)]
            inside = [self.effect(body) for s in block for body in bodies_of(s)]
            registers = frozenset([id(a) for a in stored if a.scope == "register"]).union(*[r for r, _ in inside])
            known = registers, any([a.scope != "register" for a in stored]) or any([w for _, w in inside])
            self.effects[id(block)] = known
        return known

    # --- statements ----------------------------------------------------------------------------------------------

    def block(self, block: Sequence[Statement]) -> None:
        for s in block:
            self.statement(s)

    def statement(self, s: Statement) -> None:
        if isinstance(s, For):
            self.for_(s)
        elif isinstance(s, Let):
            self.locals[s.name] = self.value(s.value)
        elif isinstance(s, LetIndex):
            self.index.bind(s.var, self.value(s.value))
        elif isinstance(s, Store):
            self.store(s)
        elif isinstance(s, If):
            known = conjuncts(s.condition.index) if isinstance(s.condition, Index) else ()
            self.branches(self.value(s.condition), s.then, s.otherwise, known)
        elif isinstance(s, Alloc):
            self.alloc(s)
        elif isinstance(s, Fold):
            self.locals[s.name] = self.fold(s)
        elif isinstance(s, Prefetch):
            self.memory.prefetch(s.array, s.index)
        else:
            raise CompileError(f"kernel {self.kernel.name}: the CPU has no form of {type(s).__name__}")

    def for_(self, s: For) -> None:
        if s.kind == "vector":
            self.vector(s)
            return
        start, stop = self.index.fix(s.start), self.index.fix(s.stop)
        if start.kind == stop.kind == "num":
            numbers = range(int(start), int(stop), s.step)
            if s.kind == "unroll" or len(numbers) <= 1:
                turned = turned_loads(s) if len(numbers) > 1 else []
                columns = [load_turned(self.w, self.memory, v, s) for v in turned]
                held = turned_stores(s) if len(numbers) > 1 else []
                self.held.update({id(x): [] for x in held})
                for position, n in enumerate(numbers):
                    self.index.constants[s.var] = num(n)
                    self.turned.update({id(v): c[position] for v, c in zip(turned, columns)})
                    self.block(s.body)
                for v in turned:
                    del self.turned[id(v)]
                self.index.constants.pop(s.var, None)
                for x in held:
                    store_turned(self.w, self.memory, x, s, self.held.pop(id(x)))
                return
        self.loop(s, self.index.number(start), self.index.number(stop), start.hi < stop.lo)

    def vector(self, s: For) -> None:
        self.index.lanes = int(s.stop)
        if self.index.lanes == 1:
            self.index.constants[s.var] = num(0)
            self.block(s.body)
            del self.index.constants[s.var]
            return
        self.index.lane = s.var
        self.block(s.body)
        self.index.lane, self.index.lanes = NO_LANE, 1

    def loop(self, s: For, start: Operand, stop: Operand, certain: bool = False) -> None:
        """A loop tested at its end; entered through a test unless it is ``certain`` to run."""
        w = self.w
        body, done = self.block_name("loop"), self.block_name("done")
        enter = None if certain else w.compare("icmp slt", start, stop)
        changed, writes = self.effect(s.body)
        before = {key: list(self.registers[key]) for key in self.registers if key in changed}
        w.open_region()
        origin = w.label
        w.line(f"br label %{body}" if enter is None else f"br i1 {enter.text}, label %{body}, label %{done}")
        w.start_block(body)
        place, phis = len(w.regions[-1].lines), {}
        variable = Operand(f"%i.{s.var}.{self.blocks}", I64, 1, w.depth)
        self.index.operands[s.var] = variable
        for key, registers in before.items():
            phis[key] = [Operand(w.fresh(), r.type, r.lanes, w.depth) for r in registers]
            self.registers[key] = list(phis[key])
        w.epoch += writes
        self.block(s.body)
        following = w.fresh()
        w.line(f"{following} = add nsw i64 {variable.text}, {s.step}")
        again = w.fresh()
        w.line(f"{again} = icmp slt i64 {following}, {stop.text}")
        w.line(f"br i1 {again}, label %{body}, label %{done}")
        head = [f"  {variable.text} = phi i64 [ {start.text}, %{origin} ], [ {following}, %{w.label} ]"]
        for key, registers in before.items():
            for phi, first, last in zip(phis[key], registers, self.registers[key]):
                head.append(f"  {phi.text} = phi {phi.full} [ {first.text}, %{origin} ], [ {last.text}, %{w.label} ]")
        w.regions[-1].lines[place:place] = head
        latch = w.label
        w.close_region()
        w.start_block(done)
        for key, registers in before.items():
            after = self.registers[key]
            self.registers[key] = [self.merge(a, origin, b, latch) if enter is not None else b._replace(depth=w.depth)
                                   for a, b in zip(registers, after)]

    def merge(self, a: Operand, from_a: str, b: Operand, from_b: str) -> Operand:
        """The value of a register where two blocks meet."""
        if a.text == b.text:
            return a
        w = self.w
        out = Operand(w.fresh(), a.type, a.lanes, w.depth)
        w.line(f"{out.text} = phi {a.full} [ {a.text}, %{from_a} ], [ {b.text}, %{from_b} ]")
        return out

    def branches(self, condition: Operand, then: Sequence[Statement], otherwise: Sequence[Statement],
                 known: Sequence[Sym] = ()) -> None:
        w = self.w
        before = {key: list(registers) for key, registers in self.registers.items()}
        labels = [self.block_name("then"), self.block_name("else") if otherwise else "", self.block_name("join")]
        start, floor = w.label, w.floor
        ends, results, hoist = [], [], None
        for number, (block, label) in enumerate(zip((then, otherwise), labels)):
            if not label:
                ends.append(start)
                results.append(before)
                continue
            self.registers = {key: list(registers) for key, registers in before.items()}
            hoist = w.open_region(hoist)
            w.floor = w.depth
            if number == 0:
                w.line(f"br i1 {condition.text}, label %{label}, label %{labels[1] or labels[2]}")
            w.start_block(label)
            before_branch = self.memory.known
            self.memory.known = [*before_branch, *known] if number == 0 else before_branch
            self.block(block)
            self.memory.known = before_branch
            w.line(f"br label %{labels[2]}")
            ends.append(w.label)
            results.append(self.registers)
            w.close_region()
            w.floor = floor
        w.start_block(labels[2])
        self.registers = {key: [self.merge(a, ends[0], b, ends[1]) for a, b in zip(results[0][key], results[1][key])]
                          for key in before}

    def store(self, s: Store) -> None:
        if s.array.scope == "register":
            value = self.w.widen(self.value(s.value), s.array.lanes)
            self.registers[id(s.array)][self.index.register(s.index) // s.array.lanes] = value
            return
        if id(s) in self.held:
            value = to_memory(self.w, self.value(s.value), s.array.dtype)
            self.held[id(s)].append(self.w.widen(value, self.index.lanes))
            return
        guard = None if s.guard is None else self.index.fix(s.guard)
        if guard is None or guard is num(1):
            self.memory.store(s.array, s.index, self.value(s.value))
        elif guard is not num(0):
            self.branches(self.index.condition(guard), (Store(s.array, s.index, s.value),), ())

    def alloc(self, s: Alloc) -> None:
        array, type = s.array, register_type(s.array.dtype)
        if array.scope == "register":
            count = array.size // array.lanes
            if s.init is None:
                first = Operand("poison", type, array.lanes)
            else:
                first = self.w.widen(constant(s.init.value, array.dtype), array.lanes)
            self.registers[id(array)] = [first] * count
        elif array.scope != "scratch":
            raise CompileError(f"kernel {self.kernel.name}: the CPU has no {array.scope} memory ({array.name})")
        elif s.init is not None:
            self.fill(array, constant(s.init.value, array.dtype))

    def fill(self, array: Array, value: Operand) -> None:
        """Sets every element, in a loop over vectors and a rest of single elements."""
        w = self.w
        value = to_memory(w, value, array.dtype)
        lanes = w.target.lanes(array.dtype.size)
        whole = array.size - array.size % lanes
        if whole:
            body, done = self.block_name("fill"), self.block_name("filled")
            at, following, again = w.fresh(), w.fresh(), w.fresh()
            origin = w.label
            w.open_region()
            w.line(f"br label %{body}")
            w.start_block(body)
            w.line(f"{at} = phi i64 [ 0, %{origin} ], [ {following}, %{body} ]")
            pointer = self.memory.offset(array, self.memory.pointers[id(array)], Operand(at, I64, 1, w.depth))
            self.memory.store_at(array, pointer, w.widen(value, lanes))
            w.line(f"{following} = add i64 {at}, {lanes}")
            w.line(f"{again} = icmp slt i64 {following}, {whole}")
            w.line(f"br i1 {again}, label %{body}, label %{done}")
            w.close_region()
            w.start_block(done)
        for n in range(whole, array.size):
            self.memory.store_at(array, self.memory.address(array, num(n)), value)

    def fold(self, s: Fold) -> Operand:
        w, registers, dtype = self.w, self.registers[id(s.array)], s.array.dtype
        while len(registers) > 1:
            half = len(registers) // 2
            registers = [apply(w, s.op, dtype, [a, b], [dtype, dtype]) for a, b in zip(registers, registers[half:])]
        total = registers[0]
        while total.lanes > 1:
            half = total.lanes // 2
            parts = [w.shuffle(total, list(part)) for part in (range(half), range(half, total.lanes))]
            total = apply(w, s.op, dtype, parts, [dtype, dtype])
        return total

    # --- values --------------------------------------------------------------------------------------------------

    def value(self, root: Value) -> Operand:
        done: dict[int, Operand] = {}
        order = values([root])
        words, within = word_loads(order, self.memory.has_word)
        for v in order:
            if id(v) in words:
                done[id(v)] = self.word(words[id(v)])
            elif id(v) in within:
                continue
            elif isinstance(v, Apply):
                done[id(v)] = self.apply(v, done)
            elif isinstance(v, Load):
                done[id(v)] = self.load(v)
            elif isinstance(v, Const):
                done[id(v)] = constant(v.value, v.dtype)
            elif isinstance(v, Local):
                done[id(v)] = self.locals[v.name]
            elif isinstance(v, Index):
                done[id(v)] = self.index_value(v)
            else:
                done[id(v)] = self.scalar(v)
        return done[id(root)]

    def apply(self, v: Apply, done: dict[int, Operand]) -> Operand:
        first = v.srcs[0]
        if v.op == Op.CAST and isinstance(first, Index) and first.dtype is int64:
            e = self.index.fix(first.index)
            if self.index.by_lane(e) and narrow(e):  # the same number from half as many bits
                return cast(self.w, self.index.number(e, "i32"), int32, v.dtype)
        return apply(self.w, v.op, v.dtype, [done[id(s)] for s in v.srcs], [s.dtype for s in v.srcs])

    def word(self, v: WordLoad) -> Operand:
        made = self.memory.word(v.first, v.many)
        return self.w.intrinsic("fshl", made, made, literal("i32", v.turned)) if v.turned else made

    def load(self, v: Load) -> Operand:
        if id(v) in self.turned:
            return self.turned[id(v)]
        if v.array.scope != "register":
            return self.memory.load(v)
        return self.registers[id(v.array)][self.index.register(v.index) // v.array.lanes]

    def index_value(self, v: Index) -> Operand:
        e = self.index.fix(v.index)
        return self.index.condition(e) if v.dtype.kind == "b" else self.index.number(e)

    def scalar(self, v: Scalar) -> Operand:
        wide = float64 if v.dtype.is_float else int64
        return cast(self.w, self.argument("scalars", v.position, register_type(wide)), wide, v.dtype)

