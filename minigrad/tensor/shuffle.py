"""Stage: tensor, on the host. In: with which element each one changes places. Out: the order that this makes. The swaps
come one after another, so NumPy has no operation for them: many are a compiled loop, ``shuffle.ll``.
Next: ``normals.py``."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.runtime import llvm

FEW = 1 << 16
"""Swaps up to which a loop in Python takes less than loading the compiler (20 ms)."""


def shuffled(n: int, partners: np.ndarray) -> np.ndarray:
    """0 .. n-1, int64, after element i has changed places with element ``partners[i]``, for i = 0, 1 … in turn.
    ``partners``: uint32, at most n.

    >>> shuffled(4, np.array([2, 3, 2], np.uint32)).tolist()
    [2, 3, 0, 1]
    """
    if len(partners) > FEW and llvm.missing() is None:
        order = np.arange(n, dtype=np.uint32)
        partners = np.ascontiguousarray(partners)
        _native()(order.ctypes.data, partners.ctypes.data, len(partners))
        return order.astype(np.int64)
    places = list(range(n))
    for i, j in enumerate(partners.tolist()):
        places[i], places[j] = places[j], places[i]
    return np.array(places, np.int64)


@cache
def _native() -> Callable[[int, int, int], Any]:
    text = (Path(__file__).parent / "shuffle.ll").read_text(encoding="utf-8")
    module = llvm.compile_text(text, ("mg_shuffle",))
    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(module.addresses["mg_shuffle"])
    _kept.append(module)
    return function


_kept: list[Any] = []  # the code that the function is in
