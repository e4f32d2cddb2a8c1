"""Stage: front. In: images. Out: they, read at the places of a grid, or with channels exchanged for pixels.
Next: ``minigrad/nn/composites/``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from operator import index
from typing import Any

from minigrad.nn.composites import shuffling
from minigrad.nn.composites.grid import GRID_SAMPLE, affine_grid_generator
from minigrad.tensor import Tensor, type_name
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.operands import require_tensor

_CHANGED = ("Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. Please "
            "specify align_corners=True if the old behavior is desired. See the documentation of grid_sample "
            "for details.")


def grid_sample(input: Tensor, grid: Tensor, mode: str = "bilinear", padding_mode: str = "zeros",
                align_corners: bool | None = None) -> Tensor:
    """``input`` (N, C, H, W) or (N, C, D, H, W) read at the places of ``grid`` (N, …, 2 or 3): (x, y) or (x, y, z),
    from -1 to 1 across the input.

    ``mode``: ``"bilinear"``, ``"nearest"`` or, in two dimensions, ``"bicubic"``. ``padding_mode``: what is read beyond,
    ``"zeros"``, the ``"border"``, or the ``"reflection"``. With ``align_corners`` -1 and 1 are the middles of the
    corner elements, otherwise their outer edges. Both arguments get gradients. ``RuntimeError`` for shapes that do not
    fit.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grid_sample.html)

    >>> import minigrad
    >>> x = minigrad.tensor([[[[1.0, 3.0]]]])
    >>> grid_sample(x, minigrad.tensor([[[[-0.5, 0.0], [0.0, 0.0]]]]), align_corners=False)
    tensor([[[[1., 2.]]]])
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError("nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but "
                         f"got: '{mode}'")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError("nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', "
                         f"but got: '{padding_mode}'")
    if align_corners is None:
        warnings.warn(_CHANGED, stacklevel=2)
    input, grid = operands_of("grid_sample", input, grid)
    _check_grid(input, grid, mode)
    return GRID_SAMPLE[input.ndim - 2]((input, grid), (mode, padding_mode, bool(align_corners)))


def _check_grid(input: Tensor, grid: Tensor, mode: str) -> None:
    shape, places = list(input.shape), list(grid.shape)
    both = f"but got input with sizes {shape} and grid with sizes {places}"
    if shape[0] != places[0]:
        raise RuntimeError(f"grid_sampler(): expected grid and input to have same batch size, {both}")
    if places[-1] != len(shape) - 2:
        raise RuntimeError(f"grid_sampler(): expected grid to have size {len(shape) - 2} in last dimension, but got "
                           f"grid with sizes {places}")
    for axis in range(2, len(shape)):
        if shape[axis] == 0:
            raise RuntimeError("grid_sampler(): expected input to have non-empty spatial dimensions, but input has "
                               f"sizes {shape} with dimension {axis} being empty")
    wanted = 5 if len(shape) == 5 else 4
    if len(shape) != len(places) or len(shape) not in (4, 5):
        raise RuntimeError(f"grid_sampler(): expected {wanted}D input and grid with same number of dimensions, {both}")
    if len(shape) == 5 and mode == "bicubic":
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    if grid.dtype is not input.dtype:
        raise RuntimeError(f"expected scalar type {type_name(input.dtype)} but found {type_name(grid.dtype)}")
    if not input.dtype.is_floating_point:
        name = "grid_sampler_2d_cpu_kernel_impl" if len(shape) == 4 else "grid_sampler_3d_cpu"
        raise NotImplementedError(f"\"{name}\" not implemented for '{type_name(input.dtype)}'")


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """A grid for ``grid_sample``: theta (N, 2, 3) times (x, y, 1) of every place of an output of ``size`` (N, C, H, W),
    or theta (N, 3, 4) for (N, C, D, H, W). ``ValueError`` for matrices of another shape and for empty sizes.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.affine_grid.html)

    >>> import minigrad
    >>> affine_grid(minigrad.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 1, 2), align_corners=False)
    tensor([[[[-0.5000,  0.0000],
              [ 0.5000,  0.0000]]]])
    """
    require_tensor(theta, "affine_grid", "theta", 1)
    if align_corners is None:
        warnings.warn(_CHANGED, stacklevel=2)
    if not theta.dtype.is_floating_point:
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    if len(size) not in (4, 5):
        raise NotImplementedError("affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, "
                                  f"respectively. Got size {size}.")
    dims = len(size) - 2
    if theta.ndim != 3 or tuple(theta.shape[-2:]) != (dims, dims + 1):
        raise ValueError(f"Expected a batch of {dims}D affine matrices of shape Nx{dims}x{dims + 1} for size {size}. "
                         f"Got {theta.shape}.")
    if align_corners and min(size[2:]) == 1:
        warnings.warn("Since version 1.3.0, affine_grid behavior has changed for unit-size grids when "
                      "align_corners=True. This is not an intended use case of affine_grid. See the documentation of "
                      "affine_grid for details.", stacklevel=2)
    elif min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    if theta.shape[0] != size[0]:
        raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: [{size[0]}, {dims + 1}] "
                           f"but got: [{theta.shape[0]}, {dims + 1}].")
    return affine_grid_generator(theta, size=tuple(size), corners=bool(align_corners))


