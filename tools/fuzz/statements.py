"""Stage: tests. In: the Tensors that a program has so far. Out: its next statement, as text.
Next: ``loops.py``.

A statement uses ``L``, the library; ``look``, which asks for a Tensor's values, so that it is realised; and variables
that earlier statements have made. Each kind is a row of ``KINDS``, with the feature that must be on."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

from tools.fuzz import values

Variables = dict[str, Any]

UNARY = ("neg", "abs", "exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "relu", "square", "sign", "floor", "ceil",
         "round", "trunc", "reciprocal", "rsqrt", "log1p", "expm1", "erf", "isnan", "isinf", "logical_not", "frac",
         "softplus", "silu", "gelu", "elu", "hardtanh", "leaky_relu", "logsigmoid", "atan", "asinh", "exp2", "erfc",
         "lgamma", "digamma", "sinc", "nan_to_num", "signbit", "isfinite", "positive", "log2", "tan", "sinh")
OF_FUNCTIONAL = ("softplus", "silu", "gelu", "elu", "hardtanh", "leaky_relu", "logsigmoid")
OF_COMPLEX = ("conj", "abs", "angle", "sgn", "exp", "sqrt", "log", "sin", "tanh", "reciprocal", "square", "neg",
              "conj_physical", "resolve_conj")
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum", "pow", "remainder", "fmod", "atan2", "floor_divide", "eq",
          "lt", "ge", "ne", "logical_and", "logical_xor", "hypot", "copysign", "logaddexp", "fmax", "fmin",
          "bitwise_and", "bitwise_or", "bitwise_xor", "xlogy", "true_divide", "heaviside", "isclose", "gcd",
          "nextafter")
OPERATORS = ("+", "-", "*", "/", "//", "%", "<", ">=", "==", "!=")
ACTIVATIONS = ("hardswish", "mish", "tanhshrink", "softsign", "relu6", "selu", "celu", "hardshrink")
SPECIAL = ("entr", "ndtr", "log_ndtr", "erfcx", "expit", "erfinv", "logit")
REDUCTIONS = ("sum", "mean", "prod", "amax", "amin", "var", "std", "logsumexp", "any", "all", "argmax", "argmin",
              "nansum", "count_nonzero", "norm", "nanmean")
OF_ONE_DIM = ("prod", "argmax", "argmin")
OPTIONS = {"var": ("correction=0", "unbiased=False"), "std": ("correction=0", "correction=2"), "norm": (
    "p=1", "p=3", "p=float('inf')", "p=0"), "sum": ("dtype=L.float64", "dtype=L.int32"), "prod": ("dtype=L.float64",)}
WITHOUT_KEEPDIM = ("count_nonzero",)
SCANS = ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")
LARGE = 4096
"""Elements of a Tensor from which no other is made."""

WRITES = ("add_", "mul_", "sub_", "div_", "copy_", "fill_", "remainder_", "floor_divide_", "pow_", "lt_",
          "logical_or_", "fmod_", "bitwise_xor_")
WRITES_ALONE = ("zero_()", "neg_()", "abs_()", "exp_()", "sigmoid_()", "relu_()", "floor_()", "square_()", "t_()",
                "clamp_(0)", "clamp_(max=1)", "clamp_(-1, 2)", "unsqueeze_(0)", "squeeze_()", "cumsum_(0)", "sqrt_()",
                "tril_()", "fill_diagonal_(2)", "transpose_(0, -1)", "nan_to_num_()", "detach_()")
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int8", "uint8", "bool")
ROUNDED = re.compile(r"(?<![/\w])/(?!/)|@|\.(" + "|".join((
    "exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "reciprocal", "rsqrt", "log1p", "expm1", "erf", "softplus",
    "silu", "gelu", "elu", "logsigmoid", "atan", "asinh", "exp2", "erfc", "lgamma", "digamma", "sinc", "log2", "tan",
    "sinh", "angle", "div", "pow", "atan2", "hypot", "logaddexp", "xlogy", "true_divide", "sum", "mean", "prod", "var",
    "std", "logsumexp", "nansum", "norm", "nanmean", "cumsum", "cumprod", "logcumsumexp", "softmax", "log_softmax",
    "normalize", "layer_norm", "quantile", "softmin", "renorm", "mse_loss", "trapezoid", "lerp", "addcmul", "matmul",
    "einsum", "outer", "addmm", "tensordot", "bmm", "mv", "kron", "linear", "trace", "vdot", "cdist", "vector_norm",
    "conv1d", "inner", "cumulative_trapezoid", "fft", "ifft", "rfft", *ACTIVATIONS, *SPECIAL, "glu", "ldexp", "cross",
    "local_response_norm", "avg_pool1d", "xlog1py", "smooth_l1_loss", "cosine_similarity",
    "addcdiv", "scatter_reduce", "scatter_add", "index_add", "index_reduce",
    "index_put", "leaky_relu", "polar", "abs", "complex", "to", "grad", "mul", "add", "sub",
    "jvp", "vjp", "vmap", "jacrev", "jacfwd",
    )) + r")_?\(| [-+*]=? ")
"""Statements whose result two libraries may round in two ways."""

ASSIGNED = re.compile(r"(v\d+) = (.*)")
COMPARE = ("> 0", "<= 1", "!= 0", "== 1", ">= -1")
NUMBERS = ("2", "0.5", "-1", "0", "True", "3", "-2.5", "1e10")


class Writer:
    """Writes statements about the variables of a program under way. ``kind``: what wrote the latest one."""

    def __init__(self, rng: Random, features: set[str], variables: Variables, tensor: type) -> None:
        self.rng, self.features, self.variables, self._tensor = rng, features, variables, tensor
        self._count = 0
        self.kind = ""

    def new(self) -> str:
        """A name for the next result."""
        self._count += 1
        return f"v{self._count}"

    def tensors(self) -> list[str]:
        """The variables that are Tensors and not large."""
        return [n for n, v in self.variables.items()
                if isinstance(v, self._tensor) and v.numel() <= LARGE]  # type: ignore[attr-defined]

    def tracked(self) -> list[str]:
        """Those that require a gradient; some must not be asked, since their base was changed in place."""
        found = []
        for name in self.tensors():
            with suppress(RuntimeError):
                found += [name] * bool(self.variables[name].requires_grad)
        return found

    def any(self) -> str:
        """A variable, a late one rather than an early one."""
        names = self.tensors()
        return names[max(self.rng.randrange(len(names)), self.rng.randrange(len(names)))]

    def number(self) -> str:
        """A Python number, seldom a complex one."""
        return "(1-2j)" if "complex" in self.features and self.rng.random() < 0.3 else self.rng.choice(NUMBERS)

    def like(self, name: str) -> str:
        """An operand that goes with a Tensor: another variable, a number, or a new Tensor that broadcasts."""
        roll = self.rng.random()
        if roll < 0.5:
            return self.any()
        if roll < 0.75:
            return self.number()
        sizes = tuple(1 if self.rng.random() < 0.3 else int(s) for s in self.variables[name].shape)
        return values.tensor(self.rng, self.features, sizes[self.rng.randint(0, len(sizes)):])

    def same(self, name: str, sizes: tuple[int, ...]) -> str:
        """A new Tensor of a Tensor's dtype."""
        kind = str(self.variables[name].dtype).rpartition(".")[2]
        return values.tensor(self.rng, self.features, sizes, kind)

    def mask(self, name: str) -> str:
        """A condition on a Tensor, or a variable of its shape that is one."""
        return f"({name} {self.rng.choice(COMPARE)})"

    def statement(self) -> str:
        """The next statement."""
        kinds = [make for feature, weight, make in KINDS if feature in self.features or not feature
                 for _ in range(weight)]
        make = self.rng.choice(kinds)
        line = make(self)
        self.kind = make.__name__.strip("_")
        if "modes" in self.features and self.rng.random() < 0.08 and not line.startswith("for "):
            self.kind = "no_grad"
            return f"with L.no_grad(): {line}"
        return line


