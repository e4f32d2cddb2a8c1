"""Stage: beside the house. In: nothing. Out: ``MODELS``, the models that are trained in the table: for each its inputs
and its layers, from which come a module of minigrad and PyTorch, its scores in JAX, and its gradient in NumPy.
Next: ``training.py``, which makes training steps of them.

Every library begins with the same weights and has the same batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.bench.layers import (
    Activation,
    Arrays,
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
from tools.bench.sequences import Embedding, Positions, Recurrent, transformer_block


@dataclass(frozen=True)
class Model:
    """``batch()`` gives x and y, ``layers`` the scores of x. ``squared``: the loss is the mean squared error, otherwise
    cross entropy."""

    batch: Callable[[], list[np.ndarray]]
    layers: Chain
    squared: bool = False

    def inputs(self) -> list[np.ndarray]:
        """x, y, and the weights in the order in which the module has its parameters."""
        generator = np.random.default_rng(2)
        return [*self.batch(), *(generator.uniform(w.low, w.high, w.shape).astype(np.float32)
                                 for w in self.layers.weights())]

    def flops(self) -> int:
        """The floating-point operations of a step: forward, and twice as many backward."""
        return 3 * self.layers.flops(self.batch()[0].shape)

    def gradient(self, x: np.ndarray, y: np.ndarray, weights: Arrays) -> tuple[Any, list[np.ndarray]]:
        """The loss, and the gradient of each weight."""
        scores, back = self.layers.numpy(x, weights)
        loss, d_scores = squared_error(scores, y) if self.squared else cross_entropy(scores, y)
        return loss, back(d_scores)[1]


def chain(*layers: Layer) -> Chain:
    """The layers one after another.

    >>> chain(Linear(3, 4), Linear(4, 1)).output((2, 3))
    (2, 1)
    """
    return Chain(layers)


def normal(*shape: int) -> np.ndarray:
    """Numbers from the normal distribution, the same each time."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def labels(*shape: int, classes: int) -> np.ndarray:
    """Whole numbers below ``classes``, the same each time."""
    return np.random.default_rng(1).integers(0, classes, shape)


def squared_error(scores: np.ndarray, y: np.ndarray) -> tuple[Any, np.ndarray]:
    """The mean of (scores - y)², and its gradient."""
    error = scores - y
    return (error * error).mean(), 2 * error / error.size


def cross_entropy(scores: np.ndarray, y: np.ndarray) -> tuple[Any, np.ndarray]:
    """The mean of -log softmax(scores)[y], and its gradient."""
    rows = np.arange(len(y))
    shifted = scores - scores.max(1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    d_scores = np.exp(log_probability)
    d_scores[rows, y] -= 1
    return -log_probability[rows, y].mean(), d_scores / len(y)


def xor_batch() -> list[np.ndarray]:
    """The four cases."""
    return [np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([[0], [1], [1], [0]], np.float32)]


def mlp_batch() -> list[np.ndarray]:
    """128 random images of 784 numbers with labels 0 to 9."""
    return [normal(128, 784), labels(128, classes=10)]


def cnn_batch() -> list[np.ndarray]:
    """32 random 28x28 images with labels 0 to 9."""
    return [normal(32, 1, 28, 28), labels(32, classes=10)]


def lstm_batch() -> list[np.ndarray]:
    """32 sequences of 35 steps with 128 features, and the next character of 64 at each."""
    return [normal(35, 32, 128), labels(35 * 32, classes=64)]


def text_batch(count: int, length: int, classes: int) -> list[np.ndarray]:
    """``count`` sequences of ``length`` tokens, and the next of each."""
    tokens = labels(count * length, classes=classes)
    return [tokens.reshape(count, length), tokens[::-1].copy()]


def images_batch() -> list[np.ndarray]:
    """8 random 64x64 images in three colours with labels 0 to 99."""
    return [normal(8, 3, 64, 64), labels(8, classes=100)]


def gpt(vocabulary: int, length: int, width: int, heads: int, blocks: int) -> Chain:
    """Blocks of causal attention between an embedding and a head without bias: the scores of every place."""
    return chain(Embedding(vocabulary, width), Positions(length, width),
                 *transformer_block(width, heads) * blocks, Norm(width), Linear(width, vocabulary, bias=False),
                 Flatten(0, 1))


def resnet_block(inputs: int, outputs: int, stride: int) -> tuple[Layer, ...]:
    """Two 3x3 convolutions with batch norms, added to what came in (through a 1x1 convolution where the sizes
    change), and relu."""
    main = chain(Conv2d(inputs, outputs, 3, stride, 1, bias=False), Norm(outputs, batch=True), Activation("relu"),
                 Conv2d(outputs, outputs, 3, 1, 1, bias=False), Norm(outputs, batch=True))
    skip = chain(Conv2d(inputs, outputs, 1, stride, bias=False), Norm(outputs, batch=True))
    return Residual(main, skip if (inputs, stride) != (outputs, 1) else chain()), Activation("relu")


def resnet18(classes: int) -> Chain:
    """ResNet-18 (He et al., Deep Residual Learning for Image Recognition, 2015)."""
    stages = [block for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2))
              for block in (*resnet_block(max(64, width // stride), width, stride), *resnet_block(width, width, 1))]
    return chain(Conv2d(3, 64, 7, 2, 3, bias=False), Norm(64, batch=True), Activation("relu"), MaxPool(3, 2, 1),
                 *stages, MeanOfImage(), Linear(512, classes))


MODELS = {
    "xor": Model(xor_batch, chain(Linear(2, 8), Activation("tanh"), Linear(8, 1)), squared=True),
    "mlp": Model(mlp_batch, chain(Linear(784, 256), Activation("relu"), Linear(256, 10))),
    "cnn": Model(cnn_batch, chain(Conv2d(1, 16, 3, padding=1), Activation("relu"), MaxPool(2, 2),
                                  Conv2d(16, 32, 3, padding=1), Activation("relu"), MaxPool(2, 2),
                                  Flatten(), Linear(32 * 7 * 7, 10))),
    "lstm": Model(lstm_batch, chain(Recurrent("LSTM", 128, 128), Linear(128, 64), Flatten(0, 1))),
    "gpt": Model(lambda: text_batch(8, 64, 64), gpt(64, 64, 128, 4, 2)),
    "resnet18": Model(images_batch, resnet18(100)),
    "gpt2": Model(lambda: text_batch(4, 128, 8192), gpt(8192, 128, 512, 8, 4)),
}
