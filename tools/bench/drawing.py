"""Stage: beside the house. In: a row's name. Out: ``expression``, a random program, a row of the benchmark: a chain of
elementwise operations, a reduction, a product, a convolution or a rearrangement.
Next: ``drawn_models.py``, the training steps among them; ``campaign.py``, which runs and judges them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial

import numpy as np

from tools.bench.operations import ALONG, BINARY, REDUCTIONS, UNARY, Shape, Value, input_names
from tools.bench.workloads import Workload

PEERS = ("minigrad-jit", "torch", "torch.compile", "jax")
MOST_FLOPS, LEAST_FLOPS = 1.5e9, 2e6  # of a product or a convolution: milliseconds, and more than a call costs
ODD_SIZES = (1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 32, 33, 50, 64, 65, 96, 100, 127, 128, 200, 255, 256, 300, 513)


class Drawing:
    """A program that is being drawn: its random numbers and its inputs so far."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.inputs: list[tuple[Shape, float, float, bool]] = []

    def numbers(self, *shape: int, low: float = -1.0, high: float = 1.5) -> Value:
        """An input of numbers between ``low`` and ``high``."""
        return self._input(shape, low, high, False)

    def indices(self, *shape: int, below: int) -> Value:
        """An input of whole numbers below ``below``."""
        return self._input(shape, 0, below, True)

    def _input(self, shape: Shape, low: float, high: float, whole: bool) -> Value:
        self.inputs.append((shape, low, high, whole))
        return Value(input_names(len(self.inputs))[-1], shape)

    def about(self, low: float, high: float) -> int:
        """A whole number between the two, each magnitude as likely as another."""
        return round(math.exp(self.rng.uniform(math.log(low), math.log(high))))

    def shape(self, low: float, high: float, axes: int) -> Shape:
        """A shape with between ``low`` and ``high`` elements: all axes but one are drawn, that one fills."""
        total = self.about(low, high)
        sizes: list[int] = []
        for _ in range(axes - 1):
            sizes.append(self.rng.choice([size for size in ODD_SIZES if size <= max(1, total // math.prod(sizes))]))
        sizes.insert(self.rng.randrange(axes), max(1, total // math.prod(sizes)))
        return tuple(sizes)

    def unary(self, x: Value) -> Value:
        """An elementwise operation on one value, sometimes with a number."""
        if self.rng.random() < 0.25:
            by = round(self.rng.uniform(-1.5, 1.5), 2)
            return Value(self.rng.choice(("scale", "shift")), x.shape, (x,), {"by": by})
        return Value(self.rng.choice(list(UNARY)), x.shape, (x,))

    def some_unary(self, x: Value, most: int) -> Value:
        """None to ``most`` elementwise operations."""
        for _ in range(self.rng.randint(0, most)):
            x = self.unary(x)
        return x

    def transposed(self, *shape: int, low: float, high: float) -> Value:
        """An input of that shape, in memory as it is or transposed."""
        if self.rng.random() < 0.5:
            return self.numbers(*shape, low=low, high=high)
        stored = self.numbers(*shape[:-2], shape[-1], shape[-2], low=low, high=high)
        return Value("transposed", shape, (stored,))


def elementwise(d: Drawing) -> Value:
    """A chain of 3 to 12 operations, with other inputs that are broadcast in some."""
    shape = d.shape(2**12, 2**23, d.rng.randint(1, 4))
    x = d.numbers(*shape)
    for _ in range(d.rng.randint(3, 12)):
        if d.rng.random() < 0.35 and len(d.inputs) < 5:
            broadcast = [size if d.rng.random() < 0.6 else 1 for size in shape]
            x = Value(d.rng.choice(list(BINARY)), shape, (x, d.numbers(*broadcast)))
        else:
            x = d.unary(x)
    return x


def reduction(d: Drawing) -> Value:
    """A reduction over random axes, or an operation along one, between elementwise operations."""
    shape = d.shape(2**14, 2**23, d.rng.randint(1, 4))
    x = d.numbers(*shape)
    along = d.rng.randrange(len(shape))
    choice = d.rng.random()
    if choice < 0.1:
        return Value("argmax", shape[:along] + shape[along + 1:], (x,), {"axis": along})
    if d.rng.random() < 0.3:
        x = Value(d.rng.choice(list(BINARY)), shape, (x, d.numbers(*shape)))
    x = d.some_unary(x, 2)
    if choice < 0.25:
        return d.some_unary(Value("layer_norm", shape, (x,)), 1)
    if choice < 0.5:
        return d.some_unary(Value(d.rng.choice([n for n in ALONG if n != "argmax"]), shape, (x,), {"axis": along}), 1)
    axes = tuple(axis for axis in range(len(shape)) if axis == along or d.rng.random() < 0.4)
    kept = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    return d.some_unary(Value(d.rng.choice(list(REDUCTIONS)), kept, (x,), {"axis": axes}), 2)


def product(d: Drawing) -> Value:
    """A matrix product of any proportions and layouts, with something before and behind it."""
    while True:
        batch: Shape = ()
        proportions = d.rng.choice(("odd", "skinny", "tall", "long", "batched", "vector"))
        m, n, k = (d.about(33, 1000) for _ in range(3))
        if proportions == "skinny":
            m = d.about(1, 16)
            n, k = d.about(200, 4000), d.about(200, 4000)
        elif proportions == "tall":
            m, n, k = d.about(4000, 60000), d.about(4, 80), d.about(4, 128)
        elif proportions == "long":
            m, n, k = d.about(1, 48), d.about(1, 48), d.about(20000, 300000)
        elif proportions == "batched":
            batch, (m, n, k) = (d.about(3, 200),), (d.about(8, 160), d.about(8, 160), d.about(8, 160))
        elif proportions == "vector":
            m, n, k = d.about(500, 5000), 1, d.about(500, 5000)
        if d.rng.random() < 0.5:
            m, n = n, m
        if LEAST_FLOPS < 2 * math.prod(batch) * m * n * k < MOST_FLOPS:
            break
    scale = k**-0.25
    x, y = d.transposed(*batch, m, k, low=-scale, high=scale), d.transposed(*batch, k, n, low=-scale, high=scale)
    if d.rng.random() < 0.4:
        x = d.unary(x)
    if d.rng.random() < 0.2:
        y = d.unary(y)
    z = Value("matmul", (*batch, m, n), (x, y))
    if d.rng.random() < 0.6:
        z = Value("add", z.shape, (z, d.numbers(n)))
    z = d.some_unary(z, 1)
    if d.rng.random() < 0.3:
        z = Value(d.rng.choice(("add", "multiply")), z.shape, (z, d.numbers(*z.shape)))
    return z


def convolution(d: Drawing) -> Value:
    """A convolution of one or two dimensions of any geometry, with a bias and elementwise operations behind it."""
    while True:
        axes = 1 if d.rng.random() < 0.2 else 2
        image = tuple(d.about(7, 112) if axes == 2 else d.about(60, 6000) for _ in range(axes))
        kernel = d.rng.choice((1, 1, 3, 3, 3, 5, 7) if axes == 2 else (1, 3, 5, 9, 16))
        stride, dilation = d.rng.choice((1, 1, 1, 2, 2, 3)), d.rng.choice((1, 1, 1, 2))
        padding = d.rng.randint(0, dilation * (kernel - 1) // 2 + 1)
        groups = d.rng.choice((1, 1, 1, 1, 0, 2, 3, 4))
        channels = d.about(8, 128) if groups == 0 else max(groups, 1) * d.about(1, 96)
        groups = groups or channels
        outputs = groups * d.rng.choice((1, 1, 2)) if groups == channels else groups * d.about(1, 96)
        n = d.about(1, 32)
        result = tuple((size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for size in image)
        flops = 2 * n * outputs * math.prod(result) * (channels // groups) * kernel**axes
        if min(result) > 0 and max(channels, outputs) <= 400 and LEAST_FLOPS < flops < MOST_FLOPS:
            break
    scale = (channels // groups * kernel**axes) ** -0.5
    x = d.numbers(n, channels, *image)
    w = d.numbers(outputs, channels // groups, *[kernel] * axes, low=-scale, high=scale)
    z = Value(f"conv{axes}d", (n, outputs, *result), (x, w),
              {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups})
    if d.rng.random() < 0.7:
        z = Value("add", z.shape, (z, Value("per_channel", (outputs, *[1] * axes), (d.numbers(outputs),),
                                            {"shape": (-1, *[1] * axes)})))
    return d.some_unary(z, 2)


def rearrangement(d: Drawing) -> Value:
    """Indexing, joining or transposing, the result as an array of its own."""
    shape = d.shape(2**13, 2**22, d.rng.randint(2, 4))
    last = len(shape) - 1
    axis = d.rng.randrange(len(shape))
    x = d.some_unary(d.numbers(*shape), 1)
    choice = d.rng.choice(("permute", "flip", "roll", "every", "cat", "stack", "pad", "repeat", "rows", "take",
                           "gather", "add_rows", "lower_triangle"))
    if choice == "permute":
        order = d.rng.sample(range(len(shape)), len(shape))
        z = Value(choice, tuple(shape[at] for at in order), (x,), {"order": tuple(order)})
    elif choice == "flip":
        z = Value(choice, shape, (x,), {"axis": (axis,)})
    elif choice == "roll":
        z = Value(choice, shape, (x,), {"by": d.rng.randint(1, shape[axis]), "axis": axis})
    elif choice == "every":
        start, step = d.rng.randrange(max(1, shape[axis] // 2)), d.rng.randint(2, 5)
        z = Value(choice, _with(shape, axis, -(-(shape[axis] - start) // step)), (x,),
                  {"slices": ", ".join([":"] * axis + [f"{start}::{step}"])})
    elif choice == "cat":
        others = [d.numbers(*_with(shape, axis, d.about(1, shape[axis] + 1))) for _ in range(d.rng.randint(1, 3))]
        z = Value(choice, _with(shape, axis, shape[axis] + sum(other.shape[axis] for other in others)), (x, *others),
                  {"axis": axis})
    elif choice == "stack":
        z = Value(choice, (*shape[:axis], 2, *shape[axis:]), (x, d.numbers(*shape)), {"axis": axis})
    elif choice == "pad":
        before, after = d.rng.randint(0, 9), d.rng.randint(1, 9)
        z = Value(choice, _with(shape, last, shape[last] + before + after), (x,), {"around": (before, after)})
    elif choice == "repeat":
        times = [1] * len(shape)
        times[axis] = d.rng.randint(2, 4)
        z = Value(choice, _with(shape, axis, shape[axis] * times[axis]), (x,), {"times": tuple(times)})
    elif choice in ("rows", "take"):
        axis = 0 if choice == "rows" else axis
        index = d.indices(d.about(1, 2 * shape[axis]), below=shape[axis])
        z = Value(choice, _with(shape, axis, index.shape[0]), (x, index), {"axis": axis} if choice == "take" else {})
    elif choice == "gather":
        index = d.indices(*_with(shape, axis, d.about(1, 2 * shape[axis])), below=shape[axis])
        z = Value(choice, index.shape, (x, index), {"axis": axis})
    elif choice == "add_rows":
        count = d.about(1, 2 * shape[0] + 1)
        z = Value(choice, shape, (x, d.numbers(count, *shape[1:]), d.indices(count, below=shape[0])))
    else:
        z = Value(choice, shape, (x,))
    z = d.some_unary(z, 1)
    return Value("copy", z.shape, (z,))


def _with(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1:])


def arrays(inputs: list[tuple[Shape, float, float, bool]], seed: str) -> list[np.ndarray]:
    """The inputs of a program, the same in every process."""
    generator = np.random.default_rng(list(seed.encode()))
    return [generator.integers(int(low), int(high), shape) if whole else
            generator.uniform(low, high, shape).astype(np.float32) for shape, low, high, whole in inputs]


EXPRESSIONS: dict[str, Callable[[Drawing], Value]] = {
    f.__name__: f for f in (elementwise, reduction, product, convolution, rearrangement)}


def expression(name: str, kind: str) -> Workload:
    """The row of that name, with an expression of that kind."""
    d = Drawing(random.Random(name))
    result = EXPRESSIONS[kind](d)
    sizes = ", ".join(f"{name} {'x'.join(map(str, shape))}"
                      for name, (shape, *_) in zip(input_names(len(d.inputs)), d.inputs, strict=True))
    flops = _flops(result)
    work = flops or sum(math.prod(shape) * (8 if whole else 4) for shape, _, _, whole in d.inputs) + \
        4 * math.prod(result.shape)
    return Workload(name, f"{kind}: {result.text('pytorch')}; {sizes}", "call", partial(arrays, d.inputs, name),
                    {style: result.function(style, len(d.inputs)) for style in ("numpy", "pytorch", "jax")}, work,
                    "flops" if flops else "bytes", PEERS if kind == "convolution" else ("numpy", *PEERS))


def _flops(value: Value) -> int:
    """The floating-point operations of the products in a value."""
    own = 0
    if value.name == "matmul":
        own = 2 * math.prod(value.shape) * value.arguments[0].shape[-1]
    elif value.name in ("conv1d", "conv2d"):
        own = 2 * math.prod(value.shape) * math.prod(value.arguments[1].shape[1:])
    return own + sum(map(_flops, value.arguments))
