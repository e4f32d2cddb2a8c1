"""Corners that are small and easily lost, beside PyTorch: sums of empty products of bools, numbers that do not fit, the
arguments that an overload takes together, slopes at NaN, polynomials of a high degree."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

import minigrad

torch = pytest.importorskip("torch")

NAN, INF = math.nan, math.inf


def answer(call: Any, library: Any, words: bool = True) -> str:
    """The result, or the error with the beginning of its words, as text that is the same for both libraries."""
    try:
        result = call(library)
        values = result if isinstance(result, tuple | list) else (result,)
        text = str([(v.dtype, tuple(v.shape), v.tolist()) if hasattr(v, "tolist") else v for v in values])
    except Exception as error:
        text = f"{type(error).__name__}: {str(error).splitlines()[0] if words else ''}"
    return text.replace("torch.", "").replace("minigrad.", "")


def same(call: Any, words: bool = True) -> None:
    assert answer(call, minigrad, words) == answer(call, torch, words)


@pytest.mark.parametrize("beta", [1, True, 2.0, 0, False, 2j])
@pytest.mark.parametrize("dtype", ["bool", "int64"])
def test_products_of_nothing(beta: Any, dtype: str) -> None:
    def ones(m: Any, *shape: int) -> Any:
        return m.ones(shape, dtype=getattr(m, dtype))

    same(lambda m: m.addmm(ones(m, 2), ones(m, 2, 0), ones(m, 0, 2), beta=beta))
    same(lambda m: m.addmm(ones(m, 2), ones(m, 0, 3), ones(m, 3, 2), beta=beta))
    same(lambda m: m.baddbmm(ones(m, 2), ones(m, 3, 2, 0), ones(m, 3, 0, 2), beta=beta))
    for count in (0, 1, 2):
        same(lambda m, count=count: m.addbmm(ones(m, 2, 2), ones(m, count, 2, 0), ones(m, count, 0, 2), beta=beta))
    if dtype == "bool":
        same(lambda m: m.addmv(ones(m, 2), ones(m, 2, 0), ones(m, 0), beta=beta))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "uint8", "int64", "complex64"])
@pytest.mark.parametrize("value", [65504.0, 65519.0, 65520.0, -1e5, 1e39, INF, NAN, 10**40, -1, 300])
def test_numbers_that_do_not_fit(value: Any, dtype: str) -> None:
    def zeros(m: Any) -> Any:
        return m.zeros(2, dtype=getattr(m, dtype))

    def assigned(m: Any, index: Any) -> Any:
        x = zeros(m)
        x[index(m)] = value
        return x

    same(lambda m: assigned(m, lambda m: 0))
    same(lambda m: assigned(m, lambda m: m.tensor([True, False])))
    same(lambda m: zeros(m).fill_(value))
    same(lambda m: m.full((2,), value, dtype=getattr(m, dtype)))
    same(lambda m: zeros(m).masked_fill(zeros(m) == 0, value))
    same(lambda m: m.scalar_tensor(value, dtype=getattr(m, dtype)))
    if value != 10**40:
        same(lambda m: m.nn.functional.pad(zeros(m), (1, 1), value=value))
    if dtype != "complex64" and value != 10**40:
        same(lambda m: m.nn.functional.threshold(zeros(m), 1, value))
        same(lambda m: (zeros(m) * NAN if dtype[:5] == "float" else zeros(m)).nan_to_num(value))


@pytest.mark.parametrize("call", [
    "x.sort(0, stable=True)", "x.argsort(0, True, stable=False)", "x.argsort(dim=0, stable=True)", "x.sort(0, True)",
    "m.sort(x, 0, stable=True)", "m.sort(x, stable=True, dim=0)", "x.max(0, other=x)", "x.max(x, True)",
    "x.max(other=x)", "x.std(0, True, correction=1)", "x.std(True, keepdim=True)", "x.std(0, correction=1)",
    "x.var(True)", "m.var_mean(x, 0, True, correction=1)", "x.true_divide(2, rounding_mode='floor')",
    "x.div(2, rounding_mode='floor')", "x.clone().true_divide_(2, rounding_mode='floor')", "x.true_divide(2)",
    "x.scatter(0, m.tensor([[0, 0, 1]]), x, value=1.0)", "x.scatter(0, m.tensor([[0, 0, 1]]), value=1.0)",
    "m.trapezoid(x, x, dx=2)", "m.trapezoid(x, dx=True)", "m.trapz(x, dx=True)", "m.trapezoid(x, dx=2j)",
    "m.trapz(x, dx=2j)", "m.cumulative_trapezoid(x, dx=False)", "m.cumulative_trapezoid(x, dx=2)",
    "m.trapezoid(x, dx='a')"])
def test_arguments_of_one_overload(call: str) -> None:
    same(lambda m: eval(call, {"m": m, "x": m.tensor([[3.0, 1.0, 2.0], [4.0, 6.0, 5.0]])}), words=False)


def slopes(m: Any, call: Any, *values: Any) -> list[Any]:
    given = [m.tensor(v, dtype=m.float64, requires_grad=True) for v in values]
    result = call(m, *given)
    return [result.tolist(), *[g.tolist() for g in m.autograd.grad(result.sum(), given)]]


def near(call: Any, *values: Any) -> None:
    mine, theirs = [slopes(m, call, *values) for m in (minigrad, torch)]
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(torch.tensor(a), torch.tensor(b), equal_nan=True)


@pytest.mark.parametrize("p", [0, 0.5, 1, 1.5, 2, 3, INF])
def test_slopes_of_distances_at_nan(p: float) -> None:
    a = [[0.0, 1, 2], [NAN, 1, 1], [INF, 0, -1], [-INF, 2, 2], [3, 3, 3]]
    b = [[0.0, 1, 2], [1, NAN, 1], [0, INF, 1], [INF, 5, 5], [1, 2, -INF], [4, 3, 2]]
    for one in a:
        near(lambda m, x, y: m.cdist(x, y, p, "donot_use_mm_for_euclid_dist"), [one], b)
        near(lambda m, x: m.nn.functional.pdist(x, p), [one, [4.0, 1, 2]])
    near(lambda m, x, y: m.cdist(x, y[:0], p), [[NAN, INF]], [[1.0, 2.0]])


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3, INF, -INF, -1])
@pytest.mark.parametrize("value", [NAN, INF, -INF, 0.0, -2.0])
def test_slope_of_the_norm_of_one_number(value: float, p: float) -> None:
    near(lambda m, x: m.linalg.vector_norm(x, p), value)
    near(lambda m, x: m.linalg.vector_norm(x, p), [value])


def test_slopes_of_binary_cross_entropy() -> None:
    def second(m: Any, x: float, t: float) -> Any:
        x, t = [m.tensor([v], dtype=m.float64, requires_grad=True) for v in (x, t)]
        loss = m.nn.functional.binary_cross_entropy_with_logits(x, t)
        first = m.autograd.grad(loss, (x, t), create_graph=True)
        mixed = m.autograd.grad(first[0].sum(), (x, t), retain_graph=True)
        return [[loss.item()], *[g.tolist() for g in (*first, *mixed)]]

    for x in (NAN, INF, -INF, 0.0, 40.0, -40.0):
        for t in (0.0, 1.0, 0.3, NAN):
            mine, theirs = [[torch.tensor(v) for v in second(m, x, t)] for m in (minigrad, torch)]
            torch.testing.assert_close(mine, theirs, equal_nan=True)


@pytest.mark.parametrize("name", ["chebyshev_polynomial_t", "legendre_polynomial_p", "laguerre_polynomial_l",
                                  "hermite_polynomial_he"])
def test_polynomials_of_a_high_degree(name: str) -> None:
    x = [0.3, 0.9, -0.5, 0.01, 0.99, 0.7]
    n = [64.0, 65.0, 128.0, 129.0, 4097.0, 5000.0] if name[0] == "c" else [3.0, 63.0, 64.0, 65.0, 100.0, 140.0]
    mine, theirs = [getattr(m.special, name)(m.tensor(x, dtype=m.float64), m.tensor(n, dtype=m.float64)).tolist()
                    for m in (minigrad, torch)]
    torch.testing.assert_close(torch.tensor(mine), torch.tensor(theirs), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("zeros", [False, True])
def test_gradients_of_running_products_of_0_infinity_and_nan(zeros: bool) -> None:
    """PyTorch's formula depends on whether there is a 0 anywhere."""
    rows = [row for row in itertools.product([0.0, 2.0, INF, NAN], repeat=4) if (0.0 in row) is zeros]

    def slopes(m: Any) -> Any:
        x = m.tensor(rows, dtype=m.float64, requires_grad=True)
        (x.cumprod(1) * m.tensor([1.0, 2.0, 3.0, 4.0], dtype=m.float64)).sum().backward()
        return torch.tensor(x.grad.tolist())

    torch.testing.assert_close(slopes(minigrad), slopes(torch), equal_nan=True)


