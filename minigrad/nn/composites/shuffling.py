"""Stage: front. In: a Tensor with channels. Out: the formulas that exchange channels with pixels, or with each other.
Next: ``minigrad/nn/utils/``."""

from __future__ import annotations

from minigrad.tensor import Tensor, composite


@composite
def pixel_shuffle(input: Tensor, *, factor: int) -> Tensor:
    """(…, C r², H, W) to (…, C, H r, W r)."""
    *rest, channels, height, width = input.shape
    parts = input.reshape(*rest, channels // factor**2, factor, factor, height, width)
    first = len(rest)
    order = (*range(first + 1), first + 3, first + 1, first + 4, first + 2)
    return parts.permute(order).reshape(*rest, channels // factor**2, height * factor, width * factor)


@composite
def pixel_unshuffle(input: Tensor, *, factor: int) -> Tensor:
    """(…, C, H r, W r) to (…, C r², H, W)."""
    *rest, channels, height, width = input.shape
    parts = input.reshape(*rest, channels, height // factor, factor, width // factor, factor)
    first = len(rest)
    order = (*range(first + 1), first + 2, first + 4, first + 1, first + 3)
    return parts.permute(order).reshape(*rest, channels * factor**2, height // factor, width // factor)


@composite
def channel_shuffle(input: Tensor, *, groups: int) -> Tensor:
    """(N, g k, …): channel i k + j to place j g + i."""
    batch, channels, *rest = input.shape
    parts = input.reshape(batch, groups, channels // groups, *rest)
    return parts.transpose(1, 2).reshape(batch, channels, *rest)
