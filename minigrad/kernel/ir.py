"""Stage: lower makes it, render reads it. In: nothing. Out: the grammar of the loop nest, the form a kernel has
between scheduling and text. Everything is scalar: a ``vector`` loop says that its iterations are lanes, and the
renderer makes vectors of them.
Next: ``walk.py``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from minigrad.dtype import DType, bool_
from minigrad.ops import Op
from minigrad.symbolic import Sym

# --- the grammar -----------------------------------------------------------------------------------------------
#
#   kernel    = Kernel(name, arrays, scalars, loop)      loop is its one parallel loop, or its grid
#   statement = For | Let | LetIndex | Store | If | Alloc | Fold | Prefetch | Barrier | Copy | Commit | Wait | Multiply
#   value     = Const | Scalar | Local | Index | Load | Apply
#   index     = Sym                                      an integer expression with a known range
#
# Values are immutable and may be shared: the same object used twice is computed once
# (the pass ``bind`` gives it a name). Bool values hold True or False, never another number.


@dataclass(frozen=True, eq=False, slots=True)
class Array:
    """Memory that loads and stores name. ``size`` counts elements.

    ``scope``: ``"global"`` a kernel parameter; ``"scratch"`` memory of one parallel iteration; ``"shared"`` of one
    workgroup; ``"register"`` a small array whose every index is a constant once ``unroll`` loops are unrolled,
    plus the lane inside a ``vector`` loop. Registers are kept ``lanes`` at a time: element ``k*lanes + lane``
    is lane ``lane`` of register ``k``, and is touched only in a vector loop of that many lanes (or by ``Fold`` and
    ``Multiply``);
    ``lanes`` = 1 means plain scalars, touched outside vector loops (or read inside one as the same value for every
    lane).
    ``nontemporal``: it begins at a cache line, and stores may go around the caches.
    ``swizzled``: a shared array of 2-byte elements, of which groups of 8 lie in another order, so that those of a
    column of rows of 64 lie in different banks: element i is at ``i ^ (i / 64 % 8 * 8)``. Its elements are still named
    by i.
    """

    name: str
    dtype: DType
    size: int
    scope: str = "global"
    lanes: int = 1
    written: bool = False
    nontemporal: bool = False
    swizzled: bool = False


class Expression:
    """What all values can do: ``x * 2.0 + y`` is an ``Apply`` of ADD to one of MUL, in the dtype of ``x``. One operand
    may be a Python number. ``x < y`` is a bool; ``x == y`` says whether both are the same object.

    >>> from minigrad.dtype import float32
    >>> 1.0 - Local("x", float32)
    Apply(op='SUB', srcs=(Const(value=1.0, dtype=minigrad.float32), Local(name='x', dtype=minigrad.float32)), \
dtype=minigrad.float32)
    """

    __slots__ = ()

    def __add__(self, other: Any) -> Value:
        return applied(Op.ADD, self, other)

    def __sub__(self, other: Any) -> Value:
        return applied(Op.SUB, self, other)

    def __mul__(self, other: Any) -> Value:
        return applied(Op.MUL, self, other)

    def __truediv__(self, other: Any) -> Value:
        return applied(Op.DIV, self, other)

    def __and__(self, other: Any) -> Value:
        return applied(Op.AND, self, other)

    def __or__(self, other: Any) -> Value:
        return applied(Op.OR, self, other)

    def __xor__(self, other: Any) -> Value:
        return applied(Op.XOR, self, other)

    def __lshift__(self, other: Any) -> Value:
        return applied(Op.SHL, self, other)

    def __rshift__(self, other: Any) -> Value:
        return applied(Op.SHR, self, other)

    def __radd__(self, other: Any) -> Value:
        return applied(Op.ADD, other, self)

    def __rsub__(self, other: Any) -> Value:
        return applied(Op.SUB, other, self)

    def __rmul__(self, other: Any) -> Value:
        return applied(Op.MUL, other, self)

    def __rtruediv__(self, other: Any) -> Value:
        return applied(Op.DIV, other, self)

    def __lt__(self, other: Any) -> Value:
        return applied(Op.LT, self, other, bool_)

    def __gt__(self, other: Any) -> Value:
        return applied(Op.LT, other, self, bool_)

    def __neg__(self: Any) -> Value:
        return Apply(Op.NEG, (self,), self.dtype)

    def __invert__(self: Any) -> Value:
        return Apply(Op.NOT, (self,), self.dtype)


@dataclass(frozen=True, eq=False, slots=True)
class Const(Expression):
    """A number that is written into the code; of an integer dtype it may have any value that fits."""

    value: int | float | bool
    dtype: DType


@dataclass(frozen=True, eq=False, slots=True)
class Scalar(Expression):
    """Run-time argument number ``position``: 8 bytes, an int64, or the bits of a float64 for a float dtype."""

    name: str
    dtype: DType
    position: int


@dataclass(frozen=True, eq=False, slots=True)
class Local(Expression):
    """The value that a ``Let`` in an enclosing block named."""

    name: str
    dtype: DType


@dataclass(frozen=True, eq=False, slots=True)
class Index(Expression):
    """An index expression as a value (a condition 0/1 when ``dtype`` is bool)."""

    index: Sym
    dtype: DType


@dataclass(frozen=True, eq=False, slots=True)
class Load(Expression):
    """``array[index]``; where ``guard`` (a 0/1 expression) is 0 it is 0 and nothing is read."""

    array: Array
    index: Sym
    guard: Sym | None = None

    @property
    def dtype(self) -> DType:
        return self.array.dtype


@dataclass(frozen=True, eq=False, slots=True)
class Apply(Expression):
    """A scalar op of ``ops.KERNEL_OPS``, or one of ``DOTS``, on operands; CAST and BITCAST convert to ``dtype``.
    SUM etc. have no place here. Numbers of half types are only converted, or chosen by WHERE: arithmetic is float32's.
    After ``legalise`` it may be ``QUOTIENT``, ``REMAINDER`` or a ``Function``, too."""

    op: str
    srcs: tuple[Value, ...]
    dtype: DType


DOT2 = "DOT2"
"""Of two words of two bfloat16 each, and a float32: the products of the upper halves, then of the lower ones, are added
to it, each with one rounding."""

DOT4 = "DOT4"
"""Of a word of four uint8, one of four int8, and an int32: the four products are added to it, modulo 2³²."""

DOT2I = "DOT2I"
"""Of two words of two int16 each, and an int32: both products are added to it, modulo 2³²."""

DOTS = (DOT2, DOT4, DOT2I)

QUOTIENT, REMAINDER = "QUOTIENT", "REMAINDER"
"""What C's / and % give of integers, rounded towards 0, where the divisor is not 0, nor -1 of the lowest integer; of
floats C's fmod."""


