"""Functions that PyTorch has beneath those of ``torch.nn.functional``; programs and exported graphs call them by name,
as ``torch.native_layer_norm`` or ``torch.ops.aten.constant_pad_nd``.

Stage: PyTorch programs. In: Tensors. Out: what the function of that name gives.
Next: ``declarations.py``.

Source of the signatures: ``aten/src/ATen/native/native_functions.yaml`` of PyTorch 2.13.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import minigrad
from minigrad import Tensor
from minigrad.dtype import DType
from minigrad.nn import functional
from minigrad.nn.functional.dropout import feature_dropout as channel_dropout
from minigrad.nn.functional.upsampling import resampled
from minigrad.tensor.composite import composite
from minigrad.tensor.copies import SHOWN
from minigrad.tensor.function import watched
from minigrad.tensor.outputs import into

__all__ = ["_batch_norm_with_update", "_chunk_cat", "_native_batch_norm_legit", "_safe_softmax",
           "_softmax_backward_data", "_unsafe_masked_index", "_unsafe_masked_index_put_accumulate",
           "_upsample_bilinear2d_aa", "alpha_dropout", "alpha_dropout_", "constant_pad_nd", "dropout", "dropout_",
           "empty_permuted", "feature_alpha_dropout", "feature_alpha_dropout_", "feature_dropout", "feature_dropout_",
           "fill", "grid_sampler_2d", "grid_sampler_3d", "max_pool2d_with_indices_backward",
           "native_batch_norm", "native_dropout", "native_dropout_backward", "native_group_norm", "native_layer_norm",
           "slice"]

OF_ATEN = ("max_pool2d_with_indices_backward", "slice")
"""Those that ``torch.ops.aten`` has, and ``torch`` has not."""

slice = SHOWN["slice"]


# --- normalisations, with the statistics that their gradients need


def _statistics(x: Tensor, dims: Sequence[int], eps: float, keepdim: bool) -> tuple[Tensor, Tensor]:
    """The mean, and 1 / √(variance + eps)."""
    variance, mean = minigrad.var_mean(x, dims, correction=0, keepdim=keepdim)
    return mean, (variance + eps).rsqrt()


def native_layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None,
                      eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """``functional.layer_norm``; the mean; 1 / √(variance + eps), both without a gradient.

    >>> native_layer_norm(minigrad.tensor([[1., 3.]]), (2,), None, None, 0.0)
    (tensor([[-1.,  1.]]), tensor([[2.]]), tensor([[1.]]))
    """
    shape = tuple(normalized_shape)
    dims = tuple(range(input.ndim - len(shape), input.ndim))
    found = functional.layer_norm(input, shape, weight, bias, eps)
    mean, inverse = _statistics(input.detach(), dims, eps, True)
    return watched(found, mean, inverse), mean, inverse


def native_group_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int,
                      eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """``functional.group_norm``; the mean of each group; 1 / √(variance + eps)."""
    found = functional.group_norm(input, group, weight, bias, eps)
    mean, inverse = _statistics(input.detach().reshape(N, group, C * HxW // group), (2,), eps, False)
    return watched(found, mean, inverse), mean, inverse


def native_batch_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
                      running_var: Tensor | None, training: bool, momentum: float, eps: float, *,
                      out: Any = None) -> tuple[Tensor, Tensor, Tensor]:
    """``functional.batch_norm``; the batch's mean; 1 / √(variance + eps): both without a gradient, and empty without
    ``training``; then the last two of ``out`` have to be vectors, and stay as they are."""
    found = functional.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    mean, inverse = _statistics(input.detach(), [d for d in range(input.ndim) if d != 1], eps, False) if training else (
        input.new_empty(0), input.new_empty(0))
    found = watched(found, mean, inverse)
    if out is not None and not training:
        for place in out[1:]:
            if place.ndim != 1:
                raise RuntimeError(f"TensorAccessor expected 1 dims but tensor has {place.ndim}")
        mean, inverse = [place.detach().to(input.dtype) for place in out[1:]]
    return into(out, (found, mean, inverse), "native_batch_norm")


def _native_batch_norm_legit(input: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: Any,
                             out: Any = None) -> tuple[Tensor, Tensor, Tensor]:
    """``native_batch_norm``, with or without running statistics."""
    running = rest[:-3] or (None, None)
    return native_batch_norm(input, weight, bias, *running, *rest[-3:], out=out)


def _batch_norm_with_update(input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor,
                            running_var: Tensor, momentum: float, eps: float,
                            ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``native_batch_norm`` in training, and memory that a gradient may keep: none here."""
    found = native_batch_norm(input, weight, bias, running_mean, running_var, True, momentum, eps)
    return *found, minigrad.empty(0, dtype=minigrad.uint8, device=input.device)


