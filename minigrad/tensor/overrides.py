"""Stage: front. In: calls whose arguments are of a class with ``__torch_function__``. Out: what that method answers;
for a subclass of Tensor that has none of its own, the result as one of the subclass. Nothing of this costs a program
that has no such class: when the first appears, ``arm`` puts checks into the methods of Tensor and into the functions.
Source: https://docs.pytorch.org/docs/stable/notes/extending.html#extending-torch-python-api
Next: ``outputs.py``."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FunctionType
from typing import Any, TypeVar, cast

from minigrad.tensor import aliases, base
from minigrad.tensor.arguments import UNEXPECTED, blamed, check_flags, like
from minigrad.tensor.promotion import check_dtype

F = TypeVar("F", bound=Callable[..., Any])

NOT_ASKED = frozenset((
    "tensor", "as_tensor", "asarray", "from_numpy", "frombuffer", "is_tensor", "typename", "from_dlpack"))
"""Functions that take arguments of any class as they are."""

armed: list[bool] = []
"""Whether there is a class with ``__torch_function__``: a list, which is empty or not."""


class _State(threading.local):
    """Of a thread: how often it was told not to look, the modes that it is in, which calls it is answering, and
    about which calls it asks whom."""

    def __init__(self) -> None:
        self.off = 0
        self.answering: list[Any] = []
        self.asked: list[tuple[Any, int]] = []
        self.modes: list[Any] = []


state = _State()


@contextmanager
def disabled() -> Iterator[None]:
    """A block in which ``__torch_function__`` of subclasses is not asked, nor are modes."""
    state.off += 1
    try:
        yield
    finally:
        state.off -= 1


# --- who is asked


def not_asked(func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
    """``__torch_function__`` of classes that take no part, such as Parameter."""
    with disabled():
        return func(*args, **(kwargs or {}))


def takes_part(kind: type) -> bool:
    """Whether a class is asked."""
    asked = getattr(kind, "__torch_function__", None)
    return asked is not None and asked is not not_asked and kind is not base._tensor_class


def takers(values: Any) -> tuple[Any, ...]:
    """The arguments to ask, one of each class, in lists and tuples too; a subclass comes before its bases."""
    found: list[Any] = []
    for value in values:
        kind = type(value)
        if kind is list or kind is tuple:
            for inner in value:
                _add(found, inner)
        elif kind not in _NEVER:
            _add(found, value)
    return tuple(found)


_NEVER = frozenset((int, float, bool, str, type(None), slice, dict, complex))


def _add(found: list[Any], value: Any) -> None:
    kind = type(value)
    if not takes_part(kind) or any([type(f) is kind for f in found]):
        return
    at = next((i for i, f in enumerate(found) if issubclass(kind, type(f))), len(found))
    found.insert(at, value)


def asked(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
    """Whom to ask about a call; None if nobody."""
    if state.off:
        return None
    found = takers((*args, *kwargs.values()) if kwargs else args)
    return found if found or state.modes else None


def answer_of(func: Any, found: Sequence[Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The answer of the first that has one; ``NotImplemented`` if none has."""
    types = tuple([type(f) for f in found])
    if state.modes:
        mode = state.modes.pop()
        try:
            answer = mode.__torch_function__(func, types, args, kwargs)
        finally:
            state.modes.append(mode)
        if answer is not NotImplemented:
            return answer
    for value in found:
        if (func, id(value)) in state.asked:  # it called the function again, as the tensors of another library do
            continue
        state.asked.append((func, id(value)))
        try:
            # a handler gets no keywords where the call has none, as from PyTorch's C functions
            answer = type(value).__torch_function__(func, types, args, kwargs) if kwargs else (
                type(value).__torch_function__(func, types, args))
        finally:
            state.asked.pop()
        if answer is not NotImplemented:
            return answer
    return NotImplemented if found else func(*args, **kwargs)


