"""Stage: realise. In: nothing. Out: ``Recipe``: all that a run of a plan needs, in plain values. It holds no graph and
no loop nest, so a plan that is kept costs little.
Next: ``execute.py``."""

from __future__ import annotations

from minigrad.records import Record

Slot = int | tuple[int, int]
"""A position in the table of addresses, or that and an offset in bytes."""


class KernelCall(Record):
    """One launch. ``arrays`` and ``scalars`` say what it is given, as in ``Step``; ``flops``, ``work`` and ``bytes``
    count one run; ``grain``: iterations worth a thread."""

    name: str
    arrays: tuple[Slot, ...]
    scalars: tuple[int, ...]
    iterations: int
    grain: int
    flops: int
    work: int
    bytes: int


class Recipe(Record):
    """What a run does. The table of addresses holds the leaves, then the outputs, then the arena and the status words.
    ``scalars``: a letter for each number, as in ``NativeProgram``; ``outputs``: of each result whether it is fresh
    memory, and which output or leaf it is; ``overwritten``: the leaves that are written; ``checks``: of each status
    word the shape that an index into it was checked against; ``free``: the positions of constants that are arguments,
    after the run-time scalars."""

    calls: tuple[KernelCall, ...]
    leaves: int
    scalars: str
    output_bytes: tuple[int, ...]
    arena_bytes: int
    outputs: tuple[tuple[bool, int], ...]
    overwritten: tuple[int, ...]
    checks: tuple[tuple[int, ...], ...]
    free: tuple[int, ...]

    @property
    def slots(self) -> int:
        """The length of the table of addresses."""
        return self.leaves + len(self.output_bytes) + 2
