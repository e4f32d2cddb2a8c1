"""Stage: front. In: features. Out: the same with some of them dropped at random.
Next: ``padding.py``."""

from __future__ import annotations

import warnings
from typing import Any

from minigrad.nn.composites import dropout as formulas
from minigrad.tensor import Tensor, dropout_source, type_name
from minigrad.tensor.operands import require_tensor


def _dropped(formula: Any, input: Tensor, p: float, training: bool, inplace: bool, by_channel: bool = False) -> Tensor:
    """What a formula makes of the input, or puts into it. Not in training, and at 0, it is the input; at 1 it is
    0 · x."""
    _check_probability(p)
    require_tensor(input, formula.__name__, "input", 1)
    if not training or p == 0 or not input.numel():
        return input
    if p == 1:
        return input.mul_(0) if inplace else input * 0
    size = tuple(input.shape)
    if by_channel:
        if len(size) < 2:
            raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
        size = (*size[:2], *[1] * (len(size) - 2))
    if not input.dtype.is_floating_point:
        raise RuntimeError(f"result type Float can't be cast to the desired output type {type_name(input.dtype)}")
    source = dropout_source(size, p, input.device)
    result: Tensor = formula(input, source, size=size, p=p)
    return input.copy_(result) if inplace else result


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element becomes 0 with probability ``p``, and x / (1 - p) otherwise; in evaluation nothing changes.

    Which ones follows from a key of 64 bits that each call draws from the generator, so nothing is stored for
    ``backward()``. With TORCH_RNG=1 they are PyTorch's own. ``ValueError`` for a ``p`` outside [0, 1].
    (Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov 2014)

    >>> import minigrad
    >>> _ = minigrad.manual_seed(1)
    >>> dropout(minigrad.ones(8))
    tensor([0., 0., 0., 0., 0., 0., 0., 2.])
    """
    return _dropped(formulas.dropout, input, p, training, inplace)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Elements become the limit of SELU at minus infinity with probability ``p``; then everything is scaled and shifted
    so that a mean of 0 and a variance of 1 stay. Otherwise as ``dropout``.

    >>> import minigrad
    >>> alpha_dropout(minigrad.ones(2), training=False)
    tensor([1., 1.])
    """
    return _dropped(formulas.alpha_dropout, input, p, training, inplace)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """``alpha_dropout`` of whole channels, dimension 1 of (N, C, ...).

    >>> import minigrad
    >>> feature_alpha_dropout(minigrad.ones(1, 2, 2), 0.3)
    tensor([[[1., 1.],
             [1., 1.]]])
    """
    return _dropped(formulas.alpha_dropout, input, p, training, inplace, by_channel=True)


def feature_dropout(input: Tensor, p: float, training: bool, inplace: bool = False) -> Tensor:
    """``dropout`` of whole channels, dimension 1 of (N, C, ...). ``torch`` has it, ``torch.nn.functional`` has not."""
    return _dropped(formulas.dropout, input, p, training, inplace, by_channel=True)


def _of_samples(input: Tensor, p: float, training: bool, inplace: bool, batched: bool) -> Tensor:
    """``dropout`` of whole channels, of samples or of one."""
    if batched:
        return feature_dropout(input, p, training, inplace)
    if not inplace:
        return feature_dropout(input.unsqueeze(0), p, training).squeeze(0)
    feature_dropout(input.unsqueeze(0), p, training, True)
    return input


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """``dropout`` of whole channels of (N, C, L) or (C, L). ``RuntimeError`` for other dimensions. (Tompson, Goroshin,
    Jain, LeCun, Bregler 2015)

    >>> import minigrad
    >>> dropout1d(minigrad.ones(2, 2), training=False)
    tensor([[1., 1.],
            [1., 1.]])
    """
    _check_probability(p)
    if input.ndim not in (2, 3):
        raise RuntimeError(f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input. "
                           "Note that dropout1d exists to provide channel-wise dropout on inputs with 1 "
                           "spatial dimension, a channel dimension, and an optional batch dimension "
                           "(i.e. 2D or 3D inputs).")
    return _of_samples(input, p, training, inplace, input.ndim == 3)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """``dropout`` of whole channels of (N, C, H, W). Three dimensions count as (N, C, L), with a warning, as in
    PyTorch; other numbers warn as well.

    >>> import minigrad
    >>> dropout2d(minigrad.ones(1, 1, 1, 2), training=False)
    tensor([[[[1., 1.]]]])
    """
    _check_probability(p)
    if input.ndim not in (3, 4):
        _warn_of_dimensions("dropout2d", input, 2, "3D or 4D")
    if input.ndim == 3:
        warnings.warn("dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior "
                      "is desired - input is interpreted as shape (N, C, L), where C is the channel dim. This behavior "
                      "will change in a future release to interpret the input as one without a batch dimension, i.e. "
                      "shape (C, H, W). To maintain the 1D channel-wise dropout behavior, please switch to using "
                      "dropout1d instead.", stacklevel=2)
    return _of_samples(input, p, training, inplace, True)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """``dropout`` of whole channels of (N, C, D, H, W) or (C, D, H, W); other numbers of dimensions warn.

    >>> import minigrad
    >>> dropout3d(minigrad.ones(1, 1, 1, 2), training=False)
    tensor([[[[1., 1.]]]])
    """
    _check_probability(p)
    if input.ndim not in (4, 5):
        _warn_of_dimensions("dropout3d", input, 3, "4D or 5D")
    return _of_samples(input, p, training, inplace, input.ndim == 5)


def _check_probability(p: float) -> None:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


def _warn_of_dimensions(name: str, input: Tensor, spatial: int, wanted: str) -> None:
    warnings.warn(f"{name}: Received a {input.ndim}-D input to {name}, which is deprecated and will result in an error "
                  "in a future release. To retain the behavior and silence this warning, please use dropout instead. "
                  f"Note that {name} exists to provide channel-wise dropout on inputs with {spatial} spatial "
                  f"dimensions, a channel dimension, and an optional batch dimension (i.e. {wanted} inputs).",
                  stacklevel=3)
