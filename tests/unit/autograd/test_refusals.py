"""Gradients that PyTorch's formulas cannot compute are refused where they are asked for, and only there."""

import pytest

import minigrad

SUBTRACTION = r"Subtraction, the `-` operator, with a bool tensor is not supported\."


@pytest.mark.parametrize(("call", "words"), [
    (lambda x, b: minigrad.logaddexp(b, x), SUBTRACTION), (lambda x, b: minigrad.logaddexp(x, b), SUBTRACTION),
    (lambda x, b: minigrad.logaddexp2(b, x), SUBTRACTION), (lambda x, b: minigrad.igamma(b, x), SUBTRACTION),
    (lambda x, b: minigrad.atan2(b, x), "Negation, the `-` operator, on a bool tensor is not supported"),
    (lambda x, b: x ** b, SUBTRACTION), (lambda x, b: 2 % x, "derivative for aten::remainder is not implemented"),
    (lambda x, b: minigrad.addcdiv(x, x, b), "result type Float can't be cast to the desired output type Bool")])
def test_a_gradient_that_pytorch_cannot_compute_is_refused_in_backward(call, words):
    x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    y = call(x, minigrad.tensor([True, True]))
    assert y.requires_grad
    y.sum().item()
    with pytest.raises(RuntimeError, match=words):
        y.sum().backward()


@pytest.mark.parametrize("call", [
    lambda x, b: minigrad.atan2(x, b), lambda x, b: b ** x, lambda x, b: minigrad.addcdiv(x, b.float(), b),
    lambda x, b: x % 2, lambda x, b: minigrad.clamp(x, minigrad.zeros(3, 2), minigrad.ones(3, 2)),
    lambda x, b: minigrad.logaddexp(b.int(), x)])
def test_others_are_not(call):
    x = minigrad.tensor([1.0, 2.0], requires_grad=True)
    call(x, minigrad.tensor([True, True])).sum().backward()
    assert x.grad is not None


def test_clamp_refuses_the_gradients_whose_comparison_is_smaller_than_the_result():
    x, low, high = [minigrad.zeros(s, requires_grad=True) for s in ((2,), (2,), (3, 2))]
    y = minigrad.clamp(x, low, high).sum()
    for asked in (x, low):
        with pytest.raises(RuntimeError, match=r"output with shape \[2\] doesn't match the broadcast shape \[3, 2\]"):
            minigrad.autograd.grad(y, asked, retain_graph=True)
    assert minigrad.autograd.grad(y, high)[0].shape == (3, 2)


@pytest.mark.parametrize("name", ["sum", "prod", "nansum", "cumsum", "cumprod"])
def test_a_tracked_result_must_be_a_float(name):
    x = minigrad.ones(3, requires_grad=True)
    call = getattr(x, name)
    with pytest.raises(RuntimeError, match="Autograd not support dtype: Int"):
        call(dim=0, dtype=minigrad.int32)
    assert call(dim=0, dtype=minigrad.float64).requires_grad
    with minigrad.no_grad():
        assert call(dim=0, dtype=minigrad.int32).dtype is minigrad.int32
    assert getattr(x.detach(), name)(dim=0, dtype=minigrad.int32).dtype is minigrad.int32


def test_leaves_that_have_their_whole_gradient_take_it_before_an_error():
    whole, part, other = [minigrad.tensor(2.0, requires_grad=True) for _ in range(3)]
    early = (part * other).exp()
    y = whole * 3 + part + early
    early.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
    assert whole.grad.item() == 3
    assert part.grad is None
    assert other.grad is None


def test_an_op_without_a_gradient_raises_before_others_go_on():
    """It has its place in the line before leaves that come after it among the operands, and after those before it."""
    def gradient_of(product):
        leaf, divided = minigrad.tensor([2.0], requires_grad=True), minigrad.tensor([3.0], requires_grad=True)
        with pytest.raises(RuntimeError, match="derivative for aten::floor_divide is not implemented"):
            product(leaf, divided // 2).sum().backward()
        return None if leaf.grad is None else leaf.grad.tolist()

    assert gradient_of(lambda leaf, without: without * leaf) is None
    assert gradient_of(lambda leaf, without: leaf * without) == [1.0]
    assert gradient_of(lambda leaf, without: leaf.exp() * without) is None
    assert gradient_of(lambda leaf, without: (leaf.clone() * 2) * without * without) is None
    assert gradient_of(lambda leaf, without: (without * 2) * leaf) == [2.0]  # it is ready after that


def test_a_gradient_of_an_op_without_one_may_be_asked_for():
    x = minigrad.tensor([3.0], requires_grad=True)
    y = x // 2
    gradient, = minigrad.autograd.grad((y * 3).sum(), y)
    assert gradient.tolist() == [3.0]


def test_an_operand_that_was_promoted_and_changed_in_place_is_a_value_of_its_own():
    x = minigrad.tensor([4.0, 0.5], requires_grad=True)
    y = x * 1
    y.pow_(minigrad.tensor([2.0, 3.0], dtype=minigrad.float64))
    assert y.dtype is minigrad.float32
    y.sum().backward()
    assert x.grad.tolist() == [8.0, 0.75]
    z = x * 1
    z.pow_(minigrad.tensor([2.0, 3.0], dtype=minigrad.float64))
    z.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_a_count_of_differences_gives_no_gradient():
    x = minigrad.ones(2, 3, requires_grad=True)
    y = minigrad.nn.functional.pairwise_distance(x, x.detach() * 2, p=0)
    assert y.tolist() == [3.0, 3.0]
    y.sum().backward()
    assert x.grad is None


@pytest.mark.parametrize("change", [lambda y: y.t_(), lambda y: y.detach().unsqueeze_(0), lambda y: y.squeeze_()])
def test_a_change_of_shape_in_place_is_a_change(change):
    y = minigrad.ones(2, 3, requires_grad=True).exp()
    change(y)
    assert y._version == 1
    with pytest.raises(RuntimeError, match="is at version 1; expected version 0"):
        y.sum().backward()


def test_the_first_error_of_a_backward_is_the_one_that_is_raised():
    whole, part, other = [minigrad.tensor(2.0, requires_grad=True) for _ in range(3)]
    early = (part * other).exp()
    y = whole * 3 + part + early
    early.mul_(2)

    def fail(leaf):
        raise ValueError("a hook of a leaf that takes its gradient meanwhile")

    whole.register_post_accumulate_grad_hook(fail)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
