"""Stage: tests of the front. In: positions, and what goes there. Out: that each reduction is what it says, for corners
of the dtypes; PyTorch's errors. Next: ``test_storages.py``."""

import itertools

import numpy as np
import pytest

import minigrad
from minigrad import tensor

REDUCE = {"sum": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


@pytest.mark.parametrize(("dtype", "numbers"), [
    (minigrad.uint8, [9, 0, 5, 255]), (minigrad.int32, [-2**31, 3, 2**31 - 1, -7]), (minigrad.int8, [-128, 127, 0, 1]),
    (minigrad.float32, [np.nan, 1.0, -np.inf, 2.0]), (minigrad.bool, [True, True, False, True])])
@pytest.mark.parametrize("reduce", REDUCE)
@pytest.mark.parametrize("included", [True, False])
def test_reductions_at_the_ends_of_dtypes(dtype, numbers, reduce, included):
    x, source = tensor([numbers[2], numbers[0], numbers[1]], dtype=dtype), tensor(numbers, dtype=dtype)
    at = [0, 0, 1, 1]
    got = x.scatter_reduce(0, tensor(at), source, reduce, include_self=included).numpy()
    ufunc = REDUCE[reduce]
    if dtype is minigrad.bool:
        ufunc = {"sum": np.logical_or, "prod": np.logical_and}.get(reduce, ufunc)
    expected = x.numpy().copy()
    for place in range(3):
        values = [v for v, p in zip(source.numpy(), at, strict=True) if p == place]
        with np.errstate(all="ignore"):
            for i, v in enumerate(values):
                expected[place] = v if i == 0 and not included else ufunc(expected[place], v)
    np.testing.assert_array_equal(got, expected)
    if reduce != "sum" and dtype is not minigrad.bool:
        along = x.index_reduce(0, tensor(at), source, reduce, include_self=included).numpy()
        np.testing.assert_array_equal(along, expected)


@pytest.mark.parametrize(("reduce", "to_x", "to_source"), [
    ("sum", [1, 1, 1], [1, 1, 1, 1]), ("prod", [10, 0, 1], [10, 4, 0, 0]), ("amax", [0, 1, 1], [0, 1, 0, 0]),
    ("amin", [1 / 2, 0, 1], [1 / 2, 0, 1 / 2, 1 / 2]), ("mean", [1 / 3, 1 / 3, 1], [1 / 3, 1 / 3, 1 / 3, 1 / 3])])
def test_gradients_of_reductions(reduce, to_x, to_source):
    x = tensor([2.0, 4.0, 1.0], requires_grad=True)
    source = tensor([2.0, 5.0, 0.0, 0.0], requires_grad=True)
    x.scatter_reduce(0, tensor([0, 0, 1, 1]), source, reduce).sum().backward()
    np.testing.assert_allclose([*x.grad.tolist(), *source.grad.tolist()], [*to_x, *to_source], rtol=1e-6)


def test_long_scatters_are_the_same_for_every_shape_of_work():
    """Divided by coordinates, by columns, by rows, and into copies: all against NumPy, in float64 and int64."""
    rng = np.random.default_rng(0)
    for entries, places, columns in ((20000, 30, 1), (20001, 7, 3), (600, 900, 40), (300, 50, 300), (9000, 400000, 1)):
        at = rng.integers(0, places, entries)
        values = rng.integers(-9, 9, (entries, columns))
        expected = np.zeros((places, columns), np.int64)
        np.add.at(expected, at, values)
        got = minigrad.zeros(places, columns, dtype=minigrad.int64).index_add(0, tensor(at), tensor(values))
        np.testing.assert_array_equal(got.numpy(), expected)
    for axis, size in itertools.product((0, 1), (70, 300)):
        at, values = rng.integers(0, size, (size, size)), rng.integers(-9, 9, (size, size))
        expected = np.zeros((size, size), np.int64)
        rows, cols = np.indices((size, size))
        np.add.at(expected, (at, cols) if axis == 0 else (rows, at), values)
        got = minigrad.zeros(size, size, dtype=minigrad.int64).scatter_add(axis, tensor(at), tensor(values))
        np.testing.assert_array_equal(got.numpy(), expected)


@pytest.mark.parametrize("reduce", REDUCE)
@pytest.mark.parametrize(("dtype", "numbers"), [(minigrad.bool, [False, True]), (minigrad.int64, [-1, 1, 3])])
def test_long_scatters_keep_what_was_there(reduce, dtype, numbers):
    """Many entries to few places, which are divided into copies that begin with the neutral element."""
    rng = np.random.default_rng(0)
    at, source = rng.integers(0, 3, 20001), tensor(numbers, dtype=dtype).numpy()[rng.integers(0, len(numbers), 20001)]
    source[at == 0] = numbers[0]
    x = tensor([numbers[0], numbers[-1], numbers[0], numbers[-1]], dtype=dtype)
    ufunc, expected = REDUCE[reduce], x.numpy().copy()
    if dtype is minigrad.bool:
        ufunc = {"sum": np.logical_or, "prod": np.logical_and}.get(reduce, ufunc)
    for place in range(3):
        expected[place] = ufunc(expected[place], ufunc.reduce(source[at == place]))
    with minigrad.config(TIERS=0):
        got = x.scatter_reduce(0, tensor(at), tensor(source), reduce)
        np.testing.assert_array_equal(got.numpy(), expected)


def test_scatters_divided_by_rows_write_each_entry_once():
    rng = np.random.default_rng(0)
    at, values = rng.integers(0, 900, 600), rng.integers(-9, 9, (600, 40))
    expected = np.ones((900, 40), np.int64)
    np.add.at(expected, at, values)
    with minigrad.config(TIERS=0):
        got = minigrad.ones(900, 40, dtype=minigrad.int64).index_add(0, tensor(at), tensor(values))
        np.testing.assert_array_equal(got.numpy(), expected)


def test_means_of_what_is_there_or_not():
    x, at, source = tensor([8.0, 5.0, 2.0]), tensor([0, 0, 2]), tensor([1.0, 3.0, 7.0])
    assert x.scatter_reduce(0, at, source, "mean").tolist() == [4, 5, 4.5]
    assert x.scatter_reduce(0, at, source, "mean", include_self=False).tolist() == [2, 5, 7]
    assert x.to(minigrad.int64).index_reduce(0, at, source.to(minigrad.int64), "mean", include_self=False).tolist() == [
        2, 5, 7]


def test_refusals_of_bools_have_the_names_of_kernels():
    x, at = tensor([True, False]), tensor([0, 0])
    with pytest.raises(NotImplementedError, match="\"scatter_gather_tensor_cpu_reduce_mean\" not implemented"):
        x.scatter_reduce(0, at, x, "mean")
    for reduce in ("amax", "amin", "mean", "prod"):
        with pytest.raises(NotImplementedError, match="\"index_func_\" not implemented for 'Bool'"):
            x.index_reduce(0, at, x, reduce)
        with pytest.raises(NotImplementedError, match="\"index_reduce_func_exclude_input_init\" not implemented for"):
            x[None].index_reduce(1, at, x[None], reduce, include_self=False)
    with pytest.raises(NotImplementedError, match="\"div_floor_cpu\" not implemented for 'Bool'"):
        x[None].index_reduce(1, at, x[None], "mean")
    assert x[None].index_reduce(1, at, ~x[None], "amax").tolist() == [[True, False]]


@pytest.mark.parametrize("reduce", ["amax", "amin", "mean", "prod"])
def test_what_is_not_included_has_no_gradient(reduce):
    x, source = tensor([2.0, 4.0], requires_grad=True), tensor([2.0, 2.0], requires_grad=True)
    x.scatter_reduce(0, tensor([0, 0]), source, reduce, include_self=False).sum().backward()
    assert x.grad.tolist() == [0, 1]


def test_a_place_filled_twice_counts_once_in_the_gradient():
    x, value = minigrad.zeros(2, 3, requires_grad=True), tensor(2.0, requires_grad=True)
    x.index_fill(1, tensor([0, 2, 0]), value).square().sum().backward()
    assert value.grad.item() == 16 and x.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_bools_are_added_with_a_factor():
    x, source = tensor([False, False]), tensor([True, True])
    assert x.index_add(0, tensor([0, 1]), source, alpha=False).tolist() == [False, False]
    assert x.index_add(0, tensor([0, 0]), source, alpha=True).tolist() == [True, False]


@pytest.mark.parametrize("dtype", [minigrad.float32, minigrad.int16, minigrad.bool])
def test_an_index_without_elements_may_be_of_any_dtype(dtype):
    x, index = minigrad.ones(3, 2), minigrad.zeros(0, 2, dtype=dtype)
    assert x.gather(0, index).shape == (0, 2) and x.gather(0, minigrad.zeros(0, dtype=dtype)).shape == (0,)
    for made in (x.scatter(0, index, minigrad.zeros(0, 2)), x.scatter_add(0, index, minigrad.zeros(0, 2)),
                 x.scatter_reduce(0, index, minigrad.zeros(0, 2), "prod")):
        assert made.tolist() == x.tolist()


def test_an_index_out_of_range_of_a_split_scatter_names_the_whole_shape():
    at = tensor(np.r_[np.zeros(20000, int), 5]) + 0
    with pytest.raises(IndexError, match=r"dimension 0 is not in 0 … 4, the tensor has shape \[5\]"):
        minigrad.zeros(5).index_add(0, at, minigrad.ones(20001)).realize()


@pytest.mark.parametrize(("program", "error", "words"), [
    ("x.gather(0, t([[-1]]))", RuntimeError, "index -1 is out of bounds for dimension 0 with size 3"),
    ("x.scatter(1, t([[2]]), 1.0)", RuntimeError, "index 2 is out of bounds for dimension 1 with size 2"),
    ("x.index_select(0, t([-1]))", IndexError, "index out of range in self"),
    ("x.index_copy(0, t([3]), x[:1])", IndexError, r"index_copy_\(\): index 3 is out of bounds"),
    ("x.index_add(0, t([0, 1]), x[:1])", RuntimeError, r"Number of indices \(2\) should be equal"),
    ("x.take(t([6]))", IndexError, "tried to access index 6 on a tensor of 6 elements"),
    ("x.put(t([0, 1]), x[0, :1])", IndexError, "same number of elements"),
    ("m.segment_reduce(x[:, 0], 'sum', lengths=t([2, -1]))", RuntimeError, "lengths contains negative value"),
    ("m.segment_reduce(x[:, 0], 'sum')", RuntimeError, "Either lengths or offsets must be defined"),
    ("x[0].masked_scatter(t([True, True]), x[0, :1])", RuntimeError, "Number of elements of source < number of ones"),
    ("x[0].masked_scatter(x[0] + 1 > 0, x[0, :0]).tolist()", IndexError, "index out of range"),
    ("m.clamp(x > 2, x > 1, x > 3)", NotImplementedError, "\"clamp_cpu\" not implemented for 'Bool'"),
    ("x[None].norm(dim=(0, 1, 2))", RuntimeError, "linalg.matrix_norm: dim must be a 2-tuple. Got 0 1 2"),
    ("(x > 2).scatter_reduce(0, t([[0, 0]]), x > 1, 'mean')", NotImplementedError, "reduce_mean.* for 'Bool'"),
    ("x.cfloat().scatter_reduce(0, t([[0, 0]]), x.cfloat(), 'amin')", NotImplementedError, "amin.* 'ComplexFloat'"),
    ("(x > 2).index_reduce(0, t([0]), x[:1] > 1, 'mean')", NotImplementedError, "div_floor_cpu.* for 'Bool'"),
    ("x.cfloat().index_reduce(0, t([0]), x[:1].cfloat(), 'amax')", NotImplementedError, "maximum_cpu.*ComplexFloat"),
])
def test_errors(program, error, words):
    with pytest.raises(error, match=words):
        eval(program, {"x": minigrad.arange(6.0).reshape(3, 2), "t": tensor, "m": minigrad})


def test_scalars_have_one_place():
    x = tensor(5.0)
    assert x.index_select(0, tensor([0])).tolist() == x.gather(0, tensor(0)).item() == 5
    assert x.index_add(0, tensor([0]), tensor(2.0)).item() == 7
    assert x.index_copy(0, tensor(0), tensor([2.0])).item() == x.index_fill(0, tensor([0]), 2).item() == 2
    assert x.scatter_add(0, tensor([0, 0]), tensor([2.0, 3.0])).item() == 10


def test_segments():
    data = tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], requires_grad=True)
    lengths = tensor([2, 0, 4])
    for reduce, expected in (("sum", [3, 0, 18]), ("mean", [1.5, np.nan, 4.5]), ("prod", [2, 1, 360]),
                             ("max", [2, -np.inf, 6]), ("min", [1, np.inf, 3])):
        got = minigrad.segment_reduce(data, reduce, lengths=lengths)
        np.testing.assert_array_equal(got.detach().numpy(), expected)
    assert minigrad.segment_reduce(data, "mean", offsets=tensor([0, 2, 2, 6]), initial=1).tolist() == [2, 1, 4.75]
    assert minigrad._segment_reduce(data, "sum", offsets=tensor([0, 2, 2, 6])).tolist() == [3, 0, 18]
    minigrad.segment_reduce(data, "prod", lengths=lengths).sum().backward()
    assert data.grad.tolist() == [2, 1, 120, 90, 72, 60]


