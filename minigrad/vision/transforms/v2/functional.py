"""Stage: vision. In: an image and what to do with it. Out: the image that results, under the second version's names.
Next: ``minigrad/vision/datasets/``."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.dtype import DType, float32
from minigrad.tensor import Tensor, from_numpy
from minigrad.vision.transforms.functional import (
    InterpolationMode,
    adjust_brightness,
    adjust_contrast,
    adjust_gamma,
    adjust_hue,
    adjust_saturation,
    adjust_sharpness,
    affine,
    autocontrast,
    center_crop,
    convert_image_dtype,
    crop,
    equalize,
    erase,
    five_crop,
    gaussian_blur,
    get_dimensions,
    get_image_size,
    invert,
    normalize,
    pad,
    perspective,
    pil_to_tensor,
    posterize,
    resize,
    resized_crop,
    rgb_to_grayscale,
    rotate,
    solarize,
    ten_crop,
    to_grayscale,
    to_pil_image,
    to_tensor,
)
from minigrad.vision.transforms.functional import get_image_num_channels as get_num_channels
from minigrad.vision.transforms.functional import hflip as horizontal_flip
from minigrad.vision.transforms.functional import vflip as vertical_flip
from minigrad.vision.transforms.pillow import is_pillow

hflip, vflip = horizontal_flip, vertical_flip

__all__ = [
    "InterpolationMode", "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation",
    "adjust_sharpness", "affine", "autocontrast", "center_crop", "convert_image_dtype", "crop", "equalize", "erase",
    "five_crop", "gaussian_blur", "get_dimensions", "get_image_size", "get_num_channels", "get_size", "hflip",
    "horizontal_flip", "invert", "normalize", "pad", "perspective", "pil_to_tensor", "posterize", "resize",
    "resized_crop", "rgb_to_grayscale", "rotate", "solarize", "ten_crop", "to_dtype", "to_grayscale", "to_image",
    "to_pil_image", "to_tensor", "vertical_flip", "vflip",
]


def to_image(inpt: Any) -> Tensor:
    """A Tensor (C, H, W) with the values of a Pillow image or an array (H, W, C); a Tensor stays what it is.
    ``TypeError`` for anything else."""
    if isinstance(inpt, Tensor):
        return inpt
    if isinstance(inpt, np.ndarray):
        return from_numpy(np.ascontiguousarray(np.atleast_3d(inpt).transpose(2, 0, 1)))
    if is_pillow(inpt):
        return pil_to_tensor(inpt)
    raise TypeError("Input can either be a pure Tensor, a numpy array, or a PIL image, but got "
                    f"{type(inpt)} instead.")


def to_dtype(inpt: Tensor, dtype: DType = float32, scale: bool = False) -> Tensor:
    """In another dtype; with ``scale`` white stays white."""
    return convert_image_dtype(inpt, dtype) if scale else inpt.to(dtype)


def get_size(inpt: Any) -> list[int]:
    """[height, width]."""
    return get_dimensions(inpt)[1:]
