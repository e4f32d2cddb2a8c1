"""Stage: vision. In: images. Out: scores of classes: the VGG family.
Next: ``alexnet.py``.

(https://arxiv.org/abs/1409.1556)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad import nn
from minigrad.tensor import Tensor
from minigrad.vision.models.registry import register
from minigrad.vision.models.weights import WeightsEnum, imagenet

cfgs: dict[str, list[str | int]] = {
    "A": [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "B": [64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    "D": [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"],
    "E": [64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M", 512, 512, 512, 512, "M"],
}
"""The paper's columns: channels of 3×3 convolutions, and M for a maximum over 2×2."""


class VGG(nn.Module):
    """(N, 3, H, W) → (N, num_classes): ``features``, a mean to 7×7, three Linears with dropout.
    (https://docs.pytorch.org/vision/stable/models/vgg.html)"""

    def __init__(self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True,
                 dropout: float = 0.5) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(True), nn.Dropout(p=dropout),
            nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(p=dropout),
            nn.Linear(4096, num_classes))
        for module in self.modules() if init_weights else ():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.ones_(module.weight)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
            else:
                continue
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def make_layers(cfg: Sequence[str | int], batch_norm: bool = False) -> nn.Sequential:
    """The convolutions and maxima that a row of ``cfgs`` names."""
    layers: list[nn.Module] = []
    channels = 3
    for entry in cfg:
        if isinstance(entry, str):
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
            continue
        layers.append(nn.Conv2d(channels, entry, kernel_size=3, padding=1))
        layers += [nn.BatchNorm2d(entry)] if batch_norm else []
        layers.append(nn.ReLU(inplace=True))
        channels = entry
    return nn.Sequential(*layers)


class VGG11_Weights(WeightsEnum):
    """Weights of ``vgg11``."""

    IMAGENET1K_V1 = imagenet("vgg11-8a719046.pth", 132_863_336)
    DEFAULT = IMAGENET1K_V1


class VGG11_BN_Weights(WeightsEnum):
    """Weights of ``vgg11_bn``."""

    IMAGENET1K_V1 = imagenet("vgg11_bn-6002323d.pth", 132_868_840)
    DEFAULT = IMAGENET1K_V1


class VGG13_Weights(WeightsEnum):
    """Weights of ``vgg13``."""

    IMAGENET1K_V1 = imagenet("vgg13-19584684.pth", 133_047_848)
    DEFAULT = IMAGENET1K_V1


class VGG13_BN_Weights(WeightsEnum):
    """Weights of ``vgg13_bn``."""

    IMAGENET1K_V1 = imagenet("vgg13_bn-abd245e5.pth", 133_053_736)
    DEFAULT = IMAGENET1K_V1


class VGG16_Weights(WeightsEnum):
    """Weights of ``vgg16``."""

    IMAGENET1K_V1 = imagenet("vgg16-397923af.pth", 138_357_544)
    DEFAULT = IMAGENET1K_V1


class VGG16_BN_Weights(WeightsEnum):
    """Weights of ``vgg16_bn``."""

    IMAGENET1K_V1 = imagenet("vgg16_bn-6c64b313.pth", 138_365_992)
    DEFAULT = IMAGENET1K_V1


class VGG19_Weights(WeightsEnum):
    """Weights of ``vgg19``."""

    IMAGENET1K_V1 = imagenet("vgg19-dcbb9e9d.pth", 143_667_240)
    DEFAULT = IMAGENET1K_V1


class VGG19_BN_Weights(WeightsEnum):
    """Weights of ``vgg19_bn``."""

    IMAGENET1K_V1 = imagenet("vgg19_bn-c79401a0.pth", 143_678_248)
    DEFAULT = IMAGENET1K_V1

@register(VGG11_Weights)
def vgg11(**options: Any) -> VGG:
    """VGG-11 (https://arxiv.org/abs/1409.1556)."""
    return VGG(make_layers(cfgs["A"]), **options)


@register(VGG11_BN_Weights)
def vgg11_bn(**options: Any) -> VGG:
    """VGG-11 with batch norm (https://arxiv.org/abs/1409.1556)."""
    return VGG(make_layers(cfgs["A"], batch_norm=True), **options)


@register(VGG13_Weights)
def vgg13(**options: Any) -> VGG:
    """VGG-13 (https://arxiv.org/abs/1409.1556)."""
    return VGG(make_layers(cfgs["B"]), **options)


@register(VGG13_BN_Weights)
def vgg13_bn(**options: Any) -> VGG:
    """VGG-13 with batch norm (https://arxiv.org/abs/1409.1556)."""
    return VGG(make_layers(cfgs["B"], batch_norm=True), **options)


@register(VGG16_Weights)
def vgg16(**options: Any) -> VGG:
    """VGG-16 (https://arxiv.org/abs/1409.1556)."""
    return VGG(make_layers(cfgs["D"]), **options)


@register(VGG16_BN_Weights)
def vgg16_bn(**options: Any) -> VGG:
    """VGG-16 with batch norm (https://arxiv.org/abs/1409.1556)."""
    return VGG(make_layers(cfgs["D"], batch_norm=True), **options)


@register(VGG19_Weights)
def vgg19(**options: Any) -> VGG:
    """VGG-19 (https://arxiv.org/abs/1409.1556)."""
    return VGG(make_layers(cfgs["E"]), **options)


@register(VGG19_BN_Weights)
def vgg19_bn(**options: Any) -> VGG:
    """VGG-19 with batch norm (https://arxiv.org/abs/1409.1556)."""
    return VGG(make_layers(cfgs["E"], batch_norm=True), **options)
