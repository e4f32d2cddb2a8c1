"""Stage: tests run it after every pass, and VERIFY=1 does. In: a kernel. Out: the same kernel, or ``VerifyError`` with
the statement that breaks the grammar.
Next: ``uniform.py``."""

from __future__ import annotations

import re
from itertools import product
from math import prod

from minigrad.dtype import HALVES, bool_, float32, int32, int64, uint16, uint32
from minigrad.errors import VerifyError
from minigrad.kernel.copies import unfinished_copy
from minigrad.kernel.ir import (
    COPIED,
    DOT2,
    DOTS,
    MATRIX_DEPTH,
    MATRIX_LANES,
    MATRIX_SIDE,
    SWIZZLED,
    TOGETHER,
    Alloc,
    Apply,
    Array,
    Barrier,
    Commit,
    Const,
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
    Prefetch,
    Scalar,
    Statement,
    Store,
    Tile,
    Value,
    Wait,
)
from minigrad.kernel.show import show_statement, show_value
from minigrad.kernel.uniform import divergent_barrier, divided_multiply
from minigrad.kernel.walk import statements, values
from minigrad.ops import KERNEL_OPS, Op
from minigrad.symbolic import Sym, coefficient, evaluate, num, substitute, variables

OUTERMOST = ("parallel", "grid")
KINDS = (*OUTERMOST, "block", "serial", "unroll", "vector")
SCOPES = ("scratch", "shared", "register")
FOLDS = (Op.ADD, Op.MUL, Op.MAXIMUM, Op.MINIMUM, Op.AND, Op.OR)
CARRY = (Op.WHERE, Op.CAST, Op.BITCAST)  # ops on numbers of half types, whose arithmetic is float32's
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_MOST_SCRATCH = 4 << 20  # bytes of one scratch array: these lie on a thread's stack
_MOST_COPIES = 1 << 14  # copies of one register access that are checked one by one


def verify(kernel: Kernel) -> Kernel:
    """The kernel itself if it keeps the grammar; ``VerifyError`` names the statement that does not.

    Checked: names are bound before use and bound once; the dtypes of every operation; ranges of loops; that
    every unguarded access provably stays inside its array; what vector loops may hold; that register
    accesses are constant once unrolled; ``written`` flags; one parallel loop, outermost, or one grid with one
    block loop; that all threads of a workgroup come to a barrier or none does; that what is copied meanwhile is read
    behind a Wait and a barrier. (That no threads race is checked by ``interpret``.)
    """
    checker = _Checker(kernel)
    checker.head()
    checker.block((kernel.loop,))
    checker.written()
    checker.barriers()
    checker.copies()
    return kernel


