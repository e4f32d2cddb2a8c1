"""Stage: schedule. In: a KernelSpec. Out: its structure, a value: kernels of one structure are the same code, whatever
memory they are given and whatever they are called.
Next: ``show.py``."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from hashlib import sha256

from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.schedule.spec import KernelSpec, Memory, StackedSpec, Stage

Structure = tuple[Hashable, ...]


def digest(made: Structure) -> bytes:
    """32 bytes that stand for a structure where many are kept."""
    return sha256(repr(made).encode()).digest()


def structure(spec: KernelSpec | StackedSpec) -> Structure:
    """Everything that lowering looks at but the name. Nodes are numbered in the order in which their stage reaches
    them, memory and scalars by their position. Memory that is only read counts without its axes of one element: who
    reads it says which of them it sees.

    >>> from minigrad.dtype import float32
    >>> def twice(name: str) -> KernelSpec:
    ...     x = LazyBuffer(Op.BUFFER, (), None, (4,), float32, "CPU")
    ...     y = x.binary(Op.ADD, x)
    ...     memory = {x: Memory("in0", float32, (4,)), y: Memory("out", float32, (4,), written=True)}
    ...     return KernelSpec(name, (4,), (Stage((y,), (0,)),), memory)
    >>> structure(twice("a")) == structure(twice("b"))
    True
    """
    parts = spec.parts if isinstance(spec, StackedSpec) else (spec,)
    scalars = {node: i for i, node in enumerate(dict.fromkeys(s for part in parts for s in part.scalars))}
    return tuple([isinstance(spec, StackedSpec), *(_part(part, scalars) for part in parts)])


def _part(spec: KernelSpec, scalars: Mapping[LazyBuffer, int]) -> Structure:
    where = {node: i for i, node in enumerate(spec.memory)}
    memory = tuple([_memory(m) for m in spec.memory.values()])
    stages = tuple([_stage(stage, spec, where, scalars) for stage in spec.stages])
    numbers = tuple([(scalars[s], s.dtype) for s in spec.scalars])
    return spec.outer, memory, stages, numbers, None if spec.status is None else spec.status.shape, spec.walk


def _memory(m: Memory) -> Structure:
    shape = _long(m.shape) if _is_plain(m) else m.shape
    return m.name, m.dtype, shape, m.scope, m.strides, m.axes, m.written, m.nontemporal


def _is_plain(m: Memory) -> bool:
    """Whether axes of one element make no difference to it."""
    return m.scope == "global" and m.strides is None and not m.written


def _long(shape: Sequence[int]) -> tuple[int, ...]:
    return tuple([n for n in shape if n != 1])


def _stage(stage: Stage, spec: KernelSpec, where: Mapping[LazyBuffer, int],
           scalars: Mapping[LazyBuffer, int]) -> Structure:
    number: dict[LazyBuffer, int | Structure] = {}
    rows: list[Structure] = []
    computed = frozenset(stage.stores)
    plain: dict[LazyBuffer, int] = {}  # memory that is only read, also as seen with other axes of one element
    for node in _slice(stage.stores, where):
        if node.op == Op.RESHAPE and node not in where and node.srcs[0] in plain and (
                _long(node.shape) == _long(node.srcs[0].shape)):
            plain[node] = plain[node.srcs[0]]
            number[node] = plain[node], node.shape
            continue
        number[node] = len(rows)
        if node in where and node not in computed:
            if _is_plain(spec.memory[node]):
                plain[node] = len(rows)
                number[node] = len(rows), node.shape
            rows.append(("memory", where[node]))
        elif node.op == Op.SCALAR:
            rows.append((node.op, scalars[node]))
        else:
            arg = repr(node.arg) if node.op == Op.CONST else node.arg  # 0.0 and -0.0 differ, NaN equals itself
            srcs = [number.get(s, s.shape) for s in node.srcs]
            rows.append((node.op, arg, node.shape, node.dtype, spec.checks.get(node), *srcs))
    return stage.outer, tuple(rows), tuple([(number[n], where[n]) for n in stage.stores])


def _slice(stores: Sequence[LazyBuffer], memory: Mapping[LazyBuffer, int]) -> list[LazyBuffer]:
    """What the stores are computed from, down to memory, each node after its sources. What a SCATTER or ASSIGN writes
    on lies in its memory already: how that was computed is another kernel's concern."""
    computed = frozenset(stores)
    order: dict[LazyBuffer, None] = {}
    stack = list(stores)[::-1]
    while stack:
        node = stack[-1]
        srcs: tuple[LazyBuffer, ...] = ()
        if node not in memory or node in computed:
            srcs = node.srcs[1:] if node.op in (Op.SCATTER, Op.ASSIGN) else node.srcs
        missing = [s for s in reversed(srcs) if s not in order]
        if missing and node not in order:
            stack += missing
            continue
        stack.pop()
        order[node] = None
    return list(order)
