"""Stage: beside the house. In: a library and a model's inputs. Out: ``step()``, a training step that returns its loss.
Every library trains the same three models from the same weights on the same batch: XOR (2-8-1, tanh, squared error,
SGD), MLP (784-256-10, cross entropy, AdamW) and CNN (two 3x3 convolutions with pooling, cross entropy, Adam).
Next: ``workloads.py``, which puts them in the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.bench.libraries import Library

Arrays = Sequence[np.ndarray]
Step = Callable[[], Any]


@dataclass(frozen=True)
class Recipe:
    """What is trained: the model's name, its optimizer's, and the optimizer's settings."""

    model: str
    optimizer: str
    learning_rate: float
    weight_decay: float = 0.0


XOR = Recipe("xor", "SGD", 0.1)
MLP = Recipe("mlp", "AdamW", 1e-3, 0.01)
CNN = Recipe("cnn", "Adam", 1e-3)
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


def xor_inputs() -> list[np.ndarray]:
    """x, y, then weight and bias of both layers."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    return [x, np.array([[0], [1], [1], [0]], np.float32), *_weights((8, 2), (8,), (1, 8), (1,))]


def mlp_inputs() -> list[np.ndarray]:
    """A batch of 128 random images of 784 numbers with labels 0 to 9, and the weights."""
    return [_random(128, 784), _labels(128), *_weights((256, 784), (256,), (10, 256), (10,))]


def cnn_inputs() -> list[np.ndarray]:
    """A batch of 32 random 28x28 images with labels 0 to 9, and the weights."""
    weights = _weights((16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (10, 32 * 7 * 7), (10,))
    return [_random(32, 1, 28, 28), _labels(32), *weights]


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _labels(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 10, count)


def _weights(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(2)
    bound = [1 / float(np.sqrt(np.prod(shapes[i - i % 2][1:]))) for i in range(len(shapes))]
    return [generator.uniform(-b, b, shape).astype(np.float32) for b, shape in zip(bound, shapes, strict=True)]


# --- minigrad and PyTorch: the same lines -------------------------------------------------------------------------

def pytorch_step(recipe: Recipe, library: Library, arrays: Arrays) -> Step:
    """The plain loop's body. Under ``torch.compile`` the model with its loss is compiled, as its users do (compiling
    the optimizer's step as well was slower here)."""
    lib = library.module
    nn, optim = lib.nn, lib.optim
    x, y = (library.array(a) for a in arrays[:2])
    if recipe.model == "xor":
        model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    elif recipe.model == "mlp":
        model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
    else:
        model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                              nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                              nn.Flatten(), nn.Linear(32 * 7 * 7, 10))
    model.load_state_dict(dict(zip(model.state_dict(), map(lib.tensor, arrays[2:]), strict=True)))
    criterion = nn.MSELoss() if recipe.model == "xor" else nn.CrossEntropyLoss()
    settings = {"weight_decay": recipe.weight_decay} if recipe.weight_decay else {}
    optimizer = getattr(optim, recipe.optimizer)(model.parameters(), lr=recipe.learning_rate, **settings)
    compute_loss = library.compiled(lambda a, b: criterion(model(a), b))

    def step() -> Any:
        optimizer.zero_grad()
        loss = compute_loss(x, y)
        loss.backward()
        optimizer.step()
        return library.finish(loss.detach())

    return step


def minigrad_jit_step(recipe: Recipe, library: Library, arrays: Arrays) -> Step:
    """The same step under ``minigrad.jit``."""
    jitted: Step = library.module.jit(pytorch_step(recipe, library, arrays))
    return jitted


# --- JAX ----------------------------------------------------------------------------------------------------------

