"""Stage: vision. In: Pillow's images. Out: others, made by Pillow. It is imported when the first of these is called.
Next: ``conversion.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.vision.transforms.warps import sides

if TYPE_CHECKING:
    from PIL.Image import Image

Fill = float | Sequence[float] | None

_CHANNELS = {"1": 1, "L": 1, "I": 1, "I;16": 1, "F": 1, "P": 1, "LA": 2, "PA": 2, "RGB": 3, "YCbCr": 3, "HSV": 3,
             "LAB": 3, "RGBA": 4, "CMYK": 4, "RGBX": 4}


def library(name: str = "Image") -> ModuleType:
    """A module of Pillow. ``ModuleNotFoundError`` says how to install it."""
    try:
        return import_module(f"PIL.{name}")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("images of files need Pillow: pip install 'minigrad[vision]'", name="PIL") from error


def is_pillow(image: Any) -> bool:
    """Whether it is one of Pillow's images."""
    loaded = sys.modules.get("PIL.Image")
    return loaded is not None and isinstance(image, loaded.Image)


def checked(image: Any) -> Image:
    """The image. ``TypeError`` if it is not Pillow's."""
    if not is_pillow(image):
        raise TypeError(f"img should be PIL Image. Got {type(image)}")
    return image


def count(image: Image) -> int:
    """How many channels."""
    return _CHANNELS[image.mode] if image.mode in _CHANNELS else len(image.getbands())


def hflip(image: Image) -> Image:
    """Left and right exchanged."""
    return image.transpose(library().Transpose.FLIP_LEFT_RIGHT)


def vflip(image: Image) -> Image:
    """Top and bottom exchanged."""
    return image.transpose(library().Transpose.FLIP_TOP_BOTTOM)


def enhanced(image: Image, what: str, factor: float) -> Image:
    """A blend by ``ImageEnhance``: Brightness, Contrast, Color or Sharpness."""
    return getattr(library("ImageEnhance"), what)(image).enhance(factor)


def hue(image: Image, factor: float) -> Image:
    """The hue turned by ``factor`` of the circle."""
    if image.mode in ("L", "1", "I", "F"):
        return image
    h, s, v = image.convert("HSV").split()
    turned = np.array(h, dtype=np.uint8) + np.int32(factor * 255).astype(np.uint8)
    return library().merge("HSV", (library().fromarray(turned), s, v)).convert(image.mode)


def gamma(image: Image, exponent: float, gain: float) -> Image:
    """255 · gain · (image / 255)^exponent."""
    table = [int((255 + 1 - 1e-3) * gain * pow(value / 255.0, exponent)) for value in range(256)] * 3
    return image.convert("RGB").point(table).convert(image.mode)


def operation(image: Image, name: str, *arguments: Any) -> Image:
    """One of ``ImageOps``: invert, posterize, solarize, autocontrast, equalize."""
    return getattr(library("ImageOps"), name)(image, *arguments)


def gray(image: Image, num_output_channels: int) -> Image:
    """By Pillow's weights, as L or as RGB."""
    if num_output_channels not in (1, 3):
        raise ValueError("num_output_channels should be either 1 or 3")
    single = image.convert("L")
    return single if num_output_channels == 1 else library().merge("RGB", (single, single, single))


def blur(image: Image, kernel_size: tuple[int, int], sigma: tuple[float, float], by: Any) -> Image:
    """By the Tensor's formula ``by``."""
    pixels = np.asarray(image)
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    values = by(planes, kernel_size, sigma)
    return library().fromarray(values[0] if pixels.ndim == 2 else values.transpose(1, 2, 0))


def crop(image: Image, top: int, left: int, height: int, width: int) -> Image:
    """A part of the image; what is outside it is 0."""
    return image.crop((left, top, left + width, top + height))


def resize(image: Image, size: Sequence[int], interpolation: int) -> Image:
    """The image in another size (height, width)."""
    return image.resize((size[1], size[0]), interpolation)


def pad(image: Image, padding: int | Sequence[int], fill: Any, mode: str) -> Image:
    """A border of ``fill``, or of the image's own pixels."""
    if fill is not None and not isinstance(fill, (int, float, tuple, list)):
        raise TypeError("Got inappropriate fill arg")
    left, top, right, bottom = sides(padding)
    if mode == "constant":
        made = library("ImageOps").expand(image, border=(left, top, right, bottom), fill=color(fill, image))
    else:
        cut = [-min(side, 0) for side in (left, top, right, bottom)]
        pixels = np.asarray(image.crop((cut[0], cut[1], image.width - cut[2], image.height - cut[3])))
        widths = [(max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0)), (0, 0)][:pixels.ndim]
        made = library().fromarray(np.pad(pixels, widths, mode=mode))  # type: ignore[call-overload]
    if image.mode == "P":
        made.putpalette(image.getpalette())
    return made


def color(fill: Any, image: Image) -> Any:
    """``fill`` as Pillow takes it: a number, or one for each channel; integers but for mode F."""
    channels, number = count(image), float if image.mode == "F" else int
    given = tuple(fill) if isinstance(fill, (tuple, list)) else None
    if given is None and channels == 1:
        return number(fill or 0)
    values = given if given is not None else (fill or 0,)
    if len(values) == 1:
        values *= channels
    if len(values) != channels:
        raise ValueError("The number of elements in 'fill' does not match the number of channels of the image "
                         f"({len(values)} != {channels})")
    return tuple([number(value) for value in values])


def affine(image: Image, matrix: Sequence[float], interpolation: int, fill: Any) -> Image:
    """The image read at ``matrix`` · (x, y, 1)."""
    return image.transform(image.size, library().Transform.AFFINE, matrix, interpolation, fillcolor=color(fill, image))


def rotate(image: Image, angle: float, interpolation: int, expand: bool, center: Any, fill: Any) -> Image:
    """The image turned by ``angle`` degrees, counter-clockwise."""
    return image.rotate(angle, interpolation, expand, center, fillcolor=color(fill, image))


def perspective(image: Image, coefficients: Sequence[float], interpolation: int, fill: Any) -> Image:
    """The image read at the places that ``warps.perspective`` names."""
    return image.transform(image.size, library().Transform.PERSPECTIVE, coefficients, interpolation,
                           fillcolor=color(fill, image))
