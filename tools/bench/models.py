"""Stage: beside the house. In: nothing. Out: ``MODELS``, the models that are trained in the table: for each its inputs,
how minigrad and PyTorch write it, its scores in JAX, and the gradient by hand in NumPy.
Next: ``training.py``, which makes training steps of them.

Every library begins with the same weights and has the same batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Arrays = Sequence[np.ndarray]
Gradient = Callable[[np.ndarray, np.ndarray, Arrays], tuple[Any, list[np.ndarray]]]


@dataclass(frozen=True)
class Model:
    """``inputs()`` gives x, y and the weights, in the order in which ``module(lib)`` has its parameters. ``jax(jax,
    weights, x)`` gives the scores, ``gradient(x, y, weights)`` the loss and the weights' gradients. ``squared``: the
    loss is the mean squared error, otherwise cross entropy. ``tinygrad(weights, x)`` where there is one."""

    inputs: Callable[[], list[np.ndarray]]
    module: Callable[[Any], Any]
    jax: Callable[[Any, list[Any], Any], Any]
    gradient: Gradient
    tinygrad: Callable[[Any, Any], Any] | None = None
    squared: bool = False


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _labels(count: int, classes: int = 10) -> np.ndarray:
    return np.random.default_rng(1).integers(0, classes, count)


def _weights(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Matrices uniform in ±1/sqrt(width), each vector in the bounds of the matrix before it."""
    generator = np.random.default_rng(2)
    bound, result = 1.0, []
    for shape in shapes:
        bound = 1 / float(np.sqrt(np.prod(shape[1:]))) if len(shape) > 1 else bound
        result.append(generator.uniform(-bound, bound, shape).astype(np.float32))
    return result


