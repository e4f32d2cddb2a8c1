"""Stage: realise. In: what the engine runs. Out: a record of it, for tests and for people who want to see fusion.
Next: ``realise.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minigrad.engine.execute import CompiledKernel


@dataclass(frozen=True, eq=False)
class KernelRun:
    """One kernel that ran. ``seconds`` is wall-clock time; ``flops`` and ``bytes`` what it computes and must at least
    move; ``stages`` a line for each stage: its strategy and parameters."""

    kernel: CompiledKernel
    device: str
    seconds: float

    @property
    def name(self) -> str:
        return self.kernel.name

    @property
    def source(self) -> str:
        """Its C source."""
        return self.kernel.source

    @property
    def flops(self) -> int:
        return self.kernel.lowered.flops

    @property
    def bytes(self) -> int:
        return self.kernel.bytes

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(self.kernel.lowered.strategies)

    def __repr__(self) -> str:
        return f"<{self.name} on {self.device}: {len(self.stages)} stages, {self.seconds * 1e6:.0f} µs>"


@dataclass
class Seen:
    """What ran inside a ``with minigrad.inspect()`` block. ``launches``: kernels run; ``native_calls``: calls into
    native code; ``compiled``: kernels compiled; ``plan_hits``, ``plan_misses``: realised graphs that had a plan, or
    needed one."""

    kernels: list[KernelRun] = field(default_factory=list)
    launches: int = 0
    native_calls: int = 0
    compiled: int = 0
    plan_hits: int = 0
    plan_misses: int = 0


_active: list[Seen] = []


@contextmanager
def inspect() -> Iterator[Seen]:
    """Collect what runs in the block.

    >>> import minigrad
    >>> x = minigrad.ones(1000)
    >>> with minigrad.inspect() as seen:
    ...     y = (x.relu() * 2 + 1).realize()
    >>> seen.launches
    1
    """
    seen = Seen()
    _active.append(seen)
    try:
        yield seen
    finally:
        _active.remove(seen)


def active() -> list[Seen]:
    """The records being collected now."""
    return _active