def jax_step(recipe: Recipe, library: Library, arrays: Arrays) -> Step:
    """One jitted function from (weights, state) to (loss, weights, state), its memory donated."""
    jax = library.module
    jnp = jax.numpy
    x, y = (library.array(a) for a in arrays[:2])

    def compute_loss(weights: list[Any]) -> Any:
        if recipe.model == "xor":
            w1, b1, w2, b2 = weights
            return jnp.mean((jnp.tanh(x @ w1.T + b1) @ w2.T + b2 - y) ** 2)
        *features, w2, b2 = weights
        if recipe.model == "mlp":
            hidden = jax.nn.relu(x @ features[0].T + features[1])
        else:
            hidden = x
            for w, b in zip(features[::2], features[1::2], strict=True):
                hidden = jax.lax.conv_general_dilated(hidden, w, (1, 1), "SAME")
                hidden = jax.nn.relu(hidden + b[:, None, None])
                n, c, height, width = hidden.shape
                hidden = hidden.reshape(n, c, height // 2, 2, width // 2, 2).max((3, 5))
            hidden = hidden.reshape(hidden.shape[0], -1)
        scores = jax.nn.log_softmax(hidden @ w2.T + b2)
        return -jnp.take_along_axis(scores, y[:, None], 1).mean()

    def update(weights: list[Any], state: Any) -> Any:
        loss, gradients = jax.value_and_grad(compute_loss)(weights)
        rate, decay = recipe.learning_rate, recipe.weight_decay
        if recipe.optimizer == "SGD":
            return loss, [w - rate * g for w, g in zip(weights, gradients, strict=True)], state
        count, first, second = state
        count = count + 1
        first = [BETA1 * m + (1 - BETA1) * g for m, g in zip(first, gradients, strict=True)]
        second = [BETA2 * v + (1 - BETA2) * g * g for v, g in zip(second, gradients, strict=True)]
        scale1, scale2 = 1 / (1 - BETA1**count), 1 / (1 - BETA2**count)
        weights = [w * (1 - rate * decay) - rate * (m * scale1) / (jnp.sqrt(v * scale2) + EPSILON)
                   for w, m, v in zip(weights, first, second, strict=True)]
        return loss, weights, (count, first, second)

    jitted = jax.jit(update, donate_argnums=(0, 1))
    weights = [library.array(a) for a in arrays[2:]]
    state = (jnp.float32(0), [jnp.zeros_like(w) for w in weights], [jnp.zeros_like(w) for w in weights])

    def step() -> Any:
        nonlocal weights, state
        loss, weights, state = library.finish(jitted(weights, state))
        return loss

    return step


# --- tinygrad -----------------------------------------------------------------------------------------------------

def tinygrad_step(recipe: Recipe, library: Library, arrays: Arrays) -> Step:
    """Forward, backward and the optimizer's step in one ``TinyJit``."""
    tinygrad = library.module
    optim = library.module.nn.optim
    x, y = (library.array(a) for a in arrays[:2])
    weights = [library.array(a) for a in arrays[2:]]
    if recipe.optimizer == "SGD":
        optimizer = optim.SGD(weights, lr=recipe.learning_rate)
    elif recipe.optimizer == "AdamW":
        optimizer = optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    else:
        optimizer = optim.Adam(weights, lr=recipe.learning_rate)

    def compute_loss() -> Any:
        if recipe.model == "xor":
            w1, b1, w2, b2 = weights
            return ((x.linear(w1.T, b1).tanh().linear(w2.T, b2) - y) ** 2).mean()
        *features, w2, b2 = weights
        if recipe.model == "mlp":
            hidden = x.linear(features[0].T, features[1]).relu()
        else:
            hidden = x
            for w, b in zip(features[::2], features[1::2], strict=True):
                hidden = hidden.conv2d(w, b, padding=1).relu().max_pool2d((2, 2))
            hidden = hidden.flatten(1)
        return hidden.linear(w2.T, b2).cross_entropy(y)

    @tinygrad.TinyJit
    def update() -> Any:
        with tinygrad.helpers.Context(TRAINING=1):
            optimizer.zero_grad()
            loss = compute_loss().backward()
            return loss.realize(*optimizer.schedule_step())

    return lambda: library.finish(update())


# --- NumPy: the reference in float64, and a plain hand-written loop in float32 ---------------------------------------

def numpy_step(recipe: Recipe, library: Library, arrays: Arrays) -> Step:
    """The step with its gradients written out by hand; it computes in the dtype of ``arrays``."""
    x, y = arrays[:2]
    weights = [a.copy() for a in arrays[2:]]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    gradient = {"xor": _xor_gradient, "mlp": _mlp_gradient, "cnn": _cnn_gradient}[recipe.model]
    count = 0

    def step() -> Any:
        nonlocal count
        count += 1
        loss, gradients = gradient(x, y, weights)
        rate = recipe.learning_rate
        for w, g, m, v in zip(weights, gradients, first, second, strict=True):
            if recipe.optimizer == "SGD":
                w -= rate * g
                continue
            m += (1 - BETA1) * (g - m)
            v += (1 - BETA2) * (g * g - v)
            w *= 1 - rate * recipe.weight_decay
            w -= rate / (1 - BETA1**count) * m / (np.sqrt(v / (1 - BETA2**count)) + EPSILON)
        return loss

    return step


def _xor_gradient(x: np.ndarray, y: np.ndarray, weights: Arrays) -> tuple[Any, list[np.ndarray]]:
    w1, b1, w2, b2 = weights
    hidden = np.tanh(x @ w1.T + b1)
    error = hidden @ w2.T + b2 - y
    d_out = 2 * error / error.size
    d_hidden = d_out @ w2 * (1 - hidden * hidden)
    return (error * error).mean(), [d_hidden.T @ x, d_hidden.sum(0), d_out.T @ hidden, d_out.sum(0)]


def _cross_entropy(scores: np.ndarray, y: np.ndarray) -> tuple[Any, np.ndarray]:
    rows = np.arange(len(y))
    shifted = scores - scores.max(1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    d_scores = np.exp(log_probability)
    d_scores[rows, y] -= 1
    return -log_probability[rows, y].mean(), d_scores / len(y)


def _mlp_gradient(x: np.ndarray, y: np.ndarray, weights: Arrays) -> tuple[Any, list[np.ndarray]]:
    w1, b1, w2, b2 = weights
    hidden = np.maximum(x @ w1.T + b1, 0)
    loss, d_scores = _cross_entropy(hidden @ w2.T + b2, y)
    d_hidden = d_scores @ w2 * (hidden > 0)
    return loss, [d_hidden.T @ x, d_hidden.sum(0), d_scores.T @ hidden, d_scores.sum(0)]


def windows_3x3(image: np.ndarray) -> np.ndarray:
    """The 3x3 neighbourhoods of an (N, C, H, W) image padded by one: (N, C, H, W, 3, 3), a view.

    >>> windows_3x3(np.ones((1, 2, 5, 6))).shape
    (1, 2, 5, 6, 3, 3)
    """
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))


