"""Stage: front. In: queries, keys and values. Out: attention: for each query a mean of the values, weighted by how well
their keys fit.
Next: ``dropout.py``."""

from __future__ import annotations

import math
import warnings
from typing import Any

from minigrad.dtype import bool_
from minigrad.nn.composites import attention as formulas
from minigrad.nn.functional.padding import pad
from minigrad.tensor import Tensor, cat, dropout_source, zeros, zeros_like
from minigrad.tensor.promotion import c_name


def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
                                 dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
                                 enable_gqa: bool = False) -> Tensor:
    """softmax(query @ key.T * scale + mask) @ value: (..., L, E), (..., S, E), (..., S, V) to (..., L, V).

    ``scale`` is 1/sqrt(E) unless given. ``attn_mask`` is added to the scores, or if it is bool, True where a query may
    look; with ``is_causal`` query i looks at keys 0 to i. A query that may look nowhere gives 0. With ``enable_gqa``
    fewer heads of keys and values (dimension -3) serve groups of heads of queries. ``dropout_p``: the probability that
    a weight is dropped, whatever the mode. Of the weights nothing is kept for ``backward()`` but the logarithm of each
    row's sum. ``RuntimeError`` for shapes, dtypes and masks that do not fit.
    (https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html)

    >>> import minigrad
    >>> q, v = minigrad.zeros(1, 2, 4), minigrad.tensor([[[1.0], [3.0]]])
    >>> scaled_dot_product_attention(q, q, v, is_causal=True)
    tensor([[[1.],
             [2.]]])
    """
    _check_attention(query, key, value, attn_mask, dropout_p, is_causal)
    grouped = enable_gqa and query.dim() > 2
    if grouped:
        heads = query.size(-3)
        if heads % key.size(-3) or heads % value.size(-3):
            raise RuntimeError("Number of heads in key and value must divide the number of heads in query")
    else:
        _check_products(query, key, value)
    source = None
    if dropout_p > 0:
        batch = query.shape[:-2] if query.dim() >= key.dim() else key.shape[:-2]
        source = dropout_source((*batch, query.size(-2), key.size(-2)), dropout_p, query.device)
    width = query.size(-1)
    result: Tensor = formulas.scaled_dot_product_attention(
        query, key, value, attn_mask, source, causal=is_causal, grouped=grouped, p=float(dropout_p),
        scale=(1 / math.sqrt(width) if width else math.inf) if scale is None else float(scale))[0]
    return result


def _check_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, p: float, causal: bool) -> None:
    if min(query.dim(), key.dim(), value.dim()) < 2:
        raise RuntimeError("Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: "
                           f"{query.dim()} key.dim: {key.dim()} and value.dim: {value.dim()} instead.")
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError("Expected query, key, and value to have the same dtype, but got query.dtype: "
                           f"{c_name(query.dtype)} key.dtype: {c_name(key.dtype)} and value.dtype: "
                           f"{c_name(value.dtype)} instead.")
    if mask is not None:
        if causal:
            raise RuntimeError("_scaled_dot_product_attention: Explicit attn_mask should not be set when "
                               "is_causal=True")
        if mask.dtype is not bool_ and mask.dtype != query.dtype and str(mask.dtype).rpartition(".")[2] != "float32":
            raise RuntimeError("Expected attn_mask dtype to be bool or float or to match query dtype, but got "
                               f"attn_mask.dtype: {c_name(mask.dtype)} and  query.dtype: {c_name(query.dtype)} "
                               "instead.")
    if not 0 <= p <= 1:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {p}")


def _check_products(query: Tensor, key: Tensor, value: Tensor) -> None:
    """Raises PyTorch's errors where the two products can't be made."""
    rank = max(query.dim(), key.dim())
    for other, inner, given in ((key, query.size(-1), key.size(-1)), (value, key.size(-2), value.size(-2))):
        for axis, (m, n) in enumerate(zip(query.shape[:-2][::-1], other.shape[:-2][::-1], strict=False)):
            if m != n and 1 not in (m, n):
                raise RuntimeError(f"The size of tensor a ({m}) must match the size of tensor b ({n}) at non-singleton "
                                   f"dimension {rank - 3 - axis}")
        if inner != given:
            batch = math.prod(query.shape[:-2])
            raise RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: [{batch}, {inner}] but "
                               f"got: [{batch}, {given}].")


