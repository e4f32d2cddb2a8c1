"""Stage: tests. In: pairs of dtypes, at the ends of their ranges; numbers that fit a type and numbers that do not;
halves beside Python numbers. Out: values, dtypes and errors are PyTorch's. Next: ``test_optim_against_torch.py``."""

import operator
import random
import warnings

import numpy as np
import pytest

import minigrad

torch = pytest.importorskip("torch")
LIBRARIES = (minigrad, torch)
DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
UNSIGNED = ["uint16", "uint32", "uint64"]  # PyTorch has few ops for these
DIGITS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": 2.0**-52}


@pytest.fixture(autouse=True)
def _uncompiled():
    with minigrad.config(TIERS=2), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def edges(dtype):
    """The values of a dtype that arithmetic gets wrong."""
    if dtype == "bool":
        return [False, True]
    if "int" in dtype:
        info = torch.iinfo(getattr(torch, dtype))
        around = [0, 1, 2, 3, 7, 8, info.bits - 1, info.bits, info.max, info.max - 1, info.min, info.min + 1]
        around += [-1, -2, -7]
        return sorted({v for v in around if info.min <= v <= info.max})
    values = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, -7.25, 1e-3, 3.14159, 127.5, -128.9, 255.9, 1000.0, 65504.0]
    more = [] if dtype == "float16" else [1e20, -1e20, 2.0**31, 2.0**63, -(2.0**63)]
    return [*values, *more, float("inf"), float("-inf"), float("nan")]


def both(values, dtype):
    """A tensor of these values in each library."""
    theirs = torch.tensor(values, dtype=getattr(torch, dtype))
    if dtype == "bfloat16":
        return minigrad.tensor(theirs.float().numpy()).to(minigrad.bfloat16), theirs
    return minigrad.tensor(theirs.numpy()), theirs


def outcome(call):
    """What a call gives: its dtype and values, or its error."""
    try:
        result = call()
        array = result.to(result.dtype if "bfloat16" not in str(result.dtype) else
                          (minigrad if isinstance(result, minigrad.Tensor) else torch).float32).numpy()
    except Exception as error:
        return type(error).__name__, str(error).replace("minigrad.", "torch.").split("\n")[0]
    return str(result.dtype).rpartition(".")[2], array


def agree(ours, theirs, ulps=0.0):
    assert ours[0] == theirs[0], (ours, theirs)
    if isinstance(theirs[1], str) or isinstance(ours[1], str):
        assert ours[1] == theirs[1]
        return
    assert ours[1].shape == theirs[1].shape
    if theirs[1].dtype.kind != "f":
        np.testing.assert_array_equal(ours[1], theirs[1])
        return
    a, b = ours[1].astype("f8"), theirs[1].astype("f8")
    with np.errstate(all="ignore"):
        close = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= ulps * DIGITS[theirs[0]] * np.abs(b))
    assert close.all(), (ours[1][~close][:3], theirs[1][~close][:3])
    zeros = (b == 0) & (a == 0)
    assert (np.signbit(a) == np.signbit(b))[zeros].all()


FUNCTIONS = ["add", "sub", "mul", "div", "floor_divide", "remainder", "fmod", "eq", "lt", "ge", "bitwise_and",
             "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift", "logical_xor", "fmax", "copysign"]
