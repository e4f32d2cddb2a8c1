"""Stage: tests of sparse tensors. In: coordinates, compressed rows, values. Out: that all layouts hold the same matrix,
that products and gradients are those of dense ones, and that errors are PyTorch's. Next: ``test_archive.py``."""

import io

import numpy as np
import pytest

import minigrad
from minigrad import nn, tensor

LAYOUTS = ("to_sparse", "to_sparse_csr", "to_sparse_csc")


def matrix(rows, columns, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) < 0.3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_hold_the_same_matrix(layout):
    a, b = matrix(7, 9), matrix(9, 4, 1)
    x = getattr(tensor(a), layout)()
    assert x._nnz() == np.count_nonzero(a) and x.shape == (7, 9)
    for other in LAYOUTS:
        np.testing.assert_array_equal(getattr(x, other)().to_dense().numpy(), a)
        y = getattr(tensor(b), other)()
        np.testing.assert_allclose((x @ y).to_dense().numpy(), a @ b, atol=1e-12)
    np.testing.assert_allclose((x @ tensor(b)).numpy(), a @ b, atol=1e-12)
    np.testing.assert_allclose((tensor(b.T) @ x.t()).numpy(), b.T @ a.T, atol=1e-12)
    np.testing.assert_allclose((x + x * 2).to_dense().numpy(), 3 * a, atol=1e-12)
    np.testing.assert_array_equal(x.t().to_dense().numpy(), a.T)


def test_blocks():
    a = np.kron(matrix(3, 4), np.arange(1.0, 7).reshape(2, 3))
    for made in (tensor(a).to_sparse_bsr((2, 3)), tensor(a).to_sparse_bsc((2, 3))):
        assert made._nnz() == np.count_nonzero(a) // 6
        np.testing.assert_array_equal(made.to_dense().numpy(), a)


@pytest.mark.parametrize(("change", "values"), [
    (lambda x: x.mul_(2), [2, 4]), (lambda x: x.div_(2), [0.5, 1]), (lambda x: x.add_(x.clone()), [2, 4]),
    (lambda x: x.addmm_(x.clone(), x.clone()), [2, 6]), (lambda x: minigrad.mul(x.clone(), 3, out=x), [3, 6]),
    (lambda x: minigrad.sparse.sampled_addmm(x, minigrad.ones(2, 2), minigrad.ones(2, 2), out=x), [3, 4]),
])
def test_who_shares_the_values_of_a_compressed_tensor_sees_changes(change, values):
    x = tensor([[1.0, 0.0], [0.0, 2.0]]).to_sparse_csr()
    alias, seen = x.detach(), x.values()
    assert change(x) is x
    assert x.values().tolist() == alias.values().tolist() == seen.tolist() == values


def test_other_places_leave_who_shares_the_old_ones_alone():
    x = tensor([[1.0, 0.0], [0.0, 2.0]]).to_sparse_csr()
    alias = x.detach()
    x.add_(minigrad.ones(2, 2).to_sparse_csr())
    assert x.values().tolist() == [2, 1, 1, 3] and alias.to_dense().tolist() == [[1, 0], [0, 2]]


def test_values_of_one_place_are_added_up():
    x = minigrad.sparse_coo_tensor([[1, 0, 1], [0, 2, 0]], [1.0, 2.0, 3.0], (2, 3))
    assert not x.is_coalesced() and x.coalesce().values().tolist() == [2, 4]
    assert x.to_dense().tolist() == [[0, 0, 2], [4, 0, 0]]
    assert (x * x).to_dense().tolist() == [[0, 0, 4], [16, 0, 0]]
    with pytest.raises(RuntimeError, match="Cannot get values on an uncoalesced tensor"):
        x.values()


@pytest.mark.parametrize("formula", [
    lambda s, d: s @ d, lambda s, d: minigrad.sparse.addmm(d, s, d, beta=0.5), lambda s, d: minigrad.sparse.sum(s * s),
    lambda s, d: minigrad.sparse.softmax(s, 1).to_dense() * d, lambda s, d: (s @ s.t()).to_dense() * d,
    lambda s, d: (s * d).to_dense(), lambda s, d: d + s, lambda s, d: s.coalesce().to_dense() * d])
