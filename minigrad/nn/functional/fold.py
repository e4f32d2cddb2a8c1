"""Stage: front. In: images, or columns of what windows see. Out: one made of the other.
Next: ``activation.py``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from operator import index
from typing import Any

from minigrad.tensor import Tensor, type_name
from minigrad.tensor.convolution import FOLD, UNFOLD, Geometry

Pair = int | Sequence[int]


def unfold(input: Tensor, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0, stride: Pair = 1) -> Tensor:
    """What each window sees, as a column: (N, C, height, width) to (N, C * places, windows); unbatched likewise.

    ``RuntimeError`` for sizes that do not fit.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.unfold.html)

    >>> import minigrad
    >>> unfold(minigrad.arange(4.0).reshape(1, 1, 2, 2), (1, 2))
    tensor([[[0., 2.],
             [1., 3.]]])
    """
    _check_tensor(input, "im2col")
    options = _options("im2col", kernel_size, dilation, padding, stride)
    kernel, at = _unfolding(tuple(input.shape), *options)
    _check_type(input, "im2col")
    x = input if input.ndim == 4 else input.unsqueeze(0)
    y = UNFOLD((x,), (kernel, at))
    return y if x is input else y.squeeze(0)


def fold(input: Tensor, output_size: Pair, kernel_size: Pair, dilation: Pair = 1, padding: Pair = 0,
         stride: Pair = 1) -> Tensor:
    """The adjoint of ``unfold``: each element is the sum of its copies. (N, C * places, windows) to (N, C,
    *output_size); unbatched likewise. ``RuntimeError`` for sizes that do not fit.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fold.html)

    >>> import minigrad
    >>> fold(minigrad.ones(1, 2, 2), (1, 3), (1, 2))
    tensor([[[[1., 2., 1.]]]])
    """
    _check_tensor(input, "col2im")
    size = _pair("col2im", 1, "output_size", output_size)
    options = _options("col2im", kernel_size, dilation, padding, stride)
    kernel, positions, at = _folding(tuple(input.shape), size, *options)
    _check_type(input, "col2im")
    x = input if input.ndim == 3 else input.unsqueeze(0)
    y = FOLD((x,), (kernel, positions, at))
    return y if x is input else y.squeeze(0)


def _check_tensor(input: Any, name: str) -> None:
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")


def _check_type(input: Tensor, name: str) -> None:
    if not input.dtype.is_inexact and input.dtype.kind != "b":
        raise NotImplementedError(f"\"{name}_out_cpu\" not implemented for '{type_name(input.dtype)}'")


def _pair(name: str, position: int, argument: str, value: Any) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    for at, v in enumerate(values):
        if isinstance(v, bool) or not hasattr(v, "__index__"):
            raise TypeError(f"{name}(): argument '{argument}' (position {position + 1}) must be tuple of ints, but "
                            f"found element of type {type(v).__name__} at pos {at}")
    if len(values) == 1:
        values *= 2
    if len(values) != 2:
        raise RuntimeError(f"It is expected {argument} equals to 2, but got size {len(values)}")
    return tuple([index(v) for v in values])


def _options(name: str, *given: Any) -> list[tuple[int, ...]]:
    first = 1 if name == "im2col" else 2
    return [_pair(name, first + i, argument, value) for i, (argument, value) in enumerate(zip(
        ("kernel_size", "dilation", "padding", "stride"), given, strict=True))]


def _check_options(kernel: tuple[int, ...], dilation: tuple[int, ...], padding: tuple[int, ...],
                   stride: tuple[int, ...]) -> None:
    for what, name, sizes, least in (("kernel size", "kernel", kernel, 1), ("dilation", "dilation", dilation, 1),
                                     ("padding", "pad", padding, 0), ("stride", "stride", stride, 1)):
        if min(sizes) < least:
            how = "greater than zero" if least else "non-negative"
            raise RuntimeError(f"{what} should be {how}, but got {name}_height: {sizes[0]} {name}_width: {sizes[1]}")


def _positions(size: Sequence[int], kernel: tuple[int, ...], dilation: tuple[int, ...], padding: tuple[int, ...],
               stride: tuple[int, ...]) -> tuple[int, ...]:
    return tuple([(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(
        size, kernel, dilation, padding, stride, strict=True)])


@lru_cache(256)
def _unfolding(shape: tuple[int, ...], kernel: tuple[int, ...], dilation: tuple[int, ...], padding: tuple[int, ...],
               stride: tuple[int, ...]) -> tuple[tuple[int, ...], Geometry]:
    if len(shape) < 3:
        raise IndexError(f"Dimension out of range (expected to be in range of [-{len(shape)}, {len(shape) - 1}], but "
                         f"got {len(shape)})")
    _check_options(kernel, dilation, padding, stride)
    if len(shape) not in (3, 4) or 0 in shape[-3:]:
        raise RuntimeError("Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero "
                           f"dimensions for input, but got: {list(shape)}")
    out = _positions(shape[-2:], kernel, dilation, padding, stride)
    if min(out) < 1:
        raise RuntimeError(f"Given input with spatial size {shape[-2:]}, kernel_size={kernel}, dilation={dilation}, "
                           f"padding={padding}, calculated shape of the array of sliding blocks as {out}, but its "
                           "components must be at least one.")
    return kernel, Geometry(stride, tuple([(p, p) for p in padding]), dilation, 1, out)


@lru_cache(256)
def _folding(shape: tuple[int, ...], size: tuple[int, ...], kernel: tuple[int, ...], dilation: tuple[int, ...],
             padding: tuple[int, ...], stride: tuple[int, ...],
             ) -> tuple[tuple[int, ...], tuple[int, ...], Geometry]:
    _check_options(kernel, dilation, padding, stride)
    if len(shape) not in (2, 3) or 0 in shape[-2:]:
        raise RuntimeError("Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero "
                           f"dimensions for input, but got: {list(shape)}")
    axis = len(shape) - 2
    if shape[axis] % prod(kernel):
        raise RuntimeError(f"Expected size of input's dimension {axis} to be divisible by the product of kernel_size, "
                           f"but got input.size({axis})={shape[axis]} and kernel_size={kernel}.")
    positions = tuple([max(0, p) for p in _positions(size, kernel, dilation, padding, stride)])
    if prod(positions) != shape[axis + 1]:
        raise RuntimeError(f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, "
                           f"stride={stride}, expected size of input's dimension {axis + 1} to match the calculated "
                           f"number of sliding blocks {positions[0]} * {positions[1]} = {prod(positions)}, but got "
                           f"input.size({axis + 1})={shape[axis + 1]}.")
    return kernel, positions, Geometry(stride, tuple([(p, p) for p in padding]), dilation, 1, size)