def test_bins():
    edges = minigrad.linspace(0, 1, 101)  # each belongs to the bin that it begins, the last to the last
    assert edges.histc(100, 0, 1).tolist() == [1] * 99 + [2]
    below = edges.nextafter(tensor(-1.0))[1:]
    assert below.histc(100, 0, 1).tolist() == [1] * 100
    x = tensor([1.0, 2.0, 1.0, 5.0, np.nan])
    assert x.histc(4, 1, 4).tolist() == [2, 1, 0, 0]
    assert tensor([3, 1, 3]).bincount(tensor([0.5, 1.0, 2.0]), 5).tolist() == [0, 1, 0, 2.5, 0]


@pytest.mark.parametrize(("program", "error", "words"), [
    ("m.add(x, x, out=m.empty(2, dtype=m.int64))", RuntimeError, "Float can't be cast to the desired output type Long"),
    ("m.gather(x, 0, i, out=m.empty(1, dtype=m.float64))", RuntimeError, "have dtype float, but got double instead"),
    ("m.cat([x, x], out=m.empty(4, dtype=m.int64))", TypeError, "can't be cast to the desired output type Long"),
    ("m.index_select(x, 0, i, out=m.zeros(1).expand(5))", RuntimeError, "more than one element of the written-to"),
    ("m.exp(x.clone().requires_grad_(), out=m.empty(2))", RuntimeError, "don't support automatic differentiation")])
