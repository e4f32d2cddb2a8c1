"""Module's hooks, what its state dictionary carries beside tensors, and how it is copied and pickled."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import minigrad
from minigrad import nn
from minigrad.nn.modules import module as modules


def noted(log, name, result=None):
    def hook(module, *given):
        log.append(name)
        return result

    return hook


def test_backward_hooks_see_and_change_gradients():
    layer, log = nn.Tanh(), []
    x = minigrad.zeros(2, requires_grad=True)
    layer.register_full_backward_pre_hook(lambda module, out: (log.append(out[0].tolist()), (out[0] * 3,))[1])
    handle = layer.register_full_backward_hook(lambda module, given, out: (
        log.append((given[0].tolist(), out[0].tolist())), (given[0] + 1,))[1])
    layer(x).sum().backward()
    assert log == [[1.0, 1.0], ([3.0, 3.0], [3.0, 3.0])]
    assert x.grad.tolist() == [4.0, 4.0]
    handle.remove()
    x.grad = None
    layer(x).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_hooks_of_all_modules():
    log = []
    net = nn.Sequential(nn.Tanh(), nn.ReLU())
    with modules.register_module_forward_pre_hook(noted(log, "pre")), \
            modules.register_module_forward_hook(lambda module, args, out: out + 1):
        assert net(minigrad.zeros(1)).tolist() == [3.0]
        assert log == ["pre"] * 3
    assert net(minigrad.zeros(1)).tolist() == [0.0]
    with modules.register_module_full_backward_hook(noted(log, "backward")):
        net(minigrad.zeros(1, requires_grad=True)).sum().backward()
    assert log[3:] == ["backward"] * 3


def test_jit_calls_hooks_of_all_modules():
    layer, x = nn.Tanh(), minigrad.zeros(1)
    function = minigrad.jit(lambda x: layer(x))
    for _ in range(3):
        assert function(x).tolist() == [0.0]
    with modules.register_module_forward_hook(lambda module, args, out: out + 5):
        assert function(x).tolist() == [5.0]
    layer.register_forward_hook(lambda module, args, out: out + 7)
    assert function(x).tolist() == [7.0]


def test_one_kind_of_backward_hook():
    layer = nn.Tanh()
    layer.register_full_backward_hook(noted([], "x"))
    with pytest.raises(RuntimeError, match="Cannot use both regular backward hooks and full"):
        layer.register_backward_hook(noted([], "x"))


def test_wrong_number_of_gradients():
    layer = nn.Tanh()
    layer.register_full_backward_hook(lambda *_: (None, None))
    with pytest.raises(RuntimeError, match="invalid number of grad_input, got 2, but expected 1"):
        layer(minigrad.zeros(1, requires_grad=True)).sum().backward()


def test_state_carries_versions_and_extra_state():
    class Extra(nn.Linear):
        _version = 3

        def get_extra_state(self):
            return {"steps": 5}

        def set_extra_state(self, state):
            self.steps = state["steps"]

    log, net = [], nn.Sequential(Extra(1, 1))
    net[0].register_state_dict_pre_hook(lambda module, prefix, keep_vars: log.append(prefix))
    net.register_state_dict_post_hook(lambda module, state, prefix, metadata: state.pop("0.bias") and None)
    state = net.state_dict()
    assert type(state) is OrderedDict
    assert list(state) == ["0.weight", "0._extra_state"]
    assert state._metadata == {"": {"version": 1}, "0": {"version": 3}}
    assert log == ["0."]
    other = nn.Sequential(Extra(1, 1))
    other.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.remove("0.bias"))
    other.load_state_dict(state)
    assert other[0].steps == 5


def test_copies_keep_ties_and_hooks():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    log = []
    net.register_forward_hook(noted(log, "called"))
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(nn.Sequential(*net)))):
        assert twin[1].weight is twin[0].weight
        assert twin[0].weight is not net[0].weight
        assert list(twin.state_dict()) == list(net.state_dict())
    copy.deepcopy(net)(minigrad.zeros(1, 2))
    assert log == ["called"]
    assert copy.copy(net)._modules is net._modules


def test_converting_is_one_run():
    net = nn.Sequential(*[nn.Linear(3, 3) for _ in range(4)])
    with minigrad.inspect() as seen:
        net.double()
    assert seen.launches <= 2
    assert net[0].weight.dtype is minigrad.float64


def test_uninitialised_parameters():
    weight = nn.UninitializedParameter()
    with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized parameter"):
        _ = weight.shape
    with pytest.raises(ValueError, match="Attempted to use an uninitialized parameter"):
        weight.numel()
    weight.materialize((2, 3))
    assert type(weight) is nn.Parameter
    assert weight.shape == (2, 3)
    assert weight.requires_grad


def test_a_subclass_of_tensor_stays_one():
    class Special(minigrad.Tensor):
        pass

    data = minigrad.ones(2)
    data.__class__ = Special
    parameter = nn.Parameter(data)
    assert type(parameter) is Special
    assert isinstance(parameter, nn.Parameter)
    assert not isinstance(data, nn.Parameter)
    layer = nn.Module()
    layer.weight = parameter
    assert [name for name, _ in layer.named_parameters()] == ["weight"]


def test_random_starts():
    minigrad.manual_seed(0)
    weight = nn.init.orthogonal_(minigrad.zeros(3, 2)).numpy()
    np.testing.assert_allclose(weight.T @ weight, np.eye(2), atol=1e-6)
    np.testing.assert_allclose(weight[0], [0.5350, -0.1699], atol=1e-4)
    minigrad.manual_seed(0)
    assert nn.init.trunc_normal_(minigrad.zeros(4, 5), std=3.0).abs().max().item() <= 2
    assert (nn.init.sparse_(minigrad.zeros(4, 3), 0.5) == 0).sum(0).tolist() == [2, 2, 2]
