"""Stage: beside the house. In: a library and a program's inputs. Out: the result, or a function that gives it.
These are ordinary programs in which the work is small and the overhead is what counts: single numbers, long chains,
writes in place, sizes that grow. minigrad and PyTorch run the same lines; NumPy in float64 is the reference.
Next: ``overhead.py``, which puts them in a table."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice, pairwise
from typing import Any

import numpy as np

from tools.bench import training
from tools.bench.libraries import Library

Arrays = Sequence[np.ndarray]


@dataclass
class Timed:
    """The value of a program that looks at the clock itself: ``seconds`` of the part that counts, and other
    ``figures``: their values by their units, as in ``{"times the time of 100 layers": 10.2}``."""

    value: Any
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)


# --- single ops ---------------------------------------------------------------------------------------------------

OPS = 100


def op_inputs() -> list[np.ndarray]:
    """x, a, b, c: eight numbers each."""
    generator = np.random.default_rng(0)
    return [generator.standard_normal(8).astype(np.float32) * 0.5 for _ in range(4)]


def configured(library: Library, **settings: int) -> AbstractContextManager[Any]:
    """minigrad's ``config`` with these settings; nothing for the others."""
    return library.module.config(**settings) if library.module_name == "minigrad" else nullcontext()


def pytorch_ops(library: Library, arrays: Arrays, tracked: bool = False, realised: bool = False,
                replay: int = 1) -> Callable[[], Any]:
    """100 elementwise ops on 8 numbers. minigrad follows the calls it knows, or without ``replay`` records them all; it
    runs them only if ``realised``. PyTorch runs them."""
    x, a, b, c = (library.array(value) for value in arrays)
    if tracked:
        x.requires_grad_(True)
    if realised and library.module_name == "minigrad" and not says_replayed(library.module):
        library.note = "minigrad.inspect counts no replays: ordinary recording"

    def record() -> Any:
        y = x
        with configured(library, REPLAY=replay):
            for _ in range(OPS // 4):
                y = (y * a + b).tanh() - c
        return library.finish(y) if realised else y

    return record


def says_replayed(module: Any) -> bool:
    """Whether ``minigrad.inspect`` counts what was replayed."""
    with module.inspect() as seen:
        return hasattr(seen, "replayed")


def numpy_ops(library: Library, arrays: Arrays) -> Callable[[], Any]:
    """The same in NumPy."""
    x, a, b, c = arrays

    def run() -> Any:
        y = x
        for _ in range(OPS // 4):
            y = np.tanh(y * a + b) - c
        return y

    return run


def pytorch_wrapped_product(library: Library, arrays: Arrays) -> Callable[[], Any]:
    """``a @ b`` of tensors that share NumPy's memory."""
    a, b = (library.module.from_numpy(value) for value in arrays)
    return lambda: library.finish(a @ b)


def numpy_product(library: Library, arrays: Arrays) -> Callable[[], Any]:
    """``a @ b``."""
    a, b = arrays
    return lambda: a @ b


def list_inputs(count: int) -> list[np.ndarray]:
    """Random numbers that become a list."""
    return [np.random.default_rng(0).random(count, dtype=np.float32)]


def pytorch_list(library: Library, arrays: Arrays) -> Callable[[], Any]:
    """``tensor(list of floats)``."""
    values = arrays[0].tolist()
    return lambda: library.finish(library.module.tensor(values))


def numpy_list(library: Library, arrays: Arrays) -> Callable[[], Any]:
    """``array(list of floats)``."""
    values = arrays[0].tolist()
    return lambda: np.array(values, arrays[0].dtype)


# --- micrograd's demo: a 2-16-16-1 network of single numbers, hinge loss --------------------------------------------

SIZES = (2, 16, 16, 1)
PENALTY = 1e-4


def moons_inputs(samples: int, sizes: tuple[int, ...] = SIZES) -> list[np.ndarray]:
    """Points on two half circles that reach into each other, labels +1 and -1, then weights and biases."""
    generator = np.random.default_rng(0)
    upper = np.arange(samples) % 2 == 0
    angle = generator.random(samples) * math.pi
    points = np.where(upper[:, None], np.stack([np.cos(angle), np.sin(angle)], 1),
                      np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], 1))
    points += 0.1 * generator.standard_normal((samples, 2))
    weights = [a.astype(np.float32) for n, m in pairwise(sizes)
               for a in (generator.uniform(-1, 1, (m, n)), np.zeros(m))]
    return [points.astype(np.float32), np.where(upper, -1, 1), *weights]


