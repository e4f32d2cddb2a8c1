"""Stage: vision. In: samples. Out: the transforms of ``minigrad/vision/transforms/`` for whole samples, and those that
only the second version has: ``ToImage``, ``ToDtype``, ``ToPureTensor``, ``Identity``.
Next: ``functional.py``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from minigrad import nn
from minigrad.dtype import DType
from minigrad.tensor import Tensor
from minigrad.vision.transforms import color, container, geometry
from minigrad.vision.transforms import functional as one
from minigrad.vision.transforms.parameters import whole
from minigrad.vision.transforms.v2 import functional as F
from minigrad.vision.transforms.v2.joint import Joint, collect, rebuilt


class ToImage(Joint):
    """A Pillow image or an array (H, W, C) as a Tensor (C, H, W) with its values. It is a plain Tensor here."""

    _arrays = True

    def transform_image(self, image: Any) -> Tensor:
        return F.to_image(image)


class ToDtype(Joint):
    """A Tensor in another dtype; with ``scale`` white stays white.

    >>> from minigrad import float32, tensor, uint8
    >>> ToDtype(float32, scale=True)(tensor([[[0, 255]]], dtype=uint8))
    tensor([[[0., 1.]]])
    """

    def __init__(self, dtype: DType, scale: bool = False) -> None:
        super().__init__()
        if not isinstance(dtype, DType):
            raise NotImplementedError("ToDtype takes one dtype; a dict of dtypes for kinds of tv_tensors is not there")
        self.dtype, self.scale = dtype, scale

    def transform_image(self, image: Any) -> Any:
        return F.to_dtype(image, self.dtype, self.scale) if isinstance(image, Tensor) else image


class ToPureTensor(Joint):
    """The sample as it is: Tensors are pure here."""

    def transform_image(self, image: Any) -> Any:
        return image


class Identity(Joint):
    """The sample as it is."""

    def transform_image(self, image: Any) -> Any:
        return image


class ToTensor(Joint):
    """A Pillow image or an array as a Tensor in [0, 1]. torchvision warns against it: ``UserWarning``."""

    _arrays = True

    def __init__(self) -> None:
        warnings.warn("The transform `ToTensor()` is deprecated and will be removed in a future release. Instead, "
                      "please use `v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])`.Output is "
                      "equivalent up to float precision.", stacklevel=2)
        super().__init__()

    def transform_image(self, image: Any) -> Any:
        return image if isinstance(image, Tensor) else one.to_tensor(image)


class Lambda(nn.Module):
    """A function of each leaf of the sample that is of one of ``types``; of all of them without."""

    def __init__(self, lambd: Callable[[Any], Any], *types: type) -> None:
        super().__init__()
        self.lambd, self.types = lambd, types or (object,)

    def forward(self, *inputs: Any) -> Any:
        sample = inputs if len(inputs) != 1 else inputs[0]
        leaves: list[Any] = []
        collect(sample, leaves)
        return rebuilt(sample, {id(leaf): self.lambd(leaf) for leaf in leaves if isinstance(leaf, self.types)})

    def extra_repr(self) -> str:
        return f"{getattr(self.lambd, '__name__', self.lambd)}, types={[kind.__name__ for kind in self.types]}"


class _Called(Joint):
    """For transforms of single images that are no Modules."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()
        self._single = self._made(*args, **options)

    _made: Callable[..., Callable[[Any], Any]]

    def transform_image(self, image: Any) -> Any:
        return self._single(image)


class PILToTensor(_Called):
    """A Pillow image as a Tensor with its values."""

    _made = container.PILToTensor


class ToPILImage(_Called):
    """A Tensor or an array as a Pillow image."""

    _arrays = True
    _made = container.ToPILImage


class RandomCrop(Joint, geometry.RandomCrop):
    """A part of an image at a random place. A direction in which nothing is cut takes no random number."""

    @staticmethod
    def get_params(img: Any, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Top, left, height and width."""
        _, height, width = one.get_dimensions(img)
        high, wide = output_size
        if height < high or width < wide:
            raise ValueError(f"Required crop size {(high, wide)} is larger than input image size {(height, width)}.")
        top = whole(0, height - high + 1) if height > high else 0
        return top, whole(0, width - wide + 1) if width > wide else 0, high, wide


class ConvertImageDtype(Joint, container.ConvertImageDtype):
    """An image in another dtype; white stays white."""


class Normalize(Joint, container.Normalize):
    """(x - mean) / std, channel by channel."""


class CenterCrop(Joint, geometry.CenterCrop):
    """The middle of an image."""


class FiveCrop(Joint, geometry.FiveCrop):
    """Corners and middle."""


class Pad(Joint, geometry.Pad):
    """A border."""


class RandomAffine(Joint, geometry.RandomAffine):
    """Turned, moved, enlarged and sheared at random."""


class RandomHorizontalFlip(Joint, geometry.RandomHorizontalFlip):
    """Left and right exchanged, with probability p."""


class RandomPerspective(Joint, geometry.RandomPerspective):
    """Seen from another place, with probability p."""


class RandomResizedCrop(Joint, geometry.RandomResizedCrop):
    """A random part, resized."""


class RandomRotation(Joint, geometry.RandomRotation):
    """Turned at random."""


class RandomVerticalFlip(Joint, geometry.RandomVerticalFlip):
    """Top and bottom exchanged, with probability p."""


class Resize(Joint, geometry.Resize):
    """An image in another size."""


class TenCrop(Joint, geometry.TenCrop):
    """Corners and middle, and their mirror images."""


class ColorJitter(Joint, color.ColorJitter):
    """Brightness, contrast, saturation and hue changed at random."""


class GaussianBlur(Joint, color.GaussianBlur):
    """A Gaussian filter of random width."""


class Grayscale(Joint, color.Grayscale):
    """Gray values."""


class RandomAdjustSharpness(Joint, color.RandomAdjustSharpness):
    """Sharper or smoother, with probability p."""


class RandomAutocontrast(Joint, color.RandomAutocontrast):
    """From black to white, with probability p."""


class RandomEqualize(Joint, color.RandomEqualize):
    """Values about equally frequent, with probability p."""


class RandomErasing(Joint, color.RandomErasing):
    """A rectangle of a Tensor overwritten, with probability p."""


class RandomGrayscale(Joint, color.RandomGrayscale):
    """Gray values, with probability p."""


class RandomInvert(Joint, color.RandomInvert):
    """White - x, with probability p."""


class RandomPosterize(Joint, color.RandomPosterize):
    """Fewer bits, with probability p."""


class RandomSolarize(Joint, color.RandomSolarize):
    """Inverted from a threshold on, with probability p."""
