"""Padding, pooling, resampling and shuffling beside PyTorch's: values, gradients of both orders, printed forms and error
texts."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import minigrad  # noqa: E402
from minigrad import nn  # noqa: E402
from minigrad.nn import functional as F  # noqa: E402

T = torch.nn.functional


def floats(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def few(*shape, seed=0, dtype="float32"):
    """Numbers of which many are equal."""
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(dtype)


def same(ours, theirs, rtol=2e-5, atol=2e-6):
    if isinstance(theirs, tuple):
        assert isinstance(ours, tuple)
        assert len(ours) == len(theirs)
        for mine, peers in zip(ours, theirs, strict=True):
            same(mine, peers, rtol, atol)
        return
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
    ours, theirs = ours.detach(), theirs.detach()
    if theirs.dtype in (torch.float16, torch.bfloat16):
        ours, theirs = ours.float(), theirs.float()
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=rtol, atol=atol)


def check(function, peer, array, *args, second=False, **options):
    """The results agree, the gradients too and, with ``second``, the gradients of a function of the gradient."""
    x = minigrad.tensor(array).requires_grad_()
    y = torch.tensor(array).requires_grad_()
    ours, theirs = function(x, *args, **options), peer(y, *args, **options)
    same(ours, theirs)
    if isinstance(ours, tuple):
        ours, theirs = ours[0], theirs[0]
    factor = floats(*theirs.shape, seed=9, dtype=array.dtype)
    mine = (ours * ours * minigrad.tensor(factor)).sum()
    peers = (theirs * theirs * torch.tensor(factor)).sum()
    if not second:
        mine.backward()
        peers.backward()
        same(x.grad, y.grad, rtol=1e-4, atol=1e-5)
        return
    (mine,), (peers,) = minigrad.autograd.grad(mine, x, create_graph=True), torch.autograd.grad(peers, y, create_graph=True)
    same(mine, peers, rtol=1e-4, atol=1e-5)
    (mine * mine * mine).sum().backward()
    (peers * peers * peers).sum().backward()
    same(x.grad, y.grad, rtol=1e-3, atol=1e-4)


def fails_alike(ours, theirs):
    """Both raise the same exception with the same words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs()
        except Exception as error:
            expected = error
        else:
            raise AssertionError("PyTorch takes it")
        with pytest.raises(type(expected)) as found:
            ours()
    assert str(found.value).replace("minigrad.", "torch.") == str(expected)


# --- padding

PADS = [((5,), (2, 1)), ((2, 5), (2, 1)), ((2, 3, 4), (1, 0)), ((2, 3, 4), (-1, 2)), ((2, 3, 4), (-1, -2)),
        ((2, 3, 4), (2, -2)), ((2, 3, 4), (0, 0)), ((3, 4, 5), (1, 2, 3, 1)), ((2, 3, 4, 5), (1, 2, 3, 1)),
        ((2, 3, 4, 5), (-1, 2, 3, -1)), ((2, 3, 4, 5), (0, 0, 1, 1)), ((2, 3, 4, 5), (-2, -2, -1, -2)),
        ((2, 2, 3, 4), (1, 2, 1, 0, 1, 1)), ((1, 2, 3, 4, 3), (1, 2, 1, 3, 2, 1)), ((1, 2, 3, 4, 3), (-1, 2, 1, -2, 2, 1)),
        ((0, 3, 4), (1, 1)), ((), ()), ((2, 3, 4), (1, 1, 1, 1, 1, 1)), ((2, 3), (1, 1, 1, 1))]


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(("shape", "pad"), PADS)
def test_pad(mode, shape, pad):
    array = floats(*shape)
    try:
        T.pad(torch.tensor(array), pad, mode)
    except Exception:
        fails_alike(lambda: F.pad(minigrad.tensor(array), pad, mode), lambda: T.pad(torch.tensor(array), pad, mode))
        return
    check(F.pad, T.pad, array, pad, mode)


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_pad_second_order(mode):
    check(F.pad, T.pad, floats(2, 3, 4, 5, dtype="float64"), (1, 2, 3, 1), mode, second=True)


