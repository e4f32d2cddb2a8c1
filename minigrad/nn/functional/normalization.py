"""Stage: front. In: features. Out: the same with mean 0 and variance 1 over some of their dimensions.
Next: ``distance.py``."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from minigrad.autograd.mode import is_grad_enabled
from minigrad.dtype import int64
from minigrad.nn.composites import normalization as formulas
from minigrad.nn.composites.activation import require_float
from minigrad.tensor import Tensor, type_name, update_
from minigrad.tensor.function import watched
from minigrad.tensor.operands import not_for, require_tensor
from minigrad.tensor.outputs import into

# --- statistics over the last dimensions


def _check_normalized_shape(input: Tensor, wanted: list[int], comma: str, **parameters: Tensor | None) -> None:
    if not wanted:
        raise RuntimeError("Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
                           "element, but got normalized_shape = []")
    for name, parameter in parameters.items():
        if parameter is not None and list(parameter.shape) != wanted:
            raise RuntimeError(f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                               f"{list(parameter.shape)} and normalized_shape = {wanted}")
    if list(input.shape[-len(wanted):]) != wanted:
        raise RuntimeError(f"Given normalized_shape={wanted}, expected input with shape [*{comma}{str(wanted)[1:]}, "
                           f"but got input of size{list(input.shape)}")


def layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
               bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last dimensions, ``normalized_shape``.

    The variance divides by n. (Ba, Kiros, Hinton 2016)

    >>> import minigrad
    >>> layer_norm(minigrad.tensor([[0.0, 2.0]]), (2,))
    tensor([[-1.0000,  1.0000]])
    """
    require_tensor(input, "layer_norm", "input", 1)
    wanted = list(normalized_shape)
    _check_normalized_shape(input, wanted, ", ", weight=weight, bias=bias)
    require_float(input, "LayerNormKernelImpl")
    return formulas.layer_norm(input, weight, bias, axes=tuple(range(-len(wanted), 0)), eps=eps)


def rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
             eps: float | None = None) -> Tensor:
    """x / sqrt(mean of x² + eps) * weight over the last dimensions, ``normalized_shape``.

    Without an ``eps`` it is the difference between 1 and the next number of the type it is computed in (float32 for
    half types). ``RuntimeError`` for shapes that do not fit. (Zhang and Sennrich 2019)

    >>> import minigrad
    >>> rms_norm(minigrad.tensor([[3.0, 3.0]]), (2,))
    tensor([[1., 1.]])
    """
    require_tensor(input, "rms_norm", "input", 1)
    wanted = list(normalized_shape)
    _check_normalized_shape(input, wanted, "", weight=weight)
    return formulas.rms_norm(input, weight, axes=tuple(range(-len(wanted), 0)), eps=eps)


# --- statistics of channels


def _check_values_per_channel(size: Sequence[int]) -> None:
    if prod(size[2:]) * size[0] == 1:
        raise ValueError("Expected more than 1 value per channel when training, got input size "
                         f"{size if isinstance(size, list) else repr(size)}")


