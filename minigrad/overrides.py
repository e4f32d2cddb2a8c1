"""Stage: front. In: a class with ``__torch_function__``, or a library that asks such classes. Out: ``torch.overrides``:
who is asked, the asking itself, and modes that see all calls of a block.
Source: https://docs.pytorch.org/docs/stable/torch.overrides.html
Next: ``minigrad/amp/``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from minigrad.tensor import FUNCTIONS, Tensor
from minigrad.tensor import overrides as _asked

__all__ = ["TorchFunctionMode", "get_default_nowrap_functions", "get_ignored_functions", "get_overridable_functions",
           "handle_torch_function", "has_torch_function", "has_torch_function_unary", "has_torch_function_variadic",
           "is_tensor_like", "is_tensor_method_or_property", "resolve_name", "wrap_torch_function"]


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether one of the arguments, or a mode, is to be asked.

    >>> has_torch_function((1, Tensor([1.0])))
    False
    """
    return _asked.asked(tuple(relevant_args), {}) is not None


def has_torch_function_unary(relevant_arg: Any) -> bool:
    """``has_torch_function`` of one argument."""
    return has_torch_function((relevant_arg,))


def has_torch_function_variadic(*relevant_args: Any) -> bool:
    """``has_torch_function`` of arguments one after another."""
    return has_torch_function(relevant_args)


def handle_torch_function(public_api: Callable[..., Any], relevant_args: Iterable[Any], *args: Any,
                          **kwargs: Any) -> Any:
    """Ask about a call of ``public_api``. ``TypeError`` if nobody has an answer."""
    found = _asked.takers(tuple(relevant_args))
    answer = _asked.answer_of(public_api, found, args, kwargs)
    if answer is NotImplemented:
        raise TypeError(f"no implementation found for '{public_api.__module__}.{public_api.__name__}' on types that "
                        f"implement __torch_function__: {[type(f) for f in found]}")
    return answer


def wrap_torch_function(dispatcher: Callable[..., Iterable[Any]]) -> Callable[[Any], Any]:
    """A decorator: the function asks first. ``dispatcher`` gives, of the same arguments, those to ask.

    >>> @wrap_torch_function(lambda x: (x,))
    ... def twice(x):
    ...     return x + x
    >>> twice(Tensor([1.0]))
    tensor([2.])
    """

    def decorate(plain: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(plain)
        def function(*args: Any, **kwargs: Any) -> Any:
            relevant = tuple(dispatcher(*args, **kwargs))
            if has_torch_function(relevant):
                return handle_torch_function(function, relevant, *args, **kwargs)
            return plain(*args, **kwargs)

        return function

    return decorate


def is_tensor_like(inp: Any) -> bool:
    """Whether it is a Tensor, or of a class with ``__torch_function__``.

    >>> is_tensor_like(Tensor([1.0])), is_tensor_like([1.0])
    (True, False)
    """
    return type(inp) is Tensor or hasattr(inp, "__torch_function__")


def is_tensor_method_or_property(func: Callable[..., Any]) -> bool:
    """Whether a function that a handler sees is a method of Tensor, or the reading of a property."""
    return func in _methods() or getattr(func, "__name__", "") == "__get__"


def _methods() -> set[Any]:
    return {value for name in dir(Tensor) if callable(value := getattr(Tensor, name))}


def get_default_nowrap_functions() -> set[Any]:
    """The functions whose results a subclass leaves of the class that they are of."""
    return set(_asked.as_they_are())


def get_ignored_functions() -> set[Any]:
    """Functions that ask nobody."""
    return {FUNCTIONS[name] for name in _asked.NOT_ASKED if name in FUNCTIONS}


def get_overridable_functions() -> dict[Any, list[Any]]:
    """By class or namespace, the functions that ask."""
    return {Tensor: sorted(_methods(), key=repr),
            "torch": [f for name, f in FUNCTIONS.items() if name not in _asked.NOT_ASKED and not isinstance(f, type)]}


def resolve_name(f: Any) -> str | None:
    """The full name of a function that a handler sees.

    >>> resolve_name(Tensor.add), resolve_name(FUNCTIONS["add"])
    ('torch.Tensor.add', 'torch.add')
    """
    if isinstance(f, str):
        return f
    for name, made in FUNCTIONS.items():
        if made is f:
            return f"torch.{name}"
    if getattr(f, "__name__", "") == "__get__":
        found = [name for name in dir(Tensor) if getattr(Tensor, name) == f.__self__]
        return f"torch.Tensor.{found[0]}.__get__" if found else None
    found = [name for name in dir(Tensor) if getattr(Tensor, name, None) is f]
    if found:
        return f"torch.Tensor.{found[0]}"
    place = next((p for p in _asked.PLACES if getattr(sys.modules.get(p), getattr(f, "__name__", ""), None) is f), None)
    return None if place is None else f"{place.replace('minigrad', 'torch', 1)}.{f.__name__}"


class TorchFunctionMode:
    """A block in which every call is shown to ``__torch_function__`` of this object, innermost block first.

    >>> class Count(TorchFunctionMode):
    ...     calls = 0
    ...     def __torch_function__(self, func, types, args=(), kwargs=None):
    ...         self.calls += 1
    ...         return func(*args, **(kwargs or {}))
    >>> x = Tensor([1.0])
    >>> with Count() as count:
    ...     y = (x + 1).exp()
    >>> count.calls
    2
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError

    def __enter__(self) -> Any:
        _asked.arm()
        _asked.state.modes.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        _asked.state.modes.pop()


BaseTorchFunctionMode = TorchFunctionMode