@pytest.mark.parametrize("value", [0, 1.5, -7, float("inf"), float("nan"), True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int8", "bool", "float16"])
def test_pad_value(value, dtype):
    array = few(2, 3, dtype=dtype)
    if (dtype.startswith("int") and value != value) or (dtype.startswith("int") and value == float("inf")):
        return
    same(F.pad(minigrad.tensor(array), (1, -1, 2, 1), value=value),
         T.pad(torch.tensor(array), (1, -1, 2, 1), value=value))
    check(F.pad, T.pad, floats(2, 3), (1, 2), "constant", 0.5)


WRONG_PADS = [((2, 3, 4, 5), (1, 2, 3)), ((2, 3), (1,) * 6), ((2, 3, 4), 3), ((2, 3, 4), (1.5, 1)), ((2, 3, 4), (4, 1)),
              ((2, 3, 4), (1, 5)), ((2, 3, 4, 5), (1, 1, 4, 1)), ((2, 3, 4, 5), (1, 1)), ((2, 3, 4, 5), (1,) * 8),
              ((2, 0, 4), (1, 1)), ((2, 3, 0), (1, 1)), ((2, 3, 4), (-3, -2)), ((2, 3, 4), (-2, -2)), ((2, 3, 4), "ab"),
              ((2, 3, 4, 5), (-3, -3, -3, -3)), ((2, 3, 4, 5, 2), (-3, -3, -3, -3, -3, -3)), ((5,), (1, 1)),
              ((2, 3, 0, 5), (1, 1, 1, 1)), ((0, 4, 5), (1, 1, 1, 1)), ((2, 3, 4), (9, 1))]


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular", "mirror"])
def test_pad_errors(mode):
    failed = 0
    for shape, pad in WRONG_PADS:
        try:
            T.pad(torch.zeros(shape), pad, mode)
        except Exception as error:
            if "(H: " in str(error):
                continue  # PyTorch writes a stray space in one of the modes
            fails_alike(lambda: F.pad(minigrad.zeros(shape), pad, mode), lambda: T.pad(torch.zeros(shape), pad, mode))
            failed += 1
    assert failed > 5
    if mode not in ("constant", "mirror"):
        fails_alike(lambda: F.pad(minigrad.zeros(2, 3), (1, 1), mode, 2.0),
                    lambda: T.pad(torch.zeros(2, 3), (1, 1), mode, 2.0))
    if mode in ("reflect", "replicate"):
        for shape, pad in (((2, 3), (1, 1)), ((2, 3, 4), (1,) * 4)):
            fails_alike(lambda: F.pad(minigrad.zeros(shape, dtype=minigrad.bool), pad, mode),
                        lambda: T.pad(torch.zeros(shape, dtype=torch.bool), pad, mode))


@pytest.mark.parametrize("kind", ["Zero", "Constant", "Reflection", "Replication", "Circular"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_padding_modules(kind, dims):
    name = f"{kind}Pad{dims}d"
    value = (2.5,) if kind == "Constant" else ()
    for padding in (1, tuple(range(2 * dims)) if dims == 1 else (1, 0, 2, 1, 1, 1)[:2 * dims]):
        ours, theirs = getattr(nn, name)(padding, *value), getattr(torch.nn, name)(padding, *value)
        assert repr(ours) == repr(theirs)
        assert ours.padding == theirs.padding
        check(ours, theirs, floats(2, 3, *(4, 5, 3)[:dims]))
        check(ours, theirs, floats(3, *(4, 5, 3)[:dims]))
    if kind not in ("Zero", "Constant") or dims > 1:
        fails_alike(lambda: ours(minigrad.zeros(3)), lambda: theirs(torch.zeros(3)))
    many = (1,) * (dims + 3)
    if kind not in ("Zero", "Constant"):
        fails_alike(lambda: ours(minigrad.zeros(many)), lambda: theirs(torch.zeros(many)))


# --- pooling

NAN = float("nan")
MAX_POOLS = [(2,), (3, 2), (3, 2, 1), (3, 1, 1), (2, 3), (2, 2, 0, 2), (3, 2, 1, 2), (3, 1, 1, 3), (1, 2), (5, 4, 2), (4, 3, 2)]
SHAPES = {1: (2, 3, 11), 2: (2, 3, 9, 11), 3: (2, 2, 7, 8, 9)}


def fits(call):
    try:
        call()
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("options", MAX_POOLS)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_max_pool(dims, options, ceil_mode):
    ours, theirs = getattr(F, f"max_pool{dims}d"), getattr(T, f"max_pool{dims}d")
    array = few(*SHAPES[dims], seed=len(options))
    if not fits(lambda: theirs(torch.tensor(array), *options, ceil_mode=ceil_mode)):
        return
    check(ours, theirs, array, *options, ceil_mode=ceil_mode)
    check(ours, theirs, array, *options, ceil_mode=ceil_mode, return_indices=True)
    check(ours, theirs, array[0], *options, ceil_mode=ceil_mode, return_indices=True)
    if dims == 2:
        array[array == 2] = NAN
        array[array == -1] = -np.inf
        same(ours(minigrad.tensor(array), *options, ceil_mode=ceil_mode, return_indices=True),
             theirs(torch.tensor(array), *options, ceil_mode=ceil_mode, return_indices=True))


def test_max_pool_sizes_per_dimension():
    array = few(2, 3, 9, 11)
    for options in (((2, 3),), ((3, 2), (1, 2), (1, 0)), ((2, 3), (2, 1), (1, 1), (2, 1)), ([2], [2]), ((5, 5), 1, 2)):
        check(F.max_pool2d, T.max_pool2d, array, *options, return_indices=True)
    check(F.max_pool3d, T.max_pool3d, few(1, 2, 6, 7, 8), (1, 2, 3), (1, 3, 2), (0, 1, 1), return_indices=True)
    wide = floats(1, 1, 40, 40)
    check(F.max_pool2d, T.max_pool2d, wide, 20, 3, 5, return_indices=True)
    check(F.max_pool2d, T.max_pool2d, floats(1, 1, 200, 200), 190, 3, return_indices=True)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "int32", "int8", "uint8"])
def test_max_pool_dtypes(dtype):
    array = np.abs(few(2, 3, 8, 8)).astype(dtype)
    same(F.max_pool2d(minigrad.tensor(array), 3, 2, 1, return_indices=True),
         T.max_pool2d(torch.tensor(array), 3, 2, 1, return_indices=True))


def test_max_pool_second_order():
    for options in ((2,), (3, 2, 1), (3, 1)):
        check(F.max_pool2d, T.max_pool2d, floats(1, 2, 7, 7, dtype="float64"), *options, second=True)


AVG_POOLS = [(2,), (3, 2), (3, 2, 1), (3, 1, 1), (2, 3), (1, 2), (5, 4, 2)]


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("options", AVG_POOLS)
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_avg_pool(dims, options, ceil_mode, include):
    ours, theirs = getattr(F, f"avg_pool{dims}d"), getattr(T, f"avg_pool{dims}d")
    array = floats(*SHAPES[dims])
    for given in (array, array[0]):
        check(ours, theirs, given, *options, ceil_mode=ceil_mode, count_include_pad=include)
    if dims > 1:
        check(ours, theirs, array, *options, ceil_mode=ceil_mode, count_include_pad=include, divisor_override=3)


def test_avg_pool_more():
    check(F.avg_pool2d, T.avg_pool2d, floats(2, 3, 9, 11), (2, 3), (1, 2), (1, 0))
    check(F.avg_pool2d, T.avg_pool2d, floats(2, 3, 9, 11), 2, divisor_override=-3)
    for options in ((2,), (3, 2, 1), (3, 1)):
        check(F.avg_pool2d, T.avg_pool2d, floats(1, 2, 7, 7, dtype="float64"), *options, second=True)
    for dtype in ("float16", "int64"):
        array = (few(2, 3, 8, 8) * 7).astype(dtype)
        same(F.avg_pool2d(minigrad.tensor(array), 3, 2, 1), T.avg_pool2d(torch.tensor(array), 3, 2, 1))
    array = floats(2, 3, 8, 8)
    x, y = minigrad.tensor(array).bfloat16(), torch.tensor(array).bfloat16()
    same(F.avg_pool2d(x, 3, 2, 1), T.avg_pool2d(y, 3, 2, 1), rtol=1e-2)


ADAPTIVE = {1: [1, 2, 3, 11, 15, (4,), 0], 2: [1, 3, (2, 5), (None, 4), (9, 11), (12, 13), (None, None), 0],
            3: [1, 2, (2, 5, 3), (None, 4, None), (7, 8, 9), (9, 3, 12)]}


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_adaptive(dims):
    for size, shape in itertools.product(ADAPTIVE[dims], (SHAPES[dims], SHAPES[dims][1:])):
        for name in ("avg", "max"):
            ours, theirs = [getattr(m, f"adaptive_{name}_pool{dims}d") for m in (F, T)]
            if not fits(lambda: theirs(torch.zeros(shape), size)):
                continue
            if size == 0:
                same(ours(minigrad.zeros(shape), size), theirs(torch.zeros(shape), size))
                continue
            check(ours, theirs, few(*shape) if name == "max" else floats(*shape), size)
        same(ours(minigrad.tensor(few(*shape)), size, return_indices=True),
             theirs(torch.tensor(few(*shape)), size, return_indices=True))
    for name in ("avg", "max"):
        ours, theirs = [getattr(m, f"adaptive_{name}_pool{dims}d") for m in (F, T)]
        for size in (2, 3):
            check(ours, theirs, floats(1, 2, 6, *(5, 7)[:dims - 1], dtype="float64"), size, second=True)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("norm", [1, 2, 3.5, float("inf"), -float("inf")])
def test_lp_pool(dims, norm):
    ours, theirs = [getattr(m, f"lp_pool{dims}d") for m in (F, T)]
    array = np.abs(floats(*SHAPES[dims])) + 0.1
    for options in ((2,), (3, 2), (3, None, True)):
        check(ours, theirs, array, norm, *options)
    if norm == 2:
        check(ours, theirs, array.astype("float64"), norm, 2, second=True)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_max_unpool(dims):
    array = floats(*SHAPES[dims])
    pooled, places = getattr(T, f"max_pool{dims}d")(torch.tensor(array), 3, 2, 1, return_indices=True)
    ours, theirs = [getattr(m, f"max_unpool{dims}d") for m in (F, T)]
    for size in (None, SHAPES[dims][2:], SHAPES[dims])[dims == 3:]:
        check(lambda x, size=size: ours(x, minigrad.tensor(places.numpy()), 3, 2, 1, size),
              lambda x, size=size: theirs(x, places, 3, 2, 1, size), pooled.numpy())
    check(lambda x: ours(x, minigrad.tensor(places[0].numpy()), 3, 2, 1, SHAPES[dims][2:]),
          lambda x: theirs(x, places[0], 3, 2, 1, SHAPES[dims][2:]), pooled[0].numpy())
    # assert repr(getattr(nn, f"MaxUnpool{dims}d")(2)) == repr(getattr(torch.nn, f"MaxUnpool{dims}d")(2))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("kind", ["max_pool", "avg_pool", "lp_pool", "adaptive_max_pool", "adaptive_avg_pool"])
def test_pooling_errors(kind, dims):
    ours, theirs = [getattr(m, f"{kind}{dims}d") for m in (F, T)]
    base = (2, 3, *(4,) * dims)
    cases = [(base, 0), (base, -1), (base, (1, 2, 3, 4)), (base, (2,)), (base, 2.5), (base, "a"), (base[2:], 2),
             ((2, *base), 2), ((2, 0, *base[2:]), 2), ((2, 3, 0, *base[3:]), 2), ((0, *base[2:]), 2), (base, None)]
    if "adaptive" not in kind:
        cases += [(base, 2, 0), (base, 2, -1), (base, 9), (base, 2, (1, 2, 3, 4))]
    if kind in ("max_pool", "avg_pool"):
        cases += [(base, 2, 2, 2), (base, 2, 2, -1), (base, 2, 2, (1, 1, 1, 1)), (base, 2, "a")]
    if kind == "max_pool":
        cases += [(base, 2, 2, 0, 0), (base, 2, 2, 0, (1, 1, 1, 1)), (base, 2, 2, 0, 5)]
    failed = 0
    for shape, *args in cases:
        given = (2, *args) if kind == "lp_pool" else args
        if kind == "lp_pool" and "a" in args or None in args and "adaptive" not in kind:
            continue
        for options in ({}, {"return_indices": True}) if "max" in kind else ({},):
            try:
                theirs(torch.zeros(shape), *given, **options)
            except Exception:
                fails_alike(lambda: ours(minigrad.zeros(shape), *given, **options),
                            lambda: theirs(torch.zeros(shape), *given, **options))
                failed += 1
            else:
                ours(minigrad.zeros(shape), *given, **options)
    assert failed > 5
    for dtype in ("int32", "bool"):
        array = np.ones(base, dtype)
        try:
            theirs(torch.tensor(array), *(2, 2)[:2 if kind == "lp_pool" else 1])
        except NotImplementedError:
            if kind != "lp_pool":
                fails_alike(lambda: ours(minigrad.tensor(array), 2), lambda: theirs(torch.tensor(array), 2))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_max_unpool_errors(dims):
    ours, theirs = [getattr(m, f"max_unpool{dims}d") for m in (F, T)]
    base = (2, 3, *(4,) * dims)
    index = np.zeros(base, np.int64)
    cases = [(base, index.astype(np.int32)), (base, index + 10000), (base, index - 1), (base, index[:1]),
             (base[2:], index[0, 0]), ((*base, 1), index[..., None]), ((2, 0, *base[2:]), index[:, :0])]
    for shape, places in cases:
        fails_alike(lambda: ours(minigrad.zeros(shape), minigrad.tensor(places), 2),
                    lambda: theirs(torch.zeros(shape), torch.tensor(places), 2))
    for size in ((90,) * dims, (9,) * (dims + 1)):
        fails_alike(lambda: ours(minigrad.zeros(base), minigrad.tensor(index), 2, output_size=size),
                    lambda: theirs(torch.zeros(base), torch.tensor(index), 2, output_size=size))
    fails_alike(lambda: ours(minigrad.zeros(base).long(), minigrad.tensor(index), 2),
                lambda: theirs(torch.zeros(base).long(), torch.tensor(index), 2))


@pytest.mark.parametrize("dims", [2, 3])
def test_fractional(dims):
    ours, theirs = [getattr(m, f"fractional_max_pool{dims}d") for m in (F, T)]
    shape = (2, 3, 11, 13, 9)[:dims + 2]
    for options in ((2, 4), (3, (5, 4, 4)[:dims]), ((2, 3, 2)[:dims], 3), (2, 1), (2, None, (0.5, 0.4, 0.6)[:dims])):
        for given in (shape, shape[1:]):
            if options[1:] == (None, (0.5, 0.4, 0.6)) and False:
                continue
            minigrad.manual_seed(3)
            torch.manual_seed(3)
            check(ours, theirs, few(*given), *options)
            minigrad.manual_seed(4)
            torch.manual_seed(4)
            same(ours(minigrad.tensor(few(*given)), *options, return_indices=True),
                 theirs(torch.tensor(few(*given)), *options, return_indices=True))
    samples = np.random.default_rng(1).random((2, 3, dims)).astype("float32")
    same(ours(minigrad.tensor(floats(*shape)), 2, 5, _random_samples=minigrad.tensor(samples)),
         theirs(torch.tensor(floats(*shape)), 2, 5, _random_samples=torch.tensor(samples)))
    base = (2, 3, 8, 8, 8)[:dims + 2]
    cases = [(base, 2), (base, 9, 4), (base, 2, 8), (base, (2, 2, 2, 2), 4), (base[2:], 2, 4), ((*base, 1), 2, 4),
             (base, 2, (4, 4, 4, 4)), ((2, 0, *base[2:]), 2, 4), (base, 2, -1), (base, 2.5, 4)]
    for shape, *args in cases:
        fails_alike(lambda: ours(minigrad.zeros(shape), *args), lambda: theirs(torch.zeros(shape), *args))
    for size in ((1, 2), (2, 3, dims + 1), (2, 2, dims), (1, 3, dims)):
        fails_alike(lambda: ours(minigrad.zeros(base), 2, 4, _random_samples=minigrad.zeros(size)),
                    lambda: theirs(torch.zeros(base), 2, 4, _random_samples=torch.zeros(size)))
    name = f"FractionalMaxPool{dims}d"
    mine, peers = getattr(nn, name), getattr(torch.nn, name)
    fails_alike(lambda: mine(2), lambda: peers(2))
    fails_alike(lambda: mine(2, 3, 0.5), lambda: peers(2, 3, 0.5))
    fails_alike(lambda: mine(2, output_ratio=1.5), lambda: peers(2, output_ratio=1.5))
    assert repr(mine(2, 3)) == repr(peers(2, 3))


MODULES = [("MaxPool", (2,)), ("MaxPool", (3, 2, 1)), ("MaxPool", (3, 2, 1, 1, True, True)), ("AvgPool", (2,)),
           ("AvgPool", (3, 2, 1, True, False)), ("LPPool", (2, 3)), ("LPPool", (2, 3, 2, True)), ("AdaptiveMaxPool", (3,)),
           ("AdaptiveMaxPool", (2, True)), ("AdaptiveAvgPool", (3,)), ("MaxUnpool", (2,)), ("MaxUnpool", (3, 2, 1))]


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_pooling_modules(dims):
    for name, options in MODULES:
        ours, theirs = [getattr(m, f"{name}{dims}d")(*options) for m in (nn, torch.nn)]
        assert repr(ours) == repr(theirs)
        assert set(vars(theirs)) - {"_non_persistent_buffers_set", "_state_dict_pre_hooks"} <= set(vars(ours)) | set(vars(theirs))
        array = np.abs(floats(*SHAPES[dims]))
        if name != "MaxUnpool":
            check(ours, theirs, array)
    pooled, places = getattr(torch.nn, f"MaxPool{dims}d")(2, return_indices=True)(torch.tensor(array))
    ours, theirs = [getattr(m, f"MaxUnpool{dims}d")(2) for m in (nn, torch.nn)]
    same(ours(minigrad.tensor(pooled.numpy()), minigrad.tensor(places.numpy()), output_size=SHAPES[dims]),
         theirs(pooled, places, output_size=SHAPES[dims]))


# --- resampling

KINDS = {"nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "linear": (1,), "bilinear": (2,), "bicubic": (2,),
         "trilinear": (3,), "area": (1, 2, 3)}
IMAGES = {1: (2, 3, 11), 2: (2, 3, 9, 7), 3: (1, 2, 5, 4, 3)}


@pytest.mark.parametrize("mode", KINDS)
def test_interpolate(mode):
    for dims in KINDS[mode]:
        array = floats(*IMAGES[dims])
        for corners in ((None, True) if "linear" in mode or "cubic" in mode else (None,)):
            for how in ({"scale_factor": 2}, {"scale_factor": 0.5}, {"scale_factor": 1.7}, {"size": 3}, {"size": 13},
                        {"size": IMAGES[dims][2:]}, {"size": 1}, {"scale_factor": (1.3, 0.7, 2.0)[:dims]},
                        {"scale_factor": 1.7, "recompute_scale_factor": True},
                        {"size": (6, 8, 9)[:dims]}):
                check(F.interpolate, T.interpolate, array, mode=mode, align_corners=corners, **how)
        if mode not in ("area", "nearest"):  # PyTorch's backward ignores a scale that leaves the size as it is, its forward does not
            same(F.interpolate(minigrad.tensor(array), mode=mode, scale_factor=1.04),
                 T.interpolate(torch.tensor(array), mode=mode, scale_factor=1.04))
        check(F.interpolate, T.interpolate, floats(1, 2, *(5, 4, 3)[:dims], dtype="float64"), mode=mode, scale_factor=1.7,
              second=True)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
def test_interpolate_antialias(mode):
    for how in ({"scale_factor": 2}, {"scale_factor": 0.5}, {"scale_factor": 0.3}, {"size": 3}, {"size": (13, 4)},
                {"size": 1}, {"scale_factor": (0.7, 1.3)}, {"size": (9, 7)}):
        check(F.interpolate, T.interpolate, floats(2, 3, 9, 7), mode=mode, antialias=True, **how)
        if mode != "lanczos":
            check(F.interpolate, T.interpolate, floats(2, 3, 9, 7), mode=mode, antialias=True, align_corners=True, **how)


def test_interpolate_dtypes():
    for mode in ("nearest", "bilinear", "bicubic"):
        array = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 6)).astype("uint8")
        ours = F.interpolate(minigrad.tensor(array), scale_factor=1.7, mode=mode).numpy().astype(int)
        theirs = T.interpolate(torch.tensor(array), scale_factor=1.7, mode=mode).numpy().astype(int)
        assert (abs(ours - theirs) <= (mode != "nearest")).all()
        assert (ours != theirs).mean() < 0.02
        same(F.interpolate(minigrad.tensor(floats(2, 3, 5, 6)).half(), scale_factor=1.7, mode=mode),
             T.interpolate(torch.tensor(floats(2, 3, 5, 6)).half(), scale_factor=1.7, mode=mode), rtol=2e-3, atol=1e-3)


