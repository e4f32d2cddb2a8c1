"""Stage: front. In: the calls that a thread makes, one after another. Out: Tensors without a graph behind them, as long
as the calls are those made before.

A thread's calls are its *trace*. Known traces form a tree of ``Entry``: each says which call may follow, by the
Function, its static arguments and the *slots* of its operands. A slot is a result earlier in this trace, or a *leaf*, a
Tensor that came from outside. While the calls are known, results are *shells*: shape, dtype, slot. Where values are
needed (``backward()``, ``step()``, ``item()``) the entry holds ``Point``s, which say what ran there before: it runs
again on the memory of today's leaves, in one native call. At the first difference (``Trace.diverge``) the trace so far
is recorded in the ordinary way, and so are the calls that follow. So the tree is only a short cut.
Next: ``leaving.py``."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ref

from minigrad import config
from minigrad.autograd.mode import mode
from minigrad.autograd.protocol import Front
from minigrad.dtype import DType
from minigrad.engine import records
from minigrad.graph.lazy import LazyBuffer
from minigrad.runtime.locks import record_lock
from minigrad.tensor.entry import NOTHING, Entry, operands_of
from minigrad.tensor.looks import Spec, look_at, specs_of

if TYPE_CHECKING:
    from minigrad.tensor.capture import Capture
    from minigrad.tensor.tensor_class import Tensor

OFF, FOLLOW, RECORD = 0, 1, 2
MOST_CALLS, FEWER_CALLS = 100_000, 20_000
"""Calls in one trace; a longer one is recorded as if nothing were known. A thread that came to the end of the first
number remembers no more than the second from then on: it may go on for long without needing values."""

MOST_NOTED = 10_000
"""Calls of a thread that are recorded while its trace is off, and have their lines noted for errors: that takes a
microsecond beside two or three, which the first steps of a program can spare, but not all steps of one that cannot be
followed. Noted later, too, are calls with large results, and those for other devices than the CPU: their runs take
longer than that, and what can fail is theirs."""

ROUNDS = 16
"""How often a program begins something new before it is worth compiled code."""

UNPAID = 16
"""How often a trace is replayed before that is noted of all its calls."""

_NO_SLOTS: set[int] = set()
"""What a trace starts with. It is never changed."""

_next_tag = count(1).__next__
_new = object.__new__


def _nobody() -> None:
    """The reference to a result that nobody holds."""


class Change:
    """A Storage that a call has changed in place: the Tensor that stands for it, the slot of its value, what it was
    ``before`` this trace, and how often it was changed since a value was known."""

    __slots__ = ("before", "count", "slot", "storage", "tensor")

    def __init__(self, storage: Any, tensor: Tensor, slot: int, before: LazyBuffer) -> None:
        self.storage, self.tensor, self.slot, self.before, self.count = storage, tensor, slot, before, 1


_first = attrgetter("first")


class Trace:
    """The calls of a thread since values were last needed.

    ``path``: its entries so far; ``entry``: the last. Lists by slot: ``values`` (None for a result not computed),
    ``holders`` (the Tensor, for a leaf; a weak reference to it, for a result), ``specs`` (what a result looks like;
    None for a leaf). ``leaves``: the slots of leaves; ``tracked``: those leaves that require a gradient, with their
    slots; ``filled``: the slots of shells that have memory. ``numbers`` are the Python numbers among the operands,
    ``constants`` their nodes, if they were recorded; ``asked`` is the key of the call that is being recorded, and
    ``asked_slots`` how many slots there were before and after its operands got theirs.
    ``put``: by slot of a result that another stands for since then (``PUT``), the slot that this one had.
    ``shared``: by slot of a result that nobody holds any more, the Storage of its aliases.
    ``writes``: by ``id``, the Storages that were changed in place by a call.
    ``ending``: it may end as soon as nobody holds any result.
    ``busy``: Storages are written as part of a point. ``stopped``: the trace was followed or recorded, and is off now.
    ``capture``: what ``minigrad.jit`` is recording; the trace is off meanwhile.
    """

    __slots__ = ("__dict__", "entry", "holders", "leaves", "numbers", "path", "specs", "state", "tag", "tracked",
                 "values")

    # A trace is made at every point, so what most of them never have is the class's.
    asked: list[Any] = NOTHING
    asked_slots = 0, 0
    constants: list[LazyBuffer] = NOTHING
    loose: list[ref[Tensor]] = NOTHING
    filled: set[int] = _NO_SLOTS
    capture: Capture | None = None
    put: dict[int, int] = {}  # noqa: RUF012 (as above)
    shared: dict[int, ref[Any]] = {}  # noqa: RUF012
    writes: dict[int, Change] = {}  # noqa: RUF012
    look_again, most_loose = 16, 64
    busy = ending = let = released = stopped = False

    def __init__(self, root: Entry, state: int = FOLLOW) -> None:
        self.entry = root
        self.state = state
        self.tag = _next_tag()
        self.path: list[Entry] = []
        self.values: list[LazyBuffer | None] = []
        self.holders: list[Any] = []
        self.specs: list[Spec | None] = []
        self.leaves: list[int] = []
        self.tracked: list[tuple[int, Tensor]] = []
        self.numbers: list[Any] = []

    # --- calls

    def follow(self, function: Any, static: Any, tensors: Sequence[Tensor],
               numbers: Sequence[tuple[Any, DType]] = (), how: Any = None) -> list[Tensor] | None:
        """The results of a call that is known to come next. None if it has to be recorded: then ``asked`` is its key,
        for ``note``, unless the trace is off now.

        The key is what tells a call from others. An operand counts as its slot, or, where it is seen first, as what it
        looks like. ``how`` is whether the tape is on, with what else tells calls apart; None if nothing does. ``quick``
        does the same, and has been asked before: what is changed here has to be changed there."""
        key = [function, static, mode.enabled if how is None else how]
        tag, begin = self.tag, len(self.values)
        for t in tensors:
            if t._tag == tag:
                key.append(t._slot)
            else:
                look = self.enter(t)
                if look is None:
                    self.stop("an operand is pending from before, or large memory that NumPy sees")
                    return None
                key.append(look)
        if numbers:
            for value, dtype in numbers:
                key.append(dtype)
                self.numbers.append(value)
        last = self.entry
        known = None if self.state == RECORD else last.next if last.key == key else last.after(key)
        if known is None or known.hopeless or known.first != len(self.values):
            self.asked, self.asked_slots = key, (begin, len(self.values))
            if len(self.path) >= self.look_again and self.is_over():
                return self._anew(function, static, tensors, numbers, how)
            if self.state == FOLLOW:
                self._leave(known, str(function))
            return None
        self.entry = known
        self.path.append(known)
        made = []
        for spec in known.specs:
            shell = _new(Trace.tensor_class)
            shell._tag = tag
            shell._slot = len(self.values)
            shell._spec = spec
            shell._owner = self
            self.values.append(None)
            self.holders.append(ref(shell))
            self.specs.append(spec)
            made.append(shell)
        return made

    def _leave(self, known: Entry | None, name: str) -> None:
        """Record a call that is not the next, or that it does not pay to follow, and those before it."""
        if known is not None and known.hopeless:
            self.stop("")
        else:
            self.diverge(f"{name} was not called here before, or not with such operands" if self.path else "")

    def _anew(self, function: Any, static: Any, tensors: Sequence[Tensor], numbers: Sequence[tuple[Any, DType]],
              how: Any) -> list[Tensor] | None:
        """``follow`` in a new trace."""
        self.let_go()
        thread.begin()
        thread.rounds += 1
        if thread.rounds == ROUNDS and not Trace.quickened:
            Trace.quicken()
        return thread.trace.follow(function, static, tensors, numbers, how)

    def is_over(self) -> bool:
        """Whether nobody holds any result: the program has begun something new. Looked at now and then, when the
        result of the last call is gone."""
        path = self.path
        last = path[-1]
        if last.specs and self.holders[last.first]() is not None:
            return False
        if any([change.count for change in self.writes.values()]):
            return False
        self.look_again = 0 if self.ending else len(path) + len(path) // 4
        return not self.alive()

    def enter(self, t: Tensor) -> int | None:
        """Give a leaf a slot. The number of what it looks like; None if it can't be one."""
        look = look_at(t)
        if look is None:
            return None
        value, slot = look[0], len(self.values)
        if len(look) == 2:
            t._tag, t._slot = self.tag, slot
        value.readers += 1
        if look[1] & 1:
            self.tracked.append((slot, t))
        self.leaves.append(slot)
        self.values.append(value)
        self.holders.append(t)
        self.specs.append(None)
        number: int = look[1]
        return number

    def entry_of(self, slot: int) -> Entry:
        """The call that has its result in a slot."""
        return self.path[bisect_right(self.path, slot, key=_first) - 1]

    def root_of(self, slot: int) -> int:
        """The slot of what has the memory that a view or an alias shows."""
        while (spec := self.specs[slot]) is not None and spec.view is not None:
            slot = self.entry_of(slot).operands[0]
        return slot

    def leaf(self, slot: int) -> Tensor | None:
        """The leaf in a slot."""
        return self.holders[slot] if self.specs[slot] is None else None

    def result(self, slot: int) -> Tensor | None:
        """The result in a slot, if somebody holds it."""
        return None if self.specs[slot] is None else self.holders[slot]()

    def note(self, key: list[Any], entry: Entry, results: Sequence[Tensor], constants: Sequence[LazyBuffer] = (),
             ) -> Entry | None:
        """Remember a call that was recorded, its results and the nodes of its numbers: the call's entry, from the first
        time that it was recorded; None if the trace is off now."""
        if constants:
            self.keep(constants)
        last, values, path = self.entry, self.values, self.path
        first = len(values)
        begin = last.first + len(last.specs)  # the slot of the first operand that was new
        if self.asked is not key or self.asked_slots != (begin, first):
            self.stop("")  # a call has failed after its operands had got slots, or one was made while this one was
            return None
        known = None if last.next is None else last.after(key)
        if known is None:
            if len(path) >= thread.most_calls:
                thread.most_calls = FEWER_CALLS
                self.stop("")
                return None
            if not last.add(key, entry):
                self.stop("")
                return None
            entry.enabled, entry.numbers, entry.first = mode.enabled, len(constants), first
            entry.operands = operands_of(key[3:len(key) - len(constants)], begin)
            entry.specs = specs_of(entry.view, results)
            entry.through = last.through
            if any([spec.requires_grad for spec in entry.specs]):
                entry.through += self._passed(entry.operands)
            known = entry
        self.entry = known
        path.append(known)
        tag = self.tag
        for t, spec in zip(results, known.specs, strict=True):
            t._tag, t._slot = tag, len(values)
            values.append(t._read())
            self.holders.append(ref(t))
            self.specs.append(spec)
        return known

    def _passed(self, operands: Sequence[int]) -> tuple[int, ...]:
        """The operands of a call on the tape that lie there themselves, and are no results of this trace."""
        leaves = [(slot, self.leaf(slot)) for slot in operands]
        return tuple([slot for slot, t in leaves if t is not None and t._source() not in (None, t)])

    def leads_out(self) -> set[int]:
        """The slots from which a gradient goes on to what was before this trace."""
        found = set(self.entry.through)
        for entry in self.path if found else ():
            if not found.isdisjoint(entry.operands):
                found.update([slot for slot, spec in enumerate(entry.specs, entry.first) if spec.requires_grad])
        return found

    def stands(self, t: Tensor, slot: int, now: int) -> None:
        """Remember that a result stands for another one from now on."""
        if not self.put:
            self.put = {}
        self.put[now] = slot
        self.holders[now], self.holders[slot] = self.holders[slot], _nobody
        t._tag, t._slot = self.tag, now

    def wrote(self, storage: Any, t: Tensor, slot: int, before: LazyBuffer | None) -> None:
        """Remember that a call has changed a Storage in place."""
        if not self.writes:
            self.writes = {}
        change = self.writes.get(id(storage))
        if change is None:
            assert before is not None
            self.writes[id(storage)] = Change(storage, t, slot, before)
        else:
            change.slot = slot
            change.count += 1

    def keep(self, constants: Sequence[LazyBuffer]) -> None:
        """Remember the nodes of numbers."""
        if self.constants is NOTHING:
            self.constants = []
        self.constants += constants

    # --- leaving the short cut

    def stop(self, why: str) -> None:
        """Record what was followed so far, and look nothing up until values are needed."""
        with record_lock:  # another thread may be giving a result of this trace what it lacks
            if self.state == FOLLOW:
                self.diverge(why)
            self.state = OFF
            self.stopped = True
            self.count(False)
            self.let_go()
            self.values, self.holders, self.specs, self.leaves = [], [], [], []
            self.writes = {}

    def count(self, good: bool) -> None:
        """Note of all calls so far whether following them paid. That it pays again and again is noted now and then."""
        path = self.path
        if not path:
            return
        last = path[-1]
        if good:
            last.unpaid += 1
            if last.good > UNPAID > last.unpaid:
                return
        paid, last.unpaid = last.unpaid, 0
        for entry in path:
            entry.judge(paid, not good)

    def hold(self, results: Sequence[Tensor]) -> None:
        """While the trace is off: results to compute along, if somebody still holds them when values are needed."""
        if self.capture is not None:
            return
        if len(self.loose) >= self.most_loose or self.loose is NOTHING:
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
        if self.state == RECORD:
            return
        self.state = RECORD
        if why:
            for seen in records:
                seen.recorded.append(why)
            if config.get("DEBUG"):
                config.say(f"*** not the calls of an earlier step, so recorded anew: {why}")
        self.unfold()

    def unfold(self) -> None:
        """Make the graph and the tape behind the shells, from the entries."""
        Trace.unfolder(self)
        Trace.settler(self)

    # ``quick.py`` puts a compiled function here: ``follow`` for a call that is known to come next, None for others
    quick: ClassVar[Callable[..., list[Tensor] | None]] = staticmethod(lambda *call: None)
    quicken: ClassVar[Callable[[], None]]
    quickened: ClassVar[bool] = False

    # ``base.py``, ``pending.py`` and ``points.py`` fill these in, which know Tensors
    tensor_class: ClassVar[type[Tensor]]
    unfolder: ClassVar[Callable[[Trace], None]]
    valued: ClassVar[Callable[[Sequence[Tensor]], bool]]
    settler: ClassVar[Callable[[Trace], None]]
    computer: ClassVar[Callable[[Trace], None]]

    def alive(self) -> tuple[int, ...]:
        """The slots of results that somebody holds."""
        holders, found = self.holders, []
        for slot, spec in enumerate(self.specs):
            if spec is not None and holders[slot]() is not None:
                found.append(slot)
        return tuple(found)

    def let_go(self) -> None:
        """Stop being a reader of the leaves."""
        if not self.let:
            self.let = True
            values = self.values
            for slot in self.leaves:
                values[slot].readers -= 1  # type: ignore[union-attr]

    def end(self, held: bool) -> None:
        """Nothing more is computed from here: if results are held, keep only what their (released) tape names."""
        self.let_go()
        self.values, self.writes = [], {}
        if held:
            self.released = True
            kept, holders = self.kept(), self.holders
            for slot in self.leaves:
                if slot not in kept:
                    holders[slot] = None

    def kept(self) -> set[int]:
        """The leaves that the tape names."""
        return {slot for slot, _ in self.tracked}.union(self.entry.through)


