"""Stage: vision. In: images. Out: scores of classes: MobileNet V2.
Next: ``squeezenet.py``.

(https://arxiv.org/abs/1801.04381)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minigrad import nn
from minigrad.tensor import Tensor
from minigrad.vision.models.registry import register
from minigrad.vision.models.weights import WeightsEnum, imagenet
from minigrad.vision.ops.misc import Conv2dNormActivation

Norm = Callable[..., nn.Module]

SETTING = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""The paper's table: how many times wider a block is inside, its channels, how many blocks, the first one's stride."""


def _make_divisible(v: float, divisor: int, min_value: int | None = None) -> int:
    """The multiple of ``divisor`` nearest to v, at least 0.9 v and at least ``min_value``.

    >>> _make_divisible(32 * 0.75, 8), _make_divisible(11, 8)
    (24, 16)
    """
    nearest = max(divisor if min_value is None else min_value, int(v + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * v else nearest + divisor


class InvertedResidual(nn.Module):
    """x + project(depthwise(expand(x))): wide inside, narrow outside; x is added where the shapes agree."""

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: float, norm_layer: Norm | None = None) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"stride should be 1 or 2 instead of {stride}")
        norm = norm_layer if norm_layer is not None else nn.BatchNorm2d
        hidden = round(inp * expand_ratio)
        self.stride = stride
        self.use_res_connect = stride == 1 and inp == oup
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers.append(Conv2dNormActivation(inp, hidden, kernel_size=1, norm_layer=norm,
                                               activation_layer=nn.ReLU6))
        layers += [Conv2dNormActivation(hidden, hidden, stride=stride, groups=hidden, norm_layer=norm,
                                        activation_layer=nn.ReLU6),
                   nn.Conv2d(hidden, oup, 1, 1, 0, bias=False), norm(oup)]
        self.conv = nn.Sequential(*layers)
        self.out_channels = oup
        self._is_cn = stride > 1

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv(x)
        return x + out if self.use_res_connect else out


class MobileNetV2(nn.Module):
    """(N, 3, H, W) → (N, num_classes). ``width_mult`` multiplies all channels, which are then rounded to multiples of
    ``round_nearest``; ``inverted_residual_setting`` takes the place of ``SETTING``.
    (https://docs.pytorch.org/vision/stable/models/mobilenetv2.html)"""

    def __init__(self, num_classes: int = 1000, width_mult: float = 1.0,
                 inverted_residual_setting: Sequence[Sequence[int]] | None = None, round_nearest: int = 8,
                 block: Callable[..., nn.Module] | None = None, norm_layer: Norm | None = None,
                 dropout: float = 0.2) -> None:
        super().__init__()
        make = block if block is not None else InvertedResidual
        norm = norm_layer if norm_layer is not None else nn.BatchNorm2d
        setting = SETTING if inverted_residual_setting is None else inverted_residual_setting
        if len(setting) == 0 or len(setting[0]) != 4:
            raise ValueError(f"inverted_residual_setting should be non-empty or a 4-element list, got {setting}")
        channels = _make_divisible(32 * width_mult, round_nearest)
        self.last_channel = _make_divisible(1280 * max(1.0, width_mult), round_nearest)
        features: list[nn.Module] = [Conv2dNormActivation(3, channels, stride=2, norm_layer=norm,
                                                          activation_layer=nn.ReLU6)]
        for expansion, planes, count, stride in setting:
            width = _make_divisible(planes * width_mult, round_nearest)
            for i in range(count):
                features.append(make(channels, width, stride if i == 0 else 1, expand_ratio=expansion,
                                     norm_layer=norm))
                channels = width
        features.append(Conv2dNormActivation(channels, self.last_channel, kernel_size=1, norm_layer=norm,
                                             activation_layer=nn.ReLU6))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(p=dropout), nn.Linear(self.last_channel, num_classes))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
                nn.init.ones_(module.weight)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
            else:
                continue
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(x.flatten(1))


class MobileNet_V2_Weights(WeightsEnum):
    """Weights of ``mobilenet_v2``."""

    IMAGENET1K_V1 = imagenet("mobilenet_v2-b0353104.pth", 3_504_872)
    IMAGENET1K_V2 = imagenet("mobilenet_v2-7ebf99e0.pth", 3_504_872, 232)
    DEFAULT = IMAGENET1K_V2

@register(MobileNet_V2_Weights)
def mobilenet_v2(**options: Any) -> MobileNetV2:
    """MobileNet V2 (https://arxiv.org/abs/1801.04381)."""
    return MobileNetV2(**options)
