"""Stage: tests. In: what stands around the layers: Module, its hooks and containers, nn.init and nn.utils. Out: it does
what PyTorch 2.13 does: values, gradients, order of calls, printed forms and error texts.
Next: ``test_nn_against_torch.py``."""

import copy
import importlib
import inspect
import warnings
from collections import OrderedDict

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402

PAIR = (minigrad, torch)


def plain(value):
    """A value of either library in words of neither."""
    if isinstance(value, minigrad.Tensor | torch.Tensor):
        return value.detach().numpy().round(5).tolist(), text(value.dtype)
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return text(value) if isinstance(value, str) else value


def text(value):
    return str(value).replace("minigrad", "torch")


def outcome(function, library):
    """What the function gives, or the error that it raises, and the warnings."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        library.manual_seed(0)
        try:
            result = plain(function(library))
        except Exception as error:
            result = type(error).__name__, text(error)
    return result, [(w.category.__name__, text(w.message)) for w in seen]


def agree(function):
    ours, theirs = (outcome(function, library) for library in PAIR)
    assert ours == theirs
    return ours[0]


def net(T):
    class Net(T.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = T.nn.Linear(3, 4)
            self.act = T.nn.Tanh()
            self.rest = T.nn.Sequential(T.nn.Linear(4, 4), T.nn.ReLU(), T.nn.Linear(4, 2, bias=False))
            self.scale = T.nn.Parameter(T.ones(2))
            self.register_buffer("count", T.tensor(3))
            self.register_buffer("cache", T.zeros(1), persistent=False)
            self.register_parameter("absent", None)

        def forward(self, x):
            return self.rest(self.act(self.first(x))) * self.scale

    return Net()


def inputs(T, requires_grad=False):
    return T.tensor(np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3), requires_grad=requires_grad)


# --- attributes and errors

MISUSES = [
    lambda T, m: setattr(m, "scale", 3),
    lambda T, m: setattr(m, "scale", T.ones(2)),
    lambda T, m: setattr(m, "scale", T.nn.ReLU()),
    lambda T, m: setattr(m, "act", 3),
    lambda T, m: setattr(m, "act", T.ones(1)),
    lambda T, m: setattr(m, "count", "x"),
    lambda T, m: setattr(m, "count", [1]),
    lambda T, m: m.missing,
    lambda T, m: delattr(m, "missing"),
    lambda T, m: m.register_parameter("x", T.ones(2)),
    lambda T, m: m.register_parameter("x", T.ones(2, dtype=T.float64)),
    lambda T, m: m.register_parameter("x", 3),
    lambda T, m: m.register_parameter("a.b", None),
    lambda T, m: m.register_parameter("", None),
    lambda T, m: m.register_parameter(3, None),
    lambda T, m: m.register_parameter("act", None),
    lambda T, m: m.register_buffer("x", T.nn.ReLU()),
    lambda T, m: m.register_buffer("a.b", None),
    lambda T, m: m.register_buffer("", None),
    lambda T, m: m.register_buffer(T.ones(1), None),
    lambda T, m: m.register_buffer("forward", T.ones(1)),
    lambda T, m: m.add_module("x", T.ones(2, dtype=T.int64)),
    lambda T, m: m.add_module("x", T.nn.ReLU),
    lambda T, m: m.add_module("a.b", None),
    lambda T, m: m.add_module("", None),
    lambda T, m: m.add_module(3, None),
    lambda T, m: m.add_module("forward", None),
    lambda T, m: m.get_submodule("rest.7"),
    lambda T, m: m.get_submodule("rest.0.weight"),
    lambda T, m: m.get_parameter("count"),
    lambda T, m: m.get_parameter("rest.0.x"),
    lambda T, m: m.get_buffer("scale"),
    lambda T, m: m.get_buffer("nothing"),
    lambda T, m: m.set_submodule("", T.nn.ReLU()),
    lambda T, m: m.set_submodule("rest.0", 3),
    lambda T, m: m.set_submodule("rest.9", T.nn.ReLU(), strict=True),
    lambda T, m: m.set_submodule("scale", T.nn.ReLU()),
    lambda T, m: m.train(3),
    lambda T, m: m.to(T.int64),
    lambda T, m: m.load_state_dict([1]),
    lambda T, m: m.get_extra_state(),
    lambda T, m: m.set_extra_state(3),
    lambda T, m: T.nn.Module(3),
    lambda T, m: T.nn.Module(x=3),
    lambda T, m: T.nn.Module()(1),
    lambda T, m: m.register_parameter("w", T.nn.Parameter(T.ones(1)) * 1),
    lambda T, m: T.nn.Parameter(T.ones(1, dtype=T.int64)),
    lambda T, m: T.nn.parameter.UninitializedParameter().shape,
    lambda T, m: T.nn.parameter.UninitializedParameter().share_memory_(),
]


@pytest.mark.parametrize("number", range(len(MISUSES)))
def test_misuse(number):
    result = agree(lambda T: MISUSES[number](T, net(T)))
    assert result[0].endswith(("Error",))


def test_attributes_replace_each_other():
    def change(T):
        m = net(T)
        seen = []
        for name, value in (("plain", 1), ("plain", T.nn.Parameter(T.ones(1))), ("plain", None), ("cache", T.ones(2)),
                            ("cache", T.nn.Parameter(T.ones(1))), ("act", T.nn.ReLU()), ("count", None),
                            ("first", T.nn.Parameter(T.ones(1))), ("kept", T.nn.Buffer(T.ones(2))),
                            ("lost", T.nn.Buffer(T.ones(2), persistent=False)), ("kept", T.zeros(1))):
            setattr(m, name, value)
            seen.append((name, list(m.state_dict()), [n for n, _ in m.named_parameters()],
                         [n for n, _ in m.named_buffers()], [n for n, _ in m.named_children()]))
        del m.kept, m.rest
        m.set_submodule("deep", T.nn.Sequential(T.nn.ReLU()))
        m.set_submodule("deep.0", T.nn.Tanh())
        return [*seen, repr(m), isinstance(m.lost, T.nn.Buffer), sorted(set(dir(m)) & {"lost", "deep", "plain", "0"})]

    agree(change)


def test_listing():
    def names(T):
        m = T.nn.Sequential(OrderedDict(a=net(T), b=T.nn.ReLU()))
        m.again = m.a.first
        return [[n for n, _ in m.named_parameters(remove_duplicate=r, recurse=c, prefix=p)]
                + [n for n, _ in m.named_buffers(remove_duplicate=r, recurse=c, prefix=p)]
                for r in (True, False) for c in (True, False) for p in ("", "top")] + [
            [n for n, _ in m.named_modules()], [n for n, _ in m.named_modules(remove_duplicate=False, prefix="x")],
            len(list(m.modules())), len(list(m.children())), [n for n, _ in m.named_children()]]

    agree(names)


def test_signatures():
    """Every public method of PyTorch's is there, with the same arguments in the same order."""
    for ours, theirs in [(getattr(minigrad.nn, name), getattr(torch.nn, name)) for name in (
            "Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict", "Parameter")]:
        for name in vars(theirs):
            if name.startswith("_") or name in ("ipu", "mtia", "T_destination"):
                continue
            assert hasattr(ours, name), name
            if callable(getattr(theirs, name)) and name not in ("forward", "state_dict", "to", "fromkeys"):
                peers = list(inspect.signature(getattr(theirs, name)).parameters)
                assert list(inspect.signature(getattr(ours, name)).parameters)[:len(peers)] == peers, name


