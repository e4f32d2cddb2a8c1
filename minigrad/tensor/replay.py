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
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op

if TYPE_CHECKING:
    from minigrad.tensor.capture import Capture
    from minigrad.tensor.tensor_class import Tensor

OFF, FOLLOW, RECORD = 0, 1, 2
MOST_CALLS, FEWER_CALLS = 100_000, 20_000
"""Calls in one trace; a longer one is recorded as if nothing were known. A thread that came to the end of the first
number remembers no more than the second from then on: it may go on for long without needing values."""

MOST_OTHERS = 63
"""Calls known to follow one call, but for the first; programs in which more do are not worth remembering."""

_next_tag = count(1).__next__


class Spec:
    """What is known of a result of ``entry`` without computing it. ``strides`` None: those of a contiguous value."""

    __slots__ = ("_placeholder", "device", "dtype", "entry", "offset", "requires_grad", "shape", "strides")

    def __init__(self, entry: Entry, t: Tensor) -> None:
        self.entry = entry
        lazy, view = t._storage.lazy, t._view
        self.dtype, self.device = lazy.dtype, lazy.device
        self._placeholder: LazyBuffer | None = None
        self.requires_grad = t._requires_grad if view is None else t._source() is not None
        self.shape = lazy.shape if view is None else view.shape
        self.strides = None if view is None else view.strides
        self.offset = 0 if view is None else view.offset

    def placeholder(self) -> LazyBuffer:
        """A value like the result, for those who look at its type only."""
        if self._placeholder is None:
            self._placeholder = param(0, self.shape, self.dtype, self.device)
        return self._placeholder


class Entry:
    """A call in the tree: what it computes (``body``, with the kind of its tape entry, ``node``; None for a view, whose
    arguments are ``view``), how many numbers it takes, whether the tape was on, and what its results look like.
    ``good`` and ``bad`` count how often a trace through here was replayed, and had to be recorded after all."""

    __slots__ = ("bad", "body", "enabled", "good", "hash", "key", "next", "node", "numbers", "others", "points",
                 "specs", "view")

    def __init__(self, body: Subgraph | None = None, node: Any = None, view: Any = None) -> None:
        self.body, self.node, self.view = body, node, view
        # The calls that may follow. There is mostly one: that needs no dictionary, of which there would be thousands.
        self.hash, self.key = 0, None
        self.next: Entry | None = None
        self.others: dict[Any, Entry] | None = None
        self.points: Sequence[tuple[Any, Any]] = ()  # a place, and the ``Point`` that ran there
        self.good = self.bad = 0
        self.numbers = 0
        self.enabled = True
        self.specs: tuple[Spec, ...] = ()

    def follow(self, key: Any) -> Entry | None:
        """The entry of a call that is known to follow."""
        if self.hash == hash(key) and self.key == key:  # as a dictionary does; ``==`` alone may mean something else
            return self.next
        return None if self.others is None else self.others.get(key)

    def add(self, key: Any, entry: Entry) -> bool:
        """Remember that this call may follow; False if too many do."""
        if self.next is None:
            self.hash, self.key, self.next = hash(key), key, entry
            return True
        if self.others is None:
            self.others = {}
        if len(self.others) >= MOST_OTHERS:
            return False
        self.others[key] = entry
        return True

    @property
    def hopeless(self) -> bool:
        """Whether following this call has not paid."""
        return self.bad > 2 * self.good + 2


