"""Stage: front. In: features and a weight. Out: the formula of a dense layer, which half types round once.
Next: ``activation.py``."""

from __future__ import annotations

from math import prod

from minigrad.dtype import promote
from minigrad.nn.composites.precision import wide
from minigrad.tensor import Tensor, composite, type_name


@composite
def linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """input @ weight.T + bias. It checks shapes itself: once for each pair of them, not at each call."""
    shape, weight_shape = input.shape, weight.shape
    if not shape or not weight_shape:
        raise RuntimeError("both arguments to linear need to be at least 1D, "
                           f"but they are {len(shape)}D and {len(weight_shape)}D")
    if shape[-1] != weight_shape[-1]:
        turned = "x".join(str(n) for n in reversed(weight_shape))
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({prod(shape[:-1])}x{shape[-1]} and {turned})")
    dtype = input.dtype
    if bias is not None and weight.dtype is not dtype:
        which, other = ("mat1", dtype) if bias.dtype is weight.dtype else ("self", bias.dtype)
        raise RuntimeError(f"{which} and mat2 must have the same dtype, but got {type_name(other)} and "
                           f"{type_name(weight.dtype)}")
    if weight.dtype is dtype:  # else the product raises PyTorch's error
        (input, weight), _ = wide(input, weight)
    product = input @ weight.T
    if bias is None:
        return product.to(dtype)
    dtype = promote(dtype, bias.dtype)
    if bias.dtype is not product.dtype and bias.shape == product.shape[-1:]:
        bias = bias.expand(product.shape)  # each row reads it as it is: no copy in float32 comes first
    return (product + bias).to(dtype)


@composite
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """out[o] = sum over i and j of input1[i] weight[o, i, j] input2[j], plus bias[o]."""
    (input1, input2, weight, bias), dtype = wide(input1, input2, weight, bias)
    out, first, second = weight.shape
    lead = input1.shape[:-1]
    turned = weight.permute(1, 0, 2).reshape(first, out * second)
    rows = (input1.reshape(-1, first) @ turned).reshape(-1, out, second)
    result = (rows * input2.reshape(-1, 1, second)).sum(-1).reshape(*lead, out)
    return (result if bias is None else result + bias).to(dtype)
