"""Which dtypes reductions, scans, products and roundings take and give, also in place, into ``out=`` and of empty
tensors, as PyTorch has it."""

from __future__ import annotations

import dataclasses
import math

import pytest

import minigrad as mg

SCANS = ("cumsum", "cumprod")


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("dtype", [mg.int8, mg.uint8, mg.int32, mg.float16, mg.complex64])
def test_a_scan_in_place_is_computed_in_its_own_dtype(name, dtype):
    x = mg.tensor([1, 1, 1]).to(dtype)
    getattr(x, f"{name}_")(0)
    assert x.dtype is dtype and x.real.tolist() == ([1, 2, 3] if name == "cumsum" else [1, 1, 1])
    with pytest.raises(RuntimeError, match="Bad in-place call: input tensor dtype .* and output tensor dtype double "):
        getattr(x, f"{name}_")(0, dtype=mg.float64)


@pytest.mark.parametrize("name", SCANS)
def test_a_scan_of_bools_is_one_of_numbers(name):
    x = mg.tensor([True, True])
    for call in (lambda: getattr(x, f"{name}_")(0), lambda: getattr(x, name)(0, dtype=mg.bool),
                 lambda: getattr(mg, name)(mg.ones(2), 0, out=mg.ones(2, dtype=mg.bool))):
        with pytest.raises(NotImplementedError, match=f"\"{name}_out_cpu\" not implemented for 'Bool'"):
            call()
    assert getattr(mg.tensor(True), f"{name}_")(0).item() is True  # nothing is added
    assert getattr(mg.ones(0, dtype=mg.bool), name)(0, dtype=mg.bool).dtype is mg.bool


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "sum", "prod", "mean", "nansum"])
def test_a_dtype_that_is_asked_for_is_that_of_out(name):
    x, out = mg.ones(2, 2), mg.empty(2, 2, dtype=mg.float64)
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype float, but got double instead|"
                                           "nansum: provided dtype must match dtype of result. Got Double and Float."):
        getattr(mg, name)(x, 0, dtype=mg.float32, out=out)


@pytest.mark.parametrize("name", ["cummax", "cummin"])
def test_running_extremes_have_out_of_their_dtypes(name):
    x = mg.tensor([1.0, 2.0])
    with pytest.raises(RuntimeError, match="expected scalar_type Float but found Double"):
        getattr(mg, name)(x, 0, out=(x.double(), x.long()))
    with pytest.raises(RuntimeError, match="expected scalar_type Long but found Int"):
        getattr(mg, name)(x, 0, out=(x.clone(), x.int()))
    with pytest.raises(NotImplementedError, match=f"{name}_cpu.* not implemented for 'ComplexFloat'"):
        getattr(x.to(mg.complex64), name)(0)


def test_einsum_multiplies_mixed_dtypes_where_nothing_is_summed():
    a, b = mg.tensor([[1.5], [2.0]], dtype=mg.float64), mg.tensor([[True, True, True], [False, True, False]])
    assert mg.einsum("ij,kj->ik", a, b).tolist() == [[4.5, 1.5], [6.0, 2.0]]  # j has size 1 on the left
    outer = mg.einsum("i,j->ij", a[:, 0], b[0])
    assert outer.dtype is mg.float64 and outer.tolist() == [[1.5] * 3, [2.0] * 3]
    ints = mg.ones(1, 3, dtype=mg.int32)
    assert mg.einsum("ij,j->j", ints, ints[0]).dtype is mg.int32  # i is left out
    assert mg.einsum("ij,j->j", ints.expand(2, 3), ints[0]).tolist() == [2, 2, 2]  # i is summed, as int64
    with pytest.raises(RuntimeError, match="expected scalar type Double but found Float"):
        mg.einsum("i,i", a[:, 0], a[:, 0].float())
    assert mg.einsum("i,i", mg.zeros(0), mg.zeros(0, dtype=mg.int64)).dtype is mg.int64


@pytest.mark.parametrize("multiply", [mg.mm, mg.matmul])
def test_a_product_without_elements_may_be_of_bools(multiply):
    x = mg.ones(2, 0, dtype=mg.bool)
    assert multiply(x, x.mT).tolist() == [[False, False], [False, False]]
    with pytest.raises(NotImplementedError, match="not implemented for 'Bool'"):
        multiply(x.new_ones(2, 2), x.new_ones(2, 2))


