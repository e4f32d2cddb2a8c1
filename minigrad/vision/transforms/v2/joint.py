"""Stage: vision. In: a sample: an image, or images and labels in tuples, lists and dicts. Out: the same with its images
changed, all in the same way.
Next: ``container.py``."""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np

from minigrad import nn
from minigrad.tensor import Tensor, default_generator
from minigrad.vision.transforms.pillow import is_pillow


class Joint(nn.Module):
    """A transform of whole samples: ``transform(image, label)`` gives the changed image and the label.

    What is changed: Pillow's images; if there is none, the first Tensor. If there are several images they get the same
    random numbers. A subclass comes before the transform of single images that it is made of.

    >>> from minigrad import arange
    >>> from minigrad.vision.transforms.v2 import CenterCrop
    >>> CenterCrop(1)({"image": arange(9).reshape(1, 3, 3), "label": 7})
    {'image': tensor([[[4]]]), 'label': 7}
    """

    _arrays = False
    """Whether NumPy's arrays are images here."""

    def transform_image(self, image: Any) -> Any:
        """One image, changed."""
        return super().forward(image)

    def forward(self, *inputs: Any) -> Any:
        sample = inputs if len(inputs) != 1 else inputs[0]
        leaves: list[Any] = []
        collect(sample, leaves)
        chosen = [leaf for leaf in leaves if is_pillow(leaf) or (self._arrays and isinstance(leaf, np.ndarray))]
        chosen = chosen or [leaf for leaf in leaves if isinstance(leaf, Tensor)][:1]
        return rebuilt(sample, dict(zip(map(id, chosen), _alike(self.transform_image, chosen), strict=True)))

    def extra_repr(self) -> str:
        shown = [(name, value) for name, value in self.__dict__.items()
                 if not name.startswith("_") and name != "training"
                 and isinstance(value, (bool, int, float, str, tuple, list, Enum))]
        return ", ".join([f"{name}={value}" for name, value in shown])

    __repr__ = nn.Module.__repr__


def _alike(change: Callable[[Any], Any], images: list[Any]) -> list[Any]:
    """The images changed, each with the random numbers that the first one got."""
    if len(images) < 2:
        return [change(image) for image in images]
    before, pythons = default_generator.get_state(), random.getstate()
    results = []
    for image in images:
        default_generator.set_state(before)
        random.setstate(pythons)
        results.append(change(image))
    return results


def collect(sample: Any, leaves: list[Any]) -> None:
    """Everything in the sample that is not a tuple, a list or a dict, in order."""
    if isinstance(sample, dict):
        sample = list(sample.values())
    if isinstance(sample, (tuple, list)):
        for part in sample:
            collect(part, leaves)
    else:
        leaves.append(sample)


def rebuilt(sample: Any, changed: dict[int, Any]) -> Any:
    """The sample with what ``changed`` has for some leaves, by their ``id``."""
    if isinstance(sample, dict):
        return type(sample)({key: rebuilt(part, changed) for key, part in sample.items()})
    if isinstance(sample, tuple) and hasattr(sample, "_fields"):
        return type(sample)(*[rebuilt(part, changed) for part in sample])
    if isinstance(sample, (tuple, list)):
        return type(sample)([rebuilt(part, changed) for part in sample])
    return changed.get(id(sample), sample)
