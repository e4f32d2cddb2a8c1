"""Stage: tests. In: the functions beneath those of ``nn.functional``. Out: they give what those give, and the values
that PyTorch gives beside them.
Next: ``test_declarations.py``."""

import numpy as np
import pytest

import minigrad
from minigrad.nn import functional
from minigrad.torch import names, native
from minigrad.torch.ops import aten

X = minigrad.tensor(np.random.default_rng(0).standard_normal((2, 4, 3)))


def close(a, b):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-14)


def statistics(rows, eps):
    array = rows.numpy()
    return minigrad.tensor(array.mean(-1)), minigrad.tensor(1 / np.sqrt(array.var(-1) + eps))


def test_normalisations_give_their_statistics():
    weight, bias = minigrad.arange(3.0).double() + 1, minigrad.arange(3.0).double()
    found, mean, inverse = native.native_layer_norm(X, (3,), weight, bias, 0.5)
    close(found, functional.layer_norm(X, (3,), weight, bias, 0.5))
    for given, expected in zip((mean, inverse), statistics(X, 0.5), strict=True):
        close(given.squeeze(-1), expected)
    found, mean, inverse = native.native_group_norm(X, None, None, 2, 4, 3, 2, 0.5)
    close(found, functional.group_norm(X, 2, eps=0.5))
    for given, expected in zip((mean, inverse), statistics(X.reshape(2, 2, 6), 0.5), strict=True):
        close(given, expected)


def test_a_group_norm_of_nothing_has_statistics_of_nothing():
    found, mean, _ = native.native_group_norm(minigrad.ones(0, 4, 3), None, None, 0, 4, 3, 2, 0.5)
    assert found.shape == (0, 4, 3) and mean.shape == (0, 2)


def test_batch_norm_gives_the_batchs_statistics_in_training_only():
    running = minigrad.zeros(4).double(), minigrad.ones(4).double()
    found, mean, inverse = native.native_batch_norm(X, None, None, *running, True, 0.5, 0.25)
    for given, expected in zip((mean, inverse), statistics(X.transpose(0, 1).reshape(4, -1), 0.25), strict=True):
        close(given, expected)
    close(running[0], mean / 2)
    close(found, functional.batch_norm(X, None, None, training=True, eps=0.25))
    found, mean, inverse = native.native_batch_norm(X, None, None, *running, False, 0.5, 0.25)
    close(found, functional.batch_norm(X, *running, eps=0.25))
    assert mean.shape == inverse.shape == (0,)
    close(native._native_batch_norm_legit(X, None, None, True, 0.5, 0.25)[1], native.native_batch_norm(
        X, None, None, None, None, True, 0.5, 0.25)[1])
    updated = native._batch_norm_with_update(X, None, None, *running, 1.0, 0.25)
    close(running[0], updated[1])
    assert updated[3].dtype is minigrad.uint8


def test_batch_norm_leaves_the_statistics_of_out_alone_without_training():
    running = minigrad.zeros(4).double(), minigrad.ones(4).double()
    out = minigrad.zeros(0).double(), minigrad.ones(3).double(), minigrad.ones(0).double()
    assert native.native_batch_norm(X, None, None, *running, False, 0.5, 0.25, out=out)[0] is out[0]
    close(out[0], functional.batch_norm(X, *running, eps=0.25))
    assert out[1].tolist() == [1, 1, 1] and out[2].shape == (0,)
    with pytest.raises(RuntimeError, match="TensorAccessor expected 1 dims but tensor has 2"):
        native.native_batch_norm(X, None, None, *running, False, 0.5, 0.25, out=(*out[:2], minigrad.ones(3, 2)))
    for training in (True, False):
        with pytest.raises(RuntimeError, match="expected scalar type Double but found Float"):
            native.native_batch_norm(X, None, None, *running, training, 0.5, 0.25,
                                     out=(minigrad.zeros(0).double(), minigrad.zeros(0).double(), minigrad.zeros(0)))


