"""Stage: front. In: features and a weight. Out: a dense layer of them.
Next: ``padding.py``."""

from __future__ import annotations

from minigrad.nn.composites import linear as formulas
from minigrad.tensor import Tensor


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias: (..., in) and (out, in) to (..., out). ``RuntimeError`` when the widths differ.

    >>> import minigrad
    >>> linear(minigrad.tensor([[1.0, 2.0]]), minigrad.tensor([[3.0, 4.0]]))
    tensor([[11.]])
    """
    return formulas.linear(input, weight, bias)
