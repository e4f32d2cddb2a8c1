"""Stage: front. In: features. Out: the formulas that give them mean 0 and variance 1.
Next: ``distance.py``."""

from __future__ import annotations

from minigrad.nn.composites.precision import wide
from minigrad.tensor import Tensor, composite


@composite
def layer_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, *, axes: tuple[int, ...],
               eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias, statistics over ``axes``; halves are rounded at the end."""
    (input, weight, bias), dtype = wide(input, weight, bias)
    centred = input - input.mean(axes, keepdim=True)
    variance = (centred * centred).mean(axes, keepdim=True)
    result = centred / (variance + eps).sqrt()
    if weight is not None:
        result = result * weight
    return (result if bias is None else result + bias).to(dtype)
