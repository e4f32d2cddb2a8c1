"""Stage: front. In: predictions and targets. Out: losses.
Next: ``padding.py``."""

from __future__ import annotations

import warnings
from typing import NoReturn

from minigrad.dtype import int64, uint8
from minigrad.nn.composites import loss as formulas
from minigrad.nn.functional.arguments import one_reduction
from minigrad.tensor import Tensor, check_index_range, type_name


def _check_distance(input: Tensor, target: Tensor, weight: Tensor | None) -> None:
    if target.shape != input.shape:
        warnings.warn(f"Using a target size ({target.shape}) that is different to the input size ({input.shape}). "
                      "This will likely lead to incorrect results due to broadcasting. "
                      "Please ensure they have the same size.", stacklevel=3)
    if weight is not None and weight.shape != input.shape:
        raise ValueError("Weights and input must have the same size.")


def mse_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
             reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """(input - target)^2 averaged, summed or (``"none"``) as it is. Different shapes warn and broadcast.

    >>> import minigrad
    >>> mse_loss(minigrad.tensor([1.0, 2.0]), minigrad.tensor([1.0, 4.0]))
    tensor(2.)
    """
    _check_distance(input, target, weight)
    return formulas.mse_loss(input, target, weight, reduction=one_reduction(size_average, reduce, reduction))


def l1_loss(input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None,
            reduction: str = "mean", weight: Tensor | None = None) -> Tensor:
    """|input - target| averaged, summed or (``"none"``) as it is. Different shapes warn and broadcast.

    >>> import minigrad
    >>> l1_loss(minigrad.tensor([1.0, 2.0]), minigrad.tensor([1.0, 4.0]))
    tensor(1.)
    """
    _check_distance(input, target, weight)
    return formulas.l1_loss(input, target, weight, reduction=one_reduction(size_average, reduce, reduction))


def binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None,
                         size_average: bool | None = None, reduce: bool | None = None,
                         reduction: str = "mean") -> Tensor:
    """-(t log p + (1 - t) log(1 - p)) of probabilities p, logarithms clamped at -100.

    At p exactly 0 or 1 the slope is 0. ``ValueError`` when the shapes differ.

    >>> import minigrad
    >>> binary_cross_entropy(minigrad.tensor([0.5]), minigrad.tensor([1.0]))
    tensor(0.6931)
    """
    reduction = one_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(f"Using a target size ({target.shape}) that is different to the input size "
                         f"({input.shape}) is deprecated. Please ensure they have the same size.")
    if target.dtype != input.dtype:
        raise RuntimeError(f"Found dtype {type_name(target.dtype)} but expected {type_name(input.dtype)}")
    return formulas.binary_cross_entropy(input, target, weight, reduction=reduction)


def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor | None = None,
                                     size_average: bool | None = None, reduce: bool | None = None,
                                     reduction: str = "mean", pos_weight: Tensor | None = None) -> Tensor:
    """Binary cross entropy of sigmoid(input); ``pos_weight`` multiplies the part where the target is 1.

    >>> import minigrad
    >>> binary_cross_entropy_with_logits(minigrad.tensor([0.0]), minigrad.tensor([1.0]))
    tensor(0.6931)
    """
    reduction = one_reduction(size_average, reduce, reduction)
    if target.shape != input.shape:
        raise ValueError(f"Target size ({target.shape}) must be the same as input size ({input.shape})")
    return formulas.binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction=reduction)


