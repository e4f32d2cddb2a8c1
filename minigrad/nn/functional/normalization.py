"""Stage: front. In: features. Out: the same with mean 0 and variance 1 over some of their dimensions.
Next: ``distance.py``."""

from __future__ import annotations

from collections.abc import Sequence

from minigrad.nn.composites import normalization as formulas
from minigrad.tensor import Tensor


def layer_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None,
               bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last dimensions, ``normalized_shape``.

    The variance divides by n. (Ba, Kiros, Hinton 2016)

    >>> import minigrad
    >>> layer_norm(minigrad.tensor([[0.0, 2.0]]), (2,))
    tensor([[-1.0000,  1.0000]])
    """
    wanted = list(normalized_shape)
    if not wanted:
        raise RuntimeError("Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one "
                           "element, but got normalized_shape = []")
    for name, parameter in (("weight", weight), ("bias", bias)):
        if parameter is not None and list(parameter.shape) != wanted:
            raise RuntimeError(f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape "
                               f"{list(parameter.shape)} and normalized_shape = {wanted}")
    if list(input.shape[-len(wanted):]) != wanted:
        star = ", ".join(["*", *(str(n) for n in wanted)])
        raise RuntimeError(f"Given normalized_shape={wanted}, expected input with shape [{star}], "
                           f"but got input of size{list(input.shape)}")
    return formulas.layer_norm(input, weight, bias, axes=tuple(range(-len(wanted), 0)), eps=eps)
