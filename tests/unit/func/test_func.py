"""Stage: tests. In: functions with known derivatives. Out: those derivatives, nested ones too.
Next: ``tests/unit/profiler/test_profiler.py``."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import minigrad
from minigrad import func
from minigrad.autograd import functional
from minigrad.tensor.indexing import concrete


@pytest.fixture
def X() -> minigrad.Tensor:
    return minigrad.tensor([1.0, 2.0])


def test_gradients_nest_and_keep_no_tape(X: minigrad.Tensor) -> None:
    g = func.grad(lambda y: func.grad(lambda x: (x * x * y).sum())(X).sum())(X)
    assert g.tolist() == [2.0, 4.0]
    assert not g.requires_grad
    assert not X.requires_grad


def test_what_is_differentiated_outside_keeps_its_tape(X: minigrad.Tensor) -> None:
    w = minigrad.tensor([3.0, 4.0], requires_grad=True)
    g = func.grad(lambda x: (x * w).sum())(X)
    g.sum().backward()
    assert w.grad is not None
    assert w.grad.tolist() == [1.0, 1.0]


def test_products_with_vectors(X: minigrad.Tensor) -> None:
    y, back = func.vjp(lambda x: {"a": x * x, "b": [x.sum()]}, X)
    assert y["a"].tolist() == [1.0, 4.0]
    assert back({"a": minigrad.ones(2), "b": [minigrad.tensor(10.0)]})[0].tolist() == [12.0, 14.0]
    assert func.jvp(lambda x: x * x, (X,), (minigrad.ones(2),))[1].tolist() == [2.0, 4.0]


def test_matrices(X: minigrad.Tensor) -> None:
    assert func.jacrev(lambda x: x * x)(X).tolist() == functional.jacobian(lambda x: x * x, X).tolist() == [
        [2.0, 0.0], [0.0, 4.0]]
    assert func.hessian(lambda x: (x**3).sum())(X).tolist() == [[6.0, 0.0], [0.0, 12.0]]


def test_forward_mode_nests_with_reverse_mode(X: minigrad.Tensor) -> None:
    def slope(x: minigrad.Tensor) -> minigrad.Tensor:
        found: minigrad.Tensor = func.jvp(lambda x: (x**3).sum(), (x,), (minigrad.ones(2),))[1]
        return found

    assert func.grad(slope)(X).tolist() == [6.0, 12.0]
    assert func.jvp(slope, (X,), (minigrad.ones(2),))[1].item() == 18.0
    assert func.jacfwd(func.hessian(lambda x: (x**3).sum()))(X).diagonal().diagonal().tolist() == [6.0, 6.0]


def test_rows_of_gradients_are_few_kernels() -> None:
    x, w = minigrad.randn(64, 20), minigrad.randn(20, 5)
    each = func.vmap(func.grad(lambda w, x: (x @ w).tanh().sum()), in_dims=(None, 0))
    with minigrad.inspect() as seen:
        rows = each(w, x).realize()
    assert len(seen.kernels) <= 2
    one = func.grad(lambda w: (x[3] @ w).tanh().sum())(w)
    assert (rows[3] - one).abs().max().item() < 1e-5


def test_gradients_go_through_rows() -> None:
    w = minigrad.tensor([3.0, 4.0], requires_grad=True)
    x = minigrad.tensor([[1.0, 2.0], [5.0, 6.0]], requires_grad=True)
    y = func.vmap(lambda x: (x * x.detach() * w).sum())(x)
    (g,) = minigrad.autograd.grad(y.sum(), w, create_graph=True)
    assert g.tolist() == [26.0, 40.0]
    g.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[1.0, 2.0], [5.0, 6.0]]


def test_rows_compile_with_jit() -> None:
    w, x = minigrad.randn(4), minigrad.randn(8, 4)
    each = func.vmap(func.grad(lambda w, x: (w * x).sin().sum()), in_dims=(None, 0))
    compiled = minigrad.jit(each)
    for _ in range(3):
        assert (compiled(w, x) - each(w, x)).abs().max().item() < 1e-6
    noisy = minigrad.jit(func.vmap(lambda x: x + minigrad.rand(4), randomness="different"))
    first, second = noisy(x), noisy(x)
    assert (first - second).abs().max().item() > 0


def test_what_the_function_makes_may_take_rows() -> None:
    def placed(v: minigrad.Tensor) -> minigrad.Tensor:
        y = minigrad.zeros(3)
        y[1] = v
        return y

    assert func.vmap(placed)(minigrad.tensor([1.0, 2.0])).tolist() == [[0.0, 1.0, 0.0], [0.0, 2.0, 0.0]]
    outside = minigrad.zeros(3)
    with pytest.raises(RuntimeError, match="inplace arithmetic"):
        func.vmap(lambda v: outside.copy_(v))(minigrad.ones(2, 3))
    func.vmap(lambda v: v + outside.add_(1).sum())(minigrad.ones(2))
    assert outside.tolist() == [1.0, 1.0, 1.0]


def test_values_are_not_known_in_rows() -> None:
    with pytest.raises(RuntimeError, match=r"calling .item\(\)"):
        func.vmap(lambda v: v.item())(minigrad.ones(2))
    with pytest.raises(RuntimeError, match="data-dependent control flow"):
        func.vmap(lambda v: v if v else -v)(minigrad.ones(2))
    with pytest.raises(RuntimeError, match="randomness error mode"):
        func.vmap(lambda v: v + minigrad.rand(1))(minigrad.ones(2))
    with pytest.raises(RuntimeError, match=r"vmap over aten::nonzero"):
        func.vmap(lambda v: v.nonzero())(minigrad.ones(2, 3))
    with pytest.raises(RuntimeError, match=r"vmap: cumulative needs the values"):
        func.vmap(lambda v: minigrad.tensor(concrete(v, "cumulative")))(minigrad.ones(2, 3))
    w = minigrad.ones(2)
    assert func.vmap(lambda v: v * w.sum().item())(minigrad.ones(2)).tolist() == [2.0, 2.0]


def test_dual_numbers_go_along() -> None:
    fw = minigrad.autograd.forward_ad
    with fw.dual_level():
        x = fw.make_dual(minigrad.tensor([1.0, 2.0]), minigrad.tensor([1.0, 10.0]))
        y = minigrad.zeros(2)
        y[0] = (x * x)[1]
        assert fw.unpack_dual(y).tangent.tolist() == [40.0, 0.0]
        assert fw.unpack_dual(x.detach()).tangent is None
        if x.sum() > 0:
            assert fw.unpack_dual(x.exp()).tangent is not None
    assert fw.unpack_dual(y).tangent is None


def test_hooks_keep_what_the_tape_saves() -> None:
    x = minigrad.tensor([2.0, 3.0], requires_grad=True)
    seen: list[str] = []

    def pack(t: minigrad.Tensor) -> minigrad.Tensor:
        seen.append("pack")
        return t.detach() * 2

    def unpack(t: minigrad.Tensor) -> minigrad.Tensor:
        seen.append("unpack")
        return t / 2

    for _ in range(4):
        x.grad = None
        with minigrad.autograd.graph.saved_tensors_hooks(pack, unpack):
            y = x * x
        y.sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [4.0, 6.0]
    assert set(seen) == {"pack", "unpack"}
    assert seen.count("pack") == seen.count("unpack")
    with pytest.raises(RuntimeError, match="second time"):
        y.sum().backward()


def test_gradcheck_in_forward_mode_and_in_rows() -> None:
    x = minigrad.tensor([0.5, 2.0], dtype=minigrad.float64, requires_grad=True)
    options = {"check_forward_ad": True, "check_batched_grad": True, "check_batched_forward_grad": True}
    assert minigrad.autograd.gradcheck(lambda x: x.exp() * x, (x,), **options)
    assert minigrad.autograd.gradgradcheck(lambda x: x.exp() * x, (x,), check_fwd_over_rev=True)

    class Wrong(minigrad.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            return x * 2

        @staticmethod
        def backward(ctx, g):  # type: ignore[no-untyped-def]
            return g * 2

        @staticmethod
        def jvp(ctx, t):  # type: ignore[no-untyped-def]
            return t * 3

    with pytest.raises(RuntimeError, match="forward mode"):
        minigrad.autograd.gradcheck(Wrong.apply, (x,), check_forward_ad=True)


def test_functions_are_differentiated_in_inference_mode_too() -> None:
    with minigrad.inference_mode():
        made = minigrad.tensor([2.0, 3.0])
        seen = []

        def f(x: minigrad.Tensor) -> minigrad.Tensor:
            seen.append((minigrad.is_grad_enabled(), minigrad.is_inference_mode_enabled(), (x * 2).is_inference()))
            return (x * x * made).sum()

        assert func.grad(f)(made).tolist() == [8, 18] and seen == [(True, False, False)]
        assert func.hessian(f)(made).tolist() == [[4, 0], [0, 6]]
        assert func.jacrev(lambda x: x * x)(made).tolist() == [[4, 0], [0, 6]]
        assert minigrad.is_inference_mode_enabled() and not minigrad.is_grad_enabled() and (made + 1).is_inference()
    assert func.grad(f)(made).tolist() == [8, 18]
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        made * minigrad.ones(2, requires_grad=True)


@pytest.mark.filterwarnings("ignore:Casting complex values to real")
@pytest.mark.parametrize("dtype", ["float16", "float64", "complex128"])
def test_a_tangent_of_another_dtype_becomes_one_of_its_tensor(dtype: str) -> None:
    """Its memory was read as that of the Tensor's dtype."""
    x = minigrad.tensor([1.0, 2.0])
    change = minigrad.tensor([1.0, -2.0], dtype=getattr(minigrad, dtype))
    assert minigrad.func.jvp(lambda t: t * 3, (x,), (change,))[1].tolist() == [3.0, -6.0]
    fw = minigrad.autograd.forward_ad
    with fw.dual_level():
        assert fw.unpack_dual(fw.make_dual(x, change).square()).tangent.tolist() == [2.0, -8.0]


