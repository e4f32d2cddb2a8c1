"""Stage: vision. In: folders with files. Out: data sets of images and labels. Nothing is downloaded: ``download=True``
accepts files that are there, and is a ``RuntimeError`` otherwise.
Next: ``vision.py``.

(https://docs.pytorch.org/vision/stable/datasets.html)

>>> data = FakeData(size=2, image_size=(3, 4, 4))
>>> len(data), data[0][0].size
(2, (4, 4))
"""

from minigrad.vision.datasets.cifar import CIFAR10, CIFAR100
from minigrad.vision.datasets.fakedata import FakeData
from minigrad.vision.datasets.folder import DatasetFolder, ImageFolder
from minigrad.vision.datasets.mnist import KMNIST, MNIST, FashionMNIST
from minigrad.vision.datasets.vision import VisionDataset

__all__ = ["CIFAR10", "CIFAR100", "KMNIST", "MNIST", "DatasetFolder", "FakeData", "FashionMNIST", "ImageFolder",
           "VisionDataset"]
