"""What the tape watches: views that may not be changed, values that backward reads, what hooks return, histories."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import pytest

import minigrad

INF, NAN = float("inf"), float("nan")


def leaf(*values: float) -> minigrad.Tensor:
    return minigrad.tensor(values, requires_grad=True)


def test_the_message_names_the_op_though_the_result_has_become_that_of_another() -> None:
    """A result that backward reads is called by the op that made it, an operand by what it is now."""
    x = leaf(1.0, 2.0)
    for change, name in ((lambda y: y.mul_(2), "Exp"), (lambda y: y[:1].mul_(2), "Exp")):
        y = (x * 2).exp()
        change(y)
        with pytest.raises(RuntimeError, match=f"which is output 0 of {name}, is at version 1"):
            y.sum().backward()
    y = x * 2
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match="which is output 0 of Add, is at version 1"):
        z.sum().backward()


@pytest.mark.parametrize("op", [
    lambda a, b: a * b, lambda a, b: a / b, lambda a, b: b.log() + a, lambda a, b: minigrad.maximum(a, b),
    lambda a, b: minigrad.where(a > b, a, b) * a])
def test_values_that_backward_reads_may_not_be_changed(op) -> None:
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    mine = a * 1
    y = op(mine, b)
    with minigrad.no_grad():
        mine.add_(1)
        b.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation: .* is at version 1; expected version 0"):
        y.sum().backward()


@pytest.mark.parametrize("op", [lambda a: a + a, lambda a: a.sum(), lambda a: a.sigmoid(), lambda a: a.exp(),
                                lambda a: -a, lambda a: a.view(-1), lambda a: minigrad.cat([a, a])])
def test_values_that_backward_does_not_read_may_be_changed(op) -> None:
    x = leaf(1.0, 2.0)
    a = x * 1
    y = op(a)
    a.add_(1)
    y.sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("op", [
    lambda x: x.norm(), lambda x: x.norm(1), lambda x: x.norm(float("inf")), lambda x: x.nansum(), lambda x: x.max(),
    lambda x: x.median(), lambda x: x.logit(), lambda x: minigrad.complex(x, x).abs(),
    lambda x: minigrad.cdist(x[None], x[None] * 2), lambda x: x.polygamma(1),
    lambda x: x.scatter_reduce(0, minigrad.tensor([0, 1]), x, "prod"),
    lambda x: x.take(minigrad.tensor([1, 0])), lambda x: x.masked_select(minigrad.tensor([True, False])),
    lambda x: x.nan_to_num(), lambda x: minigrad.nn.functional.normalize(x, dim=0), lambda x: x.sgn(),
    lambda x: x.cummax(0)[0], lambda x: x.aminmax()[1], lambda x: x.i0(), lambda x: x.lerp(x, x),
    lambda x: minigrad.cross(x.repeat(2)[:3], x[:1].expand(3), 0),
    lambda x: minigrad.nn.functional.avg_pool1d(x[None], 2),
    lambda x: minigrad.nn.functional.nll_loss(x[None], minigrad.tensor([1]))])
def test_reductions_distances_and_functions_of_several_steps_read_their_operands(op) -> None:
    x = leaf(0.25, 0.5)
    y = op(x)
    with minigrad.no_grad():
        x.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize(("op", "name"), [
    (lambda x: x.max(), "Max1"), (lambda x: x.exp(), "Exp"), (lambda x: x.aminmax()[1], "Aminmax"),
    (lambda x: x.sgn(), "Sgn")])
def test_the_message_names_the_op(op, name) -> None:
    y = op(leaf(1.0, 2.0))
    with minigrad.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match=f"which is output . of {name}, is at version 1"):
        y.sum().backward()


@pytest.mark.parametrize("op", [
    lambda x: x.median(), lambda x: x.max(0)[0], lambda x: x.sort()[0], lambda x: x.prod(), lambda x: x.sgn(),
    lambda x: x**1, lambda x: minigrad.nn.functional.l1_loss(x, x.detach()), lambda x: x.mode()[0],
    lambda x: minigrad.nn.functional.tanhshrink(x), lambda x: 1 / x])
def test_what_pytorch_keeps_is_used_up_by_backward(op) -> None:
    """Of a 0-d Tensor minigrad's own backward reads nothing."""
    y = op(minigrad.tensor(2.0, requires_grad=True))
    y.backward()
    with pytest.raises(RuntimeError, match="a second time"):
        y.backward()


