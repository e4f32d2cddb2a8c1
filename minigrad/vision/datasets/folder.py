"""Stage: vision. In: a folder with a folder for each class. Out: its files, with the number of the class as their
label.
Next: ``fakedata.py``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minigrad.vision.datasets.vision import Transform, VisionDataset
from minigrad.vision.transforms.pillow import library

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
Valid = Callable[[str], bool]
Extensions = str | tuple[str, ...]


def has_file_allowed_extension(filename: str, extensions: Extensions) -> bool:
    """Whether the name ends with one of them, in small letters or capitals."""
    return filename.lower().endswith(extensions)


def is_image_file(filename: str) -> bool:
    """Whether the name ends as that of an image."""
    return has_file_allowed_extension(filename, IMG_EXTENSIONS)


def find_classes(directory: str | Path) -> tuple[list[str], dict[str, int]]:
    """The names of the folders, sorted, and the number of each. ``FileNotFoundError`` if there is none."""
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
    return classes, {name: i for i, name in enumerate(classes)}


def make_dataset(directory: str | Path, class_to_idx: dict[str, int] | None = None,
                 extensions: Extensions | None = None, is_valid_file: Valid | None = None,
                 allow_empty: bool = False) -> list[tuple[str, int]]:
    """All files (path, class), sorted; either ``extensions`` or ``is_valid_file`` says which.

    ``ValueError`` for both or neither, ``FileNotFoundError`` for a class without a file unless ``allow_empty``.
    """
    folder = os.path.expanduser(directory)
    if class_to_idx is None:
        _, class_to_idx = find_classes(folder)
    elif not class_to_idx:
        raise ValueError("'class_to_index' must have at least one entry to collect any samples.")
    if (extensions is None) == (is_valid_file is None):
        raise ValueError("Both extensions and is_valid_file cannot be None or not None at the same time")
    samples, empty = [], []
    for name in sorted(class_to_idx):
        found = [os.path.join(base, file) for base, _, files in sorted(os.walk(os.path.join(folder, name),
                                                                               followlinks=True))
                 for file in sorted(files)]
        valid = [path for path in found if (is_valid_file(path) if is_valid_file is not None else
                                            has_file_allowed_extension(path, extensions))]  # type: ignore[arg-type]
        samples += [(path, class_to_idx[name]) for path in valid]
        empty += [] if valid else [name]
    if empty and not allow_empty:
        message = f"Found no valid file for the classes {', '.join(empty)}. "
        if extensions is not None:
            names = extensions if isinstance(extensions, str) else ", ".join(extensions)
            message += f"Supported extensions are: {names}"
        raise FileNotFoundError(message)
    return samples


class DatasetFolder(VisionDataset):
    """The files below ``root``/class/, each read by ``loader``, with the number of its class.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.DatasetFolder.html)"""

    def __init__(self, root: str | Path, loader: Callable[[str], Any], extensions: tuple[str, ...] | None = None,
                 transform: Transform | None = None, target_transform: Transform | None = None,
                 is_valid_file: Valid | None = None, allow_empty: bool = False) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.loader, self.extensions = loader, extensions
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.samples = self.make_dataset(self.root, class_to_idx=self.class_to_idx, extensions=extensions,
                                         is_valid_file=is_valid_file, allow_empty=allow_empty)
        self.targets = [label for _, label in self.samples]

    @staticmethod
    def make_dataset(directory: str | Path, class_to_idx: dict[str, int], extensions: Extensions | None = None,
                     is_valid_file: Valid | None = None, allow_empty: bool = False) -> list[tuple[str, int]]:
        """All files (path, class). A subclass may find others."""
        if class_to_idx is None:
            raise ValueError("The class_to_idx parameter cannot be None.")
        return make_dataset(directory, class_to_idx, extensions, is_valid_file, allow_empty)

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """The classes and their numbers. A subclass may name others."""
        return find_classes(directory)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        return self.transformed(self.loader(path), target)

    def __len__(self) -> int:
        return len(self.samples)


def pil_loader(path: str | Path) -> Any:
    """An image as Pillow's, RGB."""
    with open(path, "rb") as file:
        return library().open(file).convert("RGB")


default_loader = pil_loader


class ImageFolder(DatasetFolder):
    """``DatasetFolder`` of images: ``root``/cat/a.png, ``root``/dog/b.jpg, … as Pillow's images.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.ImageFolder.html)"""

    def __init__(self, root: str | Path, transform: Transform | None = None,
                 target_transform: Transform | None = None, loader: Callable[[str], Any] = default_loader,
                 is_valid_file: Valid | None = None, allow_empty: bool = False) -> None:
        super().__init__(root, loader, IMG_EXTENSIONS if is_valid_file is None else None, transform,
                         target_transform, is_valid_file, allow_empty)
        self.imgs = self.samples
