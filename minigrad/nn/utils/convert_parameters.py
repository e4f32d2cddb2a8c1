"""Stage: front. In: Parameters. Out: one vector of all their elements, and back.
Next: ``weight_norm.py``."""

from __future__ import annotations

from collections.abc import Iterable

from minigrad.tensor import Tensor, cat, typename


def _check_devices(parameters: list[Tensor]) -> None:
    if len({p.device.name for p in parameters}) > 1:
        raise TypeError("Found two parameters on different devices, this is currently not supported.")


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements in a row, one parameter after another.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.parameters_to_vector.html)

    >>> from minigrad import ones, zeros
    >>> parameters_to_vector([ones(2), zeros(1, 2)])
    tensor([1., 1., 0., 0.])
    """
    given = list(parameters)
    _check_devices(given)
    return cat([p.view(-1) for p in given])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Gives each parameter its part of the vector, whose memory it shares from then on.

    ``TypeError`` for a vector that is no Tensor.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.vector_to_parameters.html)

    >>> from minigrad import nn, ones, tensor
    >>> p = nn.Parameter(ones(2))
    >>> vector_to_parameters(tensor([3.0, 4.0]), [p])
    >>> p.detach()
    tensor([3., 4.])
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {typename(vec)}")
    given = list(parameters)
    _check_devices(given)
    start = 0
    for p in given:
        p.data = vec[start:start + p.numel()].view(p.shape).data
        start += p.numel()
