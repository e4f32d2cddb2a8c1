"""Stage: tests. In: what PyTorch and minigrad returned. Out: in one sentence how they differ, or nothing.
Next: ``ties.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tools.operators.facade import theirs

TOLERANCES = {torch.float16: (2e-3, 1e-4), torch.bfloat16: (1.6e-2, 1e-3), torch.float32: (1e-4, 2e-5),
              torch.complex64: (1e-4, 2e-5), torch.float64: (1e-7, 1e-8), torch.complex128: (1e-7, 1e-8)}
"""Relative and absolute: sums in another order and other polynomials differ by some units in the last place."""

Tolerances = dict[torch.dtype, tuple[float, float]]

WIDER = {torch.float16: torch.float32, torch.bfloat16: torch.float32, torch.float32: torch.float64,
         torch.complex64: torch.complex128}
"""In which type PyTorch computes what its results of these types should be."""


def declared(op: Any) -> Tolerances:
    """How far the results of an operator of the database may move, as the database itself says, when its operands only
    lie in another order in memory."""
    from torch.testing._internal.common_device_type import toleranceOverride  # takes seconds

    found: Tolerances = {}
    for decorator in op.decorators:
        if getattr(decorator, "cls_name", None) == "TestCommon" and decorator.device_type in (None, "cpu") and (
                decorator.test_name in (None, "test_noncontiguous_samples")):
            for inner in decorator.decorators:
                if isinstance(inner, toleranceOverride):
                    found |= {dtype: (t.rtol, t.atol) for dtype, t in inner.d.items()}
    return found


def difference(ours: Any, expected: Any, *, values: bool = True, exact: Callable[[], Any] | None = None,
               wider: Tolerances | None = None) -> str:
    """How what minigrad returned differs from what PyTorch did; empty if it does not. Without ``values`` only shapes
    and dtypes count. ``exact`` computes what PyTorch returns for operands of a wider type: PyTorch rounds after each of
    its kernels, and where it strays more than we do, ours is as good. ``wider``: tolerances that count where they are
    larger than ``TOLERANCES``.

    >>> difference(minigrad.ones(2), torch.ones(3))
    'shape (2,), not (3,)'
    """
    wider = wider or {}
    found = _difference(theirs(ours), expected, values, wider)
    if exact is not None and " values, first " in found and _may_stray(expected):
        right = _rounded(exact(), expected)
        return "" if not _difference(theirs(ours), right, values, _with_errors(expected, right, wider)) else found
    return found


def _may_stray(expected: Any) -> bool:
    return any(map(_may_stray, expected)) if isinstance(expected, (list, tuple)) else (
        getattr(expected, "dtype", None) in WIDER)


ROUNDINGS = 16.0
"""So many roundings of its largest result PyTorch may be off to be a measure for ours: it rounds after each kernel, and
operators have a few. Where it counted it was off by up to 3, in grid_sample() of half types, and once by 393, in
vector_norm() of float16 (``python -m tools.operators --dtypes float16,bfloat16``)."""


def _with_errors(expected: Any, right: Any, wider: Tolerances) -> Tolerances:
    """The tolerances, absolute ones not below what PyTorch's results are off, within reason."""
    if isinstance(expected, (list, tuple)):
        for e, r in zip(expected, right, strict=True):
            wider = _with_errors(e, r, wider)
    elif isinstance(expected, torch.Tensor) and expected.numel() and expected.dtype in WIDER:
        largest = float(_dense(right).abs().nan_to_num(0, 0, 0).max())
        error = min(float((_dense(expected) - _dense(right)).abs().nan_to_num(0, 0, 0).max()),
                    ROUNDINGS * torch.finfo(expected.dtype).eps * largest)
        rtol, atol = wider.get(expected.dtype, (0.0, 0.0))
        return wider | {expected.dtype: (rtol, max(atol, error))}
    return wider


def _dense(value: torch.Tensor) -> torch.Tensor:
    return value.detach() if value.layout is torch.strided else value.detach().to_dense()


def _rounded(value: Any, expected: Any) -> Any:
    """Tensors of a wider type, in the dtypes of ``expected``."""
    if isinstance(value, (list, tuple)):
        return [_rounded(v, e) for v, e in zip(value, expected, strict=True)]
    return value.detach().to(expected.dtype) if isinstance(value, torch.Tensor) and (
        isinstance(expected, torch.Tensor)) else value


def _difference(ours: Any, expected: Any, values: bool, wider: Tolerances) -> str:
    if isinstance(expected, torch.Tensor):
        return _tensors(ours, expected.detach(), values, wider)
    if isinstance(expected, (list, tuple)) and not isinstance(expected, torch.Size):
        if not isinstance(ours, list):
            return f"{type(ours).__name__}, not {type(expected).__name__}"
        if len(ours) != len(expected):
            return f"{len(ours)} results, not {len(expected)}"
        found = [_difference(a, b, values, wider) for a, b in zip(ours, expected, strict=True)]
        return "; ".join(f"result {i}: {d}" for i, d in enumerate(found) if d)
    if isinstance(expected, torch.Size):
        return "" if tuple(ours) == tuple(expected) else f"{ours}, not {expected}"
    if isinstance(expected, (int, float, complex, bool, str, type(None), torch.dtype)):
        if values and type(ours) is not type(expected):
            return f"{type(ours).__name__} {ours}, not {type(expected).__name__} {expected}"
        same = ours == expected or (ours != ours and expected != expected)  # NaN
        return "" if same or not values else f"{ours}, not {expected}"
    return ""


def _tensors(ours: Any, expected: torch.Tensor, values: bool, wider: Tolerances) -> str:
    if not isinstance(ours, torch.Tensor):
        return f"{type(ours).__name__}, not a tensor"
    ours, expected = _dense(ours), _dense(expected)
    if ours.shape != expected.shape:
        return f"shape {tuple(ours.shape)}, not {tuple(expected.shape)}"
    if ours.dtype != expected.dtype:
        return f"dtype {ours.dtype}, not {expected.dtype}"
    if not values:
        return ""
    rtol, atol = [max(pair) for pair in zip(*[t.get(expected.dtype, (0, 0)) for t in (TOLERANCES, wider)], strict=True)]
    expected = expected.resolve_conj().resolve_neg()
    if rtol and expected.numel():  # sums of rounded numbers that cancel
        atol = max(atol, 8 * torch.finfo(expected.dtype).eps * float(expected.abs().nan_to_num(0, 0, 0).max()))
    close = torch.isclose(ours, expected, rtol=rtol, atol=atol, equal_nan=True)
    if bool(close.all()):
        return ""
    wrong = (~close).nonzero()
    first = tuple(wrong[0].tolist())
    return f"{len(wrong)} of {close.numel()} values, first {first}: {ours[first].item()}, not {expected[first].item()}"