class _Checker:
    def __init__(self, kernel: Kernel):
        self.kernel = kernel
        self.arrays: set[int] = {id(a) for a in kernel.arrays}
        self.locals: dict[str, object] = {}
        self.variables: set[Sym] = set()
        self.names: set[str] = set()
        self.unrolled: dict[Sym, range] = {}
        self.lane: For | None = None
        self.statement: Statement | None = None
        self.depth = 0

    def fail(self, message: str) -> None:
        where = "" if self.statement is None else f", in:\n{show_statement(self.statement)}"
        raise VerifyError(f"kernel {self.kernel.name}: {message}{where}")

    def require(self, condition: object, message: str) -> None:
        """Fail unless the condition holds. What is checked for each value writes its message only when it fails."""
        if not condition:
            self.fail(message)

    def bind(self, name: str) -> None:
        if not _NAME.match(name):
            self.fail(f"{name!r} is not a name (letters, digits and _)")
        if name in self.names:
            self.fail(f"the name {name} is bound twice")
        self.names.add(name)

    def head(self) -> None:
        self.bind(self.kernel.name)
        self.names.clear()  # a loop variable may have the kernel's name
        for array in self.kernel.arrays:
            self.bind(array.name)
            self.require(array.scope == "global", f"parameter {array.name} has scope {array.scope}, not global")
            self.require(array.size >= 0, f"parameter {array.name} has size {array.size}")
        for position, scalar in enumerate(self.kernel.scalars):
            self.bind(scalar.name)
            self.require(scalar.position == position,
                         f"scalar {scalar.name} says position {scalar.position} but is number {position}")
        loop = self.kernel.loop
        self.require(isinstance(loop, For) and loop.kind in OUTERMOST,
                     "its outermost statement is no parallel loop and no grid loop")
        self.require(loop.start is num(0) and loop.step == 1,
                     f"the {loop.kind} loop runs from {loop.start} by {loop.step}, not from 0 by 1")

    def written(self) -> None:
        self.statement = None
        stored = {id(s.array) for s in statements(self.kernel) if isinstance(s, Store)}
        for array in self.kernel.arrays:
            if array.written != (id(array) in stored):
                self.fail(f"parameter {array.name} is {'never' if array.written else 'stored into but not'} written "
                          f"(written={array.written})")

    def barriers(self) -> None:
        if not any(isinstance(s, (Barrier, Multiply)) for s in statements(self.kernel)):
            return
        found = divergent_barrier(self.kernel)
        if found is not None:
            self.statement, cause = found
            what = "If" if isinstance(self.statement, If) else "loop"
            missed = "barrier" if any(isinstance(s, Barrier) for s in statements((self.statement,))) else "Multiply"
            self.fail(f"some threads of a workgroup could miss a {missed}: the {what} around it depends on {cause}")
        found = divided_multiply(self.kernel)
        if found is not None:
            self.statement, cause = found
            self.fail(f"the threads of a subgroup could multiply different tiles: an index depends on {cause}")

    def copies(self) -> None:
        found = unfinished_copy(self.kernel)
        if found is not None:
            self.statement, why = found
            self.fail(why)

    # --- statements ------------------------------------------------------------------------------------------

    @property
    def in_grid(self) -> bool:
        """Whether the statement stands in the grid loop itself."""
        return self.depth == 2 and self.kernel.loop.kind == "grid"

    def block(self, block: tuple[Statement, ...]) -> None:
        before = dict(self.locals), set(self.variables), set(self.arrays)
        self.depth += 1
        for s in block:
            self.statement = s
            if self.lane is not None and not isinstance(s, (Let, Store)) and not (
                    isinstance(s, For) and s.kind == "unroll"):
                self.fail(f"a vector loop holds {type(s).__name__}; only Let, Store and unroll loops may be inside")
            getattr(self, "check_" + type(s).__name__.lower())(s)
        self.depth -= 1
        self.locals, self.variables, self.arrays = before

    def check_for(self, s: For) -> None:
        if s.kind not in KINDS:
            self.fail(f"unknown loop kind {s.kind!r}; the kinds are {', '.join(KINDS)}")
        if (s.kind in OUTERMOST) != (self.depth == 1):
            self.fail(f"a {s.kind} loop is the outermost statement, and the only one of its kind")
        self.require(s.kind != "block" or self.in_grid, "a block loop stands in a grid loop and nowhere else")
        self.index(s.start)
        self.index(s.stop)
        if s.step < 1:
            self.fail(f"the step of a loop is at least 1, got {s.step}")
        if s.var.kind != "var":
            self.fail(f"the loop variable {s.var} is no variable")
        name = str(s.var)
        self.bind(name)
        constant = s.start.kind == s.stop.kind == "num"
        if s.stop.hi > s.start.lo:
            last = range(int(s.start), int(s.stop), s.step)[-1] if constant else s.stop.hi - 1
            if s.var.lo > s.start.lo or last > s.var.hi:
                self.fail(f"the loop runs {s.var} outside its range {s.var.lo}..{s.var.hi}")
        if s.kind in ("unroll", "vector") and not constant:
            self.fail(f"a loop of kind {s.kind} needs constant bounds, got {s.start}..{s.stop}")
        self.variables.add(s.var)
        if s.kind == "grid":
            self.grid(s)
        elif s.kind == "block":
            self.require(s.start is num(0) and s.step == 1 and s.stop.kind == "num" and int(s.stop) >= 1,
                         f"a block loop runs from 0 by 1 to a constant, got {s.start}..{s.stop} by {s.step}")
        if s.kind == "vector":
            self.vector(s)
        elif s.kind == "unroll":
            self.unrolled[s.var] = range(int(s.start), int(s.stop), s.step)
            self.block(s.body)
            del self.unrolled[s.var]
        else:
            self.block(s.body)
        self.variables.discard(s.var)
        self.names.discard(name)  # loops after one another may use one name

    def grid(self, s: For) -> None:
        last = s.body[-1] if s.body else None
        self.require(isinstance(last, For) and last.kind == "block", "a grid loop ends with a block loop")
        for x in s.body[:-1]:
            self.require(isinstance(x, (Let, LetIndex, Alloc)),
                         f"a grid loop holds {type(x).__name__}; only Let, LetIndex and Alloc may stand before its one "
                         "block loop")

    def vector(self, s: For) -> None:
        lanes = int(s.stop)
        if not (int(s.start) == 0 and s.step == 1 and lanes > 0 and lanes & (lanes - 1) == 0):
            self.fail(f"a vector loop runs from 0 by 1 to a power of two, got {s.start}..{s.stop} by {s.step}")
        self.lane = s
        self.block(s.body)
        self.lane = None

    def check_let(self, s: Let) -> None:
        self.value(s.value)
        self.bind(s.name)
        self.locals[s.name] = s.value.dtype

    def check_letindex(self, s: LetIndex) -> None:
        self.value(s.value)
        self.require(s.var.kind == "var", f"{s.var} is no variable")
        self.require(s.value.dtype is int64, f"an index is made of an int64, got {s.value.dtype.name}")
        self.bind(str(s.var))
        self.variables.add(s.var)

    def check_store(self, s: Store) -> None:
        self.value(s.value)
        if s.value.dtype is not s.array.dtype:
            self.fail(f"a {s.value.dtype.name} is stored into {s.array.name}, which holds {s.array.dtype.name}")
        self.require(s.guard is None or self.lane is None, "a store inside a vector loop has no guard")
        self.access(s.array, s.index, s.guard, store=True)

    def check_if(self, s: If) -> None:
        self.value(s.condition)
        self.require(s.condition.dtype is bool_, f"the condition of If is a {s.condition.dtype.name}, not a bool")
        self.block(s.then)
        self.statement = s
        self.block(s.otherwise)

    def check_alloc(self, s: Alloc) -> None:
        array = s.array
        self.require(array.scope in SCOPES, f"Alloc of {array.name}, whose scope is {array.scope}")
        self.require(array.size > 0 and array.lanes > 0 and array.size % array.lanes == 0,
                     f"{array.name} has {array.size} elements, kept {array.lanes} at a time")
        self.require(array.lanes == 1 or array.scope == "register", f"{array.name} has lanes but is no register array")
        self.require(s.init is None or s.init.dtype is array.dtype,
                     f"{array.name} starts with another dtype than its own")
        if s.init is not None:
            self.constant(s.init)
        self.require(array.scope != "scratch" or array.size * array.dtype.size <= _MOST_SCRATCH,
                     f"{array.name} has {array.size} elements, more than a thread's stack should hold")
        if array.scope == "shared" or self.in_grid:
            self.require(self.in_grid, f"the shared array {array.name} does not come to life in the grid loop itself")
            self.require(array.scope == "shared", f"{array.name} in the grid loop is {array.scope}, not shared")
            self.require(s.init is None, f"the shared array {array.name} starts unset; it has no init")
        self.require(not array.swizzled or (array.scope == "shared" and array.dtype.size == 2
                                            and array.size % (8 * SWIZZLED) == 0),
                     f"{array.name} is swizzled: a shared array of 2-byte elements, whole blocks of 8 rows")
        self.bind(array.name)
        self.arrays.add(id(array))

    def check_fold(self, s: Fold) -> None:
        self.require(id(s.array) in self.arrays, f"{s.array.name} is not alive here")
        self.require(s.array.scope == "register", f"Fold reads a register array; {s.array.name} is {s.array.scope}")
        self.require(s.op in FOLDS, f"Fold cannot combine by {s.op}; it can by {', '.join(FOLDS)}")
        self.require(s.array.dtype.kind in KERNEL_OPS[s.op].kinds and s.array.dtype not in HALVES,
                     f"Fold by {s.op} of {s.array.dtype.name}")
        size = s.array.size
        self.require(size & (size - 1) == 0, f"Fold needs a power of two of elements, {s.array.name} has {size}")
        self.bind(s.name)
        self.locals[s.name] = s.array.dtype

    def check_prefetch(self, s: Prefetch) -> None:
        self.require(self.kernel.loop.kind == "parallel", "a Prefetch in a grid: threads of a GPU have none")
        self.require(s.array.scope == "global", f"Prefetch is of global memory; {s.array.name} is {s.array.scope}")
        self.access(s.array, s.index, None, store=False)

    def check_barrier(self, s: Barrier) -> None:
        self.require(self.kernel.loop.kind == "grid", "a barrier in a parallel loop: only threads of a workgroup meet")

    def check_copy(self, s: Copy) -> None:
        self.require(s.to.scope == "shared" and s.source.scope == "global" and s.to.dtype.size == s.source.dtype.size,
                     f"a copy is from global to shared memory of one size of elements, not from {s.source.scope} "
                     f"{s.source.name} to {s.to.scope} {s.to.name}")
        for array in (s.to, s.source):
            self.require(id(array) in self.arrays, f"{array.name} is not alive here")
        self.require(s.size * s.to.dtype.size in COPIED,
                     f"a copy is of {', '.join(map(str, COPIED))} bytes, not {s.size * s.to.dtype.size}")
        for index in (s.at, s.first, *(() if s.inside is None else (s.inside,))):
            self.index(index)
        self.require((s.at % s.size).hi == 0, f"{s.to.name}[{s.at}] is not at a multiple of {s.size} elements")
        self.require(s.at.lo >= 0 and s.at.hi + s.size <= s.to.size,
                     f"a copy can reach {s.to.name}[{s.at.lo}..{s.at.hi + s.size - 1}], outside 0..{s.to.size - 1}")
        self.require(s.inside is None or (s.inside.lo >= 0 and s.inside.hi <= 1), f"{s.inside} is not 0 or 1")
        self.require(s.inside is not None or (s.first.lo >= 0 and s.first.hi + s.size <= s.source.size),
                     f"a copy can read {s.source.name}[{s.first.lo}..{s.first.hi + s.size - 1}], outside "
                     f"0..{s.source.size - 1}")

    def check_commit(self, s: Commit) -> None:
        pass

    def check_wait(self, s: Wait) -> None:
        self.require(s.groups >= 0, f"Wait leaves {s.groups} groups")

    def check_multiply(self, s: Multiply) -> None:
        threads = self.kernel.workgroup
        self.require(threads and threads % MATRIX_LANES == 0,
                     f"Multiply needs whole subgroups of {MATRIX_LANES}, the workgroup has {threads} threads")
        self.require(s.dtype.is_float and s.dtype.size in MATRIX_DEPTH, f"Multiply of {s.dtype.name}")
        depth, high, lanes = MATRIX_DEPTH[s.dtype.size], MATRIX_SIDE * s.together, MATRIX_LANES * s.together
        wide = s.together == TOGETHER and s.dtype.size == 2 and s.columns <= 256 and threads % lanes == 0
        self.require(s.together == 1 or wide,
                     f"1 or {TOGETHER} subgroups multiply together, then half types and 256 columns at most")
        sizes = ((s.rows, high), (s.columns, MATRIX_SIDE), (s.depth, depth))
        self.require(all(size > 0 and size % part == 0 for size, part in sizes),
                     f"Multiply takes multiples of {high} × {MATRIX_SIDE} × {depth} of {s.dtype.name}")
        sums = s.sums
        self.require(id(sums) in self.arrays, f"{sums.name} is not alive here")
        self.require(sums.scope == "register" and sums.dtype is float32 and sums.size == s.rows * s.columns // lanes,
                     f"the sums of Multiply are {s.rows * s.columns // lanes} float32 in registers")
        for tile, rows in ((s.a, s.rows), (s.b, s.columns)):
            self.tile(tile, rows, s)
            if s.together > 1:
                self.swizzled(tile, rows, s)

    def swizzled(self, tile: Tile, rows: int, s: Multiply) -> None:
        """What is asked of the tiles of subgroups that multiply together."""
        self.require(tile.array.swizzled and (tile.index % (8 * SWIZZLED)).hi == 0,
                     f"{tile.array.name}[{tile.index}] is no tile in swizzled memory, at a multiple of {8 * SWIZZLED}")
        by_step = tile.step == 1
        self.require((tile.row if by_step else tile.step) == SWIZZLED and tile.block % (8 * SWIZZLED) == 0
                     and (s.depth <= SWIZZLED if by_step else tile.block > 0 or rows <= SWIZZLED),
                     f"rows, or steps of K, of {tile.array.name} lie {SWIZZLED} side by side")

    def tile(self, tile: Tile, rows: int, s: Multiply) -> None:
        array, index = tile.array, tile.index
        self.require(id(array) in self.arrays, f"{array.name} is not alive here")
        self.require(array.scope == "shared" and array.dtype is (float32 if s.dtype is float32 else uint16),
                     f"Multiply of {s.dtype.name} reads {array.scope} memory of {array.dtype.name}")
        self.require(tile.row > 0 and tile.step > 0 and 1 in (tile.row, tile.step),
                     f"a tile of {array.name} has steps {tile.row} and {tile.step}; neither is 1")
        self.index(index)
        wide = 16 // s.dtype.size
        self.require((index % wide).hi == 0 and max(tile.row, tile.step) % wide == 0,
                     f"{array.name}[{index}] does not begin a row of a tile at a multiple of 16 bytes")
        last = index.hi + max(tile.at(rows - 1, s.depth - 1), tile.at(min(rows, SWIZZLED) - 1, s.depth - 1))
        self.require(index.lo >= 0 and last < array.size,
                     f"a tile of {array.name} can reach from {index.lo} to {last}, outside 0..{array.size - 1}")

    # --- values ------------------------------------------------------------------------------------------------

    def value(self, root: Value) -> None:
        for v in values([root]):
            if v.dtype.kind == "c":
                self.fail(f"a kernel has no {v.dtype.name}, only the real and the imaginary part: {show_value(v)}")
            if v.__class__ is Apply:
                self.operation(v)
            elif v.__class__ is Local:
                if v.name not in self.locals:
                    self.fail(f"{v.name} is used where no Let has bound it")
                if self.locals[v.name] is not v.dtype:
                    self.fail(f"{v.name} is used as {v.dtype.name}, not as it was bound")
            elif v.__class__ is Load:
                self.access(v.array, v.index, v.guard, store=False)
            elif v.__class__ is Const:
                self.constant(v)
            elif v.__class__ is Index:
                if v.dtype is not int64 and not (v.dtype is bool_ and v.index.lo >= 0 and v.index.hi <= 1):
                    self.fail(f"index {v.index} as a value is an int64, or a bool if it is 0/1; got {v.dtype.name}")
                self.index(v.index)
            elif v.__class__ is Scalar:
                self.require(any(v is s for s in self.kernel.scalars), f"{v.name} is no scalar of this kernel")

    def constant(self, v: Const) -> None:
        self.require(v.dtype not in HALVES, f"{v.dtype.name} has no constants in kernels; float32 has")
        if v.dtype is bool_:
            self.require(v.value in (0, 1), f"the bool constant {v.value} is not True or False")
        elif v.dtype.is_int and not (int(v.value) == v.value and v.dtype.min <= v.value <= v.dtype.max):
            self.fail(f"the constant {v.value} is no {v.dtype.name}")

    def operation(self, v: Apply) -> None:
        problem = _problem(v)
        if problem:
            got = f"{v.op} of ({', '.join(s.dtype.name for s in v.srcs)}) giving {v.dtype.name}, in {show_value(v)}"
            self.fail(f"{problem}: {got}" if v.op in KERNEL_OPS else problem)

    # --- indices -------------------------------------------------------------------------------------------------

    def index(self, e: Sym) -> None:
        for v in variables(e):
            if v not in self.variables:
                scalar = next((s for s in self.kernel.scalars if s.name == str(v)), None)
                self.require(scalar is not None and scalar.dtype is int64,
                             f"the index variable {v} is not bound here, nor an int64 scalar of the kernel")

    def access(self, array: Array, index: Sym, guard: Sym | None, store: bool) -> None:
        if id(array) not in self.arrays:
            self.fail(f"{array.name} is not alive here")
        self.index(index)
        if guard is not None:
            self.index(guard)
            if guard.lo < 0 or guard.hi > 1:
                self.fail(f"the guard {guard} is not 0 or 1")
        if array.scope == "register":
            self.register(array, index, guard, store)
        elif guard is None and (index.lo < 0 or index.hi >= array.size):
            self.fail(f"{array.name}[{index}] can be {index.lo}..{index.hi}, outside 0..{array.size - 1}")

    def register(self, array: Array, index: Sym, guard: Sym | None, store: bool) -> None:
        whole = index
        if guard is not None:
            self.fail(f"the register access {array.name}[{whole}] has a guard")
        if array.lanes == 1:
            if store and self.lane is not None:
                self.fail(f"{array.name}[{whole}] stores a plain register inside a vector loop")
        else:
            lanes = 1 if self.lane is None else int(self.lane.stop)
            if lanes != array.lanes:
                self.fail(f"{array.name} is kept {array.lanes} at a time but {array.name}[{whole}] is in a loop of "
                          f"{lanes} lanes")
            assert self.lane is not None
            if coefficient(index, self.lane.var) != 1:
                self.fail(f"{array.name}[{whole}] does not have the lane as its last part")
            index = substitute(index, {self.lane.var: num(0)})
        free = variables(index)
        if not all(v in self.unrolled for v in free):
            self.fail(f"{array.name}[{whole}] is not constant once unroll loops are unrolled")
        ranges = [self.unrolled[v] for v in free]
        if prod(map(len, ranges)) > _MOST_COPIES:
            self.fail(f"{array.name}[{whole}] is unrolled into too many copies")
        for numbers in product(*ranges):
            at = evaluate(index, dict(zip(map(str, free), numbers)))
            if not 0 <= at < array.size or at % array.lanes:
                self.fail(f"{array.name}[{whole}] touches element {at} of {array.size}, kept {array.lanes} at a time")