class Trace:
    """The calls of a thread since values were last needed.

    Lists by slot: ``values`` (None for a result not computed), ``holders`` (the Tensor, for a leaf; a weak reference to
    it, for a result), ``specs`` (what a result looks like; None for a leaf). ``filled``: the slots of shells that have
    memory. ``tracked``: the leaves that require a gradient, with their slots. ``numbers`` are the Python numbers among
    the operands, ``constants`` their nodes, if they were recorded.
    ``busy``: Storages are written as part of a point. ``stopped``: the trace was followed or recorded, and is off now.
    ``capture``: what ``minigrad.jit`` is recording; the trace is off meanwhile.
    """

    __slots__ = ("busy", "called", "capture", "constants", "entry", "filled", "first", "holders", "let", "look_again",
                 "loose", "most_loose", "numbers", "path", "released", "specs", "state", "stopped", "tag", "tracked",
                 "values")

    def __init__(self, root: Entry, state: int = FOLLOW) -> None:
        self.entry = root
        self.state = state
        self.tag = _next_tag()
        self.path: list[Entry] = []
        self.called: list[tuple[int, ...]] = []  # the operands of each call in ``path``
        self.first: list[int] = []  # the slot of its first result
        self.values: list[LazyBuffer | None] = []
        self.holders: list[Any] = []
        self.filled: set[int] = set()
        self.specs: list[Spec | None] = []
        self.tracked: list[tuple[int, Tensor]] = []
        self.numbers: list[Any] = []
        self.constants: list[LazyBuffer] = []
        self.look_again = 128
        self.capture: Capture | None = None
        self.released = self.busy = self.let = self.stopped = False
        self.loose: list[ref[Tensor]] = []
        self.most_loose = 64

    # --- calls

    def key(self, function: Any, static: Any, tensors: Sequence[Tensor], numbers: Sequence[tuple[Any, DType]] = (),
            ) -> tuple[Any, ...] | None:
        """What tells this call from others; None if the trace can't go on (it is off then). An operand counts as its
        slot, or, where it is seen first, as what it looks like."""
        parts = [function, static, mode.enabled]
        slots = []
        tag, values = self.tag, self.values
        for t in tensors:
            if t._tag == tag:
                slot = t._slot
                slots.append(slot)
                parts.append(slot)
                continue
            slot = len(values)
            known, value = t._look, t._storage.lazy
            buffer = value.buffer
            if known is not None and known[0] is value and (buffer is None or not buffer.exports):
                look = known[1]
                t._tag, t._slot = tag, slot
            else:  # memory that NumPy sees may change: it is read anew each time
                found = _look(t)
                if found is None:
                    self.stop("an operand is pending from before")
                    return None
                if buffer is None or not buffer.exports:
                    t._tag, t._slot = tag, slot
                    if t._view is None:
                        t._look = found
                value, look = found
            value.readers += 1
            values.append(value)
            self.holders.append(t)
            self.specs.append(None)
            if t._requires_grad:
                self.tracked.append((slot, t))
            slots.append(slot)
            parts.append(look)
        for value, dtype in numbers:
            parts.append(dtype)
            self.numbers.append(value)
        self.called.append(tuple(slots))
        return tuple(parts)

    def leaf(self, slot: int) -> Tensor | None:
        """The leaf in a slot."""
        return self.holders[slot] if self.specs[slot] is None else None

    def result(self, slot: int) -> Tensor | None:
        """The result in a slot, if somebody holds it."""
        return None if self.specs[slot] is None else self.holders[slot]()

    def advance(self, key: tuple[Any, ...], name: str) -> Entry | None:
        """The entry for the next call, if it is known; if not, the trace is recorded from now on."""
        found = self.entry.follow(key)
        if found is None:
            self.diverge(f"{name} was not called here before, or not with such operands" if self.path else "")
            return None
        if found.hopeless:
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
            shell._look = None
            self.values.append(None)
            self.holders.append(ref(shell))
            self.specs.append(spec)
            made.append(shell)
        return made

    def note(self, key: tuple[Any, ...], entry: Entry, results: Sequence[Tensor],
             constants: Sequence[LazyBuffer] = ()) -> None:
        """Remember a call that was recorded, its results and the nodes of its numbers."""
        self.constants += constants
        known = self.entry.follow(key)
        if len(self.path) >= self.look_again:
            if not self.alive():  # what nobody holds is never needed
                thread.begin()
                return
            self.look_again *= 2
        if known is None:
            if len(self.path) >= thread.most_calls:
                thread.most_calls = FEWER_CALLS
                self.stop("")
                return
            if not self.entry.add(key, entry):
                self.stop("")
                return
            entry.enabled, entry.numbers = mode.enabled, len(constants)
            entry.specs = tuple([Spec(entry, t) for t in results])
            known = entry
        self.entry = known
        self.path.append(known)
        self.first.append(len(self.values))
        for t, spec in zip(results, known.specs, strict=True):
            t._tag, t._slot = self.tag, len(self.values)
            self.values.append(t._read())
            self.holders.append(ref(t))
            self.specs.append(spec)

    # --- leaving the short cut

    def stop(self, why: str) -> None:
        """Record what was followed so far, and look nothing up until values are needed."""
        if self.state == FOLLOW:
            self.diverge(why)
        self.state = OFF
        self.stopped = True
        self.count(False)
        self.let_go()
        self.values, self.holders, self.specs = [], [], []

    def count(self, good: bool) -> None:
        """Note of all calls so far whether following them paid."""
        for entry in self.path:
            if good:
                entry.good += 1
            else:
                entry.bad += 1

    def hold(self, results: Sequence[Tensor]) -> None:
        """While the trace is off: results to compute along, if somebody still holds them when values are needed."""
        if self.capture is not None:
            return
        if len(self.loose) >= self.most_loose:
            self.loose = [r for r in self.loose if r() is not None]
            self.most_loose = 64 + 2 * len(self.loose)
        for t in results:
            self.loose.append(ref(t))

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
        holders = self.holders
        return tuple([i for i, spec in enumerate(self.specs) if spec is not None and holders[i]() is not None])

    def let_go(self) -> None:
        """Stop being a reader of the leaves."""
        if not self.let:
            self.let = True
            for spec, value in zip(self.specs, self.values, strict=True):
                if spec is None and value is not None:
                    value.readers -= 1

    def end(self, held: bool) -> None:
        """Nothing more is computed from here: if results are held, keep only what their (released) tape names."""
        self.let_go()
        self.values = []
        if not held:
            return
        self.holders = [h if spec is not None or h._requires_grad else None
                        for h, spec in zip(self.holders, self.specs, strict=True)]
        self.released = True


