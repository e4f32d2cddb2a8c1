"""Stage: front. In: how a user op is computed, and the values of one call. Out: its traced ``Subgraph``, made once for
each combination of shapes, dtypes, devices and static arguments.
Next: ``changes.py``."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from types import ModuleType
from typing import Any, ClassVar

from minigrad.dtype import DType
from minigrad.graph.function import Subgraph, param
from minigrad.graph.lazy import LazyBuffer
from minigrad.ops import SCALAR_OPS, Op
from minigrad.tensor.promotion import type_name

_MEMORY = (Op.BUFFER, Op.SCALAR)

MOST_TRACES = 512
"""Traces that one op keeps; at the next one the older half goes."""


class ByType:
    """A gradient by hand that depends on the type of the first operand: ``choose`` gives it, or None where it is to
    follow from what is computed."""

    __slots__ = ("choose",)

    def __init__(self, choose: Callable[[DType], Callable[..., Any] | None]) -> None:
        self.choose = choose


class ForComplex:
    """``formulas`` loads ``complex_formulas.py``, when there is a complex operand. ``complex_numbers.py`` fills it in:
    the formulas are written in terms of functions that ask for them."""

    formulas: ClassVar[Callable[[], ModuleType]]


class Body:
    """``compute(*values, *static)`` gives the output or a tuple of outputs, as LazyBuffers. ``gradient(inputs, outputs,
    grads, *static)`` gives the gradient of each input, where it is not to follow from ``compute``. Gradients come from
    the first ``differentiable`` outputs; None: from all. ``ahead``: forward mode follows from ``compute`` all the
    same."""

    __slots__ = ("ahead", "compute", "differentiable", "gradient", "name", "traces")

    def __init__(self, name: str, compute: Callable[..., Any], gradient: Callable[..., Any] | ByType | None = None,
                 differentiable: int | None = None, ahead: bool = False) -> None:
        self.name = name
        self.ahead = ahead
        self.compute = compute
        self.gradient = gradient
        self.differentiable = differentiable
        self.traces: dict[Any, Subgraph] = {}

    def at(self, values: Sequence[LazyBuffer], static: tuple[Hashable, ...] = ()) -> Subgraph:
        """The traced computation for values like these."""
        if len(values) == 1:
            a = values[0]
            key: Any = (a.shape, a.dtype, a.device, static)
        elif len(values) == 2:
            a, b = values
            key = (a.shape, a.dtype, a.device, b.shape, b.dtype, b.device, static)
        else:
            key = (*[(v.shape, v.dtype, v.device) for v in values], static)
        found = self.traces.get(key)
        return self._trace(key, values, static) if found is None else found

    def _trace(self, key: Any, values: Sequence[LazyBuffer], static: tuple[Hashable, ...]) -> Subgraph:
        params = [param(i, v.shape, v.dtype, v.device) for i, v in enumerate(values)]
        made = self.compute(*params, *static)
        outputs = made if isinstance(made, tuple) else (made,)
        by_hand: Any = self.gradient
        if isinstance(by_hand, ByType):
            by_hand = by_hand.choose(params[0].dtype)
        gradient = None if by_hand is None else lambda inputs, outputs, grads: by_hand(inputs, outputs, grads, *static)
        body = Subgraph(self.name, params, outputs, gradient, self.differentiable, self.ahead)
        if any([node.op in _MEMORY for node in body.order]):
            raise RuntimeError(f"{self.name}(): its body reads a tensor that is not one of its arguments, and would go "
                               "on reading it as it is now; pass it as an argument")
        if body.has_complex:
            _check_complex(body)
        return remember(self.traces, key, body)


def _check_complex(body: Subgraph) -> None:
    """``NotImplementedError``, in PyTorch's words, if something is computed that complex numbers don't have: an order,
    say. A formula for complex operands has only ops that they have."""
    for node in body.order:
        if node.op == Op.SCATTER and node.dtype.kind == "c" and node.arg[1] == "mul":
            raise NotImplementedError(f"{body.name}: complex numbers that come to one place are not multiplied")
        if node.srcs and node.srcs[-1].dtype.kind == "c":
            op = node.arg[0] if node.op == Op.SCAN else Op.MAX if node.arg == (1, "max") else node.op
            row = SCALAR_OPS.get(op)
            if op in _ORDERED or (row is not None and "c" not in row.kinds):
                raise refusal(body.name, node.srcs[-1].dtype)


_ORDERED = (Op.MAX, Op.MIN)


def refusal(name: str, dtype: DType) -> Exception:
    """What PyTorch raises if the op of this name is called with complex numbers."""
    if name in _WORDS:
        kind, words = _WORDS[name]
        return kind(words)
    return NotImplementedError(f"\"{_KERNELS.get(name, name + '_cpu')}\" not implemented for '{type_name(dtype)}'")


_KERNELS = {**{name: f"{name}_vml_cpu" for name in ("erf", "erfc", "erfinv", "lgamma", "round", "i0")},
            "special_i0e": "i0_vml_cpu", "digamma": "digamma", "amax": "max_values_cpu", "amin": "min_values_cpu",
            "max_all": "max_all", "min_all": "min_all", "searchsorted": "searchsorted_out_cpu", "unique": "unique",
            "unique_dim": "unique_dim", "random_": "random_kernel_cpu",
            "bernoulli_": "bernoulli_scalar_cpu_", "floor_divide": "div_floor_cpu", "logsigmoid": "log_sigmoid_cpu",
            "bitwise_left_shift": "lshift_cpu", "bitwise_right_shift": "rshift_cpu"}
_CLAMP = NotImplementedError, "clamp is not supported for complex types"
_WORDS: dict[str, tuple[type[Exception], str]] = {
    **{name: (NotImplementedError, f"{name} is not supported for complex inputs") for name in (
        "floor", "ceil", "trunc")},
    **dict.fromkeys(("clamp", "relu", "relu6", "hardtanh"), _CLAMP),
    **{name: (RuntimeError, f"{name} not implemented for complex tensors.") for name in (
        "maximum", "minimum", "fmax", "fmin")},
    **{name: (RuntimeError, f"{name}(): does not support complex input") for name in (
        "max", "min", "argmax", "argmin")},
    **{name: (RuntimeError, f"{name} does not support complex inputs.") for name in ("isposinf", "isneginf")},
    **{name: (RuntimeError, f"{name} is not supported for complex tensors.") for name in ("deg2rad", "rad2deg")},
    "signbit": (NotImplementedError, "signbit is not implemented for complex tensors."),
    "heaviside": (RuntimeError, "heaviside is not yet implemented for complex tensors."),
    "sign": (NotImplementedError, "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use "
                                  "torch.sgn instead."),
    "sort": (RuntimeError, " Sort does not support complex dtypes on CPU"),
    "topk": (RuntimeError, " topk does not support complex dtypes on CPU"),
    "scatter_reduce": (NotImplementedError,
                       "\"scatter_gather_tensor_cpu_reduce_amax\" not implemented for 'ComplexFloat'"),
    "isin": (RuntimeError, "Unsupported input type encountered for isin(): ComplexFloat"),
    "multinomial": (RuntimeError, "multinomial only supports floating-point dtypes for input, got: ComplexFloat"),
    "nansum": (RuntimeError, "nansum on CPU does not support complex inputs"),
}


def remember(traces: dict[Any, Any], key: Any, made: Any) -> Any:
    """Keep a trace, and not too many of them."""
    if len(traces) >= MOST_TRACES:
        for old in list(traces)[:MOST_TRACES // 2]:
            traces.pop(old, None)
    traces[key] = made
    return made
