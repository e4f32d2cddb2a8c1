"""Stage: tests of the front. In: complex tensors. Out: their values, views, gradients and errors, by constants and by
NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad
from minigrad.autograd import gradcheck


def test_arithmetic_and_text() -> None:
    x = minigrad.tensor([1 + 2j, 3j])
    assert repr(x * (1 - 1j)) == "tensor([3.+1.j, 3.+3.j])"
    assert repr(2 / x) == "tensor([0.4000-0.8000j, 0.0000-0.6667j])"
    assert (x == x.conj().conj()).all() and not (x != x).any()
    assert minigrad.tensor([1.0], dtype=minigrad.float64).mul(1j).dtype is minigrad.complex128
    assert minigrad.tensor(1 + 2j).item() == 1 + 2j


def test_a_part_is_a_view() -> None:
    array = np.array([1 + 1j, 2 + 2j])
    x = minigrad.from_numpy(array)
    x.imag.mul_(10)
    x.real[0] = 7
    minigrad.view_as_real(x)[1, 0] = -1
    assert array.tolist() == [7 + 10j, -1 + 20j]
    assert np.shares_memory(x.imag.numpy(), array)
    y = minigrad.tensor([[1.0, 2.0]])
    minigrad.view_as_complex(y).mul_(1j)
    assert y.tolist() == [[-2.0, 1.0]]


def test_real_values_have_no_parts() -> None:
    """Memory of n real numbers has no n imaginary parts behind them."""
    for value in (minigrad.tensor([1.0, 2.0]).realize()._read(), minigrad.tensor([1, 2])._read()):
        for part in (value.real, value.imag, value.as_real):
            with pytest.raises(TypeError, match=f"only complex numbers have parts, not {value.dtype.name}"):
                part()


def test_special_values() -> None:
    """Of the array API: where a part is infinite or NaN, or a factor alone is too large."""
    inf, nan = np.inf, np.nan
    cases: dict[str, list[tuple[complex, complex | None]]] = {
        "sinh": [(710.5 + 1.5j, None), (complex(inf, 0), complex(inf, 0)), (complex(0, nan), complex(0, nan))],
        "cosh": [(-710.5 + 1.5j, None), (complex(0, inf), complex(nan, 0)), (complex(inf, nan), complex(inf, nan))],
        "exp": [(709.9 + 1.5j, None), (complex(inf, 0), complex(inf, 0)), (complex(-inf, nan), 0)],
        "exp2": [(1 + 1j, 2 * np.exp(1j * np.log(2))), (complex(inf, 0), complex(inf, 0))],
        "expm1": [(complex(inf, 0), complex(inf, 0)), (complex(nan, 0), complex(nan, 0))],
        "tanh": [(complex(100, inf), complex(nan, nan)), (complex(inf, nan), complex(1, 0))],
        "asin": [(complex(0, nan), complex(0, nan)), (complex(inf, nan), complex(nan, inf))],
        "acos": [(complex(0, nan), complex(np.pi / 2, nan)), (complex(-inf, nan), complex(nan, -inf))],
        "acosh": [(complex(0, nan), complex(nan, np.pi / 2)), (complex(nan, inf), complex(inf, nan))],
        "asinh": [(complex(nan, 0), complex(nan, 0)), (complex(nan, inf), complex(inf, nan))],
        "atanh": [(complex(inf, nan), complex(0, nan)), (complex(0, nan), complex(0, nan))],
    }
    for name, rows in cases.items():
        z = np.array([z for z, _ in rows])
        found = getattr(minigrad.tensor(z), name)().numpy()
        with np.errstate(over="ignore"):
            wanted = [getattr(np, name)(given) if value is None else value for given, value in rows]
        for a, b in zip((found.real, found.imag), (np.real(wanted), np.imag(wanted)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=name)


def test_gradient_through_parts_changed_in_place() -> None:
    """|2z|² with the real part tripled: 8·9·a + 8i·b."""
    z = minigrad.tensor([1 + 2j], requires_grad=True)
    y = z * 2
    y.real.mul_(3)
    (y * y.conj()).real.sum().backward()
    assert z.grad is not None and z.grad.tolist() == [72 + 16j]


@pytest.mark.parametrize("name", ["exp", "sqrt", "abs", "tanh", "prod"])
def test_gradients(name: str) -> None:
    z = minigrad.tensor([0.3 - 0.8j, -1.1 + 0.4j], dtype=minigrad.complex128, requires_grad=True)
    assert gradcheck(getattr(minigrad, name), (z,))


def test_products_are_contractions() -> None:
    """One real product, after the parts of the second operand were put together for it."""
    rng = np.random.default_rng(0)
    a, b = [(rng.standard_normal((40, 40)) + 1j * rng.standard_normal((40, 40))).astype(np.complex64) for _ in range(2)]
    with minigrad.inspect() as seen:
        found = (minigrad.tensor(a) @ minigrad.tensor(b)).numpy()
    np.testing.assert_allclose(found, a @ b, rtol=1e-4, atol=1e-4)
    assert len(seen.kernels) == 2


def test_numbers_that_change_compile_once() -> None:
    x = minigrad.tensor([1 + 1j, 2 - 1j])
    with minigrad.inspect() as seen:
        for i in range(6):
            assert (x * (i + 0.5j)).tolist() == [(1 + 1j) * (i + 0.5j), (2 - 1j) * (i + 0.5j)]
    assert seen.compiled <= 2


def test_what_has_no_meaning() -> None:
    x = minigrad.tensor([1j])
    with pytest.raises(NotImplementedError, match="\"lt_cpu\" not implemented for 'ComplexFloat'"):
        x < 1  # noqa: B015
    with pytest.raises(RuntimeError, match="maximum not implemented for complex tensors"):
        x.maximum(x)
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for real scalar outputs"):
        (minigrad.tensor([1j], requires_grad=True) * 2).sum().backward()
    with pytest.raises(NotImplementedError, match="complex32 is a name only"):
        minigrad.zeros(2, dtype=minigrad.complex32) * 2


@pytest.mark.parametrize("number", [0.1 + 0j, 0.1 + 1e-9j, 0.1 + 1j, 1e10 + 0j, complex(np.inf, np.inf)])
def test_half_numbers_equal_complex_ones_that_round_to_them(number: complex) -> None:
    """No tensor has the dtype complex32, but its elements can be compared."""
    x = minigrad.tensor([0.1, 1.0, np.inf], dtype=minigrad.float16)
    expected = [number.imag < 1e-6 and v for v in (abs(number) < 1, False, number.real > 1 and not number.imag)]
    for other in (number, minigrad.tensor(number), minigrad.tensor(number, dtype=minigrad.complex128)):
        assert (x == other).tolist() == expected and (x != other).tolist() == [not e for e in expected]
        assert x.clone().eq_(other).tolist() == expected


def test_powers_that_need_no_formula() -> None:
    """A number 0 or 1 as the exponent, and 1 as the base, give PyTorch's exact results where log z is not finite."""
    z = minigrad.tensor([0j, complex(-0.0, -0.0), complex(np.inf, 1), complex(np.nan, 1), 1 - 2j], requires_grad=True)
    for one in (1, 1.0, 1 + 0j, True):
        assert str((z**one).tolist()) == str(z.tolist()), "the sign of 0 stays"
        assert (one**z).tolist() == [1] * 5
    for zero in (0, 0.0, -0.0, 0j, False):
        assert (z**zero).tolist() == [1] * 5
        assert minigrad.autograd.grad((z**zero).real.sum(), z)[0].tolist() == [0] * 5
    assert minigrad.autograd.grad((z**1).real.sum(), z)[0].tolist() == [1] * 5
    assert minigrad.autograd.grad((1**z).real.sum(), z)[0].tolist() == [0] * 5
    mask = minigrad.tensor([False, True])
    assert (mask**True).tolist() == [False, True] and (mask**False).tolist() == [True, True]
    for wrong in (lambda: mask**mask, lambda: mask.__rpow__(True)):
        with pytest.raises(NotImplementedError, match="\"pow\" not implemented for 'Bool'"):
            wrong()


def test_polar_is_not_for_halves() -> None:
    half = minigrad.ones(2, dtype=minigrad.float16)
    with pytest.raises(NotImplementedError, match="\"polar_cpu\" not implemented for 'Half'"):
        minigrad.polar(half, half)
    with pytest.raises(NotImplementedError, match="complex32 is a name only"):
        minigrad.complex(half, half)


def test_view_as_complex_takes_any_stride_where_there_is_no_second_element():
    x = minigrad.arange(8.0)
    one = minigrad.view_as_complex(x.as_strided((1, 2), (3, 1)))
    assert one.stride() == (1,) and one.tolist() == [1j]
    with pytest.raises(RuntimeError, match="Tensor must have a stride divisible by 2 for all but last dimension"):
        minigrad.view_as_complex(x.as_strided((2, 2), (3, 1)))


def test_nan_to_num_in_place_may_be_followed_by_backward() -> None:
    x = minigrad.tensor([1.0, float("nan")], requires_grad=True)
    y = x.to(minigrad.complex128)
    y.nan_to_num_(nan=7.0)
    assert y.tolist() == [1 + 0j, 7 + 0j]
    y.real.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1.0, 0.0]
