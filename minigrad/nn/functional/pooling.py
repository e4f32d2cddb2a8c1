"""Stage: front. In: a Tensor, and windows along its last dimensions. Out: the largest element, the mean or the norm of
each window. What fits no window, and what PyTorch refuses, is refused in ``windows.py``.
Next: ``windows.py``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from minigrad.dtype import int64
from minigrad.nn.composites import pooling as formulas
from minigrad.nn.functional.arguments import one_per_dimension
from minigrad.nn.functional.windows import adaptive_layout, check_dtype, layout_of
from minigrad.tensor import Tensor
from minigrad.tensor.operands import require_tensor
from minigrad.tensor.outputs import into

Sizes = int | Sequence[int]
OptionalSizes = int | None | Sequence[int | None]
Both = tuple[Tensor, Tensor]


def _max_pool(dims: int, input: Tensor, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, dilation: Sizes,
              ceil_mode: bool, return_indices: bool) -> list[Tensor]:
    name = f"max_pool{dims}d"
    require_tensor(input, name, "input", 1)
    short = dims == 1 and not return_indices  # PyTorch has another way for it, with other words
    layout = layout_of(name + "_short" if short else name, input, kernel_size, stride, padding, dilation, ceil_mode,
                       "_with_indices" if return_indices else "")
    if dims == 1:
        check_dtype(input, "max_pool1d_impl" if short else "max_pool2d", floats=short)
    else:
        check_dtype(input, name, floats=False)
    return formulas.MAX_POOL[dims].all((input,), (layout,))


def max_pool1d_with_indices(input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
                            dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False) -> Both:
    """``max_pool1d`` and where each maximum stands, int64.

    >>> import minigrad
    >>> max_pool1d_with_indices(minigrad.tensor([[1.0, 3.0, 3.0, 2.0]]), 2)
    (tensor([[3., 3.]]), tensor([[1, 2]]))
    """
    values, _, places = _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, True)
    return values, places


def max_pool1d(input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
               dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The largest element of each window of the last dimension: (N, C, L) or (C, L), NaN if the window has one.

    Windows begin every ``stride`` elements (by default ``kernel_size``) and read ``kernel_size`` elements that are
    ``dilation`` apart; ``padding`` counts as -infinity at both ends; with ``ceil_mode`` the last window may reach
    beyond. With ``return_indices`` a pair, the second where each maximum stands. ``RuntimeError`` for sizes that fit no
    window. (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool1d.html)

    >>> import minigrad
    >>> max_pool1d(minigrad.tensor([[1.0, 3.0, 2.0, 4.0]]), 2, stride=1)
    tensor([[3., 3., 4.]])
    """
    values, _, places = _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return (values, places) if return_indices else values


def max_pool2d_with_indices(input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
                            dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False) -> Both:
    """``max_pool2d`` and where each maximum stands: row * width + column, int64."""
    values, _, places = _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, True)
    return values, places


