"""Stage: tests. In: nn.utils: clipping, weights computed from others, pruning, packed sequences. Out: PyTorch 2.13's
values, gradients, state dictionaries and error texts.
Next: ``test_tensor_against_torch.py``."""

import importlib
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from minigrad import nn  # noqa: E402

PAIR = (minigrad, torch)

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def near(ours, theirs, tolerance=2e-6):
    ours, theirs = ours.detach().numpy(), theirs.detach().numpy()
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def pair(make, seed=0):
    """The same module of both libraries."""
    made = []
    for T in PAIR:
        T.manual_seed(seed)
        made.append(make(T))
    return made


def floats(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def same_training(ours, theirs, width, steps=3, tolerance=1e-5):
    """Losses, gradients and states agree over some steps of SGD."""
    x = floats(4, width)
    optimizers = [T.optim.SGD(m.parameters(), lr=0.1) for T, m in zip(PAIR, (ours, theirs), strict=True)]
    for _ in range(steps):
        for T, m, optimizer in zip(PAIR, (ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            (m(T.tensor(x)) ** 2).mean().backward()
        for (name, p), (peer, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
            assert name == peer
            near(p.grad, q.grad, tolerance)
        for optimizer in optimizers:
            optimizer.step()
    state, peer = ours.state_dict(), theirs.state_dict()
    assert list(state) == list(peer)
    for key, value in state.items():
        near(value, peer[key], tolerance)
    near(ours.eval()(minigrad.tensor(x)), theirs.eval()(torch.tensor(x)), tolerance)
    ours.train()
    theirs.train()


def outcome(function, T):
    try:
        return plain(function(T))
    except Exception as error:
        return type(error).__name__, str(error).replace("minigrad", "torch")


def plain(value):
    if isinstance(value, minigrad.Tensor | torch.Tensor):
        return value.detach().numpy().tolist(), str(value.dtype).replace("minigrad", "torch")
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value


def agree(function):
    ours, theirs = (outcome(function, T) for T in PAIR)
    assert ours == theirs
    return ours


# --- clipping


def parameters(T, dtypes, seed=0):
    made = []
    for i, (shape, dtype) in enumerate(zip(((3, 4), (5,), (2, 3, 2)), dtypes, strict=True)):
        p = T.nn.Parameter(T.zeros(*shape, dtype=getattr(T, dtype)))
        p.grad = T.tensor(floats(*shape, seed=seed + i) * 3).to(getattr(T, dtype))
        made.append(p)
    return made


@pytest.mark.parametrize("dtypes", [["float32"] * 3, ["float64"] * 3, ["float16"] * 3, ["bfloat16"] * 3,
                                    ["float32", "float16", "float32"], ["float64", "float32", "float32"]])
def test_clipping(dtypes):
    # Half types are rounded once where PyTorch rounds after each op, or the other way round: one place apart.
    tolerance = 3e-2 if "16" in "".join(dtypes) else 4e-6
    for norm_type in (2.0, 1.0, float("inf"), -float("inf"), 3.0, 0.5, 0):
        for limit in (0.1, 1e4):
            (mine, norm), (peers, peer) = ((made, T.nn.utils.clip_grad_norm_(made, limit, norm_type))
                                           for T in PAIR for made in (parameters(T, dtypes),))
            assert str(norm.dtype) == str(peer.dtype).replace("torch", "minigrad")
            assert abs(norm.item() - peer.item()) <= tolerance * peer.item()
            for p, q in zip(mine, peers, strict=True):
                near(p.grad.double(), q.grad.double(), tolerance)
    for limit in (0.5, 1.0):
        mine, peers = parameters(minigrad, dtypes), parameters(torch, dtypes)
        nn.utils.clip_grad_value_(mine, limit)
        torch.nn.utils.clip_grad_value_(peers, limit)
        for p, q in zip(mine, peers, strict=True):
            near(p.grad.double(), q.grad.double(), 0)


def test_clipping_apart():
    def run(T):
        made = parameters(T, ["float32"] * 3)
        gradients = [p.grad for p in made]
        norm = T.nn.utils.get_total_norm(gradients)
        T.nn.utils.clip_grads_with_norm_(made, 1.0, norm)
        assert made[0].grad is gradients[0]
        return [norm.item().__round__(4), made[0].grad.numpy().round(5).tolist(),
                T.nn.utils.clip_grad_norm_([], 1.0), T.nn.utils.get_total_norm([])]

    agree(run)


def test_clipping_what_is_not_finite():
    def run(T):
        p = T.nn.Parameter(T.ones(2))
        p.grad = T.tensor([1.0, float("inf")])
        return T.nn.utils.clip_grad_norm_(p, 1.0, error_if_nonfinite=True)

    assert agree(run)[0] == "RuntimeError"


# --- parameters and vectors


def test_vectors():
    def run(T):
        made = [T.nn.Parameter(T.ones(2, 2)), T.nn.Parameter(T.zeros(3))]
        vector = T.nn.utils.parameters_to_vector(made)
        new = T.arange(7.0)
        T.nn.utils.vector_to_parameters(new, made)
        new[0] = 50.0
        return [vector, vector.requires_grad, *made, made[0].requires_grad]

    agree(run)
    agree(lambda T: T.nn.utils.vector_to_parameters([1], []))


# --- weights computed from others


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("new", [False, True])
def test_weight_norm(dim, new):
    def make(T):
        utils = T.nn.utils
        return (utils.parametrizations.weight_norm if new else utils.weight_norm)(T.nn.Linear(5, 3), dim=dim)

    ours, theirs = pair(make)
    assert repr(ours) == repr(theirs)
    same_training(ours, theirs, 5)
    for T, m in zip(PAIR, (ours, theirs), strict=True):
        if new:
            T.nn.utils.parametrize.remove_parametrizations(m, "weight")
        else:
            T.nn.utils.remove_weight_norm(m)
    same_training(ours, theirs, 5)


@pytest.mark.parametrize("dim", [None, 1])
@pytest.mark.parametrize("new", [False, True])
def test_spectral_norm(dim, new):
    def make(T):
        kind = T.nn.utils.parametrizations.spectral_norm if new else T.nn.utils.spectral_norm
        return kind(T.nn.Linear(5, 3), dim=dim, n_power_iterations=2)

    ours, theirs = pair(make)
    same_training(ours, theirs, 5)
    fresh = pair(make, seed=1)[0]
    fresh.load_state_dict(ours.state_dict())
    x = minigrad.tensor(floats(4, 5))
    near(fresh.eval()(x), ours.eval()(x), 1e-6)
    ours.train()
    for T, m in zip(PAIR, (ours, theirs), strict=True):
        if new:
            T.nn.utils.parametrize.remove_parametrizations(m, "weight")
        else:
            T.nn.utils.remove_spectral_norm(m)
    assert not ours._state_dict_hooks
    assert not ours._load_state_dict_pre_hooks  # which PyTorch leaves there
    same_training(ours, theirs, 5)


@pytest.mark.sample(6)
@pytest.mark.parametrize("shape", [(5, 5), (5, 3), (3, 5)])
@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder", None])
@pytest.mark.parametrize("trivial", [True, False])
def test_orthogonal(shape, kind, trivial):
    ours, theirs = pair(lambda T: T.nn.utils.parametrizations.orthogonal(
        T.nn.Linear(*shape), orthogonal_map=kind, use_trivialization=trivial))
    same_training(ours, theirs, shape[0], tolerance=2e-5)
    weight = ours.weight.detach().numpy()
    product = weight @ weight.T if shape[1] < shape[0] else weight.T @ weight
    np.testing.assert_allclose(product, np.eye(len(product)), rtol=0, atol=1e-5)
    if trivial or kind == "householder":
        wanted = np.linalg.qr(floats(max(shape), min(shape), seed=1))[0]
        wanted = wanted if shape[1] >= shape[0] else wanted.T
        for T, m in zip(PAIR, (ours, theirs), strict=True):
            T.manual_seed(1)
            m.weight = T.tensor(np.ascontiguousarray(wanted))
        near(ours.weight, theirs.weight, 1e-5)
        np.testing.assert_allclose(ours.weight.detach().numpy(), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["matrix_exp", "inverse"])
def test_matrix_functions(name):
    made = []
    for T in PAIR:
        x = T.tensor(np.random.default_rng(2).standard_normal((2, 3, 3)), requires_grad=True)
        y = getattr(T, name)(x)
        gradient, = T.autograd.grad((y ** 2).sum(), x, create_graph=True)
        (gradient ** 2).sum().backward()
        made.append((y, gradient, x.grad))
    for ours, theirs in zip(*made, strict=True):
        near(ours, theirs, 1e-9 * float(theirs.detach().abs().max()))


def parametrize_program(T):
    P = T.nn.utils.parametrize

    class Double(T.nn.Module):
        def forward(self, x):
            return x * 2

        def right_inverse(self, x):
            return x / 2

    class Plain(T.nn.Module):
        def forward(self, x):
            return x + 1

    class Split(T.nn.Module):
        def forward(self, a, b):
            return a + b

        def right_inverse(self, x):
            return x / 4, x * 3 / 4

    class Wider(T.nn.Module):
        def forward(self, x):
            return T.cat([x, x])

    class Cast(T.nn.Module):
        def forward(self, x):
            return x.double()

    seen = []

    def tried(action):
        try:
            seen.append(plain(action()))
        except Exception as error:
            seen.append((type(error).__name__, str(error).replace("minigrad", "torch")))

    m = T.nn.Linear(2, 2)
    with T.no_grad():
        m.weight.copy_(T.tensor([[1.0, 2.0], [3.0, 4.0]]))
        m.bias.zero_()
    m.register_buffer("other", T.ones(2))
    tried(lambda: P.is_parametrized(m))
    P.register_parametrization(m, "weight", Double())
    tried(lambda: [repr(m), [n for n, _ in m.named_parameters()], list(m.state_dict()), m.weight, type(m).__name__,
                   P.type_before_parametrizations(m).__name__, P.is_parametrized(m, "weight"), P.is_parametrized(m)])
    P.register_parametrization(m, "weight", Plain())
    P.register_parametrization(m, "bias", Split())
    P.register_parametrization(m, "other", Double())
    tried(lambda: [m.weight, m.bias, m.other, list(m.state_dict()), m(T.ones(2))])
    tried(lambda: setattr(m, "weight", T.ones(2, 2)))
    tried(lambda: setattr(m, "bias", T.tensor([4.0, 8.0])))
    tried(lambda: [m.bias, m.parametrizations.bias.original0, m.parametrizations.bias.original1])
    tried(lambda: P.register_parametrization(m, "weight", Wider()))
    tried(lambda: P.register_parametrization(m, "weight", Cast()))
    tried(lambda: P.register_parametrization(T.nn.Linear(2, 2), "weight", Wider()))
    tried(lambda: P.register_parametrization(T.nn.Linear(2, 2), "weight", Cast()))
    tried(lambda: P.register_parametrization(m, "nothing", Double()))
    tried(lambda: P.remove_parametrizations(m, "bias", leave_parametrized=False))
    tried(lambda: P.remove_parametrizations(m, "nothing"))
    tried(lambda: P.ParametrizationList([], T.ones(1)))
    with P.cached():
        tried(lambda: m.weight is m.weight)
    tried(lambda: m.weight is m.weight)
    import copy
    twin = copy.deepcopy(m)
    tried(lambda: [twin.weight, twin.bias, type(twin).__name__])
    tried(lambda: copy.copy(m) and None)
    tried(lambda: P.remove_parametrizations(m, "weight") and None)
    tried(lambda: [m.weight, isinstance(m.weight, T.nn.Parameter), type(m).__name__])
    tried(lambda: P.remove_parametrizations(m, "bias") and None)
    tried(lambda: P.remove_parametrizations(m, "other", leave_parametrized=False) and None)
    tried(lambda: [m.bias, m.other, type(m).__name__, list(m.state_dict()), hasattr(m, "parametrizations")])
    tried(lambda: [n for n, _ in P.transfer_parametrizations_and_params(twin, T.nn.Linear(2, 2), "weight")
                   .named_parameters()])
    return seen


def test_parametrize():
    assert len(agree(parametrize_program)) > 20


# --- functional calls


def test_functional_call():
    def run(T):
        call = T.nn.utils.stateless.functional_call
        m = T.nn.Sequential(T.nn.Linear(2, 1, bias=False), T.nn.Linear(1, 1))
        m.tied = m[0]
        for p in m.parameters():
            T.nn.init.ones_(p)
        seen, x = [], T.ones(1, 2)
        before = m[0].weight
        seen += [call(m[:2], {"0.weight": T.ones(1, 2) * 3}, x), m[0].weight is before]
        for given, strict in (({"9.weight": x}, False), ({"0.weight": 3}, False), ({"0.weight": x}, True),
                              ({"0.none": x}, True), ({"0.weight": x, "tied.weight": x * 2}, False)):
            try:
                seen.append(call(m, given, (x,), strict=strict))
            except Exception as error:
                seen.append((type(error).__name__, str(error).split("\n\t")))
        return seen

    ours, theirs = (outcome(run, T) for T in PAIR)
    assert ours == theirs


def test_skip_init():
    for T in PAIR:
        T.manual_seed(0)
        m = T.nn.utils.skip_init(T.nn.Linear, 3, 4, bias=False)
        assert T.rand(1).item() == pytest.approx(0.4962566)
        assert m.weight.shape == (4, 3)
        with pytest.raises(RuntimeError, match="Module must support a 'device' arg"):
            T.nn.utils.skip_init(T.nn.ReLU)
        with pytest.raises(RuntimeError, match="Expected a Module"):
            T.nn.utils.skip_init(int)


def test_fusion():
    for transpose in (False, True):
        weight, bias = floats(3, 4, 2), floats(4 if transpose else 3, seed=1)
        rest = [np.abs(floats(len(bias), seed=i)) for i in range(2, 6)]
        made = []
        for T in PAIR:
            w, b, mean, var, scale, shift = (T.tensor(a) for a in (weight, bias, *rest))
            made.append([*T.nn.utils.fuse_conv_bn_weights(w, b, mean, var, 1e-3, scale, shift, transpose),
                         *T.nn.utils.fuse_conv_bn_weights(w, None, mean, var, 1e-3, None, None, transpose),
                         *T.nn.utils.fuse_linear_bn_weights(T.tensor(weight[:, :, 0]), T.tensor(floats(3)),
                                                            *[t[:3] for t in (mean, var)], 1e-3, scale[:3],
                                                            shift[:3])])
        for ours, theirs in zip(*made, strict=True):
            near(ours, theirs)


# --- pruning

PRUNINGS = [
    lambda prune, m: prune.random_unstructured(m, "weight", 0.4),
    lambda prune, m: prune.l1_unstructured(m, "weight", 7),
    lambda prune, m: prune.random_structured(m, "weight", 2, 0),
    lambda prune, m: prune.ln_structured(m, "weight", 0.4, 2, 1),
    lambda prune, m: prune.ln_structured(m, "weight", 1, float("inf"), -1),
    lambda prune, m: prune.identity(m, "bias"),
    lambda prune, m: prune.global_unstructured([(m, "weight"), (m, "bias")], prune.L1Unstructured, amount=0.3),
]


@pytest.mark.parametrize("first", range(len(PRUNINGS)))
def test_prune(first):
    modules = [importlib.import_module(f"{T.__name__}.nn.utils.prune") for T in PAIR]
    for second in PRUNINGS[first % 2::2]:
        ours, theirs = pair(lambda T: T.nn.Linear(6, 5))
        for T, prune, m in zip(PAIR, modules, (ours, theirs), strict=True):
            T.manual_seed(5)
            PRUNINGS[first](prune, m)
            second(prune, m)
            assert prune.is_pruned(m)
        same_training(ours, theirs, 6, steps=2)
        for prune, m in zip(modules, (ours, theirs), strict=True):
            for name in ("weight", "bias"):
                if hasattr(m, f"{name}_mask"):
                    prune.remove(m, name)
            assert not prune.is_pruned(m)
        near(ours.weight, theirs.weight, 1e-5)


@pytest.mark.parametrize("case", [
    lambda prune, m: prune.l1_unstructured(m, "weight", "x"), lambda prune, m: prune.l1_unstructured(m, "weight", -1),
    lambda prune, m: prune.l1_unstructured(m, "weight", 1.5), lambda prune, m: prune.l1_unstructured(m, "weight", 900),
    lambda prune, m: prune.random_structured(m, "bias", 1, 0), lambda prune, m: prune.remove(m, "weight"),
    lambda prune, m: prune.random_structured(m, "weight", 1, 5), lambda prune, m: prune.global_unstructured(3, 3),
    lambda prune, m: prune.global_unstructured([(m, "weight")], prune.RandomStructured, amount=1),
])
def test_wrong_pruning(case):
    def run(T):
        return case(importlib.import_module(f"{T.__name__}.nn.utils.prune"), T.nn.Linear(3, 3))

    assert agree(run)[0].endswith("Error")


# --- sequences


@pytest.mark.parametrize("lengths", [[4, 2, 1], [2, 4, 1], [4, 2], [4, 2, 0], [3, 2, 1], [1, 1, 1], [4, 4, 4]])
def test_packing(lengths):
    for in_order in (True, False):
        for batch_first in (True, False):
            def run(T, in_order=in_order, batch_first=batch_first):
                R = T.nn.utils.rnn
                x = T.arange(24.0).reshape(4, 3, 2)
                packed = R.pack_padded_sequence(x.transpose(0, 1) if batch_first else x, lengths, batch_first, in_order)
                return [packed, R.pad_packed_sequence(packed), R.pad_packed_sequence(packed, True, -1.5, 6),
                        R.unpack_sequence(packed), packed.to(T.float64), packed.double().cpu().is_cuda]

            agree(run)


SEQUENCES = [
    lambda T, R: R.pad_sequence([T.ones(2, 3), T.ones(4)]), lambda T, R: R.pad_sequence([T.ones(2, 3), T.ones(4, 2)]),
    lambda T, R: R.pad_sequence([]), lambda T, R: R.pad_sequence([1]), lambda T, R: R.pad_sequence(3),
    lambda T, R: R.pad_sequence([T.tensor([1, 2]), T.tensor([3.0])], padding_value=0.5),
    lambda T, R: R.pad_sequence([T.tensor([1, 2]), T.tensor([3])], padding_value=0.5),
    lambda T, R: R.pad_sequence([T.tensor([True, True]), T.tensor([False])], padding_value=True),
    lambda T, R: R.pad_sequence(T.ones(2, 3), True),
    lambda T, R: R.pack_sequence([T.ones(1), T.ones(3)]),
    lambda T, R: R.pack_sequence([T.ones(1), T.ones(3)], False),
    lambda T, R: R.pack_padded_sequence(T.zeros(0, 3), [5, 2, 1]), lambda T, R: R.pack_padded_sequence(T.ones(3), [3]),
    lambda T, R: R.pad_packed_sequence(R.pack_sequence([T.ones(3)]), total_length=2),
    lambda T, R: R.PackedSequence(T.ones(1)), lambda T, R: R.PackedSequence((T.ones(1), T.tensor([1]))),
    lambda T, R: (lambda x: [R.unpad_sequence(x, T.tensor([4, 2, 1])), list(x.shape)])(T.arange(12).reshape(4, 3)),
]


@pytest.mark.parametrize("number", range(len(SEQUENCES)))
def test_sequences(number):
    agree(lambda T: SEQUENCES[number](T, T.nn.utils.rnn))


def test_padding_sides():
    for lengths in ((3, 1, 2), (1,), (0, 2), (0, 0), (2, 2)):
        for side in ("left", "right", "x"):
            for batch_first in (False, True):
                agree(lambda T, n=lengths, s=side, b=batch_first: T.nn.utils.rnn.pad_sequence(
                    [T.arange(k * 2).reshape(k, 2) for k in n], b, 7, s))


def test_gradients_through_sequences():
    def run(T):
        R = T.nn.utils.rnn
        x = T.arange(24.0).reshape(4, 3, 2).requires_grad_()
        packed = R.pack_padded_sequence(x, [2, 4, 1], enforce_sorted=False)
        (R.pad_packed_sequence(packed)[0] ** 2).sum().backward()
        parts = [T.ones(k, 2).requires_grad_() for k in (1, 3, 2)]
        (R.pad_sequence(parts) ** 2 * 3).sum().backward()
        return [x.grad, *[part.grad for part in parts]]

    agree(run)


# --- several devices


def test_parallel():
    def run(T):
        T.manual_seed(0)
        m = T.nn.DataParallel(T.nn.Linear(2, 1))
        return [list(m.state_dict()), repr(m), m(T.ones(1, 2)), m.device_ids]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agree(run)
    with pytest.raises(ValueError, match="Default process group has not been initialized"):
        nn.parallel.DistributedDataParallel(nn.Linear(1, 1))
    with pytest.raises(NotImplementedError, match="DataParallel on 2 devices"):
        nn.DataParallel(nn.Linear(1, 1), device_ids=[0, 1])
