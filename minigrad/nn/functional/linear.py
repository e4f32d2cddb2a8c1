"""Stage: front. In: features and a weight. Out: a dense layer of them.
Next: ``convolution.py``."""

from __future__ import annotations

from minigrad.nn.composites import linear as formulas
from minigrad.tensor import Tensor
from minigrad.tensor.operands import dim_index


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weight.T + bias: (..., in) and (out, in) to (..., out). ``RuntimeError`` when the widths differ.

    >>> import minigrad
    >>> linear(minigrad.tensor([[1.0, 2.0]]), minigrad.tensor([[3.0, 4.0]]))
    tensor([[11.]])
    """
    return formulas.linear(input, weight, bias)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """out[o] = sum over i and j of input1[i] weight[o, i, j] input2[j], plus bias[o]: (..., in1), (..., in2) and
    (out, in1, in2) to (..., out). ``RuntimeError`` when sizes differ.

    >>> import minigrad
    >>> bilinear(minigrad.tensor([1.0, 2.0]), minigrad.tensor([3.0]), minigrad.ones(1, 2, 1))
    tensor([9.])
    """
    if input1.ndim != input2.ndim:
        raise RuntimeError(f"bilinear(): input dimensions do not match: got {input1.ndim} and {input2.ndim}")
    for dim, (m, n) in enumerate(zip(input1.shape[:-1], input2.shape[:-1], strict=True)):
        if m != n:
            raise RuntimeError(f"bilinear(): input batch dimensions do not match at dim {dim}: got {m} and {n}")
    for number, x in ((1, input1), (2, input2)):
        dim_index(number, weight.ndim)
        if x.shape[-1] != weight.shape[number]:
            raise RuntimeError(f"bilinear(): input{number} size does not match weight size: got {x.shape[-1]} but "
                               f"expected {weight.shape[number]}")
    if bias is not None and bias.shape[0] != weight.shape[0]:
        raise RuntimeError(f"bilinear(): bias size does not match weight size: got {bias.shape[0]} but expected "
                           f"{weight.shape[0]}")
    return formulas.bilinear(input1, input2, weight, bias)
