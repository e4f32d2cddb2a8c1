"""Stage: vision. In: files in the IDX format (big-endian numbers with their dimensions before them). Out: handwritten
digits, and what has come in the same format since.
Next: ``cifar.py``.

(http://yann.lecun.com/exdb/mnist/)
"""

from __future__ import annotations

import gzip
import os
import warnings
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import numpy as np

from minigrad.dtype import int64, uint8
from minigrad.tensor import Tensor, from_numpy
from minigrad.vision.datasets.files import missing, whole
from minigrad.vision.datasets.vision import Transform, VisionDataset
from minigrad.vision.transforms.pillow import library

_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_sn3_pascalvincent_tensor(path: str, strict: bool = True) -> Tensor:
    """The numbers of an IDX file, as a Tensor; ``path`` may end in .gz. ``ValueError`` if it is not such a file.

    The head: two zero bytes, the dtype, the number of dimensions, each dimension in four bytes.
    """
    with (gzip.open(path) if path.endswith(".gz") else open(path, "rb")) as file:
        content = file.read()
    dims = content[3] if len(content) > 3 else 0
    if content[:2] != b"\0\0" or content[2] not in _DTYPES or not 1 <= dims <= 3:
        raise ValueError(f"{path} is not an IDX file")
    shape = tuple([int(n) for n in np.frombuffer(content, ">i4", dims, 4)])
    values = np.frombuffer(content, _DTYPES[content[2]], offset=4 * (dims + 1))
    if values.size != int(np.prod(shape)):
        raise ValueError(f"{path} has {values.size} numbers, but its head says {shape}")
    return from_numpy(values.reshape(shape).astype(values.dtype.newbyteorder("="), copy=True))


def read_label_file(path: str) -> Tensor:
    """One label a sample, int64. ``TypeError`` and ``ValueError`` for other files."""
    return _checked(path, 1).to(int64)


def read_image_file(path: str) -> Tensor:
    """Images (N, H, W), uint8. ``TypeError`` and ``ValueError`` for other files."""
    return _checked(path, 3)


def _checked(path: str, dims: int) -> Tensor:
    values = read_sn3_pascalvincent_tensor(path)
    if values.dtype is not uint8:
        raise TypeError(f"x should be of dtype torch.uint8 instead of {values.dtype}")
    if values.ndim != dims:
        raise ValueError(f"x should have {dims} dimension instead of {values.ndim}")
    return values


class MNIST(VisionDataset):
    """60,000 handwritten digits for training and 10,000 for testing, 28×28 gray pixels each.

    ``root``/MNIST/raw holds train-images-idx3-ubyte, train-labels-idx1-ubyte and the same with t10k; each may be packed
    (.gz). ``RuntimeError`` if they are missing: nothing is downloaded.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.MNIST.html)
    """

    mirrors = ("https://ossci-datasets.s3.amazonaws.com/mnist/",)
    files = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    classes: ClassVar[list[str]] = [
        "0 - zero", "1 - one", "2 - two", "3 - three", "4 - four", "5 - five", "6 - six", "7 - seven", "8 - eight",
        "9 - nine"]

    def __init__(self, root: str | Path, train: bool = True, transform: Transform | None = None,
                 target_transform: Transform | None = None, download: bool = False) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        if download:
            self.download()
        if not self._check_exists():
            raise RuntimeError("Dataset not found. You can use download=True to download it")
        self.data, self.targets = self._load_data()

    def _load_data(self) -> tuple[Tensor, Tensor]:
        images, labels = self.files[:2] if self.train else self.files[2:]
        return read_image_file(self._path(images)), read_label_file(self._path(labels))

    def _path(self, name: str) -> str:
        path = os.path.join(self.raw_folder, name)
        return path if whole(path) or not whole(f"{path}.gz") else f"{path}.gz"

    def _check_exists(self) -> bool:
        return all(whole(self._path(name)) for name in self.files)

    def download(self) -> None:
        """Nothing if the files are there, else ``RuntimeError``."""
        if not self._check_exists():
            self._missing()

    def _missing(self) -> NoReturn:
        missing(type(self).__name__, self.raw_folder, [f"{self.mirrors[0]}{name}.gz" for name in self.files])

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.transformed(library().fromarray(self.data[index].numpy()), int(self.targets[index]))

    def __len__(self) -> int:
        return len(self.data)

    @property
    def raw_folder(self) -> str:
        """Where the files are."""
        return os.path.join(self.root, type(self).__name__, "raw")

    @property
    def processed_folder(self) -> str:
        """Where older versions of torchvision kept their own files."""
        return os.path.join(self.root, type(self).__name__, "processed")

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Each class's label."""
        return {name: i for i, name in enumerate(self.classes)}

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train is True else 'Test'}"

    def _renamed(self, old: str, new: str) -> Tensor:
        warnings.warn(f"{old} has been renamed {new}", stacklevel=3)
        return self.data if new == "data" else self.targets

    @property
    def train_labels(self) -> Tensor:
        """``targets``, with a ``UserWarning``."""
        return self._renamed("train_labels", "targets")

    @property
    def test_labels(self) -> Tensor:
        """``targets``, with a ``UserWarning``."""
        return self._renamed("test_labels", "targets")

    @property
    def train_data(self) -> Tensor:
        """``data``, with a ``UserWarning``."""
        return self._renamed("train_data", "data")

    @property
    def test_data(self) -> Tensor:
        """``data``, with a ``UserWarning``."""
        return self._renamed("test_data", "data")


class FashionMNIST(MNIST):
    """Pictures of clothes, as ``MNIST``, in ``root``/FashionMNIST/raw.
    (https://github.com/zalandoresearch/fashion-mnist)"""

    mirrors = ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
    classes: ClassVar[list[str]] = [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


class KMNIST(MNIST):
    """Japanese characters, as ``MNIST``, in ``root``/KMNIST/raw.
    (https://github.com/rois-codh/kmnist)"""

    mirrors = ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",)
    classes: ClassVar[list[str]] = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
