"""Stage: front. In: features, and what decides which of them are kept. Out: the formulas of dropout.
Next: ``padding.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from minigrad.dtype import accumulator, bool_
from minigrad.tensor import Tensor, composite, random_bits, where

# The SELU's own limit at minus infinity, which alpha dropout puts in place of what it drops: -scale * alpha.
ALPHA = 1.7580993408473766


def kept(source: Tensor, size: Sequence[int], p: float) -> Tensor:
    """True where an element is kept, with probability 1 - p: ``source`` itself, or what follows from it as a key. It is
    computed where it is used, forward and backward, and never stored."""
    if source.dtype is bool_:
        return source
    return random_bits(source, *size) < min(round((1 - p) * 2**32), 2**32 - 1)


@composite
def dropout(input: Tensor, source: Tensor, *, size: tuple[int, ...], p: float) -> Tensor:
    """x / (1 - p) with probability 1 - p, else x * 0. ``size``: one choice for each element of a tensor of this size,
    which is broadcast."""
    chosen = kept(source, size, p)
    factor = where(chosen, 1.0, 0.0).to(input.dtype) / (1 - p)
    return input * factor


@composite
def alpha_dropout(input: Tensor, source: Tensor, *, size: tuple[int, ...], p: float) -> Tensor:
    """x with probability 1 - p, else -ALPHA, scaled and shifted so that mean 0 and variance 1 stay. (Klambauer,
    Unterthiner, Mayr, Hochreiter 2017)"""
    chosen = kept(source, size, p)
    scale = 1 / math.sqrt((ALPHA**2 * p + 1) * (1 - p))
    noise = where(chosen, 1.0, 0.0).to(accumulator(input.dtype))
    shift = (noise - 1) * (ALPHA * scale) + ALPHA * scale * p
    return input * (noise * scale).to(input.dtype) + shift.to(input.dtype)