@pytest.mark.parametrize("module", ["init", "utils", "utils.clip_grad", "utils.rnn", "utils.prune", "utils.parametrize",
                                    "utils.parametrizations", "utils.stateless", "modules.module", "parameter"])
def test_functions_have_the_same_arguments(module):
    ours, theirs = (importlib.import_module(f"{T.__name__}.nn.{module}") for T in PAIR)
    for name, peer in vars(theirs).items():
        if inspect.isfunction(peer) and name[0] != "_" and peer.__module__.startswith("torch.nn"):
            mine = getattr(ours, name)
            assert list(inspect.signature(mine).parameters) == list(inspect.signature(peer).parameters), name


# --- hooks


def test_order_of_hooks():
    def run(T):
        m, log = net(T), []
        M = T.nn.modules.module

        def note(name):
            return lambda module, *_: log.append((name, type(module).__name__))

        handles = [M.register_module_forward_pre_hook(note("all pre")), M.register_module_forward_hook(note("all")),
                   M.register_module_full_backward_hook(note("all backward")),
                   M.register_module_full_backward_pre_hook(note("all before backward"))]
        for module in (m, m.first, m.rest[1]):
            module.register_forward_pre_hook(note("pre"))
            module.register_forward_pre_hook(note("first pre"), prepend=True)
            module.register_forward_hook(note("after"))
            module.register_forward_hook(note("first after"), prepend=True)
            module.register_full_backward_hook(note("backward"))
            module.register_full_backward_hook(note("first backward"), prepend=True)
            module.register_full_backward_pre_hook(note("before backward"))
        m(inputs(T, True)).sum().backward()
        for handle in handles:
            handle.remove()
        m.zero_grad()
        m(inputs(T, True)).sum().backward()
        return log

    assert len(agree(run)) > 40


