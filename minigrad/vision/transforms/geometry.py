"""Stage: vision. In: images. Out: images of other sizes, other parts of them, turned, mirrored.
Next: ``color.py``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from minigrad import nn
from minigrad.tensor import Tensor
from minigrad.vision.transforms import functional as F
from minigrad.vision.transforms.interpolation import InterpolationMode, mode_of
from minigrad.vision.transforms.parameters import (
    angles,
    chance,
    check_length,
    filling,
    for_channels,
    pair,
    region,
    uniform,
    whole,
)

Mode = InterpolationMode | int
BILINEAR, NEAREST = InterpolationMode.BILINEAR, InterpolationMode.NEAREST


class Resize(nn.Module):
    """The image in another size: (h, w), or one number for the smaller edge. See ``functional.resize``.

    >>> from minigrad import zeros
    >>> Resize(4)(zeros(3, 8, 16)).shape
    minigrad.Size([3, 4, 8])
    """

    def __init__(self, size: int | Sequence[int] | None, interpolation: Mode = BILINEAR, max_size: int | None = None,
                 antialias: bool | None = True) -> None:
        super().__init__()
        if size is not None and not isinstance(size, (int, Sequence)):
            raise TypeError(f"Size should be int or sequence. Got {type(size)}")
        if isinstance(size, Sequence) and len(size) not in (1, 2):
            raise ValueError("If size is a sequence, it should have 1 or 2 values")
        self.size, self.max_size = size, max_size
        self.interpolation, self.antialias = mode_of(interpolation), antialias

    def forward(self, img: Any) -> Any:
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)

    def __repr__(self) -> str:
        return (f"{type(self).__name__}(size={self.size}, interpolation={self.interpolation.value}, "
                f"max_size={self.max_size}, antialias={self.antialias})")


class CenterCrop(nn.Module):
    """The middle of the image. See ``functional.center_crop``."""

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__()
        self.size = pair(size)

    def forward(self, img: Any) -> Any:
        return F.center_crop(img, self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size})"


class Pad(nn.Module):
    """A border. See ``functional.pad``."""

    def __init__(self, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        if not isinstance(padding, (int, tuple, list)):
            raise TypeError("Got inappropriate padding arg")
        if not isinstance(fill, (int, float, str, tuple, list)):
            raise TypeError("Got inappropriate fill arg")
        if padding_mode not in ("constant", "edge", "reflect", "symmetric"):
            raise ValueError("Padding mode should be either constant, edge, reflect or symmetric")
        if isinstance(padding, Sequence) and len(padding) not in (1, 2, 4):
            raise ValueError("Padding must be an int or a 1, 2, or 4 element tuple, not a "
                             f"{len(padding)} element tuple")
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def forward(self, img: Any) -> Any:
        return F.pad(img, self.padding, self.fill, self.padding_mode)

    def __repr__(self) -> str:
        return (f"{type(self).__name__}(padding={self.padding}, fill={self.fill}, "
                f"padding_mode={self.padding_mode})")


class RandomCrop(nn.Module):
    """A part of the image at a random place, after ``padding``; ``pad_if_needed`` pads images that are too small, which
    are a ``ValueError`` otherwise.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomCrop.html)

    >>> from minigrad import zeros
    >>> RandomCrop(4, padding=1)(zeros(3, 4, 4)).shape
    minigrad.Size([3, 4, 4])
    """

    def __init__(self, size: int | Sequence[int], padding: int | Sequence[int] | None = None,
                 pad_if_needed: bool = False, fill: Any = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        self.size = tuple(pair(size))
        self.padding, self.pad_if_needed, self.fill, self.padding_mode = padding, pad_if_needed, fill, padding_mode

    @staticmethod
    def get_params(img: Any, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Top, left, height and width."""
        _, height, width = F.get_dimensions(img)
        high, wide = output_size
        if height < high or width < wide:
            raise ValueError(f"Required crop size {(high, wide)} is larger than input image size {(height, width)}")
        if (height, width) == (high, wide):
            return 0, 0, height, width
        top = whole(0, height - high + 1)
        return top, whole(0, width - wide + 1), high, wide

    def forward(self, img: Any) -> Any:
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        _, height, width = F.get_dimensions(img)
        if self.pad_if_needed and width < self.size[1]:
            img = F.pad(img, [self.size[1] - width, 0], self.fill, self.padding_mode)
        if self.pad_if_needed and height < self.size[0]:
            img = F.pad(img, [0, self.size[0] - height], self.fill, self.padding_mode)
        return F.crop(img, *self.get_params(img, self.size))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, padding={self.padding})"