def test_whole_numbers_have_no_tangents() -> None:
    one, whole = minigrad.ones(2), minigrad.ones(2, dtype=minigrad.int64)
    for call in (lambda: minigrad.func.jvp(lambda t: t * 1, (whole,), (one,)),
                 lambda: minigrad.func.jacfwd(lambda t: t * 1)(whole)):
        with pytest.raises(ValueError, match="Expected primal to be floating point or complex, but got: .*int64"):
            call()
    with pytest.raises(ValueError, match="Expected tangent to be floating point or complex, but got: .*int64"):
        minigrad.func.jvp(lambda t: t * 1, (one,), (whole,))


def test_whole_results_have_no_vjp() -> None:
    words = "vjp.*All outputs of f must be floating-point or complex Tensors, got Tensor with dtype .*bool"
    for call in (lambda: minigrad.func.vjp(lambda t: (t, t == 1), minigrad.ones(2)),
                 lambda: minigrad.func.jacrev(lambda t: t == 1)(minigrad.ones(2))):
        with pytest.raises(RuntimeError, match=words):
            call()


def test_jacobians_are_of_real_functions(X: minigrad.Tensor) -> None:
    Z = minigrad.tensor([1j, 2.0])
    for name in ("jacrev", "jacfwd"):
        jacobian = getattr(func, name)
        with pytest.raises(RuntimeError, match=f"{name}: Expected all inputs to be real .* flattened input idx: 1"):
            jacobian(lambda x, z: x)(X, Z)
        with pytest.raises(RuntimeError, match=f"{name}: Expected all outputs to be real .* flattened input idx: 1"):
            jacobian(lambda x: (x, x * 1j))(X)
        assert jacobian(lambda x: (x, x * 1j), has_aux=True)(X)[1].tolist() == [1j, 2j]
    found = functional.jacobian(lambda z: z * 1j, Z, strategy="forward-mode", vectorize=True)
    assert found.tolist() == [[1j, 0j], [0j, 1j]]


