"""Stage: beside the house. In: nothing. Out: ``WORKLOADS``, the table of what is measured: a row each, with its name,
what it does, its inputs, the function of each library, its work in flops or bytes, and the floors it must keep.
minigrad and PyTorch run the same function (``pytorch``); ``numpy`` in float64 is the reference for all.
Next: ``overhead.py``, another table; then ``suites.py``, which names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from tools.bench import gradients, models, training
from tools.bench.floors import AtMost, Floor, Over, Ratio
from tools.bench.libraries import PEERS
from tools.bench.windows import convolve

COMPILERS = ("torch.compile", "jax", "tinygrad")
EAGER = ("numpy", "torch")
MORE_MEMORY = "MB more memory"  # the unit of a figure: by how much a process grew at its largest


@dataclass(frozen=True)
class Workload:
    """One row. ``kind`` is "call" (``functions[style](module, *arrays)`` gives an array), "step"
    (``functions[style](library, arrays)`` gives a training step), "made" (it gives a function whose result is an
    array), "cold" (the first step in a fresh process), "fresh" (``functions[style](library, arrays)`` is a whole
    program, run once in a fresh process), "cached" (the same after another process has filled the disk caches) or
    "import" (in a fresh process). ``work`` counts floating-point operations or bytes a call, as ``unit`` says. A time
    is that of a call divided by ``parts``. A "call" has its floating-point inputs in ``dtype``, if that is given.
    ``memory``: also by how much the process grows at the first calls, compiling included. ``tf32``: matrices of float32
    may be multiplied as tf32.
    """

    name: str
    what: str
    kind: str = "call"
    inputs: Callable[[], list[np.ndarray]] = list
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    work: float = 0
    unit: str = ""
    peers: tuple[str, ...] = PEERS
    tolerance: float = 1e-4
    floors: tuple[Floor, ...] = ()
    quick: bool = False
    parts: int = 1
    dtype: str = ""
    memory: bool = False
    tf32: bool = False

    def function(self, library_name: str, style: str) -> Callable[..., Any]:
        """The function for a library: its own entry if there is one, else its style's."""
        return self.functions.get(library_name) or self.functions[style]


def normal(*shapes: tuple[int, ...]) -> Callable[[], list[np.ndarray]]:
    """Inputs drawn from the normal distribution, float32, the same in every process."""
    return partial(_draw, "standard_normal", shapes)


def uniform(*shapes: tuple[int, ...]) -> Callable[[], list[np.ndarray]]:
    """Inputs drawn from [0, 1), float32, the same in every process."""
    return partial(_draw, "random", shapes)