def test_gradients_against_differences(formula):
    rows, columns = [0, 1, 1, 2, 0], [1, 0, 2, 2, 1]
    values, dense = tensor([1.0, -2.0, 0.5, 3.0, 0.7], dtype=minigrad.float64), tensor(matrix(3, 3) + 0.1)

    def loss(v, d):
        return (formula(minigrad.sparse_coo_tensor([rows, columns], v, (3, 3)), d) ** 2).sum()

    minigrad.autograd.gradcheck(loss, (values.requires_grad_(), dense.requires_grad_()))


def test_gradients_returned_have_the_pattern():
    """``autograd.grad`` gives for a sparse input what ``backward`` adds to its ``.grad``."""
    for layout in LAYOUTS:
        x = getattr(tensor([[0.0, 1.0], [2.0, 0.0]]), layout)().requires_grad_()
        d = tensor([[1.0, 2.0], [3.0, 4.0]])
        found, = minigrad.autograd.grad((x @ d).sum(), x)
        (x @ d).sum().backward()
        assert found.layout is x.layout and found.to_dense().tolist() == [[0, 7], [3, 0]]
        assert x.grad.to_dense().tolist() == found.to_dense().tolist()
    d.requires_grad_()
    assert minigrad.autograd.grad(x.to_dense().sum() * 0, [x, d], allow_unused=True)[1] is None


def test_sampled_products():
    x, out = [tensor(a).to_sparse_csr() for a in ([[0.0, 1.0], [2.0, 0.0]], [[5.0, 0.0], [0.0, 0.0]])]
    a, b = tensor([[1.0, 2.0], [3.0, 4.0]]), tensor([[1.0, 0.0], [1.0, 1.0]])
    made = minigrad.sparse.sampled_addmm(x, a, b, beta=0.5, alpha=2, out=out)
    assert made is out and out.to_dense().tolist() == [[0, 4.5], [15, 0]]
    for wrong, error, words in (((x, a[:, :1], b), RuntimeError, r"cannot be multiplied \(2x1 and 2x2\)"),
                                ((x, a[:1], b), RuntimeError, r"self.shape\[-2\] must match mat1.shape\[-2\]"),
                                ((x, a, b[:, :1]), RuntimeError, r"self.shape\[-1\] must match mat2.shape\[-1\]"),
                                ((a, a, b), NotImplementedError, "from the 'CPU' backend"),
                                ((x.to_sparse_coo(), a, b), NotImplementedError, "from the 'SparseCPU' backend")):
        with pytest.raises(error, match=words):
            minigrad.sparse.sampled_addmm(*wrong)


def test_values_of_one_place_are_joined_first():
    x = minigrad.sparse_coo_tensor([[0, 0, 1]], [1.0, -3.0, 2.0], (3,))
    assert x.abs().to_dense().tolist() == x.square().sqrt().to_dense().tolist() == [2, 2, 0]
    assert (-x).to_dense().tolist() == [2, -2, 0] and (-x)._nnz() == 3
    a, b = [minigrad.sparse_coo_tensor([[0, p]], [1.0, 2.0], (3,)).coalesce() for p in (1, 2)]
    total = a + b
    assert total.is_coalesced() and total.values().tolist() == [2, 2, 2]
    assert not (x + a).is_coalesced()


def test_softmax_of_large_values():
    x = tensor([[1000.0, 0.0, 999.0], [0.0, -1000.0, 0.0]]).to_sparse()
    for function, expected in (("softmax", [0.7310586, 0.2689414, 1]), ("log_softmax", [-0.3132617, -1.3132617, 0])):
        found = getattr(minigrad.sparse, function)(x, 1).values()
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_parts_of_coalesced_tensors_are_sorted():
    """What says that it is coalesced has its places in order, each once."""
    x = tensor([[1.0, 2.0, 0.0], [0.0, 3.0, 4.0]]).to_sparse()
    for made in (x.index_select(1, tensor([1, 0, 1])), x.index_select(0, tensor([1, 0, 1])), x.t(), x.narrow(1, 1, 2),
                 minigrad.cat([x, x]), minigrad.cat([x, x], 1), x.unsqueeze(1), minigrad.sparse.sum(x, 0)):
        if made.is_coalesced():
            places = [tuple(p) for p in made.indices().t().tolist()]
            assert places == sorted(set(places))
        np.testing.assert_array_equal(made.coalesce().to_dense().numpy(), made.to_dense().numpy())
    assert minigrad.cat([x, x], 1).to_dense().tolist() == [[1, 2, 0, 1, 2, 0], [0, 3, 4, 0, 3, 4]]