OPERATORS = ["add", "sub", "mul", "truediv", "floordiv", "mod", "and_", "or_", "lshift", "rshift"]
ROWS = {name: lambda m, a, b, name=name: getattr(m, name)(a, b) for name in FUNCTIONS}
ROWS |= {f"operator {name}": lambda m, a, b, name=name: getattr(operator, name)(a, b) for name in OPERATORS}
ROWS |= {
    "pow": lambda m, a, b: m.pow(a, b),
    "div trunc": lambda m, a, b: m.div(a, b, rounding_mode="trunc"),
    "div floor": lambda m, a, b: m.div(a, b, rounding_mode="floor"),
    "rsub": lambda m, a, b: m.rsub(a, b),
    "where": lambda m, a, b: m.where(a > 0, a, b),
    "masked_fill": lambda m, a, b: m.masked_fill(a, a > 0, b),
    "result_type": lambda m, a, b: m.zeros((), dtype=m.result_type(a, b)),
}
DIVIDES = {"floor_divide", "remainder", "fmod", "div trunc", "div floor", "operator floordiv", "operator mod"}
NUMBERS = [True, 0, 1, 3, -3, 7, 8, 64, -128, 300, 2**40, 0.0, 0.5, -2.5, 2.7, 1e5, float("inf"), float("nan")]


def divisors(values, dtype):
    """Without 0, an error, and without -1: PyTorch dies of the lowest integer divided by it."""
    return [v for v in values if dtype == "bool" or "int" not in dtype or v not in (0, -1)]


def drawn(name, count=14):
    """Pairs of dtypes and of ranks, and Tensors beside numbers, drawn by the name of the op."""
    chance = random.Random(name)
    for _ in range(count):
        form = chance.choice(["nn", "n0", "0n", "00"])
        yield form, chance.choice(DTYPES), chance.choice(DTYPES)
    for _ in range(count):
        yield chance.choice(["number", "reflected"]), chance.choice(DTYPES), chance.choice(NUMBERS)


def placed(form, dtype, other, name):
    first = edges(dtype)
    if form in ("number", "reflected"):
        if name in DIVIDES and form == "reflected":
            first = divisors(first, dtype)
        a = both(first, dtype)
        return [(x, other) if form == "number" or name in ("where", "masked_fill", "rsub") else (other, x) for x in a]
    second = divisors(edges(other), other) if name in DIVIDES else edges(other)
    pairs = zip(both(first, dtype), both(second, other), strict=True)
    at, to = min(2, len(first) - 1), min(2, len(second) - 1)
    cut = {"nn": lambda a, b: (a[:, None], b[None]), "n0": lambda a, b: (a, b[to]), "0n": lambda a, b: (a[at], b),
           "00": lambda a, b: (a[at], b[to])}[form]
    return [cut(a, b) for a, b in pairs]


@pytest.mark.sample(12)
@pytest.mark.parametrize("name", sorted(ROWS))
def test_pairs_of_dtypes(name):
    for form, dtype, other in drawn(name):
        if name in DIVIDES and other == -1:
            continue
        (a, b), (p, q) = placed(form, dtype, other, name)
        if form == "reflected" and not name.startswith(("operator", "pow", "result", "remainder")):
            continue
        ours, theirs = outcome(lambda a=a, b=b: ROWS[name](minigrad, a, b)), outcome(
            lambda p=p, q=q: ROWS[name](torch, p, q))
        try:
            agree(ours, theirs, 4.0 if name in ("pow", "operator pow") else 0.0)
        except AssertionError as error:
            raise AssertionError(f"{name} {form} {dtype} {other}: {error}") from None


def test_every_pair_of_dtypes_promotes_alike():
    for first in DTYPES:
        for second in DTYPES:
            got = minigrad.promote_types(getattr(minigrad, first), getattr(minigrad, second))
            assert got.name == str(torch.promote_types(getattr(torch, first), getattr(torch, second))).split(".")[1]


@pytest.mark.parametrize("source", ["float16", "bfloat16", "float32", "float64"])
def test_floats_out_of_range_become_the_integers_of_x86(source):
    values = [-1.5, -0.7, 300.7, 1e5, 4e9, 1e10, 1e19, 1e20, -1e20, float("inf"), float("-inf"), float("nan"), 2.0**31,
              -(2.0**31), 2.0**32, 2.0**63, -(2.0**63)] * 3
    ours, theirs = both(values, source)
    for target in ["uint8", "int8", "int16", "int32", "int64", "uint16", "uint64"]:
        agree(outcome(lambda t=target: ours.to(getattr(minigrad, t))),
              outcome(lambda t=target: theirs.to(getattr(torch, t))))