def max_pool2d(input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
               dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The largest element of each window of the last two dimensions: (N, C, H, W) or (C, H, W). As ``max_pool1d``; a
    pair of numbers gives those of the height and of the width.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.max_pool2d.html)

    >>> import minigrad
    >>> max_pool2d(minigrad.tensor([[[1.0, 3.0], [4.0, 2.0]]]), 2, return_indices=True)
    (tensor([[[4.]]]), tensor([[[2]]]))
    """
    values, _, places = _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return (values, places) if return_indices else values


def max_pool3d_with_indices(input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
                            dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False) -> Both:
    """``max_pool3d`` and where each maximum stands, row-major in the last three dimensions, int64."""
    values, _, places = _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, True)
    return values, places


def max_pool3d(input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
               dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False) -> Any:
    """The largest element of each window of the last three dimensions: (N, C, D, H, W) or (C, D, H, W). As
    ``max_pool1d``.

    >>> import minigrad
    >>> max_pool3d(minigrad.tensor([[[[1.0, 3.0], [4.0, 2.0]]]]), (1, 2, 2))
    tensor([[[[4.]]]])
    """
    values, _, places = _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)
    return (values, places) if return_indices else values


# --- averages


def _avg_pool(dims: int, input: Tensor, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, ceil_mode: bool,
              count_include_pad: bool, divisor_override: int | None) -> Tensor:
    name = f"avg_pool{dims}d"
    require_tensor(input, name, "input", 1)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    layout = layout_of(name, input, kernel_size, stride, padding, 1, ceil_mode)
    if input.dtype is not int64:
        check_dtype(input, "avg_pool3d_out_frame" if dims == 3 else "avg_pool2d", floats=True)
    return formulas.AVG_POOL[dims]((input,), (layout, bool(count_include_pad), divisor_override))


def avg_pool1d(input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
               ceil_mode: bool = False, count_include_pad: bool = True) -> Tensor:
    """The mean of each window of the last dimension: (N, C, L) or (C, L).

    Windows as in ``max_pool1d``. ``padding`` is zeros, which count unless ``count_include_pad`` is false.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool1d.html)

    >>> import minigrad
    >>> avg_pool1d(minigrad.tensor([[1.0, 3.0, 2.0, 4.0]]), 2)
    tensor([[2., 3.]])
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
               ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None, *,
               out: Tensor | None = None) -> Tensor:
    """The mean of each window of the last two dimensions: (N, C, H, W) or (C, H, W). As ``avg_pool1d``;
    ``divisor_override`` divides the sums in place of the number of elements.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.avg_pool2d.html)

    >>> import minigrad
    >>> x = minigrad.tensor([[[1.0, 3.0], [4.0, 2.0]]])
    >>> avg_pool2d(x, 2), avg_pool2d(x, 2, divisor_override=1)
    (tensor([[[2.5000]]]), tensor([[[10.]]]))
    """
    return into(out, _avg_pool(2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override),
                "avg_pool2d")


def avg_pool3d(input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
               ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None, *,
               out: Tensor | None = None) -> Tensor:
    """The mean of each window of the last three dimensions: (N, C, D, H, W) or (C, D, H, W). As ``avg_pool2d``.

    >>> import minigrad
    >>> avg_pool3d(minigrad.tensor([[[[1.0, 3.0], [4.0, 2.0]]]]), (1, 2, 2))
    tensor([[[[2.5000]]]])
    """
    return into(out, _avg_pool(3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override),
                "avg_pool3d")


def _lp_pool(dims: int, input: Tensor, norm_type: float, kernel_size: Any, stride: Sizes | None,
             ceil_mode: bool) -> Tensor:
    elements = kernel_size
    if dims > 1:
        sizes = one_per_dimension(dims)(kernel_size)
        if len(sizes) != dims:
            raise ValueError(f"too many values to unpack (expected {dims})" if len(sizes) > dims else
                             f"not enough values to unpack (expected {dims}, got {len(sizes)})")
        elements = prod(sizes)
    if norm_type in (float("inf"), -float("inf")):
        sign = 1 if norm_type > 0 else -1
        found = _max_pool(dims, input.abs() * sign, kernel_size, stride, 0, 1, ceil_mode, False)[0]
        return found if sign > 0 else -found
    layout = layout_of(f"avg_pool{dims}d", input, kernel_size, stride, 0, 1, ceil_mode)
    if not isinstance(elements, int):
        raise TypeError(f"mul(): argument 'other' (position 1) must be Tensor, not {type(elements).__name__}")
    return formulas.lp_pool(input, layout=layout, norm_type=norm_type, elements=elements)


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: int, stride: Sizes | None = None,
              ceil_mode: bool = False) -> Tensor:
    """(sum of x^p over each window)^(1/p) of the last dimension, p = ``norm_type``; for infinity the largest |x|.

    At a sum of 0 the slope is NaN, as PyTorch's is.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.lp_pool1d.html)

    >>> import minigrad
    >>> lp_pool1d(minigrad.tensor([[3.0, 4.0]]), 2, 2)
    tensor([[5.]])
    """
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None,
              ceil_mode: bool = False) -> Tensor:
    """As ``lp_pool1d``, over windows of the last two dimensions."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None,
              ceil_mode: bool = False) -> Tensor:
    """As ``lp_pool1d``, over windows of the last three dimensions."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


# --- adaptive


def _adaptive_max_pool(dims: int, input: Tensor, output_size: Any) -> list[Tensor]:
    layout = adaptive_layout(f"adaptive_max_pool{dims}d", input, output_size)
    check_dtype(input, "adaptive_max_pool3d_cpu" if dims == 3 else "adaptive_max_pool2d", floats=True)
    return formulas.ADAPTIVE_MAX_POOL[dims].all((input,), (layout,))