def _create(w: Writer) -> str:
    grad = ".requires_grad_()" if "grad" in w.features and w.rng.random() < 0.5 else ""
    name = w.new()
    made = values.tensor(w.rng, w.features)
    if grad and not any(f"L.{f}" in made for f in values.FLOATS):
        grad = ""
    return f"{name} = {made}{grad}"


def _unary(w: Writer) -> str:
    x = w.any()
    op = w.rng.choice(OF_COMPLEX if w.variables[x].is_complex() else UNARY)
    return f"{w.new()} = L.nn.functional.{op}({x})" if op in OF_FUNCTIONAL else f"{w.new()} = L.{op}({x})"


def _parts(w: Writer) -> str:
    x = w.any()
    if w.variables[x].is_complex():
        return f"{w.new()} = " + w.rng.choice((f"{x}.real", f"{x}.imag", f"L.view_as_real({x})", f"{x}.conj()",
                                               f"{x}.mH", f"{x}.abs()"))
    return f"{w.new()} = " + w.rng.choice((f"L.complex({x}, {x})", f"{x}.to(L.complex128)", f"L.polar({x}, {x})",
                                           f"L.view_as_complex({x}.contiguous())", f"{x} * 1j"))


def _binary(w: Writer) -> str:
    x = w.any()
    y = w.like(x)
    if w.rng.random() < 0.5:
        a, b = (x, y) if w.rng.random() < 0.8 else (y, x)
        return f"{w.new()} = {a} {w.rng.choice(OPERATORS)} {b}"
    if w.rng.random() < 0.1:
        return f"{w.new()} = " + w.rng.choice((
            f"L.add({x}, {y}, alpha=2)", f"L.sub({x}, {y}, alpha=0.5)", f"L.div({x}, {y}, rounding_mode='trunc')",
            f"L.div({x}, {y}, rounding_mode='floor')", f"L.clamp({x}, {y}, {w.like(x)})", f"L.rsub({x}, {y})"))
    return f"{w.new()} = L.{w.rng.choice(BINARY)}({x}, {y})"


