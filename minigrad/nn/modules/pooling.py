"""Stage: front. In: a Tensor. Out: the largest element, the mean or the norm of each window, as a Module.
Next: ``upsampling.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.nn import functional as F
from minigrad.nn.modules.module import Module
from minigrad.nn.modules.utils import _ntuple
from minigrad.tensor import Tensor

Sizes = int | Sequence[int]
OptionalSizes = int | None | Sequence[int | None]


class _MaxPoolNd(Module):
    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, dilation: Sizes = 1,
                 return_indices: bool = False, ceil_mode: bool = False) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def extra_repr(self) -> str:
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
                f"dilation={self.dilation}, ceil_mode={self.ceil_mode}")


class MaxPool1d(_MaxPoolNd):
    """The largest element of each window of the last dimension; see ``F.max_pool1d``.

    Windows begin every ``stride`` elements (``kernel_size``), read ``kernel_size`` elements ``dilation`` apart, and may
    reach ``padding`` beyond both ends.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.MaxPool1d.html)

    >>> import minigrad
    >>> tuple(MaxPool1d(2)(minigrad.zeros(1, 2, 4)).shape)
    (1, 2, 2)
    """

    def forward(self, input: Tensor) -> Any:
        return F.max_pool1d(input, self.kernel_size, self.stride, self.padding, self.dilation,
                            ceil_mode=self.ceil_mode, return_indices=self.return_indices)


class MaxPool2d(_MaxPoolNd):
    """The largest element of each window of the last two dimensions; see ``F.max_pool2d``.

    >>> import minigrad
    >>> tuple(MaxPool2d(2)(minigrad.zeros(1, 2, 4, 4)).shape)
    (1, 2, 2, 2)
    """

    def forward(self, input: Tensor) -> Any:
        return F.max_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation,
                            ceil_mode=self.ceil_mode, return_indices=self.return_indices)


class MaxPool3d(_MaxPoolNd):
    """The largest element of each window of the last three dimensions; see ``F.max_pool3d``.

    >>> import minigrad
    >>> tuple(MaxPool3d(2)(minigrad.zeros(1, 2, 4, 4, 4)).shape)
    (1, 2, 2, 2, 2)
    """

    def forward(self, input: Tensor) -> Any:
        return F.max_pool3d(input, self.kernel_size, self.stride, self.padding, self.dilation,
                            ceil_mode=self.ceil_mode, return_indices=self.return_indices)


class _MaxUnpoolNd(Module):
    dims: int

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        each = _ntuple(self.dims)
        self.kernel_size, self.padding = each(kernel_size), each(padding)
        self.stride = self.kernel_size if stride is None else each(stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """Each maximum back at its place, 0 elsewhere; see ``F.max_unpool1d``.

    >>> import minigrad
    >>> values, places = MaxPool1d(2, return_indices=True)(minigrad.ones(1, 2, 4))
    >>> MaxUnpool1d(2)(values, places).sum()
    tensor(4.)
    """

    dims = 1

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool1d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool2d(_MaxUnpoolNd):
    """Each maximum back at its place, 0 elsewhere; see ``F.max_unpool2d``.

    >>> import minigrad
    >>> values, places = MaxPool2d(2, return_indices=True)(minigrad.ones(1, 2, 4, 4))
    >>> MaxUnpool2d(2)(values, places).sum()
    tensor(8.)
    """

    dims = 2

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool3d(_MaxUnpoolNd):
    """Each maximum back at its place, 0 elsewhere; see ``F.max_unpool3d``.

    >>> import minigrad
    >>> values, places = MaxPool3d(2, return_indices=True)(minigrad.ones(1, 2, 4, 4, 4))
    >>> MaxUnpool3d(2)(values, places).sum()
    tensor(16.)
    """

    dims = 3

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool3d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class _AvgPoolNd(Module):
    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True, divisor_override: int | None = None) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(Module):
    """The mean of each window of the last dimension; see ``F.avg_pool1d``.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.AvgPool1d.html)

    >>> import minigrad
    >>> layer = AvgPool1d(2)
    >>> layer, layer(minigrad.tensor([[1.0, 3.0, 2.0, 4.0]]))
    (AvgPool1d(kernel_size=(2,), stride=(2,), padding=(0,)), tensor([[2., 3.]]))
    """

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True) -> None:
        super().__init__()
        each = _ntuple(1)
        self.kernel_size, self.padding = each(kernel_size), each(padding)
        self.stride = self.kernel_size if stride is None else each(stride)
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                            self.count_include_pad)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPoolNd):
    """The mean of each window of the last two dimensions; see ``F.avg_pool2d``.

    >>> import minigrad
    >>> tuple(AvgPool2d(2)(minigrad.zeros(1, 2, 4, 4)).shape)
    (1, 2, 2, 2)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                            self.count_include_pad, self.divisor_override)