def test_batches_without_elements_are_of_any_dtypes():
    a, b = mg.zeros(1, 2, 0), mg.zeros(1, 0, 3, dtype=mg.float64)
    assert (a @ b).dtype is a.bmm(b).dtype is mg.float64


def test_trapezoid_by_one_number_is_the_sum_less_half_the_ends():
    y = mg.tensor([math.inf, 1.0, math.inf])
    assert math.isnan(mg.trapezoid(y)) and math.isnan(mg.trapezoid(mg.tensor([math.nan])))
    assert mg.trapezoid(y, mg.tensor([0.0, 1.0, 2.0])).item() == math.inf
    assert mg.trapezoid(mg.tensor([127, 127, 1], dtype=mg.int8)).item() == 319  # the ends are added as int8
    assert mg.cumulative_trapezoid(mg.tensor([3])).dtype is mg.float32


@pytest.mark.parametrize("dtype", [mg.float16, mg.bfloat16])
def test_distances_have_no_kernel_for_halves(dtype):
    x = mg.ones(2, 3, dtype=dtype)
    with pytest.raises(NotImplementedError, match='"cdist" not implemented for'):
        mg.cdist(x, x)
    with pytest.raises(NotImplementedError, match='"pdist" not implemented for'):
        mg.nn.functional.pdist(x)
    assert mg.cdist(x, x[:0]).shape == (2, 0)
    assert mg.cdist(x, x, compute_mode="use_mm_for_euclid_dist").tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize("operator", ["remainder", "fmod", "floor_divide", "__mod__", "__floordiv__"])
def test_no_elements_are_divided_by_zero(operator):
    assert getattr(mg.ones(0, dtype=mg.int64), operator)(0).shape == (0,)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        getattr(mg.ones(1, dtype=mg.int64), operator)(0)


def test_take_along_a_dimension_without_elements():
    places = mg.zeros(1, 3, dtype=mg.int64)
    assert mg.take_along_dim(mg.zeros(0, 0), places, 1).shape == (0, 3)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        mg.take_along_dim(mg.zeros(1, 0), places, 1)


def test_one_element_may_be_of_any_dtype():
    for x in (mg.tensor(True), mg.tensor(1j)):
        assert [int(t.item() == x.item()) for t in (x.kthvalue(1).values, x.mode().values)] == [1, 1]
        assert x.kthvalue(1).indices.item() == 0
    for call in (lambda: x.topk(1), lambda: x.max(0), lambda: x.argmin(0)):
        with pytest.raises(RuntimeError, match="does not support complex"):
            call()
    assert mg.ones(0, dtype=mg.bool).median().item() is True
    assert math.isnan(mg.ones(0, dtype=mg.complex64).median().item().real)


def test_operations_that_bools_and_complex_numbers_do_not_have():
    x = mg.tensor([[True]])
    for name, kernel in (("round", "round_vml_cpu"), ("floor", "floor_vml_cpu"), ("trace", "trace")):
        with pytest.raises(NotImplementedError, match=f"\"{kernel}\" not implemented for 'Bool'"):
            getattr(x, name)()
    with pytest.raises(NotImplementedError, match="\"round_cpu\" not implemented for 'Long'"):
        mg.tensor([15]).round(decimals=-1)
    with pytest.raises(RuntimeError, match="In-place abs is not supported for complex tensors"):
        mg.tensor([1j]).abs_()


def test_bounds_are_two_numbers_or_two_tensors():
    x = mg.tensor([1.0, 5.0])
    with pytest.raises(TypeError, match=r"got \(Tensor, int, Tensor\)"):
        x.clamp(0, x)
    with pytest.raises(TypeError, match=r"got \(Tensor, Tensor, float\)"):
        x.clamp_(x, 3.0)
    assert x.clamp(max=mg.tensor(2.0)).tolist() == [1.0, 2.0]
    bound = mg.tensor(2.0, dtype=mg.float64)
    clamped = x.int().clamp(bound, 3)
    assert clamped.dtype is mg.float32 and clamped.tolist() == [2.0, 3.0]  # the bound counts as a number
    with pytest.raises(TypeError, match=r"got \(Tensor, Tensor, int\)"):
        x.clamp(bound.requires_grad_(), 3)


