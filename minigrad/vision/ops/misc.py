"""Stage: vision. In: channels and sizes. Out: a convolution with its norm and activation, or a stack of Linears.
Next: ``minigrad/vision/transforms/``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from minigrad import nn

Sizes = int | tuple[int, ...]
Layer = Callable[..., nn.Module]


class ConvNormActivation(nn.Sequential):
    """``Conv2dNormActivation`` with the class of the convolution as its last argument."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Sizes = 3, stride: Sizes = 1,
                 padding: Sizes | str | None = None, groups: int = 1, norm_layer: Layer | None = nn.BatchNorm2d,
                 activation_layer: Layer | None = nn.ReLU, dilation: Sizes = 1, inplace: bool | None = True,
                 bias: bool | None = None, conv_layer: Layer = nn.Conv2d) -> None:
        if padding is None:
            padding = _keeps_the_size(kernel_size, dilation)
        made = [conv_layer(in_channels, out_channels, kernel_size, stride, padding, dilation=dilation, groups=groups,
                           bias=norm_layer is None if bias is None else bias)]
        if norm_layer is not None:
            made.append(norm_layer(out_channels))
        if activation_layer is not None:
            made.append(activation_layer(**({} if inplace is None else {"inplace": inplace})))
        super().__init__(*made)
        self.out_channels = out_channels
        if type(self) is ConvNormActivation:
            warnings.warn("Don't use ConvNormActivation directly, please use Conv2dNormActivation and "
                          "Conv3dNormActivation instead.", stacklevel=2)


def _keeps_the_size(kernel_size: Sizes, dilation: Sizes) -> Sizes:
    """(k - 1) // 2 · d, the padding with which a convolution of odd size keeps the size."""
    if isinstance(kernel_size, int) and isinstance(dilation, int):
        return (kernel_size - 1) // 2 * dilation
    dims = len(kernel_size if isinstance(kernel_size, Sequence) else dilation)  # type: ignore[arg-type]
    sizes = kernel_size if isinstance(kernel_size, Sequence) else (kernel_size,) * dims
    steps = dilation if isinstance(dilation, Sequence) else (dilation,) * dims
    return tuple([(size - 1) // 2 * step for size, step in zip(sizes, steps, strict=True)])


class Conv2dNormActivation(ConvNormActivation):
    """activation(norm(conv(x))): a ``Sequential`` of a Conv2d, ``norm_layer`` and ``activation_layer``, each of the
    last two may be None. ``padding`` None keeps the size; ``bias`` None means a bias if there is no norm.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.ops.Conv2dNormActivation.html)

    >>> Conv2dNormActivation(3, 8)
    Conv2dNormActivation(
      (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
      (1): BatchNorm2d(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
      (2): ReLU(inplace=True)
    )
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Sizes = 3, stride: Sizes = 1,
                 padding: Sizes | str | None = None, groups: int = 1, norm_layer: Layer | None = nn.BatchNorm2d,
                 activation_layer: Layer | None = nn.ReLU, dilation: Sizes = 1, inplace: bool | None = True,
                 bias: bool | None = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups, norm_layer,
                         activation_layer, dilation, inplace, bias, nn.Conv2d)


class Conv3dNormActivation(ConvNormActivation):
    """``Conv2dNormActivation`` for volumes."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Sizes = 3, stride: Sizes = 1,
                 padding: Sizes | str | None = None, groups: int = 1, norm_layer: Layer | None = nn.BatchNorm3d,
                 activation_layer: Layer | None = nn.ReLU, dilation: Sizes = 1, inplace: bool | None = True,
                 bias: bool | None = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups, norm_layer,
                         activation_layer, dilation, inplace, bias, nn.Conv3d)


class MLP(nn.Sequential):
    """Linears to ``hidden_channels``, each but the last with ``norm_layer``, activation and dropout; the last with
    dropout only.
    (https://docs.pytorch.org/vision/stable/generated/torchvision.ops.MLP.html)

    >>> [type(layer).__name__ for layer in MLP(4, [8, 2])]
    ['Linear', 'ReLU', 'Dropout', 'Linear', 'Dropout']
    """

    def __init__(self, in_channels: int, hidden_channels: Sequence[int], norm_layer: Layer | None = None,
                 activation_layer: Layer | None = nn.ReLU, inplace: bool | None = None, bias: bool = True,
                 dropout: float = 0.0) -> None:
        options = {} if inplace is None else {"inplace": inplace}
        layers: list[nn.Module] = []
        channels = in_channels
        for width in hidden_channels[:-1]:
            layers.append(nn.Linear(channels, width, bias=bias))
            layers += [norm_layer(width)] if norm_layer is not None else []
            layers += [activation_layer(**options)] if activation_layer is not None else []
            layers.append(nn.Dropout(dropout, **options))
            channels = width
        layers += [nn.Linear(channels, hidden_channels[-1], bias=bias), nn.Dropout(dropout, **options)]
        super().__init__(*layers)