STORES = {
    "full": lambda m, x, v: m.full((3,), v, dtype=x.dtype),
    "full_like": lambda m, x, v: m.full_like(x, v),
    "new_full": lambda m, x, v: x.new_full((3,), v),
    "fill_": lambda m, x, v: x.clone().fill_(v),
    "masked_fill": lambda m, x, v: x.masked_fill(x > 0, v),
    "index_fill": lambda m, x, v: x.index_fill(0, m.tensor([0]), v),
    "scatter": lambda m, x, v: x.scatter(0, m.tensor([0]), v),
    "clamp": lambda m, x, v: x.clamp(max=v),
    "where": lambda m, x, v: m.where(x > 1, x, v),
    "setitem": lambda m, x, v: _set(x.clone(), 0, v),
    "setitem mask": lambda m, x, v: _set(x.clone(), x > 0, v),
    "setitem index": lambda m, x, v: _set(x.clone(), m.tensor([1]), v),
    "tensor": lambda m, x, v: m.tensor([v], dtype=x.dtype),
    "linspace": lambda m, x, v: m.linspace(0, v, 3, dtype=x.dtype),
}


def _set(x, index, value):
    x[index] = value
    return x


@pytest.mark.parametrize("name", sorted(STORES))
def test_numbers_that_do_not_fit(name):
    for dtype in ["uint8", "int8", "int32", "int64", "float16", "bfloat16", "float32", "bool"]:
        for value in [255, 256, -1, -128, -129, -255, -256, 2.7, 300.7, -1.5, 2**31, 1e10, 1e39, float("inf"),
                      float("nan"), True]:
            if name == "linspace" and (dtype == "bool" or value != value or "int" not in dtype):
                continue
            if name == "clamp" and (value != value or dtype == "bool"):
                continue
            ours, theirs = [outcome(lambda m=m, d=dtype, v=value: STORES[name](m, m.ones(3, dtype=getattr(m, d)), v))
                            for m in LIBRARIES]
            try:
                agree(ours, theirs)
            except AssertionError as error:
                raise AssertionError(f"{dtype} {value}: {error}") from None