class Function(str):
    """An op that is written in others: its name, its ``parameters``, and the ``values`` to compute from them, operands
    first. The last one is what it gives."""

    parameters: tuple[Local, ...]
    values: Sequence[Value]

    def __new__(cls, name: str, parameters: tuple[Local, ...], values: Sequence[Value]) -> Function:
        made = super().__new__(cls, name)
        made.parameters, made.values = parameters, values
        return made


Value = Const | Scalar | Local | Index | Load | Apply


def applied(op: str, a: Any, b: Any, dtype: DType | None = None) -> Apply:
    """An op on two values, of which one may be a Python number, in their dtype or another."""
    known: DType = (b if isinstance(a, (int, float)) else a).dtype
    x, y = (Const(n, known) if isinstance(n, (int, float)) else n for n in (a, b))
    return Apply(op, (x, y), known if dtype is None else dtype)


@dataclass(frozen=True, eq=False, slots=True)
class Let:
    """``name = value``, visible to the end of the enclosing block. Names are unique in a kernel."""

    name: str
    value: Value


@dataclass(frozen=True, eq=False, slots=True)
class LetIndex:
    """Makes a value (an int64 computed from data) usable in index expressions as ``var``, whose range must hold.
    Not inside a vector loop."""

    var: Sym
    value: Value


@dataclass(frozen=True, eq=False, slots=True)
class Store:
    """``array[index] = value``; nothing happens where ``guard`` is 0 (no guard inside a vector loop)."""

    array: Array
    index: Sym
    value: Value
    guard: Sym | None = None


@dataclass(frozen=True, eq=False, slots=True)
class For:
    """``for var in range(start, stop, step)``. ``kind``: ``parallel`` (outermost only; iterations are independent),
    ``serial``, ``unroll`` (constant bounds, written out), ``vector`` (start 0, step 1, constant stop = a power of
    two number of lanes; its body holds only Let, Store and unroll loops, and iterations are independent).

    The GPU form has ``grid`` in the place of ``parallel``: its iterations are workgroups. In it stand LetIndex, Let
    and Alloc of shared arrays, and last, once, a loop of kind ``block`` (start 0, step 1, constant stop): its
    iterations are the threads of the workgroup, which run side by side and meet at barriers."""

    var: Sym
    start: Sym
    stop: Sym
    step: int
    kind: str
    body: tuple[Statement, ...]


@dataclass(frozen=True, eq=False, slots=True)
class If:
    """``condition`` is a bool value. Not inside a vector loop."""

    condition: Value
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] = ()


@dataclass(frozen=True, eq=False, slots=True)
class Alloc:
    """Brings a scratch, shared or register array to life for the rest of the enclosing block, each element
    ``init`` or, without one, unset."""

    array: Array
    init: Const | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Fold:
    """``name`` = the elements of register array ``array`` combined by ``op`` (ADD, MUL, MAXIMUM, MINIMUM, AND, OR)
    in a fixed order: registers first, register k with register k + half while more than one is left, then lanes the
    same way: with n a power of two, x[i] = x[i] op x[i + n/2] until one is left. The array's size is a power of two."""

    name: str
    array: Array
    op: str


@dataclass(frozen=True, eq=False, slots=True)
class Prefetch:
    """``array[index]``, in global memory, will be read soon: its cache line may be fetched meanwhile. It changes no
    value. Not inside a vector loop, and only in the CPU form."""

    array: Array
    index: Sym


