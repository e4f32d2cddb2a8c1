"""Stage: vision. In: a batch of images. Out: one picture of all of them, as a Tensor or a file.
Next: ``minigrad/masked/``.

(https://docs.pytorch.org/vision/stable/utils.html)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from minigrad.autograd import no_grad
from minigrad.nn.functional import pad
from minigrad.tensor import Tensor, cat, stack
from minigrad.vision.transforms.conversion import to_pil_image


def _batch(tensor: Tensor | Sequence[Tensor]) -> Tensor:
    """Images (N, C, H, W), gray ones with three channels."""
    if isinstance(tensor, list):
        for image in tensor:
            if not isinstance(image, Tensor):
                raise TypeError(f"tensor or list of tensors expected, got a list containing {type(image)}")
        tensor = stack(tensor, dim=0)
    if not isinstance(tensor, Tensor):
        raise TypeError(f"tensor or list of tensors expected, got {type(tensor)}")
    if tensor.ndim == 2:
        tensor = tensor.unsqueeze(0)
    if tensor.ndim == 3:
        tensor = tensor.unsqueeze(0)
    return cat((tensor, tensor, tensor), 1) if tensor.ndim == 4 and tensor.shape[1] == 1 else tensor


def _normalized(batch: Tensor, value_range: tuple[float, float] | None, scale_each: bool) -> Tensor:
    """(x - low) / max(high - low, 1e-5), where low and high are the range, or the least and largest values."""
    if value_range is not None:
        if not isinstance(value_range, tuple):
            raise TypeError("value_range has to be a tuple (min, max) if specified. min and max are numbers")
        low, high = value_range
        return batch.clamp(min=low, max=high).sub(low).div(max(high - low, 1e-5))
    dims = tuple(range(1 if scale_each else 0, batch.ndim))
    least, most = batch.amin(dim=dims, keepdim=True), batch.amax(dim=dims, keepdim=True)
    return (batch - least) / (most - least).clamp(min=1e-5)


@no_grad()
def make_grid(tensor: Tensor | Sequence[Tensor], nrow: int = 8, padding: int = 2, normalize: bool = False,
              value_range: tuple[float, float] | None = None, scale_each: bool = False,
              pad_value: float = 0.0) -> Tensor:
    """Images (N, C, H, W), or a list of (C, H, W), side by side in rows of ``nrow``, as one (C, H', W').

    Between and around them are ``padding`` pixels of ``pad_value``. ``normalize`` brings ``value_range``, or the values
    there are (of each image with ``scale_each``), to [0, 1]. ``TypeError`` for anything else.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.utils.make_grid.html)

    >>> from minigrad import arange
    >>> make_grid(arange(6.0).reshape(3, 1, 1, 2), nrow=2, padding=1, pad_value=9)[0]
    tensor([[9., 9., 9., 9., 9., 9., 9.],
            [9., 0., 1., 9., 2., 3., 9.],
            [9., 9., 9., 9., 9., 9., 9.],
            [9., 4., 5., 9., 9., 9., 9.],
            [9., 9., 9., 9., 9., 9., 9.]])
    """
    batch = _batch(tensor)
    if normalize is True:
        batch = _normalized(batch, value_range, scale_each)
    if batch.shape[0] == 1:
        return batch.squeeze(0)
    count, channels = batch.shape[:2]
    across = min(nrow, count)
    down = math.ceil(count / across)
    cells = pad(batch, (padding, 0, padding, 0, 0, 0, 0, down * across - count), value=pad_value)
    height, width = cells.shape[2:]
    grid = cells.reshape(down, across, channels, height, width).permute(2, 0, 3, 1, 4)
    return pad(grid.reshape(channels, down * height, across * width), (0, padding, 0, padding), value=pad_value)


@no_grad()
def save_image(tensor: Tensor | Sequence[Tensor], fp: str | Path | BinaryIO, format: str | None = None,
               **kwargs: Any) -> None:
    """``make_grid`` of images in [0, 1], as a file; Pillow writes it. ``format`` is for file objects without a name."""
    grid = make_grid(tensor, **kwargs)
    to_pil_image(grid.mul(255).add(0.5).clamp(0, 255).byte()).save(fp, format=format)
