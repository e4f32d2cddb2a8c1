"""Stage: vision. In: an image and what to do with it. Out: the image that results: a Tensor from a Tensor, by the
formulas of ``colors.py`` and ``warps.py``, a Pillow image from a Pillow image, by Pillow.
Next: ``parameters.py``.

(https://docs.pytorch.org/vision/stable/transforms.html#functional-transforms)

>>> from minigrad import arange
>>> hflip(arange(6).reshape(1, 2, 3))
tensor([[[2, 1, 0],
         [5, 4, 3]]])
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.tensor import Tensor, from_numpy
from minigrad.vision.transforms import colors, pillow, warps
from minigrad.vision.transforms.conversion import (
    convert_image_dtype,
    normalize,
    pil_to_tensor,
    to_pil_image,
    to_tensor,
)
from minigrad.vision.transforms.interpolation import PILLOW, InterpolationMode, mode_of

__all__ = [
    "InterpolationMode", "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation",
    "adjust_sharpness", "affine", "autocontrast", "center_crop", "convert_image_dtype", "crop", "equalize", "erase",
    "five_crop", "gaussian_blur", "get_dimensions", "get_image_num_channels", "get_image_size", "hflip", "invert",
    "normalize", "pad", "perspective", "pil_modes_mapping", "pil_to_tensor", "posterize", "resize", "resized_crop",
    "rgb_to_grayscale", "rotate", "solarize", "ten_crop", "to_grayscale", "to_pil_image", "to_tensor", "vflip",
]

Size = int | Sequence[int]
pil_modes_mapping = PILLOW


def get_dimensions(img: Any) -> list[int]:
    """[channels, height, width]."""
    if isinstance(img, Tensor):
        colors.check(img)
        return [colors.count(img), *img.shape[-2:]]
    width, height = pillow.checked(img).size
    return [pillow.count(img), height, width]


def get_image_size(img: Any) -> list[int]:
    """[width, height]."""
    return get_dimensions(img)[:0:-1]


def get_image_num_channels(img: Any) -> int:
    """How many channels."""
    return get_dimensions(img)[0]


def _resized(height: int, width: int, size: Sequence[int] | None, max_size: int | None) -> list[int]:
    """[height, width] of the result of ``resize``."""
    if size is not None and len(size) == 2:
        return list(size)
    short, long = min(height, width), max(height, width)
    if size is None:
        if not isinstance(max_size, int):
            raise ValueError(f"max_size must be an integer when size is None, but got {max_size} instead.")
        new_short, new_long = int(max_size * short / long), max_size
    else:
        new_short, new_long = size[0], int(size[0] * long / short)
        if max_size is not None:
            if max_size <= size[0]:
                raise ValueError(f"max_size = {max_size} must be strictly greater than the requested size for the "
                                 f"smaller edge size = {size}")
            if new_long > max_size:
                new_short, new_long = int(max_size * new_short / new_long), max_size
    return [new_long, new_short] if width <= height else [new_short, new_long]


def resize(img: Any, size: Size | None, interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
           max_size: int | None = None, antialias: bool | None = True) -> Any:
    """The image in another size: (h, w), or one number for the smaller edge; then the larger one is at most
    ``max_size``.

    ``antialias`` widens the filter where a Tensor becomes smaller; Pillow always does. ``ValueError`` for sizes that
    are not one or two numbers.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.functional.resize.html)

    >>> from minigrad import arange
    >>> resize(arange(16.0).reshape(1, 4, 4), 2, antialias=False)
    tensor([[[ 2.5000,  4.5000],
             [10.5000, 12.5000]]])
    """
    mode = mode_of(interpolation)
    sizes = [size] if isinstance(size, int) else size
    if sizes is not None and len(sizes) not in (1, 2):
        raise ValueError(f"Size must be an int or a 1 or 2 element tuple/list, not a {len(sizes)} element tuple/list")
    if sizes is not None and max_size is not None and len(sizes) != 1:
        raise ValueError("max_size should only be passed if size specifies the length of the smaller edge, i.e. size "
                         "should be an int or a sequence of length 1 in torchscript mode.")
    _, height, width = get_dimensions(img)
    new = _resized(height, width, sizes, max_size)
    if new == [height, width]:
        return img
    if isinstance(img, Tensor):
        return warps.resize(img, new, mode.value, antialias)
    if antialias is False:
        warnings.warn("Anti-alias option is always applied for PIL Image input. Argument antialias is ignored.",
                      stacklevel=2)
    return pillow.resize(img, new, PILLOW[mode])


def pad(img: Any, padding: Size, fill: Any = 0, padding_mode: str = "constant") -> Any:
    """A border: one number for all sides, (left and right, top and bottom), or (left, top, right, bottom).

    ``padding_mode``: constant (``fill``), edge (the last pixel), reflect (mirrored without it), symmetric (with it).
    (https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.functional.pad.html)
    """
    if not isinstance(padding, (int, tuple, list)):
        raise TypeError("Got inappropriate padding arg")
    if not isinstance(padding_mode, str):
        raise TypeError("Got inappropriate padding_mode arg")
    if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
        raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
    if not isinstance(img, Tensor):
        return pillow.pad(pillow.checked(img), padding, fill, padding_mode)
    if fill is not None and not isinstance(fill, (int, float)):
        raise TypeError("Got inappropriate fill arg")
    return warps.pad(img, padding, fill, padding_mode)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """A part of the image; what is outside it is 0."""
    if isinstance(img, Tensor):
        return warps.crop(img, top, left, height, width)
    return pillow.crop(pillow.checked(img), top, left, height, width)


def pair(size: Size) -> tuple[int, int]:
    """(height, width) of one or two numbers."""
    if isinstance(size, (int, float)):
        return int(size), int(size)
    return (size[0], size[0]) if len(size) == 1 else (size[0], size[1])


def center_crop(img: Any, output_size: Size) -> Any:
    """The middle of the image, with a border of 0 where it is smaller."""
    high, wide = pair(output_size)
    _, height, width = get_dimensions(img)
    if wide > width or high > height:
        missing = max(wide - width, 0), max(high - height, 0)
        img = pad(img, [missing[0] // 2, missing[1] // 2, (missing[0] + 1) // 2, (missing[1] + 1) // 2], fill=0)
        _, height, width = get_dimensions(img)
        if (wide, high) == (width, height):
            return img
    return crop(img, round((height - high) / 2.0), round((width - wide) / 2.0), high, wide)


def resized_crop(img: Any, top: int, left: int, height: int, width: int, size: Size,
                 interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
                 antialias: bool | None = True) -> Any:
    """``crop``, then ``resize``."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def hflip(img: Any) -> Any:
    """Left and right exchanged."""
    return img.flip(-1) if isinstance(img, Tensor) else pillow.hflip(pillow.checked(img))


