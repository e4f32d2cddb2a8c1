"""Stage: measuring. In: calls of Modules in a profiled block. Out: their values are computed though nobody reads them,
as PyTorch computes them: what a statement such as ``model(x)`` drops, at once; what the program still holds, at the end
of a step.
Next: ``profiler.py``."""

from __future__ import annotations

import opcode
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any
from weakref import ref

from minigrad.nn import Module
from minigrad.tensor import Tensor, realize


class Needed:
    """Tensors that Modules gave in a block: ``with Needed().watched():``.

    >>> import minigrad
    >>> model, x = minigrad.nn.Linear(2, 3), minigrad.ones(1, 2)
    >>> def drop():
    ...     model(x)
    >>> with minigrad.inspect() as seen, Needed().watched():
    ...     drop()
    >>> seen.launches
    1
    """

    def __init__(self) -> None:
        self._held: list[ref[Tensor]] = []
        self._inside = threading.local()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A block whose Modules are followed. At its end what is held is computed."""
        plain = Module.__call__
        Module.__call__ = self._calling(plain)  # type: ignore[method-assign]
        try:
            yield
            self.compute()
        finally:
            Module.__call__ = plain  # type: ignore[method-assign]

    def compute(self) -> None:
        """Compute what is held."""
        held = [tensor for one in self._held if (tensor := one()) is not None]
        self._held.clear()
        if held:
            realize(*held)

    def _calling(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        inside = self._inside

        def call(module: Module, *args: Any, **kwargs: Any) -> Any:
            if getattr(inside, "now", False):
                return plain(module, *args, **kwargs)
            inside.now = True
            try:
                result = plain(module, *args, **kwargs)
            finally:
                inside.now = False
            found = tensors(result)
            if found and drops(sys._getframe(1)):
                realize(*found)
            else:
                self._held += map(ref, found)
            return result

        return call


def tensors(value: Any) -> list[Tensor]:
    """The Tensors in a value of tuples, lists and dictionaries.

    >>> len(tensors((Tensor([1.0]), {"a": [Tensor([2.0])]}, 3)))
    2
    """
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for one in value for t in tensors(one)] if isinstance(value, (tuple, list)) else []


def drops(frame: FrameType) -> bool:
    """Whether a frame's call is a statement, so that what it gives is dropped: the next instruction pops it."""
    code = frame.f_code.co_code
    following = [code[at] for at in range(frame.f_lasti + 2, len(code), 2) if code[at] != opcode.opmap["CACHE"]]
    return following[:1] == [opcode.opmap["POP_TOP"]]
