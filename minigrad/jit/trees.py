"""Stage: front. In: arguments or results: Tensors in lists, tuples, dictionaries and dataclasses, and other values.
Out: the Tensors, and the structure around them, which can be compared and filled again.
Next: ``surroundings.py``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from minigrad.dtype import DType
from minigrad.tensor import Size, Tensor, device

PLAIN = (type(None), bool, int, float, complex, str, bytes, DType, type, type(...), slice, range, Size, device)


def is_plain(value: Any) -> bool:
    """Whether equal values of this kind may stand for each other.

    >>> is_plain((1, "a", None)), is_plain([1])
    (True, False)
    """
    kind = type(value)
    return kind in PLAIN or (kind is tuple and all([is_plain(v) for v in value])) or isinstance(value, type)


def equal(a: Any, b: Any) -> bool:
    """Whether plain values are the same in type and value; NaN is itself, 0.0 is not -0.0.

    >>> equal(1, 1.0), equal(0.0, -0.0), equal((2, 3), (2, 3))
    (False, False, True)
    """
    if a is b:
        return True
    if type(a) is not type(b) or not is_plain(a):
        return False
    if type(a) is tuple:
        return len(a) == len(b) and all([equal(x, y) for x, y in zip(a, b, strict=True)])
    if type(a) is float:
        return (a == b and math.copysign(1.0, a) == math.copysign(1.0, b)) or (a != a and b != b)
    return bool(a == b)


class Static:
    """A value that is no Tensor, as a part of a structure: compared by value if it is plain, else by identity."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return type(other) is Static and equal(self.value, other.value)

    def __hash__(self) -> int:
        value = self.value
        return hash((type(value), repr(value))) if is_plain(value) else id(value)

    def __repr__(self) -> str:
        return repr(self.value)


class Branch:
    """A container as a part of a structure: its type, its keys and its parts."""

    __slots__ = ("keys", "kind", "parts")

    def __init__(self, kind: type, keys: tuple[Any, ...] | None, parts: tuple[Any, ...]) -> None:
        self.kind, self.keys, self.parts = kind, keys, parts

    def _content(self) -> tuple[Any, ...]:
        return self.kind, self.keys, self.parts

    def __eq__(self, other: object) -> bool:
        return type(other) is Branch and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())


TENSOR = "a tensor"


def flatten(value: Any, tensors: list[Tensor]) -> Any:
    """The structure of ``value``; its Tensors are appended to ``tensors``."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return TENSOR
    kind = type(value)
    if kind in PLAIN:
        return Static(value)
    if isinstance(value, list | tuple):
        return Branch(kind, None, tuple([flatten(v, tensors) for v in value]))
    if isinstance(value, dict):
        return Branch(kind, tuple(value), tuple([flatten(v, tensors) for v in value.values()]))
    if is_dataclass(value) and not isinstance(value, type):
        names = tuple([f.name for f in fields(value) if f.init])
        return Branch(kind, names, tuple([flatten(getattr(value, name), tensors) for name in names]))
    return Static(value)


def fill(structure: Any, tensors: Iterator[Tensor]) -> Any:
    """The value of this structure with these Tensors.

    >>> found = []
    >>> structure = flatten({"a": [1, Tensor(2)]}, found)
    >>> fill(structure, iter(found))["a"][0]
    1
    """
    if structure is TENSOR:
        return next(tensors)
    if type(structure) is Static:
        return structure.value
    parts = [fill(part, tensors) for part in structure.parts]
    kind, keys = structure.kind, structure.keys
    if keys is None:
        return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
    if issubclass(kind, dict):
        made = kind() if kind is dict or not hasattr(kind, "__missing__") else kind(None)
        made.update(zip(keys, parts, strict=True))
        return made
    return kind(**dict(zip(keys, parts, strict=True)))


def statics(structure: Any) -> Iterator[Any]:
    """The values in a structure that are no Tensors."""
    if type(structure) is Static:
        yield structure.value
    elif structure is not TENSOR:
        for part in structure.parts:
            yield from statics(part)