# --- softmax and dropout


@composite(node="SoftmaxBackwardDataBackward0")
def _softmax_backward_data(grad_output: Tensor, output: Tensor, dim: int, input_dtype: DType) -> Tensor:
    """The gradient of softmax from its result y: y (g - ∑ g y)."""
    product = grad_output * output
    return (product - output * product.sum(dim, keepdim=True)).to(input_dtype)


def _safe_softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """softmax, and 0 along a dimension that is all -∞."""
    nothing = (input == float("-inf")).all(dim, keepdim=True)
    found = functional.softmax(input.masked_fill(nothing, 0.0), dim, dtype=dtype)  # of -∞ it would have gradients NaN
    return found.masked_fill(nothing, 0.0)


def native_dropout(input: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """``functional.dropout``, and where an element was kept; without ``train`` all are.

    >>> native_dropout(minigrad.ones(2), 1.0, True)
    (tensor([0., 0.]), tensor([False, False]))
    """
    if train is False or not input.numel():
        return input.clone(), minigrad.ones_like(input, dtype=minigrad.bool)
    kept = minigrad.empty_like(input, dtype=minigrad.bool).bernoulli_(1 - p)
    return input * kept * (0.0 if p == 1 else 1 / (1 - p)), kept


def _dropping(function: Any, inplace: bool) -> Any:
    def dropped(input: Tensor, p: float, train: bool) -> Tensor:
        if not 0 <= p <= 1:
            raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p:g}")
        made: Tensor = function(input, p, train, inplace)
        return made

    dropped.__name__ = dropped.__qualname__ = function.__name__ + "_" * inplace
    dropped.__doc__ = (f"``{function.__name__}`` of ``nn.functional``{', in place' * inplace}. ``RuntimeError`` for a "
                       "``p`` outside [0, 1]: that one raises ``ValueError``, as in PyTorch.")
    return dropped


_EACH = functional.dropout, functional.alpha_dropout, channel_dropout, functional.feature_alpha_dropout
dropout, alpha_dropout, feature_dropout, feature_alpha_dropout = [_dropping(f, False) for f in _EACH]
dropout_, alpha_dropout_, feature_dropout_, feature_alpha_dropout_ = [_dropping(f, True) for f in _EACH]


@composite(node="NativeDropoutBackwardBackward0")
def native_dropout_backward(grad_output: Tensor, mask: Tensor, scale: float) -> Tensor:
    """g mask scale."""
    return grad_output * (mask.to(grad_output.dtype) * scale)


# --- images