def test_hooks_replace():
    def run(T):
        m, x, seen = net(T), inputs(T, True), []
        m.register_forward_pre_hook(lambda module, args: args[0] * 2)
        m.register_forward_pre_hook(lambda module, args, kwargs: ((args[0] + 1,), kwargs), with_kwargs=True)
        m.register_forward_hook(lambda module, args, out: out * 3)
        m.first.register_forward_hook(lambda module, args, kwargs, out: seen.append(kwargs), with_kwargs=True)
        m.first.register_full_backward_hook(lambda module, given, out: (seen.append((given, out)), (given[0] * 5,))[1])
        m.rest.register_full_backward_pre_hook(lambda module, out: (out[0] * 7,))
        y = m(x)
        y.sum().backward()
        return [y, x.grad, m.first.weight.grad, m.rest[0].weight.grad, seen]

    agree(run)


def test_backward_hooks_of_several():
    def run(T):
        class Two(T.nn.Module):
            def forward(self, a, number, b, c):
                return a * b + number, c * 2, "text"

        m, seen = Two(), []
        a, b, c = (T.tensor([float(i)], requires_grad=i < 3) for i in (1, 2, 3))
        m.register_full_backward_hook(lambda module, given, out: seen.append((given, out)))
        p, q, word = m(a, 3, b, c)
        (p * 2).backward()
        return [seen, a.grad, b.grad, c.grad, word, q]

    agree(run)


def test_backward_hooks_without_inputs():
    def run(T):
        m, seen = T.nn.Linear(2, 1), []
        m.register_full_backward_hook(lambda module, given, out: seen.append((given, out)))
        m(T.ones(1, 2)).sum().backward()
        return seen

    result, seen = (outcome(run, library) for library in PAIR)
    assert result == seen
    assert "no inputs require gradients" in result[1][0][1]


@pytest.mark.parametrize("case", [
    lambda T, m: m.register_full_backward_hook(lambda *_: (1, 2)),
    lambda T, m: m.register_full_backward_pre_hook(lambda *_: (1, 2)),
    lambda T, m: m.register_forward_pre_hook(lambda *_: 3, with_kwargs=True),
    lambda T, m: m.register_forward_hook(lambda *_: [][1]),
    lambda T, m: (m.register_full_backward_hook(print), m.register_backward_hook(print)),
    lambda T, m: (m.register_backward_hook(print), m.register_full_backward_hook(print)),
])
def test_wrong_hooks(case):
    def run(T):
        m = net(T)
        case(T, m)
        m(inputs(T, True)).sum().backward()

    assert agree(run)[0].endswith("Error")


def test_always_called_hooks():
    def run(T):
        class Broken(T.nn.Module):
            def forward(self, x):
                raise ValueError("broken")

        m, seen = Broken(), []
        m.register_forward_hook(lambda module, args, out: seen.append(out), always_call=True)
        m.register_forward_hook(lambda module, args, out: [][0], always_call=True)
        m.register_forward_hook(lambda module, args, out: seen.append("not"))
        try:
            m(1)
        except ValueError as error:
            seen.append(str(error))
        return seen

    agree(run)


def test_registration_hooks():
    def run(T):
        M, seen = T.nn.modules.module, []
        with M.register_module_parameter_registration_hook(lambda m, name, p: seen.append(("parameter", name))), \
             M.register_module_buffer_registration_hook(lambda m, name, b: seen.append(("buffer", name))), \
             M.register_module_module_registration_hook(lambda m, name, c: seen.append(("module", name))):
            net(T)
        net(T)
        return seen

    assert ("parameter", "scale") in [tuple(entry) for entry in agree(run)]