def _reduce(w: Writer) -> str:
    op, x = w.rng.choice(REDUCTIONS), w.any()
    if w.rng.random() < 0.3 and op not in ("amax", "amin", "logsumexp"):
        return f"{w.new()} = {x}.{op}()"
    given = [f"dim={(values.dimension if op in OF_ONE_DIM else values.dimensions)(w.rng, w.variables[x])}"]
    if op in OPTIONS and w.rng.random() < 0.3:
        given.append(w.rng.choice(OPTIONS[op]))
    if w.rng.random() < 0.3 and op not in WITHOUT_KEEPDIM:
        given.append("keepdim=True")
    return f"{w.new()} = {x}.{op}({', '.join(given)})"


def _normalise(w: Writer) -> str:
    x = w.any()
    d = values.dimension(w.rng, w.variables[x])
    return f"{w.new()} = " + w.rng.choice((
        f"{x}.softmax({d})", f"{x}.log_softmax({d})", f"L.nn.functional.normalize({x}, dim={d})",
        f"L.nn.functional.layer_norm({x}, {x}.shape[-1:])", f"{x}.quantile(0.3, dim={d})",
        f"L.nn.functional.softmin({x}, {d})", f"L.renorm({x}, 2, {d}, 1.5)", f"{x}.aminmax(dim={d})[0]",
        f"{x}.max({d})[{w.rng.randint(0, 1)}]", f"{x}.min({d})[{w.rng.randint(0, 1)}]",
        f"{x}.contiguous().nanmedian({d})[0]",  # as median
        f"L.nn.functional.mse_loss({x}, {w.any()})", f"{x}.logsumexp({d})", f"L.trapezoid({x}, dim={d})"))


def _scan(w: Writer) -> str:
    x = w.any()
    op = w.rng.choice(SCANS)
    part = "[0]" if op in ("cummax", "cummin") else ""
    return f"{w.new()} = {x}.{op}({values.dimension(w.rng, w.variables[x])}){part}"


