"""Stage: tests. In: attention and transformers of PyTorch's and ours with the same weights. Out: the same results,
gradients, printed forms and errors.
Next: ``tests/torch/test_dlpack_against_torch.py``."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import nn

torch = pytest.importorskip("torch")


def both(rng: np.random.Generator, *shape: int) -> tuple[Any, Any]:
    array = rng.standard_normal(shape).astype(np.float32)
    return torch.tensor(array, requires_grad=True), minigrad.tensor(array, requires_grad=True)


def close(theirs: Any, ours: Any) -> None:
    assert tuple(theirs.shape) == tuple(ours.shape)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=2e-4, atol=2e-5)


def masks(kind: str, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Any, Any]:
    if kind == "none":
        return None, None
    array = rng.random(shape) < 0.7
    if kind == "bool":
        array[..., 0, :] = False  # a query that may look nowhere
        return torch.tensor(array), minigrad.tensor(array)
    numbers = rng.standard_normal(shape).astype(np.float32)
    return torch.tensor(numbers, requires_grad=True), minigrad.tensor(numbers, requires_grad=True)


@pytest.mark.parametrize("kind", ["none", "bool", "float", "causal"])
@pytest.mark.parametrize("shape", [((2, 3, 5, 4), (2, 3, 7, 4), 4), ((5, 4), (7, 4), 6), ((2, 5, 4), (2, 5, 4), 4),
                                   ((2, 6, 5, 4), (2, 2, 7, 4), 3)], ids=str)
def test_scaled_dot_product_attention(shape: Any, kind: str, rng: np.random.Generator) -> None:
    (q_shape, k_shape, width), grouped = shape, shape[0][-3:-2] != shape[1][-3:-2]
    inputs = [both(rng, *s) for s in (q_shape, k_shape, (*k_shape[:-1], width))]
    mask = masks("none" if kind == "causal" else kind, (q_shape[-2], k_shape[-2]), rng)
    results = []
    for i, F in enumerate((torch.nn.functional, nn.functional)):
        result = F.scaled_dot_product_attention(*[x[i] for x in inputs], attn_mask=mask[i],
                                                is_causal=kind == "causal", enable_gqa=grouped, scale=0.3)
        (result * result).sum().backward()
        results.append(result)
    close(*results)
    for a, b in [*inputs, *([mask] if kind == "float" else [])]:
        close(a.grad, b.grad)


def test_second_derivatives(rng: np.random.Generator) -> None:
    inputs = [both(rng, 2, 5, 4) for _ in range(3)]
    for i, (F, grad) in enumerate(((torch.nn.functional, torch.autograd.grad),
                                   (nn.functional, minigrad.autograd.grad))):
        mine = [x[i] for x in inputs]
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            first = grad((F.scaled_dot_product_attention(*mine) ** 2).sum(), mine, create_graph=True)
            sum((g * g).sum() for g in first).backward()
    for a, b in inputs:
        close(a.grad, b.grad)


def test_dropped_weights_are_pytorchs_with_its_masks(rng: np.random.Generator) -> None:
    inputs = [both(rng, 2, 5, 4) for _ in range(3)]
    torch.manual_seed(3)
    minigrad.manual_seed(3)
    theirs = torch.nn.functional.scaled_dot_product_attention(*[x[0] for x in inputs], dropout_p=0.4)
    with minigrad.config(TORCH_RNG=1):
        ours = nn.functional.scaled_dot_product_attention(*[x[1] for x in inputs], dropout_p=0.4)
    close(theirs, ours)
    for result in (theirs, ours):
        (result * result).sum().backward()
    for a, b in inputs:
        close(a.grad, b.grad)


def pair(name: str, *args: Any, **options: Any) -> tuple[Any, Any]:
    torch.manual_seed(1)
    minigrad.manual_seed(1)
    theirs, ours = getattr(torch.nn, name)(*args, **options), getattr(nn, name)(*args, **options)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        close(a, b)
    assert repr(theirs) == repr(ours)
    return theirs, ours


HEADS = [{}, {"bias": False}, {"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 5, "vdim": 7},
         {"batch_first": True}, {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True}]


@pytest.mark.sample(2)
@pytest.mark.filterwarnings("ignore:Support for mismatched")
@pytest.mark.parametrize("options", HEADS, ids=str)
def test_several_heads(options: dict[str, Any], rng: np.random.Generator) -> None:
    theirs, ours = pair("MultiheadAttention", 8, 2, **options)
    for number, (kind, padded, weights) in enumerate(itertools.product(("none", "float", "bool"), (False, True),
                                                                       (True, False))):
        alone = number % 3 == 1
        sizes = ((5, 3), (6, 3), (6, 3)) if not alone else ((5,), (6,), (6,))
        if options.get("batch_first") and not alone:
            sizes = ((3, 5), (3, 6), (3, 6))
        x = [both(rng, *s, w) for s, w in zip(sizes, (8, options.get("kdim", 8), options.get("vdim", 8)))]
        array = rng.random((5, 6)) < 0.3
        array[:, 0] = False
        mask = masks(kind, (5, 6), rng) if kind != "bool" else (torch.tensor(array), minigrad.tensor(array))
        hidden = rng.random((3, 6) if not alone else (6,)) < 0.3
        hidden[..., 0] = False
        padding = (torch.tensor(hidden), minigrad.tensor(hidden)) if padded else (None, None)
        results = [module(*[a[i] for a in x], attn_mask=mask[i], key_padding_mask=padding[i], need_weights=weights)
                   for i, module in enumerate((theirs, ours))]
        close(results[0][0], results[1][0])
        if weights:
            close(results[0][1], results[1][1])
        for result in results:
            (result[0] ** 2).sum().backward()
        for a, b in x:
            close(a.grad, b.grad)
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        np.testing.assert_allclose(b.grad.numpy(), a.grad.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("options", [{}, {"norm_first": True, "batch_first": True}, {"activation": "gelu"},
                                     {"bias": False}], ids=str)
def test_transformer(options: dict[str, Any], rng: np.random.Generator) -> None:
    theirs, ours = pair("Transformer", 8, 2, 2, 2, 16, dropout=0.0, **options)
    first = options.get("batch_first", False)
    src, tgt = both(rng, *((3, 6, 8) if first else (6, 3, 8))), both(rng, *((3, 4, 8) if first else (4, 3, 8)))
    results = []
    for i, (module, library) in enumerate(((theirs, torch), (ours, minigrad))):
        mask = library.nn.Transformer.generate_square_subsequent_mask(4)
        results.append(module(src[i], tgt[i], tgt_mask=mask))
        (results[-1] ** 2).mean().backward()
    close(*results)
    for a, b in [src, tgt, *zip(theirs.parameters(), ours.parameters(), strict=True)]:
        close(a.grad, b.grad)


def message(call: Any) -> tuple[str, str]:
    with pytest.raises(Exception) as error:
        call()
    return type(error.value).__name__, str(error.value).replace("minigrad.", "torch.")


SHAPES: list[tuple[tuple[int, ...], ...]] = [
    ((2, 3, 4), (2, 5, 6), (2, 5, 6)), ((2, 3, 4), (2, 5, 4), (2, 6, 4)), ((4,), (4,), (4,)),
    ((2, 6, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4))]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_errors(shapes: Any) -> None:
    def call(library: Any) -> None:
        library.nn.functional.scaled_dot_product_attention(*[library.zeros(*s) for s in shapes])

    assert message(lambda: call(torch)) == message(lambda: call(minigrad))


def test_errors_of_masks_dtypes_and_probabilities() -> None:
    def call(library: Any, **options: Any) -> None:
        x = library.zeros(2, 3, 4)
        library.nn.functional.scaled_dot_product_attention(x, x, x, **options)

    for options in (lambda t: {"attn_mask": t.ones(3, 3, dtype=t.int32)}, lambda t: {"dropout_p": 1.5},
                    lambda t: {"attn_mask": t.ones(3, 3, dtype=t.bool), "is_causal": True}):
        theirs, ours = options(torch), options(minigrad)
        assert message(partial(call, torch, **theirs)) == message(partial(call, minigrad, **ours))


HEAD_ERRORS = [(((4,), (4,), (4,)), {}), (((3, 1, 8), (3, 8), (3, 8)), {}), (((3, 1, 8), (4, 1, 8), (5, 1, 8)), {}),
               (((3, 1, 6), (3, 1, 6), (3, 1, 6)), {}), (((3, 1, 8), (3, 1, 8), (3, 1, 8)), {"is_causal": True})]


@pytest.mark.parametrize("shapes, options", HEAD_ERRORS, ids=str)
def test_errors_of_several_heads(shapes: Any, options: Any) -> None:
    theirs, ours = pair("MultiheadAttention", 8, 2)
    assert message(lambda: theirs(*[torch.zeros(*s) for s in shapes], **options)) == message(
        lambda: ours(*[minigrad.zeros(*s) for s in shapes], **options))


@pytest.mark.parametrize("sizes", [(7, 2), (0, 1)])
def test_errors_of_construction(sizes: tuple[int, int]) -> None:
    assert message(lambda: torch.nn.MultiheadAttention(*sizes)) == message(lambda: nn.MultiheadAttention(*sizes))


# ---- scores that are larger than the cache: never whole in memory


@pytest.mark.parametrize("kind", ["none", "bool", "float", "causal"])
@pytest.mark.parametrize("shape", [(1, 4, 4, 523, 523, 5, 5), (2, 6, 2, 331, 601, 8, 3), (1, 1, 1, 640, 1024, 33, 17)],
                         ids=str)
def test_long_attention(shape: tuple[int, ...], kind: str, rng: np.random.Generator) -> None:
    """Grouped queries, odd lengths and head sizes, masks; values of another size than keys."""
    batch, heads, groups, rows, keys, width, out = shape
    inputs = [both(rng, *s) for s in ((batch, heads, rows, width), (batch, groups, keys, width),
                                      (batch, groups, keys, out))]
    mask = masks("none" if kind == "causal" else kind, (rows, keys), rng)
    results = []
    for i, F in enumerate((torch.nn.functional, nn.functional)):
        result = F.scaled_dot_product_attention(*[x[i] for x in inputs], attn_mask=mask[i], is_causal=kind == "causal",
                                                enable_gqa=heads != groups, dropout_p=0.0)
        (result * result).sum().backward()
        results.append(result)
    close(*results)
    for a, b in [*inputs, *([mask] if kind == "float" else [])]:
        close(a.grad, b.grad)


@pytest.mark.parametrize("causal", [False, True])
def test_long_attention_by_hand(causal: bool, rng: np.random.Generator) -> None:
    inputs = [both(rng, 1, 2, 777, 6) for _ in range(3)]
    results = []
    for i, library in enumerate((torch, minigrad)):
        q, k, v = (x[i] for x in inputs)
        scores = q @ k.transpose(-2, -1) * 0.3
        if causal:
            later = library.ones(777, 777, dtype=library.bool).triu(1)
            scores = scores.masked_fill(later, -float("inf"))
        result = scores.softmax(-1) @ v
        del scores
        (result * result).sum().backward()
        results.append(result)
    close(*results)
    for a, b in inputs:
        close(a.grad, b.grad)


def test_long_attention_of_rows_that_may_look_nowhere(rng: np.random.Generator) -> None:
    """0 by the function, NaN by hand, as PyTorch has them."""
    inputs = [both(rng, 1, 2, 600, 6) for _ in range(3)]
    mask = rng.random((600, 600)) < 0.5
    mask[[0, 77, 599]] = False
    for by_hand in (False, True):
        results = []
        for i, library in enumerate((torch, minigrad)):
            q, k, v = (x[i].detach() for x in inputs)
            if by_hand:
                scores = (q @ k.transpose(-2, -1)).masked_fill(~library.tensor(mask), -float("inf"))
                results.append(scores.softmax(-1) @ v)
                del scores
            else:
                results.append(library.nn.functional.scaled_dot_product_attention(q, k, v, library.tensor(mask)))
        assert results[0][:, :, 77].isnan().all() if by_hand else (results[0][:, :, 77] == 0).all()
        close(*results)


def test_second_derivatives_of_long_attention(rng: np.random.Generator) -> None:
    inputs = [both(rng, 1, 2, 600, 4) for _ in range(3)]
    found = []
    for i, library in enumerate((torch, minigrad)):
        q, k, v = (x[i] for x in inputs)
        if library is torch:
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                result = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            result = nn.functional.scaled_dot_product_attention(q, k, v)
        (first,) = library.autograd.grad(result.square().sum(), [q], create_graph=True)
        found.append(library.autograd.grad(first.square().sum(), [q, k, v]))
    for a, b in zip(*found, strict=True):
        close(a, b)
