"""Stage: front. In: a call that failed with an AttributeError or KeyError. Out: PyTorch's TypeError, if an argument was
to blame. Arguments are looked at only after a failure, so that calls that succeed pay nothing; but for those that are
to be True or False, with which no call would fail.
Next: ``overrides.py``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from types import FunctionType
from typing import Any, TypeVar, cast

from minigrad.dtype import DType
from minigrad.tensor.base import AnyTensor
from minigrad.tensor.generator import Generator
from minigrad.tensor.layouts import layout as Layout

F = TypeVar("F", bound=Callable[..., Any])

KINDS: dict[str, tuple[type, str]] = {
    "Tensor": (AnyTensor, "Tensor"), "DType": (DType, "torch.dtype"),
    "Generator": (Generator, "torch.Generator"),
    "Layout": (Layout, "torch.layout"), "bool": (bool, "bool")}
"""Of an annotation the class, and what messages call it."""

UNEXPECTED = (AttributeError, KeyError)
"""What a value of a wrong type leads to that nobody has checked: a KeyError, say, where the array of another library
has a dtype that is none of ours."""


def blamed(error: AttributeError | KeyError, function: Callable[..., Any], args: tuple[Any, ...],
           kwargs: dict[str, Any], of_method: bool) -> Exception:
    """PyTorch's error about the first argument that is not of the class of its annotation, or about the one that had no
    such attribute; the error as it is if no argument is to blame. ``of_method``: positions are counted without the
    first.

    >>> import minigrad
    >>> minigrad.ones(3).index_select(0, [1])
    Traceback (most recent call last):
    TypeError: index_select(): argument 'index' (position 2) must be Tensor, not list
    """
    plain = innermost(function)
    code, name = plain.__code__, plain.__name__
    by_position = list(zip(code.co_varnames[:code.co_argcount], args, strict=False))
    for position, (parameter, value) in enumerate(by_position):
        expected = _mismatch(plain, parameter, value)
        if expected:
            shown = "input" if parameter == "self" else parameter
            return TypeError(f"{name}(): argument '{shown}' (position {position + (not of_method)}) must be {expected}"
                             f", not {type(value).__name__}")
    for parameter, value in kwargs.items():
        expected = _mismatch(plain, parameter, value)
        if expected:
            return TypeError(f"{name}(): argument '{parameter}' must be {expected}, not {type(value).__name__}")
    given = args[of_method:]
    if any([getattr(error, "obj", error) is value for value in _with_items((*given, *kwargs.values()))]):
        return no_overload(name, *given, **kwargs)
    return error


def like(plain: Callable[..., Any]) -> Callable[[F], F]:
    """A decorator: the function has the name and docstring of ``plain``, which it is wrapped around. As
    ``functools.wraps``, in a third of the time, which an import takes 700 times: it leaves out the annotations, which
    ``inspect.signature`` reads from ``plain``."""

    def named(made: F) -> F:
        made.__module__, made.__name__, made.__qualname__ = plain.__module__, plain.__name__, plain.__qualname__
        made.__doc__ = plain.__doc__
        made.__dict__.update(plain.__dict__)
        made.__wrapped__ = plain  # type: ignore[attr-defined]
        return made

    return named


def innermost(function: Callable[..., Any]) -> Any:
    """The function that others are wrapped around: ``inspect.unwrap`` at a tenth of the time, which an import takes."""
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


_FLAGS = frozenset(("bool", "bool | None"))


@cache
def _flags_of(function: Callable[..., Any]) -> tuple[int, dict[str, tuple[int, bool]]]:
    """The parameters of a function that are to be True or False, each with its place, and whether it may be None; and
    the first of these places, a large number for those that are given by name alone."""
    plain = innermost(function)
    code, never = plain.__code__, 1 << 30
    names = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    flags = {name: (place if place < code.co_argcount else never,
                    plain.__annotations__[name] != "bool" or name in _MAY_BE_NONE)
             for place, name in enumerate(names) if plain.__annotations__.get(name) in _FLAGS}
    return min([place for place, _ in flags.values()], default=never), flags


_MAY_BE_NONE = ("requires_grad", "pin_memory")
"""Flags that PyTorch lets be None, which stands for False, whatever function they are of."""


def check_flags(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], of_method: bool) -> bool:
    """Whether the function has parameters that are to be True or False: if not, it need not be asked again.
    ``TypeError``, in PyTorch's words, for an argument that is to be one of these and is neither.

    >>> import minigrad
    >>> minigrad.ones(2, 3).sum(0, 1)
    Traceback (most recent call last):
    TypeError: sum(): argument 'keepdim' (position 2) must be bool, not int
    """
    first, flags = _flags_of(function)
    if not kwargs and len(args) <= first:
        return bool(flags)
    for name, (place, optional) in flags.items():
        if place < len(args):
            value, where = args[place], f" (position {place + (not of_method)})"
        else:
            value, where = kwargs.get(name, False), ""
        if type(value) is not bool and not (value is None and optional):
            kind = type(value)  # NumPy's is called bool, too
            raise TypeError(f"{function.__name__}(): argument '{name}'{where} must be bool, not "
                            f"{'numpy.' * (kind.__module__ == 'numpy')}{kind.__name__}")
    return bool(flags)


def no_overload(name: str, *args: Any, **kwargs: Any) -> TypeError:
    """PyTorch's error about arguments that none of a function's overloads takes together.

    >>> no_overload("max", 0, other=2.0)
    TypeError('max() received an invalid combination of arguments - got (int, other=float)')
    """
    types = [type(value).__name__ for value in args]
    types += [f"{parameter}={type(value).__name__}" for parameter, value in kwargs.items()]
    return TypeError(f"{name}() received an invalid combination of arguments - got ({', '.join(types)})")


def by_name_beside(keyword: str) -> Callable[[F], F]:
    """A decorator for methods: beside this argument, all others are given by name. PyTorch has an overload of its own
    for it, which takes none by position."""

    def attach(made: F) -> F:
        @like(made)
        def chosen(self: Any, *args: Any, **kwargs: Any) -> Any:
            if args and keyword in kwargs:
                raise no_overload(made.__name__, *args, **kwargs)
            return made(self, *args, **kwargs)

        return cast(F, chosen)

    return attach


def only_beside(needed: Collection[str], *keywords: str) -> Callable[[F], F]:
    """A decorator for methods: these arguments are taken only beside one by position, or one of those ``needed`` by
    name: PyTorch has no overload with them alone.

    >>> import minigrad
    >>> minigrad.ones(2).sum(keepdim=True)
    Traceback (most recent call last):
    TypeError: sum() received an invalid combination of arguments - got (keepdim=bool)
    """

    def attach(made: F) -> F:
        @like(made)
        def chosen(self: Any, *args: Any, **kwargs: Any) -> Any:
            if kwargs and not args and not kwargs.keys().isdisjoint(keywords) and kwargs.keys().isdisjoint(needed):
                raise no_overload(made.__name__, **kwargs)
            return made(self, *args, **kwargs)

        return cast(F, chosen)

    return attach


def _mismatch(plain: Callable[..., Any], parameter: str, value: Any) -> str:
    """What messages call the class that the value should be of; nothing if it is, or if no class is known."""
    annotation = str(plain.__annotations__.get(parameter))
    if annotation.startswith("Sequence[Tensor"):
        right = isinstance(value, list | tuple) and all([isinstance(item, AnyTensor | None) for item in value])
        return "" if right else "tuple of Tensors"
    expected, *others = annotation.split(" | ")
    kind, words = KINDS.get(expected, (object, ""))
    if isinstance(value, kind) or (value is None and others == ["None"]) or others not in ([], ["None"]):
        return ""
    return words


def _with_items(values: Iterable[Any]) -> Iterator[Any]:
    """The values, and what stands in lists and tuples among them."""
    for value in values:
        yield value
        if isinstance(value, list | tuple):
            yield from _with_items(value)


def explained(function: F, of_method: bool = False) -> F:
    """The function, whose AttributeErrors become PyTorch's TypeErrors where an argument is to blame, and which takes
    only True and False where it asks for them."""
    flags = True  # it may have some

    @like(function)
    def tried(*args: Any, **kwargs: Any) -> Any:
        nonlocal flags
        if flags:
            flags = check_flags(function, args, kwargs, of_method)
        try:
            return function(*args, **kwargs)
        except UNEXPECTED as error:
            raise blamed(error, function, args, kwargs, of_method) from None

    tried.explains = True  # type: ignore[attr-defined]
    return cast(F, tried)


def explain_methods(tensor: type) -> None:
    """Make all methods of the class ``explained`` that take more of ``KINDS`` than self, unless they are: in-place
    twins explain the errors of their methods. Operators need not be: they give NotImplemented for what they do not
    take."""
    for kind in tensor.__mro__:
        for name, method in list(vars(kind).items()):
            if (not name.startswith("_") and type(method) is FunctionType and not hasattr(method, "explains")
                    and _takes_kinds(method)):
                setattr(kind, name, explained(method, True))


def name_methods(tensor: type) -> None:
    """Have Python's own errors about arguments name the class that users know: they say a function's qualified name,
    which has the class that it was defined in.

    >>> import minigrad
    >>> minigrad.ones(2).sum(dimm=1)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    TypeError: Tensor.sum() got an unexpected keyword argument 'dimm'...
    """
    for kind in tensor.__mro__[:-1]:
        for method in vars(kind).values():
            while type(method) is FunctionType:
                if "." in method.__qualname__:
                    method.__qualname__, method.__module__ = f"{tensor.__name__}.{method.__name__}", tensor.__module__
                method = getattr(method, "__wrapped__", None)


def _takes_kinds(method: Callable[..., Any]) -> bool:
    return any([_is_kind(str(kind)) for name, kind in innermost(method).__annotations__.items()
                if name not in ("self", "return")])


@cache
def _is_kind(annotation: str) -> bool:
    return annotation.partition(" ")[0] in KINDS


def explain_functions(namespace: dict[str, Any]) -> None:
    """Make all functions ``explained`` that a module shows by ``__all__`` and that are its own."""
    for name in namespace["__all__"]:
        function = namespace[name]
        if type(function) is FunctionType and function.__module__.startswith(namespace["__name__"]):
            namespace[name] = explained(function)
