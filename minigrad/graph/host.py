"""Stage: realise. In: the name of a HOST function, its parameters and realised arrays. Out: its results, by NumPy.
These are the ops that no kernel does; everything else goes through the compiler.
Next: ``reference.py``."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.dtype import DType, bfloat16
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import Op

Parameters = tuple[Any, ...]
Type = tuple[tuple[int, ...], DType]
"""The shape and dtype of a result."""


def comparable(array: np.ndarray) -> np.ndarray:
    """The array in a type that NumPy sorts rightly: it does not put a bfloat16 NaN at the end."""
    return array.astype(np.float32) if array.dtype == bfloat16.numpy else array


def moved(array: np.ndarray, source: int, to: int) -> np.ndarray:
    """As ``np.moveaxis``, which takes long to find out that there is nothing to do."""
    return array if (source - to) % array.ndim == 0 else np.moveaxis(array, source, to)


def taken(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """As ``np.take_along_axis`` along the last axis, which takes long for a single row."""
    return rows[places] if rows.ndim == 1 else np.take_along_axis(rows, places, -1)


def stable_order(array: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    """The places along ``axis`` that put the elements in order, equal ones by their places; NaN counts as the largest.

    A number and its place become one integer, because NumPy sorts integers several times faster than it sorts places.

    >>> stable_order(np.array([2.0, np.nan, 1.0, 2.0]), 0, True)
    array([1, 0, 3, 2])
    """
    rows = moved(array, axis, -1)
    n = rows.shape[-1]
    if n < _SHORT:
        order = np.argsort(rows[..., ::-1] if descending else rows, axis=-1, kind="stable")
        return moved(n - 1 - order[..., ::-1] if descending else order, -1, axis)
    if n >= 2**_PLACE_BITS:
        numbers, places = _ranks(rows)
        numbers = -numbers if descending else numbers
        order = np.lexsort((places, numbers), axis=-1)
        return moved(taken(places, order), -1, axis)
    numbers, places = _keys(rows)
    both = (~numbers if descending else numbers) << _PLACE_BITS
    both |= places
    both.sort(axis=-1)
    both &= 2**_PLACE_BITS - 1
    return moved(both, -1, axis)


_SHORT = 200
"""Rows up to here are sorted faster by NumPy's own stable sort: on a Xeon with AVX-512, 100 float32 in 5 µs in place of
12, but 1000 in 83 in place of 16, as ``python -m timeit`` says."""
_PLACE_BITS = 31
"""The low bits of an integer hold the place; the number has the others, with its sign."""


def _keys(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers of 33 bits in the order of the numbers, and the places that they belong to."""
    kind, size = rows.dtype.kind, rows.dtype.itemsize
    if size == 8:
        return _ranks(rows)
    if kind == "f":
        bits = (rows.astype(np.float32) + np.float32(0)).view(np.int32)  # -0 + 0 is 0
        bits = np.where(np.isnan(rows), np.iinfo(np.int32).max, bits ^ ((bits >> 31) & 0x7FFFFFFF))
        return bits.astype(np.int64), np.arange(rows.shape[-1])
    return rows.astype(np.int64), np.arange(rows.shape[-1])


