"""Stage: vision. In: images. Out: scores of classes: SqueezeNet.
Next: ``minigrad/vision/ops/``.

(https://arxiv.org/abs/1602.07360)
"""

from __future__ import annotations

from typing import Any

from minigrad import nn
from minigrad.tensor import Tensor, cat
from minigrad.vision.models.registry import register
from minigrad.vision.models.weights import WeightsEnum, imagenet

POOL = "M"
LAYERS: dict[str, tuple[int, int, tuple[str | int, ...]]] = {
    "1_0": (96, 7, (POOL, 16, 16, 32, POOL, 32, 48, 48, 64, POOL, 64)),
    "1_1": (64, 3, (POOL, 16, 16, POOL, 32, 32, POOL, 48, 48, 64, 64)),
}
"""The first convolution's channels and size, then a maximum or the channels that a ``Fire`` squeezes to; it gives eight
times as many."""


class Fire(nn.Module):
    """relu(conv1×1) to few channels, then cat(relu(conv1×1), relu(conv3×3)) to many."""

    def __init__(self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int) -> None:
        super().__init__()
        self.inplanes = inplanes
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, kernel_size=1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, kernel_size=1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, kernel_size=3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        return cat([self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """(N, 3, H, W) → (N, num_classes).
    (https://docs.pytorch.org/vision/stable/models/squeezenet.html)"""

    def __init__(self, version: str = "1_0", num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        if version not in LAYERS:
            raise ValueError(f"Unsupported SqueezeNet version {version}: 1_0 or 1_1 expected")
        self.num_classes = num_classes
        channels, size, entries = LAYERS[version]
        features: list[nn.Module] = [nn.Conv2d(3, channels, kernel_size=size, stride=2), nn.ReLU(inplace=True)]
        for entry in entries:
            if isinstance(entry, str):
                features.append(nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True))
            else:
                features.append(Fire(channels, entry, 4 * entry, 4 * entry))
                channels = 8 * entry
        self.features = nn.Sequential(*features)
        last = nn.Conv2d(512, num_classes, kernel_size=1)
        self.classifier = nn.Sequential(nn.Dropout(p=dropout), last, nn.ReLU(inplace=True),
                                        nn.AdaptiveAvgPool2d((1, 1)))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                if module is last:
                    nn.init.normal_(module.weight, mean=0.0, std=0.01)
                else:
                    nn.init.kaiming_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).flatten(1)


class SqueezeNet1_0_Weights(WeightsEnum):
    """Weights of ``squeezenet1_0``."""

    IMAGENET1K_V1 = imagenet("squeezenet1_0-b66bff10.pth", 1_248_424)
    DEFAULT = IMAGENET1K_V1


class SqueezeNet1_1_Weights(WeightsEnum):
    """Weights of ``squeezenet1_1``."""

    IMAGENET1K_V1 = imagenet("squeezenet1_1-b8a52dc0.pth", 1_235_496)
    DEFAULT = IMAGENET1K_V1

@register(SqueezeNet1_0_Weights)
def squeezenet1_0(**options: Any) -> SqueezeNet:
    """SqueezeNet 1.0."""
    return SqueezeNet("1_0", **options)


@register(SqueezeNet1_1_Weights)
def squeezenet1_1(**options: Any) -> SqueezeNet:
    """SqueezeNet 1.1."""
    return SqueezeNet("1_1", **options)