@pytest.mark.parametrize("name", ["logcumsumexp", "logsumexp"])
def test_logarithms_of_complex_sums_in_forward_mode_and_twice(name: str) -> None:
    x = minigrad.tensor([complex(-1.75, -1.75), 0.5j, complex(0.25, 0.5)], dtype=minigrad.complex128)
    t = minigrad.tensor([complex(0.25, 1.75), complex(1, 1), 2j], dtype=minigrad.complex128)

    def by_steps(x: minigrad.Tensor) -> minigrad.Tensor:
        return x.exp().cumsum(0).log() if name == "logcumsumexp" else x.exp().sum(0).log()

    def at_once(x: minigrad.Tensor) -> minigrad.Tensor:
        found: minigrad.Tensor = getattr(x, name)(0)
        return found

    def slope(f: Callable[[minigrad.Tensor], minigrad.Tensor]) -> Callable[[minigrad.Tensor], minigrad.Tensor]:
        return lambda x: func.grad(lambda u: (f(u).real * f(u).imag).sum())(x)

    for one, other in ((at_once, by_steps), (slope(at_once), slope(by_steps))):
        assert (func.jvp(one, (x,), (t,))[1] - func.jvp(other, (x,), (t,))[1]).abs().max() < 1e-12
        assert (func.vjp(one, x)[1](one(t))[0] - func.vjp(other, x)[1](one(t))[0]).abs().max() < 1e-12


