"""Composites: one node a call, one trace for each shape, gradients of every order."""

from __future__ import annotations

import pytest

import minigrad
from minigrad.autograd import grad
from minigrad.runtime.device import devices
from minigrad.tensor import composite

traced = []


@composite
def scaled_sum(x, y, *, by):
    traced.append(by)
    return (x * by + y).sum()


@composite
def statistics(x):
    m = x.mean()
    return m, ((x - m) ** 2).mean()


@composite
def total(tensors, bias):
    result = tensors[0]
    for t in tensors[1:]:
        result = result + t
    return result if bias is None else result + bias


def test_one_node_and_one_trace() -> None:
    traced.clear()
    x = minigrad.ones(3, requires_grad=True)
    for _ in range(3):
        out = scaled_sum(x, x, by=2.0)
    assert traced == [2.0] and out.item() == 9
    assert out.grad_fn.name() == "ScaledSumBackward0" and scaled_sum(x, x, by=2.0)._storage.lazy.op == "FUNCTION"
    scaled_sum(x, x, by=3.0)
    scaled_sum(minigrad.ones(4), x[:1], by=3.0)
    scaled_sum(x, x, by=3)
    assert traced == [2.0, 3.0, 3.0, 3]
    assert scaled_sum.__name__ == "scaled_sum" and repr(scaled_sum) == "<composite scaled_sum>"


def test_gradients() -> None:
    x, y = minigrad.ones(3, requires_grad=True), minigrad.full((3,), 2.0, requires_grad=True)
    scaled_sum(x, y, by=3.0).backward()
    assert x.grad.tolist() == [3] * 3 and y.grad.tolist() == [1] * 3
    x.grad = None
    scaled_sum(x, x.detach(), by=3.0).backward()
    assert x.grad.tolist() == [3] * 3
    x.grad = None
    scaled_sum(x, x, by=3.0).backward()
    assert x.grad.tolist() == [4] * 3


def test_several_outputs() -> None:
    x = minigrad.tensor([1.0, 3.0], dtype=minigrad.float64, requires_grad=True)
    mean, variance = statistics(x)
    assert (mean.item(), variance.item()) == (2, 1)
    gx, = grad(variance, x, create_graph=True)
    assert gx.tolist() == [-1, 1]
    ggx, = grad(gx[0], x)
    assert ggx.tolist() == [0.5, -0.5]
    (mean * 2 + variance).backward()
    assert x.grad.tolist() == [0, 2]


def test_lists_and_none() -> None:
    x = minigrad.ones(2, requires_grad=True)
    assert total([x, x, x], None).tolist() == [3, 3]
    total((x, minigrad.ones(2)), x).sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_tensors_given_by_name_are_inputs() -> None:
    x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    y = minigrad.tensor([3.0, 4.0], requires_grad=True)
    for _ in range(2):
        scaled_sum(y=y, x=x, by=2.0).backward()
        scaled_sum(x, y=y, by=2.0).backward()
    assert scaled_sum(y=y, x=x, by=2.0).item() == 13 and scaled_sum(x, y=y + 1, by=2.0).item() == 15
    assert x.grad.tolist() == [8, 8] and y.grad.tolist() == [4, 4]
    out = total(bias=y, tensors=[x, x])
    assert out.tolist() == [5, 8] and out.grad_fn is not None


def test_a_tuple_of_one_stays_a_tuple() -> None:
    @composite
    def parts(x, *, alone):
        return (x + 1,) if alone else x + 1

    for _ in range(3):
        (only,), plain = parts(minigrad.ones(2), alone=True), parts(minigrad.ones(2), alone=False)
        assert only.tolist() == plain.tolist() == [2, 2]


def test_nested() -> None:
    @composite
    def outer(x):
        m, v = statistics(x)
        return (x - m) / (v + 1).sqrt()

    x = minigrad.tensor([1.0, 3.0], requires_grad=True)
    outer(x)[0].backward()
    y = minigrad.tensor([1.0, 3.0], requires_grad=True)
    ((y - y.mean()) / (((y - y.mean()) ** 2).mean() + 1).sqrt())[0].backward()
    assert x.grad.tolist() == pytest.approx(y.grad.tolist())