def _draw(method: str, shapes: tuple[tuple[int, ...], ...]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [getattr(generator, method)(shape, dtype=np.float32) for shape in shapes]


def numpy_softmax(np: Any, x: Any) -> Any:
    """exp(x - max) / sum, over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def pytorch_layer_norm(lib: Any, x: Any) -> Any:
    """``nn.functional.layer_norm`` over the last axis; by hand where a library has none."""
    if hasattr(lib.nn.functional, "layer_norm"):
        return lib.nn.functional.layer_norm(x, (x.shape[-1],))
    centred = x - x.mean(-1, keepdim=True)
    return centred / ((centred * centred).mean(-1, keepdim=True) + 1e-5).sqrt()


def jax_layer_norm(jax: Any, x: Any) -> Any:
    """(x - mean) / sqrt(var + 1e-5), over the last axis."""
    return (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)


def pytorch_attention(lib: Any, q: Any, k: Any, v: Any) -> Any:
    """``scaled_dot_product_attention``; written out where a library has none."""
    if hasattr(lib.nn.functional, "scaled_dot_product_attention"):
        return lib.nn.functional.scaled_dot_product_attention(q, k, v)
    return (q @ k.transpose(-2, -1) * 0.125).softmax(-1) @ v


def jax_convolution(jax: Any, x: Any, w: Any) -> Any:
    """A 3x3 convolution with padding 1."""
    return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME")


def steps(recipe: training.Recipe, jit: bool) -> dict[str, Callable[..., Any]]:
    """The training step of each library for one recipe."""
    return {"numpy": partial(training.numpy_step, recipe), "pytorch": partial(training.pytorch_step, recipe),
            "jax": partial(training.jax_step, recipe),
            "tinygrad": partial(training.tinygrad_step, recipe),
            **({"minigrad": partial(training.minigrad_jit_step, recipe)} if jit else {})}


def matmul(size: int, floors: tuple[Floor, ...] = (), quick: bool = False) -> Workload:
    """The row of one square matrix product."""
    return Workload(f"matmul_{size}", f"a @ b, {size}x{size}", inputs=normal((size, size), (size, size)),
                    functions=dict.fromkeys(("numpy", "pytorch", "jax", "tinygrad"), lambda lib, a, b: a @ b),
                    work=2 * size**3, unit="flops", floors=floors, quick=quick)


def cross_entropy_inputs() -> list[np.ndarray]:
    """Scores of a large vocabulary, and labels."""
    return [models.normal(512, 50257), models.labels(512, classes=50257)]


def short_numbers(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Numbers from the normal distribution that are also bfloat16's, so that no library rounds them."""
    return [(array.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32) for array in normal(*shapes)()]


def small_integers() -> list[np.ndarray]:
    """Two matrices of all int8 numbers."""
    return list(np.random.default_rng(0).integers(-128, 128, (2, 1024, 1024), dtype=np.int8))


MATMUL_16 = replace(matmul(16, (AtMost(5e-6),), quick=True), peers=("numpy", "torch", "jax"))
SQUARE = (4096, 4096)
SQUARE_BYTES = 4 * 4096 * 4096

SMALL_NUMBERS = sum(array.size for array in gradients.small_tensors()) // 2

WORKLOADS: tuple[Workload, ...] = (
    Workload("chain", "(x.relu()*2+1).sigmoid()*x-0.5, 4096x4096", inputs=normal(SQUARE), functions={
        "numpy": lambda np, x: 1 / (1 + np.exp(-(np.maximum(x, 0) * 2 + 1))) * x - 0.5,
        "pytorch": lambda lib, x: (x.relu() * 2 + 1).sigmoid() * x - 0.5,
        "jax": lambda jax, x: jax.nn.sigmoid(jax.nn.relu(x) * 2 + 1) * x - 0.5,
        "tinygrad": lambda lib, x: (x.relu() * 2 + 1).sigmoid() * x - 0.5,
    }, work=2 * SQUARE_BYTES, unit="bytes", floors=(Ratio("torch", 1.0), Ratio("torch.compile", 1.0)), quick=True),
    Workload("softmax", "x.softmax(-1), 4096x4096", inputs=normal(SQUARE), functions={
        "numpy": numpy_softmax,
        "pytorch": lambda lib, x: x.softmax(-1),
        "jax": lambda jax, x: jax.nn.softmax(x, -1),
        "tinygrad": lambda lib, x: x.softmax(-1),
    }, work=2 * SQUARE_BYTES, unit="bytes", floors=(Ratio("torch", 1.0), Ratio("torch.compile", 1.0)), quick=True),
    Workload("layer_norm", "layer norm over the last axis, 4096x4096", inputs=normal(SQUARE), functions={
        "numpy": lambda np, x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5),
        "pytorch": pytorch_layer_norm,
        "jax": jax_layer_norm,
        "tinygrad": lambda lib, x: x.layernorm(-1, 1e-5),
    }, work=2 * SQUARE_BYTES, unit="bytes"),
    Workload("sum_all", "x.sum(), 4096x4096", inputs=uniform(SQUARE),
             functions=dict.fromkeys(("numpy", "pytorch", "jax", "tinygrad"), lambda lib, x: x.sum()),
             work=SQUARE_BYTES, unit="bytes"),
    Workload("sum_axis0", "x.sum(0), 4096x4096", inputs=uniform(SQUARE),
             functions=dict.fromkeys(("numpy", "pytorch", "jax", "tinygrad"), lambda lib, x: x.sum(0)),
             work=SQUARE_BYTES, unit="bytes"),
    Workload("var_axis1", "x.var(1), 4096x4096", inputs=normal(SQUARE), functions={
        "numpy": lambda np, x: x.var(1, ddof=1),
        "pytorch": lambda lib, x: x.var(1),
        "jax": lambda jax, x: x.var(1, ddof=1),
        "tinygrad": lambda lib, x: x.var(1),
    }, work=SQUARE_BYTES, unit="bytes"),
    MATMUL_16,
    matmul(64, quick=True),
    matmul(256),
    matmul(512, (Ratio("numpy", 0.70),), quick=True),
    matmul(1024, (Ratio("numpy", 0.70),), quick=True),
    matmul(2048, (Ratio("numpy", 0.70),), quick=True),
    Workload("matmul_1024_bfloat16", "a @ b, 1024x1024, bfloat16", inputs=partial(short_numbers, *[(1024, 1024)] * 2),
             functions=matmul(1024).functions, work=2 * 1024**3, unit="flops", peers=("torch", *COMPILERS),
             tolerance=1e-2, dtype="bfloat16"),
    Workload("matmul_1024_int8", "torch._int_mm(a, b), 1024x1024, int8, the result int32", inputs=small_integers,
             functions={
        "numpy": lambda np, a, b: a.astype(np.int64) @ b.astype(np.int64),
        "pytorch": lambda lib, a, b: lib._int_mm(a, b),
        "jax": lambda jax, a, b: jax.lax.dot_general(a, b, (((1,), (0,)), ((), ())), preferred_element_type="int32"),
    }, work=2 * 1024**3, unit="flops", peers=("torch", "torch.compile", "jax"), tolerance=0.0),
    Workload("attention", "softmax(q @ k.T / 8) @ v, batch 8, 8 heads, 256x64", inputs=normal(*[(8, 8, 256, 64)] * 3),
             functions={
        "numpy": lambda np, q, k, v: numpy_softmax(np, q @ k.swapaxes(-2, -1) * 0.125) @ v,
        "pytorch": pytorch_attention,
        "jax": lambda jax, q, k, v: jax.nn.softmax(q @ k.swapaxes(-2, -1) * 0.125, -1) @ v,
        "tinygrad": lambda lib, q, k, v: q.scaled_dot_product_attention(k, v),
    }, work=2 * 2 * 64 * 256 * 256 * 64, unit="flops"),
    Workload("conv", "3x3 convolution, padding 1, 8x64x56x56 to 64 channels",
             inputs=normal((8, 64, 56, 56), (64, 64, 3, 3)), functions={
        "numpy": lambda np, x, w: convolve(x, w, padding=1),
        "pytorch": lambda lib, x, w: lib.nn.functional.conv2d(x, w, padding=1),
        "jax": jax_convolution,
        "tinygrad": lambda lib, x, w: x.conv2d(w, padding=1),
    }, work=2 * 8 * 64 * 56 * 56 * 64 * 9, unit="flops"),
    Workload("softmax_vocabulary", "x.softmax(-1), 512x50257", inputs=normal((512, 50257)), functions={
        "numpy": numpy_softmax,
        "pytorch": lambda lib, x: x.softmax(-1),
        "jax": lambda jax, x: jax.nn.softmax(x, -1),
        "tinygrad": lambda lib, x: x.softmax(-1),
    }, work=2 * 4 * 512 * 50257, unit="bytes"),
    Workload("cross_entropy", "the gradient of a cross entropy's scores, 512x50257", "made", cross_entropy_inputs,
             gradients.cross_entropy_functions(), 2 * 4 * 512 * 50257, "bytes",
             ("numpy", "torch", "torch.compile", "jax")),
    Workload("adam_step", "Adam's step, 200 tensors of 1 to 4096 numbers, plain loop", "step", gradients.small_tensors,
             gradients.adam_functions(jit=False), 7 * 4 * SMALL_NUMBERS, "bytes", EAGER),
    # torch.compile takes minutes for an optimizer's step over so many tensors
    Workload("adam_step_jit", "the same, compiled", "step", gradients.small_tensors, gradients.adam_functions(jit=True),
             7 * 4 * SMALL_NUMBERS, "bytes", ("jax",)),
    Workload("xor_step", "XOR training step, 2-8-1, tanh, SGD, plain loop", "step", training.XOR.inputs,
             steps(training.XOR, jit=False), peers=EAGER, tolerance=1e-3, floors=(Ratio("torch", 1 / 1.5),),
             quick=True),
    Workload("xor_step_jit", "the same, compiled", "step", training.XOR.inputs,
             steps(training.XOR, jit=True), peers=COMPILERS, tolerance=1e-3, quick=True),
    Workload("mlp_step", "MLP training step, 128x784-256-10, AdamW, plain loop", "step", training.MLP.inputs,
             steps(training.MLP, jit=False), training.MLP.model.flops(), "flops", EAGER, 1e-3, quick=True),
    Workload("mlp_step_jit", "the same, compiled", "step", training.MLP.inputs,
             steps(training.MLP, jit=True), training.MLP.model.flops(), "flops", COMPILERS, 1e-3, quick=True),
    Workload("cnn_step", "CNN training step, 32x1x28x28, 16 and 32 channels, Adam, plain loop", "step",
             training.CNN.inputs, steps(training.CNN, jit=False), training.CNN.model.flops(), "flops", EAGER, 1e-3),
    Workload("cnn_step_jit", "the same, compiled", "step", training.CNN.inputs,
             steps(training.CNN, jit=True), training.CNN.model.flops(), "flops", COMPILERS, 1e-3),
    Workload("lstm_step", "LSTM training step, 35 steps of 32x128, 128 hidden, SGD, plain loop", "step",
             training.LSTM.inputs, steps(training.LSTM, jit=False), training.LSTM.model.flops(), "flops", EAGER, 1e-3),
    Workload("lstm_step_jit", "the same, compiled", "step", training.LSTM.inputs, steps(training.LSTM, jit=True),
             training.LSTM.model.flops(), "flops", ("torch.compile", "jax"), 1e-3),
    Workload("gpt_step", "GPT training step, 8x64 characters, 2 blocks of width 128, AdamW, plain loop", "step",
             training.GPT.inputs, steps(training.GPT, jit=False), training.GPT.model.flops(), "flops", EAGER, 1e-3),
    Workload("gpt_step_jit", "the same, compiled", "step", training.GPT.inputs, steps(training.GPT, jit=True),
             training.GPT.model.flops(), "flops", ("torch.compile", "jax"), 1e-3),
    Workload("mlp_cold", "first MLP training step in a fresh process, compiling included, nothing cached", "cold",
             training.MLP.inputs, steps(training.MLP, jit=False), peers=("torch", *COMPILERS), tolerance=1e-3,
             floors=(AtMost(1.0),), quick=True),
    Workload("import", "import the package in a fresh process", "import", peers=("numpy", "torch", "jax", "tinygrad"),
             floors=(Over("numpy", 0.050),), quick=True),
)
