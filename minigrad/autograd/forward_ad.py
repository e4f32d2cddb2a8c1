"""Stage: recording. In: programs that use forward-mode differentiation by dual numbers. Out: an error that names what
to use in its place.
Next: ``profiler.py``."""

from __future__ import annotations

from typing import Any, NoReturn


def _refuse(name: str) -> NoReturn:
    raise NotImplementedError(f"torch.autograd.forward_ad.{name} is not there: minigrad has no dual numbers. "
                              "torch.func.jvp and torch.autograd.functional.jvp give the same products")


class dual_level:
    """``NotImplementedError``: use ``minigrad.func.jvp``."""

    def __init__(self) -> None:
        _refuse("dual_level")


def make_dual(tensor: Any, tangent: Any, *, level: int | None = None) -> NoReturn:
    """``NotImplementedError``: use ``minigrad.func.jvp``."""
    _refuse("make_dual")


def unpack_dual(tensor: Any, *, level: int | None = None) -> NoReturn:
    """``NotImplementedError``: use ``minigrad.func.jvp``."""
    _refuse("unpack_dual")


def enter_dual_level() -> NoReturn:
    """``NotImplementedError``: use ``minigrad.func.jvp``."""
    _refuse("enter_dual_level")


def exit_dual_level(*, level: int | None = None) -> NoReturn:
    """``NotImplementedError``: use ``minigrad.func.jvp``."""
    _refuse("exit_dual_level")
