"""Stage: vision. In: the files of CIFAR-10 and CIFAR-100, pickled arrays. Out: 32×32 colour images of 10 or 100
classes.
Next: ``folder.py``.

(https://www.cs.toronto.edu/~kriz/cifar.html)
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from minigrad.vision.datasets.files import missing, whole
from minigrad.vision.datasets.vision import Transform, VisionDataset
from minigrad.vision.transforms.pillow import library


class CIFAR10(VisionDataset):
    """50,000 images for training and 10,000 for testing, in ``root``/cifar-10-batches-py.

    ``RuntimeError`` if a file is missing or has another MD5 sum: nothing is downloaded, and nothing else is unpickled.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.CIFAR10.html)
    """

    base_folder = "cifar-10-batches-py"
    url = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
    train_list: ClassVar[list[list[str]]] = [
        ["data_batch_1", "c99cafc152244af753f735de768cd75f"], ["data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"],
        ["data_batch_3", "54ebc095f3ab1f0389bbae665268c751"], ["data_batch_4", "634d18415352ddfa80567beed471001a"],
        ["data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"]]
    test_list: ClassVar[list[list[str]]] = [["test_batch", "40351d587109b95175f43aff81a1287e"]]
    meta: ClassVar[dict[str, str]] = {"filename": "batches.meta", "key": "label_names",
                                      "md5": "5ff9c542aee3614f3951f8cda6e48888"}

    def __init__(self, root: str | Path, train: bool = True, transform: Transform | None = None,
                 target_transform: Transform | None = None, download: bool = False) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        if download:
            self.download()
        if not self._check_integrity():
            raise RuntimeError("Dataset not found or corrupted. You can use download=True to download it")
        parts = [self._read(name) for name, _ in (self.train_list if train else self.test_list)]
        self.data = np.vstack([part["data"] for part in parts]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        self.targets = [label for part in parts for label in part["labels" if "labels" in part else "fine_labels"]]
        if not whole(self._path(self.meta["filename"]), self.meta["md5"]):
            raise RuntimeError("Dataset metadata file not found or corrupted. You can use download=True to download it")
        self.classes = self._read(self.meta["filename"])[self.meta["key"]]
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}

    def _path(self, name: str) -> str:
        return os.path.join(self.root, self.base_folder, name)

    def _read(self, name: str) -> dict[str, Any]:
        with open(self._path(name), "rb") as file:
            return pickle.load(file, encoding="latin1")

    def _check_integrity(self) -> bool:
        return all(whole(self._path(name), md5) for name, md5 in self.train_list + self.test_list)

    def download(self) -> None:
        """Nothing if the files are there, else ``RuntimeError``."""
        if not self._check_integrity():
            missing(type(self).__name__, str(self.root), [self.url])

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transformed(library().fromarray(self.data[index]), self.targets[index])

    def __len__(self) -> int:
        return len(self.data)

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train is True else 'Test'}"


class CIFAR100(CIFAR10):
    """As ``CIFAR10``, with 100 classes, in ``root``/cifar-100-python."""

    base_folder = "cifar-100-python"
    url = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
    train_list: ClassVar[list[list[str]]] = [["train", "16019d7e3df5f24257cddd939b257f8d"]]
    test_list: ClassVar[list[list[str]]] = [["test", "f0ef6b0ae62326f3e7ffdfab6717acfc"]]
    meta: ClassVar[dict[str, str]] = {"filename": "meta", "key": "fine_label_names",
                                      "md5": "7973b15100ade9c7d40fb424638fde48"}
