"""Stage: tests. In: numbers at the ends of their types, on every device. Out: quotients, remainders, sums, scatters and
casts are exact; halves meet Python numbers in float32; a value is the same whether it was stored or not.
Next: ``test_numpy_memory.py``."""

from __future__ import annotations

from fractions import Fraction
from math import floor, trunc

import pytest

import minigrad
from minigrad.dtype import DType, bfloat16, bool_, float16, float32, int8, int16, int32, int64, uint8
from minigrad.runtime.device import devices

SIGNED = [int8, int16, int32, int64]
DEVICES = [d.name for d in devices() if not d.reason and d.name in ("CPU", "CC", "OPENCL", "NUMPY")]


def _wrapped(value: int, dtype: DType) -> int:
    value &= (1 << dtype.bits) - 1
    return value - (1 << dtype.bits) if value > dtype.max else value


@pytest.mark.parametrize("device", DEVICES)
def test_quotients_and_remainders_of_all_widths(device: str) -> None:
    for dtype in (*SIGNED, uint8) if device == "CPU" else (int8, int64):
        values = sorted({v for v in (int(dtype.min), int(dtype.min) + 1, -7, -3, -1, 1, 2, 3, 7, int(dtype.max))
                         if v and v >= dtype.min})
        a = minigrad.tensor(values, dtype=dtype, device=device)
        x, y = a[:, None], a[None]
        exact = [[(p, q, Fraction(p, q)) for q in values] for p in values]
        for made, rule in ((minigrad.div(x, y, rounding_mode="trunc"), lambda p, q, r: trunc(r)),
                           (x // y, lambda p, q, r: floor(r)), (minigrad.fmod(x, y), lambda p, q, r: p - q * trunc(r)),
                           (x % y, lambda p, q, r: p - q * floor(r))):
            assert made.tolist() == [[_wrapped(rule(*e), dtype) for e in row] for row in exact], (dtype, device)


@pytest.mark.parametrize("device", DEVICES)
def test_bools_add_up_to_any(device: str) -> None:
    x = minigrad.tensor([True, True, False], device=device)
    at = minigrad.tensor([0, 0, 2], device=device)
    start = minigrad.tensor([False, False, False], device=device)
    assert x.sum(dtype=bool_).tolist() is True and x.prod(dtype=bool_).tolist() is False
    for made in (start.scatter_add(0, at, x), start.index_add(0, at, x), start.index_put((at,), x, accumulate=True)):
        assert made.dtype is bool_ and made.tolist() == [True, False, False]


@pytest.mark.parametrize("device", DEVICES)
def test_least_of_a_scatter_has_no_negative_to_go_by(device: str) -> None:
    for dtype, values in ((uint8, [9, 0, 5]), (int32, [-2**31, 5, 7]), (int64, [3, -2**63, 2**63 - 1])):
        x = minigrad.tensor(values, dtype=dtype, device=device)
        made = minigrad.ones(1, dtype=dtype, device=device).scatter_reduce(
            0, minigrad.tensor([0, 0, 0], device=device), x, "amin", include_self=False)
        assert made.tolist() == [min(values)]


def test_numbers_that_do_not_fit_are_refused() -> None:
    x = minigrad.zeros(2, dtype=int8)
    for call in (lambda: minigrad.full((2,), 300, dtype=uint8), lambda: x.fill_(128), lambda: x.clamp(-1000, 1000),
                 lambda: x.__setitem__(0, 300), lambda: x.masked_fill(x == 0, -129), lambda: x.new_full((1,), 2**40),
                 lambda: minigrad.full((2,), float("nan"), dtype=int64), lambda: minigrad.where(x > 0, x, 200),
                 lambda: minigrad.full((2,), 1e39), lambda: minigrad.tensor([256], dtype=uint8)):
        with pytest.raises(RuntimeError, match="value cannot be converted to type .* without overflow"):
            call()
    assert minigrad.full((1,), -1, dtype=uint8).tolist() == [255]
    assert (x + 300).tolist() == [44, 44], "beside a Tensor, numbers wrap"
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        x // minigrad.tensor([1, 0], dtype=int8)


@pytest.mark.parametrize("device", DEVICES)
def test_floats_that_do_not_fit_become_what_x86_makes_of_them(device: str) -> None:
    x = minigrad.tensor([-1.5, 300.7, 1e10, float("inf"), float("nan"), -1e10], device=device)
    lowest = -2**31
    assert x.to(uint8).tolist() == [255, 44, 0, 0, 0, 0]
    assert x.to(int32).tolist() == [-1, 300, lowest, lowest, lowest, lowest]
    assert x.to(int64).tolist() == [-1, 300, 10**10, -2**63, -2**63, -10**10]
    wide = minigrad.tensor([-1.5, 3e9 + 7, -1e10 - 3, 2.0**70, float("nan")], dtype=minigrad.float64, device=device)
    assert wide.to(uint8).tolist() == [255, 7, 253, 0, 0]
    assert wide.to(int8).tolist() == [-1, 0, 0, 0, 0]


@pytest.mark.parametrize(("device", "dtype"), [("CPU", float16), ("CPU", bfloat16), ("NUMPY", float16),
                                               ("CC", bfloat16), ("OPENCL", float16)])
def test_halves(device: str, dtype: DType) -> None:
    """Numbers stay wide beside them; each op is rounded, stored or not."""
    if device not in DEVICES:
        pytest.skip(f"no device {device}")
    big = 300.0 if dtype is float16 else 2.0**100
    for stored in (False, True):
        x = minigrad.tensor([big, -big], device=device).to(dtype)
        product, unit = x * x, minigrad.ones(2, device=device).to(dtype) * 2048 + 1
        if stored:
            product, unit = product.realize(), unit.realize()
        assert product.isinf().tolist() == [True, True]
        assert (unit == 2048).all().item()
        both = product.sum() - product.sum()
        assert both.isnan().item(), "infinite products have no finite sum"
    tenth = minigrad.tensor([0.1, 0.0], device=device).to(dtype)
    assert (tenth * 1e5).float().tolist() == pytest.approx([1e4, 0.0], rel=0.01)
    x = minigrad.tensor([655.36], device=device).to(float16)
    assert (x / 65536.0).float().item() == pytest.approx(0.01, rel=1e-3)


def test_derivatives_of_remainders() -> None:
    for name in ("fmod", "remainder"):
        x = minigrad.tensor([5.5, -5.5, 0.0, -0.0, 3.0], dtype=minigrad.float64, requires_grad=True)
        y = minigrad.tensor([2.0, 2.0, 2.0, 3.0, 1.5], dtype=minigrad.float64, requires_grad=True)
        out = getattr(minigrad, name)(x, y)
        dx, dy = minigrad.autograd.grad(out.sum(), (x, y), create_graph=True)
        assert dx.tolist() == [1.0] * 5
        assert dy.tolist() == ([-2.0, 2.0, 0.0, 0.0, -2.0] if name == "fmod" else [-2.0, 3.0, 0.0, 0.0, -2.0])
    assert [str(v) for v in minigrad.fmod(minigrad.tensor([-0.0]), 2.0).tolist()] == ["-0.0"]


@pytest.mark.parametrize("mode", ["floor", "trunc"])
@pytest.mark.parametrize("dtype", [float16, bfloat16, float32, minigrad.float64])
def test_rounded_quotients_have_no_slope_by_zero_either(dtype: DType, mode: str) -> None:
    for divisor in (0, 0.0, minigrad.tensor([0, 2]), minigrad.tensor([0.0, 2.0]).to(dtype)):
        x = minigrad.tensor([1.0, 5.0]).to(dtype).requires_grad_()
        quotient = minigrad.div(x, divisor, rounding_mode=mode)
        quotient.backward(minigrad.ones(2, dtype=quotient.dtype))
        assert x.grad is not None
        assert x.grad.tolist() == [0.0, 0.0]
        with pytest.raises(RuntimeError, match="second time"):
            quotient.backward(minigrad.ones(2, dtype=quotient.dtype))


def test_factors_have_the_type_of_the_result() -> None:
    a, b = minigrad.tensor([1.1], dtype=minigrad.float64), minigrad.tensor([1.3], dtype=float32)
    assert minigrad.add(a, b, alpha=3).item() == 1.1 + 3 * b.double().item()
    one = minigrad.tensor([1, 2])
    assert minigrad.addcmul(one, one, one, value=0.5).tolist() == [1, 2]
    c, number = minigrad.tensor([1j]), minigrad.tensor(2.0, dtype=minigrad.float64)
    for name in ("addcmul", "addcdiv"):
        assert getattr(minigrad, name)(c, number, minigrad.tensor([True]), value=0.5).dtype is minigrad.complex64
    assert minigrad.tensor([True]).add(minigrad.tensor([True]), alpha=2).tolist() == [True]
    assert minigrad.addbmm(*[minigrad.ones(s, dtype=uint8) for s in ((2, 2), (2, 2, 3), (2, 3, 2))]).dtype is uint8
    with pytest.raises(RuntimeError, match="argument alpha must not be a floating point number"):
        minigrad.add(one, one, alpha=2.0)
    with pytest.raises(RuntimeError, match="with a bool tensor is not supported"):
        minigrad.sub(a, True, alpha=0.5)


@pytest.mark.parametrize(("name", "value", "dtype", "expected"), [
    ("add", 2, int8, [3, 5]), ("sub", 2, uint8, [1, 255]), ("mul", 2.5, int8, [2.5, 7.5]),
    ("div", 6, int32, [6.0, 2.0]), ("floor_divide", 7.0, float16, [7.0, 2.0]),
    ("true_divide", True, bool_, [1.0, 1.0]), ("multiply", 3, bool_, [3, 3])])
def test_a_number_may_come_first(name, value, dtype, expected):
    """It takes the dtype that it takes as the second operand."""
    x = minigrad.tensor([1, 3], dtype=dtype)
    found = getattr(minigrad, name)(value, x)
    assert found.tolist() == expected and found.dtype == minigrad.result_type(
        x / 1 if name in ("div", "true_divide") else x, value)


def test_a_number_beside_a_single_number_has_no_dtype_of_its_own():
    assert minigrad.add(2, minigrad.tensor(3, dtype=int8)).dtype == int8
    assert minigrad.mul(2.5, minigrad.tensor(3.0, dtype=float16)).dtype == float16


def test_two_numbers_give_a_tensor():
    assert minigrad.add(2, 3).dtype == int64 and minigrad.mul(2, 1.5).tolist() == 3.0
    with pytest.raises(TypeError, match=r"argument 'input' \(position 1\) must be Tensor, not int"):
        minigrad.exp(2)


def test_sums_of_empty_products_of_bools() -> None:
    a, b = minigrad.ones(2, 0, dtype=bool_), minigrad.ones(0, 2, dtype=bool_)
    assert minigrad.addmm(minigrad.tensor([True, False]), a, b, beta=True).tolist() == [[True, False]] * 2
    with pytest.raises(RuntimeError, match="result type Long can't be cast to the desired output type Bool"):
        minigrad.addmm(minigrad.tensor([True, False]), a, b)
    with pytest.raises(NotImplementedError, match="addmm_impl_cpu_"):
        minigrad.addmm(minigrad.tensor([True, False]), b.T.new_ones(2, 2), b.new_ones(2, 2))


def test_numbers_written_at_an_index_fit_or_are_infinite() -> None:
    x = minigrad.zeros(2, dtype=float16)
    x[0] = 65520.0
    assert x.tolist() == [float("inf"), 0.0]
    with pytest.raises(ValueError, match="Overflow when unpacking long long"):
        x[0] = 10**40
    with pytest.raises(RuntimeError, match="type c10::Half without overflow"):
        minigrad.nn.functional.pad(x, (1, 1), value=65520.0)


def test_arguments_that_no_overload_takes_together() -> None:
    x = minigrad.tensor([[3.0, 1.0], [2.0, 4.0]])
    for call in (lambda: x.sort(0, stable=True), lambda: x.max(0, other=x), lambda: x.std(0, True, correction=1),
                 lambda: minigrad.trapezoid(x, x, dx=2), lambda: x.scatter(0, x.long() * 0, x, value=1.0)):
        with pytest.raises(TypeError, match="received an invalid combination of arguments"):
            call()
    with pytest.raises(RuntimeError, match="trapezoid: Currently, we only support dx as a real number"):
        minigrad.trapezoid(x, dx=True)


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "max", "min", "median", "nanmedian"])
def test_keepdim_needs_a_dim(name: str) -> None:
    x = minigrad.ones(2, 3)
    for call in (lambda: getattr(x, name)(keepdim=True), lambda: getattr(minigrad, name)(x, keepdim=False)):
        with pytest.raises(TypeError, match=name + r"\(\) received an invalid combination of arguments"):
            call()
    found = getattr(x, name)(dim=1, keepdim=True)
    assert (found if name in ("sum", "mean", "prod") else found.values).shape == (2, 1)
    if name in ("sum", "mean"):
        assert getattr(x, name)(None, True).shape == getattr(x, name)(axis=None, keepdims=True).shape == (1, 1)
        with pytest.raises(TypeError, match="invalid combination"):
            getattr(x, name)(keepdims=True)


