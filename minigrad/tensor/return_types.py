"""Stage: front. In: several results of one op. Out: named tuples that unpack, index and print as PyTorch's.
Next: ``extrema.py``."""

from __future__ import annotations

from typing import Any

from minigrad.tensor.printing import format_return_type


class ReturnType(tuple[Any, ...]):
    """A tuple whose fields have names."""

    fields: tuple[str, ...] = ()

    def __new__(cls, *values: Any) -> ReturnType:
        if len(values) == 2 and isinstance(values[1], dict):  # what ``__reduce__`` gives
            values = values[:1]
        if len(values) == 1 and len(cls.fields) != 1:
            values = tuple(values[0])
        return super().__new__(cls, values)

    def __repr__(self) -> str:
        return format_return_type(type(self).__name__, list(zip(self.fields, map(repr, self), strict=True)))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (tuple(self), {})


def _field(position: int) -> property:
    return property(lambda self: self[position])


def _return_type(name: str, *fields: str) -> type[ReturnType]:
    members = {f: _field(i) for i, f in enumerate(fields)}
    return type(name, (ReturnType,), {"fields": fields, "__module__": __name__, **members})


max = _return_type("max", "values", "indices")
min = _return_type("min", "values", "indices")
median = _return_type("median", "values", "indices")
mode = _return_type("mode", "values", "indices")
sort = _return_type("sort", "values", "indices")
topk = _return_type("topk", "values", "indices")
kthvalue = _return_type("kthvalue", "values", "indices")
cummax = _return_type("cummax", "values", "indices")
cummin = _return_type("cummin", "values", "indices")
aminmax = _return_type("aminmax", "min", "max")
nanmedian = _return_type("nanmedian", "values", "indices")
frexp = _return_type("frexp", "mantissa", "exponent")
histogram = _return_type("histogram", "hist", "bin_edges")
histogramdd = _return_type("histogramdd", "hist", "bin_edges")
slogdet = _return_type("slogdet", "sign", "logabsdet")
qr = _return_type("qr", "Q", "R")
svd = _return_type("svd", "U", "S", "V")
