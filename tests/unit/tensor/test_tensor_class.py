"""Stage: tests of tensor. In: ``class Tensor`` and its mixins. Out: every method stands in a class body where an editor
finds it, once, under its own name; twins and functions are what their methods are.
Next: ``test_views.py``."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import pytest

import minigrad
from minigrad import Tensor
from minigrad.tensor import FUNCTIONS

CLASSES = [c for c in Tensor.__mro__ if c is not object]
TWINS = {name: twin for c in CLASSES for name, twin in vars(c).items()
         if name.endswith("_") and not name.startswith("_") and inspect.unwrap(twin).__name__ == name[:-1]}
AUGMENTED = {name: getattr(Tensor, name) for name in dir(Tensor)
             if name.startswith("__i") and name != "__idiv__" and hasattr(getattr(Tensor, name), "__wrapped__")}

# What Python itself puts into a class.
IMPLICIT = {"__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__static_attributes__",
            "__firstlineno__", "__annotate__", "__annotate_func__", "__annotations_cache__"}


def written(cls: type) -> set[str]:
    """The names that the source of a class defines in its body, and its slots."""
    tree = ast.parse(Path(inspect.getfile(cls)).read_text(encoding="utf-8"))
    body = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == cls.__name__).body
    names = set(vars(cls).get("__slots__", ()))
    for node in [inner for n in body for inner in (n.body if isinstance(n, ast.If) else [n])]:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {t.id for t in node.targets if isinstance(t, ast.Name)}
    return names


def attached(cls: type) -> set[str]:
    """The attributes of a class that its body does not define."""
    return set(vars(cls)) - IMPLICIT - written(cls)


def functions_of(value: Any) -> list[Any]:
    """The functions behind an attribute of a class: a property has up to three."""
    if isinstance(value, property):
        return [f for f in (value.fget, value.fset, value.fdel) if f is not None]
    if isinstance(value, staticmethod | classmethod):
        return [value.__func__]
    return [value] if inspect.isfunction(value) else []


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_nothing_is_attached_from_outside(cls: type) -> None:
    assert not attached(cls)
    for name, value in vars(cls).items():
        for function in functions_of(value):
            # Python's argument errors name Tensor, whichever class the function stands in
            home, module = ("Tensor", Tensor.__module__) if issubclass(Tensor, cls) else (cls.__name__, cls.__module__)
            assert function.__qualname__ in (f"{home}.{function.__name__}", f"{cls.__name__}.{function.__name__}"), name
            assert function.__module__ in (module, cls.__module__, "minigrad.tensor.definition"), name


class Planted(Tensor):
    """A class that something is attached to."""

    def here(self) -> Tensor:
        return self


Planted.later = Planted.here  # type: ignore[attr-defined]


def test_the_check_sees_what_is_attached() -> None:
    assert attached(Planted) == {"later"}


def test_no_class_hides_a_typing_mistake() -> None:
    for cls in CLASSES:
        assert "__getattribute__" not in vars(cls), cls
        assert "__getattr__" not in vars(cls) or cls.__name__ == "TensorBase", "which makes what a shell lacks"
    with pytest.raises(AttributeError, match="'Tensor' object has no attribute 'nonsense'"):
        _ = minigrad.ones(1).nonsense  # type: ignore[attr-defined]


def test_no_two_mixins_define_one_name() -> None:
    seen: dict[str, str] = {}
    for cls in CLASSES:
        for name in set(vars(cls)) - IMPLICIT - {"__slots__"}:
            assert seen.setdefault(name, cls.__name__) == cls.__name__, name


def test_every_class_and_public_method_says_what_it_is() -> None:
    for cls in CLASSES:
        assert cls.__doc__
        for name, value in vars(cls).items():
            if not name.startswith("_") and (callable(value) or isinstance(value, property)):
                assert value.__doc__, f"{cls.__name__}.{name}"


def test_mixins_cost_no_memory() -> None:
    assert all(vars(c)["__slots__"] == () for c in CLASSES if c.__name__ != "TensorBase")


@pytest.mark.parametrize("name", sorted(TWINS))
def test_a_twin_has_its_method_s_signature(name: str) -> None:
    twin, plain = TWINS[name], getattr(Tensor, name[:-1])
    assert inspect.signature(twin) == inspect.signature(plain)
    assert inspect.unwrap(twin) is inspect.unwrap(plain)
    assert twin.__name__ == f"{plain.__name__}_" and twin.__qualname__ == f"{plain.__qualname__}_"
    assert twin.__doc__ == f"``{plain.__name__}`` in place; returns self."


def test_the_twins_are_all_there() -> None:
    assert len(TWINS) >= 80 and len(AUGMENTED) == 12


@pytest.mark.parametrize("name", sorted(AUGMENTED))
def test_an_augmented_operator_has_its_operator_s_signature(name: str) -> None:
    augmented, operator = AUGMENTED[name], getattr(Tensor, name.replace("__i", "__", 1))
    assert augmented.__wrapped__ is operator and augmented.__name__ == name
    assert inspect.signature(augmented) == inspect.signature(operator)


def test_functions_are_the_methods_of_their_names() -> None:
    count = 0
    for name, function in FUNCTIONS.items():
        method = inspect.unwrap(function)
        if method is not function and method.__qualname__.partition(".")[0] in {c.__name__ for c in CLASSES}:
            assert inspect.unwrap(getattr(Tensor, name)) is method, name
            count += 1
    assert count > 150


def test_help_shows_the_signature() -> None:
    text = inspect.getdoc(Tensor.add_)
    assert text == "``add`` in place; returns self."
    assert str(inspect.signature(Tensor.add_)) == "(self: 'Tensor', other: 'Any', *, alpha: 'Any' = 1) -> 'Tensor'"


def test_ops_and_views_make_the_whole_class() -> None:
    x = minigrad.ones(2, 2, requires_grad=True)
    (x * x).sum().backward()
    squeezed = minigrad.ones(2, 1)
    squeezed.squeeze_(1)
    for t in (x, x + 1, x[0], x.detach(), x.grad, x.T, Tensor(2), Tensor([1.0]), minigrad.FloatTensor(2), squeezed,
              squeezed._base):
        assert t is None or type(t) is Tensor
    assert f"{minigrad.tensor(2.0):.1f}" == "2.0"


def test_a_subclass_keeps_its_class() -> None:
    class Mine(Tensor):
        pass

    assert type(Mine(2)) is Mine and type(Mine([1.0])) is Mine
    with pytest.raises(TypeError, match="unsupported format string"):
        format(Mine(1), ".2f")


def test_floats_wrap_in_small_integers() -> None:
    x = minigrad.tensor([-1.5, 300.7, 70000.0, float("nan")])
    assert x.to(minigrad.uint8).tolist() == [255, 44, 112, 0]
    assert x.to(minigrad.int8).tolist() == [-1, 44, 112, 0]
    assert x.double().to(minigrad.int16).tolist() == [-1, 300, 4464, 0]
    assert minigrad.tensor([-3.0]).half().byte().tolist() == [253]
    y = minigrad.zeros(4, dtype=minigrad.uint8)
    y[:] = x
    assert y.tolist() == [255, 44, 112, 0]
    assert minigrad.zeros(4, dtype=minigrad.uint8).copy_(x).tolist() == [255, 44, 112, 0]


def test_types_of_one_dtype() -> None:
    x = minigrad.tensor([1.5, -2.5])
    for kind, dtype in ((minigrad.FloatTensor, minigrad.float32), (minigrad.DoubleTensor, minigrad.float64),
                        (minigrad.LongTensor, minigrad.int64), (minigrad.BoolTensor, minigrad.bool)):
        assert x.type(kind).dtype is dtype and isinstance(x.type(kind), kind) and kind.dtype is dtype
        assert isinstance(x, kind) == (dtype is minigrad.float32) and kind(2, 3).shape == (2, 3)
    assert minigrad.LongTensor([1, 2]).tolist() == [1, 2] and x.type(Tensor).dtype is minigrad.float32
    with pytest.raises(ValueError, match="invalid type: 'Foo'"):
        x.type("Foo")
    with pytest.raises(ValueError, match="invalid type: 'int'"):
        x.type(int)
    with pytest.raises(TypeError, match="dtype must be a type, str, or dtype object"):
        x.type(3)