REDUCED = {mode: lambda x, mode=mode: x.scatter_reduce(0, minigrad.zeros(x.shape, dtype=minigrad.int64), x, mode)
           for mode in ("sum", "mean", "amax", "prod")}


@pytest.mark.parametrize(("f", "size", "depends"), [
    (lambda x: x.nansum(), 2, False), (lambda x: x.nanmean(0), 2, False), (lambda x: x.cumprod(0), 1, False),
    (lambda x: x.cumprod(0), 2, True), (lambda x: x[0].cumprod(0), 1, False), (lambda x: x[0].prod(0), 1, False),
    (lambda x: x.prod(), 2, True), (lambda x: x[0].logcumsumexp(0), 1, False), (lambda x: x.logcumsumexp(0), 2, True),
    *[(f, 2, mode == "prod") for mode, f in REDUCED.items()]])
def test_a_gradient_has_a_history_if_it_depends_on_the_input(
        f: Callable[[minigrad.Tensor], minigrad.Tensor], size: int, depends: bool) -> None:
    x = minigrad.full((size,), 1.5, requires_grad=True)
    assert func.grad(lambda x: f(x).sum())(x).requires_grad is depends
    assert func.jacrev(f)(x).requires_grad is depends
    assert minigrad.autograd.grad(f(x).sum(), x, create_graph=True)[0].requires_grad is depends


def test_an_input_that_is_differentiated_outside_is_no_copy() -> None:
    x = minigrad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = func.vjp(lambda x: x.diagonal(), x)[0]
    with minigrad.no_grad():
        x.add_(1)
    assert y.tolist() == [2.0, 5.0]
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad is being used in an in-place operation"):
        func.grad(lambda x: x.mul_(2).sum())(x)


