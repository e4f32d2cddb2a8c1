"""Stage: realise. In: arrays, batches of matrices. Out: what LAPACK computes of them and NumPy does not offer: LU with
row interchanges, LDL, systems with triangular matrices, by blocked loops over columns for all matrices of a batch at
once, or where these take longer, by calls of LAPACK for each.
Next: ``library.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.tensor.lapack import library

BLOCK = 64
"""Columns that are eliminated one by one, before a product updates the others. On a Xeon ``lu`` of 1000 x 1000 float64
took 0.61 s with 16 and with 32, 0.42 with 64 and 0.40 with 128, as ``python -m timeit`` says; PyTorch takes 0.07."""

Arrays = tuple[np.ndarray, ...]


def magnitude(x: np.ndarray) -> np.ndarray:
    """|re| + |im|, by which LAPACK chooses pivots."""
    return np.abs(x.real) + np.abs(x.imag) if x.dtype.kind == "c" else np.abs(x)


def flat(a: np.ndarray) -> np.ndarray:
    """A copy with one dimension for the batch."""
    return np.array(a, order="C").reshape(int(np.prod(a.shape[:-2], dtype=np.int64)), *a.shape[-2:])


# --- LU


def lu(a: np.ndarray) -> Arrays:
    """The factors L (unit diagonal) and U in one matrix, the row that each step exchanged, counted from 1, and the
    first step whose pivot is 0, or 0. Right-looking, blocked. (Golub, Van Loan: Matrix Computations, 3.4)"""
    *batch, m, n = a.shape
    k, count = min(m, n), int(np.prod(batch, dtype=np.int64))
    given = a.reshape(count, m, n)
    with np.errstate(all="ignore"):
        x, rows = _factored(given, _largest)
        if np.isnan(x).any():  # a NaN stays, so that the result shows it
            unknown = np.isnan(x).any((1, 2))
            x[unknown], rows[:, unknown] = _factored(given[unknown], _largest_number)
    info = np.zeros(count, np.int32)
    zero = np.diagonal(x, axis1=1, axis2=2) == 0
    if zero.any():
        info = np.where(zero.any(1), zero.argmax(1) + 1, 0).astype(np.int32)
    return x.reshape(a.shape), (rows.T + 1).astype(np.int32).reshape(*batch, k), info.reshape(batch)


def _factored(a: np.ndarray, choose: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """L and U in one matrix, and for each step the rows, from 0, that came to the diagonal: ``choose`` chooses them."""
    count, m, n = a.shape
    k = min(m, n)
    lapack = library.offered("getrf", k, count, a.dtype)
    if lapack and choose is _largest:
        factors, pivots = library.lu(lapack, a)
        return factors, pivots.T.astype(np.int64) - 1
    rows = np.empty((k, count), np.int64)
    if k <= BLOCK:
        panel = _panel(a)
        _eliminate(panel, rows, choose)
        return np.array(panel.transpose(2, 0, 1), order="C"), rows
    x = a.copy()
    for begin in range(0, k, BLOCK):
        end = min(begin + BLOCK, k)
        panel = _panel(x[:, begin:, begin:end])
        _eliminate(panel, rows[begin:end], choose)
        rows[begin:end] += begin
        for j in range(begin, end):
            _exchange_rows(x, np.arange(count), j, rows[j])
        x[:, begin:, begin:end] = panel.transpose(2, 0, 1)
        if end < n:
            x[:, begin:end, end:] = substituted(x[:, begin:end, begin:end], x[:, begin:end, end:], False, True)
            x[:, end:, end:] -= x[:, end:, begin:end] @ x[:, begin:end, end:]
    return x, rows


def _panel(a: np.ndarray) -> np.ndarray:
    """A copy, whose last dimension is the batch. NumPy's inner loops run over what lies together in memory: that is the
    batch if it is larger than a row. In CPU time on a Xeon, medians of 60 alternating calls in float32, ``lu`` of
    (1000, 4, 4) takes 0.17 ms so and 0.29 otherwise, of (4, 128, 128) 4.4 and 6.5."""
    if len(a) < a.shape[-1]:
        return np.array(a, order="C").transpose(1, 2, 0)
    return np.ascontiguousarray(a.transpose(1, 2, 0))


def _largest(sizes: np.ndarray) -> np.ndarray:
    return sizes.argmax(0)


def _largest_number(sizes: np.ndarray) -> np.ndarray:
    """LAPACK takes a NaN only where it stands on the diagonal already."""
    return np.where(np.isnan(sizes[0]), 0, np.nan_to_num(sizes, nan=0.0, posinf=np.inf).argmax(0))


def _eliminate(x: np.ndarray, rows: np.ndarray, choose: Callable[[np.ndarray], np.ndarray]) -> None:
    """One column after another: the largest element comes to the diagonal, what is below becomes a column of L.
    ``rows`` is filled with the places where these elements were."""
    m, n, count = x.shape
    of_row, of_column, of_matrix = [stride // x.itemsize for stride in x.strides]
    memory = (x if of_matrix == 1 else x.transpose(2, 0, 1)).reshape(-1)
    first_row = np.arange(n)[:, None] * of_column + np.arange(count) * of_matrix
    for j in range(len(rows)):
        rows[j] = j
        if j + 1 == m:
            return
        rows[j] += choose(magnitude(x[j:, j]))
        there = first_row + rows[j] * of_row
        chosen = memory.take(there)
        memory[there] = x[j]
        x[j] = chosen
        top = x[j, j]
        x[j + 1:, j] /= top + (top == 0)
        x[j + 1:, j + 1:] -= x[j + 1:, j, None] * x[j, None, j + 1:]


def permutation(pivots: np.ndarray, size: int) -> np.ndarray:
    """The row of A that stands in each row of L U. A pivot that names no row is ignored."""
    *batch, k = pivots.shape
    steps = pivots.reshape(int(np.prod(batch, dtype=np.int64)), k).astype(np.int64) - 1
    order = np.tile(np.arange(size), (len(steps), 1))
    every = np.arange(len(steps))
    for j in range(min(k, size)):
        rows = np.clip(steps[:, j], 0, size - 1)
        order[every, j], order[every, rows] = order[every, rows], order[every, j]
    return order.reshape(*batch, size)


# --- triangular systems


def substituted(a: np.ndarray, b: np.ndarray, upper: bool, unit: bool) -> np.ndarray:
    """X with A X = B for a triangular A. Blocks of rows, from known ones to unknown ones."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    x = np.broadcast_to(b, batch + b.shape[-2:]).copy()
    n = a.shape[-1]
    lapack = library.offered("trsm", n, int(np.prod(batch, dtype=np.int64)), x.dtype)
    if lapack and a.dtype == x.dtype and x.size:
        every = np.ascontiguousarray(np.broadcast_to(a, (*batch, n, n)))
        library.solve_triangular(lapack, every.reshape(-1, n, n), x.reshape(-1, n, b.shape[-1]), upper, unit)
        return x
    blocks = [(i, min(i + BLOCK, n)) for i in range(0, n, BLOCK)]
    with np.errstate(all="ignore"):
        for begin, end in reversed(blocks) if upper else blocks:
            _block(a, x, begin, end, upper, unit)
            if upper and begin:
                x[..., :begin, :] -= a[..., :begin, begin:end] @ x[..., begin:end, :]
            elif not upper and end < n:
                x[..., end:, :] -= a[..., end:, begin:end] @ x[..., begin:end, :]
    return x


