"""Stage: front. In: gradients. Out: their norm, and the gradients made smaller: all of them in one node.
Next: ``dropout.py``."""

from __future__ import annotations

from collections.abc import Callable
from math import isinf

from minigrad.nn.composites.precision import wide
from minigrad.tensor import Tensor, composite


def _norm(tensors: list[Tensor], norm_type: float) -> Tensor:
    """The norm of the norms of all, each rounded to its own dtype."""
    norms = []
    for tensor in tensors:
        (x,), dtype = wide(tensor)
        norms.append(x.norm(norm_type).to(dtype))
    wider, dtype = wide(*norms)
    if isinf(norm_type):
        return _folded(wider, Tensor.maximum if norm_type > 0 else Tensor.minimum).to(dtype)
    if norm_type == 0:
        return _folded([(norm != 0).to(dtype) for norm in wider], Tensor.add).to(dtype)
    powers = [norm if norm_type == 1 else norm * norm if norm_type == 2 else norm.pow(norm_type) for norm in wider]
    total = _folded(powers, Tensor.add)
    return (total if norm_type == 1 else total.sqrt() if norm_type == 2 else total.pow(1 / norm_type)).to(dtype)


def _folded(values: list[Tensor], combine: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """All values combined in pairs, pairs of pairs and so on: single numbers need no memory to be put together in."""
    while len(values) > 1:
        pairs = [combine(a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(pairs) * 2:]
    return values[0]


def _scaled(tensors: list[Tensor], norm: Tensor, max_norm: Tensor) -> list[Tensor]:
    """Each tensor times max_norm / (norm + 1e-6) where that is less than 1."""
    inverse = (norm + 1e-6).reciprocal().to(max_norm.dtype)
    factor = (inverse * max_norm).to(norm.dtype).clamp(max=1.0)
    results = []
    for tensor in tensors:
        (x, by), _ = wide(tensor, factor)
        results.append((x * by).to(tensor.dtype))
    return results


@composite
def total_norm(tensors: list[Tensor], *, norm_type: float) -> Tensor:
    """(sum of |x|^p over all elements of all tensors)^(1/p)."""
    return _norm(tensors, norm_type)


@composite
def clipped_by_norm(tensors: list[Tensor], norm: Tensor, max_norm: Tensor) -> tuple[Tensor, ...]:
    """Each tensor times min(1, max_norm / (norm + 1e-6))."""
    return tuple(_scaled(tensors, norm, max_norm))


@composite
def norm_and_clipped(tensors: list[Tensor], max_norm: Tensor, *, norm_type: float) -> tuple[Tensor, ...]:
    """The total norm, then each tensor clipped by it."""
    norm = _norm(tensors, norm_type)
    return (norm, *_scaled(tensors, norm, max_norm))


@composite
def clipped_by_value(tensors: list[Tensor], limit: Tensor) -> tuple[Tensor, ...]:
    """Each tensor with its elements limited to ±limit."""
    results = []
    for tensor in tensors:
        bound = limit.to(tensor.dtype)
        results.append(tensor.maximum(-bound).minimum(bound))
    return tuple(results)