def batches(count: int, size: int) -> Iterator[list[int]]:
    """The samples of each step: all of them, or ``size`` drawn at random, the same in every library."""
    generator = np.random.default_rng(3)
    while True:
        yield generator.choice(count, size, replace=False).tolist() if size else list(range(count))


def scalar_steps(library: Library, arrays: Arrays, batch: int) -> Iterator[float]:
    """The loss of one training step after another. Every weight is a number on the tape, every label a Python number.
    minigrad, PyTorch and micrograd run the same lines but for making, reading and updating a number."""
    scalars = library.style == "micrograd"
    lib = library.module.engine if scalars else library.module

    def leaf(value: float, trained: bool = True) -> Any:
        return lib.Value(value) if scalars else lib.tensor(value, requires_grad=trained)

    layers = [([[leaf(v) for v in row] for row in w.tolist()], [leaf(v) for v in b.tolist()])
              for w, b in zip(arrays[2::2], arrays[3::2], strict=True)]
    parameters = [p for w, b in layers for p in [*(v for row in w for v in row), *b]]

    def score(x: list[Any]) -> Any:
        for number, (weights, biases) in enumerate(layers):
            x = [sum((w * v for w, v in zip(row, x, strict=True)), b) for row, b in zip(weights, biases, strict=True)]
            if number < len(layers) - 1:
                x = [v.relu() for v in x]
        return x[0]

    for number, chosen in enumerate(batches(len(arrays[0]), batch)):
        labels = [int(arrays[1][i]) for i in chosen]
        scores = [score([leaf(v, trained=False) for v in arrays[0][i].tolist()]) for i in chosen]
        hinge = sum((1 + -label * s).relu() for label, s in zip(labels, scores, strict=True)) * (1 / len(chosen))
        loss = hinge + PENALTY * sum(p * p for p in parameters)
        for p in parameters:
            p.grad = 0 if scalars else None
        loss.backward()
        rate = 1.0 - 0.9 * number / 100
        if scalars:
            for p in parameters:
                p.data -= rate * p.grad
        else:
            with lib.no_grad():
                for p in parameters:
                    p -= rate * p.grad
        yield float(loss.data if scalars else loss.item())


