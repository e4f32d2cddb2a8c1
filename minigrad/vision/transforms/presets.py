"""Stage: vision. In: an image of any size. Out: the input that a model's weights were trained on.
Next: ``transforms.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad import nn
from minigrad.dtype import float32
from minigrad.tensor import Tensor
from minigrad.vision.transforms import functional as F
from minigrad.vision.transforms.interpolation import InterpolationMode


class ImageClassification(nn.Module):
    """Resized to ``resize_size``, the middle ``crop_size`` pixels, values in [0, 1], normalized.

    >>> from minigrad import zeros
    >>> ImageClassification(crop_size=4, resize_size=6)(zeros(3, 12, 8)).shape
    minigrad.Size([3, 4, 4])
    """

    def __init__(self, *, crop_size: int, resize_size: int = 256, mean: Sequence[float] = (0.485, 0.456, 0.406),
                 std: Sequence[float] = (0.229, 0.224, 0.225),
                 interpolation: InterpolationMode = InterpolationMode.BILINEAR, antialias: bool | None = True) -> None:
        super().__init__()
        self.crop_size, self.resize_size = [crop_size], [resize_size]
        self.mean, self.std = list(mean), list(std)
        self.interpolation, self.antialias = interpolation, antialias

    def forward(self, img: Any) -> Tensor:
        img = F.resize(img, self.resize_size, interpolation=self.interpolation, antialias=self.antialias)
        img = F.center_crop(img, self.crop_size)
        image = img if isinstance(img, Tensor) else F.pil_to_tensor(img)
        return F.normalize(F.convert_image_dtype(image, float32), self.mean, self.std)

    def __repr__(self) -> str:
        names = ("crop_size", "resize_size", "mean", "std", "interpolation")
        return f"{type(self).__name__}(" + "".join([f"\n    {name}={getattr(self, name)}" for name in names]) + "\n)"

    def describe(self) -> str:
        """What it does, in words."""
        return (f"PIL images and Tensors (..., C, H, W) are resized to {self.resize_size} by {self.interpolation}, "
                f"cropped to the middle {self.crop_size}, brought to [0.0, 1.0], and normalized by mean={self.mean} "
                f"and std={self.std}.")
