"""Stage: beside the house. In: a library and a model's inputs. Out: ``step()``, a training step that returns its loss.
Every library trains the models of ``models.py`` from the same weights on the same batch.
Next: ``workloads.py``, which puts them in the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.bench.layers import Arrays
from tools.bench.libraries import Library, MinigradJit
from tools.bench.models import MODELS, Model

Step = Callable[[], Any]


@dataclass(frozen=True)
class Recipe:
    """What is trained: the model, the name of its optimizer, and the optimizer's settings."""

    model: Model
    optimizer: str
    learning_rate: float
    weight_decay: float = 0.0

    def inputs(self) -> list[np.ndarray]:
        """What the model is trained on, and its first weights."""
        return self.model.inputs()


XOR = Recipe(MODELS["xor"], "SGD", 0.1)
MLP = Recipe(MODELS["mlp"], "AdamW", 1e-3, 0.01)
CNN = Recipe(MODELS["cnn"], "Adam", 1e-3)
LSTM = Recipe(MODELS["lstm"], "SGD", 0.5)
GPT = Recipe(MODELS["gpt"], "AdamW", 1e-3, 0.01)
RESNET18 = Recipe(MODELS["resnet18"], "SGD", 0.05)
GPT2 = Recipe(MODELS["gpt2"], "AdamW", 1e-3, 0.01)
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


# --- minigrad and PyTorch: the same lines -------------------------------------------------------------------------

def pytorch_step(recipe: Recipe, library: Library, arrays: Arrays) -> Step:
    """The plain loop's body. Under ``torch.compile`` the model with its loss is compiled, as its users do (compiling
    the optimizer's step as well was slower here); under ``minigrad.jit`` the step."""
    lib = library.module
    nn, optim = lib.nn, lib.optim
    x, y = (library.array(a) for a in arrays[:2])
    model = recipe.model.layers.module(lib)
    names = [name for name, _ in model.named_parameters()]
    model.load_state_dict({**model.state_dict(), **dict(zip(names, map(lib.tensor, arrays[2:]), strict=True))})
    criterion = nn.MSELoss() if recipe.model.squared else nn.CrossEntropyLoss()
    settings = {"weight_decay": recipe.weight_decay} if recipe.weight_decay else {}
    optimizer = getattr(optim, recipe.optimizer)(model.parameters(), lr=recipe.learning_rate, **settings)
    compute_loss = library.compiled_loss(lambda a, b: criterion(model(a), b))

    def step() -> Any:
        optimizer.zero_grad()
        loss = compute_loss(x, y)
        loss.backward()
        optimizer.step()
        return library.finish(loss.detach())

    return library.compiled_step(step)


def minigrad_jit_step(recipe: Recipe, library: Library, arrays: Arrays) -> Step:
    """The same step under ``minigrad.jit``, in a row that compares compilers."""
    return pytorch_step(recipe, MinigradJit(library.threads), arrays)


# --- JAX ----------------------------------------------------------------------------------------------------------

def jax_step(recipe: Recipe, library: Library, arrays: Arrays) -> Step:
    """One jitted function from (weights, state) to (loss, weights, state), its memory donated."""
    jax = library.module
    jnp = jax.numpy
    x, y = (library.array(a) for a in arrays[:2])

    def compute_loss(weights: list[Any]) -> Any:
        scores = recipe.model.layers.jax(jax, weights, x)
        if recipe.model.squared:
            return jnp.mean((scores - y) ** 2)
        return -jnp.take_along_axis(jax.nn.log_softmax(scores), y[:, None], 1).mean()

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
        scores = recipe.model.layers.tinygrad(weights, x)
        return ((scores - y) ** 2).mean() if recipe.model.squared else scores.cross_entropy(y)

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
    count = 0

    def step() -> Any:
        nonlocal count
        count += 1
        loss, gradients = recipe.model.gradient(x, y, weights)
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
