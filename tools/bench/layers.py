"""Stage: beside the house. In: sizes. Out: the layers of the models that are trained, in every library: a module of
minigrad and PyTorch, a function in JAX and tinygrad, and one in NumPy with its gradient by hand.
Next: ``sequences.py``, the layers that look along a sequence; then ``models.py``, which makes models of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tools.bench.windows import convolve, convolve_back, pool, pool_back

Shape = tuple[int, ...]
Arrays = Sequence[np.ndarray]
Back = Callable[[Any], tuple[Any, list[Any]]]  # the gradient of the result, to those of x and of each weight


@dataclass(frozen=True)
class Weight:
    """A weight's shape, and the bounds between which its first values are drawn."""

    shape: Shape
    low: float
    high: float


def around_zero(fan_in: int, *shapes: Shape) -> tuple[Weight, ...]:
    """Weights uniform in ±1/sqrt(fan_in), as PyTorch's layers have them.

    >>> around_zero(4, (2, 4))
    (Weight(shape=(2, 4), low=-0.5, high=0.5),)
    """
    return tuple(Weight(shape, -(fan_in**-0.5), fan_in**-0.5) for shape in shapes)


class Layer:
    """A function of an array and its weights. This base has no weights and keeps the shape."""

    def weights(self) -> tuple[Weight, ...]:
        """The weights, in the order of the module's parameters."""
        return ()

    def output(self, shape: Shape) -> Shape:
        """The result's shape for an array of this one."""
        return shape

    def flops(self, shape: Shape) -> int:
        """The floating-point operations of its products."""
        return 0

    def module(self, lib: Any) -> Any:
        """The layer as a module of PyTorch or minigrad."""
        raise NotImplementedError

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        """The layer in JAX."""
        raise NotImplementedError

    def tinygrad(self, weights: Any, x: Any) -> Any:
        """The layer in tinygrad."""
        raise NotImplementedError(f"{type(self).__name__} has no form for tinygrad")

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        """The layer in NumPy, and its gradient."""
        raise NotImplementedError


def split_weights(layers: Sequence[Layer], weights: Sequence[Any]) -> list[Sequence[Any]]:
    """The weights of each layer."""
    ends = np.cumsum([len(layer.weights()) for layer in layers])
    return [weights[end - len(layer.weights()):end] for layer, end in zip(layers, ends, strict=True)]


@dataclass(frozen=True)
class Chain(Layer):
    """Layers one after another."""

    layers: tuple[Layer, ...]

    def weights(self) -> tuple[Weight, ...]:
        return sum((layer.weights() for layer in self.layers), ())

    def output(self, shape: Shape) -> Shape:
        for layer in self.layers:
            shape = layer.output(shape)
        return shape

    def flops(self, shape: Shape) -> int:
        count = 0
        for layer in self.layers:
            count += layer.flops(shape)
            shape = layer.output(shape)
        return count

    def module(self, lib: Any) -> Any:
        return lib.nn.Sequential(*[layer.module(lib) for layer in self.layers])

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        for layer, own in zip(self.layers, split_weights(self.layers, weights), strict=True):
            x = layer.jax(jax, own, x)
        return x

    def tinygrad(self, weights: Any, x: Any) -> Any:
        for layer, own in zip(self.layers, split_weights(self.layers, weights), strict=True):
            x = layer.tinygrad(own, x)
        return x

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        backs = []
        for layer, own in zip(self.layers, split_weights(self.layers, weights), strict=True):
            x, of_layer = layer.numpy(x, own)
            backs.append(of_layer)

        def back(g: Any) -> tuple[Any, list[Any]]:
            gradients: list[Any] = []
            for of_layer in reversed(backs):
                g, own = of_layer(g)
                gradients[:0] = own
            return g, gradients

        return x, back


@dataclass(frozen=True)
class Residual(Layer):
    """main(x) + skip(x); without a skip x itself is added."""

    main: Chain
    skip: Chain = Chain(())

    def weights(self) -> tuple[Weight, ...]:
        return self.main.weights() + self.skip.weights()

    def output(self, shape: Shape) -> Shape:
        return self.main.output(shape)

    def flops(self, shape: Shape) -> int:
        return self.main.flops(shape) + self.skip.flops(shape)

    def module(self, lib: Any) -> Any:
        class Sum(lib.nn.Module):
            def __init__(self, main: Any, skip: Any) -> None:
                super().__init__()
                self.main, self.skip = main, skip

            def forward(self, x: Any) -> Any:
                return self.main(x) + self.skip(x)

        return Sum(self.main.module(lib), self.skip.module(lib) if self.skip.layers else lib.nn.Identity())

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        main, skip = split_weights((self.main, self.skip), weights)
        return self.main.jax(jax, main, x) + self.skip.jax(jax, skip, x)

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        own_main, own_skip = split_weights((self.main, self.skip), weights)
        y, back_main = self.main.numpy(x, own_main)
        kept, back_skip = self.skip.numpy(x, own_skip)

        def back(g: Any) -> tuple[Any, list[Any]]:
            g_main, of_main = back_main(g)
            g_skip, of_skip = back_skip(g)
            return g_main + g_skip, of_main + of_skip

        return y + kept, back


