"""Stage: realise. In: the name of a HOST function, its parameters and realised arrays. Out: its result, by NumPy.
These are the ops that no kernel does; everything else goes through the compiler.
Next: ``reference.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Parameters = tuple[Any, ...]


def _sorted_order(array: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    """Stable order with NaN last (first if descending), as PyTorch has it."""
    if not descending:
        return np.argsort(array, axis=axis, kind="stable")
    flipped = np.flip(array, axis)
    order = np.flip(np.argsort(flipped, axis=axis, kind="stable"), axis)
    return array.shape[axis] - 1 - order


def _argsort(arrays: Sequence[np.ndarray], axis: int, descending: bool) -> np.ndarray:
    return _sorted_order(arrays[0], axis, descending).astype(np.int64)


HOST_FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "argsort": _argsort,
}
"""By name: each takes the list of arrays, then its parameters."""


def register_host(name: str, function: Callable[..., np.ndarray]) -> None:
    """Make ``function(arrays, *parameters)`` known to HOST nodes under ``name``."""
    HOST_FUNCTIONS[name] = function


def run_host(arg: tuple[str, Parameters], arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The result of a HOST node with this ``arg``.

    >>> run_host(("argsort", (0, True)), [np.array([3.0, 5.0, 4.0])]).tolist()
    [1, 2, 0]
    """
    name, parameters = arg
    return HOST_FUNCTIONS[name](arrays, *parameters)
