"""Stage: vision. In: images. Out: scores of classes: the ResNet family.
Next: ``vgg.py``.

(https://arxiv.org/abs/1512.03385)

>>> from minigrad import rand
>>> resnet18(num_classes=10).eval()(rand(1, 3, 32, 32)).shape
minigrad.Size([1, 10])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minigrad import nn
from minigrad.tensor import Tensor
from minigrad.vision.models.registry import register
from minigrad.vision.models.weights import WeightsEnum, imagenet

Norm = Callable[..., nn.Module]


def conv3x3(in_planes: int, out_planes: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A 3×3 convolution without bias that keeps the size (at ``stride`` 1)."""
    return nn.Conv2d(in_planes, out_planes, 3, stride, dilation, dilation, groups, bias=False)


def conv1x1(in_planes: int, out_planes: int, stride: int = 1) -> nn.Conv2d:
    """A 1×1 convolution without bias."""
    return nn.Conv2d(in_planes, out_planes, 1, stride, bias=False)


class BasicBlock(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + x), where ``downsample`` brings x to the result's shape."""

    expansion: int = 1

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None,
                 groups: int = 1, base_width: int = 64, dilation: int = 1, norm_layer: Norm | None = None) -> None:
        super().__init__()
        norm = norm_layer if norm_layer is not None else nn.BatchNorm2d
        if groups != 1 or base_width != 64:
            raise ValueError("BasicBlock only supports groups=1 and base_width=64")
        if dilation > 1:
            raise NotImplementedError("Dilation > 1 not supported in BasicBlock")
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = norm(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = norm(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + kept)


class Bottleneck(nn.Module):
    """As ``BasicBlock``, with three convolutions: 1×1 to fewer channels, 3×3 (it has the stride), 1×1 to four times
    ``planes`` channels."""

    expansion: int = 4

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None,
                 groups: int = 1, base_width: int = 64, dilation: int = 1, norm_layer: Norm | None = None) -> None:
        super().__init__()
        norm = norm_layer if norm_layer is not None else nn.BatchNorm2d
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1 = conv1x1(inplanes, width)
        self.bn1 = norm(width)
        self.conv2 = conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm(width)
        self.conv3 = conv1x1(width, planes * self.expansion)
        self.bn3 = norm(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.bn3(self.conv3(out)) + kept)