def adaptive_max_pool1d_with_indices(input: Tensor, output_size: Sizes, return_indices: bool = False) -> Both:
    """``adaptive_max_pool1d`` and where each maximum stands, int64."""
    values, _, places = _adaptive_max_pool(1, input, output_size)
    return values, places


def adaptive_max_pool1d(input: Tensor, output_size: Sizes, return_indices: bool = False) -> Any:
    """The largest elements of ``output_size`` windows that share the last dimension: (N, C, L) or (C, L).

    Window o of m along n elements reads floor(o n / m) to ceil((o + 1) n / m) - 1.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_max_pool1d.html)

    >>> import minigrad
    >>> adaptive_max_pool1d(minigrad.tensor([[1.0, 5.0, 2.0]]), 2)
    tensor([[5., 5.]])
    """
    values, _, places = _adaptive_max_pool(1, input, output_size)
    return (values, places) if return_indices else values


def adaptive_max_pool2d_with_indices(input: Tensor, output_size: OptionalSizes, return_indices: bool = False) -> Both:
    """``adaptive_max_pool2d`` and where each maximum stands: row * width + column, int64."""
    values, _, places = _adaptive_max_pool(2, input, output_size)
    return values, places


def adaptive_max_pool2d(input: Tensor, output_size: OptionalSizes, return_indices: bool = False) -> Any:
    """As ``adaptive_max_pool1d``, over the last two dimensions; None keeps a dimension's size.

    >>> import minigrad
    >>> adaptive_max_pool2d(minigrad.tensor([[[1.0, 5.0, 2.0], [3.0, 4.0, 6.0]]]), (1, None))
    tensor([[[3., 5., 6.]]])
    """
    values, _, places = _adaptive_max_pool(2, input, output_size)
    return (values, places) if return_indices else values


def adaptive_max_pool3d_with_indices(input: Tensor, output_size: OptionalSizes, return_indices: bool = False) -> Both:
    """``adaptive_max_pool3d`` and where each maximum stands, row-major in the last three dimensions, int64."""
    values, _, places = _adaptive_max_pool(3, input, output_size)
    return values, places


def adaptive_max_pool3d(input: Tensor, output_size: OptionalSizes, return_indices: bool = False) -> Any:
    """As ``adaptive_max_pool1d``, over the last three dimensions; None keeps a dimension's size."""
    values, _, places = _adaptive_max_pool(3, input, output_size)
    return (values, places) if return_indices else values


def _adaptive_avg_pool(dims: int, input: Tensor, output_size: Any) -> Tensor:
    layout = adaptive_layout(f"adaptive_avg_pool{dims}d", input, output_size)
    check_dtype(input, "adaptive_avg_pool3d_cpu" if dims == 3 else "adaptive_avg_pool2d", floats=True)
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size,)
    overall = all([size == 1 for size in sizes])  # one window: PyTorch takes the mean, of which the tape keeps nothing
    return (formulas.OVERALL_AVG_POOL if overall else formulas.ADAPTIVE_AVG_POOL)[dims]((input,), (layout, True, None))


def adaptive_avg_pool1d(input: Tensor, output_size: Sizes) -> Tensor:
    """The means of ``output_size`` windows that share the last dimension: (N, C, L) or (C, L). Windows as in
    ``adaptive_max_pool1d``.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.adaptive_avg_pool1d.html)

    >>> import minigrad
    >>> adaptive_avg_pool1d(minigrad.tensor([[1.0, 5.0, 2.0]]), 2)
    tensor([[3.0000, 3.5000]])
    """
    return _adaptive_avg_pool(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: OptionalSizes) -> Tensor:
    """As ``adaptive_avg_pool1d``, over the last two dimensions; None keeps a dimension's size.

    >>> import minigrad
    >>> adaptive_avg_pool2d(minigrad.tensor([[[1.0, 5.0], [2.0, 4.0]]]), 1)
    tensor([[[3.]]])
    """
    return _adaptive_avg_pool(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: OptionalSizes) -> Tensor:
    """As ``adaptive_avg_pool1d``, over the last three dimensions; None keeps a dimension's size."""
    return _adaptive_avg_pool(3, input, output_size)