def test_interpolate_errors():
    base = (2, 3, 4, 5)
    cases = [((2, 3), {"size": 2}), (base, {}), (base, {"size": 2, "scale_factor": 2}), (base, {"size": (2, 2, 2)}),
             (base, {"scale_factor": (2, 2, 2)}), (base, {"size": (2.5, 2)}), (base, {"size": 0}), (base, {"size": -1}),
             (base, {"scale_factor": 0.01}), (base, {"scale_factor": -1}), ((2, 0, 4, 5), {"size": 3}),
             ((2, 3, 0, 5), {"size": 3}), (base, {"size": 2, "recompute_scale_factor": True}), (base, {"size": 2, "mode": "x"}),
             (base, {"size": 2, "align_corners": True}), (base, {"size": 2, "antialias": True})]
    cases += [(base[:dims] + (5,) * (dims == 5), {"size": 2, "mode": mode})
              for dims, modes in ((3, ("bilinear", "trilinear", "bicubic")), (4, ("linear", "trilinear")),
                                  (5, ("linear", "bilinear", "bicubic"))) for mode in modes]
    cases += [((2, 3, 4, 5, 6), {"size": 0}), ((2, 3, 4), {"size": 0}), ((2, 3, 4, 5, 6, 7), {"size": 2})]
    cases += [(base, {"size": 2, "mode": "lanczos"}), (base, {"size": 2, "mode": "lanczos", "align_corners": True})]
    for shape, options in cases:
        fails_alike(lambda: F.interpolate(minigrad.zeros(shape), **options),
                    lambda: T.interpolate(torch.zeros(shape), **options))
    for mode in ("nearest", "bilinear", "nearest-exact", "area", "bicubic"):
        fails_alike(lambda: F.interpolate(minigrad.zeros(base).int(), size=2, mode=mode),
                    lambda: T.interpolate(torch.zeros(base).int(), size=2, mode=mode))
    for name in ("upsample", "upsample_nearest", "upsample_bilinear"):
        with pytest.warns(UserWarning, match="deprecated") as ours:
            mine = getattr(F, name)(minigrad.tensor(floats(*base)), scale_factor=2)
        with pytest.warns(UserWarning, match="deprecated") as theirs:
            same(mine, getattr(T, name)(torch.tensor(floats(*base)), scale_factor=2))
        assert str(ours[0].message) == str(theirs[0].message)


