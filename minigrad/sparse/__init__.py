"""Stage: front. In: indices and values. Out: ``torch.sparse``: functions of sparse tensors. Importing it makes calls of
Tensors look for sparse arguments.
Next: ``base.py``."""

from __future__ import annotations

from typing import Any

from minigrad.sparse.base import SparseTensor
from minigrad.sparse.compressed import CompressedTensor
from minigrad.sparse.coordinates import CoordinateTensor
from minigrad.sparse.creation import (
    TYPES,
    check_sparse_tensor_invariants,
    masked_by,
    sparse_bsc_tensor,
    sparse_bsr_tensor,
    sparse_compressed_tensor,
    sparse_coo_tensor,
    sparse_csc_tensor,
    sparse_csr_tensor,
    to_layout,
)
from minigrad.sparse.elementwise import add, mul
from minigrad.sparse.products import addmm, hspmm, mm, sampled_addmm, smm, spdiags, sspaddmm
from minigrad.sparse.reductions import log_softmax, softmax, sum
from minigrad.tensor.arguments import explain_functions, explain_methods

spmm = mm

__all__ = [
    "CompressedTensor", "CoordinateTensor", "SparseTensor", "add", "addmm", "check_sparse_tensor_invariants", "hspmm",
    "log_softmax", "masked_by", "mm", "mul", "sampled_addmm", "smm", "softmax", "sparse_bsc_tensor",
    "sparse_bsr_tensor", "sparse_compressed_tensor", "sparse_coo_tensor", "sparse_csc_tensor", "sparse_csr_tensor",
    "spdiags", "spmm", "spsolve", "sspaddmm", "sum", "to_layout",
]


def spsolve(input: Any, other: Any, *, left: bool = True) -> Any:
    """``NotImplementedError``: there is no solver for sparse systems; PyTorch has one for CUDA alone."""
    raise NotImplementedError("spsolve: there is no solver for sparse systems; use linalg.solve(input.to_dense(), …)")


def __getattr__(name: str) -> Any:
    """``torch.sparse.FloatTensor`` and its like."""
    if name in TYPES:
        return TYPES[name]
    raise AttributeError(f"module 'minigrad.sparse' has no attribute {name!r}")


explain_functions(globals())
explain_methods(CoordinateTensor)
explain_methods(CompressedTensor)
