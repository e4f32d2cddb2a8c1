"""Module's attribute protocol, its walks, its state and its printed form."""

import copy

import numpy as np
import pytest

import minigrad
from minigrad import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(2, 3)
        self.act = nn.Tanh()
        self.scale = nn.Parameter(minigrad.ones(3))
        self.register_buffer("count", minigrad.tensor(0))
        self.register_buffer("cache", minigrad.zeros(1), persistent=False)

    def forward(self, x):
        return self.act(self.hidden(x)) * self.scale


def test_lists_its_parts():
    net = nn.Sequential(Net(), nn.ReLU())
    assert [name for name, _ in net.named_parameters()] == ["0.scale", "0.hidden.weight", "0.hidden.bias"]
    assert next(name for name, _ in net.named_parameters("net", recurse=True)) == "net.0.scale"
    assert list(net.named_parameters(recurse=False)) == []
    assert [name for name, _ in net.named_modules()] == ["", "0", "0.hidden", "0.act", "1"]
    assert [name for name, _ in net.named_children()] == ["0", "1"]
    assert [name for name, _ in net.named_buffers()] == ["0.count", "0.cache"]
    assert list(net.state_dict()) == ["0.scale", "0.count", "0.hidden.weight", "0.hidden.bias"]
    assert len(list(net.parameters())) == 3
    assert len(list(net.buffers())) == 2
    assert len(list(net.modules())) == 5
    assert net.get_submodule("0.hidden") is net[0].hidden
    assert net.get_parameter("0.hidden.bias") is net[0].hidden.bias
    assert net.get_buffer("0.count") is net[0].count
    assert "hidden" in dir(net[0])


def test_shared_parts_come_once():
    net = nn.Module()
    net.a, net.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    net.b.weight = net.a.weight
    assert [name for name, _ in net.named_parameters()] == ["a.weight"]
    assert [name for name, _ in net.named_parameters(remove_duplicate=False)] == ["a.weight", "b.weight"]
    assert list(net.state_dict()) == ["a.weight", "b.weight"]
    net.b = net.a
    assert [name for name, _ in net.named_modules()] == ["", "a"]
    assert [name for name, _ in net.named_modules(remove_duplicate=False)] == ["", "a", "b"]
    assert len(list(net.children())) == 1


@pytest.mark.parametrize("assign,error", [
    (lambda m: setattr(m, "part", nn.ReLU()), "cannot assign module before Module.__init__() call"),
    (lambda m: setattr(m, "part", nn.Parameter(minigrad.ones(1))),
     "cannot assign parameters before Module.__init__() call"),
    (lambda m: setattr(m, "part", nn.Buffer(minigrad.ones(1))), "cannot assign buffer before Module.__init__() call"),
    (lambda m: m.register_buffer("part", minigrad.ones(1)), "cannot assign buffer before Module.__init__() call"),
    (lambda m: m.register_parameter("part", None), "cannot assign parameter before Module.__init__() call"),
    (lambda m: next(m.parameters()), "'Early' object has no attribute '_parameters'"),
])
def test_before_init(assign, error):
    class Early(nn.Module):
        def __init__(self):
            self.plain = 3
            assign(self)

    with pytest.raises(AttributeError) as caught:
        Early()
    assert str(caught.value) == error


def test_plain_attribute_before_init():
    class Early(nn.Module):
        def __init__(self):
            self.plain = 3
            super().__init__()

    assert Early().plain == 3


def raises(kind, text, call):
    with pytest.raises(kind) as caught:
        call()
    assert text in str(caught.value.args[0])


def test_wrong_assignments():
    net = Net()
    raises(TypeError, "cannot assign 'int' as parameter 'scale'", lambda: setattr(net, "scale", 3))
    raises(TypeError, "as parameter 'scale'", lambda: setattr(net, "scale", minigrad.ones(3)))
    raises(TypeError, "cannot assign 'int' as child module 'act'", lambda: setattr(net, "act", 3))
    raises(TypeError, "cannot assign 'int' as buffer 'count'", lambda: setattr(net, "count", 3))
    raises(AttributeError, "'Net' object has no attribute 'missing'", lambda: net.missing)
    raises(AttributeError, "missing", lambda: delattr(net, "missing"))


