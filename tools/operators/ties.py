"""Stage: tests. In: an operator that may take equal elements in any order. Out: what PyTorch gives when it takes them
in the order of their places.
Next: ``calls.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def sort(x: torch.Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    """PyTorch's stable sort."""
    return torch.sort(x, dim=dim, descending=descending, stable=True)


def argsort(x: torch.Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Any:
    """The places of the stable sort."""
    return sort(x, dim, descending)[1]


def msort(x: torch.Tensor) -> Any:
    """The values of the stable sort along the first dimension."""
    return sort(x, 0)[0]


def topk(x: torch.Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The first k of the stable sort."""
    return tuple(t.narrow(dim, 0, k) for t in sort(x, dim, largest)) if x.ndim else torch.topk(x, k)


def kthvalue(x: torch.Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th of the stable sort."""
    if not x.ndim:
        return torch.kthvalue(x, k)
    return tuple(t.narrow(dim, k - 1, 1) if keepdim else t.select(dim, k - 1) for t in sort(x, dim))


def mode(x: torch.Tensor, dim: int = -1, keepdim: bool = False) -> Any:
    """The last place of the mode."""
    values, places = torch.mode(x, dim, True)
    if x.ndim:
        every = torch.arange(x.shape[dim]).reshape([-1 if d == dim % x.ndim else 1 for d in range(x.ndim)])
        places = torch.where(x == values, every, -1).amax(dim, keepdim=True)
        values = x.gather(dim, places)
    return tuple(t if keepdim or not x.ndim else t.squeeze(dim) for t in (values, places))


IN_ORDER: dict[str, Callable[..., Any]] = {f.__name__: f for f in (sort, argsort, msort, topk, kthvalue, mode)}
"""By the operator's name. PyTorch's pages leave open which of equal elements these take, and its unstable sort and its
partition depend on the processor; minigrad takes them in the order of their places, always."""