class AvgPool3d(_AvgPoolNd):
    """The mean of each window of the last three dimensions; see ``F.avg_pool3d``.

    >>> import minigrad
    >>> tuple(AvgPool3d(2)(minigrad.zeros(1, 2, 4, 4, 4)).shape)
    (1, 2, 2, 2, 2)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool3d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
                            self.count_include_pad, self.divisor_override)


class _FractionalMaxPoolNd(Module):
    dims: int

    def __init__(self, kernel_size: Sizes, output_size: Sizes | None = None,
                 output_ratio: float | Sequence[float] | None = None, return_indices: bool = False,
                 _random_samples: Tensor | None = None) -> None:
        super().__init__()
        each, name = _ntuple(self.dims), f"FractionalMaxPool{self.dims}d"
        if self.dims == 3 and min(each(kernel_size)) <= 0:
            raise ValueError(f"kernel_size must be greater than 0, but got {kernel_size}")
        self.kernel_size, self.return_indices = each(kernel_size), return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else each(output_size)
        self.output_ratio = None if output_ratio is None else each(output_ratio)
        if output_size is None and output_ratio is None:
            raise ValueError(f"{name} requires specifying either an output size, or a pooling ratio")
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """The largest element of windows at random distances; see ``F.fractional_max_pool2d``.

    >>> import minigrad
    >>> tuple(FractionalMaxPool2d(2, output_size=3)(minigrad.zeros(1, 2, 6, 6)).shape)
    (1, 2, 3, 3)
    """

    dims = 2

    def forward(self, input: Tensor) -> Any:
        return F.fractional_max_pool2d(input, self.kernel_size, self.output_size, self.output_ratio,
                                       self.return_indices, _random_samples=self._random_samples)


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """The largest element of windows at random distances; see ``F.fractional_max_pool3d``.

    >>> import minigrad
    >>> tuple(FractionalMaxPool3d(2, output_size=3)(minigrad.zeros(1, 2, 6, 6, 6)).shape)
    (1, 2, 3, 3, 3)
    """

    dims = 3

    def forward(self, input: Tensor) -> Any:
        return F.fractional_max_pool3d(input, self.kernel_size, self.output_size, self.output_ratio,
                                       self.return_indices, _random_samples=self._random_samples)


class _LPPoolNd(Module):
    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type, self.kernel_size, self.stride, self.ceil_mode = norm_type, kernel_size, stride, ceil_mode

    def extra_repr(self) -> str:
        return (f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"ceil_mode={self.ceil_mode}")


class LPPool1d(_LPPoolNd):
    """The p-norm of each window of the last dimension; see ``F.lp_pool1d``.

    >>> import minigrad
    >>> tuple(LPPool1d(2, 2)(minigrad.ones(1, 2, 4)).shape)
    (1, 2, 2)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool1d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool2d(_LPPoolNd):
    """The p-norm of each window of the last two dimensions; see ``F.lp_pool2d``.

    >>> import minigrad
    >>> tuple(LPPool2d(2, 2)(minigrad.ones(1, 2, 4, 4)).shape)
    (1, 2, 2, 2)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool2d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool3d(_LPPoolNd):
    """The p-norm of each window of the last three dimensions; see ``F.lp_pool3d``.

    >>> import minigrad
    >>> tuple(LPPool3d(2, 2)(minigrad.ones(1, 2, 4, 4, 4)).shape)
    (1, 2, 2, 2, 2)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool3d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class _AdaptivePoolNd(Module):
    output_size: Any

    def __init__(self, output_size: OptionalSizes) -> None:
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveMaxPoolNd(_AdaptivePoolNd):
    def __init__(self, output_size: OptionalSizes, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """The largest elements of ``output_size`` windows along the last dimension; see ``F.adaptive_max_pool1d``.

    >>> import minigrad
    >>> tuple(AdaptiveMaxPool1d(3)(minigrad.zeros(1, 2, 5)).shape)
    (1, 2, 3)
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """The largest elements of ``output_size`` windows along the last two dimensions; see ``F.adaptive_max_pool2d``.

    >>> import minigrad
    >>> tuple(AdaptiveMaxPool2d(3)(minigrad.zeros(1, 2, 5, 5)).shape)
    (1, 2, 3, 3)
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """The largest elements of ``output_size`` windows along the last three dimensions; see ``F.adaptive_max_pool3d``.

    >>> import minigrad
    >>> tuple(AdaptiveMaxPool3d(3)(minigrad.zeros(1, 2, 5, 5, 5)).shape)
    (1, 2, 3, 3, 3)
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)


class AdaptiveAvgPool1d(_AdaptivePoolNd):
    """The means of ``output_size`` windows along the last dimension; see ``F.adaptive_avg_pool1d``.

    >>> import minigrad
    >>> tuple(AdaptiveAvgPool1d(3)(minigrad.zeros(1, 2, 5)).shape)
    (1, 2, 3)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptivePoolNd):
    """The means of ``output_size`` windows along the last two dimensions; see ``F.adaptive_avg_pool2d``.

    >>> import minigrad
    >>> tuple(AdaptiveAvgPool2d(3)(minigrad.zeros(1, 2, 5, 5)).shape)
    (1, 2, 3, 3)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_AdaptivePoolNd):
    """The means of ``output_size`` windows along the last three dimensions; see ``F.adaptive_avg_pool3d``.

    >>> import minigrad
    >>> tuple(AdaptiveAvgPool3d(3)(minigrad.zeros(1, 2, 5, 5, 5)).shape)
    (1, 2, 3, 3, 3)
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool3d(input, self.output_size)