def test_what_a_body_must_not_do() -> None:
    @composite
    def looks(x):
        return x if x.sum() > 0 else -x

    @composite
    def picks(x):
        return x[x > 0]

    @composite
    def rolls(x):
        return x + minigrad.rand(2)

    outside = minigrad.tensor([3.0, 4.0])
    pending = outside + 1

    @composite
    def captures(x):
        return (x * outside).exp()

    @composite
    def captures_pending(x):
        return x - pending

    @composite
    def makes(x):
        return x + minigrad.tensor([1.0, 2.0])

    for function in (captures, captures_pending, makes):
        with pytest.raises(RuntimeError, match="body reads a tensor that is not one of its arguments"):
            function(minigrad.ones(2))
    with pytest.raises(RuntimeError, match="not known while a composite is traced"):
        looks(minigrad.ones(2))
    with pytest.raises(RuntimeError, match="not known while a composite is traced"):
        picks(minigrad.ones(2))
    with pytest.raises(RuntimeError, match="random numbers can't be drawn while the composite rolls is traced"):
        rolls(minigrad.ones(2))
    assert minigrad.rand(2).shape == (2,)


def test_no_grad_inside_does_not_leak() -> None:
    with minigrad.no_grad():
        assert not total([minigrad.ones(1, requires_grad=True)], None).requires_grad
    assert minigrad.is_grad_enabled()


@pytest.mark.parametrize("device", [d.name for d in devices() if not d.reason and d.name in ("CPU", "CC", "OPENCL")])
def test_a_name_may_be_anything(device: str) -> None:
    """It reaches the kernel's name in letters that every language has, and two kernels never share one."""
    names = ["<lambda>", "größe", "1st", "x;}", "*/ int", "a\nb", '"', "π", "", "exp_9", "exp"]
    results = []
    for size, name in enumerate(names, 9):
        def body(x):
            return x.exp() + x

        body.__name__ = name
        results.append(composite(body)(minigrad.zeros(size if name != "exp" else (9, 1), device=device)))
    with minigrad.config(CACHE=0, TIERS=0):
        minigrad.realize(*results)
    assert all((result == 1).all() for result in results)


@composite
def inverse(x):
    """Computed by LAPACK, before the kernels; its gradient by hand is not the one that the inverse has."""
    return minigrad.linalg.inv(x) * 2


@inverse.gradient
def _(outputs, grads, x):
    return (grads[0] * outputs[0] * x,)


@composite(differentiable=1)
def three_nodes(x):
    return x * x, x.exp() * x


@composite(differentiable=1)
def two_nodes(x):
    return x + x, x.exp()


@pytest.mark.parametrize("function", [inverse, lambda x: sum(three_nodes(x)), lambda x: sum(two_nodes(x))])
def test_inside_another_composite_the_gradient_is_the_same(function) -> None:
    """One by hand, also where the body is written out, and none from outputs that have none."""
    nested = composite(lambda x: function(x) * 1.0)
    x = minigrad.tensor([[2.0, 1.0], [0.5, 4.0]], requires_grad=True)
    rows, fixed = minigrad.stack([x.detach(), 2 * x.detach()]), x.detach()
    found = []
    for f in (function, nested):
        g, = grad(f(x).sum(), x, create_graph=True)
        second = grad((g * fixed).sum(), x)[0] if g.requires_grad else minigrad.zeros(2, 2)
        slope = minigrad.func.jvp(f, (fixed,), (minigrad.ones(2, 2),))[1]
        each = minigrad.vmap(minigrad.func.grad(lambda r, f=f: f(r).sum()))(rows)
        found.append([g, second, slope, each])
    for a, b in zip(*found, strict=True):
        assert minigrad.allclose(a, b)
