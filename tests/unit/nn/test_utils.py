"""nn.utils: clipping between backward and step, weights computed from others, pruning, sequences."""

import copy

import numpy as np
import pytest

import minigrad
from minigrad import nn, optim
from minigrad.nn.utils import parametrizations, parametrize, prune, rnn


def test_clipping_is_replayed_beside_backward_and_step():
    minigrad.manual_seed(0)
    net = nn.Sequential(*[nn.Linear(4, 4) for _ in range(6)])
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    x = minigrad.randn(3, 4)
    for _ in range(4):
        optimizer.zero_grad()
        (net(x) ** 2).sum().backward()
        with minigrad.inspect() as seen:
            norm = nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
    assert seen.launches <= 3
    assert seen.replayed == 1
    assert seen.recorded == []
    clipped = nn.utils.get_total_norm([p.grad for p in net.parameters()]).item()
    assert clipped == pytest.approx(min(0.5, norm.item()), rel=1e-5)


def test_clipping_keeps_the_gradient_object():
    parameter = nn.Parameter(minigrad.ones(2))
    parameter.grad = gradient = minigrad.tensor([3.0, -4.0])
    assert nn.utils.clip_grad_norm_([parameter], 1.0).item() == 5.0
    assert parameter.grad is gradient
    np.testing.assert_allclose(gradient.numpy(), [0.6, -0.8], rtol=1e-5)
    nn.utils.clip_grad_value_(parameter, 0.7)
    np.testing.assert_allclose(gradient.numpy(), [0.6, -0.7], rtol=1e-5)
    parameter.grad = minigrad.tensor([float("nan"), 1.0])
    with pytest.raises(RuntimeError, match=r"The total norm of order 2.0 for gradients .* is non-finite"):
        nn.utils.clip_grad_norm_([parameter], 1.0, error_if_nonfinite=True)


def test_weight_norm_and_back():
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    parametrizations.weight_norm(layer)
    np.testing.assert_allclose(layer.weight.detach().numpy(), before.numpy(), rtol=1e-6)
    layer.load_state_dict({"bias": minigrad.zeros(2), "weight_g": minigrad.ones(2, 1), "weight_v": before})
    np.testing.assert_allclose(np.linalg.norm(layer.weight.detach().numpy(), axis=1), [1, 1], rtol=1e-6)
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear
    assert isinstance(layer.weight, nn.Parameter)
    with pytest.warns(FutureWarning, match="`torch.nn.utils.weight_norm` is deprecated"):
        nn.utils.weight_norm(layer)
    with pytest.raises(ValueError, match="weight_norm of 'bias' not found"):
        nn.utils.remove_weight_norm(layer, "bias")


def test_spectral_norm_learns_the_singular_value():
    minigrad.manual_seed(0)
    for wrap in (nn.utils.spectral_norm, parametrizations.spectral_norm):
        layer = wrap(nn.Linear(4, 3), n_power_iterations=30)
        layer(minigrad.zeros(4))
        assert np.linalg.norm(layer.weight.detach().numpy(), 2) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
def test_orthogonal(kind):
    minigrad.manual_seed(0)
    layer = parametrizations.orthogonal(nn.Linear(2, 3), orthogonal_map=kind)
    layer(minigrad.ones(2)).sum().backward()
    assert layer.parametrizations.weight.original.grad.abs().max().item() > 0
    optim.SGD(layer.parameters(), lr=1.0).step()
    weight = layer.weight.detach().numpy()
    np.testing.assert_allclose(weight.T @ weight, np.eye(2), atol=1e-5)


def test_copies_of_parametrised_modules_are_apart():
    layer = parametrize.register_parametrization(nn.Linear(1, 1), "weight", nn.Tanh())
    twin = copy.deepcopy(layer)
    parametrize.remove_parametrizations(layer, "weight")
    assert parametrize.is_parametrized(twin, "weight")
    assert twin.weight.item() == pytest.approx(layer.weight.item())
    with pytest.raises(ValueError, match="does not have a parametrization on weight"):
        parametrize.remove_parametrizations(layer, "weight")


def test_pruning_twice():
    layer = nn.Linear(3, 1)
    with minigrad.no_grad():
        layer.weight.copy_(minigrad.tensor([[1.0, -3.0, 2.0]]))
    prune.l1_unstructured(layer, "weight", 1)
    prune.custom_from_mask(layer, "weight", minigrad.tensor([[1, 0, 1]]))
    assert layer.weight.tolist() == [[0.0, 0.0, 2.0]]
    layer(minigrad.ones(3)).sum().backward()
    assert layer.weight_orig.grad.tolist() == [[0.0, 0.0, 1.0]]
    prune.remove(layer, "weight")
    assert layer.weight.tolist() == [[0.0, 0.0, 2.0]]


def test_keywords_of_what_a_layer_makes():
    given = {"dtype": minigrad.float64, "factory_kwargs": {"device": "cpu"}}
    assert nn.factory_kwargs(given) == {"dtype": minigrad.float64, "device": "cpu"} and len(given) == 2
    assert nn.factory_kwargs(None) == {}
    with pytest.raises(TypeError, match="unexpected kwargs {'bias'}"):
        nn.factory_kwargs({"bias": True})
    with pytest.raises(TypeError, match="device specified twice"):
        nn.factory_kwargs({"device": "cpu", "factory_kwargs": {"device": "cpu"}})


def test_sequences_there_and_back():
    parts = [minigrad.arange(n).float() for n in (2, 3, 1)]
    packed = rnn.pack_sequence(parts, enforce_sorted=False)
    assert packed.data.tolist() == [0, 0, 0, 1, 1, 2]
    assert packed.batch_sizes.tolist() == [3, 2, 1]
    assert [part.tolist() for part in rnn.unpack_sequence(packed)] == [[0, 1], [0, 1, 2], [0]]
    assert rnn.pad_sequence(parts, True, -1, "left").tolist() == [[-1, 0, 1], [0, 1, 2], [-1, -1, 0]]
    with pytest.raises(RuntimeError, match="`lengths` array must be sorted in decreasing order"):
        rnn.pack_sequence(parts)


def test_other_weights_for_one_call():
    layer = nn.Linear(2, 1)
    weight = minigrad.ones(1, 2, requires_grad=True)
    own = layer.weight
    with pytest.warns(FutureWarning, match="functional_call` is deprecated"):
        out = nn.utils.stateless.functional_call(layer, {"weight": weight, "bias": minigrad.zeros(1)}, minigrad.ones(2))
    out.sum().backward()
    assert layer.weight is own
    assert weight.grad.tolist() == [[1.0, 1.0]]


def test_vectors_share_memory():
    parameter = nn.Parameter(minigrad.zeros(2))
    vector = minigrad.tensor([1.0, 2.0])
    nn.utils.vector_to_parameters(vector, [parameter])
    vector[0] = 5.0
    assert parameter.tolist() == [5.0, 2.0]
    assert nn.utils.parameters_to_vector([parameter]).requires_grad


def test_several_devices_are_refused():
    assert list(nn.DataParallel(nn.Linear(1, 1)).state_dict()) == ["module.weight", "module.bias"]
    with pytest.raises(ValueError, match="Default process group has not been initialized"):
        nn.parallel.DistributedDataParallel(nn.Linear(1, 1))
    with pytest.raises(NotImplementedError, match="DataParallel on 2 devices"):
        nn.DataParallel(nn.Linear(1, 1), device_ids=[0, 1])
