"""Stage: front. In: lists of Tensors. Out: PyTorch's functions that do the same to each of a list: ``_foreach_exp``,
``_foreach_add_`` … What is pending in all of them runs as one plan, so a list costs no more launches than a Tensor.
Next: ``loop.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from minigrad.tensor.base import AnyTensor
from minigrad.tensor.definition import FUNCTIONS
from minigrad.tensor.tensor_class import Tensor as _Tensor

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

ALONE = ("abs", "acos", "asin", "atan", "ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor", "frac", "lgamma",
         "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt", "sigmoid", "sign", "sin", "sinh",
         "sqrt", "tan", "tanh", "trunc")
"""Methods of one Tensor."""

TOGETHER = {"add": "add", "sub": "sub", "mul": "mul", "div": "div", "pow": "pow", "maximum": "maximum",
            "minimum": "minimum", "clamp_max": "minimum", "clamp_min": "maximum", "lerp": "lerp", "addcmul": "addcmul",
            "addcdiv": "addcdiv"}
"""Methods of a Tensor and others, each of which is a list of Tensors, a list of numbers, or one for all."""

_OF_NUMBERS = {"maximum": "clamp_min", "minimum": "clamp_max"}
"""The methods for a number, where those for a Tensor do not take one."""


def _checked(tensors: Any, name: str) -> Sequence[Tensor]:
    if isinstance(tensors, AnyTensor) or not isinstance(tensors, tuple | list):
        raise TypeError(f"{name}(): argument 'self' (position 1) must be tuple of Tensors, not "
                        f"{type(tensors).__name__}")
    if not tensors:
        raise RuntimeError("Tensor list must have at least one tensor.")
    return tensors


def _each(argument: Any, length: int) -> Sequence[Any]:
    """An argument for each Tensor of the list."""
    if not isinstance(argument, tuple | list):
        return [argument] * length
    if len(argument) != length:
        raise RuntimeError("Tensor lists must have the same number of tensors, got "
                           f"{length} and {len(argument)}")
    return argument


def _called(method: str, tensor: Tensor, others: Sequence[Any], options: dict[str, Any]) -> Any:
    if others and not isinstance(others[-1], AnyTensor) and method in _OF_NUMBERS:
        method = _OF_NUMBERS[method]
    if method in ("addcmul", "addcdiv") and len(others) == 3:
        return getattr(tensor, method)(*others[:2], value=others[2])
    return getattr(tensor, method)(*others, **options)


def _written(tensors: Sequence[Tensor], results: Sequence[Any]) -> None:
    for tensor, result in zip(tensors, results, strict=True):
        tensor.copy_(result)


def _functions(name: str, method: str) -> tuple[Callable[..., Any], Callable[..., None]]:
    """``_foreach_name`` and its in-place twin."""

    def made(self: Any, *others: Any, **options: Any) -> tuple[Tensor, ...]:
        tensors = _checked(self, f"_foreach_{name}")
        lists = [_each(o, len(tensors)) for o in others]
        each = {key: _each(value, len(tensors)) for key, value in options.items()}
        rows = zip(*lists, strict=True) if lists else [()] * len(tensors)
        return tuple([_called(method, t, row, {k: v[i] for k, v in each.items()})
                      for i, (t, row) in enumerate(zip(tensors, rows, strict=True))])

    def changed(self: Any, *others: Any, **options: Any) -> None:
        _written(_checked(self, f"_foreach_{name}_"), made(self, *others, **options))

    made.__doc__ = f"``{method}`` of each Tensor of a list, as a tuple."
    changed.__doc__ = f"``{method}`` in place for each Tensor of a list; returns None."
    return made, changed


def _attach(name: str, made: Callable[..., Any]) -> None:
    made.__name__ = made.__qualname__ = name
    FUNCTIONS[name] = made


for _name in ALONE:
    if hasattr(_Tensor, _name):
        _made, _changed = _functions(_name, _name)
        _attach(f"_foreach_{_name}", _made)
        _attach(f"_foreach_{_name}_", _changed)
for _name, _method in TOGETHER.items():
    _made, _changed = _functions(_name, _method)
    _attach(f"_foreach_{_name}", _made)
    _attach(f"_foreach_{_name}_", _changed)


def _foreach_zero_(self: Sequence[Tensor]) -> None:
    """``zero_`` for each Tensor of a list; returns None."""
    for tensor in _checked(self, "_foreach_zero_"):
        tensor.zero_()


def _foreach_copy_(self: Sequence[Tensor], src: Sequence[Tensor], non_blocking: bool = False) -> None:
    """``copy_`` for each Tensor of a list; returns None."""
    _written(_checked(self, "_foreach_copy_"), _each(list(src), len(self)))


def _foreach_norm(self: Sequence[Tensor], ord: float = 2, dtype: Any = None) -> tuple[Tensor, ...]:
    """``norm`` of each Tensor of a list, as a tuple.

    >>> import minigrad
    >>> minigrad._foreach_norm([minigrad.tensor([3.0, 4.0]), minigrad.tensor([1.0])])
    (tensor(5.), tensor(1.))
    """
    return tuple([t.norm(ord) if dtype is None else t.to(dtype).norm(ord) for t in _checked(self, "_foreach_norm")])


for _each_of in (_foreach_zero_, _foreach_copy_, _foreach_norm):
    _attach(_each_of.__name__, _each_of)
