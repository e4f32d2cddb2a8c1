"""Stage: tests of the front. In: Tensors, modules and optimizers on several devices. Out: they move, gradients move
with them, and what is on different devices does not mix unasked. CC stands for a device that is not the CPU; BOX is one
whose memory the host can't reach (``conftest.py``).
Next: ``test_dlpack.py``."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable

import numpy as np
import pytest

import minigrad
import minigrad.nn.functional as F
from minigrad import nn, optim
from minigrad.runtime.buffer import Buffer
from minigrad.runtime.device import get_device


@pytest.fixture(autouse=True)
def _box(hidden_device: Callable[[str], type]) -> None:
    hidden_device("BOX")


EVERY = pytest.mark.parametrize("device", ["cc", "numpy", "box", "box:1"])


# --- names


def test_device_objects() -> None:
    assert repr(minigrad.device("cpu")) == "device(type='cpu')" and str(minigrad.device("CPU", 0)) == "cpu:0"
    assert repr(minigrad.device("cuda:1")) == "device(type='cuda', index=1)" == repr(minigrad.device("cuda", 1))
    assert minigrad.device("cuda").index is None and minigrad.device("cuda:1").type == "cuda"
    assert minigrad.device("cuda:1") != minigrad.device("cuda:0") == minigrad.device("cuda")
    assert pickle.loads(pickle.dumps(minigrad.device("cuda:1"))) == minigrad.device("cuda:1")
    for wrong in ("nonsense", "cpu:x"):
        with pytest.raises(RuntimeError, match=f"{wrong}'?$"):
            minigrad.device(wrong)
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        minigrad.device("cpu:1")


def test_where_a_tensor_says_it_is() -> None:
    assert str(minigrad.ones(2).device) == "cpu" and minigrad.ones(2).device.index is None
    t = minigrad.ones(2, device="box:1")
    assert repr(t.device) == "device(type='box', index=1)" and t.get_device() == 1
    assert minigrad.ones(2, device="box").device == minigrad.device("box:0") and not t.is_cuda
    assert repr(t) == "tensor([1., 1.], device='box:1')"
    assert repr(minigrad.ones(2, device="cc")) == "tensor([1., 1.], device='cc')"


@pytest.mark.skipif(any(d.name == "CUDA" and d.available for d in minigrad.devices()), reason="this machine has CUDA")
def test_a_device_that_is_not_there_is_refused_at_the_call() -> None:
    for ask in (lambda: minigrad.ones(2, device="cuda"), lambda: minigrad.ones(2).cuda(),
                lambda: minigrad.ones(2).to(0),
                lambda: nn.Linear(2, 2).cuda(), lambda: minigrad.tensor([1], device="cuda:1"),
                lambda: nn.Linear(2, 2, device="cuda")):
        with pytest.raises(RuntimeError, match="device CUDA(:1)? is not available on this machine"):
            ask()


def test_a_generator_serves_every_device() -> None:
    for place in ("cpu", "box", minigrad.device("cc")):
        generator = minigrad.Generator(device=place).manual_seed(42)
        assert generator.device == minigrad.device(place)
        drawn = minigrad.rand(2, generator=generator, device=place)
        assert drawn.device == generator.device and drawn.tolist() == pytest.approx([0.88226926, 0.91500396])
    with pytest.raises(RuntimeError, match="at start of device string: nonsense"):
        minigrad.Generator(device="nonsense")


# --- making and moving


CREATE = ["zeros(2)", "ones(2)", "empty(2)", "full((2,), 3)", "tensor([1, 2])", "as_tensor([1.0])", "arange(3)",
          "range(1, 3)", "linspace(0, 1, 3)", "logspace(0, 1, 3)", "eye(2)", "rand(2)", "randn(2)", "randint(3, (2,))",
          "randperm(3)", "scalar_tensor(1)", "tril_indices(2, 2)", "normal(0.0, 1.0, (2,))", "zeros_like(like)",
          "ones_like(like)", "full_like(like, 2)", "rand_like(like)", "randn_like(like)", "FloatTensor([1])",
          "as_tensor(np.ones(2))", "asarray(np.ones(2))"]


@EVERY
@pytest.mark.parametrize("call", CREATE)
def test_creation(call: str, device: str) -> None:
    names = {**vars(minigrad), "np": np, "like": minigrad.ones(2)}
    expected = eval(call, names)
    minigrad.manual_seed(3)
    here = eval(call, names)
    minigrad.manual_seed(3)
    there = eval(f"{call[:-1]}, device=device)", {**names, "device": device})
    assert there.device == minigrad.device(device) and there.dtype is expected.dtype
    if call != "empty(2)":
        assert there.tolist() == here.tolist()  # random numbers too: they are drawn on the host
    with minigrad.device(device):
        assert eval(call, names).device == minigrad.device("cpu" if "like" in call else device)
    assert here.new_ones(2, device=device).device == here.to(device).new_zeros(1).device == there.device


@EVERY
def test_there_and_back(device: str) -> None:
    for dtype in (minigrad.float32, minigrad.int64, minigrad.bool, minigrad.float16):
        for x in (minigrad.ones(2, 3), minigrad.tensor(1.0), minigrad.zeros(0, 2), minigrad.arange(6.0)[1::2]):
            x = x.to(dtype)
            y = x.to(device)
            assert y.device == minigrad.device(device) and y.dtype is dtype and y.cpu().tolist() == x.tolist()
            assert (y == y).all().item() and y.to(device) is y and y.to(device, copy=True) is not y
    x = minigrad.arange(6.0).reshape(2, 3)
    y = x.to(device, minigrad.float64)
    assert y.dtype is minigrad.float64 and y.T[1:].cpu().tolist() == [[1, 4], [2, 5]]
    assert x.to(y).dtype is minigrad.float64 and x.type_as(y).device == y.device


@EVERY
def test_a_moved_tensor_has_memory_of_its_own(device: str) -> None:
    """Whether or not the bytes were copied: no write on one side shows on the other."""
    for make in (lambda: minigrad.rand(64) + 0, lambda: minigrad.rand(4, 16).T):
        x = make()
        before = x.tolist()
        y = x.to(device)
        minigrad.realize(x, y)
        z = y.cpu()
        x.add_(1)
        x[:3] = 7
        assert y.tolist() == before == z.tolist()
        y.mul_(0)
        assert z.tolist() == before and y.sum().item() == 0 and x.flatten()[0].item() == 7
        seen = z.numpy()
        w = z.to(device)
        seen[:] = -1
        assert w.tolist() == before
        w += 5
        assert (seen == -1).all() and z.tolist() == seen.tolist()


@EVERY
def test_exporting_after_a_move(device: str) -> None:
    x = minigrad.rand(8) + 0
    y = x.to(device)
    minigrad.realize(y)
    before = x.tolist()
    seen = x.numpy()
    seen[:] = 3
    assert x.tolist() == [3] * 8 and y.tolist() == before
    if get_device(y.device.name).host_memory:
        x = x.clone()
        y = x.to(device).realize()
        y.numpy()[:] = 4
        assert x.tolist() == [3] * 8 and y.tolist() == [4] * 8


def buffer_of(tensor: minigrad.Tensor) -> Buffer:
    return tensor._storage.lazy.buffer


def test_devices_on_host_memory_share_it() -> None:
    names = [d.name for d in minigrad.devices() if d.available and get_device(d.name).host_memory]
    assert {"CPU", "CC", "NUMPY"} <= set(names)  # and OPENCL, where its driver is for the processor
    for name in names[1:]:
        x = (minigrad.rand(1024) + 0).realize()
        y = x.to(name).realize()
        z = y.to("cc" if name == "NUMPY" else "numpy").realize()
        assert buffer_of(x) is buffer_of(y) is buffer_of(z)
        before, at = x.tolist(), buffer_of(x).address
        x.add_(1).realize()
        assert buffer_of(x).address != at and y.tolist() == z.tolist() == before
        y.mul_(2).realize()
        assert y.tolist() == [2 * v for v in before] and z.tolist() == before


def test_what_is_not_shared() -> None:
    array = np.zeros(1024, np.float32)
    x = minigrad.from_numpy(array)
    y = x.to("cc").realize()
    array[:] = 1
    assert y.sum().item() == 0
    view = (minigrad.arange(1024.0) + 0).realize()[:4]
    small = view.to("cc").realize()
    assert buffer_of(small).nbytes == 16  # a part must not keep the whole
    wide = minigrad.ones(512, 512)
    seen = wide.numpy()
    there = wide.to("cc")
    seen[:] = 2
    assert there.sum().item() == 512 * 512
    box = (minigrad.rand(4) + 0).realize()
    assert buffer_of(box) is not buffer_of(box.to("box").realize())


@EVERY
def test_gradients_flow_through_moves(device: str) -> None:
    x = minigrad.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x.to(device)
    assert y.grad_fn.name() == "ToCopyBackward0" and y.requires_grad
    (y * y).sum().to("cpu").backward()
    assert x.grad.tolist() == [2, 4, 6] and x.grad.device == minigrad.device("cpu")
    w = minigrad.ones(3, device=device, requires_grad=True)
    for _ in range(2):
        loss = ((x * 2).to(device) * w).sum().cpu() + x.sum()
        loss.backward()
    assert w.grad.tolist() == [4, 8, 12] and w.grad.device == w.device and x.grad.tolist() == [8, 10, 12]
    first, = minigrad.autograd.grad((x.to(device) ** 3).sum(), x, create_graph=True)
    assert minigrad.autograd.grad(first.sum(), x)[0].tolist() == [6, 12, 18]
    s = minigrad.tensor(2.0, requires_grad=True)
    (s * w).sum().backward()
    assert s.grad.item() == 3 and s.grad.device == minigrad.device("cpu")


@EVERY
@pytest.mark.parametrize("early", [False, True], ids=["pending", "realised"])
def test_gradients_of_copies_inside_an_op(device: str, early: bool) -> None:
    """A copy is realised before what reads it; if that happens before backward, the way back must still be known."""
    def numbers(s: minigrad.Tensor, x: minigrad.Tensor) -> minigrad.Tensor:
        return (x * s).exp().sum() + minigrad.where(x > 5, x, s).sum() + x.addcmul(x, s).sum()

    def written(s: minigrad.Tensor, x: minigrad.Tensor) -> minigrad.Tensor:
        y = x * 1
        y.copy_(s * 2)
        y[[0, 1]] = s
        return (y * y).sum()

    def cast(s: minigrad.Tensor, x: minigrad.Tensor) -> minigrad.Tensor:
        return (s * s).to(device, minigrad.float64).sum() + x.sum()

    for program in (numbers, written, cast):
        results = []
        for place in ("cpu", device):
            s = minigrad.tensor(1.5, requires_grad=True)
            y = program(s, minigrad.ones(3, device=place))
            if early:
                y.item()
            first, = minigrad.autograd.grad(y, s, create_graph=True)
            if early:
                first.item()
            results.append((first.item(), minigrad.autograd.grad(first * first, s)[0].item()))
        assert results[1] == pytest.approx(results[0]) and 0 not in results[0]


@EVERY
def test_composites_on_several_devices(device: str) -> None:
    """A body that copies, or asks the host, is recorded op by op."""
    @minigrad.composite
    def scaled(x: minigrad.Tensor, by: minigrad.Tensor) -> minigrad.Tensor:
        return x * by + 1

    @minigrad.composite
    def there(x: minigrad.Tensor) -> tuple[minigrad.Tensor, minigrad.Tensor]:
        return x.to(device) * 2, x.sort()[0]

    assert scaled(minigrad.ones(3, device=device), minigrad.tensor(2.0)).tolist() == [3.0] * 3
    for _ in range(2):
        x = minigrad.tensor([3.0, 1.0], requires_grad=True)
        moved, ordered = there(x)
        assert moved.device == minigrad.device(device) and moved.tolist() == [6, 2] and ordered.tolist() == [1, 3]
        (moved.sum().cpu() + (ordered * minigrad.tensor([1.0, 10.0])).sum()).backward()
        assert x.grad.tolist() == [12, 3]
    loss = F.binary_cross_entropy_with_logits(minigrad.ones(3, device=device), minigrad.ones(3, device=device),
                                              pos_weight=minigrad.tensor(2.0))
    assert loss.item() == pytest.approx(2 * np.log1p(np.exp(-1)))


# --- memory that NumPy can't see


def test_numpy_wants_host_memory() -> None:
    t = minigrad.ones(2, device="box:1")
    with pytest.raises(TypeError, match=r"can't convert box:1 device type tensor to numpy. Use Tensor.cpu\(\) "):
        t.numpy()
    with pytest.raises(TypeError, match="can't convert box:1"):
        np.asarray(t)
    assert t.numpy(force=True).tolist() == t.cpu().numpy().tolist() == [1, 1] and t.sum().item() == 2
    with pytest.raises(ValueError, match="Unknown device type box for Dlpack"):
        t.__dlpack_device__()
    assert t[1:].data_ptr() == t.data_ptr() + 4 and t.data_ptr() >= get_device("box:1").memory.shift
    with minigrad.device("box"):
        a = np.zeros(2)
        assert str(minigrad.from_numpy(a).device) == "cpu" and minigrad.from_dlpack(a).device.type == "cpu"
        assert minigrad.as_tensor(a).device.type == "box"


def test_views_and_writes_on_memory_of_a_device() -> None:
    t = minigrad.arange(12.0, device="box").reshape(3, 4)
    t[1] = minigrad.zeros(4)  # copied over, as PyTorch does
    t[:, 0] += 1
    t.T[3].mul_(2)
    assert t.tolist() == [[1, 1, 2, 6], [1, 0, 0, 0], [9, 9, 10, 22]]
    assert t[minigrad.tensor([2, 0])].tolist() == t.cpu()[[2, 0]].tolist() and t[t > 9].tolist() == [10, 22]
    t.copy_(minigrad.ones(4))
    assert t.sum().item() == 12 and t.device.type == "box"


# --- mixing


A, B = "minigrad.ones(3, 3)", "minigrad.ones(3, 3, device=d)"
I, J = "minigrad.tensor([0, 1, 2])", "minigrad.tensor([0, 1, 2], device=d)"
S, Z = "minigrad.tensor(2.0)", "minigrad.tensor(2.0, device=d)"
MIXED = [
    "A + B", "B + A", "A * B", "A < B", "A ** B", "A + Z", "Z * A", "minigrad.maximum(A, B)", "A.clamp(B, B)",
    "minigrad.where(A > 0, B, A)", "minigrad.where(B > 0, A, 0.0)", "minigrad.addcmul(A, B, A)", "A.lerp(B, 0.5)",
    "A @ B", "B @ A", "minigrad.mm(A, B)", "minigrad.bmm(A[None], B[None])", "minigrad.addmm(A, A, B)", "A @ B[0]",
    "minigrad.addmm(B, A, A)", "minigrad.dot(A[0], B[0])", "minigrad.outer(A[0], B[0])",
    "minigrad.einsum('ij,jk->ik', A, B)", "minigrad.cat([A, B])", "minigrad.stack([A, B])", "minigrad.stack([S, Z])",
    "minigrad.hstack([A, B])", "A.gather(0, J[None])", "A.index_select(0, J)", "A.scatter(0, J[None], 1.0)",
    "A.scatter_add(0, I[None], B)", "A.index_add(0, J, A)", "A.index_add(0, I, B)",
    "minigrad.isin(A, B)",
    "A.masked_fill(B > 0, 1.0)", "A.take_along_dim(J[None], 0)", "A.index_put((I,), B)",
    "A.add_(B)", "A.addcmul_(B, B)", "A.masked_fill_(B > 0, 1.0)", "S.add_(Z)", "A.__iadd__(B)",
    "A.__setitem__(I, B)", "F.mse_loss(A, B)", "F.l1_loss(A, B)", "F.cross_entropy(A, J)",
    "F.nll_loss(A, J)", "F.binary_cross_entropy(A, B)", "F.binary_cross_entropy_with_logits(A, B)", "F.linear(A, B)",
    "F.linear(A, A, B[0])", "F.layer_norm(A, (3,), B[0], B[0])", "nn.Linear(3, 3)(B)",
]


@pytest.mark.parametrize("program", MIXED)
def test_mixing_devices(program: str) -> None:
    for d, name in (("cc", "cc"), ("box:1", "box:1")):
        names = {"minigrad": minigrad, "F": F, "nn": nn}
        names |= {n: eval(text, {**names, "d": d}) for n, text in dict(A=A, B=B, I=I, J=J, S=S, Z=Z).items()}
        with pytest.raises(RuntimeError) as found:
            eval(program, names)
        assert str(found.value) in [
            "Expected all tensors to be on the same device, but found at least two devices, "
            f"{' and '.join(pair)}!" for pair in ((name, "cpu"), ("cpu", name))]


def test_the_device_named_first() -> None:
    """Elementwise ops take a device's side, as PyTorch's; others name operands in order."""
    a, b = minigrad.ones(2, 2), minigrad.ones(2, 2, device="box")
    for make in (lambda: a + b, lambda: b + a):
        with pytest.raises(RuntimeError, match="at least two devices, box:0 and cpu!"):
            make()
    with pytest.raises(RuntimeError, match="at least two devices, cpu and box:0!"):
        a @ b


@EVERY
def test_numbers_of_the_cpu_mix_with_all(device: str) -> None:
    s, b = minigrad.tensor(2.0), minigrad.ones(3, 3, device=device)
    for result in (s + b, b * s, b - s, minigrad.maximum(s, b), minigrad.where(b > 5, b, s), b.addcmul(s, b),
                   b.masked_fill(b > 0, s), b.clone().mul_(s), s + b[0, 0], minigrad.where(s > 0, b, b)):
        assert result.device == b.device and result.cpu().realize() is not None
    assert (s * b).tolist() == [[2.0] * 3] * 3 and (s + b.sum()).item() == 11
    b[s.long()] = s
    assert b.tolist() == [[1] * 3, [1] * 3, [2] * 3] and b.fill_(s).sum().item() == 18
    for other in (minigrad.ones(3), minigrad.ones(3, device="cc" if device != "cc" else "numpy")):
        with pytest.raises(RuntimeError, match="same device"):
            other + b[0, 0]


def test_indices() -> None:
    a, b = minigrad.arange(9.0).reshape(3, 3), minigrad.arange(9.0, device="box").reshape(3, 3)
    there = minigrad.tensor([0, 2], device="box")
    message = r"indices should be either on cpu or on the same device as the indexed tensor \(cpu\)"
    for use in (lambda: a[there], lambda: a[b > 3], lambda: a.__setitem__(there, 1.0),
                lambda: a.__setitem__(b > 3, 1.0)):
        with pytest.raises(RuntimeError, match=message):
            use()
    here = minigrad.tensor([0, 2])
    assert b[here].tolist() == a[here].tolist() and b[a > 3].tolist() == [4, 5, 6, 7, 8]
    b[here] = 0.0
    b[a == 4] = -1.0
    assert b.tolist() == [[0, 0, 0], [3, -1, 5], [0, 0, 0]]
    with pytest.raises(RuntimeError, match="should have same device type, but got boundaries tensor device type cpu"):
        minigrad.searchsorted(a[0], b)


def test_gradients_on_the_wrong_device() -> None:
    x = minigrad.ones(3, requires_grad=True)
    there = minigrad.ones(3, device="cc")
    with pytest.raises(RuntimeError, match="invalid gradient at index 0 - expected device cpu but got cc"):
        (x * 1).backward(there)
    with pytest.raises(RuntimeError, match="attempting to assign a gradient with device type 'cc' to a tensor with "):
        x.grad = there


# --- modules and optimizers


OPTIMIZERS = [lambda p: optim.SGD(p, 0.5, momentum=0.9), lambda p: optim.AdamW(p, 0.1, amsgrad=True)]


def train(device: str, make, move_at: int | None = None, to: str = "cpu"):
    minigrad.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3)).to(device)
    optimizer = make(net.parameters())
    parameters = list(net.parameters())
    x, y = minigrad.randn(16, 4), minigrad.randint(0, 3, (16,))
    losses = []
    for step in range(5):
        if step == move_at:
            net.to(to)
            device = to
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x.to(device)), y.to(device))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(p is q for p, q in zip(parameters, net.parameters(), strict=True))
    return losses, net, optimizer


@pytest.mark.sample(3)
@pytest.mark.parametrize("make", OPTIMIZERS, ids=["sgd", "adamw"])
@EVERY
def test_training_on_a_device_and_moving_on_the_way(make, device: str) -> None:
    expected = train("cpu", make)[0]
    assert np.allclose(train(device, make)[0], expected, 1e-5)
    losses, net, optimizer = train("cpu", make, 2, device)
    assert np.allclose(losses, expected, 1e-5)
    assert {p.device for p in net.parameters()} == {minigrad.device(device)}
    states = [(k, v) for e in optimizer.state.values() for k, v in e.items() if isinstance(v, minigrad.Tensor)]
    assert states and {v.device for k, v in states if k != "step"} == {minigrad.device(device)}
    assert {v.device.type for k, v in states if k == "step"} <= {"cpu"}  # as in PyTorch: it is counted in Python


@pytest.mark.parametrize("make", OPTIMIZERS, ids=["sgd", "adamw"])
@EVERY
def test_loading_across_devices_copies(make, device: str) -> None:
    _, net, optimizer = train(device, make)
    _, other, its = train("cpu", make, 1, "cpu")
    for p in other.parameters():
        p.data.zero_()
    assert repr(other.load_state_dict(net.state_dict())) == "<All keys matched successfully>"
    its.load_state_dict(optimizer.state_dict())
    assert {p.device.type for p in other.parameters()} == {"cpu"}
    assert {v.device.type for e in its.state.values() for v in e.values() if isinstance(v, minigrad.Tensor)} == {"cpu"}
    kept = net[0].weight.tolist()
    assert other[0].weight.tolist() == kept
    with minigrad.no_grad():
        other[0].weight.zero_()
    assert net[0].weight.tolist() == kept
    saved = io.BytesIO()
    pickle.dump(net.state_dict(), saved)
    loaded = pickle.loads(saved.getvalue())
    assert loaded["0.weight"].tolist() == kept and loaded["0.weight"].device == net[0].weight.device


def test_one_optimizer_for_several_devices() -> None:
    first, second = nn.Linear(3, 4), nn.Linear(4, 1, device="box")
    plain_first, plain_second = nn.Linear(3, 4), nn.Linear(4, 1)
    plain_first.load_state_dict(first.state_dict())
    plain_second.load_state_dict(second.state_dict())
    for make in OPTIMIZERS:
        pair = make([*first.parameters(), *second.parameters()])
        plain = make([*plain_first.parameters(), *plain_second.parameters()])
        for _ in range(3):
            for optimizer in (pair, plain):
                optimizer.zero_grad()
            second(first(minigrad.ones(2, 3)).tanh().to("box")).sum().backward()
            plain_second(plain_first(minigrad.ones(2, 3)).tanh()).sum().backward()
            pair.step()
            plain.step()
    assert np.allclose(second.weight.tolist(), plain_second.weight.tolist(), 1e-5)
    assert np.allclose(first.weight.tolist(), plain_first.weight.tolist(), 1e-5)


@pytest.mark.parametrize("make", OPTIMIZERS, ids=["sgd", "adamw"])
def test_the_state_of_a_number_moves_with_it(make) -> None:
    results = []
    for places in (["cpu"] * 4, ["box", "cpu", "box:1", "cpu"]):
        net = nn.Module()
        net.scale = nn.Parameter(minigrad.tensor(2.0))
        optimizer = make(net.parameters())
        for place in places:
            net.to(place)
            optimizer.zero_grad()
            (net.scale * net.scale).backward()
            optimizer.step()
        results.append(net.scale.item())
    assert results[1] == pytest.approx(results[0]) and results[0] != 2


def test_modules_move_all_they_have() -> None:
    net = nn.Linear(2, 2)
    net.register_buffer("seen", minigrad.zeros(1, dtype=minigrad.int64))
    tied = nn.Sequential(net, net)
    net(minigrad.ones(1, 2)).sum().backward()
    weight, gradient = net.weight, net.weight.grad.tolist()
    assert tied.to("box:1", minigrad.float64) is tied
    assert tied[1].weight is weight and weight.device.index == 1 and weight.dtype is minigrad.float64
    assert weight.grad.device == weight.device and weight.grad.tolist() == gradient
    assert net.seen.device == weight.device and net.seen.dtype is minigrad.int64
    assert isinstance(weight, nn.Parameter) and weight.is_leaf and weight.requires_grad
    assert all(t._storage.lazy.buffer is not None for t in (weight, weight.grad, net.seen))
    assert tied.cpu().to(weight)[0].seen.device == net.bias.device == minigrad.device("cpu")