@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "smooth_l1_loss"])
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_losses_broadcast_before_they_combine_dtypes(name):
    loss = getattr(mg.nn.functional, name)
    assert loss(mg.ones(2), mg.tensor(0.0, dtype=mg.float64)).dtype is mg.float64
    assert loss(mg.tensor(0.0, dtype=mg.float64), mg.ones(2), reduction="none").dtype is mg.float64


def test_lerp_takes_weights_of_its_dtype_and_numbers():
    x = mg.tensor([1.0, 3.0])
    with pytest.raises(RuntimeError, match="expected dtype float for `weight` but got dtype double"):
        x.lerp(x, x.double())
    with pytest.raises(RuntimeError, match="value cannot be converted to type float without overflow"):
        x.lerp_(x, 1j)
    assert x.lerp(x + 2, mg.tensor(True)).tolist() == [3.0, 5.0]
    assert x.lerp(x + 2, 0.5 + 0j).tolist() == [2.0, 4.0]
    assert x.lerp(x + 2, mg.tensor(0.5j)).tolist() == [1 + 1j, 3 + 1j]
    assert x[0].lerp(x[1], mg.tensor(0.5, dtype=mg.float64)).dtype is mg.float64


def test_ldexp_scales_by_powers_that_overflow():
    cases = (mg.float16, 2.0**-14, 20), (mg.float32, 2.0**-100, 200), (mg.float64, 2.0**-900, 1500)
    for dtype, number, power in cases:
        x = mg.tensor([number], dtype=dtype)
        for scaled in (x.ldexp(mg.tensor([power])), x[0].ldexp(mg.tensor([power]))):
            assert scaled.dtype is dtype and scaled.item() == math.ldexp(number, power)
    with pytest.raises(NotImplementedError, match="\"ldexp_cpu_exp\" not implemented for 'Bool'"):
        x.ldexp(mg.tensor([True]))


def test_bools_are_not_clamped_and_reals_not_filled_with_complex_numbers():
    x = mg.tensor([True])
    for name, arguments, kernel in (("clamp", (True, True), "scalar"), ("clamp_", (True,), "min_scalar"),
                                    ("clamp_max", (True,), "max_scalar")):
        with pytest.raises(NotImplementedError, match=f"\"clamp_{kernel}_cpu\" not implemented for 'Bool'"):
            getattr(x, name)(*arguments)
    assert x.clamp(0, 1).dtype is mg.int64
    with pytest.raises(RuntimeError, match="Converting complex Scalar to non-complex type is not supported"):
        x.index_fill(0, mg.tensor([0]), mg.tensor(1j))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        x % 0


@pytest.mark.parametrize("cross", [mg.cross, mg.linalg.cross])
def test_products_of_vectors_are_of_tensors_of_one_dtype(cross):
    with pytest.raises(RuntimeError, match="expected scalar type Float but found Double"):
        cross(mg.ones(3), mg.ones(3, dtype=mg.float64))
    for x in (mg.ones(3), mg.tensor(1.0)):
        with pytest.raises(TypeError, match=r"inner\(\): argument 'other' \(position 2\) must be Tensor, not float"):
            x.inner(2.0)


@pytest.mark.parametrize(("dtype", "value"), [(mg.int32, -(2**31)), (mg.int64, -(2**63)), (mg.uint8, 0), (mg.int8, 0)])
@pytest.mark.parametrize("call", [lambda x, t: x.sum(dtype=t), lambda x, t: x.prod(dtype=t),
                                  lambda x, t: x.cumsum(0, dtype=t), lambda x, t: x.cumprod(0, dtype=t),
                                  lambda x, t: x.nansum(dtype=t)])
def test_a_reduction_converts_what_an_integer_type_does_not_hold_as_to_does(dtype, value, call):
    x = mg.tensor([math.inf])
    assert x.to(dtype).tolist() == [value]
    assert call(x, dtype).reshape(1).tolist() == [value]


def test_a_reduction_takes_the_real_parts_of_complex_numbers():
    x = mg.tensor([1 + 2j, 3 - 1j])
    assert x.sum(dtype=mg.float32).tolist() == 4 and x.cumsum(0, dtype=mg.int64).tolist() == [1, 4]
    with pytest.raises(NotImplementedError, match="\"nansum_cpu\" not implemented for 'ComplexFloat'"):
        mg.ones(2).nansum(dtype=mg.complex64)