def test_softmax_of_nothing_is_0_and_has_the_gradient_0():
    x = minigrad.tensor([[float("-inf")] * 2, [0.0, float("-inf")]]).requires_grad_()
    found = native._safe_softmax(x, 1)
    assert found.tolist() == [[0, 0], [1, 0]]
    (found * minigrad.tensor([3.0, 5.0])).sum().backward()
    assert x.grad.tolist() == [[0, 0], [0, 0]]


def test_gradients_by_formula_are_those_of_the_tape():
    x = X.clone().requires_grad_()
    y = x.softmax(1)
    grad = minigrad.cos(X)
    expected, = minigrad.autograd.grad(y, x, grad)
    close(native._softmax_backward_data(grad, y.detach(), 1, minigrad.float64), expected)
    assert native._softmax_backward_data(grad, y.detach(), 1, minigrad.float32).dtype is minigrad.float32
    mask = X > 0
    close(native.native_dropout_backward(X, mask, 4.0), minigrad.where(mask, X * 4, 0.0))
    image = minigrad.tensor(np.random.default_rng(1).standard_normal((2, 2, 5, 6))).requires_grad_()
    found, indices = functional.max_pool2d(image, (3, 2), 1, 1, return_indices=True)
    grad = minigrad.cos(found.detach())
    expected, = minigrad.autograd.grad(found, image, grad)  # windows overlap: gradients add up
    found = aten.max_pool2d_with_indices_backward.default(grad, image.detach(), (3, 2), 1, 1, 1, False, indices)
    close(found, expected)


def test_dropout_says_what_it_kept():
    x = minigrad.arange(64.0) + 1
    found, kept = native.native_dropout(x, 0.5, True)
    assert found.tolist() == minigrad.where(kept, x * 2, 0.0).tolist() and 0 < kept.sum().item() < 64
    found, kept = native.native_dropout(x, 0.5, False)
    assert found.tolist() == x.tolist() and kept.all()
    assert native.native_dropout(x, 1.0, True)[0].sum().item() == 0


@pytest.mark.parametrize("name", ["dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout"])
def test_dropouts_beneath_those_of_functional(name):
    x = minigrad.ones(4, 16, 3)
    minigrad.manual_seed(3)
    found = names.find(name)(x, 0.5, True)
    assert len(found.unique()) == 2 and x.eq(1).all()
    assert bool((found == found[..., :1]).all()) == ("feature" in name)
    minigrad.manual_seed(3)
    assert names.find(f"{name}_")(x, 0.5, train=True) is x and x.tolist() == found.tolist()
    assert names.find(name)(x, 0.5, False) is x
    for p in (-0.25, 1.5, float("nan")):
        with pytest.raises(RuntimeError, match=f"probability has to be between 0 and 1, but got {p}"):
            names.find(name)(x, p, False)


def test_images():
    grid = minigrad.tensor(np.random.default_rng(2).uniform(-1.5, 1.5, (1, 2, 2, 2)))
    image = X.reshape(1, 2, 4, 3)
    for i, mode in enumerate(("bilinear", "nearest", "bicubic")):
        for j, padding in enumerate(("zeros", "border", "reflection")):
            close(native.grid_sampler_2d(image, grid, i, j, True),
                  functional.grid_sample(image, grid, mode, padding, True))
    close(native._upsample_bilinear2d_aa(image, (2, 2), False),
          functional.interpolate(image, (2, 2), mode="bilinear", antialias=True))
    close(native._upsample_bilinear2d_aa(image, None, False, [0.5, 2.0]),
          functional.interpolate(image, scale_factor=[0.5, 2.0], mode="bilinear", antialias=True))
    counted = minigrad.arange(12.0).reshape(1, 1, 3, 4)
    found = native._upsample_bilinear2d_aa(counted, (2, 2), False, scales_h=1.7, scales_w=0.9)
    assert found.flatten().tolist() == pytest.approx([0.1363637, 1.2272729, 1.6657754, 2.7566848])  # PyTorch's
    close(native.constant_pad_nd(X, (1, 2, 0, 1), 7.0), functional.pad(X, (1, 2, 0, 1), value=7.0))