# ---- several heads


def _canonical_mask(mask: Tensor | None, mask_name: str, other_type: Any, other_name: str, target_type: Any,
                    check_other: bool = True) -> Tensor | None:
    """A mask that is added to scores: -inf where one of bools says True, that is, where nobody may look."""
    if mask is None:
        return None
    if mask.dtype is not bool_ and not mask.dtype.is_floating_point:
        raise AssertionError(f"only bool and floating types of {mask_name} are supported")
    if check_other and other_type is not None and mask.dtype != other_type:
        warnings.warn(f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type for both "
                      "instead.", stacklevel=3)
    if mask.dtype is bool_:
        return zeros_like(mask, dtype=target_type).masked_fill(mask, -math.inf)
    return mask


def _none_or_dtype(input: Tensor | None) -> Any:
    return None if input is None else input.dtype


def _check_heads(query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None, attn_mask: Tensor | None,
                 num_heads: int) -> bool:
    """Whether there is a batch; ``AssertionError`` for ranks that do not fit."""
    if query.dim() not in (2, 3):
        raise AssertionError("query should be unbatched 2D or batched 3D tensor but received "
                             f"{query.dim()}-D query tensor")
    rank = query.dim()
    word = f"{'batched' if rank == 3 else 'unbatched'} ({rank}-D) `query`"
    if key.dim() != rank or value.dim() != rank:
        raise AssertionError(f"For {word}, expected `key` and `value` to be {rank}-D but found {key.dim()}-D and "
                             f"{value.dim()}-D tensors respectively")
    if key_padding_mask is not None and key_padding_mask.dim() != rank - 1:
        raise AssertionError(f"For {word}, expected `key_padding_mask` to be `None` or {rank - 1}-D but found "
                             f"{key_padding_mask.dim()}-D tensor instead")
    if attn_mask is not None:
        if attn_mask.dim() not in (2, 3):
            raise AssertionError(f"For {word}, expected `attn_mask` to be `None`, 2-D or 3-D but found "
                                 f"{attn_mask.dim()}-D tensor instead")
        expected = (num_heads, query.shape[0], key.shape[0])
        if rank == 2 and attn_mask.dim() == 3 and tuple(attn_mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {attn_mask.shape}")
    return rank == 3


def _check_widths(query: Tensor, key: Tensor, value: Tensor, embed_dim: int, num_heads: int, apart: bool,
                  attn_mask: Tensor | None) -> None:
    length, batch, width = query.shape
    if width != embed_dim:
        raise AssertionError(f"was expecting embedding dimension of {embed_dim}, but got {width}")
    if width % num_heads:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {num_heads}")
    if apart and key.shape[:2] != value.shape[:2]:
        raise AssertionError(f"key's sequence and batch dims {key.shape[:2]} do not match value's {value.shape[:2]}")
    if not apart and key.shape != value.shape:
        raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
    if attn_mask is not None:
        rank = attn_mask.dim()
        wanted = (length, key.shape[0]) if rank == 2 else (batch * num_heads, length, key.shape[0])
        if tuple(attn_mask.shape) != wanted:
            raise RuntimeError(f"The shape of the {rank}D attn_mask is {attn_mask.shape}, but should be {wanted}.")


def multi_head_attention_forward(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int, in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None, add_zero_attn: bool, dropout_p: float,
    out_proj_weight: Tensor, out_proj_bias: Tensor | None, training: bool = True,
    key_padding_mask: Tensor | None = None, need_weights: bool = True, attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Tensor | None = None, k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None, static_k: Tensor | None = None, static_v: Tensor | None = None,
    average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What ``nn.MultiheadAttention`` computes, with its weights as arguments: (L, N, E), (S, N, ...), (S, N, ...) to
    (L, N, E), and the attention weights if they are needed.

    (https://docs.pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html)
    """
    is_batched = _check_heads(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not is_batched:
        query, key, value = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    padding = _canonical_mask(key_padding_mask, "key_padding_mask", _none_or_dtype(attn_mask), "attn_mask", query.dtype)
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint. You may use the Transformer module method "
                           "`generate_square_subsequent_mask` to create this mask.")
    causal = is_causal and padding is None and not need_weights
    mask = None if causal else _canonical_mask(attn_mask, "attn_mask", None, "", query.dtype, check_other=False)
    _check_widths(query, key, value, embed_dim_to_check, num_heads, use_separate_proj_weight, mask)
    given = [q_proj_weight, k_proj_weight, v_proj_weight] if use_separate_proj_weight else [in_proj_weight]
    weights = [weight for weight in given if weight is not None]
    if len(weights) < len(given):
        raise AssertionError("use_separate_proj_weight is True but a projection weight is None"
                             if use_separate_proj_weight else
                             "use_separate_proj_weight is False but in_proj_weight is None")
    if (bias_k is None) != (bias_v is None):
        raise AssertionError("bias_k is set but bias_v is None" if bias_v is None else
                             "bias_v is set but bias_k is None")
    q, k, v = formulas.into_heads(query, key, value, weights, None if in_proj_bias is None else [in_proj_bias],
                                  heads=num_heads)
    k, v, added = _more_keys(k, v, bias_k, bias_v, add_zero_attn, static_k, static_v)
    mask = _merged(mask, padding, added, q.size(0), num_heads)
    p = dropout_p if training else 0.0
    average = None
    if need_weights:
        source = dropout_source((*q.shape[:-1], k.size(-2)), p, q.device) if p > 0 else None
        shares: Tensor = formulas.attention_weights(q, k, mask, source, scale=1 / math.sqrt(q.size(-1)), p=float(p))
        attended = shares @ v
        average = shares.mean(dim=1) if average_attn_weights else shares
        average = average if is_batched else average.squeeze(0)
    else:
        attended = scaled_dot_product_attention(q, k, v, mask, p, causal)
    output: Tensor = formulas.out_of_heads(attended, out_proj_weight, out_proj_bias)
    return output if is_batched else output.squeeze(1), average


def _more_keys(k: Tensor, v: Tensor, bias_k: Tensor | None, bias_v: Tensor | None, add_zero: bool,
               static_k: Tensor | None, static_v: Tensor | None) -> tuple[Tensor, Tensor, int]:
    """Keys and values (N, heads, S, width) with those that are learned, or zero, behind them; how many came to them."""
    batch, heads, _, width = k.shape
    added = 0
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise AssertionError(f"bias cannot be added to static {'key' if static_k is not None else 'value'}.")
        shape = (batch, heads, 1, width)
        k, v = (cat([x, bias.reshape(1, heads, 1, width).expand(shape)], 2)
                for x, bias in ((k, bias_k), (v, bias_v)))
        added += 1
    for name, static in (("static_k", static_k), ("static_v", static_v)):
        if static is not None and static.size(0) != batch * heads:
            raise AssertionError(f"expecting {name}.size(0) of {batch * heads}, but got {static.size(0)}")
        if static is not None and static.size(2) != width:
            raise AssertionError(f"expecting {name}.size(2) of {width}, but got {static.size(2)}")
    k = k if static_k is None else static_k.reshape(batch, heads, -1, width)
    v = v if static_v is None else static_v.reshape(batch, heads, -1, width)
    if add_zero:
        zero = zeros(batch, heads, 1, width, dtype=k.dtype, device=k.device)
        k, v = cat([k, zero], 2), cat([v, zero], 2)
        added += 1
    return k, v, added


def _merged(mask: Tensor | None, padding: Tensor | None, added: int, batch: int, heads: int) -> Tensor | None:
    """One mask of both, which broadcasts to (N, heads, L, S); keys that were added are always seen."""
    if mask is not None:
        mask = pad(mask, (0, added)) if added else mask
        mask = mask if mask.dim() == 2 else mask.reshape(batch, heads, *mask.shape[1:])
    if padding is None:
        return mask
    padding = pad(padding, (0, added)) if added else padding
    padding = padding.reshape(padding.size(0), 1, 1, padding.size(1))
    return padding if mask is None else mask + padding