def test_wrong_registrations():
    net, parameter = Net(), nn.Parameter(minigrad.ones(1))
    for name, text, kind in (("a.b", 'can\'t contain "."', KeyError), ("", 'can\'t be empty string ""', KeyError),
                             (3, "name should be a string. Got int", TypeError),
                             ("forward", "attribute 'forward' already exists", KeyError)):
        raises(kind, text, lambda name=name: net.register_parameter(name, parameter))
        raises(kind, text, lambda name=name: net.register_buffer(name, minigrad.ones(1)))
        raises(kind, text, lambda name=name: net.add_module(name, nn.ReLU()))
    raises(TypeError, "cannot assign 'int' object to parameter 'x'", lambda: net.register_parameter("x", 3))
    raises(TypeError, "cannot assign 'int' object to buffer 'x'", lambda: net.register_buffer("x", 3))
    raises(TypeError, "int is not a Module subclass", lambda: net.add_module("x", 3))


def test_reassigning_replaces():
    net = Net()
    net.act = nn.ReLU()
    assert isinstance(net.act, nn.ReLU)
    net.act = None
    assert net.act is None
    net.scale = None
    assert "scale" not in dict(net.named_parameters())
    net.scale = nn.Parameter(minigrad.ones(3))
    net.count = minigrad.tensor(2)
    assert "count" in net.state_dict()
    net.plain = 1
    net.plain = nn.Parameter(minigrad.ones(1))
    assert "plain" in net.state_dict()
    net.cache = nn.Parameter(minigrad.ones(1))
    assert "cache" in dict(net.named_parameters())
    assert "cache" in net.state_dict()
    del net.plain
    assert not hasattr(net, "plain")
    assert not hasattr(nn.Linear(2, 2, bias=False), "shortcut")
    assert nn.Linear(2, 2, bias=False).bias is None
    raises(TypeError, "cannot assign 'torch.nn.modules.activation.ReLU' as parameter 'scale'",
           lambda: setattr(net, "scale", nn.ReLU()))
    del net.scale
    net.scale = nn.ReLU()
    net.count = nn.Tanh()
    assert not {"scale", "count"} & (set(dict(net.named_parameters())) | set(dict(net.named_buffers())))
    assert {"scale", "count"} <= set(dict(net.named_children()))
    net.hidden = nn.Parameter(minigrad.ones(1))
    assert "hidden" not in dict(net.named_children())
    net.layers = [nn.Linear(2, 2)]
    assert not any("layers" in name for name, _ in net.named_parameters())


def test_calls_and_hooks():
    net = Net()
    x = minigrad.ones(1, 2)
    seen = []
    first = net.register_forward_hook(lambda module, args, out: seen.append("after"))
    net.register_forward_pre_hook(lambda module, args: seen.append("before"))
    with net.register_forward_hook(lambda module, args, out: out * 0, prepend=True):
        assert net(x).detach().numpy().tolist() == [[0.0, 0.0, 0.0]]
    assert seen == ["before", "after"]
    first.remove()
    assert net(x).detach().numpy().tolist() != [[0.0, 0.0, 0.0]]
    assert seen == ["before", "after", "before"]
    net.register_forward_pre_hook(lambda module, args, kwargs: ((args[0] * 0,), kwargs), with_kwargs=True)
    net.register_forward_hook(lambda module, args, kwargs, out: (out, kwargs), with_kwargs=True)
    out, kwargs = net(x)
    assert kwargs == {}
    np.testing.assert_allclose(out.detach().numpy()[0], np.tanh(net.hidden.bias.detach().numpy()), rtol=1e-5)
    raises(NotImplementedError, 'Module [ModuleList] is missing the required "forward" function',
           lambda: nn.ModuleList()(1))


def test_always_called_hook():
    class Broken(nn.Module):
        def forward(self):
            raise ValueError("broken")

    seen, net = [], Broken()
    net.register_forward_hook(lambda *_: seen.append(1), always_call=True)
    net.register_forward_hook(lambda *_: seen.append(2))
    raises(ValueError, "broken", net)
    assert seen == [1]


def test_modes():
    net = nn.Sequential(Net(), nn.ReLU())
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    assert net.train() is net
    assert all(module.training for module in net.modules())
    raises(ValueError, "training mode is expected to be boolean", lambda: net.train(3))
    order = []
    net.apply(lambda module: order.append(type(module).__name__))
    assert order == ["Linear", "Tanh", "Net", "ReLU", "Sequential"]
    assert net.requires_grad_(False) is net
    assert not any(parameter.requires_grad for parameter in net.parameters())


def test_zero_grad():
    net = nn.Linear(2, 1)
    net(minigrad.ones(3, 2)).sum().backward()
    net.zero_grad(set_to_none=False)
    assert net.weight.grad.numpy().tolist() == [[0.0, 0.0]]
    net.zero_grad()
    assert net.weight.grad is None


