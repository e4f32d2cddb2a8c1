"""Stage: recording. In: ``with no_grad():`` and its relatives. Out: whether this thread records a tape now.
The flags live in ``mode``, which every op reads.
Next: ``protocol.py``."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any, Self, TypeVar, overload

from minigrad.dtype import DType

F = TypeVar("F", bound=Callable[..., Any])
_new = object.__new__
_GENERATOR = 0x20  # the flag of a generator function's code; the module ``inspect`` would cost import time


class Mode(threading.local):
    """Per thread: ``enabled``, whether ops are recorded on the tape, None inside ``inference_mode``, as ``inference``
    says, too; ``wanted``, what ``is_grad_enabled`` says there; ``transforms``, how many functions of ``minigrad.func``
    are running, whose own tapes may also save what was made in inference mode;
    ``anomaly``, whether the tape keeps where each op was called, and ``check_nan``, whether backward then looks for
    NaN; ``mutation``, inside ``allow_mutation_on_saved_tensors``;
    ``autocast``, the half types that ops are cast to on processors and on NVIDIA GPUs (None: they are not), or None;
    ``duals``, the levels of forward mode that are open, outermost first; ``packing``, the hooks for what the tape
    saves, innermost last; ``unpacked``, why there may be none; ``watched``, how many blocks want to see each call, so
    that none is replayed."""

    enabled: bool | None = True
    inference = False
    wanted = False
    transforms = 0
    anomaly = False
    check_nan = True
    mutation = False
    autocast: tuple[DType | None, DType | None] | None = None
    duals: tuple[int, ...] = ()
    packing: tuple[tuple[Callable[..., Any], Callable[..., Any]], ...] = ()
    unpacked: str | None = None
    watched = 0


mode = Mode()


def is_grad_enabled() -> bool:
    """Whether ops are recorded for ``backward`` now.

    >>> is_grad_enabled()
    True
    """
    return mode.wanted if mode.inference else bool(mode.enabled)


def is_inference_mode_enabled() -> bool:
    """Whether the program is inside ``inference_mode``."""
    return mode.inference


_State = tuple[bool | None, bool, bool]


def _state() -> _State:
    return mode.enabled, mode.inference, mode.wanted


def _switch(on: bool) -> None:
    """Record from now on, or not; inside ``inference_mode`` nothing is recorded whatever is wanted."""
    mode.enabled, mode.wanted = None if mode.inference else on, on


class GradSwitch:
    """Sets the grad mode for a ``with`` block or, as a decorator, for every call of a function or each step of a
    generator. Blocks nest; at the end of each the mode is as it was before."""

    _enabled = False

    _before: list[_State]

    @overload
    def __new__(cls, function: F, /) -> F: ...  # type: ignore[misc]

    @overload
    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if args and len(args) == 1 and callable(args[0]):  # ``@no_grad`` without parentheses
            return cls()(args[0])
        switch = _new(cls)
        switch._before = []
        return switch

    def _again(self) -> GradSwitch:
        return type(self)()

    def __enter__(self) -> None:
        self._before.append(_state())
        _switch(self._enabled)

    def __exit__(self, *exception: object) -> None:
        mode.enabled, mode.inference, mode.wanted = self._before.pop()

    def __call__(self, function: F) -> F:
        if isinstance(function, type):
            warnings.warn("Decorating classes is deprecated and will be disabled in future versions. You should only "
                          "decorate functions or methods. To preserve the current behavior of class decoration, you "
                          "can directly decorate the `__init__` method and nothing else.", FutureWarning, stacklevel=2)
        if getattr(getattr(function, "__code__", None), "co_flags", 0) & _GENERATOR:
            @functools.wraps(function)
            def stepping(*args: Any, **kwargs: Any) -> Any:
                generator = function(*args, **kwargs)
                step, given = generator.send, None
                while True:
                    try:
                        with self._again():
                            item = step(given)
                    except StopIteration as end:
                        return end.value
                    try:
                        step, given = generator.send, (yield item)
                    except GeneratorExit:
                        with self._again():
                            generator.close()
                        raise
                    except BaseException as error:
                        step, given = generator.throw, error

            return stepping  # type: ignore[return-value]

        @functools.wraps(function)
        def switched(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return switched  # type: ignore[return-value]


class no_grad(GradSwitch):
    """Nothing inside is recorded; results do not require a gradient.

    >>> with no_grad():
    ...     is_grad_enabled()
    False
    >>> @no_grad()
    ... def f():
    ...     return is_grad_enabled()
    >>> f(), is_grad_enabled()
    (False, True)
    """


class enable_grad(GradSwitch):
    """Inside, ops are recorded, also within ``no_grad``, but not within ``inference_mode``.

    >>> with no_grad(), enable_grad():
    ...     is_grad_enabled()
    True
    """

    _enabled = True


class inference_mode(GradSwitch):
    """As ``no_grad``; and Tensors made inside may not be changed in place outside, nor saved for a gradient there
    (``RuntimeError``). Inside ``inference_mode(False)`` ops are recorded, also within another ``inference_mode()``.
    Source: https://docs.pytorch.org/docs/stable/generated/torch.autograd.grad_mode.inference_mode.html

    >>> with inference_mode(), inference_mode(False):
    ...     is_grad_enabled(), is_inference_mode_enabled()
    (True, False)
    """

    def __init__(self, mode: bool = True) -> None:
        self._on = mode

    def _again(self) -> GradSwitch:
        return inference_mode(self._on)

    def __enter__(self) -> None:
        self._before.append(_state())
        mode.enabled, mode.inference, mode.wanted = None if self._on else True, self._on, False


class recording(GradSwitch):
    """For a function that ``minigrad.func`` differentiates: inside, ops are recorded whatever the mode outside is, and
    what was made in inference mode is as other Tensors.

    >>> with inference_mode(), recording():
    ...     is_grad_enabled(), is_inference_mode_enabled()
    (True, False)
    """

    def __enter__(self) -> None:
        self._before.append(_state())
        mode.enabled, mode.inference = True, False
        mode.transforms += 1

    def __exit__(self, *exception: object) -> None:
        super().__exit__()
        mode.transforms -= 1


class set_grad_enabled(GradSwitch):
    """Switches recording on or off at once, and back at the end of the block if used as a context.

    >>> with set_grad_enabled(False):
    ...     is_grad_enabled()
    False
    """

    def __init__(self, mode_: bool) -> None:
        self._enabled = bool(mode_)
        self._at_start = _state()
        _switch(self._enabled)

    def _again(self) -> GradSwitch:
        return set_grad_enabled(self._enabled)

    def __enter__(self) -> None:
        self._before.append(self._at_start)
        _switch(self._enabled)

    def __call__(self, function: F) -> F:
        mode.enabled, _, mode.wanted = self._at_start
        return super().__call__(function)
