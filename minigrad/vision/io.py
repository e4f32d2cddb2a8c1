"""Stage: vision. In: files of images. Out: Tensors (C, H, W) of uint8, and back, by Pillow.
Next: ``utils.py``.

(https://docs.pytorch.org/vision/stable/io.html)
"""

from __future__ import annotations

from enum import Enum
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from minigrad.dtype import uint8
from minigrad.tensor import Tensor, from_numpy
from minigrad.vision.transforms.conversion import pil_to_tensor, to_pil_image
from minigrad.vision.transforms.pillow import library


class ImageReadMode(Enum):
    """Which channels an image is read with."""

    UNCHANGED = 0
    GRAY = 1
    GRAY_ALPHA = 2
    RGB = 3
    RGB_ALPHA = 4


_PILLOW = {ImageReadMode.GRAY: "L", ImageReadMode.GRAY_ALPHA: "LA", ImageReadMode.RGB: "RGB",
           ImageReadMode.RGB_ALPHA: "RGBA"}


def read_file(path: str | Path) -> Tensor:
    """A file's bytes, uint8."""
    return from_numpy(np.fromfile(path, dtype=np.uint8))


def write_file(filename: str | Path, data: Tensor) -> None:
    """Write bytes."""
    data.numpy().tofile(filename)


def decode_image(input: Tensor | str | Path, mode: ImageReadMode | str = ImageReadMode.UNCHANGED,
                 apply_exif_orientation: bool = False) -> Tensor:
    """The image that a file's bytes, or a path, hold. ``mode`` converts it; ``apply_exif_orientation`` turns it as the
    camera says."""
    chosen = ImageReadMode[mode.upper()] if isinstance(mode, str) else mode
    source: Any = BytesIO(input.numpy().tobytes()) if isinstance(input, Tensor) else input
    with library().open(source) as image:
        if apply_exif_orientation:
            image = library("ImageOps").exif_transpose(image)
        if chosen in _PILLOW:
            image = image.convert(_PILLOW[chosen])
        elif image.mode == "P":
            image = image.convert("RGB")
        return pil_to_tensor(image)


def read_image(path: str | Path, mode: ImageReadMode | str = ImageReadMode.UNCHANGED,
               apply_exif_orientation: bool = False) -> Tensor:
    """``decode_image`` of a file."""
    return decode_image(path, mode, apply_exif_orientation)


def _encode(image: Tensor, kind: str, **options: Any) -> bytes:
    if image.dtype is not uint8:
        raise RuntimeError("Input tensor dtype should be uint8")
    out = BytesIO()
    to_pil_image(image).save(out, format=kind, **options)
    return out.getvalue()


def encode_png(input: Tensor, compression_level: int = 6) -> Tensor:
    """The bytes of a PNG file of (C, H, W) uint8."""
    return from_numpy(np.frombuffer(_encode(input, "PNG", compress_level=compression_level), dtype=np.uint8).copy())


def encode_jpeg(input: Tensor, quality: int = 75) -> Tensor:
    """The bytes of a JPEG file of (C, H, W) uint8."""
    return from_numpy(np.frombuffer(_encode(input, "JPEG", quality=quality), dtype=np.uint8).copy())


def write_png(input: Tensor, filename: str | Path, compression_level: int = 6) -> None:
    """A PNG file of (C, H, W) uint8."""
    Path(filename).write_bytes(_encode(input, "PNG", compress_level=compression_level))


def write_jpeg(input: Tensor, filename: str | Path, quality: int = 75) -> None:
    """A JPEG file of (C, H, W) uint8."""
    Path(filename).write_bytes(_encode(input, "JPEG", quality=quality))
