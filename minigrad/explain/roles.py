"""Stage: explaining. In: Parameters and optimizers, as they are there. Out: what a piece of memory is to the program: a
parameter, a gradient, an optimizer's state, or another value.
Next: ``recording.py``."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

from minigrad.nn import Parameter
from minigrad.optim import Optimizer
from minigrad.runtime.buffer import Buffer
from minigrad.tensor import Tensor

PARAMETER, GRADIENT, STATE, VALUE = "parameter", "gradient", "optimizer state", "value"


class Roles:
    """Knows the Parameters and optimizers of a program: those that are there, and those that are made later, where
    ``making`` and ``preparing`` take the place of what makes them.

    >>> import minigrad
    >>> weight = minigrad.nn.Parameter((minigrad.ones(3) + 1).realize())
    >>> Roles().of([weight._whole().buffer, (minigrad.ones(3) + 2).realize()._whole().buffer])
    ['parameter', 'value']
    """

    def __init__(self) -> None:
        self._parameters: list[ref[Tensor]] = []
        self._optimizers: list[ref[Optimizer]] = []
        for thing in gc.get_objects():
            kind = type(thing)
            if issubclass(kind, Parameter):
                self._parameters.append(ref(thing))
            elif issubclass(kind, Optimizer):
                self._optimizers.append(ref(thing))

    def making(self, plain: Callable[..., Parameter]) -> Any:
        """In place of ``Parameter.__new__``."""
        def new(cls: type, *args: Any, **named: Any) -> Parameter:
            made = plain(cls, *args, **named)
            self._parameters.append(ref(made))
            return made

        return new

    def preparing(self, plain: Callable[..., None]) -> Any:
        """In place of ``Optimizer.__init__``."""
        def init(optimizer: Optimizer, *args: Any, **named: Any) -> None:
            plain(optimizer, *args, **named)
            self._optimizers.append(ref(optimizer))

        return init

    def of(self, buffers: Sequence[Buffer]) -> list[str]:
        """What each buffer is."""
        known: dict[int, str] = {}
        for optimizer in [o for one in self._optimizers if (o := one()) is not None]:
            for states in list(optimizer.state.values()):
                for state in states.values() if isinstance(states, dict) else ():
                    _note(known, state, STATE)
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    _note(known, parameter, PARAMETER)
        for parameter in [p for one in self._parameters if (p := one()) is not None]:
            _note(known, parameter, PARAMETER)
        return [known.get(id(buffer), VALUE) for buffer in buffers]


def _note(known: dict[int, str], tensor: Any, role: str) -> None:
    """The memory of a Tensor, where it has some, is this, and that of its gradient a gradient."""
    value = _value_of(tensor)
    if value is not None and value.buffer is not None:
        known[id(value.buffer)] = role
    if role is PARAMETER and isinstance(tensor, Tensor) and tensor._grad is not None:
        _note(known, tensor._grad, GRADIENT)


def _value_of(tensor: Any) -> Any:
    """The value of a Tensor that is no call to be recorded yet."""
    if not isinstance(tensor, Tensor) or tensor._spec is not None:
        return None
    storage = tensor._storage
    return storage.lazy if storage.is_known() else None
