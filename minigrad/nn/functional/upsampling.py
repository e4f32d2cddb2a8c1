"""Stage: front. In: a Tensor (N, C, …) and the size its dimensions … are to have. Out: it, interpolated.
Next: ``vision.py``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from operator import index
from typing import Any

from minigrad.dtype import uint8
from minigrad.nn.composites.resampling import INTERPOLATE, Axis
from minigrad.nn.functional.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from minigrad.tensor import Tensor, type_name

Sizes = int | Sequence[int]
Scales = float | Sequence[float]

_KINDS = {"linear": ("linear", 1), "bilinear": ("linear", 2), "trilinear": ("linear", 3), "bicubic": ("cubic", 2),
          "lanczos": ("lanczos", 2)}
_EXACT = ("nearest", "nearest-exact", "area")


def interpolate(input: Tensor, size: Sizes | None = None, scale_factor: Scales | None = None, mode: str = "nearest",
                align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
                antialias: bool = False) -> Tensor:
    """The dimensions after the second resampled to ``size``, or to ``scale_factor`` times their size.

    ``mode``: ``"nearest"`` (as old releases count it), ``"nearest-exact"``, ``"linear"`` (N, C, L), ``"bilinear"`` and
    ``"bicubic"`` (N, C, H, W), ``"trilinear"`` (N, C, D, H, W), ``"area"`` (adaptive average pooling), and
    ``"lanczos"``. Place o reads at (o + 1/2) s - 1/2 with the scale s; with ``align_corners`` at o (n - 1) / (m - 1).
    ``scale_factor`` is that scale itself, unless ``recompute_scale_factor`` takes it from the sizes. ``antialias``
    (bilinear, bicubic, lanczos) averages when it shrinks. ``ValueError`` and ``NotImplementedError`` for combinations
    that do not exist. (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.interpolate.html)

    >>> import minigrad
    >>> x = minigrad.tensor([[[0.0, 4.0]]])
    >>> interpolate(x, scale_factor=2), interpolate(x, 3, mode="linear", align_corners=True)
    (tensor([[[0., 0., 4., 4.]]]), tensor([[[0., 2., 4.]]]))
    """
    if mode in _EXACT:
        if align_corners is not None:
            raise ValueError("align_corners option can only be set with the interpolating modes: linear | bilinear | "
                             "bicubic | trilinear")
    elif align_corners is None:
        align_corners = False
    lengths = tuple(input.shape[2:])
    sizes, scales = _sizes_and_scales(lengths, size, scale_factor)
    if recompute_scale_factor and size is not None:
        raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
    if sizes is None and (recompute_scale_factor or mode == "area"):
        assert scales is not None
        sizes, scales = [int(n * scale) for n, scale in zip(lengths, scales, strict=True)], None
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and input.ndim == 4):
        raise ValueError("Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D "
                         "tensor as input")
    if mode == "area" and 1 <= len(lengths) <= 3:
        assert sizes is not None
        return (adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d)[len(lengths) - 1](input, sizes)
    return resampled(input, mode, sizes, scales, bool(align_corners), antialias)


def resampled(input: Tensor, mode: str, sizes: Sequence[int] | None, scales: Sequence[float | None] | None,
              align_corners: bool, antialias: bool) -> Tensor:
    """``interpolate`` to sizes, by scales or by both: the scales, where there are any, then say how far places are
    from each other, and the sizes how many there are."""
    lengths = tuple(input.shape[2:])
    dims = len(lengths)
    kind = mode if mode in _EXACT and 1 <= dims <= 3 else _KINDS.get(mode, ("", 0))[0]
    if not kind or (mode in _KINDS and _KINDS[mode][1] != dims):
        _raise_mode(input.ndim, mode)
    if mode == "lanczos" and (align_corners or not antialias):
        raise ValueError("Lanczos mode does not support align_corners=True" if align_corners else
                         "Lanczos mode requires antialias=True")
    if sizes is None:
        assert scales is not None
        sizes = [math.floor(n * (scale or 1)) for n, scale in zip(lengths, scales, strict=True)]
    _check_sizes(input, sizes, kind, antialias)
    axes = tuple([Axis(kind, n, m, _scale(n, m, None if scales is None else scales[i], align_corners),
                       align_corners, antialias) for i, (n, m) in enumerate(zip(lengths, sizes, strict=True))])
    return INTERPOLATE[kind, dims, antialias]((input,), (axes,))


def _sizes_and_scales(lengths: tuple[int, ...], size: Any,
                      scale_factor: Any) -> tuple[list[int] | None, list[float] | None]:
    dims = len(lengths)
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is not None:
        if not isinstance(size, list | tuple):
            return [_whole(size)] * dims, None
        if len(size) != dims:
            raise ValueError("Input and output must have the same number of spatial dimensions, but got input with "
                             f"spatial dimensions of {list(lengths)} and output size of {size}. Please provide input "
                             "tensor in (N, C, d1, d2, ...,dK) format and output size in (o1, o2, ...,oK) format.")
        if not all(hasattr(n, "__index__") for n in size):
            raise TypeError("expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, int, int], "
                            f"but got size with types {[type(n) for n in size]}")
        return [index(n) for n in size], None
    if scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    if not isinstance(scale_factor, list | tuple):
        return None, [float(scale_factor)] * dims
    if len(scale_factor) != dims:
        raise ValueError("Input and scale_factor must have the same number of spatial dimensions, but got input with "
                         f"spatial dimensions of {list(lengths)} and scale_factor of shape {scale_factor}. Please "
                         "provide input tensor in (N, C, d1, d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) "
                         "format.")
    return None, [float(scale) for scale in scale_factor]


def _whole(size: Any) -> int:
    try:
        return index(size)
    except TypeError:
        raise TypeError(f"interpolate(): argument 'size' must be int or tuple of ints, not {type(size).__name__}"
                        ) from None


def _scale(length: int, count: int, given: float | None, corners: bool) -> float:
    """How many elements lie between two places."""
    if corners:
        return (length - 1) / (count - 1) if count > 1 else 0.0
    return 1.0 / given if given is not None and given > 0 else length / count


def _check_sizes(input: Tensor, sizes: Sequence[int], kind: str, antialias: bool) -> None:
    shape, dims = list(input.shape), len(sizes)
    if min(sizes) <= 0 or 0 in shape[2:]:
        letters = "DHW"[-dims:]
        before, after = [", ".join(f"{letter}: {n}" for letter, n in zip(letters, given, strict=True))
                         for given in (shape[2:], sizes)]
        joint = "and output" if dims == 1 else "output"
        raise RuntimeError(f"Input and output sizes should be greater than 0, but got input ({before}) {joint} "
                           f"({after})")
    if shape[1] == 0:
        raise RuntimeError(f"Non-empty {dims + 2}D data tensor expected but got a tensor with sizes {shape}")
    if input.dtype is uint8 and (kind in _EXACT or dims == 2):
        return
    if not input.dtype.is_floating_point:
        name = ("compute_index_ranges_weights" if antialias else "compute_indices_weights_" + kind.split("-")[0])
        if kind != "cubic" and dims == 2 and not antialias:
            name = f"upsample_{'bilinear' if kind == 'linear' else 'nearest'}2d_channels_last"
        raise NotImplementedError(f"\"{name}\" not implemented for '{type_name(input.dtype)}'")


def _raise_mode(ndim: int, mode: str) -> None:
    wanted = {"linear": 3, "bilinear": 4, "trilinear": 5}.get(mode)
    if wanted is not None and 3 <= ndim <= 5:
        raise NotImplementedError(f"Got {ndim}D input, but {mode} mode needs {wanted}D input")
    raise NotImplementedError(f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {ndim}D) for the modes: "
                              "nearest | linear | bilinear | bicubic | trilinear | lanczos | area | nearest-exact "
                              f"(got {mode})")


def _deprecated(name: str) -> None:
    warnings.warn(f"`nn.functional.{name}` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=3)


def upsample(input: Tensor, size: Sizes | None = None, scale_factor: Scales | None = None, mode: str = "nearest",
             align_corners: bool | None = None) -> Tensor:
    """``interpolate``, which PyTorch wants instead: it warns."""
    _deprecated("upsample")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Sizes | None = None, scale_factor: Scales | None = None) -> Tensor:
    """``interpolate`` with the nearest element; it warns."""
    _deprecated("upsample_nearest")
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Sizes | None = None, scale_factor: Scales | None = None) -> Tensor:
    """``interpolate`` with ``mode="bilinear"`` and aligned corners; it warns."""
    _deprecated("upsample_bilinear")
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
