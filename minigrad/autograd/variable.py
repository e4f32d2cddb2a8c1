"""Stage: recording. In: programs of PyTorch's first years. Out: ``Variable``, which has been Tensor since.
Next: ``graph.py``."""

from __future__ import annotations

from typing import Any

from minigrad.tensor import Tensor


class _AnyTensor(type):
    def __instancecheck__(cls, other: object) -> bool:
        return isinstance(other, Tensor)


class Variable(metaclass=_AnyTensor):
    """``Variable(t)`` is a Tensor on t's memory, ``Variable(t, requires_grad=True)`` a leaf of the tape.

    >>> import minigrad
    >>> v = Variable(minigrad.ones(2), requires_grad=True)
    >>> v, isinstance(v, Variable)
    (tensor([1., 1.], requires_grad=True), True)
    """

    def __new__(cls, data: Any = None, requires_grad: bool = False, volatile: bool = False) -> Any:
        return (Tensor([]) if data is None else data.detach()).requires_grad_(requires_grad)
