"""Stage: front. In: features and weights. Out: a dense layer of them; products of groups of rows.
Next: ``convolution.py``."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from minigrad.dtype import DType, bfloat16, float16, float32, int32
from minigrad.nn.composites import linear as formulas
from minigrad.tensor import Tensor, cat, stack
from minigrad.tensor.elements import concrete
from minigrad.tensor.operands import dim_index, require_real
from minigrad.tensor.outputs import into
from minigrad.tensor.promotion import c_name, type_name


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None, *, out: Any = None) -> Tensor:
    """input @ weight.T + bias: (..., in) and (out, in) to (..., out). ``RuntimeError`` when the widths differ.

    >>> import minigrad
    >>> linear(minigrad.tensor([[1.0, 2.0]]), minigrad.tensor([[3.0, 4.0]]))
    tensor([[11.]])
    """
    return into(out, formulas.linear(input, weight, bias), "linear")


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
    return require_real(formulas.bilinear(input1, input2, weight, bias), "_trilinear")


def grouped_mm(mat_a: Tensor, mat_b: Tensor, *, offs: Tensor | None = None, bias: Tensor | None = None,
               out_dtype: DType | None = None) -> Tensor:
    """A product for each group, as the experts of a mixture need them. ``offs``: int32, where each group ends; it is
    read at the call, and decides which kernels run.

    (T, K) and (G, K, N): each group's rows times its matrix, (T, N). (G, M, K) and (K, T): its matrix times its
    columns, (M, T). (M, T) and (T, N): a product of each group, (G, M, N). (G, M, K) and (G, K, N), without ``offs``:
    (G, M, N). What lies beyond the last group is 0. ``RuntimeError`` for shapes and dtypes that do not fit, and for a
    ``bias``, as in PyTorch.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.grouped_mm.html)

    >>> import minigrad
    >>> ends = minigrad.tensor([1, 3], dtype=minigrad.int32)
    >>> grouped_mm(minigrad.ones(3, 1), minigrad.tensor([[[5.0]], [[7.0]]]), offs=ends)
    tensor([[5.],
            [7.],
            [7.]])
    """
    _check_groups(mat_a, mat_b, offs, bias, out_dtype)
    if offs is None:
        return mat_a @ mat_b
    groups = list(pairwise([0, *concrete(offs, "grouped_mm").tolist()]))
    if mat_a.ndim == mat_b.ndim == 2:
        return stack([mat_a[:, low:high] @ mat_b[low:high] for low, high in groups])
    jagged, axis = (mat_a, 0) if mat_a.ndim == 2 else (mat_b, 1)
    products = [mat_a[low:high] @ mat_b[group] if axis == 0 else mat_a[group] @ mat_b[:, low:high]
                for group, (low, high) in enumerate(groups)]
    made = cat(products, axis)
    shape = list(made.shape)
    shape[axis] = jagged.shape[axis] - shape[axis]
    return cat([made, made.new_zeros(shape)], axis) if shape[axis] else made


def _check_groups(a: Tensor, b: Tensor, offs: Tensor | None, bias: Tensor | None, out_dtype: DType | None) -> None:
    """``RuntimeError`` in PyTorch's words."""
    for name, matrix in (("mat_a", a), ("mat_b", b)):
        if matrix.dtype not in (float32, bfloat16, float16):
            raise RuntimeError(f"Expected {name} to be Float32, BFloat16 or Float16 matrix, got "
                               f"{type_name(matrix.dtype)}")
    for name, matrix in (("mat_a", a), ("mat_b", b)):
        if matrix.ndim not in (2, 3):
            raise RuntimeError(f"{name} has to be 2 or 3d")
    if (offs is not None) != (a.ndim == 2 or b.ndim == 2):
        raise RuntimeError("Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d")
    if a.shape[-1] != b.shape[-2]:
        raise RuntimeError("contraction dimension of mat_a and mat_b must match")
    if offs is None:
        if a.shape[0] != b.shape[0]:
            raise RuntimeError("batched dimension has to match")
    else:
        if offs.ndim != 1:
            raise RuntimeError("offs has to be 1D")
        if offs.dtype is not int32:
            raise RuntimeError("Offsets have to be int32")
        if any(matrix.ndim == 3 and matrix.shape[0] != offs.shape[0] for matrix in (a, b)):
            raise RuntimeError("matrix batch sizes have to match")
    if bias is not None:
        raise RuntimeError("Bias not supported yet")
    if out_dtype is not None and out_dtype is not a.dtype:
        raise RuntimeError("Grouped gemm output dtype must match `mat_a` dtype")
    if a.dtype is not b.dtype:
        raise RuntimeError(f"expected m1 and m2 to have the same dtype, but got: {c_name(a.dtype)} != "
                           f"{c_name(b.dtype)}")
