"""Stage: vision. In: how pixels between pixels are computed, as an ``InterpolationMode`` or as Pillow's number. Out:
the mode, and what Pillow calls it.
Next: ``colors.py``."""

from __future__ import annotations

from enum import Enum


class InterpolationMode(Enum):
    """How an image is read between its pixels. BOX, HAMMING and LANCZOS are for Pillow's images only."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


PILLOW = {InterpolationMode.NEAREST: 0, InterpolationMode.NEAREST_EXACT: 0, InterpolationMode.LANCZOS: 1,
          InterpolationMode.BILINEAR: 2, InterpolationMode.BICUBIC: 3, InterpolationMode.BOX: 4,
          InterpolationMode.HAMMING: 5}
"""The numbers that ``PIL.Image`` has for them."""


def mode_of(given: InterpolationMode | int) -> InterpolationMode:
    """The mode that is meant. ``TypeError`` if it is neither a mode nor a number.

    >>> mode_of(2)
    <InterpolationMode.BILINEAR: 'bilinear'>
    """
    if isinstance(given, InterpolationMode):
        return given
    if not isinstance(given, int):
        raise TypeError("Argument interpolation should be a InterpolationMode or a corresponding Pillow integer "
                        "constant")
    return next(mode for mode, number in PILLOW.items() if number == given)