class ResNet(nn.Module):
    """(N, 3, H, W) → (N, num_classes): a convolution and pooling, four layers of ``layers[i]`` blocks, the mean over
    all places, a Linear.

    ``replace_stride_with_dilation`` keeps the size in one of the last three layers and spreads the filters instead.
    ``zero_init_residual`` has each block begin as the identity.
    (https://docs.pytorch.org/vision/stable/models/resnet.html)
    """

    def __init__(self, block: type[BasicBlock | Bottleneck], layers: Sequence[int], num_classes: int = 1000,
                 zero_init_residual: bool = False, groups: int = 1, width_per_group: int = 64,
                 replace_stride_with_dilation: Sequence[bool] | None = None, norm_layer: Norm | None = None) -> None:
        super().__init__()
        self._norm_layer = norm_layer if norm_layer is not None else nn.BatchNorm2d
        dilate = (False, False, False) if replace_stride_with_dilation is None else replace_stride_with_dilation
        if len(dilate) != 3:
            raise ValueError(f"replace_stride_with_dilation should be None or a 3-element tuple, got {dilate}")
        self.inplanes, self.dilation = 64, 1
        self.groups, self.base_width = groups, width_per_group
        self.conv1 = nn.Conv2d(3, self.inplanes, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = self._norm_layer(self.inplanes)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], 2, dilate[0])
        self.layer3 = self._make_layer(block, 256, layers[2], 2, dilate[1])
        self.layer4 = self._make_layer(block, 512, layers[3], 2, dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        self._initialise(zero_init_residual)

    def _initialise(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, (nn.BatchNorm2d, nn.GroupNorm)):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules() if zero_init_residual else ():
            last = getattr(module, "bn3" if isinstance(module, Bottleneck) else "bn2", None)
            if isinstance(module, (BasicBlock, Bottleneck)) and last is not None and last.weight is not None:
                nn.init.zeros_(last.weight)

    def _make_layer(self, block: type[BasicBlock | Bottleneck], planes: int, blocks: int, stride: int = 1,
                    dilate: bool = False) -> nn.Sequential:
        before = self.dilation
        if dilate:
            self.dilation, stride = self.dilation * stride, 1
        width = planes * block.expansion
        downsample = None
        if stride != 1 or self.inplanes != width:
            downsample = nn.Sequential(conv1x1(self.inplanes, width, stride), self._norm_layer(width))
        made = [block(self.inplanes, planes, stride, downsample, self.groups, self.base_width, before,
                      self._norm_layer)]
        self.inplanes = width
        made += [block(width, planes, groups=self.groups, base_width=self.base_width, dilation=self.dilation,
                       norm_layer=self._norm_layer) for _ in range(1, blocks)]
        return nn.Sequential(*made)

    def _forward_impl(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return self._forward_impl(x)


class ResNet18_Weights(WeightsEnum):
    """Weights of ``resnet18``."""

    IMAGENET1K_V1 = imagenet("resnet18-f37072fd.pth", 11_689_512)
    DEFAULT = IMAGENET1K_V1


class ResNet34_Weights(WeightsEnum):
    """Weights of ``resnet34``."""

    IMAGENET1K_V1 = imagenet("resnet34-b627a593.pth", 21_797_672)
    DEFAULT = IMAGENET1K_V1


class ResNet50_Weights(WeightsEnum):
    """Weights of ``resnet50``."""

    IMAGENET1K_V1 = imagenet("resnet50-0676ba61.pth", 25_557_032)
    IMAGENET1K_V2 = imagenet("resnet50-11ad3fa6.pth", 25_557_032, 232)
    DEFAULT = IMAGENET1K_V2


class ResNet101_Weights(WeightsEnum):
    """Weights of ``resnet101``."""

    IMAGENET1K_V1 = imagenet("resnet101-63fe2227.pth", 44_549_160)
    IMAGENET1K_V2 = imagenet("resnet101-cd907fc2.pth", 44_549_160, 232)
    DEFAULT = IMAGENET1K_V2


class ResNet152_Weights(WeightsEnum):
    """Weights of ``resnet152``."""

    IMAGENET1K_V1 = imagenet("resnet152-394f9c45.pth", 60_192_808)
    IMAGENET1K_V2 = imagenet("resnet152-f82ba261.pth", 60_192_808, 232)
    DEFAULT = IMAGENET1K_V2


class ResNeXt50_32X4D_Weights(WeightsEnum):
    """Weights of ``resnext50_32x4d``."""

    IMAGENET1K_V1 = imagenet("resnext50_32x4d-7cdf4587.pth", 25_028_904)
    IMAGENET1K_V2 = imagenet("resnext50_32x4d-1a0047aa.pth", 25_028_904, 232)
    DEFAULT = IMAGENET1K_V2


class ResNeXt101_32X8D_Weights(WeightsEnum):
    """Weights of ``resnext101_32x8d``."""

    IMAGENET1K_V1 = imagenet("resnext101_32x8d-8ba56ff5.pth", 88_791_336)
    IMAGENET1K_V2 = imagenet("resnext101_32x8d-110c445d.pth", 88_791_336, 232)
    DEFAULT = IMAGENET1K_V2


class ResNeXt101_64X4D_Weights(WeightsEnum):
    """Weights of ``resnext101_64x4d``."""

    IMAGENET1K_V1 = imagenet("resnext101_64x4d-173b62eb.pth", 83_455_272, 232)
    DEFAULT = IMAGENET1K_V1


class Wide_ResNet50_2_Weights(WeightsEnum):
    """Weights of ``wide_resnet50_2``."""

    IMAGENET1K_V1 = imagenet("wide_resnet50_2-95faca4d.pth", 68_883_240)
    IMAGENET1K_V2 = imagenet("wide_resnet50_2-9ba9bcbe.pth", 68_883_240, 232)
    DEFAULT = IMAGENET1K_V2


class Wide_ResNet101_2_Weights(WeightsEnum):
    """Weights of ``wide_resnet101_2``."""

    IMAGENET1K_V1 = imagenet("wide_resnet101_2-32ee1156.pth", 126_886_696)
    IMAGENET1K_V2 = imagenet("wide_resnet101_2-d733dc28.pth", 126_886_696, 232)
    DEFAULT = IMAGENET1K_V2

@register(ResNet18_Weights)
def resnet18(**options: Any) -> ResNet:
    """ResNet-18 (https://arxiv.org/abs/1512.03385)."""
    return ResNet(BasicBlock, [2, 2, 2, 2], **options)


@register(ResNet34_Weights)
def resnet34(**options: Any) -> ResNet:
    """ResNet-34 (https://arxiv.org/abs/1512.03385)."""
    return ResNet(BasicBlock, [3, 4, 6, 3], **options)


@register(ResNet50_Weights)
def resnet50(**options: Any) -> ResNet:
    """ResNet-50 (https://arxiv.org/abs/1512.03385)."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **options)


@register(ResNet101_Weights)
def resnet101(**options: Any) -> ResNet:
    """ResNet-101 (https://arxiv.org/abs/1512.03385)."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **options)


@register(ResNet152_Weights)
def resnet152(**options: Any) -> ResNet:
    """ResNet-152 (https://arxiv.org/abs/1512.03385)."""
    return ResNet(Bottleneck, [3, 8, 36, 3], **options)


@register(ResNeXt50_32X4D_Weights)
def resnext50_32x4d(**options: Any) -> ResNet:
    """ResNeXt: 32 groups, 4 channels each (https://arxiv.org/abs/1611.05431)."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **{**options, "groups": 32, "width_per_group": 4})


@register(ResNeXt101_32X8D_Weights)
def resnext101_32x8d(**options: Any) -> ResNet:
    """ResNeXt: 32 groups, 8 channels each (https://arxiv.org/abs/1611.05431)."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **{**options, "groups": 32, "width_per_group": 8})


@register(ResNeXt101_64X4D_Weights)
def resnext101_64x4d(**options: Any) -> ResNet:
    """ResNeXt: 64 groups, 4 channels each (https://arxiv.org/abs/1611.05431)."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **{**options, "groups": 64, "width_per_group": 4})


@register(Wide_ResNet50_2_Weights)
def wide_resnet50_2(**options: Any) -> ResNet:
    """A ResNet whose blocks are twice as wide inside (https://arxiv.org/abs/1605.07146)."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **{**options, "width_per_group": 128})


@register(Wide_ResNet101_2_Weights)
def wide_resnet101_2(**options: Any) -> ResNet:
    """A ResNet whose blocks are twice as wide inside (https://arxiv.org/abs/1605.07146)."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **{**options, "width_per_group": 128})