def _block(a: np.ndarray, x: np.ndarray, begin: int, end: int, upper: bool, unit: bool) -> None:
    for i in reversed(range(begin, end)) if upper else range(begin, end):
        known = slice(i + 1, end) if upper else slice(begin, i)
        if known.start < known.stop:
            x[..., i, :] -= (a[..., i:i + 1, known] @ x[..., known, :])[..., 0, :]
        if not unit:
            x[..., i, :] /= a[..., i, i, None]


# --- LDL

_ALPHA = (1 + 17**0.5) / 8  # it keeps the growth of a step of order 1 twice and that of one of order 2 equal


def _same(v: np.ndarray, conjugate: bool) -> np.ndarray:
    return v.conj() if conjugate else v


def ldl(a: np.ndarray, hermitian: bool) -> Arrays:
    """A = L D Lᵀ (or Lᴴ) with blocks of order 1 and 2 in D, as LAPACK stores it: D and L's lower triangle in one
    matrix; the row exchanged, counted from 1, negative in both rows of a block of order 2; the first zero block. Each
    step eliminates a column of all matrices whose next block begins there. (J. Bunch, L. Kaufman 1977)"""
    *batch, _, n = a.shape
    x, count = flat(a), int(np.prod(batch, dtype=np.int64))
    pivots, info = np.zeros((count, n), np.int32), np.zeros(count, np.int32)
    conjugate = hermitian and a.dtype.kind == "c"
    begins = np.zeros(count, np.int64)
    with np.errstate(all="ignore"):
        for k in range(n):
            at = np.flatnonzero(begins == k)
            sizes, rows = _pivots(x, at, k, conjugate)
            begins[at] = k + np.maximum(sizes, 1)
            zero = at[sizes == 0]
            info[zero[info[zero] == 0]] = pivots[zero, k] = k + 1
            for size in (1, 2):
                some, row = at[sizes == size], rows[sizes == size]
                if len(some):
                    pivots[some, k:k + size] = ((row + 1) * (3 - 2 * size))[:, None]
                    _exchange(x, some, k, k + size - 1, row, conjugate)
                    _eliminate_block(x, some, k, size, conjugate)
    return np.tril(x).reshape(a.shape), pivots.reshape(*batch, n), info.reshape(batch)


