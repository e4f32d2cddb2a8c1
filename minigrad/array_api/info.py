"""Stage: array API. In: nothing. Out: what this library can do: dtypes, devices, capabilities.
Source: https://data-apis.org/array-api/latest/API_specification/inspection.html
Next: ``elementwise.py``."""

from __future__ import annotations

from typing import Any

from minigrad.array_api.data_types import DTYPES, isdtype
from minigrad.dtype import DType, int64
from minigrad.runtime.device import devices as _devices
from minigrad.tensor import device as _device
from minigrad.tensor import get_default_device, get_default_dtype


class Info:
    """What ``__array_namespace_info__()`` gives.

    >>> from minigrad import array_api
    >>> array_api.__array_namespace_info__().capabilities()["boolean indexing"]
    True
    """

    def capabilities(self) -> dict[str, Any]:
        """What is optional in the standard, and whether it is here."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": None}

    def default_device(self) -> Any:
        """The device of new arrays."""
        return get_default_device()

    def default_dtypes(self, *, device: Any = None) -> dict[str, DType]:
        """The dtypes of new arrays of Python numbers, and of indices."""
        real = get_default_dtype()
        found = {"real floating": real, "integral": int64, "indexing": int64}
        complex_ = next((d for d in DTYPES if d.is_complex and d.size == 2 * real.size), None)
        if complex_ is not None:
            found["complex floating"] = complex_
        return found

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, DType]:
        """The dtypes of a kind, by name; see ``isdtype``."""
        return {d.name: d for d in DTYPES if kind is None or isdtype(d, kind)}

    def devices(self) -> tuple[Any, ...]:
        """The devices of this machine."""
        return tuple([_device(found.name.lower()) for found in _devices() if found.available])


def __array_namespace_info__() -> Info:
    """What this library can do."""
    return Info()
