"""Stage: front. In: vectors and matrices. Out: matrices made of them: diagonal blocks, powers, combinations;
shapes that are broadcast together.
Next: ``linalg.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.dtype import int64
from minigrad.engine import leaf_from_numpy
from minigrad.tensor.base import AnyTensor, make
from minigrad.tensor.creation import full
from minigrad.tensor.definition import both, function
from minigrad.tensor.joining import cat, checked_list
from minigrad.tensor.operands import broadcast_shapes as fitting
from minigrad.tensor.operands import whole_number
from minigrad.tensor.size import Size

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


# --- shapes that are broadcast together


def _common_shape(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    dims = max((len(s) for s in shapes), default=0)
    result = [1] * dims
    for i, shape in enumerate(shapes):
        for axis in range(-1, -len(shape) - 1, -1):
            size = shape[axis]
            if size < 0:
                raise ValueError("Attempting to broadcast a dimension with negative length!")
            if size == 1 or result[axis] == size:
                continue
            if result[axis] != 1:
                used = result[dims - max(len(s) for s in shapes[:i]):]
                raise RuntimeError(f"Attempting to broadcast a dimension of length {size} at {axis}! Mismatching "
                                   f"argument at index {i} had {tuple(shape)}; but expected shape should be "
                                   f"broadcastable to {used}")
            result[axis] = size
    return tuple(result)


@function("broadcast_shapes")
def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that these broadcast to; ``RuntimeError`` if they do not.

    >>> import minigrad
    >>> minigrad.broadcast_shapes((2, 1), (3,))
    minigrad.Size([2, 3])
    """
    for shape in shapes:
        if not isinstance(shape, int | tuple | list):
            raise RuntimeError(f"Input shapes should be of type ints, a tuple of ints, or a list of ints, got {shape}")
    return Size(_common_shape([(shape,) if isinstance(shape, int) else tuple(shape) for shape in shapes]))


@function("broadcast_tensors")
def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The tensors expanded to one shape; views.

    >>> import minigrad
    >>> [tuple(t.shape) for t in minigrad.broadcast_tensors(minigrad.ones(2, 1), minigrad.ones(3))]
    [(2, 3), (2, 3)]
    """
    given = tuple(tensors[0]) if len(tensors) == 1 and not isinstance(tensors[0], AnyTensor) else tensors
    shape = fitting(*[t._shape() for t in given]) if given else ()
    return tuple([t if t._shape() == shape else t.expand(shape) for t in given])


# --- matrices


@function("block_diag")
def block_diag(*tensors: Any) -> Tensor:
    """A matrix with these matrices along its diagonal, 0 elsewhere; vectors are rows, numbers 1×1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.block_diag.html

    >>> import minigrad
    >>> minigrad.block_diag(minigrad.tensor([[1, 2]]), minigrad.tensor(3))
    tensor([[1, 2, 0],
            [0, 0, 3]])
    """
    given = tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], tuple | list) else tensors
    blocks = []
    for i, t in enumerate(checked_list(given, "block_diag") if given else ()):
        if t.ndim > 2:
            raise RuntimeError("torch.block_diag: Input tensors must have 2 or fewer dimensions. Input "
                               f"{i} has {t.ndim} dimensions")
        blocks.append(t.reshape(1, -1) if t.ndim < 2 else t)
    if not blocks:
        return full((1, 0), 0.0)
    width, at, rows = sum([b.shape[1] for b in blocks]), 0, []
    for block in blocks:
        height, own = block.shape
        after = width - at - own
        rows.append(cat([block.new_zeros(height, at), block, block.new_zeros(height, after)], 1))
        at += own
    return cat(rows, 0)


def _chosen(n: int, r: int, with_replacement: bool) -> np.ndarray:
    """The increasing rows of r indices below n, in order; equal ones too ``with_replacement``."""
    grid = np.indices((n,) * r).reshape(r, -1)
    steps = np.diff(grid, axis=0)
    kept = (steps >= 0).all(0) if with_replacement else (steps > 0).all(0)
    return np.ascontiguousarray(grid[:, kept].T).astype(np.int64)


@function("vander")
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The matrix of the powers N-1 … 0 of a vector's elements, a row each; ``increasing``: 0 … N-1.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.vander.html

    >>> import minigrad
    >>> minigrad.vander(minigrad.tensor([1, 2, 3]), 3)
    tensor([[1, 1, 1],
            [4, 2, 1],
            [9, 3, 1]])
    """
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    count = x.shape[0] if N is None else N
    if count < 0:
        raise RuntimeError("N must be non-negative.")
    powers_of = x if x.dtype.kind in "fc" else x.to(int64)
    ones = powers_of.new_ones(powers_of.shape[0], min(count, 1))
    powers = ones if count < 2 else cat([ones, powers_of.unsqueeze(1).expand(-1, count - 1).cumprod(1)], 1)
    return powers if increasing else powers.flip(1)


@function("combinations")
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All choices of r elements of a vector, in order, a row each; the same one repeatedly only
    ``with_replacement``.

    >>> import minigrad
    >>> minigrad.combinations(minigrad.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return input.new_empty(0)
    rows = _chosen(input.shape[0], r, with_replacement)
    return input[make(leaf_from_numpy(rows, int64, input._pending().device))]


class Assembling:
    """Matrices made of vectors and of other matrices."""

    __slots__ = ()

    @both("diagflat")
    def diagflat(self: Tensor, offset: int = 0) -> Tensor:
        """A matrix with the elements of the flat tensor on a diagonal."""
        return self.reshape(-1).diag(whole_number("diagflat", "offset", offset))