def test_old_backward_hook():
    def run(T):
        m, seen = T.nn.Tanh(), []
        m.register_backward_hook(lambda module, given, out: seen.append((given, out)))
        x = inputs(T, True)
        m(x * 1).sum().backward()
        return [seen, x.grad]

    agree(run)


# --- state


def test_state_hooks_metadata_and_extra_state():
    def run(T):
        class Extra(T.nn.Linear):
            _version = 7

            def get_extra_state(self):
                return {"note": 5}

            def set_extra_state(self, state):
                self.note = state["note"]

        log = []
        m = T.nn.Sequential(Extra(2, 1), T.nn.ReLU())
        m[0].register_state_dict_pre_hook(lambda module, prefix, keep: log.append(("pre", prefix, keep)))
        m.register_state_dict_post_hook(lambda module, state, prefix, meta: log.append((prefix, list(state), meta)))
        m[0]._register_state_dict_hook(lambda module, state, prefix, meta: log.append(("old", prefix, dict(meta))))
        state = m.state_dict()
        other = T.nn.Sequential(Extra(2, 1), T.nn.ReLU())
        other[0].register_load_state_dict_pre_hook(
            lambda module, state, prefix, meta, strict, missing, unexpected, errors:
            log.append((type(module).__name__, prefix, dict(meta), strict)))
        other[0]._register_load_state_dict_pre_hook(lambda state, prefix, *rest: state.pop(f"{prefix}bias"))
        other.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
        found = other.load_state_dict(state)
        return [log, {k: dict(v) for k, v in state._metadata.items()}, list(state), repr(found), other[0].note]

    agree(run)


def test_loading():
    def run(T):
        m, seen = net(T), []
        good = m.state_dict()
        for change in ({}, {"scale": T.ones(3)}, {"scale": 3}, {"new": T.ones(1)}, {"rest.7.x": T.ones(1)},
                       {"count": T.tensor([5])}, {"scale": T.ones(2, dtype=T.float64) * 4},
                       {"first._extra_state": 1}):
            for strict in (True, False):
                for drop in ((), ("first.bias", "count")):
                    state = OrderedDict((k, v) for k, v in good.items() if k not in drop)
                    state.update(change)
                    for assign in (False, True):
                        target = net(T)
                        try:
                            seen.append(repr(target.load_state_dict(state, strict, assign)))
                        except RuntimeError as error:
                            seen.append(str(error))
                        seen += [target.scale, target.count, target.scale.requires_grad]
        return seen

    agree(run)


def test_assigning_takes_the_tensor():
    for T in PAIR:
        m, weight = T.nn.Linear(2, 1), T.nn.Parameter(T.ones(1, 2))
        frozen = T.nn.Linear(2, 1).requires_grad_(False)
        frozen.load_state_dict({"weight": T.ones(1, 2), "bias": T.ones(1)}, assign=True)
        assert not frozen.weight.requires_grad
        m.load_state_dict({"weight": weight, "bias": T.ones(1)}, assign=True)
        assert m.weight is weight
        assert isinstance(m.bias, T.nn.Parameter)
        assert m.bias.requires_grad


# --- changing the whole tree


def test_conversions():
    def run(T):
        m, seen = net(T), []
        m(inputs(T)).sum().backward()
        weight, gradient = m.first.weight, m.first.weight.grad
        for change in (lambda: m.double(), lambda: m.to(T.float16), lambda: m.to("cpu", T.float32),
                       lambda: m.to(T.ones(1, dtype=T.float64)), lambda: m.to(dtype=T.bfloat16),
                       lambda: m.to(device="cpu", non_blocking=True), lambda: m.float(), lambda: m.half(),
                       lambda: m.type(T.float64), lambda: m.cpu(), lambda: m.bfloat16(), lambda: m.to("cpu")):
            seen.append(change() is m)
            seen.append([text(t.dtype) for t in (*m.parameters(), *m.buffers())])
            seen.append([m.first.weight is weight, m.first.weight.grad is gradient, text(gradient.dtype),
                         weight.requires_grad, weight.is_leaf])
        m.requires_grad_(False)
        return [*seen, weight.requires_grad, m.to_empty(device="cpu").first.weight.shape[0], m.apply(lambda x: x) is m]

    agree(run)


