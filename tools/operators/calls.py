"""Stage: tests. In: a function and its arguments, in either library. Out: its result, always with the same random
numbers.
Next: ``writing.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

import minigrad
from tools.operators.compare import WIDER


def seeded(library: Any, function: Callable[..., Any], arguments: list[Any], options: dict[str, Any]) -> Any:
    """Call it, with the same seed each time."""
    library.manual_seed(42)
    return function(*arguments, **options)


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Lists, tuples and dicts with each Tensor changed."""
    if isinstance(value, (torch.Tensor, minigrad.Tensor)):
        return change(value)
    if type(value) in (list, tuple):
        return type(value)(mapped(v, change) for v in value)
    if type(value) is dict:
        return {k: mapped(v, change) for k, v in value.items()}
    return value


def leaves(value: Any, library: Any) -> list[Any]:
    """The Tensors in lists, tuples and dicts."""
    if isinstance(value, library.Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [leaf for inner in value for leaf in leaves(inner, library)]
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in leaves(inner, library)]
    return []


def evaluated(value: Any) -> Any:
    """What a call returned, when its Tensors have been computed."""
    for tensor in leaves(value, minigrad):
        tensor.realize()
    return value


def wide(t: torch.Tensor) -> torch.Tensor:
    """A tensor in the next wider type."""
    wider = WIDER.get(t.dtype)
    return t if wider is None else t.detach().to(wider).requires_grad_(t.requires_grad)


def shown(error: BaseException) -> str:
    """An error in one line.

    >>> shown(ValueError("bad"))
    'ValueError: bad'
    """
    return f"{type(error).__name__}: {error}".split("\n")[0][:300]


def same_type(error: BaseException, expected: type | tuple[type, ...]) -> bool:
    """Whether an error is of the expected type, or of one with its name: ``torch.linalg.LinAlgError`` is ours too."""
    types = expected if isinstance(expected, tuple) else (expected,)
    return isinstance(error, types) or type(error).__name__ in [t.__name__ for t in types]


def refused_alike(expected: BaseException, call: Callable[[], Any]) -> str:
    """How a call that PyTorch refuses with this error does not raise one of its type; empty if it does.

    >>> refused_alike(ValueError("bad"), lambda: 1)
    'no error, not ValueError: bad'
    """
    try:
        evaluated(call())
    except Exception as error:
        if same_type(error, type(expected)) or "failed to match any schema" in str(expected):  # torch.ops' TypeError
            return ""
        return f"{shown(error)}, not {shown(expected)}"
    return f"no error, not {shown(expected)}"


def of_other_kind(result: Any, expected: Any) -> str:
    """How the layouts of results differ, and whether they have gradients."""
    for a, b in zip(leaves(result, minigrad), leaves(expected, torch), strict=True):
        layout = f"torch.{str(a.layout).rpartition('.')[2]}"
        if layout != str(b.layout):
            return f"{layout}, not {b.layout}"
        if a.requires_grad and not b.requires_grad:  # the other way round, gradients of 0 are as good as none
            return "requires_grad is True"
    return ""
