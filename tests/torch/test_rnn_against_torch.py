"""Stage: tests. In: recurrent networks of PyTorch's and ours with the same weights. Out: the same outputs, states,
gradients, printed forms and errors.
Next: ``tests/torch/test_tensor_against_torch.py``."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import minigrad
from minigrad import nn

torch = pytest.importorskip("torch")

T, N, INPUT, HIDDEN = 6, 3, 4, 5
KINDS = ("RNN", "RELU", "LSTM", "GRU")


def pair(kind: str, *sizes: int, cell: bool = False, **options: Any) -> tuple[Any, Any]:
    """A network of PyTorch's and one of ours, drawn with one seed."""
    if kind == "RELU":
        kind, options = "RNN", {**options, "nonlinearity": "relu"}
    name = f"{kind}Cell" if cell else kind
    torch.manual_seed(1)
    minigrad.manual_seed(1)
    return getattr(torch.nn, name)(*sizes, **options), getattr(nn, name)(*sizes, **options)


def both(rng: np.random.Generator, *shape: int) -> tuple[Any, Any]:
    array = rng.standard_normal(shape).astype(np.float32)
    return torch.tensor(array, requires_grad=True), minigrad.tensor(array, requires_grad=True)


def close(theirs: Any, ours: Any) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=2e-4, atol=2e-6)


def run(module: Any, utils: Any, x: Any, states: list[Any], packed: bool, batch_first: bool) -> tuple[Any, ...]:
    given = tuple(states) if len(states) > 1 else states[0]
    if packed:
        x = utils.pack_padded_sequence(x, [4, 6, 2], batch_first=batch_first, enforce_sorted=False)
    output, final = module(x, given)
    if packed:
        output, _ = utils.pad_packed_sequence(output, batch_first=batch_first)
    return output, *(final if isinstance(final, tuple) else (final,))


@pytest.mark.sample(4)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("form", ["batched", "packed", "single"])
@pytest.mark.parametrize("kind", KINDS)
def test_networks(kind: str, form: str, rng: np.random.Generator) -> None:
    for layers, two, proj in itertools.product((1, 2), (False, True), (0, 3)):
        first, bias = (layers == 2) != two, layers == 1 or not two
        if proj and (kind != "LSTM" or layers == 1):
            continue
        options = {"num_layers": layers, "bidirectional": two, "bias": bias, "batch_first": first} | (
            {"proj_size": proj} if proj else {})
        theirs, ours = pair(kind, INPUT, HIDDEN, **options)
        assert repr(theirs) == repr(ours)
        assert list(theirs.state_dict()) == list(ours.state_dict())
        for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
            close(a, b)
        x = both(rng, *((N, T, INPUT) if first else (T, N, INPUT))) if form != "single" else both(rng, T, INPUT)
        sizes = [(layers * (1 + two), N, width) for width in (proj or HIDDEN, HIDDEN)[:1 + (kind == "LSTM")]]
        states = [both(rng, *(s if form != "single" else (s[0], s[2]))) for s in sizes]
        results = [run(module, utils, x[i], [s[i] for s in states], form == "packed", first)
                   for i, (module, utils) in enumerate(((theirs, torch.nn.utils.rnn), (ours, nn.utils.rnn)))]
        for a, b in zip(*results, strict=True):
            assert a.shape == tuple(b.shape)
            close(a, b)
        for result in results:
            sum((r * r).sum() for r in result).backward()
        for a, b in [x, *states, *zip(theirs.parameters(), ours.parameters(), strict=True)]:
            close(a.grad, b.grad)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_first_state_and_second_derivatives(kind: str, rng: np.random.Generator) -> None:
    theirs, ours = pair(kind, INPUT, HIDDEN, bidirectional=True)
    x = both(rng, T, N, INPUT)
    for module, input, grad in ((theirs, x[0], torch.autograd.grad), (ours, x[1], minigrad.autograd.grad)):
        (first,) = grad((module(input)[0] ** 2).sum(), [input], create_graph=True)
        (first * first).sum().backward()
    for a, b in [x, *zip(theirs.parameters(), ours.parameters(), strict=True)]:
        close(a.grad, b.grad)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_cells(kind: str, bias: bool, rng: np.random.Generator) -> None:
    theirs, ours = pair(kind, INPUT, HIDDEN, bias=bias, cell=True)
    assert repr(theirs) == repr(ours)
    for shape in ((N,), ()):
        x, h, c = both(rng, *shape, INPUT), both(rng, *shape, HIDDEN), both(rng, *shape, HIDDEN)
        for given in (True, False):
            results = []
            for i, module in enumerate((theirs, ours)):
                state = ((h[i], c[i]) if kind == "LSTM" else h[i],) if given else ()
                result = module(x[i], *state)
                results.append(result if isinstance(result, tuple) else (result,))
                sum((r * r).sum() for r in results[-1]).backward()
            for a, b in zip(*results, strict=True):
                close(a, b)
        for a, b in [x, h, *zip(theirs.parameters(), ours.parameters(), strict=True)]:
            close(a.grad, b.grad)


