"""Stage: front. In: a ``Point`` that has run again and again. Out: a function that does all that its place asks for:
looks whether this is the place, runs, hands out the results and begins the next trace. ``points.py`` does the same for
other points, and says it in general.
Next: ``written.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad.engine import previews
from minigrad.ops import Op
from minigrad.tensor.base import made, made_of, put_memory
from minigrad.tensor.point import GRADIENT, NUMBER, VALUE, Point, Where, fill, number_of, seen_through
from minigrad.tensor.replay import FOLLOW, UNPAID, Trace, thread
from minigrad.tensor.written import Written


def written_again(point: Point, place: Any, trace: Trace) -> Callable[[Trace, Any], bool] | None:
    """The function for a point that may run in this trace at this place: ``("value", slots, alive)`` of what was asked
    for, or ``("backward", slot, alive, gradients)``. It takes the trace and what is asked for; if anything is not as it
    was here, it returns False and has done nothing. None where there are hooks, gradients that are no memory, or leaves
    that may be overwritten."""
    if point.dead or point.opens or not _computes_changes(point, trace):
        return None
    if place[0] == "backward":
        gradients, unhooked = place[3][::2], place[3][1::2]
        if not all(unhooked) or any([has not in (None, True) for has in gradients]):
            return None
    return _Writer(point, place, trace).function()


def _computes_changes(point: Point, trace: Trace) -> bool:
    """Whether all Storages that calls have changed get their values here."""
    made = {slot for what, slot in point.results if what == VALUE}
    return all([change.slot in made for change in trace.writes.values()])


class _Writer(Written):
    def __init__(self, point: Point, place: Any, trace: Trace) -> None:
        super().__init__("again(trace, asked)", FOLLOW=FOLLOW, Trace=Trace, fill=fill, made=made, made_of=made_of,
                         number_of=number_of, previews=previews, put_memory=put_memory,
                         seen_through=seen_through, thread=thread)
        self.point, self.trace = point, trace
        self.alive: tuple[int, ...] = place[2]
        self._write_place(place)
        self._write_run()
        self._write_results()
        self._write_end(place)

    def _refuse_if(self, *conditions: str) -> None:
        if conditions:
            self.lines.append(f"if {' or '.join(conditions)}: return False")

    # --- before the run

    def _write_place(self, place: Any) -> None:
        trace = self.trace
        self._refuse_if("previews", "not quiet() and (setting('DEBUG') or setting('STEPS') or not setting('REPLAY'))",
                        f"len(trace.leaves) != {len(trace.leaves)}")
        if place[0] == "backward":
            self._refuse_if(f"asked._tag != trace.tag or asked._slot != {place[1]}")
        else:
            self._refuse_if(f"len(asked) != {len(place[1])}")
            for i, slot in enumerate(place[1]):
                self._refuse_if(f"asked[{i}]._owner is not trace", f"asked[{i}]._slot != {slot}")
        self.lines += ["values = trace.values", "holders = trace.holders"]
        self.lines += [f"shell{slot} = holders[{slot}]()" for slot in self.alive]
        self._refuse_if(*[f"shell{slot} is None" if slot in self.alive else f"holders[{slot}]() is not None"
                          for slot, spec in enumerate(trace.specs) if spec is not None])
        if place[0] == "backward":
            self.had = {slot: has for (slot, _), has in zip(trace.tracked, place[3][::2], strict=True)}
            for slot, has in self.had.items():
                self._write_gradient(slot, has)
        for what, i, number in self.point.fixed:
            now = f"trace.numbers[{i}]" if what == NUMBER else f"number_of(values[{i}])"
            self._refuse_if(f"repr({now}) != {number!r}")
        self._refuse_if(*[f"{self._value(one)} is not {self._value(other)}" for one, other in self.point.same])

    @staticmethod
    def _value(at: Where) -> str:
        return f"values[{at[1]}]" if at[0] == VALUE else f"given{at[1]}"

    def _write_gradient(self, slot: int, has: bool | None) -> None:
        """The leaf in a slot has a gradient, or none."""
        leaf, gradient, given = f"leaf{slot}", f"gradient{slot}", f"given{slot}"
        self.lines.append(f"{leaf} = holders[{slot}]")
        if not has:
            self._refuse_if(f"{leaf}._grad is not None", f"{leaf}._hooks")
            return
        self.lines.append(f"{gradient} = {leaf}._grad")
        self._refuse_if(f"{gradient} is None", f"{leaf}._hooks", f"{gradient}._view is not None")
        self.lines.append(f"{given} = {gradient}._storage.lazy")
        self._refuse_if(f"{given}.op == {Op.CONST!r}", f"{given}.arg is not None", f"{given}.buffer is None",
                        f"{given}.buffer.exports")
        like: Any = self.trace.values[slot]  # the leaf may have been another when it got its gradient
        self._refuse_if(f"{given}.shape != {like.shape}", f"{given}.dtype is not {self.name('dtype', like.dtype)}")

    def _write_run(self) -> None:
        point, lines = self.point, self.lines
        buffers, addresses = [], []
        for i, (what, slot) in enumerate(point.leaves):
            if what == GRADIENT:
                lines.append(f"value{i} = given{slot}")
            elif self.trace.specs[slot] is None:
                lines.append(f"value{i} = values[{slot}]")
            else:
                lines.append(f"value{i} = values[{slot}] or seen_through(trace, {slot})")
                self._refuse_if(f"value{i} is None", f"value{i}.buffer is None")
            lines.append(f"buffer{i} = value{i}.buffer")
            buffers.append(f"buffer{i}")
            addresses.append(f"buffer{i}.address + value{i}.offset")
        if point.executable.tier == 0:
            self._refuse_if(f"not {self.name('executable', point.executable)}.account()")
        numbers = [f"trace.numbers[{x}]" if what == NUMBER else f"number_of(values[{x}])" if what == VALUE else
                   self.name("number", x) for what, x in point.numbers]
        self.results = self.write_run(point.executable, buffers, addresses, numbers, point.device, silent=True)

    # --- after it

    def _write_results(self) -> None:
        """Gradients go to their leaves. A value is kept for what comes, unless nothing does but its shell."""
        point, trace = self.point, self.trace
        made = {slot for what, slot in point.results if what == VALUE}
        self.simple = point.after is None and not trace.filled and not trace.writes and all(
            [slot in made and spec is not None and spec.view is None and slot not in trace.put
             for slot in self.alive for spec in (trace.specs[slot],)])
        for (what, slot), (shape, dtype, look), buffer in zip(point.results, point.types, self.results, strict=True):
            parts = f"{buffer}, {shape}, {self.name('dtype', dtype)}, {point.device!r}"
            if what == VALUE:
                if not self.simple:
                    self.lines.append(f"values[{slot}] = LazyBuffer.from_buffer({parts})")
                elif slot in self.alive:
                    self.lines.append(f"put_memory(shell{slot}, {parts})")
            elif self.had[slot]:
                self.lines += ["trace.busy = True", f"gradient{slot}._replace(LazyBuffer.from_buffer({parts}))"]
            else:
                self.lines += [f"leaf{slot}._grad = new = made_of({parts})", f"new._look = new._storage.lazy, {look}"]
        for slot, first in point.twins:
            self.lines += [f"leaf{slot}._grad = new = made(leaf{first}._grad._storage.lazy)",
                           f"new._look = leaf{first}._grad._look"]

    def _write_end(self, place: Any) -> None:
        trace, lines = self.trace, self.lines
        if not self.simple:
            lines.append(f"held = fill(trace, {self.alive})")
            self._write_count()
            if self.point.after is not None:
                lines.append(f"trace.entry = {self.name('after', self.point.after)}")
            else:
                lines.append("trace.end(held)")
                self._write_next(place[0])
            filled = [f"{slot} in trace.filled" for slot in place[1]] if place[0] == "value" else []
            lines.append(f"return {' and '.join(filled) or True}")
            return
        held = False
        for slot in self.alive:
            spec, shell = trace.specs[slot], f"shell{slot}"
            if spec is not None and spec.requires_grad:
                held = True
            else:
                lines += [f"{shell}._edge = {shell}._spec = {shell}._owner = None", f"{shell}._requires_grad = False"]
        self._write_count()
        lines += [f"values[{slot}].readers -= 1" for slot in trace.leaves]
        lines.append("trace.let = True")
        if held:  # it has to show its tape
            lines += [f"trace.filled = {set(self.alive)}", "trace.released = True", "trace.values = []"]
            lines += [f"holders[{slot}] = None" for slot in trace.leaves if slot not in trace.kept()]
        self._write_next(place[0])
        lines.append("return True")

    def _write_count(self) -> None:
        """``Trace.count``, where nothing but one number changes."""
        entry = self.name("entry", self.trace.path[-1])
        self.lines += [f"if {entry}.good > {UNPAID} > {entry}.unpaid + 1: {entry}.unpaid += 1",
                       "else: trace.count(True)"]

    def _write_next(self, after: str) -> None:
        root = self.name("root", thread.roots[after])
        self.lines.append(f"thread.trace = Trace({root}, FOLLOW)")
