"""Stage: tests of devices. In: a library with PyTorch's names, a device. Out: programs of a line each, one or more for
every way in which results were once wrong, and what each gives: numbers that PyTorch gave, but for a variance, which is
exact (17 · 16 / 33 / 32).
Next: ``test_corners.py``."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any

Slopes = Callable[[Any], Any]


class Library:
    """minigrad (or PyTorch) on a device."""

    def __init__(self, module: Any, device: str) -> None:
        self.m, self.F, self.device = module, module.nn.functional, device

    def __call__(self, values: Any, dtype: str = "float32") -> Any:
        """A tensor of the device."""
        return self.m.tensor(values, dtype=getattr(self.m, dtype), device=self.device)

    def slope(self, function: Slopes, values: Any, dtype: str = "float32") -> Any:
        """The gradient of the sum."""
        x = self(values, dtype).requires_grad_()
        return self.m.autograd.grad(function(x).sum(), x)[0]

    def second(self, function: Slopes, values: Any, weights: Any) -> Any:
        """The gradient of the gradient's product with weights."""
        x = self(values).requires_grad_()
        (first,) = self.m.autograd.grad(function(x).sum(), x, create_graph=True)
        return self.m.autograd.grad((first * self(weights)).sum(), x)[0]

    def name(self, x: Any) -> str:
        """A tensor's dtype, without the library."""
        return str(x.dtype).rpartition(".")[2]

    def at(self, values: Any) -> Any:
        """Places."""
        return self(values, "int64")


def refused(call: Callable[[], Any]) -> str:
    """The kind of error that a call raises, or its result is computed."""
    try:
        call().tolist()
    except Exception as error:
        return type(error).__name__
    return "no error"


def ended(x: Any, change: Callable[[Any], Any]) -> Any:
    """What a change in place makes of a tensor."""
    change(x)
    return x


def stored(x: Any) -> Any:
    """The same tensor, computed and looked at."""
    x.tolist()
    return x


def hooked(p: Library, hook: Callable[[Any], Any]) -> Any:
    """The gradient of 2x where a hook sees the gradient of the leaf."""
    x = p([1.0, 2.0]).requires_grad_()
    x.register_hook(hook)
    (x * 2).sum().backward()
    return x.grad


def slope_of_other(p: Library) -> Any:
    """The other input's gradient, of a Function that writes into a view."""
    class Put(p.m.autograd.Function):  # type: ignore[name-defined,misc]
        @staticmethod
        def forward(context: Any, x: Any, y: Any) -> Any:
            context.mark_dirty(x)
            return x.add_(y)

        @staticmethod
        def backward(context: Any, slope: Any) -> Any:
            return slope, slope * 3

    base, y = (p([1.0, 2.0]).requires_grad_() for _ in range(2))
    whole = base.clone()
    Put.apply(whole[:1], y[:1])
    whole.sum().backward()
    return [base.grad, y.grad]


def kept_then_written(p: Library) -> Any:
    """``retain_grad``, then a change in place."""
    x = p([1.0, 2.0]).requires_grad_()
    y = x * 1
    y.retain_grad()
    y.mul_(3)
    y.sum().backward()
    return [x.grad, y.grad]


Programs = dict[str, tuple[Callable[[Library], Any], Any]]
"""By name: the program, and what it gives."""