def test_zero_grad():
    def run(T):
        m, seen = net(T), []
        for to_none in (False, True):
            m(inputs(T)).sum().backward()
            gradient = m.scale.grad
            m.zero_grad(to_none)
            seen += [m.scale.grad is gradient, m.scale.grad is None]
        return seen

    agree(run)


def test_copies():
    def run(T):
        m = net(T)
        m.rest[2].weight = m.rest[2].weight
        m.tied = m.first
        m.other = T.nn.Linear(3, 4)
        m.other.weight = m.first.weight
        m(inputs(T)).sum().backward()
        calls = []
        m.register_forward_hook(lambda *_: calls.append(1))
        twin, shallow = copy.deepcopy(m), copy.copy(m)
        twin(inputs(T))
        return [twin.tied is twin.first, twin.other.weight is twin.first.weight, twin.first.weight is m.first.weight,
                twin.first.weight.grad is None, calls, shallow.first is m.first, shallow._parameters is m._parameters,
                repr(twin), twin.state_dict(), twin.first.weight.requires_grad]

    agree(run)


def test_call_super_init():
    def run(T):
        class Other:
            def __init__(self, x):
                self.x = x

        class Both(T.nn.Module, Other):
            call_super_init = True

            def __init__(self):
                super().__init__(5)

        return [Both().x, T.nn.Module.dump_patches, T.nn.Module._version]

    agree(run)


# --- containers


def container_program(T):
    nn = T.nn
    a, b, c, d = nn.ReLU(), nn.Tanh(), nn.Linear(2, 2), nn.Sigmoid()
    seen = []

    def tried(action):
        try:
            value = action()
            seen.append(repr(value) if isinstance(value, nn.Module) else value)
        except Exception as error:
            seen.append((type(error).__name__, text(error)))

    s = nn.Sequential(a, b, c)
    for index in (0, -1, 3, -4, slice(1, None), "x", 1.0):
        tried(lambda index=index: s[index])
    tried(lambda: s.insert(1, d))
    tried(lambda: s.insert(9, d))
    tried(lambda: s.insert(0, 3))
    tried(lambda: s.insert(-1, nn.Identity()))
    tried(lambda: s.append(3))
    tried(lambda: s.append(d))
    tried(lambda: s.extend(nn.Sequential(a, b)))
    tried(lambda: s.pop(0))
    tried(lambda: s.pop(77))
    tried(lambda: s.__delitem__(slice(0, 2)))
    tried(lambda: s.__setitem__(0, d))
    tried(lambda: s.__setitem__(9, d))
    tried(lambda: s + nn.Sequential(a))
    tried(lambda: s + 3)
    tried(lambda: s * 2)
    tried(lambda: 2 * s)
    tried(lambda: s * 0)
    tried(lambda: s * "x")
    tried(lambda: s.__imul__(2))
    tried(lambda: s.__iadd__(nn.Sequential(c)))
    tried(lambda: s.__iadd__(3))
    tried(lambda: len(s))
    tried(lambda: nn.Sequential({"a": a}))
    tried(lambda: nn.Sequential(OrderedDict(x=a, y=c)))
    tried(lambda: nn.Sequential(3))
    m = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)] + [nn.Sequential(a, b), nn.Sequential(a, b)])
    tried(lambda: m)
    tried(lambda: m[1:])
    tried(lambda: m[7])
    tried(lambda: m.insert(1, d))
    tried(lambda: m.extend(3))
    tried(lambda: m.extend([a, a]))
    tried(lambda: m.pop(-1))
    tried(lambda: m.__delitem__(slice(0, 3)))
    tried(lambda: m + [a])
    tried(lambda: m.__iadd__([b]))
    tried(lambda: m.append(None))
    tried(lambda: list(m.state_dict()))
    tried(lambda: c in m)
    tried(lambda: nn.ModuleList())
    k = nn.ModuleDict({"z": a, "b": c})
    tried(lambda: k)
    tried(lambda: k.update([("q", d), ("b", b)]))
    tried(lambda: k.update(3))
    tried(lambda: k.update([3]))
    tried(lambda: k.update([(1, 2, 3)]))
    tried(lambda: k.update({"x": 3}))
    tried(lambda: list(k.keys()))
    tried(lambda: [type(v).__name__ for v in k.values()])
    tried(lambda: [n for n, _ in k.items()])
    tried(lambda: "z" in k)
    tried(lambda: k.pop("z"))
    tried(lambda: k.pop("z"))
    tried(lambda: k["nothing"])
    tried(lambda: k.clear())
    tried(lambda: k)
    return seen


