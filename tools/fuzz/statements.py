"""Stage: tests. In: the Tensors that a program has so far. Out: its next statement, as text.
Next: ``program.py``.

A statement uses ``L``, the library; ``look``, which asks for a Tensor's values, so that it is realised; and variables
that earlier statements have made. Each kind is a row of ``KINDS``, with the feature that must be on."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tools.fuzz import values

Variables = dict[str, Any]

UNARY = ("neg", "abs", "exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "relu", "square", "sign", "floor", "ceil",
         "round", "trunc", "reciprocal", "rsqrt", "log1p", "expm1", "erf", "isnan", "isinf", "logical_not", "frac",
         "softplus", "silu", "atan", "asinh")
OF_FUNCTIONAL = ("softplus", "silu")
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "pow", "remainder", "fmod", "atan2", "floor_divide", "eq",
          "lt", "ge", "ne", "logical_and", "logical_xor", "hypot", "copysign", "logaddexp", "fmax")
OPERATORS = ("+", "-", "*", "/", "//", "%", "<", ">=", "==", "!=")
REDUCTIONS = ("sum", "mean", "prod", "amax", "amin", "var", "std", "logsumexp", "any", "all", "argmax", "argmin",
              "nansum", "count_nonzero", "norm")
WITHOUT_KEEPDIM = ("count_nonzero",)
SCANS = ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")
LARGE = 4096
"""Elements of a Tensor from which no other is made."""

WRITES = ("add_", "mul_", "sub_", "div_", "copy_", "fill_", "zero_", "clamp_", "neg_", "maximum", "masked_fill_",
          "abs_")
DTYPES = ("float64", "float32", "float16", "int64", "int32", "uint8", "bool")


class Writer:
    """Writes statements about the variables of a program under way."""

    def __init__(self, rng: Random, features: set[str], variables: Variables, tensor: type) -> None:
        self.rng, self.features, self.variables, self._tensor = rng, features, variables, tensor
        self._count = 0

    def new(self) -> str:
        """A name for the next result."""
        self._count += 1
        return f"v{self._count}"

    def tensors(self) -> list[str]:
        """The variables that are Tensors and not large."""
        return [n for n, v in self.variables.items()
                if isinstance(v, self._tensor) and v.numel() <= LARGE]  # type: ignore[attr-defined]

    def any(self) -> str:
        """A variable, a late one rather than an early one."""
        names = self.tensors()
        return names[max(self.rng.randrange(len(names)), self.rng.randrange(len(names)))]

    def like(self, name: str) -> str:
        """An operand that goes with a Tensor: another variable, a number, or a new Tensor that broadcasts."""
        roll = self.rng.random()
        if roll < 0.5:
            return self.any()
        if roll < 0.75:
            return self.rng.choice(("2", "0.5", "-1", "0", "True", "3", "-2.5", "1e10"))
        sizes = tuple(1 if self.rng.random() < 0.3 else int(s) for s in self.variables[name].shape)
        return values.tensor(self.rng, self.features, sizes[self.rng.randint(0, len(sizes)):])

    def statement(self) -> str:
        """The next statement."""
        kinds = [make for feature, weight, make in KINDS if feature in self.features or not feature
                 for _ in range(weight)]
        return self.rng.choice(kinds)(self)


def _create(w: Writer) -> str:
    grad = ".requires_grad_()" if "grad" in w.features and w.rng.random() < 0.5 else ""
    name = w.new()
    made = values.tensor(w.rng, w.features)
    if grad and not any(f"L.{f}" in made for f in values.FLOATS):
        grad = ""
    return f"{name} = {made}{grad}"


def _unary(w: Writer) -> str:
    op, x = w.rng.choice(UNARY), w.any()
    return f"{w.new()} = L.nn.functional.{op}({x})" if op in OF_FUNCTIONAL else f"{w.new()} = {x}.{op}()"


def _binary(w: Writer) -> str:
    x = w.any()
    y = w.like(x)
    if w.rng.random() < 0.5:
        a, b = (x, y) if w.rng.random() < 0.8 else (y, x)
        return f"{w.new()} = {a} {w.rng.choice(OPERATORS)} {b}"
    return f"{w.new()} = L.{w.rng.choice(BINARY)}({x}, {y})"


def _reduce(w: Writer) -> str:
    op, x = w.rng.choice(REDUCTIONS), w.any()
    if w.rng.random() < 0.3 and op not in ("amax", "amin", "logsumexp"):
        return f"{w.new()} = {x}.{op}()"
    keep = ", keepdim=True" if w.rng.random() < 0.3 and op not in WITHOUT_KEEPDIM else ""
    dim = f"dim={values.dimension(w.rng, w.variables[x])}"
    return f"{w.new()} = {x}.{op}({dim}{keep})"


def _scan(w: Writer) -> str:
    x = w.any()
    op = w.rng.choice(SCANS)
    part = "[0]" if op in ("cummax", "cummin") else ""
    return f"{w.new()} = {x}.{op}({values.dimension(w.rng, w.variables[x])}){part}"


def _order(w: Writer) -> str:
    x = w.any()
    dim = values.dimension(w.rng, w.variables[x])
    call = w.rng.choice((f"sort(dim={dim}, stable=True, descending={w.rng.random() < 0.5})[{w.rng.randint(0, 1)}]",
                         f"argsort(dim={dim}, stable=True)", f"median(dim={dim})[0]", f"kthvalue(1, dim={dim})[0]",
                         f"topk(1, dim={dim})[0]", "unique()", "nonzero()", f"diff(dim={dim})"))
    return f"{w.new()} = {x}.{call}"


def _view(w: Writer) -> str:
    x = w.any()
    v = w.variables[x]
    a, b = values.dimension(w.rng, v), values.dimension(w.rng, v)
    size = v.shape[a] if v.ndim else 1
    sizes = ", ".join(str(s) for s in w.rng.sample(list(v.shape), v.ndim))
    begin = w.rng.randint(0, max(size - 1, 0))
    call = w.rng.choice((
        f"transpose({a}, {b})", "reshape(-1)", f"reshape({sizes or '1'})", f"unsqueeze({a})", "squeeze()",
        f"narrow({a}, {begin}, {w.rng.randint(0, max(size - begin, 0))})", f"select({a}, {begin})", f"flip({a})",
        f"expand(2, {', '.join(['-1'] * v.ndim)})", f"unfold({a}, {w.rng.randint(1, max(size, 1))}, 1)",
        "diagonal()", f"movedim({a}, {b})", f"roll(1, {a})", "contiguous()", "view(-1)", f"chunk(2, {a})[0]",
        f"unbind({a})[0]", "T", "tril()", f"repeat_interleave(2, {a})", f"swapaxes({a}, {b})"))
    return f"{w.new()} = {x}.{call}"


def _index(w: Writer) -> str:
    x = w.any()
    return f"{w.new()} = {x}[{values.index(w.rng, w.variables[x])}]"


def _set(w: Writer) -> str:
    x = w.any()
    at = values.index(w.rng, w.variables[x])
    roll = w.rng.random()
    if roll < 0.25:
        return f"{x}[{at}] {w.rng.choice(('+=', '*=', '-='))} {w.like(x)}"
    if roll < 0.4:
        return f"{x}[{x} > 0] = {w.rng.choice(('0', '2', '-1.5'))}"
    return f"{x}[{at}] = {w.like(x)}"


def _write(w: Writer) -> str:
    x, op = w.any(), w.rng.choice(WRITES)
    if op in ("zero_", "neg_", "abs_"):
        return f"{x}.{op}()"
    if op == "clamp_":
        return f"{x}.clamp_({w.rng.choice(('-1', '0'))}, {w.rng.choice(('1', '2'))})"
    if op == "masked_fill_":
        return f"{x}.masked_fill_({x} > 0, {w.rng.choice(('0', '1', '2.5'))})"
    if op == "maximum":
        return f"L.maximum({x}, {w.any()}, out={w.any()})"
    return f"{x}.{op}({w.like(x)})"


def _join(w: Writer) -> str:
    x, y = w.any(), w.any()
    dim = values.dimension(w.rng, w.variables[x])
    return f"{w.new()} = " + w.rng.choice((
        f"L.cat([{x}, {y}, {x}], {dim})", f"L.stack([{x}, {x}], {dim})", f"L.where({x} > 0, {x}, {w.like(x)})",
        f"L.lerp({x}, {y}, 0.25)", f"L.addcmul({x}, {y}, {w.any()}, value=0.5)", f"{x}.masked_fill({x} > 0, 1)"))


def _matrix(w: Writer) -> str:
    x, y = w.any(), w.any()
    return f"{w.new()} = " + w.rng.choice((
        f"{x} @ {y}", f"{x} @ {x}.T", f"L.einsum('ij,kj->ik', {x}, {y})", f"L.outer({x}.reshape(-1), {y}.reshape(-1))",
        f"L.addmm({w.any()}, {x}, {y})", f"L.tensordot({x}, {x}, {w.variables[x].ndim})"))


def _gather(w: Writer) -> str:
    x = w.any()
    v = w.variables[x]
    dim = values.dimension(w.rng, v)
    size = v.shape[dim] if v.ndim else 1
    places = [w.rng.randint(0, max(size - 1, 0)) for _ in range(3)]
    return w.rng.choice((
        f"{w.new()} = {x}.index_select({dim}, L.tensor({places}))", f"{w.new()} = {x}.take(L.tensor({places}))",
        f"{w.new()} = {x}.gather({dim}, L.zeros_like({x}, dtype=L.int64))",
        f"{w.new()} = {x}.scatter_add({dim}, L.zeros_like({x}, dtype=L.int64), {x})",
        f"{w.new()} = {x}.index_add({dim}, L.tensor({places}), {x}.index_select({dim}, L.tensor({places})))",
        f"{x}.index_fill_({dim}, L.tensor({places}), 1)"))


def _alias(w: Writer) -> str:
    x = w.any()
    return w.rng.choice((f"{w.new()} = {x}.detach()", f"{w.new()} = {x}.clone()", f"{w.new()} = {x}.data",
                         f"{w.new()} = {x}.view_as({x})", f"{w.new()} = L.from_numpy({x}.detach().numpy())",
                         f"{x}.detach().numpy()[...] = 2", f"{x}.detach().numpy()[:1] += 1"))


def _cast(w: Writer) -> str:
    return f"{w.new()} = {w.any()}.to(L.{w.rng.choice(DTYPES)})"


def _look(w: Writer) -> str:
    return f"look({w.any()})"


def _backward(w: Writer) -> str:
    tracked = [n for n in w.tensors() if w.variables[n].requires_grad]
    if not tracked:
        return _unary(w)
    x = w.rng.choice(tracked)
    roll = w.rng.random()
    if roll < 0.6:
        return f"{x}.sum().backward(retain_graph={w.rng.random() < 0.7})"
    if roll < 0.8:
        return f"({x} * {x}.detach()).sum().backward()"
    return f"{w.new()} = L.autograd.grad({x}.sum(), {w.rng.choice(tracked)}, create_graph=True, allow_unused=True)[0]"


def _sub_tensor_loop(w: Writer) -> str:
    x = w.any()
    return f"for row in {x}: row.{w.rng.choice(('mul_(2)', 'add_(1)', 'zero_()'))}"


KINDS: tuple[tuple[str, int, Callable[[Writer], str]], ...] = (
    ("", 3, _create), ("", 4, _unary), ("", 6, _binary), ("reduce", 3, _reduce), ("reduce", 1, _scan),
    ("order", 2, _order), ("view", 6, _view), ("index", 4, _index), ("write", 3, _set), ("write", 4, _write),
    ("join", 2, _join), ("matrix", 2, _matrix), ("gather", 2, _gather), ("alias", 3, _alias), ("mixed", 2, _cast),
    ("look", 3, _look), ("grad", 3, _backward), ("write", 1, _sub_tensor_loop),
)
"""The feature that a kind belongs to (empty: always on), its weight, and what writes it."""

FEATURES = sorted({feature for feature, _, _ in KINDS if feature} | {"special"})