def cross_entropy(scores: np.ndarray, y: np.ndarray) -> tuple[Any, np.ndarray]:
    """The mean of -log softmax(scores)[y], and its gradient."""
    rows = np.arange(len(y))
    shifted = scores - scores.max(1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    d_scores = np.exp(log_probability)
    d_scores[rows, y] -= 1
    return -log_probability[rows, y].mean(), d_scores / len(y)


# --- XOR: 2-8-1, tanh ----------------------------------------------------------------------------------------------


def xor_inputs() -> list[np.ndarray]:
    """x, y, then weight and bias of both layers."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    return [x, np.array([[0], [1], [1], [0]], np.float32), *_weights((8, 2), (8,), (1, 8), (1,))]


def _xor_module(lib: Any) -> Any:
    return lib.nn.Sequential(lib.nn.Linear(2, 8), lib.nn.Tanh(), lib.nn.Linear(8, 1))


def _xor_jax(jax: Any, weights: list[Any], x: Any) -> Any:
    w1, b1, w2, b2 = weights
    return jax.numpy.tanh(x @ w1.T + b1) @ w2.T + b2


def _xor_tinygrad(weights: Any, x: Any) -> Any:
    w1, b1, w2, b2 = weights
    return x.linear(w1.T, b1).tanh().linear(w2.T, b2)


def _xor_gradient(x: np.ndarray, y: np.ndarray, weights: Arrays) -> tuple[Any, list[np.ndarray]]:
    w1, b1, w2, b2 = weights
    hidden = np.tanh(x @ w1.T + b1)
    error = hidden @ w2.T + b2 - y
    d_out = 2 * error / error.size
    d_hidden = d_out @ w2 * (1 - hidden * hidden)
    return (error * error).mean(), [d_hidden.T @ x, d_hidden.sum(0), d_out.T @ hidden, d_out.sum(0)]


# --- MLP: 784-256-10, ReLU -----------------------------------------------------------------------------------------


def mlp_inputs() -> list[np.ndarray]:
    """A batch of 128 random images of 784 numbers with labels 0 to 9, and the weights."""
    return [_random(128, 784), _labels(128), *_weights((256, 784), (256,), (10, 256), (10,))]


def _mlp_module(lib: Any) -> Any:
    return lib.nn.Sequential(lib.nn.Linear(784, 256), lib.nn.ReLU(), lib.nn.Linear(256, 10))


def _mlp_jax(jax: Any, weights: list[Any], x: Any) -> Any:
    w1, b1, w2, b2 = weights
    return jax.nn.relu(x @ w1.T + b1) @ w2.T + b2


def _mlp_tinygrad(weights: Any, x: Any) -> Any:
    w1, b1, w2, b2 = weights
    return x.linear(w1.T, b1).relu().linear(w2.T, b2)


def _mlp_gradient(x: np.ndarray, y: np.ndarray, weights: Arrays) -> tuple[Any, list[np.ndarray]]:
    w1, b1, w2, b2 = weights
    hidden = np.maximum(x @ w1.T + b1, 0)
    loss, d_scores = cross_entropy(hidden @ w2.T + b2, y)
    d_hidden = d_scores @ w2 * (hidden > 0)
    return loss, [d_hidden.T @ x, d_hidden.sum(0), d_scores.T @ hidden, d_scores.sum(0)]


# --- CNN: two 3x3 convolutions with pooling -------------------------------------------------------------------------


def cnn_inputs() -> list[np.ndarray]:
    """A batch of 32 random 28x28 images with labels 0 to 9, and the weights."""
    weights = _weights((16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (10, 32 * 7 * 7), (10,))
    return [_random(32, 1, 28, 28), _labels(32), *weights]


def _cnn_module(lib: Any) -> Any:
    nn = lib.nn
    return nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(32 * 7 * 7, 10))


def _cnn_jax(jax: Any, weights: list[Any], x: Any) -> Any:
    *features, w, b = weights
    for filters, bias in zip(features[::2], features[1::2], strict=True):
        x = jax.nn.relu(jax.lax.conv_general_dilated(x, filters, (1, 1), "SAME") + bias[:, None, None])
        n, c, height, width = x.shape
        x = x.reshape(n, c, height // 2, 2, width // 2, 2).max((3, 5))
    return x.reshape(x.shape[0], -1) @ w.T + b


def _cnn_tinygrad(weights: Any, x: Any) -> Any:
    *features, w, b = weights
    for filters, bias in zip(features[::2], features[1::2], strict=True):
        x = x.conv2d(filters, bias, padding=1).relu().max_pool2d((2, 2))
    return x.flatten(1).linear(w.T, b)


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
    loss, d_scores = cross_entropy(flat @ weights[4].T + weights[5], y)
    gradients = [d_scores.T @ flat, d_scores.sum(0)]
    d_pooled = (d_scores @ weights[4]).reshape(image.shape)
    for image, w, active, cells, pooled in reversed(saved):
        chosen = cells == pooled[:, :, :, None, :, None]
        d_active = (chosen * d_pooled[:, :, :, None, :, None]).reshape(active.shape) * (active > 0)
        d_weight = np.tensordot(d_active, windows_3x3(image), ((0, 2, 3), (0, 2, 3)))
        gradients[:0] = [d_weight, d_active.sum((0, 2, 3))]
        d_pooled = convolution_3x3(d_active, w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    return loss, gradients


# --- LSTM: one layer, a prediction at each step ---------------------------------------------------------------------

STEPS, HIDDEN, CHARACTERS = 35, 128, 64


def lstm_inputs() -> list[np.ndarray]:
    """32 sequences of 35 steps with 128 features, the next character of 64 at each, and the weights."""
    weights = _weights((4 * HIDDEN, HIDDEN), (4 * HIDDEN, HIDDEN), (4 * HIDDEN,), (4 * HIDDEN,), (CHARACTERS, HIDDEN),
                       (CHARACTERS,))
    return [_random(STEPS, 32, HIDDEN), _labels(STEPS * 32, CHARACTERS), *weights]


def _lstm_module(lib: Any) -> Any:
    class Predictor(lib.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = lib.nn.LSTM(HIDDEN, HIDDEN)
            self.head = lib.nn.Linear(HIDDEN, CHARACTERS)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0]).flatten(0, 1)

    return Predictor()


def _lstm_jax(jax: Any, weights: list[Any], x: Any) -> Any:
    jnp = jax.numpy
    w_ih, w_hh, b_ih, b_hh, w, b = weights

    def step(state: Any, part: Any) -> Any:
        h, c = state
        i, f, g, o = jnp.split(part + h @ w_hh.T, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    start = jnp.zeros((x.shape[1], HIDDEN), x.dtype)
    _, outputs = jax.lax.scan(step, (start, start), x @ w_ih.T + b_ih + b_hh)
    return outputs.reshape(-1, HIDDEN) @ w.T + b


def _lstm_gradient(x: np.ndarray, y: np.ndarray, weights: Arrays) -> tuple[Any, list[np.ndarray]]:
    w_ih, w_hh, b_ih, b_hh, w, b = weights
    h = c = np.zeros((x.shape[1], HIDDEN), x.dtype)
    saved, outputs = [], []
    for row in x:
        i, f, g, o = np.split(row @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, -1)
        i, f, g, o = 1 / (1 + np.exp(-i)), 1 / (1 + np.exp(-f)), np.tanh(g), 1 / (1 + np.exp(-o))
        before = h, c
        c = f * c + i * g
        h = o * np.tanh(c)
        saved.append((row, *before, i, f, g, o, c))
        outputs.append(h)
    flat = np.concatenate(outputs)
    loss, d_scores = cross_entropy(flat @ w.T + b, y)
    d_outputs = (d_scores @ w).reshape(len(x), -1, HIDDEN)
    d_ih, d_hh, d_b = np.zeros_like(w_ih), np.zeros_like(w_hh), np.zeros_like(b_ih)
    d_h = d_c = np.zeros_like(h)
    for (row, h, before, i, f, g, o, c), d_output in zip(saved[::-1], d_outputs[::-1], strict=True):
        d_h = d_h + d_output
        t = np.tanh(c)
        d_c = d_c + d_h * o * (1 - t * t)
        d_gates = np.concatenate([d_c * g * i * (1 - i), d_c * before * f * (1 - f), d_c * i * (1 - g * g),
                                  d_h * t * o * (1 - o)], -1)
        d_ih += d_gates.T @ row
        d_hh += d_gates.T @ h
        d_b += d_gates.sum(0)
        d_h, d_c = d_gates @ w_hh, d_c * f
    return loss, [d_ih, d_hh, d_b, d_b, d_scores.T @ flat, d_scores.sum(0)]


# --- GPT: two blocks of causal attention ----------------------------------------------------------------------------

LENGTH, WIDTH, HEADS, BLOCKS = 64, 128, 4, 2


def gpt_inputs() -> list[np.ndarray]:
    """8 sequences of 64 characters, the next of each, and the weights."""
    block = [(WIDTH,), (WIDTH,), (3 * WIDTH, WIDTH), (3 * WIDTH,), (WIDTH, WIDTH), (WIDTH,), (WIDTH,), (WIDTH,),
             (4 * WIDTH, WIDTH), (4 * WIDTH,), (WIDTH, 4 * WIDTH), (WIDTH,)]
    weights = _weights((CHARACTERS, WIDTH), (LENGTH, WIDTH), *block * BLOCKS, (WIDTH,), (WIDTH,), (CHARACTERS, WIDTH))
    return [_labels(8 * LENGTH, CHARACTERS).reshape(8, LENGTH), _labels(8 * LENGTH, CHARACTERS)[::-1].copy(), *weights]


def _gpt_module(lib: Any) -> Any:
    nn = lib.nn

    class Block(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.qkv, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
            self.norm2, self.up = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH)
            self.down = nn.Linear(4 * WIDTH, WIDTH)

        def forward(self, x: Any) -> Any:
            n, length, _ = x.shape
            q, k, v = (part.view(n, length, HEADS, WIDTH // HEADS).transpose(1, 2)
                       for part in self.qkv(self.norm1(x)).split(WIDTH, dim=2))
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(n, length, WIDTH))
            return x + self.down(nn.functional.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class GPT(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.places = nn.Embedding(CHARACTERS, WIDTH), nn.Embedding(LENGTH, WIDTH)
            self.blocks = nn.Sequential(*[Block() for _ in range(BLOCKS)])
            self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CHARACTERS, bias=False)

        def forward(self, x: Any) -> Any:
            x = self.tokens(x) + self.places(lib.arange(x.shape[1]))
            return self.head(self.norm(self.blocks(x))).flatten(0, 1)

    return GPT()


def _gpt_jax(jax: Any, weights: list[Any], x: Any) -> Any:
    jnp = jax.numpy

    def norm(x: Any, w: Any, b: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5) * w + b

    tokens, places, *blocks, w, b, head = weights
    x = tokens[x] + places[: x.shape[1]]
    n, length, width = x.shape
    mask = jnp.tril(jnp.ones((length, length), bool))
    for at in range(0, len(blocks), 12):
        w1, b1, w_qkv, b_qkv, w_out, b_out, w2, b2, w_up, b_up, w_down, b_down = blocks[at:at + 12]
        q, k, v = (part.reshape(n, length, HEADS, -1).transpose(0, 2, 1, 3)
                   for part in jnp.split(norm(x, w1, b1) @ w_qkv.T + b_qkv, 3, -1))
        scores = jnp.where(mask, q @ k.transpose(0, 1, 3, 2) / (width // HEADS) ** 0.5, -jnp.inf)
        y = (jax.nn.softmax(scores, -1) @ v).transpose(0, 2, 1, 3).reshape(n, length, width)
        x = x + y @ w_out.T + b_out
        x = x + jax.nn.gelu(norm(x, w2, b2) @ w_up.T + b_up, approximate=True) @ w_down.T + b_down
    return (norm(x, w, b) @ head.T).reshape(-1, CHARACTERS)


def _norm(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], Any]]:
    """A layer norm, and its gradient: of x, w and b."""
    centred = x - x.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
    unit = centred * scale

    def back(g: np.ndarray) -> Any:
        d = g * w
        d_x = scale * (d - d.mean(-1, keepdims=True) - unit * (d * unit).mean(-1, keepdims=True))
        return d_x, (g * unit).sum((0, 1)), g.sum((0, 1))

    return unit * w + b, back


def _dense(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], Any]]:
    def back(g: np.ndarray) -> Any:
        return g @ w, np.tensordot(g, x, ((0, 1), (0, 1))), g.sum((0, 1))

    return x @ w.T + b, back


def _gelu(x: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], Any]]:
    c = np.sqrt(2 / np.pi)
    t = np.tanh(c * (x + 0.044715 * x**3))
    return 0.5 * x * (1 + t), lambda g: g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x))


def _attend(qkv: np.ndarray) -> tuple[np.ndarray, Callable[[np.ndarray], Any]]:
    n, length, width = qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3
    q, k, v = (part.reshape(n, length, HEADS, -1).transpose(0, 2, 1, 3) for part in np.split(qkv, 3, -1))
    scale = 1 / np.sqrt(width // HEADS)
    scores = np.where(np.tril(np.ones((length, length), bool)), q @ k.transpose(0, 1, 3, 2) * scale, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)

    def back(g: np.ndarray) -> Any:
        g = g.reshape(n, length, HEADS, -1).transpose(0, 2, 1, 3)
        d = p * (g @ v.transpose(0, 1, 3, 2) - (g * (p @ v)).sum(-1, keepdims=True)) * scale
        parts = d @ k, d.transpose(0, 1, 3, 2) @ q, p.transpose(0, 1, 3, 2) @ g
        return np.concatenate([part.transpose(0, 2, 1, 3).reshape(n, length, width) for part in parts], -1)

    return (p @ v).transpose(0, 2, 1, 3).reshape(n, length, width), back


def _gpt_gradient(tokens: np.ndarray, y: np.ndarray, weights: Arrays) -> tuple[Any, list[np.ndarray]]:
    of_tokens, of_places, *blocks, w, b, head = weights
    x = of_tokens[tokens] + of_places[: tokens.shape[1]]
    saved = []
    for at in range(0, len(blocks), 12):
        own = blocks[at:at + 12]
        parts = []
        value = x
        for make in (lambda v, o: _norm(v, o[0], o[1]), lambda v, o: _dense(v, o[2], o[3]), lambda v, o: _attend(v),
                     lambda v, o: _dense(v, o[4], o[5])):
            value, back = make(value, own)
            parts.append(back)
        x = value = x + value
        for make in (lambda v, o: _norm(v, o[6], o[7]), lambda v, o: _dense(v, o[8], o[9]), lambda v, o: _gelu(v),
                     lambda v, o: _dense(v, o[10], o[11])):
            value, back = make(value, own)
            parts.append(back)
        x = x + value
        saved.append(parts)
    last, back_norm = _norm(x, w, b)
    loss, d_scores = cross_entropy((last @ head.T).reshape(-1, len(head)), y)
    d_scores = d_scores.reshape(*tokens.shape, -1)
    g, d_w, d_b = back_norm(d_scores @ head)
    gradients = [d_w, d_b, np.tensordot(d_scores, last, ((0, 1), (0, 1)))]
    for parts in reversed(saved):
        norm1, qkv, attend, out, norm2, up, gelu, down = parts
        h, d_down, d_down_b = down(g)
        h, d_up, d_up_b = up(gelu(h))
        h, d_w2, d_b2 = norm2(h)
        g = g + h
        h, d_out, d_out_b = out(g)
        h, d_qkv, d_qkv_b = qkv(attend(h))
        h, d_w1, d_b1 = norm1(h)
        g = g + h
        gradients[:0] = [d_w1, d_b1, d_qkv, d_qkv_b, d_out, d_out_b, d_w2, d_b2, d_up, d_up_b, d_down, d_down_b]
    d_tokens = np.zeros_like(of_tokens)
    np.add.at(d_tokens, tokens, g)
    return loss, [d_tokens, g.sum(0), *gradients]


MODELS = {
    "xor": Model(xor_inputs, _xor_module, _xor_jax, _xor_gradient, _xor_tinygrad, squared=True),
    "mlp": Model(mlp_inputs, _mlp_module, _mlp_jax, _mlp_gradient, _mlp_tinygrad),
    "cnn": Model(cnn_inputs, _cnn_module, _cnn_jax, _cnn_gradient, _cnn_tinygrad),
    "lstm": Model(lstm_inputs, _lstm_module, _lstm_jax, _lstm_gradient),
    "gpt": Model(gpt_inputs, _gpt_module, _gpt_jax, _gpt_gradient),
}