def _order(w: Writer) -> str:
    """PyTorch's median over a dimension that was expanded is memory that nothing was written to."""
    x = w.any()
    dim = values.dimension(w.rng, w.variables[x])
    call = w.rng.choice((f"sort(dim={dim}, stable=True, descending={w.rng.random() < 0.5})[{w.rng.randint(0, 1)}]",
                         f"argsort(dim={dim}, stable=True)", f"contiguous().median(dim={dim})[0]",
                         f"kthvalue(1, dim={dim})[0]",
                         f"topk(1, dim={dim})[0]", f"topk({w.rng.randint(0, 3)}, dim={dim}, largest=False)[0]",
                         "unique()", "nonzero()", f"diff(dim={dim})", f"sort(dim={dim})[0]", f"mode(dim={dim})[0]",
                         "unique_consecutive()", "msort()", "unique(return_counts=True)[1]", "median()"))
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
        f"flip({tuple(range(v.ndim))})",
        f"as_strided({tuple(v.shape)}, {v.stride()})" if v.is_contiguous() else "contiguous()",
        f"permute({tuple(w.rng.sample(range(v.ndim), v.ndim))})",
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
    if w.rng.random() < 0.25:
        return f"{x}[{at}] {w.rng.choice(('+=', '*=', '-='))} {w.like(x)}"
    return f"{x}[{at}] = {w.like(x)}"


def _masked(w: Writer) -> str:
    x = w.any()
    mask = w.mask(w.any() if w.rng.random() < 0.3 else x)
    return w.rng.choice((
        f"{x}[{mask}] = {w.number()}", f"{x}[{mask}] = {x}[{mask}] * 2", f"{x}[{mask}] += {w.number()}",
        f"{w.new()} = {x}[{mask}]", f"{w.new()} = {x}.masked_select({mask})",
        f"{w.new()} = L.where({mask}, {x}, {w.like(x)})", f"{w.new()} = L.where({mask}, {w.number()}, {x})",
        f"{x}.masked_fill_({mask}, {w.number()})",
        f"{w.new()} = {x}.masked_fill({mask}, {w.number()})", f"{w.new()} = {x}.masked_scatter({mask}, {x} * 2)",
        f"{x}.masked_scatter_({mask}, {w.any()} * 1)", f"{x}.index_put_(({mask},), {x}[{mask}], accumulate=True)",
        f"{w.new()} = L.where({mask})[0]", f"{w.new()} = {mask}.nonzero()"))


def _write(w: Writer) -> str:
    x = w.any()
    roll = w.rng.random()
    if roll < 0.35:
        return f"{x}.{w.rng.choice(WRITES_ALONE)}"
    if roll < 0.45:
        same = [n for n in w.tensors() if w.variables[n].shape == w.variables[x].shape]
        y, out = w.rng.choice(same), w.rng.choice(same)
        return f"L.{w.rng.choice(('maximum', 'add', 'mul', 'minimum'))}({x}, {y}, out={out})"
    if roll < 0.55:
        return w.rng.choice((f"{x}.addcmul_({x}, {w.any()}, value=2)", f"{x}.lerp_({w.any()}, 0.25)",
                             f"{x}.add_({w.like(x)}, alpha=2)", f"{x}.addcdiv_({w.any()}, {w.any()})"))
    return f"{x}.{w.rng.choice(WRITES)}({w.like(x)})"