def _check_target(input: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, bool]:
    """Raises PyTorch's errors for class indices that do not fit. The target with input's batch shape, and whether its
    values have been checked (those of a pending target are when it runs)."""
    shape, target_shape = list(input.shape), list(target.shape)
    ndim = len(shape)
    if ndim == 0:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    if ndim > 1 and (not target_shape or shape[0] != target_shape[0]):
        raise ValueError(f"Expected input batch_size ({shape[0]}) to match target batch_size "
                         f"({target_shape[0] if target_shape else 0}).")
    if ndim <= 2 and len(target_shape) > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if ndim == 1 and target_shape not in ([], [1]):
        raise ValueError(f"For 1D input, 1D target must have size 1, but got target size: {target_shape[0]}")
    if ndim > 2 and target_shape != [shape[0], *shape[2:]]:
        _raise_spatial(shape, target_shape)
    if target.dtype not in (int64, uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {type_name(target.dtype)}")
    checked = check_index_range(target, shape[1 if ndim > 1 else 0], ignore=ignore_index,
                                message="Target {value} is out of bounds.")
    return target.reshape(()) if ndim == 1 and target_shape else target, checked


def _raise_spatial(shape: list[int], target_shape: list[int]) -> NoReturn:
    if len(shape) != 4:
        raise RuntimeError(f"Expected target size {[shape[0], *shape[2:]]}, got {target_shape}")
    if len(target_shape) != 3:
        raise RuntimeError("only batches of spatial targets supported (3D tensors) but got targets of dimension: "
                           f"{len(target_shape)}")
    raise RuntimeError(f"size mismatch (got input: {shape} , target: {target_shape}")


def _check_class_weight(input: Tensor, weight: Tensor | None, axis: int, prefix: str = "") -> None:
    if weight is None:
        return
    classes = input.shape[axis]
    if list(weight.shape) != [classes]:
        raise RuntimeError(f"{prefix}weight tensor should be defined either for all {classes} classes or no classes "
                           f"but got weight tensor of shape: {list(weight.shape)}")
    if weight.dtype != input.dtype:
        raise RuntimeError(f"expected scalar type {type_name(input.dtype)} but found {type_name(weight.dtype)}")


def nll_loss(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
             ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean") -> Tensor:
    """-weight[t] * input[t] of log-probabilities (N, C, ...) and classes (N, ...), or (C) and ().

    ``"mean"`` divides by the sum of the targets' weights; targets equal to ``ignore_index`` do not count.
    Errors as ``cross_entropy``.

    >>> import minigrad
    >>> nll_loss(minigrad.tensor([[-1.0, -2.0]]), minigrad.tensor([1]))
    tensor(2.)
    """
    reduction = one_reduction(size_average, reduce, reduction)
    axis = 1 if input.ndim > 1 else 0
    target, checked = _check_target(input, target, ignore_index)
    _check_class_weight(input, weight, axis)
    return formulas.nll_loss(input, target, weight, axis=axis, ignore_index=ignore_index, reduction=reduction,
                               label_smoothing=0.0, checked=checked)


def cross_entropy(input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None,
                  ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
                  label_smoothing: float = 0.0) -> Tensor:
    """-log softmax(input)[t] of scores (N, C, ...) and classes (N, ...), or (C) and (). A target of input's own
    shape holds class probabilities instead: -sum of t * log softmax(input).

    ``label_smoothing`` e mixes 1 - e of the target with e / C for every class. ``RuntimeError`` when class indices are
    not int64 or uint8, ``ValueError`` when the batch sizes differ, ``IndexError`` for a class that is not there.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cross_entropy.html)

    >>> import minigrad
    >>> cross_entropy(minigrad.zeros(1, 2), minigrad.tensor([1]))
    tensor(0.6931)
    """
    reduction = one_reduction(size_average, reduce, reduction)
    axis = 1 if input.ndim > 1 else 0
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if target.shape == input.shape:
        if not target.dtype.is_floating_point:
            raise RuntimeError("Expected floating point type for target with class probabilities, "
                               f"got {type_name(target.dtype)}")
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        _check_class_weight(input, weight, axis, "cross_entropy: ")
        return formulas.soft_nll_loss(input.log_softmax(axis), target, weight, axis=axis, reduction=reduction,
                                        label_smoothing=float(label_smoothing))
    target, checked = _check_target(input, target, ignore_index)
    _check_class_weight(input, weight, axis)
    return formulas.nll_loss(input.log_softmax(axis), target, weight, axis=axis, ignore_index=ignore_index,
                               reduction=reduction, label_smoothing=float(label_smoothing), checked=checked)
