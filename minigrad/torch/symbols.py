"""Stage: PyTorch programs. In: the functions that PyTorch has for sizes known only by symbols. Out: the same for
numbers: a program that is recorded here is recorded for its sizes, so none is a symbol.
Next: ``streams.py``."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

from minigrad.tensor import Tensor

__all__ = ["SymBool", "SymFloat", "SymInt", "_assert", "cond", "sym_float", "sym_int", "sym_ite", "sym_max", "sym_min",
           "sym_not", "sym_sum"]


class SymInt:
    """The type of symbolic integers, for ``isinstance``: there are none."""


class SymFloat:
    """The type of symbolic floats, for ``isinstance``: there are none."""


class SymBool:
    """The type of symbolic bools, for ``isinstance``: there are none."""


def _checked(a: Any, b: Any) -> bool:
    """Whether one of two numbers is a float; ``AssertionError`` for other things."""
    for value in (a, b):
        if not isinstance(value, int | float):
            raise AssertionError(f"expected int or float, got {type(value)}")
    return isinstance(a, float) or isinstance(b, float)


def sym_max(a: Any, b: Any) -> Any:
    """The larger number, a float if one of them is.

    >>> sym_max(3, 2.0)
    3.0
    """
    return float(builtins.max(a, b)) if _checked(a, b) else builtins.max(a, b)


def sym_min(a: Any, b: Any) -> Any:
    """The smaller number, a float if one of them is."""
    return float(builtins.min(a, b)) if _checked(a, b) else builtins.min(a, b)


def sym_int(a: Any) -> int:
    """``int(a)``."""
    return int(a)


def sym_float(a: Any) -> float:
    """``float(a)``."""
    return float(a)


def sym_not(a: Any) -> bool:
    """``not a``."""
    return not a


def sym_ite(b: bool, t: Any, f: Any) -> Any:
    """``t if b else f``; both must be of one type.

    >>> sym_ite(True, 1, 2)
    1
    """
    if not isinstance(b, bool):
        raise AssertionError(f"expected bool, got {type(b)}")
    if type(t) is not type(f):
        raise AssertionError(f"type mismatch: {type(t)} vs {type(f)}")
    return t if b else f


def sym_sum(*args: Any) -> Any:
    """The sum of numbers, given one after another or as a list.

    >>> sym_sum([1, 2]), sym_sum(1, 2)
    (3, 3)
    """
    return sum(args[0] if len(args) == 1 and isinstance(args[0], list | tuple) else args)


def _assert(condition: Any, message: str) -> None:
    """``AssertionError`` with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def cond(pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Sequence[Any] = ()) -> Any:
    """``true_fn(*operands)`` if ``pred`` holds, else ``false_fn(*operands)``. A Tensor is computed to know.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cond.html

    >>> cond(True, lambda x: x + 1, lambda x: x - 1, (1,))
    2
    """
    if isinstance(pred, Tensor) and pred.numel() != 1:
        raise RuntimeError(f"Expected pred to be bool or single-element tensor, but got {pred}.")
    return (true_fn if pred else false_fn)(*operands)
