"""Stage: tests. In: a function of Tensors that want gradients. Out: whether minigrad's ``gradcheck`` and
``gradgradcheck`` find its derivatives to be those of finite differences.
Next: ``seams.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

import minigrad
from minigrad.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck

Build = Callable[[Any], tuple[Callable[..., Any], list[Any]]]
"""Of a library: a function of its Tensors, and them."""

ELEMENTS = 12
"""Up to so many elements the slope of each is compared, above one random direction, as PyTorch's own tests do."""


@dataclass(frozen=True)
class Skipped:
    """Why a sample is not counted."""

    reason: str


def finite(op: Any, build: Build, name: str) -> str | Skipped | None:
    """What is wrong, empty if nothing is. None if no output has a derivative. A sample is skipped where PyTorch's own
    check of PyTorch's own operator fails: finite differences say nothing at a kink."""
    second = name == "gradgradcheck"
    function, inputs = build(minigrad)
    if not inputs:
        return None
    if any(t.is_sparse or t.is_sparse_csr for t in inputs):
        return Skipped("a sparse input")
    if not any(o.requires_grad for o in function(*inputs)):
        return None
    flags = {
        "nondet_tol": op.gradcheck_nondet_tol, "check_grad_dtypes": True,
        "check_batched_grad": bool(op.check_batched_gradgrad if second else op.check_batched_grad),
        "fast_mode": bool(op.gradcheck_fast_mode) or (
            op.gradcheck_fast_mode is None and sum(t.numel() for t in inputs) > ELEMENTS),
    }
    try:
        (gradgradcheck if second else gradcheck)(function, inputs, **flags)
    except Exception as error:
        problem = f"{type(error).__name__}: " + (
            " ".join(str(error).split()) if isinstance(error, GradcheckError) else str(error).split("\n")[0])[:300]
    else:
        return ""
    function, inputs = build(torch)
    check: Any = torch.autograd.gradgradcheck if second else torch.autograd.gradcheck
    torch.manual_seed(0)
    try:
        check(function, inputs, **flags)
    except Exception:
        return Skipped("PyTorch's own check fails")
    return problem
