"""Stage: vision. In: transforms. Out: one transform that applies several of them, or some, and those from one kind of
image to another.
Next: ``geometry.py``."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from minigrad import nn
from minigrad.dtype import DType
from minigrad.vision.transforms import functional as F
from minigrad.vision.transforms.parameters import chance

Transform = Callable[..., Any]


def listed(name: str, transforms: Any, first: str = "") -> str:
    """How transforms that contain others are printed."""
    return f"{name}({first}" + "".join([f"\n    {transform}" for transform in transforms]) + "\n)"


class Compose:
    """The transforms one after another.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.Compose.html)

    >>> from minigrad import ones
    >>> Compose([Lambda(lambda image: image * 2), Normalize([0.5], [0.5])])(ones(1, 1, 1))
    tensor([[[3.]]])
    >>> Compose([ToTensor(), Normalize((0.5,), (0.5,))])
    Compose(
        ToTensor()
        Normalize(mean=(0.5,), std=(0.5,))
    )
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return listed(type(self).__name__, self.transforms)


class ToTensor:
    """A Pillow image or an array (H, W, C) as a Tensor (C, H, W); 8-bit values in [0, 1].
    See ``functional.to_tensor``."""

    def __call__(self, pic: Any) -> Any:
        return F.to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class PILToTensor:
    """A Pillow image as a Tensor (C, H, W) with its values."""

    def __call__(self, pic: Any) -> Any:
        return F.pil_to_tensor(pic)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class ConvertImageDtype(nn.Module):
    """The same picture in another dtype. See ``functional.convert_image_dtype``."""

    def __init__(self, dtype: DType) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, image: Any) -> Any:
        return F.convert_image_dtype(image, self.dtype)


class ToPILImage:
    """A Tensor (C, H, W) or an array (H, W, C) as a Pillow image. See ``functional.to_pil_image``."""

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def __call__(self, pic: Any) -> Any:
        return F.to_pil_image(pic, self.mode)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'' if self.mode is None else f'mode={self.mode}'})"


class Normalize(nn.Module):
    """(x - mean) / std, channel by channel. See ``functional.normalize``."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        super().__init__()
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, tensor: Any) -> Any:
        return F.normalize(tensor, self.mean, self.std, self.inplace)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mean={self.mean}, std={self.std})"


class Lambda:
    """A function as a transform. ``TypeError`` unless it can be called."""

    def __init__(self, lambd: Transform) -> None:
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class RandomTransforms:
    """What ``RandomOrder`` and ``RandomChoice`` have in common: a sequence of transforms."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        if not isinstance(transforms, Sequence):
            raise TypeError("Argument transforms should be a sequence")
        self.transforms = transforms

    def __call__(self, *args: Any) -> Any:
        raise NotImplementedError

    def __repr__(self) -> str:
        return listed(type(self).__name__, self.transforms)


class RandomApply(nn.Module):
    """All the transforms, with probability p."""

    def __init__(self, transforms: Any, p: float = 0.5) -> None:
        super().__init__()
        self.transforms, self.p = transforms, p

    def forward(self, img: Any) -> Any:
        if chance(self.p):
            for transform in self.transforms:
                img = transform(img)
        return img

    def __repr__(self) -> str:
        return listed(type(self).__name__, self.transforms, f"\n    p={self.p}")


class RandomOrder(RandomTransforms):
    """All the transforms in an order that Python's ``random`` gives."""

    def __call__(self, img: Any) -> Any:
        order = list(range(len(self.transforms)))
        random.shuffle(order)
        for i in order:
            img = self.transforms[i](img)
        return img


class RandomChoice(RandomTransforms):
    """One of the transforms, chosen by Python's ``random`` with the weights p."""

    def __init__(self, transforms: Sequence[Transform], p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        if p is not None and not isinstance(p, Sequence):
            raise TypeError("Argument p should be a sequence")
        self.p = p

    def __call__(self, *args: Any) -> Any:
        return random.choices(self.transforms, weights=self.p)[0](*args)

    def __repr__(self) -> str:
        return f"{super().__repr__()}(p={self.p})"