def test_indices_out_of_bounds_count_only_where_the_mask_is_true():
    x = minigrad.arange(4.0)
    at, mask = minigrad.tensor([1, 9, -7]), minigrad.tensor([True, False, False])
    assert native._unsafe_masked_index(x, mask, [at], 5.0).tolist() == [1, 5, 5]
    assert native._unsafe_masked_index_put_accumulate(
        x, mask, [at], minigrad.tensor([10.0, 20.0, 30.0])).tolist() == [0, 11, 2, 3]
    assert native._unsafe_masked_index(x.reshape(2, 2), mask[:2], [None, at[:2]], -1.0).tolist() == [[1, -1], [3, -1]]


def test_chunks_side_by_side():
    a, b = minigrad.arange(6).reshape(3, 2), minigrad.arange(2).reshape(2, 1) + 10
    found = native._chunk_cat([a, b], 0, 2)
    assert found.tolist() == [[0, 1, 2, 3, 10], [4, 5, 0, 0, 11]]
    out = minigrad.empty(0, dtype=minigrad.int64)
    assert native._chunk_cat([a, b], -2, 2, out=out) is out and out.tolist() == found.tolist()


@pytest.mark.parametrize(("call", "words"), [
    (lambda: native._chunk_cat([], 0, 2), "expects a non-empty input tensor list"),
    (lambda: native._chunk_cat([X], 0, 0), "expects positive num_chunks"),
    (lambda: native._chunk_cat([X, X[0]], -1, 2), "expects non-negative dim"),
    (lambda: native._chunk_cat([X], 3, 2), "expects dim < ndim"),
    (lambda: native._chunk_cat([X, X[:1]], 1, 2), "expects same sizes of 0,...,dim-1"),
    (lambda: native._chunk_cat([X[:0]], 0, 2), "expects non-empty tensor"),
    (lambda: native.empty_permuted((2, 3), (0,)), "does not match the length of the physical_layout"),
    (lambda: native.empty_permuted((2, 3), (0, 2)), "expected to be between 0 and 1, but got 2"),
    (lambda: native.empty_permuted((2, 3), (1, 1)), "Duplicate dim not allowed"),
    (lambda: native.fill(X, minigrad.ones(2)), "fill only supports 0-dimension value tensor but got tensor with 1"),
])
def test_errors(call, words):
    with pytest.raises(RuntimeError, match=words):
        call()


def test_memory():
    made = native.empty_permuted((2, 3, 4), (2, 0, 1), dtype=minigrad.float64)
    assert made.shape == (2, 3, 4) and made.stride() == (3, 1, 6) and made.dtype is minigrad.float64
    value = minigrad.tensor(3.0).requires_grad_()
    found = native.fill(minigrad.zeros(2), value)
    found.sum().backward()
    assert found.tolist() == [3, 3] and value.grad.item() == 2
    assert native.fill(minigrad.zeros(2, dtype=minigrad.int8), 300.5 - 256).tolist() == [44, 44]


def test_names_of_torch_and_of_aten():
    for name in native.__all__:
        assert getattr(aten, name).default is not None
        assert (names.find(name) is names.MISSING) == (name in native.OF_ATEN)
    assert aten.slice.Tensor(minigrad.arange(5), 0, 1, 4, 2).tolist() == [1, 3]
    assert aten.add.Tensor(minigrad.ones(1), 2).tolist() == [3]
    assert repr(aten.add) == "<OpOverloadPacket(op='aten.add')>"
    assert aten.gelu(minigrad.zeros(1)).tolist() == [0]
    with pytest.raises(AttributeError, match="'_OpNamespace' 'aten' object has no attribute 'nothing_such'"):
        _ = aten.nothing_such
