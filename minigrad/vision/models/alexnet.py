"""Stage: vision. In: images. Out: scores of classes: AlexNet, as in https://arxiv.org/abs/1404.5997.
Next: ``mobilenetv2.py``."""

from __future__ import annotations

from typing import Any

from minigrad import nn
from minigrad.tensor import Tensor
from minigrad.vision.models.registry import register
from minigrad.vision.models.weights import WeightsEnum, imagenet


class AlexNet(nn.Module):
    """(N, 3, H, W) → (N, num_classes).
    (https://docs.pytorch.org/vision/stable/models/alexnet.html)"""

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2), nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2), nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1), nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2))
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(inplace=True),
            nn.Dropout(p=dropout), nn.Linear(4096, 4096), nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class AlexNet_Weights(WeightsEnum):
    """Weights of ``alexnet``."""

    IMAGENET1K_V1 = imagenet("alexnet-owt-7be5be79.pth", 61_100_840)
    DEFAULT = IMAGENET1K_V1

@register(AlexNet_Weights)
def alexnet(**options: Any) -> AlexNet:
    """AlexNet (https://arxiv.org/abs/1404.5997)."""
    return AlexNet(**options)