# --- shuffles


def _factor(function: str, argument: str, value: Any) -> int:
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{function}(): argument '{argument}' (position 2) must be int, not "
                        f"{type(value).__name__}") from None


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(…, C r², H, W) to (…, C, H r, W r): r² channels become a square of r × r pixels. ``RuntimeError`` unless the
    channels are divisible by r². (Shi et al. 2016;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.PixelShuffle.html)

    >>> import minigrad
    >>> pixel_shuffle(minigrad.tensor([[[1]], [[2]], [[3]], [[4]]]), 2)
    tensor([[[1, 2],
             [3, 4]]])
    """
    require_tensor(input, "pixel_shuffle", "input", 1)
    factor = _factor("pixel_shuffle", "upscale_factor", upscale_factor)
    _check_pixels("pixel_shuffle", "upscale_factor", input, factor)
    channels = input.shape[-3]
    if channels % (factor * factor):
        raise RuntimeError("pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of "
                           f"upscale_factor, but input.size(-3)={channels} is not divisible by {factor * factor}")
    return shuffling.pixel_shuffle(input, factor=factor)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(…, C, H r, W r) to (…, C r², H, W): the inverse of ``pixel_shuffle``.

    >>> import minigrad
    >>> pixel_unshuffle(minigrad.tensor([[[1, 2], [3, 4]]]), 2).flatten()
    tensor([1, 2, 3, 4])
    """
    require_tensor(input, "pixel_unshuffle", "input", 1)
    factor = _factor("pixel_unshuffle", "downscale_factor", downscale_factor)
    _check_pixels("pixel_unshuffle", "downscale_factor", input, factor)
    for axis, side in ((-2, "height"), (-1, "width")):
        if input.shape[axis] % factor:
            raise RuntimeError(f"pixel_unshuffle expects {side} to be divisible by downscale_factor, but "
                               f"input.size({axis})={input.shape[axis]} is not divisible by {factor}")
    return shuffling.pixel_unshuffle(input, factor=factor)


def _check_pixels(function: str, argument: str, input: Tensor, factor: int) -> None:
    if input.ndim < 3:
        raise RuntimeError(f"{function} expects input to have at least 3 dimensions, but got input with {input.ndim} "
                           "dimension(s)")
    if factor <= 0:
        raise RuntimeError(f"{function} expects a positive {argument}, but got {factor}")


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """The channels of (N, C, …) in ``groups`` groups, taken from each group in turn. (Zhang et al. 2018;
    https://docs.pytorch.org/docs/stable/generated/torch.nn.ChannelShuffle.html)

    >>> import minigrad
    >>> channel_shuffle(minigrad.arange(4).reshape(1, 4, 1), 2).flatten()
    tensor([0, 2, 1, 3])
    """
    return _channel_shuffle("channel_shuffle", input, groups)


def native_channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """``channel_shuffle``."""
    return _channel_shuffle("native_channel_shuffle", input, groups)


def _channel_shuffle(name: str, input: Tensor, groups: int) -> Tensor:
    require_tensor(input, name, "input", 1)
    groups = _factor(name, "groups", groups)
    if input.ndim <= 2:
        raise RuntimeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    if input.shape[1] % groups:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {input.shape[1]} channels and "
                           f"{groups} groups.")
    return shuffling.channel_shuffle(input, groups=groups)