def ask(func: Any, found: Sequence[Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The answer of the first that has one. ``TypeError`` if none has."""
    answer = answer_of(func, found, args, kwargs)
    if answer is not NotImplemented:
        return answer
    types = [type(f) for f in found]
    lines = "".join([f"\n\n  - tensor subclass {kind}" if issubclass(kind, base.AnyTensor) else f"\n\n  - {kind}"
                     for kind in types])
    raise TypeError(f"Multiple dispatch failed for '{name_of(func)}'; all __torch_function__ handlers returned "
                    f"NotImplemented:{lines}\n\nFor more information, try re-running with TORCH_LOGS=not_implemented")


def name_of(func: Any) -> str:
    """A function's full name, as PyTorch's messages say it."""
    name = getattr(func, "__qualname__", None) or repr(func)
    return f"torch.{name}" if "." not in name else f"torch.Tensor.{name.rpartition('.')[2]}"


def asked_after_all(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, ...] | None:
    """Whom to ask about a call that has failed: the first argument of a foreign class is noticed so."""
    found = asked(args, kwargs)
    if found:
        arm()
    return found


# --- what a subclass answers by itself


def answer(cls: type, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None) -> Any:
    """``Tensor.__torch_function__``: the call's result, Tensors in it as ones of the subclass."""
    for kind in types:
        if not issubclass(cls, kind):
            return NotImplemented
    if func in state.answering:  # the function of another library, which does not see that nobody is to be asked
        return NotImplemented
    state.answering.append(func)
    try:
        result = not_asked(func, types, args, kwargs)
    finally:
        state.answering.pop()
    return result if func in as_they_are() else as_class(result, cls)


def as_class(result: Any, cls: type) -> Any:
    """A result, Tensors in it as ones of ``cls``."""
    if cls is base._tensor_class:
        return result
    if isinstance(result, base.AnyTensor):
        return result if isinstance(result, cls) else aliases.as_subclass(result, cls)
    if isinstance(result, tuple | list):
        return type(result)([as_class(r, cls) for r in result])
    return result


def as_they_are() -> tuple[Any, ...]:
    """Whose results stay of the class that they are of."""
    tensor: Any = base._tensor_class
    return tensor._base.__get__, tensor.grad.__get__


# --- the checks

PLACES = ("minigrad.nn.functional", "minigrad.linalg", "minigrad.fft", "minigrad.special")
"""Modules whose functions look, too, once ``arm`` was called. Those of ``minigrad`` look by themselves."""

OPERATORS = {
    "__add__": "add", "__radd__": "add", "__sub__": "sub", "__mul__": "mul", "__rmul__": "mul", "__truediv__": "div",
    "__mod__": "remainder", "__pow__": "pow", "__matmul__": "matmul", "__neg__": "neg", "__pos__": "positive",
    "__abs__": "abs", "__ne__": "ne", "__lt__": "lt", "__le__": "le", "__gt__": "gt", "__ge__": "ge",
    "__rand__": "bitwise_and", "__ror__": "bitwise_or", "__rxor__": "bitwise_xor", "__iadd__": "add_",
    "__isub__": "sub_", "__imul__": "mul_", "__itruediv__": "div_", "__ifloordiv__": "floor_divide_",
    "__imod__": "remainder_", "__ipow__": "pow_", "__rtruediv__": "__rdiv__", "__str__": "__repr__"}
"""What handlers see of an operator: the method that does the same."""

_PLAIN = frozenset((
    "__new__", "__init__", "__init_subclass__", "__torch_function__", "__getattr__", "__getattribute__", "__setattr__",
    "__dir__", "__hash__", "__class__", "__sizeof__", "__reduce__", "__reduce_ex__", "__deepcopy__", "__setstate__",
    "as_subclass", "__iter__",
    "__array_ufunc__", "__array_function__", "__array_wrap__", "__str__"))
"""Methods that nobody is asked about."""

_replaced: list[tuple[Any, str, Any, Any]] = []
_lock = threading.RLock()


def arm() -> None:
    """From now on methods of Tensor, and functions of the namespaces, look for classes with ``__torch_function__``."""
    with _lock:
        if armed:
            return
        tensor: Any = base._tensor_class
        for name in dir(tensor):
            if name not in _PLAIN and (not name.startswith("_") or name.startswith("__") or name in ("_base",)):
                _check_method(tensor, name)
        for module in PLACES:
            place = vars(importlib.import_module(module))
            for name, value in list(place.items()):
                if _is_function(module, name, value):
                    made = checking(value)
                    place[name] = made
                    _replaced.append((place, name, value, True))
        armed.append(True)


def disarm() -> None:
    """Take the checks out again: for tests."""
    with _lock:
        for where, name, before, own in reversed(_replaced):
            if isinstance(where, dict):
                where[name] = before
            elif own:
                setattr(where, name, before)
            else:
                delattr(where, name)
        _replaced.clear()
        armed.clear()


def _is_function(module: str, name: str, value: Any) -> bool:
    """Whether a module defines this name, and as a function."""
    return (not name.startswith("_") and callable(value) and not isinstance(value, type)
            and (getattr(value, "__module__", None) or "").startswith(module))


def _check_method(tensor: Any, name: str) -> None:
    found = next(vars(c)[name] for c in tensor.__mro__ if name in vars(c))
    if isinstance(found, property):
        made: Any = _checking_property(found)
    elif type(found) is FunctionType:
        made = _checking_operator(found, name) if name in OPERATORS or name.startswith("__r") else checking(found)
    else:
        return
    _replaced.append((tensor, name, vars(tensor).get(name), name in vars(tensor)))
    setattr(tensor, name, made)


def asking(plain: F, into: Callable[..., Any] | None) -> F:
    """The function, which asks first if there is somebody to ask, and after a failure. Unless it takes ``out`` itself,
    ``into(out, plain, args, kwargs)`` calls it and stores the result."""
    flags = True  # it may have some

    @like(plain)
    def function(*args: Any, **kwargs: Any) -> Any:
        nonlocal flags
        if armed:
            found = asked(args, kwargs)
            if found is not None:
                return ask(function, found, args, kwargs)
        try:
            check_dtype(plain.__name__, kwargs)
            if flags:
                flags = check_flags(plain, args, kwargs, False)
            if into is not None and "out" in kwargs:
                return into(kwargs.pop("out"), plain, args, kwargs)
            return plain(*args, **kwargs)
        except Exception as error:
            found = asked_after_all(args, kwargs)
            if found is None:
                if isinstance(error, UNEXPECTED):
                    raise blamed(error, plain, args, kwargs, False) from None
                raise
        return ask(function, found, args, kwargs)

    return cast(F, function)


def checking(plain: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which asks first."""

    @like(plain)
    def function(*args: Any, **kwargs: Any) -> Any:
        if not state.off:
            found = asked(args, kwargs)
            if found is not None:
                return ask(function, found, args, kwargs)
        return plain(*args, **kwargs)

    return function


def _checking_operator(plain: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The operator, which asks first; where nobody has an answer it gives NotImplemented."""
    shown = OPERATORS.get(name, name)

    @like(plain)
    def operator(self: Any, *others: Any) -> Any:
        if not state.off:
            found = asked((self, *others), {})
            if found is not None:
                func = operator if shown.startswith("__r") else getattr(base._tensor_class, shown, operator)
                try:
                    return ask(func, found, (self, *others), {})
                except TypeError:
                    if not others:
                        raise
                    return NotImplemented
        return plain(self, *others)

    return operator


def _checking_property(plain: property) -> property:
    def get(self: Any) -> Any:
        if not state.off:
            found = asked((self,), {})
            if found is not None:
                return ask(made.__get__, found, (self,), {})
        return plain.fget(self)

    def put(self: Any, value: Any) -> None:
        if not state.off:
            found = asked((self, value), {})
            if found is not None:
                ask(made.__set__, found, (self, value), {})
                return
        plain.fset(self, value)

    made = property(get, None if plain.fset is None else put, plain.fdel, plain.__doc__)
    return made


class Overrides:
    """What subclasses of Tensor are asked, and how Tensors become ones of a subclass."""

    __slots__ = ()

    def __init_subclass__(cls, **options: Any) -> None:
        """A subclass keeps its class: from now on calls look for it."""
        super().__init_subclass__(**options)
        if hasattr(base, "_tensor_class") and takes_part(cls):
            arm()

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What a call with one of a subclass among its arguments gives: the result as one of the subclass."""
        return answer(cls, func, types, args, kwargs)

    def as_subclass(self: Any, cls: type) -> Any:
        """The same memory as one of a subclass of Tensor. Gradients flow through.

        >>> import minigrad
        >>> class Image(minigrad.Tensor):
        ...     pass
        >>> image = minigrad.ones(2).as_subclass(Image)
        >>> type(image + 1).__name__
        'Image'
        """
        return aliases.as_subclass(self, _subclass(cls))

    @staticmethod
    def _make_subclass(cls: type, data: Any, require_grad: bool = False, **options: Any) -> Any:
        """The memory of ``data``, outside autograd, as one of a subclass of Tensor: a leaf."""
        _subclass(cls)
        if not isinstance(data, base.AnyTensor):
            raise TypeError(f"_make_subclass(): argument 'data' (position 2) must be Tensor, not {type(data).__name__}")
        with disabled():
            result: Any = data.detach()
            result.__class__ = cls
            return result.requires_grad_(require_grad)


def _subclass(cls: Any) -> Any:
    if not isinstance(cls, type) or not issubclass(cls, base.AnyTensor):
        raise TypeError("Creating a Tensor subclass from a class that does not inherit from Tensor is not possible. "
                        "Make sure your class inherits from Tensor.")
    return cls
