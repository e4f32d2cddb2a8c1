"""Stage: the checker asks it, lowering may. In: a kernel in the GPU form. Out: a barrier (or ``Multiply``) that some
threads of a workgroup may not come to, and why. A value is uniform if all threads of a workgroup have the same.
Next: ``copies.py``."""

from __future__ import annotations

from collections.abc import Iterable

from minigrad.kernel.ir import (
    MATRIX_LANES,
    Barrier,
    Fold,
    For,
    If,
    Index,
    Kernel,
    Let,
    LetIndex,
    Load,
    Local,
    Multiply,
    Statement,
    Value,
)
from minigrad.kernel.walk import indices_of, statements, values
from minigrad.symbolic import Sym, children, variables
from minigrad.symbolic.kinds import FLOORDIV, VAR


def divergent_barrier(kernel: Kernel) -> tuple[Statement, str] | None:
    """The first loop or If with a barrier or ``Multiply`` inside that threads of one workgroup may go through in
    different ways, and what makes them: the number of the thread, or the thread's own memory. None if there is none.
    What is loaded from shared or global memory at a uniform index is uniform, for no thread may write it before the
    next barrier.

    >>> from minigrad.dtype import bool_
    >>> from minigrad.symbolic import num, var
    >>> p, t = var("p", 0, 0), var("t", 0, 31)
    >>> threads = For(t, num(0), num(32), 1, "block", (If(Index(t < 8, bool_), (Barrier(),)),))
    >>> divergent_barrier(Kernel("k", (), (), For(p, num(0), num(1), 1, "grid", (threads,))))[1]
    't, the number of the thread'
    """
    worker = _Uniformity()
    worker.block((kernel.loop,), None)
    return worker.found


def divided_multiply(kernel: Kernel) -> tuple[Statement, str] | None:
    """The first ``Multiply`` whose tiles may not be the same for all threads of a subgroup (or of those that multiply
    together), and why: the thread's number counts other than by ``t // 32``. None if there is none."""
    for together in sorted({s.together for s in statements(kernel) if isinstance(s, Multiply)}):
        worker = _Uniformity(together)
        worker.block((kernel.loop,), None)
        if worker.divided is not None:
            return worker.divided
    return None


class _Uniformity:
    """``together``: a value is uniform if all threads of so many subgroups have the same; 0: of the workgroup."""

    def __init__(self, together: int = 0) -> None:
        self.together = together
        self.causes: dict[str, str] = {}  # of a variable or name that threads may see differently: why they do
        self.found: tuple[Statement, str] | None = None
        self.divided: tuple[Statement, str] | None = None
        self.thread: Sym | None = None

    def block(self, block: tuple[Statement, ...], around: tuple[Statement, str] | None) -> None:
        """Note what the names of a block depend on. ``around``: a loop or If that threads go through differently."""
        for s in block:
            if isinstance(s, Let):
                self.note(s.name, self.of_value(s.value))
            elif isinstance(s, LetIndex):
                self.note(str(s.var), self.of_value(s.value))
            elif isinstance(s, Fold):
                self.note(s.name, f"{s.array.name}, memory of each thread")
            elif isinstance(s, For):
                cause = self.of_indices(s)
                self.thread = s.var if s.kind == "block" else self.thread
                self.note(str(s.var), "the number of the thread" if s.kind == "block" else cause)
                self.block(s.body, around or ((s, cause) if cause else None))
            elif isinstance(s, If):
                cause = self.of_value(s.condition)
                for branch in (s.then, s.otherwise):
                    self.block(branch, around or ((s, cause) if cause else None))
            elif isinstance(s, (Barrier, Multiply)) and self.found is None:
                self.found = around
            if isinstance(s, Multiply) and s.together == self.together and self.divided is None and (
                    cause := self.of_indices(s)):
                self.divided = s, cause

    def note(self, name: str, cause: str) -> None:
        self.causes.pop(name, None)
        if cause:
            self.causes[name] = cause

    def of_name(self, name: str) -> str:
        """Why a name is not uniform, or nothing."""
        cause = self.causes.get(name, "")
        return cause and (f"{name}, {cause}" if cause.startswith("the number") else f"{name}, which comes from {cause}")

    def of_indices(self, node: Statement | Value) -> str:
        return next((c for e in indices_of(node) for v in self.parts(e) if (c := self.of_name(str(v)))), "")

    def parts(self, e: Sym) -> Iterable[Sym]:
        """The variables of an expression; not the thread's number where it only counts subgroups, or as many of them as
        multiply together."""
        if not self.together:
            return variables(e)
        count = MATRIX_LANES * self.together
        found, stack = [], [e]
        while stack:
            x = stack.pop()
            if x.kind == VAR:
                found.append(x)
            elif x.kind != FLOORDIV or x.args[0] is not self.thread or x.args[1].lo % count:
                stack += children(x)
        return found

    def of_value(self, root: Value) -> str:
        """Why a value is not uniform, or nothing."""
        for v in values([root]):
            cause = ""
            if isinstance(v, Local):
                cause = self.of_name(v.name)
            elif isinstance(v, Load) and v.array.scope in ("scratch", "register"):
                cause = f"{v.array.name}, memory of each thread"
            elif isinstance(v, (Index, Load)):
                cause = self.of_indices(v)
            if cause:
                return cause
        return ""