def vflip(img: Any) -> Any:
    """Top and bottom exchanged."""
    return img.flip(-2) if isinstance(img, Tensor) else pillow.vflip(pillow.checked(img))


def five_crop(img: Any, size: Size) -> tuple[Any, Any, Any, Any, Any]:
    """The corners (top left, top right, bottom left, bottom right) and the middle. ``ValueError`` if they are larger
    than the image."""
    high, wide = pair(size)
    _, height, width = get_dimensions(img)
    if wide > width or high > height:
        raise ValueError(f"Requested crop size {(high, wide)} is bigger than input size {(height, width)}")
    places = ((0, 0), (0, width - wide), (height - high, 0), (height - high, width - wide))
    a, b, c, d = (crop(img, top, left, high, wide) for top, left in places)
    return a, b, c, d, center_crop(img, [high, wide])


def ten_crop(img: Any, size: Size, vertical_flip: bool = False) -> tuple[Any, ...]:
    """``five_crop`` of the image and of its mirror image."""
    return five_crop(img, size) + five_crop(vflip(img) if vertical_flip else hflip(img), size)


def _factor(name: str, value: float) -> float:
    if value < 0:
        raise ValueError(f"{name} ({value}) is not non-negative.")
    return value


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """0 is black, 1 the image, 2 twice as bright."""
    if isinstance(img, Tensor):
        return colors.brightness(img, _factor("brightness_factor", brightness_factor))
    return pillow.enhanced(pillow.checked(img), "Brightness", brightness_factor)


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """0 is the mean gray, 1 the image, 2 twice the contrast."""
    if isinstance(img, Tensor):
        return colors.contrast(img, _factor("contrast_factor", contrast_factor))
    return pillow.enhanced(pillow.checked(img), "Contrast", contrast_factor)


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """0 is the gray image, 1 the image, 2 twice the saturation."""
    if isinstance(img, Tensor):
        return colors.saturation(img, _factor("saturation_factor", saturation_factor))
    return pillow.enhanced(pillow.checked(img), "Color", saturation_factor)


