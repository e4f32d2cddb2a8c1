"""Stage: front. In: a ``Program`` and the ``Surroundings`` in which it was recorded. Out: ``Variant``, which knows when
the program may run, and runs it.
Next: ``recording.py``."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from minigrad.errors import IndexOutOfRange
from minigrad.graph.lazy import LazyBuffer
from minigrad.graph.lines import with_lines
from minigrad.jit.program import Program
from minigrad.jit.surroundings import Surroundings
from minigrad.jit.writer import Call, Writer
from minigrad.tensor import Tensor


class Variant:
    """A program, and when it may run: if ``around`` is as it was, and the gradients of its ``owners`` are there or not
    as they were. It is ``ready`` when a second recording did the same; ``differed`` counts those that did not.
    ``program`` is None for a call whose results need the tape."""

    __slots__ = ("_call", "around", "differed", "empty", "owners", "program", "ready")

    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.program: Program | None = None
        self.owners = [t for t in around.tensors if t.dtype.is_inexact]
        self.empty = [t._grad is None for t in self.owners]
        self.ready = False
        self.differed = 0
        self._call: Call | None = None

    def fits(self) -> bool:
        """Whether everything outside is as it was."""
        return self.around.same() and [g is None for g in map(_gradient_of, self.owners)] == self.empty

    def run(self, tensors: Sequence[Tensor] = (), values: Sequence[LazyBuffer] = ()) -> Any:
        """Run the program on these arguments and their values: what it returns, or ``OTHERWISE``."""
        call = self._call
        if call is None:
            assert self.program is not None
            call = self._call = Writer(self.program).function()
        try:
            return call(tensors, values)
        except IndexOutOfRange as error:
            assert self.program is not None
            raise with_lines(error, self.program.calls) from None


_gradient_of = attrgetter("_grad")