def _join(w: Writer) -> str:
    x, y = w.any(), w.any()
    dim = values.dimension(w.rng, w.variables[x])
    return f"{w.new()} = " + w.rng.choice((
        f"L.cat([{x}, {y}, {x}], {dim})", f"L.cat([{x}, {x} * 2], {dim})", f"L.stack([{x}, {x}], {dim})",
        f"L.stack([{x}, {y}])", f"L.hstack([{x}, {y}])", f"L.vstack([{y}, {x}])", f"L.lerp({x}, {y}, 0.25)",
        f"L.addcmul({x}, {y}, {w.any()}, value=0.5)", f"L.split({x}, 2, {dim})[0]", f"L.tensor_split({x}, 2, {dim})[1]",
        f"L.broadcast_tensors({x}, {y})[0]", f"L.cartesian_prod({x}.reshape(-1), {y}.reshape(-1))",
        f"L.meshgrid({x}.reshape(-1), {y}.reshape(-1), indexing='xy')[0]", f"L.nn.functional.pad({x}, (1, 2))",
        f"{x}.tile(2)", f"{x}.repeat({', '.join(['2'] * max(w.variables[x].ndim, 1))})"))


def _matrix(w: Writer) -> str:
    x, y = w.any(), w.any()
    v = w.variables[x]
    last = int(v.shape[-1]) if v.ndim else 1
    right = w.same(x, (last, 3))
    return f"{w.new()} = " + w.rng.choice((
        f"{x} @ {y}", f"{x} @ {x}.T", f"{x} @ {right}", f"{x} @ {right}", f"L.matmul({x}, {w.same(x, (last,))})",
        f"L.matmul({x}.mT, {x})", f"L.einsum('ij,kj->ik', {x}, {y})", f"L.einsum('...j,jk->k...', {x}, {right})",
        f"L.einsum('...i,...i->...', {x}, {x})", f"L.einsum('...ij->...ji', {x})", f"L.einsum('ii', {x} @ {x}.T)",
        f"L.outer({x}.reshape(-1), {y}.reshape(-1))", f"L.addmm({w.any()}, {x}, {right})",
        f"L.addmm({w.same(x, (3,))}, {x}, {right}, beta=2, alpha=0.5)", f"L.tensordot({x}, {x}, {v.ndim})",
        f"L.bmm({x}, {x}.mT)", f"L.mv({x}, {w.same(x, (last,))})", f"L.kron({x}, {w.same(x, (2,))})",
        f"L.nn.functional.linear({x}, {w.same(x, (2, last))}, {w.same(x, (2,))})", f"{x}.trace()",
        f"L.vdot({x}.reshape(-1), {x}.reshape(-1))", f"L.cdist({x}, {x})", f"L.linalg.vector_norm({x})",
        f"L.nn.functional.conv1d({x}[None], {x}[None, :, :2])", f"L.inner({x}, {x})", f"L.cumulative_trapezoid({x})"))


def _gather(w: Writer) -> str:
    x = w.any()
    v = w.variables[x]
    dim = values.dimension(w.rng, v)
    size = int(v.shape[dim]) if v.ndim else 1
    at = values.places(w.rng, (3,), size)
    shape = list(map(int, v.shape))
    if shape:
        shape[dim] = w.rng.randint(1, 3)
    some = values.places(w.rng, tuple(shape), size)
    op = w.rng.choice(("sum", "prod", "amax", "amin", "mean"))
    whole = w.rng.choice(("True", "False"))
    return w.rng.choice((
        f"{w.new()} = {x}.index_select({dim}, {at})", f"{w.new()} = {x}.take({at})",
        f"{w.new()} = {x}.gather({dim}, {some})", f"{w.new()} = L.take_along_dim({x}, {some}, {dim})",
        f"{w.new()} = {x}.scatter({dim}, {some}, {w.number()})",
        f"{w.new()} = {x}.scatter_add({dim}, {some}, {x}.gather({dim}, {some}) * 2)",
        f"{w.new()} = {x}.scatter_reduce({dim}, {some}, {x}.gather({dim}, {some}), '{op}', include_self={whole})",
        f"{x}.scatter_add_({dim}, {some}, {w.same(x, tuple(shape))})",
        f"{w.new()} = {x}.index_add({dim}, {at}, {x}.index_select({dim}, {at}), alpha=2)",
        f"{w.new()} = {x}.index_copy({dim}, {values.places(w.rng, (1,), size)}, {x}.narrow({dim}, 0, 1))",
        f"{x}.index_fill_({dim}, {at}, {w.number()})", f"{x}.index_put_(({at},), {w.like(x)}, accumulate=True)",
        f"{w.new()} = {x}.index_put(({at},), L.tensor(2, dtype={x}.dtype))", f"{x}.put_({at}, {w.same(x, (3,))})",
        f"{w.new()} = {x}.index_reduce({dim}, {at}, {x}.index_select({dim}, {at}), '{op.replace('sum', 'mean')}')",
        f"{w.new()} = L.nn.functional.embedding({at}, {x})", f"{w.new()} = L.bincount({x}.reshape(-1))",
        f"{w.new()} = L.searchsorted({x}.sort()[0], {x})"))