@dataclass(frozen=True)
class Linear(Layer):
    """x @ w.T + b over the last axis."""

    inputs: int
    outputs: int
    bias: bool = True

    def weights(self) -> tuple[Weight, ...]:
        return around_zero(self.inputs, (self.outputs, self.inputs), *[(self.outputs,)] * self.bias)

    def output(self, shape: Shape) -> Shape:
        return (*shape[:-1], self.outputs)

    def flops(self, shape: Shape) -> int:
        return 2 * math.prod(shape) * self.outputs

    def module(self, lib: Any) -> Any:
        return lib.nn.Linear(self.inputs, self.outputs, bias=self.bias)

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        y = x @ weights[0].T
        return y + weights[1] if self.bias else y

    def tinygrad(self, weights: Any, x: Any) -> Any:
        return x.linear(weights[0].T, *weights[1:])

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        y = x @ weights[0].T
        axes = tuple(range(x.ndim - 1))

        def back(g: Any) -> tuple[Any, list[Any]]:
            of_weight = np.tensordot(g, x, (axes, axes))
            return g @ weights[0], [of_weight, g.sum(axes)] if self.bias else [of_weight]

        return (y + weights[1] if self.bias else y), back


def _gelu(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    c = math.sqrt(2 / math.pi)
    t = np.tanh(c * (x + 0.044715 * x * x * x))
    return 0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)