@dataclass(frozen=True, eq=False, slots=True)
class Barrier:
    """All threads of a workgroup meet here; what any of them wrote before, all see after. Only inside a ``block`` loop
    and where all threads come or none does. Between two barriers no thread touches an element that another one
    writes (but several may write the same value)."""


@dataclass(frozen=True, eq=False, slots=True)
class Copy:
    """A thread begins to copy ``size`` neighbours of global memory, ``source[first]`` and on, to ``to[at]`` and on, in
    shared memory; where ``inside`` is 0 it copies zeros, and nothing is read. It goes on while the thread does; until
    the thread's ``Wait`` nobody may touch what it writes, and other threads not before the barrier behind that."""

    to: Array
    at: Sym
    source: Array
    first: Sym
    size: int
    inside: Sym | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Commit:
    """What copies a thread has begun since its last Commit are a group; there may be none."""


@dataclass(frozen=True, eq=False, slots=True)
class Wait:
    """A thread waits until no more than the last ``groups`` groups of its copies are under way; ``products``: of what
    ``Multiply`` has begun, each a group."""

    groups: int
    products: bool = False


COPIED = (4, 8, 16)
"""Bytes that one ``Copy`` may copy."""


Place = TypeVar("Place", int, Sym, Any)


@dataclass(frozen=True, eq=False, slots=True)
class Tile:
    """A matrix in shared memory: element (i, k) is ``array[index + i*row + k*step]``; ``row`` or ``step`` is 1.
    ``block``: how far apart the blocks of 64 rows are, where row 64 does not follow row 63."""

    array: Array
    index: Sym
    row: int
    step: int
    block: int = 0

    def at(self, i: Place, k: Place) -> Place:
        """Where element (i, k) lies, from ``index`` on."""
        return (i // 64 * self.block + i % 64 * self.row if self.block else i * self.row) + k * self.step


@dataclass(frozen=True, eq=False, slots=True)
class Multiply:
    """The threads of a subgroup multiply two tiles together: C += A Bᵀ, of A ``rows`` × ``depth`` and B ``columns`` ×
    ``depth``. C lies in the register arrays ``sums`` (float32) of its 32 threads: for lane l = t % 32 and n = 4*j + e,

        sums[n] += sum over k of A[i, k] * B[j', k],   i = 16*(j / (columns/8)) + 8*(e / 2) + l / 4
                                                       j' = 8*(j % (columns/8)) + 2*(l % 4) + e % 2

    ``dtype``: what the elements are: float16 or bfloat16, whose bits the arrays hold as uint16; or float32, rounded to
    11 bits first (half away from zero), which is called tf32. Each product is added in turn, rounded to float32; a
    machine may add in another order, and round otherwise. ``rows`` and ``columns`` are multiples of 16, ``depth`` of
    ``MATRIX_DEPTH``. All threads of a workgroup come to it or none does, and those of a subgroup with the same
    tiles.

    ``together`` = 4: so many subgroups multiply half types together, and go on meanwhile: ``sums`` may not be touched
    until all of their ``Wait`` for products, nor the tiles be written to. Of each 64 rows, which are then the least,
    subgroup s of the four has rows 16*s to 16*s + 15: for n = 4*j + e as above, i is 64*(j / (columns/8)) + 16*s +
    8*(e / 2) + l / 4. Rows, or steps of K, lie 64 side by side in swizzled arrays, and a tile begins at a multiple of
    512 elements."""

    sums: Array
    rows: int
    columns: int
    depth: int
    a: Tile
    b: Tile
    dtype: DType
    together: int = 1


MATRIX_SIDE = 16
"""Rows and columns of the tiles that ``Multiply`` takes are multiples of this."""

MATRIX_DEPTH = {2: 16, 4: 8}
"""Steps of K of a matrix instruction, by bytes of an element."""

MATRIX_LANES = 32
"""Threads of a subgroup that multiplies matrices."""

TOGETHER = 4
"""Subgroups that multiply matrices together, where they do."""

SWIZZLED = 64
"""Elements of a row of a swizzled array; a tile in one begins at a multiple of 8 rows."""


Statement = For | Let | LetIndex | Store | If | Alloc | Fold | Prefetch | Barrier | Copy | Commit | Wait | Multiply


@dataclass(frozen=True, eq=False, slots=True)
class Kernel:
    """One kernel: ``arrays`` are its global parameters in order, ``scalars`` its run-time numbers in order, and
    ``loop`` the parallel loop (``start`` 0, ``step`` 1). The CPU form is
    ``void name(void **arrays, const int64_t *scalars, int64_t begin, int64_t end)``. In the GPU form ``loop`` is a
    ``grid`` loop."""

    name: str
    arrays: tuple[Array, ...]
    scalars: tuple[Scalar, ...]
    loop: For

    @property
    def workgroup(self) -> int:
        """Threads of a workgroup; 0 for the CPU form."""
        return int(self.loop.body[-1].stop) if self.loop.kind == "grid" else 0  # type: ignore[union-attr]