@pytest.mark.parametrize("norm", [
    lambda m, x: m.linalg.vector_norm(x, dim=1), lambda m, x: m.linalg.vector_norm(x, 3, dim=(0, 1)),
    lambda m, x: m.linalg.vector_norm(x, -2, dim=1), lambda m, x: x[..., 1:2].norm(), lambda m, x: x.norm(3, dim=1),
    lambda m, x: m.nn.functional.normalize(x, dim=1), lambda m, x: m.renorm(x, 2, 2, 1.0),
    lambda m, x: m.dist(x[..., 1], x[..., 2]), lambda m, x: m.linalg.matrix_norm(x[..., :1]),
    lambda m, x: m.nn.functional.cosine_similarity(x, x, dim=1), lambda m, x: m.linalg.vector_norm(x, 0, dim=1),
    lambda m, x: m.nn.functional.pairwise_distance(x[..., 1:2], x[..., 2:3]),
    lambda m, x: m.cdist(x[..., 1:2], x[..., 2:3]),
])
def test_norms_of_one_number_whose_square_overflows(norm: Any) -> None:
    def outcome(m: Any) -> Any:
        x = m.tensor([[[0.0, 1e20, 3.0, -1e20]]], requires_grad=True)
        result = norm(m, x)
        result.sum().backward()
        return [torch.tensor(t.tolist()) for t in (result, x.grad) if t is not None]

    torch.testing.assert_close(outcome(minigrad), outcome(torch), equal_nan=True)