def numpy_scalar_steps(library: Library, arrays: Arrays, batch: int) -> Iterator[float]:
    """The same steps with arrays, their gradients written out."""
    points, labels = arrays[:2]
    weights = [a.copy() for a in arrays[2:]]
    for number, chosen in enumerate(batches(len(points), batch)):
        values, y = [points[chosen]], labels[chosen][:, None]
        for w, b in zip(weights[::2], weights[1::2], strict=True):
            values.append(values[-1] @ w.T + b)
            if len(values) <= len(weights) // 2:
                values[-1] = np.maximum(values[-1], 0)
        margin = 1 - y * values[-1]
        loss = float(np.maximum(margin, 0).mean() + PENALTY * sum((w * w).sum() for w in weights))
        d = -y * (margin > 0) / len(chosen)
        rate = 1.0 - 0.9 * number / 100
        for layer in reversed(range(len(weights) // 2)):
            w, b = weights[2 * layer:2 * layer + 2]
            d_w, d_b = d.T @ values[layer] + 2 * PENALTY * w, d.sum(0) + 2 * PENALTY * b
            d = d @ w * (values[layer] > 0)
            w -= rate * d_w
            b -= rate * d_b
        yield loss


def steps_of(library: Library, arrays: Arrays, batch: int) -> Iterator[float]:
    """The steps as this library takes them."""
    return (numpy_scalar_steps if library.style == "numpy" else scalar_steps)(library, arrays, batch)


def first_scalar_step(library: Library, arrays: Arrays, batch: int = 0) -> Any:
    """The first step, from the numbers of the network to its loss."""
    return next(steps_of(library, arrays, batch))


def later_scalar_steps(library: Library, arrays: Arrays, batch: int = 0, before: int = 1, count: int = 4,
                       patience: float = 20.0) -> Any:
    """The mean of ``count`` steps after the first ones, or of those that fit into ``patience`` seconds."""
    steps = steps_of(library, arrays, batch)
    losses = list(islice(steps, before))
    start, seconds, done = time.perf_counter(), 0.0, 0
    while done < count and (not done or seconds < patience):
        losses.append(next(steps))
        done, seconds = done + 1, time.perf_counter() - start
    return Timed(losses[:2], seconds / done)


# --- whole programs, from nothing to their result ------------------------------------------------------------------

def chain(library: Library, arrays: Arrays, ops: int) -> Any:
    """``ops`` ops one after another: x = tanh(x + 0.1), and so on."""
    x = library.array(arrays[0])
    tanh = np.tanh if library.style == "numpy" else library.module.tanh
    for _ in range(ops // 2):
        x = tanh(x + 0.1)
    return library.finish(x)


def heat_inputs(size: int) -> list[np.ndarray]:
    """A square plate, hot in its middle."""
    plate = np.zeros((size, size), np.float32)
    plate[size // 4:-size // 4, size // 4:-size // 4] = 1
    return [plate]


def heat(library: Library, arrays: Arrays, count: int) -> Any:
    """``count`` steps of the heat equation, in place in the inner part of a plate."""
    u = library.array(arrays[0].copy())
    for _ in range(count):
        u[1:-1, 1:-1] += 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
    return library.finish(u)


def rnn_inputs(count: int) -> list[np.ndarray]:
    """x of ``count`` steps, 4 sequences, 16 numbers; and an orthogonal matrix, so that gradients reach the start."""
    generator = np.random.default_rng(0)
    w = np.linalg.qr(generator.standard_normal((16, 16)))[0]
    return [(0.1 * generator.standard_normal((count, 4, 16))).astype(np.float32), w.astype(np.float32)]


def pytorch_rnn(library: Library, arrays: Arrays, later: bool) -> Any:
    """h = tanh(h @ w + x[t]) over all steps and the gradient of mean(h * h) with respect to w: the first time, or the
    median of three later times."""
    x, w = (library.array(a) for a in arrays)
    w.requires_grad_(True)

    def run() -> Any:
        w.grad = None
        h = library.module.zeros(x.shape[1:])
        for t in range(len(x)):
            h = (h @ w + x[t]).tanh()
        (h * h).mean().backward()
        return library.finish(w.grad)

    return median_of_later(run) if later else run()


def numpy_rnn(library: Library, arrays: Arrays, later: bool) -> Any:
    """The same gradient, written out."""
    x, w = arrays
    hs = [np.zeros_like(x[0])]
    for row in x:
        hs.append(np.tanh(hs[-1] @ w + row))
    d_w, d = np.zeros_like(w), 2 * hs[-1] / hs[-1].size
    for before, h in zip(reversed(hs[:-1]), reversed(hs[1:]), strict=True):
        d = d * (1 - h * h)
        d_w += before.T @ d
        d = d @ w.T
    return Timed(d_w, 0.0) if later else d_w


def median_of_later(run: Callable[[], Any], times: int = 3) -> Timed:
    """Run once, then take the median of the next times."""
    run()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        value = run()
        seconds.append(time.perf_counter() - start)
    return Timed(value, statistics.median(seconds))


def writes(library: Library, arrays: Arrays) -> Any:
    """``y[i] = i`` for each i."""
    y = library.array(arrays[0].copy())
    for i in range(len(y)):
        y[i] = i
    return library.finish(y)


def growing_inputs(count: int, width: int) -> list[np.ndarray]:
    """6 sequences of ``count`` tokens, and the six matrices of a transformer's block."""
    generator = np.random.default_rng(0)
    shapes = [(width, width)] * 4 + [(width, 4 * width), (4 * width, width)]
    return [generator.standard_normal((6, count, width)).astype(np.float32),
            *[(generator.standard_normal(s) / math.sqrt(s[0])).astype(np.float32) for s in shapes]]


def pytorch_growing(library: Library, arrays: Arrays) -> Any:
    """A transformer's block on the first token, the first two, and so on: each step has a size of its own."""
    x, q, k, v, o, up, down = (library.array(a) for a in arrays)
    for n in range(1, x.shape[1] + 1):
        t = x[:, :n]
        scores = (t @ q) @ (t @ k).transpose(-2, -1) * x.shape[2] ** -0.5
        t = t + scores.softmax(-1) @ (t @ v) @ o
        t = library.finish(t + (t @ up).relu() @ down)
    return t.mean(-1)


def numpy_growing(library: Library, arrays: Arrays) -> Any:
    """The result of the last step."""
    t, q, k, v, o, up, down = arrays
    scores = (t @ q) @ (t @ k).swapaxes(-2, -1) * t.shape[2] ** -0.5
    e = np.exp(scores - scores.max(-1, keepdims=True))
    t = t + e / e.sum(-1, keepdims=True) @ (t @ v) @ o
    return (t + np.maximum(t @ up, 0) @ down).mean(-1)


def pytorch_first_mlp(library: Library, arrays: Arrays) -> Any:
    """The MLP's first training step, model and all."""
    return training.pytorch_step(training.MLP, library, arrays)()


def jax_first_mlp(library: Library, arrays: Arrays) -> Any:
    """The same in JAX."""
    return training.jax_step(training.MLP, library, arrays)()


def numpy_first_mlp(library: Library, arrays: Arrays) -> Any:
    """The same in NumPy."""
    return training.numpy_step(training.MLP, library, arrays)()


def layers_inputs() -> list[np.ndarray]:
    """x (8, 8), and a layer's weight and bias."""
    generator = np.random.default_rng(0)
    return [generator.standard_normal(s).astype(np.float32) * 0.3 for s in ((8, 8), (8, 8), (8,))]


def layers(library: Library, arrays: Arrays, small: int, large: int) -> Any:
    """``tanh(x @ w + b)`` many times over, a kernel each, in graphs that are new: the time of the large one. Nearly all
    of it is planning, if equal kernels are compiled once, since a small graph has run before. minigrad compiles them
    (``TIERS=0``): of its own accord it would run the larger graphs, whose sizes vary, by generic kernels."""
    x, w, b = (library.array(a) for a in arrays)
    tanh = np.tanh if library.style == "numpy" else library.module.tanh

    def seconds(count: int) -> tuple[float, Any]:
        start = time.perf_counter()
        y = x
        with configured(library, TIERS=0):
            for _ in range(count):
                y = tanh(y @ w + b)
            y = library.finish(y)
        return time.perf_counter() - start, y

    seconds(max(1, small // 10))
    few, _ = seconds(small)
    many, y = seconds(large)
    return Timed(y, many, {f"times the time of {small} layers": many / few})


# --- training loops that are explained ----------------------------------------------------------------------------

def explained_steps(library: Library, arrays: Arrays, recipe: training.Recipe, count: int, replay: int = 1,
                    after: bool = False) -> Any:
    """Steps of a training loop under ``minigrad.explain``, after some that are not timed, and how much longer they took
    than those of a plain loop; without ``replay`` each is recorded anew; ``after``: those of a plain loop, once the
    block is over. The processor's time of this process, the best of five loops. The value is the loss of the first
    step."""
    step = training.pytorch_step(recipe, library, arrays)
    first = step()

    def seconds(block: Callable[[], AbstractContextManager[Any]]) -> float:
        best = math.inf
        for _ in range(5):
            with block():
                for _ in range(8):
                    step()
                start = time.process_time()
                for _ in range(count):
                    step()
                best = min(best, time.process_time() - start)
        return best

    with configured(library, TIERS=0, REPLAY=replay):
        plain, explained = seconds(nullcontext), seconds(library.module.explain)
        if after:
            explained = seconds(nullcontext)
    return Timed(first, explained, {"times the plain loop": explained / plain})


def numpy_first_step(library: Library, arrays: Arrays, recipe: training.Recipe, **how: int) -> Any:
    """The loss of the first step."""
    return training.numpy_step(recipe, library, arrays)()
