"""Which gradients PyTorch refuses, in which words, and what it has accumulated before: the same here."""

from itertools import product

import pytest

import minigrad

torch = pytest.importorskip("torch")


def _outcome(call, library):
    try:
        return call(library)
    except Exception as error:
        return type(error).__name__, str(error).replace("torch.", "minigrad.")


def _agree(call):
    assert _outcome(call, minigrad) == _outcome(call, torch)


PAIRS = ("add", "sub", "mul", "div", "pow", "atan2", "hypot", "copysign", "logaddexp", "logaddexp2", "xlogy", "fmax",
         "fmin", "maximum", "minimum", "remainder", "fmod", "true_divide", "rsub", "float_power")


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_with_an_operand_that_is_no_float(name):
    for dtype, first in product(("bool", "int32", "uint8"), (True, False)):
        def refused(library, dtype=dtype, first=first):
            a = library.tensor([1, 0, 1]).to(getattr(library, dtype))
            b = library.tensor([0.5, 1.5, 1.0], requires_grad=True)
            y = getattr(library, name)(*((a, b) if first else (b, a)))
            y.sum().backward()
            return b.grad is not None

        _agree(refused)


def test_clamp_by_bounds_of_all_shapes():
    shapes = ((), (4,), (1, 4), (3, 4), (3, 1))
    for sizes, tracked in product(product(shapes, repeat=3), ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1))):
        def gradients(library, sizes=sizes, tracked=tracked):
            x, low, high = [library.full(s, 0.5 * i, requires_grad=bool(t))
                            for i, (s, t) in enumerate(zip(sizes, tracked, strict=True))]
            library.clamp(x, low, high).sum().backward()
            return [None if v.grad is None else v.grad.tolist() for v in (x, low, high)]

        _agree(gradients)


@pytest.mark.parametrize("name", ["sum", "prod", "nansum", "cumsum", "cumprod", "softmax", "log_softmax"])
def test_results_that_can_have_no_gradient(name):
    for dtype, tracked, dim in product(("int32", "int64", "bool", "uint8", "float64"), (True, False),
                                       (0, 1)):
        def result(library, dtype=dtype, tracked=tracked, dim=dim):
            x = library.ones(2, 3, requires_grad=tracked)
            y = getattr(x, name)(dim=dim, dtype=getattr(library, dtype))
            return y.requires_grad, y.dtype.is_floating_point, round(y.double().sum().item(), 9)

        _agree(result)


@pytest.mark.parametrize("name", ["pow_", "mul_", "atan2_", "copysign_", "div_", "xlogy_", "hypot_", "remainder_",
                                  "fmod_", "add_"])
def test_in_place_with_an_operand_of_a_wider_type(name):
    for dtype, then in product(("float32", "float64"), (False, True)):
        def gradient(library, dtype=dtype, then=then):
            x = library.tensor([4.0, 0.5, 0.25], requires_grad=True)
            y = x * 1
            getattr(y, name)(library.tensor([2.5, 0.75, 1.75], dtype=getattr(library, dtype)))
            if then:
                y.mul_(2)
            try:
                y.sum().backward()
            except RuntimeError as error:
                return str(error)[:40]
            return [round(v, 4) for v in x.grad.tolist()]

        _agree(gradient)


def test_numbers_by_a_tensor():
    def taken(library):
        x = library.tensor([1.5], requires_grad=True)
        (2 % x).sum().backward()

    _agree(taken)


@pytest.mark.parametrize("shape", [(2, 3), (3,), ()])
def test_a_norm_of_order_0(shape):
    for keepdim in (False, True):
        def gradients(library, keepdim=keepdim):
            x, y = library.ones(shape, requires_grad=True), library.zeros(shape, requires_grad=True)
            d = library.nn.functional.pairwise_distance(x, y, p=0, keepdim=keepdim)
            d.sum().backward()
            return d.tolist(), tuple(d.shape), x.grad, y.grad

        _agree(gradients)


def test_what_is_accumulated_before_an_error():
    def gradients(library):
        a, b, c = [library.tensor(v, requires_grad=True) for v in (1.0, 2.0, 3.0)]
        early = (b * c).exp()
        y = a * 3 + b + early
        early.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.backward()
        return [None if t.grad is None else t.grad.item() for t in (a, b, c)]

    _agree(gradients)