@pytest.mark.parametrize("dtype", ["bool", "int64", "bfloat16", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("other", ["float16", "bfloat16", "float32", "float64", "complex64"])
@pytest.mark.parametrize("shape", [(), (1,)])
def test_powers_of_ldexp_have_the_dtype_of_both(dtype: str, other: str, shape: tuple[int, ...]) -> None:
    def outcome(m: Any) -> Any:
        x = m.tensor([1.5]).to(getattr(m, dtype))
        try:
            result = m.ldexp(x, m.tensor(0.625).to(getattr(m, other)).reshape(shape))
        except NotImplementedError:  # complex32
            return None
        return str(result.dtype).partition(".")[2], result.tolist()

    mine, theirs = outcome(minigrad), outcome(torch)
    assert mine == theirs if theirs is None else (mine[0], mine[1]) == (theirs[0], pytest.approx(theirs[1], rel=1e-8))


@pytest.mark.parametrize("call", [
    lambda L, v: L.nn.functional.cosine_similarity(v, v - 3, dim=0), lambda L, v: L.nn.functional.normalize(v, dim=-1),
    lambda L, v: L.linalg.vector_norm(v, dim=0), lambda L, v: v.norm(dim=-1),
    lambda L, v: L.nn.functional.cosine_similarity(v[None], v[None] * 2, dim=0)])
def test_norms_along_the_dimension_of_a_number(call):
    """A tensor without dimensions may be reduced along dimension 0, as if it had one."""
    found = [call(L, L.tensor(-2.0)).tolist() for L in (torch, minigrad)]
    assert found[0] == pytest.approx(found[1])


@pytest.mark.parametrize("name", ["median", "nanmedian"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64"])
def test_medians_of_nothing(name: str, dtype: str) -> None:
    def outcome(m: Any) -> Any:
        x = m.zeros((7, 0), dtype=getattr(m, dtype), requires_grad=dtype != "int64")
        middle = getattr(x, name)()
        if x.requires_grad:
            assert math.isnan(middle.item())
            middle.backward()
        return middle.requires_grad, middle.grad_fn and middle.grad_fn.name(), x.grad is None, str(middle.dtype)[-5:]

    assert outcome(minigrad) == outcome(torch)


@pytest.mark.parametrize("name", ["zeta", "gammainc", "gammaincc"])
@pytest.mark.parametrize("dtypes", [("float16", "bfloat16"), ("bfloat16", "int64"), ("int64", "bool"),
                                    ("float16", "float32"), ("int64", "float32")])
def test_dtypes_of_special_functions(name: str, dtypes: tuple[str, str]) -> None:
    same(lambda m: getattr(m.special, name)(*[m.ones(1, dtype=getattr(m, dtype)) for dtype in dtypes]).dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "bool", "complex64"])
@pytest.mark.parametrize("bounds", [
    "-0.5 + 0j", "-0.5 + 2j", "None, 0.5 + 0j", "0, 0.5 + 0j", "True, 1 + 1j", "max=0.5 + 0j", "float('nan') + 0j",
    "1e300 + 0j", "m.tensor(-0.5 + 0j), 0.5", "-1.0, m.tensor(-0.5 + 0j)", "-1.0, m.tensor(-0.5 + 1j)",
    "m.tensor(-0.5 + 0j), 0.5 + 0j", "m.tensor(-0.5), 0.5 + 0j", "m.tensor([-0.5 + 0j])", "m.tensor(-0.5 + 0j)"])
def test_complex_bounds(bounds: str, dtype: str) -> None:
    """A float takes those whose imaginary part is 0, if they are numbers, or 0-d beside a number."""
    same(lambda m: eval(f"m.clamp(m.tensor([0, 1], dtype=m.{dtype}), {bounds})", {"m": m}), words=False)


def test_the_one_bound_of_clamp_min_is_not_complex() -> None:
    for call in (lambda m: m.ones(2).clamp_min(0.5 + 0j), lambda m: m.ones(2).clamp_max_(0.5 + 0j),
                 lambda m: m.ones(2, dtype=m.int64).clamp(0, 2j)):
        same(call)


@pytest.mark.parametrize("shape", [(), (1,), (2, 1)])
@pytest.mark.parametrize("name", ["median", "nanmedian", "max", "min", "amax"])
def test_slopes_of_the_largest_are_those_of_what_was_written_into_data(name: str, shape: tuple[int, ...]) -> None:
    def slope(m: Any) -> Any:
        x = m.full(shape, 2.0, requires_grad=True)
        y = x * 1
        z = getattr(y, name)()
        y.data.add_(1)
        z.backward()
        return x.grad

    same(slope)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_the_slope_of_logit_at_both_zeros_is_infinite(dtype: str) -> None:
    def slope(m: Any) -> Any:
        x = m.tensor([-0.0, 0.0, 1.0, -0.5, NAN], dtype=getattr(m, dtype), requires_grad=True)
        return m.autograd.grad(m.special.logit(x).sum(), x)[0]

    same(slope)
