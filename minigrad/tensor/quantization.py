"""Stage: front. In: a Tensor of floats, a scale and a zero point. Out: its elements rounded to the levels that an
integer type would have, as floats: what training that prepares for quantization computes.
Next: ``outside.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigrad.tensor.base import AnyTensor
from minigrad.tensor.creation import tensor
from minigrad.tensor.definition import function

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor


def _levels(x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int) -> Tensor:
    """(level - zero point) * scale. The gradient passes where the level is within its bounds. NaN is the lowest."""
    if low > high:
        raise RuntimeError("`quant_min` should be less than or equal to `quant_max`.")
    plain = x.detach()
    level = (plain * scale.reciprocal()).round() + zero_point
    level = level.masked_fill(level.isnan(), low - 1)
    inside = (level >= low) & (level <= high)
    values = (level.clamp(low, high) - zero_point) * scale
    through = (x - plain).where(inside, 0.0) if x.requires_grad else None
    values = values.to(x.dtype)
    return values if through is None else values + through


@function("fake_quantize_per_tensor_affine")
def fake_quantize_per_tensor_affine(input: Tensor, scale: Any, zero_point: Any, quant_min: int,
                                    quant_max: int) -> Tensor:
    """(clamp(round(input / scale) + zero_point, quant_min, quant_max) - zero_point) * scale.

    The gradient is 1 where nothing was clamped, else 0. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.fake_quantize_per_tensor_affine.html

    >>> import minigrad
    >>> minigrad.fake_quantize_per_tensor_affine(minigrad.tensor([0.26, 9.0]), 0.1, 0, 0, 10)
    tensor([0.3000, 1.0000])
    """
    step, zero = [v if isinstance(v, AnyTensor) else tensor(float(v), device=input.device) for v in (scale, zero_point)]
    return _levels(input, step.float(), zero.float(), quant_min, quant_max)


@function("fake_quantize_per_channel_affine")
def fake_quantize_per_channel_affine(input: Tensor, scale: Tensor, zero_point: Tensor, axis: int, quant_min: int,
                                     quant_max: int) -> Tensor:
    """As ``fake_quantize_per_tensor_affine``, with a scale and a zero point for each part along ``axis``."""
    if scale.ndim != 1 or zero_point.ndim != 1:
        raise RuntimeError("scale and zero-point need to be 1-D tensors")
    if scale.numel() != zero_point.numel():
        raise RuntimeError("scale and zero-point need to have the same dimensions")
    if scale.numel() != input.shape[axis]:
        raise RuntimeError("dimensions of scale and zero-point are not consistent with input tensor")
    shape = [-1 if i == axis % input.ndim else 1 for i in range(input.ndim)]
    return _levels(input, scale.float().reshape(shape), zero_point.float().reshape(shape), quant_min, quant_max)