def test_what_out_does_not_take(program, error, words):
    with pytest.raises(error, match=words):
        eval(program, {"m": minigrad, "x": minigrad.ones(2), "i": tensor([0])})


def test_what_out_takes():
    x = tensor([1.5, 2.0])
    assert minigrad.exp(x, out=minigrad.empty(2, dtype=minigrad.float64)).dtype is minigrad.float64
    assert minigrad.eq(x, x, out=minigrad.empty(2)).tolist() == [1, 1]


def test_products_of_complex_numbers_are_not_scattered() -> None:
    x = minigrad.tensor([1 + 2j, 3j])
    with pytest.raises(NotImplementedError, match="scatter_reduce: complex numbers that come to one place are not"):
        x.scatter_reduce(0, minigrad.tensor([0, 0]), x, "prod")


@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize("shape, dim", [((2, 0), 0), ((0, 2), 1)])
def test_without_elements_no_index_is_used(shape, dim, pending):
    """Not even one that is out of range."""
    x, index = minigrad.zeros(shape), minigrad.tensor([5, -7]) + int(pending)
    source = minigrad.zeros([2 if d == dim else n for d, n in enumerate(shape)])
    for result in (x.index_fill(dim, index, 1.0), x.index_copy(dim, index, source), x.index_add(dim, index, source)):
        assert result.tolist() == x.tolist() and result.shape == shape
    assert minigrad.zeros(0, 2).index_add(0, index, minigrad.ones(2, 2)).tolist() == []
    with pytest.raises(IndexError, match="is out of bounds for dimension 0 with size 0"):
        minigrad.zeros(0, 2).index_fill(0, index, 1.0)
    with pytest.raises(IndexError, match="is out of bounds for dimension 0 with size 0"):
        minigrad.zeros(0, 2).index_copy(0, index, minigrad.ones(2, 2))
    with pytest.raises(IndexError, match="index out of range in self"):
        minigrad.zeros(0).index_add(0, index, minigrad.ones(2))


def test_masked_scatter_of_one_number_needs_no_value_of_it():
    scattered = minigrad.jit(lambda x: x.masked_scatter(x > 0, x * 2))
    assert [scattered(tensor(number)).item() for number in (2.5, -1.0, 3.0, 4.0)] == [5.0, -1.0, 6.0, 8.0]
