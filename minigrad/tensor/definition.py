"""Stage: front. In: one definition of an op, a method in a mixin class. Out: its other spellings: the function
``minigrad.add(x, y)`` beside ``x.add(y)``, the in-place twin ``x.add_(y)``, the augmented operator ``x += y``.
Next: ``quotients.py``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from minigrad.autograd.mode import enable_grad, mode, no_grad
from minigrad.autograd.protocol import Front
from minigrad.runtime.locks import record_lock
from minigrad.tensor.arguments import UNEXPECTED, blamed, check_flags, explained, innermost, like
from minigrad.tensor.base import AnyTensor, blank, check_in_place
from minigrad.tensor.changes import OVERLAP, check_overlap
from minigrad.tensor.history import unseen_by_tape
from minigrad.tensor.operands import is_number, one_device, require_real, require_tensor
from minigrad.tensor.outputs import WITHOUT_OUT, call_into
from minigrad.tensor.overrides import NOT_ASKED, armed, ask, asked, asked_after_all, asking
from minigrad.tensor.promotion import can_cast, check_dtype, type_name, with_number
from minigrad.tensor.run_time import scalar
from minigrad.tensor.storage import tracing

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")

FUNCTIONS: dict[str, Any] = {}
"""The functions of the ``minigrad`` namespace, by name."""


# --- NumPy's names of parameters

NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}
"""What PyTorch's functions accept for these parameters too."""


def numpy_names(made: F) -> F:
    """The function with NumPy's names of its parameters accepted, too: ``axis`` for ``dim`` and ``keepdims`` for
    ``keepdim``. It is returned as it is if it has none of them, or takes NumPy's names itself.

    >>> import minigrad
    >>> minigrad.tensor([[1., 2.], [3., 4.]]).amax(axis=1, keepdims=True)
    tensor([[2.],
            [4.]])
    """
    code = innermost(made).__code__
    taken = code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]
    names = {name: ours for name, ours in NUMPY_NAMES.items() if ours in taken and name not in taken}
    theirs = frozenset(names)
    if not names:
        return made

    @like(made)
    def accepting(*args: Any, **kwargs: Any) -> Any:
        if kwargs and not theirs.isdisjoint(kwargs):
            kwargs = {names.get(name, name): value for name, value in kwargs.items()}
        check_dtype(made.__name__, kwargs)
        return made(*args, **kwargs)

    return cast(F, accepting)


def also(**names: str) -> Callable[[F], F]:
    """A decorator: the function takes some of its arguments by other names, too, as PyTorch's overloads call them."""

    def attach(made: F) -> F:
        @like(made)
        def renamed(*args: Any, **kwargs: Any) -> Any:
            if kwargs and not names.keys().isdisjoint(kwargs):
                kwargs = {names.get(name, name): value for name, value in kwargs.items()}
            return made(*args, **kwargs)

        renamed.also = names  # type: ignore[attr-defined]
        return cast(F, renamed)

    return attach


# --- x.exp() and minigrad.exp(x)


def function(*names: str) -> Callable[[F], F]:
    """Make the function one of the ``minigrad`` namespace under these names."""

    def attach(made: F) -> F:
        made.__name__ = made.__qualname__ = names[0]
        accepting = numpy_names(made)
        if names[0] in NOT_ASKED:
            accepting = explained(accepting)
        else:
            accepting = asking(accepting, None if "out" in innermost(made).__code__.co_varnames else call_into)
            accepting.__wrapped__ = Shown(made, False)  # type: ignore[attr-defined]
        for name in names:
            FUNCTIONS[name] = accepting
        return accepting

    return attach