def constant_pad_nd(input: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """``functional.pad`` with a constant.

    >>> constant_pad_nd(minigrad.tensor([1, 2]), (1, 0))
    tensor([0, 1, 2])
    """
    return functional.pad(input, list(pad), "constant", value)


def max_pool2d_with_indices_backward(grad_output: Tensor, self: Tensor, kernel_size: Any, stride: Any, padding: Any,
                                     dilation: Any, ceil_mode: bool, indices: Tensor) -> Tensor:
    """The gradient of ``functional.max_pool2d``: each of ``grad_output`` added where its maximum was.

    >>> x = minigrad.tensor([[[1., 5.], [2., 3.]]])
    >>> max_pool2d_with_indices_backward(minigrad.tensor([[[7.]]]), x, 2, 2, 0, 1, False, minigrad.tensor([[[1]]]))
    tensor([[[0., 7.],
             [0., 0.]]])
    """
    flat = self.new_zeros((*self.shape[:-2], self.shape[-2] * self.shape[-1]))
    return flat.scatter_add(-1, indices.flatten(-2), grad_output.flatten(-2)).reshape(self.shape)


def _sampled(input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Tensor:
    return functional.grid_sample(input, grid, ("bilinear", "nearest", "bicubic")[interpolation_mode],
                                  ("zeros", "border", "reflection")[padding_mode], align_corners)


grid_sampler_2d = grid_sampler_3d = _sampled
"""``functional.grid_sample``, whose modes have numbers."""


def _upsample_bilinear2d_aa(input: Tensor, output_size: Sequence[int] | None, align_corners: bool,
                            scale_factors: Sequence[float] | None = None, scales_h: float | None = None,
                            scales_w: float | None = None) -> Tensor:
    """``functional.interpolate``, bilinear, with smoothing before it makes smaller; with a size, scales may say how far
    places are from each other."""
    scales = (scales_h, scales_w) if scale_factors is None else scale_factors
    return resampled(input, "bilinear", output_size, scales, align_corners, True)


# --- memory


def _inside(self: Tensor, indices: Sequence[Tensor | None]) -> tuple[Any, ...]:
    """The indices, moved into their dimensions."""
    return tuple([builtins.slice(None) if i is None else i.clamp(min=0, max=size - 1)
                  for i, size in zip(indices, self.shape, strict=False)])


def _unsafe_masked_index(self: Tensor, mask: Tensor, indices: Sequence[Tensor | None], fill: float) -> Tensor:
    """``self[indices]`` where the mask is True, else ``fill``; only there must the indices be within bounds."""
    return self[_inside(self, indices)].masked_fill(~mask, fill)


def _unsafe_masked_index_put_accumulate(self: Tensor, mask: Tensor, indices: Sequence[Tensor | None],
                                        values: Tensor) -> Tensor:
    """self with the values added at the indices where the mask is True."""
    return self.index_put(_inside(self, indices), values * mask.to(values.dtype), accumulate=True)


def _chunk_cat(tensors: Sequence[Tensor], dim: int, num_chunks: int, *, out: Tensor | None = None) -> Tensor:
    """Each tensor padded by zeros along ``dim`` and cut into chunks; the i-th chunks of all, flat, side by side."""
    if not tensors:
        raise RuntimeError("_chunk_cat expects a non-empty input tensor list")
    if num_chunks < 1:
        raise RuntimeError("_chunk_cat expects positive num_chunks")
    if dim < 0 and any(t.ndim != tensors[0].ndim for t in tensors):
        raise RuntimeError("_chunk_cat expects non-negative dim when input tensors have different ndims")
    dim = dim % tensors[0].ndim if dim < 0 else dim
    for tensor in tensors:
        if dim >= tensor.ndim:
            raise RuntimeError("_chunk_cat expects dim < ndim for all input tensors")
        if tensor.shape[:dim] != tensors[0].shape[:dim]:
            raise RuntimeError("_chunk_cat expects same sizes of 0,...,dim-1 dimensions for all tensors")
        if not tensor.numel():
            raise RuntimeError("_chunk_cat expects non-empty tensor")
    parts = []
    for tensor in tensors:
        short = -tensor.shape[dim] % num_chunks
        padded = functional.pad(tensor, [0, 0] * (tensor.ndim - 1 - dim) + [0, short])
        parts.append(padded.reshape(*tensor.shape[:dim], num_chunks, -1))
    return into(out, minigrad.cat(parts, -1), "cat")


def empty_permuted(size: Sequence[int], physical_layout: Sequence[int], *, dtype: DType | None = None,
                   layout: Any = None, device: Any = None, requires_grad: bool = False,
                   pin_memory: bool = False) -> Tensor:
    """A Tensor whose dimensions lie in memory in the given order, the outermost first. RuntimeError if that is no
    permutation.

    >>> empty_permuted((2, 3), (1, 0)).stride()
    (1, 2)
    """
    if len(physical_layout) != len(size):
        raise RuntimeError(f"Number of dimensions in size does not match the length of the physical_layout; i.e. "
                           f"len(size) = {len(size)} is not equal to len(physical_layout) = {len(physical_layout)}")
    seen = set()
    for i in physical_layout:
        if not 0 <= i < len(size):
            raise RuntimeError(f"Dimension out of range (expected to be between 0 and {len(size) - 1}, but got {i} at "
                               f"index {list(physical_layout).index(i)}).  NB: negative dims not currently supported; "
                               "file an issue if you want it.")
        if i in seen:
            raise RuntimeError("Duplicate dim not allowed")
        seen.add(i)
    made = minigrad.empty(tuple(size[i] for i in physical_layout), dtype=dtype, device=device,
                          requires_grad=requires_grad)
    return made.permute([list(physical_layout).index(i) for i in range(len(size))])


def fill(input: Tensor, value: Any) -> Tensor:
    """A Tensor like ``input`` with one value everywhere; a Tensor of no dimensions gets its gradient.

    >>> fill(minigrad.zeros(2), 3)
    tensor([3., 3.])
    """
    if isinstance(value, Tensor):
        if value.ndim:
            raise RuntimeError("fill only supports 0-dimension value tensor but got tensor with "
                               f"{value.ndim} dimensions.")
        return value.to(input.dtype).expand(input.shape).clone()
    return minigrad.full_like(input, value)
