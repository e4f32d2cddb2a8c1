"""Stage: tests of the front. In: tensors to sort, to search, to find distinct elements in. Out: positions, with NaN and
without elements; PyTorch's errors. Next: ``test_printing.py``."""

import numpy as np
import pytest

import minigrad
from minigrad import tensor

NAN = float("nan")


@pytest.mark.parametrize(("edges", "values"), [((2, 0), (2, 3)), ((2, 3), (2, 0)), ((0, 3), (0, 2)), ((0,), (2, 3))])
def test_searches_without_elements(edges, values):
    found = minigrad.searchsorted(minigrad.ones(edges), minigrad.ones(values))
    assert found.tolist() == np.zeros(values).tolist() and found.dtype is minigrad.int64


def test_nan_is_the_largest():
    x = tensor([NAN, 1.0, -np.inf, 5.0])
    assert x.topk(2).indices.tolist() == [0, 3] and x.topk(2, largest=False).indices.tolist() == [2, 1]
    assert x.argsort().tolist() == [2, 1, 3, 0] and x.kthvalue(4).indices.item() == 0
    half = x.bfloat16()
    assert half.topk(2).indices.tolist() == [0, 3] and half.argsort(descending=True).tolist() == [0, 3, 1, 2]
    assert minigrad.searchsorted(tensor([1.0, 2.0, NAN]), tensor([NAN, 2.5, 0.5])).tolist() == [3, 3, 0]
    assert len(tensor([NAN, NAN, 1.0]).unique()) == 3
    plain, unsorted = [-1.0, 0.5, 1.0, 2.25, 3.0], tensor([2.25, NAN, 1, 3, 0.5, NAN, -1, 1])
    for dtype in ("bfloat16", "float16", "float32", "float64"):
        x = unsorted.to(getattr(minigrad, dtype))
        assert x.unique()[:5].tolist() == x.unique(return_counts=True)[0][:5].tolist() == plain and len(x.unique()) == 7
        assert x.unique().dtype is x.dtype
        assert x.nan_to_num(9).reshape(-1, 1).unique(dim=0).tolist() == [[v] for v in (*plain, 9)]


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "int64", "float16", "bfloat16", "float32", "float64"])
def test_equal_elements_keep_their_order(dtype):
    """Of several rows, along each dimension, ascending and descending; ``topk`` takes the first ones of that order."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 5, (4, 300)).astype(np.float64)
    if "float" in dtype:
        numbers[rng.random(numbers.shape) < 0.2] = np.nan
        numbers[rng.random(numbers.shape) < 0.2] *= -0.0
        numbers[0] = np.inf
    x = tensor(numbers).to(getattr(minigrad, dtype))
    keys = np.nan_to_num(numbers + 0.0, nan=99, posinf=98) if dtype != "bool" else numbers != 0
    for dim in (0, 1):
        for descending in (False, True):
            expected = np.argsort(-keys.astype(np.float64) if descending else keys, dim, kind="stable")
            values, places = x.sort(dim, descending)
            np.testing.assert_array_equal(places.numpy(), expected)
            np.testing.assert_array_equal(values.double(), np.take_along_axis(x.double().numpy(), expected, dim))
            for k in (1, 2, 3) if dtype != "bool" else ():
                found = x.topk(k, dim, largest=descending).indices.numpy()
                np.testing.assert_array_equal(found, np.take(expected, range(k), dim))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("kind", ["different", "ties", "equal", "nan", "mostly nan"])
def test_long_rows_are_ordered_as_short_ones(dtype, kind):
    """Of rows that are looked at one by one; their length is no multiple of anything."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, {"ties": 9, "equal": 1}.get(kind, 60_000), (2, 8209)).astype(np.float64)
    if "nan" in kind:
        numbers[rng.random(numbers.shape) < (0.001 if kind == "nan" else 0.999)] = np.nan if "float" in dtype else 0
    numbers[:, -2:] = 0, 60_000  # beyond the last whole row of a table
    x = tensor(numbers).to(getattr(minigrad, dtype))
    array = np.asarray(x.double().numpy())
    for largest in (False, True):
        order = np.argsort(np.where(np.isnan(array), -np.inf, -array) if largest else array, 1, kind="stable")
        for k in (1, 7, 100, 700):
            np.testing.assert_array_equal(x.topk(k, 1, largest).indices.numpy(), order[:, :k])
            if not largest:
                np.testing.assert_array_equal(x.kthvalue(k, 1).indices.numpy(), order[:, k - 1])
                np.testing.assert_array_equal(x.kthvalue(8210 - k, 1, True).indices.numpy(), order[:, [8209 - k]])
    middle = np.sort(array, 1)[:, 4104]
    middle[np.isnan(array).any(1)] = np.nan
    np.testing.assert_array_equal(x.T.median(0).values.double().numpy(), middle)


def test_no_long_rows():
    x = minigrad.ones(2, 0, 9000)
    assert x.topk(3).indices.shape == (2, 0, 3) and x.median(-1).indices.shape == (2, 0)