def spelled(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments by position of a function of a Tensor: the first may be given by name, which NumPy calls otherwise.
    NumPy's name of the second is changed in ``kwargs``. ``TypeError`` without a first."""
    if "x2" in kwargs:
        kwargs["other"] = kwargs.pop("x2")
    if args:
        return args
    for first in _FIRST:
        if first in kwargs:
            return (kwargs.pop(first),)
    raise TypeError(f"{name}() missing 1 required positional argument: 'input'")


_FIRST = ("input", "x", "a", "x1")


class Shown:
    """What ``inspect.signature`` and ``help`` find behind a function that was made of a method: its signature,
    with ``out`` (at its place, if it has one), and ``input`` in place of a method's ``self``. It is put together when
    somebody asks for it."""

    __slots__ = ("__wrapped__", "of_method", "out")

    def __init__(self, made: Callable[..., Any], of_method: bool = True, out: int | None = None) -> None:
        self.__wrapped__, self.of_method, self.out = made, of_method, out

    @property
    def __signature__(self) -> Any:
        signature = inspect.signature(self.__wrapped__)
        others = list(signature.parameters.values())
        if self.of_method:
            others[0] = others[0].replace(name="input")
        if ("out" not in signature.parameters and self.__wrapped__.__name__ not in WITHOUT_OUT
                and signature.return_annotation not in ("bool", "int", "str", "DType")):
            kind = inspect.Parameter.KEYWORD_ONLY if self.out is None else inspect.Parameter.POSITIONAL_OR_KEYWORD
            at = next((i for i, p in enumerate(others) if p.kind == inspect.Parameter.VAR_KEYWORD), len(others))
            others.insert(at if self.out is None else self.out,
                          inspect.Parameter("out", kind, default=None, annotation="Any"))
        return signature.replace(parameters=others)


_OF_NUMBERS = frozenset(("add", "sub", "mul", "div", "floor_divide", "true_divide"))
"""Functions whose first operand may be a number."""


def _as_tensor(value: Any, others: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The number as a 0-d Tensor of the dtype that it takes beside the other operand."""
    other = others[0] if others else kwargs.get("other")
    if isinstance(other, AnyTensor):
        return scalar(value, with_number(other.dtype, value), other.device)
    return scalar(value)


def both(*names: str, keywords: Mapping[str, str] | None = None, out: int | None = None, real: bool = False,
         ) -> Callable[[F], F]:
    """Make the method a function of the ``minigrad`` namespace, too, under these names. Other names of the method are
    lines of their own in the class: ``multiply = mul``. ``keywords``: what PyTorch calls arguments of the function that
    have another name here, and that name; the first argument's is ``input``. ``out``: the place of that argument where
    it may be given by position. ``real``: there are no gradients of complex results."""

    def attach(made: F) -> F:
        name = names[0]
        made = real_gradients(numpy_names(made)) if real else numpy_names(made)
        flags = True  # it may have some

        @like(made)
        def function(*args: Any, **kwargs: Any) -> Any:
            nonlocal flags
            if armed:
                found = asked(args, kwargs)
                if found is not None:
                    return ask(public, found, args, kwargs)
            try:
                if kwargs:
                    args = spelled(name, args, kwargs)
                    check_dtype(name, kwargs)
                if flags:
                    flags = check_flags(made, args, kwargs, False)
                require_tensor(args[0] if args else None, name, "input", 1)
                if "out" in kwargs:
                    return call_into(kwargs.pop("out"), made, args, kwargs)
                return made(*args, **kwargs)
            except Exception as error:
                found = asked_after_all(args, kwargs)
                if found is None and not (name in _OF_NUMBERS and args and is_number(args[0])):
                    if isinstance(error, UNEXPECTED):
                        raise blamed(error, made, args, kwargs, False) from None
                    raise
            if found is None:
                return function(_as_tensor(args[0], args[1:], kwargs), *args[1:], **kwargs)
            return ask(public, found, args, kwargs)

        function.__qualname__ = name
        function.__wrapped__ = Shown(made, out=out)  # type: ignore[attr-defined]
        public = function if keywords is None else _renamed(function, keywords)
        public = public if out is None else _with_out_at(out, public)
        for spelling in names:
            FUNCTIONS[spelling] = public
        return made

    return attach


def real_gradients(plain: F) -> F:
    """The method, whose complex results PyTorch does not differentiate: ``RuntimeError`` if one requires a gradient.
    Its in-place twin, of the method as it was (``unchecked``), refuses none."""

    @like(plain)
    def real(*args: Any, **kwargs: Any) -> Any:
        result = plain(*args, **kwargs)
        for part in result if isinstance(result, tuple) else (result,):
            require_real(part, plain.__name__)
        return result

    real.unchecked = plain  # type: ignore[attr-defined]
    return cast(F, real)


def _with_out_at(place: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which takes ``out`` at this place, too."""

    @like(function)
    def placed(*args: Any, **kwargs: Any) -> Any:
        if len(args) > place and "out" not in kwargs:
            kwargs["out"] = args[place]
            args = args[:place] + args[place + 1:]
        return function(*args, **kwargs)

    return placed


def _renamed(function: Callable[..., Any], keywords: Mapping[str, str]) -> Callable[..., Any]:
    """The function, whose arguments have other names, too."""

    @like(function)
    def renamed(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **{keywords.get(key, key): value for key, value in kwargs.items()})

    renamed.also = keywords  # type: ignore[attr-defined]
    return renamed


def by_rows(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What a function that asks for values gives for each row, where ``vmap`` calls it and an argument differs from row
    to row; None elsewhere."""
    level = tracing.level
    return None if level is None else level.each_row(function, (args, kwargs))


# --- in-place twins


def in_place(plain: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """The in-place twin of a method: it computes as the method does and puts the result in self's place.

    >>> import minigrad
    >>> minigrad.tensor([1, 2]).add_(1)
    tensor([2, 3])
    """

    entirely, flags = OVERLAP.setdefault(plain.__name__, False), True  # it may have flags
    plain = getattr(plain, "unchecked", plain)

    @like(plain)
    def changed(self: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        nonlocal flags
        if flags:
            flags = check_flags(changed, (self, *args), kwargs, True)
        with record_lock:  # it reads self, and writes it
            try:
                check_in_place(self)
                if args or kwargs:
                    check_overlap(self, (*args, *kwargs.values()), entirely)
                return adopt(self, plain(self, *args, **kwargs))
            except UNEXPECTED as error:
                require_tensor(self, changed.__name__, "input", 1)
                raise blamed(error, plain, (self, *args), kwargs, True) from None

    changed.explains = True  # type: ignore[attr-defined]
    return as_twin(changed, plain)


def untracked_in_place(plain: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """``in_place`` of a method without a derivative of which PyTorch's tape takes no notice: leaves may be changed, and
    the history stays what it was."""
    changed = in_place(plain)

    @like(plain)
    def untracked(self: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        with no_grad():
            return changed(self, *args, **kwargs)

    return as_twin(untracked, plain)


def view_in_place(plain: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """The in-place twin of a method that gives a view: self turns into that view of what it was."""

    @like(plain)
    def changed(self: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        check_in_place(self)
        edge = None if mode.enabled else self._source()
        view = None if edge is None else self._view
        with enable_grad() if view is not None and view.differentiable else nullcontext():  # it has its base's history
            become(self, plain(self, *args, **kwargs))
        if type(edge) is tuple and self._edge is None and not self._view.differentiable:  # type: ignore[union-attr]
            self._edge = unseen_by_tape(edge, self._shape())
        elif edge is self:  # a leaf: views of what it was send their gradients to it
            self._view.parent._edge = self
        self._count_edit()
        return self

    return as_twin(changed, plain)


def augmented(operator: Callable[[Tensor, Any], Tensor]) -> Callable[[Tensor, Any], Tensor]:
    """The augmented form of an operator: ``__iadd__`` of ``__add__``."""

    @like(operator)
    def changed(self: Tensor, other: Any) -> Any:
        with record_lock:
            check_in_place(self)
            check_overlap(self, (other,))
            result = operator(self, other)
            return result if result is NotImplemented else adopt(self, result)

    where, _, name = operator.__qualname__.rpartition(".")
    changed.__name__ = name.replace("__", "__i", 1)
    changed.__qualname__ = f"{where}.{changed.__name__}"
    changed.__doc__ = f"``{name}`` in place; returns self."
    return changed


def as_twin(changed: F, plain: Callable[..., Any]) -> F:
    """``changed`` with the name and docstring of an in-place twin."""
    name = plain.__name__
    changed.__name__, changed.__qualname__ = f"{name}_", f"{plain.__qualname__}_"
    changed.__doc__ = f"``{name}`` in place; returns self."
    return changed


def adopt(self: Tensor, result: Tensor) -> Tensor:
    """Put the result of an op into ``self``: same shape, and a dtype that may be stored in self's."""
    pending, stored = self._pending(), self.dtype
    if result._shape() != self._shape():
        raise RuntimeError(f"output with shape {list(self._shape())} doesn't match the broadcast shape "
                           f"{list(result._shape())}")
    if result._pending().device != pending.device:
        one_device((pending, result._pending()))
    dtype = result.dtype
    if dtype is not stored:
        if not can_cast(dtype, stored):
            raise RuntimeError(f"result type {type_name(dtype)} can't be cast to the desired output type "
                               f"{type_name(stored)}")
        adopted = self._put(result.to(stored))
        if mode.enabled:
            adopted._took(result)
        return adopted
    return self._adopt(result)


def become(self: Tensor, view: Tensor) -> Tensor:
    """self turns into a view of what it was."""
    before = blank()
    before._tag, before._spec, before._look = 0, None, None
    before._storage, before._view, before._edge = self._storage, self._view, self._edge
    before._requires_grad, before._grad, before._hooks = self._requires_grad, None, None
    if mode.duals and before._view is None:
        Front.dual(before, Front.tangents(self))
    new = view._view
    assert new is not None
    if new.parent is self:
        new.parent = before
    if new.base is self:
        new.base = before
    new.alone = before._view is None or before._view.alone
    new.cut = new.alone and not new.differentiable
    self._view, self._edge, self._tag, self._look = new, None, 0, None
    return self