def test_module_containers():
    assert len(agree(container_program)) > 50


def parameter_program(T):
    nn = T.nn
    seen = []

    def tried(action):
        try:
            seen.append(plain(action()) if not isinstance(action(), nn.Module) else text(repr(action())))
        except Exception as error:
            seen.append((type(error).__name__, text(error)))

    p = nn.ParameterList([T.ones(2), nn.Parameter(T.zeros(1, 3)), "text", 3])
    tried(lambda: p)
    tried(lambda: [n for n, _ in p.named_parameters()])
    tried(lambda: p[0])
    tried(lambda: p[1:3])
    tried(lambda: p[9])
    tried(lambda: p.__setitem__(0, T.ones(4)))
    tried(lambda: p.__setitem__(9, T.ones(4)))
    tried(lambda: p.extend(3))
    tried(lambda: p.extend(T.ones(2)))
    tried(lambda: len(p))
    tried(lambda: p())
    d = nn.ParameterDict({"b": T.ones(2), "a": nn.Parameter(T.zeros(2, 2)), "c": "text"})
    tried(lambda: d)
    tried(lambda: d["a"])
    tried(lambda: d[3])
    tried(lambda: d["q"])
    tried(lambda: d.get("q", 5))
    tried(lambda: d.setdefault("q", T.ones(1)))
    tried(lambda: list(d))
    tried(lambda: list(reversed(d)))
    tried(lambda: list(d.keys()))
    tried(lambda: [n for n, _ in d.items()])
    tried(lambda: len(list(d.values())))
    tried(lambda: d.copy())
    tried(lambda: d.fromkeys(["x", "y"], T.ones(1)))
    tried(lambda: d | {"n": T.ones(1)})
    tried(lambda: {"n": T.ones(1)} | d)
    tried(lambda: d.update(3))
    tried(lambda: d.update([3]))
    tried(lambda: d.update([(1, 2, 3)]))
    tried(lambda: d.__ior__({"m": T.ones(1)}))
    seen.append(plain(d.popitem()))
    seen.append(plain(d.pop("a")))
    tried(lambda: d)
    tried(lambda: d(1))
    d.clear()
    tried(lambda: len(d))
    tried(lambda: nn.Container(x=nn.ReLU()))
    return seen


def test_parameter_containers():
    assert len(agree(parameter_program)) > 30


# --- nn.init


def check_init(name, shape, *args, dtype="float32", tolerance=2e-6, **options):
    made = []
    for T in PAIR:
        T.manual_seed(3)
        weight = T.zeros(shape, dtype=getattr(T, dtype))
        assert getattr(T.nn.init, name)(weight, *args, **options) is weight
        made.append((weight.numpy(), T.rand(1).item()))
    np.testing.assert_allclose(made[0][0], made[1][0], rtol=0, atol=tolerance)
    assert made[0][1] == made[1][1]


@pytest.mark.filterwarnings("ignore:mean is more than 2 std")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_init(dtype):
    for shape in ((5, 7), (4, 3, 5)):
        for name in ("uniform_", "xavier_uniform_", "kaiming_uniform_"):
            check_init(name, shape, dtype=dtype, tolerance=0)
        for name in ("normal_", "xavier_normal_", "kaiming_normal_", "orthogonal_", "trunc_normal_"):
            check_init(name, shape, dtype=dtype)
        check_init("kaiming_normal_", shape, 0.3, "fan_out", "tanh", dtype=dtype)
        check_init("orthogonal_", shape[::-1], gain=2.0, dtype=dtype)
    for args in ((0.0, 0.02), (1.0, 2.0, 0.5, 0.9), (0.0, 1.0, 2.5, 4.0)):
        check_init("trunc_normal_", (30, 40), *args, dtype=dtype)
    check_init("sparse_", (9, 4), 0.3, dtype=dtype)
    for shape in ((5, 3, 3), (4, 4, 3, 3), (6, 2, 3, 2, 4)):
        check_init("dirac_", shape, dtype=dtype, tolerance=0)
        if shape[0] % 2 == 0:
            check_init("dirac_", shape, 2, dtype=dtype, tolerance=0)
    check_init("eye_", (3, 5), dtype=dtype, tolerance=0)
    with pytest.warns(FutureWarning, match="`nn.init.constant` is now deprecated"):
        check_init("constant", (2,), 3.0, dtype=dtype)


