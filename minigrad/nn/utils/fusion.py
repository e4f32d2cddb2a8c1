"""Stage: front. In: a layer and the batch norm after it, in evaluation. Out: one layer that computes both.
Next: ``memory_format.py``."""

from __future__ import annotations

import copy
from typing import Any

from minigrad.nn.parameter import Parameter
from minigrad.tensor import Tensor, ones_like, rsqrt, zeros_like


def _check(layer: Any, bn: Any) -> None:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")


def _check_statistics(bn: Any) -> None:
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A convolution that gives what ``bn(conv(x))`` gives; ``transpose`` for a transposed one.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.fuse_conv_bn_eval.html)
    """
    _check(conv, bn)
    fused = copy.deepcopy(conv)
    _check_statistics(bn)
    fused.weight, fused.bias = fuse_conv_bn_weights(fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps,
                                                    bn.weight, bn.bias, transpose)
    return fused


def fuse_conv_bn_weights(conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float,
                         bn_w: Tensor | None, bn_b: Tensor | None,
                         transpose: bool = False) -> tuple[Parameter, Parameter]:
    """weight * w / sqrt(var + eps) and (bias - mean) * w / sqrt(var + eps) + b, as parameters.

    >>> from minigrad import ones, zeros
    >>> weight, bias = fuse_conv_bn_weights(ones(1, 1, 1), None, ones(1), ones(1), 0.0, None, zeros(1))
    >>> weight.item(), bias.item()
    (1.0, -1.0)
    """
    dtype = conv_w.dtype if conv_b is None else conv_b.dtype
    conv_b = zeros_like(bn_rm) if conv_b is None else conv_b
    bn_w = ones_like(bn_rm) if bn_w is None else bn_w
    bn_b = zeros_like(bn_rm) if bn_b is None else bn_b
    inverse = rsqrt(bn_rv + bn_eps)
    shape = [1] * conv_w.ndim
    shape[1 if transpose else 0] = -1
    weight = (conv_w * (bn_w * inverse).reshape(shape)).to(conv_w.dtype)
    bias = ((conv_b - bn_rm) * inverse * bn_w + bn_b).to(dtype)
    return Parameter(weight, conv_w.requires_grad), Parameter(bias, conv_b.requires_grad)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A dense layer that gives what ``bn(linear(x))`` gives.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.fuse_linear_bn_eval.html)
    """
    _check(linear, bn)
    fused = copy.deepcopy(linear)
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError("To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
                             f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}")
    _check_statistics(bn)
    fused.weight, fused.bias = fuse_linear_bn_weights(fused.weight, fused.bias, bn.running_mean, bn.running_var,
                                                      bn.eps, bn.weight, bn.bias)
    return fused


def fuse_linear_bn_weights(linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float,
                           bn_w: Tensor, bn_b: Tensor) -> tuple[Parameter, Parameter]:
    """weight * w / sqrt(var + eps) and (bias - mean) * w / sqrt(var + eps) + b, as parameters.

    >>> from minigrad import ones, zeros
    >>> weight, bias = fuse_linear_bn_weights(ones(1, 2), ones(1), zeros(1), ones(1), 0.0, ones(1) * 3, zeros(1))
    >>> weight.detach(), bias.detach()
    (tensor([[3., 3.]]), tensor([3.]))
    """
    dtype = linear_w.dtype if linear_b is None else linear_b.dtype
    linear_b = zeros_like(bn_rm) if linear_b is None else linear_b
    scale = bn_w * rsqrt(bn_rv + bn_eps)
    weight = linear_w * scale.unsqueeze(-1).to(linear_w.dtype)
    bias = ((linear_b - bn_rm) * scale + bn_b).to(dtype)
    return Parameter(weight, linear_w.requires_grad), Parameter(bias, linear_b.requires_grad)
