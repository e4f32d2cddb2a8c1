"""Stage: front. In: images. Out: layers that convolve them with filters that are learned.
Next: ``fold.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from minigrad.nn import functional as F
from minigrad.nn import init
from minigrad.nn.modules.module import Module
from minigrad.nn.parameter import Parameter
from minigrad.tensor import Tensor, empty

Sizes = int | Sequence[int]


def _each(value: Any, dims: int) -> tuple[Any, ...]:
    """One number for each axis: a number is repeated, a sequence stays what it is."""
    return tuple(value) if hasattr(value, "__iter__") else (value,) * dims


class _ConvNd(Module):
    """What all convolutions have: filters, perhaps a bias, and how windows lie.

    The weight has shape (out_channels, in_channels / groups, *kernel_size), transposed (in_channels,
    out_channels / groups, *kernel_size). Weight and bias start uniform in ±1/sqrt(fan_in).
    """

    _dims: int
    bias: Parameter | None

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes, padding: Any,
                 dilation: Sizes, transposed: bool, output_padding: Sizes, groups: int, bias: bool, padding_mode: str,
                 device: Any = None, dtype: Any = None) -> None:
        super().__init__()
        dims = self._dims
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        kernel_size, stride, dilation = _each(kernel_size, dims), _each(stride, dims), _each(dilation, dims)
        if isinstance(padding, str) and not transposed:
            if padding not in ("same", "valid"):
                raise ValueError(f"Invalid padding string {padding!r}, should be one of {{'valid', 'same'}}")
            if padding == "same" and any(s != 1 for s in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ValueError("padding_mode must be one of {'zeros', 'reflect', 'replicate', 'circular'}, but got "
                             f"padding_mode='{padding_mode}'")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride = kernel_size, stride
        self.padding = padding if isinstance(padding, str) and not transposed else _each(padding, dims)
        self.dilation, self.transposed = dilation, transposed
        self.output_padding = _each(output_padding, dims)
        self.groups, self.padding_mode = groups, padding_mode
        if self.padding == "same":  # the last axis first, as functional.pad takes it
            totals = [d * (k - 1) for d, k in zip(reversed(dilation), reversed(kernel_size), strict=True)]
            pad = [p for t in totals for p in (t // 2, t - t // 2)]
        elif isinstance(self.padding, str):
            pad = [0] * (2 * dims)
        else:
            pad = [p for p in reversed(self.padding) for _ in range(2)]
        self._reversed_padding_repeated_twice = pad
        filters = (in_channels, out_channels // groups) if transposed else (out_channels, in_channels // groups)
        self.weight = Parameter(empty((*filters, *kernel_size), device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new weights, then new biases."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init._calculate_fan_in_and_fan_out(self.weight)
            if fan_in != 0:
                bound = 1 / math.sqrt(fan_in)
                init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * len(self.padding):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.dilation):
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * len(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        return text if self.padding_mode == "zeros" else text + f", padding_mode={self.padding_mode}"


class _Conv(_ConvNd):
    """The plain ones."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1,
                 padding: str | Sizes = 0, dilation: Sizes = 1, groups: int = 1, bias: bool = True,
                 padding_mode: str = "zeros", device: Any = None, dtype: Any = None) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, False, 0, groups, bias,
                         padding_mode, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = (0,) * self._dims
        convolve = _CONVOLUTIONS[self._dims]
        result: Tensor = convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)
        return result


class Conv1d(_Conv):
    """1D convolution of (N, in_channels, width), or unbatched (in_channels, width), with learned filters.

    See ``functional.conv1d`` for the formula; ``padding_mode`` other than ``"zeros"`` pads by ``functional.pad``.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv1d.html)

    >>> import minigrad
    >>> Conv1d(2, 4, 3)(minigrad.ones(1, 2, 8)).shape
    minigrad.Size([1, 4, 6])
    """

    _dims = 1


class Conv2d(_Conv):
    """2D convolution of (N, in_channels, height, width), or unbatched, with learned filters.

    See ``functional.conv2d`` for the formula; ``padding_mode`` other than ``"zeros"`` pads by ``functional.pad``.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv2d.html)

    >>> import minigrad
    >>> layer = Conv2d(2, 4, 3, padding=1)
    >>> layer
    Conv2d(2, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    >>> layer(minigrad.ones(1, 2, 8, 8)).shape
    minigrad.Size([1, 4, 8, 8])
    """

    _dims = 2