class Randomly(nn.Module):
    """A change of the image with probability p; a subclass says which, in ``change``."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = p

    def change(self, img: Any) -> Any:
        """The image changed."""
        raise NotImplementedError

    def forward(self, img: Any) -> Any:
        return self.change(img) if chance(self.p) else img

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomHorizontalFlip(Randomly):
    """Left and right exchanged, with probability p."""

    def change(self, img: Any) -> Any:
        return F.hflip(img)


class RandomVerticalFlip(Randomly):
    """Top and bottom exchanged, with probability p."""

    def change(self, img: Any) -> Any:
        return F.vflip(img)


class RandomResizedCrop(nn.Module):
    """A random part of the image, resized to ``size``: its share of the area is in ``scale``, its width over its height
    in ``ratio``.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.RandomResizedCrop.html)"""

    def __init__(self, size: int | Sequence[int], scale: Sequence[float] = (0.08, 1.0),
                 ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0), interpolation: Mode = BILINEAR,
                 antialias: bool | None = True) -> None:
        super().__init__()
        self.size = pair(size)
        check_ranges(scale, ratio)
        self.scale, self.ratio = scale, ratio
        self.interpolation, self.antialias = mode_of(interpolation), antialias

    @staticmethod
    def get_params(img: Any, scale: Sequence[float], ratio: Sequence[float]) -> tuple[int, int, int, int]:
        """Top, left, height and width. After ten attempts that do not fit, the middle."""
        _, height, width = F.get_dimensions(img)
        for _ in range(10):
            wide, high = region(height * width, scale, ratio)
            if 0 < wide <= width and 0 < high <= height:
                top = whole(0, height - high + 1)
                return top, whole(0, width - wide + 1), high, wide
        wide, high = width, height
        if width / height < min(ratio):
            high = round(width / min(ratio))
        elif width / height > max(ratio):
            wide = round(height * max(ratio))
        return (height - high) // 2, (width - wide) // 2, high, wide

    def forward(self, img: Any) -> Any:
        return F.resized_crop(img, *self.get_params(img, self.scale, self.ratio), self.size, self.interpolation,
                              antialias=self.antialias)

    def __repr__(self) -> str:
        scale, ratio = (tuple([round(x, 4) for x in values]) for values in (self.scale, self.ratio))
        return (f"{type(self).__name__}(size={self.size}, scale={scale}, ratio={ratio}, "
                f"interpolation={self.interpolation.value}, antialias={self.antialias})")


def check_ranges(scale: Any, ratio: Any) -> None:
    """``TypeError`` unless both are sequences; a ``UserWarning`` if one is the wrong way round."""
    if not isinstance(scale, Sequence):
        raise TypeError("Scale should be a sequence")
    if not isinstance(ratio, Sequence):
        raise TypeError("Ratio should be a sequence")
    if scale[0] > scale[1] or ratio[0] > ratio[1]:
        warnings.warn("Scale and ratio should be of kind (min, max)", stacklevel=3)


class FiveCrop(nn.Module):
    """The four corners and the middle, a tuple. See ``functional.five_crop``."""

    def __init__(self, size: int | Sequence[int]) -> None:
        super().__init__()
        self.size = pair(size)

    def forward(self, img: Any) -> Any:
        return F.five_crop(img, self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size})"


class TenCrop(nn.Module):
    """``FiveCrop`` of the image and of its mirror image, a tuple."""

    def __init__(self, size: int | Sequence[int], vertical_flip: bool = False) -> None:
        super().__init__()
        self.size, self.vertical_flip = pair(size), vertical_flip

    def forward(self, img: Any) -> Any:
        return F.ten_crop(img, self.size, self.vertical_flip)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, vertical_flip={self.vertical_flip})"


def _fill_of(fill: Any, img: Any) -> Any:
    return for_channels(fill, F.get_dimensions(img)[0]) if isinstance(img, Tensor) else fill


class RandomRotation(nn.Module):
    """Turned by an angle from ``degrees``: a range, or d for (-d, d). See ``functional.rotate``."""

    def __init__(self, degrees: float | Sequence[float], interpolation: Mode = NEAREST, expand: bool = False,
                 center: Sequence[float] | None = None, fill: Any = 0) -> None:
        super().__init__()
        self.degrees = angles(degrees, "degrees")
        if center is not None:
            check_length(center, "center", (2,))
        self.center, self.expand = center, expand
        self.interpolation, self.fill = mode_of(interpolation), filling(fill)

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        """The angle."""
        return uniform(degrees[0], degrees[1])

    def forward(self, img: Any) -> Any:
        fill = _fill_of(self.fill, img)
        return F.rotate(img, self.get_params(self.degrees), self.interpolation, self.expand, self.center, fill)

    def __repr__(self) -> str:
        center = "" if self.center is None else f", center={self.center}"
        return (f"{type(self).__name__}(degrees={self.degrees}, interpolation={self.interpolation.value}, "
                f"expand={self.expand}{center}, fill={self.fill})")


class RandomAffine(nn.Module):
    """Turned, moved by up to ``translate`` (shares of the width and height), enlarged and sheared, at random; what is
    None is left out. See ``functional.affine``."""

    def __init__(self, degrees: float | Sequence[float], translate: Sequence[float] | None = None,
                 scale: Sequence[float] | None = None, shear: float | Sequence[float] | None = None,
                 interpolation: Mode = NEAREST, fill: Any = 0, center: Sequence[float] | None = None) -> None:
        super().__init__()
        self.degrees = angles(degrees, "degrees")
        if translate is not None:
            check_length(translate, "translate", (2,))
            if not all(0.0 <= part <= 1.0 for part in translate):
                raise ValueError("translation values should be between 0 and 1")
        if scale is not None:
            check_length(scale, "scale", (2,))
            if any(factor <= 0 for factor in scale):
                raise ValueError("scale values should be positive")
        if center is not None:
            check_length(center, "center", (2,))
        self.translate, self.scale, self.center = translate, scale, center
        self.shear = None if shear is None else angles(shear, "shear", (2, 4))
        self.interpolation, self.fill = mode_of(interpolation), filling(fill)

    @staticmethod
    def get_params(degrees: Sequence[float], translate: Sequence[float] | None, scale_ranges: Sequence[float] | None,
                   shears: Sequence[float] | None, img_size: Sequence[int],
                   ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """Angle, translation, scale and shear."""
        angle = uniform(degrees[0], degrees[1])
        x = y = 0
        if translate is not None:
            x = round(uniform(-translate[0] * img_size[0], translate[0] * img_size[0]))
            y = round(uniform(-translate[1] * img_size[1], translate[1] * img_size[1]))
        scale = 1.0 if scale_ranges is None else uniform(scale_ranges[0], scale_ranges[1])
        across = 0.0 if shears is None else uniform(shears[0], shears[1])
        down = uniform(shears[2], shears[3]) if shears is not None and len(shears) == 4 else 0.0
        return angle, (x, y), scale, (across, down)

    def forward(self, img: Any) -> Any:
        _, height, width = F.get_dimensions(img)
        how = self.get_params(self.degrees, self.translate, self.scale, self.shear, [width, height])
        return F.affine(img, *how, interpolation=self.interpolation, fill=_fill_of(self.fill, img),
                        center=self.center)

    def __repr__(self) -> str:
        parts = [f"degrees={self.degrees}"]
        parts += [f"{name}={value}" for name, value in (("translate", self.translate), ("scale", self.scale),
                                                        ("shear", self.shear)) if value is not None]
        parts += [f"interpolation={self.interpolation.value}"] if self.interpolation is not NEAREST else []
        parts += [f"fill={self.fill}"] if self.fill != 0 else []
        parts += [f"center={self.center}"] if self.center is not None else []
        return f"{type(self).__name__}({', '.join(parts)})"


class RandomPerspective(nn.Module):
    """With probability p, seen from another place: each corner moved inwards by up to ``distortion_scale`` of half an
    edge. See ``functional.perspective``."""

    def __init__(self, distortion_scale: float = 0.5, p: float = 0.5, interpolation: Mode = BILINEAR,
                 fill: Any = 0) -> None:
        super().__init__()
        self.p, self.distortion_scale = p, distortion_scale
        self.interpolation, self.fill = mode_of(interpolation), filling(fill)

    @staticmethod
    def get_params(width: int, height: int, distortion_scale: float) -> tuple[list[list[int]], list[list[int]]]:
        """The corners (x, y) before and after: top left, top right, bottom right, bottom left."""
        x, y = int(distortion_scale * (width // 2)), int(distortion_scale * (height // 2))
        left, right = (0, x + 1), (width - x - 1, width)
        top, bottom = (0, y + 1), (height - y - 1, height)
        ends = [[whole(*across), whole(*down)]
                for across, down in ((left, top), (right, top), (right, bottom), (left, bottom))]
        return [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], ends

    def forward(self, img: Any) -> Any:
        if not chance(self.p):
            return img
        _, height, width = F.get_dimensions(img)
        return F.perspective(img, *self.get_params(width, height, self.distortion_scale), self.interpolation,
                             _fill_of(self.fill, img))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"
