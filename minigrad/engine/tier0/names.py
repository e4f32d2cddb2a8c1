"""Stage: realise, tier 0. In: nothing. Out: what the generic kernels are called, and what they are given.
Next: ``library.py``.

    name                                 arrays                      numbers               iterations
    ("map", op, dtypes, to, same, y)     out, operands               n                     blocks of ``BLOCK``
    ("rows", op, dtypes, to, same)       out, operands               n, steps              rows
    ("random",)                          out, key                    n                     blocks of ``BLOCK``
    ("copy", bytes, axes, dense, dense)  out, in                     sizes[1:], strides    sizes[0]
    ("reduce", op, dtype)                out, in                     n                     rows
    ("scan", op, dtype)                  out, in                     n                     rows
    ("dot", dtype)                       out, a, b                   product.NUMBERS       batches * blocks
    ("locate", first)                    out, index, status[, so far] size, position       indexes
    ("take", bytes)                      out, in, at                 inner                 rows
    ("put", mode, dtype)                 out, value, at              count, inner          1

``same`` has bit i set if operand i is one element that serves for all, or for a row; ``y`` is the constant exponent of
a POW."""

from __future__ import annotations

from typing import Any

from minigrad.target import Target

Name = tuple[Any, ...]

BLOCK = 4096
"""Elements of one iteration of a "map": a multiple of all numbers of lanes."""


def tile_of(target: Target) -> tuple[int, int]:
    """Rows and vectors of the register tile of a "dot": three quarters of the registers hold sums.

    >>> from minigrad.target import AVX2, AVX512
    >>> tile_of(AVX2), tile_of(AVX512)
    ((4, 3), (6, 4))
    """
    vectors = 4 if target.vector_registers >= 32 else 3
    return target.vector_registers * 3 // 4 // vectors, vectors


def title(name: Name) -> str:
    """A generic kernel's name as an identifier: ``map_add_float32``.

    >>> title(("map", "ADD", ("float32", "float32"), "float32", 2, None))
    'map_add_float32_float32_float32_2'
    """
    words: list[str] = []
    for part in name:
        words += [str(p) for p in part] if isinstance(part, tuple) else [] if part is None else [str(part)]
    return "".join(c if c.isalnum() else "_" for c in "_".join(words).lower().replace("-", "m"))
