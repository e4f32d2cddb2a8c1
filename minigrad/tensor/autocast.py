"""Stage: front. In: the operands of an op, inside ``minigrad.amp.autocast``. Out: the operands in the type that the op
is computed in there: a half type where that is fast and safe, float32 where it is not.
Next: ``function.py``.

The tables are PyTorch's: https://docs.pytorch.org/docs/stable/amp.html#autocast-op-reference
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minigrad.autograd.mode import mode
from minigrad.dtype import DType, float32, float64

if TYPE_CHECKING:
    from minigrad.tensor.tensor_class import Tensor

LOWER, FLOAT32, WIDEST, INPUT = "lower", "float32", "widest", "input"
"""What the operands become: the half type that was asked for; float32; the widest of their types; the type of the first
of them. Other than floating-point numbers, and float64, stay as they are."""

_PRODUCTS = (
    "mm", "matmul", "bmm", "addmm", "baddbmm", "addbmm", "linear", "convolution", "transposed_convolution", "prelu",
    "scaled_dot_product_attention", "attention_weights", "into_heads", "out_of_heads", "weigh", "lstm", "rnn_tanh",
    "rnn_relu", "rnn_tanh_cell", "rnn_relu_cell", "multi_dot")
_LOSSES = (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "nll_loss", "kl_div", "kl_div_of_logs",
    "poisson_nll_loss", "hinge_embedding_loss", "cosine_embedding_loss", "margin_ranking_loss", "soft_margin_loss",
    "triplet_margin_loss", "multi_margin_loss", "multilabel_margin_loss", "binary_cross_entropy_with_logits",
    "cdist")
_ON_CPU = (
    "binary_cross_entropy", "ctc_loss", "cross_entropy", "avg_pool3d", "max_pool3d",
    "adaptive_avg_pool3d", "adaptive_max_pool3d", "fractional_max_pool2d", "fractional_max_pool3d", "max_unpool1d",
    "max_unpool2d", "max_unpool3d", "reflection_pad1d", "reflection_pad2d", "replication_pad1d",
    "replication_pad2d", "replication_pad3d", "local_response_norm", "grid_sample", "prod", "trace", "quantile",
    "nanquantile", "inverse", "cholesky", "qr", "svd", "svdvals", "eigh", "eigvalsh", "eig", "eigvals", "lstsq",
    "solve", "cond", "matrix_rank", "cholesky_inverse", "cholesky_solve", "lu_solve", "triangular_solve",
    "householder_product")
_ON_CUDA = (
    "exp", "expm1", "log", "log10", "log2", "log1p", "reciprocal", "rsqrt", "tan", "acos", "asin", "cosh", "sinh",
    "erfinv", "pow", "softplus", "layer_norm", "group_norm", "cosine_similarity", "logsumexp", "prod", "softmax",
    "log_softmax", "cumprod", "cumsum", "norm", "sum", "dist", "pdist", "renorm", "rms_norm")

_ORDINARY: dict[str, str] = {
    **dict.fromkeys(_PRODUCTS, LOWER), **dict.fromkeys(_LOSSES, FLOAT32), "index_copy": WIDEST,
    **dict.fromkeys(("gru", "gru_cell", "lstm_cell"), INPUT)}

_RULES: tuple[dict[str, str], dict[str, str]] = (
    {**_ORDINARY, **dict.fromkeys(_ON_CPU, FLOAT32)},
    {**_ORDINARY, **dict.fromkeys(_ON_CUDA, FLOAT32), **dict.fromkeys(("mv", "addmv", "addr"), LOWER),
     **dict.fromkeys(("dot", "bilinear", "scatter", "index_put"), WIDEST), "lstm_cell": LOWER, "gru_cell": LOWER},
)
"""By name of the op, what its operands become on processors and on NVIDIA GPUs."""

CPU, CUDA = 0, 1

Rule = tuple[str | None, str | None]
"""What the operands of an op become on processors, and on NVIDIA GPUs."""


def rule_of(name: str) -> Rule | None:
    """The rule of the op called ``name``; None for most ops, which take their operands as they are."""
    found = (_RULES[CPU].get(name), _RULES[CUDA].get(name))
    return None if found == (None, None) else found


def kind_of(device: str) -> int:
    """CUDA for one of NVIDIA's GPUs, CPU for all other devices.

    >>> kind_of("CUDA:1"), kind_of("OPENCL")
    (1, 0)
    """
    return CUDA if device.upper().startswith("CUDA") else CPU


def casted(rule: Rule, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The operands of an op with this rule, inside ``autocast``."""
    on = [(i, t) for i, t in enumerate(tensors) if t.dtype.is_float and t.dtype is not float64]
    active = mode.autocast
    if not on or active is None:
        return tensors
    kind = kind_of(on[0][1]._pending().device)
    lower, how = active[kind], rule[kind]
    if lower is None or how is None:
        return tensors
    dtype = _wanted(how, lower, [t.dtype for _, t in on])
    result = list(tensors)
    for i, t in on:
        if t.dtype is not dtype:
            result[i] = t.to(dtype)
    return tuple(result)


def _wanted(how: str, lower: DType, dtypes: Sequence[DType]) -> DType:
    if how == LOWER:
        return lower
    if how == INPUT:
        return dtypes[0]
    return float32 if how == FLOAT32 or float32 in dtypes else dtypes[0]


def operands_of(name: str, *tensors: Any) -> Sequence[Any]:
    """The operands of an op that is made of several others; it has to be rounded at the beginning, not in each.

    >>> import minigrad
    >>> with minigrad.amp.autocast("cpu", minigrad.bfloat16):
    ...     a, = operands_of("addmm", minigrad.ones(2))
    >>> a.dtype
    minigrad.bfloat16
    """
    if mode.autocast is None:
        return tensors
    rule = rule_of(name)
    if rule is None:
        return tensors
    given = iter(casted(rule, [t for t in tensors if t is not None]))
    return [None if t is None else next(given) for t in tensors]
