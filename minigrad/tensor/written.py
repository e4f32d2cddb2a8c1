"""Stage: front. In: lines of Python and the objects that they name. Out: a function. What runs again at every step is
written down once, with no loop and no question whose answer is known: ``again.py`` does so for the points of a trace,
``jit/writer.py`` for programs.
Next: ``points.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import CodeType
from typing import Any

from minigrad import config
from minigrad.engine import records, run_again, tell
from minigrad.graph.lazy import LazyBuffer
from minigrad.runtime import pool
from minigrad.runtime.buffer import Buffer


class Written:
    """A function with a ``head``, like ``f(x)``. ``lines``: its text; ``space``: the objects that it names."""

    def __init__(self, head: str, **space: Any) -> None:
        self.head = head
        self.lines: list[str] = []
        self.space: dict[str, Any] = {"Buffer": Buffer, "LazyBuffer": LazyBuffer, "records": records,
                                      "run_again": run_again, "quiet": config.quiet, "setting": config.get,
                                      "tell": tell, **space}
        self._names: dict[int, str] = {}
        self._count: dict[str, int] = {}
        self._overwrites = False

    @property
    def text(self) -> str:
        """The function's source."""
        return f"def {self.head}:\n" + "".join([f"    {line}\n" for line in self.lines])

    def function(self) -> Callable[..., Any]:
        """The function. It is no part of its own globals, or it would hold itself."""
        exec(_compiled(self.text), self.space)
        function: Callable[..., Any] = self.space.pop(self.head.partition("(")[0])
        return _raising(function) if self._overwrites else function

    def name(self, kind: str, thing: Any) -> str:
        """The name of an object in the text."""
        known = self._names.get(id(thing))
        if known is None:
            self._count[kind] = self._count.get(kind, -1) + 1
            known = self._names[id(thing)] = f"{kind}{self._count[kind]}"
            self.space[known] = thing
        return known

    def write_run(self, executable: Any, buffers: Sequence[str], addresses: Sequence[str], numbers: Sequence[str],
                  device: str, silent: bool = False) -> list[str]:
        """A run on these expressions: the names of the results' buffers. Where it is a single short call of native
        code, it is made right here, unless DEBUG asks for words about it. ``silent``: it is known that it does not."""
        lines = self.lines
        results = [f"result{i}" for i in range(executable.results)]
        plain = [f"results = run_again({self.name('executable', executable)}, [{', '.join(buffers)}], "
                 f"[{', '.join(addresses)}], [{', '.join(numbers)}], {device!r})"]
        plain += [f"{name} = results[{i}]" for i, name in enumerate(results)]
        native = executable.direct
        if native is None:
            self._overwrites = self._overwrites or executable.overwrites
            lines += plain
            return results
        recipe = executable.recipe
        fresh = [f"fresh{i}" for i in range(len(recipe.output_bytes))]
        direct = [f"{name} = Buffer({device!r}, {nbytes})"
                  for name, nbytes in zip(fresh, recipe.output_bytes, strict=True)]
        if recipe.arena_bytes:
            direct.append(f"arena = Buffer({device!r}, {recipe.arena_bytes})")
        arena = "arena.address" if recipe.arena_bytes else "0"
        given = [*addresses, *[f"{name}.address" for name in fresh], arena, "0", *numbers]
        call = f"{self.name('native', native)}({', '.join(given)})"
        timed = f"{self.name('call', executable.call)}.run_timed([{', '.join(given)}])"
        direct.append(f"seconds = {timed} if records else {call}")
        direct += [f"{name} = {fresh[at] if is_fresh else buffers[at]}"
                   for name, (is_fresh, at) in zip(results, recipe.outputs, strict=True)]
        direct.append(f"if records: tell({self.name('executable', executable)}, {device!r}, seconds, "
                      f"[{', '.join(results)}])")
        if not silent:
            direct = ["if quiet() or not setting('DEBUG'):", *[f"    {line}" for line in direct],
                      "else:", *[f"    {line}" for line in plain]]
        lines += direct
        return results


@lru_cache(maxsize=256)
def _compiled(text: str) -> CodeType:
    """The code of a text. A program whose calls are recorded anew writes the same texts again."""
    return compile(text, "<written>", "exec")


def _raising(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which raises at its end what the handler of a signal has raised in a run that was finished."""

    def call(*arguments: Any) -> Any:
        result = function(*arguments)
        if pool.held:
            pool.raise_held()
        return result

    return call