# --- sampling at the places of a grid

GRIDS = {2: ((2, 3, 5, 6), (2, 4, 7, 2)), 3: ((2, 2, 4, 3, 5), (2, 3, 4, 2, 3))}


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample(mode, padding, corners):
    for dims in (2, 3) if mode != "bicubic" else (2,):
        shape, places = GRIDS[dims]
        image, grid = floats(*shape), floats(*places, seed=1) * 1.3
        x, y = minigrad.tensor(image).requires_grad_(), minigrad.tensor(grid).requires_grad_()
        a, b = torch.tensor(image, requires_grad=True), torch.tensor(grid, requires_grad=True)
        ours, theirs = F.grid_sample(x, y, mode, padding, corners), T.grid_sample(a, b, mode, padding, corners)
        same(ours, theirs, rtol=1e-4, atol=1e-5)
        factor = floats(*theirs.shape, seed=2)
        (ours * minigrad.tensor(factor)).sum().backward()
        (theirs * torch.tensor(factor)).sum().backward()
        same(x.grad, a.grad, rtol=1e-3, atol=2e-5)
        same(y.grad, b.grad, rtol=1e-3, atol=2e-4)


def test_grid_sample_errors():
    cases = [((2, 3, 4, 5), (1, 6, 7, 2)), ((2, 3, 4, 5), (2, 6, 7, 3)), ((2, 3, 4, 5), (2, 6, 2)), ((2, 3, 4), (2, 6, 2)),
             ((2, 3, 0, 5), (2, 6, 7, 2)), ((2, 3, 4, 5, 6), (2, 6, 7, 8, 2)), ((2, 3, 4, 5, 6), (2, 6, 7, 3))]
    for shape, places in cases:
        fails_alike(lambda: F.grid_sample(minigrad.zeros(shape), minigrad.zeros(places), align_corners=False),
                    lambda: T.grid_sample(torch.zeros(shape), torch.zeros(places), align_corners=False))
    image, grid = (2, 3, 4, 5), (2, 6, 7, 2)
    for options in ({"mode": "cubic"}, {"padding_mode": "wrap"}):
        fails_alike(lambda: F.grid_sample(minigrad.zeros(image), minigrad.zeros(grid), **options),
                    lambda: T.grid_sample(torch.zeros(image), torch.zeros(grid), **options))
    fails_alike(lambda: F.grid_sample(minigrad.zeros(image), minigrad.zeros(grid).double(), align_corners=False),
                lambda: T.grid_sample(torch.zeros(image), torch.zeros(grid).double(), align_corners=False))
    with pytest.warns(UserWarning, match="Default grid_sample"):
        F.grid_sample(minigrad.zeros(image), minigrad.zeros(grid))