def look_of_memory(shape: tuple[int, ...], dtype: DType) -> int:
    """The number of a leaf in memory of its own that requires no gradient."""
    return _number_of((shape, dtype, None, False))


_looks: dict[Any, int] = {}
_next_look = count(1).__next__


def _number_of(look: Any) -> int:
    """A number for each look of a leaf: a key of numbers is compared faster. Below 0, since slots are not."""
    known = _looks.get(look)
    return _looks.setdefault(look, -_next_look()) if known is None else known  # whichever thread is first


def _look(t: Tensor) -> tuple[LazyBuffer, int] | None:
    """The value of a leaf and a number for what matters of it; None if it is pending, or on the tape already."""
    source = t._source()
    if source is not None and source is not t:
        return None
    value = t._read()
    if value.buffer is not None and value.device == "CPU":
        look: Any = (value.shape, value.dtype, value.arg, source is not None)
    elif value.op == Op.CONST:
        look = (value.shape, value.dtype, value.device, source is not None)
    elif value.op == Op.SCALAR:
        look = (value.dtype, value.device)
    else:
        return None
    return value, _number_of(look)


threads: list[bool] = []
several: list[bool] = []
"""Whether a second thread has used Tensors: from then on, recording takes a lock. A list, which is empty or not."""


class _Thread(threading.local):
    """Each thread has a tree of its own, and a trace that grows along it."""

    def __init__(self) -> None:
        if threads:
            several.append(True)
        threads.append(True)
        self.forget()

    def forget(self) -> None:
        """Start from a tree in which nothing is known."""
        self.root = Entry()
        self.most_calls = MOST_CALLS
        self.begin()

    def begin(self) -> None:
        """A new trace."""
        self.trace = Trace(self.root, FOLLOW if config.get("REPLAY") else OFF)


thread = _Thread()
