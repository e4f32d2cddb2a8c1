"""Stage: beside the house. In: images and kernels of any number of dimensions. Out: convolution and pooling in NumPy,
with their gradients: a product, or a comparison, for each place of the kernel.
Next: ``layers.py``, whose layers they are; ``operations.py``, whose operations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np


def padded(x: np.ndarray, padding: int, value: float = 0.0) -> np.ndarray:
    """x with ``padding`` values around every axis but the first two."""
    around = [(0, 0), (0, 0), *[(padding, padding)] * (x.ndim - 2)]
    return np.pad(x, around, constant_values=value) if padding else x


def inner(x: np.ndarray, padding: int) -> np.ndarray:
    """``padded`` undone."""
    middle: Any = (..., *[slice(padding, -padding)] * (x.ndim - 2))
    return x[middle] if padding else x


def places(sizes: Sequence[int], kernel: Sequence[int], stride: int, dilation: int
           ) -> Iterator[tuple[Any, Any]]:
    """Each place in the kernel, as an index of it, and the slice of a padded image whose values meet it; ``sizes`` are
    the padded ones.

    >>> list(places([5], [2], 2, 1))
    [((Ellipsis, 0), (Ellipsis, slice(0, 3, 2))), ((Ellipsis, 1), (Ellipsis, slice(1, 4, 2)))]
    """
    counts = [(size - dilation * (width - 1) - 1) // stride + 1 for size, width in zip(sizes, kernel, strict=True)]
    for place in itertools.product(*map(range, kernel)):
        slices = [slice(p * dilation, p * dilation + (count - 1) * stride + 1, stride)
                  for p, count in zip(place, counts, strict=True)]
        yield (..., *place), (..., *slices)


def _grouped(x: np.ndarray, groups: int) -> np.ndarray:
    """(N, C, ...) as (N, groups, C / groups, pixels)."""
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, -1)


def convolve(x: np.ndarray, weight: np.ndarray, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
             ) -> np.ndarray:
    """The convolution of (N, C, ...) with (K, C / groups, ...): (N, K, ...)."""
    image, kernels = padded(x, padding), weight.reshape(groups, -1, *weight.shape[1:])
    result: Any = 0
    for place, seen in places(image.shape[2:], weight.shape[2:], stride, dilation):
        window = image[seen]
        result = result + kernels[place] @ _grouped(window, groups)
    return np.asarray(result).reshape(x.shape[0], weight.shape[0], *window.shape[2:])


def convolve_back(g: np.ndarray, x: np.ndarray, weight: np.ndarray, stride: int, padding: int, dilation: int,
                  groups: int) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of x and of the weight."""
    image, kernels = padded(x, padding), weight.reshape(groups, -1, *weight.shape[1:])
    d_image, d_kernels, d_result = np.zeros_like(image), np.zeros_like(kernels), _grouped(g, groups)
    for place, seen in places(image.shape[2:], weight.shape[2:], stride, dilation):
        window = image[seen]
        d_image[seen] += (kernels[place].swapaxes(-1, -2) @ d_result).reshape(window.shape)
        d_kernels[place] = (d_result @ _grouped(window, groups).swapaxes(-1, -2)).sum(0)
    return inner(d_image, padding), d_kernels.reshape(weight.shape)


def pool(x: np.ndarray, kernel: int, stride: int, padding: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The largest value in each window of (N, C, H, W), and at which place of the window it stands."""
    image = padded(x, padding, -np.inf)
    values = np.stack([image[seen] for _, seen in places(image.shape[2:], (kernel, kernel), stride, 1)])
    return values.max(0), values.argmax(0)


def pool_back(g: np.ndarray, chosen: np.ndarray, shape: tuple[int, ...], kernel: int, stride: int, padding: int
              ) -> np.ndarray:
    """The gradient of the pooled image."""
    d_image = padded(np.zeros(shape, g.dtype), padding)
    for at, (_, seen) in enumerate(places(d_image.shape[2:], (kernel, kernel), stride, 1)):
        d_image[seen] += g * (chosen == at)
    return inner(d_image, padding)
