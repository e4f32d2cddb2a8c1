"""Stage: front. In: a Tensor. Out: what PyTorch has twice: ``torch.threshold`` takes ``out=``, the function of that
name in ``torch.nn.functional`` does not.
Next: ``normalization.py``."""

from __future__ import annotations

from typing import Any

from minigrad.nn.functional import activation
from minigrad.tensor import Tensor
from minigrad.tensor.outputs import into


def threshold(input: Tensor, threshold: float, value: float, *, out: Any = None) -> Tensor:
    """x where x > threshold, else ``value``: of the shape and dtype of ``input``; into ``out`` if it is given.
    ``RuntimeError`` if the result cannot be stored there, ``NotImplementedError`` for bools and complex numbers.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.threshold.html)

    >>> import minigrad
    >>> minigrad.threshold(minigrad.tensor([0.5, 2.0]), 1.0, -9.0, out=minigrad.empty(2))
    tensor([-9.,  2.])
    """
    return into(out, activation.threshold(input, threshold, value), "threshold")
