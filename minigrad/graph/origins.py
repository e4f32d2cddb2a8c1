"""Stage: recording. In: nodes, as they are made. Out: for each where it comes from: a line of the user's program, also
for nodes that the compiler makes in place of others. Nodes are noted while somebody explains (``minigrad.explain``);
at other times ``LazyBuffer`` is as it is, and nothing is noted.
Next: ``loop.py``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from minigrad.graph.lazy import LazyBuffer


class _Now(threading.local):
    current: Any = None


class Origins:
    """Where nodes come from. ``here`` says where the program is now; ``now.current`` is what new nodes come from while
    that is known otherwise, for each thread its own.

    >>> from minigrad.dtype import float32
    >>> origins = Origins(lambda: "line 7")
    >>> with origins.noted():
    ...     x = LazyBuffer.const(1.0, float32, (3,), "CPU")
    ...     with origins.apart():
    ...         origins.now.current = "line 9"
    ...         y = x.unary("EXP")
    >>> origins.of(x), origins.of(y), origins.of(y.unary("EXP"))
    ('line 7', 'line 9', None)
    """

    def __init__(self, here: Callable[[], Any]) -> None:
        self.here = here
        self.now = _Now()

    def of(self, node: LazyBuffer) -> Any:
        """Where a node comes from; None if that is not known."""
        return getattr(node, "origin", None)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """A block in which each node that is made is noted."""
        global noting
        now, plain, before = self.now, LazyBuffer.__init__, noting

        def init(node: LazyBuffer, *parts: Any) -> None:
            plain(node, *parts)
            current = now.current
            node.origin = self.here() if current is None else current

        noting = self
        LazyBuffer.__init__ = init  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            LazyBuffer.__init__ = plain  # type: ignore[method-assign]
            noting = before

    @contextmanager
    def apart(self) -> Iterator[None]:
        """A block at whose end ``current`` is again what it was."""
        before = self.now.current
        try:
            yield
        finally:
            self.now.current = before


def follow(node: LazyBuffer) -> None:
    """What this thread makes from now on takes the place of this node, and comes from where it does."""
    if noting is not None:
        noting.now.current = getattr(node, "origin", UNKNOWN)


UNKNOWN: tuple[()] = ()
"""Where nodes come from that take the place of one of which nothing is known."""

noting: Origins | None = None
"""Who notes nodes now."""