@pytest.mark.parametrize("name", ["mul", "div", "reciprocal times", "floor_divide", "div trunc", "add", "sub", "fmod",
                                  "remainder", "eq", "lt", "addcmul", "addcdiv", "add alpha", "addmm", "linear"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_numbers_beside_halves(name, dtype):
    """PyTorch keeps them in float32 in some ops, and rounds them first in others."""
    rows = {
        "mul": lambda m, x, s: x * s, "div": lambda m, x, s: x / s, "floor_divide": lambda m, x, s: x // s,
        "reciprocal times": lambda m, x, s: s / x, "div trunc": lambda m, x, s: m.div(x, s, rounding_mode="trunc"),
        "add": lambda m, x, s: x + s, "sub": lambda m, x, s: s - x, "remainder": lambda m, x, s: x % s,
        "fmod": lambda m, x, s: m.fmod(x, s), "eq": lambda m, x, s: x == s, "lt": lambda m, x, s: x < s,
        "addcmul": lambda m, x, s: m.addcmul(x, x.flip(0), x, value=s),
        "addcdiv": lambda m, x, s: m.addcdiv(x, x.flip(0), x, value=s),
        "add alpha": lambda m, x, s: m.add(x, x.flip(0), alpha=s),
        "addmm": lambda m, x, s: m.addmm(*x[:12].reshape(3, 2, 2).unbind(), beta=s, alpha=s),
        "linear": lambda m, x, s: m.nn.functional.linear(x[:400].reshape(4, 100), x[:300].reshape(3, 100), x[:3]),
    }
    values = (np.random.default_rng(0).standard_normal(1024) * 30).tolist()
    for number in (1.2345678, 1e5, 300, 1e-6):
        if name in ("add alpha", "addmm") and number == 1e5:
            continue
        ours, theirs = both(values, dtype)
        agree(outcome(lambda x=ours, s=number: rows[name](minigrad, x, s)),
              outcome(lambda x=theirs, s=number: rows[name](torch, x, s)))
    if name in ("mul", "div", "floor_divide"):
        for other in ("float32", "float64", "int64"):
            scalar = 70001 if other == "int64" else 1.2345678
            agree(outcome(lambda x=ours, o=other, s=scalar: rows[name](minigrad, x, minigrad.tensor(
                s, dtype=getattr(minigrad, o)))), outcome(lambda x=theirs, o=other, s=scalar: rows[name](
                    torch, x, torch.tensor(s, dtype=getattr(torch, o)))))


def test_ranges_of_integers():
    calls = [(3.1,), (0, 3.1), (0.5, 4), (0, 10, 3), (0.9, 5.9, 1.5), (5, 0, -1.5), (2.5, -3.5, -1.2), (3, 3.5),
             (0.5, 0.7), (0, 3, 0.5), (0, 400, 100), (-2, 2)]
    for dtype in ["int64", "int32", "uint8", "int8", "float32", "float16", "bool"]:
        for call in calls:
            ours, theirs = [outcome(lambda m=m, c=call, d=dtype: m.arange(*c, dtype=getattr(m, d))) for m in LIBRARIES]
            agree(ours, theirs)
    for dtype in ["int64", "int32", "uint8", "int8"]:
        for call in [(0, 10, 7), (-3.7, 9.9, 5), (10, -10, 13), (0, 1, 1), (0.5, 7.5, 8), (0, 127, 50), (3, 3, 0)]:
            for name, more in (("linspace", ()), ("logspace", (2.0,))):
                if dtype == "uint8" and min(call[:2]) < 0:
                    continue
                if name == "logspace" and call[1] > 6 and dtype not in ("int64", "int32"):
                    continue
                if name == "logspace" and call[1] > 60:
                    continue
                agree(*[outcome(lambda m=m, c=call, d=dtype, n=name, more=more: getattr(m, n)(
                    *c, *more, dtype=getattr(m, d))) for m in LIBRARIES])


def test_division_by_zero_and_of_bools():
    zero, one = [[both([v, 0], "int32") for v in (v0, 1)] for v0 in (0, 1)]
    for name in sorted(DIVIDES):
        for second in (zero[0], both([False, True], "bool")):
            agree(*[outcome(lambda m=m, a=a, b=b, name=name: ROWS[name](m, a, b))
                    for m, a, b in zip(LIBRARIES, one[0], second, strict=True)])
        agree(*[outcome(lambda m=m, a=a, name=name: ROWS[name](m, a, a))
                for m, a in zip(LIBRARIES, both([True, True], "bool"), strict=True)])


@pytest.mark.parametrize("name", sorted(DIVIDES))
def test_division_by_zeros_that_nobody_has_computed(name):
    for made in (lambda m: m.zeros(3, dtype=m.int32), lambda m: m.zeros(3, dtype=m.int32)[:1].expand(3),
                 lambda m: m.full((3,), 0), lambda m: m.ones(3, dtype=m.int32).zero_(), lambda m: m.zeros(3),
                 lambda m: m.zeros(3, dtype=m.int32)[:0], lambda m: m.zeros(0, dtype=m.int32),
                 lambda m: m.full((3,), 2), lambda m: m.zeros(3, dtype=m.bool)):
        agree(*[outcome(lambda m=m, made=made: ROWS[name](m, m.ones(1, dtype=m.int32), made(m))) for m in LIBRARIES])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int64", "int8"])
def test_factors_that_do_not_fit(dtype):
    """addmm() and those of stacks take them as float32 for half types, the others as elements."""
    rows = {"addmm": (2, 2, 2), "addmv": (1, 2, 1), "addr": (2, 1, 1), "baddbmm": (3, 3, 3), "addbmm": (2, 3, 3),
            "add": (2, 2), "sub": (2, 2)}
    for value in (1e300, -1e39, 1e5, 300, -2.5, True, 1j, float("inf")):
        for name, dims in rows.items():
            for factor in ("alpha", "beta") if len(dims) == 3 else ("alpha",):
                def call(m, name=name, dims=dims, factor=factor, value=value):
                    given = [m.ones((1, 2, 2)[3 - n:], dtype=getattr(m, dtype)) for n in dims]
                    return getattr(m, name)(*given, **{factor: value})

                agree(*[outcome(lambda m=m, call=call: call(m)) for m in LIBRARIES])
        agree(*[outcome(lambda m=m, v=value: m.ones(2, dtype=getattr(m, dtype)).index_add(
            0, m.tensor([0]), m.ones(1, dtype=getattr(m, dtype)), alpha=v)) for m in LIBRARIES])


WHOLE = {
    "tril": lambda m, x, n: x.tril(n), "triu": lambda m, x, n: m.triu(x, n), "diag": lambda m, x, n: x.diag(n),
    "diag of a vector": lambda m, x, n: x[0].diag(n), "diag_embed": lambda m, x, n: x.diag_embed(n),
    "diagflat": lambda m, x, n: x.diagflat(n), "diagonal": lambda m, x, n: x.diagonal(n),
    "rot90": lambda m, x, n: x.rot90(n), "polygamma": lambda m, x, n: m.polygamma(n, x + 3),
    "polygamma_": lambda m, x, n: (x + 3).polygamma_(n), "mvlgamma": lambda m, x, n: (x + 3).mvlgamma(n),
    "fftfreq": lambda m, x, n: m.fft.fftfreq(n), "rfftfreq": lambda m, x, n: m.fft.rfftfreq(n),
    "random_": lambda m, x, n: (x * 0).random_(n), "random_ from": lambda m, x, n: (x * 0).random_(n, n + 1) * 0,
    "tril_indices": lambda m, x, n: m.tril_indices(n, 2), "triu_indices": lambda m, x, n: m.triu_indices(2, n),
    "indices' offset": lambda m, x, n: m.tril_indices(2, 2, n)}


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_arguments_that_are_whole_numbers(name):
    """NumPy's and those of tensors are; floats are not, whatever their value, nor are True and texts."""
    for value in (1, np.int32(1), 1.5, 1.0, np.float64(1.0), True, "1", [1]):
        ours, theirs = [outcome(lambda m=m, v=value: WHOLE[name](m, m.arange(4.0).reshape(2, 2), v)) for m in LIBRARIES]
        assert (ours[0] == "TypeError") == (theirs[0] == "TypeError"), (value, ours, theirs)
        if theirs[0] != "TypeError":
            agree(ours, theirs, 4.0)
    ours, theirs = [outcome(lambda m=m: WHOLE[name](m, m.arange(4.0).reshape(2, 2), m.tensor(1))) for m in LIBRARIES]
    agree(ours, theirs, 4.0)


def test_matrices_and_a_sum_in_every_dtype():
    shapes = {"addmm": ((2, 2), (2, 3), (3, 2)), "addmv": ((2,), (2, 3), (3,)), "addr": ((2, 3), (2,), (3,)),
              "baddbmm": ((2, 2, 2), (2, 2, 3), (2, 3, 2)), "addbmm": ((2, 2), (2, 2, 3), (2, 3, 2))}
    for name, given in shapes.items():
        for dtype in ("bool", "uint8", "int64", "float32", "float16"):
            for factors in ({}, {"alpha": 2}, {"beta": 0.5}, {"beta": 0, "alpha": 3}):
                ours, theirs = [outcome(lambda m=m, n=name, d=dtype, f=factors, g=given: getattr(m, n)(
                    *[m.ones(s, dtype=getattr(m, d)) for s in g], **f)) for m in LIBRARIES]
                agree(ours, theirs)
        a = [m.ones(given[0], requires_grad=True) for m in LIBRARIES]
        made = [getattr(m, name)(x, m.ones(given[1]), m.ones(given[2])) for m, x in zip(LIBRARIES, a, strict=True)]
        assert made[0].grad_fn.name() == made[1].grad_fn.name()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_nan_is_ordered_last(dtype):
    nan = float("nan")
    rows = {
        "sort": lambda m, x: x.sort()[1], "descending": lambda m, x: x.argsort(descending=True),
        "topk": lambda m, x: x.topk(2)[1], "kthvalue": lambda m, x: x.kthvalue(4)[1], "median": lambda m, x: x.median(),
        "nanmedian": lambda m, x: x.nanmedian(), "mode": lambda m, x: x.mode()[1],
        "searchsorted": lambda m, x: m.searchsorted(x.sort()[0], x),
        "right": lambda m, x: m.searchsorted(x.sort()[0], x, right=True),
    }
    ours, theirs = both([1, nan, -1, 2, 0], dtype)
    for name, row in rows.items():
        try:
            agree(outcome(lambda row=row: row(minigrad, ours)), outcome(lambda row=row: row(torch, theirs)))
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gradients_to_the_largest_of_a_pending_half(dtype):
    """The recomputed operand equals the rounded maximum."""
    rows = {
        "amax": lambda m, x: x.amax(1), "amin": lambda m, x: x.amin(1), "max": lambda m, x: x.max(),
        "min": lambda m, x: x.min(), "aminmax": lambda m, x: m.aminmax(x, dim=1)[1],
        "inf": lambda m, x: m.linalg.vector_norm(x, float("inf")), "cummax": lambda m, x: x.cummax(1)[0],
        "along": lambda m, x: x.max(1)[0], "median": lambda m, x: x.median(),
    }
    start = np.random.default_rng(1).standard_normal((5, 33))
    for tiers in (1, 2):
        for name, row in rows.items():
            found = []
            for m, x in zip(LIBRARIES, both(start.tolist(), dtype), strict=True):
                leaf = x.requires_grad_()
                with minigrad.config(TIERS=tiers):
                    row(m, leaf * 1.37 + leaf * leaf).float().sum().backward()
                    found.append(leaf.grad.float().numpy())
            np.testing.assert_allclose(*found, rtol=0.02, err_msg=name)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "bool"])
