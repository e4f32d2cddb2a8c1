"""Stage: everywhere. In: a class with annotated fields. Out: a named tuple of them.
Next: ``lazily.py``."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, ClassVar, Self, dataclass_transform


@dataclass_transform(frozen_default=True)
class Record(tuple[Any, ...]):
    """A tuple with named fields, as ``typing.NamedTuple`` makes them, for classes that every ``import minigrad``
    defines: this takes 10 µs, a NamedTuple of eight fields 100 to 200 (its annotations are texts, and it compiles each)
    and a dataclass 330.

    >>> class Point(Record):
    ...     x: int
    ...     y: int = 0
    >>> Point(1, y=2).y, Point(3), Point(3) == Point(3, 0)
    (2, Point(x=3, y=0), True)
    >>> Point(y=2)
    Traceback (most recent call last):
    TypeError: Point() takes x, y=0
    """

    _fields: ClassVar[tuple[str, ...]]
    _defaults: ClassVar[dict[str, Any]]

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(cls.__annotations__)
        cls._defaults = {name: vars(cls)[name] for name in cls._fields if name in vars(cls)}
        for place, name in enumerate(cls._fields):
            setattr(cls, name, property(itemgetter(place)))

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """One with these fields."""
        if named or len(values) != len(cls._fields):
            defaults = cls._defaults
            left = [name for name in cls._fields[len(values):] if name in named or name in defaults]
            values += tuple([named.pop(name) if name in named else defaults[name] for name in left])
            if named or len(values) != len(cls._fields):
                shown = [f"{n}={defaults[n]!r}" if n in defaults else n for n in cls._fields]
                raise TypeError(f"{cls.__name__}() takes {', '.join(shown)}")
        return super().__new__(cls, values)

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        fields = [f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True)]
        return f"{type(self).__name__}({', '.join(fields)})"

    def replaced(self, **changes: Any) -> Self:
        """The same with other values of these fields."""
        kept = [changes.pop(name, value) for name, value in zip(self._fields, self, strict=True)]
        return type(self)(*kept, **changes)
