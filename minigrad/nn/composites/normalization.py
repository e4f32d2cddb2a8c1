"""Stage: front. In: features. Out: the formulas that give them mean 0 and variance 1.
Next: ``distance.py``."""

from __future__ import annotations

from typing import Any

from minigrad.nn.composites.precision import narrow, wide
from minigrad.tensor import Tensor, arange, cat, composite, finfo, where
from minigrad.tensor.operands import dim_index


def _standardised(input: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """(x - mean) / sqrt(variance + eps), the mean and the variance, over ``axes``, which keep size 1."""
    mean = input.mean(axes, keepdim=True)
    centred = input - mean
    variance = (centred * centred).mean(axes, keepdim=True)
    return centred / (variance + eps).sqrt(), mean, variance


def _scaled(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _by_channel(values: Any, ndim: int) -> Any:
    """A vector laid along axis 1 of an ``ndim``-dimensional space."""
    return None if values is None else values.reshape(1, -1, *[1] * (ndim - 2))


@composite
def layer_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, *, axes: tuple[int, ...],
               eps: float) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias, statistics over ``axes``; halves are rounded at the end."""
    dtype = input.dtype
    (input, weight, bias), _ = wide(input, weight, bias)
    return _scaled(_standardised(input, axes, eps)[0], weight, bias).to(dtype)


@composite
def rms_norm(input: Tensor, weight: Tensor | None, *, axes: tuple[int, ...], eps: float | None) -> Tensor:
    """x / sqrt(mean of x^2 + eps) * weight; without an ``eps`` the least step at 1 of the type it is computed in."""
    dtype = input.dtype
    (input, weight), _ = wide(input, weight)
    eps = finfo(input.dtype).eps if eps is None else eps
    result = input / ((input * input).mean(axes, keepdim=True) + eps).sqrt()
    return _scaled(result, weight, None).to(dtype)


def _check_channels(input: Tensor, repeated: int, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None,
                    variance: Tensor | None) -> None:
    """PyTorch's errors for parameters that do not fit, once for each combination of shapes; instance norm's count them
    as often as there are samples."""
    if (mean is None) != (variance is None):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    channels = input.shape[1] if input.ndim > 1 else 0
    for name, given in (("running_mean", mean), ("running_var", variance), ("weight", weight), ("bias", bias)):
        if given is not None and given.numel() != channels:
            raise RuntimeError(f"{name} should contain {channels * repeated} elements not {given.numel() * repeated}")
    dim_index(1, input.ndim)


@composite
def batch_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None,
               variance: Tensor | None, *, eps: float) -> Tensor:
    """Batch norm by given statistics of the channels, or by the batch's own."""
    _check_channels(input, 1, weight, bias, mean, variance)
    dtype, ndim = input.dtype, input.ndim
    tensors, _ = wide(input, weight, bias, mean, variance)
    input = tensors[0]
    weight, bias, mean, variance = [_by_channel(t, ndim) for t in tensors[1:]]
    if mean is None or variance is None:
        result, _, _ = _standardised(input, _all_but_channels(ndim), eps)
        return _scaled(result, weight, bias).to(dtype)
    return _scaled((input - mean) / (variance + eps).sqrt(), weight, bias).to(dtype)


def _all_but_channels(ndim: int) -> tuple[int, ...]:
    return (0, *range(2, ndim))


@composite(differentiable=1)
def batch_norm_training(input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
                        running_var: Tensor | None, batches: Tensor | None, *, momentum: float | None,
                        eps: float) -> tuple[Tensor, ...]:
    """Batch norm by the batch's own statistics, and the new running mean, running variance and number of batches, as
    far as there are old ones. Without a ``momentum`` the running statistics are the mean of those of all batches."""
    _check_channels(input, 1, weight, bias, running_mean, running_var)
    dtype, ndim = input.dtype, input.ndim
    kept = [t.dtype for t in (running_mean, running_var, batches) if t is not None]
    (input, weight, bias, running_mean, running_var), _ = wide(input, weight, bias, running_mean, running_var)
    axes = _all_but_channels(ndim)
    result, mean, variance = _standardised(input, axes, eps)
    result = _scaled(result, _by_channel(weight, ndim), _by_channel(bias, ndim)).to(dtype)
    count = input.numel() // input.shape[1]
    share: Any = momentum
    if batches is not None:
        batches = batches + 1
        share = 1 / batches.to(input.dtype) if momentum is None else momentum
    unbiased = variance * (count / max(count - 1, 1))
    new = [None if old is None else old * (1 - share) + now.reshape(-1) * share
           for old, now in ((running_mean, mean), (running_var, unbiased))]
    return (result, *[n.to(k) for n, k in zip([n for n in (*new, batches) if n is not None], kept, strict=True)])


@composite(differentiable=1)
def instance_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
                  running_var: Tensor | None, *, momentum: float, eps: float) -> tuple[Tensor, ...]:
    """Each channel of each sample by its own statistics; and the new running ones, which take their mean over the
    samples."""
    _check_channels(input, input.shape[0], weight, bias, running_mean, running_var)
    dtype, ndim, kept = input.dtype, input.ndim, [t.dtype for t in (running_mean, running_var) if t is not None]
    (input, weight, bias, running_mean, running_var), _ = wide(input, weight, bias, running_mean, running_var)
    result, mean, variance = _standardised(input, tuple(range(2, ndim)), eps)
    result = _scaled(result, _by_channel(weight, ndim), _by_channel(bias, ndim)).to(dtype)
    count = input.numel() // (input.shape[0] * input.shape[1])
    unbiased = variance * (count / max(count - 1, 1))
    new = [None if old is None else old * (1 - momentum) + now.flatten(1).mean(0) * momentum
           for old, now in ((running_mean, mean), (running_var, unbiased))]
    return (result, *[n.to(k) for n, k in zip([n for n in new if n is not None], kept, strict=True)])


@composite
def group_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, *, groups: int, eps: float) -> Tensor:
    """Each group of channels of each sample by its own statistics, then a weight and a bias for each channel."""
    dtype, shape = input.dtype, input.shape
    (input, weight, bias), _ = wide(input, weight, bias)
    grouped = input.reshape(shape[0], groups, shape[1] // groups, *shape[2:])
    result, _, _ = _standardised(grouped, tuple(range(2, grouped.ndim)), eps)
    return _scaled(result.reshape(shape), _by_channel(weight, len(shape)), _by_channel(bias, len(shape))).to(dtype)


@composite
def local_response_norm(input: Tensor, *, below: int, above: int, alpha: float, beta: float, k: float,
                        first: bool) -> Tensor:
    """x / (k + alpha * sum of x^2)^beta, the sum over x's own channel, ``below`` before it and ``above`` after it.
    ``first``: the first channel counts for all."""
    (wider,), dtype = wide(input)
    window = below + 1 + above
    squares = (wider * wider).movedim(1, -1)
    around, channels = [squares.new_zeros((*squares.shape[:-1], n)) for n in (below, above)], squares.shape[-1]
    total = cat([around[0], squares, around[1]], -1).unfold(-1, window, 1).sum(-1)
    if first:
        total = total + where(arange(channels, device=input.device) > below, squares[..., :1], 0.0)
    if not dtype.is_inexact:  # PyTorch's means of integers are integers
        total = total // window * window
    return narrow(wider / (total.movedim(-1, 1) * alpha + k) ** beta, dtype)


@composite
def normalize(input: Tensor, *, p: float, dim: Any, eps: float) -> Tensor:
    """x / max(norm of x along ``dim``, eps), where the norm and eps are numbers of x's type: in float16 1e-12 is 0."""
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)