@pytest.mark.parametrize("case", [
    lambda T, i: i.eye_(T.ones(3)), lambda T, i: i.dirac_(T.ones(3, 3)), lambda T, i: i.dirac_(T.ones(3, 3, 3), 2),
    lambda T, i: i.orthogonal_(T.ones(3)), lambda T, i: i.sparse_(T.ones(3), 0.1),
    lambda T, i: i.xavier_normal_(T.ones(3)), lambda T, i: i.kaiming_uniform_(T.ones(3, 3), mode="x"),
    lambda T, i: i.calculate_gain("x"), lambda T, i: i.calculate_gain("leaky_relu", "x"),
])
def test_wrong_init(case):
    assert agree(lambda T: case(T, T.nn.init))[0] == "ValueError"


def test_init_with_generators():
    for name in ("uniform_", "normal_", "trunc_normal_", "xavier_uniform_", "xavier_normal_", "kaiming_uniform_",
                 "kaiming_normal_", "orthogonal_"):
        made = []
        for T in PAIR:
            generator = T.Generator()
            generator.manual_seed(5)
            made.append(getattr(T.nn.init, name)(T.zeros(20, 20), generator=generator).numpy())
        np.testing.assert_allclose(*made, rtol=0, atol=2e-6)


# --- modules that learn their shapes from the first input

LAZY = [
    ("LazyLinear", (3,), {}, (2, 5)), ("LazyLinear", (3,), {"bias": False}, (2, 4, 5)),
    ("LazyConv1d", (4, 3), {}, (2, 6, 8)), ("LazyConv2d", (4, 3), {"padding": 1, "groups": 2}, (6, 5, 5)),
    ("LazyConv2d", (4, 3, 2, 1), {"bias": False}, (1, 3, 5, 5)), ("LazyConv3d", (2, 2), {}, (1, 3, 4, 4, 4)),
    ("LazyConvTranspose1d", (4, 3), {}, (2, 6, 8)), ("LazyConvTranspose2d", (4, 3, 2, 1, 1), {}, (2, 3, 4, 4)),
    ("LazyConvTranspose3d", (2, 2), {}, (1, 3, 2, 2, 2)), ("LazyBatchNorm1d", (), {}, (3, 4)),
    ("LazyBatchNorm2d", (), {"affine": False}, (2, 3, 4, 4)), ("LazyBatchNorm3d", (), {}, (2, 3, 2, 2, 2)),
    ("LazyInstanceNorm1d", (), {}, (2, 3, 4)), ("LazyInstanceNorm2d", (), {"track_running_stats": False}, (2, 3, 4, 4)),
    ("LazyInstanceNorm3d", (), {}, (2, 3, 2, 2, 2)), ("LazyLinear", (3,), {}, None), ("LazyConv1d", (3, 2), {}, (4,)),
    ("LazyConv1d", (4, 2), {"groups": 2}, (1, 3, 4)),
]


@pytest.mark.parametrize("case", LAZY, ids=lambda case: case[0])
def test_lazy(case):
    name, args, options, shape = case

    def run(T):
        layer = getattr(T.nn, name)(*args, **options)
        seen = [repr(layer), list(layer.state_dict()), layer.has_uninitialized_params()]
        if shape is None:
            other = T.nn.Linear(5, 3)
            layer.load_state_dict(other.state_dict())
            return [*seen, layer(T.ones(2, 5)), repr(layer)]
        x = T.tensor(np.random.default_rng(0).standard_normal(shape).astype("float32"))
        y = layer(x)
        y.square().sum().backward()
        gradients = [(p.grad * 1e-3).round(decimals=3) for p in layer.parameters()]
        return [*seen, (y * 1e-1).round(decimals=4), gradients, repr(layer), type(layer).__name__,
                len(layer._forward_pre_hooks), len(layer._load_state_dict_pre_hooks)]

    agree(run)
