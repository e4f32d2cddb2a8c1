"""Stage: vision. In: the name of trained weights. Out: the file that PyTorch's tools have put into the user's cache
folder, or an error that says where to put it: nothing is downloaded.
Next: ``registry.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

from minigrad import config, serialization
from minigrad.vision.transforms.presets import ImageClassification


@dataclass(eq=False)
class Weights:
    """Where the file of trained weights is (``url``), what makes the images' transform (``transforms``), and facts
    about the weights (``meta``)."""

    url: str
    transforms: Callable[..., Any]
    meta: dict[str, Any] = field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Weights) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)


class WeightsEnum(Enum):
    """The weights that there are for one model; ``DEFAULT`` names the best.

    >>> from minigrad.vision.models import ResNet18_Weights
    >>> ResNet18_Weights.DEFAULT, ResNet18_Weights.DEFAULT.meta["num_params"]
    (ResNet18_Weights.IMAGENET1K_V1, 11689512)
    """

    @classmethod
    def verify(cls, obj: Any) -> Any:
        """A member, or None, from a member, its name, or None. ``KeyError`` for another name, ``TypeError`` for
        anything else."""
        if obj is None or isinstance(obj, cls):
            return obj
        if isinstance(obj, str):
            return cls[obj.removeprefix(f"{cls.__name__}.")]
        raise TypeError(f"Invalid Weight class provided; expected {cls.__name__} but received "
                        f"{type(obj).__name__}.")

    def get_state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What the file holds. ``RuntimeError`` if it is not in ``checkpoints()``: nothing is downloaded."""
        path = checkpoints() / self.url.rpartition("/")[2]
        if not path.exists():
            raise RuntimeError(
                f"{self} needs a file that is not here, and minigrad downloads nothing: fetch {self.url} by other "
                f"means and put it into {path.parent}, or build the model with weights=None and give "
                "load_state_dict a file of your own")
        return dict(serialization.load(path, map_location="cpu"))

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self._name_}"

    __str__ = __repr__

    @property
    def url(self) -> str:
        """Where the file is."""
        return str(self.value.url)

    @property
    def transforms(self) -> Callable[..., Any]:
        """A call of it makes the transform from an image to the model's input."""
        return self.value.transforms

    @property
    def meta(self) -> dict[str, Any]:
        """Facts: ``num_params`` and ``num_classes``. torchvision's lists of the classes' names are not here."""
        return self.value.meta


def checkpoints() -> Path:
    """The folder in which PyTorch keeps weights it has downloaded: ``$TORCH_HOME/hub/checkpoints``."""
    home = config.get("TORCH_HOME")
    return Path(home if home else "~/.cache/torch").expanduser() / "hub" / "checkpoints"


def imagenet(file: str, num_params: int, resize_size: int = 256, crop_size: int = 224) -> Weights:
    """Weights that were trained on the 1,000 classes of ImageNet."""
    return Weights(f"https://download.pytorch.org/models/{file}",
                   partial(ImageClassification, crop_size=crop_size, resize_size=resize_size),
                   {"num_params": num_params, "num_classes": 1000})