def _pivots(x: np.ndarray, at: np.ndarray, k: int, conjugate: bool) -> tuple[np.ndarray, np.ndarray]:
    """For these matrices the order of the next block of D, 0 for a column of zeros, and the row that comes there."""
    n = x.shape[-1]
    diagonal = np.abs(x[at, k, k].real) if conjugate else magnitude(x[at, k, k])
    if k + 1 == n:
        return np.where(diagonal == 0, 0, 1), np.full(len(at), k)
    column = magnitude(x[at, k + 1:, k])
    largest, row = column.max(1), k + 1 + column.argmax(1)
    places = np.arange(n)
    left = np.where((places >= k) & (places < row[:, None]), magnitude(x[at, row]), 0)
    below = np.where(places > row[:, None], magnitude(x[at, :, row]), 0)
    widest = np.maximum(left.max(1), below.max(1))
    corner = np.abs(x[at, row, row].real) if conjugate else magnitude(x[at, row, row])
    alone = ~(largest > 0)
    stays = alone | (diagonal >= _ALPHA * largest) | (diagonal * widest >= _ALPHA * largest * largest)
    sizes = np.where(alone & (diagonal == 0), 0, np.where(stays | (corner >= _ALPHA * widest), 1, 2))
    return sizes, np.where(stays, k, row)


def _exchange(x: np.ndarray, at: np.ndarray, k: int, first: int, rows: np.ndarray, conjugate: bool) -> None:
    """Exchange rows and columns ``first`` and ``rows`` of matrices whose lower triangle is used, from column k on."""
    for row in set(rows.tolist()) - {first}:
        i = at[rows == row]
        x[i, row + 1:, first], x[i, row + 1:, row] = x[i, row + 1:, row], x[i, row + 1:, first]
        x[i, first + 1:row, first], x[i, row, first + 1:row] = (
            _same(x[i, row, first + 1:row], conjugate), _same(x[i, first + 1:row, first], conjugate))
        x[i, row, first] = _same(x[i, row, first], conjugate)
        x[i, first, first], x[i, row, row] = x[i, row, row], x[i, first, first]
        if first > k:
            x[i, first, k], x[i, row, k] = x[i, row, k], x[i, first, k]


