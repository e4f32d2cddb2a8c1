"""Stage: vision. In: a size. Out: images of random numbers, the same for one index at every time.
Next: ``minigrad/vision/io.py``."""

from __future__ import annotations

from typing import Any

from minigrad.dtype import int64
from minigrad.tensor import Generator, randint, randn
from minigrad.vision.datasets.vision import Transform, VisionDataset
from minigrad.vision.transforms.conversion import to_pil_image


class FakeData(VisionDataset):
    """``size`` images of (C, H, W) ``image_size``, with labels below ``num_classes``; ``random_offset`` gives others.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.datasets.FakeData.html)"""

    def __init__(self, size: int = 1000, image_size: tuple[int, int, int] = (3, 224, 224), num_classes: int = 10,
                 transform: Transform | None = None, target_transform: Transform | None = None,
                 random_offset: int = 0) -> None:
        super().__init__(transform=transform, target_transform=target_transform)
        self.size, self.num_classes, self.image_size, self.random_offset = size, num_classes, image_size, random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index >= len(self):
            raise IndexError(f"{type(self).__name__} index out of range")
        generator = Generator().manual_seed(index + self.random_offset)
        pixels = randn(*self.image_size, generator=generator)
        label = randint(0, self.num_classes, size=(1,), dtype=int64, generator=generator)[0]
        image, target = self.transformed(to_pil_image(pixels), label)
        return image, target.item()

    def __len__(self) -> int:
        return self.size
