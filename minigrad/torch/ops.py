"""``torch.ops``: PyTorch's operators by the names of their dispatcher, as ``torch.ops.aten.add.Tensor``.

Stage: PyTorch programs. In: a name. Out: the function of ``torch``, ``torch.Tensor``, ``native.py`` or
``torch.nn.functional`` that has it; an overload's name leads to the same function.
Next: ``version.py``."""

from __future__ import annotations

from typing import Any

from minigrad.nn import functional
from minigrad.tensor import Tensor
from minigrad.torch import names, native

__all__ = ["aten"]


class OpOverloadPacket:
    """An operator; ``default``, ``Tensor`` and other names of overloads are the operator itself.

    >>> aten.neg(Tensor([1.0]))
    tensor([-1.])
    """

    def __init__(self, name: str, function: Any) -> None:
        self.__name__ = name
        self._function = function

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._function(*args, **options)

    def __getattr__(self, name: str) -> OpOverloadPacket:
        if name.startswith("_"):
            raise AttributeError(name)
        return self

    def __repr__(self) -> str:
        return f"<OpOverloadPacket(op='aten.{self.__name__}')>"


class _Aten:
    """The operators that PyTorch itself has."""

    def __getattr__(self, name: str) -> OpOverloadPacket:
        if name in native.__all__:
            return OpOverloadPacket(name, getattr(native, name))
        function = names.find(name)
        for place in (Tensor, functional):
            if function is names.MISSING:
                function = getattr(place, name, names.MISSING)
        if function is names.MISSING:
            raise AttributeError(f"'_OpNamespace' 'aten' object has no attribute '{name}'")
        return OpOverloadPacket(name, function)


aten = _Aten()