def batch_norm(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
               bias: Tensor | None = None, training: bool = False, momentum: float = 0.1,
               eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel, dimension 1 of (N, C, ...).

    In ``training`` the statistics are the batch's own, and the running ones, if they are given, move towards them in
    place by ``momentum``: that is computed along with the next ``backward()``. Otherwise the running ones are used.
    The variance divides by n, what goes into the running one by n - 1. ``ValueError`` for one value per channel in
    training, ``RuntimeError`` for a parameter of another size, and for statistics that require a gradient. (Ioffe and
    Szegedy 2015)

    >>> import minigrad
    >>> mean, variance = minigrad.zeros(1), minigrad.ones(1)
    >>> batch_norm(minigrad.tensor([[1.0], [3.0]]), mean, variance, training=True)
    tensor([[-1.0000],
            [ 1.0000]])
    >>> mean, variance
    (tensor([0.2000]), tensor([1.1000]))
    """
    return batch_norm_counted(input, running_mean, running_var, None, weight, bias, training, momentum, eps)


def batch_norm_counted(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None,
                       batches: Tensor | None, weight: Tensor | None, bias: Tensor | None, training: bool,
                       momentum: float | None, eps: float) -> Tensor:
    """``batch_norm`` that also counts batches in place, if there is a count; without a ``momentum``, the running
    statistics are then the mean of those of all batches."""
    if training:
        _check_values_per_channel(input.shape)
        if eps <= 0:
            raise ValueError(f"batch_norm eps must be positive during training, but got {eps}")
    elif eps < 0:
        raise ValueError(f"batch_norm eps must be non-negative, but got {eps}")
    for name, given in (("running_mean", running_mean), ("running_var", running_var)):
        if given is not None and given.requires_grad and is_grad_enabled():
            raise RuntimeError("The function 'native_batch_norm' is not differentiable with respect to argument "
                               f"'{name}'. This input cannot have requires_grad True.")
    if input.numel() == 0:  # as in PyTorch, parameters and statistics of any size will do, and are left alone
        if batches is not None:
            batches.add_(1)
        return input.clone()
    if not training:
        for name, given in (("running_mean", running_mean), ("running_var", running_var)):
            if given is None:
                raise RuntimeError(f"{name} must be defined in evaluation mode")
        return watched(formulas.batch_norm(input, weight, bias, running_mean, running_var, eps=eps), running_mean,
                       running_var)
    kept = [t for t in (running_mean, running_var, batches) if t is not None]
    if not kept:
        return formulas.batch_norm(input, weight, bias, None, None, eps=eps)
    result, *new = formulas.batch_norm_training(input, weight, bias, running_mean, running_var, batches,
                                                momentum=momentum, eps=eps)
    update_(kept, new)
    return watched(result, running_mean, running_var)


def instance_norm(input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
                  weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True,
                  momentum: float = 0.1, eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel of each sample of (N, C, ...).

    With ``use_input_stats`` the statistics are those of x, and the running ones, if they are given, move towards their
    mean over the samples; otherwise the running ones are used. ``ValueError`` for one value per channel.
    (Ulyanov, Vedaldi, Lempitsky 2016)

    >>> import minigrad
    >>> instance_norm(minigrad.tensor([[[1.0, 3.0], [4.0, 4.0]]]))
    tensor([[[-1.0000,  1.0000],
             [ 0.0000,  0.0000]]])
    """
    if use_input_stats and prod(input.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.shape}")
    if not use_input_stats and (running_mean is None or running_var is None):
        raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats is false")
    if not use_input_stats:
        return formulas.batch_norm(input, weight, bias, running_mean, running_var, eps=eps)
    kept = [t for t in (running_mean, running_var) if t is not None]
    made: Any = formulas.instance_norm(input, weight, bias, running_mean, running_var, momentum=momentum, eps=eps)
    if not kept:
        return made[0]
    update_(kept, made[1:])
    return made[0]


def group_norm(input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None,
               eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias for each of ``num_groups`` groups of channels of each sample of
    (N, C, ...); a weight and a bias for each channel. (Wu and He 2018)

    ``RuntimeError`` if the channels do not divide into groups, ``ValueError`` for one value per group.

    >>> import minigrad
    >>> group_norm(minigrad.tensor([[1.0, 3.0, 5.0, 5.0]]), 2)
    tensor([[-1.0000,  1.0000,  0.0000,  0.0000]])
    """
    if input.ndim < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.ndim}")
    batch, channels = input.shape[:2]
    _check_values_per_channel([batch * channels // num_groups, num_groups, *input.shape[2:]])
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if channels % num_groups:
        raise RuntimeError("Expected number of channels in input to be divisible by num_groups, but got input of "
                           f"shape {list(input.shape)} and num_groups={num_groups}")
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and list(parameter.shape) != [channels]:
            raise RuntimeError(f"Expected {name} to be a vector of size equal to the number of channels in input, but "
                               f"got {name} of shape {list(parameter.shape)} and input of shape {list(input.shape)}")
    return formulas.group_norm(input, weight, bias, groups=num_groups, eps=eps)


# --- other scales


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha / size * sum of x²)^beta, the sum over ``size`` neighbouring channels, dimension 1 of (N, C, ...).

    ``ValueError`` for fewer than 3 dimensions. (Krizhevsky, Sutskever, Hinton 2012)

    >>> import minigrad
    >>> local_response_norm(minigrad.ones(1, 1, 2), 1, alpha=1.0, beta=1.0)
    tensor([[[0.5000, 0.5000]]])
    """
    if input.ndim < 3:
        raise ValueError("Expected 3D or higher dimensionality                          input (got "
                         f"{input.ndim} dimensions)")
    if input.numel() == 0:
        return input
    if input.dtype is not int64:
        halves = input.ndim > 3 and input.dtype.size < 4
        not_for("buicf" if halves else "buic", input.dtype, "avg_pool2d" if input.ndim == 3 else "avg_pool3d_out_frame")
    return formulas.local_response_norm(input, below=size // 2, above=(size - 1) // 2, alpha=alpha / size, beta=beta,
                                        k=k, first=False)


def normalize(input: Tensor, p: float = 2.0, dim: int | Sequence[int] = 1, eps: float = 1e-12,
              out: Tensor | None = None) -> Tensor:
    """x / max(p-norm of x along ``dim``, eps).

    >>> import minigrad
    >>> normalize(minigrad.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    if not input.dtype.is_inexact:
        raise RuntimeError("linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
                           f"{type_name(input.dtype)}")
    result = formulas.normalize(input, p=p, dim=dim if isinstance(dim, int) else tuple(dim), eps=eps)
    return into(out, result, "normalize")
