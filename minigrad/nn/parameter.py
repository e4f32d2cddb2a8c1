"""Stage: front. In: a Tensor. Out: a Parameter, the same numbers marked as something to learn.
A Module registers every Parameter that is assigned to it.
Next: ``minigrad/nn/modules/``."""

from __future__ import annotations

from typing import Any

from minigrad.tensor import Tensor, empty


class Parameter(Tensor):
    """A Tensor that a Module lists among its parameters; it requires a gradient unless told otherwise.

    It shares ``data``'s memory. ``RuntimeError`` when an integer tensor is to require a gradient.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html)

    >>> from minigrad import ones
    >>> Parameter(ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        result: Any = (empty(0) if data is None else data).detach()
        if requires_grad and not result.dtype.is_floating_point:
            raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
        result.__class__ = cls
        result.requires_grad_(requires_grad)
        return result

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        """``__new__`` has done it all: the object is an alias of ``data`` that became a Parameter."""

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # of a mixin's own self type
        return "Parameter containing:\n" + super().__repr__()

    def __str__(self) -> str:
        return repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return memo[id(self)]