def _eliminate_block(x: np.ndarray, at: np.ndarray, k: int, size: int, conjugate: bool) -> None:
    """What is below a block of D becomes columns of L, the rest what they leave of it."""
    i, end = _indices(at, x), k + size
    below, block = x[i, end:, k:end], _block_of(x, i, k, size, conjugate)
    if conjugate:
        for j in range(size):
            x[i, k + j, k + j] = block[:, j, j]
    factor = below / block if size == 1 else below @ np.linalg.inv(block)
    x[i, end:, end:] -= np.tril(factor @ _same(below, conjugate).swapaxes(-1, -2))
    x[i, end:, k:end] = factor


def _indices(at: np.ndarray, x: np.ndarray) -> Any:
    """A slice if it is all matrices: it makes no copy."""
    return slice(None) if len(at) == len(x) else at


def _block_of(x: np.ndarray, i: Any, k: int, size: int, conjugate: bool) -> np.ndarray:
    """The block of D, of which the matrices have the lower triangle."""
    block = x[i, k:k + size, k:k + size].copy()
    if size == 2:
        block[:, 0, 1] = _same(block[:, 1, 0], conjugate)
    if conjugate:
        for j in range(size):
            block[:, j, j] = block[:, j, j].real
    return block


def ldl_solved(ld: np.ndarray, pivots: np.ndarray, b: np.ndarray, hermitian: bool) -> np.ndarray:
    """X with A X = B, given ``ldl`` of A."""
    batch = np.broadcast_shapes(ld.shape[:-2], b.shape[:-2])
    n = ld.shape[-1]
    count = int(np.prod(batch, dtype=np.int64))
    a = np.broadcast_to(ld, (*batch, n, n)).reshape(count, n, n)
    steps = np.broadcast_to(pivots, (*batch, n)).reshape(count, n)
    x = flat(np.broadcast_to(b, (*batch, *b.shape[-2:])))
    conjugate = hermitian and ld.dtype.kind == "c"
    blocks, rows = _blocks(steps), np.abs(steps.astype(np.int64)) - 1
    with np.errstate(all="ignore"):
        for at, k, size in blocks:
            _exchange_rows(x, at, k + size - 1, rows[at, k])
            i = _indices(at, x)
            x[i, k + size:] -= a[i, k + size:, k:k + size] @ x[i, k:k + size]
        for at, k, size in blocks:
            i = _indices(at, x)
            block = _block_of(a, i, k, size, conjugate)
            x[i, k:k + size] = x[i, k:k + size] / block if size == 1 else np.linalg.inv(block) @ x[i, k:k + size]
        for at, k, size in reversed(blocks):
            i = _indices(at, x)
            x[i, k:k + size] -= _same(a[i, k + size:, k:k + size], conjugate).swapaxes(-1, -2) @ x[i, k + size:]
            _exchange_rows(x, at, k + size - 1, rows[at, k])
    return x.reshape(*batch, *b.shape[-2:])


def _blocks(pivots: np.ndarray) -> list[tuple[np.ndarray, int, int]]:
    """The blocks of D from the first to the last: which matrices have it, where it begins, its order."""
    count, n = pivots.shape
    begins, found = np.zeros(count, np.int64), []
    for k in range(n):
        at = begins == k
        two = at & (pivots[:, k] <= 0) & (k + 1 < n)
        begins[at] = k + 1
        begins[two] = k + 2
        found += [(i, k, size) for size, i in ((1, np.flatnonzero(at & ~two)), (2, np.flatnonzero(two))) if len(i)]
    return found


def _exchange_rows(x: np.ndarray, at: np.ndarray, first: int, rows: np.ndarray) -> None:
    """Exchange the row ``first`` of these matrices and the one that stands in ``rows``."""
    x[at, first], x[at, rows] = x[at, rows], x[at, first]