def test_what_is_accumulated_before_a_number_by_a_tensor_is_differentiated():
    def gradients(library):
        a, b = library.tensor(-2.25, requires_grad=True), library.tensor(1.5, requires_grad=True)
        with pytest.raises(RuntimeError, match="derivative for aten::remainder is not implemented"):
            (-1 % b % a).backward()
        return [None if t.grad is None else t.grad.item() for t in (a, b)]

    _agree(gradients)


def test_what_is_accumulated_where_a_leaf_is_written_into_what_is_not_differentiated():
    def gradients(library):
        a, b = library.ones(7, 2, requires_grad=True), library.tensor(3.25, requires_grad=True)
        y = a // library.tensor(2.25)
        y[:5:2] = b
        with pytest.raises(RuntimeError, match="derivative for aten::floor_divide is not implemented"):
            y.sum().backward()
        return [None if t.grad is None else t.grad.tolist() for t in (a, b)]

    _agree(gradients)


def test_what_is_accumulated_before_no_gradient_comes_to_what_is_not_differentiated():
    def gradients(library):
        a, b = library.tensor([3.0], requires_grad=True), library.tensor([2.0], requires_grad=True)
        with pytest.raises(RuntimeError, match="derivative for aten::floor_divide is not implemented"):
            library.autograd.backward([b.sum() * 2, (a // 2).norm(p=0)])
        c = library.tensor([1.0], requires_grad=True)
        found = library.autograd.grad((a // 2 + c).norm(p=0), c, allow_unused=True)
        return [None if g is None else g.tolist() for g in (a.grad, b.grad, *found)]

    _agree(gradients)


def test_a_view_is_differentiated_in_the_order_in_which_it_was_made():
    def gradients(library):
        found = []
        a, b = [library.tensor([1.0, v], requires_grad=True) for v in (2.0, 3.0)]
        for _ in range(8):
            c = library.asinh(a)
            part = library.tensor_split(b, 2, -1)[1]
            d = library.nn.functional.normalize(c, dim=-1)
            c[...] = d
            c[-2:-2] = part
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                c.sum().abs().backward()
            found.append([None if t.grad is None else t.grad.tolist() for t in (a, b)])
        return found

    _agree(gradients)


def test_what_a_replayed_backward_did_not_use_up_may_be_differentiated():
    def gradients(library):
        found = []
        for i in range(6):
            a, b = [library.tensor([1.0 + i, v], requires_grad=True) for v in (2.0, 3.0)]
            c = b.exp()
            d = library.addcmul(a, c, c)
            c.sum().backward()
            with pytest.raises(RuntimeError, match="second time"):
                d.sum().backward()
            found.append([None if t.grad is None else t.grad.tolist() for t in (a,)])
        return found

    _agree(gradients)


@pytest.mark.parametrize("first", ["int32", "bool", "float32"])
def test_addcdiv_by_integers(first):
    for dtype, place in product(("bool", "int32", "float64"), range(2)):
        def gradient(library, dtype=dtype, place=place):
            operands = [library.tensor([0.5, 1.5]), library.tensor([1.0, 2.0]).to(getattr(library, first)),
                        library.tensor([1, 2]).to(getattr(library, dtype))]
            operands[place].requires_grad_()
            library.addcdiv(*operands).sum().backward()
            return operands[place].grad.tolist()

        _agree(gradient)


COMPLEX = {
    "embedding": "L.nn.functional.embedding(i, x)", "silu": "L.nn.functional.silu(x)", "bilinear":
    "L.nn.functional.bilinear(x, x, x.reshape(1, 2, 2))", "index_reduce": "x.index_reduce(0, i, x, 'mean')",
    "scatter_reduce": "x.scatter_reduce(0, i[None], x, 'mean')", "nan_to_num": "x.nan_to_num()", "geqrf": "L.geqrf(x)",
    "select_scatter": "L.select_scatter(x, x[0], 0, 0)", "slice_scatter": "x.slice_scatter(x[:1], 0, 0, 1)",
    "cummin": "x[0, 0].cummin(0)", "cummax": "L.cummax(x[0, 0], 0)", "mode": "x[0, 0].mode()",
    "to_sparse": "x.to_sparse()", "to_sparse_csr": "x.to_sparse_csr()", "in place": "(x * 1).scatter_reduce_(0, i[None]"
    ", x, 'mean')", "silu_": "L.nn.functional.silu(x * 1, inplace=True)", "nan_to_num_": "(x * 1).nan_to_num_()",
    "index_reduce_": "(x * 1).index_reduce_(0, i, x, 'mean')", "diagonal_scatter": "x.diagonal_scatter(x[0])"}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", COMPLEX)
def test_complex_results_that_have_no_gradient(name):
    for tracked in (True, False):
        def outcome(library, tracked=tracked):
            x = library.tensor([[1 + 2j, 2.0], [3.0, -1j]], requires_grad=tracked)
            result = eval(COMPLEX[name], {"L": library, "x": x, "i": library.tensor([0, 1])})
            with library.no_grad():
                eval(COMPLEX[name], {"L": library, "x": x, "i": library.tensor([0, 1])})
            return (result[0] if isinstance(result, tuple) else result).requires_grad

        _agree(outcome)


@pytest.mark.parametrize("through", [
    "y.log2()", "y.sum()", "y.log2().sum()", "(-y).log2()", "y.tanh().log2()", "(y.log2() * 2).exp()", "y.log2() - 1",
    "1 - y.log2()", "y.log2() / y", "y / y.log2()", "y.log2().expand(2, 3)", "y.log2()[None]", "y.log2()[1:]",
    "y.log2() * L.ones(2, 1)", "L.cat([y.log2(), y.log2()])", "y.log2().norm(1)", "L.logaddexp2(y.log2(), y)",
    "y.log2()[None].t()", "y.log2()[None].sum(0)", "y.log2()[None].squeeze(0)", "y.log2().prod()", "y.log2().deg2rad()",
    "(y + 1).pow(y.log2())", "y.log2().pow(y + 1)", "L.xlogy(y.log2(), y)", "L.xlogy(y, y.log2())",
    "L.special.xlog1py(y, y.log2())", "L.lerp(y.log2(), y, y)", "L.ldexp(y, y.log2())", "y.log2().erfinv()",
    "y.log2().i0()", "L.special.erfcx(y.log2())", "L.special.entr(y.log2())", "L.special.ndtr(y.log2())",
    "L.fmod(y.log2(), y)", "L.remainder(y, y.log2())", "L.addcdiv(y.log2(), y, y)", "L.addcdiv(y, y, y.log2())",
    "L.copysign(y.log2(), y)", "L.mv(y.log2()[None], y)", "L.mv(y[None], y.log2())",
    "y.scatter_add(0, L.tensor([0, 1, 2]), y.log2())", "y.log2().index_add(0, L.tensor([0, 1, 2]), y)"])
def test_the_slope_of_a_sign_is_0_though_others_are_infinite(through):
    def gradients(library):
        found = []
        for hooked in (False, True):
            x = library.tensor([0.0, 2.0, 1.0], dtype=library.float64, requires_grad=True)
            y = x * 1
            z = eval(through, {"L": library, "y": y})
            if hooked:
                y.register_hook(lambda g: found.append(g.isnan().tolist()))
            library.sgn(z).sum().backward(retain_graph=True)
            found.append(x.grad.isnan().tolist())
            slope = library.autograd.grad(z.sum().abs(), z, create_graph=True)[0]
            found.append(library.autograd.grad(slope.sum().abs(), y)[0].isnan().tolist())
        return found

    _agree(gradients)


@pytest.mark.parametrize("call", [
    "L.special.entr(y)", "L.special.log_ndtr(y)", "L.special.erfcx(y)", "L.fft.rfft(y)", "L.fft.fft(y + 0j)",
    "L.fft.ifft(y * 1j)", "L.fft.irfft(y + 0j)"])
def test_what_special_functions_and_transforms_keep(call):
    for change in ("y.mul_(2)", "z.mul_(2)", "z.abs().sum().backward()"):
        def gradient(library, change=change):
            x = library.tensor([0.3, 0.7], dtype=library.float64, requires_grad=True)
            y = x * 1
            z = eval(call, {"L": library, "y": y})
            exec(change, {"y": y, "z": z})
            try:
                z.abs().sum().backward()
            except RuntimeError as error:
                return str(error)[:40]
            return [round(v, 6) for v in x.grad.tolist()]

        _agree(gradient)