def _rare(w: Writer) -> str:
    """Functions that lead to rules and gradients which no others lead to, or few. PyTorch's scatters keep memory in
    which elements are one; its gradient of ldexp() by integers is 0 where they are negative."""
    x, y = w.any(), w.any()
    v = w.variables[x]
    dim = values.dimension(w.rng, v)
    size = int(v.shape[dim]) if v.ndim else 1
    count = w.rng.randint(0, size)
    return f"{w.new()} = " + w.rng.choice((
        f"L.slice_scatter({x}.contiguous(), {x}.narrow({dim}, 0, {count}) * 2, {dim}, 0, {count})",
        f"L.select_scatter({x}.contiguous(), {x}.select({dim}, 0) * 2, {dim}, 0)",
        f"L.diagonal_scatter({x}.contiguous(), {x}.diagonal() * 2)",
        f"L.fft.fftshift({x})", f"L.fft.fft({x}.to(L.complex128))",
        f"L.fft.rfft({x}, dim={dim})", f"L.fft.ifft({x} * 1j, dim={dim}).real",
        f"L.frexp({x})[{w.rng.randint(0, 1)}]", f"L.ldexp({x}, {y} / 2)", f"L.max({x}, {y})", f"L.min({x}, {y})",
        f"L.bitwise_left_shift({x}, {w.like(x)})", f"L.bitwise_right_shift({x}, {w.like(x)})",
        f"L.nn.functional.{w.rng.choice(ACTIVATIONS)}({x})", f"L.nn.functional.glu({x}, {dim})",
        f"L.special.{w.rng.choice(SPECIAL)}({x})", f"L.special.xlog1py({x}, {w.like(x)})",
        f"L.nn.functional.local_response_norm({x}[None, None], 2)", f"L.nn.functional.avg_pool1d({x}[None], 2)",
        f"L.nn.functional.max_pool1d({x}[None], 2)", f"L.cross({x}, {y}, dim={dim})", f"L.frac({x}) + L.tanh({x})",
        f"L.nn.functional.smooth_l1_loss({x}, {y})", f"L.nn.functional.cosine_similarity({x}, {x} - 0.5, dim={dim})"))


def _alias(w: Writer) -> str:
    x = w.any()
    if str(w.variables[x].dtype).endswith("bfloat16"):  # NumPy has none
        return f"{w.new()} = {x}.detach()"
    return w.rng.choice((f"{w.new()} = {x}.detach()", f"{w.new()} = {x}.clone()", f"{w.new()} = {x}.data",
                         f"{w.new()} = {x}.view_as({x})", f"{w.new()} = L.from_numpy({x}.detach().numpy())",
                         f"{x}.detach().numpy()[...] = 2", f"{x}.detach().numpy()[:1] += 1"))


def _cast(w: Writer) -> str:
    return f"{w.new()} = {w.any()}.to(L.{w.rng.choice(DTYPES)})"


def _look(w: Writer) -> str:
    return f"look({w.any()})"


