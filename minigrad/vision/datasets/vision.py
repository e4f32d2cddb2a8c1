"""Stage: vision. In: a folder and transforms. Out: what all data sets of images have in common.
Next: ``files.py``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minigrad.utils.data import Dataset

Transform = Callable[..., Any]


def _under(head: str, shown: Any) -> list[str]:
    """The lines of ``repr(shown)``, after ``head``."""
    lines = repr(shown).splitlines()
    return [head + lines[0]] + [" " * len(head) + line for line in lines[1:]]


class StandardTransform:
    """``transform`` of the image, ``target_transform`` of the label."""

    def __init__(self, transform: Transform | None = None, target_transform: Transform | None = None) -> None:
        self.transform, self.target_transform = transform, target_transform

    def __call__(self, input: Any, target: Any) -> tuple[Any, Any]:
        return (input if self.transform is None else self.transform(input),
                target if self.target_transform is None else self.target_transform(target))

    def __repr__(self) -> str:
        lines = [type(self).__name__]
        lines += _under("Transform: ", self.transform) if self.transform is not None else []
        lines += _under("Target transform: ", self.target_transform) if self.target_transform is not None else []
        return "\n".join(lines)


class VisionDataset(Dataset[Any]):
    """A data set of images below ``root``. Either ``transforms`` takes the image and the label, or ``transform`` takes
    the one and ``target_transform`` the other; both is a ``ValueError``."""

    _repr_indent = 4

    def __init__(self, root: str | Path | None = None, transforms: Transform | None = None,
                 transform: Transform | None = None, target_transform: Transform | None = None) -> None:
        self.root: Any = os.path.expanduser(root) if isinstance(root, str) else root
        apart = transform is not None or target_transform is not None
        if transforms is not None and apart:
            raise ValueError("Only transforms or transform/target_transform can be passed as argument")
        self.transform, self.target_transform = transform, target_transform
        self.transforms = StandardTransform(transform, target_transform) if apart else transforms

    def transformed(self, image: Any, target: Any) -> tuple[Any, Any]:
        """The sample after ``transform`` and ``target_transform``."""
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def __repr__(self) -> str:
        body = [f"Number of datapoints: {len(self)}"]
        body += [f"Root location: {self.root}"] if self.root is not None else []
        body += self.extra_repr().splitlines()
        body += [repr(self.transforms)] if self.transforms is not None else []
        return "\n".join([f"Dataset {type(self).__name__}"] + [" " * self._repr_indent + line for line in body])

    def extra_repr(self) -> str:
        """Further lines of the ``repr``."""
        return ""