@pytest.mark.parametrize("name", ["floor", "ceil", "round", "trunc", "sign"])
def test_the_gradient_of_a_step_has_no_gradient(name):
    x = mg.tensor([1.5, -2.0], requires_grad=True)
    g, = mg.autograd.grad(getattr(x, name)().square().sum(), x, create_graph=True)
    assert g.tolist() == [0.0, 0.0] and not g.requires_grad


def test_a_divisor_that_is_a_view_of_what_is_known_is_looked_at():
    for x in (mg.tensor([[0, 1]]).T, mg.tensor([[1, 1], [0, 1]]).realize()[1]):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            x % x
    assert (mg.tensor([[2, 1]]).T // mg.tensor([[1, 2]]).T).tolist() == [[2], [0]]


@pytest.mark.parametrize("dtype", [mg.float64, mg.complex128])
def test_slopes_of_0_pass_nan_on(dtype):
    x, w = mg.zeros(2, dtype=dtype, requires_grad=True), mg.tensor([2.0, 1.0], dtype=dtype, requires_grad=True)
    g = mg.tensor([1.0, math.nan], dtype=dtype)
    assert mg.autograd.grad(x**w, w, g)[0].isnan().tolist() == [False, True]
    y = mg.tensor([math.nan], requires_grad=True)
    assert mg.autograd.grad(y.nansum(), y, mg.tensor(math.nan))[0].isnan().all()


def test_the_layout_of_einsum():
    a, b = mg.ones(2, 3), mg.ones(3, 4)
    assert mg.einsum("ij,jk->ki", a, b).is_contiguous() and mg.einsum("ij,jk->ik", a, b).is_contiguous()
    assert mg.einsum("bij,bjk->kbi", mg.ones(5, 2, 3), mg.ones(5, 3, 4)).stride() == (2, 8, 1)
    assert mg.einsum("ajb,jd->bda", mg.ones(2, 6, 3), mg.ones(6, 5)).stride() == (10, 1, 5)


def test_the_variance_of_equal_complex_numbers_is_0_if_their_sum_is_exact():
    assert mg.full((3,), -0.62 + 0.04j, dtype=mg.complex128).var().item() == 0


def test_a_variance_without_degrees_of_freedom_is_that_of_both_parts():
    values = mg.tensor([1.0 + 1j, 2.0 + 1j, 2.0 + 3j])
    spreads = [values[places].var(correction=3).item() for places in ([0, 1], [1, 2], [0, 2])]
    assert list(map(str, spreads)) == ["nan", "nan", "inf"]
    for options, slopes in (({}, [math.inf, math.inf]), ({"dim": 0}, [1.0, -1.0]), ({"dim": (0,)}, [1.0, -1.0])):
        x = mg.tensor([1.0, 2.0], requires_grad=True)
        x.var(correction=3, **options).backward()
        assert x.grad.tolist() == slopes


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_the_order_of_operands_does_not_decide_the_dtype(order):
    operands = mg.tensor(2.0, dtype=mg.float16), mg.tensor([True, False]), mg.tensor(1.0, dtype=mg.float64)
    assert mg.addcmul(*[operands[i] for i in order], value=1).dtype is mg.float64


def test_the_median_of_no_integers_is_what_nan_becomes() -> None:
    for dtype, expected in ((mg.int8, 0), (mg.int16, 0), (mg.int32, -2**31), (mg.int64, -2**63)):
        assert mg.zeros(0, dtype=dtype).median().item() == expected


def test_a_single_half_that_is_filled_becomes_infinite():
    for shape in ((), (1,), (1, 1)):
        x = mg.zeros(shape, dtype=mg.float16)
        for made in (x.clone().fill_(1e10), mg.full(shape, 1e10, dtype=mg.float16), mg.full_like(x, 1e10)):
            assert made.reshape(-1).tolist() == [math.inf]
    for shape in ((2,), (0,)):
        for fill in (lambda shape: mg.zeros(shape, dtype=mg.float16).fill_(1e10),
                     lambda shape: mg.full(shape, 1e10, dtype=mg.float16)):
            with pytest.raises(RuntimeError, match="type c10::Half without overflow"):
                fill(shape)


def test_a_dtype_in_a_dataclass_stays_one_and_cannot_be_changed():
    @dataclasses.dataclass
    class Config:
        dtype: mg.dtype = mg.float32

    assert dataclasses.asdict(Config())["dtype"] is mg.float32
    with pytest.raises(AttributeError, match="minigrad.float32 cannot be changed"):
        mg.float32.size = 8