@pytest.mark.parametrize("name", ["scatter_reduce", "index_reduce"])
@pytest.mark.parametrize("reduce", ["amax", "amin"])
def test_what_is_replaced_does_not_count_among_the_largest_in_forward_mode(name: str, reduce: str) -> None:
    x, index = minigrad.tensor([1.0, 2.0]), minigrad.tensor([0, 0])

    def f(x: minigrad.Tensor) -> minigrad.Tensor:
        found: minigrad.Tensor = getattr(x, name)(0, index, minigrad.stack([x[0], x[0]]), reduce, include_self=False)
        return found

    assert func.jacfwd(f)(x).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert func.vmap(lambda t: func.jvp(f, (x,), (t,))[1])(minigrad.eye(2)).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_forward_mode_refuses_what_backward_refuses(X: minigrad.Tensor) -> None:
    for f in (lambda x: x // x, lambda x: minigrad.heaviside(x, x), lambda x: 0.5 % x,
              lambda x: minigrad.remainder(2, x)):
        with pytest.raises(NotImplementedError, match="Trying to use forward AD with aten::.* that does not support"):
            func.jvp(f, (X,), (X,))
        with pytest.raises(RuntimeError, match="derivative for aten::.* is not implemented"):
            func.vjp(f, X)[1](X)
    assert func.jvp(lambda x: x.detach() // 2 * x, (X,), (X,))[1].tolist() == [0.0, 2.0]


@pytest.mark.parametrize("name", ["atan2", "hypot", "logaddexp", "logaddexp2", "xlogy", "special_xlog1py", "pow",
                                  "copysign", "fmod", "true_divide", "maximum"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_tangents_of_two_types_have_the_digits_of_the_result(name: str, dtype: str) -> None:
    function = getattr(minigrad, name, None) or getattr(minigrad.special, name.removeprefix("special_"))
    y = minigrad.tensor([0.7123456, 1.3321, 2.7345], dtype=minigrad.float64)
    x, t = [minigrad.tensor(v, dtype=getattr(minigrad, dtype)) for v in ([1.234, 2.345, 3.777], [1.111, 0.3333, -0.77])]
    for f in (lambda x: function(x, y), lambda x: function(y, x)):
        found, right = [func.jvp(f, (p,), (d,))[1] for p, d in ((x, t), (x.double(), t.double()))]
        assert found.dtype is minigrad.float64
        assert found.tolist() == pytest.approx(right.tolist(), rel=1e-12)


@pytest.mark.parametrize("x", [[1.0, float("nan"), 2.0], [float("nan")] * 2])
def test_the_tangent_of_logcumsumexp_is_nan_in_rows_with_nan(x: list[float]) -> None:
    values = minigrad.tensor([x, [1.0] * len(x)])
    tangent = func.jvp(lambda x: x.logcumsumexp(1), (values,), (minigrad.zeros_like(values),))[1]
    assert tangent.isnan().tolist() == [[True] * len(x), [False] * len(x)]


CHANGED_INTO_VIEWS: dict[str, Callable[[minigrad.Tensor], minigrad.Tensor]] = {
    "transposed": lambda x: (x * x).t_(), "twice": lambda x: (x * x).t_().t_(), "rolled": lambda x: (x * x).roll(1),
    "kron": lambda x: minigrad.kron(x, x), "part": lambda x: (x * x)[:1].squeeze_(0),
    "strided": lambda x: (x * x).as_strided_((3,), (1,), 1),
}


@pytest.mark.parametrize("name", CHANGED_INTO_VIEWS)
def test_a_result_that_turns_into_a_view_of_itself_keeps_its_tangent(name: str) -> None:
    f, x = CHANGED_INTO_VIEWS[name], minigrad.arange(6.0).reshape(2, 3)
    assert func.jacfwd(f)(x).tolist() == func.jacrev(f)(x).tolist()
    assert func.jacfwd(func.jacfwd(f))(x).tolist() == func.jacrev(func.jacrev(f))(x).tolist()
    assert func.jacfwd(f)(x).count_nonzero() > 1


@pytest.mark.parametrize(("name", "y"), [("xlogy", -4.0), ("xlogy", 0.0), ("xlog1py", -4.0)])
def test_a_slope_that_is_not_chosen_makes_no_tangent_nan(name: str, y: float) -> None:
    def f(x: minigrad.Tensor) -> minigrad.Tensor:
        found: minigrad.Tensor = getattr(minigrad.special, name)(x, minigrad.full((2,), y))
        return found

    x = minigrad.tensor([1.0, 0.0])
    assert func.jvp(f, (x,), (minigrad.tensor([0.0, 1.0]),))[1].tolist() == [0.0, 0.0]
    assert func.jacfwd(f)(x).nan_to_num(7.0).tolist() == func.jacrev(f)(x).nan_to_num(7.0).tolist()


def test_a_result_that_is_a_view_of_an_argument_is_one_of_what_the_caller_gave():
    x, w = minigrad.ones(2, 3), minigrad.ones(1, requires_grad=True)
    view = func.vjp(lambda t: t[0].narrow(0, 1, 2), x)[0]
    assert view._is_view() and not view.requires_grad
    view.mul_(w * 2)
    assert x.requires_grad and x.tolist() == [[1, 2, 2], [1, 1, 1]]
    x.sum().backward()
    assert w.grad.item() == 4


def test_what_vmap_gave_is_differentiated_again_if_its_ops_can_be():
    x = minigrad.ones(3, 2, requires_grad=True)
    y = func.vmap(lambda t: t.cumsum(0))(x)
    y.sum().backward()
    y.cos().sum().backward()
    z = func.vmap(minigrad.sin)(x)
    z.sum().backward()
    with pytest.raises(RuntimeError, match="a second time"):
        z.sum().backward()


def test_vmap_watches_its_operands_and_results():
    x = minigrad.ones(3, requires_grad=True)
    for op, of_result in ((minigrad.sin, False), (minigrad.exp, True)):
        for result in (False, True):
            y = x * 2
            z = func.vmap(op)(y)
            (z if result else y).add_(1)
            if result is of_result:
                with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                    z.sum().backward()
            else:
                z.sum().backward()


def test_the_tape_entry_of_vmap_says_where_gradients_go():
    x = minigrad.ones(3, requires_grad=True)
    ((below, number),) = func.vmap(minigrad.sin)(x).grad_fn.next_functions
    assert below.variable is x and number == 0
