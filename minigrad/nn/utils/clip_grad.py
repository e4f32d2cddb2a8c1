"""Stage: front. In: Parameters with gradients. Out: the gradients, made smaller in place, in one run for all of them.
Next: ``convert_parameters.py``."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from minigrad.autograd import no_grad
from minigrad.dtype import float32, float64
from minigrad.nn.composites import clip
from minigrad.tensor import Tensor, scalar, tensor, update

Tensors = Tensor | Iterable[Tensor]


def _listed(tensors: Tensors) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in parameters if p.grad is not None]


def _by_device(tensors: list[Tensor]) -> list[list[Tensor]]:
    groups: dict[str, list[Tensor]] = {}
    for t in tensors:
        groups.setdefault(t.device.name, []).append(t)
    return list(groups.values())


def _number(value: float, like: list[Tensor]) -> Tensor:
    """A run-time argument for a computation with these tensors."""
    wide = any(t.dtype is float64 for t in like)
    return scalar(value, float64 if wide else float32, like[0].device)


def _write(gradients: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Makes the values those of the gradients, now: what follows, ``optimizer.step()``, finds them in memory."""
    update([g.detach() if g.requires_grad else g for g in gradients], values)


def _check_finite(norm: Tensor, norm_type: float) -> None:
    if bool(norm.isnan() | norm.isinf()):
        raise RuntimeError(f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it "
                           "cannot be clipped. To disable this error and scale the gradients by the non-finite norm "
                           "anyway, set `error_if_nonfinite=False`")


def get_total_norm(tensors: Tensors, norm_type: float = 2.0, error_if_nonfinite: bool = False,
                   foreach: bool | None = None) -> Tensor:
    """(sum of |x|^p over all elements of all tensors)^(1/p), a 0-d tensor.

    ``foreach`` is accepted: all tensors are one computation anyway. ``RuntimeError`` with ``error_if_nonfinite`` for a
    norm that is infinite or NaN.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.get_total_norm.html)

    >>> from minigrad import ones
    >>> get_total_norm([ones(4), ones(3, 4)])
    tensor(4.)
    """
    given, norm_type = _listed(tensors), float(norm_type)
    if not given:
        return tensor(0.0)
    with no_grad():
        device = given[0].device
        norms = [clip.total_norm(group, norm_type=norm_type) for group in _by_device(given)]
        norm = norms[0] if len(norms) == 1 else clip.total_norm([n.to(device=device) for n in norms],
                                                                norm_type=norm_type)
        if error_if_nonfinite:
            _check_finite(norm, norm_type)
    return norm


def clip_grads_with_norm_(parameters: Tensors, max_norm: float, total_norm: Tensor,
                          foreach: bool | None = None) -> None:
    """Multiplies all gradients in place by min(1, max_norm / (total_norm + 1e-6)).

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grads_with_norm_.html)

    >>> from minigrad import nn, ones, tensor
    >>> p = nn.Parameter(ones(2))
    >>> p.grad = ones(2) * 4
    >>> clip_grads_with_norm_(p, 1.0, tensor(4.0))
    >>> p.grad
    tensor([1.0000, 1.0000])
    """
    max_norm = float(max_norm)
    with no_grad():
        for group in _by_device(_gradients(_listed(parameters))):
            device = group[0].device
            norm = total_norm if isinstance(total_norm, Tensor) else tensor(float(total_norm))
            _write(group, clip.clipped_by_norm(group, norm.to(device=device), _number(max_norm, group)))


def clip_grad_norm_(parameters: Tensors, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
                    foreach: bool | None = None) -> Tensor:
    """Scales all gradients in place so that their total norm is at most ``max_norm``; returns what it was before.

    The norm is over all gradients together, as if they were one vector. It is one run for all parameters, between
    ``backward()`` and ``step()``. ``RuntimeError`` with ``error_if_nonfinite`` for a norm that is infinite or NaN.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html)

    >>> from minigrad import nn, ones
    >>> p = nn.Parameter(ones(4))
    >>> p.grad = ones(4) * 3
    >>> clip_grad_norm_([p], max_norm=2.0), p.grad
    (tensor(6.), tensor([1.0000, 1.0000, 1.0000, 1.0000]))
    """
    given, norm_type = _listed(parameters), float(norm_type)
    if not given and isinstance(parameters, types.GeneratorType):
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=2)
    gradients = _gradients(given)
    if error_if_nonfinite or len(_by_device(gradients)) != 1:
        norm = get_total_norm(gradients, norm_type, error_if_nonfinite)
        clip_grads_with_norm_(given, max_norm, norm)
        return norm
    with no_grad():
        norm, *clipped = clip.norm_and_clipped(gradients, _number(float(max_norm), gradients),
                                               norm_type=norm_type)
        _write(gradients, clipped)
    return norm


def clip_grad_norm(parameters: Tensors, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
                   foreach: bool | None = None) -> Tensor:
    """The deprecated name of ``clip_grad_norm_``."""
    warnings.warn("`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
                  FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Limits the elements of all gradients to [-clip_value, clip_value], in place.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html)

    >>> from minigrad import nn, ones, tensor
    >>> p = nn.Parameter(ones(3))
    >>> p.grad = tensor([-2.0, 0.5, 7.0])
    >>> clip_grad_value_(p, 1.0)
    >>> p.grad
    tensor([-1.0000,  0.5000,  1.0000])
    """
    clip_value = float(clip_value)
    with no_grad():
        for group in _by_device(_gradients(_listed(parameters))):
            _write(group, clip.clipped_by_value(group, _number(clip_value, group)))


_get_total_norm: Any = get_total_norm
_clip_grads_with_norm_: Any = clip_grads_with_norm_