@pytest.mark.parametrize("corners", [False, True])
def test_affine_grid(corners):
    for size, shape in (((2, 3, 4, 5), (2, 2, 3)), ((2, 3, 4, 5, 6), (2, 3, 4)), ((1, 1, 2, 3), (1, 2, 3))):
        check(F.affine_grid, T.affine_grid, floats(*shape), size, corners)
    cases = [((2, 2, 3), (3, 1, 3, 4)), ((2, 3, 4), (2, 1, 3, 4)), ((2, 2, 3), [2, 1, 3]), ((2, 2, 3), [2, 1, 0, 3])]
    for shape, size in cases:
        fails_alike(lambda: F.affine_grid(minigrad.zeros(shape), size, corners),
                    lambda: T.affine_grid(torch.zeros(shape), size, corners))


# --- shuffles


def test_shuffles():
    check(F.pixel_shuffle, T.pixel_shuffle, floats(2, 18, 3, 4), 3)
    check(F.pixel_shuffle, T.pixel_shuffle, floats(8, 3, 4), 2)
    check(F.pixel_shuffle, T.pixel_shuffle, floats(2, 2, 4, 3, 4), 2)
    check(F.pixel_unshuffle, T.pixel_unshuffle, floats(2, 3, 6, 9), 3)
    check(F.pixel_unshuffle, T.pixel_unshuffle, floats(3, 6, 4), 2)
    for name in ("channel_shuffle", "native_channel_shuffle"):
        for shape in ((2, 6, 4), (1, 6, 4, 5), (2, 6, 3, 2, 2)):
            same(getattr(F, name)(minigrad.tensor(floats(*shape)), 3), getattr(T, name)(torch.tensor(floats(*shape)), 3))
    check(F.channel_shuffle, T.channel_shuffle, floats(2, 6, 4, 3), 2)
    base = (2, 6, 4, 4)
    for name, wrong in (("pixel_shuffle", ((base, 4), (base[2:], 2), (base, 0), (base, -1), (base, 1.5))),
                        ("pixel_unshuffle", ((base, 3), ((2, 3, 4, 3), 2), (base[2:], 2), (base, 0), (base, 1.5))),
                        ("channel_shuffle", ((base, 4), (base[2:], 2), (base, 0), (base, -1), (base, 1.5))),
                        ("native_channel_shuffle", ((base, 4), (base[2:], 2), (base, 0), (base, 1.5)))):
        for shape, factor in wrong:
            fails_alike(lambda: getattr(F, name)(minigrad.zeros(shape), factor),
                        lambda: getattr(T, name)(torch.zeros(shape), factor))


