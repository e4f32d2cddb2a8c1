"""Stage: beside the house. In: nothing. Out: ``OPERATIONS``, the operations of which random programs are made, each as
NumPy, PyTorch and JAX are written; and ``Value``, an operation on values, which becomes a function of each library.
Next: ``drawing.py``, which draws programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tools.bench.windows import convolve

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """Expressions of the values {0}, {1} … and of settings by their names. ``numpy`` is NumPy's as ``xp`` and JAX's,
    too, where ``xp`` is ``jax.numpy``, unless there is ``jax``. ``pytorch`` is PyTorch's and minigrad's as ``lib``."""

    numpy: str
    pytorch: str
    jax: str = ""

    def text(self, style: str) -> str:
        """The expression in a style: "numpy", "pytorch" or "jax"."""
        return self.pytorch if style == "pytorch" else self.jax if style == "jax" and self.jax else self.numpy


# --- what NumPy has no expression for, and what differs by the number of axes -----------------------------------------

def softmax(xp: Any, x: Any, axis: int) -> Any:
    """exp(x - max) / sum along an axis."""
    e = xp.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def logsumexp(xp: Any, x: Any, axis: tuple[int, ...]) -> Any:
    """log(sum(exp(x))) over axes."""
    largest = x.max(axis, keepdims=True)
    return xp.log(xp.exp(x - largest).sum(axis)) + largest.squeeze(axis)


def layer_norm(xp: Any, x: Any) -> Any:
    """(x - mean) / sqrt(variance + 1e-5) over the last axis."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / xp.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)


def add_rows(xp: Any, x: Any, rows: Any, index: Any) -> Any:
    """x with a row added at each index."""
    result = x.copy()
    xp.add.at(result, index, rows)
    return result


def conv_general(jax: Any, x: Any, w: Any, stride: int, padding: int, dilation: int, groups: int) -> Any:
    """A convolution in JAX."""
    axes = x.ndim - 2
    return jax.lax.conv_general_dilated(x, w, [stride] * axes, [(padding, padding)] * axes,
                                        rhs_dilation=[dilation] * axes, feature_group_count=groups)


HELPERS: dict[str, Any] = {f.__name__: f for f in (softmax, logsumexp, layer_norm, add_rows, conv_general, convolve)}
GEOMETRY = "stride={stride}, padding={padding}, dilation={dilation}, groups={groups}"

UNARY: dict[str, Operation] = {
    "relu": Operation("xp.maximum({0}, 0)", "{0}.relu()"),
    "tanh": Operation("xp.tanh({0})", "{0}.tanh()"),
    "sigmoid": Operation("1 / (1 + xp.exp(-{0}))", "{0}.sigmoid()", "lib.nn.sigmoid({0})"),
    "silu": Operation("{0} / (1 + xp.exp(-{0}))", "lib.nn.functional.silu({0})", "lib.nn.silu({0})"),
    "gelu": Operation("0.5 * {0} * (1 + xp.tanh(0.7978845608028654 * ({0} + 0.044715 * {0} * {0} * {0})))",
                      "lib.nn.functional.gelu({0}, approximate='tanh')", "lib.nn.gelu({0}, approximate=True)"),
    "leaky_relu": Operation("xp.where({0} > 0, {0}, 0.01 * {0})", "lib.nn.functional.leaky_relu({0})",
                            "lib.nn.leaky_relu({0})"),
    "abs": Operation("abs({0})", "{0}.abs()"),
    "sin": Operation("xp.sin({0})", "{0}.sin()"),
    "exp_of_negative": Operation("xp.exp(-abs({0}))", "(-{0}.abs()).exp()"),
    "log_of_1_and_abs": Operation("xp.log1p(abs({0}))", "{0}.abs().log1p()"),
    "root_of_abs": Operation("xp.sqrt(abs({0}))", "{0}.abs().sqrt()"),
    "inverse": Operation("1 / (1 + {0} * {0})", "1 / (1 + {0} * {0})"),
    "clip": Operation("xp.clip({0}, -0.5, 0.75)", "{0}.clamp(-0.5, 0.75)"),
}

BINARY: dict[str, Operation] = {
    "add": Operation("{0} + {1}", "{0} + {1}"),
    "subtract": Operation("{0} - {1}", "{0} - {1}"),
    "multiply": Operation("{0} * {1}", "{0} * {1}"),
    "divide_by_1_and_abs": Operation("{0} / (1 + abs({1}))", "{0} / (1 + {1}.abs())"),
    "maximum": Operation("xp.maximum({0}, {1})", "lib.maximum({0}, {1})"),
    "select": Operation("xp.where({0} > {1}, {0} - {1}, 0.1 * ({1} - {0}))",
                        "lib.where({0} > {1}, {0} - {1}, 0.1 * ({1} - {0}))"),
}

REDUCTIONS: dict[str, Operation] = {
    "sum": Operation("{0}.sum({axis})", "{0}.sum({axis})"),
    "mean": Operation("{0}.mean({axis})", "{0}.mean({axis})"),
    "max": Operation("{0}.max({axis})", "{0}.amax({axis})"),
    "var": Operation("{0}.var({axis})", "{0}.var({axis}, unbiased=False)"),
    "norm": Operation("xp.sqrt(({0} * {0}).sum({axis}))", "({0} * {0}).sum({axis}).sqrt()"),
    "logsumexp": Operation("logsumexp(xp, {0}, {axis})", "{0}.logsumexp({axis})", "lib.nn.logsumexp({0}, {axis})"),
}

