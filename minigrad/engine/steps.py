"""Stage: realise. In: steps that a person gives for kernels. Out: the kernels of a block are made by them.
Next: ``debug.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType

from minigrad import config
from minigrad.lazily import importing


@cache
def _lower() -> ModuleType:
    """Lowering is loaded when something is compiled, or steps are given."""
    with importing():
        from minigrad.lower import steps

    return steps


@contextmanager
def steps(pattern: str, *stages: str | None) -> Iterator[None]:
    """In a ``with`` block, make the loops of kernels whose name fits a pattern (``*`` and ``?`` as in file names) by
    the steps that are given for each of their stages, in place of those that are chosen; None leaves a stage as it is.
    A pattern may begin with a device's name, as in ``"CUDA/mm_*"``. ``DEBUG=3`` prints names, stages and their steps.
    No steps at all, ``""``, are plain loops over single elements.

    The steps, of which any may be left out; on processors:

    - ``lanes(axis, n)``: n neighbours along the axis are the lanes of a vector
    - ``unroll(axis, n)``: n steps of the axis are written out, one after the other
    - ``parallel(axis, n)``: an iteration of the parallel loop takes n steps of the axis's loop
    - ``split(axis, n)``: the axis's loop is cut into blocks of n
    - ``accumulate(axis, n)``: a sum over the axis has n vectors of partial sums
    - ``multiply(rows, n, columns, m)``: a register tile of n × m in a product of matrices
    - ``word(axis)``: several products along the axis are added by one instruction
    - ``join(axis, axis, …)``: the columns of a product run through these axes as if they were one
    - ``keep(sums, scratch)``, ``keep(a, scratch)``, ``keep(b, scratch)``: sums, or an operand of a product, lie in
      scratch memory
    - ``winograd(y, x)``: a convolution by windows of 3 × 3 along these axes, by fewer products, of sums; with
      ``split(axis, n)``, so many filters, rows of results or images at a time
    - ``keep(b, window)``: what the windows of an operand cover is copied once, and read there at each of their places

    and on devices with workgroups (OPENCL on a GPU, CUDA):

    - ``block(n)``: a workgroup has n threads, in all stages of the kernel
    - ``grid(n)``: n workgroups share the space, step by step
    - ``lanes(axis, n)``: a thread takes n neighbours along the axis at once
    - ``split(axis, n)``: what is read along the axis and written along another is turned in tiles of n × n in shared
      memory; in a product, the tile of a workgroup, or the steps of the sum that it takes at a time
    - ``accumulate(axis, n)``: n threads share a sum over the axis
    - ``coalesce(axis)``: neighbouring threads take neighbours along the summed axis, not neighbouring results
    - ``multiply(rows, n, columns, m)``: a thread has n × m results of a product of matrices
    - ``matrix(rows, n, columns, m)``: a subgroup has them, by matrix instructions
    - ``keep(a, shared)``, ``keep(b, shared)``: tiles of an operand of a product are copied to shared memory

    Results may differ in the last bits: other steps add in another order. Nothing is replayed in the block: each graph
    is planned and compiled by the steps.

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
