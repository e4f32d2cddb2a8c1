"""Stage: tests. In: programs that use ``torch.func``, ``vmap`` and forward mode. Out: PyTorch's numbers and errors.
Next: ``tests/torch/test_generator_against_torch.py``."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minigrad

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch says where it has no rule
LIBRARIES = (minigrad, torch)
Made = Callable[..., Any]


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [x for k in sorted(value) for x in leaves(value[k])]
    if isinstance(value, list | tuple):
        return [x for v in value for x in leaves(v)]
    return [] if value is None else [value]


def same(program: Callable[..., Any], rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """``program(library, made)`` gives the same Tensors with both; ``made(*shape)`` draws an array, the same for both.
    """
    results = []
    for T in LIBRARIES:
        generator = np.random.default_rng(0)
        T.manual_seed(0)
        results.append(leaves(program(T, lambda *shape, T=T, g=generator: T.tensor(g.standard_normal(shape)))))
    ours, theirs = results
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        assert tuple(a.shape) == tuple(b.shape)
        assert str(a.dtype).rpartition(".")[2] == str(b.dtype).rpartition(".")[2]
        np.testing.assert_allclose(a.detach().double().numpy(), b.detach().double().numpy(), rtol=rtol, atol=atol)


# --- vmap over ops: every combination of operands that have rows


OPS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "add": (lambda T, a, b: a + b, ((3, 4), (4,))),
    "broadcast": (lambda T, a, b: a * b, ((4,), (3, 1))),
    "where": (lambda T, a, b, c: T.where(a > 0, b, c), ((3,), (3,), (3,))),
    "dot": (lambda T, a, b: T.dot(a, b), ((4,), (4,))),
    "mv": (lambda T, a, b: a @ b, ((3, 4), (4,))),
    "vm": (lambda T, a, b: a @ b, ((3,), (3, 4))),
    "mm": (lambda T, a, b: a @ b, ((3, 4), (4, 5))),
    "bmm": (lambda T, a, b: T.bmm(a, b), ((2, 3, 4), (2, 4, 5))),
    "matmul_broadcast": (lambda T, a, b: a @ b, ((2, 1, 3, 4), (6, 4, 5))),
    "einsum": (lambda T, a, b: T.einsum("ij,kj->ik", a, b), ((3, 4), (5, 4))),
    "outer": (lambda T, a, b: T.outer(a, b), ((3,), (4,))),
    "linear": (lambda T, a, w, b: T.nn.functional.linear(a, w, b), ((3, 4), (5, 4), (5,))),
    "conv1d": (lambda T, x, w, b: T.nn.functional.conv1d(x, w, b, padding=1), ((2, 3, 8), (4, 3, 3), (4,))),
    "conv2d": (lambda T, x, w: T.nn.functional.conv2d(x, w, stride=2, padding=1, groups=2), ((2, 4, 7, 6),
                                                                                             (6, 2, 3, 3))),
    "conv2d_alone": (lambda T, x, w: T.nn.functional.conv2d(x, w, dilation=2), ((3, 7, 7), (2, 3, 3, 3))),
    "conv_transpose2d": (lambda T, x, w: T.nn.functional.conv_transpose2d(x, w, stride=2), ((2, 3, 4, 4),
                                                                                            (3, 2, 3, 3))),
    "max_pool2d": (lambda T, x: T.nn.functional.max_pool2d(x, 2), ((2, 3, 6, 6),)),
    "avg_pool2d": (lambda T, x: T.nn.functional.avg_pool2d(x, 2), ((3, 6, 6),)),
    "attention": (lambda T, q, k, v: T.nn.functional.scaled_dot_product_attention(q, k, v), ((2, 5, 4), (2, 6, 4),
                                                                                             (2, 6, 3))),
    "causal": (lambda T, q, k, v: T.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True), ((5, 4),) * 3),
    "layer_norm": (lambda T, x, w, b: T.nn.functional.layer_norm(x, (4,), w, b), ((3, 4), (4,), (4,))),
    "group_norm": (lambda T, x: T.nn.functional.group_norm(x, 2), ((2, 4, 5),)),
    "batch_norm": (lambda T, x: T.nn.functional.batch_norm(x, None, None, training=True), ((5, 3),)),
    "softmax": (lambda T, x: T.softmax(x, -1), ((3, 4),)),
    "log_softmax": (lambda T, x: T.log_softmax(x, 0), ((3, 4),)),
    "cumsum": (lambda T, x: x.cumsum(-1), ((3, 4),)),
    "cumprod": (lambda T, x: x.cumprod(0), ((3, 4),)),
    "sort": (lambda T, x: x.sort(0), ((5, 3),)),
    "sort_down": (lambda T, x: x.sort(-1, descending=True)[0], ((5, 3),)),
    "argsort": (lambda T, x: x.argsort(-1), ((5, 3),)),
    "topk": (lambda T, x: x.topk(2, -1), ((3, 5),)),
    "max": (lambda T, x: x.max(1), ((3, 5),)),
    "amax": (lambda T, x: x.amax((0, 1)), ((3, 5, 2),)),
    "argmax": (lambda T, x: x.argmax(), ((3, 5),)),
    "std": (lambda T, x: x.std(0), ((3, 5),)),
    "var_mean": (lambda T, x: T.var_mean(x, 1), ((3, 5),)),
    "prod": (lambda T, x: x.prod(-1), ((3, 5),)),
    "norm": (lambda T, x: x.norm(dim=1), ((3, 5),)),
    "logsumexp": (lambda T, x: x.logsumexp(1), ((3, 5),)),
    "median": (lambda T, x: x.median(-1), ((3, 5),)),
    "cat": (lambda T, a, b: T.cat([a, b], -1), ((3, 2), (3, 4))),
    "stack": (lambda T, a, b: T.stack([a, b], 1), ((3, 2), (3, 2))),
    "transpose": (lambda T, x: x.mT.reshape(-1), ((3, 5),)),
    "permute": (lambda T, x: x.permute(2, 0, 1).flatten(1), ((3, 5, 2),)),
    "roll": (lambda T, x: x.roll(2, -1), ((3, 5),)),
    "flip": (lambda T, x: x.flip(0, 1), ((3, 5),)),
    "tril": (lambda T, x: x.tril(-1), ((4, 5),)),
    "diagonal": (lambda T, x: x.diagonal(1), ((4, 5),)),
    "diag_embed": (lambda T, x: T.diag_embed(x), ((3, 4),)),
    "unfold": (lambda T, x: x.unfold(-1, 3, 2), ((2, 9),)),
    "unbind": (lambda T, x: x.unbind(1), ((3, 2),)),
    "split": (lambda T, x: x.split([1, 3], -1), ((3, 4),)),
    "chunk": (lambda T, x: x.chunk(2, 0), ((3, 4),)),
    "pad": (lambda T, x: T.nn.functional.pad(x, (1, 2), mode="reflect"), ((2, 5),)),
    "interpolate": (lambda T, x: T.nn.functional.interpolate(x, scale_factor=2, mode="bilinear"), ((1, 2, 3, 4),)),
    "index_int": (lambda T, x: x[1], ((3, 4),)),
    "index_slice": (lambda T, x: x[::2, 1:, None], ((3, 4),)),
    "index_list": (lambda T, x: x[[0, 2], [1, 1]], ((3, 4),)),
    "setitem": (lambda T, x, v: _set(x, v), ((3, 4), (4,))),
    "clamp": (lambda T, x, low: x.clamp(min=low), ((3, 4), (4,))),
    "masked_fill": (lambda T, x: x.masked_fill(x > 0, -1.0), ((3, 4),)),
    "gelu": (lambda T, x: T.nn.functional.gelu(x), ((3, 4),)),
    "mse": (lambda T, a, b: T.nn.functional.mse_loss(a, b), ((3, 4), (3, 4))),
    "cosine": (lambda T, a, b: T.nn.functional.cosine_similarity(a, b, dim=-1), ((3, 4), (3, 4))),
    "cdist": (lambda T, a, b: (a[:, None] - b).norm(dim=-1), ((3, 4), (5, 4))),
    "inverse": (lambda T, x: T.linalg.inv(x + 5 * T.eye(3, dtype=x.dtype)), ((3, 3),)),
    "det": (lambda T, x: T.det(x), ((3, 3),)),
    "in_place": (lambda T, x: _in_place(x), ((4, 4),)),
    "meshgrid": (lambda T, a, b: T.meshgrid(a, b, indexing="ij"), ((3,), (4,))),
    "addmm": (lambda T, c, a, b: T.addmm(c, a, b, beta=0.5, alpha=2.0), ((3, 5), (3, 4), (4, 5))),
    "lerp": (lambda T, a, b, w: T.lerp(a, b, w), ((3,), (3,), (3,))),
    "atan2": (lambda T, a, b: T.atan2(a, b), ((3,), (3,))),
    "pow": (lambda T, a, b: a.abs() ** b, ((3,), (3,))),
    "searchsorted": (lambda T, a, b: T.searchsorted(a.sort()[0], b), ((5,), (3,))),
    "isin": (lambda T, a, b: T.isin((a * 2).round(), (b * 2).round()), ((5,), (3,))),
    "histc": (lambda T, a: T.histc(a, 5, -1, 1), ((7,),)),
    "fft": (lambda T, a: T.fft.rfft(a).abs(), ((8,),)),
    "svdvals": (lambda T, a: T.linalg.svdvals(a), ((3, 4),)),
    "solve": (lambda T, a, b: T.linalg.solve(a + 5 * T.eye(3, dtype=a.dtype), b), ((3, 3), (3,))),
    "complex": (lambda T, a, b: (T.complex(a, b) ** 2 * T.polar(a.abs(), b)).real, ((3,), (3,))),
    "einsum3": (lambda T, a, b, c: T.einsum("i,ij,j->", a, b, c), ((3,), (3, 4), (4,))),
}


def _set(x: Any, v: Any) -> Any:
    y = x * v.sum()
    y[1] = v
    y[:, 2] += 1
    return y


def _in_place(x: Any) -> Any:
    y = x.clone()
    y.mul_(2).add_(x)
    y[0].zero_()
    y.view(16)[3:7].sin_()
    y.t().diagonal().fill_(3.0)
    return y


@pytest.mark.sample(25)
@pytest.mark.parametrize("name", sorted(OPS))
def test_vmap_of_ops(name: str) -> None:
    function, shapes = OPS[name]
    patterns = [p for p in itertools.product([0, 1, None], repeat=len(shapes)) if any(d is not None for d in p)]
    patterns = patterns if len(shapes) < 3 else patterns[::3]
    for dims in patterns:
        if 1 in dims and any(d == 1 and not s for d, s in zip(dims, shapes, strict=True)):
            continue

        def program(T: Any, made: Made, dims: tuple[int | None, ...] = dims) -> Any:
            args = [made(*s) if d is None else made(2, *s).movedim(0, d) for s, d in zip(shapes, dims, strict=True)]
            if name in ("setitem", "in_place") and dims[0] is None:
                return [T.zeros(1)]
            return T.vmap(lambda *xs: function(T, *xs), in_dims=dims)(*args)

        same(program)


@pytest.mark.sample(20)
@pytest.mark.parametrize("name", sorted(set(OPS) - {"argsort", "argmax", "searchsorted", "isin", "histc"}))
def test_derivatives_of_ops(name: str) -> None:
    function, shapes = OPS[name]

    def loss(T: Any, *xs: Any) -> Any:
        return sum([(x * x).sum() for x in leaves(function(T, *xs)) if x.is_floating_point()])

    def program(T: Any, made: Made) -> Any:
        every = tuple(range(len(shapes)))
        gradient = T.func.grad(lambda *xs: loss(T, *xs), argnums=every)
        args = tuple([made(2, *s) for s in shapes])
        directions = tuple([made(2, *s) for s in shapes])
        first = T.vmap(gradient)(*args)
        ahead = T.func.jvp(T.vmap(lambda *xs: loss(T, *xs)), args, directions)
        found = [first, ahead]
        if name not in ("max_pool2d", "unfold", "interpolate", "layer_norm"):  # PyTorch's is not there, or wrong
            over = T.func.grad(lambda *xs: sum([g.sum() for g in leaves(T.vmap(gradient)(*xs))]), argnums=every)
            found.append(over(*args))
        return found

    same(program, 1e-4, 1e-5)


def test_indices_have_rows() -> None:
    def program(T: Any, made: Made) -> Any:
        x, i = made(2, 4, 5), T.tensor([[0, 3, 1], [2, 2, 0]])
        v = made(2, 3, 5)
        found = []
        for dims in ((0, 0), (0, None), (None, 0)):
            a = x if dims[0] == 0 else x[0]
            b = i if dims[1] == 0 else i[0]
            for f in (lambda x, i: x[i], lambda x, i: x[:, i], lambda x, i: x.index_select(0, i),
                      lambda x, i: T.take_along_dim(x, i[:, None], 0), lambda x, i: x.gather(0, i[:, None]),
                      lambda x, i: T.nn.functional.embedding(i, x), lambda x, i: T.nn.functional.one_hot(i, 5),
                      lambda x, i: T.nn.functional.cross_entropy(x[:3], i)):
                found.append(T.vmap(f, dims)(a, b))
            if dims[0] == 0:
                for f in (lambda x, i, v: x.index_add(0, i, v), lambda x, i, v: x.index_copy(0, i.sort()[0] + 0 * i, v),
                          lambda x, i, v: x.scatter_add(0, i[:, None].expand(3, 5), v),
                          lambda x, i, v: x.index_put((i,), v, accumulate=True)):
                    if dims[1] is None:
                        found.append(T.vmap(f, (*dims, 0))(a, b, v))
                        found.append(T.vmap(f, (*dims, None))(a, b, v[0]))
        return found

    same(program)


SAME = {
    "vjp": lambda library, x: (library.func.vjp(lambda t: t, x)[0], x),
    "vjp of contiguous": lambda library, x: (library.func.vjp(lambda t: t.contiguous(), x)[0], x),
    "vjp of a pair": lambda library, x: (library.func.vjp(lambda s, t: (t, s), x.sum(), x)[0][0], x),
    "vjp's aux": lambda library, x: (library.func.vjp(lambda t: (t.sin(), t), x, has_aux=True)[2], x),
    "vjp of a view": lambda library, x: (library.func.vjp(lambda t: t.view_as(t), x)[0], x),
    "grad_and_value": lambda library, x: (library.func.grad_and_value(lambda t: t)(y := x[0, 0])[1], y),
    "vmap": lambda library, x: (library.func.vmap(lambda t: t)(x), x),
    "vmap along 1": lambda library, x: (library.func.vmap(lambda t: t, 1, 1)(x), x),
    "vmap that moves": lambda library, x: (library.func.vmap(lambda t: t, 1, 0)(x), x),
    "vmap in chunks": lambda library, x: (library.func.vmap(lambda t: t, chunk_size=1)(x), x),
    "vmap of what has no rows": lambda library, x: (library.func.vmap(lambda s, t: t, (0, None), 0)(x, x), x),
    "nested": lambda library, x: (library.func.vmap(lambda t: library.func.vjp(lambda u: u, t)[0])(x), x),
}


@pytest.mark.parametrize("tracked", [False, True])
@pytest.mark.parametrize("name", SAME)
def test_what_comes_back_unchanged_is_the_same_tensor(name: str, tracked: bool) -> None:
    def same(library: Any) -> bool:
        result, given = SAME[name](library, library.ones(2, 3, requires_grad=tracked))
        return result is given

    assert same(minigrad) == same(torch)


def test_nested_and_moved() -> None:
    def program(T: Any, made: Made) -> Any:
        x, y = made(3, 4), made(5, 4)
        return [
            T.vmap(lambda a: T.vmap(lambda b: T.dot(a, b))(y))(x),
            T.vmap(T.vmap(lambda a, b: a * b, in_dims=(None, 0)), in_dims=(0, None))(x[:, 0], y[:, 0]),
            T.vmap(lambda a: T.vmap(lambda s: s * a.sum(), out_dims=-1)(a), out_dims=1)(x),
            T.vmap(lambda d: {"u": d["p"][0] * d["q"], "v": [d["q"]]}, in_dims=({"p": 0, "q": None},), out_dims={
                "u": 0, "v": [0]})({"p": [x], "q": y[0]}),
            T.vmap(lambda a, k=None: a + k)(x, k=made(3, 1)),
            T.vmap(lambda a: a * 2, chunk_size=2)(x), T.vmap(lambda a: (a, T.ones(2)), out_dims=(1, None))(x),
            T.vmap(lambda a: T.vmap(T.func.grad(lambda s: (s * a).sin().sum()))(a))(x),
            T.func.jacrev(lambda x: x.sin().sum(1), chunk_size=2)(x),
        ]

    same(program)


@pytest.mark.parametrize("randomness", ["same", "different"])
def test_random_numbers(randomness: str) -> None:
    def program(T: Any, made: Made) -> Any:
        x = made(4, 20)
        draw = [lambda x: x + T.rand(20), lambda x: x * T.randn(20), lambda x: T.randint(0, 10, (3,)),
                lambda x: T.randn_like(x), lambda x: T.randperm(7), lambda x: T.normal(0.0, 1.0, (5,)),
                lambda x: T.vmap(lambda y: y + T.rand(()), randomness=randomness)(x)]
        if randomness == "different":
            draw += [lambda x: T.bernoulli(x.sigmoid()), lambda x: T.multinomial(x.exp(), 3),
                     lambda x: T.nn.functional.gumbel_softmax(x), lambda x: (x + 1).uniform_()]
        found = []
        for f in draw:
            T.manual_seed(1)
            found.append(T.vmap(f, randomness=randomness)(x))
        return found

    same(program)


def test_dropout_has_rows() -> None:
    x = minigrad.ones(3, 1000)
    for randomness, expected in (("same", True), ("different", False)):
        y = minigrad.vmap(lambda v: minigrad.nn.functional.dropout(v), randomness=randomness)(x)
        assert bool((y[0] == y[1]).all()) is expected
        assert 0.8 < y.mean().item() < 1.2


# --- programs


def network(T: Any, made: Made) -> tuple[Any, dict[str, Any]]:
    net = T.nn.Sequential(T.nn.Linear(4, 6), T.nn.Tanh(), T.nn.Linear(6, 3)).double()
    return net, {k: made(*v.shape) * 0.5 for k, v in net.named_parameters()}


def test_gradients_of_each_sample() -> None:
    def program(T: Any, made: Made) -> Any:
        net, params = network(T, made)
        x, y = made(5, 4), T.tensor([0, 2, 1, 1, 0])

        def loss(p: Any, x: Any, y: Any) -> Any:
            return T.nn.functional.cross_entropy(T.func.functional_call(net, p, (x[None],)), y[None])

        return T.vmap(T.func.grad_and_value(loss), in_dims=(None, 0, 0))(params, x, y)

    same(program)


def test_gradients_of_each_sample_of_a_small_cnn() -> None:
    def program(T: Any, made: Made) -> Any:
        net = T.nn.Sequential(T.nn.Conv2d(1, 3, 3), T.nn.ReLU(), T.nn.MaxPool2d(2), T.nn.GroupNorm(1, 3),
                              T.nn.Flatten(), T.nn.Linear(27, 4)).double()
        params = {k: made(*v.shape) for k, v in net.named_parameters()}
        x, y = made(4, 1, 8, 8), T.tensor([0, 2, 1, 3])

        def loss(p: Any, x: Any, y: Any) -> Any:
            return T.nn.functional.cross_entropy(T.func.functional_call(net, p, (x[None],)), y[None])

        return T.vmap(T.func.grad(loss), in_dims=(None, 0, 0))(params, x, y)

    same(program)


def test_ensemble() -> None:
    def program(T: Any, made: Made) -> Any:
        models = [T.nn.Sequential(T.nn.Linear(4, 5), T.nn.ReLU(), T.nn.BatchNorm1d(5, track_running_stats=False),
                                  T.nn.Linear(5, 2)) for _ in range(3)]
        params, buffers = T.func.stack_module_state(models)
        base = models[0]

        def call(p: Any, b: Any, x: Any) -> Any:
            return T.func.functional_call(base, (p, b), (x,))

        x = made(6, 4).float()
        return [T.vmap(call, in_dims=(0, 0, None))(params, buffers, x),
                T.vmap(call)(params, buffers, x.reshape(3, 2, 4)), [v.numel() * T.ones(1) for v in params.values()]]

    same(program, 1e-4, 1e-5)


def test_training_an_ensemble() -> None:
    def program(T: Any, made: Made) -> Any:
        models = [T.nn.Linear(4, 2) for _ in range(3)]
        params, _ = T.func.stack_module_state(models)
        optimizer = T.optim.SGD(list(params.values()), lr=0.1)
        x, y = made(6, 4).float(), made(3, 6, 2).float()
        for _ in range(4):
            optimizer.zero_grad()
            out = T.vmap(lambda p: T.func.functional_call(models[0], p, (x,)))(params)
            ((out - y) ** 2).mean().backward()
            optimizer.step()
        return params

    same(program, 1e-4, 1e-5)


def test_learning_to_learn() -> None:
    def program(T: Any, made: Made) -> Any:
        net, params = network(T, made)
        tasks, labels = made(4, 8, 4), made(4, 8, 3)

        def loss(p: Any, x: Any, y: Any) -> Any:
            return ((T.func.functional_call(net, p, (x,)) - y) ** 2).mean()

        def of_task(p: Any, x: Any, y: Any) -> Any:
            adapted = p
            for _ in range(2):
                g = T.func.grad(loss)(adapted, x[:4], y[:4])
                adapted = {k: adapted[k] - 0.1 * g[k] for k in adapted}
            return loss(adapted, x[4:], y[4:])

        def outer(p: Any) -> Any:
            return T.vmap(of_task, in_dims=(None, 0, 0))(p, tasks, labels).mean()

        return [outer(params), T.func.grad(outer)(params)]

    same(program)


def test_neural_tangent_kernel() -> None:
    def program(T: Any, made: Made) -> Any:
        net, params = network(T, made)
        a, b = made(3, 4), made(2, 4)

        def one(p: Any, x: Any) -> Any:
            return T.func.functional_call(net, p, (x[None],))[0]

        def kernel(x: Any, y: Any) -> Any:
            left = [j.flatten(2) for j in T.vmap(T.func.jacrev(one), (None, 0))(params, x).values()]
            right = [j.flatten(2) for j in T.vmap(T.func.jacrev(one), (None, 0))(params, y).values()]
            return sum([T.einsum("Naf,Mbf->NMab", u, v) for u, v in zip(left, right, strict=True)])

        def products(x: Any, y: Any) -> Any:
            def pair(x: Any, y: Any) -> Any:
                _, back = T.func.vjp(lambda p: one(p, x), params)

                def column(v: Any) -> Any:
                    return T.func.jvp(lambda p: one(p, y), (params,), back(v))[1]

                return T.vmap(column)(T.eye(3, dtype=T.float64))

            return T.vmap(T.vmap(pair, (None, 0)), (0, None))(x, y)

        return [kernel(a, b), products(a, b)]

    same(program)


def test_hessian_of_a_network() -> None:
    def program(T: Any, made: Made) -> Any:
        net, params = network(T, made)
        x, y = made(5, 4), T.tensor([0, 2, 1, 1, 0])

        def loss(p: Any) -> Any:
            return T.nn.functional.cross_entropy(T.func.functional_call(net, p, (x,)), y)

        ways = [T.func.hessian, lambda f: T.func.jacrev(T.func.jacrev(f)), lambda f: T.func.jacrev(T.func.jacfwd(f)),
                lambda f: T.func.jacfwd(T.func.jacfwd(f))]
        return [way(loss)(params) for way in ways]

    same(program)


def test_transformer_in_all_modes() -> None:
    def program(T: Any, made: Made) -> Any:
        layer = T.nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).double()
        params = {k: made(*v.shape) * 0.3 for k, v in layer.named_parameters()}
        x = made(3, 5, 8)

        def loss(p: Any, x: Any) -> Any:
            return T.func.functional_call(layer, p, (x,)).sin().sum()

        each, t = T.vmap(lambda x: loss(params, x[None])), made(3, 5, 8)
        found = [T.vmap(T.func.grad(loss), (None, 0))(params, x[:, None])]
        if T is torch:  # its attention has no forward mode
            gradient = T.func.grad(lambda x: each(x).sum())(x)
            return [*found, each(x), (gradient * t).sum((1, 2))]
        return [*found, T.func.jvp(each, (x,), (t,))]

    same(program, 1e-4, 1e-5)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_networks_in_all_modes(kind: str) -> None:
    # PyTorch's own networks have no forward mode and no vmap: the cells stand for them
    layer = getattr(minigrad.nn, kind)(3, 4).double()
    theirs = getattr(torch.nn, kind)(3, 4).double()
    theirs.load_state_dict({k: torch.tensor(v.detach().numpy()) for k, v in layer.state_dict().items()})
    generator = np.random.default_rng(0)
    x, t = (generator.standard_normal((2, 5, 3)) for _ in range(2))

    def ours(v: Any) -> Any:
        return layer(v)[0].sin().sum()

    rows = minigrad.vmap(minigrad.func.grad(ours))(minigrad.tensor(x))
    loops = [torch.autograd.grad(theirs(v)[0].sin().sum(), v)[0] for v in torch.tensor(x).requires_grad_().unbind()]
    np.testing.assert_allclose(rows.detach().numpy(), torch.stack(loops).numpy(), rtol=1e-6)
    _, ahead = minigrad.func.jvp(ours, (minigrad.tensor(x[0]),), (minigrad.tensor(t[0]),))
    np.testing.assert_allclose(ahead.item(), (loops[0].numpy() * t[0]).sum(), rtol=1e-6)


def test_all_orders_of_modes() -> None:
    def program(T: Any, made: Made) -> Any:
        x, t = made(4), made(4)

        def f(x: Any) -> Any:
            return (x.sin() * x.sum()).exp().prod()

        F = T.func

        def summed(g: Any) -> Any:
            return lambda x: g(x).sum()

        def jvp(g: Any) -> Any:
            return lambda x: F.jvp(g, (x,), (t,))[1]

        found = []
        for first, second, third in itertools.product((F.grad, jvp), repeat=3):
            g = f
            for way in (first, second, third):
                g = way(summed(g))
            found.append(g(x))
        found.append(F.jacfwd(F.hessian(f))(x))
        y, ahead = F.linearize(lambda x: (x * x.sum()).tanh(), x)
        found += [y, ahead(t), ahead(2 * t)]
        return found

    same(program, 1e-6)


def test_backward_through_vmap() -> None:
    def program(T: Any, made: Made) -> Any:
        x, w, c = made(3, 4).requires_grad_(), made(4).requires_grad_(), made(4).requires_grad_()
        scaled = w * c
        y = T.vmap(lambda x: (x * scaled * w).sin().sum() + (x * x.detach()).sum())(x)
        y.pow(2).sum().backward()
        first, = T.autograd.grad(T.vmap(lambda a: (a * w).exp().sum())(x).sum(), w, create_graph=True)
        first.pow(2).sum().backward()
        with T.no_grad():
            assert not T.vmap(lambda a: a * w)(x).requires_grad
        return [x.grad, w.grad, c.grad]

    same(program)


def test_dual_numbers() -> None:
    def program(T: Any, made: Made) -> Any:
        fw = T.autograd.forward_ad
        x, t, w = made(3, 4), made(3, 4), made(4).requires_grad_()
        found = []
        with fw.dual_level():
            d = fw.make_dual(x, t)
            y = (d @ w).tanh() if d.sum() < 100 else d
            z = T.zeros(3, 4, dtype=T.float64)
            z[1] = d[2] * w
            z.mul_(d)
            with T.no_grad():
                quiet = d.exp()
            plain = T.ones(2, dtype=T.float64)
            for value in (y, z, quiet, d.t()[1:], d.view(12)[::5], T.cat([d, plain.repeat(3, 1)], 1)):
                found += list(fw.unpack_dual(value))
            assert fw.unpack_dual(d.detach()).tangent is None
            assert fw.unpack_dual(plain).tangent is None
            fw.unpack_dual(y).tangent.sum().backward()
            assert "tangent=" in repr(d)
        assert fw.unpack_dual(d).tangent is None
        return [*found, w.grad]

    same(program)


class _Cube:
    """A custom Function of either library."""

    @staticmethod
    def of(T: Any) -> Any:
        class Cube(T.autograd.Function):
            generate_vmap_rule = True

            @staticmethod
            def forward(x: Any) -> Any:
                return x**3, 3 * x**2

            @staticmethod
            def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
                ctx.save_for_backward(inputs[0], output[1])
                ctx.save_for_forward(inputs[0], output[1])

            @staticmethod
            def backward(ctx: Any, g: Any, gdx: Any) -> Any:
                x, dx = ctx.saved_tensors
                return g * dx + gdx * 6 * x

            @staticmethod
            def jvp(ctx: Any, t: Any) -> Any:
                x, dx = ctx.saved_tensors
                return t * dx, 6 * x * t

        class Sorted(T.autograd.Function):
            @staticmethod
            def forward(x: Any) -> Any:
                order = T.tensor(np.argsort(x.detach().numpy(), -1))
                return x.gather(-1, order), order

            @staticmethod
            def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
                ctx.save_for_backward(output[1])
                ctx.mark_non_differentiable(output[1])
                ctx.shape = inputs[0].shape

            @staticmethod
            def backward(ctx: Any, g: Any, _: Any) -> Any:
                order, = ctx.saved_tensors
                return T.zeros_like(g).scatter(-1, order, g)

            @staticmethod
            def vmap(info: Any, in_dims: Any, x: Any) -> Any:
                assert info.batch_size == x.shape[in_dims[0]]
                return Sorted.apply(x.movedim(in_dims[0], 0)), 0

        return Cube, Sorted


def test_custom_functions() -> None:
    def program(T: Any, made: Made) -> Any:
        Cube, Sorted = _Cube.of(T)
        x, F = made(3, 4), T.func
        return [T.vmap(lambda x: Cube.apply(x)[0])(x), T.vmap(F.grad(lambda x: Cube.apply(x)[0].sum()))(x),
                F.jvp(lambda x: Cube.apply(x), (x,), (x + 1,)), F.hessian(lambda x: Cube.apply(x)[0].sum())(x[0]),
                T.vmap(F.hessian(lambda x: Cube.apply(x)[0].sum()))(x), T.vmap(lambda x: Sorted.apply(x)[0])(x),
                T.vmap(lambda x: Sorted.apply(x)[0], in_dims=1)(x)]

    same(program)


# --- errors


def _fails(program: Callable[..., Any]) -> tuple[str, str]:
    found = []
    for T in LIBRARIES:
        with pytest.raises(Exception) as error:
            program(T)
        text = str(error.value).replace("minigrad.tensor.tensor_class.Tensor", "torch.Tensor").replace(
            "minigrad.", "torch.")
        found.append((type(error.value).__name__, text))
    return found[0], found[1]


def _write(T: Any, y: Any) -> Any:
    def write(x: Any) -> Any:
        y[0] = x
        return y

    return write


ERRORS: dict[str, Callable[..., Any]] = {
    "item": lambda T: T.vmap(lambda x: x.item())(T.ones(3)),
    "float": lambda T: T.vmap(lambda x: float(x.sum()))(T.ones(3)),
    "branch": lambda T: T.vmap(lambda x: x if x > 0 else -x)(T.ones(3)),
    "in_place": lambda T: (lambda y: T.vmap(lambda x: y.mul_(x))(T.ones(3, 2)))(T.ones(2)),
    "copy": lambda T: (lambda y: T.vmap(lambda x: y.copy_(x))(T.ones(3)))(T.ones([])),
    "setitem": lambda T: T.vmap(_write(T, T.zeros(3)))(T.ones(3)),
    "random": lambda T: T.vmap(lambda x: x + T.randn(2))(T.ones(3, 2)),
    "dropout": lambda T: T.vmap(lambda x: T.nn.functional.dropout(x))(T.ones(3, 2)),
    "randomness": lambda T: T.vmap(lambda x: x, randomness="some")(T.ones(3)),
    "chunk": lambda T: T.vmap(lambda x: x, chunk_size=0)(T.ones(3)),
    "sizes": lambda T: T.vmap(lambda x, y: x + y)(T.ones(3), T.ones(4)),
    "no_rows": lambda T: T.vmap(lambda x: x, in_dims=(None,))(T.ones(3)),
    "no_inputs": lambda T: T.vmap(lambda: 1)(),
    "in_dims": lambda T: T.vmap(lambda x: x, in_dims=1.0)(T.ones(3)),
    "in_dims_structure": lambda T: T.vmap(lambda x: x, in_dims=(0, 0))(T.ones(3)),
    "in_dim": lambda T: T.vmap(lambda x: x, in_dims=2)(T.ones(3, 2)),
    "no_tensor": lambda T: T.vmap(lambda x: x)(3),
    "no_dims": lambda T: T.vmap(lambda x: x)(T.ones([])),
    "returns": lambda T: T.vmap(lambda x: 1)(T.ones(3)),
    "out_dims": lambda T: T.vmap(lambda x: x, out_dims="a")(T.ones(3)),
    "out_dims_structure": lambda T: T.vmap(lambda x: (x, x), out_dims=(0, 0, 0))(T.ones(3)),
    "out_none": lambda T: T.vmap(lambda x: x, out_dims=None)(T.ones(3)),
    "nonzero": lambda T: T.vmap(lambda x: T.nonzero(x))(T.ones(3, 2)),
    "mask": lambda T: T.vmap(lambda x: x[x > 0])(T.ones(3, 2)),
    "grad_vector": lambda T: T.func.grad(lambda x: x)(T.ones(3)),
    "grad_number": lambda T: T.func.grad(lambda x: 1)(T.ones(3)),
    "grad_of_number": lambda T: T.func.grad(lambda x: x)(1),
    "grad_of_ints": lambda T: T.func.grad(lambda x: x.sum())(T.tensor(1)),
    "argnums": lambda T: T.func.grad(lambda x: x.sum(), argnums=3)(T.ones(3)),
    "argnums_twice": lambda T: T.func.grad(lambda x: x.sum(), argnums=(0, 0))(T.ones(3)),
    "argnums_none": lambda T: T.func.grad(lambda x: x.sum(), argnums=())(T.ones(3)),
    "argnums_kind": lambda T: T.func.grad(lambda x: x.sum(), argnums="a")(T.ones(3)),
    "aux": lambda T: T.func.grad(lambda x: x.sum(), has_aux=True)(T.ones(3)),
    "vjp_number": lambda T: T.func.vjp(lambda x: 1, T.ones(3)),
    "vjp_structure": lambda T: T.func.vjp(lambda x: (x, x), T.ones(3))[1](T.ones(3)),
    "jvp_tuple": lambda T: T.func.jvp(lambda x: x, T.ones(3), T.ones(3)),
    "jvp_structure": lambda T: T.func.jvp(lambda x: x, (T.ones(3),), (T.ones(3), T.ones(3))),
    "jvp_shape": lambda T: T.func.jvp(lambda x: x, (T.ones(3),), (T.ones(2),)),
    "jvp_number": lambda T: T.func.jvp(lambda x: 1, (T.ones(3),), (T.ones(3),)),
    "jvp_empty": lambda T: T.func.jvp(lambda: 1, (), ()),
    "jacrev_chunk": lambda T: T.func.jacrev(lambda x: x, chunk_size=0)(T.ones(3)),
    "linearize": lambda T: T.func.linearize(lambda x: x.sin(), T.ones(3))[1](T.ones(2)),
    "functionalize": lambda T: T.func.functionalize(lambda x: x, remove="all")(T.ones(3)),
    "dual_outside": lambda T: T.autograd.forward_ad.make_dual(T.ones(3), T.ones(3)),
    "dual_ints": lambda T: _in_level(T, lambda fw: fw.make_dual(T.tensor([1]), T.tensor([1]))),
    "dual_twice": lambda T: _in_level(T, lambda fw: fw.make_dual(fw.make_dual(T.ones(1), T.ones(1)), T.ones(1))),
    "dual_nested": lambda T: _in_level(T, lambda fw: fw.enter_dual_level()),
    "dual_exit": lambda T: T.autograd.forward_ad.exit_dual_level(),
    "ensemble_empty": lambda T: T.func.stack_module_state([]),
}


def _in_level(T: Any, program: Callable[..., Any]) -> Any:
    with T.autograd.forward_ad.dual_level():
        return program(T.autograd.forward_ad)


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_errors(name: str) -> None:
    ours, theirs = _fails(ERRORS[name])
    assert ours == theirs


@pytest.mark.parametrize("name", ["special.xlog1py", "xlogy", "atan2", "hypot", "pow", "true_divide", "logaddexp"])
@pytest.mark.parametrize("dtypes", [("float32", "float64"), ("float64", "float32"), ("float16", "float32")])
def test_an_operand_of_a_narrower_type_has_the_tangents_of_one_of_the_result_s(name, dtypes):
    """Where a tangent is 0, and the slope no number."""
    x, y = [-1.25, -0.75, 0.5, 2.0], [-0.25, -2.0, 3.0, 0.75]
    found = []
    for library in (minigrad, torch):
        function = library
        for part in name.split("."):
            function = getattr(function, part)
        a, b = [library.tensor(v, dtype=getattr(library, d)) for v, d in zip((x, y), dtypes, strict=True)]
        found.append([*library.func.jacfwd(lambda t, f=function, b=b: f(t, b))(a).double().tolist(),
                      *library.func.jacfwd(lambda t, f=function, a=a: f(a, t))(b).double().tolist()])
    np.testing.assert_allclose(*found, rtol=1e-3 if "float16" in dtypes else 1e-6)


@pytest.mark.parametrize("name", ["amin", "amax"])
@pytest.mark.parametrize("tangent", [
    (2.0, np.inf, 1, 1), (2.0, 3, np.inf, 1), (2.0, 3, np.nan, 1), (np.inf, -np.inf, 0, 0)])
def test_tangents_of_what_is_not_the_extreme_do_not_count(name, tangent):
    found = []
    for library in (minigrad, torch):
        x, t = [library.tensor(v, dtype=library.float64) for v in ((1.0, 1, 3, 2), tangent)]
        found.append(library.func.jvp(lambda v: getattr(v, name)(0), (x,), (t,))[1].item())
    np.testing.assert_equal(*found)
