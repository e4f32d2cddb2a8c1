"""Stage: front. In: queries, keys and values. Out: the formulas of attention.
Next: ``reparametrization.py``."""

from __future__ import annotations

import math
from typing import Any

from minigrad.dtype import bool_
from minigrad.nn.composites.dropout import kept
from minigrad.nn.composites.precision import wide
from minigrad.tensor import Tensor, arange, composite, where, zeros_like

NOTHING = -math.inf


def _heads(tensor: Tensor, of: Tensor, grouped: bool) -> Tensor:
    """Keys or values, with each head repeated for the queries of its group."""
    if not grouped or tensor.shape[-3] == of.shape[-3]:
        return tensor
    *batch, heads, length, width = tensor.shape
    group = of.shape[-3] // heads
    repeated = tensor.unsqueeze(-3).expand(*batch, heads, group, length, width)
    return repeated.reshape(*batch, heads * group, length, width)


def _scores(query: Tensor, key: Tensor, mask: Tensor | None, causal: bool, scale: float) -> Tensor:
    """query @ key.T * scale, -inf where a query may not look."""
    scores = (query @ key.transpose(-2, -1)) * scale
    if causal:
        rows = arange(scores.shape[-2], device=scores.device).reshape(-1, 1)
        scores = where(arange(scores.shape[-1], device=scores.device) <= rows, scores, NOTHING)
    if mask is not None:
        scores = where(mask, scores, NOTHING) if mask.dtype is bool_ else scores + mask
    return scores


@composite
def scaled_dot_product_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, source: Tensor | None,
                                 *, causal: bool, scale: float, grouped: bool, p: float) -> tuple[Tensor, ...]:
    """softmax(query @ key.T * scale + mask) @ value, with some of the weights dropped; each row's largest score and the
    sum of its exponentials relative to that; and, of half types, the first before it was rounded. A query that may look
    nowhere gives 0."""
    (query, key, value, mask), dtype = wide(query, key, value, None if mask is None else mask)
    key, value = _heads(key, query, grouped), _heads(value, query, grouped)
    scores = _scores(query, key, mask, causal, scale)
    top = scores.amax(-1, keepdim=True)
    top = where(top == NOTHING, 0.0, top)
    total = (scores - top).exp().sum(-1, keepdim=True)
    total = where(total == 0, 1.0, total)
    weights = _weights(scores, top, total)
    if source is not None:
        weights = weights * _factor(source, weights, p)
    found = weights @ value
    rounded = found.to(dtype)
    return (rounded, top, total) if rounded.dtype is found.dtype else (rounded, top, total, found)


def _weights(scores: Tensor, top: Tensor, total: Tensor) -> Tensor:
    """softmax(scores). Forward and backward say it in the same words, so that one plan with both computes it once."""
    return (scores - top).exp() / total


def _factor(source: Tensor, weights: Tensor, p: float) -> Tensor:
    return where(kept(source, tuple(weights.shape), p), 1.0 / (1 - p), 0.0).to(weights.dtype)


@scaled_dot_product_attention.gradient  # type: ignore[attr-defined]
def _gradients(outputs: list[Tensor], grads: list[Any], query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None,
               source: Tensor | None, *, causal: bool, scale: float, grouped: bool, p: float) -> list[Tensor | None]:
    """The weights are computed again from the scores and each row's top and total, so that of the forward pass nothing
    of the size of the weights stays. With P the weights, O the output and t the total: dV = Pᵀ g,
    dS = P (g Vᵀ - Σ g O + h t), where h is the gradient of the total: second derivatives come by way of that, and none
    by way of the top, on which the weights do not depend. The two terms nearly cancel, so O has to have more digits
    than a half type's."""
    given = [t for t in (query, key, value, mask) if t is not None]
    (q, k, v, m), _ = wide(query, key, value, mask)
    top, total = outputs[1:3]
    out = outputs[0] if len(outputs) < 4 else outputs[3]
    of_output = [grad.to(out.dtype) for grad in (grads[0], *grads[3:]) if grad is not None]
    g = sum(of_output[1:], of_output[0]) if of_output else zeros_like(out)
    k, v = _heads(k, q, grouped), _heads(v, q, grouped)
    weights = _weights(_scores(q, k, m, causal, scale), top, total)
    factor = None if source is None else _factor(source, weights, p)
    dropped = weights if factor is None else weights * factor
    of_weights = g @ v.transpose(-2, -1)
    if factor is not None:
        of_weights = of_weights * factor
    level = (g * out).sum(-1, keepdim=True)
    of_scores = weights * (of_weights - (level if grads[2] is None else level - grads[2] * total))
    found: list[Tensor | None] = [
        _like((of_scores @ k) * scale, query, False), _like((of_scores.transpose(-2, -1) @ q) * scale, key, grouped),
        _like(dropped.transpose(-2, -1) @ g, value, grouped)]
    if mask is not None:
        found.append(_like(of_scores, mask, False) if mask.dtype.is_floating_point else None)
    assert len(found) == len(given)
    return found if source is None else [*found, None]


def _like(grad: Tensor, given: Tensor, grouped: bool) -> Tensor:
    """A gradient summed to the shape of what it is of, and in its dtype."""
    if grouped and grad.shape[-3] != given.shape[-3]:
        *batch, heads, length, width = grad.shape
        grad = grad.reshape(*batch, given.shape[-3], heads // given.shape[-3], length, width).sum(-3)
    return grad.sum_to_size(given.shape).to(given.dtype)


# ---- several heads


@composite
def into_heads(query: Tensor, key: Tensor, value: Tensor, weights: list[Tensor], biases: list[Tensor] | None, *,
               heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """(L, N, E) and so on, times weights, as (N, heads, L, E / heads). ``weights``: one of (3E, E), or three."""
    split = weights if len(weights) == 3 else list(weights[0].chunk(3))
    added = None if biases is None else biases if len(biases) == 3 else list(biases[0].chunk(3))
    results = []
    for number, x in enumerate((query, key, value)):
        y = x @ split[number].T
        if added is not None:
            y = y + added[number]
        length, batch, width = y.shape
        results.append(y.reshape(length, batch, heads, width // heads).permute(1, 2, 0, 3))
    return results[0], results[1], results[2]


@composite
def out_of_heads(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(N, heads, L, E / heads) as (L, N, E), times a weight."""
    batch, heads, length, width = x.shape
    y = x.permute(2, 0, 1, 3).reshape(length, batch, heads * width) @ weight.T
    return y if bias is None else y + bias


@composite
def attention_weights(query: Tensor, key: Tensor, mask: Tensor | None, source: Tensor | None, *, scale: float,
                      p: float) -> Tensor:
    """softmax(query @ key.T * scale + mask), with some of them dropped."""
    weights = _scores(query, key, mask, False, scale).softmax(-1)
    return weights if source is None else weights * _factor(source, weights, p)