ALONG: dict[str, Operation] = {
    "softmax": Operation("softmax(xp, {0}, {axis})", "{0}.softmax({axis})", "lib.nn.softmax({0}, {axis})"),
    "cumsum": Operation("{0}.cumsum({axis})", "{0}.cumsum({axis})"),
    "argmax": Operation("{0}.argmax({axis})", "{0}.argmax({axis})"),
}

OTHERS: dict[str, Operation] = {
    "scale": Operation("{0} * {by}", "{0} * {by}"),
    "shift": Operation("{0} + {by}", "{0} + {by}"),
    "layer_norm": Operation("layer_norm(xp, {0})", "lib.nn.functional.layer_norm({0}, ({0}.shape[-1],))"),
    "matmul": Operation("{0} @ {1}", "{0} @ {1}"),
    "transposed": Operation("{0}.swapaxes(-1, -2)", "{0}.transpose(-1, -2)"),
    "conv1d": Operation(f"convolve({{0}}, {{1}}, {GEOMETRY})", f"lib.nn.functional.conv1d({{0}}, {{1}}, {GEOMETRY})",
                        f"conv_general(lib, {{0}}, {{1}}, {GEOMETRY})"),
    "conv2d": Operation(f"convolve({{0}}, {{1}}, {GEOMETRY})", f"lib.nn.functional.conv2d({{0}}, {{1}}, {GEOMETRY})",
                        f"conv_general(lib, {{0}}, {{1}}, {GEOMETRY})"),
    "per_channel": Operation("{0}.reshape({shape})", "{0}.reshape({shape})"),
    "permute": Operation("{0}.transpose({order})", "{0}.permute({order})"),
    "flip": Operation("xp.flip({0}, {axis})", "{0}.flip({axis})"),
    "roll": Operation("xp.roll({0}, {by}, {axis})", "{0}.roll({by}, {axis})"),
    "every": Operation("{0}[{slices}]", "{0}[{slices}]"),
    "cat": Operation("xp.concatenate([{all}], {axis})", "lib.cat([{all}], {axis})"),
    "stack": Operation("xp.stack([{all}], {axis})", "lib.stack([{all}], {axis})"),
    "pad": Operation("xp.pad({0}, [(0, 0)] * ({0}.ndim - 1) + [{around}])", "lib.nn.functional.pad({0}, {around})"),
    "repeat": Operation("xp.tile({0}, {times})", "{0}.repeat({times})"),
    "rows": Operation("{0}[{1}]", "{0}[{1}]"),
    "take": Operation("xp.take({0}, {1}, {axis})", "{0}.index_select({axis}, {1})"),
    "gather": Operation("xp.take_along_axis({0}, {1}, {axis})", "{0}.gather({axis}, {1})"),
    "add_rows": Operation("add_rows(xp, {0}, {1}, {2})", "{0}.index_add(0, {2}, {1})", "{0}.at[{2}].add({1})"),
    "lower_triangle": Operation("xp.tril({0})", "{0}.tril()"),
    # the result as an array of its own: what a library returns as a view would cost it nothing
    "copy": Operation("xp.ascontiguousarray({0})", "{0}.contiguous()", "{0}"),
}

OPERATIONS: dict[str, Operation] = {**UNARY, **BINARY, **REDUCTIONS, **ALONG, **OTHERS}


@dataclass(frozen=True, eq=False)
class Value:
    """A value of a program: an operation on other values, or the input with that name."""

    name: str
    shape: Shape
    arguments: tuple[Value, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def lines(self, style: str, known: dict[Value, str]) -> list[str]:
        """The assignments that compute the value; ``known`` are the variables of those that are there."""
        if self in known:
            return []
        if self.name not in OPERATIONS:
            known[self] = self.name
            return []
        lines = [line for argument in self.arguments for line in argument.lines(style, known)]
        operands = [known[argument] for argument in self.arguments]
        expression = OPERATIONS[self.name].text(style).format(*operands, all=", ".join(operands), **self.settings)
        known[self] = f"v{1 + sum(bool(value.arguments) for value in known)}"
        return [*lines, f"{known[self]} = {expression}"]

    def text(self, style: str) -> str:
        """The program that ends with this value.

        >>> a = Value("a", (3, 4))
        >>> total = Value("sum", (3,), (Value("tanh", (3, 4), (a,)),), {"axis": (1,)})
        >>> total.text("pytorch"), total.text("numpy")
        ('v1 = a.tanh(); v2 = v1.sum((1,))', 'v1 = xp.tanh(a); v2 = v1.sum((1,))')
        """
        return "; ".join(self.lines(style, {}))

    def function(self, style: str, inputs: int) -> Callable[..., Any]:
        """The program as a function of a library's module and the inputs a, b, …"""
        known: dict[Value, str] = {}
        lines = self.lines(style, known)
        xp = {"numpy": ["xp = lib"], "jax": ["xp = lib.numpy"]}.get(style, [])
        names = "".join(f", {name}" for name in input_names(inputs))
        source = "\n    ".join([f"def program(lib{names}):", *xp, *lines, f"return {known[self]}"])
        space = dict(HELPERS)
        exec(source, space)
        program: Callable[..., Any] = space["program"]
        return program


def input_names(count: int) -> str:
    """The names of that many inputs.

    >>> input_names(3)
    'abc'
    """
    return "abcdefghij"[:count]