class Conv3d(_Conv):
    """3D convolution of (N, in_channels, depth, height, width), or unbatched, with learned filters.

    See ``functional.conv3d`` for the formula; ``padding_mode`` other than ``"zeros"`` pads by ``functional.pad``.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.Conv3d.html)

    >>> import minigrad
    >>> Conv3d(1, 2, 3)(minigrad.ones(1, 1, 4, 4, 4)).shape
    minigrad.Size([1, 2, 2, 2, 2])
    """

    _dims = 3


class _ConvTransposeNd(_ConvNd):
    """The transposed ones."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Sizes, stride: Sizes = 1, padding: Sizes = 0,
                 output_padding: Sizes = 0, groups: int = 1, bias: bool = True, dilation: Sizes = 1,
                 padding_mode: str = "zeros", device: Any = None, dtype: Any = None) -> None:
        if padding_mode != "zeros":
            raise ValueError(f"Only \"zeros\" padding mode is supported for {type(self).__name__}")
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, True, output_padding,
                         groups, bias, padding_mode, device, dtype)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        more = self.output_padding if output_size is None else self._output_padding(input, output_size)
        convolve = _TRANSPOSED[self._dims]
        result: Tensor = convolve(input, self.weight, self.bias, self.stride, self.padding, more, self.groups,
                                  self.dilation)
        return result

    def _output_padding(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that gives this size; ``ValueError`` if none does."""
        dims, size = self._dims, tuple(output_size)
        given = input.ndim - dims
        if len(size) == given + dims:
            size = size[given:]
        if len(size) != dims:
            raise ValueError(f"ConvTranspose{dims}D: for {input.ndim}D input, output_size must have {dims} or "
                             f"{given + dims} elements (got {len(output_size)})")
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in zip(
            input.shape[given:], self.stride, self.padding, self.dilation, self.kernel_size, strict=True)]
        most = [m + s - 1 for m, s in zip(least, self.stride, strict=True)]
        if any(not a <= n <= b for n, a, b in zip(size, least, most, strict=True)):
            raise ValueError(f"requested an output size of {tuple(output_size)}, but valid sizes range from {least} to "
                             f"{most} (for an input of {input.shape[2:]})")
        return tuple([n - m for n, m in zip(size, least, strict=True)])


class ConvTranspose1d(_ConvTransposeNd):
    """1D transposed convolution, the gradient of Conv1d, with learned filters. See ``functional.conv_transpose1d``.

    ``output_size`` of a call chooses among the sizes that the same windows fit into.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose1d.html)

    >>> import minigrad
    >>> ConvTranspose1d(2, 4, 3, stride=2)(minigrad.ones(1, 2, 4)).shape
    minigrad.Size([1, 4, 9])
    """

    _dims = 1


class ConvTranspose2d(_ConvTransposeNd):
    """2D transposed convolution, the gradient of Conv2d, with learned filters. See ``functional.conv_transpose2d``.

    ``output_size`` of a call chooses among the sizes that the same windows fit into.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html)

    >>> import minigrad
    >>> layer = ConvTranspose2d(2, 4, 3, stride=2)
    >>> layer(minigrad.ones(1, 2, 4, 4)).shape, layer(minigrad.ones(1, 2, 4, 4), output_size=(10, 10)).shape
    (minigrad.Size([1, 4, 9, 9]), minigrad.Size([1, 4, 10, 10]))
    """

    _dims = 2


class ConvTranspose3d(_ConvTransposeNd):
    """3D transposed convolution, the gradient of Conv3d, with learned filters. See ``functional.conv_transpose3d``.

    ``output_size`` of a call chooses among the sizes that the same windows fit into.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.ConvTranspose3d.html)

    >>> import minigrad
    >>> ConvTranspose3d(1, 2, 2)(minigrad.ones(1, 1, 2, 2, 2)).shape
    minigrad.Size([1, 2, 3, 3, 3])
    """

    _dims = 3


_CONVOLUTIONS: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