def _problem(v: Apply) -> str:
    """What is wrong with the operands of an op, or nothing."""
    row = KERNEL_OPS.get(v.op)
    if v.op in DOTS:
        total = float32 if v.op == DOT2 else int32
        fits = [s.dtype for s in (*v.srcs, v)] == [uint32, uint32, total, total]
        return "" if fits else f"{v.op} is of two uint32 and {total.name}, which it adds to"
    if row is None:
        return f"{v.op} is no scalar op"
    srcs = v.srcs
    if len(srcs) != row.arity:
        return f"{v.op} takes {row.arity} operands"
    if v.op == Op.WHERE:
        if srcs[0].dtype is not bool_:
            return "the condition of WHERE is a bool"
        srcs = srcs[1:]
    first = srcs[0].dtype
    if any(s.dtype is not first for s in srcs):
        return "operands of one dtype are needed"
    if first.kind not in row.kinds or (first in HALVES and v.op not in CARRY):
        return f"{v.op} does not take this dtype"
    if row.result == "same" and v.dtype is not first:
        return f"{v.op} gives the dtype of its operands"
    if row.result == "bool" and v.dtype is not bool_:
        return f"{v.op} gives a bool"
    return "BITCAST is between types of one size" if v.op == Op.BITCAST and v.dtype.size != first.size else ""