def _backward(w: Writer) -> str:
    tracked = w.tracked()
    if not tracked:
        return _unary(w)
    x = w.rng.choice(tracked)
    roll = w.rng.random()
    keep = w.rng.random() < 0.7
    if roll < 0.5:
        return f"{x}.sum().abs().backward(retain_graph={keep})"
    if roll < 0.6:
        return f"{x}.backward({w.same(x, tuple(map(int, w.variables[x].shape)))}, retain_graph={keep})"
    if roll < 0.8:
        return f"({x} * {x}.detach()).sum().abs().backward()"
    source = w.rng.choice(tracked)
    if roll < 0.95:
        return f"{w.new()} = L.autograd.grad({x}.sum().abs(), {source}, create_graph=True, allow_unused=True)[0]"
    return (f"{w.new()} = L.autograd.grad([{x}.sum().abs(), {w.rng.choice(tracked)}.sum().abs()], [{source}], "
            f"retain_graph={keep}, allow_unused=True)[0]")


def _tape(w: Writer) -> str:
    tracked = w.tracked()
    if not tracked:
        return _create(w)
    x = w.rng.choice(tracked)
    hook = w.rng.choice(("g * 2", "None", "g.clamp(-1, 1)", "g + g.sum()", "g.mul_(2)"))
    return w.rng.choice((f"{x}.register_hook(lambda g: {hook})", f"{x}.retain_grad()", f"{x}.grad = None",
                         f"{x}.grad.zero_()", f"{w.new()} = {x}.grad", f"{x}.data.add_(1)", f"{x}.detach().mul_(2)",
                         f"{x}.requires_grad_(False)", f"{w.new()} = {x}.grad.clone()", f"{x}.data = {x}.data * 2"))


def _transformed(w: Writer) -> str:
    """What another statement computes as a function of one of its Tensors, transformed."""
    line = w.rng.choice((_unary, _binary, _reduce, _scan, _normalise, _view, _join, _matrix, _gather, _rare, _rare))(w)
    made = ASSIGNED.match(line)
    operands = [n for n in dict.fromkeys(re.findall(r"\bv\d+\b", made[2])) if n in w.variables] if made else []
    if made is None or not operands:
        return line
    x = w.rng.choice(operands)
    result = re.sub(rf"\b{x}\b", "t", made[2])
    function, total = f"lambda t: {result}", f"lambda t: ({result}).sum()"
    alike = w.same(x, tuple(map(int, w.variables[x].shape)))
    plain, rows = f"{x}.detach().contiguous()", f"L.stack([{x}, {alike}])"
    forms: tuple[str, ...] = (
        f"L.func.jvp({function}, ({plain},), ({alike},))[1]", f"L.func.jacfwd({function})({plain})",
             f"L.func.vjp({function}, {x})[0]", f"L.func.grad({total})({x})", f"L.func.jacrev({function})({x})")
    if w.variables[x].ndim > 1:  # PyTorch's vmap does not refuse rows that have too few dimensions
        forms += (f"L.func.vmap({function})({rows})", f"L.func.vmap(L.func.grad({total}))({rows})")
    return f"{made[1]} = {w.rng.choice(forms)}"


def _sub_tensor_loop(w: Writer) -> str:
    x = w.any()
    rows = f"{x}[:7]" if "large" in w.features else x
    return f"for row in {rows}: row.{w.rng.choice(('mul_(2)', 'add_(1)', 'zero_()'))}"


KINDS: tuple[tuple[str, int, Callable[[Writer], str]], ...] = (
    ("", 3, _create), ("", 4, _unary), ("", 6, _binary), ("reduce", 3, _reduce), ("reduce", 1, _scan),
    ("reduce", 1, _normalise), ("order", 2, _order), ("view", 6, _view), ("index", 4, _index), ("write", 3, _set),
    ("write", 4, _write), ("mask", 3, _masked), ("join", 2, _join), ("matrix", 3, _matrix), ("gather", 3, _gather),
    ("alias", 3, _alias), ("mixed", 2, _cast), ("complex", 3, _parts), ("look", 3, _look), ("grad", 3, _backward),
    ("modes", 2, _tape), ("write", 1, _sub_tensor_loop), ("func", 4, _transformed), ("rare", 4, _rare),
)
"""The feature that a kind belongs to (empty: always on), its weight, and what writes it."""

FEATURES = sorted({feature for feature, _, _ in KINDS if feature} | {"special"})