threads: list[bool] = []
several: list[bool] = [True] if config.FREE_THREADED else []
"""Whether a second thread has used Tensors: from then on, recording takes a lock. A list, which is empty or not. Where
threads run at once, the first may be in the middle of a call when the second begins: so it always takes one there."""


class _Thread(threading.local):
    """Each thread has trees of its own, and a trace that grows along one of them."""

    def __init__(self) -> None:
        if threads:
            several.append(True)
        threads.append(True)
        self.forget()

    def forget(self) -> None:
        """Start from a tree in which nothing is known."""
        self.trees: dict[int, dict[str, Entry]] = {}  # by the setting that kernels' results depend on
        self.way = -1  # what it was when the trace began
        self.most_calls = MOST_CALLS
        self.rounds = self.noted = 0
        self.begin()

    def begin(self, after: str = "value") -> None:
        """A new trace. What comes after a ``backward()`` is mostly not what comes after a step: so each kind of point
        has a tree of its own, in which a loop finds its next call at once."""
        way = config.get("WINOGRAD")
        if way != self.way:
            self.way = way
            self.roots = self.trees.setdefault(way, {"value": Entry(), "backward": Entry(), "update": Entry()})
            self.root = self.roots["value"]
        self.trace = Trace(self.roots[after], FOLLOW if config.replays() and not mode.watched else OFF)

    def turn(self) -> None:
        """Leave the tree: what comes is computed in another way."""
        if self.trace.path:
            self.trace.stop("a setting has changed that kernels are made by")
        elif self.trace.capture is None:
            self.begin()

    def watch(self) -> None:
        """Begin a block in which every call is recorded: what was followed so far, and what comes."""
        if self.trace.path:
            self.trace.stop("each call is watched")
        self.trace.state = OFF
        mode.watched += 1

    @contextmanager
    def aside(self) -> Iterator[None]:
        """A block whose calls are no part of the trace."""
        before, self.trace = self.trace, Trace(self.root, OFF)
        try:
            yield
        finally:
            self.trace = before


thread = _Thread()


Front.watch = staticmethod(lambda: thread.watch())
