"""Stage: tests. In: an operator's first and second derivatives, in either library, of a sample as it is and of the same
numbers in the next wider type. Out: whether ours are the same in both, as far as digits go: formulas that are there for
one type only, as are those made of the bits of float32 numbers, have the derivatives that the others have.
Next: ``report.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import minigrad
from tools.operators.facade import theirs

Derivatives = Callable[[Any, bool], list[list[Any]]]
"""Of a library, and whether in the wider type: the gradients by the inputs, and the gradients of these."""

SHARES = {torch.float32: 1e-3, torch.float16: 0.02, torch.bfloat16: 0.1}
"""By type, which share of the largest number of a derivative an error may be."""

SLACK = 8
"""So many times as far as PyTorch's derivatives of that type are off, ours may be, too: some samples take digits."""


def narrow(derivatives: Derivatives, dtype: torch.dtype) -> str | None:
    """The first derivative that is off; empty if there is none. None without derivatives."""
    exact = derivatives(minigrad, True)
    if not exact:
        return None
    found = derivatives(minigrad, False)
    for order, group in enumerate(exact):
        for i, right in enumerate(group):
            value = None if not found or i >= len(found[order]) else found[order][i]
            error = stray(value, right)
            if error > SHARES[dtype] and error > SLACK * _of_pytorch(derivatives, order, i):
                return f"order {order + 1}, gradient {i}: off by {error:.2g} of the largest number"
    return ""


def _of_pytorch(derivatives: Derivatives, order: int, i: int) -> float:
    try:
        narrow_one, wide_one = [derivatives(torch, wide)[order][i] for wide in (False, True)]
    except Exception:
        return 0.0
    return stray(narrow_one, wide_one)


def stray(value: Any, right: Any) -> float:
    """The largest error of a Tensor, as a share of the largest number that would be right; where one is there without
    the other, that has zeros. What is not finite has to be in both.

    >>> round(stray(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 4.0])), 3), stray(None, torch.zeros(2))
    (0.25, 0.0)
    """
    there = [theirs(t) if isinstance(t, minigrad.Tensor) else t.detach() for t in (value, right) if t is not None]
    if not there:
        return 0.0
    wide = [t.to(torch.complex128 if t.is_complex() else torch.float64) for t in there]
    a, b = (wide if len(wide) == 2 else [torch.zeros_like(wide[0]), *wide] if value is None else
            [*wide, torch.zeros_like(wide[0])])
    if not b.numel() or a.shape != b.shape:
        return 0.0 if a.shape == b.shape else float("inf")
    finite = b.isfinite()
    if bool((a.isfinite() != finite).any()):
        return float("inf")
    errors = torch.where(finite, a - b, 0).abs().max()
    return float(errors / torch.where(finite, b, 0).abs().max().clamp(min=1e-5))
