"""Stage: front. In: a ``Program``. Out: a Python function that does what the program says, with no loop and no question
that the recording has answered: it runs at every call.
Next: ``variant.py``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.engine import realise
from minigrad.graph.lazy import LazyBuffer
from minigrad.jit.program import Made, Place, Program, Source, Value
from minigrad.jit.trees import TENSOR, fill
from minigrad.tensor import Tensor
from minigrad.tensor.aliases import aliased, plain_alias, plain_view
from minigrad.tensor.base import made, made_of
from minigrad.tensor.storage import donated
from minigrad.tensor.written import Written

Call = Callable[[Sequence[Tensor], Sequence[LazyBuffer]], Any]
"""Takes the arguments and their values; changes what the function changes and returns what it returns. If a leaf is not
what it was like, it returns ``OTHERWISE`` before anything has changed."""

OTHERWISE = object()


class Writer(Written):
    """Writes a program as a function."""

    def __init__(self, program: Program) -> None:
        super().__init__("call(arguments, values)", OTHERWISE=OTHERWISE, aliased=aliased, copied=copied,
                         differs=differs, donated=donated, fill=fill, made=made, made_of=made_of,
                         plain_alias=plain_alias, plain_view=plain_view, private=private)
        self.program = program
        self._results: list[str] = []
        self._tensors: dict[Any, str] = {}
        self._write_leaves()
        self._write_run()
        self._write_shared_values()
        gradients = [("None" if how is None else self._tensor(how), place) for place, how in program.gradients]
        results = [self._tensor(how) for how in program.results]
        self._write_writes()
        self.lines += [f"{self._owner(place)}._grad = {gradient}" for gradient, place in gradients]
        self.lines += [f"{self.name('count', count)}()" for count in program.after]
        for i in program.donated:
            self.lines += [f"if arguments[{i}]._view is None:  # else its memory is not only its own",
                           f"    storage = arguments[{i}]._storage", "    storage.put(donated(storage.lazy))"]
        if program.structure is TENSOR:
            self.lines.append(f"return {results[0]}")
        else:
            listed = "".join([f"{result}, " for result in results])
            self.lines.append(f"return fill({self.name('structure', program.structure)}, iter(({listed})))")

    def _owner(self, place: Place) -> str:
        """The Tensor whose gradient is at a place."""
        return f"arguments[{place.what}]" if type(place.what) is int else self.name("owner", place.what)

    def _storage(self, place: Place) -> str:
        if place.kind == Place.HELD:
            return self.name("storage", place.what)
        if place.kind == Place.ARGUMENT:
            return f"arguments[{place.what}]._storage"
        return f"{self._owner(place)}._grad._storage"

    # --- before the run

    def _write_leaves(self) -> None:
        lines, drawn = self.lines, []
        for i, source in enumerate(self.program.sources):
            kind, what = source.kind, source.what
            if kind == Place.ARGUMENT:
                lines.append(f"leaf{i} = values[{what.what}]")
            elif kind == Source.CONSTANT:
                self.space[f"leaf{i}"] = what
            elif kind == Source.DRAWN:
                drawn.append(f"leaf{i} = again[{what}]")
            else:
                if kind == Place.GRADIENT:
                    owner = self._owner(what)
                    lines.append(f"if {owner}._grad is None or {owner}._grad._view is not None: return OTHERWISE")
                shape, dtype, strides = source.look
                test = f"leaf{i}.buffer is None or leaf{i}.shape != {shape} or leaf{i}.arg {_is(strides)}"
                look = self.name("look", source.look)
                lines += [f"leaf{i} = {self._storage(what)}.lazy",
                          f"if ({test} or leaf{i}.dtype is not {self.name('dtype', dtype)}) and "
                          f"differs(leaf{i}, {look}): return OTHERWISE"]
        for _, storage in self.program.watched:
            lines.append(f"if {self.name('storage', storage)}.lazy.op != 'SCALAR': return OTHERWISE")
        if self.program.executable is not None and self.program.executable.tier == 0:
            lines.append(f"if not {self.name('executable', self.program.executable)}.account(): return OTHERWISE")
        if self.program.before:
            lines.append("again = []")
            for compute in self.program.before:
                lines += [f"numbers = {self.name('compute', compute)}()", "if numbers is None: return OTHERWISE",
                          "again += numbers"]
        lines += drawn

    def _write_run(self) -> None:
        program, lines = self.program, self.lines
        if program.executable is None:
            return
        dead = set(program.dead)
        buffers, addresses = [], []
        for i, source in enumerate(program.sources[:program.taken]):
            lines.append(f"buffer{i} = leaf{i}.buffer")
            address = f"buffer{i}.address + leaf{i}.offset" + (f" + {source.shift}" if source.shift else "")
            if i in dead:
                address = f"address{i}"
                lines.append(f"address{i} = buffer{i}.address")
                test = self._test_of_others(i, source)
                lines += [f"if {test}:", f"    buffer{i} = copied(leaf{i}).buffer",
                          f"    address{i} = buffer{i}.address"]
            buffers.append(f"buffer{i}")
            addresses.append(address)
        numbers = [repr(number) if type(number) in (int, float, bool) and math.isfinite(number) else
                   self.name("number", number) for number in program.numbers]
        for position, i in program.computed:
            numbers[position] = f"again[{i}]"
        for position, storage in program.watched:
            numbers[position] = f"{self.name('storage', storage)}.lazy.value"
        self._results = self.write_run(program.executable, buffers, addresses, numbers, program.device)

    @staticmethod
    def _test_of_others(i: int, source: Source) -> str:
        """Whether others than the place where it is held can read a leaf, which the run overwrites."""
        if source.kind == Source.CONSTANT:
            return "True"
        test = (f"leaf{i}.owners > 1 or leaf{i}.readers or leaf{i}.offset or buffer{i}.exports or "
                f"(buffer{i}.views and buffer{i}.is_shared)")
        return f"arguments[{source.what.what}]._view is not None or {test}" if source.kind == Place.ARGUMENT else test

    # --- after it

    def _write_shared_values(self) -> None:
        """Results that several places hold, as ``clone()`` leaves them, are one value: so each knows of the others."""
        made = [how.value for how in (*[how for _, how in self.program.gradients if how is not None],
                                      *self.program.results) if how.value is not None]
        values = dict.fromkeys([*[value for _, value in self.program.writes], *made])
        results = [value for value in values if value.kind == Value.RESULT]
        holders = Counter([value.number for value in results])
        self._shared = {value.number: value for value in results if holders[value.number] > 1}
        for number, value in self._shared.items():
            self.lines.append(f"value{number} = LazyBuffer.from_buffer({self._parts(value)})")

    def _lazy(self, value: Value) -> str | None:
        """The name of a value; None if it is still to be made of a result."""
        if value.kind == Value.LEAF:
            return f"private(leaf{value.number})"
        return f"value{value.number}" if value.number in self._shared else None

    def _parts(self, value: Value) -> str:
        return f"{self._results[value.number]}, {value.shape}, {self.name('dtype', value.dtype)}, {value.device!r}"

    def _tensor(self, how: Made) -> str:
        """The Tensor that is made or found this way; the lines that make it."""
        known = self._tensors.get(how)
        if known is not None:
            return known
        value = how.value
        if value is None:
            if how.same >= 0:
                argument = f"arguments[{how.same}]"
                if how.view is not None:
                    return f"aliased({argument}, {self.name('view', how.view)})"
                return f"plain_alias({argument})" if how.alias else argument
            if how.place is not None:
                return f"{self._owner(how.place)}._grad"
            tensor = self.name("outside", how.tensor)
            return f"plain_alias({tensor})" if how.alias else tensor
        name = self._tensors[how] = f"tensor{len(self._tensors)}"
        base = self._tensors.get(value)
        if base is None:
            base = name
            lazy = self._lazy(value)
            self.lines.append(f"{name} = made_of({self._parts(value)})" if lazy is None else f"{name} = made({lazy})")
            self._tensors[value] = name
        elif how.view is None:
            self.lines.append(f"{name} = plain_alias({base})")
        if how.view is not None:
            self.lines.append(f"{name} = plain_view({base}, *{self.name('view', how.view)})")
        if how.requires_grad:
            self.lines.append(f"{name}._requires_grad = True")
        return name

    def _write_writes(self) -> None:
        for place, value in self.program.writes:
            known = self._lazy(value)
            lazy = f"LazyBuffer.from_buffer({self._parts(value)})" if known is None else known
            storage = self._storage(place)
            write = f"{storage}.write({lazy})"
            if place.kind == Place.ARGUMENT:
                self.lines.append(f"arguments[{place.what}]._replace({lazy})")
            elif known is not None:
                self.lines.append(write)
            else:  # mostly the memory of the old contents, which nobody else could read
                result = self._results[value.number]
                self.lines += [f"if {storage}.lazy.buffer is {result}: {storage}.version += 1", f"else: {write}"]
                if value.dtype.is_int:  # indexes, whose bounds may be known
                    self.lines.append(f"Buffer.noted.pop({result}, None)")


def _is(strides: tuple[int, ...] | None) -> str:
    return "is not None" if strides is None else f"!= {strides}"


def differs(leaf: LazyBuffer, look: Any) -> bool:
    """Whether a value has not the shape, dtype and strides that were recorded. It is computed if it was pending."""
    if leaf.buffer is None:
        realise([leaf])
    return (leaf.shape, leaf.dtype, leaf.arg) != look


def private(leaf: LazyBuffer) -> LazyBuffer:
    """A value that stays as it is: a copy, if NumPy sees its memory."""
    return copied(leaf) if leaf.buffer.exports else leaf


def copied(leaf: LazyBuffer) -> LazyBuffer:
    """A copy of a contiguous value."""
    copy = leaf.buffer.copy(leaf.size * leaf.dtype.size, leaf.offset)
    return LazyBuffer.from_buffer(copy, leaf.shape, leaf.dtype, leaf.device)
