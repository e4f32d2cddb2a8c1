"""Stage: front. In: matrices. Out: ``torch.linalg``'s names: factors, inverses, spectra, solutions of systems, norms,
each with ``out=``. The formulas are in ``minigrad/tensor/lapack/``.
Next: ``minigrad/fft/``.

>>> import minigrad
>>> minigrad.linalg.cholesky(minigrad.tensor([[9.0]]))
tensor([[3.]])
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from minigrad.autograd.mode import mode
from minigrad.errors import LinAlgError
from minigrad.tensor import FUNCTIONS, Tensor
from minigrad.tensor.arguments import explain_functions
from minigrad.tensor.autocast import operands_of, rule_of
from minigrad.tensor.definition import numpy_names
from minigrad.tensor.lapack import factors, inverses, norms, products, ranks, spectra, triangles
from minigrad.tensor.operands import require_tensor
from minigrad.tensor.outputs import into
from minigrad.tensor.promotion import c_name, can_cast, type_name

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh",
    "householder_product", "inv", "inv_ex", "ldl_factor", "ldl_factor_ex", "ldl_solve", "lstsq", "lu", "lu_factor",
    "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "multi_dot",
    "norm", "pinv", "qr", "slogdet", "solve", "solve_ex", "solve_triangular", "svd", "svdvals", "tensorinv",
    "tensorsolve", "vander", "vecdot", "vector_norm",
]

_CASTING = {"pinv": "linalg.pinv", "cond": "linalg.cond", "matrix_rank": "linalg.matrix_rank", "tensorinv": "tensorinv",
            "householder_product": "torch.linalg.householder_product", "tensorsolve": "tensorsolve",
            "eig": "torch.linalg.eig", "eigvals": "torch.linalg.eigvals"}
"""Functions whose results are cast to the type of ``out``, and their names in messages; for others it must be the
result's."""

F = TypeVar("F", bound=Callable[..., Any])

_NAMES_IN_AUTOCAST = {"inv": "inverse"}


def _public(made: F, autocast: str = "") -> F:
    """The function with ``out=``; its first argument may be called ``input``, too."""
    name = made.__name__
    first = next(iter(inspect.signature(made).parameters))
    rule = autocast or _NAMES_IN_AUTOCAST.get(name, name)
    casts = rule_of(rule) is not None

    @wraps(made)
    def public(*args: Any, **kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        if "input" in kwargs and first != "input":
            kwargs[first] = kwargs.pop("input")
        if args and first != "tensors":
            require_tensor(args[0], f"linalg_{name}", first, 1)
        if out is not None and mode.enabled and any([isinstance(a, Tensor) and a.requires_grad for a in args]):
            raise RuntimeError(f"linalg_{name}(): functions with out=... arguments don't support automatic "
                               "differentiation, but one of the arguments requires grad.")
        if casts:
            args = tuple([operands_of(rule, a)[0] if isinstance(a, Tensor) else a for a in args])
        result = made(*args, **kwargs)
        return result if out is None else _stored(out, result, name)

    signature = inspect.signature(made)
    extra = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Any)
    public.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), extra])
    public.__module__ = __name__
    return cast(F, numpy_names(public))


def _stored(out: Any, result: Any, name: str) -> Any:
    """The result in the tensors that ``out`` names. ``TypeError`` unless there are as many, ``RuntimeError`` for other
    types."""
    given, made = (out, result) if isinstance(result, tuple) else ((out,), (result,))
    if len(given) != len(made):
        raise TypeError(f"expected tuple of {len(made)} elements but got {len(given)}")
    for place, value in zip(given, made, strict=True):
        if name in _CASTING:
            if not can_cast(value.dtype, place.dtype):
                what = "eigenvalues" if name.startswith("eig") else "result"
                raise RuntimeError(f"{_CASTING[name]}: Expected {what} to be safely castable from "
                                   f"{type_name(value.dtype)} "
                                   f"dtype, but got {what} with dtype {type_name(place.dtype)}")
        elif place.dtype is not value.dtype:
            raise RuntimeError(f"Expected out tensor to have dtype {c_name(value.dtype)}, but got "
                               f"{c_name(place.dtype)} instead")
    return into(out, result, f"linalg_{name}")


cholesky, cholesky_ex = _public(triangles.cholesky), _public(triangles.cholesky_ex)
solve_triangular = _public(triangles.solve_triangular)
lu, lu_factor, lu_factor_ex = _public(factors.lu), _public(factors.lu_factor), _public(factors.lu_factor_ex)
lu_solve = _public(factors.lu_solve)
ldl_factor, ldl_factor_ex = _public(factors.ldl_factor), _public(factors.ldl_factor_ex)
ldl_solve = _public(factors.ldl_solve)
qr, householder_product = _public(factors.qr), _public(factors.householder_product)
inv, inv_ex = _public(inverses.inv), _public(inverses.inv_ex)
solve, solve_ex = _public(inverses.solve), _public(inverses.solve_ex)
tensorinv, tensorsolve = _public(inverses.tensorinv), _public(inverses.tensorsolve)
det, slogdet = _public(inverses.det), _public(inverses.slogdet)
matrix_power, matrix_exp = _public(inverses.matrix_power), _public(inverses.matrix_exp)
eigh, eigvalsh = _public(spectra.eigh), _public(spectra.eigvalsh)
eig, eigvals = _public(spectra.eig), _public(spectra.eigvals)
svd, svdvals = _public(spectra.svd), _public(spectra.svdvals)
pinv, matrix_rank = _public(ranks.pinv), _public(ranks.matrix_rank)
lstsq, cond = _public(ranks.lstsq), _public(ranks.cond)
vector_norm, matrix_norm, norm = _public(norms.vector_norm), _public(norms.matrix_norm), _public(norms.norm)
vecdot, cross, vander = _public(products.vecdot), _public(products.cross), _public(products.vander)
multi_dot = _public(products.multi_dot)
matmul = FUNCTIONS["matmul"]


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The elements [i, i + offset] of the matrices in two dimensions, in a new last dimension: a view, of any dtype. Of
    A (*, n, n) it is (*, n - |offset|).

    ``IndexError`` for dimensions that A does not have. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.linalg.diagonal.html

    >>> import minigrad
    >>> diagonal(minigrad.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """
    return A.diagonal(offset, dim1, dim2)


explain_functions(globals())
