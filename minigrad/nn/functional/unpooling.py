"""Stage: front. In: maxima and where they stood. Out: the tensor that they were the maxima of, 0 everywhere else.
Next: ``fractional.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.dtype import int64
from minigrad.nn.composites import pooling as formulas
from minigrad.nn.functional.arguments import one_per_dimension
from minigrad.nn.functional.windows import check_dtype, unpooled_size
from minigrad.tensor import Tensor, check_index_range, type_name

Sizes = int | Sequence[int]


def max_unpool1d(input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:
    """The inverse of ``max_pool1d(…, return_indices=True)`` as far as there is one: each maximum at its place, 0
    elsewhere.

    ``output_size`` chooses among the sizes that would have been pooled to this one. ``ValueError`` if it is none of
    them, ``RuntimeError`` for an index out of range.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_unpool1d.html)

    >>> import minigrad
    >>> max_unpool1d(minigrad.tensor([[3.0, 4.0]]), minigrad.tensor([[1, 3]]), 2)
    tensor([[0., 3., 0., 4.]])
    """
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:
    """The inverse of ``max_pool2d(…, return_indices=True)``. As ``max_unpool1d``.

    >>> import minigrad
    >>> max_unpool2d(minigrad.tensor([[[4.0]]]), minigrad.tensor([[[2]]]), 2)
    tensor([[[0., 0.],
             [4., 0.]]])
    """
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
                 output_size: Sequence[int] | None = None) -> Tensor:
    """The inverse of ``max_pool3d(…, return_indices=True)``. As ``max_unpool1d``."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


def _max_unpool(dims: int, input: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any,
                output_size: Any) -> Tensor:
    each = one_per_dimension(dims)
    sizes = each(kernel_size)
    strides = sizes if stride is None else each(stride)
    size = unpooled_size(input, sizes, strides, each(padding), output_size)
    shown, shown_indices, shown_size = list(input.shape), list(indices.shape), list(size)
    if dims == 1:  # PyTorch adds a dimension and unpools over two
        shown, shown_indices, shown_size = [*shown, 1], [*shown_indices, 1], [*shown_size, 1]
    over = max(dims, 2)
    if indices.dtype is not int64:
        got = "" if dims == 3 else f" but got: {type_name(indices.dtype)}"
        raise RuntimeError(f"elements in indices should be type int64{got}")
    if len(shown) - over not in (1, 2):
        raise RuntimeError(f"Input to max_unpooling{over}d should be a {over + 1}d or {over + 2}d Tensor, but got a "
                           f"tensor with {len(shown)} dimensions.")
    if shown != shown_indices:
        raise RuntimeError(f"Expected shape of indices to be same as that of the input tensor ({shown}) but got "
                           f"indices tensor with shape: {shown_indices}")
    for axis in range(1, len(shown)):
        if shown[axis] == 0:
            raise RuntimeError(f"max_unpooling{over}d_forward_out_cpu(): Expected input to have non-zero size for "
                               f"non-batch dimensions, but got {shown} with dimension {axis} being empty.")
    if dims == 3 and min(strides) <= 0:
        raise RuntimeError(f"strides should be greater than zero, but got stride: {list(strides)}")
    check_dtype(input, f"max_unpool{over}d", floats=True)
    volume = "x".join(map(str, shown_size))
    places = 1
    for n in size:
        places *= n
    if places:
        check_index_range(indices, places, error=RuntimeError,
                          message=f"Found an invalid max index: {{value}} (output volumes are of size {volume})")
    return formulas.MAX_UNPOOL[dims]((input, indices), (size,))
