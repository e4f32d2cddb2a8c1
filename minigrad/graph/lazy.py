"""Stage: recording. In: what the user asked for, one op at a time. Out: ``LazyBuffer``, a node of the graph.
The grammar stands in the table below; ``verify.py`` checks it, ``show.py`` prints it, ``reference.py`` says what every
op means by running it in NumPy.
Next: ``count.py``."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from minigrad.config import FREE_THREADED
from minigrad.dtype import NAME_ONLY, DType, bool_, complex32, int64, uint8, uint16, uint32, uint64
from minigrad.graph.count import Counted
from minigrad.graph.strides import Strides, Window, contiguous_strides, strided_steps
from minigrad.ops import RESULT_TYPES, Op

# --- the grammar -----------------------------------------------------------------------------------------------
#
# op           srcs                  arg                     value
# CONST                              number                  the number, in every element of ``shape``
# BUFFER                             strides | None          memory: ``buffer`` from byte ``offset``, its strides in
#                                                            elements
# SCALAR                             None                    ``value``, a number that may change from run to run;
#                                                            shape ()
# INDEX                              axis                    the coordinate along the axis, int64
# RANDOM_BITS  key                   None                    uint32 bits from key (uint64, shape ()) and position
# PARAM                              i                       input i of the FUNCTION that is being traced
# <elementwise> a [b [c]]            None | DType            ``ops.SCALAR_OPS``; operands have one shape and dtype
#                                                            (WHERE: bool, then two of one dtype; CAST, BITCAST: arg;
#                                                            BITCAST to or from a complex type of another size changes
#                                                            the last axis). No CONST or SCALAR is complex: those are a
#                                                            COMPLEX of two
# SUM PROD MAX MIN a                 axes                    over the axes, which stay with size 1
# RESHAPE      a                     shape                   row-major
# PERMUTE      a                     axes                    out axis i is axis axes[i]
# EXPAND       a                     shape                   repeats axes of size 1; may add axes in front
# PAD          a                     ((low, high, interior),…) zeros around, and between neighbours
# SHRINK       a                     ((begin, end), …)       the box
# FLIP         a                     axes                    reversed along each
# STRIDE       a                     steps                   every step-th element, from the first
# WINDOW       a                     ((axis, size, stride, dilation), …)
#                                                            axis counts positions o; each entry adds a last axis that
#                                                            counts k; reads the axis at o*stride + k*dilation
# CONTIGUOUS   a                     None                    a, in memory of its own
# COPY         a                     device                  a, on another device
# GATHER       a i₀ … iₖ₋₁           k                       a[i₀, …, iₖ₋₁]; the i have one shape
# SCATTER      a v i₀ … iₖ₋₁         (k, mode)               a with a[i₀, …] set | add | mul | max | min = v, in order
#                                                            of the i; (k, mode, 1) for one that i₀ merely copies
# ASSIGN       a v                   ((op, arg), …)          a with the view these movement ops make replaced by v
# SCAN         a                     (reduce op, axis)       inclusive running reduction
# HOST         a …                   (name, parameters, …)   the NumPy function of this name in ``graph/host.py``; its
#                                                            first result; then the types of its other results
# FUNCTION     inputs                Subgraph                a composite; its value is the first output
# LOOP         states sequences …    Loop                    its body once for each step, with the states of the step
#                                                            before; see ``loop.py``
# OUTPUT       function | loop | host i                      output i of a FUNCTION; of a LOOP, those of all steps;
#                                                            result i of a HOST, from 1 on


_new = object.__new__


class LazyBuffer:
    """A value that may not have been computed yet. Immutable, but that realising it turns it into a BUFFER.

    Two counts say who may ask for the value later. ``owners``: Tensors, and tape nodes that saved it; realising a graph
    stores every owned value that it passes. ``readers``: nodes that have it as a source, and views that remember it. A
    node that is dropped before it was realised is not taken off its sources' counts: a count may be too high (then
    memory is not used again as early as it could be), never too low.
    """

    __slots__ = ("__weakref__", "arg", "buffer", "call", "device", "dtype", "offset", "op", "origin", "owners",
                 "readers", "shape", "srcs", "value")

    value: Any  # of a SCALAR; of a HOST that has run, its other results
    call: Any  # of a call's result, where that was made, if it is known (``lines.py``)
    origin: Any  # where the program made it, if somebody wanted to know then (``origins.py``)

    def __init__(self, op: str, srcs: tuple[LazyBuffer, ...], arg: Any, shape: tuple[int, ...], dtype: DType,
                 device: str) -> None:
        self.op = op
        self.srcs = srcs
        self.arg = arg
        self.shape = shape
        self.dtype = dtype
        self.device = device
        self.buffer: Any = None
        self.owners = self.readers = 0
        for s in srcs:
            s.readers += 1

    def __repr__(self) -> str:
        state = "realised" if self.buffer is not None else self.op
        return f"<LazyBuffer {state} {self.shape} {self.dtype.name} {self.device}>"

    @property
    def size(self) -> int:
        """Number of elements."""
        n = 1
        for s in self.shape:
            n *= s
        return n

    def realised(self, buffer: Any, offset: int = 0) -> None:
        """Turn this node into memory: from now on it is a contiguous BUFFER and reaches no other node."""
        self.let_go()
        self.op, self.arg = Op.BUFFER, None
        self.buffer, self.offset = buffer, offset

    def let_go(self) -> None:
        """Stop reading the sources: the node was realised, or nobody will ask for it any more."""
        for s in self.srcs:
            s.readers -= 1
        self.srcs = ()

    # --- sources

    @staticmethod
    def const(value: complex, dtype: DType, shape: tuple[int, ...], device: str) -> LazyBuffer:
        if dtype.kind == "c":
            z = complex(value)
            real, imag = [LazyBuffer(Op.CONST, (), x, shape, dtype.part, device) for x in (z.real, z.imag)]
            return real.with_imag(imag)
        return LazyBuffer(Op.CONST, (), value, shape, dtype, device)

    @staticmethod
    def scalar(value: complex, dtype: DType, device: str) -> LazyBuffer:
        if dtype.kind == "c":
            z = complex(value)
            real, imag = [LazyBuffer.scalar(x, dtype.part, device) for x in (z.real, z.imag)]
            return real.with_imag(imag)
        node = LazyBuffer(Op.SCALAR, (), None, (), dtype, device)
        node.value = value
        return node

    @staticmethod
    def index(shape: tuple[int, ...], axis: int, device: str) -> LazyBuffer:
        return LazyBuffer(Op.INDEX, (), axis, shape, int64, device)

    @staticmethod
    def from_buffer(buffer: Any, shape: tuple[int, ...], dtype: DType, device: str, offset: int = 0,
                    strides: tuple[int, ...] | None = None) -> LazyBuffer:
        node = _new(LazyBuffer)  # every result of a replayed run comes here: without __init__ it takes half the time
        node.op, node.srcs, node.arg = Op.BUFFER, (), strides
        node.shape, node.dtype, node.device = shape, dtype, device
        node.buffer, node.offset = buffer, offset
        node.owners = node.readers = 0
        return node

    def like(self, value: complex) -> LazyBuffer:
        """A constant of this node's shape, dtype and device."""
        if self.dtype.kind == "c":
            return LazyBuffer.const(value, self.dtype, self.shape, self.device)
        return LazyBuffer(Op.CONST, (), value, self.shape, self.dtype, self.device)

    # --- elementwise

    def unary(self, op: str) -> LazyBuffer:
        return LazyBuffer(op, (self,), None, self.shape, self.dtype, self.device)

    def binary(self, op: str, other: LazyBuffer) -> LazyBuffer:
        result = RESULT_TYPES.get(op)
        dtype = self.dtype if result is None else result(self.dtype)
        return LazyBuffer(op, (self, other), None, self.shape, dtype, self.device)

    def where(self, a: LazyBuffer, b: LazyBuffer) -> LazyBuffer:
        """This bool node chooses between a and b."""
        return LazyBuffer(Op.WHERE, (self, a, b), None, self.shape, a.dtype, self.device)

    def cast(self, dtype: DType) -> LazyBuffer:
        if dtype is complex32:
            raise NotImplementedError(NAME_ONLY)
        return self if dtype is self.dtype else LazyBuffer(Op.CAST, (self,), dtype, self.shape, dtype, self.device)

    def bitcast(self, dtype: DType) -> LazyBuffer:
        """The same bytes read as another type. One of another size changes the last axis: little-endian, as memory is.
        What is not 0 is true."""
        if dtype is self.dtype:
            return self
        if self.buffer is not None and dtype is not bool_:
            strides = _strides_as(self.dtype, dtype, self.strides)
            if strides is not None and (self.buffer.address + self.offset) % dtype.size == 0:
                return self._view(_shape_as(self.dtype, dtype, self.shape), strides, self.offset, dtype)
        if self.dtype.kind == "c" or dtype.kind == "c":
            return self._bitcast_complex(dtype)
        if dtype is bool_:
            bits = self.bitcast(uint8)
            return bits.binary(Op.EQ, bits.like(0)).unary(Op.NOT)
        if self.dtype is bool_:
            return self.cast(uint8).bitcast(dtype)
        if dtype.size == self.dtype.size:
            return LazyBuffer(Op.BITCAST, (self,), dtype, self.shape, dtype, self.device)
        return self._in_parts(dtype) if dtype.size < self.dtype.size else self._joined(dtype)

    def _bitcast_complex(self, dtype: DType) -> LazyBuffer:
        """As ``bitcast``, from or to a complex type. The BITCAST is one between floats and complex numbers."""
        if dtype.kind != "c":
            part = self.dtype.part
            parts = LazyBuffer(Op.BITCAST, (self,), part, _shape_as(self.dtype, part, self.shape or (1,)), part,
                               self.device)
            made = parts.bitcast(dtype)
            return made if self.shape else made.reshape(())
        if not self.shape:
            return self.reshape((1,)).bitcast(dtype).reshape(())
        parts = self.bitcast(dtype.part)
        return LazyBuffer(Op.BITCAST, (parts,), dtype, _shape_as(dtype.part, dtype, parts.shape), dtype, self.device)

    # --- complex numbers

    def real(self, _: None = None) -> LazyBuffer:
        """The real parts."""
        return self._part(0)

    def imag(self, _: None = None) -> LazyBuffer:
        """The imaginary parts."""
        return self._part(1)

    def _part(self, which: int) -> LazyBuffer:
        if self.op == Op.COMPLEX:
            return self.srcs[which]
        self._require_complex()
        part = self.dtype.part
        if self.buffer is not None:
            strides = tuple([2 * step for step in self.strides])
            return self._view(self.shape, strides, self.offset + which * part.size, part)
        return LazyBuffer((Op.REAL, Op.IMAG)[which], (self,), None, self.shape, part, self.device)

    def as_real(self, _: None = None) -> LazyBuffer:
        """Both parts, side by side on a new last axis."""
        self._require_complex()
        part, shape = self.dtype.part, (*self.shape, 2)
        if self.buffer is not None:
            return self._view(shape, (*[2 * step for step in self.strides], 1), self.offset, part)
        return LazyBuffer(Op.BITCAST, (self,), part, shape, part, self.device)

    def _require_complex(self) -> None:
        """``TypeError`` for other values: their memory has no second parts."""
        if self.dtype.kind != "c":
            raise TypeError(f"only complex numbers have parts, not {self.dtype.name}")

    def as_complex(self, _: None = None) -> LazyBuffer:
        """The last axis, of two, as the parts of complex numbers."""
        made, shape = self.dtype.complex, self.shape[:-1]
        if self.buffer is not None and self.strides[-1] == 1 and not any([s % 2 for s in self.strides[:-1]]) and (
                (self.buffer.address + self.offset) % made.size == 0):
            return self._view(shape, tuple([s // 2 for s in self.strides[:-1]]), self.offset, made)
        return LazyBuffer(Op.BITCAST, (self,), made, shape, made, self.device)

    def with_imag(self, imag: LazyBuffer) -> LazyBuffer:
        """The complex numbers with these real parts."""
        return self.binary(Op.COMPLEX, imag)

    def conj(self) -> LazyBuffer:
        """The complex conjugates; a real value is its own. Repeated ones are repeated conjugates, so that a product of
        matrices with them is seen as one."""
        if self.dtype.kind != "c":
            return self
        if self.op == Op.EXPAND:
            return self.srcs[0].conj().expand(self.shape)
        return self.real().with_imag(self.imag().unary(Op.NEG))

    def _in_parts(self, dtype: DType) -> LazyBuffer:
        word, count = self.bitcast(_WORDS[self.dtype.size]), self.dtype.size // dtype.size
        words = word.reshape((*self.shape, 1)).expand((*self.shape, count))
        parts = words.binary(Op.SHR, words._shifts(dtype)).cast(_WORDS[dtype.size])
        return parts.reshape(_shape_as(self.dtype, dtype, self.shape)).bitcast(dtype)

    def _joined(self, dtype: DType) -> LazyBuffer:
        shape = _shape_as(self.dtype, dtype, self.shape)
        parts = self.bitcast(_WORDS[self.dtype.size]).cast(_WORDS[dtype.size])
        parts = parts.reshape((*shape, dtype.size // self.dtype.size))
        words = parts.binary(Op.SHL, parts._shifts(self.dtype)).reduce(Op.SUM, (len(shape),))
        return words.reshape(shape).bitcast(dtype)

    def _shifts(self, part: DType) -> LazyBuffer:
        """By how many bits the part of each position on the last axis stands above the first."""
        position = LazyBuffer.index(self.shape, len(self.shape) - 1, self.device)
        return position.binary(Op.MUL, position.like(part.bits)).cast(self.dtype)

    # --- reduce

    def reduce(self, op: str, axes: Sequence[int]) -> LazyBuffer:
        """``op`` over ``axes`` (non-negative), which keep size 1. The sum of bools is whether any holds, their product
        whether all do."""
        axes = tuple(sorted(axes))
        if not axes:
            return self
        if self.dtype is bool_:
            op = _ON_BOOLS.get(op, op)
        shape = tuple([1 if i in axes else s for i, s in enumerate(self.shape)])
        return LazyBuffer(op, (self,), axes, shape, self.dtype, self.device)

    def scan(self, op: str, axis: int) -> LazyBuffer:
        if self.dtype is bool_:
            op = _ON_BOOLS.get(op, op)
        return LazyBuffer(Op.SCAN, (self,), (op, axis), self.shape, self.dtype, self.device)

    # --- movement

    def reshape(self, shape: tuple[int, ...]) -> LazyBuffer:
        if shape == self.shape:
            return self
        return LazyBuffer(Op.RESHAPE, (self,), shape, shape, self.dtype, self.device)

    def permute(self, axes: tuple[int, ...]) -> LazyBuffer:
        if axes == tuple(range(len(axes))):
            return self
        return LazyBuffer(Op.PERMUTE, (self,), axes, tuple([self.shape[a] for a in axes]), self.dtype, self.device)

    def expand(self, shape: tuple[int, ...]) -> LazyBuffer:
        if shape == self.shape:
            return self
        if self.op == Op.CONST:
            return LazyBuffer(Op.CONST, (), self.arg, shape, self.dtype, self.device)
        return LazyBuffer(Op.EXPAND, (self,), shape, shape, self.dtype, self.device)

    def pad(self, padding: tuple[tuple[int, int, int], ...]) -> LazyBuffer:
        if all(p == (0, 0, 0) for p in padding):
            return self
        shape = tuple([low + high + (s + (s - 1) * interior if s else 0)
                       for s, (low, high, interior) in zip(self.shape, padding, strict=True)])
        return LazyBuffer(Op.PAD, (self,), padding, shape, self.dtype, self.device)

    def shrink(self, box: tuple[tuple[int, int], ...]) -> LazyBuffer:
        shape = tuple([end - begin for begin, end in box])
        if shape == self.shape:
            return self
        if self.buffer is not None:
            strides = self.strides
            offset = self.offset + self.dtype.size * sum(b * s for (b, _), s in zip(box, strides, strict=True))
            return self._view(shape, strides, offset)
        return LazyBuffer(Op.SHRINK, (self,), box, shape, self.dtype, self.device)

    def flip(self, axes: tuple[int, ...]) -> LazyBuffer:
        return LazyBuffer(Op.FLIP, (self,), axes, self.shape, self.dtype, self.device) if axes else self

    def stride(self, steps: tuple[int, ...]) -> LazyBuffer:
        shape = tuple([-(-s // step) for s, step in zip(self.shape, steps, strict=True)])
        if all(step == 1 for step in steps):
            return self
        if self.buffer is not None:
            return self._view(shape, tuple([a * b for a, b in zip(self.strides, steps, strict=True)]), self.offset)
        return LazyBuffer(Op.STRIDE, (self,), steps, shape, self.dtype, self.device)

    def window(self, windows: tuple[tuple[int, int, int, int], ...]) -> LazyBuffer:
        shape = list(self.shape)
        for axis, size, stride, dilation in windows:
            shape[axis] = (shape[axis] - dilation * (size - 1) - 1) // stride + 1
        shape += [w[1] for w in windows]
        return LazyBuffer(Op.WINDOW, (self,), windows, tuple(shape), self.dtype, self.device)

    def strided(self, window: Window) -> LazyBuffer:
        """A window of the elements in row-major order: the movement ops that make it, or the memory itself."""
        shape, strides, offset = window
        if self.buffer is not None and self.arg is None and 0 not in shape:
            return self._view(shape, strides, self.offset + offset * self.dtype.size)
        result = self
        for op, arg in strided_steps(self.size, shape, strides, offset):
            result = result.move(op, arg)
        return result

    def move(self, op: str, arg: Any) -> LazyBuffer:
        """The movement op of this name, or STRIDED, BITCAST, REAL or IMAG: ``x.move("FLIP", (0,))`` is
        ``x.flip((0,))``."""
        return getattr(self, op.lower())(arg)

    # --- memory

    def contiguous(self) -> LazyBuffer:
        if self.op == Op.BUFFER and self.arg is None:
            return self
        return LazyBuffer(Op.CONTIGUOUS, (self,), None, self.shape, self.dtype, self.device)

    def copy_to(self, device: str) -> LazyBuffer:
        return self if device == self.device else LazyBuffer(
            Op.COPY, (self,), device, self.shape, self.dtype, device)

    def gather(self, indexes: Sequence[LazyBuffer]) -> LazyBuffer:
        shape = indexes[0].shape + self.shape[len(indexes):]
        return LazyBuffer(Op.GATHER, (self, *indexes), len(indexes), shape, self.dtype, self.device)

    def scatter(self, value: LazyBuffer, indexes: Sequence[LazyBuffer], mode: str) -> LazyBuffer:
        if self.dtype is bool_ and mode == "add":
            mode = "max"
        return LazyBuffer(Op.SCATTER, (self, value, *indexes), (len(indexes), mode), self.shape, self.dtype,
                          self.device)

    def assign(self, value: LazyBuffer, chain: tuple[tuple[str, Any], ...]) -> LazyBuffer:
        """This node with the view that the movement ops ``chain`` make of it replaced by ``value``."""
        if not chain:
            return value
        return LazyBuffer(Op.ASSIGN, (self, value), chain, self.shape, self.dtype, self.device)

    # --- realised memory

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of a BUFFER in elements."""
        return contiguous_strides(self.shape) if self.arg is None else self.arg

    def _view(self, shape: tuple[int, ...], strides: Strides, offset: int, dtype: DType | None = None) -> LazyBuffer:
        plain = strides == contiguous_strides(shape)
        view = LazyBuffer.from_buffer(self.buffer, shape, dtype or self.dtype, self.device, offset,
                                      None if plain else strides)
        self.buffer.add_view(view)
        return view


if FREE_THREADED:  # finalisers count down, on any thread, while others count
    for _name in ("owners", "readers"):
        setattr(LazyBuffer, _name, Counted(LazyBuffer.__dict__[_name]))

_ON_BOOLS = {Op.SUM: Op.MAX, Op.PROD: Op.MIN}
_WORDS = {1: uint8, 2: uint16, 4: uint32, 8: uint64}


def _shape_as(old: DType, new: DType, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of memory that is read as another type."""
    return shape if old.size == new.size else (*shape[:-1], shape[-1] * old.size // new.size)


def _strides_as(old: DType, new: DType, strides: Strides) -> Strides | None:
    """Strides in elements of another type; None if they are no whole numbers, or the last axis has gaps."""
    if old.size == new.size:
        return strides
    if not strides or strides[-1] != 1 or any([step * old.size % new.size for step in strides[:-1]]):
        return None
    return (*[step * old.size // new.size for step in strides[:-1]], 1)


def toposort(outputs: Sequence[LazyBuffer], known: Container[LazyBuffer] = frozenset()) -> list[LazyBuffer]:
    """Every node that the outputs reach, but by way of those ``known``, each after its sources. Without recursion:
    graphs may be 10,000 deep.

    >>> a = LazyBuffer.const(1.0, int64, (2,), "CPU")
    >>> [n.op for n in toposort([a.unary(Op.NEG).binary(Op.ADD, a)])]
    ['CONST', 'NEG', 'ADD']
    """
    order: list[LazyBuffer] = []
    seen: set[LazyBuffer] = set()
    stack = list(outputs)
    stack.reverse()
    while stack:
        node = stack[-1]
        if node in seen or node in known:
            stack.pop()
            continue
        ready = True
        for src in reversed(node.srcs):
            if src not in seen and src not in known:
                stack.append(src)
                ready = False
        if ready:
            stack.pop()
            seen.add(node)
            order.append(node)
    return order

