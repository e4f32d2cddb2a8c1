"""Stage: beside the house. In: sizes. Out: the layers that read sequences: tables of vectors, attention, recurrence.
Next: ``layers.py``, the layers they stand beside; ``models.py``, which makes models of both."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.bench.layers import (
    Activation,
    Arrays,
    Back,
    Chain,
    Layer,
    Linear,
    Norm,
    Residual,
    Shape,
    Weight,
    around_zero,
)


@dataclass(frozen=True)
class Embedding(Layer):
    """A row of a table for each whole number."""

    count: int
    width: int

    def weights(self) -> tuple[Weight, ...]:
        return around_zero(self.width, (self.count, self.width))

    def output(self, shape: Shape) -> Shape:
        return (*shape, self.width)

    def module(self, lib: Any) -> Any:
        return lib.nn.Embedding(self.count, self.width)

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        return weights[0][x]

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        def back(g: Any) -> tuple[Any, list[Any]]:
            of_table = np.zeros_like(weights[0])
            np.add.at(of_table, x, g)
            return None, [of_table]

        return weights[0][x], back


@dataclass(frozen=True)
class Positions(Layer):
    """x, (N, length, width), plus a vector for each place of the sequence."""

    length: int
    width: int

    def weights(self) -> tuple[Weight, ...]:
        return around_zero(self.width, (self.length, self.width))

    def module(self, lib: Any) -> Any:
        class Places(lib.nn.Module):
            def __init__(self, length: int, width: int) -> None:
                super().__init__()
                self.table = lib.nn.Embedding(length, width)

            def forward(self, x: Any) -> Any:
                return x + self.table(lib.arange(x.shape[1]))

        return Places(self.length, self.width)

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        return x + weights[0][: x.shape[1]]

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        def back(g: Any) -> tuple[Any, list[Any]]:
            of_table = np.zeros_like(weights[0])
            of_table[: x.shape[1]] = g.sum(0)
            return g, [of_table]

        return x + weights[0][: x.shape[1]], back


@dataclass(frozen=True)
class SelfAttention(Layer):
    """softmax(q @ k.T / sqrt(head size)) @ v for each head: queries, keys and values, (N, length, 3 * width), to
    (N, length, width). Causal: a place sees itself and those before."""

    heads: int
    causal: bool

    def output(self, shape: Shape) -> Shape:
        return (*shape[:2], shape[2] // 3)

    def flops(self, shape: Shape) -> int:
        return 4 * shape[0] * shape[1] ** 2 * (shape[2] // 3) // (2 if self.causal else 1)

    def module(self, lib: Any) -> Any:
        heads, causal = self.heads, self.causal

        class Attention(lib.nn.Module):
            def forward(self, x: Any) -> Any:
                n, length, width = x.shape[0], x.shape[1], x.shape[2] // 3
                q, k, v = (part.view(n, length, heads, width // heads).transpose(1, 2)
                           for part in x.split(width, dim=2))
                y = lib.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
                return y.transpose(1, 2).reshape(n, length, width)

        return Attention()

    def parts(self, x: Any) -> list[Any]:
        """Queries, keys and values, (N, heads, length, head size)."""
        n, length, width = x.shape[0], x.shape[1], x.shape[2] // 3
        return [x[:, :, at * width:(at + 1) * width].reshape(n, length, self.heads, -1).swapaxes(1, 2)
                for at in range(3)]

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        q, k, v = self.parts(x)
        scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1])
        if self.causal:
            scores = jax.numpy.where(jax.numpy.tri(x.shape[1], dtype=bool), scores, -np.inf)
        return (jax.nn.softmax(scores, -1) @ v).swapaxes(1, 2).reshape(self.output(x.shape))

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        q, k, v = self.parts(x)
        scale = 1 / math.sqrt(q.shape[-1])
        scores = q @ k.swapaxes(-1, -2) * scale
        if self.causal:
            scores = np.where(np.tri(x.shape[1], dtype=bool), scores, -np.inf)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        y = p @ v

        def back(g: Any) -> tuple[Any, list[Any]]:
            g = g.reshape(*g.shape[:2], self.heads, -1).swapaxes(1, 2)
            d = p * (g @ v.swapaxes(-1, -2) - (g * y).sum(-1, keepdims=True)) * scale
            parts = d @ k, d.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ g
            return np.concatenate([part.swapaxes(1, 2).reshape(self.output(x.shape)) for part in parts], -1), []

        return y.swapaxes(1, 2).reshape(self.output(x.shape)), back


def transformer_block(width: int, heads: int, causal: bool = True, activation: str = "gelu") -> tuple[Layer, ...]:
    """Attention and a network four times as wide, each of a layer norm and added to what came in."""
    return (Residual(Chain((Norm(width), Linear(width, 3 * width), SelfAttention(heads, causal),
                            Linear(width, width)))),
            Residual(Chain((Norm(width), Linear(width, 4 * width), Activation(activation),
                            Linear(4 * width, width)))))


# --- recurrent cells: from px = x @ w_ih.T + b_ih, ph = h @ w_hh.T + b_hh, h and c to the next h and c ----------------

@dataclass(frozen=True)
class Cell:
    """``step(xp, sigmoid, px, ph, h, c)`` gives the next h, the next c and what ``back`` needs; ``back(saved, h, c, g,
    d_c)``, where g and d_c are the gradients of the next h and c, gives those of px, ph, h (not through ph) and c."""

    gates: int
    step: Callable[..., tuple[Any, Any, Any]]
    back: Callable[..., tuple[Any, Any, Any, Any]]


def _rnn_step(xp: Any, sigmoid: Any, px: Any, ph: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
    h = xp.tanh(px + ph)
    return h, c, h


def _rnn_back(saved: Any, h: Any, c: Any, g: Any, d_c: Any) -> tuple[Any, Any, Any, Any]:
    d = g * (1 - saved * saved)
    return d, d, 0, d_c


def _gru_step(xp: Any, sigmoid: Any, px: Any, ph: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
    (xr, xz, xn), (hr, hz, hn) = xp.split(px, 3, -1), xp.split(ph, 3, -1)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    n = xp.tanh(xn + r * hn)
    return (1 - z) * n + z * h, c, (r, z, n, hn)


def _gru_back(saved: Any, h: Any, c: Any, g: Any, d_c: Any) -> tuple[Any, Any, Any, Any]:
    r, z, n, hn = saved
    d_n = g * (1 - z) * (1 - n * n)
    d_r, d_z = d_n * hn * r * (1 - r), g * (h - n) * z * (1 - z)
    return np.concatenate([d_r, d_z, d_n], -1), np.concatenate([d_r, d_z, d_n * r], -1), g * z, d_c


def _lstm_step(xp: Any, sigmoid: Any, px: Any, ph: Any, h: Any, c: Any) -> tuple[Any, Any, Any]:
    i, f, g, o = xp.split(px + ph, 4, -1)
    i, f, g, o = sigmoid(i), sigmoid(f), xp.tanh(g), sigmoid(o)
    c = f * c + i * g
    t = xp.tanh(c)
    return o * t, c, (i, f, g, o, t)


def _lstm_back(saved: Any, h: Any, c: Any, g: Any, d_c: Any) -> tuple[Any, Any, Any, Any]:
    i, f, n, o, t = saved
    d_c = d_c + g * o * (1 - t * t)
    d = np.concatenate([d_c * n * i * (1 - i), d_c * c * f * (1 - f), d_c * i * (1 - n * n), g * t * o * (1 - o)], -1)
    return d, d, 0, d_c * f


CELLS = {"RNN": Cell(1, _rnn_step, _rnn_back), "GRU": Cell(3, _gru_step, _gru_back),
         "LSTM": Cell(4, _lstm_step, _lstm_back)}


@dataclass(frozen=True)
class Recurrent(Layer):
    """A layer of one of ``CELLS`` over (length, N, inputs): h of every step, (length, N, hidden)."""

    kind: str
    inputs: int
    hidden: int

    def weights(self) -> tuple[Weight, ...]:
        rows = CELLS[self.kind].gates * self.hidden
        return around_zero(self.hidden, (rows, self.inputs), (rows, self.hidden), (rows,), (rows,))

    def output(self, shape: Shape) -> Shape:
        return (*shape[:2], self.hidden)

    def flops(self, shape: Shape) -> int:
        return 2 * shape[0] * shape[1] * CELLS[self.kind].gates * self.hidden * (self.inputs + self.hidden)

    def module(self, lib: Any) -> Any:
        class Outputs(lib.nn.Module):
            def __init__(self, layer: Any) -> None:
                super().__init__()
                self.layer = layer

            def forward(self, x: Any) -> Any:
                return self.layer(x)[0]

        return Outputs(getattr(lib.nn, self.kind)(self.inputs, self.hidden))

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        w_ih, w_hh, b_ih, b_hh = weights

        def step(state: Any, px: Any) -> Any:
            h, c, _ = CELLS[self.kind].step(jax.numpy, jax.nn.sigmoid, px, state[0] @ w_hh.T + b_hh, *state)
            return (h, c), h

        start = jax.numpy.zeros((x.shape[1], self.hidden), x.dtype)
        return jax.lax.scan(step, (start, start), x @ w_ih.T + b_ih)[1]

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        w_ih, w_hh, b_ih, b_hh = weights
        cell, saved, outputs = CELLS[self.kind], [], []
        h = c = np.zeros((x.shape[1], self.hidden), x.dtype)
        for px in x @ w_ih.T + b_ih:
            before = h, c
            h, c, own = cell.step(np, lambda v: 1 / (1 + np.exp(-v)), px, h @ w_hh.T + b_hh, h, c)
            saved.append((own, *before))
            outputs.append(h)

        def back(g: Any) -> tuple[Any, list[Any]]:
            of_px, of_hh, of_b_hh = [], np.zeros_like(w_hh), np.zeros_like(b_hh)
            d_h = d_c = np.zeros_like(h)
            for (own, h_before, c_before), d_output in zip(reversed(saved), reversed(g), strict=True):
                d_px, d_ph, d_h, d_c = cell.back(own, h_before, c_before, d_h + d_output, d_c)
                of_px.append(d_px)
                of_hh += d_ph.T @ h_before
                of_b_hh += d_ph.sum(0)
                d_h = d_h + d_ph @ w_hh
            d = np.stack(of_px[::-1])
            return d @ w_ih, [np.tensordot(d, x, ((0, 1), (0, 1))), of_hh, d.sum((0, 1)), of_b_hh]

        return np.stack(outputs), back
