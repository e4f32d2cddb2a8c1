"""Stage: recording. In: Tensors with tangents: dual numbers. Out: those of what ordinary ops compute from them:
derivatives in forward mode.
Next: ``profiler.py``.

https://docs.pytorch.org/docs/stable/autograd.html#forward-mode-automatic-differentiation
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from minigrad.autograd.protocol import Front
from minigrad.tensor import Tensor, duals


class UnpackedDualTensor(NamedTuple):
    """The value of a Tensor and its tangent, which may be None."""

    primal: Tensor
    tangent: Tensor | None


class _Open(threading.local):
    """The level of this thread: PyTorch has one at a time."""

    level: int | None = None


_open = _Open()


class dual_level:
    """A block in which Tensors may have tangents; at its end they have none any more. There is one level at a time:
    ``RuntimeError`` inside another one.

    >>> import minigrad
    >>> with dual_level():
    ...     x = make_dual(minigrad.tensor([1.0, 2.0]), minigrad.ones(2))
    ...     unpack_dual(x * x).tangent
    tensor([2., 4.])
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exception: object) -> None:
        exit_dual_level()

    def __call__(self, function: Any) -> Any:
        def inside(*args: Any, **kwargs: Any) -> Any:
            with dual_level():
                return function(*args, **kwargs)

        return inside


def enter_dual_level() -> int:
    """Begin a level, and return its number: 0."""
    if _open.level is not None:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _open.level = duals.open_level()
    return 0


def exit_dual_level(*, level: int | None = None) -> None:
    """End the level that ``enter_dual_level`` began."""
    if _open.level is None:
        raise RuntimeError("Dual level must be a positive number.")
    if level not in (None, 0):
        raise RuntimeError("Trying to exit a forward AD level that was not the last one that was created. This is not "
                           "supported.")
    duals.close_level(_open.level)
    _open.level = None


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A Tensor with the value of ``tensor`` that changes by ``tangent``.

    ``RuntimeError`` outside a level, for a tangent of another shape, and for a Tensor that has one already;
    ``ValueError`` where one of them is of a dtype without derivatives.
    """
    number = _open.level
    if number is None:
        raise RuntimeError("Trying to create a dual Tensor for forward AD but no level exists, make sure to "
                           "enter_dual_level() first.")
    if duals.tangent(tensor, number) is not None:
        raise RuntimeError("Making a dual Tensor based on a Tensor that already has a forward gradient at the same "
                           "level 0 is not supported.")
    duals.check(tensor, tangent)
    made: Tensor = Front.wrap(tensor._read(), tensor._source())
    duals.dual(made, duals.tangents(tensor))
    duals.attach(made, number, tangent)
    return made


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value of a Tensor without its tangent, and that.

    >>> import minigrad
    >>> unpack_dual(minigrad.ones(1))
    UnpackedDualTensor(primal=tensor([1.]), tangent=None)
    """
    number = _open.level
    found = None if number is None else duals.tangent(tensor, number)
    if number is None or found is None:
        return UnpackedDualTensor(tensor, None)
    return UnpackedDualTensor(duals.without(tensor, number), found)
