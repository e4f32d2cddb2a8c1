"""Stage: serialization. In: a storage, or the place that a checkpoint names for one. Out: the name of its place, or the
storage brought there; ``map_location`` as users give it.
Next: ``rebuild.py``."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from minigrad.errors import DeviceUnavailable
from minigrad.runtime.device import get_device
from minigrad.tensor import device
from minigrad.tensor.storages import UntypedStorage

Tagger = Callable[[Any], str | None]
Deserializer = Callable[[Any, str], Any]
Restore = Callable[[UntypedStorage, str], Any]

_registry: list[tuple[int, Tagger, Deserializer]] = []


def register_package(priority: int, tagger: Tagger, deserializer: Deserializer) -> None:
    """Add a kind of place: ``tagger(storage)`` gives its name for a storage that is there, else None, and
    ``deserializer(storage, name)`` the storage brought there, or None if the name is not of this kind. Those of the
    lowest ``priority`` are asked first."""
    _registry.append((priority, tagger, deserializer))
    _registry.sort(key=lambda row: row[0])


def _cpu_tag(storage: Any) -> str | None:
    return "cpu" if storage.device.type == "cpu" else None


def _cpu_restored(storage: Any, location: str) -> Any:
    return storage.cpu() if location == "cpu" else None


def _tag(storage: Any) -> str:
    return str(storage.device)


def _meta_restored(storage: Any, location: str) -> Any:
    if location == "meta":
        raise NotImplementedError("the device meta: tensors without data")
    return None


def _restored(storage: Any, location: str) -> Any:
    """On a device of ours. ``RuntimeError`` if this machine has none."""
    try:
        found = device(location)
    except (RuntimeError, ValueError):
        return None
    kind = found.type
    try:
        get_device(found.name)
    except DeviceUnavailable as error:
        hint = ("If you are running on a CPU-only machine, please use torch.load with "
                "map_location=torch.device('cpu') to map your storages to the CPU.")
        if found.index:
            raise RuntimeError(f"Attempting to deserialize object on {kind.upper()} device {found.index} but there is "
                               f"none. Please use torch.load with map_location to map your storages to an existing "
                               f"device. ({error})") from None
        raise RuntimeError(f"Attempting to deserialize object on a {kind.upper()} device but torch.{kind}."
                           f"is_available() is False. {hint}") from None
    return storage.to(device=found)


register_package(10, _cpu_tag, _cpu_restored)
register_package(22, lambda storage: None, _meta_restored)
register_package(23, _tag, _restored)


def location_tag(storage: Any) -> str:
    """The name of the place where a storage is, ``"cpu"`` or ``"cuda:0"``."""
    for _, tagger, _ in _registry:
        location = tagger(storage)
        if location:
            return location
    raise RuntimeError(f"don't know how to determine data location of torch.storage.{type(storage).__name__}")


def default_restore_location(storage: Any, location: str) -> Any:
    """A storage brought to the named place. ``RuntimeError`` if nothing of that name is known or at hand."""
    for _, _, deserializer in _registry:
        result = deserializer(storage, location)
        if result is not None:
            return result
    raise RuntimeError(f"don't know how to restore data location of torch.storage.{type(storage).__name__} (tagged "
                       f"with {location})")


def restorer(map_location: Any) -> Restore:
    """What ``map_location`` asks for, as a function of a storage and the place it was saved from."""
    if map_location is None:
        return default_restore_location
    if isinstance(map_location, dict):
        return lambda storage, location: default_restore_location(storage, map_location.get(location, location))
    if isinstance(map_location, str | bytes | device):
        place = map_location.decode() if isinstance(map_location, bytes) else str(map_location)
        place = re.sub(r"^cpu:0$", "cpu", place)
        return lambda storage, location: default_restore_location(storage, place)

    def called(storage: UntypedStorage, location: str) -> Any:
        result = map_location(storage, location)
        return default_restore_location(storage, location) if result is None else result

    return called
