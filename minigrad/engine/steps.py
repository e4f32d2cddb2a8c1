"""Stage: realise. In: steps that a person gives for kernels. Out: the kernels of a block are made by them.
Next: ``debug.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

from minigrad import config


@cache
def _lower() -> ModuleType:
    """Lowering is loaded when something is compiled, or steps are given."""
    from minigrad.lower import steps

    return steps


@contextmanager
def steps(pattern: str, *stages: str | None) -> Iterator[None]:
    """In a ``with`` block, make the loops of kernels whose name fits a pattern (``*`` and ``?`` as in file names) by
    the steps that are given for each of their stages, in place of those that are chosen; None leaves a stage as it is.
    ``DEBUG=3`` prints names, stages and their steps. No steps at all, ``""``, are plain loops over single elements.

    The steps, of which any may be left out:

    - ``lanes(axis, n)``: n neighbours along the axis are the lanes of a vector
    - ``unroll(axis, n)``: n steps of the axis are written out, one after the other
    - ``parallel(axis, n)``: an iteration of the parallel loop takes n steps of the axis's loop
    - ``split(axis, n)``: the axis's loop is cut into blocks of n
    - ``accumulate(axis, n)``: a sum over the axis has n vectors of partial sums
    - ``multiply(rows, n, columns, m)``: a register tile of n × m in a product of matrices
    - ``join(axis, axis, …)``: the columns of a product run through these axes as if they were one
    - ``keep(sums, scratch)``, ``keep(a, scratch)``, ``keep(b, scratch)``: sums, or an operand of a product, lie in
      scratch memory

    Results may differ in the last bits: other steps add in another order. Nothing is replayed in the block: each graph
    is planned and compiled by the steps. On devices with workgroups (OPENCL on a GPU, CUDA) it changes nothing.

    Raises ``ScheduleError``, when the kernel is made, for steps that its loops cannot have, and why.

    >>> import minigrad
    >>> x = minigrad.ones(64, 48).realize()
    >>> with minigrad.steps("*", "lanes(x0, 4), parallel(x0, 100)"), minigrad.inspect() as seen:
    ...     _ = (x * 2).realize()
    >>> seen.kernels[0].stages
    ('map over x0 = 3072: lanes(x0, 4), parallel(x0, 100); 8 iterations',)
    """
    line = _lower().line(pattern, stages)
    with config.config(STEPS="; ".join([*filter(None, [config.get("STEPS")]), line])):
        yield
