"""Stage: beside the house. In: random numbers. Out: ``TRAINED``, random recipes of training by the kind of their model:
a perceptron, a convolutional network, a recurrent one, a transformer.
Next: ``campaign.py``, which runs them beside the expressions of ``drawing.py``."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from functools import partial

import numpy as np

from tools.bench.drawing import PEERS
from tools.bench.layers import (
    ACTIVATIONS,
    Activation,
    Chain,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    MeanOfImage,
    Norm,
    Residual,
)
from tools.bench.models import Model, labels, normal, text_batch
from tools.bench.sequences import CELLS, Embedding, Positions, Recurrent, transformer_block
from tools.bench.training import Recipe
from tools.bench.workloads import Workload, steps

MOST_FLOPS = 3e9  # of a step
OPTIMIZERS = (("SGD", 0.05, 0.0), ("Adam", 2e-3, 0.0), ("AdamW", 2e-3, 0.01))


def images(*shape: int, classes: int) -> list[np.ndarray]:
    """Random images of that shape, and a label for each."""
    return [normal(*shape), labels(shape[0], classes=classes)]


def sequences(length: int, count: int, width: int, classes: int) -> list[np.ndarray]:
    """Random sequences, and a label for each of their steps."""
    return [normal(length, count, width), labels(length * count, classes=classes)]


def mlp(rng: random.Random) -> tuple[str, Model]:
    """1 to 4 hidden layers."""
    batch, classes, activation = rng.choice((16, 50, 64, 128, 256)), rng.randint(2, 100), rng.choice(list(ACTIVATIONS))
    sizes = [rng.choice((20, 64, 100, 256, 300, 784)), *rng.choices((32, 100, 128, 200, 256, 512), k=rng.randint(1, 4))]
    norm = rng.random() < 0.3
    layers: list[Layer] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [Linear(inputs, outputs), *[Norm(outputs)] * norm, Activation(activation)]
    what = f"{batch}x{'-'.join(map(str, sizes))}-{classes}, {activation}{', layer norms' if norm else ''}"
    return what, Model(partial(images, batch, sizes[0], classes=classes),
                       Chain((*layers, Linear(sizes[-1], classes))))


def cnn(rng: random.Random) -> tuple[str, Model]:
    """2 to 4 convolutions of random geometry, some depthwise, some residual, some with batch norms and pooling."""
    channels, side, batch = rng.choice((1, 3)), rng.choice((16, 24, 28, 32, 40)), rng.choice((4, 8, 16, 32))
    classes, activation = rng.randint(2, 20), rng.choice(("relu", "silu", "gelu"))
    image = batch, channels, side, side
    shape: tuple[int, ...] = image
    layers: list[Layer] = []
    told = []
    for at in range(rng.randint(2, 4)):
        outputs, kernel = rng.choice((8, 16, 24, 32, 64)), rng.choice((1, 3, 3, 5))
        inputs = shape[1]
        stride = rng.choice((1, 1, 2)) if shape[2] >= 12 else 1
        norm, bias = rng.random() < 0.5, rng.random() < 0.5
        form = rng.choice(("plain", "plain", "depthwise", "residual")) if at else "plain"
        new: list[Layer]
        if form == "depthwise":
            new = [Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False), Conv2d(inputs, outputs, 1)]
        elif form == "residual":
            stride, outputs = 1, inputs
            new = [Residual(Chain((Conv2d(inputs, inputs, 3, 1, 1, bias=bias),)))]
        else:
            new = [Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)]
        layers += [*new, *[Norm(outputs, batch=True)] * norm, Activation(activation)]
        told.append(f"{form} {kernel if form == 'plain' else 3}x to {outputs}{f'/{stride}' if stride > 1 else ''}")
        shape = Chain(tuple(layers)).output(image)
        if shape[2] >= 8 and rng.random() < 0.4:
            layers.append(MaxPool(2, 2))
            told.append("pool")
            shape = layers[-1].output(shape)
    layers += [MeanOfImage()] if rng.random() < 0.5 else [Flatten()]
    width = Chain(tuple(layers)).output(image)[1]
    what = f"{batch}x{channels}x{side}x{side}, {', '.join(told)}, {activation}, {width}-{classes}"
    return what, Model(partial(images, batch, channels, side, side, classes=classes),
                       Chain((*layers, Linear(width, classes))))


def rnn(rng: random.Random) -> tuple[str, Model]:
    """1 or 2 recurrent layers."""
    kind, length, count = rng.choice(list(CELLS)), rng.randint(6, 36), rng.choice((4, 10, 16, 32, 64))
    inputs, hidden, classes = rng.choice((16, 40, 64, 128)), rng.choice((32, 50, 64, 100, 128)), rng.randint(4, 80)
    layers = [Recurrent(kind, inputs, hidden), *[Recurrent(kind, hidden, hidden)] * rng.randint(0, 1)]
    what = f"{len(layers)} {kind}, {length} steps of {count}x{inputs}, {hidden} hidden, {classes} classes"
    return what, Model(partial(sequences, length, count, inputs, classes),
                       Chain((*layers, Linear(hidden, classes), Flatten(0, 1))))


def transformer(rng: random.Random) -> tuple[str, Model]:
    """1 to 3 blocks of attention."""
    heads, causal = rng.choice((1, 2, 3, 4, 8)), rng.random() < 0.6
    width, blocks = heads * rng.choice((16, 24, 32, 64)), rng.randint(1, 3)
    count, length, classes = rng.choice((2, 4, 8, 12)), rng.randint(12, 100), rng.choice((30, 64, 100, 256))
    activation = rng.choice(("gelu", "relu"))
    layers = (Embedding(classes, width), Positions(length, width),
              *transformer_block(width, heads, causal, activation) * blocks, Norm(width), Linear(width, classes),
              Flatten(0, 1))
    what = (f"{count}x{length} tokens of {classes}, {blocks} blocks of width {width}, {heads} heads, "
            f"{'causal, ' if causal else ''}{activation}")
    return what, Model(partial(text_batch, count, length, classes), Chain(layers))


TRAINED: dict[str, Callable[[random.Random], tuple[str, Model]]] = {
    f.__name__: f for f in (mlp, cnn, rnn, transformer)}


def trained(name: str, kind: str) -> Workload:
    """The row of that name: a training step of a model of that kind."""
    rng = random.Random(name)
    while True:
        what, model = TRAINED[kind](rng)
        if model.flops() < MOST_FLOPS:
            break
    optimizer, rate, decay = rng.choice(OPTIMIZERS)
    recipe = Recipe(model, optimizer, rate, decay)
    return Workload(name, f"{kind} step: {what}, {optimizer}", "step", recipe.inputs, steps(recipe, jit=False),
                    model.flops(), "flops", PEERS, tolerance=1e-3)
