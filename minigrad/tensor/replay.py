"""Stage: front. In: the calls that a thread makes, one after another. Out: Tensors without a graph behind them, as long
as the calls are those made before.

A thread's calls are its *trace*. Known traces form a tree of ``Entry``: each says which call may follow, by the
Function, its static arguments and the *slots* of its operands. A slot is a result earlier in this trace, or a *leaf*, a
Tensor that came from outside. While the calls are known, results are *shells*: shape, dtype, slot. Where values are
needed (``backward()``, ``step()``, ``item()``) the entry holds ``Point``s, which say what ran there before: it runs
again on the memory of today's leaves, in one native call. At the first difference (``Trace.diverge``) the trace so far
is recorded in the ordinary way, and so are the calls that follow. So the tree is only a short cut.
Next: ``unfold.py``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ref

from minigrad import config
from minigrad.autograd.mode import mode
from minigrad.dtype import DType
from minigrad.engine import active
from minigrad.graph.function import Subgraph, param
from minigrad.graph.lazy import LazyBuffer, contiguous_strides
from minigrad.ops import Op

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

OFF, FOLLOW, RECORD = 0, 1, 2
MOST_CALLS = 20_000
"""Calls in one trace; a longer one is recorded as if nothing were known."""

MOST_CHILDREN = 64
"""Calls known to follow one call; programs in which more do are not worth remembering."""

_next_tag = count(1).__next__


class Spec:
    """What is known of a result without computing it."""

    __slots__ = ("device", "dtype", "offset", "placeholder", "requires_grad", "shape", "strides")

    def __init__(self, shape: tuple[int, ...], dtype: DType, device: str, requires_grad: bool,
                 strides: tuple[int, ...] | None = None, offset: int = 0) -> None:
        self.shape, self.dtype, self.device, self.requires_grad = shape, dtype, device, requires_grad
        self.strides = contiguous_strides(shape) if strides is None else strides
        self.offset = offset
        self.placeholder = param(0, shape, dtype, device)  # for those who look at a value's type only


class Entry:
    """A call in the tree: what it computes (``body``, with the kind of its tape entry, ``node``; None for a view, whose
    arguments are ``view``), how many numbers it takes, whether the tape was on, and what its results look like.
    ``good`` and ``bad`` count how often a trace through here was replayed, and had to be recorded after all."""

    __slots__ = ("bad", "body", "children", "enabled", "good", "is_tuple", "node", "numbers", "points", "specs", "view")

    def __init__(self, body: Subgraph | None = None, node: Any = None, view: Any = None,
                 is_tuple: bool = False) -> None:
        self.body, self.node, self.view, self.is_tuple = body, node, view, is_tuple
        self.children: dict[Any, Entry] = {}
        self.points: list[tuple[Any, Any]] = []  # a place, and the ``Point`` that ran there
        self.good = self.bad = 0
        self.numbers = 0
        self.enabled = True
        self.specs: tuple[Spec, ...] = ()

    @property
    def hopeless(self) -> bool:
        """Whether following this call has not paid."""
        return self.bad > 2 * self.good + 2


class Trace:
    """The calls of a thread since values were last needed.

    Lists by slot: ``values`` (None for a result not computed), ``refs`` (weak references to results; None for a leaf),
    ``leaves`` (None for a result), ``entries`` and ``specs`` (the call that made it, and what it looks like; None for a
    leaf). ``numbers`` are the Python numbers among the operands, ``constants`` their nodes, if they were recorded.
    ``busy``: Storages are written as part of a point.
    """

    __slots__ = ("busy", "called", "constants", "entries", "entry", "first", "leaves", "let", "loose", "most_loose",
                 "numbers", "path", "refs", "released", "specs", "state", "tag", "values")

    def __init__(self, root: Entry, state: int = FOLLOW) -> None:
        self.entry = root
        self.state = state
        self.tag = _next_tag()
        self.path: list[Entry] = []
        self.called: list[tuple[int, ...]] = []  # the operands of each call in ``path``
        self.first: list[int] = []  # the slot of its first result
        self.values: list[LazyBuffer | None] = []
        self.refs: list[ref[Tensor] | None] = []
        self.leaves: list[Tensor | None] = []
        self.entries: list[Entry | None] = []
        self.specs: list[Spec | None] = []
        self.numbers: list[Any] = []
        self.constants: list[LazyBuffer] = []
        self.released = self.busy = self.let = False
        self.loose: list[ref[Tensor]] = []
        self.most_loose = 64

    # --- calls

    def key(self, function: Any, static: Any, tensors: Sequence[Tensor], numbers: Sequence[tuple[Any, DType]] = (),
            ) -> tuple[Any, ...] | None:
        """What tells this call from others; None if the trace can't go on (it is off then)."""
        parts = [function, static, mode.enabled]
        slots = []
        tag = self.tag
        for t in tensors:
            if t._tag == tag:
                slots.append(t._slot)
                parts.append(t._slot)
            else:
                leaf = self._leaf(t)
                if leaf is None:
                    self.stop("an operand is pending from before")
                    return None
                slots.append(len(self.values) - 1)
                parts.append(leaf)
        for value, dtype in numbers:
            parts.append(dtype)
            self.numbers.append(value)
        self.called.append(tuple(slots))
        return tuple(parts)

    def _leaf(self, t: Tensor) -> Any:
        """Give a Tensor from outside a slot; what its value looks like, or None if it is not in memory."""
        source = t._source()
        if source is not None and source is not t:
            return None  # computed on the tape before this trace
        value = t._read()
        needs = source is not None
        sign: tuple[Any, ...]
        if value.buffer is not None:
            if value.device != "CPU":
                return None
            sign = (value.shape, value.dtype, value.arg, needs)
        elif value.op == Op.CONST:
            sign = ("const", value.shape, value.dtype, value.device, repr(value.arg), needs)
        elif value.op == Op.SCALAR:
            sign = ("scalar", value.dtype, value.device)
        else:
            return None
        self._add(value, None, t, None)
        value.readers += 1
        whole = t._storage.lazy.buffer
        if whole is None or not whole.exports:  # memory that NumPy sees may change: it is read anew each time
            t._tag, t._slot = self.tag, len(self.values) - 1
        return sign

    def _add(self, value: LazyBuffer | None, tensor: ref[Tensor] | None, leaf: Tensor | None,
             entry: Entry | None, spec: Spec | None = None) -> None:
        self.values.append(value)
        self.refs.append(tensor)
        self.leaves.append(leaf)
        self.entries.append(entry)
        self.specs.append(spec)

    def advance(self, key: tuple[Any, ...], name: str) -> Entry | None:
        """The entry for the next call, if it is known; if not, the trace is recorded from now on."""
        found = self.entry.children.get(key)
        if found is None:
            self.diverge(f"{name} was not called here before, or not with such operands" if self.path else "")
            return None
        if found.hopeless:
            self.called.pop()
            self.stop("")
            return None
        self.entry = found
        self.path.append(found)
        self.first.append(len(self.values))
        return found

    def shells(self, entry: Entry, parent: Tensor | None = None) -> list[Tensor]:
        """The results of a known call; a view keeps its parent."""
        made = []
        new, kind = object.__new__, Trace.tensor_class
        for spec in entry.specs:
            shell = new(kind)
            shell._tag, shell._slot, shell._spec, shell._owner = self.tag, len(self.values), spec, self
            shell._parent = parent
            self._add(None, ref(shell), None, entry, spec)
            made.append(shell)
        return made

    def note(self, key: tuple[Any, ...], entry: Entry, results: Sequence[Tensor],
             constants: Sequence[LazyBuffer] = ()) -> None:
        """Remember a call that was recorded, its results and the nodes of its numbers."""
        self.constants += constants
        known = self.entry.children.get(key)
        if known is None:
            if len(self.entry.children) >= MOST_CHILDREN or len(self.path) >= MOST_CALLS:
                self.stop("")
                return
            entry.enabled, entry.numbers = mode.enabled, len(constants)
            entry.specs = tuple([_spec_of(t) for t in results])
            known = self.entry.children[key] = entry
        self.entry = known
        self.path.append(known)
        self.first.append(len(self.values))
        for t, spec in zip(results, known.specs, strict=True):
            t._tag, t._slot = self.tag, len(self.values)
            self._add(t._read(), ref(t), None, known, spec)

    # --- leaving the short cut

    def stop(self, why: str) -> None:
        """Record what was followed so far, and look nothing up until values are needed."""
        if self.state == FOLLOW:
            self.diverge(why)
        self.state = OFF
        self.count(False)
        self.let_go()
        self.values, self.leaves = [], []

    def count(self, good: bool) -> None:
        """Note of all calls so far whether following them paid."""
        for entry in self.path:
            if good:
                entry.good += 1
            else:
                entry.bad += 1

    def hold(self, results: Sequence[Tensor]) -> None:
        """While the trace is off: results to compute along, if somebody still holds them when values are needed."""
        if len(self.loose) >= self.most_loose:
            self.loose = [r for r in self.loose if r() is not None]
            self.most_loose = 64 + 2 * len(self.loose)
        self.loose += [ref(t) for t in results]

    def held(self) -> list[LazyBuffer]:
        """The pending values of what ``hold`` was told of."""
        found = [t._whole() for r in self.loose if (t := r()) is not None]
        return [v for v in found if v.srcs]

    def diverge(self, why: str) -> None:
        """Record what was followed so far: shells become ordinary Tensors."""
        self.state = RECORD
        if why:
            for seen in active():
                seen.recorded.append(why)
            if config.get("DEBUG"):
                print(f"*** recorded, not replayed: {why}", flush=True)
        self.unfold()

    def unfold(self) -> None:
        """Make the graph and the tape behind the shells, from the entries."""
        Trace.unfolder(self)

    # ``base.py``, ``unfold.py`` and ``points.py`` fill these in, which know Tensors
    tensor_class: ClassVar[type[Tensor]]
    unfolder: ClassVar[Callable[[Trace], None]]
    valued: ClassVar[Callable[[Sequence[Tensor]], bool]]

    def alive(self) -> tuple[int, ...]:
        """The slots of results that somebody holds."""
        return tuple([i for i, r in enumerate(self.refs) if r is not None and r() is not None])

    def let_go(self) -> None:
        """Stop being a reader of the leaves."""
        if not self.let:
            self.let = True
            for leaf, value in zip(self.leaves, self.values, strict=True):
                if leaf is not None and value is not None:
                    value.readers -= 1

    def end(self) -> None:
        """Nothing more is computed from here: keep only what the (released) tape of results still names."""
        self.let_go()
        self.values = []
        self.leaves = [t if t is not None and t._requires_grad else None for t in self.leaves]
        self.released = True


def _spec_of(t: Tensor) -> Spec:
    view = t._view
    requires = t._source() is not None
    lazy = t._storage.lazy
    if view is None:
        return Spec(lazy.shape, lazy.dtype, lazy.device, requires)
    return Spec(view.shape, lazy.dtype, lazy.device, requires, view.strides, view.offset)


threads: list[bool] = []
several: list[bool] = []
"""Whether a second thread has used Tensors: from then on, recording takes a lock. A list, which is empty or not."""


class _Thread(threading.local):
    """Each thread has a tree of its own, and a trace that grows along it."""

    def __init__(self) -> None:
        self.root = Entry()
        if threads:
            several.append(True)
        threads.append(True)
        self.begin()

    def begin(self) -> None:
        """A new trace."""
        self.trace = Trace(self.root, FOLLOW if config.get("REPLAY") else OFF)


thread = _Thread()
