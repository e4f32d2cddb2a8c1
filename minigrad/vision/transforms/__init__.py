"""Stage: vision. In: images, Pillow's or Tensors (…, C, H, W). Out: images changed as training wants it.
Next: ``interpolation.py``.

Random transforms draw from the default generator and from Python's ``random``, as torchvision's do: one seed gives the
same pictures. A Pillow image stays one until ``ToTensor``, and is changed by Pillow.
(https://docs.pytorch.org/vision/stable/transforms.html)

>>> from minigrad import zeros
>>> Compose([Resize(8), RandomCrop(6), RandomHorizontalFlip(), Normalize(0.5, 0.5)])(zeros(3, 16, 12)).shape
minigrad.Size([3, 6, 6])
"""

from minigrad.vision.transforms import functional, transforms, v2
from minigrad.vision.transforms.color import (
    ColorJitter,
    GaussianBlur,
    Grayscale,
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomEqualize,
    RandomErasing,
    RandomGrayscale,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)
from minigrad.vision.transforms.container import (
    Compose,
    ConvertImageDtype,
    Lambda,
    Normalize,
    PILToTensor,
    RandomApply,
    RandomChoice,
    RandomOrder,
    RandomTransforms,
    ToPILImage,
    ToTensor,
)
from minigrad.vision.transforms.geometry import (
    CenterCrop,
    FiveCrop,
    Pad,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomPerspective,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
    TenCrop,
)
from minigrad.vision.transforms.interpolation import InterpolationMode

__all__ = [
    "CenterCrop", "ColorJitter", "Compose", "ConvertImageDtype", "FiveCrop", "GaussianBlur", "Grayscale",
    "InterpolationMode", "Lambda", "Normalize", "PILToTensor", "Pad", "RandomAdjustSharpness", "RandomAffine",
    "RandomApply", "RandomAutocontrast", "RandomChoice", "RandomCrop", "RandomEqualize", "RandomErasing",
    "RandomGrayscale", "RandomHorizontalFlip", "RandomInvert", "RandomOrder", "RandomPerspective", "RandomPosterize",
    "RandomResizedCrop", "RandomRotation", "RandomSolarize", "RandomTransforms", "RandomVerticalFlip", "Resize",
    "TenCrop", "ToPILImage", "ToTensor", "functional", "transforms", "v2",
]
