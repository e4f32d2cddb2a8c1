"""Stage: vision. In: images and the names that torchvision has for what one does with them. Out: models, transforms,
data sets and pictures, in torchvision's words. ``python -m minigrad.torch`` finds this as ``torchvision``.
Next: ``minigrad/vision/models/``.

Images are Tensors (…, C, H, W), or Pillow's where Pillow is installed (``pip install 'minigrad[vision]'``). Nothing is
downloaded: weights and data sets are read from local files.
(https://docs.pytorch.org/vision/stable/)

>>> from minigrad import zeros
>>> transforms.CenterCrop(2)(zeros(3, 6, 6)).shape
minigrad.Size([3, 2, 2])
"""

from minigrad.vision import datasets, io, models, ops, transforms, utils

__version__ = "0.28.0+minigrad"

__all__ = ["__version__", "datasets", "disable_beta_transforms_warning", "get_image_backend", "io", "models", "ops",
           "set_image_backend", "transforms", "utils"]


def get_image_backend() -> str:
    """What reads images: ``"PIL"``."""
    return "PIL"


def set_image_backend(backend: str) -> None:
    """``"PIL"`` is accepted; ``ValueError`` for another name, ``NotImplementedError`` for accimage."""
    if backend == "accimage":
        raise NotImplementedError("the image backend accimage is not there; images are read by PIL")
    if backend != "PIL":
        raise ValueError(f"Invalid backend '{backend}'. Options are 'PIL' and 'accimage'")


def disable_beta_transforms_warning() -> None:
    """Does nothing: there is no such warning."""