def test_diagonals():
    x = minigrad.sparse.spdiags(tensor([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), tensor([0, -1, 1]), (3, 3))
    assert x.to_dense().tolist() == [[1, 8, 0], [4, 2, 9], [0, 5, 3]]
    assert x._values().tolist() == [1, 2, 3, 4, 5, 8, 9] and not x.is_coalesced()


def test_printing():
    x = minigrad.sparse_coo_tensor([[0, 1], [2, 0]], [0.5, 2.0], (2, 3), requires_grad=True)
    assert repr(x) == ("tensor(indices=tensor([[0, 1],\n                       [2, 0]]),\n"
                       "       values=tensor([0.5000, 2.0000]),\n"
                       "       size=(2, 3), nnz=2, layout=minigrad.sparse_coo, requires_grad=True)")


@pytest.mark.parametrize(("program", "error", "words"), [
    ("s + d", RuntimeError, r"add\(sparse, dense\) is not supported"),
    ("s / d", RuntimeError, "Sparse division requires a scalar"),
    ("s.exp()", NotImplementedError, "Could not run 'aten::exp' with arguments from the 'SparseCPU' backend"),
    ("m.exp(s)", NotImplementedError, "aten::exp"), ("d.maximum(s)", NotImplementedError, "aten::maximum"),
    ("s.crow_indices()", RuntimeError, "crow_indices expected sparse row compressed tensor layout but got Sparse"),
    ("d.indices()", RuntimeError, "indices expected sparse coordinate tensor layout but got Strided"),
    ("m.sparse_coo_tensor([[0]], [1.0, 2.0])", RuntimeError, "must have same nnz"),
    ("m.sparse_coo_tensor([[3]], [1.0], (2,), check_invariants=True)", RuntimeError, "size is inconsistent"),
    ("m.sparse_csr_tensor([1, 1], [0], [1.0], (1, 1), check_invariants=True)", RuntimeError, "== 0` is not satisfied"),
    ("s @ d", RuntimeError, r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 2x3\)"),
    ("s.size(2)", IndexError, "Dimension out of range"), ("s.tolist()", RuntimeError, "doesn't have storage"),
    ("m.sparse.mm(s, d.t(), 'prod')", RuntimeError, "reduce type of prod has not been enabled"),
    ("s.numpy()", TypeError, "can't convert Sparse layout tensor to numpy")])
def test_errors(program, error, words):
    s = minigrad.sparse_coo_tensor([[0, 1], [2, 0]], [0.5, 2.0], (2, 3))
    with pytest.raises(error, match=words):
        eval(program, {"s": s, "d": minigrad.ones(2, 3), "m": minigrad})


def test_embeddings_and_optimizers():
    for name, expected in (("SGD", [1.0, 0.6, 0.8]), ("SparseAdam", [1.0, 0.8, 0.8]), ("Adagrad", [1.0, 0.8, 0.8])):
        layer = nn.Embedding(3, 1, sparse=True)
        with minigrad.no_grad():
            layer.weight.fill_(1.0)
        layer(tensor([1, 2, 1])).sum().backward()
        assert layer.weight.grad.is_sparse and layer.weight.grad._nnz() == 3
        getattr(minigrad.optim, name)(layer.parameters(), lr=0.2).step()
        np.testing.assert_allclose(layer.weight.detach().flatten().numpy(), expected, rtol=1e-5)
    with pytest.raises(RuntimeError, match="Adam does not support sparse gradients, please consider SparseAdam"):
        minigrad.optim.Adam(layer.parameters()).step()
    layer.weight.grad = minigrad.ones(3, 1)
    with pytest.raises(RuntimeError, match="SparseAdam does not support dense gradients"):
        minigrad.optim.SparseAdam(layer.parameters()).step()


def test_saved_and_loaded():
    made = {name: getattr(tensor(matrix(3, 4)), name)() for name in LAYOUTS}
    file = io.BytesIO()
    minigrad.save(made, file)
    file.seek(0)
    assert repr(minigrad.load(file)) == repr(made)
