"""Stage: vision. In: samples: images with their labels. Out: samples with changed images: torchvision's second version
of its transforms.
Next: ``joint.py``.

Images are Pillow's or plain Tensors; masks, boxes and videos (``tv_tensors``) are not there.
(https://docs.pytorch.org/vision/stable/transforms.html#v1-or-v2-which-one-should-i-use)
"""

from minigrad.vision.transforms.interpolation import InterpolationMode
from minigrad.vision.transforms.v2 import functional
from minigrad.vision.transforms.v2.container import Compose, RandomApply, RandomChoice, RandomOrder
from minigrad.vision.transforms.v2.single import (
    CenterCrop,
    ColorJitter,
    ConvertImageDtype,
    FiveCrop,
    GaussianBlur,
    Grayscale,
    Identity,
    Lambda,
    Normalize,
    Pad,
    PILToTensor,
    RandomAdjustSharpness,
    RandomAffine,
    RandomAutocontrast,
    RandomCrop,
    RandomEqualize,
    RandomErasing,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomInvert,
    RandomPerspective,
    RandomPosterize,
    RandomResizedCrop,
    RandomRotation,
    RandomSolarize,
    RandomVerticalFlip,
    Resize,
    TenCrop,
    ToDtype,
    ToImage,
    ToPILImage,
    ToPureTensor,
    ToTensor,
)

__all__ = [
    "CenterCrop", "ColorJitter", "Compose", "ConvertImageDtype", "FiveCrop", "GaussianBlur", "Grayscale", "Identity",
    "InterpolationMode", "Lambda", "Normalize", "PILToTensor", "Pad", "RandomAdjustSharpness", "RandomAffine",
    "RandomApply", "RandomAutocontrast", "RandomChoice", "RandomCrop", "RandomEqualize", "RandomErasing",
    "RandomGrayscale", "RandomHorizontalFlip", "RandomInvert", "RandomOrder", "RandomPerspective", "RandomPosterize",
    "RandomResizedCrop", "RandomRotation", "RandomSolarize", "RandomVerticalFlip", "Resize", "TenCrop", "ToDtype",
    "ToImage", "ToPILImage", "ToPureTensor", "ToTensor", "functional",
]
