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


FIELDS = {
    "max": "values indices",
    "min": "values indices",
    "median": "values indices",
    "mode": "values indices",
    "sort": "values indices",
    "topk": "values indices",
    "kthvalue": "values indices",
    "cummax": "values indices",
    "cummin": "values indices",
    "aminmax": "min max",
    "nanmedian": "values indices",
    "frexp": "mantissa exponent",
    "histogram": "hist bin_edges",
    "histogramdd": "hist bin_edges",
    "slogdet": "sign logabsdet",
    "qr": "Q R",
    "svd": "U S V",
    "geqrf": "a tau",
    "lu_unpack": "P L U",
    "triangular_solve": "solution cloned_coefficient",
    "_lu_with_info": "LU pivots info",
    "linalg_cholesky_ex": "L info",
    "linalg_eig": "eigenvalues eigenvectors",
    "linalg_eigh": "eigenvalues eigenvectors",
    "linalg_inv_ex": "inverse info",
    "linalg_ldl_factor": "LD pivots",
    "linalg_ldl_factor_ex": "LD pivots info",
    "linalg_lstsq": "solution residuals rank singular_values",
    "linalg_lu": "P L U",
    "linalg_lu_factor": "LU pivots",
    "linalg_lu_factor_ex": "LU pivots info",
    "linalg_qr": "Q R",
    "linalg_slogdet": "sign logabsdet",
    "linalg_solve_ex": "result info",
    "linalg_svd": "U S Vh",
}
"""Of each type its fields. The types are made when they are first asked for."""


def __getattr__(name: str) -> type[ReturnType]:
    """The type of that name: ``return_types.max``."""
    if name not in FIELDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    fields = tuple(FIELDS[name].split())
    members = {f: _field(i) for i, f in enumerate(fields)}
    made = type(name, (ReturnType,), {"fields": fields, "__module__": __name__, **members})
    return globals().setdefault(name, made)  # another thread may have been first


def __dir__() -> list[str]:
    return [*globals(), *FIELDS]
