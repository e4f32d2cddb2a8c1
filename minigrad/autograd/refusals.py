"""Stage: recording. In: the operands whose gradient PyTorch cannot compute. Out: the base of entries on the tape that
raise its error where such a gradient is asked for.
Next: ``rows.py``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

from minigrad.autograd.node import Node


class RefusingSome(Node):
    """An op whose gradient by some of its operands PyTorch cannot compute: an ``error`` where it is asked for.
    ``refusals``: the numbers of these operands, with the words."""

    __slots__ = ()
    refusals: ClassVar[tuple[tuple[int, str], ...]] = ()
    error: ClassVar[type[RuntimeError]] = RuntimeError

    def vjp(self, grads: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
        """The first refusal, or else the gradients."""
        self._refuse(needs)
        return super().vjp(grads, needs)

    def vjp_recorded(self, grads: Sequence[Any], needs: Sequence[bool]) -> list[Any]:
        """The first refusal, or else the gradients."""
        self._refuse(needs)
        return super().vjp_recorded(grads, needs)

    def _refuse(self, needs: Sequence[bool]) -> None:
        for position, words in self.refusals:
            if self.saved is not None and needs[position]:
                raise self.error(words)


@cache
def refusing_some(refusals: tuple[tuple[int, str], ...], error: Any = RuntimeError) -> Any:
    """The base of nodes with these refusals."""
    return type("RefusingSome", (RefusingSome,), {"__slots__": (), "refusals": refusals, "error": error})