def _ranks(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many different numbers of a row are below each, and the places that these belong to, in any order."""
    places = np.argsort(rows, axis=-1)
    found = taken(rows, places)
    larger = found[..., 1:] != found[..., :-1]
    if rows.dtype.kind == "f":
        larger &= found[..., :-1] == found[..., :-1]  # after a NaN, which comes last, there are only others
    ranks = np.zeros(rows.shape, np.int64)
    np.cumsum(larger, axis=-1, out=ranks[..., 1:])
    return ranks, places


def _argsort(arrays: Sequence[np.ndarray], axis: int, descending: bool) -> np.ndarray:
    return stable_order(comparable(arrays[0]), axis, descending)


def _rows(arrays: Sequence[np.ndarray], name: str, parameters: Parameters, rows: int,
          differs: tuple[bool, ...], types: tuple[tuple[tuple[int, ...], str], ...]) -> tuple[np.ndarray, ...]:
    """The results of another function for each row of the arrays that have rows in front."""
    results = tuple([np.empty((rows, *shape), dtype) for shape, dtype in types])
    for i in range(rows):
        made = HOST_FUNCTIONS[name]([a[i] if d else a for a, d in zip(arrays, differs, strict=True)], *parameters)
        for result, row in zip(results, made if isinstance(made, tuple) else (made,), strict=True):
            result[i] = row
    return results


HOST_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "argsort": _argsort,
    "rows": _rows,
}
"""By name: each takes the list of arrays, then its parameters, and gives an array or a tuple of arrays."""

HOST_GRADIENTS: dict[str, Callable[..., Sequence[LazyBuffer | None]]] = {}
"""By name: a gradient by hand, as in ``Function``, which takes the parameters last. A function of integers or without
a derivative has none."""

ALONG_AXIS = {"argsort", "topk", "kthvalue"}
"""Functions of one array that work along an axis, their first parameter: more axes in front only move it."""

IN_ROWS: set[str] = set()
"""Functions that take more axes in front of those that they work on, of all arrays alike, as those of matrices do. What
is in neither table is called for each row."""


def register_host(name: str, function: Callable[..., Any], gradient: Callable[..., Any] | None = None) -> None:
    """Make ``function(arrays, *parameters)`` known to HOST nodes under ``name``, and its gradient
    ``gradient(inputs, outputs, grads, *parameters)``."""
    HOST_FUNCTIONS[name] = function
    if gradient is not None:
        HOST_GRADIENTS[name] = gradient


def host_outputs(name: str, parameters: Parameters, srcs: Sequence[LazyBuffer],
                 types: Sequence[Type]) -> list[LazyBuffer]:
    """The results of the HOST function ``name`` on ``srcs``, which have these shapes and dtypes: the HOST node, which
    is the first, and an OUTPUT for each of the others.

    >>> from minigrad.dtype import float32, int64
    >>> x = LazyBuffer.const(1.0, float32, (3,), "CPU")
    >>> [node.op for node in host_outputs("frexp", (), [x], [((3,), float32), ((3,), int64)])]
    ['HOST', 'OUTPUT']
    """
    (shape, dtype), *others = types
    arg = (name, parameters, *others)
    node = LazyBuffer(Op.HOST, tuple(srcs), arg, shape, dtype, srcs[0].device)
    return [host_output(node, i) for i in range(len(types))]


def host_output(node: LazyBuffer, i: int) -> LazyBuffer:
    """Result i of a HOST node."""
    if i == 0:
        return node
    shape, dtype = node.arg[1 + i]
    return LazyBuffer(Op.OUTPUT, (node,), i, shape, dtype, node.device)


def host_gradient(node: LazyBuffer, grads: dict[int, LazyBuffer]) -> Sequence[LazyBuffer | None]:
    """The gradients of a HOST node's sources, given those of some of its results."""
    name, parameters, *others = node.arg
    by_hand = HOST_GRADIENTS.get(name)
    if by_hand is None:
        if node.dtype.kind not in "fc":
            return (None,) * len(node.srcs)
        raise NotImplementedError(f"the derivative of {name} is not implemented")
    numbers = range(1 + len(others))
    return by_hand(node.srcs, [host_output(node, i) for i in numbers], [grads.get(i) for i in numbers], *parameters)


def run_host(arg: tuple[Any, ...], arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The results of a HOST node with this ``arg``.

    >>> run_host(("argsort", (0, True)), [np.array([3.0, 5.0, 4.0])])[0].tolist()
    [1, 2, 0]
    """
    name, parameters, *_ = arg
    long = sum([a.size for a in arrays]) >= LONG and threading.current_thread() is threading.main_thread()
    made = (_aside if long else _here)(HOST_FUNCTIONS[name], arrays, parameters)
    return list(made) if isinstance(made, tuple) else [made]


LONG = 1 << 17
"""Elements from which on a function may take so long that it runs in a thread of its own: starting that takes 50 µs, to
sort so many numbers 1 ms."""


def _here(function: Callable[..., Any], arrays: Sequence[np.ndarray], parameters: Parameters) -> Any:
    return function(arrays, *parameters)


def _aside(function: Callable[..., Any], arrays: Sequence[np.ndarray], parameters: Parameters) -> Any:
    """The same in another thread, for the main thread: there the handlers of signals run, and not inside of NumPy's
    loops. Should one raise, the other thread goes on until it is done, and nobody sees what it finds."""
    made: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            made.append(function(arrays, *parameters))
        except BaseException as error:
            errors.append(error)

    context = contextvars.copy_context()  # NumPy's errstate is in it
    thread = threading.Thread(target=context.run, args=(run,), daemon=True, name="minigrad-host")
    try:
        thread.start()
    except RuntimeError:  # the system has no more threads
        return function(arrays, *parameters)
    while thread.is_alive():
        thread.join(0.05)
    if errors:
        raise errors[0]
    return made[0]
