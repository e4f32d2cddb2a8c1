"""Stage: front. In: sizes and device names as users write them. Out: ``Size`` and ``device``, which print as
PyTorch's.
Next: ``layouts.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache, partial
from math import prod
from operator import index
from typing import Any, SupportsIndex, overload

from minigrad import config
from minigrad.dtype import shown
from minigrad.runtime.device import Device, device_class, device_name, get_device


class Size(tuple[int, ...]):
    """The shape of a Tensor: a tuple that knows its number of elements.

    >>> Size([2, 3]), Size([2, 3]).numel(), Size([2, 3])[1:]
    (minigrad.Size([2, 3]), 6, minigrad.Size([3]))
    >>> Size([2, 3.0])
    Traceback (most recent call last):
    TypeError: Size() takes an iterable of 'int' (item 1 is 'float')
    """

    __slots__ = ()

    def __new__(cls, sizes: Iterable[Any] = ()) -> Size:
        """The sizes, whole numbers of any kind."""
        whole: list[int] = []
        for size in sizes:
            try:
                whole.append(index(size))
            except TypeError:
                raise TypeError(f"Size() takes an iterable of 'int' (item {len(whole)} is '{type(size).__name__}')"
                                ) from None
        return tuple.__new__(cls, whole)

    def __repr__(self) -> str:
        return shown(f"Size([{', '.join(map(str, self))}])")

    __str__ = __repr__

    def numel(self) -> int:
        """The product of the sizes."""
        return prod(self)

    @overload
    def __getitem__(self, at: SupportsIndex) -> int: ...

    @overload
    def __getitem__(self, at: slice) -> Size: ...

    def __getitem__(self, at: Any) -> Any:
        item = tuple.__getitem__(self, at)
        return size_of(item) if type(at) is slice else item

    def __add__(self, other: Any) -> Size:
        return size_of(tuple.__add__(self, Size(other)))

    def __radd__(self, other: Any) -> Size:
        return size_of(tuple.__add__(Size(other), self))

    def __mul__(self, times: Any) -> Size:
        return size_of(tuple.__mul__(self, times))

    __rmul__ = __mul__

    def __reduce__(self) -> tuple[Any, ...]:
        return (Size, (tuple(self),))


size_of: Callable[[tuple[int, ...]], Size] = partial(tuple.__new__, Size)
"""The Size of a shape that is known to be one."""


class device:
    """Where a Tensor lives: ``device("cpu")``, ``device("cpu", 0)``, ``device("cpu:0")``; any case.

    Raises ``RuntimeError`` for a name that no backend registered. As a context it is the default of new tensors.

    >>> device("CPU"), device("cpu").type, device("cpu") == device("CPU")
    (device(type='cpu'), 'cpu', True)
    """

    __slots__ = ("_before", "index", "name", "type")
    name: str
    type: str
    index: int | None

    def __init__(self, type: str | device, index: int | None = None) -> None:
        if isinstance(type, device):
            index = type.index if index is None else index
            type = type.type
        if not isinstance(type, str):
            raise TypeError(f"device() expects a name such as 'cpu', got {type!r}")
        text = type if index is None else f"{type}:{index}"
        self.name = device_name(text)
        self.type = self.name.partition(":")[0].lower()
        given = text.partition(":")[2]
        self.index = int(given) if given else None
        self._before: list[str | None] = []

    def __repr__(self) -> str:
        return f"device(type='{self.type}'{'' if self.index is None else f', index={self.index}'})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and self.name == other.name and (self.index or 0) == (other.index or 0)

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        return device, (self.type,) if self.index is None else (self.type, self.index)

    def __enter__(self) -> device:
        self._before.append(_default[0])
        _default[0] = self.name
        return self

    def __exit__(self, *exception: object) -> None:
        _default[0] = self._before.pop()


_default: list[str | None] = [None]


def set_default_device(to: str | device | None) -> None:
    """The device of new tensors; None goes back to the setting ``DEVICE``."""
    _default[0] = None if to is None else device(to).name


def get_default_device() -> device:
    """The device of new tensors.

    >>> get_default_device()
    device(type='cpu')
    """
    return shown_device(default_device())


def default_device() -> str:
    """The name of the device of new tensors."""
    try:
        return _default[0] or device_name(config.get("DEVICE"))
    except RuntimeError as error:
        raise RuntimeError(f"{error}, which the setting DEVICE asks for") from None


@cache
def shown_device(name: str) -> device:
    """The ``device`` object of a device's name: with an index where there may be several, as ``cuda:0``."""
    several = ":" not in name and device_class(name).count.__func__ is not Device.count.__func__  # type: ignore[attr-defined]
    return device(name, 0) if several else device(name)


def host_device() -> str:
    """The name of the device for memory of the host: the default one if that is its memory, else CPU."""
    name = default_device()
    return name if name == "CPU" or get_device(name).host_memory else "CPU"


def resolve(to: Any) -> str:
    """The name of the device that an argument ``device=`` means; None means the default one, a number that of a GPU.

    Raises ``RuntimeError`` for unknown devices and ``DeviceUnavailable`` for those this machine has not.
    """
    if to is None:
        return default_device()
    if isinstance(to, int) and not isinstance(to, bool):
        to = f"cuda:{to}"
    name = to.name if isinstance(to, device) else device_name(to) if isinstance(to, str) else device(to).name
    if name != "CPU":
        get_device(name)
    return name
