"""Stage: front. In: a Tensor, a window's size and how many windows there are to be. Out: the largest element of each of
as many windows at random distances.
Next: ``upsampling.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.nn.composites.fractional import FRACTIONAL_MAX_POOL
from minigrad.nn.functional.arguments import one_per_dimension, whole_numbers
from minigrad.tensor import Tensor, rand, type_name
from minigrad.tensor.operands import require_tensor

Sizes = int | Sequence[int]
Ratios = float | Sequence[float]
_SIDES = {2: ("height", "width"), 3: ("time", "height", "width")}


def fractional_max_pool2d_with_indices(input: Tensor, kernel_size: Sizes, output_size: Sizes | None = None,
                                       output_ratio: Ratios | None = None, return_indices: bool = False,
                                       _random_samples: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``fractional_max_pool2d`` and where each maximum stands: row * width + column, int64."""
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(input: Tensor, kernel_size: Sizes, output_size: Sizes | None = None,
                          output_ratio: Ratios | None = None, return_indices: bool = False,
                          _random_samples: Tensor | None = None) -> Any:
    """The largest element of windows of ``kernel_size`` at random distances, of (N, C, H, W) or (C, H, W): as many as
    ``output_size`` says, or ``output_ratio`` times the input's size.

    The random numbers are drawn as PyTorch draws them, (N, C, 2) uniform ones, or given by ``_random_samples``.
    ``RuntimeError`` if that many windows find no room. (Graham 2014;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool2d.html)

    >>> import minigrad
    >>> x = minigrad.arange(16.0).reshape(1, 4, 4)
    >>> fractional_max_pool2d(x, 2, 2, _random_samples=minigrad.zeros(1, 1, 2))
    tensor([[[ 5.,  7.],
             [13., 15.]]])
    """
    pair = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return pair if return_indices else pair[0]


def fractional_max_pool3d_with_indices(input: Tensor, kernel_size: Sizes, output_size: Sizes | None = None,
                                       output_ratio: Ratios | None = None, return_indices: bool = False,
                                       _random_samples: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """``fractional_max_pool3d`` and where each maximum stands, row-major in the last three dimensions, int64."""
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d(input: Tensor, kernel_size: Sizes, output_size: Sizes | None = None,
                          output_ratio: Ratios | None = None, return_indices: bool = False,
                          _random_samples: Tensor | None = None) -> Any:
    """As ``fractional_max_pool2d``, of (N, C, T, H, W) or (C, T, H, W)."""
    pair = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return pair if return_indices else pair[0]


def _fractional(dims: int, input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any,
                samples: Tensor | None) -> tuple[Tensor, Tensor]:
    name = f"fractional_max_pool{dims}d"
    require_tensor(input, name, "input", 1)
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    shape = tuple(input.shape)
    if len(shape) < dims + 1:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-len(shape)}, {len(shape) - 1}], but "
                         f"got {-dims - 1})")
    if output_size is None:
        if dims == 2 and len(output_ratio) > 2:
            raise ValueError(f"{name} requires output_ratio to either be a single Int or tuple of Ints.")
        ratios = one_per_dimension(dims)(output_ratio)
        output_size = [int(n * ratio) for n, ratio in zip(shape[-dims:], ratios, strict=False)]
    if samples is None:
        samples = rand(shape[0] if len(shape) != dims + 1 else 1, shape[-dims - 1], dims, dtype=input.dtype,
                       device=input.device)
    ints = "Ints" if dims == 2 else "three Ints"
    sizes, counts = [(given,) * dims if isinstance(given, int) else given for given in (
        whole_numbers(name, "kernel_size", 2, kernel_size), whole_numbers(name, "output_size", 3, output_size))]
    for what, given in (("kernel_size", sizes), ("output_size", counts)):
        if len(given) != dims:
            raise RuntimeError(f"{name}: {what} must either be a single Int or tuple of {ints}")
    _check_shape(dims, shape, sizes, counts)
    _check_samples(dims, input, samples)
    batched = len(shape) == dims + 2
    results = FRACTIONAL_MAX_POOL[dims].all((input if batched else input.unsqueeze(0), samples), (sizes, counts))
    values, places = results if batched else [result.squeeze(0) for result in results]
    return values, places


def _check_shape(dims: int, shape: tuple[int, ...], sizes: tuple[int, ...], counts: tuple[int, ...]) -> None:
    caller = f"fractional_max_pool{dims}d" + ("_out" if dims == 3 else "")
    if len(shape) - dims not in (1, 2):
        raise RuntimeError(f"{caller}(): Expected {dims + 1}D or {dims + 2}D tensor, but got: {list(shape)}")
    for axis in range(len(shape) - dims - 1, len(shape)):
        if shape[axis] == 0:
            raise RuntimeError(f"{caller}(): Expected input to have non-zero size for non-batch dimensions, but "
                               f"got{list(shape)} with dimension {axis} being empty.")
    if min(counts) < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(counts)}: "
                           f"{[*shape[:-dims], *counts]}")
    for side, n, size, count in zip(_SIDES[dims], shape[-dims:], sizes, counts, strict=True):
        if count + size - 1 > n or (dims == 3 and count + size - 1 >= n):
            raise RuntimeError(f"{caller}(): pool {side} {size} too large relative to input {side} {n}")


def _check_samples(dims: int, input: Tensor, samples: Tensor) -> None:
    if samples.dtype is not input.dtype:
        raise RuntimeError("Expect _random_samples to have the same dtype as input")
    if samples.ndim != 3:
        raise RuntimeError(f"Expect _random_samples to have 3 dimensions, got {samples.ndim}")
    batch = input.shape[0] if input.ndim == dims + 2 else 1
    if samples.shape[0] < batch:
        raise RuntimeError("Expect _random_samples.size(0) no less then input batch size.")
    if samples.shape[1] != input.shape[-dims - 1]:
        raise RuntimeError("Expect _random_samples.size(1) equals to input channel size.")
    if samples.shape[2] != dims:
        raise RuntimeError(f"Expect _random_samples.size(2) equals to {dims}; got {samples.shape[2]}.")
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f'"fractional_max_pool{dims}d" not implemented for \'{type_name(input.dtype)}\'')
