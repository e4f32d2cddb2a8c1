"""Stage: front. In: Tensors with an axis of rows. Out: ``Level``, one call of ``vmap``: the user's function sees
placeholders for one row, and what it gives is computed for all rows at once, by the table of batching rules. The tape
that the function makes stays as it is, for one row: ``RowsBackward`` walks it on placeholders, too.
Next: ``custom.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn
from weakref import WeakSet

import numpy as np

from minigrad.autograd.handles import next_sequence
from minigrad.autograd.keeps import OWN
from minigrad.autograd.mode import mode
from minigrad.autograd.node import RELEASED, Edge, Node
from minigrad.autograd.protocol import Front
from minigrad.autograd.walk import Walk
from minigrad.autograd.watching import Kept, watched
from minigrad.engine import deferred, realise, to_numpy
from minigrad.func.pytree import fill, flatten
from minigrad.grad import Batch
from minigrad.graph.function import param
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op
from minigrad.tensor import Tensor, stack
from minigrad.tensor.base import make
from minigrad.tensor.duals import attach, tangent
from minigrad.tensor.replay import OFF, Trace, thread
from minigrad.tensor.storage import Storage, tracing

_DYNAMIC = {"nonzero": "nonzero", "unique": "_unique2", "unique_consecutive": "unique_consecutive"}
_REFUSALS = {
    **{name: "vmap: We do not support batching operators that can output dynamic shape. Attempted to vmap over "
             f"aten::{op}. Please file an issue at https://github.com/pytorch/pytorch/issues if you need this feature."
       for name, op in _DYNAMIC.items()},
    "indexing with a mask": "vmap: We do not support batching operators that can support dynamic shape. Attempting to "
                            "batch over indexing with a boolean mask.",
    "item": "vmap: It looks like you're calling .item() on a Tensor. We don't support vmap over calling .item() on a "
            "Tensor, please try to rewrite what you're doing with other operations. If error is occurring somewhere "
            "inside PyTorch internals, please file a bug report.",
    "bool": "vmap: It looks like you're attempting to use a Tensor in some data-dependent control flow. We don't "
            "support that yet, please file an issue at https://github.com/pytorch/pytorch/issues .",
}


class Level:
    """One call of ``vmap`` over ``rows`` rows. ``at``: the placeholders of its inputs, and other values that the tape
    reads, with their values in all rows. ``entered``: the memory of placeholders, with how often that of the Tensor was
    changed in place for which one stands. ``start``: what the tape held before has smaller numbers."""

    def __init__(self, rows: int, randomness: str = "error") -> None:
        self.rows = rows
        self.randomness = randomness
        self.at: dict[LazyBuffer, LazyBuffer] = {}
        self.entered: dict[Storage, Kept] = {}
        self.start = next_sequence()
        self.outside: Level | None = None
        self._unknown: dict[LazyBuffer, bool] = {}
        self._differs: dict[LazyBuffer, bool] = {}
        self._born: WeakSet[Storage] = WeakSet()

    def __del__(self) -> None:
        for value in self.at.values():
            value.readers -= 1

    # --- in and out

    def enter(self, tensor: Tensor) -> Tensor:
        """A Tensor, whose first axis has the rows, as the function sees it: one row, with its edge and tangents."""
        inner = Front.wrap(self.placeholder(tensor._read()), None)
        if mode.enabled and not mode.mutation and tensor._storage.edits >= 0:
            self.entered[inner._storage] = watched(tensor, OWN)
        edge = tensor._source() if mode.enabled else None
        if edge is not None:
            inner._set_edge((RowsInput(self, edge), 0))
        for n in mode.duals:
            change = tangent(tensor, n)
            if change is not None:
                attach(inner, n, self.enter(change))
        return inner

    def placeholder(self, rows: LazyBuffer) -> LazyBuffer:
        """One row of a value."""
        inner = param(0, rows.shape[1:], rows.dtype, rows.device)
        self.at[inner] = self.held(rows)
        return inner

    @staticmethod
    def held(value: LazyBuffer) -> LazyBuffer:
        """A value that a run must not let go of while ``at`` has it."""
        value.readers += 1
        return value

    def leave(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """What the function gave for one row, for all rows, which are the first axis."""
        if not tensors:
            return []
        values = [t._read() for t in tensors]
        batch = self.batch()
        results = [make(batch.of(v)) for v in values]
        sources = [t._source() for t in tensors] if mode.enabled else []
        if any([s is not None for s in sources]):
            node = RowsBackward(self, sources, results, batch, tensors)
            if node.edges:
                for i, (source, result) in enumerate(zip(sources, results, strict=True)):
                    if source is not None:
                        result._set_edge((node, i))
        for n in mode.duals:
            changes = [tangent(t, n) for t in tensors]
            found = iter(self.leave([c for c in changes if c is not None]))
            for result, change in zip(results, changes, strict=True):
                if change is not None:
                    attach(result, n, next(found))
        return results

    def kept_outside(self, nodes: Sequence[Node], results: dict[Storage, Tensor]) -> Iterator[Kept]:
        """What the tape for one row watches, as Tensors outside: inputs as they were when they came in, and results, by
        the memory of their placeholders, as they are."""
        for reference, _, edits, *_ in [kept for node in nodes for kept in node.kept]:
            storage = reference()
            if storage in self.entered and not edits:
                yield self.entered[storage]
            elif storage in results and storage.edits == edits:
                yield watched(results[storage], OWN)

    def batch(self) -> Batch:
        """Computes values for all rows."""
        return Batch(self.rows, self.at, {}, True)

    def differs(self, lazy: LazyBuffer) -> bool:
        """Whether a value may differ from row to row."""
        return _leads(lazy, self._differs, self._is_mine)

    def _is_mine(self, node: LazyBuffer) -> bool:
        if node in self.at:
            return True
        inner = tracing.level
        while isinstance(inner, Level) and inner is not self:  # a placeholder inside may stand for rows of ours
            if node in inner.at:
                return self.differs(inner.at[node])
            inner = inner.outside
        return False

    @contextmanager
    def inside(self) -> Iterator[None]:
        """A block in which Tensors are placeholders for one row. Nothing that depends on one is computed in it."""
        if thread.trace.path:
            thread.trace.stop("vmap began")
        before, unknown, outside = thread.trace, deferred.unknown, self.outside
        thread.trace = Trace(thread.root, OFF)
        thread.trace.capture = before.capture
        mode.watched += 1
        self.outside = tracing.level  # type: ignore[assignment]
        tracing.level, deferred.unknown = self, self.is_unknown
        tracing.names.append("vmap")
        try:
            yield
        finally:
            tracing.names.pop()
            tracing.level, deferred.unknown = self.outside, unknown
            self.outside = outside
            thread.trace = before
            mode.watched -= 1

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A block inside that is as if outside: Tensors have all rows."""
        inner = thread.trace, deferred.unknown
        outside = self.outside
        thread.trace = Trace(thread.root, OFF)
        thread.trace.capture = inner[0].capture
        tracing.level, deferred.unknown = outside, None if outside is None else outside.is_unknown
        name = tracing.names.pop()
        try:
            yield
        finally:
            tracing.names.append(name)
            tracing.level, (thread.trace, deferred.unknown) = self, inner

    # --- what the room of Tensors asks

    def is_unknown(self, lazy: LazyBuffer) -> bool:
        """Whether placeholders lead to a value, so that there is none while the function runs."""
        return _leads(lazy, self._unknown, lambda node: node.op == Op.PARAM)

    def refuse(self, what: str) -> NoReturn:
        """``RuntimeError``, if PyTorch has one in its words: ``what`` needs values that are not known."""
        raise RuntimeError(_REFUSALS.get(what, f"vmap: {what} needs the values of a Tensor, which are not known while "
                                               "vmap calls a function: it is called once for all rows. Compute it "
                                               "outside, or use where(), whose shapes do not depend on values"))

    def shown(self, tensor: Tensor) -> str:
        """How a Tensor is printed inside the function."""
        return f"BatchedTensor(shape={list(tensor.shape)}, dtype={tensor.dtype}, one of {self.rows} rows)"

    def born(self, storage: Storage) -> None:
        """Remember a Storage that the function has made."""
        self._born.add(storage)

    def array(self, lazy: LazyBuffer) -> np.ndarray:
        """A value in all rows of this ``vmap`` and of those around it, computed now."""
        level: Level | None = self
        while level is not None:
            lazy = level.batch().of(lazy)
            level = level.outside
        unknown, deferred.unknown = deferred.unknown, None
        try:
            realise([lazy])
        finally:
            deferred.unknown = unknown
        return to_numpy(lazy)

    def each_row(self, function: Callable[..., Any], args: Any) -> Any:
        """What a function that asks for values gives, called for each row and stacked; None if no argument differs."""
        leaves, structure = flatten(args)
        differs = [isinstance(x, Tensor) and self.differs(x._read()) for x in leaves]
        if not any(differs):
            return None
        whole = iter(self.leave([x for x, d in zip(leaves, differs, strict=True) if d]))
        given = [next(whole) if d else x for x, d in zip(leaves, differs, strict=True)]
        with self.paused():
            made = []
            for i in range(self.rows):
                positional, named = fill(structure, iter([x[i] if d else x for x, d in zip(
                    given, differs, strict=True)]))
                made.append(flatten(function(*positional, **named)))
            stacked = [stack(list(rows)) for rows in zip(*[found for found, _ in made], strict=True)]
        return fill(made[0][1], iter([self.enter(x) for x in stacked]))

    def check_write(self, storage: Storage, new: LazyBuffer) -> None:
        """``RuntimeError`` if a Storage from outside would get a value that differs from row to row."""
        level: Level | None = self
        while level is not None and storage not in level._born:
            if level.differs(new) and not level.differs(storage.lazy):
                raise RuntimeError(
                    "vmap: inplace arithmetic(self, *extra_args) is not possible because there exists a Tensor `other` "
                    "in extra_args that has more elements than `self`. This happened due to `other` being vmapped over "
                    "but `self` not being vmapped over in a vmap. Please try to use out-of-place operators instead of "
                    "inplace arithmetic. If said operator is being called inside the PyTorch framework, please file a "
                    "bug report instead.")
            level = level.outside

    def drawn(self, leaf: Callable[[tuple[int, ...]], LazyBuffer]) -> LazyBuffer:
        """Random numbers for one row, by ``randomness``: an error, the same in all rows, or others in each."""
        if self.randomness == "error":
            raise RuntimeError("vmap: called random operation while in randomness error mode. Please either use the "
                               "'same' or 'different' randomness flags on vmap or perform the randomness operation out "
                               "of vmap")
        above = leaf if self.outside is None else lambda rows: self.outside.drawn(
            lambda more: leaf((*more, *rows)))
        if self.randomness == "same":
            return above(())
        drawn = above((self.rows,))
        if drawn.op == Op.SCALAR:  # a key, from which each row takes bits by its position
            drawn = drawn.reshape((1,)).expand((self.rows,))
        return self.placeholder(drawn)