INTEGERS: Programs = {
    "quotient of the least, cut": (lambda p: p([-128], "int8").div(3, rounding_mode="trunc"), [-42]),
    "quotient of the least, int64": (lambda p: p([-2**63], "int64").div(3, rounding_mode="trunc"),
        [-3074457345618258602]),
    "remainder of the least": (lambda p: p.m.fmod(p([-2**31], "int32"), 3), [-2]),
    "remainder by a wrapped number": (lambda p: p.m.fmod(p([7, 255], "uint8"), p([255, 255], "uint8")), [7, 0]),
    "sign of a zero remainder": (lambda p: 1 / p.m.fmod(p([-0.0, 0.0]), 2.0), [-inf, inf]),
    "least of a scatter, uint8": (lambda p: p([7], "uint8").scatter_reduce(
        0, p.at([0, 0, 0]), p([9, 0, 5], "uint8"), "amin", include_self=False),
        [0]),
    "least of a scatter, int32": (lambda p: p([7], "int32").scatter_reduce(
        0, p.at([0, 0, 0]), p([9, -2**31, 5], "int32"), "amin"),
        [-2147483648]),
    "numbers that do not fit": (lambda p: [
        refused(lambda: p.m.full((2,), 300, dtype=p.m.uint8, device=p.device)), refused(lambda: p([300], "uint8")),
        refused(lambda: p([1], "int8").fill_(300)), refused(lambda: p([1], "int8").clamp(-1000, 1000))],
        ["RuntimeError", "RuntimeError", "RuntimeError", "RuntimeError"]),
    "quotient of bools": (lambda p: refused(lambda: p([True, False], "bool") // p([True, True], "bool")),
        "NotImplementedError"),
}
BOOLS: Programs = {
    "sum of bools": (lambda p: p([True, True], "bool").sum(dtype=p.m.bool), True),
    "bools scattered": (lambda p: p([False] * 3, "bool").scatter_add(0, p.at([0, 0]), p([True, True], "bool")),
        [True, False, False]),
    "bools added at places": (lambda p: p([False] * 3, "bool").index_add(0, p.at([0, 0]), p([True, True], "bool")),
        [True, False, False]),
    "bools put": (lambda p: p([False] * 3, "bool").index_put((p.at([0, 0]),), p([True, True], "bool"), accumulate=True),
        [True, False, False]),
}
HALVES: Programs = {
    "a number is not rounded first": (lambda p: p([655.36], "float16") / 65536.0, [0.0100021362]),
    "nor a large one": (lambda p: p([0.1, 0], "float16") * 1e5, [10000.0, 0.0]),
    "layer_norm of halves": (lambda p: p.F.layer_norm(p([700, 299, 0], "float16"), (3,)),
        [1.27929688, -0.118530273, -1.16113281]),
    "infinite, pending": (lambda p: (p([300], "float16") * 300).isinf(), [True]),
    "infinite, stored": (lambda p: stored(p([300], "float16") * 300).isinf(), [True]),
    "rounded, pending": (lambda p: (p([2048], "float16") + 1) == 2048, [True]),
    "rounded, stored": (lambda p: stored(p([2048], "float16") + 1) == 2048, [True]),
    "bfloat16 sorted with NaN": (lambda p: list(p([2, nan, -1], "bfloat16").sort()), [[-1.0, 2.0, nan], [2, 0, 1]]),
    "bfloat16 argsort": (lambda p: p([2, nan, -1], "bfloat16").argsort(), [2, 0, 1]),
    "bfloat16 topk": (lambda p: list(p([2, nan, -1], "bfloat16").topk(2)), [[nan, 2.0], [1, 0]]),
    "bfloat16 kthvalue": (lambda p: list(p([2, nan, -1], "bfloat16").kthvalue(2)), [2.0, 0]),
    "bfloat16 median": (lambda p: list(p([2, nan, -1], "bfloat16").median(0)), [nan, 1]),
    "bfloat16 searchsorted": (lambda p: p.m.searchsorted(p([1, 2, nan], "bfloat16"), p([nan, 2], "bfloat16")), [3, 1]),
}
SUMS: Programs = {
    "logcumsumexp": (lambda p: p([-200.0, 0.0]).logcumsumexp(0), [-200.0, 0.0]),
    "logcumsumexp of infinities": (lambda p: [p([-inf, -inf]).logcumsumexp(0), p([1.0, inf]).logcumsumexp(0)],
        [[-inf, -inf], [1.0, inf]]),
    "logcumsumexp's gradient": (
        lambda p: [p.slope(lambda x: x.logcumsumexp(0), v) for v in ([-200.0, 0.0], [-inf, -inf])],
        [[1.0, 1.0], [nan, nan]]),
    "a long running sum": (lambda p: p.m.full((40000,), 0.1, device=p.device).cumsum(0)[-1], 4000.0),
    "a long running product": (lambda p: p.m.full((40000,), 1.00001, device=p.device).cumprod(0)[-1], 1.49263227),
    "deviation of large numbers": (lambda p: p([1e20, -1e20, 0.0]).std(), 1.00000002e+20),
    "variance far from 0": (lambda p: (p.m.arange(33.0, device=p.device) % 2 + 1000000.3).var(), 0.2575757575),
    "variance near the largest": (lambda p: p([1e19, -1e19, 1e19]).var(), 1.33333336e+38),
    "lerp at its end": (lambda p: [p([1e8]).lerp(p([1.0]), 1.0), p([-inf]).lerp(p([1.0]), 0.5)], [[1.0], [-inf]]),
    "erfc, sinh, cosh far out": (lambda p: [p([5.0]).erfc(), p([-89.0]).sinh(), p([-89.0]).cosh()],
        [[1.53745983e-12], [-2.24480639e+38], [2.24480639e+38]]),
    "quantile with NaN": (lambda p: p([1.0, nan, 2.0]).quantile(0.5), nan),
    "clamp by NaN": (lambda p: p([1.0, 2.0]).clamp(min=nan), [nan, nan]),
}
GRADIENTS: Programs = {
    "softplus, logsigmoid at 0": (lambda p: [p.slope(p.F.softplus, [0.0]), p.slope(p.F.logsigmoid, [0.0])],
        [[0.5], [0.5]]),
    "second of bce with logits at 0": (lambda p: p.second(
        lambda x: p.F.binary_cross_entropy_with_logits(x, p([1.0]), reduction="sum"), [0.0], [1.0]),
        [0.25]),
    "cumprod with a zero": (lambda p: p.slope(lambda x: x.cumprod(0), [1.0, 32.0, 0.0, 0.0]), [33.0, 1.0, 32.0, 0.0]),
    "second of prod with zeros": (lambda p: p.second(lambda x: x.prod(), [1.0, 32.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0]),
        [0.0, 0.0, 128.0, 96.0]),
    "std of equal numbers": (lambda p: p.slope(lambda x: x.std(), [1.0, 1.0, 1.0]), [0.0, 0.0, 0.0]),
    "fmod at 0": (lambda p: p.slope(lambda x: x.fmod(2.0), [0.0, -0.0]), [1.0, 1.0]),
    "median's ties": (lambda p: p.slope(lambda x: x.median(), [1.0, 1.0, 1.0, 2.0]),
        [0.333333343, 0.333333343, 0.333333343, 0.0]),
    "clamp and relu at NaN": (lambda p: [p.slope(lambda x: x.clamp(0, 1), [nan, 0, 1]), p.slope(p.F.relu, [nan, 0.0])],
        [[0.0, 1.0, 1.0], [1.0, 0.0]]),
    "bce at its ends": (lambda p: p.slope(
        lambda x: p.F.binary_cross_entropy(x, p([0.0, 1.0, 1.0]), reduction="sum"), [0.0, 1.0, 0.0]),
        [0.0, 0.0, -999999996000.0]),
    "bce outside": (lambda p: refused(lambda: p.F.binary_cross_entropy(p([1.5]), p([1.0]))), "RuntimeError"),
    "logsumexp of -inf": (lambda p: p.slope(lambda x: x.logsumexp(0), [-inf, -inf]), [nan, nan]),
    "norm at 0": (lambda p: p.slope(lambda x: x.norm(), [0.0, 0.0]), [0.0, 0.0]),
    "where with NaN not taken": (lambda p: p.slope(lambda x: p.m.where(x > 0, x.sqrt(), x), [-1.0, 4.0]), [nan, 0.25]),
    "amax of halves, pending": (lambda p: [
        p.slope(lambda x: ((x * 1.7).exp() * 3.3).amax(), [0.25, 1.5, -2.0], d) for d in ("float16", "bfloat16")],
        [[0.0, 71.9375, 0.0], [0.0, 71.5, 0.0]]),
    "cummax of halves, pending": (lambda p: p.slope(lambda x: (x * 1.7).exp().cummax(0)[0], [0.5, 1.5, 1.0], "float16"),
        [3.97851562, 43.59375, 0.0]),
    "amax and scatter_reduce": (lambda p: p.slope(lambda x: p([2.0, 0.0]).scatter_reduce(
        0, p.at([0, 0, 1]), x, "amax"), [2.0, 1.0, 3.0]),
        [0.5, 0.0, 1.0]),
    "product of a scatter": (lambda p: p.slope(lambda x: p([2.0, 1.0]).scatter_reduce(
        0, p.at([0, 0, 1]), x, "prod"), [0.0, 5.0, 3.0]),
        [10.0, 0.0, 1.0]),
    "quantile and cat": (lambda p: [
        p.slope(lambda x: x.quantile(0.3), [3.0, 1.0, 2.0]), p.slope(lambda x: p.m.cat([x, x * 2]), [1.0, 2.0])],
        [[0.0, 0.399999976, 0.600000024], [3.0, 3.0]]),
    "a hook's other shape": (lambda p: refused(lambda: hooked(p, lambda g: g[:1])), "RuntimeError"),
    "a hook's change": (lambda p: hooked(p, lambda g: ended(g, lambda h: h.mul_(5))), [10.0, 10.0]),
    "a view written by a Function": (slope_of_other, [[1.0, 1.0], [3.0, 0.0]]),
    "retained, then written": (kept_then_written, [[3.0, 3.0], [1.0, 1.0]]),
}
ARGUMENTS: Programs = {
    "meshgrid": (lambda p: list(p.m.meshgrid(p([1.0, 2.0]), p([3.0]), indexing="xy")), [[[1.0, 2.0]], [[3.0, 3.0]]]),
    "fill_diagonal_": (lambda p: ended(p.m.zeros(5, 2, device=p.device), lambda x: x.fill_diagonal_(1, wrap=True)),
        [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
    "cat with an empty float": (lambda p: p.name(p.m.cat([p([1], "int64"), p([])])), "float32"),
    "negative places": (lambda p: [
        refused(lambda: p([1.0, 2.0]).gather(0, p.at([-1]))),
        refused(lambda: p([1.0, 2.0]).index_select(0, p.at([-1]))),
        refused(lambda: p([1.0, 2.0]).scatter(0, p.at([-1]), 1.0))],
        ["RuntimeError", "IndexError", "RuntimeError"]),
    "lists in lists": (lambda p: p.m.arange(9, device=p.device).reshape(3, 3)[[[0, 1], [1, 2]]], [1, 5]),
    "nonzero of a number": (lambda p: list(p(3.0).nonzero().shape), [1, 0]),
    "topk of none": (lambda p: list(p([1.0, 2.0]).topk(0)), [[], []]),
    "repeat_interleave": (lambda p: p.m.repeat_interleave(p.at([2, 0, 1])), [0, 0, 2]),
    "isin": (lambda p: p.m.isin(p([1, 2, 3], "int64"), 2), [False, True, False]),
    "einsum of sublists": (lambda p: p.m.einsum(p([1.0, 2.0]), [0], p([3.0, 4.0]), [1], [1, 0]),
        [[3.0, 6.0], [4.0, 8.0]]),
    "broadcast_to": (lambda p: p([1.0]).broadcast_to(2, 2), [[1.0, 1.0], [1.0, 1.0]]),
    "allclose, nansum of bools": (lambda p: [
        p.m.isclose(p([True], "bool"), p([True], "bool")), p([True, True], "bool").nansum()],
        [[True], 2]),
    "of nothing": (lambda p: [p([]).logcumsumexp(0), p([]).median(), p([]).nonzero(),
                             p.m.searchsorted(p([]), p([1.0]))],
        [[], nan, [], [0]]),
    "where by uint8": (lambda p: p.m.where(p([1, 0], "uint8"), p([1.0, 2.0]), p([3.0, 4.0])), [1.0, 4.0]),
    "float64 of float32's bits": (lambda p: p([0.0, 1.875]).view(p.m.float64), [1.0]),
    "quantile between": (lambda p: [p([1.0, 2.0, 4.0]).quantile(0.7, interpolation=i) for i in (
        "lower", "higher", "midpoint", "nearest", "linear")],
        [2.0, 4.0, 3.0, 2.0, 2.79999995]),
    "masked_fill of ints": (lambda p: p([1, 2], "int64").masked_fill(p([True, False], "bool"), 1.5), [1, 2]),
    "cross_entropy of no classes": (
        lambda p: refused(lambda: p.F.cross_entropy(p.m.zeros(2, 0, device=p.device), p.at([0, 0]))),
        "IndexError"),
    "a mask of 0 dimensions": (lambda p: p([5.0, 6.0])[p(1, "uint8")], [[5.0, 6.0]]),
    "movedim": (lambda p: refused(lambda: p.m.zeros(2, 2, device=p.device).movedim((0, 0), (0, 1))), "RuntimeError"),
}
OPERATORS: Programs = {
    "products of int64": (lambda p: p.m.addmv(p.at([1, 2]), p.at([[1, 2], [3, 4]]), p.at([2**40, 1])),
        [1099511627779, 3298534883334]),
    "of bools": (lambda p: [p.m.addr(p([[True, False]], "bool"), p([True], "bool"), p([False, True], "bool")),
                           p([True], "bool").sinh(), p([True], "bool").cosh(), p([True, False], "bool").logsumexp(0)],
        [[[True, True]], [1.17520118], [1.54308057], 1.31326163]),
    "ranges of int64": (lambda p: [p.m.arange(0, 3.1, dtype=p.m.int64, device=p.device),
                                  p.m.logspace(0, 3, 4, dtype=p.m.int64, device=p.device),
                                  p.m.linspace(0, 10, 4, dtype=p.m.int64, device=p.device)],
        [[0, 1, 2], [1, 10, 100, 1000], [0, 3, 6, 10]]),
    "flip": (lambda p: p([[1.0, 2.0], [3.0, 4.0]]).flip(dims=(0, 1)), [[4.0, 3.0], [2.0, 1.0]]),
    "the other way round": (lambda p: [p([1.0, 2.0]).__rsub__(5), p([2.0, 3.0]).__rmod__(7), p([1.0, 2.0]).__rpow__(3),
                                      p([1.0, 2.0]).__rdiv__(4), p.at([1, 2]).__rand__(3)],
        [[4.0, 3.0], [1.0, 1.0], [3.0, 9.0], [4.0, 2.0], [1, 2]]),
    "places of 0 dimensions": (lambda p: [p(1.0).index_fill(0, p.at([0]), 5.0), p(1.0).index_add(0, p.at([0]), p(2.0)),
                                         p(1.0).index_select(0, p.at([0]))],
        [5.0, 3.0, 1.0]),
    "bools sorted in order": (lambda p: list(p([True, False, True, False], "bool").sort(stable=True)),
        [[False, False, True, True], [1, 3, 0, 2]]),
    "ties": (lambda p: [p([1.0, 1.0, 0.0, 1.0]).sort(stable=True)[1], p([2.0, 2.0, 2.0]).topk(2)[0]],
        [[2, 0, 1, 3], [2.0, 2.0]]),
    "unique_consecutive": (lambda p: p([[1, 1], [1, 1], [2, 2]], "int64").unique_consecutive(dim=0), [[1, 1], [2, 2]]),
    "unique of NaN": (lambda p: p([nan, 1.0, nan]).unique(), [1.0, nan, nan]),
    "tensordot of 1": (lambda p: p.m.tensordot(p([[1.0], [2.0]]), p([[3.0, 4.0]]), dims=1), [[3.0, 4.0], [6.0, 8.0]]),
    "nuclear norm": (lambda p: p([[3.0, 0.0], [0.0, -4.0]]).norm("nuc"), 7.0),
}
DTYPES: Programs = {
    "alpha in the result's type": (lambda p: p.m.add(p([0.1], "float64"), p([0.1]), alpha=3), [0.400000004]),
    "addcmul of ints": (lambda p: p.m.addcmul(p.at([1]), p.at([2]), p.at([3]), value=0.5), [1]),
    "bools by alpha": (lambda p: p([True], "bool").add(p([True], "bool"), alpha=2), [True]),
    "one window": (lambda p: ended(p.m.zeros(3, device=p.device), lambda x: x.unfold(0, 3, 3).add_(1)),
        [1.0, 1.0, 1.0]),
    "cat with an empty row": (lambda p: p.m.cat([p([[1.0, 2.0]]), p([])]), [[1.0, 2.0]]),
}
COMPLEX: Programs = {
    "product and quotient": (lambda p: [p([1 + 2j, 3j], "complex64") * (1 - 1j), 2 / p([1 + 2j, 3j], "complex64")],
        [[(3+1j), (3+3j)], [(0.400000006-0.800000012j), -0.666666687j]]),
    "sum and product over": (
        lambda p: [p([1 + 2j, 3j, -1], "complex64").sum(), p([1 + 2j, 3j, -1], "complex64").prod()],
        [5j, (6-3j)]),
    "matrices": (lambda p: p([[1j, 2], [3, 4j]], "complex64") @ p([[1, 1j], [2, 0]], "complex64"),
        [[(4+1j), (-1+0j)], [(3+8j), 3j]]),
    "parts": (lambda p: [ended(p([1 + 2j, 3j], "complex64"), lambda x: x.real.mul_(10)),
                        p.m.view_as_real(p([1 + 2j], "complex64")), p.m.view_as_complex(p([[1.0, 2.0]])) * 1j],
        [[(10+2j), 3j], [[1.0, 2.0]], [(-2+1j)]]),
    "size and angle": (lambda p: [p([3 + 4j, -1], "complex64").abs(), p([1j, -1], "complex64").angle()],
        [[5.0, 1.0], [1.57079637, 3.14159274]]),
    "functions": (lambda p: [
        p([1j], "complex128").exp(), p([1 + 1j], "complex128").sqrt(), p([-1 + 0j], "complex128").log()],
        [[(0.540302306+0.841470985j)], [(1.09868411+0.455089861j)], [3.14159265j]]),
    "gradients": (lambda p: [
        p.slope(lambda x: (x * x.conj()).real, [1 + 2j, 3j], "complex64"),
        p.slope(lambda x: x.abs(), [3 + 4j], "complex64"),
        p.slope(lambda x: p.m.view_as_real(x / (1 + 1j)), [1 + 2j], "complex64")],
        [[(2+4j), 6j], [(0.600000024+0.800000012j)], [1j]]),
    "fft": (lambda p: p.m.fft.fft(p([1, 2j, -1, 0], "complex64") * 2) * 1j, [(-4+0j), 8j, (4+0j), 0j]),
    "fft and back, with gradient": (lambda p: p.slope(
        lambda x: p.m.fft.irfft(p.m.fft.rfft(x) * (1 + 1j), n=4) * x, [1.0, 2.0, 3.0, 5.0]),
        [2.0, 4.0, 6.0, 10.0]),
    "made of parts": (lambda p: p.m.complex(p([1.0, 2.0]), p([3.0, 4.0])).where(p([True, False], "bool"), p(0.0)),
        [(1+3j), 0j]),
}

FAMILIES = (COMPLEX, INTEGERS, BOOLS, HALVES, SUMS, GRADIENTS, ARGUMENTS, OPERATORS, DTYPES)
"""All of them."""