@pytest.mark.parametrize("op", [
    lambda x: x.lerp(x, 0.25), minigrad.trapezoid, minigrad.cumulative_trapezoid, minigrad.deg2rad,
    lambda x: x.round(decimals=2), lambda x: 1 - x, lambda x: minigrad.nn.functional.adaptive_avg_pool1d(x[None], 1)])
def test_what_pytorch_does_not_keep_is_not_used_up(op) -> None:
    x = leaf(1.0, 2.0)
    y = op(x).sum()
    y.backward()
    y.backward()
    assert x.grad is not None


@pytest.mark.parametrize("op", [
    lambda z: z.lerp(z, 0.25), lambda z: z.lerp(z, 0.75 + 1j), lambda z: z.add(z, alpha=2),
    lambda z: z.sub(z, alpha=1j), lambda z: z.rsub(z, alpha=0.5)])
def test_a_factor_beside_complex_numbers_is_not_used_up(op) -> None:
    z = minigrad.tensor([1 + 2j, 3 - 1j], requires_grad=True)
    y = op(z).sum().real
    y.backward()
    y.backward()
    assert z.grad is not None


@pytest.mark.parametrize("reduce", ["sum", "mean", "amax", "amin", "prod"])
@pytest.mark.parametrize("changed", ["operand", "source", "result", "index"])
@pytest.mark.parametrize("kind", ["scatter_reduce", "index_reduce"])
def test_what_the_derivative_of_a_reduction_by_places_reads(kind, changed, reduce) -> None:
    """Its index; of a product the other operand, too. What decides which element is the largest does not count."""
    if kind == "index_reduce" and reduce == "sum":
        return
    x, weights, index = leaf(1.5, 2.0, -3.0), leaf(1.0, 2.0, 3.0), minigrad.tensor([0, 0, 1])
    for tracked, other in (("source", "operand"), ("operand", "source")):
        operands = {tracked: x * 1, other: minigrad.tensor([0.5, -1.0, 2.5])}
        result = getattr(operands["operand"], kind)(0, index, operands["source"], reduce)
        slope, = minigrad.autograd.grad(result, x, weights, create_graph=True)
        {**operands, "result": result, "index": index}[changed].detach().mul_(1)
        whole = tracked == "source" and (reduce == "prod" or changed == "index")
        read = whole or (reduce == "prod" and changed in ("source", "index"))
        with pytest.raises(RuntimeError, match="modified by an inplace") if read else nullcontext():
            minigrad.autograd.grad((slope * slope).sum(), weights)


@pytest.mark.parametrize(("op", "requires"), [
    (lambda x, y: x.amax(), [False]), (lambda x, y: x.aminmax()[0], [False]),
    (lambda x, y: x.clamp(y, y), [False, False]), (lambda x, y: minigrad.maximum(x, y), [False, False]),
    (lambda x, y: x.addcmul(x.detach(), y), [False, False]), (lambda x, y: x.addcmul(y, y.exp()), [False, True]),
    (lambda x, y: x.nan_to_num(), [False]), (lambda x, y: x * y, [True, True]), (lambda x, y: 1 / x, [True]),
    (lambda x, y: minigrad.nn.functional.avg_pool1d(x[None], 2), [True]), (lambda x, y: x.relu(), [True])])
def test_gradients_of_gradients_have_pytorchs_histories(op, requires) -> None:
    x, y = leaf(1.0, 2.0), leaf(1.5, 1.0)
    found = minigrad.autograd.grad(op(x, y).sum(), (x, y), create_graph=True, allow_unused=True)
    assert [g.requires_grad for g in found if g is not None] == requires
    if requires == [True]:
        assert minigrad.autograd.grad(found[0].sum(), x)[0].shape == (2,)