def adjust_sharpness(img: Any, sharpness_factor: float) -> Any:
    """0 is smoothed, 1 the image, 2 sharper."""
    if isinstance(img, Tensor):
        return colors.sharpness(img, _factor("sharpness_factor", sharpness_factor))
    return pillow.enhanced(pillow.checked(img), "Sharpness", sharpness_factor)


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """The hue turned by ``hue_factor`` of the circle. ``ValueError`` outside [-0.5, 0.5]."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    return colors.hue(img, hue_factor) if isinstance(img, Tensor) else pillow.hue(pillow.checked(img), hue_factor)


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """gain · img^gamma, of values in [0, 1]."""
    if gamma < 0:
        raise ValueError("Gamma should be a non-negative real number")
    return colors.gamma(img, gamma, gain) if isinstance(img, Tensor) else pillow.gamma(pillow.checked(img), gamma, gain)


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """Gray values, in one channel or three."""
    return colors.gray(img, num_output_channels) if isinstance(img, Tensor) else to_grayscale(img, num_output_channels)


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """Gray values of a Pillow image. ``TypeError`` for anything else."""
    if not pillow.is_pillow(img):
        raise TypeError("Input should be PIL Image")
    return pillow.gray(img, num_output_channels)


def invert(img: Any) -> Any:
    """White - img."""
    return colors.invert(img) if isinstance(img, Tensor) else pillow.operation(pillow.checked(img), "invert")


def posterize(img: Any, bits: int) -> Any:
    """Only the upper ``bits`` bits of 8. ``ValueError`` outside 0 … 8."""
    if not 0 <= bits <= 8:
        raise ValueError(f"The number if bits should be between 0 and 8. Got {bits}")
    return colors.posterize(img, bits) if isinstance(img, Tensor) else pillow.operation(
        pillow.checked(img), "posterize", bits)


def solarize(img: Any, threshold: float) -> Any:
    """Inverted where it is at least ``threshold``."""
    return colors.solarize(img, threshold) if isinstance(img, Tensor) else pillow.operation(
        pillow.checked(img), "solarize", threshold)


def autocontrast(img: Any) -> Any:
    """Each channel spread so that it goes from black to white."""
    return colors.autocontrast(img) if isinstance(img, Tensor) else pillow.operation(
        pillow.checked(img), "autocontrast")


def equalize(img: Any) -> Any:
    """Values spread so that each is about as frequent. ``NotImplementedError`` for Tensors."""
    if isinstance(img, Tensor):
        raise NotImplementedError("torchvision.transforms.functional.equalize is not there for Tensors; give it a PIL "
                                  "image")
    return pillow.operation(pillow.checked(img), "equalize")


def erase(img: Any, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Tensor:
    """A Tensor with ``v`` in h rows from i on, w columns from j on. ``TypeError`` unless it is a Tensor."""
    if not isinstance(img, Tensor):
        raise TypeError(f"img should be Tensor Image. Got {type(img)}")
    image = img if inplace else img.clone()
    image[..., i:i + h, j:j + w] = v
    return image


def gaussian_blur(img: Any, kernel_size: Size, sigma: float | Sequence[float] | None = None) -> Any:
    """A Gaussian filter of (width, height) ``kernel_size``; ``sigma`` None is 0.15 k + 0.35.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.functional.gaussian_blur.html)"""
    if not isinstance(kernel_size, (int, list, tuple)):
        raise TypeError(f"kernel_size should be int or a sequence of integers. Got {type(kernel_size)}")
    sizes = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
    if len(sizes) != 2:
        raise ValueError(f"If kernel_size is a sequence its length should be 2. Got {len(sizes)}")
    if any(size % 2 == 0 or size < 0 for size in sizes):
        raise ValueError(f"kernel_size should have odd and positive integers. Got {list(sizes)}")
    if sigma is None:
        widths = tuple([size * 0.15 + 0.35 for size in sizes])
    else:
        widths = (float(sigma),) * 2 if isinstance(sigma, (int, float)) else tuple([float(s) for s in sigma])
        widths = widths * 2 if len(widths) == 1 else widths
    if len(widths) != 2:
        raise ValueError(f"If sigma is a sequence, its length should be 2. Got {len(widths)}")
    if any(width <= 0.0 for width in widths):
        raise ValueError(f"sigma should have positive values. Got {list(widths)}")
    kernel, width = (sizes[0], sizes[1]), (widths[0], widths[1])
    if isinstance(img, Tensor):
        return colors.blur(img, kernel, width)

    def by(planes: np.ndarray[Any, Any], *how: Any) -> np.ndarray[Any, Any]:
        return colors.blur(from_numpy(planes.copy()), *how).numpy()

    return pillow.blur(pillow.checked(img), kernel, width, by)


def rotate(img: Any, angle: float, interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
           expand: bool = False, center: Sequence[float] | None = None, fill: Any = None) -> Any:
    """The image turned by ``angle`` degrees, counter-clockwise, around ``center`` (x, y).

    ``expand`` makes the result large enough for all of it. Outside the image is ``fill``.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.functional.rotate.html)
    """
    mode = mode_of(interpolation)
    if not isinstance(angle, (int, float)):
        raise TypeError("Argument angle should be int or float")
    if center is not None and not isinstance(center, (list, tuple)):
        raise TypeError("Argument center should be a sequence")
    if not isinstance(img, Tensor):
        return pillow.rotate(pillow.checked(img), angle, PILLOW[mode], expand, center, fill)
    _, height, width = get_dimensions(img)
    middle = [0.0, 0.0] if center is None else [center[0] - width * 0.5, center[1] - height * 0.5]
    matrix = warps.inverse_affine(middle, -angle, [0.0, 0.0], 1.0, [0.0, 0.0])
    return warps.affine(img, matrix, mode.value, fill, warps.turned_size(matrix, width, height) if expand else None)


def affine(img: Any, angle: float, translate: Sequence[float], scale: float, shear: float | Sequence[float],
           interpolation: InterpolationMode | int = InterpolationMode.NEAREST, fill: Any = None,
           center: Sequence[float] | None = None) -> Any:
    """The image sheared by (x, y) degrees, scaled, turned by ``angle`` degrees clockwise, moved by ``translate`` (x, y)
    pixels.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.functional.affine.html)"""
    mode = mode_of(interpolation)
    if not isinstance(angle, (int, float)):
        raise TypeError("Argument angle should be int or float")
    if not isinstance(translate, (list, tuple)):
        raise TypeError("Argument translate should be a sequence")
    if len(translate) != 2:
        raise ValueError("Argument translate should be a sequence of length 2")
    if scale <= 0.0:
        raise ValueError("Argument scale should be positive")
    if not isinstance(shear, (int, float, list, tuple)):
        raise TypeError("Shear should be either a single value or a sequence of two values")
    shears = [float(shear), 0.0] if isinstance(shear, (int, float)) else [float(s) for s in shear]
    shears = shears * 2 if len(shears) == 1 else shears
    if len(shears) != 2:
        raise ValueError(f"Shear should be a sequence containing two values. Got {shear}")
    if center is not None and not isinstance(center, (list, tuple)):
        raise TypeError("Argument center should be a sequence")
    _, height, width = get_dimensions(img)
    if not isinstance(img, Tensor):  # Pillow reads pixels at their middle, so the middle of all is at half a size
        at = [width * 0.5, height * 0.5] if center is None else center
        return pillow.affine(img, warps.inverse_affine(at, angle, translate, scale, shears), PILLOW[mode], fill)
    middle = [0.0, 0.0] if center is None else [center[0] - width * 0.5, center[1] - height * 0.5]
    moved = [1.0 * t for t in translate]
    return warps.affine(img, warps.inverse_affine(middle, angle, moved, scale, shears), mode.value, fill)


def perspective(img: Any, startpoints: Sequence[Sequence[int]], endpoints: Sequence[Sequence[int]],
                interpolation: InterpolationMode | int = InterpolationMode.BILINEAR, fill: Any = None) -> Any:
    """The image seen so that four ``startpoints`` (x, y) come to ``endpoints``.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.functional.perspective.html)"""
    mode = mode_of(interpolation)
    rows = []
    for (x, y), (u, v) in zip(endpoints, startpoints, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    numbers = np.linalg.lstsq(np.array(rows, dtype=np.float64),
                              np.array(startpoints, dtype=np.float64).reshape(8), rcond=None)[0]
    coefficients = [float(number) for number in numbers.astype(np.float32)]
    if isinstance(img, Tensor):
        return warps.perspective(img, coefficients, mode.value, fill)
    return pillow.perspective(pillow.checked(img), coefficients, PILLOW[mode], fill)


