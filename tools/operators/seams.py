"""Stage: tests. In: a sample of an operator. Out: the same sample with the numbers at which formulas have seams.
Next: ``tape.py``."""

from __future__ import annotations

from typing import Any

import torch

SEAMS: dict[str, tuple[float, ...]] = {
    "zeros": (0.0, -0.0), "ones": (1.0, -1.0, 1.0), "ties": (2.0, 0.5, 2.0, 2.0, 0.5, 0.0, 0.0),
    "infinities": (1.0, float("inf"), 2.0, 0.5, float("-inf")), "nan": (float("nan"), 1.0, 0.0, 2.0, 3.0),
    "empty": (),
}
"""By name, what a sample's floating numbers are replaced by, over and over."""


def at_seams(t: torch.Tensor, name: str) -> torch.Tensor:
    """A tensor of the same kind with the numbers of ``SEAMS[name]``; empty ones lose their first dimension's extent.

    >>> at_seams(torch.rand(2, 2), "ties").tolist()
    [[2.0, 0.5], [2.0, 2.0]]
    >>> at_seams(torch.rand(2, 3), "empty").shape
    torch.Size([0, 3])
    """
    if not t.is_floating_point() or t.layout is not torch.strided:
        return t.detach().clone()
    plain = (t.detach()[:0] if name == "empty" and t.ndim else t.detach()).clone()
    if SEAMS[name]:
        numbers: Any = torch.tensor(SEAMS[name], dtype=t.dtype)
        plain = numbers[torch.arange(t.numel()) % len(numbers)].reshape(t.shape)
    return plain.requires_grad_(t.requires_grad)