@pytest.mark.parametrize(("op", "name"), [
    (lambda x: x // 2, "floor_divide"), (lambda x: 2 // x, "floor_divide"), (minigrad.floor_divide, "floor_divide"),
    (minigrad.heaviside, "heaviside")])
def test_what_pytorch_does_not_differentiate_says_so(op, name) -> None:
    x = leaf(1.0, 2.0)
    y = op(x) if op.__name__ == "<lambda>" else op(x, x)
    assert y.requires_grad
    for create_graph in (False, True):
        with pytest.raises(RuntimeError, match=f"derivative for aten::{name} is not implemented"):
            minigrad.autograd.grad((y + x).sum(), x, create_graph=create_graph)
    z = x.div(2, rounding_mode="floor") + x
    assert minigrad.autograd.grad(z.sum(), x)[0].tolist() == [1, 1]


def test_an_optimizer_step_between_forward_and_backward_is_noticed() -> None:
    w = leaf(1.0, 2.0)
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    minigrad.optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("parts", [lambda y: y.split(1), lambda y: y.unbind(), lambda y: y.chunk(2), lambda y: list(y)])
def test_one_of_several_views_may_not_be_changed(parts) -> None:
    part = parts(leaf(1.0, 2.0) * 1)[0]
    with pytest.raises(RuntimeError, match="is the output of a function that returns multiple views"):
        part.add_(1)
    alone = parts(minigrad.ones(2))[0]
    alone.add_(1)  # where nothing is recorded it may


def test_views_of_what_several_views_see() -> None:
    y = leaf(1.0, 2.0) * 1
    part, _ = y.split(1)
    y.add_(1)
    with pytest.raises(RuntimeError, match="its base or another view of its base has been modified inplace"):
        part.sum()


@pytest.mark.parametrize(("returned", "error", "words"), [
    (lambda g: g.double(), RuntimeError, "has changed the type of value"),
    (lambda g: g[:1], RuntimeError, "hook '<lambda>' has changed the size of value"),
    (lambda g: 3, TypeError, "expected Variable, but hook returned 'int'")])
def test_what_hooks_return_is_checked(returned, error, words) -> None:
    for where in (lambda x: x, lambda x: x * 2):
        x = leaf(1.0, 2.0)
        y = where(x)
        y.register_hook(returned)
        with pytest.raises(error, match=words):
            (y * y).sum().backward()


def test_hooks_may_change_the_gradient_in_place_and_the_leaf() -> None:
    def enlarge(gradient):
        gradient.mul_(10)

    def step(parameter):
        parameter.sub_(parameter.grad)

    x = leaf(1.0, 2.0)
    x.register_hook(enlarge)
    x.register_post_accumulate_grad_hook(step)
    (x * 3).sum().backward()
    assert x.grad.tolist() == [30, 30] and x.tolist() == [-29, -28]


def test_histories() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    view = y[:1]
    y.detach_()
    view.sum().backward()
    assert not y.requires_grad and x.grad.tolist() == [3, 0]
    z = x * 2
    z.retain_grad()
    z.mul_(5)
    z.sum().backward()
    assert z.grad.tolist() == [1, 1]


def test_a_function_that_changes_a_view() -> None:
    class AddTwice(minigrad.autograd.Function):
        @staticmethod
        def forward(ctx, a, b):
            ctx.mark_dirty(a)
            return a.add_(b).add_(b)

        @staticmethod
        def backward(ctx, g):
            return g, 2 * g

    x, w = leaf(1.0, 2.0), leaf(5.0)
    y = x * 3
    AddTwice.apply(y[:1], w)
    y.sum().backward()
    assert x.grad.tolist() == [3, 3] and w.grad.tolist() == [2] and y.tolist() == [13, 6]


def test_grad_along_an_edge() -> None:
    x = leaf(1.0, 2.0)
    y = x * 3
    edge = minigrad.autograd.graph.get_gradient_edge(y)
    y.mul_(2)
    before, after = minigrad.autograd.grad(y.sum(), (edge, y))
    assert before.tolist() == [2, 2] and after.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="cannot be empty"):
        minigrad.autograd.grad(y.sum(), ())


def test_generators_see_exceptions_in_their_mode() -> None:
    @minigrad.no_grad()
    def numbers():
        for i in range(3):
            try:
                yield i
            except ValueError:
                assert not minigrad.is_grad_enabled()

    steps = numbers()
    assert next(steps) == 0 and steps.throw(ValueError) == 1 and minigrad.is_grad_enabled()


