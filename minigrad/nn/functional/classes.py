"""Stage: front. In: scores of classes, and the classes that are right. Out: losses.
Next: ``margin.py``."""

from __future__ import annotations

from typing import Any, NoReturn

from minigrad.dtype import int64, uint8
from minigrad.nn.composites import classes as formulas
from minigrad.nn.composites.activation import require_float
from minigrad.nn.functional.arguments import one_reduction, refuse_gradients
from minigrad.nn.functional.linear import linear
from minigrad.tensor import Tensor, check_index_range, type_name
from minigrad.tensor.autocast import operands_of
from minigrad.tensor.operands import one_device, require_tensor


def _check_target(input: Tensor, target: Tensor, weight: Tensor | None, ignore_index: int) -> tuple[Tensor, bool]:
    """Raises PyTorch's errors for class indices and weights that do not fit. The target with input's batch shape, and
    whether its values have been checked (those of a pending target are when it runs)."""
    shape, target_shape = list(input.shape), list(target.shape)
    ndim = len(shape)
    if ndim == 0:
        raise ValueError("Expected 1 or more dimensions (got 0)")
    if ndim > 1 and (not target_shape or shape[0] != target_shape[0]):
        raise ValueError(f"Expected input batch_size ({shape[0]}) to match target batch_size "
                         f"({target_shape[0] if target_shape else 0}).")
    if ndim > 2 and ndim != 4 and target_shape != [shape[0], *shape[2:]]:
        raise RuntimeError(f"Expected target size {[shape[0], *shape[2:]]}, got {target_shape}")
    refuse_gradients("nll_loss_forward" if ndim < 3 else "nll_loss2d_forward", weight=weight)
    if ndim <= 2 and len(target_shape) > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if ndim == 1 and target_shape not in ([], [1]):
        raise ValueError(f"For 1D input, 1D target must have size 1, but got target size: {target_shape[0]}")
    if ndim > 2 and target_shape != [shape[0], *shape[2:]]:
        _raise_spatial(shape, target_shape)
    if target.dtype not in (int64, uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {type_name(target.dtype)}")
    _check_class_weight(input, weight, 1 if ndim > 1 else 0)
    require_float(input, "nll_loss_out_frame" if ndim < 3 else "nll_loss2d_forward_out_frame")
    _check_weight_dtype(input, weight)
    checked = check_index_range(target, shape[1 if ndim > 1 else 0], ignore=ignore_index,
                                message="Target {value} is out of bounds.")
    if not checked:  # it may be a GPU's, or pending
        one_device((input._pending(), target._pending()))
    return target.reshape(()) if ndim == 1 and target_shape else target, checked


def _raise_spatial(shape: list[int], target_shape: list[int]) -> NoReturn:
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


def _check_weight_dtype(input: Tensor, weight: Tensor | None) -> None:
    if weight is not None and weight.dtype != input.dtype:
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
    require_tensor(input, "nll_loss_nd", "input", 1)
    require_tensor(target, "nll_loss_nd", "target", 2)
    axis = 1 if input.ndim > 1 else 0
    input, weight = operands_of("nll_loss", input, weight)
    target, checked = _check_target(input, target, weight, ignore_index)
    return formulas.nll_loss(input, target, weight, axis=axis, ignore_index=ignore_index, reduction=reduction,
                             checked=checked)


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
    require_tensor(input, "cross_entropy_loss", "input", 1)
    require_tensor(target, "cross_entropy_loss", "target", 2)
    axis = 1 if input.ndim > 1 else 0
    input, weight = operands_of("cross_entropy", input, weight)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    kernel = "log_softmax_lastdim_kernel_impl" if axis == input.ndim - 1 else "log_softmax_kernel_impl"
    if target.shape == input.shape:
        if not target.dtype.is_floating_point:
            raise RuntimeError("Expected floating point type for target with class probabilities, "
                               f"got {type_name(target.dtype)}")
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        _check_class_weight(input, weight, axis, "cross_entropy: ")
        require_float(input, kernel)
        return formulas.soft_cross_entropy(input, target, weight, axis=axis, reduction=reduction,
                                           label_smoothing=float(label_smoothing))
    require_float(input, kernel)
    target, checked = _check_target(input, target, weight, ignore_index)
    return formulas.cross_entropy(input, target, weight, axis=axis, ignore_index=ignore_index, reduction=reduction,
                                  label_smoothing=float(label_smoothing), checked=checked)


def linear_cross_entropy(input: Tensor, linear_weight: Tensor, target: Tensor, *, linear_bias: Tensor | None = None,
                         weight: Tensor | None = None, reduction: str = "mean", ignore_index: int | None = None,
                         label_smoothing: float = 0.0, options: Any = None) -> Tensor:
    """``cross_entropy(linear(input, linear_weight, linear_bias), target)`` of features (N, in) or (in) and a weight
    (C, in), or (C, d1, …, in) for scores (N, C, d1, …). ``RuntimeError`` for shapes that do not fit. ``options`` says
    how PyTorch cuts the computation up, and changes nothing here.

    >>> import minigrad
    >>> linear_cross_entropy(minigrad.ones(1, 3), minigrad.zeros(2, 3), minigrad.tensor([1]))
    tensor(0.6931)
    """
    if input.ndim not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.ndim}")
    if linear_weight.ndim < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {linear_weight.ndim}")
    *out, width = linear_weight.shape
    if input.shape[-1] != width:
        raise RuntimeError("expected equal input and linear_weight last dimensions (in_features), "
                           f"got {input.shape[-1]} and {width}, respectively")
    if linear_bias is not None and list(linear_bias.shape) != out:
        raise RuntimeError(f"expected linear_bias shape {tuple(out)}, got {tuple(linear_bias.shape)}")
    if len(out) > 1 and input.ndim == 1:
        raise RuntimeError(f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires "
                           f"batched input, (N, {width}), got unbatched input with shape {tuple(input.shape)}")
    if len(out) > 1:
        linear_weight = linear_weight.reshape(-1, width)
        linear_bias = None if linear_bias is None else linear_bias.reshape(-1)
    scores = linear(input, linear_weight, linear_bias).reshape(*input.shape[:-1], *out)
    if target.shape == scores.shape and ignore_index is not None:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    return cross_entropy(scores, target, weight, ignore_index=-100 if ignore_index is None else ignore_index,
                         reduction=reduction, label_smoothing=label_smoothing)