def convolution_3x3(image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """A 3x3 convolution with padding 1: image (N, C, H, W), weight (K, C, 3, 3) to (N, K, H, W)."""
    return np.tensordot(windows_3x3(image), weight, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)


def _cnn_gradient(x: np.ndarray, y: np.ndarray, weights: Arrays) -> tuple[Any, list[np.ndarray]]:
    image, saved = x, []
    for w, b in ((weights[0], weights[1]), (weights[2], weights[3])):
        active = np.maximum(convolution_3x3(image, w) + b[:, None, None], 0)
        n, c, height, width = active.shape
        cells = active.reshape(n, c, height // 2, 2, width // 2, 2)
        pooled = cells.max((3, 5))
        saved.append((image, w, active, cells, pooled))
        image = pooled
    flat = image.reshape(len(x), -1)
    loss, d_scores = _cross_entropy(flat @ weights[4].T + weights[5], y)
    gradients = [d_scores.T @ flat, d_scores.sum(0)]
    d_pooled = (d_scores @ weights[4]).reshape(image.shape)
    for image, w, active, cells, pooled in reversed(saved):
        chosen = cells == pooled[:, :, :, None, :, None]
        d_active = (chosen * d_pooled[:, :, :, None, :, None]).reshape(active.shape) * (active > 0)
        d_weight = np.tensordot(d_active, windows_3x3(image), ((0, 2, 3), (0, 2, 3)))
        gradients[:0] = [d_weight, d_active.sum((0, 2, 3))]
        d_pooled = convolution_3x3(d_active, w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    return loss, gradients