def test_a_view_still_requires_a_gradient_when_its_leaf_no_longer_does():
    for _ in range(3):  # from the second time on the view gets its place on the tape when it is read
        v = minigrad.ones(2, 2).requires_grad_()
        w = v.T
        v.requires_grad_(False)
        total = w.sum()
        assert w.requires_grad and total.requires_grad
    total.backward(retain_graph=True)
    assert v.grad is None
    v.requires_grad_()
    total.backward()
    assert v.grad.tolist() == [[1, 1], [1, 1]]


@pytest.mark.parametrize("op", [
    lambda x, i: x.index_fill(0, i, 2.0), lambda x, i: x.put(i, x.detach()), lambda x, i: x[i] * 1,
    lambda x, i: (x * 1).index_put_((i,), x[:1]),
    lambda x, i: minigrad.nn.functional.embedding_bag(i[None], x[:, None])])
def test_an_index_may_not_be_changed_though_another_is_computed_from_it(op) -> None:
    x, index = leaf(1.0, 2.0), minigrad.tensor([0, 1])
    y = op(x, index)
    index.add_(-1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation: .* is at version 1; expected version 0"):
        y.sum().backward()


@pytest.mark.parametrize(("changed", "tracked"), [("table", "factors"), ("factors", "factors"), ("factors", "table")])
def test_a_weighted_bag_reads_its_table_and_factors(changed: str, tracked: str) -> None:
    given = {"table": minigrad.ones(2, 1), "factors": minigrad.ones(1, 2)}
    given[tracked].requires_grad_()
    y = minigrad.nn.functional.embedding_bag(
        minigrad.tensor([[0, 1]]), given["table"], per_sample_weights=given["factors"], mode="sum")
    with minigrad.no_grad():
        given[changed].mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("name", ["running_mean", "running_var"])
@pytest.mark.parametrize("training", [False, True])
def test_running_statistics_may_not_be_changed_by_the_program(name: str, training: bool) -> None:
    layer, x = minigrad.nn.BatchNorm1d(2).train(training), minigrad.ones(3, 2, requires_grad=True)
    y = layer(x) + layer(x)  # the second call of a training layer is no change of the program's
    y.sum().backward(retain_graph=True)
    getattr(layer, name).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize(("op", "name"), [
    (lambda x: x.select_scatter(x[0], 0, 1), "SelectScatter"),
    (lambda x: x.slice_scatter(x[:1], 0, 1, 2), "SliceScatter"),
    (lambda x: x.diagonal_scatter(x[0]), "DiagonalScatter"),
    (lambda x: x.as_strided_scatter(x[0], (2,), (1,)), "AsStridedScatter"),
    (lambda x: minigrad.lu_unpack(x, minigrad.tensor([1, 2], dtype=minigrad.int32)).U, "LuUnpack")])
def test_parts_written_into_a_copy_are_one_entry_that_keeps_nothing(op, name: str) -> None:
    x = minigrad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = op(x)
    assert y.grad_fn.name() == f"{name}Backward0"
    first, = minigrad.autograd.grad(y.sum(), [x], retain_graph=True)
    with minigrad.no_grad():
        x.add_(1)
    y.sum().backward()
    assert x.grad.tolist() == first.tolist()


def test_gradients_without_a_history() -> None:
    x, y = leaf(1.0, 2.0), leaf(2.0, 4.0)
    by_x, by_y = minigrad.autograd.grad(minigrad.addcdiv(x, x.detach(), y).sum(), [x, y], create_graph=True)
    assert not by_x.requires_grad
    assert by_y.requires_grad
    for op in (minigrad.xlogy, minigrad.special.xlog1py, minigrad.ldexp):
        assert not minigrad.autograd.grad(op(x, y.detach()).sum(), [x], create_graph=True)[0].requires_grad
        assert minigrad.autograd.grad(op(x.detach(), y).sum(), [y], create_graph=True)[0].requires_grad
    weight = minigrad.ones(2, requires_grad=True)
    normal = minigrad.nn.functional.group_norm(x[None, :, None].expand(1, 2, 3) * minigrad.arange(3.0), 1, weight, y)
    of_weight, of_bias = minigrad.autograd.grad(normal.sum(), [weight, y], create_graph=True)
    assert of_weight.requires_grad
    assert not of_bias.requires_grad


def test_a_view_that_is_older_than_its_bases_wish_for_a_gradient_is_a_leaf_of_its_own() -> None:
    x = minigrad.ones(3)
    old = x[:2]
    x.requires_grad_()
    new = x[:2]
    assert old.requires_grad
    assert old.is_leaf
    assert old._base is x
    assert not new.is_leaf
    (old * 2 + new * 3).sum().backward()
    assert old.grad.tolist() == [2.0, 2.0]
    assert x.grad.tolist() == [3.0, 3.0, 0.0]
    part = old[:1]
    part.sum().backward()
    assert old.grad.tolist() == [3.0, 2.0]
    for view in (old, new, part):
        with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad is being used"):
            view.mul_(2)


def test_a_view_that_was_asked_for_a_gradient_has_that_of_its_base_when_that_is_changed() -> None:
    x, w = minigrad.ones(3), leaf(1.0, 2.0, 3.0)
    view = x[:2].requires_grad_()
    (view * 2).sum().backward()
    assert view.grad.tolist() == [2.0, 2.0]
    x.mul_(w)
    assert not view.is_leaf
    view.sum().backward()
    assert view.grad.tolist() == [2.0, 2.0]
    assert w.grad.tolist() == [1.0, 1.0, 0.0]


def test_a_base_that_was_detached_takes_its_wish_for_a_gradient_with_it() -> None:
    x = minigrad.ones(2)
    view = x[:1]
    x.requires_grad_()
    x.detach_()
    assert not view.requires_grad


def test_the_gradient_of_a_norm_is_0_at_0_and_its_gradient_is_not_a_number() -> None:
    for values in ([0.0, 0.0], [[0.0, 0.0], [3.0, 4.0]]):
        x = minigrad.tensor(values, dtype=minigrad.float64, requires_grad=True)
        first, = minigrad.autograd.grad(x.norm(dim=-1).sum(), [x], create_graph=True)
        second, = minigrad.autograd.grad(first.sum(), [x])
        assert first.reshape(-1).tolist()[:2] == [0.0, 0.0]
        assert second.reshape(-1)[:2].isnan().all()
        assert second.reshape(-1)[2:].isfinite().all()


@pytest.mark.parametrize(("values", "slope"), [
    ([INF, 1.0, 0.0], [0.0, NAN, INF]), ([0.0, INF], [INF, 0.0]), ([NAN, 0.0], [0.0, NAN]),
    ([0.0, INF, INF], [INF, NAN, NAN]), ([0.0, 2.0, 0.0], [0.0, 0.0, 0.0]), ([0.0, 2.0, 3.0], [6.0, 0.0, 0.0])])
def test_the_slope_of_a_product_with_a_0_is_that_of_the_other_elements(values: list[float], slope: list[float]) -> None:
    for op in (lambda x: x.prod(), lambda x: x.prod(0)):
        x = leaf(*values)
        op(x).backward()
        assert str(x.grad.tolist()) == str(slope)


def test_data_that_is_replaced_is_read_as_an_operand_and_not_as_a_result() -> None:
    x = minigrad.tensor(2.0, requires_grad=True)
    result, square = x.exp(), x * x
    result.data = result.data * 2
    result.backward()
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(math.exp(2))
    x.data = minigrad.tensor(5.0)
    slope, = minigrad.autograd.grad(square, x)
    assert slope.item() == 10.0


@pytest.mark.parametrize("function", [
    lambda x, y: x.reciprocal(), lambda x, y: x.hypot(y), lambda x, y: x.copysign(-y), lambda x, y: x.prod(),
    lambda x, y: x.prod(0), lambda x, y: x.exp(), lambda x, y: x.prod(0, keepdim=True),
])
def test_results_that_backward_reads_in_pytorch_are_read_as_they_are_then(function: Any) -> None:
    """Each slope is the result times something (of the reciprocal's square) or something divided by it."""
    slopes = []
    for factor in (1, 2):
        x, y = leaf(0.5, 3.0), minigrad.tensor([4.0, -2.0])
        out = function(x, y)
        out.data.mul_(factor)
        out.sum().backward()
        slopes.append(x.grad)
    ratio = slopes[1] / slopes[0]
    assert ratio.tolist() in ([2, 2], [4, 4], [0.5, 0.5])


def test_an_infinite_gradient_of_one_chosen_element_leaves_the_others_alone() -> None:
    for name in ("max", "min", "median", "nanmedian"):
        x = minigrad.tensor([1.0, 1.0, 1.0, math.nan][:3 + (name == "nanmedian")], requires_grad=True)
        x.data[0 if name == "min" else 1] += -1 if name == "min" else 1
        chosen = getattr(x, name)()
        chosen.backward(minigrad.tensor(math.inf))
        picked = x.detach() == chosen.detach()
        assert x.grad is not None
        assert x.grad.tolist() == minigrad.where(picked, math.inf, 0.0).tolist(), name


@pytest.mark.parametrize("rounds", [1, 4])
def test_a_result_that_was_changed_in_place_and_is_gone_is_an_error_too(rounds) -> None:
    """As in PyTorch, whose tape holds what it reads: a function may have changed a local result and returned another.
    """

    def change(x):
        y = x.exp()
        z = y * 2
        y.add_(1)
        return z

    for _ in range(rounds):
        x = leaf(1.0, 2.0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation: .* is at version 1; expected ver"):
            change(x).sum().backward()
        x.exp().sum().backward()
        assert x.grad.tolist() == pytest.approx([math.exp(1), math.exp(2)])


def test_a_local_result_that_nobody_reads_may_be_changed_and_go() -> None:
    x = leaf(1.0, 2.0)

    def change(x):
        y = x + 1
        y.add_(1)
        y.mul_(3)
        return y * 2

    change(x).sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]


@pytest.mark.parametrize("op", [minigrad.atan, minigrad.abs, lambda t: t**3, minigrad.nn.functional.elu])
@pytest.mark.parametrize("transform", [
    lambda f: minigrad.func.grad(lambda t: f(t).sum()), minigrad.func.jacrev,
    lambda f: lambda x: minigrad.func.vjp(f, x)[1](minigrad.ones(2))[0],
    lambda f: lambda x: minigrad.func.vmap(minigrad.func.grad(lambda t: f(t).sum()))(x[None]),
    lambda f: lambda x: minigrad.autograd.grad(f(x).sum(), x, create_graph=True)[0]])
def test_what_a_derivative_was_made_from_may_not_be_changed(op, transform) -> None:
    x = leaf(0.5, 2.0)
    for change in (None, lambda t: t.mul_(2), lambda t: t[:1].zero_()):
        y = x * 1
        found = transform(op)(y)
        if change is None:
            found.sum().backward()
        else:
            change(y)
            with pytest.raises(RuntimeError, match="modified by an inplace operation: .*version 1; expected version 0"):
                found.sum().backward()


@pytest.mark.parametrize("op", [minigrad.exp, minigrad.log1p, lambda t: 1 / t, lambda t: minigrad.logaddexp(t, t)])
def test_what_a_derivative_has_only_computed_with_may_be_changed(op) -> None:
    """Its products read what was computed from it, as in PyTorch."""
    x = leaf(0.5, 2.0)
    y = x * 1
    found = minigrad.autograd.grad(op(y).sum(), y, create_graph=True)[0]
    y.mul_(2)
    found.sum().backward()
    assert x.grad is not None


def test_a_derivative_reads_what_was_changed_through_data() -> None:
    x = leaf(0.5, 2.0)
    found = minigrad.autograd.grad((x**3).sum(), x, create_graph=True)[0]
    x.data.mul_(2)
    found.sum().backward()
    assert x.grad.tolist() == [6.0, 24.0]


@pytest.mark.parametrize("op", [lambda w: w.t() @ w, lambda w: w[0] * w[1], lambda w: w.view(-1).sin(),
                                lambda w: w.detach() * w, lambda w: minigrad.nn.functional.linear(w, w[:1])])
def test_what_was_changed_through_data_is_read_through_a_view_that_is_gone(op) -> None:
    for i in range(5):  # the last ones are replayed
        w = minigrad.tensor([[1.0, 2.0], [3.0, 4.0 + i]], requires_grad=True)
        y = op(w)
        w.data.mul_(0.5)
        y.sum().backward()
        other = w.detach().requires_grad_()
        op(other).sum().backward()
        assert w.grad.flatten().tolist() == pytest.approx(other.grad.flatten().tolist()), i