def test_scatters_and_sums_of_small_types(dtype):
    pair = both(edges(dtype), dtype)
    places = [0, 1, 0, 1, 2, 0, 2, 1, 0, 0, 1, 2, 0, 1, 2, 0][:len(edges(dtype))]

    def same(call):
        agree(*[outcome(lambda m=m, x=x: call(m, x)) for m, x in zip(LIBRARIES, pair, strict=True)])

    for name in ("amin", "amax"):
        for included in (True, False):
            same(lambda m, x, n=name, i=included: x.new_full((3,), 1).scatter_reduce(
                0, m.tensor(places), x, n, include_self=i))
    same(lambda m, x: x.new_full((3,), 1).scatter_add(0, m.tensor(places), x))
    same(lambda m, x: x.new_full((3,), 1).index_add(0, m.tensor(places), x))
    same(lambda m, x: x.new_full((3,), 1).index_put((m.tensor(places),), x, accumulate=True))
    same(lambda m, x: x.sum(dtype=x.dtype))
    same(lambda m, x: x.prod(dtype=x.dtype))
    if dtype != "bool":  # which PyTorch does not accumulate
        same(lambda m, x: x.cumsum(0, dtype=x.dtype))
        same(lambda m, x: x.cumprod(0, dtype=x.dtype))