def _silu(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    s = 1 / (1 + np.exp(-x))
    return x * s, s * (1 + x * (1 - s))


def _tanh(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    t = np.tanh(x)
    return t, 1 - t * t


# for each its module's name and settings, its form in JAX, and in NumPy with its slope
ACTIVATIONS: dict[str, tuple[str, dict[str, Any], Callable[[Any, Any], Any], Callable[[Any], Any]]] = {
    "relu": ("ReLU", {}, lambda jax, x: jax.nn.relu(x), lambda x: (np.maximum(x, 0), x > 0)),
    "tanh": ("Tanh", {}, lambda jax, x: jax.numpy.tanh(x), _tanh),
    "gelu": ("GELU", {"approximate": "tanh"}, lambda jax, x: jax.nn.gelu(x, approximate=True), _gelu),
    "silu": ("SiLU", {}, lambda jax, x: jax.nn.silu(x), _silu),
}


@dataclass(frozen=True)
class Activation(Layer):
    """One of ``ACTIVATIONS``."""

    name: str

    def module(self, lib: Any) -> Any:
        name, settings, _, _ = ACTIVATIONS[self.name]
        return getattr(lib.nn, name)(**settings)

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        return ACTIVATIONS[self.name][2](jax, x)

    def tinygrad(self, weights: Any, x: Any) -> Any:
        return getattr(x, self.name)()

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        y, slope = ACTIVATIONS[self.name][3](x)
        return y, lambda g: (g * slope, [])


@dataclass(frozen=True)
class Norm(Layer):
    """(x - mean) / sqrt(variance + 1e-5) * w + b. Over the last axis, a layer norm; or, of images, over all axes but
    the second, a batch norm. (Its running means are updated by the modules; JAX's form has none.)"""

    width: int
    batch: bool = False

    def weights(self) -> tuple[Weight, ...]:
        return (Weight((self.width,), 0.5, 1.5), Weight((self.width,), -0.5, 0.5))

    def axes(self, x: Any) -> tuple[int, ...]:
        """The axes over which the mean is taken."""
        return (0, *range(2, x.ndim)) if self.batch else (x.ndim - 1,)

    def shaped(self, x: Any, w: Any) -> Any:
        """A weight that broadcasts with x."""
        return w.reshape(-1, *[1] * (x.ndim - 2)) if self.batch else w

    def module(self, lib: Any) -> Any:
        return lib.nn.BatchNorm2d(self.width) if self.batch else lib.nn.LayerNorm(self.width)

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        centred = x - x.mean(self.axes(x), keepdims=True)
        unit = centred * jax.lax.rsqrt((centred * centred).mean(self.axes(x), keepdims=True) + 1e-5)
        return unit * self.shaped(x, weights[0]) + self.shaped(x, weights[1])

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        axes, w = self.axes(x), self.shaped(x, weights[0])
        rest = tuple(axis for axis in range(x.ndim) if axis != (1 if self.batch else x.ndim - 1))
        centred = x - x.mean(axes, keepdims=True)
        scale = 1 / np.sqrt((centred * centred).mean(axes, keepdims=True) + 1e-5)
        unit = centred * scale

        def back(g: Any) -> tuple[Any, list[Any]]:
            d = g * w
            d_x = scale * (d - d.mean(axes, keepdims=True) - unit * (d * unit).mean(axes, keepdims=True))
            return d_x, [(g * unit).sum(rest), g.sum(rest)]

        return unit * w + self.shaped(x, weights[1]), back


@dataclass(frozen=True)
class Conv2d(Layer):
    """A convolution of images (N, C, H, W) with a square kernel."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1
    bias: bool = True

    def weights(self) -> tuple[Weight, ...]:
        fan_in = self.inputs // self.groups
        return around_zero(fan_in * self.kernel**2, (self.outputs, fan_in, self.kernel, self.kernel),
                           *[(self.outputs,)] * self.bias)

    def output(self, shape: Shape) -> Shape:
        reach = 2 * self.padding - self.dilation * (self.kernel - 1) - 1
        return (shape[0], self.outputs, *((size + reach) // self.stride + 1 for size in shape[2:]))

    def flops(self, shape: Shape) -> int:
        return 2 * math.prod(self.output(shape)) * self.inputs // self.groups * self.kernel**2

    def module(self, lib: Any) -> Any:
        return lib.nn.Conv2d(self.inputs, self.outputs, self.kernel, self.stride, self.padding, self.dilation,
                             self.groups, self.bias)

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        y = jax.lax.conv_general_dilated(x, weights[0], [self.stride] * 2, [(self.padding, self.padding)] * 2,
                                         rhs_dilation=[self.dilation] * 2, feature_group_count=self.groups)
        return y + weights[1][:, None, None] if self.bias else y

    def tinygrad(self, weights: Any, x: Any) -> Any:
        return x.conv2d(weights[0], *weights[1:], groups=self.groups, stride=self.stride, dilation=self.dilation,
                        padding=self.padding)

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        geometry = (self.stride, self.padding, self.dilation)
        y = convolve(x, weights[0], *geometry, self.groups)

        def back(g: Any) -> tuple[Any, list[Any]]:
            d_x, d_weight = convolve_back(g, x, weights[0], *geometry, self.groups)
            return d_x, [d_weight, g.sum((0, 2, 3))] if self.bias else [d_weight]

        return (y + weights[1][:, None, None] if self.bias else y), back


@dataclass(frozen=True)
class MaxPool(Layer):
    """The largest value of each window of images (N, C, H, W)."""

    kernel: int
    stride: int
    padding: int = 0

    def output(self, shape: Shape) -> Shape:
        return (*shape[:2], *((size + 2 * self.padding - self.kernel) // self.stride + 1 for size in shape[2:]))

    def module(self, lib: Any) -> Any:
        return lib.nn.MaxPool2d(self.kernel, self.stride, self.padding)

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        around = (self.padding, self.padding)
        return jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 1, self.kernel, self.kernel),
                                     (1, 1, self.stride, self.stride), ((0, 0), (0, 0), around, around))

    def tinygrad(self, weights: Any, x: Any) -> Any:
        return x.max_pool2d((self.kernel, self.kernel), self.stride, padding=self.padding)

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        y, chosen = pool(x, self.kernel, self.stride, self.padding)
        return y, lambda g: (pool_back(g, chosen, x.shape, self.kernel, self.stride, self.padding), [])


@dataclass(frozen=True)
class MeanOfImage(Layer):
    """The mean over height and width: (N, C, H, W) to (N, C)."""

    def output(self, shape: Shape) -> Shape:
        return shape[:2]

    def module(self, lib: Any) -> Any:
        return lib.nn.Sequential(lib.nn.AdaptiveAvgPool2d(1), lib.nn.Flatten())

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        return x.mean((2, 3))

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        area = x.shape[2] * x.shape[3]
        return x.mean((2, 3)), lambda g: (np.broadcast_to(g[:, :, None, None] / area, x.shape), [])


@dataclass(frozen=True)
class Flatten(Layer):
    """The axes ``start`` to ``end`` as one."""

    start: int = 1
    end: int = -1

    def output(self, shape: Shape) -> Shape:
        end = self.end % len(shape) + 1
        return (*shape[:self.start], math.prod(shape[self.start:end]), *shape[end:])

    def module(self, lib: Any) -> Any:
        return lib.nn.Flatten(self.start, self.end)

    def jax(self, jax: Any, weights: Any, x: Any) -> Any:
        return x.reshape(self.output(x.shape))

    def tinygrad(self, weights: Any, x: Any) -> Any:
        return x.flatten(self.start, self.end)

    def numpy(self, x: np.ndarray, weights: Arrays) -> tuple[np.ndarray, Back]:
        return x.reshape(self.output(x.shape)), lambda g: (g.reshape(x.shape), [])
