"""Stage: vision. In: ranges, and what a user gives for a size or an angle. Out: random numbers, drawn as torchvision
draws them, so that one seed gives the same pictures; checked arguments.
Next: ``container.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.tensor import default_generator, get_default_dtype


def chance(p: float) -> bool:
    """True with probability p."""
    return bool(default_generator.uniform((1,), dtype=get_default_dtype())[0] < np.float32(p))


def uniform(low: float, high: float) -> float:
    """A number in [low, high), of float32."""
    return float(default_generator.uniform((1,), float(low), float(high), get_default_dtype())[0])


def whole(low: int, high: int) -> int:
    """An integer in [low, high)."""
    return int(default_generator.randint(low, high, (1,))[0])


def region(area: int, scale: Sequence[float], ratio: Sequence[float]) -> tuple[int, int]:
    """Two edges of a rectangle: its share of ``area`` from ``scale``, the first over the second from ``ratio``, evenly
    in the logarithm."""
    low, high = (float(np.float32(math.log(np.float32(r)))) for r in ratio)
    part = area * uniform(scale[0], scale[1])
    shape = float(np.float32(math.exp(uniform(low, high))))
    return round(math.sqrt(part * shape)), round(math.sqrt(part / shape))


def pair(size: Any, message: str = "Please provide only two dimensions (h, w) for size.") -> Any:
    """Two numbers. ``ValueError`` for more."""
    if isinstance(size, (int, float)):
        return int(size), int(size)
    if isinstance(size, Sequence) and len(size) == 1:
        return size[0], size[0]
    if len(size) != 2:
        raise ValueError(message)
    return size


def check_length(values: Any, name: str, lengths: tuple[int, ...]) -> None:
    """``TypeError`` unless it is a sequence, ``ValueError`` unless it has one of these lengths."""
    wanted = " or ".join(str(length) for length in lengths)
    if not isinstance(values, Sequence):
        raise TypeError(f"{name} should be a sequence of length {wanted}.")
    if len(values) not in lengths:
        raise ValueError(f"{name} should be a sequence of length {wanted}.")


def angles(given: Any, name: str, lengths: tuple[int, ...] = (2,)) -> list[float]:
    """The range that is meant by a number d, (-d, d), or by a sequence."""
    if isinstance(given, (int, float)):
        if given < 0:
            raise ValueError(f"If {name} is a single number, it must be positive.")
        given = (-given, given)
    check_length(given, name, lengths)
    return [float(angle) for angle in given]


def filling(fill: Any) -> Any:
    """What fills the places outside an image; None is 0. ``TypeError`` unless it is a number or a sequence."""
    if fill is not None and not isinstance(fill, (int, float, Sequence)):
        raise TypeError("Fill should be either a sequence or a number.")
    return 0 if fill is None else fill


def for_channels(fill: Any, channels: int) -> list[float]:
    """``fill`` for each channel."""
    return [float(fill)] * channels if isinstance(fill, (int, float)) else [float(value) for value in fill]
