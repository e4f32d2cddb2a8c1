"""Stage: front. In: a function and the arguments of one call. Out: its results, computed in one run, and the
``Program`` that does the same again, if there is one.
Next: ``update.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import ref

from minigrad.autograd.node import is_open
from minigrad.engine import Run, failed, realise
from minigrad.engine.walk import Pending, walk
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.lines import calls_of
from minigrad.jit.program import Made, Place, Program, Source, Value
from minigrad.jit.surroundings import Surroundings
from minigrad.jit.trees import carry_over, fill, flatten, is_plain, statics
from minigrad.jit.writer import copied
from minigrad.ops import Op
from minigrad.tensor import Tensor
from minigrad.tensor.aliases import aliased, arguments_of, plain_alias
from minigrad.tensor.base import made
from minigrad.tensor.capture import Capture
from minigrad.tensor.storage import donated

Known = tuple[Place, LazyBuffer, Any]
"""A place, the leaf that was read for the value there, and that value's shape, dtype and strides."""


@dataclass(frozen=True, eq=False)
class Given:
    """What a function is called with: positional and named arguments, the structure of both, and the Tensors in it."""

    values: tuple[tuple[Any, ...], dict[str, Any]]
    structure: Any
    tensors: Sequence[Tensor]


class Recording:
    """One call of a function. ``result``: what it returned; ``program``: what does the same again; without one,
    ``problem`` says why, or ``open``, that the tape behind its results is still needed, or ``changed``, which variable
    it changed. ``error``: what the call has raised as a program; it is only recorded then (``failed``)."""

    def __init__(self, name: str, function: Callable[..., Any], given: Given, around: Surroundings,
                 donate: Sequence[int], error: Exception | None = None) -> None:
        self.arguments, self.around, self.donate = given.tensors, around, donate
        self.inner = _stand_ins(given.tensors)
        self.problem = around.problem
        self.changed: str | None = None
        self.program: Program | None = None
        self._find_places()
        self._seen_through = [(t._storage, t._view) for t in self.inner]
        capture = self.capture = Capture(name)
        try:
            inner = fill(given.structure, iter(self.inner))
            with capture:
                returned = function(*inner[0], **inner[1])
            self._find_copies()
            self._find_results(returned)
            self.changed = around.difference()
            with failed(error):
                runs = self._compute()
        except BaseException:
            capture.undo()
            for tensor, _, gradient in self.owners:
                tensor._grad = gradient
            raise
        self.final = {id(s): s.lazy for s, _ in capture.written.values()}
        self._carry_out()
        self._carry_over(given, inner)
        if not (self.problem or self.open or self.changed):
            try:
                self.program = self._program(runs)
            except _Unrepeatable as why:
                self.problem = str(why)
        self.result = self._returned()
        self._carry_shapes()

    # --- what is outside

    def _find_places(self) -> None:
        """Where each value lives that the function may read: ``places`` by Storage, ``leaf_at`` by value, and
        ``memory_at`` by memory. Values that are pending are computed."""
        tensors = self.around.tensors
        self.owners = [(t, Place(Place.GRADIENT, t), t._grad) for t in tensors] + [
            (t, Place(Place.GRADIENT, i), t._grad) for i, t in enumerate(self.inner) if t is self.arguments[i]]
        storages = [(s, Place(Place.HELD, s)) for s in self.around.storages]
        storages += [(t._storage, Place(Place.ARGUMENT, i)) for i, t in enumerate(self.inner)]
        storages += [(g._storage, place) for _, place, g in self.owners if g is not None]
        realise([s.lazy for s, _ in storages if s.lazy.buffer is None and s.lazy.op != Op.SCALAR])
        self.places: dict[int, Place] = {}
        self.leaf_at: dict[int, Known] = {}
        self.memory_at: dict[int, list[Known]] = {}
        for storage, place in storages:
            if id(storage) not in self.places:
                self.places[id(storage)] = place
                lazy = storage.lazy
                if id(lazy.buffer) in self.memory_at and lazy.buffer is not None and not lazy.buffer.exported:
                    storage.put(copied(lazy))  # so that the leaves tell which of two equal values was read
                self._note(storage.lazy, place, storage.lazy)

    def _note(self, leaf: LazyBuffer, place: Place, value: LazyBuffer) -> None:
        """The function reads ``leaf`` for the ``value`` at a place."""
        known = place, leaf, (value.shape, value.dtype, value.arg)
        self.leaf_at.setdefault(id(leaf), known)
        self.memory_at.setdefault(id(leaf.buffer), []).append(known)

    def _find_copies(self) -> None:
        """The copies that were read in place of memory that NumPy sees are at the place of that memory; those of memory
        that was made in the function are like its constants."""
        self.made_of: dict[int, Any] = {}
        for lazy, (copy, storage) in self.capture.copies.items():
            place = self.places.get(id(storage))
            if place is None:
                self.made_of[id(copy.buffer)] = storage
            elif lazy.arg is None:
                self._note(copy, place, lazy)
            else:
                self.problem = "it reads memory of NumPy that is not contiguous"

    def _find_results(self, returned: Any) -> None:
        """What it returned, and the gradients it made."""
        self.results: list[Tensor] = []
        self.structure = flatten(returned, self.results)
        returned_on = {id(t._storage) for t in self.results}
        self.donate = [i for i in self.donate if id(self.inner[i]._storage) not in returned_on]
        self._find_reshaped()
        self.new_gradients = [(place, t._grad) for t, place, g in self.owners if t._grad is not g]
        new = next((v for v in statics(self.structure) if not is_plain(v) and not self.around.reaches(v)), None)
        if new is not None:
            self.problem = (f"it returns a {type(new).__name__}, of which there is only the one that was recorded: "
                            "return tensors in tuples, lists, dictionaries or dataclasses")
        self.open = any([is_open(t._source()) for t in self.results])
        if not self.open:  # a tape that was used up is of no use
            outside = {id(t) for t in (*self.around.tensors, *self.inner)}
            for tensor in self.results:
                if id(tensor) not in outside and tensor._edge is not None:
                    tensor._edge, tensor._requires_grad = None, False

    def _find_reshaped(self) -> None:
        """The arguments that have become other memory, or another view of theirs."""
        self.reshaped = [i for i, (t, (storage, view)) in enumerate(zip(self.inner, self._seen_through, strict=True))
                         if t._storage is not storage or t._view is not view]
        if self.reshaped:
            self.donate = [i for i in self.donate if i not in self.reshaped]
            self.problem = ("it gives an argument another shape or other memory, which only Python code can do: "
                            "return it")

    # --- the run

    def _compute(self) -> list[Run]:
        """Compute everything that the function wrote or returned."""
        drawn = [leaf for _, leaves in self.capture.before for leaf in leaves]
        self.drawn_at = {id(leaf): i for i, leaf in enumerate(drawn)}
        self.kept: dict[int, LazyBuffer] = {}
        wanted = [s.lazy for s, _ in self.capture.written.values()]
        wanted += [g._storage.lazy for _, g in self.new_gradients if g is not None]
        if not self.open:
            wanted += [t._storage.lazy for t in self.results]
        wanted = [lazy for lazy in dict.fromkeys(wanted) if lazy.buffer is None]
        if not wanted:
            return []
        pending = walk(wanted)
        if pending.host:
            node = pending.host[0]
            self.problem = f"it needs {node.arg[0] if node.op == Op.HOST else node.op}, which no kernel computes"
        self.numbers = [c.arg for c in pending.constants]  # one that is a result is memory after the run
        for leaf in pending.leaves:
            if self._is_constant(leaf):
                self._keep(leaf)
        for i in self.donate:
            storage = self.inner[i]._storage
            if id(storage) not in self.capture.written:
                storage.put(donated(storage.lazy))
        self.calls = calls_of(wanted)
        watch: list[Run] = []
        realise(wanted, watch)
        if len(watch) != 1 and not self.problem:
            self.problem = "it computes on several devices, or on the NUMPY device"
        return watch

    def _is_constant(self, leaf: LazyBuffer) -> bool:
        """Whether a leaf was made while the function ran."""
        return id(leaf) not in self.drawn_at and id(leaf) not in self.leaf_at and id(leaf.buffer) not in self.memory_at

    def _keep(self, leaf: LazyBuffer) -> None:
        """A constant is read at each call, whoever changes what was made of it."""
        if id(leaf) not in self.kept:
            self.kept[id(leaf)] = leaf
            leaf.owners += 1

    def _carry_out(self) -> None:
        """Change what is outside: arguments, of which the function saw copies, and memory that NumPy sees."""
        for storage, old in self.capture.written.values():
            place = self.places.get(id(storage))
            if place is None:
                continue
            if place.kind == Place.ARGUMENT and self.inner[place.what] is not self.arguments[place.what]:
                self.arguments[place.what]._replace(storage.lazy)
            elif old.buffer is not None and old.buffer.exported:
                lazy = storage.lazy
                storage.put(old)
                storage._write_through(lazy)
        for outer, inner in zip(self.arguments, self.inner, strict=True):
            if inner is not outer and (inner._requires_grad or inner._grad is not None) and inner._edge is None:
                outer._requires_grad, outer._grad = inner._requires_grad, inner._grad
                self.problem = "it makes an argument require a gradient, which only Python code can do"
        for i in self.donate:
            outside = self.arguments[i]._storage
            outside.put(donated(outside.lazy))

    def _carry_over(self, given: Given, inner: Any) -> None:
        """Change the lists and dictionaries among the arguments as the function has changed its copies of them."""
        tensors: list[Tensor] = []
        structure = flatten(inner, tensors)
        if structure != given.structure or any([a is not b for a, b in zip(tensors, self.inner, strict=True)]):
            carry_over(inner, given.values, self._outer)
            self.problem = "it changes a list or dictionary that it is given, which only Python code can do: return it"

    def _carry_shapes(self) -> None:
        """Let arguments, of which the function saw copies, become what those have become."""
        others = {i: self._shown(self.inner[i]) for i in self.reshaped if self.inner[i] is not self.arguments[i]}
        for i, other in others.items():
            self.arguments[i]._become(other)

    def _returned(self) -> Any:
        """The results as the caller sees them."""
        return fill(self.structure, iter([self._outer(t) for t in self.results]))

    def _outer(self, result: Tensor) -> Tensor:
        """What stands for a result outside: the argument, or an alias of it, in place of its copy."""
        i = self._argument_of(result)
        return self.arguments[i] if i is not None and result is self.inner[i] else self._shown(result)

    def _shown(self, inner: Tensor) -> Tensor:
        """The alias of an argument that stands for one of its copy."""
        i = self._argument_of(inner, aliases_only=True)
        if i is None:
            return inner
        view = inner._view
        return plain_alias(self.arguments[i]) if view is None else aliased(self.arguments[i], arguments_of(view))

    def _argument_of(self, result: Tensor, aliases_only: bool = False) -> int | None:
        """The number of the argument that a result is, or is an alias of."""
        for i, (t, (storage, _)) in enumerate(zip(self.inner, self._seen_through, strict=True)):
            if (t is result and not aliases_only) or (
                    storage is result._storage and t is not self.arguments[i]):
                return i
        return None

    # --- the program

    def _program(self, runs: Sequence[Run]) -> Program:
        capture = self.capture
        program = Program(structure=self.structure, before=[compute for compute, _ in capture.before],
                          after=capture.after, donated=self.donate)
        self.result_at: dict[int, int] = {}
        if runs:
            program.calls = self.calls
            self._take_run(program, *runs[0])
        self.values: dict[int, Value] = {}
        self._take_writes(program)
        how: dict[int, Made] = {}
        for place, gradient in self.new_gradients:
            program.gradients.append((place, None if gradient is None else self._made(program, gradient, how)))
        program.results = [self._made(program, t, how) for t in self.results]
        return program

    def _take_run(self, program: Program, pending: Pending, executable: Any) -> None:
        program.executable, program.device = executable, pending.device
        self.result_at = {id(r): i for i, r in enumerate(pending.results)}
        program.sources = [self._source(leaf) for leaf in pending.leaves]
        program.taken = len(pending.leaves)
        program.dead = [i for i, d in enumerate(pending.dead) if d]
        constants = self.numbers
        if executable.tier == 0:
            first = len(constants)
            program.numbers = constants + [s.value for s in pending.scalars]
        else:
            first = 0
            program.numbers = [s.value for s in pending.scalars] + [constants[i] for i in executable.recipe.free]
        scalars: list[Any] = []
        for i, node in enumerate(pending.scalars, first):
            if id(node) in self.drawn_at:
                program.computed.append((i, self.drawn_at[id(node)]))
                scalars.append(self.drawn_at[id(node)])
            elif id(node) in self.leaf_at:
                program.watched.append((i, self.leaf_at[id(node)][0].what))
                scalars.append(id(program.watched[-1][1]))
            else:
                scalars.append(repr(node.value))
        program.key = pending.graph, [repr(number) for number in self.numbers], scalars

    def _source(self, leaf: LazyBuffer) -> Source:
        if id(leaf) in self.drawn_at:
            return Source(Source.DRAWN, self.drawn_at[id(leaf)])
        found = self.leaf_at.get(id(leaf))
        if found is None:
            several = self.memory_at.get(id(leaf.buffer), [])
            if not several:
                self._keep(leaf)
                return Source(Source.CONSTANT, leaf, made_of=self.made_of.get(id(leaf.buffer), leaf))
            if len(several) > 1:
                raise _Unrepeatable("two of the tensors that it reads share memory")
            found = several[0]
        place, whole, look = found
        return Source(place.kind, place, leaf.offset - whole.offset, look)

    def _value(self, program: Program, storage: Any) -> Value:
        """The value of a Storage after the run."""
        known = self.values.get(id(storage))
        if known is not None:
            return known
        lazy = self.final.get(id(storage), storage.lazy)
        number = self.result_at.get(id(lazy))
        kind = Value.RESULT
        if number is None:
            if id(lazy) not in self.leaf_at and id(lazy) not in self.drawn_at and id(lazy.buffer) in self.memory_at:
                raise _Unrepeatable("it returns a part of a tensor from outside")
            kind, number = Value.LEAF, len(program.sources)
            program.sources.append(self._source(lazy))
        made_of = self.values[id(storage)] = Value(kind, number, lazy.shape, lazy.dtype, lazy.device)
        return made_of

    def _take_writes(self, program: Program) -> None:
        given_out = {id(t._storage) for t in self.results}
        given_out |= {id(g._storage) for _, g in self.new_gradients if g is not None}
        unknown = []
        for storage, _ in self.capture.written.values():
            place = self.places.get(id(storage))
            if place is not None:
                program.writes.append((place, self._value(program, storage)))
            elif id(storage) not in given_out:
                unknown.append(ref(storage))
        storage = None  # type: ignore[assignment]
        self.capture.written.clear()
        if any([r() is not None for r in unknown]):
            raise _Unrepeatable("it changes a tensor that minigrad.jit can't find from the function")

    def _made(self, program: Program, tensor: Tensor, how: dict[int, Made]) -> Made:
        known = how.get(id(tensor))
        if known is None:
            known = how[id(tensor)] = self._how(program, tensor)
        return known

    def _how(self, program: Program, tensor: Tensor) -> Made:
        argument = self._argument_of(tensor)
        if argument is not None:
            view = tensor._view
            return Made(same=argument, alias=tensor is not self.inner[argument],
                        view=None if view is None or tensor is self.inner[argument] else arguments_of(view))
        if any([t is tensor for t in self.around.tensors]):
            return Made(tensor=tensor)
        for owner, place, gradient in self.owners:
            if gradient is tensor and owner._grad is tensor:
                return Made(place=place)
        if type(tensor) is not Tensor:
            raise _Unrepeatable(f"it returns a new {type(tensor).__name__}")
        place_there = self.places.get(id(tensor._storage))
        if place_there is not None and place_there.kind == Place.HELD:
            return Made(tensor=plain_alias(tensor), alias=True)
        value, view = self._value(program, tensor._storage), tensor._view
        requires_grad = tensor._requires_grad and tensor._edge is None
        if view is None:
            return Made(value=value, requires_grad=requires_grad)
        return Made(value=value, view=arguments_of(view), requires_grad=requires_grad)


class _Unrepeatable(Exception):
    """Why what a function did can't be done again as a program. It ran as it should."""


def _stand_ins(arguments: Sequence[Tensor]) -> list[Tensor]:
    """What the function sees: those arguments that require or have a gradient themselves, and copies of the others, so
    that no two leaves have the same memory."""
    seen: dict[int, Tensor] = {}
    for t in arguments:
        if id(t) not in seen:
            seen[id(t)] = t if t._requires_grad or t._grad is not None else made(copied(value_of(t)))
    return [seen[id(t)] for t in arguments]


def value_of(tensor: Tensor) -> LazyBuffer:
    """The value of an argument, in memory and contiguous."""
    lazy = tensor._storage.lazy
    if tensor._view is None and lazy.buffer is not None and lazy.arg is None:
        return lazy  # NumPy may see it: it is read in the run, which comes at once
    lazy = tensor._read()
    if lazy.buffer is None or lazy.arg is not None:
        lazy = lazy.contiguous()
        realise([lazy])
    return lazy