def _leads(lazy: LazyBuffer, known: dict[LazyBuffer, bool], is_one: Callable[[LazyBuffer], bool]) -> bool:
    """Whether a value is computed from one of some leaves; ``known`` remembers the answers."""
    stack = [lazy]
    while stack:
        node = stack[-1]
        if node in known:
            stack.pop()
            continue
        missing = [s for s in node.srcs if s not in known]
        if missing:
            stack += missing
            continue
        stack.pop()
        known[node] = any([known[s] for s in node.srcs]) if node.srcs else is_one(node)
    return known[lazy]


# --- the tape


class RowsInput(Node):
    """Where the tape for one row ends: an input of ``vmap``, whose gradient goes to ``edge`` outside."""

    __slots__ = ("outer",)

    def __init__(self, level: Level, edge: Edge) -> None:
        self.edges, self.saved, self.extra, self.call, self.kept = (), (), None, None, ()
        self.sequence = next_sequence()
        self.outer = level, edge

    @property
    def count(self) -> int:
        return 1


class RowsBackward(Node):
    """The tape entry of ``vmap``: from the gradients in all rows to those of the inputs, and of what the function took
    from around it, by the tape for one row. ``ends``: the edges of that tape which lead outside, in the order of
    ``edges``."""

    __slots__ = ("ends", "inner", "level", "specs")
    runs = True

    def __init__(self, level: Level, sources: Sequence[Edge], results: Sequence[Tensor], batch: Batch,
                 inner: Sequence[Tensor]) -> None:
        """``inner``: the results for one row."""
        nodes = _nodes(sources, level)
        self.level: Level | None = level
        self.inner = tuple(sources)
        self.ends = _ends(sources, nodes, level)
        self.edges = tuple([_outer(e, level) for e in self.ends])
        self.specs = [(r._shape(), r.dtype, r._pending().device) for r in results]
        self.extra = self.call = None
        self.kept = tuple(level.kept_outside(nodes, dict(zip([t._storage for t in inner], results, strict=True))))
        saved = []
        for lazy in _residuals(nodes):
            if batch.differs(lazy) and lazy not in level.at:
                value = batch.of(lazy)
                level.at[lazy] = level.held(value)
                value.owners += 1
                saved.append(value)
        self.saved = tuple(saved)
        self.sequence = next_sequence()

    @property
    def count(self) -> int:
        return len(self.specs)

    def vjp(self, grads: Sequence[LazyBuffer | None], needs: Sequence[bool]) -> list[LazyBuffer | None]:
        level = self._level()
        with level.inside():
            walk = self._walk(False, [None if g is None else level.placeholder(g) for g in grads])
        batch = level.batch()
        return [None if g is None else batch.of(g) if _is_input(e, level) else batch.total(g)
                for e, g in zip(self.ends, walk, strict=True)]

    def vjp_recorded(self, grads: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
        level = self._level()
        with level.inside():
            walk = self._walk(bool(mode.enabled), [None if g is None else level.enter(g) for g in grads])
        found = iter(level.leave([g for g in walk if g is not None]))
        return [None if g is None else next(found) if _is_input(e, level) else next(found).sum(0)
                for e, g in zip(self.ends, walk, strict=True)]

    def _walk(self, taped: bool, starts: Sequence[Any]) -> list[Any]:
        assert self.level is not None
        walk = _Inside(self.level, taped, self.ends)
        before, mode.enabled = mode.enabled, taped
        try:
            walk.run([(e, g) for e, g in zip(self.inner, starts, strict=True) if g is not None and e is not None])
        finally:
            mode.enabled = before
        return [walk.captured.get(e) if type(e) is tuple else walk.leaves.get(e) for e in self.ends]

    def _level(self) -> Level:
        if self.level is None:
            raise RuntimeError(RELEASED)
        self.check_kept()
        return self.level

    def release(self, entirely: bool = False) -> None:
        """Let go of what the tape for one row saved; it can be differentiated again if all its ops can."""
        if self.level is None:
            return
        nodes = _nodes(self.inner, self.level)
        for node in nodes:
            node.release(entirely)
        if entirely or any([node.saved is None for node in nodes]):
            super().release(True)
            self.level, self.inner = None, ()


class _Inside(Walk):
    """A backward pass along the tape for one row: it stops where that tape ends."""

    def __init__(self, level: Level, taped: bool, ends: Sequence[Edge]) -> None:
        super().__init__(taped, ends)
        self.level = level

    def _visit(self, node: Node, gradients: list[Any]) -> list[Any]:
        if not _is_outside(node, self.level):
            return super()._visit(node, gradients)
        for number, gradient in enumerate(gradients):
            if gradient is not None:
                self.captured[node, number] = gradient
        return [None] * len(node.edges)


def _is_outside(node: Node, level: Level) -> bool:
    return node.sequence < level.start or (type(node) is RowsInput and node.outer[0] is level)


def _is_input(edge: Edge, level: Level) -> bool:
    return type(edge) is tuple and type(edge[0]) is RowsInput and edge[0].outer[0] is level


def _outer(edge: Edge, level: Level) -> Edge:
    return edge[0].outer[1] if _is_input(edge, level) else edge


def _nodes(sources: Sequence[Edge], level: Level) -> list[Node]:
    """The tape for one row."""
    seen: dict[Node, None] = {}
    stack = [s[0] for s in sources if type(s) is tuple and not _is_outside(s[0], level)]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen[node] = None
            stack += [e[0] for e in node.edges if type(e) is tuple and not _is_outside(e[0], level)]
    return list(seen)


def _ends(sources: Sequence[Edge], nodes: Sequence[Node], level: Level) -> list[Edge]:
    """The edges that lead out of the tape for one row."""
    edges = [e for e in (*sources, *[e for node in nodes for e in node.edges]) if e is not None]
    return list(dict.fromkeys([e for e in edges if type(e) is not tuple or _is_outside(e[0], level)]))


def _residuals(nodes: Sequence[Node]) -> list[LazyBuffer]:
    """The values that the tape for one row reads."""
    return [value for node in nodes for value in (
        *(node.saved or ()), *[k._tensor._read() for k in getattr(node, "_kept", None) or () if k is not None])]