def test_places_of_numpy_are_part_of_what_is_replayed():
    """With new numbers each time, though a kernel reads what NumPy found; and where both results are held."""
    for i in range(6):
        x = tensor(np.roll(np.arange(5.0, dtype=np.float64), i))
        with minigrad.inspect() as seen:
            values = x.topk(2).values.realize()
        assert values.tolist() == [4, 3] and (not i or seen.replayed == 1)
        values, places = (x + 0).topk(2)
        assert values.tolist() == [4, 3] and places.tolist() == [(4 + i) % 5, (3 + i) % 5]


def test_many_are_searched_in_order():
    rng = np.random.default_rng(0)
    edges, values = np.sort(rng.random(1500)), rng.random((20, 600))
    found = minigrad.searchsorted(tensor(edges), tensor(values), right=True)
    np.testing.assert_array_equal(found.numpy(), np.searchsorted(edges, values, "right"))


def test_distinct_elements_and_how_often():
    x = tensor([[3, 1], [3, 1], [2, 2]])
    for made, expected in ((x.unique(return_inverse=True, return_counts=True), ([1, 2, 3], [[2, 0], [2, 0], [1, 1]],
                                                                                [2, 2, 2])),
                           (x.unique(return_counts=True, dim=0), ([[2, 2], [3, 1]], [1, 2])),
                           (x.unique_consecutive(return_inverse=True, return_counts=True),
                            ([3, 1, 3, 1, 2], [[0, 1], [2, 3], [4, 4]], [1, 1, 1, 1, 2])),
                           (x.unique_consecutive(return_inverse=True, dim=0), ([[3, 1], [2, 2]], [0, 0, 1]))):
        assert tuple(t.tolist() for t in made) == expected


def test_the_median_of_a_row_with_nan_is_its_first_nan():
    nan = float("nan")
    found, at = tensor([[1.0, nan, nan, 0.0], [4.0, 1.0, 3.0, 2.0]]).median(1)
    assert found.isnan().tolist() == [True, False] and at.tolist() == [1, 3]


@pytest.mark.parametrize(("call", "node"), [
    (lambda x: x.unique(), "Unique2"), (lambda x: x.unique(dim=0), "UniqueDim"),
    (lambda x: x.unique_consecutive(return_counts=True)[0], "UniqueConsecutive")])
def test_distinct_elements_have_no_derivative(call, node):
    x = tensor([3.0, 1.0, 3.0], requires_grad=True)
    found = call(x)
    assert found.requires_grad and found.grad_fn.name() == f"{node}Backward0"
    with pytest.raises(NotImplementedError, match="the derivative for '_?unique.*' is not implemented"):
        found.sum().backward()
    with minigrad.no_grad():
        assert not call(x).requires_grad


@pytest.mark.parametrize(("program", "error", "words"), [
    ("m.searchsorted(x, 1.0)", RuntimeError, "can be a scalar only when boundaries tensor dimension is 1"),
    ("m.searchsorted(x, m.ones(3, 3))", RuntimeError, r"first N-1 dimensions .* got boundaries tensor \[2, 3\]"),
    ("m.searchsorted(x.sum(), x)", RuntimeError, "boundaries tensor should have positive dimension"),
    ("m.searchsorted(x[0], x, sorter=t([0, 1]))", RuntimeError, "boundary and sorter must have the same size"),
    ("m.searchsorted(x[0], x, sorter=t([0.0, 1.0, 2.0]))", RuntimeError, "long dtype but got dtype Float"),
    ("m.searchsorted(x[0], x, sorter=t([0, 1, 3]))", RuntimeError, "sorter index out of range"),
    ("m.bucketize(x, x)", RuntimeError, r"boundaries tensor must be 1 dimension, but got dim\(2\)"),
    ("x.sum().kthvalue(3)", RuntimeError, "selected number k out of range for dimension 0"),
    ("(x > 0).topk(1)", RuntimeError, "topk does not support bool dtypes on CPU"),
    ("(x > 0).kthvalue(9)", RuntimeError, "selected number k out of range for dimension 1"),
    ("(x > 0).kthvalue(1)", NotImplementedError, "\"kthvalue_cpu\" not implemented for 'Bool'"),
    ("x.int().nanquantile(2.0)", RuntimeError, r"^quantile\(\) q must be in the range \[0, 1\] but got 2"),
    ("x[:, :0].int().quantile(0.5)", RuntimeError, r"^quantile\(\) input tensor must be non-empty"),
    ("x[:0].mode(0)", IndexError, r"mode\(\): Expected reduction dim 0 to have non-zero size."),
    ("(x > 0).median()", NotImplementedError, "\"median_cpu\" not implemented for 'Bool'"),
    ("(x > 0).median(0)", NotImplementedError, "\"median_out\" not implemented for 'Bool'")])
def test_errors(program, error, words):
    with pytest.raises(error, match=words):
        eval(program, {"x": minigrad.ones(2, 3), "t": tensor, "m": minigrad})
