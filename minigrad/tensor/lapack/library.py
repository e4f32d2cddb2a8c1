"""Stage: realise. In: arrays of one matrix after another. Out: what the LAPACK and BLAS that NumPy is linked with
compute of each, where NumPy has no function for it: LU with row interchanges, systems with triangular matrices.
Next: ``arrays.py``."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, NamedTuple

import numpy as np
from numpy.linalg import _umath_linalg as _numpy

LETTERS = {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}
NAMES = (("scipy_{}_64_", np.int64), ("{}_64_", np.int64), ("{}_", np.int32))
"""How libraries spell a routine, and their type of integers. (https://github.com/MacPython/openblas-libs)"""
CALLS = {"getrf": 20, "trsm": 3}
"""Calls, one for each matrix, that take as long as one step of a loop over columns that NumPy does for all matrices at
once. In float32 on a Xeon, 100 matrices of order 4: 1.0 µs a call of getrf and 21 a step of ``kernels.lu``, 4.6 µs a
call of trsm and 13 a step of ``kernels.substituted``, as ``python -m timeit`` says."""
ALONE = 512
"""Orders up to which OpenBLAS uses one thread. Others wait in a loop for their part, also while another program has the
core: on a Xeon with two cores, one of them busy, QR of (4, 128, 128) took 165 ms of CPU time by two threads and 3.6 by
one, the inverse of order 512 150 ms and 8.6."""


class Library(NamedTuple):
    """NumPy's module, in which the routines of the libraries that it was linked with are found; how they are spelled;
    their integers."""

    found: ctypes.CDLL
    spelling: str
    integer: Any

    def routine(self, name: str, dtype: np.dtype) -> Any:
        """The function for this type."""
        return getattr(self.found, self.spelling.format(LETTERS[dtype.name] + name))


@cache
def library() -> Library | None:
    """None if NumPy was linked with no library that has these routines, or a system of two equations is not solved."""
    try:
        found = ctypes.CDLL(_numpy.__file__)
    except OSError:
        return None
    for spelling, integer in NAMES:
        if all(hasattr(found, spelling.format(letter + name)) for letter in LETTERS.values() for name in CALLS):
            made = Library(found, spelling, integer)
            return made if _is_right(made) else None
    return None


def _is_right(made: Library) -> bool:
    x, pivots = lu(made, np.array([[[1.0, 2.0], [4.0, 4.0]]]))
    b = np.array([[[2.0], [6.0]]])
    solve_triangular(made, np.array([[[1.0, 0.0], [2.0, 2.0]]]), b, False, False)
    return x.tolist() == [[[4, 4], [0.25, 1]]] and pivots.tolist() == [[2, 2]] and b.tolist() == [[[2], [1]]]


def offered(name: str, steps: int, count: int, dtype: np.dtype) -> Library | None:
    """The library for this routine and so many matrices, whose columns would else take so many steps; None if there is
    none, or the steps take less time than the calls."""
    return library() if 0 < count <= CALLS[name] * steps and dtype.name in LETTERS else None


def in_one_thread(compute: Callable[..., Any]) -> Callable[..., Any]:
    """``compute(arrays, *static)``; if the matrices are small, in the calling thread, where OpenBLAS does the work."""

    @wraps(compute)
    def computed(arrays: Sequence[np.ndarray], *static: Any) -> Any:
        with _one_thread(library(), max([0, *[size for a in arrays for size in a.shape[-2:]]])):
            return compute(arrays, *static)

    return computed


@contextmanager
def _one_thread(made: Library | None, order: int) -> Iterator[None]:
    choose = getattr(made.found, "openblas_set_num_threads_local", None) if made and order <= ALONE else None
    before = choose(1) if choose else 0
    try:
        yield
    finally:
        if choose:
            choose(before)


def _number(value: int) -> Any:
    return ctypes.byref(ctypes.c_int64(value))


def _each(a: np.ndarray) -> list[ctypes.c_void_p]:
    """Where the matrices, or rows, of an array lie."""
    return [ctypes.c_void_p(a.ctypes.data + i * a.strides[0]) for i in range(len(a))]


def lu(made: Library, a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """L and U in one matrix, and the rows that the steps exchanged, counted from 1, of matrices (count, m, n)."""
    count, m, n = a.shape
    columns = np.array(a.swapaxes(1, 2), order="C")
    room = np.zeros((count, min(m, n)), np.int64)  # enough for either type of integers
    routine, rows, width, info = made.routine("getrf", a.dtype), _number(m), _number(n), _number(0)
    with _one_thread(made, max(m, n)):
        for matrix, chosen in zip(_each(columns), _each(room), strict=True):
            routine(rows, width, matrix, rows, chosen, info)
    return np.ascontiguousarray(columns.swapaxes(1, 2)), room.view(made.integer)[:, :min(m, n)]


def solve_triangular(made: Library, a: np.ndarray, b: np.ndarray, upper: bool, unit: bool) -> None:
    """B becomes X with A X = B, of matrices (count, n, n) and (count, n, k), which lie in C's order. To Fortran they
    are transposed: Xᵀ Aᵀ = Bᵀ."""
    _, n, k = b.shape
    one = np.ones(1, a.dtype)
    routine, rows, width = made.routine("trsm", a.dtype), _number(k), _number(n)
    how = [b"R", b"L" if upper else b"U", b"N", b"U" if unit else b"N"]
    lengths = [ctypes.c_size_t(1)] * len(how)  # of the strings, which Fortran wants last
    with _one_thread(made, n):
        for matrix, side in zip(_each(a), _each(b), strict=True):
            routine(*how, rows, width, *_each(one), matrix, width, side, rows, *lengths)