OTHERS = [("Upsample", {"scale_factor": 2}, (2, 3, 4)), ("Upsample", {"size": (3, 4), "mode": "bilinear"}, (2, 3, 4, 5)),
          ("Upsample", {"scale_factor": (2, 1.5), "mode": "bicubic", "align_corners": True}, (2, 3, 4, 5)),
          ("UpsamplingNearest2d", {"scale_factor": 2}, (2, 3, 4, 5)), ("UpsamplingBilinear2d", {"size": 7}, (2, 3, 4, 5)),
          ("PixelShuffle", {"upscale_factor": 2}, (2, 8, 3, 4)), ("PixelUnshuffle", {"downscale_factor": 2}, (2, 3, 4, 6)),
          ("ChannelShuffle", {"groups": 2}, (2, 8, 3, 4)), ("Unflatten", {"dim": 1, "unflattened_size": (2, -1)}, (3, 8, 2))]


@pytest.mark.parametrize(("name", "options", "shape"), OTHERS)
def test_other_modules(name, options, shape):
    ours, theirs = getattr(nn, name)(**options), getattr(torch.nn, name)(**options)
    assert repr(ours) == repr(theirs)
    check(ours, theirs, floats(*shape))


def test_unflatten_errors():
    for sizes in ((2, 2.5), 3, "ab"):
        fails_alike(lambda: nn.Unflatten(1, sizes), lambda: torch.nn.Unflatten(1, sizes))