def test_dropout_between_layers_is_pytorchs_with_its_masks(rng: np.random.Generator) -> None:
    theirs, ours = pair("LSTM", INPUT, HIDDEN, num_layers=3, dropout=0.4)
    x = both(rng, T, N, INPUT)
    with minigrad.config(TORCH_RNG=1):
        torch.manual_seed(7)
        minigrad.manual_seed(7)
        close(theirs(x[0])[0], ours(x[1])[0])
    theirs.eval(), ours.eval()
    close(theirs(x[0])[0], ours(x[1])[0])


def message(call: Any) -> tuple[str, str]:
    with pytest.raises(Exception) as error:
        call()
    return type(error.value).__name__, str(error.value).replace("minigrad.", "torch.")


BUILD = [(("RNN", 3, 4), {"nonlinearity": "x"}), (("LSTM", 3, 0), {}), (("GRU", 3, 4), {"proj_size": 2}),
         (("LSTM", 3, 4), {"proj_size": 4}), (("LSTM", 3, 4), {"dropout": 2}), (("GRU", 3.0, 4), {}),
         (("LSTM", 3, 4), {"bias": 1}), (("LSTM", 3, 4), {"num_layers": 0}), (("LSTM", 3, 4), {"proj_size": -1})]


@pytest.mark.parametrize("case", BUILD, ids=str)
def test_errors_of_construction(case: Any) -> None:
    (name, *sizes), options = case
    assert message(lambda: getattr(torch.nn, name)(*sizes, **options)) == message(
        lambda: getattr(nn, name)(*sizes, **options))


CALLS: list[tuple[str, tuple[tuple[int, ...], ...]]] = [
    ("RNN", ((2, 3, 4, 4),)), ("GRU", ((2,),)), ("LSTM", ((2, 3, 5),)), ("RNN", ((2, 3, 4), (1, 2, 5))),
    ("RNN", ((2, 3, 4), (3, 5))), ("GRU", ((2, 4), (1, 1, 5))), ("LSTM", ((2, 3, 4), (1, 3, 5), (1, 3, 6))),
    ("LSTM", ((2, 3, 4), (3, 5), (3, 5))), ("LSTM", ((2, 4), (1, 1, 5), (1, 1, 5))), ("GRU", ((0, 3, 4),))]
CELL_CALLS: list[tuple[str, tuple[tuple[int, ...], ...]]] = [
    ("RNN", ((2, 3),)), ("GRU", ((2, 4), (3, 5))), ("LSTM", ((2, 4), (2, 5), (2, 6))), ("RNN", ((1, 2, 4),)),
    ("LSTM", ((2, 4), (2, 5), (1, 2, 5))), ("GRU", ((2, 4), (1, 2, 5)))]


@pytest.mark.parametrize("cell, name, shapes", [(False, *c) for c in CALLS] + [(True, *c) for c in CELL_CALLS], ids=str)
def test_errors_of_calls(cell: bool, name: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    theirs, ours = pair(name, 4, 5, cell=cell)

    def call(module: Any, library: Any) -> None:
        x, *states = [library.zeros(*shape) for shape in shapes]
        module(x, *([] if not states else [tuple(states) if name == "LSTM" else states[0]]))

    assert message(lambda: call(theirs, torch)) == message(lambda: call(ours, minigrad))


def test_another_dtype_is_an_error() -> None:
    theirs, ours = pair("LSTM", 4, 5)
    assert message(lambda: theirs(torch.zeros(2, 3, 4, dtype=torch.float64))) == message(
        lambda: ours(minigrad.zeros(2, 3, 4, dtype=minigrad.float64)))