def test_lerp_looks_at_its_operands_before_it_looks_for_a_kernel() -> None:
    whole, x = minigrad.tensor([1, 2]), minigrad.ones(2)
    with pytest.raises(RuntimeError, match="expected dtype long int for `end` but got dtype float"):
        minigrad.lerp(whole, x, 0.5)
    with pytest.raises(RuntimeError, match="expected dtype long int for `weight` but got dtype float"):
        minigrad.lerp(whole, whole, x)
    with pytest.raises(NotImplementedError, match="\"lerp_kernel_scalar\" not implemented for 'Long'"):
        minigrad.lerp(whole, whole, 0.5)
    with pytest.raises(TypeError, match=r"lerp\(\) received an invalid combination of arguments"):
        minigrad.lerp(x, x, "half")


@pytest.mark.slow
def test_polynomials_of_a_high_degree_and_several() -> None:
    x, n = minigrad.tensor([1.0, -1.0, 0.5], dtype=minigrad.float64), minigrad.tensor([5000.0, 129.0, 66.0])
    assert minigrad.special.chebyshev_polynomial_t(x, n).tolist() == [1.0, -1.0, 1.0]
    assert minigrad.special.hermite_polynomial_he(x * 0, n - n + 2).tolist() == [-1.0, -1.0, -1.0]