def test_to_changes_the_dtype_in_place():
    net = Net()
    weight = net.hidden.weight
    net(minigrad.ones(1, 2)).sum().backward()
    assert net.double() is net
    assert net.hidden.weight is weight
    assert weight.dtype == minigrad.float64
    assert weight.grad.dtype == minigrad.float64
    assert weight.requires_grad
    assert net.count.dtype == minigrad.int64
    assert net(minigrad.ones(1, 2, dtype=minigrad.float64)).dtype == minigrad.float64
    assert net.half().scale.dtype == minigrad.float16
    assert net.float().scale.dtype == minigrad.float32
    assert net.to(minigrad.zeros(1, dtype=minigrad.float64)).scale.dtype == minigrad.float64
    assert net.to("cpu", minigrad.float32).scale.dtype == minigrad.float32
    raises(TypeError, "nn.Module.to only accepts floating point or complex dtypes", lambda: net.to(minigrad.int64))


def test_state_is_an_alias_and_loads():
    net, other = Net(), Net()
    state = net.state_dict()
    assert not state["scale"].requires_grad
    state["scale"].copy_(minigrad.full((3,), 2.0))
    assert net.scale.detach().numpy().tolist() == [2.0, 2.0, 2.0]
    scale = other.scale
    assert str(other.load_state_dict(state)) == "<All keys matched successfully>"
    assert other.scale is scale
    assert scale.requires_grad
    assert scale.detach().numpy().tolist() == [2.0, 2.0, 2.0]
    np.testing.assert_array_equal(other.hidden.weight.detach().numpy(), net.hidden.weight.detach().numpy())
    state["scale"].zero_()
    assert scale.detach().numpy().tolist() == [2.0, 2.0, 2.0]
    other.load_state_dict(state, assign=True)
    assert isinstance(other.scale, nn.Parameter)
    assert other.scale.requires_grad


def test_load_errors():
    net = nn.Sequential(nn.Linear(2, 2))
    state = dict(net.state_dict())
    state["0.bias"] = minigrad.ones(3)
    state["1.bias"] = state.pop("0.weight")
    with pytest.raises(RuntimeError) as caught:
        net.load_state_dict(state)
    three, two = minigrad.ones(3).shape, minigrad.ones(2).shape
    assert str(caught.value) == (
        'Error(s) in loading state_dict for Sequential:\n\tMissing key(s) in state_dict: "0.weight". \n\t'
        'Unexpected key(s) in state_dict: "1.bias". \n\tsize mismatch for 0.bias: copying a param with shape '
        f"{three} from checkpoint, the shape in current model is {two}.")
    result = net.load_state_dict({"0.weight": minigrad.ones(2, 2), "x": 1}, strict=False)
    assert result.missing_keys == ["0.bias"]
    assert result.unexpected_keys == ["x"]
    assert repr(result) == "_IncompatibleKeys(missing_keys=['0.bias'], unexpected_keys=['x'])"


def test_printed_form():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
            self.none = None

    assert repr(Outer()) == ("Outer(\n  (inner): Sequential(\n    (0): Linear(in_features=2, out_features=2, "
                             "bias=True)\n    (1): ReLU(inplace=True)\n  )\n)")


def test_deep_copy_is_independent():
    net = Net()
    twin = copy.deepcopy(net)
    with minigrad.no_grad():
        net.scale.zero_()
    assert twin.scale.detach().numpy().tolist() == [1.0, 1.0, 1.0]
    assert isinstance(twin.scale, nn.Parameter)
    assert [name for name, _ in twin.named_parameters()] == [name for name, _ in net.named_parameters()]


def test_parameter():
    source = minigrad.ones(2)
    parameter = nn.Parameter(source)
    assert repr(parameter) == str(parameter) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert isinstance(parameter, minigrad.Tensor)
    assert parameter.is_leaf
    assert not source.requires_grad
    source.zero_()
    assert parameter.detach().numpy().tolist() == [0.0, 0.0]
    assert not isinstance(parameter * 2, nn.Parameter)
    assert not isinstance(parameter.detach(), nn.Parameter)
    assert not isinstance(parameter.data, nn.Parameter)
    assert not nn.Parameter(minigrad.tensor([1, 2]), requires_grad=False).requires_grad
    with pytest.raises(RuntimeError, match="Only Tensors of floating point"):
        nn.Parameter(minigrad.tensor([1, 2]))
